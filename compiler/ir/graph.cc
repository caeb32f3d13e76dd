#include "octile/ir/graph.h"

#include <fmt/format.h>

#include <algorithm>

namespace octile::ir {
namespace {

template <class... Ts>
struct Overload : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overload(Ts...) -> Overload<Ts...>;

}  // namespace

std::string OpName(const Op& op) {
  static constexpr std::string_view kNames[] = {"Conv",          "Gemm",       "GlobalAveragePool",
                                                "Table",         "MaxPool",    "AveragePool",
                                                "Add",           "Mul",        "Affine",
                                                "Concat",        "Slice",      "Pad",
                                                "ResizeNearest", "Transpose",  "Reshape",
                                                "Quantize",      "Dequantize", "ScaleAccumulator",
                                                "Softmax"};
  static_assert(std::size(kNames) + 1 == std::variant_size_v<Op>);
  if (const auto* host = std::get_if<HostFloat>(&op)) return host->op;
  return std::string(kNames[op.index()]);
}

CodeRange FullRange(DType type) {
  return type == DType::kS8 ? CodeRange{-128, 127} : CodeRange{0, 255};
}

Expected<Shape> BroadcastShape(const Shape& a, const Shape& b) {
  const size_t rank = std::max(a.size(), b.size());
  Shape out(rank);
  for (size_t i = 0; i < rank; ++i) {
    const int64_t da = i + a.size() < rank ? 1 : a[i + a.size() - rank];
    const int64_t db = i + b.size() < rank ? 1 : b[i + b.size() - rank];
    if (da != db && da != 1 && db != 1)
      return Fail(ErrorCode::kModel,
                  fmt::format("shapes {} and {} cannot be broadcast", ShapeName(a), ShapeName(b)));
    out[i] = std::max(da, db);
  }
  return out;
}

Broadcast BroadcastKind(const Shape& a, const Shape& b) {
  const auto trimmed = [](const Shape& shape) {
    return Shape(std::find_if(shape.begin(), shape.end(), [](int64_t d) { return d != 1; }),
                 shape.end());
  };
  if (trimmed(a) == trimmed(b)) return Broadcast::kSame;
  if (trimmed(b).empty()) return Broadcast::kScalar;
  if (a.size() == 4) {
    Shape full(4, 1);
    if (b.size() <= 4) {
      std::copy(b.begin(), b.end(), full.end() - static_cast<int64_t>(b.size()));
      if ((full[0] == 1 || full[0] == a[0]) && full[1] == a[1] && full[2] == 1 && full[3] == 1)
        return Broadcast::kChannel;
    }
  }
  return Broadcast::kGeneral;
}

int64_t ElementsInside(const AveragePool& pool, size_t dimension, int64_t at, int64_t size) {
  const int64_t begin = at * pool.strides[dimension] - pool.pads[dimension];
  const int64_t step = pool.dilations[dimension];
  const int64_t before = begin < 0 ? (-begin + step - 1) / step : 0;
  const int64_t up_to = begin < size ? (size - 1 - begin) / step + 1 : 0;
  return std::max<int64_t>(0, std::min(pool.kernel[dimension], up_to) - before);
}

int64_t MacCount(const Graph& graph, const Step& step) {
  const TensorInfo& y = graph.tensor(step.output);
  return std::visit(
      Overload{[&](const Conv& op) {
                 const int64_t channels = graph.tensor(step.inputs[0]).shape[1] / op.group;
                 return y.size() * channels * op.kernel[0] * op.kernel[1];
               },
               [&](const Gemm&) { return y.size() * graph.tensor(step.inputs[0]).shape.back(); },
               [](const auto&) { return int64_t{0}; }},
      step.op);
}

std::vector<int32_t> Producers(const Graph& graph) {
  std::vector<int32_t> producers(graph.tensors.size(), -1);
  for (size_t i = 0; i < graph.steps.size(); ++i)
    producers[static_cast<size_t>(graph.steps[i].output)] = static_cast<int32_t>(i);
  return producers;
}

std::vector<std::vector<int32_t>> Consumers(const Graph& graph) {
  std::vector<std::vector<int32_t>> consumers(graph.tensors.size());
  for (size_t i = 0; i < graph.steps.size(); ++i)
    for (TensorId input : graph.steps[i].inputs)
      consumers[static_cast<size_t>(input)].push_back(static_cast<int32_t>(i));
  return consumers;
}

}  // namespace octile::ir
