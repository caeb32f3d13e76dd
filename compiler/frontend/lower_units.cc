// Quantized units: from a QuantizeLinear back to the operator whose rule computes its codes.
#include "lowerer.h"

namespace octile::frontend {

TensorId Lowerer::Quantized(ValueId x, const Params& p, ir::CodeRange range,
                            std::vector<std::string> nodes, const std::string& name) {
  const auto key = std::make_tuple(x, p.type, num::FloatBits(p.scale), p.zero, range.lo, range.hi);
  if (const auto it = quantized_.find(key); it != quantized_.end()) return it->second;
  const DepthGuard guard(*this, m_.value(x).name);
  const TensorId t = MakeQuantized(x, p, range, std::move(nodes), name);
  quantized_[key] = t;
  return t;
}

TensorId Lowerer::MakeQuantized(ValueId x, const Params& p, ir::CodeRange range,
                                std::vector<std::string> nodes, const std::string& name) {
  const Value v = m_.value(x);
  if (v.dtype != DType::kF32)
    Refuse("value '{}' is quantized but is {}", v.name, DTypeName(v.dtype));
  if (const auto constant = m_.Constant(x)) {
    Tensor codes(p.type, v.shape);
    for (size_t i = 0; i < codes.bytes.size(); ++i) {
      const int q =
          num::fp::Quantize(constant->data<float>()[i], p.scale, p.zero, NumRange(p.type));
      codes.bytes[i] = static_cast<uint8_t>(std::clamp(q, range.lo, range.hi));
    }
    return NewConstant(name, codes, p.quant());
  }
  if (const auto t = TryTable(x, p, range, nodes, name, false)) return *t;

  const FlatNode* node = Producer(x);
  if (node && (node->op == "Relu" || node->op == "Clip")) {
    const auto bounds = ClipBounds(*node);
    if (bounds) {
      const auto code = [&](float value) {
        return num::fp::Quantize(value, p.scale, p.zero, NumRange(p.type));
      };
      ir::CodeRange inner;
      inner.lo = std::clamp(code(bounds->first), range.lo, range.hi);
      inner.hi = std::clamp(code(bounds->second), range.lo, range.hi);
      if (inner.lo <= inner.hi && CanFuseClamp(node->inputs[0])) {
        std::vector<std::string> more = nodes;
        more.push_back(node->name);
        return Quantized(node->inputs[0], p, inner, more, name);
      }
    }
  }
  if (node) {
    std::vector<std::string> more = nodes;
    more.push_back(node->name);
    if (const auto t = AccumulatorStep(x, p, range, nodes, name)) return *t;
    if (const auto t = PoolStep(*node, p, range, more, name)) return *t;
    if (const auto t = PairStep(*node, v, p, range, more, name)) return *t;
    if (const auto t = NormalizationStep(*node, p, range, more, name)) return *t;
    if (const auto t = SoftmaxStep(*node, p, range, more, name)) return *t;
    if (MovementOps().count(node->op) && !((node->op == "Resize" || node->op == "Upsample") &&
                                           ResizeOf(m_, *node).mode != "nearest"))
      return MoveQuantized(*node, x, p, range, name);
  }
  if (const auto t = TryTable(x, p, range, nodes, name, true)) return *t;
  // No integer rule: evaluate in fp32 on the host and quantize (N4).
  const TensorId value = Float(x);
  TensorId t = NewTensor(name, p.type, v.shape, p.quant());
  Emit(ir::Quantize{}, {value}, t, Reversed(nodes), "turns float values into codes");
  if (range != ir::FullRange(p.type)) {
    ir::Table table;
    table.meaning = "Clip";
    for (int i = 0; i < 256; ++i) {
      const int q = p.type == DType::kS8 ? static_cast<int8_t>(i) : i;
      table.entries[static_cast<size_t>(i)] =
          static_cast<uint8_t>(std::clamp(q, range.lo, range.hi));
    }
    t = Emit(table, {t}, NewTensor(name, p.type, v.shape, p.quant()), Reversed(nodes));
  }
  return t;
}

std::vector<std::string> Lowerer::Reversed(std::vector<std::string> nodes) {
  std::reverse(nodes.begin(), nodes.end());
  return nodes;
}

bool Lowerer::CanFuseClamp(ValueId x) {
  const FlatNode* node = Producer(x);
  if (!node) return false;
  if (node->op == "Relu" || node->op == "Clip")
    return ClipBounds(*node) && CanFuseClamp(node->inputs[0]);
  if (const auto unit = FindAccumulator(x)) return TryCodes(unit->input).has_value();
  if (TryCodes(x)) return true;
  if (node->op == "GlobalAveragePool" || node->op == "AveragePool" || node->op == "ReduceMean")
    return TryCodes(node->inputs[0]).has_value();
  if (node->op == "Add" || node->op == "Mul")
    return TryCodes(node->inputs[0]) && TryCodes(node->inputs[1]);
  if (node->op == "BatchNormalization") return NormalizesCodes(*node);
  if (node->op == "Concat") {
    for (ValueId id : node->inputs)
      if (!TryCodes(id) && !CanFuseClamp(id)) return false;
    return true;
  }
  if (node->op == "Pad") return false;  // the padding would be clamped, too
  if (MovementOps().count(node->op) && node->op != "Resize" && node->op != "Upsample")
    return CanFuseClamp(node->inputs[0]);
  return false;
}

std::optional<std::pair<float, float>> Lowerer::ClipBounds(const FlatNode& node) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (node.op == "Relu") return std::make_pair(0.0f, kInfinity);
  float lo = node.Float("min", -kInfinity);
  float hi = node.Float("max", kInfinity);
  for (size_t i : {size_t{1}, size_t{2}}) {
    if (node.Input(i) == kAbsent) continue;
    const auto c = m_.Constant(node.Input(i));
    if (!c || c->size() != 1 || c->dtype != DType::kF32) return std::nullopt;
    (i == 1 ? lo : hi) = c->data<float>()[0];
  }
  if (std::isnan(lo) || std::isnan(hi))
    Refuse("node '{}' (Clip): a bound is not a number", node.name);
  if (lo > hi) lo = hi;  // min(max(x, lo), hi) is hi
  return std::make_pair(lo, hi);
}

TensorId Lowerer::MoveQuantized(const FlatNode& node, ValueId x, const Params& p,
                                ir::CodeRange range, const std::string& name) {
  const size_t count = node.op == "Concat" ? node.inputs.size() : 1;
  // A value that has codes is moved first and rescaled after (N8: max, then N9), where there is
  // one input.
  if (count == 1 && node.op != "Pad") {
    if (const auto moved = TryCodes(x)) return Rescaled(*moved, p, range, {node.name}, name);
  }
  std::vector<TensorId> inputs;
  for (size_t i = 0; i < count; ++i)
    inputs.push_back(Quantized(node.inputs[i], p, range, {},
                               fmt::format("{}/{}", name, m_.value(node.inputs[i]).name)));
  std::optional<int32_t> fill;
  if (node.op == "Pad" && PadModeOf(node) == ir::PadMode::kConstant)
    fill = std::clamp(num::fp::Quantize(FloatPadValue(node), p.scale, p.zero, NumRange(p.type)),
                      range.lo, range.hi);
  return Move(node, x, inputs, fill, name);
}

TensorId Lowerer::Rescaled(TensorId x, const Params& p, ir::CodeRange range,
                           const std::vector<std::string>& nodes, const std::string& name) {
  const ir::TensorInfo info = g_.tensor(x);
  ir::Table table;
  table.meaning = "requantize";
  for (int i = 0; i < 256; ++i) {
    const int q = info.dtype == DType::kS8 ? static_cast<int8_t>(i) : i;
    const int y = num::fp::Rescale(q, info.quant->scale, info.quant->zero_point, p.scale, p.zero,
                                   NumRange(p.type));
    table.entries[static_cast<size_t>(i)] = static_cast<uint8_t>(std::clamp(y, range.lo, range.hi));
  }
  return EmitTable(table, x, p, info.shape, nodes, name);
}

TensorId Lowerer::EmitTable(const ir::Table& table, TensorId x, const Params& p, const Shape& shape,
                            const std::vector<std::string>& nodes, const std::string& name) {
  bool identity = g_.tensor(x).dtype == p.type && g_.tensor(x).quant == p.quant() &&
                  g_.tensor(x).shape == shape;
  for (size_t i = 0; identity && i < 256; ++i) identity = table.entries[i] == i;
  if (identity) return x;
  return Emit(table, {x}, NewTensor(name, p.type, shape, p.quant()), nodes);
}

std::optional<TensorId> Lowerer::PoolStep(const FlatNode& node, const Params& p,
                                          ir::CodeRange range,
                                          const std::vector<std::string>& nodes,
                                          const std::string& name) {
  if (node.op != "GlobalAveragePool" && node.op != "AveragePool" && node.op != "ReduceMean")
    return std::nullopt;
  const auto x = TryCodes(node.inputs[0]);
  if (!x) return std::nullopt;
  const ir::TensorInfo info = g_.tensor(*x);
  if (info.shape.size() != 4) return std::nullopt;
  const Shape shape = m_.value(node.outputs[0]).shape;
  bool global = node.op == "GlobalAveragePool";
  if (node.op == "ReduceMean") {
    if (ReduceAxes(m_, node) != std::vector<int64_t>{2, 3}) return std::nullopt;
    global = true;
  }
  Window window;
  if (node.op == "AveragePool") {
    const auto kernel = node.Ints("kernel_shape");
    window = WindowOf(node, info.shape, {kernel[0], kernel[1]});
    global = kernel[0] == info.shape[2] && kernel[1] == info.shape[3] &&
             window.pads == std::array<int64_t, 4>{} &&
             window.dilations == std::array<int64_t, 2>{1, 1};
  }
  const TensorId y = NewTensor(name, p.type, shape, p.quant());
  if (global) {
    ir::GlobalAveragePool pool;
    pool.multiplier = Encoded(
        num::AverageMultiplier(info.quant->scale, p.scale, info.shape[2] * info.shape[3]), node);
    pool.clamp = range;
    return Emit(pool, {*x}, y, Reversed(nodes));
  }
  ir::AveragePool pool{window.kernel,
                       window.strides,
                       window.dilations,
                       window.pads,
                       node.Int("count_include_pad", 0) != 0,
                       range,
                       {}};
  const std::string reason =
      num::hw::SupportedAverageScale(info.quant->scale)
          ? ""
          : "its input scale is outside the range of the device's fp32 adder";
  return Emit(pool, {*x}, y, Reversed(nodes), reason);
}

bool Lowerer::SwapsRoles(const Shape& a, const Shape& b, const Shape& shape) {
  const auto sa = ir::BroadcastStrides(a, shape);
  const auto sb = ir::BroadcastStrides(b, shape);
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 1) continue;
    return sa[i] == 0 && sb[i] != 0;
  }
  return false;
}

std::optional<TensorId> Lowerer::PairStep(const FlatNode& node, const Value& v, const Params& p,
                                          ir::CodeRange range,
                                          const std::vector<std::string>& nodes,
                                          const std::string& name) {
  if (node.op != "Add" && node.op != "Mul") return std::nullopt;
  const auto first = TryCodes(node.inputs[0]);
  const auto second = TryCodes(node.inputs[1]);
  if (!first || !second) return std::nullopt;
  TensorId a = *first;
  TensorId b = *second;
  if (node.op == "Add" && SwapsRoles(g_.tensor(a).shape, g_.tensor(b).shape, v.shape))
    std::swap(a, b);
  const ir::Quantization qa = *g_.tensor(a).quant;
  const ir::Quantization qb = *g_.tensor(b).quant;
  const TensorId y = NewTensor(name, p.type, v.shape, p.quant());
  if (node.op == "Mul") {
    const auto r = num::MulRatio(qa.scale, qb.scale, p.scale);
    if (!r) Refuse("{}: {}", Describe(node), r.error().message);
    return Emit(ir::Mul{*r, range}, {a, b}, y, Reversed(nodes));
  }
  const auto c =
      num::MakeAddConstants(qa.scale, qa.zero_point, qb.scale, qb.zero_point, p.scale, p.zero);
  if (!c) Refuse("{}: {}", Describe(node), c.error().message);
  const std::string reason = num::SupportedAddConstants(*c)
                                 ? ""
                                 : "its scales are outside the range of the device's fp32 adder";
  return Emit(ir::Add{c->ra, c->rb, c->f, range}, {a, b}, y, Reversed(nodes), reason);
}

bool Lowerer::NormalizesCodes(const FlatNode& node) {
  if (node.op != "BatchNormalization" || !TryCodes(node.inputs[0])) return false;
  for (size_t i = 1; i < 5; ++i)
    if (!m_.IsConstant(node.inputs[i])) return false;
  return true;
}

std::optional<TensorId> Lowerer::NormalizationStep(const FlatNode& node, const Params& p,
                                                   ir::CodeRange range,
                                                   const std::vector<std::string>& nodes,
                                                   const std::string& name) {
  if (!NormalizesCodes(node)) return std::nullopt;
  const TensorId x = *TryCodes(node.inputs[0]);
  const ir::TensorInfo info = g_.tensor(x);
  std::array<std::shared_ptr<const Tensor>, 4> parameters;  // scale, B, mean, var
  for (size_t i = 0; i < 4; ++i) {
    parameters[i] = m_.Constant(node.inputs[i + 1]);
    if (!parameters[i] || parameters[i]->dtype != DType::kF32)
      Refuse("{}: input {} is not a constant of fp32 values", Describe(node), i + 1);
  }
  const float epsilon = node.Float("epsilon", 1e-5f);
  ir::Affine affine;
  affine.clamp = range;
  bool supported = true;
  for (int64_t c = 0; c < info.shape[1]; ++c) {
    const auto value = [&](size_t i) {
      return parameters[i]->data<float>()[static_cast<size_t>(c)];
    };
    const auto constants = num::MakeAffineConstants(
        {value(0), value(1), value(2), value(3)}, epsilon, info.quant->scale,
        info.quant->zero_point, NumRange(info.dtype), p.scale, p.zero, NumRange(p.type));
    if (!constants) Refuse("{}: channel {}: {}", Describe(node), c, constants.error().message);
    supported = supported && num::SupportedAffineConstants(*constants);
    affine.factors.push_back(constants->a);
    affine.offsets.push_back(constants->f);
  }
  return Emit(affine, {x}, NewTensor(name, p.type, info.shape, p.quant()), Reversed(nodes),
              supported ? "" : "its factors are outside the range of the device's fp32 adder");
}

std::optional<TensorId> Lowerer::SoftmaxStep(const FlatNode& node, const Params& p,
                                             ir::CodeRange range,
                                             const std::vector<std::string>& nodes,
                                             const std::string& name) {
  if (node.op != "Softmax" || range != ir::FullRange(p.type)) return std::nullopt;
  const auto x = TryCodes(node.inputs[0]);
  if (!x || g_.tensor(*x).dtype != p.type) return std::nullopt;
  const Shape& shape = g_.tensor(*x).shape;
  const int64_t axis =
      NormalizeAxis(node.Int("axis", node.opset < 13 ? 1 : -1), shape.size(), node);
  if (node.opset < 13 && !LastAxisOnly(shape, axis)) return std::nullopt;
  return Emit(ir::Softmax{axis}, {*x}, NewTensor(name, p.type, shape, p.quant()), Reversed(nodes),
              "exponentials and a division over a whole row (N10)");
}

bool Lowerer::LastAxisOnly(const Shape& shape, int64_t axis) {
  for (size_t i = static_cast<size_t>(axis) + 1; i < shape.size(); ++i)
    if (shape[i] != 1) return false;
  return true;
}

}  // namespace octile::frontend
