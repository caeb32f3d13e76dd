#include "accesses.h"

#include <algorithm>
#include <set>

namespace octile::codegen {
namespace {

int32_t Wrap16(int64_t address) { return static_cast<int32_t>(address & 0xffff); }

int32_t Step(int32_t pointer, int32_t step, int32_t wrap) {
  const int32_t next = pointer + step;
  if (wrap != 0 && next >= wrap) return next - wrap;
  return next & 0xffff;
}

// The rows that a window instruction reads, each once: pointer and whether it holds anything inside
// the image.
template <class T>
void WindowReads(const T& op, std::vector<Span>& spans) {
  int x_min = op.in_w;
  int x_max = -1;
  for (int kx = 0; kx < op.kw; ++kx) {
    // First and last inside column of this tap.
    for (int ox = 0; ox < op.mw; ++ox) {
      const int ix = op.ix0 + ox * op.stride_x + kx * op.dil_x;
      if (ix >= 0 && ix < op.in_w) {
        x_min = std::min(x_min, ix);
        break;
      }
    }
    for (int ox = op.mw - 1; ox >= 0; --ox) {
      const int ix = op.ix0 + ox * op.stride_x + kx * op.dil_x;
      if (ix >= 0 && ix < op.in_w) {
        x_max = std::max(x_max, ix);
        break;
      }
    }
  }
  if (x_max < x_min) return;
  std::set<int32_t> rows;
  int32_t ky_pointer = op.in_row0;
  for (int ky = 0; ky < op.kh; ++ky) {
    int32_t pointer = ky_pointer;
    for (int oy = 0; oy < op.mh; ++oy) {
      const int iy = op.iy0 + oy * op.stride_y + ky * op.dil_y;
      if (iy >= 0 && iy < op.in_h) rows.insert(pointer);
      pointer = Step(pointer, op.in_oy_step, op.in_wrap);
    }
    ky_pointer = Step(ky_pointer, op.in_ky_step, op.in_wrap);
  }
  for (int block = 0; block < op.blocks; ++block) {
    for (const int32_t pointer : rows) {
      spans.push_back(
          {Wrap16(int64_t{op.in_addr} + int64_t{block} * op.in_blk_stride + pointer + x_min),
           x_max - x_min + 1});
    }
  }
}

void StreamSpans(std::vector<Span>& spans, int rows, int columns, int blocks, int addr, int row0,
                 int row_step, int wrap, int blk_stride, int x_step, int width) {
  for (int block = 0; block < blocks; ++block) {
    int32_t pointer = row0;
    for (int y = 0; y < rows; ++y) {
      const int64_t base = int64_t{addr} + int64_t{block} * blk_stride + pointer;
      if (x_step <= width) {
        spans.push_back({Wrap16(base), (columns - 1) * x_step + width});
      } else {
        for (int x = 0; x < columns; ++x)
          spans.push_back({Wrap16(base + int64_t{x} * x_step), width});
      }
      pointer = Step(pointer, row_step, wrap);
    }
  }
}

template <class T>
void Memory(const T& op, Accesses& accesses, const ArchConfig& arch) {
  for (int plane = 0; plane < op.n2; ++plane) {
    for (int row = 0; row < op.n1; ++row) {
      const int64_t begin =
          int64_t{op.offset} + int64_t{plane} * op.mem_stride2 + int64_t{row} * op.mem_stride1;
      accesses.memory.push_back({op.region, begin, begin + int64_t{op.n0} * arch.n});
    }
  }
}

struct Collector {
  const ArchConfig& arch;
  Accesses& accesses;

  void operator()(const isa::End&) const {}
  void operator()(const isa::Sync&) const {}
  void operator()(const isa::Ldp& op) const {
    accesses.parameters.push_back({op.target, op.index, op.count});
    accesses.parameter_write = true;
  }
  void operator()(const isa::Ldw&) const {}
  void operator()(const isa::Lda& op) const {
    Memory(op, accesses, arch);
    StreamSpans(accesses.write, op.n1, op.n0, op.n2, op.buf_addr, op.buf_row0, op.buf_stride1,
                op.buf_wrap, op.buf_stride2, 1, 1);
  }
  void operator()(const isa::Sta& op) const {
    Memory(op, accesses, arch);
    accesses.memory_write = true;
    StreamSpans(accesses.read_a, op.n1, op.n0, op.n2, op.buf_addr, op.buf_row0, op.buf_stride1,
                op.buf_wrap, op.buf_stride2, 1, 1);
  }
  void operator()(const isa::Mma& op) const {
    WindowReads(op, accesses.read_a);
    if (!op.emit) return;
    const int width = op.raw ? 4 : 1;
    StreamSpans(accesses.write, op.mh, op.mw, 1, op.out_addr, op.out_row0, op.out_row_step,
                op.out_wrap, 0, width, width);
    accesses.parameters.push_back({isa::LdpTarget::kExeSet, op.pset, 1});
    if (op.table) accesses.parameters.push_back({isa::LdpTarget::kExeTable, op.table_slot, 1});
    if (op.residual) {
      accesses.parameters.push_back({isa::LdpTarget::kExeConst, op.const_slot, 1});
      StreamSpans(accesses.read_b, op.mh, op.mw, 1, op.res_addr, op.res_row0, op.res_row_step,
                  op.res_wrap, 0, 1, 1);
    }
  }
  void operator()(const isa::Win& op) const {
    WindowReads(op, accesses.read_a);
    StreamSpans(accesses.write, op.mh, op.mw, op.blocks, op.out_addr, op.out_row0, op.out_row_step,
                op.out_wrap, op.out_blk_stride, 1, 1);
    if (op.mode != isa::WinMode::kMax) {
      accesses.parameters.push_back(
          {isa::LdpTarget::kVecSet, op.pset, op.pset_shared ? 1 : op.blocks});
    }
    if (op.mode == isa::WinMode::kDepthwise) {
      accesses.parameters.push_back(
          {isa::LdpTarget::kVecWeight, op.wrow, op.blocks * ((op.kh * op.kw + 3) / 4)});
    }
    if (op.table) accesses.parameters.push_back({isa::LdpTarget::kVecTable, op.table_slot, 1});
  }
  void operator()(const isa::Elt& op) const {
    StreamSpans(accesses.read_a, op.mh, op.mw, op.blocks, op.a_addr, op.a_row0, op.a_row_step,
                op.a_wrap, op.a_blk_stride, op.a_x_step, 1);
    if (op.mode == isa::EltMode::kAffine)
      accesses.parameters.push_back({isa::LdpTarget::kVecSet, op.pset, op.blocks});
    if (op.mode == isa::EltMode::kAdd || op.mode == isa::EltMode::kMul) {
      StreamSpans(accesses.read_b, op.mh, op.mw, op.blocks, op.b_addr, op.b_row0, op.b_row_step,
                  op.b_wrap, op.b_blk_stride, op.b_x_step, 1);
      accesses.parameters.push_back({isa::LdpTarget::kVecConst, op.const_slot, 1});
    }
    StreamSpans(accesses.write, op.mh, op.mw, op.blocks, op.out_addr, op.out_row0, op.out_row_step,
                op.out_wrap, op.out_blk_stride, op.out_x_step, 1);
    if (op.table) accesses.parameters.push_back({isa::LdpTarget::kVecTable, op.table_slot, 1});
  }
  void operator()(const isa::Pack& op) const {
    // Whole rows of every plane that the windows reach.
    const int first = std::clamp(op.iy0, 0, op.in_h - 1);
    const int last = std::clamp(op.iy0 + (op.mh - 1) * op.stride_y + op.kh - 1, 0, op.in_h - 1);
    for (int plane = 0; plane < op.planes; ++plane) {
      const int64_t byte = int64_t{arch.n} * (op.in_addr + int64_t{plane} * op.in_blk_stride) +
                           ((op.in_off + plane * op.in_off_step) % arch.n) +
                           int64_t{first} * op.in_pitch;
      const int64_t end = byte + int64_t{last - first} * op.in_pitch + op.in_w;
      accesses.read_a.push_back(
          {static_cast<int32_t>(byte / arch.n),
           static_cast<int32_t>((end + arch.n - 1) / arch.n - byte / arch.n)});
    }
    const int lanes = op.kh * op.kw * op.planes;
    StreamSpans(accesses.write, op.mh, op.mw, (lanes + arch.n - 1) / arch.n, op.out_addr,
                op.out_row0, op.out_row_step, op.out_wrap, op.out_blk_stride, 1, 1);
  }
};

void Claim(const std::vector<Span>& spans, const ArchConfig& arch, int32_t& bank, int32_t& banks) {
  const BankRange range = BanksOf(spans, arch);
  if (range.first > range.last) return;
  bank = range.first;
  banks = range.last - range.first;
}

}  // namespace

Accesses AccessesOf(const isa::Operation& op, const ArchConfig& arch) {
  Accesses accesses;
  std::visit(Collector{arch, accesses}, op);
  return accesses;
}

BankRange BanksOf(const std::vector<Span>& spans, const ArchConfig& arch) {
  BankRange range;
  if (spans.empty()) return range;
  int32_t low = spans[0].begin;
  int32_t high = 0;
  for (const Span& span : spans) {
    low = std::min(low, span.begin);
    high = std::max(high, span.begin + span.length - 1);
  }
  return {low / arch.bank_depth, high / arch.bank_depth};
}

void SetClaims(isa::Operation& op, const Accesses& accesses, const ArchConfig& arch) {
  std::visit(
      [&](auto& i) {
        using T = std::decay_t<decltype(i)>;
        if constexpr (std::is_same_v<T, isa::Lda>) {
          Claim(accesses.write, arch, i.buf_bank, i.buf_banks);
        } else if constexpr (std::is_same_v<T, isa::Sta>) {
          Claim(accesses.read_a, arch, i.buf_bank, i.buf_banks);
        } else if constexpr (std::is_same_v<T, isa::Mma> || std::is_same_v<T, isa::Win> ||
                             std::is_same_v<T, isa::Elt> || std::is_same_v<T, isa::Pack>) {
          Claim(accesses.read_a, arch, i.in_bank, i.in_banks);
          Claim(accesses.write, arch, i.out_bank, i.out_banks);
          if constexpr (std::is_same_v<T, isa::Mma> || std::is_same_v<T, isa::Elt>) {
            Claim(accesses.read_b, arch, i.b_bank, i.b_banks);
          }
        }
      },
      op);
}

}  // namespace octile::codegen
