// oct_requant (N3), oct_add (N6) and oct_mul (N7) against the fp32 formula of their rule: random,
// near-tie and exhaustive vectors, with gaps in `valid`, the latency checked on every one. The same
// vectors are also put through wrong variants of each rule; a variant that no vector tells apart
// would mean that the test proves nothing, so that is a failure too.
//
// Replay: rtl_post_test --seed=<number printed>.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "Voct_add.h"
#include "Voct_mul.h"
#include "Voct_requant.h"
#include "octile/numerics/constants.h"
#include "octile/numerics/hw.h"
#include "octile/numerics/types.h"

namespace octile {
namespace {

using numerics::BitsFloat;
using numerics::FloatBits;

uint64_t g_seed = 20250611;

class Random {
 public:
  explicit Random(uint64_t salt) : engine_(g_seed * 1000003 + salt) {}
  int64_t Int(int64_t lo, int64_t hi) {
    return std::uniform_int_distribution<int64_t>(lo, hi)(engine_);
  }
  double Real(double lo, double hi) {
    return std::uniform_real_distribution<double>(lo, hi)(engine_);
  }
  bool OneIn(int n) { return Int(1, n) == 1; }
  float LogUniform(double log2_lo, double log2_hi) {
    return static_cast<float>(std::exp2(Real(log2_lo, log2_hi)));
  }
  // The neighbour `steps` representable numbers away (positive normal numbers).
  float Nudge(float x, int range) {
    return BitsFloat(FloatBits(x) + static_cast<int>(Int(-range, range)));
  }

 private:
  std::mt19937_64 engine_;
};

struct Type {
  bool is_signed = false;
  int Min() const { return is_signed ? -128 : 0; }
  int Max() const { return is_signed ? 127 : 255; }
};

struct Clamp {
  Type type;
  int lo = 0;
  int hi = 255;
};

Clamp RandomClamp(Random& random) {
  Clamp clamp;
  clamp.type.is_signed = random.OneIn(2);
  clamp.lo = clamp.type.Min();
  clamp.hi = clamp.type.Max();
  if (random.OneIn(4)) {
    clamp.lo = static_cast<int>(random.Int(clamp.lo, clamp.hi));
    clamp.hi = static_cast<int>(random.Int(clamp.lo, clamp.hi));
  }
  return clamp;
}

// sat(RN(v)) clamped; v may be of any size.
int RoundClamp(double v, const Clamp& clamp) {
  return static_cast<int>(std::nearbyint(std::clamp<double>(v, clamp.lo, clamp.hi)));
}
// The wrong one: ties away from zero.
int RoundAwayClamp(double v, const Clamp& clamp) {
  return static_cast<int>(std::clamp<double>(std::round(v), clamp.lo, clamp.hi));
}

// How many vectors told each wrong variant from the rule.
class Variants {
 public:
  void Count(const char* name, bool differs) { counts_[name] += differs; }
  void Check(int64_t vectors) const {
    for (const auto& [name, count] : counts_) {
      std::printf("  variant '%s' differs in %ld of %ld vectors\n", name.c_str(),
                  static_cast<long>(count), static_cast<long>(vectors));
      EXPECT_GT(count, 0) << "no vector tells the variant '" << name << "' from the rule";
    }
  }

 private:
  std::map<std::string, int64_t> counts_;
};

// Runs a cell: one vector per cycle with random gaps, and checks valid_o and code_o in every cycle.
template <typename Dut>
class Bench {
 public:
  Bench(int latency, uint64_t salt) : random_(salt), expected_(latency, -1) {}

  // `drive` sets the operands; `code` is the expected result, low eight bits; `text` describes the
  // vector on failure.
  void Run(const std::function<void(Dut&)>& drive, int code,
           const std::function<std::string()>& text) {
    while (random_.OneIn(16)) Cycle(-1, {});
    drive(dut_);
    Cycle(code & 0xff, text);
    ++vectors_;
  }
  void Drain() {
    for (int i = 0; i < 16; ++i) Cycle(-1, {});
  }
  int64_t vectors() const { return vectors_; }
  bool ok() const { return failures_ == 0; }

 private:
  void Cycle(int code, const std::function<std::string()>& text) {
    dut_.valid_i = code >= 0;
    dut_.clk_i = 0;
    dut_.eval();
    const int want = expected_.front();
    expected_.pop_front();
    const int got = dut_.valid_o ? dut_.code_o : -1;
    if (got != want && failures_++ < 10) {
      ADD_FAILURE() << "cycle " << cycle_ << ": result " << got << ", expected " << want
                    << " (-1: none), seed " << g_seed
                    << (texts_.empty() ? "" : ": " + texts_.front());
    }
    if (want >= 0) texts_.pop_front();
    expected_.push_back(code);
    if (code >= 0) texts_.push_back(text());
    dut_.clk_i = 1;
    dut_.eval();
    ++cycle_;
  }

  Dut dut_;
  Random random_;
  std::deque<int> expected_;
  std::deque<std::string> texts_;
  int64_t vectors_ = 0;
  int64_t cycle_ = 0;
  int failures_ = 0;
};

std::string Format(const char* format, auto... values) {
  char buffer[256];
  std::snprintf(buffer, sizeof(buffer), format, values...);
  return buffer;
}

// ---- N3
// ------------------------------------------------------------------------------------------------------------

class Requant {
 public:
  Requant() : bench_(6, 1) {}

  void Vector(int32_t acc, uint32_t mult, int zy, const Clamp& clamp) {
    const float m = BitsFloat(mult);
    const int min = clamp.type.Min() - zy, max = clamp.type.Max() - zy;
    const auto finish = [&](double rounded) {
      return std::clamp(static_cast<int>(std::clamp<double>(rounded, min, max)) + zy, clamp.lo,
                        clamp.hi);
    };
    const float value = static_cast<float>(acc) * m;
    const int code =
        finish(std::nearbyint(std::clamp(value, static_cast<float>(min), static_cast<float>(max))));
    EXPECT_EQ(code, numerics::hw::Requantize(acc, mult, zy, clamp.lo, clamp.hi));
    const double exact = static_cast<double>(acc) * m;
    variants_.Count("ties away", finish(std::round(value)) != code);
    variants_.Count("truncating", finish(std::floor(value)) != code);
    variants_.Count("acc not rounded to 24 bits",
                    finish(std::nearbyint(static_cast<float>(exact))) != code);
    variants_.Count(
        "product not rounded to 24 bits",
        finish(std::nearbyint(static_cast<double>(static_cast<float>(acc)) * m)) != code);
    variants_.Count(
        "zero point added before rounding",
        finish(std::nearbyint(static_cast<double>(value + static_cast<float>(zy))) - zy) != code);
    bench_.Run(
        [&](Voct_requant& dut) {
          dut.acc_i = acc;
          dut.mult_i = mult;
          dut.par_i = uint32_t{clamp.type.is_signed} << 24 | (zy & 0xff) << 16 |
                      (clamp.lo & 0xff) << 8 | (clamp.hi & 0xff);
        },
        code,
        [=] {
          return Format("acc %d mult %08x zy %d signed %d lo %d hi %d", acc, mult, zy,
                        clamp.type.is_signed, clamp.lo, clamp.hi);
        });
  }
  void Finish() {
    bench_.Drain();
    variants_.Check(bench_.vectors());
    EXPECT_GE(bench_.vectors(), 1000000);
  }

 private:
  Bench<Voct_requant> bench_;
  Variants variants_;
};

TEST(OctRequant, MatchesN3) {
  Random random(11);
  Requant requant;
  const auto zero_point = [&](const Clamp& clamp) {
    return static_cast<int>(random.Int(clamp.type.Min(), clamp.type.Max()));
  };
  // Ends of the ranges.
  for (int32_t acc : {INT32_MIN, INT32_MIN + 1, INT32_MAX, INT32_MAX - 1, -1, 0, 1, 1 << 24,
                      (1 << 24) + 1, -(1 << 24) - 1, 0x7fffff80, 0x7fffff40}) {
    for (uint32_t mult :
         {0u, FloatBits(0x1p-33f), FloatBits(0x1p9f), FloatBits(0x1.fffffep8f), FloatBits(0x1p-24f),
          FloatBits(0.5f), FloatBits(0x1.fffffep-2f), FloatBits(0x1.fffffep-25f)}) {
      for (int i = 0; i < 4; ++i) {
        const Clamp clamp = RandomClamp(random);
        requant.Vector(acc, mult, zero_point(clamp), clamp);
      }
    }
  }
  // Every small accumulator under a few multipliers.
  for (float m : {0.5f, 0.25f, 0.0078125f, 0.00392156886f, 0.0123456789f}) {
    Clamp clamp{{true}, -128, 127};
    for (int acc = -40000; acc <= 40000; ++acc) requant.Vector(acc, FloatBits(m), 3, clamp);
  }
  for (int i = 0; i < 1600000; ++i) {
    const Clamp clamp = RandomClamp(random);
    const int zy = zero_point(clamp);
    float m = random.LogUniform(-33, 9);
    int32_t acc = static_cast<int32_t>(random.Int(INT32_MIN, INT32_MAX) >> random.Int(0, 31));
    if (!random.OneIn(3)) {  // a product next to a half integer, large accumulators preferred: both
                             // roundings matter there
      const double half = static_cast<double>(random.Int(-260, 260)) + 0.5;
      acc = static_cast<int32_t>(random.Int(1 << 22, INT32_MAX) >> random.Int(0, 8));
      m = random.Nudge(static_cast<float>(std::abs(half) / acc), 1);
      if (half < 0) acc = -acc;
      acc += static_cast<int32_t>(random.Int(-1, 1));
    }
    requant.Vector(acc, FloatBits(m), zy, clamp);
  }
  requant.Finish();
}

// ---- N6
// ------------------------------------------------------------------------------------------------------------

class Add {
 public:
  Add() : bench_(8, 2) {}

  void Vector(int a, int b, float ra, float rb, float f, const Clamp& clamp) {
    const float fa = static_cast<float>(a), fb = static_cast<float>(b);
    const float inner = std::fma(fb, rb, f);
    const int code = RoundClamp(std::fma(fa, ra, inner), clamp);
    variants_.Count("ties away", RoundAwayClamp(std::fma(fa, ra, inner), clamp) != code);
    variants_.Count("operands in the other order",
                    RoundClamp(std::fma(fb, rb, std::fma(fa, ra, f)), clamp) != code);
    variants_.Count("inner product rounded",
                    RoundClamp(std::fma(fa, ra, fb * rb + f), clamp) != code);
    variants_.Count("outer product rounded", RoundClamp(fa * ra + inner, clamp) != code);
    variants_.Count("one rounding only",
                    RoundClamp(static_cast<double>(fa) * ra + (static_cast<double>(fb) * rb + f),
                               clamp) != code);
    bench_.Run(
        [&](Voct_add& dut) {
          dut.a_i = a & 0x1ff;
          dut.b_i = b & 0x1ff;
          dut.ra_i = FloatBits(ra);
          dut.rb_i = FloatBits(rb);
          dut.f_i = FloatBits(f);
          dut.out_signed_i = clamp.type.is_signed;
          dut.lo_i = clamp.lo & 0xff;
          dut.hi_i = clamp.hi & 0xff;
        },
        code,
        [=] {
          return Format("a %d b %d ra %a rb %a f %a signed %d lo %d hi %d", a, b, ra, rb, f,
                        clamp.type.is_signed, clamp.lo, clamp.hi);
        });
  }
  void Finish() {
    bench_.Drain();
    variants_.Check(bench_.vectors());
    EXPECT_GE(bench_.vectors(), 1000000);
  }

 private:
  Bench<Voct_add> bench_;
  Variants variants_;
};

int RandomCode(Random& random) {
  return random.OneIn(2) ? static_cast<int>(random.Int(0, 255))
                         : static_cast<int>(random.Int(-128, 127));
}

TEST(OctAdd, MatchesN6) {
  Random random(12);
  Add add;
  // Zeros and ends of the ranges (SupportedAddConstants).
  for (float ra : {0.0f, 0x1p-40f, 0x1p20f, 1.0f, 0.3f}) {
    for (float rb : {0.0f, 0x1p-40f, 0x1p20f, 1.0f, 0.7f}) {
      for (float f : {0.0f, -0.0f, 0x1p-64f, -0x1p-64f, 0x1.fffffep29f, -0x1.fffffep29f, -1.0f,
                      0.5f, -0.5f, 128.5f}) {
        for (int i = 0; i < 20; ++i) {
          const int a = random.OneIn(4) ? 0 : RandomCode(random),
                    b = random.OneIn(4) ? 0 : RandomCode(random);
          add.Vector(a, b, ra, rb, f, RandomClamp(random));
        }
      }
    }
  }
  // Every pair of codes under the constants of real scales.
  for (int i = 0; i < 4; ++i) {
    const bool is_signed = i % 2 != 0;
    const Clamp clamp{{is_signed}, is_signed ? -128 : 0, is_signed ? 127 : 255};
    const auto zero = [&] { return static_cast<int>(random.Int(clamp.lo, clamp.hi)); };
    const float sc = random.LogUniform(-8, -4);
    const auto constants =
        numerics::MakeAddConstants(random.LogUniform(-8, -4), zero(),
                                   i == 0 ? sc / 2 : random.LogUniform(-8, -4), zero(), sc, zero());
    ASSERT_TRUE(constants.has_value());
    for (int a = clamp.lo; a <= clamp.hi; ++a) {
      for (int b = clamp.lo; b <= clamp.hi; ++b)
        add.Vector(a, b, constants->ra, constants->rb, constants->f, clamp);
    }
  }
  for (int i = 0; i < 1300000; ++i) {
    const Clamp clamp = RandomClamp(random);
    const int a = RandomCode(random), b = RandomCode(random);
    const bool wide = random.OneIn(4);
    const float ra = wide ? random.LogUniform(-40, 20) : random.LogUniform(-6, 2);
    const float rb = wide ? random.LogUniform(-40, 20) : random.LogUniform(-6, 2);
    // The sum next to a half integer, through F.
    const double half = static_cast<double>(random.Int(-140, 270)) +
                        (random.OneIn(3) ? random.Real(-0.5, 0.5) : 0.5);
    float f = static_cast<float>(half - static_cast<double>(a) * ra - static_cast<double>(b) * rb);
    if (std::abs(f) < 0x1p-40f) f = 0;
    if (f != 0) f = random.Nudge(f, 2);
    if (random.OneIn(8)) f = random.LogUniform(-64, 30) * (random.OneIn(2) ? 1.0f : -1.0f);
    if (std::abs(f) >= 0x1p30f) f = 1.5f;
    add.Vector(a, b, ra, rb, f, clamp);
  }
  add.Finish();
}

// ---- N7
// ------------------------------------------------------------------------------------------------------------

class Mul {
 public:
  Mul() : bench_(8, 3) {}

  void Vector(int a, int b, float r, float zc, const Clamp& clamp) {
    const float p = static_cast<float>(a * b);
    const float value = p * r + zc;
    const int code = RoundClamp(value, clamp);
    variants_.Count("ties away", RoundAwayClamp(value, clamp) != code);
    variants_.Count("fma", RoundClamp(std::fma(p, r, zc), clamp) != code);
    variants_.Count("sum not rounded", RoundClamp(static_cast<double>(p * r) + zc, clamp) != code);
    variants_.Count("nothing rounded", RoundClamp(static_cast<double>(p) * r + zc, clamp) != code);
    bench_.Run(
        [&](Voct_mul& dut) {
          dut.a_i = a & 0x1ff;
          dut.b_i = b & 0x1ff;
          dut.r_i = FloatBits(r);
          dut.zc_i = FloatBits(zc);
          dut.out_signed_i = clamp.type.is_signed;
          dut.lo_i = clamp.lo & 0xff;
          dut.hi_i = clamp.hi & 0xff;
        },
        code,
        [=] {
          return Format("a %d b %d r %a zc %a signed %d lo %d hi %d", a, b, r, zc,
                        clamp.type.is_signed, clamp.lo, clamp.hi);
        });
  }
  void Finish() {
    bench_.Drain();
    variants_.Check(bench_.vectors());
    EXPECT_GE(bench_.vectors(), 1000000);
  }

 private:
  Bench<Voct_mul> bench_;
  Variants variants_;
};

TEST(OctMul, MatchesN7) {
  Random random(13);
  Mul mul;
  for (float r : {0.0f, 0x1p-40f, 0x1p20f, 0x1.fffffep19f, 0.5f, 0x1p-17f}) {
    for (int a : {-255, -1, 0, 1, 255}) {
      for (int b : {-255, -128, -1, 0, 1, 127, 255}) {
        for (int zc : {-128, -1, 0, 1, 127, 255})
          mul.Vector(a, b, r, static_cast<float>(zc), RandomClamp(random));
      }
    }
  }
  for (float r : {0.00390625f, 0.0123f, 0.0078740157f}) {
    const Clamp clamp{{true}, -128, 127};
    for (int a = -255; a <= 255; ++a) {
      for (int b = -255; b <= 255; ++b) mul.Vector(a, b, r, -7, clamp);
    }
  }
  for (int i = 0; i < 1000000; ++i) {
    const Clamp clamp = RandomClamp(random);
    const int zc = static_cast<int>(random.Int(clamp.type.Min(), clamp.type.Max()));
    const int a = static_cast<int>(random.Int(-255, 255)),
              b = static_cast<int>(random.Int(-255, 255));
    float r = random.LogUniform(-40, 20);
    if (a * b != 0 && !random.OneIn(4)) {
      const double half = static_cast<double>(random.Int(-140, 270)) + 0.5 - zc;
      r = random.Nudge(static_cast<float>(std::abs(half / (a * b))), 3);
    }
    mul.Vector(a, b, r, static_cast<float>(zc), clamp);
  }
  mul.Finish();
}

}  // namespace
}  // namespace octile

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]).starts_with("--seed=")) octile::g_seed = std::stoull(argv[i] + 7);
  }
  if (!testing::GTEST_FLAG(list_tests))
    std::printf("seed %llu\n", static_cast<unsigned long long>(octile::g_seed));
  return RUN_ALL_TESTS();
}
