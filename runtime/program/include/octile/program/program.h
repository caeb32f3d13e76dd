// A compiled program: everything the runtime needs to run a model on the device, to name what
// happens, and to prove the result. Saved as a container file (.octile):
//
//   bytes 0..7    magic "OCTILE\r\n"           (a text-mode copy destroys it, so it is noticed)
//   bytes 8..11   schema version, little-endian
//   bytes 12..15  CRC-32 (IEEE 802.3) of the body
//   bytes 16..23  body length in bytes
//   bytes 24..63  zero
//   bytes 64..    body: the protobuf message octile.proto.Program (runtime/program/program.proto)
//
// The same Program gives the same bytes everywhere.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "octile/isa/isa.h"
#include "octile/program/config.h"
#include "octile/support/status.h"
#include "octile/support/tensor.h"

namespace octile {

inline constexpr uint32_t kProgramSchemaVersion = 2;

// What a memory region is for. By convention region r of the program is hardware region r; the
// driver allocates it.
enum class RegionKind : uint8_t {
  kProgram = 0,    // instructions (Program::instructions at offset 0); execute
  kConstants = 1,  // weights, parameters; read
  kInputs = 2,     // read
  kOutputs = 3,    // write
  kScratch = 4,    // read and write
};
std::string_view RegionKindName(RegionKind kind);

struct Region {
  RegionKind kind = RegionKind::kScratch;
  std::string name;
  uint64_t size = 0;  // extent in bytes; what the region's LIMIT register gets. Below 2^32.
  bool read = false;
  bool write = false;
  bool execute = false;
  std::vector<uint8_t>
      data;  // initial contents from offset 0; at most `size` bytes, the rest is zero

  bool operator==(const Region&) const = default;
};

enum class TensorRole : uint8_t { kInput = 0, kOutput = 1, kIntermediate = 2 };

// How elements lie in memory. The tensor is seen as images x channels x rows x columns
// (Descriptor::images ...), whose product is the element count, in row-major order of its shape.
enum class Layout : uint8_t {
  // element (i, c, y, x) at offset + i*image_pitch + c*block_pitch + y*row_pitch + x*size
  kPlain = 0,
  // element (i, c, y, x) at offset + i*image_pitch + (c/N)*block_pitch + y*row_pitch + x*N*size +
  // (c mod N)*size;
  // channels are padded to a multiple of N, padding lanes hold anything
  kBlocked = 1,
};

enum class ViewCoordinate : uint8_t { kImage = 0, kChannel = 1, kRow = 2, kColumn = 3 };

// One loop over a coordinate of the stored tensor: its index j adds first + j*step to it.
struct ViewAxis {
  int64_t extent = 1;  // >= 1
  ViewCoordinate coordinate = ViewCoordinate::kImage;
  int64_t first = 0;  // >= 0
  int64_t step = 1;   // >= 1
  bool operator==(const ViewAxis&) const = default;
};
inline constexpr size_t kMostViewAxes = 16;

struct TensorDescriptor {
  std::string name;  // ONNX value name
  DType dtype = DType::kU8;
  Shape shape;
  bool quantized = false;
  float scale = 1.0f;  // value = (code - zero_point) * scale, if quantized
  int32_t zero_point = 0;
  TensorRole role = TensorRole::kIntermediate;
  int region = 0;
  uint64_t offset = 0;
  Layout layout = Layout::kPlain;
  int64_t images = 1, channels = 1, rows = 1, columns = 1;
  int64_t image_pitch = 0, block_pitch = 0,
          row_pitch = 0;      // bytes; pitches of a dimension of size 1 are ignored
  int32_t graph_tensor = -1;  // TensorId in the graph, -1: none
  // If not empty, the tensor is a view of the stored one that images ... row_pitch describe: its
  // elements in row-major order of `shape` are those that these loops visit, outermost first. A
  // view has at most as many elements as what is stored.
  std::vector<ViewAxis> view;

  // First byte behind the last element (and the padding lanes of its vector), from the region's
  // start; saturates.
  uint64_t end(int n) const;
  // Byte offset in the region of element (i, c, y, x).
  uint64_t address(int n, int64_t i, int64_t c, int64_t y, int64_t x) const;

  bool operator==(const TensorDescriptor&) const = default;
};

enum class PlanKind : uint8_t {
  kDevice = 0,  // run instructions first .. first+count-1 as one job
  kHost = 1,    // the host computes graph steps
  kEdge = 2,    // the host converts at the model's edge (quantize inputs, dequantize outputs)
};
std::string_view PlanKindName(PlanKind kind);

struct PlanItem {
  PlanKind kind = PlanKind::kDevice;
  int64_t first = 0;  // kDevice: index of the first instruction, a multiple of 4 (PROGRAM_OFFSET is
                      // one of 256 bytes)
  int64_t count = 0;  // kDevice: instructions, the last is END
  std::vector<int32_t> steps;  // indices of graph steps, in order of execution
  std::string name;
  std::string reason;                // kHost: why it is not on the device
  std::vector<std::string> inputs;   // tensor names the item reads ...
  std::vector<std::string> outputs;  // ... and writes

  bool operator==(const PlanItem&) const = default;
};

// Layer number l (field `layer` of instructions) is layers[l].
struct Layer {
  std::string name;
  std::vector<std::string> nodes;  // ONNX node names
  std::vector<int32_t> steps;      // graph steps it computes
  int64_t macs = 0;                // useful multiply-accumulates of the model (no padding)
  uint64_t estimated_cycles = 0;

  bool operator==(const Layer&) const = default;
};

// What the result vectors of an instruction (MMA with emit, WIN, ELT, PACK) are: positions in the
// order block, row, column; with `raw` four vectors of N/4 int32 lanes for each position. Devices
// deliver them in this order, but for WIN, whose vectors are told apart by their addresses.
struct Observation {
  int32_t instruction = 0;
  int32_t step = 0;     // graph step whose output it is
  int32_t tensor = -1;  // graph tensor (TensorId)
  int32_t image = 0;
  int32_t block = 0;  // first channel block of the tensor
  int32_t blocks = 1;
  int32_t y0 = 0, x0 = 0;  // position of the first vector in the tensor
  int32_t rows = 1, columns = 1;
  int32_t channels = 0;  // valid lanes over all blocks; the others hold anything
  bool raw = false;
  bool planar = false;  // a tensor [1, C, L] of C channels (else its last axis is the channels)
  int32_t y_step = 1, x_step = 1;  // rows and columns of the tensor from one vector to the next
  // Index in Program::channel_maps: lane l of block b of the tensor's storage is channel
  // map[b*N + l] of the tensor, -1: of none. -1: channel b*N + l.
  int32_t map = -1;

  bool operator==(const Observation&) const = default;
};

struct Program {
  std::string producer;  // "octile 0.1.0"
  uint32_t isa_version = isa::kVersion;
  std::string config;  // name of the configuration it was compiled for
  ArchConfig arch;
  std::string model;  // name of the model
  std::vector<isa::Instruction> instructions;
  std::vector<Region> regions;  // at most 8
  std::vector<TensorDescriptor> tensors;
  std::vector<PlanItem> plan;
  std::vector<Layer> layers;              // at most 4096
  std::vector<Observation> observations;  // in order of instruction
  // Orders of channels that observations refer to: whole blocks of N, each channel at most once.
  std::vector<std::vector<int32_t>> channel_maps;
  uint64_t estimated_cycles = 0;
  std::vector<uint8_t> graph;  // canonical graph text with raw weights; opaque here

  uint64_t arch_hash() const { return ArchHash(arch); }
  bool operator==(const Program&) const = default;
};

// Consistency of everything but the instructions' meaning (octile/program/verifier.h): counts,
// indices, extents. Errors (kProgram) name the place ("tensors[3] 'x': ...").
Status ValidateProgram(const Program& program);

// The container's bytes. Fails as ValidateProgram does.
Expected<std::vector<uint8_t>> SerializeProgram(const Program& program);

// Reads a container. Whatever the bytes are, the outcome is a program that passes ValidateProgram
// or an error (kProgram) that says what is wrong and where; `name` appears in it. A container of
// another ISA version, or whose hash does not belong to its architecture, is refused with both
// values named. Instructions may still be illegal or invalid.
Expected<Program> ParseProgram(std::span<const uint8_t> bytes, std::string_view name);

Status SaveProgram(const Program& program, const std::filesystem::path& file);
// Reads at most `max_bytes`.
Expected<Program> LoadProgram(const std::filesystem::path& file,
                              uint64_t max_bytes = uint64_t{1} << 31);

}  // namespace octile
