// The closed list of host operators: consistent with its evaluation, and clear about bad
// attributes.
#include "octile/ir/host_ops.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace octile::ir {
namespace {

Tensor Floats(Shape shape, const std::vector<float>& values) {
  Tensor t(DType::kF32, std::move(shape));
  std::copy(values.begin(), values.end(), t.data<float>().begin());
  return t;
}

TEST(HostOps, ListIsSortedAndKnownToTheEvaluator) {
  const auto list = HostOperators();
  EXPECT_TRUE(std::is_sorted(list.begin(), list.end(),
                             [](const auto& a, const auto& b) { return a.op < b.op; }));
  for (const HostOperator& row : list) {
    EXPECT_FALSE(row.reason.empty()) << row.op;
    // Without inputs every operator fails, but not as an unknown one.
    const auto y = EvaluateHost({std::string(row.op), {}}, {}, DType::kF32, {1});
    ASSERT_FALSE(y.has_value()) << row.op;
    EXPECT_EQ(y.error().message.find("is not a host operator"), std::string::npos) << row.op;
  }
  EXPECT_EQ(FindHostOperator("Einsum"), nullptr);
}

TEST(HostOps, RefusesUnknownOperatorsAndBadAttributes) {
  const Tensor x = Floats({2}, {1, -1});
  const Tensor* inputs[] = {&x};
  EXPECT_EQ(EvaluateHost({"Einsum", {}}, inputs, DType::kF32, {2}).error().message,
            "Einsum is not a host operator");
  HostFloat op{"LeakyRelu", {{"alpha", int64_t{1}}}};
  EXPECT_EQ(EvaluateHost(op, inputs, DType::kF32, {2}).error().message,
            "LeakyRelu: attribute 'alpha' has the wrong type");
  op = {"Softmax", {{"axis", int64_t{3}}}};
  EXPECT_EQ(EvaluateHost(op, inputs, DType::kF32, {2}).error().message,
            "Softmax: axis is out of range");
  EXPECT_EQ(EvaluateHost({"Relu", {}}, inputs, DType::kF32, {3}).error().message,
            "Relu: its result is f32 2, not f32 3");
  EXPECT_EQ(EvaluateHost({"Add", {}}, inputs, DType::kF32, {2}).error().message,
            "Add: input 1 is missing");
}

TEST(HostOps, EvaluatesByHand) {
  const Tensor x = Floats({2, 2}, {1, -2, 3, 4});
  const Tensor b = Floats({2}, {10, 20});
  const Tensor* pair[] = {&x, &b};
  EXPECT_EQ(*EvaluateHost({"Sub", {}}, pair, DType::kF32, {2, 2}),
            Floats({2, 2}, {-9, -22, -7, -16}));
  const Tensor* one[] = {&x};
  EXPECT_EQ(
      *EvaluateHost({"ReduceSum", {{"axes", std::vector<int64_t>{0}}}}, one, DType::kF32, {2}),
      Floats({2}, {4, 2}));
  EXPECT_EQ(*EvaluateHost({"Clip", {{"min", 0.0f}, {"max", 3.0f}}}, one, DType::kF32, {2, 2}),
            Floats({2, 2}, {1, 0, 3, 3}));
  EXPECT_EQ(
      EvaluateHost({"ArgMax", {{"axis", int64_t{1}}}}, one, DType::kS64, {2})->data<int64_t>()[1],
      1);
}

}  // namespace
}  // namespace octile::ir
