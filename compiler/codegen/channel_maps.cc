#include "channel_maps.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <set>

namespace octile::codegen {
namespace {

size_t Index(int32_t i) { return static_cast<size_t>(i); }

// The steps that read a channel in the end, looking through what only moves or keeps it: ascending
// lists, each kept once and named by a number.
class ReaderSets {
 public:
  ReaderSets() { Number({}); }

  // The empty set is number 0.
  int32_t Of(size_t step) { return Number({static_cast<int32_t>(step)}); }
  int32_t Union(int32_t a, int32_t b) {
    if (a == b || b == 0) return a;
    if (a == 0) return b;
    const auto [it, added] = unions_.try_emplace(std::minmax(a, b), 0);
    if (added) {
      std::vector<int32_t> both;
      std::set_union(sets_[Index(a)].begin(), sets_[Index(a)].end(), sets_[Index(b)].begin(),
                     sets_[Index(b)].end(), std::back_inserter(both));
      it->second = Number(std::move(both));
    }
    return it->second;
  }
  // Sets that are read earlier come first.
  bool Before(int32_t a, int32_t b) const { return a != b && sets_[Index(a)] < sets_[Index(b)]; }

 private:
  int32_t Number(std::vector<int32_t> set) {
    const auto [it, added] = numbers_.try_emplace(set, static_cast<int32_t>(sets_.size()));
    if (added) sets_.push_back(std::move(set));
    return it->second;
  }

  std::vector<std::vector<int32_t>> sets_;
  std::map<std::vector<int32_t>, int32_t> numbers_;
  std::map<std::pair<int32_t, int32_t>, int32_t> unions_;
};

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
    // A reader reads, and a step makes, no fewer blocks than its channels fill.
    least_behind_.assign(steps.size(), 0);
    double least = 0;
    for (size_t s = steps.size(); s-- > 0;) {
      const MapStep& step = steps[s];
      const bool array = step.kind == MapKind::kArray;
      if (array || step.kind == MapKind::kKeep) {
        const int64_t blocks = (tensors[Index(step.inputs[0])].channels + n - 1) / n;
        least += static_cast<double>(blocks) *
                 (array ? step.block_cost : std::min(step.block_cost, step.gather_cost));
      }
      least_behind_[s] = least;
    }
  }

  ChannelPlan Run() {
    if (!any_selection_) {  // nothing to gain: all in natural order
      ChannelPlan plan;
      plan.tensors.resize(tensors_.size());
      return plan;
    }
    std::vector<Merge> merges(steps_.size(), Merge::kNone);
    ChannelPlan best = Evaluate(merges, std::numeric_limits<double>::infinity());
    // Changes one decision after the other while that helps.
    constexpr int kRounds = 2;
    for (int round = 0; round < kRounds; ++round) {
      bool improved = false;
      for (size_t s = 0; s < steps_.size(); ++s) {
        if (!HasChoice(s, best)) continue;
        for (const Merge merge : {Merge::kNone, Merge::kPoor, Merge::kMixed, Merge::kAll}) {
          const Merge before = merges[s];
          if (merge == before) continue;
          merges[s] = merge;
          const double limit = best.cost * (1 - 1e-9);
          ChannelPlan other = Evaluate(merges, limit);
          if (other.cost < limit) {
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
    return step.kind == MapKind::kKeep && step.can_gather &&
           !plan.tensors[Index(step.inputs[0])].plain();
  }

  void FindReaders(const std::vector<Merge>& merges) {
    readers_.assign(tensors_.size(), {});
    for (size_t t = 0; t < tensors_.size(); ++t)
      readers_[t].resize(static_cast<size_t>(tensors_[t].channels), 0);
    for (size_t s = steps_.size(); s-- > 0;) {
      const MapStep& step = steps_[s];
      const auto& output = readers_[Index(step.output)];
      if (step.kind == MapKind::kKeep) {
        auto& input = readers_[Index(step.inputs[0])];
        for (size_t c = 0; c < input.size(); ++c) input[c] = sets_.Union(input[c], output[c]);
        continue;
      }
      const bool through = step.kind == MapKind::kMove && !placed_[s] && !natural(step.output) &&
                           merges[s] != Merge::kAll;
      if (step.kind == MapKind::kMove) {
        for (size_t c = 0; c < step.moves.size(); ++c) {
          const auto& [from, channel] = step.moves[c];
          int32_t& input = readers_[Index(step.inputs[Index(from)])][Index(channel)];
          input = sets_.Union(input, through ? output[c] : sets_.Of(s));
        }
        continue;
      }
      for (const int32_t t : step.inputs) {
        for (int32_t& input : readers_[Index(t)]) input = sets_.Union(input, sets_.Of(s));
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

  // The plan for given decisions. Ends early, with a cost of at least `limit`, once it is certain
  // that the cost does not remain below.
  ChannelPlan Evaluate(const std::vector<Merge>& merges, double limit) {
    FindReaders(merges);
    ChannelPlan plan;
    plan.tensors.resize(tensors_.size());
    std::vector<TensorMap>& maps = plan.tensors;
    for (size_t s = 0; s < steps_.size(); ++s) {
      const MapStep& step = steps_[s];
      if (plan.cost + least_behind_[s] >= limit) {
        plan.cost = limit;
        return plan;
      }
      TensorMap& out = maps[Index(step.output)];
      if (step.kind == MapKind::kMove && !placed_[s]) {
        Move(plan, s, merges[s]);
      } else if (step.kind == MapKind::kArray || step.kind == MapKind::kKeep) {
        const int32_t input = step.inputs[0];
        std::vector<Lane> lanes;
        for (int64_t c = 0; c < tensors_[Index(input)].channels; ++c)
          lanes.push_back(LaneOf(maps, input, c));
        const std::vector<BlockChannels> blocks = BlocksOf(lanes);
        if (step.kind == MapKind::kArray) {
          plan.cost += static_cast<double>(blocks.size()) * step.block_cost;
          if (step.free_order && !natural(step.output))
            Store(out, step.output, Packed(step.output));
        } else if (maps[Index(input)].plain()) {
          plan.cost += static_cast<double>(blocks.size()) * step.block_cost;
        } else {
          Keep(plan, s, lanes, merges[s]);
        }
      }
    }
    return plan;
  }

  // Orders items so that those with the same readers share blocks: in the order of reading, each
  // set of readers from a new block on as long as that takes no more blocks than the items need.
  // Returns an item or -1 for each position, whole blocks.
  std::vector<int32_t> Pack(const std::vector<int32_t>& readers) const {
    const auto items = static_cast<int64_t>(readers.size());
    std::vector<int32_t> sorted(readers.size());
    std::iota(sorted.begin(), sorted.end(), 0);
    std::stable_sort(sorted.begin(), sorted.end(), [&](int32_t a, int32_t b) {
      return sets_.Before(readers[Index(a)], readers[Index(b)]);
    });
    const int64_t blocks = (items + n_ - 1) / n_;
    std::vector<int32_t> order;
    const auto pad = [&] {
      while (order.size() % static_cast<size_t>(n_) != 0) order.push_back(-1);
    };
    for (int64_t i = 0; i < items; ++i) {
      const auto item = sorted[static_cast<size_t>(i)];
      if (i > 0 && readers[Index(item)] != readers[Index(sorted[static_cast<size_t>(i - 1)])]) {
        const int64_t used = (static_cast<int64_t>(order.size()) + n_ - 1) / n_;
        if (used + (items - i + n_ - 1) / n_ <= blocks) pad();
      }
      order.push_back(item);
    }
    pad();
    return order;
  }

  // A block and the channels of a tensor that lie in it.
  struct BlockChannels {
    StoredBlock block;
    std::vector<int32_t> channels;
  };
  // The blocks in which channels lie, in order.
  std::vector<BlockChannels> BlocksOf(const std::vector<Lane>& lanes) const {
    std::vector<BlockChannels> blocks;
    for (size_t c = 0; c < lanes.size(); ++c) {
      const StoredBlock block = BlockOf(lanes[c]);
      const auto known = std::find_if(blocks.begin(), blocks.end(),
                                      [&](const BlockChannels& b) { return b.block == block; });
      BlockChannels& entry = known != blocks.end() ? *known : blocks.emplace_back();
      entry.block = block;
      entry.channels.push_back(static_cast<int32_t>(c));
    }
    std::sort(blocks.begin(), blocks.end(),
              [](const BlockChannels& a, const BlockChannels& b) { return a.block < b.block; });
    return blocks;
  }

  // Whether two channels lie in one lane.
  bool Repeats(const std::vector<BlockChannels>& blocks, const std::vector<Lane>& lanes) const {
    return std::any_of(blocks.begin(), blocks.end(), [&](const BlockChannels& b) {
      std::vector<bool> seen(static_cast<size_t>(n_), false);
      return std::any_of(b.channels.begin(), b.channels.end(), [&](int32_t c) {
        const auto lane = static_cast<size_t>(lanes[Index(c)].position % n_);
        const bool again = seen[lane];
        seen[lane] = true;
        return again;
      });
    });
  }

  // The best order of all channels of a tensor.
  std::vector<int32_t> Packed(int32_t t) const { return Pack(readers_[Index(t)]); }

  // The blocks whose channels are to be packed anew.
  std::set<StoredBlock> Merged(const std::vector<BlockChannels>& blocks,
                               const std::vector<int32_t>& readers, Merge merge) const {
    std::set<StoredBlock> merged;
    if (merge == Merge::kNone) return merged;
    // By set of readers: channels merged so far, and blocks of no other readers by their channels.
    std::map<int32_t, int64_t> channels;
    std::map<int32_t, std::vector<std::pair<int64_t, StoredBlock>>> pure;
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
    std::vector<int32_t> list;
    for (const int32_t c : channels) list.push_back(readers[Index(c)]);
    std::vector<const Lane*> sources;
    for (const int32_t item : Pack(list)) {
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
    const std::vector<BlockChannels> blocks = BlocksOf(lanes);
    // A lane read as two channels would need the sum of their weights.
    if (Repeats(blocks, lanes)) merge = Merge::kAll;
    const std::set<StoredBlock> merged = Merged(blocks, readers_[Index(step.output)], merge);
    std::vector<int32_t> channels;
    for (const auto& [block, list] : blocks) {
      if (merged.contains(block)) channels.insert(channels.end(), list.begin(), list.end());
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
    const std::vector<BlockChannels> blocks = BlocksOf(lanes);
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
  std::vector<double> least_behind_;  // by step: cost of it and all behind it, at the least
  ReaderSets sets_;
  std::vector<std::vector<int32_t>> readers_;  // by tensor and channel: number of the set
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
