#include "octile/program/window_order.h"

#include <algorithm>
#include <vector>

namespace octile {
namespace {

constexpr uint64_t kMaxAccesses = uint64_t{1} << 18;

int Ceil(int a, int b) { return (a + b - 1) / b; }

uint32_t Step(uint32_t pointer, int step, int wrap) {
  const uint32_t sum = pointer + static_cast<uint32_t>(step);
  return (wrap != 0 && sum >= static_cast<uint32_t>(wrap) ? sum - static_cast<uint32_t>(wrap)
                                                          : sum) &
         0xffff;
}
// p(oy, ky) of docs/isa.md; of rows below the window ky may exceed kh - 1.
uint32_t InputRow(const isa::Win& w, int oy, int ky) {
  auto p = static_cast<uint32_t>(w.in_row0);
  for (int i = 0; i < oy; ++i) p = Step(p, w.in_oy_step, w.in_wrap);
  for (int i = 0; i < ky; ++i) p = Step(p, w.in_ky_step, w.in_wrap);
  return p;
}
uint32_t OutputRow(const isa::Win& w, int oy) {
  auto p = static_cast<uint32_t>(w.out_row0);
  for (int i = 0; i < oy; ++i) p = Step(p, w.out_row_step, w.out_wrap);
  return p;
}

bool Claimed(const ArchConfig& arch, uint32_t address, int bank, int further) {
  const int of = static_cast<int>(address) / arch.bank_depth;
  return of >= bank && of <= bank + further && of < arch.banks;
}

class FirstBad {
 public:
  FirstBad(const ArchConfig& arch, const isa::Win& win) : arch_(arch), w_(win) {}

  void Read(uint64_t cycle, int block, int64_t iy, int64_t ix, uint32_t row) {
    if (iy < 0 || iy >= w_.in_h || ix < 0 || ix >= w_.in_w) return;
    const auto address = static_cast<uint32_t>(
        (int64_t{w_.in_addr} + row + int64_t{block} * w_.in_blk_stride + ix) & 0xffff);
    if (!Claimed(arch_, address, w_.in_bank, w_.in_banks)) Note({cycle, false, address});
  }
  void Write(uint64_t cycle, int block, int ox, uint32_t row) {
    const auto address = static_cast<uint32_t>(
        (int64_t{w_.out_addr} + row + int64_t{block} * w_.out_blk_stride + ox) & 0xffff);
    if (!Claimed(arch_, address, w_.out_bank, w_.out_banks)) Note({cycle, true, address});
  }
  std::optional<WindowAccess> found() const { return found_; }

 private:
  void Note(const WindowAccess& a) {
    if (!found_ || a.cycle < found_->cycle ||
        (a.cycle == found_->cycle && !a.output && found_->output))
      found_ = a;
  }

  const ArchConfig& arch_;
  const isa::Win& w_;
  std::optional<WindowAccess> found_;
};

}  // namespace

bool WorksByColumns(const isa::Win& w) {
  const bool kernel = w.kh <= 5 && w.kw <= 5 && w.kh * w.kw > 1;
  const bool strides = w.stride_y <= 2 && w.stride_y <= w.kh && w.stride_x <= w.kw;
  const bool dense = (w.dil_y == 1 || w.kh == 1) && (w.dil_x == 1 || w.kw == 1);
  const uint32_t rows = w.stride_y == 1
                            ? static_cast<uint32_t>(w.in_ky_step)
                            : Step(static_cast<uint32_t>(w.in_ky_step), w.in_ky_step, w.in_wrap);
  return kernel && strides && dense && rows == static_cast<uint32_t>(w.in_oy_step);
}

std::optional<WindowAccess> FirstOutsideClaim(const ArchConfig& arch, const isa::Win& w) {
  const auto results =
      static_cast<uint64_t>(w.mh) * static_cast<uint64_t>(w.mw) * static_cast<uint64_t>(w.blocks);
  if (results * static_cast<uint64_t>(w.kh * w.kw + 1) > kMaxAccesses) return std::nullopt;
  FirstBad bad(arch, w);
  uint64_t cycle = 0;
  if (!WorksByColumns(w)) {
    for (int block = 0; block < w.blocks; ++block)
      for (int oy = 0; oy < w.mh; ++oy)
        for (int ox = 0; ox < w.mw; ++ox) {
          for (int ky = 0; ky < w.kh; ++ky) {
            const uint32_t row = InputRow(w, oy, ky);
            for (int kx = 0; kx < w.kw; ++kx)
              bad.Read(cycle++, block, int64_t{w.iy0} + oy * w.stride_y + ky * w.dil_y,
                       int64_t{w.ix0} + ox * w.stride_x + kx * w.dil_x, row);
          }
          bad.Write(cycle - 1, block, ox, OutputRow(w, oy));
        }
    return bad.found();
  }
  const int group = (8 - w.kh) / w.stride_y + 1;
  const int per_result = Ceil(w.kh * w.kw, 9);
  int waiting = 0;  // results of the column before
  for (int block = 0; block < w.blocks; ++block)
    for (int first = 0; first < w.mh; first += group) {
      const int rows_out = std::min(group, w.mh - first);
      const int rows_in = (rows_out - 1) * w.stride_y + w.kh;
      for (int c = 0; c <= (w.mw - 1) * w.stride_x + w.kw - 1; ++c) {
        for (int r = 0; r < rows_in; ++r)
          bad.Read(cycle + static_cast<uint64_t>(r), block, int64_t{w.iy0} + first * w.stride_y + r,
                   int64_t{w.ix0} + c, InputRow(w, first, r));
        cycle += static_cast<uint64_t>(std::max(rows_in, per_result * waiting));
        waiting = 0;
        if (c < w.kw - 1 || (c - w.kw + 1) % w.stride_x != 0) continue;
        waiting = rows_out;
        for (int j = 0; j < rows_out; ++j)
          bad.Write(cycle + static_cast<uint64_t>((j + 1) * per_result - 1), block,
                    (c - w.kw + 1) / w.stride_x, OutputRow(w, first + j));
      }
    }
  return bad.found();
}

}  // namespace octile
