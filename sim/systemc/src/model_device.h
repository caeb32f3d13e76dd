// Registers, job control and interrupt around the core model, with a clock of its own.
#pragma once

#include <array>

#include "octile/isa/registers.h"
#include "octile/sim/device.h"
#include "octile/systemc/core_model.h"

namespace octile::systemc {

class ModelDevice : public sim::CoreDevice {
 public:
  explicit ModelDevice(const sim::DeviceOptions& options);

  void SetMemory(std::span<uint8_t> memory) override { core_.SetMemory(memory); }
  bool ReadRegister(uint32_t offset, uint32_t* value) override;
  bool WriteRegister(uint32_t offset, uint32_t value) override;
  bool Interrupt() const override;
  bool Busy() const override { return state_ == State::kRunning || state_ == State::kResetting; }
  uint64_t Run(uint64_t max_cycles) override;
  void SetObservationSink(sim::ObservationSink* sink) override { core_.SetSink(sink); }
  const sim::Trace& trace() const override { return core_.trace(); }
  void SetMemoryProfile(const sim::MemoryProfile& profile) override { profile_ = profile; }
  void InjectBusError(sim::Direction direction, uint64_t burst) override {
    core_.InjectBusError(direction, burst);
  }

 private:
  enum class State { kIdle, kRunning, kDone, kFaulted, kResetting };

  uint32_t& Word(uint32_t offset);
  uint32_t Value(uint32_t offset) const { return values_[Index(offset)]; }
  static int Index(uint32_t offset);  // -1: no such register
  uint32_t Status() const { return 1u << static_cast<int>(state_); }
  bool StartJob();
  void SoftReset();
  void Snapshot();
  void Put64(uint32_t offset, uint64_t value);
  // The job is over: status, interrupt, fault record.
  void EndJob();

  CoreModel core_;
  sim::MemoryProfile profile_;
  State state_ = State::kIdle;
  uint64_t now_ = 0;        // cycles since power-on
  uint64_t job_start_ = 0;  // cycle 0 of the job
  uint64_t reset_end_ = 0;
  bool counters_cleared_ = false;  // by a soft reset since the last job
  std::array<uint32_t, std::size(regs::kRegisters)> values_{};
};

}  // namespace octile::systemc
