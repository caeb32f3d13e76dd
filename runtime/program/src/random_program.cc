#include "octile/program/random_program.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "octile/program/access.h"
#include "octile/program/window_order.h"

namespace octile {
namespace {

using isa::Queue;

constexpr int kQ = isa::kQueues;
constexpr int kExe = static_cast<int>(Queue::kExe);
constexpr int kVec = static_cast<int>(Queue::kVec);
constexpr int kSto = static_cast<int>(Queue::kSto);

// SplitMix64: the same numbers everywhere, unlike the standard library's distributions.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  // Uniform in lo..hi; lo when hi < lo.
  int Int(int lo, int hi) {
    return hi <= lo ? lo : lo + static_cast<int>(Next() % static_cast<uint64_t>(hi - lo + 1));
  }
  bool Chance(int percent) { return Int(0, 99) < percent; }
  template <class T>
  const T& Pick(const std::vector<T>& items) {
    return items[static_cast<size_t>(Int(0, static_cast<int>(items.size()) - 1))];
  }

 private:
  uint64_t state_;
};

int RoundUp(int value, int step) { return (value + step - 1) / step * step; }

// Vectors that hold data: vector (b, y, x) at addr + b*blk_stride + (row0 + y*pitch) mod wrap + x,
// modulo 65536.
struct Area {
  int addr = 0, blocks = 1, h = 1, w = 1;
  int pitch = 1, blk_stride = 0, wrap = 0, row0 = 0;

  // Row pointer of row y, which may lie outside 0..h-1.
  int Row(int y) const {
    const int p = row0 + y * pitch;
    return wrap == 0 ? p & 0xffff : (p % wrap + wrap) % wrap;
  }
  int Step(int rows) const { return wrap == 0 ? rows * pitch & 0xffff : rows * pitch % wrap; }
};

struct Clock {
  std::array<int, kQ> completed{};
  void Join(const Clock& other) {
    for (int q = 0; q < kQ; ++q) completed[q] = std::max(completed[q], other.completed[q]);
  }
};

void SetClaim(isa::Operation* op, StreamId stream, int bank, int further) {
  const auto set = [&](int32_t& first, int32_t& more) {
    first = bank;
    more = further;
  };
  if (auto* o = std::get_if<isa::Lda>(op)) set(o->buf_bank, o->buf_banks);
  if (auto* o = std::get_if<isa::Sta>(op)) set(o->buf_bank, o->buf_banks);
  if (auto* o = std::get_if<isa::Mma>(op)) {
    if (stream == StreamId::kExeIn) set(o->in_bank, o->in_banks);
    if (stream == StreamId::kExeRes) set(o->b_bank, o->b_banks);
    if (stream == StreamId::kExeOut) set(o->out_bank, o->out_banks);
  }
  if (auto* o = std::get_if<isa::Win>(op))
    stream == StreamId::kVecA ? set(o->in_bank, o->in_banks) : set(o->out_bank, o->out_banks);
  if (auto* o = std::get_if<isa::Pack>(op))
    stream == StreamId::kVecA ? set(o->in_bank, o->in_banks) : set(o->out_bank, o->out_banks);
  if (auto* o = std::get_if<isa::Elt>(op)) {
    if (stream == StreamId::kVecA) set(o->in_bank, o->in_banks);
    if (stream == StreamId::kVecB) set(o->b_bank, o->b_banks);
    if (stream == StreamId::kVecOut) set(o->out_bank, o->out_banks);
  }
}

// Appends instructions and orders each after those it depends on, by semaphores (one for each pair
// of queues), fences and SYNC. It keeps what the verifier keeps, but to create order, not to look
// for it.
class Sequence {
 public:
  Sequence(const ArchConfig& arch, Random* random)
      : arch_(arch), random_(*random), vectors_(0x10000) {
    for (auto& s : claims_) s.fill(-1);
    for (int m = 0; m < kParameterMemories; ++m)
      parameters_[m].resize(
          static_cast<size_t>(ParameterEntries(arch, static_cast<ParameterMemory>(m))));
    std::iota(pair_semaphore_.begin(), pair_semaphore_.end(), 0);
    for (int i = isa::kSemaphores - 1; i > 0; --i)
      std::swap(pair_semaphore_[static_cast<size_t>(i)],
                pair_semaphore_[static_cast<size_t>(random_.Int(0, i))]);
    for (auto& row : last_signal_) row.fill(-1);
  }

  const std::vector<isa::Operation>& ops() const { return ops_; }
  int size() const { return static_cast<int>(ops_.size()); }
  bool Written(ParameterMemory memory, int entry) const {
    return parameters_[static_cast<size_t>(memory)][static_cast<size_t>(entry)].writer >= 0;
  }
  bool WrittenVector(int v) const { return vectors_[static_cast<size_t>(v & 0xffff)].writer >= 0; }
  bool AccumulatorsWritten(int first, int count) const {
    for (int a = first; a < first + count; ++a)
      if (!accumulators_[static_cast<size_t>(a)]) return false;
    return true;
  }

  // Chooses claims that cover the streams, now and then a bank more. False if two streams of the
  // instruction collide.
  bool FitClaims(isa::Operation* op) {
    auto streams = StreamsOf(arch_, *op);
    if (!streams) return false;
    for (const StreamUse& use : *streams) {
      int low = arch_.banks, high = -1;
      for (const Run& run : use.runs) {
        low = std::min(low, static_cast<int>(run.first) / arch_.bank_depth);
        high = std::max(high, static_cast<int>(run.first + run.count - 1) / arch_.bank_depth);
      }
      if (high < 0) low = high = random_.Int(0, arch_.banks - 1);  // padding only
      if (high >= arch_.banks) return false;
      if (random_.Chance(10) && high + 1 < arch_.banks) ++high;
      if (random_.Chance(5) && low > 0) --low;
      SetClaim(op, use.stream, low, high - low);
    }
    const auto claims = ClaimsOf(*op);
    for (size_t i = 0; i < claims.size(); ++i)
      for (size_t j = i + 1; j < claims.size(); ++j)
        if (IsWrite(claims[i].stream) == IsWrite(claims[j].stream) &&
            claims[i].bank <= claims[j].bank + claims[j].further &&
            claims[j].bank <= claims[i].bank + claims[i].further)
          return false;
    return true;
  }

  // Appends an instruction whose claims fit; `in_place` allows it to overwrite what it reads.
  // False, and nothing appended, if it would read unwritten data or overwrite its own operands.
  bool Add(isa::Operation op, bool in_place = false) {
    std::array<int, kQ> need;
    need.fill(-1);
    if (isa::IllegalReason(isa::Encode(op)) || OperandReason(arch_, op)) return false;
    const int q = static_cast<int>(isa::QueueOf(isa::Encode(op)));
    auto streams = *StreamsOf(arch_, op);
    if (!Needs(op, q, streams, in_place, &need)) return false;
    Append(std::move(op), q, need);
    Remember(size() - 1, q, streams);
    return true;
  }

  // Appends after the completion of everything before it, without looking at what it does.
  int AddAfterAll(isa::Operation op) {
    const int q = static_cast<int>(isa::QueueOf(isa::Encode(op)));
    std::array<int, kQ> need;
    for (int p = 0; p < kQ; ++p) need[p] = count_[p] - 1;
    Append(std::move(op), q, need);
    return size() - 1;
  }
  // Appends as it is.
  int AddPlain(isa::Operation op) {
    const int q = static_cast<int>(isa::QueueOf(isa::Encode(op)));
    Place(std::move(op), q, issue_[q]);
    return size() - 1;
  }

  // A semaphore no pair of queues uses.
  int SpareSemaphore(int i) const {
    return pair_semaphore_[static_cast<size_t>(kQ * (kQ - 1) + i)];
  }

  // Order that nobody needs: queue c waits for what queue p has done so far.
  void Noise() {
    const int p = random_.Int(0, kQ - 1);
    const int c = random_.Int(0, kQ - 1);
    isa::Sync sync;
    sync.queue = static_cast<Queue>(c);
    std::array<int, kQ> need;
    need.fill(-1);
    if (p != c) need[p] = count_[p] - 1;
    // Somebody signals a semaphore that nobody ever waits for; always from the same queue.
    if (spare_signals_ < 100 && c == static_cast<int>(spare_queue_) && random_.Chance(50)) {
      sync.header.signal0 = isa::Semaphore(SpareSemaphore(0));
      ++spare_signals_;
    }
    Append(sync, c, need);
  }

 private:
  struct Vector {
    int writer = -1;
    std::array<int, 3> reader{-1, -1, -1};
  };
  struct Parameter {
    int writer = -1, reader = -1;
  };
  struct Access {
    int instruction, region;
    bool write;
    std::vector<MemoryRange> ranges;
  };

  bool Needs(const isa::Operation& op, int q, const std::vector<StreamUse>& streams, bool in_place,
             std::array<int, kQ>* need) {
    const auto after = [&](int i) {
      if (i >= 0)
        (*need)[queue_[static_cast<size_t>(i)]] =
            std::max((*need)[queue_[static_cast<size_t>(i)]], position_[static_cast<size_t>(i)]);
    };
    std::vector<bool> reads(0x10000);
    for (const StreamUse& use : streams) {
      const int low = use.bank * arch_.bank_depth,
                high = (use.bank + use.further + 1) * arch_.bank_depth;
      for (int s = 0; s < kStreams; ++s)
        if (s != static_cast<int>(use.stream) &&
            IsWrite(static_cast<StreamId>(s)) == IsWrite(use.stream))
          for (int b = use.bank; b <= use.bank + use.further; ++b) after(claims_[s][b]);
      for (const Run& run : use.runs) {
        if (static_cast<int>(run.first) < low || static_cast<int>(run.first + run.count) > high)
          return false;
        for (uint32_t v = run.first; v < run.first + run.count; ++v) {
          const Vector& vector = vectors_[v];
          if (!IsWrite(use.stream)) {
            if (vector.writer < 0) return false;
            after(vector.writer);
            reads[v] = true;
            continue;
          }
          if (reads[v] && !in_place) return false;
          if (vector.writer >= 0 && queue_[static_cast<size_t>(vector.writer)] != q)
            after(vector.writer);
          for (const int r : vector.reader)
            if (r >= 0 && !(q == kExe && queue_[static_cast<size_t>(r)] == kExe)) after(r);
        }
      }
    }
    for (const ParameterUse& use : ParametersOf(op))
      for (int e = use.first; e < use.first + use.count; ++e) {
        const Parameter& p = parameters_[static_cast<size_t>(use.memory)][static_cast<size_t>(e)];
        if (std::holds_alternative<isa::Ldp>(op)) {
          after(p.reader);
        } else {
          if (p.writer < 0) return false;
          after(p.writer);
        }
      }
    const auto memory = *MemoryOf(arch_, op);
    for (const MemoryUse& use : memory)
      for (const Access& a : accesses_) {
        if (a.region != use.region || a.write == use.write) continue;
        for (const MemoryRange& x : a.ranges)
          for (const MemoryRange& y : use.ranges)
            if (x.offset < y.offset + y.bytes && y.offset < x.offset + x.bytes)
              after(a.instruction);
      }
    if (const auto* o = std::get_if<isa::Mma>(&op))
      if (!o->init && !AccumulatorsWritten(o->acc_base, o->mh * o->mw)) return false;
    return true;
  }

  void Remember(int i, int q, const std::vector<StreamUse>& streams) {
    const isa::Operation& op = ops_[static_cast<size_t>(i)];
    for (const StreamUse& use : streams) {
      for (int b = use.bank; b <= use.bank + use.further; ++b)
        claims_[static_cast<int>(use.stream)][b] = i;
      for (const Run& run : use.runs)
        for (uint32_t v = run.first; v < run.first + run.count; ++v) {
          if (IsWrite(use.stream))
            vectors_[v].writer = i;
          else
            vectors_[v].reader[q == kExe ? 0 : q == kVec ? 1 : 2] = i;
        }
    }
    for (const ParameterUse& use : ParametersOf(op))
      for (int e = use.first; e < use.first + use.count; ++e) {
        Parameter& p = parameters_[static_cast<size_t>(use.memory)][static_cast<size_t>(e)];
        (std::holds_alternative<isa::Ldp>(op) ? p.writer : p.reader) = i;
      }
    const auto memory = *MemoryOf(arch_, op);
    for (const MemoryUse& use : memory) accesses_.push_back({i, use.region, use.write, use.ranges});
    if (const auto* o = std::get_if<isa::Mma>(&op))
      for (int a = o->acc_base; a < o->acc_base + o->mh * o->mw; ++a)
        accumulators_[static_cast<size_t>(a)] = !o->emit;
  }

  // Creates the order `need` asks for (positions in the queues that must have completed) and places
  // the instruction.
  void Append(isa::Operation op, int q, std::array<int, kQ> need) {
    Clock clock = issue_[q];
    isa::Header& h = isa::HeaderOf(op);
    const bool sync = std::holds_alternative<isa::Sync>(op);
    if (need[q] >= clock.completed[q] && q != kVec && !sync) h.fence = true;
    if (!h.fence && random_.Chance(5)) h.fence = true;
    std::vector<int> waits;
    for (int round = 0; round < kQ; ++round) {
      // The queue whose completion is farthest behind; each wait may make others superfluous.
      int p = -1;
      for (int other = 0; other < kQ; ++other)
        if (other != q && need[other] >= clock.completed[other] &&
            (p < 0 || need[other] - clock.completed[other] > need[p] - clock.completed[p]))
          p = other;
      if (p < 0) break;
      const int from = Signaller(p, q, need[p]);
      waits.push_back(isa::Semaphore(PairSemaphore(p, q)));
      clock.Join(completion_[static_cast<size_t>(from)]);
    }
    // What does not fit into two waits, and some of what would, goes to SYNCs in front.
    while (waits.size() > 2 || (!waits.empty() && random_.Chance(10))) {
      isa::Sync before;
      before.queue = static_cast<Queue>(q);
      before.header.layer = h.layer;
      before.header.wait0 = waits.back();
      waits.pop_back();
      if (!waits.empty() && random_.Chance(50)) {
        before.header.wait1 = waits.back();
        waits.pop_back();
      }
      Place(before, q, clock);
    }
    if (!waits.empty()) h.wait0 = waits[0];
    if (waits.size() > 1) h.wait1 = waits[1];
    if (waits.size() == 1 && random_.Chance(30)) std::swap(h.wait0, h.wait1);
    Place(std::move(op), q, clock);
  }

  void Place(isa::Operation op, int q, Clock clock) {
    const isa::Header& h = isa::HeaderOf(op);
    if (h.fence || q == kVec || std::holds_alternative<isa::Sync>(op))
      clock.completed[q] = count_[q];
    issue_[q] = clock;
    Clock done = clock;
    if (last_[q] >= 0) done.Join(completion_[static_cast<size_t>(last_[q])]);
    done.completed[q] = count_[q] + 1;
    last_[q] = size();
    queue_.push_back(q);
    position_.push_back(count_[q]++);
    completion_.push_back(done);
    ops_.push_back(std::move(op));
  }

  int PairSemaphore(int p, int c) const {
    return pair_semaphore_[static_cast<size_t>(p * (kQ - 1) + (c < p ? c : c - 1))];
  }

  // An instruction of queue p at position >= `position` that signals queue c, after all that did so
  // before (signals and waits match in order).
  int Signaller(int p, int c, int position) {
    const int32_t signal = isa::Semaphore(PairSemaphore(p, c));
    for (int i = 0; i < size(); ++i) {
      if (queue_[static_cast<size_t>(i)] != p || position_[static_cast<size_t>(i)] < position ||
          position_[static_cast<size_t>(i)] <= last_signal_[p][c])
        continue;
      isa::Header& h = isa::HeaderOf(ops_[static_cast<size_t>(i)]);
      if (isa::HasSemaphore(h.signal0) && isa::HasSemaphore(h.signal1)) continue;
      if (!isa::HasSemaphore(h.signal0) && (isa::HasSemaphore(h.signal1) || random_.Chance(70)))
        h.signal0 = signal;
      else
        h.signal1 = signal;
      last_signal_[p][c] = position_[static_cast<size_t>(i)];
      return i;
    }
    isa::Sync sync;
    sync.queue = static_cast<Queue>(p);
    sync.header.signal0 = signal;
    Place(sync, p, issue_[p]);
    last_signal_[p][c] = position_.back();
    return size() - 1;
  }

  const ArchConfig& arch_;
  Random& random_;
  std::vector<isa::Operation> ops_;
  std::vector<int> queue_, position_;
  std::vector<Clock> completion_;
  std::array<Clock, kQ> issue_;
  std::array<int, kQ> count_{}, last_{-1, -1, -1, -1, -1, -1};
  std::array<int, isa::kSemaphores> pair_semaphore_;
  std::array<std::array<int, kQ>, kQ> last_signal_;
  int spare_queue_ = random_.Int(0, kQ - 1);
  int spare_signals_ = 0;

  std::vector<Vector> vectors_;
  std::array<std::vector<Parameter>, kParameterMemories> parameters_;
  std::vector<bool> accumulators_ = std::vector<bool>(1024);
  std::array<std::array<int, 32>, kStreams> claims_;
  std::vector<Access> accesses_;
};

class Generator {
 public:
  Generator(const ArchConfig& arch, uint64_t seed, const RandomProgramOptions& options)
      : arch_(arch), options_(options), random_(seed), seq_(arch, &random_) {
    std::iota(region_of_.begin(), region_of_.end(), 0);
    for (int i = isa::kRegions - 1; i > 0; --i)
      std::swap(region_of_[static_cast<size_t>(i)],
                region_of_[static_cast<size_t>(random_.Int(0, i))]);
    input_bytes_ = RoundUp(random_.Int(2048, 8192), arch.n);
    output_bytes_ = RoundUp(random_.Int(2048, 8192), arch.n);
    scratch_bytes_ = RoundUp(random_.Int(2048, 8192), arch.n);
  }

  // The body without END.
  void Body() {
    const int steps = random_.Int(options_.min_steps, options_.max_steps);
    while (areas_.size() < 2) Load();
    const std::vector<std::function<void()>> kinds = {
        [&] { Load(); },        [&] { Convolution(); }, [&] { Convolution(); },
        [&] { Convolution(); }, [&] { Window(); },      [&] { Window(); },
        [&] { Elementwise(); }, [&] { Elementwise(); }, [&] { Pack(); },
        [&] { Store(); },       [&] { Reload(); },      [&] { seq_.Noise(); },
        [&] { seq_.Noise(); }};
    for (int s = 0; s < steps && seq_.size() < options_.max_instructions; ++s)
      random_.Pick(kinds)();
    Store();
    TakeLeftTiles();
  }

  RandomProgram Finish(std::vector<isa::Instruction> instructions,
                       std::optional<ExpectedFault> fault = std::nullopt) {
    RandomProgram p;
    p.instructions = std::move(instructions);
    p.regions.resize(isa::kRegions);
    const auto make = [&](int kind, int bytes, bool read, bool write,
                          bool execute) -> RandomRegion& {
      RandomRegion& r = p.regions[static_cast<size_t>(region_of_[static_cast<size_t>(kind)])];
      r.extent = {static_cast<uint64_t>(bytes), read, write, execute};
      r.data.resize(static_cast<size_t>(bytes));
      return r;
    };
    p.program_region = region_of_[0];
    p.program_offset = static_cast<uint32_t>(256 * random_.Int(0, 3));
    const int program_bytes =
        static_cast<int>(p.program_offset + p.instructions.size() * isa::kInstructionBytes);
    RandomRegion& program = make(0, program_bytes, false, false, true);
    if (!p.instructions.empty())
      std::memcpy(program.data.data() + p.program_offset, p.instructions.data(),
                  p.instructions.size() * isa::kInstructionBytes);
    make(1, static_cast<int>(constants_.size()), true, false, false).data = constants_;
    for (uint8_t& byte : make(2, input_bytes_, true, false, false).data) byte = Code();
    make(3, output_bytes_, false, true, false);
    for (uint8_t& byte : make(4, scratch_bytes_, true, true, false).data) byte = Code();
    p.fault = fault;
    return p;
  }

  // WIN with claims that do not hold all it touches, with the access that the fault record names.
  // By columns more often than not; the first access outside may be a read or a result.
  std::pair<isa::Win, uint32_t> WindowOutsideClaim() {
    for (;;) {
      const int bank = random_.Int(0, arch_.banks - 2);
      Area src{.h = random_.Int(1, 20), .w = random_.Int(1, 12)};
      src.pitch = src.w + random_.Int(0, 3);
      src.blocks = random_.Int(1, 2);
      int rows = src.h;
      if (random_.Chance(40)) {
        rows = std::max(2, src.h + random_.Int(-2, 2));
        src.wrap = rows * src.pitch;
        src.row0 = random_.Int(0, rows - 1) * src.pitch;
      }
      src.blk_stride = rows * src.pitch;
      isa::Win win;
      win.mode = isa::WinMode::kMax;
      SetColumnWindow(&win, src);
      if (random_.Chance(20)) SpoilColumnWindow(&win, src);
      const int edge = (bank + random_.Int(0, 1)) * arch_.bank_depth;
      const int in_size = win.blocks * src.blk_stride;
      const int out_size = win.blocks * win.mh * win.mw;
      // Around one edge of the claim, or safely inside.
      const int which = random_.Int(0, 2);
      const bool read = which != 1;
      const bool result = which != 0;
      const int inside = bank * arch_.bank_depth;
      win.in_addr = (read ? edge - random_.Int(0, in_size) : inside) & 0xffff;
      win.out_addr = (result ? edge - random_.Int(0, out_size) : inside) & 0xffff;
      win.out_row_step = win.mw;
      win.out_blk_stride = win.mh * win.mw;
      win.in_bank = win.out_bank = bank;
      if (OperandReason(arch_, win)) continue;
      if (const auto first = FirstOutsideClaim(arch_, win)) return {win, first->address};
    }
  }

  std::vector<isa::Instruction> Encoded() const {
    std::vector<isa::Instruction> out;
    for (const isa::Operation& op : seq_.ops()) out.push_back(isa::Encode(op));
    return out;
  }

  RandomProgram Faulty(isa::Fault cause);

 private:
  int Region(int kind) const { return region_of_[static_cast<size_t>(kind)]; }
  int Layer() { return random_.Int(0, 5); }
  // Codes of all sizes, the extremes more often.
  uint8_t Code() {
    const uint8_t extremes[] = {0, 1, 127, 128, 129, 255};
    return random_.Chance(10) ? extremes[random_.Int(0, 5)] : static_cast<uint8_t>(random_.Next());
  }
  int8_t Signed(int code) const { return static_cast<int8_t>(code); }

  // --- Constants in memory
  // -------------------------------------------------------------------------------------------

  // Reserves room at a multiple of N, after a gap now and then; returns the offset.
  uint32_t Reserve(int bytes) {
    const int gap = random_.Chance(50) ? arch_.n * random_.Int(0, 20) : 0;
    const auto offset =
        static_cast<uint32_t>(RoundUp(static_cast<int>(constants_.size()), arch_.n) + gap);
    while (constants_.size() < offset + static_cast<uint32_t>(bytes)) constants_.push_back(Code());
    return offset;
  }
  void PutWord(uint32_t offset, uint32_t word) {
    std::memcpy(constants_.data() + offset, &word, 4);
  }
  uint32_t FloatBits(int low_exponent, int high_exponent) {
    const auto exponent = static_cast<uint32_t>(127 + random_.Int(low_exponent, high_exponent));
    return exponent << 23 | static_cast<uint32_t>(random_.Next() & 0x7fffff);
  }
  // A multiplier of N3: mostly one that leaves sums of products in range, sometimes at the ends of
  // 2^-33 .. 2^9, sometimes 0.
  uint32_t Multiplier() {
    const int kind = random_.Int(0, 19);
    if (kind == 0) return 0;
    if (kind == 1) return 0x44000000;  // 2^9
    if (kind == 2) return 0x2f000000;  // 2^-33
    return kind < 5 ? FloatBits(-33, 8) : FloatBits(-14, -4);
  }
  void PutParameterSet(uint32_t offset) {
    for (int c = 0; c < arch_.n; ++c) {
      const bool wild = random_.Chance(3);
      PutWord(offset + 4 * static_cast<uint32_t>(c),
              wild ? static_cast<uint32_t>(random_.Next())
                   : static_cast<uint32_t>(random_.Int(-20000, 20000)));
      PutWord(offset + 4 * static_cast<uint32_t>(arch_.n + c), Multiplier());
    }
  }
  // Offsets and factors of N13: mostly such that results spread over the codes.
  void PutAffineSet(uint32_t offset) {
    for (int c = 0; c < arch_.n; ++c) {
      const bool wild = random_.Chance(10);
      const uint32_t sign = random_.Chance(50) ? 0x80000000u : 0u;
      const float f = static_cast<float>(random_.Int(-20000, 20000)) / 64.0f;
      uint32_t bits = wild ? FloatBits(-60, 28) | (random_.Chance(50) ? 0x80000000u : 0u) : Bits(f);
      // Both zeros.
      if (random_.Chance(5)) bits = random_.Chance(50) ? 0x80000000u : 0u;
      PutWord(offset + 4 * static_cast<uint32_t>(c), bits);
      PutWord(offset + 4 * static_cast<uint32_t>(arch_.n + c),
              random_.Chance(5) ? sign : sign | FloatBits(wild ? -38 : -4, wild ? 18 : 2));
    }
  }
  static uint32_t Bits(float value) { return std::bit_cast<uint32_t>(value); }
  // Constants of N6 for zero points za, zb, zc, and of N7.
  void PutAddConstants(uint32_t offset) {
    const bool wild = random_.Chance(10);
    const float ra = std::bit_cast<float>(FloatBits(wild ? -20 : -4, wild ? 10 : 2));
    const float rb = std::bit_cast<float>(FloatBits(wild ? -20 : -4, wild ? 10 : 2));
    const float za = static_cast<float>(random_.Int(-128, 127)),
                zb = static_cast<float>(random_.Int(-128, 127)),
                zc = static_cast<float>(random_.Int(-128, 127));
    const float product = rb * zb;
    const float f = zc - std::fma(ra, za, product);
    PutWord(offset, Bits(ra));
    PutWord(offset + 4, Bits(rb));
    // The arithmetic is stated for a zero or normal sum of moderate size.
    PutWord(offset + 8, std::fabs(f) < 0x1p-60f ? 0 : Bits(f));
    for (uint32_t w = 3; w < 16; ++w) PutWord(offset + 4 * w, 0);
  }
  void PutMulConstants(uint32_t offset) {
    const bool wild = random_.Chance(10);
    PutWord(offset, random_.Chance(5) ? 0 : FloatBits(wild ? -30 : -12, wild ? 10 : -4));
    PutWord(offset + 4, Bits(static_cast<float>(random_.Int(-128, 255))));
    for (uint32_t w = 2; w < 16; ++w) PutWord(offset + 4 * w, 0);
  }

  bool LoadParameters(ParameterMemory memory, int index, int count) {
    const int bytes = ParameterBytes(arch_, memory);
    const uint32_t offset = Reserve(bytes * count);
    for (int e = 0; e < count; ++e) {
      const uint32_t at = offset + static_cast<uint32_t>(e * bytes);
      switch (memory) {
        case ParameterMemory::kExeSet:
          PutParameterSet(at);
          break;
        case ParameterMemory::kVecSet:
          IsAffineSet(index + e) ? PutAffineSet(at) : PutParameterSet(at);
          break;
        case ParameterMemory::kExeConst:
          PutAddConstants(at);
          break;
        case ParameterMemory::kVecConst:
          // Even slots serve ADD, odd ones MUL.
          (index + e) % 2 == 0 ? PutAddConstants(at) : PutMulConstants(at);
          break;
        default:
          break;  // tables and weights are any codes
      }
    }
    isa::Ldp ldp;
    ldp.header.layer = Layer();
    ldp.region = Region(1);
    ldp.offset = offset;
    ldp.target = static_cast<isa::LdpTarget>(memory);
    ldp.index = index;
    ldp.count = count;
    return seq_.Add(ldp);
  }

  // Makes entries first .. first+count-1 hold something, anew with some chance. Loads them in one
  // piece or several.
  bool Ready(ParameterMemory memory, int first, int count) {
    bool missing = random_.Chance(15);
    for (int e = first; e < first + count; ++e) missing = missing || !seq_.Written(memory, e);
    if (!missing) return true;
    const int extra =
        random_.Chance(30)
            ? random_.Int(0, std::min(3, ParameterEntries(arch_, memory) - first - count))
            : 0;
    const int piece = random_.Chance(80) ? count + extra : std::max(1, count / 2);
    for (int e = first; e < first + count + extra; e += piece)
      if (!LoadParameters(memory, e, std::min(piece, first + count + extra - e))) return false;
    return true;
  }
  // The last quarter of the vector unit's sets serves ELT AFFINE.
  int FirstAffineSet() const {
    return arch_.psets - std::max(arch_.psets / 4, arch_.psets > 1 ? 1 : 0);
  }
  bool IsAffineSet(int set) const { return set >= FirstAffineSet(); }
  int PickVectorSet(int count) {
    const int last = FirstAffineSet() - count;
    return random_.Int(0, random_.Chance(70) ? std::min(6, last) : last);
  }
  int PickAffineSet(int count) {
    const int first = FirstAffineSet();
    const int last = arch_.psets - count;
    return random_.Int(first, random_.Chance(70) ? std::min(first + 6, last) : last);
  }
  int PickSet(int count) {
    return random_.Chance(70) ? random_.Int(0, std::min(6, arch_.psets - count))
                              : random_.Int(0, arch_.psets - count);
  }

  // --- Areas of the buffer
  // -------------------------------------------------------------------------------------------

  // A place for blocks x h x w vectors with gaps and, sometimes, circular rows. nullopt if it does
  // not fit.
  std::optional<Area> Place(int blocks, int h, int w) {
    Area a{.blocks = blocks, .h = h, .w = w};
    a.pitch = w + (random_.Chance(30) ? random_.Int(1, 3) : 0);
    int rows = h;
    if (random_.Chance(35)) {
      rows = std::max(2, h + random_.Int(0, 2));
      a.wrap = rows * a.pitch;
      a.row0 = random_.Int(0, rows - 1) * a.pitch;
    }
    a.blk_stride = rows * a.pitch + (random_.Chance(30) ? random_.Int(0, 9) : 0);
    const int extent = (blocks - 1) * a.blk_stride + rows * a.pitch;
    if (extent > arch_.buffer_vectors()) return std::nullopt;
    if (extent <= arch_.bank_depth && random_.Chance(80)) {
      a.addr = random_.Int(0, arch_.banks - 1) * arch_.bank_depth;
      a.addr += random_.Int(0, arch_.bank_depth - extent);
    } else {
      a.addr = random_.Int(0, arch_.buffer_vectors() - extent);
    }
    // A base that is only right after the row pointer is added.
    if (a.wrap == 0 && random_.Chance(15)) {
      a.row0 = random_.Int(1, 500);
      a.addr = (a.addr - a.row0) & 0xffff;
    }
    return a;
  }
  template <class Op>
  void SetOut(Op* op, const Area& a) {
    op->out_addr = a.addr;
    op->out_row0 = a.row0;
    op->out_row_step = a.Step(1);
    op->out_wrap = a.wrap;
  }

  void Load(int max_rows = 8) {
    const int w = random_.Int(1, random_.Chance(20) ? 60 : 14);
    const int h = random_.Int(1, max_rows);
    const int blocks = random_.Int(1, random_.Chance(20) ? 4 : 2);
    const bool scratch = random_.Chance(25);
    const int bytes = scratch ? scratch_bytes_ : input_bytes_;
    const int n = arch_.n;
    const auto area = Place(blocks, h, w);
    if (!area) return;
    isa::Lda op;
    op.header.layer = Layer();
    op.region = Region(scratch ? 4 : 2);
    op.n0 = w;
    op.n1 = h;
    op.n2 = blocks;
    // Rows and planes may overlap in memory; the last byte lies inside.
    const int row = random_.Int(0, 2 * w) * n;
    const int plane = random_.Chance(50) ? row * h : random_.Int(0, 40) * n;
    const int reach = (blocks - 1) * plane + (h - 1) * row + w * n;
    if (reach > bytes) return;
    op.offset = static_cast<uint32_t>(random_.Int(0, (bytes - reach) / n) * n);
    if (random_.Chance(10)) op.offset = static_cast<uint32_t>(bytes - reach);
    op.mem_stride1 = static_cast<uint32_t>(row);
    op.mem_stride2 = static_cast<uint32_t>(plane);
    op.buf_addr = area->addr;
    op.buf_row0 = area->row0;
    op.buf_stride1 = area->Step(1);
    op.buf_wrap = area->wrap;
    op.buf_stride2 = area->blk_stride;
    AddWithArea(op, *area);
  }

  // Adds the instruction with fitting claims; its result becomes an operand of later ones.
  bool AddWithArea(isa::Operation op, const Area& area, bool in_place = false) {
    if (!seq_.FitClaims(&op) || !seq_.Add(std::move(op), in_place)) return false;
    areas_.push_back(area);
    return true;
  }

  // Part of an area: some of its blocks, rows from some row on.
  Area Part(const Area& a, int max_blocks) {
    Area part = a;
    part.blocks = random_.Int(1, std::min(a.blocks, max_blocks));
    part.addr = (a.addr + random_.Int(0, a.blocks - part.blocks) * a.blk_stride) & 0xffff;
    return part;
  }

  // --- Matrix instructions
  // -------------------------------------------------------------------------------------------

  void LoadTiles(int tiles) {
    isa::Ldw op;
    op.header.layer = Layer();
    op.region = Region(1);
    op.offset = Reserve(tiles * arch_.tile_bytes());
    op.tiles = tiles;
    op.zw = Code();
    op.w_signed = random_.Chance(60);
    if (op.w_signed && random_.Chance(60)) op.zw = 0;
    if (seq_.Add(op)) tiles_ += tiles;
  }
  // Loads at least what is missing for `tiles` more, in one LDW or several.
  void EnsureTiles(int tiles) {
    int missing = tiles - tiles_;
    if (missing <= 0) return;
    if (random_.Chance(15)) missing += random_.Int(1, 8);
    while (missing > 0) {
      const int part = random_.Chance(60) ? missing : random_.Int(1, missing);
      LoadTiles(part);
      missing -= part;
    }
  }

  template <class Op>
  void SetWindow(Op* op, const Area& src, int max_kernel) {
    op->kh = random_.Int(1, max_kernel);
    op->kw = random_.Int(1, max_kernel);
    op->stride_y = random_.Chance(70) ? 1 : random_.Int(1, 3);
    op->stride_x = random_.Chance(70) ? 1 : random_.Int(1, 3);
    op->dil_y = random_.Chance(80) ? 1 : random_.Int(1, 3);
    op->dil_x = random_.Chance(80) ? 1 : random_.Int(1, 3);
    op->iy0 = -random_.Int(0, op->kh - 1) * op->dil_y;
    op->ix0 = -random_.Int(0, op->kw - 1) * op->dil_x;
    if (random_.Chance(15)) op->ix0 = random_.Int(0, src.w - 1);
    if (random_.Chance(15)) op->iy0 = random_.Int(0, src.h - 1);
    op->in_addr = src.addr;
    op->in_row0 = src.Row(op->iy0);
    op->in_oy_step = src.Step(op->stride_y);
    op->in_ky_step = src.Step(op->dil_y);
    op->in_wrap = src.wrap;
    op->in_blk_stride = src.blk_stride;
    op->in_h = src.h;
    op->in_w = src.w;
    op->blocks = src.blocks;
    // As many positions as the input gives, fewer, or a few that see padding only.
    const int fit_h = (src.h + (op->kh - 1) * op->dil_y) / op->stride_y + 1;
    const int fit_w = (src.w + (op->kw - 1) * op->dil_x) / op->stride_x + 1;
    op->mh = random_.Int(1, std::min(fit_h, 8));
    op->mw = random_.Int(1, std::min(fit_w, std::max(1, options_.max_positions / op->mh)));
  }
  // A window that the vector unit works on by columns (docs/timing.md section 8), with heights
  // around the output rows that make a group.
  void SetColumnWindow(isa::Win* op, const Area& src) {
    op->kh = random_.Int(1, 5);
    op->kw = random_.Int(op->kh == 1 ? 2 : 1, 5);
    op->stride_y = op->kh > 1 && random_.Chance(40) ? 2 : 1;
    op->stride_x = random_.Int(1, random_.Chance(80) ? std::min(op->kw, 2) : op->kw);
    op->dil_y = op->kh == 1 && random_.Chance(30) ? random_.Int(1, 31) : 1;
    op->dil_x = op->kw == 1 && random_.Chance(30) ? random_.Int(1, 31) : 1;
    const int group = (8 - op->kh) / op->stride_y + 1;
    op->mh = random_.Chance(60) ? random_.Int(1, 3) * group + random_.Int(-1, 1)
                                : random_.Int(1, 2 * group);
    op->mh = std::clamp(op->mh, 1, 3 * options_.max_positions);
    op->mw = random_.Chance(50) ? random_.Int(1, 3)
                                : random_.Int(1, std::max(1, 3 * options_.max_positions / op->mh));
    // Within the kernel, farther out, or inside.
    op->iy0 = -random_.Int(0, op->kh - 1);
    op->ix0 = -random_.Int(0, op->kw - 1);
    if (random_.Chance(15)) op->ix0 = random_.Int(-9, src.w - 1);
    if (random_.Chance(15)) op->iy0 = random_.Int(-9, src.h - 1);
    op->in_addr = src.addr;
    op->in_row0 = src.Row(op->iy0);
    op->in_oy_step = src.Step(op->stride_y);
    op->in_ky_step = src.Step(1);
    op->in_wrap = src.wrap;
    op->in_blk_stride = src.blk_stride;
    op->in_h = src.h;
    op->in_w = src.w;
    op->blocks = src.blocks;
  }
  // Breaks one of the conditions of working by columns, and leaves the others.
  void SpoilColumnWindow(isa::Win* op, const Area& src) {
    switch (random_.Int(0, 5)) {
      case 0:
        op->kh = random_.Int(6, 8);
        break;
      case 1:
        op->kw = random_.Int(6, 8);
        break;
      case 2:
        op->stride_x = op->kw + random_.Int(1, 2);
        break;
      case 3:
        op->stride_y = std::max(op->kh, 2) + random_.Int(1, 2);
        op->in_oy_step = src.Step(op->stride_y);
        break;
      case 4:
        if (op->kh > 1) {
          op->dil_y = random_.Int(2, 3);
          op->in_ky_step = src.Step(op->dil_y);
        } else {
          op->dil_x = random_.Int(2, 3);
        }
        break;
      default:  // the step of a row that does not come
        op->mh = 1;
        op->in_oy_step = random_.Int(0, (op->in_wrap == 0 ? 65536 : op->in_wrap) - 1);
        break;
    }
    op->mw = std::min(op->mw, std::max(1, options_.max_positions / op->mh));
  }

  // The rows of the source from the last to the first: row pointers go backwards.
  void TurnWindow(isa::Win* op, const Area& src) {
    const auto back = [&](int32_t step) {
      return src.wrap == 0 ? -step & 0xffff : (src.wrap - step) % src.wrap;
    };
    op->in_row0 = src.Row(src.h - 1 - op->iy0);
    op->in_oy_step = back(op->in_oy_step);
    op->in_ky_step = back(op->in_ky_step);
  }

  // Clamp codes of a type, lower first.
  void SetClamp(bool is_signed, int32_t* lo, int32_t* hi) {
    int a = 0, b = 255;
    if (random_.Chance(40)) {
      a = random_.Int(0, 255);
      b = random_.Int(a, 255);
    }
    *lo = is_signed ? (a - 128) & 0xff : a;
    *hi = is_signed ? (b - 128) & 0xff : b;
  }

  // The fields of the post unit. False if a needed parameter cannot be loaded.
  bool SetPost(isa::Mma* op, const Area* residual) {
    op->pset = PickSet(1);
    op->zy = Code();
    op->y_signed = random_.Chance(50);
    op->table = !op->raw && random_.Chance(30);
    op->t_signed = op->table && random_.Chance(50);
    op->residual = residual != nullptr && !op->raw;
    op->table_slot = random_.Int(0, isa::kTableSlots - 1);
    op->const_slot = random_.Int(0, isa::kConstSlots - 1);
    op->res_signed = random_.Chance(50);
    op->res_is_a = random_.Chance(50);
    op->out_signed = op->residual ? random_.Chance(50) : op->table ? op->t_signed : op->y_signed;
    SetClamp(op->residual ? op->out_signed : op->y_signed, &op->lo, &op->hi);
    if (op->residual) {
      op->res_addr = residual->addr;
      op->res_row0 = residual->Row(random_.Int(0, residual->h - op->mh));
      op->res_row_step = residual->Step(1);
      op->res_wrap = residual->wrap;
    } else if (random_.Chance(30)) {
      // Fields without meaning may hold anything.
      op->res_addr = random_.Int(0, 65535);
      op->res_row0 = random_.Int(0, 65535);
      op->res_row_step = random_.Int(0, 65535);
      op->res_wrap = random_.Int(0, 65535);
    }
    return Ready(ParameterMemory::kExeSet, op->pset, 1) &&
           (!op->table || Ready(ParameterMemory::kExeTable, op->table_slot, 1)) &&
           (!op->residual || Ready(ParameterMemory::kExeConst, op->const_slot, 1));
  }

  bool AddMma(const isa::Mma& mma, const Area* out) {
    isa::Operation op = mma;
    if (!seq_.FitClaims(&op)) return false;
    if (!seq_.Add(std::move(op))) return false;
    if (!mma.retain) tiles_ -= static_cast<int>(TilesOf(mma));
    if (out != nullptr && mma.emit) areas_.push_back(*out);
    return true;
  }

  void Convolution() {
    const Area src = Part(random_.Pick(areas_), 3);
    isa::Mma op;
    op.header.layer = Layer();
    SetWindow(&op, src, random_.Chance(70) ? 3 : 2);
    while (TilesOf(op) > options_.max_tiles) (op.kh > 1 ? op.kh : op.kw > 1 ? op.kw : op.blocks)--;
    op.zx = Code();
    op.x_signed = random_.Chance(50);
    op.acc_base = random_.Int(0, arch_.acc_depth - op.mh * op.mw);
    op.init = op.emit = true;
    const int tiles = static_cast<int>(TilesOf(op));
    // Weights after the instruction that needs them, now and then: EXE waits for them tile by tile.
    const bool late = random_.Chance(12);
    const auto weights = [&](int need) {
      if (!late) EnsureTiles(need);
    };
    const auto weights_late = [&] {
      if (late) EnsureTiles(0);
    };
    const int kind = random_.Int(0, 9);
    if (kind < 5) {
      // One instruction, with everything the post unit can do.
      Area residual;
      const Area* res = nullptr;
      if (random_.Chance(40)) {
        residual = Part(random_.Pick(areas_), 1);
        if (residual.h >= op.mh && residual.w >= op.mw) res = &residual;
      }
      op.raw = res == nullptr && random_.Chance(20);
      const auto out = Place(1, op.mh, op.raw ? 4 * op.mw : op.mw);
      if (!out || !SetPost(&op, res)) return;
      SetOut(&op, *out);
      weights(tiles);
      if (!AddMma(op, &*out) && op.residual) {
        op.residual = false;  // in and residual in one bank
        op.out_signed = op.table ? op.t_signed : op.y_signed;
        AddMma(op, &*out);
      }
      weights_late();
    } else if (kind < 7) {
      // The sum in two or three parts, each with its own weights.
      const int parts = random_.Int(2, 3);
      const auto out = Place(1, op.mh, op.mw);
      if (!out || !SetPost(&op, nullptr)) return;
      SetOut(&op, *out);
      for (int i = 0; i < parts; ++i) {
        isa::Mma part = op;
        part.init = i == 0;
        part.emit = i + 1 == parts;
        if (!part.emit && random_.Chance(50)) part.raw = false, part.table = part.residual = false;
        weights(tiles);
        if (!AddMma(part, &*out)) return;
        weights_late();
        if (random_.Chance(15)) seq_.Noise();
      }
    } else if (kind < 9 && op.mh >= 2) {
      // The rows in two chunks with the same weights, kept in the ring.
      const auto out = Place(1, op.mh, op.mw);
      if (!out || !SetPost(&op, nullptr)) return;
      SetOut(&op, *out);
      if (tiles > arch_.ring_tiles / 2) return;
      weights(tiles);
      isa::Mma second = op;
      op.mh = random_.Int(1, op.mh - 1);
      op.retain = true;
      second.mh -= op.mh;
      second.iy0 += op.mh * op.stride_y;
      second.in_row0 = src.Row(second.iy0);
      second.out_row0 = out->Row(op.mh);
      second.acc_base = random_.Int(0, arch_.acc_depth - second.mh * second.mw);
      if (!AddMma(op, nullptr)) return;
      // If the second cannot be added, TakeLeftTiles takes the kept weights.
      AddMma(second, &*out);
      weights_late();
    } else {
      // Several blocks of output channels from one input.
      const int blocks = random_.Int(2, 3);
      const auto out = Place(blocks, op.mh, op.mw);
      if (!out) return;
      bool all = true;
      for (int b = 0; b < blocks; ++b) {
        isa::Mma part = op;
        if (!SetPost(&part, nullptr)) return;
        SetOut(&part, *out);
        part.out_addr = (out->addr + b * out->blk_stride) & 0xffff;
        part.acc_base = random_.Int(0, arch_.acc_depth - op.mh * op.mw);
        weights(tiles);
        all = AddMma(part, nullptr) && all;
        weights_late();
      }
      if (all) areas_.push_back(*out);
    }
  }

  // Every loaded tile must be taken.
  void TakeLeftTiles() {
    if (tiles_ < 0) LoadTiles(-tiles_);
    if (tiles_ == 0) return;
    const Area src = areas_.front();
    isa::Mma op;
    op.in_addr = src.addr;
    op.in_row0 = src.row0;
    op.in_wrap = src.wrap;
    op.in_h = op.in_w = 1;
    op.kh = op.kw = op.stride_y = op.stride_x = op.dil_y = op.dil_x = 1;
    op.mh = op.mw = 1;
    op.blocks = tiles_;  // the same vector for every block
    op.init = true;
    AddMma(op, nullptr);
  }

  // --- Vector instructions
  // -------------------------------------------------------------------------------------------

  void Window() {
    // More rows than the first loads have, now and then.
    if (random_.Chance(25)) Load(20);
    const Area src = Part(random_.Chance(40) ? areas_.back() : random_.Pick(areas_), 3);
    isa::Win op;
    op.header.layer = Layer();
    op.mode = static_cast<isa::WinMode>(random_.Int(0, 2));
    if (random_.Chance(65)) {
      SetColumnWindow(&op, src);
      if (random_.Chance(25)) SpoilColumnWindow(&op, src);
      if (random_.Chance(20)) TurnWindow(&op, src);
    } else {
      SetWindow(&op, src, random_.Chance(80) ? 3 : 5);
    }
    if (op.blocks > arch_.psets) return;
    op.zx = Code();
    op.zw = Code();
    op.zy = Code();
    op.x_signed = random_.Chance(50);
    op.w_signed = random_.Chance(50);
    op.y_signed = op.mode == isa::WinMode::kMax ? op.x_signed : random_.Chance(50);
    SetClamp(op.y_signed, &op.lo, &op.hi);
    op.table = random_.Chance(30);
    op.table_slot = random_.Int(0, isa::kTableSlots - 1);
    op.pset_shared = random_.Chance(30);
    if (op.blocks > FirstAffineSet()) return;
    op.pset = PickVectorSet(op.blocks);
    const int rows = op.blocks * ((op.kh * op.kw + 3) / 4);
    if (rows > arch_.wrows) return;
    op.wrow = random_.Int(0, std::min(arch_.wrows - rows, random_.Chance(70) ? 8 : arch_.wrows));
    if (op.mode != isa::WinMode::kMax &&
        !Ready(ParameterMemory::kVecSet, op.pset, op.pset_shared ? 1 : op.blocks))
      return;
    if (op.mode == isa::WinMode::kDepthwise && !Ready(ParameterMemory::kVecWeight, op.wrow, rows))
      return;
    if (op.table && !Ready(ParameterMemory::kVecTable, op.table_slot, 1)) return;
    const auto out = Place(op.blocks, op.mh, op.mw);
    if (!out) return;
    SetOut(&op, *out);
    op.out_blk_stride = out->blk_stride;
    AddWithArea(op, *out);
  }

  void Elementwise() {
    const Area a = Part(random_.Pick(areas_), 3);
    const Area b = Part(random_.Pick(areas_), 3);
    isa::Elt op;
    op.header.layer = Layer();
    op.mode = static_cast<isa::EltMode>(random_.Int(0, 3));
    const bool affine = op.mode == isa::EltMode::kAffine;
    const bool two = op.mode == isa::EltMode::kAdd || op.mode == isa::EltMode::kMul;
    const int stride = random_.Chance(80) ? 1 : random_.Int(1, 3);
    op.mh = random_.Int(1, a.h);
    op.mw = random_.Int(
        1, std::max(1, std::min((a.w + stride - 1) / stride, options_.max_positions / op.mh)));
    op.blocks = a.blocks;
    op.a_addr = a.addr;
    op.a_row0 = a.Row(random_.Int(0, a.h - op.mh));
    op.a_row_step = a.Step(1);
    op.a_wrap = a.wrap;
    op.a_blk_stride = a.blk_stride;
    op.a_x_step = stride;
    if (two || random_.Chance(20)) {
      op.b_addr = b.addr;
      op.b_row0 = b.Row(0);
      op.b_wrap = b.wrap;
      // What b has too little of is broadcast.
      op.b_row_step = b.h >= op.mh && random_.Chance(80) ? b.Step(1) : 0;
      op.b_x_step = b.w >= op.mw && random_.Chance(80) ? 1 : 0;
      op.b_blk_stride = b.blocks >= op.blocks && random_.Chance(80) ? b.blk_stride : 0;
    }
    op.za = Code();
    op.zb = Code();
    op.a_signed = random_.Chance(50);
    op.b_signed = random_.Chance(50);
    op.out_signed = op.mode == isa::EltMode::kCopy ? op.a_signed : random_.Chance(50);
    SetClamp(op.out_signed, &op.lo, &op.hi);
    op.const_slot =
        2 * random_.Int(0, isa::kConstSlots / 2 - 1) + (op.mode == isa::EltMode::kMul ? 1 : 0);
    op.table = random_.Chance(40);
    op.table_slot = random_.Int(0, isa::kTableSlots - 1);
    if (affine) {
      if (op.blocks > arch_.psets - FirstAffineSet()) return;
      op.pset = PickAffineSet(op.blocks);
      if (!Ready(ParameterMemory::kVecSet, op.pset, op.blocks)) return;
    }
    if (two && !Ready(ParameterMemory::kVecConst, op.const_slot, 1)) return;
    if (op.table && !Ready(ParameterMemory::kVecTable, op.table_slot, 1)) return;
    if (random_.Chance(15)) {
      // In place over a.
      op.out_addr = op.a_addr;
      op.out_row0 = op.a_row0;
      op.out_row_step = op.a_row_step;
      op.out_wrap = op.a_wrap;
      op.out_blk_stride = op.a_blk_stride;
      op.out_x_step = op.a_x_step;
      isa::Operation any = op;
      if (seq_.FitClaims(&any)) seq_.Add(std::move(any), true);
      return;
    }
    const int spread = random_.Chance(80) ? 1 : random_.Int(1, 3);
    const auto out = Place(op.blocks, op.mh, op.mw * spread);
    if (!out) return;
    SetOut(&op, *out);
    op.out_blk_stride = out->blk_stride;
    op.out_x_step = spread;
    if (spread == 1) {
      AddWithArea(op, *out);
    } else {
      isa::Operation any = op;
      if (seq_.FitClaims(&any)) seq_.Add(std::move(any));
    }
  }

  void Pack() {
    const int n = arch_.n;
    isa::Pack op;
    op.header.layer = Layer();
    op.planes = random_.Int(1, 4);
    op.in_h = random_.Int(1, 6);
    op.in_w = random_.Int(1, 20);
    op.in_pitch = op.in_w + random_.Int(0, n);
    op.in_off = random_.Int(0, n - 1);
    op.in_off_step = random_.Chance(50) ? 0 : random_.Int(0, n - 1);
    op.in_blk_stride =
        (n - 1 + (op.in_h - 1) * op.in_pitch + op.in_w + n - 1) / n + random_.Int(0, 2);
    // Bytes for it: one long row of vectors.
    const int vectors = op.planes * op.in_blk_stride;
    if (vectors * n > input_bytes_ || vectors > arch_.bank_depth) return;
    Area bytes{.blocks = 1, .h = 1, .w = vectors, .pitch = vectors};
    bytes.addr = random_.Int(0, arch_.buffer_vectors() - vectors);
    isa::Lda load;
    load.header.layer = op.header.layer;
    load.region = Region(2);
    load.offset = static_cast<uint32_t>(random_.Int(0, input_bytes_ / n - vectors) * n);
    load.n0 = vectors;
    load.buf_addr = bytes.addr;
    if (!AddWithArea(load, bytes)) return;
    op.in_addr = bytes.addr;
    op.kh = random_.Int(1, 3);
    op.kw = random_.Int(1, random_.Chance(70) ? 4 : 7);
    op.stride_y = random_.Int(1, 2);
    op.stride_x = random_.Int(1, random_.Chance(60) ? 2 : 4);
    op.iy0 = random_.Int(-2, 1);
    op.ix0 = random_.Int(-3, 2);
    op.mh = random_.Int(1, std::min(4, op.in_h / op.stride_y + 1));
    op.mw = random_.Int(1, std::min(10, op.in_w / op.stride_x + 2));
    op.zx = Code();
    const int blocks = (op.kh * op.kw * op.planes + n - 1) / n;
    const auto out = Place(blocks, op.mh, op.mw);
    if (!out) return;
    SetOut(&op, *out);
    op.out_blk_stride = out->blk_stride;
    AddWithArea(op, *out);
  }

  // --- Stores
  // --------------------------------------------------------------------------------------------------------

  void Store() {
    const bool scratch = random_.Chance(30);
    StoreArea(Part(random_.Pick(areas_), 4), scratch);
  }

  // Returns the memory layout through `stored`.
  bool StoreArea(const Area& a, bool scratch, isa::Sta* stored = nullptr) {
    const int n = arch_.n;
    const int bytes = scratch ? scratch_bytes_ : output_bytes_;
    isa::Sta op;
    op.header.layer = Layer();
    op.region = Region(scratch ? 4 : 3);
    op.n0 = random_.Int(1, a.w);
    op.n1 = random_.Int(1, a.h);
    op.n2 = a.blocks;
    const int row = (op.n0 + random_.Int(0, 3)) * n;
    const int plane = row * (op.n1 + random_.Int(0, 1));
    const int reach = (op.n2 - 1) * plane + (op.n1 - 1) * row + op.n0 * n;
    if (reach > bytes) return false;
    op.offset = static_cast<uint32_t>(random_.Int(0, (bytes - reach) / n) * n);
    if (random_.Chance(10)) op.offset = static_cast<uint32_t>(bytes - reach);
    op.mem_stride1 = static_cast<uint32_t>(row);
    op.mem_stride2 = static_cast<uint32_t>(plane);
    op.buf_addr = a.addr;
    op.buf_row0 = a.Row(random_.Int(0, a.h - op.n1));
    op.buf_stride1 = a.Step(1);
    op.buf_wrap = a.wrap;
    op.buf_stride2 = a.blk_stride;
    isa::Operation any = op;
    if (!seq_.FitClaims(&any) || !seq_.Add(std::move(any))) return false;
    if (stored != nullptr) *stored = op;
    return true;
  }

  // A spill: stored to scratch memory and loaded back.
  void Reload() {
    isa::Sta spill;
    if (!StoreArea(Part(random_.Pick(areas_), 2), true, &spill)) return;
    if (random_.Chance(30)) Elementwise();
    const auto area = Place(spill.n2, spill.n1, spill.n0);
    if (!area) return;
    isa::Lda op;
    op.header.layer = spill.header.layer;
    op.region = spill.region;
    op.offset = spill.offset;
    op.mem_stride1 = spill.mem_stride1;
    op.mem_stride2 = spill.mem_stride2;
    op.n0 = spill.n0;
    op.n1 = spill.n1;
    op.n2 = spill.n2;
    op.buf_addr = area->addr;
    op.buf_row0 = area->row0;
    op.buf_stride1 = area->Step(1);
    op.buf_wrap = area->wrap;
    op.buf_stride2 = area->blk_stride;
    AddWithArea(op, *area);
  }

  const ArchConfig& arch_;
  const RandomProgramOptions options_;
  Random random_;
  Sequence seq_;
  std::array<int, isa::kRegions> region_of_;
  int input_bytes_, output_bytes_, scratch_bytes_;
  std::vector<uint8_t> constants_ = std::vector<uint8_t>(64);
  std::vector<Area> areas_;
  int tiles_ = 0;  // loaded and not yet taken; negative while weights come late
};

RandomProgram Generator::Faulty(isa::Fault cause) {
  const int n = arch_.n;
  ExpectedFault expected{.cause = cause};
  std::vector<isa::Instruction> program;
  const auto end = isa::Encode(isa::End{});
  // The usual form: the offending instruction after everything, some harmless ones behind it, END.
  const auto offend = [&](const isa::Operation& op) {
    expected.instruction = seq_.AddAfterAll(op);
    if (random_.Chance(50)) seq_.Noise();
    program = Encoded();
    program.push_back(end);
  };
  isa::Ldp ldp;
  ldp.region = Region(1);
  isa::Lda lda;
  lda.region = Region(2);
  isa::Sta sta;
  sta.region = Region(3);
  isa::Elt elt;
  elt.mh = 1;
  elt.a_x_step = 1;
  switch (cause) {
    case isa::Fault::kNone:
      break;
    case isa::Fault::kIllegal: {
      program = Encoded();
      isa::Instruction bad;
      switch (random_.Int(0, 6)) {
        case 0:  // unknown or reserved opcode
          bad.words[0] = std::vector<uint64_t>{
              0, 3, 9, 15, 19, 24, 25, 26, 63}[static_cast<size_t>(random_.Int(0, 8))];
          break;
        case 1:  // reserved bit
          bad = isa::Encode(lda);
          bad.words[7] = uint64_t{1} << random_.Int(0, 63);
          break;
        case 2:  // below the minimum
          lda.n1 = 0;
          bad = isa::Encode(lda);
          break;
        case 3:  // above the maximum
          ldp.target = static_cast<isa::LdpTarget>(7);
          bad = isa::Encode(ldp);
          break;
        case 4:
          lda.header.wait0 = lda.header.wait1 = isa::Semaphore(random_.Int(0, 31));
          bad = isa::Encode(lda);
          break;
        case 5:
          lda.header.signal0 = lda.header.signal1 = isa::Semaphore(random_.Int(0, 31));
          bad = isa::Encode(lda);
          break;
        default:  // a queue that does not exist
          bad = isa::Encode(isa::Sync{});
          isa::SetField(bad, *isa::FindField(*isa::FindFormat("SYNC"), "queue"), random_.Int(6, 7));
          break;
      }
      expected.instruction = random_.Int(0, static_cast<int>(program.size()));
      program.insert(program.begin() + expected.instruction, bad);
      program.push_back(end);
      break;
    }
    case isa::Fault::kOperand: {
      isa::Mma mma;
      mma.kh = mma.kw = 1;
      isa::Win win;
      isa::Pack pack;
      switch (random_.Int(0, 9)) {
        case 0:
          lda.offset = 1;
          offend(lda);
          break;
        case 1:
          sta.mem_stride2 = static_cast<uint32_t>(n / 2);
          offend(sta);
          break;
        case 2:
          ldp.target = static_cast<isa::LdpTarget>(random_.Int(0, 6));
          ldp.index = ParameterEntries(arch_, static_cast<ParameterMemory>(ldp.target)) - 1;
          ldp.count = 2;
          if (ldp.index < 1023) ldp.index += random_.Int(0, 1);
          offend(ldp);
          break;
        case 3:
          mma.acc_base = std::min(1023, arch_.acc_depth - 1);
          mma.mw = 3;
          offend(mma);
          break;
        case 4:
          mma.raw = true;
          mma.emit = random_.Chance(50);
          random_.Chance(50) ? mma.table = true : mma.residual = true;
          offend(mma);
          break;
        case 5:
          win.wrow = arch_.wrows - 1;
          win.kh = win.kw = 3;
          offend(win);
          break;
        case 6:
          win.mode = isa::WinMode::kMax;
          win.in_wrap = 4;
          win.in_ky_step = 4;
          offend(win);
          break;
        case 7:
          elt.out_wrap = 1;
          elt.out_row_step = 1;
          offend(elt);
          break;
        case 8:
          lda.buf_bank = arch_.banks - 1;
          lda.buf_banks = 1;
          lda.buf_addr = lda.buf_bank * arch_.bank_depth;
          offend(lda);
          break;
        default:
          // For N = 64 every value of the field is a byte of a vector.
          if (n < 64) {
            pack.in_off = n;
            offend(pack);
          } else {
            lda.offset = 32;
            offend(lda);
          }
          break;
      }
      break;
    }
    case isa::Fault::kRegion:
      switch (random_.Int(0, 4)) {
        case 0:  // the second burst leaves the region
          lda.n0 = 512 / n;
          lda.offset = static_cast<uint32_t>(input_bytes_ / 256 * 256 - 256);
          expected.address = lda.offset + 256;
          offend(lda);
          break;
        case 1:  // a row beyond it
          lda.n1 = 3;
          lda.mem_stride1 = 0x40000000;
          expected.address = 0x40000000;
          offend(lda);
          break;
        case 2:
          lda.region = Region(3);  // may not be read
          offend(lda);
          break;
        case 3:
          sta.region = Region(2);  // may not be written
          sta.offset = static_cast<uint32_t>(n);
          expected.address = sta.offset;
          offend(sta);
          break;
        default:
          sta.offset = static_cast<uint32_t>(output_bytes_);
          expected.address = sta.offset;
          offend(sta);
          break;
      }
      break;
    case isa::Fault::kClaim: {
      const int bank = random_.Int(0, arch_.banks - 2);
      const int edge = (bank + 1) * arch_.bank_depth;
      const int before = random_.Int(0, 5);
      expected.address = static_cast<uint64_t>(edge);
      if (random_.Chance(60)) {
        const auto [win, address] = WindowOutsideClaim();
        expected.address = address;
        offend(win);
      } else if (random_.Chance(50)) {
        lda.n0 = before + 3;
        lda.buf_addr = edge - before;
        lda.buf_bank = bank;
        offend(lda);
      } else {
        elt.a_addr = edge - before;
        elt.mw = before + 3;
        elt.in_bank = bank;
        elt.out_addr = bank * arch_.bank_depth;
        elt.out_x_step = 1;
        elt.out_bank = bank;
        offend(elt);
      }
      break;
    }
    case isa::Fault::kConflict: {
      const int bank = random_.Int(0, arch_.banks - 1);
      if (random_.Chance(40)) {
        elt.mode = isa::EltMode::kAdd;
        elt.in_bank = elt.b_bank = bank;
        elt.a_addr = elt.b_addr = bank * arch_.bank_depth;
        offend(elt);
        expected.instruction2 = expected.instruction;
      } else {
        // A long load, then a copy into its bank. The copy waits for a SYNC in front of the load,
        // so the load is first.
        isa::Sync sync;
        sync.queue = Queue::kAct;
        sync.header.signal0 = isa::Semaphore(seq_.SpareSemaphore(1));
        isa::Sync other;
        other.queue = Queue::kVec;
        seq_.AddAfterAll(other);
        seq_.AddAfterAll(sync);
        lda.n0 = std::min(arch_.bank_depth, std::min(200, input_bytes_ / n));
        lda.n1 = 8;
        lda.buf_addr = bank * arch_.bank_depth;
        lda.buf_bank = bank;
        expected.instruction2 = seq_.AddPlain(lda);
        expected.timed = true;
        elt.header.wait0 = isa::Semaphore(seq_.SpareSemaphore(1));
        elt.in_bank = elt.out_bank = bank;
        elt.a_addr = elt.out_addr = bank * arch_.bank_depth;
        expected.instruction = seq_.AddPlain(elt);
        program = Encoded();
        program.push_back(end);
      }
      break;
    }
    case isa::Fault::kSemaphore: {
      isa::Sync sync;
      sync.queue = static_cast<Queue>(random_.Int(0, kQ - 1));
      const int semaphore = seq_.SpareSemaphore(1);
      (random_.Chance(50) ? sync.header.signal0 : sync.header.signal1) = isa::Semaphore(semaphore);
      for (int i = 0; i <= isa::kSemaphoreMax; ++i) expected.instruction = seq_.AddPlain(sync);
      expected.address = static_cast<uint64_t>(semaphore);
      program = Encoded();
      program.push_back(end);
      break;
    }
    case isa::Fault::kBusRead:
      lda.region = Region(5);
      lda.offset = static_cast<uint32_t>(256 * random_.Int(0, 3));
      lda.n0 = random_.Int(1, 256 / n);
      expected.address = lda.offset;
      expected.base_region = lda.region;
      offend(lda);
      break;
    case isa::Fault::kBusWrite:
      sta.region = Region(5);
      sta.offset = static_cast<uint32_t>(256 * random_.Int(0, 3));
      sta.n0 = random_.Int(1, 256 / n);
      expected.address = sta.offset;
      expected.base_region = sta.region;
      offend(sta);
      break;
    case isa::Fault::kDeadlock:
      switch (random_.Int(0, 2)) {
        case 0: {
          isa::Sync sync;
          sync.queue = static_cast<Queue>(random_.Int(0, kQ - 1));
          expected.instruction = seq_.AddAfterAll(sync) + 1;
          sync.header.wait0 = isa::Semaphore(seq_.SpareSemaphore(1));
          seq_.AddPlain(sync);
          break;
        }
        case 1: {  // weights that nobody loads
          isa::Mma mma;
          mma.init = true;
          mma.iy0 = -1;  // reads padding only
          expected.instruction = seq_.AddAfterAll(mma);
          break;
        }
        default: {  // weights that nobody takes
          isa::Ldw ldw;
          ldw.region = Region(1);
          ldw.tiles = arch_.ring_tiles + RoundUp(1, 256 / n) + 16;
          ldw.offset = Reserve(ldw.tiles * arch_.tile_bytes());
          expected.instruction = seq_.AddAfterAll(ldw);
          break;
        }
      }
      program = Encoded();
      program.push_back(end);
      break;
    case isa::Fault::kWatchdog:
      // A long instruction of the vector unit: no retire, no tile, no beat.
      elt.mh = 4000;
      elt.mw = 20;
      elt.a_x_step = 0;
      offend(elt);
      // Nothing behind it, so that no other queue has an older instruction waiting.
      program.resize(static_cast<size_t>(expected.instruction) + 1);
      program.push_back(end);
      break;
    case isa::Fault::kFetchEnd:
      program = Encoded();
      expected.instruction = static_cast<int64_t>(program.size());
      break;
  }
  RandomProgram p = Finish(std::move(program), expected);
  if (cause == isa::Fault::kWatchdog) {
    p.watchdog = 20000;
    p.fault->timed = true;
  }
  if (expected.base_region >= 0) {
    RandomRegion& region = p.regions[static_cast<size_t>(expected.base_region)];
    region.extent = {65536, true, true, false};
    region.data.clear();
    region.unmapped = true;
  }
  return p;
}

uint64_t Mix(uint64_t seed, uint64_t attempt) {
  Random random(seed ^ attempt * 0xd1342543de82ef95);
  return random.Next();
}

std::vector<MemoryExtent> Extents(const RandomProgram& p) {
  std::vector<MemoryExtent> extents;
  for (const RandomRegion& r : p.regions) extents.push_back(r.extent);
  return extents;
}

}  // namespace

RandomProgram MakeRandomProgram(const ArchConfig& arch, uint64_t seed,
                                const RandomProgramOptions& options) {
  // A candidate can deadlock (weights behind what waits for them, or more of them than the ring
  // holds). The verifier decides.
  for (int attempt = 1;; ++attempt) {
    Generator generator(arch, Mix(seed, static_cast<uint64_t>(attempt)), options);
    generator.Body();
    auto instructions = generator.Encoded();
    instructions.push_back(isa::Encode(isa::End{}));
    RandomProgram p = generator.Finish(std::move(instructions));
    p.attempts = attempt;
    if (!FindViolation(arch, p.instructions, Extents(p))) return p;
  }
}

RandomProgram MakeFaultyProgram(const ArchConfig& arch, uint64_t seed, isa::Fault cause,
                                const RandomProgramOptions& options) {
  for (int attempt = 1;; ++attempt) {
    // The beginning by itself must be valid.
    const uint64_t mixed = Mix(seed ^ 0xfa017, static_cast<uint64_t>(attempt));
    Generator beginning(arch, mixed, options);
    beginning.Body();
    auto instructions = beginning.Encoded();
    instructions.push_back(isa::Encode(isa::End{}));
    RandomProgram valid = beginning.Finish(std::move(instructions));
    if (FindViolation(arch, valid.instructions, Extents(valid))) continue;
    Generator generator(arch, mixed, options);
    generator.Body();
    RandomProgram p = generator.Faulty(cause);
    p.attempts = attempt;
    return p;
  }
}

}  // namespace octile
