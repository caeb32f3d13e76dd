// The model evaluates only cycles in which something can happen. Evaluating every cycle must give
// the same trace: every issue and completion, every counter, every fault with its cycle. To run one
// program again: OCTILE_SEED=K sim_systemc_test --gtest_filter=*Wake* with the seed a failure
// names.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "octile/program/config.h"
#include "octile/program/random_program.h"
#include "octile/sim/options.h"
#include "octile/systemc/core_model.h"

namespace octile {
namespace {

constexpr uint64_t kMemory = uint64_t{16} << 20;

struct Outcome {
  sim::Trace trace;
  uint64_t drained = 0;
  uint64_t evaluations = 0;
};

Outcome RunModel(const ArchConfig& arch, const RandomProgram& program,
                 const sim::MemoryProfile& profile, uint32_t watchdog, bool timing_only,
                 bool every_cycle) {
  systemc::CoreModel core(sim::ToCoreConfig(arch), timing_only);
  core.EvaluateEveryCycle(every_cycle);
  std::vector<uint8_t> memory(kMemory);
  systemc::JobSetup job;
  uint64_t base = 0;
  for (size_t r = 0; r < program.regions.size(); ++r) {
    const RandomRegion& region = program.regions[r];
    if (!region.unmapped)
      std::copy(region.data.begin(), region.data.end(),
                memory.begin() + static_cast<ptrdiff_t>(base));
    job.regions[r] = {region.unmapped ? kMemory + (base << 8) : base,
                      static_cast<uint32_t>(region.extent.limit), region.extent.read,
                      region.extent.write, region.extent.execute};
    base += (region.extent.limit + 4095) / 4096 * 4096;
  }
  job.program_region = static_cast<uint32_t>(program.program_region);
  job.program_offset = program.program_offset;
  job.program_count = static_cast<uint32_t>(program.instructions.size());
  job.watchdog = watchdog;
  core.SetMemory(memory);
  core.StartJob(job, profile);
  core.RunTo(~uint64_t{0});
  return {core.trace(), core.drained(), core.evaluations()};
}

class Wake : public ::testing::TestWithParam<const char*> {};

TEST_P(Wake, EveryCycleGivesTheSameTrace) {
  const ArchConfig arch = LoadConfig(GetParam())->arch;
  sim::MemoryProfile slow;
  slow.read_latency = 31;
  slow.write_latency = 7;
  slow.beat_interval = 3;
  slow.jitter = 40;
  slow.ready_jitter = 5;
  slow.refresh_period = 1000;
  slow.refresh_cycles = 60;
  const sim::MemoryProfile profiles[] = {{}, slow};
  uint64_t first = 5000, count = 40;
  if (const char* seed = std::getenv("OCTILE_SEED"))
    first = std::strtoull(seed, nullptr, 0), count = 1;
  uint64_t evaluated = 0, cycles = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("OCTILE_SEED=" + std::to_string(seed));
    // Every third program faults, each cause in turn.
    const auto cause = static_cast<isa::Fault>(1 + seed / 3 % 11);
    const RandomProgram program =
        seed % 3 == 0 ? MakeFaultyProgram(arch, seed, cause) : MakeRandomProgram(arch, seed);
    for (const sim::MemoryProfile& profile : profiles) {
      const bool timing_only = seed % 2 == 0;
      // The generator's watchdog, and one so short that waiting for memory trips it.
      for (const uint32_t watchdog : {program.watchdog, uint32_t{90}}) {
        const Outcome some = RunModel(arch, program, profile, watchdog, timing_only, false);
        const Outcome all = RunModel(arch, program, profile, watchdog, timing_only, true);
        ASSERT_TRUE(some.trace.finished && all.trace.finished);
        EXPECT_EQ(some.trace.fault, all.trace.fault);
        EXPECT_EQ(some.trace.cycles, all.trace.cycles);
        EXPECT_EQ(some.trace.issue, all.trace.issue);
        EXPECT_EQ(some.trace.completion, all.trace.completion);
        EXPECT_EQ(some.trace.classes, all.trace.classes);
        EXPECT_TRUE(some.trace == all.trace);
        EXPECT_EQ(some.drained, all.drained);
        EXPECT_EQ(all.evaluations, all.trace.cycles);
        evaluated += some.evaluations;
        cycles += all.evaluations;
      }
    }
    if (HasFailure()) break;
  }
  EXPECT_LT(evaluated, cycles);
}

INSTANTIATE_TEST_SUITE_P(Configurations, Wake, ::testing::Values("tiny", "small", "base", "large"));

}  // namespace
}  // namespace octile
