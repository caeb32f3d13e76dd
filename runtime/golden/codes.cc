// Steps on codes. Where the quantized operators of ONNX Runtime take three scales, they are given
// x_scale = 1, y_scale = 1 and the step's multiplier as the weight scale: what the kernel computes,
// fl(fl(1 * m) / 1), is then exactly m.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "step_writer.h"

namespace octile::golden {
namespace {

bool AllEqual(const std::vector<int32_t>& values) {
  return std::all_of(values.begin(), values.end(), [&](int32_t v) { return v == values[0]; });
}

bool AllZero(const std::vector<int32_t>& values) {
  return std::all_of(values.begin(), values.end(), [](int32_t v) { return v == 0; });
}

// The same weights as the other type: codes and zero points move by 128.
ir::Weights Recoded(const ir::Weights& weights) {
  ir::Weights other = weights;
  const bool to_u8 = weights.dtype == DType::kS8;
  other.dtype = to_u8 ? DType::kU8 : DType::kS8;
  for (uint8_t& code : other.codes) code ^= 0x80;
  for (int32_t& zero : other.zero_points) zero += to_u8 ? 128 : -128;
  return other;
}

// Kernels without VNNI add pairs of u8 * s8 products in 16 bits, which saturates unless every
// |w| <= 64; u8 * u8 and s8 * s8 are exact on every CPU.
ir::Weights WithoutSaturation(const ir::Weights& weights, DType activations) {
  if (activations != DType::kU8 || weights.dtype == DType::kU8) return weights;
  const bool small = std::all_of(weights.codes.begin(), weights.codes.end(),
                                 [](uint8_t c) { return std::abs(static_cast<int8_t>(c)) <= 64; });
  return small ? weights : Recoded(weights);
}

Value ZeroPoints(ModelBuilder& b, const ir::Weights& weights) {
  std::vector<uint8_t> bytes;
  for (const int32_t zero : weights.zero_points) bytes.push_back(static_cast<uint8_t>(zero));
  return b.Constant(weights.dtype, {static_cast<int64_t>(bytes.size())}, bytes);
}

template <class Op>
Attributes ConvAttributes(const Op& op) {
  return {{"kernel_shape", std::vector<int64_t>(op.kernel.begin(), op.kernel.end())},
          {"strides", std::vector<int64_t>(op.strides.begin(), op.strides.end())},
          {"dilations", std::vector<int64_t>(op.dilations.begin(), op.dilations.end())},
          {"pads", std::vector<int64_t>(op.pads.begin(), op.pads.end())}};
}

template <class Op>
Window WindowOf(const Op& op) {
  return {op.kernel, op.strides, op.dilations, op.pads};
}

bool SameBits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

// ONNX Runtime's QLinearAdd exchanges the roles of its operands where it walks over a run along
// which the first one stays the same: where it is broadcast along the innermost axis that has more
// than one element.
bool InnermostBroadcast(const Shape& x, const Shape& out) {
  for (size_t back = 1; back <= out.size(); ++back) {
    if (out[out.size() - back] == 1) continue;
    return back > x.size() || x[x.size() - back] == 1;
  }
  return true;  // one element
}

}  // namespace

Codes StepWriter::Operand(size_t i) const {
  const ir::TensorInfo& info = In(i);
  return {ValueOf(i), info.dtype, info.quant ? info.quant->zero_point : 0};
}

Value StepWriter::Lookup(const Value& x, std::span<const uint8_t> entries, DType to) {
  // A negative index counts from the end: code -1 is entry 255, as the table is laid out.
  return b_.Node("Gather", {b_.Constant(to, {256}, entries), b_.Cast(x, DType::kS32)},
                 {{"axis", int64_t{0}}});
}

Codes StepWriter::Recode(const Codes& x, DType to) {
  if (x.type == to) return x;
  std::array<uint8_t, 256> entries;
  for (size_t i = 0; i < entries.size(); ++i) entries[i] = static_cast<uint8_t>(i ^ 0x80);
  return {Lookup(x.value, entries, to), to, x.zero_point + (to == DType::kU8 ? 128 : -128)};
}

Value StepWriter::Clamp(const Value& y, const ir::CodeRange& clamp) {
  if (clamp == ir::FullRange(out_.dtype)) return y;
  return b_.Node("Clip",
                 {y, b_.ScalarCode(out_.dtype, clamp.lo), b_.ScalarCode(out_.dtype, clamp.hi)});
}

Value StepWriter::Finish(const Value& y, DType type, const ir::CodeRange& clamp) {
  return Clamp(Recode({y, type, 0}, out_.dtype).value, clamp);
}

Value StepWriter::Requantize(const Value& acc, const Value& multipliers,
                             const ir::CodeRange& clamp) {
  const auto zy = out_.quant->zero_point;
  Value v = b_.Node("Mul", {Single(acc), multipliers});
  v = b_.Node("Clip", {v, b_.Scalar(static_cast<float>(clamp.lo - zy)),
                       b_.Scalar(static_cast<float>(clamp.hi - zy))});
  v = b_.Node("Round", {v});
  if (zy != 0) v = b_.Node("Add", {v, b_.Scalar(static_cast<float>(zy))});
  return b_.Cast(v, out_.dtype);
}

Value StepWriter::RoundToCode(const Value& v, const ir::CodeRange& clamp) {
  const Value clipped = b_.Node("Clip", {v, b_.Scalar(static_cast<float>(clamp.lo)),
                                         b_.Scalar(static_cast<float>(clamp.hi))});
  return b_.Cast(b_.Node("Round", {clipped}), out_.dtype);
}

// ConvInteger has kernels for u8 * u8 with one zero point of the weights.
Value StepWriter::ConvAccumulators(const ir::Conv& op) {
  const Codes x = Recode(Operand(0), DType::kU8);
  Attributes attributes = ConvAttributes(op);
  attributes.emplace_back("group", op.group);
  const auto channels = static_cast<int64_t>(op.bias.size());
  const int64_t taps = op.kernel[0] * op.kernel[1];
  const Shape shape = {channels, In(0).shape[1] / op.group, op.kernel[0], op.kernel[1]};
  const auto convolve = [&](std::span<const uint8_t> codes, int32_t zero) {
    return b_.Node("ConvInteger",
                   {x.value, b_.Constant(DType::kU8, shape, codes),
                    b_.ScalarCode(DType::kU8, x.zero_point), b_.ScalarCode(DType::kU8, zero)},
                   attributes);
  };
  const ir::Weights weights = op.weights.dtype == DType::kU8 ? op.weights : Recoded(op.weights);
  Value acc;
  if (AllEqual(weights.zero_points)) {
    acc = convolve(weights.codes, weights.zero_points[0]);
  } else {
    // w - zw has 9 bits and a sign: the sum of two halves with a common zero point each.
    std::vector<uint8_t> lower, upper;
    const int64_t per_channel = shape[1] * taps;
    for (size_t i = 0; i < weights.codes.size(); ++i) {
      const size_t c = i / static_cast<size_t>(per_channel);
      const int32_t difference = weights.codes[i] - weights.zero_points[c];
      const int32_t half = difference >> 1;
      lower.push_back(static_cast<uint8_t>(half + 128));
      upper.push_back(static_cast<uint8_t>(difference - half + 127));
    }
    acc = b_.Node("Add", {convolve(lower, 128), convolve(upper, 127)});
  }
  if (AllZero(op.bias)) return acc;
  return b_.Node("Add", {acc, b_.Int32s(op.bias, {1, channels, 1, 1})});
}

Value StepWriter::Write(const ir::Conv& op) {
  if (out_.dtype == DType::kS32) return ConvAccumulators(op);
  // s8 activations are multiplied with s8 weights only; the result has the type of the activations.
  Codes x = Operand(0);
  if (op.weights.dtype == DType::kU8) x = Recode(x, DType::kU8);
  const ir::Weights weights = WithoutSaturation(op.weights, x.type);
  const int32_t zy = out_.quant->zero_point + (x.type == out_.dtype   ? 0
                                               : x.type == DType::kU8 ? 128
                                                                      : -128);
  const auto channels = static_cast<int64_t>(op.bias.size());
  const Shape shape = {channels, In(0).shape[1] / op.group, op.kernel[0], op.kernel[1]};
  const Value one = b_.Scalar(1.0f);
  std::vector<Value> inputs = {x.value,
                               one,
                               b_.ScalarCode(x.type, x.zero_point),
                               b_.Constant(weights.dtype, shape, weights.codes),
                               b_.Floats(op.multipliers, {channels}),
                               ZeroPoints(b_, weights),
                               one,
                               b_.ScalarCode(x.type, zy)};
  if (!AllZero(op.bias)) inputs.push_back(b_.Int32s(op.bias, {channels}));
  Attributes attributes = ConvAttributes(op);
  attributes.emplace_back("group", op.group);
  return Finish(b_.Node("QLinearConv", inputs, attributes), x.type, op.clamp);
}

Value StepWriter::Write(const ir::Gemm& op) {
  const auto n = static_cast<int64_t>(op.bias.size());
  const int64_t k = In(0).shape.back();
  Codes x = Operand(0);
  if (op.weights.dtype == DType::kU8) x = Recode(x, DType::kU8);
  const ir::Weights weights = WithoutSaturation(op.weights, x.type);
  const Value w = b_.Constant(weights.dtype, {k, n}, weights.codes);
  const Value zx = b_.ScalarCode(x.type, x.zero_point);
  const Value zw = ZeroPoints(b_, weights);
  if (out_.dtype == DType::kS32) {
    const Value acc = b_.Node("MatMulInteger", {x.value, w, zx, zw});
    return AllZero(op.bias) ? acc : b_.Node("Add", {acc, b_.Int32s(op.bias, {n})});
  }
  const bool matrix = In(0).shape.size() == 2;
  if (!matrix) x.value = b_.Reshape(x.value, {In(0).size() / k, k});
  const int32_t zy = out_.quant->zero_point + (x.type == out_.dtype   ? 0
                                               : x.type == DType::kU8 ? 128
                                                                      : -128);
  const Value one = b_.Scalar(1.0f);
  Value y = b_.Node("QGemm",
                    {x.value, one, zx, w, b_.Floats(op.multipliers, {n}), zw,
                     b_.Int32s(op.bias, {n}), one, b_.ScalarCode(x.type, zy)},
                    {{"alpha", 1.0f}}, kContrib);
  if (!matrix) y = b_.Reshape(y, out_.shape);
  return Finish(y, x.type, op.clamp);
}

Value StepWriter::Write(const ir::GlobalAveragePool& op) {
  const ir::TensorInfo& in = In(0);
  const int64_t count = in.shape[2] * in.shape[3];
  const float divisor = out_.quant->scale * static_cast<float>(count);
  const bool supported = op.multiplier >= 0x1p-32f && op.multiplier < 256.0f;
  Value y;
  if (supported && SameBits(in.quant->scale / divisor, op.multiplier)) {
    // Everything before the zero point is the same in both types.
    const Codes x = Recode(Operand(0), out_.dtype);
    y = b_.Node("QLinearGlobalAveragePool",
                {x.value, b_.Scalar(in.quant->scale), b_.ScalarCode(x.type, x.zero_point),
                 b_.Scalar(out_.quant->scale), b_.ScalarCode(out_.dtype, out_.quant->zero_point)},
                {{"channels_last", int64_t{0}}}, kContrib);
    if (out_.shape.size() == 2) y = b_.Reshape(y, out_.shape);
    return Clamp(y, op.clamp);
  }
  const std::vector<int64_t> axes = {2, 3};
  Value acc = b_.Node("ReduceSum", {b_.Cast(ValueOf(0), DType::kS32), b_.Ints(axes)},
                      {{"keepdims", int64_t{1}}});
  acc = b_.Node("Sub", {acc, b_.ScalarInt32(static_cast<int32_t>(count * in.quant->zero_point))});
  if (out_.shape.size() == 2) acc = b_.Reshape(acc, out_.shape);
  return Requantize(acc, b_.Scalar(op.multiplier), op.clamp);
}

Value StepWriter::Write(const ir::Table& op) { return Lookup(ValueOf(0), op.entries, out_.dtype); }

Value StepWriter::Write(const ir::MaxPool& op) {
  const Value lowest = out_.is_code() ? b_.ScalarCode(out_.dtype, ir::FullRange(out_.dtype).lo)
                                      : b_.Scalar(-std::numeric_limits<float>::infinity());
  return MaxOverWindows(ValueOf(0), WindowOf(op), lowest);
}

Value StepWriter::Write(const ir::AveragePool& op) {
  const ir::TensorInfo& in = In(0);
  const Window w = WindowOf(op);
  // QLinearAveragePool knows no dilations; of ceil_mode it has its own view.
  bool plain = w.dilations == std::array<int64_t, 2>{1, 1};
  for (size_t d = 0; d < 2; ++d) {
    const int64_t padded = in.shape[d + 2] + w.pads[d] + w.pads[d + 2];
    plain = plain && w.pads[d] < w.kernel[d] && w.pads[d + 2] < w.kernel[d] &&
            out_.shape[d + 2] == (padded - w.kernel[d]) / w.strides[d] + 1;
  }
  if (plain) {
    // The sum of fl(sx * (q - zx)) does not see the type; zy enters before the rounding.
    const Codes x = Recode(Operand(0), out_.dtype);
    Attributes attributes = ConvAttributes(op);
    attributes.erase(attributes.begin() + 2);  // dilations
    attributes.emplace_back("count_include_pad", int64_t{op.count_include_pad});
    attributes.emplace_back("channels_last", int64_t{0});
    const Value y =
        b_.Node("QLinearAveragePool",
                {x.value, b_.Scalar(in.quant->scale), b_.ScalarCode(x.type, x.zero_point),
                 b_.Scalar(out_.quant->scale), b_.ScalarCode(out_.dtype, out_.quant->zero_point)},
                attributes, kContrib);
    return Clamp(y, op.clamp);
  }
  Value v = MeanOverWindows(DequantizedValue(ValueOf(0), *in.quant), w, op.count_include_pad);
  v = b_.Node("Div", {v, b_.Scalar(out_.quant->scale)});
  v = b_.Node("Add", {v, b_.Scalar(static_cast<float>(out_.quant->zero_point))});
  return RoundToCode(v, op.clamp);
}

// N6 in fp64, where the product of a code and an fp32 is exact. The sum is rounded to fp64 and then
// to fp32, which is one rounding too many in principle: all pairs of codes are tried.
Value StepWriter::AddInDouble(const ir::Add& op) {
  const ir::CodeRange codes_a = ir::FullRange(In(0).dtype);
  const ir::CodeRange codes_b = ir::FullRange(In(1).dtype);
  for (int b = codes_b.lo; b <= codes_b.hi; ++b) {
    const float inner = std::fma(static_cast<float>(b), op.rb, op.f);
    bool exact = SameBits(
        inner, static_cast<float>(static_cast<double>(b) * static_cast<double>(op.rb) + op.f));
    for (int a = codes_a.lo; exact && a <= codes_a.hi; ++a) {
      const float outer = std::fma(static_cast<float>(a), op.ra, inner);
      exact =
          outer == static_cast<float>(static_cast<double>(a) * static_cast<double>(op.ra) + inner);
    }
    if (!exact) {
      throw Inexpressible{fmt::format(
          "the fused multiply-add of N6 with ra = {:a}, rb = {:a}, f = {:a} needs more than fp64",
          op.ra, op.rb, op.f)};
    }
  }
  Value inner = b_.Node("Mul", {Double(ValueOf(1)), b_.ScalarDouble(op.rb)});
  inner = Single(b_.Node("Add", {inner, b_.ScalarDouble(op.f)}));
  Value outer = b_.Node("Mul", {Double(ValueOf(0)), b_.ScalarDouble(op.ra)});
  outer = Single(b_.Node("Add", {outer, Double(inner)}));
  return RoundToCode(outer, op.clamp);
}

Value StepWriter::Write(const ir::Add& op) {
  const Codes a = Operand(0);
  const Codes b = Operand(1);
  const int32_t zy = out_.quant->zero_point;
  // What the kernel makes of scales ra, rb and 1.
  const float f = static_cast<float>(zy) - std::fma(op.ra, static_cast<float>(a.zero_point),
                                                    op.rb * static_cast<float>(b.zero_point));
  const bool kernel = a.type == out_.dtype && b.type == out_.dtype && f == op.f &&
                      !InnermostBroadcast(In(0).shape, out_.shape);
  if (!kernel) return AddInDouble(op);
  const Value y = b_.Node(
      "QLinearAdd",
      {a.value, b_.Scalar(op.ra), b_.ScalarCode(a.type, a.zero_point), b.value, b_.Scalar(op.rb),
       b_.ScalarCode(b.type, b.zero_point), b_.Scalar(1.0f), b_.ScalarCode(out_.dtype, zy)},
      {}, kContrib);
  return Clamp(y, op.clamp);
}

Value StepWriter::Write(const ir::Mul& op) {
  const Codes a = Recode(Operand(0), out_.dtype);
  const Codes b = Recode(Operand(1), out_.dtype);
  const Value one = b_.Scalar(1.0f);
  const Value y = b_.Node(
      "QLinearMul",
      {a.value, b_.Scalar(op.r), b_.ScalarCode(a.type, a.zero_point), b.value, one,
       b_.ScalarCode(b.type, b.zero_point), one, b_.ScalarCode(out_.dtype, out_.quant->zero_point)},
      {}, kContrib);
  return Clamp(y, op.clamp);
}

// The multiply-add of N13 in fp64, as in AddInDouble: every code of every channel is tried.
Value StepWriter::Write(const ir::Affine& op) {
  const ir::CodeRange codes = ir::FullRange(In(0).dtype);
  const auto code_of = [&](float value) {
    return std::nearbyintf(
        std::clamp(value, static_cast<float>(op.clamp.lo), static_cast<float>(op.clamp.hi)));
  };
  for (size_t c = 0; c < op.factors.size(); ++c) {
    const float factor = op.factors[c];
    const float offset = op.offsets[c];
    for (int q = codes.lo; q <= codes.hi; ++q) {
      const double twice =
          static_cast<double>(q) * static_cast<double>(factor) + static_cast<double>(offset);
      if (code_of(std::fma(static_cast<float>(q), factor, offset)) !=
          code_of(static_cast<float>(twice))) {
        throw Inexpressible{fmt::format(
            "the fused multiply-add of N13 with A = {:a}, F = {:a} needs more than fp64", factor,
            offset)};
      }
    }
  }
  Shape along(In(0).shape.size() - 1, 1);
  along[0] = In(0).shape[1];
  Value v = b_.Node("Mul", {Double(ValueOf(0)), Double(b_.Floats(op.factors, along))});
  v = Single(b_.Node("Add", {v, Double(b_.Floats(op.offsets, along))}));
  return RoundToCode(v, op.clamp);
}

Value StepWriter::Write(const ir::Concat& op) {
  std::vector<Value> inputs;
  for (size_t i = 0; i < step_.inputs.size(); ++i) inputs.push_back(ValueOf(i));
  return b_.Node("Concat", inputs, {{"axis", op.axis}});
}

Value StepWriter::SliceOf(const Value& x, const Shape& shape, std::span<const int64_t> starts,
                          std::span<const int64_t> steps, const Shape& sizes) {
  std::vector<int64_t> start, end, axes, step;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (starts[d] == 0 && steps[d] == 1 && sizes[d] == shape[d]) continue;
    start.push_back(starts[d]);
    const int64_t stop = starts[d] + steps[d] * sizes[d];
    // Below 0 would count from the end.
    end.push_back(stop < 0 ? std::numeric_limits<int64_t>::min() : stop);
    axes.push_back(static_cast<int64_t>(d));
    step.push_back(steps[d]);
  }
  if (axes.empty()) return x;
  return b_.Node("Slice", {x, b_.Ints(start), b_.Ints(end), b_.Ints(axes), b_.Ints(step)});
}

Value StepWriter::Write(const ir::Slice& op) {
  return SliceOf(ValueOf(0), In(0).shape, op.starts, op.steps, out_.shape);
}

Value StepWriter::PadOf(const Value& x, std::span<const int64_t> before,
                        std::span<const int64_t> after, ir::PadMode mode, const Value& fill) {
  std::vector<int64_t> pads(before.begin(), before.end());
  pads.insert(pads.end(), after.begin(), after.end());
  const std::string name = mode == ir::PadMode::kConstant  ? "constant"
                           : mode == ir::PadMode::kReflect ? "reflect"
                                                           : "edge";
  std::vector<Value> inputs = {x, b_.Ints(pads)};
  if (mode == ir::PadMode::kConstant) inputs.push_back(fill);
  return b_.Node("Pad", inputs, {{"mode", name}});
}

Value StepWriter::Write(const ir::Pad& op) {
  const Value fill = op.mode == ir::PadMode::kConstant ? b_.ScalarCode(out_.dtype, op.value) : "";
  return PadOf(ValueOf(0), op.before, op.after, op.mode, fill);
}

Value StepWriter::Write(const ir::ResizeNearest& op) {
  const Value rows = b_.Node("Gather", {ValueOf(0), b_.Ints(op.rows)}, {{"axis", int64_t{2}}});
  return b_.Node("Gather", {rows, b_.Ints(op.columns)}, {{"axis", int64_t{3}}});
}

Value StepWriter::Write(const ir::Transpose& op) {
  return b_.Node("Transpose", {ValueOf(0)}, {{"perm", op.perm}});
}

Value StepWriter::Write(const ir::Reshape&) { return b_.Reshape(ValueOf(0), out_.shape); }

Value StepWriter::Write(const ir::Softmax& op) {
  const Codes x = Operand(0);
  if (x.type != out_.dtype) {
    throw Inexpressible{fmt::format("QLinearSoftmax has no kernel from {} to {}", DTypeName(x.type),
                                    DTypeName(out_.dtype))};
  }
  return b_.Node("QLinearSoftmax",
                 {x.value, b_.Scalar(In(0).quant->scale), b_.ScalarCode(x.type, x.zero_point),
                  b_.Scalar(out_.quant->scale), b_.ScalarCode(out_.dtype, out_.quant->zero_point)},
                 {{"axis", op.axis}, {"opset", int64_t{13}}}, kContrib);
}

}  // namespace octile::golden
