// What the compiler computes once per model: multipliers, biases, constants of two-operand nodes,
// thresholds.
//
// All of it is fp32 in the order the rule states; another order gives other bits (docs/numerics.md,
// section 1). Errors are ErrorCode::kModel and name the quantity at fault; the caller adds the
// node's name.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "octile/numerics/types.h"
#include "octile/support/status.h"

namespace octile::numerics {

// ---- N2: multipliers ----

// The raw fp32 bits that the hardware takes: 0 for a dead channel (0 <= m < 2^-33: |acc * m| < 1/4
// always rounds to 0), the bits of 2^9 for anything larger than 2^9 (acc = 1 saturates already),
// else the bits of m. Error: negative or non-finite.
Expected<uint32_t> EncodeMultiplier(float m);

// An activation scale must be positive, finite and normal; `what` names it in the message.
Status CheckActivationScale(float scale, const char* what);
// A weight scale may also be zero or subnormal (a dead channel).
Status CheckWeightScale(float scale, const char* what);

// fl(fl(sx * sw) / sy), before encoding. Convolution, MatMul.
Expected<float> ConvMultiplier(float sx, float sw, float sy);
// fl(fl(fl(alpha * sa) * sb) / sy). QGemm.
Expected<float> GemmMultiplier(float alpha, float sa, float sb, float sy);
// fl(sx / fl(sy * fl(count))). Global average (N8). count >= 1.
Expected<float> AverageMultiplier(float sx, float sy, int64_t count);

// Encoded multipliers, one per element of sw (one element: per tensor).
Expected<std::vector<uint32_t>> ConvMultipliers(float sx, std::span<const float> sw, float sy);
Expected<std::vector<uint32_t>> GemmMultipliers(float alpha, float sa, std::span<const float> sb,
                                                float sy);

// ---- N3: kept Relu and Clip ----

// The codes [Q(lo), Q(hi)] that a Clip between a requantize and its Q leaves (Relu: lo = 0, hi =
// +infinity). As in ONNX, hi wins where lo > hi.
CodeRange ClipCodes(float lo, float hi, float s, int z, CodeRange type);

// ---- N1: bias ----

// sat32(RN(fl(b / fl(sx * sw)))). A quotient that is not a number (0 / 0, a dead channel without
// bias) gives 0.
int32_t BiasFromFloat(float bias, float sx, float sw);
// QGemm scales its accumulator by alpha too, but not its bias: sat32(RN(fl(b / fl(fl(alpha * sa) *
// sb)))).
int32_t GemmBiasFromFloat(float bias, float alpha, float sa, float sb);
// True if an int32 bias with zero point 0 may be added as it is: |scale - fl(sx * sw)| <= 1 % of
// fl(sx * sw). ONNX Runtime 1.30 accepts 10^-6 more, that is any bias scale where fl(sx * sw) is
// small: there it ignores a scale that the rule honours.
bool BiasScaleAccepted(float bias_scale, float sx, float sw);
// The bias code to add for an int32 bias: as it is if its zero point is 0 and its scale is
// accepted, else through N4 and BiasFromFloat.
int32_t BiasFromQuantized(int32_t bias, int32_t zero_point, float bias_scale, float sx, float sw);

// ---- N6: add ----

// y = sat(RN(fma(a, ra, fma(b, rb, f)))) on raw codes a (input 0) and b (input 1, or the
// scalar/broadcast operand).
struct AddConstants {
  float ra = 0;
  float rb = 0;
  float f = 0;
  friend bool operator==(const AddConstants&, const AddConstants&) = default;
};

// ra = fl(sa/sc), rb = fl(sb/sc), f = fl(zc - fma(ra, za, fl(rb * zb))). Error: a scale that is
// refused, or constants that are not finite. The result may still be unsupported by the hardware.
Expected<AddConstants> MakeAddConstants(float sa, int za, float sb, int zb, float sc, int zc);

// What hw::AddFma covers: 2^-40 <= ra, rb <= 2^20, and f zero or 2^-64 <= |f| < 2^30. Within it no
// intermediate is subnormal and none overflows. Constants from MakeAddConstants with ra, rb in
// range always have f in range. Outside the compiler must run the node on the host.
bool SupportedAddConstants(const AddConstants& constants);

// ---- N13: unfolded batch normalization ----

// y = sat(RN(fma(q, a, f))) on the raw code q, one pair per channel.
struct AffineConstants {
  float a = 0;
  float f = 0;
  friend bool operator==(const AffineConstants&, const AffineConstants&) = default;
};

// The parameters of one channel of a BatchNormalization.
struct NormalizationChannel {
  float scale = 1;
  float bias = 0;
  float mean = 0;
  float variance = 1;
};

// In fp64, every operation rounded: k = scale / sqrt(variance + epsilon), a = fl(sx * k / sy),
// f = fl((bias - mean * k) / sy + zy - zx * a); then |a| < 2^-40 becomes 0 and |f| < 2^-64 becomes
// 0. Where the code of some q in `in` is not that of the fp32 kernel (NormalizeInFp32), the first
// neighbour with which all are is taken instead: (a + i ulp, f + j ulp), in the order of
// max(|i|, |j|) = 1 .. 4, then of i, then of j, both ascending, a zero staying zero. If there is
// none, the constants stay as they are. Errors: a scale of codes that is refused, or constants that
// are not finite (a variance that is not positive). The result may still be unsupported by the
// hardware.
Expected<AffineConstants> MakeAffineConstants(const NormalizationChannel& channel, float epsilon,
                                              float sx, int zx, CodeRange in, float sy, int zy,
                                              CodeRange out);

// DQ, BatchNormalization and Q as ONNX Runtime's fp32 kernel computes them: x = fl(fl(q - zx) *
// sx), k = fl(fl(1 / fl(sqrt(fl(variance + epsilon)))) * scale), b = fl(bias - fl(mean * k)),
// Q(fl(fl(x * k) + b)).
int NormalizeInFp32(int q, const NormalizationChannel& channel, float epsilon, float sx, int zx,
                    float sy, int zy, CodeRange out);

// What hw::Affine covers: a zero or 2^-40 <= |a| <= 2^20, and f zero or 2^-64 <= |f| < 2^30.
// Outside the compiler must run the node on the host.
bool SupportedAffineConstants(const AffineConstants& constants);

// ---- N7: multiply ----

// r = fl(fl(sa * sb) / sc), encoded for the hardware as 0 below 2^-40 and 2^20 above 2^20. Both
// replacements are exact: |p| < 2^16, so a smaller r only adds less than 2^-24 to an integer, and a
// larger one saturates at |p| = 1. Errors: a scale that is refused; r not finite.
Expected<float> MulRatio(float sa, float sb, float sc);

// ---- N8: windowed average ----

// The term of each code, fl(sx * (q - zx)); index q - range.lo.
Expected<std::array<float, 256>> AverageTerms(float sx, int zx, CodeRange range);

// thresholds[i] is the least fp32 sum whose code is at least range.lo + 1 + i; +infinity where no
// sum reaches it. y = range.lo + (number of thresholds <= sum). Ascending. One array per divisor.
// range.hi - range.lo <= 255.
Expected<std::array<float, 255>> AverageThresholds(float sy, int zy, int64_t count,
                                                   CodeRange range);

// Windows of an average with `elements` elements inside the image, whose sum is divided by
// `divisor`.
struct AverageWindows {
  int64_t elements = 1;
  int64_t divisor = 1;
};

// A windowed average of one divisor in integers:
// y = Requantize(sum of (q - zx) + bias, multiplier, zero_point, range).
struct IntegerAverage {
  int64_t divisor = 1;
  int32_t bias = 0;
  float multiplier = 1.0f;  // as EncodeMultiplier leaves it
  int zero_point = 0;       // not the tensor's where ties of N8 and of N3 differ
  friend bool operator==(const IntegerAverage&, const IntegerAverage&) = default;
};

struct IntegerAverages {
  std::vector<IntegerAverage> forms;  // one per divisor, ascending; empty if not proved
  std::string reason;                 // why not
  int64_t sums = 0;                   // integer sums, counted per divisor, that windows can have
  int64_t undecided = 0;  // of these, sums whose code depends on the order of the fp32 additions
};

// Decides whether the rule's fp32 arithmetic gives the same code for all ways to reach an integer
// sum, and finds the integer form that gives exactly that code for every sum. The decision is
// complete: adding a term and all that follows are monotone in the sum so far, so that the least
// and the greatest fp32 sum of e elements with the integer sum S are those over all last codes of
// fl(least or greatest of e - 1 elements with S - (q - zx), plus fl(sx * (q - zx))); both are
// reached, and all between them gives one code if they do.
//
// inputs: all codes of the input's type; outputs: those of the output's type; range: the legal
// output codes. Windows of more than kMostProvedElements elements are refused by reason. Errors:
// scales that are refused, an element count or divisor below 1.
inline constexpr int64_t kMostProvedElements = 128;
Expected<IntegerAverages> ProveIntegerAverages(float sx, int zx, CodeRange inputs,
                                               std::span<const AverageWindows> windows, float sy,
                                               int zy, CodeRange outputs, CodeRange range);

// ---- N12: dynamic quantization ----

struct QuantParams {
  float scale = 1;
  int zero_point = 0;
  friend bool operator==(const QuantParams&, const QuantParams&) = default;
};

// Of u8 codes for values whose least and greatest are given. Error: not finite.
Expected<QuantParams> DynamicQuantParams(float min, float max);

}  // namespace octile::numerics
