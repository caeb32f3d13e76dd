#include "transport/uri.h"

#include <fmt/format.h>

#include <charconv>

#include "octile/driver/device.h"

namespace octile::driver {
namespace {

// %XX as the byte XX; a NUL byte cannot be part of a path.
Result<std::string> Unescape(std::string_view text, std::string_view part) {
  std::string out;
  for (size_t i = 0; i < part.size(); ++i) {
    if (part[i] != '%') {
      out += part[i];
      continue;
    }
    const std::string_view digits = part.substr(i + 1, 2);
    uint8_t byte = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (digits.size() != 2 || error != std::errc() || end != digits.data() + 2 || byte == 0)
      return Fail(
          Code::kInvalidArgument,
          fmt::format("device '{}': '%{}' is no escaped byte; write '%25' for '%'", text, digits));
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

}  // namespace

std::string EscapeUri(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '%' || c == '?' || c == '&' || byte < 0x21 || byte > 0x7e) {
      out += fmt::format("%{:02X}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

std::string Uri::option(const std::string& key, std::string_view fallback) const {
  const auto it = options.find(key);
  return it == options.end() ? std::string(fallback) : it->second;
}

Result<Uri> ParseUri(std::string_view text) {
  Uri uri;
  uri.text = text;
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0)
    return Fail(
        Code::kInvalidArgument,
        fmt::format("device '{}': expected BACKEND:CONFIG, for example systemc:base", text));
  uri.backend = text.substr(0, colon);
  std::string_view rest = text.substr(colon + 1);
  const size_t question = rest.find('?');
  auto target = Unescape(text, rest.substr(0, question));
  if (!target) return tl::unexpected(target.error());
  uri.target = std::move(*target);
  if (question == std::string_view::npos) return uri;
  rest.remove_prefix(question + 1);
  while (!rest.empty()) {
    const size_t end = rest.find('&');
    const std::string_view item = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos || equals == 0)
      return Fail(Code::kInvalidArgument,
                  fmt::format("device '{}': option '{}' is not of the form key=value", text, item));
    const std::string key(item.substr(0, equals));
    auto value = Unescape(text, item.substr(equals + 1));
    if (!value) return tl::unexpected(value.error());
    if (!uri.options.emplace(key, std::move(*value)).second)
      return Fail(Code::kInvalidArgument,
                  fmt::format("device '{}': option '{}' is given twice", text, key));
  }
  return uri;
}

Result<uint64_t> ParseNumber(std::string_view option, std::string_view text) {
  uint64_t value = 0;
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  const std::string_view digits = hex ? text.substr(2) : text;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size())
    return Fail(Code::kInvalidArgument,
                fmt::format("option '{}': '{}' is not a non-negative number", option, text));
  return value;
}

}  // namespace octile::driver
