#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "octile/driver/error.h"

namespace octile::driver {

// A piece of device memory, aligned to 4096 bytes and zeroed when allocated, freed with its last
// handle. Copies and sub-ranges share the memory. Device memory is shared with the host, so mapping
// copies nothing; the Sync calls order host and device accesses and are where a board would flush
// or invalidate.
class Buffer {
 public:
  static constexpr uint64_t kAlignment = 4096;

  Buffer();
  ~Buffer();
  Buffer(const Buffer&);
  Buffer& operator=(const Buffer&);
  Buffer(Buffer&&) noexcept;
  Buffer& operator=(Buffer&&) noexcept;

  bool valid() const { return impl_ != nullptr; }
  uint64_t bytes() const { return bytes_; }
  // In the device's address space. 0 for an empty handle.
  uint64_t device_address() const;

  // True for the buffer of a loaded program's instructions: what was verified is what runs, so it
  // can be read, and neither mapped, written, filled nor bound.
  bool sealed() const;

  // The bytes themselves; valid as long as this handle or a copy lives. kStale: empty handle or
  // closed device; kInvalidArgument: sealed.
  Result<std::span<uint8_t>> Map() const;
  // Part of the buffer: offset + bytes within it (kInvalidArgument otherwise).
  Result<Buffer> Sub(uint64_t offset, uint64_t bytes) const;

  // Makes host writes visible to jobs submitted later, and results of completed jobs visible to the
  // host.
  Result<void> SyncToDevice(uint64_t offset, uint64_t bytes) const;
  Result<void> SyncFromDevice(uint64_t offset, uint64_t bytes) const;

  // Copies with the fitting sync. kInvalidArgument beyond the end, and for writes to a sealed one.
  Result<void> Write(uint64_t offset, std::span<const uint8_t> data) const;
  Result<void> Read(uint64_t offset, std::span<uint8_t> data) const;
  Result<void> Fill(uint8_t value) const;

 private:
  friend class DeviceImpl;
  friend class ProgramHandle;
  struct Impl;
  Result<std::span<uint8_t>> Memory() const;  // sealed or not

  std::shared_ptr<Impl> impl_;
  uint64_t offset_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace octile::driver
