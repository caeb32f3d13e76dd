// The functional instruction simulator: what every instruction does, without cycles. It is the
// readable form of docs/isa.md and an independent witness of results: it shares no code with the
// cycle-exact models, only the arithmetic (octile::numerics) and the reading of encodings.
//
// Order. Between issue and completion an instruction reads, later writes, later completes
// (docs/isa.md, "Effects lie between issue and completion"); each of these is one step. Among all
// steps that the laws allow - in-order queues, semaphores, fences, room in the queues and in the
// ring - the next one is chosen by priorities drawn from a seed and redrawn now and then, so that
// one queue runs far ahead while another starves. Each such order is legal. A program whose result
// depends on an order that nothing guarantees gives different results for different seeds; a valid
// one gives the same for all. The same seed gives the same order, in every job.
//
// Besides, a job that is new to the simulator is verified (octile/program/verifier.h). Accesses
// that nothing orders, and bank claims that can overlap, are errors: the job ends before its first
// instruction with the fault CONFLICT, which names both instructions (and for accesses the
// address). Other findings either raise their own fault when the job runs, or have no fault in
// hardware (data nothing has written, tiles left in the ring); violation() tells all of them.
//
// Faults. Causes, instructions and addresses are those of docs/timing.md section 10, except for
// what only cycles decide:
// - WATCHDOG is never raised: there are no cycles to count.
// - With faults in several queues, which one comes first depends on the order chosen.
// - CONFLICT is raised for claims that can overlap, whether or not they would under one certain
// timing.
// - A fault stops the simulation at once: writes of older instructions that a device would still do
// may be missing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "octile/program/verifier.h"
#include "octile/sim/device.h"

namespace octile::sim {

struct IssOptions {
  CoreConfig core;
  // Chooses the order of steps; 0: every instruction ends as early as it can.
  uint64_t seed = 1;
  // Verify jobs that are new.
  bool verify = true;
};

// Cycles are zero everywhere, there are no classes and no layers. Trace::issue and completion hold
// 0 for what happened. Run counts units of work (vectors, beats) in place of cycles. The memory
// profile has no meaning.
class Iss : public CoreDevice {
 public:
  explicit Iss(const IssOptions& options);
  ~Iss() override;

  void SetMemory(std::span<uint8_t> memory) override;
  bool ReadRegister(uint32_t offset, uint32_t* value) override;
  bool WriteRegister(uint32_t offset, uint32_t value) override;
  bool Interrupt() const override;
  bool Busy() const override;
  uint64_t Run(uint64_t max_cycles) override;
  void SetObservationSink(ObservationSink* sink) override;
  const Trace& trace() const override;
  void SetMemoryProfile(const MemoryProfile& profile) override;
  // Bursts are counted in the order of simulation.
  void InjectBusError(Direction direction, uint64_t burst) override;

  // What the verifier says about the running or last job.
  const std::optional<Violation>& violation() const;
  // From the next job on.
  void SetSeed(uint64_t seed);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octile::sim
