// A test bench around the Verilated core: memory behind AXI4 with random latencies and refusals, an
// AXI4 protocol checker that is always on, the registers behind AXI4-Lite, and a record of the
// trace port.
#pragma once

#include <verilated.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "Voctile_core.h"
#include "octile/isa/isa.h"
#include "octile/isa/registers.h"

namespace octile::rtl_ctl {

// How the memory answers. Probabilities are in percent for every cycle.
struct MemoryProfile {
  int latency_min = 4;
  int latency_max = 4;
  int refuse_address = 0;            // AR or AW not ready
  int refuse_data = 0;               // W not ready
  int beat_gap = 0;                  // a read beat comes later
  uint64_t error_address_begin = 0;  // accesses inside [begin, end) are answered with SLVERR
  uint64_t error_address_end = 0;
};

struct Event {
  enum Kind { kIssue, kDone } kind;
  int queue;
  uint32_t index;
  int64_t cycle;

  bool operator==(const Event&) const = default;
};

struct FaultRecord {
  uint32_t cause = 0, instruction = 0, instruction2 = 0, context = 0;
  uint64_t address = 0;
};

// What the bus and the trace port showed in one cycle; for checkers that run beside the core.
struct CycleView {
  int64_t cycle;  // of the job; -1 when none runs
  bool ar_valid, ar_ready, r_valid, r_last, aw_valid, aw_ready, w_valid, w_ready, w_last, b_valid;
  uint64_t ar_addr, aw_addr;
  int ar_len, aw_len;
  uint32_t issue, done;
  uint32_t issue_index[6], done_index[6];
  int classes[6];
  bool tile;
};

class CoreBench {
 public:
  static constexpr int kN = OCTILE_TEST_N;
  static constexpr uint64_t kMemoryBytes = 1 << 20;
  static constexpr uint64_t kMemoryBase = 0x12'3450'0000;  // address of memory[0]

  explicit CoreBench(uint64_t seed = 1) : rng(seed) {
    context.randReset(2);  // registers without reset start with random values
    context.randSeed(static_cast<int>(seed % 0x7fffffff) + 1);
    core = std::make_unique<Voctile_core>(&context);
    memory.resize(kMemoryBytes);
    context.assertOn(false);  // nothing is promised before the reset
    core->rst_ni = 0;
    core->clk_i = 0;
    Quiet();
    core->eval();
    for (int i = 0; i < 40; ++i) Tick();  // pipelines without reset run empty meanwhile
    core->rst_ni = 1;
    Tick();
    // Pipelines behind gated clocks get their first edges in a scrub.
    core->s_axil_bready_i = 1;
    SoftReset();
    context.assertOn(true);
  }
  ~CoreBench() { core->final(); }

  // --- registers ---
  struct Access {
    uint32_t value = 0;
    bool error = false;
  };
  Access Read(uint32_t address) {
    core->s_axil_araddr_i = address;
    core->s_axil_arvalid_i = 1;
    for (;;) {
      const bool accepted = core->s_axil_arready_o;
      Tick();
      if (accepted) break;
    }
    core->s_axil_arvalid_i = 0;
    core->s_axil_rready_i = 1;
    while (!core->s_axil_rvalid_o) Tick();
    const Access result{core->s_axil_rdata_o, core->s_axil_rresp_o != 0};
    Tick();
    core->s_axil_rready_i = 0;
    return result;
  }
  // True: accepted. `skew` cycles between address and data (negative: data first).
  bool Write(uint32_t address, uint32_t value, int strobes = 15, int skew = 0) {
    core->s_axil_awaddr_i = address;
    core->s_axil_wdata_i = value;
    core->s_axil_wstrb_i = strobes;
    bool address_done = false, data_done = false;
    for (int cycle = 0; !address_done || !data_done; ++cycle) {
      core->s_axil_awvalid_i = !address_done && cycle >= (skew < 0 ? -skew : 0);
      core->s_axil_wvalid_i = !data_done && cycle >= (skew > 0 ? skew : 0);
      const bool aw = core->s_axil_awvalid_i && core->s_axil_awready_o;
      const bool w = core->s_axil_wvalid_i && core->s_axil_wready_o;
      Tick();
      address_done |= aw;
      data_done |= w;
    }
    core->s_axil_awvalid_i = 0;
    core->s_axil_wvalid_i = 0;
    core->s_axil_bready_i = 1;
    while (!core->s_axil_bvalid_o) Tick();
    const bool ok = core->s_axil_bresp_o == 0;
    Tick();
    core->s_axil_bready_i = 0;
    return ok;
  }
  uint64_t Read64(uint32_t address) {
    const uint64_t low = Read(address).value;
    return low | uint64_t{Read(address + 4).value} << 32;
  }
  uint64_t Counter(int queue, int cls) { return Read64(regs::Counter(queue, cls)); }

  void SetRegion(int region, uint64_t base, uint32_t limit, int permissions) {
    Write(regs::RegionBaseLo(region), static_cast<uint32_t>(base));
    Write(regs::RegionBaseHi(region), static_cast<uint32_t>(base >> 32));
    Write(regs::RegionLimit(region), limit);
    Write(regs::RegionPerm(region), permissions);
  }

  // --- jobs ---
  // Region 0 holds the program (from `program_offset`), region 1 all of memory behind it, readable
  // and writable.
  static constexpr uint64_t kDataOffset = 0x20000;
  void Load(const std::vector<isa::Instruction>& program, uint32_t watchdog = 0) {
    std::memcpy(memory.data(), program.data(), program.size() * sizeof(isa::Instruction));
    SetRegion(0, kMemoryBase, kDataOffset, 4);
    SetRegion(1, kMemoryBase + kDataOffset, kMemoryBytes - kDataOffset, 3);
    Write(regs::kProgramRegion, 0);
    Write(regs::kProgramOffset, 0);
    Write(regs::kProgramCount, static_cast<uint32_t>(program.size()));
    Write(regs::kWatchdog, watchdog);
  }
  uint8_t* Data(uint64_t offset) { return memory.data() + kDataOffset + offset; }
  void Start() {
    events.clear();
    job_cycles = 0;
    start_ok = Write(regs::kControl, regs::kControlStart.mask());
  }
  // Runs until STATUS is no longer running; false after `limit` cycles.
  bool Finish(int64_t limit = 200000) {
    const int64_t end = now + limit;
    while (now < end) {
      for (int i = 0; i < 16; ++i) Tick();
      if ((Read(regs::kStatus).value & regs::kStatusRunning.mask()) == 0) return true;
    }
    return false;
  }
  bool Run(const std::vector<isa::Instruction>& program, uint32_t watchdog = 0) {
    Load(program, watchdog);
    Start();
    return Finish();
  }
  uint32_t Status() { return Read(regs::kStatus).value; }
  FaultRecord Fault() {
    return {Read(regs::kFaultCause).value, Read(regs::kFaultInstruction).value,
            Read(regs::kFaultInstruction2).value, Read(regs::kFaultContext).value,
            Read64(regs::kFaultAddressLo)};
  }
  // False when the reset does not end.
  bool SoftReset(int64_t limit = 20000) {
    Write(regs::kControl, regs::kControlSoftReset.mask());
    const int64_t end = now + limit;
    while (now < end) {
      if (Status() == regs::kStatusIdle.mask()) return true;
    }
    return false;
  }
  int64_t CycleOf(Event::Kind kind, uint32_t index) const {
    for (const Event& e : events)
      if (e.kind == kind && e.index == index) return e.cycle;
    return -1;
  }

  // One clock cycle.
  void Tick() {
    DriveBus();
    core->eval();
    Observe();
    core->clk_i = 1;
    core->eval();
    context.timeInc(1);
    core->clk_i = 0;
    core->eval();
    context.timeInc(1);
    ++now;
  }

  VerilatedContext context;
  std::unique_ptr<Voctile_core> core;
  std::mt19937_64 rng;
  MemoryProfile profile;
  std::vector<uint8_t> memory;
  std::vector<Event> events;
  std::vector<std::string> violations;  // of the AXI4 protocol
  std::function<void(const CycleView&)> checker;
  int64_t now = 0;
  int64_t job_cycles = 0;  // cycles of the job so far
  bool start_ok = false;
  int max_outstanding_reads = 0;

 private:
  struct ReadBurst {
    uint64_t address;
    int beats, sent;
    int64_t ready;
    bool error;
  };
  struct WriteBurst {
    uint64_t address;
    int beats;
  };
  struct Response {
    int64_t ready;
    bool error;
  };
  bool Chance(int percent) { return percent > 0 && static_cast<int>(rng() % 100) < percent; }
  int64_t Latency() {
    return profile.latency_min +
           static_cast<int64_t>(rng() % (profile.latency_max - profile.latency_min + 1));
  }
  bool Outside(uint64_t address, uint64_t bytes) const {
    return address < kMemoryBase || address + bytes > kMemoryBase + kMemoryBytes ||
           (address < profile.error_address_end && address + bytes > profile.error_address_begin);
  }
  void Violation(const std::string& what) {
    if (violations.size() < 20) violations.push_back("cycle " + std::to_string(now) + ": " + what);
  }
  void Quiet() {
    core->m_axi_arready_i = core->m_axi_rvalid_i = core->m_axi_rlast_i = core->m_axi_rresp_i = 0;
    core->m_axi_awready_i = core->m_axi_wready_i = core->m_axi_bvalid_i = core->m_axi_bresp_i = 0;
    core->s_axil_awvalid_i = core->s_axil_wvalid_i = core->s_axil_bready_i = 0;
    core->s_axil_arvalid_i = core->s_axil_rready_i = 0;
  }
  // Inputs of this cycle, decided before the outputs are looked at, apart from data only valid with
  // an address.
  void DriveBus() {
    core->m_axi_arready_i = !Chance(profile.refuse_address);
    core->m_axi_awready_i = !Chance(profile.refuse_address);
    // As the platform of timing.md does, data are not taken before their address.
    core->m_axi_wready_i =
        !Chance(profile.refuse_data) && (!core->m_axi_awvalid_o || core->m_axi_awready_i);
    core->m_axi_rvalid_i = 0;
    if (!reads.empty() && reads.front().ready <= now && !Chance(profile.beat_gap)) {
      ReadBurst& burst = reads.front();
      core->m_axi_rvalid_i = 1;
      core->m_axi_rlast_i = burst.sent + 1 == burst.beats;
      core->m_axi_rresp_i = burst.error ? 2 : 0;
      const uint64_t address = burst.address + static_cast<uint64_t>(burst.sent) * kN;
      if (!burst.error) std::memcpy(&core->m_axi_rdata_i, &memory[address - kMemoryBase], kN);
    }
    core->m_axi_bvalid_i = !responses.empty() && responses.front().ready <= now;
    core->m_axi_bresp_i = core->m_axi_bvalid_i && responses.front().error ? 2 : 0;
  }
  void CheckAddress(const char* channel, uint64_t address, int beats, int size, int burst) {
    const uint64_t bytes = static_cast<uint64_t>(beats) * kN;
    if (1 << size != kN) Violation(std::string(channel) + ": size " + std::to_string(size));
    if (burst != 1) Violation(std::string(channel) + ": burst type");
    if (address % kN != 0) Violation(std::string(channel) + ": unaligned");
    if (bytes > 256) Violation(std::string(channel) + ": longer than 256 bytes");
    if (address / 4096 != (address + bytes - 1) / 4096)
      Violation(std::string(channel) + ": crosses 4 KiB");
  }
  void Observe() {
    const auto& c = *core;
    if (!c.rst_ni) return;
    // Valid and payload are held until accepted.
    if (held_ar &&
        (!c.m_axi_arvalid_o || c.m_axi_araddr_o != last_ar || c.m_axi_arlen_o != last_arlen))
      Violation("AR not held");
    if (held_aw &&
        (!c.m_axi_awvalid_o || c.m_axi_awaddr_o != last_aw || c.m_axi_awlen_o != last_awlen))
      Violation("AW not held");
    if (held_w && (!c.m_axi_wvalid_o || std::memcmp(&c.m_axi_wdata_o, last_w, kN) != 0 ||
                   c.m_axi_wlast_o != last_wlast))
      Violation("W not held");
    held_ar = c.m_axi_arvalid_o && !c.m_axi_arready_i;
    held_aw = c.m_axi_awvalid_o && !c.m_axi_awready_i;
    held_w = c.m_axi_wvalid_o && !c.m_axi_wready_i;
    last_ar = c.m_axi_araddr_o;
    last_arlen = c.m_axi_arlen_o;
    last_aw = c.m_axi_awaddr_o;
    last_awlen = c.m_axi_awlen_o;
    last_wlast = c.m_axi_wlast_o;
    std::memcpy(last_w, &c.m_axi_wdata_o, kN);
    if (!c.m_axi_rready_o || !c.m_axi_bready_o) Violation("R or B not ready");

    if (c.m_axi_rvalid_i) {
      ReadBurst& burst = reads.front();
      if (++burst.sent == burst.beats) reads.pop_front();
    }
    if (c.m_axi_arvalid_o && c.m_axi_arready_i) {
      const int beats = c.m_axi_arlen_o + 1;
      CheckAddress("AR", c.m_axi_araddr_o, beats, c.m_axi_arsize_o, c.m_axi_arburst_o);
      reads.push_back({c.m_axi_araddr_o, beats, 0, now + 1 + Latency(),
                       Outside(c.m_axi_araddr_o, static_cast<uint64_t>(beats) * kN)});
      max_outstanding_reads = std::max(max_outstanding_reads, static_cast<int>(reads.size()));
    }
    if (c.m_axi_bvalid_i) responses.pop_front();
    if (c.m_axi_awvalid_o && c.m_axi_awready_i) {
      const int beats = c.m_axi_awlen_o + 1;
      CheckAddress("AW", c.m_axi_awaddr_o, beats, c.m_axi_awsize_o, c.m_axi_awburst_o);
      writes.push_back({c.m_axi_awaddr_o, beats});
    }
    if (c.m_axi_wvalid_o && c.m_axi_wready_i) {
      if (writes.empty()) {
        Violation("W without AW");
      } else {
        WriteBurst& burst = writes.front();
        const bool error = Outside(burst.address, static_cast<uint64_t>(burst.beats) * kN);
        if (c.m_axi_wstrb_o != (kN == 64 ? ~uint64_t{0} : (uint64_t{1} << kN) - 1))
          Violation("WSTRB");
        const uint64_t address = burst.address + static_cast<uint64_t>(written) * kN;
        if (!error) std::memcpy(&memory[address - kMemoryBase], &c.m_axi_wdata_o, kN);
        ++written;
        if (c.m_axi_wlast_o != (written == burst.beats)) Violation("WLAST");
        if (written == burst.beats) {
          responses.push_back(
              {std::max(now + 1 + Latency(), responses.empty() ? 0 : responses.back().ready + 1),
               error});
          writes.pop_front();
          written = 0;
        }
      }
    }

    CycleView view{};
    view.cycle = c.trace_running_o ? job_cycles : -1;
    view.ar_valid = c.m_axi_arvalid_o;
    view.ar_ready = c.m_axi_arready_i;
    view.ar_addr = c.m_axi_araddr_o;
    view.ar_len = c.m_axi_arlen_o;
    view.r_valid = c.m_axi_rvalid_i;
    view.r_last = c.m_axi_rlast_i;
    view.aw_valid = c.m_axi_awvalid_o;
    view.aw_ready = c.m_axi_awready_i;
    view.aw_addr = c.m_axi_awaddr_o;
    view.aw_len = c.m_axi_awlen_o;
    view.w_valid = c.m_axi_wvalid_o;
    view.w_ready = c.m_axi_wready_i;
    view.w_last = c.m_axi_wlast_o;
    view.b_valid = c.m_axi_bvalid_i;
    view.issue = c.trace_issue_o;
    view.done = c.trace_done_o;
    view.tile = c.trace_tile_o;
    for (int q = 0; q < 6; ++q) {
      view.issue_index[q] = c.trace_issue_index_o[q];
      view.done_index[q] = c.trace_done_index_o[q];
      view.classes[q] = c.trace_class_o >> (4 * q) & 15;
    }
    if (c.trace_running_o) {
      for (int q = 0; q < 6; ++q) {
        if (view.issue >> q & 1)
          events.push_back({Event::kIssue, q, view.issue_index[q], job_cycles});
        if (view.done >> q & 1) events.push_back({Event::kDone, q, view.done_index[q], job_cycles});
      }
      ++job_cycles;
    } else if (view.issue != 0 || view.done != 0) {
      Violation("trace events outside a job");
    }
    if (checker) checker(view);
  }

  std::deque<ReadBurst> reads;
  std::deque<WriteBurst> writes;
  std::deque<Response> responses;
  int written = 0;
  bool held_ar = false, held_aw = false, held_w = false;
  uint64_t last_ar = 0, last_aw = 0;
  int last_arlen = 0, last_awlen = 0, last_wlast = 0;
  uint8_t last_w[64] = {};
};

}  // namespace octile::rtl_ctl
