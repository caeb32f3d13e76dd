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

class Planner {
 public:
  Planner(const std::vector<MapTensor>& tensors, const std::vector<MapStep>& steps, int n)
      : tensors_(tensors), steps_(steps), n_(n) {
    for (const MapTensor& tensor : tensors) natural_.push_back(tensor.natural);
    FindNatural();
  }

  ChannelPlan Run() {
    std::vector<bool> moved(steps_.size(), false);
    if (!any_selection_) {  // nothing to gain: all in natural order
      ChannelPlan plan;
      plan.tensors.resize(tensors_.size());
      return plan;
    }
    ChannelPlan best = Evaluate(moved);
    // Toggles one decision after the other while that helps.
    constexpr int kRounds = 3;
    for (int round = 0; round < kRounds; ++round) {
      bool improved = false;
      for (size_t s = 0; s < steps_.size(); ++s) {
        if (!HasChoice(s, best)) continue;
        moved[s] = !moved[s];
        ChannelPlan other = Evaluate(moved);
        if (other.cost < best.cost * (1 - 1e-9)) {
          best = std::move(other);
          improved = true;
        } else {
          moved[s] = !moved[s];
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

  void FindReaders(const std::vector<bool>& moved) {
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
      const bool through = step.kind == MapKind::kMove && !placed_[s] && !natural(step.output) && !moved[s];
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

  ChannelPlan Evaluate(const std::vector<bool>& moved) {
    FindReaders(moved);
    ChannelPlan plan;
    plan.tensors.resize(tensors_.size());
    std::vector<TensorMap>& maps = plan.tensors;
    for (size_t s = 0; s < steps_.size(); ++s) {
      const MapStep& step = steps_[s];
      TensorMap& out = maps[Index(step.output)];
      const auto& readers = readers_[Index(step.output)];
      const auto packed = [&] {
        std::vector<const Readers*> list;
        for (const Readers& r : readers) list.push_back(&r);
        return Pack(list, n_);
      };
      if (step.kind == MapKind::kMove && !placed_[s]) {
        std::vector<Lane> lanes;
        for (const auto& [input, channel] : step.moves)
          lanes.push_back(LaneOf(maps, step.inputs[Index(input)], channel));
        // A lane read as two channels would need the sum of their weights.
        std::vector<Lane> sorted = lanes;
        std::sort(sorted.begin(), sorted.end());
        const bool repeats = std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
        if (!natural(step.output) && !moved[s] && !repeats) {
          out.stored = false;
          out.lanes = std::move(lanes);
          continue;
        }
        std::vector<int32_t> order;
        if (natural(step.output)) {
          order.resize(lanes.size());
          std::iota(order.begin(), order.end(), 0);
        } else {
          order = packed();
        }
        std::vector<const Lane*> sources;
        for (const int32_t c : order) sources.push_back(c < 0 ? nullptr : &lanes[Index(c)]);
        plan.cost += GatherCost(step, sources);
        Store(out, step.output, std::move(order));
      } else if (step.kind == MapKind::kArray || step.kind == MapKind::kKeep) {
        std::map<StoredBlock, std::vector<int32_t>> blocks;  // with the channels that they hold
        const int32_t input = step.inputs[0];
        for (int64_t c = 0; c < tensors_[Index(input)].channels; ++c)
          blocks[BlockOf(LaneOf(maps, input, c))].push_back(static_cast<int32_t>(c));
        if (step.kind == MapKind::kArray) {
          plan.cost += static_cast<double>(blocks.size()) * step.block_cost;
          if (step.free_order && !natural(step.output)) Store(out, step.output, packed());
        } else if (maps[Index(input)].plain()) {
          plan.cost += static_cast<double>(blocks.size()) * step.block_cost;
        } else {
          Keep(plan, s, blocks, moved[s]);
        }
      }
    }
    return plan;
  }

  // The output of a kKeep step whose input is a selection or in an order of its own.
  void Keep(ChannelPlan& plan, size_t s,
            const std::map<StoredBlock, std::vector<int32_t>>& blocks, bool merge) const {
    const MapStep& step = steps_[s];
    TensorMap& out = plan.tensors[Index(step.output)];
    const auto& readers = readers_[Index(step.output)];
    std::vector<int32_t> gathered;
    std::vector<int32_t> order;
    for (const auto& [block, channels] : blocks) {
      // What is merged: blocks of several sets of readers, and those that are half empty.
      const bool several = std::any_of(channels.begin(), channels.end(), [&](int32_t c) {
        return readers[Index(c)] != readers[Index(channels[0])];
      });
      if (merge && (several || channels.size() * 2 <= static_cast<size_t>(n_))) {
        gathered.insert(gathered.end(), channels.begin(), channels.end());
        continue;
      }
      const size_t at = order.size();
      order.resize(at + static_cast<size_t>(n_), -1);
      for (const int32_t c : channels)
        order[at + static_cast<size_t>(LaneOf(plan.tensors, step.inputs[0], c).position % n_)] = c;
      out.blocks.push_back(block);
    }
    plan.cost += static_cast<double>(out.blocks.size()) * step.block_cost;
    std::vector<const Readers*> list;
    for (const int32_t c : gathered) list.push_back(&readers[Index(c)]);
    std::vector<Lane> lanes;
    for (const int32_t c : gathered) lanes.push_back(LaneOf(plan.tensors, step.inputs[0], c));
    std::vector<const Lane*> sources;
    for (const int32_t item : Pack(list, n_)) {
      order.push_back(item < 0 ? -1 : gathered[Index(item)]);
      sources.push_back(item < 0 ? nullptr : &lanes[Index(item)]);
    }
    plan.cost += GatherCost(step, sources);
    out.lanes.resize(readers.size());
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
