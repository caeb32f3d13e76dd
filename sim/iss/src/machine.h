// The state that instructions act on, and access to it with the checks that hardware makes.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/numerics/bulk.h"
#include "octile/sim/device.h"

namespace octile::sim::iss {

// Why an instruction cannot go on; the address is what isa.md defines for the cause.
struct Trap {
  isa::Fault cause = isa::Fault::kNone;
  uint64_t address = 0;
};
using MaybeTrap = std::optional<Trap>;

#define OCTILE_ISS_RETURN_IF_TRAP(expression) \
  if (MaybeTrap trap_ = (expression)) return trap_

struct RegionState {
  uint64_t base = 0;
  uint32_t limit = 0;
  bool read = false;
  bool write = false;
  bool execute = false;
};

// The vectors that a stream may touch: banks bank .. bank + further.
struct Claim {
  uint32_t first = 0;
  uint32_t end = 0;
};

// A tile of the ring, its codes already minus the zero point.
struct Tile {
  numerics::bulk::PackedWeights weights;
};

// Vectors on their way to the activation buffer.
struct VectorWrites {
  std::vector<uint32_t> addresses;
  std::vector<uint8_t> data;  // N bytes each
};

// Bytes on their way to memory, burst by burst.
struct MemoryWrites {
  struct Burst {
    uint64_t address;
    uint32_t bytes;
  };
  std::vector<Burst> bursts;
  std::vector<uint8_t> data;
};

class Machine {
 public:
  explicit Machine(const CoreConfig& config);

  const CoreConfig config;
  const uint32_t n;

  // On-chip memories become zero, the ring empty.
  void Reset();
  // Counters of a job.
  void StartJob();

  // ---- activation buffer ----
  Claim ClaimOf(int bank, int further) const {
    return {static_cast<uint32_t>(bank) * config.bank_depth,
            static_cast<uint32_t>(bank + further + 1) * config.bank_depth};
  }
  // CLAIM: outside the claim or beyond the buffer.
  MaybeTrap Check(const Claim& claim, uint32_t address) const {
    if (address >= claim.first && address < claim.end && address < config.banks * config.bank_depth)
      return std::nullopt;
    return Trap{isa::Fault::kClaim, address};
  }
  // An address that passed the check.
  uint8_t* Vector(uint32_t address) { return &buffer_[size_t{address} * n]; }

  // ---- device memory ----
  // One burst. REGION, BUS_READ, BUS_WRITE.
  enum class Permission { kRead, kWrite, kExecute };
  MaybeTrap CheckRegion(int region, uint32_t offset, uint32_t bytes, Permission permission) const;
  MaybeTrap ReadBurst(Port port, int region, uint32_t offset, uint32_t bytes, uint8_t* to);
  MaybeTrap WriteBurst(uint64_t address, std::span<const uint8_t> data);
  uint64_t Address(int region, uint32_t offset) const { return regions[region].base + offset; }
  // Bytes from `offset` to the end of the burst: a row of `left` bytes is cut at every multiple of
  // 256 of the offset.
  static uint32_t BurstBytes(uint32_t offset, uint64_t left);
  // A whole row; appends to `to`.
  MaybeTrap ReadRow(Port port, int region, uint32_t offset, uint64_t bytes,
                    std::vector<uint8_t>* to);

  std::span<uint8_t> memory;
  std::array<RegionState, isa::kRegions> regions{};
  std::array<uint64_t, kPorts> bytes{};
  std::array<uint64_t, 2> inject{kNever, kNever};  // burst with an error, by direction

  // ---- weight ring ----
  uint64_t ring_capacity() const { return uint64_t{config.ring_tiles} * n * n; }
  uint64_t ring_free() const { return ring_capacity() - ring.size() * n * n - partial.size(); }
  std::deque<Tile> ring;
  std::vector<uint8_t> partial;  // bytes of a tile that is not complete
  size_t cursor = 0;             // tiles that a retaining instruction has gone past
  uint64_t tile_starts = 0;

  // ---- accumulators, parameter memories ----
  std::vector<int32_t> accumulators;  // acc_depth * N
  // By LdpTarget, in the form of memory.
  std::array<std::vector<uint8_t>, 7> parameters;
  uint32_t EntryBytes(isa::LdpTarget target) const {
    return entry_bytes_[static_cast<size_t>(target)];
  }
  // A 32-bit word of an entry.
  uint32_t Word(isa::LdpTarget target, uint32_t entry, uint32_t word) const {
    uint32_t value;
    std::memcpy(&value, Entry(target, entry) + 4 * size_t{word}, 4);
    return value;
  }
  const uint8_t* Entry(isa::LdpTarget target, uint32_t entry) const {
    return &parameters[static_cast<size_t>(target)][size_t{entry} * EntryBytes(target)];
  }

  // Of the instruction that is being computed; here so that its memory is kept.
  struct Scratch {
    std::vector<uint32_t> inputs;      // MMA: address of each position's input vector
    std::vector<int16_t> operands;     // MMA: the vectors of a tile; WIN: of a position's taps
    std::vector<const int16_t*> rows;  // WIN: where those of each tap begin
  };
  Scratch scratch;

 private:
  std::array<uint32_t, 7> entry_bytes_{};  // by LdpTarget
  std::vector<uint8_t> buffer_;
  std::array<uint64_t, 2> bursts_{};  // so far in this job, by direction
};

// A row pointer of a stream: a step is added, and the circular length subtracted once when the sum
// reaches it (17-bit compare).
class RowPointer {
 public:
  RowPointer(int32_t start, int32_t wrap)
      : value_(static_cast<uint32_t>(start)), wrap_(static_cast<uint32_t>(wrap)) {}
  void Step(int32_t step) {
    value_ += static_cast<uint32_t>(step);
    if (wrap_ != 0 && value_ >= wrap_) value_ -= wrap_;
    value_ &= 0xffff;
  }
  uint32_t value() const { return value_; }

 private:
  uint32_t value_;
  uint32_t wrap_;
};

// Buffer addresses are 16 bits; whatever they are composed of, only the sum counts.
inline uint32_t Wrap16(int64_t address) { return static_cast<uint32_t>(address & 0xffff); }

inline int Code(int byte, bool is_signed) {
  return is_signed ? static_cast<int8_t>(byte) : static_cast<uint8_t>(byte);
}
inline numerics::CodeRange TypeOf(bool is_signed) {
  return is_signed ? numerics::kS8 : numerics::kU8;
}
// Clamping to lo, then to hi: with lo above hi everything becomes hi.
inline numerics::CodeRange ClampRange(int lo, int hi, bool is_signed) {
  const int h = Code(hi, is_signed);
  const int l = Code(lo, is_signed);
  return {l > h ? h : l, h};
}

}  // namespace octile::sim::iss
