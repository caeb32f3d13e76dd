#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "octile/driver/error.h"

namespace octile::driver {

// BACKEND:TARGET[?key=value&key=value...]; %XX in TARGET and in values stands for the byte XX, so
// that paths may hold '?', '&' and '%' (EscapeUri in octile/driver/device.h).
struct Uri {
  std::string text;
  std::string backend;
  std::string target;
  std::map<std::string, std::string> options;

  std::string option(const std::string& key, std::string_view fallback = "") const;
};

// kInvalidArgument: no backend, a key without value, a key given twice, a '%' that is no escape.
Result<Uri> ParseUri(std::string_view text);

// Decimal or 0x hexadecimal; kInvalidArgument names the option.
Result<uint64_t> ParseNumber(std::string_view option, std::string_view text);

}  // namespace octile::driver
