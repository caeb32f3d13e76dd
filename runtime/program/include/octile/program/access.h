// What an instruction touches: vectors of the activation buffer, bytes of memory, parameter
// entries. The address arithmetic is that of docs/isa.md (row pointers, circular lengths, modulo
// 65536), evaluated for sets, not in order.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/program/config.h"

namespace octile {

// Streams of the activation buffer in the order CONFLICT looks for them; the first five read, the
// others write.
enum class StreamId : uint8_t { kExeIn, kExeRes, kVecA, kVecB, kSto, kExeOut, kVecOut, kAct };
inline constexpr int kStreams = 8;
constexpr bool IsWrite(StreamId stream) { return stream >= StreamId::kExeOut; }
// "EXE in", "VEC out" ...
std::string_view StreamName(StreamId stream);

// Consecutive vectors first .. first+count-1 (count >= 1), below 65536.
struct Run {
  uint32_t first = 0;
  uint32_t count = 0;
  bool operator==(const Run&) const = default;
};

struct StreamUse {
  StreamId stream = StreamId::kExeIn;
  int bank = 0;           // first claimed bank
  int further = 0;        // claims bank .. bank + further
  std::vector<Run> runs;  // every vector it touches, each possibly several times
  uint64_t steps = 0;     // how much work it was to find them
};

// Bytes of a region, [offset, offset + bytes).
struct MemoryRange {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};
struct MemoryUse {
  int region = 0;
  bool write = false;
  std::vector<MemoryRange> ranges;  // contiguous rows are merged; not sorted
  uint64_t steps = 0;               // how much work it was to find them
};

enum class ParameterMemory : int32_t {
  kExeSet,
  kExeConst,
  kExeTable,
  kVecSet,
  kVecWeight,
  kVecConst,
  kVecTable
};
inline constexpr int kParameterMemories = 7;
std::string_view ParameterMemoryName(ParameterMemory memory);
// Entries of a parameter memory, and bytes of an entry in memory.
int ParameterEntries(const ArchConfig& arch, ParameterMemory memory);
int ParameterBytes(const ArchConfig& arch, ParameterMemory memory);

struct ParameterUse {
  ParameterMemory memory = ParameterMemory::kExeSet;
  int first = 0;
  int count = 0;
};

// Weight tiles an MMA takes from the ring: kh * kw * blocks.
int64_t TilesOf(const isa::Mma& op);

// The streams in use with their claims, without runs (`runs` stays empty).
std::vector<StreamUse> ClaimsOf(const isa::Operation& op);
// The same with runs. nullopt when an instruction is absurdly large (more than 2^20 separate runs).
std::optional<std::vector<StreamUse>> StreamsOf(const ArchConfig& arch, const isa::Operation& op);
// nullopt under the same condition; empty without memory access.
std::optional<std::vector<MemoryUse>> MemoryOf(const ArchConfig& arch, const isa::Operation& op);
// Entries MMA, WIN and ELT read; of LDP, the entries it writes.
std::vector<ParameterUse> ParametersOf(const isa::Operation& op);

// The relation between operands that fault OPERAND checks at issue; nullopt when they are in order.
std::optional<std::string> OperandReason(const ArchConfig& arch, const isa::Operation& op);

}  // namespace octile
