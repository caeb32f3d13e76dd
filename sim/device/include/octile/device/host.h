// One platform with what surrounds it: it runs in slices between register accesses, its interrupts
// become events, the faults of a plan happen to it, and what it observes is collected. The device
// process and the in-process transport are built on this.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "octile/device/fault_plan.h"
#include "octile/program/config.h"
#include "octile/sim/device.h"
#include "transport/observation_block.h"
#include "transport/transport.h"

namespace octile::device {

// What a backend makes platforms from: one function per simulator.
struct PlatformBackend {
  std::string name;  // "systemc"
  bool cycle_exact = true;
  bool observable = true;
  // Options beyond the memory profile, as given in the URI (wave=..., timing_only=1); errors name
  // unknown ones.
  using Extras = std::map<std::string, std::string>;
  std::function<Expected<std::unique_ptr<sim::CoreDevice>>(const sim::DeviceOptions&,
                                                           const Extras&)>
      make;
};

sim::DeviceOptions OptionsOf(const Config& config);

// kInvalidArgument: more than the hardware's regions, or one that leaves memory base .. base +
// bytes - 1.
driver::Result<void> CheckWindows(std::span<const driver::RegionWindow> windows, uint64_t base,
                                  uint64_t bytes);

class DeviceHost {
 public:
  using Clock = std::chrono::steady_clock;

  // memory: the device's whole address space from 0; outlives the host.
  DeviceHost(std::unique_ptr<sim::CoreDevice> device, const ArchConfig& arch, FaultPlan plan,
             std::span<uint8_t> memory);

  // Client page. kInvalidArgument: the bus answered with an error.
  driver::Result<uint32_t> Read(uint32_t offset);
  driver::Result<void> Write(uint32_t offset, uint32_t value);
  // The STATUS register.
  uint32_t Status();

  // Supervisor page. kInvalidArgument: a job runs or a reset is under way, and nothing changed.
  driver::Result<void> SetRegions(std::span<const driver::RegionWindow> regions);
  // Hands the core, which must be idle, to another client: no regions, the job registers of the
  // client page at their reset values, nothing observed. What the registers of the last job show
  // goes with the soft reset that comes first.
  void SetContext(uint32_t context, uint64_t memory_base);
  // Stops what runs and waits for idle. false: the core does not come back.
  bool SoftReset();

  // There is something to simulate.
  bool Runnable() const;
  // Simulates for about this long in real time.
  void Step(std::chrono::microseconds slice);

  // Interrupts whose time has come since the last call.
  int TakeInterrupts();
  // When the next one comes; nothing: none is on its way.
  std::optional<Clock::time_point> NextInterrupt() const;

  void SetObserve(driver::ObserveRequest request) { observe_ = request; }
  // Of the job that ended last; null: nothing was asked for, or it runs still.
  const driver::ObservationBuilder* Observations();

  // How much an answer must be delayed right now.
  std::chrono::milliseconds AnswerDelay() const;

 private:
  class Sink : public sim::ObservationSink {
   public:
    explicit Sink(DeviceHost* host) : host_(host) {}
    void OnResult(uint32_t instruction, uint32_t address, std::span<const uint8_t> data) override {
      if (host_->builder_ != nullptr) host_->builder_->AddResult(instruction, address, data);
    }

   private:
    DeviceHost* host_;
  };

  void StartJob();
  void NoteInterrupt();
  void Flip(const BitFlip& flip);
  bool FaultsNow() const { return in_job_ && plan_.Hits(job_number_); }
  // The next cycle of the job at which the plan acts.
  uint64_t NextFaultCycle() const;
  void ApplyFaults();

  FaultPlan plan_;
  std::span<uint8_t> memory_;
  ArchConfig arch_;
  Sink sink_{this};
  std::unique_ptr<driver::ObservationBuilder> builder_;
  std::unique_ptr<sim::CoreDevice> device_;

  driver::ObserveRequest observe_;
  bool observing_ = false;
  bool collected_ = false;
  uint64_t memory_base_ = 0;
  std::array<driver::RegionWindow, isa::kRegions> regions_{};

  uint64_t jobs_started_ = 0;
  uint64_t job_number_ = 0;
  uint64_t job_cycle_ = 0;
  bool in_job_ = false;  // since a start, until the next start or soft reset
  std::vector<bool> flipped_;
  bool stopped_ = false;  // the clock stands still
  bool stuck_ = false;    // the device did not move although busy; a register write may help
  bool line_ = false;
  std::deque<Clock::time_point> interrupts_;
  uint64_t slice_cycles_ = 1000;
};

}  // namespace octile::device
