#include "vec_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace octile::rtl_vec {
namespace {

constexpr int kWriteLatency = 24;
constexpr int kDoneLatency = 28;

int Code(uint8_t byte, bool is_signed) { return is_signed ? static_cast<int8_t>(byte) : byte; }
int Min(bool is_signed) { return is_signed ? -128 : 0; }
int Max(bool is_signed) { return is_signed ? 127 : 255; }
int ClampCode(int value, int lo, int hi) { return std::min(std::max(value, lo), hi); }

// N3, in fp32.
int Requantize(int32_t acc, float m, int zy, bool is_signed) {
  const float value = static_cast<float>(acc) * m;
  const float lo = static_cast<float>(Min(is_signed) - zy),
              hi = static_cast<float>(Max(is_signed) - zy);
  return static_cast<int>(std::nearbyint(std::min(std::max(value, lo), hi))) + zy;
}

int Saturate(float value, bool is_signed) {
  return static_cast<int>(std::nearbyint(
      std::clamp(value, static_cast<float>(Min(is_signed)), static_cast<float>(Max(is_signed)))));
}

// A circular row pointer.
struct Pointer {
  int value;
  int wrap;
  int64_t* wraps;
  void Add(int step) {
    value += step;
    if (wrap != 0 && value >= wrap) {
      value -= wrap;
      ++*wraps;
    }
    value &= 0xffff;
  }
};

class Machine {
 public:
  Machine(const Config& config, const Parameters& parameters, std::vector<Vector>& buffer,
          std::optional<int64_t> freeze)
      : config_(config), parameters_(parameters), buffer_(buffer), freeze_(freeze) {}

  Expected Run(const isa::Win& op);
  Expected Run(const isa::Elt& op);
  Expected Run(const isa::Pack& op);

 private:
  Vector Result(const isa::Win& op, int block,
                const std::vector<std::optional<Vector>>& taps) const;
  Expected RunByColumns(const isa::Win& op);

  struct Claim {
    int bank, banks;
  };

  // The read of cycle r is an access in r + 1; it sees the writes of earlier cycles.
  Vector Read(int64_t r, int address, Claim claim, int priority,
              std::map<int64_t, uint16_t>& reads) {
    const uint16_t vector = address & 0xffff;
    for (auto it = pending_.begin(); it != pending_.end() && it->first < r + 1;
         it = pending_.erase(it)) {
      if (it->first <= Last()) Apply(it->second);
    }
    reads[r + 1] = vector;
    Check(r + 1, vector, claim, priority);
    return vector < buffer_.size() ? buffer_[vector] : Vector(config_.n);
  }
  void Write(int64_t r, int address, Claim claim, const Vector& data) {
    const uint16_t vector = address & 0xffff;
    Check(r + 1, vector, claim, 2);
    pending_[r + kWriteLatency] = {vector, data};
    expected_.writes[r + kWriteLatency] = {vector, data};
  }
  void Check(int64_t cycle, uint16_t vector, Claim claim, int priority) {
    const int bank = vector / config_.bank_depth;
    if (bank >= claim.bank && bank <= claim.bank + claim.banks) return;
    if (expected_.fault &&
        (*expected_.fault < cycle || (*expected_.fault == cycle && priority_ < priority)))
      return;
    expected_.fault = cycle;
    expected_.fault_address = vector;
    priority_ = priority;
  }
  // The last cycle in which something happens, as far as is known.
  int64_t Last() const {
    constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
    return std::min(expected_.fault.value_or(kNever), freeze_.value_or(kNever));
  }
  void Apply(const Event& event) {
    if (event.address < buffer_.size()) buffer_[event.address] = event.data;
  }
  Expected Finish(int64_t read_cycles, int64_t done) {
    expected_.read_cycles = read_cycles;
    expected_.done = done;
    if (expected_.fault || freeze_) {
      const int64_t last = Last();
      if (expected_.fault > last) expected_.fault.reset();
      const auto cut = [last](auto& events) {
        events.erase(events.upper_bound(last), events.end());
      };
      cut(expected_.reads_a);
      cut(expected_.reads_b);
      cut(expected_.writes);
      cut(pending_);
    }
    for (const auto& [cycle, event] : pending_) Apply(event);
    return std::move(expected_);
  }
  uint8_t Table(int code, bool use, int slot) const {
    const auto byte = static_cast<uint8_t>(code);
    return use ? parameters_.table[slot][byte] : byte;
  }

  const Config& config_;
  const Parameters& parameters_;
  std::vector<Vector>& buffer_;
  std::optional<int64_t> freeze_;
  std::map<int64_t, Event> pending_;
  Expected expected_;
  int priority_ = 0;
};

// What a result is made of its taps (null: padding), and the way behind them.
Vector Machine::Result(const isa::Win& op, int block,
                       const std::vector<std::optional<Vector>>& taps) const {
  const bool max_mode = op.mode == isa::WinMode::kMax;
  const bool sum_mode = op.mode == isa::WinMode::kSum;
  const int zx = Code(op.zx, op.x_signed), zw = Code(op.zw, op.w_signed),
            zy = Code(op.zy, op.y_signed);
  const bool y_signed = max_mode ? op.x_signed : op.y_signed;
  const int lo = Code(op.lo, y_signed), hi = Code(op.hi, y_signed);
  const int set = op.pset + (op.pset_shared ? 0 : block);
  const int count = static_cast<int>(taps.size());
  Vector out(config_.n);
  for (int l = 0; l < config_.n; ++l) {
    uint32_t acc = 0;
    int best = Min(op.x_signed);
    for (int tap = 0; tap < count; ++tap) {
      if (!taps[tap]) continue;
      const int code = Code((*taps[tap])[l], op.x_signed);
      best = std::max(best, code);
      int weight = 1;
      if (!max_mode && !sum_mode) {
        const uint32_t word = parameters_.weight[op.wrow + block * ((count + 3) / 4) + tap / 4][l];
        weight = Code(static_cast<uint8_t>(word >> (8 * (tap % 4))), op.w_signed) - zw;
      }
      acc += static_cast<uint32_t>((code - zx) * weight);
    }
    int code = best;
    if (!max_mode) {
      acc += static_cast<uint32_t>(parameters_.bias[set][l]);
      code = Requantize(static_cast<int32_t>(acc), std::bit_cast<float>(parameters_.mult[set][l]),
                        zy, y_signed);
    }
    out[l] = Table(ClampCode(code, lo, hi), op.table, op.table_slot);
  }
  return out;
}

// The conditions of the law, in its order.
bool ByColumns(const isa::Win& op) {
  if (op.kh > 5 || op.kw > 5 || op.kh * op.kw == 1) return false;
  if (op.stride_y > 2 || op.stride_y > op.kh || op.stride_x > op.kw) return false;
  if (op.dil_y != 1 && op.kh != 1) return false;
  if (op.dil_x != 1 && op.kw != 1) return false;
  int64_t unused = 0;
  Pointer step{op.in_ky_step, op.in_wrap, &unused};
  if (op.stride_y == 2) step.Add(op.in_ky_step);
  return op.in_oy_step == step.value;
}

Expected Machine::RunByColumns(const isa::Win& op) {
  const int group_rows = (8 - op.kh) / op.stride_y + 1;  // T
  const int chunks = (op.kh * op.kw + 8) / 9;            // G
  const int columns = (op.mw - 1) * op.stride_x + op.kw;
  int64_t cycle = 1;  // first of the column
  int preceding = 0;  // results that the column before completed
  for (int block = 0; block < op.blocks; ++block) {
    Pointer in_group{op.in_row0, op.in_wrap, &expected_.wraps},
        out_group{op.out_row0, op.out_wrap, &expected_.wraps};
    for (int oy0 = 0; oy0 < op.mh; oy0 += group_rows) {
      const int group = std::min(group_rows, op.mh - oy0);
      const int rows = (group - 1) * op.stride_y + op.kh;
      std::vector<std::vector<std::optional<Vector>>> column_vectors;
      for (int c = 0; c < columns; ++c) {
        auto& vectors = column_vectors.emplace_back();
        Pointer in_row = in_group;
        for (int r = 0; r < rows; ++r) {
          const int iy = op.iy0 + oy0 * op.stride_y + r, ix = op.ix0 + c;
          if (iy >= 0 && iy < op.in_h && ix >= 0 && ix < op.in_w) {
            vectors.push_back(Read(cycle + r,
                                   op.in_addr + block * op.in_blk_stride + in_row.value + ix,
                                   {op.in_bank, op.in_banks}, 0, expected_.reads_a));
          } else {
            ++expected_.padding_taps;
            vectors.push_back(std::nullopt);
          }
          in_row.Add(op.in_ky_step);
        }
        cycle += std::max(rows, chunks * preceding);
        preceding = 0;
        const int first = c - op.kw + 1;
        if (first < 0 || first % op.stride_x != 0) continue;
        preceding = group;
        const int ox = first / op.stride_x;
        Pointer out_row = out_group;
        for (int j = 0; j < group; ++j) {
          std::vector<std::optional<Vector>> taps;
          for (int ky = 0; ky < op.kh; ++ky) {
            for (int kx = 0; kx < op.kw; ++kx)
              taps.push_back(column_vectors[first + kx][j * op.stride_y + ky]);
          }
          Write(cycle + (j + 1) * chunks - 1,
                op.out_addr + block * op.out_blk_stride + out_row.value + ox,
                {op.out_bank, op.out_banks}, Result(op, block, taps));
          out_row.Add(op.out_row_step);
        }
      }
      for (int j = 0; j < group; ++j) {
        in_group.Add(op.in_oy_step);
        out_group.Add(op.out_row_step);
      }
    }
  }
  const int64_t read_cycles = cycle - 1 + chunks * preceding;
  expected_.columns = true;
  return Finish(read_cycles, read_cycles + kDoneLatency);
}

Expected Machine::Run(const isa::Win& op) {
  if (ByColumns(op)) return RunByColumns(op);
  int64_t r = 0;
  for (int block = 0; block < op.blocks; ++block) {
    Pointer in_oy{op.in_row0, op.in_wrap, &expected_.wraps},
        out_oy{op.out_row0, op.out_wrap, &expected_.wraps};
    for (int oy = 0; oy < op.mh; ++oy) {
      for (int ox = 0; ox < op.mw; ++ox) {
        std::vector<std::optional<Vector>> taps;
        Pointer in_ky = in_oy;
        for (int ky = 0; ky < op.kh; ++ky) {
          for (int kx = 0; kx < op.kw; ++kx) {
            ++r;
            const int iy = op.iy0 + oy * op.stride_y + ky * op.dil_y,
                      ix = op.ix0 + ox * op.stride_x + kx * op.dil_x;
            if (iy < 0 || iy >= op.in_h || ix < 0 || ix >= op.in_w) {
              ++expected_.padding_taps;
              taps.push_back(std::nullopt);
              continue;
            }
            taps.push_back(Read(r, op.in_addr + block * op.in_blk_stride + in_ky.value + ix,
                                {op.in_bank, op.in_banks}, 0, expected_.reads_a));
          }
          in_ky.Add(op.in_ky_step);
        }
        Write(r, op.out_addr + block * op.out_blk_stride + out_oy.value + ox,
              {op.out_bank, op.out_banks}, Result(op, block, taps));
      }
      in_oy.Add(op.in_oy_step);
      out_oy.Add(op.out_row_step);
    }
  }
  return Finish(r, r + kDoneLatency);
}

Expected Machine::Run(const isa::Elt& op) {
  const auto& constants = parameters_.constant[op.const_slot];
  const float c0 = std::bit_cast<float>(constants[0]), c1 = std::bit_cast<float>(constants[1]),
              c2 = std::bit_cast<float>(constants[2]);
  const int za = Code(op.za, op.a_signed), zb = Code(op.zb, op.b_signed);
  const int lo = Code(op.lo, op.out_signed), hi = Code(op.hi, op.out_signed);
  int64_t r = 0;
  for (int block = 0; block < op.blocks; ++block) {
    Pointer a_row{op.a_row0, op.a_wrap, &expected_.wraps},
        b_row{op.b_row0, op.b_wrap, &expected_.wraps},
        out_row{op.out_row0, op.out_wrap, &expected_.wraps};
    for (int y = 0; y < op.mh; ++y) {
      for (int x = 0; x < op.mw; ++x) {
        ++r;
        const Vector a =
            Read(r, op.a_addr + block * op.a_blk_stride + a_row.value + x * op.a_x_step,
                 {op.in_bank, op.in_banks}, 0, expected_.reads_a);
        Vector b(config_.n);
        if (op.mode == isa::EltMode::kAdd || op.mode == isa::EltMode::kMul) {
          b = Read(r, op.b_addr + block * op.b_blk_stride + b_row.value + x * op.b_x_step,
                   {op.b_bank, op.b_banks}, 1, expected_.reads_b);
        }
        Vector out(config_.n);
        for (int l = 0; l < config_.n; ++l) {
          const int ca = Code(a[l], op.a_signed), cb = Code(b[l], op.b_signed);
          int code = ca;
          if (op.mode == isa::EltMode::kAdd) {
            const float inner = std::fma(static_cast<float>(cb), c1, c2);
            code = ClampCode(Saturate(std::fma(static_cast<float>(ca), c0, inner), op.out_signed),
                             lo, hi);
          } else if (op.mode == isa::EltMode::kMul) {
            const float product = static_cast<float>((ca - za) * (cb - zb)) * c0;
            code = ClampCode(Saturate(product + c1, op.out_signed), lo, hi);
          } else if (op.mode == isa::EltMode::kAffine) {
            const int set = op.pset + block;
            const float factor = std::bit_cast<float>(parameters_.mult[set][l]);
            const float offset = std::bit_cast<float>(parameters_.bias[set][l]);
            const float value = std::fma(static_cast<float>(ca), factor, offset);
            code = ClampCode(Saturate(value, op.out_signed), lo, hi);
          }
          out[l] = Table(code, op.table, op.table_slot);
        }
        Write(r, op.out_addr + block * op.out_blk_stride + out_row.value + x * op.out_x_step,
              {op.out_bank, op.out_banks}, out);
      }
      a_row.Add(op.a_row_step);
      b_row.Add(op.b_row_step);
      out_row.Add(op.out_row_step);
    }
  }
  return Finish(r, r + kDoneLatency);
}

Expected Machine::Run(const isa::Pack& op) {
  const int n = config_.n;
  const int taps = op.kh * op.kw * op.planes;
  const int64_t space = int64_t{1} << 16;  // vectors
  const auto floor_div = [](int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); };
  int64_t start = 1;  // first cycle of the window
  struct Column {
    int64_t cycle;
    int address;
    Vector data;
  };
  std::vector<Column> columns;  // of the window before
  const auto generate = [&](int64_t upto) {
    // Claims in the order of cycles: a column shares its cycle with a read at most, which goes
    // first.
    auto it = columns.begin();
    for (; it != columns.end() && it->cycle <= upto; ++it)
      Write(it->cycle, it->address, {op.out_bank, op.out_banks}, it->data);
    columns.erase(columns.begin(), it);
  };
  for (int block = 0; block * n < taps; ++block) {
    const int lanes = std::min(n, taps - block * n);
    Pointer out_oy{op.out_row0, op.out_wrap, &expected_.wraps};
    for (int oy = 0; oy < op.mh; ++oy) {
      for (int x0 = 0; x0 < op.mw; x0 += n) {
        const int cols = std::min(n, op.mw - x0);
        std::vector<Column> next;
        // Lane groups: where each begins, how many lanes it has, its first cycle in the window.
        struct Group {
          int lane, count, cycle, vectors;
        };
        std::vector<Group> groups;
        int reads = 0;
        for (int l = 0; l < lanes;) {
          const int count = std::min(lanes - l, op.kw - (block * n + l) % op.kw);
          const int vectors = count > op.stride_x + 1 ? op.stride_x + 2 : op.stride_x + 1;
          groups.push_back({l, count, reads, vectors});
          reads += vectors;
          l += count;
        }
        const int64_t length = std::max(reads, n);
        for (int k = 0; k < cols; ++k) {
          next.push_back({start + length + k,
                          op.out_addr + block * op.out_blk_stride + out_oy.value + x0 + k,
                          Vector(n, static_cast<uint8_t>(op.zx))});
        }
        for (const Group& group : groups) {
          const int index = block * n + group.lane;
          const int kx = index % op.kw, c = index / op.kw % op.planes,
                    ky = index / op.kw / op.planes;
          const int iy = op.iy0 + oy * op.stride_y + ky;
          const int64_t plane = static_cast<int64_t>(n) * (op.in_addr + c * op.in_blk_stride) +
                                (op.in_off + c * op.in_off_step) % n +
                                static_cast<int64_t>(iy) * op.in_pitch;
          const int64_t first =
              plane + op.ix0 + x0 * op.stride_x + kx;  // byte of the first column of the first lane
          const int64_t vector0 = floor_div(first, n);
          for (int j = 0; j < group.vectors; ++j) {
            const int64_t r = start + group.cycle + j;
            generate(r - 1);
            // Bytes of the vector that belong to columns of the image.
            const int64_t column0 = (vector0 + j) * n - plane;
            if (iy < 0 || iy >= op.in_h || column0 + n <= 0 || column0 >= op.in_w) {
              ++expected_.padding_taps;
              continue;
            }
            const Vector data = Read(r, static_cast<int>((vector0 + j) & (space - 1)),
                                     {op.in_bank, op.in_banks}, 0, expected_.reads_a);
            for (int q = 0; q < group.count; ++q) {
              for (int k = 0; k < cols; ++k) {
                const int ix = op.ix0 + (x0 + k) * op.stride_x + kx + q;
                const int64_t byte = plane + ix;
                if (ix >= 0 && ix < op.in_w && floor_div(byte, n) == vector0 + j)
                  next[k].data[group.lane + q] = data[byte - (vector0 + j) * n];
              }
            }
          }
        }
        start += length;
        generate(start);  // all of the window before: it had at most n columns
        columns = std::move(next);
      }
      out_oy.Add(op.out_row_step);
    }
  }
  generate(start + n);
  return Finish(start - 1, start - 1 + n + kDoneLatency);
}

}  // namespace

Parameters::Parameters(const Config& config)
    : bias(config.psets, std::vector<int32_t>(config.n)),
      mult(config.psets, std::vector<uint32_t>(config.n)),
      weight(config.wrows, std::vector<uint32_t>(config.n)) {}

Expected Run(const Config& config, const Parameters& parameters, const isa::Operation& op,
             std::vector<Vector>& buffer, std::optional<int64_t> freeze) {
  Machine machine(config, parameters, buffer, freeze);
  if (const auto* win = std::get_if<isa::Win>(&op)) return machine.Run(*win);
  if (const auto* elt = std::get_if<isa::Elt>(&op)) return machine.Run(*elt);
  return machine.Run(std::get<isa::Pack>(op));
}

}  // namespace octile::rtl_vec
