// Reset, and the proof that it worked: a job that moves a pattern through the activation buffer.
#include <fmt/format.h>

#include <cstring>
#include <thread>

#include "octile/isa/registers.h"
#include "src/device_impl.h"

namespace octile::driver {
namespace {

// The self-test page: instructions, then the pattern, then where it must arrive.
constexpr uint64_t kSource = 1024;
constexpr uint64_t kTarget = 2048;
constexpr int kBeats = 4;

}  // namespace

Result<void> DeviceImpl::SoftReset(Deadline deadline) {
  if (auto written = transport_->Write(regs::kControl, regs::kControlSoftReset.mask(), deadline);
      !written)
    return written;
  while (true) {
    const auto status = transport_->Read(regs::kStatus, deadline);
    if (!status) return tl::unexpected(status.error());
    if (regs::kStatusIdle.get(*status) != 0) break;
    if (deadline.passed())
      return Fail(
          Code::kTimeout,
          fmt::format("device '{}': soft reset does not end, STATUS is {:#x}", uri_, *status));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return {};
}

Result<void> DeviceImpl::CheckIdentity(Deadline deadline) {
  std::array<uint32_t, 4> r;
  if (auto read = transport_->ReadBlock(regs::kId, r, deadline); !read) return read;
  const uint64_t hash = uint64_t{r[3]} << 32 | r[2];
  if (r[0] != regs::kIdReset || r[1] != capabilities_.isa_version ||
      hash != capabilities_.arch_hash)
    return Fail(Code::kNeedsReset,
                fmt::format("device '{}' identifies itself differently after the reset", uri_));
  return {};
}

Result<void> DeviceImpl::SelfTest(Deadline deadline) {
  const uint64_t n = static_cast<uint64_t>(capabilities_.arch.n);
  isa::Lda load;
  load.region = 1;
  load.n0 = kBeats;
  load.header.signal0 = isa::Semaphore(0);
  isa::Sta store;
  store.region = 2;
  store.n0 = kBeats;
  store.header.wait0 = isa::Semaphore(0);
  const isa::Instruction code[] = {isa::Encode(load), isa::Encode(store), isa::Encode(isa::End{})};
  uint8_t* page = memory_.data() + self_test_page_;
  std::memcpy(page, code, sizeof(code));
  uint32_t state = 0x9e3779b9;
  for (uint64_t i = 0; i < kBeats * n; ++i) {
    state = state * 1664525 + 1013904223;
    page[kSource + i] = static_cast<uint8_t>(state >> 24);
    page[kTarget + i] = static_cast<uint8_t>(~page[kSource + i]);
  }
  Job::Impl job;
  job.count = std::size(code);
  const uint64_t base = memory_base() + self_test_page_;
  job.windows = {{base, sizeof(code), false, false, true},
                 {base + kSource, kBeats * n, true, false, false},
                 {base + kTarget, kBeats * n, false, true, false}};
  job.options.hang_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(deadline.left());
  if (auto started = StartJob(job); !started) return started;
  // AwaitEnd without its reaction to cancellations: this is the reset itself.
  while (true) {
    const auto interrupt =
        transport_->WaitInterrupt(deadline.AtMost(std::chrono::milliseconds(250)));
    if (!interrupt) return tl::unexpected(interrupt.error());
    const auto status = transport_->Read(regs::kStatus, deadline);
    if (!status) return tl::unexpected(status.error());
    if (regs::kStatusDone.get(*status) != 0) break;
    if (regs::kStatusFaulted.get(*status) != 0) {
      const auto cause = transport_->Read(regs::kFaultCause, deadline);
      if (!cause) return tl::unexpected(cause.error());
      return Fail(Code::kNeedsReset,
                  fmt::format("device '{}': the self-test after the reset ended with fault {}",
                              uri_, isa::FaultName(static_cast<isa::Fault>(*cause))));
    }
    if (deadline.passed())
      return Fail(Code::kTimeout,
                  fmt::format("device '{}': the self-test after the reset does not end", uri_));
    if (Stopping()) return Fail(Code::kStale, fmt::format("device '{}' was closed", uri_));
  }
  auto cleared = transport_->Write(
      regs::kIrqStatus, regs::kIrqStatusDone.mask() | regs::kIrqStatusFault.mask(), deadline);
  if (!cleared) return cleared;
  const auto counters = ReadCounters(deadline);
  if (!counters) return tl::unexpected(counters.error());
  if (std::memcmp(page + kSource, page + kTarget, kBeats * n) != 0)
    return Fail(Code::kNeedsReset,
                fmt::format("device '{}': the self-test after the reset moved {} bytes wrongly",
                            uri_, kBeats * n));
  if (counters->retired != 2)
    return Fail(
        Code::kNeedsReset,
        fmt::format("device '{}': the self-test after the reset retired {} instructions, not 2",
                    uri_, counters->retired));
  return {};
}

Result<void> DeviceImpl::RunReset(Deadline deadline) {
  Result<void> acquired =
      Fail(Code::kTimeout, fmt::format("device '{}': no time for a reset", uri_));
  while (!deadline.passed() && !Stopping()) {
    acquired = transport_->Acquire(deadline.AtMost(std::chrono::seconds(1)));
    if (acquired || acquired.error().code != Code::kTimeout) break;
  }
  if (!acquired) return acquired;
  Result<void> result = SoftReset(deadline);
  if (result) result = CheckIdentity(deadline);
  if (result) result = SelfTest(deadline);
  if (auto released = transport_->Release(Answer()); !released && result) result = released;
  return result;
}

}  // namespace octile::driver
