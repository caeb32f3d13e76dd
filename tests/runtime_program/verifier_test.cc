// Each test is a small program in assembler text and what the verifier must say about it.
// Configuration `tiny`: N = 4, 8 banks of 512 vectors, ring of 64 tiles.
#include "octile/program/verifier.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "octile/program/assembler.h"

namespace octile {
namespace {

using testing::HasSubstr;

ArchConfig Tiny() { return LoadConfig("tiny")->arch; }

// Region 0: instructions, 1: constants, 2: inputs, 3: outputs, 4: scratch.
std::vector<MemoryExtent> Regions() {
  return {{1 << 16, false, false, true},
          {1 << 16, true, false, false},
          {1 << 16, true, false, false},
          {1 << 16, false, true, false},
          {1 << 16, true, true, false}};
}

std::optional<Violation> Check(std::string_view text) {
  auto program = Assemble(text, /*allow_illegal=*/true);
  if (!program) {
    ADD_FAILURE() << program.error().message;
    return std::nullopt;
  }
  return FindViolation(Tiny(), *program, Regions());
}

void ExpectValid(std::string_view text) {
  const auto v = Check(text);
  EXPECT_FALSE(v) << v->message;
}

void ExpectViolation(std::string_view text, ViolationKind kind, int64_t instruction,
                     int64_t other = -1, std::string_view message = "") {
  const auto v = Check(text);
  ASSERT_TRUE(v) << "valid:\n" << text;
  EXPECT_EQ(ViolationKindName(v->kind), ViolationKindName(kind)) << v->message;
  EXPECT_EQ(v->instruction, instruction) << v->message;
  EXPECT_EQ(v->other, other) << v->message;
  EXPECT_THAT(v->message, HasSubstr(std::string(message)));
}

// A 4 x 4 image of one channel block to bank 0.
constexpr std::string_view kLoad = "lda region=2 n0=16 n1=1 n2=1 buf_addr=0 buf_bank=0 {}\n";
// A 1 x 1 convolution of it into bank 1.
constexpr std::string_view kMma =
    "mma in_addr=0 in_oy_step=4 in_h=4 in_w=4 kh=1 kw=1 stride_y=1 stride_x=1 dil_y=1 dil_x=1 mh=4 "
    "mw=4 blocks=1 "
    "out_addr=512 out_row_step=4 in_bank=0 out_bank=1 lo=0 hi=255 init emit {}\n";
constexpr std::string_view kCopy =
    "elt mode=COPY mh=1 mw=16 blocks=1 a_addr={} a_x_step=1 out_addr={} out_x_step=1 in_bank={} "
    "out_bank={} {}\n";

std::string Load(std::string_view extra) { return fmt::format(fmt::runtime(kLoad), extra); }
std::string Mma(std::string_view extra) { return fmt::format(fmt::runtime(kMma), extra); }
std::string Copy(int from, int to, std::string_view extra) {
  return fmt::format(fmt::runtime(kCopy), from, to, from / 512, to / 512, extra);
}
std::string Store(int from, std::string_view extra) {
  return fmt::format("sta region=3 n0=16 n1=1 n2=1 buf_addr={} buf_bank={} {}\n", from, from / 512,
                     extra);
}
constexpr std::string_view kParameters = "ldp region=1 target=EXE_SET index=0 count=1 signal0=0\n";

std::string Convolution() {
  return std::string(kParameters) + "ldw region=1 offset=1024 tiles=1\n" + Load("signal0=1") +
         Mma("wait0=0 wait1=1 signal0=2") + Store(512, "wait0=2") + "end\n";
}

TEST(Verifier, AcceptsAConvolution) { ExpectValid(Convolution()); }

TEST(Verifier, NeedsEnd) {
  ExpectViolation(Load(""), ViolationKind::kEnd, 0, -1, "does not end in END");
  ExpectViolation("end\nend\n", ViolationKind::kEnd, 0, -1, "follow END");
  EXPECT_EQ(FindViolation(Tiny(), {}, Regions())->kind, ViolationKind::kEnd);
}

TEST(Verifier, IllegalInstruction) {
  ExpectViolation("ldw region=1 tiles=0\nend\n", ViolationKind::kIllegal, 0, -1, "tiles = 0");
  ExpectViolation(Load("wait0=3 wait1=3") + "end\n", ViolationKind::kIllegal, 0, -1, "semaphore 3");
}

TEST(Verifier, Operands) {
  ExpectViolation("ldw region=1 offset=2 tiles=1\nend\n", ViolationKind::kOperand, 0, -1,
                  "multiple of N");
  ExpectViolation("ldp region=1 target=EXE_TABLE index=3 count=2\nend\n", ViolationKind::kOperand,
                  0, -1, "EXE_TABLE");
  ExpectViolation("ldp region=1 target=EXE_SET index=31 count=2\nend\n", ViolationKind::kOperand, 0,
                  -1, "beyond the 32");
  ExpectViolation(Mma("acc_base=120") + "end\n", ViolationKind::kOperand, 0, -1, "accumulators");
  ExpectViolation(Mma("raw table") + "end\n", ViolationKind::kOperand, 0, -1, "raw");
  ExpectViolation(Mma("in_wrap=4") + "end\n", ViolationKind::kOperand, 0, -1,
                  "in_oy_step = 4 is not below in_wrap = 4");
  ExpectViolation(Load("buf_banks=8") + "end\n", ViolationKind::kOperand, 0, -1,
                  "claims banks 0..8, there are 8");
}

TEST(Verifier, Regions) {
  ExpectViolation("lda region=3 n0=1 n1=1 n2=1\nend\n", ViolationKind::kRegion, 0, -1,
                  "may not be read");
  ExpectViolation("sta region=2 n0=1 n1=1 n2=1\nend\n", ViolationKind::kRegion, 0, -1,
                  "may not be written");
  ExpectViolation("lda region=6 n0=1 n1=1 n2=1\nend\n", ViolationKind::kRegion, 0, -1,
                  "does not exist");
  ExpectViolation("lda region=2 offset=65532 n0=2 n1=1 n2=1\nend\n", ViolationKind::kRegion, 0, -1,
                  "0xfffc..0x10003");
  ExpectViolation("lda region=2 offset=0 n0=1 n1=2 n2=3 mem_stride2=32768\nend\n",
                  ViolationKind::kRegion, 0, -1, "0x10000");
  ExpectViolation("ldw region=1 offset=65520 tiles=2\nend\n", ViolationKind::kRegion, 0);
}

TEST(Verifier, ClaimsCoverEveryAccess) {
  ExpectViolation("lda region=2 n0=513 n1=1 n2=1 buf_bank=0\nend\n", ViolationKind::kClaim, 0, -1,
                  "vector 512 (bank 1)");
  ExpectValid("lda region=2 n0=513 n1=1 n2=1 buf_bank=0 buf_banks=1\nend\n");
  ExpectViolation("lda region=2 n0=1 n1=1 n2=1 buf_addr=65535 buf_bank=7\nend\n",
                  ViolationKind::kClaim, 0, -1, "vector 65535");
}

TEST(Verifier, ReadsOnlyWhatWasWritten) {
  ExpectViolation(Store(0, "") + "end\n", ViolationKind::kUninitialized, 0, -1, "vector 0");
  ExpectViolation(
      std::string("ldw region=1 tiles=1\n") + Load("signal0=1") + Mma("wait0=1") + "end\n",
      ViolationKind::kUninitialized, 2, -1, "EXE_SET 0");
  // Without init the accumulators must hold something.
  ExpectViolation(
      "lda region=2 n0=4 n1=1 n2=1 signal0=0\nldw region=1 tiles=1\n"
      "mma wait0=0 in_h=2 in_w=2 kh=1 kw=1 stride_y=1 stride_x=1 dil_y=1 dil_x=1 mh=2 mw=2 "
      "blocks=1 in_oy_step=2\nend\n",
      ViolationKind::kUninitialized, 2, -1, "accumulator 0");
}

TEST(Verifier, PaddingIsNotRead) {
  // 3 x 3 kernel with one row and column of padding over a 4 x 4 image.
  const std::string conv =
      "ldp region=1 target=EXE_SET index=0 count=1 signal0=0\nldw region=1 offset=1024 tiles=9\n" +
      Load("signal0=1") +
      "mma wait0=0 wait1=1 in_addr=65531 in_oy_step=4 in_ky_step=4 in_h=4 in_w=4 iy0=-1 ix0=-1 "
      "kh=3 kw=3 stride_y=1 stride_x=1 dil_y=1 "
      "dil_x=1 mh=4 mw=4 blocks=1 out_addr=512 out_row_step=4 in_bank=0 out_bank=1 hi=255 init "
      "emit\nend\n";
  // The row pointer counts from row -1, so the base lies a row before the image: 65536 - 4.
  std::string right = conv;
  right.replace(right.find("65531"), 5, "65532");
  ExpectValid(right);
  ExpectViolation(conv, ViolationKind::kClaim, 3, -1, "65535");
}

TEST(Verifier, RacesOnTheBuffer) {
  // Nobody waits for the load.
  ExpectViolation(Load("") + Store(0, "") + "end\n", ViolationKind::kRace, 1, 0, "vector 0");
  ExpectValid(Load("signal0=4") + Store(0, "wait0=4") + "end\n");
  // The second load overwrites what the store may still read.
  ExpectViolation(Load("signal0=4") + Store(0, "wait0=4") + Load("") + "end\n",
                  ViolationKind::kRace, 2, 1, "operand vector 0");
  ExpectValid(Load("signal0=4") + Store(0, "wait0=4 signal0=5") + Load("wait0=5") + "end\n");
  // Two loads of the same vectors stay in order.
  ExpectValid(Load("") + Load("") + "end\n");
}

TEST(Verifier, OrderIsTransitive) {
  // load -> copy -> store, and the load after the store overwrites what the copy read.
  ExpectValid(Load("signal0=0") + Copy(0, 512, "wait0=0 signal0=1") +
              Store(512, "wait0=1 signal0=2") + Load("wait0=2") + "end\n");
  // A wait by an earlier instruction of the same queue counts.
  ExpectValid(Load("signal0=0") + "sync queue=VEC wait0=0\n" + Copy(0, 512, "signal0=1") +
              Store(512, "wait0=1") + "end\n");
}

TEST(Verifier, VectorUnitIsInOrderAndArrayNeedsAFence) {
  ExpectValid(Load("signal0=0") + Copy(0, 512, "wait0=0") + Copy(512, 1024, "") + "end\n");
  const std::string setup = std::string(kParameters) + "ldw region=1 offset=1024 tiles=2\n" +
                            Load("signal0=1") + Mma("wait0=0 wait1=1");
  const std::string second =
      "mma {} in_addr=512 in_oy_step=4 in_h=4 in_w=4 kh=1 kw=1 stride_y=1 stride_x=1 dil_y=1 "
      "dil_x=1 mh=4 mw=4 blocks=1 "
      "out_addr=1024 out_row_step=4 in_bank=1 out_bank=2 hi=255 init emit\nend\n";
  ExpectViolation(setup + fmt::format(fmt::runtime(second), ""), ViolationKind::kRace, 4, 3,
                  "EXE in reads");
  ExpectValid(setup + fmt::format(fmt::runtime(second), "fence"));
  // Overwriting what the previous MMA reads is safe by the pipeline's order.
  ExpectValid(setup +
              "mma in_addr=0 in_oy_step=4 in_h=4 in_w=4 kh=1 kw=1 stride_y=1 stride_x=1 dil_y=1 "
              "dil_x=1 mh=4 mw=4 blocks=1 "
              "out_addr=512 out_row_step=4 in_bank=0 out_bank=1 hi=255 init emit\nend\n");
}

// By columns the last result of a vector written twice need not be that of the last row.
TEST(Verifier, WindowWritesNoVectorTwice) {
  const auto program = [](int out_row_step) {
    return Load("signal0=0") +
           fmt::format(
               "win wait0=0 mode=MAX in_h=1 in_w=4 kh=3 kw=1 stride_y=1 stride_x=1 dil_y=1 "
               "dil_x=1 mh=2 mw=2 blocks=1 out_addr=512 out_bank=1 out_row_step={}\nend\n",
               out_row_step);
  };
  ExpectValid(program(2));
  ExpectViolation(program(1), ViolationKind::kRace, 1, 1, "writes vector 513 twice");
}

TEST(Verifier, InPlace) {
  ExpectValid(Load("signal0=0") + Copy(0, 0, "wait0=0") + "end\n");
  ExpectViolation(Load("signal0=0") + Copy(0, 1, "wait0=0") + "end\n", ViolationKind::kRace, 1, 1,
                  "in place");
  // Every result to the same vector.
  ExpectViolation(
      Load("signal0=0") + "elt wait0=0 mode=COPY mh=16 mw=1 blocks=1 out_x_step=1\nend\n",
      ViolationKind::kRace, 1, 1, "in place");
}

TEST(Verifier, ParameterRaces) {
  const std::string use = Mma("wait0=0 wait1=1 signal0=2");
  const std::string setup =
      std::string(kParameters) + "ldw region=1 offset=1024 tiles=1\n" + Load("signal0=1");
  ExpectViolation(setup + use + "ldp region=1 target=EXE_SET index=0 count=1\nend\n",
                  ViolationKind::kRace, 4, 3, "EXE_SET 0");
  ExpectValid(setup + use + "ldp wait0=2 region=1 target=EXE_SET index=0 count=1\nend\n");
  ExpectViolation(
      "ldp region=1 target=EXE_SET index=0 count=1\nldw region=1 offset=1024 tiles=1\n" +
          Load("signal0=1") + Mma("wait1=1") + "end\n",
      ViolationKind::kRace, 3, 0, "EXE_SET 0");
}

TEST(Verifier, MemoryRaces) {
  const std::string store =
      Load("signal0=0") + "sta wait0=0 region=4 offset=256 n0=16 n1=1 n2=1 {}\n";
  const std::string reload =
      "lda {} region=4 offset={} n0=1 n1=2 n2=1 mem_stride1=64 buf_addr=512 buf_bank=1\nend\n";
  ExpectViolation(fmt::format(fmt::runtime(store), "") + fmt::format(fmt::runtime(reload), "", 192),
                  ViolationKind::kRace, 2, 1, "at byte 256");
  ExpectValid(fmt::format(fmt::runtime(store), "signal0=1") +
              fmt::format(fmt::runtime(reload), "wait0=1", 192));
  // Rows at 188 and 252 lie around and before the stored bytes.
  ExpectValid(fmt::format(fmt::runtime(store), "") + fmt::format(fmt::runtime(reload), "", 188));
  // A store over what a load may still read.
  ExpectViolation(Load("signal0=0") +
                      "lda region=4 n0=1 n1=1 n2=1 buf_addr=512 buf_bank=1\nsta wait0=0 region=4 "
                      "n0=1 n1=1 n2=1\nend\n",
                  ViolationKind::kRace, 2, 1, "overwrites data of region 4 at byte 0");
}

TEST(Verifier, Conflicts) {
  // Load into bank 1 while the copy writes to it; different vectors.
  const std::string other = "lda {} region=2 n0=1 n1=1 n2=1 buf_addr=600 buf_bank=1\n";
  ExpectViolation(Load("signal0=0") + Copy(0, 512, "wait0=0 signal0=1") +
                      fmt::format(fmt::runtime(other), "") + "end\n",
                  ViolationKind::kConflict, 2, 1, "bank 1");
  ExpectValid(Load("signal0=0") + Copy(0, 512, "wait0=0 signal0=1") +
              fmt::format(fmt::runtime(other), "wait0=1") + "end\n");
  // One stream to read and one to write may share a bank.
  ExpectValid(Load("signal0=0") + Copy(0, 16, "wait0=0") + "end\n");
  // Both operands of one instruction from one bank.
  ExpectViolation("ldp region=1 target=VEC_CONST index=0 count=1 signal0=3\n" + Load("signal0=0") +
                      "elt wait0=0 wait1=3 mode=ADD mh=1 mw=8 blocks=1 a_x_step=1 b_addr=8 "
                      "b_x_step=1 out_addr=512 out_x_step=1 out_bank=1\nend\n",
                  ViolationKind::kConflict, 2, 2, "VEC a and VEC b");
  // Reading bank 0 by the store while the copy reads it.
  ExpectViolation(
      Load("signal0=0 signal1=1") + Copy(0, 512, "wait0=0") + Store(0, "wait0=1") + "end\n",
      ViolationKind::kConflict, 2, 1, "bank 0");
}

TEST(Verifier, Semaphores) {
  ExpectViolation(Load("signal0=0") + Store(0, "wait0=0 signal0=0") + "end\n",
                  ViolationKind::kSemaphore, 1, 0, "semaphore 0");
  ExpectViolation(Load("signal0=0") + Store(0, "wait0=0") + "sync queue=EXE wait0=0\nend\n",
                  ViolationKind::kSemaphore, 2, 1, "semaphore 0");
  std::string many;
  for (int i = 0; i < 255; ++i) many += Load("signal0=0");
  ExpectValid(many + "end\n");
  ExpectViolation(many + Load("signal0=0") + "end\n", ViolationKind::kSemaphore, 255, -1,
                  "can reach 256");
  // With somebody who takes them in time, any number is fine; with somebody who may be late it is
  // not.
  std::string taken;
  for (int i = 0; i < 300; ++i)
    taken += Load("wait0=1 signal0=0") + "sync queue=EXE wait0=0 signal0=1\n";
  ExpectValid("sync queue=EXE signal0=1\n" + taken + "end\n");
  std::string late;
  for (int i = 0; i < 300; ++i) late += Load("signal0=0") + "sync queue=EXE wait0=0\n";
  ExpectViolation(late + "end\n", ViolationKind::kSemaphore, 510, -1, "can reach 256");
}

TEST(Verifier, Deadlocks) {
  ExpectViolation("sync queue=EXE wait0=0\nend\n", ViolationKind::kDeadlock, 0, -1,
                  "waits for signal 1 of semaphore 0");
  ExpectViolation("sync queue=EXE wait0=0 signal0=1\nsync queue=VEC wait0=1 signal0=0\nend\n",
                  ViolationKind::kDeadlock, 0, -1, "queue VEC: instruction 1");
  // The queue holds eight; the signal stands behind the tenth.
  std::string full;
  for (int i = 0; i < 8; ++i) full += "sync queue=EXE wait0=0\n";
  std::string more = full + "sync queue=EXE wait0=0\n";
  std::string signals;
  for (int i = 0; i < 9; ++i) signals += "sync queue=VEC signal0=0\n";
  ExpectValid(full + signals + "end\n");
  ExpectViolation(more + signals + "end\n", ViolationKind::kDeadlock, 0, -1,
                  "dispatch: instruction 8 waits for room in queue EXE");
}

TEST(Verifier, Ring) {
  const std::string load = Load("signal0=1") + std::string(kParameters);
  const std::string mma = Mma("wait0=0 wait1=1");
  ExpectViolation(load + mma + "end\n", ViolationKind::kDeadlock, 2, -1, "waits for weight tile 0");
  ExpectViolation(load + "ldw region=1 tiles=2\n" + mma + "end\n", ViolationKind::kRing, 4, -1,
                  "1 weight tiles are left");
  ExpectViolation(load + "ldw region=1 tiles=1\n" + Mma("wait0=0 wait1=1 retain") + "end\n",
                  ViolationKind::kRing, 4, -1, "keeps");
  ExpectValid(load + "ldw region=1 tiles=1\n" + Mma("wait0=0 wait1=1 retain") + Mma("") + "end\n");
  // 65 tiles do not fit a ring of 64 and nobody takes them.
  ExpectViolation(
      load + "ldw region=1 tiles=80\nsync queue=WGT signal0=2\n" + Mma("wait0=0 wait1=2") + "end\n",
      ViolationKind::kDeadlock, 2, -1, "waits for room in the ring (64 of 64 tiles held)");
}

TEST(Verifier, RingCountsWholeBursts) {
  // A burst carries 16 tiles of 16 bytes. After 8 taken tiles there is room for 8, not for a burst:
  // the 8 tiles that are still missing for the kept set of 60 never come.
  const std::string taps =
      " in_oy_step=4 in_h=4 in_w=4 kh={} kw={} stride_y=1 stride_x=1 dil_y=1 dil_x=1 mh=1 mw=1 "
      "blocks=1 out_addr=512 in_bank=0 out_bank=1 hi=255 init emit {}\n";
  const auto mma = [&](std::string_view head, int kh, int kw, std::string_view tail) {
    return "mma " + std::string(head) + fmt::format(fmt::runtime(taps), kh, kw, tail);
  };
  const std::string load = Load("signal0=1") + std::string(kParameters);
  ExpectViolation(load + "ldw region=1 tiles=80\n" + mma("wait0=0 wait1=1", 2, 4, "") +
                      mma("", 6, 10, "retain") + mma("", 6, 10, "") + mma("", 3, 4, "") + "end\n",
                  ViolationKind::kDeadlock, 2, -1, "room in the ring");
  ExpectValid(load + "ldw region=1 tiles=80\n" + mma("wait0=0 wait1=1", 2, 4, "") +
              mma("", 6, 10, "") + mma("", 3, 4, "") + "end\n");
}

TEST(Verifier, SplitKAccumulates) {
  const std::string load = Load("signal0=1") + std::string(kParameters) + "ldw region=1 tiles=2\n";
  std::string first = Mma("wait0=0 wait1=1");
  first.replace(first.find("emit"), 4, "");
  std::string last = Mma("");
  last.replace(last.find("init"), 4, "");
  ExpectValid(load + first + last + "end\n");
  // A second look at accumulators that a result has left.
  std::string again = load;
  again.replace(again.find("tiles=2"), 7, "tiles=3");
  ExpectViolation(again + first + last + last + "end\n", ViolationKind::kUninitialized, 5, -1,
                  "accumulator");
}

TEST(Verifier, HostileSizesEndQuickly) {
  const auto start = std::chrono::steady_clock::now();
  const auto big = Check(
      "ldp region=1 target=EXE_SET index=0 count=1 signal0=0\nlda region=2 n0=512 n1=1 n2=1 "
      "signal0=1\n"
      "mma wait0=0 wait1=1 in_h=65535 in_w=65535 kh=63 kw=63 stride_y=15 stride_x=15 dil_y=31 "
      "dil_x=31 mh=1 mw=128 blocks=4095 "
      "in_ky_step=1 out_addr=512 out_bank=1 init emit\nend\n");
  ASSERT_TRUE(big);
  const auto rows = Check("lda region=2 n0=1 n1=65535 n2=65535 mem_stride1=4\nend\n");
  ASSERT_TRUE(rows);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

// Every kind of work counts: each of these instructions is legal and takes long to look at, and
// there could be any number of them.
TEST(Verifier, MuchSlowWorkIsTooLarge) {
  const auto check = [](std::string_view what, std::string_view before, std::string_view line) {
    std::string text(before);
    for (int i = 0; i < 2000; ++i) text += line;
    const auto v = Check(text + "end\n");
    ASSERT_TRUE(v) << what;
    EXPECT_EQ(ViolationKindName(v->kind), "too large") << what << ": " << v->message;
  };
  check("rows of memory", "", "lda region=2 n0=1 n1=1024 n2=1024 mem_stride1=8\n");
  check("rows of the buffer", "", "lda region=2 n0=1 n1=1024 n2=1024 buf_stride1=2\n");
  check("taps of a window",
        "lda region=2 n0=2000 n1=1 n2=1 buf_banks=3 signal0=0\nsync queue=VEC wait0=0\n",
        "win mode=MAX in_h=65535 in_w=65535 kh=63 kw=63 stride_y=15 stride_x=15 dil_y=31 dil_x=31 "
        "mh=512 mw=1 blocks=1 in_banks=3 out_addr=2048 out_row_step=1 out_bank=4\n");
}

// Rule 10 of docs/isa.md.
TEST(Verifier, ParametersLieInTheirDomains) {
  // 1 x 4 vectors in bank 0, constants and a set of parameters from region 1.
  const std::string before =
      "ldp region=1 target=VEC_SET index=0 count=1\n"
      "ldp region=1 offset=64 target=VEC_CONST index=0 count=1\n"
      "ldp region=1 target=EXE_SET index=0 count=1\n"
      "ldp region=1 offset=64 target=EXE_CONST index=0 count=1 signal0=0 signal1=3\n"
      "ldw region=1 offset=128 tiles=1\n"
      "lda region=2 n0=4 n1=1 n2=1 signal0=1 signal1=2\n";
  const std::string elt =
      "elt wait0=0 wait1=1 mode={} mh=1 mw=4 blocks=1 a_x_step=1 b_x_step=1 "
      "out_x_step=1 b_bank=1 b_addr=512 out_bank=2 out_addr=1024\n";
  const std::string window =
      "win wait0=0 wait1=1 mode={} in_h=1 in_w=4 kh=1 kw=1 stride_y=1 stride_x=1 dil_y=1 dil_x=1 "
      "mh=1 mw=4 blocks=1 out_addr=1024 out_bank=2\n";
  const std::string mma =
      "mma wait0=3 wait1=2 in_h=1 in_w=4 kh=1 kw=1 stride_y=1 stride_x=1 dil_y=1 dil_x=1 mh=1 mw=4 "
      "blocks=1 out_addr=1536 out_bank=3 init emit {}\n";
  std::vector<uint32_t> words(64);
  const auto check = [&](const std::string& what) -> std::string {
    auto regions = Regions();
    const auto* bytes = reinterpret_cast<const uint8_t*>(words.data());
    regions[1].data = {bytes, 4 * words.size()};
    // Where the other unit's operand comes from does not matter here.
    std::string text = before;
    if (what.find("b_bank") != std::string::npos)
      text.insert(text.find("lda"), "lda region=2 n0=16 n1=1 n2=1 buf_addr=512 buf_bank=1\n");
    const auto program = Assemble(text + what + "end\n");
    EXPECT_TRUE(program) << program.error().message;
    const auto v = FindViolation(Tiny(), *program, regions);
    if (!v) return "";
    EXPECT_TRUE(v->kind == ViolationKind::kParameter || v->kind == ViolationKind::kRing)
        << v->message;
    return v->kind == ViolationKind::kParameter ? v->message : "";
  };
  const auto with = [](const std::string& text, std::string_view value) {
    return fmt::format(fmt::runtime(text), value);
  };
  const auto bits = [](float value) { return std::bit_cast<uint32_t>(value); };

  // Multipliers: the four words behind the biases.
  for (const float good : {0.f, 0x1p-33f, 1.f, 512.f}) {
    words[6] = bits(good);
    EXPECT_EQ(check(with(window, "SUM")), "") << good;
    EXPECT_EQ(check(with(mma, "")), "") << good;
  }
  for (const float bad : {-0.f, -1.f, 0x1p-34f, 0x1.000002p9f, 0x1p-140f, INFINITY, NAN}) {
    words[6] = bits(bad);
    EXPECT_THAT(check(with(window, "SUM")), HasSubstr("VEC_SET 0 with multiplier 2 = ")) << bad;
    EXPECT_THAT(check(with(mma, "")), HasSubstr("EXE_SET 0 with multiplier 2 = ")) << bad;
    EXPECT_EQ(check(with(window, "MAX")), "") << "MAX has no multiplier";
    EXPECT_EQ(check(with(mma, "raw")), "") << "nor have raw sums";
  }
  words[6] = 0;
  words[2] = 0xffffffff;  // a bias may be anything
  EXPECT_EQ(check(with(window, "SUM")), "");

  // Offsets and factors of AFFINE in the same words: N = 4 offsets, then 4 factors.
  words[2] = 0;
  for (const float good : {0.f, -0.f, 0x1p-40f, -0x1p20f}) {
    words[6] = bits(good);
    EXPECT_EQ(check(with(elt, "AFFINE")), "") << good;
  }
  for (const float bad : {0x1p-41f, -0x1.000002p20f, -INFINITY, static_cast<float>(NAN)}) {
    words[6] = bits(bad);
    EXPECT_THAT(check(with(elt, "AFFINE")), HasSubstr("VEC_SET 0 with factor 2 = ")) << bad;
  }
  words[6] = 0;
  for (const float good : {-0.f, 0x1p-64f, -0x1.fffffep29f}) {
    words[2] = bits(good);
    EXPECT_EQ(check(with(elt, "AFFINE")), "") << good;
  }
  for (const float bad : {-0x1p-65f, 0x1p30f, static_cast<float>(NAN)}) {
    words[2] = bits(bad);
    EXPECT_THAT(check(with(elt, "AFFINE")), HasSubstr("VEC_SET 0 with offset 2 = ")) << bad;
  }
  words[2] = 0;

  const auto constants = [&](float c0, float c1, float c2) {
    words[16] = bits(c0);
    words[17] = bits(c1);
    words[18] = bits(c2);
  };
  constants(0x1p-40f, 0x1p20f, -0x1.fffffep29f);
  EXPECT_EQ(check(with(elt, "ADD")), "");
  EXPECT_THAT(check(with(elt, "MUL")), HasSubstr("zc = 1048576"));
  constants(0x1p-41f, 1, 0);
  EXPECT_THAT(check(with(elt, "ADD")), HasSubstr("VEC_CONST 0 with RA"));
  EXPECT_EQ(check(with(elt, "COPY")), "");
  constants(1, -1, 0);
  EXPECT_THAT(check(with(elt, "ADD")), HasSubstr("RB = -1"));
  EXPECT_EQ(check(with(elt, "MUL")), "");
  for (const float bad : {NAN, 0x1p30f, 0x1p-65f}) {
    constants(1, 1, bad);
    EXPECT_THAT(check(with(elt, "ADD")), HasSubstr("with F"));
  }
  for (const float bad : {0.5f, 256.f, -129.f, static_cast<float>(NAN)}) {
    constants(1, bad, 0);
    EXPECT_THAT(check(with(elt, "MUL")), HasSubstr("with zc"));
  }
  constants(-1, 0, 0);
  EXPECT_THAT(check(with(elt, "MUL")), HasSubstr("with r = -1"));
  EXPECT_THAT(check(with(elt, "MUL")), HasSubstr("instruction 1 [ldp"));
  // Nobody knows what a region holds that something may write, or what lies behind its contents.
  words.resize(16);
  EXPECT_EQ(check(with(elt, "MUL")), "");
}

TEST(Verifier, IsFast) {
  // 20,000 matrix instructions of 784 positions with 3 x 3 kernels over eight channel blocks, on
  // `base`.
  const ArchConfig arch = LoadConfig("base")->arch;
  isa::Ldp ldp;
  ldp.region = 1;
  ldp.header.signal0 = isa::Semaphore(0);
  isa::Lda lda;
  lda.region = 2;
  lda.n0 = 28;
  lda.n1 = 28;
  lda.n2 = 8;
  lda.mem_stride1 = 28 * 16;
  lda.mem_stride2 = 784 * 16;
  lda.buf_stride1 = 28;
  lda.buf_stride2 = 784;
  lda.buf_banks = 7;
  lda.header.signal0 = isa::Semaphore(1);
  isa::Mma mma;
  mma.in_addr = 65536 - 28;
  mma.in_oy_step = mma.in_ky_step = 28;
  mma.in_blk_stride = 784;
  mma.in_h = mma.in_w = mma.mh = mma.mw = 28;
  mma.iy0 = mma.ix0 = -1;
  mma.kh = mma.kw = 3;
  mma.blocks = 8;
  mma.out_addr = 8192;
  mma.out_row_step = 28;
  mma.in_banks = 7;
  mma.out_bank = 8;
  mma.init = mma.emit = true;
  std::vector<isa::Instruction> program = {isa::Encode(ldp), isa::Encode(lda)};
  mma.header.wait0 = isa::Semaphore(0);
  mma.header.wait1 = isa::Semaphore(1);
  isa::Ldw ldw;
  ldw.region = 1;
  ldw.tiles = 72;
  for (int i = 0; i < 10000; ++i) {
    program.push_back(isa::Encode(ldw));
    program.push_back(isa::Encode(mma));
    mma.header = {};
  }
  program.push_back(isa::Encode(isa::End{}));
  const auto start = std::chrono::steady_clock::now();
  const auto violation = FindViolation(arch, program,
                                       std::vector<MemoryExtent>{{1 << 20, false, false, true},
                                                                 {1 << 20, true, false, false},
                                                                 {1 << 20, true, false, false}});
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_FALSE(violation) << violation->message;
  RecordProperty("seconds", fmt::format("{:.3f}", seconds));
  fmt::print("{} instructions in {:.3f} s\n", program.size(), seconds);
  EXPECT_LT(seconds, 10.0);  // a second on an idle machine; sanitizers and busy machines are slower
}

}  // namespace
}  // namespace octile
