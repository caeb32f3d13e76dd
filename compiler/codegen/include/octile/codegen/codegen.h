// From the canonical graph to a program for one configuration.
//
// Every group of fused steps (octile/passes/passes.h) becomes a series of tiles; a tensor stays in
// the activation buffer from its producer to its last consumer when it fits, otherwise it lives in
// device memory and passes through tile buffers. Steps that a device cannot run become host steps
// of the plan, each with its reason. docs/compiler.md explains the choices.
#pragma once

#include <string>

#include "octile/ir/graph.h"
#include "octile/program/config.h"
#include "octile/program/program.h"
#include "octile/support/status.h"

namespace octile::codegen {

struct CompileOptions {
  std::string model_name;
};

// Compiles `imported`, the graph as the importer made it: passes run on a copy, and the program
// carries `imported` for the host reference. Steps in the program's plan, layers and observations
// are indices into imported.steps.
Expected<Program> Compile(const ir::Graph& imported, const Config& config,
                          const CompileOptions& options);

}  // namespace octile::codegen
