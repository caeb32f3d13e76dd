// What instructions compute. Separate from time: the core model calls Execute once, at completion,
// when everything a valid program lets the instruction read is there and nothing it overwrites is
// needed any more. Arithmetic: the integer forms of runtime/numerics.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "instruction.h"
#include "octile/sim/trace.h"

namespace octile::systemc {

struct Region {
  uint64_t base = 0;
  uint32_t limit = 0;
  bool read = false;
  bool write = false;
  bool execute = false;
};

class Functional {
 public:
  explicit Functional(const sim::CoreConfig& config);

  void SetMemory(std::span<uint8_t> memory) { memory_ = memory; }
  void SetRegions(const std::array<Region, isa::kRegions>& regions) { regions_ = regions; }
  void SetSink(sim::ObservationSink* sink) { sink_ = sink; }
  // Zeroes the on-chip memories (soft reset).
  void Scrub();

  bool InMemory(uint64_t address, uint64_t bytes) const {
    return address <= memory_.size() && bytes <= memory_.size() - address;
  }
  // Zeros for what lies outside the memory.
  void Read(uint64_t address, uint8_t* to, size_t bytes) const;
  void Write(uint64_t address, const uint8_t* from, size_t bytes);

  // The beats of an LDW burst, written to the ring at `beat` (counted modulo the ring).
  void FillRing(uint64_t beat, uint64_t address, uint32_t bytes);
  // A K tile of an MMA starts: its weights leave the ring.
  void TakeTile(Inst* inst, uint64_t tile, int zw, bool w_signed);
  // Not for an instruction with a violation.
  void Execute(Inst* inst);

  std::span<const uint8_t> buffer() const { return buffer_; }

 private:
  struct ParameterSets {
    std::vector<int32_t> bias;   // [psets][N]
    std::vector<uint32_t> mult;  // [psets][N]
    std::array<std::array<uint32_t, 3>, isa::kConstSlots> constants{};
    std::array<std::array<uint8_t, 256>, isa::kTableSlots> tables{};
  };

  uint8_t* Vector(uint32_t address) { return &buffer_[size_t{address} * n_]; }
  const uint8_t* Vector(uint32_t address) const { return &buffer_[size_t{address} * n_]; }
  void Emit(uint32_t instruction, uint32_t address, const uint8_t* data);
  uint64_t Address(int region, uint32_t offset) const { return regions_[region].base + offset; }

  void Ldp(const isa::Ldp& p);
  void Lda(const isa::Lda& d);
  void Sta(const isa::Sta& d);
  void Mma(Inst* inst);
  void MmaAccumulate(const isa::Mma& m, Inst* inst);
  void MmaEmit(const isa::Mma& m, uint32_t index);
  void Win(const isa::Win& w, uint32_t index);
  void Elt(const isa::Elt& e, uint32_t index);
  void Pack(const isa::Pack& p, uint32_t index);

  sim::CoreConfig config_;
  uint32_t n_;
  std::span<uint8_t> memory_;
  std::array<Region, isa::kRegions> regions_{};
  sim::ObservationSink* sink_ = nullptr;

  std::vector<uint8_t> buffer_;
  std::vector<int32_t> accumulators_;
  std::vector<uint8_t> ring_;
  ParameterSets exe_;
  ParameterSets vec_;
  std::vector<uint32_t> vec_weights_;  // [wrows][N]
  std::vector<int16_t> im2col_;
  std::vector<uint32_t> starts_;
};

}  // namespace octile::systemc
