// Import of the shipped models: valid, deterministic, exact in the text form, and on the device
// where they should be.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "octile/frontend/importer.h"
#include "octile/ir/host_ops.h"

namespace octile::frontend {
namespace {

std::vector<std::filesystem::path> Models() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(OCTILE_MODELS))
    if (entry.path().extension() == ".onnx") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

TEST(Import, ShippedModelsAreDeterministicAndRoundTrip) {
  ASSERT_FALSE(Models().empty());
  for (const auto& file : Models()) {
    SCOPED_TRACE(file.filename().string());
    const auto first = ImportFile(file);
    ASSERT_TRUE(first.has_value()) << first.error().message;
    const auto second = ImportFile(file);
    EXPECT_EQ(first->graph, second->graph);
    EXPECT_EQ(first->notes, second->notes);
    ASSERT_TRUE(ir::Verify(first->graph).has_value());
    const std::string text = ir::PrintText(first->graph);
    const auto parsed = ir::ParseText(text);
    ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
    EXPECT_EQ(*parsed, first->graph);
    EXPECT_EQ(ir::PrintText(*parsed), text);
  }
}

TEST(Import, OffloadReportListsEveryStepWithReasons) {
  for (const auto& file : Models()) {
    SCOPED_TRACE(file.filename().string());
    const auto result = ImportFile(file);
    ASSERT_TRUE(result.has_value());
    ASSERT_EQ(result->offload.size(), result->graph.steps.size());
    int64_t macs = 0;
    for (size_t i = 0; i < result->offload.size(); ++i) {
      const OffloadEntry& entry = result->offload[i];
      EXPECT_EQ(entry.step, result->graph.steps[i].name);
      EXPECT_EQ(entry.device, entry.reason.empty());
      macs += ir::MacCount(result->graph, result->graph.steps[i]);
      if (entry.op == "Conv" || entry.op == "Gemm" || entry.op == "Table") {
        EXPECT_TRUE(entry.device) << entry.step;
      }
    }
    EXPECT_GT(macs, 0);
  }
}

TEST(Import, DigitsIsFullyOnTheDevice) {
  const auto result = ImportFile(std::filesystem::path(OCTILE_MODELS) / "digits.onnx");
  ASSERT_TRUE(result.has_value()) << result.error().message;
  std::vector<std::string> ops;
  for (const auto& entry : result->offload) ops.push_back(entry.op);
  EXPECT_EQ(ops, (std::vector<std::string>{"Table", "Conv", "MaxPool", "Conv", "MaxPool", "Reshape",
                                           "Gemm", "Gemm", "Dequantize"}));
  // 20*24*24*25 + 64*8*8*500 + the linear layers.
  int64_t macs = 0;
  for (const auto& step : result->graph.steps) macs += ir::MacCount(result->graph, step);
  EXPECT_GT(macs, 20 * 24 * 24 * 25 + 64 * 8 * 8 * 500);
}

TEST(Import, ShapeOptionSetsTheBatch) {
  const auto file = std::filesystem::path(OCTILE_MODELS) / "digits.onnx";
  const auto inputs = ListInputs(file);
  ASSERT_TRUE(inputs.has_value());
  ASSERT_EQ(inputs->size(), 1u);
  EXPECT_EQ((*inputs)[0].type, "u8");
  EXPECT_EQ((*inputs)[0].dims, (std::vector<std::string>{"N", "1", "28", "28"}));
  ImportOptions options;
  options.shapes[(*inputs)[0].name] = {7, 1, 28, 28};
  const auto result = ImportFile(file, options);
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(result->graph.tensor(result->graph.outputs[0].tensor).shape, (Shape{7, 10}));
  EXPECT_TRUE(result->notes.empty());
}

TEST(Import, SupportedOperatorsNamesTheWholeHostList) {
  std::set<std::string> listed;
  for (const auto& row : SupportedOperators()) {
    listed.insert(row.op);
    if (!row.device) {
      EXPECT_FALSE(row.note.empty()) << row.op;
    }
  }
  for (const auto& host : ir::HostOperators())
    EXPECT_TRUE(listed.count(std::string(host.op))) << host.op;
}

}  // namespace
}  // namespace octile::frontend
