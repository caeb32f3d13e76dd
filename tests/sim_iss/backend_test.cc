// The simulator behind the driver: opening, running, faults, observations.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "octile/driver/device.h"
#include "octile/program/assembler.h"
#include "octile/sim/iss_backend.h"

namespace octile::driver {
namespace {

using testing::HasSubstr;

Deadline Soon() { return Deadline::After(std::chrono::seconds(60)); }

// Regions: 0 instructions, 1 inputs, 2 outputs.
Program ProgramOf(std::string_view text, std::string_view config = "tiny") {
  Program program;
  program.producer = "test";
  program.arch = LoadConfig(config)->arch;
  program.model = "test";
  auto instructions = Assemble(text);
  EXPECT_TRUE(instructions) << instructions.error().message;
  program.instructions = *instructions;
  program.regions = {
      {RegionKind::kProgram, "code", 64 * program.instructions.size(), false, false, true, {}},
      {RegionKind::kInputs, "in", 4096, true, false, false, {}},
      {RegionKind::kOutputs, "out", 4096, false, true, false, {}}};
  PlanItem item;
  item.kind = PlanKind::kDevice;
  item.count = static_cast<int64_t>(program.instructions.size());
  item.name = "all";
  program.plan = {item};
  return program;
}

constexpr std::string_view kCopy =
    "lda region=1 n0=64 n1=1 n2=1 signal0=0\n"
    "elt layer=3 wait0=0 signal0=1 mode=COPY mh=1 mw=64 blocks=1 a_x_step=1 out_addr=512 "
    "out_x_step=1 out_bank=1\n"
    "sta region=2 n0=64 n1=1 n2=1 buf_addr=512 buf_bank=1 wait0=1\n"
    "end\n";

class Backend : public ::testing::Test {
 protected:
  Backend() { sim::RegisterIssBackend(); }
};

TEST_F(Backend, IsListed) {
  const auto devices = Device::Enumerate();
  const auto it = std::find_if(devices.begin(), devices.end(),
                               [](const DeviceInfo& d) { return d.uri == "iss:tiny"; });
  ASSERT_NE(it, devices.end());
  EXPECT_TRUE(it->available);
  EXPECT_THAT(it->description, HasSubstr("without cycles"));
}

TEST_F(Backend, CopiesAndObserves) {
  auto device = Device::Open("iss:tiny?memory=16777216&seed=5");
  ASSERT_TRUE(device) << device.error().message;
  EXPECT_EQ(device->capabilities().backend, "iss");
  EXPECT_EQ(device->capabilities().arch, LoadConfig("tiny")->arch);
  EXPECT_FALSE(device->capabilities().cycle_exact);
  auto program = device->Load(ProgramOf(kCopy));
  ASSERT_TRUE(program) << program.error().message;
  std::vector<uint8_t> in(256), out(256);
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint8_t>(i * 7 + round);
    ASSERT_TRUE(program->region(1)->Write(0, in));
    SubmitOptions options;
    options.observe_results = options.observe_trace = true;
    auto job = device->Submit(*program, options);
    ASSERT_TRUE(job) << job.error().message;
    const auto end = job->Wait(Soon());
    ASSERT_TRUE(end) << end.error().message;
    ASSERT_TRUE(program->region(2)->Read(0, out));
    EXPECT_EQ(out, in);
    const auto counters = job->counters();
    ASSERT_TRUE(counters);
    EXPECT_EQ(counters->cycles, 0u);
    EXPECT_EQ(counters->retired, 3u);
    EXPECT_EQ(counters->bytes_fetch, 256u);
    EXPECT_EQ(counters->bytes_act, 256u);
    EXPECT_EQ(counters->bytes_written, 256u);
    const auto seen = job->observations();
    ASSERT_TRUE(seen) << seen.error().message;
    ASSERT_EQ(seen->results.size(), 1u);
    EXPECT_EQ(seen->results[0].instruction, 1u);
    EXPECT_EQ(seen->results[0].addresses[0], 512u);
    EXPECT_TRUE(std::equal(in.begin(), in.end(), seen->results[0].data.begin(),
                           seen->results[0].data.end()));
  }
}

TEST_F(Backend, UnknownOptionIsNamed) {
  const auto device = Device::Open("iss:tiny?speed=9");
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().code, Code::kInvalidArgument);
  EXPECT_THAT(device.error().message, HasSubstr("speed=9"));
}

TEST_F(Backend, FaultThenReset) {
  auto device = Device::Open("iss:tiny?memory=16777216");
  ASSERT_TRUE(device) << device.error().message;
  // The store does not wait for the load: the driver would refuse it.
  auto racy = device->Load(ProgramOf("lda region=1 n0=64 n1=1 n2=1\n"
                                     "sta region=2 n0=64 n1=1 n2=1\n"
                                     "end\n"),
                           {.verify = false});
  ASSERT_TRUE(racy) << racy.error().message;
  auto job = device->Submit(*racy);
  ASSERT_TRUE(job);
  const auto end = job->Wait(Soon());
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, Code::kFault);
  ASSERT_TRUE(job->fault());
  EXPECT_EQ(job->fault()->cause, isa::Fault::kConflict);
  EXPECT_EQ(std::minmax(job->fault()->instruction, job->fault()->second_instruction),
            std::minmax(0u, 1u));
  // The next job of the same device completes.
  auto program = device->Load(ProgramOf(kCopy));
  ASSERT_TRUE(program);
  auto next = device->Submit(*program);
  ASSERT_TRUE(next) << next.error().message;
  const auto completed = next->Wait(Soon());
  EXPECT_TRUE(completed) << completed.error().message;
  const auto reset = device->Reset(Soon());
  EXPECT_TRUE(reset) << reset.error().message;
}

}  // namespace
}  // namespace octile::driver
