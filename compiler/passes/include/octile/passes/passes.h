// Passes over the canonical graph. A pass keeps tensor numbers: a tensor that survives holds, code
// for code, what the same tensor holds in the imported graph, so that devices can be compared with
// the reference step by step.
//
// The pipeline is data: DefaultPipeline() lists the passes in order; RunPasses verifies the graph
// after each of them.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "octile/ir/graph.h"
#include "octile/support/status.h"

namespace octile::passes {

struct Pass {
  std::string_view name;
  // Returns true if the graph changed.
  Expected<bool> (*run)(ir::Graph& graph);
};

// Drops Table steps that map every code to itself and data movement that moves nothing:
//   y = Table[identity](x); z = Conv(y)   ->   z = Conv(x)
// A step that makes a graph output stays.
Expected<bool> DropIdentities(ir::Graph& graph);

// A two-operand step whose value depends on one code becomes a table (N5):
//   y = Add(x, scalar constant), Mul(x, x) ...   ->   y = Table(x)
Expected<bool> OneCodeToTable(ir::Graph& graph);

// Windowed averages get their integer form (N8) where it is proved to give the codes of the fp32
// arithmetic for every input; the others become host steps that say why:
//   y = AveragePool(x)   ->   y = AveragePool(x), integer [[9,0,3,0x1.c71c72p-4]]
Expected<bool> IntegerAverages(ir::Graph& graph);

// Composes tables:  y = Table[f](x); z = Table[g](y), y used once   ->   z = Table[g o f](x)
Expected<bool> MergeTables(ir::Graph& graph);

// Drops steps that no output needs.
Expected<bool> DropDeadSteps(ir::Graph& graph);

// The graph for one image of a model with a fixed batch: every first dimension of `batch`
// becomes 1. nullopt if there is no batch above 1 in all (rank 4) inputs, or if any step could mix
// images. Not a pass: what it returns computes one image.
std::optional<ir::Graph> SplitBatch(const ir::Graph& graph, int64_t& batch);

std::span<const Pass> DefaultPipeline();
Status RunPasses(ir::Graph& graph, std::span<const Pass> pipeline);

// A group of steps that one instruction stream executes: an accumulating, window or elementwise
// step and what the post unit does to its results on the way out.
struct FusedStep {
  int main = -1;      // index of the step in the graph
  int table = -1;     // Table applied to its result, or -1
  int residual = -1;  // Add whose one operand is the result (after the table), or -1
  // Channel shuffle (Reshape, Transpose, Reshape) of `shuffle_groups` groups: channel j * groups +
  // k takes channel k * C/groups + j. It follows a Concat (main), or main is its first Reshape; 0:
  // none.
  int64_t shuffle_groups = 0;
  std::vector<int> shuffle;  // its steps behind main
  // The tensor that the group writes: of residual, else of table, else of shuffle, else of main.
  ir::TensorId output = -1;

  // All steps of the group in order.
  std::vector<int> Steps() const {
    std::vector<int> steps = {main};
    steps.insert(steps.end(), shuffle.begin(), shuffle.end());
    for (const int step : {table, residual}) {
      if (step >= 0) steps.push_back(step);
    }
    return steps;
  }
};

// Groups the steps of the graph, in execution order. Conv and Gemm take a following Table and then
// a following Add of two tensors of equal shape (N6) when the value between has one consumer and is
// no graph output; MaxPool, averages on the device, depthwise Conv, Add and Mul take a following
// Table.
std::vector<FusedStep> FuseSteps(const ir::Graph& graph);

}  // namespace octile::passes
