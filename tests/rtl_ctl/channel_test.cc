// The DMA channels under random programs, latencies and refusals: data arrive where they belong,
// and every cycle is the one the laws of docs/timing.md sections 2 to 5 name (ChannelLaws, a model
// of its own).
#include <gtest/gtest.h>

#include "channel_laws.h"
#include "core_bench.h"

namespace octile::rtl_ctl {
namespace {

using isa::Encode;

constexpr int kN = CoreBench::kN;
constexpr int kBankDepth = 512;
constexpr int kReadBursts = 8, kWriteBursts = 4, kRingTiles = 64;

MemoryProfile RandomProfile(std::mt19937_64& rng) {
  MemoryProfile p;
  p.latency_min = static_cast<int>(rng() % 40);
  p.latency_max = p.latency_min + static_cast<int>(rng() % 4 == 0 ? 0 : rng() % 60);
  if (rng() % 2) p.refuse_address = static_cast<int>(rng() % 80);
  if (rng() % 2) p.refuse_data = static_cast<int>(rng() % 80);
  if (rng() % 2) p.beat_gap = static_cast<int>(rng() % 80);
  return p;
}

struct Traffic {
  std::vector<isa::Instruction> program;
  std::vector<uint8_t> image;  // of banks 0 to 3 after the loads
};

// Loads into banks 0 to 3, stores out of banks 4 and 5, parameters, weights and the MMAs that use
// them up (reading bank 6), in random order. Nothing depends on anything else, so all channels run
// at once.
Traffic RandomTraffic(CoreBench& bench) {
  auto& rng = bench.rng;
  const auto below = [&](int64_t n) { return static_cast<int>(rng() % static_cast<uint64_t>(n)); };
  Traffic out;
  out.image.assign(4 * kBankDepth * kN, 0);
  int tiles_left = 0;
  const int count = 5 + below(30);
  for (int i = 0; i < count; ++i) {
    const int kind = below(6);
    const bool fence = below(8) == 0;
    if (kind <= 1) {
      isa::Lda op;
      op.header.fence = fence;
      op.region = 1;
      op.n0 = 1 + below(kind == 0 ? 200 : 6);
      op.n1 = 1 + below(5);
      op.n2 = 1 + below(3);
      op.offset = kN * below(2000);
      op.mem_stride1 = kN * below(300);
      op.mem_stride2 = kN * below(3000);
      op.buf_addr = below(64);
      op.buf_stride1 = op.n0 + below(8);
      if (below(2)) {
        op.buf_wrap = op.buf_stride1 * (1 + below(op.n1));
        if (op.buf_stride1 >= op.buf_wrap) op.buf_wrap = op.buf_stride1 + 1;
        op.buf_row0 = below(op.buf_wrap);
      }
      op.buf_stride2 = below(300);
      op.buf_banks = 3;
      for (int p = 0; p < op.n2; ++p) {
        int row = op.buf_row0;
        for (int r = 0; r < op.n1; ++r) {
          const uint8_t* from = bench.Data(op.offset + p * op.mem_stride2 + r * op.mem_stride1);
          std::memcpy(&out.image[(op.buf_addr + p * op.buf_stride2 + row) * kN], from, op.n0 * kN);
          row += op.buf_stride1;
          if (op.buf_wrap != 0 && row >= op.buf_wrap) row -= op.buf_wrap;
        }
      }
      out.program.push_back(Encode(op));
    } else if (kind == 2) {
      isa::Sta op;
      op.header.fence = fence;
      op.region = 1;
      op.n0 = 1 + below(150);
      op.n1 = 1 + below(4);
      op.offset = 0x60000 + kN * below(1000);
      op.mem_stride1 = kN * below(400);
      op.buf_addr = 4 * kBankDepth + below(200);
      op.buf_stride1 = below(200);
      op.buf_bank = 4;
      op.buf_banks = 1;
      out.program.push_back(Encode(op));
    } else if (kind == 3) {
      isa::Ldp op;
      op.header.fence = fence;
      op.region = 1;
      op.offset = kN * below(1000);
      op.target = static_cast<isa::LdpTarget>(below(7));
      const bool small =
          op.target == isa::LdpTarget::kExeTable || op.target == isa::LdpTarget::kVecTable;
      op.count = 1 + below(small ? 4 : 16);
      op.index = below((small ? 4 : 16) - op.count + 1);
      out.program.push_back(Encode(op));
    } else if (kind == 4) {
      isa::Ldw op;
      op.header.fence = fence;
      op.region = 1;
      op.offset = kN * below(1000);
      op.tiles = 1 + below(90);
      tiles_left += op.tiles;
      out.program.push_back(Encode(op));
      while (tiles_left > 0) {
        isa::Mma mma;
        mma.blocks = 1 + below(std::min(tiles_left, 40));
        mma.mh = 1 + below(3);
        mma.mw = 1 + below(5);
        mma.in_h = mma.in_w = 8;
        mma.in_addr = 6 * kBankDepth;
        mma.in_bank = 6;
        mma.init = true;
        tiles_left -= mma.blocks;
        out.program.push_back(Encode(mma));
      }
    } else {
      isa::Sync op;
      op.queue = static_cast<isa::Queue>(below(isa::kQueues));
      out.program.push_back(Encode(op));
    }
  }
  out.program.push_back(Encode(isa::End{}));
  return out;
}

TEST(Channels, RandomTrafficKeepsTheLaws) {
  int64_t checked = 0;
  int busiest = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    CoreBench bench(seed);
    for (size_t i = 0; i < CoreBench::kMemoryBytes; i += 8) {
      const uint64_t word = bench.rng();
      std::memcpy(&bench.memory[i], &word, 8);
    }
    bench.profile = RandomProfile(bench.rng);
    const Traffic traffic = RandomTraffic(bench);
    // What the stores take is known from a first job that loads it.
    std::vector<uint8_t> source(bench.Data(0x10000), bench.Data(0x10000) + 2 * kBankDepth * kN);
    isa::Lda fill;
    fill.region = 1;
    fill.offset = 0x10000;
    fill.n0 = 2 * kBankDepth;
    fill.buf_addr = 4 * kBankDepth;
    fill.buf_bank = 4;
    fill.buf_banks = 1;
    ASSERT_TRUE(bench.Run({Encode(fill), Encode(isa::End{})}));
    ASSERT_EQ(bench.Status(), regs::kStatusDone.mask());

    std::vector<uint8_t> expected = bench.memory;
    for (const isa::Instruction& instruction : traffic.program) {
      const auto op = isa::Decode(instruction);
      const auto* s = std::get_if<isa::Sta>(&*op);
      if (s == nullptr) continue;
      for (int r = 0; r < s->n1; ++r)
        std::memcpy(&expected[CoreBench::kDataOffset + s->offset + r * s->mem_stride1],
                    &source[(s->buf_addr - 4 * kBankDepth + r * s->buf_stride1) * kN], s->n0 * kN);
    }
    ChannelLaws laws(traffic.program,
                     {CoreBench::kMemoryBase, CoreBench::kMemoryBase + CoreBench::kDataOffset},
                     kReadBursts, kWriteBursts, kRingTiles);
    bench.checker = [&](const CycleView& view) { laws.Cycle(view); };
    ASSERT_TRUE(bench.Run(traffic.program));
    bench.checker = nullptr;
    ASSERT_EQ(bench.Status(), regs::kStatusDone.mask()) << "fault " << bench.Fault().cause;
    ASSERT_TRUE(laws.errors.empty()) << laws.errors.front();
    ASSERT_EQ(laws.checked, bench.job_cycles);
    ASSERT_TRUE(bench.violations.empty()) << bench.violations.front();
    std::memcpy(expected.data(), bench.memory.data(),
                CoreBench::kDataOffset);  // the program itself
    ASSERT_EQ(bench.memory, expected);
    checked += laws.checked;
    busiest = std::max(busiest, bench.max_outstanding_reads);

    // The buffer holds what the loads brought.
    isa::Sta dump;
    dump.region = 1;
    dump.offset = 0xa0000;
    dump.n0 = 4 * kBankDepth;
    dump.buf_banks = 3;
    ASSERT_TRUE(bench.Run({Encode(dump), Encode(isa::End{})}));
    ASSERT_EQ(std::memcmp(bench.Data(0xa0000), traffic.image.data(), traffic.image.size()), 0);
  }
  EXPECT_GT(checked, 100000);
  EXPECT_EQ(busiest, kReadBursts) << "the limit of outstanding bursts was never reached";
}

// A soft reset at any time: the bus protocol is kept, the core comes back idle after draining and
// BankDepth + 64 cycles, all state is clear, and the next job is as on a new core.
TEST(Channels, SoftResetAtRandomTimes) {
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    CoreBench bench(seed);
    for (size_t i = 0; i < CoreBench::kMemoryBytes; i += 8) {
      const uint64_t word = bench.rng();
      std::memcpy(&bench.memory[i], &word, 8);
    }
    bench.profile = RandomProfile(bench.rng);
    const Traffic traffic = RandomTraffic(bench);
    bench.Load(traffic.program);
    bench.Start();
    const int64_t wait = static_cast<int64_t>(bench.rng() % 1500);
    for (int64_t i = 0; i < wait; ++i) bench.Tick();
    ASSERT_TRUE(bench.SoftReset());
    ASSERT_TRUE(bench.violations.empty()) << bench.violations.front();
    EXPECT_EQ(bench.Read(regs::kIrqStatus).value, 0u);
    EXPECT_EQ(bench.Fault().cause, 0u);

    // The same job again, under the laws from their initial state: ring, counters of bursts and
    // queues are as new.
    ChannelLaws laws(traffic.program,
                     {CoreBench::kMemoryBase, CoreBench::kMemoryBase + CoreBench::kDataOffset},
                     kReadBursts, kWriteBursts, kRingTiles);
    bench.checker = [&](const CycleView& view) { laws.Cycle(view); };
    ASSERT_TRUE(bench.Run(traffic.program));
    bench.checker = nullptr;
    ASSERT_EQ(bench.Status(), regs::kStatusDone.mask()) << "fault " << bench.Fault().cause;
    ASSERT_TRUE(laws.errors.empty()) << laws.errors.front();
    // Nothing of the time before is left in the buffer: banks 4 and up were never written in this
    // life.
    isa::Sta dump;
    dump.region = 1;
    dump.offset = 0xa0000;
    dump.n0 = 8 * kBankDepth;
    dump.buf_banks = 7;
    ASSERT_TRUE(bench.Run({Encode(dump), Encode(isa::End{})}));
    ASSERT_EQ(std::memcmp(bench.Data(0xa0000), traffic.image.data(), traffic.image.size()), 0);
    for (int i = 4 * kBankDepth * kN; i < 8 * kBankDepth * kN; ++i)
      ASSERT_EQ(bench.Data(0xa0000)[i], 0) << i;
  }
}

TEST(Channels, SoftResetTakesFixedCycles) {
  CoreBench bench;
  ASSERT_TRUE(bench.Run({Encode(isa::End{})}));
  bench.Write(regs::kControl, regs::kControlSoftReset.mask());
  // The write took effect three cycles before its response was seen; what counts is that the time
  // does not vary.
  int64_t first = -1;
  for (int round = 0; round < 3; ++round) {
    if (round > 0) bench.Write(regs::kControl, regs::kControlSoftReset.mask());
    const int64_t begin = bench.now;
    while (bench.Status() != regs::kStatusIdle.mask()) ASSERT_LT(bench.now, begin + 1000);
    if (first < 0) first = bench.now - begin;
    EXPECT_EQ(bench.now - begin, first);
  }
  EXPECT_NEAR(static_cast<double>(first), kBankDepth + 64, 6);
}

}  // namespace
}  // namespace octile::rtl_ctl
