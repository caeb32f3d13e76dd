#include "graph_util.h"
#include "octile/passes/passes.h"

namespace octile::passes {
namespace {

bool MovesNothing(const ir::Graph& graph, const ir::Step& step) {
  const ir::TensorInfo& in = graph.tensor(step.inputs[0]);
  const ir::TensorInfo& out = graph.tensor(step.output);
  if (in.shape != out.shape || in.dtype != out.dtype) return false;
  if (const auto* table = std::get_if<ir::Table>(&step.op)) {
    for (int i = 0; i < 256; ++i) {
      if (table->entries[static_cast<size_t>(i)] != i) return false;
    }
    // The codes are equal, but consumers read scales and zero points from the tensor.
    return in.quant == out.quant;
  }
  if (std::holds_alternative<ir::Reshape>(step.op)) return true;
  if (std::holds_alternative<ir::Concat>(step.op)) return step.inputs.size() == 1;
  if (const auto* slice = std::get_if<ir::Slice>(&step.op)) {
    return std::all_of(slice->starts.begin(), slice->starts.end(),
                       [](int64_t s) { return s == 0; }) &&
           std::all_of(slice->steps.begin(), slice->steps.end(), [](int64_t s) { return s == 1; });
  }
  return std::holds_alternative<ir::Pad>(step.op);
}

}  // namespace

Expected<bool> DropIdentities(ir::Graph& graph) {
  std::vector<bool> dead(graph.steps.size(), false);
  bool changed = false;
  const std::vector<std::vector<int32_t>> consumers = ir::Consumers(graph);
  // Host steps are executed as the model states them, on the tensors that it names.
  const auto read_by_host = [&](ir::TensorId id) {
    const std::vector<int32_t>& users = consumers[static_cast<size_t>(id)];
    return std::any_of(users.begin(), users.end(), [&](int32_t u) {
      return !graph.steps[static_cast<size_t>(u)].device_capable();
    });
  };
  for (size_t i = 0; i < graph.steps.size(); ++i) {
    const ir::Step& step = graph.steps[i];
    if (step.inputs.empty() || IsOutput(graph, step.output) || read_by_host(step.output) ||
        !MovesNothing(graph, step))
      continue;
    ReplaceUses(graph, step.output, step.inputs[0]);
    dead[i] = changed = true;
  }
  if (changed) EraseSteps(graph, dead);
  return changed;
}

}  // namespace octile::passes
