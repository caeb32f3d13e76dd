#include "model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace octile::rtl_exe {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max() / 4;

int Code(uint8_t byte, bool is_signed) { return is_signed ? static_cast<int8_t>(byte) : byte; }

// N3 and the clamp behind it.
uint8_t Requantize(int32_t acc, uint32_t mult, const isa::Mma& op, int lo, int hi) {
  const int zy = Code(op.zy, op.y_signed);
  const int qmin = op.y_signed ? -128 : 0;
  const float scaled = static_cast<float>(acc) * std::bit_cast<float>(mult);
  const float clamped = std::min(std::max(scaled, static_cast<float>(qmin - zy)),
                                 static_cast<float>(qmin + 255 - zy));
  const int code = static_cast<int>(std::nearbyintf(clamped)) + zy;
  return static_cast<uint8_t>(std::min(std::max(code, lo), hi));
}

// N6 and the clamp behind it.
uint8_t Add(int a, int b, const std::array<uint32_t, 3>& c, int lo, int hi) {
  const float ra = std::bit_cast<float>(c[0]), rb = std::bit_cast<float>(c[1]),
              f = std::bit_cast<float>(c[2]);
  const float v = std::fmaf(static_cast<float>(a), ra, std::fmaf(static_cast<float>(b), rb, f));
  const float clamped = std::min(std::max(v, -1000.0f), 1000.0f);
  return static_cast<uint8_t>(
      std::min(std::max(static_cast<int>(std::nearbyintf(clamped)), lo), hi));
}

uint16_t Advance(uint16_t ptr, int step, int wrap) {
  const int sum = ptr + step;
  return static_cast<uint16_t>(wrap != 0 && sum >= wrap ? sum - wrap : sum);
}

bool Outside(const Config& c, uint16_t addr, int bank, int banks) {
  const int b = addr / c.bank_depth;
  return b < bank || b > bank + banks;
}

// Times of one instruction.
struct Span {
  int64_t issue = kNever, slot_end = kNever, done = kNever;
};
struct TileTime {
  int64_t load = kNever, start = kNever, end = kNever;  // end: first cycle behind the slot
  int period = 0, vectors = 0, spacing = 1;
  bool frees = false;
};

}  // namespace

Params::Params(const Config& c)
    : bias(c.psets, std::vector<int32_t>(c.n)),
      mult(c.psets, std::vector<uint32_t>(c.n)),
      acc(c.acc_depth, std::vector<int32_t>(c.n)) {}

std::vector<Position> Walk(const isa::Mma& op) {
  std::vector<Position> result;
  for (int ky = 0; ky < op.kh; ++ky) {
    for (int kx = 0; kx < op.kw; ++kx) {
      for (int b = 0; b < op.blocks; ++b) {
        uint16_t row = op.in_row0, out_row = op.out_row0, res_row = op.res_row0;
        for (int k = 0; k < ky; ++k) row = Advance(row, op.in_ky_step, op.in_wrap);
        for (int oy = 0; oy < op.mh; ++oy) {
          for (int ox = 0; ox < op.mw; ++ox) {
            const int iy = op.iy0 + oy * op.stride_y + ky * op.dil_y,
                      ix = op.ix0 + ox * op.stride_x + kx * op.dil_x;
            Position p;
            p.in = static_cast<uint16_t>(op.in_addr + b * op.in_blk_stride + row + ix);
            p.pad = iy < 0 || iy >= op.in_h || ix < 0 || ix >= op.in_w;
            p.out = static_cast<uint16_t>(op.out_addr + out_row + ox * (op.raw ? 4 : 1));
            p.res = static_cast<uint16_t>(op.res_addr + res_row + ox);
            result.push_back(p);
          }
          row = Advance(row, op.in_oy_step, op.in_wrap);
          out_row = Advance(out_row, op.out_row_step, op.out_wrap);
          res_row = Advance(res_row, op.res_row_step, op.res_wrap);
        }
      }
    }
  }
  return result;
}

Expected Predict(const Config& config, const Episode& episode, const std::vector<int64_t>& issue,
                 const std::vector<int64_t>& arrive, const std::vector<uint8_t>& input,
                 const std::vector<uint8_t>& residual, int64_t end, Params* params) {
  const int n = config.n, groups = n / config.weight_rows;
  Expected result;
  std::vector<Span> spans;
  std::vector<TileTime> times;
  int64_t loader_free = 0, slot_over = 0;
  int ring_base = 0;

  const auto fault = [&](int64_t cycle, uint16_t addr, size_t index) {
    if (result.fault.cycle < 0) result.fault = {cycle, addr, static_cast<uint32_t>(index)};
  };

  for (size_t i = 0; i < episode.instructions.size(); ++i) {
    const isa::Mma& op = episode.instructions[i];
    const std::vector<Position> walk = Walk(op);
    const int tiles = Tiles(op), m = op.mh * op.mw;
    Span span;
    if (i < issue.size()) span.issue = issue[i];
    for (int t = 0; t < tiles; ++t) {
      const bool last = t == tiles - 1, emits = op.emit && last;
      const size_t ring = ring_base + t;
      TileTime time;
      time.vectors = m;
      time.spacing = emits && op.raw ? 4 : 1;
      time.period = std::max({m * time.spacing, groups, 4});
      time.frees = !op.retain;
      const int64_t taken = times.empty() ? 0 : times.back().start;
      const int64_t arrived = ring < arrive.size() ? arrive[ring] + 1 : kNever;
      time.load = std::max({loader_free, taken, arrived});
      time.start = std::max({span.issue + 1, slot_over, time.load + groups});
      if (time.start >= end) time.start = kNever;
      loader_free = time.load + groups;
      slot_over = time.end = time.start == kNever ? kNever : time.start + time.period;
      if (last && time.start != kNever) {
        span.slot_end = time.end - 1;
        span.done = time.start + static_cast<int64_t>(m - 1) * time.spacing + 2 * n + 28;
      }
      times.push_back(time);
      if (time.start == kNever) continue;

      const Tile& tile = episode.tiles[ring];
      for (int v = 0; v < m; ++v) {
        const int64_t cycle = time.start + static_cast<int64_t>(v) * time.spacing;
        const Position& p = walk[static_cast<size_t>(t) * m + v];
        // Claims.
        if (!p.pad && Outside(config, p.in, op.in_bank, op.in_banks)) fault(cycle + 1, p.in, i);
        if (emits && op.residual && Outside(config, p.res, op.b_bank, op.b_banks))
          fault(cycle + 1, p.res, i);
        for (int k = 0; emits && k < (op.raw ? 4 : 1); ++k) {
          const uint16_t out = static_cast<uint16_t>(p.out + k);
          if (Outside(config, out, op.out_bank, op.out_banks)) fault(cycle + 1, out, i);
        }
        if (!p.pad) result.input_reads.push_back({cycle + 1, p.in});
        // N1.
        std::vector<int32_t> sums = params->acc[op.acc_base + v];
        if (t == 0 && op.init) std::fill(sums.begin(), sums.end(), 0);
        if (!p.pad) {
          for (int r = 0; r < n; ++r) {
            const int x = Code(input[size_t{p.in} * n + r], op.x_signed) - Code(op.zx, op.x_signed);
            for (int c = 0; c < n; ++c) {
              const int w = Code(tile.rows[static_cast<size_t>(r) * n + c], tile.w_signed) -
                            Code(tile.zw, tile.w_signed);
              sums[c] = static_cast<int32_t>(static_cast<uint32_t>(sums[c]) +
                                             static_cast<uint32_t>(x * w));
            }
          }
        }
        if (!emits) {
          params->acc[op.acc_base + v] = sums;
          continue;
        }
        std::vector<uint8_t> codes(n), words(4 * n);
        if (op.residual) result.residual_reads.push_back({cycle + 2 * n + 11, p.res});
        for (int c = 0; c < n; ++c) {
          const int32_t biased = static_cast<int32_t>(
              static_cast<uint32_t>(sums[c]) + static_cast<uint32_t>(params->bias[op.pset][c]));
          for (int k = 0; k < 4; ++k)
            words[4 * c + k] = static_cast<uint8_t>(static_cast<uint32_t>(biased) >> (8 * k));
          if (op.raw) continue;
          const int lo = op.residual ? (op.y_signed ? -128 : 0) : Code(op.lo, op.y_signed);
          const int hi = op.residual ? (op.y_signed ? 127 : 255) : Code(op.hi, op.y_signed);
          uint8_t code = Requantize(biased, params->mult[op.pset][c], op, lo, hi);
          if (op.table) code = params->table[op.table_slot][code];  // N5
          if (op.residual) {
            const int conv = Code(code, op.table ? op.t_signed : op.y_signed);
            const int res = Code(residual[size_t{p.res} * n + c], op.res_signed);
            code = Add(op.res_is_a ? res : conv, op.res_is_a ? conv : res,
                       params->constant[op.const_slot], Code(op.lo, op.out_signed),
                       Code(op.hi, op.out_signed));
          }
          codes[c] = code;
        }
        const int64_t written = cycle + 2 * n + 24;
        if (!op.raw) {
          result.writes.push_back({written, p.out, static_cast<uint32_t>(i), codes});
        } else {
          for (int k = 0; k < 4; ++k) {
            result.writes.push_back(
                {written + k, static_cast<uint16_t>(p.out + k), static_cast<uint32_t>(i),
                 std::vector<uint8_t>(words.begin() + k * n, words.begin() + (k + 1) * n)});
          }
        }
      }
    }
    if (!op.retain) ring_base += tiles;
    spans.push_back(span);
  }

  // What the unit shows in every cycle.
  result.cycles.assign(
      end, CycleState{true, false, false, false, false, false, false, false, false, false});
  std::vector<int> in_flight(end, 0);
  for (const Span& span : spans) {
    for (int64_t t = span.issue + 1; t < end && t <= span.done; ++t) {
      result.cycles[t].busy = true;
      ++in_flight[t];
    }
    for (int64_t t = span.issue + 1; t < end && t <= span.slot_end; ++t) {
      result.cycles[t].active = true;
      result.cycles[t].ready = t == span.slot_end;
      result.cycles[t].weight = true;  // corrected below
    }
    if (span.done < end) result.cycles[span.done].done = true;
  }
  for (size_t k = 0; k < times.size(); ++k) {
    const TileTime& time = times[k];
    for (int64_t t = time.start; t < end && t < time.end; ++t) {
      const int64_t d = t - time.start;
      result.cycles[t].start = d == 0;
      result.cycles[t].free = d == 0 && time.frees;
      result.cycles[t].vec = d % time.spacing == 0 && d / time.spacing < time.vectors;
      result.cycles[t].slot = !result.cycles[t].vec;
      result.cycles[t].weight = false;
    }
    // Starved: active at a tile boundary, the shadow empty and nothing that could be loaded.
    const int64_t from = k == 0 ? 0 : times[k - 1].end;
    for (int64_t t = from; t < end && t < time.load; ++t)
      result.cycles[t].stuck = result.cycles[t].active && in_flight[t] == 1;
  }
  return result;
}

void RandomParams(const Config& config, Rng* rng, Params* params) {
  auto& r = *rng;
  for (int s = 0; s < config.psets; ++s) {
    const int scale =
        100 + static_cast<int>(
                  r() % 24);  // exponent: sums of some thousands to some millions reach the codes
    for (int c = 0; c < config.n; ++c) {
      params->bias[s][c] = static_cast<int32_t>(r()) >> (r() % 24);
      params->mult[s][c] = static_cast<uint32_t>((scale + r() % 3) << 23 | (r() & 0x7fffff));
      if (r() % 16 == 0) params->mult[s][c] = 0;
      if (r() % 16 == 0)
        params->mult[s][c] = std::bit_cast<uint32_t>(std::ldexp(1.0f, -static_cast<int>(r() % 30)));
    }
  }
  for (auto& table : params->table) {
    for (uint8_t& code : table) code = static_cast<uint8_t>(r());
  }
  for (auto& constant : params->constant) {
    constant[0] = std::bit_cast<uint32_t>(
        std::ldexp(1.0f + static_cast<float>(r() % 1000000) / 1e6f, static_cast<int>(r() % 5) - 3));
    constant[1] = std::bit_cast<uint32_t>(
        std::ldexp(1.0f + static_cast<float>(r() % 1000000) / 1e6f, static_cast<int>(r() % 5) - 3));
    constant[2] = std::bit_cast<uint32_t>(static_cast<float>(static_cast<int>(r() % 400) - 200) +
                                          static_cast<float>(r() % 4096) / 4096.0f);
  }
}

namespace {

int Pick(Rng* rng, int low, int high) {
  return low + static_cast<int>((*rng)() % static_cast<uint64_t>(high - low + 1));
}
bool Chance(Rng* rng, int percent) { return static_cast<int>((*rng)() % 100) < percent; }

void Cover(const Config& c, int low, int high, int32_t* bank, int32_t* banks) {
  *bank = low / c.bank_depth;
  *banks = high / c.bank_depth - *bank;
}

// Claims that cover the addresses exactly; false when the addresses do not lie in the buffer.
bool Claim(const Config& c, isa::Mma* op) {
  const int top = c.banks * c.bank_depth;
  int in[2] = {top, -1}, out[2] = {top, -1}, res[2] = {top, -1};
  for (const Position& p : Walk(*op)) {
    if (!p.pad) in[0] = std::min<int>(in[0], p.in), in[1] = std::max<int>(in[1], p.in);
    out[0] = std::min<int>(out[0], p.out), out[1] = std::max(out[1], p.out + (op->raw ? 3 : 0));
    res[0] = std::min<int>(res[0], p.res), res[1] = std::max<int>(res[1], p.res);
  }
  if (in[1] < 0) in[0] = in[1] = 0;
  if (in[1] >= top || out[1] >= top || res[1] >= top) return false;
  Cover(c, in[0], in[1], &op->in_bank, &op->in_banks);
  Cover(c, out[0], out[1], &op->out_bank, &op->out_banks);
  Cover(c, res[0], res[1], &op->b_bank, &op->b_banks);
  return true;
}

isa::Mma RandomInstruction(const Config& c, Rng* rng) {
  isa::Mma op;
  while (true) {
    op = {};
    switch (Pick(rng, 0, 5)) {
      case 0:
        op.mh = 1, op.mw = Pick(rng, 1, 4);
        break;
      case 1:
        op.mh = Pick(rng, 1, 2), op.mw = Pick(rng, 1, c.n);
        break;
      case 2:
        op.mh = Pick(rng, 1, 9), op.mw = Pick(rng, 1, 9);
        break;
      case 3:
        op.mh = Pick(rng, 1, 5), op.mw = 1;
        break;
      case 4:
        op.mh = 1, op.mw = c.n;
        break;
      default:
        op.mh = Pick(rng, 2, 10), op.mw = Pick(rng, 2, 2 * c.n > 20 ? 20 : 2 * c.n);
        break;
    }
    const int m = op.mh * op.mw;
    if (m > c.acc_depth) continue;
    op.kh = Pick(rng, 1, Chance(rng, 70) ? 2 : 4);
    op.kw = Pick(rng, 1, Chance(rng, 70) ? 2 : 4);
    op.blocks = Pick(rng, 1, 3);
    if (m > 64 && Tiles(op) > 4) continue;
    if (Tiles(op) > c.ring_tiles) continue;
    op.stride_y = Pick(rng, 1, 3);
    op.stride_x = Pick(rng, 1, 3);
    op.dil_y = Pick(rng, 1, 3);
    op.dil_x = Pick(rng, 1, 3);
    const int need_h = (op.mh - 1) * op.stride_y + (op.kh - 1) * op.dil_y + 1;
    const int need_w = (op.mw - 1) * op.stride_x + (op.kw - 1) * op.dil_x + 1;
    op.in_h = std::max(1, need_h - Pick(rng, 0, 3));
    op.in_w = std::max(1, need_w - Pick(rng, 0, 3));
    op.iy0 = -Pick(rng, 0, 2);
    op.ix0 = -Pick(rng, 0, 2);
    const int pitch = op.in_w + Pick(rng, 0, 3);
    if (Chance(rng, 50)) {  // circular rows
      const int rows = op.in_h + Pick(rng, 0, 3);
      op.in_wrap = rows * pitch;
      op.in_row0 = Pick(rng, 0, rows - 1) * pitch;
      op.in_oy_step = op.stride_y * pitch % op.in_wrap;
      op.in_ky_step = op.dil_y * pitch % op.in_wrap;
    } else {
      op.in_row0 = static_cast<uint16_t>(op.iy0 * pitch);
      op.in_oy_step = op.stride_y * pitch;
      op.in_ky_step = op.dil_y * pitch;
    }
    op.in_blk_stride = op.in_h * pitch + Pick(rng, 0, 5);
    op.in_addr = Pick(rng, 0, c.banks * c.bank_depth / 2);
    op.raw = Chance(rng, 12);
    const int out_pitch = op.mw * (op.raw ? 4 : 1) + Pick(rng, 0, 2),
              out_rows = op.mh + Pick(rng, 0, 2);
    op.out_wrap = Chance(rng, 50) ? out_rows * out_pitch : 0;
    op.out_row_step = op.out_wrap ? out_pitch % op.out_wrap : out_pitch;
    op.out_row0 = op.out_wrap ? Pick(rng, 0, out_rows - 1) * out_pitch : 0;
    op.out_addr = Pick(rng, 0, c.banks * c.bank_depth / 2);
    const int res_pitch = op.mw + Pick(rng, 0, 2), res_rows = op.mh + Pick(rng, 0, 2);
    op.res_wrap = Chance(rng, 50) ? res_rows * res_pitch : 0;
    op.res_row_step = op.res_wrap ? res_pitch % op.res_wrap : res_pitch;
    op.res_row0 = op.res_wrap ? Pick(rng, 0, res_rows - 1) * res_pitch : 0;
    op.res_addr = Pick(rng, 0, c.banks * c.bank_depth / 2);
    op.acc_base = Chance(rng, 50) ? 0 : Pick(rng, 0, c.acc_depth - m);
    op.pset = Pick(rng, 0, c.psets - 1);
    op.zx = Pick(rng, 0, 255);
    op.zy = Pick(rng, 0, 255);
    op.x_signed = Chance(rng, 50);
    op.y_signed = Chance(rng, 50);
    op.t_signed = Chance(rng, 50);
    op.res_signed = Chance(rng, 50);
    op.out_signed = Chance(rng, 50);
    op.residual = !op.raw && Chance(rng, 30);
    op.table = !op.raw && Chance(rng, 30);
    op.res_is_a = Chance(rng, 50);
    if (!op.residual && !op.table) op.out_signed = op.y_signed;
    const bool clamp_signed = op.residual ? op.out_signed : op.y_signed;
    int lo = Pick(rng, 0, 255), hi = Pick(rng, 0, 255);
    if (Chance(rng, 60)) lo = 0, hi = 255;
    if (lo > hi) std::swap(lo, hi);
    op.lo = static_cast<uint8_t>(clamp_signed ? lo - 128 : lo);
    op.hi = static_cast<uint8_t>(clamp_signed ? hi - 128 : hi);
    op.table_slot = Pick(rng, 0, 3);
    op.const_slot = Pick(rng, 0, 15);
    op.init = Chance(rng, 75);
    op.emit = Chance(rng, 75);
    op.retain = Chance(rng, 15);
    if (Claim(c, &op)) return op;
  }
}

}  // namespace

Episode RandomEpisode(const Config& config, Rng* rng, int count, bool break_claims) {
  Episode episode;
  size_t base = 0;
  for (int i = 0; i < count; ++i) {
    isa::Mma op = RandomInstruction(config, rng);
    // A kept set of tiles is mostly used again as it is, a split K mostly with the same shape.
    if (i > 0 && Chance(rng, 40)) {
      const bool kept = episode.instructions.back().retain;
      op = episode.instructions.back();
      op.retain = kept && Chance(rng, 30);
      op.init = Chance(rng, 30);
      op.emit = true;
    } else if (i > 0 &&
               Chance(rng, 30)) {  // begins with the accumulator the previous instruction ends with
      const isa::Mma& previous = episode.instructions.back();
      const int base = previous.acc_base + previous.mh * previous.mw - 1;
      if (base + op.mh * op.mw <= config.acc_depth) op.acc_base = base, op.init = false;
    }
    episode.instructions.push_back(op);
    while (episode.tiles.size() < base + Tiles(op)) {
      Tile tile{std::vector<uint8_t>(static_cast<size_t>(config.n) * config.n),
                static_cast<uint8_t>((*rng)()), Chance(rng, 50)};
      for (uint8_t& w : tile.rows) w = static_cast<uint8_t>((*rng)());
      episode.tiles.push_back(std::move(tile));
    }
    if (!op.retain) base += Tiles(op);
  }
  if (break_claims) {
    isa::Mma& op = episode.instructions[Pick(rng, 0, count - 1)];
    op.emit = true;
    int32_t* const bank[] = {&op.in_bank, &op.out_bank, &op.b_bank};
    int32_t* const banks[] = {&op.in_banks, &op.out_banks, &op.b_banks};
    for (int k = 0; k < 3; ++k) {
      if (!Chance(rng, 60)) continue;
      if (*banks[k] > 0 && Chance(rng, 50)) {
        --*banks[k];
        if (Chance(rng, 50)) ++*bank[k];
      } else {
        *bank[k] = Pick(rng, 0, config.banks - 1);
        *banks[k] = 0;
      }
    }
  }
  return episode;
}

}  // namespace octile::rtl_exe
