// Jobs on the Verilated core: what END, queues, semaphores and registers promise.
#include <gtest/gtest.h>

#include "core_bench.h"

namespace octile::rtl_ctl {
namespace {

using isa::Encode;
using isa::Semaphore;

constexpr int kN = CoreBench::kN;

isa::Lda LoadVectors(uint32_t offset, int vectors, int addr, int bank, int banks) {
  isa::Lda op;
  op.region = 1;
  op.offset = offset;
  op.n0 = vectors;
  op.buf_addr = addr;
  op.buf_bank = bank;
  op.buf_banks = banks;
  return op;
}

isa::Sta StoreVectors(uint32_t offset, int vectors, int addr, int bank, int banks) {
  isa::Sta op;
  op.region = 1;
  op.offset = offset;
  op.n0 = vectors;
  op.buf_addr = addr;
  op.buf_bank = bank;
  op.buf_banks = banks;
  return op;
}

TEST(Job, EndAlone) {
  CoreBench bench;
  ASSERT_TRUE(bench.Run({Encode(isa::End{})}));
  EXPECT_EQ(bench.Status(), regs::kStatusDone.mask());
  EXPECT_TRUE(bench.violations.empty()) << bench.violations.front();
  bench.Write(regs::kSnapshot, 1);
  EXPECT_EQ(bench.Read64(regs::kCyclesLo), static_cast<uint64_t>(bench.job_cycles));
  EXPECT_EQ(bench.Read64(regs::kReadBytesFetchLo), 64u);
}

TEST(Job, CopyThroughTheBuffer) {
  CoreBench bench;
  const int vectors = 300;
  for (int i = 0; i < vectors * kN; ++i) bench.Data(0)[i] = static_cast<uint8_t>(i * 7 + i / 256);
  isa::Lda load = LoadVectors(0, vectors, 40, 0, 0);
  load.header.signal0 = Semaphore(3);
  isa::Sta store = StoreVectors(0x8000, vectors, 40, 0, 0);
  store.header.wait0 = Semaphore(3);
  ASSERT_TRUE(bench.Run({Encode(load), Encode(store), Encode(isa::End{})}));
  EXPECT_EQ(bench.Status(), regs::kStatusDone.mask()) << bench.Fault().cause;
  EXPECT_EQ(std::memcmp(bench.Data(0), bench.Data(0x8000), vectors * kN), 0);
  EXPECT_TRUE(bench.violations.empty()) << bench.violations.front();
  bench.Write(regs::kSnapshot, 1);
  EXPECT_EQ(bench.Read64(regs::kReadBytesActLo), static_cast<uint64_t>(vectors * kN));
  EXPECT_EQ(bench.Read64(regs::kWrittenBytesLo), static_cast<uint64_t>(vectors * kN));
  EXPECT_EQ(bench.Read64(regs::kRetiredLo), 2u);
  EXPECT_EQ(bench.CycleOf(Event::kIssue, 1), bench.CycleOf(Event::kDone, 0) + 1);
}

}  // namespace
}  // namespace octile::rtl_ctl
