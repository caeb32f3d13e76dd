#include "octile/program/random_program.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "octile/program/access.h"
#include "octile/program/assembler.h"
#include "octile/program/window_order.h"

namespace octile {
namespace {

std::vector<MemoryExtent> Extents(const RandomProgram& p) {
  std::vector<MemoryExtent> extents;
  for (const RandomRegion& r : p.regions) extents.push_back(r.extent);
  return extents;
}

class RandomPrograms : public testing::TestWithParam<std::string> {
 protected:
  ArchConfig arch_ = LoadConfig(GetParam())->arch;
};

TEST_P(RandomPrograms, AreValidAndWellFormed) {
  int64_t attempts = 0;
  for (uint64_t seed = 0; seed < 150; ++seed) {
    const RandomProgram p = MakeRandomProgram(arch_, seed);
    attempts += p.attempts;
    const auto violation = FindViolation(arch_, p.instructions, Extents(p));
    ASSERT_FALSE(violation) << "seed " << seed << ": " << violation->message;
    ASSERT_EQ(p.regions.size(), 8u);
    EXPECT_FALSE(p.fault);
    EXPECT_EQ(p.program_offset % 256, 0u);
    for (const RandomRegion& r : p.regions) {
      EXPECT_EQ(r.data.size(), r.extent.limit);
      EXPECT_FALSE(r.unmapped);
    }
    const auto& code = p.regions[static_cast<size_t>(p.program_region)].data;
    ASSERT_EQ(code.size(), p.program_offset + p.instructions.size() * 64);
    EXPECT_EQ(std::memcmp(code.data() + p.program_offset, p.instructions.data(),
                          p.instructions.size() * 64),
              0);
  }
  // The generator builds validity in; the verifier should have little left to refuse.
  EXPECT_LT(attempts, 225) << "of 150";
}

TEST_P(RandomPrograms, AreReproducible) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const RandomProgram a = MakeRandomProgram(arch_, seed);
    const RandomProgram b = MakeRandomProgram(arch_, seed);
    EXPECT_EQ(a.instructions, b.instructions);
    for (size_t r = 0; r < 8; ++r) EXPECT_EQ(a.regions[r].data, b.regions[r].data);
    EXPECT_NE(a.instructions, MakeRandomProgram(arch_, seed + 1000).instructions);
  }
}

// Every instruction, mode and flag, both values, and the situations the documentation promises.
TEST_P(RandomPrograms, CoverTheInstructionSet) {
  std::map<std::string, int> seen;
  std::set<std::pair<int, int>> waits;
  size_t instructions = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    const RandomProgram p = MakeRandomProgram(arch_, seed);
    instructions += p.instructions.size();
    std::map<int, int> producer;
    int tiles = 0;
    for (const auto& i : p.instructions) {
      const isa::Header h = isa::DecodeHeader(i);
      for (const int32_t s : {h.signal0, h.signal1})
        if (isa::HasSemaphore(s)) producer[s] = static_cast<int>(isa::QueueOf(i));
    }
    for (const auto& i : p.instructions) {
      const isa::FormatInfo& format = *isa::FindFormat(isa::OpcodeBits(i));
      for (const isa::FieldInfo& field : format.fields) {
        const int64_t value = isa::GetField(i, field);
        if (field.width == 1 || field.names.size() > 0)
          ++seen[fmt::format("{}.{}={}", format.name, field.name, value)];
        if (field.name.ends_with("wrap") && value != 0)
          ++seen[fmt::format("{}.{}", format.name, field.name)];
        if (field.is_signed && value < 0) ++seen[fmt::format("{}.{}<0", format.name, field.name)];
      }
      const isa::Header h = isa::DecodeHeader(i);
      for (const int32_t s : {h.wait0, h.wait1})
        if (isa::HasSemaphore(s)) waits.insert({producer.at(s), static_cast<int>(isa::QueueOf(i))});
      const auto op = *isa::Decode(i);
      if (const auto* o = std::get_if<isa::Ldw>(&op)) tiles += o->tiles;
      if (const auto* o = std::get_if<isa::Mma>(&op)) {
        tiles -= o->retain ? 0 : static_cast<int>(TilesOf(*o));
        if (tiles < 0) ++seen["weights behind their MMA"];
        if (!o->init && o->emit) ++seen["split sum"];
        if (o->emit && o->residual && o->table) ++seen["table and residual"];
      }
      if (const auto* o = std::get_if<isa::Elt>(&op);
          o && o->out_addr == o->a_addr && o->out_row0 == o->a_row0)
        ++seen["in place"];
    }
  }
  for (const isa::FormatInfo& format : isa::Formats()) {
    const std::string name(format.name);
    for (const isa::FieldInfo& field : format.fields) {
      if (field.width == 1 &&
          !(name == "END" || (field.name == "fence" && (name == "LDP" || name == "SYNC")))) {
        EXPECT_GT(seen[fmt::format("{}.{}=0", name, field.name)], 0) << name << "." << field.name;
        EXPECT_GT(seen[fmt::format("{}.{}=1", name, field.name)], 0) << name << "." << field.name;
      }
      for (const isa::EnumName& e : field.names)
        EXPECT_GT(seen[fmt::format("{}.{}={}", name, field.name, e.value)], 0)
            << name << "." << e.name;
      if (field.name.ends_with("wrap")) {
        EXPECT_GT(seen[fmt::format("{}.{}", name, field.name)], 0) << name << "." << field.name;
      }
      if (field.is_signed) {
        EXPECT_GT(seen[fmt::format("{}.{}<0", name, field.name)], 0) << name << "." << field.name;
      }
    }
  }
  for (const char* what :
       {"weights behind their MMA", "split sum", "table and residual", "in place"})
    EXPECT_GT(seen[what], 0) << what;
  // Every queue waits for every other one.
  EXPECT_EQ(waits.size(), 30u);
  fmt::print("{}: {} instructions in 400 programs\n", GetParam(), instructions);
}

// The verifier blames the instruction that the fault record will name.
TEST_P(RandomPrograms, FaultyOnesOffendWhereExpected) {
  const std::map<isa::Fault, ViolationKind> kinds = {
      {isa::Fault::kIllegal, ViolationKind::kIllegal},
      {isa::Fault::kOperand, ViolationKind::kOperand},
      {isa::Fault::kRegion, ViolationKind::kRegion},
      {isa::Fault::kClaim, ViolationKind::kClaim},
      {isa::Fault::kConflict, ViolationKind::kConflict},
      {isa::Fault::kSemaphore, ViolationKind::kSemaphore},
      {isa::Fault::kDeadlock, ViolationKind::kDeadlock},
      {isa::Fault::kFetchEnd, ViolationKind::kEnd}};
  int by_columns = 0, by_taps = 0;  // CLAIMs of WIN
  for (int cause = 1; cause <= 11; ++cause) {
    const auto fault = static_cast<isa::Fault>(cause);
    for (uint64_t seed = 0; seed < 40; ++seed) {
      const RandomProgram p = MakeFaultyProgram(arch_, seed, fault);
      ASSERT_TRUE(p.fault);
      EXPECT_EQ(p.fault->cause, fault);
      EXPECT_EQ(MakeFaultyProgram(arch_, seed, fault).instructions, p.instructions);
      const auto violation = FindViolation(arch_, p.instructions, Extents(p));
      if (fault == isa::Fault::kBusRead || fault == isa::Fault::kBusWrite) {
        // The program is in order but for what it reads; the memory is not there.
        EXPECT_TRUE(p.regions[static_cast<size_t>(p.fault->base_region)].unmapped);
        continue;
      }
      if (fault == isa::Fault::kWatchdog) {
        EXPECT_GT(p.watchdog, 0u);
        continue;
      }
      ASSERT_TRUE(violation) << isa::FaultName(fault) << " seed " << seed;
      EXPECT_EQ(ViolationKindName(violation->kind), ViolationKindName(kinds.at(fault)))
          << isa::FaultName(fault) << " seed " << seed << ": " << violation->message;
      if (fault == isa::Fault::kFetchEnd) {
        EXPECT_EQ(p.fault->instruction, static_cast<int64_t>(p.instructions.size()));
        continue;
      }
      EXPECT_EQ(violation->instruction, p.fault->instruction)
          << isa::FaultName(fault) << " seed " << seed << ": " << violation->message;
      if (fault == isa::Fault::kConflict) {
        EXPECT_EQ(violation->other, p.fault->instruction2);
      }
      // Of several accesses of a WIN the verifier need not name the first one in time.
      const auto op = isa::Decode(p.instructions[static_cast<size_t>(p.fault->instruction)]);
      if (const auto* win = op ? std::get_if<isa::Win>(&*op) : nullptr;
          win != nullptr && fault == isa::Fault::kClaim) {
        const int bank = static_cast<int>(p.fault->address) / arch_.bank_depth;
        EXPECT_TRUE(bank < win->in_bank || bank > win->in_bank + win->in_banks ||
                    bank < win->out_bank || bank > win->out_bank + win->out_banks);
        ++(WorksByColumns(*win) ? by_columns : by_taps);
      } else if (fault == isa::Fault::kClaim || fault == isa::Fault::kSemaphore) {
        EXPECT_EQ(violation->address, p.fault->address);
      }
    }
  }
  EXPECT_GT(by_columns, 5);
  EXPECT_GT(by_taps, 0);
}

// Shapes of WIN by columns and next to it.
TEST_P(RandomPrograms, CoverWindowsByColumns) {
  std::set<std::pair<int, int>> kernels;
  std::map<std::string, int> seen;
  for (uint64_t seed = 0; seed < 400; ++seed)
    for (const auto& i : MakeRandomProgram(arch_, seed).instructions) {
      const auto op = *isa::Decode(i);
      const auto* w = std::get_if<isa::Win>(&op);
      if (w == nullptr) continue;
      if (!WorksByColumns(*w)) {
        ++seen["tap by tap"];
        continue;
      }
      ++seen["by columns"];
      kernels.insert({w->kh, w->kw});
      const int group = (8 - w->kh) / w->stride_y + 1;
      seen["one row short"] += w->mh % group == group - 1;
      seen["whole groups"] += w->mh > group && w->mh % group == 0;
      seen["one row more"] += w->mh > group && w->mh % group == 1;
      seen["one column"] += w->mw == 1;
      seen["many columns"] += w->mw > 10;
      seen["blocks"] += w->blocks > 1;
      seen["stride 2 in a circle"] +=
          w->stride_y == 2 && w->in_wrap != 0 && w->in_oy_step < w->in_ky_step;
      seen["stride 2 without"] += w->stride_y == 2 && w->in_wrap == 0;
      for (const int stride : {1, 2, 3})
        seen[fmt::format("stride_x {}", stride)] += w->stride_x == stride;
      seen["padding above"] += w->iy0 < 0;
      seen["padding left"] += w->ix0 < 0;
      seen["padding below"] += w->iy0 + (w->mh - 1) * w->stride_y + w->kh > w->in_h;
      seen["padding right"] += w->ix0 + (w->mw - 1) * w->stride_x + w->kw > w->in_w;
    }
  EXPECT_EQ(kernels.size(), 24u);
  for (const char* what :
       {"tap by tap", "by columns", "one row short", "whole groups", "one row more", "one column",
        "many columns", "blocks", "stride 2 in a circle", "stride 2 without", "stride_x 1",
        "stride_x 2", "stride_x 3", "padding above", "padding left", "padding below",
        "padding right"})
    EXPECT_GT(seen[what], 3) << what;
  EXPECT_GT(seen["by columns"], 150);
  EXPECT_GT(seen["tap by tap"], 75);
}

// Taking one wait, fence or instruction away from a valid program often breaks it; whatever the
// verifier says, it says something, and quickly.
TEST_P(RandomPrograms, DamagedOnesAreJudged) {
  int refused = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    RandomProgram p = MakeRandomProgram(arch_, seed);
    const size_t victim = seed * 7919 % (p.instructions.size() - 1);
    isa::Operation op = *isa::Decode(p.instructions[victim]);
    isa::Header& h = isa::HeaderOf(op);
    h.wait0 = h.wait1 = 0;
    h.fence = false;
    p.instructions[victim] = isa::Encode(op);
    refused += FindViolation(arch_, p.instructions, Extents(p)).has_value();
    p.instructions.erase(p.instructions.begin() + static_cast<std::ptrdiff_t>(victim));
    refused += FindViolation(arch_, p.instructions, Extents(p)).has_value();
  }
  EXPECT_GT(refused, 40);
}

INSTANTIATE_TEST_SUITE_P(Configurations, RandomPrograms,
                         testing::Values("tiny", "small", "base", "large"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace octile
