#include "octile/numerics/fp.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace octile::numerics::fp {
namespace {

// sat(RN(v)) for finite or infinite v. Clamping first is equal, because the bounds are integers,
// and keeps the cast defined.
int RoundToRange(float v, CodeRange range) {
  v = std::max(v, static_cast<float>(range.lo));
  v = std::min(v, static_cast<float>(range.hi));
  return static_cast<int>(std::nearbyintf(v));
}

}  // namespace

int Requantize(int32_t acc, float m, int zy, CodeRange range) {
  const float value = static_cast<float>(acc);
  const float scaled = value * m;
  return RoundToRange(scaled, {range.lo - zy, range.hi - zy}) + zy;
}

int Quantize(float x, float s, int z, CodeRange range) {
  if (std::isnan(x)) return range.lo;
  const float quotient = x / s;
  if (std::isnan(quotient)) return range.lo;
  return RoundToRange(quotient, {range.lo - z, range.hi - z}) + z;
}

float Dequantize(int32_t q, int32_t z, float s) {
  // The difference of two int32 wraps as in ONNX Runtime; for codes of 8 and 16 bits it is exact.
  const int32_t difference =
      static_cast<int32_t>(static_cast<uint32_t>(q) - static_cast<uint32_t>(z));
  return static_cast<float>(difference) * s;
}

int Add(int a, int b, const AddConstants& c, CodeRange range) {
  const float inner = std::fma(static_cast<float>(b), c.rb, c.f);
  const float outer = std::fma(static_cast<float>(a), c.ra, inner);
  return RoundToRange(outer, range);
}

int Affine(int q, const AffineConstants& c, CodeRange range) {
  return RoundToRange(std::fma(static_cast<float>(q), c.a, c.f), range);
}

int Mul(int32_t p, float r, int zc, CodeRange range) {
  const float product = static_cast<float>(p) * r;
  const float shifted = product + static_cast<float>(zc);
  return RoundToRange(shifted, range);
}

int AverageFromSum(float sum, int64_t count, float sy, int zy, CodeRange range) {
  const float mean = sum / static_cast<float>(count);
  const float scaled = mean / sy;
  const float shifted = scaled + static_cast<float>(zy);
  return RoundToRange(shifted, range);
}

int AverageWindow(std::span<const int> codes, float sx, int zx, int64_t count, float sy, int zy,
                  CodeRange range) {
  float sum = 0;
  for (int code : codes) sum = sum + Dequantize(code, zx, sx);
  return AverageFromSum(sum, count, sy, zy, range);
}

int Rescale(int q, float sx, int zx, float sy, int zy, CodeRange range) {
  return Quantize(Dequantize(q, zx, sx), sy, zy, range);
}

std::array<float, 256> QSoftmaxTable(float sx, int64_t length) {
  // The greatest exponent is chosen so that the sum of `length` entries stays finite, with a
  // reserve of e^5.
  const float elements = static_cast<float>(std::max<int64_t>(length, 1));
  // That logarithm is in fp32 (in fp64 one tie-heavy output of forty differs from ONNX Runtime),
  // everything after it in fp64.
  const float headroom = std::log(std::numeric_limits<float>::max() / elements);
  const double shift = std::max(0.0, static_cast<double>(headroom) - 5.0) / static_cast<double>(sx);
  std::array<float, 256> table;
  for (int i = 0; i < 256; ++i) {
    table[i] = static_cast<float>(
        std::exp((static_cast<double>(i) - 255 + shift) * static_cast<double>(sx)));
  }
  return table;
}

void QSoftmaxRow(const int* x, int* y, int64_t length, int64_t stride,
                 const std::array<float, 256>& table, float sy, int zy, CodeRange range) {
  if (length <= 0) return;
  int greatest = x[0];
  for (int64_t i = 1; i < length; ++i) greatest = std::max(greatest, x[i * stride]);
  const int base = 255 - greatest;
  float sum = 0;
  for (int64_t i = 0; i < length; ++i) sum = sum + table[base + x[i * stride]];
  const float one_over = 1.0f / sy;
  const float levels = std::floor(one_over);
  for (int64_t i = 0; i < length; ++i) {
    const float scaled = table[base + x[i * stride]] * levels;
    const float quotient = scaled / sum;
    // The quotient is at most fl(1 / sy), which need not fit an int.
    const float rounded = std::nearbyintf(std::min(quotient, 65536.0f));
    y[i * stride] = std::min(static_cast<int>(rounded) + zy, range.hi);
  }
}

float MatMulFloat(int32_t acc, float sa, float sb) {
  const float scale = sa * sb;
  return static_cast<float>(acc) * scale;
}

float GemmFloat(int32_t acc, float alpha, float sa, float sb) {
  const float scaled = alpha * sa;
  const float scale = scaled * sb;
  return static_cast<float>(acc) * scale;
}

void SoftmaxRow(const float* x, float* y, int64_t length, int64_t stride) {
  if (length <= 0) return;
  float greatest = x[0];
  for (int64_t i = 1; i < length; ++i) greatest = std::max(greatest, x[i * stride]);
  double sum = 0;
  for (int64_t i = 0; i < length; ++i) {
    const float distance = x[i * stride] - greatest;
    const float e = static_cast<float>(std::exp(static_cast<double>(distance)));
    y[i * stride] = e;
    sum += static_cast<double>(e);
  }
  const float divisor = static_cast<float>(sum);
  for (int64_t i = 0; i < length; ++i) y[i * stride] = y[i * stride] / divisor;
}

void LogSoftmaxRow(const float* x, float* y, int64_t length, int64_t stride) {
  if (length <= 0) return;
  float greatest = x[0];
  for (int64_t i = 1; i < length; ++i) greatest = std::max(greatest, x[i * stride]);
  double sum = 0;
  for (int64_t i = 0; i < length; ++i) {
    const float distance = x[i * stride] - greatest;
    sum += std::exp(static_cast<double>(distance));
  }
  const double log_sum = std::log(sum);
  for (int64_t i = 0; i < length; ++i) {
    const float distance = x[i * stride] - greatest;
    y[i * stride] = static_cast<float>(static_cast<double>(distance) - log_sum);
  }
}

}  // namespace octile::numerics::fp
