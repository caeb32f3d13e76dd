// What the verifier accepts must run without fault and with one result: on the instruction
// simulator in several orders of execution, and on the cycle-exact model under several memory
// timings. Valid random programs are changed a little, mostly where order comes from; those that
// are still valid are run.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "octile/cosim/campaign.h"
#include "octile/cosim/run.h"
#include "octile/program/access.h"
#include "octile/program/assembler.h"
#include "octile/program/random_program.h"
#include "octile/sim/iss.h"
#include "octile/sim/options.h"
#include "octile/systemc/device.h"

namespace octile {
namespace {

// One change of order, operands or claims.
void Change(std::vector<isa::Instruction>* program, std::mt19937_64* random) {
  const auto below = [&](size_t n) { return static_cast<size_t>((*random)() % n); };
  const size_t at = below(program->size() - 1);
  isa::Instruction& i = (*program)[at];
  const isa::FormatInfo& format = *isa::FindFormat(isa::OpcodeBits(i));
  const auto set = [&](std::string_view name, int64_t value) {
    isa::SetField(i, *isa::FindField(format, name), value);
  };
  switch (below(7)) {
    case 0:
      set("fence", 0);
      break;
    case 1:
      set("wait0", 0);
      break;
    case 2:
      set("wait1", 0);
      break;
    case 3:
      set(below(2) == 0 ? "signal0" : "signal1", 0);
      break;
    case 4:
      std::swap(i, (*program)[at == 0 ? 0 : at - 1]);
      break;
    case 5:
      program->erase(program->begin() + static_cast<std::ptrdiff_t>(at));
      break;
    default: {
      const isa::FieldInfo& field = format.fields[1 + below(format.fields.size() - 1)];
      // The arithmetic is stated for multipliers and constants of a certain range only: what is
      // loaded as such, and which constants an instruction takes, stays.
      const bool constants = (format.opcode == isa::Opcode::kLdp && field.lsb >= 43) ||
                             field.name == "const_slot" ||
                             (format.opcode == isa::Opcode::kElt && field.name == "mode");
      if (constants) break;
      const int64_t value = isa::GetField(i, field) + (below(2) == 0 ? 1 : -1);
      if (value >= field.min && value <= field.max) isa::SetField(i, field, value);
      break;
    }
  }
}

class Soundness : public testing::TestWithParam<std::string> {};

TEST_P(Soundness, AcceptedProgramsHaveOneResult) {
  const Config config = *LoadConfig(GetParam());
  const sim::DeviceOptions options = sim::ToDeviceOptions(config);
  const auto model = systemc::MakeModelDevice(options);
  int accepted = 0;
  int refused = 0;
  for (uint64_t seed = 1; seed <= 600; ++seed) {
    RandomProgram p = MakeRandomProgram(config.arch, seed);
    std::mt19937_64 random(seed);
    for (int changes = 1 + static_cast<int>(random() % 2); changes > 0; --changes)
      Change(&p.instructions, &random);
    std::vector<MemoryExtent> extents;
    for (const RandomRegion& r : p.regions) extents.push_back(r.extent);
    if (FindViolation(config.arch, p.instructions, extents)) {
      ++refused;
      continue;
    }
    ++accepted;
    std::optional<std::vector<uint8_t>> memory;
    const auto run = [&](sim::CoreDevice& device, const std::string& name, uint64_t timing) {
      const cosim::Job job = cosim::MakeJob(p, options.memory, timing);
      const auto outcome = cosim::RunJob(device, name, job, 5'000'000);
      ASSERT_TRUE(outcome) << outcome.error().message;
      ASSERT_TRUE(outcome->ended) << name << " does not end, seed " << seed;
      ASSERT_EQ(outcome->trace.fault.cause, 0u)
          << name << ", seed " << seed << ": fault "
          << isa::FaultName(static_cast<isa::Fault>(outcome->trace.fault.cause))
          << " of instruction " << outcome->trace.fault.instruction << "\n"
          << Disassemble(p.instructions, true);
      if (!memory)
        memory = outcome->memory;
      else
        ASSERT_EQ(*memory, outcome->memory) << name << ", seed " << seed << "\n"
                                            << Disassemble(p.instructions, true);
    };
    for (uint64_t timing = 0; timing < 3; ++timing)
      run(*model, fmt::format("model, timing {}", timing), 4 * seed + timing);
    for (uint64_t order = 0; order < 3; ++order) {
      sim::IssOptions iss;
      iss.core = options.core;
      iss.seed = order == 0 ? 0 : seed * 3 + order;
      iss.verify = false;
      sim::Iss device(iss);
      run(device, fmt::format("iss, order {}", iss.seed), 0);
    }
    if (HasFatalFailure()) return;
  }
  fmt::print("{}: {} accepted, {} refused\n", GetParam(), accepted, refused);
  EXPECT_GT(accepted, 60);
  EXPECT_GT(refused, 60);
}

INSTANTIATE_TEST_SUITE_P(Configurations, Soundness, testing::Values("tiny", "base"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace octile
