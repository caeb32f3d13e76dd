// The text form: exact round trips, errors with line numbers, and no crash on damaged text.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "octile/ir/graph.h"
#include "sample_graph.h"

namespace octile::ir {
namespace {

TEST(Text, RoundTripsEveryKindOfStep) {
  const Graph g = SampleGraph().g;
  std::set<size_t> kinds;
  for (const Step& step : g.steps) kinds.insert(step.op.index());
  ASSERT_EQ(kinds.size(), std::variant_size_v<Op>) << "the sample lacks a kind of step";
  const std::string text = PrintText(g);
  const auto parsed = ParseText(text);
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  EXPECT_EQ(PrintText(*parsed), text);
  // Equal in every field, but for the NaN that differs from itself.
  Graph a = g;
  Graph b = *parsed;
  const auto drop_nan = [](Graph& graph) {
    for (Step& step : graph.steps)
      if (auto* host = std::get_if<HostFloat>(&step.op)) {
        EXPECT_TRUE(std::isnan(std::get<float>(host->attributes.at("nan"))));
        host->attributes.erase("nan");
      }
  };
  drop_nan(a);
  drop_nan(b);
  EXPECT_EQ(a, b);
}

TEST(Text, KeepsEveryFloat) {
  for (const float v : {0.0f, -0.0f, 1e-45f, -1e-40f, 0.1f, 3.4028235e38f, 1.0f, 512.0f}) {
    SampleGraph s;
    std::get<ir::Add>(s.step("add").op).f = v;
    const auto parsed = ParseText(PrintText(s.g));
    ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
    const float back = std::get<ir::Add>(parsed->steps[4].op).f;
    EXPECT_EQ(std::signbit(v), std::signbit(back));
    EXPECT_EQ(v, back);
  }
}

TEST(Text, NamesTheLineOfAnError) {
  const std::string text = PrintText(SampleGraph().g);
  const auto broken = [&](const std::string& from, const std::string& to) {
    std::string copy = text;
    const size_t at = copy.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    copy.replace(at, from.size(), to);
    const auto parsed = ParseText(copy);
    return parsed ? std::string("accepted") : parsed.error().message;
  };
  EXPECT_EQ(broken("octile.graph 1", "octile.graph 2"),
            "text of a graph, line 1: version 1 is expected");
  EXPECT_EQ(broken("step \"table\" Table", "step \"table\" Tabel"),
            "text of a graph, line 41: operator 'Tabel' is unknown");
  EXPECT_NE(broken("kernel [3,3]", "kernel [3]").find("2 numbers are expected"), std::string::npos);
  EXPECT_NE(broken("tensor 1", "tensor 7").find("numbered from 0"), std::string::npos);
  EXPECT_NE(broken("\nend\n", "\n").find("a word is expected"), std::string::npos);
  EXPECT_NE(broken("clamp [3,200]", "clamp [3,99999999999]").find("out of range"),
            std::string::npos);
}

TEST(Text, SurvivesDamage) {
  const std::string text = PrintText(SampleGraph().g);
  std::mt19937 rng(1);
  int accepted = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string copy = text;
    if (i % 3 == 0) {
      copy.resize(rng() % copy.size());
    } else {
      for (unsigned n = 0; n <= rng() % 3; ++n)
        copy[rng() % copy.size()] = static_cast<char>(rng() % 256);
    }
    if (const auto parsed = ParseText(copy)) {
      ++accepted;
      (void)Verify(*parsed);
    }
  }
  EXPECT_GT(accepted, 0);
}

TEST(Text, SummaryElidesConstants) {
  const Graph g = SampleGraph().g;
  const std::string summary = Summary(g);
  EXPECT_LT(summary.size(), PrintText(g).size());
  EXPECT_NE(summary.find("<256 bytes, fnv "), std::string::npos);
}

}  // namespace
}  // namespace octile::ir
