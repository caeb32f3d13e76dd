// Each pass on small graphs, and the property that matters: the reference computes the same codes
// before and after.
#include "octile/passes/passes.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "octile/frontend/importer.h"
#include "octile/reference/reference.h"

namespace octile::passes {
namespace {

// Builds graphs of 8-bit tensors of one shape.
class GraphBuilder {
 public:
  ir::TensorId Input(const std::string& name) {
    const ir::TensorId id = Tensor(name);
    graph.inputs.push_back(id);
    return id;
  }
  ir::TensorId Tensor(const std::string& name, Shape shape = {1, 3, 4, 5}) {
    ir::TensorInfo info;
    info.name = name;
    info.dtype = DType::kS8;
    info.shape = std::move(shape);
    info.quant = ir::Quantization{0.05f, -3};
    graph.tensors.push_back(info);
    return static_cast<ir::TensorId>(graph.tensors.size() - 1);
  }
  ir::TensorId Scalar(const std::string& name, int8_t code) {
    const ir::TensorId id = Tensor(name, {});
    graph.tensor(id).constant = std::vector<uint8_t>{static_cast<uint8_t>(code)};
    return id;
  }
  ir::TensorId Step(const std::string& name, ir::Op op, std::vector<ir::TensorId> inputs) {
    const ir::TensorId out = Tensor(name);
    graph.steps.push_back({name, std::move(op), std::move(inputs), out, {name}, ""});
    return out;
  }
  void Output(ir::TensorId id) { graph.outputs.push_back({graph.tensor(id).name, id}); }

  ir::Graph graph;
};

ir::Table RandomTable(std::mt19937& random) {
  ir::Table table;
  table.meaning = "random";
  for (uint8_t& entry : table.entries) entry = static_cast<uint8_t>(random());
  return table;
}

ir::Table Identity() {
  ir::Table table;
  table.meaning = "identity";
  for (size_t i = 0; i < 256; ++i) table.entries[i] = static_cast<uint8_t>(i);
  return table;
}

ir::Affine SomeAffine() { return {{0.7f, -1.3f, 0.0f}, {1.5f, -20.25f, 7.0f}, {-100, 120}}; }

ir::Add SomeAdd() { return {0.7f, 1.3f, 1.5f, {-128, 127}}; }

std::map<std::string, Tensor> RandomInputs(const ir::Graph& graph, uint32_t seed) {
  std::mt19937 random(seed);
  std::map<std::string, Tensor> inputs;
  for (const ir::TensorId id : graph.inputs) {
    const ir::TensorInfo& info = graph.tensor(id);
    Tensor tensor(info.dtype, info.shape);
    if (info.dtype == DType::kF32) {
      for (float& value : tensor.data<float>())
        value = std::uniform_real_distribution<float>(-3.0f, 3.0f)(random);
    } else {
      for (uint8_t& byte : tensor.bytes) byte = static_cast<uint8_t>(random());
    }
    inputs[info.name] = std::move(tensor);
  }
  return inputs;
}

// The reference on both graphs: every tensor that both compute is equal, and so are the outputs.
void ExpectSameMeaning(const ir::Graph& before, const ir::Graph& after, uint32_t seed) {
  const auto inputs = RandomInputs(before, seed);
  const auto a = reference::Evaluate(before, inputs);
  const auto b = reference::Evaluate(after, inputs);
  ASSERT_TRUE(a) << a.error().message;
  ASSERT_TRUE(b) << b.error().message;
  std::map<ir::TensorId, const Tensor*> by_tensor;
  for (size_t i = 0; i < before.steps.size(); ++i) by_tensor[before.steps[i].output] = &a->steps[i];
  for (size_t i = 0; i < after.steps.size(); ++i) {
    ASSERT_TRUE(by_tensor.contains(after.steps[i].output));
    EXPECT_EQ(b->steps[i].bytes, by_tensor[after.steps[i].output]->bytes) << after.steps[i].name;
  }
  ASSERT_EQ(a->outputs.size(), b->outputs.size());
  for (size_t i = 0; i < a->outputs.size(); ++i) EXPECT_EQ(a->outputs[i], b->outputs[i]);
}

TEST(DropIdentities, RemovesIdentityTablesButNotOutputs) {
  std::mt19937 random(1);
  GraphBuilder b;
  const ir::TensorId x = b.Input("x");
  const ir::TensorId same = b.Step("same", Identity(), {x});
  const ir::TensorId y = b.Step("y", RandomTable(random), {same});
  const ir::TensorId kept = b.Step("kept", Identity(), {y});
  b.Output(kept);
  ir::Graph graph = b.graph;
  ASSERT_TRUE(*DropIdentities(graph));
  ASSERT_EQ(graph.steps.size(), 2u);
  EXPECT_EQ(graph.steps[0].inputs[0], x);
  EXPECT_EQ(graph.steps[1].name, "kept");
  ExpectSameMeaning(b.graph, graph, 2);
  EXPECT_FALSE(*DropIdentities(graph));
}

TEST(DropIdentities, KeepsWhatTheHostReads) {
  GraphBuilder b;
  const ir::TensorId same = b.Step("same", Identity(), {b.Input("x")});
  const ir::TensorId y = b.Step("y", Identity(), {same});
  b.graph.steps.back().host_reason = "for the test";
  b.Output(y);
  ir::Graph graph = b.graph;
  EXPECT_FALSE(*DropIdentities(graph));
}

TEST(OneCodeToTable, ScalarOperandsAndSquares) {
  GraphBuilder b;
  const ir::TensorId x = b.Input("x");
  const ir::TensorId five = b.Scalar("five", 5);
  const ir::TensorId shifted = b.Step("shifted", SomeAdd(), {x, five});
  const ir::TensorId swapped = b.Step("swapped", SomeAdd(), {five, shifted});
  const ir::TensorId square = b.Step("square", ir::Mul{0.03f, {-128, 127}}, {swapped, swapped});
  const ir::TensorId two = b.Step("two", SomeAdd(), {square, x});
  b.Output(two);
  ir::Graph graph = b.graph;
  ASSERT_TRUE(*OneCodeToTable(graph));
  for (int i : {0, 1, 2})
    EXPECT_TRUE(std::holds_alternative<ir::Table>(graph.steps[static_cast<size_t>(i)].op)) << i;
  EXPECT_TRUE(std::holds_alternative<ir::Add>(graph.steps[3].op));
  ExpectSameMeaning(b.graph, graph, 3);
}

TEST(MergeTables, ChainsBecomeOneUnlessSomeoneElseReads) {
  std::mt19937 random(4);
  GraphBuilder b;
  ir::TensorId x = b.Input("x");
  for (int i = 0; i < 4; ++i) x = b.Step(fmt::format("t{}", i), RandomTable(random), {x});
  const ir::TensorId shared = x;
  const ir::TensorId left = b.Step("left", RandomTable(random), {shared});
  const ir::TensorId right = b.Step("right", RandomTable(random), {shared});
  b.Output(left);
  b.Output(right);
  ir::Graph graph = b.graph;
  ASSERT_TRUE(RunPasses(graph, DefaultPipeline()));
  EXPECT_EQ(graph.steps.size(), 3u);  // the chain of four, and its two readers
  ExpectSameMeaning(b.graph, graph, 5);
}

TEST(DropDeadSteps, KeepsOnlyWhatOutputsNeed) {
  std::mt19937 random(6);
  GraphBuilder b;
  const ir::TensorId x = b.Input("x");
  const ir::TensorId used = b.Step("used", RandomTable(random), {x});
  const ir::TensorId dead = b.Step("dead", RandomTable(random), {x});
  b.Step("deader", RandomTable(random), {dead});
  b.Output(used);
  ir::Graph graph = b.graph;
  ASSERT_TRUE(*DropDeadSteps(graph));
  ASSERT_EQ(graph.steps.size(), 1u);
  EXPECT_EQ(graph.steps[0].name, "used");
}

// A convolution with 1x1 kernels over three channels.
ir::Conv SmallConv(std::mt19937& random) {
  ir::Conv conv;
  conv.weights.dtype = DType::kS8;
  for (int i = 0; i < 9; ++i) conv.weights.codes.push_back(static_cast<uint8_t>(random()));
  conv.weights.zero_points.assign(3, 0);
  conv.bias.assign(3, 7);
  conv.multipliers.assign(3, 0.01f);
  conv.kernel = {1, 1};
  conv.clamp = {-128, 127};
  return conv;
}

TEST(FuseSteps, ConvolutionTakesTableAndAdd) {
  std::mt19937 random(7);
  GraphBuilder b;
  const ir::TensorId x = b.Input("x");
  const ir::TensorId conv = b.Step("conv", SmallConv(random), {x});
  const ir::TensorId table = b.Step("table", RandomTable(random), {conv});
  const ir::TensorId add = b.Step("add", SomeAdd(), {x, table});
  b.Output(add);
  const std::vector<FusedStep> groups = FuseSteps(b.graph);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].main, 0);
  EXPECT_EQ(groups[0].table, 1);
  EXPECT_EQ(groups[0].residual, 2);
  EXPECT_EQ(groups[0].output, add);
}

TEST(FuseSteps, NormalizationTakesTableOnly) {
  std::mt19937 random(6);
  GraphBuilder b;
  const ir::TensorId x = b.Input("x");
  const ir::TensorId norm = b.Step("norm", SomeAffine(), {x});
  const ir::TensorId table = b.Step("table", RandomTable(random), {norm});
  b.Output(b.Step("add", SomeAdd(), {x, table}));
  const std::vector<FusedStep> groups = FuseSteps(b.graph);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].main, 0);
  EXPECT_EQ(groups[0].table, 1);
  EXPECT_EQ(groups[0].residual, -1);
  EXPECT_EQ(groups[0].output, table);
}

TEST(FuseSteps, NotWhenTheValueBetweenIsVisible) {
  std::mt19937 random(8);
  GraphBuilder b;
  const ir::TensorId x = b.Input("x");
  const ir::TensorId conv = b.Step("conv", SmallConv(random), {x});
  const ir::TensorId add = b.Step("add", SomeAdd(), {x, conv});
  b.Output(add);
  b.Output(conv);
  EXPECT_EQ(FuseSteps(b.graph).size(), 2u);
}

TEST(FuseSteps, TheOtherOperandMustExistBefore) {
  std::mt19937 random(9);
  GraphBuilder b;
  const ir::TensorId x = b.Input("x");
  const ir::TensorId first = b.Step("first", SmallConv(random), {x});
  const ir::TensorId second = b.Step("second", SmallConv(random), {x});
  b.Output(b.Step("add", SomeAdd(), {first, second}));
  const std::vector<FusedStep> groups = FuseSteps(b.graph);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].residual, -1);  // `second` is not computed yet when `first` runs
  EXPECT_EQ(groups[1].residual, 2);
}

TEST(FuseSteps, ChannelShuffleIsOneStepWithTheConcatBefore) {
  GraphBuilder b;
  const ir::TensorId x = b.Input("x");
  const auto step = [&](const std::string& name, ir::Op op, std::vector<ir::TensorId> inputs,
                        Shape shape) {
    const ir::TensorId out = b.Step(name, std::move(op), std::move(inputs));
    b.graph.tensor(out).shape = std::move(shape);
    return out;
  };
  const ir::TensorId whole = step("concat", ir::Concat{1}, {x, x}, {1, 6, 4, 5});
  const ir::TensorId split = step("split", ir::Reshape{}, {whole}, {1, 2, 3, 4, 5});
  const ir::TensorId turned =
      step("turn", ir::Transpose{{0, 2, 1, 3, 4}}, {split}, {1, 3, 2, 4, 5});
  const ir::TensorId shuffled = step("join", ir::Reshape{}, {turned}, {1, 6, 4, 5});
  b.Output(shuffled);
  const std::vector<FusedStep> groups = FuseSteps(b.graph);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].main, 0);
  EXPECT_EQ(groups[0].shuffle_groups, 2);
  EXPECT_EQ(groups[0].output, shuffled);
  EXPECT_EQ(groups[0].Steps(), (std::vector<int>{0, 1, 2, 3}));

  // Seen from outside between its steps, or with other axes exchanged, it is no shuffle.
  ir::Graph seen = b.graph;
  seen.outputs.push_back({"turned", turned});
  EXPECT_EQ(FuseSteps(seen).size(), 4u);
  ir::Graph other = b.graph;
  std::get<ir::Transpose>(other.steps[2].op).perm = {0, 2, 1, 4, 3};
  EXPECT_EQ(FuseSteps(other).size(), 4u);
}

TEST(OneCodeToTable, AverageOverOneElement) {
  for (const bool unit : {true, false}) {
    GraphBuilder b;
    const ir::TensorId x = b.Input("x");
    ir::AveragePool pool;
    pool.kernel = {1, unit ? 1 : 2};
    pool.clamp = {-100, 90};
    const ir::TensorId y = b.Step("average", pool, {x});
    b.graph.tensor(y).quant = ir::Quantization{0.07f, 11};
    if (!unit) b.graph.tensor(y).shape = {1, 3, 4, 4};
    b.Output(y);
    const ir::Graph before = b.graph;
    const Expected<bool> changed = OneCodeToTable(b.graph);
    ASSERT_TRUE(changed);
    EXPECT_EQ(*changed, unit);
    EXPECT_EQ(std::holds_alternative<ir::Table>(b.graph.steps[0].op), unit);
    ExpectSameMeaning(before, b.graph, 5);
  }
}

TEST(IntegerAverages, ProvedOrOnTheHostWithAReason) {
  struct Case {
    bool include_pad;
    float sx;
    float sy;
    std::vector<int64_t> divisors;  // empty: not proved
  };
  for (const Case& c :
       {Case{true, 0.05f, 0.05f, {9}}, Case{false, 0.05f, 0.05f, {}},
        Case{false, 0.0625f, 0.0625f, {4, 6, 9}}, Case{true, 0.0625f, 0.03125f, {9}}}) {
    GraphBuilder b;
    const ir::TensorId x = b.Input("x");
    b.graph.tensor(x).quant = ir::Quantization{c.sx, -3};
    ir::AveragePool pool;
    pool.kernel = {3, 3};
    pool.pads = {1, 1, 1, 1};
    pool.count_include_pad = c.include_pad;
    pool.clamp = {-128, 127};
    const ir::TensorId y = b.Step("average", pool, {x});
    b.graph.tensor(y).quant = ir::Quantization{c.sy, -3};
    b.Output(b.Step("identity", Identity(), {y}));
    ir::Graph graph = b.graph;
    ASSERT_TRUE(*IntegerAverages(graph));
    EXPECT_FALSE(*IntegerAverages(graph));
    EXPECT_TRUE(ir::Verify(graph));
    std::vector<int64_t> divisors;
    for (const ir::IntegerAverage& form : std::get<ir::AveragePool>(graph.steps[0].op).integer)
      divisors.push_back(form.divisor);
    EXPECT_EQ(divisors, c.divisors);
    EXPECT_EQ(graph.steps[0].device_capable(), !c.divisors.empty());
    // What stays on the host takes no table along.
    EXPECT_EQ(FuseSteps(graph).size(), c.divisors.empty() ? 2u : 1u);
  }
}

TEST(IntegerAverages, NotWithWindowsOutsideTheImage) {
  GraphBuilder b;
  ir::AveragePool pool;
  pool.kernel = {2, 2};
  pool.pads = {2, 2, 2, 2};
  pool.clamp = {-128, 127};
  const ir::TensorId y = b.Step("average", pool, {b.Input("x")});
  b.graph.tensor(y).shape = {1, 3, 7, 8};
  b.Output(y);
  ASSERT_TRUE(ir::Verify(b.graph));
  ASSERT_TRUE(*IntegerAverages(b.graph));
  EXPECT_EQ(b.graph.steps[0].host_reason, "an average with windows that lie outside the image");
}

TEST(SplitBatch, OneImageComputesItsPartOfTheBatch) {
  std::mt19937 random(11);
  GraphBuilder b;
  const ir::TensorId x = b.Input("x");
  const ir::TensorId conv = b.Step("conv", SmallConv(random), {x});
  const ir::TensorId norm = b.Step("norm", SomeAffine(), {conv});
  b.Output(b.Step("table", RandomTable(random), {norm}));
  for (ir::TensorInfo& info : b.graph.tensors) info.shape[0] = 3;
  ASSERT_TRUE(ir::Verify(b.graph));
  int64_t batch = 0;
  const std::optional<ir::Graph> single = SplitBatch(b.graph, batch);
  ASSERT_TRUE(single);
  ASSERT_EQ(batch, 3);
  const auto inputs = RandomInputs(b.graph, 12);
  const auto whole = reference::Evaluate(b.graph, inputs);
  ASSERT_TRUE(whole);
  const size_t bytes = inputs.at("x").bytes.size() / 3;
  for (size_t image = 0; image < 3; ++image) {
    Tensor one(DType::kS8, {1, 3, 4, 5});
    std::copy_n(inputs.at("x").bytes.begin() + static_cast<std::ptrdiff_t>(image * bytes), bytes,
                one.bytes.begin());
    const auto part = reference::Evaluate(*single, {{"x", one}});
    ASSERT_TRUE(part) << part.error().message;
    EXPECT_TRUE(
        std::equal(part->outputs[0].bytes.begin(), part->outputs[0].bytes.end(),
                   whole->outputs[0].bytes.begin() + static_cast<std::ptrdiff_t>(image * bytes)));
  }
}

TEST(SplitBatch, NotWhenImagesMayMeet) {
  GraphBuilder b;
  const ir::TensorId x = b.Input("x");
  ir::Concat concat;
  concat.axis = 0;
  const ir::TensorId twice = b.Step("twice", concat, {x, x});
  b.Output(twice);
  b.graph.tensor(x).shape[0] = 2;
  b.graph.tensor(twice).shape[0] = 4;
  int64_t batch = 0;
  EXPECT_FALSE(SplitBatch(b.graph, batch));

  GraphBuilder s;
  ir::Softmax softmax;
  softmax.axis = 0;
  s.Output(s.Step("softmax", softmax, {s.Input("x")}));
  for (ir::TensorInfo& info : s.graph.tensors) info.shape[0] = 2;
  EXPECT_FALSE(SplitBatch(s.graph, batch));
}

TEST(Pipeline, KeepsTheMeaningOfEveryShippedModel) {
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(OCTILE_MODELS)) {
    if (entry.path().extension() != ".onnx") continue;
    ++models;
    const auto imported = frontend::ImportFile(entry.path());
    ASSERT_TRUE(imported) << imported.error().message;
    ir::Graph graph = imported->graph;
    const Status done = RunPasses(graph, DefaultPipeline());
    ASSERT_TRUE(done) << done.error().message;
    ExpectSameMeaning(imported->graph, graph, 10);
  }
  EXPECT_GE(models, 8);
}

TEST(Pipeline, KeepsTheMeaningOfRandomGraphs) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    std::mt19937 random(seed);
    GraphBuilder b;
    std::vector<ir::TensorId> values = {b.Input("x"), b.Input("z")};
    const auto any = [&] { return values[random() % values.size()]; };
    const int steps = 3 + static_cast<int>(random() % 12);
    for (int i = 0; i < steps; ++i) {
      const std::string name = fmt::format("s{}", i);
      switch (random() % 6) {
        case 0:
          values.push_back(b.Step(name, Identity(), {any()}));
          break;
        case 1:
          values.push_back(b.Step(name, SomeAdd(), {any(), any()}));
          break;
        case 2:
          values.push_back(b.Step(name, ir::Mul{0.02f, {-128, 127}}, {any(), any()}));
          break;
        case 3:
          values.push_back(b.Step(name, SomeAdd(),
                                  {any(), b.Scalar(name + "c", static_cast<int8_t>(random()))}));
          break;
        case 4:
          values.push_back(b.Step(name, SmallConv(random), {any()}));
          break;
        default:
          values.push_back(b.Step(name, RandomTable(random), {any()}));
      }
    }
    b.Output(values.back());
    if (random() % 2 == 0) b.Output(values[values.size() - 2]);
    ASSERT_TRUE(ir::Verify(b.graph)) << "seed " << seed;
    ir::Graph graph = b.graph;
    const Status done = RunPasses(graph, DefaultPipeline());
    ASSERT_TRUE(done) << "seed " << seed << ": " << done.error().message;
    ExpectSameMeaning(b.graph, graph, seed);
    // Every step of the result is in exactly one group.
    std::vector<int> seen(graph.steps.size(), 0);
    for (const FusedStep& group : FuseSteps(graph)) {
      for (const int index : {group.main, group.table, group.residual}) {
        if (index >= 0) ++seen[static_cast<size_t>(index)];
      }
    }
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), static_cast<std::ptrdiff_t>(seen.size()))
        << "seed " << seed;
  }
}

}  // namespace
}  // namespace octile::passes
