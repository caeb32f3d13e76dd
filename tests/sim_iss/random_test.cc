// Random programs: the same results for every order of steps, and the same as the cycle-exact
// model; faults as the generator says. To run one program again: OCTILE_SEED=K sim_iss_test
// --gtest_filter=*Random* with the seed a failure names.
#include <gtest/gtest.h>

#include <cstdlib>

#include "machine.h"
#include "octile/program/random_program.h"
#include "octile/systemc/device.h"

namespace octile {
namespace {

constexpr uint64_t kMemory = uint64_t{16} << 20;

// What is left of a run.
struct Outcome {
  std::vector<uint8_t> memory;
  sim::FaultRecord fault;
  std::array<uint64_t, sim::kPorts> bytes{};
  uint64_t retired = 0;
  uint64_t tile_starts = 0;
  std::vector<Result> results;  // by instruction
};

void Write(sim::CoreDevice& device, uint32_t offset, uint32_t value) {
  ASSERT_TRUE(device.WriteRegister(offset, value)) << offset;
}

Outcome Run(sim::CoreDevice& device, const RandomProgram& program) {
  Outcome out;
  out.memory.resize(kMemory);
  uint64_t base = 0;
  for (size_t r = 0; r < program.regions.size(); ++r) {
    const RandomRegion& region = program.regions[r];
    const int number = static_cast<int>(r);
    const uint64_t at = region.unmapped ? kMemory + (base << 8) : base;
    if (!region.unmapped)
      std::copy(region.data.begin(), region.data.end(),
                out.memory.begin() + static_cast<ptrdiff_t>(base));
    Write(device, regs::RegionBaseLo(number), static_cast<uint32_t>(at));
    Write(device, regs::RegionBaseHi(number), static_cast<uint32_t>(at >> 32));
    Write(device, regs::RegionLimit(number), static_cast<uint32_t>(region.extent.limit));
    Write(device, regs::RegionPerm(number),
          (region.extent.read ? 1u : 0u) | (region.extent.write ? 2u : 0u) |
              (region.extent.execute ? 4u : 0u));
    base += (region.extent.limit + 4095) / 4096 * 4096;
  }
  EXPECT_LE(base, kMemory);
  device.SetMemory(out.memory);
  Recorder recorder;
  device.SetObservationSink(&recorder);
  Write(device, regs::kProgramRegion, static_cast<uint32_t>(program.program_region));
  Write(device, regs::kProgramOffset, program.program_offset);
  Write(device, regs::kProgramCount, static_cast<uint32_t>(program.instructions.size()));
  Write(device, regs::kWatchdog, program.watchdog);
  Write(device, regs::kControl, regs::kControlStart.mask());
  while (device.Busy() && device.Run(1 << 24) > 0) {
  }
  EXPECT_FALSE(device.Busy());
  const sim::Trace& t = device.trace();
  out.fault = t.fault;
  out.fault.cycle = 0;
  out.bytes = t.bytes;
  out.retired = t.retired;
  out.tile_starts = t.tile_starts;
  // Units interleave as time or chance has it; an instruction's own results are in order.
  std::stable_sort(recorder.results.begin(), recorder.results.end(),
                   [](const Result& a, const Result& b) { return a.instruction < b.instruction; });
  out.results = std::move(recorder.results);
  return out;
}

Outcome RunIss(const ArchConfig& arch, uint64_t order, const RandomProgram& program,
               std::string* violation = nullptr) {
  sim::Iss iss({CoreOf(arch), order, true});
  Outcome out = Run(iss, program);
  if (violation != nullptr && iss.violation()) *violation = iss.violation()->message;
  return out;
}

Outcome RunModel(const ArchConfig& arch, const RandomProgram& program) {
  sim::DeviceOptions options;
  options.core = CoreOf(arch);
  const auto device = systemc::MakeModelDevice(options);
  return Run(*device, program);
}

void ExpectSame(const Outcome& a, const Outcome& b, std::string_view what) {
  EXPECT_EQ(a.fault, b.fault) << what;
  EXPECT_TRUE(a.memory == b.memory) << what << ": memory differs";
  EXPECT_EQ(a.bytes, b.bytes) << what;
  EXPECT_EQ(a.retired, b.retired) << what;
  EXPECT_EQ(a.tile_starts, b.tile_starts) << what;
  ASSERT_EQ(a.results.size(), b.results.size()) << what;
  for (size_t i = 0; i < a.results.size(); ++i) {
    ASSERT_EQ(a.results[i].instruction, b.results[i].instruction) << what << ", result " << i;
    ASSERT_EQ(a.results[i].address, b.results[i].address)
        << what << ", instruction " << a.results[i].instruction;
    ASSERT_EQ(a.results[i].data, b.results[i].data)
        << what << ", instruction " << a.results[i].instruction << ", vector "
        << a.results[i].address;
  }
}

// The seeds first .. first + count - 1, or the one in OCTILE_SEED.
std::vector<uint64_t> Seeds(uint64_t first, uint64_t count) {
  if (const char* seed = std::getenv("OCTILE_SEED")) return {std::strtoull(seed, nullptr, 0)};
  std::vector<uint64_t> seeds;
  for (uint64_t i = 0; i < count; ++i) seeds.push_back(first + i);
  return seeds;
}

class RandomPrograms : public ::testing::TestWithParam<const char*> {};

TEST_P(RandomPrograms, SameInEveryOrderAndOnTheCycleExactModel) {
  const ArchConfig arch = LoadConfig(GetParam())->arch;
  size_t programs = 0, results = 0;
  uint64_t stored = 0;
  for (const uint64_t seed : Seeds(1000, 60)) {
    SCOPED_TRACE("OCTILE_SEED=" + std::to_string(seed));
    const RandomProgram program = MakeRandomProgram(arch, seed);
    ASSERT_FALSE(program.fault);
    std::string violation;
    const Outcome natural = RunIss(arch, 0, program, &violation);
    EXPECT_EQ(violation, "");
    EXPECT_EQ(natural.fault.cause, 0u);
    for (uint64_t order = 1; order <= 4; ++order)
      ExpectSame(natural, RunIss(arch, order + seed * 8, program),
                 "order " + std::to_string(order + seed * 8));
    ExpectSame(natural, RunModel(arch, program), "cycle-exact model");
    if (HasFailure()) break;
    ++programs;
    results += natural.results.size();
    stored += natural.bytes[static_cast<size_t>(sim::Port::kSto)];
  }
  // There was something to compare.
  EXPECT_GT(results, programs * 10);
  EXPECT_GT(stored, programs * 10);
}

TEST_P(RandomPrograms, Faults) {
  const ArchConfig arch = LoadConfig(GetParam())->arch;
  for (int cause = 1; cause <= 11; ++cause) {
    const auto fault = static_cast<isa::Fault>(cause);
    if (fault == isa::Fault::kWatchdog) continue;  // needs cycles
    for (const uint64_t seed : Seeds(1, 8)) {
      SCOPED_TRACE(std::string(isa::FaultName(fault)) + ", OCTILE_SEED=" + std::to_string(seed));
      const RandomProgram program = MakeFaultyProgram(arch, seed, fault);
      ASSERT_TRUE(program.fault);
      const Outcome model = RunModel(arch, program);
      for (uint64_t order = 0; order <= 3; ++order) {
        const Outcome iss = RunIss(arch, order, program);
        EXPECT_EQ(iss.fault, model.fault) << "order " << order;
        EXPECT_EQ(isa::FaultName(static_cast<isa::Fault>(iss.fault.cause)),
                  isa::FaultName(program.fault->cause));
        EXPECT_EQ(iss.fault.instruction, static_cast<uint64_t>(program.fault->instruction));
        EXPECT_EQ(iss.fault.second, static_cast<uint64_t>(program.fault->instruction2));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Configurations, RandomPrograms,
                         ::testing::Values("tiny", "small", "base", "large"));

}  // namespace
}  // namespace octile
