#include <fmt/format.h>

#include <array>

#include "octile/passes/passes.h"

namespace octile::passes {
namespace {

// Passes keep tensor numbers, so tensors that no step computes any more stay behind; the verifier
// sees the graph without them.
ir::Graph WithoutOrphans(const ir::Graph& graph) {
  std::vector<bool> used(graph.tensors.size(), false);
  for (const ir::TensorId id : graph.inputs) used[static_cast<size_t>(id)] = true;
  for (const ir::Output& output : graph.outputs) used[static_cast<size_t>(output.tensor)] = true;
  for (const ir::Step& step : graph.steps) {
    used[static_cast<size_t>(step.output)] = true;
    for (const ir::TensorId id : step.inputs) used[static_cast<size_t>(id)] = true;
  }
  std::vector<ir::TensorId> number(graph.tensors.size(), -1);
  ir::Graph result;
  result.name = graph.name;
  for (size_t i = 0; i < used.size(); ++i) {
    if (!used[i]) continue;
    number[i] = static_cast<ir::TensorId>(result.tensors.size());
    result.tensors.push_back(graph.tensors[i]);
  }
  const auto renumber = [&](ir::TensorId id) { return number[static_cast<size_t>(id)]; };
  for (const ir::TensorId id : graph.inputs) result.inputs.push_back(renumber(id));
  for (const ir::Output& output : graph.outputs)
    result.outputs.push_back({output.name, renumber(output.tensor)});
  result.steps = graph.steps;
  for (ir::Step& step : result.steps) {
    step.output = renumber(step.output);
    for (ir::TensorId& id : step.inputs) id = renumber(id);
  }
  return result;
}

}  // namespace

std::span<const Pass> DefaultPipeline() {
  static constexpr std::array kPasses = {
      Pass{"one-code-to-table", OneCodeToTable}, Pass{"integer-averages", IntegerAverages},
      Pass{"drop-identities", DropIdentities},   Pass{"merge-tables", MergeTables},
      Pass{"drop-dead-steps", DropDeadSteps},
  };
  return kPasses;
}

Status RunPasses(ir::Graph& graph, std::span<const Pass> pipeline) {
  for (const Pass& pass : pipeline) {
    // A pass may uncover more of its own work (a chain of tables): run it until nothing changes.
    for (bool changed = true; changed;) {
      OCTILE_ASSIGN_OR_RETURN(changed, pass.run(graph));
    }
    if (Status valid = ir::Verify(WithoutOrphans(graph)); !valid) {
      return Fail(ErrorCode::kInternal, fmt::format("pass '{}' left an invalid graph: {}",
                                                    pass.name, valid.error().message));
    }
  }
  return {};
}

}  // namespace octile::passes
