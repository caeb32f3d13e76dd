#pragma once

#include <cstdint>
#include <string>

#include "octile/program/config.h"

namespace octile::driver {

// What an open device is. The numbers are read from its registers (docs/registers.md), not from a
// file.
struct Capabilities {
  std::string backend;  // "mock", "iss", "systemc", "rtl"
  std::string config;   // name of the configuration it was opened with
  std::string
      platform;  // "read_latency=100 ...": memory behind the core; empty where there is none
  uint32_t isa_version = 0;  // major << 16 | minor
  uint64_t arch_hash = 0;
  ArchConfig arch;
  uint32_t context = 0;       // number of this client in fault records
  uint64_t memory_bytes = 0;  // device memory that this client may allocate
  bool cycle_exact = false;   // cycles and counters are those of the hardware
  bool observable = false;    // SubmitOptions::observe works
  int clock_mhz = 0;          // of the platform configuration; 0: unknown
};

}  // namespace octile::driver
