// Cycle numbers derived by hand from docs/timing.md. Configuration base (N = 16, four weight rows a
// cycle), read latency 100, write latency 50, one beat a cycle: an instruction is 4 beats; the
// first burst is picked in cycle 0, its address shows in 1, its first beat arrives in 101, so
// instruction k of the first four is visible in 106 + 4k.
#include "machine.h"

namespace octile {
namespace {

using isa::Class;
using isa::Queue;

isa::Lda Load(uint32_t offset, int vectors, int buf_addr, int bank) {
  isa::Lda l;
  l.region = 1;
  l.offset = offset;
  l.n0 = vectors;
  l.n1 = l.n2 = 1;
  l.buf_addr = buf_addr;
  l.buf_bank = bank;
  return l;
}

isa::Sta Store(uint32_t offset, int vectors, int buf_addr, int bank) {
  isa::Sta s;
  s.region = 1;
  s.offset = offset;
  s.n0 = vectors;
  s.n1 = s.n2 = 1;
  s.buf_addr = buf_addr;
  s.buf_bank = bank;
  return s;
}

isa::Ldw Weights(uint32_t offset, int tiles) {
  isa::Ldw w;
  w.region = 1;
  w.offset = offset;
  w.tiles = tiles;
  return w;
}

isa::Mma Multiply(int mw, int blocks) {
  isa::Mma m;
  m.in_w = 4096;
  m.mw = mw;
  m.blocks = blocks;
  m.init = true;
  return m;
}

TEST(Timing, EndAlone) {
  Machine m;
  const auto& t = m.Run({});
  EXPECT_EQ(t.cycles, 107u);
  EXPECT_EQ(t.fault.cause, 0u);
  EXPECT_EQ(t.bytes[0], 64u);
  EXPECT_EQ(t.retired, 0u);
  ExpectConserved(t);
}

TEST(Timing, Sync) {
  Machine m;
  const auto& t = m.Run(Program(isa::Sync{}));
  EXPECT_EQ(t.issue[0], 107u);  // visible in the FIFO in 106, in the queue in 107
  EXPECT_EQ(t.completion[0], 108u);
  EXPECT_EQ(t.cycles, 111u);  // END visible in 110
  EXPECT_EQ(ClassCycles(t, Queue::kPrm, Class::kIssue), 1u);
  EXPECT_EQ(ClassCycles(t, Queue::kPrm, Class::kDrain), 1u);
  EXPECT_EQ(ClassCycles(t, Queue::kPrm, Class::kIdle), 109u);
  ExpectConserved(t);
}

TEST(Timing, OneTile) {
  Machine m;
  const auto& t = m.Run(Program(Weights(0, 1), Multiply(1, 1)));
  EXPECT_EQ(t.issue[0], 107u);
  // Picked in 108, address from 109, beats 209 .. 224.
  EXPECT_EQ(t.completion[0], 225u);
  EXPECT_EQ(t.issue[1], 111u);
  // Tile visible in 226, loader 226 .. 229, tile start 230.
  EXPECT_EQ(t.completion[1], 230u + 32 + 28);
  EXPECT_EQ(t.cycles, 292u);
  EXPECT_EQ(ClassCycles(t, Queue::kExe, Class::kIssue), 1u);
  EXPECT_EQ(ClassCycles(t, Queue::kExe, Class::kWeight), 118u);
  EXPECT_EQ(ClassCycles(t, Queue::kExe, Class::kActive), 1u);
  EXPECT_EQ(ClassCycles(t, Queue::kExe, Class::kSlot), 3u);
  EXPECT_EQ(ClassCycles(t, Queue::kExe, Class::kDrain), 57u);
  EXPECT_EQ(ClassCycles(t, Queue::kExe, Class::kIdle), 112u);
  EXPECT_EQ(ClassCycles(t, Queue::kWgt, Class::kActive), 1u);
  EXPECT_EQ(t.bytes[static_cast<int>(sim::Port::kWgt)], 256u);
  EXPECT_EQ(t.tile_starts, 1u);
  ExpectConserved(t);
}

// Tiles arrive 16 cycles apart; with M = 32 the array waits for the first one only, and the second
// instruction follows without a bubble.
TEST(Timing, NoBubbleBetweenInstructions) {
  Machine m;
  const auto& t = m.Run(Program(Weights(0, 6), Multiply(32, 3), Multiply(32, 3)));
  const uint64_t ts = 230;
  EXPECT_EQ(t.completion[1], ts + 2 * 32 + 31 + 60);
  EXPECT_EQ(t.issue[2], ts + 3 * 32 - 1);  // the last cycle of the last slot
  EXPECT_EQ(t.completion[2], ts + 5 * 32 + 31 + 60);
  EXPECT_EQ(ClassCycles(t, Queue::kExe, Class::kActive), 6u * 32);
  EXPECT_EQ(ClassCycles(t, Queue::kExe, Class::kSlot), 0u);
  EXPECT_EQ(ClassCycles(t, Queue::kExe, Class::kWeight), ts - 112);
  ExpectConserved(t);
}

// M = 1 and all tiles in the ring: one tile each max(M, N / rows, 4) = 4 cycles, across
// instructions too.
TEST(Timing, OneTilePerFourCycles) {
  Machine m;
  isa::Ldw w = Weights(0, 8);
  w.header.signal0 = isa::Semaphore(3);
  isa::Mma first = Multiply(1, 4);
  first.header.wait0 = isa::Semaphore(3);
  const auto& t = m.Run(Program(w, first, Multiply(1, 4)));
  // Last beat 209 + 127 = 336, completion 337, semaphore visible 338.
  EXPECT_EQ(t.completion[0], 337u);
  EXPECT_EQ(t.issue[1], 338u);
  // Active 339; the first tile has long been in the shadow weights.
  const uint64_t ts = 339;
  EXPECT_EQ(t.completion[1], ts + 12 + 60);
  EXPECT_EQ(t.issue[2], ts + 15);
  EXPECT_EQ(t.completion[2], ts + 28 + 60);
  EXPECT_EQ(ClassCycles(t, Queue::kExe, Class::kSem), 338u - 111);
  EXPECT_EQ(ClassCycles(t, Queue::kExe, Class::kWeight), 0u);
  ExpectConserved(t);
}

TEST(Timing, RawSlotTakesFourCyclesPerVector) {
  Machine m;
  isa::Mma mma = Multiply(8, 2);
  mma.emit = mma.raw = true;
  mma.out_bank = 1;
  mma.out_addr = 1024;
  const auto& t = m.Run(Program(Weights(0, 2), mma));
  // First slot 230 .. 237; second tile is there (242): visible 242, loaded 246; raw: vectors 246,
  // 250 .. 274, slot to 277.
  EXPECT_EQ(t.completion[1], 246u + 28 + 60);
  EXPECT_EQ(ClassCycles(t, Queue::kExe, Class::kActive), 16u);
  EXPECT_EQ(ClassCycles(t, Queue::kExe, Class::kSlot), 24u);
  EXPECT_EQ(ClassCycles(t, Queue::kExe, Class::kWeight), (230u - 112) + (246 - 238));
  ExpectConserved(t);
}

TEST(Timing, RetainKeepsTheTiles) {
  Machine m;
  isa::Mma keep = Multiply(20, 2);
  keep.retain = true;
  const auto& t = m.Run(Program(Weights(0, 2), keep, Multiply(20, 2)));
  const uint64_t ts = 230;
  EXPECT_EQ(t.completion[1], ts + 20 + 19 + 60);
  EXPECT_EQ(t.completion[2], ts + 60 + 19 + 60);
  ExpectConserved(t);
}

TEST(Timing, LoadAndStore) {
  Machine m;
  isa::Lda l = Load(0, 40, 0, 0);
  l.header.signal0 = isa::Semaphore(0);
  isa::Sta s = Store(4096, 40, 0, 0);
  s.header.wait0 = isa::Semaphore(0);
  for (int i = 0; i < 640; ++i) *m.data(i) = static_cast<uint8_t>(i * 7);
  const auto& t = m.Run(Program(l, s));
  // Bursts of 16, 16, 8 beats picked in 108, 109, 110 (each address accepted in its first cycle):
  // beats 209 .. 248.
  EXPECT_EQ(t.completion[0], 249u);
  EXPECT_EQ(t.issue[1], 250u);
  // Active 251: read phases 251 .. 266, 267 .. 282; the third waits for a slot: the first is full
  // in 269, picked then, data 270 .. 285, free in 286. Read 286 .. 293, full 296. Second: picked
  // 285, 286 .. 301. Third: picked 301, 302 .. 309, response 359.
  EXPECT_EQ(t.completion[1], 360u);
  EXPECT_EQ(t.cycles, 362u);
  EXPECT_EQ(ClassCycles(t, Queue::kSto, Class::kActive), 40u);
  EXPECT_EQ(ClassCycles(t, Queue::kSto, Class::kSpace), 3u);
  EXPECT_EQ(ClassCycles(t, Queue::kSto, Class::kDrain), 360u - 293);
  EXPECT_EQ(ClassCycles(t, Queue::kAct, Class::kActive), 3u);
  EXPECT_EQ(t.bytes[static_cast<int>(sim::Port::kSto)], 640u);
  EXPECT_EQ(std::memcmp(m.data(0), m.data(4096), 640), 0);
  ExpectConserved(t);
}

TEST(Timing, VectorUnitTakesOneInstruction) {
  Machine m;
  isa::Elt e;
  e.mh = 2;
  e.mw = 5;
  e.blocks = 3;
  e.a_row_step = 5;
  e.a_x_step = 1;
  e.a_blk_stride = 10;
  e.out_row_step = 5;
  e.out_blk_stride = 10;
  e.out_addr = 1024;
  e.out_bank = 1;
  const auto& t = m.Run(Program(e, e));
  EXPECT_EQ(t.issue[0], 107u);
  EXPECT_EQ(t.completion[0], 107u + 30 + 28);
  EXPECT_EQ(t.issue[1], t.completion[0] + 1);
  EXPECT_EQ(t.completion[1], t.issue[1] + 58);
  EXPECT_EQ(ClassCycles(t, Queue::kVec, Class::kActive), 60u);
  EXPECT_EQ(ClassCycles(t, Queue::kVec, Class::kFence), 28u);
  EXPECT_EQ(ClassCycles(t, Queue::kVec, Class::kDrain), 28u);
  EXPECT_EQ(ClassCycles(t, Queue::kVec, Class::kIssue), 2u);
  ExpectConserved(t);
}

TEST(Timing, WindowAndPackLengths) {
  Machine m;
  isa::Win w;
  w.mode = isa::WinMode::kMax;
  w.mh = 3;
  w.mw = 4;
  w.blocks = 2;
  w.kh = 3;
  w.kw = 2;
  w.dil_x = 2;  // hence tap by tap
  w.in_h = w.in_w = 8;
  w.in_oy_step = w.in_ky_step = 8;
  w.in_blk_stride = 64;
  w.out_addr = 1024;
  w.out_bank = 1;
  w.out_row_step = 4;
  w.out_blk_stride = 12;
  isa::Pack p;
  p.in_w = p.in_pitch = 40;
  p.in_h = 10;
  p.in_blk_stride = 25;
  p.kh = p.kw = 3;
  p.planes = 3;  // 27 lanes: groups of 3, 3, 3, 3, 3, 1 and of 2, 3, 3, 3
  p.stride_x = 2;
  p.mh = 4;
  p.mw = 19;  // two groups
  p.out_addr = 1024;
  p.out_bank = 1;
  p.out_row_step = 19;
  p.out_blk_stride = 76;
  isa::Pack q = p;
  q.stride_x = 1;  // groups of three lanes take three vectors all the same, others two
  q.mw = 16;
  q.mh = 2;
  const auto& t = m.Run(Program(w, p, q));
  EXPECT_EQ(t.completion[0], 107u + 2 * 3 * 4 * 6 + 28);
  EXPECT_EQ(t.completion[1], t.issue[1] + 4 * 2 * (18 + 16) + 16 + 28);
  EXPECT_EQ(t.completion[2], t.issue[2] + 2 * (17 + 16) + 16 + 28);
  q.kw = 1;  // 27 groups of one lane
  q.kh = 9;
  Machine m2;
  const auto& t2 = m2.Run(Program(q));
  EXPECT_EQ(t2.completion[0], t2.issue[0] + 2 * (32 + 22) + 16 + 28);
  ExpectConserved(t);
}

TEST(Timing, FenceWaitsForCompletion) {
  Machine m;
  isa::Mma second = Multiply(32, 1);
  second.header.fence = true;
  const auto& t = m.Run(Program(Weights(0, 2), Multiply(32, 1), second));
  EXPECT_EQ(t.completion[1], 230u + 31 + 60);
  EXPECT_EQ(t.issue[2], t.completion[1] + 1);
  EXPECT_EQ(t.completion[2], t.issue[2] + 1 + 31 + 60);
  // Slot over in 262; the fenced head waits from there on.
  EXPECT_EQ(ClassCycles(t, Queue::kExe, Class::kFence), t.completion[1] + 1 - 262);
  ExpectConserved(t);
}

TEST(Timing, SmallRingHoldsLoadsBack) {
  sim::DeviceOptions o;
  o.core.ring_tiles = 2;
  Machine m(o);
  const auto& t = m.Run(Program(Weights(0, 4), Multiply(64, 4)));
  // Two tiles at once (picked 108, 109). Tile start 230 frees one, visible 231: picked 231; address
  // 232, beats 332 .. 347, visible 349. Second start 294: pick 295, address 296, beats 396 .. 411,
  // visible 413. Third tile: second slot ends 358; loaded 353 < 358. Fourth: slot ends 422, loaded
  // 417.
  EXPECT_EQ(t.completion[0], 412u);
  EXPECT_EQ(t.completion[1], 230u + 3 * 64 + 63 + 60);
  EXPECT_EQ(ClassCycles(t, Queue::kWgt, Class::kActive), 4u);
  EXPECT_EQ(ClassCycles(t, Queue::kWgt, Class::kSpace), (231u - 110) + (295 - 232));
  ExpectConserved(t);
}

TEST(Timing, LayersOwnCycles) {
  Machine m;
  isa::Mma a = Multiply(32, 1);
  a.header.layer = 5;
  isa::Mma b = Multiply(32, 1);
  b.header.layer = 9;
  const auto& t = m.Run(Program(Weights(0, 2), a, b));
  ASSERT_EQ(t.layers.size(), 2u);
  EXPECT_EQ(t.layers[0].layer, 5u);
  EXPECT_EQ(t.layers[0].cycles, t.issue[2]);  // everything before the first issue included
  EXPECT_EQ(t.layers[1].layer, 9u);
  EXPECT_EQ(t.layers[1].cycles, t.cycles - t.issue[2]);
  ExpectConserved(t);
}

TEST(Timing, RefreshMovesTheBurst) {
  sim::DeviceOptions o;
  o.memory.refresh_period = 100;
  o.memory.refresh_cycles = 30;
  Machine m(o);
  // First beat would come in 101, inside the window 100 .. 129: moved to 130; last beat 133,
  // visible 135.
  EXPECT_EQ(m.Run({}).cycles, 136u);
}

TEST(Timing, BeatIntervalSpreadsBeats) {
  sim::DeviceOptions o;
  o.memory.beat_interval = 3;
  Machine m(o);
  EXPECT_EQ(m.Run({}).cycles, 101u + 9 + 2 + 1);
}

TEST(Timing, SecondJobRepeatsTheFirst) {
  Machine m;
  const auto program = Program(Weights(0, 2), Multiply(32, 2));
  const sim::Trace first = m.Run(program);
  EXPECT_EQ(first, m.Run(program));
}

}  // namespace
}  // namespace octile
