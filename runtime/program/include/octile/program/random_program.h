// Random programs for comparing devices: valid ones, and ones that raise a given fault.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/program/config.h"
#include "octile/program/verifier.h"

namespace octile {

struct RandomProgramOptions {
  int min_steps = 3;  // groups of instructions (a convolution, a pooling, a store ...)
  int max_steps = 12;
  int max_positions = 40;     // output positions of an instruction
  int max_tiles = 24;         // weight tiles of an MMA
  int max_instructions = 80;  // no further group begins beyond
};

// A memory region as the harness sets it up.
struct RandomRegion {
  MemoryExtent extent;
  std::vector<uint8_t> data;  // extent.limit bytes of initial contents
  // Accesses get an error response: the region's base lies outside the device's memory.
  bool unmapped = false;
};

// What the fault record must say.
struct ExpectedFault {
  isa::Fault cause = isa::Fault::kNone;
  int64_t instruction = 0;
  int64_t instruction2 = 0;  // CONFLICT only
  uint64_t address = 0;      // 0 for causes without one
  int base_region = -1;      // bus faults: add the base address of this region to `address`
  bool timed =
      false;  // a device without cycles does not see it: WATCHDOG, CONFLICT of two instructions
};

struct RandomProgram {
  std::vector<isa::Instruction> instructions;  // PROGRAM_COUNT; a copy lies in the program region
  std::vector<RandomRegion> regions;           // eight
  int program_region = 0;
  uint32_t program_offset = 0;  // a multiple of 256
  uint32_t watchdog = 0;
  std::optional<ExpectedFault> fault;  // nullopt: the program is valid
  int attempts = 1;                    // candidates the verifier looked at
};

// A valid program (FindViolation finds nothing). The same arguments give the same program on every
// machine. It uses, over many seeds, every instruction and mode, padding, circular rows, kept
// weights, split sums, raw results, tables, residuals, both directions of waiting between all
// queues, fences, and load transfers larger than the ring.
RandomProgram MakeRandomProgram(const ArchConfig& arch, uint64_t seed,
                                const RandomProgramOptions& options = {});

// A program that ends in the given fault (any but NONE): a valid beginning, then, once everything
// has completed, the offence, so that the record does not depend on timing. `seed` chooses among
// the ways to offend.
RandomProgram MakeFaultyProgram(const ArchConfig& arch, uint64_t seed, isa::Fault cause,
                                const RandomProgramOptions& options = {});

}  // namespace octile
