#include "octile/driver/error.h"

namespace octile::driver {

std::string_view CodeName(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
      return "invalid argument";
    case Code::kConfiguration:
      return "configuration";
    case Code::kNotFound:
      return "not found";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kIncompatible:
      return "incompatible";
    case Code::kProgramRejected:
      return "program rejected";
    case Code::kOutOfMemory:
      return "out of device memory";
    case Code::kTimeout:
      return "timeout";
    case Code::kFault:
      return "fault";
    case Code::kCancelled:
      return "cancelled";
    case Code::kHang:
      return "hang";
    case Code::kNeedsReset:
      return "needs reset";
    case Code::kDeviceLost:
      return "device lost";
    case Code::kStale:
      return "stale handle";
    case Code::kUnsupported:
      return "unsupported";
    case Code::kInternal:
      return "internal";
  }
  return "?";
}

octile::Error AsOctileError(const Error& error) {
  octile::ErrorCode code = octile::ErrorCode::kDevice;
  switch (error.code) {
    case Code::kInvalidArgument:
      code = octile::ErrorCode::kUsage;
      break;
    case Code::kConfiguration:
    case Code::kIncompatible:
    case Code::kProgramRejected:
      code = octile::ErrorCode::kProgram;
      break;
    case Code::kInternal:
      code = octile::ErrorCode::kInternal;
      break;
    default:
      break;
  }
  return {code, error.message};
}

}  // namespace octile::driver
