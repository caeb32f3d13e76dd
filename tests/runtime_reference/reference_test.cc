// The reference against the rules written out naively, and its handling of wrong inputs.
#include "octile/reference/reference.h"

#include <gtest/gtest.h>

#include <random>

#include "octile/numerics/fp.h"

namespace octile::reference {
namespace {

struct Case {
  int64_t channels, outputs, group;
  std::array<int64_t, 2> kernel, strides, dilations;
  std::array<int64_t, 4> pads;
  DType activations, weights;
};

// One Conv step with random constants.
ir::Graph ConvGraph(const Case& c, std::mt19937& rng, bool raw) {
  ir::Graph g;
  const int lowest = c.activations == DType::kS8 ? -128 : 0;
  const auto zero = [&] { return static_cast<int32_t>(rng() % 256) + lowest; };
  g.tensors.push_back(
      {"x", c.activations, {2, c.channels, 9, 8}, ir::Quantization{0.02f, zero()}, std::nullopt});
  g.inputs = {0};
  ir::Conv op;
  op.kernel = c.kernel;
  op.strides = c.strides;
  op.dilations = c.dilations;
  op.pads = c.pads;
  op.group = c.group;
  op.weights.dtype = c.weights;
  Shape out = {2, c.outputs, 0, 0};
  for (size_t i = 0; i < 2; ++i)
    out[i + 2] = (g.tensors[0].shape[i + 2] + c.pads[i] + c.pads[i + 2] -
                  (c.kernel[i] - 1) * c.dilations[i] - 1) /
                     c.strides[i] +
                 1;
  for (int64_t i = 0; i < c.outputs * (c.channels / c.group) * c.kernel[0] * c.kernel[1]; ++i)
    op.weights.codes.push_back(static_cast<uint8_t>(rng()));
  for (int64_t i = 0; i < c.outputs; ++i) {
    op.weights.zero_points.push_back(static_cast<int32_t>(rng() % 256) +
                                     (c.weights == DType::kS8 ? -128 : 0));
    op.bias.push_back(static_cast<int32_t>(rng() % 20000) - 10000);
    if (!raw) op.multipliers.push_back(0.0005f * static_cast<float>(rng() % 1000) / 1000);
  }
  op.clamp = {lowest + 20, lowest + 230};
  if (raw)
    g.tensors.push_back({"y", DType::kS32, out, std::nullopt, std::nullopt});
  else
    g.tensors.push_back({"y", c.activations, out, ir::Quantization{0.1f, zero()}, std::nullopt});
  g.outputs = {{"y", 1}};
  g.steps.push_back({"y", op, {0}, 1, {}, {}});
  return g;
}

Tensor RandomInput(const ir::TensorInfo& info, std::mt19937& rng) {
  Tensor t(info.dtype, info.shape);
  for (uint8_t& b : t.bytes) b = static_cast<uint8_t>(rng());
  return t;
}

int CodeAt(const Tensor& t, int64_t i) {
  const uint8_t b = t.bytes[static_cast<size_t>(i)];
  return t.dtype == DType::kS8 ? static_cast<int8_t>(b) : b;
}

TEST(Reference, ConvolutionEqualsTheRuleWrittenOut) {
  std::mt19937 rng(7);
  const Case cases[] = {
      {3, 5, 1, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, DType::kU8, DType::kS8},
      {4, 6, 2, {2, 5}, {2, 3}, {1, 1}, {0, 3, 2, 0}, DType::kS8, DType::kS8},
      {6, 6, 6, {3, 3}, {2, 1}, {2, 1}, {1, 2, 3, 0}, DType::kU8, DType::kU8},
      {5, 10, 5, {3, 1}, {1, 2}, {1, 1}, {0, 0, 0, 0}, DType::kS8, DType::kU8},
      {17, 33, 1, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}, DType::kU8, DType::kS8},
      {2, 3, 1, {9, 8}, {1, 1}, {1, 1}, {0, 0, 0, 0}, DType::kU8, DType::kS8},
  };
  for (const Case& c : cases) {
    for (const bool raw : {false, true}) {
      const ir::Graph g = ConvGraph(c, rng, raw);
      ASSERT_TRUE(ir::Verify(g).has_value()) << ir::Verify(g).error().message;
      const Tensor x = RandomInput(g.tensors[0], rng);
      const auto result = Evaluate(g, {{"x", x}});
      ASSERT_TRUE(result.has_value()) << result.error().message;
      const Tensor& y = result->outputs[0];
      const auto& op = std::get<ir::Conv>(g.steps[0].op);
      const Shape& s = y.shape;
      const int64_t per_group = c.channels / c.group;
      for (int64_t n = 0; n < s[0]; ++n)
        for (int64_t o = 0; o < s[1]; ++o)
          for (int64_t oy = 0; oy < s[2]; ++oy)
            for (int64_t ox = 0; ox < s[3]; ++ox) {
              int32_t acc = op.bias[static_cast<size_t>(o)];
              for (int64_t k = 0; k < per_group; ++k)
                for (int64_t ky = 0; ky < c.kernel[0]; ++ky)
                  for (int64_t kx = 0; kx < c.kernel[1]; ++kx) {
                    const int64_t iy = oy * c.strides[0] + ky * c.dilations[0] - c.pads[0];
                    const int64_t ix = ox * c.strides[1] + kx * c.dilations[1] - c.pads[1];
                    if (iy < 0 || iy >= 9 || ix < 0 || ix >= 8) continue;
                    const int64_t channel = o / (c.outputs / c.group) * per_group + k;
                    const int q = CodeAt(x, ((n * c.channels + channel) * 9 + iy) * 8 + ix) -
                                  g.tensors[0].quant->zero_point;
                    const int w =
                        op.weights.at(((o * per_group + k) * c.kernel[0] + ky) * c.kernel[1] + kx) -
                        op.weights.zero_points[static_cast<size_t>(o)];
                    acc += q * w;
                  }
              const int64_t at = ((n * s[1] + o) * s[2] + oy) * s[3] + ox;
              if (raw) {
                ASSERT_EQ(y.data<int32_t>()[static_cast<size_t>(at)], acc) << "at " << at;
              } else {
                ASSERT_EQ(CodeAt(y, at),
                          numerics::fp::Requantize(acc, op.multipliers[static_cast<size_t>(o)],
                                                   g.tensors[1].quant->zero_point,
                                                   {op.clamp.lo, op.clamp.hi}))
                    << "at " << at;
              }
            }
    }
  }
}

TEST(Reference, AccumulatorsWrap) {
  // 70,000 products of 255 * 255 exceed 2^31: N1 says modulo 2^32.
  ir::Graph g;
  const int64_t k = 70000;
  g.tensors.push_back({"x", DType::kU8, {1, k}, ir::Quantization{1.0f, 0}, std::nullopt});
  g.tensors.push_back({"y", DType::kS32, {1, 1}, std::nullopt, std::nullopt});
  g.inputs = {0};
  g.outputs = {{"y", 1}};
  ir::Gemm op;
  op.weights = {DType::kU8, std::vector<uint8_t>(static_cast<size_t>(k), 255), {0}};
  op.bias = {5};
  g.steps.push_back({"y", op, {0}, 1, {}, {}});
  Tensor x(DType::kU8, {1, k});
  std::fill(x.bytes.begin(), x.bytes.end(), 255);
  const auto result = Evaluate(g, {{"x", x}});
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->outputs[0].data<int32_t>()[0],
            static_cast<int32_t>(static_cast<uint32_t>(70000ll * 255 * 255 + 5)));
}

TEST(Reference, NamesWrongInputs) {
  std::mt19937 rng(1);
  const ir::Graph g = ConvGraph(
      {3, 5, 1, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, DType::kU8, DType::kS8}, rng, false);
  EXPECT_EQ(Evaluate(g, {}).error().message, "input 'x' is missing");
  EXPECT_EQ(Evaluate(g, {{"x", Tensor(DType::kF32, {1})}}).error().message,
            "input 'x' is f32 1, the model takes u8 2x3x9x8");
  const Tensor x = RandomInput(g.tensors[0], rng);
  EXPECT_EQ(Evaluate(g, {{"x", x}, {"z", x}}).error().message, "'z' is not an input of the model");
}

}  // namespace
}  // namespace octile::reference
