// The register block against the generated table of registers: reset values, masks, access kinds,
// locking, refusals.
#include <gtest/gtest.h>

#include "core_bench.h"

namespace octile::rtl_ctl {
namespace {

TEST(Registers, ResetValues) {
  CoreBench bench;
  for (const regs::RegisterInfo& r : regs::kRegisters) {
    if (r.reset_is_config) continue;
    const CoreBench::Access got = bench.Read(r.address);
    EXPECT_FALSE(got.error) << r.name;
    EXPECT_EQ(got.value, r.reset) << r.name;
  }
}

TEST(Registers, Capabilities) {
  CoreBench bench;
  const uint32_t cap0 = bench.Read(regs::kCap0).value;
  EXPECT_EQ(regs::kCap0N.get(cap0), static_cast<uint32_t>(CoreBench::kN));
  EXPECT_EQ(regs::kCap0WeightRows.get(cap0), 4u);
  EXPECT_EQ(regs::kCap0Banks.get(cap0), 8u);
  EXPECT_EQ(bench.Read(regs::kCap1).value, 512u);
  EXPECT_EQ(bench.Read(regs::kCap2).value, 64u);
  EXPECT_EQ(regs::kCap3AccDepth.get(bench.Read(regs::kCap3).value), 128u);
  EXPECT_EQ(regs::kCap3Psets.get(bench.Read(regs::kCap3).value), 32u);
  EXPECT_EQ(bench.Read(regs::kCap4).value, 128u);
  EXPECT_EQ(regs::kCap5ReadBursts.get(bench.Read(regs::kCap5).value), 8u);
  EXPECT_EQ(regs::kCap5WriteBursts.get(bench.Read(regs::kCap5).value), 4u);
  EXPECT_NE(bench.Read64(regs::kArchHashLo), 0u);
}

TEST(Registers, ReadWriteBits) {
  CoreBench bench;
  for (const regs::RegisterInfo& r : regs::kRegisters) {
    if (r.access != regs::Access::kRw) continue;
    for (const uint32_t value :
         {0xffffffffu, 0x5555aaaau, 0xaaaa5555u, static_cast<uint32_t>(bench.rng()), 0u}) {
      EXPECT_TRUE(bench.Write(r.address, value)) << r.name;
      EXPECT_EQ(bench.Read(r.address).value, value & r.mask) << r.name;
    }
  }
}

// Every writable register keeps its own value while all others are written.
TEST(Registers, NoAliases) {
  CoreBench bench;
  std::map<uint32_t, uint32_t> expected;
  for (const regs::RegisterInfo& r : regs::kRegisters) {
    if (r.access != regs::Access::kRw) continue;
    const uint32_t value = static_cast<uint32_t>(bench.rng());
    ASSERT_TRUE(bench.Write(r.address, value)) << r.name;
    expected[r.address] = value & r.mask;
  }
  for (const auto& [address, value] : expected)
    EXPECT_EQ(bench.Read(address).value, value) << std::hex << address;
}

TEST(Registers, ReadOnlyRefusesWrites) {
  CoreBench bench;
  for (const regs::RegisterInfo& r : regs::kRegisters) {
    if (r.access != regs::Access::kRo) continue;
    const uint32_t before = bench.Read(r.address).value;
    EXPECT_FALSE(bench.Write(r.address, ~before)) << r.name;
    EXPECT_EQ(bench.Read(r.address).value, before) << r.name;
  }
}

TEST(Registers, UnknownAddresses) {
  CoreBench bench;
  std::map<uint32_t, bool> known;
  for (const regs::RegisterInfo& r : regs::kRegisters) known[r.address] = true;
  int unknown = 0;
  for (uint32_t address = 0; address < 0x2000; address += 4) {
    if (known.count(address)) continue;
    ++unknown;
    EXPECT_TRUE(bench.Read(address).error) << std::hex << address;
    EXPECT_FALSE(bench.Write(address, 0xffffffff)) << std::hex << address;
  }
  EXPECT_GT(unknown, 1000);
  EXPECT_EQ(bench.Status(), regs::kStatusIdle.mask());
}

TEST(Registers, PartialStrobesAreRefused) {
  CoreBench bench;
  ASSERT_TRUE(bench.Write(regs::kJobId, 0x12345678));
  for (int strobes = 0; strobes < 15; ++strobes)
    EXPECT_FALSE(bench.Write(regs::kJobId, 0, strobes)) << strobes;
  EXPECT_EQ(bench.Read(regs::kJobId).value, 0x12345678u);
}

TEST(Registers, AddressAndDataInAnyOrder) {
  CoreBench bench;
  for (int skew = -5; skew <= 5; ++skew) {
    ASSERT_TRUE(bench.Write(regs::kJobId, 1000 + skew, 15, skew));
    EXPECT_EQ(bench.Read(regs::kJobId).value, static_cast<uint32_t>(1000 + skew)) << skew;
  }
}

TEST(Registers, LowAddressBitsAreIgnored) {
  CoreBench bench;
  ASSERT_TRUE(bench.Write(regs::kJobId + 3, 77));
  EXPECT_EQ(bench.Read(regs::kJobId + 1).value, 77u);
}

// A job long enough to look at registers while it runs.
std::vector<isa::Instruction> LongJob() {
  isa::Lda load;
  load.region = 1;
  load.n0 = 4096;
  load.n1 = 12;
  load.buf_banks = 7;
  return {isa::Encode(load), isa::Encode(isa::End{})};
}

TEST(Registers, LockedWhileRunning) {
  CoreBench bench;
  bench.Load(LongJob());
  std::map<uint32_t, uint32_t> before;
  for (const regs::RegisterInfo& r : regs::kRegisters)
    if (r.locked) before[r.address] = bench.Read(r.address).value;
  EXPECT_GT(before.size(), 30u);
  bench.Start();
  ASSERT_EQ(bench.Status(), regs::kStatusRunning.mask());
  for (const auto& [address, value] : before)
    EXPECT_FALSE(bench.Write(address, ~value)) << std::hex << address;
  EXPECT_FALSE(bench.Write(regs::kControl, regs::kControlStart.mask())) << "started twice";
  EXPECT_TRUE(bench.Write(regs::kIrqEnable, 1)) << "not locked";
  ASSERT_EQ(bench.Status(), regs::kStatusRunning.mask()) << "the job was too short for this test";
  for (const auto& [address, value] : before)
    EXPECT_EQ(bench.Read(address).value, value) << std::hex << address;
  EXPECT_TRUE(bench.Finish());
  EXPECT_EQ(bench.Status(), regs::kStatusDone.mask());
}

TEST(Registers, InterruptLine) {
  CoreBench bench;
  ASSERT_TRUE(bench.Run({isa::Encode(isa::End{})}));
  EXPECT_EQ(bench.Read(regs::kIrqStatus).value, regs::kIrqStatusDone.mask());
  EXPECT_FALSE(bench.core->irq_o) << "not enabled";
  bench.Write(regs::kIrqEnable, regs::kIrqEnableFault.mask());
  EXPECT_FALSE(bench.core->irq_o) << "the other event is enabled";
  bench.Write(regs::kIrqEnable, regs::kIrqEnableDone.mask());
  EXPECT_TRUE(bench.core->irq_o);
  bench.Write(regs::kIrqStatus, regs::kIrqStatusFault.mask());
  EXPECT_TRUE(bench.core->irq_o) << "the other bit was cleared";
  bench.Write(regs::kIrqStatus, regs::kIrqStatusDone.mask());
  EXPECT_FALSE(bench.core->irq_o);
  EXPECT_EQ(bench.Read(regs::kIrqStatus).value, 0u);
}

TEST(Registers, SnapshotIsOneMoment) {
  CoreBench bench;
  bench.Load(LongJob());
  bench.Start();
  for (int i = 0; i < 200; ++i) bench.Tick();
  bench.Write(regs::kSnapshot, 1);
  const uint64_t cycles = bench.Read64(regs::kCyclesLo);
  EXPECT_GT(cycles, 100u);
  for (int q = 0; q < isa::kQueues; ++q) {
    uint64_t sum = 0;
    for (int c = 0; c < isa::kClasses; ++c) sum += bench.Counter(q, c);
    EXPECT_EQ(sum, cycles) << "queue " << q;
  }
  EXPECT_EQ(bench.Read64(regs::kCyclesLo), cycles) << "the snapshot moved";
  ASSERT_TRUE(bench.Finish());
  bench.Write(regs::kSnapshot, 1);
  EXPECT_EQ(bench.Read64(regs::kCyclesLo), static_cast<uint64_t>(bench.job_cycles));
  ASSERT_TRUE(bench.SoftReset());
  EXPECT_EQ(bench.Read64(regs::kCyclesLo), 0u);
}

}  // namespace
}  // namespace octile::rtl_ctl
