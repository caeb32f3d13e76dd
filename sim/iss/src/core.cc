#include "core.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace octile::sim::iss {
namespace {

// How far a queue may run ahead of its own writes. More shows no further order of accesses, since a
// queue's writes are in order.
constexpr size_t kMostFlights = 16;
// Priorities are redrawn after every step with probability 1/kRedraw: long enough for a queue to
// run as far ahead as it can.
constexpr uint64_t kRedraw = 48;

struct WaitRange {
  std::array<int32_t, 2> operands;
  template <class F>
  void ForEach(F f) const {
    for (int32_t operand : operands)
      if (isa::HasSemaphore(operand)) f(static_cast<uint32_t>(isa::SemaphoreNumber(operand)));
  }
};
WaitRange WaitsOf(const isa::Operation& op) {
  const isa::Header& h = isa::HeaderOf(op);
  return {{h.wait0, h.wait1}};
}
WaitRange SignalsOf(const isa::Operation& op) {
  const isa::Header& h = isa::HeaderOf(op);
  return {{h.signal0, h.signal1}};
}

bool IsSync(const isa::Operation& op) { return std::holds_alternative<isa::Sync>(op); }

bool Overlap(const StreamUse& a, const StreamUse& b) {
  return a.bank <= b.bank + b.further && b.bank <= a.bank + a.further;
}

}  // namespace

Core::Core(Machine* machine, const ArchConfig& arch) : m_(*machine), arch_(arch) {}

void Core::StartJob(const JobSetup& job, uint64_t seed) {
  job_ = job;
  seed_ = seed;
  random_.seed(seed);
  // Seed 0: completions first, fetch last.
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(), [](int a, int b) {
    auto rank = [](int action) { return action < kDispatch ? action % kQueueSteps : action; };
    return rank(a) < rank(b);
  });
  if (seed_ != 0) std::shuffle(order_.begin(), order_.end(), random_);
  fetched_ = 0;
  fifo_.clear();
  stopped_ = false;
  queues_ = {};
  semaphores_ = {};
  m_.StartJob();
  trace_ = {};
  trace_.issue.assign(job.program_count, kNever);
  trace_.completion.assign(job.program_count, kNever);
  running_ = true;
}

void Core::Refuse(const FaultRecord& fault) {
  trace_.fault = fault;
  Finish();
}

void Core::Reset() {
  running_ = false;
  queues_ = {};
  fifo_.clear();
  trace_ = {};
}

void Core::Finish() {
  running_ = false;
  trace_.finished = true;
  trace_.bytes = m_.bytes;
  trace_.tile_starts = m_.tile_starts;
}

void Core::Fault(isa::Fault cause, uint32_t instruction, uint64_t address, uint32_t second) {
  if (trace_.fault.cause == 0)
    trace_.fault = {static_cast<uint32_t>(cause), instruction, second, address, 0};
  Finish();
}

void Core::FaultPrecisely(isa::Fault cause, uint32_t instruction) {
  trace_.fault = {static_cast<uint32_t>(cause), instruction, 0, 0, 0};
  stopped_ = true;
}

// The oldest instruction in flight, else the head, of the first queue that has either; else the
// next instruction to dispatch.
void Core::FaultDeadlock() {
  uint32_t instruction = fifo_.empty() ? fetched_ : fifo_.front().index;
  for (const Queue& q : queues_) {
    if (q.flights.empty() && q.waiting.empty()) continue;
    instruction = q.flights.empty() ? q.waiting.front().index : q.flights.front().index;
    break;
  }
  Fault(isa::Fault::kDeadlock, instruction);
}

bool Core::Empty() const {
  return std::all_of(queues_.begin(), queues_.end(),
                     [](const Queue& q) { return q.waiting.empty() && q.flights.empty(); });
}

uint64_t Core::Run(uint64_t work) {
  if (!running_) return 0;
  const uint64_t start = work_;
  while (running_ && work_ - start < work) {
    ++work_;
    // END ends the job when everything before it has ended, a precise fault likewise.
    const bool end = !fifo_.empty() && isa::OpcodeBits(fifo_.front().instruction) ==
                                           static_cast<int>(isa::Opcode::kEnd);
    if (Empty() && (stopped_ || (end && !isa::IllegalReason(fifo_.front().instruction)))) {
      Finish();
      break;
    }
    const auto next =
        std::find_if(order_.begin(), order_.end(), [this](int action) { return Enabled(action); });
    if (next == order_.end()) {
      FaultDeadlock();
      break;
    }
    Perform(*next);
    if (seed_ != 0 && random_() % kRedraw == 0) std::shuffle(order_.begin(), order_.end(), random_);
  }
  return work_ - start;
}

bool Core::Enabled(int action) const {
  if (action == kFetch) return CanFetch();
  if (action == kDispatch) return CanDispatch();
  const int number = action / kQueueSteps;
  const Queue& q = queues_[number];
  switch (static_cast<Step>(action % kQueueSteps)) {
    case Step::kComplete:
      return CanComplete(q);
    case Step::kWrite:
      return CanWrite(q);
    case Step::kRead:
      return CanRead(q);
    case Step::kIssue:
      return CanIssue(q, number);
  }
  return false;
}

void Core::Perform(int action) {
  if (action == kFetch) return Fetch();
  if (action == kDispatch) return Dispatch();
  const int number = action / kQueueSteps;
  Queue& q = queues_[number];
  switch (static_cast<Step>(action % kQueueSteps)) {
    case Step::kComplete:
      return Complete(q);
    case Step::kWrite:
      return Write(q);
    case Step::kRead:
      return Read(q);
    case Step::kIssue:
      return Issue(number);
  }
}

// ---- fetch and dispatch ----

namespace {

// Instructions of the next burst.
uint32_t FetchCount(uint32_t left) {
  return std::min<uint32_t>(left, isa::kBurstBytes / isa::kInstructionBytes);
}

}  // namespace

bool Core::CanFetch() const {
  const uint32_t left = job_.program_count - fetched_;
  return left > 0 && fifo_.size() + FetchCount(left) <= isa::kFetchDepth;
}

void Core::Fetch() {
  const uint32_t count = FetchCount(job_.program_count - fetched_);
  std::array<isa::Instruction, isa::kBurstBytes / isa::kInstructionBytes> burst;
  const uint32_t offset = job_.program_offset + fetched_ * isa::kInstructionBytes;
  if (const auto trap =
          m_.ReadBurst(Port::kFetch, static_cast<int>(job_.program_region), offset,
                       count * isa::kInstructionBytes, reinterpret_cast<uint8_t*>(burst.data()))) {
    return Fault(trap->cause, fetched_, trap->address);
  }
  for (uint32_t i = 0; i < count; ++i) fifo_.push_back({fetched_++, burst[i]});
}

bool Core::CanDispatch() const {
  if (stopped_) return false;
  if (fifo_.empty()) return fetched_ == job_.program_count;  // FETCH_END
  const isa::Instruction& instruction = fifo_.front().instruction;
  const isa::Queue queue = isa::QueueOf(instruction);
  const auto number = static_cast<size_t>(queue);
  if (number < queues_.size() &&
      queues_[number].waiting.size() >= static_cast<size_t>(isa::kQueueDepth)) {
    // A full queue holds up what is legal; the decoder refuses the rest at once.
    return isa::IllegalReason(instruction).has_value();
  }
  if (isa::OpcodeBits(instruction) == static_cast<int>(isa::Opcode::kEnd))
    return isa::IllegalReason(instruction).has_value();  // END itself waits in the FIFO
  return true;
}

void Core::Dispatch() {
  if (fifo_.empty()) return FaultPrecisely(isa::Fault::kFetchEnd, job_.program_count);
  const Fetched head = fifo_.front();
  if (isa::IllegalReason(head.instruction)) return FaultPrecisely(isa::Fault::kIllegal, head.index);
  fifo_.pop_front();
  queues_[static_cast<size_t>(isa::QueueOf(head.instruction))].waiting.push_back(
      {head.index, std::make_shared<const isa::Operation>(*isa::Decode(head.instruction))});
}

// ---- issue ----

bool Core::CanIssue(const Queue& queue, int number) const {
  if (queue.waiting.empty() || queue.flights.size() >= kMostFlights) return false;
  if (!queue.flights.empty() && queue.flights.back().stage == Stage::kReading) return false;
  const isa::Operation& op = *queue.waiting.front().op;
  const bool alone =
      isa::HeaderOf(op).fence || IsSync(op) || number == static_cast<int>(isa::Queue::kVec);
  if (alone && !queue.flights.empty()) return false;
  bool all = true;
  WaitsOf(op).ForEach([&](uint32_t s) { all = all && semaphores_[s] > 0; });
  return all;
}

const Core::Flight* Core::FindConflict(const std::vector<StreamUse>& claims, bool writes) const {
  for (int stream = 0; stream < kStreams; ++stream) {
    const auto id = static_cast<StreamId>(stream);
    if (IsWrite(id) != writes) continue;
    for (const Queue& q : queues_)
      for (const Flight& flight : q.flights)
        for (const StreamUse& theirs : flight.claims) {
          if (theirs.stream != id) continue;
          for (const StreamUse& mine : claims)
            if (IsWrite(mine.stream) == writes && mine.stream != id && Overlap(mine, theirs))
              return &flight;
        }
  }
  return nullptr;
}

bool Core::SelfConflict(const std::vector<StreamUse>& claims) const {
  for (const StreamUse& a : claims)
    for (const StreamUse& b : claims)
      if (a.stream < b.stream && IsWrite(a.stream) == IsWrite(b.stream) && Overlap(a, b))
        return true;
  return false;
}

void Core::Issue(int number) {
  Queue& q = queues_[number];
  const Waiting head = q.waiting.front();
  const isa::Operation& op = *head.op;
  std::vector<StreamUse> claims = ClaimsOf(op);
  for (const StreamUse& c : claims)
    if (c.bank + c.further >= static_cast<int>(m_.config.banks))
      return Fault(isa::Fault::kOperand, head.index);
  if (OperandReason(arch_, op)) return Fault(isa::Fault::kOperand, head.index);
  if (const Flight* other = FindConflict(claims, false))
    return Fault(isa::Fault::kConflict, head.index, 0, other->index);
  if (SelfConflict(claims)) return Fault(isa::Fault::kConflict, head.index, 0, head.index);
  if (const Flight* other = FindConflict(claims, true))
    return Fault(isa::Fault::kConflict, head.index, 0, other->index);
  WaitsOf(op).ForEach([&](uint32_t s) { --semaphores_[s]; });
  q.waiting.pop_front();
  trace_.issue[head.index] = 0;
  q.flights.push_back(
      {head.index, head.op, std::move(claims), IsSync(op) ? Stage::kWritten : Stage::kReading, {}});
}

// ---- read ----

bool Core::CanRead(const Queue& queue) const {
  if (queue.flights.empty() || queue.flights.back().stage != Stage::kReading) return false;
  const Flight& f = queue.flights.back();
  if (const auto* ldw = std::get_if<isa::Ldw>(f.op.get())) return CanReadLdw(m_, *ldw, f.work);
  if (std::holds_alternative<isa::Mma>(*f.op)) return CanReadMma(m_);
  return true;
}

void Core::Read(Queue& queue) {
  Flight& f = queue.flights.back();
  bool done = true;
  struct Visitor {
    Machine& m;
    Work& work;
    bool& done;
    MaybeTrap operator()(const isa::End&) { return std::nullopt; }
    MaybeTrap operator()(const isa::Sync&) { return std::nullopt; }
    MaybeTrap operator()(const isa::Ldp& op) { return ReadLdp(m, op, work); }
    MaybeTrap operator()(const isa::Ldw& op) {
      auto trap = ReadLdw(m, op, work);
      done = DoneLdw(m, op, work);
      return trap;
    }
    MaybeTrap operator()(const isa::Lda& op) { return ReadLda(m, op, work); }
    MaybeTrap operator()(const isa::Sta& op) { return ReadSta(m, op, work); }
    MaybeTrap operator()(const isa::Mma& op) {
      auto trap = ReadMma(m, op, work);
      done = DoneMma(op, work);
      return trap;
    }
    MaybeTrap operator()(const isa::Win& op) {
      if (auto trap = CheckColumns(m, op)) return trap;
      return ReadWin(m, op, work);
    }
    MaybeTrap operator()(const isa::Elt& op) { return ReadElt(m, op, work); }
    MaybeTrap operator()(const isa::Pack& op) { return ReadPack(m, op, work); }
  };
  const uint64_t tiles = m_.tile_starts;
  const auto trap = std::visit(Visitor{m_, f.work, done}, *f.op);
  if (const auto* mma = std::get_if<isa::Mma>(f.op.get()))
    work_ +=
        (m_.tile_starts - tiles) * static_cast<uint64_t>(mma->mh) * static_cast<uint64_t>(mma->mw);
  work_ += f.work.vectors.addresses.size() + f.work.memory.data.size() / m_.n +
           f.work.data.size() / m_.n;
  if (trap) return Fault(trap->cause, f.index, trap->address);
  if (done) f.stage = Stage::kRead;
}

// ---- write and completion ----

bool Core::CanWrite(const Queue& queue) const {
  for (const Flight& f : queue.flights)
    if (f.stage != Stage::kWritten) return f.stage == Stage::kRead;
  return false;
}

void Core::Emit(uint32_t index, const VectorWrites& writes) {
  const uint8_t* data = writes.data.data();
  for (uint32_t address : writes.addresses) {
    std::memcpy(m_.Vector(address), data, m_.n);
    if (sink_ != nullptr) sink_->OnResult(index, address, {data, m_.n});
    data += m_.n;
  }
}

void Core::Write(Queue& queue) {
  const auto it = std::find_if(queue.flights.begin(), queue.flights.end(),
                               [](const Flight& f) { return f.stage == Stage::kRead; });
  Flight& f = *it;
  MaybeTrap trap;
  if (const auto* ldp = std::get_if<isa::Ldp>(f.op.get())) {
    WriteLdp(m_, *ldp, f.work);
  } else if (const auto* lda = std::get_if<isa::Lda>(f.op.get())) {
    trap = WriteLda(m_, *lda, f.work);
  } else if (std::holds_alternative<isa::Sta>(*f.op)) {
    trap = WriteSta(m_, f.work);
  } else {
    Emit(f.index, f.work.vectors);
  }
  if (trap) return Fault(trap->cause, f.index, trap->address);
  f.stage = Stage::kWritten;
  f.work = {};
}

bool Core::CanComplete(const Queue& queue) const {
  return !queue.flights.empty() && queue.flights.front().stage == Stage::kWritten;
}

void Core::Complete(Queue& queue) {
  const Flight f = std::move(queue.flights.front());
  queue.flights.pop_front();
  trace_.completion[f.index] = 0;
  ++trace_.retired;
  bool overflow = false;
  uint32_t culprit = 0;
  SignalsOf(*f.op).ForEach([&](uint32_t s) {
    if (semaphores_[s] < static_cast<uint32_t>(isa::kSemaphoreMax)) {
      ++semaphores_[s];
    } else if (!overflow) {
      overflow = true;
      culprit = s;
    }
  });
  if (overflow) Fault(isa::Fault::kSemaphore, f.index, culprit);
}

}  // namespace octile::sim::iss
