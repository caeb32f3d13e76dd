// How tensors lie in the activation buffer and in device memory.
#pragma once

#include <cstdint>
#include <optional>

#include "octile/ir/graph.h"

namespace octile::codegen {

// A tensor seen as one image of c channels. The channel-blocked layout is [ceil(c/N)][h][w][N]
// codes; lanes beyond c hold anything. Rank 4 [1,C,H,W] is (C,H,W); a matrix [R,K] is K channels of
// one row of R pixels, channels last.
struct Form {
  int64_t c = 1;
  int64_t h = 1;
  int64_t w = 1;
  bool channels_last =
      false;  // row-major order of the tensor is (w, c), with h = 1; otherwise (c, h, w)

  int64_t blocks(int n) const { return (c + n - 1) / n; }
  int64_t pixels() const { return h * w; }
  int64_t vectors(int n) const { return blocks(n) * pixels(); }
  bool operator==(const Form&) const = default;
};

// The form of a shape by itself; nullopt if it has none (batches above 1 with images, rank above 4
// ...).
std::optional<Form> FormOf(const Shape& shape);

// A run of banks of the activation buffer that holds a tensor or a part of one.
struct Buffer {
  int bank = 0;
  int banks = 0;
};

// Allocation of whole banks, those that have been free the longest first, so that successive steps
// use different banks and can overlap. Two buffers never share a bank: streams of different
// instructions then never conflict by accident.
class BankAllocator {
 public:
  explicit BankAllocator(int banks)
      : used_(static_cast<size_t>(banks), false), freed_(static_cast<size_t>(banks), 0) {}

  // Begins the next step: banks freed from now on count as used later than those freed before.
  void NextStep() { ++step_; }

  // nullopt if no run of `banks` free banks exists.
  std::optional<Buffer> Allocate(int banks);
  void Free(const Buffer& buffer);
  int free_banks() const;
  // The longest run of free banks.
  int longest_run() const;

 private:
  std::vector<bool> used_;
  std::vector<int64_t> freed_;  // by bank: step in which it was freed last
  int64_t step_ = 1;
  size_t next_ = 0;
};

}  // namespace octile::codegen
