// An instruction on its way through the core, with everything about it that does not depend on
// time: lengths, claims, operand checks, and where its first access outside a claim lies
// (docs/timing.md sections 3, 7, 8).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/sim/device.h"

namespace octile::systemc {

// Streams of the activation buffer in the order of docs/timing.md: reads first.
enum Stream : int {
  kExeIn = 0,
  kExeRes = 1,
  kVecA = 2,
  kVecB = 3,
  kStoRead = 4,
  kExeOut = 5,
  kVecOut = 6,
  kActWrite = 7,
  kStreams = 8,
};
constexpr bool IsRead(int stream) { return stream <= kStoRead; }

struct Claim {
  int stream = 0;
  int first = 0;  // banks, inclusive
  int last = 0;
};

// The bursts of a load or store in order. Offsets are modulo 2^32 in their region.
class BurstCursor {
 public:
  BurstCursor() = default;
  BurstCursor(uint32_t offset, uint64_t bytes);  // one contiguous transfer
  BurstCursor(uint32_t offset, uint32_t row_bytes, uint32_t rows, uint32_t planes, uint32_t stride1,
              uint32_t stride2);

  bool done() const { return planes_left_ == 0; }
  uint32_t offset() const { return offset_; }
  uint32_t bytes() const {
    const uint32_t room = isa::kBurstBytes - offset_ % isa::kBurstBytes;
    return static_cast<uint32_t>(std::min<uint64_t>(room, bytes_left_));
  }
  void Next();

 private:
  void StartRow();

  uint64_t row_bytes_ = 0;
  uint32_t rows_ = 1;
  uint32_t stride1_ = 0;
  uint32_t stride2_ = 0;
  uint32_t plane_offset_ = 0;
  uint32_t row_offset_ = 0;
  uint32_t rows_left_ = 0;
  uint32_t planes_left_ = 0;
  uint32_t offset_ = 0;
  uint64_t bytes_left_ = 0;
};

struct Inst {
  uint32_t index = 0;
  isa::Opcode opcode = isa::Opcode::kEnd;
  int queue = 0;
  isa::Header header;
  isa::Operation op;

  uint32_t waits = 0;  // bit s: it waits for semaphore s
  bool operand_fault = false;
  int num_claims = 0;
  Claim claims[3];

  // EXE: K tiles, vectors of a tile, slot lengths, cycles between the vectors of the last tile.
  uint32_t tiles = 0;
  uint32_t vectors = 0;
  uint64_t slot = 0;
  uint64_t last_slot = 0;
  uint32_t last_step = 1;
  bool retain = false;
  // VEC: cycles of the read phase and from its last cycle to completion.
  uint64_t read_cycles = 0;
  uint64_t drain_cycles = 0;
  // Loads and stores.
  BurstCursor bursts;
  int region = 0;
  uint64_t beats_done = 0;

  // First access outside the claim. EXE: vector violation_vector of tile violation_at; VEC: cycle
  // violation_at of the read phase; ACT, STO: beat violation_at of the whole transfer.
  bool violation = false;
  // EXE: an input vector may lie outside; CheckInput looks tile by tile, because a hostile
  // instruction can have 2^24 of them.
  bool suspect_input = false;
  uint64_t violation_at = 0;
  uint32_t violation_vector = 0;
  uint32_t violation_address = 0;

  uint64_t completion = sim::kNever;
  std::vector<int16_t>
      weights;  // EXE: code - zero point of the tiles taken and not yet multiplied, [tiles * N][N]
  uint64_t multiplied = 0;  // EXE: K tiles in the accumulators

  template <class T>
  const T& As() const {
    return *std::get_if<T>(&op);
  }
};

// Fills everything but index and completion from a legal instruction that is not END.
void Prepare(const isa::Instruction& instruction, const sim::CoreConfig& config, Inst* inst);

// The input accesses of K tile `tile` of a suspect MMA; notes a violation that comes before the one
// already known.
void CheckInput(const sim::CoreConfig& config, uint64_t tile, Inst* inst);

// pointer + step in a circular area of `wrap` vectors (0: not circular), modulo 2^16.
inline uint32_t Advance(uint32_t pointer, uint32_t step, uint32_t wrap) {
  uint32_t sum = pointer + step;
  if (wrap != 0 && sum >= wrap) sum -= wrap;
  return sum & 0xffff;
}

inline uint32_t BufferAddress(int64_t sum) { return static_cast<uint32_t>(sum) & 0xffff; }

// WIN by columns (docs/timing.md section 8): reads go down the columns of a group of output rows,
// the results of a column are made while the next one is read.
struct ColumnShape {
  explicit ColumnShape(const isa::Win& w)
      : kh(w.kh),
        kw(w.kw),
        stride_y(w.stride_y),
        stride_x(w.stride_x),
        mh(w.mh),
        mw(w.mw),
        full((8 - w.kh) / w.stride_y + 1),
        cycles((w.kh * w.kw + 8) / 9) {}
  // The conditions under which the unit works by columns. ColumnShape means nothing without them.
  static bool Applies(const isa::Win& w);

  int Groups() const { return (mh + full - 1) / full; }
  int RowsOut(int group) const { return std::min(full, mh - group * full); }
  int RowsIn(int rows_out) const { return (rows_out - 1) * stride_y + kh; }
  int Columns() const { return (mw - 1) * stride_x + kw; }
  // Column c completes the results of output column (c - kw + 1) / stride_x.
  bool Completes(int c) const { return c >= kw - 1 && (c - kw + 1) % stride_x == 0; }
  // Cycles of a column of a group of rows_out rows; `before`: results that the preceding one
  // completed.
  int64_t Column(int rows_out, int before) const {
    return std::max(RowsIn(rows_out), cycles * before);
  }
  // Cycles of all columns of a group; `before`: results of the last column of the group before.
  int64_t Group(int rows_out, int before) const {
    return Column(rows_out, before) + int64_t{mw - 1} * Column(rows_out, rows_out) +
           int64_t{Columns() - mw} * RowsIn(rows_out);
  }
  // Length of the read phase.
  uint64_t Cycles(int blocks) const;

  int kh, kw, stride_y, stride_x, mh, mw;
  int full;    // output rows of a group, T
  int cycles;  // cycles of a result, G
};

// The geometry of PACK, shared by timing and arithmetic. Lane (ky*planes + c)*kw + kx.
struct PackShape {
  // The lanes of one (ky, c) in one block, which share their reads.
  struct Group {
    int ky;
    int c;
    int kx;          // of the first lane
    uint32_t lanes;  // as many consecutive kx
    uint32_t reads;  // consecutive vectors
  };

  PackShape(const isa::Pack& p, uint32_t n)
      : kw(static_cast<uint32_t>(p.kw)),
        planes(static_cast<uint32_t>(p.planes)),
        stride_x(static_cast<uint32_t>(p.stride_x)),
        lanes(static_cast<uint64_t>(p.kh) * p.kw * p.planes),
        blocks(static_cast<uint32_t>((lanes + n - 1) / n)),
        groups((p.mw + n - 1) / n),
        n(n) {}
  uint32_t LanesOf(uint32_t block) const {
    const uint64_t left = lanes - uint64_t{block} * n;
    return static_cast<uint32_t>(left < n ? left : n);
  }
  // Calls visit(group) for the lane groups of a block in order.
  template <class Visit>
  void VisitGroups(uint32_t block, Visit visit) const {
    uint64_t lane = uint64_t{block} * n;
    const uint64_t end = lane + LanesOf(block);
    while (lane < end) {
      const auto kx = static_cast<uint32_t>(lane % kw);
      const uint64_t row = lane / kw;
      const auto count = static_cast<uint32_t>(end - lane < kw - kx ? end - lane : kw - kx);
      visit(Group{.ky = static_cast<int>(row / planes),
                  .c = static_cast<int>(row % planes),
                  .kx = static_cast<int>(kx),
                  .lanes = count,
                  .reads = stride_x + (count > stride_x + 1 ? 2 : 1)});
      lane += count;
    }
  }
  uint64_t Window(uint32_t block) const {
    uint64_t reads = 0;
    VisitGroups(block, [&](const Group& group) { reads += group.reads; });
    return reads > n ? reads : n;
  }
  uint32_t kw;
  uint32_t planes;
  uint32_t stride_x;
  uint64_t lanes;
  uint32_t blocks;
  uint32_t groups;  // of output columns
  uint32_t n;
};
// Byte address in the buffer of column 0 of row iy of plane c; not reduced, may be negative for
// rows outside.
inline int64_t PackRowByte(const isa::Pack& p, int64_t n, int c, int64_t iy) {
  return n * (p.in_addr + int64_t{c} * p.in_blk_stride) +
         (p.in_off + int64_t{c} * p.in_off_step) % n + iy * p.in_pitch;
}

}  // namespace octile::systemc
