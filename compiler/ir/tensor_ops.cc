#include "octile/ir/tensor_ops.h"

#include <fmt/format.h>

#include <algorithm>

namespace octile::ir {
namespace {

std::vector<int64_t> RowMajorStrides(const Shape& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

// y[i...] = x[base + sum of index * stride]: every movement with affine addresses.
Tensor Gathered(const Tensor& x, const Shape& shape, int64_t base,
                std::span<const int64_t> strides) {
  Tensor y(x.dtype, shape);
  const auto size = static_cast<size_t>(DTypeSize(x.dtype));
  const std::vector<int64_t> zero(shape.size(), 0);
  uint8_t* out = y.bytes.data();
  ForEachPair(shape, strides, zero, [&](int64_t offset, int64_t) {
    std::memcpy(out, x.bytes.data() + static_cast<size_t>(base + offset) * size, size);
    out += size;
  });
  return y;
}

}  // namespace

Tensor TransposeTensor(const Tensor& x, std::span<const int64_t> perm) {
  const std::vector<int64_t> from = RowMajorStrides(x.shape);
  Shape shape;
  std::vector<int64_t> strides;
  for (int64_t p : perm) {
    shape.push_back(x.shape[static_cast<size_t>(p)]);
    strides.push_back(from[static_cast<size_t>(p)]);
  }
  return Gathered(x, shape, 0, strides);
}

Tensor SliceTensor(const Tensor& x, std::span<const int64_t> starts, std::span<const int64_t> steps,
                   const Shape& sizes) {
  std::vector<int64_t> strides = RowMajorStrides(x.shape);
  int64_t base = 0;
  for (size_t i = 0; i < strides.size(); ++i) {
    base += starts[i] * strides[i];
    strides[i] *= steps[i];
  }
  return Gathered(x, sizes, base, strides);
}

Tensor ConcatTensors(std::span<const Tensor* const> inputs, int64_t axis) {
  const auto a = static_cast<size_t>(axis);
  Shape shape = inputs[0]->shape;
  shape[a] = 0;
  for (const Tensor* x : inputs) shape[a] += x->shape[a];
  Tensor y(inputs[0]->dtype, shape);
  int64_t outer = 1;
  for (size_t i = 0; i < a; ++i) outer *= shape[i];
  uint8_t* out = y.bytes.data();
  for (int64_t o = 0; o < outer; ++o) {
    for (const Tensor* x : inputs) {
      const size_t part = x->bytes.size() / static_cast<size_t>(outer);
      if (part > 0) std::memcpy(out, x->bytes.data() + static_cast<size_t>(o) * part, part);
      out += part;
    }
  }
  return y;
}

Tensor PadTensor(const Tensor& x, std::span<const int64_t> before, std::span<const int64_t> after,
                 PadMode mode, std::span<const uint8_t> fill) {
  Shape shape = x.shape;
  for (size_t i = 0; i < shape.size(); ++i) shape[i] += before[i] + after[i];
  Tensor y(x.dtype, shape);
  const auto size = static_cast<size_t>(DTypeSize(x.dtype));
  const std::vector<int64_t> strides = RowMajorStrides(x.shape);
  std::vector<int64_t> index(shape.size(), 0);
  uint8_t* out = y.bytes.data();
  for (int64_t i = 0; i < y.size(); ++i, out += size) {
    int64_t offset = 0;
    bool inside = true;
    for (size_t d = 0; d < shape.size(); ++d) {
      int64_t at = index[d] - before[d];
      const int64_t last = x.shape[d] - 1;
      if (mode == PadMode::kEdge) at = std::clamp<int64_t>(at, 0, last);
      if (mode == PadMode::kReflect) {
        if (at < 0) at = -at;
        if (at > last) at = 2 * last - at;
      }
      inside &= at >= 0 && at <= last;
      offset += at * strides[d];
    }
    std::memcpy(out, inside ? x.bytes.data() + static_cast<size_t>(offset) * size : fill.data(),
                size);
    for (size_t d = shape.size(); d-- > 0;) {
      if (++index[d] < shape[d]) break;
      index[d] = 0;
    }
  }
  return y;
}

Expected<Tensor> GatherTensor(const Tensor& x, const Tensor& indices, int64_t axis) {
  const auto a = static_cast<size_t>(axis);
  const int64_t dim = x.shape[a];
  std::vector<int64_t> list;
  for (int64_t i = 0; i < indices.size(); ++i) {
    int64_t v = indices.dtype == DType::kS32 ? indices.data<int32_t>()[static_cast<size_t>(i)]
                                             : indices.data<int64_t>()[static_cast<size_t>(i)];
    if (v < -dim || v >= dim)
      return Fail(ErrorCode::kModel,
                  fmt::format("index {} is out of range for {} elements", v, dim));
    list.push_back(v < 0 ? v + dim : v);
  }
  Shape shape(x.shape.begin(), x.shape.begin() + axis);
  shape.insert(shape.end(), indices.shape.begin(), indices.shape.end());
  shape.insert(shape.end(), x.shape.begin() + axis + 1, x.shape.end());
  Tensor y(x.dtype, shape);
  int64_t outer = 1;
  for (size_t i = 0; i < a; ++i) outer *= x.shape[i];
  size_t inner = static_cast<size_t>(DTypeSize(x.dtype));
  for (size_t i = a + 1; i < x.shape.size(); ++i) inner *= static_cast<size_t>(x.shape[i]);
  uint8_t* out = y.bytes.data();
  if (y.bytes.empty()) return y;
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i : list) {
      std::memcpy(out, x.bytes.data() + static_cast<size_t>(o * dim + i) * inner, inner);
      out += inner;
    }
  }
  return y;
}

std::vector<int64_t> BroadcastStrides(const Shape& x, const Shape& shape) {
  const std::vector<int64_t> from = RowMajorStrides(x);
  std::vector<int64_t> strides(shape.size(), 0);
  for (size_t i = 0; i < x.size(); ++i)
    if (x[i] != 1) strides[i + shape.size() - x.size()] = from[i];
  return strides;
}

Tensor BroadcastTensor(const Tensor& x, const Shape& shape) {
  return Gathered(x, shape, 0, BroadcastStrides(x.shape, shape));
}

}  // namespace octile::ir
