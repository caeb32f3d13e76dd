#include "octile/device/in_process.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "octile/isa/registers.h"
#include "octile/program/config.h"

namespace octile::device {
namespace {

using driver::Code;
using driver::Deadline;
using driver::Fail;
using driver::Result;

constexpr uint64_t kDefaultMemory = uint64_t{1} << 30;

class Mapping {
 public:
  explicit Mapping(uint64_t bytes)
      : bytes_(bytes),
        data_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~Mapping() {
    if (data_ != MAP_FAILED) munmap(data_, bytes_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::span<uint8_t> span() const {
    return data_ == MAP_FAILED ? std::span<uint8_t>()
                               : std::span(static_cast<uint8_t*>(data_), bytes_);
  }

 private:
  uint64_t bytes_;
  void* data_;
};

class InProcessTransport : public driver::Transport {
 public:
  InProcessTransport(driver::TransportInfo info, std::unique_ptr<Mapping> memory,
                     std::unique_ptr<sim::CoreDevice> device, const ArchConfig& arch,
                     FaultPlan plan)
      : info_(std::move(info)),
        memory_(std::move(memory)),
        host_(std::move(device), arch, std::move(plan), memory_->span()) {
    host_.SetContext(info_.context, info_.memory_base);
    simulator_ = std::thread([this] { Simulate(); });
  }
  ~InProcessTransport() override { Close(Deadline::Now()); }

  const driver::TransportInfo& info() const override { return info_; }
  std::span<uint8_t> memory() override { return memory_->span(); }

  Result<uint32_t> Read(uint32_t offset, Deadline deadline) override {
    Entry entry(*this);
    if (auto check = Check(offset, deadline, entry); !check) return tl::unexpected(check.error());
    return host_.Read(offset);
  }

  Result<void> Write(uint32_t offset, uint32_t value, Deadline deadline) override {
    Entry entry(*this);
    if (auto check = Check(offset, deadline, entry); !check) return check;
    if (!acquired_)
      return Fail(Code::kInvalidArgument, "register write without acquiring the core");
    return host_.Write(offset, value);
  }

  Result<void> Acquire(Deadline) override {
    Entry entry(*this);
    if (closed_) return Closed();
    acquired_ = true;
    return {};
  }

  Result<void> Release(Deadline) override {
    Entry entry(*this);
    if (closed_) return Closed();
    // What still runs when its owner leaves must not reach memory that is freed next.
    const uint32_t status = host_.Status();
    if (acquired_ && regs::kStatusRunning.get(status) != 0) host_.SoftReset();
    acquired_ = false;
    return {};
  }

  Result<void> SetRegions(std::span<const driver::RegionWindow> regions, Deadline) override {
    Entry entry(*this);
    if (closed_) return Closed();
    if (!acquired_) return Fail(Code::kInvalidArgument, "regions set without acquiring the core");
    if (auto valid = CheckWindows(regions, info_.memory_base, memory_->span().size()); !valid)
      return valid;
    if (auto set = host_.SetRegions(regions); !set) return set;
    host_.TakeInterrupts();
    interrupts_ = 0;
    return {};
  }

  Result<bool> WaitInterrupt(Deadline deadline) override {
    Entry entry(*this);
    while (true) {
      interrupts_ += host_.TakeInterrupts();
      if (interrupts_ > 0) {
        --interrupts_;
        return true;
      }
      if (closed_) return Closed();
      if (std::exchange(woken_, false) || deadline.passed()) return false;
      auto until = deadline.when();
      if (const auto next = host_.NextInterrupt()) until = std::min(until, *next);
      entry.Wait(until);
    }
  }

  void Wake() override {
    Entry entry(*this);
    woken_ = true;
    changed_.notify_all();
  }

  Result<void> SetObserve(driver::ObserveRequest request, Deadline) override {
    Entry entry(*this);
    if (closed_) return Closed();
    host_.SetObserve(request);
    return {};
  }

  Result<driver::ObservationBlock> TakeObservations(Deadline) override {
    Entry entry(*this);
    if (closed_) return Closed();
    const driver::ObservationBuilder* builder = host_.Observations();
    if (builder == nullptr) return Fail(Code::kUnsupported, "no observations were asked for");
    const uint64_t bytes = builder->total_bytes();
    auto storage = std::make_shared<std::vector<uint64_t>>((bytes + 7) / 8);
    auto* data = reinterpret_cast<uint8_t*>(storage->data());
    builder->Write(data);
    return driver::ObservationBlock{storage, {data, bytes}};
  }

  void Close(Deadline) noexcept override {
    {
      Entry entry(*this);
      closed_ = true;
      changed_.notify_all();
    }
    if (simulator_.joinable()) simulator_.join();
  }

 private:
  // Holds the lock; the simulating thread gives way to whoever waits for it.
  class Entry {
   public:
    explicit Entry(InProcessTransport& transport) : transport_(transport) {
      ++transport_.entering_;
      lock_ = std::unique_lock(transport_.mutex_);
      --transport_.entering_;
    }
    ~Entry() { transport_.changed_.notify_all(); }
    void Wait(Deadline::Clock::time_point until) { transport_.changed_.wait_until(lock_, until); }

   private:
    InProcessTransport& transport_;
    std::unique_lock<std::mutex> lock_;
  };

  tl::unexpected<driver::Error> Closed() const {
    return Fail(Code::kDeviceLost, fmt::format("{} device: closed", info_.backend));
  }

  Result<void> Check(uint32_t offset, Deadline deadline, Entry& entry) {
    if (closed_) return Closed();
    if (const auto delay = host_.AnswerDelay(); delay.count() > 0) {
      const auto until = std::min(deadline.when(), Deadline::Clock::now() + delay);
      while (Deadline::Clock::now() < until && !closed_) entry.Wait(until);
      if (closed_) return Closed();
      if (deadline.passed()) return Fail(Code::kTimeout, "the device did not answer in time");
    }
    if (offset >= regs::kSupervisorPage || offset % 4 != 0)
      return Fail(Code::kInvalidArgument, fmt::format("no client register at {:#x}", offset));
    if (offset >= regs::kControl && !acquired_)
      return Fail(Code::kInvalidArgument, "register access without acquiring the core");
    return {};
  }

  void Simulate() {
    std::unique_lock lock(mutex_);
    while (!closed_) {
      if (!host_.Runnable() || entering_ > 0) {
        // Without work until a register access brings some; with somebody waiting just long enough
        // to let him in.
        changed_.wait_for(
            lock, host_.Runnable() ? std::chrono::milliseconds(1) : std::chrono::milliseconds(500));
        continue;
      }
      host_.Step(std::chrono::milliseconds(2));
      if (host_.NextInterrupt()) changed_.notify_all();
    }
  }

  driver::TransportInfo info_;
  std::unique_ptr<Mapping> memory_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<int> entering_{0};
  DeviceHost host_;
  bool acquired_ = false;
  bool closed_ = false;
  bool woken_ = false;
  int interrupts_ = 0;
  std::thread simulator_;
};

Result<std::unique_ptr<driver::Transport>> Open(const PlatformBackend& backend,
                                                const driver::Uri& uri) {
  auto config = LoadConfig(uri.target.empty() ? DefaultConfigName() : uri.target);
  if (!config)
    return Fail(Code::kConfiguration,
                fmt::format("device '{}': {}", uri.text, config.error().message));
  FaultPlan plan;
  PlatformBackend::Extras extras;
  uint64_t bytes = kDefaultMemory;
  for (const auto& [key, value] : uri.options) {
    const auto bad = [&, key = key, value = value](const std::string& why) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("device '{}': option '{}={}': {}", uri.text, key, value, why));
    };
    if (key == "memory") {
      auto number = driver::ParseNumber(key, value);
      if (!number) return bad(number.error().message);
      bytes = *number;
      if (bytes == 0 || bytes % 4096 != 0) return bad("not a positive multiple of 4096");
      continue;
    }
    if (key == "die") return bad("an in-process device cannot die alone");
    const auto taken = plan.Set(key, value);
    if (!taken) return bad(taken.error().message);
    if (!*taken && !SetPlatformField(config->platform, key, value)) extras[key] = value;
  }
  if (auto valid = Validate(config->platform); !valid)
    return Fail(Code::kInvalidArgument,
                fmt::format("device '{}': {}", uri.text, valid.error().message));
  auto device = backend.make(OptionsOf(*config), extras);
  if (!device)
    return Fail(
        device.error().code == ErrorCode::kUsage ? Code::kInvalidArgument : Code::kUnavailable,
        fmt::format("device '{}': {}", uri.text, device.error().message));
  auto memory = std::make_unique<Mapping>(bytes);
  if (memory->span().empty())
    return Fail(Code::kUnavailable,
                fmt::format("device '{}': cannot map {} bytes", uri.text, bytes));
  driver::TransportInfo info;
  info.backend = backend.name;
  info.config = config->name;
  info.platform = backend.cycle_exact ? PlatformText(config->platform) : "";
  info.clock_mhz = config->platform.clock_mhz;
  info.context = 1;
  info.cycle_exact = backend.cycle_exact;
  info.observable = backend.observable;
  return std::make_unique<InProcessTransport>(std::move(info), std::move(memory),
                                              std::move(*device), config->arch, std::move(plan));
}

}  // namespace

void RegisterInProcessBackend(PlatformBackend backend, std::string description) {
  driver::TransportBackend entry;
  entry.name = backend.name;
  entry.description = std::move(description);
  entry.open = [backend = std::move(backend)](const driver::Uri& uri, Deadline) {
    return Open(backend, uri);
  };
  driver::RegisterBackend(std::move(entry));
}

}  // namespace octile::device
