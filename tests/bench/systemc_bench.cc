// Speed of the cycle-exact model on a program the size of ResNet-50: 100 thousand weight tiles of a
// 14 x 14 convolution with 256 input channels on the configuration `base`, weights streamed from
// memory, results stored. With and without arithmetic.
#include <benchmark/benchmark.h>

#include <cstring>

#include "octile/isa/isa.h"
#include "octile/isa/registers.h"
#include "octile/systemc/core_model.h"

namespace octile {
namespace {

std::vector<isa::Instruction> Network(int instructions) {
  std::vector<isa::Instruction> program;
  isa::Lda l;
  l.region = 1;
  l.n0 = 256;
  l.n1 = 16;
  l.mem_stride1 = 4096;
  l.buf_stride1 = 256;
  l.buf_banks = 3;
  l.header.signal0 = isa::Semaphore(0);
  program.push_back(isa::Encode(l));
  for (int i = 0; i < instructions; ++i) {
    isa::Ldw w;
    w.region = 1;
    w.offset = 1 << 20;
    w.tiles = 144;
    w.w_signed = true;
    isa::Mma m;
    m.header.layer = i / 16;
    m.in_oy_step = m.in_ky_step = 14;
    m.in_blk_stride = 200;
    m.in_h = m.in_w = 14;
    m.iy0 = m.ix0 = -1;
    m.kh = m.kw = 3;
    m.mh = m.mw = 14;
    m.blocks = 16;
    m.in_banks = 3;
    // Row pointers start at row -1, outside the image.
    m.in_addr = 0xfff2;
    m.out_addr = (8 + i % 2) * 1024;
    m.out_bank = 8 + i % 2;
    m.out_row_step = 14;
    m.init = m.emit = true;
    m.hi = 255;
    if (i == 0) m.header.wait0 = isa::Semaphore(0);
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

void Run(benchmark::State& state, bool timing_only) {
  const auto program = Network(700);
  std::vector<uint8_t> memory(8 << 20);
  for (size_t i = 0; i < memory.size(); ++i)
    memory[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
  std::memcpy(memory.data(), program.data(), program.size() * sizeof(program[0]));
  systemc::JobSetup job;
  job.program_count = static_cast<uint32_t>(program.size());
  job.regions[0] = {0, 1 << 20, false, false, true};
  job.regions[1] = {1 << 20, 7 << 20, true, true, false};
  systemc::CoreModel core({}, timing_only);
  core.SetMemory(memory);
  uint64_t cycles = 0;
  for (auto _ : state) {
    core.StartJob(job, {});
    core.RunTo(~uint64_t{0});
    cycles += core.trace().cycles;
  }
  if (core.trace().fault.cause != 0) state.SkipWithError("the program faulted");
  state.counters["cycles/s"] =
      benchmark::Counter(static_cast<double>(cycles), benchmark::Counter::kIsRate);
  state.counters["cycles"] = static_cast<double>(core.trace().cycles);
  state.counters["evaluations"] = benchmark::Counter(static_cast<double>(core.evaluations()),
                                                     benchmark::Counter::kAvgIterations);
  state.counters["tiles"] = static_cast<double>(core.trace().tile_starts);
}

BENCHMARK_CAPTURE(Run, timing_only, true)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Run, with_arithmetic, false)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace octile
