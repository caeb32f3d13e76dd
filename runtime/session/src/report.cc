#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <algorithm>
#include <set>
#include <string_view>

#include "octile/program/access.h"
#include "octile/session/session.h"

namespace octile::session {
namespace {

using nlohmann::json;

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

json Classes(const std::array<uint64_t, isa::kClasses>& row) {
  json object = json::object();
  for (size_t c = 0; c < isa::kClasses; ++c)
    object[Lower(isa::ClassName(static_cast<isa::Class>(c)))] = row[c];
  return object;
}

json Queues(const driver::ClassMatrix& matrix) {
  json object = json::object();
  for (size_t q = 0; q < isa::kQueues; ++q)
    object[Lower(isa::QueueName(static_cast<isa::Queue>(q)))] = Classes(matrix[q]);
  return object;
}

constexpr auto kExe = static_cast<size_t>(isa::Queue::kExe);
// Multipliers of a lane of the vector unit: taps it multiplies in a cycle (docs/timing.md, section
// 8, WIN by columns).
constexpr uint64_t kVectorTaps = 9;

// Layers whose multiplications run on the array; those of the others (depthwise) run beside it.
std::set<int32_t> ArrayLayers(const Program& program) {
  std::set<int32_t> layers;
  for (const isa::Instruction& instruction : program.instructions) {
    if (isa::OpcodeBits(instruction) == static_cast<int>(isa::Opcode::kMma))
      layers.insert(isa::DecodeHeader(instruction).layer);
  }
  return layers;
}

// Where the cycles of the array went: every cycle in exactly one reason, from the classes of the
// EXE queue. macs: useful ones on the array. `padding` is the part of the active cycles whose
// multipliers had no useful work (tiles rounded up to N channels).
json Stalls(const driver::ClassMatrix& matrix, uint64_t macs, int n) {
  const auto& exe = matrix[kExe];
  const auto at = [&](isa::Class c) { return exe[static_cast<size_t>(c)]; };
  const uint64_t per_cycle = static_cast<uint64_t>(n) * static_cast<uint64_t>(n);
  const uint64_t active = at(isa::Class::kActive);
  const uint64_t useful = std::min(active, (macs + per_cycle - 1) / per_cycle);
  return {{"useful", useful},
          {"padding", active - useful},
          {"weight_wait", at(isa::Class::kWeight)},
          {"short_tile", at(isa::Class::kSlot)},
          {"issue", at(isa::Class::kIssue)},
          {"semaphore", at(isa::Class::kSem)},
          {"fence", at(isa::Class::kFence)},
          {"drain", at(isa::Class::kDrain)},
          {"no_work", at(isa::Class::kIdle) + at(isa::Class::kSpace) + at(isa::Class::kArb)}};
}

// What the instructions of each layer move: the same sums as the counters of the whole run, which
// the hardware does not keep by layer.
std::vector<json> LayerBytes(const Program& program) {
  struct Bytes {
    uint64_t instructions = 0, parameters = 0, weights = 0, activations = 0, written = 0;
  };
  std::vector<Bytes> layers(program.layers.size());
  std::vector<size_t>
      fetched;  // between the jobs there may be instructions that only align the next one
  for (const PlanItem& item : program.plan) {
    for (int64_t i = item.first; item.kind == PlanKind::kDevice && i < item.first + item.count; ++i)
      fetched.push_back(static_cast<size_t>(i));
  }
  for (const size_t index : fetched) {
    const isa::Instruction& instruction = program.instructions[index];
    const std::optional<isa::Operation> op = isa::Decode(instruction);
    const auto layer = static_cast<size_t>(isa::DecodeHeader(instruction).layer);
    if (!op || layer >= layers.size()) continue;
    Bytes& bytes = layers[layer];
    bytes.instructions += sizeof(instruction);
    uint64_t moved = 0;
    if (const std::optional<std::vector<MemoryUse>> uses = MemoryOf(program.arch, *op)) {
      for (const MemoryUse& use : *uses) {
        for (const MemoryRange& range : use.ranges) moved += range.bytes;
      }
    }
    switch (static_cast<isa::Opcode>(isa::OpcodeBits(instruction))) {
      case isa::Opcode::kLdp:
        bytes.parameters += moved;
        break;
      case isa::Opcode::kLdw:
        bytes.weights += moved;
        break;
      case isa::Opcode::kLda:
        bytes.activations += moved;
        break;
      case isa::Opcode::kSta:
        bytes.written += moved;
        break;
      default:
        break;
    }
  }
  std::vector<json> result;
  for (const Bytes& b : layers) {
    result.push_back({{"instructions", b.instructions},
                      {"parameters", b.parameters},
                      {"weights", b.weights},
                      {"activations_read", b.activations},
                      {"written", b.written}});
  }
  return result;
}

// Tensors that host steps read, and outputs. Others with a place in the output region are read only
// to compare them.
std::set<std::string> HostReads(const Program& program, const ir::Graph& graph) {
  std::set<std::string> names;
  for (const PlanItem& item : program.plan) {
    if (item.kind != PlanKind::kDevice) names.insert(item.inputs.begin(), item.inputs.end());
  }
  for (const ir::Output& output : graph.outputs) names.insert(graph.tensor(output.tensor).name);
  return names;
}

std::string OnTheWay(const std::vector<std::string>& operators) {
  if (operators.empty()) return "";
  return fmt::format(", {} on the way", fmt::join(operators, " and "));
}

// The operators between what the host hands over and the device's own tensor.
std::string MovedBeforeTheDevice(const ir::Graph& graph, const TensorDescriptor& d) {
  const std::vector<std::vector<int32_t>> consumers = ir::Consumers(graph);
  std::vector<std::string> operators;
  for (auto id = static_cast<size_t>(d.graph_tensor);
       id < graph.tensors.size() && consumers[id].size() == 1;) {
    const ir::Step& step = graph.steps[static_cast<size_t>(consumers[id][0])];
    if (!std::holds_alternative<ir::Reshape>(step.op) &&
        !std::holds_alternative<ir::Transpose>(step.op))
      break;
    operators.push_back(ir::OpName(step.op));
    id = static_cast<size_t>(step.output);
  }
  return OnTheWay(operators);
}

// The operators that a view stands for, from the tensor that the device makes: ", Reshape and
// Transpose on the way"; empty for a tensor that is none.
std::string MovedOnTheWay(const Program& program, const ir::Graph& graph,
                          const TensorDescriptor& d) {
  if (d.view.empty()) return "";
  if (d.role == TensorRole::kInput) return MovedBeforeTheDevice(graph, d);
  std::set<std::string> device;
  for (const PlanItem& item : program.plan) {
    if (item.kind == PlanKind::kDevice) device.insert(item.outputs.begin(), item.outputs.end());
  }
  const std::vector<int32_t> producers = ir::Producers(graph);
  std::vector<std::string> operators;
  for (ir::TensorId id = d.graph_tensor; id >= 0 &&
                                         static_cast<size_t>(id) < graph.tensors.size() &&
                                         !device.contains(graph.tensor(id).name);) {
    const int32_t step = producers[static_cast<size_t>(id)];
    if (step < 0) break;
    operators.push_back(ir::OpName(graph.steps[static_cast<size_t>(step)].op));
    id = graph.steps[static_cast<size_t>(step)].inputs[0];
  }
  std::reverse(operators.begin(), operators.end());
  return OnTheWay(operators);
}

std::string HostModel() {
  utsname name{};
  return uname(&name) == 0 ? fmt::format("{} {} {}", name.sysname, name.release, name.machine)
                           : "unknown";
}

}  // namespace

json Report(const Program& program, const ir::Graph& graph, const Config& config,
            const Options& options, const Result& result) {
  const int n = program.arch.n;
  const uint64_t per_cycle = static_cast<uint64_t>(n) * static_cast<uint64_t>(n);
  const std::set<int32_t> array_layers = ArrayLayers(program);
  uint64_t device_macs = 0;
  uint64_t array_macs = 0;
  for (size_t l = 0; l < program.layers.size(); ++l) {
    const auto macs = static_cast<uint64_t>(program.layers[l].macs);
    device_macs += macs;
    if (array_layers.contains(static_cast<int32_t>(l))) array_macs += macs;
  }
  const std::vector<json> layer_bytes = LayerBytes(program);
  uint64_t all_macs = 0;
  for (const ir::Step& step : graph.steps)
    all_macs += static_cast<uint64_t>(ir::MacCount(graph, step));
  std::set<int32_t> device_steps;
  for (const Layer& layer : program.layers)
    device_steps.insert(layer.steps.begin(), layer.steps.end());

  json report;
  report["schema_version"] = kReportSchemaVersion;
  report["model"] = program.model;
  report["config"] = {{"name", config.name},
                      {"architecture", ArchText(program.arch)},
                      {"platform", PlatformText(config.platform)},
                      {"clock_mhz", config.platform.clock_mhz}};
  report["seed"] = options.seed;
  report["timing_only"] = options.timing_only;
  report["images"] = result.images;
  report["macs"] = all_macs;
  report["device_macs"] = device_macs;
  report["ideal_cycles"] = (device_macs + per_cycle - 1) / per_cycle;
  report["estimated_cycles"] = program.estimated_cycles;
  report["instructions"] = program.instructions.size();
  report["layers"] = program.layers.size();
  // Layers whose results the program lets be seen. The others move nothing, or are proved by those
  // that read them and by the outputs.
  std::set<int32_t> seen;
  for (const Observation& o : program.observations) seen.insert(o.step);
  report["layers_observed"] =
      std::count_if(program.layers.begin(), program.layers.end(), [&](const Layer& layer) {
        return std::any_of(layer.steps.begin(), layer.steps.end(),
                           [&](int32_t step) { return seen.contains(step); });
      });
  json regions = json::object();
  for (const Region& region : program.regions) regions[region.name] = region.size;
  report["memory_bytes"] = regions;
  report["host_memory_bound_bytes"] =
      HostMemoryBound(program, graph, result.images, options.devices.size());

  report["host_operators"] = json::array();
  report["edge_operators"] = json::array();
  for (const PlanItem& item : program.plan) {
    if (item.kind == PlanKind::kDevice) continue;
    report[item.kind == PlanKind::kHost ? "host_operators" : "edge_operators"].push_back(
        {{"name", item.name}, {"reason", item.reason}});
  }
  const std::set<std::string> host_reads = HostReads(program, graph);
  for (const TensorDescriptor& d : program.tensors) {
    const bool output = d.role != TensorRole::kInput;
    if (d.layout == Layout::kBlocked && d.role != TensorRole::kIntermediate &&
        (d.rows * d.columns > 1 || d.images > 1) && (!output || host_reads.contains(d.name))) {
      const std::string moved = MovedOnTheWay(program, graph, d);
      report["edge_operators"].push_back(
          {{"name", fmt::format("{} '{}'", output ? "Unpack" : "Pack", d.name)},
           {"reason",
            fmt::format("host copies between row-major and channel-blocked layout ({} bytes){}",
                        ElementCount(d.shape) * DTypeSize(d.dtype), moved)}});
    }
  }
  for (const TensorDescriptor& d : program.tensors) {
    if (d.layout != Layout::kPlain || d.view.empty()) continue;
    report["edge_operators"].push_back(
        {{"name", fmt::format("Reorder '{}'", d.name)},
         {"reason", fmt::format("host copies in the order of the device ({} bytes){}",
                                ElementCount(d.shape) * DTypeSize(d.dtype),
                                MovedOnTheWay(program, graph, d))}});
  }
  // Conversions at the edge of the model are neither on the device nor kept from it.
  size_t host_steps = 0;
  for (const PlanItem& item : program.plan)
    host_steps += item.kind == PlanKind::kHost ? item.steps.size() : 0;
  report["operators_on_device"] = device_steps.size();
  report["operators"] = device_steps.size() + host_steps;

  report["devices"] = json::array();
  json wall = json::object();
  for (const DeviceResult& device : result.devices) {
    json d;
    d["name"] = device.name;
    d["cycle_exact"] = device.cycle_exact;
    d["matches_reference"] =
        device.compared && !device.error ? json(!device.mismatch.has_value()) : json(nullptr);
    if (device.mismatch) {
      const Mismatch& m = *device.mismatch;
      d["mismatch"] = {{"step", m.step},          {"tensor", m.tensor},     {"image", m.image},
                       {"index", m.index},        {"expected", m.expected}, {"actual", m.actual},
                       {"differing", m.differing}};
    }
    if (device.error) d["error"] = device.error->message;
    d["images"] = device.images;
    if (device.cycle_exact) {
      d["cycles"] = device.cycles;
      d["milliseconds"] = static_cast<double>(device.cycles) / (config.platform.clock_mhz * 1e3);
      d["utilization"] =
          device.cycles == 0
              ? 0.0
              : static_cast<double>(device_macs) /
                    (static_cast<double>(per_cycle) * static_cast<double>(device.cycles));
      // Over all multipliers: the vector unit has kVectorTaps for each of its N lanes.
      d["utilization_all_multipliers"] =
          device.cycles == 0
              ? 0.0
              : static_cast<double>(device_macs) /
                    (static_cast<double>(per_cycle + kVectorTaps * static_cast<uint64_t>(n)) *
                     static_cast<double>(device.cycles));
      d["stalls"] = Stalls(device.counters.classes, array_macs, n);
      d["queues"] = Queues(device.counters.classes);
      const driver::JobCounters& c = device.counters;
      d["bytes"] = {{"instructions", c.bytes_fetch},
                    {"parameters", c.bytes_prm},
                    {"weights", c.bytes_wgt},
                    {"activations_read", c.bytes_act},
                    {"written", c.bytes_written}};
      const uint64_t bytes =
          c.bytes_fetch + c.bytes_prm + c.bytes_wgt + c.bytes_act + c.bytes_written;
      d["bandwidth_gb_per_s"] = device.cycles == 0
                                    ? 0.0
                                    : static_cast<double>(bytes) * config.platform.clock_mhz /
                                          (static_cast<double>(device.cycles) * 1e3);
      d["layers"] = json::array();
      // Layers without cycles of their own (loads and stores alone) move bytes all the same.
      std::vector<LayerResult> layers = device.layers;
      for (uint32_t l = 0; l < program.layers.size(); ++l) {
        const bool owns = std::any_of(layers.begin(), layers.end(),
                                      [l](const LayerResult& owner) { return owner.layer == l; });
        if (!owns) layers.push_back({l, 0, {}});
      }
      std::stable_sort(
          layers.begin(), layers.end(),
          [](const LayerResult& a, const LayerResult& b) { return a.layer < b.layer; });
      for (const LayerResult& l : layers) {
        if (l.layer >= program.layers.size()) continue;
        const Layer& layer = program.layers[l.layer];
        d["layers"].push_back(
            {{"layer", l.layer},
             {"name", layer.name},
             {"nodes", layer.nodes},
             {"macs", layer.macs},
             {"array", array_layers.contains(static_cast<int32_t>(l.layer))},
             {"cycles", l.cycles},
             {"utilization",
              l.cycles == 0 ? 0.0
                            : static_cast<double>(layer.macs) /
                                  (static_cast<double>(per_cycle) * static_cast<double>(l.cycles))},
             {"bytes", layer_bytes[l.layer]},
             {"stalls", Stalls(l.classes,
                               array_layers.contains(static_cast<int32_t>(l.layer))
                                   ? static_cast<uint64_t>(layer.macs)
                                   : 0,
                               n)},
             {"queues", Queues(l.classes)}});
      }
    }
    if (!options.labels.empty() && !device.error) {
      if (const Expected<Accuracy> accuracy =
              CountCorrect(device.outputs, options.labels, result.images)) {
        d["accuracy"] = {{"correct", accuracy->correct}, {"images", accuracy->images}};
      }
    }
    wall[device.name] = device.wall_seconds;
    d["wall_seconds"] = device.wall_seconds;
    report["devices"].push_back(std::move(d));
  }
  report["divergence"] = result.divergence ? json(*result.divergence) : json(nullptr);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  report["host"] = {{"system", HostModel()},
                    {"peak_memory_bytes", static_cast<uint64_t>(usage.ru_maxrss) * 1024},
                    {"reference_seconds",
                     result.reference_seconds ? json(*result.reference_seconds) : json(nullptr)},
                    {"device_seconds", wall}};
  return report;
}

namespace {

std::string Thousands(uint64_t value) {
  std::string digits = std::to_string(value);
  for (size_t i = digits.size(); i > 3;) {
    i -= 3;
    digits.insert(i, ",");
  }
  return digits;
}

std::string Bytes(uint64_t bytes) {
  if (bytes >= 1 << 20) return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
  if (bytes >= 1 << 10) return fmt::format("{:.1f} KiB", static_cast<double>(bytes) / (1 << 10));
  return fmt::format("{} B", bytes);
}

std::string Bar(double fraction) {
  const int full = std::clamp(static_cast<int>(fraction * 24 + 0.5), 0, 24);
  std::string bar;
  for (int i = 0; i < 24; ++i) bar += i < full ? "█" : "·";
  return bar;
}

struct Reason {
  const char* key;
  const char* text;
  const char* advice;
};

constexpr std::array kReasons = {
    Reason{"useful", "useful multiply-accumulates", ""},
    Reason{"padding", "padding of tiles (channels or lanes without work)",
           "channel counts that are multiples of the array size use it fully"},
    Reason{"weight_wait", "waiting for weights",
           "memory bound: more bandwidth, or more output positions per weight"},
    Reason{"short_tile", "tiles shorter than the minimum slot",
           "matrix-vector layers: batch them, or deliver more weight rows per cycle"},
    Reason{"semaphore", "waiting for other units (data, vector unit, stores)",
           "serial vector or memory work: look at the layers with the largest share"},
    Reason{"fence", "waiting for the pipeline between dependent layers", ""},
    Reason{"issue", "issuing an instruction to an idle array", ""},
    Reason{"drain", "draining the pipeline", ""},
    Reason{"no_work", "no matrix work queued (start, vector-only layers, end)",
           "vector-only layers leave the array idle"},
};

}  // namespace

std::string ReportText(const json& report, bool color) {
  const auto paint = [&](const char* code, const std::string& text) {
    return color ? fmt::format("\033[{}m{}\033[0m", code, text) : text;
  };
  std::string out;
  const auto line = [&](const std::string& name, const std::string& value) {
    out += fmt::format("  {:<24} {}\n", name, value);
  };
  const json& config = report["config"];
  out += paint("1", fmt::format("{} on {}\n", report["model"].get<std::string>(),
                                config["name"].get<std::string>()));
  line("architecture", config["architecture"]);
  line("memory", config["platform"].get<std::string>());
  uint64_t memory = 0;
  for (const auto& [name, bytes] : report["memory_bytes"].items()) memory += bytes.get<uint64_t>();
  line("device memory", Bytes(memory));
  line("operators on device",
       fmt::format("{} of {} ({:.0f} %), {} instructions", report["operators_on_device"].get<int>(),
                   report["operators"].get<int>(),
                   100.0 * report["operators_on_device"].get<double>() /
                       std::max(1.0, report["operators"].get<double>()),
                   report["instructions"].get<int>()));
  line("layers on device",
       fmt::format("{}, the results of {} observed", report["layers"].get<int>(),
                   report["layers_observed"].get<int>()));
  for (const json& op : report["host_operators"])
    line("  on the host",
         fmt::format("{}: {}", op["name"].get<std::string>(), op["reason"].get<std::string>()));
  for (const json& op : report["edge_operators"])
    line("  at the edge",
         fmt::format("{}: {}", op["name"].get<std::string>(), op["reason"].get<std::string>()));
  line("multiply-accumulates",
       fmt::format("{}  (ideal {} cycles)", Thousands(report["device_macs"]),
                   Thousands(report["ideal_cycles"])));
  if (report["images"].get<int64_t>() > 1)
    line("images", fmt::format("{}", report["images"].get<int64_t>()));

  const json* best = nullptr;
  out += "\n" +
         paint("1", fmt::format("  {:<10} {:>14} {:>10} {:>12} {:>10}  {}\n", "device", "cycles",
                                "ms", "utilization", "wall s", "against the reference"));
  for (const json& d : report["devices"]) {
    std::string verdict;
    if (d.contains("error")) {
      verdict = paint("31", "failed: " + d["error"].get<std::string>());
    } else if (d["matches_reference"].is_null()) {
      verdict = "not checked";
    } else if (d["matches_reference"].get<bool>()) {
      // A file may promise no observation at all: then only what came back from the device was
      // compared.
      const bool steps =
          report["layers"].get<int>() == 0 || report["layers_observed"].get<int>() > 0;
      verdict = steps ? paint("32", "every step equal, bit for bit")
                      : paint("33", "outputs equal; the program shows no step");
    } else {
      verdict = paint("31", "DIFFERENT");
    }
    const bool timed = d.contains("cycles");
    out += fmt::format("  {:<10} {:>14} {:>10} {:>12} {:>10.2f}  {}\n",
                       d["name"].get<std::string>(), timed ? Thousands(d["cycles"]) : "-",
                       timed ? fmt::format("{:.3f}", d["milliseconds"].get<double>()) : "-",
                       timed ? fmt::format("{:.1f} %", 100 * d["utilization"].get<double>()) : "-",
                       d["wall_seconds"].get<double>(), verdict);
    if (d.contains("mismatch")) {
      const json& m = d["mismatch"];
      out += fmt::format(
          "             first wrong step: {}, tensor '{}', image {}, index {}: expected {}, got {} "
          "({} elements differ)\n",
          m["step"].get<std::string>(), m["tensor"].get<std::string>(), m["image"].get<int64_t>(),
          m["index"].dump(), m["expected"].get<std::string>(), m["actual"].get<std::string>(),
          m["differing"].get<int64_t>());
    }
    if (d.contains("accuracy")) {
      const auto correct = d["accuracy"]["correct"].get<int64_t>();
      const auto images = d["accuracy"]["images"].get<int64_t>();
      out += fmt::format(
          "             {} of {} images classified as labelled ({:.1f} %)\n", correct, images,
          100.0 * static_cast<double>(correct) / static_cast<double>(std::max<int64_t>(1, images)));
    }
    if (timed && !d.contains("error")) best = &d;
  }
  int timed_devices = 0;
  for (const json& d : report["devices"])
    timed_devices += d.contains("cycles") && !d.contains("error") ? 1 : 0;
  if (timed_devices > 1) {
    out += report["divergence"].is_null()
               ? "  " +
                     paint("32",
                           "cycle for cycle equal on all cycle-exact devices, every instruction") +
                     "\n"
               : "  " + paint("31", "cycles differ: " + report["divergence"].get<std::string>()) +
                     "\n";
  }
  if (best == nullptr) return out;

  const json& d = *best;
  const double cycles = std::max(1.0, d["cycles"].get<double>());
  out += "\n" + paint("1", fmt::format("  Where the {} cycles of the array went\n",
                                       Thousands(d["cycles"])));
  const Reason* worst = nullptr;
  uint64_t worst_cycles = 0;
  for (const Reason& reason : kReasons) {
    const auto count = d["stalls"][reason.key].get<uint64_t>();
    if (count == 0) continue;
    out += fmt::format("  {} {:>5.1f} %  {}\n", Bar(static_cast<double>(count) / cycles),
                       100.0 * static_cast<double>(count) / cycles, reason.text);
    if (*reason.advice != '\0' && count > worst_cycles) {
      worst = &reason;
      worst_cycles = count;
    }
  }
  const json& bytes = d["bytes"];
  out += fmt::format(
      "\n  traffic: weights {}, activations in {}, out {}, instructions {}, parameters {}; {:.2f} "
      "GB/s at {} MHz\n",
      Bytes(bytes["weights"]), Bytes(bytes["activations_read"]), Bytes(bytes["written"]),
      Bytes(bytes["instructions"]), Bytes(bytes["parameters"]),
      d["bandwidth_gb_per_s"].get<double>(), config["clock_mhz"].get<int>());
  out += "\n" + paint("1", fmt::format("  {:<40} {:>12} {:>7} {:>12}\n", "layer", "cycles", "share",
                                       "utilization"));
  for (const json& layer : d["layers"]) {
    if (layer["cycles"].get<uint64_t>() == 0) continue;
    std::string name = layer["name"];
    if (name.size() > 40) name = name.substr(0, 37) + "...";
    out += fmt::format("  {:<40} {:>12} {:>5.1f} % {:>10.1f} %\n", name, Thousands(layer["cycles"]),
                       100.0 * layer["cycles"].get<double>() / cycles,
                       100 * layer["utilization"].get<double>());
  }
  if (worst != nullptr && static_cast<double>(worst_cycles) > 0.02 * cycles)
    out +=
        fmt::format("\n  advice: {:.0f} % lost to \"{}\": {}\n",
                    100.0 * static_cast<double>(worst_cycles) / cycles, worst->text, worst->advice);
  return out;
}

}  // namespace octile::session
