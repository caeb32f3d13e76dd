// Orders of steps: what is legal happens for some seed, what is not never; a missing dependency
// shows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "machine.h"

namespace octile {
namespace {

constexpr uint64_t kOrders = 24;

// A load into bank 0, a copy to bank 1 by the vector unit, a store; `wait` is the copy's.
std::string Pipeline(std::string_view copy_wait, std::string_view store_wait) {
  return "lda region=1 n0=64 n1=1 n2=1 signal0=0\n"
         "elt mode=COPY mh=1 mw=64 blocks=1 a_x_step=1 out_addr=512 out_x_step=1 out_bank=1 "
         "signal0=1 " +
         std::string(copy_wait) + "\nsta region=2 n0=64 n1=1 n2=1 buf_addr=512 buf_bank=1 " +
         std::string(store_wait) + "\nend\n";
}

// The different contents of region 2 over many orders.
std::set<std::string> Outputs(std::string_view text, bool verify = false) {
  std::set<std::string> outputs;
  for (uint64_t seed = 0; seed < kOrders; ++seed) {
    Machine m(TinyOptions(seed, verify));
    for (int i = 0; i < 4096; ++i)
      *m.data(1, static_cast<uint32_t>(i)) = static_cast<uint8_t>(1 + i % 251);
    for (int i = 0; i < 4096; ++i) *m.data(3, static_cast<uint32_t>(i)) = 0xee;
    const sim::Trace& t = m.Run(text);
    EXPECT_EQ(Cause(t), "NONE") << "seed " << seed;
    outputs.insert({m.data(2), m.data(2) + 256});
  }
  return outputs;
}

TEST(Order, SemaphoresDecide) {
  EXPECT_EQ(Outputs(Pipeline("wait0=0", "wait0=1"), true).size(), 1u);
}

TEST(Order, EveryMissingWaitShows) {
  EXPECT_GT(Outputs(Pipeline("", "wait0=1")).size(), 1u);
  EXPECT_GT(Outputs(Pipeline("wait0=0", "")).size(), 1u);
}

// EXE and VEC read what an earlier instruction of the same queue writes only behind a fence or a
// semaphore; the vector unit runs one instruction at a time, so there it is in order anyway.
std::string TwoMatrixInstructions(std::string_view second) {
  const std::string mma =
      "mma in_h=1 in_w=4 kh=1 kw=1 stride_y=1 stride_x=1 dil_y=1 dil_x=1 mh=1 mw=4 blocks=1 hi=255 "
      "init emit in_banks=3 "
      "out_bank=4 ";
  return "ldp region=1 offset=2048 target=EXE_SET count=1 signal0=0\n"
         "lda region=1 n0=64 n1=1 n2=1 signal0=1\n"
         "ldw region=1 offset=1024 tiles=2 zw=0\n" +
         mma + "wait0=0 wait1=1 out_addr=2048\n" +
         "mma in_addr=2048 in_bank=4 in_h=1 in_w=4 kh=1 kw=1 stride_y=1 stride_x=1 dil_y=1 dil_x=1 "
         "mh=1 mw=4 blocks=1 hi=255 init emit "
         "out_bank=5 out_addr=2560 signal0=2 " +
         std::string(second) +
         "\nsta region=2 n0=64 n1=1 n2=1 buf_addr=2560 buf_bank=5 wait0=2\nend\n";
}

std::set<std::string> MatrixOutputs(std::string_view text) {
  std::set<std::string> outputs;
  for (uint64_t seed = 0; seed < kOrders; ++seed) {
    Machine m(TinyOptions(seed, false));
    for (int i = 0; i < 256; ++i)
      *m.data(1, static_cast<uint32_t>(i)) = static_cast<uint8_t>(1 + i % 7);
    for (int i = 0; i < 32; ++i) *m.data(1, static_cast<uint32_t>(1024 + i)) = 1;
    for (int lane = 0; lane < 4; ++lane) {
      const float one = 1.0f;
      std::memcpy(m.data(1, static_cast<uint32_t>(2048 + 16 + 4 * lane)), &one, 4);
    }
    EXPECT_EQ(Cause(m.Run(text)), "NONE");
    outputs.insert({m.data(2), m.data(2) + 16});
  }
  return outputs;
}

TEST(Order, MatrixInstructionsReadAheadOfWritesWithoutFence) {
  EXPECT_EQ(MatrixOutputs(TwoMatrixInstructions("fence")).size(), 1u);
  EXPECT_GT(MatrixOutputs(TwoMatrixInstructions("")).size(), 1u);
}

TEST(Order, VectorInstructionsRunOneAtATime) {
  const std::string text =
      "lda region=1 n0=64 n1=1 n2=1 signal0=0\n"
      "elt wait0=0 mode=COPY mh=1 mw=64 blocks=1 a_x_step=1 out_addr=512 out_x_step=1 out_bank=1\n"
      "elt mode=COPY mh=1 mw=64 blocks=1 a_addr=512 a_x_step=1 in_bank=1 out_addr=1024 "
      "out_x_step=1 out_bank=2 signal0=1\n"
      "sta region=2 n0=64 n1=1 n2=1 buf_addr=1024 buf_bank=2 wait0=1\nend\n";
  EXPECT_EQ(Outputs(text).size(), 1u);
}

TEST(Order, SyncWaitsForItsQueue) {
  const std::string text =
      "lda region=1 n0=64 n1=1 n2=1\n"
      "sync queue=2 signal0=0\n"
      "sta region=2 n0=64 n1=1 n2=1 wait0=0\nend\n";
  EXPECT_EQ(Outputs(text, true).size(), 1u);
}

// What a load reads from memory a store may not have written yet.
TEST(Order, MemoryIsOrderedBySemaphoresToo) {
  const std::string head =
      "lda region=1 n0=64 n1=1 n2=1 signal0=0\n"
      "sta region=3 n0=64 n1=1 n2=1 wait0=0 signal0=1\n";
  const std::string tail =
      "region=3 n0=64 n1=1 n2=1 buf_addr=512 buf_bank=1 signal0=2\n"
      "sta region=2 n0=64 n1=1 n2=1 buf_addr=512 buf_bank=1 wait0=2\nend\n";
  EXPECT_EQ(Outputs(head + "lda wait0=1 " + tail).size(), 1u);
  EXPECT_GT(Outputs(head + "lda " + tail).size(), 1u);
}

TEST(Order, ASeedIsReplayed) {
  // Racy on purpose: the outcome shows the order.
  for (uint64_t seed = 1; seed < 6; ++seed) {
    std::vector<uint8_t> first;
    for (int round = 0; round < 3; ++round) {
      Machine m(TinyOptions(seed, false));
      for (int i = 0; i < 256; ++i) *m.data(1, static_cast<uint32_t>(i)) = static_cast<uint8_t>(i);
      m.Run(Pipeline("", ""));
      const std::vector<uint8_t> out(m.data(2), m.data(2) + 256);
      if (round == 0) first = out;
      EXPECT_EQ(out, first);
    }
  }
}

// ---- the verifier in the device ----

TEST(Verification, ARaceIsAConflictOfTwoInstructions) {
  Machine m;
  const sim::Trace& t = m.Run(Pipeline("", "wait0=1"));
  EXPECT_EQ(Cause(t), "CONFLICT");
  EXPECT_EQ(std::minmax(t.fault.instruction, t.fault.second), std::minmax(0u, 1u));
  EXPECT_EQ(t.fault.address, 0u);  // vector 0
  EXPECT_EQ(t.retired, 0u);
  ASSERT_TRUE(m.iss.violation());
  EXPECT_EQ(m.iss.violation()->kind, ViolationKind::kRace);
  EXPECT_NE(m.Get(regs::kStatus) & regs::kStatusFaulted.mask(), 0u);
  EXPECT_EQ(m.Get(regs::kFaultInstruction2), t.fault.second);
  // The same job again, and a corrected one after a reset.
  m.Set(regs::kControl, regs::kControlSoftReset.mask());
  EXPECT_EQ(Cause(m.Run(Pipeline("", "wait0=1"))), "CONFLICT");
  m.Set(regs::kControl, regs::kControlSoftReset.mask());
  EXPECT_EQ(Cause(m.Run(Pipeline("wait0=0", "wait0=1"))), "NONE");
  EXPECT_FALSE(m.iss.violation());
}

TEST(Verification, ClaimsThatCanOverlapAreAConflict) {
  // Both read bank 0 and nothing keeps them apart.
  Machine m;
  const sim::Trace& t = m.Run(
      "lda region=1 n0=64 n1=1 n2=1 signal0=0 signal1=1\n"
      "elt wait0=0 mode=COPY mh=1 mw=64 blocks=1 a_x_step=1 out_addr=512 out_x_step=1 out_bank=1\n"
      "sta wait0=1 region=2 n0=64 n1=1 n2=1\nend\n");
  EXPECT_EQ(Cause(t), "CONFLICT");
  EXPECT_EQ(std::minmax(t.fault.instruction, t.fault.second), std::minmax(1u, 2u));
}

TEST(Verification, WhatHasNoFaultIsOnlyTold) {
  Machine m;
  const sim::Trace& t = m.Run("sta region=2 n0=1 n1=1 n2=1\nend\n");
  EXPECT_EQ(Cause(t), "NONE");
  ASSERT_TRUE(m.iss.violation());
  EXPECT_EQ(m.iss.violation()->kind, ViolationKind::kUninitialized);
}

}  // namespace
}  // namespace octile
