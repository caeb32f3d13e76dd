#include "backends.h"

#include <unistd.h>

#include <cstdlib>

#include "octile/device/in_process.h"
#include "octile/sim/iss_backend.h"
#include "octile/systemc/device.h"

namespace octile::driver {

void RegisterTestBackends() {
  static const bool once = [] {
    device::PlatformBackend backend;
    backend.name = "model";
    backend.make = [](const sim::DeviceOptions& options,
                      const device::PlatformBackend::Extras& extras)
        -> Expected<std::unique_ptr<sim::CoreDevice>> {
      if (!extras.empty())
        return octile::Fail(ErrorCode::kUsage, "no option '" + extras.begin()->first + "'");
      return systemc::MakeModelDevice(options);
    };
    device::RegisterInProcessBackend(backend, "the cycle-exact model in process");
    sim::RegisterIssBackend();
    return true;
  }();
  (void)once;
}

std::vector<std::string> TestBackend::Names() {
  RegisterTestBackends();
  std::vector<std::string> names{"mock", "iss", "model", "systemc", "socket"};
#ifdef OCTILE_TEST_RTL
  names.push_back("rtl");
#endif
  return names;
}

TestBackend::TestBackend(const std::string& name) : uri_(name + ":tiny") {
  RegisterTestBackends();
  if (name != "socket") return;
  const char* dir = std::getenv("TMPDIR");
  static int number = 0;
  path_ = std::string(dir != nullptr ? dir : "/tmp") + "/octile-test-" + std::to_string(getpid()) +
          "-" + std::to_string(++number);
  auto opened = Device::Open("systemc:tiny?listen=" + path_);
  if (opened) listener_ = std::move(*opened);
  uri_ = "socket:" + path_;
}

TestBackend::~TestBackend() = default;

}  // namespace octile::driver
