#include "graph_util.h"
#include "octile/passes/passes.h"

namespace octile::passes {
namespace {

bool IsArray(const ir::Graph& graph, const ir::Step& step) {
  if (graph.tensor(step.output).dtype == DType::kS32)
    return false;  // raw accumulators bypass the post unit
  if (const auto* conv = std::get_if<ir::Conv>(&step.op)) {
    return conv->group == 1 || conv->group != graph.tensor(step.inputs[0]).shape[1];
  }
  return std::holds_alternative<ir::Gemm>(step.op);
}

bool TakesTable(const ir::Graph& graph, const ir::Step& step) {
  if (!step.device_capable() || graph.tensor(step.output).dtype == DType::kS32) return false;
  return std::holds_alternative<ir::Conv>(step.op) || std::holds_alternative<ir::Gemm>(step.op) ||
         std::holds_alternative<ir::MaxPool>(step.op) ||
         std::holds_alternative<ir::GlobalAveragePool>(step.op) ||
         std::holds_alternative<ir::AveragePool>(step.op) ||
         std::holds_alternative<ir::Add>(step.op) || std::holds_alternative<ir::Mul>(step.op) ||
         std::holds_alternative<ir::Affine>(step.op) ||
         std::holds_alternative<ir::ResizeNearest>(step.op);
}

// The number of groups if the three steps shuffle the channels of an image ([1, g, C/g, H, W], the
// middle axes exchanged), else 0.
int64_t ShuffleGroups(const ir::Graph& graph, const ir::Step& first, const ir::Step& second,
                      const ir::Step& third) {
  const auto* transpose = std::get_if<ir::Transpose>(&second.op);
  if (!std::holds_alternative<ir::Reshape>(first.op) || transpose == nullptr ||
      !std::holds_alternative<ir::Reshape>(third.op))
    return 0;
  const Shape& in = graph.tensor(first.inputs[0]).shape;
  const Shape& split = graph.tensor(first.output).shape;
  if (graph.tensor(first.inputs[0]).is_constant() || !graph.tensor(first.output).is_code() ||
      in.size() != 4 || in[0] != 1)
    return 0;
  if (split.size() != 5 || split[0] != 1 || split[1] * split[2] != in[1] || split[3] != in[2] ||
      split[4] != in[3])
    return 0;
  if (transpose->perm != std::vector<int64_t>{0, 2, 1, 3, 4} ||
      graph.tensor(third.output).shape != in)
    return 0;
  return split[1];
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
  const auto step_at = [&](int i) -> const ir::Step& {
    return graph.steps[static_cast<size_t>(i)];
  };

  std::vector<int> owner(graph.steps.size(), -1);  // the main step of the group a step belongs to
  std::vector<FusedStep> groups(graph.steps.size());
  for (size_t i = 0; i < graph.steps.size(); ++i) {
    if (owner[i] >= 0) continue;
    const ir::Step& step = graph.steps[i];
    FusedStep group;
    group.main = static_cast<int>(i);
    group.output = step.output;
    owner[i] = static_cast<int>(i);
    // A shuffle that starts with this step, or follows it.
    const bool concat = std::holds_alternative<ir::Concat>(step.op) && step.device_capable() &&
                        std::get<ir::Concat>(step.op).axis == 1;
    const int first = concat ? only_user(step.output) : static_cast<int>(i);
    const int second = first >= 0 ? only_user(step_at(first).output) : -1;
    const int third = second >= 0 ? only_user(step_at(second).output) : -1;
    if (third >= 0) {
      group.shuffle_groups = ShuffleGroups(graph, step_at(first), step_at(second), step_at(third));
      if (group.shuffle_groups > 0) {
        group.shuffle =
            concat ? std::vector<int>{first, second, third} : std::vector<int>{second, third};
        for (const int member : group.shuffle)
          owner[static_cast<size_t>(member)] = static_cast<int>(i);
        group.output = step_at(third).output;
      }
    }
    if (TakesTable(graph, step)) {
      const int next = only_user(group.output);
      if (next >= 0 && std::holds_alternative<ir::Table>(step_at(next).op) &&
          step_at(next).device_capable()) {
        group.table = next;
        group.output = step_at(next).output;
        owner[static_cast<size_t>(next)] = static_cast<int>(i);
      }
    }
    if (IsArray(graph, step) && step.device_capable()) {
      const int next = only_user(group.output);
      if (next >= 0 && std::holds_alternative<ir::Add>(step_at(next).op) &&
          step_at(next).device_capable() && owner[static_cast<size_t>(next)] < 0) {
        const ir::Step& add = step_at(next);
        const ir::TensorId other = add.inputs[0] == group.output ? add.inputs[1] : add.inputs[0];
        const ir::TensorInfo& info = graph.tensor(other);
        // The other operand must exist before this step runs: it is an input or made by an earlier
        // step.
        const int maker = producers[static_cast<size_t>(other)];
        if (other != group.output && !info.is_constant() &&
            info.shape == graph.tensor(group.output).shape &&
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
