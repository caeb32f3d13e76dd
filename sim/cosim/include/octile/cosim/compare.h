// The first divergence of two runs of one job, named so that a person finds it: unit, instruction,
// cycle of each.
#pragma once

#include <optional>
#include <string>

#include "octile/cosim/run.h"

namespace octile::cosim {

// kFunctional: fault record without its cycle, and without a fault retired instructions, bytes,
// results and memory. kTiming: besides, issue and completion cycles, counters, layers, registers
// and the cycle of the fault. kTimingOnly: no results and memory, for programs that are not valid.
// After a fault results and memory mean nothing and are never compared.
enum class Depth { kFunctional, kTiming, kTimingOnly };

std::optional<std::string> FirstDivergence(const Job& job, const Outcome& a, const Outcome& b,
                                           Depth depth);

}  // namespace octile::cosim
