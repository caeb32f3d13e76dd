// Many random programs, valid and faulty, on several devices under many memory profiles; the first
// divergence stops it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "octile/cosim/compare.h"
#include "octile/program/config.h"
#include "octile/program/random_program.h"

namespace octile::cosim {

// A device that is compared; made once and used for every program.
struct Contender {
  std::string name;
  std::unique_ptr<sim::CoreDevice> device;
  // False: it has no cycles (the instruction simulator). It is compared by results only, and not on
  // what only cycles decide: mutants and WATCHDOG.
  bool exact = true;
};

struct CampaignOptions {
  uint64_t programs = 100;
  uint64_t first_seed = 1;
  // Every so many programs is a faulty one, the causes in turn; 0: none.
  uint64_t fault_every = 5;
  // Every so many programs is a valid one with random changes: whatever it does, the devices must
  // do it in the same cycles. 0: none.
  uint64_t mutant_every = 3;
  uint64_t max_cycles = 20'000'000;
  uint64_t max_mutant_cycles = 100'000;
  RandomProgramOptions program;
};

// What the programs reached. Mutants count for faults and classes too.
struct Coverage {
  uint64_t programs = 0;
  uint64_t faulty = 0;
  uint64_t mutants = 0;
  uint64_t endless = 0;  // mutants that were given up after max_cycles
  uint64_t cycles = 0;
  uint64_t instructions = 0;
  std::array<uint64_t, 64> opcodes{};
  std::array<uint64_t, 16> faults{};
  sim::ClassMatrix classes{};
  // Completed WINs by the cycles a result takes when they go by columns; [0]: tap by tap.
  std::array<uint64_t, 4> windows{};
  // Of those by columns: with stride 2, with circular rows, with a smaller last group, with more
  // than one group or block.
  uint64_t column_stride2 = 0;
  uint64_t column_circular = 0;
  uint64_t column_rest = 0;
  uint64_t column_groups = 0;
  // CLAIM raised by a WIN by columns: by a read, by a result.
  std::array<uint64_t, 2> column_claims{};
  // Completed PACKs by stride_x; of them those with a lane group that reads one vector more than
  // stride_x + 1, and those with a kernel row that lies in two blocks.
  std::array<uint64_t, 5> packs{};
  uint64_t pack_longer = 0;
  uint64_t pack_divided = 0;
  // Completed ELTs by mode.
  std::array<uint64_t, 4> elements{};

  // Opcodes, causes, classes and kinds of WIN, ELT and PACK that can occur and never did; empty:
  // full coverage.
  std::vector<std::string> Missing() const;
  std::string Report() const;
};

// The job of a random program: regions one after the other in memory, unmapped ones beyond it, the
// memory profile drawn from the seed (every fourth one is `base`).
Job MakeJob(const RandomProgram& program, const sim::MemoryProfile& base, uint64_t seed);

// Changes fields, order and number of the job's instructions, its watchdog, or lets a burst fail.
void Mutate(Job* job, uint64_t seed);

// The first contender, which must be exact, is compared with every other one. Besides: a valid
// program ends without fault, a faulty one with the record it was made for, classes add up. The
// error (kMismatch) says how to repeat the one program.
Status RunCampaign(const ArchConfig& arch, const sim::MemoryProfile& base,
                   std::vector<Contender>& contenders, const CampaignOptions& options,
                   Coverage* coverage, const std::function<void(uint64_t done)>& progress = {});

}  // namespace octile::cosim
