#include "octile/ir/host_ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "octile/ir/tensor_ops.h"
#include "octile/numerics/fp.h"
#include "octile/numerics/functions.h"

namespace octile::ir {
namespace {

namespace num = ::octile::numerics;
using Inputs = std::span<const Tensor* const>;

constexpr std::string_view kBetween =
    "fp32 between two quantized operators: no codes to look up in a table";
constexpr std::string_view kDynamic = "two float operands: no integer rule";
constexpr std::string_view kNormalization =
    "statistics at run time need fp32 division and square root";
constexpr std::string_view kReduction = "a float reduction has no integer rule";

// Sorted by name.
constexpr HostOperator kHostOperators[] = {
    {"Abs", kBetween},
    {"Acos", kBetween},
    {"Acosh", kBetween},
    {"Add", "float operands without codes"},
    {"ArgMax", "its result is an index, not a code"},
    {"ArgMin", "its result is an index, not a code"},
    {"Asin", kBetween},
    {"Asinh", kBetween},
    {"Atan", kBetween},
    {"Atanh", kBetween},
    {"AveragePool", "its input is float"},
    {"BatchNormalization", "its input, its result or a parameter is float or not constant"},
    {"Cast", "converts element types"},
    {"Ceil", kBetween},
    {"Celu", kBetween},
    {"Clip", kBetween},
    {"Conv", "float operands: quantize input and weights"},
    {"ConvTranspose", "no device rule for transposed convolutions"},
    {"Cos", kBetween},
    {"Cosh", kBetween},
    {"Div", kDynamic},
    {"Elu", kBetween},
    {"Erf", kBetween},
    {"Exp", kBetween},
    {"Floor", kBetween},
    {"Gather", "indices at run time"},
    {"Gelu", kBetween},
    {"Gemm", "float operands: quantize input and weights"},
    {"GlobalAveragePool", "its input is float"},
    {"GlobalMaxPool", "its input is float"},
    {"HardSigmoid", kBetween},
    {"HardSwish", kBetween},
    {"InstanceNormalization", kNormalization},
    {"LayerNormalization", kNormalization},
    {"LeakyRelu", kBetween},
    {"Log", kBetween},
    {"LogSoftmax", "exponentials of a whole row in fp32"},
    {"MatMul", "both operands change at run time, or are float"},
    {"Max", kDynamic},
    {"MaxPool", "its input is float"},
    {"Min", kDynamic},
    {"Mish", kBetween},
    {"Mul", "float operands without codes"},
    {"Neg", kBetween},
    {"PRelu", kDynamic},
    {"Pad", "its input is float"},
    {"Pow", kDynamic},
    {"Reciprocal", kBetween},
    {"ReduceL1", kReduction},
    {"ReduceL2", kReduction},
    {"ReduceMax", kReduction},
    {"ReduceMean", kReduction},
    {"ReduceMin", kReduction},
    {"ReduceProd", kReduction},
    {"ReduceSum", kReduction},
    {"ReduceSumSquare", kReduction},
    {"Relu", kBetween},
    {"Resize", "linear interpolation weights are fp32"},
    {"Round", kBetween},
    {"Selu", kBetween},
    {"Shrink", kBetween},
    {"Sigmoid", kBetween},
    {"Sign", kBetween},
    {"Sin", kBetween},
    {"Sinh", kBetween},
    {"Softmax", "exponentials of a whole row in fp32"},
    {"Softplus", kBetween},
    {"Softsign", kBetween},
    {"Sqrt", kBetween},
    {"Sub", kDynamic},
    {"Swish", kBetween},
    {"Tan", kBetween},
    {"Tanh", kBetween},
    {"ThresholdedRelu", kBetween},
};

struct BadAttribute {
  std::string message;
};

template <class T>
T Get(const HostFloat& op, const char* key, T fallback) {
  const auto it = op.attributes.find(key);
  if (it == op.attributes.end()) return fallback;
  const T* value = std::get_if<T>(&it->second);
  if (!value) throw BadAttribute{fmt::format("{}: attribute '{}' has the wrong type", op.op, key)};
  return *value;
}
float GetFloat(const HostFloat& op, const char* key, float fallback) {
  return Get<float>(op, key, fallback);
}
int64_t GetInt(const HostFloat& op, const char* key, int64_t fallback) {
  return Get<int64_t>(op, key, fallback);
}
std::vector<int64_t> GetInts(const HostFloat& op, const char* key) {
  return Get<std::vector<int64_t>>(op, key, {});
}

const Tensor& Need(const HostFloat& op, Inputs inputs, size_t i) {
  if (i >= inputs.size() || inputs[i] == nullptr)
    throw BadAttribute{fmt::format("{}: input {} is missing", op.op, i)};
  if (inputs[i]->dtype != DType::kF32)
    throw BadAttribute{
        fmt::format("{}: input {} is {}, not f32", op.op, i, DTypeName(inputs[i]->dtype))};
  return *inputs[i];
}
const Tensor* Maybe(Inputs inputs, size_t i) { return i < inputs.size() ? inputs[i] : nullptr; }

using Unary = std::function<float(float)>;

// The scalar function of a unary operator with its attributes bound.
Unary MakeUnary(const HostFloat& op, Inputs inputs) {
  const std::string& name = op.op;
  if (name == "Relu") return num::Relu;
  if (name == "Sigmoid") return num::Sigmoid;
  if (name == "Tanh") return num::Tanh;
  if (name == "HardSwish") return num::HardSwish;
  if (name == "Softsign") return num::Softsign;
  if (name == "Softplus") return num::Softplus;
  if (name == "Mish") return num::Mish;
  if (name == "Erf") return num::Erf;
  if (name == "Exp") return num::Exp;
  if (name == "Log") return num::Log;
  if (name == "Sqrt") return num::Sqrt;
  if (name == "Reciprocal") return num::Reciprocal;
  if (name == "Abs") return num::Abs;
  if (name == "Neg") return num::Neg;
  if (name == "Sign") return num::Sign;
  if (name == "Floor") return num::Floor;
  if (name == "Ceil") return num::Ceil;
  if (name == "Round") return num::Round;
  if (name == "Sin") return num::Sin;
  if (name == "Cos") return num::Cos;
  if (name == "Tan") return num::Tan;
  if (name == "Asin") return num::Asin;
  if (name == "Acos") return num::Acos;
  if (name == "Atan") return num::Atan;
  if (name == "Sinh") return num::Sinh;
  if (name == "Cosh") return num::Cosh;
  if (name == "Asinh") return num::Asinh;
  if (name == "Acosh") return num::Acosh;
  if (name == "Atanh") return num::Atanh;
  const auto with = [&](auto function, float fallback) -> Unary {
    return [=, a = GetFloat(op, "alpha", fallback)](float x) { return function(x, a); };
  };
  if (name == "LeakyRelu") return with(num::LeakyRelu, 0.01f);
  if (name == "ThresholdedRelu") return with(num::ThresholdedRelu, 1.0f);
  if (name == "Elu") return with(num::Elu, 1.0f);
  if (name == "Celu") return with(num::Celu, 1.0f);
  if (name == "Swish") return with(num::QuickGelu, 1.0f);
  if (name == "HardSigmoid")
    return [a = GetFloat(op, "alpha", 0.2f), b = GetFloat(op, "beta", 0.5f)](float x) {
      return num::HardSigmoid(x, a, b);
    };
  if (name == "Selu")
    return [a = GetFloat(op, "alpha", 1.67326319217681884765625f),
            g = GetFloat(op, "gamma", 1.05070102214813232421875f)](float x) {
      return num::Selu(x, a, g);
    };
  if (name == "Shrink")
    return [b = GetFloat(op, "bias", 0.0f), l = GetFloat(op, "lambd", 0.5f)](float x) {
      return num::Shrink(x, b, l);
    };
  if (name == "Gelu") {
    const auto approximate = Get<std::string>(op, "approximate", "none");
    if (approximate != "none" && approximate != "tanh")
      throw BadAttribute{fmt::format("Gelu: approximate '{}' is unknown", approximate)};
    return approximate == "tanh" ? num::GeluTanh : num::GeluErf;
  }
  if (name == "Clip") {
    float lo = GetFloat(op, "min", std::numeric_limits<float>::lowest());
    float hi = GetFloat(op, "max", std::numeric_limits<float>::max());
    if (const Tensor* t = Maybe(inputs, 1); t && t->dtype == DType::kF32 && t->size() == 1)
      lo = t->data<float>()[0];
    if (const Tensor* t = Maybe(inputs, 2); t && t->dtype == DType::kF32 && t->size() == 1)
      hi = t->data<float>()[0];
    return [=](float x) { return num::Clip(x, lo, hi); };
  }
  return nullptr;
}

using Binary = float (*)(float, float);

Binary MakeBinary(std::string_view name) {
  if (name == "Add") return [](float a, float b) { return a + b; };
  if (name == "Sub") return [](float a, float b) { return a - b; };
  if (name == "Mul") return [](float a, float b) { return a * b; };
  if (name == "Div") return [](float a, float b) { return a / b; };
  if (name == "Pow") return num::Pow;
  if (name == "PRelu") return num::PRelu;
  // NaN wins, as in ONNX Runtime.
  if (name == "Min") return [](float a, float b) { return std::isnan(a) || a < b ? a : b; };
  if (name == "Max") return [](float a, float b) { return std::isnan(a) || a > b ? a : b; };
  return nullptr;
}

Tensor EvalBinary(const Tensor& a, const Tensor& b, const Shape& shape, Binary f) {
  Tensor y(DType::kF32, shape);
  const auto x0 = a.data<float>();
  const auto x1 = b.data<float>();
  float* out = y.data<float>().data();
  ForEachPair(shape, BroadcastStrides(a.shape, shape), BroadcastStrides(b.shape, shape),
              [&](int64_t i, int64_t j) {
                *out++ = f(x0[static_cast<size_t>(i)], x1[static_cast<size_t>(j)]);
              });
  return y;
}

// Splits a shape at an axis into outer * length * inner.
struct AxisView {
  int64_t outer = 1;
  int64_t length = 1;
  int64_t inner = 1;
};
AxisView ViewOf(const Shape& shape, int64_t axis) {
  AxisView v;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (static_cast<int64_t>(i) < axis) v.outer *= shape[i];
    if (static_cast<int64_t>(i) == axis) v.length = shape[i];
    if (static_cast<int64_t>(i) > axis) v.inner *= shape[i];
  }
  return v;
}

int64_t AxisOf(const HostFloat& op, int64_t fallback, const Shape& shape) {
  int64_t axis = GetInt(op, "axis", fallback);
  const auto rank = static_cast<int64_t>(shape.size());
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank) throw BadAttribute{fmt::format("{}: axis is out of range", op.op)};
  return axis;
}

Tensor EvalSoftmax(const HostFloat& op, const Tensor& x) {
  Tensor y(DType::kF32, x.shape);
  const AxisView v = ViewOf(x.shape, AxisOf(op, -1, x.shape));
  const auto row = op.op == "LogSoftmax" ? num::fp::LogSoftmaxRow : num::fp::SoftmaxRow;
  for (int64_t o = 0; o < v.outer; ++o)
    for (int64_t i = 0; i < v.inner; ++i) {
      const int64_t at = o * v.length * v.inner + i;
      row(x.data<float>().data() + at, y.data<float>().data() + at, v.length, v.inner);
    }
  return y;
}

Tensor EvalArg(const HostFloat& op, const Tensor& x, const Shape& shape) {
  Tensor y(DType::kS64, shape);
  const AxisView v = ViewOf(x.shape, AxisOf(op, 0, x.shape));
  const bool last = GetInt(op, "select_last_index", 0) != 0;
  const bool max = op.op == "ArgMax";
  const auto in = x.data<float>();
  int64_t* out = y.data<int64_t>().data();
  for (int64_t o = 0; o < v.outer; ++o)
    for (int64_t i = 0; i < v.inner; ++i) {
      int64_t best = 0;
      const auto value = [&](int64_t k) {
        return in[static_cast<size_t>((o * v.length + k) * v.inner + i)];
      };
      for (int64_t k = 1; k < v.length; ++k) {
        const bool better = max ? value(k) > value(best) : value(k) < value(best);
        if (better || (last && value(k) == value(best))) best = k;
      }
      *out++ = best;
    }
  return y;
}

Tensor EvalReduce(const HostFloat& op, const Tensor& x, const Shape& shape) {
  std::vector<int64_t> axes = GetInts(op, "axes");
  Shape kept = x.shape;
  for (int64_t axis : axes) {
    if (axis < 0 || axis >= static_cast<int64_t>(x.shape.size()))
      throw BadAttribute{fmt::format("{}: axis is out of range", op.op)};
    kept[static_cast<size_t>(axis)] = 1;
  }
  const std::string& name = op.op;
  const bool max = name == "ReduceMax";
  const bool min = name == "ReduceMin";
  const double start = max   ? -std::numeric_limits<double>::infinity()
                       : min ? std::numeric_limits<double>::infinity()
                             : (name == "ReduceProd" ? 1.0 : 0.0);
  std::vector<double> sums(static_cast<size_t>(ElementCount(kept)), start);
  const auto in = x.data<float>();
  ForEachPair(x.shape, BroadcastStrides(x.shape, x.shape), BroadcastStrides(kept, x.shape),
              [&](int64_t i, int64_t j) {
                const double v = in[static_cast<size_t>(i)];
                double& s = sums[static_cast<size_t>(j)];
                if (max) {
                  s = std::max(s, v);
                } else if (min) {
                  s = std::min(s, v);
                } else if (name == "ReduceProd") {
                  s *= v;
                } else if (name == "ReduceL1") {
                  s += std::abs(v);
                } else if (name == "ReduceL2" || name == "ReduceSumSquare") {
                  s += v * v;
                } else {
                  s += v;
                }
              });
  Tensor y(DType::kF32, shape);
  const auto out = y.data<float>();
  const double count =
      static_cast<double>(x.size()) / static_cast<double>(std::max<size_t>(1, sums.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    double v = sums[i];
    if (name == "ReduceMean") v /= count;
    if (name == "ReduceL2") v = std::sqrt(v);
    out[i] = static_cast<float>(v);
  }
  return y;
}

Tensor EvalBatchNormalization(const HostFloat& op, Inputs inputs) {
  const Tensor& x = Need(op, inputs, 0);
  const auto gamma = Need(op, inputs, 1).data<float>();
  const auto beta = Need(op, inputs, 2).data<float>();
  const auto mean = Need(op, inputs, 3).data<float>();
  const auto variance = Need(op, inputs, 4).data<float>();
  const float epsilon = GetFloat(op, "epsilon", 1e-5f);
  Tensor y(DType::kF32, x.shape);
  const AxisView v = ViewOf(x.shape, 1);
  for (int64_t o = 0; o < v.outer; ++o)
    for (int64_t c = 0; c < v.length; ++c) {
      const auto k = static_cast<size_t>(c);
      const float factor =
          static_cast<float>(gamma[k] / std::sqrt(static_cast<double>(variance[k]) + epsilon));
      for (int64_t i = 0; i < v.inner; ++i) {
        const auto at = static_cast<size_t>((o * v.length + c) * v.inner + i);
        y.data<float>()[at] = (x.data<float>()[at] - mean[k]) * factor + beta[k];
      }
    }
  return y;
}

// Layer and instance normalization of rows of `length` elements: statistics in fp64.
void NormalizeRow(const float* x, float* y, int64_t length, float epsilon) {
  double sum = 0;
  for (int64_t i = 0; i < length; ++i) sum += x[i];
  const double mean = sum / static_cast<double>(length);
  double squares = 0;
  for (int64_t i = 0; i < length; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double scale = 1.0 / std::sqrt(squares / static_cast<double>(length) + epsilon);
  for (int64_t i = 0; i < length; ++i) y[i] = static_cast<float>((x[i] - mean) * scale);
}

Tensor EvalNormalization(const HostFloat& op, Inputs inputs) {
  const Tensor& x = Need(op, inputs, 0);
  const Tensor& gamma = Need(op, inputs, 1);
  const Tensor* beta = Maybe(inputs, 2);
  const float epsilon = GetFloat(op, "epsilon", 1e-5f);
  Tensor y(DType::kF32, x.shape);
  const bool layer = op.op == "LayerNormalization";
  const auto axis = static_cast<size_t>(layer ? AxisOf(op, -1, x.shape) : 2);
  const Shape inner(x.shape.begin() + static_cast<int64_t>(axis), x.shape.end());
  const int64_t length = ElementCount(inner);
  const int64_t rows = x.size() / length;
  const Tensor g = layer ? BroadcastTensor(gamma, inner) : gamma;
  const Tensor b = beta == nullptr ? Tensor() : layer ? BroadcastTensor(*beta, inner) : *beta;
  for (int64_t r = 0; r < rows; ++r) {
    float* out = y.data<float>().data() + r * length;
    NormalizeRow(x.data<float>().data() + r * length, out, length, epsilon);
    for (int64_t i = 0; i < length; ++i) {
      const auto k = static_cast<size_t>(layer ? i : r % x.shape[1]);
      out[i] = out[i] * g.data<float>()[k];
      if (beta) out[i] = out[i] + b.data<float>()[k];
    }
  }
  return y;
}

Tensor EvalMatMul(const Tensor& a, const Tensor& b, const Shape& shape) {
  Shape sa = a.shape;
  Shape sb = b.shape;
  if (sa.size() == 1) sa.insert(sa.begin(), 1);
  if (sb.size() == 1) sb.push_back(1);
  const int64_t m = sa[sa.size() - 2];
  const int64_t k = sa.back();
  const int64_t n = sb.back();
  const Shape ba(sa.begin(), sa.end() - 2);
  const Shape bb(sb.begin(), sb.end() - 2);
  const Shape batch = *BroadcastShape(ba, bb);
  Tensor y(DType::kF32, shape);
  float* out = y.data<float>().data();
  ForEachPair(
      batch, BroadcastStrides(ba, batch), BroadcastStrides(bb, batch), [&](int64_t i, int64_t j) {
        const float* pa = a.data<float>().data() + i * m * k;
        const float* pb = b.data<float>().data() + j * k * n;
        std::vector<double> row(static_cast<size_t>(n));
        for (int64_t r = 0; r < m; ++r) {
          std::fill(row.begin(), row.end(), 0.0);
          for (int64_t x = 0; x < k; ++x)
            for (int64_t c = 0; c < n; ++c)
              row[static_cast<size_t>(c)] += static_cast<double>(pa[r * k + x]) * pb[x * n + c];
          for (double v : row) *out++ = static_cast<float>(v);
        }
      });
  return y;
}

Tensor EvalGemm(const HostFloat& op, Inputs inputs, const Shape& shape) {
  Tensor a = Need(op, inputs, 0);
  Tensor b = Need(op, inputs, 1);
  const std::vector<int64_t> swap = {1, 0};
  if (GetInt(op, "transA", 0)) a = TransposeTensor(a, swap);
  if (GetInt(op, "transB", 0)) b = TransposeTensor(b, swap);
  Tensor y = EvalMatMul(a, b, shape);
  const float alpha = GetFloat(op, "alpha", 1.0f);
  const float beta = GetFloat(op, "beta", 1.0f);
  for (float& v : y.data<float>()) v = v * alpha;
  if (const Tensor* c = Maybe(inputs, 2)) {
    Tensor scaled = *c;
    for (float& v : scaled.data<float>()) v = v * beta;
    y = EvalBinary(y, scaled, shape, MakeBinary("Add"));
  }
  return y;
}

struct Geometry {
  std::vector<int64_t> kernel, strides, dilations, pads;
};
Geometry GeometryOf(const HostFloat& op) {
  Geometry g{GetInts(op, "kernel_shape"), GetInts(op, "strides"), GetInts(op, "dilations"),
             GetInts(op, "pads")};
  if (g.strides.empty()) g.strides = {1, 1};
  if (g.dilations.empty()) g.dilations = {1, 1};
  if (g.pads.empty()) g.pads = {0, 0, 0, 0};
  if (g.strides.size() != 2 || g.dilations.size() != 2 || g.pads.size() != 4 ||
      (!g.kernel.empty() && g.kernel.size() != 2))
    throw BadAttribute{fmt::format("{}: an attribute has the wrong length", op.op)};
  return g;
}

Tensor EvalConv(const HostFloat& op, Inputs inputs, const Shape& shape) {
  const Tensor& x = Need(op, inputs, 0);
  const Tensor& w = Need(op, inputs, 1);
  const Tensor* bias = Maybe(inputs, 2);
  const Geometry g = GeometryOf(op);
  const int64_t group = GetInt(op, "group", 1);
  const int64_t per_group = w.shape[1];
  const int64_t out_per_group = w.shape[0] / group;
  Tensor y(DType::kF32, shape);
  float* out = y.data<float>().data();
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t c = 0; c < shape[1]; ++c)
      for (int64_t oy = 0; oy < shape[2]; ++oy)
        for (int64_t ox = 0; ox < shape[3]; ++ox) {
          double sum = 0;
          for (int64_t k = 0; k < per_group; ++k)
            for (int64_t ky = 0; ky < w.shape[2]; ++ky) {
              const int64_t iy = oy * g.strides[0] + ky * g.dilations[0] - g.pads[0];
              if (iy < 0 || iy >= x.shape[2]) continue;
              for (int64_t kx = 0; kx < w.shape[3]; ++kx) {
                const int64_t ix = ox * g.strides[1] + kx * g.dilations[1] - g.pads[1];
                if (ix < 0 || ix >= x.shape[3]) continue;
                const int64_t channel = c / out_per_group * per_group + k;
                sum += static_cast<double>(x.data<float>()[static_cast<size_t>(
                           ((n * x.shape[1] + channel) * x.shape[2] + iy) * x.shape[3] + ix)]) *
                       w.data<float>()[static_cast<size_t>(
                           ((c * per_group + k) * w.shape[2] + ky) * w.shape[3] + kx)];
              }
            }
          if (bias) sum += bias->data<float>()[static_cast<size_t>(c)];
          *out++ = static_cast<float>(sum);
        }
  return y;
}

Tensor EvalConvTranspose(const HostFloat& op, Inputs inputs, const Shape& shape) {
  const Tensor& x = Need(op, inputs, 0);
  const Tensor& w = Need(op, inputs, 1);  // [Cin][Cout/group][kh][kw]
  const Tensor* bias = Maybe(inputs, 2);
  const Geometry g = GeometryOf(op);
  const int64_t group = GetInt(op, "group", 1);
  const int64_t in_per_group = x.shape[1] / group;
  const int64_t out_per_group = w.shape[1];
  std::vector<double> sums(static_cast<size_t>(ElementCount(shape)), 0.0);
  for (int64_t n = 0; n < x.shape[0]; ++n)
    for (int64_t c = 0; c < x.shape[1]; ++c)
      for (int64_t iy = 0; iy < x.shape[2]; ++iy)
        for (int64_t ix = 0; ix < x.shape[3]; ++ix) {
          const double v = x.data<float>()[static_cast<size_t>(
              ((n * x.shape[1] + c) * x.shape[2] + iy) * x.shape[3] + ix)];
          for (int64_t k = 0; k < out_per_group; ++k)
            for (int64_t ky = 0; ky < w.shape[2]; ++ky)
              for (int64_t kx = 0; kx < w.shape[3]; ++kx) {
                const int64_t oy = iy * g.strides[0] + ky * g.dilations[0] - g.pads[0];
                const int64_t ox = ix * g.strides[1] + kx * g.dilations[1] - g.pads[1];
                if (oy < 0 || oy >= shape[2] || ox < 0 || ox >= shape[3]) continue;
                const int64_t channel = c / in_per_group * out_per_group + k;
                sums[static_cast<size_t>(((n * shape[1] + channel) * shape[2] + oy) * shape[3] +
                                         ox)] +=
                    v * w.data<float>()[static_cast<size_t>(
                            ((c * out_per_group + k) * w.shape[2] + ky) * w.shape[3] + kx)];
              }
        }
  Tensor y(DType::kF32, shape);
  const int64_t plane = shape[2] * shape[3];
  for (size_t i = 0; i < sums.size(); ++i) {
    if (bias)
      sums[i] +=
          bias->data<float>()[i / static_cast<size_t>(plane) % static_cast<size_t>(shape[1])];
    y.data<float>()[i] = static_cast<float>(sums[i]);
  }
  return y;
}

Tensor EvalPool(const HostFloat& op, const Tensor& x, const Shape& shape) {
  const Geometry g = GeometryOf(op);
  if (g.kernel.size() != 2) throw BadAttribute{fmt::format("{}: kernel_shape is missing", op.op)};
  const bool max = op.op == "MaxPool";
  const bool include_pad = GetInt(op, "count_include_pad", 0) != 0;
  Tensor y(DType::kF32, shape);
  float* out = y.data<float>().data();
  for (int64_t plane = 0; plane < shape[0] * shape[1]; ++plane) {
    const float* in = x.data<float>().data() + plane * x.shape[2] * x.shape[3];
    for (int64_t oy = 0; oy < shape[2]; ++oy)
      for (int64_t ox = 0; ox < shape[3]; ++ox) {
        float result = max ? -std::numeric_limits<float>::infinity() : 0.0f;
        int64_t count = 0;
        for (int64_t ky = 0; ky < g.kernel[0]; ++ky)
          for (int64_t kx = 0; kx < g.kernel[1]; ++kx) {
            const int64_t iy = oy * g.strides[0] + ky * g.dilations[0] - g.pads[0];
            const int64_t ix = ox * g.strides[1] + kx * g.dilations[1] - g.pads[1];
            if (iy < 0 || iy >= x.shape[2] || ix < 0 || ix >= x.shape[3]) continue;
            ++count;
            const float v = in[iy * x.shape[3] + ix];
            result = max ? std::max(result, v) : result + v;
          }
        if (include_pad) count = g.kernel[0] * g.kernel[1];
        *out++ = max ? result : result / static_cast<float>(count);
      }
  }
  return y;
}

Tensor EvalGlobalPool(const HostFloat& op, const Tensor& x, const Shape& shape) {
  HostFloat reduce{op.op == "GlobalMaxPool" ? "ReduceMax" : "ReduceMean", {}};
  std::vector<int64_t> axes;
  for (size_t i = 2; i < x.shape.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  reduce.attributes["axes"] = axes;
  return EvalReduce(reduce, x, shape);
}

// Source coordinate of an output index, in fp32 as ONNX states it.
float ResizeCoordinate(const std::string& mode, int64_t i, float scale, int64_t in, int64_t out) {
  const auto x = static_cast<float>(i);
  if (mode == "asymmetric") return x / scale;
  if (mode == "align_corners")
    return out == 1 ? 0.0f : x * static_cast<float>(in - 1) / static_cast<float>(out - 1);
  if (mode == "pytorch_half_pixel") return out > 1 ? (x + 0.5f) / scale - 0.5f : 0.0f;
  if (mode == "half_pixel") return (x + 0.5f) / scale - 0.5f;
  if (mode == "half_pixel_symmetric") {
    const float adjustment = static_cast<float>(out) / (scale * static_cast<float>(in));
    return static_cast<float>(in) / 2 * (1 - adjustment) + (x + 0.5f) / scale - 0.5f;
  }
  throw BadAttribute{
      fmt::format("Resize: coordinate_transformation_mode '{}' is not supported", mode)};
}

Tensor EvalResizeLinear(const HostFloat& op, const Tensor& x, const Shape& shape) {
  if (Get<std::string>(op, "mode", "") != "linear")
    throw BadAttribute{"Resize: only mode 'linear' is a host step"};
  const auto scales = Get<std::vector<float>>(op, "scales", {});
  const auto mode = Get<std::string>(op, "coordinate_transformation_mode", "half_pixel");
  if (scales.size() != x.shape.size()) throw BadAttribute{"Resize: scales do not fit the input"};
  // One axis after the other; interpolation along unscaled axes is the identity.
  Tensor current = x;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] == x.shape[axis] && scales[axis] == 1.0f) continue;
    Shape next = current.shape;
    next[axis] = shape[axis];
    Tensor y(DType::kF32, next);
    const AxisView v = ViewOf(current.shape, static_cast<int64_t>(axis));
    for (int64_t i = 0; i < next[axis]; ++i) {
      float at = ResizeCoordinate(mode, i, scales[axis], v.length, next[axis]);
      at = std::clamp(at, 0.0f, static_cast<float>(v.length - 1));
      const auto low = static_cast<int64_t>(at);
      const int64_t high = std::min(low + 1, v.length - 1);
      const float fraction = at - static_cast<float>(low);
      for (int64_t o = 0; o < v.outer; ++o)
        for (int64_t k = 0; k < v.inner; ++k) {
          const float a =
              current.data<float>()[static_cast<size_t>((o * v.length + low) * v.inner + k)];
          const float b =
              current.data<float>()[static_cast<size_t>((o * v.length + high) * v.inner + k)];
          y.data<float>()[static_cast<size_t>((o * next[axis] + i) * v.inner + k)] =
              a * (1 - fraction) + b * fraction;
        }
    }
    current = std::move(y);
  }
  return current;
}

Tensor EvalPad(const HostFloat& op, const Tensor& x) {
  const auto before = GetInts(op, "before");
  const auto after = GetInts(op, "after");
  if (before.size() != x.shape.size() || after.size() != x.shape.size())
    throw BadAttribute{"Pad: pads do not fit the input"};
  const float value = GetFloat(op, "value", 0.0f);
  std::array<uint8_t, 4> fill{};
  std::memcpy(fill.data(), &value, 4);
  return PadTensor(x, before, after, static_cast<PadMode>(GetInt(op, "mode", 0)), fill);
}

Tensor EvalCast(const Tensor& x, DType dtype) {
  Tensor y(dtype, x.shape);
  for (int64_t i = 0; i < x.size(); ++i) {
    const auto k = static_cast<size_t>(i);
    double v = 0;
    switch (x.dtype) {
      case DType::kU8:
      case DType::kBool:
        v = x.data<uint8_t>()[k];
        break;
      case DType::kS8:
        v = x.data<int8_t>()[k];
        break;
      case DType::kS32:
        v = x.data<int32_t>()[k];
        break;
      case DType::kF32:
        v = x.data<float>()[k];
        break;
      default:
        throw BadAttribute{fmt::format("Cast: from {} is not a host step", DTypeName(x.dtype))};
    }
    switch (dtype) {
      case DType::kF32:
        y.data<float>()[k] = static_cast<float>(v);
        break;
      case DType::kS64:
        y.data<int64_t>()[k] = std::isfinite(v) && std::abs(v) < 9e18
                                   ? static_cast<int64_t>(v)
                                   : std::numeric_limits<int64_t>::min();
        break;
      case DType::kS32:
        y.data<int32_t>()[k] = std::isfinite(v) && std::abs(v) < 2147483648.0
                                   ? static_cast<int32_t>(v)
                                   : std::numeric_limits<int32_t>::min();
        break;
      default:
        throw BadAttribute{fmt::format("Cast: to {} is not a host step", DTypeName(dtype))};
    }
  }
  return y;
}

Tensor Evaluate(const HostFloat& op, Inputs inputs, DType dtype, const Shape& shape) {
  const std::string& name = op.op;
  if (name == "Cast") {
    if (inputs.empty() || !inputs[0]) throw BadAttribute{"Cast: its input is missing"};
    return EvalCast(*inputs[0], dtype);
  }
  if (name == "Gather") {
    if (inputs.size() < 2 || !inputs[0] || !inputs[1])
      throw BadAttribute{"Gather: an input is missing"};
    auto y = GatherTensor(*inputs[0], *inputs[1], AxisOf(op, 0, inputs[0]->shape));
    if (!y) throw BadAttribute{fmt::format("Gather: {}", y.error().message)};
    return std::move(*y);
  }
  const Tensor& x = Need(op, inputs, 0);
  if (Unary f = MakeUnary(op, inputs)) {
    Tensor y(DType::kF32, x.shape);
    std::transform(x.data<float>().begin(), x.data<float>().end(), y.data<float>().begin(), f);
    return y;
  }
  if (Binary f = MakeBinary(name)) {
    if (name == "Min" || name == "Max") {  // any number of inputs
      Tensor y = BroadcastTensor(x, shape);
      for (size_t i = 1; i < inputs.size(); ++i) y = EvalBinary(y, Need(op, inputs, i), shape, f);
      return y;
    }
    return EvalBinary(x, Need(op, inputs, 1), shape, f);
  }
  if (name == "Softmax" || name == "LogSoftmax") return EvalSoftmax(op, x);
  if (name == "ArgMax" || name == "ArgMin") return EvalArg(op, x, shape);
  if (name.starts_with("Reduce")) return EvalReduce(op, x, shape);
  if (name == "BatchNormalization") return EvalBatchNormalization(op, inputs);
  if (name == "LayerNormalization" || name == "InstanceNormalization")
    return EvalNormalization(op, inputs);
  if (name == "MatMul") return EvalMatMul(x, Need(op, inputs, 1), shape);
  if (name == "Gemm") return EvalGemm(op, inputs, shape);
  if (name == "Conv") return EvalConv(op, inputs, shape);
  if (name == "ConvTranspose") return EvalConvTranspose(op, inputs, shape);
  if (name == "MaxPool" || name == "AveragePool") return EvalPool(op, x, shape);
  if (name == "GlobalAveragePool" || name == "GlobalMaxPool") return EvalGlobalPool(op, x, shape);
  if (name == "Resize") return EvalResizeLinear(op, x, shape);
  if (name == "Pad") return EvalPad(op, x);
  throw BadAttribute{fmt::format("{} is not a host operator", name)};
}

}  // namespace

std::span<const HostOperator> HostOperators() { return kHostOperators; }

const HostOperator* FindHostOperator(std::string_view op) {
  for (const HostOperator& row : kHostOperators)
    if (row.op == op) return &row;
  return nullptr;
}

bool IsUnary(std::string_view op) {
  HostFloat probe{std::string(op), {}};
  return MakeUnary(probe, {}) != nullptr;
}

bool IsBinary(std::string_view op) { return MakeBinary(op) != nullptr; }

Expected<Tensor> EvaluateHost(const HostFloat& op, std::span<const Tensor* const> inputs,
                              DType dtype, const Shape& shape) {
  try {
    Tensor y = Evaluate(op, inputs, dtype, shape);
    if (y.dtype != dtype || ElementCount(y.shape) != ElementCount(shape))
      return Fail(ErrorCode::kModel,
                  fmt::format("{}: its result is {} {}, not {} {}", op.op, DTypeName(y.dtype),
                              ShapeName(y.shape), DTypeName(dtype), ShapeName(shape)));
    y.shape = shape;
    return y;
  } catch (const BadAttribute& bad) {
    return Fail(ErrorCode::kModel, bad.message);
  }
}

}  // namespace octile::ir
