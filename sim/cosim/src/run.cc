#include "octile/cosim/run.h"

#include <fmt/format.h>

#include <cstring>

#include "octile/isa/registers.h"

namespace octile::cosim {
namespace {

class Collector : public sim::ObservationSink {
 public:
  explicit Collector(std::vector<std::vector<ResultVector>>* results) : results_(results) {}
  void OnResult(uint32_t instruction, uint32_t address, std::span<const uint8_t> data) override {
    if (instruction >= results_->size()) return;
    (*results_)[instruction].push_back({address, {data.begin(), data.end()}});
  }

 private:
  std::vector<std::vector<ResultVector>>* results_;
};

constexpr uint64_t kResetCycles = 10'000'000;

}  // namespace

Expected<Outcome> RunJob(sim::CoreDevice& device, const std::string& name, const Job& job,
                         uint64_t max_cycles) {
  Outcome out;
  out.device = name;
  out.memory = job.memory;
  out.results.resize(job.program.size());
  const RegionWindow& home = job.regions[job.program_region];
  const uint64_t at = home.base + job.program_offset;
  const size_t bytes = job.program.size() * isa::kInstructionBytes;
  if (at > out.memory.size() || bytes > out.memory.size() - at)
    return Fail(ErrorCode::kInternal, "the program does not fit into the memory of the job");
  if (bytes > 0) std::memcpy(&out.memory[at], job.program.data(), bytes);

  Collector collector(&out.results);
  std::string failed;
  const auto set = [&](uint32_t offset, uint32_t value) {
    if (!device.WriteRegister(offset, value) && failed.empty())
      failed = fmt::format("{}: writing {:#x} to register {:#x} failed", name, value, offset);
  };
  // With the line low, Run waits for the end of the reset.
  set(regs::kIrqEnable, 0);
  if (job.reset) {
    set(regs::kControl, regs::kControlSoftReset.mask());
    device.Run(kResetCycles);
  }
  set(regs::kIrqStatus, 3);
  set(regs::kIrqEnable, 3);
  device.SetMemory(out.memory);
  device.SetMemoryProfile(job.profile);
  device.SetObservationSink(&collector);
  device.InjectBusError(sim::Direction::kRead, job.read_error);
  device.InjectBusError(sim::Direction::kWrite, job.write_error);
  for (int r = 0; r < isa::kRegions; ++r) {
    const RegionWindow& w = job.regions[r];
    set(regs::RegionBaseLo(r), static_cast<uint32_t>(w.base));
    set(regs::RegionBaseHi(r), static_cast<uint32_t>(w.base >> 32));
    set(regs::RegionLimit(r), w.limit);
    set(regs::RegionPerm(r), (w.read ? regs::kRegionPermRead.mask() : 0) |
                                 (w.write ? regs::kRegionPermWrite.mask() : 0) |
                                 (w.execute ? regs::kRegionPermExecute.mask() : 0));
  }
  set(regs::kProgramRegion, static_cast<uint32_t>(job.program_region));
  set(regs::kProgramOffset, job.program_offset);
  set(regs::kProgramCount, static_cast<uint32_t>(job.program.size()));
  set(regs::kWatchdog, job.watchdog);
  set(regs::kControl, regs::kControlStart.mask());
  if (failed.empty()) device.Run(max_cycles);
  // What is still on the bus after a fault, or of a job given up, needs the memory until the reset
  // has drained it.
  const auto release = [&] {
    set(regs::kIrqEnable, 0);
    set(regs::kControl, regs::kControlSoftReset.mask());
    device.Run(kResetCycles);
  };
  out.ended = device.Interrupt();
  if (!out.ended) {
    device.SetObservationSink(nullptr);
    release();
    device.SetMemory({});
    if (!failed.empty()) return Fail(ErrorCode::kDevice, failed);
    return out;
  }
  set(regs::kSnapshot, 1);
  for (const regs::RegisterInfo& r : regs::kRegisters) {
    uint32_t value = 0;
    if (!device.ReadRegister(r.address, &value) && failed.empty())
      failed = fmt::format("{}: reading register {} failed", name, r.name);
    out.registers.push_back(value);
  }
  out.trace = device.trace();
  device.SetObservationSink(nullptr);
  if (out.trace.fault.cause != 0) release();
  device.SetMemory({});
  if (!failed.empty()) return Fail(ErrorCode::kDevice, failed);
  return out;
}

}  // namespace octile::cosim
