// A simulator with memory and regions, for hand-written and for random programs.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/isa/registers.h"
#include "octile/program/assembler.h"
#include "octile/program/config.h"
#include "octile/sim/device.h"
#include "octile/sim/iss.h"

namespace octile {

inline sim::CoreConfig CoreOf(const ArchConfig& a) {
  auto u = [](int v) { return static_cast<uint32_t>(v); };
  return {u(a.n),           u(a.weight_rows),  u(a.ring_tiles), u(a.acc_depth),
          u(a.banks),       u(a.bank_depth),   u(a.psets),      u(a.wrows),
          u(a.read_bursts), u(a.write_bursts), ArchHash(a)};
}

inline sim::IssOptions TinyOptions(uint64_t seed = 1, bool verify = true) {
  return {CoreOf(LoadConfig("tiny")->arch), seed, verify};
}

struct Result {
  uint32_t instruction;
  uint32_t address;
  std::vector<uint8_t> data;
  friend bool operator==(const Result&, const Result&) = default;
};

class Recorder : public sim::ObservationSink {
 public:
  void OnResult(uint32_t instruction, uint32_t address, std::span<const uint8_t> data) override {
    results.push_back({instruction, address, {data.begin(), data.end()}});
  }
  std::vector<Result> results;
};

// Region 0 holds the program, region 1 data to read, region 2 is written, region 3 both.
class Machine {
 public:
  static constexpr uint32_t kBytes = 1 << 20;  // of a region

  explicit Machine(const sim::IssOptions& options = TinyOptions())
      : memory(4 * kBytes), iss(options) {
    iss.SetMemory(memory);
    iss.SetObservationSink(&observed);
    const uint32_t r = regs::kRegionPermRead.mask();
    const uint32_t w = regs::kRegionPermWrite.mask();
    SetRegion(0, 0, kBytes, regs::kRegionPermExecute.mask());
    SetRegion(1, kBytes, kBytes, r);
    SetRegion(2, 2 * kBytes, kBytes, w);
    SetRegion(3, 3 * kBytes, kBytes, r | w);
    Set(regs::kIrqEnable, 3);
  }

  void Set(uint32_t offset, uint32_t value) {
    ASSERT_TRUE(iss.WriteRegister(offset, value)) << offset;
  }
  uint32_t Get(uint32_t offset) {
    uint32_t value = 0;
    EXPECT_TRUE(iss.ReadRegister(offset, &value)) << offset;
    return value;
  }
  void SetRegion(int r, uint64_t base, uint32_t limit, uint32_t perm) {
    Set(regs::RegionBaseLo(r), static_cast<uint32_t>(base));
    Set(regs::RegionBaseHi(r), static_cast<uint32_t>(base >> 32));
    Set(regs::RegionLimit(r), limit);
    Set(regs::RegionPerm(r), perm);
  }
  uint8_t* data(int region, uint32_t offset = 0) {
    return &memory[static_cast<size_t>(region) * kBytes + offset];
  }

  const sim::Trace& Run(const std::vector<isa::Instruction>& program) {
    if (!program.empty())
      std::memcpy(memory.data(), program.data(), program.size() * sizeof(program[0]));
    Set(regs::kProgramOffset, 0);
    Set(regs::kProgramCount, static_cast<uint32_t>(program.size()));
    Set(regs::kIrqStatus, 3);
    observed.results.clear();
    Set(regs::kControl, regs::kControlStart.mask());
    while (iss.Busy() && iss.Run(1 << 20) > 0) {
    }
    EXPECT_TRUE(iss.Interrupt()) << "the job did not end";
    return iss.trace();
  }
  const sim::Trace& Run(std::string_view text) {
    auto program = Assemble(text, /*allow_illegal=*/true);
    EXPECT_TRUE(program) << program.error().message;
    return Run(program ? *program : std::vector<isa::Instruction>());
  }

  std::vector<uint8_t> memory;
  sim::Iss iss;
  Recorder observed;
};

inline std::string_view Cause(const sim::Trace& t) {
  return isa::FaultName(static_cast<isa::Fault>(t.fault.cause));
}

}  // namespace octile
