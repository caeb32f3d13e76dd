#pragma once

#include <memory>

#include "octile/driver/buffer.h"
#include "octile/driver/error.h"
#include "octile/program/program.h"

namespace octile::driver {

// A program that was verified and lies in device memory, with a buffer bound to each of its
// regions. It may be run any number of times. Copies share everything.
class ProgramHandle {
 public:
  ProgramHandle();
  ~ProgramHandle();
  ProgramHandle(const ProgramHandle&);
  ProgramHandle& operator=(const ProgramHandle&);
  ProgramHandle(ProgramHandle&&) noexcept;
  ProgramHandle& operator=(ProgramHandle&&) noexcept;

  bool valid() const { return impl_ != nullptr; }
  int region_count() const;
  uint32_t instruction_count() const;
  // The buffer bound to a region; that of the instructions is sealed. kInvalidArgument: no such
  // region.
  Result<Buffer> region(int index) const;
  // Binds another buffer of the same device, at least as large as the region and aligned to 256
  // bytes, for jobs submitted later. kInvalidArgument: not such a buffer, or the instructions of
  // any program. Regions of which one is writable must not overlap when a job is submitted (Submit
  // checks, so that two buffers can be exchanged in two calls).
  Result<void> Bind(int index, const Buffer& buffer) const;

 private:
  friend class DeviceImpl;
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace octile::driver
