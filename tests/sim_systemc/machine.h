// A device with memory and regions, for tests of hand-written programs.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/isa/registers.h"
#include "octile/sim/device.h"
#include "octile/systemc/device.h"

namespace octile {

inline constexpr uint32_t kDataBase = 1 << 20;  // region 1: data, readable and writable
inline constexpr uint32_t kDataBytes = 3 << 20;
inline constexpr uint32_t kProgramBytes = 1 << 20;  // region 0: the program, at address 0

struct Write {
  uint32_t instruction;
  uint32_t address;
  std::vector<uint8_t> data;
};

class Recorder : public sim::ObservationSink {
 public:
  void OnResult(uint32_t instruction, uint32_t address, std::span<const uint8_t> data) override {
    writes.push_back({instruction, address, {data.begin(), data.end()}});
  }
  std::vector<Write> writes;
};

class Machine {
 public:
  explicit Machine(const sim::DeviceOptions& options = {})
      : Machine(systemc::MakeModelDevice(options)) {}
  explicit Machine(std::unique_ptr<sim::CoreDevice> made)
      : memory(4 << 20), device(std::move(made)) {
    device->SetMemory(memory);
    device->SetObservationSink(&observed);
    SetRegion(0, 0, kProgramBytes, regs::kRegionPermExecute.mask());
    SetRegion(1, kDataBase, kDataBytes,
              regs::kRegionPermRead.mask() | regs::kRegionPermWrite.mask());
    Set(regs::kIrqEnable, 3);
  }

  void Set(uint32_t offset, uint32_t value) {
    ASSERT_TRUE(device->WriteRegister(offset, value)) << offset;
  }
  uint32_t Get(uint32_t offset) {
    uint32_t value = 0;
    EXPECT_TRUE(device->ReadRegister(offset, &value)) << offset;
    return value;
  }
  uint64_t Get64(uint32_t offset) { return Get(offset) | uint64_t{Get(offset + 4)} << 32; }
  void SetRegion(int r, uint64_t base, uint32_t limit, uint32_t perm) {
    Set(regs::RegionBaseLo(r), static_cast<uint32_t>(base));
    Set(regs::RegionBaseHi(r), static_cast<uint32_t>(base >> 32));
    Set(regs::RegionLimit(r), limit);
    Set(regs::RegionPerm(r), perm);
  }

  // Adds END unless told otherwise; runs to the end of the job.
  const sim::Trace& Run(std::vector<isa::Instruction> program, bool end = true) {
    if (end) program.push_back(isa::Encode(isa::End{}));
    if (!program.empty())
      std::memcpy(memory.data(), program.data(), program.size() * sizeof(program[0]));
    Set(regs::kProgramOffset, 0);
    Set(regs::kProgramCount, static_cast<uint32_t>(program.size()));
    Set(regs::kIrqStatus, 3);
    observed.writes.clear();
    Set(regs::kControl, regs::kControlStart.mask());
    device->Run(100'000'000);
    EXPECT_TRUE(device->Interrupt()) << "the job did not end";
    return device->trace();
  }
  uint8_t* data(uint32_t offset) { return &memory[kDataBase + offset]; }

  std::vector<uint8_t> memory;
  std::unique_ptr<sim::CoreDevice> device;
  Recorder observed;
};

inline uint64_t ClassCycles(const sim::Trace& t, isa::Queue q, isa::Class c) {
  return t.classes[static_cast<size_t>(q)][static_cast<size_t>(c)];
}

inline void ExpectConserved(const sim::Trace& t) {
  for (int q = 0; q < sim::kQueues; ++q) {
    uint64_t sum = 0;
    for (uint64_t c : t.classes[q]) sum += c;
    EXPECT_EQ(sum, t.cycles) << "queue " << q;
  }
  uint64_t cycles = 0;
  sim::ClassMatrix matrix{};
  for (const sim::LayerCounters& l : t.layers) {
    cycles += l.cycles;
    for (int q = 0; q < sim::kQueues; ++q)
      for (int c = 0; c < sim::kClasses; ++c) matrix[q][c] += l.classes[q][c];
  }
  EXPECT_EQ(cycles, t.cycles);
  EXPECT_EQ(matrix, t.classes);
}

// Encodes operations in order.
template <class... Ops>
std::vector<isa::Instruction> Program(const Ops&... ops) {
  return {isa::Encode(ops)...};
}

}  // namespace octile
