// Speed of the host's arithmetic: every kernel of runtime/numerics on every instruction set that
// this machine has, as a ratio to plain C++, and one convolution of the reference. Ratios of one
// run on one machine can be compared; docs/host-speed.md quotes them.
//
// Usage: host_bench [SECONDS of each measurement, 0.2]
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <random>
#include <vector>

#include "octile/numerics/bulk.h"
#include "octile/reference/reference.h"

namespace octile {
namespace {

namespace bulk = numerics::bulk;
using bulk::Isa;

constexpr Isa kAll[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Vnni};

double g_seconds = 0.2;

// Calls of `work` per second.
double Rate(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  work();
  int64_t calls = 0;
  const auto begin = Clock::now();
  double elapsed = 0;
  do {
    work();
    ++calls;
    elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
  } while (elapsed < g_seconds);
  return static_cast<double>(calls) / elapsed;
}

// One line: units (10^9 operations) per second on each instruction set, and the ratio to the first.
void Line(const std::string& name, double operations, const std::function<void(Isa)>& kernel) {
  std::string line = fmt::format("{:<36}", name);
  double plain = 0;
  for (const Isa isa : kAll) {
    if (isa > bulk::BestIsa()) break;
    const double rate = operations * Rate([&] { kernel(isa); }) / 1e9;
    if (isa == Isa::kScalar) plain = rate;
    line += fmt::format("{:>9.2f} ({:>5.1f}x)", rate, rate / plain);
  }
  fmt::print("{}\n", line);
}

template <class T>
std::vector<T> Random(size_t count, int lo, int hi) {
  std::mt19937 rng(1);
  std::vector<T> v(count);
  for (T& x : v)
    x = static_cast<T>(lo + static_cast<int>(rng() % static_cast<uint32_t>(hi - lo + 1)));
  return v;
}

void MatrixProduct(size_t m, size_t k, size_t n) {
  const auto a = Random<int16_t>(m * k, -255, 255);
  const auto w = Random<int16_t>(k * n, -255, 255);
  const bulk::PackedWeights packed(w.data(), k, n, n, 1);
  std::vector<int32_t> acc(m * n);
  Line(fmt::format("matrix product {} x {} x {}", m, k, n), static_cast<double>(m * k * n),
       [&](Isa isa) { bulk::GemmI16(a.data(), k, m, packed, acc.data(), n, isa); });
}

void Rows() {
  constexpr size_t kCount = 1 << 16;
  const auto acc = Random<int32_t>(kCount, -2000000, 2000000);
  const auto a = Random<uint8_t>(kCount, 0, 255);
  const auto b = Random<uint8_t>(kCount, 0, 255);
  const auto table = Random<uint8_t>(256, 0, 255);
  std::vector<uint8_t> y(kCount);
  const uint32_t multiplier = numerics::FloatBits(1.0f / 16384);
  Line("requantize (N3)", kCount, [&](Isa isa) {
    bulk::RequantizeRow(acc.data(), kCount, &multiplier, 0, 3, numerics::kS8, y.data(), isa);
  });
  Line("add (N6)", kCount, [&](Isa isa) {
    bulk::AddRow(a.data(), numerics::kS8, b.data(), numerics::kS8, kCount, {0.5f, 0.7f, 3.0f},
                 numerics::kS8, y.data(), isa);
  });
  Line("multiply (N7)", kCount, [&](Isa isa) {
    bulk::MulRow(a.data(), numerics::kS8, 3, b.data(), numerics::kS8, -7, kCount, 0.01f, 5,
                 numerics::kS8, y.data(), isa);
  });
  Line("table (N5)", kCount,
       [&](Isa isa) { bulk::TableRow(a.data(), kCount, table.data(), y.data(), isa); });
  constexpr size_t kChannels = 512, kTaps = 9;
  const auto x = Random<int16_t>(kChannels * kTaps, -255, 255);
  const auto w = Random<int16_t>(kChannels * kTaps, -255, 255);
  std::vector<int32_t> sums(kChannels);
  const int16_t* rows[kTaps];
  for (size_t t = 0; t < kTaps; ++t) rows[t] = &x[t * kChannels];
  Line("depthwise, 9 taps (multiply-adds)", kChannels * kTaps,
       [&](Isa isa) { bulk::DepthwiseI16(rows, kTaps, w.data(), kChannels, sums.data(), isa); });
}

// A 3x3 convolution of ResNet-50 on the reference, with the gathering and requantizing around it.
void ReferenceConvolution() {
  ir::Graph g;
  const Shape shape = {1, 128, 28, 28};
  g.tensors.push_back({"x", DType::kS8, shape, ir::Quantization{0.02f, -3}, std::nullopt});
  g.tensors.push_back({"y", DType::kS8, shape, ir::Quantization{0.1f, 5}, std::nullopt});
  g.inputs = {0};
  g.outputs = {{"y", 1}};
  ir::Conv op;
  op.kernel = {3, 3};
  op.strides = op.dilations = {1, 1};
  op.pads = {1, 1, 1, 1};
  op.group = 1;
  op.weights.dtype = DType::kS8;
  op.weights.codes = Random<uint8_t>(128 * 128 * 9, 0, 255);
  op.weights.zero_points.assign(128, 0);
  op.bias.assign(128, 100);
  op.multipliers.assign(128, 0.0005f);
  op.clamp = {-128, 127};
  g.steps.push_back({"y", op, {0}, 1, {}, {}});
  Tensor x(DType::kS8, shape);
  x.bytes = Random<uint8_t>(x.bytes.size(), 0, 255);
  const double rate = Rate([&] {
    if (!reference::Evaluate(g, {{"x", x}})) std::abort();
  });
  fmt::print("{:<36}{:>9.2f} on {}\n", "reference, 3x3, 128 x 28 x 28",
             128.0 * 128 * 9 * 28 * 28 * rate / 1e9, bulk::IsaName(bulk::BestIsa()));
}

}  // namespace
}  // namespace octile

int main(int argc, char** argv) {
  using namespace octile;
  if (argc > 1) g_seconds = std::atof(argv[1]);
  if (const Status valid = numerics::bulk::CheckIsaVariable(); !valid) {
    fmt::print(stderr, "host_bench: {}\n", valid.error().message);
    return 2;
  }
  std::string head = fmt::format("{:<36}", "10^9 operations per second (ratio)");
  for (const Isa isa : kAll)
    if (isa <= bulk::BestIsa()) head += fmt::format("{:>18}", bulk::IsaName(isa));
  fmt::print("{}\n", head);
  MatrixProduct(64, 576, 448);
  MatrixProduct(256, 1024, 196);
  MatrixProduct(512, 4608, 32);
  MatrixProduct(1024, 16, 16);  // a tile of the ISS
  Rows();
  ReferenceConvolution();
  return 0;
}
