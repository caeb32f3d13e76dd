// The one buffer in which a device hands over what it observed of a job: a header, the issue and
// completion cycles, counters by layer, a table of results, and their addresses and data. All
// numbers are 64-bit little-endian unless stated.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "octile/driver/error.h"
#include "octile/driver/report.h"

namespace octile::driver {

struct ObservationHeader {
  static constexpr uint64_t kMagic = 0x3153424f4c54434f;  // "OCTLOBS1"

  uint64_t magic = kMagic;
  uint64_t vector_bytes = 0;  // N
  uint64_t instructions = 0;
  uint64_t layers = 0;
  uint64_t results = 0;
  uint64_t tile_starts = 0;
  uint64_t total_bytes = 0;
  uint64_t reserved = 0;
};

struct ObservationLayer {
  uint64_t layer = 0;
  uint64_t cycles = 0;
  ClassMatrix classes{};
};

struct ObservationResult {
  uint64_t instruction = 0;     // of the job
  uint64_t count = 0;           // vectors
  uint64_t address_offset = 0;  // bytes from the start of the block: count 32-bit vector addresses
  uint64_t data_offset = 0;     // count * N bytes
};

// Collects the parts of a block and lays it out.
class ObservationBuilder {
 public:
  ObservationBuilder(uint32_t vector_bytes, uint64_t instructions);

  void SetTrace(std::span<const uint64_t> issue, std::span<const uint64_t> completion,
                uint64_t tile_starts);
  void AddLayer(const ObservationLayer& layer) { layers_.push_back(layer); }
  // The next vector of an instruction; ignored beyond the job's instructions.
  void AddResult(uint32_t instruction, uint32_t address, std::span<const uint8_t> data);

  uint64_t total_bytes() const;
  // Writes total_bytes() bytes.
  void Write(uint8_t* to) const;

 private:
  struct Slot {
    std::vector<uint32_t> addresses;
    std::vector<uint8_t> data;
  };

  uint32_t vector_bytes_;
  std::vector<uint64_t> issue_;
  std::vector<uint64_t> completion_;
  uint64_t tile_starts_ = 0;
  std::vector<ObservationLayer> layers_;
  std::vector<Slot> slots_;
  uint64_t results_ = 0;
  uint64_t vectors_ = 0;
};

// Reads a block; instruction numbers get first_instruction added. The bytes are checked, not
// trusted: kDeviceLost when they are not a block.
Result<Observations> ParseObservations(std::shared_ptr<const void> storage,
                                       std::span<const uint8_t> bytes, uint32_t first_instruction);

}  // namespace octile::driver
