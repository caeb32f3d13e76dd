#include "octile/reference/reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

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
void Widen(const uint8_t* codes, DType type, int64_t count, int zero, int16_t* to) {
  if (type == DType::kS8)
    bulk::WidenS8(reinterpret_cast<const int8_t*>(codes), static_cast<size_t>(count), zero, to);
  else
    bulk::WidenU8(codes, static_cast<size_t>(count), zero, to);
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

  // The parts of an image that the windows of a convolution reach, as differences x - zx: one plane
  // per channel, zeros where the windows lie outside the image.
  struct PaddedImage {
    int64_t rows = 0;
    int64_t columns = 0;
    std::vector<int16_t> values;
    const int16_t* plane(int64_t channel) const { return values.data() + channel * rows * columns; }
  };

  // Channels [channel, channel + count) of image n.
  void Pad(const ir::Conv& op, int64_t n, int64_t channel, int64_t count, PaddedImage* to) const {
    const Tensor& x = *in_[0];
    const int64_t height = x.shape[2], width = x.shape[3];
    const int zero = InInfo(0).quant->zero_point;
    to->rows = (out_.shape[2] - 1) * op.strides[0] + (op.kernel[0] - 1) * op.dilations[0] + 1;
    to->columns = (out_.shape[3] - 1) * op.strides[1] + (op.kernel[1] - 1) * op.dilations[1] + 1;
    to->values.assign(static_cast<size_t>(count * to->rows * to->columns), 0);
    const int64_t first = std::max<int64_t>(0, op.pads[1]);  // column of the first in the image
    const int64_t last = std::min(to->columns, width + op.pads[1]);
    if (first >= last) return;
    for (int64_t c = 0; c < count; ++c)
      for (int64_t row = 0; row < to->rows; ++row) {
        const int64_t iy = row - op.pads[0];
        if (iy < 0 || iy >= height) continue;
        const int64_t from =
            ((n * x.shape[1] + channel + c) * height + iy) * width + first - op.pads[1];
        Widen(x.bytes.data() + from, x.dtype, last - first, zero,
              to->values.data() + (c * to->rows + row) * to->columns + first);
      }
  }

  // N1 and N3. A group of channels is one matrix product per image: weights [output channel][input
  // channel, tap] times what the taps see at each output position. Positions are taken in strips
  // whose operands stay in the second-level cache.
  Tensor Eval(const ir::Conv& op) const {
    const Tensor& x = *in_[0];
    const int64_t channels = x.shape[1], out_channels = out_.shape[1];
    const int64_t out_width = out_.shape[3], positions = out_.shape[2] * out_width;
    const int64_t per_group = channels / op.group, out_per_group = out_channels / op.group;
    const int64_t taps = op.kernel[0] * op.kernel[1], depth = per_group * taps;

    // Weights minus zero points, in their own order.
    std::vector<int16_t> weights(op.weights.codes.size());
    for (int64_t o = 0; o < out_channels; ++o)
      Widen(op.weights.codes.data() + o * depth, op.weights.dtype, depth,
            op.weights.zero_points[static_cast<size_t>(o)], weights.data() + o * depth);

    constexpr int64_t kOperands = 1 << 18;  // elements of a strip
    const int64_t strip =
        std::clamp<int64_t>(kOperands / std::max(depth, out_per_group) / 32 * 32, 32, 1024);
    PaddedImage image;
    bulk::PackedWeights operands;
    std::vector<int16_t> rows(static_cast<size_t>(2 * strip));
    std::vector<int32_t> acc(static_cast<size_t>(out_per_group * strip));
    Tensor y = MakeOutput();
    for (int64_t n = 0; n < x.shape[0]; ++n)
      for (int64_t g = 0; g < op.group; ++g) {
        Pad(op, n, g * per_group, per_group, &image);
        for (int64_t first = 0; first < positions; first += strip) {
          const int64_t count = std::min(strip, positions - first);
          operands.Reshape(static_cast<size_t>(depth), static_cast<size_t>(count));
          for (int64_t k = 0; k < depth; k += 2) {
            const bool pair = k + 1 < depth;
            Gather(op, image, k, first, count, rows.data());
            if (pair) Gather(op, image, k + 1, first, count, rows.data() + strip);
            operands.SetPair(static_cast<size_t>(k / 2), rows.data(),
                             pair ? rows.data() + strip : nullptr);
          }
          for (int64_t o = 0; o < out_per_group; ++o)
            std::fill_n(acc.begin() + o * count, count,
                        op.bias[static_cast<size_t>(g * out_per_group + o)]);
          bulk::GemmI16(weights.data() + g * out_per_group * depth, static_cast<size_t>(depth),
                        static_cast<size_t>(out_per_group), operands, acc.data(),
                        static_cast<size_t>(count));
          for (int64_t o = 0; o < out_per_group; ++o) {
            const int64_t c = g * out_per_group + o;
            const int64_t at = (n * out_channels + c) * positions + first;
            const int32_t* sums = acc.data() + o * count;
            if (out_.dtype == DType::kS32) {
              std::copy_n(sums, count, y.data<int32_t>().begin() + at);
              continue;
            }
            const uint32_t multiplier = num::FloatBits(op.multipliers[static_cast<size_t>(c)]);
            bulk::RequantizeRow(sums, static_cast<size_t>(count), &multiplier, 0,
                                out_.quant->zero_point, NumRange(op.clamp), y.bytes.data() + at);
          }
        }
      }
    return y;
  }

  // What one tap of one input channel, k = channel * taps + tap, sees at output positions [first,
  // first + count).
  void Gather(const ir::Conv& op, const PaddedImage& image, int64_t k, int64_t first, int64_t count,
              int16_t* to) const {
    const int64_t tap = k % (op.kernel[0] * op.kernel[1]);
    const int64_t ky = tap / op.kernel[1], kx = tap % op.kernel[1];
    const int16_t* from = image.plane(k / (op.kernel[0] * op.kernel[1])) +
                          ky * op.dilations[0] * image.columns + kx * op.dilations[1];
    const int64_t width = out_.shape[3];
    // Without window overlap in rows the positions of all rows lie behind one another.
    const bool dense = op.strides[0] == 1 && op.strides[1] == 1 && image.columns == width;
    while (count > 0) {
      const int64_t x = first % width;
      const int64_t run = dense ? count : std::min(count, width - x);
      const int16_t* row = from + first / width * op.strides[0] * image.columns + x * op.strides[1];
      if (op.strides[1] == 1)
        std::copy_n(row, run, to);
      else
        for (int64_t i = 0; i < run; ++i) to[i] = row[i * op.strides[1]];
      first += run;
      count -= run;
      to += run;
    }
  }

  Tensor Eval(const ir::Gemm& op) const {
    const Tensor& x = *in_[0];
    const int64_t k = x.shape.back(), n = out_.shape.back(), m = x.size() / k;
    std::vector<int16_t> a(x.bytes.size());
    Widen(x.bytes.data(), x.dtype, x.size(), InInfo(0).quant->zero_point, a.data());
    std::vector<int32_t> acc(static_cast<size_t>(m * n));
    for (int64_t i = 0; i < m; ++i) std::copy(op.bias.begin(), op.bias.end(), acc.begin() + i * n);
    // Rows of weights minus their columns' zero points, as many at a time as the second-level cache
    // holds.
    constexpr int64_t kOperands = 1 << 19;
    const int64_t most = std::max<int64_t>(2, kOperands / n / 2 * 2);
    bulk::PackedWeights operands;
    std::vector<int16_t> rows(static_cast<size_t>(2 * n));
    const auto row = [&](int64_t r, int16_t* to) {
      Widen(op.weights.codes.data() + r * n, op.weights.dtype, n, 0, to);
      for (int64_t j = 0; j < n; ++j)
        to[j] = static_cast<int16_t>(to[j] - op.weights.zero_points[static_cast<size_t>(j)]);
      return to;
    };
    for (int64_t first = 0; first < k; first += most) {
      const int64_t count = std::min(most, k - first);
      operands.Reshape(static_cast<size_t>(count), static_cast<size_t>(n));
      for (int64_t r = 0; r < count; r += 2)
        operands.SetPair(static_cast<size_t>(r / 2), row(first + r, rows.data()),
                         r + 1 < count ? row(first + r + 1, rows.data() + n) : nullptr);
      bulk::GemmI16(a.data() + first, static_cast<size_t>(k), static_cast<size_t>(m), operands,
                    acc.data(), static_cast<size_t>(n));
    }
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
    return out_.dtype == DType::kS8 ? MaxOf<int8_t>(op) : MaxOf<uint8_t>(op);
  }

  // Row by row: each tap raises the outputs whose window has it inside the image.
  template <class Code>
  Tensor MaxOf(const ir::MaxPool& op) const {
    const Tensor& x = *in_[0];
    const int64_t height = x.shape[2], width = x.shape[3], out_width = out_.shape[3];
    Tensor y = MakeOutput();
    const auto codes = x.data<Code>();
    const auto out = y.data<Code>();
    std::fill(out.begin(), out.end(), std::numeric_limits<Code>::lowest());
    for (int64_t plane = 0; plane < x.shape[0] * x.shape[1]; ++plane)
      for (int64_t oy = 0; oy < out_.shape[2]; ++oy) {
        Code* to = out.data() + (plane * out_.shape[2] + oy) * out_width;
        for (int64_t ky = 0; ky < op.kernel[0]; ++ky) {
          const int64_t iy = oy * op.strides[0] + ky * op.dilations[0] - op.pads[0];
          if (iy < 0 || iy >= height) continue;
          const Code* row = codes.data() + (plane * height + iy) * width;
          for (int64_t kx = 0; kx < op.kernel[1]; ++kx) {
            // ix = ox * stride + at lies inside for ox in [first, last).
            const int64_t at = kx * op.dilations[1] - op.pads[1], stride = op.strides[1];
            const int64_t first = at < 0 ? (-at + stride - 1) / stride : 0;
            const int64_t last =
                at >= width ? 0 : std::min(out_width, (width - 1 - at) / stride + 1);
            for (int64_t ox = first; ox < last; ++ox)
              to[ox] = std::max(to[ox], row[ox * stride + at]);
          }
        }
      }
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

  // Operand i in the shape of the output.
  Tensor Operand(size_t i) const {
    return in_[i]->shape == out_.shape ? *in_[i] : ir::BroadcastTensor(*in_[i], out_.shape);
  }

  Tensor Eval(const ir::Add& op) const {
    const Tensor a = Operand(0), b = Operand(1);
    Tensor y = MakeOutput();
    bulk::AddRow(a.bytes.data(), NumRange(a.dtype), b.bytes.data(), NumRange(b.dtype),
                 y.bytes.size(), {op.ra, op.rb, op.f}, NumRange(op.clamp), y.bytes.data());
    return y;
  }

  Tensor Eval(const ir::Mul& op) const {
    const Tensor a = Operand(0), b = Operand(1);
    Tensor y = MakeOutput();
    bulk::MulRow(a.bytes.data(), NumRange(a.dtype), InInfo(0).quant->zero_point, b.bytes.data(),
                 NumRange(b.dtype), InInfo(1).quant->zero_point, y.bytes.size(), op.r,
                 out_.quant->zero_point, NumRange(op.clamp), y.bytes.data());
    return y;
  }

  Tensor Eval(const ir::Affine& op) const {
    const Tensor& x = *in_[0];
    Tensor y = MakeOutput();
    const num::CodeRange range = NumRange(op.clamp);
    const int64_t channels = x.shape[1];
    const int64_t inner = x.size() / (x.shape[0] * channels);
    for (int64_t at = 0; at < x.size(); ++at) {
      const auto c = static_cast<size_t>(at / inner % channels);
      const uint8_t byte = x.bytes[static_cast<size_t>(at)];
      const int q = x.dtype == DType::kS8 ? static_cast<int8_t>(byte) : byte;
      y.bytes[static_cast<size_t>(at)] =
          static_cast<uint8_t>(num::fp::Affine(q, {op.factors[c], op.offsets[c]}, range));
    }
    return y;
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
    const auto out = y.data<float>();
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = num::fp::Dequantize(CodeAt(*in_[0], static_cast<int64_t>(i)), q.zero_point, q.scale);
    return y;
  }
  Tensor Eval(const ir::ScaleAccumulator& op) const {
    Tensor y = MakeOutput();
    int64_t inner = 1;
    for (size_t i = static_cast<size_t>(op.axis) + 1; i < out_.shape.size(); ++i)
      inner *= out_.shape[i];
    const auto acc = in_[0]->data<int32_t>();
    const auto out = y.data<float>();
    for (size_t i = 0; i < acc.size(); ++i) {
      const size_t c = i / static_cast<size_t>(inner) % op.scales.size();
      float v = static_cast<float>(acc[i]) * op.scales[c];
      if (!op.bias.empty()) v = v + op.bias[c];
      out[i] = v;
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
