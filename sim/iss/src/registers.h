// The register file (docs/registers.md): a table of words and the rules of their access kinds. What
// registers do is up to the device.
#pragma once

#include <cstdint>
#include <map>

#include "octile/isa/registers.h"
#include "octile/sim/device.h"

namespace octile::sim::iss {

class RegisterFile {
 public:
  explicit RegisterFile(const CoreConfig& config);

  // By address, without side effects.
  uint32_t Get(uint32_t address) const { return words_.at(address); }
  void Set(uint32_t address, uint32_t value) { words_.at(address) = value; }
  void Set64(uint32_t low, uint64_t value);

  // From the bus. Bits 1:0 of the offset are ignored. A write to a w1s register (CONTROL, SNAPSHOT)
  // is accepted and does nothing here.
  bool Read(uint32_t offset, uint32_t* value) const;
  bool Write(uint32_t offset, uint32_t value);
  // Running or resetting: locked registers refuse writes.
  bool busy() const;
  void SetStatus(regs::Field bit) { Set(regs::kStatus, bit.mask()); }

  void SoftReset();
  // The snapshot registers, from the counters of a job.
  void Snapshot(const Trace& trace);
  void SetFault(const FaultRecord& fault);

 private:
  std::map<uint32_t, uint32_t> words_;
};

}  // namespace octile::sim::iss
