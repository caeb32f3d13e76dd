// The rules with integers of fixed width: what the hardware does. The instruction simulator and the SystemC model use this
// form; the RTL implements the same prose. Equal to the fp32 form (fp.h) for every operand in the stated range.
//
// Notation. An fp32 value is a sign and SIG * 2^E with a 24-bit significand SIG (bit 23 set) or zero; from raw bits, a positive
// normal number has SIG = {1, bits[22:0]} and E = bits[30:23] - 150. "RNE to 24" of a wider significand whose top bit is
// set: keep the top 24 bits, guard = the next bit, sticky = OR of the rest; add 1 if guard and (sticky or the kept LSB); a carry
// out gives 2^23 and E + 1. "RNE to integer" of SIG * 2^E: E >= -14 means |v| >= 512 and saturates; with s = -E: s >= 25
// gives 0, else SIG >> s, guard = bit s-1, sticky = OR below, the same rule. Everything is sign and magnitude: nearest-even
// is symmetric.
//
// Requantize (N3)
//   1. MAG = |acc| (32 bits unsigned: -2^31 is representable); 0, or a zero multiplier, gives zy clamped to [lo, hi].
//   2. lz = leading zeros of MAG; MAG << lz; RNE to 24: A, exponent EA = 8 - lz (+1 on carry).
//   3. P = A * SIG(m), 48 bits; if bit 47 is clear shift left by one (n = 1); RNE to 24: R, exponent ER = EA + E(m) + 24 - n
//      (+1 on carry). ER fits in 8 bits signed.
//   4. RNE to integer: 9 bits, saturated to 511; apply the sign; clamp to [lo - zy, hi - zy]; add zy.
//
// FMA step of N6: code c (9 bits signed) * R (24-bit significand) + addend T (fp32), rounded once.
//   1. P = |c| * SIG(R), 32 bits; normalized so that bit 31 is set, then extended by four zeros below: 36 bits. T: 24 bits,
//      extended by twelve zeros below: 36 bits. A zero operand: the result is RNE to 24 of the other one; both zero: zero.
//   2. The operand with the greater exponent (either if equal) stays; the other one is shifted right by the difference d; bits lost
//      are ORed into its bit 0 (d >= 36: only that bit).
//   3. Add or subtract the magnitudes: 37 bits and a sign; zero is +0. Normalize by the leading-zero count, RNE to 24.
//   Bit 0 of the operand that stays is zero, so the ORed bit rounds as the exact value would; and where bits are lost (d > 4)
//   cancellation moves the top bit by at most one place, so guard and sticky are below bit 11.
// Add (N6): t = FMA(b, RB, F); v = FMA(a, RA, t); RNE to integer; clamp to [lo, hi]. The zero point is inside F.
//
// Mul (N7): |p| (16 bits) * SIG(r): 40 bits, normalized so that bit 39 is set, RNE to 24 (the 48-bit multiplier and the rounder of N3
//   serve: p shifted to 24 bits). Then the fp32 add below with zc as an fp32 number, RNE to integer, clamp to [lo, hi].
//
// fp32 add (N7, N8): as the FMA step with both operands 24 bits, extended by four zeros below: 28 bits, sum 29 bits.
//
// Windowed average (N8): sum = 0; for each in-image code in (h, w) order sum = fp32 add(sum, term[code]); then the code is lo + the
//   number of thresholds <= sum (a binary search in 255 ascending fp32 numbers: 8 compares of sign-magnitude numbers).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "octile/numerics/types.h"

namespace octile::numerics::hw {

// N3. mult_bits: 0, or the bits of a multiplier in [2^-33, 2^9] (EncodeMultiplier). zy and the range: codes of an 8-bit type,
// lo <= hi. A zero point outside [lo, hi] is legal (Clip).
int Requantize(int32_t acc, uint32_t mult_bits, int zy, int lo, int hi);

// N6. a, b: raw codes, 9 bits signed. The constants must satisfy SupportedAddConstants. ra, rb, f: raw fp32 bits.
int AddFma(int a, int b, uint32_t ra_bits, uint32_t rb_bits, uint32_t f_bits, int lo, int hi);

// N7. p: product of two 9-bit differences, |p| <= 65025. r_bits: 0 or fp32 in [2^-40, 2^20] (MulRatio). zc: a code.
int Mul(int32_t p, uint32_t r_bits, int zc, int lo, int hi);

// One fp32 addition, nearest-even. Operands: zero, or normal with |x| in [2^-80, 2^100]; -0 counts as +0.
uint32_t AddF32(uint32_t x_bits, uint32_t y_bits);

// N8. terms[code - lo] and thresholds as raw fp32 bits (AverageTerms, AverageThresholds). Supported for scales sx in [2^-40, 2^40]
// (SupportedAverageScale), so that no sum is subnormal or infinite.
int AverageWindow(std::span<const int> codes, const std::array<uint32_t, 256>& terms,
                  const std::array<uint32_t, 255>& thresholds, int lo);
// The search alone, from the fp32 sum.
int SearchThresholds(uint32_t sum_bits, const std::array<uint32_t, 255>& thresholds, int lo);
bool SupportedAverageScale(float sx);

}  // namespace octile::numerics::hw
