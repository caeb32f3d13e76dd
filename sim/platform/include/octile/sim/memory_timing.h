// The memory system in front of the core, as docs/timing.md section 6 states it: when a burst's
// address is accepted, when its beats and its response arrive. One class for the SystemC and the
// Verilated platform, so cycle counts agree for every profile.
#pragma once

#include <cstdint>

namespace octile::sim {

// Cycles unless stated; the `platform` part of a configuration (rtl/spec/configs.yml).
struct MemoryProfile {
  uint32_t read_latency = 100;  // address acceptance to first beat
  uint32_t write_latency = 50;  // last beat to response
  uint32_t beat_interval = 1;   // from a beat to the next, at least 1
  uint32_t refresh_period = 0;  // 0: never
  uint32_t refresh_cycles =
      0;                // the first cycles of every period serve nothing; less than the period
  uint32_t jitter = 0;  // extra latency, uniform in 0..jitter, drawn per burst
  uint32_t ready_jitter = 0;  // delay of the address acceptance, uniform in 0..ready_jitter
  uint64_t seed = 1;

  friend bool operator==(const MemoryProfile&, const MemoryProfile&) = default;
};

enum class Direction : uint32_t { kRead = 0, kWrite = 1 };

// A uniform number in 0..limit from (seed, direction, burst, stream): a hash, so the order of calls
// does not matter. stream 0: latency (j_i), stream 1: address acceptance (d_i).
uint32_t BurstRandom(uint64_t seed, Direction direction, uint64_t burst, uint32_t stream,
                     uint32_t limit);

class MemoryTiming {
 public:
  explicit MemoryTiming(const MemoryProfile& profile = {}) { Reset(profile); }

  // Job start: burst numbers and channel state begin anew.
  void Reset(const MemoryProfile& profile);
  void Reset() { Reset(profile_); }

  struct ReadBurst {
    uint64_t accept;  // ARREADY in this cycle
    uint64_t first;   // beat k arrives in first + k * beat_interval
    uint64_t last;
  };
  // The next read burst, whose ARVALID shows from cycle `valid` on. Bursts are given in order of
  // acceptance; beats >= 1.
  ReadBurst Read(uint64_t valid, uint32_t beats);

  struct WriteBurst {
    uint64_t
        accept;     // AWREADY in this cycle; data beat k is accepted in accept + k * beat_interval
    uint64_t last;  // acceptance of the last data beat
    uint64_t response;  // BVALID in this cycle
  };
  // The next write burst, whose AWVALID and WVALID show from cycle `valid` on.
  WriteBurst Write(uint64_t valid, uint32_t beats);

  const MemoryProfile& profile() const { return profile_; }
  uint64_t reads() const { return reads_; }
  uint64_t writes() const { return writes_; }

 private:
  uint64_t AfterRefresh(uint64_t cycle) const;

  MemoryProfile profile_;
  uint64_t reads_ = 0;
  uint64_t writes_ = 0;
  uint64_t read_end_ = 0;        // cycle of the last beat of the previous read burst
  uint64_t write_response_ = 0;  // of the previous write burst
};

}  // namespace octile::sim
