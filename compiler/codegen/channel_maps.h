// Channel maps: where each channel of a tensor lies, so that concatenations, splits and shuffles of
// channels inside a vector move nothing (docs/compiler.md, "Channel maps").
//
// A *stored* tensor has storage of its own: channel blocks of N lanes, in the natural order
// (channel c at position c, that is in block c / N, lane c mod N) or in an order of its own with
// unused lanes between. Any other tensor is a selection of lanes of stored tensors; part of it may
// have been merged into storage of its own. This file knows
// neither the graph nor the hardware: it composes the maps, chooses the orders, and decides by a
// count of cycles where moving the data is cheaper than reading it scattered.
#pragma once

#include <compare>
#include <cstdint>
#include <utility>
#include <vector>

namespace octile::codegen {

// Position `position` (block * N + lane) of the storage of tensor `store`.
struct Lane {
  int32_t store = -1;
  int32_t position = 0;
  auto operator<=>(const Lane&) const = default;
};

struct StoredBlock {
  int32_t store = -1;
  int32_t block = 0;
  auto operator<=>(const StoredBlock&) const = default;
};

struct MapTensor {
  int64_t channels = 0;
  bool natural = false;  // must be stored, in the natural order
};

enum class MapKind : uint8_t {
  kArray,  // reads any lanes of inputs[0]; makes its output in any order if `free_order`
  kKeep,   // computes each block of its output from one block of inputs[0], lane by lane
  kMove,   // output channel c is channel moves[c].second of inputs[moves[c].first]
  kOther,  // takes and makes natural order only
};

struct MapStep {
  MapKind kind = MapKind::kOther;
  std::vector<int32_t> inputs;
  int32_t output = -1;
  std::vector<std::pair<int32_t, int32_t>> moves;
  bool aligned = false;     // kMove: free if its inputs lie in natural order (placement of blocks)
  bool free_order = false;  // kArray
  bool can_gather = false;  // kKeep: the array can do it too, taking lanes from any blocks
  double block_cost = 0;    // cycles for each channel block of inputs[0] that is read
  double gather_cost = 0;  // cycles for each pair of a block read and a block made by a permutation
};

struct TensorMap {
  bool stored = true;  // all channels, in storage of its own
  // The channel at each position of its storage, -1 for none; whole blocks. Empty: the natural
  // order if stored, else no storage.
  std::vector<int32_t> order;
  // By channel: where it lies. Empty: at position c of the tensor itself.
  std::vector<Lane> lanes;
  // Output of kKeep in an order of its own: the block that each block of the storage is computed
  // from. Blocks beyond are made by a permutation.
  std::vector<StoredBlock> blocks;

  bool plain() const { return stored && order.empty(); }
  // Nothing to compute: readers find the channels elsewhere.
  bool selection() const { return !stored && order.empty(); }
};

struct ChannelPlan {
  std::vector<TensorMap> tensors;
  double cost = 0;
};

// Where channel `channel` of tensor t lies.
Lane LaneOf(const std::vector<TensorMap>& maps, int32_t t, int64_t channel);

// Chooses the maps of all tensors. `steps` are in order of execution; a tensor that no step makes
// is natural. n: lanes of a block.
ChannelPlan PlanChannels(const std::vector<MapTensor>& tensors, const std::vector<MapStep>& steps,
                         int n);

}  // namespace octile::codegen
