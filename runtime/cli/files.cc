#include "files.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace octile {

namespace fs = std::filesystem;

PendingFile::PendingFile(const fs::path& target) : target_(target) {
  std::error_code error;
  const fs::file_status status = fs::status(target, error);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    part_ = target_;
    return;
  }
  if (fs::is_symlink(fs::symlink_status(target, error))) {
    if (const fs::path resolved = fs::weakly_canonical(target, error); !error) target_ = resolved;
  }
  part_ = target_.parent_path() / fmt::format("{}.{}.part", target_.filename().string(), getpid());
}

PendingFile::~PendingFile() {
  std::error_code error;
  if (part_ != target_) fs::remove(part_, error);
}

Status PendingFile::Commit() {
  if (part_ == target_) return {};
  std::error_code error;
  fs::rename(part_, target_, error);
  if (error)
    return Fail(ErrorCode::kUsage,
                fmt::format("cannot write '{}': {}", target_.string(), error.message()));
  return {};
}

Status WriteFile(const fs::path& target, const std::string& text) {
  PendingFile file(target);
  errno = 0;
  std::ofstream stream(file.path(), std::ios::binary | std::ios::trunc);
  stream << text;
  stream.close();
  if (!stream)
    return Fail(ErrorCode::kUsage,
                fmt::format("cannot write '{}': {}", target.string(),
                            errno == 0 ? "the disk is full or failed" : std::strerror(errno)));
  return file.Commit();
}

}  // namespace octile
