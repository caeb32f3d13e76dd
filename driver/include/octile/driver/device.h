// Devices: what there is, opening, programs, jobs, reset. docs/driver.md is the guide.
//
//   auto device = Device::Open("systemc:base");
//   auto program = device->Load(compiled);
//   auto job = device->Submit(*program);
//   job->Wait(Deadline::After(std::chrono::seconds(60)));
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "octile/driver/buffer.h"
#include "octile/driver/capabilities.h"
#include "octile/driver/deadline.h"
#include "octile/driver/error.h"
#include "octile/driver/job.h"
#include "octile/driver/program_handle.h"
#include "octile/driver/report.h"
#include "octile/program/program.h"

namespace octile::driver {

struct OpenOptions {
  std::chrono::milliseconds timeout{20'000};  // for the whole opening
  // The bound on each single answer of the device (a register access, not a job).
  std::chrono::milliseconds answer_timeout{10'000};
};

struct LoadOptions {
  // false: the instructions are not looked at. For tests of the hardware's own checks; regions
  // still confine the job.
  bool verify = true;
};

enum class DeviceState {
  kReady,
  kNeedsReset,  // after a hang, or a reset that failed; only Reset and Close work
  kLost,        // the device is gone; only Close works
  kClosed
};

// One backend and configuration that can be opened.
struct DeviceInfo {
  std::string uri;
  std::string description;
  bool available = false;  // for rtl: the device executable of this configuration was found
};

// A path or other text for a device URI: bytes that mean something there ('?', '&', '%', blanks and
// what is not ASCII) become %XX. For CONFIG and for the values of options.
std::string EscapeUri(std::string_view text);

// An open device. All calls may come from any thread. Destruction closes fast: jobs that run are
// abandoned.
class Device {
 public:
  // Backends: "mock", "systemc", "rtl", and those that were registered ("iss"). Sorted by backend,
  // configurations in the order of rtl/spec/configs.yml.
  static std::vector<DeviceInfo> Enumerate();

  // BACKEND:CONFIG[?option=value&...], or socket:PATH. CONFIG is a name or a .yml file; empty means
  // the default one. Paths in it go through EscapeUri. The options are listed in docs/driver.md; an
  // unknown one is an error.
  static Result<Device> Open(std::string_view uri, const OpenOptions& options = {});

  Device();
  ~Device();
  Device(Device&&) noexcept;
  Device& operator=(Device&&) noexcept;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const std::string& uri() const;
  const Capabilities& capabilities() const;
  DeviceState state() const;

  // kOutOfMemory names what is free. bytes > 0.
  Result<Buffer> Allocate(uint64_t bytes) const;

  // Verifies the program, allocates its regions, fills them with their initial data. Nothing
  // reaches the device unless the program is valid: kProgramRejected, or kIncompatible when it was
  // compiled for another architecture or ISA.
  Result<ProgramHandle> Load(const Program& program, const LoadOptions& options = {}) const;

  // Queues a run; jobs of a device run in order of submission.
  Result<Job> Submit(const ProgramHandle& program, const SubmitOptions& options = {}) const;

  // Ends what runs (kCancelled) and what is queued, resets the core and proves by a self-test job
  // that it works: fetch, DMA in and out, interrupt. Success means kReady; on any error the state
  // is kNeedsReset or kLost.
  Result<void> Reset(Deadline deadline) const;

  // Waits for the jobs submitted so far, then closes. kTimeout: the deadline passed; closed
  // nevertheless, jobs abandoned.
  Result<void> Close(Deadline deadline);

 private:
  explicit Device(std::shared_ptr<class DeviceImpl> impl);
  std::shared_ptr<DeviceImpl> impl_;
};

}  // namespace octile::driver
