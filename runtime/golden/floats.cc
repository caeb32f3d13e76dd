// Host steps (N4, N11, N13) and windows. Every fp32 operation of a rule is an operator of its own;
// what the rules accumulate in fp64 is computed by operators on doubles and cast once.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "octile/ir/host_ops.h"
#include "step_writer.h"

namespace octile::golden {
namespace {

template <class T>
T Get(const ir::HostFloat& op, const char* key, T fallback) {
  const auto it = op.attributes.find(key);
  if (it == op.attributes.end()) return fallback;
  const T* value = std::get_if<T>(&it->second);
  if (value == nullptr) {
    throw Inexpressible{fmt::format("{}: attribute '{}' has the wrong type", op.op, key)};
  }
  return *value;
}

int64_t AxisOf(const ir::HostFloat& op, int64_t fallback, const Shape& shape) {
  const auto axis = Get<int64_t>(op, "axis", fallback);
  return axis < 0 ? axis + static_cast<int64_t>(shape.size()) : axis;
}

Window WindowOf(const ir::HostFloat& op, int64_t kernel_h, int64_t kernel_w) {
  using List = std::vector<int64_t>;
  const List kernel = Get<List>(op, "kernel_shape", {kernel_h, kernel_w});
  const List strides = Get<List>(op, "strides", {1, 1});
  const List dilations = Get<List>(op, "dilations", {1, 1});
  const List pads = Get<List>(op, "pads", {0, 0, 0, 0});
  if (kernel.size() != 2 || strides.size() != 2 || dilations.size() != 2 || pads.size() != 4) {
    throw Inexpressible{fmt::format("{}: an attribute has the wrong length", op.op)};
  }
  return {{kernel[0], kernel[1]},
          {strides[0], strides[1]},
          {dilations[0], dilations[1]},
          {pads[0], pads[1], pads[2], pads[3]}};
}

// Where output index i of a linear resize lies in the source, in fp32 as ONNX states it.
float SourceCoordinate(const std::string& mode, int64_t i, float scale, int64_t in, int64_t out) {
  const auto at = static_cast<float>(i);
  const auto length = static_cast<float>(in);
  const auto resized = static_cast<float>(out);
  if (mode == "asymmetric") return at / scale;
  if (mode == "half_pixel") return (at + 0.5f) / scale - 0.5f;
  if (mode == "pytorch_half_pixel") return out == 1 ? 0.0f : (at + 0.5f) / scale - 0.5f;
  if (mode == "align_corners") return out == 1 ? 0.0f : at * (length - 1) / (resized - 1);
  if (mode == "half_pixel_symmetric") {
    const float offset = length / 2 * (1 - resized / (scale * length));
    return offset + (at + 0.5f) / scale - 0.5f;
  }
  throw Inexpressible{fmt::format("Resize: coordinate_transformation_mode '{}' is unknown", mode)};
}

}  // namespace

Value StepWriter::Write() {
  return std::visit([&](const auto& op) { return Write(op); }, step_.op);
}

// --- N4, N11 ---

Value StepWriter::Write(const ir::Quantize&) {
  return b_.Node("QuantizeLinear", {ValueOf(0), b_.Scalar(out_.quant->scale),
                                    b_.ScalarCode(out_.dtype, out_.quant->zero_point)});
}

Value StepWriter::DequantizedValue(const Value& x, const ir::Quantization& q) {
  Value v = Single(x);
  if (q.zero_point != 0) {
    v = b_.Node("Sub", {v, b_.Scalar(static_cast<float>(q.zero_point))});
  }
  return b_.Node("Mul", {v, b_.Scalar(q.scale)});
}

Value StepWriter::Write(const ir::Dequantize&) {
  const ir::TensorInfo& in = In(0);
  // Only at the edge: ONNX Runtime fuses DequantizeLinear with what follows it.
  if (consumed_[static_cast<size_t>(step_.output)]) {
    return DequantizedValue(ValueOf(0), *in.quant);
  }
  return b_.Node("DequantizeLinear", {ValueOf(0), b_.Scalar(in.quant->scale),
                                      b_.ScalarCode(in.dtype, in.quant->zero_point)});
}

Value StepWriter::Write(const ir::ScaleAccumulator& op) {
  Shape along(out_.shape.size() - static_cast<size_t>(op.axis), 1);
  along[0] = static_cast<int64_t>(op.scales.size());
  const Value scaled = b_.Node("Mul", {Single(ValueOf(0)), b_.Floats(op.scales, along)});
  return op.bias.empty() ? scaled : b_.Node("Add", {scaled, b_.Floats(op.bias, along)});
}

// --- Windows ---

Value StepWriter::PadToWindows(const Value& x, const Window& w, const Value& fill, Shape* shape) {
  *shape = In(0).shape;
  std::vector<int64_t> before(4, 0), after(4, 0);
  for (size_t d = 0; d < 2; ++d) {
    const int64_t reach =
        (out_.shape[d + 2] - 1) * w.strides[d] + w.dilations[d] * (w.kernel[d] - 1) + 1;
    before[d + 2] = w.pads[d];
    after[d + 2] = std::max<int64_t>(0, reach - (*shape)[d + 2] - w.pads[d]);
    (*shape)[d + 2] += before[d + 2] + after[d + 2];
  }
  if (*shape == In(0).shape) return x;
  return PadOf(x, before, after, ir::PadMode::kConstant, fill);
}

Value StepWriter::Tap(const Value& padded, const Shape& padded_shape, const Window& w, int64_t ky,
                      int64_t kx) {
  const std::vector<int64_t> starts = {0, 0, ky * w.dilations[0], kx * w.dilations[1]};
  const std::vector<int64_t> steps = {1, 1, w.strides[0], w.strides[1]};
  return SliceOf(padded, padded_shape, starts, steps,
                 {padded_shape[0], padded_shape[1], out_.shape[2], out_.shape[3]});
}

Value StepWriter::MaxOverWindows(const Value& x, const Window& w, const Value& lowest) {
  const Shape& in = In(0).shape;
  std::vector<int64_t> pads(4, 0);
  Shape pooled = out_.shape;
  bool inside = true;  // pads below the kernel, as ONNX Runtime demands
  for (size_t d = 0; d < 2; ++d) {
    const int64_t extent = w.dilations[d] * (w.kernel[d] - 1) + 1;
    const int64_t reach = (out_.shape[d + 2] - 1) * w.strides[d] + extent;
    pads[d] = w.pads[d];
    pads[d + 2] = std::max<int64_t>(0, reach - in[d + 2] - w.pads[d]);
    inside = inside && pads[d] < w.kernel[d] && pads[d + 2] < w.kernel[d];
    pooled[d + 2] = (in[d + 2] + pads[d] + pads[d + 2] - extent) / w.strides[d] + 1;
  }
  Value image = x;
  if (!inside) {
    Shape padded;
    image = PadToWindows(x, w, lowest, &padded);
    pads.assign(4, 0);
  }
  const Value y =
      b_.Node("MaxPool", {image},
              {{"kernel_shape", std::vector<int64_t>(w.kernel.begin(), w.kernel.end())},
               {"strides", std::vector<int64_t>(w.strides.begin(), w.strides.end())},
               {"dilations", std::vector<int64_t>(w.dilations.begin(), w.dilations.end())},
               {"pads", pads}});
  // Rows that no output needs can make one window more.
  const std::vector<int64_t> zeros(4, 0), ones(4, 1);
  return SliceOf(y, pooled, zeros, ones, out_.shape);
}

Value StepWriter::MeanOverWindows(const Value& x, const Window& w, bool count_include_pad) {
  const Shape& in = In(0).shape;
  Shape padded;
  const Value image = PadToWindows(x, w, b_.Scalar(0.0f), &padded);
  Value sum;
  for (int64_t ky = 0; ky < w.kernel[0]; ++ky) {
    for (int64_t kx = 0; kx < w.kernel[1]; ++kx) {
      const Value tap = Tap(image, padded, w, ky, kx);
      sum = sum.empty() ? tap : b_.Node("Add", {sum, tap});
    }
  }
  std::vector<float> counts;
  const auto inside = [&](size_t d, int64_t o) {
    int64_t count = 0;
    for (int64_t k = 0; k < w.kernel[d]; ++k) {
      const int64_t at = o * w.strides[d] + k * w.dilations[d] - w.pads[d];
      count += at >= 0 && at < in[d + 2];
    }
    return count;
  };
  for (int64_t oy = 0; oy < out_.shape[2]; ++oy) {
    for (int64_t ox = 0; ox < out_.shape[3]; ++ox) {
      counts.push_back(static_cast<float>(count_include_pad ? w.kernel[0] * w.kernel[1]
                                                            : inside(0, oy) * inside(1, ox)));
    }
  }
  return b_.Node("Div", {sum, b_.Floats(counts, {1, 1, out_.shape[2], out_.shape[3]})});
}

// --- N13 ---

Value StepWriter::SumOver(const Value& x, std::span<const int64_t> axes) {
  return b_.Node("ReduceSum", {x, b_.Ints(axes)}, {{"keepdims", int64_t{1}}});
}

Value StepWriter::ReduceStep(const ir::HostFloat& op, const std::string& name,
                             const std::vector<int64_t>& axes) {
  const Shape& in = In(0).shape;
  Value y;
  if (name == "ReduceMax" || name == "ReduceMin") {
    y = b_.Node(name, {ValueOf(0)}, {{"axes", axes}, {"keepdims", int64_t{1}}});
  } else {
    Value x = Double(ValueOf(0));
    if (name == "ReduceL1") {
      x = b_.Node("Abs", {x});
    } else if (name == "ReduceL2" || name == "ReduceSumSquare") {
      x = b_.Node("Mul", {x, x});
    } else if (name != "ReduceSum" && name != "ReduceMean") {
      throw Inexpressible{fmt::format("{}: ONNX Runtime has no kernel for doubles", op.op)};
    }
    int64_t count = 1;
    for (const int64_t axis : axes) count *= in[static_cast<size_t>(axis)];
    y = SumOver(x, axes);
    if (name == "ReduceMean") y = b_.Node("Div", {y, b_.ScalarDouble(static_cast<double>(count))});
    if (name == "ReduceL2") y = b_.Node("Sqrt", {y});
    y = Single(y);
  }
  return b_.Reshape(y, out_.shape);
}

Value StepWriter::SoftmaxStep(const ir::HostFloat& op) {
  const std::vector<int64_t> axes = {AxisOf(op, -1, In(0).shape)};
  const Value greatest =
      b_.Node("ReduceMax", {ValueOf(0)}, {{"axes", axes}, {"keepdims", int64_t{1}}});
  const Value distance = b_.Node("Sub", {ValueOf(0), greatest});
  const Value wide = b_.Node("Exp", {Double(distance)});
  if (op.op == "LogSoftmax") {
    const Value log_sum = b_.Node("Log", {SumOver(wide, axes)});
    return Single(b_.Node("Sub", {Double(distance), log_sum}));
  }
  const Value e = Single(wide);
  return b_.Node("Div", {e, Single(SumOver(Double(e), axes))});
}

Value StepWriter::NormalizationStep(const ir::HostFloat& op) {
  const Shape& in = In(0).shape;
  const bool layer = op.op == "LayerNormalization";
  const int64_t first = layer ? AxisOf(op, -1, in) : 2;
  std::vector<int64_t> axes;
  int64_t length = 1;
  for (int64_t d = first; d < static_cast<int64_t>(in.size()); ++d) {
    axes.push_back(d);
    length *= in[static_cast<size_t>(d)];
  }
  const Value count = b_.ScalarDouble(static_cast<double>(length));
  const Value x = Double(ValueOf(0));
  const Value mean = b_.Node("Div", {SumOver(x, axes), count});
  const Value centred = b_.Node("Sub", {x, mean});
  const Value squares = SumOver(b_.Node("Mul", {centred, centred}), axes);
  const Value variance = b_.Node("Div", {squares, count});
  const Value raised =
      b_.Node("Add", {variance, b_.ScalarDouble(Get<float>(op, "epsilon", 1e-5f))});
  const Value scale = b_.Node("Div", {b_.ScalarDouble(1), b_.Node("Sqrt", {raised})});
  Value y = Single(b_.Node("Mul", {centred, scale}));
  // Per channel for instances.
  Shape along(in.size() - 1, 1);
  along[0] = in.size() > 1 ? in[1] : 1;
  const auto operand = [&](size_t i) { return layer ? ValueOf(i) : b_.Reshape(ValueOf(i), along); };
  y = b_.Node("Mul", {y, operand(1)});
  return step_.inputs.size() > 2 ? b_.Node("Add", {y, operand(2)}) : y;
}

Value StepWriter::BatchNormalizationStep(const ir::HostFloat& op) {
  const Shape& in = In(0).shape;
  Shape along(in.size() - 1, 1);
  along[0] = in[1];
  const auto operand = [&](size_t i) { return b_.Reshape(ValueOf(i), along); };
  const Value raised =
      b_.Node("Add", {Double(operand(4)), b_.ScalarDouble(Get<float>(op, "epsilon", 1e-5f))});
  const Value factor = Single(b_.Node("Div", {Double(operand(1)), b_.Node("Sqrt", {raised})}));
  const Value centred = b_.Node("Sub", {ValueOf(0), operand(3)});
  return b_.Node("Add", {b_.Node("Mul", {centred, factor}), operand(2)});
}

// One product of matrices of doubles for each tap of the kernel.
Value StepWriter::ConvStep(const ir::HostFloat& op) {
  const Shape& weights = In(1).shape;
  const Window w = WindowOf(op, weights[2], weights[3]);
  const auto group = Get<int64_t>(op, "group", 1);
  const int64_t out_per_group = weights[0] / group;
  const int64_t pixels = out_.shape[2] * out_.shape[3];
  Shape padded;
  const Value image = PadToWindows(ValueOf(0), w, b_.Scalar(0.0f), &padded);
  Value sum;
  const std::vector<int64_t> ones(4, 1);
  for (int64_t ky = 0; ky < w.kernel[0]; ++ky) {
    for (int64_t kx = 0; kx < w.kernel[1]; ++kx) {
      const Value x =
          b_.Reshape(Tap(image, padded, w, ky, kx), {out_.shape[0], group, weights[1], pixels});
      const std::vector<int64_t> at = {0, 0, ky, kx};
      const Value tap =
          b_.Reshape(SliceOf(ValueOf(1), weights, at, ones, {weights[0], weights[1], 1, 1}),
                     {group, out_per_group, weights[1]});
      const Value product = b_.Node("MatMul", {Double(tap), Double(x)});
      sum = sum.empty() ? product : b_.Node("Add", {sum, product});
    }
  }
  if (step_.inputs.size() > 2) {
    sum = b_.Node("Add", {sum, b_.Reshape(Double(ValueOf(2)), {group, out_per_group, 1})});
  }
  return b_.Reshape(Single(sum), out_.shape);
}

Value StepWriter::ResizeLinearStep(const ir::HostFloat& op) {
  const auto scales = Get<std::vector<float>>(op, "scales", {});
  const auto mode = Get<std::string>(op, "coordinate_transformation_mode", "half_pixel");
  const Shape& in = In(0).shape;
  if (Get<std::string>(op, "mode", "") != "linear" || scales.size() != in.size()) {
    throw Inexpressible{"Resize: only mode 'linear' with one scale per axis"};
  }
  Value current = ValueOf(0);
  for (size_t axis = 0; axis < in.size(); ++axis) {
    const int64_t length = in[axis];
    const int64_t resized = out_.shape[axis];
    if (length == resized && scales[axis] == 1.0f) continue;
    std::vector<int64_t> low, high;
    std::vector<float> far, near;
    for (int64_t i = 0; i < resized; ++i) {
      const float at = std::clamp(SourceCoordinate(mode, i, scales[axis], length, resized), 0.0f,
                                  static_cast<float>(length - 1));
      low.push_back(static_cast<int64_t>(at));
      high.push_back(std::min(low.back() + 1, length - 1));
      far.push_back(at - static_cast<float>(low.back()));
      near.push_back(1 - far.back());
    }
    Shape along(in.size() - axis, 1);
    along[0] = resized;
    const Attributes attributes = {{"axis", static_cast<int64_t>(axis)}};
    const Value a = b_.Node("Gather", {current, b_.Ints(low)}, attributes);
    const Value b = b_.Node("Gather", {current, b_.Ints(high)}, attributes);
    const Value left = b_.Node("Mul", {a, b_.Floats(near, along)});
    const Value right = b_.Node("Mul", {b, b_.Floats(far, along)});
    current = b_.Node("Add", {left, right});
  }
  return current;
}

Value StepWriter::UnaryStep(const ir::HostFloat& op) {
  const std::string& name = op.op;
  const Value& x = ValueOf(0);
  const auto hard_sigmoid = [&](float alpha, float beta) {
    const Value scaled = b_.Node("Mul", {x, b_.Scalar(alpha)});
    const Value shifted = b_.Node("Add", {scaled, b_.Scalar(beta)});
    return b_.Node("Clip", {shifted, b_.Scalar(0.0f), b_.Scalar(1.0f)});
  };
  for (const char* same : {"Relu", "Sigmoid", "Tanh", "Sqrt", "Reciprocal", "Abs", "Neg", "Sign",
                           "Floor", "Ceil", "Round"}) {
    if (name == same) return b_.Node(name, {x});
  }
  // Correctly rounded: evaluated in fp64.
  for (const char* wide : {"Exp", "Log", "Sin", "Cos"}) {
    if (name == wide) return Single(b_.Node(name, {Double(x)}));
  }
  if (name == "LeakyRelu") return b_.Node(name, {x}, {{"alpha", Get<float>(op, "alpha", 0.01f)}});
  if (name == "ThresholdedRelu") {
    return b_.Node(name, {x}, {{"alpha", Get<float>(op, "alpha", 1.0f)}});
  }
  if (name == "HardSigmoid") {
    return hard_sigmoid(Get<float>(op, "alpha", 0.2f), Get<float>(op, "beta", 0.5f));
  }
  if (name == "HardSwish") return b_.Node("Mul", {x, hard_sigmoid(1.0f / 6.0f, 0.5f)});
  if (name == "Swish") {
    const Value scaled = b_.Node("Mul", {x, b_.Scalar(Get<float>(op, "alpha", 1.0f))});
    return b_.Node("Mul", {x, b_.Node("Sigmoid", {scaled})});
  }
  if (name == "Softsign") {
    const Value divisor = b_.Node("Add", {b_.Node("Abs", {x}), b_.Scalar(1.0f)});
    return b_.Node("Mul", {x, b_.Node("Reciprocal", {divisor})});
  }
  if (name == "Shrink") {
    const auto lambd = Get<float>(op, "lambd", 0.5f);
    const Value bias = b_.Scalar(Get<float>(op, "bias", 0.0f));
    const Value above = b_.Node("Where", {b_.Node("Greater", {x, b_.Scalar(lambd)}),
                                          b_.Node("Sub", {x, bias}), b_.Scalar(0.0f)});
    return b_.Node("Where",
                   {b_.Node("Less", {x, b_.Scalar(-lambd)}), b_.Node("Add", {x, bias}), above});
  }
  if (name == "Clip") {
    constexpr float kMax = std::numeric_limits<float>::max();
    return b_.Node("Clip", {x, b_.Scalar(Get<float>(op, "min", -kMax)),
                            b_.Scalar(Get<float>(op, "max", kMax))});
  }
  throw Inexpressible{
      fmt::format("{}: ONNX Runtime has no operator that rounds it correctly", name)};
}

Value StepWriter::Write(const ir::HostFloat& op) {
  const std::string& name = op.op;
  const auto all = [&] {
    std::vector<Value> inputs;
    for (size_t i = 0; i < step_.inputs.size(); ++i) inputs.push_back(ValueOf(i));
    return inputs;
  };
  if (ir::IsUnary(name)) return UnaryStep(op);
  for (const char* same : {"Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu"}) {
    if (name == same) return b_.Node(name, all());
  }
  if (name == "Pow") {
    const ir::TensorInfo& exponent = In(1);
    if (exponent.is_constant() && exponent.size() == 1) {
      float value;
      std::memcpy(&value, exponent.constant->data(), sizeof value);
      const Value& x = ValueOf(0);
      if (value == 2.0f || value == 3.0f) {
        const Value square = b_.Node("Mul", {x, x});
        return b_.Reshape(value == 2.0f ? square : b_.Node("Mul", {square, x}), out_.shape);
      }
      return Single(b_.Node("Pow", {Double(x), Double(ValueOf(1))}));
    }
    throw Inexpressible{"Pow: the exponent is not one constant"};
  }
  if (name == "Softmax" || name == "LogSoftmax") return SoftmaxStep(op);
  if (name == "ArgMax" || name == "ArgMin") {
    const Value y = b_.Node(name, {ValueOf(0)},
                            {{"axis", AxisOf(op, 0, In(0).shape)},
                             {"keepdims", int64_t{1}},
                             {"select_last_index", Get<int64_t>(op, "select_last_index", 0)}});
    return b_.Reshape(y, out_.shape);
  }
  if (name.starts_with("Reduce")) {
    return ReduceStep(op, name, Get<std::vector<int64_t>>(op, "axes", {}));
  }
  if (name == "GlobalAveragePool" || name == "GlobalMaxPool") {
    std::vector<int64_t> axes;
    for (size_t d = 2; d < In(0).shape.size(); ++d) axes.push_back(static_cast<int64_t>(d));
    return ReduceStep(op, name == "GlobalMaxPool" ? "ReduceMax" : "ReduceMean", axes);
  }
  if (name == "BatchNormalization") return BatchNormalizationStep(op);
  if (name == "LayerNormalization" || name == "InstanceNormalization") {
    return NormalizationStep(op);
  }
  if (name == "MatMul") {
    return Single(b_.Node("MatMul", {Double(ValueOf(0)), Double(ValueOf(1))}));
  }
  if (name == "Gemm") {
    const auto operand = [&](size_t i, const char* transposed) {
      const Value x = Double(ValueOf(i));
      if (Get<int64_t>(op, transposed, 0) == 0) return x;
      return b_.Node("Transpose", {x}, {{"perm", std::vector<int64_t>{1, 0}}});
    };
    const auto scaled = [&](const Value& x, const char* factor) {
      const auto value = Get<float>(op, factor, 1.0f);
      return value == 1.0f ? x : b_.Node("Mul", {x, b_.Scalar(value)});
    };
    const Value product = b_.Node("MatMul", {operand(0, "transA"), operand(1, "transB")});
    const Value y = scaled(Single(product), "alpha");
    return step_.inputs.size() > 2 ? b_.Node("Add", {y, scaled(ValueOf(2), "beta")}) : y;
  }
  if (name == "Conv") return ConvStep(op);
  if (name == "MaxPool") {
    return MaxOverWindows(ValueOf(0), WindowOf(op, 1, 1),
                          b_.Scalar(-std::numeric_limits<float>::infinity()));
  }
  if (name == "AveragePool") {
    return MeanOverWindows(ValueOf(0), WindowOf(op, 1, 1),
                           Get<int64_t>(op, "count_include_pad", 0) != 0);
  }
  if (name == "Resize") return ResizeLinearStep(op);
  if (name == "Pad") {
    using List = std::vector<int64_t>;
    return PadOf(ValueOf(0), Get<List>(op, "before", {}), Get<List>(op, "after", {}),
                 static_cast<ir::PadMode>(Get<int64_t>(op, "mode", 0)),
                 b_.Scalar(Get<float>(op, "value", 0.0f)));
  }
  if (name == "Gather") {
    return b_.Node("Gather", all(), {{"axis", AxisOf(op, 0, In(0).shape)}});
  }
  if (name == "Cast") return b_.Cast(ValueOf(0), out_.dtype);
  throw Inexpressible{fmt::format("{}: no operators of ONNX Runtime compute it exactly", name)};
}

}  // namespace octile::golden
