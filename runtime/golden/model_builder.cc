#include "model_builder.h"

#include <fmt/format.h>

#include <bit>

namespace octile::golden {

onnx::TensorProto::DataType ToOnnxType(DType type) {
  switch (type) {
    case DType::kU8:
      return onnx::TensorProto::UINT8;
    case DType::kS8:
      return onnx::TensorProto::INT8;
    case DType::kU16:
      return onnx::TensorProto::UINT16;
    case DType::kS16:
      return onnx::TensorProto::INT16;
    case DType::kS32:
      return onnx::TensorProto::INT32;
    case DType::kS64:
      return onnx::TensorProto::INT64;
    case DType::kF32:
      return onnx::TensorProto::FLOAT;
    case DType::kF64:
      return onnx::TensorProto::DOUBLE;
    case DType::kBool:
      return onnx::TensorProto::BOOL;
  }
  return onnx::TensorProto::UNDEFINED;
}

namespace {

template <class T>
std::span<const uint8_t> BytesOf(std::span<const T> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}

std::string Unused(std::set<std::string>& taken, const std::string& wish) {
  std::string name = wish;
  for (int i = 2; !taken.insert(name).second; ++i) name = fmt::format("{}#{}", wish, i);
  return name;
}

void Declare(onnx::ValueInfoProto* info, const std::string& name, DType type, const Shape& shape) {
  info->set_name(name);
  onnx::TypeProto_Tensor* tensor = info->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(ToOnnxType(type));
  // A scalar has a shape of no dimensions.
  onnx::TensorShapeProto* dims = tensor->mutable_shape();
  for (const int64_t d : shape) dims->add_dim()->set_dim_value(d);
}

}  // namespace

ModelBuilder::ModelBuilder() : graph_(model_.mutable_graph()) {
  model_.set_ir_version(8);
  model_.set_producer_name("octile");
  onnx::OperatorSetIdProto* standard = model_.add_opset_import();
  standard->set_domain("");
  standard->set_version(17);
  onnx::OperatorSetIdProto* contributed = model_.add_opset_import();
  contributed->set_domain(kContrib);
  contributed->set_version(1);
}

std::string ModelBuilder::FreshName(const std::string& wish) { return Unused(names_, wish); }

void ModelBuilder::BeginStep(const std::string& prefix) {
  prefix_ = prefix;
  first_node_ = graph_->node_size();
}

std::vector<std::string> ModelBuilder::EndStep(const Value& result, const Value& name,
                                               const std::string& doc) {
  const bool fresh = graph_->node_size() > first_node_ &&
                     graph_->node(graph_->node_size() - 1).output(0) == result;
  if (fresh) {
    names_.erase(result);
  } else {
    Node("Identity", {result});
  }
  onnx::NodeProto* last = graph_->mutable_node(graph_->node_size() - 1);
  last->set_output(0, name);
  node_names_.erase(last->name());
  last->set_name(Unused(node_names_, prefix_));
  last->set_doc_string(doc);
  std::vector<std::string> operators;
  for (int i = first_node_; i < graph_->node_size(); ++i) {
    const onnx::NodeProto& node = graph_->node(i);
    operators.push_back(node.domain().empty()
                            ? node.op_type()
                            : fmt::format("{}::{}", node.domain(), node.op_type()));
  }
  return operators;
}

Value ModelBuilder::Node(const std::string& op, const std::vector<Value>& inputs,
                         const Attributes& attributes, const std::string& domain) {
  onnx::NodeProto* node = graph_->add_node();
  node->set_op_type(op);
  if (!domain.empty()) node->set_domain(domain);
  for (const Value& input : inputs) node->add_input(input);
  const std::string name = FreshName(fmt::format("{}/{}", prefix_, op));
  node->add_output(name);
  node->set_name(Unused(node_names_, name));
  for (const auto& [key, value] : attributes) {
    onnx::AttributeProto* attribute = node->add_attribute();
    attribute->set_name(key);
    if (const auto* i = std::get_if<int64_t>(&value)) {
      attribute->set_type(onnx::AttributeProto::INT);
      attribute->set_i(*i);
    } else if (const auto* f = std::get_if<float>(&value)) {
      attribute->set_type(onnx::AttributeProto::FLOAT);
      attribute->set_f(*f);
    } else if (const auto* s = std::get_if<std::string>(&value)) {
      attribute->set_type(onnx::AttributeProto::STRING);
      attribute->set_s(*s);
    } else {
      attribute->set_type(onnx::AttributeProto::INTS);
      for (const int64_t v : std::get<std::vector<int64_t>>(value)) attribute->add_ints(v);
    }
  }
  return name;
}

void ModelBuilder::Fill(onnx::TensorProto* tensor, const std::string& name, DType type,
                        const Shape& shape, std::span<const uint8_t> bytes) {
  tensor->set_name(name);
  tensor->set_data_type(ToOnnxType(type));
  for (const int64_t d : shape) tensor->add_dims(d);
  tensor->set_raw_data(bytes.data(), bytes.size());
}

Value ModelBuilder::Constant(DType type, const Shape& shape, std::span<const uint8_t> bytes) {
  // Large ones (weights) are their step's own.
  if (bytes.size() > 4096) {
    const std::string name = FreshName(fmt::format("{}/constant", prefix_));
    Fill(graph_->add_initializer(), name, type, shape, bytes);
    return name;
  }
  std::string key = fmt::format("{} {} ", DTypeName(type), ShapeName(shape));
  key.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto [it, added] = constants_.try_emplace(key);
  if (added) {
    it->second = FreshName(fmt::format("{}/constant", prefix_));
    Fill(graph_->add_initializer(), it->second, type, shape, bytes);
  }
  return it->second;
}

void ModelBuilder::NamedConstant(const std::string& name, DType type, const Shape& shape,
                                 std::span<const uint8_t> bytes) {
  Fill(graph_->add_initializer(), name, type, shape, bytes);
}

Value ModelBuilder::Floats(std::span<const float> values, const Shape& shape) {
  return Constant(DType::kF32, shape, BytesOf(values));
}
Value ModelBuilder::Ints(std::span<const int64_t> values) {
  return Constant(DType::kS64, {static_cast<int64_t>(values.size())}, BytesOf(values));
}
Value ModelBuilder::Int32s(std::span<const int32_t> values, const Shape& shape) {
  return Constant(DType::kS32, shape, BytesOf(values));
}
Value ModelBuilder::Scalar(float value) { return Floats({&value, 1}, {}); }
Value ModelBuilder::ScalarDouble(double value) {
  return Constant(DType::kF64, {}, BytesOf(std::span<const double>(&value, 1)));
}
Value ModelBuilder::ScalarInt32(int32_t value) { return Int32s({&value, 1}, {}); }
Value ModelBuilder::ScalarCode(DType type, int32_t code) {
  const auto byte = static_cast<uint8_t>(code);
  return Constant(type, {}, {&byte, 1});
}

Value ModelBuilder::Cast(const Value& x, DType type) {
  return Node("Cast", {x}, {{"to", static_cast<int64_t>(ToOnnxType(type))}});
}
Value ModelBuilder::Reshape(const Value& x, const Shape& shape) {
  return Node("Reshape", {x, Ints(shape)});
}

void ModelBuilder::Input(const std::string& name, DType type, const Shape& shape) {
  Declare(graph_->add_input(), name, type, shape);
}
void ModelBuilder::Output(const std::string& name, DType type, const Shape& shape) {
  Declare(graph_->add_output(), name, type, shape);
}

}  // namespace octile::golden
