#include "model_device.h"

#include <algorithm>

#include "octile/systemc/device.h"

namespace octile::systemc {

ModelDevice::ModelDevice(const sim::DeviceOptions& options)
    : core_(options.core, options.timing_only), profile_(options.memory) {
  for (size_t i = 0; i < values_.size(); ++i) values_[i] = regs::kRegisters[i].reset;
  const sim::CoreConfig& c = options.core;
  Word(regs::kArchHashLo) = static_cast<uint32_t>(c.arch_hash);
  Word(regs::kArchHashHi) = static_cast<uint32_t>(c.arch_hash >> 32);
  Word(regs::kCap0) = regs::kCap0N.make(c.n) | regs::kCap0WeightRows.make(c.weight_rows) |
                      regs::kCap0Banks.make(c.banks);
  Word(regs::kCap1) = regs::kCap1BankDepth.make(c.bank_depth);
  Word(regs::kCap2) = regs::kCap2RingTiles.make(c.ring_tiles);
  Word(regs::kCap3) = regs::kCap3AccDepth.make(c.acc_depth) | regs::kCap3Psets.make(c.psets);
  Word(regs::kCap4) = regs::kCap4Wrows.make(c.wrows);
  Word(regs::kCap5) =
      regs::kCap5ReadBursts.make(c.read_bursts) | regs::kCap5WriteBursts.make(c.write_bursts);
}

int ModelDevice::Index(uint32_t offset) {
  const auto* first = std::begin(regs::kRegisters);
  const auto* last = std::end(regs::kRegisters);
  const auto* it =
      std::lower_bound(first, last, offset & ~3u,
                       [](const regs::RegisterInfo& r, uint32_t a) { return r.address < a; });
  return it != last && it->address == (offset & ~3u) ? static_cast<int>(it - first) : -1;
}

uint32_t& ModelDevice::Word(uint32_t offset) { return values_[Index(offset)]; }

void ModelDevice::Put64(uint32_t offset, uint64_t value) {
  Word(offset) = static_cast<uint32_t>(value);
  Word(offset + 4) = static_cast<uint32_t>(value >> 32);
}

bool ModelDevice::ReadRegister(uint32_t offset, uint32_t* value) {
  *value = 0;
  const int i = Index(offset);
  if (i < 0) return false;
  if (regs::kRegisters[i].address == regs::kStatus)
    *value = Status();
  else if (regs::kRegisters[i].access != regs::Access::kW1s)
    *value = values_[i];
  return true;
}

bool ModelDevice::WriteRegister(uint32_t offset, uint32_t value) {
  const int i = Index(offset);
  if (i < 0) return false;
  const regs::RegisterInfo& r = regs::kRegisters[i];
  if (r.locked && Busy()) return false;
  value &= r.mask;
  switch (r.access) {
    case regs::Access::kRo:
      return false;
    case regs::Access::kRw:
      values_[i] = value;
      return true;
    case regs::Access::kW1c:
      values_[i] &= ~value;
      return true;
    case regs::Access::kW1s:
      break;
  }
  if (r.address == regs::kSnapshot) {
    if (value != 0) Snapshot();
    return true;
  }
  // CONTROL: with both bits written soft_reset wins.
  if (regs::kControlSoftReset.get(value)) {
    SoftReset();
    return true;
  }
  return regs::kControlStart.get(value) == 0 || StartJob();
}

bool ModelDevice::Interrupt() const {
  return (Value(regs::kIrqStatus) & Value(regs::kIrqEnable)) != 0;
}

bool ModelDevice::StartJob() {
  if (state_ != State::kIdle && state_ != State::kDone) return false;
  JobSetup job;
  job.program_region = Value(regs::kProgramRegion);
  job.program_offset = Value(regs::kProgramOffset);
  job.program_count = Value(regs::kProgramCount);
  job.watchdog = Value(regs::kWatchdog);
  for (int r = 0; r < static_cast<int>(job.regions.size()); ++r) {
    RegionSetup& s = job.regions[r];
    s.base = uint64_t{Value(regs::RegionBaseHi(r))} << 32 | Value(regs::RegionBaseLo(r));
    s.limit = Value(regs::RegionLimit(r));
    const uint32_t perm = Value(regs::RegionPerm(r));
    s.read = regs::kRegionPermRead.get(perm) != 0;
    s.write = regs::kRegionPermWrite.get(perm) != 0;
    s.execute = regs::kRegionPermExecute.get(perm) != 0;
  }
  for (uint32_t offset : {regs::kFaultCause, regs::kFaultInstruction, regs::kFaultInstruction2,
                          regs::kFaultAddressLo, regs::kFaultAddressHi, regs::kFaultContext})
    Word(offset) = 0;
  core_.StartJob(job, profile_);
  counters_cleared_ = false;
  state_ = State::kRunning;
  job_start_ = now_ + 1;
  return true;
}

void ModelDevice::SoftReset() {
  if (state_ == State::kResetting) return;
  // Bursts on the bus end first; then the scrub takes its fixed time.
  uint64_t drained = now_;
  if (state_ == State::kRunning || state_ == State::kFaulted)
    drained = std::max(now_, job_start_ + core_.drained());
  reset_end_ = drained + core_.config().bank_depth + 64;
  core_.SoftReset();
  counters_cleared_ = true;
  state_ = State::kResetting;
  for (size_t i = 0; i < values_.size(); ++i)
    if (regs::kRegisters[i].soft_clear) values_[i] = regs::kRegisters[i].reset;
}

void ModelDevice::Snapshot() {
  if (core_.running() && now_ >= job_start_) core_.AccountTo(now_ - job_start_);
  static const sim::Trace* const kNothing = new sim::Trace;
  const sim::Trace& t = counters_cleared_ ? *kNothing : core_.trace();
  uint64_t cycles = 0;
  for (uint64_t c : t.classes[0]) cycles += c;
  Put64(regs::kCyclesLo, cycles);
  for (int q = 0; q < sim::kQueues; ++q)
    for (int c = 0; c < sim::kClasses; ++c) Put64(regs::Counter(q, c), t.classes[q][c]);
  Put64(regs::kReadBytesFetchLo, t.bytes[0]);
  Put64(regs::kReadBytesPrmLo, t.bytes[1]);
  Put64(regs::kReadBytesWgtLo, t.bytes[2]);
  Put64(regs::kReadBytesActLo, t.bytes[3]);
  Put64(regs::kWrittenBytesLo, t.bytes[4]);
  Put64(regs::kRetiredLo, t.retired);
}

void ModelDevice::EndJob() {
  const sim::FaultRecord& f = core_.trace().fault;
  if (f.cause == 0) {
    state_ = State::kDone;
    Word(regs::kIrqStatus) |= regs::kIrqStatusDone.mask();
    return;
  }
  state_ = State::kFaulted;
  Word(regs::kIrqStatus) |= regs::kIrqStatusFault.mask();
  Word(regs::kFaultCause) = f.cause;
  Word(regs::kFaultInstruction) = f.instruction & regs::kFaultInstructionIndex.mask();
  Word(regs::kFaultInstruction2) = f.second & regs::kFaultInstruction2Index.mask();
  Word(regs::kFaultAddressLo) = static_cast<uint32_t>(f.address);
  Word(regs::kFaultAddressHi) = static_cast<uint32_t>(f.address >> 32);
  Word(regs::kFaultContext) = Value(regs::kContext);
}

uint64_t ModelDevice::Run(uint64_t max_cycles) {
  const uint64_t begin = now_;
  const uint64_t limit = max_cycles > ~uint64_t{0} - now_ ? ~uint64_t{0} : now_ + max_cycles;
  while (now_ < limit && Busy() && !Interrupt()) {
    if (state_ == State::kResetting) {
      now_ = std::min(limit, reset_end_);
      if (now_ == reset_end_) state_ = State::kIdle;
      continue;
    }
    if (core_.running()) core_.RunTo(limit <= job_start_ ? 0 : limit - job_start_);
    if (core_.running()) {
      now_ = limit;
      break;
    }
    // A fault ends the job at once; after END the bus still delivers what fetch had asked for.
    const uint64_t over =
        job_start_ + (core_.trace().fault.cause == 0 ? core_.drained() : core_.trace().cycles);
    now_ = std::min(limit, over);
    if (now_ == over) EndJob();
  }
  return now_ - begin;
}

std::unique_ptr<sim::CoreDevice> MakeModelDevice(const sim::DeviceOptions& options) {
  return std::make_unique<ModelDevice>(options);
}

}  // namespace octile::systemc
