#include "octile/driver/device.h"

#include <fmt/format.h>

#include <atomic>
#include <cstring>

#include "octile/isa/registers.h"
#include "src/device_impl.h"

namespace octile::driver {

// ---- Buffer

Buffer::Buffer() = default;
Buffer::~Buffer() = default;
Buffer::Buffer(const Buffer&) = default;
Buffer& Buffer::operator=(const Buffer&) = default;
Buffer::Buffer(Buffer&&) noexcept = default;
Buffer& Buffer::operator=(Buffer&&) noexcept = default;

Buffer::Impl::~Impl() {
  if (device != nullptr) device->Free(offset);
}

uint64_t Buffer::device_address() const {
  if (impl_ == nullptr) return 0;
  return impl_->device->memory_base() + impl_->offset + offset_;
}

bool Buffer::sealed() const { return impl_ != nullptr && impl_->sealed; }

Result<std::span<uint8_t>> Buffer::Map() const {
  if (sealed())
    return Fail(Code::kInvalidArgument,
                "the buffer holds a program's verified instructions: it can be read, not mapped or "
                "written");
  return Memory();
}

Result<std::span<uint8_t>> Buffer::Memory() const {
  if (impl_ == nullptr) return Fail(Code::kStale, "the buffer handle is empty");
  if (auto open = impl_->device->CheckOpen(); !open) return tl::unexpected(open.error());
  return impl_->device->memory().subspan(impl_->offset + offset_, bytes_);
}

namespace {

Result<void> CheckRange(const Buffer& buffer, uint64_t offset, uint64_t bytes) {
  if (offset > buffer.bytes() || bytes > buffer.bytes() - offset)
    return Fail(Code::kInvalidArgument, fmt::format("range {}+{} leaves a buffer of {} bytes",
                                                    offset, bytes, buffer.bytes()));
  return {};
}

}  // namespace

Result<Buffer> Buffer::Sub(uint64_t offset, uint64_t bytes) const {
  if (impl_ == nullptr) return Fail(Code::kStale, "the buffer handle is empty");
  if (auto range = CheckRange(*this, offset, bytes); !range) return tl::unexpected(range.error());
  Buffer sub = *this;
  sub.offset_ += offset;
  sub.bytes_ = bytes;
  return sub;
}

Result<void> Buffer::SyncToDevice(uint64_t offset, uint64_t bytes) const {
  if (auto map = Memory(); !map) return tl::unexpected(map.error());
  if (auto range = CheckRange(*this, offset, bytes); !range) return range;
  std::atomic_thread_fence(std::memory_order_release);
  return {};
}

Result<void> Buffer::SyncFromDevice(uint64_t offset, uint64_t bytes) const {
  if (auto map = Memory(); !map) return tl::unexpected(map.error());
  if (auto range = CheckRange(*this, offset, bytes); !range) return range;
  std::atomic_thread_fence(std::memory_order_acquire);
  return {};
}

Result<void> Buffer::Write(uint64_t offset, std::span<const uint8_t> data) const {
  auto map = Map();
  if (!map) return tl::unexpected(map.error());
  if (auto range = CheckRange(*this, offset, data.size()); !range) return range;
  if (!data.empty()) std::memcpy(map->data() + offset, data.data(), data.size());
  return SyncToDevice(offset, data.size());
}

Result<void> Buffer::Read(uint64_t offset, std::span<uint8_t> data) const {
  if (auto sync = SyncFromDevice(offset, data.size()); !sync) return sync;
  if (!data.empty()) std::memcpy(data.data(), Memory()->data() + offset, data.size());
  return {};
}

Result<void> Buffer::Fill(uint8_t value) const {
  auto map = Map();
  if (!map) return tl::unexpected(map.error());
  if (!map->empty()) std::memset(map->data(), value, map->size());
  return SyncToDevice(0, bytes_);
}

// ---- Device

Device::Device() = default;
Device::Device(std::shared_ptr<DeviceImpl> impl) : impl_(std::move(impl)) {}
Device::~Device() {
  if (impl_ != nullptr) (void)impl_->Close(Deadline::Now(), /*drain=*/false);
}
Device::Device(Device&&) noexcept = default;
Device& Device::operator=(Device&& other) noexcept {
  if (this != &other) {
    if (impl_ != nullptr) (void)impl_->Close(Deadline::Now(), /*drain=*/false);
    impl_ = std::move(other.impl_);
  }
  return *this;
}

std::vector<DeviceInfo> Device::Enumerate() {
  std::vector<DeviceInfo> list;
  for (const TransportBackend& backend : Backends()) {
    if (!backend.takes_config) continue;
    for (const std::string& config : ConfigNames())
      list.push_back({backend.name + ":" + config, backend.description,
                      backend.available == nullptr || backend.available(config)});
  }
  return list;
}

Result<Device> Device::Open(std::string_view uri, const OpenOptions& options) {
  auto impl = DeviceImpl::Open(uri, options);
  if (!impl) return tl::unexpected(impl.error());
  return Device(std::move(*impl));
}

namespace {

const tl::unexpected<Error>& EmptyDevice() {
  static const auto* error = new tl::unexpected<Error>(
      Error{Code::kStale, "the device handle is empty: moved from, or never opened"});
  return *error;
}

}  // namespace

const std::string& Device::uri() const {
  static const std::string* none = new std::string;
  return impl_ == nullptr ? *none : impl_->uri();
}

const Capabilities& Device::capabilities() const {
  static const Capabilities* none = new Capabilities;
  return impl_ == nullptr ? *none : impl_->capabilities();
}

DeviceState Device::state() const {
  return impl_ == nullptr ? DeviceState::kClosed : impl_->state();
}

Result<Buffer> Device::Allocate(uint64_t bytes) const {
  if (impl_ == nullptr) return EmptyDevice();
  return impl_->Allocate(bytes);
}

Result<ProgramHandle> Device::Load(const Program& program, const LoadOptions& options) const {
  if (impl_ == nullptr) return EmptyDevice();
  return impl_->Load(program, options);
}

Result<Job> Device::Submit(const ProgramHandle& program, const SubmitOptions& options) const {
  if (impl_ == nullptr) return EmptyDevice();
  return impl_->Submit(program, options);
}

Result<void> Device::Reset(Deadline deadline) const {
  if (impl_ == nullptr) return EmptyDevice();
  return impl_->Reset(deadline);
}

Result<void> Device::Close(Deadline deadline) {
  if (impl_ == nullptr) return EmptyDevice();
  return impl_->Close(deadline, /*drain=*/true);
}

// ---- DeviceImpl

Result<std::shared_ptr<DeviceImpl>> DeviceImpl::Open(std::string_view uri_text,
                                                     const OpenOptions& options) {
  const Deadline deadline = Deadline::After(options.timeout);
  auto uri = ParseUri(uri_text);
  if (!uri) return tl::unexpected(uri.error());
  const auto backends = Backends();
  const TransportBackend* backend = nullptr;
  std::string names;
  for (const TransportBackend& b : backends) {
    if (b.name == uri->backend) backend = &b;
    names += (names.empty() ? "" : ", ") + b.name;
  }
  if (backend == nullptr)
    return Fail(Code::kNotFound, fmt::format("device '{}': no backend '{}'; there are {}", uri_text,
                                             uri->backend, names));
  auto transport = backend->open(*uri, deadline);
  if (!transport) return tl::unexpected(transport.error());

  std::shared_ptr<DeviceImpl> impl(new DeviceImpl);
  impl->uri_ = uri_text;
  impl->options_ = options;
  impl->transport_ = std::move(*transport);
  impl->memory_ = impl->transport_->memory();
  impl->allocator_ = Allocator(impl->memory_.size());
  if (auto read = impl->ReadCapabilities(deadline); !read) return tl::unexpected(read.error());
  const auto page = impl->allocator_.Allocate(Buffer::kAlignment);
  if (!page)
    return Fail(Code::kOutOfMemory, fmt::format("device '{}': {} bytes of memory are not enough",
                                                uri_text, impl->memory_.size()));
  impl->self_test_page_ = *page;
  return impl;
}

Result<void> DeviceImpl::ReadCapabilities(Deadline deadline) {
  std::array<uint32_t, 10> r;  // ID .. CAP5
  if (auto read = transport_->ReadBlock(regs::kId, r, deadline); !read) return read;
  auto at = [&](uint32_t offset) { return r[(offset - regs::kId) / 4]; };
  auto i = [](uint32_t v) { return static_cast<int>(v); };
  if (at(regs::kId) != regs::kIdReset)
    return Fail(
        Code::kIncompatible,
        fmt::format("device '{}': ID register reads {:#010x}, not {:#010x}: not an Octile device",
                    uri_, at(regs::kId), regs::kIdReset));
  Capabilities& c = capabilities_;
  c.isa_version = at(regs::kIsaVersion);
  // Another minor version adds instructions; another major one changes them.
  if (c.isa_version >> 16 != isa::kVersion >> 16)
    return Fail(Code::kIncompatible,
                fmt::format("device '{}' has instruction set {}.{}, this driver {}.{}", uri_,
                            c.isa_version >> 16, c.isa_version & 0xffff, isa::kVersionMajor,
                            isa::kVersionMinor));
  c.arch_hash = uint64_t{at(regs::kArchHashHi)} << 32 | at(regs::kArchHashLo);
  c.arch.n = i(regs::kCap0N.get(at(regs::kCap0)));
  c.arch.weight_rows = i(regs::kCap0WeightRows.get(at(regs::kCap0)));
  c.arch.banks = i(regs::kCap0Banks.get(at(regs::kCap0)));
  c.arch.bank_depth = i(regs::kCap1BankDepth.get(at(regs::kCap1)));
  c.arch.ring_tiles = i(regs::kCap2RingTiles.get(at(regs::kCap2)));
  c.arch.acc_depth = i(regs::kCap3AccDepth.get(at(regs::kCap3)));
  c.arch.psets = i(regs::kCap3Psets.get(at(regs::kCap3)));
  c.arch.wrows = i(regs::kCap4Wrows.get(at(regs::kCap4)));
  c.arch.read_bursts = i(regs::kCap5ReadBursts.get(at(regs::kCap5)));
  c.arch.write_bursts = i(regs::kCap5WriteBursts.get(at(regs::kCap5)));
  if (auto valid = Validate(c.arch); !valid)
    return Fail(Code::kIncompatible,
                fmt::format("device '{}': its capability registers make no sense: {}", uri_,
                            valid.error().message));
  if (c.arch_hash != ArchHash(c.arch))
    return Fail(
        Code::kIncompatible,
        fmt::format("device '{}': architecture hash {:016x} does not belong to its capabilities "
                    "({}: {:016x})",
                    uri_, c.arch_hash, ArchText(c.arch), ArchHash(c.arch)));
  const TransportInfo& info = transport_->info();
  c.backend = info.backend;
  c.config = info.config;
  c.platform = info.platform;
  c.context = info.context;
  c.memory_bytes = memory_.size();
  c.cycle_exact = info.cycle_exact;
  c.observable = info.observable;
  c.clock_mhz = info.clock_mhz;
  return {};
}

DeviceImpl::~DeviceImpl() { (void)Close(Deadline::Now(), /*drain=*/false); }

DeviceState DeviceImpl::state() {
  const std::lock_guard lock(mutex_);
  return state_;
}

void DeviceImpl::SetState(DeviceState state) {
  const std::lock_guard lock(mutex_);
  if (state_ == DeviceState::kReady || state_ == DeviceState::kNeedsReset) state_ = state;
  changed_.notify_all();
}

void DeviceImpl::NoteFailure(const Error& error) {
  if (error.code == Code::kDeviceLost) SetState(DeviceState::kLost);
  if (error.code == Code::kTimeout || error.code == Code::kHang) SetState(DeviceState::kNeedsReset);
}

Result<void> DeviceImpl::CheckOpen() {
  const std::lock_guard lock(mutex_);
  if (state_ == DeviceState::kClosed)
    return Fail(Code::kStale, fmt::format("device '{}' is closed", uri_));
  return {};
}

Result<Buffer> DeviceImpl::Allocate(uint64_t bytes) {
  if (auto open = CheckOpen(); !open) return tl::unexpected(open.error());
  if (bytes == 0) return Fail(Code::kInvalidArgument, "a buffer of 0 bytes");
  auto impl = std::make_shared<Buffer::Impl>();
  {
    const std::lock_guard lock(allocator_mutex_);
    const auto offset = allocator_.Allocate(bytes);
    if (!offset)
      return Fail(
          Code::kOutOfMemory,
          fmt::format("device '{}': no room for {} bytes; {} are free, the largest piece has {}",
                      uri_, bytes, allocator_.free_bytes(), allocator_.largest_free()));
    impl->offset = *offset;
  }
  impl->bytes = bytes;
  impl->device = shared_from_this();
  // What an earlier owner left there is nobody's business.
  std::memset(memory_.data() + impl->offset, 0, bytes);
  Buffer buffer;
  buffer.impl_ = std::move(impl);
  buffer.bytes_ = bytes;
  return buffer;
}

void DeviceImpl::Free(uint64_t offset) {
  const std::lock_guard lock(allocator_mutex_);
  allocator_.Free(offset);
}

void DeviceImpl::StartWorker() {
  if (worker_.joinable()) return;
  // The thread keeps the object alive: a callback may drop the last handle.
  worker_ = std::thread([self = shared_from_this()] {
    self->worker_id_ = std::this_thread::get_id();
    self->Work();
  });
}

Result<Job> DeviceImpl::Submit(const ProgramHandle& program, const SubmitOptions& options) {
  if (program.impl_ == nullptr) return Fail(Code::kStale, "the program handle is empty");
  ProgramHandle::Impl& p = *program.impl_;
  if (p.device.get() != this)
    return Fail(Code::kInvalidArgument,
                fmt::format("the program was loaded on '{}', not on '{}'", p.device->uri(), uri_));
  auto job = std::make_shared<Job::Impl>();
  job->device = shared_from_this();
  job->options = options;
  job->first = options.first;
  if (options.first >= p.instructions)
    return Fail(Code::kInvalidArgument, fmt::format("first instruction {} of a program of {}",
                                                    options.first, p.instructions));
  job->count = options.count == 0 ? p.instructions - options.first : options.count;
  if (job->count > p.instructions - options.first)
    return Fail(Code::kInvalidArgument,
                fmt::format("instructions {}..{} of a program of {}", options.first,
                            uint64_t{options.first} + job->count - 1, p.instructions));
  // Only what was verified may run: an item of the plan, or the whole of a program without one.
  bool verified = p.plan.empty() && job->first == 0 && job->count == p.instructions;
  for (const PlanItem& item : p.plan)
    verified |= item.first == int64_t{job->first} && item.count == int64_t{job->count};
  if (!verified)
    return Fail(Code::kInvalidArgument,
                fmt::format("instructions {}..{} are not a job of the program's plan", job->first,
                            job->first + job->count - 1));
  if ((options.observe_trace || options.observe_results) && !capabilities_.observable)
    return Fail(Code::kUnsupported, fmt::format("device '{}' has no observe port", uri_));
  job->code_region = p.code_region;
  if (!job->options.watchdog_cycles) job->options.watchdog_cycles = p.watchdog_cycles;
  {
    const std::lock_guard lock(p.mutex);
    job->buffers = p.buffers;
  }
  for (size_t r = 0; r < p.regions.size(); ++r) {
    const Region& region = p.regions[r];
    job->windows.push_back(
        {job->buffers[r].device_address(), region.size, region.read, region.write, region.execute});
    if (region.kind == RegionKind::kOutputs) job->outputs.push_back(job->windows.back());
  }
  // The verifier orders accesses region by region: through two regions the same bytes would be
  // reached without any order.
  for (size_t a = 0; a < job->windows.size(); ++a)
    for (size_t b = a + 1; b < job->windows.size(); ++b) {
      const RegionWindow& x = job->windows[a];
      const RegionWindow& y = job->windows[b];
      if (x.bytes > 0 && y.bytes > 0 && (x.write || y.write) && x.base < y.base + y.bytes &&
          y.base < x.base + x.bytes)
        return Fail(Code::kInvalidArgument,
                    fmt::format("regions {} '{}' and {} '{}' are bound to overlapping memory and "
                                "one is writable",
                                a, p.regions[a].name, b, p.regions[b].name));
    }
  Job handle;
  {
    const std::lock_guard lock(mutex_);
    switch (state_) {
      case DeviceState::kReady:
        break;
      case DeviceState::kNeedsReset:
        return Fail(Code::kNeedsReset, fmt::format("device '{}' needs a reset", uri_));
      case DeviceState::kLost:
        return Fail(Code::kDeviceLost, fmt::format("device '{}' is lost; open it anew", uri_));
      case DeviceState::kClosed:
        return Fail(Code::kStale, fmt::format("device '{}' is closed", uri_));
    }
    job->id = next_job_id_++;
    queue_.push_back(job);
    StartWorker();
    changed_.notify_all();
  }
  handle.impl_ = std::move(job);
  return handle;
}

Result<void> DeviceImpl::Reset(Deadline deadline) {
  auto reset = std::make_shared<Reset_>(Reset_{deadline, false, {}});
  std::unique_lock lock(mutex_);
  if (state_ == DeviceState::kClosed)
    return Fail(Code::kStale, fmt::format("device '{}' is closed", uri_));
  if (state_ == DeviceState::kLost)
    return Fail(Code::kDeviceLost, fmt::format("device '{}' is lost; open it anew", uri_));
  while (reset_ != nullptr && !stop_)
    if (changed_.wait_until(lock, deadline.when()) == std::cv_status::timeout && reset_ != nullptr)
      return Fail(Code::kTimeout, fmt::format("device '{}': another reset is under way", uri_));
  reset_ = reset;
  aborting_ = true;
  StartWorker();
  changed_.notify_all();
  transport_->Wake();
  // The thread keeps to the deadline; a little more time for it to report.
  changed_.wait_until(lock, deadline.when() + std::chrono::milliseconds(50),
                      [&] { return reset->done; });
  if (!reset->done) {
    if (state_ == DeviceState::kReady) state_ = DeviceState::kNeedsReset;
    return Fail(Code::kTimeout, fmt::format("device '{}': the reset did not end in time", uri_));
  }
  return reset->result;
}

Result<void> DeviceImpl::Close(Deadline deadline, bool drain) {
  Result<void> result;
  std::unique_lock closing(close_mutex_, std::defer_lock);
  // A callback on the worker thread may close while another thread waits in here for that thread's
  // end.
  if (std::this_thread::get_id() != worker_id_.load()) closing.lock();
  {
    std::unique_lock lock(mutex_);
    if (state_ == DeviceState::kClosed && !worker_.joinable()) return {};
    const bool inside = !closing.owns_lock();
    if (drain && !inside && !changed_.wait_until(lock, deadline.when(), [&] {
          return queue_.empty() && running_ == nullptr;
        }))
      result = Fail(Code::kTimeout,
                    fmt::format("device '{}': jobs were still running; closed nevertheless", uri_));
    state_ = DeviceState::kClosed;
    stop_ = true;
    changed_.notify_all();
  }
  transport_->Wake();
  // Ends whatever access the worker waits for.
  transport_->Close(drain ? deadline : Deadline::After(std::chrono::seconds(2)));
  if (worker_.joinable()) {
    // Closing from a job's callback: the thread ends by itself after it.
    if (closing.owns_lock()) {
      worker_.join();
    } else if (closing.try_lock()) {
      worker_.detach();
    }
  }
  return result;
}

}  // namespace octile::driver
