// The flat model: one list of nodes in execution order, every value with its type, shape and, if it
// has one, constant.
#pragma once

#include <onnx/onnx_pb.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "octile/frontend/importer.h"
#include "octile/support/tensor.h"
#include "refusal.h"

namespace octile::frontend {

using ValueId = int32_t;
inline constexpr ValueId kAbsent = -1;

// A constant that is the dequantization of integer codes: what a weight or bias is.
struct QuantConstant {
  std::shared_ptr<const Tensor> codes;  // u8, s8 or s32
  std::vector<float> scales;            // one, or one per index of `axis`
  std::vector<int32_t> zero_points;     // as many as scales
  int64_t axis = 0;                     // meaningful if there are several scales
};

struct Value {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  std::shared_ptr<const Tensor> constant;  // set if the value is known at import
  std::shared_ptr<const QuantConstant> quant;
  int32_t producer = -1;  // index into FlatModel::nodes; -1 for inputs and constants
  bool is_input = false;
};

using AttributeMap = std::map<std::string, const onnx::AttributeProto*>;

struct FlatNode {
  std::string name;  // the ONNX name, made up from the operator and an index if it has none
  std::string op;
  std::string domain;  // "" for ai.onnx
  int64_t opset = 0;   // of the domain
  AttributeMap attributes;
  std::vector<ValueId> inputs;  // kAbsent for an omitted optional input
  std::vector<ValueId> outputs;

  bool Has(const std::string& key) const { return attributes.count(key) > 0; }
  int64_t Int(const std::string& key, int64_t fallback) const;
  float Float(const std::string& key, float fallback) const;
  std::string String(const std::string& key, const std::string& fallback) const;
  std::vector<int64_t> Ints(const std::string& key) const;
  std::vector<float> Floats(const std::string& key) const;
  ValueId Input(size_t i) const { return i < inputs.size() ? inputs[i] : kAbsent; }
};

struct FlatModel {
  std::string name;
  std::vector<Value> values;
  std::vector<FlatNode> nodes;
  std::vector<ValueId> inputs;
  std::vector<std::pair<std::string, ValueId>> outputs;
  std::vector<std::string> notes;

  Value& value(ValueId id) { return values[static_cast<size_t>(id)]; }
  const Value& value(ValueId id) const { return values[static_cast<size_t>(id)]; }
  // Whether a value is constant; without the cost of its data.
  bool IsConstant(ValueId id) const {
    return id != kAbsent && (value(id).constant || value(id).quant);
  }
  // The constant data of a value, or nullptr. Dequantizes quantized constants on demand, and keeps
  // the result: 4 bytes for each weight.
  std::shared_ptr<const Tensor> Constant(ValueId id);
};

// Where external data comes from.
class ExternalData {
 public:
  ExternalData(std::filesystem::path folder, int64_t limit)
      : folder_(std::move(folder)), left_(limit) {}
  // The bytes of one tensor; `location` is relative to the folder. length -1: to the end of the
  // file.
  std::vector<uint8_t> Read(const std::string& tensor, const std::string& location, int64_t offset,
                            int64_t length);

 private:
  std::filesystem::path folder_;
  int64_t left_;
};

// loader.cc
std::vector<uint8_t> ReadModelFile(const std::filesystem::path& file, int64_t limit);
std::unique_ptr<onnx::ModelProto> ParseModel(std::span<const uint8_t> bytes,
                                             const ImportLimits& limits);
// Checks type, dimensions and length; `what` names the tensor in errors.
Tensor LoadTensor(const onnx::TensorProto& proto, const std::string& what, ExternalData& external,
                  const ImportLimits& limits);
// Refuses types that no rule covers, by name.
DType ToDType(int onnx_type, const std::string& what);

// flatten.cc
FlatModel Flatten(const onnx::ModelProto& proto, ExternalData& external,
                  const ImportOptions& options);

// infer.cc: dtypes and shapes of a node's outputs from its inputs.
struct ValueType {
  DType dtype = DType::kF32;
  Shape shape;
};
std::vector<ValueType> InferTypes(FlatModel& model, const FlatNode& node);
// Explicit pads (top, left, bottom, right) of a convolution or pool whatever auto_pad says, and its
// output size.
struct Window {
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 2> dilations{1, 1};
  std::array<int64_t, 4> pads{};
  std::array<int64_t, 2> output{};
};
Window WindowOf(const FlatNode& node, const Shape& x, std::array<int64_t, 2> kernel);
// Axes and other integer lists that opsets moved from attributes to inputs. Empty if absent.
std::optional<std::vector<int64_t>> IntegerList(FlatModel& model, const FlatNode& node,
                                                size_t input, const std::string& attribute);
std::vector<int64_t> ConstantIntegers(FlatModel& model, ValueId id, const FlatNode& node,
                                      const char* what);
int64_t NormalizeAxis(int64_t axis, size_t rank, const FlatNode& node);
// Sorted, unique, non-negative; all axes if the list is absent.
std::vector<int64_t> ReduceAxes(FlatModel& model, const FlatNode& node);
// Start, step and extent of every axis of a Slice, clamped as ONNX defines it.
struct SliceRange {
  std::vector<int64_t> starts, steps, sizes;
};
SliceRange SliceOf(FlatModel& model, const FlatNode& node);
// Sizes of the parts of a Split.
std::vector<int64_t> SplitSizes(FlatModel& model, const FlatNode& node);
// Before and after of every axis of a Pad; may be negative.
std::pair<std::vector<int64_t>, std::vector<int64_t>> PadsOf(FlatModel& model,
                                                             const FlatNode& node);
// Scales and output shape of a Resize or Upsample.
struct ResizeSpec {
  std::vector<float> scales;
  Shape output;
  std::string mode, coordinates, nearest;
};
ResizeSpec ResizeOf(FlatModel& model, const FlatNode& node);

// fold.cc: the outputs of a node whose inputs are all constant, or nothing if the operator is not
// folded.
std::optional<std::vector<Tensor>> Fold(FlatModel& model, const FlatNode& node,
                                        const std::vector<ValueType>& types);
// Converts element types as ONNX's Cast does.
Tensor CastTensor(const Tensor& x, DType to);

// lower.cc
ImportResult Lower(FlatModel model, const ImportOptions& options);

}  // namespace octile::frontend
