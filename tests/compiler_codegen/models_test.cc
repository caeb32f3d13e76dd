// Every shipped model compiles for every named configuration to a program that the verifier
// accepts, byte for byte the same each time.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <iostream>

#include "octile/codegen/codegen.h"
#include "octile/frontend/importer.h"
#include "octile/program/verifier.h"

namespace octile {
namespace {

std::vector<std::filesystem::path> Models() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(OCTILE_MODELS)) {
    if (entry.path().extension() == ".onnx") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class ModelsTest : public testing::TestWithParam<std::tuple<std::filesystem::path, std::string>> {};

TEST_P(ModelsTest, CompilesToAValidProgram) {
  const auto& [file, config_name] = GetParam();
  const Expected<frontend::ImportResult> imported = frontend::ImportFile(file);
  ASSERT_TRUE(imported) << imported.error().message;
  const Expected<Config> config = LoadConfig(config_name);
  ASSERT_TRUE(config) << config.error().message;
  const Expected<Program> program =
      codegen::Compile(imported->graph, *config, {file.stem().string()});
  ASSERT_TRUE(program) << program.error().message;
  size_t segments = 0;
  for (const PlanItem& item : program->plan) segments += item.kind == PlanKind::kDevice;
  std::cout << fmt::format(
      "{} on {}: {} instructions, {} segments, {} layers, estimate {} cycles\n",
      file.stem().string(), config_name, program->instructions.size(), segments,
      program->layers.size(), program->estimated_cycles);
  for (const PlanItem& item : program->plan) {
    if (item.kind == PlanKind::kHost)
      std::cout << "  host: " << item.name << ": " << item.reason << "\n";
  }
  const Status valid = VerifyProgram(*program);
  EXPECT_TRUE(valid) << valid.error().message;
  EXPECT_GE(segments, 1u);

  const Expected<Program> again =
      codegen::Compile(imported->graph, *config, {file.stem().string()});
  ASSERT_TRUE(again);
  EXPECT_EQ(*SerializeProgram(*program), *SerializeProgram(*again));
}

INSTANTIATE_TEST_SUITE_P(Shipped, ModelsTest,
                         testing::Combine(testing::ValuesIn(Models()),
                                          testing::ValuesIn(ConfigNames())),
                         [](const auto& info) {
                           return std::get<0>(info.param).stem().string() + "_" +
                                  std::get<1>(info.param);
                         });

}  // namespace
}  // namespace octile
