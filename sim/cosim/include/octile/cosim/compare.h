// The first divergence of two runs of one job, named so that a person finds it: unit, instruction, cycle of each.
#pragma once

#include <optional>
#include <string>

#include "octile/cosim/run.h"

namespace octile::cosim {

// Timing: issue and completion cycles, counters, layers, registers. Faults, retired instructions and bytes are compared always; results
// and memory only when neither run faulted (after a fault they mean nothing).
enum class Depth { kFunctional, kTiming };

std::optional<std::string> FirstDivergence(const Job& job, const Outcome& a, const Outcome& b, Depth depth);

}  // namespace octile::cosim
