// What a run of a job leaves behind besides memory, in the same form for every cycle-exact device.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace octile::sim {

inline constexpr int kQueues = 6;    // isa::Queue: PRM WGT ACT EXE VEC STO
inline constexpr int kClasses = 10;  // isa::Class
inline constexpr uint64_t kNever = ~uint64_t{0};

// Order of Trace::bytes.
enum class Port : int { kFetch = 0, kPrm = 1, kWgt = 2, kAct = 3, kSto = 4 };
inline constexpr int kPorts = 5;

// docs/timing.md section 10. cause is an isa::Fault; the rest means something only when cause is
// not 0.
struct FaultRecord {
  uint32_t cause = 0;
  uint32_t instruction = 0;
  uint32_t second = 0;  // CONFLICT: the other instruction
  uint64_t address = 0;
  uint64_t cycle = 0;

  friend bool operator==(const FaultRecord&, const FaultRecord&) = default;
};

// Cycles of each queue in each class; every row of a finished job sums to the job's cycles.
using ClassMatrix = std::array<std::array<uint64_t, kClasses>, kQueues>;

struct LayerCounters {
  uint32_t layer = 0;
  uint64_t cycles = 0;
  ClassMatrix classes{};

  friend bool operator==(const LayerCounters&, const LayerCounters&) = default;
};

struct Trace {
  bool finished = false;  // by END or by a fault
  uint64_t cycles = 0;
  FaultRecord fault;
  // By instruction index; kNever: it did not issue or complete. END does neither.
  std::vector<uint64_t> issue;
  std::vector<uint64_t> completion;
  ClassMatrix classes{};
  std::vector<LayerCounters> layers;  // ascending layer numbers
  std::array<uint64_t, kPorts> bytes{};
  uint64_t retired = 0;
  uint64_t tile_starts = 0;

  friend bool operator==(const Trace&, const Trace&) = default;
};

// Collects a trace: one call of Account per run of cycles in which every queue's class stays the
// same (a clocked simulation calls it every cycle), the issues of a cycle before the Account that
// covers this cycle.
class TraceRecorder {
 public:
  void Start(uint32_t instructions);
  // matrix: the instruction belongs to EXE or VEC, and its layer owns the cycles from `cycle` on.
  void Issue(int queue, uint32_t instruction, uint32_t layer, uint64_t cycle);
  void Complete(uint32_t instruction, uint64_t cycle);
  void Account(uint64_t cycles, const std::array<uint8_t, kQueues>& classes) {
    cycles_ += cycles;
    for (int q = 0; q < kQueues; ++q) trace_.classes[q][classes[q]] += cycles;
  }
  // Corrects the last Account where a queue spent some of its cycles in another class.
  void MoveClass(int queue, uint8_t from, uint8_t to, uint64_t cycles) {
    trace_.classes[queue][from] -= cycles;
    trace_.classes[queue][to] += cycles;
  }
  void AddBytes(Port port, uint64_t bytes) { trace_.bytes[static_cast<int>(port)] += bytes; }
  void TileStart() { ++trace_.tile_starts; }
  void Fault(const FaultRecord& fault) { trace_.fault = fault; }
  // Ends the job; cycles is the value of the CYCLES register.
  void Finish(uint64_t cycles);

  const Trace& trace() const { return trace_; }
  // Counters so far, while a job runs.
  uint64_t cycles() const { return cycles_; }

 private:
  void CloseLayer();

  Trace trace_;
  uint64_t cycles_ = 0;
  bool have_layer_ = false;
  bool layer_by_exe_ = false;
  uint64_t layer_since_ = 0;
  uint32_t layer_ = 0;
  uint64_t layer_cycles_base_ = 0;
  ClassMatrix layer_base_{};
  std::vector<LayerCounters> by_layer_;
};

// Receives every vector that the matrix and the vector unit write to the activation buffer, in the
// order in which an instruction writes (the observe port). A device may hand over all writes of an
// instruction at its completion.
class ObservationSink {
 public:
  virtual ~ObservationSink() = default;
  // data: N bytes. address: vector address.
  virtual void OnResult(uint32_t instruction, uint32_t address, std::span<const uint8_t> data) = 0;
};

}  // namespace octile::sim
