#include <algorithm>

#include "octile/passes/passes.h"

namespace octile::passes {
namespace {

// True if the step treats every index of its first dimension alone, so that one image can be
// computed by itself.
bool TreatsImagesAlone(const ir::Graph& graph, const ir::Step& step) {
  const size_t rank = graph.tensor(step.output).shape.size();
  // A constant operand must not have a value for each image.
  for (const ir::TensorId id : step.inputs) {
    const ir::TensorInfo& info = graph.tensor(id);
    if (info.is_constant() && info.shape.size() >= rank && info.shape[0] != 1) return false;
  }
  return std::visit(
      [&](const auto& op) {
        using T = std::decay_t<decltype(op)>;
        if constexpr (std::is_same_v<T, ir::Concat> || std::is_same_v<T, ir::Softmax> ||
                      std::is_same_v<T, ir::ScaleAccumulator>) {
          return op.axis != 0;
        } else if constexpr (std::is_same_v<T, ir::Slice>) {
          return op.starts[0] == 0 && op.steps[0] == 1;
        } else if constexpr (std::is_same_v<T, ir::Pad>) {
          return op.before[0] == 0 && op.after[0] == 0;
        } else if constexpr (std::is_same_v<T, ir::Transpose>) {
          return op.perm[0] == 0;
        } else if constexpr (std::is_same_v<T, ir::Gemm>) {
          return rank >= 2;
        } else {
          return !std::is_same_v<T, ir::HostFloat>;  // which may reduce or normalize over images
        }
      },
      step.op);
}

}  // namespace

std::optional<ir::Graph> SplitBatch(const ir::Graph& graph, int64_t& batch) {
  batch = 1;
  for (const ir::TensorId id : graph.inputs) {
    const Shape& shape = graph.tensor(id).shape;
    if (shape.size() != 4 || shape[0] < 2 || (batch != 1 && shape[0] != batch)) return std::nullopt;
    batch = shape[0];
  }
  if (batch == 1) return std::nullopt;
  ir::Graph single = graph;
  for (ir::TensorInfo& info : single.tensors) {
    if (info.is_constant()) continue;
    // The images are the whole first dimension; a value that mixes them with something else stays
    // as the model has it.
    if (info.shape.size() < 2 || info.shape[0] != batch) return std::nullopt;
    info.shape[0] = 1;
  }
  for (const ir::Output& output : graph.outputs) {
    if (graph.tensor(output.tensor).is_constant()) return std::nullopt;
  }
  const bool alone = std::all_of(graph.steps.begin(), graph.steps.end(), [&](const ir::Step& step) {
    return TreatsImagesAlone(graph, step);
  });
  if (!alone || !ir::Verify(single)) return std::nullopt;
  return single;
}

}  // namespace octile::passes
