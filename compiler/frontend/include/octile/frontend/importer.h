// Import of QDQ ONNX models into the canonical quantized graph.
//
//   file -> protobuf -> flat model (functions and constant branches inlined, sorted, folded, every
//   shape known)
//        -> canonical graph: one step per rule of docs/numerics.md
//
// Models are not trusted: whatever is malformed, out of bounds or unsupported is an error of kind
// kModel that names the node or value and says what to do.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "octile/ir/graph.h"
#include "octile/support/status.h"

namespace octile::frontend {

// Limits against hostile files. The defaults leave room for every real network that the accelerator
// can hold.
struct ImportLimits {
  int64_t model_bytes = (int64_t{1} << 31) - 1;  // protobuf's own limit
  int64_t external_bytes = int64_t{4} << 30;     // all external data together
  int64_t nodes = 200000;                        // after inlining
  int64_t tensor_elements = int64_t{1} << 31;    // of any value
  int64_t folded_bytes = int64_t{2} << 30;       // all constants together
  int depth = 64;  // of nested functions, branches and float expressions (times 4)
};

struct ImportOptions {
  // Shapes of graph inputs by name; replaces symbolic and fixed dimensions alike.
  std::map<std::string, Shape> shapes;
  // Initializers that are listed as graph inputs and shall stay inputs instead of becoming
  // constants.
  std::set<std::string> overridden_inputs;
  // Other values for initializers that are listed as graph inputs; they are constants of this
  // import.
  std::map<std::string, Tensor> initializer_values;
  ImportLimits limits;
};

// One step of the graph in the offload report.
struct OffloadEntry {
  std::string step;    // name of the step
  std::string op;      // operator (ir::OpName)
  bool device = true;  // false: the host computes it
  std::string reason;  // why on the host
};

struct ImportResult {
  ir::Graph graph;
  std::vector<std::string> notes;     // decisions a user may want to know, one sentence each
  std::vector<OffloadEntry> offload;  // every step, in order
};

// Imports a model file; its folder is the only place external data may come from.
Expected<ImportResult> ImportFile(const std::filesystem::path& file,
                                  const ImportOptions& options = {});

// Imports a serialized model. External data is looked up in `folder`; an empty path refuses
// external data.
Expected<ImportResult> ImportBytes(std::span<const uint8_t> bytes,
                                   const std::filesystem::path& folder = {},
                                   const ImportOptions& options = {});

// What a model declares, for listing inputs before shapes are known.
struct ModelInput {
  std::string name;
  std::string type;               // "f32", "u8" ...
  std::vector<std::string> dims;  // numbers, or names of symbolic dimensions ("?" if unnamed)
  bool has_initializer = false;
};
Expected<std::vector<ModelInput>> ListInputs(const std::filesystem::path& file);

// The operators that a host step may evaluate, with the reason why; the closed list behind `octile
// ops`.
struct OperatorSupport {
  std::string op;
  bool device = true;
  std::string note;
};
std::vector<OperatorSupport> SupportedOperators();

}  // namespace octile::frontend
