// Backends that are processes: the driver starts the device program (systemc, rtl), or attaches to
// one that listens (socket).
#pragma once

#include <string>

#include "octile/program/config.h"
#include "transport/transport.h"

namespace octile::driver {

TransportBackend ProcessBackend(const std::string& backend);
TransportBackend SocketBackend();

// The directories in which device programs are looked for, in order: OCTILE_DEVICE_DIR, the running
// program's own, and ../libexec/octile and
// ../bin beside that.
std::vector<std::string> DeviceDirectories();
// The program of an RTL device for this architecture: octile-device-rtl-NAME for a named one, with
// the architecture hash in the place of NAME for others.
enum class RtlVariant { kPlain, kWave, kChecked };
std::string RtlProgramName(const ArchConfig& arch, RtlVariant variant);
// Path of an executable file in one of them, or empty.
std::string FindDeviceProgram(const std::string& name);

}  // namespace octile::driver
