// A cycle-exact device as its host sees it: registers, an interrupt line, memory that both share.
// The SystemC platform and the Verilated platform implement it; the device process serves either to
// the driver.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "octile/sim/memory_timing.h"
#include "octile/sim/trace.h"

namespace octile::sim {

// The architectural part of a configuration (rtl/spec/configs.yml); a Verilated device has it
// compiled in.
struct CoreConfig {
  uint32_t n = 16;  // array rows = columns = lanes; bytes of a vector and of a beat
  uint32_t weight_rows = 4;
  uint32_t ring_tiles = 256;
  uint32_t acc_depth = 1024;
  uint32_t banks = 24;
  uint32_t bank_depth = 1024;
  uint32_t psets = 128;
  uint32_t wrows = 256;
  uint32_t read_bursts = 32;
  uint32_t write_bursts = 8;
  uint64_t arch_hash = 0;  // what the hash registers show

  friend bool operator==(const CoreConfig&, const CoreConfig&) = default;
};

struct DeviceOptions {
  CoreConfig core;
  MemoryProfile memory;
  // SystemC only: no arithmetic and no data movement, the same cycles.
  bool timing_only = false;
};

class CoreDevice {
 public:
  virtual ~CoreDevice() = default;

  // Device memory, addresses 0 .. size - 1, owned by the caller and at least as long-lived as the
  // device or the next call. A burst that leaves it gets an error response. Only while no job runs.
  virtual void SetMemory(std::span<uint8_t> memory) = 0;

  // The register map (rtl/spec/registers.yml, octile/isa/registers.h): byte offset of either page.
  // False: the bus answered with an error (no such register, locked, start refused), and nothing
  // changed; a failed read gives 0. Register accesses never change the timing of a running job.
  virtual bool ReadRegister(uint32_t offset, uint32_t* value) = 0;
  virtual bool WriteRegister(uint32_t offset, uint32_t value) = 0;

  // Level of the interrupt line.
  virtual bool Interrupt() const = 0;
  // True while a job runs or a soft reset is under way.
  virtual bool Busy() const = 0;

  // Runs until the interrupt line is high or the device is no longer busy, at most max_cycles clock
  // cycles. Returns the cycles it advanced. Returns at once when there is nothing to wait for.
  virtual uint64_t Run(uint64_t max_cycles) = 0;

  // Null: nobody observes. The sink must outlive the job.
  virtual void SetObservationSink(ObservationSink* sink) = 0;
  // Of the running or the last job. While a job runs the cycles and classes may lag behind.
  virtual const Trace& trace() const = 0;

  // From the next job on.
  virtual void SetMemoryProfile(const MemoryProfile& profile) = 0;
  // The burst with this number (counted per direction from job start) of the next job is answered
  // with an error; kNever: none.
  virtual void InjectBusError(Direction direction, uint64_t burst) = 0;
};

}  // namespace octile::sim
