#include "octile/systemc/core_model.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "functional.h"
#include "instruction.h"

namespace octile::systemc {
namespace {

using isa::Class;
using isa::Fault;
using sim::kNever;

constexpr int kPrm = 0;
constexpr int kWgt = 1;
constexpr int kAct = 2;
constexpr int kExe = 3;
constexpr int kVec = 4;
constexpr int kSto = 5;
constexpr int kQueues = sim::kQueues;
constexpr int kFetchClient = -1;  // ranks before the queues when causes tie
constexpr uint32_t kFetchBurst = 4;
constexpr int kDeadlockCycles = 4;  // consecutive quiescent cycles

// A small FIFO whose entries lie behind one another: all of them are looked at often, and few are
// there at a time. References hold until the next push or pop.
template <class T>
class Fifo {
 public:
  bool empty() const { return head_ == items_.size(); }
  size_t size() const { return items_.size() - head_; }
  T& front() { return items_[head_]; }
  const T& front() const { return items_[head_]; }
  const T& back() const { return items_.back(); }
  T* begin() { return items_.data() + head_; }
  T* end() { return items_.data() + items_.size(); }
  const T* begin() const { return items_.data() + head_; }
  const T* end() const { return items_.data() + items_.size(); }
  void push_back(const T& item) { items_.push_back(item); }
  void pop_front() {
    if (++head_ == items_.size()) {
      clear();
    } else if (head_ == kMostPopped) {
      items_.erase(items_.begin(), items_.begin() + kMostPopped);
      head_ = 0;
    }
  }
  void clear() {
    items_.clear();
    head_ = 0;
  }

 private:
  static constexpr size_t kMostPopped = 64;
  std::vector<T> items_;
  size_t head_ = 0;
};

}  // namespace

class CoreModel::Impl {
 public:
  Impl(const sim::CoreConfig& config, bool timing_only)
      : config_(config), timing_only_(timing_only), func_(config) {
    load_cycles_ = config.n / config.weight_rows;
    ring_mask_ = std::has_single_bit(config.ring_tiles) ? config.ring_tiles - 1 : 0;
    ring_visible_.assign(config.ring_tiles, 0);
    ring_zero_.assign(config.ring_tiles, {0, false});
  }

  void StartJob(const JobSetup& job, const sim::MemoryProfile& profile);
  void RunTo(uint64_t limit);
  void AccountTo(uint64_t cycle);
  uint64_t Drained() const;
  void SoftReset();

  sim::CoreConfig config_;
  bool timing_only_;
  Functional func_;
  sim::TraceRecorder recorder_;
  bool running_ = false;
  uint64_t next_ = 0;
  uint64_t evaluations_ = 0;
  bool every_cycle_ = false;
  std::array<uint64_t, 2> inject_{kNever, kNever};

 private:
  struct FifoEntry {
    uint64_t visible;
    uint32_t index;
    isa::Instruction instruction;
    // What dispatch asks in every cycle in which this is the head.
    bool illegal;
    bool end;
    int queue;  // only of a legal instruction that is not END
  };
  struct ReadBurst {
    uint64_t first;
    uint64_t last;
  };
  struct Slot {
    uint64_t full_at;
    Inst* inst;
    uint32_t offset;
    uint32_t beats;
    bool last_of_inst;
    bool picked = false;
    uint64_t sent = kNever;  // acceptance of its last beat
  };
  struct WriteBurst {
    uint64_t accept;
    uint64_t last;
    uint64_t response;
  };
  struct Raised {
    Fault cause = Fault::kNone;
    int queue = 0;
    sim::FaultRecord record;
  };
  struct Scheduled {
    uint64_t cycle;
    Raised raised;
  };
  enum class Shadow { kEmpty, kLoaded };  // kLoaded: full from shadow_full_at_ on

  void Evaluate(uint64_t t);
  void Settle(uint64_t t);

  // Parts of Evaluate, in its order; each looks at registered state first and then changes what the
  // parts behind it no longer read.
  void PickRead(uint64_t t);
  bool WantsRead() const;
  bool MayPick(uint64_t t) const;
  bool FetchEligible() const;
  bool RingHasRoom() const;
  // Where a tile of the given number lies in the ring.
  size_t RingPlace(uint64_t tile) const {
    return ring_mask_ != 0 ? tile & ring_mask_ : tile % config_.ring_tiles;
  }
  void StartRead(uint64_t t, int client);
  void Issue(uint64_t t);
  bool UnitReady(int q, uint64_t t) const;
  bool FindConflict(const Inst& inst, uint32_t* second) const;
  void ExecuteExe(uint64_t t);
  void StartTile(uint64_t t);
  void Store(uint64_t t);
  void Dispatch(uint64_t t);
  void Complete(uint64_t t);
  bool Quiescent(uint64_t t) const;
  uint64_t LastActivity(uint64_t t) const;
  bool WatchdogDue(uint64_t t);
  uint64_t NextWake(uint64_t t) const;
  void Classify(uint64_t t);

  void Raise(Fault cause, int queue, uint32_t instruction, uint64_t address, uint32_t second = 0) {
    Raised r;
    r.cause = cause;
    r.queue = queue;
    r.record.cause = static_cast<uint32_t>(cause);
    r.record.instruction = instruction;
    r.record.second = second;
    r.record.address = address;
    Note(r);
  }
  void Note(const Raised& r) {
    if (r.cause != Fault::kIllegal && r.cause != Fault::kFetchEnd) freeze_ = true;
    if (raised_.cause == Fault::kNone || r.cause < raised_.cause ||
        (r.cause == raised_.cause && r.queue < raised_.queue))
      raised_ = r;
  }
  void Schedule(uint64_t cycle, Fault cause, int queue, uint32_t instruction, uint64_t address) {
    Scheduled s;
    s.cycle = cycle;
    s.raised.cause = cause;
    s.raised.queue = queue;
    s.raised.record.cause = static_cast<uint32_t>(cause);
    s.raised.record.instruction = instruction;
    s.raised.record.address = address;
    scheduled_.push_back(s);
  }
  // Where the oldest blocked work stands, for DEADLOCK and WATCHDOG.
  std::pair<int, uint32_t> Stuck() const;

  Inst* NewInst() {
    if (free_.empty()) {
      pool_.push_back(std::make_unique<Inst>());
      return pool_.back().get();
    }
    Inst* i = free_.back();
    free_.pop_back();
    return i;
  }
  void Recycle(Inst* i) {
    // Keeps the capacity of the weights.
    std::vector<int16_t> keep = std::move(i->weights);
    keep.clear();
    *i = Inst();
    i->weights = std::move(keep);
    free_.push_back(i);
  }
  bool RegionAllows(int region, uint32_t offset, uint32_t bytes, bool permission) const {
    return permission && uint64_t{offset} + bytes <= job_.regions[region].limit;
  }
  void ClearControl();

  JobSetup job_;
  sim::MemoryTiming memory_;
  uint32_t load_cycles_ = 4;

  // Fetch and dispatch.
  uint32_t fetch_next_ = 0;
  Fifo<FifoEntry> fifo_;  // occupied and reserved entries
  bool precise_ = false;  // ILLEGAL or FETCH_END latched
  bool at_end_ = false;   // in the evaluated cycle: END at the FIFO head, or a precise fault

  // Queues.
  std::array<Fifo<Inst*>, kQueues> queue_;
  std::array<Fifo<Inst*>, kQueues> flight_;
  std::array<size_t, kQueues> queue_before_{};  // sizes at the begin of the evaluated cycle
  std::array<size_t, kQueues> flight_before_{};
  std::array<Inst*, kQueues> issued_{};  // in the evaluated cycle
  std::array<bool, kQueues> fence_blocked_{};
  std::array<bool, kQueues> sem_blocked_{};
  std::array<int, isa::kSemaphores> semaphores_{};
  uint32_t semaphores_zero_ = ~0u;  // bit s: semaphore s is 0
  std::array<Fifo<std::pair<Inst*, Claim>>, kStreams> claims_;

  // Read channel. client_: the active instruction of PRM, WGT, ACT.
  std::array<Inst*, 3> client_{};
  std::array<Inst*, 3> client_before_{};
  Fifo<ReadBurst> reads_;
  size_t outstanding_ = 0;
  uint64_t address_accept_ = 0;  // acceptance of the last address phase
  int picked_ = -2;              // client picked in the evaluated cycle; -2: none
  uint64_t last_read_beat_ = 0;  // of bursts that are over
  uint64_t read_end_ = 0;        // last beat of the last burst, for the drain
  uint64_t write_end_ = 0;

  bool wgt_room_before_ = true;

  // Ring. Tiles and beats are numbered from reset on.
  uint64_t ring_beats_in_ = 0;   // reserved so far
  uint64_t ring_tiles_out_ = 0;  // freed so far
  uint64_t ring_mask_ = 0;       // tiles - 1 if that is a mask, else 0
  std::vector<uint64_t> ring_visible_;
  std::vector<std::pair<int, bool>> ring_zero_;

  // Matrix unit.
  Inst* exe_ = nullptr;
  Inst* exe_before_ = nullptr;
  uint32_t exe_tile_ = 0;  // tiles started of exe_
  uint64_t exe_base_ = 0;  // ring number of its first tile
  uint64_t slot_start_ = 0;
  uint64_t slot_end_ = 0;  // first cycle after the slot
  uint32_t slot_vectors_ = 0;
  uint32_t slot_step_ = 1;
  bool tile_started_ = false;
  bool loader_started_ = false;  // by itself no progress: without an instruction to use the tile
                                 // the core may be quiescent
  uint64_t loader_free_ = 0;     // idle from this cycle on
  Shadow shadow_ = Shadow::kEmpty;
  uint64_t shadow_full_at_ = 0;
  uint64_t shadow_tile_ = 0;
  uint64_t next_tile_ = 0;  // the loader's next tile
  uint64_t last_tile_start_ = 0;

  // Vector unit.
  uint64_t vec_read_end_ = 0;  // last cycle of the read phase
  uint64_t vec_issue_ = 0;
  bool vec_any_ = false;  // something was issued since job start
  uint64_t vec_ready_ = 0;

  // Store unit.
  Inst* sto_ = nullptr;
  Inst* sto_before_ = nullptr;
  uint64_t sto_read_start_ = 0;
  uint64_t sto_read_end_ = 0;  // first cycle after the read phase
  bool sto_read_any_ = false;
  Fifo<Slot> slots_;
  uint64_t write_free_ = 0;  // acceptance of the last data beat of the last write picked
  Fifo<WriteBurst> writes_;
  size_t outstanding_writes_ = 0;
  uint64_t last_write_activity_ = 0;

  uint64_t last_completion_ = 0;
  uint64_t watchdog_at_ = 0;  // not due before this cycle
  int quiet_cycles_ = 0;
  bool quiescent_ = false;
  // In the evaluated cycle: something that another unit or queue may see in the next one; and a
  // read or a tile that began and that only the counters see.
  bool activity_ = false;
  bool moved_ = false;
  Raised raised_;        // first cause of the evaluated cycle
  bool freeze_ = false;  // a cause that stops the core was raised in it
  std::vector<Scheduled> scheduled_;

  std::array<uint8_t, kQueues> classes_{};
  bool exe_in_slot_ = false;
  uint64_t accounted_ = 0;

  std::vector<std::unique_ptr<Inst>> pool_;
  std::vector<Inst*> free_;
};

void CoreModel::Impl::ClearControl() {
  for (auto& q : queue_) {
    for (Inst* i : q) Recycle(i);
    q.clear();
  }
  for (auto& q : flight_) {
    for (Inst* i : q) Recycle(i);
    q.clear();
  }
  for (auto& c : claims_) c.clear();
  fifo_.clear();
  semaphores_.fill(0);
  semaphores_zero_ = ~0u;
  client_.fill(nullptr);
  exe_ = sto_ = nullptr;
  reads_.clear();
  slots_.clear();
  writes_.clear();
  scheduled_.clear();
  raised_ = Raised();
  precise_ = false;
  fetch_next_ = 0;
  address_accept_ = 0;
  last_read_beat_ = read_end_ = write_end_ = 0;
  slot_start_ = slot_end_ = 0;
  loader_free_ = shadow_full_at_ = last_tile_start_ = 0;
  vec_read_end_ = vec_ready_ = 0;
  vec_issue_ = 0;
  vec_any_ = exe_in_slot_ = false;
  sto_read_start_ = sto_read_end_ = write_free_ = 0;
  sto_read_any_ = false;
  last_write_activity_ = last_completion_ = 0;
  watchdog_at_ = 0;
  quiet_cycles_ = 0;
  accounted_ = 0;
  next_ = 0;
}

void CoreModel::Impl::StartJob(const JobSetup& job, const sim::MemoryProfile& profile) {
  ClearControl();
  job_ = job;
  memory_.Reset(profile);
  // What a job before left in the ring and in the shadow weights has long settled.
  std::fill(ring_visible_.begin(), ring_visible_.end(), 0);
  std::array<Region, isa::kRegions> regions;
  for (int r = 0; r < isa::kRegions; ++r) {
    const RegionSetup& s = job.regions[r];
    regions[r] = {s.base, s.limit, s.read, s.write, s.execute};
  }
  func_.SetRegions(regions);
  recorder_.Start(job.program_count);
  running_ = true;
}

void CoreModel::Impl::SoftReset() {
  ClearControl();
  running_ = false;
  func_.Scrub();
  ring_beats_in_ = ring_tiles_out_ = next_tile_ = shadow_tile_ = 0;
  shadow_ = Shadow::kEmpty;
}

uint64_t CoreModel::Impl::Drained() const {
  return std::max({next_, read_end_ + 1, write_end_ + 1});
}

void CoreModel::Impl::AccountTo(uint64_t cycle) {
  if (cycle <= accounted_) return;
  const uint64_t from = accounted_;
  const uint64_t cycles = cycle - from;
  accounted_ = cycle;
  recorder_.Account(cycles, classes_);
  // Inside a slot the matrix unit issues a vector in some cycles only; classes_ says ACTIVE for all
  // of them.
  if (exe_in_slot_) {
    const auto issued_before = [&](uint64_t c) {
      const uint64_t past = c > slot_start_ ? c - slot_start_ : 0;
      // Only raw results leave in more than one cycle each; a division is worth avoiding here.
      const uint64_t issued = slot_step_ == 1 ? past : (past + slot_step_ - 1) / slot_step_;
      return std::min<uint64_t>(issued, slot_vectors_);
    };
    const uint64_t active = issued_before(cycle) - issued_before(from);
    recorder_.MoveClass(kExe, static_cast<uint8_t>(Class::kActive),
                        static_cast<uint8_t>(Class::kSlot), cycles - active);
  }
}

void CoreModel::Impl::RunTo(uint64_t limit) {
  while (running_ && next_ < limit) Evaluate(next_);
}

// ---- Read channel
// ----------------------------------------------------------------------------------------------------

bool CoreModel::Impl::FetchEligible() const {
  const uint32_t left = job_.program_count - fetch_next_;
  return left > 0 && isa::kFetchDepth - fifo_.size() >= std::min(left, kFetchBurst);
}

bool CoreModel::Impl::RingHasRoom() const {
  const uint64_t capacity = uint64_t{config_.ring_tiles} * config_.n;
  const uint64_t used = ring_beats_in_ - ring_tiles_out_ * config_.n;
  return (capacity - used) * config_.n >= client_[kWgt]->bursts.bytes();
}

void CoreModel::Impl::PickRead(uint64_t t) {
  picked_ = -2;
  if (t < address_accept_ || outstanding_ >= config_.read_bursts) return;
  if (FetchEligible())
    StartRead(t, kFetchClient);
  else if (client_[kPrm] != nullptr)
    StartRead(t, kPrm);
  else if (client_[kWgt] != nullptr && RingHasRoom())
    StartRead(t, kWgt);
  else if (client_[kAct] != nullptr)
    StartRead(t, kAct);
}

// Whether a client has a read to pick. While nothing else happens, that does not change.
bool CoreModel::Impl::WantsRead() const {
  return FetchEligible() || client_[kPrm] != nullptr ||
         (client_[kWgt] != nullptr && RingHasRoom()) || client_[kAct] != nullptr;
}

// Whether a read may be picked in t, the cycle after the evaluated one.
bool CoreModel::Impl::MayPick(uint64_t t) const {
  return t >= address_accept_ && reads_.size() < config_.read_bursts && WantsRead();
}

void CoreModel::Impl::StartRead(uint64_t t, int client) {
  picked_ = client;
  moved_ = true;
  const uint32_t n = config_.n;
  const bool fetch = client == kFetchClient;
  if (fetch) activity_ = true;
  Inst* inst = fetch ? nullptr : client_[client];
  uint32_t offset;
  uint32_t bytes;
  int region;
  uint32_t first_index = 0;
  if (fetch) {
    const uint32_t count = std::min(job_.program_count - fetch_next_, kFetchBurst);
    region = static_cast<int>(job_.program_region);
    offset = job_.program_offset + fetch_next_ * isa::kInstructionBytes;
    bytes = count * isa::kInstructionBytes;
    first_index = fetch_next_;
    fetch_next_ += count;
  } else {
    region = inst->region;
    offset = inst->bursts.offset();
    bytes = inst->bursts.bytes();
    inst->bursts.Next();
  }
  recorder_.AddBytes(static_cast<sim::Port>(client + 1), bytes);
  const RegionSetup& r = job_.regions[region];
  const uint32_t index = fetch ? first_index : inst->index;
  if (!RegionAllows(region, offset, bytes, fetch ? r.execute : r.read)) {
    Raise(Fault::kRegion, client, index, offset);
    return;
  }

  const uint64_t address = r.base + offset;
  const uint32_t beats = bytes / n;
  const bool error = !func_.InMemory(address, bytes) || memory_.reads() == inject_[0];
  const auto timing = memory_.Read(t + 1, beats);
  const uint64_t interval = memory_.profile().beat_interval;
  address_accept_ = timing.accept;
  reads_.push_back({timing.first, timing.last});
  read_end_ = timing.last;
  if (error) Schedule(timing.first + 1, Fault::kBusRead, client, index, address);

  if (fetch) {
    const uint32_t per = isa::kInstructionBytes / n;
    for (uint32_t k = 0; k < bytes / isa::kInstructionBytes; ++k) {
      FifoEntry e;
      e.visible = timing.first + uint64_t{(k + 1) * per - 1} * interval + 2;
      e.index = first_index + k;
      func_.Read(address + k * isa::kInstructionBytes,
                 reinterpret_cast<uint8_t*>(e.instruction.words.data()), isa::kInstructionBytes);
      e.illegal = isa::IllegalReason(e.instruction).has_value();
      e.end = isa::OpcodeBits(e.instruction) == static_cast<int>(isa::Opcode::kEnd);
      e.queue = e.illegal || e.end ? 0 : static_cast<int>(isa::QueueOf(e.instruction));
      fifo_.push_back(e);
    }
    return;
  }
  if (client == kWgt) {
    const auto& w = inst->As<isa::Ldw>();
    if (!timing_only_) func_.FillRing(ring_beats_in_, address, bytes);
    // Beat k is the last of a tile.
    for (uint32_t k = n - 1 - static_cast<uint32_t>(ring_beats_in_ % n); k < beats; k += n) {
      const uint64_t tile = (ring_beats_in_ + k) / n;
      ring_visible_[RingPlace(tile)] = timing.first + k * interval + 2;
      ring_zero_[RingPlace(tile)] = {w.zw, w.w_signed};
    }
    ring_beats_in_ += beats;
  }
  if (client == kAct && inst->violation && inst->violation_at >= inst->beats_done &&
      inst->violation_at < inst->beats_done + beats)
    Schedule(timing.first + (inst->violation_at - inst->beats_done) * interval + 1, Fault::kClaim,
             kAct, inst->index, inst->violation_address);
  inst->beats_done += beats;
  if (inst->bursts.done()) {
    inst->completion = timing.last + 1;
    client_[client] = nullptr;
    activity_ = true;
  }
}

// ---- Issue
// -----------------------------------------------------------------------------------------------------------

bool CoreModel::Impl::UnitReady(int q, uint64_t t) const {
  switch (q) {
    case kExe:
      return exe_ == nullptr || (exe_tile_ == exe_->tiles && t + 1 == slot_end_);
    case kVec:
      return t >= vec_ready_;
    case kSto:
      return sto_before_ == nullptr;
    default:
      return client_before_[q] == nullptr;
  }
}

bool CoreModel::Impl::FindConflict(const Inst& inst, uint32_t* second) const {
  const auto search = [&](int from, int to) {
    for (int s = from; s < to; ++s)
      for (const auto& [other, claim] : claims_[s])
        for (int c = 0; c < inst.num_claims; ++c) {
          const Claim& own = inst.claims[c];
          if (own.stream == s || IsRead(own.stream) != IsRead(s)) continue;
          if (own.first <= claim.last && claim.first <= own.last) {
            *second = other->index;
            return true;
          }
        }
    return false;
  };
  if (search(kExeIn, kExeOut)) return true;
  for (int a = 0; a < inst.num_claims; ++a)
    for (int b = a + 1; b < inst.num_claims; ++b) {
      const Claim& x = inst.claims[a];
      const Claim& y = inst.claims[b];
      if (IsRead(x.stream) && IsRead(y.stream) && x.first <= y.last && y.first <= x.last) {
        *second = inst.index;
        return true;
      }
    }
  return search(kExeOut, kStreams);
}

void CoreModel::Impl::Issue(uint64_t t) {
#pragma GCC unroll 6
  for (int q = 0; q < kQueues; ++q) {
    issued_[q] = nullptr;
    fence_blocked_[q] = sem_blocked_[q] = false;
    if (queue_[q].empty()) continue;
    Inst* head = queue_[q].front();
    const isa::Header& h = head->header;
    const bool sync = head->opcode == isa::Opcode::kSync;
    const bool ready = sync || UnitReady(q, t);
    fence_blocked_[q] = ((h.fence || sync) && flight_before_[q] > 0) || (q == kVec && !ready);
    sem_blocked_[q] = (head->waits & semaphores_zero_) != 0;
    if (!ready || fence_blocked_[q] || sem_blocked_[q]) continue;

    if (head->operand_fault) {
      Raise(Fault::kOperand, q, head->index, 0);
      continue;
    }
    uint32_t second = 0;
    if (FindConflict(*head, &second)) {
      Raise(Fault::kConflict, q, head->index, 0, second);
      continue;
    }
    for (uint32_t waits = head->waits; waits != 0; waits &= waits - 1) {
      const int number = std::countr_zero(waits);
      if (--semaphores_[number] == 0) semaphores_zero_ |= 1u << number;
    }
    queue_[q].pop_front();
    flight_[q].push_back(head);
    for (int c = 0; c < head->num_claims; ++c)
      claims_[head->claims[c].stream].push_back({head, head->claims[c]});
    recorder_.Issue(q, head->index, static_cast<uint32_t>(h.layer), t);
    activity_ = true;
    issued_[q] = head;
    if (sync) {
      head->completion = t + 1;
      continue;
    }
    switch (q) {
      case kExe:  // takes over in ExecuteExe
        break;
      case kVec:
        vec_any_ = true;
        vec_issue_ = t;
        vec_read_end_ = t + head->read_cycles;
        head->completion = vec_read_end_ + head->drain_cycles;
        vec_ready_ = head->completion + 1;
        if (head->violation)
          Schedule(t + 1 + head->violation_at + 1, Fault::kClaim, kVec, head->index,
                   head->violation_address);
        break;
      case kSto:
        sto_ = head;
        sto_read_any_ = false;
        break;
      default:
        client_[q] = head;
        break;
    }
  }
}

// ---- Matrix unit
// -----------------------------------------------------------------------------------------------------

void CoreModel::Impl::StartTile(uint64_t t) {
  Inst* i = exe_;
  if (exe_tile_ == 0) exe_base_ = ring_tiles_out_;
  const uint64_t tile = shadow_tile_;
  if (i->suspect_input) CheckInput(config_, exe_tile_, i);
  if (!timing_only_ && !i->violation) {
    const auto [zw, w_signed] = ring_zero_[RingPlace(tile)];
    func_.TakeTile(i, tile, zw, w_signed);
  }
  const bool last = exe_tile_ + 1 == i->tiles;
  slot_start_ = t;
  slot_end_ = t + (last ? i->last_slot : i->slot);
  slot_vectors_ = i->vectors;
  slot_step_ = last ? i->last_step : 1;
  if (i->violation && i->violation_at == exe_tile_)
    Schedule(t + uint64_t{slot_step_} * i->violation_vector + 1, Fault::kClaim, kExe, i->index,
             i->violation_address);
  if (!i->retain) ++ring_tiles_out_;
  ++exe_tile_;
  next_tile_ = exe_base_ + (last && i->retain ? 0 : exe_tile_);
  shadow_ = Shadow::kEmpty;
  if (last) i->completion = t + uint64_t{slot_step_} * (slot_vectors_ - 1) + 2 * config_.n + 28;
  last_tile_start_ = t;
  tile_started_ = true;
  recorder_.TileStart();
  moved_ = true;
}

void CoreModel::Impl::ExecuteExe(uint64_t t) {
  tile_started_ = loader_started_ = false;
  if (exe_ != nullptr && exe_tile_ < exe_->tiles && t >= slot_end_ && shadow_ == Shadow::kLoaded &&
      t >= shadow_full_at_)
    StartTile(t);
  if (t >= loader_free_ && shadow_ == Shadow::kEmpty &&
      (next_tile_ + 1) * config_.n <= ring_beats_in_ && ring_visible_[RingPlace(next_tile_)] <= t) {
    shadow_ = Shadow::kLoaded;
    shadow_tile_ = next_tile_;
    loader_free_ = shadow_full_at_ = t + load_cycles_;
    loader_started_ = true;
  }
  // The last cycle of the last slot hands the unit over.
  if (exe_ != nullptr && exe_tile_ == exe_->tiles && t + 1 == slot_end_) {
    exe_ = nullptr;
    activity_ = true;
  }
  if (issued_[kExe] != nullptr && issued_[kExe]->opcode != isa::Opcode::kSync) {
    exe_ = issued_[kExe];
    exe_tile_ = 0;
  }
}

// ---- Store unit and write channel
// ------------------------------------------------------------------------------------

void CoreModel::Impl::Store(uint64_t t) {
  const uint32_t n = config_.n;
  // Write pick, on slots as they were.
  if (t >= write_free_ && outstanding_writes_ < config_.write_bursts) {
    auto slot = std::find_if(slots_.begin(), slots_.end(), [](const Slot& s) { return !s.picked; });
    if (slot != slots_.end() && slot->full_at <= t) {
      const uint64_t address = job_.regions[slot->inst->region].base + slot->offset;
      const bool error =
          !func_.InMemory(address, slot->beats * n) || memory_.writes() == inject_[1];
      const auto timing = memory_.Write(t + 1, slot->beats);
      slot->picked = true;
      slot->sent = timing.last;
      write_free_ = timing.last;
      writes_.push_back({timing.accept, timing.last, timing.response});
      write_end_ = timing.response;
      recorder_.AddBytes(sim::Port::kSto, uint64_t{slot->beats} * n);
      if (error) Schedule(timing.response + 1, Fault::kBusWrite, kSto, slot->inst->index, address);
      if (slot->last_of_inst) slot->inst->completion = timing.response + 1;
      activity_ = true;
    }
  }
  // Read phase.
  if (sto_before_ != nullptr && !sto_->bursts.done() && t >= sto_read_end_ && slots_.size() < 2) {
    Inst* i = sto_;
    const uint32_t offset = i->bursts.offset();
    const uint32_t bytes = i->bursts.bytes();
    i->bursts.Next();
    sto_read_start_ = t;
    sto_read_end_ = t + bytes / n;
    sto_read_any_ = true;
    activity_ = true;
    if (!RegionAllows(i->region, offset, bytes, job_.regions[i->region].write)) {
      Raise(Fault::kRegion, kSto, i->index, offset);
    } else {
      if (i->violation && i->violation_at >= i->beats_done &&
          i->violation_at < i->beats_done + bytes / n)
        Schedule(t + (i->violation_at - i->beats_done) + 1, Fault::kClaim, kSto, i->index,
                 i->violation_address);
      i->beats_done += bytes / n;
      Slot s{};
      s.full_at = t + bytes / n + 2;
      s.inst = i;
      s.offset = offset;
      s.beats = bytes / n;
      s.last_of_inst = i->bursts.done();
      s.sent = kNever;
      slots_.push_back(s);
    }
  }
  if (sto_before_ != nullptr && sto_ == sto_before_ && sto_->bursts.done() &&
      t + 1 >= sto_read_end_) {
    sto_ = nullptr;
    activity_ = true;
  }
}

// ---- Dispatch, completion
// --------------------------------------------------------------------------------------------

void CoreModel::Impl::Dispatch(uint64_t t) {
  at_end_ = precise_;
  if (precise_) return;
  if (fifo_.empty() && fetch_next_ >= job_.program_count && picked_ != kFetchClient) {
    Raise(Fault::kFetchEnd, kFetchClient, job_.program_count, 0);
    at_end_ = true;
    return;
  }
  if (fifo_.empty() || fifo_.front().visible > t) return;
  const FifoEntry& head = fifo_.front();
  if (head.illegal) {
    Raise(Fault::kIllegal, kFetchClient, head.index, 0);
    at_end_ = true;
    return;
  }
  if (head.end) {
    at_end_ = true;
    return;
  }
  const int q = head.queue;
  if (queue_before_[q] >= isa::kQueueDepth) return;
  Inst* i = NewInst();
  Prepare(head.instruction, config_, i);
  i->index = head.index;
  for (const int32_t w : {i->header.wait0, i->header.wait1})
    if (isa::HasSemaphore(w)) i->waits |= 1u << isa::SemaphoreNumber(w);
  queue_[q].push_back(i);
  fifo_.pop_front();
  activity_ = true;
}

void CoreModel::Impl::Complete(uint64_t t) {
#pragma GCC unroll 6
  for (int q = 0; q < kQueues; ++q) {
    while (!flight_[q].empty() && flight_[q].front()->completion == t) {
      Inst* i = flight_[q].front();
      flight_[q].pop_front();
      for (int c = 0; c < i->num_claims; ++c) claims_[i->claims[c].stream].pop_front();
      if (!timing_only_ && !i->violation) func_.Execute(i);
      recorder_.Complete(i->index, t);
      for (int32_t s : {i->header.signal0, i->header.signal1}) {
        if (!isa::HasSemaphore(s)) continue;
        const int number = isa::SemaphoreNumber(s);
        if (semaphores_[number] == isa::kSemaphoreMax)
          Raise(Fault::kSemaphore, q, i->index, static_cast<uint64_t>(number));
        else
          ++semaphores_[number], semaphores_zero_ &= ~(1u << number);
      }
      Recycle(i);
      last_completion_ = t;
      activity_ = true;
    }
  }
}

// ---- Faults that are states of the whole core
// ------------------------------------------------------------------------

std::pair<int, uint32_t> CoreModel::Impl::Stuck() const {
  for (int q = 0; q < kQueues; ++q) {
    if (!flight_[q].empty()) return {q, flight_[q].front()->index};
    if (!queue_[q].empty()) return {q, queue_[q].front()->index};
  }
  return {kFetchClient, fifo_.empty() ? fetch_next_ : fifo_.front().index};
}

// Asked only when nothing but the loader moved in t (activity_ and moved_ are false).
bool CoreModel::Impl::Quiescent(uint64_t t) const {
  if (outstanding_ > 0 || outstanding_writes_ > 0 || !slots_.empty()) return false;
  if (client_[kPrm] != nullptr || client_[kAct] != nullptr || sto_ != nullptr) return false;
  if (client_[kWgt] != nullptr && RingHasRoom()) return false;
  if (exe_ != nullptr) {
    const bool boundary = exe_tile_ < exe_->tiles && t >= slot_end_;
    const bool tile_in_ring =
        (next_tile_ + 1) * config_.n <= ring_beats_in_ && ring_visible_[RingPlace(next_tile_)] <= t;
    if (!boundary || shadow_ != Shadow::kEmpty || t < loader_free_ || tile_in_ring) return false;
  }
  for (int q = 0; q < kQueues; ++q) {
    const size_t active =
        (q == kWgt && client_[kWgt] != nullptr) || (q == kExe && exe_ != nullptr) ? 1 : 0;
    if (flight_[q].size() > active) return false;
  }
  return !FetchEligible();
}

uint64_t CoreModel::Impl::LastActivity(uint64_t t) const {
  uint64_t last =
      std::max({last_completion_, last_tile_start_, last_read_beat_, last_write_activity_});
  const uint64_t interval = memory_.profile().beat_interval;
  for (const ReadBurst& b : reads_)
    if (b.first <= t)
      last =
          std::max(last, b.first + std::min(t - b.first, b.last - b.first) / interval * interval);
  for (const WriteBurst& w : writes_) {
    if (w.accept <= t)
      last = std::max(last,
                      w.accept + std::min(t - w.accept, w.last - w.accept) / interval * interval);
    if (w.response <= t) last = std::max(last, w.response);
  }
  return last;
}

// Activity only moves on, so a bound computed once holds until its cycle comes.
bool CoreModel::Impl::WatchdogDue(uint64_t t) {
  if (job_.watchdog == 0 || t < watchdog_at_) return false;
  watchdog_at_ = LastActivity(t) + job_.watchdog;
  return t >= watchdog_at_;
}

// ---- Counters
// --------------------------------------------------------------------------------------------------------

void CoreModel::Impl::Classify(uint64_t t) {
  exe_in_slot_ = false;
#pragma GCC unroll 6
  for (int q = 0; q < kQueues; ++q) {
    Class c = Class::kIdle;
    bool busy = false;  // the unit has an instruction
    switch (q) {
      case kExe:
        busy = exe_before_ != nullptr;
        if (!busy) break;
        exe_in_slot_ = tile_started_ || t < slot_end_;
        c = exe_in_slot_ ? Class::kActive : Class::kWeight;
        break;
      case kVec:
        busy = vec_any_ && t > vec_issue_ && t <= vec_read_end_;
        c = Class::kActive;
        break;
      case kSto:
        busy = sto_before_ != nullptr;
        c = sto_read_any_ && t >= sto_read_start_ && t < sto_read_end_ ? Class::kActive
                                                                       : Class::kSpace;
        break;
      default:
        busy = client_before_[q] != nullptr;
        if (!busy) break;
        if (picked_ == q)
          c = Class::kActive;
        else if (outstanding_ >= config_.read_bursts || (q == kWgt && !wgt_room_before_))
          c = Class::kSpace;
        else
          c = Class::kArb;
        break;
    }
    if (!busy) {
      if (issued_[q] != nullptr)
        c = Class::kIssue;
      else if (queue_before_[q] > 0)
        c = fence_blocked_[q] ? Class::kFence : sem_blocked_[q] ? Class::kSem : Class::kIdle;
      else
        c = flight_before_[q] > 0 ? Class::kDrain : Class::kIdle;
    }
    classes_[q] = static_cast<uint8_t>(c);
  }
}

// ---- One cycle
// -------------------------------------------------------------------------------------------------------

void CoreModel::Impl::Evaluate(uint64_t t) {
  ++evaluations_;
  AccountTo(t);

  // Registered state as it is visible in t.
  while (!reads_.empty() && reads_.front().last < t) {
    last_read_beat_ = reads_.front().last;
    reads_.pop_front();
  }
  outstanding_ = reads_.size();
  while (!slots_.empty() && slots_.front().sent < t) slots_.pop_front();
  while (!writes_.empty() && writes_.front().response < t) {
    last_write_activity_ = writes_.front().response;
    writes_.pop_front();
  }
  outstanding_writes_ = writes_.size();
  for (int q = 0; q < kQueues; ++q) {
    queue_before_[q] = queue_[q].size();
    flight_before_[q] = flight_[q].size();
  }
  client_before_ = client_;
  exe_before_ = exe_;
  sto_before_ = sto_;
  wgt_room_before_ = client_[kWgt] == nullptr || RingHasRoom();
  activity_ = moved_ = false;
  freeze_ = false;
  raised_ = Raised();
  // The watchdog names work by the state before this cycle.
  std::pair<int, uint32_t> stuck{};
  if (WatchdogDue(t)) stuck = Stuck();

  PickRead(t);
  Issue(t);
  ExecuteExe(t);
  Store(t);
  Dispatch(t);
  bool empty = true;
  for (int q = 0; q < kQueues; ++q) empty &= queue_before_[q] == 0 && flight_before_[q] == 0;
  const bool finish = at_end_ && empty;
  Complete(t);

  for (const Scheduled& s : scheduled_)
    if (s.cycle == t) Note(s.raised);
  quiescent_ = !activity_ && !moved_ && !finish && Quiescent(t);
  quiet_cycles_ = quiescent_ ? quiet_cycles_ + 1 : 0;
  if (quiet_cycles_ == kDeadlockCycles) {
    const auto [queue, instruction] = Stuck();
    Raise(Fault::kDeadlock, queue, instruction, 0);
  }
  if (WatchdogDue(t)) Raise(Fault::kWatchdog, stuck.first, stuck.second, 0);
  Classify(t);

  if (raised_.cause != Fault::kNone && !precise_) {
    raised_.record.cycle = t;
    recorder_.Fault(raised_.record);
    if (!freeze_) precise_ = activity_ = true;
  }
  if (freeze_ || finish) {
    AccountTo(t + 1);
    recorder_.Finish(t + 1);
    inject_.fill(kNever);
    running_ = false;
    next_ = t + 1;
    return;
  }
  if (activity_ || quiescent_ || every_cycle_ || (moved_ ? MayPick(t + 1) : loader_started_)) {
    next_ = t + 1;
    return;
  }
  next_ = NextWake(t);
  if (moved_ && next_ > t + 1) Settle(t + 1);
}

// The cycle after one in which a read or a tile began and nothing else happened: nothing happens in
// it either, but the classes of the queues change. Not quiescent: a read is outstanding, or a slot
// lasts.
void CoreModel::Impl::Settle(uint64_t t) {
  AccountTo(t);
  while (!reads_.empty() && reads_.front().last < t) {
    last_read_beat_ = reads_.front().last;
    reads_.pop_front();
  }
  outstanding_ = reads_.size();
  client_before_ = client_;
  exe_before_ = exe_;
  sto_before_ = sto_;
  wgt_room_before_ = client_[kWgt] == nullptr || RingHasRoom();
  issued_.fill(nullptr);
  picked_ = -2;
  tile_started_ = loader_started_ = false;
  Classify(t);
}

uint64_t CoreModel::Impl::NextWake(uint64_t t) const {
  uint64_t wake = kNever;
  // Without branches: which of the events comes next is as good as random.
  const auto at = [&](uint64_t cycle) { wake = std::min(wake, cycle > t ? cycle : kNever); };
  if (!fifo_.empty()) at(fifo_.front().visible);
  if (WantsRead()) at(address_accept_);
  // The end of a burst changes something where no further one may be outstanding, and when it is
  // the last.
  if (!reads_.empty())
    at((reads_.size() >= config_.read_bursts ? reads_.front() : reads_.back()).last + 1);
  for (const auto& f : flight_)
    if (!f.empty()) at(f.front()->completion);
  // The loader starts into empty shadow weights; a tile starts where its slot may begin.
  if (shadow_ == Shadow::kEmpty) {
    at(ring_visible_[RingPlace(next_tile_)]);
    at(loader_free_);
  } else if (t + 1 >= slot_end_) {
    at(loader_free_);
  }
  if (exe_ != nullptr && exe_tile_ == exe_->tiles) at(slot_end_ - 1);
  at(slot_end_);
  at(vec_read_end_ + 1);
  at(vec_ready_);
  at(sto_read_end_ - 1);
  at(sto_read_end_);
  for (const Slot& s : slots_) at(s.full_at);
  if (!slots_.empty()) at(slots_.front().sent + 1);
  at(write_free_);
  if (!writes_.empty()) at(writes_.front().response + 1);
  for (const Scheduled& s : scheduled_) at(s.cycle);
  if (job_.watchdog != 0) at(watchdog_at_);
  return wake;
}

// ---- Public face
// -----------------------------------------------------------------------------------------------------

CoreModel::CoreModel(const sim::CoreConfig& config, bool timing_only)
    : impl_(std::make_unique<Impl>(config, timing_only)) {}
CoreModel::~CoreModel() = default;

void CoreModel::SetMemory(std::span<uint8_t> memory) { impl_->func_.SetMemory(memory); }
void CoreModel::SetSink(sim::ObservationSink* sink) { impl_->func_.SetSink(sink); }
void CoreModel::InjectBusError(sim::Direction direction, uint64_t burst) {
  impl_->inject_[static_cast<size_t>(direction)] = burst;
}
void CoreModel::StartJob(const JobSetup& job, const sim::MemoryProfile& profile) {
  impl_->StartJob(job, profile);
}
bool CoreModel::running() const { return impl_->running_; }
void CoreModel::RunTo(uint64_t limit) { impl_->RunTo(limit); }
uint64_t CoreModel::next_cycle() const { return impl_->next_; }
void CoreModel::AccountTo(uint64_t cycle) {
  if (impl_->running_) impl_->AccountTo(std::min(cycle, impl_->next_));
}
uint64_t CoreModel::drained() const { return impl_->Drained(); }
void CoreModel::SoftReset() { impl_->SoftReset(); }
const sim::Trace& CoreModel::trace() const { return impl_->recorder_.trace(); }
const sim::CoreConfig& CoreModel::config() const { return impl_->config_; }
std::span<const uint8_t> CoreModel::buffer() const { return impl_->func_.buffer(); }
uint64_t CoreModel::evaluations() const { return impl_->evaluations_; }
void CoreModel::EvaluateEveryCycle(bool every_cycle) { impl_->every_cycle_ = every_cycle; }

}  // namespace octile::systemc
