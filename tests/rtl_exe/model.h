// A plain model of the matrix unit: results by the rules of docs/numerics.md (N1, N3, N5, N6) in
// fp32, timing by docs/timing.md section 7 from the cycles in which instructions were issued and
// weight beats delivered. Written apart from the library and the simulators.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include "octile/isa/isa.h"

namespace octile::rtl_exe {

using Rng = std::mt19937_64;

struct Config {
  int n, weight_rows, ring_tiles, acc_depth, psets, bank_depth, banks;
};

struct Tile {
  std::vector<uint8_t> rows;  // N*N bytes, row r, column c at r*N + c
  uint8_t zw = 0;
  bool w_signed = false;
};

// The contents of the parameter memories and of the accumulators.
struct Params {
  explicit Params(const Config& c);
  std::vector<std::vector<int32_t>> bias;   // [pset][lane]
  std::vector<std::vector<uint32_t>> mult;  // fp32 bits
  std::array<std::array<uint8_t, 256>, 4> table{};
  std::array<std::array<uint32_t, 3>, 16> constant{};
  std::vector<std::vector<int32_t>> acc;  // [address][lane]
};

struct Write {
  int64_t cycle;
  uint16_t addr;
  uint32_t index;
  std::vector<uint8_t> data;
  bool operator==(const Write&) const = default;
};
struct Read {
  int64_t cycle;
  uint16_t addr;
  bool operator==(const Read&) const = default;
};
struct ClaimFault {
  int64_t cycle = -1;  // none
  uint16_t addr = 0;
  uint32_t index = 0;
  bool operator==(const ClaimFault&) const = default;
};

// A stream of instructions and the tiles they take from the ring.
struct Episode {
  std::vector<isa::Mma> instructions;
  std::vector<Tile> tiles;
};

// One cycle's view of the unit.
struct CycleState {
  bool ready, active, busy, stuck, start, free, done, vec, weight, slot;
  bool operator==(const CycleState&) const = default;
};

struct Expected {
  std::vector<CycleState> cycles;
  std::vector<Write> writes;
  std::vector<Read> input_reads, residual_reads;
  ClaimFault fault;  // the first; what follows it is not to be compared
};

// Addresses of the vectors, in order: ky, kx, block, oy, ox.
struct Position {
  uint16_t in;
  bool pad;
  uint16_t out, res;
};
std::vector<Position> Walk(const isa::Mma& op);
inline int Tiles(const isa::Mma& op) { return op.kh * op.kw * op.blocks; }

// issue[i]: cycle in which instruction i issued, arrive[k]: cycle in which the last beat of tile k
// was given. Both may be shorter than the episode: what is missing did not happen before `end`.
// `params` is updated (accumulators).
Expected Predict(const Config& config, const Episode& episode, const std::vector<int64_t>& issue,
                 const std::vector<int64_t>& arrive, const std::vector<uint8_t>& input,
                 const std::vector<uint8_t>& residual, int64_t end, Params* params);

// Random streams. `break_claims`: some instruction's claims do not cover what it touches.
Episode RandomEpisode(const Config& config, Rng* rng, int count, bool break_claims);
void RandomParams(const Config& config, Rng* rng, Params* params);

}  // namespace octile::rtl_exe
