// What a job leaves behind besides its results: counters, a fault, observations.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "octile/isa/isa.h"

namespace octile::driver {

inline constexpr uint64_t kNever = ~uint64_t{0};

// Cycles of every queue in every class (isa::Queue, isa::Class); every row sums to the job's
// cycles.
using ClassMatrix = std::array<std::array<uint64_t, isa::kClasses>, isa::kQueues>;

// One snapshot of the counter registers, taken when the job had ended.
struct JobCounters {
  uint64_t cycles =
      0;  // from acceptance of the start to the end of END, or to the fault, inclusive
  ClassMatrix classes{};
  uint64_t bytes_fetch = 0;
  uint64_t bytes_prm = 0;
  uint64_t bytes_wgt = 0;
  uint64_t bytes_act = 0;
  uint64_t bytes_written = 0;
  uint64_t retired = 0;  // instructions completed, without END

  bool operator==(const JobCounters&) const = default;
};

// The fault record (docs/timing.md section 10). Instruction numbers count in the whole program, not
// in the job.
struct FaultReport {
  isa::Fault cause = isa::Fault::kNone;
  uint32_t instruction = 0;
  uint32_t second_instruction = 0;  // CONFLICT: the other one
  uint64_t address = 0;             // as the cause defines it (docs/isa.md)
  uint32_t context = 0;
  uint32_t job_id = 0;

  bool operator==(const FaultReport&) const = default;
};

struct LayerCounters {
  uint32_t layer = 0;
  uint64_t cycles = 0;
  ClassMatrix classes{};

  bool operator==(const LayerCounters&) const = default;
};

// The vectors that one instruction wrote to the activation buffer, in the order it wrote them.
struct ObservedResult {
  uint32_t instruction = 0;             // number in the whole program
  std::span<const uint32_t> addresses;  // vector addresses
  std::span<const uint8_t> data;        // N bytes for each address
};

// What the observe port delivered for one job; asked for with SubmitOptions::observe.
struct Observations {
  uint32_t first_instruction = 0;  // number in the whole program of the job's first instruction
  // By instruction of the job (index 0 is first_instruction): the cycle; kNever: it did not issue
  // or complete. END does neither.
  std::span<const uint64_t> issue;
  std::span<const uint64_t> completion;
  std::vector<LayerCounters> layers;  // ascending layer numbers
  uint64_t tile_starts = 0;
  std::vector<ObservedResult>
      results;  // ascending instruction numbers; empty unless results were asked for

  std::shared_ptr<const void> storage;  // what the spans point into
};

}  // namespace octile::driver
