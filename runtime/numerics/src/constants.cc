#include "octile/numerics/constants.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "octile/numerics/fp.h"

namespace octile::numerics {
namespace {

constexpr float kLeastMultiplier = 0x1p-33f;
constexpr float kGreatestMultiplier = 0x1p9f;

// sat32(RN(v)); the bounds are exact in fp32.
int32_t SaturateToInt32(float v) {
  if (std::isnan(v)) return 0;
  if (v >= 0x1p31f) return std::numeric_limits<int32_t>::max();
  if (v <= -0x1p31f) return std::numeric_limits<int32_t>::min();
  return static_cast<int32_t>(std::nearbyint(v));
}

Expected<float> CheckedMultiplier(float m) {
  if (!std::isfinite(m) || m < 0) {
    return Fail(ErrorCode::kModel,
                fmt::format("the multiplier {} of its scales is negative or not finite", m));
  }
  return m;
}

// Order-preserving bijection between fp32 numbers (without NaN) and integers; -0 and +0 are
// neighbours.
int64_t ToOrdinal(float v) {
  const uint32_t bits = FloatBits(v);
  return (bits & 0x80000000u) ? -static_cast<int64_t>(bits & 0x7fffffffu) - 1
                              : static_cast<int64_t>(bits);
}
float FromOrdinal(int64_t ordinal) {
  return ordinal < 0 ? BitsFloat(static_cast<uint32_t>(-(ordinal + 1)) | 0x80000000u)
                     : BitsFloat(static_cast<uint32_t>(ordinal));
}

}  // namespace

Status CheckActivationScale(float scale, const char* what) {
  if (!IsPositiveNormal(FloatBits(scale))) {
    return Fail(ErrorCode::kModel,
                fmt::format("the {} scale is {}; a scale must be a positive, finite, normal number",
                            what, scale));
  }
  return {};
}

Status CheckWeightScale(float scale, const char* what) {
  if (!std::isfinite(scale) || scale < 0) {
    return Fail(
        ErrorCode::kModel,
        fmt::format("the {} scale is {}; it must not be negative and must be finite", what, scale));
  }
  return {};
}

Expected<uint32_t> EncodeMultiplier(float m) {
  OCTILE_RETURN_IF_ERROR(CheckedMultiplier(m));
  if (m < kLeastMultiplier) return 0u;
  return FloatBits(m > kGreatestMultiplier ? kGreatestMultiplier : m);
}

Expected<float> ConvMultiplier(float sx, float sw, float sy) {
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sx, "input"));
  OCTILE_RETURN_IF_ERROR(CheckWeightScale(sw, "weight"));
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sy, "output"));
  const float product = sx * sw;
  return CheckedMultiplier(product / sy);
}

Expected<float> GemmMultiplier(float alpha, float sa, float sb, float sy) {
  if (!std::isfinite(alpha) || alpha < 0) {
    return Fail(
        ErrorCode::kModel,
        fmt::format("alpha is {}; a quantized Gemm needs it finite and not negative", alpha));
  }
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sa, "input A"));
  OCTILE_RETURN_IF_ERROR(CheckWeightScale(sb, "input B"));
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sy, "output"));
  const float scaled = alpha * sa;
  const float product = scaled * sb;
  return CheckedMultiplier(product / sy);
}

Expected<float> AverageMultiplier(float sx, float sy, int64_t count) {
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sx, "input"));
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sy, "output"));
  if (count < 1) return Fail(ErrorCode::kModel, fmt::format("an average over {} elements", count));
  const float divisor = sy * static_cast<float>(count);
  return CheckedMultiplier(sx / divisor);
}

Expected<std::vector<uint32_t>> ConvMultipliers(float sx, std::span<const float> sw, float sy) {
  std::vector<uint32_t> result;
  result.reserve(sw.size());
  for (float s : sw) {
    OCTILE_ASSIGN_OR_RETURN(const float m, ConvMultiplier(sx, s, sy));
    OCTILE_ASSIGN_OR_RETURN(const uint32_t bits, EncodeMultiplier(m));
    result.push_back(bits);
  }
  return result;
}

Expected<std::vector<uint32_t>> GemmMultipliers(float alpha, float sa, std::span<const float> sb,
                                                float sy) {
  std::vector<uint32_t> result;
  result.reserve(sb.size());
  for (float s : sb) {
    OCTILE_ASSIGN_OR_RETURN(const float m, GemmMultiplier(alpha, sa, s, sy));
    OCTILE_ASSIGN_OR_RETURN(const uint32_t bits, EncodeMultiplier(m));
    result.push_back(bits);
  }
  return result;
}

CodeRange ClipCodes(float lo, float hi, float s, int z, CodeRange type) {
  const int high = fp::Quantize(hi, s, z, type);
  return {std::min(fp::Quantize(lo, s, z, type), high), high};
}

int32_t BiasFromFloat(float bias, float sx, float sw) {
  const float scale = sx * sw;
  return SaturateToInt32(bias / scale);
}

int32_t GemmBiasFromFloat(float bias, float alpha, float sa, float sb) {
  const float scaled = alpha * sa;
  const float scale = scaled * sb;
  return SaturateToInt32(bias / scale);
}

bool BiasScaleAccepted(float bias_scale, float sx, float sw) {
  // The comparison itself is in fp64: the one per cent is a threshold of plausibility, not
  // arithmetic of the network.
  const double expected = sx * sw;
  return std::isfinite(bias_scale) &&
         std::abs(static_cast<double>(bias_scale) - expected) <= 0.01 * expected;
}

int32_t BiasFromQuantized(int32_t bias, int32_t zero_point, float bias_scale, float sx, float sw) {
  if (zero_point == 0 && BiasScaleAccepted(bias_scale, sx, sw)) return bias;
  return BiasFromFloat(fp::Dequantize(bias, zero_point, bias_scale), sx, sw);
}

Expected<AddConstants> MakeAddConstants(float sa, int za, float sb, int zb, float sc, int zc) {
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sa, "first input"));
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sb, "second input"));
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sc, "output"));
  AddConstants c;
  c.ra = sa / sc;
  c.rb = sb / sc;
  const float zero_b = c.rb * static_cast<float>(zb);
  c.f = static_cast<float>(zc) - std::fma(c.ra, static_cast<float>(za), zero_b);
  if (!std::isfinite(c.ra) || !std::isfinite(c.rb) || !std::isfinite(c.f)) {
    return Fail(ErrorCode::kModel,
                fmt::format("the input scales {} and {} are too large for the output scale {}", sa,
                            sb, sc));
  }
  return c;
}

bool SupportedAddConstants(const AddConstants& c) {
  const auto ratio_ok = [](float r) { return r >= 0x1p-40f && r <= 0x1p20f; };
  const float magnitude = std::abs(c.f);
  return ratio_ok(c.ra) && ratio_ok(c.rb) &&
         (magnitude == 0 || (magnitude >= 0x1p-64f && magnitude < 0x1p30f));
}

int NormalizeInFp32(int q, const NormalizationChannel& channel, float epsilon, float sx, int zx,
                    float sy, int zy, CodeRange out) {
  const float variance = channel.variance + epsilon;
  const float k = 1.0f / std::sqrt(variance) * channel.scale;
  const float shift = channel.mean * k;
  const float b = channel.bias - shift;
  const float product = fp::Dequantize(q, zx, sx) * k;
  return fp::Quantize(product + b, sy, zy, out);
}

Expected<AffineConstants> MakeAffineConstants(const NormalizationChannel& channel, float epsilon,
                                              float sx, int zx, CodeRange in, float sy, int zy,
                                              CodeRange out) {
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sx, "input"));
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sy, "output"));
  const double variance = static_cast<double>(channel.variance) + static_cast<double>(epsilon);
  const double deviation = std::sqrt(variance);
  const double k = static_cast<double>(channel.scale) / deviation;
  const double input = static_cast<double>(sx) * k;
  AffineConstants c;
  c.a = static_cast<float>(input / static_cast<double>(sy));
  if (std::abs(c.a) < 0x1p-40f) c.a = 0;
  const double shift = static_cast<double>(channel.mean) * k;
  const double offset = (static_cast<double>(channel.bias) - shift) / static_cast<double>(sy);
  const double zero = static_cast<double>(zx) * static_cast<double>(c.a);
  c.f = static_cast<float>((offset + static_cast<double>(zy)) - zero);
  if (std::abs(c.f) < 0x1p-64f) c.f = 0;
  if (!std::isfinite(k) || !std::isfinite(c.a) || !std::isfinite(c.f)) {
    return Fail(ErrorCode::kModel,
                fmt::format("scale {}, bias {}, mean {} and variance {} give no finite factor and "
                            "offset",
                            channel.scale, channel.bias, channel.mean, channel.variance));
  }
  if (!SupportedAffineConstants(c)) return c;
  std::array<int, 256> kernel;
  for (int q = in.lo; q <= in.hi; ++q)
    kernel[static_cast<size_t>(q - in.lo)] =
        NormalizeInFp32(q, channel, epsilon, sx, zx, sy, zy, out);
  const auto agrees = [&](const AffineConstants& candidate) {
    for (int q = in.lo; q <= in.hi; ++q)
      if (fp::Affine(q, candidate, out) != kernel[static_cast<size_t>(q - in.lo)]) return false;
    return true;
  };
  if (agrees(c)) return c;
  const auto moved = [](float v, int steps) {
    const float to = steps < 0 ? -std::numeric_limits<float>::infinity()
                               : std::numeric_limits<float>::infinity();
    for (int i = 0; i < std::abs(steps) && v != 0; ++i) v = std::nextafter(v, to);
    return v;
  };
  for (int distance = 1; distance <= 4; ++distance)
    for (int i = -distance; i <= distance; ++i)
      for (int j = -distance; j <= distance; ++j) {
        if (std::max(std::abs(i), std::abs(j)) != distance) continue;
        const AffineConstants candidate{moved(c.a, i), moved(c.f, j)};
        if (SupportedAffineConstants(candidate) && agrees(candidate)) return candidate;
      }
  return c;
}

bool SupportedAffineConstants(const AffineConstants& c) {
  const float a = std::abs(c.a);
  const float f = std::abs(c.f);
  return (a == 0 || (a >= 0x1p-40f && a <= 0x1p20f)) && (f == 0 || (f >= 0x1p-64f && f < 0x1p30f));
}

Expected<float> MulRatio(float sa, float sb, float sc) {
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sa, "first input"));
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sb, "second input"));
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sc, "output"));
  const float product = sa * sb;
  const float r = product / sc;
  if (!std::isfinite(r)) {
    return Fail(ErrorCode::kModel,
                fmt::format("the input scales {} and {} are too large for the output scale {}", sa,
                            sb, sc));
  }
  if (r < 0x1p-40f) return 0.0f;
  return r > 0x1p20f ? 0x1p20f : r;
}

Expected<std::array<float, 256>> AverageTerms(float sx, int zx, CodeRange range) {
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sx, "input"));
  std::array<float, 256> terms{};
  for (int i = 0; i < 256 && range.lo + i <= range.hi; ++i)
    terms[i] = fp::Dequantize(range.lo + i, zx, sx);
  return terms;
}

Expected<std::array<float, 255>> AverageThresholds(float sy, int zy, int64_t count,
                                                   CodeRange range) {
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sy, "output"));
  if (count < 1) return Fail(ErrorCode::kModel, fmt::format("an average over {} elements", count));
  if (range.hi - range.lo > 255 || range.hi < range.lo) {
    return Fail(
        ErrorCode::kModel,
        fmt::format("the output codes {}..{} are not those of an 8-bit type", range.lo, range.hi));
  }
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::array<float, 255> thresholds;
  thresholds.fill(kInfinity);
  // Each rounding is monotone, so the code is a monotone function of the sum: bisect over the
  // ordered fp32 numbers.
  int64_t below = ToOrdinal(-kInfinity);
  for (int i = 0; range.lo + 1 + i <= range.hi; ++i) {
    int64_t low = below;
    int64_t high = ToOrdinal(kInfinity);
    if (fp::AverageFromSum(FromOrdinal(high), count, sy, zy, range) < range.lo + 1 + i) break;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (fp::AverageFromSum(FromOrdinal(middle), count, sy, zy, range) >= range.lo + 1 + i) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    // -0 and +0 give one code, but a sum is never -0 (hw::AddF32): write +0.
    thresholds[i] = FromOrdinal(low) == 0 ? 0.0f : FromOrdinal(low);
    below = low;
  }
  return thresholds;
}

Expected<QuantParams> DynamicQuantParams(float min, float max) {
  if (!std::isfinite(min) || !std::isfinite(max)) {
    return Fail(ErrorCode::kModel,
                fmt::format("dynamic quantization of values from {} to {}", min, max));
  }
  min = min > 0 ? 0.0f : min;
  max = max < 0 ? 0.0f : max;
  QuantParams p;
  if (max != min) {
    const float extent = max - min;
    p.scale = extent / 255.0f;
  }
  const float quotient = min / p.scale;
  float zero_point = 0.0f - quotient;
  zero_point = zero_point < 0 ? 0.0f : (zero_point > 255.0f ? 255.0f : zero_point);
  p.zero_point = static_cast<int>(std::nearbyintf(zero_point));
  return p;
}

}  // namespace octile::numerics
