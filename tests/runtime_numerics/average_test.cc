// The integer form of windowed averages (N8): what is proved is equal to the fp32 arithmetic, and
// what is refused does depend on the order of the additions.
#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "evidence.h"
#include "octile/numerics/constants.h"
#include "octile/numerics/fp.h"
#include "octile/numerics/hw.h"

namespace octile::numerics {
namespace {

struct Average {
  float sx = 1;
  int zx = 0;
  float sy = 1;
  int zy = 0;
  CodeRange type = kU8;
  CodeRange range = kU8;

  Expected<IntegerAverages> Prove(const std::vector<AverageWindows>& windows) const {
    return ProveIntegerAverages(sx, zx, type, windows, sy, zy, type, range);
  }
  int Rule(std::span<const int> codes, int64_t divisor) const {
    return fp::AverageWindow(codes, sx, zx, divisor, sy, zy, range);
  }
  int Integer(std::span<const int> codes, const IntegerAverage& form) const {
    int32_t acc = form.bias;
    for (const int code : codes) acc += code - zx;
    return hw::Requantize(acc, FloatBits(form.multiplier), form.zero_point, range.lo, range.hi);
  }
};

// Sums of `elements` codes that some orders give different codes, by trying all sequences.
int64_t CountUndecided(const Average& average, int64_t elements, int64_t divisor) {
  const int64_t first = elements * (average.type.lo - average.zx);
  std::vector<int> least(static_cast<size_t>(elements * 255 + 1), 1000);
  std::vector<int> greatest(least.size(), -1000);
  std::vector<int> codes(static_cast<size_t>(elements), average.type.lo);
  for (bool more = true; more;) {
    int64_t sum = -first;
    for (const int code : codes) sum += code - average.zx;
    const int y = average.Rule(codes, divisor);
    const auto at = static_cast<size_t>(sum);
    least[at] = std::min(least[at], y);
    greatest[at] = std::max(greatest[at], y);
    size_t i = 0;
    while (i < codes.size() && codes[i] == average.type.hi) codes[i++] = average.type.lo;
    more = i < codes.size();
    if (more) ++codes[i];
  }
  int64_t undecided = 0;
  for (size_t i = 0; i < least.size(); ++i) undecided += least[i] != greatest[i];
  return undecided;
}

TEST(IntegerAverage, UndecidedSumsAreThoseThatDependOnTheOrder) {
  Random random(1);
  int undecided = 0, decided = 0;
  for (int i = 0; i < 40; ++i) {
    Average average;
    average.type = average.range = i % 2 == 0 ? kU8 : kS8;
    average.zx = random.Int(average.type.lo, average.type.hi);
    average.zy = random.Int(average.type.lo, average.type.hi);
    average.sx = random.Scale(-6, 0);
    average.sy = i % 4 == 0 ? average.sx : random.Scale(-6, 0);
    const int64_t elements = i < 2 ? 3 : 2;  // 2^24 windows, or 2^16
    const int64_t divisor = elements + random.Int(0, 1);
    const auto proof = average.Prove({{elements, divisor}});
    ASSERT_TRUE(proof.has_value());
    EXPECT_EQ(proof->sums, elements * 255 + 1);
    EXPECT_EQ(proof->undecided, CountUndecided(average, elements, divisor)) << i;
    ++(proof->undecided > 0 ? undecided : decided);
    EXPECT_TRUE(proof->undecided == 0 || proof->forms.empty());
  }
  EXPECT_GT(undecided, 5);
  EXPECT_GT(decided, 5);
}

// Windows with the greatest chance to disagree: large terms that cancel, and equal terms.
void DrawWindow(Random& random, const Average& average, std::vector<int>& codes) {
  const int spread = random.Int(0, 3) == 0 ? 255 : random.Int(1, 60);
  for (int& code : codes)
    code = std::clamp(average.zx + random.Int(-spread, spread), average.type.lo, average.type.hi);
  if (random.Int(0, 3) == 0) std::fill(codes.begin(), codes.end(), codes[0]);
}

TEST(IntegerAverage, ProvedFormsEqualTheRule) {
  Random random(2);
  int proved = 0, moved = 0, several = 0;
  for (int i = 0; i < 400; ++i) {
    Average average;
    average.type = random.Int(0, 1) ? kU8 : kS8;
    average.range = average.type;
    if (random.Int(0, 3) == 0) average.range.lo = random.Int(average.type.lo, average.type.hi);
    average.zx = random.Int(average.type.lo, average.type.hi);
    average.zy = random.Int(0, 1) ? average.zx : random.Int(average.type.lo, average.type.hi);
    const bool powers = random.Int(0, 1) == 1;  // all sums are exact, and so are ties
    average.sx = powers ? std::ldexp(1.0f, -random.Int(0, 8)) : random.Scale(-8, 2);
    average.sy = random.Int(0, 1) ? average.sx
                 : powers         ? std::ldexp(1.0f, -random.Int(0, 8))
                                  : random.Scale(-8, 2);
    const int kernel = std::array{2, 3, 3, 5}[static_cast<size_t>(random.Int(0, 3))];
    const int64_t full = kernel * kernel;
    const bool include = random.Int(0, 1) == 1;  // divisor of windows at the border
    std::vector<AverageWindows> windows;
    for (int64_t rows = std::max(1, kernel - 1); rows <= kernel; ++rows) {
      for (int64_t columns = rows; columns <= kernel; ++columns)
        windows.push_back({rows * columns, include ? full : rows * columns});
    }
    const auto proof = average.Prove(windows);
    ASSERT_TRUE(proof.has_value());
    EXPECT_EQ(proof->forms.empty(), !proof->reason.empty());
    if (proof->forms.empty()) continue;
    ++proved;
    several += proof->forms.size() > 1;
    for (const AverageWindows& window : windows) {
      const auto form =
          std::find_if(proof->forms.begin(), proof->forms.end(),
                       [&](const IntegerAverage& f) { return f.divisor == window.divisor; });
      ASSERT_NE(form, proof->forms.end());
      moved += form->zero_point != average.zy;
      EXPECT_EQ(EncodeMultiplier(form->multiplier).value(), FloatBits(form->multiplier));
      std::vector<int> codes(static_cast<size_t>(window.elements));
      for (int draw = 0; draw < 2000; ++draw) {
        DrawWindow(random, average, codes);
        ASSERT_EQ(average.Integer(codes, *form), average.Rule(codes, window.divisor))
            << average.sx << " " << average.zx << " " << average.sy << " " << average.zy;
      }
    }
  }
  EXPECT_GT(proved, 100);
  EXPECT_GT(several, 20);
  EXPECT_GT(moved, 20);
}

TEST(IntegerAverage, OddWindowsOfEqualScalesHaveNoTies) {
  Random random(3);
  for (int i = 0; i < 20; ++i) {
    Average average;
    average.sx = average.sy = random.Scale(-8, 0);
    average.zx = average.zy = random.Int(0, 255);
    const auto proof = average.Prove({{9, 9}, {6, 9}, {4, 9}});
    ASSERT_TRUE(proof.has_value());
    EXPECT_EQ(proof->forms.size(), 1u) << proof->reason;
  }
}

TEST(IntegerAverage, ReasonsNameWhatIsInTheWay) {
  Average average;
  average.sx = average.sy = 0.1405046f;
  average.type = average.range = kS8;
  average.zx = average.zy = 1;
  auto proof = average.Prove({{4, 4}});
  ASSERT_TRUE(proof.has_value());
  EXPECT_TRUE(proof->forms.empty());
  EXPECT_EQ(proof->reason,
            "its rounding depends on the order of fp32 additions (N8): 251 of 1021 sums are too "
            "near a tie");
  proof = average.Prove({{kMostProvedElements + 1, 9}});
  ASSERT_TRUE(proof.has_value());
  EXPECT_TRUE(proof->forms.empty());
  EXPECT_NE(proof->reason.find("windows of 129 elements"), std::string::npos) << proof->reason;
  EXPECT_FALSE(average.Prove({{0, 4}}).has_value());
  EXPECT_FALSE(average.Prove({{4, 0}}).has_value());
  average.sy = 0;
  EXPECT_FALSE(average.Prove({{4, 4}}).has_value());
}

// Ties are exact with scales that are powers of two. N8 rounds them to even after the zero point
// is added, N3 before.
TEST(IntegerAverage, TiesAreEvenAfterTheZeroPoint) {
  for (const CodeRange type : {kU8, kS8}) {
    for (int zero = type.lo; zero <= type.hi; ++zero) {
      Average average;
      average.type = average.range = type;
      average.sx = average.sy = 0.125f;
      average.zx = average.zy = zero;
      const auto proof = average.Prove({{4, 4}});
      ASSERT_TRUE(proof.has_value());
      ASSERT_EQ(proof->forms.size(), 1u) << zero << ": " << proof->reason;
      EXPECT_EQ((proof->forms[0].zero_point - zero) % 2 != 0, zero % 2 != 0) << zero;
      for (int first = type.lo; first <= type.hi; ++first) {
        for (int last = type.lo; last <= type.hi; last += 5) {
          const std::array codes = {first, last, zero, zero};
          ASSERT_EQ(average.Integer(codes, proof->forms[0]), average.Rule(codes, 4)) << zero;
        }
      }
    }
  }
}

}  // namespace
}  // namespace octile::numerics
