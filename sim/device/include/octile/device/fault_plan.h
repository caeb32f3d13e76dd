// What a device does wrong on request, so that driver and runtime can show how they take it.
// Options of the device URI.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "octile/support/status.h"

namespace octile::device {

struct BitFlip {
  int region = -1;  // offset counts from the region's base; -1: from the client's memory
  uint64_t offset = 0;
  int bit = 0;
  uint64_t cycle = 0;  // of the job; 0: before it starts
};

enum class InterruptFault { kNone, kDrop, kTwice, kLate, kSpurious };

struct FaultPlan {
  // Which job of the device goes wrong, counted from 0; nothing: every job.
  std::optional<uint64_t> job = 0;
  std::vector<BitFlip> flips;
  std::optional<uint64_t> bus_read_error;  // number of the burst in the job
  std::optional<uint64_t> bus_write_error;
  InterruptFault interrupt = InterruptFault::kNone;
  std::chrono::milliseconds interrupt_delay{0};
  std::optional<uint64_t> hang;               // the clock stops in this cycle ...
  bool hang_survives_reset = false;           // ... until a soft reset, or for good
  std::optional<uint64_t> die;                // the process kills itself in this cycle
  std::chrono::milliseconds answer_delay{0};  // of every answer while the job runs

  bool Hits(uint64_t job_number) const { return !job || *job == job_number; }

  // Takes one option: fault_job=K|all, flip=[REGION:]OFFSET:BIT[@CYCLE] (several with ','),
  // bus_read_error=N, bus_write_error=N, irq=drop|twice|late:MS|spurious, hang=CYCLE[:dead],
  // die=CYCLE, delay_answers=MS. false: not one of them. Errors (kUsage) name the option.
  Expected<bool> Set(const std::string& key, const std::string& value);
};

}  // namespace octile::device
