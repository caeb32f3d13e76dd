// Weight tiles and parameter sets as the hardware takes them (LDW, LDP in docs/isa.md).
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/program/config.h"

namespace octile::codegen {

// How differences -255..255 are written as 8-bit codes with one zero point.
struct WeightCoding {
  bool is_signed = true;
  int zero_point = 0;
  // Differences that no 8-bit code with a common zero point covers are the sum of two passes over
  // the input.
  bool two_passes = false;
};
WeightCoding ChooseCoding(int least, int greatest);
// The second pass covers -127..128 as uint8 codes, the first one -128..127 as int8 codes with zero
// point 0.
inline constexpr int kSecondPassZeroPoint = 127;

// The code of a difference in pass 0 or 1.
inline uint8_t WeightCode(const WeightCoding& coding, int difference, int pass) {
  if (!coding.two_passes) return static_cast<uint8_t>(difference + coding.zero_point);
  const int first = std::clamp(difference, -128, 127);
  return static_cast<uint8_t>(pass == 0 ? first : difference - first + kSecondPassZeroPoint);
}

// Appends the tiles of output block `block` for input blocks first..last, K order ky, kx, input
// block; lane r of a tile is input channel (input block)*N + r, lane c output channel block*N + c.
// Channels outside get weight 0.
struct TileRequest {
  int64_t out_channels = 0;
  int64_t in_channels = 0;
  int64_t block = 0;
  int64_t first_in_block = 0;
  int64_t in_blocks = 1;
  int64_t kh = 1;
  int64_t kw = 1;
  int pass = 0;
};
// weight(oc, ic, ky, kx): weight minus its zero point, -255..255, of output channel oc, input
// channel ic and tap (ky, kx). A template, because it is called for every weight of a network.
template <class Weight>
void AppendTiles(const TileRequest& request, const Weight& weight, const WeightCoding& coding,
                 int n, std::vector<uint8_t>& bytes) {
  const int64_t first = request.block * n;
  const int64_t inside = std::clamp<int64_t>(request.out_channels - first, 0, n);
  const size_t begin = bytes.size();
  bytes.resize(begin + static_cast<size_t>(request.kh * request.kw * request.in_blocks * n * n));
  uint8_t* to = bytes.data() + begin;
  const uint8_t zero = WeightCode(coding, 0, request.pass);
  for (int64_t ky = 0; ky < request.kh; ++ky) {
    for (int64_t kx = 0; kx < request.kw; ++kx) {
      const int64_t end = (request.first_in_block + request.in_blocks) * n;
      for (int64_t ic = request.first_in_block * n; ic < end; ++ic, to += n) {
        const int64_t used = ic < request.in_channels ? inside : 0;
        for (int64_t c = 0; c < used; ++c)
          to[c] = WeightCode(coding, weight(first + c, ic, ky, kx), request.pass);
        std::fill(to + used, to + n, zero);
      }
    }
  }
}

// Bytes of an LDP entry.
void AppendWord(std::vector<uint8_t>& bytes, uint32_t word);
void AppendFloat(std::vector<uint8_t>& bytes, float value);

}  // namespace octile::codegen
