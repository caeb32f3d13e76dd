// What the exporter writes for each kind of step: operators, constants, names. That ONNX Runtime
// computes the rules with it is what forms_test.py shows.
#include "octile/golden/golden.h"

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>

namespace octile::golden {
namespace {

// A graph under construction: tensor 0, "x", is the input.
class GraphMaker {
 public:
  GraphMaker(DType type, Shape shape, std::optional<ir::Quantization> quant) {
    graph.name = "made";
    graph.inputs = {Tensor("x", type, std::move(shape), quant)};
  }

  ir::TensorId Tensor(const std::string& name, DType type, Shape shape,
                      std::optional<ir::Quantization> quant = std::nullopt) {
    ir::TensorInfo info;
    info.name = name;
    info.dtype = type;
    info.shape = std::move(shape);
    info.quant = quant;
    graph.tensors.push_back(info);
    return static_cast<ir::TensorId>(graph.tensors.size() - 1);
  }

  ir::TensorId Step(ir::Op op, std::vector<ir::TensorId> inputs, const std::string& name,
                    DType type, Shape shape, std::optional<ir::Quantization> quant = std::nullopt) {
    ir::Step step;
    step.name = name;
    step.op = std::move(op);
    step.inputs = std::move(inputs);
    step.output = Tensor(name, type, std::move(shape), quant);
    graph.steps.push_back(step);
    return step.output;
  }

  void Output(ir::TensorId id, const std::string& name = "") {
    graph.outputs.push_back({name.empty() ? graph.tensor(id).name : name, id});
  }

  ir::Graph graph;
};

// An exported model and where its parts are.
struct Exported {
  explicit Exported(const ir::Graph& graph, const Options& options = {}) {
    const Status valid = ir::Verify(graph);
    EXPECT_TRUE(valid) << valid.error().message;
    auto result = Export(graph, options);
    EXPECT_TRUE(result) << result.error().message;
    if (!result) return;
    golden = std::move(*result);
    EXPECT_TRUE(model.ParseFromString(golden.model));
    for (const onnx::TensorProto& tensor : model.graph().initializer()) {
      EXPECT_TRUE(initializers.emplace(tensor.name(), &tensor).second) << tensor.name();
    }
  }

  std::vector<std::string> Operators() const {
    std::vector<std::string> names;
    for (const onnx::NodeProto& node : model.graph().node()) names.push_back(node.op_type());
    return names;
  }
  const onnx::NodeProto& Node(const std::string& op) const {
    for (const onnx::NodeProto& node : model.graph().node()) {
      if (node.op_type() == op) return node;
    }
    ADD_FAILURE() << "no " << op;
    static const onnx::NodeProto kNone;
    return kNone;
  }
  const onnx::TensorProto& Constant(const onnx::NodeProto& node, int input) const {
    const auto it =
        input < node.input_size() ? initializers.find(node.input(input)) : initializers.end();
    if (it != initializers.end()) return *it->second;
    ADD_FAILURE() << node.name() << " has no constant input " << input;
    static const onnx::TensorProto kNone;
    return kNone;
  }
  template <class T>
  std::vector<T> Values(const onnx::NodeProto& node, int input) const {
    const std::string& raw = Constant(node, input).raw_data();
    std::vector<T> values(raw.size() / sizeof(T));
    std::memcpy(values.data(), raw.data(), values.size() * sizeof(T));
    return values;
  }
  static std::vector<int64_t> Ints(const onnx::NodeProto& node, const std::string& name) {
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      if (attribute.name() == name) return {attribute.ints().begin(), attribute.ints().end()};
    }
    return {};
  }

  Golden golden;
  onnx::ModelProto model;
  std::map<std::string, const onnx::TensorProto*> initializers;
};

using Names = std::vector<std::string>;

// x [1,2,3,3] with kernel 2x2 and 2 output channels.
ir::Conv MakeConv(DType weights, uint8_t code, ir::CodeRange clamp) {
  ir::Conv conv;
  conv.weights = {weights, std::vector<uint8_t>(16, code), {0, 0}};
  conv.bias = {5, -7};
  conv.multipliers = {0.25f, 0x1.000002p-9f};
  conv.kernel = {2, 2};
  conv.pads = {1, 0, 0, 1};
  conv.clamp = clamp;
  return conv;
}

Exported ExportConv(DType x, DType w, uint8_t code, DType y,
                    std::optional<ir::CodeRange> clamp = {}) {
  GraphMaker maker(x, {1, 2, 3, 3}, ir::Quantization{0.5f, 3});
  const ir::Conv conv = MakeConv(w, code, clamp.value_or(ir::FullRange(y)));
  maker.Output(maker.Step(conv, {0}, "y", y, {1, 2, 3, 3}, ir::Quantization{0.25f, 9}));
  return Exported(maker.graph);
}

TEST(GoldenExport, ConvCarriesTheMultipliersAsWeightScales) {
  const Exported e = ExportConv(DType::kS8, DType::kS8, 100, DType::kS8);
  EXPECT_EQ(e.Operators(), Names{"QLinearConv"});
  const onnx::NodeProto& node = e.Node("QLinearConv");
  EXPECT_EQ(e.Values<float>(node, 1), std::vector<float>{1.0f});
  EXPECT_EQ(e.Values<int8_t>(node, 2), std::vector<int8_t>{3});
  EXPECT_EQ(e.Values<float>(node, 4), (std::vector<float>{0.25f, 0x1.000002p-9f}));
  EXPECT_EQ(e.Values<int8_t>(node, 5), (std::vector<int8_t>{0, 0}));
  EXPECT_EQ(e.Values<float>(node, 6), std::vector<float>{1.0f});
  EXPECT_EQ(e.Values<int8_t>(node, 7), std::vector<int8_t>{9});
  EXPECT_EQ(e.Values<int32_t>(node, 8), (std::vector<int32_t>{5, -7}));
  EXPECT_EQ(Exported::Ints(node, "pads"), (std::vector<int64_t>{1, 0, 0, 1}));
  EXPECT_EQ(Exported::Ints(node, "kernel_shape"), (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(node.name(), "y");
  EXPECT_EQ(node.output(0), "y");
  EXPECT_EQ(e.golden.steps[0].operators, Names{"QLinearConv"});
}

TEST(GoldenExport, LargeWeightsOfU8ActivationsAreU8) {
  const Exported large = ExportConv(DType::kU8, DType::kS8, 65, DType::kU8);
  EXPECT_EQ(large.Constant(large.Node("QLinearConv"), 3).data_type(), onnx::TensorProto::UINT8);
  EXPECT_EQ(large.Values<uint8_t>(large.Node("QLinearConv"), 3)[0], 65 + 128);
  EXPECT_EQ(large.Values<uint8_t>(large.Node("QLinearConv"), 5), (std::vector<uint8_t>{128, 128}));
  const Exported small = ExportConv(DType::kU8, DType::kS8, 64, DType::kU8);
  EXPECT_EQ(small.Constant(small.Node("QLinearConv"), 3).data_type(), onnx::TensorProto::INT8);
}

TEST(GoldenExport, MixedTypesPassThroughAChangeOfType) {
  // The kernel's result has the type of the activations.
  const Exported out = ExportConv(DType::kS8, DType::kS8, 1, DType::kU8);
  EXPECT_EQ(out.Operators(), (Names{"QLinearConv", "Cast", "Gather"}));
  EXPECT_EQ(out.Values<int8_t>(out.Node("QLinearConv"), 7), std::vector<int8_t>{9 - 128});
  EXPECT_EQ(out.Values<uint8_t>(out.Node("Gather"), 0)[0xff], 0x7f);  // code -1 is 127
  // s8 activations with u8 weights have no kernel.
  const Exported in = ExportConv(DType::kS8, DType::kU8, 1, DType::kS8);
  EXPECT_EQ(in.Operators(), (Names{"Cast", "Gather", "QLinearConv", "Cast", "Gather"}));
  EXPECT_EQ(in.Values<uint8_t>(in.Node("QLinearConv"), 2), std::vector<uint8_t>{3 + 128});
}

TEST(GoldenExport, ClampIsAnIntegerClip) {
  const Exported e = ExportConv(DType::kS8, DType::kS8, 1, DType::kS8, ir::CodeRange{9, 100});
  EXPECT_EQ(e.Operators(), (Names{"QLinearConv", "Clip"}));
  EXPECT_EQ(e.Values<int8_t>(e.Node("Clip"), 1), std::vector<int8_t>{9});
  EXPECT_EQ(e.Values<int8_t>(e.Node("Clip"), 2), std::vector<int8_t>{100});
  EXPECT_EQ(e.Node("Clip").output(0), "y");
}

TEST(GoldenExport, AccumulatorsOfAConvolution) {
  GraphMaker maker(DType::kS8, {1, 2, 3, 3}, ir::Quantization{0.5f, 3});
  ir::Conv conv = MakeConv(DType::kS8, 0x80, {});
  conv.multipliers.clear();
  maker.Output(maker.Step(conv, {0}, "acc", DType::kS32, {1, 2, 3, 3}));
  const Exported common(maker.graph);
  EXPECT_EQ(common.Operators(), (Names{"Cast", "Gather", "ConvInteger", "Add"}));
  // Zero points per channel: two products whose weights add up to w - zw.
  std::get<ir::Conv>(maker.graph.steps[0].op).weights.zero_points = {127, -128};
  const Exported split(maker.graph);
  EXPECT_EQ(split.Operators(),
            (Names{"Cast", "Gather", "ConvInteger", "ConvInteger", "Add", "Add"}));
  std::vector<std::vector<int>> halves;
  for (const onnx::NodeProto& node : split.model.graph().node()) {
    if (node.op_type() != "ConvInteger") continue;
    std::vector<int> differences;
    for (const uint8_t w : split.Values<uint8_t>(node, 1)) {
      differences.push_back(w - split.Values<uint8_t>(node, 3)[0]);
    }
    halves.push_back(differences);
  }
  ASSERT_EQ(halves.size(), 2u);
  for (size_t i = 0; i < 16; ++i) EXPECT_EQ(halves[0][i] + halves[1][i], i < 8 ? -255 : 0) << i;
}

TEST(GoldenExport, GemmOfManyAxesIsAMatrix) {
  GraphMaker maker(DType::kU8, {2, 3, 4}, ir::Quantization{0.5f, 3});
  ir::Gemm gemm;
  gemm.weights = {DType::kU8, std::vector<uint8_t>(20, 7), std::vector<int32_t>(5, 1)};
  gemm.bias.assign(5, 2);
  gemm.multipliers.assign(5, 0.125f);
  maker.Output(maker.Step(gemm, {0}, "y", DType::kU8, {2, 3, 5}, ir::Quantization{0.25f, 9}));
  const Exported e(maker.graph);
  EXPECT_EQ(e.Operators(), (Names{"Reshape", "QGemm", "Reshape"}));
  EXPECT_EQ(e.Values<int64_t>(e.Node("Reshape"), 1), (std::vector<int64_t>{6, 4}));
  EXPECT_EQ(e.Node("QGemm").domain(), "com.microsoft");
  EXPECT_EQ(e.Values<float>(e.Node("QGemm"), 4), std::vector<float>(5, 0.125f));
  EXPECT_EQ(e.Values<int32_t>(e.Node("QGemm"), 6), std::vector<int32_t>(5, 2));
  EXPECT_EQ(e.golden.steps[0].operators, (Names{"Reshape", "com.microsoft::QGemm", "Reshape"}));
}

ir::Graph GlobalPool(float multiplier, float sx, float sy) {
  GraphMaker maker(DType::kU8, {1, 2, 3, 3}, ir::Quantization{sx, 3});
  maker.Output(maker.Step(ir::GlobalAveragePool{multiplier, {0, 255}}, {0}, "y", DType::kU8,
                          {1, 2, 1, 1}, ir::Quantization{sy, 9}));
  return maker.graph;
}

TEST(GoldenExport, GlobalAverageIsTheKernelWhereItMakesTheMultiplier) {
  const float m = 0.3f / (0.2f * 9.0f);
  EXPECT_EQ(Exported(GlobalPool(m, 0.3f, 0.2f)).Operators(), Names{"QLinearGlobalAveragePool"});
  // One unit in the last place away, and too large for the kernel.
  const Names written_out = {"Cast", "ReduceSum", "Sub", "Cast", "Mul",
                             "Clip", "Round",     "Add", "Cast"};
  EXPECT_EQ(Exported(GlobalPool(std::nextafter(m, 1.0f), 0.3f, 0.2f)).Operators(), written_out);
  const float big = 6000.0f / (2.0f * 9.0f);
  EXPECT_EQ(Exported(GlobalPool(big, 6000.0f, 2.0f)).Operators(), written_out);
}

ir::Graph Sum(Shape a, Shape b, DType b_type, float f_error = 0) {
  const float ra = 0.5f / 0.25f, rb = 0.125f / 0.25f;
  const float f = 9.0f - std::fma(ra, 3.0f, rb * 4.0f) + f_error;
  GraphMaker maker(DType::kU8, std::move(a), ir::Quantization{0.5f, 3});
  maker.graph.inputs.push_back(
      maker.Tensor("b", b_type, std::move(b), ir::Quantization{0.125f, 4}));
  maker.Output(maker.Step(ir::Add{ra, rb, f, {0, 255}}, {0, 1}, "y", DType::kU8, {1, 2, 3, 3},
                          ir::Quantization{0.25f, 9}));
  return maker.graph;
}

TEST(GoldenExport, AddIsTheKernelWhereItsRolesAndConstantsAgree) {
  const Names kernel = {"QLinearAdd"};
  const Exported same(Sum({1, 2, 3, 3}, {1, 2, 3, 3}, DType::kU8));
  EXPECT_EQ(same.Operators(), kernel);
  EXPECT_EQ(same.Values<float>(same.Node("QLinearAdd"), 1), std::vector<float>{2.0f});
  EXPECT_EQ(same.Values<float>(same.Node("QLinearAdd"), 4), std::vector<float>{0.5f});
  EXPECT_EQ(same.Values<float>(same.Node("QLinearAdd"), 6), std::vector<float>{1.0f});
  EXPECT_EQ(Exported(Sum({1, 2, 3, 3}, {1, 2, 1, 1}, DType::kU8)).Operators(), kernel);
  // The kernel would exchange the roles, has no form for two types, or makes another constant.
  const Names doubles = {"Cast", "Mul", "Add",  "Cast", "Cast",  "Mul",
                         "Cast", "Add", "Cast", "Clip", "Round", "Cast"};
  EXPECT_EQ(Exported(Sum({1, 2, 1, 1}, {1, 2, 3, 3}, DType::kU8)).Operators(), doubles);
  EXPECT_EQ(Exported(Sum({1, 2, 3, 3}, {1, 2, 3, 3}, DType::kS8)).Operators(), doubles);
  EXPECT_EQ(Exported(Sum({1, 2, 3, 3}, {1, 2, 3, 3}, DType::kU8, 0.25f)).Operators(), doubles);
}

TEST(GoldenExport, AddThatNeedsMoreThanFp64IsRefused) {
  ir::Graph graph = Sum({1, 2, 3, 3}, {1, 2, 3, 3}, DType::kU8);
  // 130 * 16519105 = 2^31 + 2: the sum with 2^15 lies 2^-39 above the middle of two fp32, half of
  // what fp64 can hold there.
  std::get<ir::Add>(graph.steps[0].op) = {1.0f, 16519105.0f * 0x1p-40f, 0x1p15f, {0, 255}};
  const auto result = Export(graph);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kModel);
  EXPECT_NE(result.error().message.find("step 'y' (Add)"), std::string::npos)
      << result.error().message;
}

ir::Graph Normalization(std::vector<float> factors, std::vector<float> offsets) {
  GraphMaker maker(DType::kU8, {1, 2, 3, 3}, ir::Quantization{0.5f, 3});
  maker.Output(maker.Step(ir::Affine{std::move(factors), std::move(offsets), {10, 250}}, {0}, "y",
                          DType::kU8, {1, 2, 3, 3}, ir::Quantization{0.25f, 9}));
  return maker.graph;
}

TEST(GoldenExport, NormalizationIsAMultiplyAddInFp64) {
  const Exported e(Normalization({0.37f, -1.5f}, {100.0f, 200.25f}));
  EXPECT_EQ(e.Operators(),
            (Names{"Cast", "Cast", "Mul", "Cast", "Add", "Cast", "Clip", "Round", "Cast"}));
}

TEST(GoldenExport, NormalizationThatNeedsMoreThanFp64IsRefused) {
  // 3 * 10136235 * 2^-21 = 14.5 + 2^-21, the middle of two fp32; the offset lies beyond fp64 there,
  // and decides between the codes 14 and 15.
  const float factor = 10136235 * 0x1p-21f;
  EXPECT_TRUE(Export(Normalization({1.0f, factor}, {0.5f, 0.0f})));
  const auto result = Export(Normalization({1.0f, factor}, {0.5f, 0x1p-60f}));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kModel);
  EXPECT_NE(result.error().message.find("step 'y' (Affine)"), std::string::npos)
      << result.error().message;
}

TEST(GoldenExport, MultiplyCarriesItsRatio) {
  GraphMaker maker(DType::kU8, {1, 4}, ir::Quantization{0.5f, 3});
  maker.Output(maker.Step(ir::Mul{0.37f, {10, 255}}, {0, 0}, "y", DType::kS8, {1, 4},
                          ir::Quantization{0.25f, 9}));
  std::get<ir::Mul>(maker.graph.steps[0].op).clamp = {-100, 100};
  const Exported e(maker.graph);
  EXPECT_EQ(e.Operators(), (Names{"Cast", "Gather", "Cast", "Gather", "QLinearMul", "Clip"}));
  const onnx::NodeProto& node = e.Node("QLinearMul");
  EXPECT_EQ(e.Values<float>(node, 1), std::vector<float>{0.37f});
  EXPECT_EQ(e.Values<float>(node, 4), std::vector<float>{1.0f});
  EXPECT_EQ(e.Values<int8_t>(node, 2), std::vector<int8_t>{3 - 128});
}

TEST(GoldenExport, TableIsAGatherByTheCode) {
  GraphMaker maker(DType::kS8, {1, 4}, ir::Quantization{0.5f, 3});
  ir::Table table;
  for (size_t i = 0; i < 256; ++i) table.entries[i] = static_cast<uint8_t>(255 - i);
  maker.Output(maker.Step(table, {0}, "y", DType::kU8, {1, 4}, ir::Quantization{0.25f, 9}));
  const Exported e(maker.graph);
  EXPECT_EQ(e.Operators(), (Names{"Cast", "Gather"}));
  EXPECT_EQ(e.Values<uint8_t>(e.Node("Gather"), 0)[3], 252);
}

TEST(GoldenExport, MaxPoolPadsToTheLastWindow) {
  GraphMaker maker(DType::kU8, {1, 2, 6, 6}, ir::Quantization{0.5f, 3});
  // ceil_mode: the last window of 3 at stride 2 overhangs by one row and column.
  ir::MaxPool pool;
  pool.kernel = {3, 3};
  pool.strides = {2, 2};
  maker.Output(maker.Step(pool, {0}, "y", DType::kU8, {1, 2, 3, 3}, ir::Quantization{0.5f, 3}));
  const Exported e(maker.graph);
  EXPECT_EQ(e.Operators(), Names{"MaxPool"});
  EXPECT_EQ(Exported::Ints(e.Node("MaxPool"), "pads"), (std::vector<int64_t>{0, 0, 1, 1}));
}

TEST(GoldenExport, AverageWithDilationsIsWrittenOut) {
  GraphMaker maker(DType::kU8, {1, 2, 6, 6}, ir::Quantization{0.5f, 3});
  ir::AveragePool pool;
  pool.kernel = {2, 2};
  maker.Output(maker.Step(pool, {0}, "y", DType::kU8, {1, 2, 5, 5}, ir::Quantization{0.25f, 9}));
  EXPECT_EQ(Exported(maker.graph).Operators(), Names{"QLinearAveragePool"});
  std::get<ir::AveragePool>(maker.graph.steps[0].op).dilations = {2, 2};
  maker.graph.tensors[1].shape = {1, 2, 4, 4};
  const Exported e(maker.graph);
  const Names operators = e.Operators();
  EXPECT_EQ(std::count(operators.begin(), operators.end(), "Slice"), 4);
  EXPECT_EQ(std::count(operators.begin(), operators.end(), "QLinearAveragePool"), 0);
}

TEST(GoldenExport, SliceBackwardsEndsBeforeTheFirst) {
  GraphMaker maker(DType::kU8, {1, 6}, ir::Quantization{0.5f, 3});
  maker.Output(maker.Step(ir::Slice{{0, 5}, {1, -1}}, {0}, "y", DType::kU8, {1, 6},
                          ir::Quantization{0.5f, 3}));
  const Exported e(maker.graph);
  EXPECT_EQ(e.Values<int64_t>(e.Node("Slice"), 1), std::vector<int64_t>{5});
  EXPECT_LT(e.Values<int64_t>(e.Node("Slice"), 2)[0], -6);
  EXPECT_EQ(e.Values<int64_t>(e.Node("Slice"), 3), std::vector<int64_t>{1});
  EXPECT_EQ(e.Values<int64_t>(e.Node("Slice"), 4), std::vector<int64_t>{-1});
}

TEST(GoldenExport, DequantizeLinearStandsOnlyAtTheEdge) {
  GraphMaker maker(DType::kU8, {1, 6}, ir::Quantization{0.5f, 3});
  maker.Output(maker.Step(ir::Dequantize{}, {0}, "edge", DType::kF32, {1, 6}));
  maker.graph.steps.back().host_reason = "turns codes into floats";
  EXPECT_EQ(Exported(maker.graph).Operators(), Names{"DequantizeLinear"});
  ir::HostFloat relu;
  relu.op = "Relu";
  const ir::TensorId inner = maker.Step(relu, {1}, "inner", DType::kF32, {1, 6});
  maker.graph.steps.back().host_reason = "float";
  maker.Output(inner);
  EXPECT_EQ(Exported(maker.graph).Operators(), (Names{"Cast", "Sub", "Mul", "Relu"}));
}

TEST(GoldenExport, OutputsKeepTheirNames) {
  GraphMaker maker(DType::kU8, {1, 6}, ir::Quantization{0.5f, 3});
  const ir::TensorId y =
      maker.Step(ir::Reshape{}, {0}, "inner", DType::kU8, {6}, ir::Quantization{0.5f, 3});
  const ir::TensorId z =
      maker.Step(ir::Reshape{}, {y}, "taken", DType::kU8, {2, 3}, ir::Quantization{0.5f, 3});
  maker.Output(y, "taken");  // the name of another tensor
  maker.Output(y, "again");
  maker.Output(0, "input");
  maker.Output(z, "last");
  const Exported e(maker.graph);
  Names outputs;
  for (const auto& output : e.model.graph().output()) outputs.push_back(output.name());
  EXPECT_EQ(outputs, (Names{"taken", "again", "input", "last"}));
  EXPECT_EQ(e.golden.steps[0].value, "taken");
  EXPECT_EQ(e.golden.steps[1].value, "last");
  const Exported all(maker.graph, {true});
  Names listed;
  for (const auto& output : all.model.graph().output()) listed.push_back(output.name());
  EXPECT_EQ(listed, (Names{"taken", "again", "input", "last", "inner", "taken#2"}));
  // Every value and every node has one name.
  std::map<std::string, int> values, nodes;
  for (const onnx::NodeProto& node : all.model.graph().node()) {
    EXPECT_EQ(++values[node.output(0)], 1) << node.output(0);
    EXPECT_EQ(++nodes[node.name()], 1) << node.name();
  }
}

TEST(GoldenExport, WhatCannotBeExpressedIsNamed) {
  GraphMaker maker(DType::kF32, {1, 6}, std::nullopt);
  ir::HostFloat erf;
  erf.op = "Erf";
  maker.Output(maker.Step(erf, {0}, "the_step", DType::kF32, {1, 6}));
  maker.graph.steps.back().host_reason = "float";
  const auto result = Export(maker.graph);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kModel);
  EXPECT_NE(result.error().message.find("'the_step' (Erf)"), std::string::npos)
      << result.error().message;
}

TEST(GoldenExport, IsDeterministic) {
  const ir::Graph graph = Sum({1, 2, 3, 3}, {1, 2, 3, 3}, DType::kS8);
  const auto a = Export(graph), b = Export(graph);
  ASSERT_TRUE(a);
  ASSERT_TRUE(b);
  EXPECT_EQ(a->model, b->model);
  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromString(a->model));
  EXPECT_EQ(model.ir_version(), 8);
  ASSERT_EQ(model.opset_import_size(), 2);
  EXPECT_EQ(model.opset_import(0).version(), 17);
  EXPECT_EQ(model.opset_import(1).domain(), "com.microsoft");
}

}  // namespace
}  // namespace octile::golden
