#include "octile/support/tensor.h"

#include <fmt/format.h>

#include <array>
#include <limits>

namespace octile {
namespace {

struct TypeRow {
  DType type;
  std::string_view name;
  int64_t size;
};
constexpr std::array<TypeRow, 9> kTypes{{{DType::kU8, "u8", 1},
                                         {DType::kS8, "s8", 1},
                                         {DType::kU16, "u16", 2},
                                         {DType::kS16, "s16", 2},
                                         {DType::kS32, "s32", 4},
                                         {DType::kS64, "s64", 8},
                                         {DType::kF32, "f32", 4},
                                         {DType::kF64, "f64", 8},
                                         {DType::kBool, "bool", 1}}};

const TypeRow& Row(DType type) { return kTypes[static_cast<size_t>(type)]; }

}  // namespace

std::string_view DTypeName(DType type) { return Row(type).name; }

Expected<DType> ParseDType(std::string_view name) {
  for (const TypeRow& row : kTypes)
    if (row.name == name) return row.type;
  return Fail(ErrorCode::kModel, fmt::format("'{}' is not an element type", name));
}

int64_t DTypeSize(DType type) { return Row(type).size; }

std::string ShapeName(std::span<const int64_t> shape) {
  if (shape.empty()) return "scalar";
  return fmt::format("{}", fmt::join(shape, "x"));
}

int64_t ElementCount(std::span<const int64_t> shape) {
  int64_t count = 1;
  for (int64_t dim : shape)
    if (dim <= 0) return 0;
  for (int64_t dim : shape)
    if (__builtin_mul_overflow(count, dim, &count)) return std::numeric_limits<int64_t>::max();
  return count;
}

}  // namespace octile
