// Integers only: no floating-point type occurs below. Each function states the width of its
// intermediates; the reasons are in hw.h.
#include "octile/numerics/hw.h"

#include <algorithm>
#include <bit>

namespace octile::numerics::hw {
namespace {

// (-1)^neg * sig * 2^exp; sig has 24 bits with bit 23 set, or is 0 (then exp is meaningless and neg
// false).
struct Number {
  bool neg = false;
  uint32_t sig = 0;  // 24 bits
  int exp = 0;       // 10 bits, signed
};

Number FromBits(uint32_t bits) {
  const uint32_t field = (bits >> 23) & 0xff;
  if (field == 0) return {};
  return {(bits >> 31) != 0, (bits & 0x007fffffu) | 0x00800000u, static_cast<int>(field) - 150};
}

uint32_t ToBits(const Number& n) {
  if (n.sig == 0) return 0;
  return (n.neg ? 0x80000000u : 0u) | (static_cast<uint32_t>(n.exp + 150) << 23) |
         (n.sig & 0x007fffffu);
}

// RNE of a nonzero magnitude * 2^exp (at most 48 bits) to 24 bits, after normalizing it to `width`
// bits.
Number RoundTo24(bool neg, uint64_t magnitude, int exp, int width) {
  const int lead = std::countl_zero(magnitude) - (64 - width);  // leading zeros within `width` bits
  const uint64_t normal = magnitude << lead;                    // `width` bits, top bit set
  const int drop = width - 24;
  uint32_t sig = static_cast<uint32_t>(normal >> drop);                   // 24 bits
  const bool guard = (normal >> (drop - 1)) & 1;                          // first bit dropped
  const bool sticky = (normal & ((uint64_t{1} << (drop - 1)) - 1)) != 0;  // the rest
  int result_exp = exp + drop - lead;
  if (guard && (sticky || (sig & 1))) ++sig;  // 25 bits
  if (sig >> 24) {
    sig >>= 1;
    ++result_exp;
  }
  return {neg, sig, result_exp};
}

// RN to an integer of 9 bits and sign; everything from 511 up saturates.
int RoundToInteger(const Number& n) {
  if (n.sig == 0) return 0;
  int magnitude = 0;  // 9 bits
  if (n.exp >= -14) {
    magnitude = 511;
  } else {
    const int shift = -n.exp;
    if (shift <= 24) {
      magnitude = static_cast<int>(n.sig >> shift);  // at most 9 bits, because shift >= 15
      const bool guard = (n.sig >> (shift - 1)) & 1;
      const bool sticky = (n.sig & ((1u << (shift - 1)) - 1)) != 0;
      if (guard && (sticky || (magnitude & 1))) ++magnitude;  // 10 bits
      magnitude = std::min(magnitude, 511);
    }
  }
  return n.neg ? -magnitude : magnitude;
}

// Sum of two nonzero magnitudes of `width` bits, each with its top bit set, value magnitude *
// 2^exp; rounded once.
Number AddAligned(bool neg_x, uint64_t x, int exp_x, bool neg_y, uint64_t y, int exp_y, int width) {
  if (exp_y > exp_x) {
    std::swap(neg_x, neg_y);
    std::swap(x, y);
    std::swap(exp_x, exp_y);
  }
  const int distance = exp_x - exp_y;
  if (distance >= width) {
    y = 1;
  } else {
    const uint64_t lost = y & ((uint64_t{1} << distance) - 1);
    y = (y >> distance) | (lost != 0 ? 1u : 0u);  // `width` bits
  }
  if (neg_x == neg_y) return RoundTo24(neg_x, x + y, exp_x, width + 1);  // width + 1 bits
  if (x == y) return {};
  return x > y ? RoundTo24(neg_x, x - y, exp_x, width + 1)
               : RoundTo24(neg_y, y - x, exp_x, width + 1);
}

// c * ratio + addend, rounded once. c: 9 bits signed.
Number FmaStep(int c, const Number& ratio, const Number& addend) {
  if (c == 0 || ratio.sig == 0) return addend;
  const bool neg = (c < 0) != ratio.neg;
  const uint64_t product = static_cast<uint64_t>(c < 0 ? -c : c) * ratio.sig;  // 8 x 24 = 32 bits
  if (addend.sig == 0) return RoundTo24(neg, product, ratio.exp, 32);
  const int lead = std::countl_zero(static_cast<uint32_t>(product));
  const uint64_t x = (product << lead) << 4;                   // 36 bits
  const uint64_t y = static_cast<uint64_t>(addend.sig) << 12;  // 36 bits
  return AddAligned(neg, x, ratio.exp - lead - 4, addend.neg, y, addend.exp - 12, 36);
}

Number AddNumbers(const Number& x, const Number& y) {
  if (x.sig == 0) return y;
  if (y.sig == 0) return x;
  return AddAligned(x.neg, static_cast<uint64_t>(x.sig) << 4, x.exp - 4, y.neg,
                    static_cast<uint64_t>(y.sig) << 4, y.exp - 4, 28);
}

Number FromInteger(int value) {
  if (value == 0) return {};
  const uint32_t magnitude = static_cast<uint32_t>(value < 0 ? -value : value);  // 9 bits
  const int lead = std::countl_zero(magnitude) - 8;
  return {value < 0, magnitude << lead, -lead};
}

// lo above hi gives hi.
int Clip(int value, int lo, int hi) { return std::min(std::max(value, lo), hi); }

// Sign and magnitude as a signed integer that orders like the number; -0 equals +0.
int32_t OrderKey(uint32_t bits) {
  const int32_t magnitude = static_cast<int32_t>(bits & 0x7fffffffu);
  return (bits >> 31) ? -magnitude : magnitude;
}

}  // namespace

int Requantize(int32_t acc, uint32_t mult_bits, int zy, int lo, int hi) {
  const Number m = FromBits(mult_bits);
  int rounded = 0;
  if (acc != 0 && m.sig != 0) {
    const bool neg = acc < 0;
    const uint32_t magnitude =
        neg ? 0u - static_cast<uint32_t>(acc) : static_cast<uint32_t>(acc);  // 32 bits
    const Number a = RoundTo24(neg, magnitude, 0, 32);
    const uint64_t product = static_cast<uint64_t>(a.sig) * m.sig;  // 48 bits, bit 47 or 46 set
    rounded = RoundToInteger(RoundTo24(neg, product, a.exp + m.exp, 48));
  }
  return Clip(rounded, lo - zy, hi - zy) + zy;
}

int AddFma(int a, int b, uint32_t ra_bits, uint32_t rb_bits, uint32_t f_bits, int lo, int hi) {
  const Number inner = FmaStep(b, FromBits(rb_bits), FromBits(f_bits));
  const Number outer = FmaStep(a, FromBits(ra_bits), inner);
  return Clip(RoundToInteger(outer), lo, hi);
}

int Affine(int q, uint32_t a_bits, uint32_t f_bits, int lo, int hi) {
  return Clip(RoundToInteger(FmaStep(q, FromBits(a_bits), FromBits(f_bits))), lo, hi);
}

uint32_t FmaF32(int c, uint32_t r_bits, uint32_t t_bits) {
  return ToBits(FmaStep(c, FromBits(r_bits), FromBits(t_bits)));
}

namespace {

int MulNumbers(int32_t p, uint32_t r_bits, const Number& zc, int lo, int hi) {
  const Number r = FromBits(r_bits);
  Number product;
  if (p != 0 && r.sig != 0) {
    const uint64_t magnitude = static_cast<uint64_t>(p < 0 ? -p : p);  // 16 bits
    product = RoundTo24(p < 0, magnitude * r.sig, r.exp, 40);          // 16 x 24 = 40 bits
  }
  return Clip(RoundToInteger(AddNumbers(product, zc)), lo, hi);
}

}  // namespace

int Mul(int32_t p, uint32_t r_bits, int zc, int lo, int hi) {
  return MulNumbers(p, r_bits, FromInteger(zc), lo, hi);
}

int MulF32(int32_t p, uint32_t r_bits, uint32_t zc_bits, int lo, int hi) {
  return MulNumbers(p, r_bits, FromBits(zc_bits), lo, hi);
}

uint32_t AddF32(uint32_t x_bits, uint32_t y_bits) {
  return ToBits(AddNumbers(FromBits(x_bits), FromBits(y_bits)));
}

int SearchThresholds(uint32_t sum_bits, const std::array<uint32_t, 255>& thresholds, int lo) {
  const int32_t key = OrderKey(sum_bits);
  int count = 0;
  for (int step = 128; step != 0; step /= 2) {  // 8 compares
    if (OrderKey(thresholds[count + step - 1]) <= key) count += step;
  }
  return lo + count;
}

int AverageWindow(std::span<const int> codes, const std::array<uint32_t, 256>& terms,
                  const std::array<uint32_t, 255>& thresholds, int lo) {
  uint32_t sum = 0;
  for (int code : codes) sum = AddF32(sum, terms[code - lo]);
  return SearchThresholds(sum, thresholds, lo);
}

bool SupportedAverageScale(float sx) {
  return FloatBits(sx) >= 0x2b800000u && FloatBits(sx) <= 0x53800000u;
}

}  // namespace octile::numerics::hw
