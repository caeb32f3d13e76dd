// ELT: out[cb][y][x] = f(a[cb][y][x], b[cb][y][x]), or of a alone.
#include <algorithm>
#include <cstring>
#include <optional>

#include "octile/numerics/constants.h"
#include "octile/numerics/hw.h"
#include "semantics.h"

namespace octile::sim::iss {
namespace {

constexpr auto kConstants = isa::LdpTarget::kVecConst;

// c1 holds zc as an fp32 number whose value is a code: then the vector kernel takes it.
std::optional<int> ZeroPoint(uint32_t bits) {
  const float value = numerics::BitsFloat(bits);
  if (!(value >= -128.0f && value <= 255.0f)) return std::nullopt;
  const int code = static_cast<int>(value);
  if (static_cast<float>(code) != value) return std::nullopt;
  return code;
}

bool SupportedRatio(uint32_t bits) {
  return bits == 0 ||
         (bits >= numerics::FloatBits(0x1p-40f) && bits <= numerics::FloatBits(0x1p20f));
}

// N7: y = sat(RN(fl(fl(p*r) + zc))), p = (a - za)(b - zb).
void Multiply(const Machine& m, const isa::Elt& op, const uint8_t* a, const uint8_t* b,
              uint8_t* y) {
  const auto slot = static_cast<uint32_t>(op.const_slot);
  const uint32_t r = m.Word(kConstants, slot, 0);
  const uint32_t zc_bits = m.Word(kConstants, slot, 1);
  const auto zc = ZeroPoint(zc_bits);
  const int za = Code(op.za, op.a_signed);
  const int zb = Code(op.zb, op.b_signed);
  const auto range = ClampRange(op.lo, op.hi, op.out_signed);
  if (SupportedRatio(r) && zc) {
    numerics::bulk::MulRow(a, TypeOf(op.a_signed), za, b, TypeOf(op.b_signed), zb, m.n,
                           numerics::BitsFloat(r), *zc, range, y);
    return;
  }
  for (uint32_t lane = 0; lane < m.n; ++lane) {
    const int32_t p = (Code(a[lane], op.a_signed) - za) * (Code(b[lane], op.b_signed) - zb);
    y[lane] = static_cast<uint8_t>(numerics::hw::MulF32(p, r, zc_bits, range.lo, range.hi));
  }
}

// N13: y = sat(RN(fma(q, A, F))), A and F of each lane from a set: offsets first, then factors.
void Affine(const Machine& m, const isa::Elt& op, int block, const uint8_t* q, uint8_t* y) {
  const uint8_t* entry = m.Entry(isa::LdpTarget::kVecSet,
                                 static_cast<uint32_t>(op.pset) + static_cast<uint32_t>(block));
  const auto range = ClampRange(op.lo, op.hi, op.out_signed);
  float offset[64];
  float factor[64];
  std::memcpy(offset, entry, 4 * m.n);
  std::memcpy(factor, entry + 4 * m.n, 4 * m.n);
  bool supported = true;
  for (uint32_t lane = 0; lane < m.n; ++lane)
    supported = supported && numerics::SupportedAffineConstants({factor[lane], offset[lane]});
  if (supported) {
    numerics::bulk::AffineRow(q, TypeOf(op.a_signed), m.n, factor, offset, range, y);
    return;
  }
  for (uint32_t lane = 0; lane < m.n; ++lane)
    y[lane] = static_cast<uint8_t>(
        numerics::hw::Affine(Code(q[lane], op.a_signed), numerics::FloatBits(factor[lane]),
                             numerics::FloatBits(offset[lane]), range.lo, range.hi));
}

void Compute(const Machine& m, const isa::Elt& op, int block, const uint8_t* a, const uint8_t* b,
             uint8_t* y) {
  switch (op.mode) {
    case isa::EltMode::kCopy:
      std::copy_n(a, m.n, y);  // no clamp
      break;
    case isa::EltMode::kAdd:
      AddVector(m, kConstants, static_cast<uint32_t>(op.const_slot), a, op.a_signed, b, op.b_signed,
                ClampRange(op.lo, op.hi, op.out_signed), y);  // N6
      break;
    case isa::EltMode::kMul:
      Multiply(m, op, a, b, y);
      break;
    case isa::EltMode::kAffine:
      Affine(m, op, block, a, y);
      break;
  }
  if (op.table)
    MapVector(m, isa::LdpTarget::kVecTable, static_cast<uint32_t>(op.table_slot), y);  // N5
}

}  // namespace

MaybeTrap ReadElt(Machine& m, const isa::Elt& op, Work& work) {
  const Claim claim_a = m.ClaimOf(op.in_bank, op.in_banks);
  const Claim claim_b = m.ClaimOf(op.b_bank, op.b_banks);
  const Claim claim_out = m.ClaimOf(op.out_bank, op.out_banks);
  const bool two = op.mode == isa::EltMode::kAdd || op.mode == isa::EltMode::kMul;
  for (int block = 0; block < op.blocks; ++block) {
    RowPointer a_row(op.a_row0, op.a_wrap);
    RowPointer b_row(op.b_row0, op.b_wrap);
    RowPointer out_row(op.out_row0, op.out_wrap);
    for (int y = 0; y < op.mh; ++y) {
      for (int x = 0; x < op.mw; ++x) {
        const uint32_t a = Wrap16(int64_t{op.a_addr} + a_row.value() +
                                  int64_t{block} * op.a_blk_stride + int64_t{x} * op.a_x_step);
        const uint32_t b = Wrap16(int64_t{op.b_addr} + b_row.value() +
                                  int64_t{block} * op.b_blk_stride + int64_t{x} * op.b_x_step);
        const uint32_t out =
            Wrap16(int64_t{op.out_addr} + out_row.value() + int64_t{block} * op.out_blk_stride +
                   int64_t{x} * op.out_x_step);
        OCTILE_ISS_RETURN_IF_TRAP(m.Check(claim_a, a));
        if (two) OCTILE_ISS_RETURN_IF_TRAP(m.Check(claim_b, b));
        OCTILE_ISS_RETURN_IF_TRAP(m.Check(claim_out, out));
        uint8_t result[64];
        Compute(m, op, block, m.Vector(a), two ? m.Vector(b) : nullptr, result);
        work.vectors.addresses.push_back(out);
        work.vectors.data.insert(work.vectors.data.end(), result, result + m.n);
      }
      a_row.Step(op.a_row_step);
      b_row.Step(op.b_row_step);
      out_row.Step(op.out_row_step);
    }
  }
  return std::nullopt;
}

}  // namespace octile::sim::iss
