#include "octile/sim/iss_backend.h"

#include <fmt/format.h>

#include "octile/device/in_process.h"
#include "octile/sim/iss.h"

namespace octile::sim {
namespace {

Expected<std::unique_ptr<CoreDevice>> Make(const DeviceOptions& device,
                                           const device::PlatformBackend::Extras& extras) {
  IssOptions options;
  options.core = device.core;
  options.seed = device.memory.seed;  // an untimed device has no other use for it
  for (const auto& [key, value] : extras) {
    if (key != "verify" || (value != "0" && value != "1"))
      return Fail(ErrorCode::kUsage,
                  fmt::format("the instruction simulator has no option '{}={}'; it has seed=S, "
                              "verify=0|1",
                              key, value));
    options.verify = value == "1";
  }
  return std::make_unique<Iss>(options);
}

}  // namespace

void RegisterIssBackend() {
  device::PlatformBackend backend;
  backend.name = "iss";
  backend.cycle_exact = false;
  backend.make = Make;
  device::RegisterInProcessBackend(std::move(backend),
                                   "instruction simulator: results without cycles");
}

}  // namespace octile::sim
