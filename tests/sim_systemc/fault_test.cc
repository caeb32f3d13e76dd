// Every cause of docs/timing.md section 10 with instruction, address and cycle; timing as in
// timing_test.cc (instruction k of the first four: visible in the FIFO in 106 + 4k, at the queue's
// head in 107 + 4k).
#include "machine.h"

namespace octile {
namespace {

using isa::Fault;

void ExpectFault(const sim::Trace& t, Fault cause, uint32_t instruction, uint64_t cycle,
                 uint64_t address = 0, uint32_t second = 0) {
  EXPECT_EQ(isa::FaultName(static_cast<Fault>(t.fault.cause)), isa::FaultName(cause));
  EXPECT_EQ(t.fault.instruction, instruction);
  EXPECT_EQ(t.fault.cycle, cycle);
  EXPECT_EQ(t.fault.address, address);
  EXPECT_EQ(t.fault.second, second);
  ExpectConserved(t);
}

isa::Lda Load(uint32_t offset, int vectors, int bank) {
  isa::Lda l;
  l.region = 1;
  l.offset = offset;
  l.n0 = vectors;
  l.buf_addr = bank * 1024;
  l.buf_bank = bank;
  return l;
}

isa::Sta Store(uint32_t offset, int vectors, int bank) {
  isa::Sta s;
  s.region = 1;
  s.offset = offset;
  s.n0 = vectors;
  s.buf_addr = bank * 1024;
  s.buf_bank = bank;
  return s;
}

isa::Elt Copy(int count, int from_bank, int to_bank) {
  isa::Elt e;
  e.mw = count;
  e.a_x_step = 1;
  e.a_addr = from_bank * 1024;
  e.in_bank = from_bank;
  e.out_addr = to_bank * 1024;
  e.out_bank = to_bank;
  return e;
}

TEST(Faults, IllegalIsPrecise) {
  Machine m;
  isa::Instruction bad;
  bad.words[0] = 63;
  // The copy of instruction 0 (107 + 100 + 28 = 235) still completes, then the job ends as END
  // would.
  std::vector<isa::Instruction> program = {isa::Encode(Copy(100, 0, 1)), bad,
                                           isa::Encode(Copy(1, 0, 1))};
  const auto& t = m.Run(program);
  ExpectFault(t, Fault::kIllegal, 1, 110);
  EXPECT_EQ(t.completion[0], 235u);
  EXPECT_EQ(t.issue[2], sim::kNever);
  EXPECT_EQ(t.cycles, 237u);
  EXPECT_EQ(m.Get(regs::kStatus), regs::kStatusFaulted.mask());
  EXPECT_EQ(m.Get(regs::kFaultInstruction), 1u);
}

TEST(Faults, ReservedOpcodesAreIllegal) {
  for (const isa::ReservedOpcode& r : isa::ReservedOpcodes()) {
    Machine m;
    isa::Instruction bad;
    bad.words[0] = r.opcode;
    const auto& t = m.Run({bad});
    ExpectFault(t, Fault::kIllegal, 0, 106);
    EXPECT_EQ(t.cycles, 107u);  // nothing older: it ends at once
  }
}

TEST(Faults, FetchEnd) {
  Machine m;
  const auto& t = m.Run(Program(isa::Sync{}), false);
  // Dispatched in 106; FIFO empty from 107 on, SYNC at the head in 107 and in flight in 108.
  ExpectFault(t, Fault::kFetchEnd, 1, 107);
  EXPECT_EQ(t.cycles, 110u);
  Machine empty;
  ExpectFault(empty.Run({}, false), Fault::kFetchEnd, 0, 0);
  EXPECT_EQ(empty.device->trace().cycles, 1u);
}

TEST(Faults, Operand) {
  auto expect = [](const isa::Instruction& i) {
    Machine m;
    const auto& t = m.Run({i});
    ExpectFault(t, Fault::kOperand, 0, 107);
    EXPECT_EQ(t.cycles, 108u);
    EXPECT_EQ(t.issue[0], sim::kNever);
  };
  isa::Lda l = Load(8, 1, 0);
  expect(isa::Encode(l));
  l = Load(0, 1, 0);
  l.mem_stride2 = 4;
  expect(isa::Encode(l));
  l = Load(0, 1, 23);
  l.buf_banks = 1;
  expect(isa::Encode(l));
  l = Load(0, 1, 0);
  l.buf_wrap = 4;
  l.buf_stride1 = 4;
  expect(isa::Encode(l));
  isa::Ldp p;
  p.region = 1;
  p.target = isa::LdpTarget::kExeSet;
  p.index = 127;
  p.count = 2;
  expect(isa::Encode(p));
  p.target = isa::LdpTarget::kVecTable;
  p.index = 4;
  p.count = 1;
  expect(isa::Encode(p));
  isa::Mma a;
  a.mh = 32;
  a.mw = 32;
  a.acc_base = 1;
  expect(isa::Encode(a));
  a = isa::Mma();
  a.raw = a.table = true;
  expect(isa::Encode(a));
  isa::Win w;
  w.pset = 127;
  w.blocks = 2;
  w.out_bank = 1;
  expect(isa::Encode(w));
  w.pset = 0;
  w.wrow = 255;
  expect(isa::Encode(w));
  isa::Pack k;
  k.in_off = 16;
  expect(isa::Encode(k));
}

TEST(Faults, RegionOfLoadFetchAndStore) {
  {
    Machine m;
    // The second burst of the load leaves the region; picked in 109.
    ExpectFault(m.Run(Program(Load(kDataBytes - 256, 32, 0))), Fault::kRegion, 0, 109, kDataBytes);
  }
  {
    Machine m;
    m.SetRegion(1, kDataBase, kDataBytes, regs::kRegionPermWrite.mask());
    ExpectFault(m.Run(Program(Load(512, 1, 0))), Fault::kRegion, 0, 108, 512);
  }
  {
    Machine m;
    m.SetRegion(1, kDataBase, kDataBytes, regs::kRegionPermRead.mask());
    ExpectFault(m.Run(Program(Store(512, 1, 0))), Fault::kRegion, 0, 108, 512);
  }
  {
    Machine m;
    m.SetRegion(0, 0, kProgramBytes, regs::kRegionPermRead.mask());
    ExpectFault(m.Run({}), Fault::kRegion, 0, 0, 0);
    EXPECT_EQ(m.Get(regs::kFaultCause), static_cast<uint32_t>(Fault::kRegion));
  }
}

TEST(Faults, ClaimOfLoadAndStore) {
  {
    Machine m;
    isa::Lda l = Load(0, 20, 0);
    l.buf_addr = 1020;  // beat 4 reaches bank 1
    ExpectFault(m.Run(Program(l)), Fault::kClaim, 0, 209 + 4 + 1, 1024);
  }
  {
    Machine m;
    isa::Sta s = Store(0, 20, 0);
    s.buf_addr = 1020;
    ExpectFault(m.Run(Program(s)), Fault::kClaim, 0, 108 + 4 + 1, 1024);
  }
}

TEST(Faults, ClaimOfMatrixUnit) {
  auto program = [](const isa::Mma& m) {
    isa::Ldw w;
    w.region = 1;
    w.tiles = 2;
    return Program(w, m);
  };
  isa::Mma base;
  base.mw = 8;
  base.blocks = 2;
  base.in_w = 100;
  base.init = true;
  {
    Machine m;
    isa::Mma a = base;
    a.in_blk_stride = 1020;  // the fifth vector of the second tile
    // Second tile: visible 242, loaded 246.
    ExpectFault(m.Run(program(a)), Fault::kClaim, 1, 246 + 4 + 1, 1024);
  }
  {
    Machine m;
    isa::Mma a = base;
    a.in_addr = 1022;
    a.in_blk_stride = 0xfc00;  // modulo 2^16: back to vector -2
    ExpectFault(m.Run(program(a)), Fault::kClaim, 1, 230 + 2 + 1, 1024);
  }
  {
    Machine m;
    isa::Mma a = base;
    a.emit = true;
    a.out_bank = 1;
    a.out_addr = 2043;
    ExpectFault(m.Run(program(a)), Fault::kClaim, 1, 246 + 5 + 1, 2048);
  }
  {
    Machine m;
    isa::Mma a = base;
    a.emit = a.raw = true;
    a.out_bank = 1;
    a.out_addr = 2048 - 9;  // position 2, its second of four vectors
    ExpectFault(m.Run(program(a)), Fault::kClaim, 1, 246 + 2 * 4 + 1, 2048);
  }
  {
    Machine m;
    isa::Mma a = base;
    a.emit = a.residual = true;
    a.out_bank = 1;
    a.out_addr = 1024;
    a.b_bank = 2;
    a.res_addr = 2047;
    ExpectFault(m.Run(program(a)), Fault::kClaim, 1, 246 + 0 + 1, 2047);
  }
}

TEST(Faults, ClaimOfVectorUnit) {
  {
    Machine m;
    isa::Elt e = Copy(10, 0, 1);
    e.a_addr = 1020;
    ExpectFault(m.Run(Program(e)), Fault::kClaim, 0, 108 + 4 + 1, 1024);
  }
  {
    Machine m;
    isa::Elt e = Copy(10, 0, 1);
    e.out_addr = 2040;
    ExpectFault(m.Run(Program(e)), Fault::kClaim, 0, 108 + 8 + 1, 2048);
  }
  {
    Machine m;
    isa::Win w;
    w.mode = isa::WinMode::kMax;
    w.kw = 3;
    w.mw = 4;
    w.in_w = 6;
    w.out_bank = 1;
    w.out_addr = 2046;
    // By columns of one vector: the third output follows column 4.
    ExpectFault(m.Run(Program(w)), Fault::kClaim, 0, 108 + 5 + 1, 2048);
  }
  {
    Machine m;
    isa::Win w;
    w.mode = isa::WinMode::kMax;
    w.kw = 3;
    w.dil_x = 2;
    w.mw = 4;
    w.in_w = 8;
    w.out_bank = 1;
    w.out_addr = 2046;  // tap by tap; the third output: last tap in cycle 8 of the read phase
    ExpectFault(m.Run(Program(w)), Fault::kClaim, 0, 108 + 8 + 1, 2048);
  }
  isa::Pack p;
  p.kw = 3;
  p.mw = 20;
  p.in_w = 22;
  p.in_pitch = 22;
  p.out_bank = 1;
  p.out_addr = 1024;
  {
    Machine m;
    isa::Pack q = p;
    q.out_addr = 2048 - 18;  // group 1 writes in the cycles behind the second window: 2 * 16
                             // cycles, its third vector
    ExpectFault(m.Run(Program(q)), Fault::kClaim, 0, 108 + 32 + 2 + 1, 2048);
  }
  {
    Machine m;
    isa::Pack q = p;
    q.in_addr = 1023;
    // Lane 0 reads vectors 0 and 1 of the row: the second one is bank 1.
    ExpectFault(m.Run(Program(q)), Fault::kClaim, 0, 108 + 1 + 1, 1024);
  }
}

TEST(Faults, Conflict) {
  {
    Machine m;  // ACT writes bank 1 while VEC does
    // The copy issues in 107; the load is at its head in 111.
    ExpectFault(m.Run(Program(Copy(100, 0, 1), Load(0, 1, 1))), Fault::kConflict, 1, 111, 0, 0);
  }
  {
    Machine m;  // a store reads what the copy reads
    ExpectFault(m.Run(Program(Copy(100, 0, 1), Store(0, 1, 0))), Fault::kConflict, 1, 111, 0, 0);
  }
  {
    Machine m;  // its own streams
    isa::Elt e = Copy(4, 0, 1);
    e.mode = isa::EltMode::kAdd;
    ExpectFault(m.Run(Program(e)), Fault::kConflict, 0, 107, 0, 0);
  }
  {
    Machine m;  // reading and writing one bank is no conflict
    EXPECT_EQ(m.Run(Program(Copy(100, 0, 1), Load(0, 1, 0))).fault.cause, 0u);
  }
}

TEST(Faults, Semaphore) {
  Machine m;
  std::vector<isa::Instruction> program;
  isa::Sync s;
  s.header.signal0 = isa::Semaphore(7);
  for (int i = 0; i < 256; ++i) program.push_back(isa::Encode(s));
  const auto& t = m.Run(program);
  EXPECT_EQ(t.fault.cause, static_cast<uint32_t>(Fault::kSemaphore));
  EXPECT_EQ(t.fault.instruction, 255u);
  EXPECT_EQ(t.fault.address, 7u);
  EXPECT_EQ(t.fault.cycle, t.completion[255]);
  ExpectConserved(t);
}

TEST(Faults, Bus) {
  {
    Machine m;
    m.device->InjectBusError(sim::Direction::kRead, 1);  // 0 is the fetch
    ExpectFault(m.Run(Program(Load(768, 1, 0))), Fault::kBusRead, 0, 210, kDataBase + 768);
  }
  {
    Machine m;
    m.device->InjectBusError(sim::Direction::kWrite, 0);
    // Read 108, full 111, picked 111, data 112, response 162.
    ExpectFault(m.Run(Program(Store(768, 1, 0))), Fault::kBusWrite, 0, 163, kDataBase + 768);
  }
  {
    Machine m;
    m.SetRegion(1, 1ull << 39, kDataBytes, 3);  // beyond the memory
    ExpectFault(m.Run(Program(Load(0, 1, 0))), Fault::kBusRead, 0, 210, 1ull << 39);
  }
}

TEST(Faults, Deadlock) {
  Machine m;
  isa::Elt e = Copy(1, 0, 1);
  e.header.wait0 = isa::Semaphore(0);
  isa::Sync s;
  s.queue = isa::Queue::kSto;
  s.header.wait0 = isa::Semaphore(1);
  const auto& t = m.Run(Program(s, e));
  // The last thing that moves is the dispatch of the copy in 110; its queue shows it in 111. END
  // (visible in 114) does not count. The bus: last beat of the fetch in 112, quiet from 113 on:
  // 113, 114, 115, 116.
  ExpectFault(t, Fault::kDeadlock, 1, 116);
  EXPECT_EQ(t.cycles, 117u);
}

TEST(Faults, DeadlockOfTheMatrixUnit) {
  Machine m;
  isa::Mma a;
  a.blocks = 3;
  isa::Ldw w;
  w.region = 1;
  w.tiles = 2;
  const auto& t = m.Run(Program(w, a));
  // Tile starts 230 and 246; the slot ends with 249: quiet from 250 on.
  ExpectFault(t, Fault::kDeadlock, 1, 253);
}

TEST(Faults, Watchdog) {
  Machine m;
  m.Set(regs::kWatchdog, 60);
  // Beats of the fetch until 108, SYNC nowhere; the copy's read phase counts as nothing. Start: 0 +
  // 60 = 60, before the first beat.
  ExpectFault(m.Run(Program(Copy(1000, 0, 1))), Fault::kWatchdog, 0, 60);
  Machine w;
  w.Set(regs::kWatchdog, 300);
  // Last beat of the fetch: two instructions, 101 .. 108.
  ExpectFault(w.Run(Program(Copy(1000, 0, 1))), Fault::kWatchdog, 0, 408);
  Machine n;
  n.Set(regs::kWatchdog, 101);
  EXPECT_EQ(n.Run({}).fault.cause, 0u);
}

TEST(Faults, FirstCauseOfACycleIsTheLowest) {
  Machine m;
  m.device->InjectBusError(sim::Direction::kRead, 1);
  isa::Lda l = Load(0, 1, 0);
  l.buf_addr = 1024;  // CLAIM and BUS_READ in the same cycle
  ExpectFault(m.Run(Program(l)), Fault::kClaim, 0, 210, 1024);
}

TEST(Faults, SoftResetRecovers) {
  Machine m;
  isa::Instruction bad;
  m.Run({bad});
  uint32_t status = 0;
  EXPECT_FALSE(m.device->WriteRegister(regs::kControl,
                                       regs::kControlStart.mask()));  // refused after a fault
  m.Set(regs::kControl, regs::kControlSoftReset.mask());
  EXPECT_EQ(m.Get(regs::kStatus), regs::kStatusResetting.mask());
  EXPECT_EQ(m.Get(regs::kFaultCause), 0u);
  // The fault ended the job with two beats of the fetch still to come; the scrub follows.
  EXPECT_EQ(m.device->Run(1'000'000), 2 + 1024u + 64);
  ASSERT_TRUE(m.device->ReadRegister(regs::kStatus, &status));
  EXPECT_EQ(status, regs::kStatusIdle.mask());
  m.Set(regs::kSnapshot, 1);
  EXPECT_EQ(m.Get64(regs::kCyclesLo), 0u) << "the counters are cleared, too";
  EXPECT_EQ(m.Get64(regs::kReadBytesFetchLo), 0u);
  EXPECT_EQ(m.Run({}).cycles, 107u);
  m.Set(regs::kSnapshot, 1);
  EXPECT_EQ(m.Get64(regs::kCyclesLo), 107u);
  EXPECT_EQ(m.Get(regs::kStatus), regs::kStatusDone.mask());
}

}  // namespace
}  // namespace octile
