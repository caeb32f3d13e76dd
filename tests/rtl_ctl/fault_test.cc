// Every cause of a fault, its record, and that a soft reset recovers from it.
#include <gtest/gtest.h>

#include "core_bench.h"

namespace octile::rtl_ctl {
namespace {

using isa::Encode;
using isa::Fault;
using isa::Instruction;
using isa::Semaphore;

constexpr int kN = CoreBench::kN;
constexpr int kBankDepth = 512;

isa::Lda Load(int vectors, int addr, int bank) {
  isa::Lda op;
  op.region = 1;
  op.n0 = vectors;
  op.buf_addr = addr;
  op.buf_bank = bank;
  return op;
}

isa::Sta Store(int vectors, int addr, int bank) {
  isa::Sta op;
  op.region = 1;
  op.offset = 0x8000;
  op.n0 = vectors;
  op.buf_addr = addr;
  op.buf_bank = bank;
  return op;
}

isa::Mma Matrix() {
  isa::Mma op;
  op.mh = 4;
  op.mw = 4;
  op.in_h = 4;
  op.in_w = 4;
  op.in_oy_step = 4;
  op.init = op.emit = true;
  op.hi = 255;
  op.out_row_step = 4;
  op.out_addr = kBankDepth;
  op.out_bank = 1;
  return op;
}

isa::Elt Copy() {
  isa::Elt op;
  op.mh = 4;
  op.mw = 4;
  op.a_row_step = 4;
  op.a_x_step = 1;
  op.out_row_step = 4;
  op.out_addr = kBankDepth;
  op.in_bank = 0;
  op.out_bank = 1;
  return op;
}

// Runs the program, expects the fault, then resets and runs a good job.
void Expect(CoreBench& bench, const std::vector<Instruction>& program, Fault cause,
            uint32_t instruction, uint64_t address = 0, uint32_t instruction2 = 0,
            uint32_t watchdog = 0) {
  bench.Write(regs::kIrqEnable, 3);
  bench.Write(regs::kIrqStatus, 3);
  bench.Write(regs::kContext, 4711);
  ASSERT_TRUE(bench.Run(program, watchdog)) << "no end";
  EXPECT_EQ(bench.Status(), regs::kStatusFaulted.mask());
  EXPECT_TRUE(bench.core->irq_o);
  EXPECT_EQ(bench.Read(regs::kIrqStatus).value, regs::kIrqStatusFault.mask());
  const FaultRecord fault = bench.Fault();
  EXPECT_EQ(isa::FaultName(static_cast<Fault>(fault.cause)), isa::FaultName(cause));
  EXPECT_EQ(fault.instruction, instruction);
  EXPECT_EQ(fault.instruction2, instruction2);
  EXPECT_EQ(fault.address, address);
  EXPECT_EQ(fault.context, 4711u);
  bench.Write(regs::kSnapshot, 1);
  EXPECT_EQ(bench.Read64(regs::kCyclesLo), static_cast<uint64_t>(bench.job_cycles));
  EXPECT_FALSE(bench.Write(regs::kControl, regs::kControlStart.mask()))
      << "a faulted core must not start";
  ASSERT_TRUE(bench.SoftReset());
  EXPECT_EQ(bench.Fault().cause, 0u);
  EXPECT_EQ(bench.Read(regs::kIrqStatus).value, 0u);
  ASSERT_TRUE(bench.Run({Encode(Load(64, 0, 0)), Encode(isa::End{})}));
  EXPECT_EQ(bench.Status(), regs::kStatusDone.mask());
  EXPECT_TRUE(bench.violations.empty()) << bench.violations.front();
}

TEST(Faults, IllegalOpcodes) {
  CoreBench bench;
  for (const int opcode : {0, 3, 9, 24, 25, 26, 63}) {
    Instruction bad;
    bad.words[0] = opcode;
    Expect(bench, {Encode(isa::Sync{}), bad, Encode(isa::End{})}, Fault::kIllegal, 1);
  }
}

TEST(Faults, IllegalReservedBitOfEveryFormat) {
  CoreBench bench;
  for (const isa::FormatInfo& format : isa::Formats()) {
    Instruction bad;
    for (const isa::FieldInfo& field : format.fields)
      isa::SetField(bad, field, std::max<int64_t>(field.min, 0));
    isa::SetField(bad, *isa::FindField(format, "opcode"), static_cast<int64_t>(format.opcode));
    ASSERT_FALSE(isa::IllegalReason(bad));
    const int bit = format.used_bits + static_cast<int>(bench.rng() % (512 - format.used_bits));
    bad.words[bit / 64] |= uint64_t{1} << (bit % 64);
    Expect(bench, {bad}, Fault::kIllegal, 0);
  }
}

// Older work drains before the job ends.
TEST(Faults, IllegalIsPrecise) {
  CoreBench bench;
  for (int i = 0; i < 256 * kN; ++i) bench.Data(0)[i] = static_cast<uint8_t>(bench.rng());
  isa::Lda load = Load(256, 0, 0);
  load.header.signal0 = Semaphore(1);
  isa::Sta store = Store(256, 0, 0);
  store.header.wait0 = Semaphore(1);
  isa::Sync twice;
  twice.header.wait0 = twice.header.wait1 = Semaphore(5);
  Expect(bench, {Encode(load), Encode(store), Encode(twice)}, Fault::kIllegal, 2);
  EXPECT_EQ(std::memcmp(bench.Data(0), bench.Data(0x8000), 256 * kN), 0);
}

TEST(Faults, OperandOfEveryKind) {
  CoreBench bench;
  std::vector<Instruction> bad;
  const auto add = [&](auto op, auto change) {
    change(op);
    bad.push_back(Encode(op));
  };
  isa::Ldp ldp;
  ldp.region = 1;
  isa::Ldw ldw;
  ldw.region = 1;
  isa::Win win;
  win.hi = 255;
  win.out_bank = 1;
  win.out_addr = kBankDepth;
  isa::Pack pack;
  pack.out_bank = 1;
  pack.out_addr = kBankDepth;
  add(Load(1, 0, 0), [](auto& o) { o.offset = 2; });
  add(Load(1, 0, 0), [](auto& o) { o.mem_stride1 = 6; });
  add(Load(1, 0, 0), [](auto& o) { o.mem_stride2 = 1; });
  add(Load(1, 0, 0), [](auto& o) { o.buf_wrap = 8, o.buf_row0 = 8; });
  add(Load(1, 0, 0), [](auto& o) { o.buf_wrap = 8, o.buf_stride1 = 9; });
  add(Load(1, 0, 7), [](auto& o) { o.buf_banks = 1; });
  add(Store(1, 0, 0), [](auto& o) { o.offset = 1; });
  add(Store(1, 0, 0), [](auto& o) { o.buf_bank = 8; });
  add(ldp, [](auto& o) { o.offset = 1; });
  add(ldp, [](auto& o) { o.index = 31, o.count = 2; });
  add(ldp, [](auto& o) { o.target = isa::LdpTarget::kExeConst, o.index = 16; });
  add(ldp, [](auto& o) { o.target = isa::LdpTarget::kVecTable, o.index = 3, o.count = 2; });
  add(ldp, [](auto& o) { o.target = isa::LdpTarget::kVecWeight, o.index = 1, o.count = 128; });
  add(ldw, [](auto& o) { o.offset = 3; });
  add(Matrix(), [](auto& o) { o.acc_base = 113; });
  add(Matrix(), [](auto& o) { o.pset = 32; });
  add(Matrix(), [](auto& o) { o.raw = o.table = true; });
  add(Matrix(), [](auto& o) { o.raw = o.residual = true; });
  add(Matrix(), [](auto& o) { o.in_wrap = 4, o.in_oy_step = 4; });
  add(Matrix(), [](auto& o) { o.in_wrap = 5, o.in_ky_step = 5; });
  add(Matrix(), [](auto& o) { o.out_wrap = 3; });
  add(Matrix(), [](auto& o) { o.residual = true, o.res_wrap = 4, o.res_row0 = 4; });
  add(Matrix(), [](auto& o) { o.residual = true, o.b_bank = 6, o.b_banks = 2; });
  add(Matrix(), [](auto& o) { o.in_banks = 8; });
  add(win, [](auto& o) { o.mode = isa::WinMode::kSum, o.pset = 30, o.blocks = 3; });
  add(win, [](auto& o) { o.mode = isa::WinMode::kDepthwise, o.kh = o.kw = 5, o.wrow = 122; });
  add(win, [](auto& o) { o.out_banks = 7; });
  add(Copy(), [](auto& o) { o.a_wrap = 4, o.a_row_step = 4; });
  add(Copy(), [](auto& o) { o.mode = isa::EltMode::kAdd, o.b_wrap = 2, o.b_row0 = 2; });
  add(Copy(), [](auto& o) { o.mode = isa::EltMode::kMul, o.b_banks = 8; });
  add(Copy(), [](auto& o) { o.mode = isa::EltMode::kAffine, o.pset = 31, o.blocks = 2; });
  add(pack, [](auto& o) { o.in_off = kN; });
  add(pack, [](auto& o) { o.in_off_step = kN; });
  for (size_t i = 0; i < bad.size(); ++i) {
    SCOPED_TRACE(i);
    ASSERT_FALSE(isa::IllegalReason(bad[i])) << *isa::IllegalReason(bad[i]);
    Expect(bench, {bad[i], Encode(isa::End{})}, Fault::kOperand, 0);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Faults, OperandsAtTheirLimitAreFine) {
  CoreBench bench;
  isa::Ldp ldp;
  ldp.region = 1;
  ldp.index = 31;
  isa::Ldp table = ldp;
  table.target = isa::LdpTarget::kExeTable;
  table.index = 0;
  table.count = 4;
  isa::Lda load = Load(4, 7 * kBankDepth, 7);
  load.buf_wrap = 4;
  load.buf_row0 = 3;
  load.n0 = 1;
  load.n1 = 4;
  load.buf_stride1 = 3;
  ASSERT_TRUE(bench.Run({Encode(ldp), Encode(table), Encode(load), Encode(isa::End{})}));
  EXPECT_EQ(bench.Status(), regs::kStatusDone.mask()) << bench.Fault().cause;
}

TEST(Faults, Region) {
  CoreBench bench;
  const uint32_t limit = CoreBench::kMemoryBytes - CoreBench::kDataOffset;
  isa::Lda load = Load(128, 0, 0);
  load.offset = limit - 256;
  Expect(bench, {Encode(load), Encode(isa::End{})}, Fault::kRegion, 0, limit);
  isa::Lda unmapped = Load(1, 0, 0);
  unmapped.region = 5;
  Expect(bench, {Encode(isa::Sync{}), Encode(unmapped), Encode(isa::End{})}, Fault::kRegion, 1, 0);
  isa::Lda unreadable = Load(1, 0, 0);
  unreadable.region = 0;
  Expect(bench, {Encode(unreadable), Encode(isa::End{})}, Fault::kRegion, 0, 0);
  isa::Sta unwritable = Store(1, 0, 0);
  unwritable.region = 0;
  Expect(bench, {Encode(unwritable), Encode(isa::End{})}, Fault::kRegion, 0, 0x8000);
  isa::Sta beyond = Store(1, 0, 0);
  beyond.offset = 0xfffffffc;
  Expect(bench, {Encode(beyond), Encode(isa::End{})}, Fault::kRegion, 0, 0xfffffffc);
  // Nothing was written outside.
  bench.Load({Encode(isa::End{})});
  bench.Write(regs::kProgramRegion, 1);
  bench.Start();
  ASSERT_TRUE(bench.Finish());
  EXPECT_EQ(bench.Fault().cause, static_cast<uint32_t>(Fault::kRegion))
      << "fetch without execute permission";
}

TEST(Faults, Claim) {
  CoreBench bench;
  Expect(bench, {Encode(Load(10, kBankDepth - 4, 0)), Encode(isa::End{})}, Fault::kClaim, 0,
         kBankDepth);
  Expect(bench, {Encode(Load(10, 8 * kBankDepth - 4, 7)), Encode(isa::End{})}, Fault::kClaim, 0,
         8 * kBankDepth);
  Expect(bench, {Encode(Load(1, 0, 1)), Encode(isa::End{})}, Fault::kClaim, 0, 0);
  Expect(bench, {Encode(Store(10, kBankDepth - 4, 0)), Encode(isa::End{})}, Fault::kClaim, 0,
         kBankDepth);
  isa::Elt copy = Copy();
  copy.a_addr = kBankDepth - 6;
  Expect(bench, {Encode(copy), Encode(isa::End{})}, Fault::kClaim, 0, kBankDepth);
  isa::Ldw tiles;
  tiles.region = 1;
  isa::Mma mma = Matrix();
  mma.in_addr = kBankDepth - 9;
  Expect(bench, {Encode(tiles), Encode(mma), Encode(isa::End{})}, Fault::kClaim, 1, kBankDepth);
}

TEST(Faults, Conflict) {
  CoreBench bench;
  bench.profile.latency_min = bench.profile.latency_max = 30;
  // A store still waits for its responses while the vector unit wants its bank.
  isa::Sync go;
  isa::Elt copy = Copy();
  go.queue = isa::Queue::kVec;
  Expect(bench, {Encode(Store(100, 0, 0)), Encode(copy), Encode(isa::End{})}, Fault::kConflict, 1,
         0, 0);
  // Writes: a load and the vector unit.
  Expect(bench, {Encode(Load(100, kBankDepth, 1)), Encode(copy), Encode(isa::End{})},
         Fault::kConflict, 1, 0, 0);
  // Inside one instruction.
  isa::Elt add = Copy();
  add.mode = isa::EltMode::kAdd;
  Expect(bench, {Encode(isa::Sync{}), Encode(add), Encode(isa::End{})}, Fault::kConflict, 1, 0, 1);
  // A read and a write in one bank are no conflict, nor are loads among each other.
  isa::Elt in_place = Copy();
  in_place.out_bank = 0;
  in_place.out_addr = 64;
  isa::Sta other = Store(100, kBankDepth, 1);
  ASSERT_TRUE(bench.Run({Encode(Load(100, kBankDepth, 1)), Encode(Load(64, kBankDepth, 1)),
                         Encode(other), Encode(in_place), Encode(isa::End{})}));
  EXPECT_EQ(bench.Status(), regs::kStatusDone.mask()) << bench.Fault().cause;
}

TEST(Faults, SemaphoreOverflow) {
  CoreBench bench;
  std::vector<Instruction> program;
  for (int i = 0; i < 256; ++i) {
    isa::Sync sync;
    sync.queue = isa::Queue::kWgt;
    sync.header.signal1 = Semaphore(17);
    program.push_back(Encode(sync));
  }
  program.push_back(Encode(isa::End{}));
  Expect(bench, program, Fault::kSemaphore, 255, 17);
  program.erase(program.begin());
  ASSERT_TRUE(bench.Run(program));
  EXPECT_EQ(bench.Status(), regs::kStatusDone.mask()) << "255 is allowed";
}

TEST(Faults, Bus) {
  CoreBench bench;
  const uint64_t data = CoreBench::kMemoryBase + CoreBench::kDataOffset;
  bench.profile.error_address_begin = data + 0x1000;
  bench.profile.error_address_end = data + 0x1001;
  isa::Lda load = Load(256, 0, 0);
  load.offset = 0x1000 - 512;
  Expect(bench, {Encode(load), Encode(isa::End{})}, Fault::kBusRead, 0, data + 0x1000);
  isa::Sta store = Store(256, 0, 0);
  store.offset = 0x1000 - 512;
  Expect(bench, {Encode(Load(4, 0, 0)), Encode(store), Encode(isa::End{})}, Fault::kBusWrite, 1,
         data + 0x1000);
  bench.profile.error_address_begin = CoreBench::kMemoryBase;
  bench.profile.error_address_end = CoreBench::kMemoryBase + 1;
  ASSERT_TRUE(bench.Run({Encode(isa::End{})}));
  EXPECT_EQ(bench.Fault().cause, static_cast<uint32_t>(Fault::kBusRead));
  EXPECT_EQ(bench.Fault().address, CoreBench::kMemoryBase);
}

TEST(Faults, Deadlock) {
  CoreBench bench;
  isa::Sync wait;
  wait.queue = isa::Queue::kSto;
  wait.header.wait0 = Semaphore(0);
  Expect(bench, {Encode(Load(8, 0, 0)), Encode(wait), Encode(isa::End{})}, Fault::kDeadlock, 1);
  // EXE without weights.
  Expect(bench, {Encode(Matrix()), Encode(isa::End{})}, Fault::kDeadlock, 0);
  // More tiles than the ring has, and nobody takes them.
  isa::Ldw tiles;
  tiles.region = 1;
  tiles.tiles = 65;
  Expect(bench, {Encode(tiles), Encode(isa::End{})}, Fault::kDeadlock, 0);
  // The job is full of instructions behind the one that waits.
  std::vector<Instruction> many(40, Encode(wait));
  many.push_back(Encode(isa::End{}));
  Expect(bench, many, Fault::kDeadlock, 0);
}

TEST(Faults, Watchdog) {
  CoreBench bench;
  bench.profile.latency_min = bench.profile.latency_max = 300;
  Expect(bench, {Encode(Load(8, 0, 0)), Encode(isa::End{})}, Fault::kWatchdog, 0, 0, 0, 200);
  EXPECT_EQ(bench.violations.size(), 0u);
  // The fetch alone takes longer than 200 cycles here, so the first instruction was not even there.
  bench.profile.latency_min = bench.profile.latency_max = 50;
  ASSERT_TRUE(bench.Run({Encode(Load(8, 0, 0)), Encode(isa::End{})}, 200));
  EXPECT_EQ(bench.Status(), regs::kStatusDone.mask());
}

TEST(Faults, FetchEnd) {
  CoreBench bench;
  Expect(bench, {Encode(Load(8, 0, 0)), Encode(isa::Sync{})}, Fault::kFetchEnd, 2);
  Expect(bench, {}, Fault::kFetchEnd, 0);
}

}  // namespace
}  // namespace octile::rtl_ctl
