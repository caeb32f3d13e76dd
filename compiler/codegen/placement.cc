// Where tensors live: in the activation buffer or in memory, by themselves, as a part of a
// concatenation, or as a view.
//
// Concatenation and splitting of whole channel blocks move nothing: a block of the channel-blocked
// layout is a plane of its own, so the inputs of a concatenation are written where the whole lies
// (parts), and a slice reads where its source lies (a view). Parts nest: the concatenation of a
// concatenation takes the first whole as a part, which makes DenseNet's growing tensors one tensor.
#include <algorithm>

#include "lowering.h"

namespace octile::codegen {

size_t Lowering::ChannelAxis(ir::TensorId id) const {
  const size_t rank = Info(id).shape.size();
  return rank == 4 || planar_[static_cast<size_t>(id)] ? 1 : rank - 1;
}

// A tensor [1, C, L] is a matrix of C rows, L being its channels, unless it is a flattened image
// (detection heads): then it stays what the image is, C channels, and flattening moves nothing.
// That holds along concatenations, slices, tables and normalizations, up to a reader that wants a
// matrix.
void Lowering::FindForms() {
  const size_t count = graph_.tensors.size();
  form_.resize(count);
  for (size_t t = 0; t < count; ++t) form_[t] = FormOf(graph_.tensors[t].shape);
  planar_.assign(count, false);
  const auto is_planar = [&](ir::TensorId id) { return planar_[static_cast<size_t>(id)]; };
  const auto flat = [&](ir::TensorId id) {
    const Shape& shape = Info(id).shape;
    return shape.size() == 3 && shape[0] == 1 && Info(id).is_code();
  };
  const auto flattens = [&](const ir::Step& step) {
    const Shape& from = Info(step.inputs[0]).shape;
    return std::holds_alternative<ir::Reshape>(step.op) && step.device_capable() &&
           flat(step.output) && from.size() == 4 && from[0] == 1 &&
           from[1] == Info(step.output).shape[1];
  };
  const auto keeps = [&](const ir::Step& step) {
    const auto* concat = std::get_if<ir::Concat>(&step.op);
    return step.device_capable() && flat(step.output) &&
           ((concat != nullptr && concat->axis >= 1) ||
            std::holds_alternative<ir::Slice>(step.op) ||
            std::holds_alternative<ir::Table>(step.op) ||
            std::holds_alternative<ir::Affine>(step.op));
  };
  const auto all_planar = [&](const ir::Step& step) {
    return std::all_of(step.inputs.begin(), step.inputs.end(), is_planar);
  };
  for (const ir::Step& step : graph_.steps) {
    if (flattens(step) || (keeps(step) && all_planar(step)))
      planar_[static_cast<size_t>(step.output)] = true;
  }
  // Takes back what a reader or a sibling does not share.
  for (bool changed = true; changed;) {
    changed = false;
    for (const ir::Step& step : graph_.steps) {
      const bool output = is_planar(step.output);
      if (output && keeps(step) && !all_planar(step)) {
        planar_[static_cast<size_t>(step.output)] = false;
        changed = true;
        continue;
      }
      const bool reads_any = !step.device_capable() ||
                             std::holds_alternative<ir::Reshape>(step.op) ||
                             std::holds_alternative<ir::Transpose>(step.op) ||
                             std::holds_alternative<ir::Dequantize>(step.op);
      if (reads_any || output) continue;
      for (const ir::TensorId input : step.inputs) {
        changed = changed || is_planar(input);
        planar_[static_cast<size_t>(input)] = false;
      }
    }
  }
  for (size_t t = 0; t < count; ++t) {
    const Shape& shape = graph_.tensors[t].shape;
    if (planar_[t]) form_[t] = Form{shape[1], 1, shape[2], false};
  }
}

bool Lowering::PlacedInWhole(const ir::Step& concat, size_t input) const {
  const auto whole = static_cast<size_t>(Root(concat.output));
  const auto part = static_cast<size_t>(Root(concat.inputs[input]));
  if (part == whole || owner_[part] != owner_[whole]) return false;
  const bool channels =
      std::get<ir::Concat>(concat.op).axis == static_cast<int64_t>(ChannelAxis(concat.output));
  int64_t before = 0;
  for (size_t i = 0; i < input; ++i) {
    before += channels ? FormAt(concat.inputs[i]).c : FormAt(concat.inputs[i]).pixels();
  }
  const int64_t block = first_block_[part] - first_block_[whole];
  const int64_t pixel = first_pixel_[part] - first_pixel_[whole];
  return channels ? before % n_ == 0 && block == before / n_ && pixel == 0
                  : block == 0 && pixel == before;
}

// Finds parts and views. Needs the plan (items_) and needs_memory_: what crosses between segments
// or to the host keeps a place of its own.
void Lowering::FindParts() {
  const size_t count = graph_.tensors.size();
  owner_.resize(count);
  for (size_t t = 0; t < count; ++t) owner_[t] = static_cast<ir::TensorId>(t);
  first_block_.assign(count, 0);
  first_pixel_.assign(count, 0);
  view_of_.assign(count, -1);
  assembled_.assign(count, false);
  const auto index = [&](ir::TensorId id) { return static_cast<size_t>(Root(id)); };
  for (const Item& item : items_) {
    if (!item.device) continue;
    std::set<ir::TensorId> made;  // in this segment
    for (const size_t g : item.groups) {
      const passes::FusedStep& group = groups_[g];
      const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
      if (MovesNothing(group)) continue;
      made.insert(Root(group.output));
      if (group.shuffle_groups > 0) continue;
      // A selection of channels has no place; what reads one, or an order of its own, is moved.
      const auto mapped = [&](ir::TensorId id) { return !MapOf(id).plain(); };
      if (mapped(group.output) || std::any_of(step.inputs.begin(), step.inputs.end(), mapped))
        continue;
      const Shape& shape = Info(step.output).shape;
      const std::optional<Form>& out = form_[static_cast<size_t>(step.output)];
      if (!out) continue;
      const size_t axis = ChannelAxis(step.output);
      if (const auto* slice = std::get_if<ir::Slice>(&step.op)) {
        const ir::TensorId source = Root(step.inputs[0]);
        const Shape& whole = Info(step.inputs[0]).shape;
        bool view =
            made.contains(source) && Source(step.inputs[0]) == source &&
            form_[static_cast<size_t>(source)] == form_[static_cast<size_t>(step.inputs[0])];
        for (size_t a = 0; a < shape.size(); ++a) {
          view = view && slice->steps[a] == 1 &&
                 (a == axis ? slice->starts[a] % n_ == 0
                            : slice->starts[a] == 0 && shape[a] == whole[a]);
        }
        // What the host reads of a tensor that lies by itself, it reads where that lies.
        if (needs_memory_[index(step.output)]) {
          view = view && owner_[index(source)] == source && !Info(source).is_constant();
          if (view) needs_memory_[index(source)] = true;
        }
        if (!view) continue;
        view_of_[index(step.output)] = source;
        owner_[index(step.output)] = owner_[index(source)];
        first_block_[index(step.output)] = first_block_[index(source)] + slice->starts[axis] / n_;
        first_pixel_[index(step.output)] = first_pixel_[index(source)];
        continue;
      }
      const auto* concat = std::get_if<ir::Concat>(&step.op);
      if (concat == nullptr) continue;
      const ir::TensorId whole = Root(step.output);
      const auto place = [&](ir::TensorId top, int64_t block, int64_t pixel) {
        assembled_[index(whole)] = true;
        for (size_t t = 0; t < count; ++t) {
          if (owner_[t] != top) continue;
          owner_[t] = whole;
          first_block_[t] += block;
          first_pixel_[t] += pixel;
        }
      };
      if (concat->axis != static_cast<int64_t>(axis)) {
        // Along positions: whole rows, or pixels of a single row, are a run of every plane. All
        // inputs or none.
        bool runs = out->h == 1 || (shape.size() == 4 && concat->axis == 2);
        std::set<ir::TensorId> inputs;
        for (const ir::TensorId id : step.inputs) {
          const ir::TensorId input = Root(id);
          runs = runs && made.contains(input) && owner_[index(input)] == input && input != whole &&
                 !needs_memory_[index(input)] && inputs.insert(input).second &&
                 form_[index(input)] && form_[index(input)]->blocks(n_) == out->blocks(n_) &&
                 form_[index(input)]->pixels() == FormAt(id).pixels() &&
                 Info(input).dtype != DType::kS32;
        }
        int64_t pixel = 0;
        for (const ir::TensorId id : step.inputs) {
          if (runs) place(Root(id), 0, pixel);
          pixel += FormAt(id).pixels();
        }
        continue;
      }
      const int64_t whole_blocks = out->blocks(n_);
      // Blocks of the whole that input i fills; nothing is placed if a channel would change its
      // lane.
      std::vector<int64_t> begin, end;
      int64_t channels = 0;
      bool aligned = true;
      for (const ir::TensorId input : step.inputs) {
        aligned = aligned && channels % n_ == 0;
        const Form& form = FormAt(input);
        begin.push_back(channels / n_);
        channels += form.c;
        end.push_back((channels + n_ - 1) / n_);
      }
      if (!aligned) continue;
      for (size_t i = 0; i < step.inputs.size(); ++i) {
        const ir::TensorId input = Root(step.inputs[i]);
        const ir::TensorId top = owner_[index(input)];
        if (top == whole || !made.contains(top) || needs_memory_[index(top)] ||
            needs_memory_[index(input)])
          continue;
        const std::optional<Form>& form = form_[static_cast<size_t>(top)];
        if (!form || form->h != out->h || form->w != out->w ||
            form->channels_last != out->channels_last)
          continue;
        const int64_t at = begin[i] - first_block_[index(input)];  // of the top in the whole
        const int64_t top_end = at + form->blocks(n_);
        if (at < 0 || top_end > whole_blocks) continue;
        // Every input inside the range must be that same piece of the top, and the top must end
        // where an input ends.
        bool fits = true;
        for (size_t j = 0; j < step.inputs.size(); ++j) {
          if (end[j] <= at || begin[j] >= top_end) continue;
          const size_t other = index(step.inputs[j]);
          fits = fits && owner_[other] == top && begin[j] - first_block_[other] == at &&
                 end[j] <= top_end && !needs_memory_[other];
        }
        if (!fits) continue;
        place(top, at, 0);
      }
    }
  }
}

void Lowering::FindLifetimes(const std::vector<size_t>& groups) {
  last_use_.assign(graph_.tensors.size(), -1);
  holders_.clear();
  for (size_t position = 0; position < groups.size(); ++position) {
    const passes::FusedStep& group = groups_[groups[position]];
    const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
    const bool concat = std::holds_alternative<ir::Concat>(step.op);
    if (MapOf(group.output).selection()) continue;
    const std::vector<ir::TensorId> inputs = GroupInputs(group);
    for (size_t i = 0; i < inputs.size(); ++i) {
      // What was written in its place, or is only looked at through a view, is not read by the
      // step.
      if ((concat && group.shuffle_groups == 0 && PlacedInWhole(step, i)) ||
          view_of_[static_cast<size_t>(Root(group.output))] >= 0)
        continue;
      for (const ir::TensorId store : Stores(inputs[i]))
        last_use_[static_cast<size_t>(store)] = static_cast<int>(position);
    }
  }
  last_view_use_ = last_use_;
  for (size_t position = groups.size(); position-- > 0;) {
    const auto output = static_cast<size_t>(Root(groups_[groups[position]].output));
    if (view_of_[output] < 0) continue;
    int& source = last_view_use_[static_cast<size_t>(view_of_[output])];
    source = std::max(source, last_view_use_[output]);
  }
  last_part_use_ = last_view_use_;
  for (size_t t = 0; t < owner_.size(); ++t) {
    int& whole = last_part_use_[static_cast<size_t>(owner_[t])];
    whole = std::max(whole, last_view_use_[t]);
  }
}

// Decides whether an output lives in the activation buffer, and reserves it. A part lives in the
// whole's buffer if that fits; else the whole is in memory, and the part may have a buffer of its
// own for its other readers.
void Lowering::PlaceOutput(ir::TensorId id, int vectors_per_pixel) {
  const ir::TensorId root = Root(id);
  const auto t = static_cast<size_t>(root);
  Place& place = places_[t];
  if (place.placed) return;  // by its first part
  place.placed = true;
  place.vectors_per_pixel = vectors_per_pixel;
  int used_until = last_view_use_[t];
  if (const ir::TensorId owner = owner_[t]; owner != root) {
    Place& whole = places_[static_cast<size_t>(owner)];
    PlaceOutput(owner);
    const int64_t plane = FormAt(owner).pixels();
    const int64_t first = first_block_[t] * plane + first_pixel_[t];
    if (whole.buffer) {
      place.buffer_plane = plane;
      place.buffer = whole.buffer;
      place.holder = owner;
      place.first_vector = whole.first_vector + first;
    }
    if (whole.in_memory) {
      place.memory_plane = plane;
      place.in_memory = true;
      place.region = whole.region;
      place.offset = whole.offset + first * n_;
    }
    if (whole.buffer || assembled_[t]) return;  // what has parts is where they are
  } else {
    used_until = last_part_use_[t];
  }
  const int banks = Banks(FormAt(root).vectors(n_) * vectors_per_pixel);
  if (used_until >= 0 && vectors_per_pixel == 1 && !place.buffer &&
      banks_.free_banks() - banks >= reserve_) {
    if (std::optional<Buffer> buffer = banks_.Allocate(banks)) {
      place.buffer = buffer;
      place.holder = root;
      place.first_vector = 0;
      holders_.insert(root);
    }
  }
  if (!place.buffer && !place.in_memory) {
    place.in_memory = true;
    place.region = kScratchRegion;
    place.offset = scratch_bytes_;
    scratch_bytes_ += (FormAt(root).vectors(n_) * n_ * vectors_per_pixel + 255) / 256 * 256;
  }
}

// Takes back a placement that turned out not to be usable; a buffer shared with other parts stays.
void Lowering::UndoPlacement(ir::TensorId id) {
  Place& place = At(id);
  place.placed = false;
  if (!place.buffer || place.holder != Root(id)) return;
  banks_.Free(*place.buffer);
  holders_.erase(place.holder);
  place.buffer.reset();
}

void Lowering::PlaceView(ir::TensorId id, ir::TensorId source) {
  const auto t = static_cast<size_t>(Root(id));
  const Place& from = At(source);
  Place& place = places_[t];
  const int64_t blocks = first_block_[t] - first_block_[static_cast<size_t>(Root(source))];
  place.buffer = from.buffer;
  place.holder = from.holder;
  place.buffer_plane = BufferPlane(source);
  place.first_vector = from.first_vector + blocks * place.buffer_plane;
  place.memory_plane = from.memory_plane != 0 ? from.memory_plane : FormAt(source).pixels();
  place.in_memory = from.in_memory;
  place.region = from.region;
  place.offset = from.offset + blocks * place.memory_plane * n_;
}

// Frees the buffers that no group behind `position` uses.
void Lowering::ReleaseAfter(int position) {
  for (auto it = holders_.begin(); it != holders_.end();) {
    const ir::TensorId holder = *it;
    const auto h = static_cast<size_t>(holder);
    const int end = owner_[h] == holder ? last_part_use_[h] : last_view_use_[h];
    if (end > position) {
      ++it;
      continue;
    }
    banks_.Free(*places_[h].buffer);
    for (Place& place : places_) {
      if (place.holder != holder) continue;
      place.buffer.reset();
      place.holder = -1;
    }
    it = holders_.erase(it);
  }
}

}  // namespace octile::codegen
