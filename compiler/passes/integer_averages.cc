#include <set>

#include "octile/numerics/constants.h"
#include "octile/passes/passes.h"

namespace octile::passes {
namespace {

numerics::CodeRange Range(const ir::CodeRange& range) { return {range.lo, range.hi}; }

// Numbers of rows (0) or columns (1) that windows of the pool have inside the image.
std::set<int64_t> Inside(const ir::AveragePool& pool, size_t dimension, int64_t outputs,
                         int64_t size) {
  std::set<int64_t> counts;
  for (int64_t at = 0; at < outputs; ++at)
    counts.insert(ir::ElementsInside(pool, dimension, at, size));
  return counts;
}

}  // namespace

Expected<bool> IntegerAverages(ir::Graph& graph) {
  bool changed = false;
  for (ir::Step& step : graph.steps) {
    auto* pool = std::get_if<ir::AveragePool>(&step.op);
    if (pool == nullptr || !step.device_capable() || !pool->integer.empty()) continue;
    changed = true;
    const ir::TensorInfo& x = graph.tensor(step.inputs[0]);
    const ir::TensorInfo& y = graph.tensor(step.output);
    std::set<int64_t> elements;
    for (const int64_t rows : Inside(*pool, 0, y.shape[2], x.shape[2])) {
      for (const int64_t columns : Inside(*pool, 1, y.shape[3], x.shape[3]))
        elements.insert(rows * columns);
    }
    if (elements.contains(0)) {
      step.host_reason = "an average with windows that lie outside the image";
      continue;
    }
    std::vector<numerics::AverageWindows> windows;
    for (const int64_t count : elements)
      windows.push_back(
          {count, pool->count_include_pad ? pool->kernel[0] * pool->kernel[1] : count});
    OCTILE_ASSIGN_OR_RETURN(const numerics::IntegerAverages proof,
                            numerics::ProveIntegerAverages(
                                x.quant->scale, x.quant->zero_point, Range(ir::FullRange(x.dtype)),
                                windows, y.quant->scale, y.quant->zero_point,
                                Range(ir::FullRange(y.dtype)), Range(pool->clamp)));
    step.host_reason = proof.reason;
    for (const numerics::IntegerAverage& form : proof.forms)
      pool->integer.push_back({form.divisor, form.bias, form.multiplier, form.zero_point});
  }
  return changed;
}

}  // namespace octile::passes
