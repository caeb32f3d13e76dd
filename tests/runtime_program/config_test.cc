#include "octile/program/config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

namespace octile {
namespace {

using testing::HasSubstr;

constexpr std::string_view kArch =
    "arch: {n: 16, weight_rows: 4, ring_tiles: 256, acc_depth: 1024, banks: 24, bank_depth: 1024, "
    "psets: 128, wrows: 256, read_bursts: 32, "
    "write_bursts: 8}\n";

std::string Replaced(std::string_view from, std::string_view to) {
  std::string text(kArch);
  text.replace(text.find(from), from.size(), to);
  return text;
}

void ExpectError(std::string_view text, std::string_view message) {
  const auto config = ParseConfig(text, "mine.yml");
  ASSERT_FALSE(config) << text;
  EXPECT_EQ(config.error().code, ErrorCode::kProgram);
  EXPECT_THAT(config.error().message, HasSubstr(std::string(message)));
  EXPECT_THAT(config.error().message, HasSubstr("mine.yml"));
}

std::string Output(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 256> buffer;
  while (fgets(buffer.data(), buffer.size(), pipe) != nullptr) text += buffer.data();
  EXPECT_EQ(pclose(pipe), 0) << command;
  return text;
}

TEST(Config, NamedConfigurationsAreValidAndDiffer) {
  const auto names = ConfigNames();
  EXPECT_THAT(names, testing::IsSupersetOf({"tiny", "small", "base", "large"}));
  EXPECT_EQ(DefaultConfigName(), "base");
  std::vector<uint64_t> hashes;
  for (const auto& name : names) {
    const auto config = LoadConfig(name);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->name, name);
    EXPECT_THAT(hashes, testing::Not(testing::Contains(ArchHash(config->arch))));
    hashes.push_back(ArchHash(config->arch));
  }
  const auto base = LoadConfig("base");
  EXPECT_EQ(base->arch.n, 16);
  EXPECT_EQ(base->arch.buffer_vectors(), 24 * 1024);
  EXPECT_EQ(base->platform.read_latency, 100);
}

TEST(Config, FileGivesTheSameAsTheName) {
  const auto file = std::filesystem::temp_directory_path() / "octile_config_test.yml";
  std::ofstream(file) << kArch << "platform: {read_latency: 500, seed: 18446744073709551615}\n";
  const auto config = LoadConfig(file.string());
  std::filesystem::remove(file);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->arch, LoadConfig("base")->arch);
  EXPECT_EQ(config->platform.read_latency, 500);
  EXPECT_EQ(config->platform.write_latency, 50);
  EXPECT_EQ(config->platform.seed, UINT64_MAX);
}

TEST(Config, ErrorsNameFieldAndValue) {
  EXPECT_THAT(LoadConfig("huge").error().message,
              HasSubstr("no configuration 'huge'; there are tiny, small, base, large"));
  EXPECT_THAT(LoadConfig("/nonexistent.yml").error().message, HasSubstr("/nonexistent.yml"));
  EXPECT_THAT(LoadConfig("/dev/zero.yml").error().message, HasSubstr("cannot read"));
  ExpectError("", "expected a map");
  ExpectError("[1, 2]", "expected a map");
  ExpectError("arch: [", "mine.yml");
  ExpectError("arch: 3", "'arch' is not a map");
  ExpectError("platform: {}", "'arch' is missing");
  ExpectError("arch: {n: 16}", "lacks field 'weight_rows'");
  ExpectError(std::string(kArch) + "colour: red\n", "unknown key 'colour'");
  ExpectError(Replaced("n: 16", "n: 12"), "'n' = 12 is not a power of two");
  ExpectError(Replaced("n: 16", "n: 128"), "'n' = 128 is outside 4..64");
  ExpectError(Replaced("n: 16", "n: -16"), "'-16' is not a non-negative number");
  ExpectError(Replaced("n: 16", "n: 1e1"), "'1e1' is not a non-negative number");
  ExpectError(Replaced("n: 16", "n: [16]"), "field 'n' is not a number");
  ExpectError(Replaced("n: 16", "n: 16, n: 16"), "twice");
  ExpectError(Replaced("n: 16", "n: 16, m: 16"), "no field 'm'");
  ExpectError(Replaced("weight_rows: 4", "weight_rows: 32"), "'weight_rows' = 32 is above n = 16");
  ExpectError(Replaced("banks: 24", "banks: 33"), "'banks' = 33 is outside 2..32");
  ExpectError(Replaced("banks: 24", "banks: 0"), "'banks' = 0 is outside 2..32");
  ExpectError(Replaced("banks: 24", "banks: 1"), "'banks' = 1: nothing can run");
  ExpectError(Replaced("bank_depth: 1024", "bank_depth: 4096"), "98304 vectors");
  ExpectError(std::string(kArch) + "platform: {read_latency: 0}\n",
              "'read_latency' = 0 is outside 1..65535");
  ExpectError(std::string(kArch) + "platform: {refresh_period: 10, refresh_cycles: 10}\n",
              "refresh_cycles = 10 is not below");
  ExpectError(std::string(kArch) + "platform: {speed: 3}\n", "no field 'speed'");
  ExpectError(std::string(kArch) + "platform: {seed: 18446744073709551616}\n",
              "is not a non-negative number");
}

// Verilated builds get their parameters from generate.py; programs carry the hash that C++
// computes.
TEST(Config, HashOfTheGeneratorIsTheSame) {
  for (const auto& name : ConfigNames()) {
    const auto arch = LoadConfig(name)->arch;
    const std::string flags = Output(std::string(OCTILE_PYTHON) + " " + OCTILE_SOURCE_DIR +
                                     "/rtl/spec/generate.py --verilator-params " + name);
    EXPECT_THAT(flags, HasSubstr(fmt::format("-GArchHash=64'h{:016x}\n", ArchHash(arch))));
    EXPECT_THAT(flags,
                HasSubstr(fmt::format("-GN={}\n-GWeightRows={}\n-GRingTiles={}\n-GAccDepth={}\n-"
                                      "GBanks={}\n-GBankDepth={}\n-GPSets={}\n-GWRows={}\n",
                                      arch.n, arch.weight_rows, arch.ring_tiles, arch.acc_depth,
                                      arch.banks, arch.bank_depth, arch.psets, arch.wrows)));
  }
}

TEST(Config, HashDependsOnEveryArchitecturalField) {
  const ArchConfig base;
  int ArchConfig::*const fields[] = {&ArchConfig::n,           &ArchConfig::weight_rows,
                                     &ArchConfig::ring_tiles,  &ArchConfig::acc_depth,
                                     &ArchConfig::banks,       &ArchConfig::bank_depth,
                                     &ArchConfig::psets,       &ArchConfig::wrows,
                                     &ArchConfig::read_bursts, &ArchConfig::write_bursts};
  for (auto field : fields) {
    ArchConfig other = base;
    other.*field *= 2;
    EXPECT_NE(ArchHash(other), ArchHash(base));
  }
}

TEST(Config, PlatformFieldsByName) {
  PlatformConfig platform;
  ASSERT_TRUE(SetPlatformField(platform, "jitter", "7"));
  EXPECT_EQ(platform.jitter, 7);
  EXPECT_THAT(PlatformText(platform),
              HasSubstr("read_latency=100 write_latency=50 beat_interval=1"));
  EXPECT_THAT(PlatformText(platform), HasSubstr("jitter=7"));
  EXPECT_FALSE(SetPlatformField(platform, "jitter", "70000"));
  EXPECT_FALSE(SetPlatformField(platform, "jitter", ""));
  EXPECT_EQ(platform.jitter, 7);
}

}  // namespace
}  // namespace octile
