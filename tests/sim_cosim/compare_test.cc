// The comparison must see every kind of divergence and name its place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "octile/cosim/campaign.h"
#include "octile/sim/iss.h"
#include "octile/sim/options.h"
#include "octile/systemc/device.h"

namespace octile::cosim {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Config Tiny() { return *LoadConfig("tiny"); }

class Compare : public ::testing::Test {
 protected:
  Compare() : config(Tiny()), device(systemc::MakeModelDevice(sim::ToDeviceOptions(config))) {
    job = MakeJob(MakeRandomProgram(config.arch, 8), {}, 8);
    a = *RunJob(*device, "left", job, 10'000'000);
    b = a;
    b.device = "right";
    // An instruction of EXE that completed.
    for (size_t i = 0; i < job.program.size(); ++i)
      if (isa::QueueOf(job.program[i]) == isa::Queue::kExe && !a.results[i].empty()) exe = i;
    EXPECT_GT(exe, 0u);
  }
  std::string Difference(Depth depth = Depth::kTiming) {
    return FirstDivergence(job, a, b, depth).value_or("none");
  }

  Config config;
  std::unique_ptr<sim::CoreDevice> device;
  Job job;
  Outcome a;
  Outcome b;
  size_t exe = 0;
};

TEST_F(Compare, EqualRunsAreEqual) { EXPECT_EQ(Difference(), "none"); }

TEST_F(Compare, NamesTheEarliestEvent) {
  b.trace.completion[exe] += 3;
  EXPECT_THAT(
      Difference(),
      AllOf(HasSubstr("EXE: instruction " + std::to_string(exe) + " (mma"),
            HasSubstr("completes in cycle " + std::to_string(a.trace.completion[exe]) + " on left"),
            HasSubstr(std::to_string(b.trace.completion[exe]) + " on right")));
  b.trace.issue[exe] = sim::kNever;
  EXPECT_THAT(Difference(), AllOf(HasSubstr("issues in cycle"), HasSubstr("never on right")));
  EXPECT_EQ(Difference(Depth::kFunctional), "none");
}

TEST_F(Compare, SeesCountersLayersAndRegisters) {
  ++b.trace.classes[3][1];
  EXPECT_THAT(Difference(), AllOf(HasSubstr("EXE"), HasSubstr("class WEIGHT")));
  b = a;
  ++b.trace.cycles;
  EXPECT_THAT(Difference(), HasSubstr("cycles on"));
  b = a;
  ASSERT_FALSE(b.trace.layers.empty());
  ++b.trace.layers.back().classes[0][0];
  EXPECT_THAT(Difference(), HasSubstr("layer"));
  b = a;
  ++b.registers[10];
  EXPECT_THAT(Difference(), HasSubstr("register CONTROL"));
  b = a;
  ++b.trace.tile_starts;
  EXPECT_THAT(Difference(), HasSubstr("tile starts"));
}

TEST_F(Compare, SeesBytesAndRetiredAtEveryDepth) {
  ++b.trace.bytes[2];
  EXPECT_THAT(Difference(), HasSubstr("bytes of"));
  EXPECT_THAT(Difference(Depth::kFunctional), HasSubstr("bytes of"));
  EXPECT_THAT(Difference(Depth::kTimingOnly), HasSubstr("bytes of"));
  b = a;
  ++b.trace.retired;
  EXPECT_THAT(Difference(Depth::kFunctional), HasSubstr("retire"));
}

TEST_F(Compare, SeesResultsAndMemory) {
  b.results[exe][0].data[2] ^= 1;
  EXPECT_THAT(Difference(Depth::kFunctional),
              AllOf(HasSubstr("result vector 0"), HasSubstr("lane 2")));
  EXPECT_EQ(Difference(Depth::kTimingOnly), "none");
  b = a;
  ++b.results[exe][0].address;
  EXPECT_THAT(Difference(), HasSubstr("goes to address"));
  b = a;
  b.results[exe].pop_back();
  EXPECT_THAT(Difference(), HasSubstr("result vectors"));
  b = a;
  const RegionWindow& home = job.regions[job.program_region];
  ASSERT_GT(home.limit, 16u);
  b.memory[home.base + 16] ^= 0x10;
  EXPECT_THAT(Difference(Depth::kFunctional),
              AllOf(HasSubstr("memory address"),
                    HasSubstr("region " + std::to_string(job.program_region) + ", offset 0x10")));
}

TEST_F(Compare, SeesFaults) {
  b.trace.fault.cause = static_cast<uint32_t>(isa::Fault::kClaim);
  b.trace.fault.cycle = 77;
  EXPECT_THAT(Difference(), AllOf(HasSubstr("no fault on left"), HasSubstr("fault CLAIM"),
                                  HasSubstr("cycle 77")));
  a.trace.fault = b.trace.fault;
  b.trace.fault.cycle = 78;
  EXPECT_THAT(Difference(), HasSubstr("78"));
  EXPECT_EQ(Difference(Depth::kFunctional), "none");
  // After a fault memory means nothing.
  b.trace.fault = a.trace.fault;
  b.memory[0] ^= 1;
  EXPECT_EQ(Difference(), "none");
}

// A device that is wrong in one register: the campaign must stop and say how to repeat it.
class OffByOne : public sim::CoreDevice {
 public:
  explicit OffByOne(std::unique_ptr<sim::CoreDevice> device) : device_(std::move(device)) {}
  void SetMemory(std::span<uint8_t> memory) override { device_->SetMemory(memory); }
  bool ReadRegister(uint32_t offset, uint32_t* value) override {
    const bool ok = device_->ReadRegister(offset, value);
    if (offset == 0x828) ++*value;
    return ok;
  }
  bool WriteRegister(uint32_t offset, uint32_t value) override {
    return device_->WriteRegister(offset, value);
  }
  bool Interrupt() const override { return device_->Interrupt(); }
  bool Busy() const override { return device_->Busy(); }
  uint64_t Run(uint64_t max_cycles) override { return device_->Run(max_cycles); }
  void SetObservationSink(sim::ObservationSink* sink) override {
    device_->SetObservationSink(sink);
  }
  const sim::Trace& trace() const override { return device_->trace(); }
  void SetMemoryProfile(const sim::MemoryProfile& profile) override {
    device_->SetMemoryProfile(profile);
  }
  void InjectBusError(sim::Direction d, uint64_t burst) override {
    device_->InjectBusError(d, burst);
  }

 private:
  std::unique_ptr<sim::CoreDevice> device_;
};

TEST(Campaign, StopsAtTheFirstDivergence) {
  const Config config = Tiny();
  const auto options = sim::ToDeviceOptions(config);
  std::vector<Contender> contenders;
  contenders.push_back({"model", systemc::MakeModelDevice(options), true});
  contenders.push_back(
      {"wrong", std::make_unique<OffByOne>(systemc::MakeModelDevice(options)), true});
  CampaignOptions o;
  o.programs = 3;
  o.first_seed = 42;
  const Status s = RunCampaign(config.arch, options.memory, contenders, o, nullptr);
  ASSERT_FALSE(s.has_value());
  EXPECT_EQ(s.error().code, ErrorCode::kMismatch);
  EXPECT_THAT(s.error().message, AllOf(HasSubstr("seed 42"), HasSubstr("register RETIRED_LO"),
                                       HasSubstr("on wrong"), HasSubstr("--seed 42 --programs 1")));
}

// Results of valid programs depend neither on latency nor on data being moved; the cycles of a
// profile repeat.
TEST(Campaign, LatencyNeverChangesResults) {
  for (const std::string& name : ConfigNames()) {
    const Config config = *LoadConfig(name);
    const auto options = sim::ToDeviceOptions(config);
    auto device = systemc::MakeModelDevice(options);
    auto timing_options = options;
    timing_options.timing_only = true;
    auto timing = systemc::MakeModelDevice(timing_options);
    for (uint64_t seed = 1; seed <= 40; ++seed) {
      const RandomProgram p = MakeRandomProgram(config.arch, seed);
      Job job = MakeJob(p, options.memory, 4);
      const Outcome first = *RunJob(*device, "first", job, 10'000'000);
      for (uint64_t profile = 1; profile <= 3; ++profile) {
        job.profile = MakeJob(p, options.memory, 4 * seed + profile).profile;
        const Outcome other = *RunJob(*device, "other", job, 10'000'000);
        EXPECT_EQ(FirstDivergence(job, first, other, Depth::kFunctional).value_or(""), "")
            << name << " " << seed;
        const Outcome fast = *RunJob(*timing, "timing", job, 10'000'000);
        EXPECT_EQ(FirstDivergence(job, other, fast, Depth::kTimingOnly).value_or(""), "")
            << name << " " << seed;
      }
    }
  }
}

// Random programs, faulty ones and mutants reach everything there is to reach; the instruction
// simulator agrees on results.
TEST(Campaign, ReachesEverything) {
  Coverage coverage;
  for (const std::string& name : ConfigNames()) {
    const Config config = *LoadConfig(name);
    const auto options = sim::ToDeviceOptions(config);
    std::vector<Contender> contenders;
    contenders.push_back({"model", systemc::MakeModelDevice(options), true});
    sim::IssOptions iss;
    iss.core = options.core;
    contenders.push_back({"iss", std::make_unique<sim::Iss>(iss), false});
    CampaignOptions o;
    o.programs = 200;
    const Status s = RunCampaign(config.arch, options.memory, contenders, o, &coverage);
    ASSERT_TRUE(s.has_value()) << name << ": " << s.error().message;
  }
  EXPECT_THAT(coverage.Missing(), ::testing::IsEmpty()) << coverage.Report();
}

// Architectures nobody named.
TEST(Campaign, DrawnConfigurations) {
  for (const auto& [n, rows, ring, acc, banks, depth] : {std::tuple{4, 1, 32, 64, 6, 256},
                                                         {8, 8, 32, 300, 9, 512},
                                                         {16, 2, 64, 256, 7, 512},
                                                         {16, 16, 128, 1024, 32, 256},
                                                         {32, 8, 32, 128, 12, 256},
                                                         {64, 4, 16, 128, 8, 256}}) {
    ArchConfig a;
    a.n = n;
    a.weight_rows = rows;
    a.ring_tiles = ring;
    a.acc_depth = acc;
    a.banks = banks;
    a.bank_depth = depth;
    a.psets = 16;
    a.wrows = 64;
    a.read_bursts = 4;
    a.write_bursts = 2;
    const Status valid = Validate(a);
    ASSERT_TRUE(valid.has_value()) << valid.error().message;
    sim::DeviceOptions options;
    options.core = sim::ToCoreConfig(a);
    std::vector<Contender> contenders;
    contenders.push_back({"model", systemc::MakeModelDevice(options), true});
    sim::IssOptions iss;
    iss.core = options.core;
    contenders.push_back({"iss", std::make_unique<sim::Iss>(iss), false});
    CampaignOptions o;
    o.programs = 60;
    const Status s = RunCampaign(a, options.memory, contenders, o, nullptr);
    EXPECT_TRUE(s.has_value()) << ArchText(a) << ": " << s.error().message;
  }
}

}  // namespace
}  // namespace octile::cosim
