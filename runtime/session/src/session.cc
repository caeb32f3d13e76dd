#include "octile/session/session.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <unordered_map>

#include "octile/numerics/bulk.h"
#include "octile/reference/reference.h"

namespace octile::session {
namespace {

// Channels, rows and columns of a tensor as the device sees it, and where an element lies in
// row-major order.
struct ImageForm {
  int64_t c = 1, h = 1, w = 1;
  bool channels_last = false;
  ImageForm(const Shape& shape, bool planar) {
    if (planar) {
      c = shape[1], w = shape[2];
      return;
    }
    if (shape.size() == 4) {
      c = shape[1], h = shape[2], w = shape[3];
      return;
    }
    if (shape.empty()) return;
    c = shape.back();
    w = ElementCount(shape) / c;
    channels_last = true;
  }
  int64_t Flat(int64_t channel, int64_t y, int64_t x) const {
    return channel * ChannelStep() + (channels_last ? 0 : y * w) + x * ColumnStep();
  }
  int64_t ChannelStep() const { return channels_last ? 1 : h * w; }
  int64_t ColumnStep() const { return channels_last ? c : 1; }
};

// Where the data of each position (block, row, column; in this order) of an instruction's results
// begins, in vectors. The vector unit makes the results of WIN in an order of its own
// (docs/timing.md section 8), so those are found by their addresses; the others come in this order.
// Empty: an address is missing.
std::vector<size_t> ResultOrder(const isa::Instruction& instruction,
                                std::span<const uint32_t> addresses) {
  std::vector<size_t> order(addresses.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto operation = isa::Decode(instruction);
  const auto* win = operation ? std::get_if<isa::Win>(&*operation) : nullptr;
  if (win == nullptr) return order;
  std::unordered_map<uint32_t, size_t> at;
  for (size_t i = 0; i < addresses.size(); ++i) at[addresses[i]] = i;
  size_t position = 0;
  for (int block = 0; block < win->blocks; ++block) {
    auto row = static_cast<uint32_t>(win->out_row0);
    for (int oy = 0; oy < win->mh; ++oy) {
      for (int ox = 0; ox < win->mw; ++ox, ++position) {
        const auto address = static_cast<uint32_t>(
            (int64_t{win->out_addr} + row + int64_t{block} * win->out_blk_stride + ox) & 0xffff);
        const auto found = at.find(address);
        if (found == at.end() || position >= order.size()) return {};
        order[position] = found->second;
      }
      row += static_cast<uint32_t>(win->out_row_step);
      if (win->out_wrap != 0 && row >= static_cast<uint32_t>(win->out_wrap))
        row -= static_cast<uint32_t>(win->out_wrap);
      row &= 0xffff;
    }
  }
  return order;
}

std::vector<int64_t> IndexOf(const Shape& shape, int64_t flat) {
  std::vector<int64_t> index(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    index[d] = flat % shape[d];
    flat /= shape[d];
  }
  return index;
}

std::string ValueText(const Tensor& tensor, int64_t flat) {
  const auto i = static_cast<size_t>(flat);
  switch (tensor.dtype) {
    case DType::kU8:
      return std::to_string(tensor.data<uint8_t>()[i]);
    case DType::kS8:
      return std::to_string(tensor.data<int8_t>()[i]);
    case DType::kS32:
      return std::to_string(tensor.data<int32_t>()[i]);
    case DType::kF32:
      return fmt::format("{}", tensor.data<float>()[i]);
    default:
      return "?";
  }
}

void TransferView(const TensorDescriptor& d, int n, std::span<uint8_t> memory, Tensor& tensor,
                  bool to_device);

// Copies between a host tensor and its place in a region.
void Transfer(const TensorDescriptor& d, int n, std::span<uint8_t> memory, Tensor& tensor,
              bool to_device) {
  if (!d.view.empty()) return TransferView(d, n, memory, tensor, to_device);
  const auto element = static_cast<size_t>(DTypeSize(d.dtype));
  // Columns are equally far apart.
  const size_t step = d.columns > 1 ? d.address(n, 0, 0, 0, 1) - d.address(n, 0, 0, 0, 0) : 0;
  uint8_t* host = tensor.bytes.data();
  for (int64_t i = 0; i < d.images; ++i) {
    for (int64_t c = 0; c < d.channels; ++c) {
      for (int64_t y = 0; y < d.rows; ++y) {
        uint8_t* device = memory.data() + d.address(n, i, c, y, 0);
        for (int64_t x = 0; x < d.columns; ++x, device += step, host += element) {
          std::copy_n(to_device ? host : device, element, to_device ? device : host);
        }
      }
    }
  }
}

// The same for a view: its elements in row-major order, wherever they lie.
void TransferView(const TensorDescriptor& d, int n, std::span<uint8_t> memory, Tensor& tensor,
                  bool to_device) {
  const auto element = static_cast<size_t>(DTypeSize(d.dtype));
  // Bytes from an index of a coordinate to the next; channels are not equally far apart.
  const std::array<uint64_t, 4> pitch = {d.address(n, 1, 0, 0, 0) - d.offset, 0,
                                         d.address(n, 0, 0, 1, 0) - d.offset,
                                         d.address(n, 0, 0, 0, 1) - d.offset};
  const auto channel_address = [&](uint64_t c) {
    return d.address(n, 0, static_cast<int64_t>(c), 0, 0) - d.offset;
  };
  // A table of them, where it is not larger than the tensor.
  std::vector<uint64_t> channels;
  if (static_cast<uint64_t>(d.channels) <= tensor.bytes.size() / element) {
    channels.resize(static_cast<size_t>(d.channels));
    for (size_t c = 0; c < channels.size(); ++c) channels[c] = channel_address(c);
  }
  const auto channel_at = [&](uint64_t c) {
    return channels.empty() ? channel_address(c) : channels[c];
  };
  uint8_t* host = tensor.bytes.data();
  const auto copy = [&](uint64_t address) {
    uint8_t* device = memory.data() + address;
    std::copy_n(to_device ? host : device, element, to_device ? device : host);
    host += element;
  };
  // base: address without the channel.
  const auto walk = [&](const auto& self, size_t depth, uint64_t base, uint64_t channel) -> void {
    const ViewAxis& axis = d.view[depth];
    const auto first = static_cast<uint64_t>(axis.first), step = static_cast<uint64_t>(axis.step);
    const auto extent = static_cast<uint64_t>(axis.extent);
    const bool innermost = depth + 1 == d.view.size();
    if (axis.coordinate == ViewCoordinate::kChannel) {
      for (uint64_t j = 0, c = channel + first; j < extent; ++j, c += step) {
        if (innermost) {
          copy(base + channel_at(c));
        } else {
          self(self, depth + 1, base, c);
        }
      }
      return;
    }
    const uint64_t bytes = pitch[static_cast<size_t>(axis.coordinate)];
    uint64_t at = base + first * bytes;
    for (uint64_t j = 0; j < extent; ++j, at += step * bytes) {
      if (innermost) {
        copy(at + channel_at(channel));
      } else {
        self(self, depth + 1, at, channel);
      }
    }
  };
  walk(walk, 0, d.offset, 0);
}

// The first element in which an observed or read tensor differs.
struct Difference {
  int64_t step = INT64_MAX;
  int64_t flat = INT64_MAX;
  std::string actual;
  int64_t count = 0;
};

class DeviceRun {
 public:
  DeviceRun(const Program& program, const ir::Graph& graph, const Config& config,
            const Options& options, DeviceResult& result)
      : program_(program),
        graph_(graph),
        config_(config),
        options_(options),
        result_(result),
        n_(program.arch.n) {
    for (size_t t = 0; t < graph.tensors.size(); ++t)
      tensor_ids_[graph.tensors[t].name] = static_cast<ir::TensorId>(t);
    for (const TensorDescriptor& d : program.tensors) descriptors_[d.name] = &d;
  }

  // A program from a file is checked on its own when it is read; here, whether it fits its graph.
  Status CheckProgram() const {
    const auto damaged = [](std::string what) {
      return Fail(ErrorCode::kProgram,
                  what + ": the program file is damaged; compile the model again");
    };
    const auto inside = [&](const std::vector<int32_t>& steps) {
      return std::all_of(steps.begin(), steps.end(), [&](int32_t step) {
        return step >= 0 && static_cast<size_t>(step) < graph_.steps.size();
      });
    };
    for (const PlanItem& item : program_.plan)
      if (!inside(item.steps))
        return damaged(
            fmt::format("'{}' of the plan names a step that the graph does not have", item.name));
    for (const Layer& layer : program_.layers)
      if (!inside(layer.steps))
        return damaged(
            fmt::format("layer '{}' names a step that the graph does not have", layer.name));
    for (const TensorDescriptor& d : program_.tensors) {
      const auto id = tensor_ids_.find(d.name);
      if (id == tensor_ids_.end()) continue;  // a view under a name of its own
      const ir::TensorInfo& info = graph_.tensor(id->second);
      if (d.dtype != info.dtype || d.shape != info.shape)
        return damaged(
            fmt::format("tensor '{}' has another type or shape than in the graph", d.name));
    }
    return CheckObservations();
  }

  // A program from a file may promise observations that its graph does not have.
  Status CheckObservations() const {
    std::vector<int64_t> channels;  // by map: one more than the greatest channel in it
    for (const std::vector<int32_t>& map : program_.channel_maps)
      channels.push_back(int64_t{*std::max_element(map.begin(), map.end())} + 1);
    for (size_t i = 0; i < program_.observations.size(); ++i) {
      const Observation& o = program_.observations[i];
      bool inside = o.step >= 0 && static_cast<size_t>(o.step) < graph_.steps.size();
      if (inside) {
        const Shape& shape = graph_.tensor(graph_.steps[static_cast<size_t>(o.step)].output).shape;
        inside = o.planar ? shape.size() == 3 && shape[0] == 1 : shape.size() != 4 || shape[0] == 1;
        if (inside) {
          const ImageForm form(shape, o.planar);
          inside = (o.map >= 0 ? channels[static_cast<size_t>(o.map)] <= form.c
                               : int64_t{o.block} * n_ + o.channels <= form.c) &&
                   int64_t{o.blocks} * n_ >= o.channels &&
                   o.y0 + (int64_t{o.rows} - 1) * o.y_step < form.h &&
                   o.x0 + (int64_t{o.columns} - 1) * o.x_step < form.w;
        }
      }
      if (!inside) {
        return Fail(ErrorCode::kProgram,
                    fmt::format("observation {} lies outside the step's tensor: the program file "
                                "is damaged; compile the model again",
                                i));
      }
    }
    return {};
  }

  Status Open(const std::string& name) {
    OCTILE_RETURN_IF_ERROR(CheckProgram());
    // A model without work for the device (all of it on the host, or outputs that are inputs) has
    // no job to run.
    if (std::none_of(program_.plan.begin(), program_.plan.end(),
                     [](const PlanItem& item) { return item.kind == PlanKind::kDevice; }))
      return {};
    const size_t mark = name.find('?');
    std::string uri = name.substr(0, mark) + ":" + driver::EscapeUri(config_.name);
    std::string query = mark == std::string::npos ? "" : name.substr(mark + 1);
    if (name.substr(0, mark) != "iss") {
      // The platform part of the configuration may have been changed on the command line.
      for (const std::string& setting : PlatformSettings())
        query.append(query.empty() ? "" : "&").append(setting);
    }
    if (options_.timing_only) query.append(query.empty() ? "" : "&").append("timing_only=1");
    if (!query.empty()) uri += "?" + query;
    driver::Result<driver::Device> device = driver::Device::Open(uri);
    if (!device) return Failed(device.error());
    device_ = std::move(*device);
    result_.cycle_exact = device_.capabilities().cycle_exact;
    driver::Result<driver::ProgramHandle> handle = device_.Load(program_);
    if (!handle) return Failed(handle.error());
    handle_ = std::move(*handle);
    return {};
  }

  // Runs the plan for one image; `values` holds the graph inputs by tensor name.
  Status RunImage(std::map<std::string, Tensor> values, const reference::Evaluation& expected,
                  int64_t image) {
    size_t segment = 0;
    Difference first;
    for (const PlanItem& item : program_.plan) {
      if (item.kind == PlanKind::kDevice) {
        OCTILE_RETURN_IF_ERROR(RunSegment(item, values, expected, image, segment++, first));
      } else {
        OCTILE_RETURN_IF_ERROR(RunHostSteps(item, values));
      }
    }
    for (size_t o = 0; o < graph_.outputs.size(); ++o) {
      const ir::TensorInfo& info = graph_.tensor(graph_.outputs[o].tensor);
      Tensor value;
      if (info.is_constant()) {
        value = reference::ConstantTensor(info);
      } else if (const auto it = values.find(info.name); it != values.end()) {
        value = it->second;
      } else {
        return Fail(ErrorCode::kProgram,
                    fmt::format("the plan does not compute output '{}'", graph_.outputs[o].name));
      }
      // The output counts as a step behind all others; a difference in it alone is a fault of a
      // host step or of the store.
      Compare(expected.outputs[o], value, static_cast<int64_t>(graph_.steps.size() + o), first);
      Tensor& all = result_.outputs[graph_.outputs[o].name];
      if (image == 0) all = Tensor(value.dtype, value.shape), all.bytes.clear();
      all.bytes.insert(all.bytes.end(), value.bytes.begin(), value.bytes.end());
    }
    result_.compared = true;
    if (first.step != INT64_MAX && !result_.mismatch)
      result_.mismatch = Explain(first, expected, image);
    return {};
  }

  // Runs the device's part of the plan for its cycles alone.
  Status RunTiming() {
    for (const PlanItem& item : program_.plan) {
      if (item.kind != PlanKind::kDevice) continue;
      OCTILE_RETURN_IF_ERROR(RunJob(item, true));
    }
    return {};
  }

  void Close() {
    if (!opened()) return;
    (void)device_.Close(driver::Deadline::After(std::chrono::seconds(10)));
  }

 private:
  bool opened() const { return handle_.valid(); }

  std::vector<std::string> PlatformSettings() const {
    std::vector<std::string> settings;
    std::string text = PlatformText(config_.platform);
    size_t begin = 0;
    while (begin < text.size()) {
      const size_t end = std::min(text.find(' ', begin), text.size());
      settings.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    return settings;
  }

  tl::unexpected<Error> Failed(const driver::Error& error) {
    const octile::Error converted = driver::AsOctileError(error);
    return Fail(converted.code, converted.message);
  }

  Expected<Tensor*> Value(const std::string& name, std::map<std::string, Tensor>& values) {
    if (const auto it = values.find(name); it != values.end()) return &it->second;
    const auto id = tensor_ids_.find(name);
    if (id != tensor_ids_.end() && graph_.tensor(id->second).is_constant()) {
      return &(values[name] = reference::ConstantTensor(graph_.tensor(id->second)));
    }
    // A tensor that lies in device memory under a name of its own (a reshaped view).
    if (const auto d = descriptors_.find(name); d != descriptors_.end() && d->second->region != 2) {
      OCTILE_RETURN_IF_ERROR(ReadTensor(*d->second, values));
      return &values[name];
    }
    return Fail(ErrorCode::kProgram,
                fmt::format("the plan reads tensor '{}' before it is computed", name));
  }

  Status ReadTensor(const TensorDescriptor& d, std::map<std::string, Tensor>& values) {
    driver::Result<driver::Buffer> buffer = handle_.region(d.region);
    if (!buffer) return Failed(buffer.error());
    if (auto sync = buffer->SyncFromDevice(0, buffer->bytes()); !sync) return Failed(sync.error());
    driver::Result<std::span<uint8_t>> memory = buffer->Map();
    if (!memory) return Failed(memory.error());
    Tensor tensor(d.dtype, d.shape);
    Transfer(d, n_, *memory, tensor, false);
    values[d.name] = std::move(tensor);
    return {};
  }

  Status RunSegment(const PlanItem& item, std::map<std::string, Tensor>& values,
                    const reference::Evaluation& expected, int64_t image, size_t segment,
                    Difference& first) {
    for (const std::string& name : item.inputs) {
      const auto it = descriptors_.find(name);
      if (it == descriptors_.end())
        return Fail(ErrorCode::kProgram,
                    fmt::format("tensor '{}' of the plan has no descriptor", name));
      const TensorDescriptor& d = *it->second;
      if (d.region != 2) continue;  // an earlier segment left it in device memory
      OCTILE_ASSIGN_OR_RETURN(Tensor * value, Value(name, values));
      driver::Result<driver::Buffer> buffer = handle_.region(d.region);
      if (!buffer) return Failed(buffer.error());
      driver::Result<std::span<uint8_t>> memory = buffer->Map();
      if (!memory) return Failed(memory.error());
      Transfer(d, n_, *memory, *value, true);
      if (auto sync = buffer->SyncToDevice(0, buffer->bytes()); !sync) return Failed(sync.error());
    }
    // Outputs are poisoned, so that a job that writes nothing cannot look like one that succeeded.
    if (driver::Result<driver::Buffer> outputs = handle_.region(3); outputs && segment == 0) {
      if (auto filled = outputs->Fill(0xa5); !filled) return Failed(filled.error());
    }
    OCTILE_ASSIGN_OR_RETURN(const driver::Observations observations, RunJob(item, image == 0));
    CompareObservations(item, observations, expected, first);
    for (const std::string& name : item.outputs) {
      const auto it = descriptors_.find(name);
      if (it == descriptors_.end()) continue;
      OCTILE_RETURN_IF_ERROR(ReadTensor(*it->second, values));
      // What reached memory must be right too, not only what left the units.
      CompareTensor(name, values, expected, first);
    }
    // Views of device tensors under other names must be read again.
    for (const TensorDescriptor& d : program_.tensors) {
      if (d.region != 2 &&
          std::find(item.outputs.begin(), item.outputs.end(), d.name) == item.outputs.end() &&
          !d.shape.empty()) {
        const auto shared = std::find_if(
            program_.tensors.begin(), program_.tensors.end(), [&](const TensorDescriptor& other) {
              return &other != &d && other.region == d.region && other.offset == d.offset &&
                     std::find(item.outputs.begin(), item.outputs.end(), other.name) !=
                         item.outputs.end();
            });
        if (shared == program_.tensors.end()) continue;
        OCTILE_RETURN_IF_ERROR(ReadTensor(d, values));
        CompareTensor(d.name, values, expected, first);
      }
    }
    return {};
  }

  void CompareTensor(const std::string& name, std::map<std::string, Tensor>& values,
                     const reference::Evaluation& expected, Difference& first) {
    const auto id = tensor_ids_.find(name);
    const int32_t step = id == tensor_ids_.end() ? -1 : StepOf(id->second);
    if (step >= 0) Compare(expected.steps[static_cast<size_t>(step)], values[name], step, first);
  }

  // One job of the plan, to its end; `collect` adds its cycles to those of the inference.
  Expected<driver::Observations> RunJob(const PlanItem& item, bool collect) {
    driver::SubmitOptions submit;
    submit.first = static_cast<uint32_t>(item.first);
    submit.count = static_cast<uint32_t>(item.count);
    submit.observe_trace = true;
    submit.observe_results = !options_.timing_only;
    driver::Result<driver::Job> job = device_.Submit(handle_, submit);
    if (!job) return Failed(job.error());
    const driver::Deadline deadline = driver::Deadline::After(options_.timeout);
    for (;;) {
      const driver::Result<void> done = job->Wait(deadline.AtMost(std::chrono::milliseconds(200)));
      if (done) break;
      if (options_.interrupted && options_.interrupted()) {
        (void)job->Cancel(driver::Deadline::After(std::chrono::seconds(5)));
        return Fail(ErrorCode::kInterrupted, "interrupted");
      }
      if (done.error().code == driver::Code::kTimeout && !deadline.passed()) continue;
      std::string message = done.error().message;
      if (const std::optional<driver::FaultReport> fault = job->fault()) {
        message += fmt::format(" (fault {} at instruction {})", isa::FaultName(fault->cause),
                               fault->instruction);
      }
      return Fail(driver::AsOctileError(done.error()).code, message);
    }
    result_.wall_seconds += std::chrono::duration<double>(job->wall_time()).count();
    driver::Result<driver::Observations> observations = job->observations();
    if (!observations) return Failed(observations.error());
    driver::Result<driver::JobCounters> counters = job->counters();
    if (!counters) return Failed(counters.error());
    if (collect) Collect(*counters, *observations);
    return std::move(*observations);
  }

  int32_t StepOf(ir::TensorId id) {
    if (producers_.empty()) producers_ = ir::Producers(graph_);
    return producers_[static_cast<size_t>(id)];
  }

  void Collect(const driver::JobCounters& counters, const driver::Observations& observations) {
    result_.cycles += counters.cycles;
    driver::JobCounters& total = result_.counters;
    total.cycles += counters.cycles;
    total.bytes_fetch += counters.bytes_fetch;
    total.bytes_prm += counters.bytes_prm;
    total.bytes_wgt += counters.bytes_wgt;
    total.bytes_act += counters.bytes_act;
    total.bytes_written += counters.bytes_written;
    total.retired += counters.retired;
    for (size_t q = 0; q < isa::kQueues; ++q) {
      for (size_t c = 0; c < isa::kClasses; ++c) total.classes[q][c] += counters.classes[q][c];
    }
    for (const driver::LayerCounters& layer : observations.layers)
      result_.layers.push_back({layer.layer, layer.cycles, layer.classes});
    result_.issue.emplace_back(observations.issue.begin(), observations.issue.end());
    result_.completion.emplace_back(observations.completion.begin(), observations.completion.end());
  }

  Status RunHostSteps(const PlanItem& item, std::map<std::string, Tensor>& values) {
    for (const int32_t index : item.steps) {
      const ir::Step& step = graph_.steps[static_cast<size_t>(index)];
      std::vector<const Tensor*> inputs;
      for (const ir::TensorId id : step.inputs) {
        OCTILE_ASSIGN_OR_RETURN(Tensor * value, Value(graph_.tensor(id).name, values));
        inputs.push_back(value);
      }
      OCTILE_ASSIGN_OR_RETURN(Tensor output, reference::EvaluateStep(graph_, step, inputs));
      values[graph_.tensor(step.output).name] = std::move(output);
    }
    return {};
  }

  void Note(int64_t step, int64_t flat, std::string actual, Difference& first) {
    if (step < first.step)
      first = {step, flat, std::move(actual), 0};
    else if (step == first.step && flat < first.flat)
      first.flat = flat, first.actual = std::move(actual);
    if (step == first.step) ++first.count;
  }

  void Compare(const Tensor& expected, const Tensor& actual, int64_t step, Difference& first) {
    if (expected.bytes == actual.bytes || step > first.step) return;
    const auto element = static_cast<size_t>(DTypeSize(expected.dtype));
    for (int64_t i = 0; i < expected.size(); ++i) {
      const size_t at = static_cast<size_t>(i) * element;
      if (!std::equal(expected.bytes.begin() + static_cast<int64_t>(at),
                      expected.bytes.begin() + static_cast<int64_t>(at + element),
                      actual.bytes.begin() + static_cast<int64_t>(at))) {
        Note(step, i, ValueText(actual, i), first);
      }
    }
  }

  void CompareObservations(const PlanItem& item, const driver::Observations& observations,
                           const reference::Evaluation& expected, Difference& first) {
    std::map<uint32_t, const driver::ObservedResult*> results;
    for (const driver::ObservedResult& result : observations.results)
      results[result.instruction] = &result;
    for (const Observation& o : program_.observations) {
      if (o.instruction < item.first || o.instruction >= item.first + item.count) continue;
      const Tensor& reference = expected.steps[static_cast<size_t>(o.step)];
      const ImageForm form(reference.shape, o.planar);
      const std::vector<int32_t>* map =
          o.map < 0 ? nullptr : &program_.channel_maps[static_cast<size_t>(o.map)];
      // Channel of a lane, -1: none.
      const auto channel = [&](int64_t block, int64_t lane) {
        const int64_t position = (o.block + block) * n_ + lane;
        return map == nullptr ? position : (*map)[static_cast<size_t>(position)];
      };
      // Where the first element of the observation stands in the reference.
      const auto first_element = [&] {
        return form.Flat(std::max<int64_t>(0, channel(0, 0)), o.y0, o.x0);
      };
      const auto it = results.find(static_cast<uint32_t>(o.instruction));
      const size_t vectors = static_cast<size_t>(o.blocks) * static_cast<size_t>(o.rows) *
                             static_cast<size_t>(o.columns) * (o.raw ? 4 : 1);
      if (it == results.end() || it->second->addresses.size() != vectors) {
        Note(o.step, first_element(),
             fmt::format("nothing ({} of {} vectors written)",
                         it == results.end() ? 0 : it->second->addresses.size(), vectors),
             first);
        continue;
      }
      const std::vector<size_t> order = ResultOrder(
          program_.instructions[static_cast<size_t>(o.instruction)], it->second->addresses);
      if (order.size() != vectors) {
        Note(o.step, first_element(), "vectors at other addresses than its own", first);
        continue;
      }
      size_t next = 0;
      const size_t per_pixel = o.raw ? 4 : 1;
      for (int64_t block = 0; block < o.blocks; ++block) {
        const int64_t lanes = std::min<int64_t>(n_, o.channels - block * n_);
        std::vector<int64_t> lane_offset;  // from channel 0, -1: a lane without a channel
        for (int64_t lane = 0; lane < lanes; ++lane) {
          const int64_t c = channel(block, lane);
          lane_offset.push_back(c < 0 ? -1 : c * form.ChannelStep());
        }
        for (int64_t y = 0; y < o.rows; ++y) {
          int64_t pixel = form.Flat(0, o.y0 + y * o.y_step, o.x0);
          for (int64_t x = 0; x < o.columns;
               ++x, next += per_pixel, pixel += o.x_step * form.ColumnStep()) {
            const uint8_t* data = it->second->data.data() + order[next] * static_cast<size_t>(n_);
            for (int64_t lane = 0; lane < lanes; ++lane) {
              const int64_t offset = lane_offset[static_cast<size_t>(lane)];
              if (offset < 0) continue;
              const int64_t flat = pixel + offset;
              if (o.raw) {
                int32_t value = 0;
                std::copy_n(data + lane * 4, 4, reinterpret_cast<uint8_t*>(&value));
                if (value != reference.data<int32_t>()[static_cast<size_t>(flat)])
                  Note(o.step, flat, std::to_string(value), first);
              } else if (data[lane] != reference.bytes[static_cast<size_t>(flat)]) {
                Note(o.step, flat,
                     std::to_string(reference.dtype == DType::kS8 ? static_cast<int8_t>(data[lane])
                                                                  : data[lane]),
                     first);
              }
            }
          }
        }
      }
    }
  }

  Mismatch Explain(const Difference& first, const reference::Evaluation& expected,
                   int64_t image) const {
    Mismatch m;
    m.image = image;
    m.actual = first.actual;
    m.differing = first.count;
    const auto steps = static_cast<int64_t>(graph_.steps.size());
    const Tensor& reference = first.step < steps
                                  ? expected.steps[static_cast<size_t>(first.step)]
                                  : expected.outputs[static_cast<size_t>(first.step - steps)];
    if (first.step < steps) {
      const ir::Step& step = graph_.steps[static_cast<size_t>(first.step)];
      m.step = fmt::format("{} ({})", step.name, ir::OpName(step.op));
      m.tensor = graph_.tensor(step.output).name;
    } else {
      m.step = "model output";
      m.tensor = graph_.outputs[static_cast<size_t>(first.step - steps)].name;
    }
    m.index = IndexOf(reference.shape, first.flat);
    m.expected = ValueText(reference, first.flat);
    return m;
  }

  const Program& program_;
  const ir::Graph& graph_;
  const Config& config_;
  const Options& options_;
  DeviceResult& result_;
  int n_;
  driver::Device device_;
  driver::ProgramHandle handle_;
  std::map<std::string, ir::TensorId> tensor_ids_;
  std::map<std::string, const TensorDescriptor*> descriptors_;
  std::vector<int32_t> producers_;
};

// How many images the inputs hold: an input may have a multiple of the model's first dimension.
Expected<int64_t> CountImages(const ir::Graph& graph, const std::map<std::string, Tensor>& inputs,
                              int64_t drawn) {
  std::optional<int64_t> images;
  for (const ir::TensorId id : graph.inputs) {
    const ir::TensorInfo& info = graph.tensor(id);
    const auto it = inputs.find(info.name);
    if (it == inputs.end()) continue;
    const Tensor& tensor = it->second;
    if (tensor.dtype != info.dtype) {
      return Fail(ErrorCode::kUsage,
                  fmt::format("input '{}' is {} but the model takes {}", info.name,
                              DTypeName(tensor.dtype), DTypeName(info.dtype)));
    }
    const bool same_rank = tensor.shape.size() == info.shape.size() && !info.shape.empty();
    const bool fits =
        tensor.shape == info.shape ||
        (same_rank &&
         std::equal(tensor.shape.begin() + 1, tensor.shape.end(), info.shape.begin() + 1) &&
         tensor.shape[0] > 0 && tensor.shape[0] % info.shape[0] == 0);
    if (!fits) {
      return Fail(ErrorCode::kUsage,
                  fmt::format("input '{}' has shape {} but the model takes {} (or a multiple of "
                              "its first dimension)",
                              info.name, ShapeName(tensor.shape), ShapeName(info.shape)));
    }
    const int64_t count = info.shape.empty() ? 1 : tensor.shape[0] / info.shape[0];
    if (images && *images != count) {
      return Fail(ErrorCode::kUsage, fmt::format("input '{}' holds {} images, another input {}",
                                                 info.name, count, *images));
    }
    images = count;
  }
  for (const auto& [name, tensor] : inputs) {
    const bool known =
        std::any_of(graph.inputs.begin(), graph.inputs.end(),
                    [&, &key = name](ir::TensorId id) { return graph.tensor(id).name == key; });
    if (!known) {
      std::vector<std::string> names;
      for (const ir::TensorId id : graph.inputs) names.push_back(graph.tensor(id).name);
      return Fail(ErrorCode::kUsage, fmt::format("the model has no input '{}'; its inputs are: {}",
                                                 name, fmt::join(names, ", ")));
    }
  }
  return images.value_or(drawn);
}

Tensor ImageOf(const Tensor& all, const ir::TensorInfo& info, int64_t image) {
  Tensor tensor(info.dtype, info.shape);
  std::copy_n(all.bytes.begin() + image * static_cast<int64_t>(tensor.bytes.size()),
              tensor.bytes.size(), tensor.bytes.begin());
  return tensor;
}

}  // namespace

std::string Mismatch::Describe() const {
  return fmt::format(
      "first wrong step: {}, tensor '{}', image {}, index [{}]: expected {}, got {} ({} elements "
      "of this step differ)",
      step, tensor, image, fmt::join(index, ","), expected, actual, differing);
}

Expected<ir::Graph> GraphOf(const Program& program) {
  OCTILE_ASSIGN_OR_RETURN(
      ir::Graph graph,
      ir::ParseText({reinterpret_cast<const char*>(program.graph.data()), program.graph.size()}));
  if (const Status valid = ir::Verify(graph); !valid) {
    return Fail(ErrorCode::kProgram, "the program's graph is invalid: " + valid.error().message);
  }
  return graph;
}

uint64_t HostMemoryBound(const Program& program, const ir::Graph& graph, int64_t images,
                         size_t devices) {
  uint64_t weights = 0;
  uint64_t tensors = 0;
  const auto bytes = [](const ir::TensorInfo& info) {
    return static_cast<uint64_t>(ElementCount(info.shape)) *
           static_cast<uint64_t>(DTypeSize(info.dtype));
  };
  for (const ir::TensorInfo& info : graph.tensors)
    (info.is_constant() ? weights : tensors) += bytes(info);
  for (const ir::Step& step : graph.steps) {
    if (const auto* conv = std::get_if<ir::Conv>(&step.op)) weights += conv->weights.codes.size();
    if (const auto* gemm = std::get_if<ir::Gemm>(&step.op)) weights += gemm->weights.codes.size();
  }
  uint64_t ends = 0;
  for (const ir::TensorId id : graph.inputs) ends += 2 * bytes(graph.tensor(id));
  for (const ir::Output& output : graph.outputs)
    ends += (1 + devices) * bytes(graph.tensor(output.tensor));
  uint64_t device = 0;
  for (const Region& region : program.regions) device += region.size;
  return kHostBytesPerWeight * weights + devices * device + kHostCopiesOfTensors * tensors +
         static_cast<uint64_t>(images) * ends + kHostFixedBytes;
}

namespace {

Expected<Result> RunTimingOnly(const Program& program, const ir::Graph& graph, const Config& config,
                               const Options& options) {
  Result result;
  for (const std::string& device : options.devices) {
    const std::string name = device.substr(0, device.find('?'));
    if (name != "systemc") {
      return Fail(ErrorCode::kUsage, fmt::format("timing only: the device {} cannot leave out the "
                                                 "data; use systemc, whose cycles are exact",
                                                 name));
    }
  }
  for (const std::string& name : options.devices) {
    DeviceResult& device = result.devices.emplace_back();
    device.name = name.substr(0, name.find('?'));
    if (options.progress) options.progress(device.name, 0.0);
    DeviceRun run(program, graph, config, options, device);
    Status ran = run.Open(name);
    if (ran) ran = run.RunTiming();
    run.Close();
    if (options.progress) options.progress("", 1.0);
    if (ran) {
      device.images = 1;
    } else if (ran.error().code == ErrorCode::kInterrupted) {
      return tl::unexpected<Error>(ran.error());
    } else {
      device.error = ran.error();
    }
  }
  return result;
}

}  // namespace

Expected<Result> Run(const Program& program, const ir::Graph& graph, const Config& config,
                     const Options& options) {
  OCTILE_RETURN_IF_ERROR(numerics::bulk::CheckIsaVariable());
  if (options.timing_only) return RunTimingOnly(program, graph, config, options);
  using Clock = std::chrono::steady_clock;
  Result result;
  result.reference_seconds = 0.0;
  OCTILE_ASSIGN_OR_RETURN(result.images,
                          CountImages(graph, options.inputs, std::max<int64_t>(1, options.images)));
  std::map<std::string, Tensor> inputs = options.inputs;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const ir::TensorInfo& info = graph.tensor(graph.inputs[i]);
    if (inputs.contains(info.name)) continue;
    Tensor all(info.dtype, info.shape);
    all.bytes.clear();
    for (int64_t image = 0; image < result.images; ++image) {
      const Tensor one = RandomInput(graph, graph.inputs[i],
                                     options.seed + static_cast<uint64_t>(image) * 1000003 + i);
      all.bytes.insert(all.bytes.end(), one.bytes.begin(), one.bytes.end());
    }
    inputs[info.name] = std::move(all);
  }
  const auto progress = [&](const std::string& what, double fraction) {
    if (options.progress) options.progress(what, fraction);
  };
  const auto values_of = [&](int64_t image) {
    std::map<std::string, Tensor> values;
    for (const ir::TensorId id : graph.inputs)
      values[graph.tensor(id).name] =
          ImageOf(inputs.at(graph.tensor(id).name), graph.tensor(id), image);
    return values;
  };

  // One image at a time, all devices: the reference's intermediate results need not be kept.
  std::vector<std::unique_ptr<DeviceRun>> runs;
  result.devices.resize(options.devices.size());
  for (size_t d = 0; d < options.devices.size(); ++d) {
    DeviceResult& device = result.devices[d];
    device.name = options.devices[d].substr(0, options.devices[d].find('?'));
    runs.push_back(std::make_unique<DeviceRun>(program, graph, config, options, device));
    if (Status opened = runs[d]->Open(options.devices[d]); !opened) device.error = opened.error();
  }
  for (int64_t image = 0; image < result.images; ++image) {
    if (options.interrupted && options.interrupted())
      return Fail(ErrorCode::kInterrupted, "interrupted");
    const double done = static_cast<double>(image) / static_cast<double>(result.images);
    progress("reference", done);
    const auto begin = Clock::now();
    OCTILE_ASSIGN_OR_RETURN(const reference::Evaluation expected,
                            reference::Evaluate(graph, values_of(image)));
    *result.reference_seconds += std::chrono::duration<double>(Clock::now() - begin).count();
    for (size_t o = 0; o < graph.outputs.size(); ++o) {
      Tensor& all = result.reference_outputs[graph.outputs[o].name];
      if (image == 0)
        all = Tensor(expected.outputs[o].dtype, expected.outputs[o].shape), all.bytes.clear();
      all.bytes.insert(all.bytes.end(), expected.outputs[o].bytes.begin(),
                       expected.outputs[o].bytes.end());
    }
    for (size_t d = 0; d < runs.size(); ++d) {
      DeviceResult& device = result.devices[d];
      if (device.error) continue;
      progress(device.name, done);
      const Status ran = runs[d]->RunImage(values_of(image), expected, image);
      if (!ran) {
        if (ran.error().code == ErrorCode::kInterrupted) return tl::unexpected<Error>(ran.error());
        device.error = ran.error();
      } else {
        ++device.images;
      }
    }
  }
  for (auto& run : runs) run->Close();
  const auto set_batch = [&](std::map<std::string, Tensor>& outputs) {
    for (auto& [name, tensor] : outputs) {
      if (result.images > 1 && !tensor.shape.empty()) tensor.shape[0] *= result.images;
    }
  };
  set_batch(result.reference_outputs);
  for (DeviceResult& device : result.devices) set_batch(device.outputs);

  // Two cycle-exact devices must agree on every issue and completion.
  const DeviceResult* base = nullptr;
  for (const DeviceResult& device : result.devices) {
    if (!device.cycle_exact || device.error) continue;
    if (base == nullptr) {
      base = &device;
      continue;
    }
    for (size_t s = 0; s < base->issue.size() && s < device.issue.size() && !result.divergence;
         ++s) {
      for (size_t i = 0; i < base->issue[s].size() && i < device.issue[s].size(); ++i) {
        if (base->issue[s][i] == device.issue[s][i] &&
            base->completion[s][i] == device.completion[s][i])
          continue;
        result.divergence =
            fmt::format("segment {}, instruction {}: issue/completion {}/{} on {}, {}/{} on {}", s,
                        i, base->issue[s][i], base->completion[s][i], base->name,
                        device.issue[s][i], device.completion[s][i], device.name);
        break;
      }
    }
    if (!result.divergence &&
        (base->cycles != device.cycles || base->counters != device.counters)) {
      result.divergence = fmt::format("counters differ: {} cycles on {}, {} on {}", base->cycles,
                                      base->name, device.cycles, device.name);
    }
  }
  progress("", 1.0);
  return result;
}

}  // namespace octile::session
