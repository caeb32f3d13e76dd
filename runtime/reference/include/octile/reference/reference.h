// The host reference: evaluates the canonical graph, as imported and before any pass, in fp32
// exactly as the rules of docs/numerics.md are written. It never sees instructions; devices are
// compared with it step by step.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "octile/ir/graph.h"
#include "octile/support/status.h"
#include "octile/support/tensor.h"

namespace octile::reference {

struct Evaluation {
  // One tensor per step, in the order of Graph::steps.
  std::vector<Tensor> steps;
  // One tensor per graph output, in the order of Graph::outputs.
  std::vector<Tensor> outputs;
};

// Evaluates a verified graph. `inputs`: one tensor per graph input by name, with the input's type
// and shape. Errors (kUsage) name the input that is missing or does not fit; kModel names a step
// whose attributes are malformed.
Expected<Evaluation> Evaluate(const ir::Graph& graph, const std::map<std::string, Tensor>& inputs);

// One step alone: `inputs` are the tensors of step.inputs in order (constants included).
Expected<Tensor> EvaluateStep(const ir::Graph& graph, const ir::Step& step,
                              std::span<const Tensor* const> inputs);

// The tensor of a constant.
Tensor ConstantTensor(const ir::TensorInfo& info);

}  // namespace octile::reference
