#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace octile::driver {

// First-fit allocator over 0 .. bytes - 1 in units of Buffer::kAlignment; neighbouring free blocks
// are merged. Not thread-safe.
class Allocator {
 public:
  explicit Allocator(uint64_t bytes = 0);

  // Offset of a block of at least `bytes` (> 0); nothing when no free block is large enough.
  std::optional<uint64_t> Allocate(uint64_t bytes);
  // `offset` as Allocate returned it.
  void Free(uint64_t offset);

  uint64_t free_bytes() const { return free_bytes_; }
  uint64_t largest_free() const;

 private:
  std::map<uint64_t, uint64_t> free_;  // offset -> bytes
  std::map<uint64_t, uint64_t> used_;
  uint64_t free_bytes_ = 0;
};

}  // namespace octile::driver
