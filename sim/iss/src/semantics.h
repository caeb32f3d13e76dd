// What instructions do. Each has a read step, which takes everything it needs from the machine and
// computes, and a write step, which makes the results visible; the core decides when (core.h).
// Checks happen in the order in which hardware generates the addresses.
#pragma once

#include "machine.h"

namespace octile::sim::iss {

// What an instruction carries from its read step to its write step.
struct Work {
  VectorWrites vectors;       // LDA, MMA, WIN, ELT, PACK
  MemoryWrites memory;        // STA
  std::vector<uint8_t> data;  // LDP
  uint64_t done = 0;          // LDW: bytes read; MMA: tiles processed
};

// Loads and stores (transfer.cc).
MaybeTrap ReadLdp(Machine& m, const isa::Ldp& op, Work& work);
void WriteLdp(Machine& m, const isa::Ldp& op, const Work& work);
MaybeTrap ReadLda(Machine& m, const isa::Lda& op, Work& work);
MaybeTrap WriteLda(Machine& m, const isa::Lda& op, const Work& work);
MaybeTrap ReadSta(Machine& m, const isa::Sta& op, Work& work);
MaybeTrap WriteSta(Machine& m, const Work& work);
// Appends to the ring as long as the next burst finds room. Done when all tiles are there.
bool CanReadLdw(const Machine& m, const isa::Ldw& op, const Work& work);
MaybeTrap ReadLdw(Machine& m, const isa::Ldw& op, Work& work);
bool DoneLdw(const Machine& m, const isa::Ldw& op, const Work& work);

// Matrix unit (mma.cc). Processes the tiles that the ring holds.
bool CanReadMma(const Machine& m);
MaybeTrap ReadMma(Machine& m, const isa::Mma& op, Work& work);
bool DoneMma(const isa::Mma& op, const Work& work);

// Vector unit (win.cc, columns.cc, elt.cc, pack.cc). CheckColumns finds the first access outside a
// claim when WIN works by columns; in the other order of WIN ReadWin itself does.
MaybeTrap CheckColumns(const Machine& m, const isa::Win& op);
MaybeTrap ReadWin(Machine& m, const isa::Win& op, Work& work);
MaybeTrap ReadElt(Machine& m, const isa::Elt& op, Work& work);
MaybeTrap ReadPack(Machine& m, const isa::Pack& op, Work& work);

// N3 for one vector of accumulators that already include the bias: set s of EXE_SET or VEC_SET.
void RequantizeVector(const Machine& m, isa::LdpTarget sets, uint32_t set, const int32_t* acc,
                      int zy, numerics::CodeRange range, uint8_t* y);
// acc + bias modulo 2^32 (N1).
void AddBias(const Machine& m, isa::LdpTarget sets, uint32_t set, const int32_t* acc, int32_t* sum);
// N6 with RA, RB, F of a constant slot.
void AddVector(const Machine& m, isa::LdpTarget constants, uint32_t slot, const uint8_t* a,
               bool a_signed, const uint8_t* b, bool b_signed, numerics::CodeRange range,
               uint8_t* y);
// N5 in place.
void MapVector(const Machine& m, isa::LdpTarget tables, uint32_t slot, uint8_t* y);

}  // namespace octile::sim::iss
