// The state and the steps of lowering, see lower.cc. Private to the frontend.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "model.h"
#include "octile/ir/host_ops.h"
#include "octile/ir/tensor_ops.h"
#include "octile/numerics/constants.h"
#include "octile/numerics/fp.h"
#include "octile/numerics/functions.h"
#include "octile/numerics/hw.h"

namespace octile::frontend {

namespace num = ::octile::numerics;
using ir::TensorId;

struct Params {
  DType type = DType::kU8;
  float scale = 1;
  int32_t zero = 0;
  ir::Quantization quant() const { return {scale, zero}; }
  auto operator<=>(const Params&) const = default;
};

inline num::CodeRange NumRange(DType type) { return type == DType::kS8 ? num::kS8 : num::kU8; }

inline const std::set<std::string>& MovementOps() {
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
};

class Lowerer {
 public:
  Lowerer(FlatModel model, const ImportOptions& options)
      : m_(std::move(model)), options_(options) {}
  ImportResult Run();

 private:
  // --- graph building ---

  TensorId NewTensor(std::string name, DType dtype, Shape shape,
                     std::optional<ir::Quantization> quant);

  TensorId NewConstant(const std::string& name, const Tensor& tensor,
                       std::optional<ir::Quantization> quant);

  TensorId Emit(ir::Op op, std::vector<TensorId> inputs, TensorId output,
                std::vector<std::string> nodes, std::string reason = {});

  void RemoveDeadSteps();

  // --- model access ---

  const FlatNode* Producer(ValueId id) const;

  // Per-tensor parameters of a Q or DQ on an activation.
  Params ParamsOf(const FlatNode& node);

  static bool IsCodeType(DType type) { return type == DType::kU8 || type == DType::kS8; }
  class DepthGuard {
   public:
    DepthGuard(Lowerer& l, const std::string& where) : l_(l) {
      if (++l_.depth_ > l_.options_.limits.depth * 4)
        Refuse("value '{}': the expression before it is nested too deeply", where);
    }
    ~DepthGuard() { --l_.depth_; }

   private:
    Lowerer& l_;
  };

  // --- codes ---

  // The tensor of an integer value of 8 bits; with `want` its codes are read with those parameters.
  TensorId Codes(ValueId id, std::optional<ir::Quantization> want);

  TensorId MakeCodes(ValueId id, std::optional<ir::Quantization> want);

  // The same codes under other parameters: an identity table gives them a tensor of their own.
  TensorId WithQuant(TensorId t, ir::Quantization quant);

  int32_t IntegerPadValue(const FlatNode& node, DType type);

  float FloatPadValue(const FlatNode& node);

  static ir::PadMode PadModeOf(const FlatNode& node);

  // The codes whose dequantization a float value exactly is, if there are such.
  std::optional<TensorId> TryCodes(ValueId id);

  std::optional<TensorId> MakeTryCodes(ValueId id);

  // One data movement step on tensors of one encoding (codes, or f32 with a host reason).
  // `name`: of the result; the value's own if empty.
  TensorId Move(const FlatNode& node, ValueId output, const std::vector<TensorId>& inputs,
                std::optional<int32_t> fill, const std::string& name = {});

  // Negative pads crop: a Slice before the Pad.
  TensorId MovePad(const FlatNode& node, const Value& v, TensorId x, int32_t fill);

  ir::ResizeNearest NearestOf(const FlatNode& node, const Shape& x);

  static std::vector<int64_t> NearestIndices(const FlatNode& node, const ResizeSpec& spec,
                                             size_t axis, int64_t in);

  // --- quantized units ---

  // The codes sat(RN(x/s) + z) of a float value, clamped to [range.lo, range.hi]. `nodes`: the
  // model's nodes already part of the unit, last first; `name`: of the resulting tensor.
  TensorId Quantized(ValueId x, const Params& p, ir::CodeRange range,
                     std::vector<std::string> nodes, const std::string& name);

  TensorId MakeQuantized(ValueId x, const Params& p, ir::CodeRange range,
                         std::vector<std::string> nodes, const std::string& name);

  static std::vector<std::string> Reversed(std::vector<std::string> nodes);

  // A clamp belongs to the integer unit before it; a float value in front keeps its Relu on the
  // host.
  bool CanFuseClamp(ValueId x);

  std::optional<std::pair<float, float>> ClipBounds(const FlatNode& node);

  // Q(move(x)) = move(Q(x)).
  TensorId MoveQuantized(const FlatNode& node, ValueId x, const Params& p, ir::CodeRange range,
                         const std::string& name);

  // N9.
  TensorId Rescaled(TensorId x, const Params& p, ir::CodeRange range,
                    const std::vector<std::string>& nodes, const std::string& name);

  TensorId EmitTable(const ir::Table& table, TensorId x, const Params& p, const Shape& shape,
                     const std::vector<std::string>& nodes, const std::string& name);

  // --- accumulators ---

  std::optional<AccumulatorUnit> FindAccumulator(ValueId x);

  static int64_t ChannelsOf(const AccumulatorUnit& unit, const Shape& w);

  // One value per output channel, or a scalar.
  bool BiasFits(const AccumulatorUnit& unit, ValueId bias);

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
  Accumulator MakeAccumulator(const AccumulatorUnit& unit, const ir::Quantization& x);

  std::vector<int32_t> MakeBias(const AccumulatorUnit& unit, const Accumulator& acc, float sx);

  // N1: accumulators wrap; say so when they can.
  void WarnOverflow(const AccumulatorUnit& unit, const Accumulator& acc);

  float Encoded(Expected<float> m, const FlatNode& node);

  // Emits the Conv or Gemm; `p` absent: raw accumulators.
  TensorId EmitAccumulator(const AccumulatorUnit& unit, TensorId x, const Accumulator& acc,
                           const std::optional<Params>& p, ir::CodeRange range,
                           const std::vector<std::string>& nodes, const std::string& name);

  std::vector<std::string> UnitNodes(const AccumulatorUnit& unit, std::vector<std::string> nodes);

  std::optional<TensorId> AccumulatorStep(ValueId v, const Params& p, ir::CodeRange range,
                                          const std::vector<std::string>& nodes,
                                          const std::string& name);

  // --- pools, pairs, softmax ---

  std::optional<TensorId> PoolStep(const FlatNode& node, const Params& p, ir::CodeRange range,
                                   const std::vector<std::string>& nodes, const std::string& name);

  // The operand that a scalar or broadcast value is becomes b (N6): input 0 gives way if it is
  // constant along the innermost axis of the broadcast and input 1 is not.
  static bool SwapsRoles(const Shape& a, const Shape& b, const Shape& shape);

  std::optional<TensorId> PairStep(const FlatNode& node, const Value& v, const Params& p,
                                   ir::CodeRange range, const std::vector<std::string>& nodes,
                                   const std::string& name);

  // BatchNormalization of codes with constant parameters (N13).
  std::optional<TensorId> NormalizationStep(const FlatNode& node, const Params& p,
                                            ir::CodeRange range,
                                            const std::vector<std::string>& nodes,
                                            const std::string& name);
  bool NormalizesCodes(const FlatNode& node);

  std::optional<TensorId> SoftmaxStep(const FlatNode& node, const Params& p, ir::CodeRange range,
                                      const std::vector<std::string>& nodes,
                                      const std::string& name);

  // Before opset 13 softmax ran over all axes from `axis` on.
  static bool LastAxisOnly(const Shape& shape, int64_t axis);

  // --- tables ---

  // A subgraph whose value depends on one code (N5). Leaves are values with codes of their own.
  struct Cone {
    std::set<ValueId> leaves;  // int values (code sources), or float values that TryCodes moves
    std::set<ValueId> inner;   // values inside
    int64_t channels = 1;      // > 1: constants per channel
    bool valid = true;
  };
  static constexpr size_t kConeLimit = 400;
  static constexpr int64_t kChannelTables = 4;
  bool IsLeafFloat(ValueId id);

  // Adds the expression of `id` (float or integer) to the cone. `expanded`: Q outputs that are not
  // leaves but looked through.
  void Grow(Cone& cone, ValueId id, const Shape& shape, const std::set<ValueId>& expanded,
            bool per_channel);

  std::optional<TensorId> TryTable(ValueId x, const Params& p, ir::CodeRange range,
                                   const std::vector<std::string>& nodes, const std::string& name,
                                   bool per_channel);

  // Evaluates a cone for all 256 codes of its leaf at once.
  struct ConeEvaluator;

  // --- float values ---

  TensorId Output(ValueId id);

  TensorId Float(ValueId id);

  TensorId MakeFloat(ValueId id);

  // N11: raw accumulators on the device, scaled on the host.
  std::optional<TensorId> FloatAccumulator(ValueId id);

  TensorId IntegerMatMul(const FlatNode& node, const Value& v);

  // The operator with its attributes as the newest opset has them; constant integer inputs become
  // attributes.
  ir::HostFloat HostOp(const FlatNode& node);

  TensorId HostStep(const FlatNode& node, ValueId id, const Value& v);

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

}  // namespace octile::frontend
