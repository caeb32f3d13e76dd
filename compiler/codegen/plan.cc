// What runs where: aliases, host steps, segments, memory; and the assembly of the program.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "lowering.h"
#include "octile/numerics/constants.h"
#include "schedule.h"

namespace octile::codegen {
namespace {

constexpr int64_t kAlignment = 256;  // of tensors in memory: bursts are cut at multiples of it

int64_t AlignUp(int64_t value) { return (value + kAlignment - 1) / kAlignment * kAlignment; }

// A shape with leading ones up to `rank`, as NumPy broadcasting reads it.
Shape PadRank(const Shape& shape, size_t rank) {
  Shape padded(rank > shape.size() ? rank - shape.size() : 0, 1);
  padded.insert(padded.end(), shape.begin(), shape.end());
  return padded;
}

bool WindowFits(int64_t kh, int64_t kw, int64_t sy, int64_t sx, int64_t dy, int64_t dx) {
  return kh <= 63 && kw <= 63 && sy <= 15 && sx <= 15 && dy <= 31 && dx <= 31;
}

// Window positions are signed 16-bit fields.
constexpr int64_t kMostPixels = 32767;

const char* kWindowLimit = "kernel above 63, stride above 15 or dilation above 31";

}  // namespace

Lowering::Lowering(const ir::Graph& graph, const Config& config, const CompileOptions& options)
    : graph_(graph),
      config_(config),
      arch_(config.arch),
      options_(options),
      n_(config.arch.n),
      banks_(config.arch.banks),
      reserve_(std::max(4, config.arch.banks / 4)) {}

ir::TensorId Lowering::Source(ir::TensorId id) const {
  const int producer = producers_[static_cast<size_t>(id)];
  if (producer >= 0 && IsLazy(producer))
    return Source(graph_.steps[static_cast<size_t>(producer)].inputs[0]);
  return Root(id);
}

std::vector<ir::TensorId> Lowering::GroupInputs(const passes::FusedStep& group) const {
  std::vector<ir::TensorId> inputs;
  std::set<ir::TensorId> inside;
  for (const int index : group.Steps()) {
    const ir::Step& step = graph_.steps[static_cast<size_t>(index)];
    for (const ir::TensorId input : step.inputs) {
      if (!inside.contains(input)) inputs.push_back(input);
    }
    inside.insert(step.output);
  }
  return inputs;
}

void Lowering::FindAliases() {
  producers_ = ir::Producers(graph_);
  const std::vector<std::vector<int32_t>> consumers = ir::Consumers(graph_);
  root_.resize(graph_.tensors.size());
  for (size_t i = 0; i < root_.size(); ++i) root_[i] = static_cast<ir::TensorId>(i);
  lazy_.assign(graph_.steps.size(), false);
  for (size_t i = 0; i < graph_.steps.size(); ++i) {
    const ir::Step& step = graph_.steps[i];
    if (!std::holds_alternative<ir::Reshape>(step.op) || !step.device_capable()) continue;
    const int maker = producers_[static_cast<size_t>(step.inputs[0])];
    if (Info(step.inputs[0]).is_constant() || !Info(step.output).is_code()) continue;
    if (maker >= 0 && IsLazy(maker)) continue;
    const std::optional<Form>& in = form_[static_cast<size_t>(step.inputs[0])];
    const std::optional<Form>& out = form_[static_cast<size_t>(step.output)];
    if (!in) continue;
    // The same image: one place. A graph output needs a place of its own name only for its
    // descriptor, which is made from the root's.
    const bool planar =
        planar_[static_cast<size_t>(step.inputs[0])] || planar_[static_cast<size_t>(step.output)];
    if (planar && in->c == out->c && in->pixels() == out->pixels()) {
      root_[static_cast<size_t>(step.output)] = Root(step.inputs[0]);
      continue;
    }
    if (out && *in == *out &&
        (in->pixels() == 1 ||
         Info(step.inputs[0]).shape.size() == Info(step.output).shape.size())) {
      root_[static_cast<size_t>(step.output)] = Root(step.inputs[0]);
      lazy_[i] = false;
      continue;
    }
    // A flattened image that only matrix products (as a kernel over the image) and the host read.
    const std::vector<int32_t>& users = consumers[static_cast<size_t>(step.output)];
    const Shape& shape = Info(step.output).shape;
    const bool flat = shape.size() == 2 && shape[0] == 1 && in->h <= 63 && in->w <= 63;
    lazy_[i] = !in->channels_last && std::all_of(users.begin(), users.end(), [&](int32_t user) {
      const ir::Step& reader = graph_.steps[static_cast<size_t>(user)];
      if (!reader.device_capable()) return true;
      return flat && std::holds_alternative<ir::Gemm>(reader.op) && reader.inputs[0] == step.output;
    });
  }
}

std::optional<std::string> Lowering::HostReason(const passes::FusedStep& group) const {
  const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
  if (!step.device_capable()) return step.host_reason;
  for (const ir::TensorId input : GroupInputs(group)) {
    const ir::TensorInfo& info = Info(input);
    if (info.is_constant()) continue;
    const std::optional<Form>& form = form_[static_cast<size_t>(input)];
    if (!form && Source(input) == Root(input)) return "batch above 1 or rank above 4";
    if (form && (form->h > kMostPixels || form->w > kMostPixels))
      return "image above 32767 rows or columns";
    if (!info.is_code()) return "not 8-bit codes";
  }
  const ir::TensorInfo& output = Info(step.output);
  const std::optional<Form>& out = form_[static_cast<size_t>(step.output)];
  if (group.shuffle_groups > 0 && std::holds_alternative<ir::Reshape>(step.op)) return std::nullopt;
  if (!out && !std::holds_alternative<ir::Reshape>(step.op)) return "batch above 1 or rank above 4";
  const Shape& in_shape = Info(step.inputs[0]).shape;
  if (group.residual >= 0) {
    const auto& add = std::get<ir::Add>(graph_.steps[static_cast<size_t>(group.residual)].op);
    if (!numerics::SupportedAddConstants({add.ra, add.rb, add.f}))
      return "scales too far apart for the adder (N6)";
  }
  if (const auto* conv = std::get_if<ir::Conv>(&step.op)) {
    if (in_shape.size() != 4) return "not a 2-D convolution";
    if (!WindowFits(conv->kernel[0], conv->kernel[1], conv->strides[0], conv->strides[1],
                    conv->dilations[0], conv->dilations[1])) {
      return kWindowLimit;
    }
    if (std::any_of(conv->pads.begin(), conv->pads.end(),
                    [](int64_t pad) { return pad > kMostPixels; }))
      return "padding above 32767";
    return std::nullopt;
  }
  if (std::holds_alternative<ir::Gemm>(step.op)) {
    if (in_shape.size() > 3) return "matrix product of rank above 3";
    return std::nullopt;
  }
  if (std::holds_alternative<ir::GlobalAveragePool>(step.op)) {
    const std::optional<Form>& in = form_[static_cast<size_t>(step.inputs[0])];
    if (in_shape.size() != 4 || in->h > 63 || in->w > 63)
      return "global average over more than 63 rows or columns";
    return std::nullopt;
  }
  if (const auto* pool = std::get_if<ir::MaxPool>(&step.op)) {
    if (in_shape.size() != 4) return "not a 2-D pooling";
    if (!WindowFits(pool->kernel[0], pool->kernel[1], pool->strides[0], pool->strides[1],
                    pool->dilations[0], pool->dilations[1])) {
      return kWindowLimit;
    }
    return std::nullopt;
  }
  if (const auto* pool = std::get_if<ir::AveragePool>(&step.op)) {
    if (pool->integer.empty()) return "windowed average is fp32 (N8)";
    if (in_shape.size() != 4) return "not a 2-D pooling";
    if (!WindowFits(pool->kernel[0], pool->kernel[1], pool->strides[0], pool->strides[1],
                    pool->dilations[0], pool->dilations[1])) {
      return kWindowLimit;
    }
    if (static_cast<int64_t>(pool->integer.size()) > std::max(1, arch_.psets / 2))
      return fmt::format("an average with {} different divisors", pool->integer.size());
    return std::nullopt;
  }
  if (std::holds_alternative<ir::Table>(step.op)) return std::nullopt;
  if (const auto* affine = std::get_if<ir::Affine>(&step.op)) {
    for (size_t c = 0; c < affine->factors.size(); ++c) {
      if (!numerics::SupportedAffineConstants({affine->factors[c], affine->offsets[c]}))
        return "factors too far apart for the adder (N13)";
    }
    if (ChannelAxis(step.output) != 1 || ChannelAxis(step.inputs[0]) != 1)
      return "normalization of this rank";
    return std::nullopt;
  }
  if (std::holds_alternative<ir::Add>(step.op) || std::holds_alternative<ir::Mul>(step.op)) {
    if (const auto* add = std::get_if<ir::Add>(&step.op);
        add != nullptr && !numerics::SupportedAddConstants({add->ra, add->rb, add->f})) {
      return "scales too far apart for the adder (N6)";
    }
    for (const ir::TensorId input : step.inputs) {
      std::optional<Form> form = form_[static_cast<size_t>(input)];
      if (Info(input).is_constant()) form = FormOf(PadRank(Info(input).shape, output.shape.size()));
      if (!form || form->channels_last != out->channels_last || form->c != out->c ||
          (form->pixels() != 1 && (form->h != out->h || form->w != out->w))) {
        return "this broadcast";
      }
    }
    return std::nullopt;
  }
  const auto movable = [&](const Form& form) { return form.w <= 4095; };
  if (const auto* concat = std::get_if<ir::Concat>(&step.op)) {
    const auto rank = static_cast<int64_t>(output.shape.size());
    const bool axis_fits =
        rank == 4 ? concat->axis >= 1
                  : rank == 2 || (rank == 3 && concat->axis >= 1 && output.shape[0] == 1);
    if (!axis_fits) return "concatenation along this axis";
    for (const ir::TensorId input : step.inputs) {
      if (Info(input).is_constant()) return "concatenation with a constant";
    }
    return std::nullopt;
  }
  if (const auto* slice = std::get_if<ir::Slice>(&step.op)) {
    const size_t rank = slice->starts.size();
    if (rank < 2 || rank > 4) return "slice of this rank";
    const size_t channel_axis = ChannelAxis(step.output);
    const bool whole_blocks =
        slice->steps[channel_axis] == 1 && slice->starts[channel_axis] % n_ == 0;
    for (size_t axis = 0; axis < rank; ++axis) {
      if (axis == channel_axis) {
        if (slice->steps[axis] < 1 && in_shape[axis] > 1 && slice->steps[axis] == 0)
          return "slice step 0";
        continue;
      }
      const bool whole = slice->starts[axis] == 0 && slice->steps[axis] == 1 &&
                         output.shape[axis] == in_shape[axis];
      if (!whole && !whole_blocks) return "slice of channels inside a block and of pixels at once";
      if (slice->steps[axis] < 1 || slice->steps[axis] > 15)
        return "slice with a step outside 1..15";
      const bool outer = rank == 2 ? false : axis == 0;
      if (!whole && outer) return "slice of the outermost dimension";
    }
    return std::nullopt;
  }
  if (const auto* pad = std::get_if<ir::Pad>(&step.op)) {
    if (pad->mode != ir::PadMode::kConstant) return "reflecting or repeating padding";
    if (output.shape.size() != 4 || pad->before[0] != 0 || pad->after[0] != 0 || !movable(*out))
      return "padding of this dimension";
    const bool channels = pad->before[1] != 0 || pad->after[1] != 0;
    if (channels && (pad->before[1] % n_ != 0 || in_shape[1] % n_ != 0))
      return "padding channels inside a block";
    return std::nullopt;
  }
  if (const auto* resize = std::get_if<ir::ResizeNearest>(&step.op)) {
    const std::optional<Form>& in = form_[static_cast<size_t>(step.inputs[0])];
    const auto regular = [](const std::vector<int64_t>& index, int64_t size) {
      const auto count = static_cast<int64_t>(index.size());
      if (count % size != 0 || count / size > 15) return false;
      for (int64_t i = 0; i < count; ++i) {
        if (index[static_cast<size_t>(i)] != i / (count / size)) return false;
      }
      return true;
    };
    if (in_shape.size() != 4 || !regular(resize->rows, in->h) || !regular(resize->columns, in->w) ||
        !movable(*out)) {
      return "resizing by other than whole factors up to 15";
    }
    return std::nullopt;
  }
  if (std::holds_alternative<ir::Reshape>(step.op)) {
    if (IsLazy(group.main) || Root(step.output) != step.output) return std::nullopt;
    return "reshape that moves data";
  }
  return "data movement on the host";
}

// A reshape between what the host makes and what the host reads is not the device's.
void Lowering::LeaveReshapesToHost() {
  std::vector<bool> made(graph_.tensors.size(), false), needed(graph_.tensors.size(), false);
  for (size_t g = 0; g < groups_.size(); ++g) {
    if (host_reason_[g] || MovesNothing(groups_[g])) continue;
    made[static_cast<size_t>(groups_[g].output)] = true;
    for (const ir::TensorId input : GroupInputs(groups_[g]))
      needed[static_cast<size_t>(input)] = true;
  }
  // From the last reader to the first maker; places change only when all are known.
  std::vector<size_t> left;
  for (size_t g = groups_.size(); g-- > 0;) {
    const passes::FusedStep& group = groups_[g];
    if (host_reason_[g] || !MovesNothing(group)) continue;
    const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
    if (needed[static_cast<size_t>(group.output)]) {
      for (const ir::TensorId input : GroupInputs(group)) needed[static_cast<size_t>(input)] = true;
    } else if (std::holds_alternative<ir::Reshape>(step.op) &&
               !made[static_cast<size_t>(Source(step.inputs[0]))]) {
      host_reason_[g] = "between steps of the host";
      left.push_back(g);
    }
  }
  for (const size_t g : left) {
    lazy_[static_cast<size_t>(groups_[g].main)] = false;
    root_[static_cast<size_t>(groups_[g].output)] = groups_[g].output;
  }
}

Status Lowering::MakePlan() {
  FindForms();
  FindAliases();
  groups_ = passes::FuseSteps(graph_);
  for (const passes::FusedStep& group : groups_) host_reason_.push_back(HostReason(group));
  LeaveReshapesToHost();
  FindHostViews();
  FindInputViews();
  // Device groups as long as any is ready, then host groups, and so on: few segments.
  std::vector<bool> ready_tensor(graph_.tensors.size(), false);
  for (size_t i = 0; i < graph_.tensors.size(); ++i) ready_tensor[i] = producers_[i] < 0;
  std::vector<bool> done(groups_.size(), false);
  size_t remaining = groups_.size();
  bool device = true;
  int idle = 0;
  while (remaining > 0) {
    Item item;
    item.device = device;
    for (bool progress = true; progress;) {
      progress = false;
      for (size_t g = 0; g < groups_.size(); ++g) {
        // A view of the host is ready with its input, and nothing is done for it.
        if (done[g] || (!is_host_view_[g] && host_reason_[g].has_value() == device)) continue;
        const std::vector<ir::TensorId> inputs = GroupInputs(groups_[g]);
        if (!std::all_of(inputs.begin(), inputs.end(),
                         [&](ir::TensorId id) { return ready_tensor[static_cast<size_t>(id)]; }))
          continue;
        done[g] = progress = true;
        --remaining;
        ready_tensor[static_cast<size_t>(groups_[g].output)] = true;
        if (is_host_view_[g]) continue;
        item.groups.push_back(g);
        if (!device) break;  // one host step per item
      }
      if (!device && !item.groups.empty()) {
        items_.push_back(item);
        item.groups.clear();
        idle = 0;
      }
    }
    if (!item.groups.empty()) {
      items_.push_back(std::move(item));
      idle = 0;
    } else if (++idle > 2) {
      return Fail(ErrorCode::kInternal, "the plan does not advance");
    }
    device = !device;
  }
  // A segment of reshapes that move nothing needs no job.
  std::erase_if(items_, [&](const Item& item) {
    return item.device && std::all_of(item.groups.begin(), item.groups.end(),
                                      [&](size_t g) { return MovesNothing(groups_[g]); });
  });
  return {};
}

Status Lowering::AssignMemory() {
  home_.assign(graph_.tensors.size(), {});
  needs_memory_.assign(graph_.tensors.size(), false);
  std::vector<int> made_in(graph_.tensors.size(), -1);  // item that produces a tensor
  std::vector<bool> made_on_device(graph_.tensors.size(), false);
  std::vector<bool> host_reads(graph_.tensors.size(), false);
  std::vector<bool> device_reads(graph_.tensors.size(), false);
  for (size_t i = 0; i < items_.size(); ++i) {
    for (const size_t g : items_[i].groups) {
      made_in[static_cast<size_t>(groups_[g].output)] = static_cast<int>(i);
      made_on_device[static_cast<size_t>(groups_[g].output)] = items_[i].device;
    }
  }
  for (size_t i = 0; i < items_.size(); ++i) {
    for (const size_t g : items_[i].groups) {
      for (const ir::TensorId input : GroupInputs(groups_[g])) {
        const auto source = static_cast<size_t>(Source(input));
        (items_[i].device ? device_reads : host_reads)[source] = true;
        if (made_in[source] != static_cast<int>(i)) needs_memory_[source] = true;
      }
    }
  }
  for (const ir::Output& output : graph_.outputs) {
    host_reads[static_cast<size_t>(Source(output.tensor))] = true;
    needs_memory_[static_cast<size_t>(Source(output.tensor))] = true;
  }
  FindMaps();
  FindParts();
  // The host reads a view where the whole lies.
  for (size_t t = 0; t < graph_.tensors.size(); ++t) {
    if (view_of_[t] >= 0 && host_reads[t]) host_reads[static_cast<size_t>(view_of_[t])] = true;
  }
  for (size_t t = 0; t < graph_.tensors.size(); ++t) {
    const auto id = static_cast<ir::TensorId>(t);
    Place& place = home_[t];
    const ir::TensorInfo& info = Info(id);
    if (Root(id) != id || info.is_constant() || !needs_memory_[t] || view_of_[t] >= 0) continue;
    const bool from_device = made_on_device[t];
    if (!from_device && !device_reads[t]) continue;  // never leaves the host
    place.in_memory = true;
    const Form& form = FormAt(id);
    place.vectors_per_pixel = info.dtype == DType::kS32 ? 4 : 1;
    int64_t bytes = form.vectors(n_) * n_ * place.vectors_per_pixel;
    if (!from_device) {
      place.region = kInputRegion;
      const int maker = producers_[t];
      // What the user or the edge hands over is plain NCHW; a host step inside the network writes
      // the blocked layout.
      const bool edge =
          maker < 0 || input_views_[t] ||
          std::holds_alternative<ir::Quantize>(graph_.steps[static_cast<size_t>(maker)].op);
      place.plain =
          edge && !form.channels_last && form.pixels() > 1 && form.w <= 4095;  // PACK's columns
      if (place.plain) bytes = info.size() + 2 * n_;  // whole beats are read around the last byte
      place.offset = input_bytes_;
      input_bytes_ = AlignUp(input_bytes_ + bytes);
    } else {
      place.region = host_reads[t] ? kOutputRegion : kScratchRegion;
      int64_t& used = host_reads[t] ? output_bytes_ : scratch_bytes_;
      place.offset = used;
      used = AlignUp(used + bytes);
    }
  }
  for (size_t t = 0; t < graph_.tensors.size(); ++t) {
    if (view_of_[t] < 0 || !needs_memory_[t]) continue;
    const auto source = static_cast<size_t>(view_of_[t]);
    home_[t] = home_[source];
    home_[t].memory_plane = FormAt(view_of_[t]).pixels();
    home_[t].offset += (first_block_[t] - first_block_[source]) * home_[t].memory_plane * n_;
  }
  return {};
}

void Lowering::PlaceConstant(ir::TensorId id, const Shape& like) {
  Place& place = At(id);
  if (place.in_memory) return;
  const ir::TensorInfo& info = Info(id);
  form_[static_cast<size_t>(id)] = FormOf(PadRank(info.shape, like.size()));
  const Form& form = FormAt(id);
  std::vector<uint8_t> bytes(static_cast<size_t>(form.vectors(n_) * n_), 0);
  for (int64_t c = 0; c < form.c; ++c) {
    for (int64_t y = 0; y < form.h; ++y) {
      for (int64_t x = 0; x < form.w; ++x) {
        const int64_t flat = form.channels_last ? x * form.c + c : (c * form.h + y) * form.w + x;
        const int64_t vector = (c / n_ * form.h + y) * form.w + x;
        bytes[static_cast<size_t>(vector * n_ + c % n_)] =
            (*info.constant)[static_cast<size_t>(flat)];
      }
    }
  }
  place.in_memory = true;
  place.region = kConstantRegion;
  place.offset = AddConstants(bytes);
  home_[static_cast<size_t>(id)] = place;
}

bool Lowering::StaysPlain(const ir::Step& step) const {
  if (home_[static_cast<size_t>(step.output)].in_memory &&
      needs_memory_[static_cast<size_t>(step.output)])
    return false;
  return std::all_of(graph_.steps.begin(), graph_.steps.end(), [&](const ir::Step& reader) {
    const bool reads =
        std::find(reader.inputs.begin(), reader.inputs.end(), step.output) != reader.inputs.end();
    const auto* conv = std::get_if<ir::Conv>(&reader.op);
    return !reads || (conv != nullptr && conv->group == 1);
  });
}

// Whether a convolution is depthwise and within what the vector unit can do.
bool Lowering::OnVectorUnit(const ir::Step& step, bool residual) const {
  const auto& conv = std::get<ir::Conv>(step.op);
  if (conv.group == 1 || conv.group != Info(step.inputs[0]).shape[1] ||
      conv.group != Info(step.output).shape[1])
    return false;
  const int64_t taps = conv.kernel[0] * conv.kernel[1];
  int least = 0, greatest = 0;
  for (size_t i = 0; i < conv.weights.codes.size(); ++i) {
    const int difference = conv.weights.at(static_cast<int64_t>(i)) -
                           conv.weights.zero_points[i / static_cast<size_t>(taps)];
    least = std::min(least, difference);
    greatest = std::max(greatest, difference);
  }
  return !ChooseCoding(least, greatest).two_passes && (taps + 3) / 4 <= arch_.wrows / 2 &&
         !residual && Info(step.output).dtype != DType::kS32;
}

Status Lowering::LowerGroup(const passes::FusedStep& group) {
  const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
  for (const ir::TensorId input : GroupInputs(group)) {
    if (Info(input).is_constant()) PlaceConstant(input, Info(step.output).shape);
  }
  if (MapOf(group.output).selection()) return {};  // its readers find the channels
  if (const auto* conv = std::get_if<ir::Conv>(&step.op)) {
    return OnVectorUnit(step, group.residual >= 0) ? LowerWindow(group) : LowerConv(group, *conv);
  }
  if (const auto* gemm = std::get_if<ir::Gemm>(&step.op)) return LowerGemm(group, *gemm);
  if (std::holds_alternative<ir::MaxPool>(step.op) ||
      std::holds_alternative<ir::AveragePool>(step.op) ||
      std::holds_alternative<ir::GlobalAveragePool>(step.op))
    return LowerWindow(group);
  if (std::holds_alternative<ir::Table>(step.op) || std::holds_alternative<ir::Add>(step.op) ||
      std::holds_alternative<ir::Mul>(step.op) || std::holds_alternative<ir::Affine>(step.op)) {
    return LowerElementwise(group);
  }
  const auto mapped = [&](ir::TensorId id) { return !MapOf(id).plain(); };
  const bool moves = group.shuffle_groups > 0 || std::holds_alternative<ir::Concat>(step.op) ||
                     std::holds_alternative<ir::Slice>(step.op);
  if (moves &&
      (mapped(group.output) || std::any_of(step.inputs.begin(), step.inputs.end(), mapped)))
    return LowerChannelMap(step.inputs, MovesOf(group), group.output);
  if (group.shuffle_groups > 0) return LowerShuffle(group);
  if (const auto* concat = std::get_if<ir::Concat>(&step.op)) return LowerConcat(group, *concat);
  if (const auto* slice = std::get_if<ir::Slice>(&step.op)) return LowerSlice(group, *slice);
  if (const auto* pad = std::get_if<ir::Pad>(&step.op)) return LowerPad(step, *pad);
  if (const auto* resize = std::get_if<ir::ResizeNearest>(&step.op))
    return LowerResize(group, *resize);
  return Fail(ErrorCode::kInternal,
              fmt::format("step '{}' ({}) has no lowering", step.name, ir::OpName(step.op)));
}

Status Lowering::LowerSegment(const Item& item, Program& program) {
  places_ = home_;
  banks_ = BankAllocator(arch_.banks);
  emitted_.clear();
  next_entry_.fill(0);
  FindLifetimes(item.groups);
  const int first_layer = static_cast<int>(program.layers.size());
  for (size_t position = 0; position < item.groups.size(); ++position) {
    const passes::FusedStep& group = groups_[item.groups[position]];
    if (MovesNothing(group)) continue;
    Layer layer;
    layer.name = graph_.steps[static_cast<size_t>(group.main)].name;
    for (const int index : group.Steps()) {
      const ir::Step& step = graph_.steps[static_cast<size_t>(index)];
      layer.nodes.insert(layer.nodes.end(), step.nodes.begin(), step.nodes.end());
      layer.steps.push_back(step_of_[static_cast<size_t>(index)]);
      layer.macs += ir::MacCount(graph_, step);
    }
    layer_ = static_cast<int>(program.layers.size());
    if (layer_ > 4095)
      return Fail(ErrorCode::kProgram, "the model has more than 4096 layers on the device");
    group_step_ = layer.steps.back();
    program.layers.push_back(std::move(layer));
    if (Status status = LowerGroup(group); !status) return status;
    ReleaseAfter(static_cast<int>(position));
    banks_.NextStep();
  }

  std::vector<isa::Operation> operations;
  for (const Emitted& emitted : emitted_) operations.push_back(emitted.op);
  OCTILE_ASSIGN_OR_RETURN(ScheduledProgram scheduled, Schedule(std::move(operations), config_));
  PlanItem plan;
  plan.kind = PlanKind::kDevice;
  while (program.instructions.size() % 4 != 0)
    program.instructions.push_back(isa::Encode(isa::End{}));
  plan.first = static_cast<int64_t>(program.instructions.size());
  plan.count = static_cast<int64_t>(scheduled.operations.size());
  plan.name = fmt::format("device segment, layers {}..{}", first_layer, program.layers.size() - 1);
  for (size_t i = 0; i < scheduled.operations.size(); ++i) {
    const int source = scheduled.source[i];
    if (source >= 0 && emitted_[static_cast<size_t>(source)].observation) {
      Observation observation = *emitted_[static_cast<size_t>(source)].observation;
      observation.instruction = static_cast<int32_t>(program.instructions.size());
      program.observations.push_back(observation);
    }
    program.instructions.push_back(isa::Encode(scheduled.operations[i]));
  }
  estimated_cycles_ += static_cast<uint64_t>(scheduled.estimated_cycles);
  std::set<ir::TensorId> read, written;
  for (const size_t g : item.groups) {
    plan.steps.push_back(step_of_[static_cast<size_t>(groups_[g].main)]);
    for (const ir::TensorId input : GroupInputs(groups_[g])) {
      const ir::TensorId source = Source(input);
      if (!Info(source).is_constant() && home_[static_cast<size_t>(source)].in_memory &&
          !written.contains(source))
        read.insert(source);
    }
    // What only shares the place of another tensor is written by the maker of that one.
    const ir::TensorId output = Root(groups_[g].output);
    if (home_[static_cast<size_t>(output)].in_memory && !MovesNothing(groups_[g]))
      written.insert(output);
  }
  std::erase_if(read, [&](ir::TensorId id) { return written.contains(id); });
  for (const ir::TensorId id : read) {
    const std::optional<InputView>& view = input_views_[static_cast<size_t>(id)];
    plan.inputs.push_back(Info(view ? view->source : id).name);
  }
  for (const ir::TensorId id : written) plan.outputs.push_back(Info(id).name);
  program.plan.push_back(std::move(plan));
  return {};
}

TensorDescriptor Lowering::Describe(ir::TensorId id) const {
  const ir::TensorInfo& info = Info(id);
  const Place& place = home_[static_cast<size_t>(Source(id))];
  TensorDescriptor d;
  d.name = info.name;
  d.dtype = info.dtype;
  d.shape = info.shape;
  d.quantized = info.quant.has_value();
  if (info.quant) {
    d.scale = info.quant->scale;
    d.zero_point = info.quant->zero_point;
  }
  d.role = place.region == kInputRegion    ? TensorRole::kInput
           : place.region == kOutputRegion ? TensorRole::kOutput
                                           : TensorRole::kIntermediate;
  d.region = place.region;
  d.offset = static_cast<uint64_t>(place.offset);
  d.layout = place.plain ? Layout::kPlain : Layout::kBlocked;
  d.graph_tensor = id;
  const int64_t element = place.vectors_per_pixel;  // bytes of an element
  const bool lazy = Source(id) != Root(id);
  const Form& form = FormAt(lazy ? Source(id) : id);
  if (form.channels_last) {
    // Pixels are the outermost dimension of the tensor.
    d.images = form.w;
    d.channels = form.c;
    d.image_pitch = n_ * element;
    d.block_pitch = form.w * n_ * element;
  } else {
    d.channels = form.c;
    d.rows = form.h;
    d.columns = form.w;
    d.block_pitch = place.plain ? form.pixels() : form.pixels() * n_ * element;
    d.row_pitch = place.plain ? form.w : form.w * n_ * element;
  }
  if (host_views_[static_cast<size_t>(id)]) DescribeView(id, d);
  if (const std::optional<InputView>& view = input_views_[static_cast<size_t>(id)])
    DescribeInputView(*view, d);
  return d;
}

Expected<Program> Lowering::Assemble(const ir::Graph& imported) {
  Program program;
  program.producer = "octile 0.1.0";
  program.config = config_.name;
  program.arch = arch_;
  program.model = options_.model_name;
  const std::vector<int32_t> imported_producers = ir::Producers(imported);
  for (const ir::Step& step : graph_.steps)
    step_of_.push_back(imported_producers[static_cast<size_t>(step.output)]);

  for (const Item& item : items_) {
    if (item.device) {
      OCTILE_RETURN_IF_ERROR(LowerSegment(item, program));
      continue;
    }
    const passes::FusedStep& group = groups_[item.groups[0]];
    const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
    PlanItem plan;
    const bool edge = std::holds_alternative<ir::Quantize>(step.op) ||
                      std::holds_alternative<ir::Dequantize>(step.op);
    plan.kind = edge ? PlanKind::kEdge : PlanKind::kHost;
    plan.name = fmt::format("{} '{}'", ir::OpName(step.op), step.name);
    plan.reason = *host_reason_[item.groups[0]];
    // Every imported step between the inputs of the group and its output.
    std::set<ir::TensorId> have;
    for (const ir::TensorId input : GroupInputs(group)) {
      have.insert(input);
      if (!Info(input).is_constant()) plan.inputs.push_back(Info(input).name);
    }
    std::vector<int32_t> steps;
    std::vector<ir::TensorId> want = {group.output};
    while (!want.empty()) {
      const ir::TensorId id = want.back();
      want.pop_back();
      if (have.contains(id) || imported.tensor(id).is_constant()) continue;
      have.insert(id);
      const int32_t producer = imported_producers[static_cast<size_t>(id)];
      if (producer < 0) continue;
      steps.push_back(producer);
      for (const ir::TensorId input : imported.steps[static_cast<size_t>(producer)].inputs)
        want.push_back(input);
    }
    std::sort(steps.begin(), steps.end());
    plan.steps = std::move(steps);
    plan.outputs = {Info(group.output).name};
    program.plan.push_back(std::move(plan));
  }

  // Descriptors of everything that crosses between host and device, once per name.
  std::set<ir::TensorId> described;
  const auto describe = [&](ir::TensorId id) {
    if (home_[static_cast<size_t>(Source(id))].in_memory && !Info(id).is_constant() &&
        described.insert(id).second) {
      program.tensors.push_back(Describe(id));
    }
  };
  for (size_t t = 0; t < graph_.tensors.size(); ++t) {
    const auto id = static_cast<ir::TensorId>(t);
    if (Root(id) == id && home_[t].in_memory) describe(id);
  }
  for (const Item& item : items_) {
    if (item.device) continue;
    for (const ir::TensorId input : GroupInputs(groups_[item.groups[0]])) describe(input);
  }
  for (const ir::Output& output : graph_.outputs) describe(output.tensor);

  program.channel_maps = channel_maps_;
  program.estimated_cycles = estimated_cycles_;
  std::vector<uint8_t> code;
  const auto region = [&](RegionKind kind, const char* name, int64_t size, bool read, bool write,
                          bool execute, std::vector<uint8_t> data) {
    program.regions.push_back({kind, name,
                               static_cast<uint64_t>(std::max<int64_t>(AlignUp(size), kAlignment)),
                               read, write, execute, std::move(data)});
  };
  for (const auto bytes :
       {static_cast<int64_t>(constants_.size()), input_bytes_, output_bytes_, scratch_bytes_}) {
    if (bytes >= int64_t{1} << 32)
      return Fail(ErrorCode::kProgram, "a memory region of the program would exceed 4 GiB");
  }
  region(RegionKind::kProgram, "program",
         static_cast<int64_t>(program.instructions.size()) * isa::kInstructionBytes, false, false,
         true, {});
  const auto constant_bytes = static_cast<int64_t>(constants_.size());
  region(RegionKind::kConstants, "constants", constant_bytes, true, false, false,
         std::move(constants_));
  region(RegionKind::kInputs, "inputs", input_bytes_, true, false, false, {});
  region(RegionKind::kOutputs, "outputs", output_bytes_, true, true, false, {});
  region(RegionKind::kScratch, "scratch", scratch_bytes_, true, true, false, {});
  const std::string text = ir::PrintText(imported);
  program.graph.assign(text.begin(), text.end());
  return program;
}

Expected<Program> Lowering::Run(const ir::Graph& imported) {
  OCTILE_RETURN_IF_ERROR(MakePlan());
  OCTILE_RETURN_IF_ERROR(AssignMemory());
  return Assemble(imported);
}

Expected<Program> Compile(const ir::Graph& imported, const Config& config,
                          const CompileOptions& options) {
  ir::Graph graph = imported;
  OCTILE_RETURN_IF_ERROR(passes::RunPasses(graph, passes::DefaultPipeline()));
  OCTILE_ASSIGN_OR_RETURN(Program program, Lowering(graph, config, options).Run(imported));
  OCTILE_RETURN_IF_ERROR(ValidateProgram(program));
  return program;
}

}  // namespace octile::codegen
