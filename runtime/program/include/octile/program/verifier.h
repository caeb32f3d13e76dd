// Decides whether a program is valid: it has the same result on every device and never faults
// (docs/isa.md).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/program/config.h"
#include "octile/program/program.h"
#include "octile/support/status.h"

namespace octile {

// What a memory region allows; `limit` in bytes.
struct MemoryExtent {
  uint64_t limit = 0;
  bool read = false;
  bool write = false;
  bool execute = false;
  // What the region is known to hold from offset 0 on while the job runs, as far as it is known.
  // Parameters in it are checked.
  std::span<const uint8_t> data = {};
};

enum class ViolationKind : uint8_t {
  kIllegal,    // the decoder refuses the instruction (fault ILLEGAL)
  kOperand,    // fault OPERAND
  kRegion,     // fault REGION
  kClaim,      // fault CLAIM
  kConflict,   // bank claims of streams that can be in flight together overlap (fault CONFLICT)
  kSemaphore,  // a semaphore can exceed its maximum (fault SEMAPHORE), or has several producer or
               // consumer queues
  kDeadlock,   // fault DEADLOCK
  kEnd,        // END is missing or is not the last instruction (fault FETCH_END)
  kRing,       // weight tiles are left in the ring or kept at the end
  kRace,       // two accesses of which one writes are not ordered
  kUninitialized,  // on-chip data is read that nothing has written
  kParameter,      // a parameter outside its domain (docs/isa.md)
  kTooLarge,       // takes longer to verify than a program of its size may
};
std::string_view ViolationKindName(ViolationKind kind);

struct Violation {
  ViolationKind kind = ViolationKind::kIllegal;
  int64_t instruction = 0;
  int64_t other = -1;  // the second instruction of a conflict or race; -1: none
  // Vector address, byte offset in the region, accumulator, parameter entry or semaphore, as the
  // message says.
  uint64_t address = 0;
  std::string message;  // complete sentence with both instructions
};

// Finds the first violation of a job: `program` ends in END, `regions` (at most 8) is what the job
// may reach. On-chip memories count as unwritten at the start, the ring as empty, semaphores as
// zero; device memory counts as initialized.
//
// Order is what holds under every timing: queues issue and complete in order; VEC runs one
// instruction at a time; a fence (or SYNC) waits for all earlier instructions of its queue; the
// k-th signal of a semaphore comes before the k-th wait. Accumulators are ordered by the EXE queue
// alone. Inside a queue a write may follow a write, and in EXE a write may follow a read, without
// further order; a read of what the queue wrote needs a fence or semaphores. After `emit`
// accumulators count as unwritten. An instruction may write a vector that it reads only element by
// element in place (ELT; the residual of MMA). What the queue depths imply is used to decide
// deadlock, not order. Parameters are checked where an extent knows its data; others count as
// valid.
std::optional<Violation> FindViolation(const ArchConfig& arch,
                                       std::span<const isa::Instruction> program,
                                       std::span<const MemoryExtent> regions);

// The same as a status (kProgram).
Status Verify(const ArchConfig& arch, std::span<const isa::Instruction> program,
              std::span<const MemoryExtent> regions);

// Every device segment of a program with the container's regions; messages count instructions
// within the segment and say where it begins. The limit of kTooLarge is one for all of them.
Status VerifyProgram(const Program& program);
// Known data: initial contents of constants, which refer to `program`.
std::vector<MemoryExtent> ExtentsOf(const Program& program);

}  // namespace octile
