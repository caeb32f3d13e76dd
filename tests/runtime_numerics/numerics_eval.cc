// octile_numerics_eval RULE INPUT OUTPUT: evaluates one rule of docs/numerics.md on arrays, for
// ort_evidence.py.
//
// A file is a sequence of arrays: u32 type (0 int32, 1 fp32), u64 element count, elements;
// little-endian. An argument of one element stands for an array of equal ones. The output is one
// array. Where a rule has several forms (fp32, integer, vectorized), all are evaluated and a
// difference between them is an error (exit status 3).
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "octile/numerics/bulk.h"
#include "octile/numerics/constants.h"
#include "octile/numerics/fp.h"
#include "octile/numerics/functions.h"
#include "octile/numerics/hw.h"

namespace octile::numerics {
namespace {

[[noreturn]] void Die(int status, const std::string& message) {
  std::fprintf(stderr, "octile_numerics_eval: %s\n", message.c_str());
  std::exit(status);
}

template <class T>
T Value(Expected<T> result) {
  if (!result) Die(2, result.error().message);
  return std::move(*result);
}

struct Array {
  uint32_t type = 0;
  std::vector<uint32_t> words;
};

class Arguments {
 public:
  explicit Arguments(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) Die(2, "cannot read " + path);
    Array a;
    uint64_t count = 0;
    while (in.read(reinterpret_cast<char*>(&a.type), 4)) {
      if (!in.read(reinterpret_cast<char*>(&count), 8)) Die(2, "truncated header in " + path);
      a.words.resize(count);
      if (!in.read(reinterpret_cast<char*>(a.words.data()),
                   static_cast<std::streamsize>(count * 4)))
        Die(2, "truncated data in " + path);
      arrays_.push_back(a);
    }
  }
  size_t Count() const {
    size_t count = 0;
    for (const Array& a : arrays_) count = std::max(count, a.words.size());
    return count;
  }
  size_t Size(size_t array) const { return At(array).words.size(); }
  int Int(size_t array, size_t i = 0) const { return static_cast<int>(Word(array, i, 0)); }
  float Float(size_t array, size_t i = 0) const { return BitsFloat(Word(array, i, 1)); }
  CodeRange Range(size_t first, size_t i = 0) const { return {Int(first, i), Int(first + 1, i)}; }

 private:
  const Array& At(size_t array) const {
    if (array >= arrays_.size()) Die(2, "too few arguments");
    return arrays_[array];
  }
  uint32_t Word(size_t array, size_t i, uint32_t type) const {
    const Array& a = At(array);
    if (a.type != type) Die(2, "argument " + std::to_string(array) + " has the wrong type");
    if (a.words.size() == 1) return a.words[0];
    if (i >= a.words.size()) Die(2, "argument " + std::to_string(array) + " is too short");
    return a.words[i];
  }
  std::vector<Array> arrays_;
};

class Result {
 public:
  void Int(int value) { Push(0, static_cast<uint32_t>(value)); }
  void Float(float value) { Push(1, FloatBits(value)); }
  void Write(const std::string& path) const {
    std::ofstream out(path, std::ios::binary);
    const uint64_t count = words_.size();
    out.write(reinterpret_cast<const char*>(&type_), 4);
    out.write(reinterpret_cast<const char*>(&count), 8);
    out.write(reinterpret_cast<const char*>(words_.data()),
              static_cast<std::streamsize>(count * 4));
    if (!out) Die(2, "cannot write " + path);
  }

 private:
  void Push(uint32_t type, uint32_t word) {
    type_ = type;
    words_.push_back(word);
  }
  uint32_t type_ = 0;
  std::vector<uint32_t> words_;
};

void Agree(const char* rule, size_t i, int fp_form, int other) {
  if (fp_form != other) {
    Die(3, std::string(rule) + ": element " + std::to_string(i) + ": fp32 form " +
               std::to_string(fp_form) + ", other form " + std::to_string(other));
  }
}

// acc, then the multiplier from Make(i); zy; lo, hi at argument `zero`.
void Requantize(const Arguments& in, Result& out, size_t zero,
                const std::function<float(size_t)>& multiplier) {
  for (size_t i = 0; i < in.Count(); ++i) {
    const int32_t acc = in.Int(0, i);
    const uint32_t bits = Value(EncodeMultiplier(multiplier(i)));
    const int zy = in.Int(zero, i);
    const CodeRange range = in.Range(zero + 1, i);
    const int code = fp::Requantize(acc, BitsFloat(bits), zy, range);
    Agree("N3", i, code, hw::Requantize(acc, bits, zy, range.lo, range.hi));
    uint8_t row[32];
    int32_t accs[32];
    std::fill_n(accs, 32, acc);
    bulk::RequantizeRow(accs, 32, &bits, 0, zy, range, row);
    Agree("N3 (vectorized)", i, code & 255, row[0]);
    out.Int(code);
  }
}

// acc, sx, sw, sy, zy, lo, hi
void Conv(const Arguments& in, Result& out) {
  Requantize(in, out, 4, [&](size_t i) {
    return Value(ConvMultiplier(in.Float(1, i), in.Float(2, i), in.Float(3, i)));
  });
}

// acc, alpha, sa, sb, sy, zy, lo, hi
void Gemm(const Arguments& in, Result& out) {
  Requantize(in, out, 5, [&](size_t i) {
    return Value(GemmMultiplier(in.Float(1, i), in.Float(2, i), in.Float(3, i), in.Float(4, i)));
  });
}

// acc, sx, sy, count, zy, lo, hi
void GlobalAverage(const Arguments& in, Result& out) {
  Requantize(in, out, 4, [&](size_t i) {
    return Value(AverageMultiplier(in.Float(1, i), in.Float(2, i), in.Int(3, i)));
  });
}

// bias, sx, sw
void Bias(const Arguments& in, Result& out) {
  for (size_t i = 0; i < in.Count(); ++i)
    out.Int(BiasFromFloat(in.Float(0, i), in.Float(1, i), in.Float(2, i)));
}

// bias scale, sx, sw
void BiasScale(const Arguments& in, Result& out) {
  for (size_t i = 0; i < in.Count(); ++i)
    out.Int(BiasScaleAccepted(in.Float(0, i), in.Float(1, i), in.Float(2, i)));
}

// a, b, sa, za, sb, zb, sc, zc, lo, hi
void Add(const Arguments& in, Result& out) {
  for (size_t i = 0; i < in.Count(); ++i) {
    const int a = in.Int(0, i), b = in.Int(1, i);
    const AddConstants c = Value(MakeAddConstants(in.Float(2, i), in.Int(3, i), in.Float(4, i),
                                                  in.Int(5, i), in.Float(6, i), in.Int(7, i)));
    const CodeRange range = in.Range(8, i);
    const int code = fp::Add(a, b, c, range);
    if (!SupportedAddConstants(c)) Die(2, "unsupported constants");
    Agree("N6", i, code,
          hw::AddFma(a, b, FloatBits(c.ra), FloatBits(c.rb), FloatBits(c.f), range.lo, range.hi));
    out.Int(code);
  }
}

// q, scale, B, mean, variance (each per q), epsilon, sx, zx, sy, zy, lo, hi, least and greatest q
void Affine(const Arguments& in, Result& out) {
  NormalizationChannel last;
  AffineConstants c;
  for (size_t i = 0; i < in.Count(); ++i) {
    const int q = in.Int(0, i);
    const NormalizationChannel channel{in.Float(1, i), in.Float(2, i), in.Float(3, i),
                                       in.Float(4, i)};
    const CodeRange range = in.Range(10, i);
    // The codes of one channel follow each other.
    if (i == 0 || std::memcmp(&channel, &last, sizeof(channel)) != 0) {
      c = Value(MakeAffineConstants(channel, in.Float(5, i), in.Float(6, i), in.Int(7, i),
                                    in.Range(12, i), in.Float(8, i), in.Int(9, i), range));
      last = channel;
    }
    const int code = fp::Affine(q, c, range);
    if (!SupportedAffineConstants(c)) Die(2, "unsupported constants");
    Agree("N13", i, code, hw::Affine(q, FloatBits(c.a), FloatBits(c.f), range.lo, range.hi));
    out.Int(code);
  }
}

// a, b, sa, za, sb, zb, sc, zc, lo, hi
void Mul(const Arguments& in, Result& out) {
  for (size_t i = 0; i < in.Count(); ++i) {
    const int p = (in.Int(0, i) - in.Int(3, i)) * (in.Int(1, i) - in.Int(5, i));
    const float r = Value(MulRatio(in.Float(2, i), in.Float(4, i), in.Float(6, i)));
    const CodeRange range = in.Range(8, i);
    const int code = fp::Mul(p, r, in.Int(7, i), range);
    Agree("N7", i, code, hw::Mul(p, FloatBits(r), in.Int(7, i), range.lo, range.hi));
    out.Int(code);
  }
}

// x, s, z, lo, hi
void Quantize(const Arguments& in, Result& out) {
  for (size_t i = 0; i < in.Count(); ++i)
    out.Int(fp::Quantize(in.Float(0, i), in.Float(1, i), in.Int(2, i), in.Range(3, i)));
}

// q, z, s
void Dequantize(const Arguments& in, Result& out) {
  for (size_t i = 0; i < in.Count(); ++i)
    out.Float(fp::Dequantize(in.Int(0, i), in.Int(1, i), in.Float(2, i)));
}

// q, sx, zx, sy, zy, lo, hi
void Rescale(const Arguments& in, Result& out) {
  for (size_t i = 0; i < in.Count(); ++i) {
    out.Int(fp::Rescale(in.Int(0, i), in.Float(1, i), in.Int(2, i), in.Float(3, i), in.Int(4, i),
                        in.Range(5, i)));
  }
}

// codes [windows][k], then one-element arguments: k, sx, zx, count, sy, zy, lo, hi, padding (a code
// value that marks absent elements)
void AverageWindow(const Arguments& in, Result& out) {
  const size_t k = static_cast<size_t>(in.Int(1));
  const float sx = in.Float(2), sy = in.Float(5);
  const int zx = in.Int(3), count = in.Int(4), zy = in.Int(6), absent = in.Int(9);
  const CodeRange range = in.Range(7);
  const auto terms = Value(AverageTerms(sx, zx, range));
  const auto thresholds = Value(AverageThresholds(sy, zy, count, range));
  std::array<uint32_t, 256> term_bits;
  std::array<uint32_t, 255> threshold_bits;
  std::transform(terms.begin(), terms.end(), term_bits.begin(), FloatBits);
  std::transform(thresholds.begin(), thresholds.end(), threshold_bits.begin(), FloatBits);
  std::vector<int> codes;
  for (size_t w = 0; w < in.Size(0) / k; ++w) {
    codes.clear();
    for (size_t i = 0; i < k; ++i) {
      if (in.Int(0, w * k + i) != absent) codes.push_back(in.Int(0, w * k + i));
    }
    const int code = fp::AverageWindow(codes, sx, zx, count, sy, zy, range);
    Agree("N8", w, code, hw::AverageWindow(codes, term_bits, threshold_bits, range.lo));
    out.Int(code);
  }
}

// codes [rows][length], then one-element arguments: length, sx, sy, zy, lo, hi
void QSoftmax(const Arguments& in, Result& out) {
  const int64_t length = in.Int(1);
  const auto table = fp::QSoftmaxTable(in.Float(2), length);
  std::vector<int> x(length), y(length);
  for (size_t row = 0; row < in.Size(0) / length; ++row) {
    for (int64_t i = 0; i < length; ++i) x[i] = in.Int(0, row * length + i);
    fp::QSoftmaxRow(x.data(), y.data(), length, 1, table, in.Float(3), in.Int(4), in.Range(5));
    for (int code : y) out.Int(code);
  }
}

// x [rows][length], length
void Softmax(const Arguments& in, Result& out) {
  const int64_t length = in.Int(1);
  std::vector<float> x(length), y(length);
  for (size_t row = 0; row < in.Size(0) / length; ++row) {
    for (int64_t i = 0; i < length; ++i) x[i] = in.Float(0, row * length + i);
    fp::SoftmaxRow(x.data(), y.data(), length, 1);
    for (float v : y) out.Float(v);
  }
}

// acc, sa, sb
void MatMulFloat(const Arguments& in, Result& out) {
  for (size_t i = 0; i < in.Count(); ++i)
    out.Float(fp::MatMulFloat(in.Int(0, i), in.Float(1, i), in.Float(2, i)));
}

// acc, alpha, sa, sb
void GemmFloat(const Arguments& in, Result& out) {
  for (size_t i = 0; i < in.Count(); ++i) {
    out.Float(fp::GemmFloat(in.Int(0, i), in.Float(1, i), in.Float(2, i), in.Float(3, i)));
  }
}

// min, max; the output alternates scale bits and zero point
void DynamicQuantization(const Arguments& in, Result& out) {
  for (size_t i = 0; i < in.Count(); ++i) {
    const QuantParams p = Value(DynamicQuantParams(in.Float(0, i), in.Float(1, i)));
    out.Int(static_cast<int>(FloatBits(p.scale)));
    out.Int(p.zero_point);
  }
}

using Unary = float (*)(float);
const std::map<std::string, Unary> kUnary = {
    {"Sigmoid", Sigmoid},
    {"Tanh", Tanh},
    {"LeakyRelu", [](float x) { return LeakyRelu(x, 0.1f); }},
    {"HardSigmoid", [](float x) { return HardSigmoid(x, 0.2f, 0.5f); }},
    {"HardSwish", HardSwish},
    {"ThresholdedRelu", [](float x) { return ThresholdedRelu(x, 1.0f); }},
    {"Softsign", Softsign},
    {"Shrink", [](float x) { return Shrink(x, 0.25f, 0.5f); }},
    {"Elu", [](float x) { return Elu(x, 1.0f); }},
    {"Selu",
     [](float x) { return Selu(x, 1.67326319217681884765625f, 1.05070102214813232421875f); }},
    {"Celu", [](float x) { return Celu(x, 1.5f); }},
    {"Softplus", Softplus},
    {"Mish", Mish},
    {"Erf", Erf},
    {"Gelu", GeluErf},
    {"GeluTanh", GeluTanh},
    {"Exp", Exp},
    {"Log", Log},
    {"Sqrt", Sqrt},
    {"Reciprocal", Reciprocal},
    {"Abs", Abs},
    {"Neg", Neg},
    {"Sign", Sign},
    {"Floor", Floor},
    {"Ceil", Ceil},
    {"Round", Round},
    {"Sin", Sin},
    {"Cos", Cos},
    {"Atan", Atan},
    {"Relu", Relu},
};

const std::map<std::string, void (*)(const Arguments&, Result&)> kRules = {
    {"conv", Conv},
    {"gemm", Gemm},
    {"global_average", GlobalAverage},
    {"bias", Bias},
    {"bias_scale", BiasScale},
    {"add", Add},
    {"mul", Mul},
    {"affine", Affine},
    {"quantize", Quantize},
    {"dequantize", Dequantize},
    {"rescale", Rescale},
    {"average_window", AverageWindow},
    {"qsoftmax", QSoftmax},
    {"softmax", Softmax},
    {"matmul_float", MatMulFloat},
    {"gemm_float", GemmFloat},
    {"dynamic_quantization", DynamicQuantization},
};

int Main(int argc, char** argv) {
  if (argc != 4) Die(2, "usage: octile_numerics_eval RULE INPUT OUTPUT");
  const std::string rule = argv[1];
  const Arguments in(argv[2]);
  Result out;
  if (const auto f = kUnary.find(rule); f != kUnary.end()) {
    for (size_t i = 0; i < in.Count(); ++i) out.Float(f->second(in.Float(0, i)));
  } else if (const auto r = kRules.find(rule); r != kRules.end()) {
    r->second(in, out);
  } else {
    Die(2, "unknown rule " + rule);
  }
  out.Write(argv[3]);
  return 0;
}

}  // namespace
}  // namespace octile::numerics

int main(int argc, char** argv) { return octile::numerics::Main(argc, argv); }
