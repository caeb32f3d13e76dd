#include <fmt/format.h>

#include <algorithm>

#include "octile/session/session.h"

namespace octile::session {
namespace {

// SplitMix64 as a counter-based generator: element i of a seed, independent of order.
uint64_t Draw(uint64_t seed, uint64_t i) {
  uint64_t z = seed * 0x9e3779b97f4a7c15u + i * 0xbf58476d1ce4e5b9u + 0x94d049bb133111ebu;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

double Uniform(uint64_t seed, uint64_t i) {
  return static_cast<double>(Draw(seed, i) >> 11) * 0x1p-53;
}

double Element(const Tensor& tensor, size_t i) {
  switch (tensor.dtype) {
    case DType::kU8:
      return tensor.data<uint8_t>()[i];
    case DType::kS8:
      return tensor.data<int8_t>()[i];
    case DType::kS32:
      return tensor.data<int32_t>()[i];
    case DType::kS64:
      return static_cast<double>(tensor.data<int64_t>()[i]);
    case DType::kF32:
      return tensor.data<float>()[i];
    default:
      return 0;
  }
}

}  // namespace

Expected<Accuracy> CountCorrect(const std::map<std::string, Tensor>& outputs,
                                const std::map<std::string, Tensor>& labels, int64_t images) {
  Accuracy accuracy;
  for (const auto& [name, wanted] : labels) {
    const auto it = outputs.find(name);
    if (it == outputs.end())
      return Fail(ErrorCode::kUsage, fmt::format("--labels: the model has no output '{}'", name));
    if (wanted.size() != images) {
      return Fail(ErrorCode::kUsage,
                  fmt::format("--labels: {} labels for {} images", wanted.size(), images));
    }
    const Tensor& scores = it->second;
    const auto classes = static_cast<size_t>(scores.size() / images);
    for (size_t image = 0; image < static_cast<size_t>(images); ++image) {
      size_t best = 0;
      for (size_t c = 1; c < classes; ++c) {
        if (Element(scores, image * classes + c) > Element(scores, image * classes + best))
          best = c;
      }
      accuracy.correct += static_cast<double>(best) == Element(wanted, image) ? 1 : 0;
    }
    accuracy.images += images;
  }
  return accuracy;
}

Tensor RandomInput(const ir::Graph& graph, ir::TensorId input, uint64_t seed) {
  const ir::TensorInfo& info = graph.tensor(input);
  Tensor tensor(info.dtype, info.shape);
  const auto count = static_cast<size_t>(info.size());
  if (info.dtype == DType::kF32) {
    float low = -1.0f;
    float high = 1.0f;
    for (const ir::Step& step : graph.steps) {
      if (!std::holds_alternative<ir::Quantize>(step.op) || step.inputs[0] != input) continue;
      const ir::TensorInfo& codes = graph.tensor(step.output);
      const ir::CodeRange range = ir::FullRange(codes.dtype);
      const auto span = static_cast<float>(range.hi - range.lo);
      low = (static_cast<float>(range.lo - codes.quant->zero_point) - 0.05f * span) *
            codes.quant->scale;
      high = (static_cast<float>(range.hi - codes.quant->zero_point) + 0.05f * span) *
             codes.quant->scale;
      break;
    }
    for (size_t i = 0; i < count; ++i)
      tensor.data<float>()[i] = low + static_cast<float>(Uniform(seed, i)) * (high - low);
    return tensor;
  }
  // Every code of an integer type; wider integers stay in a byte's range.
  const auto element = static_cast<size_t>(DTypeSize(info.dtype));
  for (size_t i = 0; i < count; ++i)
    tensor.bytes[i * element] = static_cast<uint8_t>(Draw(seed, i) >> 32);
  if (info.dtype == DType::kBool) {
    for (uint8_t& byte : tensor.bytes) byte &= 1;
  }
  return tensor;
}

}  // namespace octile::session
