// octile-device-systemc: the SystemC platform as a device process.
#include <fmt/format.h>

#include "octile/device/device_main.h"
#include "octile/systemc/device.h"

namespace {

octile::Expected<std::unique_ptr<octile::sim::CoreDevice>> Make(
    const octile::sim::DeviceOptions& options,
    const octile::device::PlatformBackend::Extras& extras) {
  octile::sim::DeviceOptions o = options;
  for (const auto& [key, value] : extras) {
    if (key != "timing_only" || (value != "0" && value != "1"))
      return octile::Fail(
          octile::ErrorCode::kUsage,
          fmt::format("the SystemC device has no option '{}={}'; it has timing_only=0|1", key,
                      value));
    o.timing_only = value == "1";
  }
  return octile::systemc::MakeSystemcDevice(o);
}

}  // namespace

// SystemC wants to own main; the kernel is only used inside MakeSystemcDevice's platform.
int sc_main(int, char**) { return 0; }

int main(int argc, char** argv) {
  return octile::device::DeviceMain(argc, argv, {"systemc", true, true, Make});
}
