#include "transport/observation_block.h"

#include <cstring>

namespace octile::driver {
namespace {

uint64_t Round8(uint64_t bytes) { return (bytes + 7) / 8 * 8; }

}  // namespace

ObservationBuilder::ObservationBuilder(uint32_t vector_bytes, uint64_t instructions)
    : vector_bytes_(vector_bytes),
      issue_(instructions, kNever),
      completion_(instructions, kNever),
      slots_(instructions) {}

void ObservationBuilder::SetTrace(std::span<const uint64_t> issue,
                                  std::span<const uint64_t> completion, uint64_t tile_starts) {
  std::copy_n(issue.begin(), std::min(issue.size(), issue_.size()), issue_.begin());
  std::copy_n(completion.begin(), std::min(completion.size(), completion_.size()),
              completion_.begin());
  tile_starts_ = tile_starts;
}

void ObservationBuilder::AddResult(uint32_t instruction, uint32_t address,
                                   std::span<const uint8_t> data) {
  if (instruction >= slots_.size() || data.size() != vector_bytes_) return;
  Slot& slot = slots_[instruction];
  if (slot.addresses.empty()) ++results_;
  ++vectors_;
  slot.addresses.push_back(address);
  slot.data.insert(slot.data.end(), data.begin(), data.end());
}

uint64_t ObservationBuilder::total_bytes() const {
  uint64_t bytes = sizeof(ObservationHeader) + 16 * issue_.size() +
                   sizeof(ObservationLayer) * layers_.size() + sizeof(ObservationResult) * results_;
  for (const Slot& slot : slots_)
    bytes += Round8(4 * slot.addresses.size()) + Round8(slot.data.size());
  return bytes;
}

void ObservationBuilder::Write(uint8_t* to) const {
  ObservationHeader header;
  header.vector_bytes = vector_bytes_;
  header.instructions = issue_.size();
  header.layers = layers_.size();
  header.results = results_;
  header.tile_starts = tile_starts_;
  header.total_bytes = total_bytes();
  uint64_t at = 0;
  auto put = [&](const void* data, uint64_t bytes) {
    if (bytes > 0) std::memcpy(to + at, data, bytes);
    at += bytes;
  };
  put(&header, sizeof(header));
  put(issue_.data(), 8 * issue_.size());
  put(completion_.data(), 8 * completion_.size());
  put(layers_.data(), sizeof(ObservationLayer) * layers_.size());
  uint64_t payload = at + sizeof(ObservationResult) * results_;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (slot.addresses.empty()) continue;
    ObservationResult result;
    result.instruction = i;
    result.count = slot.addresses.size();
    result.address_offset = payload;
    std::memcpy(to + payload, slot.addresses.data(), 4 * result.count);
    payload += Round8(4 * result.count);
    result.data_offset = payload;
    std::memcpy(to + payload, slot.data.data(), slot.data.size());
    payload += Round8(slot.data.size());
    put(&result, sizeof(result));
  }
}

Result<Observations> ParseObservations(std::shared_ptr<const void> storage,
                                       std::span<const uint8_t> bytes, uint32_t first_instruction) {
  const auto bad = [] {
    return Fail(Code::kDeviceLost, "the device handed over a malformed observation block");
  };
  ObservationHeader header;
  if (bytes.size() < sizeof(header)) return bad();
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.magic != ObservationHeader::kMagic || header.total_bytes != bytes.size() ||
      header.vector_bytes == 0 || header.vector_bytes > 4096 ||
      reinterpret_cast<uintptr_t>(bytes.data()) % 8 != 0)
    return bad();
  uint64_t at = sizeof(header);
  // The next `count` elements of `size` bytes, or null.
  auto take = [&](uint64_t count, uint64_t size) -> const uint8_t* {
    if (count > (bytes.size() - at) / size) return nullptr;
    const uint8_t* p = bytes.data() + at;
    at += count * size;
    return p;
  };
  Observations out;
  out.storage = std::move(storage);
  out.first_instruction = first_instruction;
  out.tile_starts = header.tile_starts;
  const uint8_t* issue = take(header.instructions, 8);
  const uint8_t* completion = issue ? take(header.instructions, 8) : nullptr;
  const uint8_t* layers = completion ? take(header.layers, sizeof(ObservationLayer)) : nullptr;
  const uint8_t* results = layers ? take(header.results, sizeof(ObservationResult)) : nullptr;
  if (results == nullptr) return bad();
  out.issue = {reinterpret_cast<const uint64_t*>(issue), header.instructions};
  out.completion = {reinterpret_cast<const uint64_t*>(completion), header.instructions};
  out.layers.reserve(header.layers);
  for (uint64_t i = 0; i < header.layers; ++i) {
    ObservationLayer layer;
    std::memcpy(&layer, layers + i * sizeof(layer), sizeof(layer));
    out.layers.push_back({static_cast<uint32_t>(layer.layer), layer.cycles, layer.classes});
  }
  out.results.reserve(header.results);
  for (uint64_t i = 0; i < header.results; ++i) {
    ObservationResult result;
    std::memcpy(&result, results + i * sizeof(result), sizeof(result));
    const uint64_t size = bytes.size();
    if (result.instruction >= header.instructions || result.address_offset > size ||
        result.data_offset > size || result.address_offset % 4 != 0 ||
        result.count > (size - result.address_offset) / 4 ||
        result.count > (size - result.data_offset) / header.vector_bytes)
      return bad();
    ObservedResult& r = out.results.emplace_back();
    r.instruction = first_instruction + static_cast<uint32_t>(result.instruction);
    r.addresses = {reinterpret_cast<const uint32_t*>(bytes.data() + result.address_offset),
                   result.count};
    r.data = bytes.subspan(result.data_offset, result.count * header.vector_bytes);
  }
  return out;
}

}  // namespace octile::driver
