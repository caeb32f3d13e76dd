// Files that the program writes: whole or not at all, however the program ends.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "octile/support/status.h"

namespace octile {

// A file under a name of its own beside `target`; it takes the target's place by Commit, and goes
// away with the object otherwise. A target that is there and is no plain file (/dev/stdout, a pipe)
// is written directly. Links are followed.
class PendingFile {
 public:
  explicit PendingFile(const std::filesystem::path& target);
  ~PendingFile();
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;

  // Where to write.
  const std::filesystem::path& path() const { return part_; }
  // kUsage: the target cannot be replaced.
  Status Commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path part_;
};

// Writes `target` by way of a pending file. kUsage names the target and the reason.
Status WriteFile(const std::filesystem::path& target, const std::string& text);

}  // namespace octile
