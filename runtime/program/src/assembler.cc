#include "octile/program/assembler.h"

#include <fmt/format.h>

#include <charconv>

namespace octile {
namespace {

using isa::FieldInfo;
using isa::FormatInfo;
using isa::Instruction;

bool IsSemaphore(const FieldInfo& field) {
  return field.name == "wait0" || field.name == "wait1" || field.name == "signal0" ||
         field.name == "signal1";
}

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string ValueText(const FieldInfo& field, int64_t value) {
  for (const isa::EnumName& name : field.names)
    if (name.value == value) return std::string(name.name);
  if (IsSemaphore(field))
    return isa::HasSemaphore(static_cast<int32_t>(value)) ? fmt::format("{}", value & 31)
                                                          : fmt::format("off:{}", value);
  if (field.width == 32 && !field.is_signed) return fmt::format("{:#x}", value);
  return fmt::format("{}", value);
}

// A decimal or hexadecimal number with optional sign; nullopt unless the whole text is one.
std::optional<int64_t> Number(std::string_view text) {
  bool negative = false;
  if (text.starts_with('-')) {
    negative = true;
    text.remove_prefix(1);
  }
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  }
  // from_chars would take a second sign.
  if (text.empty() || text.front() == '-' || text.front() == '+') return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return negative ? -value : value;
}

std::vector<std::string_view> Words(std::string_view line) {
  std::vector<std::string_view> words;
  size_t i = 0;
  while (i < line.size()) {
    const size_t begin = line.find_first_not_of(" \t\r", i);
    if (begin == std::string_view::npos) break;
    const size_t end = std::min(line.find_first_of(" \t\r", begin), line.size());
    words.push_back(line.substr(begin, end - begin));
    i = end;
  }
  return words;
}

tl::unexpected<Error> Bad(int line, std::string message) {
  return Fail(ErrorCode::kProgram, fmt::format("line {}: {}", line, message));
}

Expected<Instruction> RawWords(const std::vector<std::string_view>& words, int line) {
  if (words.size() != 1 + isa::kInstructionWords)
    return Bad(line, fmt::format(".words takes {} numbers, there are {}", isa::kInstructionWords,
                                 words.size() - 1));
  Instruction instruction;
  for (int i = 0; i < isa::kInstructionWords; ++i) {
    std::string_view text = words[1 + i];
    uint64_t value = 0;
    if (text.starts_with("0x")) text.remove_prefix(2);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc() || end != text.data() + text.size() || text.empty())
      return Bad(line, fmt::format("'{}' is not a 64-bit hexadecimal number", words[1 + i]));
    instruction.words[i] = value;
  }
  return instruction;
}

Expected<int64_t> FieldValue(const FormatInfo& format, const FieldInfo& field,
                             std::string_view text, int line) {
  for (const isa::EnumName& name : field.names)
    if (name.name == text || Lower(name.name) == text) return name.value;
  if (IsSemaphore(field)) {
    const bool off = text.starts_with("off:");
    const auto number = Number(off ? text.substr(4) : text);
    if (!number || *number < 0 || *number >= isa::kSemaphores)
      return Bad(line, fmt::format("{}: field '{}': '{}' is no semaphore 0..{}", format.name,
                                   field.name, text, isa::kSemaphores - 1));
    return off ? *number : isa::Semaphore(static_cast<int>(*number));
  }
  const auto number = Number(text);
  if (!number)
    return Bad(line,
               fmt::format("{}: field '{}': '{}' is not a number", format.name, field.name, text));
  const int64_t low = field.is_signed ? -(int64_t{1} << (field.width - 1)) : 0;
  const int64_t high = (int64_t{1} << (field.is_signed ? field.width - 1 : field.width)) - 1;
  if (*number < low || *number > high)
    return Bad(line, fmt::format("{}: field '{}' = {} does not fit {} bits ({}..{})", format.name,
                                 field.name, *number, field.width, low, high));
  return *number;
}

Expected<Instruction> Line(const std::vector<std::string_view>& words, int line,
                           bool allow_illegal) {
  if (words[0] == ".words") return RawWords(words, line);
  std::string upper(words[0]);
  for (char& c : upper)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  const FormatInfo* format = isa::FindFormat(upper);
  if (format == nullptr) return Bad(line, fmt::format("unknown instruction '{}'", words[0]));
  Instruction instruction;
  isa::SetField(instruction, format->fields[0], static_cast<int64_t>(format->opcode));
  std::vector<bool> given(format->fields.size());
  for (size_t i = 1; i < words.size(); ++i) {
    const size_t equal = words[i].find('=');
    const std::string_view name = words[i].substr(0, equal);
    const FieldInfo* field = isa::FindField(*format, name);
    if (field == nullptr || field == &format->fields[0])
      return Bad(line, fmt::format("{} has no field '{}'", format->name, name));
    if (given[field - format->fields.data()])
      return Bad(line, fmt::format("{}: field '{}' is given twice", format->name, name));
    given[field - format->fields.data()] = true;
    int64_t value = 1;
    if (equal == std::string_view::npos) {
      if (field->width != 1)
        return Bad(line, fmt::format("{}: field '{}' needs a value", format->name, name));
    } else {
      OCTILE_ASSIGN_OR_RETURN(value, FieldValue(*format, *field, words[i].substr(equal + 1), line));
    }
    isa::SetField(instruction, *field, value);
  }
  if (!allow_illegal)
    if (const auto reason = isa::IllegalReason(instruction)) return Bad(line, *reason);
  return instruction;
}

}  // namespace

std::string Disassemble(const Instruction& instruction) {
  const FormatInfo* format = isa::FindFormat(isa::OpcodeBits(instruction));
  bool plain = format != nullptr;
  if (plain) {
    // Any bit beyond the fields?
    Instruction fields;
    for (const FieldInfo& field : format->fields)
      isa::SetField(fields, field, isa::GetField(instruction, field));
    plain = fields == instruction;
  }
  if (!plain) {
    std::string text = ".words";
    for (const uint64_t word : instruction.words) text += fmt::format(" {:#x}", word);
    return text;
  }
  std::string text = Lower(format->name);
  for (const FieldInfo& field : format->fields.subspan(1)) {
    const int64_t value = isa::GetField(instruction, field);
    // A name tells more than its absence, so enumerations are printed even when zero.
    if (value == 0 && field.names.empty()) continue;
    if (field.width == 1)
      text += fmt::format(" {}", field.name);
    else
      text += fmt::format(" {}={}", field.name, ValueText(field, value));
  }
  return text;
}

std::string Disassemble(std::span<const Instruction> program, bool indices) {
  std::string text;
  for (size_t i = 0; i < program.size(); ++i) {
    if (indices) text += fmt::format("{:>6}: ", i);
    text += Disassemble(program[i]);
    text += '\n';
  }
  return text;
}

Expected<std::vector<Instruction>> Assemble(std::string_view text, bool allow_illegal) {
  std::vector<Instruction> program;
  int number = 0;
  while (!text.empty()) {
    ++number;
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    line = line.substr(0, line.find('#'));
    const auto words = Words(line);
    if (words.empty()) continue;
    OCTILE_ASSIGN_OR_RETURN(const Instruction instruction, Line(words, number, allow_illegal));
    program.push_back(instruction);
  }
  return program;
}

}  // namespace octile
