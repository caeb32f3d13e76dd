// Every statement of graph.h that the verifier checks, broken one at a time.
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "octile/ir/graph.h"
#include "sample_graph.h"

namespace octile::ir {
namespace {

TEST(Verifier, AcceptsTheSample) {
  const Status status = Verify(SampleGraph().g);
  EXPECT_TRUE(status.has_value()) << status.error().message;
}

struct Breakage {
  const char* name;
  std::function<void(SampleGraph&)> apply;
  const char* message;  // a part of it
};

template <class T>
T& OpOf(SampleGraph& s, const char* step) {
  return std::get<T>(s.step(step).op);
}

class Broken : public testing::TestWithParam<Breakage> {};

TEST_P(Broken, IsNamed) {
  SampleGraph s;
  GetParam().apply(s);
  const Status status = Verify(s.g);
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().message.find(GetParam().message), std::string::npos)
      << status.error().message;
}

INSTANTIATE_TEST_SUITE_P(
    All, Broken,
    testing::Values(
        Breakage{"TensorTwice", [](SampleGraph& s) { s.tensor("table").name = "conv"; },
                 "tensor 'conv' is defined twice"},
        Breakage{"StepTwice", [](SampleGraph& s) { s.step("table").name = "conv"; },
                 "step 'conv' (Table): its name is used twice"},
        Breakage{"Order", [](SampleGraph& s) { std::swap(s.g.steps[0], s.g.steps[1]); },
                 "step 'table' (Table): it reads 'conv' before"},
        Breakage{"WritesTwice",
                 [](SampleGraph& s) { s.step("table").output = s.step("conv").output; },
                 "it writes 'conv' again"},
        Breakage{"NoProducer", [](SampleGraph& s) { s.Codes("orphan", {1}); },
                 "tensor 'orphan' is computed by no step"},
        Breakage{"BadId", [](SampleGraph& s) { s.step("table").inputs = {99}; },
                 "tensor 99 does not exist"},
        Breakage{"NegativeId", [](SampleGraph& s) { s.g.outputs[0].tensor = -1; },
                 "tensor -1 does not exist"},
        Breakage{"NoInputs", [](SampleGraph& s) { s.step("table").inputs.clear(); },
                 "it has no inputs"},
        Breakage{"DivisorsDescend",
                 [](SampleGraph& s) { OpOf<AveragePool>(s, "integer").integer[1].divisor = 4; },
                 "step 'integer' (AveragePool): its divisors do not ascend"},
        Breakage{
            "AverageMultiplier",
            [](SampleGraph& s) { OpOf<AveragePool>(s, "integer").integer[2].multiplier = 1024.0f; },
            "a multiplier is outside"},
        Breakage{
            "AverageZeroPoint",
            [](SampleGraph& s) { OpOf<AveragePool>(s, "integer").integer[0].zero_point = 256; },
            "a zero point of its integer form is outside the type"},
        Breakage{"OutputTwice", [](SampleGraph& s) { s.g.outputs[1].name = "result"; },
                 "output 'result' is defined twice"},
        Breakage{"NoOutputs", [](SampleGraph& s) { s.g.outputs.clear(); },
                 "the graph has no outputs"},
        Breakage{"InputTwice", [](SampleGraph& s) { s.g.inputs.push_back(0); },
                 "'image' is an input and a constant, or an input twice"},
        Breakage{"ZeroDim", [](SampleGraph& s) { s.tensor("conv").shape[2] = 0; },
                 "tensor 'conv': shape 1x4x0x6"},
        Breakage{"Rank", [](SampleGraph& s) { s.tensor("conv").shape = Shape(7, 1); },
                 "its rank is more than 6"},
        Breakage{"Huge", [](SampleGraph& s) { s.tensor("conv").shape = Shape(6, 1 << 30); },
                 "it is too large"},
        Breakage{"Scale", [](SampleGraph& s) { s.tensor("conv").quant->scale = 0; },
                 "its scale is not a positive normal number"},
        Breakage{"Zero", [](SampleGraph& s) { s.tensor("conv").quant->zero_point = 256; },
                 "its zero point is outside the type"},
        Breakage{"FloatQuant", [](SampleGraph& s) { s.tensor("out").quant = Quantization{}; },
                 "only u8 and s8 tensors are quantized"},
        Breakage{"ConstantLength",
                 [](SampleGraph& s) { s.tensor("constant").constant->pop_back(); },
                 "its data does not have the length"},
        Breakage{"WeightCount",
                 [](SampleGraph& s) { OpOf<Conv>(s, "conv").weights.codes.pop_back(); },
                 "it has 71 weights, not 72"},
        Breakage{"WeightZero",
                 [](SampleGraph& s) { OpOf<Conv>(s, "conv").weights.zero_points[0] = 200; },
                 "a weight zero point is outside"},
        Breakage{"BiasCount", [](SampleGraph& s) { OpOf<Conv>(s, "conv").bias.pop_back(); },
                 "one bias per channel"},
        Breakage{"MultiplierCount",
                 [](SampleGraph& s) { OpOf<Conv>(s, "conv").multipliers.pop_back(); },
                 "one multiplier per channel"},
        Breakage{"MultiplierRange",
                 [](SampleGraph& s) { OpOf<Conv>(s, "conv").multipliers[0] = 513; },
                 "a multiplier is outside"},
        Breakage{"MultiplierSubnormal",
                 [](SampleGraph& s) { OpOf<Conv>(s, "conv").multipliers[0] = 1e-40f; },
                 "a multiplier is outside"},
        Breakage{"RawMultiplier",
                 [](SampleGraph& s) {
                   OpOf<Gemm>(s, "gemm").multipliers = {1, 1, 1};
                 },
                 "raw accumulators have no multipliers"},
        Breakage{"Group", [](SampleGraph& s) { OpOf<Conv>(s, "conv").group = 3; },
                 "its group does not divide"},
        Breakage{"Stride", [](SampleGraph& s) { OpOf<Conv>(s, "conv").strides[0] = 2; },
                 "3 rows or columns fit"},
        Breakage{"ZeroStride", [](SampleGraph& s) { OpOf<Conv>(s, "conv").strides[0] = 0; },
                 "out of range"},
        Breakage{"NegativePad", [](SampleGraph& s) { OpOf<Conv>(s, "conv").pads[0] = -1; },
                 "a pad is out of range"},
        Breakage{"Clamp",
                 [](SampleGraph& s) {
                   OpOf<Conv>(s, "conv").clamp = {10, 9};
                 },
                 "the clamp [10, 9] does not fit u8"},
        Breakage{"GemmShape",
                 [](SampleGraph& s) {
                   s.tensor("gemm").shape = {3, 4};
                 },
                 "step 'gemm' (Gemm): its output has shape 3x4"},
        Breakage{"TableType",
                 [](SampleGraph& s) {
                   s.tensor("table").dtype = DType::kS32;
                   s.tensor("table").quant.reset();
                 },
                 "it maps 8-bit codes"},
        Breakage{"MaxPoolRescales", [](SampleGraph& s) { s.tensor("max").quant->scale = 0.2f; },
                 "differ in type or quantization"},
        Breakage{"Broadcast",
                 [](SampleGraph& s) {
                   s.tensor("global").shape = {1, 3, 1, 1};
                 },
                 "its output has shape 1x3x1x1"},
        Breakage{"ConcatAxis", [](SampleGraph& s) { OpOf<Concat>(s, "concat").axis = 4; },
                 "its axis is out of range"},
        Breakage{"ConcatShape", [](SampleGraph& s) { OpOf<Concat>(s, "concat").axis = 2; },
                 "step 'concat' (Concat)"},
        Breakage{"SliceStart", [](SampleGraph& s) { OpOf<Slice>(s, "slice").starts[1] = 5; },
                 "axis 1 leaves the input"},
        Breakage{"SliceStep", [](SampleGraph& s) { OpOf<Slice>(s, "slice").steps[0] = 0; },
                 "axis 0 leaves the input"},
        Breakage{"PadValue", [](SampleGraph& s) { OpOf<Pad>(s, "pad").value = -1; },
                 "its value is no code"},
        Breakage{"PadReflect",
                 [](SampleGraph& s) {
                   OpOf<Pad>(s, "pad") = {{0, 0, 1, 0}, {0, 0, 0, 2}, PadMode::kReflect, 0};
                 },
                 "it reflects more than there is"},
        Breakage{"ResizeRow", [](SampleGraph& s) { OpOf<ResizeNearest>(s, "resize").rows[0] = 4; },
                 "a row is out of range"},
        Breakage{"Perm",
                 [](SampleGraph& s) {
                   OpOf<Transpose>(s, "transpose").perm = {0, 1, 1, 2};
                 },
                 "perm is not a permutation"},
        Breakage{"ReshapeCount",
                 [](SampleGraph& s) {
                   s.tensor("reshape").shape = {4, 7};
                 },
                 "it changes the number of elements"},
        Breakage{"HostReason", [](SampleGraph& s) { s.step("out").host_reason.clear(); },
                 "a host step without a reason"},
        Breakage{"HostList", [](SampleGraph& s) { OpOf<HostFloat>(s, "relu").op = "Einsum"; },
                 "not in the list of host operators"},
        Breakage{"Scales",
                 [](SampleGraph& s) { OpOf<ScaleAccumulator>(s, "scaled").scales.pop_back(); },
                 "one scale per channel"},
        Breakage{"SoftmaxAxis", [](SampleGraph& s) { OpOf<Softmax>(s, "softmax").axis = 2; },
                 "its axis is out of range"},
        Breakage{"AddConstant",
                 [](SampleGraph& s) {
                   OpOf<ir::Add>(s, "add").f = std::numeric_limits<float>::infinity();
                 },
                 "a constant is not finite"},
        Breakage{"AffineChannels",
                 [](SampleGraph& s) { OpOf<Affine>(s, "affine").offsets.pop_back(); },
                 "one factor and one offset per channel"},
        Breakage{"AffineConstant",
                 [](SampleGraph& s) {
                   OpOf<Affine>(s, "affine").factors[1] = std::numeric_limits<float>::infinity();
                 },
                 "a constant is not finite"},
        Breakage{"AffineClamp", [](SampleGraph& s) { OpOf<Affine>(s, "affine").clamp.hi = 256; },
                 "does not fit"},
        Breakage{"MulRatio", [](SampleGraph& s) { OpOf<Mul>(s, "mul").r = -1; },
                 "its ratio is negative"}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace octile::ir
