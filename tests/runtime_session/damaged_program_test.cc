// Program files whose parts are each in order, but do not fit the graph that they carry: an error,
// never a crash.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "octile/codegen/codegen.h"
#include "octile/frontend/importer.h"
#include "octile/session/session.h"
#include "octile/sim/iss_backend.h"

namespace octile::session {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class DamagedProgram : public testing::Test {
 protected:
  void SetUp() override {
    sim::RegisterIssBackend();
    const auto imported = frontend::ImportFile(OCTILE_MODELS "/concat_split.onnx", {});
    ASSERT_TRUE(imported) << imported.error().message;
    auto program = codegen::Compile(imported->graph, config_, {"concat_split"});
    ASSERT_TRUE(program) << program.error().message;
    program_ = std::move(*program);
    const auto error = RunWith([](Program&) {});
    ASSERT_FALSE(error) << error->message;
  }

  // The error of a run of the program with `damage` done to it.
  std::optional<Error> RunWith(const std::function<void(Program&)>& damage) {
    Program program = program_;
    damage(program);
    const auto valid = ValidateProgram(program);
    EXPECT_TRUE(valid) << "found without its graph: " << valid.error().message;
    const auto graph = GraphOf(program);
    if (!graph) return graph.error();
    Options options;
    options.devices = {"iss"};
    const auto result = session::Run(program, *graph, config_, options);
    if (!result) return result.error();
    EXPECT_EQ(result->devices.size(), 1u);
    return result->devices[0].error;
  }
  void Refused(const std::function<void(Program&)>& damage, const std::string& text) {
    const auto error = RunWith(damage);
    ASSERT_TRUE(error) << text;
    EXPECT_EQ(error->code, ErrorCode::kProgram) << error->message;
    EXPECT_THAT(error->message, HasSubstr(text));
  }

  Config config_ = *LoadConfig("tiny");
  Program program_;
};

TEST_F(DamagedProgram, StepsOfThePlan) {
  for (size_t i = 0; i < program_.plan.size(); ++i)
    for (const int32_t step : {-1, 1000000})
      Refused([&](Program& p) { p.plan[i].steps.push_back(step); }, "of the plan names a step");
}

TEST_F(DamagedProgram, StepsOfLayers) {
  ASSERT_FALSE(program_.layers.empty());
  Refused([](Program& p) { p.layers[0].steps.push_back(1000000); }, "layer '");
}

TEST_F(DamagedProgram, PlanWithoutASource) {
  Refused([](Program& p) { p.plan.clear(); }, "the plan does not compute output");
  Refused([](Program& p) { std::reverse(p.plan.begin(), p.plan.end()); }, "before it is computed");
}

TEST_F(DamagedProgram, ShapesOfTensors) {
  ASSERT_FALSE(program_.tensors.empty());
  for (size_t i = 0; i < program_.tensors.size(); ++i)
    Refused(
        [&](Program& p) {
          TensorDescriptor& d = p.tensors[i];
          d.shape = {1};
          d.images = d.channels = d.rows = d.columns = 1;
        },
        "tensor '" + program_.tensors[i].name + "' has another type or shape");
}

TEST_F(DamagedProgram, ChannelMaps) {
  config_ = *LoadConfig("small");  // with 8 lanes the model has tensors in an order of their own
  SetUp();
  ASSERT_FALSE(program_.channel_maps.empty());
  for (size_t i = 0; i < program_.channel_maps.size(); ++i) {
    Refused([&](Program& p) { p.channel_maps[i].back() = 1000000; },
            "lies outside the step's tensor");
  }
  // Lanes under other names are a difference, not an error.
  const auto swapped = [&](Program& p) {
    for (std::vector<int32_t>& map : p.channel_maps) std::reverse(map.begin(), map.end());
  };
  EXPECT_FALSE(RunWith(swapped));
  Program program = program_;
  swapped(program);
  const auto graph = GraphOf(program);
  ASSERT_TRUE(graph);
  Options options;
  options.devices = {"iss"};
  const auto result = session::Run(program, *graph, config_, options);
  ASSERT_TRUE(result);
  EXPECT_TRUE(result->devices[0].mismatch);
}

// Without observations the outputs alone are compared, and the report does not claim more.
TEST_F(DamagedProgram, ObservationsTakenAway) {
  const auto text = [&](const Program& program) {
    const auto graph = GraphOf(program);
    EXPECT_TRUE(graph);
    Options options;
    options.devices = {"iss"};
    const auto result = session::Run(program, *graph, config_, options);
    EXPECT_TRUE(result);
    return ReportText(Report(program, *graph, config_, options, *result), false);
  };
  EXPECT_THAT(text(program_), HasSubstr("every step equal, bit for bit"));
  Program silent = program_;
  silent.observations.clear();
  EXPECT_THAT(text(silent), AllOf(HasSubstr("outputs equal; the program shows no step"),
                                  Not(HasSubstr("every step equal"))));
}

}  // namespace
}  // namespace octile::session
