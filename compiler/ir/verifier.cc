// The rules of graph.h, checked one by one.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "octile/ir/graph.h"
#include "octile/ir/host_ops.h"

namespace octile::ir {
namespace {

struct Invalid {
  std::string message;
};

class Verifier {
 public:
  explicit Verifier(const Graph& graph) : g_(graph) {}

  void Run() {
    std::set<std::string> names;
    for (const TensorInfo& t : g_.tensors) {
      if (!names.insert(t.name).second) Bad(fmt::format("tensor '{}' is defined twice", t.name));
      CheckTensor(t);
    }
    std::vector<char> defined(g_.tensors.size(), 0);
    std::vector<char> is_input(g_.tensors.size(), 0);
    for (size_t i = 0; i < g_.tensors.size(); ++i) defined[i] = g_.tensors[i].is_constant();
    for (TensorId id : g_.inputs) {
      CheckId(id, "graph inputs");
      if (defined[Index(id)])
        Bad(fmt::format("tensor '{}' is an input and a constant, or an input twice",
                        g_.tensor(id).name));
      defined[Index(id)] = 1;
      is_input[Index(id)] = 1;
    }
    std::set<std::string> steps;
    for (const Step& step : g_.steps) {
      where_ = fmt::format("step '{}' ({})", step.name, OpName(step.op));
      if (!steps.insert(step.name).second) Bad("its name is used twice");
      if (step.inputs.empty()) Bad("it has no inputs");
      for (TensorId id : step.inputs) {
        CheckId(id, where_);
        if (!defined[Index(id)])
          Bad(fmt::format("it reads '{}' before that is computed", g_.tensor(id).name));
      }
      CheckId(step.output, where_);
      if (defined[Index(step.output)])
        Bad(fmt::format("it writes '{}' again", g_.tensor(step.output).name));
      step_ = &step;
      std::visit([&](const auto& op) { Check(op); }, step.op);
      defined[Index(step.output)] = 1;
    }
    where_.clear();
    for (size_t i = 0; i < defined.size(); ++i)
      if (!defined[i]) Bad(fmt::format("tensor '{}' is computed by no step", g_.tensors[i].name));
    if (g_.outputs.empty()) Bad("the graph has no outputs");
    std::set<std::string> outputs;
    for (const Output& output : g_.outputs) {
      CheckId(output.tensor, fmt::format("output '{}'", output.name));
      if (!outputs.insert(output.name).second)
        Bad(fmt::format("output '{}' is defined twice", output.name));
    }
  }

 private:
  [[noreturn]] void Bad(const std::string& what) const {
    throw Invalid{where_.empty() ? what : where_ + ": " + what};
  }
  void Require(bool ok, const std::string& what) const {
    if (!ok) Bad(what);
  }

  static size_t Index(TensorId id) { return static_cast<size_t>(id); }
  void CheckId(TensorId id, const std::string& where) const {
    if (id < 0 || Index(id) >= g_.tensors.size())
      throw Invalid{fmt::format("{}: tensor {} does not exist", where, id)};
  }

  void CheckTensor(const TensorInfo& t) {
    where_ = fmt::format("tensor '{}'", t.name);
    Require(t.shape.size() <= 6, "its rank is more than 6");
    for (int64_t d : t.shape)
      Require(d >= 1 || t.is_constant(),
              fmt::format("shape {} has an empty dimension", ShapeName(t.shape)));
    Require(ElementCount(t.shape) <= int64_t{1} << 40, "it is too large");
    if (t.quant) {
      Require(t.is_code(), "only u8 and s8 tensors are quantized");
      Require(std::isnormal(t.quant->scale) && t.quant->scale > 0,
              "its scale is not a positive normal number");
      const CodeRange range = FullRange(t.dtype);
      Require(t.quant->zero_point >= range.lo && t.quant->zero_point <= range.hi,
              "its zero point is outside the type");
    }
    if (t.constant)
      Require(
          static_cast<int64_t>(t.constant->size()) == ElementCount(t.shape) * DTypeSize(t.dtype),
          "its data does not have the length of its shape");
    where_.clear();
  }

  const TensorInfo& In(size_t i = 0) const { return g_.tensor(step_->inputs[i]); }
  const TensorInfo& Out() const { return g_.tensor(step_->output); }
  void Inputs(size_t n) const {
    Require(step_->inputs.size() == n,
            fmt::format("it has {} inputs, not {}", step_->inputs.size(), n));
  }
  void Quantized(const TensorInfo& t) const {
    Require(t.is_code() && t.quant.has_value(), fmt::format("'{}' has no quantization", t.name));
  }
  void Clamp(const CodeRange& c) const {
    const CodeRange range = FullRange(Out().dtype);
    Require(c.lo >= range.lo && c.hi <= range.hi && c.lo <= c.hi,
            fmt::format("the clamp [{}, {}] does not fit {}", c.lo, c.hi, DTypeName(Out().dtype)));
  }
  void OutShape(const Shape& shape) const {
    Require(Out().shape == shape, fmt::format("its output has shape {}, not {}",
                                              ShapeName(Out().shape), ShapeName(shape)));
  }
  void Multipliers(const std::vector<float>& m, int64_t channels) const {
    for (float v : m)
      Require(v == 0 || (std::isnormal(v) && v > 0 && v <= 512.0f),
              "a multiplier is outside [0, 2^9] or subnormal");
    Require(static_cast<int64_t>(m.size()) == channels,
            "it does not have one multiplier per channel");
  }

  void Accumulator(const Weights& w, const std::vector<int32_t>& bias, const std::vector<float>& m,
                   const CodeRange& clamp, int64_t channels, int64_t codes) const {
    Inputs(1);
    Quantized(In());
    Require(w.dtype == DType::kU8 || w.dtype == DType::kS8, "its weights are not 8-bit codes");
    Require(static_cast<int64_t>(w.codes.size()) == codes,
            fmt::format("it has {} weights, not {}", w.codes.size(), codes));
    Require(static_cast<int64_t>(w.zero_points.size()) == channels,
            "it does not have one weight zero point per channel");
    const CodeRange range = FullRange(w.dtype);
    for (int32_t z : w.zero_points)
      Require(z >= range.lo && z <= range.hi, "a weight zero point is outside the type");
    Require(static_cast<int64_t>(bias.size()) == channels, "it does not have one bias per channel");
    if (Out().dtype == DType::kS32) {
      Require(m.empty(), "raw accumulators have no multipliers");
      return;
    }
    Quantized(Out());
    Multipliers(m, channels);
    Clamp(clamp);
  }

  void Geometry(const std::array<int64_t, 2>& kernel, const std::array<int64_t, 2>& strides,
                const std::array<int64_t, 2>& dilations, const std::array<int64_t, 4>& pads,
                bool exact) const {
    const Shape& x = In().shape;
    const Shape& y = Out().shape;
    Require(x.size() == 4 && y.size() == 4, "it needs [N,C,H,W]");
    for (size_t i = 0; i < 2; ++i) {
      for (int64_t v : {kernel[i], strides[i], dilations[i]})
        Require(v >= 1 && v <= 1 << 21, "kernel, stride or dilation is out of range");
      Require(pads[i] >= 0 && pads[i + 2] >= 0 && pads[i] <= 1 << 21 && pads[i + 2] <= 1 << 21,
              "a pad is out of range");
      const int64_t extent = (kernel[i] - 1) * dilations[i] + 1;
      const int64_t room = x[i + 2] + pads[i] + pads[i + 2] - extent;
      Require(room >= 0, "its kernel does not fit the padded image");
      const int64_t size = room / strides[i] + 1;
      const bool ceil = !exact && y[i + 2] == size + 1 && room % strides[i] != 0;
      Require(y[i + 2] == size || ceil,
              fmt::format("its output has shape {}, {} rows or columns fit", ShapeName(y), size));
    }
  }

  void Check(const Conv& op) const {
    Require(!step_->inputs.empty() && In().shape.size() == 4 && Out().shape.size() == 4,
            "it needs [N,C,H,W]");
    const Shape& x = In().shape;
    const Shape& y = Out().shape;
    Require(op.group >= 1 && x[1] % op.group == 0 && y[1] % op.group == 0,
            "its group does not divide the channels");
    Geometry(op.kernel, op.strides, op.dilations, op.pads, true);
    Require(x[0] == y[0], "its batch changes");
    Accumulator(op.weights, op.bias, op.multipliers, op.clamp, y[1],
                y[1] * (x[1] / op.group) * op.kernel[0] * op.kernel[1]);
  }
  void Check(const Gemm& op) const {
    Require(In().shape.size() >= 2 && Out().shape.size() == In().shape.size(),
            "it needs [...,K] and [...,N]");
    Shape shape = In().shape;
    shape.back() = Out().shape.back();
    OutShape(shape);
    Accumulator(op.weights, op.bias, op.multipliers, op.clamp, shape.back(),
                In().shape.back() * shape.back());
  }
  void Check(const GlobalAveragePool& op) const {
    Inputs(1);
    Quantized(In());
    Quantized(Out());
    const Shape& x = In().shape;
    Require(x.size() == 4, "it needs [N,C,H,W]");
    if (Out().shape.size() != 2) OutShape({x[0], x[1], 1, 1});
    if (Out().shape.size() == 2) OutShape({x[0], x[1]});
    Multipliers({op.multiplier}, 1);
    Clamp(op.clamp);
  }
  void Check(const Table&) const {
    Inputs(1);
    Require(In().is_code() && Out().is_code(), "it maps 8-bit codes to 8-bit codes");
    OutShape(In().shape);
  }
  void Check(const MaxPool& op) const {
    Moves(1);
    Geometry(op.kernel, op.strides, op.dilations, op.pads, false);
    OutShape({In().shape[0], In().shape[1], Out().shape[2], Out().shape[3]});
  }
  void Check(const AveragePool& op) const {
    Inputs(1);
    Quantized(In());
    Quantized(Out());
    Geometry(op.kernel, op.strides, op.dilations, op.pads, false);
    OutShape({In().shape[0], In().shape[1], Out().shape[2], Out().shape[3]});
    Clamp(op.clamp);
    const CodeRange range = FullRange(Out().dtype);
    int64_t divisor = 0;
    for (const IntegerAverage& form : op.integer) {
      Require(form.divisor > divisor, "its divisors do not ascend");
      divisor = form.divisor;
      Multipliers({form.multiplier}, 1);
      Require(form.zero_point >= range.lo && form.zero_point <= range.hi,
              "a zero point of its integer form is outside the type");
    }
  }
  void Pair(const CodeRange& clamp) const {
    Inputs(2);
    Quantized(In(0));
    Quantized(In(1));
    Quantized(Out());
    const auto shape = BroadcastShape(In(0).shape, In(1).shape);
    Require(shape.has_value(), "its operands cannot be broadcast");
    OutShape(*shape);
    Clamp(clamp);
  }
  void Check(const Add& op) const {
    Pair(op.clamp);
    Require(std::isfinite(op.ra) && std::isfinite(op.rb) && std::isfinite(op.f),
            "a constant is not finite");
  }
  void Check(const Mul& op) const {
    Pair(op.clamp);
    Require(std::isfinite(op.r) && op.r >= 0, "its ratio is negative or not finite");
  }
  void Check(const Affine& op) const {
    Inputs(1);
    Quantized(In());
    Quantized(Out());
    Require(In().shape.size() >= 2, "it needs [N,C,...]");
    OutShape(In().shape);
    for (const auto* list : {&op.factors, &op.offsets}) {
      Require(static_cast<int64_t>(list->size()) == In().shape[1],
              "it does not have one factor and one offset per channel");
      for (const float v : *list) Require(std::isfinite(v), "a constant is not finite");
    }
    Clamp(op.clamp);
  }
  void Moves(size_t inputs) const {
    Inputs(inputs);
    for (size_t i = 0; i < inputs; ++i)
      Require(In(i).same_encoding(Out()),
              fmt::format("'{}' and its output differ in type or quantization", In(i).name));
  }
  void Check(const Concat& op) const {
    Moves(step_->inputs.size());
    Shape shape = In().shape;
    Require(op.axis >= 0 && op.axis < static_cast<int64_t>(shape.size()),
            "its axis is out of range");
    const auto axis = static_cast<size_t>(op.axis);
    shape[axis] = 0;
    for (size_t i = 0; i < step_->inputs.size(); ++i) {
      Shape other = In(i).shape;
      Require(other.size() == shape.size(), "its inputs have different ranks");
      shape[axis] += other[axis];
      other[axis] = shape[axis];
      Require(other == shape, fmt::format("'{}' does not fit", In(i).name));
    }
    OutShape(shape);
  }
  void Check(const Slice& op) const {
    Moves(1);
    const Shape& x = In().shape;
    const Shape& y = Out().shape;
    Require(op.starts.size() == x.size() && op.steps.size() == x.size() && y.size() == x.size(),
            "it needs one start and step per axis");
    for (size_t i = 0; i < x.size(); ++i) {
      Require(std::abs(op.steps[i]) <= int64_t{1} << 40, "a step is out of range");
      const int64_t last = op.starts[i] + (y[i] - 1) * op.steps[i];
      Require(
          op.steps[i] != 0 && op.starts[i] >= 0 && op.starts[i] < x[i] && last >= 0 && last < x[i],
          fmt::format("axis {} leaves the input", i));
    }
  }
  void Check(const Pad& op) const {
    Moves(1);
    Require(In().is_code(), "it pads codes only");
    const Shape& x = In().shape;
    Require(op.before.size() == x.size() && op.after.size() == x.size(),
            "it needs two pads per axis");
    Shape shape = x;
    for (size_t i = 0; i < x.size(); ++i) {
      Require(op.before[i] >= 0 && op.after[i] >= 0 && op.before[i] <= int64_t{1} << 40 &&
                  op.after[i] <= int64_t{1} << 40,
              "a pad is out of range");
      shape[i] += op.before[i] + op.after[i];
      if (op.mode == PadMode::kReflect)
        Require(op.before[i] < x[i] && op.after[i] < x[i], "it reflects more than there is");
    }
    OutShape(shape);
    const CodeRange range = FullRange(Out().dtype);
    Require(op.value >= range.lo && op.value <= range.hi, "its value is no code");
  }
  void Check(const ResizeNearest& op) const {
    Moves(1);
    const Shape& x = In().shape;
    Require(x.size() == 4, "it needs [N,C,H,W]");
    OutShape({x[0], x[1], static_cast<int64_t>(op.rows.size()),
              static_cast<int64_t>(op.columns.size())});
    for (int64_t i : op.rows) Require(i >= 0 && i < x[2], "a row is out of range");
    for (int64_t i : op.columns) Require(i >= 0 && i < x[3], "a column is out of range");
  }
  void Check(const Transpose& op) const {
    Moves(1);
    const Shape& x = In().shape;
    Require(op.perm.size() == x.size(), "perm does not fit");
    Shape shape;
    std::vector<char> seen(x.size(), 0);
    for (int64_t p : op.perm) {
      Require(p >= 0 && p < static_cast<int64_t>(x.size()) && !seen[static_cast<size_t>(p)],
              "perm is not a permutation");
      seen[static_cast<size_t>(p)] = 1;
      shape.push_back(x[static_cast<size_t>(p)]);
    }
    OutShape(shape);
  }
  void Check(const Reshape&) const {
    Moves(1);
    Require(ElementCount(In().shape) == ElementCount(Out().shape),
            "it changes the number of elements");
  }
  void HostOnly() const { Require(!step_->device_capable(), "it is a host step without a reason"); }
  void Check(const Quantize&) const {
    Inputs(1);
    HostOnly();
    Require(In().dtype == DType::kF32, "its input is not f32");
    Quantized(Out());
    OutShape(In().shape);
  }
  void Check(const Dequantize&) const {
    Inputs(1);
    HostOnly();
    Quantized(In());
    Require(Out().dtype == DType::kF32, "its output is not f32");
    OutShape(In().shape);
  }
  void Check(const ScaleAccumulator& op) const {
    Inputs(1);
    HostOnly();
    Require(In().dtype == DType::kS32 && Out().dtype == DType::kF32, "it turns s32 into f32");
    OutShape(In().shape);
    Require(op.axis >= 0 && op.axis < static_cast<int64_t>(In().shape.size()),
            "its axis is out of range");
    const auto channels = static_cast<size_t>(In().shape[static_cast<size_t>(op.axis)]);
    Require(op.scales.size() == channels, "it does not have one scale per channel");
    Require(op.bias.empty() || op.bias.size() == channels, "it does not have one bias per channel");
  }
  void Check(const Softmax& op) const {
    Inputs(1);
    HostOnly();
    Quantized(In());
    Quantized(Out());
    Require(In().dtype == Out().dtype, "its types differ");
    OutShape(In().shape);
    Require(op.axis >= 0 && op.axis < static_cast<int64_t>(In().shape.size()),
            "its axis is out of range");
  }
  void Check(const HostFloat& op) const {
    HostOnly();
    Require(FindHostOperator(op.op) != nullptr, "it is not in the list of host operators");
    Require(Out().dtype == DType::kF32 || Out().dtype == DType::kS64 || Out().dtype == DType::kS32,
            "its output has an unexpected type");
  }

  const Graph& g_;
  const Step* step_ = nullptr;
  std::string where_;
};

}  // namespace

Status Verify(const Graph& graph) {
  try {
    Verifier(graph).Run();
    return {};
  } catch (const Invalid& invalid) {
    return Fail(ErrorCode::kModel, invalid.message);
  }
}

}  // namespace octile::ir
