// The textual form of instructions (docs/isa.md, "Assembler text").
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/support/status.h"

namespace octile {

// "mma wait0=2 in_h=8 ...": one line without newline; fields that are zero are left out.
// Instructions with an unknown opcode or reserved bits set print as ".words 0x... (eight words)",
// which Assemble reads back, too.
std::string Disassemble(const isa::Instruction& instruction);
// One line for each instruction, each ending in a newline. With `indices`, every line begins with
// the instruction's index in a comment-free column ("12: mma ..."), for reading only: Assemble does
// not take it.
std::string Disassemble(std::span<const isa::Instruction> program, bool indices = false);

// Reads one instruction per line; blank lines and what follows # are skipped. Values must fit their
// field; decode limits (minimum 1 and so on) are checked as well unless `allow_illegal`. Errors
// (kProgram) name line, field, value and limit.
Expected<std::vector<isa::Instruction>> Assemble(std::string_view text, bool allow_illegal = false);

}  // namespace octile
