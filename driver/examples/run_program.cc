// Loads a program, gives it an input, runs it, reads its output, its counters and its trace.
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "example_program.h"
#include "octile/driver/device.h"

using namespace octile::driver;
using namespace std::chrono_literals;

namespace {

Result<void> Run() {
  auto device = Device::Open("systemc:tiny?read_latency=40");
  if (!device) return tl::unexpected(device.error());
  // Verified here; an invalid program goes no further.
  auto program = device->Load(CopyEightVectors(device->capabilities().arch));
  if (!program) return tl::unexpected(program.error());

  auto input = program->region(1);
  auto map = input->Map();  // the device's memory itself
  if (!map) return tl::unexpected(map.error());
  for (size_t i = 0; i < map->size(); ++i) (*map)[i] = static_cast<uint8_t>(3 * i);

  SubmitOptions options;
  options.observe_trace = true;
  auto job = device->Submit(*program, options);
  if (!job) return tl::unexpected(job.error());
  if (auto done = job->Wait(Deadline::After(10s)); !done) return done;

  std::vector<uint8_t> output(map->size());
  if (auto read = program->region(2)->Read(0, output); !read) return read;
  bool same = true;
  for (size_t i = 0; i < output.size(); ++i) same &= output[i] == static_cast<uint8_t>(3 * i);
  const JobCounters counters = *job->counters();
  std::printf("%s: %llu instructions, %llu bytes read, %llu bytes written\n",
              same ? "copied" : "wrong", static_cast<unsigned long long>(counters.retired),
              static_cast<unsigned long long>(counters.bytes_act),
              static_cast<unsigned long long>(counters.bytes_written));
  const Observations trace = *job->observations();
  std::printf("%llu cycles: load %llu to %llu, store %llu to %llu\n",
              static_cast<unsigned long long>(counters.cycles),
              static_cast<unsigned long long>(trace.issue[0]),
              static_cast<unsigned long long>(trace.completion[0]),
              static_cast<unsigned long long>(trace.issue[1]),
              static_cast<unsigned long long>(trace.completion[1]));
  return {};
}

}  // namespace

int main() {
  const auto result = Run();
  if (!result) std::printf("%s\n", result.error().message.c_str());
  return result ? 0 : 1;
}
