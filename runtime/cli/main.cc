// The `octile` program: run, compile, export-golden, inspect, disasm, ops, devices. docs/cli.md
// describes it.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <atomic>
#include <csignal>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "files.h"
#include "octile/codegen/codegen.h"
#include "octile/frontend/importer.h"
#include "octile/golden/golden.h"
#include "octile/passes/passes.h"
#include "octile/program/assembler.h"
#include "octile/program/verifier.h"
#include "octile/session/session.h"
#include "octile/sim/iss_backend.h"
#include "octile/support/npy.h"
#include "rtl_program.h"

namespace octile {
namespace {

namespace fs = std::filesystem;

std::atomic<bool> g_interrupted = false;

// Whether there is something to end orderly: device processes, a build, files. Else a signal ends
// the program at once.
std::atomic<bool> g_busy = false;

void OnSignal(int) {
  g_interrupted = true;
  if (!g_busy) _exit(static_cast<int>(ErrorCode::kInterrupted));
}

class Busy {
 public:
  Busy() { g_busy = true; }
  ~Busy() { g_busy = false; }
};

struct RunArguments {
  std::string model;
  std::string devices;  // empty: all, or systemc if only timing is asked for
  bool timing_only = false;
  std::string config;
  std::vector<std::string> inputs;
  std::vector<std::string> labels;
  std::vector<std::string> shapes;
  uint64_t seed = 1;
  std::string output_dir;
  std::string report;
  int clock_mhz = 0;
  std::vector<std::string> platform;
  bool require_device = false;
  std::string wave;
  std::string wave_cycles;
  std::string output;        // compile, export-golden -o
  bool all_tensors = false;  // export-golden
};

// NAME=VALUE at the first '='.
Expected<std::pair<std::string, std::string>> Split(const std::string& text, const char* option) {
  const size_t mark = text.find('=');
  if (mark == std::string::npos || mark == 0 || mark + 1 == text.size()) {
    return Fail(ErrorCode::kUsage, fmt::format("{} {}: expected NAME=VALUE", option, text));
  }
  return std::pair{text.substr(0, mark), text.substr(mark + 1)};
}

Expected<Shape> ParseShape(const std::string& text, const std::string& name) {
  Shape shape;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find('x', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    if (part.empty() || part.size() > 9 ||
        part.find_first_not_of("0123456789") != std::string::npos || part == "0") {
      return Fail(
          ErrorCode::kUsage,
          fmt::format(
              "--shape {}={}: dimensions are positive numbers separated by x, as in 1x3x224x224",
              name, text));
    }
    shape.push_back(std::stoll(part));
    begin = end + 1;
  }
  return shape;
}

Expected<Config> ConfigOf(const RunArguments& arguments, const std::string& fallback) {
  const std::string name = arguments.config.empty() ? fallback : arguments.config;
  OCTILE_ASSIGN_OR_RETURN(Config config, LoadConfig(name));
  for (const std::string& setting : arguments.platform) {
    OCTILE_ASSIGN_OR_RETURN(const auto pair, Split(setting, "--platform"));
    OCTILE_RETURN_IF_ERROR(SetPlatformField(config.platform, pair.first, pair.second));
  }
  if (arguments.clock_mhz > 0) config.platform.clock_mhz = arguments.clock_mhz;
  return config;
}

Expected<std::map<std::string, Tensor>> LoadTensors(const std::vector<std::string>& arguments,
                                                    const char* option) {
  std::map<std::string, Tensor> inputs;
  for (const std::string& text : arguments) {
    OCTILE_ASSIGN_OR_RETURN(const auto pair, Split(text, option));
    OCTILE_ASSIGN_OR_RETURN(Tensor tensor, ReadNpy(pair.second));
    inputs[pair.first] = std::move(tensor);
  }
  return inputs;
}

struct Compiled {
  Program program;
  ir::Graph graph;
  std::vector<std::string> notes;
  int64_t images = 1;  // images of the model's fixed batch, which run one after another
};

// By content: a program file begins with its magic, whatever it is called.
bool IsProgram(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::array<char, 6> magic{};
  stream.read(magic.data(), magic.size());
  return (stream && std::string_view(magic.data(), magic.size()) == "OCTILE") ||
         fs::path(file).extension() == ".octile";
}

// `inputs` give symbolic dimensions and other values of constants; those that became constants are
// taken out.
Expected<frontend::ImportResult> ImportModel(const RunArguments& arguments,
                                             std::map<std::string, Tensor>& inputs) {
  frontend::ImportOptions options;
  for (const std::string& text : arguments.shapes) {
    OCTILE_ASSIGN_OR_RETURN(const auto pair, Split(text, "--shape"));
    OCTILE_ASSIGN_OR_RETURN(options.shapes[pair.first], ParseShape(pair.second, pair.first));
  }
  OCTILE_ASSIGN_OR_RETURN(const std::vector<frontend::ModelInput> declared,
                          frontend::ListInputs(arguments.model));
  for (const frontend::ModelInput& input : declared) {
    const auto it = inputs.find(input.name);
    if (it == inputs.end()) continue;
    if (input.has_initializer) {
      // A constant with another value for this run.
      options.initializer_values[input.name] = std::move(it->second);
      inputs.erase(it);
      continue;
    }
    // Symbolic dimensions take their values from the input file, but for the batch: that many
    // images run one after another.
    const bool symbolic =
        std::any_of(input.dims.begin(), input.dims.end(), [](const std::string& d) {
          return d.find_first_not_of("0123456789") != std::string::npos;
        });
    if (!symbolic || options.shapes.contains(input.name) ||
        it->second.shape.size() != input.dims.size())
      continue;
    Shape shape = it->second.shape;
    for (size_t d = 0; d < shape.size(); ++d) {
      const bool is_symbol = input.dims[d].find_first_not_of("0123456789") != std::string::npos;
      if (!is_symbol)
        shape[d] = std::stoll(input.dims[d]);
      else if (d == 0)
        shape[d] = 1;
    }
    options.shapes[input.name] = shape;
  }
  return frontend::ImportFile(arguments.model, options);
}

Expected<Compiled> CompileModel(const RunArguments& arguments, const Config& config,
                                std::map<std::string, Tensor>& inputs) {
  const std::string name = fs::path(arguments.model).stem().string();
  OCTILE_ASSIGN_OR_RETURN(frontend::ImportResult imported, ImportModel(arguments, inputs));
  int64_t batch = 1;
  if (std::optional<ir::Graph> single = passes::SplitBatch(imported.graph, batch)) {
    imported.graph = std::move(*single);
    imported.notes.push_back(
        fmt::format("the batch of {} runs as {} images, one after another", batch, batch));
  } else {
    batch = 1;
  }
  OCTILE_ASSIGN_OR_RETURN(Program program, codegen::Compile(imported.graph, config, {name}));
  return Compiled{std::move(program), std::move(imported.graph), std::move(imported.notes), batch};
}

Expected<std::vector<std::string>> DeviceList(const std::string& list, bool timing_only) {
  if (timing_only) {
    if (list.empty() || list == "systemc") return std::vector<std::string>{"systemc"};
    return Fail(ErrorCode::kUsage,
                fmt::format("--timing-only runs on the device systemc alone, not on '{}'", list));
  }
  if (list.empty() || list == "all") return std::vector<std::string>{"iss", "systemc", "rtl"};
  std::vector<std::string> devices;
  size_t begin = 0;
  while (begin <= list.size()) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const std::string device = list.substr(begin, end - begin);
    const std::string name = device.substr(0, device.find('?'));
    if (name != "iss" && name != "systemc" && name != "rtl") {
      return Fail(
          ErrorCode::kUsage,
          fmt::format("--device {}: '{}' is not one of iss, systemc, rtl, all", list, name));
    }
    if (device.find("timing_only") != std::string::npos)
      return Fail(ErrorCode::kUsage, fmt::format("--device {}: use --timing-only", list));
    for (const std::string& other : devices) {
      if (other.substr(0, other.find('?')) == name)
        return Fail(ErrorCode::kUsage, fmt::format("--device {}: '{}' is named twice", list, name));
    }
    devices.push_back(device);
    begin = end + 1;
  }
  return devices;
}

// A name as a file name: letters, digits, '_', '-', '.' as they are, other bytes as %XX; never
// empty, never hidden.
std::string FileName(const std::string& name) {
  std::string safe;
  for (const char c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' ||
                       (c == '.' && !safe.empty());
    safe += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  if (safe.empty()) return "%";
  // Long names end in a hash, so that two of them stay two files.
  return safe.size() <= 200
             ? safe
             : fmt::format("{}%{:016X}", safe.substr(0, 180), std::hash<std::string>{}(name));
}

// Names in a model need not be UTF-8; JSON must be.
std::string Json(const nlohmann::json& report) {
  return report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Status SaveOutputs(const fs::path& folder, const std::map<std::string, Tensor>& outputs) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    return Fail(ErrorCode::kUsage,
                fmt::format("cannot create '{}': {}", folder.string(), error.message()));
  for (const auto& [name, tensor] : outputs) {
    PendingFile file(folder / (FileName(name) + ".npy"));
    OCTILE_RETURN_IF_ERROR(WriteNpy(file.path(), tensor));
    OCTILE_RETURN_IF_ERROR(file.Commit());
  }
  return {};
}

void AddOption(std::string& device, const std::string& key, const std::string& value) {
  device += fmt::format("{}{}={}", device.find('?') == std::string::npos ? '?' : '&', key,
                        driver::EscapeUri(value));
}

// RTL devices of other configurations than the named ones, and with waveforms, are built at their
// first use.
Status ProvideRtlPrograms(std::vector<std::string>& devices, const Config& config) {
  for (std::string& device : devices) {
    if (device.substr(0, device.find('?')) != "rtl") continue;
    const auto has = [&](const char* option) {
      return device.find(fmt::format("?{}=", option)) != std::string::npos ||
             device.find(fmt::format("&{}=", option)) != std::string::npos;
    };
    if (has("program")) continue;
    const driver::RtlVariant variant = has("wave")     ? driver::RtlVariant::kWave
                                       : has("seed_x") ? driver::RtlVariant::kChecked
                                                       : driver::RtlVariant::kPlain;
    OCTILE_ASSIGN_OR_RETURN(
        const std::string program,
        EnsureRtlProgram(
            config, variant,
            [](const std::string& notice) { std::cerr << "note: " << notice << std::endl; },
            [] { return g_interrupted.load(); }));
    if (!program.empty()) AddOption(device, "program", program);
  }
  return {};
}

Expected<int> Run(const RunArguments& arguments) {
  OCTILE_ASSIGN_OR_RETURN(std::vector<std::string> devices,
                          DeviceList(arguments.devices, arguments.timing_only));
  if (arguments.timing_only && (!arguments.output_dir.empty() || !arguments.labels.empty())) {
    return Fail(ErrorCode::kUsage,
                fmt::format("--timing-only computes no outputs, so {} has nothing to work on",
                            arguments.labels.empty() ? "--output-dir" : "--labels"));
  }
  OCTILE_ASSIGN_OR_RETURN(auto inputs, LoadTensors(arguments.inputs, "--input"));
  OCTILE_ASSIGN_OR_RETURN(auto labels, LoadTensors(arguments.labels, "--labels"));
  Compiled compiled;
  Config config;
  if (IsProgram(arguments.model)) {
    if (!arguments.shapes.empty())
      return Fail(ErrorCode::kUsage,
                  "--shape: a compiled program has its shapes already; compile the model anew");
    OCTILE_ASSIGN_OR_RETURN(compiled.program, LoadProgram(arguments.model));
    OCTILE_ASSIGN_OR_RETURN(config, ConfigOf(arguments, compiled.program.config));
    if (ArchHash(config.arch) != compiled.program.arch_hash()) {
      return Fail(
          ErrorCode::kProgram,
          fmt::format("'{}' was compiled for {} but configuration '{}' is {}", arguments.model,
                      ArchText(compiled.program.arch), config.name, ArchText(config.arch)));
    }
    OCTILE_ASSIGN_OR_RETURN(compiled.graph, session::GraphOf(compiled.program));
  } else {
    OCTILE_ASSIGN_OR_RETURN(config, ConfigOf(arguments, DefaultConfigName()));
    OCTILE_ASSIGN_OR_RETURN(compiled, CompileModel(arguments, config, inputs));
  }
  for (const std::string& note : compiled.notes) std::cerr << "note: " << note << "\n";
  if (!arguments.wave_cycles.empty() && arguments.wave.empty())
    return Fail(ErrorCode::kUsage, "--wave-cycles needs --wave FILE.fst");
  std::optional<PendingFile> wave;
  if (!arguments.wave.empty()) {
    wave.emplace(fs::absolute(arguments.wave));
    const fs::path folder = wave->path().parent_path();
    if (!fs::is_directory(folder))
      return Fail(ErrorCode::kUsage, fmt::format("--wave {}: there is no folder '{}'",
                                                 arguments.wave, folder.string()));
    bool rtl = false;
    for (std::string& device : devices) {
      if (device.substr(0, 3) != "rtl") continue;
      rtl = true;
      AddOption(device, "wave", wave->path().string());
      if (!arguments.wave_cycles.empty()) AddOption(device, "wave_cycles", arguments.wave_cycles);
    }
    if (!rtl) return Fail(ErrorCode::kUsage, "--wave needs the device rtl");
  }
  const Busy busy;
  OCTILE_RETURN_IF_ERROR(ProvideRtlPrograms(devices, config));

  session::Options options;
  options.devices = devices;
  options.inputs = std::move(inputs);
  options.labels = std::move(labels);
  options.seed = arguments.seed;
  options.images = compiled.images;
  options.timing_only = arguments.timing_only;
  options.interrupted = [] { return g_interrupted.load(); };
  const bool terminal = isatty(STDERR_FILENO) != 0;
  if (terminal) {
    options.progress = [](const std::string& what, double fraction) {
      if (what.empty()) {
        std::cerr << "\r\033[K" << std::flush;
      } else {
        std::cerr << fmt::format("\r\033[K{:>3.0f} %  {}", 100 * fraction, what) << std::flush;
      }
    };
  }
  OCTILE_ASSIGN_OR_RETURN(const session::Result result,
                          session::Run(compiled.program, compiled.graph, config, options));
  if (const auto accuracy =
          session::CountCorrect(result.reference_outputs, options.labels, result.images);
      !accuracy) {
    return tl::unexpected<Error>(accuracy.error());
  }
  for (const session::DeviceResult& device : result.devices) {
    std::error_code error;
    if (wave && device.name == "rtl" && !device.error && fs::exists(wave->path(), error))
      OCTILE_RETURN_IF_ERROR(wave->Commit());
  }
  const nlohmann::json report =
      session::Report(compiled.program, compiled.graph, config, options, result);
  if (!arguments.report.empty()) OCTILE_RETURN_IF_ERROR(WriteFile(arguments.report, Json(report)));
  if (!arguments.output_dir.empty()) {
    const fs::path folder = arguments.output_dir;
    OCTILE_RETURN_IF_ERROR(SaveOutputs(folder / "reference", result.reference_outputs));
    for (const session::DeviceResult& device : result.devices) {
      if (!device.error) OCTILE_RETURN_IF_ERROR(SaveOutputs(folder / device.name, device.outputs));
    }
  }
  std::cout << session::ReportText(report, isatty(STDOUT_FILENO) != 0) << std::flush;

  int status = 0;
  for (const session::DeviceResult& device : result.devices) {
    if (device.error) {
      std::cerr << fmt::format("octile: {}: {}\n", device.name, device.error->message);
      status = std::max(status, static_cast<int>(device.error->code));
    } else if (device.mismatch) {
      std::cerr << fmt::format("octile: {} differs from the reference; {}\n", device.name,
                               device.mismatch->Describe());
      status = std::max(status, 1);
    }
  }
  if (result.divergence) {
    std::cerr << "octile: cycle-exact devices disagree; " << *result.divergence << "\n";
    status = std::max(status, 1);
  }
  if (arguments.require_device && status == 0) {
    for (const PlanItem& item : compiled.program.plan) {
      if (item.kind != PlanKind::kHost) continue;
      return Fail(ErrorCode::kModel, fmt::format("--require-device: {} runs on the host ({})",
                                                 item.name, item.reason));
    }
  }
  return status;
}

Expected<int> Compile(const RunArguments& arguments) {
  OCTILE_ASSIGN_OR_RETURN(const Config config, ConfigOf(arguments, DefaultConfigName()));
  std::map<std::string, Tensor> inputs;
  OCTILE_ASSIGN_OR_RETURN(const Compiled compiled, CompileModel(arguments, config, inputs));
  for (const std::string& note : compiled.notes) std::cerr << "note: " << note << "\n";
  if (const Status valid = VerifyProgram(compiled.program); !valid) {
    return Fail(ErrorCode::kInternal,
                "the compiler made an invalid program: " + valid.error().message);
  }
  const Busy busy;
  PendingFile file(arguments.output);
  OCTILE_RETURN_IF_ERROR(SaveProgram(compiled.program, file.path()));
  OCTILE_RETURN_IF_ERROR(file.Commit());
  std::cout << fmt::format("{}: {} instructions, {} layers, estimated {} cycles on {}\n",
                           arguments.output, compiled.program.instructions.size(),
                           compiled.program.layers.size(), compiled.program.estimated_cycles,
                           config.name);
  return 0;
}

Expected<int> ExportGolden(const RunArguments& arguments) {
  ir::Graph graph;
  if (IsProgram(arguments.model)) {
    if (!arguments.shapes.empty() || !arguments.inputs.empty())
      return Fail(ErrorCode::kUsage,
                  "--shape, --input: a compiled program has its shapes and constants already");
    OCTILE_ASSIGN_OR_RETURN(const Program program, LoadProgram(arguments.model));
    OCTILE_ASSIGN_OR_RETURN(graph, session::GraphOf(program));
  } else {
    OCTILE_ASSIGN_OR_RETURN(auto inputs, LoadTensors(arguments.inputs, "--input"));
    OCTILE_ASSIGN_OR_RETURN(frontend::ImportResult imported, ImportModel(arguments, inputs));
    for (const std::string& note : imported.notes) std::cerr << "note: " << note << "\n";
    graph = std::move(imported.graph);
  }
  OCTILE_ASSIGN_OR_RETURN(const golden::Golden model,
                          golden::Export(graph, {arguments.all_tensors}));
  OCTILE_RETURN_IF_ERROR(WriteFile(arguments.output, model.model));
  std::map<std::string, int> operators;
  for (const golden::StepForm& step : model.steps) {
    for (const std::string& op : step.operators) ++operators[op];
  }
  std::cout << fmt::format("{}: {} steps, {} bytes\n", arguments.output, model.steps.size(),
                           model.model.size());
  for (const auto& [op, count] : operators) std::cout << fmt::format("  {:>5}  {}\n", count, op);
  return 0;
}

Expected<int> Inspect(const RunArguments& arguments) {
  if (!IsProgram(arguments.model)) {
    frontend::ImportOptions options;
    for (const std::string& text : arguments.shapes) {
      OCTILE_ASSIGN_OR_RETURN(const auto pair, Split(text, "--shape"));
      OCTILE_ASSIGN_OR_RETURN(options.shapes[pair.first], ParseShape(pair.second, pair.first));
    }
    OCTILE_ASSIGN_OR_RETURN(const frontend::ImportResult imported,
                            frontend::ImportFile(arguments.model, options));
    std::cout << ir::Summary(imported.graph);
    for (const std::string& note : imported.notes) std::cout << "note: " << note << "\n";
    for (const frontend::OffloadEntry& entry : imported.offload) {
      if (!entry.device)
        std::cout << fmt::format("host: {} ({}): {}\n", entry.step, entry.op, entry.reason);
    }
    return 0;
  }
  OCTILE_ASSIGN_OR_RETURN(const Program program, LoadProgram(arguments.model));
  std::cout << fmt::format(
      "model         {}\nproducer      {}\nconfiguration {} ({})\ninstructions  {}\nestimate      "
      "{} cycles\n",
      program.model, program.producer, program.config, ArchText(program.arch),
      program.instructions.size(), program.estimated_cycles);
  for (size_t r = 0; r < program.regions.size(); ++r) {
    const Region& region = program.regions[r];
    std::cout << fmt::format("region {}      {:<10} {:>10} bytes {}{}{}\n", r, region.name,
                             region.size, region.read ? "r" : "-", region.write ? "w" : "-",
                             region.execute ? "x" : "-");
  }
  for (const TensorDescriptor& d : program.tensors) {
    std::cout << fmt::format("tensor        '{}' {} {} region {} offset {} {}\n", d.name,
                             DTypeName(d.dtype), ShapeName(d.shape), d.region, d.offset,
                             d.layout == Layout::kPlain ? "plain" : "blocked");
  }
  for (const PlanItem& item : program.plan) {
    std::cout << fmt::format("plan          {} {}{}{}\n", PlanKindName(item.kind), item.name,
                             item.reason.empty() ? "" : ": ", item.reason);
  }
  for (size_t l = 0; l < program.layers.size(); ++l) {
    std::cout << fmt::format("layer {:<7} {} ({} MACs): {}\n", l, program.layers[l].name,
                             program.layers[l].macs, fmt::join(program.layers[l].nodes, ", "));
  }
  const Status valid = VerifyProgram(program);
  std::cout << (valid ? std::string("valid         yes\n")
                      : fmt::format("valid         no: {}\n", valid.error().message));
  return valid ? 0 : static_cast<int>(ErrorCode::kProgram);
}

Expected<int> PrintInstructions(const RunArguments& arguments) {
  OCTILE_ASSIGN_OR_RETURN(const Program program, LoadProgram(arguments.model));
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    std::cout << fmt::format("{:>6}  {}\n", i, Disassemble(program.instructions[i]));
  }
  return 0;
}

int ListOperators() {
  std::cout << "Operators of QDQ ONNX models and where they run. Steps beyond a limit of the "
               "hardware fall back to the host with the reason in the report.\n";
  for (const frontend::OperatorSupport& op : frontend::SupportedOperators()) {
    std::cout << fmt::format("  {:<28} {:<7} {}\n", op.op, op.device ? "device" : "host", op.note);
  }
  return 0;
}

int ListDevices() {
  const bool builder = !driver::FindDeviceProgram("octile-rtl-build").empty();
  for (const driver::DeviceInfo& info : driver::Device::Enumerate()) {
    const bool rtl = info.uri.substr(0, info.uri.find(':')) == "rtl";
    std::cout << fmt::format("  {:<20} {:<12} {}\n", info.uri,
                             info.available   ? "available"
                             : rtl && builder ? "on demand"
                                              : "not built",
                             info.description);
  }
  if (builder)
    std::cout << "  The RTL of other configurations (--config FILE.yml) and with waveforms "
                 "(--wave) is built at its first use.\n";
  return 0;
}

int Main(int argc, char** argv) {
  sim::RegisterIssBackend();
  struct sigaction action {};
  action.sa_handler = OnSignal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGHUP, &action, nullptr);
  // A reader that went away is an error of writing, which is noticed.
  std::signal(SIGPIPE, SIG_IGN);

  CLI::App app{
      "Runs quantized ONNX models on the Octile accelerator: compiles, simulates cycle by cycle, "
      "proves every step bit for bit."};
  app.require_subcommand(1);
  app.set_version_flag("--version", "octile 0.1.0");
  RunArguments arguments;
  const auto add_config = [&](CLI::App* sub) {
    sub->add_option("--config", arguments.config,
                    "configuration: a name (octile devices) or a .yml file");
    sub->add_option("--platform", arguments.platform,
                    "FIELD=VALUE of the platform part, e.g. read_latency=200 (repeatable)");
    sub->add_option("--shape", arguments.shapes,
                    "NAME=1x3x224x224: shape of an input with symbolic dimensions (repeatable)");
  };
  CLI::App* run = app.add_subcommand(
      "run", "compile (if needed), run on devices, compare with the host reference, report");
  run->add_option("MODEL", arguments.model, "model.onnx or program.octile")->required();
  run->add_option("--device", arguments.devices,
                  "comma-separated list of iss, systemc, rtl; or all (default)");
  run->add_flag("--timing-only", arguments.timing_only,
                "cycles without data, on systemc; nothing is checked");
  add_config(run);
  run->add_option("--input", arguments.inputs,
                  "NAME=FILE.npy (repeatable); a multiple of the batch runs image by image");
  run->add_option(
      "--labels", arguments.labels,
      "NAME=FILE.npy: the class of every image for output NAME; the report counts the right ones");
  run->add_option("--seed", arguments.seed, "seed of the inputs that are not given")
      ->capture_default_str();
  run->add_option("--output-dir", arguments.output_dir, "writes outputs to DIR/DEVICE/NAME.npy");
  run->add_option("--report", arguments.report, "writes the report as JSON");
  run->add_option("--clock", arguments.clock_mhz, "clock in MHz that turns cycles into time")
      ->check(CLI::Range(1, 100000));
  run->add_flag("--require-device", arguments.require_device,
                "fail if any operator runs on the host");
  run->add_option("--wave", arguments.wave, "FILE.fst: waveform of the RTL");
  run->add_option("--wave-cycles", arguments.wave_cycles, "A:B: only these cycles of the job");
  CLI::App* compile = app.add_subcommand("compile", "compile a model to a program file");
  compile->add_option("MODEL", arguments.model, "model.onnx")->required();
  compile->add_option("-o,--output", arguments.output, "program.octile")->required();
  add_config(compile);
  CLI::App* export_golden = app.add_subcommand(
      "export-golden",
      "write what a model means as an ONNX model that ONNX Runtime computes bit for bit");
  export_golden->add_option("MODEL", arguments.model, "model.onnx or program.octile")->required();
  export_golden->add_option("-o,--output", arguments.output, "golden.onnx")->required();
  export_golden->add_option(
      "--shape", arguments.shapes,
      "NAME=1x3x224x224: shape of an input with symbolic dimensions (repeatable)");
  export_golden->add_option(
      "--input", arguments.inputs,
      "NAME=FILE.npy: gives symbolic dimensions, or another value of a constant (repeatable)");
  export_golden->add_flag("--all-tensors", arguments.all_tensors,
                          "the result of every step is an output");
  CLI::App* inspect = app.add_subcommand("inspect", "show what a model or program holds");
  inspect->add_option("FILE", arguments.model, "model.onnx or program.octile")->required();
  inspect->add_option("--shape", arguments.shapes,
                      "NAME=1x3x224x224: shape of an input with symbolic dimensions (repeatable)");
  CLI::App* disasm = app.add_subcommand("disasm", "print the instructions of a program");
  disasm->add_option("PROGRAM", arguments.model, "program.octile")->required();
  CLI::App* ops = app.add_subcommand("ops", "list the operators and where they run");
  CLI::App* devices = app.add_subcommand("devices", "list the devices");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ErrorCode::kUsage);
  }

  Expected<int> status = 0;
  if (*run) status = Run(arguments);
  if (*compile) status = Compile(arguments);
  if (*export_golden) status = ExportGolden(arguments);
  if (*inspect) status = Inspect(arguments);
  if (*disasm) status = PrintInstructions(arguments);
  if (*ops) return ListOperators();
  if (*devices) return ListDevices();
  if (status) return *status;
  if (*run && !arguments.report.empty()) {
    // The report is always written: of a run that did not come to an end it holds the reason.
    const nlohmann::json report = {{"schema_version", session::kReportSchemaVersion},
                                   {"model", fs::path(arguments.model).stem().string()},
                                   {"error",
                                    {{"exit_code", static_cast<int>(status.error().code)},
                                     {"message", status.error().message}}}};
    if (const Status written = WriteFile(arguments.report, Json(report)); !written)
      std::cerr << "octile: " << written.error().message << "\n";
  }
  std::cerr << "octile: " << status.error().message << "\n";
  return static_cast<int>(status.error().code);
}

}  // namespace
}  // namespace octile

int main(int argc, char** argv) {
  try {
    const int status = octile::Main(argc, argv);
    // What was not written was not said.
    std::cout.flush();
    if (!std::cout) {
      std::cerr << "octile: cannot write to standard output\n";
      return status == 0 ? static_cast<int>(octile::ErrorCode::kUsage) : status;
    }
    return status;
  } catch (const std::exception& error) {
    std::cerr << "octile: internal error: " << error.what() << "\n";
    return static_cast<int>(octile::ErrorCode::kInternal);
  }
}
