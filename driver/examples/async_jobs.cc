// Many jobs in flight on two devices: queueing, callbacks, deadlines, cancellation.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "example_program.h"
#include "octile/driver/device.h"

using namespace octile::driver;
using namespace std::chrono_literals;

int main() {
  std::vector<Device> devices;
  std::vector<ProgramHandle> programs;
  // The second device's first job never ends: its clock stops in cycle 50.
  for (const char* uri : {"systemc:tiny", "systemc:small?hang=50"}) {
    auto device = Device::Open(uri);
    if (!device) return 1;
    auto program = device->Load(CopyEightVectors(device->capabilities().arch));
    if (!program) return 1;
    programs.push_back(*program);
    devices.push_back(std::move(*device));
  }

  auto stuck = devices[1].Submit(programs[1]);
  auto behind = devices[1].Submit(programs[1]);
  std::atomic<int> ended{0};
  std::vector<Job> jobs;
  for (int i = 0; i < 10; ++i) {
    SubmitOptions options;
    options.on_end = [&ended] { ++ended; };
    auto job = devices[0].Submit(programs[0], options);
    if (!job) return 1;
    jobs.push_back(*job);
  }
  for (const Job& job : jobs)
    if (!job.Wait(Deadline::After(10s))) return 1;
  // A job has ended for its waiters just before its callback runs.
  if (!devices[0].Close(Deadline::After(10s))) return 1;
  std::printf("first device: %d jobs ended\n", ended.load());

  // A deadline that passes is no failure; the job may still complete.
  const auto waited = stuck->Wait(Deadline::After(100ms));
  std::printf("second device: %s\n", std::string(CodeName(waited.error().code)).c_str());
  if (!stuck->Cancel(Deadline::After(10s))) return 1;
  std::printf("cancelled: %s\n", stuck->Poll() == JobState::kCancelled ? "yes" : "no");
  std::printf("the job behind it: %s\n",
              behind->Wait(Deadline::After(10s)) ? "completed" : "failed");
  return 0;
}
