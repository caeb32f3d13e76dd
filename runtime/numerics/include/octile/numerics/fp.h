// The rules in fp32, operation by operation as docs/numerics.md writes them. The host reference
// uses this form; it is the definition. Nothing here may be contracted (-ffp-contract=off) or run
// in another rounding mode than nearest-even.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "octile/numerics/constants.h"
#include "octile/numerics/types.h"

namespace octile::numerics::fp {

// N3. acc: int32 accumulator with its bias. m: fp32 multiplier (encoded or not). zy: output zero
// point. [lo, hi]: legal codes. RN(clamp(fl(fl(acc) * m), lo - zy, hi - zy)) + zy.
int Requantize(int32_t acc, float m, int zy, CodeRange range);

// N4. sat(RN(fl(x / s)) + z); NaN gives range.lo.
int Quantize(float x, float s, int z, CodeRange range);
// N4. fl(fl(q - z) * s). q may be any int32 (a bias), whose difference is rounded to fp32 first.
float Dequantize(int32_t q, int32_t z, float s);

// N6, on raw codes.
int Add(int a, int b, const AddConstants& constants, CodeRange range);

// N13, unfolded batch normalization, on a raw code: sat(RN(fma(q, a, f))).
int Affine(int q, const AffineConstants& constants, CodeRange range);

// N7. p = (a - za) * (b - zb), r = MulRatio(...). sat(RN(fl(fl(p * r) + zc))).
int Mul(int32_t p, float r, int zc, CodeRange range);

// N8, any average: fp32 sum of the in-image codes in (h, w) order; count as the rule says.
// y = sat(RN(fl(fl(fl(sum / count) / sy) + zy))).
int AverageWindow(std::span<const int> codes, float sx, int zx, int64_t count, float sy, int zy,
                  CodeRange range);
// The last part of it, from the fp32 sum.
int AverageFromSum(float sum, int64_t count, float sy, int zy, CodeRange range);
// N8, global: acc = sum of codes - n * zx, m = AverageMultiplier(...), then Requantize.

// N9. Q(DQ(q)); the caller copies where the parameters are equal (the result is the same).
int Rescale(int q, float sx, int zx, float sy, int zy, CodeRange range);

// N10. The table has one entry per distance: entry i belongs to a code that lies 255 - i below the
// row's greatest. length: elements of the softmax axis.
std::array<float, 256> QSoftmaxTable(float sx, int64_t length);
// One row of `length` codes of x with stride `stride`, into y with the same stride. range: kU8 or
// kS8 (x and y have the same type).
void QSoftmaxRow(const int* x, int* y, int64_t length, int64_t stride,
                 const std::array<float, 256>& table, float sy, int zy, CodeRange range);

// N11. fl(fl(acc) * fl(sa * sb)).
float MatMulFloat(int32_t acc, float sa, float sb);
// N11. fl(fl(acc) * fl(fl(alpha * sa) * sb)); acc has its int32 bias.
float GemmFloat(int32_t acc, float alpha, float sa, float sb);

// N13, softmax of fp32 values. Rule: M = greatest; e[i] = exp(fl(x[i] - M)) correctly rounded to
// fp32; S = the sum of e in index order, in fp64, rounded once to fp32; y[i] = fl(e[i] / S). A row
// of -infinity gives NaN, as in ONNX Runtime.
void SoftmaxRow(const float* x, float* y, int64_t length, int64_t stride);
// N13, log-softmax: fl of (fl(x[i] - M) - log(S)) evaluated in fp64, S in fp64.
void LogSoftmaxRow(const float* x, float* y, int64_t length, int64_t stride);

}  // namespace octile::numerics::fp
