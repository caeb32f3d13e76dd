// The text form. One list of fields per operator serves printing and parsing, so the two cannot
// disagree.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <concepts>
#include <limits>

#include "octile/ir/graph.h"

namespace octile::ir {
namespace {

constexpr std::string_view kHeader = "octile.graph 1";

// --- the fields of every operator, in the order of the text ---

template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, Conv> {
  v("kernel", op.kernel);
  v("strides", op.strides);
  v("dilations", op.dilations);
  v("pads", op.pads);
  v("group", op.group);
  v("clamp", op.clamp);
  v("multipliers", op.multipliers);
  v("bias", op.bias);
  v("weights", op.weights);
}
template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, Gemm> {
  v("clamp", op.clamp);
  v("multipliers", op.multipliers);
  v("bias", op.bias);
  v("weights", op.weights);
}
template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, GlobalAveragePool> {
  v("multiplier", op.multiplier);
  v("clamp", op.clamp);
}
template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, Table> {
  v("meaning", op.meaning);
  v("entries", op.entries);
}
template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, MaxPool> {
  v("kernel", op.kernel);
  v("strides", op.strides);
  v("dilations", op.dilations);
  v("pads", op.pads);
}
template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, AveragePool> {
  v("kernel", op.kernel);
  v("strides", op.strides);
  v("dilations", op.dilations);
  v("pads", op.pads);
  v("count_include_pad", op.count_include_pad);
  v("clamp", op.clamp);
  v("integer", op.integer);
}
template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, Add> {
  v("ra", op.ra);
  v("rb", op.rb);
  v("f", op.f);
  v("clamp", op.clamp);
}
template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, Mul> {
  v("r", op.r);
  v("clamp", op.clamp);
}
template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, Affine> {
  v("factors", op.factors);
  v("offsets", op.offsets);
  v("clamp", op.clamp);
}
template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, Concat> ||
    std::same_as<std::remove_const_t<T>, Softmax> {
  v("axis", op.axis);
}
template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, Slice> {
  v("starts", op.starts);
  v("steps", op.steps);
}
template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, Pad> {
  v("before", op.before);
  v("after", op.after);
  v("mode", op.mode);
  v("value", op.value);
}
template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, ResizeNearest> {
  v("rows", op.rows);
  v("columns", op.columns);
}
template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, Transpose> {
  v("perm", op.perm);
}
template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, ScaleAccumulator> {
  v("axis", op.axis);
  v("scales", op.scales);
  v("bias", op.bias);
}
template <class V, class T>
void Fields(V& v, T& op) requires std::same_as<std::remove_const_t<T>, HostFloat> {
  v("op", op.op);
  v("attributes", op.attributes);
}
template <class V, class T>
void Fields(V&, T&) requires std::same_as<std::remove_const_t<T>, Reshape> || std::same_as<
    std::remove_const_t<T>, Quantize> || std::same_as<std::remove_const_t<T>, Dequantize> {}

// The keyword of an operator kind; OpName() of a HostFloat is its ONNX operator, so the kind has a
// word of its own.
std::string Keyword(const Op& op) {
  return std::holds_alternative<HostFloat>(op) ? "HostFloat" : OpName(op);
}

template <size_t I = 0>
bool MakeOp(std::string_view keyword, Op& op) {
  if constexpr (I < std::variant_size_v<Op>) {
    Op candidate{std::in_place_index<I>};
    if (Keyword(candidate) == keyword) {
      op = std::move(candidate);
      return true;
    }
    return MakeOp<I + 1>(keyword, op);
  } else {
    return false;
  }
}

// --- printing ---

class Printer {
 public:
  explicit Printer(bool elide) : elide_(elide) {}

  std::string Run(const Graph& g) {
    text_ = std::string(kHeader) + "\nname ";
    Put(g.name);
    for (size_t i = 0; i < g.tensors.size(); ++i) {
      const TensorInfo& t = g.tensors[i];
      Raw(fmt::format("\ntensor {} ", i));
      Put(t.name);
      Raw(fmt::format(" {} ", DTypeName(t.dtype)));
      Put(t.shape);
      if (t.quant) {
        Raw(" scale ");
        Put(t.quant->scale);
        Raw(fmt::format(" zero {}", t.quant->zero_point));
      }
      if (t.constant) {
        Raw(" data ");
        Bytes(*t.constant);
      }
    }
    Raw("\ninputs ");
    Put(g.inputs);
    for (const Output& output : g.outputs) {
      Raw("\noutput ");
      Put(output.name);
      Raw(fmt::format(" {}", output.tensor));
    }
    for (const Step& step : g.steps) {
      Raw("\nstep ");
      Put(step.name);
      Raw(fmt::format(" {} ", Keyword(step.op)));
      Put(step.inputs);
      Raw(fmt::format(" {} nodes ", step.output));
      Put(step.nodes);
      Raw(" host ");
      Put(step.host_reason);
      std::visit([&](const auto& op) { Fields(*this, op); }, step.op);
    }
    Raw("\nend\n");
    return std::move(text_);
  }

  template <class T>
  void operator()(std::string_view key, const T& value) {
    Raw(fmt::format("\n  {} ", key));
    Put(value);
  }
  // Left out where it is empty.
  void operator()(std::string_view key, const std::vector<IntegerAverage>& value) {
    if (value.empty()) return;
    Raw(fmt::format("\n  {} ", key));
    Put(value);
  }

 private:
  void Raw(std::string_view s) { text_ += s; }
  void Put(int64_t v) { text_ += std::to_string(v); }
  void Put(int32_t v) { text_ += std::to_string(v); }
  void Put(bool v) { text_ += v ? "true" : "false"; }
  void Put(float v) {
    const uint32_t bits = std::bit_cast<uint32_t>(v);
    if ((bits & 0x7f800000u) == 0x7f800000u)
      text_ += fmt::format("bits:{:08x}", bits);
    else
      text_ += fmt::format("{:a}", v);
  }
  void Put(PadMode mode) {
    text_ += mode == PadMode::kConstant  ? "constant"
             : mode == PadMode::kReflect ? "reflect"
                                         : "edge";
  }
  void Put(const CodeRange& r) { text_ += fmt::format("[{},{}]", r.lo, r.hi); }
  void Put(const IntegerAverage& average) {
    Raw(fmt::format("[{},{},{},", average.divisor, average.bias, average.zero_point));
    Put(average.multiplier);
    Raw("]");
  }
  void Put(const std::string& s) {
    text_ += '"';
    for (const char c : s) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\')
        text_ += fmt::format("\\{}", c);
      else if (byte < 0x20 || byte >= 0x7f)
        text_ += fmt::format("\\x{:02x}", byte);
      else
        text_ += c;
    }
    text_ += '"';
  }
  template <class List>
  void PutList(const List& list) {
    text_ += '[';
    bool first = true;
    for (const auto& v : list) {
      if (!first) text_ += ',';
      first = false;
      Put(v);
    }
    text_ += ']';
  }
  template <class T>
  void Put(const std::vector<T>& list) {
    if (elide_ && list.size() > 16)
      text_ += fmt::format("<{} elements>", list.size());
    else
      PutList(list);
  }
  template <size_t N>
  void Put(const std::array<int64_t, N>& list) {
    PutList(list);
  }
  void Put(const std::array<uint8_t, 256>& bytes) { Bytes(bytes); }
  void Put(const Weights& w) {
    Raw(fmt::format("{} ", DTypeName(w.dtype)));
    Put(w.zero_points);
    Raw(" ");
    Bytes(w.codes);
  }
  void Put(const std::map<std::string, Attribute>& attributes) {
    static constexpr std::string_view kKinds[] = {"int", "float", "string", "ints", "floats"};
    text_ += std::to_string(attributes.size());
    for (const auto& [key, value] : attributes) {
      Raw("\n    ");
      Put(key);
      Raw(fmt::format(" {} ", kKinds[value.index()]));
      std::visit([&](const auto& v) { Put(v); }, value);
    }
  }
  template <class List>
  void Bytes(const List& bytes) {
    if (elide_ && bytes.size() > 16) {
      uint64_t hash = 14695981039346656037u;  // FNV-1a
      for (const uint8_t b : bytes) hash = (hash ^ b) * 1099511628211u;
      text_ += fmt::format("<{} bytes, fnv {:016x}>", bytes.size(), hash);
      return;
    }
    static constexpr char kDigits[] = "0123456789abcdef";
    text_ += "hex:";
    const size_t at = text_.size();
    text_.resize(at + 2 * bytes.size());
    char* to = text_.data() + at;
    for (const uint8_t b : bytes) {
      *to++ = kDigits[b >> 4];
      *to++ = kDigits[b & 15];
    }
  }

  bool elide_;
  std::string text_;
};

// --- parsing ---

struct Malformed {
  std::string message;
};

// By character; weights make up nearly all of a text.
constexpr std::array<bool, 256> kWordCharacters = [] {
  std::array<bool, 256> table{};
  for (const char c : std::string_view("0123456789abcdefghijklmnopqrstuvwxyz"
                                       "ABCDEFGHIJKLMNOPQRSTUVWXYZ._-+:"))
    table[static_cast<unsigned char>(c)] = true;
  return table;
}();
constexpr std::array<int8_t, 256> kDigitValues = [] {
  std::array<int8_t, 256> table{};
  table.fill(-1);
  for (int v = 0; v < 16; ++v)
    table[static_cast<unsigned char>("0123456789abcdef"[v])] = static_cast<int8_t>(v);
  return table;
}();

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Graph Run() {
    Graph g;
    Expect("octile.graph");
    if (Integer() != 1) Bad("version 1 is expected");
    Expect("name");
    Get(g.name);
    std::string word = Word();
    for (; word == "tensor"; word = Word()) {
      if (Integer() != static_cast<int64_t>(g.tensors.size()))
        Bad("tensors are numbered from 0 in order");
      TensorInfo t;
      Get(t.name);
      t.dtype = Type();
      Get(t.shape);
      if (Peek("scale")) {
        t.quant.emplace();
        Get(t.quant->scale);
        Expect("zero");
        Get(t.quant->zero_point);
      }
      if (Peek("data")) t.constant = Bytes();
      g.tensors.push_back(std::move(t));
    }
    if (word != "inputs") Bad("'inputs' is expected");
    Get(g.inputs);
    word = Word();
    for (; word == "output"; word = Word()) {
      Output output;
      Get(output.name);
      Get(output.tensor);
      g.outputs.push_back(std::move(output));
    }
    for (; word == "step"; word = Word()) {
      Step step;
      Get(step.name);
      const std::string keyword = Word();
      if (!MakeOp(keyword, step.op)) Bad(fmt::format("operator '{}' is unknown", keyword));
      Get(step.inputs);
      Get(step.output);
      Expect("nodes");
      Get(step.nodes);
      Expect("host");
      Get(step.host_reason);
      std::visit([&](auto& op) { Fields(*this, op); }, step.op);
      g.steps.push_back(std::move(step));
    }
    if (word != "end") Bad(fmt::format("'{}' is unexpected", word.substr(0, 40)));
    Skip();
    if (at_ != text_.size()) Bad("text after the end");
    return g;
  }

  template <class T>
  void operator()(std::string_view key, T& value) {
    Expect(key);
    Get(value);
  }
  void operator()(std::string_view key, std::vector<IntegerAverage>& value) {
    value.clear();
    if (Peek(key)) Get(value);
  }

 private:
  [[noreturn]] void Bad(const std::string& what) const {
    const auto line =
        1 + std::count(text_.begin(), text_.begin() + static_cast<int64_t>(at_), '\n');
    throw Malformed{fmt::format("line {}: {}", line, what)};
  }

  void Skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  static bool IsWordCharacter(char c) { return kWordCharacters[static_cast<unsigned char>(c)]; }
  std::string_view Token() {
    Skip();
    const size_t start = at_;
    while (at_ < text_.size() && IsWordCharacter(text_[at_])) ++at_;
    if (at_ == start) Bad("a word is expected");
    return text_.substr(start, at_ - start);
  }
  std::string Word() { return std::string(Token()); }
  void Expect(std::string_view word) {
    const std::string_view token = Token();
    if (token != word) Bad(fmt::format("'{}' is expected, not '{}'", word, token.substr(0, 40)));
  }
  bool Peek(std::string_view word) {
    Skip();
    if (!text_.substr(at_).starts_with(word)) return false;
    const size_t end = at_ + word.size();
    if (end < text_.size() && IsWordCharacter(text_[end])) return false;
    at_ = end;
    return true;
  }
  bool PeekCharacter(char c) {
    Skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void Need(char c) {
    if (!PeekCharacter(c)) Bad(fmt::format("'{}' is expected", c));
  }

  int64_t Integer() {
    const std::string_view token = Token();
    int64_t v = 0;
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), v);
    if (error != std::errc() || end != token.data() + token.size())
      Bad(fmt::format("'{}' is no integer", token.substr(0, 40)));
    return v;
  }
  DType Type() {
    const auto type = ParseDType(Token());
    if (!type) Bad(type.error().message);
    return *type;
  }
  std::vector<uint8_t> Bytes() {
    const std::string_view token = Token();
    if (!token.starts_with("hex:") || token.size() % 2 != 0)
      Bad("hex: and pairs of digits are expected");
    const std::string_view digits = token.substr(4);
    std::vector<uint8_t> bytes(digits.size() / 2);
    int bad = 0;  // negative once a digit was none
    for (size_t i = 0; i < bytes.size(); ++i) {
      const int high = kDigitValues[static_cast<unsigned char>(digits[2 * i])];
      const int low = kDigitValues[static_cast<unsigned char>(digits[2 * i + 1])];
      bad |= high | low;
      bytes[i] = static_cast<uint8_t>(high * 16 + low);
    }
    if (bad < 0) {
      const size_t at = digits.find_first_not_of("0123456789abcdef");
      Bad(fmt::format("'{}' is no hexadecimal digit", digits[at]));
    }
    return bytes;
  }

  void Get(int64_t& v) { v = Integer(); }
  void Get(int32_t& v) {
    const int64_t wide = Integer();
    if (wide < std::numeric_limits<int32_t>::min() || wide > std::numeric_limits<int32_t>::max())
      Bad("the number is out of range");
    v = static_cast<int32_t>(wide);
  }
  void Get(bool& v) {
    const std::string_view token = Token();
    if (token != "true" && token != "false") Bad("true or false is expected");
    v = token == "true";
  }
  void Get(float& v) {
    std::string_view token = Token();
    if (token.starts_with("bits:")) {
      uint32_t bits = 0;
      const auto [end, error] =
          std::from_chars(token.data() + 5, token.data() + token.size(), bits, 16);
      if (error != std::errc() || end != token.data() + token.size())
        Bad("eight hexadecimal digits are expected");
      v = std::bit_cast<float>(bits);
      return;
    }
    const bool negative = token.starts_with("-");
    std::string_view digits = token.substr(negative ? 1 : 0);
    if (!digits.starts_with("0x"))
      Bad(fmt::format("'{}' is no hexadecimal number", token.substr(0, 40)));
    digits.remove_prefix(2);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), v, std::chars_format::hex);
    if (error != std::errc() || end != digits.data() + digits.size())
      Bad(fmt::format("'{}' is no number", token.substr(0, 40)));
    if (negative) v = -v;
  }
  void Get(PadMode& mode) {
    const std::string_view token = Token();
    if (token == "constant")
      mode = PadMode::kConstant;
    else if (token == "reflect")
      mode = PadMode::kReflect;
    else if (token == "edge")
      mode = PadMode::kEdge;
    else
      Bad("a pad mode is expected");
  }
  void Get(CodeRange& r) {
    Need('[');
    Get(r.lo);
    Need(',');
    Get(r.hi);
    Need(']');
  }
  void Get(IntegerAverage& average) {
    Need('[');
    Get(average.divisor);
    Need(',');
    Get(average.bias);
    Need(',');
    Get(average.zero_point);
    Need(',');
    Get(average.multiplier);
    Need(']');
  }
  void Get(std::string& s) {
    Need('"');
    s.clear();
    while (true) {
      if (at_ >= text_.size() || text_[at_] == '\n') Bad("the string does not end");
      const char c = text_[at_++];
      if (c == '"') return;
      if (c != '\\') {
        s += c;
        continue;
      }
      if (at_ >= text_.size()) Bad("the string does not end");
      const char escaped = text_[at_++];
      if (escaped != 'x') {
        s += escaped;
        continue;
      }
      unsigned value = 0;
      if (at_ + 2 > text_.size() ||
          std::from_chars(&text_[at_], &text_[at_] + 2, value, 16).ptr != &text_[at_] + 2)
        Bad("two hexadecimal digits are expected");
      at_ += 2;
      s += static_cast<char>(value);
    }
  }
  template <class T>
  void Get(std::vector<T>& list) {
    list.clear();
    Need('[');
    if (PeekCharacter(']')) return;
    do {
      T v{};
      Get(v);
      list.push_back(std::move(v));
    } while (PeekCharacter(','));
    Need(']');
  }
  template <size_t N>
  void Get(std::array<int64_t, N>& list) {
    std::vector<int64_t> values;
    Get(values);
    if (values.size() != N) Bad(fmt::format("{} numbers are expected", N));
    std::copy(values.begin(), values.end(), list.begin());
  }
  void Get(std::array<uint8_t, 256>& bytes) {
    const std::vector<uint8_t> values = Bytes();
    if (values.size() != bytes.size()) Bad("256 bytes are expected");
    std::copy(values.begin(), values.end(), bytes.begin());
  }
  void Get(Weights& w) {
    w.dtype = Type();
    Get(w.zero_points);
    w.codes = Bytes();
  }
  void Get(std::map<std::string, Attribute>& attributes) {
    attributes.clear();
    const int64_t count = Integer();
    for (int64_t i = 0; i < count; ++i) {
      std::string key;
      Get(key);
      const std::string kind = Word();
      Attribute value;
      if (kind == "int")
        value = int64_t{0};
      else if (kind == "float")
        value = 0.0f;
      else if (kind == "string")
        value = std::string();
      else if (kind == "ints")
        value = std::vector<int64_t>();
      else if (kind == "floats")
        value = std::vector<float>();
      else
        Bad(fmt::format("attribute kind '{}' is unknown", kind));
      std::visit([&](auto& v) { Get(v); }, value);
      if (!attributes.emplace(key, std::move(value)).second)
        Bad(fmt::format("attribute '{}' is given twice", key));
    }
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::string PrintText(const Graph& graph) { return Printer(false).Run(graph); }

std::string Summary(const Graph& graph) { return Printer(true).Run(graph); }

Expected<Graph> ParseText(std::string_view text) {
  try {
    return Parser(text).Run();
  } catch (const Malformed& malformed) {
    return Fail(ErrorCode::kModel, fmt::format("text of a graph, {}", malformed.message));
  }
}

}  // namespace octile::ir
