// What the vector unit must do, written from docs/isa.md, docs/timing.md section 8 and
// docs/numerics.md: for one instruction every buffer read and write with its cycle, the claim fault
// if there is one, and the cycle of completion. Plain loops and fp32 formulas; nothing is shared
// with the hardware description.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "octile/isa/isa.h"

namespace octile::rtl_vec {

struct Config {
  int n = 16;
  int psets = 32;
  int wrows = 64;
  int banks = 8;
  int bank_depth = 256;
  int Vectors() const { return banks * bank_depth; }
};

using Vector = std::vector<uint8_t>;  // n bytes

// The unit's parameter memories; all zero after a soft reset.
struct Parameters {
  explicit Parameters(const Config& config);

  std::vector<std::vector<int32_t>> bias;     // [set][lane]
  std::vector<std::vector<uint32_t>> mult;    // [set][lane], fp32 bits
  std::vector<std::vector<uint32_t>> weight;  // [row][lane], four taps
  std::array<std::array<uint32_t, 3>, 16> constant{};
  std::array<std::array<uint8_t, 256>, 4> table{};
};

struct Event {
  uint16_t address = 0;
  Vector data;  // writes only
};

// Cycles are relative to the issue (cycle 0).
struct Expected {
  std::map<int64_t, uint16_t> reads_a;
  std::map<int64_t, uint16_t> reads_b;
  std::map<int64_t, Event> writes;
  int64_t read_cycles = 0;  // R: the read phase is 1..R
  int64_t done = 0;
  std::optional<int64_t> fault;  // cycle of CLAIM; later reads and writes do not happen
  uint16_t fault_address = 0;
  // For the coverage of the test.
  bool columns = false;  // WIN by columns
  int64_t padding_taps = 0;
  int64_t wraps = 0;
};

// Runs the instruction on the buffer (Vectors() vectors), which is left as the unit leaves it.
// `freeze`: the last cycle in which anything happens, because of a fault elsewhere.
Expected Run(const Config& config, const Parameters& parameters, const isa::Operation& op,
             std::vector<Vector>& buffer, std::optional<int64_t> freeze = std::nullopt);

}  // namespace octile::rtl_vec
