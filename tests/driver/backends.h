// The backends that driver tests run on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "octile/driver/device.h"

namespace octile::driver {

// Makes "iss" and "model" known, the latter being the cycle-exact model in process. Idempotent.
void RegisterTestBackends();

class TestBackend {
 public:
  // mock, iss, model, systemc, socket, and rtl where it was built.
  static std::vector<std::string> Names();

  explicit TestBackend(const std::string& name);
  ~TestBackend();

  // Opens a device of configuration tiny.
  const std::string& uri() const { return uri_; }

 private:
  std::string uri_;
  std::string path_;
  Device listener_;  // socket: whose process listens
};

}  // namespace octile::driver
