// First access of a WIN outside its claims; cycles derived by hand from docs/timing.md section 8.
// Configuration base: banks of 1024 vectors.
#include "octile/program/window_order.h"

#include <gtest/gtest.h>

namespace octile {
namespace {

class WindowOrder : public testing::Test {
 protected:
  // 3x3 over rows of 32 vectors: 6 x 4 results, six columns of 8 reads.
  WindowOrder() {
    win.mode = isa::WinMode::kMax;
    win.kh = win.kw = 3;
    win.mh = 6;
    win.mw = 4;
    win.in_h = 30;
    win.in_w = 32;
    win.in_oy_step = win.in_ky_step = 32;
    win.out_addr = 4096;
    win.out_row_step = 32;
    win.out_bank = 4;
  }
  void Expect(uint64_t cycle, bool output, uint32_t address) {
    const auto first = FirstOutsideClaim(arch, win);
    ASSERT_TRUE(first);
    EXPECT_EQ(first->cycle, cycle);
    EXPECT_EQ(first->output, output);
    EXPECT_EQ(first->address, address);
  }

  ArchConfig arch = LoadConfig("base")->arch;
  isa::Win win;
};

TEST_F(WindowOrder, NothingOutside) {
  EXPECT_TRUE(WorksByColumns(win));
  EXPECT_FALSE(FirstOutsideClaim(arch, win));
}

TEST_F(WindowOrder, ReadsGoDownTheColumns) {
  win.in_addr = 1024 - 5 * 32 - 3;  // row 6 leaves the bank in column 0, row 5 in column 3
  Expect(6, false, 1024 + 32 - 3);
  win.in_h = 6;
  Expect(3 * 8 + 5, false, 1024);
  win.dil_x = 2;  // tap by tap: output (3, 0), tap (2, 2): column 4, one behind the edge
  EXPECT_FALSE(WorksByColumns(win));
  Expect(3 * 4 * 9 + 8, false, 1025);
}

TEST_F(WindowOrder, ResultsOverlapTheNextColumn) {
  win.out_addr = 5120 - 3 * 32;  // row 3: generated in cycle 24 + 3, behind column 2
  Expect(27, true, 5120);
  win.in_h = 4;
  win.in_addr = 1024 - 3 * 32 - 3;  // row 3 of column 3 in the same cycle
  Expect(27, false, 1024);
  win.in_h = 5;
  win.in_addr = 1024 - 4 * 32 - 3;  // row 4, a cycle later
  Expect(27, true, 5120);
}

TEST_F(WindowOrder, BeyondTheBuffer) {
  win.out_bank = arch.banks - 1;
  win.out_addr = arch.buffer_vectors() - 3;
  Expect(24 + 1, true, static_cast<uint32_t>(arch.buffer_vectors() + 29));
}

TEST_F(WindowOrder, Conditions) {
  win.stride_y = 2;
  EXPECT_FALSE(WorksByColumns(win));
  win.in_oy_step = 64;
  EXPECT_TRUE(WorksByColumns(win));
  win.in_wrap = 40;
  win.in_oy_step = 24;
  EXPECT_TRUE(WorksByColumns(win));
  win.stride_x = 3;
  EXPECT_TRUE(WorksByColumns(win));
  win.stride_x = 4;
  EXPECT_FALSE(WorksByColumns(win));
  win.stride_x = 1;
  win.kh = win.kw = 1;
  win.stride_y = 1;
  win.in_oy_step = win.in_ky_step;
  EXPECT_FALSE(WorksByColumns(win));
  win.kw = 5;
  EXPECT_TRUE(WorksByColumns(win));
  win.kw = 6;
  EXPECT_FALSE(WorksByColumns(win));
}

}  // namespace
}  // namespace octile
