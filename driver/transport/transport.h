// What the driver needs of a device, whatever it is: registers, memory, an interrupt. Mock,
// in-process and socket transports implement it and pass one conformance suite
// (tests/driver/transport_conformance.cc).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "octile/driver/deadline.h"
#include "octile/driver/error.h"
#include "transport/uri.h"

namespace octile::driver {

struct TransportInfo {
  std::string backend;
  std::string config;
  std::string platform;
  int clock_mhz = 0;
  uint32_t context = 0;
  uint64_t memory_base = 0;  // device address of memory()[0]
  bool cycle_exact = false;
  bool observable = false;
};

// One hardware region as a job sees it; device addresses.
struct RegionWindow {
  uint64_t base = 0;  // multiple of 256
  uint64_t bytes = 0;
  bool read = false;
  bool write = false;
  bool execute = false;
};

struct ObserveRequest {
  bool trace = false;
  bool results = false;
};

// The bytes of an observation block (transport/observation_block.h) and what keeps them alive.
struct ObservationBlock {
  std::shared_ptr<const void> storage;
  std::span<const uint8_t> bytes;
};

// Calls may come from any thread. Errors: kTimeout when the deadline passed before the answer came
// (the access may have happened), kDeviceLost when there will never be an answer, and what a
// function states.
class Transport {
 public:
  virtual ~Transport() = default;

  virtual const TransportInfo& info() const = 0;
  // This client's device memory, all of it, mapped; lives as long as the transport.
  virtual std::span<uint8_t> memory() = 0;

  // Registers of the client page. All but the identification registers (below 0x40) only between
  // Acquire and Release; kInvalidArgument otherwise, for the supervisor page, and where the bus
  // answers with an error (docs/registers.md).
  virtual Result<uint32_t> Read(uint32_t offset, Deadline deadline) = 0;
  // Consecutive registers from `offset` on.
  virtual Result<void> ReadBlock(uint32_t offset, std::span<uint32_t> values, Deadline deadline);
  virtual Result<void> Write(uint32_t offset, uint32_t value, Deadline deadline) = 0;

  // Exclusive use of the core. The supervisor resets the core when another client had it in
  // between.
  virtual Result<void> Acquire(Deadline deadline) = 0;
  virtual Result<void> Release(Deadline deadline) = 0;
  // The regions of the next job, by hardware region number; those not named are empty. Done by the
  // supervisor, which refuses windows outside this client's memory (kInvalidArgument). Needs
  // Acquire; not while a job runs.
  virtual Result<void> SetRegions(std::span<const RegionWindow> regions, Deadline deadline) = 0;

  // Waits for an interrupt since the last call that returned true. false: the deadline passed, or
  // Wake was called.
  virtual Result<bool> WaitInterrupt(Deadline deadline) = 0;
  // Ends a WaitInterrupt in another thread early, or the next one.
  virtual void Wake() = 0;

  // For jobs started from now on.
  virtual Result<void> SetObserve(ObserveRequest request, Deadline deadline) = 0;
  // Of the job that ended last. kUnsupported: nothing was asked for.
  virtual Result<ObservationBlock> TakeObservations(Deadline deadline) = 0;

  // Ends the connection; later calls give kDeviceLost, memory() stays. Never blocks beyond the
  // deadline.
  virtual void Close(Deadline deadline) noexcept = 0;
};

struct TransportBackend {
  std::string name;  // the URI's backend
  std::string description;
  bool takes_config =
      true;  // BACKEND:CONFIG; false: the target is something else and Enumerate lists nothing
  std::function<bool(const std::string& config)> available;  // null: always
  std::function<Result<std::unique_ptr<Transport>>(const Uri&, Deadline)> open;
};

// Adds a backend or replaces the one of the same name. The driver has mock, systemc, rtl and socket
// by itself; what hosts a platform in process (octile/device/in_process.h) registers itself, so
// that the driver knows no simulator.
void RegisterBackend(TransportBackend backend);
std::vector<TransportBackend> Backends();

}  // namespace octile::driver
