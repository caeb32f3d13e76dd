// One job on one cycle-exact device, and everything that can be compared afterwards.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/sim/device.h"
#include "octile/support/status.h"

namespace octile::cosim {

struct RegionWindow {
  uint64_t base = 0;  // a multiple of 256
  uint32_t limit = 0;
  bool read = false;
  bool write = false;
  bool execute = false;
};

struct Job {
  std::vector<isa::Instruction> program;
  int program_region = 0;
  uint32_t program_offset = 0;  // a multiple of 256
  uint32_t watchdog = 0;
  std::array<RegionWindow, isa::kRegions> regions{};
  std::vector<uint8_t> memory;  // device memory before the job; the program is written into it
  sim::MemoryProfile profile;
  // Bursts answered with an error; sim::kNever: none.
  uint64_t read_error = sim::kNever;
  uint64_t write_error = sim::kNever;
  // False: the job follows the last one directly, which must have ended without fault.
  bool reset = true;
};

// A result vector, in write order within its instruction.
struct ResultVector {
  uint32_t address = 0;
  std::vector<uint8_t> data;

  friend bool operator==(const ResultVector&, const ResultVector&) = default;
};

struct Outcome {
  std::string device;  // "systemc", "rtl": for messages
  bool ended = true;   // false: given up after max_cycles; nothing else is filled in
  sim::Trace trace;
  std::vector<std::vector<ResultVector>> results;  // by instruction
  std::vector<uint8_t> memory;
  std::vector<uint32_t> registers;  // after a snapshot, in the order of regs::kRegisters
};

// Resets the device if asked, runs the job and collects. kDevice: a register access failed.
Expected<Outcome> RunJob(sim::CoreDevice& device, const std::string& name, const Job& job,
                         uint64_t max_cycles);

}  // namespace octile::cosim
