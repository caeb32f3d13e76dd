// Accumulator operators: Conv, Gemm and MatMul with constant weights (N1, N2).
#include "lowerer.h"

namespace octile::frontend {

std::optional<AccumulatorUnit> Lowerer::FindAccumulator(ValueId x) {
  const FlatNode* node = Producer(x);
  if (!node) return std::nullopt;
  AccumulatorUnit unit;
  if (node->op == "Add") {
    // MatMul + constant (and Conv + constant without a bias of its own).
    for (size_t i = 0; i < 2; ++i) {
      const FlatNode* inner = Producer(node->inputs[i]);
      const ValueId other = node->inputs[1 - i];
      if (!inner || !m_.IsConstant(other) || inner->op == "Add") continue;
      auto found = FindAccumulator(node->inputs[i]);
      if (!found || found->bias != kAbsent) continue;
      if (m_.value(x).shape != m_.value(node->inputs[i]).shape || !BiasFits(*found, other))
        continue;
      found->bias = other;
      found->bias_node = node;
      return found;
    }
    return std::nullopt;
  }
  if (node->op != "Conv" && node->op != "Gemm" && node->op != "MatMul") return std::nullopt;
  unit.node = node;
  unit.input = node->inputs[0];
  unit.weights = node->inputs[1];
  if (node->op != "MatMul") unit.bias = node->Input(2);
  const Value& w = m_.value(unit.weights);
  if (!w.quant || !IsCodeType(w.quant->codes->dtype)) return std::nullopt;
  if (node->op == "MatMul" && (w.shape.size() != 2 || m_.value(unit.input).shape.size() < 2))
    return std::nullopt;
  if (unit.bias != kAbsent && (!m_.IsConstant(unit.bias) || !BiasFits(unit, unit.bias)))
    return std::nullopt;
  return unit;
}

int64_t Lowerer::ChannelsOf(const AccumulatorUnit& unit, const Shape& w) {
  if (unit.node->op == "Conv") return w[0];
  return unit.node->op == "Gemm" && unit.node->Int("transB", 0) != 0 ? w[0] : w[1];
}

bool Lowerer::BiasFits(const AccumulatorUnit& unit, ValueId bias) {
  const Shape& shape = m_.value(bias).shape;
  const int64_t channels = ChannelsOf(unit, m_.value(unit.weights).shape);
  const int64_t count = ElementCount(shape);
  if (count != 1 && count != channels) return false;
  if (count == 1 || shape.size() == 1) {
    // A vector behind a convolution (an Add) runs along the width, unless it is the convolution's
    // own bias.
    return count == 1 || unit.node->op != "Conv" || bias == unit.node->Input(2);
  }
  if (unit.node->op == "Conv") return shape.size() >= 3 && shape[shape.size() - 3] == channels;
  return shape.back() == channels;
}

Lowerer::Accumulator Lowerer::MakeAccumulator(const AccumulatorUnit& unit,
                                              const ir::Quantization& x) {
  const std::string what = Describe(*unit.node);
  const QuantConstant& quant = *m_.value(unit.weights).quant;
  Tensor codes = *quant.codes;
  int64_t axis = quant.axis;
  Accumulator acc;
  acc.channels = ChannelsOf(unit, codes.shape);
  int64_t channel_axis = unit.node->op == "Conv" ? 0 : 1;
  if (unit.node->op == "Gemm") {
    acc.alpha = unit.node->Float("alpha", 1.0f);
    if (unit.node->Int("transB", 0) != 0) {
      const std::vector<int64_t> swap = {1, 0};
      codes = ir::TransposeTensor(codes, swap);
      axis = 1 - axis;
    }
  }
  if (quant.scales.size() != 1 && axis != channel_axis)
    Refuse(
        "{}: its weights have scales along axis {}, which is summed over (K-axis scales); "
        "quantize per output channel",
        what, quant.axis);
  for (float s : quant.scales)
    if (const Status ok = num::CheckWeightScale(s, "a weight scale"); !ok)
      Refuse("{}: {}", what, ok.error().message);
  acc.weights.dtype = codes.dtype;
  acc.weights.codes = codes.bytes;
  for (int64_t c = 0; c < acc.channels; ++c) {
    const size_t i = quant.scales.size() == 1 ? 0 : static_cast<size_t>(c);
    acc.weight_scales.push_back(quant.scales[i]);
    acc.weights.zero_points.push_back(quant.zero_points[i]);
  }
  acc.bias = MakeBias(unit, acc, x.scale);
  WarnOverflow(unit, acc);
  return acc;
}

std::vector<int32_t> Lowerer::MakeBias(const AccumulatorUnit& unit, const Accumulator& acc,
                                       float sx) {
  std::vector<int32_t> bias(static_cast<size_t>(acc.channels), 0);
  if (unit.bias == kAbsent) return bias;
  const std::string what = Describe(*unit.node);
  const float beta = unit.node->op == "Gemm" && unit.bias == unit.node->Input(2)
                         ? unit.node->Float("beta", 1.0f)
                         : 1.0f;
  const auto& quant = m_.value(unit.bias).quant;
  const auto values = m_.Constant(unit.bias);
  for (size_t c = 0; c < bias.size(); ++c) {
    const size_t i = values->size() == 1 ? 0 : c;
    const float sw = acc.weight_scales[c];
    if (quant && quant->codes->dtype == DType::kS32 && beta == 1.0f &&
        (quant->scales.size() == 1 || quant->scales.size() == bias.size())) {
      const size_t k = quant->scales.size() == 1 ? 0 : c;
      const int32_t code = quant->codes->data<int32_t>()[i];
      // A scale of fl(sx*sw) within 1 % is used as it is; QGemm never asks.
      if (acc.alpha == 1.0f)
        bias[c] = num::BiasFromQuantized(code, quant->zero_points[k], quant->scales[k], sx, sw);
      else
        bias[c] = quant->zero_points[k] == 0 && num::BiasScaleAccepted(quant->scales[k], sx, sw)
                      ? code
                      : num::GemmBiasFromFloat(
                            num::fp::Dequantize(code, quant->zero_points[k], quant->scales[k]),
                            acc.alpha, sx, sw);
      continue;
    }
    if (values->dtype != DType::kF32) Refuse("{}: its bias is {}", what, DTypeName(values->dtype));
    const float b = beta == 1.0f ? values->data<float>()[i] : values->data<float>()[i] * beta;
    if (!std::isfinite(b)) Refuse("{}: its bias has an element that is not finite", what);
    bias[c] = acc.alpha == 1.0f ? num::BiasFromFloat(b, sx, sw)
                                : num::GemmBiasFromFloat(b, acc.alpha, sx, sw);
  }
  return bias;
}

void Lowerer::WarnOverflow(const AccumulatorUnit& unit, const Accumulator& acc) {
  if (!warned_.insert(unit.node->name).second) return;
  const bool conv = unit.node->op == "Conv";
  const int64_t count = static_cast<int64_t>(acc.weights.codes.size()) / acc.channels;
  // By channel, added in the order in which the weights lie.
  std::vector<int64_t> magnitudes(static_cast<size_t>(acc.channels), 0);
  const auto add = [&](int64_t c, int64_t i) {
    magnitudes[static_cast<size_t>(c)] +=
        std::abs(acc.weights.at(i) - acc.weights.zero_points[static_cast<size_t>(c)]);
  };
  if (conv) {
    for (int64_t c = 0; c < acc.channels; ++c)
      for (int64_t k = 0; k < count; ++k) add(c, c * count + k);
  } else {
    for (int64_t k = 0; k < count; ++k)
      for (int64_t c = 0; c < acc.channels; ++c) add(c, k * acc.channels + c);
  }
  for (int64_t c = 0; c < acc.channels; ++c) {
    const int64_t sum = std::abs(int64_t{acc.bias[static_cast<size_t>(c)]}) +
                        255 * magnitudes[static_cast<size_t>(c)];
    if (sum > std::numeric_limits<int32_t>::max()) {
      m_.notes.push_back(
          fmt::format("{}: its 32-bit accumulators can overflow (they wrap, N1), channel {}",
                      Describe(*unit.node), c));
      return;
    }
  }
}

float Lowerer::Encoded(Expected<float> m, const FlatNode& node) {
  if (!m) Refuse("{}: {}", Describe(node), m.error().message);
  const auto bits = num::EncodeMultiplier(*m);
  if (!bits) Refuse("{}: {}", Describe(node), bits.error().message);
  return num::BitsFloat(*bits);
}

TensorId Lowerer::EmitAccumulator(const AccumulatorUnit& unit, TensorId x, const Accumulator& acc,
                                  const std::optional<Params>& p, ir::CodeRange range,
                                  const std::vector<std::string>& nodes, const std::string& name) {
  const FlatNode& node = *unit.node;
  const Shape shape = m_.value(node.outputs[0]).shape;
  const ir::Quantization qx = *g_.tensor(x).quant;
  std::vector<float> multipliers;
  if (p)
    for (float sw : acc.weight_scales)
      multipliers.push_back(Encoded(node.op == "Gemm"
                                        ? num::GemmMultiplier(acc.alpha, qx.scale, sw, p->scale)
                                        : num::ConvMultiplier(qx.scale, sw, p->scale),
                                    node));
  const TensorId y = p ? NewTensor(name, p->type, shape, p->quant())
                       : NewTensor(name, DType::kS32, shape, std::nullopt);
  const ir::CodeRange clamp = p ? range : ir::CodeRange{};
  if (node.op == "Conv") {
    const Shape& w = m_.value(unit.weights).shape;
    const Window window = WindowOf(node, g_.tensor(x).shape, {w[2], w[3]});
    ir::Conv conv{acc.weights,    acc.bias,         multipliers, window.kernel,
                  window.strides, window.dilations, window.pads, node.Int("group", 1),
                  clamp};
    return Emit(std::move(conv), {x}, y, nodes);
  }
  if (node.op == "Gemm" && node.Int("transA", 0) != 0) {
    const ir::TensorInfo info = g_.tensor(x);
    x = Emit(ir::Transpose{{1, 0}}, {x},
             NewTensor(info.name, info.dtype, {info.shape[1], info.shape[0]}, info.quant),
             {node.name});
  }
  return Emit(ir::Gemm{acc.weights, acc.bias, multipliers, clamp}, {x}, y, nodes);
}

std::vector<std::string> Lowerer::UnitNodes(const AccumulatorUnit& unit,
                                            std::vector<std::string> nodes) {
  if (unit.bias_node) nodes.push_back(unit.bias_node->name);
  nodes.push_back(unit.node->name);
  return Reversed(std::move(nodes));
}

std::optional<TensorId> Lowerer::AccumulatorStep(ValueId v, const Params& p, ir::CodeRange range,
                                                 const std::vector<std::string>& nodes,
                                                 const std::string& name) {
  const auto unit = FindAccumulator(v);
  if (!unit) return std::nullopt;
  const auto x = TryCodes(unit->input);
  if (!x || g_.tensor(*x).is_constant()) return std::nullopt;
  const Accumulator acc = MakeAccumulator(*unit, *g_.tensor(*x).quant);
  return EmitAccumulator(*unit, *x, acc, p, range, UnitNodes(*unit, nodes), name);
}

}  // namespace octile::frontend
