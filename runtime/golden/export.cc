#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "octile/golden/golden.h"
#include "step_writer.h"

namespace octile::golden {
namespace {

struct RuleOf {
  const char* operator()(const ir::Conv&) const { return "N1, N2, N3"; }
  const char* operator()(const ir::Gemm&) const { return "N1, N2, N3"; }
  const char* operator()(const ir::GlobalAveragePool&) const { return "N8, N3"; }
  const char* operator()(const ir::Table&) const { return "N5, N9"; }
  const char* operator()(const ir::MaxPool&) const { return "N8"; }
  const char* operator()(const ir::AveragePool&) const { return "N8"; }
  const char* operator()(const ir::Add&) const { return "N6"; }
  const char* operator()(const ir::Mul&) const { return "N7"; }
  const char* operator()(const ir::Affine&) const { return "N13"; }
  const char* operator()(const ir::Concat&) const { return "N9"; }
  const char* operator()(const ir::Quantize&) const { return "N4"; }
  const char* operator()(const ir::Dequantize&) const { return "N4"; }
  const char* operator()(const ir::ScaleAccumulator&) const { return "N11"; }
  const char* operator()(const ir::Softmax&) const { return "N10"; }
  const char* operator()(const ir::HostFloat&) const { return "N13"; }
  template <class Movement>
  const char* operator()(const Movement&) const {
    return "copy";
  }
};

}  // namespace

Expected<Golden> Export(const ir::Graph& graph, const Options& options) {
  ModelBuilder builder;
  onnx::ModelProto& model = builder.model();
  model.mutable_graph()->set_name(graph.name.empty() ? "golden" : graph.name);
  model.set_doc_string(
      "The arithmetic of a quantized model, operator by operator, as ONNX Runtime's CPU kernels "
      "compute it.");

  // Names of values: inputs and constants keep theirs, a computed output has the name of the
  // graph's output, everything else its own unless that is taken.
  std::vector<Value> values(graph.tensors.size());
  std::vector<bool> computed(graph.tensors.size()), consumed(graph.tensors.size());
  for (const ir::Step& step : graph.steps) {
    computed[static_cast<size_t>(step.output)] = true;
    for (const ir::TensorId id : step.inputs) consumed[static_cast<size_t>(id)] = true;
  }
  for (const ir::Output& output : graph.outputs) builder.Reserve(output.name);
  for (const ir::TensorId id : graph.inputs) {
    const ir::TensorInfo& info = graph.tensor(id);
    builder.Reserve(info.name);
    values[static_cast<size_t>(id)] = info.name;
    builder.Input(info.name, info.dtype, info.shape);
  }
  for (const ir::Output& output : graph.outputs) {
    Value& value = values[static_cast<size_t>(output.tensor)];
    if (computed[static_cast<size_t>(output.tensor)] && value.empty()) value = output.name;
    const ir::TensorInfo& info = graph.tensor(output.tensor);
    builder.Output(output.name, info.dtype, info.shape);
  }
  for (size_t i = 0; i < graph.tensors.size(); ++i) {
    if (values[i].empty()) values[i] = builder.FreshName(graph.tensors[i].name);
  }
  for (size_t i = 0; i < graph.tensors.size(); ++i) {
    const ir::TensorInfo& info = graph.tensors[i];
    if (info.is_constant()) {
      builder.NamedConstant(values[i], info.dtype, info.shape, *info.constant);
    }
  }

  Golden golden;
  for (const ir::Step& step : graph.steps) {
    const ir::TensorInfo& info = graph.tensor(step.output);
    const Value& value = values[static_cast<size_t>(step.output)];
    const std::string op = ir::OpName(step.op);
    builder.BeginStep(step.name);
    try {
      const Value result = StepWriter(graph, builder, values, consumed, step).Write();
      const std::string doc = fmt::format("{} ({})", op, std::visit(RuleOf{}, step.op));
      golden.steps.push_back({step.name, op, value, builder.EndStep(result, value, doc)});
    } catch (const Inexpressible& bad) {
      return Fail(ErrorCode::kModel,
                  fmt::format("step '{}' ({}) has no exact form in ONNX Runtime: {}", step.name, op,
                              bad.message));
    }
    if (!options.all_tensors) continue;
    Value listed = value;
    if (value != info.name) {
      // It has the name of an output; here it goes by its own.
      listed = builder.FreshName(info.name);
      builder.BeginStep(listed);
      builder.EndStep(value, listed, fmt::format("a name of '{}'", value));
    }
    if (!std::any_of(graph.outputs.begin(), graph.outputs.end(),
                     [&](const ir::Output& output) { return output.name == listed; })) {
      builder.Output(listed, info.dtype, info.shape);
    }
  }
  // Outputs that are inputs, constants, or a second name of a step's result.
  for (const ir::Output& output : graph.outputs) {
    const Value& value = values[static_cast<size_t>(output.tensor)];
    if (value == output.name) continue;
    builder.BeginStep(output.name);
    builder.EndStep(value, output.name, fmt::format("a name of '{}'", value));
  }

  if (model.ByteSizeLong() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return Fail(
        ErrorCode::kModel,
        fmt::format("the golden model of '{}' has {} bytes, more than the 2 GiB of an ONNX file",
                    graph.name, model.ByteSizeLong()));
  }
  if (!model.SerializeToString(&golden.model)) {
    return Fail(ErrorCode::kInternal,
                fmt::format("the golden model of '{}' cannot be serialized", graph.name));
  }
  return golden;
}

}  // namespace octile::golden
