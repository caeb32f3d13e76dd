// Fetch, dispatch, queues, semaphores: who does its next step when (octile/sim/iss.h).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "machine.h"
#include "octile/program/access.h"
#include "semantics.h"

namespace octile::sim::iss {

struct JobSetup {
  uint32_t program_region = 0;
  uint32_t program_offset = 0;
  uint32_t program_count = 0;
};

class Core {
 public:
  Core(Machine* machine, const ArchConfig& arch);

  void set_sink(ObservationSink* sink) { sink_ = sink; }
  void StartJob(const JobSetup& job, uint64_t seed);
  // Ends the job at once, before its first instruction.
  void Refuse(const FaultRecord& fault);
  // Steps until about `work` vectors and beats were processed, or to the end of the job. Returns
  // the work done, at least 1 unless no job runs.
  uint64_t Run(uint64_t work);
  bool running() const { return running_; }
  void Reset();
  const Trace& trace() const { return trace_; }

 private:
  enum class Stage { kReading, kRead, kWritten };
  // An instruction in flight.
  struct Flight {
    uint32_t index;
    std::shared_ptr<const isa::Operation> op;
    std::vector<StreamUse> claims;
    Stage stage = Stage::kReading;
    Work work;
  };
  struct Fetched {
    uint32_t index;
    isa::Instruction instruction;
  };
  struct Waiting {
    uint32_t index;
    std::shared_ptr<const isa::Operation> op;
  };
  struct Queue {
    std::deque<Waiting> waiting;
    std::deque<Flight> flights;  // in order; only the last may be reading
  };
  enum class Step { kComplete, kWrite, kRead, kIssue };
  static constexpr int kQueueSteps = 4;
  static constexpr int kDispatch = kQueueSteps * isa::kQueues;
  static constexpr int kFetch = kDispatch + 1;
  static constexpr int kActions = kFetch + 1;

  // Whether an action can happen now, and what it does.
  bool Enabled(int action) const;
  void Perform(int action);
  bool CanFetch() const;
  void Fetch();
  bool CanDispatch() const;
  void Dispatch();
  bool CanIssue(const Queue& queue, int number) const;
  void Issue(int number);
  bool CanRead(const Queue& queue) const;
  void Read(Queue& queue);
  bool CanWrite(const Queue& queue) const;
  void Write(Queue& queue);
  bool CanComplete(const Queue& queue) const;
  void Complete(Queue& queue);

  bool Empty() const;
  // CONFLICT with the flight it returns; null: none.
  const Flight* FindConflict(const std::vector<StreamUse>& claims, bool writes) const;
  bool SelfConflict(const std::vector<StreamUse>& claims) const;
  // The record of a fault that ends the job; a precise one that came before stays.
  void Fault(isa::Fault cause, uint32_t instruction, uint64_t address = 0, uint32_t second = 0);
  void FaultPrecisely(isa::Fault cause, uint32_t instruction);
  void FaultDeadlock();
  void Finish();
  void Emit(uint32_t index, const VectorWrites& writes);

  Machine& m_;
  const ArchConfig arch_;
  ObservationSink* sink_ = nullptr;

  bool running_ = false;
  JobSetup job_;
  uint64_t seed_ = 0;
  std::mt19937_64 random_;
  std::array<int, kActions> order_{};  // actions by falling priority

  uint32_t fetched_ = 0;
  std::deque<Fetched> fifo_;
  bool stopped_ = false;  // a precise fault stopped dispatch
  std::array<Queue, isa::kQueues> queues_;
  std::array<uint32_t, isa::kSemaphores> semaphores_{};
  uint64_t work_ = 0;
  Trace trace_;
};

}  // namespace octile::sim::iss
