// In which order and in which cycles of its read phase WIN touches the activation buffer
// (docs/timing.md section 8), written out access by access: for what must know which of several
// accesses comes first.
#pragma once

#include <cstdint>
#include <optional>

#include "octile/isa/isa.h"
#include "octile/program/config.h"

namespace octile {

// The vector unit works by columns on this instruction; otherwise tap by tap.
bool WorksByColumns(const isa::Win& win);

struct WindowAccess {
  uint64_t cycle = 0;  // of the read phase, from 0: of the read, or that generates the result
  bool output = false;
  uint32_t address = 0;
};

// The access that raises CLAIM: the earliest one outside its claim, of one cycle the read. nullopt
// if there is none, or if the instruction makes more than 2^18 accesses.
std::optional<WindowAccess> FirstOutsideClaim(const ArchConfig& arch, const isa::Win& win);

}  // namespace octile
