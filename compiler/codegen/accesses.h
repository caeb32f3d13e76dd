// What an instruction touches: the basis of bank claims, of the synchronization and of the
// schedule.
#pragma once

#include <cstdint>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/program/config.h"

namespace octile::codegen {

// Vectors begin .. begin + length - 1 of the activation buffer.
struct Span {
  int32_t begin = 0;
  int32_t length = 0;
};

// Bytes begin .. end - 1 of a memory region.
struct MemorySpan {
  int32_t region = 0;
  int64_t begin = 0;
  int64_t end = 0;
};

// Entries index .. index + count - 1 of a parameter memory (the targets of LDP).
struct ParameterSpan {
  isa::LdpTarget target{};
  int32_t index = 0;
  int32_t count = 0;
};

struct Accesses {
  std::vector<Span> read_a;  // EXE input, VEC a, STA
  std::vector<Span> read_b;  // EXE residual, VEC b
  std::vector<Span> write;   // results, LDA
  std::vector<MemorySpan> memory;
  bool memory_write = false;  // STA
  std::vector<ParameterSpan> parameters;
  bool parameter_write = false;  // LDP
};

Accesses AccessesOf(const isa::Operation& op, const ArchConfig& arch);

// Sets the bank claims of the instruction to the banks that it touches.
void SetClaims(isa::Operation& op, const Accesses& accesses, const ArchConfig& arch);

// Banks first..last of a list of spans; first > last for an empty list.
struct BankRange {
  int first = 1;
  int last = 0;
};
BankRange BanksOf(const std::vector<Span>& spans, const ArchConfig& arch);

}  // namespace octile::codegen
