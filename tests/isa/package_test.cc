// The SystemVerilog package and the C++ header say the same of random instructions.
#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <random>
#include <string_view>

#include "Visa_probe.h"
#include "octile/isa/isa.h"

namespace octile::isa {
namespace {

// Concatenation with the first name in the highest bits; a width cuts the field to its low bits.
uint64_t Concat(const Instruction& i, std::string_view format,
                std::initializer_list<std::pair<std::string_view, int>> fields) {
  uint64_t value = 0;
  for (const auto& [name, width] : fields) {
    const FieldInfo& field = *FindField(*FindFormat(format), name);
    const int bits = width == 0 ? field.width : width;
    value =
        value << bits | (static_cast<uint64_t>(GetField(i, field)) & ((uint64_t{1} << bits) - 1));
  }
  return value;
}

class Package : public testing::Test {
 protected:
  void Check(const Instruction& i) {
    for (int w = 0; w < 16; ++w)
      probe_->instr_i[w] =
          static_cast<uint32_t>(i.words[static_cast<size_t>(w / 2)] >> (w % 2 * 32));
    probe_->eval();
    const auto reason = IllegalReason(i);
    EXPECT_EQ(static_cast<bool>(probe_->legal_o), !reason) << reason.value_or("legal");
    if (FindFormat(OpcodeBits(i)) == nullptr ||
        FindFormat(OpcodeBits(i))->queue_is_field == false) {
      EXPECT_EQ(static_cast<int>(probe_->queue_o), static_cast<int>(QueueOf(i)));
    }
    EXPECT_EQ(probe_->header_o,
              Concat(i, "END",
                     {{"signal1", 0}, {"wait0", 0}, {"layer", 0}, {"fence", 0}, {"opcode", 0}}));
    EXPECT_EQ(probe_->dma_o,
              Concat(i, "STA", {{"offset", 0}, {"n2", 0}, {"buf_addr", 11}, {"buf_banks", 0}}));
    EXPECT_EQ(probe_->ldp_o,
              Concat(i, "LDP", {{"count", 0}, {"target", 0}, {"region", 0}, {"offset", 0}}));
    EXPECT_EQ(probe_->ldw_o, Concat(i, "LDW", {{"w_signed", 0}, {"zw", 0}, {"tiles", 0}}));
    EXPECT_EQ(
        probe_->mma_o,
        Concat(
            i, "MMA",
            {{"res_is_a", 0}, {"acc_base", 0}, {"iy0", 0}, {"kw", 0}, {"mh", 0}, {"blocks", 0}}));
    EXPECT_EQ(probe_->win_o,
              Concat(i, "WIN",
                     {{"table", 0}, {"wrow", 0}, {"mode", 0}, {"ix0", 0}, {"out_blk_stride", 0}}));
    EXPECT_EQ(
        probe_->elt_o,
        Concat(i, "ELT",
               {{"table", 0}, {"b_x_step", 0}, {"a_addr", 0}, {"out_addr", 0}, {"const_slot", 0}}));
    EXPECT_EQ(probe_->pack_o,
              Concat(i, "PACK",
                     {{"zx", 0}, {"planes", 0}, {"iy0", 0}, {"in_off_step", 0}, {"stride_x", 0}}));
  }

  std::unique_ptr<Visa_probe> probe_ = std::make_unique<Visa_probe>();
  std::mt19937_64 random_{1};
};

TEST_F(Package, AgreesOnNoise) {
  for (int round = 0; round < 5000; ++round) {
    Instruction i;
    for (uint64_t& word : i.words) word = random_();
    Check(i);
  }
}

// Instructions that are legal but for one field or bit.
TEST_F(Package, AgreesAtTheLimits) {
  int legal = 0;
  int illegal = 0;
  for (int round = 0; round < 20000; ++round) {
    const FormatInfo& format = Formats()[random_() % Formats().size()];
    Instruction i;
    SetField(i, format.fields[0], static_cast<int>(format.opcode));
    for (const FieldInfo& field : format.fields.subspan(1))
      SetField(i, field,
               field.min + static_cast<int64_t>(random_() %
                                                static_cast<uint64_t>(field.max - field.min + 1)));
    const FieldInfo& victim = format.fields[1 + random_() % (format.fields.size() - 1)];
    switch (random_() % 5) {
      case 0:
        SetField(i, victim, victim.min - 1);
        break;
      case 1:
        SetField(i, victim, victim.max + 1);
        break;
      case 2:
        SetField(i, victim, random_() % 2 == 0 ? victim.min : victim.max);
        break;
      case 3: {
        const auto bit = random_() % 512;
        i.words[bit / 64] ^= uint64_t{1} << (bit % 64);
        break;
      }
      default:
        if (random_() % 2 == 0)
          SetField(i, *FindField(format, "wait1"), GetField(i, *FindField(format, "wait0")));
        else
          SetField(i, *FindField(format, "signal1"), GetField(i, *FindField(format, "signal0")));
        break;
    }
    (IllegalReason(i) ? illegal : legal)++;
    Check(i);
  }
  EXPECT_GT(legal, 1000);
  EXPECT_GT(illegal, 1000);
}

}  // namespace
}  // namespace octile::isa
