#include "octile/sim/iss.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core.h"
#include "machine.h"
#include "registers.h"

namespace octile::sim {
namespace {

ArchConfig ArchOf(const CoreConfig& c) {
  ArchConfig arch;
  arch.n = static_cast<int>(c.n);
  arch.weight_rows = static_cast<int>(c.weight_rows);
  arch.ring_tiles = static_cast<int>(c.ring_tiles);
  arch.acc_depth = static_cast<int>(c.acc_depth);
  arch.banks = static_cast<int>(c.banks);
  arch.bank_depth = static_cast<int>(c.bank_depth);
  arch.psets = static_cast<int>(c.psets);
  arch.wrows = static_cast<int>(c.wrows);
  arch.read_bursts = static_cast<int>(c.read_bursts);
  arch.write_bursts = static_cast<int>(c.write_bursts);
  return arch;
}

// 64-bit FNV-1a over words.
class Hash {
 public:
  void Add(uint64_t word) { value_ = (value_ ^ word) * 0x100000001b3ull; }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325ull;
};

}  // namespace

class Iss::Impl {
 public:
  explicit Impl(const IssOptions& options)
      : options_(options),
        arch_(ArchOf(options.core)),
        machine_(options.core),
        registers_(options.core),
        core_(&machine_, arch_) {}

  bool Write(uint32_t offset, uint32_t value) {
    if (!registers_.Write(offset, value)) return false;
    switch (offset & ~3u) {
      case regs::kControl:
        return Control(value);
      case regs::kSnapshot:
        if (regs::kSnapshotTake.get(value) != 0) {
          Trace now = core_.trace();
          now.bytes = machine_.bytes;
          registers_.Snapshot(now);
        }
        return true;
      default:
        return true;
    }
  }

  bool Control(uint32_t value) {
    if (regs::kControlSoftReset.get(value) != 0) {
      // There is no time for the reset to take.
      core_.Reset();
      machine_.Reset();
      machine_.bytes = {};
      registers_.SoftReset();
      return true;
    }
    if (regs::kControlStart.get(value) == 0) return true;
    if ((registers_.Get(regs::kStatus) & (regs::kStatusIdle.mask() | regs::kStatusDone.mask())) ==
        0) {
      return false;
    }
    Start();
    return true;
  }

  void Start() {
    for (int r = 0; r < isa::kRegions; ++r) {
      const uint32_t perm = registers_.Get(regs::RegionPerm(r));
      machine_.regions[static_cast<size_t>(r)] = {
          uint64_t{registers_.Get(regs::RegionBaseHi(r))} << 32 |
              registers_.Get(regs::RegionBaseLo(r)),
          registers_.Get(regs::RegionLimit(r)), regs::kRegionPermRead.get(perm) != 0,
          regs::kRegionPermWrite.get(perm) != 0, regs::kRegionPermExecute.get(perm) != 0};
    }
    const iss::JobSetup job{registers_.Get(regs::kProgramRegion),
                            registers_.Get(regs::kProgramOffset),
                            registers_.Get(regs::kProgramCount)};
    registers_.SetFault({});
    registers_.SetStatus(regs::kStatusRunning);
    core_.StartJob(job, options_.seed);
    violation_.reset();
    if (options_.verify) Verify(job);
    if (!violation_) return;
    if (violation_->kind == ViolationKind::kConflict || violation_->kind == ViolationKind::kRace) {
      const bool race = violation_->kind == ViolationKind::kRace;
      core_.Refuse({static_cast<uint32_t>(isa::Fault::kConflict),
                    static_cast<uint32_t>(violation_->instruction),
                    static_cast<uint32_t>(std::max<int64_t>(violation_->other, 0)),
                    race ? violation_->address : 0, 0});
      Finish();
    }
  }

  // Finds the violation of a job; a job seen before is not looked at again.
  void Verify(const iss::JobSetup& job) {
    const iss::RegionState& code = machine_.regions[job.program_region];
    const uint64_t first = code.base + job.program_offset;
    const uint64_t bytes = uint64_t{job.program_count} * isa::kInstructionBytes;
    // What fetch cannot read has no need of a verifier.
    if (bytes == 0 || first > machine_.memory.size() || bytes > machine_.memory.size() - first)
      return;
    std::vector<isa::Instruction> program(job.program_count);
    std::memcpy(program.data(), &machine_.memory[first], bytes);
    Hash hash;
    for (const isa::Instruction& i : program)
      for (uint64_t word : i.words) hash.Add(word);
    std::vector<MemoryExtent> extents;
    for (const iss::RegionState& r : machine_.regions) {
      extents.push_back({r.limit, r.read, r.write, r.execute});
      hash.Add(uint64_t{r.limit} << 3 | (r.read ? 4u : 0u) | (r.write ? 2u : 0u) |
               (r.execute ? 1u : 0u));
    }
    const auto known = std::find_if(verified_.begin(), verified_.end(),
                                    [&](const Known& k) { return k.hash == hash.value(); });
    if (known != verified_.end()) {
      violation_ = known->violation;
      return;
    }
    violation_ = FindViolation(arch_, program, extents);
    if (verified_.size() >= kMostKnown) verified_.erase(verified_.begin());
    verified_.push_back({hash.value(), violation_});
  }

  void Finish() {
    const FaultRecord& fault = core_.trace().fault;
    registers_.SetFault(fault);
    const bool faulted = fault.cause != 0;
    registers_.SetStatus(faulted ? regs::kStatusFaulted : regs::kStatusDone);
    const regs::Field event = faulted ? regs::kIrqStatusFault : regs::kIrqStatusDone;
    registers_.Set(regs::kIrqStatus, registers_.Get(regs::kIrqStatus) | event.mask());
    machine_.inject = {kNever, kNever};
  }

  uint64_t Run(uint64_t most) {
    if (!core_.running() || Interrupt() || most == 0) return 0;
    const uint64_t work = core_.Run(most);
    if (!core_.running()) Finish();
    return std::min(work, most);
  }

  bool Interrupt() const {
    return (registers_.Get(regs::kIrqStatus) & registers_.Get(regs::kIrqEnable)) != 0;
  }

  struct Known {
    uint64_t hash;
    std::optional<Violation> violation;
  };
  static constexpr size_t kMostKnown = 64;

  IssOptions options_;
  const ArchConfig arch_;
  iss::Machine machine_;
  iss::RegisterFile registers_;
  iss::Core core_;
  std::vector<Known> verified_;
  std::optional<Violation> violation_;
};

Iss::Iss(const IssOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Iss::~Iss() = default;

void Iss::SetMemory(std::span<uint8_t> memory) { impl_->machine_.memory = memory; }
bool Iss::ReadRegister(uint32_t offset, uint32_t* value) {
  return impl_->registers_.Read(offset, value);
}
bool Iss::WriteRegister(uint32_t offset, uint32_t value) { return impl_->Write(offset, value); }
bool Iss::Interrupt() const { return impl_->Interrupt(); }
bool Iss::Busy() const { return impl_->registers_.busy(); }
uint64_t Iss::Run(uint64_t max_cycles) { return impl_->Run(max_cycles); }
void Iss::SetObservationSink(ObservationSink* sink) { impl_->core_.set_sink(sink); }
const Trace& Iss::trace() const { return impl_->core_.trace(); }
void Iss::SetMemoryProfile(const MemoryProfile&) {}
void Iss::InjectBusError(Direction direction, uint64_t burst) {
  impl_->machine_.inject[static_cast<size_t>(direction)] = burst;
}
const std::optional<Violation>& Iss::violation() const { return impl_->violation_; }
void Iss::SetSeed(uint64_t seed) { impl_->options_.seed = seed; }

}  // namespace octile::sim
