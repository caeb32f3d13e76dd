// The Verilated core on the memory platform, as a device like the SystemC one
// (octile/sim/device.h). A loop of clock cycles in plain C++, without a simulation kernel: what
// stands between the cycles is what makes a Verilated model slow.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "octile/sim/device.h"
#include "octile/support/status.h"

namespace octile::verilated {

struct RtlOptions {
  sim::DeviceOptions device;
  // Registers without reset start with random values of this seed instead of zero; only in models
  // built with assertions.
  uint64_t seed_x = 0;
  // Checks the AXI4 rules in every cycle; a violation ends the process with a message.
  bool check_bus = false;
  // An FST file of cycles wave_begin .. wave_end - 1 of each job; only in models built with
  // tracing. The next job replaces it.
  std::string wave;
  uint64_t wave_begin = 0;
  uint64_t wave_end = ~uint64_t{0};
};

// Refuses (kProgram) when the core this library was built for has another architecture hash, and
// (kUsage) options that need another build, naming it.
Expected<std::unique_ptr<sim::CoreDevice>> MakeVerilatedDevice(const RtlOptions& options);

}  // namespace octile::verilated
