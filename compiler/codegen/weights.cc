#include "weights.h"

#include <algorithm>
#include <bit>

namespace octile::codegen {

WeightCoding ChooseCoding(int least, int greatest) {
  if (least >= -128 && greatest <= 127) return {.is_signed = true, .zero_point = 0};
  if (greatest - least <= 255)
    return {.is_signed = false, .zero_point = std::clamp(-least, 0, 255)};
  return {.is_signed = true, .zero_point = 0, .two_passes = true};
}

void AppendWord(std::vector<uint8_t>& bytes, uint32_t word) {
  for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<uint8_t>(word >> shift));
}

void AppendFloat(std::vector<uint8_t>& bytes, float value) {
  AppendWord(bytes, std::bit_cast<uint32_t>(value));
}

}  // namespace octile::codegen
