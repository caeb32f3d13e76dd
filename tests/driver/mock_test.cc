// The driver over the mock transport: exact register sequences, every outcome of a job, deadlines,
// cancellation, reset.
#include "transport/mock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "octile/driver/device.h"
#include "octile/isa/registers.h"
#include "programs.h"

namespace octile::driver {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using Access = MockTransport::Access;

Deadline Soon() { return Deadline::After(seconds(10)); }

class MockTest : public testing::Test {
 protected:
  // Opens a device over a mock that the test keeps a hold of.
  void Open(const MockBehavior& behavior = {}, const OpenOptions& options = {}) {
    auto mock = std::make_unique<MockTransport>(config_);
    mock->set_behavior(behavior);
    mock_ = mock.get();
    auto box = std::make_shared<std::unique_ptr<Transport>>(std::move(mock));
    TransportBackend backend;
    backend.name = "test";
    backend.open = [box](const Uri&, Deadline) -> Result<std::unique_ptr<Transport>> {
      return std::move(*box);
    };
    RegisterBackend(backend);
    auto opened = Device::Open("test:x", options);
    ASSERT_TRUE(opened) << opened.error().message;
    device_ = std::move(*opened);
  }
  void Load() {
    auto loaded = device_.Load(CopyProgram(config_.arch));
    ASSERT_TRUE(loaded) << loaded.error().message;
    program_ = *loaded;
  }
  Result<void> RunOnce(const SubmitOptions& options = {}) {
    auto job = device_.Submit(program_, options);
    if (!job) return tl::unexpected(job.error());
    job_ = *job;
    return job_.Wait(Soon());
  }

  Config config_ = *LoadConfig("tiny");
  MockTransport* mock_ = nullptr;
  Device device_;
  ProgramHandle program_;
  Job job_;
};

TEST_F(MockTest, CapabilitiesComeFromTheRegisters) {
  Open();
  const Capabilities& c = device_.capabilities();
  EXPECT_EQ(c.arch, config_.arch);
  EXPECT_EQ(c.arch_hash, ArchHash(config_.arch));
  EXPECT_EQ(c.isa_version, isa::kVersion);
  EXPECT_EQ(c.memory_bytes, uint64_t{16} << 20);
  EXPECT_FALSE(c.observable);
  // Nothing but reads of the identification registers.
  const auto log = mock_->TakeLog();
  ASSERT_EQ(log.size(), 10u);
  for (size_t i = 0; i < log.size(); ++i) {
    EXPECT_EQ(log[i].kind, 'R');
    EXPECT_EQ(log[i].offset, 4 * i);
  }
}

TEST_F(MockTest, ExactSequenceOfAJob) {
  Open();
  Load();
  mock_->TakeLog();
  SubmitOptions options;
  options.watchdog_cycles = 4711;
  ASSERT_TRUE(RunOnce(options));
  std::vector<Access> expected{
      {'A'},
      {'S', 0, 3},
      {'W', regs::kIrqStatus, 3},
      {'W', regs::kIrqEnable, 3},
      {'W', regs::kProgramRegion, 0},
      {'W', regs::kProgramOffset, 0},
      {'W', regs::kProgramCount, 3},
      {'W', regs::kJobId, 1},
      {'W', regs::kWatchdog, 4711},
      {'W', regs::kControl, 1},
      {'I'},
      {'R', regs::kStatus, regs::kStatusDone.mask()},
      {'W', regs::kIrqStatus, 3},
      {'W', regs::kSnapshot, 1},
      {'R', regs::kCyclesLo, 1000},
      {'R', regs::kCyclesHi, 0},
  };
  for (int queue = 0; queue < isa::kQueues; ++queue)
    for (int k = 0; k < isa::kClasses; ++k) {
      expected.push_back(
          {'R', regs::Counter(queue, k), k == static_cast<int>(isa::Class::kIdle) ? 1000u : 0u});
      expected.push_back({'R', regs::Counter(queue, k) + 4, 0});
    }
  for (uint32_t offset = regs::kReadBytesFetchLo; offset <= regs::kRetiredHi; offset += 4)
    expected.push_back({'R', offset,
                        offset == regs::kReadBytesFetchLo ? 192u
                        : offset == regs::kRetiredLo      ? 2u
                                                          : 0u});
  for (uint32_t offset = regs::kFaultCause; offset <= regs::kFaultContext; offset += 4)
    expected.push_back({'R', offset, 0});
  expected.push_back({'L'});
  EXPECT_EQ(mock_->TakeLog(), expected);
}

TEST_F(MockTest, CountersAndWallTime) {
  Open({.job_time = milliseconds(20), .cycles = (uint64_t{7} << 32) + 5});
  Load();
  ASSERT_TRUE(RunOnce());
  const auto counters = job_.counters();
  ASSERT_TRUE(counters);
  EXPECT_EQ(counters->cycles, (uint64_t{7} << 32) + 5);
  for (const auto& row : counters->classes)
    EXPECT_EQ(row[static_cast<int>(isa::Class::kIdle)], counters->cycles);
  EXPECT_EQ(counters->retired, 2u);
  EXPECT_EQ(counters->bytes_fetch, 192u);
  EXPECT_GE(job_.wall_time(), milliseconds(20));
  EXPECT_FALSE(job_.fault());
  EXPECT_EQ(job_.observations().error().code, Code::kInvalidArgument);
}

TEST_F(MockTest, FaultIsReportedAndTheCoreResetForTheNextJob) {
  Open();
  Load();
  const auto out = *program_.region(kOutputRegion);
  ASSERT_TRUE(out.Fill(0));
  mock_->PushBehavior({.cycles = 33,
                       .fault = isa::Fault::kConflict,
                       .fault_instruction = 1,
                       .fault_instruction2 = 2,
                       .fault_address = 0x123456789a});
  mock_->TakeLog();
  const auto outcome = RunOnce();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kFault);
  EXPECT_THAT(outcome.error().message, HasSubstr("CONFLICT at instruction 1"));
  EXPECT_EQ(job_.Poll(), JobState::kFaulted);
  ASSERT_TRUE(job_.fault());
  EXPECT_EQ(*job_.fault(), (FaultReport{isa::Fault::kConflict, 1, 2, 0x123456789a, 0, job_.id()}));
  EXPECT_EQ(job_.counters()->cycles, 33u);
  // Outputs of a job that did not complete cannot be taken for results.
  const auto map = *out.Map();
  EXPECT_TRUE(std::all_of(map.begin(), map.end(), [](uint8_t b) { return b == 0xa5; }));
  ASSERT_TRUE(RunOnce());
  EXPECT_EQ(device_.state(), DeviceState::kReady);
  int resets = 0;
  for (const Access& a : mock_->TakeLog())
    if (a.kind == 'W' && a.offset == regs::kControl && a.value == regs::kControlSoftReset.mask())
      ++resets;
  EXPECT_EQ(resets, 1);
}

TEST_F(MockTest, EveryFaultCauseHasItsReport) {
  Open();
  Load();
  for (int cause = 1; cause <= static_cast<int>(isa::Fault::kFetchEnd); ++cause) {
    mock_->PushBehavior({.fault = static_cast<isa::Fault>(cause), .fault_instruction = 2});
    ASSERT_FALSE(RunOnce());
    ASSERT_TRUE(job_.fault());
    EXPECT_EQ(static_cast<int>(job_.fault()->cause), cause);
    EXPECT_EQ(job_.fault()->second_instruction, 0u);
  }
}

TEST_F(MockTest, InterruptsLostSpuriousDoubledAndLateComeOutRight) {
  Open();
  Load();
  const MockBehavior kinds[] = {
      {.job_time = milliseconds(5), .lose_interrupt = true},
      {.job_time = milliseconds(40), .spurious_interrupts = 50},
      {.job_time = milliseconds(5), .duplicate_interrupt = true},
      {.job_time = milliseconds(5), .interrupt_delay = milliseconds(400)}};
  const auto in = *program_.region(kInputRegion);
  const auto out = *program_.region(kOutputRegion);
  uint32_t seed = 0;
  for (int round = 0; round < 3; ++round)
    for (const MockBehavior& kind : kinds) {
      const auto data = Pattern(in.bytes(), ++seed);
      ASSERT_TRUE(in.Write(0, data));
      mock_->PushBehavior(kind);
      const auto start = Deadline::Clock::now();
      ASSERT_TRUE(RunOnce());
      EXPECT_LT(Deadline::Clock::now() - start, seconds(2));
      std::vector<uint8_t> result(data.size());
      ASSERT_TRUE(out.Read(0, result));
      EXPECT_EQ(result, data);
    }
}

TEST_F(MockTest, WaitTimesOutWithoutHarm) {
  Open({.job_time = milliseconds(300)});
  Load();
  auto job = device_.Submit(program_);
  ASSERT_TRUE(job);
  const auto start = Deadline::Clock::now();
  const auto early = job->Wait(Deadline::After(milliseconds(50)));
  const auto took = Deadline::Clock::now() - start;
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code, Code::kTimeout);
  EXPECT_GE(took, milliseconds(50));
  EXPECT_LT(took, milliseconds(200));
  EXPECT_EQ(job->Poll(), JobState::kRunning);
  EXPECT_EQ(job->counters().error().code, Code::kInvalidArgument);
  EXPECT_TRUE(job->Wait(Soon()));
  EXPECT_EQ(job->Poll(), JobState::kCompleted);
}

TEST_F(MockTest, JobsRunInOrderAndCallBack) {
  Open({.job_time = milliseconds(10)});
  Load();
  std::vector<int> order;
  std::vector<Job> jobs;
  for (int i = 0; i < 5; ++i) {
    SubmitOptions options;
    options.on_end = [&order, i] { order.push_back(i); };
    auto job = device_.Submit(program_, options);
    ASSERT_TRUE(job);
    jobs.push_back(*job);
  }
  ASSERT_TRUE(device_.Close(Soon()));
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 3, 4));
  for (const Job& job : jobs) EXPECT_EQ(job.Poll(), JobState::kCompleted);
}

TEST_F(MockTest, CancelsQueuedAndRunningJobs) {
  Open();
  Load();
  mock_->PushBehavior({.never_ends = true});
  auto running = device_.Submit(program_);
  auto queued = device_.Submit(program_);
  auto behind = device_.Submit(program_);
  ASSERT_TRUE(running && queued && behind);
  ASSERT_TRUE(queued->Cancel(Soon()));
  EXPECT_EQ(queued->Poll(), JobState::kCancelled);
  EXPECT_EQ(queued->Wait(Soon()).error().code, Code::kCancelled);
  while (running->Poll() == JobState::kQueued) std::this_thread::yield();
  EXPECT_FALSE(Ended(running->Poll()));
  const auto start = Deadline::Clock::now();
  ASSERT_TRUE(running->Cancel(Soon()));
  EXPECT_LT(Deadline::Clock::now() - start, milliseconds(500));
  EXPECT_EQ(running->Poll(), JobState::kCancelled);
  // The job behind it goes on.
  EXPECT_TRUE(behind->Wait(Soon()));
  EXPECT_TRUE(behind->Cancel(Soon()));  // ended: nothing to do
  EXPECT_EQ(behind->Poll(), JobState::kCompleted);
}

// A job that never started has written nothing: what its outputs hold belongs to another one.
TEST_F(MockTest, OnlyJobsThatStartedPoisonTheirOutputs) {
  Open();
  Load();
  const auto data = Pattern(program_.region(kInputRegion)->bytes(), 8);
  ASSERT_TRUE(program_.region(kInputRegion)->Write(0, data));
  mock_->PushBehavior({.job_time = milliseconds(200)});
  auto running = device_.Submit(program_);
  auto queued = device_.Submit(program_);
  ASSERT_TRUE(running && queued);
  while (running->Poll() == JobState::kQueued) std::this_thread::yield();
  ASSERT_TRUE(running->Wait(Soon()) && queued->Cancel(Soon()));
  mock_->PushBehavior({.never_ends = true});
  auto stuck = device_.Submit(program_);
  auto behind = device_.Submit(program_);
  ASSERT_TRUE(stuck && behind);
  while (stuck->Poll() == JobState::kQueued) std::this_thread::yield();
  const auto out = *program_.region(kOutputRegion)->Map();
  ASSERT_EQ(std::vector<uint8_t>(out.begin(), out.end()), data);
  ASSERT_TRUE(behind->Cancel(Soon()));
  EXPECT_EQ(std::vector<uint8_t>(out.begin(), out.end()), data);
  ASSERT_TRUE(stuck->Cancel(Soon()));
  EXPECT_TRUE(std::all_of(out.begin(), out.end(), [](uint8_t b) { return b == 0xa5; }));
}

// The hardware sees no progress inside an instruction of the vector unit.
TEST_F(MockTest, TheWatchdogLeavesLongInstructionsTheirTime) {
  Open();
  Program program = EmptyProgram(config_.arch, 256);
  isa::Lda load;
  load.region = kInputRegion;
  load.header.signal0 = isa::Semaphore(0);
  isa::Elt copy;
  copy.header.wait0 = isa::Semaphore(0);
  copy.mh = 4095;
  copy.mw = 64;
  copy.blocks = 60;
  copy.out_addr = config_.arch.bank_depth;
  copy.out_bank = 1;
  Finish(program, {load, copy, isa::End{}});
  const auto watchdog = [&](const SubmitOptions& options) {
    mock_->TakeLog();
    auto job = device_.Submit(program_, options);
    EXPECT_TRUE(job && job->Wait(Soon()));
    for (const Access& a : mock_->TakeLog())
      if (a.kind == 'W' && a.offset == regs::kWatchdog) return a.value;
    return 0xffffffffu;
  };
  Load();
  EXPECT_EQ(watchdog({}), 1'000'000u);
  auto loaded = device_.Load(program);
  ASSERT_TRUE(loaded) << loaded.error().message;
  program_ = *loaded;
  EXPECT_GT(watchdog({}), 4095u * 64 * 60 + 28);
  SubmitOptions options;
  options.watchdog_cycles = 99;
  EXPECT_EQ(watchdog(options), 99u);
}

TEST_F(MockTest, HangIsFoundAndNeedsAReset) {
  Open();
  Load();
  mock_->PushBehavior({.never_ends = true});
  SubmitOptions options;
  options.hang_timeout = milliseconds(300);
  const auto start = Deadline::Clock::now();
  const auto outcome = RunOnce(options);
  const auto took = Deadline::Clock::now() - start;
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kHang);
  EXPECT_GE(took, milliseconds(300));
  EXPECT_LT(took, milliseconds(1500));
  EXPECT_EQ(device_.state(), DeviceState::kNeedsReset);
  EXPECT_EQ(device_.Submit(program_).error().code, Code::kNeedsReset);
  ASSERT_TRUE(device_.Reset(Soon()));
  EXPECT_EQ(device_.state(), DeviceState::kReady);
  EXPECT_TRUE(RunOnce());
}

TEST_F(MockTest, ProgressIsNoHang) {
  Open();
  Load();
  mock_->PushBehavior({.job_time = milliseconds(1500), .progresses = true});
  SubmitOptions options;
  options.hang_timeout = milliseconds(300);
  EXPECT_TRUE(RunOnce(options));
}

TEST_F(MockTest, ResetIsHonest) {
  Open();
  Load();
  // The self-test's store writes wrong bytes.
  mock_->PushBehavior({.broken_store = true});
  auto reset = device_.Reset(Soon());
  ASSERT_FALSE(reset);
  EXPECT_EQ(reset.error().code, Code::kNeedsReset);
  EXPECT_THAT(reset.error().message, HasSubstr("self-test"));
  EXPECT_EQ(device_.state(), DeviceState::kNeedsReset);
  // It ends with a fault.
  mock_->PushBehavior({.fault = isa::Fault::kBusRead});
  reset = device_.Reset(Soon());
  ASSERT_FALSE(reset);
  EXPECT_THAT(reset.error().message, HasSubstr("BUS_READ"));
  // It does not end.
  mock_->PushBehavior({.never_ends = true});
  const auto start = Deadline::Clock::now();
  reset = device_.Reset(Deadline::After(milliseconds(200)));
  EXPECT_EQ(reset.error().code, Code::kTimeout);
  EXPECT_LT(Deadline::Clock::now() - start, milliseconds(1000));
  EXPECT_EQ(device_.state(), DeviceState::kNeedsReset);
  EXPECT_TRUE(device_.Reset(Soon()));
  EXPECT_EQ(device_.state(), DeviceState::kReady);
}

TEST_F(MockTest, ResetThatNeverLeavesResetting) {
  Open();
  Load();
  mock_->PushBehavior({.never_ends = true, .reset_stuck = true});
  auto job = device_.Submit(program_);
  ASSERT_TRUE(job);
  while (job->Poll() == JobState::kQueued) std::this_thread::yield();
  std::this_thread::sleep_for(milliseconds(20));
  const auto reset = device_.Reset(Deadline::After(milliseconds(300)));
  ASSERT_FALSE(reset);
  EXPECT_EQ(reset.error().code, Code::kTimeout);
  EXPECT_EQ(device_.state(), DeviceState::kNeedsReset);
}

TEST_F(MockTest, ResetEndsWhatRunsAndWaits) {
  Open();
  Load();
  mock_->PushBehavior({.never_ends = true});
  auto running = device_.Submit(program_);
  auto queued = device_.Submit(program_);
  ASSERT_TRUE(running && queued);
  while (running->Poll() == JobState::kQueued) std::this_thread::yield();
  ASSERT_TRUE(device_.Reset(Soon()));
  EXPECT_EQ(running->Wait(Soon()).error().code, Code::kCancelled);
  EXPECT_EQ(queued->Wait(Soon()).error().code, Code::kCancelled);
  EXPECT_TRUE(RunOnce());
}

TEST_F(MockTest, AThousandHangsAndResets) {
  Open();
  Load();
  for (int i = 0; i < 1000; ++i) {
    mock_->PushBehavior({.never_ends = true});
    auto job = device_.Submit(program_);
    ASSERT_TRUE(job);
    while (job->Poll() == JobState::kQueued) std::this_thread::yield();
    ASSERT_TRUE(device_.Reset(Soon())) << i;
    ASSERT_EQ(job->Poll(), JobState::kCancelled);
  }
  EXPECT_EQ(device_.state(), DeviceState::kReady);
}

TEST_F(MockTest, DeathAndSilenceAreErrorsWithADeadline) {
  Open({.die_at_start = true});
  Load();
  const auto outcome = RunOnce();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kDeviceLost);
  EXPECT_EQ(device_.state(), DeviceState::kLost);
  EXPECT_EQ(device_.Submit(program_).error().code, Code::kDeviceLost);
  EXPECT_EQ(device_.Reset(Soon()).error().code, Code::kDeviceLost);

  Open({.stop_answering_at_start = true}, {.answer_timeout = milliseconds(200)});
  Load();
  const auto start = Deadline::Clock::now();
  const auto silent = RunOnce();
  ASSERT_FALSE(silent);
  EXPECT_EQ(silent.error().code, Code::kDeviceLost);
  EXPECT_THAT(silent.error().message, HasSubstr("200 ms"));
  EXPECT_LT(Deadline::Clock::now() - start, seconds(2));
}

// Every access fails once; whatever the driver was doing, the result is an error and the next
// device works.
TEST_F(MockTest, EveryAccessFailsOnce) {
  int accesses = 0;
  for (bool clean = false; !clean; ++accesses) {
    ASSERT_LT(accesses, 1000);
    auto mock = std::make_unique<MockTransport>(config_);
    mock->set_behavior({.fail_access = accesses});
    auto box = std::make_shared<std::unique_ptr<Transport>>(std::move(mock));
    TransportBackend backend;
    backend.name = "failing";
    backend.open = [box](const Uri&, Deadline) -> Result<std::unique_ptr<Transport>> {
      return std::move(*box);
    };
    RegisterBackend(backend);
    auto device = Device::Open("failing:x");
    if (!device) {
      EXPECT_EQ(device.error().code, Code::kDeviceLost);
      continue;
    }
    auto program = device->Load(CopyProgram(config_.arch));
    ASSERT_TRUE(program);
    auto job = device->Submit(*program);
    ASSERT_TRUE(job);
    const auto outcome = job->Wait(Soon());
    if (!outcome) {
      EXPECT_EQ(outcome.error().code, Code::kDeviceLost) << accesses;
      EXPECT_EQ(device->Reset(Soon()).error().code, Code::kDeviceLost) << accesses;
      continue;
    }
    // The reset's own accesses come last.
    const auto reset = device->Reset(Soon());
    clean = reset.has_value();
    if (!reset) {
      EXPECT_EQ(reset.error().code, Code::kDeviceLost) << reset.error().message;
    }
  }
  EXPECT_GT(accesses, 300);
}

TEST_F(MockTest, StaleAndForeignHandles) {
  Buffer empty;
  EXPECT_EQ(empty.Map().error().code, Code::kStale);
  EXPECT_EQ(empty.Sub(0, 0).error().code, Code::kStale);
  EXPECT_EQ(Job().Wait(Soon()).error().code, Code::kStale);
  EXPECT_EQ(Job().Cancel(Soon()).error().code, Code::kStale);
  EXPECT_EQ(Device().Allocate(1).error().code, Code::kStale);
  EXPECT_EQ(Device().Reset(Soon()).error().code, Code::kStale);
  EXPECT_EQ(Device().state(), DeviceState::kClosed);

  Open();
  Load();
  EXPECT_EQ(device_.Submit(ProgramHandle()).error().code, Code::kStale);
  EXPECT_EQ(ProgramHandle().region(0).error().code, Code::kStale);
  auto other = Device::Open("mock:tiny");
  ASSERT_TRUE(other);
  EXPECT_EQ(other->Submit(program_).error().code, Code::kInvalidArgument);
  const auto foreign = *other->Allocate(65536);
  EXPECT_EQ(program_.Bind(kInputRegion, foreign).error().code, Code::kInvalidArgument);

  auto buffer = *device_.Allocate(100);
  Device moved = std::move(device_);
  EXPECT_EQ(device_.Submit(program_).error().code, Code::kStale);
  ASSERT_TRUE(buffer.Map());
  const auto bytes = *buffer.Map();
  ASSERT_TRUE(moved.Close(Soon()));
  EXPECT_EQ(moved.state(), DeviceState::kClosed);
  EXPECT_EQ(buffer.Map().error().code, Code::kStale);
  bytes[0] = 1;  // the memory lives as long as the handle
  EXPECT_EQ(moved.Submit(program_).error().code, Code::kStale);
  EXPECT_EQ(moved.Load(CopyProgram(config_.arch)).error().code, Code::kStale);
  EXPECT_TRUE(moved.Close(Soon()));
}

TEST_F(MockTest, BuffersCheckTheirRanges) {
  Open();
  auto a = device_.Allocate(100);
  auto b = device_.Allocate(5000);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->device_address() % Buffer::kAlignment, 0u);
  EXPECT_EQ(b->device_address() % Buffer::kAlignment, 0u);
  EXPECT_EQ(a->Map()->size(), 100u);
  const std::vector<uint8_t> data(50, 7);
  EXPECT_TRUE(a->Write(50, data));
  EXPECT_EQ(a->Write(51, data).error().code, Code::kInvalidArgument);
  EXPECT_EQ(a->Write(~uint64_t{0}, data).error().code, Code::kInvalidArgument);
  EXPECT_EQ(a->SyncFromDevice(0, 101).error().code, Code::kInvalidArgument);
  auto sub = a->Sub(40, 20);
  ASSERT_TRUE(sub);
  EXPECT_EQ((*sub->Map())[9], 0);
  EXPECT_EQ((*sub->Map())[10], 7);
  EXPECT_EQ(sub->device_address(), a->device_address() + 40);
  EXPECT_EQ(a->Sub(90, 11).error().code, Code::kInvalidArgument);
  EXPECT_EQ(device_.Allocate(0).error().code, Code::kInvalidArgument);
  const auto huge = device_.Allocate(uint64_t{16} << 20);
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().code, Code::kOutOfMemory);
  // All of it comes back, however it was handed out.
  for (int i = 0; i < 100; ++i) {
    auto big = device_.Allocate(uint64_t{15} << 20);
    ASSERT_TRUE(big) << i;
    (*big->Map())[12345] = 1;
  }
  EXPECT_EQ((*device_.Allocate(uint64_t{15} << 20)->Sub(12345, 1)->Map())[0], 0)
      << "memory is handed out zeroed";
}

TEST_F(MockTest, InvalidProgramsNeverReachTheDevice) {
  Open();
  mock_->TakeLog();
  auto check = [&](Program program, Code code, const char* text) {
    const auto loaded = device_.Load(program);
    ASSERT_FALSE(loaded) << text;
    EXPECT_EQ(loaded.error().code, code) << loaded.error().message;
    EXPECT_THAT(loaded.error().message, HasSubstr(text));
  };
  check(DeadlockProgram(config_.arch), Code::kProgramRejected, "semaphore");
  check(OutOfRegionProgram(config_.arch, 4096), Code::kProgramRejected, "region");
  Program program = CopyProgram(config_.arch);
  program.instructions[1].words[7] = 1;  // reserved bit
  check(program, Code::kProgramRejected, "instruction 1");
  program = CopyProgram(LoadConfig("small")->arch);
  check(program, Code::kIncompatible, "architecture");
  program = CopyProgram(config_.arch);
  program.isa_version = isa::kVersion + 1;
  const std::string later =
      std::to_string(isa::kVersionMajor) + "." + std::to_string(isa::kVersionMinor + 1);
  check(program, Code::kIncompatible, ("instruction set " + later).c_str());
  program = CopyProgram(config_.arch);
  program.regions[0].write = true;
  check(program, Code::kProgramRejected, "code");
  program = CopyProgram(config_.arch);
  program.instructions.pop_back();
  program.plan[0].count -= 1;
  check(program, Code::kProgramRejected, "END");
  EXPECT_TRUE(mock_->TakeLog().empty()) << "not one register access";
  // And nothing of them stays in memory.
  EXPECT_TRUE(device_.Allocate(uint64_t{15} << 20));
}

TEST_F(MockTest, SubmitTakesOnlyVerifiedRanges) {
  Open();
  Load();
  SubmitOptions options;
  options.first = 3;
  EXPECT_EQ(device_.Submit(program_, options).error().code, Code::kInvalidArgument);
  options.first = 0;
  options.count = 4;
  EXPECT_EQ(device_.Submit(program_, options).error().code, Code::kInvalidArgument);
  options.count = 2;
  EXPECT_EQ(device_.Submit(program_, options).error().code, Code::kInvalidArgument);
  options.count = 0;
  options.observe_trace = true;
  EXPECT_EQ(device_.Submit(program_, options).error().code, Code::kUnsupported);
}

TEST_F(MockTest, BindsBuffersOfTheUser) {
  Open();
  Load();
  const uint64_t bytes = program_.region(kInputRegion)->bytes();
  auto in = *device_.Allocate(bytes + 512);
  auto part = *in.Sub(256, bytes);
  ASSERT_TRUE(program_.Bind(kInputRegion, part));
  const auto data = Pattern(bytes, 3);
  ASSERT_TRUE(part.Write(0, data));
  ASSERT_TRUE(RunOnce());
  std::vector<uint8_t> result(bytes);
  ASSERT_TRUE(program_.region(kOutputRegion)->Read(0, result));
  EXPECT_EQ(result, data);
  EXPECT_EQ(program_.Bind(kInputRegion, *in.Sub(1, bytes)).error().code, Code::kInvalidArgument);
  EXPECT_EQ(program_.Bind(kInputRegion, *in.Sub(0, bytes - 1)).error().code,
            Code::kInvalidArgument);
  EXPECT_EQ(program_.Bind(0, in).error().code, Code::kInvalidArgument);
  EXPECT_EQ(program_.Bind(3, in).error().code, Code::kInvalidArgument);
  EXPECT_EQ(program_.Bind(-1, in).error().code, Code::kInvalidArgument);
}

TEST_F(MockTest, InstructionsAreSealed) {
  Open();
  Load();
  const auto code = *program_.region(0);
  EXPECT_TRUE(code.sealed());
  const std::vector<uint8_t> noise(64, 0xff);
  EXPECT_EQ(code.Write(0, noise).error().code, Code::kInvalidArgument);
  EXPECT_EQ(code.Fill(0).error().code, Code::kInvalidArgument);
  EXPECT_EQ(code.Map().error().code, Code::kInvalidArgument);
  EXPECT_EQ(code.Sub(0, 64)->Write(0, noise).error().code, Code::kInvalidArgument);
  // Another program's data region is no way in, either.
  auto second = device_.Load(CopyProgram(config_.arch, 4));
  ASSERT_TRUE(second);
  ASSERT_GE(code.bytes(), second->region(kOutputRegion)->bytes());
  for (const int region : {kInputRegion, kOutputRegion}) {
    const auto bound = second->Bind(region, code);
    ASSERT_FALSE(bound);
    EXPECT_EQ(bound.error().code, Code::kInvalidArgument);
    EXPECT_THAT(bound.error().message, HasSubstr("instructions"));
  }
  const Program program = CopyProgram(config_.arch);
  std::vector<uint8_t> read(64 * program.instructions.size());
  ASSERT_TRUE(code.Read(0, read));
  EXPECT_EQ(std::memcmp(read.data(), program.instructions.data(), read.size()), 0);
  EXPECT_FALSE(program_.region(kInputRegion)->sealed());
}

TEST_F(MockTest, RegionsOfAJobDoNotOverlapWhereOneIsWritten) {
  Open();
  Load();
  const uint64_t bytes = program_.region(kInputRegion)->bytes();
  const auto both = *device_.Allocate(2 * bytes + 256);
  const uint64_t next = (bytes + 255) / 256 * 256;
  const auto low = *both.Sub(0, bytes);
  const auto high = *both.Sub(next, bytes);
  ASSERT_TRUE(program_.Bind(kInputRegion, low));
  ASSERT_TRUE(program_.Bind(kOutputRegion, low));
  const auto submitted = device_.Submit(program_);
  ASSERT_FALSE(submitted);
  EXPECT_EQ(submitted.error().code, Code::kInvalidArgument);
  EXPECT_THAT(submitted.error().message, HasSubstr("regions 1 'in' and 2 'out'"));
  // A buffer beyond the region's bytes does not count.
  ASSERT_TRUE(program_.Bind(kInputRegion, both));
  ASSERT_TRUE(program_.Bind(kOutputRegion, high));
  EXPECT_TRUE(RunOnce());
  // Exchanged one by one.
  ASSERT_TRUE(program_.Bind(kInputRegion, high));
  ASSERT_TRUE(program_.Bind(kOutputRegion, low));
  EXPECT_TRUE(RunOnce());
}

TEST_F(MockTest, PoisonKeepsToTheRegion) {
  Open({.fault = isa::Fault::kRegion});
  Load();
  const uint64_t bytes = program_.region(kOutputRegion)->bytes();
  const auto large = *device_.Allocate(bytes + 4096);
  ASSERT_TRUE(large.Fill(0x33));
  ASSERT_TRUE(program_.Bind(kOutputRegion, large));
  EXPECT_EQ(RunOnce().error().code, Code::kFault);
  const auto map = *large.Map();
  EXPECT_TRUE(std::all_of(map.begin(), map.begin() + bytes, [](uint8_t b) { return b == 0xa5; }));
  EXPECT_TRUE(std::all_of(map.begin() + bytes, map.end(), [](uint8_t b) { return b == 0x33; }));
}

TEST_F(MockTest, DrainCloseTimesOutAndFastCloseDoesNotWait) {
  Open({.never_ends = true});
  Load();
  auto job = device_.Submit(program_);
  ASSERT_TRUE(job);
  auto start = Deadline::Clock::now();
  EXPECT_EQ(device_.Close(Deadline::After(milliseconds(100))).error().code, Code::kTimeout);
  EXPECT_LT(Deadline::Clock::now() - start, milliseconds(1000));
  EXPECT_TRUE(Ended(job->Poll()));
  EXPECT_FALSE(job->Wait(Soon()));

  Open({.never_ends = true});
  Load();
  job = device_.Submit(program_);
  ASSERT_TRUE(job);
  start = Deadline::Clock::now();
  device_ = Device();
  EXPECT_LT(Deadline::Clock::now() - start, milliseconds(1000));
  EXPECT_TRUE(Ended(job->Poll()));
}

TEST_F(MockTest, CallbackMayDropTheDevice) {
  Open({.job_time = milliseconds(20)});
  Load();
  std::atomic<bool> done{false};
  auto holder = std::make_shared<Device>(std::move(device_));
  SubmitOptions options;
  options.on_end = [&done, &holder] {
    holder.reset();
    done = true;
  };
  auto job = holder->Submit(program_, options);
  ASSERT_TRUE(job);
  for (int i = 0; i < 1000 && !done; ++i) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_TRUE(done);
  EXPECT_EQ(job->Poll(), JobState::kCompleted);
}

TEST_F(MockTest, ManyThreadsShareADevice) {
  Open();
  Load();
  std::atomic<int> completed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        auto job = device_.Submit(program_);
        if (job && job->Wait(Soon())) ++completed;
        auto buffer = device_.Allocate(10000);
        if (buffer) (void)buffer->Fill(1);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(completed, 400);
}

TEST(DeviceOpen, NamesWhatIsWrong) {
  const auto check = [](const char* uri, Code code, const char* text) {
    const auto device = Device::Open(uri);
    ASSERT_FALSE(device) << uri;
    EXPECT_EQ(device.error().code, code) << uri << ": " << device.error().message;
    EXPECT_THAT(device.error().message, HasSubstr(text)) << uri;
  };
  check("", Code::kInvalidArgument, "BACKEND:CONFIG");
  check("systemc", Code::kInvalidArgument, "BACKEND:CONFIG");
  check("fpga:base", Code::kNotFound, "no backend 'fpga'; there are");
  check("mock:huge", Code::kConfiguration, "huge");
  check("systemc:huge", Code::kConfiguration, "tiny");
  check("mock:tiny?what=1", Code::kInvalidArgument, "what");
  check("mock:tiny?memory", Code::kInvalidArgument, "memory");
  check("mock:tiny?memory=1&memory=2", Code::kInvalidArgument, "twice");
  check("mock:tiny?memory=%3x", Code::kInvalidArgument, "'%3x' is no escaped byte");
  check("mock:%", Code::kInvalidArgument, "'%' is no escaped byte");
  check("mock:%00", Code::kInvalidArgument, "'%00' is no escaped byte");
  check("mock:h%75ge", Code::kConfiguration, "no configuration 'huge'");
  check("mock:tiny?memory=x", Code::kInvalidArgument, "'x'");
  check("mock:tiny?memory=5000", Code::kInvalidArgument, "4096");
  check("mock:tiny?fault=OOPS", Code::kInvalidArgument, "OOPS");
  check("systemc:tiny?speed=9", Code::kInvalidArgument, "speed");
  check("systemc:tiny?read_latency=0", Code::kInvalidArgument, "read_latency");
  check("systemc:/no/such.yml", Code::kConfiguration, "/no/such.yml");
  check("socket:/no/such/socket", Code::kNotFound, "No such file");
  check("socket:", Code::kInvalidArgument, "path");
}

TEST(DeviceOpen, ErrorsBecomeOctileErrors) {
  EXPECT_EQ(AsOctileError({Code::kInvalidArgument, "x"}).code, ErrorCode::kUsage);
  EXPECT_EQ(AsOctileError({Code::kConfiguration, "x"}).code, ErrorCode::kProgram);
  EXPECT_EQ(AsOctileError({Code::kProgramRejected, "x"}).code, ErrorCode::kProgram);
  EXPECT_EQ(AsOctileError({Code::kIncompatible, "x"}).code, ErrorCode::kProgram);
  EXPECT_EQ(AsOctileError({Code::kHang, "x"}).code, ErrorCode::kDevice);
  EXPECT_EQ(AsOctileError({Code::kTimeout, "x"}).code, ErrorCode::kDevice);
  EXPECT_EQ(AsOctileError({Code::kInternal, "x"}).code, ErrorCode::kInternal);
  EXPECT_EQ(AsOctileError({Code::kFault, "text"}).message, "text");
  for (int code = 0; code <= static_cast<int>(Code::kInternal); ++code)
    EXPECT_NE(CodeName(static_cast<Code>(code)), "?");
}

TEST(DeviceOpen, EnumeratesBackendsAndConfigurations) {
  std::vector<std::string> uris;
  for (const DeviceInfo& info : Device::Enumerate()) uris.push_back(info.uri);
  for (const char* uri : {"mock:tiny", "systemc:base", "rtl:large"})
    EXPECT_NE(std::find(uris.begin(), uris.end(), uri), uris.end()) << uri;
  for (const std::string& uri : uris) EXPECT_FALSE(uri.starts_with("socket"));
}

}  // namespace
}  // namespace octile::driver
