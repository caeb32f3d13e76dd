// The reference against the rules written out naively, and its handling of wrong inputs.
#include "octile/reference/reference.h"

#include <gtest/gtest.h>

#include <random>

#include "octile/numerics/constants.h"
#include "octile/numerics/fp.h"

namespace octile::reference {
namespace {

struct Case {
  int64_t channels, outputs, group;
  std::array<int64_t, 2> kernel, strides, dilations;
  std::array<int64_t, 4> pads;
  DType activations, weights;
  int64_t rows = 9, columns = 8;
};

// One Conv step with random constants.
ir::Graph ConvGraph(const Case& c, std::mt19937& rng, bool raw) {
  ir::Graph g;
  const int lowest = c.activations == DType::kS8 ? -128 : 0;
  const auto zero = [&] { return static_cast<int32_t>(rng() % 256) + lowest; };
  g.tensors.push_back({"x",
                       c.activations,
                       {2, c.channels, c.rows, c.columns},
                       ir::Quantization{0.02f, zero()},
                       std::nullopt});
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

// One convolution against the loops of the rule. extreme: codes, weights and zero points are the
// least or the greatest of their types.
void CheckConvolution(const Case& c, std::mt19937& rng, bool raw, bool extreme) {
  const auto lowest_or_highest = [](int bits, DType type) {
    const int lowest = type == DType::kS8 ? -128 : 0;
    return static_cast<uint8_t>(bits % 2 != 0 ? lowest : lowest + 255);
  };
  ir::Graph g = ConvGraph(c, rng, raw);
  if (extreme) {
    auto& weights = std::get<ir::Conv>(g.steps[0].op).weights;
    for (uint8_t& code : weights.codes) code = lowest_or_highest(code, c.weights);
    const auto extreme_zero = [&](DType type) {
      return (rng() % 2) * 255 - (type == DType::kS8 ? 128 : 0);
    };
    for (int32_t& zero : weights.zero_points) zero = static_cast<int32_t>(extreme_zero(c.weights));
    g.tensors[0].quant->zero_point = static_cast<int32_t>(extreme_zero(c.activations));
  }
  ASSERT_TRUE(ir::Verify(g).has_value()) << ir::Verify(g).error().message;
  Tensor x = RandomInput(g.tensors[0], rng);
  if (extreme)
    for (uint8_t& code : x.bytes) code = lowest_or_highest(code, c.activations);
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
                if (iy < 0 || iy >= c.rows || ix < 0 || ix >= c.columns) continue;
                const int64_t channel = o / (c.outputs / c.group) * per_group + k;
                const int q =
                    CodeAt(x, ((n * c.channels + channel) * c.rows + iy) * c.columns + ix) -
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
  for (const Case& c : cases)
    for (const bool raw : {false, true}) CheckConvolution(c, rng, raw, false);
}

TEST(Reference, ConvolutionsOfRandomShapesAndExtremeCodes) {
  std::mt19937 rng(8);
  const auto draw = [&](int64_t lo, int64_t hi) {
    return lo + static_cast<int64_t>(rng() % static_cast<uint64_t>(hi - lo + 1));
  };
  const DType types[] = {DType::kU8, DType::kS8};
  int checked = 0;
  while (checked < 150) {
    Case c{};
    c.group = draw(1, 3) == 1 ? draw(2, 6) : 1;
    c.channels = c.group * draw(1, 5);
    c.outputs = c.group * draw(1, 5);
    c.kernel = {draw(1, 5), draw(1, 5)};
    c.strides = {draw(1, 3), draw(1, 3)};
    c.dilations = {draw(1, 2), draw(1, 2)};
    c.pads = {draw(0, 4), draw(0, 4), draw(0, 4), draw(0, 4)};
    c.rows = draw(1, 12);
    // Now and then more positions than one strip holds.
    c.columns = checked % 10 == 0 ? draw(300, 1500) : draw(1, 40);
    c.activations = types[rng() % 2];
    c.weights = types[rng() % 2];
    if (c.rows + c.pads[0] + c.pads[2] <= (c.kernel[0] - 1) * c.dilations[0] ||
        c.columns + c.pads[1] + c.pads[3] <= (c.kernel[1] - 1) * c.dilations[1])
      continue;
    CheckConvolution(c, rng, checked % 3 == 0, checked % 2 == 0);
    if (HasFatalFailure()) return;
    ++checked;
  }
}

// Max pooling, add and multiply against one element at a time.
TEST(Reference, PoolsAndElementwiseOperatorsEqualTheScalarRules) {
  std::mt19937 rng(9);
  const auto draw = [&](int64_t lo, int64_t hi) {
    return lo + static_cast<int64_t>(rng() % static_cast<uint64_t>(hi - lo + 1));
  };
  for (int round = 0; round < 60; ++round) {
    const DType type = round % 2 == 0 ? DType::kU8 : DType::kS8;
    const int lowest = type == DType::kS8 ? -128 : 0;
    const int64_t channels = draw(1, 4), rows = draw(5, 12), columns = draw(5, 30);
    const ir::Quantization q{0.05f, static_cast<int32_t>(draw(0, 255)) + lowest};
    ir::Graph g;
    g.tensors.push_back({"a", type, {1, channels, rows, columns}, q, std::nullopt});
    const Shape smaller[] = {{1, channels, rows, columns}, {1, channels, 1, 1}, {1, 1, 1, columns}};
    const Shape b_shape = smaller[round % 3];
    const ir::Quantization qb{0.03f, static_cast<int32_t>(draw(0, 255)) + lowest};
    g.tensors.push_back({"b", type, b_shape, qb, std::nullopt});
    g.inputs = {0, 1};
    ir::MaxPool pool;
    pool.kernel = {draw(1, 4), draw(1, 4)};
    pool.strides = {draw(1, 3), draw(1, 3)};
    pool.pads = {draw(0, pool.kernel[0] - 1), draw(0, pool.kernel[1] - 1),
                 draw(0, pool.kernel[0] - 1), draw(0, pool.kernel[1] - 1)};
    const int64_t out_rows =
        (rows + pool.pads[0] + pool.pads[2] - pool.kernel[0]) / pool.strides[0] + 1;
    const int64_t out_columns =
        (columns + pool.pads[1] + pool.pads[3] - pool.kernel[1]) / pool.strides[1] + 1;
    g.tensors.push_back({"p", type, {1, channels, out_rows, out_columns}, q, std::nullopt});
    const ir::Quantization qy{0.04f, static_cast<int32_t>(draw(0, 255)) + lowest};
    g.tensors.push_back({"s", type, {1, channels, rows, columns}, qy, std::nullopt});
    g.tensors.push_back({"m", type, {1, channels, rows, columns}, qy, std::nullopt});
    const auto constants = numerics::MakeAddConstants(q.scale, q.zero_point, qb.scale,
                                                      qb.zero_point, qy.scale, qy.zero_point);
    ASSERT_TRUE(constants.has_value());
    const ir::CodeRange clamp{lowest + 10, lowest + 250};
    const float ratio = *numerics::MulRatio(q.scale, qb.scale, qy.scale);
    g.steps.push_back({"p", pool, {0}, 2, {}, {}});
    g.steps.push_back(
        {"s", ir::Add{constants->ra, constants->rb, constants->f, clamp}, {0, 1}, 3, {}, {}});
    g.steps.push_back({"m", ir::Mul{ratio, clamp}, {0, 1}, 4, {}, {}});
    g.outputs = {{"p", 2}, {"s", 3}, {"m", 4}};
    ASSERT_TRUE(ir::Verify(g).has_value()) << ir::Verify(g).error().message;
    const Tensor a = RandomInput(g.tensors[0], rng), b = RandomInput(g.tensors[1], rng);
    const auto result = Evaluate(g, {{"a", a}, {"b", b}});
    ASSERT_TRUE(result.has_value()) << result.error().message;
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t y = 0; y < out_rows; ++y)
        for (int64_t x = 0; x < out_columns; ++x) {
          int best = lowest;
          for (int64_t ky = 0; ky < pool.kernel[0]; ++ky)
            for (int64_t kx = 0; kx < pool.kernel[1]; ++kx) {
              const int64_t iy = y * pool.strides[0] + ky - pool.pads[0];
              const int64_t ix = x * pool.strides[1] + kx - pool.pads[1];
              if (iy < 0 || iy >= rows || ix < 0 || ix >= columns) continue;
              best = std::max(best, CodeAt(a, (c * rows + iy) * columns + ix));
            }
          ASSERT_EQ(CodeAt(result->outputs[0], (c * out_rows + y) * out_columns + x), best);
        }
      for (int64_t y = 0; y < rows; ++y)
        for (int64_t x = 0; x < columns; ++x) {
          const int64_t at = (c * rows + y) * columns + x;
          const int64_t at_b = round % 3 == 0 ? at : round % 3 == 1 ? c : x;
          const numerics::CodeRange range{clamp.lo, clamp.hi};
          ASSERT_EQ(CodeAt(result->outputs[1], at),
                    numerics::fp::Add(CodeAt(a, at), CodeAt(b, at_b), *constants, range));
          const int product = (CodeAt(a, at) - q.zero_point) * (CodeAt(b, at_b) - qb.zero_point);
          ASSERT_EQ(CodeAt(result->outputs[2], at),
                    numerics::fp::Mul(product, ratio, qy.zero_point, range));
        }
    }
  }
}

TEST(Reference, NormalizationIsTheRulePerChannel) {
  std::mt19937 rng(15);
  for (const DType type : {DType::kU8, DType::kS8}) {
    const int lowest = type == DType::kS8 ? -128 : 0;
    for (const Shape& shape : {Shape{2, 3, 4, 5}, Shape{4, 3}, Shape{1, 3, 6}}) {
      ir::Graph g;
      g.tensors.push_back({"x", type, shape, ir::Quantization{0.05f, lowest + 7}, std::nullopt});
      g.tensors.push_back({"y", DType::kS8, shape, ir::Quantization{0.25f, -9}, std::nullopt});
      const ir::Affine op{{0.75f, -1.0f / 3, 0.0f}, {-20.5f, 17.25f, 3.5f}, {-90, 100}};
      g.steps.push_back({"y", op, {0}, 1, {}, {}});
      g.inputs = {0};
      g.outputs = {{"y", 1}};
      ASSERT_TRUE(ir::Verify(g).has_value()) << ir::Verify(g).error().message;
      const Tensor x = RandomInput(g.tensors[0], rng);
      const auto result = Evaluate(g, {{"x", x}});
      ASSERT_TRUE(result.has_value()) << result.error().message;
      const int64_t inner = ElementCount(shape) / shape[0] / 3;
      for (int64_t at = 0; at < x.size(); ++at) {
        const auto c = static_cast<size_t>(at / inner % 3);
        const float value =
            std::fma(static_cast<float>(CodeAt(x, at)), op.factors[c], op.offsets[c]);
        ASSERT_EQ(CodeAt(result->outputs[0], at),
                  static_cast<int>(std::nearbyintf(std::clamp(value, -90.0f, 100.0f))));
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
