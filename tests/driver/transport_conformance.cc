// What every transport must do, whatever is behind it.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "backends.h"
#include "octile/isa/registers.h"
#include "programs.h"
#include "transport/observation_block.h"
#include "transport/transport.h"

namespace octile::driver {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Conformance : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    backend_ = std::make_unique<TestBackend>(GetParam());
    transport_ = OpenTransport();
    ASSERT_NE(transport_, nullptr);
    arch_ = LoadConfig("tiny")->arch;
  }
  // The device before the listening process that serves it.
  void TearDown() override { transport_.reset(); }

  std::unique_ptr<Transport> OpenTransport() {
    const Deadline deadline = Deadline::After(seconds(20));
    const auto uri = ParseUri(backend_->uri());
    EXPECT_TRUE(uri) << uri.error().message;
    for (const TransportBackend& b : Backends()) {
      if (b.name != uri->backend) continue;
      auto opened = b.open(*uri, deadline);
      EXPECT_TRUE(opened) << opened.error().message;
      return opened ? std::move(*opened) : nullptr;
    }
    ADD_FAILURE() << "no backend " << uri->backend;
    return nullptr;
  }

  static Deadline Soon() { return Deadline::After(seconds(20)); }

  // Puts code and operands of a program into memory and binds its regions from byte 0 on.
  void Place(const Program& program) {
    std::vector<RegionWindow> windows;
    uint64_t at = 0;
    for (const Region& region : program.regions) {
      windows.push_back({transport_->info().memory_base + at, region.size, region.read,
                         region.write, region.execute});
      at += (region.size + 4095) / 4096 * 4096;
    }
    ASSERT_LE(at, transport_->memory().size());
    std::memcpy(transport_->memory().data(), program.instructions.data(),
                64 * program.instructions.size());
    const auto set = transport_->SetRegions(windows, Soon());
    ASSERT_TRUE(set) << set.error().message;
  }
  uint8_t* input() { return transport_->memory().data() + 4096; }
  uint8_t* output() { return transport_->memory().data() + 8192; }

  void Write(uint32_t offset, uint32_t value) {
    const auto written = transport_->Write(offset, value, Soon());
    ASSERT_TRUE(written) << written.error().message;
  }
  uint32_t Read(uint32_t offset) {
    const auto value = transport_->Read(offset, Soon());
    EXPECT_TRUE(value) << value.error().message;
    return value.value_or(0xdeadbeef);
  }
  void Start(uint32_t count) {
    Write(regs::kIrqStatus, 3);
    Write(regs::kIrqEnable, 3);
    Write(regs::kProgramCount, count);
    Write(regs::kControl, regs::kControlStart.mask());
  }
  // STATUS once the job has ended, after its interrupt.
  uint32_t AwaitInterrupt() {
    const auto interrupt = transport_->WaitInterrupt(Soon());
    EXPECT_TRUE(interrupt) << interrupt.error().message;
    EXPECT_TRUE(interrupt && *interrupt) << "no interrupt within the deadline";
    return Read(regs::kStatus);
  }

  std::unique_ptr<TestBackend> backend_;
  std::unique_ptr<Transport> transport_;
  ArchConfig arch_;
};

TEST_P(Conformance, IdentifiesItselfWithoutAcquiring) {
  EXPECT_EQ(Read(regs::kId), regs::kIdReset);
  EXPECT_EQ(Read(regs::kIsaVersion), isa::kVersion);
  const uint64_t hash = ArchHash(arch_);
  std::array<uint32_t, 2> words{};
  ASSERT_TRUE(transport_->ReadBlock(regs::kArchHashLo, words, Soon()));
  EXPECT_EQ(uint64_t{words[1]} << 32 | words[0], hash);
  EXPECT_EQ(regs::kCap0N.get(Read(regs::kCap0)), static_cast<uint32_t>(arch_.n));
  EXPECT_FALSE(transport_->memory().empty());
  EXPECT_EQ(transport_->info().config, "tiny");
}

TEST_P(Conformance, RefusesRegistersWithoutAcquiring) {
  EXPECT_EQ(transport_->Read(regs::kStatus, Soon()).error().code, Code::kInvalidArgument);
  EXPECT_EQ(transport_->Write(regs::kJobId, 1, Soon()).error().code, Code::kInvalidArgument);
  EXPECT_EQ(transport_->SetRegions({}, Soon()).error().code, Code::kInvalidArgument);
  ASSERT_TRUE(transport_->Acquire(Soon()));
  Write(regs::kJobId, 77);
  EXPECT_EQ(Read(regs::kJobId), 77u);
  ASSERT_TRUE(transport_->Release(Soon()));
  EXPECT_EQ(transport_->Read(regs::kJobId, Soon()).error().code, Code::kInvalidArgument);
}

TEST_P(Conformance, KeepsTheSupervisorPageFromClients) {
  ASSERT_TRUE(transport_->Acquire(Soon()));
  EXPECT_EQ(transport_->Write(regs::RegionLimit(0), 0xffffffff, Soon()).error().code,
            Code::kInvalidArgument);
  EXPECT_EQ(transport_->Read(regs::RegionBaseLo(0), Soon()).error().code, Code::kInvalidArgument);
  const uint64_t base = transport_->info().memory_base;
  const uint64_t bytes = transport_->memory().size();
  for (const RegionWindow& window : {RegionWindow{base + bytes - 256, 512, true, true, false},
                                     RegionWindow{base + bytes + 4096, 256, true, true, false},
                                     RegionWindow{~uint64_t{0} - 255, 256, true, true, false}})
    EXPECT_EQ(transport_->SetRegions({&window, 1}, Soon()).error().code, Code::kInvalidArgument);
}

TEST_P(Conformance, PassesBusErrorsOn) {
  ASSERT_TRUE(transport_->Acquire(Soon()));
  EXPECT_EQ(transport_->Write(regs::kId, 1, Soon()).error().code, Code::kInvalidArgument);
  EXPECT_EQ(transport_->Read(0x00f0, Soon()).error().code, Code::kInvalidArgument);
  // The connection survives it.
  EXPECT_EQ(Read(regs::kId), regs::kIdReset);
}

TEST_P(Conformance, RunsAJobAndInterrupts) {
  const Program program = CopyProgram(arch_);
  ASSERT_TRUE(transport_->Acquire(Soon()));
  Place(program);
  const auto pattern = Pattern(static_cast<size_t>(8 * arch_.n));
  std::copy(pattern.begin(), pattern.end(), input());
  for (int run = 0; run < 3; ++run) {
    std::fill_n(output(), pattern.size(), 0);
    Start(static_cast<uint32_t>(program.instructions.size()));
    EXPECT_EQ(AwaitInterrupt(), regs::kStatusDone.mask());
    EXPECT_EQ(Read(regs::kIrqStatus), regs::kIrqStatusDone.mask());
    Write(regs::kIrqStatus, regs::kIrqStatusDone.mask());
    EXPECT_EQ(Read(regs::kIrqStatus), 0u);
    EXPECT_TRUE(std::equal(pattern.begin(), pattern.end(), output()));
    Write(regs::kSnapshot, 1);
    EXPECT_EQ(Read(regs::kRetiredLo), 2u);
  }
  ASSERT_TRUE(transport_->Release(Soon()));
}

TEST_P(Conformance, WaitForInterruptKeepsItsDeadline) {
  ASSERT_TRUE(transport_->Acquire(Soon()));
  const auto start = Deadline::Clock::now();
  const auto waited = transport_->WaitInterrupt(Deadline::After(milliseconds(50)));
  const auto took = Deadline::Clock::now() - start;
  ASSERT_TRUE(waited);
  EXPECT_FALSE(*waited);
  EXPECT_GE(took, milliseconds(50));
  EXPECT_LT(took, milliseconds(1000));
}

TEST_P(Conformance, WakeEndsAWait) {
  std::thread waker([this] {
    std::this_thread::sleep_for(milliseconds(30));
    transport_->Wake();
  });
  const auto start = Deadline::Clock::now();
  const auto waited = transport_->WaitInterrupt(Soon());
  waker.join();
  ASSERT_TRUE(waited);
  EXPECT_FALSE(*waited);
  EXPECT_LT(Deadline::Clock::now() - start, seconds(5));
}

TEST_P(Conformance, SoftResetReachesIdle) {
  ASSERT_TRUE(transport_->Acquire(Soon()));
  Write(regs::kControl, regs::kControlSoftReset.mask());
  uint32_t status = 0;
  for (int i = 0; i < 10000 && status != regs::kStatusIdle.mask(); ++i) {
    status = Read(regs::kStatus);
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_EQ(status, regs::kStatusIdle.mask());
}

TEST_P(Conformance, ObservesWhenItCan) {
  if (!transport_->info().observable) {
    EXPECT_EQ(transport_->TakeObservations(Soon()).error().code, Code::kUnsupported);
    return;
  }
  const int beats = 8;
  const Program program = VectorCopyProgram(arch_, beats);
  ASSERT_TRUE(transport_->Acquire(Soon()));
  Place(program);
  const auto pattern = Pattern(static_cast<size_t>(beats * arch_.n), 5);
  std::copy(pattern.begin(), pattern.end(), input());
  ASSERT_TRUE(transport_->SetObserve({true, true}, Soon()));
  Start(static_cast<uint32_t>(program.instructions.size()));
  EXPECT_EQ(AwaitInterrupt(), regs::kStatusDone.mask());
  auto block = transport_->TakeObservations(Soon());
  ASSERT_TRUE(block) << block.error().message;
  const auto o = ParseObservations(block->storage, block->bytes, 100);
  ASSERT_TRUE(o) << o.error().message;
  ASSERT_EQ(o->issue.size(), 4u);
  ASSERT_EQ(o->results.size(), 1u);
  EXPECT_EQ(o->results[0].instruction, 101u);
  EXPECT_TRUE(std::equal(o->results[0].data.begin(), o->results[0].data.end(), pattern.begin(),
                         pattern.end()));
  ASSERT_EQ(o->results[0].addresses.size(), static_cast<size_t>(beats));
  for (int i = 0; i < beats; ++i)
    EXPECT_EQ(o->results[0].addresses[static_cast<size_t>(i)],
              static_cast<uint32_t>(arch_.bank_depth + i));
  if (!transport_->info().cycle_exact) return;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NE(o->issue[i], kNever);
    EXPECT_GT(o->completion[i], o->issue[i]);
  }
  EXPECT_EQ(o->issue[3], kNever);  // END
  EXPECT_EQ(o->completion[1] - o->issue[1],
            static_cast<uint64_t>(beats) + 28);  // docs/timing.md section 8
  ASSERT_EQ(o->layers.size(), 1u);
  EXPECT_EQ(o->layers[0].layer, 3u);
  Write(regs::kSnapshot, 1);
  EXPECT_EQ(o->layers[0].cycles, Read(regs::kCyclesLo));
}

TEST_P(Conformance, AfterCloseEverythingFailsAndMemoryStays) {
  transport_->memory()[5] = 42;
  transport_->Close(Deadline::After(seconds(5)));
  EXPECT_EQ(transport_->Read(regs::kId, Soon()).error().code, Code::kDeviceLost);
  EXPECT_EQ(transport_->Write(regs::kJobId, 0, Soon()).error().code, Code::kDeviceLost);
  EXPECT_EQ(transport_->Acquire(Soon()).error().code, Code::kDeviceLost);
  EXPECT_EQ(transport_->WaitInterrupt(Soon()).error().code, Code::kDeviceLost);
  EXPECT_EQ(transport_->memory()[5], 42);
}

INSTANTIATE_TEST_SUITE_P(All, Conformance, testing::ValuesIn(TestBackend::Names()),
                         [](const testing::TestParamInfo<std::string>& info) {
                           return info.param;
                         });

}  // namespace
}  // namespace octile::driver
