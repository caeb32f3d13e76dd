// Shapes, broadcasting, counts, and the data movement that import and reference share.
#include "octile/ir/graph.h"

#include <gtest/gtest.h>

#include <numeric>

#include "octile/ir/tensor_ops.h"
#include "sample_graph.h"

namespace octile::ir {
namespace {

Tensor Iota(Shape shape) {
  Tensor t(DType::kS32, std::move(shape));
  std::iota(t.data<int32_t>().begin(), t.data<int32_t>().end(), 0);
  return t;
}
std::vector<int32_t> Values(const Tensor& t) {
  return {t.data<int32_t>().begin(), t.data<int32_t>().end()};
}

TEST(Graph, BroadcastKinds) {
  EXPECT_EQ(BroadcastKind({1, 4, 5, 5}, {4, 5, 5}), Broadcast::kSame);
  EXPECT_EQ(BroadcastKind({1, 4, 5, 5}, {}), Broadcast::kScalar);
  EXPECT_EQ(BroadcastKind({1, 4, 5, 5}, {1, 1}), Broadcast::kScalar);
  EXPECT_EQ(BroadcastKind({2, 4, 5, 5}, {4, 1, 1}), Broadcast::kChannel);
  EXPECT_EQ(BroadcastKind({2, 4, 5, 5}, {2, 4, 1, 1}), Broadcast::kChannel);
  EXPECT_EQ(BroadcastKind({2, 4, 5, 5}, {5}), Broadcast::kGeneral);
  EXPECT_EQ(BroadcastKind({2, 4, 1, 1}, {2, 4, 5, 5}), Broadcast::kGeneral);
  EXPECT_EQ(*BroadcastShape({3, 1, 5}, {1, 4, 1}), (Shape{3, 4, 5}));
  EXPECT_FALSE(BroadcastShape({3, 2}, {3}).has_value());
}

TEST(Graph, CountsAndLinks) {
  const Graph g = SampleGraph().g;
  EXPECT_EQ(MacCount(g, g.steps[0]), 4 * 36 * 2 * 9);
  EXPECT_EQ(MacCount(g, g.steps[1]), 0);
  const auto producers = Producers(g);
  EXPECT_EQ(producers[0], -1);
  EXPECT_EQ(producers[static_cast<size_t>(g.steps[3].output)], 3);
  const auto consumers = Consumers(g);
  EXPECT_EQ(consumers[static_cast<size_t>(g.steps[2].output)], (std::vector<int32_t>{3, 4}));
}

TEST(TensorOps, Moves) {
  const Tensor x = Iota({2, 3});
  EXPECT_EQ(Values(TransposeTensor(x, std::vector<int64_t>{1, 0})),
            (std::vector<int32_t>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(
      Values(SliceTensor(x, std::vector<int64_t>{1, 2}, std::vector<int64_t>{-1, -2}, {2, 2})),
      (std::vector<int32_t>{5, 3, 2, 0}));
  const Tensor y = Iota({2, 1});
  const std::vector<const Tensor*> both = {&x, &y};
  EXPECT_EQ(Values(ConcatTensors(both, 1)), (std::vector<int32_t>{0, 1, 2, 0, 3, 4, 5, 1}));
  EXPECT_EQ(Values(BroadcastTensor(y, {2, 2})), (std::vector<int32_t>{0, 0, 1, 1}));
  const std::vector<uint8_t> fill = {9, 0, 0, 0};
  const std::vector<int64_t> none = {0, 0};
  EXPECT_EQ(Values(PadTensor(x, std::vector<int64_t>{0, 1}, none, PadMode::kConstant, fill)),
            (std::vector<int32_t>{9, 0, 1, 2, 9, 3, 4, 5}));
  EXPECT_EQ(Values(PadTensor(x, std::vector<int64_t>{0, 2}, none, PadMode::kReflect, fill)),
            (std::vector<int32_t>{2, 1, 0, 1, 2, 5, 4, 3, 4, 5}));
  EXPECT_EQ(Values(PadTensor(x, none, std::vector<int64_t>{1, 1}, PadMode::kEdge, fill)),
            (std::vector<int32_t>{0, 1, 2, 2, 3, 4, 5, 5, 3, 4, 5, 5}));
}

TEST(TensorOps, GatherChecksIndices) {
  const Tensor x = Iota({2, 3});
  Tensor indices(DType::kS64, {2});
  indices.data<int64_t>()[0] = -1;
  EXPECT_EQ(Values(*GatherTensor(x, indices, 1)), (std::vector<int32_t>{2, 0, 5, 3}));
  indices.data<int64_t>()[0] = 3;
  const auto bad = GatherTensor(x, indices, 1);
  ASSERT_FALSE(bad.has_value());
  EXPECT_EQ(bad.error().message, "index 3 is out of range for 3 elements");
}

}  // namespace
}  // namespace octile::ir
