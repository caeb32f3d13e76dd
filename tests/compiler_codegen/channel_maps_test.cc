// Channel maps: whatever the planner chooses, every channel must be found where the map says.
#include "channel_maps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>

namespace octile::codegen {
namespace {

size_t Index(int64_t i) { return static_cast<size_t>(i); }

// A graph under construction. Costs as the compiler sets them for images of `kPixels` pixels.
struct Net {
  static constexpr double kPixels = 100;
  int n;
  std::vector<MapTensor> tensors;
  std::vector<MapStep> steps;

  int64_t Channels(int32_t t) const { return tensors[Index(t)].channels; }
  int32_t Tensor(int64_t channels) {
    tensors.push_back({.channels = channels});
    return static_cast<int32_t>(tensors.size()) - 1;
  }
  int32_t Add(MapStep step, int64_t channels) {
    step.output = Tensor(channels);
    step.gather_cost = kPixels;
    steps.push_back(std::move(step));
    return steps.back().output;
  }
  int32_t Source(int64_t channels) { return Add({.kind = MapKind::kOther}, channels); }
  int32_t Conv(int32_t x, int64_t channels) {
    const auto blocks = static_cast<double>((channels + n - 1) / n);
    return Add({.kind = MapKind::kArray,
                .inputs = {x},
                .free_order = true,
                .block_cost = blocks * kPixels},
               channels);
  }
  int32_t Keep(int32_t x, bool table) {
    return Add(
        {.kind = MapKind::kKeep, .inputs = {x}, .can_gather = table, .block_cost = kPixels / 4},
        Channels(x));
  }
  int32_t Natural(int32_t x) { return Add({.kind = MapKind::kOther, .inputs = {x}}, Channels(x)); }
  int32_t Concat(const std::vector<int32_t>& inputs) {
    MapStep step{.kind = MapKind::kMove, .inputs = inputs, .aligned = true};
    for (size_t i = 0; i < inputs.size(); ++i) {
      step.aligned = step.aligned && step.moves.size() % Index(n) == 0;
      for (int64_t c = 0; c < Channels(inputs[i]); ++c)
        step.moves.emplace_back(static_cast<int32_t>(i), static_cast<int32_t>(c));
    }
    const auto channels = static_cast<int64_t>(step.moves.size());
    return Add(std::move(step), channels);
  }
  int32_t Slice(int32_t x, int64_t begin, int64_t end) {
    MapStep step{.kind = MapKind::kMove, .inputs = {x}, .aligned = begin % n == 0};
    for (int64_t c = begin; c < end; ++c) step.moves.emplace_back(0, static_cast<int32_t>(c));
    return Add(std::move(step), end - begin);
  }
  int32_t Shuffle(int32_t x, int64_t groups) {
    MapStep step{.kind = MapKind::kMove, .inputs = {x}};
    const int64_t per_group = Channels(x) / groups;
    for (int64_t j = 0; j < per_group; ++j) {
      for (int64_t k = 0; k < groups; ++k)
        step.moves.emplace_back(0, static_cast<int32_t>(k * per_group + j));
    }
    return Add(std::move(step), Channels(x));
  }
  ChannelPlan Plan() const { return PlanChannels(tensors, steps, n); }
};

// Runs the steps on storage as a device would: a value names the step that computed it and the
// values that it computed it from. Then every channel of every tensor is looked up through its map.
void ExpectEveryChannelFound(const Net& net, const ChannelPlan& plan) {
  const std::vector<TensorMap>& maps = plan.tensors;
  ASSERT_EQ(maps.size(), net.tensors.size());
  std::vector<std::vector<int64_t>> want(net.tensors.size()), storage(net.tensors.size());
  std::map<std::pair<int64_t, int64_t>, int64_t> kept;  // (step, value before) -> value
  int64_t fresh = 0;
  const auto keep = [&](size_t step, int64_t value) {
    const auto [it, added] = kept.try_emplace({static_cast<int64_t>(step), value}, fresh);
    if (added) ++fresh;
    return it->second;
  };
  const auto at = [&](const Lane& lane) {
    const auto& store = storage[Index(lane.store)];
    return Index(lane.position) < store.size() ? store[Index(lane.position)] : -2;
  };
  for (size_t s = 0; s < net.steps.size(); ++s) {
    const MapStep& step = net.steps[s];
    const TensorMap& map = maps[Index(step.output)];
    const int64_t channels = net.Channels(step.output);
    std::vector<int64_t>& logical = want[Index(step.output)];
    std::vector<int64_t>& store = storage[Index(step.output)];
    for (int64_t c = 0; c < channels; ++c) {
      if (step.kind == MapKind::kMove) {
        const auto& [input, channel] = step.moves[Index(c)];
        logical.push_back(want[Index(step.inputs[Index(input)])][Index(channel)]);
      } else if (step.kind == MapKind::kKeep) {
        logical.push_back(keep(s, want[Index(step.inputs[0])][Index(c)]));
      } else {
        logical.push_back(fresh++);
      }
    }
    for (const int32_t input : step.inputs) {
      if (step.kind == MapKind::kOther) {
        EXPECT_TRUE(maps[Index(input)].plain()) << "step " << s;
      }
    }
    if (step.kind == MapKind::kOther || net.tensors[Index(step.output)].natural) {
      EXPECT_TRUE(map.plain()) << "step " << s;
    }
    EXPECT_EQ(map.order.size() % Index(net.n), 0u);
    if (map.stored && map.order.empty()) {
      store = logical;
      continue;
    }
    store.assign(map.order.size(), -1);
    for (size_t p = 0; p < store.size(); ++p) {
      const int32_t c = map.order[p];
      if (step.kind == MapKind::kKeep && p / Index(net.n) < map.blocks.size()) {
        // Lane by lane from the block that the map names.
        const StoredBlock& from = map.blocks[p / Index(net.n)];
        const int64_t value =
            at({from.store, from.block * net.n + static_cast<int32_t>(p % Index(net.n))});
        store[p] = value < 0 ? -1 : keep(s, value);
      } else if (c >= 0 && step.kind == MapKind::kKeep) {
        store[p] = keep(s, at(LaneOf(maps, step.inputs[0], c)));
      } else if (c >= 0 && step.kind == MapKind::kMove) {
        const auto& [input, channel] = step.moves[Index(c)];
        store[p] = at(LaneOf(maps, step.inputs[Index(input)], channel));
      } else if (c >= 0) {
        store[p] = logical[Index(c)];
      }
    }
    std::set<Lane> lanes;
    for (int64_t c = 0; c < channels; ++c) {
      const Lane lane = LaneOf(maps, step.output, c);
      EXPECT_EQ(at(lane), logical[Index(c)]) << "step " << s << ", channel " << c;
      EXPECT_TRUE(lanes.insert(lane).second) << "step " << s << ", channel " << c;
    }
  }
}

// Blocks that a reader of all channels reads.
size_t BlocksRead(const Net& net, const ChannelPlan& plan, int32_t t) {
  std::set<StoredBlock> blocks;
  for (int64_t c = 0; c < net.Channels(t); ++c) {
    const Lane lane = LaneOf(plan.tensors, t, c);
    blocks.insert({lane.store, lane.position / net.n});
  }
  return blocks.size();
}

TEST(ChannelMaps, ARandomNetworkFindsEveryChannel) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const auto draw = [&](int64_t least, int64_t most) {
      return std::uniform_int_distribution<int64_t>(least, most)(random);
    };
    Net net{.n = seed % 2 == 0 ? 4 : 16};
    std::vector<int32_t> made = {net.Conv(net.Source(draw(1, 40)), draw(1, 60))};
    for (int64_t i = draw(4, 20); i > 0; --i) {
      const int32_t x = made[Index(draw(0, static_cast<int64_t>(made.size()) - 1))];
      const int32_t y = made[Index(draw(0, static_cast<int64_t>(made.size()) - 1))];
      const int64_t channels = net.Channels(x);
      switch (draw(0, 6)) {
        case 0:
          made.push_back(net.Conv(x, draw(1, 60)));
          break;
        case 1:
          made.push_back(net.Keep(x, draw(0, 1) == 1));
          break;
        case 2:
          if (channels + net.Channels(y) <= 200) made.push_back(net.Concat({x, y}));
          break;
        case 3:
        case 4: {
          const int64_t begin = draw(0, channels - 1);
          made.push_back(net.Slice(x, begin, draw(begin + 1, channels)));
          break;
        }
        case 5:
          for (const int64_t groups : {5, 3, 2}) {
            if (channels % groups != 0) continue;
            made.push_back(net.Shuffle(x, groups));
            break;
          }
          break;
        default:
          if (draw(0, 3) == 0) made.push_back(net.Natural(x));
          if (draw(0, 3) == 0) net.tensors[Index(y)].natural = true;
      }
    }
    SCOPED_TRACE(seed);
    ExpectEveryChannelFound(net, net.Plan());
  }
}

// The stage of ShuffleNetV2 with 116 channels: with vectors of 16, half of them is 58.
TEST(ChannelMaps, ChannelShufflesOfUnitsAreReadWhereTheirPartsLie) {
  Net net{.n = 16};
  const int32_t image = net.Source(24);
  int32_t whole = net.Shuffle(net.Concat({net.Conv(image, 58), net.Conv(image, 58)}), 2);
  std::vector<int32_t> branches;
  for (int unit = 0; unit < 3; ++unit) {
    const int32_t passed = net.Keep(net.Slice(whole, 0, 58), true);
    branches.push_back(net.Slice(whole, 58, 116));
    const int32_t made = net.Conv(net.Keep(net.Conv(branches.back(), 58), false), 58);
    whole = net.Shuffle(net.Concat({passed, made}), 2);
  }
  net.Conv(whole, 116);
  const ChannelPlan plan = net.Plan();
  ExpectEveryChannelFound(net, plan);
  for (const int32_t branch : branches) EXPECT_EQ(BlocksRead(net, plan, branch), 4u);
  EXPECT_EQ(BlocksRead(net, plan, whole), 8u);
  // Permutations would read and make 8 blocks for each shuffle and read 4 for each second half.
  const double convolutions = (2 * 2 * 4 + 3 * 2 * 4 * 4 + 8 * 8) * Net::kPixels;
  const double kept = (3 + 3) * 4 * Net::kPixels / 4;
  EXPECT_LT(plan.cost, (convolutions + kept) * 1.1);
}

TEST(ChannelMaps, WholeBlocksAreLeftToPlacement) {
  Net net{.n = 4};
  const int32_t image = net.Source(4);
  const int32_t a = net.Conv(image, 8), b = net.Conv(image, 6);
  const int32_t whole = net.Concat({a, b});
  net.Conv(net.Slice(whole, 4, 10), 8);
  // Elsewhere something needs a map.
  net.Conv(net.Slice(net.Conv(image, 8), 3, 7), 8);
  const ChannelPlan plan = net.Plan();
  for (const int32_t t : {a, b, whole}) EXPECT_TRUE(plan.tensors[Index(t)].plain());
  EXPECT_TRUE(plan.tensors[Index(whole) + 1].plain());
  ExpectEveryChannelFound(net, plan);
}

TEST(ChannelMaps, AllInNaturalOrderWithoutSelections) {
  Net net{.n = 4};
  const int32_t x = net.Conv(net.Source(3), 10);
  const int32_t moved = net.Shuffle(x, 2);
  net.Natural(moved);
  for (const TensorMap& map : net.Plan().tensors) EXPECT_TRUE(map.plain());
}

TEST(ChannelMaps, AProducerSortsItsChannelsByReader) {
  Net net{.n = 4};
  const int32_t x = net.Conv(net.Source(4), 8);
  // The readers take every other channel.
  const int32_t shuffled = net.Shuffle(x, 4);
  const int32_t left = net.Slice(shuffled, 0, 4), right = net.Slice(shuffled, 4, 8);
  net.Conv(left, 8);
  net.Conv(right, 8);
  const ChannelPlan plan = net.Plan();
  ExpectEveryChannelFound(net, plan);
  EXPECT_EQ(plan.tensors[Index(x)].order, (std::vector<int32_t>{0, 2, 4, 6, 1, 3, 5, 7}));
  EXPECT_EQ(BlocksRead(net, plan, left), 1u);
  EXPECT_EQ(BlocksRead(net, plan, right), 1u);
}

TEST(ChannelMaps, MovesDataWhereReadingScatteredCostsMore) {
  Net net{.n = 4};
  const int32_t image = net.Source(4);
  // Eight times one channel: scattered, that is 8 blocks; together, 2.
  std::vector<int32_t> parts;
  for (int i = 0; i < 8; ++i) parts.push_back(net.Conv(image, 1));
  const int32_t whole = net.Concat(parts);
  net.Conv(whole, 400);
  const ChannelPlan plan = net.Plan();
  ExpectEveryChannelFound(net, plan);
  EXPECT_EQ(BlocksRead(net, plan, whole), 2u);
  // For a reader of few output channels it is not worth it.
  net.steps.back().block_cost = 1;
  EXPECT_EQ(BlocksRead(net, net.Plan(), whole), 8u);
}

TEST(ChannelMaps, AChannelTakenTwiceIsMoved) {
  Net net{.n = 4};
  const int32_t x = net.Conv(net.Source(4), 6);
  const int32_t twice = net.Concat({x, x});
  net.Conv(twice, 8);
  const ChannelPlan plan = net.Plan();
  EXPECT_TRUE(plan.tensors[Index(twice)].stored);
  ExpectEveryChannelFound(net, plan);
}

}  // namespace
}  // namespace octile::codegen
