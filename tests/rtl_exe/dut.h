// The Verilated matrix unit with behavioural buffer memories around it, one template for all sizes.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <type_traits>

#include "model.h"
#include "verilated.h"

namespace octile::rtl_exe {

// What a run showed, in the terms of Expected, and what Predict needs to know of it.
struct Observed {
  Expected seen;
  std::vector<int64_t> issue, arrive;
  int64_t end = 0;
  int64_t starts_after_fault = 0;
  bool hung = false;
};

class Unit {
 public:
  virtual ~Unit() = default;
  virtual const Config& config() const = 0;
  // Soft reset long enough to set all memories to zero.
  virtual void Clear() = 0;
  virtual void Load(const Params& params) = 0;
  // Runs the episode until all is done or a fault was seen. Each cycle a beat is offered with
  // probability feed %, an instruction issues, when the unit is ready, with probability issue %.
  // `prefill`: cycles of feeding before the first issue.
  virtual Observed Run(const Episode& episode, const std::vector<uint8_t>& input,
                       const std::vector<uint8_t>& residual, int feed, int issue, int64_t prefill,
                       Rng* rng) = 0;
};

template <typename Top>
class VerilatedUnit : public Unit {
 public:
  explicit VerilatedUnit(const Config& config) : config_(config) {
    context_.threads(1);
    top_ = std::make_unique<Top>(&context_, "exe");
    top_->rst_ni = 0;
    Tick();
    Tick();
    top_->rst_ni = 1;
  }
  ~VerilatedUnit() override { top_->final(); }

  const Config& config() const override { return config_; }

  void Clear() override {
    top_->clear_i = 1;
    for (int i = 0; i < 1024; ++i) Tick();
    top_->clear_i = 0;
  }

  void Load(const Params& params) override {
    const int n = config_.n;
    for (int s = 0; s < config_.psets; ++s) {
      std::vector<uint8_t> entry(8 * n);
      std::memcpy(entry.data(), params.bias[s].data(), 4 * n);
      std::memcpy(entry.data() + 4 * n, params.mult[s].data(), 4 * n);
      Write(isa::LdpTarget::kExeSet, s, entry);
    }
    for (int s = 0; s < 4; ++s)
      Write(isa::LdpTarget::kExeTable, s,
            std::vector<uint8_t>(params.table[s].begin(), params.table[s].end()));
    for (int s = 0; s < 16; ++s) {
      std::vector<uint8_t> entry(64);
      std::memcpy(entry.data(), params.constant[s].data(), 12);
      Write(isa::LdpTarget::kExeConst, s, entry);
    }
    top_->prm_we_i = 0;
  }

  Observed Run(const Episode& episode, const std::vector<uint8_t>& input,
               const std::vector<uint8_t>& residual, int feed, int issue, int64_t prefill,
               Rng* rng) override {
    const int n = config_.n;
    const size_t count = episode.instructions.size();
    Observed o;
    std::vector<isa::Instruction> code;
    for (const isa::Mma& op : episode.instructions) code.push_back(isa::Encode(op));
    size_t tile = 0;
    int row = 0;
    int64_t room = int64_t{config_.ring_tiles} * n, quiet = 0, fault = -1;
    int in_addr = -1, res_addr = -1;
    for (int64_t t = 0;; ++t) {
      top_->ring_we_i = 0;
      if (tile < episode.tiles.size() && room > 0 && Chance(rng, feed)) {
        const Tile& data = episode.tiles[tile];
        top_->ring_we_i = 1;
        std::memcpy(&top_->ring_data_i, data.rows.data() + static_cast<size_t>(row) * n, n);
        top_->ring_zw_i = data.zw;
        top_->ring_wsigned_i = data.w_signed;
        --room;
        if (++row == n) {
          row = 0;
          ++tile;
          o.arrive.push_back(t);
        }
      }
      if (in_addr >= 0)
        std::memcpy(&top_->in_data_i, input.data() + static_cast<size_t>(in_addr) * n, n);
      if (res_addr >= 0)
        std::memcpy(&top_->res_data_i, residual.data() + static_cast<size_t>(res_addr) * n, n);
      top_->issue_i = 0;
      Settle();
      if (top_->ready_o && fault < 0 && o.issue.size() < count && t >= prefill &&
          Chance(rng, issue)) {
        top_->issue_i = 1;
        top_->index_i = o.issue.size();
        std::memcpy(&top_->instr_i, code[o.issue.size()].words.data(), 64);
        o.issue.push_back(t);
        Settle();
      }
      Expected& e = o.seen;
      e.cycles.push_back({top_->ready_o != 0, top_->active_o != 0, top_->busy_o != 0,
                          top_->stuck_o != 0, top_->tile_start_o != 0, top_->ring_free_o != 0,
                          top_->done_o != 0, top_->class_active_o != 0, top_->class_weight_o != 0,
                          top_->class_slot_o != 0});
      if (top_->out_we_o) {
        std::vector<uint8_t> data(n);
        std::memcpy(data.data(), &top_->out_data_o, n);
        e.writes.push_back({t, top_->out_addr_o, top_->out_index_o, std::move(data)});
      }
      in_addr = top_->in_re_o ? top_->in_addr_o : -1;
      res_addr = top_->res_re_o ? top_->res_addr_o : -1;
      if (in_addr >= 0) e.input_reads.push_back({t, top_->in_addr_o});
      if (res_addr >= 0) e.residual_reads.push_back({t, top_->res_addr_o});
      if (top_->ring_free_o) room += n;
      if (fault >= 0 && top_->tile_start_o) ++o.starts_after_fault;
      if (top_->claim_fault_o && fault < 0) {
        fault = t;
        e.fault = {t, top_->claim_addr_o, top_->claim_index_o};
      }
      const bool moving = top_->tile_start_o || top_->done_o || top_->ring_we_i || top_->issue_i;
      quiet = moving ? 0 : quiet + 1;
      const bool complete = o.issue.size() == count && !top_->busy_o && !top_->issue_i;
      Clock();
      if (fault >= 0) top_->freeze_i = 1;
      o.end = t + 1;
      if (fault >= 0 ? t > fault + 100 : complete) break;
      if (quiet > 20000) {
        o.hung = true;
        break;
      }
    }
    top_->freeze_i = 0;
    top_->ring_we_i = 0;
    return o;
  }

 private:
  static bool Chance(Rng* rng, int percent) {
    return percent >= 100 || static_cast<int>((*rng)() % 100) < percent;
  }
  void Settle() {
    top_->clk_i = 0;
    top_->eval();
  }
  void Clock() {
    top_->clk_i = 1;
    top_->eval();
  }
  void Tick() {
    Settle();
    Clock();
  }
  void Write(isa::LdpTarget target, int index, const std::vector<uint8_t>& entry) {
    for (size_t beat = 0; beat * config_.n < entry.size(); ++beat) {
      top_->prm_we_i = 1;
      top_->prm_target_i = static_cast<uint8_t>(target);
      top_->prm_entry_i = index;
      top_->prm_beat_i = beat;
      const size_t bytes = std::min<size_t>(config_.n, entry.size() - beat * config_.n);
      std::memcpy(&top_->prm_data_i, entry.data() + beat * config_.n, bytes);
      Tick();
    }
  }

  Config config_;
  VerilatedContext context_;
  std::unique_ptr<Top> top_;
};

}  // namespace octile::rtl_exe
