// The closed list of operators that host steps evaluate in fp32 (ir::HostFloat), and their
// evaluation under rule N13: each operator by itself, every fp32 operation rounded, reductions in
// index order with an fp64 accumulator rounded once.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "octile/ir/graph.h"

namespace octile::ir {

struct HostOperator {
  std::string_view op;
  std::string_view reason;  // why no device computes it
};
// All operators EvaluateHost knows, sorted by name.
std::span<const HostOperator> HostOperators();
// nullptr if the operator is not in the list.
const HostOperator* FindHostOperator(std::string_view op);

// True for operators of one tensor whose elements are computed alone (Relu, Sigmoid, Clip ...).
bool IsUnary(std::string_view op);
// True for operators of two broadcast tensors whose elements are computed alone (Add, Sub, Mul,
// Div, Pow, Min, Max, PRelu).
bool IsBinary(std::string_view op);

// Evaluates one operator. Inputs in ONNX order (constants included, optional ones may be nullptr);
// the result has the given type and shape. Fails if the operator is not in the list or its
// attributes are malformed.
Expected<Tensor> EvaluateHost(const HostFloat& op, std::span<const Tensor* const> inputs,
                              DType dtype, const Shape& shape);

}  // namespace octile::ir
