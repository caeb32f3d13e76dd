// Weight tiles and parameter sets as the hardware takes them (LDW, LDP in docs/isa.md).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/program/config.h"

namespace octile::codegen {

// Weight minus its zero point, -255..255, of output channel oc, input channel ic and tap (ky, kx).
using WeightFunction = std::function<int(int64_t oc, int64_t ic, int64_t ky, int64_t kx)>;

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
uint8_t WeightCode(const WeightCoding& coding, int difference, int pass);

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
void AppendTiles(const TileRequest& request, const WeightFunction& weight,
                 const WeightCoding& coding, int n, std::vector<uint8_t>& bytes);

// Bytes of an LDP entry.
void AppendWord(std::vector<uint8_t>& bytes, uint32_t word);
void AppendFloat(std::vector<uint8_t>& bytes, float value);

}  // namespace octile::codegen
