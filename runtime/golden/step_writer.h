// One step of the canonical graph as ONNX operators.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model_builder.h"
#include "octile/ir/graph.h"

namespace octile::golden {

// Thrown inside the library: no operators of ONNX Runtime compute the step exactly.
struct Inexpressible {
  std::string message;
};

// A value that holds codes, with what its zero point is in this encoding.
struct Codes {
  Value value;
  DType type = DType::kU8;
  int32_t zero_point = 0;
};

// Geometry of a window over images, as convolutions and pools have it.
struct Window {
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 2> dilations{1, 1};
  std::array<int64_t, 4> pads{};  // top, left, bottom, right
};

class StepWriter {
 public:
  // values: name in the model of every tensor of the graph. consumed: whether a step reads it.
  StepWriter(const ir::Graph& graph, ModelBuilder& builder, const std::vector<Value>& values,
             const std::vector<bool>& consumed, const ir::Step& step)
      : graph_(graph),
        b_(builder),
        values_(values),
        consumed_(consumed),
        step_(step),
        out_(graph.tensor(step.output)) {}

  // Adds the step's nodes; returns the value of its result. Throws Inexpressible.
  Value Write();

 private:
  const ir::TensorInfo& In(size_t i) const { return graph_.tensor(step_.inputs[i]); }
  const Value& ValueOf(size_t i) const { return values_[static_cast<size_t>(step_.inputs[i])]; }
  Codes Operand(size_t i) const;

  // --- Codes (codes.cc) ---
  // y = entries[x as a byte].
  Value Lookup(const Value& x, std::span<const uint8_t> entries, DType to);
  // The same value under the other type: codes and zero point move by 128.
  Codes Recode(const Codes& x, DType to);
  // y, whose type is `type` and whose codes stand for the output's, as the output's type, clamped.
  Value Finish(const Value& y, DType type, const ir::CodeRange& clamp);
  Value Clamp(const Value& y, const ir::CodeRange& clamp);
  // N3 operator by operator. `multipliers`: fp32, broadcast against acc.
  Value Requantize(const Value& acc, const Value& multipliers, const ir::CodeRange& clamp);
  // RN and clamp of an fp32 value that already contains the zero point.
  Value RoundToCode(const Value& v, const ir::CodeRange& clamp);
  Value ConvAccumulators(const ir::Conv& op);

  Value Write(const ir::Conv& op);
  Value Write(const ir::Gemm& op);
  Value Write(const ir::GlobalAveragePool& op);
  Value Write(const ir::Table& op);
  Value Write(const ir::MaxPool& op);
  Value Write(const ir::AveragePool& op);
  Value Write(const ir::Add& op);
  Value Write(const ir::Mul& op);
  Value Write(const ir::Affine& op);
  Value Write(const ir::Concat& op);
  Value Write(const ir::Slice& op);
  Value Write(const ir::Pad& op);
  Value Write(const ir::ResizeNearest& op);
  Value Write(const ir::Transpose& op);
  Value Write(const ir::Reshape& op);
  Value Write(const ir::Softmax& op);
  Value AddInDouble(const ir::Add& op);

  // --- Floats (floats.cc) ---
  Value Write(const ir::Quantize& op);
  Value Write(const ir::Dequantize& op);
  Value Write(const ir::ScaleAccumulator& op);
  Value Write(const ir::HostFloat& op);

  // fl(fl(q - z) * s).
  Value DequantizedValue(const Value& x, const ir::Quantization& q);
  // y[i...] = x[start + i * step...], `sizes` elements.
  Value SliceOf(const Value& x, const Shape& shape, std::span<const int64_t> starts,
                std::span<const int64_t> steps, const Shape& sizes);
  // `fill` as a scalar of x's type; padded by (before, after) of every axis.
  Value PadOf(const Value& x, std::span<const int64_t> before, std::span<const int64_t> after,
              ir::PadMode mode, const Value& fill);
  // Integer or fp32 maximum over windows; `lowest` fills what lies outside the image.
  Value MaxOverWindows(const Value& x, const Window& w, const Value& lowest);
  // fl(sum / count), the sum fp32 in (h, w) order.
  Value MeanOverWindows(const Value& x, const Window& w, bool count_include_pad);
  // The values at one tap of every window, from an image that PadToWindows padded.
  Value Tap(const Value& padded, const Shape& padded_shape, const Window& w, int64_t ky,
            int64_t kx);
  // Zero-padded (or filled) so that every window lies inside; the shape afterwards.
  Value PadToWindows(const Value& x, const Window& w, const Value& fill, Shape* shape);

  Value Double(const Value& x) { return b_.Cast(x, DType::kF64); }
  Value Single(const Value& x) { return b_.Cast(x, DType::kF32); }
  // A double sum over axes, which stay with length 1.
  Value SumOver(const Value& x, std::span<const int64_t> axes);
  Value ReduceStep(const ir::HostFloat& op, const std::string& name,
                   const std::vector<int64_t>& axes);
  Value SoftmaxStep(const ir::HostFloat& op);
  Value NormalizationStep(const ir::HostFloat& op);
  Value BatchNormalizationStep(const ir::HostFloat& op);
  Value ConvStep(const ir::HostFloat& op);
  Value ResizeLinearStep(const ir::HostFloat& op);
  Value UnaryStep(const ir::HostFloat& op);

  const ir::Graph& graph_;
  ModelBuilder& b_;
  const std::vector<Value>& values_;
  const std::vector<bool>& consumed_;
  const ir::Step& step_;
  const ir::TensorInfo& out_;
};

}  // namespace octile::golden
