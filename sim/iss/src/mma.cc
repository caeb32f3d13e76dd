// MMA: for every K tile (ky, kx, channel block), acc[m][c] += (x[m][r] - zx) * (w[r][c] - zw) over
// the rows r of the tile (N1), for all output positions m = oy*mw + ox. The last tile's sums may
// pass the post unit.
#include <algorithm>
#include <cstring>

#include "semantics.h"

namespace octile::sim::iss {
namespace {

constexpr auto kSets = isa::LdpTarget::kExeSet;
constexpr uint32_t kPadding = ~0u;

uint64_t TilesOf(const isa::Mma& op) {
  return static_cast<uint64_t>(op.kh) * static_cast<uint64_t>(op.kw) *
         static_cast<uint64_t>(op.blocks);
}

// Input vector of every output position for one tap and channel block; kPadding outside the image.
void InputAddresses(const isa::Mma& op, int ky, int kx, int block,
                    std::vector<uint32_t>* addresses) {
  addresses->resize(static_cast<size_t>(op.mh * op.mw));
  uint32_t* to = addresses->data();
  // Column ix = at + ox * stride lies inside the image for ox in [first, last).
  const int at = op.ix0 + kx * op.dil_x;
  const int stride = op.stride_x;
  const int mw = op.mw;
  const int first = at < 0 ? std::min(mw, (-at + stride - 1) / stride) : 0;
  const int last = at < op.in_w ? std::clamp((op.in_w - 1 - at) / stride + 1, first, mw) : first;
  RowPointer row(op.in_row0, op.in_wrap);
  for (int oy = 0; oy < op.mh; ++oy) {
    RowPointer tap = row;
    for (int k = 0; k < ky; ++k) tap.Step(op.in_ky_step);
    const int iy = op.iy0 + oy * op.stride_y + ky * op.dil_y;
    const int64_t base = int64_t{op.in_addr} + tap.value() + int64_t{block} * op.in_blk_stride;
    const bool inside = iy >= 0 && iy < op.in_h;
    const int from = inside ? first : mw;
    const int end = inside ? last : mw;
    const auto column0 = static_cast<uint32_t>(base + at);
    std::fill(to, to + from, kPadding);
    for (int ox = from; ox < end; ++ox)
      to[ox] = (column0 + static_cast<uint32_t>(ox * stride)) & 0xffff;
    std::fill(to + end, to + mw, kPadding);
    to += mw;
    row.Step(op.in_oy_step);
  }
}

// First vector of every output position in the residual or result stream, whose positions are
// `width` vectors apart.
std::vector<uint32_t> StreamAddresses(const isa::Mma& op, int addr, RowPointer row, int row_step,
                                      int width) {
  std::vector<uint32_t> addresses;
  addresses.reserve(static_cast<size_t>(op.mh * op.mw));
  for (int oy = 0; oy < op.mh; ++oy) {
    for (int ox = 0; ox < op.mw; ++ox)
      addresses.push_back(Wrap16(int64_t{addr} + row.value() + int64_t{width} * ox));
    row.Step(row_step);
  }
  return addresses;
}

// acc += x * w for one tile.
void MultiplyTile(Machine& m, const isa::Mma& op, const std::vector<uint32_t>& inputs,
                  const Tile& tile, bool overwrite) {
  const size_t n = m.n;
  std::vector<int16_t>& x = m.scratch.operands;
  x.resize(inputs.size() * n);
  const int zx = Code(op.zx, op.x_signed);
  for (size_t i = 0; i < inputs.size();) {
    size_t count = 1;
    if (inputs[i] == kPadding) {
      while (i + count < inputs.size() && inputs[i + count] == kPadding) ++count;
      std::fill_n(&x[i * n], count * n, int16_t{0});
      i += count;
      continue;
    }
    while (i + count < inputs.size() && inputs[i + count] == inputs[i] + count) ++count;
    const uint8_t* codes = m.Vector(inputs[i]);
    if (op.x_signed) {
      numerics::bulk::WidenS8(reinterpret_cast<const int8_t*>(codes), count * n, zx, &x[i * n]);
    } else {
      numerics::bulk::WidenU8(codes, count * n, zx, &x[i * n]);
    }
    i += count;
  }
  int32_t* acc = &m.accumulators[static_cast<size_t>(op.acc_base) * n];
  if (overwrite) std::fill_n(acc, inputs.size() * n, 0);
  numerics::bulk::GemmI16(x.data(), n, inputs.size(), tile.weights, acc, n);
}

// The post unit for one position whose accumulators include the bias: N3; clamp; N5; N6 with the
// residual; clamp. The clamp comes where the final result appears, so a convolution with a residual
// is only saturated to its type by N3.
void PostVector(Machine& m, const isa::Mma& op, const int32_t* sum, const uint8_t* residual,
                uint8_t* y) {
  const int zy = Code(op.zy, op.y_signed);
  const auto set = static_cast<uint32_t>(op.pset);
  const auto range = op.residual ? TypeOf(op.y_signed) : ClampRange(op.lo, op.hi, op.y_signed);
  RequantizeVector(m, kSets, set, sum, zy, range, y);
  if (op.table) MapVector(m, isa::LdpTarget::kExeTable, static_cast<uint32_t>(op.table_slot), y);
  if (!op.residual) return;
  const bool y_signed = op.table ? op.t_signed : op.y_signed;
  const auto final_range = ClampRange(op.lo, op.hi, op.out_signed);
  const auto slot = static_cast<uint32_t>(op.const_slot);
  uint8_t result[64];
  if (op.res_is_a) {
    AddVector(m, isa::LdpTarget::kExeConst, slot, residual, op.res_signed, y, y_signed, final_range,
              result);
  } else {
    AddVector(m, isa::LdpTarget::kExeConst, slot, y, y_signed, residual, op.res_signed, final_range,
              result);
  }
  std::copy_n(result, m.n, y);
}

// The last tile of an instruction with `emit`: address checks position by position, as the vectors
// enter the array.
MaybeTrap CheckEmit(const Machine& m, const isa::Mma& op, const std::vector<uint32_t>& inputs,
                    const std::vector<uint32_t>& residuals, const std::vector<uint32_t>& results) {
  const Claim in = m.ClaimOf(op.in_bank, op.in_banks);
  const Claim res = m.ClaimOf(op.b_bank, op.b_banks);
  const Claim out = m.ClaimOf(op.out_bank, op.out_banks);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] != kPadding) OCTILE_ISS_RETURN_IF_TRAP(m.Check(in, inputs[i]));
    if (op.residual) OCTILE_ISS_RETURN_IF_TRAP(m.Check(res, residuals[i]));
    for (int j = 0; j < (op.raw ? 4 : 1); ++j)
      OCTILE_ISS_RETURN_IF_TRAP(m.Check(out, Wrap16(int64_t{results[i]} + j)));
  }
  return std::nullopt;
}

MaybeTrap CheckInputs(const Machine& m, const isa::Mma& op, const std::vector<uint32_t>& inputs) {
  const Claim in = m.ClaimOf(op.in_bank, op.in_banks);
  // All at once; one by one only to find the first that is wrong.
  const uint32_t end = std::min(in.end, m.config.banks * m.config.bank_depth);
  uint32_t wrong = 0;
  for (const uint32_t address : inputs)
    wrong |= static_cast<uint32_t>(address != kPadding) &
             (static_cast<uint32_t>(address < in.first) | static_cast<uint32_t>(address >= end));
  if (wrong == 0) return std::nullopt;
  for (uint32_t address : inputs)
    if (address != kPadding) OCTILE_ISS_RETURN_IF_TRAP(m.Check(in, address));
  return std::nullopt;
}

void Emit(Machine& m, const isa::Mma& op, const std::vector<uint32_t>& residuals,
          const std::vector<uint32_t>& results, VectorWrites* writes) {
  const size_t n = m.n;
  const size_t vectors = op.raw ? 4 : 1;
  writes->data.resize(results.size() * vectors * n);
  writes->addresses.reserve(results.size() * vectors);
  uint8_t* to = writes->data.data();
  for (size_t i = 0; i < results.size(); ++i) {
    const int32_t* acc = &m.accumulators[(static_cast<size_t>(op.acc_base) + i) * n];
    int32_t sum[64];
    AddBias(m, kSets, static_cast<uint32_t>(op.pset), acc, sum);
    if (op.raw) {
      std::memcpy(to, sum, 4 * n);  // vector j: lanes j*N/4 .. (j+1)*N/4 - 1, little-endian
    } else {
      PostVector(m, op, sum, op.residual ? m.Vector(residuals[i]) : nullptr, to);
    }
    for (size_t j = 0; j < vectors; ++j)
      writes->addresses.push_back(Wrap16(int64_t{results[i]} + static_cast<int64_t>(j)));
    to += vectors * n;
  }
}

}  // namespace

bool CanReadMma(const Machine& m) { return m.cursor < m.ring.size(); }

bool DoneMma(const isa::Mma& op, const Work& work) { return work.done == TilesOf(op); }

MaybeTrap ReadMma(Machine& m, const isa::Mma& op, Work& work) {
  while (!DoneMma(op, work) && CanReadMma(m)) {
    const auto tile = static_cast<int>(work.done);
    const int block = tile % op.blocks;
    const int kx = tile / op.blocks % op.kw;
    const int ky = tile / op.blocks / op.kw;
    const bool last = work.done + 1 == TilesOf(op);
    std::vector<uint32_t>& inputs = m.scratch.inputs;
    InputAddresses(op, ky, kx, block, &inputs);
    std::vector<uint32_t> residuals, results;
    if (last && op.emit) {
      if (op.residual)
        residuals = StreamAddresses(op, op.res_addr, RowPointer(op.res_row0, op.res_wrap),
                                    op.res_row_step, 1);
      results = StreamAddresses(op, op.out_addr, RowPointer(op.out_row0, op.out_wrap),
                                op.out_row_step, op.raw ? 4 : 1);
      OCTILE_ISS_RETURN_IF_TRAP(CheckEmit(m, op, inputs, residuals, results));
    } else {
      OCTILE_ISS_RETURN_IF_TRAP(CheckInputs(m, op, inputs));
    }
    MultiplyTile(m, op, inputs, m.ring[m.cursor], op.init && tile == 0);
    ++m.tile_starts;
    ++work.done;
    if (op.retain) {
      m.cursor = last ? 0 : m.cursor + 1;
    } else {
      m.ring.pop_front();
    }
    if (last && op.emit) Emit(m, op, residuals, results, &work.vectors);
  }
  return std::nullopt;
}

}  // namespace octile::sim::iss
