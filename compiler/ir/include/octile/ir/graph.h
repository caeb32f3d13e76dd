// The canonical quantized graph: what a QDQ model means under the rules N1... of docs/numerics.md,
// before any pass.
//
// A graph is a list of tensors and a list of steps in execution order. Every step computes exactly
// one tensor, and every tensor is a graph input, a constant, or the output of exactly one step.
// Each step obeys one N-rule and carries all the constants the rule needs, so neither the backend
// nor the reference looks at ONNX again.
//
// Conventions
//  - Shapes are static; images are NCHW; data is row-major. N may exceed 1: all image operators
//  treat
//    images alone.
//  - Tensors of 8-bit codes (kU8, kS8) carry per-tensor quantization: value = (code - zero_point) *
//    scale. A graph input of plain integers has none.
//  - Pure data movement (Concat, Slice, Pad, ResizeNearest, Transpose, Reshape, MaxPool) never
//    rescales: its inputs and its output have the same type and quantization. Where the model
//    rescales, a Table step (N9) stands before or after it.
//  - "Codes" in clamp ranges and pad values are values of the output type (0..255 or -128..127),
//  not
//    offsets from a zero point. Zero points of activations belong to the tensors, zero points of
//    weights to the step that owns the weights.
//  - One value quantized with several parameters (N3) is several steps, one per set of parameters.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "octile/support/status.h"
#include "octile/support/tensor.h"

namespace octile::ir {

using TensorId = int32_t;  // index into Graph::tensors

struct Quantization {
  float scale = 1.0f;      // finite, normal, > 0
  int32_t zero_point = 0;  // within the range of the element type
  bool operator==(const Quantization&) const = default;
};

struct TensorInfo {
  std::string name;  // unique; the ONNX value name, or that name with a "/..." suffix where a rule
                     // needs a value between
  DType dtype = DType::kU8;
  Shape shape;  // rank 0..6, every dimension >= 1
  std::optional<Quantization> quant;
  std::optional<std::vector<uint8_t>> constant;  // little-endian data if the tensor is a constant

  int64_t size() const { return ElementCount(shape); }
  bool is_constant() const { return constant.has_value(); }
  bool is_code() const { return dtype == DType::kU8 || dtype == DType::kS8; }
  // True when codes can be copied between the two tensors without rescaling.
  bool same_encoding(const TensorInfo& other) const {
    return dtype == other.dtype && quant == other.quant;
  }
  bool operator==(const TensorInfo&) const = default;
};

// Inclusive range of output codes; the whole range of the type if nothing clamps.
struct CodeRange {
  int32_t lo = 0;
  int32_t hi = 255;
  bool operator==(const CodeRange&) const = default;
};

// Codes of constant weights; the bytes are bit patterns of `dtype` (kU8 or kS8).
struct Weights {
  DType dtype = DType::kS8;
  std::vector<uint8_t> codes;
  std::vector<int32_t> zero_points;  // zw[c], one per output channel (all equal in the usual case)
  int32_t at(int64_t i) const {
    return dtype == DType::kS8 ? static_cast<int8_t>(codes[static_cast<size_t>(i)])
                               : codes[static_cast<size_t>(i)];
  }
  bool operator==(const Weights&) const = default;
};

// --- Operators with an accumulator ---
//
//   acc[c] = sum of (x - zx)(w - zw[c]) + bias[c], 32-bit wrapping (N1); padding contributes 0.
//
// Output u8 or s8 (N3):
//   y = RN(clamp(fl(fl(acc) * multipliers[c]), qmin - zy, qmax - zy)) + zy, then into `clamp`.
// Output s32 (no quantization): the raw accumulators; `multipliers` is empty and `clamp` unused.

// Conv: inputs {x [N,Cin,H,W]} -> [N,Cout,Ho,Wo]. Depthwise: group == Cin.
struct Conv {
  Weights weights;                 // [Cout][Cin/group][kernel[0]][kernel[1]]
  std::vector<int32_t> bias;       // [Cout]; zeros if the model has none
  std::vector<float> multipliers;  // m[c] = fl(fl(sx*sw[c])/sy) (N2), as EncodeMultiplier leaves it
  std::array<int64_t, 2> kernel{};  // h, w
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 2> dilations{1, 1};
  std::array<int64_t, 4> pads{};  // top, left, bottom, right; >= 0
  int64_t group = 1;
  CodeRange clamp;
  bool operator==(const Conv&) const = default;
};

// Gemm: inputs {x [...,K]} -> [...,N]: every row of K codes times the constant [K,N] matrix (Gemm
// and MatMul).
struct Gemm {
  Weights weights;                 // [K][N], transpositions already applied; zero_points [N]
  std::vector<int32_t> bias;       // [N]; zeros if the model has none
  std::vector<float> multipliers;  // [N]: fl(fl(fl(alpha*sx)*sw[n])/sy) (N2)
  CodeRange clamp;
  bool operator==(const Gemm&) const = default;
};

// GlobalAveragePool: inputs {x [N,C,H,W]} -> [N,C,1,1] or [N,C]: acc = sum over H and W of q -
// n*zx, then N3 with multiplier fl(sx / fl(sy * fl(n))), n = H*W (N8).
struct GlobalAveragePool {
  float multiplier = 1.0f;
  CodeRange clamp;
  bool operator==(const GlobalAveragePool&) const = default;
};

// --- Operators on codes ---

// Table: inputs {x} -> same shape. y = entries[x as a byte]: the index is the code's bit pattern
// (s8 code -1 is index 255), the entry is the bit pattern of the output type (N5, N9).
struct Table {
  std::array<uint8_t, 256> entries{};
  std::string meaning;  // the ONNX operators it stands for: "Sigmoid", "Sigmoid+Mul", "requantize"
  bool operator==(const Table&) const = default;
};

// MaxPool: inputs {x [N,C,H,W]} -> [N,C,Ho,Wo], integer maximum over the elements inside the image
// (N8). Ho and Wo (ceil_mode resolved) are the output's shape; a window may overhang the image plus
// pads at the bottom/right.
struct MaxPool {
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 2> dilations{1, 1};
  std::array<int64_t, 4> pads{};  // top, left, bottom, right
  bool operator==(const MaxPool&) const = default;
};

// The windows of one divisor of an AveragePool in integers: acc = sum of (q - zx) + bias, then N3
// with `multiplier` and `zero_point`.
struct IntegerAverage {
  int64_t divisor = 1;
  int32_t bias = 0;
  float multiplier = 1.0f;
  int32_t zero_point = 0;
  bool operator==(const IntegerAverage&) const = default;
};

// AveragePool: windowed (N8): fp32 sum in (h, w) order of fl(sx*(q - zx)) over the elements inside
// the image, fl(/count), y = sat(RN(fl(fl(./sy) + zy))). Output shape as MaxPool. A kernel covering
// the whole image unpadded is GlobalAveragePool.
struct AveragePool {
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 2> dilations{1, 1};
  std::array<int64_t, 4> pads{};
  // count = kernel size (overhang included), else the elements inside the image.
  bool count_include_pad = false;
  CodeRange clamp;
  // The same for every input, one entry per divisor in ascending order; empty where that is not
  // proved. Importers leave it empty; the reference does not look at it.
  std::vector<IntegerAverage> integer;
  bool operator==(const AveragePool&) const = default;
};

// Add: inputs {a, b} in *role* order (N6): y = sat(RN(fma(a, ra, fma(b, rb, f)))) on raw codes,
// then `clamp`. NumPy broadcasting of both shapes to the output's; inputs may be constants (then b,
// per channel or scalar, usually).
struct Add {
  float ra = 1.0f;  // fl(sa/sy)
  float rb = 1.0f;  // fl(sb/sy)
  float f = 0.0f;   // fl(zy - fma(ra, za, fl(rb*zb)))
  CodeRange clamp;
  bool operator==(const Add&) const = default;
};

// Mul: inputs {a, b}, NumPy broadcasting; y = sat(RN(fl(fl(((a-za)(b-zb)) * r) + zy))) (N7), then
// `clamp`.
struct Mul {
  float r = 1.0f;  // fl(fl(sa*sb)/sy)
  CodeRange clamp;
  bool operator==(const Mul&) const = default;
};

// Affine: inputs {x}, channels along axis 1 -> same shape: a BatchNormalization of codes (N13):
// y = sat(RN(fma(q, factors[c], offsets[c]))) on raw codes, then `clamp`.
struct Affine {
  std::vector<float> factors;  // [C], A
  std::vector<float> offsets;  // [C], F
  CodeRange clamp;
  bool operator==(const Affine&) const = default;
};

// --- Data movement (same encoding in and out) ---

// Concat along `axis` (>= 0) of one or more inputs.
struct Concat {
  int64_t axis = 1;
  bool operator==(const Concat&) const = default;
};

// Slice: y[i...] = x[start + i*step...]; one entry per axis; the output shape gives the extents.
// step may be negative.
struct Slice {
  std::vector<int64_t> starts;
  std::vector<int64_t> steps;
  bool operator==(const Slice&) const = default;
};

enum class PadMode : uint8_t { kConstant, kReflect, kEdge };

// Pad: one entry per axis, >= 0 (cropping is a Slice); constant mode fills with `value`, a code
// (plain value for f32 is not representable here: float tensors are padded by HostFloat).
struct Pad {
  std::vector<int64_t> before;
  std::vector<int64_t> after;
  PadMode mode = PadMode::kConstant;
  int32_t value = 0;
  bool operator==(const Pad&) const = default;
};

// ResizeNearest: x [N,C,H,W] -> [N,C,Ho,Wo]; y[.., i, j] = x[.., rows[i], columns[j]] (coordinate
// transformation and rounding mode are resolved into the index lists at import).
struct ResizeNearest {
  std::vector<int64_t> rows;
  std::vector<int64_t> columns;
  bool operator==(const ResizeNearest&) const = default;
};

// Transpose: y.shape[i] = x.shape[perm[i]].
struct Transpose {
  std::vector<int64_t> perm;
  bool operator==(const Transpose&) const = default;
};

// Reshape: same elements in row-major order (Reshape, Flatten, Squeeze, Unsqueeze).
struct Reshape {
  bool operator==(const Reshape&) const = default;
};

// --- Host steps ---

// Quantize: f32 -> codes of the output's quantization (N4).
struct Quantize {
  bool operator==(const Quantize&) const = default;
};

// Dequantize: codes -> f32 (N4).
struct Dequantize {
  bool operator==(const Dequantize&) const = default;
};

// ScaleAccumulator: s32 accumulators -> f32: fl(fl(acc) * scales[c]), then fl(+ bias[c]) if bias is
// not empty (N11).
struct ScaleAccumulator {
  int64_t axis = 1;           // axis of c (1 after Conv, the last one after Gemm)
  std::vector<float> scales;  // one per channel
  std::vector<float> bias;    // one per channel, or empty
  bool operator==(const ScaleAccumulator&) const = default;
};

// Softmax of codes to codes (N10), along `axis`.
struct Softmax {
  int64_t axis = -1;  // >= 0 in a valid graph
  bool operator==(const Softmax&) const = default;
};

using Attribute =
    std::variant<int64_t, float, std::string, std::vector<int64_t>, std::vector<float>>;

// HostFloat: one operator of the closed host list evaluated by itself in fp32 (N13); see
// HostFloatOps().
struct HostFloat {
  std::string op;  // ONNX operator name with the semantics of the newest opset, e.g. "Softmax",
                   // "Sub", "LayerNormalization"
  std::map<std::string, Attribute> attributes;
  bool operator==(const HostFloat&) const = default;
};

using Op = std::variant<Conv, Gemm, GlobalAveragePool, Table, MaxPool, AveragePool, Add, Mul,
                        Affine, Concat, Slice, Pad, ResizeNearest, Transpose, Reshape, Quantize,
                        Dequantize, ScaleAccumulator, Softmax, HostFloat>;

struct Step {
  std::string name;  // unique; used in reports and comparisons
  Op op;
  std::vector<TensorId> inputs;  // activations and constant operands (weights live in the op)
  TensorId output = -1;
  std::vector<std::string> nodes;  // ONNX node names the step came from, in graph order
  // Why the step cannot run on a device; empty if it can. Depends on the operator only, not on a
  // configuration.
  std::string host_reason;

  bool device_capable() const { return host_reason.empty(); }
  bool operator==(const Step&) const = default;
};

struct Output {
  std::string name;  // the ONNX output name; several outputs may name one tensor
  TensorId tensor = -1;
  bool operator==(const Output&) const = default;
};

struct Graph {
  std::string name;
  std::vector<TensorInfo> tensors;
  std::vector<TensorId> inputs;  // graph inputs in the model's order
  std::vector<Output> outputs;  // graph outputs in the model's order; may name inputs and constants
  std::vector<Step> steps;      // topological order

  const TensorInfo& tensor(TensorId id) const { return tensors[static_cast<size_t>(id)]; }
  TensorInfo& tensor(TensorId id) { return tensors[static_cast<size_t>(id)]; }
  bool operator==(const Graph&) const = default;
};

// "Conv", "GlobalAveragePool" ...; for HostFloat the ONNX operator.
std::string OpName(const Op& op);

// Smallest and largest code of a type.
CodeRange FullRange(DType type);

// How the second shape is broadcast against the first in Add and Mul.
enum class Broadcast : uint8_t {
  kSame,     // equal shapes (leading ones ignored)
  kScalar,   // b has one element
  kChannel,  // rank 4: b is [1 or N, C, 1, 1] against a [N, C, H, W]
  kGeneral   // any other NumPy broadcast, including both operands being broadcast
};
Broadcast BroadcastKind(const Shape& a, const Shape& b);
// NumPy broadcast of two shapes; fails if they do not fit.
Expected<Shape> BroadcastShape(const Shape& a, const Shape& b);

// Elements of the window at output row (dimension 0) or column (1) `at` that lie inside an image of
// `size` rows or columns, counted along that dimension.
int64_t ElementsInside(const AveragePool& pool, size_t dimension, int64_t at, int64_t size);

// Multiplications of the step (1 MAC each): Conv and Gemm only.
int64_t MacCount(const Graph& graph, const Step& step);

// Producer step of every tensor, -1 for inputs and constants.
std::vector<int32_t> Producers(const Graph& graph);
// Consumer steps of every tensor in order (a step reading it twice appears twice).
std::vector<std::vector<int32_t>> Consumers(const Graph& graph);

// Checks every statement of this header: unique names, order, shapes, types, ranges, constants of
// the right length. The error names the step or tensor.
Status Verify(const Graph& graph);

// Text form; ParseText(PrintText(g)) == g for every valid graph, and printing is deterministic.
// Floats are printed in hexadecimal, constants as hexadecimal bytes. ParseText does not verify.
std::string PrintText(const Graph& graph);
Expected<Graph> ParseText(std::string_view text);
// The same layout with constants longer than 16 bytes replaced by their length and checksum: for
// people, not parseable.
std::string Summary(const Graph& graph);

}  // namespace octile::ir
