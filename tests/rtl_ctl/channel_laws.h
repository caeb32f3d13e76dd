// The laws of docs/timing.md sections 2 to 5 as a small model of its own: given when instructions
// issue and tiles start, when the bus accepts and answers, it says in which cycle every address
// phase shows, every load and store completes, and what the classes of the loads and stores are.
// One instance runs beside the core, cycle by cycle.
#pragma once

#include <array>
#include <deque>
#include <set>
#include <string>
#include <vector>

#include "core_bench.h"

namespace octile::rtl_ctl {

struct Burst {
  uint64_t address;
  int beats;
  bool last;  // of its instruction
};

// The bursts of a transfer in order: rows of n0 beats, cut at multiples of 256 bytes of the region
// offset.
inline std::vector<Burst> CutBursts(uint64_t base, uint32_t offset, int64_t n0, int n1, int n2,
                                    uint32_t stride1, uint32_t stride2) {
  constexpr int kN = CoreBench::kN;
  std::vector<Burst> out;
  for (int p = 0; p < n2; ++p)
    for (int r = 0; r < n1; ++r) {
      uint32_t at = offset + p * stride2 + r * stride1;
      for (int64_t left = n0; left > 0;) {
        const int beats = static_cast<int>(std::min<int64_t>(left, (256 - at % 256) / kN));
        out.push_back({base + at, beats, false});
        at += beats * kN;
        left -= beats;
      }
    }
  out.back().last = true;
  return out;
}

class ChannelLaws {
 public:
  ChannelLaws(const std::vector<isa::Instruction>& program,
              const std::array<uint64_t, isa::kRegions>& region_base, int read_bursts,
              int write_bursts, int ring_tiles)
      : program_(program),
        region_base_(region_base),
        read_limit_(read_bursts),
        write_limit_(write_bursts),
        ring_free_(ring_tiles * CoreBench::kN) {}

  std::vector<std::string> errors;
  int64_t checked = 0;

  void Cycle(const CycleView& v) {
    if (v.cycle < 0) return;
    t_ = v.cycle;
    ++checked;
    CheckOutputs(v);
    // Decisions on the state of this cycle.
    const int client = Pick(v);
    const int push = DispatchTarget();
    const bool read_start = ReadPhaseStarts();
    const bool write_pick = WritePick(v);
    CheckClasses(v, client, read_start);
    CheckDone(v);
    // New state.
    UpdateRead(v, client);
    UpdateFetch(v, push);
    UpdateStore(v, read_start, write_pick);
    UpdateIssue(v);
  }

 private:
  static constexpr int kN = CoreBench::kN;
  void Error(const std::string& what) {
    if (errors.size() < 10) errors.push_back("cycle " + std::to_string(t_) + ": " + what);
  }
  static int InstructionBeats() { return isa::kInstructionBytes / kN; }

  void CheckOutputs(const CycleView& v) {
    if (v.ar_valid != ar_valid_) Error("ARVALID is " + std::to_string(v.ar_valid));
    if (v.ar_valid && ar_valid_ && (v.ar_addr != ar_.address || v.ar_len + 1 != ar_.beats))
      Error("read address or length");
    if (v.aw_valid != aw_valid_) Error("AWVALID is " + std::to_string(v.aw_valid));
    if (v.w_valid != w_valid_) Error("WVALID is " + std::to_string(v.w_valid));
    if (v.aw_valid && aw_valid_ &&
        (v.aw_addr != writing_.address || v.aw_len + 1 != writing_.beats))
      Error("write address or length");
  }

  // --- read channel ---
  int FetchWant() const {
    return static_cast<int>(
        std::min<int64_t>(4, static_cast<int64_t>(program_.size()) - fetch_asked_));
  }
  bool Eligible(int client) const {
    if (client == 0) return FetchWant() > 0 && fifo_used_ + FetchWant() <= isa::kFetchDepth;
    const auto& bursts = load_[client - 1];
    if (bursts.empty()) return false;
    return client != 2 || ring_free_ >= bursts.front().beats;
  }
  int Pick(const CycleView& v) const {
    if (ar_valid_ && !v.ar_ready) return -1;
    if (outstanding_ >= read_limit_) return -1;
    for (int c = 0; c < 4; ++c)
      if (Eligible(c)) return c;
    return -1;
  }
  void UpdateRead(const CycleView& v, int client) {
    if (v.tile) ring_freed_ += kN;
    if (ar_valid_ && v.ar_ready) ar_valid_ = false;
    if (v.r_valid) {
      Receiving& burst = in_order_.front();
      // An instruction is visible two cycles after its last beat.
      if (++burst.beats % InstructionBeats() == 0 && burst.client == 0)
        coming_.push_back({t_ + 2, arrived_++});
      if (v.r_last) {
        --outstanding_;
        if (burst.client > 0 && burst.last) done_at_[burst.client - 1].insert(t_ + 1);
        in_order_.pop_front();
      }
    }
    if (client == 0) {
      const int want = FetchWant();
      ar_ = {region_base_[0] + 64 * static_cast<uint64_t>(fetch_asked_), want * InstructionBeats(),
             false};
      fetch_asked_ += want;
      fifo_used_ += want;
    } else if (client > 0) {
      ar_ = load_[client - 1].front();
      load_[client - 1].pop_front();
      if (client == 2) ring_free_ -= ar_.beats;
    }
    if (client >= 0) {
      ar_valid_ = true;
      ++outstanding_;
      in_order_.push_back({client, ar_.last, 0});
    }
    ring_free_ += ring_freed_;
    ring_freed_ = 0;
  }

  // --- fetch and dispatch ---
  int DispatchTarget() const {
    if (visible_.empty()) return -1;
    const isa::Instruction& i = program_[visible_.front()];
    const isa::Queue q = isa::QueueOf(i);
    if (q == isa::Queue::kNone) return -1;
    return waiting_[static_cast<int>(q)] < isa::kQueueDepth ? static_cast<int>(q) : -1;
  }
  void UpdateFetch(const CycleView& v, int push) {
    if (push >= 0) {
      visible_.pop_front();
      --fifo_used_;
      ++waiting_[push];
    }
    while (!coming_.empty() && coming_.front().first <= t_ + 1) {
      visible_.push_back(coming_.front().second);
      coming_.pop_front();
    }
    for (int q = 0; q < isa::kQueues; ++q)
      if (v.issue >> q & 1) --waiting_[q];
  }

  // --- write channel ---
  bool ReadPhaseStarts() const { return !store_.empty() && t_ >= phase_end_ && slots_taken_ < 2; }
  bool WritePick(const CycleView& v) const {
    if (writes_outstanding_ >= write_limit_) return false;
    if (slots_.empty() || slots_.front().full > t_) return false;
    return !(aw_valid_ || w_valid_) || WriteEnds(v);
  }
  bool WriteEnds(const CycleView& v) const {
    return (aw_valid_ || w_valid_) && (!aw_valid_ || v.aw_ready) &&
           (!w_valid_ || (v.w_ready && v.w_last));
  }
  void UpdateStore(const CycleView& v, bool read_start, bool write_pick) {
    const bool ends = WriteEnds(v);
    if (aw_valid_ && v.aw_ready) aw_valid_ = false;
    if (w_valid_ && v.w_ready && v.w_last) w_valid_ = false;
    if (ends) --slots_taken_;
    if (v.b_valid) {
      --writes_outstanding_;
      if (responses_.front()) done_at_[3].insert(t_ + 1);
      responses_.pop_front();
    }
    if (write_pick) {
      writing_ = slots_.front().burst;
      slots_.pop_front();
      aw_valid_ = w_valid_ = true;
      ++writes_outstanding_;
      responses_.push_back(writing_.last);
    }
    if (read_start) {
      const Burst b = store_.front();
      store_.pop_front();
      slots_.push_back({b, t_ + b.beats + 2});
      ++slots_taken_;
      phase_end_ = t_ + b.beats;
    }
  }

  void CheckDone(const CycleView& v) {
    static constexpr int kQueue[4] = {0, 1, 2, 5};
    for (int k = 0; k < 4; ++k) {
      const bool sync = sync_done_[kQueue[k]] == t_;
      const bool expected = done_at_[k].erase(t_) > 0 || sync;
      if (expected != ((v.done >> kQueue[k] & 1) != 0))
        Error("queue " + std::to_string(kQueue[k]) +
              (expected ? " should complete" : " must not complete"));
    }
  }
  void CheckClasses(const CycleView& v, int client, bool read_start) {
    using isa::Class;
    for (int k = 0; k < 3; ++k) {
      if (load_[k].empty()) {
        if (v.classes[k] <= static_cast<int>(Class::kArb)) Error("class of an inactive load");
        continue;
      }
      const bool no_room = k == 1 && ring_free_ < load_[k].front().beats;
      const Class expected = client == k + 1                          ? Class::kActive
                             : outstanding_ >= read_limit_ || no_room ? Class::kSpace
                                                                      : Class::kArb;
      if (v.classes[k] != static_cast<int>(expected)) Error("class of queue " + std::to_string(k));
    }
    const bool reading = read_start || t_ < phase_end_;
    if ((v.classes[5] == static_cast<int>(Class::kActive)) != reading) Error("class of STO");
    if (!reading && (v.classes[5] == static_cast<int>(Class::kSpace)) != !store_.empty())
      Error("class of a waiting STO");
  }

  void UpdateIssue(const CycleView& v) {
    for (int q = 0; q < isa::kQueues; ++q) {
      if (!(v.issue >> q & 1)) continue;
      const auto op = isa::Decode(program_[v.issue_index[q]]);
      if (std::holds_alternative<isa::Sync>(*op)) sync_done_[q] = t_ + 1;
      if (const auto* p = std::get_if<isa::Ldp>(&*op)) {
        Begin(0, Transfer(p->region, p->offset, int64_t{p->count} * EntryBeats(p->target)));
      } else if (const auto* w = std::get_if<isa::Ldw>(&*op)) {
        Begin(1, Transfer(w->region, w->offset, int64_t{w->tiles} * kN));
      } else if (const auto* a = std::get_if<isa::Lda>(&*op)) {
        Begin(2, CutBursts(region_base_[a->region], a->offset, a->n0, a->n1, a->n2, a->mem_stride1,
                           a->mem_stride2));
      } else if (const auto* s = std::get_if<isa::Sta>(&*op)) {
        if (!store_.empty() || t_ < phase_end_) Error("STA issued into a busy unit");
        const auto bursts = CutBursts(region_base_[s->region], s->offset, s->n0, s->n1, s->n2,
                                      s->mem_stride1, s->mem_stride2);
        store_.assign(bursts.begin(), bursts.end());
      }
    }
  }
  std::vector<Burst> Transfer(int region, uint32_t offset, int64_t beats) const {
    return CutBursts(region_base_[region], offset, beats, 1, 1, 0, 0);
  }
  static int EntryBeats(isa::LdpTarget target) {
    switch (target) {
      case isa::LdpTarget::kExeSet:
      case isa::LdpTarget::kVecSet:
        return 8;
      case isa::LdpTarget::kExeConst:
      case isa::LdpTarget::kVecConst:
        return std::max(64 / kN, 1);
      case isa::LdpTarget::kVecWeight:
        return 4;
      default:
        return 256 / kN;
    }
  }
  void Begin(int load, const std::vector<Burst>& bursts) {
    if (!load_[load].empty()) Error("load issued into a busy client");
    load_[load].assign(bursts.begin(), bursts.end());
  }

  const std::vector<isa::Instruction>& program_;
  std::array<uint64_t, isa::kRegions> region_base_;
  int read_limit_, write_limit_;
  int64_t t_ = 0;
  // read channel
  bool ar_valid_ = false;
  Burst ar_{};
  int outstanding_ = 0;
  struct Receiving {
    int client;
    bool last;  // burst of its instruction
    int beats;  // so far
  };
  std::deque<Receiving> in_order_;
  std::deque<Burst> load_[3];  // bursts not yet picked; not empty: active
  int ring_free_, ring_freed_ = 0;
  // completions by cycle: PRM, WGT, ACT, STO
  std::set<int64_t> done_at_[4];
  int64_t sync_done_[6] = {-1, -1, -1, -1, -1, -1};
  // fetch
  int64_t fetch_asked_ = 0;
  int fifo_used_ = 0;
  uint32_t arrived_ = 0;
  std::deque<std::pair<int64_t, uint32_t>> coming_;
  std::deque<uint32_t> visible_;
  int waiting_[6] = {};
  // write channel
  struct Slot {
    Burst burst;
    int64_t full;  // visible from
  };
  std::deque<Burst> store_;  // bursts whose read phase has not begun
  std::deque<Slot> slots_;   // taken and not yet picked
  int slots_taken_ = 0;
  int64_t phase_end_ = 0;
  bool aw_valid_ = false, w_valid_ = false;
  Burst writing_{};
  int writes_outstanding_ = 0;
  std::deque<bool> responses_;
};

}  // namespace octile::rtl_ctl
