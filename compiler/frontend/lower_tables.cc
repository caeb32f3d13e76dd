// Tables: subgraphs whose value depends on one code (N5).
#include "lowerer.h"

namespace octile::frontend {

struct Lowerer::ConeEvaluator {
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
      for (size_t i = 0; i < 256; ++i) y.data<float>()[i] = num::fp::Dequantize(q[i], zero, scale);
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

bool Lowerer::IsLeafFloat(ValueId id) {
  const FlatNode* node = Producer(id);
  return node && node->op != "Relu" && MovementOps().count(node->op) && TryCodes(id).has_value();
}

void Lowerer::Grow(Cone& cone, ValueId id, const Shape& shape, const std::set<ValueId>& expanded,
                   bool per_channel) {
  if (!cone.valid || cone.inner.count(id) || cone.leaves.count(id)) return;
  const DepthGuard guard(*this, m_.value(id).name);
  const Value& v = m_.value(id);
  const auto fail = [&] { cone.valid = false; };
  if (m_.IsConstant(id)) {
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

std::optional<TensorId> Lowerer::TryTable(ValueId x, const Params& p, ir::CodeRange range,
                                          const std::vector<std::string>& nodes,
                                          const std::string& name, bool per_channel) {
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

}  // namespace octile::frontend
