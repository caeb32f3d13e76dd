#include "schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <map>

#include "accesses.h"
#include "window_cycles.h"

namespace octile::codegen {
namespace {

constexpr int kQueues = isa::kQueues;
constexpr int kExe = static_cast<int>(isa::Queue::kExe);
constexpr int kWgt = static_cast<int>(isa::Queue::kWgt);
constexpr int kMemoryChunk = 256;   // granularity of memory dependencies, bytes
constexpr size_t kLookahead = 192;  // instructions of a queue that compete for the next place

// Read and write streams of the bank rule (docs/timing.md, section 3).
enum Stream { kExeIn, kExeResidual, kVecA, kVecB, kStoRead, kExeOut, kVecOut, kActWrite, kStreams };
constexpr bool IsRead(int stream) { return stream <= kStoRead; }

struct Node {
  int queue = 0;
  std::array<int, kQueues>
      need;  // per queue: node that must be complete before this one issues, -1 none
  std::array<int, kQueues> known;  // per queue: latest node known complete when this one issues
  std::vector<int> signal_to;      // queues that wait for this node
  std::vector<int> wait_from;      // queues this node waits for
  int64_t issue = 0;
  int64_t complete = 0;
};

class Scheduler {
 public:
  Scheduler(std::vector<isa::Operation> operations, const Config& config)
      : operations_(std::move(operations)),
        config_(config),
        arch_(config.arch),
        nodes_(operations_.size()) {}

  Expected<ScheduledProgram> Run() {
    OCTILE_RETURN_IF_ERROR(Reorder());
    Dependencies();
    OCTILE_RETURN_IF_ERROR(Timeline(nullptr));
    Semaphores();
    return Merge();
  }

 private:
  // --- Order
  // --------------------------------------------------------------------------------------------------------

  // Lets the queues of transfers and of the vector unit serve a later layer while an earlier one
  // waits: the program lists one layer after the other, and a queue in that order would hold the
  // loads of a depthwise step back until the array's step before it has made all its loads. The
  // array (and with it the weight ring) keeps its order. The new list is an order in which every
  // conflicting pair of accesses keeps its direction, so that executing it one instruction after
  // the other means the same.
  Status Reorder() {
    predecessors_.assign(operations_.size(), {});
    listed_.assign(operations_.size(), -1);
    FindPredecessors();
    std::vector<int> order;
    order.reserve(operations_.size());
    OCTILE_RETURN_IF_ERROR(Timeline(&order));
    std::vector<isa::Operation> operations;
    for (const int i : order) operations.push_back(std::move(operations_[static_cast<size_t>(i)]));
    operations_ = std::move(operations);
    source_ = std::move(order);
    nodes_.assign(operations_.size(), {});
    predecessors_.clear();
    estimated_ = 0;
    return {};
  }

  void Precedes(int before, int after) {
    if (before < 0 || before == after || listed_[static_cast<size_t>(before)] == after) return;
    listed_[static_cast<size_t>(before)] = after;
    predecessors_[static_cast<size_t>(after)].push_back(before);
  }

  // Readers of one datum by one queue keep their order, so that the last of them stands for all.
  void FindPredecessors() {
    struct State {
      int written = -1;
      std::array<int, kQueues> read;
      State() { read.fill(-1); }
    };
    std::vector<State> buffer(static_cast<size_t>(arch_.buffer_vectors()));
    std::map<int, std::vector<State>> memory;
    std::array<std::vector<State>, 7> parameters;
    for (size_t i = 0; i < operations_.size(); ++i) {
      const int self = static_cast<int>(i);
      const auto queue = static_cast<size_t>(isa::QueueOf(isa::Encode(operations_[i])));
      nodes_[i].queue = static_cast<int>(queue);
      const auto reads = [&](State& state) {
        Precedes(state.written, self);
        Precedes(state.read[queue], self);
        state.read[queue] = self;
      };
      const auto writes = [&](State& state) {
        Precedes(state.written, self);
        for (int& reader : state.read) {
          Precedes(reader, self);
          reader = -1;
        }
        state.written = self;
      };
      const Accesses accesses = AccessesOf(operations_[i], arch_);
      const auto each = [](std::vector<State>& states, size_t begin, size_t end,
                           const auto& action) {
        if (states.size() < end) states.resize(end);
        for (size_t at = begin; at < end; ++at) action(states[at]);
      };
      const auto range = [&](const std::vector<Span>& spans, const auto& action) {
        for (const Span& span : spans)
          each(buffer, static_cast<size_t>(span.begin),
               static_cast<size_t>(span.begin + span.length), action);
      };
      range(accesses.read_a, reads);
      range(accesses.read_b, reads);
      range(accesses.write, writes);
      for (const MemorySpan& span : accesses.memory) {
        const auto begin = static_cast<size_t>(span.begin / kMemoryChunk);
        const auto end = static_cast<size_t>((span.end - 1) / kMemoryChunk) + 1;
        if (accesses.memory_write) {
          each(memory[span.region], begin, end, writes);
        } else if (std::holds_alternative<isa::Lda>(
                       operations_[i])) {  // parameters and weights are constants
          each(memory[span.region], begin, end, reads);
        }
      }
      for (const ParameterSpan& span : accesses.parameters) {
        auto& entries = parameters[static_cast<size_t>(span.target)];
        const auto begin = static_cast<size_t>(span.index);
        const auto end = static_cast<size_t>(span.index + span.count);
        if (accesses.parameter_write) {
          each(entries, begin, end, writes);
        } else {
          each(entries, begin, end, reads);
        }
      }
      std::vector<int>& list = predecessors_[i];
      std::sort(list.begin(), list.end());
    }
  }

  // --- Dependencies
  // -------------------------------------------------------------------------------------------------

  void Need(Node& node, int other) {
    if (other < 0) return;
    int& need = node.need[static_cast<size_t>(nodes_[static_cast<size_t>(other)].queue)];
    need = std::max(need, other);
  }

  void Dependencies() {
    std::vector<int> written(static_cast<size_t>(arch_.buffer_vectors()), -1);
    std::vector<std::array<int, kQueues>> read(written.size());
    for (auto& r : read) r.fill(-1);
    struct MemoryState {
      int written = -1;
      int read = -1;
    };
    std::map<int, std::vector<MemoryState>> memory;
    struct ParameterState {
      int written = -1;
      int read = -1;
    };
    std::array<std::vector<ParameterState>, 7> parameters;
    std::array<std::array<int, 32>, kStreams> claimed;
    for (auto& stream : claimed) stream.fill(-1);

    for (size_t i = 0; i < operations_.size(); ++i) {
      const isa::Operation& op = operations_[i];
      Node& node = nodes_[i];
      node.need.fill(-1);
      node.queue = static_cast<int>(isa::QueueOf(isa::Encode(op)));
      const int self = static_cast<int>(i);
      const auto queue = static_cast<size_t>(node.queue);
      const Accesses accesses = AccessesOf(op, arch_);

      for (const auto* spans : {&accesses.read_a, &accesses.read_b}) {
        for (const Span& span : *spans) {
          for (int v = span.begin; v < span.begin + span.length; ++v) {
            Need(node, written[static_cast<size_t>(v)]);
            read[static_cast<size_t>(v)][queue] = self;
          }
        }
      }
      for (const Span& span : accesses.write) {
        for (int v = span.begin; v < span.begin + span.length; ++v) {
          auto& readers = read[static_cast<size_t>(v)];
          for (size_t q = 0; q < kQueues; ++q) {
            // The reads of earlier instructions of the same queue come before this one's writes.
            if (q != queue) Need(node, readers[q]);
          }
          int& writer = written[static_cast<size_t>(v)];
          if (writer >= 0 && nodes_[static_cast<size_t>(writer)].queue != node.queue)
            Need(node, writer);
        }
      }
      for (const Span& span : accesses.write) {
        for (int v = span.begin; v < span.begin + span.length; ++v) {
          written[static_cast<size_t>(v)] = self;
          read[static_cast<size_t>(v)].fill(-1);
        }
      }
      for (const MemorySpan& span : accesses.memory) {
        auto& chunks = memory[span.region];
        const auto last = static_cast<size_t>((span.end - 1) / kMemoryChunk);
        if (chunks.size() <= last) chunks.resize(last + 1);
        for (auto c = static_cast<size_t>(span.begin / kMemoryChunk); c <= last; ++c) {
          MemoryState& state = chunks[c];
          if (accesses.memory_write) {
            Need(node, state.read);
            state.written = self;
          } else {
            Need(node, state.written);
            state.read = self;
          }
        }
      }
      for (const ParameterSpan& span : accesses.parameters) {
        auto& entries = parameters[static_cast<size_t>(span.target)];
        if (entries.size() < static_cast<size_t>(span.index + span.count)) {
          entries.resize(static_cast<size_t>(span.index + span.count));
        }
        for (int e = span.index; e < span.index + span.count; ++e) {
          ParameterState& state = entries[static_cast<size_t>(e)];
          if (accesses.parameter_write) {
            Need(node, state.read);
            state.written = self;
          } else {
            Need(node, state.written);
            state.read = self;
          }
        }
      }
      Claims(node, self, op, accesses, claimed);
    }
  }

  void Claims(Node& node, int self, const isa::Operation& op, const Accesses& accesses,
              std::array<std::array<int, 32>, kStreams>& claimed) {
    const auto apply = [&](int stream, const std::vector<Span>& spans) {
      BankRange range = BanksOf(spans, arch_);
      // A window that lies wholly in the padding reads nothing but still claims what its fields
      // say: bank 0.
      if (spans.empty() && (stream == kExeIn || stream == kVecA)) range = {0, 0};
      for (int bank = range.first; bank <= range.last; ++bank) {
        for (int other = 0; other < kStreams; ++other) {
          if (other == stream || IsRead(other) != IsRead(stream)) continue;
          const int holder = claimed[static_cast<size_t>(other)][static_cast<size_t>(bank)];
          if (holder != self) Need(node, holder);
        }
      }
      for (int bank = range.first; bank <= range.last; ++bank) {
        claimed[static_cast<size_t>(stream)][static_cast<size_t>(bank)] = self;
      }
    };
    if (std::holds_alternative<isa::Mma>(op)) {
      apply(kExeIn, accesses.read_a);
      apply(kExeResidual, accesses.read_b);
      apply(kExeOut, accesses.write);
    } else if (std::holds_alternative<isa::Sta>(op)) {
      apply(kStoRead, accesses.read_a);
    } else if (std::holds_alternative<isa::Lda>(op)) {
      apply(kActWrite, accesses.write);
    } else if (node.queue == static_cast<int>(isa::Queue::kVec)) {
      apply(kVecA, accesses.read_a);
      apply(kVecB, accesses.read_b);
      apply(kVecOut, accesses.write);
    }
  }

  // --- Timeline
  // -----------------------------------------------------------------------------------------------------

  int64_t TileSlot(const isa::Mma& op, bool last) const {
    const int64_t m = int64_t{op.mh} * op.mw * (last && op.emit && op.raw ? 4 : 1);
    return std::max<int64_t>({m, arch_.n / arch_.weight_rows, 4});
  }

  bool IsPack(int index) const {
    return std::holds_alternative<isa::Pack>(operations_[static_cast<size_t>(index)]);
  }

  // Serves the queues in the order in which their heads can issue; the read channel serves one
  // transfer at a time. With `order`, a queue that may be reordered offers what is ready among its
  // next instructions instead of its head alone, the predecessors count instead of the needs, and
  // `order` receives the instructions as they issue.
  Status Timeline(std::vector<int>* order) {
    const int64_t latency = config_.platform.read_latency;
    const int64_t beat = config_.platform.beat_interval;
    std::array<std::deque<int>, kQueues> queues;
    for (size_t i = 0; i < nodes_.size(); ++i)
      queues[static_cast<size_t>(nodes_[i].queue)].push_back(static_cast<int>(i));
    std::vector<bool> done(nodes_.size(), false);
    std::array<int64_t, kQueues> ready{};
    int64_t read_free = 0;
    int64_t write_free = 0;
    // Weight tiles: cumulative count of loaded ones with arrival times, and the starts of consumed
    // ones (per instruction).
    struct Batch {
      int64_t tiles;    // cumulative, after this batch
      int64_t first;    // arrival of its first tile
      int64_t arrival;  // arrival of its last tile
    };
    std::vector<Batch> loads;
    struct Use {
      int64_t tiles;  // cumulative
      int64_t end;    // start of its last tile
      int64_t slot;   // cycles from a tile to the next
    };
    std::vector<Use> uses;
    size_t use_cursor = 0;
    size_t load_cursor = 0;
    size_t remaining = nodes_.size();
    while (remaining > 0) {
      int best = -1;
      int64_t best_issue = 0;
      for (size_t q = 0; q < kQueues; ++q) {
        if (queues[q].empty()) continue;
        int head = -1;
        int64_t issue = 0;
        int64_t waiting = 0;  // since when
        const bool choose = order != nullptr && q != kExe && q != kWgt;
        const size_t offered = std::min(queues[q].size(), choose ? kLookahead : 1);
        for (size_t candidate = 0; candidate < offered; ++candidate) {
          const int index = queues[q][candidate];
          const Node& node = nodes_[static_cast<size_t>(index)];
          int64_t since = 0;
          bool known = true;
          const auto wait = [&](int other) {
            if (other < 0) return;
            known = known && done[static_cast<size_t>(other)];
            const Node& before = nodes_[static_cast<size_t>(other)];
            if (known && before.queue != node.queue) since = std::max(since, before.complete + 1);
          };
          if (order != nullptr) {
            for (const int other : predecessors_[static_cast<size_t>(index)]) wait(other);
          } else {
            for (const int other : node.need) {
              wait(other);
              // A fence: behind the completion of an earlier instruction of the queue.
              if (known && other >= 0 && nodes_[static_cast<size_t>(other)].queue == node.queue)
                since = std::max(since, nodes_[static_cast<size_t>(other)].complete + 1);
            }
          }
          if (!known) continue;
          // Of several that could go at once the one that waits longest; but PACK first, since the
          // array's first step waits for it and what follows that step waits for both.
          const int64_t earliest = std::max(since, ready[q]);
          bool better = head < 0 || earliest < issue;
          if (!better && earliest == issue) {
            better = IsPack(index) != IsPack(head) ? IsPack(index) : since < waiting;
          }
          if (better) {
            head = index;
            issue = earliest;
            waiting = since;
          }
        }
        if (head < 0) continue;
        if (q == kWgt) {
          // Room for the first burst; the rest streams while the array consumes. A tile is free
          // when it starts.
          const auto& op = std::get<isa::Ldw>(operations_[static_cast<size_t>(head)]);
          const int64_t before = loads.empty() ? 0 : loads.back().tiles;
          const int64_t first =
              std::min<int64_t>(op.tiles, std::max<int64_t>(1, 256 / arch_.tile_bytes()));
          const int64_t must_free = before + first - arch_.ring_tiles;
          if (must_free > 0) {
            while (use_cursor < uses.size() && uses[use_cursor].tiles < must_free) ++use_cursor;
            if (use_cursor == uses.size()) continue;
            const Use& use = uses[use_cursor];
            issue = std::max(issue, use.end - (use.tiles - must_free) * use.slot);
          }
        }
        if (q == kExe) {
          if (std::holds_alternative<isa::Mma>(operations_[static_cast<size_t>(head)])) {
            const int64_t first = uses.empty() ? 0 : uses.back().tiles;
            while (load_cursor < loads.size() && loads[load_cursor].tiles <= first) ++load_cursor;
            if (load_cursor == loads.size()) continue;  // its weights come later in the program
          }
        }
        if (best < 0 || issue < best_issue || (issue == best_issue && head < best)) {
          best = head;
          best_issue = issue;
        }
      }
      if (best < 0) {
        return Fail(ErrorCode::kInternal,
                    "the instruction list has a dependency that nothing fulfils");
      }
      Node& node = nodes_[static_cast<size_t>(best)];
      const auto q = static_cast<size_t>(node.queue);
      queues[q].erase(std::find(queues[q].begin(), queues[q].end(), best));
      if (order != nullptr) order->push_back(best);
      done[static_cast<size_t>(best)] = true;
      --remaining;
      node.issue = best_issue;
      const auto transfer = [&](int64_t bytes) {
        const int64_t start = std::max(best_issue + 1, read_free);
        read_free = start + (bytes + arch_.n - 1) / arch_.n * beat;
        ready[q] = read_free;
        node.complete = read_free + latency + 2;
        return start;
      };
      read_free += isa::kInstructionBytes / arch_.n * beat;  // its fetch
      const isa::Operation& op = operations_[static_cast<size_t>(best)];
      if (const auto* ldp = std::get_if<isa::Ldp>(&op)) {
        transfer(int64_t{ldp->count} * 4 * arch_.n);
      } else if (const auto* ldw = std::get_if<isa::Ldw>(&op)) {
        const int64_t start = transfer(int64_t{ldw->tiles} * arch_.tile_bytes());
        const int64_t before = loads.empty() ? 0 : loads.back().tiles;
        // The last tile of the load finds room when the one a ring's length before it has started.
        const int64_t last_free = before + ldw->tiles - arch_.ring_tiles;
        size_t use = use_cursor;
        while (use + 1 < uses.size() && uses[use].tiles < last_free) ++use;
        if (use < uses.size() && uses[use].tiles >= last_free) {
          node.complete = std::max(
              node.complete,
              uses[use].end - (uses[use].tiles - last_free) * uses[use].slot + latency + 2);
          ready[q] = std::max(ready[q], node.complete - latency - 2);
        }
        loads.push_back({before + ldw->tiles, start + latency + arch_.n * beat, node.complete});
      } else if (const auto* lda = std::get_if<isa::Lda>(&op)) {
        transfer(int64_t{lda->n0} * lda->n1 * lda->n2 * arch_.n);
      } else if (const auto* sta = std::get_if<isa::Sta>(&op)) {
        const int64_t beats = int64_t{sta->n0} * sta->n1 * sta->n2;
        const int64_t start = std::max(best_issue + 1, write_free);
        write_free = start + beats * beat + (beats * arch_.n + 255) / 256;
        ready[q] = write_free;
        node.complete = write_free + config_.platform.write_latency + 20;
      } else if (const auto* mma = std::get_if<isa::Mma>(&op)) {
        const int64_t tiles = int64_t{mma->kh} * mma->kw * mma->blocks;
        const int64_t before = uses.empty() ? 0 : uses.back().tiles;
        while (load_cursor + 1 < loads.size() && loads[load_cursor].tiles <= before) ++load_cursor;
        int64_t start = std::max(best_issue + 1, loads[load_cursor].first + 8);
        const int64_t busy = (tiles - 1) * TileSlot(*mma, false) + TileSlot(*mma, true);
        // The last tile starts once it has arrived.
        size_t last_load = load_cursor;
        while (last_load + 1 < loads.size() && loads[last_load].tiles < before + tiles) ++last_load;
        const int64_t end =
            std::max(start + busy, loads[last_load].arrival + 8 + TileSlot(*mma, true));
        uses.push_back({before + tiles, end - TileSlot(*mma, true), TileSlot(*mma, false)});
        ready[q] = end - 1;
        node.complete = end + 2 * arch_.n + 28;
      } else {
        int64_t work = 0;
        if (const auto* win = std::get_if<isa::Win>(&op)) {
          work = WindowCycles(*win);
        } else if (const auto* elt = std::get_if<isa::Elt>(&op)) {
          work = int64_t{elt->blocks} * elt->mh * elt->mw;
        } else if (const auto* pack = std::get_if<isa::Pack>(&op)) {
          work = PackCycles(*pack, arch_.n) + arch_.n;
        }
        node.complete = best_issue + work + 28;
        ready[q] = node.complete + 1;
      }
      estimated_ = std::max(estimated_, node.complete);
    }
    return {};
  }

  // --- Semaphores
  // ---------------------------------------------------------------------------------------------------

  void Semaphores() {
    std::array<int, kQueues> last;  // latest node of each queue so far
    last.fill(-1);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      Node& node = nodes_[i];
      const auto queue = static_cast<size_t>(node.queue);
      // What the queue knew when its previous instruction issued still holds.
      if (last[queue] >= 0) {
        node.known = nodes_[static_cast<size_t>(last[queue])].known;
      } else {
        node.known.fill(-1);
      }
      if (node.queue == static_cast<int>(isa::Queue::kVec)) node.known[queue] = last[queue];
      const auto learn = [&](int other) {
        const Node& from = nodes_[static_cast<size_t>(other)];
        for (size_t q = 0; q < kQueues; ++q) node.known[q] = std::max(node.known[q], from.known[q]);
        int& own = node.known[static_cast<size_t>(from.queue)];
        own = std::max(own, other);
      };
      if (node.need[queue] > node.known[queue]) {
        isa::HeaderOf(operations_[i]).fence = true;
        learn(last[queue]);
      }
      // Most informative first: a later instruction usually implies the needs on the others.
      std::vector<int> needs;
      for (size_t q = 0; q < kQueues; ++q) {
        if (q != queue && node.need[q] >= 0) needs.push_back(node.need[q]);
      }
      std::sort(needs.begin(), needs.end(), [&](int a, int b) {
        return nodes_[static_cast<size_t>(a)].complete > nodes_[static_cast<size_t>(b)].complete;
      });
      for (const int other : needs) {
        Node& producer = nodes_[static_cast<size_t>(other)];
        if (node.known[static_cast<size_t>(producer.queue)] >= other) continue;
        learn(other);
        producer.signal_to.push_back(node.queue);
        node.wait_from.push_back(producer.queue);
      }
      last[queue] = static_cast<int>(i);
    }
  }

  // --- Merge
  // --------------------------------------------------------------------------------------------------------

  Expected<ScheduledProgram> Merge() {
    std::vector<int> order(nodes_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      return nodes_[static_cast<size_t>(a)].issue < nodes_[static_cast<size_t>(b)].issue;
    });
    ScheduledProgram result;
    result.estimated_cycles = estimated_;
    std::map<std::pair<int, int>, int> numbers;  // (from, to) -> semaphore
    const auto semaphore = [&](int from, int to) {
      return isa::Semaphore(
          numbers.try_emplace({from, to}, static_cast<int>(numbers.size())).first->second);
    };
    const auto push = [&](isa::Operation op, int source) {
      result.operations.push_back(std::move(op));
      result.source.push_back(source);
    };
    for (const int i : order) {
      const Node& node = nodes_[static_cast<size_t>(i)];
      isa::Operation& op = operations_[static_cast<size_t>(i)];
      const int32_t layer = isa::HeaderOf(op).layer;
      std::vector<int32_t> waits;
      for (const int from : node.wait_from) waits.push_back(semaphore(from, node.queue));
      std::vector<int32_t> signals;
      for (const int to : node.signal_to) signals.push_back(semaphore(node.queue, to));
      const auto sync = [&](const std::vector<int32_t>& list, size_t begin, bool wait) {
        isa::Sync extra;
        extra.queue = static_cast<isa::Queue>(node.queue);
        extra.header.layer = layer;
        (wait ? extra.header.wait0 : extra.header.signal0) = list[begin];
        if (begin + 1 < list.size())
          (wait ? extra.header.wait1 : extra.header.signal1) = list[begin + 1];
        push(extra, -1);
      };
      for (size_t w = 2; w < waits.size(); w += 2) sync(waits, w, true);
      isa::Header& header = isa::HeaderOf(op);
      if (!waits.empty()) header.wait0 = waits[0];
      if (waits.size() > 1) header.wait1 = waits[1];
      if (!signals.empty()) header.signal0 = signals[0];
      if (signals.size() > 1) header.signal1 = signals[1];
      push(std::move(op), source_[static_cast<size_t>(i)]);
      for (size_t s = 2; s < signals.size(); s += 2) sync(signals, s, false);
    }
    if (numbers.size() > isa::kSemaphores) {
      return Fail(ErrorCode::kInternal,
                  fmt::format("the program needs {} semaphores", numbers.size()));
    }
    push(isa::End{}, -1);
    return result;
  }

  std::vector<isa::Operation> operations_;
  const Config& config_;
  const ArchConfig& arch_;
  std::vector<Node> nodes_;
  std::vector<std::vector<int>> predecessors_;  // by operation, while the order is sought
  std::vector<int> listed_;  // by operation: the last one that it is listed as a predecessor of
  std::vector<int> source_;  // by operation: its index in the list that was given
  int64_t estimated_ = 0;
};

}  // namespace

Expected<ScheduledProgram> Schedule(std::vector<isa::Operation> operations, const Config& config) {
  return Scheduler(std::move(operations), config).Run();
}

}  // namespace octile::codegen
