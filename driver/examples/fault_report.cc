// A fault, its report, and what comes after it. The device answers the first read of the input with
// a bus error, on request.
#include <chrono>
#include <cstdio>
#include <string>

#include "example_program.h"
#include "octile/driver/device.h"

using namespace octile::driver;
using namespace std::chrono_literals;

int main() {
  auto device = Device::Open("systemc:tiny?bus_read_error=1");
  if (!device) return 1;
  auto program = device->Load(CopyEightVectors(device->capabilities().arch));
  if (!program) return 1;
  auto job = device->Submit(*program);
  if (!job) return 1;
  const auto outcome = job->Wait(Deadline::After(10s));
  if (outcome) return 1;
  std::printf("outcome: %s\n", std::string(CodeName(outcome.error().code)).c_str());
  const auto fault = job->fault();
  if (!fault) return 1;
  std::printf(
      "%s at instruction %u, %llu bytes into the input\n",
      std::string(octile::isa::FaultName(fault->cause)).c_str(), fault->instruction,
      static_cast<unsigned long long>(fault->address - program->region(1)->device_address()));
  // The core has been reset; outputs of the failed job cannot be taken for results.
  std::printf("output byte 0: 0x%02x\n", (*program->region(2)->Map())[0]);

  auto again = device->Submit(*program);
  std::printf("again: %s\n", again && again->Wait(Deadline::After(10s)) ? "completed" : "failed");
  std::printf("reset with self-test: %s\n",
              device->Reset(Deadline::After(10s)) ? "passed" : "failed");

  // A program that would leave its region is refused before it reaches the device.
  octile::Program bad = CopyEightVectors(device->capabilities().arch);
  bad.regions[2].size -= 16;
  const auto refused = device->Load(bad);
  std::printf("smaller output region: %s\n", std::string(CodeName(refused.error().code)).c_str());
  return 0;
}
