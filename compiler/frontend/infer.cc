// Types and shapes: what ONNX says about the outputs of each operator that can be imported. An
// operator that is not listed here is refused by name.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "model.h"
#include "octile/ir/host_ops.h"

namespace octile::frontend {
namespace {

using onnx::TensorProto;

const Value& In(const FlatModel& model, const FlatNode& node, size_t i) {
  const ValueId id = node.Input(i);
  if (id == kAbsent) Refuse("node '{}' ({}): input {} is missing", node.name, node.op, i);
  return model.value(id);
}

void RequireRank(const FlatNode& node, const Value& x, size_t rank) {
  if (x.shape.size() != rank)
    Refuse("node '{}' ({}): input '{}' has rank {}, rank {} is required", node.name, node.op,
           x.name, x.shape.size(), rank);
}

int64_t CheckedMul(int64_t a, int64_t b, const FlatNode& node) {
  int64_t r = 0;
  if (__builtin_mul_overflow(a, b, &r))
    Refuse("node '{}' ({}): a size overflows", node.name, node.op);
  return r;
}

std::vector<ValueType> One(DType dtype, Shape shape) {
  return {ValueType{dtype, std::move(shape)}};
}

std::vector<ValueType> Same(const FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  return One(x.dtype, x.shape);
}

std::vector<ValueType> Broadcasted(const FlatModel& model, const FlatNode& node,
                                   std::optional<DType> dtype = {}) {
  Shape shape = In(model, node, 0).shape;
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    auto merged = ir::BroadcastShape(shape, In(model, node, i).shape);
    if (!merged) Refuse("node '{}' ({}): {}", node.name, node.op, merged.error().message);
    shape = std::move(*merged);
  }
  return One(dtype.value_or(In(model, node, 0).dtype), shape);
}

std::vector<ValueType> ConvType(FlatModel& model, const FlatNode& node, size_t weight_input) {
  const Value& x = In(model, node, 0);
  const Value& w = In(model, node, weight_input);
  if (x.shape.size() != 4)
    Refuse(
        "node '{}' ({}): only two-dimensional convolutions are supported, the input has shape {}",
        node.name, node.op, ShapeName(x.shape));
  RequireRank(node, w, 4);
  const int64_t group = node.Int("group", 1);
  if (group < 1 || x.shape[1] % group != 0 || w.shape[0] % group != 0 ||
      w.shape[1] * group != x.shape[1])
    Refuse("node '{}' ({}): weights {} and group {} do not fit input {}", node.name, node.op,
           ShapeName(w.shape), group, ShapeName(x.shape));
  const auto stated = node.Ints("kernel_shape");
  if (!stated.empty() && stated != std::vector<int64_t>{w.shape[2], w.shape[3]})
    Refuse("node '{}' ({}): kernel_shape differs from the weights' shape {}", node.name, node.op,
           ShapeName(w.shape));
  const Window window = WindowOf(node, x.shape, {w.shape[2], w.shape[3]});
  return One(DType::kF32, {x.shape[0], w.shape[0], window.output[0], window.output[1]});
}

std::vector<ValueType> ConvTransposeType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  const Value& w = In(model, node, 1);
  RequireRank(node, x, 4);
  RequireRank(node, w, 4);
  const int64_t group = node.Int("group", 1);
  if (group < 1 || x.shape[1] != w.shape[0] || x.shape[1] % group != 0)
    Refuse("node '{}' (ConvTranspose): weights {} and group {} do not fit input {}", node.name,
           ShapeName(w.shape), group, ShapeName(x.shape));
  if (node.Has("output_shape") || node.String("auto_pad", "NOTSET") != "NOTSET")
    Refuse("node '{}' (ConvTranspose): output_shape and auto_pad are not supported; state pads",
           node.name);
  auto strides = node.Ints("strides");
  auto dilations = node.Ints("dilations");
  auto pads = node.Ints("pads");
  auto extra = node.Ints("output_padding");
  if (strides.empty()) strides = {1, 1};
  if (dilations.empty()) dilations = {1, 1};
  if (pads.empty()) pads = {0, 0, 0, 0};
  if (extra.empty()) extra = {0, 0};
  if (strides.size() != 2 || dilations.size() != 2 || pads.size() != 4 || extra.size() != 2)
    Refuse("node '{}' (ConvTranspose): an attribute has the wrong length", node.name);
  Shape shape = {x.shape[0], CheckedMul(w.shape[1], group, node), 0, 0};
  for (size_t i = 0; i < 2; ++i) {
    for (int64_t v : {strides[i], dilations[i], pads[i], pads[i + 2], extra[i]})
      if (v < 0 || v > (1 << 20))
        Refuse("node '{}' (ConvTranspose): an attribute is out of range", node.name);
    shape[i + 2] = (x.shape[i + 2] - 1) * strides[i] + extra[i] +
                   (w.shape[i + 2] - 1) * dilations[i] + 1 - pads[i] - pads[i + 2];
    if (shape[i + 2] <= 0) Refuse("node '{}' (ConvTranspose): its output is empty", node.name);
  }
  return One(DType::kF32, shape);
}

std::vector<ValueType> PoolType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  RequireRank(node, x, 4);
  const auto kernel = node.Ints("kernel_shape");
  if (kernel.size() != 2)
    Refuse("node '{}' ({}): kernel_shape must have two entries", node.name, node.op);
  const Window window = WindowOf(node, x.shape, {kernel[0], kernel[1]});
  return One(x.dtype, {x.shape[0], x.shape[1], window.output[0], window.output[1]});
}

std::vector<ValueType> GlobalPoolType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  if (x.shape.size() < 3)
    Refuse("node '{}' ({}): rank {} is too small", node.name, node.op, x.shape.size());
  Shape shape(x.shape.size(), 1);
  shape[0] = x.shape[0];
  shape[1] = x.shape[1];
  return One(x.dtype, shape);
}

std::vector<ValueType> GemmType(FlatModel& model, const FlatNode& node) {
  const Value& a = In(model, node, 0);
  const Value& b = In(model, node, 1);
  RequireRank(node, a, 2);
  RequireRank(node, b, 2);
  const bool ta = node.Int("transA", 0) != 0;
  const bool tb = node.Int("transB", 0) != 0;
  if (a.shape[ta ? 0 : 1] != b.shape[tb ? 1 : 0])
    Refuse("node '{}' (Gemm): shapes {} and {} do not fit", node.name, ShapeName(a.shape),
           ShapeName(b.shape));
  const Shape shape = {a.shape[ta ? 1 : 0], b.shape[tb ? 0 : 1]};
  if (node.Input(2) != kAbsent) {
    const auto merged = ir::BroadcastShape(shape, In(model, node, 2).shape);
    if (!merged || *merged != shape)
      Refuse("node '{}' (Gemm): bias {} does not fit output {}", node.name,
             ShapeName(In(model, node, 2).shape), ShapeName(shape));
  }
  return One(a.dtype, shape);
}

std::vector<ValueType> MatMulType(FlatModel& model, const FlatNode& node,
                                  std::optional<DType> dtype = {}) {
  const Value& a = In(model, node, 0);
  const Value& b = In(model, node, 1);
  if (a.shape.empty() || b.shape.empty())
    Refuse("node '{}' ({}): a scalar operand", node.name, node.op);
  Shape sa = a.shape;
  Shape sb = b.shape;
  if (sa.size() == 1) sa.insert(sa.begin(), 1);
  if (sb.size() == 1) sb.push_back(1);
  const int64_t m = sa[sa.size() - 2];
  const int64_t k = sa.back();
  const int64_t n = sb.back();
  if (sb[sb.size() - 2] != k)
    Refuse("node '{}' ({}): shapes {} and {} do not fit", node.name, node.op, ShapeName(a.shape),
           ShapeName(b.shape));
  sa.resize(sa.size() - 2);
  sb.resize(sb.size() - 2);
  auto batch = ir::BroadcastShape(sa, sb);
  if (!batch) Refuse("node '{}' ({}): {}", node.name, node.op, batch.error().message);
  if (a.shape.size() > 1) batch->push_back(m);
  if (b.shape.size() > 1) batch->push_back(n);
  return One(dtype.value_or(a.dtype), *batch);
}

std::vector<ValueType> ConcatType(FlatModel& model, const FlatNode& node) {
  Shape shape = In(model, node, 0).shape;
  if (shape.empty()) Refuse("node '{}' (Concat): scalars cannot be joined", node.name);
  const auto axis = static_cast<size_t>(
      NormalizeAxis(node.Int("axis", node.opset < 4 ? 1 : 0), shape.size(), node));
  shape[axis] = 0;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Value& x = In(model, node, i);
    if (x.dtype != In(model, node, 0).dtype)
      Refuse("node '{}' (Concat): its inputs have different types", node.name);
    if (x.shape.size() != shape.size())
      Refuse("node '{}' (Concat): its inputs have different ranks", node.name);
    for (size_t d = 0; d < shape.size(); ++d) {
      if (d == axis) {
        if (__builtin_add_overflow(shape[d], x.shape[d], &shape[d]))
          Refuse("node '{}' (Concat): a size overflows", node.name);
      } else if (x.shape[d] != shape[d]) {
        Refuse("node '{}' (Concat): input '{}' of shape {} does not fit", node.name, x.name,
               ShapeName(x.shape));
      }
    }
  }
  return One(In(model, node, 0).dtype, shape);
}

std::vector<ValueType> ReshapeType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  const auto list = IntegerList(model, node, 1, "shape");
  if (!list) Refuse("node '{}' (Reshape): its shape is missing", node.name);
  Shape shape = *list;
  const bool allow_zero = node.Int("allowzero", 0) != 0;
  int64_t known = 1;
  int64_t inferred = -1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0 && !allow_zero) {
      if (i >= x.shape.size())
        Refuse("node '{}' (Reshape): dimension {} copies one the input lacks", node.name, i);
      shape[i] = x.shape[i];
    }
    if (shape[i] == -1) {
      if (inferred >= 0) Refuse("node '{}' (Reshape): two dimensions are -1", node.name);
      inferred = static_cast<int64_t>(i);
    } else if (shape[i] < 0) {
      Refuse("node '{}' (Reshape): dimension {} is {}", node.name, i, shape[i]);
    } else {
      known = CheckedMul(known, shape[i], node);
    }
  }
  const int64_t count = ElementCount(x.shape);
  if (inferred >= 0) {
    if (known == 0 || count % known != 0)
      Refuse("node '{}' (Reshape): {} elements do not fit {}", node.name, count, ShapeName(*list));
    shape[static_cast<size_t>(inferred)] = count / known;
  } else if (known != count) {
    Refuse("node '{}' (Reshape): {} elements do not fit {}", node.name, count, ShapeName(*list));
  }
  return One(x.dtype, shape);
}

std::vector<ValueType> FlattenType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  int64_t axis = node.Int("axis", 1);
  const auto rank = static_cast<int64_t>(x.shape.size());
  if (axis < 0) axis += rank;
  if (axis < 0 || axis > rank) Refuse("node '{}' (Flatten): axis is out of range", node.name);
  const auto split = x.shape.begin() + axis;
  return One(x.dtype, {ElementCount(Shape(x.shape.begin(), split)),
                       ElementCount(Shape(split, x.shape.end()))});
}

std::vector<ValueType> SqueezeType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  const auto list = IntegerList(model, node, 1, "axes");
  std::set<int64_t> axes;
  if (list)
    for (int64_t axis : *list) axes.insert(NormalizeAxis(axis, x.shape.size(), node));
  Shape shape;
  for (size_t i = 0; i < x.shape.size(); ++i) {
    const bool drop = list ? axes.count(static_cast<int64_t>(i)) > 0 : x.shape[i] == 1;
    if (drop && x.shape[i] != 1)
      Refuse("node '{}' (Squeeze): dimension {} is {}", node.name, i, x.shape[i]);
    if (!drop) shape.push_back(x.shape[i]);
  }
  return One(x.dtype, shape);
}

std::vector<ValueType> UnsqueezeType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  const auto list = IntegerList(model, node, 1, "axes");
  if (!list) Refuse("node '{}' (Unsqueeze): its axes are missing", node.name);
  const size_t rank = x.shape.size() + list->size();
  if (rank > 16) Refuse("node '{}' (Unsqueeze): rank {} is too large", node.name, rank);
  std::set<int64_t> axes;
  for (int64_t axis : *list) axes.insert(NormalizeAxis(axis, rank, node));
  if (axes.size() != list->size())
    Refuse("node '{}' (Unsqueeze): an axis is given twice", node.name);
  Shape shape;
  size_t next = 0;
  for (size_t i = 0; i < rank; ++i)
    shape.push_back(axes.count(static_cast<int64_t>(i)) ? 1 : x.shape[next++]);
  return One(x.dtype, shape);
}

std::vector<ValueType> TransposeType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  std::vector<int64_t> perm = node.Ints("perm");
  if (perm.empty())
    for (size_t i = x.shape.size(); i-- > 0;) perm.push_back(static_cast<int64_t>(i));
  std::vector<int64_t> sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  bool valid = sorted.size() == x.shape.size();
  for (size_t i = 0; valid && i < sorted.size(); ++i) valid = sorted[i] == static_cast<int64_t>(i);
  if (!valid) Refuse("node '{}' (Transpose): perm is not a permutation of the axes", node.name);
  Shape shape;
  for (int64_t p : perm) shape.push_back(x.shape[static_cast<size_t>(p)]);
  return One(x.dtype, shape);
}

std::vector<ValueType> SliceType(FlatModel& model, const FlatNode& node) {
  return One(In(model, node, 0).dtype, SliceOf(model, node).sizes);
}

std::vector<ValueType> SplitType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  const auto axis = static_cast<size_t>(NormalizeAxis(node.Int("axis", 0), x.shape.size(), node));
  std::vector<ValueType> types;
  for (int64_t size : SplitSizes(model, node)) {
    Shape shape = x.shape;
    shape[axis] = size;
    types.push_back({x.dtype, shape});
  }
  return types;
}

std::vector<ValueType> PadType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  const auto [before, after] = PadsOf(model, node);
  Shape shape = x.shape;
  for (size_t i = 0; i < shape.size(); ++i) {
    shape[i] += before[i] + after[i];
    if (shape[i] <= 0) Refuse("node '{}' (Pad): its output is empty", node.name);
  }
  return One(x.dtype, shape);
}

std::vector<ValueType> ReduceType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  const auto axes = ReduceAxes(model, node);
  const bool keep = node.Int("keepdims", 1) != 0;
  Shape shape;
  for (size_t i = 0; i < x.shape.size(); ++i) {
    const bool reduced = std::binary_search(axes.begin(), axes.end(), static_cast<int64_t>(i));
    if (!reduced) shape.push_back(x.shape[i]);
    if (reduced && keep) shape.push_back(1);
  }
  return One(x.dtype, shape);
}

std::vector<ValueType> ArgType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  const int64_t axis = NormalizeAxis(node.Int("axis", 0), x.shape.size(), node);
  Shape shape = x.shape;
  if (node.Int("keepdims", 1) != 0)
    shape[static_cast<size_t>(axis)] = 1;
  else
    shape.erase(shape.begin() + axis);
  return One(DType::kS64, shape);
}

std::vector<ValueType> GatherType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  const Value& indices = In(model, node, 1);
  const int64_t axis = NormalizeAxis(node.Int("axis", 0), x.shape.size(), node);
  if (model.IsConstant(node.inputs[1])) {
    const int64_t dim = x.shape[static_cast<size_t>(axis)];
    for (const int64_t i : ConstantIntegers(model, node.inputs[1], node, "indices"))
      if (i < -dim || i >= dim)
        Refuse("node '{}' (Gather): index {} is out of range for {} elements", node.name, i, dim);
  }
  Shape shape(x.shape.begin(), x.shape.begin() + axis);
  shape.insert(shape.end(), indices.shape.begin(), indices.shape.end());
  shape.insert(shape.end(), x.shape.begin() + axis + 1, x.shape.end());
  return One(x.dtype, shape);
}

std::vector<ValueType> QuantizeType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  if (x.dtype != DType::kF32)
    Refuse("node '{}' (QuantizeLinear): input '{}' is {}, not f32", node.name, x.name,
           DTypeName(x.dtype));
  DType type = DType::kU8;
  if (node.Input(2) != kAbsent) {
    type = In(model, node, 2).dtype;
  } else if (const int64_t stated = node.Int("output_dtype", 0); stated != 0) {
    type = ToDType(static_cast<int>(stated), fmt::format("node '{}' (QuantizeLinear)", node.name));
  }
  if (type != DType::kU8 && type != DType::kS8)
    Refuse("node '{}' (QuantizeLinear): quantization to {} is not supported; quantize to 8 bits",
           node.name, DTypeName(type));
  return One(type, x.shape);
}

std::vector<ValueType> DequantizeType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  if (x.dtype != DType::kU8 && x.dtype != DType::kS8 && x.dtype != DType::kS32)
    Refuse(
        "node '{}' (DequantizeLinear): input '{}' is {}; 8-bit codes (or int32 biases) are "
        "supported",
        node.name, x.name, DTypeName(x.dtype));
  const Value& scale = In(model, node, 1);
  if (scale.dtype != DType::kF32)
    Refuse("node '{}' (DequantizeLinear): its scale is {}, not f32", node.name,
           DTypeName(scale.dtype));
  if (node.Input(2) != kAbsent && In(model, node, 2).dtype != x.dtype)
    Refuse("node '{}' (DequantizeLinear): the zero point's type differs from the input's",
           node.name);
  return One(DType::kF32, x.shape);
}

std::vector<ValueType> ConstantOfShapeType(FlatModel& model, const FlatNode& node) {
  DType type = DType::kF32;
  if (const auto it = node.attributes.find("value"); it != node.attributes.end())
    type = ToDType(it->second->t().data_type(), fmt::format("node '{}'", node.name));
  Shape shape = ConstantIntegers(model, node.Input(0), node, "shape");
  for (int64_t d : shape)
    if (d < 0) Refuse("node '{}' (ConstantOfShape): a dimension is negative", node.name);
  return One(type, shape);
}

std::vector<ValueType> ExpandType(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  const auto merged =
      ir::BroadcastShape(x.shape, ConstantIntegers(model, node.Input(1), node, "shape"));
  if (!merged) Refuse("node '{}' (Expand): {}", node.name, merged.error().message);
  return One(x.dtype, *merged);
}

std::vector<ValueType> RangeType(FlatModel& model, const FlatNode& node) {
  const auto start = model.Constant(node.Input(0));
  const auto limit = model.Constant(node.Input(1));
  const auto delta = model.Constant(node.Input(2));
  if (!start || !limit || !delta || start->size() != 1 || limit->size() != 1 || delta->size() != 1)
    Refuse("node '{}' (Range): its bounds are not constant", node.name);
  const auto number = [](const Tensor& t) { return CastTensor(t, DType::kF64).data<double>()[0]; };
  const double count = std::ceil((number(*limit) - number(*start)) / number(*delta));
  if (!(count <= 1e8)) Refuse("node '{}' (Range): it is too long", node.name);
  if (count <= 0) return One(start->dtype, {0});
  return One(start->dtype, {std::max<int64_t>(0, static_cast<int64_t>(count))});
}

std::vector<ValueType> BlockType(FlatModel& model, const FlatNode& node, bool to_depth) {
  const Value& x = In(model, node, 0);
  RequireRank(node, x, 4);
  const int64_t b = node.Int("blocksize", 0);
  if (b < 1 || b > 1024)
    Refuse("node '{}' ({}): blocksize {} is out of range", node.name, node.op, b);
  const Shape& s = x.shape;
  if (to_depth) {
    if (s[2] % b != 0 || s[3] % b != 0)
      Refuse("node '{}' ({}): blocks of {} do not divide {}", node.name, node.op, b, ShapeName(s));
    return One(x.dtype, {s[0], s[1] * b * b, s[2] / b, s[3] / b});
  }
  if (s[1] % (b * b) != 0)
    Refuse("node '{}' ({}): blocks of {} do not divide {}", node.name, node.op, b, ShapeName(s));
  return One(x.dtype, {s[0], s[1] / (b * b), s[2] * b, s[3] * b});
}

std::vector<ValueType> CheckedNormalization(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  if (node.op == "BatchNormalization") {
    if (node.Int("training_mode", 0) != 0)
      Refuse(
          "node '{}' (BatchNormalization): training mode is not supported; export the model for "
          "inference",
          node.name);
    if (x.shape.size() < 2)
      Refuse("node '{}' ({}): rank {} is too small", node.name, node.op, x.shape.size());
    for (size_t i = 1; i < 5; ++i)
      if (ElementCount(In(model, node, i).shape) != x.shape[1])
        Refuse("node '{}' ({}): input {} does not have {} elements", node.name, node.op, i,
               x.shape[1]);
  }
  if (node.op == "InstanceNormalization") {
    if (x.shape.size() < 3)
      Refuse("node '{}' ({}): rank {} is too small", node.name, node.op, x.shape.size());
    for (size_t i = 1; i < 3; ++i)
      if (ElementCount(In(model, node, i).shape) != x.shape[1])
        Refuse("node '{}' ({}): input {} does not have {} elements", node.name, node.op, i,
               x.shape[1]);
  }
  if (node.op == "LayerNormalization") {
    const int64_t axis = NormalizeAxis(node.Int("axis", -1), x.shape.size(), node);
    const Shape inner(x.shape.begin() + axis, x.shape.end());
    for (size_t i = 1; i < node.inputs.size(); ++i) {
      const auto merged = ir::BroadcastShape(inner, In(model, node, i).shape);
      if (!merged || *merged != inner)
        Refuse("node '{}' ({}): input {} does not fit {}", node.name, node.op, i, ShapeName(inner));
    }
  }
  return One(x.dtype, x.shape);
}

// The inputs every operator must have; later code takes them for granted.
void CheckInputs(const FlatNode& node) {
  static const std::map<std::string, size_t> kRequired = {{"Add", 2},
                                                          {"Sub", 2},
                                                          {"Mul", 2},
                                                          {"Div", 2},
                                                          {"Pow", 2},
                                                          {"Mod", 2},
                                                          {"PRelu", 2},
                                                          {"And", 2},
                                                          {"Or", 2},
                                                          {"Xor", 2},
                                                          {"Equal", 2},
                                                          {"Greater", 2},
                                                          {"Less", 2},
                                                          {"GreaterOrEqual", 2},
                                                          {"LessOrEqual", 2},
                                                          {"Where", 3},
                                                          {"Conv", 2},
                                                          {"ConvTranspose", 2},
                                                          {"Gemm", 2},
                                                          {"MatMul", 2},
                                                          {"MatMulInteger", 2},
                                                          {"BatchNormalization", 5},
                                                          {"Gather", 2},
                                                          {"InstanceNormalization", 3},
                                                          {"Expand", 2},
                                                          {"LayerNormalization", 2},
                                                          {"Range", 3},
                                                          {"QuantizeLinear", 2},
                                                          {"Concat", 1},
                                                          {"DequantizeLinear", 2}};
  const auto it = kRequired.find(node.op);
  const bool variadic = node.op == "Concat" || node.op == "Min" || node.op == "Max";
  const size_t required = variadic                ? std::max<size_t>(1, node.inputs.size())
                          : it == kRequired.end() ? 1
                                                  : it->second;
  for (size_t i = 0; i < required; ++i)
    if (node.Input(i) == kAbsent)
      Refuse("node '{}' ({}): input {} is missing", node.name, node.op, i);
  const bool pair = it != kRequired.end() && ir::IsBinary(node.op);
  if (pair && !variadic && node.inputs.size() != 2)
    Refuse("node '{}' ({}): {} inputs instead of 2", node.name, node.op, node.inputs.size());
}

using Rule = std::function<std::vector<ValueType>(FlatModel&, const FlatNode&)>;

const std::map<std::string, Rule>& Rules() {
  static const std::map<std::string, Rule> rules = [] {
    std::map<std::string, Rule> r;
    for (const char* op : {"Relu",
                           "LeakyRelu",
                           "Sigmoid",
                           "HardSigmoid",
                           "Tanh",
                           "Clip",
                           "Elu",
                           "Selu",
                           "Celu",
                           "Erf",
                           "Exp",
                           "Log",
                           "Sqrt",
                           "Neg",
                           "Abs",
                           "Floor",
                           "Ceil",
                           "Round",
                           "Softplus",
                           "Softsign",
                           "HardSwish",
                           "Mish",
                           "Gelu",
                           "ThresholdedRelu",
                           "Reciprocal",
                           "Sign",
                           "Sin",
                           "Cos",
                           "Tan",
                           "Asin",
                           "Acos",
                           "Atan",
                           "Sinh",
                           "Cosh",
                           "Asinh",
                           "Acosh",
                           "Atanh",
                           "Shrink",
                           "Swish",
                           "Softmax",
                           "LogSoftmax",
                           "Not",
                           "LpNormalization"})
      r[op] = [](FlatModel& m, const FlatNode& n) { return Same(m, n); };
    for (const char* op : {"BatchNormalization", "InstanceNormalization", "LayerNormalization"})
      r[op] = CheckedNormalization;
    for (const char* op : {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Mod", "PRelu"})
      r[op] = [](FlatModel& m, const FlatNode& n) { return Broadcasted(m, n); };
    for (const char* op :
         {"And", "Or", "Xor", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"})
      r[op] = [](FlatModel& m, const FlatNode& n) { return Broadcasted(m, n, DType::kBool); };
    r["Where"] = [](FlatModel& m, const FlatNode& n) {
      return Broadcasted(m, n, In(m, n, 1).dtype);
    };
    r["Conv"] = [](FlatModel& m, const FlatNode& n) { return ConvType(m, n, 1); };
    r["ConvTranspose"] = ConvTransposeType;
    r["Gemm"] = GemmType;
    r["MatMul"] = [](FlatModel& m, const FlatNode& n) { return MatMulType(m, n); };
    r["MatMulInteger"] = [](FlatModel& m, const FlatNode& n) {
      return MatMulType(m, n, DType::kS32);
    };
    r["MaxPool"] = PoolType;
    r["AveragePool"] = PoolType;
    r["GlobalAveragePool"] = GlobalPoolType;
    r["GlobalMaxPool"] = GlobalPoolType;
    for (const char* op : {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd",
                           "ReduceL1", "ReduceL2", "ReduceSumSquare"})
      r[op] = ReduceType;
    r["ArgMax"] = ArgType;
    r["ArgMin"] = ArgType;
    r["Concat"] = ConcatType;
    r["Split"] = SplitType;
    r["Slice"] = SliceType;
    r["Pad"] = PadType;
    r["Resize"] = [](FlatModel& m, const FlatNode& n) {
      return One(In(m, n, 0).dtype, ResizeOf(m, n).output);
    };
    r["Upsample"] = r["Resize"];
    r["Reshape"] = ReshapeType;
    r["Flatten"] = FlattenType;
    r["Squeeze"] = SqueezeType;
    r["Unsqueeze"] = UnsqueezeType;
    r["Transpose"] = TransposeType;
    r["DepthToSpace"] = [](FlatModel& m, const FlatNode& n) { return BlockType(m, n, false); };
    r["SpaceToDepth"] = [](FlatModel& m, const FlatNode& n) { return BlockType(m, n, true); };
    r["Gather"] = GatherType;
    r["Expand"] = ExpandType;
    r["Range"] = RangeType;
    r["ConstantOfShape"] = ConstantOfShapeType;
    r["QuantizeLinear"] = QuantizeType;
    r["DequantizeLinear"] = DequantizeType;
    r["Shape"] = [](FlatModel& m, const FlatNode& n) {
      const auto rank = static_cast<int64_t>(In(m, n, 0).shape.size());
      const auto clampi = [&](int64_t v) {
        return std::clamp<int64_t>(v < 0 ? v + rank : v, 0, rank);
      };
      return One(DType::kS64,
                 {std::max<int64_t>(0, clampi(n.Int("end", rank)) - clampi(n.Int("start", 0)))});
    };
    r["Size"] = [](FlatModel&, const FlatNode&) { return One(DType::kS64, {}); };
    r["Cast"] = [](FlatModel& m, const FlatNode& n) {
      return One(ToDType(static_cast<int>(n.Int("to", 0)), fmt::format("node '{}' (Cast)", n.name)),
                 In(m, n, 0).shape);
    };
    r["Dropout"] = [](FlatModel& m, const FlatNode& n) { return Same(m, n); };
    return r;
  }();
  return rules;
}

}  // namespace

std::vector<ValueType> InferTypes(FlatModel& model, const FlatNode& node) {
  const auto it = Rules().find(node.op);
  if (it == Rules().end())
    Refuse("node '{}': operator {} is not supported (see `octile ops`)", node.name, node.op);
  CheckInputs(node);
  return it->second(model, node);
}

Window WindowOf(const FlatNode& node, const Shape& x, std::array<int64_t, 2> kernel) {
  constexpr int64_t kLimit = 1 << 20;
  Window w;
  w.kernel = kernel;
  const auto pair = [&](const char* key, std::array<int64_t, 2>& out) {
    const auto list = node.Ints(key);
    if (list.empty()) return;
    if (list.size() != 2)
      Refuse("node '{}' ({}): {} must have two entries", node.name, node.op, key);
    out = {list[0], list[1]};
  };
  pair("strides", w.strides);
  pair("dilations", w.dilations);
  const auto pads = node.Ints("pads");
  const std::string auto_pad = node.String("auto_pad", "NOTSET");
  if (!pads.empty() && auto_pad != "SAME_UPPER" && auto_pad != "SAME_LOWER" &&
      auto_pad != "VALID") {
    if (pads.size() != 4) Refuse("node '{}' ({}): pads must have four entries", node.name, node.op);
    std::copy(pads.begin(), pads.end(), w.pads.begin());
  }
  const bool ceil_mode = node.Int("ceil_mode", 0) != 0;
  for (size_t i = 0; i < 2; ++i) {
    for (int64_t v : {w.kernel[i], w.strides[i], w.dilations[i]})
      if (v < 1 || v > kLimit)
        Refuse("node '{}' ({}): kernel, stride or dilation {} is out of range", node.name, node.op,
               v);
    if (CheckedMul(w.kernel[i] - 1, w.dilations[i], node) > kLimit)
      Refuse("node '{}' ({}): the dilated kernel is too large", node.name, node.op);
    const int64_t in = x[i + 2];
    const int64_t extent = (w.kernel[i] - 1) * w.dilations[i] + 1;
    if (auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER") {
      w.output[i] = (in + w.strides[i] - 1) / w.strides[i];
      const int64_t total = std::max<int64_t>(0, (w.output[i] - 1) * w.strides[i] + extent - in);
      w.pads[i] = auto_pad == "SAME_UPPER" ? total / 2 : total - total / 2;
      w.pads[i + 2] = total - w.pads[i];
      continue;
    }
    if (auto_pad != "NOTSET" && auto_pad != "VALID" && !auto_pad.empty())
      Refuse("node '{}' ({}): auto_pad '{}' is unknown", node.name, node.op, auto_pad);
    for (int64_t v : {w.pads[i], w.pads[i + 2]})
      if (v < 0 || v > kLimit)
        Refuse("node '{}' ({}): pad {} is out of range", node.name, node.op, v);
    const int64_t room = in + w.pads[i] + w.pads[i + 2] - extent;
    if (room < 0)
      Refuse("node '{}' ({}): a kernel of {} does not fit the padded image of {}", node.name,
             node.op, extent, in + w.pads[i] + w.pads[i + 2]);
    w.output[i] = room / w.strides[i] + 1;
    if (ceil_mode && room % w.strides[i] != 0) {
      ++w.output[i];
      // A window that starts beyond the image and its leading pad is dropped.
      if ((w.output[i] - 1) * w.strides[i] >= in + w.pads[i]) --w.output[i];
    }
  }
  return w;
}

std::vector<int64_t> ConstantIntegers(FlatModel& model, ValueId id, const FlatNode& node,
                                      const char* what) {
  const auto constant = model.Constant(id);
  if (!constant)
    Refuse("node '{}' ({}): its {} is computed at run time; shapes must be constant", node.name,
           node.op, what);
  if (constant->dtype != DType::kS64 && constant->dtype != DType::kS32)
    Refuse("node '{}' ({}): its {} is {}, not int64", node.name, node.op, what,
           DTypeName(constant->dtype));
  const Tensor wide = CastTensor(*constant, DType::kS64);
  return {wide.data<int64_t>().begin(), wide.data<int64_t>().end()};
}

std::optional<std::vector<int64_t>> IntegerList(FlatModel& model, const FlatNode& node,
                                                size_t input, const std::string& attribute) {
  if (node.Input(input) != kAbsent)
    return ConstantIntegers(model, node.Input(input), node, attribute.c_str());
  if (node.Has(attribute)) return node.Ints(attribute);
  return std::nullopt;
}

int64_t NormalizeAxis(int64_t axis, size_t rank, const FlatNode& node) {
  const auto r = static_cast<int64_t>(rank);
  if (axis < -r || axis >= r)
    Refuse("node '{}' ({}): axis {} is out of range for rank {}", node.name, node.op, axis, rank);
  return axis < 0 ? axis + r : axis;
}

std::vector<int64_t> ReduceAxes(FlatModel& model, const FlatNode& node) {
  const size_t rank = In(model, node, 0).shape.size();
  auto list = IntegerList(model, node, 1, "axes");
  std::set<int64_t> axes;
  if (list)
    for (int64_t axis : *list) axes.insert(NormalizeAxis(axis, rank, node));
  if (axes.empty() && node.Int("noop_with_empty_axes", 0) == 0)
    for (size_t i = 0; i < rank; ++i) axes.insert(static_cast<int64_t>(i));
  return {axes.begin(), axes.end()};
}

SliceRange SliceOf(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  const auto starts = IntegerList(model, node, 1, "starts");
  const auto ends = IntegerList(model, node, 2, "ends");
  auto axes = IntegerList(model, node, 3, "axes");
  auto steps = node.opset < 10 ? std::nullopt : IntegerList(model, node, 4, "steps");
  if (!starts || !ends || starts->size() != ends->size())
    Refuse("node '{}' (Slice): starts and ends do not fit", node.name);
  if (!axes) {
    axes.emplace();
    for (size_t i = 0; i < starts->size(); ++i) axes->push_back(static_cast<int64_t>(i));
  }
  if (!steps) steps.emplace(starts->size(), 1);
  if (axes->size() != starts->size() || steps->size() != starts->size())
    Refuse("node '{}' (Slice): axes or steps do not fit starts", node.name);
  SliceRange range;
  range.starts.assign(x.shape.size(), 0);
  range.steps.assign(x.shape.size(), 1);
  range.sizes = x.shape;
  std::set<int64_t> seen;
  for (size_t i = 0; i < axes->size(); ++i) {
    const int64_t axis = NormalizeAxis((*axes)[i], x.shape.size(), node);
    if (!seen.insert(axis).second)
      Refuse("node '{}' (Slice): axis {} is given twice", node.name, axis);
    const int64_t dim = x.shape[static_cast<size_t>(axis)];
    const int64_t step = (*steps)[i];
    if (step == 0 || step == std::numeric_limits<int64_t>::min())
      Refuse("node '{}' (Slice): step {} is not allowed", node.name, step);
    const auto bound = [&](int64_t v) {
      if (v < 0) v = v < -dim ? -1 : v + dim;  // -1 stands for "before the first element"
      return step > 0 ? std::clamp<int64_t>(v, 0, dim) : std::clamp<int64_t>(v, -1, dim - 1);
    };
    int64_t start = bound((*starts)[i]);
    int64_t end = bound((*ends)[i]);
    if (step < 0 && (*starts)[i] < -dim) start = 0;
    if (step > 0 && (*starts)[i] < -dim) start = 0;
    int64_t size = 0;
    if (step > 0 && end > start) size = (end - start - 1) / step + 1;
    if (step < 0 && start > end) size = (start - end - 1) / -step + 1;
    range.starts[static_cast<size_t>(axis)] = start;
    range.steps[static_cast<size_t>(axis)] = size == 1 ? 1 : step;
    range.sizes[static_cast<size_t>(axis)] = size;
  }
  return range;
}

std::vector<int64_t> SplitSizes(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  const auto axis = static_cast<size_t>(NormalizeAxis(node.Int("axis", 0), x.shape.size(), node));
  const int64_t dim = x.shape[axis];
  if (const auto sizes = IntegerList(model, node, 1, "split")) {
    int64_t left = dim;
    for (int64_t s : *sizes) {
      if (s < 0 || s > left)
        Refuse("node '{}' (Split): its parts do not add up to {}", node.name, dim);
      left -= s;
    }
    if (left != 0) Refuse("node '{}' (Split): its parts do not add up to {}", node.name, dim);
    return *sizes;
  }
  // Without sizes: num_outputs (opset 18) or as many as the node names.
  const int64_t parts = node.Int("num_outputs", static_cast<int64_t>(node.outputs.size()));
  if (parts < 1 || parts > dim)
    Refuse("node '{}' (Split): {} parts of {} are not possible", node.name, parts, dim);
  const int64_t size = (dim + parts - 1) / parts;
  std::vector<int64_t> sizes;
  int64_t left = dim;
  for (int64_t i = 0; i < parts; ++i) {
    sizes.push_back(std::min(size, left));
    left -= sizes.back();
  }
  if (sizes.back() == 0)
    Refuse("node '{}' (Split): {} parts of {} are not possible", node.name, parts, dim);
  return sizes;
}

std::pair<std::vector<int64_t>, std::vector<int64_t>> PadsOf(FlatModel& model,
                                                             const FlatNode& node) {
  const Value& x = In(model, node, 0);
  const auto pads = IntegerList(model, node, 1, "pads");
  if (!pads) Refuse("node '{}' (Pad): its pads are missing", node.name);
  std::vector<int64_t> axes;
  if (const auto list = IntegerList(model, node, 3, "axes")) {
    for (int64_t axis : *list) axes.push_back(NormalizeAxis(axis, x.shape.size(), node));
  } else {
    for (size_t i = 0; i < x.shape.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  }
  if (pads->size() != 2 * axes.size())
    Refuse("node '{}' (Pad): {} pads for {} axes", node.name, pads->size(), axes.size());
  std::vector<int64_t> before(x.shape.size(), 0);
  std::vector<int64_t> after(x.shape.size(), 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    for (int64_t v : {(*pads)[i], (*pads)[i + axes.size()]})
      if (v < -(int64_t{1} << 30) || v > (int64_t{1} << 30))
        Refuse("node '{}' (Pad): pad {} is out of range", node.name, v);
    before[static_cast<size_t>(axes[i])] = (*pads)[i];
    after[static_cast<size_t>(axes[i])] = (*pads)[i + axes.size()];
  }
  return {before, after};
}

ResizeSpec ResizeOf(FlatModel& model, const FlatNode& node) {
  const Value& x = In(model, node, 0);
  ResizeSpec spec;
  spec.mode = node.String("mode", "nearest");
  const bool old = node.op == "Upsample" || node.opset < 11;
  spec.coordinates =
      old ? "asymmetric" : node.String("coordinate_transformation_mode", "half_pixel");
  spec.nearest = old ? "floor" : node.String("nearest_mode", "round_prefer_floor");
  if (node.Int("antialias", 0) != 0)
    Refuse("node '{}' (Resize): antialias is not supported", node.name);
  const std::string policy = node.String("keep_aspect_ratio_policy", "stretch");
  if (policy != "stretch")
    Refuse("node '{}' (Resize): keep_aspect_ratio_policy '{}' is not supported", node.name, policy);
  const size_t rank = x.shape.size();
  std::vector<int64_t> axes;
  for (int64_t axis : node.Ints("axes")) axes.push_back(NormalizeAxis(axis, rank, node));
  if (axes.empty())
    for (size_t i = 0; i < rank; ++i) axes.push_back(static_cast<int64_t>(i));
  std::vector<float> scales;
  const ValueId scales_input = old ? node.Input(1) : node.Input(2);
  if (scales_input != kAbsent) {
    const auto constant = model.Constant(scales_input);
    if (!constant || constant->dtype != DType::kF32)
      Refuse("node '{}' ({}): its scales are not a float32 constant", node.name, node.op);
    scales.assign(constant->data<float>().begin(), constant->data<float>().end());
  } else if (old) {
    scales = node.Floats("scales");
  }
  spec.scales.assign(rank, 1.0f);
  spec.output = x.shape;
  if (!scales.empty()) {
    if (scales.size() != axes.size())
      Refuse("node '{}' ({}): {} scales for {} axes", node.name, node.op, scales.size(),
             axes.size());
    for (size_t i = 0; i < axes.size(); ++i) {
      const auto axis = static_cast<size_t>(axes[i]);
      if (!(scales[i] > 0) || scales[i] > 1e6f)
        Refuse("node '{}' ({}): scale {} is out of range", node.name, node.op, scales[i]);
      spec.scales[axis] = scales[i];
      spec.output[axis] =
          static_cast<int64_t>(std::floor(static_cast<float>(x.shape[axis]) * scales[i]));
    }
  } else {
    const auto sizes = old ? std::nullopt : IntegerList(model, node, 3, "sizes");
    if (!sizes || sizes->size() != axes.size())
      Refuse("node '{}' ({}): neither scales nor sizes fit the input", node.name, node.op);
    for (size_t i = 0; i < axes.size(); ++i) {
      const auto axis = static_cast<size_t>(axes[i]);
      spec.output[axis] = (*sizes)[i];
      spec.scales[axis] = static_cast<float>((*sizes)[i]) / static_cast<float>(x.shape[axis]);
    }
  }
  for (int64_t d : spec.output)
    if (d < 1)
      Refuse("node '{}' ({}): its output {} is empty", node.name, node.op, ShapeName(spec.output));
  return spec;
}

}  // namespace octile::frontend
