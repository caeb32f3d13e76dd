// From a configuration (octile/program/config.h) to what a device takes.
#pragma once

#include "octile/program/config.h"
#include "octile/sim/device.h"

namespace octile::sim {

inline CoreConfig ToCoreConfig(const ArchConfig& a) {
  CoreConfig c;
  c.n = static_cast<uint32_t>(a.n);
  c.weight_rows = static_cast<uint32_t>(a.weight_rows);
  c.ring_tiles = static_cast<uint32_t>(a.ring_tiles);
  c.acc_depth = static_cast<uint32_t>(a.acc_depth);
  c.banks = static_cast<uint32_t>(a.banks);
  c.bank_depth = static_cast<uint32_t>(a.bank_depth);
  c.psets = static_cast<uint32_t>(a.psets);
  c.wrows = static_cast<uint32_t>(a.wrows);
  c.read_bursts = static_cast<uint32_t>(a.read_bursts);
  c.write_bursts = static_cast<uint32_t>(a.write_bursts);
  c.arch_hash = ArchHash(a);
  return c;
}

inline MemoryProfile ToMemoryProfile(const PlatformConfig& p) {
  MemoryProfile m;
  m.read_latency = static_cast<uint32_t>(p.read_latency);
  m.write_latency = static_cast<uint32_t>(p.write_latency);
  m.beat_interval = static_cast<uint32_t>(p.beat_interval);
  m.refresh_period = static_cast<uint32_t>(p.refresh_period);
  m.refresh_cycles = static_cast<uint32_t>(p.refresh_cycles);
  m.jitter = static_cast<uint32_t>(p.jitter);
  m.ready_jitter = static_cast<uint32_t>(p.ready_jitter);
  m.seed = p.seed;
  return m;
}

inline DeviceOptions ToDeviceOptions(const Config& config) {
  DeviceOptions o;
  o.core = ToCoreConfig(config.arch);
  o.memory = ToMemoryProfile(config.platform);
  return o;
}

}  // namespace octile::sim
