// The cycle-exact model of the core, without a simulation kernel: mirrored state machines of fetch,
// dispatch, queues, DMA channels, matrix and vector unit with registered state, evaluated only in
// cycles in which something can happen (docs/timing.md). Between them nothing changes but counters,
// which advance in bulk.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "octile/sim/device.h"

namespace octile::systemc {

struct RegionSetup {
  uint64_t base = 0;
  uint32_t limit = 0;
  bool read = false;
  bool write = false;
  bool execute = false;
};

struct JobSetup {
  uint32_t program_region = 0;
  uint32_t program_offset = 0;
  uint32_t program_count = 0;
  uint32_t watchdog = 0;  // 0: off
  std::array<RegionSetup, 8> regions{};
};

class CoreModel {
 public:
  // timing_only: no arithmetic and no data movement; the buffer and memory keep their contents.
  CoreModel(const sim::CoreConfig& config, bool timing_only);
  ~CoreModel();

  void SetMemory(std::span<uint8_t> memory);
  void SetSink(sim::ObservationSink* sink);
  void InjectBusError(sim::Direction direction, uint64_t burst);

  // Only while no job runs. On-chip memories and the ring keep their contents.
  void StartJob(const JobSetup& job, const sim::MemoryProfile& profile);
  bool running() const;
  // Evaluates the job up to cycle `limit` exclusive, or to its end.
  void RunTo(uint64_t limit);
  // The next cycle in which something can happen. Cycles before it have been accounted for only by
  // AccountTo.
  uint64_t next_cycle() const;
  // Brings counters up to cycle `cycle` exclusive, for a snapshot of a running job.
  void AccountTo(uint64_t cycle);
  // First cycle after the end of the job in which the bus is quiet.
  uint64_t drained() const;
  // Clears everything; the on-chip memories become zero.
  void SoftReset();

  const sim::Trace& trace() const;
  const sim::CoreConfig& config() const;
  // The activation buffer, banks * bank_depth vectors.
  std::span<const uint8_t> buffer() const;
  // Cycles that were evaluated one by one, for benchmarks.
  uint64_t evaluations() const;
  // For tests: leaves out none.
  void EvaluateEveryCycle(bool every_cycle);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octile::systemc
