// What the tests of the two forms share: a seeded generator and the count of evidence a rule needs.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>

namespace octile::numerics {

// docs/numerics.md: at least 10^6 outputs per rule, a tenth of them near ties.
class Evidence {
 public:
  // exact: the value before rounding to an integer, in a wider type. scale: the greatest magnitude
  // that fp32 rounded on the way. A value within four units in the last place of a half-integer is
  // near a tie: there an intermediate rounding decides.
  void Count(double exact, double scale) {
    ++outputs_;
    const double to_tie = std::abs(exact - (std::floor(exact) + 0.5));
    if (to_tie <= 4 * std::ldexp(1.0, -23) * std::max(scale, 1.0)) ++near_ties_;
  }
  void ExpectEnough() const {
    EXPECT_GE(outputs_, 1'000'000);
    EXPECT_GE(near_ties_ * 10, outputs_);
  }

 private:
  int64_t outputs_ = 0;
  int64_t near_ties_ = 0;
};

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  int Int(int lo, int hi) {
    return static_cast<int>(
        lo + static_cast<int64_t>(engine_() %
                                  (static_cast<uint64_t>(static_cast<int64_t>(hi) - lo) + 1)));
  }
  uint32_t Bits() { return engine_(); }
  double Unit() { return engine_() * 0x1p-32; }
  // A float whose exponent is uniform in [lo, hi).
  float Scale(double lo, double hi) {
    return static_cast<float>(std::exp2(lo + (hi - lo) * Unit()));
  }
  // The float `steps` representable numbers away.
  float Near(float v, int steps) {
    const int direction = Int(-steps, steps);
    for (int i = 0; i < std::abs(direction); ++i)
      v = std::nextafterf(v, direction < 0 ? -INFINITY : INFINITY);
    return v;
  }
  // k / 2^j with a small j, a few units in the last place off: products with integers fall on or
  // beside half-integers.
  float TieRatio(int max_shift, int max_k) {
    const int shift = Int(1, max_shift);
    return Near(static_cast<float>(std::ldexp(2 * Int(0, max_k) + 1, -shift)), 3);
  }

 private:
  std::mt19937 engine_;
};

}  // namespace octile::numerics
