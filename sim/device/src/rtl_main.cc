// octile-device-rtl-<config>: the Verilated core of one configuration as a device process.
#include <fmt/format.h>

#include "octile/device/device_main.h"
#include "octile/verilated/device.h"
#include "transport/uri.h"

namespace {

using octile::ErrorCode;
using octile::Expected;
using octile::Fail;

// "A:B", "A:" or ":B".
octile::Status ParseWindow(const std::string& text, octile::verilated::RtlOptions* options) {
  const size_t colon = text.find(':');
  if (colon == std::string::npos)
    return Fail(ErrorCode::kUsage,
                fmt::format("option 'wave_cycles': '{}' is not BEGIN:END", text));
  const auto number = [](const std::string& part, uint64_t* value) -> octile::Status {
    if (part.empty()) return {};
    const auto parsed = octile::driver::ParseNumber("wave_cycles", part);
    if (!parsed) return Fail(ErrorCode::kUsage, parsed.error().message);
    *value = *parsed;
    return {};
  };
  OCTILE_RETURN_IF_ERROR(number(text.substr(0, colon), &options->wave_begin));
  OCTILE_RETURN_IF_ERROR(number(text.substr(colon + 1), &options->wave_end));
  if (options->wave_begin >= options->wave_end)
    return Fail(ErrorCode::kUsage, fmt::format("option 'wave_cycles': '{}' is empty", text));
  return {};
}

Expected<std::unique_ptr<octile::sim::CoreDevice>> Make(
    const octile::sim::DeviceOptions& device,
    const octile::device::PlatformBackend::Extras& extras) {
  octile::verilated::RtlOptions options;
  options.device = device;
  for (const auto& [key, value] : extras) {
    if (key == "wave") {
      options.wave = value;
    } else if (key == "wave_cycles") {
      OCTILE_RETURN_IF_ERROR(ParseWindow(value, &options));
    } else if (key == "seed_x") {
      const auto seed = octile::driver::ParseNumber(key, value);
      if (!seed) return Fail(ErrorCode::kUsage, seed.error().message);
      options.seed_x = *seed;
    } else if (key == "check_bus" && (value == "0" || value == "1")) {
      options.check_bus = value == "1";
    } else {
      return Fail(
          ErrorCode::kUsage,
          fmt::format("the RTL device has no option '{}={}'; it has wave=FILE, wave_cycles=A:B, "
                      "seed_x=N, check_bus=0|1",
                      key, value));
    }
  }
  return octile::verilated::MakeVerilatedDevice(options);
}

}  // namespace

int main(int argc, char** argv) {
  return octile::device::DeviceMain(argc, argv, {"rtl", true, true, Make});
}
