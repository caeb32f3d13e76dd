// The two ways to run the cycle-exact model of the core as a device. Both have the same registers,
// cycles and results.
#pragma once

#include <memory>

#include "octile/sim/device.h"
#include "octile/support/status.h"

namespace octile::systemc {

// Without a simulation kernel: as many as wanted per process, of any configuration.
std::unique_ptr<sim::CoreDevice> MakeModelDevice(const sim::DeviceOptions& options);

// The SystemC platform: core module, TLM-2.0 register socket, interrupt signal, time of one
// nanosecond per cycle. SystemC elaborates once per process, so a device cannot be made after one
// has run (kDevice); its modules live until the process ends.
Expected<std::unique_ptr<sim::CoreDevice>> MakeSystemcDevice(const sim::DeviceOptions& options);

}  // namespace octile::systemc
