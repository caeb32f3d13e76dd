// Float values: host steps, and accumulators that are scaled to float (N11).
#include "lowerer.h"

namespace octile::frontend {

TensorId Lowerer::Output(ValueId id) {
  const Value v = m_.value(id);
  if (IsCodeType(v.dtype)) return Codes(id, std::nullopt);
  if (v.constant && !v.quant) return NewConstant(v.name, *v.constant, std::nullopt);
  return Float(id);
}

TensorId Lowerer::Float(ValueId id) {
  if (const auto it = floats_.find(id); it != floats_.end()) return it->second;
  const DepthGuard guard(*this, m_.value(id).name);
  const TensorId t = MakeFloat(id);
  floats_[id] = t;
  return t;
}

TensorId Lowerer::MakeFloat(ValueId id) {
  if (const auto constant = m_.Constant(id))
    return NewConstant(m_.value(id).name, *constant, std::nullopt);
  const Value v = m_.value(id);
  if (v.is_input) return input_tensors_.at(id);
  if (IsCodeType(v.dtype)) return Codes(id, std::nullopt);
  const FlatNode& node = *Producer(id);
  if (const auto codes = TryCodes(id)) {
    std::vector<std::string> nodes;
    if (node.op == "DequantizeLinear") nodes.push_back(node.name);
    return Emit(ir::Dequantize{}, {*codes}, NewTensor(v.name, DType::kF32, v.shape, std::nullopt),
                nodes, "turns codes into float values");
  }
  if (const auto t = FloatAccumulator(id)) return *t;
  if (node.op == "MatMulInteger") return IntegerMatMul(node, v);
  if (MovementOps().count(node.op) && node.op != "MaxPool" && node.op != "GlobalMaxPool" &&
      node.op != "Pad" &&
      !((node.op == "Resize" || node.op == "Upsample") && ResizeOf(m_, node).mode != "nearest")) {
    std::vector<TensorId> inputs;
    for (size_t i = 0; i < (node.op == "Concat" ? node.inputs.size() : 1); ++i)
      inputs.push_back(Float(node.inputs[i]));
    return Move(node, id, inputs, std::nullopt);
  }
  return HostStep(node, id, v);
}

std::optional<TensorId> Lowerer::FloatAccumulator(ValueId id) {
  const auto unit = FindAccumulator(id);
  if (!unit) return std::nullopt;
  const auto x = TryCodes(unit->input);
  if (!x || g_.tensor(*x).is_constant()) return std::nullopt;
  const Value v = m_.value(id);
  const float sx = g_.tensor(*x).quant->scale;
  // A float bias is added after scaling, an int32 bias before.
  AccumulatorUnit raw = *unit;
  const bool quantized_bias = unit->bias != kAbsent && m_.value(unit->bias).quant &&
                              m_.value(unit->bias).quant->codes->dtype == DType::kS32;
  if (!quantized_bias) raw.bias = kAbsent;
  const Accumulator acc = MakeAccumulator(raw, *g_.tensor(*x).quant);
  const std::vector<std::string> nodes = UnitNodes(*unit, {});
  const TensorId sums =
      EmitAccumulator(*unit, *x, acc, std::nullopt, {}, nodes, v.name + "/accumulator");
  ir::ScaleAccumulator scale;
  scale.axis = unit->node->op == "Conv" ? 1 : static_cast<int64_t>(v.shape.size()) - 1;
  for (float sw : acc.weight_scales)
    scale.scales.push_back(acc.alpha == 1.0f ? sx * sw : acc.alpha * sx * sw);
  if (unit->bias != kAbsent && !quantized_bias) {
    const auto values = m_.Constant(unit->bias);
    const float beta = unit->node->op == "Gemm" && unit->bias == unit->node->Input(2)
                           ? unit->node->Float("beta", 1.0f)
                           : 1.0f;
    for (int64_t c = 0; c < acc.channels; ++c)
      scale.bias.push_back(values->data<float>()[values->size() == 1 ? 0 : static_cast<size_t>(c)] *
                           beta);
  }
  return Emit(scale, {sums}, NewTensor(v.name, DType::kF32, v.shape, std::nullopt), nodes,
              "no output quantization: accumulators are scaled to float (N11)");
}

TensorId Lowerer::IntegerMatMul(const FlatNode& node, const Value& v) {
  const auto zero = [&](size_t i, DType type) -> std::vector<int32_t> {
    if (node.Input(i) == kAbsent) return {0};
    const auto c = m_.Constant(node.Input(i));
    if (!c || c->dtype != type)
      Refuse("{}: its zero point is not a constant of its operand's type", Describe(node));
    const Tensor wide = CastTensor(*c, DType::kS32);
    return {wide.data<int32_t>().begin(), wide.data<int32_t>().end()};
  };
  const Value a = m_.value(node.inputs[0]);
  const auto b = m_.Constant(node.inputs[1]);
  if (!b || b->shape.size() != 2 || !IsCodeType(b->dtype) || !IsCodeType(a.dtype))
    Refuse("{}: 8-bit operands and constant weights [K,N] are required", Describe(node));
  const auto za = zero(2, a.dtype);
  if (za.size() != 1) Refuse("{}: a zero point per row is not supported", Describe(node));
  const TensorId x = Codes(node.inputs[0], ir::Quantization{1.0f, za[0]});
  ir::Gemm gemm;
  gemm.weights.dtype = b->dtype;
  gemm.weights.codes = b->bytes;
  gemm.weights.zero_points = zero(3, b->dtype);
  const auto n = static_cast<size_t>(b->shape[1]);
  if (gemm.weights.zero_points.size() == 1)
    gemm.weights.zero_points.assign(n, gemm.weights.zero_points[0]);
  if (gemm.weights.zero_points.size() != n)
    Refuse("{}: its zero points do not fit", Describe(node));
  gemm.bias.assign(n, 0);
  return Emit(gemm, {x}, NewTensor(v.name, DType::kS32, v.shape, std::nullopt), {node.name});
}

ir::HostFloat Lowerer::HostOp(const FlatNode& node) {
  ir::HostFloat host{node.op, {}};
  const auto copy_float = [&](const char* key) {
    if (node.Has(key)) host.attributes[key] = node.Float(key, 0);
  };
  const auto copy_int = [&](const char* key) {
    if (node.Has(key)) host.attributes[key] = node.Int(key, 0);
  };
  const auto copy_ints = [&](const char* key) {
    if (node.Has(key)) host.attributes[key] = node.Ints(key);
  };
  if (ir::IsUnary(node.op)) {
    for (const char* key : {"alpha", "beta", "gamma", "bias", "lambd"}) copy_float(key);
    if (node.op == "Clip") {
      const auto bounds = ClipBounds(node);
      if (!bounds) Refuse("{}: its bounds are not scalar constants", Describe(node));
      if (bounds->first != -std::numeric_limits<float>::infinity())
        host.attributes["min"] = bounds->first;
      if (bounds->second != std::numeric_limits<float>::infinity())
        host.attributes["max"] = bounds->second;
    }
    if (node.Has("approximate"))
      host.attributes["approximate"] = node.String("approximate", "none");
    return host;
  }
  const size_t rank = node.Input(0) == kAbsent ? 0 : m_.value(node.inputs[0]).shape.size();
  if (node.op == "Softmax" || node.op == "LogSoftmax") {
    const int64_t axis = NormalizeAxis(node.Int("axis", node.opset < 13 ? 1 : -1), rank, node);
    if (node.opset < 13 && !LastAxisOnly(m_.value(node.inputs[0]).shape, axis))
      Refuse("{}: softmax over several axes (opset below 13) is not supported", Describe(node));
    host.attributes["axis"] = axis;
  } else if (node.op == "ArgMax" || node.op == "ArgMin") {
    host.attributes["axis"] = NormalizeAxis(node.Int("axis", 0), rank, node);
    copy_int("select_last_index");
  } else if (node.op == "Gather") {
    host.attributes["axis"] = NormalizeAxis(node.Int("axis", 0), rank, node);
  } else if (node.op.starts_with("Reduce")) {
    host.attributes["axes"] = ReduceAxes(m_, node);
  } else if (node.op == "BatchNormalization" || node.op == "InstanceNormalization" ||
             node.op == "LayerNormalization") {
    copy_float("epsilon");
    if (node.op == "LayerNormalization")
      host.attributes["axis"] = NormalizeAxis(node.Int("axis", -1), rank, node);
  } else if (node.op == "Gemm") {
    for (const char* key : {"alpha", "beta"}) copy_float(key);
    for (const char* key : {"transA", "transB"}) copy_int(key);
  } else if (node.op == "Conv" || node.op == "MaxPool" || node.op == "AveragePool") {
    const Shape& x = m_.value(node.inputs[0]).shape;
    std::array<int64_t, 2> kernel{};
    if (node.op == "Conv") {
      const Shape& w = m_.value(node.inputs[1]).shape;
      kernel = {w[2], w[3]};
      host.attributes["group"] = node.Int("group", 1);
    } else {
      const auto list = node.Ints("kernel_shape");
      kernel = {list[0], list[1]};
    }
    const Window w = WindowOf(node, x, kernel);
    host.attributes["kernel_shape"] = std::vector<int64_t>(w.kernel.begin(), w.kernel.end());
    host.attributes["strides"] = std::vector<int64_t>(w.strides.begin(), w.strides.end());
    host.attributes["dilations"] = std::vector<int64_t>(w.dilations.begin(), w.dilations.end());
    host.attributes["pads"] = std::vector<int64_t>(w.pads.begin(), w.pads.end());
    if (node.op == "AveragePool") copy_int("count_include_pad");
  } else if (node.op == "ConvTranspose") {
    for (const char* key : {"strides", "dilations", "pads"}) copy_ints(key);
    copy_int("group");
  } else if (node.op == "Resize" || node.op == "Upsample") {
    const ResizeSpec spec = ResizeOf(m_, node);
    if (spec.mode != "linear")
      Refuse("{}: mode '{}' is not supported; use nearest or linear", Describe(node), spec.mode);
    static const std::set<std::string> kCoordinates = {
        "asymmetric", "align_corners", "half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"};
    if (!kCoordinates.count(spec.coordinates))
      Refuse("{}: coordinate_transformation_mode '{}' is not supported", Describe(node),
             spec.coordinates);
    host.op = "Resize";
    host.attributes["mode"] = spec.mode;
    host.attributes["scales"] = spec.scales;
    host.attributes["coordinate_transformation_mode"] = spec.coordinates;
  } else if (node.op == "Pad") {
    const auto [before, after] = PadsOf(m_, node);
    for (size_t i = 0; i < before.size(); ++i)
      if (before[i] < 0 || after[i] < 0)
        Refuse("{}: negative pads of float values are not supported", Describe(node));
    host.attributes["before"] = before;
    host.attributes["after"] = after;
    host.attributes["mode"] = static_cast<int64_t>(PadModeOf(node));
    host.attributes["value"] = FloatPadValue(node);
  }
  return host;
}

TensorId Lowerer::HostStep(const FlatNode& node, ValueId id, const Value& v) {
  const ir::HostOperator* known = ir::FindHostOperator(node.op == "Upsample" ? "Resize" : node.op);
  if (!known)
    Refuse(
        "{}: {} of values that are not quantized is neither a device nor a host operator (see "
        "`octile ops`)",
        Describe(node), node.op);
  if (node.outputs[0] != id) Refuse("{}: only its first output is supported", Describe(node));
  const bool casts = node.op == "Cast";
  if (!casts && v.dtype != DType::kF32 && node.op != "ArgMax" && node.op != "ArgMin")
    Refuse("{}: {} values at run time are not supported", Describe(node), DTypeName(v.dtype));
  std::vector<TensorId> inputs;
  size_t count = node.inputs.size();
  // Lists that became attributes are no operands.
  if (node.op.starts_with("Reduce") || node.op == "Clip" || node.op == "Pad" ||
      node.op == "Resize" || node.op == "Upsample")
    count = 1;
  for (size_t i = 0; i < count; ++i) {
    if (node.inputs[i] == kAbsent) Refuse("{}: input {} is missing", Describe(node), i);
    const DType type = m_.value(node.inputs[i]).dtype;
    const bool index = node.op == "Gather" && i == 1;
    if (index && !m_.IsConstant(node.inputs[i]))
      Refuse("{}: its indices are computed at run time", Describe(node));
    if (!casts && !index && type != DType::kF32)
      Refuse("{}: {} operands at run time are not supported", Describe(node), DTypeName(type));
    if (index && type != DType::kS64 && type != DType::kS32)
      Refuse("{}: its indices are {}", Describe(node), DTypeName(type));
    inputs.push_back(Float(node.inputs[i]));
  }
  return Emit(HostOp(node), inputs, NewTensor(v.name, v.dtype, v.shape, std::nullopt), {node.name},
              std::string(known->reason));
}

}  // namespace octile::frontend
