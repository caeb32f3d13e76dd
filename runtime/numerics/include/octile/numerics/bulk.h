// Vectorized kernels, bit-equal to the scalar forms, for the reference, the instruction simulator
// and the SystemC model.
//
// Accumulators are int32 and wrap (N1). Operands are int16: a code minus its zero point (9 bits
// signed), for which the pairwise multiply-add of the vector units is exact. The instruction set is
// chosen at run time; every function takes an optional Isa for tests, and an Isa that this machine
// lacks falls back to the best one below it. docs/host-speed.md describes the kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "octile/numerics/constants.h"
#include "octile/numerics/types.h"
#include "octile/support/status.h"

namespace octile::numerics::bulk {

enum class Isa { kScalar = 0, kAvx2 = 1, kAvx512 = 2, kAvx512Vnni = 3 };
// The best of this machine that OCTILE_ISA allows. Everything an Isa computes is the same.
Isa BestIsa();
const char* IsaName(Isa isa);
// kUsage: OCTILE_ISA is none of the names (it then allows all).
Status CheckIsaVariable();

// dst[i] = src[i] - zero_point.
void WidenU8(const uint8_t* src, size_t count, int zero_point, int16_t* dst);
void WidenS8(const int8_t* src, size_t count, int zero_point, int16_t* dst);

// Weights [K][N] rearranged for the kernels: columns in blocks of 16, rows in pairs, zero-filled.
class PackedWeights {
 public:
  PackedWeights() = default;
  // w[k * row_stride + n * col_stride], so that [K][N] and [N][K] both fit.
  PackedWeights(const int16_t* w, size_t k, size_t n, size_t row_stride, size_t col_stride);

  // For a matrix that is made row by row: k by n, contents undefined until every pair of rows
  // (2p, 2p + 1) is set, n elements each; odd is null for the last row of an odd k. Memory is kept.
  void Reshape(size_t k, size_t n);
  void SetPair(size_t p, const int16_t* even, const int16_t* odd);

  size_t k() const { return k_; }
  size_t n() const { return n_; }
  const int16_t* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(int16_t* p) const;
  };
  size_t k_ = 0;
  size_t n_ = 0;
  size_t capacity_ = 0;
  std::unique_ptr<int16_t[], Free> data_;
};

// acc[i][j] += sum over k of a[i][k] * w[k][j], wrapping. a: m rows of w.k() elements, lda elements
// apart; acc: m rows of w.n(), ldc apart. Nothing is read or written outside those. Clear acc, or
// load the bias into it, before.
void GemmI16(const int16_t* a, size_t lda, size_t m, const PackedWeights& w, int32_t* acc,
             size_t ldc, Isa isa = BestIsa());
// The same with each row of a anywhere (an indirection buffer: one tap of a convolution is one
// call).
void GemmI16Rows(const int16_t* const* rows, size_t m, const PackedWeights& w, int32_t* acc,
                 size_t ldc, Isa isa = BestIsa());

// Depthwise: acc[c] += sum over taps t of rows[t][c] * w[t * channels + c], wrapping.
void DepthwiseI16(const int16_t* const* rows, size_t taps, const int16_t* w, size_t channels,
                  int32_t* acc, Isa isa = BestIsa());

// N3 on a row: y[j] = Requantize(acc[j], mult[j], zy, range) stored as the low 8 bits. mult:
// encoded multipliers as raw bits, one per element, or one for all with mult_stride 0 (else 1).
void RequantizeRow(const int32_t* acc, size_t count, const uint32_t* mult, size_t mult_stride,
                   int zy, CodeRange range, uint8_t* y, Isa isa = BestIsa());

// N6 on rows of raw codes given as bytes of the named types.
void AddRow(const uint8_t* a, CodeRange a_type, const uint8_t* b, CodeRange b_type, size_t count,
            const AddConstants& constants, CodeRange range, uint8_t* y, Isa isa = BestIsa());

// N13, unfolded batch normalization, on a row of raw codes: y[i] = Affine(x[i], {a[i], f[i]}).
void AffineRow(const uint8_t* x, CodeRange type, size_t count, const float* a, const float* f,
               CodeRange range, uint8_t* y, Isa isa = BestIsa());

// N7 on rows.
void MulRow(const uint8_t* a, CodeRange a_type, int za, const uint8_t* b, CodeRange b_type, int zb,
            size_t count, float r, int zc, CodeRange range, uint8_t* y, Isa isa = BestIsa());

// N5 and N9: y[i] = table[x[i]]; the table is indexed by the raw byte (for s8 the code modulo 256).
void TableRow(const uint8_t* x, size_t count, const uint8_t table[256], uint8_t* y,
              Isa isa = BestIsa());

}  // namespace octile::numerics::bulk
