// The register file's rules (rtl/spec/registers.yml), and what a job and a reset do to registers
// and on-chip memories.
#include <gtest/gtest.h>

#include "machine.h"

namespace octile {
namespace {

constexpr std::string_view kCopy =
    "lda region=1 n0=64 n1=1 n2=1 signal0=0\n"
    "sta region=2 n0=64 n1=1 n2=1 wait0=0\n"
    "end\n";

TEST(Registers, ShowTheConfiguration) {
  Machine m;
  const ArchConfig arch = LoadConfig("tiny")->arch;
  EXPECT_EQ(m.Get(regs::kId), 0x4C54434Fu);
  EXPECT_EQ(m.Get(regs::kIsaVersion), isa::kVersion);
  EXPECT_EQ(uint64_t{m.Get(regs::kArchHashHi)} << 32 | m.Get(regs::kArchHashLo), ArchHash(arch));
  EXPECT_EQ(regs::kCap0N.get(m.Get(regs::kCap0)), 4u);
  EXPECT_EQ(regs::kCap0WeightRows.get(m.Get(regs::kCap0)), 4u);
  EXPECT_EQ(regs::kCap0Banks.get(m.Get(regs::kCap0)), 8u);
  EXPECT_EQ(m.Get(regs::kCap1), 512u);
  EXPECT_EQ(m.Get(regs::kCap2), 64u);
  EXPECT_EQ(regs::kCap3AccDepth.get(m.Get(regs::kCap3)), 128u);
  EXPECT_EQ(regs::kCap3Psets.get(m.Get(regs::kCap3)), 32u);
  EXPECT_EQ(m.Get(regs::kCap4), 128u);
  EXPECT_EQ(regs::kCap5ReadBursts.get(m.Get(regs::kCap5)), 8u);
  EXPECT_EQ(regs::kCap5WriteBursts.get(m.Get(regs::kCap5)), 4u);
}

TEST(Registers, FollowTheirAccessKinds) {
  Machine m;
  for (const regs::RegisterInfo& info : regs::kRegisters) {
    SCOPED_TRACE(info.name);
    uint32_t before = 0, after = 0;
    ASSERT_TRUE(m.iss.ReadRegister(info.address, &before));
    if (info.access == regs::Access::kRo) {
      EXPECT_FALSE(m.iss.WriteRegister(info.address, ~before));
      ASSERT_TRUE(m.iss.ReadRegister(info.address + 3, &after));  // the low bits do not count
      EXPECT_EQ(after, before);
    } else if (info.access == regs::Access::kRw) {
      EXPECT_TRUE(m.iss.WriteRegister(info.address, 0xffffffff));
      ASSERT_TRUE(m.iss.ReadRegister(info.address, &after));
      EXPECT_EQ(after, info.mask);
      EXPECT_TRUE(m.iss.WriteRegister(info.address, 0));
    } else {
      EXPECT_EQ(before, 0u);
    }
  }
  uint32_t value = 7;
  EXPECT_FALSE(m.iss.ReadRegister(0x800 - 4, &value));
  EXPECT_EQ(value, 0u);
  EXPECT_FALSE(m.iss.WriteRegister(0x2000, 1));
}

TEST(Registers, AJob) {
  Machine m;
  EXPECT_EQ(m.Get(regs::kStatus), regs::kStatusIdle.mask());
  for (int i = 0; i < 256; ++i) *m.data(1, static_cast<uint32_t>(i)) = static_cast<uint8_t>(i);
  const auto program = *Assemble(kCopy);
  std::memcpy(m.memory.data(), program.data(), program.size() * sizeof(program[0]));
  m.Set(regs::kProgramCount, 3);
  m.Set(regs::kJobId, 99);
  m.Set(regs::kControl, regs::kControlStart.mask());
  EXPECT_TRUE(m.iss.Busy());
  EXPECT_EQ(m.Get(regs::kStatus), regs::kStatusRunning.mask());
  // Locked while running; a second start is refused.
  EXPECT_FALSE(m.iss.WriteRegister(regs::kJobId, 1));
  EXPECT_FALSE(m.iss.WriteRegister(regs::RegionLimit(2), 1));
  EXPECT_FALSE(m.iss.WriteRegister(regs::kControl, regs::kControlStart.mask()));
  uint64_t work = 0;
  while (m.iss.Busy()) {
    const uint64_t step = m.iss.Run(1);
    ASSERT_EQ(step, 1u);
    ++work;
  }
  EXPECT_GT(work, 5u);
  EXPECT_EQ(m.iss.Run(100), 0u);
  EXPECT_TRUE(m.iss.Interrupt());
  EXPECT_EQ(m.Get(regs::kStatus), regs::kStatusDone.mask());
  EXPECT_EQ(m.Get(regs::kIrqStatus), regs::kIrqStatusDone.mask());
  EXPECT_EQ(m.Get(regs::kJobId), 99u);
  EXPECT_EQ(m.Get(regs::kRetiredLo), 0u);  // no snapshot yet
  m.Set(regs::kSnapshot, 1);
  EXPECT_EQ(m.Get(regs::kRetiredLo), 2u);
  EXPECT_EQ(m.Get(regs::kReadBytesFetchLo), 192u);
  EXPECT_EQ(m.Get(regs::kReadBytesActLo), 256u);
  EXPECT_EQ(m.Get(regs::kWrittenBytesLo), 256u);
  EXPECT_EQ(m.Get(regs::kCyclesLo), 0u);
  EXPECT_TRUE(std::equal(m.data(1), m.data(1) + 256, m.data(2)));
  m.Set(regs::kIrqEnable, 0);
  EXPECT_FALSE(m.iss.Interrupt());
  m.Set(regs::kIrqEnable, 1);
  EXPECT_TRUE(m.iss.Interrupt());
  m.Set(regs::kIrqStatus, 1);
  EXPECT_FALSE(m.iss.Interrupt());
  const sim::Trace& t = m.iss.trace();
  EXPECT_EQ(t.issue, (std::vector<uint64_t>{0, 0, sim::kNever}));
  EXPECT_EQ(t.completion, t.issue);
  EXPECT_EQ(t.cycles, 0u);
  EXPECT_TRUE(t.layers.empty());
}

TEST(Registers, AFaultNeedsASoftReset) {
  Machine m;
  m.Set(regs::kContext, 12);
  m.Run("sta region=1 n0=1 n1=1 n2=1\nend\n");
  EXPECT_EQ(m.Get(regs::kFaultContext), 12u);
  EXPECT_EQ(m.Get(regs::kIrqStatus), regs::kIrqStatusFault.mask());
  EXPECT_FALSE(m.iss.WriteRegister(regs::kControl, regs::kControlStart.mask()));
  m.Set(regs::kControl,
        regs::kControlStart.mask() | regs::kControlSoftReset.mask());  // the reset wins
  EXPECT_EQ(m.Get(regs::kStatus), regs::kStatusIdle.mask());
  EXPECT_EQ(m.Get(regs::kFaultCause), 0u);
  EXPECT_EQ(m.Get(regs::kIrqStatus), 0u);
  EXPECT_EQ(m.Get(regs::kContext), 12u);
  EXPECT_EQ(m.Get(regs::RegionLimit(1)), Machine::kBytes);
  EXPECT_EQ(Cause(m.Run(kCopy)), "NONE");
}

// The buffer keeps its contents from job to job; a soft reset clears it, also in the middle of a
// job.
TEST(Registers, SoftResetScrubs) {
  Machine m;
  std::fill_n(m.data(1), 256, 0x5a);
  m.Run("lda region=1 n0=64 n1=1 n2=1\nend\n");
  const char* store = "sta region=2 n0=64 n1=1 n2=1\nend\n";
  m.Run(store);
  EXPECT_EQ(*m.data(2, 17), 0x5a);
  const auto program = *Assemble("ldw region=1 tiles=3\nlda region=1 n0=64 n1=1 n2=1\nend\n");
  std::memcpy(m.memory.data(), program.data(), program.size() * sizeof(program[0]));
  m.Set(regs::kProgramCount, 3);
  m.Set(regs::kIrqStatus, 3);
  m.Set(regs::kControl, regs::kControlStart.mask());
  m.iss.Run(4);
  m.Set(regs::kControl, regs::kControlSoftReset.mask());
  EXPECT_FALSE(m.iss.Busy());
  EXPECT_EQ(m.iss.Run(10), 0u);
  m.Run(store);
  EXPECT_EQ(*m.data(2, 17), 0);
}

}  // namespace
}  // namespace octile
