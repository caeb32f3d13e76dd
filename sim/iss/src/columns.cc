// The order in which WIN by columns touches the buffer (docs/timing.md section 8). It matters for
// one thing only: which of several accesses outside the claims is the first.
#include <algorithm>
#include <optional>
#include <vector>

#include "semantics.h"

namespace octile::sim::iss {
namespace {

bool WorksByColumns(const isa::Win& op) {
  const int taps = op.kh * op.kw;
  if (taps == 1 || op.kh > 5 || op.kw > 5) return false;
  if (op.stride_y > std::min(2, op.kh) || op.stride_x > op.kw) return false;
  if (op.kh > 1 && op.dil_y != 1) return false;
  if (op.kw > 1 && op.dil_x != 1) return false;
  RowPointer further(op.in_ky_step, op.in_wrap);
  if (op.stride_y == 2) further.Step(op.in_ky_step);
  return further.value() == static_cast<uint32_t>(op.in_oy_step);
}

// What comes due in the cycles of a column, counted from the column's first: reads of its own,
// results of the column before.
struct Event {
  int cycle;
  uint32_t address;
};

// The next event of two ordered lists; a read comes before a result of its cycle.
MaybeTrap CheckInOrder(const Machine& m, const Claim& in, const std::vector<Event>& reads,
                       const Claim& out, const std::vector<Event>& results) {
  auto result = results.begin();
  for (const Event& read : reads) {
    for (; result != results.end() && result->cycle < read.cycle; ++result)
      OCTILE_ISS_RETURN_IF_TRAP(m.Check(out, result->address));
    OCTILE_ISS_RETURN_IF_TRAP(m.Check(in, read.address));
  }
  for (; result != results.end(); ++result)
    OCTILE_ISS_RETURN_IF_TRAP(m.Check(out, result->address));
  return std::nullopt;
}

}  // namespace

MaybeTrap CheckColumns(const Machine& m, const isa::Win& op) {
  if (!WorksByColumns(op)) return std::nullopt;
  const Claim in = m.ClaimOf(op.in_bank, op.in_banks);
  const Claim out = m.ClaimOf(op.out_bank, op.out_banks);
  const int rows_per_group = (8 - op.kh) / op.stride_y + 1;
  const int cycles_per_result = (op.kh * op.kw + 8) / 9;
  const int columns = (op.mw - 1) * op.stride_x + op.kw;
  std::vector<Event> reads, results;
  for (int block = 0; block < op.blocks; ++block) {
    RowPointer in_row(op.in_row0, op.in_wrap);
    RowPointer out_row(op.out_row0, op.out_wrap);
    for (int oy = 0; oy < op.mh; oy += rows_per_group) {
      const int rows_out = std::min(rows_per_group, op.mh - oy);
      const int rows_in = (rows_out - 1) * op.stride_y + op.kh;
      for (int column = 0; column < columns; ++column) {
        const int ix = op.ix0 + column;
        reads.clear();
        RowPointer row = in_row;
        for (int r = 0; r < rows_in; ++r, row.Step(op.in_ky_step)) {
          const int iy = op.iy0 + oy * op.stride_y + r;
          if (iy < 0 || iy >= op.in_h || ix < 0 || ix >= op.in_w) continue;
          reads.push_back({r, Wrap16(int64_t{op.in_addr} + row.value() +
                                     int64_t{block} * op.in_blk_stride + ix)});
        }
        OCTILE_ISS_RETURN_IF_TRAP(CheckInOrder(m, in, reads, out, results));
        results.clear();
        const int past = column - (op.kw - 1);
        if (past < 0 || past % op.stride_x != 0) continue;
        RowPointer row_out = out_row;
        for (int j = 0; j < rows_out; ++j, row_out.Step(op.out_row_step))
          results.push_back({(j + 1) * cycles_per_result - 1,
                             Wrap16(int64_t{op.out_addr} + row_out.value() +
                                    int64_t{block} * op.out_blk_stride + past / op.stride_x)});
      }
      for (int j = 0; j < rows_out; ++j) {
        in_row.Step(op.in_oy_step);
        out_row.Step(op.out_row_step);
      }
    }
  }
  return CheckInOrder(m, in, {}, out, results);
}

}  // namespace octile::sim::iss
