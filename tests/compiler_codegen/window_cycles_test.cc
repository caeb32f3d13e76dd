#include "window_cycles.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace octile::codegen {
namespace {

isa::Win Window(int kh, int kw, int stride, int mh, int mw, int blocks) {
  isa::Win w;
  w.kh = kh;
  w.kw = kw;
  w.stride_y = w.stride_x = stride;
  w.mh = mh;
  w.mw = mw;
  w.blocks = blocks;
  w.in_ky_step = 50;
  w.in_oy_step = 50 * stride;
  return w;
}

// Column by column, as docs/timing.md section 8 tells it.
int64_t Walk(const isa::Win& w) {
  int64_t cycles = 0;
  int completed = 0;
  for (int block = 0; block < w.blocks; ++block) {
    for (int oy = 0; oy < w.mh;) {
      const int t = std::min(w.mh - oy, (8 - w.kh) / w.stride_y + 1);
      const int rows = (t - 1) * w.stride_y + w.kh;
      const int g = (w.kh * w.kw + 8) / 9;
      for (int c = 0; c < (w.mw - 1) * w.stride_x + w.kw; ++c) {
        cycles += std::max(rows, g * completed);
        completed = c >= w.kw - 1 && (c - w.kw + 1) % w.stride_x == 0 ? t : 0;
      }
      oy += t;
    }
  }
  return cycles + completed * ((w.kh * w.kw + 8) / 9);
}

TEST(WindowCycles, ByHand) {
  EXPECT_EQ(WindowCycles(Window(3, 3, 1, 6, 4, 1)), 6 * 8 + 6);
  EXPECT_EQ(WindowCycles(Window(2, 5, 1, 7, 3, 1)), 5 * 8 + 2 * 14 + 14);
  EXPECT_EQ(WindowCycles(Window(5, 5, 1, 5, 2, 2)), 2 * (5 * 8 + 12 + 12 + 5 * 5) + 3);
  EXPECT_EQ(WindowCycles(Window(3, 3, 2, 4, 3, 1)), 7 * 7 + 7 * 3 + 1);
}

TEST(WindowCycles, EqualsTheWalkOverTheColumns) {
  for (int kh = 1; kh <= 5; ++kh) {
    for (int kw = 1; kw <= 5; ++kw) {
      for (int stride = 1; stride <= std::min({2, kh, kw}); ++stride) {
        if (kh * kw == 1) continue;
        for (int mh = 1; mh <= 20; ++mh) {
          for (const int mw : {1, 2, 3, 7}) {
            for (const int blocks : {1, 2, 3}) {
              const isa::Win w = Window(kh, kw, stride, mh, mw, blocks);
              ASSERT_EQ(WindowCycles(w), Walk(w)) << kh << "x" << kw << " stride " << stride << ", "
                                                  << mh << "x" << mw << ", blocks " << blocks;
            }
          }
        }
      }
    }
  }
}

TEST(WindowCycles, OneForEachTapOtherwise) {
  const auto taps = [](const isa::Win& w) { return int64_t{w.blocks} * w.mh * w.mw * w.kh * w.kw; };
  isa::Win w = Window(7, 7, 1, 3, 4, 2);
  EXPECT_EQ(WindowCycles(w), taps(w));
  w = Window(1, 1, 1, 3, 4, 2);
  EXPECT_EQ(WindowCycles(w), taps(w));
  w = Window(3, 3, 1, 3, 4, 2);
  w.dil_y = 2;
  EXPECT_EQ(WindowCycles(w), taps(w));
  w = Window(5, 5, 3, 3, 4, 2);
  EXPECT_EQ(WindowCycles(w), taps(w));
  w = Window(2, 2, 2, 3, 4, 2);
  w.in_wrap = 70;
  EXPECT_EQ(WindowCycles(w), taps(w));
  w.in_oy_step = 30;
  EXPECT_EQ(WindowCycles(w), Walk(w));
}

isa::Pack Packing(int kh, int kw, int planes, int stride, int mh, int mw) {
  isa::Pack p;
  p.kh = kh;
  p.kw = kw;
  p.planes = planes;
  p.stride_x = stride;
  p.mh = mh;
  p.mw = mw;
  return p;
}

TEST(PackCycles, ByHand) {
  // Lane groups 3, 3, 3, 3, 3, 1 and 2, 3, 3, 3, of three vectors each.
  EXPECT_EQ(PackCycles(Packing(3, 3, 3, 2, 5, 33), 16), (18 + 16) * 5 * 3);
  // 6, 6, 4 with four vectors each; the others of 16 lanes are as short; 6, 6.
  EXPECT_EQ(PackCycles(Packing(6, 6, 3, 2, 1, 16), 16), 7 * 16);
  // Single lanes.
  EXPECT_EQ(PackCycles(Packing(1, 1, 20, 1, 2, 8), 16), (32 + 16) * 2);
  // 4, 3 of which the first reads one vector more.
  EXPECT_EQ(PackCycles(Packing(1, 7, 1, 2, 1, 1), 4), 4 + 4);
  EXPECT_EQ(PackCycles(Packing(4, 3, 4, 1, 1, 1), 32), (10 * 3 + 2) + 32);
}

// Lane by lane: a kernel row in a block reads once.
TEST(PackCycles, EqualsTheWalkOverTheLanes) {
  for (const int n : {4, 8, 16, 32}) {
    for (int kw = 1; kw <= 40; ++kw) {
      for (int stride = 1; stride <= 4; ++stride) {
        for (const int rows : {1, 3, 9, 21}) {
          const int lanes = rows * kw;
          int cycles = 0;
          for (int block = 0; block * n < lanes; ++block) {
            int reads = 0, length = 0;
            for (int l = block * n; l < std::min(lanes, block * n + n); ++l) {
              length = l % kw == 0 || l % n == 0 ? 1 : length + 1;
              if (length == 1) reads += stride + 1;
              if (length == stride + 2) ++reads;
            }
            cycles += std::max(reads, n);
          }
          ASSERT_EQ(PackCycles(Packing(rows, kw, 1, stride, 1, 1), n), cycles)
              << "N = " << n << ", " << rows << " rows of " << kw << ", stride " << stride;
        }
      }
    }
  }
}

}  // namespace
}  // namespace octile::codegen
