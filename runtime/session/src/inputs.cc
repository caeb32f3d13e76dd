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

double Uniform(uint64_t seed, uint64_t i) { return static_cast<double>(Draw(seed, i) >> 11) * 0x1p-53; }

}  // namespace

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
      low = (static_cast<float>(range.lo - codes.quant->zero_point) - 0.05f * span) * codes.quant->scale;
      high = (static_cast<float>(range.hi - codes.quant->zero_point) + 0.05f * span) * codes.quant->scale;
      break;
    }
    for (size_t i = 0; i < count; ++i) tensor.data<float>()[i] = low + static_cast<float>(Uniform(seed, i)) * (high - low);
    return tensor;
  }
  // Every code of an integer type; wider integers stay in a byte's range.
  const auto element = static_cast<size_t>(DTypeSize(info.dtype));
  for (size_t i = 0; i < count; ++i) tensor.bytes[i * element] = static_cast<uint8_t>(Draw(seed, i) >> 32);
  if (info.dtype == DType::kBool) {
    for (uint8_t& byte : tensor.bytes) byte &= 1;
  }
  return tensor;
}

}  // namespace octile::session
