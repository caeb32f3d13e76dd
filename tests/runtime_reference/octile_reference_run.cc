// octile_reference_run MODEL OUTDIR [NAME=FILE.npy | --shape NAME=1x2x3 | --override NAME]...:
// imports a model, evaluates it with the host reference, and writes every step's tensor
// (step_N.npy), every output (output_N.npy) and an index (index.txt): for the tests against ONNX
// Runtime.
#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <iostream>

#include "octile/frontend/importer.h"
#include "octile/reference/reference.h"
#include "octile/support/npy.h"

namespace {

int Report(const octile::Error& error) {
  std::cerr << error.message << "\n";
  return static_cast<int>(error.code);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: octile_reference_run MODEL OUTDIR [NAME=FILE.npy | --shape NAME=1x2x3 | "
                 "--override NAME]...\n";
    return 2;
  }
  const std::filesystem::path folder = argv[2];
  std::map<std::string, octile::Tensor> inputs;
  octile::frontend::ImportOptions options;
  for (int i = 3; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument == "--override" && i + 1 < argc) {
      options.overridden_inputs.insert(argv[++i]);
      continue;
    }
    const bool is_shape = argument == "--shape" && i + 1 < argc;
    if (is_shape) argument = argv[++i];
    const size_t at = argument.rfind('=');
    if (at == std::string::npos)
      return Report({octile::ErrorCode::kUsage, argument + ": NAME=FILE expected"});
    const std::string name = argument.substr(0, at);
    if (is_shape) {
      octile::Shape shape;
      for (const char* p = argument.c_str() + at + 1; *p;) {
        char* end = nullptr;
        shape.push_back(std::strtoll(p, &end, 10));
        p = *end ? end + 1 : end;
      }
      options.shapes[name] = shape;
      continue;
    }
    auto tensor = octile::ReadNpy(argument.substr(at + 1));
    if (!tensor) return Report(tensor.error());
    inputs[name] = std::move(*tensor);
  }
  auto imported = octile::frontend::ImportFile(argv[1], options);
  if (!imported) return Report(imported.error());
  const octile::ir::Graph& graph = imported->graph;
  auto result = octile::reference::Evaluate(graph, inputs);
  if (!result) return Report(result.error());
  std::filesystem::create_directories(folder);
  std::ofstream index(folder / "index.txt");
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    index << fmt::format("output\t{}\t{}\n", i, graph.outputs[i].name);
    if (auto s = octile::WriteNpy(folder / fmt::format("output_{}.npy", i), result->outputs[i]); !s)
      return Report(s.error());
  }
  for (size_t i = 0; i < graph.steps.size(); ++i) {
    const auto& step = graph.steps[i];
    index << fmt::format("step\t{}\t{}\t{}\t{}\t{}\n", i, step.name, octile::ir::OpName(step.op),
                         step.device_capable() ? "device" : "host", graph.tensor(step.output).name);
    if (auto s = octile::WriteNpy(folder / fmt::format("step_{}.npy", i), result->steps[i]); !s)
      return Report(s.error());
  }
  for (const std::string& note : imported->notes) index << "note\t" << note << "\n";
  return index ? 0 : 70;
}
