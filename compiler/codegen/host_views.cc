// Data movement between a device result and the host: not a step, but the order in which the host
// reads the result (docs/compiler.md, "Views of the host").
#include <algorithm>

#include "lowering.h"

namespace octile::codegen {
namespace {

// The axes of each dimension of `shape`, cutting axes where a dimension begins inside one. nullopt
// if an axis straddles a dimension in parts that do not divide it.
std::optional<std::vector<std::vector<ViewAxis>>> AxesByDimension(std::vector<ViewAxis> axes,
                                                                  const Shape& shape) {
  std::vector<std::vector<ViewAxis>> result;
  size_t next = 0;
  for (const int64_t dimension : shape) {
    std::vector<ViewAxis>& own = result.emplace_back();
    int64_t rest = dimension;
    while (next < axes.size() && (rest > 1 || axes[next].extent == 1)) {
      ViewAxis& axis = axes[next];
      if (rest % axis.extent == 0) {
        rest /= axis.extent;
        own.push_back(axis);
        ++next;
        continue;
      }
      if (axis.extent % rest != 0) return std::nullopt;
      const int64_t inner = axis.extent / rest;
      own.push_back({rest, axis.coordinate, axis.first, axis.step * inner});
      axis.extent = inner;
      axis.first = 0;
      rest = 1;
    }
    if (rest != 1) return std::nullopt;
  }
  return result;
}

// The order of a tensor that lies in the given form.
std::vector<ViewAxis> Whole(const Form& form) {
  if (form.channels_last) {
    return {{form.w, ViewCoordinate::kImage, 0, 1}, {form.c, ViewCoordinate::kChannel, 0, 1}};
  }
  return {{form.c, ViewCoordinate::kChannel, 0, 1},
          {form.h, ViewCoordinate::kRow, 0, 1},
          {form.w, ViewCoordinate::kColumn, 0, 1}};
}

// The order behind a step of pure movement; nullopt if axes cannot state it.
std::optional<std::vector<ViewAxis>> Move(const ir::Step& step, const std::vector<ViewAxis>& axes,
                                          const Shape& from, const Shape& to) {
  if (std::holds_alternative<ir::Reshape>(step.op)) return axes;  // keeps the order
  const auto* transpose = std::get_if<ir::Transpose>(&step.op);
  const auto* slice = std::get_if<ir::Slice>(&step.op);
  if (transpose == nullptr && slice == nullptr) return std::nullopt;
  auto by_dimension = AxesByDimension(axes, from);
  if (!by_dimension) return std::nullopt;
  std::vector<ViewAxis> result;
  for (size_t i = 0; i < from.size(); ++i) {
    const size_t d = transpose != nullptr ? static_cast<size_t>(transpose->perm[i]) : i;
    std::vector<ViewAxis>& own = (*by_dimension)[d];
    if (slice != nullptr && (slice->starts[d] != 0 || slice->steps[d] != 1 || to[d] != from[d])) {
      if (own.size() != 1 || slice->steps[d] < 1) return std::nullopt;
      own[0].first += slice->starts[d] * own[0].step;
      own[0].step *= slice->steps[d];
      own[0].extent = to[d];
    }
    result.insert(result.end(), own.begin(), own.end());
  }
  return result;
}

// The order in front of a Reshape or Transpose, of which `axes` is the order behind it.
std::optional<std::vector<ViewAxis>> MoveBack(const ir::Step& step,
                                              const std::vector<ViewAxis>& axes, const Shape& to) {
  if (std::holds_alternative<ir::Reshape>(step.op)) return axes;
  const auto* transpose = std::get_if<ir::Transpose>(&step.op);
  if (transpose == nullptr) return std::nullopt;
  const auto by_dimension = AxesByDimension(axes, to);
  if (!by_dimension) return std::nullopt;
  std::vector<size_t> position(to.size());  // of the input's dimensions in the output
  for (size_t i = 0; i < to.size(); ++i) position[static_cast<size_t>(transpose->perm[i])] = i;
  std::vector<ViewAxis> result;
  for (const size_t i : position)
    result.insert(result.end(), (*by_dimension)[i].begin(), (*by_dimension)[i].end());
  return result;
}

}  // namespace

void Lowering::FindHostViews() {
  host_views_.assign(graph_.tensors.size(), std::nullopt);
  is_host_view_.assign(groups_.size(), false);
  std::vector<bool> device_makes(graph_.tensors.size(), false);
  std::vector<bool> device_reads(graph_.tensors.size(), false);
  for (size_t g = 0; g < groups_.size(); ++g) {
    if (host_reason_[g]) continue;
    device_makes[static_cast<size_t>(groups_[g].output)] = true;
    for (const ir::TensorId input : GroupInputs(groups_[g]))
      device_reads[static_cast<size_t>(input)] = true;
  }
  for (size_t g = 0; g < groups_.size(); ++g) {
    const passes::FusedStep& group = groups_[g];
    const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
    const auto output = static_cast<size_t>(step.output);
    if (!host_reason_[g] || !step.device_capable() || group.output != step.output ||
        !Info(step.output).is_code() || device_reads[output])
      continue;
    const ir::TensorId input = step.inputs[0];
    std::optional<std::vector<ViewAxis>> axes = host_views_[static_cast<size_t>(input)];
    if (!axes) {
      const ir::TensorId source = Source(input);
      if (!device_makes[static_cast<size_t>(source)] || !form_[static_cast<size_t>(source)])
        continue;
      axes = Whole(FormAt(source));
    }
    axes = Move(step, *axes, Info(input).shape, Info(step.output).shape);
    if (!axes || axes->size() > kMostViewAxes) continue;
    host_views_[output] = std::move(axes);
    is_host_view_[g] = true;
    lazy_[static_cast<size_t>(group.main)] = true;
  }
}

void Lowering::FindInputViews() {
  input_views_.assign(graph_.tensors.size(), std::nullopt);
  const std::vector<std::vector<int32_t>> consumers = ir::Consumers(graph_);
  std::vector<size_t> group_of(graph_.steps.size(), 0);  // of its main step
  std::vector<int> device_readers(graph_.tensors.size(), 0);
  std::vector<bool> visible(graph_.tensors.size(), false);
  for (const ir::Output& output : graph_.outputs)
    visible[static_cast<size_t>(output.tensor)] = true;
  for (size_t g = 0; g < groups_.size(); ++g) {
    group_of[static_cast<size_t>(groups_[g].main)] = g;
    if (host_reason_[g]) continue;
    for (const ir::TensorId input : GroupInputs(groups_[g]))
      ++device_readers[static_cast<size_t>(input)];
  }
  std::vector<bool> taken(graph_.tensors.size(), false);
  for (size_t t = 0; t < graph_.tensors.size(); ++t) {
    const auto id = static_cast<ir::TensorId>(t);
    // Only the device reads the tensor, and every use of it is one of a group's inputs.
    if (device_readers[t] == 0 || visible[t] || Root(id) != id || !form_[t] ||
        form_[t]->channels_last || device_readers[t] != static_cast<int>(consumers[t].size()))
      continue;
    std::optional<std::vector<ViewAxis>> axes = Whole(*form_[t]);
    std::vector<size_t> chain;
    ir::TensorId from = id;
    while (axes) {
      const int32_t maker = producers_[static_cast<size_t>(from)];
      if (maker < 0 ||
          std::holds_alternative<ir::Quantize>(graph_.steps[static_cast<size_t>(maker)].op))
        break;
      const ir::Step& step = graph_.steps[static_cast<size_t>(maker)];
      const size_t g = group_of[static_cast<size_t>(maker)];
      const bool pure = groups_[g].main == maker && groups_[g].output == step.output &&
                        host_reason_[g] && !is_host_view_[g] && step.device_capable();
      const bool inner = from == id || (consumers[static_cast<size_t>(from)].size() == 1 &&
                                        !visible[static_cast<size_t>(from)]);
      axes = pure && inner ? MoveBack(step, *axes, Info(from).shape) : std::nullopt;
      chain.push_back(g);
      from = step.inputs[0];
    }
    const auto source = static_cast<size_t>(from);
    if (!axes || chain.empty() || Info(from).is_constant() || !Info(from).is_code() ||
        device_readers[source] > 0 || taken[source] || axes->size() > kMostViewAxes)
      continue;
    taken[source] = true;
    input_views_[t] = InputView{from, std::move(*axes)};
    for (const size_t g : chain) is_host_view_[g] = true;
  }
}

void Lowering::DescribeInputView(const InputView& view, TensorDescriptor& d) const {
  d.name = Info(view.source).name;
  d.shape = Info(view.source).shape;
  d.graph_tensor = view.source;
  d.view = view.axes;
}

void Lowering::DescribeView(ir::TensorId id, TensorDescriptor& d) const {
  std::vector<ViewAxis> axes = *host_views_[static_cast<size_t>(id)];
  std::vector<ViewAxis> whole = Whole(FormAt(Source(id)));
  const auto drop_single = [](std::vector<ViewAxis>& all) {
    std::erase_if(all, [](const ViewAxis& axis) { return axis.extent == 1 && axis.first == 0; });
  };
  drop_single(axes);
  drop_single(whole);
  if (axes == whole) return;  // it is read as it lies
  if (axes.empty()) axes.push_back({});
  d.view = std::move(axes);
}

}  // namespace octile::codegen
