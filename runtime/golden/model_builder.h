// Nodes, constants and unique names of the ONNX model under construction.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "octile/support/tensor.h"

namespace octile::golden {

// Name of a value in the model.
using Value = std::string;

using AttributeValue = std::variant<int64_t, float, std::string, std::vector<int64_t>>;
using Attributes = std::vector<std::pair<std::string, AttributeValue>>;

inline constexpr const char* kContrib = "com.microsoft";

onnx::TensorProto::DataType ToOnnxType(DType type);

class ModelBuilder {
 public:
  ModelBuilder();

  // Keeps a name from being given to anything else.
  void Reserve(const std::string& name) { names_.insert(name); }
  // `wish`, or `wish` with a number behind it if that is taken.
  std::string FreshName(const std::string& wish);

  // Nodes made from here on are named after `prefix`: the step.
  void BeginStep(const std::string& prefix);
  // Gives the result of the step its name: renames the output of the last node if that is
  // `result`, else adds an Identity. Returns the operators of the step.
  std::vector<std::string> EndStep(const Value& result, const Value& name, const std::string& doc);

  // One node with one output; empty input names are absent optional inputs.
  Value Node(const std::string& op, const std::vector<Value>& inputs,
             const Attributes& attributes = {}, const std::string& domain = "");

  // Constants; equal ones are shared.
  Value Constant(DType type, const Shape& shape, std::span<const uint8_t> bytes);
  Value Floats(std::span<const float> values, const Shape& shape);
  Value Ints(std::span<const int64_t> values);  // rank 1
  Value Int32s(std::span<const int32_t> values, const Shape& shape);
  Value Scalar(float value);
  Value ScalarDouble(double value);
  Value ScalarInt32(int32_t value);
  // One code of type kU8 or kS8.
  Value ScalarCode(DType type, int32_t code);
  // A constant under its own name, which must be unique.
  void NamedConstant(const std::string& name, DType type, const Shape& shape,
                     std::span<const uint8_t> bytes);

  Value Cast(const Value& x, DType type);
  Value Reshape(const Value& x, const Shape& shape);

  void Input(const std::string& name, DType type, const Shape& shape);
  void Output(const std::string& name, DType type, const Shape& shape);

  onnx::ModelProto& model() { return model_; }

 private:
  void Fill(onnx::TensorProto* tensor, const std::string& name, DType type, const Shape& shape,
            std::span<const uint8_t> bytes);

  onnx::ModelProto model_;
  onnx::GraphProto* graph_;
  std::set<std::string> names_;                   // of values
  std::set<std::string> node_names_;              // ONNX Runtime wants them unique, too
  std::map<std::string, std::string> constants_;  // type, shape and data -> name
  std::string prefix_;
  int first_node_ = 0;  // of the current step
};

}  // namespace octile::golden
