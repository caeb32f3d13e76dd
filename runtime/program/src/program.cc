#include "octile/program/program.h"

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>

#include "program.pb.h"

namespace octile {
namespace {

static_assert(std::endian::native == std::endian::little,
              "instructions are copied as they lie in memory");

constexpr std::string_view kMagic("OCTILE\r\n", 8);
constexpr size_t kHeaderBytes = 64;
constexpr int kMaxRank = 8;
constexpr size_t kMaxLayers = 4096;  // 12-bit field

tl::unexpected<Error> Bad(std::string message) {
  return Fail(ErrorCode::kProgram, std::move(message));
}

void PutLittle(uint8_t* to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to[i] = static_cast<uint8_t>(value >> (8 * i));
}
uint64_t GetLittle(const uint8_t* from, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= uint64_t{from[i]} << (8 * i);
  return value;
}
// CRC-32 (reflected polynomial 0xedb88320) eight bytes at a time: table [k] takes a byte over k
// more bytes.
constexpr auto kCrcTables = [] {
  std::array<std::array<uint32_t, 256>, 8> tables{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ (c & 1 ? 0xedb88320u : 0);
    tables[0][i] = c;
  }
  for (size_t k = 1; k < tables.size(); ++k)
    for (size_t i = 0; i < 256; ++i)
      tables[k][i] = (tables[k - 1][i] >> 8) ^ tables[0][tables[k - 1][i] & 0xff];
  return tables;
}();

// Of bytes behind others whose CRC is `before`.
uint32_t Crc(std::span<const uint8_t> bytes, uint32_t before = 0) {
  uint32_t crc = ~before;
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint32_t next = 0;
    for (size_t k = 0; k < 8; ++k) {
      const uint32_t byte = bytes[i + k] ^ (k < 4 ? (crc >> (8 * k)) & 0xff : 0);
      next ^= kCrcTables[7 - k][byte];
    }
    crc = next;
  }
  for (; i < bytes.size(); ++i) crc = (crc >> 8) ^ kCrcTables[0][(crc ^ bytes[i]) & 0xff];
  return ~crc;
}

// a * b + c for non-negative numbers, saturated.
uint64_t MulAdd(uint64_t a, uint64_t b, uint64_t c) {
  uint64_t r = 0;
  if (__builtin_mul_overflow(a, b, &r) || __builtin_add_overflow(r, c, &r)) return UINT64_MAX;
  return r;
}

// Axes stay inside the stored dimensions and visit as many elements as the shape has.
Status CheckViewAxes(const TensorDescriptor& t, int64_t elements,
                     std::span<const int64_t> dimensions) {
  if (t.view.empty()) return {};
  if (t.view.size() > kMostViewAxes)
    return Bad(fmt::format("{} view axes are above {}", t.view.size(), kMostViewAxes));
  std::array<int64_t, 4> last{};  // greatest index of each coordinate
  Shape extents;
  for (const ViewAxis& axis : t.view) {
    const auto coordinate = static_cast<size_t>(axis.coordinate);
    const int64_t size = dimensions[coordinate];
    extents.push_back(axis.extent);
    if (axis.extent < 1 || axis.extent > size || axis.first < 0 || axis.first >= size ||
        axis.step < 1 || (axis.extent > 1 && axis.step >= size))
      return Bad(fmt::format("view axis {} of {}, step {}, lies outside a dimension of {}",
                             axis.first, axis.extent, axis.step, size));
    const uint64_t reach =
        MulAdd(static_cast<uint64_t>(axis.extent - 1), static_cast<uint64_t>(axis.step),
               static_cast<uint64_t>(last[coordinate]) + static_cast<uint64_t>(axis.first));
    if (reach >= static_cast<uint64_t>(size))
      return Bad(fmt::format("view axes reach {} in a dimension of {}", reach, size));
    last[coordinate] = static_cast<int64_t>(reach);
  }
  if (ElementCount(extents) != elements)
    return Bad(fmt::format("view axes visit {} elements, shape {} has {}", ElementCount(extents),
                           ShapeName(t.shape), elements));
  return {};
}

Status CheckTensor(const Program& p, const TensorDescriptor& t) {
  if (t.shape.size() > kMaxRank)
    return Bad(fmt::format("rank {} is above {}", t.shape.size(), kMaxRank));
  for (const int64_t d : t.shape)
    if (d < 1) return Bad(fmt::format("dimension {} is below 1", d));
  for (const int64_t d : {t.images, t.channels, t.rows, t.columns})
    if (d < 1) return Bad(fmt::format("view dimension {} is below 1", d));
  for (const int64_t pitch : {t.image_pitch, t.block_pitch, t.row_pitch})
    if (pitch < 0) return Bad(fmt::format("pitch {} is negative", pitch));
  const int64_t view[] = {t.images, t.channels, t.rows, t.columns};
  const int64_t elements = ElementCount(t.shape);
  const bool fits =
      t.view.empty() ? ElementCount(view) == elements : ElementCount(view) >= elements;
  if (!fits || ElementCount(view) == INT64_MAX)
    return Bad(fmt::format("shape {} and view {} differ in elements", ShapeName(t.shape),
                           ShapeName(view)));
  OCTILE_RETURN_IF_ERROR(CheckViewAxes(t, elements, view));
  if (t.quantized && !(std::isfinite(t.scale) && t.scale > 0))
    return Bad(fmt::format("scale {} is not a positive number", t.scale));
  if (t.quantized && (t.zero_point < -128 || t.zero_point > 255))
    return Bad(fmt::format("zero point {} is no 8-bit code", t.zero_point));
  if (t.region < 0 || static_cast<size_t>(t.region) >= p.regions.size())
    return Bad(fmt::format("region {} does not exist (there are {})", t.region, p.regions.size()));
  const uint64_t end = t.end(p.arch.n);
  if (end > p.regions[static_cast<size_t>(t.region)].size)
    return Bad(fmt::format("ends at byte {} of region {}, which has {} bytes", end, t.region,
                           p.regions[static_cast<size_t>(t.region)].size));
  // Elements on top of each other are no tensor, and would let a small file ask for much memory.
  const uint64_t bytes = MulAdd(static_cast<uint64_t>(ElementCount(view)),
                                static_cast<uint64_t>(DTypeSize(t.dtype)), 0);
  if (bytes > p.regions[static_cast<size_t>(t.region)].size)
    return Bad(fmt::format("holds {} bytes in region {}, which has {}", bytes, t.region,
                           p.regions[static_cast<size_t>(t.region)].size));
  return {};
}

Status CheckPlan(const Program& p, const PlanItem& item) {
  if (item.kind != PlanKind::kDevice) return {};
  const int64_t total = static_cast<int64_t>(p.instructions.size());
  if (item.first < 0 || item.count < 1 || item.first > total || item.count > total - item.first)
    return Bad(fmt::format("instructions {}..+{} are not among the program's {}", item.first,
                           item.count, total));
  if (item.first % 4 != 0)
    return Bad(fmt::format("first instruction {} is not a multiple of 4", item.first));
  const auto& last = p.instructions[static_cast<size_t>(item.first + item.count - 1)];
  if (isa::OpcodeBits(last) != static_cast<int>(isa::Opcode::kEnd))
    return Bad(fmt::format("instruction {} at its end is not END", item.first + item.count - 1));
  return {};
}

Status CheckObservation(const Program& p, const Observation& o) {
  if (o.instruction < 0 || static_cast<size_t>(o.instruction) >= p.instructions.size())
    return Bad(fmt::format("instruction {} does not exist", o.instruction));
  if (o.step < 0 || o.tensor < -1 || o.image < 0 || o.block < 0 || o.blocks < 1 || o.y0 < 0 ||
      o.x0 < 0 || o.rows < 1 || o.columns < 1 || o.channels < 0 || o.y_step < 1 || o.x_step < 1)
    return Bad("a count or index is negative or zero");
  if (o.map < -1 || (o.map >= 0 && static_cast<size_t>(o.map) >= p.channel_maps.size()))
    return Bad(fmt::format("channel map {} does not exist", o.map));
  if (o.map >= 0 && (int64_t{o.block} + o.blocks) * p.arch.n >
                        static_cast<int64_t>(p.channel_maps[static_cast<size_t>(o.map)].size()))
    return Bad(fmt::format("blocks beyond channel map {}", o.map));
  return {};
}

// Whole blocks, each channel at most once.
Status CheckChannelMap(const Program& p, const std::vector<int32_t>& map) {
  if (map.empty() || map.size() % static_cast<size_t>(p.arch.n) != 0)
    return Bad(fmt::format("{} entries are no whole blocks of {} lanes", map.size(), p.arch.n));
  std::vector<int32_t> sorted;
  for (const int32_t channel : map) {
    if (channel < -1) return Bad(fmt::format("channel {} does not exist", channel));
    if (channel >= 0) sorted.push_back(channel);
  }
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end()) return Bad(fmt::format("channel {} stands twice", *twice));
  return {};
}

template <class T>
Expected<T> EnumOf(int value, T last, std::string_view what) {
  if (value < 0 || value > static_cast<int>(last))
    return Bad(fmt::format("{} {} is unknown", what, value));
  return static_cast<T>(value);
}

Status WithPlace(std::string_view place, size_t index, std::string_view name, Status status) {
  if (status) return {};
  return Bad(fmt::format("{}[{}]{}: {}", place, index,
                         name.empty() ? "" : fmt::format(" '{}'", name), status.error().message));
}

void ToProto(const Program& p, proto::Program* m) {
  m->set_producer(p.producer);
  m->set_isa_version(p.isa_version);
  m->set_arch_hash(p.arch_hash());
  m->set_config(p.config);
  auto* arch = m->mutable_arch();
  arch->set_n(p.arch.n);
  arch->set_weight_rows(p.arch.weight_rows);
  arch->set_ring_tiles(p.arch.ring_tiles);
  arch->set_acc_depth(p.arch.acc_depth);
  arch->set_banks(p.arch.banks);
  arch->set_bank_depth(p.arch.bank_depth);
  arch->set_psets(p.arch.psets);
  arch->set_wrows(p.arch.wrows);
  arch->set_read_bursts(p.arch.read_bursts);
  arch->set_write_bursts(p.arch.write_bursts);
  m->set_model(p.model);
  m->set_instructions(p.instructions.data(), p.instructions.size() * isa::kInstructionBytes);
  for (const Region& r : p.regions) {
    auto* o = m->add_regions();
    o->set_kind(static_cast<int>(r.kind));
    o->set_name(r.name);
    o->set_size(r.size);
    o->set_read(r.read);
    o->set_write(r.write);
    o->set_execute(r.execute);
    o->set_data(r.data.data(), r.data.size());
  }
  for (const TensorDescriptor& t : p.tensors) {
    auto* o = m->add_tensors();
    o->set_name(t.name);
    o->set_dtype(std::string(DTypeName(t.dtype)));
    for (const int64_t d : t.shape) o->add_shape(d);
    o->set_quantized(t.quantized);
    o->set_scale(t.scale);
    o->set_zero_point(t.zero_point);
    o->set_role(static_cast<int>(t.role));
    o->set_region(t.region);
    o->set_offset(t.offset);
    o->set_layout(static_cast<int>(t.layout));
    o->set_images(t.images);
    o->set_channels(t.channels);
    o->set_rows(t.rows);
    o->set_columns(t.columns);
    o->set_image_pitch(t.image_pitch);
    o->set_block_pitch(t.block_pitch);
    o->set_row_pitch(t.row_pitch);
    o->set_graph_tensor(t.graph_tensor);
    for (const ViewAxis& axis : t.view) {
      auto* a = o->add_view();
      a->set_extent(axis.extent);
      a->set_coordinate(static_cast<int>(axis.coordinate));
      a->set_first(axis.first);
      a->set_step(axis.step);
    }
  }
  for (const PlanItem& i : p.plan) {
    auto* o = m->add_plan();
    o->set_kind(static_cast<int>(i.kind));
    o->set_first(i.first);
    o->set_count(i.count);
    for (const int32_t s : i.steps) o->add_steps(s);
    o->set_name(i.name);
    o->set_reason(i.reason);
    for (const std::string& s : i.inputs) o->add_inputs(s);
    for (const std::string& s : i.outputs) o->add_outputs(s);
  }
  for (const Layer& l : p.layers) {
    auto* o = m->add_layers();
    o->set_name(l.name);
    for (const std::string& s : l.nodes) o->add_nodes(s);
    for (const int32_t s : l.steps) o->add_steps(s);
    o->set_macs(l.macs);
    o->set_estimated_cycles(l.estimated_cycles);
  }
  for (const Observation& v : p.observations) {
    auto* o = m->add_observations();
    o->set_instruction(v.instruction);
    o->set_step(v.step);
    o->set_tensor(v.tensor);
    o->set_image(v.image);
    o->set_block(v.block);
    o->set_blocks(v.blocks);
    o->set_y0(v.y0);
    o->set_x0(v.x0);
    o->set_rows(v.rows);
    o->set_columns(v.columns);
    o->set_channels(v.channels);
    o->set_raw(v.raw);
    o->set_planar(v.planar);
    o->set_y_step(v.y_step);
    o->set_x_step(v.x_step);
    o->set_map(v.map + 1);
  }
  for (const std::vector<int32_t>& map : p.channel_maps) {
    auto* order = m->add_channel_maps();
    for (const int32_t channel : map) order->add_channels(static_cast<uint32_t>(channel + 1));
  }
  m->set_estimated_cycles(p.estimated_cycles);
}

std::vector<uint8_t> BytesOf(const std::string& text) { return {text.begin(), text.end()}; }

Expected<TensorDescriptor> TensorFrom(const proto::Tensor& o) {
  TensorDescriptor t;
  t.name = o.name();
  OCTILE_ASSIGN_OR_RETURN(t.dtype, ParseDType(o.dtype()));
  t.shape.assign(o.shape().begin(), o.shape().end());
  t.quantized = o.quantized();
  t.scale = o.scale();
  t.zero_point = o.zero_point();
  OCTILE_ASSIGN_OR_RETURN(t.role, EnumOf(o.role(), TensorRole::kIntermediate, "role"));
  t.region = o.region();
  t.offset = o.offset();
  OCTILE_ASSIGN_OR_RETURN(t.layout, EnumOf(o.layout(), Layout::kBlocked, "layout"));
  t.images = o.images();
  t.channels = o.channels();
  t.rows = o.rows();
  t.columns = o.columns();
  t.image_pitch = o.image_pitch();
  t.block_pitch = o.block_pitch();
  t.row_pitch = o.row_pitch();
  t.graph_tensor = o.graph_tensor();
  for (const proto::ViewAxis& a : o.view()) {
    ViewAxis& axis = t.view.emplace_back();
    axis.extent = a.extent();
    OCTILE_ASSIGN_OR_RETURN(axis.coordinate,
                            EnumOf(a.coordinate(), ViewCoordinate::kColumn, "view coordinate"));
    axis.first = a.first();
    axis.step = a.step();
  }
  return t;
}

Expected<Program> FromProto(const proto::Program& m) {
  Program p;
  p.producer = m.producer();
  p.isa_version = m.isa_version();
  if (p.isa_version != isa::kVersion)
    return Bad(fmt::format(
        "made for ISA version {}.{}, this Octile has {}.{}; compile the model again",
        p.isa_version >> 16, p.isa_version & 0xffff, isa::kVersionMajor, isa::kVersionMinor));
  p.config = m.config();
  const auto& arch = m.arch();
  p.arch = {.n = arch.n(),
            .weight_rows = arch.weight_rows(),
            .ring_tiles = arch.ring_tiles(),
            .acc_depth = arch.acc_depth(),
            .banks = arch.banks(),
            .bank_depth = arch.bank_depth(),
            .psets = arch.psets(),
            .wrows = arch.wrows(),
            .read_bursts = arch.read_bursts(),
            .write_bursts = arch.write_bursts()};
  OCTILE_RETURN_IF_ERROR(Validate(p.arch));
  if (m.arch_hash() != p.arch_hash())
    return Bad(
        fmt::format("architecture hash {:#018x} does not belong to its architecture ({}), whose "
                    "hash is {:#018x}",
                    m.arch_hash(), ArchText(p.arch), p.arch_hash()));
  p.model = m.model();
  if (m.instructions().size() % isa::kInstructionBytes != 0)
    return Bad(fmt::format("instructions: {} bytes are not a multiple of {}",
                           m.instructions().size(), isa::kInstructionBytes));
  p.instructions.resize(m.instructions().size() / isa::kInstructionBytes);
  if (!p.instructions.empty())
    std::memcpy(p.instructions.data(), m.instructions().data(), m.instructions().size());
  for (const auto& o : m.regions()) {
    Region r;
    auto kind = EnumOf(o.kind(), RegionKind::kScratch, "kind");
    if (!kind) return Bad(fmt::format("regions[{}]: {}", p.regions.size(), kind.error().message));
    r.kind = *kind;
    r.name = o.name();
    r.size = o.size();
    r.read = o.read();
    r.write = o.write();
    r.execute = o.execute();
    r.data = BytesOf(o.data());
    p.regions.push_back(std::move(r));
  }
  for (const auto& o : m.tensors()) {
    auto t = TensorFrom(o);
    if (!t)
      return Bad(
          fmt::format("tensors[{}] '{}': {}", p.tensors.size(), o.name(), t.error().message));
    p.tensors.push_back(std::move(*t));
  }
  for (const auto& o : m.plan()) {
    PlanItem i;
    auto kind = EnumOf(o.kind(), PlanKind::kEdge, "kind");
    if (!kind) return Bad(fmt::format("plan[{}]: {}", p.plan.size(), kind.error().message));
    i.kind = *kind;
    i.first = o.first();
    i.count = o.count();
    i.steps.assign(o.steps().begin(), o.steps().end());
    i.name = o.name();
    i.reason = o.reason();
    i.inputs.assign(o.inputs().begin(), o.inputs().end());
    i.outputs.assign(o.outputs().begin(), o.outputs().end());
    p.plan.push_back(std::move(i));
  }
  for (const auto& o : m.layers()) {
    Layer l;
    l.name = o.name();
    l.nodes.assign(o.nodes().begin(), o.nodes().end());
    l.steps.assign(o.steps().begin(), o.steps().end());
    l.macs = o.macs();
    l.estimated_cycles = o.estimated_cycles();
    p.layers.push_back(std::move(l));
  }
  for (const auto& o : m.observations())
    p.observations.push_back({.instruction = o.instruction(),
                              .step = o.step(),
                              .tensor = o.tensor(),
                              .image = o.image(),
                              .block = o.block(),
                              .blocks = o.blocks(),
                              .y0 = o.y0(),
                              .x0 = o.x0(),
                              .rows = o.rows(),
                              .columns = o.columns(),
                              .channels = o.channels(),
                              .raw = o.raw(),
                              .planar = o.planar(),
                              .y_step = o.y_step(),
                              .x_step = o.x_step(),
                              .map = static_cast<int32_t>(int64_t{o.map()} - 1)});
  for (const auto& order : m.channel_maps()) {
    std::vector<int32_t>& map = p.channel_maps.emplace_back();
    for (const uint32_t channel : order.channels()) {
      if (channel > INT32_MAX)
        return Bad(fmt::format("channel_maps[{}]: channel {} does not exist",
                               p.channel_maps.size() - 1, channel));
      map.push_back(static_cast<int32_t>(channel) - 1);
    }
  }
  p.estimated_cycles = m.estimated_cycles();
  p.graph = BytesOf(m.graph());
  OCTILE_RETURN_IF_ERROR(ValidateProgram(p));
  return p;
}

Expected<Program> Parse(std::span<const uint8_t> bytes) {
  if (bytes.size() < kHeaderBytes)
    return Bad(fmt::format("{} bytes are too few for a program (the header alone has {})",
                           bytes.size(), kHeaderBytes));
  if (std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0)
    return Bad("not an Octile program (wrong magic number)");
  const uint64_t version = GetLittle(bytes.data() + 8, 4);
  if (version != kProgramSchemaVersion)
    return Bad(
        fmt::format("container version {}, this Octile reads version {}; compile the model again",
                    version, kProgramSchemaVersion));
  const uint64_t size = GetLittle(bytes.data() + 16, 8);
  if (size != bytes.size() - kHeaderBytes)
    return Bad(fmt::format(
        "the header promises {} bytes behind it, there are {} (truncated or overlong file)", size,
        bytes.size() - kHeaderBytes));
  for (size_t i = 24; i < kHeaderBytes; ++i)
    if (bytes[i] != 0) return Bad(fmt::format("header byte {} is not zero", i));
  const auto body = bytes.subspan(kHeaderBytes);
  const uint64_t stored = GetLittle(bytes.data() + 12, 4);
  const uint32_t computed = Crc(body);
  if (stored != computed)
    return Bad(fmt::format("checksum is {:#010x}, the contents give {:#010x} (damaged file)",
                           stored, computed));
  if (body.size() > INT32_MAX)
    return Bad(fmt::format("{} bytes are above the limit of 2 GiB", body.size()));
  proto::Program message;
  google::protobuf::io::CodedInputStream stream(body.data(), static_cast<int>(body.size()));
  if (!message.ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage())
    return Bad("the body is not a program message");
  return FromProto(message);
}

}  // namespace

std::string_view RegionKindName(RegionKind kind) {
  constexpr std::string_view kNames[] = {"program", "constants", "inputs", "outputs", "scratch"};
  return static_cast<size_t>(kind) < std::size(kNames) ? kNames[static_cast<size_t>(kind)] : "?";
}

std::string_view PlanKindName(PlanKind kind) {
  constexpr std::string_view kNames[] = {"device", "host", "edge"};
  return static_cast<size_t>(kind) < std::size(kNames) ? kNames[static_cast<size_t>(kind)] : "?";
}

uint64_t TensorDescriptor::end(int n) const {
  const auto size = static_cast<uint64_t>(DTypeSize(dtype));
  const auto lanes = static_cast<uint64_t>(n);
  const auto blocks = layout == Layout::kBlocked
                          ? (static_cast<uint64_t>(channels) + lanes - 1) / lanes
                          : static_cast<uint64_t>(channels);
  const uint64_t step = layout == Layout::kBlocked ? lanes * size : size;
  uint64_t end = MulAdd(static_cast<uint64_t>(columns), step, offset);
  end = MulAdd(static_cast<uint64_t>(rows - 1), static_cast<uint64_t>(row_pitch), end);
  end = MulAdd(blocks - 1, static_cast<uint64_t>(block_pitch), end);
  return MulAdd(static_cast<uint64_t>(images - 1), static_cast<uint64_t>(image_pitch), end);
}

uint64_t TensorDescriptor::address(int n, int64_t i, int64_t c, int64_t y, int64_t x) const {
  const int64_t size = DTypeSize(dtype);
  const int64_t inner = layout == Layout::kBlocked ? c / n * block_pitch + (x * n + c % n) * size
                                                   : c * block_pitch + x * size;
  return offset + static_cast<uint64_t>(i * image_pitch + y * row_pitch + inner);
}

Status ValidateProgram(const Program& p) {
  OCTILE_RETURN_IF_ERROR(Validate(p.arch));
  if (p.regions.size() > isa::kRegions)
    return Bad(fmt::format("{} regions are above the {} the hardware has", p.regions.size(),
                           isa::kRegions));
  for (size_t i = 0; i < p.regions.size(); ++i) {
    const Region& r = p.regions[i];
    if (r.size > UINT32_MAX)
      return Bad(fmt::format("regions[{}] '{}': {} bytes are above 4 GiB", i, r.name, r.size));
    if (r.data.size() > r.size)
      return Bad(fmt::format("regions[{}] '{}': {} bytes of data do not fit its {} bytes", i,
                             r.name, r.data.size(), r.size));
    if (r.kind == RegionKind::kProgram && r.size < p.instructions.size() * isa::kInstructionBytes)
      return Bad(fmt::format("regions[{}] '{}': {} instructions do not fit its {} bytes", i, r.name,
                             p.instructions.size(), r.size));
  }
  for (size_t i = 0; i < p.tensors.size(); ++i)
    OCTILE_RETURN_IF_ERROR(
        WithPlace("tensors", i, p.tensors[i].name, CheckTensor(p, p.tensors[i])));
  for (size_t i = 0; i < p.plan.size(); ++i)
    OCTILE_RETURN_IF_ERROR(WithPlace("plan", i, p.plan[i].name, CheckPlan(p, p.plan[i])));
  if (p.layers.size() > kMaxLayers)
    return Bad(fmt::format("{} layers are above {}", p.layers.size(), kMaxLayers));
  for (size_t i = 0; i < p.layers.size(); ++i)
    if (p.layers[i].macs < 0)
      return Bad(fmt::format("layers[{}] '{}': negative macs", i, p.layers[i].name));
  for (size_t i = 0; i < p.channel_maps.size(); ++i)
    OCTILE_RETURN_IF_ERROR(WithPlace("channel_maps", i, "", CheckChannelMap(p, p.channel_maps[i])));
  for (size_t i = 0; i < p.observations.size(); ++i)
    OCTILE_RETURN_IF_ERROR(
        WithPlace("observations", i, "", CheckObservation(p, p.observations[i])));
  return {};
}

// The container up to the bytes of the graph, which end it and are by far its greatest part: they
// need not be copied to be saved. The length counts them.
static Expected<std::vector<uint8_t>> SerializeFront(const Program& program) {
  OCTILE_RETURN_IF_ERROR(ValidateProgram(program));
  constexpr uint32_t kGraphTag = proto::Program::kGraphFieldNumber << 3 | 2;  // length-delimited
  proto::Program message;
  ToProto(program, &message);
  using Coded = google::protobuf::io::CodedOutputStream;
  const size_t graph = program.graph.size();
  size_t front = message.ByteSizeLong();
  if (graph > 0) front += Coded::VarintSize32(kGraphTag) + Coded::VarintSize64(graph);
  const size_t size = front + graph;
  if (size > INT32_MAX)
    return Bad(fmt::format("program: {} bytes are above the limit of 2 GiB", size));
  std::vector<uint8_t> bytes(kHeaderBytes + front);
  {
    google::protobuf::io::ArrayOutputStream array(bytes.data() + kHeaderBytes,
                                                  static_cast<int>(front));
    Coded stream(&array);
    stream.SetSerializationDeterministic(true);
    if (!message.SerializeToCodedStream(&stream))
      return Fail(ErrorCode::kInternal, "program: cannot be serialized");
    if (graph > 0) {
      stream.WriteTag(kGraphTag);
      stream.WriteVarint64(graph);
    }
  }
  const std::span<const uint8_t> body = std::span<const uint8_t>(bytes).subspan(kHeaderBytes);
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  PutLittle(bytes.data() + 8, kProgramSchemaVersion, 4);
  PutLittle(bytes.data() + 12, Crc(program.graph, Crc(body)), 4);
  PutLittle(bytes.data() + 16, size, 8);
  return bytes;
}

Expected<std::vector<uint8_t>> SerializeProgram(const Program& program) {
  OCTILE_ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, SerializeFront(program));
  bytes.insert(bytes.end(), program.graph.begin(), program.graph.end());
  return bytes;
}

Expected<Program> ParseProgram(std::span<const uint8_t> bytes, std::string_view name) {
  auto program = Parse(bytes);
  if (!program) return Bad(fmt::format("program '{}': {}", name, program.error().message));
  return program;
}

Status SaveProgram(const Program& program, const std::filesystem::path& file) {
  OCTILE_ASSIGN_OR_RETURN(const auto bytes, SerializeFront(program));
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  out.write(reinterpret_cast<const char*>(program.graph.data()),
            static_cast<std::streamsize>(program.graph.size()));
  out.close();
  if (!out) return Bad(fmt::format("cannot write program '{}'", file.string()));
  return {};
}

Expected<Program> LoadProgram(const std::filesystem::path& file, uint64_t max_bytes) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error))
    return Bad(fmt::format("program '{}' is not a file", file.string()));
  const uint64_t size = std::filesystem::file_size(file, error);
  if (error)
    return Bad(fmt::format("cannot read program '{}': {}", file.string(), error.message()));
  if (size > max_bytes)
    return Bad(fmt::format("program '{}': {} bytes are above the limit of {}", file.string(), size,
                           max_bytes));
  std::ifstream in(file, std::ios::binary);
  std::vector<uint8_t> bytes(size);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (!in || static_cast<uint64_t>(in.gcount()) != size)
    return Bad(fmt::format("cannot read program '{}'", file.string()));
  return ParseProgram(bytes, file.string());
}

}  // namespace octile
