// The canonical graph as an ONNX model that ONNX Runtime's CPU kernels compute bit for bit.
//
// Every step becomes the operators whose kernels evaluate its rule of docs/numerics.md: a quantized
// operator (QLinearConv, QGemm, QLinearAdd ...) where the kernel's formula is the rule, else the
// rule written out, one operator per rounding. The model is an oracle of its own: it holds the
// constants of the graph and no result of the reference. docs/golden.md lists the forms.
//
// The model does not depend on ONNX Runtime's session settings: no DequantizeLinear stands before
// a float operator, so no optimization can replace a float step by a quantized one.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "octile/ir/graph.h"
#include "octile/support/status.h"

namespace octile::golden {

struct Options {
  // Every step's result is a graph output, after the model's own outputs, in the order of the
  // steps, so that the first step that differs can be named.
  bool all_tensors = false;
};

// How one step is expressed.
struct StepForm {
  std::string step;
  std::string op;                      // ir::OpName
  std::string value;                   // name of its result in the model
  std::vector<std::string> operators;  // in order, "com.microsoft::" before contributed ones
};

struct Golden {
  std::string model;            // serialized onnx::ModelProto: IR version 8, opset 17
  std::vector<StepForm> steps;  // in the order of the graph's steps
};

// Inputs and outputs keep names, types and shapes of the graph's. Errors (kModel) name the step
// that no operators of ONNX Runtime compute exactly, or say that the model exceeds the 2 GiB of a
// protobuf file. `graph` is verified.
Expected<Golden> Export(const ir::Graph& graph, const Options& options = {});

}  // namespace octile::golden
