// From a list of instructions in program order to a valid instruction stream: dependencies, an
// order that lets every queue run ahead, and the semaphores that enforce the dependencies.
//
// The instructions arrive in an order in which running them one after the other is correct.
// Schedule() finds for each the latest instruction of every other queue that has to be complete
// before it issues (data, parameters, memory, bank claims), estimates when each would issue by the
// laws of docs/timing.md, and merges the queues in that order, so that in-order dispatch does not
// hold a queue back. Every queue keeps its own order. A dependency costs one semaphore operation on
// either side unless an earlier one implies it.
#pragma once

#include <cstdint>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/program/config.h"
#include "octile/support/status.h"

namespace octile::codegen {

struct ScheduledProgram {
  std::vector<isa::Operation> operations;  // ends with END
  std::vector<int32_t>
      source;  // index in the input of each operation, -1 for inserted SYNC and END
  int64_t estimated_cycles = 0;
};

Expected<ScheduledProgram> Schedule(std::vector<isa::Operation> operations, const Config& config);

}  // namespace octile::codegen
