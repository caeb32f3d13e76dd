#include "octile/isa/isa.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

namespace octile::isa {
namespace {

using testing::HasSubstr;

TEST(Isa, FieldsFollowEachOtherFromBitZero) {
  std::set<int> opcodes;
  for (const FormatInfo& format : Formats()) {
    EXPECT_TRUE(opcodes.insert(static_cast<int>(format.opcode)).second);
    int next = 0;
    for (const FieldInfo& field : format.fields) {
      EXPECT_EQ(field.lsb, next) << format.name << "." << field.name;
      EXPECT_GE(field.width, 1);
      EXPECT_LE(field.width, 32);
      next += field.width;
    }
    EXPECT_EQ(format.used_bits, next);
    EXPECT_LE(next, 8 * kInstructionBytes);
    EXPECT_EQ(format.fields[0].name, "opcode");
    EXPECT_EQ(FindFormat(format.name), &format);
    EXPECT_EQ(FindFormat(static_cast<int>(format.opcode)), &format);
  }
  for (const ReservedOpcode& r : ReservedOpcodes()) EXPECT_TRUE(opcodes.insert(r.opcode).second);
}

// Positions are a promise to hardware and to programs in files: written out here once, by hand.
TEST(Isa, EncodingIsPinned) {
  Lda op;
  op.header = {.fence = true,
               .layer = 0xabc,
               .wait0 = Semaphore(1),
               .wait1 = 0,
               .signal0 = 0,
               .signal1 = Semaphore(31)};
  op.region = 5;
  op.offset = 0x89abcdef;
  op.n0 = 0x1234;
  const Instruction i = Encode(op);
  uint64_t low = 6;                   // opcode
  low |= uint64_t{1} << 6;            // fence
  low |= uint64_t{0xabc} << 7;        // layer
  low |= uint64_t{33} << 19;          // wait0
  low |= uint64_t{63} << 37;          // signal1
  low |= uint64_t{5} << 43;           // region
  low |= uint64_t{0x89abcdef} << 46;  // offset, low 18 bits
  EXPECT_EQ(i.words[0], low);
  EXPECT_EQ(i.words[1] & 0x3fff, 0x89abcdefu >> 18);
  EXPECT_EQ(GetField(i, *FindField(*FindFormat("LDA"), "n0")), 0x1234);
  // n0 lies behind two 32-bit strides: bit 43 + 3 + 96 = 142.
  EXPECT_EQ(i.words[2] >> 14 & 0xffff, 0x1234u);
}

TEST(Isa, EncodeAndDecodeAreInverse) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 2000; ++round) {
    const FormatInfo& format = Formats()[random() % Formats().size()];
    Instruction i;
    for (const FieldInfo& field : format.fields) SetField(i, field, static_cast<int64_t>(random()));
    SetField(i, format.fields[0], static_cast<int>(format.opcode));
    // One-bit fields are bool; the queue of SYNC is an enumeration that holds any value of its
    // width.
    const auto op = Decode(i);
    ASSERT_TRUE(op);
    EXPECT_EQ(Encode(*op), i) << format.name;
    EXPECT_EQ(HeaderOf(*op), DecodeHeader(i));
    EXPECT_EQ(Decode(Encode(*op)), op);
  }
  EXPECT_FALSE(Decode(Instruction{}));
}

TEST(Isa, SignedFieldsKeepTheirSign) {
  Mma op;
  op.iy0 = -1;
  op.ix0 = -32768;
  const auto again = std::get<Mma>(*Decode(Encode(op)));
  EXPECT_EQ(again.iy0, -1);
  EXPECT_EQ(again.ix0, -32768);
}

TEST(Isa, DefaultsAreLegal) {
  for (const FormatInfo& format : Formats()) {
    Instruction i;
    SetField(i, format.fields[0], static_cast<int>(format.opcode));
    const auto op = *Decode(i);
    const Operation fresh = std::visit([](auto o) -> Operation { return decltype(o){}; }, op);
    EXPECT_EQ(IllegalReason(Encode(fresh)), std::nullopt) << format.name;
  }
}

TEST(Isa, IllegalReasonsNameTheOffence) {
  const auto reason = [](const Instruction& i) { return IllegalReason(i).value_or("legal"); };
  Instruction i;
  EXPECT_EQ(reason(i), "opcode 0 is unknown");
  i.words[0] = 24;
  EXPECT_EQ(reason(i), "opcode 24 (XPOSE) is reserved");
  i = Encode(End{});
  EXPECT_EQ(reason(i), "legal");
  i.words[7] = uint64_t{1} << 63;
  EXPECT_EQ(reason(i), "END: reserved bit 511 is set");
  i = Encode(End{});
  i.words[0] |= uint64_t{1} << 43;
  EXPECT_EQ(reason(i), "END: reserved bit 43 is set");
  Ldw ldw;
  ldw.tiles = 0;
  EXPECT_EQ(reason(Encode(ldw)), "LDW: field tiles = 0 is outside 1..16777215");
  Win win;
  win.mode = static_cast<WinMode>(3);
  EXPECT_EQ(reason(Encode(win)), "WIN: field mode = 3 is outside 0..2");
  Pack pack;
  pack.stride_x = 5;
  EXPECT_EQ(reason(Encode(pack)), "PACK: field stride_x = 5 is outside 1..4");
  End end;
  end.header.wait0 = end.header.wait1 = Semaphore(7);
  EXPECT_EQ(reason(Encode(end)), "END: wait0 and wait1 both name semaphore 7");
  end.header.wait1 = 7;  // not valid: no wait
  EXPECT_EQ(reason(Encode(end)), "legal");
  end.header.wait0 = 7;  // neither is
  EXPECT_EQ(reason(Encode(end)), "legal");
  end.header.signal0 = end.header.signal1 = Semaphore(0);
  EXPECT_EQ(reason(Encode(end)), "END: signal0 and signal1 both name semaphore 0");
}

TEST(Isa, QueuesAndNames) {
  EXPECT_EQ(QueueOf(Encode(Mma{})), Queue::kExe);
  EXPECT_EQ(QueueOf(Encode(End{})), Queue::kNone);
  EXPECT_EQ(QueueOf(Instruction{}), Queue::kNone);
  Sync sync;
  sync.queue = Queue::kSto;
  EXPECT_EQ(QueueOf(Encode(sync)), Queue::kSto);
  sync.queue = static_cast<Queue>(6);
  EXPECT_EQ(QueueOf(Encode(sync)), Queue::kNone);
  EXPECT_EQ(QueueName(Queue::kWgt), "WGT");
  EXPECT_EQ(FaultName(Fault::kFetchEnd), "FETCH_END");
  EXPECT_EQ(FaultName(static_cast<Fault>(15)), "?");
  EXPECT_EQ(ClassName(Class::kIdle), "IDLE");
}

}  // namespace
}  // namespace octile::isa
