// Errors of the driver are values: a code to branch on and a sentence that names the thing at fault
// and says what to do.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

#include "octile/support/status.h"

namespace octile::driver {

enum class Code : int {
  kInvalidArgument,  // the call itself is wrong: range, alignment, malformed URI, unknown option, a
                     // buffer of another device
  kConfiguration,    // the named configuration does not exist or is malformed
  kNotFound,         // no such backend, device executable or socket
  kUnavailable,      // the device could not be started, or refuses a further client
  kIncompatible,     // protocol, instruction set version or architecture hash differ; the message
                     // names both sides
  kProgramRejected,  // the program is invalid; nothing of it reached the device
  kOutOfMemory,      // device memory is exhausted
  kTimeout,          // the deadline passed. Not a failure: what was asked for may still complete
  kFault,            // the job ended with a fault (Job::fault); its outputs are invalid
  kCancelled,        // the job was cancelled; its outputs are invalid
  kHang,             // the job made no progress for its hang timeout; the device needs a reset
  kNeedsReset,       // refused, because the device waits for Device::Reset
  kDeviceLost,       // the device died, does not answer or talks nonsense; only closing is left
  kStale,            // the handle is empty, or its device was closed
  kUnsupported,      // this backend cannot do that
  kInternal          // a defect in the driver
};
std::string_view CodeName(Code code);

struct Error {
  Code code = Code::kInternal;
  std::string message;
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> Fail(Code code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

// For callers that work with octile::Status: kProgram for what is wrong with program or
// configuration, kUsage for a wrong call, kInternal for a defect, kDevice for the rest.
octile::Error AsOctileError(const Error& error);

}  // namespace octile::driver
