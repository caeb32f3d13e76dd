// Devices that are processes: what happens when they, their clients or their memory go wrong, and
// that everybody gets his own results.
#include "octile/driver/device.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <thread>

#include "backends.h"
#include "octile/device/host.h"
#include "octile/isa/registers.h"
#include "octile/program/assembler.h"
#include "octile/systemc/device.h"
#include "programs.h"
#include "transport/channel.h"
#include "transport/process.h"

namespace octile::driver {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

Deadline Soon() { return Deadline::After(seconds(30)); }

size_t CountFds() {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
}

std::vector<pid_t> Children() {
  std::vector<pid_t> pids;
  for (const auto& task : fs::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "children");
    for (pid_t pid; file >> pid;) pids.push_back(pid);
  }
  return pids;
}

bool Runs(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string id, name, state;
  return file >> id >> name >> state && state != "Z";
}

std::string TempPath(const std::string& name) {
  static int number = 0;
  return testing::TempDir() + "octile-" + std::to_string(getpid()) + "-" +
         std::to_string(++number) + name;
}

// A device with a copy program on it.
struct Rig {
  Device device;
  ProgramHandle program;
  Job job;

  explicit Rig(const std::string& uri, const OpenOptions& options = {}, int beats = 8,
               int rounds = 1) {
    RegisterTestBackends();
    auto opened = Device::Open(uri, options);
    EXPECT_TRUE(opened) << uri << ": " << opened.error().message;
    if (!opened) return;
    device = std::move(*opened);
    Load(CopyProgram(device.capabilities().arch, beats, rounds));
  }
  void Load(const Program& p, bool verify = true) {
    auto loaded = device.Load(p, {.verify = verify});
    ASSERT_TRUE(loaded) << loaded.error().message;
    program = *loaded;
  }
  Result<void> Run(const SubmitOptions& options = {}) {
    auto submitted = device.Submit(program, options);
    if (!submitted) return tl::unexpected(submitted.error());
    job = *submitted;
    return job.Wait(Soon());
  }
  void SetInput(const std::vector<uint8_t>& data) {
    const auto written = program.region(kInputRegion)->Write(0, data);
    ASSERT_TRUE(written) << written.error().message;
  }
  std::vector<uint8_t> Output() {
    const auto region = *program.region(kOutputRegion);
    std::vector<uint8_t> data(region.bytes());
    EXPECT_TRUE(region.Read(0, data));
    return data;
  }
  size_t bytes() const { return static_cast<size_t>(8 * device.capabilities().arch.n); }
};

// With every process backend.
class ProcessTest : public testing::TestWithParam<std::string> {
 protected:
  std::string Uri(const std::string& options = "") const { return GetParam() + ":tiny" + options; }
};

TEST_P(ProcessTest, CopiesAndCounts) {
  Rig rig(Uri());
  const auto data = Pattern(rig.bytes());
  rig.SetInput(data);
  ASSERT_TRUE(rig.Run());
  EXPECT_EQ(rig.Output(), data);
  const auto counters = *rig.job.counters();
  EXPECT_EQ(counters.retired, 2u);
  EXPECT_EQ(counters.bytes_act, rig.bytes());
  EXPECT_EQ(counters.bytes_written, rig.bytes());
  EXPECT_EQ(counters.bytes_fetch, 3u * 64);
  for (const auto& row : counters.classes) {
    uint64_t sum = 0;
    for (const uint64_t cycles : row) sum += cycles;
    EXPECT_EQ(sum, counters.cycles);
  }
  EXPECT_TRUE(rig.device.capabilities().cycle_exact);
  EXPECT_THAT(rig.device.capabilities().platform, HasSubstr("read_latency=100"));
  EXPECT_EQ(rig.device.capabilities().backend, GetParam());
}

TEST_P(ProcessTest, SameJobSameCyclesWarmColdAndAfterReset) {
  Rig rig(Uri("?jitter=30&ready_jitter=3&seed=7"), {}, 8, 5);
  ASSERT_TRUE(rig.Run());
  const auto first = *rig.job.counters();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(rig.Run());
    EXPECT_EQ(*rig.job.counters(), first);
  }
  ASSERT_TRUE(rig.device.Reset(Soon()));
  ASSERT_TRUE(rig.Run());
  EXPECT_EQ(*rig.job.counters(), first);
}

TEST_P(ProcessTest, DeathIsADeviceError) {
  Rig rig(Uri("?die=50"));
  const auto outcome = rig.Run();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kDeviceLost);
  EXPECT_THAT(outcome.error().message, HasSubstr("died of signal 9"));
  EXPECT_EQ(rig.device.state(), DeviceState::kLost);
  EXPECT_EQ(rig.job.Poll(), JobState::kFailed);
  const auto output = rig.Output();
  EXPECT_TRUE(std::all_of(output.begin(), output.end(), [](uint8_t b) { return b == 0xa5; }));
  EXPECT_EQ(rig.device.Submit(rig.program).error().code, Code::kDeviceLost);
  EXPECT_EQ(rig.device.Reset(Soon()).error().code, Code::kDeviceLost);
  EXPECT_TRUE(rig.device.Close(Soon()));
}

TEST_P(ProcessTest, StoppedClockIsAHangAndAResetRecovers) {
  Rig rig(Uri("?hang=50"));
  SubmitOptions options;
  options.hang_timeout = milliseconds(400);
  const auto outcome = rig.Run(options);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kHang);
  EXPECT_EQ(rig.device.state(), DeviceState::kNeedsReset);
  const auto reset = rig.device.Reset(Soon());
  ASSERT_TRUE(reset) << reset.error().message;
  const auto data = Pattern(rig.bytes());
  rig.SetInput(data);
  ASSERT_TRUE(rig.Run());
  EXPECT_EQ(rig.Output(), data);
}

TEST_P(ProcessTest, DeadClockNeverComesBackAndSaysSo) {
  Rig rig(Uri("?hang=50:dead"));
  SubmitOptions options;
  options.hang_timeout = milliseconds(400);
  EXPECT_EQ(rig.Run(options).error().code, Code::kHang);
  const auto start = Deadline::Clock::now();
  EXPECT_FALSE(rig.device.Reset(Deadline::After(milliseconds(500))));
  EXPECT_LT(Deadline::Clock::now() - start, seconds(3));
  EXPECT_EQ(rig.device.state(), DeviceState::kNeedsReset);
}

TEST_P(ProcessTest, CancelsARunningJob) {
  Rig rig(Uri("?hang=50"));
  auto job = rig.device.Submit(rig.program);
  ASSERT_TRUE(job);
  std::this_thread::sleep_for(milliseconds(50));
  ASSERT_TRUE(job->Cancel(Soon()));
  EXPECT_EQ(job->Poll(), JobState::kCancelled);
  EXPECT_EQ(rig.device.state(), DeviceState::kReady);
  EXPECT_TRUE(rig.Run());
}

TEST_P(ProcessTest, LateAnswersAreErrorsWithADeadline) {
  Rig slow(Uri("?delay_answers=20"));
  EXPECT_TRUE(slow.Run()) << "late, but within the bound";
  Rig rig(Uri("?delay_answers=1500"), {.answer_timeout = milliseconds(300)});
  const auto start = Deadline::Clock::now();
  const auto outcome = rig.Run();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kDeviceLost);
  EXPECT_THAT(outcome.error().message, HasSubstr("300 ms"));
  EXPECT_LT(Deadline::Clock::now() - start, seconds(5));
}

TEST_P(ProcessTest, StoppedProcessIsAnErrorWithADeadline) {
  const auto before = Children();
  Rig rig(Uri(), {.answer_timeout = milliseconds(300)});
  pid_t pid = 0;
  for (const pid_t child : Children())
    if (std::find(before.begin(), before.end(), child) == before.end()) pid = child;
  ASSERT_NE(pid, 0);
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  const auto start = Deadline::Clock::now();
  auto job = rig.device.Submit(rig.program);
  ASSERT_TRUE(job);
  const auto outcome = job->Wait(Soon());
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kDeviceLost);
  EXPECT_LT(Deadline::Clock::now() - start, seconds(10));
  (void)rig.device.Close(Deadline::After(milliseconds(100)));
  EXPECT_FALSE(Runs(pid)) << "closing ends a process that does not react";
}

TEST_P(ProcessTest, InterruptFaultsComeOutRight) {
  for (const char* fault : {"drop", "twice", "late:300", "spurious"}) {
    Rig rig(Uri(std::string("?fault_job=all&irq=") + fault));
    for (uint32_t i = 0; i < 3; ++i) {
      const auto data = Pattern(rig.bytes(), i);
      rig.SetInput(data);
      const auto start = Deadline::Clock::now();
      const auto outcome = rig.Run();
      EXPECT_TRUE(outcome) << fault << ": " << outcome.error().message;
      EXPECT_LT(Deadline::Clock::now() - start, seconds(3)) << fault;
      EXPECT_EQ(rig.Output(), data) << fault;
    }
  }
}

TEST_P(ProcessTest, BusErrorsAreFaultsAndTheNextJobRuns) {
  Rig read(Uri("?bus_read_error=1"));  // burst 0 fetches the program
  auto outcome = read.Run();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kFault);
  ASSERT_TRUE(read.job.fault());
  EXPECT_EQ(read.job.fault()->cause, isa::Fault::kBusRead);
  EXPECT_EQ(read.job.fault()->instruction, 0u);
  EXPECT_EQ(read.job.fault()->address, read.program.region(kInputRegion)->device_address());
  EXPECT_EQ(read.job.fault()->context, read.device.capabilities().context);
  EXPECT_TRUE(read.Run());

  Rig write(Uri("?bus_write_error=0"));
  outcome = write.Run();
  ASSERT_FALSE(outcome);
  ASSERT_TRUE(write.job.fault());
  EXPECT_EQ(write.job.fault()->cause, isa::Fault::kBusWrite);
  EXPECT_EQ(write.job.fault()->instruction, 1u);
  EXPECT_EQ(write.job.fault()->address, write.program.region(kOutputRegion)->device_address());
  EXPECT_TRUE(write.Run());
}

TEST_P(ProcessTest, BitFlipsHitWhatTheyName) {
  Rig rig(Uri("?flip=1:5:3,1:6:0@1000000&fault_job=1"));
  const auto data = Pattern(rig.bytes());
  rig.SetInput(data);
  ASSERT_TRUE(rig.Run());
  EXPECT_EQ(rig.Output(), data) << "the first job is not the one";
  ASSERT_TRUE(rig.Run());
  auto flipped = data;
  flipped[5] ^= 8;
  EXPECT_EQ(rig.Output(), flipped) << "the second flip lies behind the end of the job";
}

TEST_P(ProcessTest, HardwareKeepsJobsInTheirRegionsWithoutTheVerifier) {
  Rig rig(Uri());
  const uint64_t input = rig.program.region(kInputRegion)->bytes();
  std::mt19937 random(1);
  // Everything else in memory is a canary.
  auto canary = *rig.device.Allocate(1 << 20);
  ASSERT_TRUE(canary.Fill(0x5c));
  for (int i = 0; i < 20; ++i) {
    const ArchConfig& arch = rig.device.capabilities().arch;
    Program program = CopyProgram(arch);
    isa::Lda load;
    load.region = kInputRegion;
    load.header.signal0 = isa::Semaphore(0);
    isa::Sta store;
    store.header.wait0 = isa::Semaphore(0);
    // Beyond the end, into a region that is not writable, or into one that does not exist.
    store.region = std::array{kOutputRegion, kInputRegion, 0, 7}[static_cast<size_t>(i) % 4];
    store.offset = (store.region == kOutputRegion ? static_cast<uint32_t>(input) : 0) +
                   static_cast<uint32_t>(random() % 100'000) / 4 * 4;
    program.instructions = {isa::Encode(load), isa::Encode(store), isa::Encode(isa::End{})};
    rig.Load(program, /*verify=*/false);
    const auto outcome = rig.Run();
    ASSERT_FALSE(outcome);
    ASSERT_TRUE(rig.job.fault());
    EXPECT_EQ(rig.job.fault()->cause, isa::Fault::kRegion);
    EXPECT_EQ(rig.job.fault()->instruction, 1u);
    EXPECT_EQ(rig.job.fault()->address, store.offset);
    EXPECT_EQ(rig.job.fault()->job_id, rig.job.id());
  }
  const auto map = *canary.Map();
  EXPECT_TRUE(std::all_of(map.begin(), map.end(), [](uint8_t b) { return b == 0x5c; }));
}

TEST_P(ProcessTest, DeadlockIsAFaultAtOnce) {
  Rig rig(Uri());
  rig.Load(DeadlockProgram(rig.device.capabilities().arch), /*verify=*/false);
  EXPECT_EQ(rig.Run().error().code, Code::kFault);
  EXPECT_EQ(rig.job.fault()->cause, isa::Fault::kDeadlock);
  EXPECT_LT(rig.job.counters()->cycles, 1000u);
}

TEST_P(ProcessTest, WatchdogCountsCyclesWithoutProgress) {
  Rig rig(Uri("?read_latency=2000"));
  SubmitOptions options;
  options.watchdog_cycles = 500;
  EXPECT_EQ(rig.Run(options).error().code, Code::kFault);
  EXPECT_EQ(rig.job.fault()->cause, isa::Fault::kWatchdog);
  EXPECT_EQ(rig.job.counters()->cycles, 501u);
  options.watchdog_cycles = 5000;
  EXPECT_TRUE(rig.Run(options));
}

TEST_P(ProcessTest, HundredOpensLeaveNothingBehind) {
  { Rig warm(Uri()); }
  const size_t fds = CountFds();
  const auto children = Children();
  for (int i = 0; i < 100; ++i) {
    Rig rig(Uri());
    if (i % 3 == 0) {
      ASSERT_TRUE(rig.Run());
    }
    if (i % 2 == 0) {
      ASSERT_TRUE(rig.device.Close(Soon()));
    }
  }
  EXPECT_EQ(CountFds(), fds);
  EXPECT_EQ(Children(), children);
}

TEST_P(ProcessTest, KilledClientTakesItsDeviceAlong) {
  int pipes[2];
  ASSERT_EQ(pipe2(pipes, O_CLOEXEC), 0);
  const pid_t client = fork();
  ASSERT_GE(client, 0);
  if (client == 0) {
    Rig rig(Uri("?hang=50"));
    auto job = rig.device.Submit(rig.program);
    std::this_thread::sleep_for(milliseconds(50));
    const auto children = Children();
    const pid_t device = children.size() == 1 ? children[0] : 0;
    (void)!write(pipes[1], &device, sizeof(device));
    pause();
    _exit(0);
  }
  pid_t device = 0;
  ASSERT_EQ(read(pipes[0], &device, sizeof(device)), static_cast<ssize_t>(sizeof(device)));
  close(pipes[0]);
  close(pipes[1]);
  ASSERT_NE(device, 0);
  EXPECT_TRUE(Runs(device));
  ASSERT_EQ(kill(client, SIGKILL), 0);
  ASSERT_EQ(waitpid(client, nullptr, 0), client);
  const auto start = Deadline::Clock::now();
  while (Runs(device) && Deadline::Clock::now() - start < seconds(5))
    std::this_thread::sleep_for(milliseconds(5));
  EXPECT_FALSE(Runs(device));
  EXPECT_LT(Deadline::Clock::now() - start, seconds(2));
}

INSTANTIATE_TEST_SUITE_P(All, ProcessTest, testing::ValuesIn([] {
                           std::vector<std::string> names{"systemc"};
                           for (const std::string& name : TestBackend::Names())
                             if (name == "rtl") names.push_back(name);
                           return names;
                         }()),
                         [](const testing::TestParamInfo<std::string>& info) {
                           return info.param;
                         });

// A client that speaks the protocol itself and so can ask for what the driver never would.
class RawClient {
 public:
  explicit RawClient(const std::string& path)
      : channel_(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(connect(channel_.fd(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    const Message welcome = Call(MessageType::kHello, kProtocolVersion);
    if (welcome.fd >= 0) close(welcome.fd);
  }
  // The answer; interrupts before it are counted.
  Message Call(MessageType type, uint64_t a = 0, uint64_t b = 0) {
    Message message;
    message.type = type;
    message.number = ++number_;
    message.args[0] = a;
    message.args[1] = b;
    EXPECT_TRUE(channel_.Send(message, Soon()));
    while (true) {
      auto reply = channel_.Receive(Soon());
      EXPECT_TRUE(reply && *reply) << "no answer";
      if (!reply || !*reply) return {};
      if ((*reply)->type == MessageType::kReply) return std::move(**reply);
      ++interrupts;
    }
  }
  uint32_t Read(uint32_t offset) {
    const Message reply = Call(MessageType::kRead, offset, 1);
    EXPECT_EQ(reply.args[0], 0u);
    EXPECT_EQ(reply.data.size(), 4u);
    uint32_t value = 0;
    std::memcpy(&value, reply.data.data(), std::min<size_t>(reply.data.size(), 4));
    return value;
  }

  int interrupts = 0;

 private:
  Channel channel_;
  uint64_t number_ = 0;
};

TEST_P(ProcessTest, TheNextClientFindsNothingOfTheLast) {
  const std::string path = TempPath(".sock");
  Rig victim(Uri("?listen=" + path));
  victim.Load(VectorCopyProgram(victim.device.capabilities().arch));
  const auto secret = Pattern(victim.bytes(), 9);
  victim.SetInput(secret);
  SubmitOptions options;
  options.observe_trace = options.observe_results = true;
  options.watchdog_cycles = 100000;
  ASSERT_TRUE(victim.Run(options));
  ASSERT_EQ(victim.Output(), secret);
  const std::vector<uint8_t> other(victim.bytes(), 0xee);
  ASSERT_TRUE(victim.program.region(kOutputRegion)->Write(0, other));

  RawClient client(path);
  ASSERT_EQ(client.Call(MessageType::kAcquire).args[0], 0u);
  EXPECT_EQ(client.Read(regs::kStatus), regs::kStatusIdle.mask());
  for (const regs::RegisterInfo& r : regs::kRegisters) {
    if (r.address < regs::kControl || r.address >= regs::kSupervisorPage) continue;
    EXPECT_EQ(client.Read(r.address), r.reset) << r.name;
  }
  EXPECT_EQ(client.Call(MessageType::kTakeObservations).args[0],
            1 + static_cast<uint64_t>(Code::kUnsupported));
  // Without regions of its own nothing runs: not the other client's program, either.
  EXPECT_EQ(client.Call(MessageType::kWrite, regs::kProgramCount, 4).args[0], 0u);
  EXPECT_EQ(client.Call(MessageType::kWrite, regs::kControl, regs::kControlStart.mask()).args[0],
            0u);
  uint32_t status = regs::kStatusRunning.mask();
  for (int i = 0; i < 1000 && status == regs::kStatusRunning.mask(); ++i) {
    std::this_thread::sleep_for(milliseconds(2));
    status = client.Read(regs::kStatus);
  }
  EXPECT_EQ(status, regs::kStatusFaulted.mask());
  EXPECT_EQ(client.Read(regs::kFaultCause), static_cast<uint32_t>(isa::Fault::kRegion));
  EXPECT_EQ(client.Call(MessageType::kTakeObservations).args[0],
            1 + static_cast<uint64_t>(Code::kUnsupported))
      << "the request to observe was the other client's";
  EXPECT_EQ(client.interrupts, 0) << "so was its wish for interrupts";
  ASSERT_EQ(client.Call(MessageType::kRelease).args[0], 0u);
  EXPECT_EQ(victim.Output(), other);
  ASSERT_TRUE(victim.Run(options)) << "and the first one goes on";
  EXPECT_EQ(victim.Output(), secret);
}

// Regions of a job that the locked registers would not take must not look set: the next job would
// run with the old ones.
TEST(Devices, RegionsAreRefusedWhileTheCoreIsBusy) {
  const Config config = *LoadConfig("tiny");
  std::vector<uint8_t> memory(65536);
  device::DeviceHost host(systemc::MakeModelDevice(device::OptionsOf(config)), config.arch, {},
                          memory);
  host.SetContext(1, 0);
  const std::vector<RegionWindow> windows{{0, 4096, true, false, true}};
  ASSERT_TRUE(host.SetRegions(windows));
  const Program program = CopyProgram(config.arch);
  std::memcpy(memory.data(), program.instructions.data(), 64 * program.instructions.size());
  ASSERT_TRUE(host.Write(regs::kProgramCount, 4));
  ASSERT_TRUE(host.Write(regs::kControl, regs::kControlStart.mask()));
  ASSERT_EQ(host.Status(), regs::kStatusRunning.mask());
  EXPECT_EQ(host.SetRegions(windows).error().code, Code::kInvalidArgument);
  ASSERT_TRUE(host.Write(regs::kControl, regs::kControlSoftReset.mask()));
  ASSERT_EQ(host.Status(), regs::kStatusResetting.mask());
  EXPECT_EQ(host.SetRegions(windows).error().code, Code::kInvalidArgument);
  ASSERT_TRUE(host.SoftReset());
  EXPECT_TRUE(host.SetRegions(windows));
}

TEST(Devices, TwoAtOnceKeepApart) {
  Rig a("systemc:tiny");
  Rig b("systemc:small");
  Rig c("model:tiny");
  for (uint32_t i = 0; i < 10; ++i) {
    const auto da = Pattern(a.bytes(), 3 * i), db = Pattern(b.bytes(), 3 * i + 1),
               dc = Pattern(c.bytes(), 3 * i + 2);
    a.SetInput(da);
    b.SetInput(db);
    c.SetInput(dc);
    auto ja = a.device.Submit(a.program), jb = b.device.Submit(b.program),
         jc = c.device.Submit(c.program);
    ASSERT_TRUE(ja && jb && jc);
    ASSERT_TRUE(ja->Wait(Soon()) && jb->Wait(Soon()) && jc->Wait(Soon()));
    EXPECT_EQ(a.Output(), da);
    EXPECT_EQ(b.Output(), db);
    EXPECT_EQ(c.Output(), dc);
  }
}

// The cycle-exact devices agree in every counter, cycle and observation.
TEST(Devices, AgreeOnCountersAndTraces) {
  const auto names = TestBackend::Names();
  for (const char* profile : {"", "?jitter=40&ready_jitter=5&seed=3",
                              "?beat_interval=3&refresh_period=300&refresh_cycles=40",
                              "?read_latency=1&write_latency=1"}) {
    std::optional<JobCounters> counters;
    std::vector<uint64_t> issue, completion;
    for (const std::string& name : names) {
      if (name == "mock" || name == "iss" || name == "socket") continue;
      Rig rig(name + ":tiny" + profile);
      rig.Load(VectorCopyProgram(rig.device.capabilities().arch, 50));
      SubmitOptions options;
      options.observe_trace = true;
      ASSERT_TRUE(rig.Run(options));
      const auto o = *rig.job.observations();
      if (!counters) {
        counters = *rig.job.counters();
        issue.assign(o.issue.begin(), o.issue.end());
        completion.assign(o.completion.begin(), o.completion.end());
        continue;
      }
      EXPECT_EQ(*rig.job.counters(), *counters) << name << profile;
      EXPECT_TRUE(std::equal(issue.begin(), issue.end(), o.issue.begin(), o.issue.end()))
          << name << profile;
      EXPECT_TRUE(std::equal(completion.begin(), completion.end(), o.completion.begin(),
                             o.completion.end()))
          << name << profile;
      EXPECT_TRUE(o.results.empty()) << "not asked for";
    }
  }
}

// The verifier cannot know what an input region will hold. With parameters outside their domains
// results mean nothing, but no device may crash, and these agree all the same.
TEST(Devices, AgreeOnAnyParameters) {
  constexpr uint64_t kBytes = 1024;
  const ArchConfig arch = LoadConfig("tiny")->arch;
  ASSERT_EQ(arch.n, 4);
  Program program = EmptyProgram(arch, kBytes);
  auto code = Assemble(
      "ldp region=1 target=EXE_SET count=1\n"
      "ldp region=1 offset=64 target=VEC_SET count=1\n"
      "ldp region=1 offset=128 target=EXE_CONST count=1\n"
      "ldp region=1 offset=192 target=VEC_CONST count=1 signal0=0\n"
      "ldw region=1 offset=256 tiles=1 zw=3\n"
      "lda region=1 offset=512 n0=16 n1=1 n2=1\n"
      "lda region=1 offset=640 n0=16 n1=1 n2=1 buf_addr=512 buf_bank=1 signal0=1\n"
      "mma wait0=0 wait1=1 in_h=1 in_w=16 kh=1 kw=1 stride_y=1 stride_x=1 dil_y=1 dil_x=1 mh=1 "
      "mw=16 blocks=1 out_addr=1024 out_bank=2 res_addr=512 b_bank=1 zx=128 zy=9 hi=255 "
      "residual init emit signal0=2\n"
      "win wait0=2 mode=SUM in_h=1 in_w=16 kh=1 kw=1 stride_y=1 stride_x=1 dil_y=1 dil_x=1 mh=1 "
      "mw=16 blocks=1 out_addr=1536 out_bank=3 zx=100 zy=40 lo=2 hi=250\n"
      "elt mode=ADD mh=1 mw=16 blocks=1 a_x_step=1 b_addr=512 b_bank=1 b_x_step=1 out_addr=2048 "
      "out_x_step=1 out_bank=4 a_signed hi=255\n"
      "elt mode=MUL mh=1 mw=16 blocks=1 a_x_step=1 b_addr=512 b_bank=1 b_x_step=1 out_addr=2560 "
      "out_x_step=1 out_bank=5 za=128 zb=99 lo=128 hi=127 out_signed signal0=3\n"
      "sta wait0=3 region=2 n0=16 n1=1 n2=1 buf_addr=1024 buf_bank=2\n"
      "sta region=2 offset=64 n0=16 n1=1 n2=1 buf_addr=1536 buf_bank=3\n"
      "sta region=2 offset=128 n0=16 n1=1 n2=1 buf_addr=2048 buf_bank=4\n"
      "sta region=2 offset=192 n0=16 n1=1 n2=1 buf_addr=2560 buf_bank=5\n"
      "end\n");
  ASSERT_TRUE(code) << code.error().message;
  program.instructions = *code;
  PlanItem item;
  item.kind = PlanKind::kDevice;
  item.count = static_cast<int64_t>(code->size());
  item.name = "all";
  program.plan.push_back(item);

  std::vector<std::unique_ptr<Rig>> rigs;
  for (const std::string& name : TestBackend::Names())
    if (name == "iss" || name == "model" || name == "rtl") {
      rigs.push_back(std::make_unique<Rig>(name + ":tiny"));
      rigs.back()->Load(program);
    }
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float numbers[] = {0.f,       -0.f,      0.5f,      -0.5f,     1.f,     -1.f,
                           3.f,       255.f,     256.f,     -129.f,    0.013f,  0x1p-41f,
                           0x1p-149f, 0x1p-126f, 0x1p-80f,  0x1p21f,   0x1p31f, -0x1p31f,
                           0x1p100f,  0x1p127f,  kInfinity, -kInfinity};
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    auto data = Pattern(kBytes, random());
    const auto put = [&](size_t offset) {
      uint32_t word = 0x7fc00000;
      const size_t choice = random() % (std::size(numbers) + 4);
      if (choice < std::size(numbers))
        word = std::bit_cast<uint32_t>(numbers[choice]);
      else if (choice > std::size(numbers))
        word = static_cast<uint32_t>(random());
      std::memcpy(&data[offset], &word, 4);
    };
    for (size_t i = 0; i < 4; ++i) {
      // Small biases, so that something can come out.
      const auto bias = static_cast<int32_t>(random() % 2000) - 1000;
      std::memcpy(&data[4 * i], &bias, 4);
      std::memcpy(&data[64 + 4 * i], &bias, 4);
      put(16 + 4 * i);
      put(64 + 16 + 4 * i);
      put(128 + 4 * i);
      put(192 + 4 * i);
    }
    std::vector<uint8_t> first;
    for (const auto& rig : rigs) {
      rig->SetInput(data);
      const auto done = rig->Run();
      ASSERT_TRUE(done) << done.error().message;
      auto output = rig->Output();
      output.resize(256);
      if (first.empty()) first = output;
      for (size_t i = 0; i < output.size(); ++i)
        ASSERT_EQ(int{output[i]}, int{first[i]})
            << rig->device.uri() << " round " << round << " byte " << i << " parameters "
            << testing::PrintToString(
                   std::vector<uint32_t>(reinterpret_cast<const uint32_t*>(data.data()),
                                         reinterpret_cast<const uint32_t*>(data.data()) + 52));
    }
  }
}

TEST(Devices, SeveralClientsShareOneProcess) {
  const std::string path = TempPath(".sock");
  Rig owner("systemc:tiny?listen=" + path);
  constexpr int kClients = 4;
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kClients; ++t)
    threads.emplace_back([&, t] {
      Rig rig("socket:" + path);
      EXPECT_NE(rig.device.capabilities().context, owner.device.capabilities().context);
      for (uint32_t i = 0; i < 50; ++i) {
        const auto data = Pattern(rig.bytes(), static_cast<uint32_t>(t) * 1000 + i);
        rig.SetInput(data);
        if (rig.Run() && rig.Output() == data) ++right;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, kClients * 50);
  EXPECT_TRUE(owner.Run());
  // The process goes with its owner, and so does the socket.
  Rig last("socket:" + path);
  ASSERT_TRUE(owner.device.Close(Soon()));
  const auto outcome = last.Run();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kDeviceLost);
  EXPECT_FALSE(fs::exists(path));
}

TEST(Devices, AHungClientDoesNotHoldUpTheOthersForEver) {
  const std::string path = TempPath(".sock");
  Rig owner("systemc:tiny?hang=50&listen=" + path);  // the first job of the device hangs
  SubmitOptions options;
  options.hang_timeout = milliseconds(600);
  auto guilty = owner.device.Submit(owner.program, options);
  ASSERT_TRUE(guilty);
  std::this_thread::sleep_for(milliseconds(100));
  Rig other("socket:" + path);
  const auto data = Pattern(other.bytes(), 77);
  other.SetInput(data);
  ASSERT_TRUE(other.Run());
  EXPECT_EQ(other.Output(), data);
  EXPECT_EQ(guilty->Wait(Soon()).error().code, Code::kHang);
}

TEST(Devices, AKilledClientFreesTheCore) {
  const std::string path = TempPath(".sock");
  const pid_t client = fork();
  ASSERT_GE(client, 0);
  if (client == 0) {
    // Waits for the device to exist, hangs on it and is killed.
    for (int i = 0; i < 500 && !fs::exists(path); ++i)
      std::this_thread::sleep_for(milliseconds(10));
    Rig rig("socket:" + path);
    auto job = rig.device.Submit(rig.program);
    pause();
    _exit(0);
  }
  Rig owner("systemc:tiny?hang=50&listen=" + path);
  std::this_thread::sleep_for(milliseconds(500));
  ASSERT_EQ(kill(client, SIGKILL), 0);
  ASSERT_EQ(waitpid(client, nullptr, 0), client);
  const auto start = Deadline::Clock::now();
  const auto data = Pattern(owner.bytes(), 5);
  owner.SetInput(data);
  ASSERT_TRUE(owner.Run());
  EXPECT_EQ(owner.Output(), data);
  EXPECT_LT(Deadline::Clock::now() - start, seconds(1));
}

TEST(Devices, StrangersAreTurnedAway) {
  const std::string path = TempPath(".sock");
  Rig owner("systemc:tiny?listen=" + path);
  const auto connect_to = [&] {
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return Channel(fd);
  };
  {  // another protocol version
    Channel channel = connect_to();
    Message hello;
    hello.type = MessageType::kHello;
    hello.number = 1;
    hello.args[0] = kProtocolVersion + 1;
    ASSERT_TRUE(channel.Send(hello, Soon()));
    const auto reply = channel.Receive(Soon());
    ASSERT_TRUE(reply && *reply);
    EXPECT_EQ((*reply)->args[0], 1 + static_cast<uint64_t>(Code::kIncompatible));
    const std::string text((*reply)->data.begin(), (*reply)->data.end());
    EXPECT_THAT(text, HasSubstr("speaks protocol 1, the driver 2"));
  }
  {  // no greeting
    Channel channel = connect_to();
    Message message;
    message.type = MessageType::kAcquire;
    message.number = 1;
    ASSERT_TRUE(channel.Send(message, Soon()));
    const auto reply = channel.Receive(Soon());
    ASSERT_TRUE(reply && *reply);
    EXPECT_EQ((*reply)->args[0], 1 + static_cast<uint64_t>(Code::kInvalidArgument));
  }
  {  // noise, of every length
    std::mt19937 random(3);
    for (size_t bytes = 1; bytes < 2000; bytes += 37) {
      Channel channel = connect_to();
      std::vector<uint8_t> noise(bytes);
      for (uint8_t& b : noise) b = static_cast<uint8_t>(random());
      (void)!send(channel.fd(), noise.data(), noise.size(), MSG_NOSIGNAL);
      const auto reply = channel.Receive(Soon());
      ASSERT_FALSE(reply);
      EXPECT_EQ(reply.error().code, Code::kDeviceLost);
    }
  }
  {  // well-formed requests with random contents, after a greeting
    Channel channel = connect_to();
    std::mt19937_64 random(4);
    for (uint64_t i = 0; i < 3000; ++i) {
      Message message;
      message.number = i;
      message.type = static_cast<MessageType>(i == 0 ? 1 : random() % 12);
      for (uint64_t& arg : message.args) arg = random() >> (random() % 64);
      if (i == 0) message.args[0] = kProtocolVersion;
      message.data.resize(random() % 300);
      ASSERT_TRUE(channel.Send(message, Soon()));
      // One answer each, but for an acquisition that has to wait; interrupts in between.
      for (int n = 0; n < 3; ++n) {
        const auto reply = channel.Receive(Deadline::After(milliseconds(n == 0 ? 1000 : 0)));
        ASSERT_TRUE(reply);
        if (!*reply) break;
        if ((*reply)->fd >= 0) close((*reply)->fd);
      }
    }
  }
  EXPECT_TRUE(owner.Run()) << "and the device still works for its owner";
}

TEST(Devices, RefusesTooManyClients) {
  const std::string path = TempPath(".sock");
  Rig owner("systemc:tiny?listen=" + path);
  std::vector<Device> devices;
  while (devices.size() < 100) {
    auto device = Device::Open("socket:" + path);
    if (!device) {
      EXPECT_EQ(device.error().code, Code::kUnavailable);
      EXPECT_THAT(device.error().message, HasSubstr("clients already"));
      break;
    }
    devices.push_back(std::move(*device));
  }
  EXPECT_EQ(devices.size(), 15u);
  devices.pop_back();
  Result<Device> again = Fail(Code::kInternal, "");
  for (int i = 0; i < 100 && !again; ++i) {
    again = Device::Open("socket:" + path);
    if (!again) std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_TRUE(again) << "a place that became free is given again";
}

TEST(Devices, CustomConfigurationFiles) {
  const std::string path = TempPath(".yml");
  std::ofstream(path) << "arch: {n: 4, weight_rows: 2, ring_tiles: 32, acc_depth: 64, banks: 4, "
                         "bank_depth: 256, psets: 16,\n"
                         "       wrows: 64, read_bursts: 4, write_bursts: 2}\n"
                         "platform: {read_latency: 37}\n";
  Rig rig("systemc:" + path);
  EXPECT_EQ(rig.device.capabilities().arch.banks, 4);
  EXPECT_THAT(rig.device.capabilities().platform, HasSubstr("read_latency=37"));
  EXPECT_TRUE(rig.Run());
  const auto rtl = Device::Open("rtl:" + path);
  ASSERT_FALSE(rtl);
  EXPECT_EQ(rtl.error().code, Code::kNotFound);
  EXPECT_THAT(rtl.error().message, HasSubstr("octile-rtl-build " + path));
  EXPECT_THAT(rtl.error().message, HasSubstr("octile-device-rtl-"));
  fs::remove(path);
}

TEST(Devices, PathsInUrisAreEscaped) {
  const std::string path = TempPath(" a?b&c=50%25.yml");
  std::ofstream(path) << "arch: {n: 4, weight_rows: 2, ring_tiles: 32, acc_depth: 64, banks: 5, "
                         "bank_depth: 256, psets: 16,\n"
                         "       wrows: 64, read_bursts: 4, write_bursts: 2}\n";
  const auto opened = Device::Open("systemc:" + EscapeUri(path));
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(opened->capabilities().arch.banks, 5);
  EXPECT_FALSE(Device::Open("systemc:" + path));
  fs::remove(path);
}

TEST(Devices, AGivenDeviceProgramIsUsed) {
  const std::string program = FindDeviceProgram("octile-device-systemc");
  ASSERT_FALSE(program.empty());
  const std::string link = TempPath(" a device");
  fs::create_symlink(program, link);
  setenv("OCTILE_DEVICE_DIR", "/no/such/folder", 1);
  EXPECT_TRUE(Device::Open("systemc:tiny?program=" + EscapeUri(link)));
  fs::remove(link);
  const auto gone = Device::Open("systemc:tiny?program=" + EscapeUri(link));
  unsetenv("OCTILE_DEVICE_DIR");
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Code::kNotFound);
  EXPECT_THAT(gone.error().message, HasSubstr(link));
}

TEST(Devices, ProgramsThatAreNoDevices) {
  const std::string dir = TempPath("");
  fs::create_directory(dir);
  const std::string program = dir + "/octile-device-systemc";
  const auto install = [&](const std::string& script) {
    std::ofstream(program) << "#!/bin/sh\n" << script << "\n";
    chmod(program.c_str(), 0755);
  };
  setenv("OCTILE_DEVICE_DIR", dir.c_str(), 1);
  install("echo out of luck >&2; exit 3");
  auto device = Device::Open("systemc:tiny");
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().code, Code::kDeviceLost);
  EXPECT_THAT(device.error().message, HasSubstr("exit code 3"));
  EXPECT_THAT(device.error().message, HasSubstr("out of luck"));
  install("exec sleep 100");
  const auto start = Deadline::Clock::now();
  device = Device::Open("systemc:tiny", {.timeout = milliseconds(300)});
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().code, Code::kUnavailable);
  EXPECT_LT(Deadline::Clock::now() - start, seconds(5));
  unsetenv("OCTILE_DEVICE_DIR");
  fs::remove_all(dir);
  EXPECT_TRUE(Children().empty());
}

TEST(Devices, DeviceProgramsExplainTheirOptions) {
  const auto message = [](const std::string& uri) {
    const auto device = Device::Open(uri);
    if (device) return std::string("opened");
    // The user's mistake, not the device's.
    if (uri.find("listen") == std::string::npos)
      EXPECT_EQ(device.error().code, Code::kInvalidArgument) << uri;
    return device.error().message;
  };
  EXPECT_THAT(message("systemc:tiny?flip=5"), HasSubstr("[REGION:]OFFSET:BIT"));
  EXPECT_THAT(message("systemc:tiny?flip=9:5:1"), HasSubstr("region 9"));
  EXPECT_THAT(message("systemc:tiny?flip=5:9"), HasSubstr("bit 9"));
  EXPECT_THAT(message("systemc:tiny?irq=maybe"), HasSubstr("maybe"));
  EXPECT_THAT(message("systemc:tiny?hang=x"), HasSubstr("'x'"));
  EXPECT_THAT(message("systemc:tiny?memory=100"), HasSubstr("4096"));
  EXPECT_THAT(message("systemc:tiny?wave=a.fst"), HasSubstr("timing_only"));
  EXPECT_THAT(message("systemc:tiny?listen=/no/such/dir/x"), HasSubstr("/no/such/dir/x"));
  RegisterTestBackends();
  EXPECT_THAT(message("model:tiny?die=5"), HasSubstr("cannot die"));
  EXPECT_THAT(message("model:tiny?colour=red"), HasSubstr("colour"));
}

TEST(Devices, TimingOnlyKeepsTheCycles) {
  Rig full("systemc:tiny");
  Rig timing("systemc:tiny?timing_only=1");
  ASSERT_TRUE(full.Run());
  ASSERT_TRUE(timing.Run());
  EXPECT_EQ(*full.job.counters(), *timing.job.counters());
}

TEST(Devices, InProcessPlatformsTakeTheSameFaults) {
  Rig rig("model:tiny?flip=1:0:0");
  rig.SetInput(std::vector<uint8_t>(rig.bytes(), 0));
  ASSERT_TRUE(rig.Run());
  EXPECT_EQ(rig.Output()[0], 1);
  Rig hang("model:tiny?hang=30");
  SubmitOptions options;
  options.hang_timeout = milliseconds(300);
  EXPECT_EQ(hang.Run(options).error().code, Code::kHang);
  EXPECT_TRUE(hang.device.Reset(Soon()));
  EXPECT_TRUE(hang.Run());
}

}  // namespace
}  // namespace octile::driver
