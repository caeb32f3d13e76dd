// Every vectorized kernel equals the scalar form bit for bit, on every instruction set this machine
// has.
#include "octile/numerics/bulk.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <new>
#include <string>
#include <vector>

#include "evidence.h"
#include "octile/numerics/fp.h"
#include "octile/numerics/hw.h"

namespace octile::numerics::bulk {
namespace {

constexpr Isa kAll[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Vnni};

std::vector<int16_t> Operands(Random& random, size_t count) {
  std::vector<int16_t> v(count);
  for (int16_t& x : v) x = static_cast<int16_t>(random.Int(-255, 255));
  return v;
}

void NaiveGemm(const int16_t* a, size_t lda, size_t m, const int16_t* w, size_t k, size_t n,
               int32_t* acc, size_t ldc) {
  for (size_t i = 0; i < m; ++i) {
    for (size_t j = 0; j < n; ++j) {
      uint32_t sum = static_cast<uint32_t>(acc[i * ldc + j]);
      for (size_t p = 0; p < k; ++p) sum += static_cast<uint32_t>(a[i * lda + p] * w[p * n + j]);
      acc[i * ldc + j] = static_cast<int32_t>(sum);
    }
  }
}

TEST(Gemm, EqualsTheTripleLoopForEveryShape) {
  Random random(30);
  for (size_t m : {1, 2, 3, 5, 12, 13, 25, 197}) {
    for (size_t k : {0, 1, 2, 3, 27, 64, 511, 512, 513, 1025}) {
      for (size_t n : {1, 7, 16, 17, 32, 33, 48, 70}) {
        if (m * k * n > 1'500'000) continue;
        const size_t lda = k + random.Int(0, 3), ldc = n + random.Int(0, 3);
        // Sized exactly, so that a sanitizer sees a kernel that reads past the end.
        const std::vector<int16_t> a = Operands(random, m == 0 ? 0 : (m - 1) * lda + k);
        const std::vector<int16_t> w = Operands(random, k * n);
        std::vector<int32_t> start((m - 1) * ldc + n);
        for (int32_t& v : start) v = static_cast<int32_t>(random.Bits());
        std::vector<int32_t> expected = start;
        NaiveGemm(a.data(), lda, m, w.data(), k, n, expected.data(), ldc);
        const PackedWeights packed(w.data(), k, n, n, 1);
        for (Isa isa : kAll) {
          std::vector<int32_t> acc = start;
          GemmI16(a.data(), lda, m, packed, acc.data(), ldc, isa);
          ASSERT_EQ(acc, expected) << m << "x" << k << "x" << n << " " << IsaName(isa);
        }
      }
    }
  }
}

// Memory that ends at a page without access: a kernel that touches one element too many dies.
template <class T>
class Guarded {
 public:
  explicit Guarded(size_t count) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = (count * sizeof(T) + page - 1) / page * page;
    size_ = bytes + page;
    base_ = static_cast<char*>(
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || mprotect(base_ + bytes, page, PROT_NONE) != 0)
      throw std::bad_alloc();
    data_ = reinterpret_cast<T*>(base_ + bytes) - count;
  }
  ~Guarded() { munmap(base_, size_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  T* data() { return data_; }

 private:
  char* base_ = nullptr;
  size_t size_ = 0;
  T* data_ = nullptr;
};

TEST(Gemm, StaysInsideItsOperands) {
  Random random(36);
  for (size_t m : {1, 5, 13}) {
    for (size_t k : {1, 2, 513}) {
      for (size_t n : {1, 7, 8, 9, 15, 16, 17, 31, 33}) {
        Guarded<int16_t> a(m * k);
        Guarded<int32_t> acc(m * n);
        std::ranges::copy(Operands(random, m * k), a.data());
        const std::vector<int16_t> w = Operands(random, k * n);
        const PackedWeights packed(w.data(), k, n, n, 1);
        std::vector<int32_t> expected(m * n);
        NaiveGemm(a.data(), k, m, w.data(), k, n, expected.data(), n);
        for (Isa isa : kAll) {
          std::fill_n(acc.data(), m * n, 0);
          GemmI16(a.data(), k, m, packed, acc.data(), n, isa);
          ASSERT_TRUE(std::equal(expected.begin(), expected.end(), acc.data())) << IsaName(isa);
        }
      }
    }
  }
}

TEST(Rows, StayInsideTheirOperands) {
  for (size_t count = 1; count <= 40; ++count) {
    Guarded<uint8_t> a(count), b(count), y(count);
    Guarded<int16_t> wide(count), taps(count);
    Guarded<int32_t> acc(count);
    Guarded<uint32_t> mult(count);
    Guarded<float> factors(count), offsets(count);
    std::fill_n(mult.data(), count, FloatBits(0.5f));
    std::fill_n(factors.data(), count, -0.5f);
    std::fill_n(offsets.data(), count, 4.25f);
    std::fill_n(wide.data(), count, int16_t{3});
    std::fill_n(taps.data(), count, int16_t{-5});
    const int16_t* rows[] = {wide.data()};
    for (Isa isa : kAll) {
      std::fill_n(acc.data(), count, 25);
      DepthwiseI16(rows, 1, taps.data(), count, acc.data(), isa);
      RequantizeRow(acc.data(), count, mult.data(), 1, 7, kU8, y.data(), isa);
      EXPECT_EQ(y.data()[count - 1], 12) << IsaName(isa);
      AddRow(a.data(), kU8, b.data(), kU8, count, {1, 1, 2}, kU8, y.data(), isa);
      EXPECT_EQ(y.data()[count - 1], 2) << IsaName(isa);
      AffineRow(a.data(), kU8, count, factors.data(), offsets.data(), kU8, y.data(), isa);
      EXPECT_EQ(y.data()[count - 1], 4) << IsaName(isa);
      MulRow(a.data(), kU8, 2, b.data(), kU8, 3, count, 1, 0, kU8, y.data(), isa);
      EXPECT_EQ(y.data()[count - 1], 6) << IsaName(isa);
    }
  }
}

TEST(Gemm, TransposedWeightsAndScatteredRows) {
  Random random(31);
  const size_t m = 29, k = 75, n = 40;
  const std::vector<int16_t> a = Operands(random, m * k);
  const std::vector<int16_t> wt = Operands(random, n * k);  // [N][K]
  std::vector<int16_t> w(k * n);
  for (size_t p = 0; p < k; ++p) {
    for (size_t j = 0; j < n; ++j) w[p * n + j] = wt[j * k + p];
  }
  std::vector<const int16_t*> rows(m);
  std::vector<int32_t> expected(m * n);
  for (size_t i = 0; i < m; ++i) {
    rows[i] = a.data() + ((i * 7) % m) * k;
    NaiveGemm(rows[i], k, 1, w.data(), k, n, expected.data() + i * n, n);
  }
  const PackedWeights packed(wt.data(), k, n, 1, k);
  for (Isa isa : kAll) {
    std::vector<int32_t> acc(m * n);
    GemmI16Rows(rows.data(), m, packed, acc.data(), n, isa);
    ASSERT_EQ(acc, expected) << IsaName(isa);
  }
}

TEST(Gemm, WrapsAndNeverSaturates) {
  const size_t k = 70'001;  // 255 * 255 * k exceeds 2^32
  const std::vector<int16_t> a(k, -255), w(k, 255);
  const PackedWeights packed(w.data(), k, 1, 1, 1);
  const int32_t expected =
      static_cast<int32_t>(static_cast<uint32_t>(int64_t{-255 * 255} * int64_t{k}));
  for (Isa isa : kAll) {
    int32_t acc = 0;
    GemmI16(a.data(), k, 1, packed, &acc, 1, isa);
    EXPECT_EQ(acc, expected) << IsaName(isa);
  }
}

TEST(Depthwise, EqualsTheLoop) {
  Random random(32);
  for (size_t channels : {1, 7, 8, 31, 32, 33, 96, 100}) {
    for (size_t taps : {0, 1, 9, 25}) {
      const std::vector<int16_t> a = Operands(random, channels * std::max<size_t>(taps, 1)),
                                 w = Operands(random, channels * taps);
      std::vector<const int16_t*> rows(taps);
      for (size_t t = 0; t < taps; ++t) rows[t] = a.data() + t * channels;
      std::vector<int32_t> start(channels);
      for (int32_t& v : start) v = static_cast<int32_t>(random.Bits());
      std::vector<int32_t> expected = start;
      for (size_t c = 0; c < channels; ++c) {
        for (size_t t = 0; t < taps; ++t) {
          expected[c] = static_cast<int32_t>(
              static_cast<uint32_t>(expected[c]) +
              static_cast<uint32_t>(a[t * channels + c] * w[t * channels + c]));
        }
      }
      for (Isa isa : kAll) {
        std::vector<int32_t> acc = start;
        DepthwiseI16(rows.data(), taps, w.data(), channels, acc.data(), isa);
        ASSERT_EQ(acc, expected) << channels << " " << taps << " " << IsaName(isa);
      }
    }
  }
}

TEST(Widen, SubtractsTheZeroPoint) {
  uint8_t u[256];
  int8_t s[256];
  for (int i = 0; i < 256; ++i) {
    u[i] = static_cast<uint8_t>(i);
    s[i] = static_cast<int8_t>(i - 128);
  }
  for (int z : {-128, 0, 3, 127, 255}) {
    int16_t wide[256];
    WidenU8(u, 256, z, wide);
    for (int i = 0; i < 256; ++i) ASSERT_EQ(wide[i], i - z);
    WidenS8(s, 256, z, wide);
    for (int i = 0; i < 256; ++i) ASSERT_EQ(wide[i], i - 128 - z);
  }
}

// The vector instructions convert, multiply and round as N3 says: more than 10^7 values per
// instruction set, against both forms.
TEST(RequantizeRow, EqualsBothForms) {
  Random random(33);
  Evidence evidence;
  constexpr size_t kCount = 4099;
  std::vector<int32_t> acc(kCount);
  std::vector<uint32_t> mult(kCount);
  std::vector<uint8_t> fp_form(kCount), hw_form(kCount), y(kCount);
  for (int round = 0; round < 2500; ++round) {
    const CodeRange type = round % 2 ? kU8 : kS8;
    const int zy = random.Int(type.lo, type.hi);
    CodeRange range = type;
    if (round % 5 == 0) range.lo = zy;
    const bool common = round % 3 == 0;
    const float common_m = random.Scale(-24, -4);
    for (size_t i = 0; i < kCount; ++i) {
      const uint32_t kind = random.Bits();
      float m = common_m;
      if (kind % 4 == 0) {
        acc[i] = static_cast<int32_t>(random.Bits()) >> (kind >> 8 & 31);
        if (!common) m = random.Scale(-33, 9);
      } else {
        const double target = static_cast<int>(kind >> 16 & 511) - 255 + 0.5;
        if (common) {
          acc[i] = static_cast<int32_t>(
              std::clamp(std::nearbyint(target / m), -2147483648.0, 2147483647.0));
        } else {
          const int32_t magnitude =
              static_cast<int32_t>(random.Bits() >> 1 >> (kind >> 8 & 15)) | 1;
          acc[i] = target < 0 ? -magnitude : magnitude;
          m = BitsFloat(FloatBits(static_cast<float>(target / acc[i])) + (kind >> 4 & 3) - 1);
          m = std::clamp(m, 0x1p-33f, 0x1p9f);
        }
      }
      if (kind % 997 == 0) acc[i] = std::numeric_limits<int32_t>::min();
      if (kind % 991 == 0 && !common) m = 0;
      mult[i] = FloatBits(m);
      const double exact = double(acc[i]) * double(m);
      evidence.Count(exact, std::abs(exact));
      fp_form[i] = static_cast<uint8_t>(fp::Requantize(acc[i], m, zy, range));
      hw_form[i] = static_cast<uint8_t>(hw::Requantize(acc[i], mult[i], zy, range.lo, range.hi));
    }
    ASSERT_EQ(fp_form, hw_form);
    for (Isa isa : kAll) {
      std::fill(y.begin(), y.end(), uint8_t{0});
      RequantizeRow(acc.data(), kCount, mult.data(), common ? 0 : 1, zy, range, y.data(), isa);
      ASSERT_EQ(y, fp_form) << IsaName(isa);
    }
  }
  evidence.ExpectEnough();
}

TEST(AddRow, EqualsTheScalarForm) {
  Random random(34);
  std::vector<uint8_t> a(65536 + 5), b(a.size()), y(a.size()), expected(a.size());
  for (int round = 0; round < 24; ++round) {
    const CodeRange ta = random.Int(0, 1) ? kU8 : kS8, tb = random.Int(0, 1) ? kU8 : kS8,
                    ty = random.Int(0, 1) ? kU8 : kS8;
    const float sc = random.Scale(-6, 2);
    const auto c = MakeAddConstants(sc * random.TieRatio(3, 4), random.Int(ta.lo, ta.hi),
                                    sc * random.TieRatio(3, 4), random.Int(tb.lo, tb.hi), sc,
                                    random.Int(ty.lo, ty.hi));
    ASSERT_TRUE(c.has_value());
    for (size_t i = 0; i < a.size(); ++i) {
      a[i] = static_cast<uint8_t>(i);
      b[i] = static_cast<uint8_t>(i >> 8);
      const int code_a = ta == kU8 ? a[i] : static_cast<int8_t>(a[i]),
                code_b = tb == kU8 ? b[i] : static_cast<int8_t>(b[i]);
      expected[i] = static_cast<uint8_t>(fp::Add(code_a, code_b, *c, ty));
    }
    for (Isa isa : kAll) {
      AddRow(a.data(), ta, b.data(), tb, a.size(), *c, ty, y.data(), isa);
      ASSERT_EQ(y, expected) << IsaName(isa);
    }
  }
}

TEST(AffineRow, EqualsTheScalarForm) {
  Random random(36);
  std::vector<uint8_t> x(4096 + 5), y(x.size()), expected(x.size());
  std::vector<float> factors(x.size()), offsets(x.size());
  for (int round = 0; round < 60; ++round) {
    const CodeRange tx = random.Int(0, 1) ? kU8 : kS8, ty = random.Int(0, 1) ? kU8 : kS8;
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<uint8_t>(random.Int(0, 255));
      factors[i] = random.TieRatio(6, 4) * (random.Int(0, 1) ? 1.0f : -1.0f);
      offsets[i] = random.Near(static_cast<float>(random.Int(-800, 800)) / 8, 2);
      const int code = tx == kU8 ? x[i] : static_cast<int8_t>(x[i]);
      expected[i] = static_cast<uint8_t>(fp::Affine(code, {factors[i], offsets[i]}, ty));
    }
    for (Isa isa : kAll) {
      AffineRow(x.data(), tx, x.size(), factors.data(), offsets.data(), ty, y.data(), isa);
      ASSERT_EQ(y, expected) << IsaName(isa);
    }
  }
}

TEST(MulRow, EqualsTheScalarForm) {
  Random random(35);
  std::vector<uint8_t> a(65536 + 5), b(a.size()), y(a.size()), expected(a.size());
  for (int round = 0; round < 24; ++round) {
    const CodeRange ta = random.Int(0, 1) ? kU8 : kS8, tb = random.Int(0, 1) ? kU8 : kS8,
                    ty = random.Int(0, 1) ? kU8 : kS8;
    const int za = random.Int(ta.lo, ta.hi), zb = random.Int(tb.lo, tb.hi),
              zc = random.Int(ty.lo, ty.hi);
    const float r = round % 2 ? random.TieRatio(8, 4) : random.Scale(-16, 0);
    for (size_t i = 0; i < a.size(); ++i) {
      a[i] = static_cast<uint8_t>(i);
      b[i] = static_cast<uint8_t>(i >> 8);
      const int code_a = ta == kU8 ? a[i] : static_cast<int8_t>(a[i]),
                code_b = tb == kU8 ? b[i] : static_cast<int8_t>(b[i]);
      expected[i] = static_cast<uint8_t>(fp::Mul((code_a - za) * (code_b - zb), r, zc, ty));
    }
    for (Isa isa : kAll) {
      MulRow(a.data(), ta, za, b.data(), tb, zb, a.size(), r, zc, ty, y.data(), isa);
      ASSERT_EQ(y, expected) << IsaName(isa);
    }
  }
}

TEST(TableRow, LooksUpTheRawByte) {
  Random random(38);
  uint8_t table[256];
  for (uint8_t& entry : table) entry = static_cast<uint8_t>(random.Bits());
  for (const size_t count : {0, 1, 63, 64, 65, 200, 1000}) {
    Guarded<uint8_t> x(count), y(count);
    for (size_t i = 0; i < count; ++i) x.data()[i] = static_cast<uint8_t>(random.Bits());
    for (Isa isa : kAll) {
      TableRow(x.data(), count, table, y.data(), isa);
      for (size_t i = 0; i < count; ++i)
        ASSERT_EQ(y.data()[i], table[x.data()[i]]) << i << " " << IsaName(isa);
      // In place, as the post units use it.
      std::vector<uint8_t> z(x.data(), x.data() + count);
      TableRow(z.data(), count, table, z.data(), isa);
      ASSERT_TRUE(std::equal(z.begin(), z.end(), y.data())) << IsaName(isa);
    }
  }
}

TEST(PackedWeights, ByPairsOfRowsInMemoryThatIsKept) {
  Random random(39);
  PackedWeights kept;
  for (int round = 0; round < 200; ++round) {
    const size_t m = random.Int(1, 14), k = random.Int(1, 70), n = random.Int(1, 70);
    const std::vector<int16_t> a = Operands(random, m * k);
    const std::vector<int16_t> w = Operands(random, k * n);
    kept.Reshape(k, n);
    for (size_t p = 0; p < (k + 1) / 2; ++p)
      kept.SetPair(p, &w[2 * p * n], 2 * p + 1 < k ? &w[(2 * p + 1) * n] : nullptr);
    std::vector<int32_t> expected(m * n), acc(m * n);
    NaiveGemm(a.data(), k, m, w.data(), k, n, expected.data(), n);
    GemmI16(a.data(), k, m, kept, acc.data(), n);
    ASSERT_EQ(acc, expected) << m << "x" << k << "x" << n;
  }
}

TEST(Isa, TheVariableNamesOne) {
  const char* before = std::getenv("OCTILE_ISA");
  const std::string kept = before == nullptr ? "" : before;
  for (Isa isa : kAll) {
    setenv("OCTILE_ISA", IsaName(isa), 1);
    EXPECT_TRUE(CheckIsaVariable()) << IsaName(isa);
  }
  setenv("OCTILE_ISA", "neon", 1);
  const Status wrong = CheckIsaVariable();
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, ErrorCode::kUsage);
  EXPECT_NE(wrong.error().message.find("'neon'"), std::string::npos) << wrong.error().message;
  setenv("OCTILE_ISA", "", 1);
  EXPECT_TRUE(CheckIsaVariable());
  if (before == nullptr)
    unsetenv("OCTILE_ISA");
  else
    setenv("OCTILE_ISA", kept.c_str(), 1);
}

}  // namespace
}  // namespace octile::numerics::bulk
