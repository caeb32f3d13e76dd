// From the protobuf to one flat list of nodes: inlines functions, constant branches and loops of
// known length, sorts, drops dead nodes, folds constants and infers every shape on the way.
#include <algorithm>
#include <set>

#include "model.h"
#include "octile/ir/tensor_ops.h"

namespace octile::frontend {
namespace {

using onnx::AttributeProto;

// A value name's meaning while a graph, branch or function body is processed.
struct Scope {
  std::map<std::string, ValueId> names;
  const Scope* parent = nullptr;  // the enclosing graph of a branch; functions have none
  std::map<std::string, int64_t> opsets;
  std::string prefix;  // of names made here
  int depth = 0;

  std::optional<ValueId> Find(const std::string& name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->parent) {
      const auto it = scope->names.find(name);
      if (it != scope->names.end()) return it->second;
    }
    return std::nullopt;
  }
};

std::string CanonicalDomain(const std::string& domain) { return domain == "ai.onnx" ? "" : domain; }

class Flattener {
 public:
  Flattener(const onnx::ModelProto& proto, ExternalData& external, const ImportOptions& options)
      : proto_(proto), external_(external), options_(options) {}

  FlatModel Run() {
    const onnx::GraphProto& graph = proto_.graph();
    model_.name = graph.name();
    Scope scope;
    scope.opsets = Opsets(proto_.opset_import(), "model");
    for (const auto& function : proto_.functions()) {
      const auto key = std::make_pair(CanonicalDomain(function.domain()), function.name());
      if (!functions_.emplace(key, &function).second)
        Refuse("function '{}' is defined twice", function.name());
    }
    if (graph.sparse_initializer_size() > 0) Refuse("sparse initializers are not supported");
    if (graph.output_size() == 0) Refuse("the graph has no outputs");
    AddInputs(graph, scope);
    std::vector<std::string> outputs;
    for (const auto& output : graph.output()) outputs.push_back(output.name());
    ProcessGraph(graph.node(), outputs, scope, "the graph");
    for (const std::string& name : outputs) {
      if (!scope.Find(name) && !masks_.count(name))
        Refuse("graph output '{}' is computed by no node", name);
      model_.outputs.emplace_back(name, Lookup(scope, name, "the graph"));
    }
    return std::move(model_);
  }

 private:
  template <class Imports>
  std::map<std::string, int64_t> Opsets(const Imports& imports, const std::string& what) {
    std::map<std::string, int64_t> opsets;
    for (const auto& import : imports) {
      const std::string domain = CanonicalDomain(import.domain());
      if (domain.empty() && (import.version() < 7 || import.version() > 30))
        Refuse("{}: opset {} is not supported; export with an opset from 13 to 21", what,
               import.version());
      opsets[domain] = import.version();
    }
    return opsets;
  }

  ValueId NewValue(std::string name) {
    if (static_cast<int64_t>(model_.values.size()) > options_.limits.nodes * 4)
      Refuse("the model has too many values");
    // Inlined bodies may repeat a name; keep names unique.
    if (!value_names_.insert(name).second) {
      const std::string base = name;
      int64_t& suffix = suffixes_[base];
      do name = fmt::format("{}.{}", base, ++suffix);
      while (!value_names_.insert(name).second);
    }
    Value value;
    value.name = std::move(name);
    model_.values.push_back(std::move(value));
    return static_cast<ValueId>(model_.values.size()) - 1;
  }

  ValueId NewConstant(std::string name, Tensor tensor) {
    folded_bytes_ += static_cast<int64_t>(tensor.bytes.size());
    if (folded_bytes_ > options_.limits.folded_bytes)
      Refuse("the constants of the model exceed the limit");
    const ValueId id = NewValue(std::move(name));
    Value& value = model_.value(id);
    value.dtype = tensor.dtype;
    value.shape = tensor.shape;
    value.constant = std::make_shared<const Tensor>(std::move(tensor));
    return id;
  }

  void Define(Scope& scope, const std::string& name, ValueId id, const std::string& what) {
    if (!scope.names.emplace(name, id).second)
      Refuse("{}: value '{}' is defined twice", what, name);
  }

  void AddInputs(const onnx::GraphProto& graph, Scope& scope) {
    std::set<std::string> initializers;
    for (const auto& tensor : graph.initializer()) {
      if (tensor.name().empty()) Refuse("an initializer has no name");
      if (!initializers.insert(tensor.name()).second)
        Refuse("initializer '{}' is defined twice", tensor.name());
    }
    std::set<std::string> declared;
    for (const auto& input : graph.input()) declared.insert(input.name());
    for (const auto& [name, shape] : options_.shapes)
      if (!declared.count(name))
        Refuse("--shape names '{}', which is not an input of the model", name);
    for (const std::string& name : options_.overridden_inputs)
      if (!declared.count(name)) Refuse("'{}' is not an input of the model", name);
    for (const auto& [name, value] : options_.initializer_values)
      if (!declared.count(name) || !initializers.count(name))
        Refuse("'{}' is not an initializer that the model lists as an input", name);
    std::set<std::string> known_inputs;
    for (const auto& input : graph.input()) {
      if (!known_inputs.insert(input.name()).second)
        Refuse("graph input '{}' is defined twice", input.name());
      if (initializers.count(input.name())) {
        if (!options_.overridden_inputs.count(input.name())) continue;
        initializers.erase(input.name());
        model_.notes.push_back(
            fmt::format("initializer '{}' is an input of this run", input.name()));
      }
      const ValueId id = NewValue(input.name());
      Value& value = model_.value(id);
      value.is_input = true;
      const std::string what = fmt::format("graph input '{}'", input.name());
      if (!input.type().has_tensor_type()) Refuse("{} is not a tensor", what);
      const auto& type = input.type().tensor_type();
      value.dtype = ToDType(type.elem_type(), what);
      value.shape = InputShape(input.name(), type);
      model_.inputs.push_back(id);
      Define(scope, input.name(), id, "the graph");
    }
    for (const auto& tensor : graph.initializer()) {
      if (!initializers.count(tensor.name())) continue;
      if (const auto given = options_.initializer_values.find(tensor.name());
          given != options_.initializer_values.end()) {
        const Shape shape(tensor.dims().begin(), tensor.dims().end());
        const DType dtype =
            ToDType(tensor.data_type(), fmt::format("initializer '{}'", tensor.name()));
        if (given->second.shape != shape || given->second.dtype != dtype)
          Refuse("initializer '{}' is {} {} in the model, the given value is {} {}", tensor.name(),
                 DTypeName(dtype), ShapeName(shape), DTypeName(given->second.dtype),
                 ShapeName(given->second.shape));
        Define(scope, tensor.name(), NewConstant(tensor.name(), given->second), "the graph");
        model_.notes.push_back(
            fmt::format("initializer '{}' has the value given for this run", tensor.name()));
        continue;
      }
      Define(scope, tensor.name(), kAbsent, "the graph");  // loaded on first use
      pending_[tensor.name()] = &tensor;
    }
  }

  Shape InputShape(const std::string& name, const onnx::TypeProto_Tensor& type) {
    const auto given = options_.shapes.find(name);
    Shape shape;
    if (given != options_.shapes.end()) {
      shape = given->second;
      if (type.has_shape() && static_cast<size_t>(type.shape().dim_size()) != shape.size())
        Refuse("graph input '{}' has {} dimensions, --shape gives {}", name,
               type.shape().dim_size(), ShapeName(shape));
      for (size_t i = 0; type.has_shape() && i < shape.size(); ++i) {
        const auto& dim = type.shape().dim(static_cast<int>(i));
        if (dim.has_dim_value() && dim.dim_value() > 0 && dim.dim_value() != shape[i])
          Refuse("graph input '{}': dimension {} is {} in the model, not {}", name, i,
                 dim.dim_value(), shape[i]);
      }
    } else {
      if (!type.has_shape())
        Refuse("graph input '{}' has no shape; give one with --shape {}=1x3x224x224", name, name);
      for (int i = 0; i < type.shape().dim_size(); ++i) {
        const auto& dim = type.shape().dim(i);
        if (dim.has_dim_value() && dim.dim_value() > 0) {
          shape.push_back(dim.dim_value());
          continue;
        }
        if (dim.has_dim_value() && !(i == 0 && dim.dim_value() == -1))
          Refuse("graph input '{}': dimension {} is {}", name, i, dim.dim_value());
        const std::string symbol = dim.dim_param().empty() ? "?" : dim.dim_param();
        if (i == 0) {
          shape.push_back(1);
          model_.notes.push_back(
              fmt::format("graph input '{}': batch '{}' is set to 1", name, symbol));
          continue;
        }
        Refuse(
            "graph input '{}': dimension {} is symbolic ('{}'); give the shape with --shape {}=...",
            name, i, symbol, name);
      }
    }
    if (shape.size() > 6) Refuse("graph input '{}': rank {} is more than 6", name, shape.size());
    for (int64_t dim : shape)
      if (dim <= 0)
        Refuse("graph input '{}': shape {} has a dimension that is not positive", name,
               ShapeName(shape));
    if (ElementCount(shape) > options_.limits.tensor_elements)
      Refuse("graph input '{}': shape {} is too large", name, ShapeName(shape));
    return shape;
  }

  // Names a node reads, including those its branches take from outside.
  void CollectReads(const onnx::NodeProto& node, std::set<std::string>& reads, int depth) {
    if (depth > options_.limits.depth) Refuse("branches are nested too deeply");
    for (const std::string& name : node.input())
      if (!name.empty()) reads.insert(name);
    for (const AttributeProto& attribute : node.attribute()) {
      if (attribute.has_g()) CollectFree(attribute.g(), reads, depth + 1);
      for (const auto& graph : attribute.graphs()) CollectFree(graph, reads, depth + 1);
    }
  }

  void CollectFree(const onnx::GraphProto& graph, std::set<std::string>& reads, int depth) {
    std::set<std::string> inner;
    for (const auto& node : graph.node()) CollectReads(node, inner, depth);
    for (const auto& output : graph.output()) inner.insert(output.name());
    for (const auto& input : graph.input()) inner.erase(input.name());
    for (const auto& tensor : graph.initializer()) inner.erase(tensor.name());
    for (const auto& node : graph.node())
      for (const std::string& name : node.output()) inner.erase(name);
    reads.insert(inner.begin(), inner.end());
  }

  // Processes the live nodes in topological order (stable: by position among the ready ones).
  template <class Nodes>
  void ProcessGraph(const Nodes& nodes, const std::vector<std::string>& outputs, Scope& scope,
                    const std::string& what) {
    if (scope.depth > options_.limits.depth)
      Refuse("{}: functions and branches are nested too deeply", what);
    const int count = nodes.size();
    if (count > options_.limits.nodes)
      Refuse("{} has {} nodes, more than the limit of {}", what, count, options_.limits.nodes);
    std::map<std::string, int> producer;
    std::vector<std::set<std::string>> reads(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) {
      CollectReads(nodes.Get(i), reads[static_cast<size_t>(i)], scope.depth);
      for (const std::string& name : nodes.Get(i).output()) {
        if (name.empty()) continue;
        if (!producer.emplace(name, i).second || scope.names.count(name))
          Refuse("{}: value '{}' is defined twice", what, name);
      }
    }
    std::vector<char> live(static_cast<size_t>(count), 0);
    std::vector<int> work;
    const auto mark = [&](const std::string& name) {
      const auto it = producer.find(name);
      if (it != producer.end() && !live[static_cast<size_t>(it->second)]) {
        live[static_cast<size_t>(it->second)] = 1;
        work.push_back(it->second);
      }
    };
    for (const std::string& name : outputs) mark(name);
    while (!work.empty()) {
      const int i = work.back();
      work.pop_back();
      for (const std::string& name : reads[static_cast<size_t>(i)]) mark(name);
    }
    std::vector<int> missing(static_cast<size_t>(count), 0);
    std::vector<std::vector<int>> users(static_cast<size_t>(count));
    std::set<int> ready;
    int live_count = 0;
    for (int i = 0; i < count; ++i) {
      if (!live[static_cast<size_t>(i)]) continue;
      ++live_count;
      for (const std::string& name : reads[static_cast<size_t>(i)]) {
        const auto it = producer.find(name);
        if (it == producer.end()) continue;
        users[static_cast<size_t>(it->second)].push_back(i);
        ++missing[static_cast<size_t>(i)];
      }
      if (missing[static_cast<size_t>(i)] == 0) ready.insert(i);
    }
    if (live_count < count && scope.parent == nullptr && scope.prefix.empty())
      model_.notes.push_back(
          fmt::format("{} nodes that no output depends on are dropped", count - live_count));
    int done = 0;
    while (!ready.empty()) {
      const int i = *ready.begin();
      ready.erase(ready.begin());
      ++done;
      ProcessNode(nodes.Get(i), i, scope);
      for (int user : users[static_cast<size_t>(i)])
        if (--missing[static_cast<size_t>(user)] == 0) ready.insert(user);
    }
    if (done < live_count) {
      for (int i = 0; i < count; ++i)
        if (live[static_cast<size_t>(i)] && missing[static_cast<size_t>(i)] > 0)
          Refuse("{} has a cycle through node '{}'", what, NodeName(nodes.Get(i), i, scope));
    }
  }

  static std::string NodeName(const onnx::NodeProto& node, int index, const Scope& scope) {
    return scope.prefix +
           (node.name().empty() ? fmt::format("{}#{}", node.op_type(), index) : node.name());
  }

  void ProcessNode(const onnx::NodeProto& proto, int index, Scope& scope) {
    if (++node_count_ > options_.limits.nodes)
      Refuse("the model has more than {} nodes", options_.limits.nodes);
    FlatNode node;
    node.name = NodeName(proto, index, scope);
    node.op = proto.op_type();
    node.domain = CanonicalDomain(proto.domain());
    if (proto.output_size() == 0) Refuse("node '{}' ({}) has no outputs", node.name, node.op);
    if (proto.input_size() > 100000) Refuse("node '{}' has too many inputs", node.name);
    for (const AttributeProto& attribute : proto.attribute()) {
      const AttributeProto* actual = &attribute;
      if (!attribute.ref_attr_name().empty()) {
        const auto it = function_attributes_.find(attribute.ref_attr_name());
        if (it == function_attributes_.end())
          continue;  // the function's caller left it out: default
        actual = it->second;
      }
      if (!node.attributes.emplace(attribute.name(), actual).second)
        Refuse("node '{}': attribute '{}' is given twice", node.name, attribute.name());
    }

    const auto function = functions_.find({node.domain, node.op});
    if (function != functions_.end()) return InlineFunction(proto, node, *function->second, scope);

    const auto opset = scope.opsets.find(node.domain);
    if (opset == scope.opsets.end())
      Refuse("node '{}' uses the domain '{}', whose opset the model does not import", node.name,
             node.domain.empty() ? "ai.onnx" : node.domain);
    node.opset = opset->second;
    if (!node.domain.empty() && !(node.domain == "com.microsoft" && IsSupportedContrib(node.op)))
      Refuse("node '{}': operator {}.{} is not supported", node.name, node.domain, node.op);
    if (node.domain == "com.microsoft") {
      node.domain.clear();
      node.opset = node.op == "Gelu" ? 20 : 21;
    }

    const std::string what = fmt::format("node '{}' ({})", node.name, node.op);
    for (const std::string& name : proto.input())
      node.inputs.push_back(name.empty() ? kAbsent : Lookup(scope, name, what));
    while (!node.inputs.empty() && node.inputs.back() == kAbsent) node.inputs.pop_back();

    if (node.op == "If") return InlineIf(proto, node, scope);
    if (node.op == "Loop") return InlineLoop(proto, node, scope);
    if (node.op == "Constant") {
      Define(scope, proto.output(0),
             NewConstant(scope.prefix + proto.output(0), ConstantNode(node)), what);
      return;
    }
    if (DropNoOperation(proto, node, scope)) return;
    AddNode(proto, std::move(node), scope, what);
  }

  static bool IsSupportedContrib(const std::string& op) {
    return op == "QuantizeLinear" || op == "DequantizeLinear" || op == "Gelu";
  }

  ValueId Lookup(Scope& scope, const std::string& name, const std::string& what) {
    for (Scope* at = &scope; at != nullptr; at = const_cast<Scope*>(at->parent)) {
      const auto it = at->names.find(name);
      if (it == at->names.end()) continue;
      if (it->second == kAbsent) {
        const onnx::TensorProto& tensor = *pending_.at(name);
        it->second = NewConstant(name, LoadTensor(tensor, fmt::format("initializer '{}'", name),
                                                  external_, options_.limits));
      }
      return it->second;
    }
    if (masks_.count(name))
      Refuse("{} reads the mask of Dropout '{}', which exists in training only", what,
             masks_.at(name));
    Refuse("{} reads '{}', which nothing defines", what, name);
  }

  Tensor ConstantNode(const FlatNode& node) {
    const auto get = [&](const char* key) -> const AttributeProto* {
      const auto it = node.attributes.find(key);
      return it == node.attributes.end() ? nullptr : it->second;
    };
    if (const auto* a = get("value")) {
      if (!a->has_t()) Refuse("node '{}': attribute 'value' is not a tensor", node.name);
      return LoadTensor(a->t(), fmt::format("node '{}'", node.name), external_, options_.limits);
    }
    const auto make = [](DType type, Shape shape, const auto& values) {
      Tensor t(type, std::move(shape));
      if (!values.empty()) std::memcpy(t.bytes.data(), values.data(), t.bytes.size());
      return t;
    };
    if (get("value_float"))
      return make(DType::kF32, {}, std::vector<float>{node.Float("value_float", 0)});
    if (get("value_int"))
      return make(DType::kS64, {}, std::vector<int64_t>{node.Int("value_int", 0)});
    if (get("value_floats")) {
      const auto v = node.Floats("value_floats");
      return make(DType::kF32, {static_cast<int64_t>(v.size())}, v);
    }
    if (get("value_ints")) {
      const auto v = node.Ints("value_ints");
      return make(DType::kS64, {static_cast<int64_t>(v.size())}, v);
    }
    Refuse("node '{}': a Constant of this kind (sparse, string or empty) is not supported",
           node.name);
  }

  // Identity, inference Dropout, casts to the same type and empty pads give their input another
  // name.
  bool DropNoOperation(const onnx::NodeProto& proto, const FlatNode& node, Scope& scope) {
    if (!node.domain.empty() || node.Input(0) == kAbsent) return false;
    const Value& x = model_.value(node.inputs[0]);
    if (node.op == "Identity") {
    } else if (node.op == "Dropout") {
      const ValueId training = node.Input(2);
      if (training != kAbsent) {
        const auto flag = model_.Constant(training);
        if (!flag || flag->bytes.size() != 1 || flag->bytes[0] != 0)
          Refuse(
              "node '{}': Dropout in training mode is not supported; export the model for "
              "inference",
              node.name);
      }
      if (node.opset < 7 && node.Int("is_test", 0) == 0)
        Refuse(
            "node '{}': Dropout in training mode is not supported; export the model for inference",
            node.name);
      for (int i = 1; i < proto.output_size(); ++i)
        if (!proto.output(i).empty()) masks_[proto.output(i)] = node.name;
    } else if (node.op == "Cast") {
      if (ToDType(static_cast<int>(node.Int("to", 0)),
                  fmt::format("node '{}' (Cast)", node.name)) != x.dtype)
        return false;
    } else if (node.op == "Pad") {
      const auto [before, after] = PadsOf(model_, node);
      for (size_t i = 0; i < before.size(); ++i)
        if (before[i] != 0 || after[i] != 0) return false;
    } else {
      return false;
    }
    Define(scope, proto.output(0), node.inputs[0], fmt::format("node '{}'", node.name));
    return true;
  }

  void AddNode(const onnx::NodeProto& proto, FlatNode node, Scope& scope, const std::string& what) {
    for (const ValueId id : node.inputs)
      if (id != kAbsent && !model_.value(id).constant && ElementCount(model_.value(id).shape) == 0)
        Refuse("{}: input '{}' has shape {}, which holds no elements", what, model_.value(id).name,
               ShapeName(model_.value(id).shape));
    node.outputs.assign(static_cast<size_t>(proto.output_size()), kAbsent);  // Split counts them
    const std::vector<ValueType> types = InferTypes(model_, node);
    for (const ValueType& type : types) {
      if (ElementCount(type.shape) > options_.limits.tensor_elements)
        Refuse("{}: its output of shape {} is too large", what, ShapeName(type.shape));
    }
    for (int i = 0; i < proto.output_size(); ++i) {
      const std::string& name = proto.output(i);
      if (name.empty()) continue;
      if (static_cast<size_t>(i) >= types.size())
        Refuse("{}: output {} ('{}') is not supported", what, i, name);
    }

    bool constant = node.op != "RandomNormal";
    for (const ValueId id : node.inputs) constant &= id == kAbsent || model_.IsConstant(id);
    if (node.op == "Shape" || node.op == "Size") constant = true;  // of a known shape
    std::shared_ptr<const QuantConstant> quant;
    if (constant) quant = Quantized(node, types);
    std::optional<std::vector<Tensor>> folded;
    if (constant && !quant) {
      int64_t bytes = 0;
      for (const ValueType& type : types) bytes += ElementCount(type.shape) * DTypeSize(type.dtype);
      if (folded_bytes_ + bytes > options_.limits.folded_bytes)
        Refuse("{}: its constant result is too large", what);
      folded = Fold(model_, node, types);
    }
    for (int i = 0; i < proto.output_size(); ++i) {
      const std::string& name = proto.output(i);
      if (name.empty()) continue;
      ValueId id;
      if (folded) {
        id = NewConstant(scope.prefix + name, std::move((*folded)[static_cast<size_t>(i)]));
      } else {
        id = NewValue(scope.prefix + name);
        Value& value = model_.value(id);
        value.dtype = types[static_cast<size_t>(i)].dtype;
        value.shape = types[static_cast<size_t>(i)].shape;
        if (quant) {
          value.quant = quant;
        } else {
          if (value.shape.size() > 6)
            Refuse("{}: its output has rank {}, more than 6", what, value.shape.size());
          if (ElementCount(value.shape) == 0)
            Refuse("{}: its output has shape {}, which holds no elements", what,
                   ShapeName(value.shape));
          value.producer = static_cast<int32_t>(model_.nodes.size());
        }
      }
      node.outputs[static_cast<size_t>(i)] = id;
      Define(scope, name, id, what);
    }
    if (!folded && !quant) model_.nodes.push_back(std::move(node));
  }

  // Dequantized constant codes, possibly moved about: keeps the codes.
  std::shared_ptr<const QuantConstant> Quantized(const FlatNode& node,
                                                 const std::vector<ValueType>& types) {
    if (node.op == "DequantizeLinear") {
      const auto codes = model_.Constant(node.inputs[0]);
      const auto scale = model_.Constant(node.Input(1));
      if (scale->dtype != DType::kF32) Refuse("node '{}': the scale is not float32", node.name);
      auto quant = std::make_shared<QuantConstant>();
      quant->codes = codes;
      const auto scales = scale->data<float>();
      quant->scales.assign(scales.begin(), scales.end());
      quant->zero_points.assign(scales.size(), 0);
      if (const ValueId zp = node.Input(2); zp != kAbsent) {
        const auto zero = model_.Constant(zp);
        if (zero->dtype != codes->dtype)
          Refuse("node '{}': the zero point's type differs from the input's", node.name);
        if (zero->size() != static_cast<int64_t>(scales.size()))
          Refuse("node '{}': {} zero points for {} scales", node.name, zero->size(), scales.size());
        const Tensor wide = CastTensor(*zero, DType::kS32);
        quant->zero_points.assign(wide.data<int32_t>().begin(), wide.data<int32_t>().end());
      }
      if (node.Int("block_size", 0) != 0)
        Refuse("node '{}': blocked quantization is not supported", node.name);
      if (scale->shape.size() > 1)
        Refuse("node '{}': scales of rank {} (blocked quantization) are not supported", node.name,
               scale->shape.size());
      if (scales.size() != 1) {
        quant->axis = NormalizeAxis(node.Int("axis", 1), codes->shape.size(), node);
        if (codes->shape[static_cast<size_t>(quant->axis)] != static_cast<int64_t>(scales.size()))
          Refuse("node '{}': {} scales for axis {} of shape {}", node.name, scales.size(),
                 quant->axis, ShapeName(codes->shape));
      }
      for (float s : scales)
        if (!(s >= 0) || s > std::numeric_limits<float>::max())
          Refuse("node '{}': scale {} is negative or not finite", node.name, s);
      return quant;
    }
    const ValueId source = node.Input(0);
    if (source == kAbsent || !model_.value(source).quant) return nullptr;
    const auto& from = *model_.value(source).quant;
    const Shape& shape = types[0].shape;
    const auto keep = [&](Tensor codes, int64_t axis) {
      auto quant = std::make_shared<QuantConstant>(from);
      quant->codes = std::make_shared<const Tensor>(std::move(codes));
      quant->axis = axis;
      return quant;
    };
    if (node.op == "Transpose") {
      const auto perm = TransposePerm(node, from.codes->shape.size());
      auto codes = ir::TransposeTensor(*from.codes, perm);
      const auto it = std::find(perm.begin(), perm.end(), from.axis);
      return keep(std::move(codes), from.scales.size() == 1 ? 0 : it - perm.begin());
    }
    static const std::set<std::string> kReshaping = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"};
    if (kReshaping.count(node.op)) {
      Tensor codes = *from.codes;
      codes.shape = shape;
      if (from.scales.size() == 1) return keep(std::move(codes), 0);
      // The scales' axis survives if the products before and at it do.
      int64_t before = 1;
      for (int64_t i = 0; i < from.axis; ++i) before *= from.codes->shape[static_cast<size_t>(i)];
      int64_t product = 1;
      for (size_t i = 0; i < shape.size(); ++i) {
        if (product == before && shape[i] == static_cast<int64_t>(from.scales.size()))
          return keep(std::move(codes), static_cast<int64_t>(i));
        product *= shape[i];
      }
    }
    return nullptr;
  }

  static std::vector<int64_t> TransposePerm(const FlatNode& node, size_t rank) {
    std::vector<int64_t> perm = node.Ints("perm");
    if (perm.empty())
      for (size_t i = rank; i-- > 0;) perm.push_back(static_cast<int64_t>(i));
    return perm;
  }

  void InlineFunction(const onnx::NodeProto& proto, const FlatNode& node,
                      const onnx::FunctionProto& function, Scope& scope) {
    if (scope.depth >= options_.limits.depth)
      Refuse("node '{}': functions are nested too deeply, or function '{}' calls itself", node.name,
             node.op);
    Scope body;
    body.depth = scope.depth + 1;
    body.prefix = node.name + "/";
    body.opsets = Opsets(function.opset_import(), fmt::format("function '{}'", node.op));
    const std::string what = fmt::format("node '{}' (function {})", node.name, node.op);
    if (proto.input_size() > function.input_size())
      Refuse("{}: {} inputs, the function takes {}", what, proto.input_size(),
             function.input_size());
    if (proto.output_size() > function.output_size())
      Refuse("{}: {} outputs, the function gives {}", what, proto.output_size(),
             function.output_size());
    std::set<std::string> omitted;
    for (int i = 0; i < function.input_size(); ++i) {
      if (i < proto.input_size() && !proto.input(i).empty())
        Define(body, function.input(i), Lookup(scope, proto.input(i), what), what);
      else
        omitted.insert(function.input(i));
    }
    AttributeMap attributes;
    for (const auto& [name, attribute] : node.attributes) attributes[name] = attribute;
    std::swap(attributes, function_attributes_);
    std::vector<std::string> outputs(function.output().begin(), function.output().end());
    // An omitted input becomes an omitted input of the nodes inside.
    onnx::FunctionProto copy;
    const onnx::FunctionProto* source = &function;
    if (!omitted.empty()) {
      copy = function;
      for (auto& inner : *copy.mutable_node())
        for (auto& name : *inner.mutable_input())
          if (omitted.count(name)) name.clear();
      copies_.push_back(std::make_unique<onnx::FunctionProto>(std::move(copy)));
      source = copies_.back().get();
    }
    ProcessGraph(source->node(), outputs, body, what);
    std::swap(attributes, function_attributes_);
    for (int i = 0; i < proto.output_size(); ++i) {
      if (proto.output(i).empty()) continue;
      Define(scope, proto.output(i), Lookup(body, function.output(i), what), what);
    }
  }

  const onnx::GraphProto& GraphAttribute(const FlatNode& node, const char* key) {
    const auto it = node.attributes.find(key);
    if (it == node.attributes.end() || !it->second->has_g())
      Refuse("node '{}': attribute '{}' is not a graph", node.name, key);
    return it->second->g();
  }

  // Runs a branch or loop body in a scope of its own and returns its outputs.
  std::vector<ValueId> InlineBody(const onnx::GraphProto& graph, const FlatNode& node,
                                  const std::string& tag, Scope& scope,
                                  const std::vector<ValueId>& arguments) {
    if (scope.depth >= options_.limits.depth)
      Refuse("node '{}': branches are nested too deeply", node.name);
    Scope body;
    body.parent = &scope;
    body.depth = scope.depth + 1;
    body.prefix = node.name + "/" + tag;
    body.opsets = scope.opsets;
    const std::string what = fmt::format("node '{}' ({}, {})", node.name, node.op, tag);
    if (static_cast<size_t>(graph.input_size()) != arguments.size())
      Refuse("{}: the body takes {} inputs, not {}", what, graph.input_size(), arguments.size());
    for (int i = 0; i < graph.input_size(); ++i)
      Define(body, graph.input(i).name(), arguments[static_cast<size_t>(i)], what);
    for (const auto& tensor : graph.initializer())
      Define(body, tensor.name(),
             NewConstant(body.prefix + tensor.name(),
                         LoadTensor(tensor, fmt::format("initializer '{}'", tensor.name()),
                                    external_, options_.limits)),
             what);
    std::vector<std::string> outputs;
    for (const auto& output : graph.output()) outputs.push_back(output.name());
    ProcessGraph(graph.node(), outputs, body, what);
    std::vector<ValueId> results;
    for (const std::string& name : outputs) results.push_back(Lookup(body, name, what));
    return results;
  }

  void InlineIf(const onnx::NodeProto& proto, const FlatNode& node, Scope& scope) {
    const auto condition = node.Input(0) == kAbsent ? nullptr : model_.Constant(node.inputs[0]);
    if (!condition || condition->dtype != DType::kBool || condition->size() != 1)
      Refuse(
          "node '{}' (If): its condition is not a constant; export the model with the branch "
          "resolved",
          node.name);
    const bool taken = condition->bytes[0] != 0;
    model_.notes.push_back(fmt::format("node '{}' (If): the {} branch is always taken", node.name,
                                       taken ? "then" : "else"));
    const auto results = InlineBody(GraphAttribute(node, taken ? "then_branch" : "else_branch"),
                                    node, taken ? "then/" : "else/", scope, {});
    if (results.size() < static_cast<size_t>(proto.output_size()))
      Refuse("node '{}' (If): the branch has too few outputs", node.name);
    for (int i = 0; i < proto.output_size(); ++i)
      if (!proto.output(i).empty())
        Define(scope, proto.output(i), results[static_cast<size_t>(i)],
               fmt::format("node '{}'", node.name));
  }

  void InlineLoop(const onnx::NodeProto& proto, const FlatNode& node, Scope& scope) {
    constexpr int64_t kMaxTrips = 64;
    const auto trips = node.Input(0) == kAbsent ? nullptr : model_.Constant(node.inputs[0]);
    if (!trips || trips->dtype != DType::kS64 || trips->size() != 1)
      Refuse("node '{}' (Loop): its trip count is not a constant; export the model unrolled",
             node.name);
    const int64_t count = trips->data<int64_t>()[0];
    if (count < 0 || count > kMaxTrips)
      Refuse("node '{}' (Loop): {} trips are more than {}", node.name, count, kMaxTrips);
    Tensor yes(DType::kBool, {});
    yes.bytes[0] = 1;
    ValueId condition =
        node.Input(1) == kAbsent ? NewConstant(node.name + "/cond", yes) : node.inputs[1];
    std::vector<ValueId> carried(
        node.inputs.begin() + std::min<int64_t>(2, static_cast<int64_t>(node.inputs.size())),
        node.inputs.end());
    const onnx::GraphProto& body = GraphAttribute(node, "body");
    if (static_cast<size_t>(proto.output_size()) > carried.size())
      Refuse("node '{}' (Loop): scan outputs are not supported", node.name);
    for (int64_t trip = 0; trip < count; ++trip) {
      const auto flag = model_.Constant(condition);
      if (!flag || flag->dtype != DType::kBool || flag->size() != 1)
        Refuse("node '{}' (Loop): its condition is not a constant; export the model unrolled",
               node.name);
      if (flag->bytes[0] == 0) break;
      Tensor number(DType::kS64, {});
      number.data<int64_t>()[0] = trip;
      std::vector<ValueId> arguments = {
          NewConstant(fmt::format("{}/trip{}", node.name, trip), number), condition};
      arguments.insert(arguments.end(), carried.begin(), carried.end());
      const auto results = InlineBody(body, node, fmt::format("trip{}/", trip), scope, arguments);
      if (results.size() < 1 + carried.size())
        Refuse("node '{}' (Loop): the body has too few outputs", node.name);
      condition = results[0];
      std::copy(results.begin() + 1, results.begin() + 1 + static_cast<int64_t>(carried.size()),
                carried.begin());
    }
    model_.notes.push_back(fmt::format("node '{}' (Loop): unrolled", node.name));
    for (int i = 0; i < proto.output_size(); ++i)
      if (!proto.output(i).empty())
        Define(scope, proto.output(i), carried[static_cast<size_t>(i)],
               fmt::format("node '{}'", node.name));
  }

  const onnx::ModelProto& proto_;
  ExternalData& external_;
  const ImportOptions& options_;
  FlatModel model_;
  std::map<std::string, const onnx::TensorProto*>
      pending_;  // initializers of the main graph not loaded yet
  std::map<std::pair<std::string, std::string>, const onnx::FunctionProto*> functions_;
  AttributeMap function_attributes_;  // of the function being inlined
  std::vector<std::unique_ptr<onnx::FunctionProto>> copies_;
  std::set<std::string> value_names_;
  std::map<std::string, int64_t> suffixes_;
  std::map<std::string, std::string> masks_;  // Dropout masks, which nothing may read
  int64_t node_count_ = 0;
  int64_t folded_bytes_ = 0;
};

const AttributeProto* Find(const FlatNode& node, const std::string& key,
                           AttributeProto::AttributeType type) {
  const auto it = node.attributes.find(key);
  if (it == node.attributes.end()) return nullptr;
  if (it->second->type() != type && it->second->type() != AttributeProto::UNDEFINED)
    Refuse("node '{}' ({}): attribute '{}' has the wrong type", node.name, node.op, key);
  return it->second;
}

}  // namespace

int64_t FlatNode::Int(const std::string& key, int64_t fallback) const {
  const auto* a = Find(*this, key, AttributeProto::INT);
  return a ? a->i() : fallback;
}
float FlatNode::Float(const std::string& key, float fallback) const {
  const auto* a = Find(*this, key, AttributeProto::FLOAT);
  return a ? a->f() : fallback;
}
std::string FlatNode::String(const std::string& key, const std::string& fallback) const {
  const auto* a = Find(*this, key, AttributeProto::STRING);
  return a ? a->s() : fallback;
}
std::vector<int64_t> FlatNode::Ints(const std::string& key) const {
  const auto* a = Find(*this, key, AttributeProto::INTS);
  return a ? std::vector<int64_t>(a->ints().begin(), a->ints().end()) : std::vector<int64_t>{};
}
std::vector<float> FlatNode::Floats(const std::string& key) const {
  const auto* a = Find(*this, key, AttributeProto::FLOATS);
  return a ? std::vector<float>(a->floats().begin(), a->floats().end()) : std::vector<float>{};
}

std::shared_ptr<const Tensor> FlatModel::Constant(ValueId id) {
  if (id == kAbsent) return nullptr;
  Value& v = value(id);
  if (v.constant || !v.quant) return v.constant;
  const QuantConstant& quant = *v.quant;
  const Tensor codes = CastTensor(*quant.codes, DType::kS32);
  Tensor y(DType::kF32, codes.shape);
  int64_t inner = 1;
  for (size_t i = static_cast<size_t>(quant.axis) + 1; i < codes.shape.size(); ++i)
    inner *= codes.shape[i];
  const auto out = y.data<float>();
  const auto in = codes.data<int32_t>();
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t c =
        quant.scales.size() == 1 ? 0 : i / static_cast<size_t>(inner) % quant.scales.size();
    const auto difference = static_cast<int32_t>(static_cast<uint32_t>(in[i]) -
                                                 static_cast<uint32_t>(quant.zero_points[c]));
    out[i] = static_cast<float>(difference) * quant.scales[c];
  }
  v.constant = std::make_shared<const Tensor>(std::move(y));
  return v.constant;
}

FlatModel Flatten(const onnx::ModelProto& proto, ExternalData& external,
                  const ImportOptions& options) {
  return Flattener(proto, external, options).Run();
}

}  // namespace octile::frontend
