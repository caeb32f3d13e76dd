// Placement, tile buffers and emission: the parts of Lowering that every kind of step uses.
#include <algorithm>

#include "accesses.h"
#include "lowering.h"

namespace octile::codegen {

void Lowering::Emit(isa::Operation op, std::optional<Observation> observation) {
  isa::HeaderOf(op).layer = layer_;
  SetClaims(op, AccessesOf(op, arch_), arch_);
  emitted_.push_back({std::move(op), std::move(observation)});
}

Observation Lowering::Observe(ir::TensorId tensor, int64_t block, int64_t blocks, int64_t y0,
                              int64_t x0, int64_t rows, int64_t columns, bool raw) const {
  const Form& form = FormAt(tensor);
  Observation o;
  o.step = group_step_;
  o.tensor = tensor;
  o.block = static_cast<int32_t>(block);
  o.blocks = static_cast<int32_t>(blocks);
  o.y0 = static_cast<int32_t>(y0);
  o.x0 = static_cast<int32_t>(x0);
  o.rows = static_cast<int32_t>(rows);
  o.columns = static_cast<int32_t>(columns);
  o.channels = static_cast<int32_t>(std::min<int64_t>(blocks * n_, form.c - block * n_));
  o.raw = raw;
  o.planar = planar_[static_cast<size_t>(tensor)];
  o.map = map_index_[static_cast<size_t>(Root(tensor))];
  return o;
}

bool Lowering::ReserveTiles(const std::vector<std::pair<TileBuffers*, int>>& wants, int copies) {
  std::vector<Buffer> taken;
  for (const auto& [tiles, banks] : wants) {
    tiles->buffers.clear();
    tiles->next = 0;
    for (int i = 0; banks > 0 && i < copies; ++i) {
      const std::optional<Buffer> buffer = banks_.Allocate(banks);
      if (!buffer) {
        for (const Buffer& b : taken) banks_.Free(b);
        return false;
      }
      taken.push_back(*buffer);
      tiles->buffers.push_back(*buffer);
    }
  }
  tile_buffers_.insert(tile_buffers_.end(), taken.begin(), taken.end());
  return true;
}

void Lowering::ReleaseTiles() {
  for (const Buffer& buffer : tile_buffers_) banks_.Free(buffer);
  tile_buffers_.clear();
}

void Lowering::Load(const Place& place, const Form& form, const Box& box, int32_t address) {
  const int64_t vector_bytes = n_;
  const int64_t per_pixel = place.vectors_per_pixel;
  const int64_t row = form.w * per_pixel;  // vectors of a row in memory
  // Vectors of a channel block in memory.
  const int64_t plane = place.memory_plane != 0 ? place.memory_plane : form.h * row;
  const int64_t columns = (box.x1 - box.x0) * per_pixel;
  const int64_t rows = box.y1 - box.y0;
  const int64_t blocks = box.b1 - box.b0;
  isa::Lda lda;
  lda.region = place.region;
  lda.offset = static_cast<uint32_t>(
      place.offset + (box.b0 * plane + box.y0 * row + box.x0 * per_pixel) * vector_bytes);
  lda.buf_addr = address;
  if (columns == row && rows * row == plane && blocks * plane <= 65535) {
    lda.n0 = static_cast<int32_t>(blocks * plane);
  } else if (columns == row && rows * row <= 65535) {
    lda.n0 = static_cast<int32_t>(rows * row);
    lda.n1 = static_cast<int32_t>(blocks);
    lda.mem_stride1 = static_cast<uint32_t>(plane * vector_bytes);
    lda.buf_stride1 = static_cast<int32_t>(rows * row);
  } else {
    lda.n0 = static_cast<int32_t>(columns);
    lda.n1 = static_cast<int32_t>(rows);
    lda.n2 = static_cast<int32_t>(blocks);
    lda.mem_stride1 = static_cast<uint32_t>(row * vector_bytes);
    lda.mem_stride2 = static_cast<uint32_t>(plane * vector_bytes);
    lda.buf_stride1 = static_cast<int32_t>(columns);
    lda.buf_stride2 = static_cast<int32_t>(rows * columns);
  }
  Emit(lda);
}

View Lowering::Fetch(ir::TensorId id, const Box& box, TileBuffers& tiles) {
  const Place& place = At(id);
  if (place.buffer) {
    return {BufferAddress(place), FormAt(id).w, BufferPlane(id)};
  }
  const Buffer buffer = tiles.buffers[tiles.next++ % tiles.buffers.size()];
  return LoadBox(id, box, int64_t{buffer.bank} * arch_.bank_depth);
}

View Lowering::LoadBox(ir::TensorId id, const Box& box, int64_t address) {
  Load(At(id), FormAt(id), box, static_cast<int32_t>(address));
  const int64_t pitch = box.x1 - box.x0;
  const int64_t blk = (box.y1 - box.y0) * pitch;
  return {address - box.b0 * blk - box.y0 * pitch - box.x0, pitch, blk};
}

View Lowering::FetchCopy(ir::TensorId id, const Box& box, TileBuffers& tiles) {
  const View from = Fetch(id, box, tiles);  // resident: takes no tile buffer
  const Buffer buffer = tiles.buffers[tiles.next++ % tiles.buffers.size()];
  const int64_t address = int64_t{buffer.bank} * arch_.bank_depth;
  const int64_t pitch = box.x1 - box.x0;
  const int64_t blk = (box.y1 - box.y0) * pitch;
  isa::Elt elt;
  elt.blocks = static_cast<int32_t>(box.b1 - box.b0);
  elt.mh = static_cast<int32_t>(box.y1 - box.y0);
  elt.mw = static_cast<int32_t>(pitch);
  elt.a_addr = from.at(box.b0, box.y0, box.x0);
  elt.a_row_step = static_cast<int32_t>(from.pitch & 0xffff);
  elt.a_blk_stride = static_cast<int32_t>(from.blk_stride & 0xffff);
  elt.a_x_step = 1;
  elt.out_addr = static_cast<int32_t>(address);
  elt.out_row_step = static_cast<int32_t>(pitch & 0xffff);
  elt.out_blk_stride = static_cast<int32_t>(blk & 0xffff);
  elt.out_x_step = 1;
  Emit(elt);
  return {address - box.b0 * blk - box.y0 * pitch - box.x0, pitch, blk};
}

bool Lowering::ShareBanks(ir::TensorId a, ir::TensorId b) const {
  const Place& first = At(a);
  const Place& second = At(b);
  if (!first.buffer || !second.buffer) return false;
  const auto banks = [&](ir::TensorId id, const Place& place) {
    const int64_t begin = BufferAddress(place);
    return std::pair(
        begin / arch_.bank_depth,
        (begin + (FormAt(id).blocks(n_) - 1) * BufferPlane(id) + FormAt(id).pixels() - 1) /
            arch_.bank_depth);
  };
  const auto [first_begin, first_last] = banks(a, first);
  const auto [second_begin, second_last] = banks(b, second);
  return first_begin <= second_last && second_begin <= first_last;
}

View Lowering::OutputView(ir::TensorId id, const Box& box, TileBuffers& tiles) {
  const Place& place = At(id);
  const int64_t per_pixel = place.vectors_per_pixel;
  if (place.buffer) {
    return {BufferAddress(place), FormAt(id).w * per_pixel, BufferPlane(id)};
  }
  const Buffer buffer = tiles.buffers[tiles.next++ % tiles.buffers.size()];
  const int64_t address = int64_t{buffer.bank} * arch_.bank_depth;
  const int64_t pitch = (box.x1 - box.x0) * per_pixel;
  const int64_t blk = (box.y1 - box.y0) * pitch;
  return {address - box.b0 * blk - box.y0 * pitch - box.x0 * per_pixel, pitch, blk};
}

void Lowering::Store(ir::TensorId id, const Box& box, const View& view) {
  const Place& place = At(id);
  if (place.buffer) return;
  const int64_t per_pixel = place.vectors_per_pixel;
  const int64_t row = FormAt(id).w * per_pixel;
  const int64_t plane = place.memory_plane != 0 ? place.memory_plane : FormAt(id).h * row;
  const int64_t columns = (box.x1 - box.x0) * per_pixel;
  const int64_t rows = box.y1 - box.y0;
  const int64_t blocks = box.b1 - box.b0;
  isa::Sta sta;
  sta.region = place.region;
  sta.offset = static_cast<uint32_t>(place.offset +
                                     (box.b0 * plane + box.y0 * row + box.x0 * per_pixel) * n_);
  sta.buf_addr = view.at(box.b0, box.y0, box.x0, per_pixel);
  if (columns == row && rows * row <= 65535) {
    sta.n0 = static_cast<int32_t>(rows * row);
    sta.n1 = static_cast<int32_t>(blocks);
    sta.mem_stride1 = static_cast<uint32_t>(plane * n_);
    sta.buf_stride1 = static_cast<int32_t>(view.blk_stride);
  } else {
    sta.n0 = static_cast<int32_t>(columns);
    sta.n1 = static_cast<int32_t>(rows);
    sta.n2 = static_cast<int32_t>(blocks);
    sta.mem_stride1 = static_cast<uint32_t>(row * n_);
    sta.mem_stride2 = static_cast<uint32_t>(plane * n_);
    sta.buf_stride1 = static_cast<int32_t>(view.pitch);
    sta.buf_stride2 = static_cast<int32_t>(view.blk_stride);
  }
  Emit(sta);
}

void Lowering::StoreResident(ir::TensorId id) {
  Place& place = At(id);
  if (!place.buffer || !place.in_memory) return;
  isa::Sta sta;
  sta.region = place.region;
  sta.offset = static_cast<uint32_t>(place.offset);
  sta.buf_addr = static_cast<int32_t>(BufferAddress(place));
  const int64_t pixels = FormAt(id).pixels();
  if (BufferPlane(id) == pixels && (place.memory_plane == 0 || place.memory_plane == pixels)) {
    sta.n0 = static_cast<int32_t>(FormAt(id).vectors(n_));
  } else {
    sta.n0 = static_cast<int32_t>(pixels);
    sta.n1 = static_cast<int32_t>(FormAt(id).blocks(n_));
    sta.mem_stride1 =
        static_cast<uint32_t>((place.memory_plane != 0 ? place.memory_plane : pixels) * n_);
    sta.buf_stride1 = static_cast<int32_t>(BufferPlane(id));
  }
  Emit(sta);
}

int64_t Lowering::AddConstants(const std::vector<uint8_t>& bytes) {
  constants_.resize((constants_.size() + 255) / 256 * 256);
  const auto offset = static_cast<int64_t>(constants_.size());
  constants_.insert(constants_.end(), bytes.begin(), bytes.end());
  return offset;
}

int Lowering::LoadParameters(isa::LdpTarget target, int64_t offset, int count) {
  int entries = 0;
  switch (target) {
    case isa::LdpTarget::kExeSet:
    case isa::LdpTarget::kVecSet:
      entries = arch_.psets;
      break;
    case isa::LdpTarget::kVecWeight:
      entries = arch_.wrows;
      break;
    case isa::LdpTarget::kExeConst:
    case isa::LdpTarget::kVecConst:
      entries = isa::kConstSlots;
      break;
    case isa::LdpTarget::kExeTable:
    case isa::LdpTarget::kVecTable:
      entries = isa::kTableSlots;
      break;
  }
  int& next = next_entry_[static_cast<size_t>(target)];
  if (next + count > entries) next = 0;
  isa::Ldp ldp;
  ldp.region = kConstantRegion;
  ldp.offset = static_cast<uint32_t>(offset);
  ldp.target = target;
  ldp.index = next;
  ldp.count = count;
  Emit(ldp);
  next += count;
  return ldp.index;
}

int Lowering::LoadTable(isa::LdpTarget target, const ir::Table& table) {
  return LoadParameters(target, AddConstants({table.entries.begin(), table.entries.end()}), 1);
}

int Lowering::LoadConstantSlot(isa::LdpTarget target, std::array<float, 3> values) {
  std::vector<uint8_t> bytes;
  for (const float value : values) AppendFloat(bytes, value);
  bytes.resize(static_cast<size_t>(arch_.const_bytes()));
  return LoadParameters(target, AddConstants(bytes), 1);
}

}  // namespace octile::codegen
