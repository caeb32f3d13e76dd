#include "octile/program/access.h"

#include <fmt/format.h>

#include <algorithm>

namespace octile {
namespace {

// More than any instruction needs whose vectors are different ones.
constexpr size_t kMaxRuns = size_t{1} << 20;
constexpr int64_t kMaxSteps = int64_t{1} << 20;

// A row pointer: adds a step and subtracts the circular length once when it is reached.
struct RowPointer {
  uint32_t value;
  uint32_t wrap;
  void Step(int32_t step) {
    value += static_cast<uint32_t>(step);
    if (wrap != 0 && value >= wrap) value -= wrap;
    value &= 0xffff;
  }
};

// Collects runs modulo 65536, merging neighbours.
class RunList {
 public:
  bool Add(uint32_t first, uint32_t count) {
    ++steps_;
    first &= 0xffff;
    while (count > 0) {
      const uint32_t part = std::min(count, 0x10000 - first);
      if (!runs_.empty() && runs_.back().first + runs_.back().count == first) {
        runs_.back().count += part;
      } else {
        if (runs_.size() == kMaxRuns) return false;
        runs_.push_back({first, part});
      }
      first = 0;
      count -= part;
    }
    return true;
  }
  std::vector<Run> Take() { return std::move(runs_); }
  void CountSteps(uint64_t steps) { steps_ += steps; }
  uint64_t steps() const { return steps_; }

 private:
  std::vector<Run> runs_;
  uint64_t steps_ = 0;
};

// Blocks, rows and columns of a stream addressed as addr + block*blk_stride + row pointer +
// column*x_step.
struct Grid {
  int32_t addr = 0, row0 = 0, row_step = 0, wrap = 0, blk_stride = 0;
  int32_t x_step = 1;
  int32_t width = 1;  // consecutive vectors at each column (raw output: 4)
  int32_t rows = 1, columns = 1, blocks = 1;
};

bool AddGrid(const Grid& g, RunList* list) {
  // Neighbours merge into few runs, so the work is bounded apart from their number.
  const bool by_column = g.x_step != g.width && g.x_step != 0;
  if (int64_t{g.blocks} * g.rows > kMaxSteps / (by_column ? g.columns : 1)) return false;
  for (int b = 0; b < g.blocks; ++b) {
    RowPointer p{static_cast<uint32_t>(g.row0), static_cast<uint32_t>(g.wrap)};
    for (int y = 0; y < g.rows; ++y) {
      const uint32_t base = static_cast<uint32_t>(g.addr) +
                            static_cast<uint32_t>(b) * static_cast<uint32_t>(g.blk_stride) +
                            p.value;
      if (g.x_step == g.width) {
        if (!list->Add(base, static_cast<uint32_t>(g.columns * g.width))) return false;
      } else if (g.x_step == 0) {
        if (!list->Add(base, static_cast<uint32_t>(g.width))) return false;
      } else {
        for (int x = 0; x < g.columns; ++x)
          if (!list->Add(base + static_cast<uint32_t>(x * g.x_step),
                         static_cast<uint32_t>(g.width)))
            return false;
      }
      p.Step(g.row_step);
    }
  }
  return true;
}

// The columns inside the image that a window operation reads, as runs.
std::vector<Run> WindowColumns(int ix0, int in_w, int mw, int kw, int stride, int dil,
                               RunList* list) {
  const int last = ix0 + (mw - 1) * stride + (kw - 1) * dil;
  // One stretch without gaps: the taps of a position and those of the next leave none.
  const bool dense = (mw == 1 || stride == 1 || (dil == 1 && kw >= stride)) &&
                     (kw == 1 || dil == 1 || (stride == 1 && mw >= dil));
  if (dense) {
    const int lo = std::max(ix0, 0);
    const int hi = std::min(last, in_w - 1);
    if (lo > hi) return {};
    return {{static_cast<uint32_t>(lo), static_cast<uint32_t>(hi - lo + 1)}};
  }
  list->CountSteps(static_cast<uint64_t>(mw * kw + in_w));
  std::vector<bool> used(static_cast<size_t>(in_w));
  for (int x = 0; x < mw; ++x)
    for (int k = 0; k < kw; ++k) {
      const int ix = ix0 + x * stride + k * dil;
      if (ix >= 0 && ix < in_w) used[static_cast<size_t>(ix)] = true;
    }
  std::vector<Run> runs;
  for (size_t i = 0; i < used.size(); ++i) {
    if (!used[i]) continue;
    if (!runs.empty() && runs.back().first + runs.back().count == i)
      ++runs.back().count;
    else
      runs.push_back({static_cast<uint32_t>(i), 1});
  }
  return runs;
}

// The input window of MMA and WIN, which share these fields.
template <class Op>
bool AddWindow(const Op& op, RunList* list) {
  const auto columns = WindowColumns(op.ix0, op.in_w, op.mw, op.kw, op.stride_x, op.dil_x, list);
  list->CountSteps(static_cast<uint64_t>(op.mh * op.kh));
  if (columns.empty()) return true;
  std::vector<uint32_t> rows;
  RowPointer py{static_cast<uint32_t>(op.in_row0), static_cast<uint32_t>(op.in_wrap)};
  for (int oy = 0; oy < op.mh; ++oy) {
    RowPointer p = py;
    for (int ky = 0; ky < op.kh; ++ky) {
      const int iy = op.iy0 + oy * op.stride_y + ky * op.dil_y;
      if (iy >= 0 && iy < op.in_h) rows.push_back(p.value);
      p.Step(op.in_ky_step);
    }
    py.Step(op.in_oy_step);
  }
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  if (static_cast<int64_t>(rows.size() * columns.size()) * op.blocks > kMaxSteps) return false;
  for (int b = 0; b < op.blocks; ++b)
    for (const uint32_t row : rows)
      for (const Run& c : columns)
        if (!list->Add(static_cast<uint32_t>(op.in_addr) +
                           static_cast<uint32_t>(b * op.in_blk_stride) + row + c.first,
                       c.count))
          return false;
  return true;
}

int64_t FloorDiv(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// The lane groups of PACK, the same for every row and plane: the lanes of a row and plane that lie
// in one block begin at column kx and read as many vectors. Without repeats.
struct LaneGroup {
  int kx;
  int vectors;
  auto operator<=>(const LaneGroup&) const = default;
};
std::vector<LaneGroup> LaneGroups(const ArchConfig& arch, const isa::Pack& op) {
  std::vector<LaneGroup> groups;
  // Where row and plane number r begins in a block repeats after N of them.
  const int starts = std::min(op.kh * op.planes, arch.n);
  for (int r = 0; r < starts; ++r) {
    for (int kx = 0, lanes = 0; kx < op.kw; kx += lanes) {
      lanes = std::min(op.kw - kx, arch.n - (r * op.kw + kx) % arch.n);
      groups.push_back({kx, op.stride_x + (lanes > op.stride_x + 1 ? 2 : 1)});
    }
  }
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  return groups;
}

// The vectors PACK reads: of every row it needs, those that hold a byte of the image and that its
// groups of N columns pass over.
bool AddPlanes(const ArchConfig& arch, const isa::Pack& op, RunList* list) {
  const int64_t n = arch.n;
  const int64_t groups = (op.mw + n - 1) / n;
  list->CountSteps(static_cast<uint64_t>(op.mh * op.kh));
  std::vector<int> rows;
  for (int oy = 0; oy < op.mh; ++oy)
    for (int ky = 0; ky < op.kh; ++ky) {
      const int iy = op.iy0 + oy * op.stride_y + ky;
      if (iy >= 0 && iy < op.in_h) rows.push_back(iy);
    }
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  const std::vector<LaneGroup> lane_groups = LaneGroups(arch, op);
  if (static_cast<int64_t>(rows.size() * lane_groups.size()) * op.planes > kMaxSteps) return false;
  for (int c = 0; c < op.planes; ++c)
    for (const int iy : rows) {
      const int64_t row = n * (op.in_addr + int64_t{c} * op.in_blk_stride) +
                          (op.in_off + int64_t{c} * op.in_off_step) % n + int64_t{iy} * op.in_pitch;
      const int64_t first = std::max(FloorDiv(row + op.ix0, n), FloorDiv(row, n));
      int64_t last = FloorDiv(row + op.ix0, n);
      for (const LaneGroup& lanes : lane_groups)
        last =
            std::max(last, FloorDiv(row + op.ix0 + lanes.kx + (groups - 1) * n * op.stride_x, n) +
                               lanes.vectors - 1);
      last = std::min(last, FloorDiv(row + op.in_w - 1, n));
      if (first > last) continue;
      if (!list->Add(static_cast<uint32_t>(first & 0xffff),
                     static_cast<uint32_t>(last - first + 1)))
        return false;
    }
  return true;
}

template <class Op>
Grid OutGrid(const Op& op) {
  return {.addr = op.out_addr,
          .row0 = op.out_row0,
          .row_step = op.out_row_step,
          .wrap = op.out_wrap,
          .rows = op.mh,
          .columns = op.mw};
}

Grid OutGridOf(const isa::Mma& op) {
  Grid g = OutGrid(op);
  if (op.raw) g.x_step = g.width = 4;
  return g;
}
Grid OutGridOf(const isa::Win& op) {
  Grid g = OutGrid(op);
  g.blk_stride = op.out_blk_stride;
  g.blocks = op.blocks;
  return g;
}
Grid OutGridOf(const isa::Elt& op) {
  Grid g = OutGrid(op);
  g.blk_stride = op.out_blk_stride;
  g.blocks = op.blocks;
  g.x_step = op.out_x_step;
  return g;
}
Grid OutGridOf(const ArchConfig& arch, const isa::Pack& op) {
  Grid g = OutGrid(op);
  g.blk_stride = op.out_blk_stride;
  g.blocks = (op.kh * op.kw * op.planes + arch.n - 1) / arch.n;
  return g;
}
Grid ResidualGrid(const isa::Mma& op) {
  return {.addr = op.res_addr,
          .row0 = op.res_row0,
          .row_step = op.res_row_step,
          .wrap = op.res_wrap,
          .rows = op.mh,
          .columns = op.mw};
}
Grid GridA(const isa::Elt& op) {
  return {.addr = op.a_addr,
          .row0 = op.a_row0,
          .row_step = op.a_row_step,
          .wrap = op.a_wrap,
          .blk_stride = op.a_blk_stride,
          .x_step = op.a_x_step,
          .rows = op.mh,
          .columns = op.mw,
          .blocks = op.blocks};
}
Grid GridB(const isa::Elt& op) {
  return {.addr = op.b_addr,
          .row0 = op.b_row0,
          .row_step = op.b_row_step,
          .wrap = op.b_wrap,
          .blk_stride = op.b_blk_stride,
          .x_step = op.b_x_step,
          .rows = op.mh,
          .columns = op.mw,
          .blocks = op.blocks};
}
template <class Op>
Grid DmaGrid(const Op& op) {
  return {.addr = op.buf_addr,
          .row0 = op.buf_row0,
          .row_step = op.buf_stride1,
          .wrap = op.buf_wrap,
          .blk_stride = op.buf_stride2,
          .rows = op.n1,
          .columns = op.n0,
          .blocks = op.n2};
}

bool TwoStreams(const isa::Elt& op) {
  return op.mode == isa::EltMode::kAdd || op.mode == isa::EltMode::kMul;
}

struct ClaimVisitor {
  std::vector<StreamUse> operator()(const isa::End&) const { return {}; }
  std::vector<StreamUse> operator()(const isa::Sync&) const { return {}; }
  std::vector<StreamUse> operator()(const isa::Ldp&) const { return {}; }
  std::vector<StreamUse> operator()(const isa::Ldw&) const { return {}; }
  std::vector<StreamUse> operator()(const isa::Lda& o) const {
    return {{StreamId::kAct, o.buf_bank, o.buf_banks, {}}};
  }
  std::vector<StreamUse> operator()(const isa::Sta& o) const {
    return {{StreamId::kSto, o.buf_bank, o.buf_banks, {}}};
  }
  std::vector<StreamUse> operator()(const isa::Mma& o) const {
    std::vector<StreamUse> uses = {{StreamId::kExeIn, o.in_bank, o.in_banks, {}}};
    if (o.emit && o.residual) uses.push_back({StreamId::kExeRes, o.b_bank, o.b_banks, {}});
    if (o.emit) uses.push_back({StreamId::kExeOut, o.out_bank, o.out_banks, {}});
    return uses;
  }
  std::vector<StreamUse> operator()(const isa::Win& o) const {
    return {{StreamId::kVecA, o.in_bank, o.in_banks, {}},
            {StreamId::kVecOut, o.out_bank, o.out_banks, {}}};
  }
  std::vector<StreamUse> operator()(const isa::Elt& o) const {
    std::vector<StreamUse> uses = {{StreamId::kVecA, o.in_bank, o.in_banks, {}}};
    if (TwoStreams(o)) uses.push_back({StreamId::kVecB, o.b_bank, o.b_banks, {}});
    uses.push_back({StreamId::kVecOut, o.out_bank, o.out_banks, {}});
    return uses;
  }
  std::vector<StreamUse> operator()(const isa::Pack& o) const {
    return {{StreamId::kVecA, o.in_bank, o.in_banks, {}},
            {StreamId::kVecOut, o.out_bank, o.out_banks, {}}};
  }
};

struct RunVisitor {
  const ArchConfig& arch;
  StreamId stream;
  RunList* list;

  bool operator()(const isa::End&) const { return true; }
  bool operator()(const isa::Sync&) const { return true; }
  bool operator()(const isa::Ldp&) const { return true; }
  bool operator()(const isa::Ldw&) const { return true; }
  bool operator()(const isa::Lda& o) const { return AddGrid(DmaGrid(o), list); }
  bool operator()(const isa::Sta& o) const { return AddGrid(DmaGrid(o), list); }
  bool operator()(const isa::Mma& o) const {
    if (stream == StreamId::kExeIn) return AddWindow(o, list);
    return AddGrid(stream == StreamId::kExeRes ? ResidualGrid(o) : OutGridOf(o), list);
  }
  bool operator()(const isa::Win& o) const {
    return stream == StreamId::kVecA ? AddWindow(o, list) : AddGrid(OutGridOf(o), list);
  }
  bool operator()(const isa::Elt& o) const {
    if (stream == StreamId::kVecOut) return AddGrid(OutGridOf(o), list);
    return AddGrid(stream == StreamId::kVecA ? GridA(o) : GridB(o), list);
  }
  bool operator()(const isa::Pack& o) const {
    return stream == StreamId::kVecA ? AddPlanes(arch, o, list) : AddGrid(OutGridOf(arch, o), list);
  }
};

void AddRange(uint64_t offset, uint64_t bytes, std::vector<MemoryRange>* ranges) {
  if (!ranges->empty() && ranges->back().offset + ranges->back().bytes == offset)
    ranges->back().bytes += bytes;
  else
    ranges->push_back({offset, bytes});
}

template <class Op>
std::optional<std::vector<MemoryUse>> DmaMemory(const ArchConfig& arch, const Op& op, bool write) {
  if (int64_t{op.n1} * op.n2 > kMaxSteps) return std::nullopt;
  MemoryUse use{.region = op.region,
                .write = write,
                .ranges = {},
                .steps = static_cast<uint64_t>(op.n1) * static_cast<uint64_t>(op.n2)};
  for (int p = 0; p < op.n2; ++p)
    for (int r = 0; r < op.n1; ++r) {
      const uint32_t offset = op.offset + static_cast<uint32_t>(p) * op.mem_stride2 +
                              static_cast<uint32_t>(r) * op.mem_stride1;
      AddRange(offset, static_cast<uint64_t>(op.n0) * static_cast<uint64_t>(arch.n), &use.ranges);
      if (use.ranges.size() > kMaxRuns) return std::nullopt;
    }
  return std::vector<MemoryUse>{std::move(use)};
}

std::optional<std::string> WrapReason(
    std::string_view stream, int wrap,
    std::initializer_list<std::pair<std::string_view, int>> values) {
  if (wrap == 0) return std::nullopt;
  for (const auto& [name, value] : values)
    if (value >= wrap)
      return fmt::format("{} = {} is not below {}_wrap = {}", name, value, stream, wrap);
  return std::nullopt;
}

struct OperandVisitor {
  const ArchConfig& arch;
  using Reason = std::optional<std::string>;

  Reason Aligned(std::string_view name, uint32_t value) const {
    if (value % static_cast<uint32_t>(arch.n) != 0)
      return fmt::format("{} = {:#x} is not a multiple of N = {}", name, value, arch.n);
    return std::nullopt;
  }
  Reason operator()(const isa::End&) const { return std::nullopt; }
  Reason operator()(const isa::Sync&) const { return std::nullopt; }
  Reason operator()(const isa::Ldp& o) const {
    if (auto r = Aligned("offset", o.offset)) return r;
    const auto memory = static_cast<ParameterMemory>(o.target);
    const int entries = ParameterEntries(arch, memory);
    if (o.index + o.count > entries)
      return fmt::format("entries {}..{} are beyond the {} of {}", o.index, o.index + o.count - 1,
                         entries, ParameterMemoryName(memory));
    return std::nullopt;
  }
  Reason operator()(const isa::Ldw& o) const { return Aligned("offset", o.offset); }
  template <class Op>
  Reason Dma(const Op& o) const {
    if (auto r = Aligned("offset", o.offset)) return r;
    if (auto r = Aligned("mem_stride1", o.mem_stride1)) return r;
    if (auto r = Aligned("mem_stride2", o.mem_stride2)) return r;
    return WrapReason("buf", o.buf_wrap,
                      {{"buf_row0", o.buf_row0}, {"buf_stride1", o.buf_stride1}});
  }
  Reason operator()(const isa::Lda& o) const { return Dma(o); }
  Reason operator()(const isa::Sta& o) const { return Dma(o); }
  template <class Op>
  Reason InWrap(const Op& o) const {
    return WrapReason(
        "in", o.in_wrap,
        {{"in_row0", o.in_row0}, {"in_oy_step", o.in_oy_step}, {"in_ky_step", o.in_ky_step}});
  }
  template <class Op>
  Reason OutWrap(const Op& o) const {
    return WrapReason("out", o.out_wrap,
                      {{"out_row0", o.out_row0}, {"out_row_step", o.out_row_step}});
  }
  Reason operator()(const isa::Mma& o) const {
    if (o.acc_base + o.mh * o.mw > arch.acc_depth)
      return fmt::format("acc_base {} + mh {} * mw {} is above the {} accumulators", o.acc_base,
                         o.mh, o.mw, arch.acc_depth);
    if (o.emit && o.pset >= arch.psets)
      return fmt::format("pset {} is beyond the {} parameter sets", o.pset, arch.psets);
    if (o.raw && (o.table || o.residual)) return "raw cannot go with table or residual";
    if (auto r = InWrap(o)) return r;
    if (!o.emit) return std::nullopt;
    if (auto r = OutWrap(o)) return r;
    if (o.residual)
      return WrapReason("res", o.res_wrap,
                        {{"res_row0", o.res_row0}, {"res_row_step", o.res_row_step}});
    return std::nullopt;
  }
  Reason operator()(const isa::Win& o) const {
    const int last_set = o.pset + (o.pset_shared ? 0 : o.blocks - 1);
    if (o.mode != isa::WinMode::kMax && last_set >= arch.psets)
      return fmt::format("parameter set {} is beyond the {}", last_set, arch.psets);
    const int rows = o.blocks * ((o.kh * o.kw + 3) / 4);
    if (o.mode == isa::WinMode::kDepthwise && o.wrow + rows > arch.wrows)
      return fmt::format("weight rows {}..{} are beyond the {}", o.wrow, o.wrow + rows - 1,
                         arch.wrows);
    if (auto r = InWrap(o)) return r;
    return OutWrap(o);
  }
  Reason operator()(const isa::Elt& o) const {
    if (o.mode == isa::EltMode::kAffine && o.pset + o.blocks > arch.psets)
      return fmt::format("parameter set {} is beyond the {}", o.pset + o.blocks - 1, arch.psets);
    if (auto r = WrapReason("a", o.a_wrap, {{"a_row0", o.a_row0}, {"a_row_step", o.a_row_step}}))
      return r;
    if (TwoStreams(o))
      if (auto r = WrapReason("b", o.b_wrap, {{"b_row0", o.b_row0}, {"b_row_step", o.b_row_step}}))
        return r;
    return OutWrap(o);
  }
  Reason operator()(const isa::Pack& o) const {
    if (o.in_off >= arch.n) return fmt::format("in_off {} is not below N = {}", o.in_off, arch.n);
    if (o.in_off_step >= arch.n)
      return fmt::format("in_off_step {} is not below N = {}", o.in_off_step, arch.n);
    return OutWrap(o);
  }
};

}  // namespace

std::string_view StreamName(StreamId stream) {
  constexpr std::string_view kNames[] = {"EXE in", "EXE residual", "VEC a",   "VEC b",
                                         "STO",    "EXE out",      "VEC out", "ACT"};
  return kNames[static_cast<size_t>(stream)];
}

std::string_view ParameterMemoryName(ParameterMemory memory) {
  constexpr std::string_view kNames[] = {"EXE_SET",    "EXE_CONST", "EXE_TABLE", "VEC_SET",
                                         "VEC_WEIGHT", "VEC_CONST", "VEC_TABLE"};
  return kNames[static_cast<size_t>(memory)];
}

int ParameterEntries(const ArchConfig& arch, ParameterMemory memory) {
  switch (memory) {
    case ParameterMemory::kExeSet:
    case ParameterMemory::kVecSet:
      return arch.psets;
    case ParameterMemory::kExeConst:
    case ParameterMemory::kVecConst:
      return isa::kConstSlots;
    case ParameterMemory::kExeTable:
    case ParameterMemory::kVecTable:
      return isa::kTableSlots;
    case ParameterMemory::kVecWeight:
      return arch.wrows;
  }
  return 0;
}

int ParameterBytes(const ArchConfig& arch, ParameterMemory memory) {
  switch (memory) {
    case ParameterMemory::kExeSet:
    case ParameterMemory::kVecSet:
      return arch.pset_bytes();
    case ParameterMemory::kExeConst:
    case ParameterMemory::kVecConst:
      return arch.const_bytes();
    case ParameterMemory::kExeTable:
    case ParameterMemory::kVecTable:
      return ArchConfig::table_bytes();
    case ParameterMemory::kVecWeight:
      return arch.wrow_bytes();
  }
  return 0;
}

int64_t TilesOf(const isa::Mma& op) { return int64_t{op.kh} * op.kw * op.blocks; }

std::vector<StreamUse> ClaimsOf(const isa::Operation& op) { return std::visit(ClaimVisitor{}, op); }

std::optional<std::vector<StreamUse>> StreamsOf(const ArchConfig& arch, const isa::Operation& op) {
  std::vector<StreamUse> uses = ClaimsOf(op);
  for (StreamUse& use : uses) {
    RunList list;
    if (!std::visit(RunVisitor{arch, use.stream, &list}, op)) return std::nullopt;
    use.runs = list.Take();
    use.steps = list.steps();
  }
  return uses;
}

std::optional<std::vector<MemoryUse>> MemoryOf(const ArchConfig& arch, const isa::Operation& op) {
  if (const auto* o = std::get_if<isa::Ldp>(&op)) {
    const auto bytes =
        static_cast<uint64_t>(o->count) *
        static_cast<uint64_t>(ParameterBytes(arch, static_cast<ParameterMemory>(o->target)));
    return std::vector<MemoryUse>{{o->region, false, {{o->offset, bytes}}}};
  }
  if (const auto* o = std::get_if<isa::Ldw>(&op)) {
    const auto bytes = static_cast<uint64_t>(o->tiles) * static_cast<uint64_t>(arch.tile_bytes());
    return std::vector<MemoryUse>{{o->region, false, {{o->offset, bytes}}}};
  }
  if (const auto* o = std::get_if<isa::Lda>(&op)) return DmaMemory(arch, *o, false);
  if (const auto* o = std::get_if<isa::Sta>(&op)) return DmaMemory(arch, *o, true);
  return std::vector<MemoryUse>{};
}

std::vector<ParameterUse> ParametersOf(const isa::Operation& op) {
  std::vector<ParameterUse> uses;
  uses.reserve(3);
  if (const auto* o = std::get_if<isa::Ldp>(&op)) {
    uses.push_back({static_cast<ParameterMemory>(o->target), o->index, o->count});
  } else if (const auto* o = std::get_if<isa::Mma>(&op)) {
    if (o->emit) uses.push_back({ParameterMemory::kExeSet, o->pset, 1});
    if (o->emit && o->table) uses.push_back({ParameterMemory::kExeTable, o->table_slot, 1});
    if (o->emit && o->residual) uses.push_back({ParameterMemory::kExeConst, o->const_slot, 1});
  } else if (const auto* o = std::get_if<isa::Win>(&op)) {
    if (o->mode != isa::WinMode::kMax)
      uses.push_back({ParameterMemory::kVecSet, o->pset, o->pset_shared ? 1 : o->blocks});
    if (o->mode == isa::WinMode::kDepthwise)
      uses.push_back({ParameterMemory::kVecWeight, o->wrow, o->blocks * ((o->kh * o->kw + 3) / 4)});
    if (o->table) uses.push_back({ParameterMemory::kVecTable, o->table_slot, 1});
  } else if (const auto* o = std::get_if<isa::Elt>(&op)) {
    if (TwoStreams(*o)) uses.push_back({ParameterMemory::kVecConst, o->const_slot, 1});
    if (o->mode == isa::EltMode::kAffine)
      uses.push_back({ParameterMemory::kVecSet, o->pset, o->blocks});
    if (o->table) uses.push_back({ParameterMemory::kVecTable, o->table_slot, 1});
  }
  return uses;
}

std::optional<std::string> OperandReason(const ArchConfig& arch, const isa::Operation& op) {
  if (auto reason = std::visit(OperandVisitor{arch}, op)) return reason;
  for (const StreamUse& use : ClaimsOf(op))
    if (use.bank + use.further >= arch.banks)
      return fmt::format("stream {} claims banks {}..{}, there are {}", StreamName(use.stream),
                         use.bank, use.bank + use.further, arch.banks);
  return std::nullopt;
}

}  // namespace octile
