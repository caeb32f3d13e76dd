#include "machine.h"

#include <algorithm>
#include <cstring>

namespace octile::sim::iss {
namespace {

uint32_t BytesOf(isa::LdpTarget target, uint32_t n) {
  switch (target) {
    case isa::LdpTarget::kExeSet:
    case isa::LdpTarget::kVecSet:
      return 8 * n;
    case isa::LdpTarget::kExeConst:
    case isa::LdpTarget::kVecConst:
      return std::max(64u, n);
    case isa::LdpTarget::kExeTable:
    case isa::LdpTarget::kVecTable:
      return 256;
    case isa::LdpTarget::kVecWeight:
      return 4 * n;
  }
  return 0;
}

}  // namespace

Machine::Machine(const CoreConfig& c) : config(c), n(c.n) {
  buffer_.resize(size_t{c.banks} * c.bank_depth * n);
  accumulators.resize(size_t{c.acc_depth} * n);
  const std::array<uint32_t, 7> entries = {c.psets, isa::kConstSlots, isa::kTableSlots, c.psets,
                                           c.wrows, isa::kConstSlots, isa::kTableSlots};
  for (size_t t = 0; t < entries.size(); ++t) {
    entry_bytes_[t] = BytesOf(static_cast<isa::LdpTarget>(t), n);
    parameters[t].resize(size_t{entries[t]} * entry_bytes_[t]);
  }
}

void Machine::Reset() {
  std::fill(buffer_.begin(), buffer_.end(), 0);
  std::fill(accumulators.begin(), accumulators.end(), 0);
  for (auto& p : parameters) std::fill(p.begin(), p.end(), 0);
  ring.clear();
  partial.clear();
  cursor = 0;
}

void Machine::StartJob() {
  bytes = {};
  bursts_ = {};
  tile_starts = 0;
}

MaybeTrap Machine::CheckRegion(int region, uint32_t offset, uint32_t size,
                               Permission permission) const {
  const RegionState& r = regions[region];
  const bool allowed = permission == Permission::kRead    ? r.read
                       : permission == Permission::kWrite ? r.write
                                                          : r.execute;
  if (allowed && uint64_t{offset} + size <= r.limit) return std::nullopt;
  return Trap{isa::Fault::kRegion, offset};
}

MaybeTrap Machine::ReadBurst(Port port, int region, uint32_t offset, uint32_t size, uint8_t* to) {
  // Bytes count when the burst is picked, before anybody looks at the region.
  bytes[static_cast<size_t>(port)] += size;
  OCTILE_ISS_RETURN_IF_TRAP(CheckRegion(
      region, offset, size, port == Port::kFetch ? Permission::kExecute : Permission::kRead));
  const uint64_t address = Address(region, offset);
  const bool error = bursts_[0]++ == inject[0];
  if (error || address > memory.size() || size > memory.size() - address)
    return Trap{isa::Fault::kBusRead, address};
  std::memcpy(to, memory.data() + address, size);
  return std::nullopt;
}

MaybeTrap Machine::WriteBurst(uint64_t address, std::span<const uint8_t> data) {
  bytes[static_cast<size_t>(Port::kSto)] += data.size();
  const bool error = bursts_[1]++ == inject[1];
  if (error || address > memory.size() || data.size() > memory.size() - address)
    return Trap{isa::Fault::kBusWrite, address};
  std::memcpy(memory.data() + address, data.data(), data.size());
  return std::nullopt;
}

uint32_t Machine::BurstBytes(uint32_t offset, uint64_t left) {
  const uint32_t to_boundary = isa::kBurstBytes - offset % isa::kBurstBytes;
  return static_cast<uint32_t>(std::min<uint64_t>(left, to_boundary));
}

MaybeTrap Machine::ReadRow(Port port, int region, uint32_t offset, uint64_t size,
                           std::vector<uint8_t>* to) {
  while (size > 0) {
    const uint32_t burst = BurstBytes(offset, size);
    const size_t at = to->size();
    to->resize(at + burst);
    OCTILE_ISS_RETURN_IF_TRAP(ReadBurst(port, region, offset, burst, to->data() + at));
    offset += burst;
    size -= burst;
  }
  return std::nullopt;
}

}  // namespace octile::sim::iss
