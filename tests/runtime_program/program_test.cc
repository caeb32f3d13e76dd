#include "octile/program/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/crc.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include "octile/program/assembler.h"
#include "octile/program/verifier.h"

namespace octile {
namespace {

using testing::HasSubstr;

Program Example() {
  Program p;
  p.producer = "octile test";
  p.config = "base";
  p.arch = LoadConfig("base")->arch;
  p.model = "example";
  p.instructions = *Assemble(
      "lda region=2 n0=4 n1=1 n2=1 signal0=0\n"
      "sta wait0=0 region=3 n0=4 n1=1 n2=1 layer=1\n"
      "end\n");
  p.regions = {{RegionKind::kProgram, "program", 256, false, false, true, {}},
               {RegionKind::kConstants, "constants", 1000, true, false, false, {1, 2, 3}},
               {RegionKind::kInputs, "inputs", 4096, true, false, false, {}},
               {RegionKind::kOutputs, "outputs", 4096, false, true, false, {}}};
  TensorDescriptor t;
  t.name = std::string("in\0put\xff", 7);  // ONNX names may be any bytes
  t.shape = {1, 20, 1, 2};
  t.quantized = true;
  t.scale = 0.25f;
  t.zero_point = 128;
  t.role = TensorRole::kInput;
  t.region = 2;
  t.layout = Layout::kBlocked;
  t.channels = 20;
  t.columns = 2;
  t.block_pitch = 32;
  TensorDescriptor view = t;  // channels 2, 7 and 12 of both columns, columns outermost
  view.name = "view";
  view.shape = {2, 3};
  view.view = {{2, ViewCoordinate::kColumn, 0, 1}, {3, ViewCoordinate::kChannel, 2, 5}};
  p.tensors = {t, view};
  p.plan = {{PlanKind::kEdge, 0, 0, {0}, "quantize", "", {"x"}, {"input"}},
            {PlanKind::kDevice, 0, 3, {1, 2}, "job", "", {"input"}, {"output"}}};
  p.layers = {{"load", {"n1"}, {0}, 0, 10}, {"store", {"n2", "n3"}, {1, 2}, 12345678901, 20}};
  p.observations = {{.instruction = 1,
                     .step = 2,
                     .tensor = 5,
                     .block = 1,
                     .blocks = 2,
                     .y0 = 3,
                     .x0 = 4,
                     .rows = 5,
                     .columns = 6,
                     .channels = 20,
                     .raw = true,
                     .map = 1}};
  // Lanes of blocks 0..2: without a channel but for a few.
  std::vector<int32_t> map(3 * 16, -1);
  map[16] = 7, map[17] = 0, map[47] = INT32_MAX - 1;
  p.channel_maps = {std::vector<int32_t>(16, -1), map};
  p.estimated_cycles = 30;
  p.graph = {9, 8, 7};
  return p;
}

std::vector<uint8_t> Bytes(const Program& p) {
  auto bytes = SerializeProgram(p);
  EXPECT_TRUE(bytes) << bytes.error().message;
  return *bytes;
}

// Makes the checksum right again after a change of the body.
void Seal(std::vector<uint8_t>* bytes) {
  boost::crc_32_type crc;
  crc.process_bytes(bytes->data() + 64, bytes->size() - 64);
  for (int i = 0; i < 4; ++i) (*bytes)[12 + i] = static_cast<uint8_t>(crc.checksum() >> (8 * i));
  for (int i = 0; i < 8; ++i)
    (*bytes)[16 + i] = static_cast<uint8_t>((bytes->size() - 64) >> (8 * i));
}

void ExpectError(std::span<const uint8_t> bytes, std::string_view message) {
  const auto p = ParseProgram(bytes, "x.octile");
  ASSERT_FALSE(p);
  EXPECT_EQ(p.error().code, ErrorCode::kProgram);
  EXPECT_THAT(p.error().message, HasSubstr("program 'x.octile': "));
  EXPECT_THAT(p.error().message, HasSubstr(std::string(message)));
}

TEST(Program, RoundTripIsExactAndDeterministic) {
  const Program p = Example();
  const auto bytes = Bytes(p);
  const auto again = ParseProgram(bytes, "x");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, p);
  EXPECT_EQ(Bytes(*again), bytes);
  EXPECT_TRUE(VerifyProgram(p)) << VerifyProgram(p).error().message;
}

TEST(Program, FilesRoundTrip) {
  const auto file = std::filesystem::temp_directory_path() / "octile_program_test.octile";
  ASSERT_TRUE(SaveProgram(Example(), file));
  const auto p = LoadProgram(file);
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_EQ(*p, Example());
  EXPECT_THAT(LoadProgram(file, 100).error().message, HasSubstr("above the limit of 100"));
  std::filesystem::remove(file);
  EXPECT_THAT(LoadProgram(file).error().message, HasSubstr("is not a file"));
  EXPECT_THAT(LoadProgram("/").error().message, HasSubstr("is not a file"));
  EXPECT_FALSE(SaveProgram(Example(), "/nonexistent/x.octile"));
}

TEST(Program, DamageIsNoticed) {
  const auto bytes = Bytes(Example());
  ExpectError({}, "0 bytes are too few");
  ExpectError(std::span(bytes).first(63), "too few");
  for (const size_t size : {size_t{64}, bytes.size() / 2, bytes.size() - 1})
    ExpectError(std::span(bytes).first(size), "truncated or overlong");
  auto longer = bytes;
  longer.push_back(0);
  ExpectError(longer, "truncated or overlong");
  auto magic = bytes;
  magic[0] = 'o';
  ExpectError(magic, "magic number");
  auto version = bytes;
  version[8] = 9;
  ExpectError(version, "container version 9, this Octile reads version 2");
  auto reserved = bytes;
  reserved[40] = 1;
  ExpectError(reserved, "header byte 40");
  // Every bit of the body counts.
  for (size_t i = 64; i < bytes.size(); ++i) {
    auto damaged = bytes;
    damaged[i] ^= static_cast<uint8_t>(1 << (i % 8));
    ExpectError(damaged, "checksum");
  }
}

// With the checksum made right: an error or a program, never a crash.
TEST(Program, HostileBodies) {
  const auto bytes = Bytes(Example());
  std::mt19937 random(7);
  int parsed = 0;
  for (int round = 0; round < 3000; ++round) {
    auto hostile = bytes;
    for (int k = 1 + static_cast<int>(random() % 4); k > 0; --k)
      hostile[64 + random() % (hostile.size() - 64)] = static_cast<uint8_t>(random());
    if (random() % 4 == 0) hostile.resize(64 + random() % (hostile.size() - 64));
    Seal(&hostile);
    const auto p = ParseProgram(hostile, "x");
    if (p) {
      ++parsed;
      EXPECT_TRUE(ValidateProgram(*p));
      (void)VerifyProgram(*p);
    } else {
      EXPECT_EQ(p.error().code, ErrorCode::kProgram);
    }
  }
  EXPECT_GT(parsed, 0);
  EXPECT_LT(parsed, 3000);
}

TEST(Program, RefusesOtherVersionsAndArchitectures) {
  Program p = Example();
  p.isa_version = 3 << 16 | 5;
  const std::string own =
      std::to_string(isa::kVersionMajor) + "." + std::to_string(isa::kVersionMinor);
  ExpectError(Bytes(p), "made for ISA version 3.5, this Octile has " + own);
  // A hash that does not belong to the architecture: change one architectural field behind the
  // hash.
  auto bytes = Bytes(Example());
  const uint8_t banks[] = {0x28, 24};  // Arch.banks = 24
  auto at = std::search(bytes.begin() + 64, bytes.end(), std::begin(banks), std::end(banks));
  ASSERT_NE(at, bytes.end());
  at[1] = 23;
  Seal(&bytes);
  ExpectError(bytes, "does not belong to its architecture");
}

void ExpectInvalid(const Program& p, std::string_view message) {
  const auto status = ValidateProgram(p);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kProgram);
  EXPECT_THAT(status.error().message, HasSubstr(std::string(message)));
  EXPECT_FALSE(SerializeProgram(p));
}

TEST(Program, ValidationNamesThePlace) {
  auto p = Example();
  p.regions[1].data.resize(1001);
  ExpectInvalid(p, "regions[1] 'constants': 1001 bytes of data do not fit its 1000 bytes");
  p = Example();
  p.regions[0].size = 64;
  ExpectInvalid(p, "regions[0] 'program': 3 instructions do not fit");
  p = Example();
  p.regions.resize(9);
  ExpectInvalid(p, "9 regions are above the 8");
  p = Example();
  p.regions[2].size = uint64_t{1} << 32;
  ExpectInvalid(p, "above 4 GiB");
  p = Example();
  p.tensors[0].region = 4;
  ExpectInvalid(p, "tensors[0]");
  p = Example();
  p.tensors[0].offset = 4096 - 63;
  ExpectInvalid(p, "ends at byte 4097 of region 2, which has 4096 bytes");
  p = Example();
  p.tensors[0].block_pitch = INT64_MAX;
  p.tensors[0].row_pitch = INT64_MAX;
  ExpectInvalid(p, "ends at byte");
  p = Example();
  p.tensors[0].shape = {INT64_MAX, INT64_MAX};
  ExpectInvalid(p, "differ in elements");
  p = Example();
  p.tensors[0].scale = 0;
  ExpectInvalid(p, "scale 0");
  p = Example();
  p.tensors[0].channels = p.tensors[0].shape[1] = 5000;
  p.tensors[0].block_pitch = 0;
  ExpectInvalid(p, "holds 10000 bytes in region 2, which has 4096");
  p = Example();
  p.plan[1].count = 2;
  ExpectInvalid(p, "plan[1] 'job': instruction 1 at its end is not END");
  p = Example();
  p.plan[1].first = INT64_MAX;
  ExpectInvalid(p, "are not among the program's 3");
  p = Example();
  p.plan[1].first = 2;
  p.plan[1].count = 1;
  ExpectInvalid(p, "first instruction 2 is not a multiple of 4");
  p = Example();
  p.observations[0].instruction = 3;
  ExpectInvalid(p, "observations[0]: instruction 3 does not exist");
  for (const int32_t none : {-2, 2, INT32_MIN, INT32_MAX}) {
    p = Example();
    p.observations[0].map = none;
    ExpectInvalid(p, "observations[0]: channel map ");
  }
  p = Example();
  p.observations[0].map = 0;
  ExpectInvalid(p, "observations[0]: blocks beyond channel map 0");
  p = Example();
  p.observations[0].block = INT32_MAX;
  ExpectInvalid(p, "observations[0]: blocks beyond channel map 1");
  p = Example();
  p.channel_maps[1].pop_back();
  ExpectInvalid(p, "channel_maps[1]: 47 entries are no whole blocks of 16 lanes");
  p = Example();
  p.channel_maps[0].clear();
  ExpectInvalid(p, "channel_maps[0]: 0 entries");
  p = Example();
  p.channel_maps[1][3] = 7;
  ExpectInvalid(p, "channel_maps[1]: channel 7 stands twice");
  p = Example();
  p.channel_maps[1][3] = -2;
  ExpectInvalid(p, "channel_maps[1]: channel -2 does not exist");
  p = Example();
  p.layers.resize(4097);
  ExpectInvalid(p, "4097 layers");
  p = Example();
  p.arch.n = 7;
  ExpectInvalid(p, "'n' = 7");
}

TEST(Program, InvalidInstructionsAreTheVerifiersBusiness) {
  auto p = Example();
  p.instructions[1] = *Assemble("sta region=3 n0=4 n1=1 n2=1")->begin();
  ASSERT_TRUE(ValidateProgram(p));
  const auto status = VerifyProgram(p);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("segment 'job'"));
  EXPECT_THAT(status.error().message, HasSubstr("(race)"));
}

TEST(Program, ViewsStayInsideWhatIsStored) {
  const auto broken = [](const std::function<void(TensorDescriptor&)>& damage,
                         const char* message) {
    Program p = Example();
    damage(p.tensors[1]);
    ExpectInvalid(p, "tensors[1] 'view'");
    ExpectInvalid(p, message);
  };
  using D = TensorDescriptor;
  broken([](D& d) { d.view[0].extent = 0; }, "lies outside a dimension of 2");
  broken([](D& d) { d.view[0].extent = INT64_MAX; }, "lies outside a dimension of 2");
  broken([](D& d) { d.view[0].first = -1; }, "lies outside a dimension of 2");
  broken([](D& d) { d.view[1].first = INT64_MAX; }, "lies outside a dimension of 20");
  broken([](D& d) { d.view[1].step = 0; }, "lies outside a dimension of 20");
  broken([](D& d) { d.view[1].step = INT64_MAX; }, "lies outside a dimension of 20");
  broken([](D& d) { d.view[1].first = 10; }, "view axes reach 20 in a dimension of 20");
  broken([](D& d) { d.view[0].coordinate = ViewCoordinate::kRow; },
         "lies outside a dimension of 1");
  broken([](D& d) { d.view[1].extent = 2; }, "view axes visit 4 elements, shape 2x3 has 6");
  broken([](D& d) { d.view[0].extent = 1; }, "view axes visit 3 elements");
  broken([](D& d) { d.shape = {41}; }, "differ in elements");
  broken([](D& d) { d.shape = {INT64_MAX, INT64_MAX}; }, "differ in elements");
  broken([](D& d) { d.view.resize(17); }, "17 view axes are above 16");
  // Two axes of one coordinate add up.
  broken(
      [](D& d) {
        d.view = {{4, ViewCoordinate::kChannel, 3, 5}, {3, ViewCoordinate::kChannel, 0, 1}};
        d.shape = {4, 3};
      },
      "view axes reach 20 in a dimension of 20");
  // Axes that visit elements again could ask for any amount of memory.
  broken(
      [](D& d) {
        d.view.assign(16, {2, ViewCoordinate::kChannel, 0, 1});
        d.shape = {1 << 16};
      },
      "differ in elements");
}

TEST(TensorDescriptor, AddressesAndExtent) {
  TensorDescriptor t;
  t.dtype = DType::kU8;
  t.layout = Layout::kBlocked;
  t.offset = 100;
  t.images = 2;
  t.channels = 20;
  t.rows = 3;
  t.columns = 5;
  t.row_pitch = 96;  // 5 vectors of 16 bytes and one spare
  t.block_pitch = 300;
  t.image_pitch = 1000;
  EXPECT_EQ(t.address(16, 0, 0, 0, 0), 100u);
  EXPECT_EQ(t.address(16, 1, 19, 2, 4), 100u + 1000 + 300 + 2 * 96 + 4 * 16 + 3);
  EXPECT_EQ(t.end(16), 100u + 1000 + 300 + 2 * 96 + 5 * 16);
  t.layout = Layout::kPlain;
  t.dtype = DType::kS32;
  EXPECT_EQ(t.address(16, 1, 19, 2, 4), 100u + 1000 + 19 * 300 + 2 * 96 + 4 * 4);
  EXPECT_EQ(t.end(16), 100u + 1000 + 19 * 300 + 2 * 96 + 5 * 4);
}

}  // namespace
}  // namespace octile
