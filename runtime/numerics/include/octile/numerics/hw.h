// The rules with integers of fixed width: what the hardware does. The instruction simulator and the
// SystemC model use this form; the RTL implements the same prose. Equal to the fp32 form (fp.h) for
// every operand in the stated range.
//
// Numbers. An fp32 value is a sign and SIG * 2^E, SIG having 24 bits with bit 23 set, or it is
// zero. From the raw bits of a normal number: SIG = {1, bits[22:0]}, E = bits[30:23] - 150.
// - "RNE to 24" of a wider significand whose top bit is set: keep the top 24 bits; guard is the
// next
//   bit, sticky the OR of the rest; add 1 if guard and (sticky or the least bit kept). A carry out
//   gives 2^23 and E + 1.
// - "RNE to integer" of SIG * 2^E: if E >= -14 then |v| >= 512, which saturates. Else with s = -E:
//   0 if s >= 25, otherwise SIG >> s with guard = bit s-1 and sticky = OR of the bits below.
// Everything is sign and magnitude, for which nearest-even is symmetric.
//
// Requantize (N3):
// 1. MAG = |acc|, 32 bits unsigned (-2^31 is representable). If it or the multiplier is zero, the
//    result of step 4 is 0.
// 2. lz = leading zeros of MAG; RNE to 24 of MAG << lz gives A; EA = 8 - lz, +1 on carry.
// 3. P = A * SIG(m), 48 bits. If bit 47 is clear, shift left by one (n = 1, else 0). RNE to 24
// gives
//    R; ER = EA + E(m) + 24 - n, +1 on carry: 7 bits signed.
// 4. RNE to integer, 9 bits saturated to 511; apply the sign.
// 5. Clamp to [lo - zy, hi - zy]; add zy.
//
// FMA step: code c (9 bits signed) times R (fp32) plus T (fp32), rounded once.
// 1. P = |c| * SIG(R), 32 bits, shifted left until bit 31 is set, then four zeros appended: 36
// bits.
//    SIG(T) with twelve zeros appended: 36 bits. If one of them is zero, the result is the other
//    one after RNE to 24; if both are, zero.
// 2. The operand with the greater exponent (either, if equal) stays. The other one is shifted right
//    by the difference d; the bits lost are ORed into its bit 0 (d >= 36: nothing else remains).
// 3. Add or subtract the magnitudes: 37 bits and a sign; a zero result is +0. Normalize by the
//    leading-zero count; RNE to 24.
// Why one ORed bit is enough: bit 0 of the operand that stays is zero, and bits are lost only for
// d > 4, when cancellation moves the top bit by at most one place, far above guard and sticky.
//
// Add (N6): t = FMA(b, RB, F); v = FMA(a, RA, t); RNE to integer; clamp to [lo, hi]. F holds the
// zero points.
//
// Affine (N13): v = FMA(q, A, F); RNE to integer; clamp to [lo, hi]. A may be negative: the sign of
// the product is that of the code times that of A.
//
// Fp32 add: as the FMA step with both significands extended by four zeros: 28 bits, sum 29 bits.
//
// Mul (N7): |p| (16 bits) * SIG(r), 40 bits, shifted left until bit 39 is set; RNE to 24; fp32 add
// of zc as an fp32 number; RNE to integer; clamp to [lo, hi].
//
// Windowed average (N8): sum = 0; for each in-image code in (h, w) order sum = fp32 add of sum and
// term[code]. The code is lo + the number of thresholds <= sum, found by 8 compares of
// sign-magnitude numbers in 255 ascending ones.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "octile/numerics/types.h"

namespace octile::numerics::hw {

// N3. mult_bits: 0, or the bits of a multiplier in [2^-33, 2^9] (EncodeMultiplier). zy and the
// range: codes of an 8-bit type, lo <= hi. A zero point outside [lo, hi] is legal (Clip).
int Requantize(int32_t acc, uint32_t mult_bits, int zy, int lo, int hi);

// N6. a, b: raw codes, 9 bits signed. The constants must satisfy SupportedAddConstants. ra, rb, f:
// raw fp32 bits.
int AddFma(int a, int b, uint32_t ra_bits, uint32_t rb_bits, uint32_t f_bits, int lo, int hi);

// N13, unfolded batch normalization. q: a raw code, 9 bits signed. The constants must satisfy
// SupportedAffineConstants. a, f: raw fp32 bits.
int Affine(int q, uint32_t a_bits, uint32_t f_bits, int lo, int hi);

// The FMA step alone: c * r + t, one rounding, as raw fp32 bits. c: 9 bits signed; r: zero or
// 2^-40 <= |r| <= 2^20; t: zero or 2^-64 <= |t| < 2^30. A zero result is +0.
uint32_t FmaF32(int c, uint32_t r_bits, uint32_t t_bits);

// N7. p: product of two 9-bit differences, |p| <= 65025. r_bits: 0 or fp32 in [2^-40, 2^20]
// (MulRatio). zc: a code.
int Mul(int32_t p, uint32_t r_bits, int zc, int lo, int hi);
// The same with zc as raw fp32 bits, as the hardware has it; any number.
int MulF32(int32_t p, uint32_t r_bits, uint32_t zc_bits, int lo, int hi);

// One fp32 addition, nearest-even. Operands: zero, or normal with |x| in [2^-80, 2^100]; -0 counts
// as +0.
uint32_t AddF32(uint32_t x_bits, uint32_t y_bits);

// N8. terms[code - lo] and thresholds as raw fp32 bits (AverageTerms, AverageThresholds). Supported
// for scales sx in [2^-40, 2^40] (SupportedAverageScale), so that no sum is subnormal or infinite.
int AverageWindow(std::span<const int> codes, const std::array<uint32_t, 256>& terms,
                  const std::array<uint32_t, 255>& thresholds, int lo);
// The search alone, from the fp32 sum.
int SearchThresholds(uint32_t sum_bits, const std::array<uint32_t, 255>& thresholds, int lo);
bool SupportedAverageScale(float sx);

}  // namespace octile::numerics::hw
