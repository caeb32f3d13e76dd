#include "octile/device/host.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "octile/isa/registers.h"

namespace octile::device {

sim::DeviceOptions OptionsOf(const Config& config) {
  auto u = [](int v) { return static_cast<uint32_t>(v); };
  sim::DeviceOptions o;
  const ArchConfig& a = config.arch;
  o.core = {u(a.n),           u(a.weight_rows),  u(a.ring_tiles), u(a.acc_depth),
            u(a.banks),       u(a.bank_depth),   u(a.psets),      u(a.wrows),
            u(a.read_bursts), u(a.write_bursts), ArchHash(a)};
  const PlatformConfig& p = config.platform;
  o.memory = {u(p.read_latency),   u(p.write_latency), u(p.beat_interval), u(p.refresh_period),
              u(p.refresh_cycles), u(p.jitter),        u(p.ready_jitter),  p.seed};
  return o;
}

driver::Result<void> CheckWindows(std::span<const driver::RegionWindow> windows, uint64_t base,
                                  uint64_t bytes) {
  using driver::Code;
  if (windows.size() > isa::kRegions)
    return driver::Fail(Code::kInvalidArgument,
                        fmt::format("{} regions, there are {}", windows.size(), isa::kRegions));
  for (const driver::RegionWindow& w : windows) {
    if (w.bytes == 0) continue;
    if (w.base % 256 != 0 || w.bytes >> 32 != 0)
      return driver::Fail(
          Code::kInvalidArgument,
          fmt::format("window {:#x}+{:#x}: base not a multiple of 256, or above 4 GiB", w.base,
                      w.bytes));
    if (w.base < base || w.base - base > bytes || w.bytes > bytes - (w.base - base))
      return driver::Fail(
          Code::kInvalidArgument,
          fmt::format("window {:#x}+{:#x} leaves the client's memory", w.base, w.bytes));
  }
  return {};
}

DeviceHost::DeviceHost(std::unique_ptr<sim::CoreDevice> device, const ArchConfig& arch,
                       FaultPlan plan, std::span<uint8_t> memory)
    : plan_(std::move(plan)), memory_(memory), arch_(arch), device_(std::move(device)) {
  device_->SetMemory(memory_);
}

driver::Result<uint32_t> DeviceHost::Read(uint32_t offset) {
  uint32_t value = 0;
  if (!device_->ReadRegister(offset, &value))
    return driver::Fail(driver::Code::kInvalidArgument,
                        fmt::format("read of register {:#x}: bus error", offset));
  return value;
}

uint32_t DeviceHost::Status() { return Read(regs::kStatus).value_or(0); }

driver::Result<void> DeviceHost::Write(uint32_t offset, uint32_t value) {
  stuck_ = false;
  if (offset == regs::kControl) {
    if (regs::kControlSoftReset.get(value) != 0) {
      if (!plan_.hang_survives_reset) stopped_ = false;
      in_job_ = false;
      interrupts_.clear();
    } else if (regs::kControlStart.get(value) != 0 &&
               (Status() & (regs::kStatusIdle.mask() | regs::kStatusDone.mask())) != 0) {
      StartJob();
    }
  }
  // A clock that stands still takes no write.
  if (!stopped_ && !device_->WriteRegister(offset, value))
    return driver::Fail(driver::Code::kInvalidArgument,
                        fmt::format("write of {:#x} to register {:#x}: bus error", value, offset));
  NoteInterrupt();
  if (in_job_) ApplyFaults();
  return {};
}

void DeviceHost::StartJob() {
  job_number_ = jobs_started_++;
  job_cycle_ = 0;
  in_job_ = true;
  collected_ = false;
  flipped_.assign(plan_.flips.size(), false);
  observing_ = observe_.trace || observe_.results;
  builder_.reset();
  if (observing_)
    builder_ = std::make_unique<driver::ObservationBuilder>(static_cast<uint32_t>(arch_.n),
                                                            Read(regs::kProgramCount).value_or(0));
  device_->SetObservationSink(observe_.results ? &sink_ : nullptr);
  const bool hit = plan_.Hits(job_number_);
  device_->InjectBusError(sim::Direction::kRead,
                          hit ? plan_.bus_read_error.value_or(sim::kNever) : sim::kNever);
  device_->InjectBusError(sim::Direction::kWrite,
                          hit ? plan_.bus_write_error.value_or(sim::kNever) : sim::kNever);
  if (hit) {
    for (size_t i = 0; i < plan_.flips.size(); ++i) {
      if (plan_.flips[i].cycle != 0) continue;
      Flip(plan_.flips[i]);
      flipped_[i] = true;
    }
    if (plan_.interrupt == InterruptFault::kSpurious) interrupts_.push_back(Clock::now());
  }
}

void DeviceHost::Flip(const BitFlip& flip) {
  const uint64_t base = flip.region < 0 ? memory_base_ : regions_[flip.region].base;
  const uint64_t address = base + flip.offset;
  if (address < memory_.size()) memory_[address] ^= static_cast<uint8_t>(1u << flip.bit);
}

uint64_t DeviceHost::NextFaultCycle() const {
  uint64_t next = sim::kNever;
  if (!FaultsNow()) return next;
  for (size_t i = 0; i < plan_.flips.size(); ++i)
    if (!flipped_[i]) next = std::min(next, plan_.flips[i].cycle);
  if (plan_.hang) next = std::min(next, *plan_.hang);
  if (plan_.die) next = std::min(next, *plan_.die);
  return next;
}

void DeviceHost::ApplyFaults() {
  if (!FaultsNow()) return;
  for (size_t i = 0; i < plan_.flips.size(); ++i) {
    if (flipped_[i] || job_cycle_ < plan_.flips[i].cycle) continue;
    Flip(plan_.flips[i]);
    flipped_[i] = true;
  }
  if (plan_.die && job_cycle_ >= *plan_.die) kill(getpid(), SIGKILL);
  if (plan_.hang && job_cycle_ >= *plan_.hang) stopped_ = true;
}

void DeviceHost::SetContext(uint32_t context, uint64_t memory_base) {
  // A soft reset keeps these registers; the next client must neither see them nor start with them.
  for (const uint32_t offset : {regs::kIrqEnable, regs::kProgramRegion, regs::kProgramOffset,
                                regs::kProgramCount, regs::kJobId, regs::kWatchdog})
    device_->WriteRegister(offset, 0);
  (void)SetRegions({});
  observe_ = {};
  observing_ = false;
  builder_.reset();
  interrupts_.clear();
  memory_base_ = memory_base;
  device_->WriteRegister(regs::kContext, context);
}

driver::Result<void> DeviceHost::SetRegions(std::span<const driver::RegionWindow> regions) {
  // The registers are locked: the writes would be lost one by one.
  if ((Status() & (regs::kStatusRunning.mask() | regs::kStatusResetting.mask())) != 0)
    return driver::Fail(driver::Code::kInvalidArgument,
                        "regions set while a job runs or the core is being reset");
  regions_ = {};
  std::copy_n(regions.begin(), std::min<size_t>(regions.size(), isa::kRegions), regions_.begin());
  for (int r = 0; r < isa::kRegions; ++r) {
    const driver::RegionWindow& w = regions_[r];
    device_->WriteRegister(regs::RegionBaseLo(r), static_cast<uint32_t>(w.base));
    device_->WriteRegister(regs::RegionBaseHi(r), static_cast<uint32_t>(w.base >> 32));
    device_->WriteRegister(regs::RegionLimit(r), static_cast<uint32_t>(w.bytes));
    device_->WriteRegister(regs::RegionPerm(r),
                           (w.read ? regs::kRegionPermRead.mask() : 0) |
                               (w.write ? regs::kRegionPermWrite.mask() : 0) |
                               (w.execute ? regs::kRegionPermExecute.mask() : 0));
  }
  return {};
}

bool DeviceHost::SoftReset() {
  (void)Write(regs::kControl, regs::kControlSoftReset.mask());
  if (stopped_) return false;
  // The longest drain is bounded by the memory latency, the scrub by the bank depth.
  constexpr uint64_t kMostCycles = 10'000'000;
  for (uint64_t cycles = 0; device_->Busy() && cycles < kMostCycles;) {
    const uint64_t advanced = device_->Run(100'000);
    cycles += std::max<uint64_t>(advanced, 1);
    if (advanced == 0) break;
  }
  line_ = device_->Interrupt();
  return !device_->Busy();
}

bool DeviceHost::Runnable() const { return !stopped_ && !stuck_ && device_->Busy(); }

void DeviceHost::Step(std::chrono::microseconds slice) {
  if (!Runnable()) return;
  const uint64_t fault = NextFaultCycle();
  const uint64_t most =
      fault > job_cycle_ ? std::min(slice_cycles_, fault - job_cycle_) : slice_cycles_;
  const auto start = Clock::now();
  const uint64_t advanced = device_->Run(most);
  const auto time = Clock::now() - start;
  job_cycle_ += advanced;
  if (advanced == 0 && device_->Busy()) stuck_ = true;
  if (advanced >= slice_cycles_) {
    if (time < slice / 2) slice_cycles_ = std::min<uint64_t>(slice_cycles_ * 2, uint64_t{1} << 30);
    if (time > slice * 2) slice_cycles_ = std::max<uint64_t>(slice_cycles_ / 2, 64);
  }
  ApplyFaults();
  NoteInterrupt();
}

void DeviceHost::NoteInterrupt() {
  const bool line = device_->Interrupt();
  const bool rose = line && !line_;
  line_ = line;
  if (!rose) return;
  const auto now = Clock::now();
  switch (FaultsNow() ? plan_.interrupt : InterruptFault::kNone) {
    case InterruptFault::kDrop:
      break;
    case InterruptFault::kLate:
      interrupts_.push_back(now + plan_.interrupt_delay);
      break;
    case InterruptFault::kTwice:
      interrupts_.push_back(now);
      interrupts_.push_back(now);
      break;
    case InterruptFault::kNone:
    case InterruptFault::kSpurious:
      interrupts_.push_back(now);
      break;
  }
}

int DeviceHost::TakeInterrupts() {
  int count = 0;
  const auto now = Clock::now();
  while (!interrupts_.empty() && interrupts_.front() <= now) {
    interrupts_.pop_front();
    ++count;
  }
  return count;
}

std::optional<DeviceHost::Clock::time_point> DeviceHost::NextInterrupt() const {
  if (interrupts_.empty()) return std::nullopt;
  return interrupts_.front();
}

const driver::ObservationBuilder* DeviceHost::Observations() {
  if (builder_ == nullptr || !observing_ || device_->Busy()) return nullptr;
  if (!collected_) {
    const sim::Trace& trace = device_->trace();
    builder_->SetTrace(trace.issue, trace.completion, trace.tile_starts);
    for (const sim::LayerCounters& layer : trace.layers)
      builder_->AddLayer({layer.layer, layer.cycles, layer.classes});
    collected_ = true;
  }
  return builder_.get();
}

std::chrono::milliseconds DeviceHost::AnswerDelay() const {
  return FaultsNow() ? plan_.answer_delay : std::chrono::milliseconds(0);
}

}  // namespace octile::device
