// Running jobs: the thread behind a device, and Job.
#include "octile/driver/job.h"

#include <fmt/format.h>

#include <atomic>
#include <cstring>

#include "octile/isa/registers.h"
#include "src/device_impl.h"
#include "transport/observation_block.h"

namespace octile::driver {

Job::Job() = default;
Job::~Job() = default;
Job::Job(const Job&) = default;
Job& Job::operator=(const Job&) = default;
Job::Job(Job&&) noexcept = default;
Job& Job::operator=(Job&&) noexcept = default;

namespace {

tl::unexpected<Error> EmptyJob() { return Fail(Code::kStale, "the job handle is empty"); }

// Written over outputs of jobs that did not complete, so that no failure looks like a result.
constexpr uint8_t kPoison = 0xa5;
// How long an interrupt may be lost before STATUS is read instead: doubled up to the maximum.
constexpr std::chrono::milliseconds kFirstPoll{20};
constexpr std::chrono::milliseconds kLastPoll{250};

}  // namespace

uint32_t Job::id() const { return impl_ == nullptr ? 0 : impl_->id; }

JobState Job::Poll() const {
  return impl_ == nullptr ? JobState::kFailed : impl_->device->Poll(*impl_);
}

Result<void> Job::Wait(Deadline deadline) const {
  if (impl_ == nullptr) return EmptyJob();
  return impl_->device->Wait(*impl_, deadline);
}

Result<void> Job::Cancel(Deadline deadline) const {
  if (impl_ == nullptr) return EmptyJob();
  return impl_->device->Cancel(impl_, deadline);
}

Result<JobCounters> Job::counters() const {
  if (impl_ == nullptr) return EmptyJob();
  const std::lock_guard lock(impl_->device->mutex());
  if (!impl_->have_counters)
    return Fail(Code::kInvalidArgument,
                fmt::format("job {} has no counters: it has not ended by itself", impl_->id));
  return impl_->counters;
}

std::optional<FaultReport> Job::fault() const {
  if (impl_ == nullptr) return std::nullopt;
  const std::lock_guard lock(impl_->device->mutex());
  return impl_->fault;
}

Result<Observations> Job::observations() const {
  if (impl_ == nullptr) return EmptyJob();
  const std::lock_guard lock(impl_->device->mutex());
  if (!impl_->observations)
    return Fail(
        Code::kInvalidArgument,
        fmt::format("job {} has no observations: not asked for, or it has not ended by itself",
                    impl_->id));
  return *impl_->observations;
}

std::chrono::nanoseconds Job::wall_time() const {
  if (impl_ == nullptr) return {};
  const std::lock_guard lock(impl_->device->mutex());
  return impl_->wall_time;
}

JobState DeviceImpl::Poll(const Job::Impl& job) {
  const std::lock_guard lock(mutex_);
  return job.state;
}

Result<void> DeviceImpl::Wait(Job::Impl& job, Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, deadline.when(), [&] { return Ended(job.state); }))
    return Fail(Code::kTimeout, fmt::format("device '{}': job {} has not ended yet", uri_, job.id));
  if (job.error) return tl::unexpected(*job.error);
  return {};
}

Result<void> DeviceImpl::Cancel(const std::shared_ptr<Job::Impl>& job, Deadline deadline) {
  bool queued = false;
  {
    const std::lock_guard lock(mutex_);
    if (Ended(job->state)) return {};
    job->cancel = true;
    queued = std::erase(queue_, job) > 0;
  }
  if (queued) {
    EndJob(job, JobState::kCancelled,
           Error{Code::kCancelled, fmt::format("job {} was cancelled before it ran", job->id)});
    return {};
  }
  transport_->Wake();
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, deadline.when(), [&] { return Ended(job->state); }))
    return Fail(Code::kTimeout,
                fmt::format("device '{}': job {} is not cancelled yet", uri_, job->id));
  return {};
}

bool DeviceImpl::Stopping() {
  const std::lock_guard lock(mutex_);
  return stop_;
}

bool DeviceImpl::Cancelled(const Job::Impl& job) {
  const std::lock_guard lock(mutex_);
  return stop_ || aborting_ || job.cancel;
}

void DeviceImpl::EndJob(const std::shared_ptr<Job::Impl>& job, JobState state,
                        std::optional<Error> error) {
  // What never started has written nothing, and its outputs may be those of another job.
  if (state != JobState::kCompleted && job->started)
    for (const RegionWindow& output : job->outputs)
      std::memset(memory_.data() + (output.base - memory_base()), kPoison, output.bytes);
  // What the device wrote before it said so is visible to whoever sees the job ended.
  std::atomic_thread_fence(std::memory_order_acquire);
  std::function<void()> on_end;
  std::vector<Buffer> buffers;  // freed outside the lock
  {
    const std::lock_guard lock(mutex_);
    job->state = state;
    job->error = std::move(error);
    on_end = std::move(job->options.on_end);
    buffers.swap(job->buffers);
    changed_.notify_all();
  }
  if (on_end) on_end();
}

void DeviceImpl::Work() {
  while (true) {
    std::shared_ptr<Job::Impl> job;
    std::shared_ptr<Reset_> reset;
    std::deque<std::shared_ptr<Job::Impl>> dropped;
    bool stop = false;
    {
      std::unique_lock lock(mutex_);
      running_ = nullptr;
      changed_.notify_all();
      changed_.wait(lock, [&] { return stop_ || reset_ != nullptr || !queue_.empty(); });
      stop = stop_;
      reset = reset_;
      if (stop || reset != nullptr) {
        dropped.swap(queue_);
      } else {
        job = queue_.front();
        queue_.pop_front();
        running_ = job;
        job->state = JobState::kRunning;
      }
    }
    for (const auto& d : dropped)
      EndJob(d, JobState::kCancelled,
             Error{Code::kCancelled, fmt::format("job {} was cancelled: the device was {}", d->id,
                                                 stop ? "closed" : "reset")});
    if (reset != nullptr) {
      Result<void> result =
          stop ? Fail(Code::kStale, "the device was closed") : RunReset(reset->deadline);
      if (!stop) {
        if (result) {
          SetState(DeviceState::kReady);
        } else {
          SetState(result.error().code == Code::kDeviceLost ? DeviceState::kLost
                                                            : DeviceState::kNeedsReset);
        }
      }
      const std::lock_guard lock(mutex_);
      reset->result = std::move(result);
      reset->done = true;
      reset_ = nullptr;
      aborting_ = false;
      changed_.notify_all();
    }
    if (stop) return;
    if (job != nullptr) RunJob(job);
  }
}

Result<void> DeviceImpl::AcquireCore(const Job::Impl* job) {
  // Other clients may have the core for as long as their jobs take; a cancelled wait is woken.
  while (true) {
    auto acquired = transport_->Acquire(Deadline::After(std::chrono::seconds(1)));
    if (acquired || acquired.error().code != Code::kTimeout) return acquired;
    if (job != nullptr && Cancelled(*job))
      return Fail(Code::kCancelled, fmt::format("job {} was cancelled before it ran", job->id));
  }
}

// The whole life of a job on the device.
void DeviceImpl::RunJob(const std::shared_ptr<Job::Impl>& job) {
  if (state() != DeviceState::kReady) {
    EndJob(
        job, JobState::kFailed,
        Error{state() == DeviceState::kLost ? Code::kDeviceLost : Code::kNeedsReset,
              fmt::format("job {} did not run: an earlier one left the device unusable", job->id)});
    return;
  }
  if (auto acquired = AcquireCore(job.get()); !acquired) {
    NoteFailure(acquired.error());
    const bool cancelled = acquired.error().code == Code::kCancelled;
    EndJob(job, cancelled ? JobState::kCancelled : JobState::kFailed, acquired.error());
    return;
  }
  const auto start = Deadline::Clock::now();
  Result<void> outcome = StartJob(*job);
  if (outcome) outcome = AwaitEnd(*job);
  if (outcome) outcome = Collect(*job);
  const auto wall = Deadline::Clock::now() - start;
  JobState state = JobState::kCompleted;
  std::optional<Error> error;
  if (!outcome) {
    error = outcome.error();
    // A timeout here is a register access without an answer: after it nothing is known about the
    // device.
    if (error->code == Code::kTimeout)
      error = Error{Code::kDeviceLost, fmt::format("device '{}' did not answer within {} ms", uri_,
                                                   options_.answer_timeout.count())};
    state = error->code == Code::kCancelled ? JobState::kCancelled : JobState::kFailed;
    NoteFailure(*error);
  } else if (job->fault) {
    state = JobState::kFaulted;
    const FaultReport& f = *job->fault;
    error = Error{
        Code::kFault,
        fmt::format("device '{}': job {} ended with fault {} at instruction {}, address {:#x}",
                    uri_, job->id, isa::FaultName(f.cause), f.instruction, f.address)};
  }
  // After a fault the core wants a soft reset; after a cancellation it still runs.
  if (state == JobState::kFaulted || state == JobState::kCancelled) {
    if (auto reset = SoftReset(Answer()); !reset) {
      SetState(reset.error().code == Code::kDeviceLost ? DeviceState::kLost
                                                       : DeviceState::kNeedsReset);
    }
  }
  if (auto released = transport_->Release(Answer()); !released && !Stopping())
    NoteFailure(Error{Code::kDeviceLost, released.error().message});
  {
    const std::lock_guard lock(mutex_);
    job->wall_time = wall;
  }
  EndJob(job, state, std::move(error));
}

Result<void> DeviceImpl::StartJob(Job::Impl& job) {
  std::atomic_thread_fence(std::memory_order_release);
  if (auto set = transport_->SetRegions(job.windows, Answer()); !set) return set;
  if (capabilities_.observable) {
    const ObserveRequest request{job.options.observe_trace || job.options.observe_results,
                                 job.options.observe_results};
    if (auto set = transport_->SetObserve(request, Answer()); !set) return set;
  }
  const std::pair<uint32_t, uint32_t> writes[] = {
      // An event left over from before must not look like the end of this job.
      {regs::kIrqStatus, regs::kIrqStatusDone.mask() | regs::kIrqStatusFault.mask()},
      {regs::kIrqEnable, regs::kIrqEnableDone.mask() | regs::kIrqEnableFault.mask()},
      {regs::kProgramRegion, static_cast<uint32_t>(job.code_region)},
      {regs::kProgramOffset, job.first * isa::kInstructionBytes},
      {regs::kProgramCount, job.count},
      {regs::kJobId, job.id},
      {regs::kWatchdog, *job.options.watchdog_cycles},
      {regs::kControl, regs::kControlStart.mask()},
  };
  for (const auto& [offset, value] : writes) {
    if (offset == regs::kControl) job.started = true;
    if (auto written = transport_->Write(offset, value, Answer()); !written) return written;
  }
  return {};
}

// Until STATUS says done or faulted. The interrupt only says when to look; STATUS decides, so that
// lost, late, spurious and doubled interrupts all come out right.
Result<void> DeviceImpl::AwaitEnd(Job::Impl& job) {
  auto poll = kFirstPoll;
  uint64_t progress = 0;
  auto progressed = Deadline::Clock::now();
  while (true) {
    if (Cancelled(job)) return Fail(Code::kCancelled, fmt::format("job {} was cancelled", job.id));
    const auto interrupt = transport_->WaitInterrupt(Deadline::After(poll));
    if (!interrupt) return tl::unexpected(interrupt.error());
    const auto status = transport_->Read(regs::kStatus, Answer());
    if (!status) return tl::unexpected(status.error());
    if (regs::kStatusDone.get(*status) != 0 || regs::kStatusFaulted.get(*status) != 0) {
      return transport_->Write(
          regs::kIrqStatus, regs::kIrqStatusDone.mask() | regs::kIrqStatusFault.mask(), Answer());
    }
    if (regs::kStatusRunning.get(*status) == 0)
      return Fail(Code::kHang, fmt::format("device '{}': job {} vanished, STATUS is {:#x}", uri_,
                                           job.id, *status));
    // A spurious interrupt is no progress, either.
    if (!*interrupt) poll = std::min(poll * 2, kLastPoll);
    if (auto taken = transport_->Write(regs::kSnapshot, regs::kSnapshotTake.mask(), Answer());
        !taken)
      return taken;
    std::array<uint32_t, 2> cycles, retired;
    if (auto read = transport_->ReadBlock(regs::kCyclesLo, cycles, Answer()); !read) return read;
    if (auto read = transport_->ReadBlock(regs::kRetiredLo, retired, Answer()); !read) return read;
    // Of an untimed device the cycles stand still, but not the instructions.
    const uint64_t now =
        (uint64_t{cycles[1]} << 32 | cycles[0]) + (uint64_t{retired[1]} << 32 | retired[0]);
    const auto time = Deadline::Clock::now();
    if (now != progress) {
      progress = now;
      progressed = time;
    } else if (time - progressed >= job.options.hang_timeout) {
      return Fail(
          Code::kHang,
          fmt::format("device '{}': job {} made no progress for {} ms, at cycle {}; the device "
                      "needs a reset",
                      uri_, job.id, job.options.hang_timeout.count(),
                      uint64_t{cycles[1]} << 32 | cycles[0]));
    }
  }
}

Result<JobCounters> DeviceImpl::ReadCounters(Deadline deadline) {
  auto wide = [](std::span<const uint32_t> words, size_t i) {
    return uint64_t{words[2 * i + 1]} << 32 | words[2 * i];
  };
  JobCounters c;
  if (auto taken = transport_->Write(regs::kSnapshot, regs::kSnapshotTake.mask(), deadline); !taken)
    return tl::unexpected(taken.error());
  std::array<uint32_t, 2> cycles;
  if (auto read = transport_->ReadBlock(regs::kCyclesLo, cycles, deadline); !read)
    return tl::unexpected(read.error());
  c.cycles = wide(cycles, 0);
  for (int queue = 0; queue < isa::kQueues; ++queue) {
    std::array<uint32_t, 2 * isa::kClasses> row;
    if (auto read = transport_->ReadBlock(regs::Counter(queue, 0), row, deadline); !read)
      return tl::unexpected(read.error());
    for (int k = 0; k < isa::kClasses; ++k) c.classes[queue][k] = wide(row, k);
  }
  std::array<uint32_t, (regs::kRetiredHi - regs::kReadBytesFetchLo) / 4 + 1> rest;
  if (auto read = transport_->ReadBlock(regs::kReadBytesFetchLo, rest, deadline); !read)
    return tl::unexpected(read.error());
  c.bytes_fetch = wide(rest, 0);
  c.bytes_prm = wide(rest, 1);
  c.bytes_wgt = wide(rest, 2);
  c.bytes_act = wide(rest, 3);
  c.bytes_written = wide(rest, 4);
  c.retired = wide(rest, 5);
  return c;
}

// Counters, fault record and observations of a job that has ended.
Result<void> DeviceImpl::Collect(Job::Impl& job) {
  auto counters = ReadCounters(Answer());
  if (!counters) return tl::unexpected(counters.error());
  std::array<uint32_t, 6> record;  // FAULT_CAUSE .. FAULT_CONTEXT
  if (auto read = transport_->ReadBlock(regs::kFaultCause, record, Answer()); !read) return read;
  std::optional<FaultReport> fault;
  if (record[0] != 0) {
    FaultReport f;
    f.cause = static_cast<isa::Fault>(record[0]);
    f.instruction = record[1] + job.first;
    if (f.cause == isa::Fault::kConflict) f.second_instruction = record[2] + job.first;
    f.address = uint64_t{record[4]} << 32 | record[3];
    f.context = record[5];
    f.job_id = job.id;
    fault = f;
  }
  std::optional<Observations> observations;
  if (job.options.observe_trace || job.options.observe_results) {
    auto block = transport_->TakeObservations(Answer());
    if (!block) return tl::unexpected(block.error());
    auto parsed = ParseObservations(std::move(block->storage), block->bytes, job.first);
    if (!parsed) return tl::unexpected(parsed.error());
    observations = std::move(*parsed);
  }
  const std::lock_guard lock(mutex_);
  job.counters = *counters;
  job.have_counters = true;
  job.fault = fault;
  job.observations = std::move(observations);
  return {};
}

}  // namespace octile::driver
