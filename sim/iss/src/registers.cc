#include "registers.h"

#include <algorithm>

namespace octile::sim::iss {
namespace {

const regs::RegisterInfo* Find(uint32_t offset) {
  const uint32_t address = offset & ~3u;
  const auto* it =
      std::lower_bound(std::begin(regs::kRegisters), std::end(regs::kRegisters), address,
                       [](const regs::RegisterInfo& info, uint32_t a) { return info.address < a; });
  return it != std::end(regs::kRegisters) && it->address == address ? it : nullptr;
}

}  // namespace

RegisterFile::RegisterFile(const CoreConfig& c) {
  for (const regs::RegisterInfo& info : regs::kRegisters) words_[info.address] = info.reset;
  Set64(regs::kArchHashLo, c.arch_hash);
  Set(regs::kCap0, regs::kCap0N.make(c.n) | regs::kCap0WeightRows.make(c.weight_rows) |
                       regs::kCap0Banks.make(c.banks));
  Set(regs::kCap1, regs::kCap1BankDepth.make(c.bank_depth));
  Set(regs::kCap2, regs::kCap2RingTiles.make(c.ring_tiles));
  Set(regs::kCap3, regs::kCap3AccDepth.make(c.acc_depth) | regs::kCap3Psets.make(c.psets));
  Set(regs::kCap4, regs::kCap4Wrows.make(c.wrows));
  Set(regs::kCap5,
      regs::kCap5ReadBursts.make(c.read_bursts) | regs::kCap5WriteBursts.make(c.write_bursts));
}

void RegisterFile::Set64(uint32_t low, uint64_t value) {
  Set(low, static_cast<uint32_t>(value));
  Set(low + 4, static_cast<uint32_t>(value >> 32));
}

bool RegisterFile::busy() const {
  return (Get(regs::kStatus) & (regs::kStatusRunning.mask() | regs::kStatusResetting.mask())) != 0;
}

bool RegisterFile::Read(uint32_t offset, uint32_t* value) const {
  const regs::RegisterInfo* info = Find(offset);
  *value = 0;
  if (info == nullptr) return false;
  if (info->access != regs::Access::kW1s) *value = Get(info->address);
  return true;
}

bool RegisterFile::Write(uint32_t offset, uint32_t value) {
  const regs::RegisterInfo* info = Find(offset);
  if (info == nullptr || info->access == regs::Access::kRo || (info->locked && busy()))
    return false;
  uint32_t& word = words_.at(info->address);
  if (info->access == regs::Access::kRw) word = value & info->mask;
  if (info->access == regs::Access::kW1c) word &= ~value;
  return true;
}

void RegisterFile::SoftReset() {
  for (const regs::RegisterInfo& info : regs::kRegisters)
    if (info.soft_clear) Set(info.address, info.reset);
}

void RegisterFile::Snapshot(const Trace& trace) {
  Set64(regs::kCyclesLo, trace.cycles);
  for (int queue = 0; queue < kQueues; ++queue)
    for (int c = 0; c < kClasses; ++c) Set64(regs::Counter(queue, c), trace.classes[queue][c]);
  constexpr uint32_t kBytes[kPorts] = {regs::kReadBytesFetchLo, regs::kReadBytesPrmLo,
                                       regs::kReadBytesWgtLo, regs::kReadBytesActLo,
                                       regs::kWrittenBytesLo};
  for (int port = 0; port < kPorts; ++port) Set64(kBytes[port], trace.bytes[port]);
  Set64(regs::kRetiredLo, trace.retired);
}

void RegisterFile::SetFault(const FaultRecord& fault) {
  Set(regs::kFaultCause, fault.cause);
  Set(regs::kFaultInstruction, regs::kFaultInstructionIndex.make(fault.instruction));
  Set(regs::kFaultInstruction2, regs::kFaultInstruction2Index.make(fault.second));
  Set64(regs::kFaultAddressLo, fault.address);
  Set(regs::kFaultContext, fault.cause == 0 ? 0 : Get(regs::kContext));
}

}  // namespace octile::sim::iss
