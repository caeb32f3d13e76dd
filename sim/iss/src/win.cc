// WIN: out[cb][oy][ox] over the kh*kw taps of channel block cb, each lane by itself.
#include <algorithm>
#include <cstring>

#include "semantics.h"

namespace octile::sim::iss {
namespace {

constexpr auto kSets = isa::LdpTarget::kVecSet;

// Weights of a channel block as [tap][lane], minus their zero point: a row of VEC_WEIGHT holds four
// taps, tap 4i in byte 0 of each lane's word. SUM: ones, whatever the memory holds.
std::vector<int16_t> Weights(const Machine& m, const isa::Win& op, int block) {
  const int taps = op.kh * op.kw;
  std::vector<int16_t> w(static_cast<size_t>(taps) * m.n, 1);
  if (op.mode != isa::WinMode::kDepthwise) return w;
  const int first_row = op.wrow + block * ((taps + 3) / 4);
  const int zw = Code(op.zw, op.w_signed);
  for (int tap = 0; tap < taps; ++tap) {
    const uint8_t* row =
        m.Entry(isa::LdpTarget::kVecWeight, static_cast<uint32_t>(first_row + tap / 4));
    for (uint32_t lane = 0; lane < m.n; ++lane)
      w[static_cast<size_t>(tap) * m.n + lane] =
          static_cast<int16_t>(Code(row[4 * lane + tap % 4], op.w_signed) - zw);
  }
  return w;
}

// DEPTHWISE and SUM: acc = sum (x - zx) * w + bias (N1, N8), N3, clamp. Padding contributes 0.
void Accumulate(Machine& m, const isa::Win& op, int block, const std::vector<const uint8_t*>& taps,
                const std::vector<int16_t>& weights, uint8_t* y) {
  std::vector<int16_t>& x = m.scratch.operands;
  x.resize(taps.size() * m.n);
  std::vector<const int16_t*>& rows = m.scratch.rows;
  rows.resize(taps.size());
  const int zx = Code(op.zx, op.x_signed);
  for (size_t t = 0; t < taps.size(); ++t) {
    int16_t* row = &x[t * m.n];
    rows[t] = row;
    if (taps[t] == nullptr) {
      std::fill_n(row, m.n, int16_t{0});
    } else if (op.x_signed) {
      numerics::bulk::WidenS8(reinterpret_cast<const int8_t*>(taps[t]), m.n, zx, row);
    } else {
      numerics::bulk::WidenU8(taps[t], m.n, zx, row);
    }
  }
  int32_t acc[64] = {};
  numerics::bulk::DepthwiseI16(rows.data(), taps.size(), weights.data(), m.n, acc);
  const auto set = static_cast<uint32_t>(op.pset + (op.pset_shared ? 0 : block));
  int32_t sum[64];
  AddBias(m, kSets, set, acc, sum);
  RequantizeVector(m, kSets, set, sum, Code(op.zy, op.y_signed),
                   ClampRange(op.lo, op.hi, op.y_signed), y);
}

// MAX: the greatest code of the taps inside the image, the lowest code if there is none; clamp
// (N8).
void Maximum(const Machine& m, const isa::Win& op, const std::vector<const uint8_t*>& taps,
             uint8_t* y) {
  const auto range = ClampRange(op.lo, op.hi, op.x_signed);
  for (uint32_t lane = 0; lane < m.n; ++lane) {
    int best = TypeOf(op.x_signed).lo;
    for (const uint8_t* tap : taps)
      if (tap != nullptr) best = std::max(best, Code(tap[lane], op.x_signed));
    y[lane] = static_cast<uint8_t>(std::min(std::max(best, range.lo), range.hi));
  }
}

}  // namespace

MaybeTrap ReadWin(Machine& m, const isa::Win& op, Work& work) {
  const Claim in = m.ClaimOf(op.in_bank, op.in_banks);
  const Claim out = m.ClaimOf(op.out_bank, op.out_banks);
  std::vector<const uint8_t*> taps(static_cast<size_t>(op.kh * op.kw));
  for (int block = 0; block < op.blocks; ++block) {
    const std::vector<int16_t> weights = Weights(m, op, block);
    RowPointer in_row(op.in_row0, op.in_wrap);
    RowPointer out_row(op.out_row0, op.out_wrap);
    for (int oy = 0; oy < op.mh; ++oy) {
      for (int ox = 0; ox < op.mw; ++ox) {
        RowPointer tap_row = in_row;
        for (int ky = 0; ky < op.kh; ++ky) {
          const int iy = op.iy0 + oy * op.stride_y + ky * op.dil_y;
          for (int kx = 0; kx < op.kw; ++kx) {
            const int ix = op.ix0 + ox * op.stride_x + kx * op.dil_x;
            const uint8_t*& tap = taps[static_cast<size_t>(ky * op.kw + kx)];
            tap = nullptr;  // padding
            if (iy < 0 || iy >= op.in_h || ix < 0 || ix >= op.in_w) continue;
            const uint32_t address = Wrap16(int64_t{op.in_addr} + tap_row.value() +
                                            int64_t{block} * op.in_blk_stride + ix);
            OCTILE_ISS_RETURN_IF_TRAP(m.Check(in, address));
            tap = m.Vector(address);
          }
          tap_row.Step(op.in_ky_step);
        }
        const uint32_t address = Wrap16(int64_t{op.out_addr} + out_row.value() +
                                        int64_t{block} * op.out_blk_stride + ox);
        OCTILE_ISS_RETURN_IF_TRAP(m.Check(out, address));
        uint8_t y[64];
        if (op.mode == isa::WinMode::kMax) {
          Maximum(m, op, taps, y);
        } else {
          Accumulate(m, op, block, taps, weights, y);
        }
        if (op.table)
          MapVector(m, isa::LdpTarget::kVecTable, static_cast<uint32_t>(op.table_slot), y);  // N5
        work.vectors.addresses.push_back(address);
        work.vectors.data.insert(work.vectors.data.end(), y, y + m.n);
      }
      in_row.Step(op.in_oy_step);
      out_row.Step(op.out_row_step);
    }
  }
  return std::nullopt;
}

}  // namespace octile::sim::iss
