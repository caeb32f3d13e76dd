#include "octile/reference/reference.h"

#include <fmt/format.h>

#include <algorithm>

#include "octile/ir/host_ops.h"
#include "octile/ir/tensor_ops.h"
#include "octile/numerics/bulk.h"
#include "octile/numerics/constants.h"
#include "octile/numerics/fp.h"

namespace octile::reference {
namespace {

namespace num = ::octile::numerics;
namespace bulk = ::octile::numerics::bulk;
using ir::TensorInfo;

num::CodeRange NumRange(DType type) { return type == DType::kS8 ? num::kS8 : num::kU8; }
num::CodeRange NumRange(const ir::CodeRange& range) { return {range.lo, range.hi}; }

int CodeAt(const Tensor& x, int64_t i) {
  const uint8_t byte = x.bytes[static_cast<size_t>(i)];
  return x.dtype == DType::kS8 ? static_cast<int8_t>(byte) : byte;
}

// Codes minus zero point, 9 bits signed.
std::vector<int16_t> Widened(const Tensor& x, int zero) {
  std::vector<int16_t> wide(x.bytes.size());
  if (x.dtype == DType::kS8)
    bulk::WidenS8(reinterpret_cast<const int8_t*>(x.bytes.data()), x.bytes.size(), zero,
                  wide.data());
  else
    bulk::WidenU8(x.bytes.data(), x.bytes.size(), zero, wide.data());
  return wide;
}

std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (float v : values) bits.push_back(num::FloatBits(v));
  return bits;
}

class StepEvaluator {
 public:
  StepEvaluator(const ir::Graph& graph, const ir::Step& step, std::span<const Tensor* const> inputs)
      : graph_(graph), step_(step), in_(inputs), out_(graph.tensor(step.output)) {}

  Expected<Tensor> Run() {
    return std::visit([&](const auto& op) { return Expected<Tensor>(Eval(op)); }, step_.op);
  }

 private:
  const TensorInfo& InInfo(size_t i) const { return graph_.tensor(step_.inputs[i]); }
  Tensor MakeOutput() const { return Tensor(out_.dtype, out_.shape); }

  // N1 and N3. The image is gathered channels-last; one output row of pixels is one matrix product
  // over all taps.
  Tensor Eval(const ir::Conv& op) const {
    const Tensor& x = *in_[0];
    const int64_t batch = x.shape[0], channels = x.shape[1], height = x.shape[2],
                  width = x.shape[3];
    const int64_t out_channels = out_.shape[1], out_height = out_.shape[2],
                  out_width = out_.shape[3];
    const int64_t per_group = channels / op.group, out_per_group = out_channels / op.group;
    const int64_t taps = op.kernel[0] * op.kernel[1];
    const bool depthwise = per_group == 1 && out_per_group == 1;

    // Channels-last image of differences x - zx.
    const std::vector<int16_t> planes = Widened(x, InInfo(0).quant->zero_point);
    std::vector<int16_t> image(planes.size());
    const int64_t pixels = height * width;
    for (int64_t n = 0; n < batch; ++n)
      for (int64_t c = 0; c < channels; ++c)
        for (int64_t i = 0; i < pixels; ++i)
          image[static_cast<size_t>((n * pixels + i) * channels + c)] =
              planes[static_cast<size_t>((n * channels + c) * pixels + i)];
    const std::vector<int16_t> padding(static_cast<size_t>(channels), 0);

    // Weights minus zero points: per tap, [input channel][output channel] of each group; depthwise:
    // [tap][channel].
    std::vector<bulk::PackedWeights> packed;
    std::vector<int16_t> flat;
    const auto weight = [&](int64_t o, int64_t k, int64_t t) {
      return static_cast<int16_t>(op.weights.at((o * per_group + k) * taps + t) -
                                  op.weights.zero_points[static_cast<size_t>(o)]);
    };
    if (depthwise) {
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t c = 0; c < channels; ++c) flat.push_back(weight(c, 0, t));
    } else {
      for (int64_t g = 0; g < op.group; ++g)
        for (int64_t t = 0; t < taps; ++t) {
          flat.clear();
          for (int64_t k = 0; k < per_group; ++k)
            for (int64_t o = 0; o < out_per_group; ++o)
              flat.push_back(weight(g * out_per_group + o, k, t));
          packed.emplace_back(flat.data(), per_group, out_per_group, out_per_group, 1);
        }
    }

    Tensor y = MakeOutput();
    const std::vector<uint32_t> multipliers = Bits(op.multipliers);
    std::vector<int32_t> acc(static_cast<size_t>(out_width * out_channels));
    std::vector<uint8_t> codes(static_cast<size_t>(out_channels));
    std::vector<const int16_t*> rows(static_cast<size_t>(std::max(out_width, taps)));
    for (int64_t n = 0; n < batch; ++n)
      for (int64_t oy = 0; oy < out_height; ++oy) {
        for (int64_t ox = 0; ox < out_width; ++ox)
          std::copy(op.bias.begin(), op.bias.end(), acc.begin() + ox * out_channels);
        const auto pixel = [&](int64_t ox, int64_t t) -> const int16_t* {
          const int64_t iy = oy * op.strides[0] + t / op.kernel[1] * op.dilations[0] - op.pads[0];
          const int64_t ix = ox * op.strides[1] + t % op.kernel[1] * op.dilations[1] - op.pads[1];
          if (iy < 0 || iy >= height || ix < 0 || ix >= width) return padding.data();
          return image.data() + ((n * height + iy) * width + ix) * channels;
        };
        if (depthwise) {
          for (int64_t ox = 0; ox < out_width; ++ox) {
            for (int64_t t = 0; t < taps; ++t) rows[static_cast<size_t>(t)] = pixel(ox, t);
            bulk::DepthwiseI16(rows.data(), static_cast<size_t>(taps), flat.data(),
                               static_cast<size_t>(channels), acc.data() + ox * out_channels);
          }
        } else {
          for (int64_t g = 0; g < op.group; ++g)
            for (int64_t t = 0; t < taps; ++t) {
              for (int64_t ox = 0; ox < out_width; ++ox)
                rows[static_cast<size_t>(ox)] = pixel(ox, t) + g * per_group;
              bulk::GemmI16Rows(rows.data(), static_cast<size_t>(out_width),
                                packed[static_cast<size_t>(g * taps + t)],
                                acc.data() + g * out_per_group, static_cast<size_t>(out_channels));
            }
        }
        for (int64_t ox = 0; ox < out_width; ++ox) {
          const int32_t* sums = acc.data() + ox * out_channels;
          const auto at = [&](int64_t c) {
            return static_cast<size_t>(((n * out_channels + c) * out_height + oy) * out_width + ox);
          };
          if (out_.dtype == DType::kS32) {
            for (int64_t c = 0; c < out_channels; ++c) y.data<int32_t>()[at(c)] = sums[c];
            continue;
          }
          bulk::RequantizeRow(sums, static_cast<size_t>(out_channels), multipliers.data(), 1,
                              out_.quant->zero_point, NumRange(op.clamp), codes.data());
          for (int64_t c = 0; c < out_channels; ++c) y.bytes[at(c)] = codes[static_cast<size_t>(c)];
        }
      }
    return y;
  }

  Tensor Eval(const ir::Gemm& op) const {
    const Tensor& x = *in_[0];
    const int64_t k = x.shape.back(), n = out_.shape.back(), m = x.size() / k;
    const std::vector<int16_t> a = Widened(x, InInfo(0).quant->zero_point);
    std::vector<int16_t> w(op.weights.codes.size());
    for (size_t i = 0; i < w.size(); ++i)
      w[i] = static_cast<int16_t>(op.weights.at(static_cast<int64_t>(i)) -
                                  op.weights.zero_points[i % static_cast<size_t>(n)]);
    const bulk::PackedWeights packed(w.data(), static_cast<size_t>(k), static_cast<size_t>(n),
                                     static_cast<size_t>(n), 1);
    std::vector<int32_t> acc(static_cast<size_t>(m * n));
    for (int64_t i = 0; i < m; ++i) std::copy(op.bias.begin(), op.bias.end(), acc.begin() + i * n);
    bulk::GemmI16(a.data(), static_cast<size_t>(k), static_cast<size_t>(m), packed, acc.data(),
                  static_cast<size_t>(n));
    Tensor y = MakeOutput();
    if (out_.dtype == DType::kS32) {
      std::copy(acc.begin(), acc.end(), y.data<int32_t>().begin());
      return y;
    }
    const std::vector<uint32_t> multipliers = Bits(op.multipliers);
    for (int64_t i = 0; i < m; ++i)
      bulk::RequantizeRow(acc.data() + i * n, static_cast<size_t>(n), multipliers.data(), 1,
                          out_.quant->zero_point, NumRange(op.clamp), y.bytes.data() + i * n);
    return y;
  }

  Tensor Eval(const ir::GlobalAveragePool& op) const {
    const Tensor& x = *in_[0];
    const int64_t n = x.shape[2] * x.shape[3];
    const int zx = InInfo(0).quant->zero_point;
    Tensor y = MakeOutput();
    for (int64_t plane = 0; plane < y.size(); ++plane) {
      uint32_t acc = 0;
      for (int64_t i = 0; i < n; ++i) acc += static_cast<uint32_t>(CodeAt(x, plane * n + i) - zx);
      y.bytes[static_cast<size_t>(plane)] = static_cast<uint8_t>(num::fp::Requantize(
          static_cast<int32_t>(acc), op.multiplier, out_.quant->zero_point, NumRange(op.clamp)));
    }
    return y;
  }

  Tensor Eval(const ir::Table& op) const {
    Tensor y = MakeOutput();
    bulk::TableRow(in_[0]->bytes.data(), y.bytes.size(), op.entries.data(), y.bytes.data());
    return y;
  }

  // Calls body(output index, codes inside the image in (h, w) order) for every window of a pool.
  template <class Pool, class Body>
  void ForEachWindow(const Pool& op, Body body) const {
    const Tensor& x = *in_[0];
    const int64_t height = x.shape[2], width = x.shape[3];
    std::vector<int> codes;
    int64_t at = 0;
    for (int64_t plane = 0; plane < x.shape[0] * x.shape[1]; ++plane)
      for (int64_t oy = 0; oy < out_.shape[2]; ++oy)
        for (int64_t ox = 0; ox < out_.shape[3]; ++ox) {
          codes.clear();
          for (int64_t ky = 0; ky < op.kernel[0]; ++ky) {
            const int64_t iy = oy * op.strides[0] + ky * op.dilations[0] - op.pads[0];
            if (iy < 0 || iy >= height) continue;
            for (int64_t kx = 0; kx < op.kernel[1]; ++kx) {
              const int64_t ix = ox * op.strides[1] + kx * op.dilations[1] - op.pads[1];
              if (ix < 0 || ix >= width) continue;
              codes.push_back(CodeAt(x, (plane * height + iy) * width + ix));
            }
          }
          body(at++, codes);
        }
  }

  Tensor Eval(const ir::MaxPool& op) const {
    Tensor y = MakeOutput();
    const int lowest = ir::FullRange(out_.dtype).lo;
    ForEachWindow(op, [&](int64_t at, const std::vector<int>& codes) {
      int best = lowest;
      for (int q : codes) best = std::max(best, q);
      y.bytes[static_cast<size_t>(at)] = static_cast<uint8_t>(best);
    });
    return y;
  }

  Tensor Eval(const ir::AveragePool& op) const {
    Tensor y = MakeOutput();
    const ir::Quantization qx = *InInfo(0).quant;
    const ir::Quantization qy = *out_.quant;
    ForEachWindow(op, [&](int64_t at, const std::vector<int>& codes) {
      const int64_t count =
          op.count_include_pad ? op.kernel[0] * op.kernel[1] : static_cast<int64_t>(codes.size());
      y.bytes[static_cast<size_t>(at)] = static_cast<uint8_t>(num::fp::AverageWindow(
          codes, qx.scale, qx.zero_point, count, qy.scale, qy.zero_point, NumRange(op.clamp)));
    });
    return y;
  }

  template <class Rule>
  Tensor Pairwise(Rule rule) const {
    const Tensor& a = *in_[0];
    const Tensor& b = *in_[1];
    Tensor y = MakeOutput();
    size_t at = 0;
    ir::ForEachPair(out_.shape, ir::BroadcastStrides(a.shape, out_.shape),
                    ir::BroadcastStrides(b.shape, out_.shape), [&](int64_t i, int64_t j) {
                      y.bytes[at++] = static_cast<uint8_t>(rule(CodeAt(a, i), CodeAt(b, j)));
                    });
    return y;
  }

  Tensor Eval(const ir::Add& op) const {
    const num::AddConstants constants{op.ra, op.rb, op.f};
    return Pairwise(
        [&](int a, int b) { return num::fp::Add(a, b, constants, NumRange(op.clamp)); });
  }

  Tensor Eval(const ir::Mul& op) const {
    const int za = InInfo(0).quant->zero_point, zb = InInfo(1).quant->zero_point,
              zy = out_.quant->zero_point;
    return Pairwise([&](int a, int b) {
      return num::fp::Mul((a - za) * (b - zb), op.r, zy, NumRange(op.clamp));
    });
  }

  Tensor Eval(const ir::Concat& op) const { return ir::ConcatTensors(in_, op.axis); }
  Tensor Eval(const ir::Slice& op) const {
    return ir::SliceTensor(*in_[0], op.starts, op.steps, out_.shape);
  }
  Tensor Eval(const ir::Pad& op) const {
    const auto fill = static_cast<uint8_t>(op.value);
    return ir::PadTensor(*in_[0], op.before, op.after, op.mode, {&fill, 1});
  }
  Tensor Eval(const ir::ResizeNearest& op) const {
    const Tensor& x = *in_[0];
    Tensor y = MakeOutput();
    const auto size = static_cast<size_t>(DTypeSize(x.dtype));
    uint8_t* out = y.bytes.data();
    for (int64_t plane = 0; plane < x.shape[0] * x.shape[1]; ++plane)
      for (int64_t row : op.rows)
        for (int64_t column : op.columns) {
          std::memcpy(
              out,
              x.bytes.data() +
                  static_cast<size_t>((plane * x.shape[2] + row) * x.shape[3] + column) * size,
              size);
          out += size;
        }
    return y;
  }
  Tensor Eval(const ir::Transpose& op) const { return ir::TransposeTensor(*in_[0], op.perm); }
  Tensor Eval(const ir::Reshape&) const {
    Tensor y = *in_[0];
    y.shape = out_.shape;
    return y;
  }

  Tensor Eval(const ir::Quantize&) const {
    Tensor y = MakeOutput();
    const auto x = in_[0]->data<float>();
    for (size_t i = 0; i < y.bytes.size(); ++i)
      y.bytes[i] = static_cast<uint8_t>(
          num::fp::Quantize(x[i], out_.quant->scale, out_.quant->zero_point, NumRange(out_.dtype)));
    return y;
  }
  Tensor Eval(const ir::Dequantize&) const {
    Tensor y = MakeOutput();
    const ir::Quantization q = *InInfo(0).quant;
    for (int64_t i = 0; i < y.size(); ++i)
      y.data<float>()[static_cast<size_t>(i)] =
          num::fp::Dequantize(CodeAt(*in_[0], i), q.zero_point, q.scale);
    return y;
  }
  Tensor Eval(const ir::ScaleAccumulator& op) const {
    Tensor y = MakeOutput();
    int64_t inner = 1;
    for (size_t i = static_cast<size_t>(op.axis) + 1; i < out_.shape.size(); ++i)
      inner *= out_.shape[i];
    const auto acc = in_[0]->data<int32_t>();
    for (size_t i = 0; i < acc.size(); ++i) {
      const size_t c = i / static_cast<size_t>(inner) % op.scales.size();
      float v = static_cast<float>(acc[i]) * op.scales[c];
      if (!op.bias.empty()) v = v + op.bias[c];
      y.data<float>()[i] = v;
    }
    return y;
  }
  Tensor Eval(const ir::Softmax& op) const {
    const Tensor& x = *in_[0];
    int64_t inner = 1;
    for (size_t i = static_cast<size_t>(op.axis) + 1; i < x.shape.size(); ++i) inner *= x.shape[i];
    const int64_t length = x.shape[static_cast<size_t>(op.axis)];
    const int64_t outer = x.size() / (inner * length);
    const auto table = num::fp::QSoftmaxTable(InInfo(0).quant->scale, length);
    std::vector<int> codes(static_cast<size_t>(x.size()));
    for (int64_t i = 0; i < x.size(); ++i) codes[static_cast<size_t>(i)] = CodeAt(x, i);
    std::vector<int> result(codes.size());
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < inner; ++i) {
        const int64_t at = o * length * inner + i;
        num::fp::QSoftmaxRow(codes.data() + at, result.data() + at, length, inner, table,
                             out_.quant->scale, out_.quant->zero_point, NumRange(out_.dtype));
      }
    Tensor y = MakeOutput();
    for (size_t i = 0; i < result.size(); ++i) y.bytes[i] = static_cast<uint8_t>(result[i]);
    return y;
  }
  Expected<Tensor> Eval(const ir::HostFloat& op) const {
    auto y = ir::EvaluateHost(op, in_, out_.dtype, out_.shape);
    if (!y)
      return Fail(y.error().code, fmt::format("step '{}': {}", step_.name, y.error().message));
    return y;
  }

  const ir::Graph& graph_;
  const ir::Step& step_;
  std::span<const Tensor* const> in_;
  const TensorInfo& out_;
};

}  // namespace

Tensor ConstantTensor(const ir::TensorInfo& info) {
  Tensor t;
  t.dtype = info.dtype;
  t.shape = info.shape;
  t.bytes = *info.constant;
  return t;
}

Expected<Tensor> EvaluateStep(const ir::Graph& graph, const ir::Step& step,
                              std::span<const Tensor* const> inputs) {
  return StepEvaluator(graph, step, inputs).Run();
}

Expected<Evaluation> Evaluate(const ir::Graph& graph, const std::map<std::string, Tensor>& inputs) {
  std::vector<Tensor> own(graph.tensors.size());
  std::vector<const Tensor*> values(graph.tensors.size(), nullptr);
  for (ir::TensorId id : graph.inputs) {
    const ir::TensorInfo& info = graph.tensor(id);
    const auto it = inputs.find(info.name);
    if (it == inputs.end())
      return Fail(ErrorCode::kUsage, fmt::format("input '{}' is missing", info.name));
    const Tensor& x = it->second;
    if (x.dtype != info.dtype || x.shape != info.shape)
      return Fail(ErrorCode::kUsage, fmt::format("input '{}' is {} {}, the model takes {} {}",
                                                 info.name, DTypeName(x.dtype), ShapeName(x.shape),
                                                 DTypeName(info.dtype), ShapeName(info.shape)));
    values[static_cast<size_t>(id)] = &x;
  }
  for (const auto& [name, tensor] : inputs) {
    const bool known =
        std::any_of(graph.inputs.begin(), graph.inputs.end(),
                    [&, &n = name](ir::TensorId id) { return graph.tensor(id).name == n; });
    if (!known)
      return Fail(ErrorCode::kUsage, fmt::format("'{}' is not an input of the model", name));
  }
  for (size_t i = 0; i < graph.tensors.size(); ++i) {
    if (!graph.tensors[i].is_constant()) continue;
    own[i] = ConstantTensor(graph.tensors[i]);
    values[i] = &own[i];
  }
  for (const ir::Step& step : graph.steps) {
    std::vector<const Tensor*> arguments;
    for (ir::TensorId id : step.inputs) arguments.push_back(values[static_cast<size_t>(id)]);
    auto y = EvaluateStep(graph, step, arguments);
    if (!y) return tl::unexpected<Error>(std::move(y).error());
    own[static_cast<size_t>(step.output)] = std::move(*y);
    values[static_cast<size_t>(step.output)] = &own[static_cast<size_t>(step.output)];
  }
  Evaluation result;
  for (const ir::Output& output : graph.outputs)
    result.outputs.push_back(*values[static_cast<size_t>(output.tensor)]);
  for (const ir::Step& step : graph.steps)
    result.steps.push_back(std::move(own[static_cast<size_t>(step.output)]));
  return result;
}

}  // namespace octile::reference
