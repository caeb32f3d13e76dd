#include "octile/program/assembler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>

namespace octile {
namespace {

using testing::HasSubstr;

TEST(Assembler, ReadsFieldsNamesAndComments) {
  const auto program = Assemble(
      "# a comment\n\n"
      "  ldw tiles=4 region=1 offset=0x400 w_signed signal0=2   # trailing\r\n"
      "WIN mode=MAX wait0=0 wait1=31 in_h=2 in_w=2 iy0=-1 ix0=-0x8000 kh=1 kw=1 stride_y=1 "
      "stride_x=1 dil_y=1 dil_x=1 mh=1 mw=1 blocks=1\n"
      "sync queue=VEC\n"
      "end");
  ASSERT_TRUE(program) << program.error().message;
  ASSERT_EQ(program->size(), 4u);
  isa::Ldw ldw;
  ldw.tiles = 4;
  ldw.region = 1;
  ldw.offset = 0x400;
  ldw.w_signed = true;
  ldw.header.signal0 = isa::Semaphore(2);
  EXPECT_EQ((*program)[0], isa::Encode(ldw));
  const auto win = std::get<isa::Win>(*isa::Decode((*program)[1]));
  EXPECT_EQ(win.mode, isa::WinMode::kMax);
  EXPECT_EQ(win.header.wait0, 32);
  EXPECT_EQ(win.header.wait1, 63);
  EXPECT_EQ(win.iy0, -1);
  EXPECT_EQ(win.ix0, -32768);
  EXPECT_EQ(isa::QueueOf((*program)[2]), isa::Queue::kVec);
}

void ExpectError(std::string_view text, std::string_view message) {
  const auto program = Assemble(text);
  ASSERT_FALSE(program) << text;
  EXPECT_EQ(program.error().code, ErrorCode::kProgram);
  EXPECT_THAT(program.error().message, HasSubstr(std::string(message))) << text;
}

TEST(Assembler, ErrorsNameLineFieldAndLimit) {
  ExpectError("end\nmul x=1\n", "line 2: unknown instruction 'mul'");
  ExpectError("ldw tile=1\n", "line 1: LDW has no field 'tile'");
  ExpectError("ldw opcode=5 tiles=1\n", "LDW has no field 'opcode'");
  ExpectError("ldw tiles=1 tiles=1\n", "'tiles' is given twice");
  ExpectError("ldw tiles\n", "'tiles' needs a value");
  ExpectError("ldw tiles=\n", "'' is not a number");
  ExpectError("ldw tiles=12x\n", "'12x' is not a number");
  ExpectError("ldw tiles=0x1000000\n", "'tiles' = 16777216 does not fit 24 bits (0..16777215)");
  ExpectError("ldw tiles=-1\n", "does not fit 24 bits");
  ExpectError("ldw tiles=--1\n", "'--1' is not a number");
  ExpectError("ldw tiles=99999999999999999999\n", "is not a number");
  ExpectError("ldw tiles=0\n", "tiles = 0 is outside 1..16777215");
  ExpectError("end wait0=32\n", "'32' is no semaphore 0..31");
  ExpectError("end wait0=1 wait1=1\n", "wait0 and wait1 both name semaphore 1");
  ExpectError("sync queue=TPU\n", "'TPU' is not a number");
  ExpectError("sync queue=6\n", "queue = 6 is outside 0..5");
  ExpectError("win iy0=32768\n", "'iy0' = 32768 does not fit 16 bits (-32768..32767)");
  ExpectError(".words 1 2\n", ".words takes 8 numbers, there are 2");
  ExpectError(".words 1 2 3 4 5 6 7 g\n", "'g' is not a 64-bit hexadecimal number");
}

// Every format with random values in every field, legal or not, and words of noise.
TEST(Assembler, PrintingAndReadingGivesTheSameBits) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<isa::Instruction> program;
    for (const isa::FormatInfo& format : isa::Formats()) {
      isa::Instruction i;
      isa::SetField(i, format.fields[0], static_cast<int>(format.opcode));
      for (const isa::FieldInfo& field : format.fields.subspan(1))
        if (random() % 3 != 0)
          isa::SetField(i, field, static_cast<int64_t>(random() >> random() % 64));
      program.push_back(i);
    }
    isa::Instruction noise;
    for (uint64_t& word : noise.words) word = random();
    program.push_back(noise);
    program.push_back({});
    const auto again = Assemble(Disassemble(program), /*allow_illegal=*/true);
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(*again, program);
  }
}

TEST(Assembler, TextIsStable) {
  const std::string text =
      "lda fence layer=7 wait0=3 signal1=0 region=2 offset=0x100 n0=4 n1=3 n2=2 buf_addr=5 "
      "buf_bank=1\n"
      "elt mh=1 mw=1 blocks=1 out_x_step=1 mode=COPY\n"
      "sync wait0=off:4 queue=PRM\n"
      ".words 0x3f 0x0 0x0 0x0 0x0 0x0 0x0 0x1\n"
      "end\n";
  const auto program = Assemble(text);
  ASSERT_TRUE(program) << program.error().message;
  EXPECT_EQ(Disassemble(*program), text);
  EXPECT_THAT(Disassemble(*program, true), HasSubstr("     4: end\n"));
}

TEST(Assembler, ExampleOfTheManualAssembles) {
  std::ifstream file(OCTILE_SOURCE_DIR "/docs/isa.md");
  std::stringstream page;
  page << file.rdbuf();
  const std::string text = page.str();
  const size_t begin = text.find("```\n");
  ASSERT_NE(begin, std::string::npos);
  const std::string example = text.substr(begin + 4, text.find("```", begin + 4) - begin - 4);
  const auto program = Assemble(example);
  ASSERT_TRUE(program) << program.error().message;
  EXPECT_EQ(program->size(), 3u);
}

}  // namespace
}  // namespace octile
