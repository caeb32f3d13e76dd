// What devices there are, and what an open one can do.
#include <cstdio>

#include "octile/driver/device.h"

using namespace octile::driver;

int main() {
  for (const DeviceInfo& info : Device::Enumerate())
    if (info.uri == "systemc:tiny" || info.uri == "mock:base")
      std::printf("%s: %s\n", info.uri.c_str(), info.description.c_str());

  // The device is a process of its own; it starts here and ends with `device`.
  auto device = Device::Open("systemc:tiny");
  if (!device) {
    std::printf("%s\n", device.error().message.c_str());
    return 1;
  }
  const Capabilities& c = device->capabilities();
  std::printf("array %dx%d, buffer %d vectors of %d bytes, ring of %d tiles\n", c.arch.n, c.arch.n,
              c.arch.buffer_vectors(), c.arch.n, c.arch.ring_tiles);
  std::printf("instruction set %u.%u, %llu MiB of device memory\n", c.isa_version >> 16,
              c.isa_version & 0xffff, static_cast<unsigned long long>(c.memory_bytes >> 20));
  std::printf("cycle exact: %s, observable: %s\n", c.cycle_exact ? "yes" : "no",
              c.observable ? "yes" : "no");

  // Errors are values that say what is wrong.
  const auto none = Device::Open("systemc:gigantic");
  std::printf("%s\n", none ? "opened" : none.error().message.c_str());
  return 0;
}
