// RTL devices with waveforms, with random initial values and assertions, and with the bus checker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "octile/driver/device.h"
#include "programs.h"

namespace octile::driver {
namespace {

namespace fs = std::filesystem;

// Runs a program and returns its counters.
std::optional<JobCounters> CountersOf(const std::string& uri) {
  auto device = Device::Open(uri);
  EXPECT_TRUE(device) << device.error().message;
  if (!device) return std::nullopt;
  auto program = device->Load(VectorCopyProgram(device->capabilities().arch, 40));
  EXPECT_TRUE(program);
  auto job = device->Submit(*program);
  EXPECT_TRUE(job);
  const auto done = job->Wait(Deadline::After(std::chrono::seconds(60)));
  EXPECT_TRUE(done) << done.error().message;
  if (!done) return std::nullopt;
  EXPECT_TRUE(device->Close(Deadline::After(std::chrono::seconds(10))));
  return *job->counters();
}

uint64_t BigEndian(const std::vector<uint8_t>& bytes, size_t at) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value = value << 8 | bytes[at + i];
  return value;
}

TEST(RtlVariants, WavesHoldTheWindowAskedForAndChangeNothing) {
  const std::string path = testing::TempDir() + "octile-wave-" + std::to_string(getpid()) + ".fst";
  const auto plain = CountersOf("rtl:tiny");
  const auto whole = CountersOf("rtl:tiny?wave=" + path);
  ASSERT_TRUE(plain && whole);
  EXPECT_EQ(*plain, *whole);
  const auto whole_bytes = fs::file_size(path);
  EXPECT_EQ(CountersOf("rtl:tiny?wave=" + path + "&wave_cycles=20:60"), plain);
  EXPECT_LT(fs::file_size(path), whole_bytes);
  std::ifstream file(path, std::ios::binary);
  std::vector<uint8_t> head(329);
  file.read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(head.size()));
  // The header block of an FST file: type 0, its length, start and end time; two time steps a
  // cycle.
  EXPECT_EQ(head[0], 0);
  EXPECT_EQ(BigEndian(head, 1), 329u);
  EXPECT_EQ(BigEndian(head, 9), 2 * 20u);
  EXPECT_EQ(BigEndian(head, 17), 2 * 59u + 1);
  fs::remove(path);
}

TEST(RtlVariants, WaveOptionsAreChecked) {
  for (const char* window : {"5", "9:3", "a:b", "7:7"}) {
    const auto device = Device::Open(std::string("rtl:tiny?wave=x.fst&wave_cycles=") + window);
    ASSERT_FALSE(device) << window;
    EXPECT_EQ(device.error().code, Code::kInvalidArgument) << window;
    EXPECT_THAT(device.error().message, testing::HasSubstr("wave_cycles")) << window;
  }
}

TEST(RtlVariants, InitialValuesChangeNothing) {
  const auto plain = CountersOf("rtl:tiny?check_bus=1&jitter=20&ready_jitter=4");
  for (int seed = 1; seed <= 20; ++seed)
    EXPECT_EQ(
        CountersOf("rtl:tiny?check_bus=1&jitter=20&ready_jitter=4&seed_x=" + std::to_string(seed)),
        plain)
        << seed;
}

}  // namespace
}  // namespace octile::driver
