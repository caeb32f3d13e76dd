// The fp32 form and the integer form of each rule agree, on many values near ties; and each
// rounding matters: a variant that merges or moves one of them is caught by the same values.
#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "evidence.h"
#include "octile/numerics/constants.h"
#include "octile/numerics/fp.h"
#include "octile/numerics/hw.h"

namespace octile::numerics {
namespace {

CodeRange RangeOf(Random& random) {
  CodeRange range = random.Int(0, 1) ? kU8 : kS8;
  if (random.Int(0, 7) == 0) {  // a kept Relu or Clip
    range.lo = random.Int(range.lo, range.hi);
    range.hi = random.Int(range.lo, range.hi);
  }
  return range;
}

int TypeZero(Random& random, CodeRange range) {
  const CodeRange type = range.lo < 0 ? kS8 : kU8;
  return random.Int(type.lo, type.hi);
}

// ---- N3 ----

struct RequantizeCase {
  int32_t acc;
  float m;
  int zy;
  CodeRange range;
};

RequantizeCase MakeRequantizeCase(Random& random) {
  RequantizeCase c;
  c.range = RangeOf(random);
  c.zy = TypeZero(random, c.range);
  const int shape = random.Int(0, 9);
  if (shape < 4) {
    // acc first, of any size, then the multiplier that takes it to a half-integer.
    const int bits = random.Int(4, 31);
    c.acc = static_cast<int32_t>(random.Bits() >> (32 - bits)) + 1;
    if (c.acc < 0) c.acc = std::numeric_limits<int32_t>::max();
    const double target = random.Int(0, 255) + 0.5;
    c.m = random.Near(static_cast<float>(target / c.acc), 2);
    c.m = std::clamp(c.m, 0x1p-33f, 0x1p9f);
    if (random.Int(0, 1)) c.acc = -c.acc;
  } else if (shape < 7) {
    c.m = random.Scale(-31, -10);
    const double target = random.Int(-255, 255) + 0.5;
    c.acc = static_cast<int32_t>(
        std::clamp(std::nearbyint(target / c.m) + random.Int(-2, 2), -2147483648.0, 2147483647.0));
  } else if (shape < 9) {
    c.m = random.Scale(-33, 9);
    c.acc = static_cast<int32_t>(random.Bits());
    c.acc >>= random.Int(0, 31);
  } else {
    constexpr std::array<int32_t, 8> kEdges{0,
                                            1,
                                            -1,
                                            std::numeric_limits<int32_t>::min(),
                                            std::numeric_limits<int32_t>::max(),
                                            1 << 24,
                                            (1 << 24) + 1,
                                            -(1 << 25) - 3};
    constexpr std::array<float, 6> kMultipliers{0.0f, 0x1p-33f, 0x1p9f, 0.5f, 1.0f, 0x1.fffffep-9f};
    c.acc = kEdges[random.Int(0, 7)];
    c.m = kMultipliers[random.Int(0, 5)];
  }
  return c;
}

int Saturate(double rounded, const RequantizeCase& c) {
  return static_cast<int>(
             std::clamp(rounded, double(c.range.lo - c.zy), double(c.range.hi - c.zy))) +
         c.zy;
}

TEST(Requantize, FormsAgreeAndEveryRoundingCounts) {
  Random random(3);
  Evidence evidence;
  int64_t merged = 0, no_acc_rounding = 0, no_product_rounding = 0, half_away = 0, zero_first = 0,
          truncated = 0;
  for (int i = 0; i < 3'000'000; ++i) {
    const RequantizeCase c = MakeRequantizeCase(random);
    const int expected = fp::Requantize(c.acc, c.m, c.zy, c.range);
    ASSERT_EQ(hw::Requantize(c.acc, FloatBits(c.m), c.zy, c.range.lo, c.range.hi), expected)
        << "acc " << c.acc << " m " << c.m << " zy " << c.zy << " [" << c.range.lo << ", "
        << c.range.hi << "]";
    ASSERT_GE(expected, c.range.lo);
    ASSERT_LE(expected, c.range.hi);
    const double exact = double(c.acc) * double(c.m);
    evidence.Count(exact, std::abs(exact));
    // Wrong on purpose. The first: one rounding of the exact product (it has up to 55 bits, hence
    // the wider type).
    const __float128 wide = static_cast<__float128>(c.acc) * static_cast<__float128>(c.m);
    const __float128 below = static_cast<__float128>(std::floor(exact));
    double nearest = static_cast<double>(below);
    const __float128 rest = wide - below - static_cast<__float128>(0.5);
    if (rest > 0 || (rest == 0 && std::fmod(nearest, 2) != 0)) nearest += 1;
    merged += Saturate(nearest, c) != expected;
    no_acc_rounding += Saturate(std::nearbyintf(static_cast<float>(exact)), c) != expected;
    no_product_rounding +=
        Saturate(std::nearbyint(double(float(c.acc)) * double(c.m)), c) != expected;
    const float v = static_cast<float>(c.acc) * c.m;
    half_away += Saturate(std::round(v), c) != expected;
    truncated += Saturate(std::trunc(v), c) != expected;
    zero_first +=
        std::clamp(
            static_cast<int>(std::nearbyintf(std::clamp(v + float(c.zy), -1000.0f, 1000.0f))),
            c.range.lo, c.range.hi) != expected;
  }
  evidence.ExpectEnough();
  EXPECT_GT(merged, 1000);
  EXPECT_GT(no_acc_rounding, 1000);
  EXPECT_GT(no_product_rounding, 1000);
  EXPECT_GT(half_away, 1000);
  EXPECT_GT(zero_first, 1000);
  EXPECT_GT(truncated, 1000);
}

TEST(Requantize, EveryOutputOfSmallAccumulators) {
  // Exhaustive over the accumulators that give unsaturated codes.
  for (float m : {0.5f, 0.25f, 0.0123f, 1.0f / 3, 0.75f, 0x1.000002p-1f, 0x1.fffffep-2f}) {
    for (int zy : {0, 128, 255}) {
      for (int acc = -30000; acc <= 30000; ++acc) {
        ASSERT_EQ(hw::Requantize(acc, FloatBits(m), zy, 0, 255), fp::Requantize(acc, m, zy, kU8))
            << acc << " " << m;
      }
    }
  }
}

// The bounds of EncodeMultiplier: replacing a multiplier outside them changes no output.
TEST(Requantize, DeadAndHugeMultipliersAreExact) {
  Random random(4);
  for (int i = 0; i < 200'000; ++i) {
    const float m = random.Int(0, 1) ? random.Scale(-126, -33) : random.Scale(9, 100);
    int32_t acc = static_cast<int32_t>(random.Bits()) >> random.Int(0, 31);
    const CodeRange range = random.Int(0, 1) ? kU8 : kS8;
    const int zy = TypeZero(random, range);
    const auto bits = EncodeMultiplier(m);
    ASSERT_TRUE(bits.has_value());
    ASSERT_EQ(hw::Requantize(acc, *bits, zy, range.lo, range.hi), fp::Requantize(acc, m, zy, range))
        << acc << " " << m;
  }
}

// ---- N6 ----

TEST(Add, FormsAgreeAndEveryRoundingCounts) {
  Random random(6);
  Evidence evidence;
  int64_t outer_unfused = 0, inner_unfused = 0, swapped = 0, literal = 0, zero_unfused = 0,
          half_away = 0;
  for (int round = 0; round < 60; ++round) {
    float sc = random.Scale(-8, 2);
    float sa, sb;
    if (round % 3 == 0) {
      sa = random.Scale(-8, 2);
      sb = random.Scale(-8, 2);
    } else {
      sa = random.TieRatio(3, 5) * sc;
      sb = random.TieRatio(3, 5) * sc;
    }
    const CodeRange type = random.Int(0, 1) ? kU8 : kS8;
    const int za = random.Int(type.lo, type.hi), zb = random.Int(type.lo, type.hi),
              zc = random.Int(type.lo, type.hi);
    const auto constants = MakeAddConstants(sa, za, sb, zb, sc, zc);
    ASSERT_TRUE(constants.has_value());
    ASSERT_TRUE(SupportedAddConstants(*constants));
    const auto swapped_constants = MakeAddConstants(sb, zb, sa, za, sc, zc);
    const float plain_f =
        float(zc) - (constants->ra * float(za) + float(constants->rb * float(zb)));
    for (int a = type.lo; a <= type.hi; ++a) {
      for (int b = type.lo; b <= type.hi; ++b) {
        const int expected = fp::Add(a, b, *constants, type);
        ASSERT_EQ(hw::AddFma(a, b, FloatBits(constants->ra), FloatBits(constants->rb),
                             FloatBits(constants->f), type.lo, type.hi),
                  expected)
            << a << " " << b << " " << constants->ra << " " << constants->rb << " " << constants->f;
        const double exact =
            double(a) * constants->ra + (double(b) * constants->rb + double(constants->f));
        evidence.Count(exact, std::max({std::abs(exact), std::abs(double(a) * constants->ra),
                                        std::abs(double(constants->f))}));
        const float inner = std::fma(float(b), constants->rb, constants->f);
        const auto code = [&](float v) {
          return static_cast<int>(std::nearbyintf(std::clamp(v, float(type.lo), float(type.hi))));
        };
        const float product_a = float(a) * constants->ra;
        outer_unfused += code(product_a + inner) != expected;
        const float product_b = float(b) * constants->rb;
        inner_unfused +=
            code(std::fma(float(a), constants->ra, product_b + constants->f)) != expected;
        swapped += fp::Add(b, a, *swapped_constants, type) != expected;
        zero_unfused += code(std::fma(float(a), constants->ra,
                                      std::fma(float(b), constants->rb, plain_f))) != expected;
        const float v = std::fma(float(a), constants->ra, inner);
        half_away +=
            static_cast<int>(std::round(std::clamp(v, float(type.lo), float(type.hi)))) != expected;
        literal += fp::Quantize(fp::Dequantize(a, za, sa) + fp::Dequantize(b, zb, sb), sc, zc,
                                type) != expected;
      }
    }
  }
  evidence.ExpectEnough();
  EXPECT_GT(outer_unfused, 100);
  EXPECT_GT(inner_unfused, 100);
  EXPECT_GT(swapped, 100);
  EXPECT_GT(zero_unfused, 100);
  EXPECT_GT(half_away, 100);
  EXPECT_GT(literal, 100);
}

// The whole supported range, not only plausible networks: random constants, sparse in the exponent.
TEST(Add, FormsAgreeOverTheSupportedRange) {
  Random random(7);
  for (int i = 0; i < 2'000'000; ++i) {
    AddConstants c;
    c.ra = random.Scale(-40, 20);
    c.rb = random.Int(0, 3) ? random.Scale(-40, 20) : random.Near(c.ra, 2);
    switch (random.Int(0, 3)) {
      case 0:
        c.f = 0;
        break;
      case 1:
        c.f = random.Scale(-64, 30) * (random.Int(0, 1) ? 1 : -1);
        break;
      default:  // cancels one or both products almost wholly
        c.f = -random.Near(c.rb * float(random.Int(1, 255)), 4);
    }
    if (random.Int(0, 9) == 0) c.ra = 0x1p-40f;
    if (random.Int(0, 9) == 0) c.rb = 0x1p20f;
    if (!SupportedAddConstants(c)) continue;
    const int a = random.Int(-128, 255), b = random.Int(-128, 255);
    const CodeRange range = random.Int(0, 1) ? kU8 : kS8;
    ASSERT_EQ(
        hw::AddFma(a, b, FloatBits(c.ra), FloatBits(c.rb), FloatBits(c.f), range.lo, range.hi),
        fp::Add(a, b, c, range))
        << a << " " << b << " " << c.ra << " " << c.rb << " " << c.f;
  }
}

// Bit for bit, with the addend anywhere: cancelling the product, far below it (where it only breaks
// a tie of the product), far above it.
TEST(FmaF32, EqualsTheFusedMultiplyAdd) {
  Random random(14);
  int64_t tie_broken = 0, cancelled = 0;
  for (int i = 0; i < 4'000'000; ++i) {
    const int c = random.Int(-128, 255);
    float r = random.Scale(-40, 20);
    if (random.Int(0, 1)) {
      // Few significand bits below a certain place: the product is often half-way between two fp32.
      r = BitsFloat(FloatBits(r) & (0xffffffffu << random.Int(0, 8)));
    }
    if (random.Int(0, 3) == 0) r = -r;
    float t = 0;
    const float sign = random.Int(0, 1) ? 1.0f : -1.0f;
    switch (random.Int(0, 3)) {
      case 0:
        t = sign * random.Scale(-64, 30);
        break;
      case 1:
        t = -random.Near(static_cast<float>(c) * r, 8);
        break;
      case 2:
        t = static_cast<float>(c) * r * random.Scale(-60, 60) * sign;
        break;
      default:
        break;
    }
    const float magnitude = std::abs(t);
    if (magnitude != 0 && (magnitude < 0x1p-64f || magnitude >= 0x1p30f)) continue;
    const float expected = std::fma(static_cast<float>(c), r, t);
    ASSERT_EQ(hw::FmaF32(c, FloatBits(r), FloatBits(t)), expected == 0 ? 0u : FloatBits(expected))
        << c << " " << r << " " << t;
    const float product = static_cast<float>(c) * r;
    const double residue = static_cast<double>(c) * r - product;
    tie_broken += magnitude != 0 && magnitude < std::abs(product) * 0x1p-36f && residue != 0 &&
                  expected != product;
    cancelled += expected != 0 && std::abs(expected) < std::abs(product) * 0x1p-20f;
  }
  EXPECT_GT(tie_broken, 100);
  EXPECT_GT(cancelled, 100);
}

// ---- N13, unfolded batch normalization ----

TEST(Affine, FormsAgreeAndEveryRoundingCounts) {
  Random random(15);
  Evidence evidence;
  int64_t unfused = 0, half_away = 0, truncated = 0, zero_after = 0, sign_lost = 0;
  for (int i = 0; i < 10'000; ++i) {
    const CodeRange range = RangeOf(random);
    const int zy = TypeZero(random, range);
    const CodeRange type = random.Int(0, 1) ? kU8 : kS8;
    const int zx = random.Int(type.lo, type.hi);
    const float sy = random.Scale(-6, 2);
    // A factor whose products with codes are on or beside half-integers, of either sign.
    const float factor = random.TieRatio(2, 5) * (random.Int(0, 1) ? 1.0f : -1.0f);
    NormalizationChannel channel;
    channel.variance = random.Scale(-4, 4);
    channel.mean = random.Scale(-4, 2) * (random.Int(0, 1) ? 1.0f : -1.0f);
    const float epsilon = 1e-5f;
    const float sx = random.Scale(-6, 2);
    const double deviation = std::sqrt(double(channel.variance) + double(epsilon));
    channel.scale = static_cast<float>(double(factor) * sy / sx * deviation);
    const double k = channel.scale / deviation;
    channel.bias =
        random.Near(static_cast<float>(channel.mean * k + sy * random.Int(-400, 400) / 4.0), 2);
    const auto c =
        MakeAffineConstants(channel, epsilon, sx, zx, type, sy, zy, range.lo < 0 ? kS8 : kU8);
    ASSERT_TRUE(c.has_value());
    ASSERT_TRUE(SupportedAffineConstants(*c));
    for (int q = type.lo; q <= type.hi; ++q) {
      const int expected = fp::Affine(q, *c, range);
      ASSERT_EQ(hw::Affine(q, FloatBits(c->a), FloatBits(c->f), range.lo, range.hi), expected)
          << q << " " << c->a << " " << c->f;
      const double exact = double(q) * double(c->a) + double(c->f);
      evidence.Count(
          exact, std::max({std::abs(exact), std::abs(double(q) * c->a), std::abs(double(c->f))}));
      // Never more than one code from the real value of the network's expression.
      const double real =
          ((double(q - zx) * sx - channel.mean) * k + channel.bias) / sy + double(zy);
      ASSERT_LE(std::abs(std::clamp(real, double(range.lo), double(range.hi)) - expected), 0.501)
          << q << " " << real;
      const auto code = [&](double v) {
        return static_cast<int>(std::nearbyint(std::clamp(v, double(range.lo), double(range.hi))));
      };
      const float v = std::fma(float(q), c->a, c->f);
      const float product = float(q) * c->a;
      unfused += code(product + c->f) != expected;
      half_away +=
          static_cast<int>(std::round(std::clamp(double(v), double(range.lo), double(range.hi)))) !=
          expected;
      truncated += code(std::trunc(v)) != expected;
      zero_after += code(std::nearbyint(double(v) - zy) + zy) != expected;
      sign_lost += fp::Affine(q, {std::abs(c->a), c->f}, range) != expected;
    }
  }
  evidence.ExpectEnough();
  EXPECT_GT(unfused, 100);
  EXPECT_GT(half_away, 100);
  EXPECT_GT(truncated, 100);
  EXPECT_GT(zero_after, 100);
  EXPECT_GT(sign_lost, 100);
}

TEST(Affine, FormsAgreeOverTheSupportedRange) {
  Random random(16);
  for (int i = 0; i < 2'000'000; ++i) {
    AffineConstants c;
    const int q = random.Int(-128, 255);
    const float sign = random.Int(0, 1) ? 1.0f : -1.0f;
    c.a = random.Int(0, 19) == 0 ? sign * 0.0f : sign * random.Scale(-40, 20);
    switch (random.Int(0, 3)) {
      case 0:
        c.f = sign * 0.0f;
        break;
      case 1:
        c.f = random.Scale(-64, 30) * (random.Int(0, 1) ? 1.0f : -1.0f);
        break;
      default:  // cancels the product almost wholly
        c.f = random.Near(-c.a * static_cast<float>(q), 4);
    }
    if (!SupportedAffineConstants(c)) continue;
    const CodeRange range = random.Int(0, 1) ? kU8 : kS8;
    ASSERT_EQ(hw::Affine(q, FloatBits(c.a), FloatBits(c.f), range.lo, range.hi),
              fp::Affine(q, c, range))
        << q << " " << c.a << " " << c.f;
  }
}

// ---- N7 ----

TEST(Mul, FormsAgreeAndEveryRoundingCounts) {
  Random random(8);
  Evidence evidence;
  int64_t fused = 0, zero_after = 0, half_away = 0, exact_product = 0;
  for (int i = 0; i < 3'000'000; ++i) {
    const CodeRange range = RangeOf(random);
    const int zc = TypeZero(random, range);
    const int32_t p = random.Int(-255, 255) * random.Int(-255, 255);
    float r;
    switch (random.Int(0, 9)) {
      case 0:
        r = random.Scale(-40, 20);
        break;
      case 1:
        r = 0;
        break;
      case 2:
      case 3:
        r = random.TieRatio(4, 8);
        break;
      default:
        r = p == 0 ? 1.0f : random.Near(float((random.Int(0, 300) + 0.5) / std::abs(p)), 3);
    }
    const int expected = fp::Mul(p, r, zc, range);
    ASSERT_EQ(hw::Mul(p, FloatBits(r), zc, range.lo, range.hi), expected)
        << p << " " << r << " " << zc;
    const double exact = double(p) * double(r) + zc;
    evidence.Count(exact, std::abs(double(p) * double(r)));
    const auto code = [&](double v) {
      return static_cast<int>(std::nearbyint(std::clamp(v, double(range.lo), double(range.hi))));
    };
    fused += code(std::fma(float(p), r, float(zc))) != expected;
    exact_product += code(exact) != expected;
    const float v = float(p) * r;
    zero_after += code(std::nearbyint(double(v)) + zc) != expected;
    const float shifted = v + float(zc);
    half_away += static_cast<int>(std::round(
                     std::clamp(double(shifted), double(range.lo), double(range.hi)))) != expected;
  }
  evidence.ExpectEnough();
  EXPECT_GT(fused, 1000);
  EXPECT_GT(exact_product, 1000);
  EXPECT_GT(zero_after, 1000);
  EXPECT_GT(half_away, 1000);
}

TEST(Mul, EncodingOfTheRatioIsExact) {
  Random random(9);
  for (int i = 0; i < 300'000; ++i) {
    const float sa = random.Scale(-60, 30), sb = random.Scale(-60, 30), sc = random.Scale(-30, 30);
    const float raw = (sa * sb) / sc;
    const auto r = MulRatio(sa, sb, sc);
    ASSERT_TRUE(r.has_value());
    const CodeRange range = random.Int(0, 1) ? kU8 : kS8;
    const int zc = TypeZero(random, range);
    const int32_t p = random.Int(-255, 255) * random.Int(-255, 255);
    ASSERT_EQ(hw::Mul(p, FloatBits(*r), zc, range.lo, range.hi), fp::Mul(p, raw, zc, range))
        << p << " " << raw << " " << zc;
  }
}

// ---- N8 ----

TEST(AddF32, EqualsTheFloatingPointUnit) {
  Random random(10);
  for (int i = 0; i < 3'000'000; ++i) {
    float x = random.Scale(-80, 100) * (random.Int(0, 1) ? 1 : -1);
    float y;
    switch (random.Int(0, 3)) {
      case 0:
        y = random.Scale(-80, 100) * (random.Int(0, 1) ? 1 : -1);
        break;
      case 1:
        y = -random.Near(x, 8);
        break;
      case 2:
        y = x * random.Scale(-26, 26) * (random.Int(0, 1) ? 1 : -1);
        break;
      default:
        y = random.Int(0, 1) ? 0.0f : -0.0f;
    }
    const float magnitude = std::abs(y);
    if (magnitude != 0 && (magnitude < 0x1p-80f || magnitude > 0x1p100f)) continue;
    const float sum = x + y;
    // A zero sum is +0 in the hardware.
    ASSERT_EQ(hw::AddF32(FloatBits(x), FloatBits(y)), sum == 0 ? 0u : FloatBits(sum))
        << x << " " << y;
  }
}

TEST(AverageWindow, FormsAgreeAndEveryRoundingCounts) {
  Random random(11);
  Evidence evidence;
  int64_t integer_sum = 0, reciprocal = 0, zero_after = 0, one_division = 0;
  std::vector<int> codes;
  for (int round = 0; round < 300; ++round) {
    const CodeRange type = random.Int(0, 1) ? kU8 : kS8;
    const int zx = random.Int(type.lo, type.hi), zy = random.Int(type.lo, type.hi);
    const int count = std::array{2, 4, 6, 8, 9, 12, 16, 25, 49}[random.Int(0, 8)];
    const float sx = random.Scale(-8, 2);
    float sy = random.Scale(-8, 2);
    if (random.Int(0,
                   4)) {  // sums of codes fall on or near ties; the term table rounds, so only near
      const float ratio = random.TieRatio(2, 2);
      sy = random.Near(sx / (ratio * float(count)), 2);
    }
    const auto terms = AverageTerms(sx, zx, type);
    const auto thresholds = AverageThresholds(sy, zy, count, type);
    ASSERT_TRUE(terms.has_value() && thresholds.has_value());
    ASSERT_TRUE(hw::SupportedAverageScale(sx));
    std::array<uint32_t, 256> term_bits;
    std::array<uint32_t, 255> threshold_bits;
    std::transform(terms->begin(), terms->end(), term_bits.begin(), FloatBits);
    std::transform(thresholds->begin(), thresholds->end(), threshold_bits.begin(), FloatBits);
    for (int i = 0; i < 4000; ++i) {
      // Some windows lie partly outside the image and keep the divisor.
      const int inside = random.Int(0, 5) ? count : random.Int(1, count);
      // Codes that keep the mean inside the output range.
      const int spread = random.Int(1, 255);
      codes.resize(inside);
      int32_t acc = 0;
      for (int& code : codes) {
        code = std::clamp(zx + random.Int(-spread, spread), type.lo, type.hi);
        acc += code - zx;
      }
      const int expected = fp::AverageWindow(codes, sx, zx, count, sy, zy, type);
      ASSERT_EQ(hw::AverageWindow(codes, term_bits, threshold_bits, type.lo), expected);
      const double exact = double(acc) * sx / count / sy + zy;
      evidence.Count(exact, std::abs(double(acc) * sx / sy));
      integer_sum += fp::Requantize(acc, sx / (sy * float(count)), zy, type) != expected;
      float sum = 0;
      for (int code : codes) sum = sum + fp::Dequantize(code, zx, sx);
      const auto code = [&](float v) {
        return static_cast<int>(std::nearbyintf(std::clamp(v, float(type.lo), float(type.hi))));
      };
      const float mean = sum / float(count);
      const float inverse = 1.0f / float(count);
      reciprocal += code(float(float(sum * inverse) / sy) + float(zy)) != expected;
      const float scaled = mean / sy;
      zero_after += code(std::nearbyintf(scaled) + float(zy)) != expected;
      const float divisor = sy * float(count);
      one_division += code(float(sum / divisor) + float(zy)) != expected;
    }
  }
  evidence.ExpectEnough();
  EXPECT_GT(integer_sum, 100);
  EXPECT_GT(reciprocal, 100);
  EXPECT_GT(zero_after, 100);
  EXPECT_GT(one_division, 100);
}

TEST(AverageThresholds, DecideEverySumAsTheFormulaDoes) {
  Random random(12);
  for (int round = 0; round < 200; ++round) {
    const CodeRange range = round % 3 == 0 ? CodeRange{3, 17} : (round % 3 == 1 ? kU8 : kS8);
    const int zy = random.Int(range.lo < 0 ? -128 : 0, range.lo < 0 ? 127 : 255);
    const int64_t count = random.Int(1, 49);
    const float sy = random.Scale(-30, 30);
    const auto thresholds = AverageThresholds(sy, zy, count, range);
    ASSERT_TRUE(thresholds.has_value());
    ASSERT_TRUE(std::is_sorted(thresholds->begin(), thresholds->end()));
    std::array<uint32_t, 255> bits;
    std::transform(thresholds->begin(), thresholds->end(), bits.begin(), FloatBits);
    const auto check = [&](float sum) {
      ASSERT_EQ(hw::SearchThresholds(FloatBits(sum), bits, range.lo),
                fp::AverageFromSum(sum, count, sy, zy, range))
          << sum << " sy " << sy << " zy " << zy << " count " << count;
    };
    for (float threshold : *thresholds) {
      if (std::isinf(threshold)) continue;
      check(threshold);
      check(std::nextafterf(threshold, -INFINITY));
      check(std::nextafterf(threshold, INFINITY));
    }
    for (int i = 0; i < 1000; ++i) check((random.Int(0, 1) ? 1 : -1) * random.Scale(-40, 40));
    check(0.0f);
  }
}

// N8, global average: the multiplier order counts.
TEST(GlobalAverage, MultiplierOrderCounts) {
  Random random(13);
  int64_t wrong = 0;
  for (int i = 0; i < 100'000; ++i) {
    const int64_t count = random.Int(1, 4096);
    const float sx = random.Scale(-8, 2), sy = random.Scale(-8, 2);
    const auto m = AverageMultiplier(sx, sy, count);
    ASSERT_TRUE(m.has_value());
    const float other = (sx / sy) / float(count);
    const int32_t acc = static_cast<int32_t>(std::nearbyint((random.Int(0, 255) + 0.5) / *m));
    wrong += fp::Requantize(acc, other, 0, kU8) != fp::Requantize(acc, *m, 0, kU8);
  }
  EXPECT_GT(wrong, 10);
}

}  // namespace
}  // namespace octile::numerics
