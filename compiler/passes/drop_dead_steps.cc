#include "graph_util.h"
#include "octile/passes/passes.h"

namespace octile::passes {

Expected<bool> DropDeadSteps(ir::Graph& graph) {
  std::vector<bool> needed(graph.tensors.size(), false);
  for (const ir::Output& output : graph.outputs) needed[static_cast<size_t>(output.tensor)] = true;
  std::vector<bool> dead(graph.steps.size(), false);
  bool changed = false;
  for (size_t i = graph.steps.size(); i-- > 0;) {
    const ir::Step& step = graph.steps[i];
    if (!needed[static_cast<size_t>(step.output)]) {
      dead[i] = changed = true;
      continue;
    }
    for (ir::TensorId input : step.inputs) needed[static_cast<size_t>(input)] = true;
  }
  if (changed) EraseSteps(graph, dead);
  return changed;
}

}  // namespace octile::passes
