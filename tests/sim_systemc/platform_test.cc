// The SystemC platform around the model: the same registers, cycles and results through TLM and the
// kernel's time.
#include "machine.h"

namespace octile {
namespace {

std::vector<isa::Instruction> Copies(int count) {
  isa::Elt e;
  e.mw = 500;
  e.a_x_step = 1;
  e.out_addr = 1024;
  e.out_bank = 1;
  isa::Lda l;
  l.region = 1;
  l.n0 = 500;
  l.header.signal0 = isa::Semaphore(0);
  isa::Sta s;
  s.region = 1;
  s.offset = 1 << 20;
  s.n0 = 500;
  s.buf_addr = 1024;
  s.buf_bank = 1;
  s.header.wait0 = isa::Semaphore(1);
  s.header.signal0 = isa::Semaphore(2);
  std::vector<isa::Instruction> program;
  for (int i = 0; i < count; ++i) {
    l.offset = i * 8000;
    s.offset = (1 << 20) + i * 8000;
    l.header.wait0 = i > 0 ? isa::Semaphore(2) : 0;
    e.header.wait0 = isa::Semaphore(0);
    e.header.signal0 = isa::Semaphore(1);
    program.push_back(isa::Encode(l));
    program.push_back(isa::Encode(e));
    program.push_back(isa::Encode(s));
  }
  return program;
}

// One elaboration per process: every test shares the device.
Machine& Kernel() {
  static Machine* machine = [] {
    auto device = systemc::MakeSystemcDevice({});
    EXPECT_TRUE(device.has_value());
    return new Machine(std::move(*device));
  }();
  return *machine;
}

TEST(Platform, EqualsTheModelAlone) {
  Machine& kernel = Kernel();
  Machine model;
  for (Machine* m : {&kernel, &model})
    for (int i = 0; i < 1 << 20; ++i) *m->data(i) = static_cast<uint8_t>(i * 77 >> 5);
  const auto program = Copies(20);
  for (uint32_t jitter : {0u, 37u}) {
    sim::MemoryProfile profile;
    profile.jitter = jitter;
    profile.ready_jitter = jitter / 4;
    for (Machine* m : {&kernel, &model}) m->device->SetMemoryProfile(profile);
    EXPECT_EQ(kernel.Run(program), model.Run(program));
    EXPECT_EQ(kernel.memory, model.memory);
  }
  kernel.device->SetMemoryProfile({});
}

TEST(Platform, RunStopsAtItsLimit) {
  Machine& m = Kernel();
  const auto program = Copies(8);
  const sim::Trace whole = m.Run(program);
  ASSERT_GT(whole.cycles, 5000u);
  m.Set(regs::kIrqStatus, 3);
  m.Set(regs::kControl, regs::kControlStart.mask());
  uint64_t total = 0;
  while (!m.device->Interrupt()) {
    const uint64_t step = m.device->Run(777);
    ASSERT_LE(step, 777u);
    ASSERT_GT(step, 0u);
    total += step;
    // Snapshots of a running job never disturb it.
    m.Set(regs::kSnapshot, 1);
    if (!m.device->Interrupt()) {
      EXPECT_EQ(m.Get64(regs::kCyclesLo), total - 1);  // cycle 0 follows the start
    }
  }
  EXPECT_EQ(m.device->trace(), whole);
  m.Set(regs::kSnapshot, 1);
  EXPECT_EQ(m.Get64(regs::kCyclesLo), whole.cycles);
  EXPECT_EQ(m.Get64(regs::kRetiredLo), 24u);
  EXPECT_EQ(m.Get64(regs::kWrittenBytesLo), 8u * 8000);
  for (int q = 0; q < sim::kQueues; ++q)
    for (int c = 0; c < sim::kClasses; ++c)
      EXPECT_EQ(m.Get64(regs::Counter(q, c)), whole.classes[q][c]);
}

TEST(Platform, BusAnswersErrors) {
  Machine& m = Kernel();
  uint32_t value = 0;
  EXPECT_FALSE(m.device->ReadRegister(0x3c, &value));
  EXPECT_FALSE(m.device->WriteRegister(regs::kId, 1));
  EXPECT_EQ(m.Get(regs::kId), regs::kIdReset);
  m.Set(regs::kIrqStatus, 3);
  m.Set(regs::kProgramCount, 1);
  m.Set(regs::kControl, regs::kControlStart.mask());
  EXPECT_FALSE(m.device->WriteRegister(regs::kProgramCount, 2));  // locked while running
  EXPECT_FALSE(m.device->WriteRegister(regs::kControl, regs::kControlStart.mask()));
  m.Set(regs::kControl, regs::kControlSoftReset.mask());
  EXPECT_EQ(m.Get(regs::kStatus), regs::kStatusResetting.mask());
  m.device->Run(~uint64_t{0});
  EXPECT_EQ(m.Get(regs::kStatus), regs::kStatusIdle.mask());
}

TEST(Platform, SecondElaborationIsAnError) {
  Kernel().Run({});
  const auto second = systemc::MakeSystemcDevice({});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kDevice);
}

// Memory latency changes cycles, never results; without data movement the cycles stay the same.
TEST(Profiles, ResultsDoNotDependOnLatency) {
  Machine base;
  for (int i = 0; i < 1 << 20; ++i) *base.data(i) = static_cast<uint8_t>(i * 77 >> 5);
  const std::vector<uint8_t> before = base.memory;
  const auto program = Copies(30);
  const sim::Trace reference = base.Run(program);
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    sim::DeviceOptions o;
    o.memory.seed = seed;
    o.memory.read_latency = 1 + seed * 13 % 200;
    o.memory.write_latency = 1 + seed * 7 % 90;
    o.memory.beat_interval = 1 + seed % 3;
    o.memory.jitter = seed * 5 % 64;
    o.memory.ready_jitter = seed % 9;
    o.memory.refresh_period = seed % 2 ? 700 : 0;
    o.memory.refresh_cycles = 60;
    Machine m(o);
    m.memory = before;
    m.device->SetMemory(m.memory);
    const sim::Trace t = m.Run(program);
    ExpectConserved(t);
    EXPECT_EQ(t.fault.cause, 0u);
    EXPECT_EQ(t.retired, reference.retired);
    EXPECT_EQ(t.bytes, reference.bytes);
    EXPECT_EQ(m.memory, base.memory) << seed;

    o.timing_only = true;
    Machine fast(o);
    EXPECT_EQ(fast.Run(program), t) << seed;
  }
}

}  // namespace
}  // namespace octile
