// What Device, Buffer, ProgramHandle and Job have in common: the transport, the allocator, and the
// thread that runs jobs in order.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "octile/driver/device.h"
#include "src/allocator.h"
#include "transport/transport.h"

namespace octile::driver {

// A block of device memory.
struct Buffer::Impl {
  std::shared_ptr<DeviceImpl> device;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::atomic<bool> sealed = false;

  ~Impl();
};

struct ProgramHandle::Impl {
  std::shared_ptr<DeviceImpl> device;
  std::vector<Region> regions;  // without data
  std::vector<PlanItem> plan;   // device items only
  uint32_t instructions = 0;
  uint32_t watchdog_cycles = 0;  // of jobs that name none
  int code_region = 0;

  std::mutex mutex;
  std::vector<Buffer> buffers;  // by region
};

struct Job::Impl {
  std::shared_ptr<DeviceImpl> device;
  SubmitOptions options;
  uint32_t id = 0;
  uint32_t first = 0;
  uint32_t count = 0;
  int code_region = 0;
  std::vector<RegionWindow> windows;
  std::vector<Buffer> buffers;  // keeps the memory until the job has ended
  // Poisoned when the job does not complete: bytes of the windows, not of the buffers behind them.
  std::vector<RegionWindow> outputs;
  bool started = false;  // it may have written; on the worker thread

  // Guarded by DeviceImpl::mutex_.
  JobState state = JobState::kQueued;
  bool cancel = false;
  std::optional<Error> error;  // why it did not complete
  JobCounters counters;
  bool have_counters = false;
  std::optional<FaultReport> fault;
  std::optional<Observations> observations;
  std::chrono::nanoseconds wall_time{0};
};

class DeviceImpl : public std::enable_shared_from_this<DeviceImpl> {
 public:
  static Result<std::shared_ptr<DeviceImpl>> Open(std::string_view uri, const OpenOptions& options);
  ~DeviceImpl();

  const std::string& uri() const { return uri_; }
  const Capabilities& capabilities() const { return capabilities_; }
  DeviceState state();

  Result<Buffer> Allocate(uint64_t bytes);
  void Free(uint64_t offset);
  Result<ProgramHandle> Load(const Program& program, const LoadOptions& options);
  Result<Job> Submit(const ProgramHandle& program, const SubmitOptions& options);
  Result<void> Reset(Deadline deadline);
  // drain: first waits for what was submitted. Idempotent.
  Result<void> Close(Deadline deadline, bool drain);

  JobState Poll(const Job::Impl& job);
  Result<void> Wait(Job::Impl& job, Deadline deadline);
  Result<void> Cancel(const std::shared_ptr<Job::Impl>& job, Deadline deadline);

  // kStale once closed.
  Result<void> CheckOpen();
  // Nobody writes the buffer of a program's instructions any more.
  static void Seal(const Buffer& buffer) { buffer.impl_->sealed = true; }
  std::span<uint8_t> memory() { return memory_; }
  uint64_t memory_base() const { return transport_->info().memory_base; }
  std::mutex& mutex() { return mutex_; }

 private:
  // Queue entry: a job, or a reset when job is null.
  struct Reset_ {
    Deadline deadline;
    bool done = false;
    Result<void> result;
  };

  DeviceImpl() = default;
  Result<void> ReadCapabilities(Deadline deadline);
  void StartWorker();
  void Work();

  // On the worker thread (job.cc, self_test.cc).
  void RunJob(const std::shared_ptr<Job::Impl>& job);
  Result<void> StartJob(Job::Impl& job);
  Result<void> AwaitEnd(Job::Impl& job);
  Result<void> Collect(Job::Impl& job);
  Result<void> SoftReset(Deadline deadline);
  Result<void> RunReset(Deadline deadline);
  Result<void> CheckIdentity(Deadline deadline);
  Result<void> SelfTest(Deadline deadline);
  Result<JobCounters> ReadCounters(Deadline deadline);
  Result<void> AcquireCore(const Job::Impl* job);
  Deadline Answer() const { return Deadline::After(options_.answer_timeout); }
  bool Stopping();
  bool Cancelled(const Job::Impl& job);
  void EndJob(const std::shared_ptr<Job::Impl>& job, JobState state, std::optional<Error> error);
  // kDeviceLost and kTimeout of an access decide the state of the device.
  void NoteFailure(const Error& error);
  void SetState(DeviceState state);

  std::string uri_;
  OpenOptions options_;
  std::unique_ptr<Transport> transport_;
  std::span<uint8_t> memory_;
  Capabilities capabilities_;

  std::mutex allocator_mutex_;
  Allocator allocator_;
  uint64_t self_test_page_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  DeviceState state_ = DeviceState::kReady;
  bool stop_ = false;
  bool aborting_ = false;  // a reset waits: the running job gives way
  std::deque<std::shared_ptr<Job::Impl>> queue_;
  std::shared_ptr<Job::Impl> running_;
  std::shared_ptr<Reset_> reset_;
  uint32_t next_job_id_ = 1;
  std::mutex close_mutex_;
  std::thread worker_;
  std::atomic<std::thread::id> worker_id_{};
};

// Cycles without progress after which a job of this program is stuck.
uint32_t WatchdogCycles(const Program& program);

// Refuses what must not reach a device with these capabilities: kIncompatible, kProgramRejected.
Result<void> CheckProgram(const Program& program, const Capabilities& capabilities, bool verify);

}  // namespace octile::driver
