// Channel maps of a graph: what each step of the lowering may do with the channels of its operands,
// and how it finds them.
#include <algorithm>
#include <numeric>

#include "lowering.h"

namespace octile::codegen {
namespace {

// Cycles of the vector unit for a block against those of the array: mostly they overlap with the
// array's.
constexpr double kVectorWeight = 0.25;

}  // namespace

std::vector<BlockRun> RunsOf(const std::set<std::pair<size_t, int64_t>>& blocks) {
  std::vector<BlockRun> runs;
  for (const auto& [source, block] : blocks) {
    if (!runs.empty() && runs.back().source == source && runs.back().last == block) {
      ++runs.back().last;
    } else {
      runs.push_back({source, block, block + 1});
    }
  }
  return runs;
}

std::vector<std::pair<int32_t, int32_t>> Lowering::MovesOf(const passes::FusedStep& group) const {
  const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
  std::vector<std::pair<int32_t, int32_t>> moves;
  if (const auto* slice = std::get_if<ir::Slice>(&step.op)) {
    const size_t axis = ChannelAxis(step.output);
    for (int64_t c = 0; c < Info(step.output).shape[axis]; ++c)
      moves.emplace_back(0, static_cast<int32_t>(slice->starts[axis] + c * slice->steps[axis]));
    return moves;
  }
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    const int64_t channels = Info(step.inputs[i]).shape[ChannelAxis(step.inputs[i])];
    for (int64_t c = 0; c < channels; ++c)
      moves.emplace_back(static_cast<int32_t>(i), static_cast<int32_t>(c));
  }
  if (group.shuffle_groups == 0) return moves;
  const int64_t per_group = static_cast<int64_t>(moves.size()) / group.shuffle_groups;
  std::vector<std::pair<int32_t, int32_t>> shuffled;
  for (int64_t j = 0; j < per_group; ++j) {
    for (int64_t k = 0; k < group.shuffle_groups; ++k)
      shuffled.push_back(moves[static_cast<size_t>(k * per_group + j)]);
  }
  return shuffled;
}

// Whether a concatenation or slice keeps every channel in its lane.
bool Lowering::MovesWholeBlocks(const passes::FusedStep& group) const {
  if (group.shuffle_groups > 0) return false;
  const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
  if (const auto* slice = std::get_if<ir::Slice>(&step.op))
    return slice->starts[1] % n_ == 0 && slice->steps[1] == 1;
  int64_t channels = 0;
  bool aligned = true;
  for (const ir::TensorId input : step.inputs) {
    aligned = aligned && channels % n_ == 0;
    channels += Info(input).shape[1];
  }
  return aligned;
}

void Lowering::FindMaps() {
  const size_t count = graph_.tensors.size();
  maps_.assign(count, {});
  map_index_.assign(count, -1);
  const auto index = [&](ir::TensorId id) { return static_cast<size_t>(Root(id)); };
  // An image of codes, channel by channel.
  const auto image = [&](ir::TensorId id) {
    const std::optional<Form>& form = form_[static_cast<size_t>(id)];
    return Info(id).shape.size() == 4 && Info(id).is_code() && !Info(id).is_constant() && form &&
           !form->channels_last && Root(id) == id;
  };
  for (const Item& item : items_) {
    if (!item.device) continue;
    std::vector<bool> made(count, false);
    std::vector<MapTensor> tensors(count);
    std::vector<MapStep> steps;
    for (size_t t = 0; t < count; ++t) {
      const auto id = static_cast<ir::TensorId>(t);
      if (Info(id).shape.size() == 4) tensors[t].channels = Info(id).shape[1];
      tensors[t].natural = needs_memory_[t] || !image(id);
    }
    for (const size_t g : item.groups) {
      const passes::FusedStep& group = groups_[g];
      const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
      MapStep map;
      map.output = Root(group.output);
      for (const ir::TensorId input : GroupInputs(group)) map.inputs.push_back(Source(input));
      const bool images = image(group.output) &&
                          std::all_of(map.inputs.begin(), map.inputs.end(), [&](ir::TensorId id) {
                            return made[index(id)] && image(id);
                          });
      if (images) {
        const Form& in = FormAt(map.inputs[0]);
        const Form& out = FormAt(group.output);
        const auto pixels = static_cast<double>(std::max<int64_t>(4, out.pixels()));
        map.gather_cost = pixels;
        const auto* conv = std::get_if<ir::Conv>(&step.op);
        const auto* slice = std::get_if<ir::Slice>(&step.op);
        if (conv != nullptr && !OnVectorUnit(step, group.residual >= 0)) {
          map.kind = MapKind::kArray;
          map.free_order = conv->group == 1 && group.residual < 0;
          map.block_cost =
              pixels * static_cast<double>(conv->kernel[0] * conv->kernel[1] *
                                           (out.blocks(n_) + conv->group - 1) / conv->group);
          // What is added in the post unit lies as the result does.
          if (group.residual >= 0) {
            tensors[static_cast<size_t>(map.output)].natural = true;
            for (size_t i = 1; i < map.inputs.size(); ++i)
              tensors[index(map.inputs[i])].natural = true;
            if (map.inputs.size() > 1 && map.inputs[1] == map.inputs[0]) map.kind = MapKind::kOther;
          }
        } else if (conv != nullptr || std::holds_alternative<ir::MaxPool>(step.op) ||
                   std::holds_alternative<ir::GlobalAveragePool>(step.op)) {
          map.kind = MapKind::kKeep;
          map.block_cost = kVectorWeight * static_cast<double>(std::max(in.pixels(), out.pixels()));
        } else if (std::holds_alternative<ir::Table>(step.op)) {
          map.kind = MapKind::kKeep;
          map.can_gather = true;
          map.block_cost = kVectorWeight * pixels;
        } else if (std::holds_alternative<ir::Concat>(step.op)
                       ? std::get<ir::Concat>(step.op).axis == 1
                       : group.shuffle_groups > 0) {
          map.kind = MapKind::kMove;
        } else if (slice != nullptr && slice->starts[0] == 0 && in.h == out.h && in.w == out.w &&
                   slice->starts[2] == 0 && slice->starts[3] == 0 && slice->steps[2] == 1 &&
                   slice->steps[3] == 1) {
          map.kind = MapKind::kMove;
        }
        if (map.kind == MapKind::kMove) {
          map.moves = MovesOf(group);
          map.aligned = MovesWholeBlocks(group);
          map.inputs.clear();
          for (const ir::TensorId input : step.inputs) map.inputs.push_back(Source(input));
        }
      }
      if (!MovesNothing(group)) made[index(group.output)] = true;
      steps.push_back(std::move(map));
    }
    ChannelPlan plan = PlanChannels(tensors, steps, n_);
    for (const MapStep& step : steps) {
      const auto t = static_cast<size_t>(step.output);
      maps_[t] = std::move(plan.tensors[t]);
      if (maps_[t].order.empty()) continue;
      form_[t]->c = static_cast<int64_t>(maps_[t].order.size());
      map_index_[t] = static_cast<int32_t>(channel_maps_.size());
      channel_maps_.push_back(maps_[t].order);
    }
  }
}

int64_t Lowering::ChannelAt(ir::TensorId id, int64_t position) const {
  const TensorMap& map = MapOf(id);
  if (!map.order.empty()) return map.order[static_cast<size_t>(position)];
  return position < FormAt(id).c ? position : -1;
}

std::vector<ir::TensorId> Lowering::Stores(ir::TensorId id) const {
  const TensorMap& map = MapOf(id);
  if (map.stored) return {Source(id)};
  std::vector<ir::TensorId> stores;
  for (const Lane& lane : map.lanes) stores.push_back(lane.store);
  std::sort(stores.begin(), stores.end());
  stores.erase(std::unique(stores.begin(), stores.end()), stores.end());
  return stores;
}

ChannelReads Lowering::ReadsOf(ir::TensorId id) const {
  const TensorMap& map = MapOf(id);
  ChannelReads reads;
  reads.sources = map.stored ? std::vector<ir::TensorId>{id} : Stores(id);
  for (const ir::TensorId source : reads.sources)
    reads.channel.emplace_back(static_cast<size_t>(FormAt(source).blocks(n_) * n_), -1);
  const int64_t channels =
      map.lanes.empty() ? FormAt(reads.sources[0]).c : static_cast<int64_t>(map.lanes.size());
  for (int64_t c = 0; c < channels; ++c) {
    const Lane lane =
        map.lanes.empty() ? Lane{id, static_cast<int32_t>(c)} : map.lanes[static_cast<size_t>(c)];
    const auto s = static_cast<size_t>(
        std::find(reads.sources.begin(), reads.sources.end(), lane.store) - reads.sources.begin());
    reads.channel[s][static_cast<size_t>(lane.position)] = static_cast<int32_t>(c);
  }
  return reads;
}

int64_t Lowering::KeptBlocks(ir::TensorId output) const {
  const TensorMap& map = MapOf(output);
  return map.order.empty() ? FormAt(output).blocks(n_) : static_cast<int64_t>(map.blocks.size());
}

std::vector<KeepRun> Lowering::Pieces(ir::TensorId input, ir::TensorId output, int64_t first,
                                      int64_t last, int64_t most) const {
  const TensorMap& map = MapOf(output);
  std::vector<KeepRun> runs;
  for (int64_t b = first; b < last; ++b) {
    const KeepRun next = map.order.empty()
                             ? KeepRun{input, b, b, 1}
                             : KeepRun{map.blocks[static_cast<size_t>(b)].store,
                                       map.blocks[static_cast<size_t>(b)].block, b, 1};
    const bool joins = !runs.empty() && runs.back().source == next.source &&
                       runs.back().from + runs.back().blocks == next.from &&
                       runs.back().blocks < most;
    if (joins) {
      ++runs.back().blocks;
    } else {
      runs.push_back(next);
    }
  }
  return runs;
}

}  // namespace octile::codegen
