// Shared vocabulary of the arithmetic (docs/numerics.md, rules N1 to N13).
//
// A code is the integer that a quantized tensor stores. Codes of both 8-bit types travel as int:
// 0..255 for u8, -128..127 for s8. Scales are fp32. Every function takes the legal codes [lo, hi]
// of its output, so a kept Relu or Clip is a narrower range (N3).
#pragma once

#include <bit>
#include <cstdint>

namespace octile::numerics {

struct CodeRange {
  int lo = 0;
  int hi = 255;
  friend bool operator==(const CodeRange&, const CodeRange&) = default;
};

inline constexpr CodeRange kU8{0, 255};
inline constexpr CodeRange kS8{-128, 127};
inline constexpr CodeRange kU16{0, 65535};
inline constexpr CodeRange kS16{-32768, 32767};

constexpr uint32_t FloatBits(float value) { return std::bit_cast<uint32_t>(value); }
constexpr float BitsFloat(uint32_t bits) { return std::bit_cast<float>(bits); }

// True if the bits are a positive normal fp32: what a multiplier of the hardware may be besides 0.
constexpr bool IsPositiveNormal(uint32_t bits) { return bits >= 0x00800000u && bits < 0x7f800000u; }

}  // namespace octile::numerics
