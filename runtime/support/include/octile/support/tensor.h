// A dense tensor on the host: element type, shape and little-endian bytes in row-major order.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octile/support/status.h"

namespace octile {

enum class DType : uint8_t { kU8, kS8, kU16, kS16, kS32, kS64, kF32, kF64, kBool };

// Short name ("u8", "s32", "f32", "bool" ...), as the text form of the graph prints it.
std::string_view DTypeName(DType type);
// The inverse of DTypeName.
Expected<DType> ParseDType(std::string_view name);
// Bytes per element.
int64_t DTypeSize(DType type);

using Shape = std::vector<int64_t>;

// "1x3x224x224"; "scalar" for rank 0.
std::string ShapeName(std::span<const int64_t> shape);
// Product of the dimensions (1 for rank 0). Saturates at INT64_MAX instead of overflowing; 0 if a
// dimension is <= 0.
int64_t ElementCount(std::span<const int64_t> shape);

struct Tensor {
  DType dtype = DType::kF32;
  Shape shape;
  std::vector<uint8_t> bytes;  // ElementCount(shape) * DTypeSize(dtype)

  Tensor() = default;
  // Zero-filled.
  Tensor(DType type, Shape dims)
      : dtype(type),
        shape(std::move(dims)),
        bytes(static_cast<size_t>(ElementCount(shape) * DTypeSize(type))) {}

  int64_t size() const { return ElementCount(shape); }

  // Typed access; T must have the element type's size and kind (u8 -> uint8_t, f32 -> float ...).
  template <class T>
  std::span<T> data() {
    return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  template <class T>
  std::span<const T> data() const {
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }

  bool operator==(const Tensor&) const = default;
};

}  // namespace octile
