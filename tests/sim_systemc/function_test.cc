// Results of instructions against the formulas of isa.yml, evaluated directly and one value at a
// time.
#include <random>

#include "machine.h"
#include "octile/numerics/fp.h"

namespace octile {
namespace {

namespace fp = numerics::fp;

constexpr int kSem = 4;

int Code(uint8_t byte, bool is_signed) { return is_signed ? static_cast<int8_t>(byte) : byte; }
numerics::CodeRange Range(int lo, int hi, bool s) { return {Code(lo, s), Code(hi, s)}; }
numerics::CodeRange Full(bool s) { return s ? numerics::kS8 : numerics::kU8; }

// Data of a test: the buffer is loaded from the start of region 1, results are stored at kOut.
class FunctionTest : public ::testing::TestWithParam<int> {
 protected:
  static constexpr uint32_t kParams = 1 << 20;
  static constexpr uint32_t kTables = kParams + 0x10000;
  static constexpr uint32_t kConsts = kParams + 0x20000;
  static constexpr uint32_t kWeights = kParams + 0x30000;
  static constexpr uint32_t kOut = 2 << 20;

  FunctionTest() : n(GetParam()), machine(Options()), random(GetParam()) {
    for (int i = 0; i < 1 << 21; ++i) *machine.data(i) = static_cast<uint8_t>(random());
    auto* params = machine.data(kParams);
    for (int set = 0; set < 4; ++set)
      for (int c = 0; c < n; ++c) {
        const int32_t b = static_cast<int32_t>(random() % 4001) - 2000;
        const float f = 0.0005f + static_cast<float>(random() % 1000) * 1e-5f;
        bias[set].push_back(b);
        mult[set].push_back(f);
        std::memcpy(params + (set * 2 * n + c) * 4, &b, 4);
        std::memcpy(params + (set * 2 * n + n + c) * 4, &f, 4);
      }
    constants = {0.75f, 0.5f, 3.25f};
    for (int slot = 0; slot < 16; ++slot)
      std::memcpy(machine.data(kConsts + slot * 64), constants.data(), 12);
    table = machine.data(kTables);
  }

  sim::DeviceOptions Options() const {
    sim::DeviceOptions o;
    o.core.n = GetParam();
    o.core.psets = 8;
    o.core.wrows = 64;
    o.core.banks = 8;
    o.core.bank_depth = 512;
    return o;
  }

  // Banks 0..3 of the buffer from memory; both sets of parameters; weights of `tiles` tiles; then
  // the operation, then a store of bank 4.
  template <class Op>
  const sim::Trace& Run(Op op, int tiles) {
    std::vector<isa::Instruction> program;
    for (auto target : {isa::LdpTarget::kExeSet, isa::LdpTarget::kVecSet, isa::LdpTarget::kExeTable,
                        isa::LdpTarget::kVecTable, isa::LdpTarget::kExeConst,
                        isa::LdpTarget::kVecConst, isa::LdpTarget::kVecWeight}) {
      isa::Ldp p;
      p.region = 1;
      p.target = target;
      p.offset = kParams;
      p.count = 4;
      if (target == isa::LdpTarget::kExeTable || target == isa::LdpTarget::kVecTable)
        p.offset = kTables;
      if (target == isa::LdpTarget::kExeConst || target == isa::LdpTarget::kVecConst)
        p.offset = kConsts;
      if (target == isa::LdpTarget::kVecWeight) {
        p.offset = kWeights;
        p.count = 64;
        p.header.signal0 = isa::Semaphore(kSem);
      }
      program.push_back(isa::Encode(p));
    }
    isa::Lda l;
    l.region = 1;
    l.n0 = 4 * 512;
    l.buf_banks = 3;
    l.header.signal0 = isa::Semaphore(kSem + 1);
    program.push_back(isa::Encode(l));
    if (tiles > 0) {
      isa::Ldw w;
      w.region = 1;
      w.offset = kWeights;
      w.tiles = tiles;
      w.zw = zw;
      w.w_signed = w_signed;
      program.push_back(isa::Encode(w));
    }
    op.header.wait0 = isa::Semaphore(kSem);
    op.header.wait1 = isa::Semaphore(kSem + 1);
    op.header.signal0 = isa::Semaphore(0);
    index = static_cast<uint32_t>(program.size());
    program.push_back(isa::Encode(op));
    isa::Sta s;
    s.region = 1;
    s.offset = kOut;
    s.n0 = 512;
    s.buf_addr = 4 * 512;
    s.buf_bank = 4;
    s.header.wait0 = isa::Semaphore(0);
    program.push_back(isa::Encode(s));
    const auto& t = machine.Run(program);
    EXPECT_EQ(t.fault.cause, 0u) << isa::FaultName(static_cast<isa::Fault>(t.fault.cause)) << " of "
                                 << t.fault.instruction;
    return t;
  }

  uint8_t In(int vector, int lane) { return *machine.data(vector * n + lane); }
  uint8_t Out(int vector, int lane) { return *machine.data(kOut + (vector - 4 * 512) * n + lane); }

  int n;
  Machine machine;
  std::mt19937 random;
  std::vector<int32_t> bias[4];
  std::vector<float> mult[4];
  std::array<float, 3> constants;
  const uint8_t* table = nullptr;
  int zw = 3;
  bool w_signed = true;
  uint32_t index = 0;
};

isa::Mma Convolution() {
  isa::Mma m;
  m.in_addr = 40;
  m.in_row0 = 16;
  m.in_oy_step = 16;
  m.in_ky_step = 8;
  m.in_wrap = 72;  // nine rows of eight columns, circular
  m.in_blk_stride = 80;
  m.in_h = 9;
  m.in_w = 8;
  m.iy0 = -1;
  m.ix0 = -1;
  m.kh = 3;
  m.kw = 2;
  m.stride_y = 2;
  m.stride_x = 2;
  m.dil_x = 2;
  m.mh = 5;
  m.mw = 4;
  m.blocks = 2;
  m.out_addr = 4 * 512 + 3;
  m.out_row_step = 5;
  m.out_bank = 4;
  m.in_banks = 1;
  m.b_bank = 2;
  m.pset = 1;
  m.zx = 7;
  m.zy = 0x85;  // -123 as int8
  m.lo = 0x90;
  m.hi = 0x60;
  m.x_signed = m.y_signed = true;
  m.init = m.emit = true;
  return m;
}

class Mma : public FunctionTest {
 protected:
  // acc without bias of output (oy, ox), lane c.
  int32_t Accumulate(const isa::Mma& m, int oy, int ox, int c) {
    int64_t acc = 0;
    int tile = 0;
    for (int ky = 0; ky < m.kh; ++ky)
      for (int kx = 0; kx < m.kw; ++kx)
        for (int b = 0; b < m.blocks; ++b, ++tile) {
          const int iy = m.iy0 + oy * m.stride_y + ky * m.dil_y;
          const int ix = m.ix0 + ox * m.stride_x + kx * m.dil_x;
          if (iy < 0 || iy >= m.in_h || ix < 0 || ix >= m.in_w) continue;
          const int pointer = (m.in_row0 + oy * m.in_oy_step + ky * m.in_ky_step) % m.in_wrap;
          for (int r = 0; r < n; ++r) {
            const int w = Code(*machine.data(kWeights + (tile * n + r) * n + c), w_signed);
            acc += (Code(In(m.in_addr + pointer + b * m.in_blk_stride + ix, r), m.x_signed) -
                    Code(m.zx, m.x_signed)) *
                   (w - Code(zw, w_signed));
          }
        }
    return static_cast<int32_t>(acc);
  }
};

TEST_P(Mma, ClampAndTable) {
  isa::Mma m = Convolution();
  for (bool use_table : {false, true}) {
    m.table = use_table;
    m.table_slot = 2;
    Run(m, 12);
    for (int oy = 0; oy < m.mh; ++oy)
      for (int ox = 0; ox < m.mw; ++ox)
        for (int c = 0; c < n; ++c) {
          const int32_t acc = Accumulate(m, oy, ox, c) + bias[1][c];
          uint8_t y = static_cast<uint8_t>(
              fp::Requantize(acc, mult[1][c], Code(m.zy, true), Range(m.lo, m.hi, true)));
          if (use_table) y = table[2 * 256 + y];
          ASSERT_EQ(int{Out(m.out_addr + oy * 5 + ox, c)}, int{y}) << oy << " " << ox << " " << c;
        }
  }
}

TEST_P(Mma, ResidualClampsTwice) {
  isa::Mma m = Convolution();
  m.residual = true;
  m.res_addr = 2 * 512;
  m.res_row0 = 4;
  m.res_row_step = 4;
  m.res_wrap = 12;
  m.res_signed = false;
  m.out_signed = false;
  m.lo = 5;
  m.hi = 250;
  m.const_slot = 3;
  for (bool a : {false, true})
    for (bool use_table : {false, true}) {
      m.res_is_a = a;
      m.table = use_table;
      m.t_signed = true;
      Run(m, 12);
      for (int oy = 0; oy < m.mh; ++oy)
        for (int ox = 0; ox < m.mw; ++ox)
          for (int c = 0; c < n; ++c) {
            const int32_t acc = Accumulate(m, oy, ox, c) + bias[1][c];
            int y = fp::Requantize(acc, mult[1][c], Code(m.zy, true), Full(true));
            if (use_table) y = Code(table[static_cast<uint8_t>(y)], true);
            const int r = In(m.res_addr + (m.res_row0 + oy * 4) % 12 + ox, c);
            const numerics::AddConstants k{constants[0], constants[1], constants[2]};
            const int sum = a ? fp::Add(r, y, k, {5, 250}) : fp::Add(y, r, k, {5, 250});
            ASSERT_EQ(int{Out(m.out_addr + oy * 5 + ox, c)}, sum);
          }
    }
}

TEST_P(Mma, RawAndSplitK) {
  isa::Mma m = Convolution();
  m.raw = true;
  m.out_row_step = 17;
  m.acc_base = 9;
  Run(m, 12);
  for (int oy = 0; oy < m.mh; ++oy)
    for (int ox = 0; ox < m.mw; ++ox)
      for (int c = 0; c < n; ++c) {
        int32_t got;
        std::memcpy(&got,
                    machine.data(kOut + (m.out_addr - 4 * 512 + oy * 17 + 4 * ox) * n + 4 * c), 4);
        ASSERT_EQ(got, Accumulate(m, oy, ox, c) + bias[1][c]);
      }
  // Observed in write order, four vectors a position.
  ASSERT_EQ(machine.observed.writes.size(), static_cast<size_t>(m.mh * m.mw * 4));
  EXPECT_EQ(machine.observed.writes[5].address, static_cast<uint32_t>(m.out_addr + 5));
  EXPECT_EQ(machine.observed.writes[5].instruction, index);
}

// A K loop so long that it is multiplied in parts, behind an instruction whose sums it continues.
TEST_P(Mma, LongK) {
  if (n < 16) return;
  const int tiles = n == 16 ? 4200 : 1300;
  isa::Mma m;
  m.kh = m.in_h = 2;  // both kernel rows read the same row
  m.blocks = tiles / 2;
  m.in_w = m.mw = 2;
  m.x_signed = true;
  m.emit = m.raw = true;
  m.out_addr = 4 * 512;
  m.out_bank = 4;
  m.zx = 3;
  w_signed = true;
  isa::Ldw w;
  w.region = 1;
  w.tiles = tiles + 1;
  w.zw = zw;
  w.w_signed = true;
  isa::Lda l;
  l.region = 1;
  l.n0 = 2;
  l.header.signal0 = isa::Semaphore(0);
  isa::Mma first = m;
  first.init = true;
  first.emit = first.raw = false;
  first.kh = first.blocks = 1;
  first.header.wait0 = isa::Semaphore(0);
  m.header.signal0 = isa::Semaphore(1);
  isa::Sta s;
  s.region = 1;
  s.offset = kOut + (1 << 19);
  s.n0 = 8;
  s.buf_addr = 4 * 512;
  s.buf_bank = 4;
  s.header.wait0 = isa::Semaphore(1);
  EXPECT_EQ(machine.Run(Program(w, l, first, m, s)).fault.cause, 0u);
  for (int x = 0; x < 2; ++x)
    for (int c = 0; c < n; ++c) {
      int64_t want = 0;
      for (int t = 0; t <= tiles; ++t)
        for (int r = 0; r < n; ++r)
          want +=
              (Code(In(x, r), true) - 3) * (Code(*machine.data((t * n + r) * n + c), true) - zw);
      int32_t got;
      std::memcpy(&got, machine.data(kOut + (1 << 19) + (x * n + c) * 4), 4);
      ASSERT_EQ(got, static_cast<int32_t>(want)) << x << " " << c;
    }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Mma, ::testing::Values(4, 8, 16, 32));

class Vec : public FunctionTest {};

TEST_P(Vec, Window) {
  for (auto mode : {isa::WinMode::kDepthwise, isa::WinMode::kSum, isa::WinMode::kMax}) {
    isa::Win w;
    w.mode = mode;
    w.in_addr = 20;
    w.in_oy_step = 20;
    w.in_ky_step = 10;
    w.in_blk_stride = 120;
    w.in_h = 9;
    w.in_w = 10;
    w.iy0 = w.ix0 = -2;
    w.kh = w.kw = 3;
    w.stride_y = w.stride_x = 2;
    w.mh = 5;
    w.mw = 6;
    w.blocks = 2;
    w.out_addr = 4 * 512;
    w.out_row0 = 12;
    w.out_row_step = 6;
    w.out_wrap = 36;
    w.out_blk_stride = 40;
    w.out_bank = 4;
    w.pset = 1;
    w.wrow = 5;
    w.zx = 130;
    w.zw = 0xfe;
    w.zy = 9;
    w.lo = 3;
    w.hi = 200;
    w.w_signed = true;
    w.table = mode == isa::WinMode::kSum;
    w.table_slot = 1;
    Run(w, 0);
    for (int b = 0; b < w.blocks; ++b)
      for (int oy = 0; oy < w.mh; ++oy)
        for (int ox = 0; ox < w.mw; ++ox)
          for (int c = 0; c < n; ++c) {
            int32_t acc = bias[1 + b][c];
            int best = 0;
            for (int t = 0; t < 9; ++t) {
              const int iy = w.iy0 + oy * 2 + t / 3;
              const int ix = w.ix0 + ox * 2 + t % 3;
              if (iy < 0 || iy >= w.in_h || ix < 0 || ix >= w.in_w) continue;
              // The row pointer starts at input row iy0, so row iy lies at (iy - iy0) * 10.
              const int x = In(w.in_addr + (iy - w.iy0) * 10 + b * 120 + ix, c);
              const int tap = Code(
                  *machine.data(kWeights + ((w.wrow + b * 3 + t / 4) * n + c) * 4 + t % 4), true);
              acc += (x - 130) * (mode == isa::WinMode::kSum ? 1 : tap + 2);
              best = std::max(best, x);
            }
            int y = mode == isa::WinMode::kMax ? std::clamp(best, 3, 200)
                                               : fp::Requantize(acc, mult[1 + b][c], 9, {3, 200});
            if (w.table) y = table[256 + y];
            ASSERT_EQ(int{Out(w.out_addr + (12 + oy * 6) % 36 + ox + b * 40, c)}, y);
          }
  }
}

TEST_P(Vec, Elementwise) {
  std::array<std::vector<numerics::AffineConstants>, 2> affine;
  // Sets 2 and 3 for AFFINE: offsets, then factors of either sign.
  for (int set = 2; set < 4; ++set)
    for (int c = 0; c < n; ++c) {
      const float offset = static_cast<float>(static_cast<int>(random() % 20001) - 10000) / 64.0f;
      const float factor = static_cast<float>(static_cast<int>(random() % 4001) - 2000) * 1e-3f;
      std::memcpy(machine.data(kParams + (set * 2 * n + c) * 4), &offset, 4);
      std::memcpy(machine.data(kParams + (set * 2 * n + n + c) * 4), &factor, 4);
      affine[set - 2].push_back({factor, offset});
    }
  for (auto mode :
       {isa::EltMode::kCopy, isa::EltMode::kAdd, isa::EltMode::kMul, isa::EltMode::kAffine}) {
    if (mode == isa::EltMode::kMul) constants = {0.013f, 20.0f, 0.0f};
    for (int slot = 0; slot < 16; ++slot)
      std::memcpy(machine.data(kConsts + slot * 64), constants.data(), 12);
    isa::Elt e;
    e.mode = mode;
    e.mh = 4;
    e.mw = 7;
    e.blocks = 2;
    e.a_addr = 5;
    e.a_row_step = 8;
    e.a_x_step = 1;
    e.a_blk_stride = 40;
    e.b_addr = 512;
    e.b_row_step = 0;  // broadcast of one row
    e.b_x_step = 2;
    e.b_blk_stride = 20;
    e.b_bank = 1;
    e.out_addr = 4 * 512;
    e.out_row_step = 30;
    e.out_x_step = 2;
    e.out_blk_stride = 200;
    e.out_bank = 4;
    e.za = 3;
    e.zb = 0xf0;
    e.lo = 0x88;
    e.hi = 0x70;
    e.b_signed = e.out_signed = true;
    e.table = mode == isa::EltMode::kCopy;
    e.pset = 2;
    Run(e, 0);
    for (int b = 0; b < 2; ++b)
      for (int y = 0; y < 4; ++y)
        for (int x = 0; x < 7; ++x)
          for (int c = 0; c < n; ++c) {
            const int va = In(5 + y * 8 + x + b * 40, c);
            const int vb = Code(In(512 + 2 * x + b * 20, c), true);
            int want = 0;
            if (mode == isa::EltMode::kCopy)
              want = table[va];
            else if (mode == isa::EltMode::kAdd)
              want = fp::Add(va, vb, {constants[0], constants[1], constants[2]}, {-120, 112});
            else if (mode == isa::EltMode::kAffine)
              want = fp::Affine(va, affine[b][c], {-120, 112});
            else
              want = fp::Mul((va - 3) * (vb + 16), constants[0], 20, {-120, 112});
            ASSERT_EQ(int{Out(4 * 512 + y * 30 + 2 * x + b * 200, c)},
                      int{static_cast<uint8_t>(want)});
          }
  }
}

TEST_P(Vec, Pack) {
  isa::Pack p;
  p.in_addr = 30;
  p.in_off = n - 1;
  p.in_off_step = 3;
  p.in_blk_stride = 60;
  p.in_pitch = 23;
  p.in_h = 8;
  p.in_w = 21;
  p.iy0 = p.ix0 = -1;
  p.kh = p.kw = 3;
  p.stride_y = p.stride_x = 2;
  p.planes = 3;
  p.mh = 4;
  p.mw = 11;
  p.out_addr = 4 * 512;
  p.out_row_step = 11;
  p.out_blk_stride = 44;
  p.out_bank = 4;
  p.in_banks = 3;
  p.zx = 77;
  Run(p, 0);
  const int lanes = 27;
  for (int lane = 0; lane < (lanes + n - 1) / n * n; ++lane)
    for (int oy = 0; oy < p.mh; ++oy)
      for (int ox = 0; ox < p.mw; ++ox) {
        int want = 77;
        const int c = lane / 3 % 3;
        const int iy = p.iy0 + oy * 2 + lane / 9;
        const int ix = p.ix0 + ox * 2 + lane % 3;
        if (lane < lanes && iy >= 0 && iy < p.in_h && ix >= 0 && ix < p.in_w)
          want = *machine.data(n * (30 + c * 60) + (n - 1 + c * 3) % n + iy * 23 + ix);
        ASSERT_EQ(int{Out(4 * 512 + oy * 11 + ox + lane / n * 44, lane % n)}, want) << lane;
      }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Vec, ::testing::Values(4, 8, 16, 32));

// Strides, planes and circular rows on both sides.
TEST(Dma, StridedCopies) {
  Machine m;
  for (int i = 0; i < 1 << 18; ++i) *m.data(i) = static_cast<uint8_t>(i * 131 >> 3);
  isa::Lda l;
  l.region = 1;
  l.offset = 48;
  l.mem_stride1 = 1600;
  l.mem_stride2 = 32000;
  l.n0 = 37;
  l.n1 = 5;
  l.n2 = 3;
  l.buf_addr = 10;
  l.buf_row0 = 80;
  l.buf_stride1 = 40;
  l.buf_wrap = 200;
  l.buf_stride2 = 300;
  l.header.signal0 = isa::Semaphore(1);
  isa::Sta s;
  s.region = 1;
  s.offset = 1 << 20;
  s.mem_stride1 = 37 * 16;
  s.mem_stride2 = 5 * 37 * 16;
  s.n0 = 37;
  s.n1 = 5;
  s.n2 = 3;
  s.buf_addr = 10;
  s.buf_row0 = 80;
  s.buf_stride1 = 40;
  s.buf_wrap = 200;
  s.buf_stride2 = 300;
  s.header.wait0 = isa::Semaphore(1);
  EXPECT_EQ(m.Run(Program(l, s)).fault.cause, 0u);
  for (int z = 0; z < 3; ++z)
    for (int y = 0; y < 5; ++y)
      ASSERT_EQ(std::memcmp(m.data(48 + z * 32000 + y * 1600),
                            m.data((1 << 20) + (z * 5 + y) * 592), 592),
                0);
}

// Addresses are modulo 65536, which the largest buffer has: a row may pass over its end.
TEST(Dma, RowsPassOverTheEndOfTheLargestBuffer) {
  sim::DeviceOptions options;
  options.core.n = 4;
  options.core.banks = 32;
  options.core.bank_depth = 2048;
  Machine m(options);
  for (int i = 0; i < 1 << 10; ++i) *m.data(i) = static_cast<uint8_t>(i * 131 >> 3);
  isa::Lda l;
  l.region = 1;
  l.n0 = 24;
  l.buf_addr = 65536 - 8;
  l.buf_banks = 31;
  l.header.signal0 = isa::Semaphore(1);
  isa::Sta s;
  s.region = 1;
  s.offset = 4096;
  s.n0 = 24;
  s.buf_addr = l.buf_addr;
  s.buf_banks = 31;
  s.header.wait0 = isa::Semaphore(1);
  isa::Sta front = s;
  front.header.wait0 = 0;
  front.offset = 8192;
  front.n0 = 16;
  front.buf_addr = 0;
  EXPECT_EQ(m.Run(Program(l, s, front)).fault.cause, 0u);
  EXPECT_EQ(std::memcmp(m.data(4096), m.data(0), 96), 0);
  EXPECT_EQ(std::memcmp(m.data(8192), m.data(32), 64), 0);
}

}  // namespace
}  // namespace octile
