// From the flat model to the canonical graph.
//
// Values of the model are lowered on demand in three ways:
//   Quantized  the codes that a QuantizeLinear makes of a float value: recognizes the unit
//   (accumulator operator, table, pool,
//              addition ...) that ends in this quantization
//   TryCodes   a float value that is exactly the dequantization of codes (DQ, and data movement of
//   it) Float      a float value as such: host steps
// Data movement between an operator and its quantization is passed through (Q(Reshape(x)) =
// Reshape(Q(x))), so exporters may place Q and DQ where they like.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <tuple>

#include "model.h"
#include "octile/ir/host_ops.h"
#include "octile/ir/tensor_ops.h"
#include "octile/numerics/constants.h"
#include "octile/numerics/fp.h"
#include "octile/numerics/functions.h"
#include "octile/numerics/hw.h"

namespace octile::frontend {
namespace {

namespace num = ::octile::numerics;
using ir::TensorId;

struct Params {
  DType type = DType::kU8;
  float scale = 1;
  int32_t zero = 0;
  ir::Quantization quant() const { return {scale, zero}; }
  auto operator<=>(const Params&) const = default;
};

num::CodeRange NumRange(DType type) { return type == DType::kS8 ? num::kS8 : num::kU8; }

const std::set<std::string>& MovementOps() {
  static const std::set<std::string> ops = {"Reshape",      "Flatten", "Squeeze",  "Unsqueeze",
                                            "Transpose",    "Slice",   "Split",    "Concat",
                                            "Pad",          "Resize",  "Upsample", "DepthToSpace",
                                            "SpaceToDepth", "MaxPool", "Expand",   "GlobalMaxPool"};
  return ops;
}

// What an accumulator operator (Conv, Gemm, MatMul with constant weights) is made of.
struct AccumulatorUnit {
  const FlatNode* node = nullptr;       // Conv, Gemm or MatMul
  const FlatNode* bias_node = nullptr;  // an Add of a constant behind it
  ValueId input = kAbsent;
  ValueId weights = kAbsent;
  ValueId bias = kAbsent;
  bool bias_scaled = false;  // Gemm with beta != 1: the bias is a float
};

class Lowerer {
 public:
  Lowerer(FlatModel model, const ImportOptions& options)
      : m_(std::move(model)), options_(options) {}

  ImportResult Run() {
    g_.name = m_.name;
    for (ValueId id : m_.inputs) {
      const Value& v = m_.value(id);
      const TensorId t = NewTensor(v.name, v.dtype, v.shape, std::nullopt);
      input_tensors_[id] = t;
      g_.inputs.push_back(t);
    }
    // In topological order, so that recursion stays shallow.
    for (const FlatNode& node : m_.nodes)
      if (node.op == "QuantizeLinear" && node.outputs[0] != kAbsent)
        Codes(node.outputs[0], std::nullopt);
    for (const auto& [name, id] : m_.outputs) g_.outputs.push_back({name, Output(id)});
    RemoveDeadSteps();
    ImportResult result;
    result.notes = std::move(m_.notes);
    for (const ir::Step& step : g_.steps)
      result.offload.push_back(
          {step.name, ir::OpName(step.op), step.device_capable(), step.host_reason});
    if (Status valid = ir::Verify(g_); !valid)
      Refuse("the imported graph is invalid: {}", valid.error().message);
    result.graph = std::move(g_);
    return result;
  }

 private:
  // --- graph building
  // ------------------------------------------------------------------------------------------------

  TensorId NewTensor(std::string name, DType dtype, Shape shape,
                     std::optional<ir::Quantization> quant) {
    if (!tensor_names_.insert(name).second) {
      int64_t& suffix = name_suffixes_[name];
      std::string unique;
      do unique = fmt::format("{}/{}", name, ++suffix);
      while (!tensor_names_.insert(unique).second);
      name = unique;
    }
    ir::TensorInfo info;
    info.name = std::move(name);
    info.dtype = dtype;
    info.shape = std::move(shape);
    info.quant = quant;
    g_.tensors.push_back(std::move(info));
    return static_cast<TensorId>(g_.tensors.size()) - 1;
  }

  TensorId NewConstant(const std::string& name, const Tensor& tensor,
                       std::optional<ir::Quantization> quant) {
    const TensorId t = NewTensor(name, tensor.dtype, tensor.shape, quant);
    g_.tensor(t).constant = tensor.bytes;
    return t;
  }

  TensorId Emit(ir::Op op, std::vector<TensorId> inputs, TensorId output,
                std::vector<std::string> nodes, std::string reason = {}) {
    ir::Step step;
    step.name = g_.tensor(output).name;
    step.op = std::move(op);
    step.inputs = std::move(inputs);
    step.output = output;
    step.nodes = std::move(nodes);
    step.host_reason = std::move(reason);
    g_.steps.push_back(std::move(step));
    return output;
  }

  void RemoveDeadSteps() {
    std::vector<char> live(g_.tensors.size(), 0);
    for (const auto& output : g_.outputs) live[static_cast<size_t>(output.tensor)] = 1;
    std::vector<ir::Step> steps;
    for (size_t i = g_.steps.size(); i-- > 0;) {
      ir::Step& step = g_.steps[i];
      if (!live[static_cast<size_t>(step.output)]) continue;
      for (TensorId input : step.inputs) live[static_cast<size_t>(input)] = 1;
      steps.push_back(std::move(step));
    }
    std::reverse(steps.begin(), steps.end());
    for (TensorId input : g_.inputs) live[static_cast<size_t>(input)] = 1;
    std::vector<TensorId> renumbered(g_.tensors.size(), -1);
    std::vector<ir::TensorInfo> tensors;
    for (size_t i = 0; i < g_.tensors.size(); ++i) {
      if (!live[i]) continue;
      renumbered[i] = static_cast<TensorId>(tensors.size());
      tensors.push_back(std::move(g_.tensors[i]));
    }
    const auto renumber = [&](TensorId& t) { t = renumbered[static_cast<size_t>(t)]; };
    for (ir::Step& step : steps) {
      for (TensorId& t : step.inputs) renumber(t);
      renumber(step.output);
    }
    for (TensorId& t : g_.inputs) renumber(t);
    for (auto& output : g_.outputs) renumber(output.tensor);
    g_.steps = std::move(steps);
    g_.tensors = std::move(tensors);
  }

  // --- model access
  // --------------------------------------------------------------------------------------------------

  const FlatNode* Producer(ValueId id) const {
    const int32_t p = id == kAbsent ? -1 : m_.value(id).producer;
    return p < 0 ? nullptr : &m_.nodes[static_cast<size_t>(p)];
  }

  // Per-tensor parameters of a Q or DQ on an activation.
  Params ParamsOf(const FlatNode& node) {
    Params p;
    p.type = node.op == "QuantizeLinear" ? m_.value(node.outputs[0]).dtype
                                         : m_.value(node.inputs[0]).dtype;
    const auto scale = m_.Constant(node.Input(1));
    if (!scale)
      Refuse("node '{}' ({}): its scale is computed at run time; quantize statically", node.name,
             node.op);
    if (scale->dtype != DType::kF32)
      Refuse("node '{}' ({}): its scale is {}, not f32", node.name, node.op,
             DTypeName(scale->dtype));
    if (scale->size() != 1)
      Refuse("node '{}' ({}): per-axis or blocked scales of an activation are not supported",
             node.name, node.op);
    p.scale = scale->data<float>()[0];
    if (const Status ok = num::CheckActivationScale(p.scale, "its scale"); !ok)
      Refuse("node '{}' ({}): {}", node.name, node.op, ok.error().message);
    if (node.Input(2) != kAbsent) {
      const auto zero = m_.Constant(node.Input(2));
      if (!zero)
        Refuse("node '{}' ({}): its zero point is computed at run time; quantize statically",
               node.name, node.op);
      if (zero->size() != 1 || zero->dtype != p.type)
        Refuse("node '{}' ({}): its zero point does not fit its scale and type", node.name,
               node.op);
      p.zero = p.type == DType::kS8 ? static_cast<int8_t>(zero->bytes[0]) : zero->bytes[0];
    }
    return p;
  }

  static bool IsCodeType(DType type) { return type == DType::kU8 || type == DType::kS8; }

  class DepthGuard {
   public:
    DepthGuard(Lowerer& l, const std::string& where) : l_(l) {
      if (++l_.depth_ > l_.options_.limits.depth * 16)
        Refuse("value '{}': the expression before it is nested too deeply", where);
    }
    ~DepthGuard() { --l_.depth_; }

   private:
    Lowerer& l_;
  };

  // --- codes
  // ---------------------------------------------------------------------------------------------------------

  // The tensor of an integer value of 8 bits; with `want` its codes are read with those parameters.
  TensorId Codes(ValueId id, std::optional<ir::Quantization> want) {
    const auto key = std::make_tuple(id, want.has_value(), want ? num::FloatBits(want->scale) : 0u,
                                     want ? want->zero_point : 0);
    if (const auto it = codes_.find(key); it != codes_.end()) return it->second;
    const DepthGuard guard(*this, m_.value(id).name);
    const TensorId t = MakeCodes(id, want);
    codes_[key] = t;
    return t;
  }

  TensorId MakeCodes(ValueId id, std::optional<ir::Quantization> want) {
    const Value v = m_.value(id);
    if (v.constant)
      return NewConstant(v.name, *v.constant, IsCodeType(v.dtype) ? want : std::nullopt);
    if (v.is_input) {
      const TensorId t = input_tensors_.at(id);
      if (!want) return t;
      if (!g_.tensor(t).quant) g_.tensor(t).quant = want;
      return WithQuant(t, *want);
    }
    const FlatNode& node = *Producer(id);
    if (node.op == "QuantizeLinear") {
      const Params p = ParamsOf(node);
      const TensorId t = Quantized(node.inputs[0], p, ir::FullRange(p.type), {node.name}, v.name);
      return want ? WithQuant(t, *want) : t;
    }
    if (MovementOps().count(node.op)) {
      std::vector<TensorId> inputs;
      for (size_t i = 0; i < (node.op == "Concat" ? node.inputs.size() : 1); ++i)
        inputs.push_back(Codes(node.inputs[i], want));
      std::optional<int32_t> fill;
      if (node.op == "Pad") fill = IntegerPadValue(node, v.dtype);
      return Move(node, id, inputs, fill);
    }
    if (node.op == "Clip" || node.op == "Max" || node.op == "Min" || node.op == "Relu") {
      // Integer clipping (narrow ranges of some exporters).
      const TensorId x = Codes(node.inputs[0], want);
      auto [lo, hi] = ir::FullRange(v.dtype);
      const auto bound = [&](size_t i) -> std::optional<int32_t> {
        const auto c = m_.Constant(node.Input(i));
        if (node.Input(i) != kAbsent && (!c || c->size() != 1 || c->dtype != v.dtype))
          Refuse("node '{}' ({}): its bound is not a scalar constant of its type", node.name,
                 node.op);
        if (!c) return std::nullopt;
        return v.dtype == DType::kS8 ? static_cast<int8_t>(c->bytes[0]) : c->bytes[0];
      };
      if (node.op == "Relu") lo = std::max(lo, 0);
      if (node.op == "Max") lo = bound(1).value_or(lo);
      if (node.op == "Min") hi = bound(1).value_or(hi);
      if (node.op == "Clip") {
        lo = bound(1).value_or(lo);
        hi = bound(2).value_or(hi);
      }
      ir::Table table;
      table.meaning = node.op;
      for (int i = 0; i < 256; ++i) {
        const int q = v.dtype == DType::kS8 ? static_cast<int8_t>(i) : i;
        table.entries[static_cast<size_t>(i)] = static_cast<uint8_t>(std::min(std::max(q, lo), hi));
      }
      return Emit(table, {x}, NewTensor(v.name, v.dtype, v.shape, g_.tensor(x).quant), {node.name});
    }
    Refuse("node '{}': operator {} on {} values is not supported", node.name, node.op,
           DTypeName(v.dtype));
  }

  // The same codes under other parameters: an identity table gives them a tensor of their own.
  TensorId WithQuant(TensorId t, ir::Quantization quant) {
    if (g_.tensor(t).quant == quant) return t;
    ir::Table table;
    table.meaning = "reinterpret";
    for (size_t i = 0; i < 256; ++i) table.entries[i] = static_cast<uint8_t>(i);
    const ir::TensorInfo info = g_.tensor(t);
    return Emit(table, {t}, NewTensor(info.name, info.dtype, info.shape, quant), {});
  }

  int32_t IntegerPadValue(const FlatNode& node, DType type) {
    if (node.Input(2) == kAbsent) return 0;
    const auto c = m_.Constant(node.Input(2));
    if (!c || c->size() != 1 || c->dtype != type)
      Refuse("node '{}' (Pad): its value is not a scalar constant", node.name);
    return type == DType::kS8 ? static_cast<int8_t>(c->bytes[0]) : c->bytes[0];
  }

  float FloatPadValue(const FlatNode& node) {
    if (node.opset < 11) return node.Float("value", 0.0f);
    if (node.Input(2) == kAbsent) return 0.0f;
    const auto c = m_.Constant(node.Input(2));
    if (!c || c->size() != 1 || c->dtype != DType::kF32)
      Refuse("node '{}' (Pad): its value is not a scalar constant", node.name);
    return c->data<float>()[0];
  }

  static ir::PadMode PadModeOf(const FlatNode& node) {
    const std::string mode = node.String("mode", "constant");
    if (mode == "constant") return ir::PadMode::kConstant;
    if (mode == "reflect") return ir::PadMode::kReflect;
    if (mode == "edge") return ir::PadMode::kEdge;
    Refuse("node '{}' (Pad): mode '{}' is not supported", node.name, mode);
  }

  // The codes whose dequantization a float value exactly is, if there are such.
  std::optional<TensorId> TryCodes(ValueId id) {
    if (id == kAbsent) return std::nullopt;
    if (const auto it = exact_.find(id); it != exact_.end()) return it->second;
    const DepthGuard guard(*this, m_.value(id).name);
    const auto t = MakeTryCodes(id);
    exact_[id] = t;
    return t;
  }

  std::optional<TensorId> MakeTryCodes(ValueId id) {
    const Value v = m_.value(id);
    if (v.quant) {
      const QuantConstant& quant = *v.quant;
      if (!IsCodeType(quant.codes->dtype) || quant.scales.size() != 1) return std::nullopt;
      if (!num::CheckActivationScale(quant.scales[0], "scale")) return std::nullopt;
      return NewConstant(v.name, *quant.codes,
                         ir::Quantization{quant.scales[0], quant.zero_points[0]});
    }
    const FlatNode* node = Producer(id);
    if (!node || v.dtype != DType::kF32) return std::nullopt;
    if (node->op == "DequantizeLinear") {
      if (!IsCodeType(m_.value(node->inputs[0]).dtype))
        Refuse("node '{}' (DequantizeLinear): int32 values computed at run time are not supported",
               node->name);
      return Codes(node->inputs[0], ParamsOf(*node).quant());
    }
    if (MovementOps().count(node->op)) {
      if ((node->op == "Resize" || node->op == "Upsample") && ResizeOf(m_, *node).mode != "nearest")
        return std::nullopt;
      std::vector<TensorId> inputs;
      for (size_t i = 0; i < (node->op == "Concat" ? node->inputs.size() : 1); ++i) {
        const auto t = TryCodes(node->inputs[i]);
        if (!t || (i > 0 && !g_.tensor(*t).same_encoding(g_.tensor(inputs[0]))))
          return std::nullopt;
        inputs.push_back(*t);
      }
      std::optional<int32_t> fill;
      if (node->op == "Pad" && PadModeOf(*node) == ir::PadMode::kConstant) {
        const ir::TensorInfo& x = g_.tensor(inputs[0]);
        const float value = FloatPadValue(*node);
        fill = num::fp::Quantize(value, x.quant->scale, x.quant->zero_point, NumRange(x.dtype));
        if (num::fp::Dequantize(*fill, x.quant->zero_point, x.quant->scale) != value)
          return std::nullopt;
      }
      return Move(*node, id, inputs, fill);
    }
    if (node->op == "Relu") {  // max(q, z) is exact
      const auto x = TryCodes(node->inputs[0]);
      if (!x) return std::nullopt;
      const ir::TensorInfo info = g_.tensor(*x);
      ir::Table table;
      table.meaning = "Relu";
      bool identity = true;
      for (int i = 0; i < 256; ++i) {
        const int q = info.dtype == DType::kS8 ? static_cast<int8_t>(i) : i;
        const int y = std::max(q, info.quant->zero_point);
        identity &= y == q;
        table.entries[static_cast<size_t>(i)] = static_cast<uint8_t>(y);
      }
      if (identity) return x;
      return Emit(table, {*x}, NewTensor(v.name, info.dtype, info.shape, info.quant), {node->name});
    }
    return std::nullopt;
  }

  // One data movement step on tensors of one encoding (codes, or f32 with a host reason).
  // `name`: of the result; the value's own if empty.
  TensorId Move(const FlatNode& node, ValueId output, const std::vector<TensorId>& inputs,
                std::optional<int32_t> fill, const std::string& name = {}) {
    const ir::TensorInfo x = g_.tensor(inputs[0]);
    Value v = m_.value(output);
    if (!name.empty()) v.name = name;
    const std::string reason = x.is_code() ? "" : "its input is float";
    const auto result = [&](const Shape& shape) {
      return NewTensor(v.name, x.dtype, shape, x.quant);
    };
    const auto emit = [&](ir::Op op) {
      return Emit(std::move(op), inputs, result(v.shape), {node.name}, reason);
    };
    const auto& op = node.op;
    if (op == "Reshape" || op == "Flatten" || op == "Squeeze" || op == "Unsqueeze") {
      return emit(ir::Reshape{});
    }
    if (op == "Transpose") {
      ir::Transpose t{node.Ints("perm")};
      if (t.perm.empty())
        for (size_t i = x.shape.size(); i-- > 0;) t.perm.push_back(static_cast<int64_t>(i));
      return emit(t);
    }
    if (op == "Slice") {
      const SliceRange range = SliceOf(m_, node);
      return emit(ir::Slice{range.starts, range.steps});
    }
    if (op == "Split") {
      const auto axis =
          static_cast<size_t>(NormalizeAxis(node.Int("axis", 0), x.shape.size(), node));
      ir::Slice slice{std::vector<int64_t>(x.shape.size(), 0),
                      std::vector<int64_t>(x.shape.size(), 1)};
      const auto sizes = SplitSizes(m_, node);
      for (size_t i = 0; i < node.outputs.size() && node.outputs[i] != output; ++i)
        slice.starts[axis] += sizes[i];
      return emit(slice);
    }
    if (op == "Concat") {
      return emit(ir::Concat{NormalizeAxis(node.Int("axis", 0), x.shape.size(), node)});
    }
    if (op == "Pad") return MovePad(node, v, inputs[0], fill.value_or(0));
    if (op == "Resize" || op == "Upsample") return emit(NearestOf(node, x.shape));
    if (op == "MaxPool") {
      const auto kernel = node.Ints("kernel_shape");
      const Window w = WindowOf(node, x.shape, {kernel[0], kernel[1]});
      return emit(ir::MaxPool{w.kernel, w.strides, w.dilations, w.pads});
    }
    if (op == "GlobalMaxPool") {
      if (x.shape.size() != 4)
        Refuse("node '{}' (GlobalMaxPool): rank {} is not supported", node.name, x.shape.size());
      ir::MaxPool pool;
      pool.kernel = {x.shape[2], x.shape[3]};
      return emit(pool);
    }
    if (op == "Expand") {
      if (ElementCount(x.shape) != ElementCount(v.shape))
        Refuse("node '{}' (Expand): broadcasting an activation is not supported", node.name);
      return emit(ir::Reshape{});
    }
    if (op == "DepthToSpace" || op == "SpaceToDepth") {
      const int64_t b = node.Int("blocksize", 1);
      const Shape& s = x.shape;
      Shape split;
      std::vector<int64_t> perm;
      if (op == "SpaceToDepth") {
        split = {s[0], s[1], s[2] / b, b, s[3] / b, b};
        perm = {0, 3, 5, 1, 2, 4};
      } else if (node.String("mode", "DCR") == "DCR") {
        split = {s[0], b, b, s[1] / (b * b), s[2], s[3]};
        perm = {0, 3, 4, 1, 5, 2};
      } else {
        split = {s[0], s[1] / (b * b), b, b, s[2], s[3]};
        perm = {0, 1, 4, 2, 5, 3};
      }
      Shape moved;
      for (int64_t p : perm) moved.push_back(split[static_cast<size_t>(p)]);
      const TensorId a = Emit(ir::Reshape{}, inputs, result(split), {node.name}, reason);
      const TensorId t = Emit(ir::Transpose{perm}, {a}, result(moved), {node.name}, reason);
      return Emit(ir::Reshape{}, {t}, result(v.shape), {node.name}, reason);
    }
    Refuse("node '{}': operator {} is not a data movement", node.name, op);
  }

  // Negative pads crop: a Slice before the Pad.
  TensorId MovePad(const FlatNode& node, const Value& v, TensorId x, int32_t fill) {
    const ir::TensorInfo info = g_.tensor(x);
    auto [before, after] = PadsOf(m_, node);
    ir::Slice slice{std::vector<int64_t>(before.size(), 0), std::vector<int64_t>(before.size(), 1)};
    Shape cropped = info.shape;
    bool crop = false;
    bool pad = false;
    for (size_t i = 0; i < before.size(); ++i) {
      if (before[i] < 0) slice.starts[i] = -before[i];
      cropped[i] += std::min<int64_t>(before[i], 0) + std::min<int64_t>(after[i], 0);
      if (cropped[i] < 1)
        Refuse("node '{}' (Pad): negative pads leave nothing of axis {}", node.name, i);
      crop |= before[i] < 0 || after[i] < 0;
      pad |= before[i] > 0 || after[i] > 0;
      before[i] = std::max<int64_t>(before[i], 0);
      after[i] = std::max<int64_t>(after[i], 0);
    }
    if (crop) x = Emit(slice, {x}, NewTensor(v.name, info.dtype, cropped, info.quant), {node.name});
    if (!pad) return x;
    ir::Pad op{before, after, PadModeOf(node), fill};
    if (op.mode == ir::PadMode::kReflect)
      for (size_t i = 0; i < before.size(); ++i)
        if (before[i] >= cropped[i] || after[i] >= cropped[i])
          Refuse("node '{}' (Pad): reflection by {} exceeds axis {}", node.name,
                 std::max(before[i], after[i]), i);
    if (op.mode != ir::PadMode::kConstant) op.value = 0;
    return Emit(op, {x}, NewTensor(v.name, info.dtype, v.shape, info.quant), {node.name});
  }

  ir::ResizeNearest NearestOf(const FlatNode& node, const Shape& x) {
    const ResizeSpec spec = ResizeOf(m_, node);
    if (spec.mode != "nearest")
      Refuse("node '{}' ({}): mode '{}' is not supported here", node.name, node.op, spec.mode);
    if (x.size() != 4 || spec.output[0] != x[0] || spec.output[1] != x[1])
      Refuse("node '{}' ({}): only height and width of [N,C,H,W] can be resized", node.name,
             node.op);
    ir::ResizeNearest resize;
    resize.rows = NearestIndices(node, spec, 2, x[2]);
    resize.columns = NearestIndices(node, spec, 3, x[3]);
    return resize;
  }

  static std::vector<int64_t> NearestIndices(const FlatNode& node, const ResizeSpec& spec,
                                             size_t axis, int64_t in) {
    const int64_t out = spec.output[axis];
    const float scale = spec.scales[axis];
    std::vector<int64_t> indices;
    for (int64_t i = 0; i < out; ++i) {
      const auto x = static_cast<float>(i);
      float at = 0;
      if (scale == 1.0f) {
        at = x;
      } else if (spec.coordinates == "asymmetric") {
        at = x / scale;
      } else if (spec.coordinates == "half_pixel") {
        at = (x + 0.5f) / scale - 0.5f;
      } else if (spec.coordinates == "pytorch_half_pixel") {
        at = out > 1 ? (x + 0.5f) / scale - 0.5f : 0.0f;
      } else if (spec.coordinates == "align_corners") {
        at = out == 1 ? 0.0f : x * static_cast<float>(in - 1) / static_cast<float>(out - 1);
      } else if (spec.coordinates == "half_pixel_symmetric") {
        const float adjustment = static_cast<float>(out) / (scale * static_cast<float>(in));
        at = static_cast<float>(in) / 2.0f * (1.0f - adjustment) + (x + 0.5f) / scale - 0.5f;
      } else {
        Refuse("node '{}' ({}): coordinate_transformation_mode '{}' is not supported", node.name,
               node.op, spec.coordinates);
      }
      float nearest = 0;
      if (spec.nearest == "floor") {
        nearest = std::floor(at);
      } else if (spec.nearest == "ceil") {
        nearest = std::ceil(at);
      } else if (spec.nearest == "round_prefer_floor") {
        nearest = at == std::floor(at) + 0.5f ? std::floor(at) : std::round(at);
      } else if (spec.nearest == "round_prefer_ceil") {
        nearest = std::round(at);
      } else {
        Refuse("node '{}' ({}): nearest_mode '{}' is not supported", node.name, node.op,
               spec.nearest);
      }
      indices.push_back(std::clamp<int64_t>(static_cast<int64_t>(nearest), 0, in - 1));
    }
    return indices;
  }

  // --- quantized units
  // -----------------------------------------------------------------------------------------------

  // The codes sat(RN(x/s) + z) of a float value, clamped to [range.lo, range.hi]. `nodes`: the
  // model's nodes already part of the unit, last first; `name`: of the resulting tensor.
  TensorId Quantized(ValueId x, const Params& p, ir::CodeRange range,
                     std::vector<std::string> nodes, const std::string& name) {
    const auto key =
        std::make_tuple(x, p.type, num::FloatBits(p.scale), p.zero, range.lo, range.hi);
    if (const auto it = quantized_.find(key); it != quantized_.end()) return it->second;
    const DepthGuard guard(*this, m_.value(x).name);
    const TensorId t = MakeQuantized(x, p, range, std::move(nodes), name);
    quantized_[key] = t;
    return t;
  }

  TensorId MakeQuantized(ValueId x, const Params& p, ir::CodeRange range,
                         std::vector<std::string> nodes, const std::string& name) {
    const Value v = m_.value(x);
    if (v.dtype != DType::kF32)
      Refuse("value '{}' is quantized but is {}", v.name, DTypeName(v.dtype));
    if (const auto constant = m_.Constant(x)) {
      Tensor codes(p.type, v.shape);
      for (size_t i = 0; i < codes.bytes.size(); ++i) {
        const int q =
            num::fp::Quantize(constant->data<float>()[i], p.scale, p.zero, NumRange(p.type));
        codes.bytes[i] = static_cast<uint8_t>(std::clamp(q, range.lo, range.hi));
      }
      return NewConstant(name, codes, p.quant());
    }
    if (const auto t = TryTable(x, p, range, nodes, name, false)) return *t;

    const FlatNode* node = Producer(x);
    if (node && (node->op == "Relu" || node->op == "Clip")) {
      const auto bounds = ClipBounds(*node);
      if (bounds) {
        const auto code = [&](float value) {
          return num::fp::Quantize(value, p.scale, p.zero, NumRange(p.type));
        };
        ir::CodeRange inner;
        inner.lo = std::clamp(code(bounds->first), range.lo, range.hi);
        inner.hi = std::clamp(code(bounds->second), range.lo, range.hi);
        if (inner.lo <= inner.hi && CanFuseClamp(node->inputs[0])) {
          std::vector<std::string> more = nodes;
          more.push_back(node->name);
          return Quantized(node->inputs[0], p, inner, more, name);
        }
      }
    }
    if (node) {
      std::vector<std::string> more = nodes;
      more.push_back(node->name);
      if (const auto t = AccumulatorStep(x, p, range, nodes, name)) return *t;
      if (const auto t = PoolStep(*node, p, range, more, name)) return *t;
      if (const auto t = PairStep(*node, v, p, range, more, name)) return *t;
      if (const auto t = SoftmaxStep(*node, p, range, more, name)) return *t;
      if (MovementOps().count(node->op) && !((node->op == "Resize" || node->op == "Upsample") &&
                                             ResizeOf(m_, *node).mode != "nearest"))
        return MoveQuantized(*node, x, p, range, name);
    }
    if (const auto t = TryTable(x, p, range, nodes, name, true)) return *t;
    // No integer rule: evaluate in fp32 on the host and quantize (N4).
    const TensorId value = Float(x);
    TensorId t = NewTensor(name, p.type, v.shape, p.quant());
    Emit(ir::Quantize{}, {value}, t, Reversed(nodes), "turns float values into codes");
    if (range != ir::FullRange(p.type)) {
      ir::Table table;
      table.meaning = "Clip";
      for (int i = 0; i < 256; ++i) {
        const int q = p.type == DType::kS8 ? static_cast<int8_t>(i) : i;
        table.entries[static_cast<size_t>(i)] =
            static_cast<uint8_t>(std::clamp(q, range.lo, range.hi));
      }
      t = Emit(table, {t}, NewTensor(name, p.type, v.shape, p.quant()), Reversed(nodes));
    }
    return t;
  }

  static std::vector<std::string> Reversed(std::vector<std::string> nodes) {
    std::reverse(nodes.begin(), nodes.end());
    return nodes;
  }

  // A clamp belongs to the integer unit before it; a float value in front keeps its Relu on the
  // host.
  bool CanFuseClamp(ValueId x) {
    const FlatNode* node = Producer(x);
    if (!node) return false;
    if (node->op == "Relu" || node->op == "Clip")
      return ClipBounds(*node) && CanFuseClamp(node->inputs[0]);
    if (const auto unit = FindAccumulator(x)) return TryCodes(unit->input).has_value();
    if (TryCodes(x)) return true;
    if (node->op == "GlobalAveragePool" || node->op == "AveragePool" || node->op == "ReduceMean")
      return TryCodes(node->inputs[0]).has_value();
    if (node->op == "Add" || node->op == "Mul")
      return TryCodes(node->inputs[0]) && TryCodes(node->inputs[1]);
    if (node->op == "Concat") {
      for (ValueId id : node->inputs)
        if (!TryCodes(id) && !CanFuseClamp(id)) return false;
      return true;
    }
    if (node->op == "Pad") return false;  // the padding would be clamped, too
    if (MovementOps().count(node->op) && node->op != "Resize" && node->op != "Upsample")
      return CanFuseClamp(node->inputs[0]);
    return false;
  }

  std::optional<std::pair<float, float>> ClipBounds(const FlatNode& node) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    if (node.op == "Relu") return std::make_pair(0.0f, kInfinity);
    float lo = node.Float("min", -kInfinity);
    float hi = node.Float("max", kInfinity);
    for (size_t i : {size_t{1}, size_t{2}}) {
      if (node.Input(i) == kAbsent) continue;
      const auto c = m_.Constant(node.Input(i));
      if (!c || c->size() != 1 || c->dtype != DType::kF32) return std::nullopt;
      (i == 1 ? lo : hi) = c->data<float>()[0];
    }
    if (std::isnan(lo) || std::isnan(hi))
      Refuse("node '{}' (Clip): a bound is not a number", node.name);
    if (lo > hi) lo = hi;  // min(max(x, lo), hi) is hi
    return std::make_pair(lo, hi);
  }

  // Q(move(x)) = move(Q(x)).
  TensorId MoveQuantized(const FlatNode& node, ValueId x, const Params& p, ir::CodeRange range,
                         const std::string& name) {
    const size_t count = node.op == "Concat" ? node.inputs.size() : 1;
    // A value that has codes is moved first and rescaled after (N8: max, then N9), where there is
    // one input.
    if (count == 1 && node.op != "Pad") {
      if (const auto moved = TryCodes(x)) return Rescaled(*moved, p, range, {node.name}, name);
    }
    std::vector<TensorId> inputs;
    for (size_t i = 0; i < count; ++i)
      inputs.push_back(Quantized(node.inputs[i], p, range, {},
                                 fmt::format("{}/{}", name, m_.value(node.inputs[i]).name)));
    std::optional<int32_t> fill;
    if (node.op == "Pad" && PadModeOf(node) == ir::PadMode::kConstant)
      fill = std::clamp(num::fp::Quantize(FloatPadValue(node), p.scale, p.zero, NumRange(p.type)),
                        range.lo, range.hi);
    return Move(node, x, inputs, fill, name);
  }

  // N9.
  TensorId Rescaled(TensorId x, const Params& p, ir::CodeRange range,
                    const std::vector<std::string>& nodes, const std::string& name) {
    const ir::TensorInfo info = g_.tensor(x);
    ir::Table table;
    table.meaning = "requantize";
    for (int i = 0; i < 256; ++i) {
      const int q = info.dtype == DType::kS8 ? static_cast<int8_t>(i) : i;
      const int y = num::fp::Rescale(q, info.quant->scale, info.quant->zero_point, p.scale, p.zero,
                                     NumRange(p.type));
      table.entries[static_cast<size_t>(i)] =
          static_cast<uint8_t>(std::clamp(y, range.lo, range.hi));
    }
    return EmitTable(table, x, p, info.shape, nodes, name);
  }

  TensorId EmitTable(const ir::Table& table, TensorId x, const Params& p, const Shape& shape,
                     const std::vector<std::string>& nodes, const std::string& name) {
    bool identity = g_.tensor(x).dtype == p.type && g_.tensor(x).quant == p.quant() &&
                    g_.tensor(x).shape == shape;
    for (size_t i = 0; identity && i < 256; ++i) identity = table.entries[i] == i;
    if (identity) return x;
    return Emit(table, {x}, NewTensor(name, p.type, shape, p.quant()), nodes);
  }

  // --- accumulators
  // --------------------------------------------------------------------------------------------------

  std::optional<AccumulatorUnit> FindAccumulator(ValueId x) {
    const FlatNode* node = Producer(x);
    if (!node) return std::nullopt;
    AccumulatorUnit unit;
    if (node->op == "Add") {
      // MatMul + constant (and Conv + constant without a bias of its own).
      for (size_t i = 0; i < 2; ++i) {
        const FlatNode* inner = Producer(node->inputs[i]);
        const ValueId other = node->inputs[1 - i];
        if (!inner || !m_.Constant(other) || inner->op == "Add") continue;
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
    if (unit.bias != kAbsent && (!m_.Constant(unit.bias) || !BiasFits(unit, unit.bias)))
      return std::nullopt;
    return unit;
  }

  static int64_t ChannelsOf(const AccumulatorUnit& unit, const Shape& w) {
    if (unit.node->op == "Conv") return w[0];
    return unit.node->op == "Gemm" && unit.node->Int("transB", 0) != 0 ? w[0] : w[1];
  }

  // One value per output channel, or a scalar.
  bool BiasFits(const AccumulatorUnit& unit, ValueId bias) {
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

  std::string Describe(const FlatNode& node) const {
    return fmt::format("node '{}' ({})", node.name, node.op);
  }

  // Weights, bias and the products sx * sw that all outputs of the unit share.
  struct Accumulator {
    ir::Weights weights;
    std::vector<int32_t> bias;
    std::vector<float> weight_scales;  // one per channel
    float alpha = 1.0f;
    int64_t channels = 0;
  };

  Accumulator MakeAccumulator(const AccumulatorUnit& unit, const ir::Quantization& x) {
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

  std::vector<int32_t> MakeBias(const AccumulatorUnit& unit, const Accumulator& acc, float sx) {
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
      if (values->dtype != DType::kF32)
        Refuse("{}: its bias is {}", what, DTypeName(values->dtype));
      const float b = beta == 1.0f ? values->data<float>()[i] : values->data<float>()[i] * beta;
      if (!std::isfinite(b)) Refuse("{}: its bias has an element that is not finite", what);
      bias[c] = acc.alpha == 1.0f ? num::BiasFromFloat(b, sx, sw)
                                  : num::GemmBiasFromFloat(b, acc.alpha, sx, sw);
    }
    return bias;
  }

  // N1: accumulators wrap; say so when they can.
  void WarnOverflow(const AccumulatorUnit& unit, const Accumulator& acc) {
    if (!warned_.insert(unit.node->name).second) return;
    const bool conv = unit.node->op == "Conv";
    const int64_t count = static_cast<int64_t>(acc.weights.codes.size()) / acc.channels;
    for (int64_t c = 0; c < acc.channels; ++c) {
      double sum = std::abs(static_cast<double>(acc.bias[static_cast<size_t>(c)]));
      for (int64_t k = 0; k < count; ++k) {
        const int w = acc.weights.at(conv ? c * count + k : k * acc.channels + c) -
                      acc.weights.zero_points[static_cast<size_t>(c)];
        sum += 255.0 * std::abs(w);
      }
      if (sum >= 2147483648.0) {
        m_.notes.push_back(
            fmt::format("{}: its 32-bit accumulators can overflow (they wrap, N1), channel {}",
                        Describe(*unit.node), c));
        return;
      }
    }
  }

  float Encoded(Expected<float> m, const FlatNode& node) {
    if (!m) Refuse("{}: {}", Describe(node), m.error().message);
    const auto bits = num::EncodeMultiplier(*m);
    if (!bits) Refuse("{}: {}", Describe(node), bits.error().message);
    return num::BitsFloat(*bits);
  }

  // Emits the Conv or Gemm; `p` absent: raw accumulators.
  TensorId EmitAccumulator(const AccumulatorUnit& unit, TensorId x, const Accumulator& acc,
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

  std::vector<std::string> UnitNodes(const AccumulatorUnit& unit, std::vector<std::string> nodes) {
    if (unit.bias_node) nodes.push_back(unit.bias_node->name);
    nodes.push_back(unit.node->name);
    return Reversed(std::move(nodes));
  }

  std::optional<TensorId> AccumulatorStep(ValueId v, const Params& p, ir::CodeRange range,
                                          const std::vector<std::string>& nodes,
                                          const std::string& name) {
    const auto unit = FindAccumulator(v);
    if (!unit) return std::nullopt;
    const auto x = TryCodes(unit->input);
    if (!x || g_.tensor(*x).is_constant()) return std::nullopt;
    const Accumulator acc = MakeAccumulator(*unit, *g_.tensor(*x).quant);
    return EmitAccumulator(*unit, *x, acc, p, range, UnitNodes(*unit, nodes), name);
  }

  // --- pools, pairs, softmax
  // -----------------------------------------------------------------------------------------

  std::optional<TensorId> PoolStep(const FlatNode& node, const Params& p, ir::CodeRange range,
                                   const std::vector<std::string>& nodes, const std::string& name) {
    if (node.op != "GlobalAveragePool" && node.op != "AveragePool" && node.op != "ReduceMean")
      return std::nullopt;
    const auto x = TryCodes(node.inputs[0]);
    if (!x) return std::nullopt;
    const ir::TensorInfo info = g_.tensor(*x);
    if (info.shape.size() != 4) return std::nullopt;
    const Shape shape = m_.value(node.outputs[0]).shape;
    bool global = node.op == "GlobalAveragePool";
    if (node.op == "ReduceMean") {
      if (ReduceAxes(m_, node) != std::vector<int64_t>{2, 3}) return std::nullopt;
      global = true;
    }
    Window window;
    if (node.op == "AveragePool") {
      const auto kernel = node.Ints("kernel_shape");
      window = WindowOf(node, info.shape, {kernel[0], kernel[1]});
      global = kernel[0] == info.shape[2] && kernel[1] == info.shape[3] &&
               window.pads == std::array<int64_t, 4>{} &&
               window.dilations == std::array<int64_t, 2>{1, 1};
    }
    const TensorId y = NewTensor(name, p.type, shape, p.quant());
    if (global) {
      ir::GlobalAveragePool pool;
      pool.multiplier = Encoded(
          num::AverageMultiplier(info.quant->scale, p.scale, info.shape[2] * info.shape[3]), node);
      pool.clamp = range;
      return Emit(pool, {*x}, y, Reversed(nodes));
    }
    ir::AveragePool pool{window.kernel,
                         window.strides,
                         window.dilations,
                         window.pads,
                         node.Int("count_include_pad", 0) != 0,
                         range};
    const std::string reason =
        num::hw::SupportedAverageScale(info.quant->scale)
            ? ""
            : "its input scale is outside the range of the device's fp32 adder";
    return Emit(pool, {*x}, y, Reversed(nodes), reason);
  }

  // The operand that a scalar or broadcast value is becomes b (N6): input 0 gives way if it is
  // constant along the innermost axis of the broadcast and input 1 is not.
  static bool SwapsRoles(const Shape& a, const Shape& b, const Shape& shape) {
    const auto sa = ir::BroadcastStrides(a, shape);
    const auto sb = ir::BroadcastStrides(b, shape);
    for (size_t i = shape.size(); i-- > 0;) {
      if (shape[i] == 1) continue;
      return sa[i] == 0 && sb[i] != 0;
    }
    return false;
  }

  std::optional<TensorId> PairStep(const FlatNode& node, const Value& v, const Params& p,
                                   ir::CodeRange range, const std::vector<std::string>& nodes,
                                   const std::string& name) {
    if (node.op != "Add" && node.op != "Mul") return std::nullopt;
    auto a = TryCodes(node.inputs[0]);
    auto b = TryCodes(node.inputs[1]);
    if (!a || !b) return std::nullopt;
    if (node.op == "Add" && SwapsRoles(g_.tensor(*a).shape, g_.tensor(*b).shape, v.shape))
      std::swap(a, b);
    const ir::Quantization qa = *g_.tensor(*a).quant;
    const ir::Quantization qb = *g_.tensor(*b).quant;
    const TensorId y = NewTensor(name, p.type, v.shape, p.quant());
    if (node.op == "Mul") {
      const auto r = num::MulRatio(qa.scale, qb.scale, p.scale);
      if (!r) Refuse("{}: {}", Describe(node), r.error().message);
      return Emit(ir::Mul{*r, range}, {*a, *b}, y, Reversed(nodes));
    }
    const auto c =
        num::MakeAddConstants(qa.scale, qa.zero_point, qb.scale, qb.zero_point, p.scale, p.zero);
    if (!c) Refuse("{}: {}", Describe(node), c.error().message);
    const std::string reason = num::SupportedAddConstants(*c)
                                   ? ""
                                   : "its scales are outside the range of the device's fp32 adder";
    return Emit(ir::Add{c->ra, c->rb, c->f, range}, {*a, *b}, y, Reversed(nodes), reason);
  }

  std::optional<TensorId> SoftmaxStep(const FlatNode& node, const Params& p, ir::CodeRange range,
                                      const std::vector<std::string>& nodes,
                                      const std::string& name) {
    if (node.op != "Softmax" || range != ir::FullRange(p.type)) return std::nullopt;
    const auto x = TryCodes(node.inputs[0]);
    if (!x || g_.tensor(*x).dtype != p.type) return std::nullopt;
    const Shape& shape = g_.tensor(*x).shape;
    const int64_t axis =
        NormalizeAxis(node.Int("axis", node.opset < 13 ? 1 : -1), shape.size(), node);
    if (node.opset < 13 && !LastAxisOnly(shape, axis)) return std::nullopt;
    return Emit(ir::Softmax{axis}, {*x}, NewTensor(name, p.type, shape, p.quant()), Reversed(nodes),
                "exponentials and a division over a whole row (N10)");
  }

  // Before opset 13 softmax ran over all axes from `axis` on.
  static bool LastAxisOnly(const Shape& shape, int64_t axis) {
    for (size_t i = static_cast<size_t>(axis) + 1; i < shape.size(); ++i)
      if (shape[i] != 1) return false;
    return true;
  }

  // --- tables
  // --------------------------------------------------------------------------------------------------------

  // A subgraph whose value depends on one code (N5). Leaves are values with codes of their own.
  struct Cone {
    std::set<ValueId> leaves;  // int values (code sources), or float values that TryCodes moves
    std::set<ValueId> inner;   // values inside
    std::set<std::string> operators;  // for the meaning
    std::vector<std::string> nodes;
    int64_t channels = 1;  // > 1: constants per channel
    bool valid = true;
  };

  static constexpr size_t kConeLimit = 400;
  static constexpr int64_t kChannelTables = 4;

  bool IsLeafFloat(ValueId id) {
    const FlatNode* node = Producer(id);
    return node && node->op != "Relu" && MovementOps().count(node->op) && TryCodes(id).has_value();
  }

  // Adds the expression of `id` (float or integer) to the cone. `expanded`: Q outputs that are not
  // leaves but looked through.
  void Grow(Cone& cone, ValueId id, const Shape& shape, const std::set<ValueId>& expanded,
            bool per_channel) {
    if (!cone.valid || cone.inner.count(id) || cone.leaves.count(id)) return;
    const DepthGuard guard(*this, m_.value(id).name);
    const Value& v = m_.value(id);
    const auto fail = [&] { cone.valid = false; };
    if (m_.Constant(id)) {
      const int64_t count = ElementCount(v.shape);
      if (count == 1) return;
      const bool channel = per_channel && shape.size() == 4 && shape[1] == count &&
                           count <= kChannelTables && v.shape.size() >= 3 &&
                           v.shape[v.shape.size() - 3] == count;
      if (!channel) return fail();
      cone.channels = count;
      return;
    }
    if (cone.inner.size() > kConeLimit || v.shape != shape) return fail();
    const FlatNode* node = Producer(id);
    if (IsCodeType(v.dtype)) {
      if (node && node->op == "QuantizeLinear" && expanded.count(id)) {
        cone.inner.insert(id);
        return Grow(cone, node->inputs[0], shape, expanded, per_channel);
      }
      cone.leaves.insert(id);
      return;
    }
    if (!node || v.dtype != DType::kF32) return fail();
    if (IsLeafFloat(id)) {
      cone.leaves.insert(id);
      return;
    }
    const auto grow_all = [&] {
      cone.inner.insert(id);
      for (ValueId input : node->inputs)
        if (input != kAbsent) Grow(cone, input, shape, expanded, per_channel);
    };
    if (node->op == "DequantizeLinear") {
      if (!IsCodeType(m_.value(node->inputs[0]).dtype)) return fail();
      cone.inner.insert(id);
      return Grow(cone, node->inputs[0], shape, expanded, per_channel);
    }
    if (node->op == "Cast") {
      if (!IsCodeType(m_.value(node->inputs[0]).dtype)) return fail();
      cone.inner.insert(id);
      return Grow(cone, node->inputs[0], shape, expanded, per_channel);
    }
    if (!ir::IsUnary(node->op) && !ir::IsBinary(node->op)) return fail();
    grow_all();
  }

  std::optional<TensorId> TryTable(ValueId x, const Params& p, ir::CodeRange range,
                                   const std::vector<std::string>& nodes, const std::string& name,
                                   bool per_channel) {
    const Shape shape = m_.value(x).shape;
    std::set<ValueId> expanded;
    Cone cone;
    for (int round = 0; round < 64; ++round) {
      cone = Cone{};
      Grow(cone, x, shape, expanded, per_channel);
      if (!cone.valid || cone.leaves.empty()) return std::nullopt;
      if (cone.leaves.size() == 1) break;
      // Look through the last leaf that is itself a quantization.
      ValueId last = kAbsent;
      for (ValueId leaf : cone.leaves) {
        const FlatNode* node = Producer(leaf);
        if (node && node->op == "QuantizeLinear" &&
            (last == kAbsent || m_.value(leaf).producer > m_.value(last).producer))
          last = leaf;
      }
      if (last == kAbsent) return std::nullopt;
      expanded.insert(last);
    }
    if (cone.leaves.size() != 1 || (cone.channels > 1) != per_channel) return std::nullopt;
    const ValueId leaf = *cone.leaves.begin();
    const Value leaf_value = m_.value(leaf);

    // The code tensor; parameters of a DQ directly on the leaf label it (each DQ evaluates with its
    // own).
    TensorId codes;
    if (IsCodeType(leaf_value.dtype)) {
      std::optional<ir::Quantization> label;
      for (ValueId id : cone.inner) {
        const FlatNode* node = Producer(id);
        if (node && node->op == "DequantizeLinear" && node->inputs[0] == leaf)
          label = ParamsOf(*node).quant();
      }
      codes = Codes(leaf, label);
    } else {
      codes = *TryCodes(leaf);
    }
    std::vector<std::string> all;
    std::string meaning;
    std::set<int32_t> positions;
    for (ValueId id : cone.inner) positions.insert(m_.value(id).producer);
    for (int32_t at : positions) {
      const FlatNode& node = m_.nodes[static_cast<size_t>(at)];
      if (node.op == "DequantizeLinear") continue;
      all.push_back(node.name);
      if (node.op == "QuantizeLinear" || node.op == "Cast") continue;
      meaning += (meaning.empty() ? "" : "+") + node.op;
    }
    if (meaning.empty()) meaning = "requantize";
    for (const std::string& node : Reversed(nodes))
      if (std::find(all.begin(), all.end(), node) == all.end()) all.push_back(node);

    std::vector<ir::Table> tables;
    for (int64_t c = 0; c < cone.channels; ++c) {
      ConeEvaluator evaluate{*this, leaf, codes, c, {}, {}};
      const std::vector<int> y = evaluate.Unit(x, p);
      ir::Table table;
      table.meaning = meaning;
      for (size_t i = 0; i < 256; ++i)
        table.entries[i] = static_cast<uint8_t>(std::clamp(y[i], range.lo, range.hi));
      tables.push_back(table);
    }
    if (tables.size() == 1) return EmitTable(tables[0], codes, p, shape, all, name);
    std::vector<TensorId> parts;
    Shape one = shape;
    one[1] = 1;
    const ir::TensorInfo info = g_.tensor(codes);
    for (size_t c = 0; c < tables.size(); ++c) {
      ir::Slice slice{{0, static_cast<int64_t>(c), 0, 0}, {1, 1, 1, 1}};
      const TensorId plane =
          Emit(slice, {codes}, NewTensor(info.name, info.dtype, one, info.quant), all);
      parts.push_back(Emit(tables[c], {plane}, NewTensor(name, p.type, one, p.quant()), all));
    }
    return Emit(ir::Concat{1}, parts, NewTensor(name, p.type, shape, p.quant()), all);
  }

  // Evaluates a cone for all 256 codes of its leaf at once.
  struct ConeEvaluator {
    Lowerer& l;
    ValueId leaf;
    TensorId codes;
    int64_t channel;
    std::map<ValueId, std::vector<int>> ints;
    std::map<ValueId, Tensor> floats;

    std::vector<int> LeafCodes() const {
      std::vector<int> q(256);
      const bool is_signed = l.g_.tensor(codes).dtype == DType::kS8;
      for (int i = 0; i < 256; ++i)
        q[static_cast<size_t>(i)] = is_signed ? static_cast<int8_t>(i) : i;
      return q;
    }

    std::vector<int> Int(ValueId id) {
      if (id == leaf) return LeafCodes();
      if (const auto it = ints.find(id); it != ints.end()) return it->second;
      const FlatNode& node = *l.Producer(id);
      const std::vector<int> q = Unit(node.inputs[0], l.ParamsOf(node));
      ints[id] = q;
      return q;
    }

    // Codes and parameters of an operand of an integer Add or Mul: a DQ inside the cone, or a
    // quantized scalar.
    struct Operand {
      std::vector<int> q;
      Params p;
      bool constant = false;
    };
    std::optional<Operand> OperandOf(ValueId id) {
      const Value& v = l.m_.value(id);
      if (v.quant) {
        const QuantConstant& quant = *v.quant;
        if (!IsCodeType(quant.codes->dtype) || quant.scales.size() != 1 || quant.codes->size() != 1)
          return std::nullopt;
        if (!num::CheckActivationScale(quant.scales[0], "scale")) return std::nullopt;
        const uint8_t byte = quant.codes->bytes[0];
        const int q = quant.codes->dtype == DType::kS8 ? static_cast<int8_t>(byte) : byte;
        return Operand{std::vector<int>(256, q),
                       Params{quant.codes->dtype, quant.scales[0], quant.zero_points[0]}, true};
      }
      if (id == leaf) {
        const ir::TensorInfo& t = l.g_.tensor(codes);
        return Operand{LeafCodes(), Params{t.dtype, t.quant->scale, t.quant->zero_point}, false};
      }
      const FlatNode* node = l.Producer(id);
      if (!node || node->op != "DequantizeLinear") return std::nullopt;
      return Operand{Int(node->inputs[0]), l.ParamsOf(*node), false};
    }

    // The codes of one quantization unit: N6 and N7 where the unit is an integer Add or Mul, else
    // N4 of the float value.
    std::vector<int> Unit(ValueId x, const Params& p) {
      std::vector<int> y(256);
      const num::CodeRange range = NumRange(p.type);
      const FlatNode* node = l.Producer(x);
      if (node && (node->op == "Add" || node->op == "Mul")) {
        auto a = OperandOf(node->inputs[0]);
        auto b = OperandOf(node->inputs[1]);
        if (a && b && node->op == "Mul") {
          const auto r = num::MulRatio(a->p.scale, b->p.scale, p.scale);
          if (!r) Refuse("{}: {}", l.Describe(*node), r.error().message);
          for (size_t i = 0; i < 256; ++i)
            y[i] = num::fp::Mul((a->q[i] - a->p.zero) * (b->q[i] - b->p.zero), *r, p.zero, range);
          return y;
        }
        if (a && b) {
          if (a->constant) std::swap(a, b);
          const auto c =
              num::MakeAddConstants(a->p.scale, a->p.zero, b->p.scale, b->p.zero, p.scale, p.zero);
          if (!c) Refuse("{}: {}", l.Describe(*node), c.error().message);
          for (size_t i = 0; i < 256; ++i) y[i] = num::fp::Add(a->q[i], b->q[i], *c, range);
          return y;
        }
      }
      const Tensor& value = Float(x);
      for (size_t i = 0; i < 256; ++i)
        y[i] = num::fp::Quantize(value.data<float>()[i], p.scale, p.zero, range);
      return y;
    }

    const Tensor& Float(ValueId id) {
      if (const auto it = floats.find(id); it != floats.end()) return it->second;
      return floats[id] = Make(id);
    }

    Tensor Make(ValueId id) {
      if (const auto constant = l.m_.Constant(id)) {
        if (constant->dtype != DType::kF32)
          Refuse("value '{}' is {}, not f32", l.m_.value(id).name, DTypeName(constant->dtype));
        Tensor one(DType::kF32, {1});
        one.data<float>()[0] =
            constant->data<float>()[constant->size() == 1 ? 0 : static_cast<size_t>(channel)];
        return one;
      }
      Tensor y(DType::kF32, {256});
      const auto dequantize = [&](const std::vector<int>& q, float scale, int32_t zero) {
        for (size_t i = 0; i < 256; ++i)
          y.data<float>()[i] = num::fp::Dequantize(q[i], zero, scale);
        return y;
      };
      if (id == leaf) {
        const ir::TensorInfo& t = l.g_.tensor(codes);
        return dequantize(LeafCodes(), t.quant->scale, t.quant->zero_point);
      }
      const FlatNode& node = *l.Producer(id);
      if (node.op == "DequantizeLinear") {
        const Params p = l.ParamsOf(node);
        return dequantize(Int(node.inputs[0]), p.scale, p.zero);
      }
      if (node.op == "Cast") {
        const std::vector<int> q = Int(node.inputs[0]);
        for (size_t i = 0; i < 256; ++i) y.data<float>()[i] = static_cast<float>(q[i]);
        return y;
      }
      std::vector<Tensor> arguments;
      std::vector<const Tensor*> inputs;
      arguments.reserve(node.inputs.size());
      for (ValueId input : node.inputs) {
        if (input == kAbsent) {
          inputs.push_back(nullptr);
          continue;
        }
        arguments.push_back(Float(input));
        inputs.push_back(&arguments.back());
      }
      auto result = ir::EvaluateHost(l.HostOp(node), inputs, DType::kF32, {256});
      if (!result) Refuse("{}: {}", l.Describe(node), result.error().message);
      return std::move(*result);
    }
  };

  // --- float values
  // --------------------------------------------------------------------------------------------------

  TensorId Output(ValueId id) {
    const Value v = m_.value(id);
    if (IsCodeType(v.dtype)) return Codes(id, std::nullopt);
    if (v.constant && !v.quant) return NewConstant(v.name, *v.constant, std::nullopt);
    return Float(id);
  }

  TensorId Float(ValueId id) {
    if (const auto it = floats_.find(id); it != floats_.end()) return it->second;
    const DepthGuard guard(*this, m_.value(id).name);
    const TensorId t = MakeFloat(id);
    floats_[id] = t;
    return t;
  }

  TensorId MakeFloat(ValueId id) {
    if (const auto constant = m_.Constant(id))
      return NewConstant(m_.value(id).name, *constant, std::nullopt);
    const Value v = m_.value(id);
    if (v.is_input) return input_tensors_.at(id);
    if (IsCodeType(v.dtype)) return Codes(id, std::nullopt);
    const FlatNode& node = *Producer(id);
    if (const auto codes = TryCodes(id)) {
      std::vector<std::string> nodes;
      if (node.op == "DequantizeLinear") nodes.push_back(node.name);
      return Emit(ir::Dequantize{}, {*codes}, NewTensor(v.name, DType::kF32, v.shape, std::nullopt),
                  nodes, "turns codes into float values");
    }
    if (const auto t = FloatAccumulator(id)) return *t;
    if (node.op == "MatMulInteger") return IntegerMatMul(node, v);
    if (MovementOps().count(node.op) && node.op != "MaxPool" && node.op != "GlobalMaxPool" &&
        node.op != "Pad" &&
        !((node.op == "Resize" || node.op == "Upsample") && ResizeOf(m_, node).mode != "nearest")) {
      std::vector<TensorId> inputs;
      for (size_t i = 0; i < (node.op == "Concat" ? node.inputs.size() : 1); ++i)
        inputs.push_back(Float(node.inputs[i]));
      return Move(node, id, inputs, std::nullopt);
    }
    return HostStep(node, id, v);
  }

  // N11: raw accumulators on the device, scaled on the host.
  std::optional<TensorId> FloatAccumulator(ValueId id) {
    const auto unit = FindAccumulator(id);
    if (!unit) return std::nullopt;
    const auto x = TryCodes(unit->input);
    if (!x || g_.tensor(*x).is_constant()) return std::nullopt;
    const Value v = m_.value(id);
    const float sx = g_.tensor(*x).quant->scale;
    // A float bias is added after scaling, an int32 bias before.
    AccumulatorUnit raw = *unit;
    const bool quantized_bias = unit->bias != kAbsent && m_.value(unit->bias).quant &&
                                m_.value(unit->bias).quant->codes->dtype == DType::kS32;
    if (!quantized_bias) raw.bias = kAbsent;
    const Accumulator acc = MakeAccumulator(raw, *g_.tensor(*x).quant);
    const std::vector<std::string> nodes = UnitNodes(*unit, {});
    const TensorId sums =
        EmitAccumulator(*unit, *x, acc, std::nullopt, {}, nodes, v.name + "/accumulator");
    ir::ScaleAccumulator scale;
    scale.axis = unit->node->op == "Conv" ? 1 : static_cast<int64_t>(v.shape.size()) - 1;
    for (float sw : acc.weight_scales)
      scale.scales.push_back(acc.alpha == 1.0f ? sx * sw : acc.alpha * sx * sw);
    if (unit->bias != kAbsent && !quantized_bias) {
      const auto values = m_.Constant(unit->bias);
      const float beta = unit->node->op == "Gemm" && unit->bias == unit->node->Input(2)
                             ? unit->node->Float("beta", 1.0f)
                             : 1.0f;
      for (int64_t c = 0; c < acc.channels; ++c)
        scale.bias.push_back(
            values->data<float>()[values->size() == 1 ? 0 : static_cast<size_t>(c)] * beta);
    }
    return Emit(scale, {sums}, NewTensor(v.name, DType::kF32, v.shape, std::nullopt), nodes,
                "no output quantization: accumulators are scaled to float (N11)");
  }

  TensorId IntegerMatMul(const FlatNode& node, const Value& v) {
    const auto zero = [&](size_t i, DType type) -> std::vector<int32_t> {
      if (node.Input(i) == kAbsent) return {0};
      const auto c = m_.Constant(node.Input(i));
      if (!c || c->dtype != type)
        Refuse("{}: its zero point is not a constant of its operand's type", Describe(node));
      const Tensor wide = CastTensor(*c, DType::kS32);
      return {wide.data<int32_t>().begin(), wide.data<int32_t>().end()};
    };
    const Value a = m_.value(node.inputs[0]);
    const auto b = m_.Constant(node.inputs[1]);
    if (!b || b->shape.size() != 2 || !IsCodeType(b->dtype) || !IsCodeType(a.dtype))
      Refuse("{}: 8-bit operands and constant weights [K,N] are required", Describe(node));
    const auto za = zero(2, a.dtype);
    if (za.size() != 1) Refuse("{}: a zero point per row is not supported", Describe(node));
    const TensorId x = Codes(node.inputs[0], ir::Quantization{1.0f, za[0]});
    ir::Gemm gemm;
    gemm.weights.dtype = b->dtype;
    gemm.weights.codes = b->bytes;
    gemm.weights.zero_points = zero(3, b->dtype);
    const auto n = static_cast<size_t>(b->shape[1]);
    if (gemm.weights.zero_points.size() == 1)
      gemm.weights.zero_points.assign(n, gemm.weights.zero_points[0]);
    if (gemm.weights.zero_points.size() != n)
      Refuse("{}: its zero points do not fit", Describe(node));
    gemm.bias.assign(n, 0);
    return Emit(gemm, {x}, NewTensor(v.name, DType::kS32, v.shape, std::nullopt), {node.name});
  }

  // The operator with its attributes as the newest opset has them; constant integer inputs become
  // attributes.
  ir::HostFloat HostOp(const FlatNode& node) {
    ir::HostFloat host{node.op, {}};
    const auto copy_float = [&](const char* key) {
      if (node.Has(key)) host.attributes[key] = node.Float(key, 0);
    };
    const auto copy_int = [&](const char* key) {
      if (node.Has(key)) host.attributes[key] = node.Int(key, 0);
    };
    const auto copy_ints = [&](const char* key) {
      if (node.Has(key)) host.attributes[key] = node.Ints(key);
    };
    if (ir::IsUnary(node.op)) {
      for (const char* key : {"alpha", "beta", "gamma", "bias", "lambd"}) copy_float(key);
      if (node.op == "Clip") {
        const auto bounds = ClipBounds(node);
        if (!bounds) Refuse("{}: its bounds are not scalar constants", Describe(node));
        if (bounds->first != -std::numeric_limits<float>::infinity())
          host.attributes["min"] = bounds->first;
        if (bounds->second != std::numeric_limits<float>::infinity())
          host.attributes["max"] = bounds->second;
      }
      if (node.Has("approximate"))
        host.attributes["approximate"] = node.String("approximate", "none");
      return host;
    }
    const size_t rank = node.Input(0) == kAbsent ? 0 : m_.value(node.inputs[0]).shape.size();
    if (node.op == "Softmax" || node.op == "LogSoftmax") {
      const int64_t axis = NormalizeAxis(node.Int("axis", node.opset < 13 ? 1 : -1), rank, node);
      if (node.opset < 13 && !LastAxisOnly(m_.value(node.inputs[0]).shape, axis))
        Refuse("{}: softmax over several axes (opset below 13) is not supported", Describe(node));
      host.attributes["axis"] = axis;
    } else if (node.op == "ArgMax" || node.op == "ArgMin") {
      host.attributes["axis"] = NormalizeAxis(node.Int("axis", 0), rank, node);
      copy_int("select_last_index");
    } else if (node.op == "Gather") {
      host.attributes["axis"] = NormalizeAxis(node.Int("axis", 0), rank, node);
    } else if (node.op.starts_with("Reduce")) {
      host.attributes["axes"] = ReduceAxes(m_, node);
    } else if (node.op == "BatchNormalization" || node.op == "InstanceNormalization" ||
               node.op == "LayerNormalization") {
      copy_float("epsilon");
      if (node.op == "LayerNormalization")
        host.attributes["axis"] = NormalizeAxis(node.Int("axis", -1), rank, node);
    } else if (node.op == "Gemm") {
      for (const char* key : {"alpha", "beta"}) copy_float(key);
      for (const char* key : {"transA", "transB"}) copy_int(key);
    } else if (node.op == "Conv" || node.op == "MaxPool" || node.op == "AveragePool") {
      const Shape& x = m_.value(node.inputs[0]).shape;
      std::array<int64_t, 2> kernel{};
      if (node.op == "Conv") {
        const Shape& w = m_.value(node.inputs[1]).shape;
        kernel = {w[2], w[3]};
        host.attributes["group"] = node.Int("group", 1);
      } else {
        const auto list = node.Ints("kernel_shape");
        kernel = {list[0], list[1]};
      }
      const Window w = WindowOf(node, x, kernel);
      host.attributes["kernel_shape"] = std::vector<int64_t>(w.kernel.begin(), w.kernel.end());
      host.attributes["strides"] = std::vector<int64_t>(w.strides.begin(), w.strides.end());
      host.attributes["dilations"] = std::vector<int64_t>(w.dilations.begin(), w.dilations.end());
      host.attributes["pads"] = std::vector<int64_t>(w.pads.begin(), w.pads.end());
      if (node.op == "AveragePool") copy_int("count_include_pad");
    } else if (node.op == "ConvTranspose") {
      for (const char* key : {"strides", "dilations", "pads"}) copy_ints(key);
      copy_int("group");
    } else if (node.op == "Resize" || node.op == "Upsample") {
      const ResizeSpec spec = ResizeOf(m_, node);
      if (spec.mode != "linear")
        Refuse("{}: mode '{}' is not supported; use nearest or linear", Describe(node), spec.mode);
      host.op = "Resize";
      host.attributes["mode"] = spec.mode;
      host.attributes["scales"] = spec.scales;
      host.attributes["coordinate_transformation_mode"] = spec.coordinates;
    } else if (node.op == "Pad") {
      const auto [before, after] = PadsOf(m_, node);
      for (size_t i = 0; i < before.size(); ++i)
        if (before[i] < 0 || after[i] < 0)
          Refuse("{}: negative pads of float values are not supported", Describe(node));
      host.attributes["before"] = before;
      host.attributes["after"] = after;
      host.attributes["mode"] = static_cast<int64_t>(PadModeOf(node));
      host.attributes["value"] = FloatPadValue(node);
    }
    return host;
  }

  TensorId HostStep(const FlatNode& node, ValueId id, const Value& v) {
    const ir::HostOperator* known =
        ir::FindHostOperator(node.op == "Upsample" ? "Resize" : node.op);
    if (!known)
      Refuse(
          "{}: {} of values that are not quantized is neither a device nor a host operator (see "
          "`octile ops`)",
          Describe(node), node.op);
    if (node.outputs[0] != id) Refuse("{}: only its first output is supported", Describe(node));
    const bool casts = node.op == "Cast";
    if (!casts && v.dtype != DType::kF32 && node.op != "ArgMax" && node.op != "ArgMin")
      Refuse("{}: {} values at run time are not supported", Describe(node), DTypeName(v.dtype));
    std::vector<TensorId> inputs;
    size_t count = node.inputs.size();
    // Lists that became attributes are no operands.
    if (node.op.starts_with("Reduce") || node.op == "Clip" || node.op == "Pad" ||
        node.op == "Resize" || node.op == "Upsample")
      count = 1;
    for (size_t i = 0; i < count; ++i) {
      if (node.inputs[i] == kAbsent) Refuse("{}: input {} is missing", Describe(node), i);
      const DType type = m_.value(node.inputs[i]).dtype;
      const bool index = node.op == "Gather" && i == 1;
      if (index && !m_.Constant(node.inputs[i]))
        Refuse("{}: its indices are computed at run time", Describe(node));
      if (!casts && !index && type != DType::kF32)
        Refuse("{}: {} operands at run time are not supported", Describe(node), DTypeName(type));
      if (index && type != DType::kS64 && type != DType::kS32)
        Refuse("{}: its indices are {}", Describe(node), DTypeName(type));
      inputs.push_back(Float(node.inputs[i]));
    }
    return Emit(HostOp(node), inputs, NewTensor(v.name, v.dtype, v.shape, std::nullopt),
                {node.name}, std::string(known->reason));
  }

  FlatModel m_;
  const ImportOptions& options_;
  ir::Graph g_;
  std::map<ValueId, TensorId> input_tensors_;
  std::set<std::string> tensor_names_;
  std::map<std::string, int64_t> name_suffixes_;
  std::map<std::tuple<ValueId, bool, uint32_t, int32_t>, TensorId> codes_;
  std::map<ValueId, std::optional<TensorId>> exact_;
  std::map<std::tuple<ValueId, DType, uint32_t, int32_t, int32_t, int32_t>, TensorId> quantized_;
  std::map<ValueId, TensorId> floats_;
  std::set<std::string> warned_;
  int depth_ = 0;
};

}  // namespace

ImportResult Lower(FlatModel model, const ImportOptions& options) {
  return Lowerer(std::move(model), options).Run();
}

}  // namespace octile::frontend
