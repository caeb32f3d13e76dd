#include "octile/isa/registers.h"

#include <gtest/gtest.h>

#include <set>

#include "octile/isa/isa.h"

namespace octile::regs {
namespace {

TEST(Registers, AddressesArePinned) {
  // What drivers in the field rely on, written out by hand.
  EXPECT_EQ(kId, 0x000u);
  EXPECT_EQ(kIdReset, 0x4C54434Fu);
  EXPECT_EQ(kControl, 0x040u);
  EXPECT_EQ(kStatus, 0x044u);
  EXPECT_EQ(kIrqStatus, 0x048u);
  EXPECT_EQ(kProgramCount, 0x058u);
  EXPECT_EQ(kFaultCause, 0x070u);
  EXPECT_EQ(kSnapshot, 0x0a0u);
  EXPECT_EQ(kCyclesLo, 0x0a8u);
  EXPECT_EQ(kCyclesHi, 0x0acu);
  EXPECT_EQ(Counter(3, 2), 0x400u + 8 * (3 * 16 + 2));
  EXPECT_EQ(kWrittenBytesLo, 0x820u);
  EXPECT_EQ(kContext, 0x1000u);
  EXPECT_EQ(RegionBaseLo(0), 0x1100u);
  EXPECT_EQ(RegionPerm(7), 0x1100u + 7 * 16 + 12);
  EXPECT_EQ(kIsaVersionReset, isa::kVersion);
}

TEST(Registers, TableIsConsistent) {
  std::set<uint32_t> addresses;
  uint32_t last = 0;
  for (const RegisterInfo& r : kRegisters) {
    EXPECT_TRUE(addresses.insert(r.address).second) << r.name;
    EXPECT_GE(r.address, last);
    last = r.address;
    EXPECT_EQ(r.address % 4, 0u);
    EXPECT_LT(r.address, 2 * kPageBytes);
    EXPECT_EQ(r.reset & ~r.mask, 0u) << r.name;
    EXPECT_FALSE(r.locked && r.access == Access::kRo) << r.name;
    // Nothing a client can write decides which memory a job reaches.
    if (r.name.starts_with("REGION") || r.name == "CONTEXT") {
      EXPECT_GE(r.address, kSupervisorPage) << r.name;
    }
  }
  // 6 queues x 10 classes x 2 words.
  int counters = 0;
  for (const RegisterInfo& r : kRegisters) counters += r.name.starts_with("COUNTER[");
  EXPECT_EQ(counters, isa::kQueues * isa::kClasses * 2);
}

TEST(Registers, FieldsPackAndUnpack) {
  EXPECT_EQ(kCap0Banks.mask(), 0x00ff0000u);
  EXPECT_EQ(kCap0Banks.get(0x00180410), 24u);
  EXPECT_EQ(kProgramOffsetOffset256.make(3), 768u);
  EXPECT_EQ(kControlSoftReset.mask(), 2u);
  EXPECT_EQ((Field{0, 32}.mask()), 0xffffffffu);
}

}  // namespace
}  // namespace octile::regs
