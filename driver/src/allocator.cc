#include "src/allocator.h"

#include <algorithm>
#include <iterator>

#include "octile/driver/buffer.h"

namespace octile::driver {

Allocator::Allocator(uint64_t bytes)
    : free_bytes_(bytes / Buffer::kAlignment * Buffer::kAlignment) {
  if (free_bytes_ > 0) free_.emplace(0, free_bytes_);
}

std::optional<uint64_t> Allocator::Allocate(uint64_t bytes) {
  if (bytes == 0 || bytes > free_bytes_) return std::nullopt;
  bytes = (bytes + Buffer::kAlignment - 1) / Buffer::kAlignment * Buffer::kAlignment;
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->second < bytes) continue;
    const uint64_t offset = it->first;
    const uint64_t rest = it->second - bytes;
    free_.erase(it);
    if (rest > 0) free_.emplace(offset + bytes, rest);
    used_.emplace(offset, bytes);
    free_bytes_ -= bytes;
    return offset;
  }
  return std::nullopt;
}

void Allocator::Free(uint64_t offset) {
  const auto used = used_.find(offset);
  if (used == used_.end()) return;
  uint64_t bytes = used->second;
  used_.erase(used);
  free_bytes_ += bytes;
  auto next = free_.lower_bound(offset);
  if (next != free_.end() && offset + bytes == next->first) {
    bytes += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == offset) {
      previous->second += bytes;
      return;
    }
  }
  free_.emplace(offset, bytes);
}

uint64_t Allocator::largest_free() const {
  uint64_t largest = 0;
  for (const auto& [offset, bytes] : free_) largest = std::max(largest, bytes);
  return largest;
}

}  // namespace octile::driver
