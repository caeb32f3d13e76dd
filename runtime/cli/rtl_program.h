// The RTL device program of a configuration: found, or built on the spot by octile-rtl-build.
#pragma once

#include <functional>
#include <string>

#include "octile/program/config.h"
#include "octile/support/status.h"
#include "transport/process.h"

namespace octile {

// Path of a device program that octile-rtl-build has in its cache or makes now; empty when one was
// built beforehand, which the driver finds by itself. `notice` is called with a sentence before a
// build that takes long; `interrupted` is polled, and true ends the build and all it started
// (kInterrupted). kProgram: the configuration cannot be built; kDevice: the build failed, or there
// is nothing to build with.
Expected<std::string> EnsureRtlProgram(const Config& config, driver::RtlVariant variant,
                                       const std::function<void(const std::string&)>& notice,
                                       const std::function<bool()>& interrupted);

}  // namespace octile
