#include "window_cycles.h"

#include <algorithm>

namespace octile::codegen {
namespace {

constexpr int kMaxKernel = 5;
constexpr int kRowsHeld = 8;
constexpr int kTapsPerCycle = 9;

bool ByColumns(const isa::Win& win) {
  if (win.kh > kMaxKernel || win.kw > kMaxKernel || (win.kh == 1 && win.kw == 1)) return false;
  if (win.stride_y > 2 || win.stride_y > win.kh || win.stride_x > win.kw) return false;
  if ((win.kh > 1 && win.dil_y > 1) || (win.kw > 1 && win.dil_x > 1)) return false;
  int32_t step = win.stride_y * win.in_ky_step;
  if (win.stride_y == 2 && win.in_wrap != 0 && step >= win.in_wrap) step -= win.in_wrap;
  return (step & 0xffff) == win.in_oy_step;
}

}  // namespace

int64_t WindowCycles(const isa::Win& win) {
  if (!ByColumns(win)) return int64_t{win.blocks} * win.mh * win.mw * win.kh * win.kw;
  const int64_t group = (kRowsHeld - win.kh) / win.stride_y + 1;
  const int64_t per_result = (win.kh * win.kw + kTapsPerCycle - 1) / kTapsPerCycle;
  const int64_t columns = int64_t{win.mw - 1} * win.stride_x + win.kw;
  // A column takes as long as its reads, or as the results of the column before it. Of a group's
  // columns mw complete results.
  const auto reads = [&](int64_t rows) { return (rows - 1) * win.stride_y + win.kh; };
  const auto waits = [&](int64_t results, int64_t rows) {
    return std::max<int64_t>(per_result * results - reads(rows), 0);
  };
  int64_t block = 0;
  int64_t before = 0;  // results of the group before; none in front of the first
  for (int64_t row = 0; row < win.mh; row += group) {
    const int64_t rows = std::min<int64_t>(group, win.mh - row);
    block += columns * reads(rows) + (win.mw - 1) * waits(rows, rows) + waits(before, rows);
    before = rows;
  }
  // Every further block begins with the results of the last group of the one before it; the last
  // results end the phase.
  const int64_t change = waits(before, std::min<int64_t>(group, win.mh));
  return win.blocks * block + (win.blocks - 1) * change + per_result * before;
}

int64_t PackCycles(const isa::Pack& pack, int n) {
  const int64_t lanes = int64_t{pack.kh} * pack.kw * pack.planes;
  int64_t windows = 0;  // of all blocks
  for (int64_t begin = 0; begin < lanes; begin += n) {
    const int64_t end = std::min(lanes, begin + n);
    int64_t reads = 0;
    for (int64_t lane = begin, next = 0; lane < end; lane = next) {
      next = std::min(end, (lane / pack.kw + 1) * pack.kw);
      reads += pack.stride_x + (next - lane > pack.stride_x + 1 ? 2 : 1);
    }
    windows += std::max<int64_t>(reads, n);
  }
  return windows * pack.mh * ((pack.mw + n - 1) / n);
}

}  // namespace octile::codegen
