#include "transport/mock.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstring>
#include <thread>

#include "octile/isa/registers.h"

namespace octile::driver {
namespace {

const regs::RegisterInfo* FindRegister(uint32_t offset) {
  for (const regs::RegisterInfo& info : regs::kRegisters)
    if (info.address == offset) return &info;
  return nullptr;
}

Result<MockBehavior> ParseBehavior(const Uri& uri, uint64_t* memory_bytes) {
  MockBehavior behavior;
  for (const auto& [key, value] : uri.options) {
    auto number = [&, key = key, value = value]() { return ParseNumber(key, value); };
    Result<uint64_t> n = uint64_t{0};
    if (key == "memory") {
      n = number();
      if (n) *memory_bytes = *n;
    } else if (key == "job_ms") {
      n = number();
      if (n) behavior.job_time = std::chrono::milliseconds(*n);
    } else if (key == "cycles") {
      n = number();
      if (n) behavior.cycles = *n;
    } else if (key == "fault") {
      for (int f = 1; f < 16; ++f)
        if (isa::FaultName(static_cast<isa::Fault>(f)) == value)
          behavior.fault = static_cast<isa::Fault>(f);
      if (behavior.fault == isa::Fault::kNone)
        return Fail(Code::kInvalidArgument, fmt::format("option 'fault': no fault '{}'", value));
    } else if (key == "end" && value == "never") {
      behavior.never_ends = true;
    } else if (key == "irq" && value == "lost") {
      behavior.lose_interrupt = true;
    } else {
      return Fail(Code::kInvalidArgument,
                  fmt::format("device '{}': the mock has no option '{}={}'; it has memory, job_ms, "
                              "cycles, fault, end=never, irq=lost",
                              uri.text, key, value));
    }
    if (!n) return tl::unexpected(n.error());
  }
  return behavior;
}

}  // namespace

MockTransport::MockTransport(const Config& config, uint64_t memory_bytes, uint64_t memory_base)
    : arch_(config.arch), memory_bytes_(memory_bytes) {
  info_.backend = "mock";
  info_.config = config.name;
  info_.clock_mhz = config.platform.clock_mhz;
  info_.memory_base = memory_base;
  void* memory = mmap(nullptr, memory_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    memory_bytes_ = 0;
  } else {
    memory_ = static_cast<uint8_t*>(memory);
  }
  for (const regs::RegisterInfo& info : regs::kRegisters) registers_[info.address] = info.reset;
  const uint64_t hash = ArchHash(arch_);
  auto u = [](int v) { return static_cast<uint32_t>(v); };
  registers_[regs::kArchHashLo] = static_cast<uint32_t>(hash);
  registers_[regs::kArchHashHi] = static_cast<uint32_t>(hash >> 32);
  registers_[regs::kCap0] = regs::kCap0N.make(u(arch_.n)) |
                            regs::kCap0WeightRows.make(u(arch_.weight_rows)) |
                            regs::kCap0Banks.make(u(arch_.banks));
  registers_[regs::kCap1] = u(arch_.bank_depth);
  registers_[regs::kCap2] = u(arch_.ring_tiles);
  registers_[regs::kCap3] =
      regs::kCap3AccDepth.make(u(arch_.acc_depth)) | regs::kCap3Psets.make(u(arch_.psets));
  registers_[regs::kCap4] = u(arch_.wrows);
  registers_[regs::kCap5] = regs::kCap5ReadBursts.make(u(arch_.read_bursts)) |
                            regs::kCap5WriteBursts.make(u(arch_.write_bursts));
}

MockTransport::~MockTransport() {
  if (memory_ != nullptr) munmap(memory_, memory_bytes_);
}

void MockTransport::set_behavior(const MockBehavior& behavior) {
  const std::lock_guard lock(mutex_);
  default_behavior_ = behavior;
}

void MockTransport::PushBehavior(const MockBehavior& behavior) {
  const std::lock_guard lock(mutex_);
  behaviors_.push_back(behavior);
}

std::vector<MockTransport::Access> MockTransport::TakeLog() {
  const std::lock_guard lock(mutex_);
  return std::exchange(log_, {});
}

Result<void> MockTransport::Enter(std::unique_lock<std::mutex>& lock, Deadline deadline) {
  if (accesses_++ == default_behavior_.fail_access) dead_ = true;
  if (dead_) return Fail(Code::kDeviceLost, "the mock device is gone");
  const auto delay = behavior_.answer_delay;
  if (silent_ || Clock::now() + delay > deadline.when()) {
    // Like a real answer that does not come in time; in slices, because Close must not be held up.
    while (!deadline.passed() && !dead_) {
      lock.unlock();
      std::this_thread::sleep_for(
          std::min<std::chrono::nanoseconds>(deadline.left(), std::chrono::milliseconds(5)));
      lock.lock();
    }
    return Fail(Code::kTimeout, "the mock device did not answer in time");
  }
  if (delay.count() > 0) {
    lock.unlock();
    std::this_thread::sleep_for(delay);
    lock.lock();
  }
  Advance(Clock::now());
  return {};
}

void MockTransport::Advance(Clock::time_point now) {
  const uint32_t status = registers_[regs::kStatus];
  if (regs::kStatusRunning.get(status) != 0 && !behavior_.never_ends && now >= ends_) Finish();
  if (regs::kStatusResetting.get(status) != 0 && !behavior_.reset_stuck)
    registers_[regs::kStatus] = regs::kStatusIdle.mask();
}

uint8_t* MockTransport::Reach(int region, uint64_t offset, uint64_t bytes) {
  const RegionWindow& window = regions_[region];
  if (offset > window.bytes || bytes > window.bytes - offset) return nullptr;
  const uint64_t address = window.base - info_.memory_base + offset;
  if (address > memory_bytes_ || bytes > memory_bytes_ - address) return nullptr;
  return memory_ + address;
}

// LDA and STA of one row, in program order; everything else does nothing.
void MockTransport::RunTransfers() {
  const uint64_t n = static_cast<uint64_t>(arch_.n);
  std::map<uint64_t, std::vector<uint8_t>> buffer;
  const uint32_t count = registers_[regs::kProgramCount];
  for (uint32_t i = 0; i < count; ++i) {
    const uint8_t* code = Reach(static_cast<int>(registers_[regs::kProgramRegion]),
                                registers_[regs::kProgramOffset] + uint64_t{64} * i, 64);
    if (code == nullptr) return;
    isa::Instruction instruction;
    std::memcpy(instruction.words.data(), code, 64);
    const auto decoded = isa::Decode(instruction);
    if (!decoded) continue;
    if (const auto* lda = std::get_if<isa::Lda>(&*decoded)) {
      for (int b = 0; b < lda->n0; ++b)
        if (const uint8_t* from = Reach(lda->region, lda->offset + b * n, n))
          buffer[lda->buf_addr + b].assign(from, from + n);
    } else if (const auto* sta = std::get_if<isa::Sta>(&*decoded)) {
      for (int b = 0; b < sta->n0; ++b) {
        uint8_t* to = Reach(sta->region, sta->offset + b * n, n);
        const auto it = buffer.find(sta->buf_addr + b);
        if (to == nullptr || it == buffer.end()) continue;
        std::memcpy(to, it->second.data(), n);
        if (behavior_.broken_store) to[0] ^= 1;
      }
    }
  }
}

void MockTransport::Start(Clock::time_point now) {
  if (behaviors_.empty()) {
    behavior_ = default_behavior_;
  } else {
    behavior_ = behaviors_.front();
    behaviors_.pop_front();
  }
  started_ = now;
  ends_ = now + behavior_.job_time;
  for (uint32_t offset = regs::kFaultCause; offset <= regs::kFaultContext; offset += 4)
    registers_[offset] = 0;
  registers_[regs::kStatus] = regs::kStatusRunning.mask();
  for (int i = 0; i < behavior_.spurious_interrupts; ++i) interrupts_.push_back(now);
  if (behavior_.die_at_start) dead_ = true;
  if (behavior_.stop_answering_at_start) silent_ = true;
}

void MockTransport::Finish() {
  const bool faulted = behavior_.fault != isa::Fault::kNone;
  if (faulted) {
    registers_[regs::kFaultCause] = static_cast<uint32_t>(behavior_.fault);
    registers_[regs::kFaultInstruction] = behavior_.fault_instruction;
    registers_[regs::kFaultInstruction2] = behavior_.fault_instruction2;
    registers_[regs::kFaultAddressLo] = static_cast<uint32_t>(behavior_.fault_address);
    registers_[regs::kFaultAddressHi] = static_cast<uint32_t>(behavior_.fault_address >> 32);
    registers_[regs::kFaultContext] = registers_[regs::kContext];
  } else {
    RunTransfers();
  }
  registers_[regs::kStatus] = faulted ? regs::kStatusFaulted.mask() : regs::kStatusDone.mask();
  const uint32_t event = faulted ? regs::kIrqStatusFault.mask() : regs::kIrqStatusDone.mask();
  registers_[regs::kIrqStatus] |= event;
  if ((registers_[regs::kIrqEnable] & event) != 0 && !behavior_.lose_interrupt) {
    interrupts_.push_back(ends_ + behavior_.interrupt_delay);
    if (behavior_.duplicate_interrupt) interrupts_.push_back(ends_ + behavior_.interrupt_delay);
  }
}

Result<uint32_t> MockTransport::Read(uint32_t offset, Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (auto entered = Enter(lock, deadline); !entered) return tl::unexpected(entered.error());
  const regs::RegisterInfo* info = FindRegister(offset);
  if (info == nullptr || offset >= regs::kSupervisorPage)
    return Fail(Code::kInvalidArgument, fmt::format("no client register at {:#x}", offset));
  if (offset >= regs::kControl && !acquired_)
    return Fail(Code::kInvalidArgument,
                fmt::format("read of {} without the core being acquired", info->name));
  const uint32_t value = info->access == regs::Access::kW1s ? 0 : registers_[offset];
  log_.push_back({'R', offset, value});
  return value;
}

Result<void> MockTransport::Write(uint32_t offset, uint32_t value, Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (auto entered = Enter(lock, deadline); !entered) return entered;
  const regs::RegisterInfo* info = FindRegister(offset);
  if (info == nullptr || offset >= regs::kSupervisorPage)
    return Fail(Code::kInvalidArgument, fmt::format("no client register at {:#x}", offset));
  if (!acquired_)
    return Fail(Code::kInvalidArgument,
                fmt::format("write of {} without the core being acquired", info->name));
  log_.push_back({'W', offset, value});
  const uint32_t status = registers_[regs::kStatus];
  const bool busy = (status & (regs::kStatusRunning.mask() | regs::kStatusResetting.mask())) != 0;
  const auto refuse = [&] {
    return Fail(Code::kInvalidArgument,
                fmt::format("write of {:#x} to {}: bus error", value, info->name));
  };
  if (info->access == regs::Access::kRo || (info->locked && busy)) return refuse();
  if (offset == regs::kControl) {
    if (regs::kControlSoftReset.get(value) != 0) {
      for (const regs::RegisterInfo& r : regs::kRegisters)
        if (r.soft_clear) registers_[r.address] = r.reset;
      registers_[regs::kStatus] = regs::kStatusResetting.mask();
      interrupts_.clear();
    } else if (regs::kControlStart.get(value) != 0 &&
               (status & (regs::kStatusIdle.mask() | regs::kStatusDone.mask())) != 0) {
      Start(Clock::now());
      Advance(Clock::now());
    } else if (regs::kControlStart.get(value) != 0) {
      return refuse();
    }
  } else if (offset == regs::kSnapshot) {
    uint64_t cycles = behavior_.cycles;
    if (busy) {
      cycles = behavior_.progresses || !behavior_.never_ends
                   ? static_cast<uint64_t>((Clock::now() - started_).count())
                   : 0;
    }
    registers_[regs::kCyclesLo] = static_cast<uint32_t>(cycles);
    registers_[regs::kCyclesHi] = static_cast<uint32_t>(cycles >> 32);
    for (int queue = 0; queue < isa::kQueues; ++queue) {
      const uint32_t counter = regs::Counter(queue, static_cast<int>(isa::Class::kIdle));
      registers_[counter] = static_cast<uint32_t>(cycles);
      registers_[counter + 4] = static_cast<uint32_t>(cycles >> 32);
    }
    registers_[regs::kReadBytesFetchLo] = 64 * registers_[regs::kProgramCount];
    registers_[regs::kRetiredLo] =
        registers_[regs::kProgramCount] > 0 ? registers_[regs::kProgramCount] - 1 : 0;
  } else if (info->access == regs::Access::kW1c) {
    registers_[offset] &= ~value;
  } else if (info->access == regs::Access::kRw) {
    registers_[offset] = value & info->mask;
  }
  changed_.notify_all();
  return {};
}

Result<void> MockTransport::Acquire(Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (auto entered = Enter(lock, deadline); !entered) return entered;
  log_.push_back({'A'});
  acquired_ = true;
  return {};
}

Result<void> MockTransport::Release(Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (auto entered = Enter(lock, deadline); !entered) return entered;
  log_.push_back({'L'});
  acquired_ = false;
  return {};
}

Result<void> MockTransport::SetRegions(std::span<const RegionWindow> regions, Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (auto entered = Enter(lock, deadline); !entered) return entered;
  if (!acquired_) return Fail(Code::kInvalidArgument, "regions set without acquiring the core");
  if (regions.size() > isa::kRegions)
    return Fail(Code::kInvalidArgument, fmt::format("{} regions", regions.size()));
  for (const RegionWindow& w : regions) {
    if (w.bytes == 0) continue;
    if (w.base < info_.memory_base || w.base - info_.memory_base > memory_bytes_ ||
        w.bytes > memory_bytes_ - (w.base - info_.memory_base))
      return Fail(Code::kInvalidArgument,
                  fmt::format("window {:#x}+{:#x} leaves the client's memory", w.base, w.bytes));
  }
  if ((registers_[regs::kStatus] & (regs::kStatusRunning.mask() | regs::kStatusResetting.mask())) !=
      0)
    return Fail(Code::kInvalidArgument, "regions set while a job runs or the core is being reset");
  log_.push_back({'S', 0, static_cast<uint32_t>(regions.size())});
  regions_ = {};
  std::copy(regions.begin(), regions.end(), regions_.begin());
  return {};
}

Result<bool> MockTransport::WaitInterrupt(Deadline deadline) {
  std::unique_lock lock(mutex_);
  while (true) {
    if (dead_) return Fail(Code::kDeviceLost, "the mock device is gone");
    const auto now = Clock::now();
    Advance(now);
    if (!interrupts_.empty() && interrupts_.front() <= now) {
      interrupts_.pop_front();
      log_.push_back({'I'});
      return true;
    }
    if (std::exchange(woken_, false) || now >= deadline.when()) return false;
    auto until = deadline.when();
    if (!interrupts_.empty()) until = std::min(until, interrupts_.front());
    if (regs::kStatusRunning.get(registers_[regs::kStatus]) != 0 && !behavior_.never_ends)
      until = std::min(until, ends_);
    changed_.wait_until(lock, until);
  }
}

void MockTransport::Wake() {
  const std::lock_guard lock(mutex_);
  woken_ = true;
  changed_.notify_all();
}

Result<void> MockTransport::SetObserve(ObserveRequest request, Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (auto entered = Enter(lock, deadline); !entered) return entered;
  if (request.trace || request.results)
    return Fail(Code::kUnsupported, "the mock device has no observe port");
  return {};
}

Result<ObservationBlock> MockTransport::TakeObservations(Deadline) {
  return Fail(Code::kUnsupported, "the mock device has no observe port");
}

void MockTransport::Close(Deadline) noexcept {
  const std::lock_guard lock(mutex_);
  dead_ = true;
  changed_.notify_all();
}

TransportBackend MockBackend() {
  TransportBackend backend;
  backend.name = "mock";
  backend.description = "register file without a machine behind it, for tests";
  backend.open = [](const Uri& uri, Deadline) -> Result<std::unique_ptr<Transport>> {
    auto config = LoadConfig(uri.target.empty() ? DefaultConfigName() : uri.target);
    if (!config) return Fail(Code::kConfiguration, config.error().message);
    uint64_t memory_bytes = uint64_t{16} << 20;
    auto behavior = ParseBehavior(uri, &memory_bytes);
    if (!behavior) return tl::unexpected(behavior.error());
    if (memory_bytes == 0 || memory_bytes % 4096 != 0)
      return Fail(Code::kInvalidArgument, "option 'memory': not a positive multiple of 4096");
    auto mock = std::make_unique<MockTransport>(*config, memory_bytes);
    if (mock->memory().empty())
      return Fail(Code::kUnavailable, fmt::format("cannot map {} bytes", memory_bytes));
    mock->set_behavior(*behavior);
    return mock;
  };
  return backend;
}

}  // namespace octile::driver
