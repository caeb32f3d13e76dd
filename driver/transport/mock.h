// A device made of its register file alone: it keeps the register map's rules, runs loads and
// stores, and misbehaves on request. For tests of the driver and of whatever is above it; it
// computes nothing.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/program/config.h"
#include "transport/transport.h"

namespace octile::driver {

// How jobs go.
struct MockBehavior {
  std::chrono::milliseconds job_time{0};
  uint64_t cycles = 1000;                // what CYCLES shows; every queue is idle in all of them
  isa::Fault fault = isa::Fault::kNone;  // the outcome, with the three values that follow
  uint32_t fault_instruction = 0;
  uint32_t fault_instruction2 = 0;
  uint64_t fault_address = 0;
  bool never_ends = false;  // CYCLES stands still, too
  bool progresses = false;  // with never_ends: CYCLES grows
  bool lose_interrupt = false;
  int spurious_interrupts = 0;  // before the end
  bool duplicate_interrupt = false;
  std::chrono::milliseconds interrupt_delay{0};
  std::chrono::milliseconds answer_delay{0};
  bool reset_stuck = false;              // STATUS stays resetting
  bool broken_store = false;             // STA writes wrong bytes
  bool die_at_start = false;             // no answer from CONTROL.start on
  bool stop_answering_at_start = false;  // every later access runs into its deadline
  int fail_access = -1;  // the access with this number (from 0) fails with kDeviceLost
};

class MockTransport : public Transport {
 public:
  struct Access {
    char kind;  // 'R' read, 'W' write, 'A' acquire, 'L' release, 'S' regions, 'I' interrupt
                // delivered
    uint32_t offset = 0;
    uint32_t value = 0;

    bool operator==(const Access&) const = default;
  };

  explicit MockTransport(const Config& config, uint64_t memory_bytes = uint64_t{16} << 20,
                         uint64_t memory_base = 0);
  ~MockTransport() override;

  void set_behavior(const MockBehavior& behavior);
  // The behaviour of the first jobs, one each; afterwards that of set_behavior.
  void PushBehavior(const MockBehavior& behavior);
  // The accesses since the last call.
  std::vector<Access> TakeLog();

  const TransportInfo& info() const override { return info_; }
  std::span<uint8_t> memory() override { return {memory_, memory_bytes_}; }
  Result<uint32_t> Read(uint32_t offset, Deadline deadline) override;
  Result<void> Write(uint32_t offset, uint32_t value, Deadline deadline) override;
  Result<void> Acquire(Deadline deadline) override;
  Result<void> Release(Deadline deadline) override;
  Result<void> SetRegions(std::span<const RegionWindow> regions, Deadline deadline) override;
  Result<bool> WaitInterrupt(Deadline deadline) override;
  void Wake() override;
  Result<void> SetObserve(ObserveRequest request, Deadline deadline) override;
  Result<ObservationBlock> TakeObservations(Deadline deadline) override;
  void Close(Deadline deadline) noexcept override;

 private:
  using Clock = Deadline::Clock;

  // Both with mutex_ held.
  Result<void> Enter(std::unique_lock<std::mutex>& lock, Deadline deadline);
  void Advance(Clock::time_point now);
  void Start(Clock::time_point now);
  void Finish();
  void RunTransfers();
  uint8_t* Reach(int region, uint64_t offset, uint64_t bytes);

  TransportInfo info_;
  ArchConfig arch_;
  uint8_t* memory_ = nullptr;
  uint64_t memory_bytes_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  MockBehavior default_behavior_;
  std::deque<MockBehavior> behaviors_;
  MockBehavior behavior_;  // of the running or last job
  std::map<uint32_t, uint32_t> registers_;
  std::array<RegionWindow, isa::kRegions> regions_{};
  std::vector<Access> log_;
  std::deque<Clock::time_point> interrupts_;  // when each becomes visible
  Clock::time_point started_{};
  Clock::time_point ends_{};
  bool woken_ = false;
  bool acquired_ = false;
  bool dead_ = false;
  bool silent_ = false;
  int accesses_ = 0;
};

TransportBackend MockBackend();

}  // namespace octile::driver
