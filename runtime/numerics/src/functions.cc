#include "octile/numerics/functions.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace octile::numerics {
namespace {

// Evaluates in fp64 and rounds once.
template <class F>
float Rounded(F f, float x) {
  return static_cast<float>(f(static_cast<double>(x)));
}

double SoftplusF64(double x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}

constexpr double kSqrtHalf = 0.70710678118654752440;
constexpr double kSqrtTwoOverPi = 0.79788456080286535588;

}  // namespace

// N5. Odd rational function on [-18, 18], shifted by one half. The clamp lets NaN through.
float Sigmoid(float x) {
  x = x < -18.0f ? -18.0f : (x > 18.0f ? 18.0f : x);
  const float square = x * x;
  float p = std::fma(square, 4.37031012579801e-11f, 1.15627324459942e-07f);
  for (float coefficient : {6.08574864600143e-05f, 8.51377133304701e-03f, 2.48287947061529e-01f}) {
    p = std::fma(p, square, coefficient);
  }
  p = p * x;
  float q = std::fma(square, 6.10247389755681e-13f, 5.76102136993427e-09f);
  for (float coefficient : {6.29106785017040e-06f, 1.70198817374094e-03f, 1.16817656904453e-01f,
                            9.93151921023180e-01f}) {
    q = std::fma(q, square, coefficient);
  }
  const float quotient = p / q;
  const float y = quotient + 0.5f;
  return y < 0.0f ? 0.0f : (y > 1.0f ? 1.0f : y);
}

// N5. Odd rational function on [-9, 9].
float Tanh(float x) {
  x = x < -9.0f ? -9.0f : (x > 9.0f ? 9.0f : x);
  const float square = x * x;
  float p = std::fma(square, -2.76076847742355e-16f, 2.00018790482477e-13f);
  for (float coefficient : {-8.60467152213735e-11f, 5.12229709037114e-08f, 1.48572235717979e-05f,
                            6.37261928875436e-04f, 4.89352455891786e-03f}) {
    p = std::fma(p, square, coefficient);
  }
  p = p * x;
  float q = std::fma(square, 1.19825839466702e-06f, 1.18534705686654e-04f);
  for (float coefficient : {2.26843463243900e-03f, 4.89352518554385e-03f})
    q = std::fma(q, square, coefficient);
  return p / q;
}

float Relu(float x) { return x < 0.0f ? 0.0f : x; }

float Clip(float x, float lo, float hi) {
  const float raised = x < lo ? lo : x;
  return raised > hi ? hi : raised;
}

float LeakyRelu(float x, float alpha) { return x >= 0.0f ? x : alpha * x; }
float PRelu(float x, float slope) { return x < 0.0f ? slope * x : x; }
float ThresholdedRelu(float x, float alpha) { return x > alpha ? x : 0.0f; }

float HardSigmoid(float x, float alpha, float beta) {
  const float product = alpha * x;
  const float sum = product + beta;
  return Clip(sum, 0.0f, 1.0f);
}

float HardSwish(float x) { return x * HardSigmoid(x, 1.0f / 6.0f, 0.5f); }

float Softsign(float x) {
  // A product with the reciprocal, as ONNX Runtime evaluates it (bit-identical); the quotient
  // differs in one result of four.
  const float reciprocal = 1.0f / (1.0f + std::fabs(x));
  return x * reciprocal;
}

float Shrink(float x, float bias, float lambd) {
  if (x < -lambd) return x + bias;
  if (x > lambd) return x - bias;
  return 0.0f;
}

float Elu(float x, float alpha) {
  if (x >= 0.0f) return x;
  return static_cast<float>(static_cast<double>(alpha) * std::expm1(static_cast<double>(x)));
}

float Selu(float x, float alpha, float gamma) {
  if (x > 0.0f) return gamma * x;
  return static_cast<float>(static_cast<double>(gamma) * static_cast<double>(alpha) *
                            std::expm1(static_cast<double>(x)));
}

float Celu(float x, float alpha) {
  if (x >= 0.0f) return x;
  const double a = alpha;
  return static_cast<float>(a * std::expm1(static_cast<double>(x) / a));
}

float Softplus(float x) { return Rounded(SoftplusF64, x); }

float Mish(float x) {
  return Rounded([](double v) { return v * std::tanh(SoftplusF64(v)); }, x);
}

float Erf(float x) {
  return Rounded([](double v) { return std::erf(v); }, x);
}

float GeluErf(float x) {
  // erfc keeps the precision of 1 + erf where erf is near -1. The infinities: x * 0 would be NaN.
  if (std::isinf(x)) return x > 0 ? x : 0.0f;
  return Rounded([](double v) { return 0.5 * v * std::erfc(-v * kSqrtHalf); }, x);
}

float GeluTanh(float x) {
  if (std::isinf(x)) return x > 0 ? x : 0.0f;
  return Rounded(
      [](double v) {
        const double t = kSqrtTwoOverPi * (v + 0.044715 * v * v * v);
        // (1 + tanh t) / 2 = 1 / (1 + exp(-2 t)), without cancellation.
        return v / (1.0 + std::exp(-2.0 * t));
      },
      x);
}

float QuickGelu(float x, float alpha) {
  const float scaled = alpha * x;
  return x * Sigmoid(scaled);
}

float Exp(float x) {
  return Rounded([](double v) { return std::exp(v); }, x);
}
float Log(float x) {
  return Rounded([](double v) { return std::log(v); }, x);
}

float Pow(float x, float y) {
  if (y == 2.0f) return x * x;
  if (y == 3.0f) return x * x * x;
  return static_cast<float>(std::pow(static_cast<double>(x), static_cast<double>(y)));
}

float Sqrt(float x) { return std::sqrt(x); }
float Reciprocal(float x) { return 1.0f / x; }
float Abs(float x) { return std::fabs(x); }
float Neg(float x) { return -x; }
float Sign(float x) { return x > 0.0f ? 1.0f : (x < 0.0f ? -1.0f : x); }
float Floor(float x) { return std::floor(x); }
float Ceil(float x) { return std::ceil(x); }
float Round(float x) { return std::nearbyint(x); }

float Sin(float x) {
  return Rounded([](double v) { return std::sin(v); }, x);
}
float Cos(float x) {
  return Rounded([](double v) { return std::cos(v); }, x);
}
float Tan(float x) {
  return Rounded([](double v) { return std::tan(v); }, x);
}
float Asin(float x) {
  return Rounded([](double v) { return std::asin(v); }, x);
}
float Acos(float x) {
  return Rounded([](double v) { return std::acos(v); }, x);
}
float Atan(float x) {
  return Rounded([](double v) { return std::atan(v); }, x);
}
float Sinh(float x) {
  return Rounded([](double v) { return std::sinh(v); }, x);
}
float Cosh(float x) {
  return Rounded([](double v) { return std::cosh(v); }, x);
}
float Asinh(float x) {
  return Rounded([](double v) { return std::asinh(v); }, x);
}
float Acosh(float x) {
  return Rounded([](double v) { return std::acosh(v); }, x);
}
float Atanh(float x) {
  return Rounded([](double v) { return std::atanh(v); }, x);
}

}  // namespace octile::numerics
