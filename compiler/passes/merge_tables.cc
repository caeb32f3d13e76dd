#include "graph_util.h"
#include "octile/passes/passes.h"

namespace octile::passes {

Expected<bool> MergeTables(ir::Graph& graph) {
  bool changed = false;
  std::vector<bool> dead(graph.steps.size(), false);
  const std::vector<std::vector<int32_t>> consumers = ir::Consumers(graph);
  for (size_t i = 0; i < graph.steps.size(); ++i) {
    const auto* first = std::get_if<ir::Table>(&graph.steps[i].op);
    const ir::TensorId between = graph.steps[i].output;
    if (first == nullptr || dead[i] || IsOutput(graph, between)) continue;
    const std::vector<int32_t>& users = consumers[static_cast<size_t>(between)];
    if (users.size() != 1) continue;
    ir::Step& next = graph.steps[static_cast<size_t>(users[0])];
    auto* second = std::get_if<ir::Table>(&next.op);
    if (second == nullptr) continue;
    std::array<uint8_t, 256> composed;
    for (size_t code = 0; code < 256; ++code)
      composed[code] = second->entries[first->entries[code]];
    second->entries = composed;
    second->meaning = first->meaning + ", " + second->meaning;
    next.inputs[0] = graph.steps[i].inputs[0];
    next.nodes.insert(next.nodes.begin(), graph.steps[i].nodes.begin(), graph.steps[i].nodes.end());
    dead[i] = changed = true;
  }
  if (changed) EraseSteps(graph, dead);
  return changed;
}

}  // namespace octile::passes
