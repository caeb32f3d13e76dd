// Speed of the Verilated core of one configuration, platform included, on two layers that keep the
// array busy: a 3 x 3 convolution, whose results leave rarely, and a 1 x 1 convolution with a
// residual, whose results leave in every fourth tile. `MultiplyAccumulate` is the least that a
// program must do for one cycle of the array, N x N products; the machine's speed falls out of the
// ratio of the two.
#include <benchmark/benchmark.h>

#include <bit>
#include <cstring>

#include "octile/cosim/run.h"
#include "octile/isa/isa.h"
#include "octile/sim/options.h"
#include "octile/verilated/device.h"

namespace octile {
namespace {

const Config& CoreConfig() {
  static const Config config = *LoadConfig(OCTILE_BENCH_CONFIG);
  return config;
}

// `layers` instructions of kernel x kernel taps over `blocks` channel blocks of a 14 x 14 image.
// Every one has its weights streamed in and its result stored.
std::vector<isa::Instruction> Network(int layers, int kernel, int blocks, bool residual) {
  const int n = CoreConfig().arch.n;
  std::vector<isa::Instruction> program;
  isa::Ldp sets;
  sets.region = 1;
  sets.offset = 1 << 20;
  sets.target = isa::LdpTarget::kExeSet;
  sets.count = 1;
  program.push_back(isa::Encode(sets));
  isa::Ldp constants = sets;
  constants.offset = (1 << 20) + 4096;
  constants.target = isa::LdpTarget::kExeConst;
  program.push_back(isa::Encode(constants));
  isa::Lda l;
  l.region = 1;
  l.n0 = 196;
  l.n1 = static_cast<uint32_t>(blocks);
  l.mem_stride1 = 196 * n;
  l.buf_stride1 = 196;
  l.buf_banks = 3;
  l.header.signal0 = isa::Semaphore(0);
  program.push_back(isa::Encode(l));
  isa::Sync sync;
  sync.queue = isa::Queue::kExe;
  sync.header.wait0 = isa::Semaphore(0);
  program.push_back(isa::Encode(sync));
  for (int i = 0; i < layers; ++i) {
    isa::Ldw w;
    w.region = 1;
    w.offset = 1 << 20;
    w.tiles = kernel * kernel * blocks;
    w.w_signed = true;
    isa::Mma m;
    m.header.layer = i / 16;
    m.in_oy_step = m.in_ky_step = 14;
    m.in_blk_stride = 196;
    m.in_h = m.in_w = 14;
    m.iy0 = m.ix0 = -(kernel / 2);
    m.kh = m.kw = kernel;
    m.mh = m.mw = 14;
    m.blocks = blocks;
    m.in_banks = 3;
    m.in_addr = static_cast<uint16_t>(-14 * (kernel / 2));
    m.x_signed = true;
    m.out_addr = (6 + i % 2) * CoreConfig().arch.bank_depth;
    m.out_bank = 6 + i % 2;
    m.out_row_step = 14;
    m.init = m.emit = true;
    m.y_signed = true;
    m.lo = 0x80;
    m.hi = 0x7f;
    if (residual) {
      m.residual = m.res_signed = m.out_signed = true;
      m.res_addr = 4 * CoreConfig().arch.bank_depth;
      m.b_bank = 4;
      m.res_row_step = 14;
    }
    m.header.signal0 = isa::Semaphore(1);
    if (i > 1) m.header.wait0 = isa::Semaphore(2);
    isa::Sta s;
    s.region = 1;
    s.offset = 2 << 20;
    s.n0 = 196;
    s.buf_addr = m.out_addr;
    s.buf_bank = m.out_bank;
    s.header.wait0 = isa::Semaphore(1);
    s.header.signal0 = isa::Semaphore(2);
    program.push_back(isa::Encode(w));
    program.push_back(isa::Encode(m));
    program.push_back(isa::Encode(s));
  }
  program.push_back(isa::Encode(isa::End{}));
  return program;
}

void Core(benchmark::State& state, int layers, int kernel, int blocks, bool residual) {
  sim::DeviceOptions device = sim::ToDeviceOptions(CoreConfig());
  auto core = verilated::MakeVerilatedDevice({device, 0, false, "", 0, 0});
  if (!core) {
    state.SkipWithError(core.error().message.c_str());
    return;
  }
  cosim::Job job;
  job.program = Network(layers, kernel, blocks, residual);
  job.profile = device.memory;
  job.memory.resize(8 << 20);
  for (size_t i = 0; i < job.memory.size(); ++i)
    job.memory[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
  // Multipliers and ratios must be normal numbers of a useful size.
  const auto set_float = [&](size_t at, float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    std::memcpy(&job.memory[at], &bits, sizeof(bits));
  };
  const size_t n = CoreConfig().arch.n;
  for (size_t c = 0; c < n; ++c) {
    std::memset(&job.memory[(1 << 20) * 2 + 4 * c], 0, 4);
    set_float((1 << 20) * 2 + 4 * (n + c), 1e-4f);
  }
  set_float((1 << 20) * 2 + 4096, 0.75f);
  set_float((1 << 20) * 2 + 4100, 0.5f);
  set_float((1 << 20) * 2 + 4104, 0.25f);
  job.regions[0] = {0, 1 << 20, false, false, true};
  job.regions[1] = {1 << 20, 7 << 20, true, true, false};
  double cycles = 0, busy = 0;
  for (auto _ : state) {
    const auto out = cosim::RunJob(**core, "rtl", job, ~uint64_t{0});
    if (!out || !out->ended || out->trace.fault.cause != 0) {
      state.SkipWithError(!out ? out.error().message.c_str() : "the program faulted");
      return;
    }
    cycles += static_cast<double>(out->trace.cycles);
    busy += 196.0 * layers * kernel * kernel * blocks;
  }
  state.counters["cycles/s"] = benchmark::Counter(cycles, benchmark::Counter::kIsRate);
  state.counters["busy"] = busy / cycles;
}

// One cycle of the array and nothing else, a row at a time.
void MultiplyAccumulate(benchmark::State& state) {
  const int n = CoreConfig().arch.n;
  std::vector<int32_t> weights(n * n, 3), sums(n * (n + 1), 1), x(n, 5);
  double cycles = 0;
  for (auto _ : state) {
    for (int r = n - 1; r >= 0; --r)
      for (int c = 0; c < n; ++c)
        sums[(r + 1) * n + c] = sums[r * n + c] + x[r] * weights[r * n + c];
    benchmark::DoNotOptimize(sums.data());
    benchmark::ClobberMemory();
    ++cycles;
  }
  state.counters["cycles/s"] = benchmark::Counter(cycles, benchmark::Counter::kIsRate);
}

BENCHMARK(MultiplyAccumulate);
BENCHMARK_CAPTURE(Core, conv3x3, 8, 3, 16, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Core, conv1x1_residual, 256, 1, 4, true)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace octile
