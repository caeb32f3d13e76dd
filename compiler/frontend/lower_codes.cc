// Codes: integer values, float values that are exactly dequantized codes, and data movement between
// them.
#include "lowerer.h"

namespace octile::frontend {

TensorId Lowerer::Codes(ValueId id, std::optional<ir::Quantization> want) {
  const auto key = std::make_tuple(id, want.has_value(), want ? num::FloatBits(want->scale) : 0u,
                                   want ? want->zero_point : 0);
  if (const auto it = codes_.find(key); it != codes_.end()) return it->second;
  const DepthGuard guard(*this, m_.value(id).name);
  const TensorId t = MakeCodes(id, want);
  codes_[key] = t;
  return t;
}

TensorId Lowerer::MakeCodes(ValueId id, std::optional<ir::Quantization> want) {
  const Value v = m_.value(id);
  if (v.constant)
    return NewConstant(v.name, *v.constant, IsCodeType(v.dtype) ? want : std::nullopt);
  if (v.is_input) {
    const TensorId t = input_tensors_.at(id);
    if (!want) return t;
    if (!g_.tensor(t).quant) g_.tensor(t).quant = want;
    return WithQuant(t, *want);
  }
  const FlatNode& node = *Producer(id);
  if (node.op == "QuantizeLinear") {
    const Params p = ParamsOf(node);
    const TensorId t = Quantized(node.inputs[0], p, ir::FullRange(p.type), {node.name}, v.name);
    return want ? WithQuant(t, *want) : t;
  }
  if (MovementOps().count(node.op)) {
    std::vector<TensorId> inputs;
    for (size_t i = 0; i < (node.op == "Concat" ? node.inputs.size() : 1); ++i)
      inputs.push_back(Codes(node.inputs[i], want));
    std::optional<int32_t> fill;
    if (node.op == "Pad") fill = IntegerPadValue(node, v.dtype);
    return Move(node, id, inputs, fill);
  }
  if (node.op == "Clip" || node.op == "Max" || node.op == "Min" || node.op == "Relu") {
    // Integer clipping (narrow ranges of some exporters).
    const TensorId x = Codes(node.inputs[0], want);
    auto [lo, hi] = ir::FullRange(v.dtype);
    const auto bound = [&](size_t i) -> std::optional<int32_t> {
      const auto c = m_.Constant(node.Input(i));
      if (node.Input(i) != kAbsent && (!c || c->size() != 1 || c->dtype != v.dtype))
        Refuse("node '{}' ({}): its bound is not a scalar constant of its type", node.name,
               node.op);
      if (!c) return std::nullopt;
      return v.dtype == DType::kS8 ? static_cast<int8_t>(c->bytes[0]) : c->bytes[0];
    };
    if (node.op == "Relu") lo = std::max(lo, 0);
    if (node.op == "Max") lo = bound(1).value_or(lo);
    if (node.op == "Min") hi = bound(1).value_or(hi);
    if (node.op == "Clip") {
      lo = bound(1).value_or(lo);
      hi = bound(2).value_or(hi);
    }
    ir::Table table;
    table.meaning = node.op;
    for (int i = 0; i < 256; ++i) {
      const int q = v.dtype == DType::kS8 ? static_cast<int8_t>(i) : i;
      table.entries[static_cast<size_t>(i)] = static_cast<uint8_t>(std::min(std::max(q, lo), hi));
    }
    return Emit(table, {x}, NewTensor(v.name, v.dtype, v.shape, g_.tensor(x).quant), {node.name});
  }
  Refuse("node '{}': operator {} on {} values is not supported", node.name, node.op,
         DTypeName(v.dtype));
}

TensorId Lowerer::WithQuant(TensorId t, ir::Quantization quant) {
  if (g_.tensor(t).quant == quant) return t;
  ir::Table table;
  table.meaning = "reinterpret";
  for (size_t i = 0; i < 256; ++i) table.entries[i] = static_cast<uint8_t>(i);
  const ir::TensorInfo info = g_.tensor(t);
  return Emit(table, {t}, NewTensor(info.name, info.dtype, info.shape, quant), {});
}

int32_t Lowerer::IntegerPadValue(const FlatNode& node, DType type) {
  if (node.Input(2) == kAbsent) return 0;
  const auto c = m_.Constant(node.Input(2));
  if (!c || c->size() != 1 || c->dtype != type)
    Refuse("node '{}' (Pad): its value is not a scalar constant", node.name);
  return type == DType::kS8 ? static_cast<int8_t>(c->bytes[0]) : c->bytes[0];
}

float Lowerer::FloatPadValue(const FlatNode& node) {
  if (node.opset < 11) return node.Float("value", 0.0f);
  if (node.Input(2) == kAbsent) return 0.0f;
  const auto c = m_.Constant(node.Input(2));
  if (!c || c->size() != 1 || c->dtype != DType::kF32)
    Refuse("node '{}' (Pad): its value is not a scalar constant", node.name);
  return c->data<float>()[0];
}

ir::PadMode Lowerer::PadModeOf(const FlatNode& node) {
  const std::string mode = node.String("mode", "constant");
  if (mode == "constant") return ir::PadMode::kConstant;
  if (mode == "reflect") return ir::PadMode::kReflect;
  if (mode == "edge") return ir::PadMode::kEdge;
  Refuse("node '{}' (Pad): mode '{}' is not supported", node.name, mode);
}

std::optional<TensorId> Lowerer::TryCodes(ValueId id) {
  if (id == kAbsent) return std::nullopt;
  if (const auto it = exact_.find(id); it != exact_.end()) return it->second;
  const DepthGuard guard(*this, m_.value(id).name);
  const auto t = MakeTryCodes(id);
  exact_[id] = t;
  return t;
}

std::optional<TensorId> Lowerer::MakeTryCodes(ValueId id) {
  const Value v = m_.value(id);
  if (v.quant) {
    const QuantConstant& quant = *v.quant;
    if (!IsCodeType(quant.codes->dtype) || quant.scales.size() != 1) return std::nullopt;
    if (!num::CheckActivationScale(quant.scales[0], "scale")) return std::nullopt;
    return NewConstant(v.name, *quant.codes,
                       ir::Quantization{quant.scales[0], quant.zero_points[0]});
  }
  const FlatNode* node = Producer(id);
  if (!node || v.dtype != DType::kF32) return std::nullopt;
  if (node->op == "DequantizeLinear") {
    if (!IsCodeType(m_.value(node->inputs[0]).dtype))
      Refuse("node '{}' (DequantizeLinear): int32 values computed at run time are not supported",
             node->name);
    return Codes(node->inputs[0], ParamsOf(*node).quant());
  }
  if (MovementOps().count(node->op)) {
    if ((node->op == "Resize" || node->op == "Upsample") && ResizeOf(m_, *node).mode != "nearest")
      return std::nullopt;
    std::vector<TensorId> inputs;
    for (size_t i = 0; i < (node->op == "Concat" ? node->inputs.size() : 1); ++i) {
      const auto t = TryCodes(node->inputs[i]);
      if (!t || (i > 0 && !g_.tensor(*t).same_encoding(g_.tensor(inputs[0])))) return std::nullopt;
      inputs.push_back(*t);
    }
    std::optional<int32_t> fill;
    if (node->op == "Pad" && PadModeOf(*node) == ir::PadMode::kConstant) {
      const ir::TensorInfo& x = g_.tensor(inputs[0]);
      const float value = FloatPadValue(*node);
      fill = num::fp::Quantize(value, x.quant->scale, x.quant->zero_point, NumRange(x.dtype));
      if (num::fp::Dequantize(*fill, x.quant->zero_point, x.quant->scale) != value)
        return std::nullopt;
    }
    return Move(*node, id, inputs, fill);
  }
  if (node->op == "Relu") {  // max(q, z) is exact
    const auto x = TryCodes(node->inputs[0]);
    if (!x) return std::nullopt;
    const ir::TensorInfo info = g_.tensor(*x);
    ir::Table table;
    table.meaning = "Relu";
    bool identity = true;
    for (int i = 0; i < 256; ++i) {
      const int q = info.dtype == DType::kS8 ? static_cast<int8_t>(i) : i;
      const int y = std::max(q, info.quant->zero_point);
      identity &= y == q;
      table.entries[static_cast<size_t>(i)] = static_cast<uint8_t>(y);
    }
    if (identity) return x;
    return Emit(table, {*x}, NewTensor(v.name, info.dtype, info.shape, info.quant), {node->name});
  }
  return std::nullopt;
}

TensorId Lowerer::Move(const FlatNode& node, ValueId output, const std::vector<TensorId>& inputs,
                       std::optional<int32_t> fill, const std::string& name) {
  const ir::TensorInfo x = g_.tensor(inputs[0]);
  Value v = m_.value(output);
  if (!name.empty()) v.name = name;
  const std::string reason = x.is_code() ? "" : "its input is float";
  const auto result = [&](const Shape& shape) {
    return NewTensor(v.name, x.dtype, shape, x.quant);
  };
  const auto emit = [&](ir::Op op) {
    return Emit(std::move(op), inputs, result(v.shape), {node.name}, reason);
  };
  const auto& op = node.op;
  if (op == "Reshape" || op == "Flatten" || op == "Squeeze" || op == "Unsqueeze") {
    return emit(ir::Reshape{});
  }
  if (op == "Transpose") {
    ir::Transpose t{node.Ints("perm")};
    if (t.perm.empty())
      for (size_t i = x.shape.size(); i-- > 0;) t.perm.push_back(static_cast<int64_t>(i));
    return emit(t);
  }
  if (op == "Slice") {
    const SliceRange range = SliceOf(m_, node);
    return emit(ir::Slice{range.starts, range.steps});
  }
  if (op == "Split") {
    const auto axis = static_cast<size_t>(NormalizeAxis(node.Int("axis", 0), x.shape.size(), node));
    ir::Slice slice{std::vector<int64_t>(x.shape.size(), 0),
                    std::vector<int64_t>(x.shape.size(), 1)};
    const auto sizes = SplitSizes(m_, node);
    for (size_t i = 0; i < node.outputs.size() && node.outputs[i] != output; ++i)
      slice.starts[axis] += sizes[i];
    return emit(slice);
  }
  if (op == "Concat") {
    return emit(ir::Concat{NormalizeAxis(node.Int("axis", 0), x.shape.size(), node)});
  }
  if (op == "Pad") return MovePad(node, v, inputs[0], fill.value_or(0));
  if (op == "Resize" || op == "Upsample") return emit(NearestOf(node, x.shape));
  if (op == "MaxPool") {
    const auto kernel = node.Ints("kernel_shape");
    const Window w = WindowOf(node, x.shape, {kernel[0], kernel[1]});
    return emit(ir::MaxPool{w.kernel, w.strides, w.dilations, w.pads});
  }
  if (op == "GlobalMaxPool") {
    if (x.shape.size() != 4)
      Refuse("node '{}' (GlobalMaxPool): rank {} is not supported", node.name, x.shape.size());
    ir::MaxPool pool;
    pool.kernel = {x.shape[2], x.shape[3]};
    return emit(pool);
  }
  if (op == "Expand") {
    if (ElementCount(x.shape) != ElementCount(v.shape))
      Refuse("node '{}' (Expand): broadcasting an activation is not supported", node.name);
    return emit(ir::Reshape{});
  }
  if (op == "DepthToSpace" || op == "SpaceToDepth") {
    const int64_t b = node.Int("blocksize", 1);
    const Shape& s = x.shape;
    Shape split;
    std::vector<int64_t> perm;
    if (op == "SpaceToDepth") {
      split = {s[0], s[1], s[2] / b, b, s[3] / b, b};
      perm = {0, 3, 5, 1, 2, 4};
    } else if (node.String("mode", "DCR") == "DCR") {
      split = {s[0], b, b, s[1] / (b * b), s[2], s[3]};
      perm = {0, 3, 4, 1, 5, 2};
    } else {
      split = {s[0], s[1] / (b * b), b, b, s[2], s[3]};
      perm = {0, 1, 4, 2, 5, 3};
    }
    Shape moved;
    for (int64_t p : perm) moved.push_back(split[static_cast<size_t>(p)]);
    const TensorId a = Emit(ir::Reshape{}, inputs, result(split), {node.name}, reason);
    const TensorId t = Emit(ir::Transpose{perm}, {a}, result(moved), {node.name}, reason);
    return Emit(ir::Reshape{}, {t}, result(v.shape), {node.name}, reason);
  }
  Refuse("node '{}': operator {} is not a data movement", node.name, op);
}

TensorId Lowerer::MovePad(const FlatNode& node, const Value& v, TensorId x, int32_t fill) {
  const ir::TensorInfo info = g_.tensor(x);
  auto [before, after] = PadsOf(m_, node);
  ir::Slice slice{std::vector<int64_t>(before.size(), 0), std::vector<int64_t>(before.size(), 1)};
  Shape cropped = info.shape;
  bool crop = false;
  bool pad = false;
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i] < 0) slice.starts[i] = -before[i];
    cropped[i] += std::min<int64_t>(before[i], 0) + std::min<int64_t>(after[i], 0);
    if (cropped[i] < 1)
      Refuse("node '{}' (Pad): negative pads leave nothing of axis {}", node.name, i);
    crop |= before[i] < 0 || after[i] < 0;
    pad |= before[i] > 0 || after[i] > 0;
    before[i] = std::max<int64_t>(before[i], 0);
    after[i] = std::max<int64_t>(after[i], 0);
  }
  if (crop) x = Emit(slice, {x}, NewTensor(v.name, info.dtype, cropped, info.quant), {node.name});
  if (!pad) return x;
  ir::Pad op{before, after, PadModeOf(node), fill};
  if (op.mode == ir::PadMode::kReflect)
    for (size_t i = 0; i < before.size(); ++i)
      if (before[i] >= cropped[i] || after[i] >= cropped[i])
        Refuse("node '{}' (Pad): reflection by {} exceeds axis {}", node.name,
               std::max(before[i], after[i]), i);
  if (op.mode != ir::PadMode::kConstant) op.value = 0;
  return Emit(op, {x}, NewTensor(v.name, info.dtype, v.shape, info.quant), {node.name});
}

ir::ResizeNearest Lowerer::NearestOf(const FlatNode& node, const Shape& x) {
  const ResizeSpec spec = ResizeOf(m_, node);
  if (spec.mode != "nearest")
    Refuse("node '{}' ({}): mode '{}' is not supported here", node.name, node.op, spec.mode);
  if (x.size() != 4 || spec.output[0] != x[0] || spec.output[1] != x[1])
    Refuse("node '{}' ({}): only height and width of [N,C,H,W] can be resized", node.name, node.op);
  ir::ResizeNearest resize;
  resize.rows = NearestIndices(node, spec, 2, x[2]);
  resize.columns = NearestIndices(node, spec, 3, x[3]);
  return resize;
}

std::vector<int64_t> Lowerer::NearestIndices(const FlatNode& node, const ResizeSpec& spec,
                                             size_t axis, int64_t in) {
  const int64_t out = spec.output[axis];
  const float scale = spec.scales[axis];
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < out; ++i) {
    const auto x = static_cast<float>(i);
    float at = 0;
    if (scale == 1.0f) {
      at = x;
    } else if (spec.coordinates == "asymmetric") {
      at = x / scale;
    } else if (spec.coordinates == "half_pixel") {
      at = (x + 0.5f) / scale - 0.5f;
    } else if (spec.coordinates == "pytorch_half_pixel") {
      at = out > 1 ? (x + 0.5f) / scale - 0.5f : 0.0f;
    } else if (spec.coordinates == "align_corners") {
      at = out == 1 ? 0.0f : x * static_cast<float>(in - 1) / static_cast<float>(out - 1);
    } else if (spec.coordinates == "half_pixel_symmetric") {
      const float adjustment = static_cast<float>(out) / (scale * static_cast<float>(in));
      at = static_cast<float>(in) / 2.0f * (1.0f - adjustment) + (x + 0.5f) / scale - 0.5f;
    } else {
      Refuse("node '{}' ({}): coordinate_transformation_mode '{}' is not supported", node.name,
             node.op, spec.coordinates);
    }
    float nearest = 0;
    if (spec.nearest == "floor") {
      nearest = std::floor(at);
    } else if (spec.nearest == "ceil") {
      nearest = std::ceil(at);
    } else if (spec.nearest == "round_prefer_floor") {
      nearest = at == std::floor(at) + 0.5f ? std::floor(at) : std::round(at);
    } else if (spec.nearest == "round_prefer_ceil") {
      nearest = std::round(at);
    } else {
      Refuse("node '{}' ({}): nearest_mode '{}' is not supported", node.name, node.op,
             spec.nearest);
    }
    indices.push_back(std::clamp<int64_t>(static_cast<int64_t>(nearest), 0, in - 1));
  }
  return indices;
}

}  // namespace octile::frontend
