// PACK: gathers bytes of planar rows into channel-blocked vectors. Lane L = (ky*planes + c)*kw + kx
// of position (oy, ox) is the byte at (iy, ix) of plane c, iy = iy0 + oy*stride_y + ky, ix = ix0 +
// ox*stride_x + kx; zx outside the image and beyond the last lane.
#include <algorithm>
#include <vector>

#include "semantics.h"

namespace octile::sim::iss {
namespace {

struct Lane {
  int ky = 0;
  int kx = 0;
  int plane = 0;
};

// The lanes of an output block; those beyond the last tap are missing.
std::vector<Lane> LanesOf(const Machine& m, const isa::Pack& op, int block) {
  std::vector<Lane> lanes;
  const int all = op.kh * op.kw * op.planes;
  const int n = static_cast<int>(m.n);
  for (int l = block * n; l < std::min((block + 1) * n, all); ++l)
    lanes.push_back({l / op.kw / op.planes, l % op.kw, l / op.kw % op.planes});
  return lanes;
}

int RowOf(const isa::Pack& op, const Lane& lane, int oy) {
  return op.iy0 + oy * op.stride_y + lane.ky;
}

// Buffer byte address of column 0 of an input row, before it wraps.
int64_t RowByte(const Machine& m, const isa::Pack& op, const Lane& lane, int iy) {
  const int64_t n = m.n;
  return n * (op.in_addr + int64_t{lane.plane} * op.in_blk_stride) +
         (op.in_off + int64_t{lane.plane} * op.in_off_step) % n + int64_t{iy} * op.in_pitch;
}

int64_t VectorOf(int64_t byte, int64_t n) { return (byte - ((byte % n) + n) % n) / n; }

// What the unit reads for a group of N output columns: for each lane group (the lanes of one row
// and plane) stride_x + 1 vectors, or one more if it has more lanes than that, from the one that
// holds the first column of its first lane on; without those that hold no byte of the image.
MaybeTrap CheckGroup(const Machine& m, const isa::Pack& op, const std::vector<Lane>& lanes, int oy,
                     int group) {
  const Claim in = m.ClaimOf(op.in_bank, op.in_banks);
  const int64_t n = m.n;
  for (size_t begin = 0, end = 0; begin < lanes.size(); begin = end) {
    const Lane& lane = lanes[begin];
    while (end < lanes.size() && lanes[end].ky == lane.ky && lanes[end].plane == lane.plane) ++end;
    const int64_t vectors = op.stride_x + 1 + (static_cast<int>(end - begin) > op.stride_x + 1);
    const int iy = RowOf(op, lane, oy);
    if (iy < 0 || iy >= op.in_h) continue;
    const int64_t row = RowByte(m, op, lane, iy);
    const int64_t first = VectorOf(row + op.ix0 + group * n * op.stride_x + lane.kx, n);
    for (int64_t v = first; v < first + vectors; ++v) {
      if (v < VectorOf(row, n) || v > VectorOf(row + op.in_w - 1, n)) continue;
      OCTILE_ISS_RETURN_IF_TRAP(m.Check(in, Wrap16(v)));
    }
  }
  return std::nullopt;
}

}  // namespace

MaybeTrap ReadPack(Machine& m, const isa::Pack& op, Work& work) {
  const Claim out = m.ClaimOf(op.out_bank, op.out_banks);
  const int n = static_cast<int>(m.n);
  const int blocks = (op.kh * op.kw * op.planes + n - 1) / n;
  const int groups = (op.mw + n - 1) / n;
  for (int block = 0; block < blocks; ++block) {
    const std::vector<Lane> lanes = LanesOf(m, op, block);
    RowPointer out_row(op.out_row0, op.out_wrap);
    for (int oy = 0; oy < op.mh; ++oy) {
      for (int group = 0; group < groups; ++group) {
        OCTILE_ISS_RETURN_IF_TRAP(CheckGroup(m, op, lanes, oy, group));
        for (int ox = group * n; ox < std::min((group + 1) * n, op.mw); ++ox) {
          const uint32_t address = Wrap16(int64_t{op.out_addr} + out_row.value() +
                                          int64_t{block} * op.out_blk_stride + ox);
          OCTILE_ISS_RETURN_IF_TRAP(m.Check(out, address));
          work.vectors.addresses.push_back(address);
          std::vector<uint8_t>& data = work.vectors.data;
          const size_t at = data.size();
          data.resize(at + m.n, static_cast<uint8_t>(op.zx));
          for (size_t l = 0; l < lanes.size(); ++l) {
            const int iy = RowOf(op, lanes[l], oy);
            const int ix = op.ix0 + ox * op.stride_x + lanes[l].kx;
            if (iy < 0 || iy >= op.in_h || ix < 0 || ix >= op.in_w) continue;
            const int64_t byte = RowByte(m, op, lanes[l], iy) + ix;
            data[at + l] = m.Vector(Wrap16(byte / n))[byte % n];
          }
        }
      }
      out_row.Step(op.out_row_step);
    }
  }
  return std::nullopt;
}

}  // namespace octile::sim::iss
