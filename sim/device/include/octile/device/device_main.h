// The device program: hosts one platform and serves it to clients over local sockets
// (driver/transport/channel.h).
//
//   octile-device-X --config-name NAME --config-text YAML [--option KEY=VALUE]... (--fd N |
//   --option listen=PATH) octile-device-X --config NAME|FILE --option listen=PATH
//
// With --fd the process belongs to the driver at the other end and ends with that connection.
// Without, it serves until SIGTERM or SIGINT.
#pragma once

#include "octile/device/host.h"

namespace octile::device {

int DeviceMain(int argc, char** argv, const PlatformBackend& backend);

}  // namespace octile::device
