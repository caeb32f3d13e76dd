// WIN by columns (docs/timing.md section 8), cycle numbers derived by hand. Configuration base: a
// bank holds 1024 vectors; the first instruction issues in cycle 107 (timing_test.cc), so its read
// phase begins in 108.
#include "machine.h"

namespace octile {
namespace {

using isa::Class;
using isa::Queue;

constexpr uint64_t kIssue = 107;

// MAX over a kh x kw window, rows of 32 vectors in bank 0, results from bank 4 on.
isa::Win Window(int kh, int kw, int mh, int mw) {
  isa::Win w;
  w.mode = isa::WinMode::kMax;
  w.kh = kh;
  w.kw = kw;
  w.mh = mh;
  w.mw = mw;
  w.in_h = 30;
  w.in_w = 32;
  w.in_oy_step = w.in_ky_step = 32;
  w.in_blk_stride = 480;
  w.out_addr = 4096;
  w.out_row_step = 32;
  w.out_blk_stride = 512;
  w.out_bank = 4;
  return w;
}
isa::Win Stride2(isa::Win w) {
  w.stride_x = w.stride_y = 2;
  w.in_oy_step = 2 * w.in_ky_step;
  return w;
}

// Length R of the read phase.
uint64_t ReadPhase(const isa::Win& w) {
  Machine m;
  const auto& t = m.Run(Program(w));
  EXPECT_EQ(t.fault.cause, 0u);
  EXPECT_EQ(t.issue[0], kIssue);
  ExpectConserved(t);
  EXPECT_EQ(ClassCycles(t, Queue::kVec, Class::kActive) + 28, t.completion[0] - kIssue);
  EXPECT_EQ(ClassCycles(t, Queue::kVec, Class::kDrain), 28u);
  return ClassCycles(t, Queue::kVec, Class::kActive);
}

TEST(Columns, OneGroup) {
  // T = 6. Six columns of 8 rows, 6 cycles for the results of the last.
  EXPECT_EQ(ReadPhase(Window(3, 3, 6, 4)), 6u * 8 + 6);
  // Fewer rows: 4 + 2.
  EXPECT_EQ(ReadPhase(Window(3, 3, 4, 4)), 6u * 6 + 4);
  EXPECT_EQ(ReadPhase(Window(3, 3, 1, 1)), 3u * 3 + 1);
}

TEST(Columns, EveryModeAndPaddingTakeTheSame) {
  isa::Win w = Window(3, 3, 6, 4);
  w.iy0 = -2;
  w.ix0 = -5;  // the first output column sees nothing
  w.in_h = 2;
  EXPECT_EQ(ReadPhase(w), 54u);
  w.mode = isa::WinMode::kSum;
  EXPECT_EQ(ReadPhase(w), 54u);
  w.mode = isa::WinMode::kDepthwise;
  EXPECT_EQ(ReadPhase(w), 54u);
}

TEST(Columns, OneColumnOrRowOfTaps) {
  // 3x1: T = 6, every column completes results.
  EXPECT_EQ(ReadPhase(Window(3, 1, 6, 5)), 5u * 8 + 6);
  // 1x3: T = 8, 8 rows, 8 results in the 8 cycles of the next column.
  EXPECT_EQ(ReadPhase(Window(1, 3, 8, 5)), 7u * 8 + 8);
  // The dilation of a dimension with one tap does not matter.
  isa::Win w = Window(1, 3, 8, 5);
  w.dil_y = 7;
  EXPECT_EQ(ReadPhase(w), 7u * 8 + 8);
  w = Window(3, 1, 6, 5);
  w.dil_x = 7;
  EXPECT_EQ(ReadPhase(w), 5u * 8 + 6);
}

// G = 2: 2x5 has 10 taps, T = 7; a column behind one with results takes 14 cycles, not 8.
TEST(Columns, TwoCyclesPerResult) {
  // Columns 0 .. 4 take 8, 5 and 6 (behind 4 and 5) 14; results of the last 14.
  EXPECT_EQ(ReadPhase(Window(2, 5, 7, 3)), 5u * 8 + 2 * 14 + 14);
  // 4x3, T = 5, every second column: 0 1 2 take 8, 3 takes 10, 4 takes 8, 5 takes 10, 6 takes 8.
  isa::Win w = Window(4, 3, 5, 3);
  w.stride_x = 2;
  EXPECT_EQ(ReadPhase(w), 5u * 8 + 2 * 10 + 10);
}

// G = 3: 5x5, T = 4, 8 rows; 5 output rows are groups of 4 and 1.
TEST(Columns, SmallerLastGroupBeginsWithTheResultsOfTheFullOne) {
  // Group 0: columns 0 .. 4 take 8, column 5 takes 12. Group 1 has 5 rows: column 0 waits for 4
  // results, 12; columns 1 .. 5 take 5. Then 3 cycles for one result.
  const uint64_t block = 5 * 8 + 12 + 12 + 5 * 5;
  EXPECT_EQ(ReadPhase(Window(5, 5, 5, 2)), block + 3);
  // The second block begins with one result: 3 cycles fit into the first column.
  isa::Win w = Window(5, 5, 5, 2);
  w.blocks = 2;
  EXPECT_EQ(ReadPhase(w), 2 * block + 3);
  // Two full groups and a block behind them: 4 results at every change, 12 instead of 8.
  w.mh = 8;
  EXPECT_EQ(ReadPhase(w), 4u * (5 * 8 + 12) + 3 * 4 + 12);
}

TEST(Columns, Stride2) {
  // 3x3: T = 3, 7 rows; 4 output rows are 3 and 1. Seven columns of 7, seven of 3, one result.
  EXPECT_EQ(ReadPhase(Stride2(Window(3, 3, 4, 3))), 7u * 7 + 7 * 3 + 1);
  // 2x2: T = 4, 8 rows. 5x5: T = 2, 7 rows, 3 cycles for each of 2 results.
  EXPECT_EQ(ReadPhase(Stride2(Window(2, 2, 4, 3))), 6u * 8 + 4);
  EXPECT_EQ(ReadPhase(Stride2(Window(5, 5, 2, 3))), 9u * 7 + 6);
}

// With circular rows the double step is reduced: 4 rows further twice in 5 rows is 3 rows.
TEST(Columns, DoubleStepInACircularArea) {
  isa::Win w = Window(3, 3, 3, 2);
  w.stride_y = 2;
  w.in_wrap = 5 * 32;
  w.in_ky_step = 4 * 32;
  w.in_oy_step = 3 * 32;
  EXPECT_EQ(ReadPhase(w), 4u * 7 + 3);
  w.in_oy_step = 4 * 32;  // not twice the row step: 6 outputs of 9 taps
  EXPECT_EQ(ReadPhase(w), 54u);
  // Without a circle modulo 2^16.
  w.in_wrap = 0;
  w.in_addr = w.in_row0 = 0;
  w.in_h = 1;
  w.in_ky_step = 0x9000;
  w.in_oy_step = 0x2000;
  EXPECT_EQ(ReadPhase(w), 4u * 7 + 3);
}

TEST(Columns, WhatDoesNotQualifyGoesTapByTap) {
  const auto taps = [](const isa::Win& w) { return uint64_t(w.mh) * w.mw * w.kh * w.kw; };
  isa::Win w = Window(1, 1, 6, 4);
  EXPECT_EQ(ReadPhase(w), taps(w));
  w = Window(6, 2, 6, 4);
  EXPECT_EQ(ReadPhase(w), taps(w));
  w = Window(2, 6, 6, 4);
  EXPECT_EQ(ReadPhase(w), taps(w));
  w = Window(3, 3, 6, 4);
  w.dil_x = 2;
  EXPECT_EQ(ReadPhase(w), taps(w));
  w = Window(3, 3, 6, 4);
  w.dil_y = 2;
  w.in_ky_step = 64;
  EXPECT_EQ(ReadPhase(w), taps(w));
  // The flag is the field, not the rows: dilation 2 with the pointer steps of dilation 1.
  w.in_ky_step = 32;
  EXPECT_EQ(ReadPhase(w), taps(w));
  w = Window(5, 5, 3, 2);
  w.stride_y = 3;
  w.in_oy_step = 96;
  EXPECT_EQ(ReadPhase(w), taps(w));
  w = Window(1, 3, 3, 2);
  w.stride_y = 2;
  w.in_oy_step = 64;
  EXPECT_EQ(ReadPhase(w), taps(w));
  w = Window(3, 2, 3, 2);
  w.stride_x = 3;
  EXPECT_EQ(ReadPhase(w), taps(w));
  // One output row: the step to the next decides all the same.
  w = Window(3, 3, 1, 4);
  w.in_oy_step = 33;
  EXPECT_EQ(ReadPhase(w), taps(w));
}

void ExpectClaim(const isa::Win& w, uint64_t read_phase_cycle, uint32_t address) {
  Machine m;
  const auto& t = m.Run(Program(w));
  EXPECT_EQ(t.fault.cause, static_cast<uint32_t>(isa::Fault::kClaim));
  EXPECT_EQ(t.fault.instruction, 0u);
  EXPECT_EQ(t.fault.address, address);
  EXPECT_EQ(t.fault.cycle, kIssue + 1 + read_phase_cycle + 1);
  EXPECT_EQ(t.cycles, t.fault.cycle + 1);
  EXPECT_EQ(t.completion[0], sim::kNever);
}

// Reads go down a column: the lower rows of column 0 come before all of column 1.
TEST(Columns, ReadOutsideItsClaim) {
  isa::Win w = Window(3, 3, 6, 4);
  w.in_addr = 1024 - 5 * 32 - 3;  // row 5 leaves the bank in column 3, row 6 in column 0
  ExpectClaim(w, 6, 1024 + 32 - 3);
  w.in_h = 6;  // rows 6 and 7 are padding
  ExpectClaim(w, 3 * 8 + 5, 1024);
  w.ix0 = -1;  // and so is column 0
  ExpectClaim(w, 4 * 8 + 5, 1024);
}

TEST(Columns, OutputOutsideItsClaim) {
  isa::Win w = Window(3, 3, 6, 4);
  w.out_addr = 5120 - 3 * 32;  // row 3 begins behind the bank; column 2 completes the first results
  ExpectClaim(w, 3 * 8 + 3, 5120);
  w.out_addr -= 2;  // column 4 the third ones
  ExpectClaim(w, 3 * 8 + 4, 5120 + 32 - 2);
  w.mh = 4;  // without row 4; 6 rows
  ExpectClaim(w, 5 * 6 + 3, 5120);
  // Three cycles for a result: 5x5, column 4 ends in cycle 39, result 2 is there in 40 + 8.
  w = Window(5, 5, 4, 2);
  w.out_addr = 5120 - 2 * 32;
  ExpectClaim(w, 40 + 8, 5120);
  // The last result of the instruction, behind the last read.
  w.out_addr = 5120 - 3 * 32 - 1;
  ExpectClaim(w, 5 * 8 + 12 + 11, 5120);
}

// Results of column 2 are generated in cycles 24 .. 29, while column 3 is read.
TEST(Columns, TheEarlierOfReadAndOutputIsRecorded) {
  isa::Win w = Window(3, 3, 6, 4);
  w.out_addr = 5120 - 3 * 32;  // result 3: cycle 27
  w.in_h = 3;
  w.in_addr = 1024 - 2 * 32 - 3;  // row 2 of column 3: cycle 26
  ExpectClaim(w, 26, 1024);
  w.in_h = 4;
  w.in_addr = 1024 - 3 * 32 - 3;  // row 3: the same cycle, the read first
  ExpectClaim(w, 27, 1024);
  w.in_h = 5;
  w.in_addr = 1024 - 4 * 32 - 3;  // row 4: later
  ExpectClaim(w, 27, 5120);
}

// The last results of a group are generated while the next group, or block, begins.
TEST(Columns, ReadOfTheNextGroupAgainstOutputsOfTheLast) {
  isa::Win w = Window(3, 3, 12, 1);
  // Group 0 takes 3 columns of 8; its results come in 24 .. 29. Group 1 reads rows 6 .. 13 in its
  // column 0 from 24 on.
  w.out_addr = 5120 - 2 * 32;  // result 2: cycle 26
  ExpectClaim(w, 26, 5120);
  w.in_h = 9;
  w.in_addr = 1024 - 8 * 32;  // row 8 = the third read of group 1
  ExpectClaim(w, 26, 1024);
  w.in_h = 8;
  w.in_addr = 1024 - 7 * 32;  // row 7 lies in group 0, too: its last read of column 0
  ExpectClaim(w, 7, 1024);
  // A block: rows 0 .. 7 of block 1 from cycle 24 on.
  w = Window(3, 3, 6, 1);
  w.blocks = 2;
  w.out_addr = 5120 - 2 * 32;
  w.in_blk_stride = 1024 - 32;  // row 1 of block 1
  ExpectClaim(w, 25, 1024);
}

}  // namespace
}  // namespace octile
