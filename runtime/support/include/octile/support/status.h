// Errors are values: a code that decides the exit status of `octile`, and a sentence that names the
// thing at fault and says what to do about it.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace octile {

// The values are the exit codes of the `octile` program (docs/cli.md).
enum class ErrorCode : int {
  kMismatch = 1,      // a device and the host reference disagree
  kUsage = 2,         // wrong command line or argument
  kModel = 3,         // the ONNX model, or an input for it, is malformed or unsupported
  kProgram = 4,       // a compiled program or a configuration is malformed, invalid or does not fit
  kDevice = 5,        // a device failed, died, faulted or missed a deadline
  kInternal = 70,     // a defect in Octile itself
  kInterrupted = 130  // the user interrupted the run
};

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

template <class T>
using Expected = tl::expected<T, Error>;
using Status = Expected<void>;

// Usage: return Fail(ErrorCode::kModel, fmt::format("node '{}': ...", name));
inline tl::unexpected<Error> Fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace octile

#define OCTILE_CONCAT_INNER_(a, b) a##b
#define OCTILE_CONCAT_(a, b) OCTILE_CONCAT_INNER_(a, b)

// OCTILE_RETURN_IF_ERROR(expr): leaves the function with the error of a Status or Expected
// expression.
#define OCTILE_RETURN_IF_ERROR(expr)                                             \
  do {                                                                           \
    if (auto octile_status_ = (expr); !octile_status_)                           \
      return tl::unexpected<::octile::Error>(std::move(octile_status_).error()); \
  } while (false)

// OCTILE_ASSIGN_OR_RETURN(auto x, expr): binds the value, or leaves the function with the error.
#define OCTILE_ASSIGN_OR_RETURN(lhs, expr) \
  OCTILE_ASSIGN_OR_RETURN_IMPL_(OCTILE_CONCAT_(octile_expected_, __LINE__), lhs, expr)
#define OCTILE_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr)                       \
  auto tmp = (expr);                                                        \
  if (!tmp) return tl::unexpected<::octile::Error>(std::move(tmp).error()); \
  lhs = std::move(*tmp)
