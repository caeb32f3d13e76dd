// Small hand-made programs for driver tests.
#pragma once

#include <string>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/program/program.h"

namespace octile::driver {

inline constexpr int kInputRegion = 1;
inline constexpr int kOutputRegion = 2;

inline Program EmptyProgram(const ArchConfig& arch, uint64_t bytes) {
  Program program;
  program.producer = "test";
  program.arch = arch;
  program.model = "test";
  program.regions = {{RegionKind::kProgram, "code", 4096, false, false, true, {}},
                     {RegionKind::kInputs, "in", bytes, true, false, false, {}},
                     {RegionKind::kOutputs, "out", bytes, false, true, false, {}}};
  return program;
}

inline void Finish(Program& program, std::vector<isa::Operation> operations) {
  for (const isa::Operation& operation : operations)
    program.instructions.push_back(isa::Encode(operation));
  PlanItem item;
  item.kind = PlanKind::kDevice;
  item.count = static_cast<int64_t>(program.instructions.size());
  item.name = "all";
  program.plan.push_back(item);
}

// Copies `beats` beats from region 1 to region 2 through the activation buffer, `rounds` times.
inline Program CopyProgram(const ArchConfig& arch, int beats = 8, int rounds = 1) {
  Program program = EmptyProgram(arch, static_cast<uint64_t>(beats * arch.n));
  program.regions[0].size = static_cast<uint64_t>(64 * (3 * rounds + 1));
  std::vector<isa::Operation> operations;
  for (int r = 0; r < rounds; ++r) {
    isa::Lda load;
    load.region = kInputRegion;
    load.n0 = beats;
    load.header.signal0 = isa::Semaphore(0);
    if (r > 0) load.header.wait0 = isa::Semaphore(1);
    isa::Sta store;
    store.region = kOutputRegion;
    store.n0 = beats;
    store.header.wait0 = isa::Semaphore(0);
    if (r + 1 < rounds) store.header.signal0 = isa::Semaphore(1);
    operations.push_back(load);
    operations.push_back(store);
  }
  operations.push_back(isa::End{});
  Finish(program, operations);
  return program;
}

// Adds a pass of the vector unit between load and store, so that there is something to observe: out
// = in, in layer 3.
inline Program VectorCopyProgram(const ArchConfig& arch, int beats = 8) {
  Program program = EmptyProgram(arch, static_cast<uint64_t>(beats * arch.n));
  isa::Lda load;
  load.region = kInputRegion;
  load.n0 = beats;
  load.header.signal0 = isa::Semaphore(0);
  isa::Elt copy;
  copy.header.layer = 3;
  copy.header.wait0 = isa::Semaphore(0);
  copy.header.signal0 = isa::Semaphore(1);
  copy.mw = beats;
  copy.a_x_step = 1;
  copy.out_addr = arch.bank_depth;
  copy.out_bank = 1;
  isa::Sta store;
  store.region = kOutputRegion;
  store.n0 = beats;
  store.buf_addr = arch.bank_depth;
  store.buf_bank = 1;
  store.header.wait0 = isa::Semaphore(1);
  Finish(program, {load, copy, store, isa::End{}});
  return program;
}

// Not valid: waits for a semaphore nobody signals.
inline Program DeadlockProgram(const ArchConfig& arch) {
  Program program = EmptyProgram(arch, 256);
  isa::Sync sync;
  sync.queue = isa::Queue::kExe;
  sync.header.wait0 = isa::Semaphore(7);
  Finish(program, {sync, isa::End{}});
  return program;
}

// Not valid: loads from beyond its region, at byte `offset`.
inline Program OutOfRegionProgram(const ArchConfig& arch, uint32_t offset) {
  Program program = EmptyProgram(arch, 256);
  isa::Lda load;
  load.region = kInputRegion;
  load.offset = offset;
  Finish(program, {load, isa::End{}});
  return program;
}

inline std::vector<uint8_t> Pattern(size_t bytes, uint32_t seed = 1) {
  std::vector<uint8_t> data(bytes);
  for (uint8_t& byte : data) {
    seed = seed * 1664525 + 1013904223;
    byte = static_cast<uint8_t>(seed >> 24);
  }
  return data;
}

}  // namespace octile::driver
