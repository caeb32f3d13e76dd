// Every cause that needs no cycles, with instruction and address; and which job a fault of the bus
// hits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "machine.h"

namespace octile {
namespace {

struct Case {
  const char* name;
  std::string text;
  isa::Fault cause;
  uint32_t instruction;
  uint64_t address = 0;
  uint32_t second = 0;
};

// Configuration tiny: N = 4, 8 banks of 512 vectors, 64 tiles, 128 accumulators, 32 sets, 128 rows.
std::vector<Case> Cases() {
  using isa::Fault;
  const std::string load = "lda region=1 n0=64 n1=1 n2=1 signal0=0\n";
  const std::string mma =
      "mma in_h=1 in_w=4 kh=1 kw=1 stride_y=1 stride_x=1 dil_y=1 dil_x=1 mh=1 mw=4 blocks=1 "
      "out_bank=1 out_addr=512 init emit ";
  const std::string win =
      "win in_h=1 in_w=4 kh=1 kw=1 stride_y=1 stride_x=1 dil_y=1 dil_x=1 mh=1 mw=4 blocks=1 "
      "out_bank=1 out_addr=512 ";
  const std::string ready =
      load + "ldw region=1 tiles=1\nldp region=1 target=EXE_SET count=1 signal0=1\n";
  const uint32_t megabyte = Machine::kBytes;
  std::vector<Case> cases = {
      {"IllegalOpcode", load + ".words 0x3f 0 0 0 0 0 0 0\nend\n", Fault::kIllegal, 1},
      {"IllegalField", "lda region=1 n0=0 n1=1 n2=1\nend\n", Fault::kIllegal, 0},
      {"IllegalWaits", "lda region=1 n0=1 n1=1 n2=1 wait0=3 wait1=3\nend\n", Fault::kIllegal, 0},
      {"IllegalEnd", ".words 0x8000000000000001 0 0 0 0 0 0 0\nend\n", Fault::kIllegal, 0},
      {"EndWithALayer", "end layer=1\n", Fault::kNone, 0},
      {"MisalignedOffset", "lda region=1 offset=2 n0=1 n1=1 n2=1\nend\n", Fault::kOperand, 0},
      {"MisalignedStride", load + "sta wait0=0 region=2 mem_stride1=6 n0=1 n1=1 n2=1\nend\n",
       Fault::kOperand, 1},
      {"SetBeyondTheEnd", "ldp region=1 target=EXE_SET index=31 count=2\nend\n", Fault::kOperand,
       0},
      {"TableBeyondTheEnd", "ldp region=1 target=VEC_TABLE index=4 count=1\nend\n", Fault::kOperand,
       0},
      {"ClaimBeyondTheLastBank", "lda region=1 n0=1 n1=1 n2=1 buf_bank=7 buf_banks=1\nend\n",
       Fault::kOperand, 0},
      {"AccumulatorsBeyondTheEnd", ready + mma + "acc_base=125 wait0=0 wait1=1\nend\n",
       Fault::kOperand, 3},
      {"RawWithTable", ready + mma + "raw table wait0=0 wait1=1\nend\n", Fault::kOperand, 3},
      {"StepNotBelowWrap", ready + mma + "in_wrap=4 in_oy_step=4 wait0=0 wait1=1\nend\n",
       Fault::kOperand, 3},
      {"SetOfWindow", load + win + "pset=32 wait0=0\nend\n", Fault::kOperand, 1},
      {"RegionLimit",
       load + "lda region=1 offset=" + std::to_string(megabyte - 256) +
           " n0=65 n1=1 n2=1 buf_bank=1 buf_addr=512 wait0=0\nend\n",
       Fault::kRegion, 1, megabyte},
      {"RegionLimitBehindTheSecondBurst",
       "sta region=2 offset=" + std::to_string(megabyte - 128) + " n0=33 n1=1 n2=1\nend\n",
       Fault::kRegion, 0, megabyte},
      {"NoReadPermission", "lda region=2 offset=512 n0=1 n1=1 n2=1\nend\n", Fault::kRegion, 0, 512},
      {"NoWritePermission", load + "sta wait0=0 region=1 n0=1 n1=1 n2=1\nend\n", Fault::kRegion, 1,
       0},
      {"WeightsFromNowhere", "ldw region=5 tiles=1\nend\n", Fault::kRegion, 0, 0},
      {"LoadOutsideItsBanks", "lda region=1 n0=10 n1=1 n2=1 buf_addr=507\nend\n", Fault::kClaim, 0,
       512},
      {"LoadWrapsAround", "lda region=1 n0=10 n1=1 n2=1 buf_addr=65535 buf_banks=7\nend\n",
       Fault::kClaim, 0, 65535},
      {"StoreOutsideItsBanks",
       load + "sta wait0=0 region=2 n0=1 n1=1 n2=1 buf_addr=3 buf_bank=1\nend\n", Fault::kClaim, 1,
       3},
      {"MatrixInput", ready + mma + "wait0=0 wait1=1 in_addr=510\nend\n", Fault::kClaim, 3, 512},
      {"MatrixOutput",
       ready + "mma in_h=1 in_w=4 kh=1 kw=1 stride_y=1 stride_x=1 dil_y=1 dil_x=1 mh=1 mw=4 "
               "blocks=1 out_bank=1 "
               "out_addr=1022 init emit wait0=0 wait1=1\nend\n",
       Fault::kClaim, 3, 1024},
      {"WindowInput", load + win + "in_addr=1000 mode=MAX wait0=0\nend\n", Fault::kClaim, 1, 1000},
      {"PackInput",
       load + "pack wait0=0 in_addr=512 in_pitch=16 in_h=1 in_w=16 kh=1 kw=1 stride_y=1 stride_x=1 "
              "planes=1 mh=1 mw=4 "
              "out_bank=1 out_addr=512\nend\n",
       Fault::kClaim, 1, 512},
      {"OwnStreamsConflict",
       load + "elt wait0=0 mode=ADD mh=1 mw=4 blocks=1 a_x_step=1 b_x_step=1 out_x_step=1 "
              "out_bank=1 out_addr=512\nend\n",
       Fault::kConflict, 1, 0, 1},
      {"DeadlockOnASemaphore", load + "sta wait0=9 region=2 n0=64 n1=1 n2=1\nend\n",
       Fault::kDeadlock, 1},
      {"DeadlockWithoutTiles",
       load + "ldp region=1 target=EXE_SET count=1 signal0=1\n" + mma + "wait0=0 wait1=1\nend\n",
       Fault::kDeadlock, 2},
      {"DeadlockInAFullRing", "ldw region=1 tiles=65\nend\n", Fault::kDeadlock, 0},
      {"FetchEnd", load, Fault::kFetchEnd, 1},
      {"EmptyProgram", "", Fault::kFetchEnd, 0},
  };
  std::string overflow;
  for (int i = 0; i < 256; ++i) overflow += "sync queue=2 signal0=4\n";
  cases.push_back({"Semaphore", overflow + "end\n", Fault::kSemaphore, 255, 4});
  // A queue that never empties holds up whatever is behind.
  std::string full = load;
  for (int i = 0; i < 9; ++i) full += "sync queue=4 wait0=1\n";
  cases.push_back(
      {"DeadlockOfAFullQueue", full + "sync queue=2 signal0=1\nend\n", Fault::kDeadlock, 1});
  return cases;
}

class Faults : public ::testing::TestWithParam<Case> {};

TEST_P(Faults, AreRecorded) {
  const Case& c = GetParam();
  for (uint64_t seed = 0; seed < 8; ++seed) {
    SCOPED_TRACE(seed);
    Machine m(TinyOptions(seed));
    const sim::Trace& t = m.Run(c.text);
    EXPECT_EQ(Cause(t), isa::FaultName(c.cause));
    EXPECT_EQ(t.fault.instruction, c.instruction);
    EXPECT_EQ(t.fault.address, c.address);
    EXPECT_EQ(t.fault.second, c.second);
    EXPECT_EQ(t.fault.cycle, 0u);
    EXPECT_TRUE(t.finished);
    const bool faulted = c.cause != isa::Fault::kNone;
    EXPECT_EQ(m.Get(regs::kStatus),
              faulted ? regs::kStatusFaulted.mask() : regs::kStatusDone.mask());
    EXPECT_EQ(m.Get(regs::kFaultCause), static_cast<uint32_t>(c.cause));
    EXPECT_EQ(m.Get(regs::kFaultInstruction), c.instruction);
    EXPECT_EQ(m.Get(regs::kFaultAddressLo), c.address);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Faults, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

// Older work goes on behind a precise fault.
TEST(PreciseFault, OlderWorkCompletes) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    Machine m(TinyOptions(seed));
    *m.data(1, 5) = 77;
    const sim::Trace& t = m.Run(
        "lda region=1 n0=64 n1=1 n2=1 signal0=0\n"
        "sta region=2 n0=64 n1=1 n2=1 wait0=0\n"
        ".words 0 0 0 0 0 0 0 0\n"
        "end\n");
    EXPECT_EQ(Cause(t), "ILLEGAL");
    EXPECT_EQ(t.fault.instruction, 2u);
    EXPECT_EQ(t.retired, 2u);
    EXPECT_EQ(*m.data(2, 5), 77);
  }
}

TEST(PreciseFault, StaysWhenOlderWorkCannotEnd) {
  Machine m;
  const sim::Trace& t = m.Run("sync queue=0 wait0=5\n.words 0 0 0 0 0 0 0 0\nend\n");
  EXPECT_EQ(Cause(t), "ILLEGAL");
  EXPECT_EQ(t.fault.instruction, 1u);
}

TEST(BusFault, OutsideTheMemory) {
  Machine m;
  m.SetRegion(1, uint64_t{9} << 32, 4096, 1);
  const sim::Trace& t = m.Run("lda region=1 offset=256 n0=1 n1=1 n2=1\nend\n");
  EXPECT_EQ(Cause(t), "BUS_READ");
  EXPECT_EQ(t.fault.address, (uint64_t{9} << 32) + 256);
  EXPECT_EQ(m.Get(regs::kFaultAddressHi), 9u);
  m.Set(regs::kControl, regs::kControlSoftReset.mask());
  m.SetRegion(2, 4 * Machine::kBytes - 256, 4096, 2);
  const sim::Trace& w = m.Run("sta region=2 n0=65 n1=1 n2=1\nend\n");
  EXPECT_EQ(Cause(w), "BUS_WRITE");
  EXPECT_EQ(w.fault.address, 4u * Machine::kBytes);
}

TEST(BusFault, InjectedOnce) {
  Machine m(TinyOptions(0));
  const char* text = "lda region=1 n0=192 n1=1 n2=1\nend\n";
  m.iss.InjectBusError(sim::Direction::kRead, 2);  // burst 0 fetches
  const sim::Trace& t = m.Run(text);
  EXPECT_EQ(Cause(t), "BUS_READ");
  EXPECT_EQ(t.fault.instruction, 0u);
  EXPECT_EQ(t.fault.address, Machine::kBytes + 256u);
  m.Set(regs::kControl, regs::kControlSoftReset.mask());
  EXPECT_EQ(Cause(m.Run(text)), "NONE");
}

TEST(FetchFault, OutsideTheRegion) {
  Machine m;
  m.SetRegion(0, 0, 64, regs::kRegionPermExecute.mask());
  const sim::Trace& t = m.Run("sync queue=1\nend\n");
  EXPECT_EQ(Cause(t), "REGION");
  EXPECT_EQ(t.fault.instruction, 0u);
}

}  // namespace
}  // namespace octile
