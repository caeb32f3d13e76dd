// The parts of code generation: weight coding, bank allocation, accesses, and the schedule's
// semaphores.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "accesses.h"
#include "layout.h"
#include "octile/program/verifier.h"
#include "schedule.h"
#include "weights.h"

namespace octile::codegen {
namespace {

int Decode(const WeightCoding& coding, uint8_t code, int pass) {
  if (coding.two_passes && pass == 1) return code - kSecondPassZeroPoint;
  return (coding.is_signed ? static_cast<int8_t>(code) : code) - coding.zero_point;
}

TEST(Weights, EveryRangeOfDifferencesIsExact) {
  for (int least = -255; least <= 0; least += 5) {
    for (int greatest = 0; greatest <= 255; greatest += 5) {
      const WeightCoding coding = ChooseCoding(least, greatest);
      for (const int difference : {least, least / 2, 0, greatest / 2, greatest}) {
        int sum = Decode(coding, WeightCode(coding, difference, 0), 0);
        if (coding.two_passes) sum += Decode(coding, WeightCode(coding, difference, 1), 1);
        ASSERT_EQ(sum, difference) << least << ".." << greatest;
      }
    }
  }
  EXPECT_FALSE(ChooseCoding(-128, 127).two_passes);
  EXPECT_FALSE(ChooseCoding(-200, 55).two_passes);
  EXPECT_TRUE(ChooseCoding(-200, 56).two_passes);
}

TEST(Weights, TilesAreLanesByColumnsInKernelOrder) {
  std::vector<uint8_t> bytes;
  const int n = 4;
  AppendTiles(
      {.out_channels = 5,
       .in_channels = 6,
       .block = 1,
       .first_in_block = 0,
       .in_blocks = 2,
       .kh = 1,
       .kw = 2,
       .pass = 0},
      [](int64_t oc, int64_t ic, int64_t, int64_t kx) {
        return static_cast<int>(oc * 10 + ic + 50 * kx);
      },
      ChooseCoding(-1, 127), n, bytes);
  ASSERT_EQ(bytes.size(), 2u * 2u * 16u);
  // Output block 1 has channel 4 only; tile 0 is (kx 0, input block 0): lane r, column 0.
  EXPECT_EQ(bytes[0], 40);
  EXPECT_EQ(bytes[4], 41);
  EXPECT_EQ(bytes[1], 0);        // channel 5 does not exist
  EXPECT_EQ(bytes[16 + 4], 45);  // input block 1, lane 1: channel 5
  EXPECT_EQ(bytes[16 + 8], 0);   // channel 6 does not exist
  EXPECT_EQ(bytes[32], 90);      // kx 1
}

TEST(BankAllocator, NeverSharesBanks) {
  BankAllocator banks(8);
  const auto a = banks.Allocate(3);
  const auto b = banks.Allocate(4);
  ASSERT_TRUE(a && b);
  EXPECT_TRUE(a->bank + a->banks <= b->bank || b->bank + b->banks <= a->bank);
  EXPECT_FALSE(banks.Allocate(2));
  EXPECT_EQ(banks.free_banks(), 1);
  banks.Free(*a);
  EXPECT_EQ(banks.free_banks(), 4);
  EXPECT_GE(banks.longest_run(), 3);
}

TEST(Form, OfShapes) {
  EXPECT_EQ(*FormOf({1, 8, 3, 5}), (Form{8, 3, 5, false}));
  EXPECT_EQ(*FormOf({7, 12}), (Form{12, 1, 7, true}));
  EXPECT_EQ(*FormOf({1, 12}), (Form{12, 1, 1, false}));
  EXPECT_FALSE(FormOf({2, 8, 3, 5}));
  EXPECT_FALSE(FormOf({1, 1, 8, 3, 5}));
}

// A chain memory -> LDA -> ELT -> ELT -> STA, twice through the same buffers.
class ScheduleTest : public testing::Test {
 protected:
  void SetUp() override { config_ = *LoadConfig("tiny"); }

  isa::Lda Load(int buffer, uint32_t offset) const {
    isa::Lda op;
    op.region = 2;
    op.offset = offset;
    op.n0 = 16;
    op.buf_addr = buffer;
    return op;
  }
  isa::Elt Copy(int from, int to) const {
    isa::Elt op;
    op.a_addr = from;
    op.a_x_step = 1;
    op.mw = 16;
    op.out_addr = to;
    return op;
  }
  isa::Sta Store(int buffer, uint32_t offset) const {
    isa::Sta op;
    op.region = 3;
    op.offset = offset;
    op.n0 = 16;
    op.buf_addr = buffer;
    return op;
  }
  Status Check(const std::vector<isa::Operation>& operations) const {
    std::vector<isa::Instruction> program;
    for (const isa::Operation& op : operations) program.push_back(isa::Encode(op));
    std::vector<MemoryExtent> regions(4, {4096, true, true, false});
    regions[0] = {4096, false, false, true};
    return Verify(config_.arch, program, regions);
  }
  // Claims are what lowering sets.
  std::vector<isa::Operation> WithClaims(std::vector<isa::Operation> operations) const {
    for (isa::Operation& op : operations) SetClaims(op, AccessesOf(op, config_.arch), config_.arch);
    return operations;
  }
  Config config_;
};

TEST_F(ScheduleTest, ChainsAreOrderedAndTheVerifierAgrees) {
  std::vector<isa::Operation> operations;
  for (uint32_t i = 0; i < 6; ++i) {
    operations.push_back(Load(0, i * 64));
    operations.push_back(Copy(0, 512));
    operations.push_back(Copy(512, 1024));
    operations.push_back(Store(1024, i * 64));
  }
  const auto scheduled = Schedule(WithClaims(operations), config_);
  ASSERT_TRUE(scheduled) << scheduled.error().message;
  const Status valid = Check(scheduled->operations);
  EXPECT_TRUE(valid) << valid.error().message;
  EXPECT_GT(scheduled->estimated_cycles, 0);

  // Each wait that is taken away breaks it: none is superfluous.
  for (size_t i = 0; i < scheduled->operations.size(); ++i) {
    if (!isa::HasSemaphore(isa::HeaderOf(scheduled->operations[i]).wait0)) continue;
    std::vector<isa::Operation> broken = scheduled->operations;
    isa::HeaderOf(broken[i]).wait0 = 0;
    EXPECT_FALSE(Check(broken)) << "without the wait of instruction " << i;
  }
}

TEST_F(ScheduleTest, QueuesKeepTheirOrder) {
  std::vector<isa::Operation> operations;
  for (int i = 0; i < 5; ++i) {
    operations.push_back(Load((i % 2) * 512, static_cast<uint32_t>(i) * 64));
    operations.push_back(Store((i % 2) * 512, static_cast<uint32_t>(i) * 64));
  }
  const auto scheduled = Schedule(WithClaims(operations), config_);
  ASSERT_TRUE(scheduled);
  std::map<isa::Queue, int> last;
  for (size_t i = 0; i < scheduled->operations.size(); ++i) {
    if (scheduled->source[i] < 0) continue;
    int& previous =
        last.try_emplace(isa::QueueOf(isa::Encode(scheduled->operations[i])), -1).first->second;
    EXPECT_LT(previous, scheduled->source[i]);
    previous = scheduled->source[i];
  }
  EXPECT_TRUE(std::holds_alternative<isa::End>(scheduled->operations.back()));
  EXPECT_TRUE(Check(scheduled->operations));
}

TEST_F(ScheduleTest, MoreThanTwoPartnersTakeSync) {
  // One ELT copy whose source is read by others and whose target was stored, loaded over and
  // computed with: several queues at once.
  std::vector<isa::Operation> operations;
  operations.push_back(Load(0, 0));
  operations.push_back(Store(0, 0));
  operations.push_back(Copy(0, 512));
  operations.push_back(Store(512, 64));
  operations.push_back(Load(512, 128));
  operations.push_back(Copy(512, 0));
  operations.push_back(Store(0, 128));
  const auto scheduled = Schedule(WithClaims(operations), config_);
  ASSERT_TRUE(scheduled);
  const Status valid = Check(scheduled->operations);
  EXPECT_TRUE(valid) << valid.error().message;
}

}  // namespace
}  // namespace octile::codegen
