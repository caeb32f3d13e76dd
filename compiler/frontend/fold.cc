// Evaluation of operators whose inputs are all known, in the element types that ONNX prescribes.
#include <algorithm>
#include <cmath>
#include <limits>

#include "model.h"
#include "octile/ir/host_ops.h"
#include "octile/ir/tensor_ops.h"
#include "octile/numerics/fp.h"

namespace octile::frontend {
namespace {

using Constants = std::vector<std::shared_ptr<const Tensor>>;

bool IsFloat(DType type) { return type == DType::kF32 || type == DType::kF64; }

double FloatAt(const Tensor& x, size_t i) {
  return x.dtype == DType::kF32 ? x.data<float>()[i] : x.data<double>()[i];
}

int64_t IntegerAt(const Tensor& x, size_t i) {
  switch (x.dtype) {
    case DType::kU8:
      return x.data<uint8_t>()[i];
    case DType::kBool:
      return x.data<uint8_t>()[i] != 0;
    case DType::kS8:
      return x.data<int8_t>()[i];
    case DType::kU16:
      return x.data<uint16_t>()[i];
    case DType::kS16:
      return x.data<int16_t>()[i];
    case DType::kS32:
      return x.data<int32_t>()[i];
    case DType::kS64:
      return x.data<int64_t>()[i];
    default:
      return 0;
  }
}

void SetInteger(Tensor& y, size_t i, int64_t v) {
  switch (y.dtype) {
    case DType::kU8:
      y.data<uint8_t>()[i] = static_cast<uint8_t>(v);
      break;
    case DType::kBool:
      y.data<uint8_t>()[i] = v != 0;
      break;
    case DType::kS8:
      y.data<int8_t>()[i] = static_cast<int8_t>(v);
      break;
    case DType::kU16:
      y.data<uint16_t>()[i] = static_cast<uint16_t>(v);
      break;
    case DType::kS16:
      y.data<int16_t>()[i] = static_cast<int16_t>(v);
      break;
    case DType::kS32:
      y.data<int32_t>()[i] = static_cast<int32_t>(v);
      break;
    case DType::kS64:
      y.data<int64_t>()[i] = v;
      break;
    default:
      break;
  }
}

// Wrapping integer arithmetic; division truncates.
int64_t IntegerBinary(const FlatNode& node, int64_t a, int64_t b) {
  const auto ua = static_cast<uint64_t>(a);
  const auto ub = static_cast<uint64_t>(b);
  const std::string& op = node.op;
  if (op == "Add") return static_cast<int64_t>(ua + ub);
  if (op == "Sub") return static_cast<int64_t>(ua - ub);
  if (op == "Mul") return static_cast<int64_t>(ua * ub);
  if (op == "Min") return std::min(a, b);
  if (op == "Max") return std::max(a, b);
  if (op == "And") return a && b;
  if (op == "Or") return a || b;
  if (op == "Xor") return (a != 0) != (b != 0);
  if (op == "Div" || op == "Mod") {
    if (b == 0) Refuse("node '{}' ({}): integer division by zero", node.name, op);
    if (b == -1) return op == "Div" ? static_cast<int64_t>(-ua) : 0;
    if (op == "Div") return a / b;
    const int64_t r = a % b;
    return r != 0 && (r < 0) != (b < 0) && node.Int("fmod", 0) == 0 ? r + b : r;
  }
  Refuse("node '{}': {} of integer constants is not folded", node.name, op);
}

std::optional<bool> Compare(const std::string& op, auto a, auto b) {
  if (op == "Equal") return a == b;
  if (op == "Greater") return a > b;
  if (op == "Less") return a < b;
  if (op == "GreaterOrEqual") return a >= b;
  if (op == "LessOrEqual") return a <= b;
  return std::nullopt;
}

Tensor FoldBinary(const FlatNode& node, const Tensor& a, const Tensor& b) {
  if (a.dtype != b.dtype && node.op != "Pow")
    Refuse("node '{}' ({}): its operands are {} and {}", node.name, node.op, DTypeName(a.dtype),
           DTypeName(b.dtype));
  const auto shape = ir::BroadcastShape(a.shape, b.shape);
  if (!shape) Refuse("node '{}' ({}): {}", node.name, node.op, shape.error().message);
  const Tensor x0 = ir::BroadcastTensor(a, *shape);
  const Tensor x1 = ir::BroadcastTensor(b, *shape);
  const bool comparison = Compare(node.op, 0, 0).has_value();
  Tensor y(comparison ? DType::kBool : a.dtype, *shape);
  const auto count = static_cast<size_t>(y.size());
  for (size_t i = 0; i < count; ++i) {
    if (comparison) {
      y.bytes[i] = IsFloat(a.dtype) ? *Compare(node.op, FloatAt(x0, i), FloatAt(x1, i))
                                    : *Compare(node.op, IntegerAt(x0, i), IntegerAt(x1, i));
    } else if (IsFloat(a.dtype)) {
      const double p = FloatAt(x0, i);
      const double q = IsFloat(b.dtype) ? FloatAt(x1, i) : static_cast<double>(IntegerAt(x1, i));
      // One operation in fp64 on fp32 operands and rounding to fp32 equals the fp32 operation for +
      // - * /.
      double r = 0;
      if (node.op == "Add") {
        r = p + q;
      } else if (node.op == "Sub") {
        r = p - q;
      } else if (node.op == "Mul") {
        r = p * q;
      } else if (node.op == "Div") {
        r = p / q;
      } else if (node.op == "Pow") {
        r = std::pow(p, q);
      } else if (node.op == "Min") {
        r = std::min(p, q);
      } else if (node.op == "Max") {
        r = std::max(p, q);
      } else {
        Refuse("node '{}': {} of float constants is not folded", node.name, node.op);
      }
      if (a.dtype == DType::kF32)
        y.data<float>()[i] = static_cast<float>(r);
      else
        y.data<double>()[i] = r;
    } else {
      SetInteger(y, i, IntegerBinary(node, IntegerAt(x0, i), IntegerAt(x1, i)));
    }
  }
  return y;
}

Tensor FoldReduce(FlatModel& model, const FlatNode& node, const Tensor& x, const ValueType& type) {
  Shape kept = x.shape;
  for (int64_t axis : ReduceAxes(model, node)) kept[static_cast<size_t>(axis)] = 1;
  std::vector<int64_t> results(static_cast<size_t>(ElementCount(kept)), 0);
  std::vector<char> started(results.size(), 0);
  ir::ForEachPair(x.shape, ir::BroadcastStrides(x.shape, x.shape),
                  ir::BroadcastStrides(kept, x.shape), [&](int64_t i, int64_t j) {
                    const int64_t v = IntegerAt(x, static_cast<size_t>(i));
                    int64_t& r = results[static_cast<size_t>(j)];
                    FlatNode step;
                    step.op = node.op == "ReduceProd"  ? "Mul"
                              : node.op == "ReduceSum" ? "Add"
                              : node.op == "ReduceMax" ? "Max"
                                                       : "Min";
                    r = started[static_cast<size_t>(j)] ? IntegerBinary(step, r, v) : v;
                    started[static_cast<size_t>(j)] = 1;
                  });
  Tensor y(x.dtype, type.shape);
  for (size_t i = 0; i < results.size(); ++i) SetInteger(y, i, results[i]);
  return y;
}

}  // namespace

Tensor CastTensor(const Tensor& x, DType to) {
  Tensor y(to, x.shape);
  const auto count = static_cast<size_t>(x.size());
  for (size_t i = 0; i < count; ++i) {
    if (IsFloat(x.dtype)) {
      const double v = FloatAt(x, i);
      if (to == DType::kF32) {
        y.data<float>()[i] = static_cast<float>(v);
      } else if (to == DType::kF64) {
        y.data<double>()[i] = v;
      } else if (to == DType::kBool) {
        y.bytes[i] = v != 0;
      } else {
        // Truncation; what no int64 holds becomes its least value, as x86 conversions do.
        const bool fits = v > -9.2233720368547e18 && v < 9.2233720368547e18;
        SetInteger(y, i, fits ? static_cast<int64_t>(v) : std::numeric_limits<int64_t>::min());
      }
    } else {
      const int64_t v = IntegerAt(x, i);
      if (to == DType::kF32)
        y.data<float>()[i] = static_cast<float>(v);
      else if (to == DType::kF64)
        y.data<double>()[i] = static_cast<double>(v);
      else
        SetInteger(y, i, v);
    }
  }
  return y;
}

std::optional<std::vector<Tensor>> Fold(FlatModel& model, const FlatNode& node,
                                        const std::vector<ValueType>& types) {
  const auto one = [](Tensor t) {
    std::vector<Tensor> list;
    list.push_back(std::move(t));
    return list;
  };
  const std::string& op = node.op;
  if (op == "Shape") {
    Tensor y(DType::kS64, types[0].shape);
    const Shape& shape = model.value(node.inputs[0]).shape;
    const auto rank = static_cast<int64_t>(shape.size());
    const int64_t start = node.Int("start", 0);
    const int64_t first = std::clamp<int64_t>(start < 0 ? start + rank : start, 0, rank);
    for (size_t i = 0; i < y.data<int64_t>().size(); ++i)
      y.data<int64_t>()[i] = shape[static_cast<size_t>(first) + i];
    return one(std::move(y));
  }
  if (op == "Size") {
    Tensor y(DType::kS64, {});
    y.data<int64_t>()[0] = ElementCount(model.value(node.inputs[0]).shape);
    return one(std::move(y));
  }
  Constants in;
  for (ValueId id : node.inputs) in.push_back(model.Constant(id));
  if (op == "ConstantOfShape") {
    Tensor y(types[0].dtype, types[0].shape);
    std::vector<uint8_t> element(static_cast<size_t>(DTypeSize(y.dtype)), 0);
    if (const auto it = node.attributes.find("value"); it != node.attributes.end()) {
      ExternalData none({}, 0);
      const Tensor value =
          LoadTensor(it->second->t(), fmt::format("node '{}'", node.name), none, ImportLimits{});
      if (value.size() != 1)
        Refuse("node '{}' (ConstantOfShape): its value is not one element", node.name);
      element = value.bytes;
    }
    for (size_t i = 0; i < y.bytes.size(); ++i) y.bytes[i] = element[i % element.size()];
    return one(std::move(y));
  }
  if (in.empty() || !in[0]) return std::nullopt;
  const Tensor& x = *in[0];
  const auto reshaped = [&] {
    Tensor y = x;
    y.shape = types[0].shape;
    return y;
  };
  if (op == "Cast") return one(CastTensor(x, types[0].dtype));
  if (op == "Reshape" || op == "Flatten" || op == "Squeeze" || op == "Unsqueeze")
    return one(reshaped());
  if (op == "Transpose") {
    auto perm = node.Ints("perm");
    if (perm.empty())
      for (size_t i = x.shape.size(); i-- > 0;) perm.push_back(static_cast<int64_t>(i));
    return one(ir::TransposeTensor(x, perm));
  }
  if (op == "Concat") {
    std::vector<const Tensor*> list;
    for (const auto& t : in) list.push_back(t.get());
    return one(ir::ConcatTensors(list, NormalizeAxis(node.Int("axis", 0), x.shape.size(), node)));
  }
  if (op == "Slice") {
    const SliceRange range = SliceOf(model, node);
    return one(ir::SliceTensor(x, range.starts, range.steps, range.sizes));
  }
  if (op == "Split") {
    const auto axis = static_cast<size_t>(NormalizeAxis(node.Int("axis", 0), x.shape.size(), node));
    std::vector<Tensor> parts;
    std::vector<int64_t> starts(x.shape.size(), 0);
    const std::vector<int64_t> steps(x.shape.size(), 1);
    for (const ValueType& type : types) {
      parts.push_back(ir::SliceTensor(x, starts, steps, type.shape));
      starts[axis] += type.shape[axis];
    }
    return parts;
  }
  if (op == "Gather") {
    auto y = ir::GatherTensor(x, *in[1], NormalizeAxis(node.Int("axis", 0), x.shape.size(), node));
    if (!y) Refuse("node '{}' (Gather): {}", node.name, y.error().message);
    return one(std::move(*y));
  }
  if (op == "Expand") return one(ir::BroadcastTensor(x, types[0].shape));
  if (op == "Range") {
    Tensor y(x.dtype, types[0].shape);
    for (size_t i = 0; i < static_cast<size_t>(y.size()); ++i) {
      if (IsFloat(x.dtype)) {
        const double v = FloatAt(x, 0) + static_cast<double>(i) * FloatAt(*in[2], 0);
        if (x.dtype == DType::kF32)
          y.data<float>()[i] = static_cast<float>(v);
        else
          y.data<double>()[i] = v;
      } else {
        SetInteger(y, i, IntegerAt(x, 0) + static_cast<int64_t>(i) * IntegerAt(*in[2], 0));
      }
    }
    return one(std::move(y));
  }
  if (op == "Where") {
    if (x.dtype != DType::kBool || in[1]->dtype != in[2]->dtype)
      Refuse("node '{}' (Where): its types do not fit", node.name);
    const Tensor c = ir::BroadcastTensor(x, types[0].shape);
    Tensor y = ir::BroadcastTensor(*in[1], types[0].shape);
    const Tensor other = ir::BroadcastTensor(*in[2], types[0].shape);
    const auto size = static_cast<size_t>(DTypeSize(y.dtype));
    for (size_t i = 0; i < c.bytes.size(); ++i)
      if (!c.bytes[i]) std::memcpy(&y.bytes[i * size], &other.bytes[i * size], size);
    return one(std::move(y));
  }
  if (op == "QuantizeLinear") {
    const Tensor& scale = *in[1];
    if (scale.dtype != DType::kF32)
      Refuse("node '{}' (QuantizeLinear): its scale is not float32", node.name);
    if (scale.shape.size() > 1 || node.Int("block_size", 0) != 0)
      Refuse("node '{}' (QuantizeLinear): blocked quantization is not supported", node.name);
    const auto scales = scale.data<float>();
    for (float s : scales)
      if (!(s >= 0) || s > std::numeric_limits<float>::max())
        Refuse("node '{}': scale {} is negative or not finite", node.name, s);
    std::vector<int64_t> zeros(scales.size(), 0);
    if (in.size() > 2 && in[2]) {
      if (in[2]->size() != scale.size())
        Refuse("node '{}' (QuantizeLinear): scale and zero point do not fit", node.name);
      for (size_t i = 0; i < zeros.size(); ++i) zeros[i] = IntegerAt(*in[2], i);
    }
    size_t inner = 1;
    if (scales.size() != 1) {
      const int64_t axis = NormalizeAxis(node.Int("axis", 1), x.shape.size(), node);
      if (x.shape[static_cast<size_t>(axis)] != scale.size())
        Refuse("node '{}' (QuantizeLinear): {} scales for shape {}", node.name, scale.size(),
               ShapeName(x.shape));
      for (size_t i = static_cast<size_t>(axis) + 1; i < x.shape.size(); ++i)
        inner *= static_cast<size_t>(x.shape[i]);
    }
    Tensor y(types[0].dtype, x.shape);
    const auto range = y.dtype == DType::kS8 ? numerics::kS8 : numerics::kU8;
    for (size_t i = 0; i < y.bytes.size(); ++i) {
      const size_t c = scales.size() == 1 ? 0 : i / inner % scales.size();
      SetInteger(
          y, i,
          numerics::fp::Quantize(x.data<float>()[i], scales[c], static_cast<int>(zeros[c]), range));
    }
    return one(std::move(y));
  }
  if (op == "Not") {
    Tensor y = x;
    for (uint8_t& b : y.bytes) b = !b;
    return one(std::move(y));
  }
  if (op.starts_with("Reduce") && !IsFloat(x.dtype)) {
    if (op != "ReduceProd" && op != "ReduceSum" && op != "ReduceMax" && op != "ReduceMin")
      return std::nullopt;
    return one(FoldReduce(model, node, x, types[0]));
  }
  const bool comparison = Compare(op, 0, 0).has_value() || op == "And" || op == "Or" || op == "Xor";
  if ((comparison || op == "Mod" || (ir::IsBinary(op) && op != "PRelu")) && in.size() == 2 && in[1])
    return one(FoldBinary(node, x, *in[1]));
  if ((op == "Min" || op == "Max") && !in.empty()) {
    Tensor y = x;
    for (size_t i = 1; i < in.size(); ++i) y = FoldBinary(node, y, *in[i]);
    return one(std::move(y));
  }
  if (ir::IsUnary(op) && x.dtype == DType::kF32) {
    ir::HostFloat host{op, {}};
    for (const char* key : {"alpha", "beta", "gamma", "min", "max", "bias", "lambd"})
      if (node.Has(key)) host.attributes[key] = node.Float(key, 0);
    if (node.Has("approximate")) host.attributes["approximate"] = node.String("approximate", "");
    std::vector<const Tensor*> inputs;
    for (const auto& t : in) inputs.push_back(t.get());
    auto y = ir::EvaluateHost(host, inputs, DType::kF32, types[0].shape);
    if (!y) Refuse("node '{}': {}", node.name, y.error().message);
    return one(std::move(*y));
  }
  if ((op == "Neg" || op == "Abs") && !IsFloat(x.dtype)) {
    Tensor y = x;
    for (size_t i = 0; i < static_cast<size_t>(x.size()); ++i) {
      const int64_t v = IntegerAt(x, i);
      const auto negated = static_cast<int64_t>(-static_cast<uint64_t>(v));
      SetInteger(y, i, op == "Neg" ? negated : (v < 0 ? negated : v));
    }
    return one(std::move(y));
  }
  return std::nullopt;
}

}  // namespace octile::frontend
