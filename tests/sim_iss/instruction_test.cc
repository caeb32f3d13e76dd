// Every instruction against the formulas of docs/isa.md and the fp32 form of docs/numerics.md,
// written out here value by value, with random operands. One instruction can be run again:
// OCTILE_SEED=K sim_iss_test --gtest_filter=... with the seed a failure names.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <random>

#include "machine.h"

namespace octile {
namespace {

int Code(int byte, bool is_signed) {
  return is_signed ? static_cast<int8_t>(byte) : static_cast<uint8_t>(byte);
}
float Float(int32_t value) { return static_cast<float>(value); }

// N3: RN(clamp(fl(fl(acc) * m), lo - zy, hi - zy)) + zy.
int Requantize(int32_t acc, float m, int zy, int lo, int hi) {
  const float product = Float(acc) * m;
  const float clamped = std::min(std::max(product, Float(lo - zy)), Float(hi - zy));
  return static_cast<int>(std::nearbyintf(clamped)) + zy;
}

// sat(RN(v)).
int Saturate(float v, int lo, int hi) {
  return static_cast<int>(std::nearbyintf(std::min(std::max(v, Float(lo)), Float(hi))));
}

// N6.
int Add(int a, int b, const float c[3], int lo, int hi) {
  return Saturate(std::fmaf(Float(a), c[0], std::fmaf(Float(b), c[1], c[2])), lo, hi);
}

// N13.
int Affine(int q, float factor, float offset, int lo, int hi) {
  return Saturate(std::fmaf(Float(q), factor, offset), lo, hi);
}

// N7.
int Multiply(int a, int za, int b, int zb, float r, float zc, int lo, int hi) {
  const float product = Float((a - za) * (b - zb)) * r;
  const float sum = product + zc;
  return Saturate(sum, lo, hi);
}

struct Range {
  int lo, hi;
};
Range Full(bool is_signed) { return is_signed ? Range{-128, 127} : Range{0, 255}; }

class Instructions : public ::testing::TestWithParam<const char*> {
 protected:
  // What lies in region 1.
  static constexpr uint32_t kImage = 0;  // the activation buffer, from vector 0 on
  static constexpr uint32_t kSets = 512 << 10;
  static constexpr uint32_t kTables = 640 << 10;
  static constexpr uint32_t kConstants = 704 << 10;
  static constexpr uint32_t kRows = 720 << 10;
  static constexpr uint32_t kTiles = 800 << 10;
  static constexpr int kSetCount = 20;
  static constexpr int kAffineSet = 16;  // from here on sets for ELT AFFINE
  static constexpr int kRowCount = 96;

  Instructions() : arch(LoadConfig(GetParam())->arch), n(arch.n) {}

  void Begin(uint64_t seed) {
    random.seed(seed);
    sim::IssOptions options{CoreOf(arch), seed, true};
    machine = std::make_unique<Machine>(options);
    for (uint32_t i = 0; i < Machine::kBytes; ++i)
      *machine->data(1, i) = static_cast<uint8_t>(random());
    for (int set = 0; set < kSetCount; ++set)
      for (int lane = 0; lane < n; ++lane) {
        const uint32_t first = kSets + static_cast<uint32_t>(set * 8 * n + 4 * lane);
        const uint32_t second = first + static_cast<uint32_t>(4 * n);
        const float fraction = 1.0f + Float(Draw(0, 1 << 22)) / Float(1 << 22);
        if (set >= kAffineSet) {  // N13
          Store(first, Draw(0, 9) == 0 ? 0.0f : Float(Draw(-9000, 9000)) / 64.0f);
          const float factor = std::ldexp(fraction, Draw(-4, 0));
          Store(second, Draw(0, 9) == 0 ? 0.0f : Coin() ? factor : -factor);
          continue;
        }
        Store(first, Draw(-3000, 3000));
        Store(second, std::ldexp(fraction, Draw(-13, -5)));
      }
    for (int slot = 0; slot < 16; ++slot) {
      const uint32_t at = kConstants + static_cast<uint32_t>(slot * arch.const_bytes());
      if (slot < 8) {  // N6
        Store(at, std::ldexp(1.0f + Float(Draw(0, 1 << 22)) / Float(1 << 22), Draw(-3, 0)));
        Store(at + 4, std::ldexp(1.0f + Float(Draw(0, 1 << 22)) / Float(1 << 22), Draw(-3, 0)));
        Store(at + 8, Float(Draw(-9000, 9000)) / 64.0f);
      } else {  // N7
        Store(at, std::ldexp(1.0f + Float(Draw(0, 1 << 22)) / Float(1 << 22), Draw(-9, -4)));
        Store(at + 4, Float(Draw(0, 100)));
      }
    }
  }

  int Draw(int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(random); }
  bool Coin() { return Draw(0, 1) != 0; }
  template <class T>
  void Store(uint32_t offset, T value) {
    static_assert(sizeof(T) == 4);
    std::memcpy(machine->data(1, offset), &value, 4);
  }
  template <class T>
  T Load(uint32_t offset) {
    T value;
    std::memcpy(&value, machine->data(1, offset), 4);
    return value;
  }
  int32_t Bias(int set, int lane) {
    return Load<int32_t>(kSets + static_cast<uint32_t>(set * 8 * n + 4 * lane));
  }
  float Mult(int set, int lane) {
    return Load<float>(kSets + static_cast<uint32_t>(set * 8 * n + 4 * n + 4 * lane));
  }
  float Offset(int set, int lane) {
    return Load<float>(kSets + static_cast<uint32_t>(set * 8 * n + 4 * lane));
  }
  const float* Constants(int slot) {
    return reinterpret_cast<const float*>(
        machine->data(1, kConstants + static_cast<uint32_t>(slot * arch.const_bytes())));
  }
  int Table(int slot, int byte) {
    return *machine->data(1, kTables + static_cast<uint32_t>(slot * 256 + (byte & 255)));
  }
  uint8_t In(int64_t vector, int lane) {
    return *machine->data(1, static_cast<uint32_t>((vector & 0xffff) * n + lane));
  }

  int half() const { return arch.banks / 2; }  // banks that are loaded; the others take results
  int out_base() const { return half() * arch.bank_depth; }

  // Parameters, the lower half of the buffer, the tiles; then the operations, one after the other.
  void Run(std::vector<isa::Operation> operations, int tiles, int zw = 0, bool w_signed = false) {
    std::vector<isa::Instruction> program;
    struct Part {
      isa::LdpTarget target;
      uint32_t offset;
      int count;
    };
    const Part parts[] = {
        {isa::LdpTarget::kExeSet, kSets, kSetCount},   {isa::LdpTarget::kVecSet, kSets, kSetCount},
        {isa::LdpTarget::kExeTable, kTables, 4},       {isa::LdpTarget::kVecTable, kTables, 4},
        {isa::LdpTarget::kExeConst, kConstants, 16},   {isa::LdpTarget::kVecConst, kConstants, 16},
        {isa::LdpTarget::kVecWeight, kRows, kRowCount}};
    for (const Part& part : parts) {
      isa::Ldp op;
      op.region = 1;
      op.offset = part.offset;
      op.target = part.target;
      op.count = part.count;
      if (&part == &parts[6]) op.header.signal0 = isa::Semaphore(0);
      program.push_back(isa::Encode(op));
    }
    isa::Lda load;
    load.region = 1;
    load.n0 = half() * arch.bank_depth;
    load.buf_banks = half() - 1;
    load.header.signal0 = isa::Semaphore(1);
    program.push_back(isa::Encode(load));
    if (tiles > 0) {
      isa::Ldw weights;
      weights.region = 1;
      weights.offset = kTiles;
      weights.tiles = tiles;
      weights.zw = zw;
      weights.w_signed = w_signed;
      program.push_back(isa::Encode(weights));
    }
    first = static_cast<uint32_t>(program.size());
    for (size_t i = 0; i < operations.size(); ++i) {
      isa::Header& h = isa::HeaderOf(operations[i]);
      h.fence = i > 0;
      if (i == 0) h.wait0 = isa::Semaphore(0);
      if (i == 0) h.wait1 = isa::Semaphore(1);
      program.push_back(isa::Encode(operations[i]));
    }
    program.push_back(isa::Encode(isa::End{}));
    const sim::Trace& t = machine->Run(program);
    ASSERT_EQ(Cause(t), "NONE") << "instruction " << t.fault.instruction << ", address "
                                << t.fault.address
                                << (machine->iss.violation() ? machine->iss.violation()->message
                                                             : "");
    if (machine->iss.violation()) ADD_FAILURE() << machine->iss.violation()->message;
    results.clear();
    order.clear();
    for (const Result& r : machine->observed.results) {
      results[r.address] = r.data;
      order.push_back(r.address);
    }
  }

  // The result vectors in the order in which they were written must be exactly these.
  void ExpectResult(size_t position, int64_t address, int lane, int byte) {
    const auto a = static_cast<uint32_t>(address & 0xffff);
    ASSERT_LT(position, order.size());
    ASSERT_EQ(order[position], a);
    ASSERT_EQ(int{results[a][static_cast<size_t>(lane)]}, byte & 255)
        << "vector " << a << ", lane " << lane;
  }

  // Random window: shape, padding, strides, rows plain or circular.
  template <class Op>
  void DrawWindow(Op& op) {
    op.kh = Draw(1, 3);
    op.kw = Draw(1, 3);
    op.stride_y = Draw(1, 3);
    op.stride_x = Draw(1, 3);
    op.dil_y = Draw(1, 2);
    op.dil_x = Draw(1, 2);
    op.mh = Draw(1, 4);
    op.mw = Draw(1, 6);
    op.blocks = Draw(1, 3);
    op.in_h = Draw(1, 8);
    op.in_w = Draw(1, 9);
    op.iy0 = Draw(-3, 1);
    op.ix0 = Draw(-3, 1);
    const int pitch = op.in_w + Draw(0, 2);
    op.in_addr = Draw(0, 40);
    if (Coin()) {
      const int rows = 8 + Draw(0, 4);
      op.in_wrap = rows * pitch;
      op.in_row0 = Draw(0, rows - 1) * pitch;
      op.in_oy_step = op.stride_y * pitch;
      op.in_ky_step = op.dil_y * pitch;
    } else {
      op.in_row0 = (op.iy0 * pitch) & 0xffff;  // may lie before the image
      op.in_oy_step = op.stride_y * pitch;
      op.in_ky_step = op.dil_y * pitch;
    }
    op.in_blk_stride = 12 * pitch + Draw(0, 5);
    op.in_banks = half() - 1;
  }
  template <class Op>
  void DrawOut(Op& op) {
    op.out_addr = out_base() + Draw(0, 20);
    op.out_row_step = 4 * op.mw + Draw(0, 3);
    if (Coin()) {
      op.out_wrap = op.out_row_step * (op.mh + Draw(1, 2));
      op.out_row0 = Draw(0, op.mh - 1) * op.out_row_step;
    } else {
      op.out_row0 = Draw(0, 9);
    }
    op.out_bank = half();
    op.out_banks = arch.banks - half() - 1;
  }
  template <class Op>
  bool Inside(const Op& op, int oy, int ox, int ky, int kx, int* iy, int* ix) {
    *iy = op.iy0 + oy * op.stride_y + ky * op.dil_y;
    *ix = op.ix0 + ox * op.stride_x + kx * op.dil_x;
    return *iy >= 0 && *iy < op.in_h && *ix >= 0 && *ix < op.in_w;
  }
  static int64_t Pointer(int64_t sum, int wrap) { return wrap != 0 ? sum % wrap : sum & 0xffff; }
  template <class Op>
  int64_t Input(const Op& op, int block, int oy, int ky, int ix) {
    return op.in_addr +
           Pointer(int64_t{op.in_row0} + oy * op.in_oy_step + ky * op.in_ky_step, op.in_wrap) +
           int64_t{block} * op.in_blk_stride + ix;
  }
  template <class Op>
  int64_t Output(const Op& op, int oy) {
    return op.out_addr + Pointer(int64_t{op.out_row0} + oy * op.out_row_step, op.out_wrap);
  }

  ArchConfig arch;
  int n;
  std::mt19937_64 random;
  std::unique_ptr<Machine> machine;
  uint32_t first = 0;
  std::map<uint32_t, std::vector<uint8_t>> results;
  std::vector<uint32_t> order;
};

std::vector<uint64_t> Seeds(uint64_t count) {
  if (const char* seed = std::getenv("OCTILE_SEED")) return {std::strtoull(seed, nullptr, 0)};
  std::vector<uint64_t> seeds;
  for (uint64_t i = 1; i <= count; ++i) seeds.push_back(i);
  return seeds;
}

#define FOR_SEEDS(count)                                                             \
  for (const uint64_t seed : Seeds(count))                                           \
    if (HasFatalFailure()) {                                                         \
      break;                                                                         \
    } else if (::testing::ScopedTrace trace_(__FILE__, __LINE__,                     \
                                             "OCTILE_SEED=" + std::to_string(seed)); \
               true)

// ---- MMA ----

class MmaTest : public Instructions {
 protected:
  isa::Mma DrawMma() {
    isa::Mma op;
    DrawWindow(op);
    if (n >= 32) op.blocks = std::min(op.blocks, 2);
    while (op.kh * op.kw * op.blocks * n * n > 192 << 10) --op.kh;
    DrawOut(op);
    op.acc_base = Draw(0, arch.acc_depth - op.mh * op.mw);
    op.pset = Draw(0, kAffineSet - 1);
    op.zx = Draw(0, 255);
    op.x_signed = Coin();
    op.y_signed = Coin();
    op.out_signed = op.y_signed;
    op.zy = Draw(0, 255);
    SetClamp(op, op.y_signed);
    op.init = op.emit = true;
    zw = Draw(0, 255);
    w_signed = Coin();
    return op;
  }
  template <class Op>
  void SetClamp(Op& op, bool is_signed) {
    const int a = Code(Draw(0, 255), is_signed), b = Code(Draw(0, 255), is_signed);
    op.lo = std::min(a, b) & 255;
    op.hi = std::max(a, b) & 255;
  }
  static int Tiles(const isa::Mma& op) { return op.kh * op.kw * op.blocks; }

  // N1 without bias, over the tiles that begin with `first_tile`.
  int32_t Accumulate(const isa::Mma& op, int oy, int ox, int lane, int first_tile = 0) {
    int64_t acc = 0;
    int tile = first_tile;
    for (int ky = 0; ky < op.kh; ++ky)
      for (int kx = 0; kx < op.kw; ++kx)
        for (int block = 0; block < op.blocks; ++block, ++tile) {
          int iy, ix;
          if (!Inside(op, oy, ox, ky, kx, &iy, &ix)) continue;
          for (int r = 0; r < n; ++r) {
            const int x = Code(In(Input(op, block, oy, ky, ix), r), op.x_signed);
            const int w =
                Code(*machine->data(1, kTiles + static_cast<uint32_t>((tile * n + r) * n + lane)),
                     w_signed);
            acc += (x - Code(op.zx, op.x_signed)) * (w - Code(zw, w_signed));
          }
        }
    return static_cast<int32_t>(acc);
  }

  template <class F>
  void ForEachOutput(const isa::Mma& op, F f) {
    size_t position = 0;
    for (int oy = 0; oy < op.mh; ++oy)
      for (int ox = 0; ox < op.mw; ++ox, ++position)
        for (int lane = 0; lane < n; ++lane) {
          f(position, oy, ox, lane);
          if (HasFatalFailure()) return;
        }
  }

  int zw = 0;
  bool w_signed = false;
};

TEST_P(MmaTest, ClampAndTable) {
  FOR_SEEDS(25) {
    Begin(seed);
    isa::Mma op = DrawMma();
    op.table = Coin();
    op.table_slot = Draw(0, 3);
    Run({op}, Tiles(op), zw, w_signed);
    ASSERT_EQ(order.size(), static_cast<size_t>(op.mh * op.mw));
    ForEachOutput(op, [&](size_t position, int oy, int ox, int lane) {
      const int32_t sum = Accumulate(op, oy, ox, lane) + Bias(op.pset, lane);
      int y = Requantize(sum, Mult(op.pset, lane), Code(op.zy, op.y_signed),
                         Code(op.lo, op.y_signed), Code(op.hi, op.y_signed));
      if (op.table) y = Table(op.table_slot, y);
      ExpectResult(position, Output(op, oy) + ox, lane, y);
    });
  }
}

TEST_P(MmaTest, Residual) {
  FOR_SEEDS(25) {
    Begin(seed);
    isa::Mma op = DrawMma();
    op.residual = true;
    op.res_is_a = Coin();
    op.res_signed = Coin();
    op.out_signed = Coin();
    op.const_slot = Draw(0, 7);
    op.table = Coin();
    op.t_signed = Coin();
    op.table_slot = Draw(0, 3);
    SetClamp(op, op.out_signed);
    // The residual has banks of its own.
    op.in_banks = half() - 2;
    op.b_bank = half() - 1;
    op.res_addr = op.b_bank * arch.bank_depth + Draw(0, 30);
    op.res_row_step = op.mw + Draw(0, 2);
    if (Coin()) op.res_wrap = op.res_row_step * (op.mh + 1);
    Run({op}, Tiles(op), zw, w_signed);
    ForEachOutput(op, [&](size_t position, int oy, int ox, int lane) {
      const int32_t sum = Accumulate(op, oy, ox, lane) + Bias(op.pset, lane);
      const Range full = Full(op.y_signed);
      int y = Requantize(sum, Mult(op.pset, lane), Code(op.zy, op.y_signed), full.lo, full.hi);
      if (op.table) y = Code(Table(op.table_slot, y), op.t_signed);
      const int64_t at = op.res_addr + Pointer(int64_t{oy} * op.res_row_step, op.res_wrap) + ox;
      const int r = Code(In(at, lane), op.res_signed);
      const int sum2 = Add(op.res_is_a ? r : y, op.res_is_a ? y : r, Constants(op.const_slot),
                           Code(op.lo, op.out_signed), Code(op.hi, op.out_signed));
      ExpectResult(position, Output(op, oy) + ox, lane, sum2);
    });
  }
}

TEST_P(MmaTest, Raw) {
  FOR_SEEDS(12) {
    Begin(seed);
    isa::Mma op = DrawMma();
    op.raw = true;
    Run({op}, Tiles(op), zw, w_signed);
    ASSERT_EQ(order.size(), static_cast<size_t>(4 * op.mh * op.mw));
    ForEachOutput(op, [&](size_t position, int oy, int ox, int lane) {
      const int32_t sum = Accumulate(op, oy, ox, lane) + Bias(op.pset, lane);
      const int byte = 4 * lane;
      for (int k = 0; k < 4; ++k)
        ExpectResult(4 * position + static_cast<size_t>((byte + k) / n),
                     Output(op, oy) + 4 * ox + (byte + k) / n, (byte + k) % n,
                     static_cast<int>(static_cast<uint32_t>(sum) >> (8 * k) & 255));
    });
  }
}

// A sum over two instructions: the second adds to what the first left.
TEST_P(MmaTest, SplitSum) {
  FOR_SEEDS(12) {
    Begin(seed);
    isa::Mma a = DrawMma();
    a.emit = false;
    isa::Mma b = a;
    b.init = false;
    b.emit = true;
    b.in_addr = Draw(0, 40);
    Run({a, b}, 2 * Tiles(a), zw, w_signed);
    ASSERT_EQ(order.size(), static_cast<size_t>(a.mh * a.mw));
    ForEachOutput(a, [&](size_t position, int oy, int ox, int lane) {
      const int32_t sum =
          Accumulate(a, oy, ox, lane) + Accumulate(b, oy, ox, lane, Tiles(a)) + Bias(b.pset, lane);
      const int y = Requantize(sum, Mult(b.pset, lane), Code(b.zy, b.y_signed),
                               Code(b.lo, b.y_signed), Code(b.hi, b.y_signed));
      ExpectResult(position, Output(b, oy) + ox, lane, y);
    });
  }
}

// Kept weights serve the next instruction; a third takes the tiles behind.
TEST_P(MmaTest, Retain) {
  FOR_SEEDS(12) {
    Begin(seed);
    std::array<isa::Mma, 3> ops;
    ops[0] = DrawMma();
    ops[0].retain = true;
    ops[1] = ops[0];
    ops[1].retain = false;
    ops[1].in_addr = Draw(0, 40);
    ops[2] = ops[1];
    ops[2].in_addr = Draw(0, 40);
    Run({ops[0], ops[1], ops[2]}, 2 * Tiles(ops[0]), zw, w_signed);
    const size_t positions = static_cast<size_t>(ops[0].mh * ops[0].mw);
    ASSERT_EQ(machine->observed.results.size(), 3 * positions);
    for (size_t i = 0; i < 3; ++i) {
      ForEachOutput(ops[i], [&](size_t position, int oy, int ox, int lane) {
        const int32_t sum =
            Accumulate(ops[i], oy, ox, lane, i < 2 ? 0 : Tiles(ops[0])) + Bias(ops[i].pset, lane);
        const int y =
            Requantize(sum, Mult(ops[i].pset, lane), Code(ops[i].zy, ops[i].y_signed),
                       Code(ops[i].lo, ops[i].y_signed), Code(ops[i].hi, ops[i].y_signed));
        const Result& r = machine->observed.results[i * positions + position];
        ASSERT_EQ(r.instruction, first + i);
        ASSERT_EQ(int{r.data[static_cast<size_t>(lane)]}, y & 255);
      });
    }
  }
}

// ---- WIN ----

class WinTest : public MmaTest {
 protected:
  isa::Win DrawWin(isa::WinMode mode) {
    isa::Win op;
    DrawWindow(op);
    DrawOut(op);
    op.out_blk_stride = op.mh * (4 * op.mw + 3) + 30;
    op.mode = mode;
    op.pset_shared = Coin();
    op.pset = Draw(0, kAffineSet - op.blocks);
    op.wrow = Draw(0, kRowCount - op.blocks * 3);
    op.zx = Draw(0, 255);
    op.zw = Draw(0, 255);
    op.zy = Draw(0, 255);
    op.x_signed = Coin();
    op.w_signed = Coin();
    op.y_signed = mode == isa::WinMode::kMax ? op.x_signed : Coin();
    SetClamp(op, op.y_signed);
    op.table = Coin();
    op.table_slot = Draw(0, 3);
    return op;
  }
};

TEST_P(WinTest, AllModes) {
  FOR_SEEDS(45) {
    Begin(seed);
    const auto mode = static_cast<isa::WinMode>(seed % 3);
    const isa::Win op = DrawWin(mode);
    Run({op}, 0);
    size_t position = 0;
    for (int block = 0; block < op.blocks; ++block)
      for (int oy = 0; oy < op.mh; ++oy)
        for (int ox = 0; ox < op.mw; ++ox, ++position)
          for (int lane = 0; lane < n; ++lane) {
            const int taps = op.kh * op.kw;
            const int set = op.pset_shared ? op.pset : op.pset + block;
            int32_t acc = Bias(set, lane);
            int best = Full(op.x_signed).lo;
            for (int tap = 0; tap < taps; ++tap) {
              int iy, ix;
              if (!Inside(op, oy, ox, tap / op.kw, tap % op.kw, &iy, &ix)) continue;
              const int x = Code(In(Input(op, block, oy, tap / op.kw, ix), lane), op.x_signed);
              best = std::max(best, x);
              const int row = op.wrow + block * ((taps + 3) / 4) + tap / 4;
              const int w =
                  mode == isa::WinMode::kSum
                      ? 1
                      : Code(*machine->data(1, kRows + static_cast<uint32_t>(row * 4 * n +
                                                                             4 * lane + tap % 4)),
                             op.w_signed) -
                            Code(op.zw, op.w_signed);
              acc += (x - Code(op.zx, op.x_signed)) * w;
            }
            const int lo = Code(op.lo, op.y_signed), hi = Code(op.hi, op.y_signed);
            int y = mode == isa::WinMode::kMax
                        ? std::min(std::max(best, lo), hi)
                        : Requantize(acc, Mult(set, lane), Code(op.zy, op.y_signed), lo, hi);
            if (op.table) y = Table(op.table_slot, y);
            ExpectResult(position, Output(op, oy) + block * op.out_blk_stride + ox, lane, y);
            if (HasFatalFailure()) return;
          }
    ASSERT_EQ(order.size(), position);
  }
}

// ---- ELT ----

class EltTest : public MmaTest {};

TEST_P(EltTest, AllModes) {
  FOR_SEEDS(60) {
    Begin(seed);
    isa::Elt op;
    op.mode = static_cast<isa::EltMode>(seed % 4);
    op.mh = Draw(1, 4);
    op.mw = Draw(1, 6);
    op.blocks = Draw(1, 3);
    DrawOut(op);
    op.out_x_step = Draw(1, 3);
    op.out_blk_stride = 150;
    op.a_addr = Draw(0, 50);
    op.a_row_step = Draw(0, 12);
    op.a_wrap = Coin() ? 40 : 0;
    op.a_row0 = Draw(0, 39);
    op.a_blk_stride = Draw(0, 60);
    op.a_x_step = Draw(0, 3);
    op.in_banks = half() - 2;
    op.b_bank = half() - 1;
    op.b_addr = op.b_bank * arch.bank_depth + Draw(0, 50);
    op.b_row_step = Draw(0, 12);
    op.b_wrap = Coin() ? 40 : 0;
    op.b_row0 = Draw(0, 39);
    op.b_blk_stride = Draw(0, 60);
    op.b_x_step = Draw(0, 3);
    op.const_slot = op.mode == isa::EltMode::kAdd ? Draw(0, 7) : Draw(8, 15);
    op.pset = Draw(kAffineSet, kSetCount - op.blocks);
    op.za = Draw(0, 255);
    op.zb = Draw(0, 255);
    op.a_signed = Coin();
    op.b_signed = Coin();
    op.out_signed = Coin();
    SetClamp(op, op.out_signed);
    op.table = Coin();
    op.table_slot = Draw(0, 3);
    Run({op}, 0);
    size_t position = 0;
    for (int block = 0; block < op.blocks; ++block)
      for (int y = 0; y < op.mh; ++y)
        for (int x = 0; x < op.mw; ++x, ++position)
          for (int lane = 0; lane < n; ++lane) {
            const int byte_a =
                In(op.a_addr + Pointer(int64_t{op.a_row0} + y * op.a_row_step, op.a_wrap) +
                       block * op.a_blk_stride + x * op.a_x_step,
                   lane);
            const int byte_b =
                In(op.b_addr + Pointer(int64_t{op.b_row0} + y * op.b_row_step, op.b_wrap) +
                       block * op.b_blk_stride + x * op.b_x_step,
                   lane);
            const int a = Code(byte_a, op.a_signed), b = Code(byte_b, op.b_signed);
            const int lo = Code(op.lo, op.out_signed), hi = Code(op.hi, op.out_signed);
            const float* c = Constants(op.const_slot);
            int result = byte_a;
            if (op.mode == isa::EltMode::kAdd) result = Add(a, b, c, lo, hi);
            if (op.mode == isa::EltMode::kMul)
              result = Multiply(a, Code(op.za, op.a_signed), b, Code(op.zb, op.b_signed), c[0],
                                c[1], lo, hi);
            if (op.mode == isa::EltMode::kAffine)
              result =
                  Affine(a, Mult(op.pset + block, lane), Offset(op.pset + block, lane), lo, hi);
            if (op.table) result = Table(op.table_slot, result);
            ExpectResult(position, Output(op, y) + block * op.out_blk_stride + x * op.out_x_step,
                         lane, result);
            if (HasFatalFailure()) return;
          }
    ASSERT_EQ(order.size(), position);
  }
}

// ---- PACK ----

class PackTest : public Instructions {};

TEST_P(PackTest, Gathers) {
  FOR_SEEDS(30) {
    Begin(seed);
    isa::Pack op;
    op.kh = Draw(1, 3);
    op.kw = Draw(1, 7);
    op.stride_y = Draw(1, 3);
    op.stride_x = Draw(1, 4);
    op.planes = Draw(1, 3);
    op.mh = Draw(1, 3);
    op.mw = Draw(1, 2 * n + 3);
    op.in_h = Draw(1, 6);
    op.in_w = Draw(1, 4 * n);
    op.in_pitch = op.in_w + Draw(0, 5);
    op.iy0 = Draw(-2, 1);
    op.ix0 = Draw(-2, 1);
    op.in_addr = Draw(0, 20);
    op.in_off = Draw(0, n - 1);
    op.in_off_step = Draw(0, n - 1);
    op.in_blk_stride = 30 + Draw(0, 20);
    op.zx = Draw(0, 255);
    op.in_banks = half() - 1;
    const int lanes = op.kh * op.kw * op.planes;
    const int blocks = (lanes + n - 1) / n;
    op.out_row_step = op.mw + 1;
    op.out_blk_stride = op.mh * op.out_row_step;
    op.out_addr = out_base();
    op.out_bank = half();
    op.out_banks = arch.banks - half() - 1;
    Run({op}, 0);
    size_t position = 0;
    for (int block = 0; block < blocks; ++block)
      for (int oy = 0; oy < op.mh; ++oy)
        for (int ox = 0; ox < op.mw; ++ox, ++position)
          for (int l = 0; l < n; ++l) {
            const int lane = block * n + l;
            int expected = op.zx;
            const int kx = lane % op.kw, plane = lane / op.kw % op.planes,
                      ky = lane / op.kw / op.planes;
            const int iy = op.iy0 + oy * op.stride_y + ky, ix = op.ix0 + ox * op.stride_x + kx;
            if (lane < lanes && iy >= 0 && iy < op.in_h && ix >= 0 && ix < op.in_w) {
              const int64_t byte = int64_t{n} * (op.in_addr + plane * op.in_blk_stride) +
                                   (op.in_off + plane * op.in_off_step) % n + iy * op.in_pitch + ix;
              expected = In(byte / n, static_cast<int>(byte % n));
            }
            ExpectResult(position, Output(op, oy) + block * op.out_blk_stride + ox, l, expected);
            if (HasFatalFailure()) return;
          }
    ASSERT_EQ(order.size(), position);
  }
}

// ---- loads and stores ----

class TransferTest : public Instructions {};

// LDA with planes, rows and a circular buffer side, back by STA with another shape of the memory
// side.
TEST_P(TransferTest, LoadAndStore) {
  FOR_SEEDS(20) {
    Begin(seed);
    isa::Lda load;
    load.region = 1;
    load.n0 = Draw(1, 40);
    load.n1 = Draw(1, 6);
    load.n2 = Draw(1, 3);
    load.offset = static_cast<uint32_t>(Draw(0, 300) * n);
    load.mem_stride1 = static_cast<uint32_t>(Draw(0, 60) * n);
    load.mem_stride2 = static_cast<uint32_t>(Draw(0, 400) * n);
    const int slots = load.n1 + Draw(1, 2);
    load.buf_addr = Draw(0, 30);
    load.buf_stride1 = load.n0 + Draw(0, 2);
    load.buf_wrap = Coin() ? slots * load.buf_stride1 : 0;
    load.buf_row0 = Draw(0, slots - 1) * load.buf_stride1;
    load.buf_stride2 = 3 * slots * load.buf_stride1;
    load.buf_banks = arch.banks - 1;
    load.header.signal0 = isa::Semaphore(7);
    isa::Sta store;
    store.region = 2;
    store.n0 = load.n0;
    store.n1 = load.n1;
    store.n2 = load.n2;
    store.offset = static_cast<uint32_t>(Draw(0, 50) * n);
    store.mem_stride1 = static_cast<uint32_t>((load.n0 + Draw(0, 3)) * n);
    store.mem_stride2 = store.mem_stride1 * static_cast<uint32_t>(load.n1 + 1);
    store.buf_addr = load.buf_addr;
    store.buf_stride1 = load.buf_stride1;
    store.buf_wrap = load.buf_wrap;
    store.buf_row0 = load.buf_row0;
    store.buf_stride2 = load.buf_stride2;
    store.buf_banks = load.buf_banks;
    store.header.wait0 = isa::Semaphore(7);
    std::fill_n(machine->data(2), Machine::kBytes, 0xa5);
    std::vector<uint8_t> expected(Machine::kBytes, 0xa5);
    const uint32_t row = static_cast<uint32_t>(load.n0 * n);
    for (int p = 0; p < load.n2; ++p)
      for (int r = 0; r < load.n1; ++r) {
        auto at = [p, r](const auto& op) {
          return op.offset + static_cast<uint32_t>(p) * op.mem_stride2 +
                 static_cast<uint32_t>(r) * op.mem_stride1;
        };
        std::memcpy(&expected[at(store)], machine->data(1, at(load)), row);
      }
    const sim::Trace& t =
        machine->Run({isa::Encode(load), isa::Encode(store), isa::Encode(isa::End{})});
    ASSERT_EQ(Cause(t), "NONE");
    if (machine->iss.violation()) ADD_FAILURE() << machine->iss.violation()->message;
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), machine->data(2)));
    const uint64_t moved =
        uint64_t{row} * static_cast<uint64_t>(load.n1) * static_cast<uint64_t>(load.n2);
    EXPECT_EQ(t.bytes[static_cast<int>(sim::Port::kAct)], moved);
    EXPECT_EQ(t.bytes[static_cast<int>(sim::Port::kSto)], moved);
    EXPECT_EQ(t.retired, 2u);
  }
}

// More tiles than the ring holds pass through it, in order.
TEST_P(TransferTest, RingIsAFifo) {
  Begin(3);
  // Weights are the unit matrix times k mod 100: results tell which tile was used.
  const int tiles = std::min(arch.ring_tiles + 40, static_cast<int>((Machine::kBytes - kTiles) /
                                                                    static_cast<uint32_t>(n * n)));
  std::fill_n(machine->data(1, kTiles), tiles * n * n, 0);
  for (int t = 0; t < tiles; ++t)
    for (int r = 0; r < n; ++r)
      *machine->data(1, kTiles + static_cast<uint32_t>((t * n + r) * n + r)) =
          static_cast<uint8_t>(t % 100);
  for (int lane = 0; lane < n; ++lane) {
    Store(kSets + static_cast<uint32_t>(4 * lane), int32_t{0});
    Store(kSets + static_cast<uint32_t>(4 * n + 4 * lane), 1.0f);
    *machine->data(1, static_cast<uint32_t>(lane)) = 2;
  }
  std::vector<isa::Operation> ops;
  for (int t = 0; t < tiles; ++t) {
    isa::Mma op;
    op.in_banks = half() - 1;
    op.out_addr = out_base() + t % 7;
    op.out_bank = half();
    op.hi = 255;
    op.init = op.emit = true;
    ops.push_back(op);
  }
  Run(ops, tiles);
  ASSERT_EQ(machine->observed.results.size(), static_cast<size_t>(tiles));
  for (int t = 0; t < tiles; ++t)
    ASSERT_EQ(int{machine->observed.results[static_cast<size_t>(t)].data[0]}, 2 * (t % 100)) << t;
}

const auto kConfigurations = ::testing::Values("tiny", "small", "base", "large");
INSTANTIATE_TEST_SUITE_P(Configurations, MmaTest, kConfigurations);
INSTANTIATE_TEST_SUITE_P(Configurations, WinTest, kConfigurations);
INSTANTIATE_TEST_SUITE_P(Configurations, EltTest, kConfigurations);
INSTANTIATE_TEST_SUITE_P(Configurations, PackTest, kConfigurations);
INSTANTIATE_TEST_SUITE_P(Configurations, TransferTest, kConfigurations);

}  // namespace
}  // namespace octile
