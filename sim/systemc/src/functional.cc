#include "functional.h"

#include <algorithm>
#include <cstring>

#include "octile/numerics/bulk.h"
#include "octile/numerics/hw.h"

namespace octile::systemc {
namespace {

namespace bulk = numerics::bulk;
using numerics::CodeRange;

int Code(int byte, bool is_signed) {
  return is_signed ? static_cast<int8_t>(byte) : static_cast<uint8_t>(byte);
}
CodeRange Type(bool is_signed) { return is_signed ? numerics::kS8 : numerics::kU8; }
CodeRange Clamp(int lo, int hi, bool is_signed) {
  return {Code(lo, is_signed), Code(hi, is_signed)};
}
int32_t WrapAdd(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}

// Weights of an MMA kept before they are multiplied; at least so many tiles that its pipeline has
// emptied of what came before (a tile takes four cycles, the pipeline 2N + 28).
constexpr size_t kWeightsKept = size_t{1} << 20;
constexpr size_t kTilesKept = 128;

// docs/isa.md, "Parameters": within these domains the vector kernels equal the integer form, which
// is what hardware does with any bits.
bool Within(uint32_t bits, float low, float high) {
  return bits >= numerics::FloatBits(low) && bits <= numerics::FloatBits(high);
}

bool MultipliersInDomain(const uint32_t* mult, uint32_t n) {
  return std::all_of(mult, mult + n,
                     [](uint32_t m) { return m == 0 || Within(m, 0x1p-33f, 0x1p9f); });
}

// N3 of one vector.
void Requantize(const int32_t* sum, uint32_t n, const uint32_t* mult, bool in_domain, int zy,
                CodeRange range, uint8_t* y) {
  if (in_domain) return bulk::RequantizeRow(sum, n, mult, 1, zy, range, y);
  for (uint32_t l = 0; l < n; ++l)
    y[l] = static_cast<uint8_t>(numerics::hw::Requantize(sum[l], mult[l], zy, range.lo, range.hi));
}

// N6 with RA, RB, F of a constant slot.
class Adder {
 public:
  explicit Adder(const std::array<uint32_t, 3>& c) : bits_(c) {
    const uint32_t f = c[2] & 0x7fffffffu;
    in_domain_ = Within(c[0], 0x1p-40f, 0x1p20f) && Within(c[1], 0x1p-40f, 0x1p20f) &&
                 (f == 0 || (Within(f, 0x1p-64f, 0x1p30f) && f != numerics::FloatBits(0x1p30f)));
  }
  void Row(const uint8_t* a, CodeRange a_type, const uint8_t* b, CodeRange b_type, uint32_t n,
           CodeRange range, uint8_t* y) const {
    if (in_domain_) {
      const numerics::AddConstants c{numerics::BitsFloat(bits_[0]), numerics::BitsFloat(bits_[1]),
                                     numerics::BitsFloat(bits_[2])};
      return bulk::AddRow(a, a_type, b, b_type, n, c, range, y);
    }
    for (uint32_t l = 0; l < n; ++l)
      y[l] = static_cast<uint8_t>(numerics::hw::AddFma(Code(a[l], a_type.lo < 0),
                                                       Code(b[l], b_type.lo < 0), bits_[0],
                                                       bits_[1], bits_[2], range.lo, range.hi));
  }

 private:
  std::array<uint32_t, 3> bits_;
  bool in_domain_ = false;
};

// N7 with r, zc of a constant slot.
class Multiplier {
 public:
  explicit Multiplier(const std::array<uint32_t, 3>& c) : bits_(c) {
    const float zc = numerics::BitsFloat(c[1]);
    if (zc >= -128.0f && zc <= 255.0f) zc_ = static_cast<int>(zc);
    in_domain_ = (c[0] == 0 || Within(c[0], 0x1p-40f, 0x1p20f)) && static_cast<float>(zc_) == zc;
  }
  void Row(const uint8_t* a, CodeRange a_type, int za, const uint8_t* b, CodeRange b_type, int zb,
           uint32_t n, CodeRange range, uint8_t* y) const {
    if (in_domain_)
      return bulk::MulRow(a, a_type, za, b, b_type, zb, n, numerics::BitsFloat(bits_[0]), zc_,
                          range, y);
    for (uint32_t l = 0; l < n; ++l) {
      const int32_t p = (Code(a[l], a_type.lo < 0) - za) * (Code(b[l], b_type.lo < 0) - zb);
      y[l] = static_cast<uint8_t>(numerics::hw::MulF32(p, bits_[0], bits_[1], range.lo, range.hi));
    }
  }

 private:
  std::array<uint32_t, 3> bits_;
  int zc_ = 0;
  bool in_domain_ = false;
};

// N13 with the offsets and factors of one set.
class AffineMap {
 public:
  AffineMap(const int32_t* offsets, const uint32_t* factors, uint32_t n) : n_(n) {
    for (uint32_t l = 0; l < n; ++l) {
      const auto offset = static_cast<uint32_t>(offsets[l]);
      const uint32_t a = factors[l] & 0x7fffffffu;
      const uint32_t f = offset & 0x7fffffffu;
      in_domain_ = in_domain_ && (a == 0 || Within(a, 0x1p-40f, 0x1p20f)) &&
                   (f == 0 || (Within(f, 0x1p-64f, 0x1p30f) && f != numerics::FloatBits(0x1p30f)));
      factors_[l] = numerics::BitsFloat(factors[l]);
      offsets_[l] = numerics::BitsFloat(offset);
    }
  }
  void Row(const uint8_t* q, CodeRange type, CodeRange range, uint8_t* y) const {
    if (in_domain_) return bulk::AffineRow(q, type, n_, factors_.data(), offsets_.data(), range, y);
    for (uint32_t l = 0; l < n_; ++l)
      y[l] = static_cast<uint8_t>(
          numerics::hw::Affine(Code(q[l], type.lo < 0), numerics::FloatBits(factors_[l]),
                               numerics::FloatBits(offsets_[l]), range.lo, range.hi));
  }

 private:
  uint32_t n_;
  std::array<float, 64> factors_{};
  std::array<float, 64> offsets_{};
  bool in_domain_ = true;
};

uint32_t Word(const uint8_t* p) {
  uint32_t w;
  std::memcpy(&w, p, 4);
  return w;
}

// dst[i] = code - zero point, for one vector.
template <int kLanes>
void WidenFixed(const uint8_t* src, bool is_signed, int zero, int16_t* dst) {
  if (is_signed) {
    for (int i = 0; i < kLanes; ++i)
      dst[i] = static_cast<int16_t>(static_cast<int8_t>(src[i]) - zero);
  } else {
    for (int i = 0; i < kLanes; ++i) dst[i] = static_cast<int16_t>(src[i] - zero);
  }
}

void Widen(const uint8_t* src, uint32_t n, bool is_signed, int zero, int16_t* dst) {
  for (uint32_t i = 0; i < n; ++i) dst[i] = static_cast<int16_t>(Code(src[i], is_signed) - zero);
}

// One output row of one tap: mw vectors from base + ix0 + ox*stride, zero outside 0..in_w-1; dst
// rows are lda apart.
template <int kLanes>
void TapRow(const uint8_t* buffer, uint32_t base, uint32_t n, int64_t ix0, int stride, int mw,
            int in_w, bool is_signed, int zero, int16_t* dst, size_t lda) {
  // ix = ix0 + ox*stride lies inside for ox in [first, last).
  const int64_t first = std::min<int64_t>(mw, ix0 >= 0 ? 0 : (stride - 1 - ix0) / stride);
  const int64_t past = ix0 >= in_w ? 0 : (in_w - 1 - ix0) / stride + 1;
  const int64_t last = std::max(first, std::min<int64_t>(mw, past));
  const auto clear = [&](int64_t from, int64_t to) {
    for (int64_t ox = from; ox < to; ++ox) std::memset(dst + ox * lda, 0, n * sizeof(int16_t));
  };
  clear(0, first);
  uint32_t address = BufferAddress(base + ix0 + first * stride);
  for (int64_t ox = first; ox < last; ++ox) {
    const uint8_t* src = buffer + size_t{address} * n;
    if constexpr (kLanes > 0)
      WidenFixed<kLanes>(src, is_signed, zero, dst + ox * lda);
    else
      Widen(src, n, is_signed, zero, dst + ox * lda);
    address = BufferAddress(int64_t{address} + stride);
  }
  clear(last, mw);
}

}  // namespace

Functional::Functional(const sim::CoreConfig& config) : config_(config), n_(config.n) { Scrub(); }

void Functional::Scrub() {
  const size_t n = n_;
  buffer_.assign(size_t{config_.banks} * config_.bank_depth * n, 0);
  accumulators_.assign(config_.acc_depth * n, 0);
  ring_.assign(config_.ring_tiles * n * n, 0);
  for (ParameterSets* p : {&exe_, &vec_}) {
    *p = ParameterSets();
    p->bias.assign(config_.psets * n, 0);
    p->mult.assign(config_.psets * n, 0);
  }
  vec_weights_.assign(config_.wrows * n, 0);
}

void Functional::Read(uint64_t address, uint8_t* to, size_t bytes) const {
  if (InMemory(address, bytes))
    std::memcpy(to, memory_.data() + address, bytes);
  else
    std::memset(to, 0, bytes);
}

void Functional::Write(uint64_t address, const uint8_t* from, size_t bytes) {
  if (InMemory(address, bytes)) std::memcpy(memory_.data() + address, from, bytes);
}

void Functional::FillRing(uint64_t beat, uint64_t address, uint32_t bytes) {
  const size_t size = ring_.size();
  size_t at = static_cast<size_t>(beat * n_ % size);
  // A burst may run over the end of the ring.
  const size_t head = std::min<size_t>(bytes, size - at);
  Read(address, &ring_[at], head);
  if (head < bytes) Read(address + head, &ring_[0], bytes - head);
}

void Functional::TakeTile(Inst* inst, uint64_t tile, int zw, bool w_signed) {
  const size_t count = size_t{n_} * n_;
  const uint8_t* from = &ring_[tile % config_.ring_tiles * count];
  std::vector<int16_t>& w = inst->weights;
  // Long K loops are multiplied in parts. Every instruction before has long completed then, so the
  // accumulators are right.
  if (w.size() >= std::max<size_t>(kWeightsKept, kTilesKept * count))
    MmaAccumulate(inst->As<isa::Mma>(), inst);
  const size_t at = w.size();
  w.resize(at + count);
  const int zero = Code(zw, w_signed);
  if (w_signed)
    bulk::WidenS8(reinterpret_cast<const int8_t*>(from), count, zero, &w[at]);
  else
    bulk::WidenU8(from, count, zero, &w[at]);
}

void Functional::Emit(uint32_t instruction, uint32_t address, const uint8_t* data) {
  std::memcpy(Vector(address), data, n_);
  if (sink_ != nullptr) sink_->OnResult(instruction, address, {data, n_});
}

void Functional::Execute(Inst* inst) {
  switch (inst->opcode) {
    case isa::Opcode::kLdp:
      return Ldp(inst->As<isa::Ldp>());
    case isa::Opcode::kLda:
      return Lda(inst->As<isa::Lda>());
    case isa::Opcode::kSta:
      return Sta(inst->As<isa::Sta>());
    case isa::Opcode::kMma:
      return Mma(inst);
    case isa::Opcode::kWin:
      return Win(inst->As<isa::Win>(), inst->index);
    case isa::Opcode::kElt:
      return Elt(inst->As<isa::Elt>(), inst->index);
    case isa::Opcode::kPack:
      return Pack(inst->As<isa::Pack>(), inst->index);
    case isa::Opcode::kLdw:  // its tiles went to the ring burst by burst
    case isa::Opcode::kSync:
    case isa::Opcode::kEnd:
      return;
  }
}

void Functional::Ldp(const isa::Ldp& p) {
  const bool exe = p.target == isa::LdpTarget::kExeSet || p.target == isa::LdpTarget::kExeConst ||
                   p.target == isa::LdpTarget::kExeTable;
  ParameterSets& set = exe ? exe_ : vec_;
  uint32_t offset = p.offset;
  std::vector<uint8_t> entry(8 * n_ + 256);
  for (int e = p.index; e < p.index + p.count; ++e) {
    uint32_t bytes = 0;
    switch (p.target) {
      case isa::LdpTarget::kExeSet:
      case isa::LdpTarget::kVecSet:
        bytes = 8 * n_;
        Read(Address(p.region, offset), entry.data(), bytes);
        std::memcpy(&set.bias[size_t(e) * n_], entry.data(), 4 * n_);
        std::memcpy(&set.mult[size_t(e) * n_], entry.data() + 4 * n_, 4 * n_);
        break;
      case isa::LdpTarget::kExeConst:
      case isa::LdpTarget::kVecConst:
        bytes = std::max(64u, n_);
        Read(Address(p.region, offset), entry.data(), bytes);
        for (int k = 0; k < 3; ++k) set.constants[e][k] = Word(&entry[4 * k]);
        break;
      case isa::LdpTarget::kExeTable:
      case isa::LdpTarget::kVecTable:
        bytes = 256;
        Read(Address(p.region, offset), set.tables[e].data(), bytes);
        break;
      case isa::LdpTarget::kVecWeight:
        bytes = 4 * n_;
        Read(Address(p.region, offset), reinterpret_cast<uint8_t*>(&vec_weights_[size_t(e) * n_]),
             bytes);
        break;
    }
    offset += bytes;
  }
}

void Functional::Lda(const isa::Lda& d) {
  for (int z = 0; z < d.n2; ++z) {
    uint32_t p = d.buf_row0;
    for (int y = 0; y < d.n1; ++y) {
      const uint32_t offset = d.offset + z * d.mem_stride2 + y * d.mem_stride1;
      const uint32_t a = BufferAddress(int64_t{d.buf_addr} + p + int64_t{z} * d.buf_stride2);
      // Vector addresses are modulo 65536: a row may run over the end of the largest buffer.
      const uint32_t head = std::min<uint32_t>(d.n0, 0x10000 - a);
      Read(Address(d.region, offset), Vector(a), size_t{head} * n_);
      Read(Address(d.region, offset) + size_t{head} * n_, Vector(0), size_t{d.n0 - head} * n_);
      p = Advance(p, d.buf_stride1, d.buf_wrap);
    }
  }
}

void Functional::Sta(const isa::Sta& d) {
  for (int z = 0; z < d.n2; ++z) {
    uint32_t p = d.buf_row0;
    for (int y = 0; y < d.n1; ++y) {
      const uint32_t offset = d.offset + z * d.mem_stride2 + y * d.mem_stride1;
      const uint32_t a = BufferAddress(int64_t{d.buf_addr} + p + int64_t{z} * d.buf_stride2);
      const uint32_t head = std::min<uint32_t>(d.n0, 0x10000 - a);
      Write(Address(d.region, offset), Vector(a), size_t{head} * n_);
      Write(Address(d.region, offset) + size_t{head} * n_, Vector(0), size_t{d.n0 - head} * n_);
      p = Advance(p, d.buf_stride1, d.buf_wrap);
    }
  }
}

void Functional::Mma(Inst* inst) {
  const auto& m = inst->As<isa::Mma>();
  MmaAccumulate(m, inst);
  if (m.emit) MmaEmit(m, inst->index);
}

void Functional::MmaAccumulate(const isa::Mma& m, Inst* inst) {
  const size_t n = n_;
  const size_t vectors = size_t(m.mh) * m.mw;
  const int zx = Code(m.zx, m.x_signed);
  int32_t* acc = &accumulators_[size_t(m.acc_base) * n];
  if (m.init && inst->multiplied == 0) std::memset(acc, 0, vectors * n * sizeof(int32_t));

  // Row pointer of every (ky, oy).
  starts_.resize(size_t(m.kh) * m.mh);
  uint32_t ky_pointer = m.in_row0;
  for (int ky = 0; ky < m.kh; ++ky) {
    uint32_t p = ky_pointer;
    for (int oy = 0; oy < m.mh; ++oy) {
      starts_[size_t(ky) * m.mh + oy] = p;
      p = Advance(p, m.in_oy_step, m.in_wrap);
    }
    ky_pointer = Advance(ky_pointer, m.in_ky_step, m.in_wrap);
  }

  // Chunks of the K loop whose operand matrix stays in the second-level cache.
  const size_t tiles = inst->weights.size() / (n * n);
  const size_t chunk = std::clamp<size_t>(size_t{192} * 1024 / (vectors * n), 1, tiles);
  const size_t tap_blocks = m.blocks;
  for (size_t first = 0; first < tiles; first += chunk) {
    const size_t count = std::min(chunk, tiles - first);
    const size_t lda = count * n;
    im2col_.resize(vectors * lda);
    for (size_t t = 0; t < count; ++t) {
      const size_t tile = inst->multiplied + first + t;
      const int64_t b = static_cast<int64_t>(tile % tap_blocks);
      const int kx = static_cast<int>(tile / tap_blocks % m.kw);
      const int ky = static_cast<int>(tile / tap_blocks / m.kw);
      for (int oy = 0; oy < m.mh; ++oy) {
        int16_t* dst = &im2col_[(size_t(oy) * m.mw) * lda + t * n];
        const int64_t iy = int64_t{m.iy0} + int64_t{oy} * m.stride_y + int64_t{ky} * m.dil_y;
        const int in_w = iy >= 0 && iy < m.in_h ? m.in_w : 0;
        const uint32_t base = BufferAddress(int64_t{m.in_addr} + starts_[size_t(ky) * m.mh + oy] +
                                            b * m.in_blk_stride);
        const int64_t ix0 = int64_t{m.ix0} + int64_t{kx} * m.dil_x;
        auto row = n == 16 ? TapRow<16> : n == 32 ? TapRow<32> : n == 8 ? TapRow<8> : TapRow<0>;
        row(buffer_.data(), base, n_, ix0, m.stride_x, m.mw, in_w, m.x_signed, zx, dst, lda);
      }
    }
    const bulk::PackedWeights w(&inst->weights[first * n * n], lda, n, n, 1);
    bulk::GemmI16(im2col_.data(), lda, vectors, w, acc, n);
  }
  inst->multiplied += tiles;
  inst->weights.clear();
}

void Functional::MmaEmit(const isa::Mma& m, uint32_t index) {
  const uint32_t n = n_;
  const int32_t* acc = &accumulators_[size_t(m.acc_base) * n];
  const int32_t* bias = &exe_.bias[size_t(m.pset) * n];
  const uint32_t* mult = &exe_.mult[size_t(m.pset) * n];
  const CodeRange clamp = Clamp(m.lo, m.hi, m.residual ? m.out_signed : m.y_signed);
  const CodeRange conv_range = m.residual ? Type(m.y_signed) : clamp;
  const int zy = Code(m.zy, m.y_signed);
  const bool in_domain = MultipliersInDomain(mult, n);
  const Adder add(exe_.constants[m.const_slot]);
  const CodeRange conv_type = Type(m.table ? m.t_signed : m.y_signed);
  const CodeRange res_type = Type(m.res_signed);
  int32_t sum[64];
  uint8_t code[64];
  uint8_t result[64];
  uint32_t out_pointer = m.out_row0;
  uint32_t res_pointer = m.res_row0;
  for (int oy = 0; oy < m.mh; ++oy) {
    for (int ox = 0; ox < m.mw; ++ox, acc += n) {
      for (uint32_t c = 0; c < n; ++c) sum[c] = WrapAdd(acc[c], bias[c]);
      if (m.raw) {
        const auto* bytes = reinterpret_cast<const uint8_t*>(sum);
        for (int j = 0; j < 4; ++j)
          Emit(index, BufferAddress(int64_t{m.out_addr} + out_pointer + 4 * ox + j), bytes + j * n);
        continue;
      }
      Requantize(sum, n, mult, in_domain, zy, conv_range, code);
      if (m.table) bulk::TableRow(code, n, exe_.tables[m.table_slot].data(), code);
      const uint8_t* out = code;
      if (m.residual) {
        const uint8_t* res = Vector(BufferAddress(int64_t{m.res_addr} + res_pointer + ox));
        if (m.res_is_a)
          add.Row(res, res_type, code, conv_type, n, clamp, result);
        else
          add.Row(code, conv_type, res, res_type, n, clamp, result);
        out = result;
      }
      Emit(index, BufferAddress(int64_t{m.out_addr} + out_pointer + ox), out);
    }
    out_pointer = Advance(out_pointer, m.out_row_step, m.out_wrap);
    res_pointer = Advance(res_pointer, m.res_row_step, m.res_wrap);
  }
}

void Functional::Win(const isa::Win& w, uint32_t index) {
  const uint32_t n = n_;
  const int taps = w.kh * w.kw;
  const bool max = w.mode == isa::WinMode::kMax;
  const int zx = Code(w.zx, w.x_signed);
  const int zy = Code(w.zy, w.y_signed);
  const CodeRange clamp = Clamp(w.lo, w.hi, max ? w.x_signed : w.y_signed);
  const uint8_t* table = vec_.tables[w.table_slot].data();
  std::vector<int32_t> weights(size_t(taps) * n, 1);
  int32_t acc[64];
  int best[64];
  uint8_t code[64];
  for (int b = 0; b < w.blocks; ++b) {
    const size_t set = size_t(w.pset) + (w.pset_shared ? 0 : b);
    if (w.mode == isa::WinMode::kDepthwise) {
      const size_t row = size_t(w.wrow) + size_t(b) * ((taps + 3) / 4);
      const int zw = Code(w.zw, w.w_signed);
      for (int t = 0; t < taps; ++t)
        for (uint32_t l = 0; l < n; ++l)
          weights[size_t(t) * n + l] =
              Code(vec_weights_[(row + t / 4) * n + l] >> (8 * (t % 4)) & 255, w.w_signed) - zw;
    }
    // MAX has no parameters; its set may not even exist.
    const uint32_t* mult = max ? nullptr : &vec_.mult[set * n];
    const bool in_domain = max || MultipliersInDomain(mult, n);
    uint32_t oy_pointer = w.in_row0;
    uint32_t out_pointer = w.out_row0;
    for (int oy = 0; oy < w.mh; ++oy) {
      for (int ox = 0; ox < w.mw; ++ox) {
        std::fill_n(acc, n, 0);
        std::fill_n(best, n, w.x_signed ? -128 : 0);
        uint32_t p = oy_pointer;
        for (int ky = 0; ky < w.kh; ++ky) {
          const int64_t iy = int64_t{w.iy0} + int64_t{oy} * w.stride_y + int64_t{ky} * w.dil_y;
          for (int kx = 0; kx < w.kw && iy >= 0 && iy < w.in_h; ++kx) {
            const int64_t ix = int64_t{w.ix0} + int64_t{ox} * w.stride_x + int64_t{kx} * w.dil_x;
            if (ix < 0 || ix >= w.in_w) continue;
            const uint8_t* x =
                Vector(BufferAddress(int64_t{w.in_addr} + p + int64_t{b} * w.in_blk_stride + ix));
            if (max) {
              for (uint32_t l = 0; l < n; ++l) best[l] = std::max(best[l], Code(x[l], w.x_signed));
            } else {
              const int32_t* tap = &weights[size_t(ky * w.kw + kx) * n];
              for (uint32_t l = 0; l < n; ++l)
                acc[l] = WrapAdd(acc[l], (Code(x[l], w.x_signed) - zx) * tap[l]);
            }
          }
          p = Advance(p, w.in_ky_step, w.in_wrap);
        }
        if (max) {
          for (uint32_t l = 0; l < n; ++l)
            code[l] = static_cast<uint8_t>(std::min(std::max(best[l], clamp.lo), clamp.hi));
        } else {
          for (uint32_t l = 0; l < n; ++l) acc[l] = WrapAdd(acc[l], vec_.bias[set * n + l]);
          Requantize(acc, n, mult, in_domain, zy, clamp, code);
        }
        if (w.table) bulk::TableRow(code, n, table, code);
        Emit(index,
             BufferAddress(int64_t{w.out_addr} + out_pointer + ox + int64_t{b} * w.out_blk_stride),
             code);
      }
      oy_pointer = Advance(oy_pointer, w.in_oy_step, w.in_wrap);
      out_pointer = Advance(out_pointer, w.out_row_step, w.out_wrap);
    }
  }
}

void Functional::Elt(const isa::Elt& e, uint32_t index) {
  const uint32_t n = n_;
  const CodeRange clamp = Clamp(e.lo, e.hi, e.out_signed);
  const Adder add(vec_.constants[e.const_slot]);
  const Multiplier multiply(vec_.constants[e.const_slot]);
  const int za = Code(e.za, e.a_signed);
  const int zb = Code(e.zb, e.b_signed);
  const uint8_t* table = vec_.tables[e.table_slot].data();
  uint8_t code[64];
  for (int blk = 0; blk < e.blocks; ++blk) {
    const bool affine = e.mode == isa::EltMode::kAffine;
    const size_t set = affine ? (size_t(e.pset) + blk) * n : 0;
    const AffineMap map(&vec_.bias[set], &vec_.mult[set], affine ? n : 0);
    uint32_t pa = e.a_row0;
    uint32_t pb = e.b_row0;
    uint32_t po = e.out_row0;
    for (int y = 0; y < e.mh; ++y) {
      for (int x = 0; x < e.mw; ++x) {
        const uint8_t* a = Vector(
            BufferAddress(int64_t{e.a_addr} + pa + x * e.a_x_step + int64_t{blk} * e.a_blk_stride));
        if (e.mode == isa::EltMode::kCopy) {
          std::memcpy(code, a, n);
        } else if (affine) {
          map.Row(a, Type(e.a_signed), clamp, code);
        } else {
          const uint8_t* b = Vector(BufferAddress(int64_t{e.b_addr} + pb + x * e.b_x_step +
                                                  int64_t{blk} * e.b_blk_stride));
          if (e.mode == isa::EltMode::kAdd)
            add.Row(a, Type(e.a_signed), b, Type(e.b_signed), n, clamp, code);
          else
            multiply.Row(a, Type(e.a_signed), za, b, Type(e.b_signed), zb, n, clamp, code);
        }
        if (e.table) bulk::TableRow(code, n, table, code);
        Emit(index,
             BufferAddress(int64_t{e.out_addr} + po + x * e.out_x_step +
                           int64_t{blk} * e.out_blk_stride),
             code);
      }
      pa = Advance(pa, e.a_row_step, e.a_wrap);
      pb = Advance(pb, e.b_row_step, e.b_wrap);
      po = Advance(po, e.out_row_step, e.out_wrap);
    }
  }
}

void Functional::Pack(const isa::Pack& p, uint32_t index) {
  const PackShape s(p, n_);
  const int64_t n = n_;
  const uint64_t bytes = uint64_t{0x10000} * n_;  // addresses of vectors are 16 bits
  uint8_t vector[64];
  for (uint32_t b = 0; b < s.blocks; ++b) {
    const uint32_t lanes = s.LanesOf(b);
    uint32_t out_pointer = p.out_row0;
    for (int oy = 0; oy < p.mh; ++oy) {
      // Per lane: byte of column 0 of its row, and its first column.
      int64_t rows[64];
      int64_t columns[64];
      uint32_t lane = 0;
      s.VisitGroups(b, [&](const PackShape::Group& group) {
        const int64_t iy = int64_t{p.iy0} + int64_t{oy} * p.stride_y + group.ky;
        const bool inside = iy >= 0 && iy < p.in_h;
        const int64_t row = inside ? PackRowByte(p, n, group.c, iy) : 0;
        for (uint32_t l = 0; l < group.lanes; ++l, ++lane) {
          columns[lane] = inside ? int64_t{p.ix0} + group.kx + l : p.in_w;
          rows[lane] = row;
        }
      });
      for (int ox = 0; ox < p.mw; ++ox) {
        std::memset(vector, p.zx, n_);
        for (uint32_t l = 0; l < lanes; ++l) {
          const int64_t ix = columns[l] + int64_t{ox} * p.stride_x;
          if (ix < 0 || ix >= p.in_w) continue;
          auto at = static_cast<uint64_t>(rows[l] + ix);
          if (at >= bytes) at %= bytes;
          vector[l] = buffer_[at];
        }
        Emit(index,
             BufferAddress(int64_t{p.out_addr} + out_pointer + ox + int64_t{b} * p.out_blk_stride),
             vector);
      }
      out_pointer = Advance(out_pointer, p.out_row_step, p.out_wrap);
    }
  }
}

}  // namespace octile::systemc
