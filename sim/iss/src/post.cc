// What follows the accumulators: bias, N3, N6, tables. The vector kernels equal the integer form
// (numerics/hw.h) for the constants that programs may use; for other bit patterns the integer form
// is the definition.
#include <algorithm>
#include <cstring>

#include "octile/numerics/constants.h"
#include "octile/numerics/hw.h"
#include "semantics.h"

namespace octile::sim::iss {
namespace {

bool SupportedMultiplier(uint32_t bits) {
  return bits == 0 || (bits >= numerics::FloatBits(0x1p-33f) && bits <= numerics::FloatBits(512.f));
}

}  // namespace

void AddBias(const Machine& m, isa::LdpTarget sets, uint32_t set, const int32_t* acc,
             int32_t* sum) {
  uint32_t bias[64];
  std::memcpy(bias, m.Entry(sets, set), 4 * m.n);
  for (uint32_t c = 0; c < m.n; ++c)
    sum[c] = static_cast<int32_t>(static_cast<uint32_t>(acc[c]) + bias[c]);
}

void RequantizeVector(const Machine& m, isa::LdpTarget sets, uint32_t set, const int32_t* acc,
                      int zy, numerics::CodeRange range, uint8_t* y) {
  uint32_t mult[64];
  std::memcpy(mult, m.Entry(sets, set) + 4 * m.n, 4 * m.n);
  if (std::all_of(mult, mult + m.n, SupportedMultiplier)) {
    numerics::bulk::RequantizeRow(acc, m.n, mult, 1, zy, range, y);
    return;
  }
  for (uint32_t c = 0; c < m.n; ++c)
    y[c] = static_cast<uint8_t>(numerics::hw::Requantize(acc[c], mult[c], zy, range.lo, range.hi));
}

void AddVector(const Machine& m, isa::LdpTarget constants, uint32_t slot, const uint8_t* a,
               bool a_signed, const uint8_t* b, bool b_signed, numerics::CodeRange range,
               uint8_t* y) {
  const uint32_t ra = m.Word(constants, slot, 0);
  const uint32_t rb = m.Word(constants, slot, 1);
  const uint32_t f = m.Word(constants, slot, 2);
  const numerics::AddConstants c{numerics::BitsFloat(ra), numerics::BitsFloat(rb),
                                 numerics::BitsFloat(f)};
  if (numerics::SupportedAddConstants(c)) {
    numerics::bulk::AddRow(a, TypeOf(a_signed), b, TypeOf(b_signed), m.n, c, range, y);
    return;
  }
  for (uint32_t l = 0; l < m.n; ++l)
    y[l] = static_cast<uint8_t>(numerics::hw::AddFma(Code(a[l], a_signed), Code(b[l], b_signed), ra,
                                                     rb, f, range.lo, range.hi));
}

void MapVector(const Machine& m, isa::LdpTarget tables, uint32_t slot, uint8_t* y) {
  numerics::bulk::TableRow(y, m.n, m.Entry(tables, slot), y);
}

}  // namespace octile::sim::iss
