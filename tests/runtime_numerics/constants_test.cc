#include "octile/numerics/constants.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "evidence.h"
#include "octile/numerics/fp.h"

namespace octile::numerics {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kSubnormal = 0x1p-130f;

TEST(Multiplier, RefusesScalesThatAreNotScales) {
  for (float bad : {0.0f, -0.0f, -1.0f, kInfinity, kNan, kSubnormal}) {
    EXPECT_FALSE(ConvMultiplier(bad, 1, 1).has_value()) << bad;
    EXPECT_FALSE(ConvMultiplier(1, 1, bad).has_value()) << bad;
    EXPECT_FALSE(GemmMultiplier(1, bad, 1, 1).has_value()) << bad;
    EXPECT_FALSE(AverageMultiplier(bad, 1, 4).has_value()) << bad;
    EXPECT_FALSE(AverageMultiplier(1, bad, 4).has_value()) << bad;
    EXPECT_FALSE(MakeAddConstants(bad, 0, 1, 0, 1, 0).has_value()) << bad;
    EXPECT_FALSE(MakeAddConstants(1, 0, bad, 0, 1, 0).has_value()) << bad;
    EXPECT_FALSE(MakeAddConstants(1, 0, 1, 0, bad, 0).has_value()) << bad;
    EXPECT_FALSE(MulRatio(bad, 1, 1).has_value()) << bad;
    EXPECT_FALSE(AverageTerms(bad, 0, kU8).has_value()) << bad;
    EXPECT_FALSE(AverageThresholds(bad, 0, 4, kU8).has_value()) << bad;
  }
  for (float bad : {-1.0f, kInfinity, kNan}) {
    EXPECT_FALSE(ConvMultiplier(1, bad, 1).has_value()) << bad;
    EXPECT_FALSE(GemmMultiplier(1, 1, bad, 1).has_value()) << bad;
    EXPECT_FALSE(GemmMultiplier(bad, 1, 1, 1).has_value()) << bad;
    EXPECT_FALSE(EncodeMultiplier(bad).has_value()) << bad;
  }
  EXPECT_FALSE(ConvMultiplier(1e30f, 1e30f, 1).has_value());
  EXPECT_FALSE(AverageMultiplier(1, 1, 0).has_value());
  EXPECT_FALSE(AverageThresholds(1, 0, 0, kU8).has_value());
  EXPECT_FALSE(AverageThresholds(1, 0, 1, kU16).has_value());
  EXPECT_FALSE(MulRatio(1e30f, 1e30f, 1).has_value());
  EXPECT_FALSE(DynamicQuantParams(kNan, 1).has_value());
  EXPECT_FALSE(DynamicQuantParams(0, kInfinity).has_value());
  const auto error = ConvMultiplier(1, 1, -2);
  ASSERT_FALSE(error.has_value());
  EXPECT_EQ(error.error().code, ErrorCode::kModel);
  EXPECT_NE(error.error().message.find("output scale is -2"), std::string::npos)
      << error.error().message;
}

TEST(Multiplier, DeadChannelsAreLegal) {
  for (float dead : {0.0f, kSubnormal, 1e-30f}) {
    const auto m = ConvMultiplier(0.02f, dead, 0.1f);
    ASSERT_TRUE(m.has_value()) << dead;
    EXPECT_EQ(EncodeMultiplier(*m).value(), 0u);
  }
}

TEST(Multiplier, EncodingKeepsTheBitsInRange) {
  EXPECT_EQ(EncodeMultiplier(0x1p-33f).value(), FloatBits(0x1p-33f));
  EXPECT_EQ(EncodeMultiplier(std::nextafterf(0x1p-33f, 0)).value(), 0u);
  EXPECT_EQ(EncodeMultiplier(0x1p9f).value(), FloatBits(0x1p9f));
  EXPECT_EQ(EncodeMultiplier(std::nextafterf(0x1p9f, kInfinity)).value(), FloatBits(0x1p9f));
  EXPECT_EQ(EncodeMultiplier(std::numeric_limits<float>::max()).value(), FloatBits(0x1p9f));
  EXPECT_EQ(EncodeMultiplier(0.3f).value(), FloatBits(0.3f));
}

TEST(Multiplier, OrderOfTheOperations) {
  Random random(1);
  int other_order = 0;
  int alpha_last = 0;
  for (int i = 0; i < 10'000; ++i) {
    const float sx = random.Scale(-10, 0), sw = random.Scale(-14, -4), sy = random.Scale(-10, 0),
                alpha = random.Scale(-2, 2);
    const float product = sx * sw;
    ASSERT_EQ(ConvMultiplier(sx, sw, sy).value(), product / sy);
    const float late = sw / sy;
    other_order += ConvMultiplier(sx, sw, sy).value() != sx * late;
    const float scaled = alpha * sx;
    const float both = scaled * sw;
    ASSERT_EQ(GemmMultiplier(alpha, sx, sw, sy).value(), both / sy);
    alpha_last += GemmMultiplier(alpha, sx, sw, sy).value() != float(product * alpha) / sy;
  }
  EXPECT_GT(other_order, 1000);
  EXPECT_GT(alpha_last, 1000);
}

TEST(Multiplier, OnePerChannel) {
  const float weights[] = {0.1f, 0.0f, 1e30f};
  const auto bits = ConvMultipliers(0.5f, weights, 0.25f);
  ASSERT_TRUE(bits.has_value());
  EXPECT_EQ(*bits, (std::vector<uint32_t>{FloatBits(0.5f * 0.1f / 0.25f), 0u, FloatBits(0x1p9f)}));
  const float bad[] = {0.1f, -0.1f};
  EXPECT_FALSE(ConvMultipliers(0.5f, bad, 0.25f).has_value());
  EXPECT_FALSE(GemmMultipliers(1, 0.5f, bad, 0.25f).has_value());
}

TEST(ClipCodes, AreTheQuantizedBounds) {
  EXPECT_EQ(ClipCodes(0, kInfinity, 0.1f, 20, kU8), (CodeRange{20, 255}));
  EXPECT_EQ(ClipCodes(0, kInfinity, 0.1f, 0, kS8), (CodeRange{0, 127}));
  EXPECT_EQ(ClipCodes(0, 6, 0.1f, -100, kS8), (CodeRange{-100, -40}));
  EXPECT_EQ(ClipCodes(-kInfinity, kInfinity, 0.1f, 0, kS8), kS8);
  EXPECT_EQ(ClipCodes(5, 3, 0.1f, 0, kU8), (CodeRange{30, 30}));
  // Clamping the codes equals clamping the values first: Q is monotone.
  Random random(40);
  for (int i = 0; i < 300'000; ++i) {
    const float s = random.Scale(-8, 0), m = random.Scale(-12, -2);
    const int z = random.Int(-128, 127);
    const float lo = random.Scale(-6, 5) * (random.Int(0, 1) ? 1 : -1),
                hi = lo + random.Scale(-6, 5);
    const float x = static_cast<float>(random.Int(-60000, 60000)) * m;
    const CodeRange codes = ClipCodes(lo, hi, s, z, kS8);
    ASSERT_EQ(std::clamp(fp::Quantize(x, s, z, kS8), codes.lo, codes.hi),
              fp::Quantize(std::clamp(x, lo, hi), s, z, kS8));
  }
}

TEST(Bias, FloatSaturatesAndRoundsToEven) {
  EXPECT_EQ(BiasFromFloat(2.5f, 1, 1), 2);
  EXPECT_EQ(BiasFromFloat(3.5f, 1, 1), 4);
  EXPECT_EQ(BiasFromFloat(-2.5f, 1, 1), -2);
  EXPECT_EQ(BiasFromFloat(1e20f, 1, 1), std::numeric_limits<int32_t>::max());
  EXPECT_EQ(BiasFromFloat(-1e20f, 1, 1), std::numeric_limits<int32_t>::min());
  EXPECT_EQ(BiasFromFloat(0x1p31f, 1, 1), std::numeric_limits<int32_t>::max());
  EXPECT_EQ(BiasFromFloat(2147483520.0f, 1, 1), 2147483520);
  EXPECT_EQ(BiasFromFloat(-0x1p31f, 1, 1), std::numeric_limits<int32_t>::min());
  EXPECT_EQ(BiasFromFloat(0, 1, 0), 0);
  EXPECT_EQ(GemmBiasFromFloat(6, 2, 1.5f, 1), 2);
}

TEST(Bias, QuantizedIsKeptWithinOnePerCent) {
  const float sx = 0.03f, sw = 0.002f;
  const float exact = sx * sw;
  EXPECT_TRUE(BiasScaleAccepted(exact, sx, sw));
  EXPECT_TRUE(BiasScaleAccepted(exact * 1.0099f, sx, sw));
  EXPECT_FALSE(BiasScaleAccepted(exact * 1.0101f, sx, sw));
  EXPECT_TRUE(BiasScaleAccepted(exact * 0.9901f, sx, sw));
  EXPECT_FALSE(BiasScaleAccepted(exact * 0.9899f, sx, sw));
  EXPECT_FALSE(BiasScaleAccepted(kNan, sx, sw));
  EXPECT_EQ(BiasFromQuantized(1000, 0, exact * 1.005f, sx, sw), 1000);
  EXPECT_EQ(BiasFromQuantized(1000, 0, exact * 2, sx, sw), 2000);
  EXPECT_EQ(BiasFromQuantized(1000, 10, exact, sx, sw), 990);
}

TEST(AddConstants, SupportedRange) {
  EXPECT_TRUE(SupportedAddConstants({1, 1, 0}));
  EXPECT_TRUE(SupportedAddConstants({0x1p-40f, 0x1p20f, -0x1p29f}));
  EXPECT_FALSE(SupportedAddConstants({0x1p-41f, 1, 0}));
  EXPECT_FALSE(SupportedAddConstants({1, 0x1.000002p20f, 0}));
  EXPECT_FALSE(SupportedAddConstants({1, 1, 0x1p30f}));
  EXPECT_FALSE(SupportedAddConstants({1, 1, 0x1p-65f}));
  EXPECT_FALSE(SupportedAddConstants({kNan, 1, 0}));
  EXPECT_FALSE(SupportedAddConstants({1, 1, kNan}));
  // Ratios in range make F in range, whatever the zero points.
  Random random(2);
  for (int i = 0; i < 300'000; ++i) {
    float sa = random.Scale(-40, 20),
          sb = random.Int(0, 1) ? random.Scale(-40, 20) : random.Near(sa, 4);
    sa = std::clamp(sa, 0x1p-40f, 0x1p20f);
    sb = std::clamp(sb, 0x1p-40f, 0x1p20f);
    const auto c = MakeAddConstants(sa, random.Int(-128, 255), sb, random.Int(-128, 255), 1,
                                    random.Int(-128, 255));
    ASSERT_TRUE(c.has_value());
    ASSERT_TRUE(SupportedAddConstants(*c)) << sa << " " << sb << " " << c->f;
  }
}

TEST(AffineConstants, AreTheRule) {
  // k = 3 / sqrt(3.75 + 0.25) = 1.5; A = 0.5 * 1.5 / 0.25 = 3; F = (1 - 2 * 1.5) / 0.25 + 5 - 7
  // * 3.
  const auto c = MakeAffineConstants({3, 1, 2, 3.75f}, 0.25f, 0.5f, 7, kS8, 0.25f, 5, kS8);
  ASSERT_TRUE(c.has_value());
  EXPECT_EQ(*c, (AffineConstants{3, -24}));
  const auto negative = MakeAffineConstants({-3, 1, 2, 3.75f}, 0.25f, 0.5f, -7, kS8, 0.25f, 5, kS8);
  ASSERT_TRUE(negative.has_value());
  EXPECT_EQ(*negative, (AffineConstants{-3, 4 * 4 + 5 - 21}));
  // A dead channel is its offset whatever the zero point; an offset too small is none.
  const auto dead = MakeAffineConstants({1e-20f, 1, 0, 1}, 0, 1, 100, kS8, 0.25f, 5, kS8);
  ASSERT_TRUE(dead.has_value());
  EXPECT_EQ(*dead, (AffineConstants{0, 9}));
  const auto none = MakeAffineConstants({1, 1e-30f, 0, 1}, 0, 1, 0, kS8, 1, 0, kS8);
  ASSERT_TRUE(none.has_value());
  EXPECT_EQ(*none, (AffineConstants{1, 0}));
}

TEST(AffineConstants, GiveTheCodesOfTheFp32Kernel) {
  Random random(19);
  int64_t adjusted = 0, other = 0;
  for (int i = 0; i < 20'000; ++i) {
    const CodeRange in = random.Int(0, 1) ? kU8 : kS8, out = random.Int(0, 1) ? kU8 : kS8;
    const NormalizationChannel channel{
        random.Scale(-3, 1) * (random.Int(0, 1) ? 1.0f : -1.0f), random.Scale(-6, 1),
        random.Scale(-6, 1) * (random.Int(0, 1) ? 1.0f : -1.0f), random.Scale(-4, 2)};
    const float sx = random.Scale(-8, 0), sy = sx * random.Scale(-1, 2), epsilon = 1e-5f;
    const int zx = random.Int(in.lo, in.hi), zy = random.Int(out.lo, out.hi);
    const auto c = MakeAffineConstants(channel, epsilon, sx, zx, in, sy, zy, out);
    ASSERT_TRUE(c.has_value());
    const double k = channel.scale / std::sqrt(double(channel.variance) + double(epsilon));
    const double offset = (channel.bias - channel.mean * k) / double(sy);
    const auto nearest = static_cast<float>(sx * k / double(sy));
    adjusted +=
        *c != AffineConstants{nearest, static_cast<float>(offset + zy - zx * double(nearest))};
    for (int q = in.lo; q <= in.hi; ++q)
      other += fp::Affine(q, *c, out) != NormalizeInFp32(q, channel, epsilon, sx, zx, sy, zy, out);
  }
  EXPECT_GT(adjusted, 5);
  EXPECT_EQ(other, 0);
}

TEST(AffineConstants, Refused) {
  const NormalizationChannel good{1, 0, 0, 1};
  EXPECT_TRUE(MakeAffineConstants(good, 0, 1, 0, kS8, 1, 0, kS8).has_value());
  for (const float bad : {0.0f, -1.0f, 1e-40f, kInfinity, kNan}) {
    EXPECT_FALSE(MakeAffineConstants(good, 0, bad, 0, kS8, 1, 0, kS8).has_value()) << bad;
    EXPECT_FALSE(MakeAffineConstants(good, 0, 1, 0, kS8, bad, 0, kS8).has_value()) << bad;
  }
  for (const float bad : {kInfinity, -kInfinity, kNan}) {
    EXPECT_FALSE(MakeAffineConstants({bad, 0, 0, 1}, 0, 1, 0, kS8, 1, 0, kS8).has_value()) << bad;
    EXPECT_FALSE(MakeAffineConstants({1, bad, 0, 1}, 0, 1, 0, kS8, 1, 0, kS8).has_value()) << bad;
    EXPECT_FALSE(MakeAffineConstants({1, 0, bad, 1}, 0, 1, 0, kS8, 1, 0, kS8).has_value()) << bad;
  }
  for (const float bad : {-1.0f, 0.0f, kNan})
    EXPECT_FALSE(MakeAffineConstants({1, 0, 0, bad}, 0, 1, 0, kS8, 1, 0, kS8).has_value()) << bad;
  EXPECT_FALSE(MakeAffineConstants({1e30f, 0, 0, 1}, 0, 1e30f, 0, kS8, 1, 0, kS8).has_value());
  const auto error = MakeAffineConstants({1, 0, 0, -2}, 1, 1, 0, kS8, 1, 0, kS8);
  ASSERT_FALSE(error.has_value());
  EXPECT_NE(error.error().message.find("variance -2"), std::string::npos) << error.error().message;
}

TEST(AffineConstants, SupportedRange) {
  for (const float sign : {1.0f, -1.0f}) {
    EXPECT_TRUE(SupportedAffineConstants({sign * 0x1p-40f, sign * 0x1.fffffep29f}));
    EXPECT_TRUE(SupportedAffineConstants({sign * 0x1p20f, sign * 0x1p-64f}));
    EXPECT_TRUE(SupportedAffineConstants({sign * 0.0f, sign * 0.0f}));
    EXPECT_FALSE(SupportedAffineConstants({sign * 0x1p-41f, 0}));
    EXPECT_FALSE(SupportedAffineConstants({sign * 0x1.000002p20f, 0}));
    EXPECT_FALSE(SupportedAffineConstants({1, sign * 0x1p30f}));
    EXPECT_FALSE(SupportedAffineConstants({1, sign * 0x1p-65f}));
  }
  EXPECT_FALSE(SupportedAffineConstants({kNan, 0}));
  EXPECT_FALSE(SupportedAffineConstants({0, kNan}));
}

TEST(QuantizeDequantize, CornerCases) {
  EXPECT_EQ(fp::Quantize(kNan, 1, 3, kU8), 0);
  EXPECT_EQ(fp::Quantize(kNan, 1, 3, kS8), -128);
  EXPECT_EQ(fp::Quantize(kInfinity, 1, 3, kU8), 255);
  EXPECT_EQ(fp::Quantize(-kInfinity, 1, 3, kU8), 0);
  EXPECT_EQ(fp::Quantize(2.5f, 1, 0, kU8), 2);
  EXPECT_EQ(fp::Quantize(2.5f, 1, 1, kU8), 3);
  EXPECT_EQ(fp::Quantize(-2.5f, 1, 5, kU8), 3);
  EXPECT_EQ(fp::Quantize(1e9f, 1e-3f, 32000, kU16), 65535);
  // True division, not the product with the reciprocal.
  Random random(5);
  int reciprocal = 0;
  for (int i = 0; i < 100'000; ++i) {
    const float s = random.Scale(-8, 0);
    const float x = random.Near((random.Int(0, 254) + 0.5f) * s, 1);
    const float inverse = 1 / s;
    reciprocal += fp::Quantize(x, s, 0, kU8) != static_cast<int>(std::nearbyintf(x * inverse));
  }
  EXPECT_GT(reciprocal, 100);
  // Each code survives dequantize and quantize with equal parameters.
  for (int i = 0; i < 1000; ++i) {
    const float s = random.Scale(-20, 10);
    const int z = random.Int(0, 255);
    for (int q = 0; q < 256; ++q) ASSERT_EQ(fp::Rescale(q, s, z, s, z, kU8), q);
  }
}

TEST(DynamicQuantization, IncludesZero) {
  EXPECT_EQ(DynamicQuantParams(0, 0).value(), (QuantParams{1.0f, 0}));
  EXPECT_EQ(DynamicQuantParams(2, 255).value(), (QuantParams{1.0f, 0}));
  EXPECT_EQ(DynamicQuantParams(-255, -3).value(), (QuantParams{1.0f, 255}));
  EXPECT_EQ(DynamicQuantParams(-128, 127).value(), (QuantParams{1.0f, 128}));
}

}  // namespace
}  // namespace octile::numerics
