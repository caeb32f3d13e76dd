#include "octile/numerics/functions.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "evidence.h"
#include "octile/numerics/fp.h"

namespace octile::numerics {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

int64_t UlpsApart(float a, float b) {
  const auto key = [](float v) {
    const uint32_t bits = FloatBits(v);
    return (bits >> 31) ? -static_cast<int64_t>(bits & 0x7fffffff) : static_cast<int64_t>(bits);
  };
  return std::abs(key(a) - key(b));
}

TEST(Functions, RationalPolynomialsAreCloseToTheFunctions) {
  for (int i = -4000; i <= 4000; ++i) {
    const float x = static_cast<float>(i) * 0.01f;
    EXPECT_NEAR(Sigmoid(x), 1 / (1 + std::exp(-double(x))), 1e-6) << x;
    EXPECT_NEAR(Tanh(x), std::tanh(double(x)), 1e-6) << x;
  }
  EXPECT_EQ(Sigmoid(kInfinity), Sigmoid(18));
  EXPECT_EQ(Tanh(-kInfinity), Tanh(-9));
  EXPECT_TRUE(std::isnan(Sigmoid(kNan)));
  EXPECT_TRUE(std::isnan(Tanh(kNan)));
}

// Rounded once from fp64: compared with the same functions in the wider type of the compiler's
// library.
TEST(Functions, TranscendentalFunctionsAreCorrectlyRounded) {
  struct Case {
    const char* name;
    float (*function)(float);
    long double (*exact)(long double);
    float lo, hi;
  };
  const auto softplus = [](long double v) {
    return v > 0 ? v + log1pl(expl(-v)) : log1pl(expl(v));
  };
  static const auto gelu = [](long double v) { return 0.5L * v * erfcl(-v * sqrtl(0.5L)); };
  static const auto mish = [](long double v) {
    return v * tanhl(v > 0 ? v + log1pl(expl(-v)) : log1pl(expl(v)));
  };
  const Case cases[] = {
      {"Exp", Exp, [](long double v) { return expl(v); }, -80, 80},
      {"Log", Log, [](long double v) { return logl(v); }, 1e-6f, 1e6f},
      {"Erf", Erf, [](long double v) { return erfl(v); }, -4, 4},
      {"Softplus", Softplus, softplus, -30, 30},
      {"GeluErf", GeluErf, [](long double v) { return gelu(v); }, -8, 8},
      {"Mish", Mish, [](long double v) { return mish(v); }, -20, 20},
      {"Sin", Sin, [](long double v) { return sinl(v); }, -100, 100},
      {"Cos", Cos, [](long double v) { return cosl(v); }, -100, 100},
      {"Tan", Tan, [](long double v) { return tanl(v); }, -1.5f, 1.5f},
      {"Atan", Atan, [](long double v) { return atanl(v); }, -10, 10},
      {"Asin", Asin, [](long double v) { return asinl(v); }, -1, 1},
      {"Acos", Acos, [](long double v) { return acosl(v); }, -1, 1},
      {"Sinh", Sinh, [](long double v) { return sinhl(v); }, -10, 10},
      {"Cosh", Cosh, [](long double v) { return coshl(v); }, -10, 10},
      {"Asinh", Asinh, [](long double v) { return asinhl(v); }, -10, 10},
      {"Acosh", Acosh, [](long double v) { return acoshl(v); }, 1, 10},
      {"Atanh", Atanh, [](long double v) { return atanhl(v); }, -0.99f, 0.99f},
  };
  Random random(20);
  for (const Case& c : cases) {
    for (int i = 0; i < 20'000; ++i) {
      const float x = static_cast<float>(c.lo + (c.hi - c.lo) * random.Unit());
      ASSERT_EQ(c.function(x), static_cast<float>(c.exact(x))) << c.name << "(" << x << ")";
    }
  }
}

TEST(Functions, PiecewiseAndExactFunctions) {
  EXPECT_EQ(Relu(-1), 0);
  EXPECT_EQ(Relu(2), 2);
  EXPECT_EQ(Clip(7, 0, 6), 6);
  EXPECT_EQ(Clip(-7, 0, 6), 0);
  EXPECT_EQ(LeakyRelu(-3, 0.1f), -3 * 0.1f);
  EXPECT_EQ(PRelu(-3, 0.25f), -0.75f);
  EXPECT_EQ(ThresholdedRelu(1, 1), 0);
  EXPECT_EQ(ThresholdedRelu(1.5f, 1), 1.5f);
  EXPECT_EQ(HardSigmoid(10, 0.2f, 0.5f), 1);
  EXPECT_EQ(HardSigmoid(-10, 0.2f, 0.5f), 0);
  EXPECT_EQ(HardSwish(4), 4);
  EXPECT_EQ(HardSwish(-3), 0);
  EXPECT_EQ(Softsign(-1), -0.5f);
  EXPECT_EQ(Shrink(2, 0.5f, 1), 1.5f);
  EXPECT_EQ(Shrink(-2, 0.5f, 1), -1.5f);
  EXPECT_EQ(Shrink(0.5f, 0.5f, 1), 0);
  EXPECT_EQ(Elu(1, 2), 1);
  EXPECT_NEAR(Elu(-1, 2), 2 * (std::exp(-1.0) - 1), 1e-6);
  EXPECT_NEAR(Selu(-1, 1.5f, 1.25f), 1.25 * 1.5 * (std::exp(-1.0) - 1), 1e-6);
  EXPECT_NEAR(Celu(-1, 2), 2 * (std::exp(-0.5) - 1), 1e-6);
  EXPECT_EQ(Round(2.5f), 2);
  EXPECT_EQ(Round(-3.5f), -4);
  EXPECT_EQ(Floor(-2.5f), -3);
  EXPECT_EQ(Ceil(-2.5f), -2);
  EXPECT_EQ(Sign(-3), -1);
  EXPECT_EQ(Sign(0), 0);
  EXPECT_EQ(Abs(-3), 3);
  EXPECT_EQ(Neg(-3), 3);
  EXPECT_EQ(Sqrt(2), std::sqrt(2.0f));
  EXPECT_EQ(Reciprocal(3), 1 / 3.0f);
  EXPECT_EQ(Pow(3, 2), 9);
  EXPECT_EQ(Pow(2, 0.5f), static_cast<float>(std::sqrt(2.0)));
  EXPECT_EQ(QuickGelu(1, 1.702f), Sigmoid(1.702f));
  EXPECT_NEAR(GeluTanh(1), 0.841192, 1e-6);
  EXPECT_EQ(GeluErf(-kInfinity), 0);
  EXPECT_EQ(GeluTanh(kInfinity), kInfinity);
  EXPECT_EQ(Softplus(200), 200);
  EXPECT_EQ(Log(0), -kInfinity);
}

TEST(Softmax, QuantizedRowSumsToOneAndKeepsOrder) {
  Random random(21);
  for (CodeRange type : {kU8, kS8}) {
    for (int length : {1, 2, 10, 1000}) {
      const float sx = 0.05f;
      const auto table = fp::QSoftmaxTable(sx, length);
      EXPECT_TRUE(std::is_sorted(table.begin(), table.end()));
      std::vector<int> x(length), y(length);
      for (int& code : x) code = random.Int(type.lo, type.hi);
      const int zy = type.lo;
      fp::QSoftmaxRow(x.data(), y.data(), length, 1, table, 1 / 256.0f, zy, type);
      int sum = 0;
      for (int i = 0; i < length; ++i) {
        EXPECT_GE(y[i], type.lo);
        EXPECT_LE(y[i], type.hi);
        sum += y[i] - zy;
        for (int j = 0; j < std::min(length, 10); ++j) {
          EXPECT_TRUE(x[i] <= x[j] || y[i] >= y[j]);
        }
      }
      EXPECT_NEAR(sum, 256, 2 + length * 0.5);
    }
  }
}

TEST(Softmax, StrideSelectsTheAxis) {
  const float x[] = {1, 10, 2, 20, 3, 30};
  float y[6] = {};
  fp::SoftmaxRow(x, y, 3, 2);
  fp::SoftmaxRow(x + 1, y + 1, 3, 2);
  EXPECT_NEAR(y[0] + y[2] + y[4], 1, 1e-6);
  EXPECT_NEAR(y[1] + y[3] + y[5], 1, 1e-6);
  EXPECT_NEAR(y[0], std::exp(-2.0) / (1 + std::exp(-1.0) + std::exp(-2.0)), 1e-7);
  float z[6] = {};
  fp::LogSoftmaxRow(x, z, 3, 2);
  EXPECT_NEAR(z[0], std::log(double(y[0])), 1e-6);
  EXPECT_LE(UlpsApart(std::exp(z[0]), y[0]), 8);
}

}  // namespace
}  // namespace octile::numerics
