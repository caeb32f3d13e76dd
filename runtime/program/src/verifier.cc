#include "octile/program/verifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <deque>

#include "octile/program/access.h"
#include "octile/program/assembler.h"

namespace octile {
namespace {

using isa::Instruction;
using isa::Queue;

constexpr int kQ = isa::kQueues;
constexpr int kPrm = static_cast<int>(Queue::kPrm);
constexpr int kWgt = static_cast<int>(Queue::kWgt);
constexpr int kAct = static_cast<int>(Queue::kAct);
constexpr int kExe = static_cast<int>(Queue::kExe);
constexpr int kVec = static_cast<int>(Queue::kVec);
constexpr int kSto = static_cast<int>(Queue::kSto);
// What PROGRAM_COUNT holds.
constexpr int64_t kMaxInstructions = (int64_t{1} << 24) - 1;
// Bounds the time, in units of about a nanosecond (what a vector costs that a stream passes), for
// programs that are large without need, or that touch the same data absurdly often: a second, and
// some time for every instruction. ResNet-50 needs a twentieth of the first, and for an instruction
// an eighth of the second. The other constants say how many units a step of another kind takes.
constexpr uint64_t kMaxWork = uint64_t{1} << 30;
constexpr uint64_t kMaxWorkOfInstruction = uint64_t{1} << 16;
constexpr uint64_t kWorkOfRow = 64;    // a row of a transfer: its range is made, sorted, merged
constexpr uint64_t kWorkOfStep = 16;   // a step of a stream's address arithmetic
constexpr uint64_t kWorkOfBurst = 8;   // a burst of LDW
constexpr uint64_t kWorkOfDomain = 4;  // a parameter whose value is looked at

uint64_t Budget(size_t instructions) { return kMaxWork + kMaxWorkOfInstruction * instructions; }

// For every queue, how many of its instructions are known to have issued and to have completed.
struct Clock {
  std::array<int32_t, kQ> issued{};
  std::array<int32_t, kQ> completed{};

  void Join(const Clock& other) {
    for (int q = 0; q < kQ; ++q) {
      issued[q] = std::max(issued[q], other.issued[q]);
      completed[q] = std::max(completed[q], other.completed[q]);
    }
  }
};

// Accesses of one queue to one memory region, in order.
struct MemoryAccess {
  int32_t instruction;
  uint64_t low, high;               // bounds
  std::vector<MemoryRange> ranges;  // sorted
};

class Verifier {
 public:
  Verifier(const ArchConfig& arch, std::span<const Instruction> program,
           std::span<const MemoryExtent> regions, uint64_t budget)
      : arch_(arch), program_(program), regions_(regions), budget_(budget) {}

  std::optional<Violation> Find() {
    if (!Decode() || !CheckSemaphoreQueues() || !Execute()) return violation_;
    return std::nullopt;
  }
  // What is left.
  uint64_t budget() const { return budget_; }

 private:
  struct Semaphore {
    int producer = -1;  // queue
    int consumer = -1;
    int64_t producer_example = -1, consumer_example = -1;
    std::vector<int32_t> waits;  // queue positions of the consumers, in order
    std::vector<Clock> signals;  // knowledge at each completed signal, in order
    size_t waited = 0;
  };
  struct Vector {
    int32_t writer = -1;
    std::array<int32_t, 3> reader{-1, -1, -1};  // last reader of EXE, VEC, STO
  };
  struct Parameter {
    int32_t writer = -1;
    int32_t reader = -1;  // EXE or VEC: every parameter memory serves one queue
    uint8_t checked = 0;  // for these domains, since it was written
  };
  // What an instruction takes a parameter for.
  enum Domain : uint8_t {
    kNoDomain = 0,
    kMultipliers = 1,
    kAddition = 2,
    kProduct = 4,
    kAffine = 8
  };

  std::string Name(int64_t i) const {
    return fmt::format("instruction {} [{}]", i, Disassemble(program_[static_cast<size_t>(i)]));
  }

  // Records the violation; returns false.
  bool Report(ViolationKind kind, int64_t instruction, std::string text, int64_t other = -1,
              uint64_t address = 0) {
    violation_ = {
        kind, instruction, other, address,
        fmt::format(
            "{} ({}): {}",
            instruction < static_cast<int64_t>(program_.size()) ? Name(instruction) : "program",
            ViolationKindName(kind), text)};
    return false;
  }

  bool Work(uint64_t amount, int64_t instruction) {
    if (amount <= budget_) {
      budget_ -= amount;
      return true;
    }
    budget_ = 0;
    return Report(ViolationKind::kTooLarge, instruction,
                  "the program touches more data than can be verified");
  }

  // Is the completion of `i` known at the issue of the instruction with this clock?
  bool Completed(int32_t i, const Clock& clock) const {
    return position_[static_cast<size_t>(i)] < clock.completed[queue_[static_cast<size_t>(i)]];
  }

  // --- What can be said of every instruction alone
  // -----------------------------------------------------------------

  bool Decode() {
    if (program_.empty())
      return Report(ViolationKind::kEnd, 0, "the program is empty; it must end in END");
    if (static_cast<int64_t>(program_.size()) > kMaxInstructions)
      return Report(ViolationKind::kTooLarge, 0,
                    fmt::format("more than {} instructions", kMaxInstructions));
    if (auto r = Validate(arch_); !r) return Report(ViolationKind::kOperand, 0, r.error().message);
    ops_.reserve(program_.size());
    std::array<int32_t, kQ> counts{};
    for (size_t i = 0; i < program_.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      if (const auto reason = isa::IllegalReason(program_[i]))
        return Report(ViolationKind::kIllegal, at, *reason);
      ops_.push_back(*isa::Decode(program_[i]));
      const bool end = std::holds_alternative<isa::End>(ops_.back());
      if (end != (i + 1 == program_.size()))
        return Report(ViolationKind::kEnd, at,
                      end ? "instructions follow END" : "the program does not end in END");
      const int queue = static_cast<int>(isa::QueueOf(program_[i]));
      queue_.push_back(static_cast<uint8_t>(queue));
      position_.push_back(end ? 0 : counts[queue]++);
      if (const auto reason = OperandReason(arch_, ops_.back()))
        return Report(ViolationKind::kOperand, at, *reason);
      if (!end && !CheckRegions(at)) return false;
    }
    return true;
  }

  bool CheckRegions(int64_t i) {
    const auto uses = MemoryOf(arch_, ops_[static_cast<size_t>(i)]);
    if (!uses)
      return Report(ViolationKind::kTooLarge, i, "the transfer has more rows than can be verified");
    for (const MemoryUse& use : *uses) {
      if (!Work(kWorkOfRow * use.steps, i)) return false;
      if (static_cast<size_t>(use.region) >= regions_.size())
        return Report(
            ViolationKind::kRegion, i,
            fmt::format("region {} does not exist, there are {}", use.region, regions_.size()), -1,
            use.ranges.empty() ? 0 : use.ranges[0].offset);
      const MemoryExtent& extent = regions_[static_cast<size_t>(use.region)];
      for (const MemoryRange& range : use.ranges)
        if (range.offset + range.bytes > extent.limit)
          return Report(
              ViolationKind::kRegion, i,
              fmt::format("bytes {:#x}..{:#x} are beyond the {:#x} bytes of region {}",
                          range.offset, range.offset + range.bytes - 1, extent.limit, use.region),
              -1, range.offset);
      if (use.write ? !extent.write : !extent.read)
        return Report(
            ViolationKind::kRegion, i,
            fmt::format("region {} may not be {}", use.region, use.write ? "written" : "read"), -1,
            use.ranges[0].offset);
      if (use.write && extent.execute)
        return Report(
            ViolationKind::kRace, i,
            fmt::format("writes region {}, from which instructions are fetched", use.region), -1,
            use.ranges[0].offset);
    }
    return true;
  }

  bool CheckSemaphoreQueues() {
    for (size_t i = 0; i < program_.size(); ++i) {
      const isa::Header& h = isa::HeaderOf(ops_[i]);
      const auto at = static_cast<int64_t>(i);
      const bool end = i + 1 == program_.size();
      for (const int32_t operand : {h.wait0, h.wait1, h.signal0, h.signal1})
        if (end && isa::HasSemaphore(operand))
          return Report(ViolationKind::kSemaphore, at, "END cannot wait or signal", -1,
                        static_cast<uint64_t>(isa::SemaphoreNumber(operand)));
      const int queue = queue_[i];
      for (const int32_t operand : {h.wait0, h.wait1}) {
        if (!isa::HasSemaphore(operand)) continue;
        const int number = isa::SemaphoreNumber(operand);
        Semaphore& s = semaphores_[number];
        if (s.consumer >= 0 && s.consumer != queue)
          return Report(
              ViolationKind::kSemaphore, at,
              fmt::format("waits for semaphore {} in queue {}, as does {} in another queue", number,
                          isa::QueueName(static_cast<Queue>(queue)), Name(s.consumer_example)),
              s.consumer_example, static_cast<uint64_t>(number));
        if (s.consumer < 0) {
          s.consumer = queue;
          s.consumer_example = at;
        }
        s.waits.push_back(position_[i]);
      }
      for (const int32_t operand : {h.signal0, h.signal1}) {
        if (!isa::HasSemaphore(operand)) continue;
        const int number = isa::SemaphoreNumber(operand);
        Semaphore& s = semaphores_[number];
        if (s.producer >= 0 && s.producer != queue)
          return Report(
              ViolationKind::kSemaphore, at,
              fmt::format("signals semaphore {} from queue {}, as does {} from another queue",
                          number, isa::QueueName(static_cast<Queue>(queue)),
                          Name(s.producer_example)),
              s.producer_example, static_cast<uint64_t>(number));
        if (s.producer < 0) {
          s.producer = queue;
          s.producer_example = at;
        }
      }
    }
    return true;
  }

  // --- The greedy run
  // ------------------------------------------------------------------------------------------------
  // Every step that can happen happens. Queues are FIFOs and every semaphore has one consumer
  // queue, so the set of instructions that ever complete does not depend on the order of steps: a
  // deadlock here is one under every timing.

  bool Execute() {
    vectors_.resize(0x10000);
    for (int m = 0; m < kParameterMemories; ++m)
      parameters_[m].resize(
          static_cast<size_t>(ParameterEntries(arch_, static_cast<ParameterMemory>(m))));
    accumulators_.resize(static_cast<size_t>(arch_.acc_depth));
    for (auto& stream : claims_) stream.fill(-1);
    for (auto& queue : memory_) queue.resize(regions_.size());
    const auto end = static_cast<int64_t>(program_.size()) - 1;
    int64_t next = 0;  // to dispatch
    for (;;) {
      bool moved = false;
      while (next < end && queues_[queue_[static_cast<size_t>(next)]].size() < isa::kQueueDepth) {
        queues_[queue_[static_cast<size_t>(next)]].push_back(static_cast<int32_t>(next));
        ++next;
        moved = true;
      }
      // Of those that can issue the earliest in the program, so that messages blame the later of
      // two instructions.
      int best = -1;
      for (int q = 0; q < kQ; ++q)
        if (!queues_[q].empty() && (best < 0 || queues_[q].front() < queues_[best].front()) &&
            CanIssue(q))
          best = q;
      if (best >= 0) {
        if (!Issue(best)) return false;
        moved = true;
      }
      if (!MoveTiles(&moved)) return false;
      if (!moved) break;
    }
    for (int q = 0; q < kQ; ++q)
      if (active_[q] >= 0 || !queues_[q].empty()) return ReportDeadlock(next);
    if (next < end) return ReportDeadlock(next);
    if (tile_position_ * arch_.n != loaded_beats_) {
      const int64_t left = loaded_beats_ / arch_.n - tile_position_;
      return Report(ViolationKind::kRing, end,
                    fmt::format("{} weight tiles are left in the ring (loaded {}, taken {}{})",
                                left, loaded_beats_ / arch_.n, tile_position_,
                                last_retained_ ? "; the last MMA keeps its tiles" : ""));
    }
    return true;
  }

  bool CanIssue(int q) const {
    if (active_[q] >= 0) return false;  // LDW and MMA alone stay active for more than a step
    const isa::Header& h = isa::HeaderOf(ops_[static_cast<size_t>(queues_[q].front())]);
    for (const int32_t operand : {h.wait0, h.wait1}) {
      if (!isa::HasSemaphore(operand)) continue;
      const Semaphore& s = semaphores_[isa::SemaphoreNumber(operand)];
      if (s.signals.size() <= s.waited) return false;
    }
    return true;
  }

  bool Issue(int q) {
    const int32_t i = queues_[q].front();
    queues_[q].pop_front();
    const isa::Operation& op = ops_[static_cast<size_t>(i)];
    const isa::Header& h = isa::HeaderOf(op);
    Clock clock = issue_clock_[q];
    for (const int32_t operand : {h.wait0, h.wait1}) {
      if (!isa::HasSemaphore(operand)) continue;
      Semaphore& s = semaphores_[isa::SemaphoreNumber(operand)];
      clock.Join(s.signals[s.waited++]);
    }
    // The vector unit runs one instruction at a time.
    if (h.fence || q == kVec || std::holds_alternative<isa::Sync>(op))
      clock.Join(completion_clock_[q]);
    if (!Check(i, q, clock)) return false;
    clock.issued[q] = position_[static_cast<size_t>(i)] + 1;
    issue_clock_[q] = clock;
    if (const auto* ldw = std::get_if<isa::Ldw>(&op)) {
      active_[q] = i;
      load_offset_ = ldw->offset;
      load_end_ = ldw->offset +
                  static_cast<uint64_t>(ldw->tiles) * static_cast<uint64_t>(arch_.tile_bytes());
      return true;
    }
    if (const auto* mma = std::get_if<isa::Mma>(&op)) {
      active_[q] = i;
      tiles_left_ = TilesOf(*mma);
      tile_next_ = tile_position_;
      if (tiles_left_ > arch_.ring_tiles && mma->retain)
        return Report(
            ViolationKind::kDeadlock, i,
            fmt::format("keeps {} tiles, the ring holds {}", tiles_left_, arch_.ring_tiles));
      return true;
    }
    return Complete(i, q);
  }

  bool Complete(int32_t i, int q) {
    completion_clock_[q].Join(issue_clock_[q]);
    completion_clock_[q].completed[q] = position_[static_cast<size_t>(i)] + 1;
    active_[q] = -1;
    const isa::Header& h = isa::HeaderOf(ops_[static_cast<size_t>(i)]);
    for (const int32_t operand : {h.signal0, h.signal1}) {
      if (!isa::HasSemaphore(operand)) continue;
      const int number = isa::SemaphoreNumber(operand);
      Semaphore& s = semaphores_[number];
      s.signals.push_back(completion_clock_[q]);
      // Waits that have issued before this signal under every timing; the others may come late.
      size_t waited = 0;
      if (s.consumer >= 0 && s.signals.size() > isa::kSemaphoreMax) {
        const int32_t issued = completion_clock_[q].issued[s.consumer];
        waited = static_cast<size_t>(std::lower_bound(s.waits.begin(), s.waits.end(), issued) -
                                     s.waits.begin());
      }
      if (s.signals.size() - waited > isa::kSemaphoreMax)
        return Report(ViolationKind::kSemaphore, i,
                      fmt::format("semaphore {} can reach {}, above its maximum {}", number,
                                  s.signals.size() - waited, isa::kSemaphoreMax),
                      -1, static_cast<uint64_t>(number));
    }
    return true;
  }

  // Lets the active LDW fetch whole bursts while the ring has room, and the active MMA take
  // complete tiles.
  bool MoveTiles(bool* moved) {
    const int64_t ring_beats = int64_t{arch_.ring_tiles} * arch_.n;
    if (active_[kWgt] >= 0) {
      while (load_offset_ < load_end_) {
        const uint64_t cut =
            std::min((load_offset_ / isa::kBurstBytes + 1) * isa::kBurstBytes, load_end_);
        const auto beats =
            static_cast<int64_t>((cut - load_offset_) / static_cast<uint64_t>(arch_.n));
        if (loaded_beats_ + beats - freed_beats_ > ring_beats) break;
        loaded_beats_ += beats;
        load_offset_ = cut;
        *moved = true;
        if (!Work(kWorkOfBurst, active_[kWgt])) return false;
      }
      if (!Work(1, active_[kWgt])) return false;
      if (load_offset_ == load_end_) {
        *moved = true;
        if (!Complete(active_[kWgt], kWgt)) return false;
      }
    }
    if (active_[kExe] >= 0) {
      const bool retain = std::get<isa::Mma>(ops_[static_cast<size_t>(active_[kExe])]).retain;
      const int64_t take = std::min(tiles_left_, loaded_beats_ / arch_.n - tile_next_);
      if (take > 0) {
        tiles_left_ -= take;
        tile_next_ += take;
        if (!retain) {
          tile_position_ = tile_next_;
          freed_beats_ = tile_position_ * arch_.n;
        }
        *moved = true;
      }
      if (tiles_left_ == 0) {
        *moved = true;
        last_retained_ = retain;
        if (!Complete(active_[kExe], kExe)) return false;
      }
    }
    return true;
  }

  bool ReportDeadlock(int64_t next) {
    // The head of the lowest-numbered queue stands for all; the others are listed behind it.
    int64_t first = -1;
    std::string text;
    for (int q = 0; q < kQ; ++q) {
      const int64_t i = active_[q] >= 0 ? active_[q] : queues_[q].empty() ? -1 : queues_[q].front();
      if (i < 0) continue;
      if (first < 0) first = i;
      std::string why;
      if (active_[q] >= 0 && q == kWgt) {
        why = fmt::format("waits for room in the ring ({} of {} tiles held)",
                          (loaded_beats_ - freed_beats_) / arch_.n, arch_.ring_tiles);
      } else if (active_[q] >= 0) {
        why = fmt::format("waits for weight tile {} (loaded are {})", tile_next_,
                          loaded_beats_ / arch_.n);
      } else {
        const isa::Header& h = isa::HeaderOf(ops_[static_cast<size_t>(i)]);
        for (const int32_t operand : {h.wait0, h.wait1}) {
          if (!isa::HasSemaphore(operand)) continue;
          const Semaphore& s = semaphores_[isa::SemaphoreNumber(operand)];
          if (s.signals.size() <= s.waited)
            why += fmt::format("{}waits for signal {} of semaphore {}", why.empty() ? "" : " and ",
                               s.waited + 1, isa::SemaphoreNumber(operand));
        }
      }
      text += fmt::format("; queue {}: instruction {} {}", isa::QueueName(static_cast<Queue>(q)), i,
                          why);
    }
    if (next + 1 < static_cast<int64_t>(program_.size()))
      text += fmt::format("; dispatch: instruction {} waits for room in queue {}", next,
                          isa::QueueName(static_cast<Queue>(queue_[static_cast<size_t>(next)])));
    return Report(ViolationKind::kDeadlock, first, "nothing can move" + text);
  }

  // --- Checks at issue
  // -------------------------------------------------------------------------------------------------
  // Instructions are visited in an order in which each comes after everything that must precede it.
  // So of two conflicting accesses the later visited one looks whether the earlier one's completion
  // is known to it.

  bool Check(int32_t i, int q, const Clock& clock) {
    const isa::Operation& op = ops_[static_cast<size_t>(i)];
    if (std::holds_alternative<isa::Sync>(op)) return true;
    auto streams = StreamsOf(arch_, op);
    if (!streams)
      return Report(ViolationKind::kTooLarge, i, "the streams have more rows than can be verified");
    for (const StreamUse& use : *streams)
      if (!Work(kWorkOfStep * use.steps, i) || !CheckClaim(i, use)) return false;
    if (!CheckConflicts(i, clock, *streams)) return false;
    for (const StreamUse& use : *streams)
      if (!IsWrite(use.stream) && !Read(i, q, clock, use)) return false;
    for (const StreamUse& use : *streams)
      if (IsWrite(use.stream) && !Write(i, q, clock, use, *streams)) return false;
    if (!CheckParameters(i, q, clock)) return false;
    if (!CheckMemory(i, q, clock)) return false;
    if (const auto* mma = std::get_if<isa::Mma>(&op)) return CheckAccumulators(i, *mma);
    return true;
  }

  bool CheckClaim(int32_t i, const StreamUse& use) {
    const uint32_t low = static_cast<uint32_t>(use.bank * arch_.bank_depth);
    const uint32_t high = static_cast<uint32_t>((use.bank + use.further + 1) *
                                                arch_.bank_depth);  // within the buffer: OPERAND
    for (const Run& run : use.runs) {
      if (run.first >= low && run.first + run.count <= high) continue;
      const uint32_t address = run.first >= low && run.first < high ? high : run.first;
      return Report(
          ViolationKind::kClaim, i,
          fmt::format(
              "stream {} touches vector {} (bank {}), it claims banks {}..{} (vectors {}..{})",
              StreamName(use.stream), address, address / static_cast<uint32_t>(arch_.bank_depth),
              use.bank, use.bank + use.further, low, high - 1),
          -1, address);
    }
    return true;
  }

  bool CheckConflicts(int32_t i, const Clock& clock, const std::vector<StreamUse>& streams) {
    for (const StreamUse& use : streams) {
      for (const StreamUse& own : streams) {
        if (own.stream <= use.stream || IsWrite(own.stream) != IsWrite(use.stream)) continue;
        if (own.bank <= use.bank + use.further && use.bank <= own.bank + own.further)
          return Report(ViolationKind::kConflict, i,
                        fmt::format("its streams {} and {} claim common banks ({}..{} and {}..{})",
                                    StreamName(use.stream), StreamName(own.stream), use.bank,
                                    use.bank + use.further, own.bank, own.bank + own.further),
                        i);
      }
      for (int s = 0; s < kStreams; ++s) {
        const auto stream = static_cast<StreamId>(s);
        if (stream == use.stream || IsWrite(stream) != IsWrite(use.stream)) continue;
        for (int b = use.bank; b <= use.bank + use.further; ++b) {
          const int32_t other = claims_[s][b];
          if (other >= 0 && !Completed(other, clock))
            return Report(ViolationKind::kConflict, i,
                          fmt::format("stream {} claims bank {}, which stream {} of {} claims, "
                                      "too, and nothing orders the two",
                                      StreamName(use.stream), b, StreamName(stream), Name(other)),
                          other, static_cast<uint64_t>(b));
        }
      }
    }
    // Claims of a stream come from one queue in order: when the last is complete, all are.
    for (const StreamUse& use : streams)
      for (int b = use.bank; b <= use.bank + use.further; ++b)
        claims_[static_cast<int>(use.stream)][b] = i;
    return true;
  }

  bool Race(int32_t i, int32_t other, std::string_view what, std::string_view unit,
            uint64_t address) {
    return Report(
        ViolationKind::kRace, i,
        fmt::format("{} {} {} of {}, and nothing orders the two", what, unit, address, Name(other)),
        other, address);
  }

  static int ReaderSlot(int q) { return q == kExe ? 0 : q == kVec ? 1 : 2; }

  bool Read(int32_t i, int q, const Clock& clock, const StreamUse& use) {
    const int slot = ReaderSlot(q);
    int32_t known = -1;  // a writer already found to be in order; neighbours mostly have the same
    for (const Run& run : use.runs) {
      if (!Work(run.count, i)) return false;
      for (uint32_t v = run.first; v < run.first + run.count; ++v) {
        Vector& vector = vectors_[v];
        if (vector.writer != known || known < 0) {
          if (vector.writer < 0)
            return Report(ViolationKind::kUninitialized, i,
                          fmt::format("stream {} reads vector {}, which nothing has written",
                                      StreamName(use.stream), v),
                          -1, v);
          if (!Completed(vector.writer, clock))
            return Race(i, vector.writer, fmt::format("stream {} reads", StreamName(use.stream)),
                        "result vector", v);
          known = vector.writer;
        }
        vector.reader[slot] = i;
      }
    }
    return true;
  }

  // An instruction may overwrite what it reads only position by position.
  bool InPlace(const isa::Operation& op, StreamId read) const {
    if (const auto* o = std::get_if<isa::Elt>(&op)) {
      const bool a = read == StreamId::kVecA;
      const auto same = [&](int addr, int row0, int step, int wrap, int blk, int x) {
        return addr == o->out_addr && row0 == o->out_row0 &&
               (o->mh == 1 || (step == o->out_row_step && wrap == o->out_wrap)) &&
               (o->blocks == 1 || blk == o->out_blk_stride) && (o->mw == 1 || x == o->out_x_step);
      };
      return a ? same(o->a_addr, o->a_row0, o->a_row_step, o->a_wrap, o->a_blk_stride, o->a_x_step)
               : same(o->b_addr, o->b_row0, o->b_row_step, o->b_wrap, o->b_blk_stride, o->b_x_step);
    }
    if (const auto* o = std::get_if<isa::Mma>(&op))
      return read == StreamId::kExeRes && o->res_addr == o->out_addr &&
             o->res_row0 == o->out_row0 &&
             (o->mh == 1 || (o->res_row_step == o->out_row_step && o->res_wrap == o->out_wrap));
    return false;
  }

  bool Write(int32_t i, int q, const Clock& clock, const StreamUse& use,
             const std::vector<StreamUse>& streams) {
    const isa::Operation& op = ops_[static_cast<size_t>(i)];
    for (const Run& run : use.runs) {
      if (!Work(run.count, i)) return false;
      for (uint32_t v = run.first; v < run.first + run.count; ++v) {
        Vector& vector = vectors_[v];
        if (vector.writer == i) {
          repeated_ = i;
          twice_ = v;
          continue;
        }
        if (vector.writer >= 0 && queue_[static_cast<size_t>(vector.writer)] != q &&
            !Completed(vector.writer, clock))
          return Race(i, vector.writer, fmt::format("stream {} overwrites", StreamName(use.stream)),
                      "result vector", v);
        for (const int32_t reader : vector.reader) {
          if (reader < 0) continue;
          if (reader == i) {
            own_overlap_ = i;
            continue;
          }
          // The array reads far ahead of the post unit's writes, in order.
          if (q == kExe && queue_[static_cast<size_t>(reader)] == kExe) continue;
          if (!Completed(reader, clock))
            return Race(i, reader, fmt::format("stream {} overwrites", StreamName(use.stream)),
                        "operand vector", v);
        }
        vector.writer = i;
      }
    }
    // The vector unit makes the results of WIN in an order of its own.
    if (repeated_ == i && std::holds_alternative<isa::Win>(op))
      return Report(ViolationKind::kRace, i, fmt::format("writes vector {} twice", twice_), i,
                    twice_);
    if (own_overlap_ != i) return true;
    // It writes what it reads. Each overlapping stream must be in place, and nothing written twice.
    std::vector<bool> written(0x10000);
    for (const Run& run : use.runs)
      for (uint32_t v = run.first; v < run.first + run.count; ++v) written[v] = true;
    for (const StreamUse& read : streams) {
      if (IsWrite(read.stream) || (InPlace(op, read.stream) && repeated_ != i)) continue;
      for (const Run& run : read.runs)
        for (uint32_t v = run.first; v < run.first + run.count; ++v)
          if (written[v])
            return Report(ViolationKind::kRace, i,
                          fmt::format("writes vector {}, which its stream {} reads, and not "
                                      "position by position in place",
                                      v, StreamName(read.stream)),
                          i, v);
    }
    return true;
  }

  bool CheckParameters(int32_t i, int q, const Clock& clock) {
    for (const ParameterUse& use : ParametersOf(ops_[static_cast<size_t>(i)])) {
      const auto name = ParameterMemoryName(use.memory);
      if (!Work(static_cast<uint64_t>(use.count), i)) return false;
      for (int e = use.first; e < use.first + use.count; ++e) {
        Parameter& entry = parameters_[static_cast<size_t>(use.memory)][static_cast<size_t>(e)];
        const auto at = static_cast<uint64_t>(e);
        if (q == kPrm) {
          if (entry.reader >= 0 && !Completed(entry.reader, clock))
            return Race(i, entry.reader, "overwrites", fmt::format("operand {}", name), at);
          entry.writer = i;
          entry.checked = kNoDomain;
          continue;
        }
        if (entry.writer < 0)
          return Report(ViolationKind::kUninitialized, i,
                        fmt::format("reads {} {}, which nothing has written", name, e), -1, at);
        if (!Completed(entry.writer, clock))
          return Race(i, entry.writer, "reads", fmt::format("result {}", name), at);
        entry.reader = i;
        const Domain domain = DomainOf(ops_[static_cast<size_t>(i)], use.memory);
        if ((entry.checked & domain) == domain) continue;
        if (!CheckDomain(i, use.memory, e, entry.writer, domain)) return false;
        entry.checked |= domain;
      }
    }
    return true;
  }

  static Domain DomainOf(const isa::Operation& op, ParameterMemory memory) {
    switch (memory) {
      case ParameterMemory::kExeSet: {
        const auto* mma = std::get_if<isa::Mma>(&op);
        return mma != nullptr && mma->raw ? kNoDomain : kMultipliers;
      }
      case ParameterMemory::kVecSet:
        return std::holds_alternative<isa::Elt>(op) ? kAffine : kMultipliers;
      case ParameterMemory::kExeConst:
        return kAddition;
      case ParameterMemory::kVecConst: {
        const auto* elt = std::get_if<isa::Elt>(&op);
        return elt != nullptr && elt->mode == isa::EltMode::kMul ? kProduct : kAddition;
      }
      case ParameterMemory::kExeTable:
      case ParameterMemory::kVecTable:
      case ParameterMemory::kVecWeight:
        break;
    }
    return kNoDomain;
  }

  // docs/isa.md, "Parameters". Entry e of `memory` as the LDP `writer` left it; what is not known
  // counts as valid.
  bool CheckDomain(int32_t i, ParameterMemory memory, int e, int32_t writer, Domain domain) {
    const auto& load = std::get<isa::Ldp>(ops_[static_cast<size_t>(writer)]);
    const MemoryExtent& extent = regions_[static_cast<size_t>(load.region)];
    const auto bytes = static_cast<uint64_t>(ParameterBytes(arch_, memory));
    const uint64_t offset = load.offset + static_cast<uint64_t>(e - load.index) * bytes;
    if (extent.write || offset + bytes > extent.data.size()) return true;
    const auto word = [&](int index) {
      uint32_t w;
      std::memcpy(&w, extent.data.data() + offset + 4 * static_cast<uint64_t>(index), 4);
      return w;
    };
    // Positive numbers order like their bits.
    const auto within = [](uint32_t bits, float low, float high) {
      return bits >= std::bit_cast<uint32_t>(low) && bits <= std::bit_cast<uint32_t>(high);
    };
    const auto outside = [&](std::string_view what, uint32_t bits, std::string_view legal) {
      return Report(ViolationKind::kParameter, i,
                    fmt::format("uses {} {} with {} = {} ({:#010x}), loaded by {} from byte {:#x} "
                                "of region {}; {} is {}",
                                ParameterMemoryName(memory), e, what, std::bit_cast<float>(bits),
                                bits, Name(writer), offset, load.region, what, legal),
                    writer, static_cast<uint64_t>(e));
    };
    constexpr std::string_view kOffsets = "0 or of a magnitude from 2^-64 to below 2^30";
    const auto is_offset = [&](uint32_t bits) {
      const uint32_t f = bits & 0x7fffffff;
      return f == 0 || (within(f, 0x1p-64f, 0x1p30f) && f != std::bit_cast<uint32_t>(0x1p30f));
    };
    if (domain == kMultipliers) {
      if (!Work(kWorkOfDomain * static_cast<uint64_t>(arch_.n), i)) return false;
      for (int lane = 0; lane < arch_.n; ++lane)
        if (const uint32_t m = word(arch_.n + lane); m != 0 && !within(m, 0x1p-33f, 0x1p9f))
          return outside(fmt::format("multiplier {}", lane), m, "0 or 2^-33 .. 2^9");
    } else if (domain == kAffine) {
      if (!Work(kWorkOfDomain * static_cast<uint64_t>(arch_.n), i)) return false;
      for (int lane = 0; lane < arch_.n; ++lane) {
        const uint32_t a = word(arch_.n + lane);
        if ((a & 0x7fffffff) != 0 && !within(a & 0x7fffffff, 0x1p-40f, 0x1p20f))
          return outside(fmt::format("factor {}", lane), a,
                         "0 or of a magnitude from 2^-40 to 2^20");
        if (!is_offset(word(lane)))
          return outside(fmt::format("offset {}", lane), word(lane), kOffsets);
      }
    } else if (domain == kAddition) {
      for (int k = 0; k < 2; ++k)
        if (!within(word(k), 0x1p-40f, 0x1p20f))
          return outside(k == 0 ? "RA" : "RB", word(k), "2^-40 .. 2^20");
      if (!is_offset(word(2))) return outside("F", word(2), kOffsets);
    } else if (domain == kProduct) {
      if (word(0) != 0 && !within(word(0), 0x1p-40f, 0x1p20f))
        return outside("r", word(0), "0 or 2^-40 .. 2^20");
      const auto zc = std::bit_cast<float>(word(1));
      if (!(zc >= -128 && zc <= 255 && zc == std::trunc(zc)))
        return outside("zc", word(1), "an integer -128 .. 255");
    }
    return true;
  }

  bool CheckAccumulators(int32_t i, const isa::Mma& op) {
    for (int a = op.acc_base; a < op.acc_base + op.mh * op.mw; ++a) {
      if (!op.init && !accumulators_[static_cast<size_t>(a)])
        return Report(
            ViolationKind::kUninitialized, i,
            fmt::format("adds to accumulator {}, which nothing has written (or a result has left)",
                        a),
            -1, static_cast<uint64_t>(a));
      accumulators_[static_cast<size_t>(a)] = !op.emit;
    }
    return true;
  }

  // First byte of `a` that `b` touches, too. Both sorted.
  static std::optional<uint64_t> Overlap(const MemoryAccess& a, const MemoryAccess& b) {
    if (a.low >= b.high || b.low >= a.high) return std::nullopt;
    size_t i = 0, j = 0;
    while (i < a.ranges.size() && j < b.ranges.size()) {
      const MemoryRange& x = a.ranges[i];
      const MemoryRange& y = b.ranges[j];
      if (x.offset + x.bytes <= y.offset)
        ++i;
      else if (y.offset + y.bytes <= x.offset)
        ++j;
      else
        return std::max(x.offset, y.offset);
    }
    return std::nullopt;
  }

  bool CheckMemory(int32_t i, int q, const Clock& clock) {
    auto uses = *MemoryOf(arch_, ops_[static_cast<size_t>(i)]);  // fits: CheckRegions
    for (MemoryUse& use : uses) {
      if (!Work(kWorkOfRow * use.steps, i)) return false;
      const auto region = static_cast<size_t>(use.region);
      // Nobody writes the region: nothing to remember.
      if (!regions_[region].write) continue;
      MemoryAccess access{i, UINT64_MAX, 0, std::move(use.ranges)};
      std::sort(access.ranges.begin(), access.ranges.end(),
                [](const auto& a, const auto& b) { return a.offset < b.offset; });
      // Overlapping rows of one access become one.
      std::vector<MemoryRange> merged;
      for (const MemoryRange& r : access.ranges) {
        if (!merged.empty() && r.offset <= merged.back().offset + merged.back().bytes)
          merged.back().bytes =
              std::max(merged.back().bytes, r.offset + r.bytes - merged.back().offset);
        else
          merged.push_back(r);
      }
      access.ranges = std::move(merged);
      access.low = access.ranges.front().offset;
      access.high = access.ranges.back().offset + access.ranges.back().bytes;
      for (const int other : {kPrm, kWgt, kAct, kSto}) {
        if (use.write == (other == kSto))
          continue;  // writes are in order among themselves; reads do not disturb each other
        const auto& list = memory_[other][region];
        for (auto it = list.rbegin(); it != list.rend() && !Completed(it->instruction, clock);
             ++it) {
          if (!Work(1 + (access.low < it->high && it->low < access.high
                             ? access.ranges.size() + it->ranges.size()
                             : 0),
                    i))
            return false;
          if (const auto at = Overlap(access, *it))
            return Race(i, it->instruction, use.write ? "overwrites" : "reads",
                        fmt::format("{} of region {} at byte", use.write ? "data" : "the result",
                                    use.region),
                        *at);
        }
      }
      memory_[q][region].push_back(std::move(access));
    }
    return true;
  }

  const ArchConfig arch_;
  const std::span<const Instruction> program_;
  const std::span<const MemoryExtent> regions_;
  std::optional<Violation> violation_;
  uint64_t budget_;

  std::vector<isa::Operation> ops_;
  std::vector<uint8_t> queue_;
  std::vector<int32_t> position_;  // in its queue

  std::array<Semaphore, isa::kSemaphores> semaphores_;
  std::array<std::deque<int32_t>, kQ> queues_;
  std::array<int32_t, kQ> active_{-1, -1, -1, -1, -1, -1};
  std::array<Clock, kQ> issue_clock_;       // knowledge at the last issue of the queue
  std::array<Clock, kQ> completion_clock_;  // ... at the last completion

  // The ring, counted in beats and tiles since the start.
  uint64_t load_offset_ = 0, load_end_ = 0;
  int64_t loaded_beats_ = 0, freed_beats_ = 0;
  int64_t tile_position_ = 0;  // first tile not yet freed
  int64_t tile_next_ = 0;      // next tile of the active MMA
  int64_t tiles_left_ = 0;
  bool last_retained_ = false;

  std::vector<Vector> vectors_;
  std::array<std::vector<Parameter>, kParameterMemories> parameters_;
  std::vector<bool> accumulators_;
  std::array<std::array<int32_t, 32>, kStreams> claims_;
  std::array<std::vector<std::vector<MemoryAccess>>, kQ> memory_;
  int32_t repeated_ = -1;     // the last instruction that writes a vector twice
  uint32_t twice_ = 0;        // that vector
  int32_t own_overlap_ = -1;  // ... that writes a vector it reads
};

}  // namespace

std::string_view ViolationKindName(ViolationKind kind) {
  constexpr std::string_view kNames[] = {
      "illegal", "operand", "region", "claim",         "conflict",  "semaphore", "deadlock",
      "end",     "ring",    "race",   "uninitialized", "parameter", "too large"};
  return kNames[static_cast<size_t>(kind)];
}

std::optional<Violation> FindViolation(const ArchConfig& arch, std::span<const Instruction> program,
                                       std::span<const MemoryExtent> regions) {
  return Verifier(arch, program, regions, Budget(program.size())).Find();
}

Status Verify(const ArchConfig& arch, std::span<const Instruction> program,
              std::span<const MemoryExtent> regions) {
  if (const auto violation = FindViolation(arch, program, regions))
    return Fail(ErrorCode::kProgram, "invalid program: " + violation->message);
  return {};
}

std::vector<MemoryExtent> ExtentsOf(const Program& program) {
  std::vector<MemoryExtent> extents;
  for (const Region& r : program.regions) {
    MemoryExtent& extent = extents.emplace_back(r.size, r.read, r.write, r.execute);
    if (r.kind == RegionKind::kConstants && !r.write) extent.data = r.data;
  }
  return extents;
}

Status VerifyProgram(const Program& program) {
  OCTILE_RETURN_IF_ERROR(ValidateProgram(program));
  const auto extents = ExtentsOf(program);
  uint64_t budget = Budget(program.instructions.size());
  for (const PlanItem& item : program.plan) {
    if (item.kind != PlanKind::kDevice) continue;
    const auto segment =
        std::span(program.instructions)
            .subspan(static_cast<size_t>(item.first), static_cast<size_t>(item.count));
    Verifier verifier(program.arch, segment, extents, budget);
    const auto violation = verifier.Find();
    budget = verifier.budget();
    if (violation)
      return Fail(
          ErrorCode::kProgram,
          fmt::format(
              "invalid program, segment '{}' (its instruction 0 is number {} of the program): {}",
              item.name, item.first, violation->message));
  }
  return {};
}

}  // namespace octile
