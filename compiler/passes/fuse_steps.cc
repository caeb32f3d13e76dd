#include "graph_util.h"
#include "octile/passes/passes.h"

namespace octile::passes {
namespace {

bool IsArray(const ir::Graph& graph, const ir::Step& step) {
  if (graph.tensor(step.output).dtype == DType::kS32) return false;  // raw accumulators bypass the post unit
  if (const auto* conv = std::get_if<ir::Conv>(&step.op)) {
    return conv->group == 1 || conv->group != graph.tensor(step.inputs[0]).shape[1];
  }
  return std::holds_alternative<ir::Gemm>(step.op);
}

bool TakesTable(const ir::Graph& graph, const ir::Step& step) {
  if (!step.device_capable() || graph.tensor(step.output).dtype == DType::kS32) return false;
  return std::holds_alternative<ir::Conv>(step.op) || std::holds_alternative<ir::Gemm>(step.op) ||
         std::holds_alternative<ir::MaxPool>(step.op) || std::holds_alternative<ir::GlobalAveragePool>(step.op) ||
         std::holds_alternative<ir::Add>(step.op) || std::holds_alternative<ir::Mul>(step.op) ||
         std::holds_alternative<ir::ResizeNearest>(step.op);
}

}  // namespace

std::vector<FusedStep> FuseSteps(const ir::Graph& graph) {
  const std::vector<std::vector<int32_t>> consumers = ir::Consumers(graph);
  const std::vector<int32_t> producers = ir::Producers(graph);
  // The one consumer of a value that nobody else sees.
  const auto only_user = [&](ir::TensorId id) -> int {
    const std::vector<int32_t>& users = consumers[static_cast<size_t>(id)];
    return users.size() == 1 && !IsOutput(graph, id) ? users[0] : -1;
  };
  const auto step_at = [&](int i) -> const ir::Step& { return graph.steps[static_cast<size_t>(i)]; };

  std::vector<int> owner(graph.steps.size(), -1);  // the main step of the group a step belongs to
  std::vector<FusedStep> groups(graph.steps.size());
  for (size_t i = 0; i < graph.steps.size(); ++i) {
    if (owner[i] >= 0) continue;
    const ir::Step& step = graph.steps[i];
    FusedStep group{.main = static_cast<int>(i), .output = step.output};
    owner[i] = static_cast<int>(i);
    if (TakesTable(graph, step)) {
      const int next = only_user(group.output);
      if (next >= 0 && std::holds_alternative<ir::Table>(step_at(next).op) && step_at(next).device_capable()) {
        group.table = next;
        group.output = step_at(next).output;
        owner[static_cast<size_t>(next)] = static_cast<int>(i);
      }
    }
    if (IsArray(graph, step) && step.device_capable()) {
      const int next = only_user(group.output);
      if (next >= 0 && std::holds_alternative<ir::Add>(step_at(next).op) && step_at(next).device_capable() &&
          owner[static_cast<size_t>(next)] < 0) {
        const ir::Step& add = step_at(next);
        const ir::TensorId other = add.inputs[0] == group.output ? add.inputs[1] : add.inputs[0];
        const ir::TensorInfo& info = graph.tensor(other);
        // The other operand must exist before this step runs: it is an input or made by an earlier step.
        const int maker = producers[static_cast<size_t>(other)];
        if (other != group.output && !info.is_constant() && info.shape == graph.tensor(group.output).shape &&
            info.shape == graph.tensor(add.output).shape && maker < static_cast<int>(i)) {
          group.residual = next;
          group.output = add.output;
          owner[static_cast<size_t>(next)] = static_cast<int>(i);
        }
      }
    }
    groups[i] = group;
  }
  std::vector<FusedStep> result;
  for (size_t i = 0; i < graph.steps.size(); ++i) {
    if (owner[i] == static_cast<int>(i)) result.push_back(groups[i]);
  }
  return result;
}

}  // namespace octile::passes
