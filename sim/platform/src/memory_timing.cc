#include "octile/sim/memory_timing.h"

#include <algorithm>

namespace octile::sim {
namespace {

// The finalizer of a 64-bit mixing hash: every input bit reaches every output bit.
uint64_t Mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ull;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace

uint32_t BurstRandom(uint64_t seed, Direction direction, uint64_t burst, uint32_t stream,
                     uint32_t limit) {
  if (limit == 0) return 0;
  uint64_t x = Mix(seed + 0x9e3779b97f4a7c15ull);
  x = Mix(x ^ (static_cast<uint64_t>(direction) * 2 + stream + 1));
  x = Mix(x ^ burst);
  return static_cast<uint32_t>(x % (uint64_t{limit} + 1));
}

void MemoryTiming::Reset(const MemoryProfile& profile) {
  profile_ = profile;
  profile_.beat_interval = std::max(profile_.beat_interval, 1u);
  reads_ = writes_ = 0;
  read_end_ = write_response_ = 0;
}

uint64_t MemoryTiming::AfterRefresh(uint64_t cycle) const {
  if (profile_.refresh_period == 0) return cycle;
  const uint64_t phase = cycle % profile_.refresh_period;
  return phase < profile_.refresh_cycles ? cycle - phase + profile_.refresh_cycles : cycle;
}

MemoryTiming::ReadBurst MemoryTiming::Read(uint64_t valid, uint32_t beats) {
  const uint64_t i = reads_++;
  ReadBurst r;
  r.accept = valid + BurstRandom(profile_.seed, Direction::kRead, i, 1, profile_.ready_jitter);
  r.first = r.accept + profile_.read_latency +
            BurstRandom(profile_.seed, Direction::kRead, i, 0, profile_.jitter);
  // A beat cannot come in the cycle that accepts its address.
  r.first = std::max(r.first, r.accept + 1);
  if (i > 0) r.first = std::max(r.first, read_end_ + profile_.beat_interval);
  r.first = AfterRefresh(r.first);
  r.last = r.first + uint64_t{beats - 1} * profile_.beat_interval;
  read_end_ = r.last;
  return r;
}

MemoryTiming::WriteBurst MemoryTiming::Write(uint64_t valid, uint32_t beats) {
  const uint64_t i = writes_++;
  WriteBurst w;
  w.accept = valid + BurstRandom(profile_.seed, Direction::kWrite, i, 1, profile_.ready_jitter);
  w.last = w.accept + uint64_t{beats - 1} * profile_.beat_interval;
  w.response = w.last + profile_.write_latency +
               BurstRandom(profile_.seed, Direction::kWrite, i, 0, profile_.jitter);
  w.response = std::max(w.response, w.last + 1);
  if (i > 0) w.response = std::max(w.response, write_response_ + 1);
  w.response = AfterRefresh(w.response);
  write_response_ = w.response;
  return w;
}

}  // namespace octile::sim
