#include "layout.h"

#include <algorithm>

namespace octile::codegen {

std::optional<Form> FormOf(const Shape& shape) {
  if (shape.size() == 4) {
    if (shape[0] != 1) return std::nullopt;
    return Form{shape[1], shape[2], shape[3], false};
  }
  if (shape.size() > 4) return std::nullopt;
  if (shape.empty()) return Form{1, 1, 1, false};
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return Form{shape.back(), 1, rows, rows > 1};
}

std::optional<Buffer> BankAllocator::Allocate(int banks) {
  const int total = static_cast<int>(used_.size());
  const auto fits = [&](int start) {
    if (start + banks > total) return false;
    return std::none_of(used_.begin() + start, used_.begin() + start + banks,
                        [](bool used) { return used; });
  };
  // The run whose banks have been free for the longest time: what used them last is least likely to
  // be in the way.
  std::optional<int> best;
  int64_t best_freed = 0;
  for (int i = 0; i < total; ++i) {
    const int start = static_cast<int>((next_ + static_cast<size_t>(i)) % used_.size());
    if (!fits(start)) continue;
    const int64_t freed = *std::max_element(freed_.begin() + start, freed_.begin() + start + banks);
    if (best && freed >= best_freed) continue;
    best = start;
    best_freed = freed;
  }
  if (!best) return std::nullopt;
  std::fill(used_.begin() + *best, used_.begin() + *best + banks, true);
  next_ = static_cast<size_t>(*best + banks) % used_.size();
  return Buffer{*best, banks};
}

void BankAllocator::Free(const Buffer& buffer) {
  std::fill(used_.begin() + buffer.bank, used_.begin() + buffer.bank + buffer.banks, false);
  std::fill(freed_.begin() + buffer.bank, freed_.begin() + buffer.bank + buffer.banks, step_);
}

int BankAllocator::free_banks() const {
  return static_cast<int>(std::count(used_.begin(), used_.end(), false));
}

int BankAllocator::longest_run() const {
  int best = 0;
  int run = 0;
  for (const bool used : used_) {
    run = used ? 0 : run + 1;
    best = std::max(best, run);
  }
  return best;
}

}  // namespace octile::codegen
