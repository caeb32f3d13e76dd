// Small queries shared by the passes.
#pragma once

#include <algorithm>
#include <vector>

#include "octile/ir/graph.h"

namespace octile::passes {

inline bool IsOutput(const ir::Graph& graph, ir::TensorId id) {
  return std::any_of(graph.outputs.begin(), graph.outputs.end(),
                     [&](const ir::Output& output) { return output.tensor == id; });
}

// Replaces every use of `from` as a step input by `to`.
inline void ReplaceUses(ir::Graph& graph, ir::TensorId from, ir::TensorId to) {
  for (ir::Step& step : graph.steps) std::replace(step.inputs.begin(), step.inputs.end(), from, to);
}

inline void EraseSteps(ir::Graph& graph, const std::vector<bool>& dead) {
  std::vector<ir::Step> kept;
  for (size_t i = 0; i < graph.steps.size(); ++i) {
    if (!dead[i]) kept.push_back(std::move(graph.steps[i]));
  }
  graph.steps = std::move(kept);
}

}  // namespace octile::passes
