#include "octile/cosim/compare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "octile/isa/registers.h"
#include "octile/program/assembler.h"

namespace octile::cosim {
namespace {

std::string Name(const Job& job, size_t i) {
  if (i >= job.program.size()) return fmt::format("instruction {} (behind the program)", i);
  return fmt::format("instruction {} ({})", i, Disassemble(job.program[i]));
}

std::string UnitOf(const Job& job, size_t i) {
  return i < job.program.size() ? std::string(isa::QueueName(isa::QueueOf(job.program[i])))
                                : "FETCH";
}

std::string Cycle(uint64_t cycle) {
  return cycle == sim::kNever ? "never" : fmt::format("in cycle {}", cycle);
}

std::string FaultText(const Job& job, const sim::FaultRecord& f) {
  if (f.cause == 0) return "no fault";
  return fmt::format("fault {} of {}, second {}, address {:#x}, in cycle {}",
                     isa::FaultName(static_cast<isa::Fault>(f.cause)), Name(job, f.instruction),
                     f.second, f.address, f.cycle);
}

struct Event {
  uint64_t cycle = sim::kNever;  // of the earlier side
  size_t instruction = 0;
  bool completes = false;
};

// The earliest event that the two traces place differently.
std::optional<Event> FirstEvent(const sim::Trace& a, const sim::Trace& b) {
  std::optional<Event> first;
  const size_t count = std::min(a.issue.size(), b.issue.size());
  for (size_t i = 0; i < count; ++i)
    for (bool completes : {false, true}) {
      const uint64_t ca = completes ? a.completion[i] : a.issue[i];
      const uint64_t cb = completes ? b.completion[i] : b.issue[i];
      if (ca == cb) continue;
      const uint64_t cycle = std::min(ca, cb);
      if (!first || cycle < first->cycle) first = Event{cycle, i, completes};
    }
  return first;
}

std::string Order(const Outcome& a, const Outcome& b) { return a.device + ", " + b.device; }

std::optional<std::string> CompareTiming(const Job& job, const Outcome& a, const Outcome& b) {
  const sim::Trace& x = a.trace;
  const sim::Trace& y = b.trace;
  if (x.issue.size() != y.issue.size())
    return fmt::format("traces of {} and {} instructions ({})", x.issue.size(), y.issue.size(),
                       Order(a, b));
  if (const auto e = FirstEvent(x, y)) {
    const auto& u = e->completes ? x.completion : x.issue;
    const auto& v = e->completes ? y.completion : y.issue;
    return fmt::format("{}: {} {} {} on {}, {} on {}", UnitOf(job, e->instruction),
                       Name(job, e->instruction), e->completes ? "completes" : "issues",
                       Cycle(u[e->instruction]), a.device, Cycle(v[e->instruction]), b.device);
  }
  return std::nullopt;
}

std::optional<std::string> CompareCounters(const Outcome& a, const Outcome& b) {
  const sim::Trace& x = a.trace;
  const sim::Trace& y = b.trace;
  if (x.cycles != y.cycles)
    return fmt::format("the job takes {} cycles on {}, {} on {}", x.cycles, a.device, y.cycles,
                       b.device);
  for (int q = 0; q < sim::kQueues; ++q)
    for (int c = 0; c < sim::kClasses; ++c)
      if (x.classes[q][c] != y.classes[q][c])
        return fmt::format("{}: {} cycles in class {} on {}, {} on {}",
                           isa::QueueName(static_cast<isa::Queue>(q)), x.classes[q][c],
                           isa::ClassName(static_cast<isa::Class>(c)), a.device, y.classes[q][c],
                           b.device);
  if (x.tile_starts != y.tile_starts)
    return fmt::format("EXE: {} tile starts on {}, {} on {}", x.tile_starts, a.device,
                       y.tile_starts, b.device);
  if (x.layers.size() != y.layers.size())
    return fmt::format("{} and {} layers own cycles ({})", x.layers.size(), y.layers.size(),
                       Order(a, b));
  for (size_t i = 0; i < x.layers.size(); ++i)
    if (x.layers[i] != y.layers[i])
      return fmt::format("layer {} has {} cycles on {}, layer {} has {} on {} (or other classes)",
                         x.layers[i].layer, x.layers[i].cycles, a.device, y.layers[i].layer,
                         y.layers[i].cycles, b.device);
  for (size_t i = 0; i < std::min(a.registers.size(), b.registers.size()); ++i)
    if (a.registers[i] != b.registers[i])
      return fmt::format("register {} reads {:#x} on {}, {:#x} on {}", regs::kRegisters[i].name,
                         a.registers[i], a.device, b.registers[i], b.device);
  return std::nullopt;
}

// Devices without cycles deliver the results of WIN row by row, the others in the order of the
// hardware, which may go by columns. A program that writes a vector twice in one WIN is not valid.
std::vector<ResultVector> InComparableOrder(const Job& job, size_t i,
                                            const std::vector<ResultVector>& results) {
  std::vector<ResultVector> ordered = results;
  if (isa::OpcodeBits(job.program[i]) == static_cast<int>(isa::Opcode::kWin))
    std::stable_sort(
        ordered.begin(), ordered.end(),
        [](const ResultVector& x, const ResultVector& y) { return x.address < y.address; });
  return ordered;
}

std::optional<std::string> CompareResults(const Job& job, const Outcome& a, const Outcome& b) {
  for (size_t i = 0; i < std::min(a.results.size(), b.results.size()); ++i) {
    const auto x = InComparableOrder(job, i, a.results[i]);
    const auto y = InComparableOrder(job, i, b.results[i]);
    for (size_t k = 0; k < std::min(x.size(), y.size()); ++k) {
      if (x[k] == y[k]) continue;
      if (x[k].address != y[k].address)
        return fmt::format("{}: {}: result vector {} goes to address {} on {}, {} on {}",
                           UnitOf(job, i), Name(job, i), k, x[k].address, a.device, y[k].address,
                           b.device);
      for (size_t l = 0; l < std::min(x[k].data.size(), y[k].data.size()); ++l)
        if (x[k].data[l] != y[k].data[l])
          return fmt::format("{}: {}: result vector {} (address {}), lane {}: {} on {}, {} on {}",
                             UnitOf(job, i), Name(job, i), k, x[k].address, l, x[k].data[l],
                             a.device, y[k].data[l], b.device);
    }
    if (x.size() != y.size())
      return fmt::format("{}: {}: {} result vectors on {}, {} on {}", UnitOf(job, i), Name(job, i),
                         x.size(), a.device, y.size(), b.device);
  }
  for (size_t i = 0; i < std::min(a.memory.size(), b.memory.size()); ++i) {
    if (a.memory[i] == b.memory[i]) continue;
    std::string where = fmt::format("memory address {:#x}", i);
    for (int r = 0; r < isa::kRegions; ++r)
      if (i >= job.regions[r].base && i - job.regions[r].base < job.regions[r].limit)
        where += fmt::format(" (region {}, offset {:#x})", r, i - job.regions[r].base);
    return fmt::format("{}: {} on {}, {} on {}", where, a.memory[i], a.device, b.memory[i],
                       b.device);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> FirstDivergence(const Job& job, const Outcome& a, const Outcome& b,
                                           Depth depth) {
  const sim::Trace& x = a.trace;
  const sim::Trace& y = b.trace;
  const bool timing = depth != Depth::kFunctional;
  if (timing)
    if (auto d = CompareTiming(job, a, b)) return d;
  sim::FaultRecord fx = x.fault;
  sim::FaultRecord fy = y.fault;
  if (!timing) fx.cycle = fy.cycle = 0;
  if (fx != fy)
    return fmt::format("{} on {}, {} on {}", FaultText(job, x.fault), a.device,
                       FaultText(job, y.fault), b.device);
  if (timing) {
    if (auto d = CompareCounters(a, b)) return d;
  } else if (x.fault.cause != 0) {
    return std::nullopt;  // how far it came depends on time
  }
  if (x.retired != y.retired)
    return fmt::format("{} instructions retire on {}, {} on {}", x.retired, a.device, y.retired,
                       b.device);
  if (x.bytes != y.bytes)
    return fmt::format("bytes of FETCH, PRM, WGT, ACT, STO: {} on {}, {} on {}",
                       fmt::join(x.bytes, " "), a.device, fmt::join(y.bytes, " "), b.device);
  if (x.fault.cause != 0 || depth == Depth::kTimingOnly) return std::nullopt;
  return CompareResults(job, a, b);
}

}  // namespace octile::cosim
