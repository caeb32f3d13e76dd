// Platforms inside the driver's own process: a thread simulates. For the instruction simulator, and
// for models without a simulation kernel.
#pragma once

#include <functional>
#include <memory>

#include "octile/device/host.h"
#include "transport/transport.h"

namespace octile::device {

// Makes the backend known to the driver as BACKEND:CONFIG[?option=value...], with the options of a
// device process but those that need one.
void RegisterInProcessBackend(PlatformBackend backend, std::string description);

}  // namespace octile::device
