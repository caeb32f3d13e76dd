// Configurations of the accelerator: the architectural part, whose hash a program carries, and the
// platform part, which may vary freely. The meaning of every field and its limits are stated in
// rtl/spec/configs.yml.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "octile/support/status.h"

namespace octile {

struct ArchConfig {
  int n = 16;             // array rows = columns = lanes; bytes of a vector and of a beat
  int weight_rows = 4;    // rows of a weight tile the ring delivers in a cycle
  int ring_tiles = 256;   // weight ring, in N*N-byte tiles
  int acc_depth = 1024;   // accumulator vectors of N int32
  int banks = 24;         // activation buffer banks
  int bank_depth = 1024;  // vectors of a bank
  int psets = 128;        // parameter sets of EXE and of VEC (each has so many)
  int wrows = 256;        // VEC_WEIGHT rows
  int read_bursts = 32;   // outstanding read bursts
  int write_bursts = 8;   // outstanding write bursts

  int buffer_vectors() const { return banks * bank_depth; }
  int tile_bytes() const { return n * n; }
  // Bytes of an entry of LDP's targets: a parameter set, a constant slot, a table, a weight row.
  int pset_bytes() const { return 8 * n; }
  int const_bytes() const { return n > 64 ? n : 64; }
  static constexpr int table_bytes() { return 256; }
  int wrow_bytes() const { return 4 * n; }

  bool operator==(const ArchConfig&) const = default;
};

struct PlatformConfig {
  int read_latency = 100;  // cycles
  int write_latency = 50;  // cycles
  int beat_interval = 1;   // cycles of a bus beat
  int refresh_period = 0;  // cycles; 0: no refresh
  int refresh_cycles = 0;  // memory unavailable for so many out of every refresh_period
  int jitter = 0;          // extra latency of a burst, uniform in 0..jitter
  int ready_jitter = 0;    // extra cycles of address acceptance, uniform in 0..ready_jitter
  uint64_t seed = 1;
  int clock_mhz = 1000;  // converts cycles into seconds

  bool operator==(const PlatformConfig&) const = default;
};

struct Config {
  std::string name;  // of the named configuration, or the file
  ArchConfig arch;
  PlatformConfig platform;
};

// Checks the limits; errors (kProgram) name field, value and limit.
Status Validate(const ArchConfig& arch);
Status Validate(const PlatformConfig& platform);

// 64-bit FNV-1a over the canonical text of the architectural part and the ISA version: what the
// ARCH_HASH registers hold.
uint64_t ArchHash(const ArchConfig& arch);
// "isa=2.0 n=16 weight_rows=4 ...": the text behind the hash.
std::string ArchText(const ArchConfig& arch);
// "read_latency=100 ...", echoed by reports.
std::string PlatformText(const PlatformConfig& platform);

// Names of the configurations of rtl/spec/configs.yml, in the order of the file.
std::vector<std::string> ConfigNames();
std::string DefaultConfigName();

// A named configuration ("base"), or a YAML file when `name_or_path` ends in .yml or .yaml:
//   arch: {n: 16, ...}      # every field
//   platform: {...}         # fields left out have the values of `base`
// Errors (kProgram) name file, field and value.
Expected<Config> LoadConfig(std::string_view name_or_path);
// The file's text instead of its path; `name` appears in errors.
Expected<Config> ParseConfig(std::string_view text, std::string_view name);

// Sets one field of the platform part from "field=value"; for command lines.
Status SetPlatformField(PlatformConfig& platform, std::string_view field, std::string_view value);

}  // namespace octile
