#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "octile/driver/deadline.h"
#include "octile/driver/error.h"
#include "octile/driver/report.h"

namespace octile::driver {

enum class JobState {
  kQueued,  // waits for earlier jobs of this device
  kRunning,
  kCompleted,  // results are valid
  kFaulted,    // Job::fault says why
  kCancelled,
  kFailed  // device lost, hang; Job::Wait says which
};
constexpr bool Ended(JobState state) {
  return state != JobState::kQueued && state != JobState::kRunning;
}

struct SubmitOptions {
  // Which instructions: first .. first + count - 1 of the program, the last being END (a kDevice
  // item of the plan). first is a multiple of 4. count 0: to the end of the program.
  uint32_t first = 0;
  uint32_t count = 0;
  // Device cycles without any progress that raise the fault WATCHDOG; 0: never. Nothing: a million,
  // or more where an instruction of the program's vector unit, which counts as progress only when
  // it completes, may take longer.
  std::optional<uint32_t> watchdog_cycles;
  // Time without any progress of the device's cycle counter after which the job fails with kHang. A
  // job that progresses may take for ever.
  std::chrono::milliseconds hang_timeout{30'000};
  // Collect issue and completion cycles and counters by layer / also every result vector. Costs no
  // device cycle.
  bool observe_trace = false;
  bool observe_results = false;
  // Called once when the job has ended, on the driver's thread; must not block. Job calls other
  // than Wait are allowed in it.
  std::function<void()> on_end;
};

// A submitted run of a program. Handles may be copied and dropped; the job runs on.
class Job {
 public:
  Job();
  ~Job();
  Job(const Job&);
  Job& operator=(const Job&);
  Job(Job&&) noexcept;
  Job& operator=(Job&&) noexcept;

  bool valid() const { return impl_ != nullptr; }
  // Unique among the jobs of a device; what the JOB_ID register shows.
  uint32_t id() const;
  JobState Poll() const;

  // Waits for the end. Success: completed. kTimeout: the deadline passed and the job goes on.
  // Otherwise the reason why it did not complete: kFault, kCancelled, kHang, kDeviceLost, kStale.
  Result<void> Wait(Deadline deadline) const;

  // Takes a queued job out of the queue, or stops a running one by a soft reset (jobs queued behind
  // it go on). Success: the job has ended, possibly completed before the request came. kTimeout:
  // not yet; the request stands.
  Result<void> Cancel(Deadline deadline) const;

  // After the end. The counters also of a faulted job.
  Result<JobCounters> counters() const;
  // Set when the state is kFaulted.
  std::optional<FaultReport> fault() const;
  // kInvalidArgument: not asked for. The job must have completed or faulted.
  Result<Observations> observations() const;
  // Wall-clock time from start to end on the device, without the time in the queue.
  std::chrono::nanoseconds wall_time() const;

 private:
  friend class DeviceImpl;
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace octile::driver
