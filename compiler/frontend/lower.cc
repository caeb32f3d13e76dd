// From the flat model to the canonical graph.
//
// Values of the model are lowered on demand in three ways:
//
// - Quantized: the codes that a QuantizeLinear makes of a float value. Recognizes the unit
//   (accumulator operator, table, pool, addition ...) that ends in this quantization.
// - TryCodes: a float value that is exactly the dequantization of codes: DQ, and movement of it.
// - Float: a float value as such, by host steps.
//
// Data movement between an operator and its quantization is passed through, Q(Reshape(x)) =
// Reshape(Q(x)), so exporters may place Q and DQ where they like.
#include "lowerer.h"

namespace octile::frontend {

ImportResult Lowerer::Run() {
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

TensorId Lowerer::NewTensor(std::string name, DType dtype, Shape shape,
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

TensorId Lowerer::NewConstant(const std::string& name, const Tensor& tensor,
                              std::optional<ir::Quantization> quant) {
  const TensorId t = NewTensor(name, tensor.dtype, tensor.shape, quant);
  g_.tensor(t).constant = tensor.bytes;
  return t;
}

TensorId Lowerer::Emit(ir::Op op, std::vector<TensorId> inputs, TensorId output,
                       std::vector<std::string> nodes, std::string reason) {
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

void Lowerer::RemoveDeadSteps() {
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

const FlatNode* Lowerer::Producer(ValueId id) const {
  const int32_t p = id == kAbsent ? -1 : m_.value(id).producer;
  return p < 0 ? nullptr : &m_.nodes[static_cast<size_t>(p)];
}

Params Lowerer::ParamsOf(const FlatNode& node) {
  Params p;
  p.type = node.op == "QuantizeLinear" ? m_.value(node.outputs[0]).dtype
                                       : m_.value(node.inputs[0]).dtype;
  const auto scale = m_.Constant(node.Input(1));
  if (!scale)
    Refuse("node '{}' ({}): its scale is computed at run time; quantize statically", node.name,
           node.op);
  if (scale->dtype != DType::kF32)
    Refuse("node '{}' ({}): its scale is {}, not f32", node.name, node.op, DTypeName(scale->dtype));
  if (scale->size() != 1)
    Refuse("node '{}' ({}): per-axis or blocked scales of an activation are not supported",
           node.name, node.op);
  p.scale = scale->data<float>()[0];
  if (const Status ok = num::CheckActivationScale(p.scale, "quantization"); !ok)
    Refuse("node '{}' ({}): {}", node.name, node.op, ok.error().message);
  if (node.Input(2) != kAbsent) {
    const auto zero = m_.Constant(node.Input(2));
    if (!zero)
      Refuse("node '{}' ({}): its zero point is computed at run time; quantize statically",
             node.name, node.op);
    if (zero->size() != 1 || zero->dtype != p.type)
      Refuse("node '{}' ({}): its zero point does not fit its scale and type", node.name, node.op);
    p.zero = p.type == DType::kS8 ? static_cast<int8_t>(zero->bytes[0]) : zero->bytes[0];
  }
  return p;
}

ImportResult Lower(FlatModel model, const ImportOptions& options) {
  return Lowerer(std::move(model), options).Run();
}

}  // namespace octile::frontend
