#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <initializer_list>

#include "octile/driver/program_handle.h"
#include "octile/program/verifier.h"
#include "src/device_impl.h"

namespace octile::driver {

ProgramHandle::ProgramHandle() = default;
ProgramHandle::~ProgramHandle() = default;
ProgramHandle::ProgramHandle(const ProgramHandle&) = default;
ProgramHandle& ProgramHandle::operator=(const ProgramHandle&) = default;
ProgramHandle::ProgramHandle(ProgramHandle&&) noexcept = default;
ProgramHandle& ProgramHandle::operator=(ProgramHandle&&) noexcept = default;

int ProgramHandle::region_count() const {
  return impl_ == nullptr ? 0 : static_cast<int>(impl_->regions.size());
}

uint32_t ProgramHandle::instruction_count() const {
  return impl_ == nullptr ? 0 : impl_->instructions;
}

Result<Buffer> ProgramHandle::region(int index) const {
  if (impl_ == nullptr) return Fail(Code::kStale, "the program handle is empty");
  if (index < 0 || index >= region_count())
    return Fail(Code::kInvalidArgument,
                fmt::format("region {} of a program with {}", index, region_count()));
  const std::lock_guard lock(impl_->mutex);
  return impl_->buffers[static_cast<size_t>(index)];
}

Result<void> ProgramHandle::Bind(int index, const Buffer& buffer) const {
  if (impl_ == nullptr) return Fail(Code::kStale, "the program handle is empty");
  if (index < 0 || index >= region_count())
    return Fail(Code::kInvalidArgument,
                fmt::format("region {} of a program with {}", index, region_count()));
  const Region& region = impl_->regions[static_cast<size_t>(index)];
  if (region.execute)
    return Fail(Code::kInvalidArgument,
                fmt::format("region {} '{}' holds verified instructions and keeps its buffer",
                            index, region.name));
  if (buffer.sealed())
    return Fail(Code::kInvalidArgument,
                fmt::format("region {} '{}': the buffer holds verified instructions of a program",
                            index, region.name));
  auto map = buffer.Map();
  if (!map) return tl::unexpected(map.error());
  const std::span<uint8_t> memory = impl_->device->memory();
  if (map->data() < memory.data() || map->data() + map->size() > memory.data() + memory.size())
    return Fail(Code::kInvalidArgument,
                fmt::format("region {} '{}': the buffer belongs to another device than '{}'", index,
                            region.name, impl_->device->uri()));
  if (buffer.device_address() % 256 != 0)
    return Fail(
        Code::kInvalidArgument,
        fmt::format("region {} '{}': the buffer is not aligned to 256 bytes", index, region.name));
  if (buffer.bytes() < region.size)
    return Fail(Code::kInvalidArgument,
                fmt::format("region {} '{}' has {} bytes, the buffer only {}", index, region.name,
                            region.size, buffer.bytes()));
  const std::lock_guard lock(impl_->mutex);
  impl_->buffers[static_cast<size_t>(index)] = buffer;
  return {};
}

Result<ProgramHandle> DeviceImpl::Load(const Program& program, const LoadOptions& options) {
  if (auto open = CheckOpen(); !open) return tl::unexpected(open.error());
  if (auto verified = CheckProgram(program, capabilities_, options.verify); !verified)
    return tl::unexpected(verified.error());
  auto impl = std::make_shared<ProgramHandle::Impl>();
  impl->device = shared_from_this();
  impl->instructions = static_cast<uint32_t>(program.instructions.size());
  impl->watchdog_cycles = WatchdogCycles(program);
  for (const PlanItem& item : program.plan)
    if (item.kind == PlanKind::kDevice) impl->plan.push_back(item);
  for (size_t r = 0; r < program.regions.size(); ++r) {
    const Region& region = program.regions[r];
    auto buffer = Allocate(std::max<uint64_t>(region.size, 1));
    if (!buffer)
      return Fail(buffer.error().code,
                  fmt::format("region {} '{}': {}", r, region.name, buffer.error().message));
    if (auto written = buffer->Write(0, region.data); !written)
      return tl::unexpected(written.error());
    if (region.kind == RegionKind::kProgram) {
      impl->code_region = static_cast<int>(r);
      const auto* bytes = reinterpret_cast<const uint8_t*>(program.instructions.data());
      auto written =
          buffer->Write(0, {bytes, program.instructions.size() * sizeof(isa::Instruction)});
      if (!written) return tl::unexpected(written.error());
      Seal(*buffer);
    }
    impl->buffers.push_back(std::move(*buffer));
    Region& kept = impl->regions.emplace_back();
    kept.kind = region.kind;
    kept.name = region.name;
    kept.size = region.size;
    kept.read = region.read;
    kept.write = region.write;
    kept.execute = region.execute;
  }
  ProgramHandle handle;
  handle.impl_ = std::move(impl);
  return handle;
}

uint32_t WatchdogCycles(const Program& program) {
  // The vector unit gives no sign of progress between issue and completion of an instruction. Not
  // its exact time (docs/timing.md section 8), but never less, and as nothing compared with the
  // time of a person who waits.
  uint64_t most = 0;
  const auto take = [&](uint64_t factor, std::initializer_list<int> counts) {
    for (const int count : counts) {
      factor *= static_cast<uint64_t>(count);
      if (factor >> 32 != 0) factor = uint64_t{1} << 32;
    }
    most = std::max(most, factor);
  };
  for (const isa::Instruction& instruction : program.instructions) {
    const auto op = isa::Decode(instruction);
    if (!op) continue;
    if (const auto* win = std::get_if<isa::Win>(&*op)) {
      take(4, {win->blocks, win->mh, win->mw, win->kh, win->kw});
    } else if (const auto* elt = std::get_if<isa::Elt>(&*op)) {
      take(4, {elt->blocks, elt->mh, elt->mw});
    } else if (const auto* pack = std::get_if<isa::Pack>(&*op)) {
      const int n = program.arch.n;
      // As if no lane shared its reads with others: a bound.
      take(4, {pack->kh * pack->kw * pack->planes / n + 1, pack->mh, pack->mw / n + 1, n,
               pack->stride_x + 1});
    }
  }
  // What the register cannot hold: off.
  most = std::max<uint64_t>(most, 1'000'000);
  return most >> 32 != 0 ? 0 : static_cast<uint32_t>(most);
}

Result<void> CheckProgram(const Program& program, const Capabilities& capabilities, bool verify) {
  if (program.isa_version >> 16 != capabilities.isa_version >> 16 ||
      program.isa_version > capabilities.isa_version)
    return Fail(Code::kIncompatible,
                fmt::format("the program is for instruction set {}.{}, the device has {}.{}",
                            program.isa_version >> 16, program.isa_version & 0xffff,
                            capabilities.isa_version >> 16, capabilities.isa_version & 0xffff));
  if (program.arch_hash() != capabilities.arch_hash)
    return Fail(
        Code::kIncompatible,
        fmt::format("the program is for architecture {:016x} ({}), the device is {:016x} ({})",
                    program.arch_hash(), ArchText(program.arch), capabilities.arch_hash,
                    ArchText(capabilities.arch)));
  if (auto valid = ValidateProgram(program); !valid)
    return Fail(Code::kProgramRejected, valid.error().message);
  int code_regions = 0;
  for (const Region& region : program.regions) {
    if (region.kind != RegionKind::kProgram) continue;
    ++code_regions;
    if (region.write || !region.execute)
      return Fail(
          Code::kProgramRejected,
          fmt::format("region '{}' holds instructions and must be executable and not writable",
                      region.name));
    if (region.size < program.instructions.size() * sizeof(isa::Instruction))
      return Fail(Code::kProgramRejected,
                  fmt::format("region '{}' of {} bytes does not hold {} instructions", region.name,
                              region.size, program.instructions.size()));
  }
  if (code_regions != 1)
    return Fail(Code::kProgramRejected,
                fmt::format("the program has {} regions with instructions, not one", code_regions));
  if (program.instructions.empty())
    return Fail(Code::kProgramRejected, "the program has no instructions");
  if (!verify) return {};
  // A program without a plan is one job.
  const Status valid = program.plan.empty()
                           ? Verify(program.arch, program.instructions, ExtentsOf(program))
                           : octile::VerifyProgram(program);
  if (!valid) return Fail(Code::kProgramRejected, valid.error().message);
  return {};
}

}  // namespace octile::driver
