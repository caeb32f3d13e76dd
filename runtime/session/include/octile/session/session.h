// Load, run, compare: executes a compiled program on devices, with its host steps, and compares
// every step with the host reference.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "octile/driver/device.h"
#include "octile/ir/graph.h"
#include "octile/program/config.h"
#include "octile/program/program.h"
#include "octile/support/status.h"
#include "octile/support/tensor.h"

namespace octile::session {

inline constexpr int kReportSchemaVersion = 1;

// Where the first difference between a device and the reference is.
struct Mismatch {
  std::string step;
  std::string tensor;
  int64_t image = 0;
  std::vector<int64_t> index;  // in the tensor's shape
  std::string expected;        // value of the reference
  std::string actual;          // value of the device
  int64_t differing = 0;       // elements of the step that differ
  std::string Describe() const;
};

struct LayerResult {
  uint32_t layer = 0;
  uint64_t cycles = 0;
  driver::ClassMatrix classes{};
};

// What one device did; cycles and counters are those of one inference (the first image), all
// segments together.
struct DeviceResult {
  std::string name;  // as in the device list: "iss", "systemc", "rtl"
  bool cycle_exact = false;
  uint64_t cycles = 0;
  driver::JobCounters counters;
  std::vector<LayerResult> layers;
  std::vector<std::vector<uint64_t>> issue;       // by segment, by instruction
  std::vector<std::vector<uint64_t>> completion;  // by segment, by instruction
  double wall_seconds = 0;                        // on the device, all images
  int64_t images = 0;
  bool compared = false;
  std::optional<Mismatch> mismatch;
  std::optional<Error> error;             // device failure; the results are then incomplete
  std::map<std::string, Tensor> outputs;  // by ONNX output name, all images
};

struct Options {
  std::vector<std::string>
      devices;  // "iss", "systemc", "rtl", each optionally with ?option=value&...
  std::map<std::string, Tensor> inputs;  // by name; missing ones are drawn from `seed`
  std::map<std::string, Tensor> labels;  // by output name: the class of every image (integers)
  uint64_t seed = 1;
  int64_t images = 1;                  // how many to draw when no input is given
  std::chrono::seconds timeout{3600};  // per job
  // Cycles without data: one inference on devices that can leave out arithmetic and data movement
  // (systemc), without the reference and without host steps, since cycles do not depend on data.
  // Nothing is compared, and there are no outputs.
  bool timing_only = false;
  // Called now and then: what is being done, and how much of it.
  std::function<void(const std::string& what, double fraction)> progress;
  std::function<bool()> interrupted;  // polled; true ends the run with kInterrupted
};

struct Result {
  int64_t images = 1;
  std::map<std::string, Tensor> reference_outputs;  // by ONNX output name, all images
  std::optional<double> reference_seconds;          // nothing: the reference was not run
  std::vector<DeviceResult> devices;
  // SystemC and RTL both ran and differ in a cycle: the first divergence.
  std::optional<std::string> divergence;
};

// The canonical graph that a program carries, verified.
Expected<ir::Graph> GraphOf(const Program& program);

// Runs `program`, compiled for `config`, on every device of the list. A failing device is reported
// in its DeviceResult; an error is returned for what concerns the whole run (inputs, program,
// interruption; kUsage: timing_only with another device than systemc).
Expected<Result> Run(const Program& program, const ir::Graph& graph, const Config& config,
                     const Options& options);

// Bytes of memory that this process needs at most for importing, compiling and running: per weight
// kHostBytesPerWeight (the model file, the graph, the program's image and its text), the device
// memory once for each device, the model's tensors kHostCopiesOfTensors times (reference,
// observations of one device at a time), inputs and outputs of all images, and kHostFixedBytes for
// everything else.
inline constexpr uint64_t kHostBytesPerWeight = 8;
inline constexpr uint64_t kHostCopiesOfTensors = 4;
inline constexpr uint64_t kHostFixedBytes = uint64_t{64} << 20;
uint64_t HostMemoryBound(const Program& program, const ir::Graph& graph, int64_t images,
                         size_t devices);

// Inputs that are not given: every code of the input's quantization and 5 % beyond it on both
// sides, from a counter-based generator.
Tensor RandomInput(const ir::Graph& graph, ir::TensorId input, uint64_t seed);

// How many images of `outputs` have their largest element at the label. Errors (kUsage) name what
// does not fit.
struct Accuracy {
  int64_t correct = 0;
  int64_t images = 0;
};
Expected<Accuracy> CountCorrect(const std::map<std::string, Tensor>& outputs,
                                const std::map<std::string, Tensor>& labels, int64_t images);

// The JSON report (docs/cli.md). Host facts and wall times are in the object "host"; everything
// else is deterministic.
nlohmann::json Report(const Program& program, const ir::Graph& graph, const Config& config,
                      const Options& options, const Result& result);
// The same for people.
std::string ReportText(const nlohmann::json& report, bool color);

}  // namespace octile::session
