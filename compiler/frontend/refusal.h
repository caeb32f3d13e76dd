// Inside the frontend a refusal travels as an exception, because every line of the import may find
// the file at fault; the public functions turn it into an Error value.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

namespace octile::frontend {

struct Refusal {
  std::string message;
};

template <class... Args>
[[noreturn]] void Refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw Refusal{fmt::format(format, std::forward<Args>(args)...)};
}

}  // namespace octile::frontend
