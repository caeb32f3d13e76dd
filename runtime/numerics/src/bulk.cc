#include "octile/numerics/bulk.h"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>
#include <vector>

#include "octile/numerics/fp.h"

#define OCTILE_AVX2 __attribute__((target("avx2,fma")))
#define OCTILE_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")))
#define OCTILE_VNNI \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")))

namespace octile::numerics::bulk {
namespace {

constexpr size_t kBlock = 16;  // columns of one packed block
constexpr size_t kPairsPerChunk =
    256;  // rows of weights (in pairs) kept in the first-level cache at a time
constexpr size_t kMaxRows = 12;  // rows of a in one micro-kernel

Isa Available(Isa wanted) { return std::min(wanted, BestIsa()); }

// One pair of int16 as the 32-bit word that the pairwise multiply-add broadcasts; the last row of
// an odd k pairs with zero.
inline int32_t LoadPair(const int16_t* p) {
  int32_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}
inline int32_t LoadLast(const int16_t* p) { return static_cast<uint16_t>(*p); }

// A span of the packed weights: `pairs` full pairs from `rows`, and one more single row if `odd`.
struct Span {
  const int16_t* const* rows;  // advanced by offset elements
  size_t offset;
  size_t pairs;
  bool odd;
  const int16_t* w;     // of the first block, at the first pair
  size_t block_stride;  // int16 elements from one block of columns to the next
  int32_t* acc;
  size_t ldc;
  size_t columns;  // valid columns from the first block on
};

void ScalarKernel(const Span& s, size_t m) {
  for (size_t i = 0; i < m; ++i) {
    const int16_t* a = s.rows[i] + s.offset;
    uint32_t sum[kBlock] = {};
    for (size_t p = 0; p < s.pairs + (s.odd ? 1 : 0); ++p) {
      const int32_t a0 = a[2 * p];
      const int32_t a1 = p < s.pairs ? a[2 * p + 1] : 0;
      const int16_t* w = s.w + p * 2 * kBlock;
      for (size_t j = 0; j < kBlock; ++j)
        sum[j] += static_cast<uint32_t>(a0 * w[2 * j] + a1 * w[2 * j + 1]);
    }
    for (size_t j = 0; j < std::min(s.columns, kBlock); ++j) {
      s.acc[i * s.ldc + j] =
          static_cast<int32_t>(static_cast<uint32_t>(s.acc[i * s.ldc + j]) + sum[j]);
    }
  }
}

// Micro-kernels: M rows by V vectors of columns held in registers over all pairs of the span.
template <int M>
OCTILE_AVX2 void Avx2Kernel(const Span& s) {
  __m256i sum[M][2];
  const int16_t* a[M];
  for (int i = 0; i < M; ++i) {
    a[i] = s.rows[i] + s.offset;
    sum[i][0] = sum[i][1] = _mm256_setzero_si256();
  }
  const int16_t* w = s.w;
  for (size_t p = 0; p < s.pairs; ++p, w += 2 * kBlock) {
    const __m256i w0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
    const __m256i w1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 16));
    for (int i = 0; i < M; ++i) {
      const __m256i pair = _mm256_set1_epi32(LoadPair(a[i] + 2 * p));
      sum[i][0] = _mm256_add_epi32(sum[i][0], _mm256_madd_epi16(pair, w0));
      sum[i][1] = _mm256_add_epi32(sum[i][1], _mm256_madd_epi16(pair, w1));
    }
  }
  if (s.odd) {
    const __m256i w0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
    const __m256i w1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 16));
    for (int i = 0; i < M; ++i) {
      const __m256i pair = _mm256_set1_epi32(LoadLast(a[i] + 2 * s.pairs));
      sum[i][0] = _mm256_add_epi32(sum[i][0], _mm256_madd_epi16(pair, w0));
      sum[i][1] = _mm256_add_epi32(sum[i][1], _mm256_madd_epi16(pair, w1));
    }
  }
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  for (int v = 0; v < 2; ++v) {
    const int valid = static_cast<int>(std::min(s.columns, kBlock)) - 8 * v;
    const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(valid), lane);
    for (int i = 0; i < M; ++i) {
      int* c = s.acc + static_cast<size_t>(i) * s.ldc + 8 * v;
      _mm256_maskstore_epi32(c, mask, _mm256_add_epi32(_mm256_maskload_epi32(c, mask), sum[i][v]));
    }
  }
}

__mmask16 ColumnMask(size_t valid) {
  return valid >= 16 ? 0xffff : static_cast<__mmask16>((1u << valid) - 1);
}

#define OCTILE_WIDE_KERNEL(NAME, TARGET, MULTIPLY_ADD)                                            \
  template <int M, int V>                                                                         \
  TARGET void NAME(const Span& s) {                                                               \
    __m512i sum[M][V];                                                                            \
    const int16_t* a[M];                                                                          \
    for (int i = 0; i < M; ++i) {                                                                 \
      a[i] = s.rows[i] + s.offset;                                                                \
      for (int v = 0; v < V; ++v) sum[i][v] = _mm512_setzero_si512();                             \
    }                                                                                             \
    const int16_t* w = s.w;                                                                       \
    for (size_t p = 0; p < s.pairs; ++p, w += 2 * kBlock) {                                       \
      __m512i weights[V];                                                                         \
      for (int v = 0; v < V; ++v) weights[v] = _mm512_loadu_si512(w + v * s.block_stride);        \
      for (int i = 0; i < M; ++i) {                                                               \
        const __m512i pair = _mm512_set1_epi32(LoadPair(a[i] + 2 * p));                           \
        for (int v = 0; v < V; ++v) sum[i][v] = MULTIPLY_ADD(sum[i][v], pair, weights[v]);        \
      }                                                                                           \
    }                                                                                             \
    if (s.odd) {                                                                                  \
      for (int v = 0; v < V; ++v) {                                                               \
        const __m512i weights = _mm512_loadu_si512(w + v * s.block_stride);                       \
        for (int i = 0; i < M; ++i) {                                                             \
          sum[i][v] =                                                                             \
              MULTIPLY_ADD(sum[i][v], _mm512_set1_epi32(LoadLast(a[i] + 2 * s.pairs)), weights);  \
        }                                                                                         \
      }                                                                                           \
    }                                                                                             \
    for (int v = 0; v < V; ++v) {                                                                 \
      const __mmask16 mask = ColumnMask(s.columns - v * kBlock);                                  \
      for (int i = 0; i < M; ++i) {                                                               \
        int32_t* c = s.acc + i * s.ldc + v * kBlock;                                              \
        _mm512_mask_storeu_epi32(c, mask,                                                         \
                                 _mm512_add_epi32(_mm512_maskz_loadu_epi32(mask, c), sum[i][v])); \
      }                                                                                           \
    }                                                                                             \
  }

OCTILE_AVX512 inline __m512i MultiplyAdd512(__m512i sum, __m512i a, __m512i w) {
  return _mm512_add_epi32(sum, _mm512_madd_epi16(a, w));
}

OCTILE_WIDE_KERNEL(Avx512Kernel, OCTILE_AVX512, MultiplyAdd512)
OCTILE_WIDE_KERNEL(VnniKernel, OCTILE_VNNI, _mm512_dpwssd_epi32)
#undef OCTILE_WIDE_KERNEL

using Kernel = void (*)(const Span&);

// One pass over m rows with the given number of columns blocks: the largest row kernels first.
template <size_t Count>
void RunRows(Span s, size_t m, const std::pair<size_t, Kernel> (&kernels)[Count]) {
  for (const auto& [rows, kernel] : kernels) {
    for (; m >= rows; m -= rows) {
      kernel(s);
      s.rows += rows;
      s.acc += rows * s.ldc;
    }
  }
}

constexpr std::pair<size_t, Kernel> kAvx2Kernels[] = {
    {6, Avx2Kernel<6>}, {4, Avx2Kernel<4>}, {2, Avx2Kernel<2>}, {1, Avx2Kernel<1>}};
constexpr std::pair<size_t, Kernel> kAvx512One[] = {
    {12, Avx512Kernel<12, 1>}, {4, Avx512Kernel<4, 1>}, {1, Avx512Kernel<1, 1>}};
constexpr std::pair<size_t, Kernel> kAvx512Two[] = {{12, Avx512Kernel<12, 2>},
                                                    {8, Avx512Kernel<8, 2>},
                                                    {4, Avx512Kernel<4, 2>},
                                                    {2, Avx512Kernel<2, 2>},
                                                    {1, Avx512Kernel<1, 2>}};
constexpr std::pair<size_t, Kernel> kVnniOne[] = {
    {12, VnniKernel<12, 1>}, {4, VnniKernel<4, 1>}, {1, VnniKernel<1, 1>}};
constexpr std::pair<size_t, Kernel> kVnniTwo[] = {{12, VnniKernel<12, 2>},
                                                  {8, VnniKernel<8, 2>},
                                                  {4, VnniKernel<4, 2>},
                                                  {2, VnniKernel<2, 2>},
                                                  {1, VnniKernel<1, 2>}};

// ---- Requantize, add, multiply on rows: 16 or 8 at a time, the rest through the scalar form ----

OCTILE_AVX512 size_t RequantizeRow512(const int32_t* acc, size_t count, const uint32_t* mult,
                                      size_t stride, int zy, CodeRange range, uint8_t* y) {
  const __m512 lo = _mm512_set1_ps(static_cast<float>(range.lo - zy));
  const __m512 hi = _mm512_set1_ps(static_cast<float>(range.hi - zy));
  const __m512i zero_point = _mm512_set1_epi32(zy);
  const __m512 common = _mm512_set1_ps(BitsFloat(mult[0]));
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m512 m =
        stride == 0 ? common : _mm512_loadu_ps(reinterpret_cast<const float*>(mult) + i);
    const __m512 value = _mm512_cvtepi32_ps(_mm512_loadu_si512(acc + i));
    const __m512 clamped = _mm512_min_ps(_mm512_max_ps(_mm512_mul_ps(value, m), lo), hi);
    const __m512i code = _mm512_add_epi32(_mm512_cvtps_epi32(clamped), zero_point);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), _mm512_cvtepi32_epi8(code));
  }
  return i;
}

// The low bytes of eight 32-bit lanes.
OCTILE_AVX2 inline void StoreLowBytes(__m256i code, uint8_t* y) {
  const __m256i pick =
      _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12, -1,
                       -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m256i bytes = _mm256_shuffle_epi8(code, pick);
  const int32_t low = _mm_cvtsi128_si32(_mm256_castsi256_si128(bytes));
  const int32_t high = _mm_cvtsi128_si32(_mm256_extracti128_si256(bytes, 1));
  std::memcpy(y, &low, 4);
  std::memcpy(y + 4, &high, 4);
}

OCTILE_AVX2 size_t RequantizeRow256(const int32_t* acc, size_t count, const uint32_t* mult,
                                    size_t stride, int zy, CodeRange range, uint8_t* y) {
  const __m256 lo = _mm256_set1_ps(static_cast<float>(range.lo - zy));
  const __m256 hi = _mm256_set1_ps(static_cast<float>(range.hi - zy));
  const __m256i zero_point = _mm256_set1_epi32(zy);
  const __m256 common = _mm256_set1_ps(BitsFloat(mult[0]));
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 m =
        stride == 0 ? common : _mm256_loadu_ps(reinterpret_cast<const float*>(mult) + i);
    const __m256 value =
        _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(acc + i)));
    const __m256 clamped = _mm256_min_ps(_mm256_max_ps(_mm256_mul_ps(value, m), lo), hi);
    StoreLowBytes(_mm256_add_epi32(_mm256_cvtps_epi32(clamped), zero_point), y + i);
  }
  return i;
}

inline bool IsSigned(CodeRange type) { return type.lo < 0; }
inline int CodeOf(uint8_t byte, CodeRange type) {
  return IsSigned(type) ? static_cast<int8_t>(byte) : byte;
}

OCTILE_AVX2 inline __m256i LoadCodes256(const uint8_t* p, bool is_signed) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return is_signed ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
}

OCTILE_AVX2 size_t AddRow256(const uint8_t* a, bool a_signed, const uint8_t* b, bool b_signed,
                             size_t count, const AddConstants& c, CodeRange range, uint8_t* y) {
  const __m256 ra = _mm256_set1_ps(c.ra);
  const __m256 rb = _mm256_set1_ps(c.rb);
  const __m256 f = _mm256_set1_ps(c.f);
  const __m256 lo = _mm256_set1_ps(static_cast<float>(range.lo));
  const __m256 hi = _mm256_set1_ps(static_cast<float>(range.hi));
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 va = _mm256_cvtepi32_ps(LoadCodes256(a + i, a_signed));
    const __m256 vb = _mm256_cvtepi32_ps(LoadCodes256(b + i, b_signed));
    const __m256 value = _mm256_fmadd_ps(va, ra, _mm256_fmadd_ps(vb, rb, f));
    StoreLowBytes(_mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(value, lo), hi)), y + i);
  }
  return i;
}

OCTILE_AVX2 size_t AffineRow256(const uint8_t* x, bool is_signed, size_t count, const float* a,
                                const float* f, CodeRange range, uint8_t* y) {
  const __m256 lo = _mm256_set1_ps(static_cast<float>(range.lo));
  const __m256 hi = _mm256_set1_ps(static_cast<float>(range.hi));
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 code = _mm256_cvtepi32_ps(LoadCodes256(x + i, is_signed));
    const __m256 value = _mm256_fmadd_ps(code, _mm256_loadu_ps(a + i), _mm256_loadu_ps(f + i));
    StoreLowBytes(_mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(value, lo), hi)), y + i);
  }
  return i;
}

OCTILE_AVX2 size_t MulRow256(const uint8_t* a, bool a_signed, int za, const uint8_t* b,
                             bool b_signed, int zb, size_t count, float r, int zc, CodeRange range,
                             uint8_t* y) {
  const __m256i vza = _mm256_set1_epi32(za);
  const __m256i vzb = _mm256_set1_epi32(zb);
  const __m256 vr = _mm256_set1_ps(r);
  const __m256 vzc = _mm256_set1_ps(static_cast<float>(zc));
  const __m256 lo = _mm256_set1_ps(static_cast<float>(range.lo));
  const __m256 hi = _mm256_set1_ps(static_cast<float>(range.hi));
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256i da = _mm256_sub_epi32(LoadCodes256(a + i, a_signed), vza);
    const __m256i db = _mm256_sub_epi32(LoadCodes256(b + i, b_signed), vzb);
    const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_mullo_epi32(da, db)), vr);
    const __m256 value = _mm256_add_ps(scaled, vzc);
    StoreLowBytes(_mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(value, lo), hi)), y + i);
  }
  return i;
}

// ---- Table: two permutations of 128 entries each, the top bit of the code chooses ----

__attribute__((target("avx512f,avx512bw,avx512vbmi"))) size_t TableRow512(const uint8_t* x,
                                                                          size_t count,
                                                                          const uint8_t table[256],
                                                                          uint8_t* y) {
  const __m512i t0 = _mm512_loadu_si512(table);
  const __m512i t1 = _mm512_loadu_si512(table + 64);
  const __m512i t2 = _mm512_loadu_si512(table + 128);
  const __m512i t3 = _mm512_loadu_si512(table + 192);
  size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const __m512i code = _mm512_loadu_si512(x + i);
    const __m512i low = _mm512_permutex2var_epi8(t0, code, t1);
    const __m512i high = _mm512_permutex2var_epi8(t2, code, t3);
    _mm512_storeu_si512(y + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(code), low, high));
  }
  return i;
}

// ---- Depthwise: one product per 32-bit lane, the other half of the pair multiplied by zero ----

OCTILE_AVX512 size_t Depthwise512(const int16_t* const* rows, size_t taps, const int16_t* w,
                                  size_t channels, int32_t* acc) {
  size_t c = 0;
  for (; c + 32 <= channels; c += 32) {
    __m512i sum0 = _mm512_loadu_si512(acc + c);
    __m512i sum1 = _mm512_loadu_si512(acc + c + 16);
    for (size_t t = 0; t < taps; ++t) {
      const int16_t* a = rows[t] + c;
      const int16_t* k = w + t * channels + c;
      const __m512i a0 =
          _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(a)));
      const __m512i a1 =
          _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + 16)));
      const __m512i k0 =
          _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(k)));
      const __m512i k1 =
          _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(k + 16)));
      sum0 = _mm512_add_epi32(sum0, _mm512_madd_epi16(a0, k0));
      sum1 = _mm512_add_epi32(sum1, _mm512_madd_epi16(a1, k1));
    }
    _mm512_storeu_si512(acc + c, sum0);
    _mm512_storeu_si512(acc + c + 16, sum1);
  }
  return c;
}

OCTILE_AVX2 size_t Depthwise256(const int16_t* const* rows, size_t taps, const int16_t* w,
                                size_t channels, size_t begin, int32_t* acc) {
  size_t c = begin;
  for (; c + 8 <= channels; c += 8) {
    __m256i sum = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(acc + c));
    for (size_t t = 0; t < taps; ++t) {
      const __m256i a =
          _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[t] + c)));
      const __m256i k = _mm256_cvtepu16_epi32(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(w + t * channels + c)));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, k));
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(acc + c), sum);
  }
  return c;
}

}  // namespace

namespace {

constexpr Isa kIsas[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Vnni};

// What OCTILE_ISA allows; nothing if it names no Isa.
std::optional<Isa> AllowedIsa() {
  const char* name = std::getenv("OCTILE_ISA");
  if (name == nullptr || *name == '\0') return kIsas[3];
  for (const Isa isa : kIsas)
    if (std::strcmp(name, IsaName(isa)) == 0) return isa;
  return std::nullopt;
}

}  // namespace

Status CheckIsaVariable() {
  if (AllowedIsa()) return {};
  return Fail(ErrorCode::kUsage, std::string("OCTILE_ISA: '") + std::getenv("OCTILE_ISA") +
                                     "' is none of scalar, avx2, avx512, avx512vnni");
}

Isa BestIsa() {
  static const Isa best = std::min(AllowedIsa().value_or(kIsas[3]), [] {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("fma")) {
      return __builtin_cpu_supports("avx512vnni") ? Isa::kAvx512Vnni : Isa::kAvx512;
    }
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? Isa::kAvx2
                                                                           : Isa::kScalar;
  }());
  return best;
}

const char* IsaName(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Vnni:
      return "avx512vnni";
  }
  return "unknown";
}

void WidenU8(const uint8_t* src, size_t count, int zero_point, int16_t* dst) {
  const int16_t z = static_cast<int16_t>(zero_point);
  for (size_t i = 0; i < count; ++i) dst[i] = static_cast<int16_t>(src[i] - z);
}

void WidenS8(const int8_t* src, size_t count, int zero_point, int16_t* dst) {
  const int16_t z = static_cast<int16_t>(zero_point);
  for (size_t i = 0; i < count; ++i) dst[i] = static_cast<int16_t>(src[i] - z);
}

void PackedWeights::Free::operator()(int16_t* p) const {
  ::operator delete[](p, std::align_val_t{64});
}

PackedWeights::PackedWeights(const int16_t* w, size_t k, size_t n, size_t row_stride,
                             size_t col_stride) {
  Reshape(k, n);
  if (col_stride == 1) {
    for (size_t row = 0; row < k; row += 2) {
      const int16_t* even = w + row * row_stride;
      SetPair(row / 2, even, row + 1 < k ? even + row_stride : nullptr);
    }
    return;
  }
  std::vector<int16_t> rows(2 * n);
  for (size_t row = 0; row < k; row += 2) {
    for (size_t r = 0; r < std::min<size_t>(2, k - row); ++r)
      for (size_t j = 0; j < n; ++j) rows[r * n + j] = w[(row + r) * row_stride + j * col_stride];
    SetPair(row / 2, rows.data(), row + 1 < k ? rows.data() + n : nullptr);
  }
}

void PackedWeights::Reshape(size_t k, size_t n) {
  k_ = k;
  n_ = n;
  const size_t blocks = (n + kBlock - 1) / kBlock;
  const size_t size = std::max<size_t>(1, (k + 1) / 2 * blocks * 2 * kBlock);
  if (data_ && size <= capacity_) return;
  data_.reset(
      static_cast<int16_t*>(::operator new[](size * sizeof(int16_t), std::align_val_t{64})));
  capacity_ = size;
}

namespace {

// to[2j], to[2j + 1] = even[j], odd[j] for one full block.
void InterleaveBlock(const int16_t* even, const int16_t* odd, int16_t* to) {
  for (size_t j = 0; j < kBlock; ++j) {
    to[2 * j] = even[j];
    to[2 * j + 1] = odd[j];
  }
}

}  // namespace

void PackedWeights::SetPair(size_t p, const int16_t* even, const int16_t* odd) {
  const size_t block_size = (k_ + 1) / 2 * 2 * kBlock;
  int16_t* to = data_.get() + p * 2 * kBlock;
  static constexpr int16_t kZeros[kBlock] = {};
  size_t column = 0;
  for (; column + kBlock <= n_; column += kBlock, to += block_size)
    InterleaveBlock(even + column, odd == nullptr ? kZeros : odd + column, to);
  if (column == n_) return;
  int16_t last[2][kBlock] = {};
  std::copy_n(even + column, n_ - column, last[0]);
  if (odd != nullptr) std::copy_n(odd + column, n_ - column, last[1]);
  InterleaveBlock(last[0], last[1], to);
}

void GemmI16Rows(const int16_t* const* rows, size_t m, const PackedWeights& w, int32_t* acc,
                 size_t ldc, Isa wanted) {
  const Isa isa = Available(wanted);
  const size_t pairs = (w.k() + 1) / 2;
  const size_t full_pairs = w.k() / 2;
  const size_t block_stride = pairs * 2 * kBlock;
  for (size_t chunk = 0; chunk < pairs; chunk += kPairsPerChunk) {
    const size_t end = std::min(pairs, chunk + kPairsPerChunk);
    Span s{};
    s.rows = rows;
    s.offset = 2 * chunk;
    s.pairs = std::min(end, full_pairs) - chunk;
    s.odd = end > full_pairs;
    s.block_stride = block_stride;
    s.ldc = ldc;
    for (size_t column = 0; column < w.n();) {
      s.w = w.data() + (column / kBlock) * block_stride + chunk * 2 * kBlock;
      s.acc = acc + column;
      s.columns = w.n() - column;
      const bool two = s.columns > kBlock && isa >= Isa::kAvx512;
      switch (isa) {
        case Isa::kScalar:
          ScalarKernel(s, m);
          break;
        case Isa::kAvx2:
          RunRows(s, m, kAvx2Kernels);
          break;
        case Isa::kAvx512:
          two ? RunRows(s, m, kAvx512Two) : RunRows(s, m, kAvx512One);
          break;
        case Isa::kAvx512Vnni:
          two ? RunRows(s, m, kVnniTwo) : RunRows(s, m, kVnniOne);
          break;
      }
      column += two ? 2 * kBlock : kBlock;
    }
  }
}

void GemmI16(const int16_t* a, size_t lda, size_t m, const PackedWeights& w, int32_t* acc,
             size_t ldc, Isa isa) {
  // Row pointers in groups, so that nothing is allocated; a multiple of every kernel's rows.
  constexpr size_t kGroup = 16 * kMaxRows;
  const int16_t* rows[kGroup];
  for (size_t begin = 0; begin < m; begin += kGroup) {
    const size_t count = std::min(kGroup, m - begin);
    for (size_t i = 0; i < count; ++i) rows[i] = a + (begin + i) * lda;
    GemmI16Rows(rows, count, w, acc + begin * ldc, ldc, isa);
  }
}

void DepthwiseI16(const int16_t* const* rows, size_t taps, const int16_t* w, size_t channels,
                  int32_t* acc, Isa wanted) {
  const Isa isa = Available(wanted);
  size_t c = 0;
  if (isa >= Isa::kAvx512) c = Depthwise512(rows, taps, w, channels, acc);
  if (isa >= Isa::kAvx2) c = Depthwise256(rows, taps, w, channels, c, acc);
  for (; c < channels; ++c) {
    uint32_t sum = static_cast<uint32_t>(acc[c]);
    for (size_t t = 0; t < taps; ++t)
      sum += static_cast<uint32_t>(rows[t][c] * w[t * channels + c]);
    acc[c] = static_cast<int32_t>(sum);
  }
}

void RequantizeRow(const int32_t* acc, size_t count, const uint32_t* mult, size_t mult_stride,
                   int zy, CodeRange range, uint8_t* y, Isa wanted) {
  if (count == 0) return;
  const Isa isa = Available(wanted);
  size_t i = 0;
  if (isa >= Isa::kAvx512) {
    i = RequantizeRow512(acc, count, mult, mult_stride, zy, range, y);
  } else if (isa == Isa::kAvx2) {
    i = RequantizeRow256(acc, count, mult, mult_stride, zy, range, y);
  }
  for (; i < count; ++i) {
    y[i] =
        static_cast<uint8_t>(fp::Requantize(acc[i], BitsFloat(mult[i * mult_stride]), zy, range));
  }
}

void AddRow(const uint8_t* a, CodeRange a_type, const uint8_t* b, CodeRange b_type, size_t count,
            const AddConstants& constants, CodeRange range, uint8_t* y, Isa wanted) {
  size_t i = 0;
  if (Available(wanted) >= Isa::kAvx2)
    i = AddRow256(a, IsSigned(a_type), b, IsSigned(b_type), count, constants, range, y);
  for (; i < count; ++i) {
    y[i] =
        static_cast<uint8_t>(fp::Add(CodeOf(a[i], a_type), CodeOf(b[i], b_type), constants, range));
  }
}

void AffineRow(const uint8_t* x, CodeRange type, size_t count, const float* a, const float* f,
               CodeRange range, uint8_t* y, Isa wanted) {
  size_t i = 0;
  if (Available(wanted) >= Isa::kAvx2) i = AffineRow256(x, IsSigned(type), count, a, f, range, y);
  for (; i < count; ++i)
    y[i] = static_cast<uint8_t>(fp::Affine(CodeOf(x[i], type), {a[i], f[i]}, range));
}

void MulRow(const uint8_t* a, CodeRange a_type, int za, const uint8_t* b, CodeRange b_type, int zb,
            size_t count, float r, int zc, CodeRange range, uint8_t* y, Isa wanted) {
  size_t i = 0;
  if (Available(wanted) >= Isa::kAvx2) {
    i = MulRow256(a, IsSigned(a_type), za, b, IsSigned(b_type), zb, count, r, zc, range, y);
  }
  for (; i < count; ++i) {
    y[i] = static_cast<uint8_t>(
        fp::Mul((CodeOf(a[i], a_type) - za) * (CodeOf(b[i], b_type) - zb), r, zc, range));
  }
}

void TableRow(const uint8_t* x, size_t count, const uint8_t table[256], uint8_t* y, Isa wanted) {
  static const bool permutes = __builtin_cpu_supports("avx512vbmi");
  size_t i = 0;
  if (permutes && Available(wanted) >= Isa::kAvx512) i = TableRow512(x, count, table, y);
  for (; i < count; ++i) y[i] = table[x[i]];
}

}  // namespace octile::numerics::bulk
