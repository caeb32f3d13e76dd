// The instruction simulator as a device of the driver: iss:CONFIG.
#pragma once

namespace octile::sim {

// Makes the backend "iss" known to the driver (octile/driver/device.h); again does no harm. Options
// of the URI, besides those of every device in the driver's process: seed=S, the order of steps
// (octile/sim/iss.h); verify=0|1, whether the device itself looks for accesses that nothing orders
// (default 1).
void RegisterIssBackend();

}  // namespace octile::sim
