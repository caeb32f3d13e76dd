// The proof that a windowed average (N8) can be computed in integers.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "octile/numerics/constants.h"
#include "octile/numerics/fp.h"

namespace octile::numerics {
namespace {

// Least and greatest fp32 sum of each integer sum; element i belongs to the sum first + i.
struct SumBounds {
  int64_t first = 0;
  std::vector<float> least;
  std::vector<float> greatest;

  size_t size() const { return least.size(); }
};

SumBounds Unreached(int64_t first, size_t size) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return {first, std::vector<float>(size, kInfinity), std::vector<float>(size, -kInfinity)};
}

// The bounds of one element more.
SumBounds Extend(const SumBounds& before, const std::array<float, 256>& terms, int least_term) {
  SumBounds after = Unreached(before.first + least_term, before.size() + terms.size() - 1);
  for (size_t k = 0; k < terms.size(); ++k) {
    float* least = after.least.data() + k;
    float* greatest = after.greatest.data() + k;
    for (size_t i = 0; i < before.size(); ++i) {
      least[i] = std::min(least[i], before.least[i] + terms[k]);
      greatest[i] = std::max(greatest[i], before.greatest[i] + terms[k]);
    }
  }
  return after;
}

// Widens `all` by `more`. Both contain the sum 0 and have no gaps, so neither has the union.
void Merge(const SumBounds& more, SumBounds& all) {
  const int64_t first = std::min(all.first, more.first);
  const int64_t end = std::max(all.first + static_cast<int64_t>(all.size()),
                               more.first + static_cast<int64_t>(more.size()));
  SumBounds merged = Unreached(first, static_cast<size_t>(end - first));
  for (const SumBounds* part : {static_cast<const SumBounds*>(&all), &more}) {
    for (size_t i = 0; i < part->size(); ++i) {
      const size_t at = i + static_cast<size_t>(part->first - first);
      merged.least[at] = std::min(merged.least[at], part->least[i]);
      merged.greatest[at] = std::max(merged.greatest[at], part->greatest[i]);
    }
  }
  all = std::move(merged);
}

// The codes that N3 must give for the sums first, first + 1, ...; ascending.
struct Staircase {
  int64_t first = 0;
  std::vector<int> codes;
};

// Whether N3 gives the staircase for every sum.
bool Gives(const IntegerAverage& form, const Staircase& stairs, CodeRange range) {
  for (size_t i = 0; i < stairs.codes.size(); ++i) {
    const auto acc = static_cast<int32_t>(stairs.first + static_cast<int64_t>(i) + form.bias);
    if (fp::Requantize(acc, form.multiplier, form.zero_point, range) != stairs.codes[i])
      return false;
  }
  return true;
}

// The multiplier nearest to `preferred` with which N3 gives the staircase, for a given bias and
// zero point. N3 is monotone in the multiplier, so each end of a stair leaves an interval of
// multipliers; their bits are ordered as they are.
std::optional<float> FindMultiplier(const Staircase& stairs, int32_t bias, int zero_point,
                                    CodeRange range, float preferred) {
  uint32_t least = FloatBits(0x1p-33f);
  uint32_t greatest = FloatBits(0x1p9f);
  const size_t count = stairs.codes.size();
  for (size_t i = 0; i < count; ++i) {
    const int code = stairs.codes[i];
    const bool end =
        i == 0 || i + 1 == count || stairs.codes[i - 1] != code || stairs.codes[i + 1] != code;
    if (!end) continue;
    const auto acc = static_cast<int32_t>(stairs.first + static_cast<int64_t>(i) + bias);
    const auto at = [&](uint32_t bits) {
      return fp::Requantize(acc, BitsFloat(bits), zero_point, range);
    };
    if (acc == 0) {
      if (at(least) != code) return std::nullopt;
      continue;
    }
    // The first multiplier in [least, greatest + 1] of which `reached` holds.
    const auto first = [&](auto reached) {
      uint32_t low = least, high = greatest + 1;
      while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (reached(at(middle))) {
          high = middle;
        } else {
          low = middle + 1;
        }
      }
      return low;
    };
    const uint32_t in =
        acc > 0 ? first([&](int y) { return y >= code; }) : first([&](int y) { return y <= code; });
    const uint32_t out =
        acc > 0 ? first([&](int y) { return y > code; }) : first([&](int y) { return y < code; });
    if (in >= out) return std::nullopt;
    least = in;
    greatest = out - 1;
  }
  return BitsFloat(std::clamp(FloatBits(preferred), least, greatest));
}

// N3 rounds ties to even before the zero point is added, N8 after it: a zero point that is off by j
// codes, and the bias that makes up for it, change the parity.
std::optional<IntegerAverage> FindForm(const Staircase& stairs, float sx, int64_t divisor, float sy,
                                       int zy, CodeRange outputs, CodeRange range) {
  const double codes = static_cast<double>(divisor) * static_cast<double>(sy);
  const Expected<float> preferred = AverageMultiplier(sx, sy, divisor);
  if (!preferred) return std::nullopt;
  for (const int j : {0, 1, -1, 2, -2, 3, -3}) {
    const double bias = std::nearbyint(j * codes / static_cast<double>(sx));
    const int zero_point = zy - j;
    if (std::abs(bias) > 0x1p23 || zero_point < outputs.lo || zero_point > outputs.hi) continue;
    const auto whole = static_cast<int32_t>(bias);
    const std::optional<float> m = FindMultiplier(stairs, whole, zero_point, range, *preferred);
    if (!m) continue;
    const IntegerAverage form{divisor, whole, *m, zero_point};
    if (Gives(form, stairs, range)) return form;
  }
  return std::nullopt;
}

}  // namespace

Expected<IntegerAverages> ProveIntegerAverages(float sx, int zx, CodeRange inputs,
                                               std::span<const AverageWindows> windows, float sy,
                                               int zy, CodeRange outputs, CodeRange range) {
  OCTILE_RETURN_IF_ERROR(CheckActivationScale(sy, "output"));
  OCTILE_ASSIGN_OR_RETURN(const auto terms, AverageTerms(sx, zx, inputs));
  IntegerAverages result;
  int64_t most = 0;
  for (const AverageWindows& window : windows) {
    if (window.elements < 1 || window.divisor < 1) {
      return Fail(ErrorCode::kModel, fmt::format("an average of {} elements divided by {}",
                                                 window.elements, window.divisor));
    }
    most = std::max(most, window.elements);
  }
  if (most > kMostProvedElements) {
    result.reason = fmt::format("an average over windows of {} elements, above {}, is fp32 (N8)",
                                most, kMostProvedElements);
    return result;
  }
  std::map<int64_t, SumBounds> by_divisor;
  SumBounds bounds{0, {0.0f}, {0.0f}};
  for (int64_t elements = 1; elements <= most; ++elements) {
    bounds = Extend(bounds, terms, inputs.lo - zx);
    for (const AverageWindows& window : windows) {
      if (window.elements != elements) continue;
      const auto [entry, added] = by_divisor.try_emplace(window.divisor, bounds);
      if (!added) Merge(bounds, entry->second);
    }
  }
  std::map<int64_t, Staircase> stairs;
  for (const auto& [divisor, sums] : by_divisor) {
    Staircase& codes = stairs[divisor];
    codes.first = sums.first;
    for (size_t i = 0; i < sums.size(); ++i) {
      const int code = fp::AverageFromSum(sums.least[i], divisor, sy, zy, range);
      if (fp::AverageFromSum(sums.greatest[i], divisor, sy, zy, range) != code) ++result.undecided;
      codes.codes.push_back(code);
    }
    result.sums += static_cast<int64_t>(sums.size());
  }
  if (result.undecided > 0) {
    result.reason = fmt::format(
        "its rounding depends on the order of fp32 additions (N8): {} of {} sums are too near a "
        "tie",
        result.undecided, result.sums);
    return result;
  }
  for (const auto& [divisor, codes] : stairs) {
    const std::optional<IntegerAverage> form = FindForm(codes, sx, divisor, sy, zy, outputs, range);
    if (!form) {
      result.forms.clear();
      result.reason = fmt::format(
          "no integer multiplier gives the codes of its fp32 division by {} (N8)", divisor);
      return result;
    }
    result.forms.push_back(*form);
  }
  return result;
}

}  // namespace octile::numerics
