#include "octile/cosim/campaign.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "octile/program/window_order.h"

namespace octile::cosim {
namespace {

using isa::Class;
using isa::Fault;

constexpr int kLastFault = static_cast<int>(Fault::kFetchEnd);

// Classes a queue can be in (docs/timing.md section 9).
bool CanOccur(int queue, int class_id) {
  const auto c = static_cast<Class>(class_id);
  switch (static_cast<isa::Queue>(queue)) {
    case isa::Queue::kExe:
      return c != Class::kSpace && c != Class::kArb;
    case isa::Queue::kVec:
      return c != Class::kWeight && c != Class::kSlot && c != Class::kSpace && c != Class::kArb;
    case isa::Queue::kSto:
      return c != Class::kWeight && c != Class::kSlot && c != Class::kArb;
    default:
      return c != Class::kWeight && c != Class::kSlot;
  }
}

uint64_t AlignUp(uint64_t x, uint64_t to) { return (x + to - 1) / to * to; }

Status CheckExpectation(const RandomProgram& p, const Job& job, const Outcome& o) {
  const sim::FaultRecord& f = o.trace.fault;
  const auto name = [](uint32_t cause) { return isa::FaultName(static_cast<Fault>(cause)); };
  for (int q = 0; q < sim::kQueues; ++q) {
    uint64_t sum = 0;
    for (uint64_t c : o.trace.classes[q]) sum += c;
    if (sum != o.trace.cycles)
      return Fail(ErrorCode::kMismatch,
                  fmt::format("{}: classes of queue {} add up to {} of {} cycles", o.device, q, sum,
                              o.trace.cycles));
  }
  if (!p.fault) {
    if (f.cause == 0) return {};
    return Fail(ErrorCode::kMismatch,
                fmt::format("{}: a valid program ended with fault {} of instruction {} (second {}, "
                            "address {:#x}, cycle {})",
                            o.device, name(f.cause), f.instruction, f.second, f.address, f.cycle));
  }
  uint64_t address = p.fault->address;
  if (p.fault->base_region >= 0) address += job.regions[p.fault->base_region].base;
  if (f.cause == static_cast<uint32_t>(p.fault->cause) && f.instruction == p.fault->instruction &&
      f.second == p.fault->instruction2 && f.address == address)
    return {};
  return Fail(ErrorCode::kMismatch,
              fmt::format("{}: fault {} of instruction {} (second {}, address {:#x}) where {} of "
                          "{} (second {}, address {:#x}) was due",
                          o.device, name(f.cause), f.instruction, f.second, f.address,
                          isa::FaultName(p.fault->cause), p.fault->instruction,
                          p.fault->instruction2, address));
}

}  // namespace

Job MakeJob(const RandomProgram& program, const sim::MemoryProfile& base, uint64_t seed) {
  Job job;
  job.program = program.instructions;
  job.program_region = program.program_region;
  job.program_offset = program.program_offset;
  job.watchdog = program.watchdog;
  uint64_t at = 4096;
  for (size_t r = 0; r < program.regions.size() && r < job.regions.size(); ++r) {
    const RandomRegion& from = program.regions[r];
    RegionWindow& to = job.regions[r];
    to.base = from.unmapped ? (uint64_t{1} << 38) + r * (uint64_t{1} << 33) : at;
    to.limit = static_cast<uint32_t>(from.extent.limit);
    to.read = from.extent.read;
    to.write = from.extent.write;
    to.execute = from.extent.execute;
    if (from.unmapped) continue;
    job.memory.resize(at + AlignUp(from.extent.limit, 256));
    std::copy(from.data.begin(), from.data.end(), job.memory.begin() + static_cast<int64_t>(at));
    at = AlignUp(job.memory.size(), 4096);
  }
  // Room for the program and what a mutant adds to it.
  const RegionWindow& home = job.regions[job.program_region];
  job.memory.resize(std::max<size_t>(
      job.memory.size(),
      home.base + job.program_offset + (job.program.size() + 8) * isa::kInstructionBytes));
  job.profile = base;
  job.profile.seed = seed;
  if (seed % 4 == 0) return job;
  std::mt19937_64 random(seed * 0x9e3779b97f4a7c15ull);
  const auto draw = [&](uint32_t limit) { return static_cast<uint32_t>(random() % (limit + 1)); };
  job.profile.read_latency = draw(3) == 0 ? 1 + draw(8) : 1 + draw(220);
  job.profile.write_latency = draw(3) == 0 ? 1 + draw(4) : 1 + draw(120);
  job.profile.beat_interval = draw(2) == 0 ? 1 + draw(3) : 1;
  job.profile.jitter = draw(1) ? draw(90) : 0;
  job.profile.ready_jitter = draw(1) ? draw(12) : 0;
  job.profile.refresh_period = draw(2) == 0 ? 200 + draw(3000) : 0;
  job.profile.refresh_cycles =
      job.profile.refresh_period == 0 ? 0 : 1 + draw(job.profile.refresh_period / 3);
  return job;
}

namespace {

// Moves an operand of a WIN or what it claims, so that accesses fall outside the claim, or gives it
// another shape.
void MutateWindow(isa::Win* win, std::mt19937_64* random) {
  const auto below = [&](int n) {
    return static_cast<int32_t>((*random)() % static_cast<uint64_t>(n));
  };
  const bool out = below(2) == 0;
  int32_t& address = out ? win->out_addr : win->in_addr;
  int32_t& bank = out ? win->out_bank : win->in_bank;
  int32_t& banks = out ? win->out_banks : win->in_banks;
  switch (below(4)) {
    case 0:
      win->kh = 1 + below(6);
      win->kw = 1 + below(6);
      win->stride_y = 1 + below(3);
      win->stride_x = 1 + below(3);
      win->mh = 1 + below(20);
      win->mw = 1 + below(12);
      win->in_ky_step = below(win->in_wrap == 0 ? 200 : win->in_wrap);
      win->in_oy_step = win->stride_y * win->in_ky_step;
      if (win->in_wrap != 0) win->in_oy_step %= win->in_wrap;
      break;
    case 1:
      address = (address + below(601) - 300) & 0xffff;
      break;
    case 2:
      banks = std::max(0, banks - 1);
      break;
    default:
      bank = (bank + 1) & 31;
      banks = std::max(0, banks - 1);
      break;
  }
}

}  // namespace

void Mutate(Job* job, uint64_t seed) {
  std::mt19937_64 random(seed * 0xd1342543de82ef95ull + 1);
  const auto below = [&](uint64_t n) { return random() % n; };
  auto& program = job->program;
  std::vector<size_t> windows;
  for (size_t i = 0; i < program.size(); ++i)
    if (isa::OpcodeBits(program[i]) == static_cast<int>(isa::Opcode::kWin)) windows.push_back(i);
  // Only this, as long as the others find it valid: the fault comes from nothing else.
  if (!windows.empty() && below(4) == 0) {
    isa::Instruction& i = program[windows[below(windows.size())]];
    auto win = std::get<isa::Win>(*isa::Decode(i));
    MutateWindow(&win, &random);
    i = isa::Encode(win);
    return;
  }
  const auto any = [&]() -> isa::Instruction& { return program[below(program.size())]; };
  const int changes = 1 + static_cast<int>(below(3));
  for (int c = 0; c < changes && !program.empty(); ++c) {
    switch (below(10)) {
      case 0:
        std::swap(any(), any());
        break;
      case 1:
        program.erase(program.begin() + static_cast<int64_t>(below(program.size())));
        break;
      case 2: {
        const isa::Instruction copy = any();
        program.insert(program.begin() + static_cast<int64_t>(below(program.size())), copy);
        break;
      }
      case 3:
        job->watchdog = static_cast<uint32_t>(20 + below(600));
        break;
      case 4:
        (below(2) == 0 ? job->read_error : job->write_error) = below(30);
        break;
      default: {
        isa::Instruction& i = any();
        const isa::FormatInfo* format = isa::FindFormat(isa::OpcodeBits(i));
        if (format == nullptr || format->fields.size() < 2) break;
        const isa::FieldInfo& field = format->fields[1 + below(format->fields.size() - 1)];
        const int64_t old = isa::GetField(i, field);
        int64_t value = 0;
        switch (below(4)) {
          case 0:
            value = old + 1;
            break;
          case 1:
            value = old - 1;
            break;
          case 2:
            value = old ^ (int64_t{1} << below(field.width));
            break;
          default:
            value = static_cast<int64_t>(random());
            break;
        }
        // Mostly legal values, or nothing but ILLEGAL would come out.
        if (below(12) != 0 && (value < field.min || value > field.max))
          value = field.min +
                  static_cast<int64_t>(below(
                      static_cast<uint64_t>(std::min<int64_t>(field.max - field.min, 40)) + 1));
        isa::SetField(i, field, value);
        break;
      }
    }
  }
}

namespace {

enum class Kind { kValid, kFaulty, kMutant };

// Depends on the seed alone, so that one seed repeats one program.
Kind KindOf(const CampaignOptions& o, uint64_t seed) {
  if (o.fault_every != 0 && seed % o.fault_every == 0) return Kind::kFaulty;
  if (o.mutant_every != 0 && seed % o.mutant_every == 0) return Kind::kMutant;
  return Kind::kValid;
}

void CountWindow(const isa::Win& win, Coverage* coverage) {
  if (!WorksByColumns(win)) {
    ++coverage->windows[0];
    return;
  }
  const int group = (8 - win.kh) / win.stride_y + 1;
  ++coverage->windows[static_cast<size_t>((win.kh * win.kw + 8) / 9)];
  coverage->column_stride2 += win.stride_y == 2;
  coverage->column_circular += win.in_wrap != 0;
  coverage->column_rest += win.mh > group && win.mh % group != 0;
  coverage->column_groups += win.mh > group || win.blocks > 1;
}

void CountPack(const ArchConfig& arch, const isa::Pack& pack, Coverage* coverage) {
  ++coverage->packs[static_cast<size_t>(pack.stride_x)];
  bool longer = false;
  bool divided = false;
  for (int row = 0; row < pack.kh * pack.planes; ++row)
    for (int kx = 0, lanes = 0; kx < pack.kw; kx += lanes) {
      lanes = std::min(pack.kw - kx, arch.n - (row * pack.kw + kx) % arch.n);
      longer |= lanes > pack.stride_x + 1;
      divided |= lanes < pack.kw;
    }
  coverage->pack_longer += longer;
  coverage->pack_divided += divided;
}

void Count(const ArchConfig& arch, const Job& job, const Outcome& o, Coverage* coverage) {
  coverage->cycles += o.trace.cycles;
  for (size_t i = 0; i < job.program.size(); ++i)
    if (o.trace.completion[i] != sim::kNever || isa::OpcodeBits(job.program[i]) == 1) {
      ++coverage->opcodes[isa::OpcodeBits(job.program[i])];
      ++coverage->instructions;
      if (isa::OpcodeBits(job.program[i]) == static_cast<int>(isa::Opcode::kWin))
        CountWindow(std::get<isa::Win>(*isa::Decode(job.program[i])), coverage);
      if (isa::OpcodeBits(job.program[i]) == static_cast<int>(isa::Opcode::kPack))
        CountPack(arch, std::get<isa::Pack>(*isa::Decode(job.program[i])), coverage);
      if (isa::OpcodeBits(job.program[i]) == static_cast<int>(isa::Opcode::kElt))
        ++coverage->elements[static_cast<size_t>(
            std::get<isa::Elt>(*isa::Decode(job.program[i])).mode)];
    }
  const sim::FaultRecord& fault = o.trace.fault;
  if (fault.cause != 0) ++coverage->faults[fault.cause];
  if (fault.cause == static_cast<uint32_t>(Fault::kClaim) &&
      isa::OpcodeBits(job.program[fault.instruction]) == static_cast<int>(isa::Opcode::kWin)) {
    const auto win = std::get<isa::Win>(*isa::Decode(job.program[fault.instruction]));
    const auto first = FirstOutsideClaim(arch, win);
    if (WorksByColumns(win) && first) ++coverage->column_claims[first->output ? 1 : 0];
  }
  for (int q = 0; q < sim::kQueues; ++q)
    for (int c = 0; c < sim::kClasses; ++c) coverage->classes[q][c] += o.trace.classes[q][c];
}

Status RunOne(const ArchConfig& arch, const sim::MemoryProfile& base,
              std::vector<Contender>& contenders, const CampaignOptions& options, uint64_t seed,
              Coverage* coverage) {
  const Kind kind = KindOf(options, seed);
  const RandomProgram p =
      kind == Kind::kFaulty
          ? MakeFaultyProgram(arch, seed,
                              static_cast<Fault>(1 + seed / options.fault_every % kLastFault),
                              options.program)
          : MakeRandomProgram(arch, seed, options.program);
  Job job = MakeJob(p, base, seed);
  if (kind == Kind::kMutant) Mutate(&job, seed);
  // Every fourth job follows another one without a reset between them; after a mutant tiles may be
  // left in the ring.
  std::optional<Job> before;
  if (seed % 4 == 1) {
    const uint64_t other = seed + (uint64_t{1} << 32);
    before = MakeJob(MakeRandomProgram(arch, other, options.program), base, other);
    if (kind == Kind::kMutant) Mutate(&*before, other);
  }
  std::optional<Outcome> first;
  for (Contender& c : contenders) {
    if (!c.exact && (kind == Kind::kMutant || (p.fault && p.fault->cause == Fault::kWatchdog)))
      continue;
    const uint64_t limit = kind == Kind::kMutant ? options.max_mutant_cycles : options.max_cycles;
    job.reset = true;
    if (before) {
      OCTILE_ASSIGN_OR_RETURN(const Outcome b, RunJob(*c.device, c.name, *before, limit));
      job.reset = !b.ended || b.trace.fault.cause != 0;
    }
    OCTILE_ASSIGN_OR_RETURN(Outcome o, RunJob(*c.device, c.name, job, limit));
    if (!o.ended && kind != Kind::kMutant)
      return Fail(ErrorCode::kDevice,
                  fmt::format("{}: the job did not end within {} cycles", c.name, limit));
    if (first) {
      // Register accesses take a device time of its own, so a limit need not hit all of them; near
      // it nothing is compared.
      if (!o.ended)
        return Fail(ErrorCode::kMismatch,
                    fmt::format("{} ends, {} does not", first->device, c.name));
      const Depth depth = !c.exact                ? Depth::kFunctional
                          : kind == Kind::kMutant ? Depth::kTimingOnly
                                                  : Depth::kTiming;
      if (auto d = FirstDivergence(job, *first, o, depth)) return Fail(ErrorCode::kMismatch, *d);
      continue;
    }
    if (kind != Kind::kMutant) OCTILE_RETURN_IF_ERROR(CheckExpectation(p, job, o));
    if (!o.ended || o.trace.cycles + 10'000 > limit) {
      if (coverage != nullptr) ++coverage->endless;
      return {};
    }
    first = std::move(o);
  }
  if (first && coverage != nullptr) {
    ++(kind == Kind::kFaulty   ? coverage->faulty
       : kind == Kind::kMutant ? coverage->mutants
                               : coverage->programs);
    Count(arch, job, *first, coverage);
  }
  return {};
}

}  // namespace

Status RunCampaign(const ArchConfig& arch, const sim::MemoryProfile& base,
                   std::vector<Contender>& contenders, const CampaignOptions& options,
                   Coverage* coverage, const std::function<void(uint64_t)>& progress) {
  for (uint64_t k = 0; k < options.programs; ++k) {
    const uint64_t seed = options.first_seed + k;
    if (Status s = RunOne(arch, base, contenders, options, seed, coverage); !s)
      return Fail(s.error().code, fmt::format("seed {}: {} (repeat with --seed {} --programs 1)",
                                              seed, s.error().message, seed));
    if (progress) progress(k + 1);
  }
  return {};
}

std::vector<std::string> Coverage::Missing() const {
  std::vector<std::string> missing;
  for (const isa::FormatInfo& f : isa::Formats())
    if (opcodes[static_cast<int>(f.opcode)] == 0)
      missing.push_back("opcode " + std::string(f.name));
  for (int f = 1; f <= kLastFault; ++f)
    if (faults[f] == 0)
      missing.push_back("fault " + std::string(isa::FaultName(static_cast<Fault>(f))));
  for (size_t mode = 0; mode < elements.size(); ++mode)
    if (elements[mode] == 0) missing.push_back(fmt::format("ELT with mode {}", mode));
  if (windows[0] == 0) missing.push_back("WIN tap by tap");
  for (size_t g = 1; g < windows.size(); ++g)
    if (windows[g] == 0)
      missing.push_back(fmt::format("WIN by columns with {} cycles for a result", g));
  for (const auto& [count, what] : {std::pair{column_stride2, "with stride 2"},
                                    {column_circular, "with circular rows"},
                                    {column_rest, "with a smaller last group"},
                                    {column_groups, "of several groups"},
                                    {column_claims[0], "that reads outside its claim"},
                                    {column_claims[1], "that writes outside its claim"}})
    if (count == 0) missing.push_back(fmt::format("WIN by columns {}", what));
  for (size_t stride = 1; stride < packs.size(); ++stride)
    if (packs[stride] == 0) missing.push_back(fmt::format("PACK with stride {}", stride));
  if (pack_longer == 0) missing.push_back("PACK with a lane group longer than stride_x + 1");
  if (pack_divided == 0) missing.push_back("PACK with a kernel row in two blocks");
  for (int q = 0; q < sim::kQueues; ++q)
    for (int c = 0; c < sim::kClasses; ++c)
      if (CanOccur(q, c) && classes[q][c] == 0)
        missing.push_back(fmt::format("class {} of {}", isa::ClassName(static_cast<Class>(c)),
                                      isa::QueueName(static_cast<isa::Queue>(q))));
  return missing;
}

std::string Coverage::Report() const {
  std::string s = fmt::format(
      "{} valid programs, {} faulty ones, {} mutants ({} given up): {} instructions completed, {} "
      "cycles\n",
      programs, faulty, mutants, endless, instructions, cycles);
  s += "opcodes:";
  for (const isa::FormatInfo& f : isa::Formats())
    s += fmt::format(" {} {}", f.name, opcodes[static_cast<int>(f.opcode)]);
  s += "\nfaults:";
  for (int f = 1; f <= kLastFault; ++f)
    s += fmt::format(" {} {}", isa::FaultName(static_cast<Fault>(f)), faults[f]);
  s += fmt::format(
      "\nWIN: {} tap by tap; by columns {} with 1, {} with 2, {} with 3 cycles for a result, of "
      "them "
      "{} with stride 2, {} with circular rows, {} of several groups, {} with a smaller last one; "
      "CLAIM of {} reads, {} results by columns",
      windows[0], windows[1], windows[2], windows[3], column_stride2, column_circular,
      column_groups, column_rest, column_claims[0], column_claims[1]);
  s += fmt::format(
      "\nPACK: {} with stride 1, {} with 2, {} with 3, {} with 4; {} with a lane group longer than "
      "stride_x + 1, {} with a kernel row in two blocks",
      packs[1], packs[2], packs[3], packs[4], pack_longer, pack_divided);
  s += fmt::format("\nELT: {} COPY, {} ADD, {} MUL, {} AFFINE", elements[0], elements[1],
                   elements[2], elements[3]);
  s += "\ncycles of each queue by class:\n     ";
  for (int c = 0; c < sim::kClasses; ++c)
    s += fmt::format("{:>11}", isa::ClassName(static_cast<Class>(c)));
  for (int q = 0; q < sim::kQueues; ++q) {
    s += fmt::format("\n{:<5}", isa::QueueName(static_cast<isa::Queue>(q)));
    for (int c = 0; c < sim::kClasses; ++c)
      s += CanOccur(q, c) ? fmt::format("{:>11}", classes[q][c]) : fmt::format("{:>11}", "-");
  }
  return s + "\n";
}

}  // namespace octile::cosim
