#include "instruction.h"

#include <algorithm>
#include <optional>

namespace octile::systemc {
namespace {

using sim::CoreConfig;

// Vector addresses a claim allows.
struct Range {
  uint32_t lo;
  uint32_t hi;  // exclusive
  bool Holds(uint32_t address) const { return address >= lo && address < hi; }
  // A run of `count` consecutive addresses.
  bool HoldsRun(uint32_t address, uint32_t count) const {
    return address >= lo && address + count <= hi;
  }
};

Range Banks(const CoreConfig& c, int first, int further) {
  const uint32_t end = std::min<uint32_t>(first + further + 1, c.banks);
  return {static_cast<uint32_t>(first) * c.bank_depth, end * c.bank_depth};
}

bool AddClaim(Inst* i, const CoreConfig& c, int stream, int bank, int further) {
  i->claims[i->num_claims++] = {stream, bank, bank + further};
  return static_cast<uint32_t>(bank + further) < c.banks;
}

bool WrapOk(int wrap, std::initializer_list<int> pointers) {
  if (wrap == 0) return true;
  for (int p : pointers)
    if (p >= wrap) return false;
  return true;
}

// Row pointers start, start + step, ... of a stream.
std::vector<uint32_t> RowPointers(int row0, int step, int wrap, int count) {
  std::vector<uint32_t> rows(count);
  uint32_t p = row0;
  for (int i = 0; i < count; ++i) {
    rows[i] = p;
    p = Advance(p, step, wrap);
  }
  return rows;
}

struct Span {
  int64_t first = 0;
  int64_t last = -1;  // inclusive; empty when below first
};
// Least and greatest of x0 + o*stride + k*dil that lie in 0..w-1.
Span InsideColumns(int64_t x0, int outs, int stride, int kernel, int dil, int w) {
  Span s{INT64_MAX, INT64_MIN};
  for (int k = 0; k < kernel; ++k) {
    const int64_t base = x0 + int64_t{k} * dil;
    int64_t o_first = base >= 0 ? 0 : (-base + stride - 1) / stride;
    int64_t o_last = base > w - 1 ? -1 : (w - 1 - base) / stride;
    o_last = std::min<int64_t>(o_last, outs - 1);
    if (o_first > o_last) continue;
    s.first = std::min(s.first, base + o_first * stride);
    s.last = std::max(s.last, base + o_last * stride);
  }
  return s;
}

template <class W>
bool WindowInside(const W& w, const CoreConfig&, Range range) {
  const Span columns = InsideColumns(w.ix0, w.mw, w.stride_x, w.kw, w.dil_x, w.in_w);
  if (columns.first > columns.last) return true;
  const uint32_t run = static_cast<uint32_t>(columns.last - columns.first + 1);
  uint32_t ky_pointer = w.in_row0;
  for (int ky = 0; ky < w.kh; ++ky) {
    uint32_t p = ky_pointer;
    for (int oy = 0; oy < w.mh; ++oy) {
      const int64_t iy = int64_t{w.iy0} + int64_t{oy} * w.stride_y + int64_t{ky} * w.dil_y;
      if (iy >= 0 && iy < w.in_h)
        for (int b = 0; b < w.blocks; ++b) {
          const uint32_t a =
              BufferAddress(int64_t{w.in_addr} + p + int64_t{b} * w.in_blk_stride + columns.first);
          if (!range.HoldsRun(a, run)) return false;
        }
      p = Advance(p, w.in_oy_step, w.in_wrap);
    }
    ky_pointer = Advance(ky_pointer, w.in_ky_step, w.in_wrap);
  }
  return true;
}

bool RowsInside(uint32_t base, const std::vector<uint32_t>& rows, int blocks, int blk_stride,
                uint32_t run, Range range) {
  for (int b = 0; b < blocks; ++b)
    for (uint32_t p : rows)
      if (!range.HoldsRun(BufferAddress(int64_t{base} + p + int64_t{b} * blk_stride), run))
        return false;
  return true;
}

struct MmaAccess {
  uint64_t tile;
  uint32_t vector;
  uint32_t address;
};

std::optional<MmaAccess> BadInput(const isa::Mma& m, uint64_t tile, Range range) {
  const int64_t b = static_cast<int64_t>(tile % m.blocks);
  const int64_t kx = static_cast<int64_t>(tile / m.blocks % m.kw);
  const int ky = static_cast<int>(tile / m.blocks / m.kw);
  uint32_t p = m.in_row0;
  for (int k = 0; k < ky; ++k) p = Advance(p, m.in_ky_step, m.in_wrap);
  for (int oy = 0; oy < m.mh; ++oy) {
    const int64_t iy = int64_t{m.iy0} + int64_t{oy} * m.stride_y + int64_t{ky} * m.dil_y;
    for (int ox = 0; ox < m.mw && iy >= 0 && iy < m.in_h; ++ox) {
      const int64_t ix = int64_t{m.ix0} + int64_t{ox} * m.stride_x + kx * m.dil_x;
      if (ix < 0 || ix >= m.in_w) continue;
      const uint32_t a = BufferAddress(int64_t{m.in_addr} + p + b * m.in_blk_stride + ix);
      if (!range.Holds(a)) return MmaAccess{tile, static_cast<uint32_t>(oy * m.mw + ox), a};
    }
    p = Advance(p, m.in_oy_step, m.in_wrap);
  }
  return std::nullopt;
}

// First output vector with an access outside, its address.
std::optional<MmaAccess> FirstBadRow(uint32_t base, const std::vector<uint32_t>& rows, int mw,
                                     int step, uint64_t tile, Range range) {
  for (size_t oy = 0; oy < rows.size(); ++oy)
    for (int ox = 0; ox < mw; ++ox)
      for (int j = 0; j < step; ++j) {
        const uint32_t a = BufferAddress(int64_t{base} + rows[oy] + int64_t{ox} * step + j);
        if (!range.Holds(a)) return MmaAccess{tile, static_cast<uint32_t>(oy * mw + ox), a};
      }
  return std::nullopt;
}

void PrepareMma(const isa::Mma& m, const CoreConfig& c, Inst* i) {
  const uint64_t vectors = uint64_t(m.mh) * m.mw;
  i->vectors = static_cast<uint32_t>(vectors);
  i->tiles = static_cast<uint32_t>(m.kh) * m.kw * m.blocks;
  i->retain = m.retain;
  const uint64_t load = c.n / c.weight_rows;
  i->slot = i->last_slot = std::max({vectors, load, uint64_t{4}});
  if (m.emit && m.raw) {
    i->last_step = 4;
    i->last_slot = std::max({4 * vectors, load, uint64_t{4}});
  }
  const bool residual = m.emit && m.residual;
  bool ok = m.acc_base + vectors <= c.acc_depth;
  if (m.emit && static_cast<uint32_t>(m.pset) >= c.psets) ok = false;
  if (m.raw && (m.table || m.residual)) ok = false;
  ok &= WrapOk(m.in_wrap, {m.in_row0, m.in_oy_step, m.in_ky_step});
  ok &= AddClaim(i, c, kExeIn, m.in_bank, m.in_banks);
  if (residual) {
    ok &= WrapOk(m.res_wrap, {m.res_row0, m.res_row_step});
    ok &= AddClaim(i, c, kExeRes, m.b_bank, m.b_banks);
  }
  if (m.emit) {
    ok &= WrapOk(m.out_wrap, {m.out_row0, m.out_row_step});
    ok &= AddClaim(i, c, kExeOut, m.out_bank, m.out_banks);
  }
  i->operand_fault = !ok;
  if (!ok) return;

  const Range in = Banks(c, m.in_bank, m.in_banks);
  const Range res = Banks(c, m.b_bank, m.b_banks);
  const Range out = Banks(c, m.out_bank, m.out_banks);
  std::optional<MmaAccess> first;
  auto take = [&](const std::optional<MmaAccess>& a) {
    if (a &&
        (!first || a->tile < first->tile || (a->tile == first->tile && a->vector < first->vector)))
      first = a;
  };
  i->suspect_input = !WindowInside(m, c, in);
  const uint64_t last = i->tiles - 1;
  if (residual) {
    const auto rows = RowPointers(m.res_row0, m.res_row_step, m.res_wrap, m.mh);
    if (!RowsInside(m.res_addr, rows, 1, 0, m.mw, res))
      take(FirstBadRow(m.res_addr, rows, m.mw, 1, last, res));
  }
  if (m.emit) {
    const int step = m.raw ? 4 : 1;
    const auto rows = RowPointers(m.out_row0, m.out_row_step, m.out_wrap, m.mh);
    if (!RowsInside(m.out_addr, rows, 1, 0, m.mw * step, out))
      take(FirstBadRow(m.out_addr, rows, m.mw, step, last, out));
  }
  if (first) {
    i->violation = true;
    i->violation_at = first->tile;
    i->violation_vector = first->vector;
    i->violation_address = first->address;
  }
}

// Earliest wins; of equals the first one noted.
void NoteVec(Inst* i, uint64_t cycle, uint32_t address) {
  if (i->violation && i->violation_at <= cycle) return;
  i->violation = true;
  i->violation_at = cycle;
  i->violation_address = address;
}

// A read outranks an output of the same cycle.
void NoteVecRead(Inst* i, uint64_t cycle, uint32_t address) {
  if (i->violation && i->violation_at < cycle) return;
  i->violation = true;
  i->violation_at = cycle;
  i->violation_address = address;
}

void FirstBadTap(const isa::Win& w, Range in, Range out, const std::vector<uint32_t>& out_rows,
                 Inst* i) {
  uint64_t cycle = 0;
  for (int b = 0; b < w.blocks; ++b) {
    uint32_t oy_pointer = w.in_row0;
    for (int oy = 0; oy < w.mh; ++oy) {
      const auto ky_rows = RowPointers(static_cast<int>(oy_pointer), w.in_ky_step, w.in_wrap, w.kh);
      for (int ox = 0; ox < w.mw; ++ox) {
        for (int ky = 0; ky < w.kh; ++ky)
          for (int kx = 0; kx < w.kw; ++kx, ++cycle) {
            const int64_t iy = int64_t{w.iy0} + int64_t{oy} * w.stride_y + int64_t{ky} * w.dil_y;
            const int64_t ix = int64_t{w.ix0} + int64_t{ox} * w.stride_x + int64_t{kx} * w.dil_x;
            if (iy < 0 || iy >= w.in_h || ix < 0 || ix >= w.in_w) continue;
            const uint32_t a =
                BufferAddress(int64_t{w.in_addr} + ky_rows[ky] + int64_t{b} * w.in_blk_stride + ix);
            if (!in.Holds(a)) return NoteVec(i, cycle, a);
          }
        const uint32_t a =
            BufferAddress(int64_t{w.out_addr} + out_rows[oy] + ox + int64_t{b} * w.out_blk_stride);
        if (!out.Holds(a)) return NoteVec(i, cycle - 1, a);
      }
      oy_pointer = Advance(oy_pointer, w.in_oy_step, w.in_wrap);
    }
  }
}

// The accesses of one group of rows, whose first column begins in cycle `start`.
struct ColumnGroup {
  int block, oy, rows_out, before;
  uint64_t start;
  uint32_t in_row;  // row pointer of its first input row
};

void NoteColumns(const isa::Win& w, const ColumnShape& s, const ColumnGroup& g, Range in, Range out,
                 const std::vector<uint32_t>& out_rows, Inst* i) {
  const int rows_in = s.RowsIn(g.rows_out);
  const auto rows = RowPointers(static_cast<int>(g.in_row), w.in_ky_step, w.in_wrap, rows_in);
  const int64_t iy = int64_t{w.iy0} + int64_t{g.oy} * s.stride_y;
  const int64_t in_base = int64_t{w.in_addr} + int64_t{g.block} * w.in_blk_stride;
  const int64_t out_base = int64_t{w.out_addr} + int64_t{g.block} * w.out_blk_stride;
  uint64_t start = g.start;
  int before = g.before;
  for (int c = 0; c < s.Columns(); ++c) {
    if (i->violation && i->violation_at < start) return;
    const int64_t ix = int64_t{w.ix0} + c;
    for (int r = 0; r < rows_in && ix >= 0 && ix < w.in_w; ++r) {
      if (iy + r < 0 || iy + r >= w.in_h) continue;
      const uint32_t a = BufferAddress(in_base + rows[r] + ix);
      if (in.Holds(a)) continue;
      NoteVecRead(i, start + r, a);
      break;
    }
    start += s.Column(g.rows_out, before);
    before = s.Completes(c) ? g.rows_out : 0;
    const int ox = (c - s.kw + 1) / s.stride_x;
    for (int j = 0; j < before; ++j) {
      const uint32_t a = BufferAddress(out_base + out_rows[g.oy + j] + ox);
      if (out.Holds(a)) continue;
      NoteVec(i, start + int64_t{j + 1} * s.cycles - 1, a);
      break;
    }
  }
}

void FirstBadColumn(const isa::Win& w, Range in, Range out, const std::vector<uint32_t>& out_rows,
                    Inst* i) {
  const ColumnShape s(w);
  const Span columns = InsideColumns(w.ix0, w.mw, w.stride_x, w.kw, w.dil_x, w.in_w);
  const uint32_t run =
      columns.first > columns.last ? 0 : static_cast<uint32_t>(columns.last - columns.first + 1);
  // Groups without a violation are passed over as a whole.
  const auto clean = [&](const ColumnGroup& g) {
    uint32_t p = g.in_row;
    for (int r = 0; r < s.RowsIn(g.rows_out); ++r) {
      const int64_t iy = int64_t{w.iy0} + int64_t{g.oy} * s.stride_y + r;
      if (run > 0 && iy >= 0 && iy < w.in_h &&
          !in.HoldsRun(BufferAddress(int64_t{w.in_addr} + p + int64_t{g.block} * w.in_blk_stride +
                                     columns.first),
                       run))
        return false;
      p = Advance(p, w.in_ky_step, w.in_wrap);
    }
    for (int j = 0; j < g.rows_out; ++j)
      if (!out.HoldsRun(BufferAddress(int64_t{w.out_addr} + out_rows[g.oy + j] +
                                      int64_t{g.block} * w.out_blk_stride),
                        w.mw))
        return false;
    return true;
  };
  ColumnGroup g{};
  for (g.block = 0; g.block < w.blocks; ++g.block) {
    g.in_row = w.in_row0;
    for (int k = 0; k < s.Groups(); ++k) {
      g.oy = k * s.full;
      g.rows_out = s.RowsOut(k);
      // The results of the last column before may be noted already; reads of this group come in
      // the same cycles.
      if (i->violation && i->violation_at < g.start) return;
      if (i->violation || !clean(g)) NoteColumns(w, s, g, in, out, out_rows, i);
      g.start += s.Group(g.rows_out, g.before);
      g.before = g.rows_out;
      for (int j = 0; j < g.rows_out; ++j) g.in_row = Advance(g.in_row, w.in_oy_step, w.in_wrap);
    }
  }
}

void PrepareWin(const isa::Win& w, const CoreConfig& c, Inst* i) {
  const uint64_t taps = uint64_t(w.kh) * w.kw;
  const bool by_columns = ColumnShape::Applies(w);
  i->read_cycles =
      by_columns ? ColumnShape(w).Cycles(w.blocks) : uint64_t(w.blocks) * w.mh * w.mw * taps;
  i->drain_cycles = 28;
  bool ok = true;
  if (w.mode != isa::WinMode::kMax &&
      static_cast<uint32_t>(w.pset + (w.pset_shared ? 0 : w.blocks - 1)) >= c.psets)
    ok = false;
  if (w.mode == isa::WinMode::kDepthwise && w.wrow + w.blocks * ((taps + 3) / 4) > c.wrows)
    ok = false;
  ok &= WrapOk(w.in_wrap, {w.in_row0, w.in_oy_step, w.in_ky_step});
  ok &= WrapOk(w.out_wrap, {w.out_row0, w.out_row_step});
  ok &= AddClaim(i, c, kVecA, w.in_bank, w.in_banks);
  ok &= AddClaim(i, c, kVecOut, w.out_bank, w.out_banks);
  i->operand_fault = !ok;
  if (!ok) return;

  const Range in = Banks(c, w.in_bank, w.in_banks);
  const Range out = Banks(c, w.out_bank, w.out_banks);
  const auto out_rows = RowPointers(w.out_row0, w.out_row_step, w.out_wrap, w.mh);
  if (WindowInside(w, c, in) &&
      RowsInside(w.out_addr, out_rows, w.blocks, w.out_blk_stride, w.mw, out))
    return;
  by_columns ? FirstBadColumn(w, in, out, out_rows, i) : FirstBadTap(w, in, out, out_rows, i);
}

void PrepareElt(const isa::Elt& e, const CoreConfig& c, Inst* i) {
  i->read_cycles = uint64_t(e.blocks) * e.mh * e.mw;
  i->drain_cycles = 28;
  const bool two = e.mode == isa::EltMode::kAdd || e.mode == isa::EltMode::kMul;
  bool ok = WrapOk(e.a_wrap, {e.a_row0, e.a_row_step});
  ok &= AddClaim(i, c, kVecA, e.in_bank, e.in_banks);
  if (two) {
    ok &= WrapOk(e.b_wrap, {e.b_row0, e.b_row_step});
    ok &= AddClaim(i, c, kVecB, e.b_bank, e.b_banks);
  }
  if (e.mode == isa::EltMode::kAffine && static_cast<uint32_t>(e.pset + e.blocks - 1) >= c.psets)
    ok = false;
  ok &= WrapOk(e.out_wrap, {e.out_row0, e.out_row_step});
  ok &= AddClaim(i, c, kVecOut, e.out_bank, e.out_banks);
  i->operand_fault = !ok;
  if (!ok) return;

  const Range ra = Banks(c, e.in_bank, e.in_banks);
  const Range rb = Banks(c, e.b_bank, e.b_banks);
  const Range ro = Banks(c, e.out_bank, e.out_banks);
  const auto pa = RowPointers(e.a_row0, e.a_row_step, e.a_wrap, e.mh);
  const auto pb = RowPointers(e.b_row0, e.b_row_step, e.b_wrap, e.mh);
  const auto po = RowPointers(e.out_row0, e.out_row_step, e.out_wrap, e.mh);
  if (RowsInside(e.a_addr, pa, e.blocks, e.a_blk_stride, (e.mw - 1) * e.a_x_step + 1, ra) &&
      (!two ||
       RowsInside(e.b_addr, pb, e.blocks, e.b_blk_stride, (e.mw - 1) * e.b_x_step + 1, rb)) &&
      RowsInside(e.out_addr, po, e.blocks, e.out_blk_stride, (e.mw - 1) * e.out_x_step + 1, ro))
    return;
  uint64_t cycle = 0;
  for (int b = 0; b < e.blocks; ++b)
    for (int y = 0; y < e.mh; ++y)
      for (int x = 0; x < e.mw; ++x, ++cycle) {
        uint32_t a = BufferAddress(int64_t{e.a_addr} + pa[y] + int64_t{x} * e.a_x_step +
                                   int64_t{b} * e.a_blk_stride);
        if (!ra.Holds(a)) return NoteVec(i, cycle, a);
        if (two) {
          a = BufferAddress(int64_t{e.b_addr} + pb[y] + int64_t{x} * e.b_x_step +
                            int64_t{b} * e.b_blk_stride);
          if (!rb.Holds(a)) return NoteVec(i, cycle, a);
        }
        a = BufferAddress(int64_t{e.out_addr} + po[y] + int64_t{x} * e.out_x_step +
                          int64_t{b} * e.out_blk_stride);
        if (!ro.Holds(a)) return NoteVec(i, cycle, a);
      }
}

int64_t FloorDiv(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// The reads of one (block, row, group of columns) window in order of cycle; visit(cycle in the
// window, vector address) returns false to stop.
template <class Visit>
void VisitPackReads(const isa::Pack& p, const PackShape& s, uint32_t block, int oy, uint32_t group,
                    Visit visit) {
  const int64_t n = s.n;
  uint64_t cycle = 0;
  bool stopped = false;
  s.VisitGroups(block, [&](const PackShape::Group& lanes) {
    const uint64_t start = cycle;
    cycle += lanes.reads;
    const int64_t iy = int64_t{p.iy0} + int64_t{oy} * p.stride_y + lanes.ky;
    if (stopped || iy < 0 || iy >= p.in_h) return;
    const int64_t row = PackRowByte(p, n, lanes.c, iy);
    const int64_t ix = int64_t{p.ix0} + int64_t{group} * n * p.stride_x + lanes.kx;
    const int64_t first = FloorDiv(row + ix, n);
    for (uint32_t j = 0; j < lanes.reads && !stopped; ++j) {
      const int64_t v = first + j;
      if (v * n + n <= row || v * n >= row + p.in_w) continue;
      stopped = !visit(start + j, BufferAddress(v));
    }
  });
}

void PreparePack(const isa::Pack& p, const CoreConfig& c, Inst* i) {
  const PackShape s(p, c.n);
  for (uint32_t b = 0; b < s.blocks; ++b) i->read_cycles += s.Window(b) * p.mh * s.groups;
  i->drain_cycles = c.n + 28;
  bool ok = static_cast<uint32_t>(p.in_off) < c.n && static_cast<uint32_t>(p.in_off_step) < c.n;
  ok &= WrapOk(p.out_wrap, {p.out_row0, p.out_row_step});
  ok &= AddClaim(i, c, kVecA, p.in_bank, p.in_banks);
  ok &= AddClaim(i, c, kVecOut, p.out_bank, p.out_banks);
  i->operand_fault = !ok;
  if (!ok) return;

  const Range in = Banks(c, p.in_bank, p.in_banks);
  const Range out = Banks(c, p.out_bank, p.out_banks);
  const auto rows = RowPointers(p.out_row0, p.out_row_step, p.out_wrap, p.mh);
  const bool out_ok =
      RowsInside(p.out_addr, rows, static_cast<int>(s.blocks), p.out_blk_stride, p.mw, out);
  // Input: the bytes of every row that some tap reaches lie inside the claim.
  bool in_ok = true;
  const int64_t n = c.n;
  const int64_t iy_last =
      std::min<int64_t>(int64_t{p.iy0} + int64_t{p.mh - 1} * p.stride_y + p.kh - 1, p.in_h - 1);
  for (int64_t iy = std::max<int64_t>(p.iy0, 0); in_ok && iy <= iy_last; ++iy)
    for (int ch = 0; in_ok && ch < p.planes; ++ch) {
      const int64_t row = PackRowByte(p, n, ch, iy);
      const int64_t first = FloorDiv(row, n);
      const int64_t last = FloorDiv(row + p.in_w - 1, n);
      in_ok = last - first < 0x10000 &&
              in.HoldsRun(BufferAddress(first), static_cast<uint32_t>(last - first + 1));
    }
  if (in_ok && out_ok) return;
  uint64_t start = 0;
  for (uint32_t b = 0; b < s.blocks; ++b)
    for (int oy = 0; oy < p.mh; ++oy)
      for (uint32_t g = 0; g < s.groups; ++g) {
        // Outputs of the previous window may come before a bad read of this one, hence no early
        // return on a noted output.
        if (i->violation && i->violation_at < start) return;
        VisitPackReads(p, s, b, oy, g, [&](uint64_t cycle, uint32_t a) {
          if (in.Holds(a)) return true;
          // A read outranks an output of the same cycle.
          if (!i->violation || start + cycle <= i->violation_at) {
            i->violation = true;
            i->violation_at = start + cycle;
            i->violation_address = a;
          }
          return false;
        });
        start += s.Window(b);
        for (uint32_t k = 0; k < c.n && g * c.n + k < static_cast<uint32_t>(p.mw); ++k) {
          const uint32_t a = BufferAddress(int64_t{p.out_addr} + rows[oy] + g * c.n + k +
                                           int64_t{b} * p.out_blk_stride);
          if (!out.Holds(a)) {
            NoteVec(i, start + k, a);
            break;
          }
        }
      }
}

void PrepareDma(const isa::Lda& d, const CoreConfig& c, int stream, Inst* i) {
  i->region = d.region;
  const uint32_t n = c.n;
  bool ok = d.offset % n == 0 && d.mem_stride1 % n == 0 && d.mem_stride2 % n == 0;
  ok &= WrapOk(d.buf_wrap, {d.buf_row0, d.buf_stride1});
  ok &= AddClaim(i, c, stream, d.buf_bank, d.buf_banks);
  i->operand_fault = !ok;
  if (!ok) return;
  i->bursts = BurstCursor(d.offset, d.n0 * n, d.n1, d.n2, d.mem_stride1, d.mem_stride2);
  const Range range = Banks(c, d.buf_bank, d.buf_banks);
  uint64_t beat = 0;
  for (int z = 0; z < d.n2; ++z) {
    uint32_t p = d.buf_row0;
    for (int y = 0; y < d.n1; ++y, beat += d.n0) {
      const int64_t base = int64_t{d.buf_addr} + p + int64_t{z} * d.buf_stride2;
      if (!range.HoldsRun(BufferAddress(base), d.n0))
        for (int x = 0; x < d.n0; ++x)
          if (const uint32_t a = BufferAddress(base + x); !range.Holds(a)) {
            i->violation = true;
            i->violation_at = beat + x;
            i->violation_address = a;
            return;
          }
      p = Advance(p, d.buf_stride1, d.buf_wrap);
    }
  }
}

void PrepareLdp(const isa::Ldp& p, const CoreConfig& c, Inst* i) {
  i->region = p.region;
  uint32_t entries = 0;
  uint32_t bytes = 0;
  switch (p.target) {
    case isa::LdpTarget::kExeSet:
    case isa::LdpTarget::kVecSet:
      entries = c.psets;
      bytes = 8 * c.n;
      break;
    case isa::LdpTarget::kExeConst:
    case isa::LdpTarget::kVecConst:
      entries = isa::kConstSlots;
      bytes = std::max(64u, c.n);
      break;
    case isa::LdpTarget::kExeTable:
    case isa::LdpTarget::kVecTable:
      entries = isa::kTableSlots;
      bytes = 256;
      break;
    case isa::LdpTarget::kVecWeight:
      entries = c.wrows;
      bytes = 4 * c.n;
      break;
  }
  i->operand_fault = p.offset % c.n != 0 || static_cast<uint32_t>(p.index + p.count) > entries;
  i->bursts = BurstCursor(p.offset, uint64_t{bytes} * p.count);
}

}  // namespace

void CheckInput(const CoreConfig& c, uint64_t tile, Inst* i) {
  const auto& m = i->As<isa::Mma>();
  const auto bad = BadInput(m, tile, Banks(c, m.in_bank, m.in_banks));
  // In one cycle the input comes before residual and output.
  if (!bad || (i->violation && i->violation_at == tile && i->violation_vector < bad->vector))
    return;
  i->violation = true;
  i->violation_at = tile;
  i->violation_vector = bad->vector;
  i->violation_address = bad->address;
}

bool ColumnShape::Applies(const isa::Win& w) {
  if (w.kh > 5 || w.kw > 5 || w.kh * w.kw == 1) return false;
  if (w.stride_y > 2 || w.stride_y > w.kh || w.stride_x > w.kw) return false;
  if ((w.dil_y != 1 && w.kh != 1) || (w.dil_x != 1 && w.kw != 1)) return false;
  // Row by row down a column gives the rows of the next output row too.
  const auto row = static_cast<uint32_t>(w.in_ky_step);
  return static_cast<uint32_t>(w.in_oy_step) ==
         (w.stride_y == 1 ? row : Advance(row, row, w.in_wrap));
}

uint64_t ColumnShape::Cycles(int blocks) const {
  // Of a block: full groups, then the smaller one, if any. Each begins with the results of the one
  // before.
  const int whole = mh / full;
  const int rest = mh % full;
  const int first = whole > 0 ? full : rest;
  const int last = rest > 0 ? rest : full;
  int64_t inner = 0;  // groups of a block behind its first
  if (whole > 1) inner += int64_t{whole - 1} * Group(full, full);
  if (whole > 0 && rest > 0) inner += Group(rest, full);
  return static_cast<uint64_t>(Group(first, 0) + int64_t{blocks - 1} * Group(first, last) +
                               int64_t{blocks} * inner + int64_t{cycles} * last);
}

BurstCursor::BurstCursor(uint32_t offset, uint64_t bytes)
    : row_bytes_(bytes),
      plane_offset_(offset),
      row_offset_(offset),
      rows_left_(1),
      planes_left_(1) {
  StartRow();
}

BurstCursor::BurstCursor(uint32_t offset, uint32_t row_bytes, uint32_t rows, uint32_t planes,
                         uint32_t stride1, uint32_t stride2)
    : row_bytes_(row_bytes),
      rows_(rows),
      stride1_(stride1),
      stride2_(stride2),
      plane_offset_(offset),
      row_offset_(offset),
      rows_left_(rows),
      planes_left_(planes) {
  StartRow();
}

void BurstCursor::StartRow() {
  offset_ = row_offset_;
  bytes_left_ = row_bytes_;
}

void BurstCursor::Next() {
  const uint32_t taken = bytes();
  offset_ += taken;
  bytes_left_ -= taken;
  if (bytes_left_ > 0) return;
  if (--rows_left_ > 0) {
    row_offset_ += stride1_;
  } else {
    if (--planes_left_ == 0) return;
    rows_left_ = rows_;
    plane_offset_ += stride2_;
    row_offset_ = plane_offset_;
  }
  StartRow();
}

void Prepare(const isa::Instruction& instruction, const sim::CoreConfig& c, Inst* i) {
  i->op = *isa::Decode(instruction);
  i->header = isa::HeaderOf(i->op);
  i->opcode = static_cast<isa::Opcode>(isa::OpcodeBits(instruction));
  i->queue = static_cast<int>(isa::QueueOf(instruction));
  switch (i->opcode) {
    case isa::Opcode::kLdp:
      return PrepareLdp(i->As<isa::Ldp>(), c, i);
    case isa::Opcode::kLdw: {
      const auto& w = i->As<isa::Ldw>();
      i->region = w.region;
      i->operand_fault = w.offset % c.n != 0;
      i->bursts = BurstCursor(w.offset, uint64_t(w.tiles) * c.n * c.n);
      return;
    }
    case isa::Opcode::kLda:
      return PrepareDma(i->As<isa::Lda>(), c, kActWrite, i);
    case isa::Opcode::kSta: {
      // The same fields in the same order (isa.yml), so one description serves both.
      const auto& s = i->As<isa::Sta>();
      isa::Lda d;
      d.region = s.region;
      d.offset = s.offset;
      d.mem_stride1 = s.mem_stride1;
      d.mem_stride2 = s.mem_stride2;
      d.n0 = s.n0;
      d.n1 = s.n1;
      d.n2 = s.n2;
      d.buf_addr = s.buf_addr;
      d.buf_row0 = s.buf_row0;
      d.buf_stride1 = s.buf_stride1;
      d.buf_wrap = s.buf_wrap;
      d.buf_stride2 = s.buf_stride2;
      d.buf_bank = s.buf_bank;
      d.buf_banks = s.buf_banks;
      return PrepareDma(d, c, kStoRead, i);
    }
    case isa::Opcode::kMma:
      return PrepareMma(i->As<isa::Mma>(), c, i);
    case isa::Opcode::kWin:
      return PrepareWin(i->As<isa::Win>(), c, i);
    case isa::Opcode::kElt:
      return PrepareElt(i->As<isa::Elt>(), c, i);
    case isa::Opcode::kPack:
      return PreparePack(i->As<isa::Pack>(), c, i);
    case isa::Opcode::kEnd:
    case isa::Opcode::kSync:
      return;
  }
}

}  // namespace octile::systemc
