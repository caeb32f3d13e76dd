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

uint8_t WeightCode(const WeightCoding& coding, int difference, int pass) {
  if (!coding.two_passes) return static_cast<uint8_t>(difference + coding.zero_point);
  const int first = std::clamp(difference, -128, 127);
  return static_cast<uint8_t>(pass == 0 ? first : difference - first + kSecondPassZeroPoint);
}

void AppendTiles(const TileRequest& request, const WeightFunction& weight,
                 const WeightCoding& coding, int n, std::vector<uint8_t>& bytes) {
  for (int64_t ky = 0; ky < request.kh; ++ky) {
    for (int64_t kx = 0; kx < request.kw; ++kx) {
      for (int64_t ib = request.first_in_block; ib < request.first_in_block + request.in_blocks;
           ++ib) {
        for (int64_t r = 0; r < n; ++r) {
          const int64_t ic = ib * n + r;
          for (int64_t c = 0; c < n; ++c) {
            const int64_t oc = request.block * n + c;
            const bool inside = ic < request.in_channels && oc < request.out_channels;
            bytes.push_back(WeightCode(coding, inside ? weight(oc, ic, ky, kx) : 0, request.pass));
          }
        }
      }
    }
  }
}

void AppendWord(std::vector<uint8_t>& bytes, uint32_t word) {
  for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<uint8_t>(word >> shift));
}

void AppendFloat(std::vector<uint8_t>& bytes, float value) {
  AppendWord(bytes, std::bit_cast<uint32_t>(value));
}

}  // namespace octile::codegen
