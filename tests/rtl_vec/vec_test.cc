// The vector unit (rtl/vector/oct_vec.sv) for N = 4, 8, 16 and 32: random instructions of every
// mode against the model in vec_model.h. In every cycle the buffer reads, the buffer writes and all
// status outputs must be those of the model. A part of the instructions breaks its bank claims; the
// unit is then frozen, cleared and used again. Replay: rtl_vec_test --seed=<number printed>.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "Voct_vec16.h"
#include "Voct_vec32.h"
#include "Voct_vec4.h"
#include "Voct_vec8.h"
#include "octile/isa/isa.h"
#include "vec_model.h"

namespace octile::rtl_vec {
namespace {

uint64_t g_seed = 20250612;

class Random {
 public:
  explicit Random(uint64_t salt) : engine_(g_seed * 1000003 + salt) {}
  int Int(int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(engine_); }
  bool OneIn(int n) { return Int(1, n) == 1; }
  int Byte() { return Int(0, 255); }
  uint32_t Word() { return static_cast<uint32_t>(engine_()); }
  uint32_t LogUniform(double lo, double hi) {
    return std::bit_cast<uint32_t>(
        static_cast<float>(std::exp2(std::uniform_real_distribution<double>(lo, hi)(engine_))));
  }

 private:
  std::mt19937_64 engine_;
};

// ---- Random instructions. Most stay inside the buffer; the model knows what happens to the
// others. ------------------

void RandomClamp(Random& random, bool is_signed, int32_t& lo, int32_t& hi) {
  const int min = is_signed ? -128 : 0;
  int a = 0, b = 255;
  if (random.OneIn(3)) {
    a = random.Int(0, 255);
    b = random.Int(a, 255);
  }
  lo = (a + min) & 0xff;
  hi = (b + min) & 0xff;
}

// The last quarter of the sets holds factors and offsets of ELT AFFINE.
int FirstAffineSet(const Config& config) { return config.psets - config.psets / 4; }

template <typename Op>
void RandomOutput(Random& random, const Config& config, int columns, Op& op) {
  const int pitch = columns + random.Int(0, 2);
  op.out_addr = random.Int(0, config.Vectors() / 2);
  op.out_row_step = pitch;
  op.out_blk_stride = pitch * op.mh + random.Int(0, 3);
  if (random.OneIn(3)) {
    op.out_wrap = pitch * random.Int(1, op.mh + 1);
    op.out_row0 = pitch * random.Int(0, op.out_wrap / pitch - 1);
    if (op.out_row_step >= op.out_wrap) op.out_row_step = 0;
  }
}

// Claims: the whole buffer, or now and then too little of it.
void RandomClaim(Random& random, const Config& config, int32_t& bank, int32_t& banks) {
  bank = 0;
  banks = config.banks - 1;
  if (random.OneIn(14)) {
    bank = random.Int(0, config.banks - 1);
    banks = random.Int(0, config.banks - 1 - bank);
  }
}

isa::Operation RandomWin(Random& random, const Config& config) {
  isa::Win op;
  op.mode = static_cast<isa::WinMode>(random.Int(0, 2));
  op.kh = random.Int(1, random.OneIn(3) ? 5 : 3);
  op.kw = random.Int(1, random.OneIn(3) ? 5 : 3);
  op.stride_y = random.Int(1, 3);
  op.stride_x = random.Int(1, 3);
  op.dil_y = random.Int(1, 2);
  op.dil_x = random.Int(1, 2);
  op.mh = random.Int(1, 5);
  op.mw = random.Int(1, 6);
  op.blocks = random.Int(1, 3);
  op.in_h = random.Int(1, 9);
  op.in_w = random.Int(1, 9);
  op.iy0 = random.Int(-4, 2);
  op.ix0 = random.Int(-4, 2);
  const bool far = random.OneIn(20);
  if (far) {  // the largest kernels, steps and images
    op.mode = random.OneIn(2) ? isa::WinMode::kSum : isa::WinMode::kMax;
    op.kh = random.Int(20, 63);
    op.kw = random.Int(20, 63);
    op.stride_y = op.stride_x = 15;
    op.dil_y = op.dil_x = random.Int(28, 31);
    op.mh = random.Int(1, 2);
    op.mw = random.Int(1, 2);
    op.blocks = 1;
    op.in_h = random.OneIn(2) ? 65535 : random.Int(1, 2000);
    op.in_w = random.Int(1, 900);
    op.iy0 = random.OneIn(2) ? -32768 : random.Int(-3000, 32767);
    op.ix0 = random.OneIn(4) ? -32768 : random.Int(-2000, 900);
  }
  const int pitch = op.in_w + random.Int(0, 2);
  op.in_addr = far ? random.Int(0, 600) : random.Int(8 * pitch, 600);
  op.in_oy_step = pitch * op.stride_y;
  op.in_ky_step = pitch * op.dil_y;
  op.in_blk_stride = pitch * op.in_h + random.Int(0, 4);
  op.in_row0 = (op.iy0 * pitch) & 0xffff;
  if (random.OneIn(3)) {
    op.in_wrap = pitch * random.Int(std::max(op.stride_y, op.dil_y) + 1, 8);
    op.in_row0 = random.Int(0, op.in_wrap - 1);
  }
  if (far) op.in_row0 = op.in_wrap = op.in_oy_step = op.in_ky_step = 0;
  RandomOutput(random, config, op.mw, op);
  RandomClaim(random, config, op.in_bank, op.in_banks);
  RandomClaim(random, config, op.out_bank, op.out_banks);
  const int rows = (op.kh * op.kw + 3) / 4;
  op.wrow = far ? 0 : random.Int(0, config.wrows - rows * op.blocks);
  op.pset_shared = random.OneIn(3);
  op.pset = random.Int(0, FirstAffineSet(config) - op.blocks);
  op.x_signed = random.OneIn(2);
  op.w_signed = random.OneIn(2);
  op.y_signed = random.OneIn(2);
  op.zx = random.Byte();
  op.zw = random.OneIn(2) ? 0 : random.Byte();
  op.zy = random.Byte();
  RandomClamp(random, op.mode == isa::WinMode::kMax ? op.x_signed : op.y_signed, op.lo, op.hi);
  op.table = random.OneIn(3);
  op.table_slot = random.Int(0, 3);
  return op;
}

// WIN by columns, with all its edges; a part breaks one of its conditions and goes tap by tap.
isa::Operation RandomColumns(Random& random, const Config& config) {
  isa::Win op;
  op.mode = static_cast<isa::WinMode>(random.Int(0, 2));
  do {
    op.kh = random.OneIn(2) ? 3 : random.Int(1, 5);
    op.kw = random.OneIn(2) ? 3 : random.Int(1, 5);
  } while (op.kh * op.kw == 1 && !random.OneIn(20));
  op.stride_y = random.OneIn(2) ? 1 : random.Int(1, std::min(2, op.kh));
  op.stride_x = random.OneIn(2) ? 1 : random.Int(1, op.kw);
  op.dil_y = op.kh == 1 ? random.Int(1, 31) : 1;
  op.dil_x = op.kw == 1 ? random.Int(1, 31) : 1;
  op.mh = random.OneIn(4) ? random.Int(1, 20) : random.Int(1, 8);
  op.mw = random.OneIn(4) ? random.Int(1, 20) : random.Int(1, 6);
  op.blocks = random.OneIn(3) ? random.Int(1, 8) : random.Int(1, 2);
  if (random.OneIn(16)) {
    (random.OneIn(2) ? op.stride_y : op.stride_x) = random.Int(1, 15);
    (random.OneIn(2) ? op.dil_y : op.dil_x) = random.Int(1, 3);
    if (random.OneIn(2)) (random.OneIn(2) ? op.kh : op.kw) = random.Int(5, 7);
  }
  // The image about as large as what the windows cover, shifted; now and then much smaller, or
  // missed altogether.
  const int rows = (op.mh - 1) * op.stride_y + op.kh, cols = (op.mw - 1) * op.stride_x + op.kw;
  op.in_h = std::max(1, rows + random.Int(-4, 2));
  op.in_w = std::max(1, cols + random.Int(-4, 2));
  op.iy0 = random.Int(-3, 2);
  op.ix0 = random.Int(-3, 2);
  if (random.OneIn(10)) op.in_h = random.Int(1, 3);
  if (random.OneIn(10)) op.in_w = random.Int(1, 3);
  if (random.OneIn(20)) op.iy0 = random.OneIn(2) ? -32768 : random.Int(-60, 32767);
  if (random.OneIn(20)) op.ix0 = random.OneIn(2) ? -32768 : random.Int(-60, 32767);
  const int pitch = op.in_w + random.Int(0, 2);
  op.in_addr = random.Int(3 * pitch, 600);
  op.in_ky_step = pitch;
  op.in_blk_stride = random.OneIn(5) ? 0 : pitch * op.in_h + random.Int(0, 4);
  op.in_row0 = (op.iy0 * pitch) & 0xffff;
  if (op.iy0 < -100 || op.iy0 > 100) op.in_row0 = 0;
  if (random.OneIn(2)) {  // a ring of rows, perhaps not of whole ones
    op.in_wrap = pitch * random.Int(2, 9) + (random.OneIn(3) ? random.Int(0, pitch - 1) : 0);
    op.in_row0 = random.Int(0, op.in_wrap - 1);
  } else if (random.OneIn(4)) {  // backwards
    op.in_ky_step = -pitch & 0xffff;
    op.in_row0 = pitch * (op.in_h - 1 - op.iy0) & 0xffff;
  }
  op.in_oy_step = op.in_ky_step * op.stride_y & 0xffff;
  if (op.in_wrap != 0) op.in_oy_step = op.in_ky_step * op.stride_y % op.in_wrap;
  if (random.OneIn(12)) op.in_oy_step ^= 1 << random.Int(0, 5);
  if (op.in_wrap != 0) op.in_oy_step %= op.in_wrap;
  RandomOutput(random, config, op.mw, op);
  if (random.OneIn(3)) op.out_addr = random.Int(0, 40);
  RandomClaim(random, config, op.in_bank, op.in_banks);
  RandomClaim(random, config, op.out_bank, op.out_banks);
  const int words = (op.kh * op.kw + 3) / 4;
  op.blocks = std::min(op.blocks, config.wrows / words);
  op.wrow = random.Int(0, config.wrows - words * op.blocks);
  op.pset_shared = random.OneIn(3);
  op.pset = random.Int(0, FirstAffineSet(config) - op.blocks);
  op.x_signed = random.OneIn(2);
  op.w_signed = random.OneIn(2);
  op.y_signed = random.OneIn(2);
  op.zx = random.Byte();
  op.zw = random.OneIn(2) ? 0 : random.Byte();
  op.zy = random.Byte();
  RandomClamp(random, op.mode == isa::WinMode::kMax ? op.x_signed : op.y_signed, op.lo, op.hi);
  op.table = random.OneIn(3);
  op.table_slot = random.Int(0, 3);
  return op;
}

isa::Operation RandomElt(Random& random, const Config& config) {
  isa::Elt op;
  op.mode = static_cast<isa::EltMode>(random.Int(0, 3));
  op.mh = random.Int(1, 8);
  op.mw = random.Int(1, 12);
  op.blocks = random.Int(1, 3);
  op.pset = random.Int(FirstAffineSet(config), config.psets - op.blocks);
  const auto input = [&](int32_t& addr, int32_t& row0, int32_t& row_step, int32_t& wrap,
                         int32_t& blk_stride, int32_t& x_step) {
    x_step = random.OneIn(5) ? 0 : random.Int(1, 2);
    const int pitch = std::max(1, op.mw * x_step + random.Int(0, 2));
    addr = random.Int(0, 600);
    row_step = random.OneIn(5) ? 0 : pitch;
    blk_stride = random.OneIn(5) ? 0 : pitch * op.mh + random.Int(0, 3);
    if (random.OneIn(3)) {
      wrap = pitch * random.Int(2, 6);
      row0 = random.Int(0, wrap - 1);
    }
  };
  input(op.a_addr, op.a_row0, op.a_row_step, op.a_wrap, op.a_blk_stride, op.a_x_step);
  input(op.b_addr, op.b_row0, op.b_row_step, op.b_wrap, op.b_blk_stride, op.b_x_step);
  op.out_x_step = random.Int(1, 3);
  RandomOutput(random, config, op.mw * op.out_x_step, op);
  RandomClaim(random, config, op.in_bank, op.in_banks);
  RandomClaim(random, config, op.b_bank, op.b_banks);
  RandomClaim(random, config, op.out_bank, op.out_banks);
  if (random.OneIn(
          12)) {  // several streams at fault in one cycle: the first in the order a, b, out counts
    op.a_addr = op.b_addr = op.out_addr = 0;
    op.a_row0 = op.a_wrap = op.b_row0 = op.b_wrap = op.out_row0 = op.out_wrap = 0;
    op.b_addr = 1;
    op.out_addr = 2;
    for (auto* bank : {&op.in_bank, &op.b_bank, &op.out_bank}) *bank = random.OneIn(4) ? 0 : 1;
    op.in_banks = op.b_banks = op.out_banks = random.Int(0, config.banks - 2);
  }
  op.const_slot = random.Int(0, 7) + (op.mode == isa::EltMode::kMul ? 8 : 0);
  op.za = random.Byte();
  op.zb = random.Byte();
  op.a_signed = random.OneIn(2);
  op.b_signed = random.OneIn(2);
  op.out_signed = random.OneIn(2);
  RandomClamp(random, op.out_signed, op.lo, op.hi);
  op.table = random.OneIn(3);
  op.table_slot = random.Int(0, 3);
  return op;
}

isa::Operation RandomPack(Random& random, const Config& config) {
  isa::Pack op;
  op.planes = random.Int(1, random.OneIn(8) ? 12 : 4);
  op.kh = random.Int(1, 3);
  op.kw = random.OneIn(8) ? random.Int(1, std::min(63, 2 * config.n + 1)) : random.Int(1, 7);
  op.stride_y = random.Int(1, 3);
  op.stride_x = random.Int(1, 4);
  op.mh = random.Int(1, 3);
  op.mw = random.Int(1, 2 * config.n + 2);
  op.in_h = random.Int(1, 6);
  op.in_w = std::max(1, op.mw * op.stride_x + random.Int(-6, 6));
  op.in_pitch = op.in_w + random.Int(0, 5);
  op.iy0 = random.Int(-3, 3);
  op.ix0 = random.OneIn(4) ? random.Int(-2 * config.n, 2 * config.n) : random.Int(-4, 1);
  op.in_addr = random.Int(0, 200);
  op.in_off = random.Int(0, config.n - 1);
  op.in_off_step = random.Int(0, config.n - 1);
  op.in_blk_stride = (op.in_h * op.in_pitch + config.n - 1) / config.n + random.Int(0, 2);
  op.zx = random.Byte();
  RandomOutput(random, config, op.mw, op);
  RandomClaim(random, config, op.in_bank, op.in_banks);
  RandomClaim(random, config, op.out_bank, op.out_banks);
  return op;
}

// ---- The bench
// -----------------------------------------------------------------------------------------------------

template <typename Dut>
class Bench {
 public:
  explicit Bench(int n) : random_(n), parameters_({}) {
    config_.n = n;
    a_data_.resize(n);
    b_data_.resize(n);
    parameters_ = Parameters(config_);
    buffer_.assign(config_.Vectors(), Vector(n));
    for (auto& vector : buffer_) {
      for (auto& byte : vector) byte = random_.Byte();
    }
    dut_.rst_ni = 0;
    Step();
    Step();
    dut_.rst_ni = 1;
    Clear();
  }

  // The read cycles of shapes that networks have, worked out by hand from the law; the outputs are
  // those of the model.
  void RunShapes() {
    struct Shape {
      int kh, kw, stride, dilation, mh, mw, blocks;
      int64_t read_cycles;
    };
    LoadAll();
    for (const Shape& shape : {
             // 3 x 3: groups of 6 rows from 8 input rows, 6 cycles of results hidden behind 8 of
             // reads; 2 groups of 12 columns.
             Shape{3, 3, 1, 1, 12, 10, 1, 2 * 12 * 8 + 6},
             // The last group has 2 rows, columns of 4; its first hides the 6 results of the full
             // group.
             Shape{3, 3, 1, 1, 8, 10, 1, 12 * 8 + 6 + 11 * 4 + 2},
             // Stride 2: groups of 3 rows from 7; 2 * 9 + 3 columns.
             Shape{3, 3, 2, 1, 6, 10, 1, 2 * 21 * 7 + 3},
             // 5 x 5: groups of 4 rows from 8; a result takes 3 cycles, 12 a column; before the
             // first result 5 columns of reads alone.
             Shape{5, 5, 1, 1, 4, 10, 1, 5 * 8 + 10 * 12},
             // ... and in the second block its first column still waits for results.
             Shape{5, 5, 1, 1, 4, 10, 2, 5 * 8 + 9 * 12 + 12 + 4 * 8 + 9 * 12 + 12},
             // 2 x 2 with stride 2: groups of 4 rows from 8, every second of 20 columns completes.
             Shape{2, 2, 2, 1, 8, 10, 1, 2 * 20 * 8 + 4},
             // One row: 8 rows a group, columns of 8 hide 8 results.
             Shape{1, 5, 1, 1, 16, 6, 1, 2 * 10 * 8 + 8},
             // Tap by tap: dilation; one tap; more than five rows.
             Shape{3, 3, 1, 2, 6, 5, 1, 6 * 5 * 9},
             Shape{1, 1, 1, 1, 6, 5, 2, 6 * 5 * 2},
             Shape{7, 1, 1, 1, 6, 5, 1, 6 * 5 * 7},
         }) {
      isa::Win op;
      op.kh = shape.kh;
      op.kw = shape.kw;
      op.stride_y = op.stride_x = shape.stride;
      op.dil_y = op.dil_x = shape.dilation;
      op.mh = shape.mh;
      op.mw = shape.mw;
      op.blocks = shape.blocks;
      op.in_h = op.in_w = 20;
      op.iy0 = op.ix0 = -1;
      op.in_addr = 40;
      op.in_row0 = -20 & 0xffff;
      op.in_oy_step = 20 * shape.stride;
      op.in_ky_step = 20 * shape.dilation;
      op.in_blk_stride = 400;
      op.in_banks = op.out_banks = config_.banks - 1;
      op.out_addr = 1000;
      op.out_row_step = op.mw;
      op.out_blk_stride = op.mw * op.mh;
      op.hi = 255;
      const isa::Instruction code = isa::Encode(op);
      ASSERT_EQ(isa::IllegalReason(code).value_or(""), "");
      std::vector<Vector> after = buffer_;
      EXPECT_EQ(Run(config_, parameters_, op, after).read_cycles, shape.read_cycles)
          << Describe(0, op);
      RunOne(0, op, code);
    }
  }

  void RunAll(int instructions) {
    LoadAll();
    for (int i = 0; i < instructions && !testing::Test::HasFailure(); ++i) {
      const int kind = random_.Int(0, 13);
      const isa::Operation op = kind < 4    ? RandomWin(random_, config_)
                                : kind < 7  ? RandomElt(random_, config_)
                                : kind < 10 ? RandomPack(random_, config_)
                                            : RandomColumns(random_, config_);
      const isa::Instruction code = isa::Encode(op);
      ASSERT_EQ(isa::IllegalReason(code).value_or(""), "");
      RunOne(i, op, code);
      if (random_.OneIn(4)) LoadSome();
    }
    if (testing::Test::HasFailure()) return;
    for (int64_t i : {0, 1, 2}) {
      EXPECT_GT(win_modes_[i], 0);
      EXPECT_GT(column_modes_[i], 0);
    }
    for (int64_t i : {0, 1, 2, 3}) EXPECT_GT(elt_modes_[i], 0);
    EXPECT_GT(packs_, 0);
    EXPECT_GT(faults_, 0);
    EXPECT_GT(freezes_, 0);
    EXPECT_GT(padding_, 0);
    EXPECT_GT(wraps_, 0);
    std::printf(
        "  N = %d: %d instructions (%ld with a claim fault), %ld cycles, %ld writes, %ld padding "
        "taps, %ld wraps\n",
        config_.n, instructions, static_cast<long>(faults_), static_cast<long>(cycle_),
        static_cast<long>(writes_), static_cast<long>(padding_), static_cast<long>(wraps_));
  }

 private:
  // One clock cycle; the inputs have been set. `check` looks at the outputs before the edge.
  template <typename Check>
  void Step(Check check) {
    dut_.clk_i = 0;
    dut_.eval();
    check();
    // The buffer: 1R1W banks, data in the next cycle, a read sees the state before a write of the
    // same cycle.
    const auto read = [&](bool re, uint16_t address, Vector& data) {
      if (re) data = address < buffer_.size() ? buffer_[address] : Vector(config_.n);
    };
    read(dut_.a_re_o, dut_.a_addr_o, a_data_);
    read(dut_.b_re_o, dut_.b_addr_o, b_data_);
    if (dut_.out_we_o && dut_.out_addr_o < buffer_.size())
      std::memcpy(buffer_[dut_.out_addr_o].data(), &dut_.out_data_o, config_.n);
    dut_.clk_i = 1;
    dut_.eval();
    std::memcpy(&dut_.a_data_i, a_data_.data(), config_.n);
    std::memcpy(&dut_.b_data_i, b_data_.data(), config_.n);
    dut_.issue_i = 0;
    dut_.prm_we_i = 0;
    ++cycle_;
  }
  void Step() {
    Step([] {});
  }

  // Soft reset: clears the unit and scrubs its memories.
  void Clear() {
    dut_.clear_i = 1;
    for (int i = 0; i < std::max({1024 / config_.n, config_.psets, config_.wrows}); ++i) Step();
    dut_.clear_i = 0;
    dut_.freeze_i = 0;
    parameters_ = Parameters(config_);
  }

  // One beat of a parameter load, in this cycle.
  void Beat(isa::LdpTarget target, int entry, int beat, const uint8_t* bytes) {
    dut_.prm_we_i = 1;
    dut_.prm_target_i = static_cast<int>(target);
    dut_.prm_entry_i = entry;
    dut_.prm_beat_i = beat;
    std::memcpy(&dut_.prm_data_i, bytes, config_.n);
  }
  void Load(isa::LdpTarget target, int entry, const std::vector<uint8_t>& bytes) {
    for (int beat = 0; beat * config_.n < static_cast<int>(bytes.size()); ++beat) {
      while (random_.OneIn(8)) Step();
      Beat(target, entry, beat, bytes.data() + beat * config_.n);
      Step();
    }
  }
  template <typename T>
  static void Append(std::vector<uint8_t>& bytes, const T& values) {
    for (const auto& value : values) {
      const auto* p = reinterpret_cast<const uint8_t*>(&value);
      for (size_t i = 0; i < sizeof(value); ++i) bytes.push_back(p[i]);
    }
  }
  // Factor and offset of AFFINE: either sign, zeros, and now and then near the ends of their
  // domains.
  void NewAffine(int set, int lane) {
    const bool wild = random_.OneIn(8);
    uint32_t factor = wild ? random_.LogUniform(-40, 19) : random_.LogUniform(-5, 1);
    uint32_t offset =
        wild ? random_.LogUniform(-64, 29)
             : std::bit_cast<uint32_t>(static_cast<float>(random_.Int(-30000, 30000)) / 64.0f);
    if (random_.OneIn(16)) factor = 0;
    if (random_.OneIn(16)) offset = 0;
    if (random_.OneIn(2)) factor |= 0x80000000u;
    if (random_.OneIn(2)) offset ^= 0x80000000u;
    parameters_.mult[set][lane] = factor;
    parameters_.bias[set][lane] = static_cast<int32_t>(offset);
  }
  // Chooses new contents for an entry and gives its bytes as LDP delivers them.
  std::vector<uint8_t> NewSet(int set) {
    std::vector<uint8_t> bytes;
    for (int l = 0; l < config_.n; ++l) {
      if (set >= FirstAffineSet(config_)) {
        NewAffine(set, l);
        continue;
      }
      parameters_.bias[set][l] =
          random_.OneIn(8) ? static_cast<int32_t>(random_.Word()) : random_.Int(-20000, 20000);
      parameters_.mult[set][l] = random_.OneIn(16) ? 0 : random_.LogUniform(-15, -4);
    }
    Append(bytes, parameters_.bias[set]);
    Append(bytes, parameters_.mult[set]);
    return bytes;
  }
  std::vector<uint8_t> NewWeights(int row) {
    std::vector<uint8_t> bytes;
    for (auto& word : parameters_.weight[row]) word = random_.Word();
    Append(bytes, parameters_.weight[row]);
    return bytes;
  }
  std::vector<uint8_t> NewTable(int slot) {
    for (auto& code : parameters_.table[slot]) code = random_.Byte();
    return {parameters_.table[slot].begin(), parameters_.table[slot].end()};
  }
  std::vector<uint8_t> NewConstants(int slot) {
    auto& c = parameters_.constant[slot];
    c[0] = random_.LogUniform(slot < 8 ? -4 : -10, slot < 8 ? 1 : -4);
    c[1] = slot < 8 ? random_.LogUniform(-4, 1)
                    : std::bit_cast<uint32_t>(static_cast<float>(random_.Int(-128, 255)));
    c[2] = std::bit_cast<uint32_t>(static_cast<float>(random_.Int(-400, 400)) / 7.0f);
    std::vector<uint8_t> bytes;
    Append(bytes, c);
    bytes.resize(64);
    return bytes;
  }
  void LoadAll() {
    for (int i = 0; i < config_.psets; ++i) Load(isa::LdpTarget::kVecSet, i, NewSet(i));
    for (int i = 0; i < config_.wrows; ++i) Load(isa::LdpTarget::kVecWeight, i, NewWeights(i));
    for (int i = 0; i < 4; ++i) Load(isa::LdpTarget::kVecTable, i, NewTable(i));
    for (int i = 0; i < 16; ++i) Load(isa::LdpTarget::kVecConst, i, NewConstants(i));
    for (int target = 0; target < 3; ++target) {  // entries of the matrix unit are none of ours
      Load(static_cast<isa::LdpTarget>(target), 0, std::vector<uint8_t>(8 * config_.n, 0x5a));
    }
  }
  void LoadSome() {
    const int set = random_.Int(0, config_.psets - 1), row = random_.Int(0, config_.wrows - 1);
    Load(isa::LdpTarget::kVecSet, set, NewSet(set));
    Load(isa::LdpTarget::kVecWeight, row, NewWeights(row));
    const int slot = random_.Int(0, 3), constant = random_.Int(0, 15);
    Load(isa::LdpTarget::kVecTable, slot, NewTable(slot));
    Load(isa::LdpTarget::kVecConst, constant, NewConstants(constant));
  }

  std::string Describe(int number, const isa::Operation& op) {
    std::string text = "N " + std::to_string(config_.n) + ", instruction " +
                       std::to_string(number) + ", seed " + std::to_string(g_seed) + ":";
    const isa::Instruction code = isa::Encode(op);
    const isa::FormatInfo& format = *isa::FindFormat(isa::OpcodeBits(code));
    text += " " + std::string(format.name);
    for (const auto& field : format.fields) {
      if (const int64_t value = isa::GetField(code, field))
        text += " " + std::string(field.name) + "=" + std::to_string(value);
    }
    return text;
  }

  void RunOne(int number, const isa::Operation& op, const isa::Instruction& code) {
    SCOPED_TRACE(Describe(number, op));
    if (const auto* win = std::get_if<isa::Win>(&op)) ++win_modes_[static_cast<int>(win->mode)];
    if (const auto* elt = std::get_if<isa::Elt>(&op)) ++elt_modes_[static_cast<int>(elt->mode)];
    if (std::holds_alternative<isa::Pack>(op)) ++packs_;

    std::vector<Vector> after = buffer_;
    Expected expected = Run(config_, parameters_, op, after);
    // Now and then a fault of another unit stops everything in the middle.
    std::optional<int64_t> freeze;
    if (random_.OneIn(10)) {
      freeze = random_.Int(0, static_cast<int>(expected.done) - 1);
      after = buffer_;
      expected = Run(config_, parameters_, op, after, freeze);
      ++freezes_;
    }
    if (expected.columns) ++column_modes_[static_cast<int>(std::get<isa::Win>(op).mode)];
    padding_ += expected.padding_taps;
    wraps_ += expected.wraps;
    writes_ += static_cast<int64_t>(expected.writes.size());

    const uint32_t index = random_.Word();
    dut_.issue_i = 1;
    std::memcpy(&dut_.instr_i, code.words.data(), 64);
    dut_.index_i = index;
    const int64_t last = expected.fault.value_or(freeze.value_or(expected.done));
    for (int64_t t = 0; t <= last; ++t) {
      Step([&] { Check(t, index, expected); });
      if (testing::Test::HasFailure()) return;
      std::memset(&dut_.instr_i, 0xa5, 64);  // the unit must not look at it again
      dut_.index_i = 0;
    }
    if (expected.fault) ++faults_;
    if (expected.fault || freeze) {
      dut_.freeze_i = 1;
      for (int t = 0; t < 40; ++t) {
        Step([&] {
          EXPECT_FALSE(dut_.a_re_o || dut_.b_re_o || dut_.out_we_o || dut_.done_o ||
                       dut_.claim_fault_o)
              << "something moves " << t << " cycles after the fault";
        });
      }
    }
    for (int v = 0; v < config_.Vectors(); ++v) {
      ASSERT_EQ(buffer_[v], after[v]) << "vector " << v;
    }
    if (expected.fault || freeze) {
      Clear();
      if (random_.OneIn(2)) LoadAll();  // otherwise the next instructions find zeros
    }
    while (random_.OneIn(3)) {
      Step([&] {
        EXPECT_TRUE(dut_.ready_o);
        EXPECT_FALSE(dut_.active_o || dut_.busy_o || dut_.done_o || dut_.class_active_o ||
                     dut_.a_re_o || dut_.b_re_o || dut_.out_we_o || dut_.claim_fault_o);
      });
    }
  }

  // The outputs in cycle t after the issue.
  void Check(int64_t t, uint32_t index, const Expected& expected) {
    const auto where = [&] { return "cycle " + std::to_string(t) + " after the issue"; };
    EXPECT_EQ(dut_.ready_o != 0, t == 0) << where();
    EXPECT_EQ(dut_.active_o != 0, t > 0) << where();
    EXPECT_EQ(dut_.busy_o != 0, t > 0) << where();
    EXPECT_EQ(dut_.class_active_o != 0, t >= 1 && t <= expected.read_cycles) << where();
    EXPECT_EQ(dut_.done_o != 0, t == expected.done) << where();
    EXPECT_EQ(dut_.claim_fault_o != 0, t == expected.fault.value_or(-1)) << where();
    if (dut_.claim_fault_o) {
      EXPECT_EQ(dut_.claim_addr_o, expected.fault_address) << where();
      EXPECT_EQ(dut_.claim_index_o, index) << where();
    }
    CheckRead("a", dut_.a_re_o, dut_.a_addr_o, t, expected.reads_a);
    CheckRead("b", dut_.b_re_o, dut_.b_addr_o, t, expected.reads_b);
    const auto write = expected.writes.find(t);
    ASSERT_EQ(dut_.out_we_o != 0, write != expected.writes.end()) << where();
    if (dut_.out_we_o) {
      Vector data(config_.n);
      std::memcpy(data.data(), &dut_.out_data_o, config_.n);
      EXPECT_EQ(dut_.out_addr_o, write->second.address) << where();
      EXPECT_EQ(dut_.out_index_o, index) << where();
      EXPECT_EQ(data, write->second.data) << where();
    }
  }
  void CheckRead(const char* name, bool re, uint16_t address, int64_t t,
                 const std::map<int64_t, uint16_t>& reads) {
    const auto read = reads.find(t);
    EXPECT_EQ(re, read != reads.end())
        << "read " << name << " in cycle " << t << " after the issue";
    if (re && read != reads.end()) {
      EXPECT_EQ(address, read->second)
          << "read " << name << " in cycle " << t << " after the issue";
    }
  }

  Random random_;
  Config config_;
  Parameters parameters_;
  std::vector<Vector> buffer_;
  Vector a_data_, b_data_;  // what the buffer's read ports show
  Dut dut_;
  int64_t cycle_ = 0;
  int64_t win_modes_[3] = {}, column_modes_[3] = {}, elt_modes_[4] = {}, packs_ = 0, faults_ = 0,
          freezes_ = 0, padding_ = 0, wraps_ = 0, writes_ = 0;
};

TEST(OctVec, Shapes) { std::make_unique<Bench<Voct_vec4>>(4)->RunShapes(); }
TEST(OctVec, N4) { std::make_unique<Bench<Voct_vec4>>(4)->RunAll(600); }
TEST(OctVec, N8) { std::make_unique<Bench<Voct_vec8>>(8)->RunAll(500); }
TEST(OctVec, N16) { std::make_unique<Bench<Voct_vec16>>(16)->RunAll(400); }
TEST(OctVec, N32) { std::make_unique<Bench<Voct_vec32>>(32)->RunAll(300); }

}  // namespace
}  // namespace octile::rtl_vec

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]).starts_with("--seed="))
      octile::rtl_vec::g_seed = std::stoull(argv[i] + 7);
  }
  if (!testing::GTEST_FLAG(list_tests))
    std::printf("seed %llu\n", static_cast<unsigned long long>(octile::rtl_vec::g_seed));
  // Registers without reset start with random values.
  Verilated::randReset(2);
  Verilated::randSeed(static_cast<int>(octile::rtl_vec::g_seed & 0x7fffffff));
  return RUN_ALL_TESTS();
}
