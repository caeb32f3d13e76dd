// Lowers the groups of one graph to instructions, device segment by device segment.
#pragma once

#include <array>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "channel_maps.h"
#include "layout.h"
#include "octile/codegen/codegen.h"
#include "octile/passes/passes.h"
#include "weights.h"

namespace octile::codegen {

// Region numbers of every program.
inline constexpr int kProgramRegion = 0;
inline constexpr int kConstantRegion = 1;
inline constexpr int kInputRegion = 2;
inline constexpr int kOutputRegion = 3;
inline constexpr int kScratchRegion = 4;

// Where a tensor is while a segment is lowered.
struct Place {
  int vectors_per_pixel = 1;     // 4 for raw accumulators
  std::optional<Buffer> buffer;  // resident in the activation buffer, `first_vector` vectors behind
                                 // the start of the first bank
  int64_t first_vector = 0;
  // Vectors from a channel block to the next, in the buffer and in memory; 0: the tensor's pixels.
  // A part of a concatenation along positions lies in the planes of the whole.
  int64_t buffer_plane = 0;
  int64_t memory_plane = 0;
  ir::TensorId holder = -1;  // the tensor that the buffer was allocated for
  bool placed = false;       // PlaceOutput() has decided
  bool in_memory = false;
  int region = kScratchRegion;
  int64_t offset = 0;
  bool plain = false;  // plain NCHW codes (graph inputs) instead of channel-blocked
};

// Rows y0..y1-1, columns x0..x1-1, channel blocks b0..b1-1 of a tensor.
struct Box {
  int64_t y0 = 0, y1 = 0, x0 = 0, x1 = 0, b0 = 0, b1 = 0;
  int64_t vectors() const { return (y1 - y0) * (x1 - x0) * (b1 - b0); }
};

// Vector (block b, row y, column x) of a tensor lies at base + b*blk_stride + y*pitch +
// x*vectors_per_pixel, modulo 2^16.
struct View {
  int64_t base = 0;
  int64_t pitch = 0;
  int64_t blk_stride = 0;
  int32_t at(int64_t b, int64_t y, int64_t x, int64_t vectors_per_pixel = 1) const {
    return static_cast<int32_t>((base + b * blk_stride + y * pitch + x * vectors_per_pixel) &
                                0xffff);
  }
};

// Buffers that successive tiles of an operand use in turn.
struct TileBuffers {
  std::vector<Buffer> buffers;
  size_t next = 0;
};

// Channel blocks first..last-1 of source number `source` of a job.
struct BlockRun {
  size_t source = 0;
  int64_t first = 0;
  int64_t last = 0;
};

// Runs of consecutive blocks among pairs (source, block).
std::vector<BlockRun> RunsOf(const std::set<std::pair<size_t, int64_t>>& blocks);

// Channel blocks of an output that are computed, lane by lane, from as many blocks of a stored
// tensor.
struct KeepRun {
  ir::TensorId source = -1;
  int64_t from = 0;  // first block in the source
  int64_t to = 0;    // first block in the output
  int64_t blocks = 0;
};

// How a step reads a tensor channel by channel: the stored tensors that hold its channels.
struct ChannelReads {
  std::vector<ir::TensorId> sources;
  // By source: the tensor's channel at each position of its storage, -1: none of it.
  std::vector<std::vector<int32_t>> channel;
};

// One accumulating job on the array: a convolution, matrix product or channel permutation of one or
// more inputs.
struct ArrayJob {
  std::vector<ir::TensorId> sources;  // stored tensors that add up, all of one encoding
  int64_t kh = 1, kw = 1;
  int64_t stride_y = 1, stride_x = 1, dil_y = 1, dil_x = 1;
  int64_t pad_top = 0, pad_left = 0;
  Form in;  // of every source but for its channels
  Form out;
  bool raw = false;
  // The job makes blocks first_block .. of the output's storage;
  int64_t first_block = 0;
  // Weight of source s; channels are positions in the storage of the output and of the source.
  std::function<int(size_t s, int64_t oc, int64_t ic, int64_t ky, int64_t kx)> weight;
  // Input blocks that output block b depends on.
  std::function<std::vector<BlockRun>(int64_t b)> reads;
  WeightCoding coding;
  std::vector<int32_t> bias;          // per position of the output's storage
  std::vector<uint32_t> multipliers;  // per position of the output's storage, encoded
  int zx = 0;
  bool x_signed = false;
  int zy = 0;
  bool y_signed = false;
  ir::CodeRange clamp;
  std::optional<ir::Table> table;
  bool t_signed = false;
  const ir::Add* add = nullptr;
  ir::TensorId residual = -1;
  bool residual_is_a = false;
  ir::TensorId output = -1;
};

class Lowering {
 public:
  Lowering(const ir::Graph& graph, const Config& config, const CompileOptions& options);

  // `imported` is the graph before the passes: the program refers to its steps.
  Expected<Program> Run(const ir::Graph& imported);

 private:
  struct Emitted {
    isa::Operation op;
    std::optional<Observation> observation;
  };
  // Part of the plan: a series of groups on the device, or one step on the host.
  struct Item {
    bool device = false;
    std::vector<size_t> groups;
  };

  // Tensors that share one place: a Reshape that moves nothing. `Lazy` reshapes and views of the
  // host have no place at all: their readers look through them.
  ir::TensorId Root(ir::TensorId id) const { return root_[static_cast<size_t>(id)]; }
  bool IsLazy(int step) const { return lazy_[static_cast<size_t>(step)]; }
  // A Reshape on the device is an alias.
  bool MovesNothing(const passes::FusedStep& group) const {
    return group.shuffle_groups == 0 &&
           std::holds_alternative<ir::Reshape>(graph_.steps[static_cast<size_t>(group.main)].op);
  }
  // The place that holds the value of a tensor as group inputs see it.
  ir::TensorId Source(ir::TensorId id) const;
  std::vector<ir::TensorId> GroupInputs(const passes::FusedStep& group) const;
  void PlaceConstant(ir::TensorId id, const Shape& like);
  TensorDescriptor Describe(ir::TensorId id) const;

  // plan.cc
  void FindAliases();
  void LeaveReshapesToHost();
  // host_views.cc
  // Steps of pure movement whose results only the host reads, of a tensor that the device makes:
  // such a step becomes the order in which the host reads that tensor. Needs host_reason_.
  void FindHostViews();
  // The same at the input: Reshape and Transpose between what the host hands over and a tensor that
  // only the device reads are the order in which the host writes that tensor.
  void FindInputViews();
  struct InputView {
    ir::TensorId source = -1;    // what the host has
    std::vector<ViewAxis> axes;  // order of its elements in the tensor of the device
  };
  void DescribeInputView(const InputView& view, TensorDescriptor& d) const;
  void DescribeView(ir::TensorId id, TensorDescriptor& d) const;
  // placement.cc
  void FindForms();
  void FindParts();
  // Whether input i of a concatenation is written where the output lies.
  bool PlacedInWhole(const ir::Step& concat, size_t input) const;
  void PlaceOutput(ir::TensorId id, int vectors_per_pixel = 1);
  // Channel maps (channel_maps.h).
  void FindMaps();
  const TensorMap& MapOf(ir::TensorId id) const { return maps_[static_cast<size_t>(Root(id))]; }
  // The tensor's channel at a position of its storage, -1: none.
  int64_t ChannelAt(ir::TensorId id, int64_t position) const;
  // The channels that a concatenation, slice or shuffle takes: output channel c is channel
  // [c].second of input [c].first of the group's main step.
  std::vector<std::pair<int32_t, int32_t>> MovesOf(const passes::FusedStep& group) const;
  bool MovesWholeBlocks(const passes::FusedStep& group) const;
  // The stored tensors that hold the channels of a tensor.
  std::vector<ir::TensorId> Stores(ir::TensorId id) const;
  ChannelReads ReadsOf(ir::TensorId id) const;
  // Blocks first..last-1 of `output`, each computed from one block of `input`, in runs of at most
  // `most` blocks.
  std::vector<KeepRun> Pieces(ir::TensorId input, ir::TensorId output, int64_t first, int64_t last,
                              int64_t most) const;
  // Output blocks that are computed from one block each; the rest is merged by a permutation.
  int64_t KeptBlocks(ir::TensorId output) const;
  bool OnVectorUnit(const ir::Step& step, bool residual) const;
  void UndoPlacement(ir::TensorId id);
  void PlaceView(ir::TensorId id, ir::TensorId source);
  void FindLifetimes(const std::vector<size_t>& groups);
  void ReleaseAfter(int position);
  std::optional<std::string> HostReason(const passes::FusedStep& group) const;
  Status MakePlan();
  Status AssignMemory();
  Expected<Program> Assemble(const ir::Graph& imported);
  Status LowerSegment(const Item& item, Program& program);

  // lower_*.cc
  Status LowerGroup(const passes::FusedStep& group);
  Status LowerConv(const passes::FusedStep& group, const ir::Conv& conv);
  Status LowerGemm(const passes::FusedStep& group, const ir::Gemm& gemm);
  // Adds the table and the addition that follow the main step of the group.
  void FusePost(const passes::FusedStep& group, ArrayJob& job) const;
  Status LowerArrayJob(const ArrayJob& job);
  bool TryPackedConv(const ArrayJob& job, Status& status);
  Status LowerWindow(const passes::FusedStep& group);
  Status LowerElementwise(const passes::FusedStep& group);
  Status LowerPlainTable(const ir::Step& step, const ir::Table& table);
  // The output of a table of a plain image stays plain if only convolutions of this segment read
  // it.
  bool StaysPlain(const ir::Step& step) const;
  Status LowerShuffle(const passes::FusedStep& group);
  Status LowerConcat(const passes::FusedStep& group, const ir::Concat& concat);
  Status LowerSlice(const passes::FusedStep& group, const ir::Slice& slice);
  Status LowerPad(const ir::Step& step, const ir::Pad& pad);
  Status LowerResize(const passes::FusedStep& group, const ir::ResizeNearest& resize);
  // Copies a box of `from` to (block, y, x) of `to` with the given column and row steps on either
  // side.
  struct CopyJob {
    ir::TensorId from = -1, to = -1;
    int64_t from_b = 0, from_y = 0, from_x = 0, from_dy = 1, from_dx = 1;
    int64_t to_b = 0, to_y = 0, to_x = 0, to_dy = 1, to_dx = 1;
    int64_t blocks = 1, rows = 1, columns = 1;
  };
  Status LowerCopies(const std::vector<CopyJob>& jobs, ir::TensorId output, std::optional<int> fill,
                     const ir::Table* table = nullptr);
  // Output channel c takes channel moves[c].second of inputs[moves[c].first]; then the table, if
  // any. Makes the output's blocks from `first_block` on.
  Status LowerChannelMap(const std::vector<ir::TensorId>& inputs,
                         const std::vector<std::pair<int32_t, int32_t>>& moves, ir::TensorId output,
                         int64_t first_block = 0, const ir::Table* table = nullptr);
  Status Ingest(ir::TensorId id);

  // How a tensor lies; only for tensors that have a form (HostReason sees to it).
  const Form& FormAt(ir::TensorId id) const { return *form_[static_cast<size_t>(id)]; }
  // The axis of a tensor's shape that is its channels.
  size_t ChannelAxis(ir::TensorId id) const;

  // Emission.
  const ir::TensorInfo& Info(ir::TensorId id) const { return graph_.tensor(id); }
  Place& At(ir::TensorId id) { return places_[static_cast<size_t>(Root(id))]; }
  const Place& At(ir::TensorId id) const { return places_[static_cast<size_t>(Root(id))]; }
  void Emit(isa::Operation op, std::optional<Observation> observation = std::nullopt);
  Observation Observe(ir::TensorId tensor, int64_t block, int64_t blocks, int64_t y0, int64_t x0,
                      int64_t rows, int64_t columns, bool raw = false) const;
  int Banks(int64_t vectors) const {
    return static_cast<int>((vectors + arch_.bank_depth - 1) / arch_.bank_depth);
  }
  int64_t BufferPlane(ir::TensorId id) const {
    const Place& place = At(id);
    return place.buffer_plane != 0 ? place.buffer_plane
                                   : FormAt(id).pixels() * place.vectors_per_pixel;
  }
  // First vector of a resident tensor.
  int64_t BufferAddress(const Place& place) const {
    return int64_t{place.buffer->bank} * arch_.bank_depth + place.first_vector;
  }
  // Reserves tile buffers; false (and nothing reserved) if the banks do not suffice.
  bool ReserveTiles(const std::vector<std::pair<TileBuffers*, int>>& wants, int copies);
  void ReleaseTiles();
  // The view of a box: of the resident tensor, or of a tile buffer that it is loaded into.
  View Fetch(ir::TensorId id, const Box& box, TileBuffers& tiles);
  // Loads a box of a tensor in memory to an address of the buffer.
  View LoadBox(ir::TensorId id, const Box& box, int64_t address);
  // The same for an operand whose banks the instruction's other read stream uses: the vector unit
  // copies the box to a tile buffer.
  View FetchCopy(ir::TensorId id, const Box& box, TileBuffers& tiles);
  // Whether two resident tensors have a bank in common: one instruction cannot read both (a bank
  // has one read port).
  bool ShareBanks(ir::TensorId a, ir::TensorId b) const;
  // The view to write a box to; Store() moves it to memory if the tensor lives there.
  View OutputView(ir::TensorId id, const Box& box, TileBuffers& tiles);
  void Store(ir::TensorId id, const Box& box, const View& view);
  void StoreResident(ir::TensorId id);
  void Load(const Place& place, const Form& form, const Box& box, int32_t address);

  int64_t AddConstants(const std::vector<uint8_t>& bytes);
  // Loads `count` parameter entries of equal size and returns the first index.
  int LoadParameters(isa::LdpTarget target, int64_t offset, int count);
  int LoadTable(isa::LdpTarget target, const ir::Table& table);
  int LoadConstantSlot(isa::LdpTarget target, std::array<float, 3> values);

  const ir::Graph& graph_;
  Config config_;
  ArchConfig arch_;
  CompileOptions options_;
  int n_;
  std::vector<passes::FusedStep> groups_;
  std::vector<std::optional<std::string>> host_reason_;  // by group
  std::vector<Item> items_;
  std::vector<Place> places_;              // by tensor, in the current segment
  std::vector<Place> home_;                // by tensor: places_ at the start of every segment
  std::vector<std::optional<Form>> form_;  // by tensor; nullopt: none
  std::vector<bool> planar_;        // by tensor: rank 3 [1, C, L] held as C channels of a row of L
                                    // pixels, as the image it came from
  std::vector<TensorMap> maps_;     // by tensor: where its channels lie
  std::vector<int32_t> map_index_;  // by tensor: its order in the program's channel maps, or -1
  std::vector<std::vector<int32_t>> channel_maps_;
  std::vector<ir::TensorId> root_;  // by tensor
  std::vector<int32_t> producers_;  // by tensor
  std::vector<bool> lazy_;          // by step
  // By tensor: the order of its elements in the tensor of the device that it is a view of,
  // outermost axis first; nullopt: no view of the host. By group: it makes one.
  std::vector<std::optional<std::vector<ViewAxis>>> host_views_;
  std::vector<bool> is_host_view_;
  std::vector<std::optional<InputView>> input_views_;  // by tensor of the device
  std::vector<int32_t> step_of_;                       // by step: its index in the imported graph
  std::vector<bool> needs_memory_;  // by tensor: read by the host or by a later segment
  std::vector<int> last_use_;  // by tensor: last group of the current segment that reads it itself
  std::vector<int> last_view_use_;  // by tensor: ... or a slice that is a view of it
  std::vector<int> last_part_use_;  // by tensor: ... or a part of it, or a view of a part
  // Placement: a part of a concatenation is written where the whole lies, and a slice of whole
  // channel blocks is a view.
  std::vector<ir::TensorId>
      owner_;  // by tensor: the outermost tensor that it is a part of, or itself
  std::vector<int64_t> first_pixel_;   // by tensor: its first pixel in each plane of the owner
  std::vector<int64_t> first_block_;   // by tensor: its first channel block in the owner
  std::vector<bool> assembled_;        // by tensor: parts of it are written in their place
  std::vector<ir::TensorId> view_of_;  // by tensor: the sliced tensor if it is a view, else -1
  std::set<ir::TensorId> holders_;     // tensors that hold a buffer now
  std::vector<uint8_t> constants_;
  int64_t input_bytes_ = 0;
  int64_t output_bytes_ = 0;
  int64_t scratch_bytes_ = 0;

  BankAllocator banks_;
  int reserve_;  // banks that resident tensors leave free for tiles
  std::vector<Buffer> tile_buffers_;
  std::vector<Emitted> emitted_;
  int layer_ = 0;
  int group_step_ = 0;               // step whose output the current group produces
  std::array<int, 7> next_entry_{};  // by LDP target
  uint64_t estimated_cycles_ = 0;
};

}  // namespace octile::codegen
