// Data movement on host tensors of any element type: used for constants at import and by the
// reference. Arguments are those of a verified graph; nothing is checked again.
#pragma once

#include <span>
#include <vector>

#include "octile/ir/graph.h"

namespace octile::ir {

// y.shape[i] = x.shape[perm[i]].
Tensor TransposeTensor(const Tensor& x, std::span<const int64_t> perm);
// y[i...] = x[start + i * step...].
Tensor SliceTensor(const Tensor& x, std::span<const int64_t> starts, std::span<const int64_t> steps,
                   const Shape& sizes);
Tensor ConcatTensors(std::span<const Tensor* const> inputs, int64_t axis);
// `fill`: one element's bytes for PadMode::kConstant.
Tensor PadTensor(const Tensor& x, std::span<const int64_t> before, std::span<const int64_t> after,
                 PadMode mode, std::span<const uint8_t> fill);
// y[a.., i.., b..] = x[a.., indices[i..], b..]; negative indices count from the end. Fails on an
// index out of range.
Expected<Tensor> GatherTensor(const Tensor& x, const Tensor& indices, int64_t axis);
// NumPy broadcast to `shape`, which x fits.
Tensor BroadcastTensor(const Tensor& x, const Shape& shape);

// Element strides of x when its shape is broadcast to `shape`: 0 along broadcast axes.
std::vector<int64_t> BroadcastStrides(const Shape& x, const Shape& shape);

// Calls body(offset_a, offset_b) for every element of `shape` in row-major order; offsets by the
// given strides.
template <class Body>
void ForEachPair(const Shape& shape, std::span<const int64_t> strides_a,
                 std::span<const int64_t> strides_b, Body body) {
  const int64_t count = ElementCount(shape);
  std::vector<int64_t> index(shape.size(), 0);
  int64_t a = 0;
  int64_t b = 0;
  for (int64_t i = 0; i < count; ++i) {
    body(a, b);
    for (size_t d = shape.size(); d-- > 0;) {
      a += strides_a[d];
      b += strides_b[d];
      if (++index[d] < shape[d]) break;
      a -= strides_a[d] * shape[d];
      b -= strides_b[d] * shape[d];
      index[d] = 0;
    }
  }
}

}  // namespace octile::ir
