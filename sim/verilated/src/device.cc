#include "octile/verilated/device.h"

#include <verilated.h>
#ifdef OCTILE_RTL_TRACE
#include <verilated_fst_c.h>
#endif

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "Voctile_core.h"
#include "axi_checker.h"
#include "octile/isa/isa.h"
#include "octile/isa/registers.h"

namespace octile::verilated {
namespace {

class VerilatedDevice : public sim::CoreDevice {
 public:
  explicit VerilatedDevice(const RtlOptions& options)
      : options_(options),
        n_(options.device.core.n),
        timing_(options.device.memory),
        profile_(options.device.memory),
        checker_(options.device.core.n) {
    context_.randReset(options.seed_x == 0 ? 0 : 2);
    context_.randSeed(static_cast<int>(options.seed_x % 0x7fffffff) + 1);
#ifdef OCTILE_RTL_TRACE
    context_.traceEverOn(true);
#endif
    core_ = std::make_unique<Voctile_core>(&context_);
    // Before the reset nothing is promised.
    context_.assertOn(false);
    core_->rst_ni = 0;
    core_->clk_i = 1;
    core_->m_axi_arready_i = core_->m_axi_rvalid_i = core_->m_axi_rlast_i = core_->m_axi_rresp_i =
        0;
    core_->m_axi_awready_i = core_->m_axi_wready_i = core_->m_axi_bvalid_i = core_->m_axi_bresp_i =
        0;
    core_->s_axil_awvalid_i = core_->s_axil_wvalid_i = core_->s_axil_bready_i = 0;
    core_->s_axil_arvalid_i = core_->s_axil_rready_i = 0;
    core_->s_axil_wstrb_i = 15;
    core_->eval();
    // Pipelines without reset run empty meanwhile.
    for (uint32_t i = 0; i < 4 * n_ + 64; ++i) Clock();
    core_->rst_ni = 1;
    Clock();
    context_.assertOn(true);
  }
  ~VerilatedDevice() override {
#ifdef OCTILE_RTL_TRACE
    CloseWave();
#endif
    core_->final();
  }

  void SetMemory(std::span<uint8_t> memory) override { memory_ = memory; }

  bool ReadRegister(uint32_t offset, uint32_t* value) override {
    core_->s_axil_araddr_i = static_cast<uint16_t>(offset);
    core_->s_axil_arvalid_i = 1;
    for (bool accepted = false; !accepted;) {
      accepted = core_->s_axil_arready_o != 0;
      Cycle();
    }
    core_->s_axil_arvalid_i = 0;
    core_->s_axil_rready_i = 1;
    while (core_->s_axil_rvalid_o == 0) Cycle();
    *value = core_->s_axil_rdata_o;
    const bool ok = core_->s_axil_rresp_o == 0;
    Cycle();
    core_->s_axil_rready_i = 0;
    if (!ok) *value = 0;
    return ok;
  }

  bool WriteRegister(uint32_t offset, uint32_t value) override {
    const bool control = (offset & ~3u) == regs::kControl;
    core_->s_axil_awaddr_i = static_cast<uint16_t>(offset);
    core_->s_axil_wdata_i = value;
    bool address_done = false, data_done = false;
    while (!address_done || !data_done) {
      core_->s_axil_awvalid_i = !address_done;
      core_->s_axil_wvalid_i = !data_done;
      const bool aw = !address_done && core_->s_axil_awready_o;
      const bool w = !data_done && core_->s_axil_wready_o;
      Cycle();
      address_done |= aw;
      data_done |= w;
    }
    core_->s_axil_awvalid_i = 0;
    core_->s_axil_wvalid_i = 0;
    core_->s_axil_bready_i = 1;
    while (core_->s_axil_bvalid_o == 0) Cycle();
    const bool ok = core_->s_axil_bresp_o == 0;
    Cycle();
    core_->s_axil_bready_i = 0;
    if (ok && control && value != 0) busy_ = true;
    if (ok) written_[offset & ~3u] = value;
    return ok;
  }

  bool Interrupt() const override { return core_->irq_o != 0; }
  bool Busy() const override { return busy_; }

  uint64_t Run(uint64_t max_cycles) override {
    const uint64_t begin = now_;
    const uint64_t end = max_cycles > ~uint64_t{0} - now_ ? ~uint64_t{0} : now_ + max_cycles;
    while (busy_ && core_->irq_o == 0 && now_ < end) {
      if (running_) {
        Cycle();
        continue;
      }
      // Draining, scrubbing or over: STATUS tells. Its read takes cycles, too.
      const uint32_t status = Peek(regs::kStatus);
      busy_ = (status & (regs::kStatusRunning.mask() | regs::kStatusResetting.mask())) != 0;
      for (int i = 0; i < 16 && busy_ && !running_ && core_->irq_o == 0 && now_ < end; ++i) Cycle();
    }
    if (core_->irq_o != 0 && busy_ && !running_) {
      const uint32_t status = Peek(regs::kStatus);
      busy_ = (status & (regs::kStatusRunning.mask() | regs::kStatusResetting.mask())) != 0;
    }
    return now_ - begin;
  }

  void SetObservationSink(sim::ObservationSink* sink) override { sink_ = sink; }

  const sim::Trace& trace() const override {
    const_cast<VerilatedDevice*>(this)->CollectTrace();
    return collected_ ? trace_ : recorder_.trace();
  }

  void SetMemoryProfile(const sim::MemoryProfile& profile) override { profile_ = profile; }

  void InjectBusError(sim::Direction direction, uint64_t burst) override {
    (direction == sim::Direction::kRead ? next_read_error_ : next_write_error_) = burst;
  }

 private:
  struct Read {
    uint64_t address;
    uint32_t beats, sent;
    uint64_t next;  // cycle of the next beat
    bool error;
  };
  struct Response {
    uint64_t cycle;
    bool error;
  };

  // A register read that is part of the platform's own work.
  uint32_t Peek(uint32_t offset) {
    uint32_t value = 0;
    (void)ReadRegister(offset, &value);
    return value;
  }
  uint64_t Peek64(uint32_t offset) { return Peek(offset) | uint64_t{Peek(offset + 4)} << 32; }

  // The clock alone: the inputs settle, then the edge.
  void Clock() {
    core_->clk_i = 0;
    core_->eval();
    core_->clk_i = 1;
    core_->eval();
    ++now_;
  }

  // One cycle with the memory behind the bus. Between calls the outputs show the registered state
  // of the cycle to come.
  void Cycle() {
    if (core_->trace_running_o != 0 && !running_) BeginJob();
    const uint64_t t = now_ - job_start_;
    DriveRead(t);
    DriveWrite(t);
    core_->clk_i = 0;
    core_->eval();
    if (running_) Sample(t);
    if (options_.check_bus) CheckBus();
#ifdef OCTILE_RTL_TRACE
    if (InWave(t)) wave_->dump(2 * t);
#endif
    core_->clk_i = 1;
    core_->eval();
#ifdef OCTILE_RTL_TRACE
    if (InWave(t)) wave_->dump(2 * t + 1);
#endif
    ++now_;
    if (running_ && core_->trace_running_o == 0) EndJob();
  }

  void BeginJob() {
    running_ = true;
    collected_ = false;
    ended_ = false;
    job_start_ = now_;
    timing_.Reset(profile_);
    read_error_ = std::exchange(next_read_error_, sim::kNever);
    write_error_ = std::exchange(next_write_error_, sim::kNever);
    fault_cycle_ = sim::kNever;
    classes_ = kNoClasses;
    same_ = 0;
    recorder_.Start(written_[regs::kProgramCount] & regs::kProgramCountCount.mask());
    const int region =
        static_cast<int>(written_[regs::kProgramRegion] & regs::kProgramRegionRegion.mask());
    program_ = (uint64_t{written_[regs::RegionBaseHi(region)]} << 32 |
                written_[regs::RegionBaseLo(region)]) +
               written_[regs::kProgramOffset];
#ifdef OCTILE_RTL_TRACE
    OpenWave();
#endif
  }

  void EndJob() {
    running_ = false;
    ended_ = true;
    cycles_ = now_ - job_start_;
    FlushClasses();
    recorder_.Finish(cycles_);
#ifdef OCTILE_RTL_TRACE
    CloseWave();
#endif
  }

  // The parts of the trace that registers hold. Late, so that the job's own snapshots are its own.
  void CollectTrace() {
    if (!ended_ || collected_) return;
    trace_ = recorder_.trace();
    if (const uint32_t cause = Peek(regs::kFaultCause); cause != 0) {
      trace_.fault.cause = cause;
      trace_.fault.instruction = Peek(regs::kFaultInstruction);
      if (cause == static_cast<uint32_t>(isa::Fault::kConflict))
        trace_.fault.second = Peek(regs::kFaultInstruction2);
      trace_.fault.address = Peek64(regs::kFaultAddressLo);
      trace_.fault.cycle = fault_cycle_;
    }
    (void)WriteRegister(regs::kSnapshot, regs::kSnapshotTake.mask());
    constexpr uint32_t kBytes[] = {regs::kReadBytesFetchLo, regs::kReadBytesPrmLo,
                                   regs::kReadBytesWgtLo, regs::kReadBytesActLo,
                                   regs::kWrittenBytesLo};
    for (size_t i = 0; i < std::size(kBytes); ++i) trace_.bytes[i] = Peek64(kBytes[i]);
    collected_ = true;
  }

  // Layer of an instruction, read where FETCH reads it.
  uint32_t LayerOf(uint32_t index) const {
    const uint64_t address = program_ + uint64_t{isa::kInstructionBytes} * index;
    if (Outside(address, isa::kInstructionBytes)) return 0;
    isa::Instruction instruction;
    std::memcpy(instruction.words.data(), memory_.data() + address, isa::kInstructionBytes);
    return static_cast<uint32_t>(isa::DecodeHeader(instruction).layer);
  }

  void Sample(uint64_t t) {
    const uint32_t issue = core_->trace_issue_o;
    const uint32_t done = core_->trace_done_o;
    const uint32_t classes = core_->trace_class_o;
    if (issue != 0) {
      FlushClasses();
      for (int q = 0; q < sim::kQueues; ++q)
        if ((issue >> q & 1) != 0)
          recorder_.Issue(q, core_->trace_issue_index_o[q], LayerOf(core_->trace_issue_index_o[q]),
                          t);
    }
    if (done != 0)
      for (int q = 0; q < sim::kQueues; ++q)
        if ((done >> q & 1) != 0) recorder_.Complete(core_->trace_done_index_o[q], t);
    if (core_->trace_tile_o != 0) recorder_.TileStart();
    if (core_->trace_fault_o != 0 && fault_cycle_ == sim::kNever) fault_cycle_ = t;
    if (classes != classes_) {
      FlushClasses();
      classes_ = classes;
    }
    ++same_;
    if (sink_ != nullptr) {
      if (core_->obs_exe_we_o != 0)
        sink_->OnResult(core_->obs_exe_index_o, core_->obs_exe_addr_o,
                        {reinterpret_cast<const uint8_t*>(&core_->obs_exe_data_o), n_});
      if (core_->obs_vec_we_o != 0)
        sink_->OnResult(core_->obs_vec_index_o, core_->obs_vec_addr_o,
                        {reinterpret_cast<const uint8_t*>(&core_->obs_vec_data_o), n_});
    }
  }

  // Accounts for the cycles since the classes changed last.
  void FlushClasses() {
    if (same_ == 0) return;
    std::array<uint8_t, sim::kQueues> classes;
    for (int q = 0; q < sim::kQueues; ++q) classes[q] = classes_ >> (4 * q) & 15;
    recorder_.Account(same_, classes);
    same_ = 0;
  }

  bool Outside(uint64_t address, uint64_t bytes) const {
    return address > memory_.size() || bytes > memory_.size() - address;
  }

  void DriveRead(uint64_t t) {
    bool ready = false;
    if (core_->m_axi_arvalid_o != 0) {
      if (!ar_pending_) {
        ar_pending_ = true;
        const uint32_t beats = core_->m_axi_arlen_o + 1u;
        const bool error =
            timing_.reads() == read_error_ || Outside(core_->m_axi_araddr_o, uint64_t{beats} * n_);
        const auto burst = timing_.Read(t, beats);
        ar_accept_ = burst.accept;
        reads_.push_back({core_->m_axi_araddr_o, beats, 0, burst.first, error});
      }
      ready = t == ar_accept_;
      if (ready) ar_pending_ = false;
    }
    core_->m_axi_arready_i = ready;
    if (reads_.empty() || reads_.front().next != t) {
      core_->m_axi_rvalid_i = 0;
      return;
    }
    Read& burst = reads_.front();
    core_->m_axi_rvalid_i = 1;
    core_->m_axi_rresp_i = burst.error ? 2 : 0;
    if (burst.error) {
      std::memset(&core_->m_axi_rdata_i, 0, n_);
    } else {
      std::memcpy(&core_->m_axi_rdata_i, memory_.data() + burst.address + uint64_t{burst.sent} * n_,
                  n_);
    }
    const bool last = ++burst.sent == burst.beats;
    core_->m_axi_rlast_i = last;
    burst.next = t + timing_.profile().beat_interval;
    if (last) reads_.pop_front();
  }

  void DriveWrite(uint64_t t) {
    bool address_ready = false, data_ready = false;
    if (core_->m_axi_awvalid_o != 0 && !writing_) {
      writing_ = true;
      write_address_ = core_->m_axi_awaddr_o;
      write_beats_ = core_->m_axi_awlen_o + 1u;
      write_sent_ = 0;
      write_failed_ =
          timing_.writes() == write_error_ || Outside(write_address_, uint64_t{write_beats_} * n_);
      const auto burst = timing_.Write(t, write_beats_);
      aw_accept_ = burst.accept;
      next_data_ = burst.accept;
      responses_.push_back({burst.response, write_failed_});
    }
    if (writing_) {
      address_ready = t == aw_accept_;
      data_ready = t == next_data_;
      if (data_ready) {
        if (!write_failed_)
          std::memcpy(memory_.data() + write_address_ + uint64_t{write_sent_} * n_,
                      &core_->m_axi_wdata_o, n_);
        next_data_ += timing_.profile().beat_interval;
        if (++write_sent_ == write_beats_) writing_ = false;
      }
    }
    core_->m_axi_awready_i = address_ready;
    core_->m_axi_wready_i = data_ready;
    const bool respond = !responses_.empty() && responses_.front().cycle == t;
    core_->m_axi_bvalid_i = respond;
    if (respond) {
      core_->m_axi_bresp_i = responses_.front().error ? 2 : 0;
      responses_.pop_front();
    }
  }

  void CheckBus() {
    const BusCycle c{core_->m_axi_arvalid_o != 0,
                     core_->m_axi_arready_i != 0,
                     core_->m_axi_awvalid_o != 0,
                     core_->m_axi_awready_i != 0,
                     core_->m_axi_wvalid_o != 0,
                     core_->m_axi_wready_i != 0,
                     core_->m_axi_wlast_o != 0,
                     core_->m_axi_rready_o != 0,
                     core_->m_axi_bready_o != 0,
                     core_->m_axi_araddr_o,
                     core_->m_axi_awaddr_o,
                     core_->m_axi_arlen_o,
                     core_->m_axi_awlen_o,
                     core_->m_axi_arsize_o,
                     core_->m_axi_awsize_o,
                     core_->m_axi_arburst_o,
                     core_->m_axi_awburst_o,
                     core_->m_axi_wstrb_o,
                     reinterpret_cast<const uint8_t*>(&core_->m_axi_wdata_o)};
    const std::string broken = checker_.Check(c);
    if (broken.empty()) return;
    fmt::print(stderr, "AXI4 rule broken in cycle {} of the job: {}\n", now_ - job_start_, broken);
    std::abort();
  }

#ifdef OCTILE_RTL_TRACE
  void OpenWave() {
    CloseWave();
    if (options_.wave.empty()) return;
    wave_ = std::make_unique<VerilatedFstC>();
    core_->trace(wave_.get(), 99);
    wave_->open(options_.wave.c_str());
  }
  bool InWave(uint64_t t) const {
    return wave_ != nullptr && running_ && t >= options_.wave_begin && t < options_.wave_end;
  }
  void CloseWave() {
    if (wave_ != nullptr) wave_->close();
    wave_.reset();
  }
  std::unique_ptr<VerilatedFstC> wave_;
#endif

  static constexpr uint32_t kNoClasses = ~0u;

  RtlOptions options_;
  uint32_t n_;
  VerilatedContext context_;
  std::unique_ptr<Voctile_core> core_;
  std::span<uint8_t> memory_;
  sim::MemoryTiming timing_;
  sim::MemoryProfile profile_;
  AxiChecker checker_;
  sim::ObservationSink* sink_ = nullptr;

  uint64_t now_ = 0;        // clock cycles since power-on
  uint64_t job_start_ = 0;  // cycle 0 of the running or last job
  uint64_t cycles_ = 0;
  bool busy_ = false;
  bool running_ = false;  // trace_running_o
  bool ended_ = false;
  uint64_t program_ = 0;                  // address of the job's first instruction
  std::map<uint32_t, uint32_t> written_;  // last accepted register writes

  std::deque<Read> reads_;
  bool ar_pending_ = false;
  uint64_t ar_accept_ = 0;
  bool writing_ = false;
  uint64_t write_address_ = 0;
  uint32_t write_beats_ = 0, write_sent_ = 0;
  bool write_failed_ = false;
  uint64_t aw_accept_ = 0, next_data_ = 0;
  std::deque<Response> responses_;
  uint64_t next_read_error_ = sim::kNever, next_write_error_ = sim::kNever;
  uint64_t read_error_ = sim::kNever, write_error_ = sim::kNever;

  sim::TraceRecorder recorder_;
  sim::Trace trace_;
  bool collected_ = false;
  uint64_t fault_cycle_ = sim::kNever;
  uint32_t classes_ = kNoClasses;
  uint64_t same_ = 0;
};

}  // namespace

Expected<std::unique_ptr<sim::CoreDevice>> MakeVerilatedDevice(const RtlOptions& options) {
#ifndef OCTILE_RTL_TRACE
  if (!options.wave.empty())
    return Fail(
        ErrorCode::kUsage,
        "this RTL device was built without waves; the program whose name ends in -wave has them");
#endif
#ifndef OCTILE_RTL_CHECKED
  if (options.seed_x != 0)
    return Fail(ErrorCode::kUsage,
                "this RTL device was built without random initial values; the program whose name "
                "ends in -checked has them");
#endif
  auto device = std::make_unique<VerilatedDevice>(options);
  uint32_t low = 0, high = 0;
  const bool read = device->ReadRegister(regs::kArchHashLo, &low) &&
                    device->ReadRegister(regs::kArchHashHi, &high);
  const uint64_t hash = uint64_t{high} << 32 | low;
  if (!read || hash != options.device.core.arch_hash)
    return Fail(ErrorCode::kProgram,
                fmt::format("this RTL device was built for architecture {:016x}, not {:016x}", hash,
                            options.device.core.arch_hash));
  return device;
}

}  // namespace octile::verilated
