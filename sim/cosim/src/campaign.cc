#include "octile/cosim/campaign.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

namespace octile::cosim {
namespace {

using isa::Class;
using isa::Fault;

constexpr int kLastFault = static_cast<int>(Fault::kFetchEnd);

// Classes a queue can be in (docs/timing.md section 9).
bool CanOccur(int queue, int class_id) {
  const auto c = static_cast<Class>(class_id);
  switch (static_cast<isa::Queue>(queue)) {
    case isa::Queue::kExe:
      return c != Class::kSpace && c != Class::kArb;
    case isa::Queue::kVec:
      return c != Class::kWeight && c != Class::kSlot && c != Class::kSpace && c != Class::kArb;
    case isa::Queue::kSto:
      return c != Class::kWeight && c != Class::kSlot && c != Class::kArb;
    default:
      return c != Class::kWeight && c != Class::kSlot;
  }
}

uint64_t AlignUp(uint64_t x, uint64_t to) { return (x + to - 1) / to * to; }

Status CheckExpectation(const RandomProgram& p, const Job& job, const Outcome& o) {
  const sim::FaultRecord& f = o.trace.fault;
  const auto name = [](uint32_t cause) { return isa::FaultName(static_cast<Fault>(cause)); };
  for (int q = 0; q < sim::kQueues; ++q) {
    uint64_t sum = 0;
    for (uint64_t c : o.trace.classes[q]) sum += c;
    if (sum != o.trace.cycles)
      return Fail(ErrorCode::kMismatch, fmt::format("{}: classes of queue {} add up to {} of {} cycles", o.device, q,
                                                    sum, o.trace.cycles));
  }
  if (!p.fault) {
    if (f.cause == 0) return {};
    return Fail(ErrorCode::kMismatch,
                fmt::format("{}: a valid program ended with fault {} of instruction {} (second {}, address {:#x}, cycle {})",
                            o.device, name(f.cause), f.instruction, f.second, f.address, f.cycle));
  }
  uint64_t address = p.fault->address;
  if (p.fault->base_region >= 0) address += job.regions[p.fault->base_region].base;
  if (f.cause == static_cast<uint32_t>(p.fault->cause) && f.instruction == p.fault->instruction &&
      f.second == p.fault->instruction2 && f.address == address)
    return {};
  return Fail(ErrorCode::kMismatch,
              fmt::format("{}: fault {} of instruction {} (second {}, address {:#x}) where {} of {} (second {}, address {:#x}) was due",
                          o.device, name(f.cause), f.instruction, f.second, f.address,
                          isa::FaultName(p.fault->cause), p.fault->instruction, p.fault->instruction2, address));
}

}  // namespace

Job MakeJob(const RandomProgram& program, const sim::MemoryProfile& base, uint64_t seed) {
  Job job;
  job.program = program.instructions;
  job.program_region = program.program_region;
  job.program_offset = program.program_offset;
  job.watchdog = program.watchdog;
  uint64_t at = 4096;
  for (size_t r = 0; r < program.regions.size() && r < job.regions.size(); ++r) {
    const RandomRegion& from = program.regions[r];
    RegionWindow& to = job.regions[r];
    to.base = from.unmapped ? (uint64_t{1} << 38) + r * (uint64_t{1} << 33) : at;
    to.limit = static_cast<uint32_t>(from.extent.limit);
    to.read = from.extent.read;
    to.write = from.extent.write;
    to.execute = from.extent.execute;
    if (from.unmapped) continue;
    job.memory.resize(at + AlignUp(from.extent.limit, 256));
    std::copy(from.data.begin(), from.data.end(), job.memory.begin() + static_cast<int64_t>(at));
    at = AlignUp(job.memory.size(), 4096);
  }
  // The program is written at its place even when it ends at the region's limit.
  const RegionWindow& home = job.regions[job.program_region];
  if (home.base < (uint64_t{1} << 38))
    job.memory.resize(std::max<size_t>(job.memory.size(), home.base + job.program_offset +
                                                              job.program.size() * isa::kInstructionBytes));
  job.profile = base;
  job.profile.seed = seed;
  if (seed % 4 == 0) return job;
  std::mt19937_64 random(seed * 0x9e3779b97f4a7c15ull);
  const auto draw = [&](uint32_t limit) { return static_cast<uint32_t>(random() % (limit + 1)); };
  job.profile.read_latency = draw(3) == 0 ? 1 + draw(8) : 1 + draw(220);
  job.profile.write_latency = draw(3) == 0 ? 1 + draw(4) : 1 + draw(120);
  job.profile.beat_interval = draw(2) == 0 ? 1 + draw(3) : 1;
  job.profile.jitter = draw(1) ? draw(90) : 0;
  job.profile.ready_jitter = draw(1) ? draw(12) : 0;
  job.profile.refresh_period = draw(2) == 0 ? 200 + draw(3000) : 0;
  job.profile.refresh_cycles = job.profile.refresh_period == 0 ? 0 : 1 + draw(job.profile.refresh_period / 3);
  return job;
}

Status RunCampaign(const ArchConfig& arch, const sim::MemoryProfile& base, std::vector<Contender>& contenders,
                   const CampaignOptions& options, Coverage* coverage,
                   const std::function<void(uint64_t)>& progress) {
  for (uint64_t k = 0; k < options.programs; ++k) {
    const uint64_t seed = options.first_seed + k;
    RandomProgram p;
    // The kind depends on the seed alone, so that one seed repeats one program.
    if (options.fault_every != 0 && seed % options.fault_every == 0)
      p = MakeFaultyProgram(arch, seed, static_cast<Fault>(1 + seed / options.fault_every % kLastFault),
                            options.program);
    else
      p = MakeRandomProgram(arch, seed, options.program);
    const Job job = MakeJob(p, base, seed);
    const auto failed = [&](const Error& e) {
      return Fail(e.code, fmt::format("seed {}: {} (repeat with --seed {} --programs 1)", seed, e.message, seed));
    };
    std::optional<Outcome> first;
    for (Contender& c : contenders) {
      Expected<Outcome> o = RunJob(*c.device, c.name, job, options.max_cycles);
      if (!o) return failed(o.error());
      if (first) {
        if (auto d = FirstDivergence(job, *first, *o, Depth::kTiming))
          return failed({ErrorCode::kMismatch, *d});
      } else {
        if (Status s = CheckExpectation(p, job, *o); !s) return failed(s.error());
        first = std::move(*o);
      }
    }
    if (first && coverage != nullptr) {
      ++coverage->programs;
      coverage->cycles += first->trace.cycles;
      for (size_t i = 0; i < job.program.size(); ++i)
        if (first->trace.completion[i] != sim::kNever || isa::OpcodeBits(job.program[i]) == 1) {
          ++coverage->opcodes[isa::OpcodeBits(job.program[i])];
          ++coverage->instructions;
        }
      if (first->trace.fault.cause != 0) ++coverage->faults[first->trace.fault.cause];
      for (int q = 0; q < sim::kQueues; ++q)
        for (int c = 0; c < sim::kClasses; ++c) coverage->classes[q][c] += first->trace.classes[q][c];
    }
    if (progress) progress(k + 1);
  }
  return {};
}

std::vector<std::string> Coverage::Missing() const {
  std::vector<std::string> missing;
  for (const isa::FormatInfo& f : isa::Formats())
    if (opcodes[static_cast<int>(f.opcode)] == 0) missing.push_back("opcode " + std::string(f.name));
  for (int f = 1; f <= kLastFault; ++f)
    if (faults[f] == 0) missing.push_back("fault " + std::string(isa::FaultName(static_cast<Fault>(f))));
  for (int q = 0; q < sim::kQueues; ++q)
    for (int c = 0; c < sim::kClasses; ++c)
      if (CanOccur(q, c) && classes[q][c] == 0)
        missing.push_back(fmt::format("class {} of {}", isa::ClassName(static_cast<Class>(c)),
                                      isa::QueueName(static_cast<isa::Queue>(q))));
  return missing;
}

std::string Coverage::Report() const {
  std::string s = fmt::format("{} programs, {} instructions completed, {} cycles\n", programs, instructions, cycles);
  s += "opcodes:";
  for (const isa::FormatInfo& f : isa::Formats()) s += fmt::format(" {} {}", f.name, opcodes[static_cast<int>(f.opcode)]);
  s += "\nfaults:";
  for (int f = 1; f <= kLastFault; ++f) s += fmt::format(" {} {}", isa::FaultName(static_cast<Fault>(f)), faults[f]);
  s += "\ncycles of each queue by class:\n     ";
  for (int c = 0; c < sim::kClasses; ++c) s += fmt::format("{:>11}", isa::ClassName(static_cast<Class>(c)));
  for (int q = 0; q < sim::kQueues; ++q) {
    s += fmt::format("\n{:<5}", isa::QueueName(static_cast<isa::Queue>(q)));
    for (int c = 0; c < sim::kClasses; ++c)
      s += CanOccur(q, c) ? fmt::format("{:>11}", classes[q][c]) : fmt::format("{:>11}", "-");
  }
  return s + "\n";
}

}  // namespace octile::cosim
