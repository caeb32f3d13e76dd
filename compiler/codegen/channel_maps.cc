#include "channel_maps.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

namespace octile::codegen {
namespace {

size_t Index(int32_t i) { return static_cast<size_t>(i); }

// The steps that read a channel in the end, looking through what only moves or keeps it; ascending.
using Readers = std::vector<int32_t>;

void AddReaders(Readers& to, const Readers& from) {
  Readers both;
  std::set_union(to.begin(), to.end(), from.begin(), from.end(), std::back_inserter(both));
  to = std::move(both);
}

// Orders items so that those with the same readers share blocks: ascending readers, each set of
// readers from a new block on as long as that takes no more blocks than the items need. Returns an
// item or -1 for each position, whole blocks.
std::vector<int32_t> Pack(const std::vector<const Readers*>& readers, int n) {
  const auto items = static_cast<int64_t>(readers.size());
  std::vector<int32_t> sorted(readers.size());
  std::iota(sorted.begin(), sorted.end(), 0);
  std::stable_sort(sorted.begin(), sorted.end(), [&](int32_t a, int32_t b) {
    return *readers[Index(a)] < *readers[Index(b)];
  });
  const int64_t blocks = (items + n - 1) / n;
  std::vector<int32_t> order;
  const auto pad = [&] {
    while (order.size() % static_cast<size_t>(n) != 0) order.push_back(-1);
  };
  for (int64_t i = 0; i < items; ++i) {
    const auto item = sorted[static_cast<size_t>(i)];
    if (i > 0 && *readers[Index(item)] != *readers[Index(sorted[static_cast<size_t>(i - 1)])]) {
      const int64_t used = (static_cast<int64_t>(order.size()) + n - 1) / n;
      if (used + (items - i + n - 1) / n <= blocks) pad();
    }
    order.push_back(item);
  }
  pad();
  return order;
}

bool IsNaturalOrder(const std::vector<int32_t>& order) {
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i] != static_cast<int32_t>(i) && order[i] != -1) return false;
  }
  return true;
}

// Which blocks of its input a step (kMove, or kKeep that can gather) does not leave as they are: a
// permutation packs their channels anew.
enum class Merge : uint8_t {
  kNone,
  kPoor,   // blocks of the same readers, so few channels in each that merging saves blocks
  kMixed,  // and blocks that hold channels of different readers
  kAll
};

class Planner {
 public:
  Planner(const std::vector<MapTensor>& tensors, const std::vector<MapStep>& steps, int n)
      : tensors_(tensors), steps_(steps), n_(n) {
    for (const MapTensor& tensor : tensors) natural_.push_back(tensor.natural);
    FindNatural();
  }

  ChannelPlan Run() {
    if (!any_selection_) {  // nothing to gain: all in natural order
      ChannelPlan plan;
      plan.tensors.resize(tensors_.size());
      return plan;
    }
    std::vector<Merge> merges(steps_.size(), Merge::kNone);
    ChannelPlan best = Evaluate(merges);
    // Changes one decision after the other while that helps.
    constexpr int kRounds = 3;
    for (int round = 0; round < kRounds; ++round) {
      bool improved = false;
      for (size_t s = 0; s < steps_.size(); ++s) {
        if (!HasChoice(s, best)) continue;
        for (const Merge merge : {Merge::kNone, Merge::kPoor, Merge::kMixed, Merge::kAll}) {
          const Merge before = merges[s];
          if (merge == before) continue;
          merges[s] = merge;
          ChannelPlan other = Evaluate(merges);
          if (other.cost < best.cost * (1 - 1e-9)) {
            best = std::move(other);
            improved = true;
          } else {
            merges[s] = before;
          }
        }
      }
      if (!improved) break;
    }
    return best;
  }

 private:
  bool natural(int32_t t) const { return natural_[Index(t)]; }

  // Which tensors must be natural, and which moves are left to placement of whole blocks.
  void FindNatural() {
    std::vector<bool> made(tensors_.size(), false);
    for (const MapStep& step : steps_) made[Index(step.output)] = true;
    for (size_t t = 0; t < tensors_.size(); ++t) {
      if (!made[t]) natural_[t] = true;
    }
    placed_.assign(steps_.size(), false);
    for (bool changed = true; changed;) {
      changed = false;
      const auto require = [&](int32_t t) {
        changed = changed || !natural(t);
        natural_[Index(t)] = true;
      };
      std::vector<bool> selection(tensors_.size(), false);  // no storage of its own, or not natural
      for (size_t s = 0; s < steps_.size(); ++s) {
        const MapStep& step = steps_[s];
        const bool any = std::any_of(step.inputs.begin(), step.inputs.end(),
                                     [&](int32_t t) { return selection[Index(t)]; });
        placed_[s] = step.kind == MapKind::kMove && step.aligned && !any;
        if (step.kind == MapKind::kMove)
          selection[Index(step.output)] = !placed_[s] && !natural(step.output);
        if (step.kind == MapKind::kKeep) {
          selection[Index(step.output)] = any && !natural(step.output);
          if (natural(step.output)) require(step.inputs[0]);
        }
        if (step.kind != MapKind::kOther && !placed_[s]) continue;
        for (const int32_t input : step.inputs) require(input);
        require(step.output);
      }
    }
    for (size_t s = 0; s < steps_.size(); ++s) {
      any_selection_ = any_selection_ || (steps_[s].kind == MapKind::kMove && !placed_[s] &&
                                          !natural(steps_[s].output));
    }
  }

  // Whether step s may be done in two ways: a selection or moved data (kMove); block by block or
  // with some blocks merged by a permutation (kKeep).
  bool HasChoice(size_t s, const ChannelPlan& plan) const {
    const MapStep& step = steps_[s];
    if (step.kind == MapKind::kMove) return !placed_[s] && !natural(step.output);
    return step.kind == MapKind::kKeep && step.can_gather && !plan.tensors[Index(step.inputs[0])].plain();
  }

  void FindReaders(const std::vector<Merge>& merges) {
    readers_.assign(tensors_.size(), {});
    for (size_t t = 0; t < tensors_.size(); ++t)
      readers_[t].resize(static_cast<size_t>(tensors_[t].channels));
    for (size_t s = steps_.size(); s-- > 0;) {
      const MapStep& step = steps_[s];
      const auto& output = readers_[Index(step.output)];
      if (step.kind == MapKind::kKeep) {
        auto& input = readers_[Index(step.inputs[0])];
        for (size_t c = 0; c < input.size(); ++c) AddReaders(input[c], output[c]);
        continue;
      }
      const bool through = step.kind == MapKind::kMove && !placed_[s] && !natural(step.output) &&
                           merges[s] != Merge::kAll;
      if (step.kind == MapKind::kMove) {
        for (size_t c = 0; c < step.moves.size(); ++c) {
          Readers& input = readers_[Index(step.inputs[Index(step.moves[c].first)])][Index(step.moves[c].second)];
          AddReaders(input, through ? output[c] : Readers{static_cast<int32_t>(s)});
        }
        continue;
      }
      for (const int32_t t : step.inputs) {
        for (Readers& input : readers_[Index(t)]) AddReaders(input, {static_cast<int32_t>(s)});
      }
    }
  }

  // Stores tensor t in the given order.
  void Store(TensorMap& map, int32_t t, std::vector<int32_t> order) const {
    map.stored = true;
    if (IsNaturalOrder(order)) return;
    map.lanes.resize(static_cast<size_t>(tensors_[Index(t)].channels));
    for (size_t p = 0; p < order.size(); ++p) {
      if (order[p] >= 0) map.lanes[Index(order[p])] = {t, static_cast<int32_t>(p)};
    }
    map.order = std::move(order);
  }

  StoredBlock BlockOf(const Lane& lane) const { return {lane.store, lane.position / n_}; }

  // Pairs of a block read and a block made by a permutation that puts sources[i] at position i.
  double GatherCost(const MapStep& step, const std::vector<const Lane*>& sources) const {
    size_t pairs = 0;
    for (size_t p = 0; p < sources.size(); p += static_cast<size_t>(n_)) {
      std::set<StoredBlock> blocks;
      for (size_t i = p; i < std::min(sources.size(), p + static_cast<size_t>(n_)); ++i) {
        if (sources[i] != nullptr) blocks.insert(BlockOf(*sources[i]));
      }
      pairs += blocks.size();
    }
    return static_cast<double>(pairs) * step.gather_cost;
  }

  ChannelPlan Evaluate(const std::vector<Merge>& merges) {
    FindReaders(merges);
    ChannelPlan plan;
    plan.tensors.resize(tensors_.size());
    std::vector<TensorMap>& maps = plan.tensors;
    for (size_t s = 0; s < steps_.size(); ++s) {
      const MapStep& step = steps_[s];
      TensorMap& out = maps[Index(step.output)];
      if (step.kind == MapKind::kMove && !placed_[s]) {
        Move(plan, s, merges[s]);
      } else if (step.kind == MapKind::kArray || step.kind == MapKind::kKeep) {
        const int32_t input = step.inputs[0];
        std::vector<Lane> lanes;
        for (int64_t c = 0; c < tensors_[Index(input)].channels; ++c)
          lanes.push_back(LaneOf(maps, input, c));
        const BlockChannels blocks = BlocksOf(lanes);
        if (step.kind == MapKind::kArray) {
          plan.cost += static_cast<double>(blocks.size()) * step.block_cost;
          if (step.free_order && !natural(step.output)) Store(out, step.output, Packed(step.output));
        } else if (maps[Index(input)].plain()) {
          plan.cost += static_cast<double>(blocks.size()) * step.block_cost;
        } else {
          Keep(plan, s, lanes, merges[s]);
        }
      }
    }
    return plan;
  }

  using BlockChannels = std::map<StoredBlock, std::vector<int32_t>>;
  // The blocks in which channels lie.
  BlockChannels BlocksOf(const std::vector<Lane>& lanes) const {
    BlockChannels blocks;
    for (size_t c = 0; c < lanes.size(); ++c)
      blocks[BlockOf(lanes[c])].push_back(static_cast<int32_t>(c));
    return blocks;
  }

  // The best order of all channels of a tensor.
  std::vector<int32_t> Packed(int32_t t) const {
    std::vector<const Readers*> list;
    for (const Readers& r : readers_[Index(t)]) list.push_back(&r);
    return Pack(list, n_);
  }

  // The blocks whose channels are to be packed anew.
  std::set<StoredBlock> Merged(const BlockChannels& blocks, const std::vector<Readers>& readers,
                               Merge merge) const {
    std::set<StoredBlock> merged;
    if (merge == Merge::kNone) return merged;
    std::map<Readers, int64_t> channels;                     // merged so far
    std::map<Readers, std::vector<std::pair<int64_t, StoredBlock>>> pure;  // by count of channels
    for (const auto& [block, list] : blocks) {
      const bool mixed = std::any_of(list.begin(), list.end(), [&](int32_t c) {
        return readers[Index(c)] != readers[Index(list[0])];
      });
      if (!mixed && merge != Merge::kAll) {
        pure[readers[Index(list[0])]].emplace_back(static_cast<int64_t>(list.size()), block);
      } else if (merge != Merge::kPoor) {
        merged.insert(block);
        for (const int32_t c : list) ++channels[readers[Index(c)]];
      }
    }
    // Of those with the same readers, the emptiest ones that together save the most blocks.
    for (auto& [who, list] : pure) {
      std::sort(list.begin(), list.end());
      int64_t count = channels[who];
      const int64_t before = (count + n_ - 1) / n_;
      int64_t most = 0;
      size_t best = 0;
      for (size_t i = 0; i < list.size(); ++i) {
        count += list[i].first;
        const int64_t saved = static_cast<int64_t>(i) + 1 - ((count + n_ - 1) / n_ - before);
        if (saved > most) most = saved, best = i + 1;
      }
      for (size_t i = 0; i < best; ++i) merged.insert(list[i].second);
    }
    return merged;
  }

  // Packs the channels of merged blocks behind the positions in `order`; adds the cost.
  void Append(ChannelPlan& plan, const MapStep& step, const std::vector<int32_t>& channels,
              const std::vector<Lane>& lanes, std::vector<int32_t>& order) const {
    const auto& readers = readers_[Index(step.output)];
    std::vector<const Readers*> list;
    for (const int32_t c : channels) list.push_back(&readers[Index(c)]);
    std::vector<const Lane*> sources;
    for (const int32_t item : Pack(list, n_)) {
      const int32_t c = item < 0 ? -1 : channels[Index(item)];
      order.push_back(c);
      sources.push_back(c < 0 ? nullptr : &lanes[Index(c)]);
    }
    plan.cost += GatherCost(step, sources);
  }

  // A concatenation, slice or shuffle that is not left to placement.
  void Move(ChannelPlan& plan, size_t s, Merge merge) const {
    const MapStep& step = steps_[s];
    TensorMap& out = plan.tensors[Index(step.output)];
    std::vector<Lane> lanes;
    for (const auto& [input, channel] : step.moves)
      lanes.push_back(LaneOf(plan.tensors, step.inputs[Index(input)], channel));
    std::vector<int32_t> order;
    if (natural(step.output)) {
      std::vector<const Lane*> sources;
      for (const Lane& lane : lanes) sources.push_back(&lane);
      plan.cost += GatherCost(step, sources);
      return;
    }
    // A lane read as two channels would need the sum of their weights.
    std::vector<Lane> sorted = lanes;
    std::sort(sorted.begin(), sorted.end());
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) merge = Merge::kAll;
    const BlockChannels blocks = BlocksOf(lanes);
    const std::set<StoredBlock> merged = Merged(blocks, readers_[Index(step.output)], merge);
    std::vector<int32_t> channels;
    for (const StoredBlock& block : merged) {
      const std::vector<int32_t>& list = blocks.at(block);
      channels.insert(channels.end(), list.begin(), list.end());
    }
    std::sort(channels.begin(), channels.end());
    Append(plan, step, channels, lanes, order);
    if (merge == Merge::kAll) {
      Store(out, step.output, std::move(order));
      return;
    }
    out.stored = false;
    out.lanes = std::move(lanes);
    for (size_t p = 0; p < order.size(); ++p) {
      if (order[p] >= 0) out.lanes[Index(order[p])] = {step.output, static_cast<int32_t>(p)};
    }
    out.order = std::move(order);
  }

  // The output of a kKeep step whose input is a selection or in an order of its own.
  void Keep(ChannelPlan& plan, size_t s, const std::vector<Lane>& lanes, Merge merge) const {
    const MapStep& step = steps_[s];
    TensorMap& out = plan.tensors[Index(step.output)];
    const BlockChannels blocks = BlocksOf(lanes);
    const std::set<StoredBlock> merged = Merged(blocks, readers_[Index(step.output)], merge);
    std::vector<int32_t> order, channels;
    for (const auto& [block, list] : blocks) {
      if (merged.contains(block)) {
        channels.insert(channels.end(), list.begin(), list.end());
        continue;
      }
      const size_t at = order.size();
      order.resize(at + static_cast<size_t>(n_), -1);
      for (const int32_t c : list)
        order[at + static_cast<size_t>(lanes[Index(c)].position % n_)] = c;
      out.blocks.push_back(block);
    }
    plan.cost += static_cast<double>(out.blocks.size()) * step.block_cost;
    Append(plan, step, channels, lanes, order);
    out.lanes.resize(lanes.size());
    for (size_t p = 0; p < order.size(); ++p) {
      if (order[p] >= 0) out.lanes[Index(order[p])] = {step.output, static_cast<int32_t>(p)};
    }
    out.order = std::move(order);
  }

  const std::vector<MapTensor>& tensors_;
  const std::vector<MapStep>& steps_;
  int n_;
  std::vector<bool> natural_;  // by tensor
  std::vector<bool> placed_;   // by step: a move that placement of whole blocks makes free
  bool any_selection_ = false;
  std::vector<std::vector<Readers>> readers_;  // by tensor and channel
};

}  // namespace

Lane LaneOf(const std::vector<TensorMap>& maps, int32_t t, int64_t channel) {
  const TensorMap& map = maps[Index(t)];
  return map.lanes.empty() ? Lane{t, static_cast<int32_t>(channel)}
                           : map.lanes[static_cast<size_t>(channel)];
}

ChannelPlan PlanChannels(const std::vector<MapTensor>& tensors, const std::vector<MapStep>& steps,
                         int n) {
  return Planner(tensors, steps, n).Run();
}

}  // namespace octile::codegen
