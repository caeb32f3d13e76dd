// Scalar functions of N5, in fp32 in and out: what one ONNX node does to one value. The importer
// chains them over the 256 codes of a tensor (DQ, each node by itself, Q) into one table.
//
// Sigmoid and Tanh are the rational polynomials that ONNX Runtime's MLAS evaluates with fused
// multiply-add (bit-identical to it); Sqrt, Reciprocal, and everything built from fp32 operations
// rounds after each operation; the transcendental ones are computed in fp64 and rounded once to
// fp32.
#pragma once

namespace octile::numerics {

float Sigmoid(float x);
float Tanh(float x);

float Relu(float x);
float Clip(float x, float lo, float hi);  // min(max(x, lo), hi)
float LeakyRelu(float x, float alpha);    // x >= 0 ? x : fl(alpha * x)
float PRelu(float x, float slope);        // the same, per channel in the graph
float ThresholdedRelu(float x, float alpha);
float HardSigmoid(float x, float alpha, float beta);
float HardSwish(float x);  // fl(x * HardSigmoid(x, fl(1/6), 0.5))
float Softsign(float x);   // fl(x * fl(1 / fl(1 + |x|)))
float Shrink(float x, float bias, float lambd);

float Elu(float x, float alpha);
float Selu(float x, float alpha, float gamma);
float Celu(float x, float alpha);
float Softplus(float x);
float Mish(float x);
float Erf(float x);
float GeluErf(float x);                 // x/2 (1 + erf(x / sqrt 2)), ONNX approximate = "none"
float GeluTanh(float x);                // approximate = "tanh"
float QuickGelu(float x, float alpha);  // fl(x * Sigmoid(fl(alpha * x)))

float Exp(float x);
float Log(float x);
float Pow(float x, float y);
float Sqrt(float x);
float Reciprocal(float x);
float Abs(float x);
float Neg(float x);
float Sign(float x);
float Floor(float x);
float Ceil(float x);
float Round(float x);  // ties to even
float Sin(float x);
float Cos(float x);
float Tan(float x);
float Asin(float x);
float Acos(float x);
float Atan(float x);
float Sinh(float x);
float Cosh(float x);
float Asinh(float x);
float Acosh(float x);
float Atanh(float x);

}  // namespace octile::numerics
