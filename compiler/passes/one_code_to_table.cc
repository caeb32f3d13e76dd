#include "octile/numerics/fp.h"
#include "octile/passes/passes.h"

namespace octile::passes {
namespace {

int CodeOf(DType type, int byte) { return type == DType::kS8 ? static_cast<int8_t>(byte) : byte; }

// The value of a one-element constant of codes.
std::optional<int> ScalarCode(const ir::TensorInfo& info) {
  if (!info.is_constant() || info.size() != 1 || !info.is_code()) return std::nullopt;
  return CodeOf(info.dtype, (*info.constant)[0]);
}

// A windowed average of one element per window (adaptive pooling to the size that the image has) is
// a requantization (N8, n = 1).
std::optional<ir::Table> UnitAverage(const ir::Graph& graph, const ir::Step& step) {
  const auto* pool = std::get_if<ir::AveragePool>(&step.op);
  if (pool == nullptr || pool->kernel != std::array<int64_t, 2>{1, 1} ||
      pool->strides != std::array<int64_t, 2>{1, 1} || pool->pads != std::array<int64_t, 4>{}) {
    return std::nullopt;
  }
  const ir::TensorInfo& x = graph.tensor(step.inputs[0]);
  const ir::TensorInfo& out = graph.tensor(step.output);
  ir::Table table;
  table.meaning = "AveragePool";
  for (int byte = 0; byte < 256; ++byte) {
    const int code = CodeOf(x.dtype, byte);
    table.entries[static_cast<size_t>(byte)] = static_cast<uint8_t>(numerics::fp::AverageWindow(
        std::vector<int>{code}, x.quant->scale, x.quant->zero_point, 1, out.quant->scale,
        out.quant->zero_point, {pool->clamp.lo, pool->clamp.hi}));
  }
  return table;
}

}  // namespace

Expected<bool> OneCodeToTable(ir::Graph& graph) {
  bool changed = false;
  for (ir::Step& step : graph.steps) {
    if (std::optional<ir::Table> table = UnitAverage(graph, step)) {
      step.op = std::move(*table);
      step.host_reason.clear();
      changed = true;
      continue;
    }
    const auto* add = std::get_if<ir::Add>(&step.op);
    const auto* mul = std::get_if<ir::Mul>(&step.op);
    if (add == nullptr && mul == nullptr) continue;
    const ir::TensorInfo& a = graph.tensor(step.inputs[0]);
    const ir::TensorInfo& b = graph.tensor(step.inputs[1]);
    const ir::TensorInfo& out = graph.tensor(step.output);
    const std::optional<int> ca = ScalarCode(a);
    const std::optional<int> cb = ScalarCode(b);
    const bool same = step.inputs[0] == step.inputs[1];
    if (!same && !ca && !cb) continue;
    const ir::TensorId source = step.inputs[ca && !same ? 1 : 0];
    const ir::TensorInfo& x = graph.tensor(source);
    if (x.is_constant() || x.size() != out.size()) continue;
    ir::Table table;
    table.meaning = add != nullptr ? "Add" : "Mul";
    for (int byte = 0; byte < 256; ++byte) {
      const int code = CodeOf(x.dtype, byte);
      const int va = ca && !same ? *ca : code;
      const int vb = cb && !same ? *cb : code;
      int y = 0;
      if (add != nullptr) {
        y = numerics::fp::Add(va, vb, {add->ra, add->rb, add->f}, {add->clamp.lo, add->clamp.hi});
      } else {
        const int32_t p = (va - a.quant->zero_point) * (vb - b.quant->zero_point);
        y = numerics::fp::Mul(p, mul->r, out.quant->zero_point, {mul->clamp.lo, mul->clamp.hi});
      }
      table.entries[static_cast<size_t>(byte)] = static_cast<uint8_t>(y);
    }
    step.op = std::move(table);
    step.inputs = {source};
    changed = true;
  }
  return changed;
}

}  // namespace octile::passes
