// Steps of the vector unit: depthwise convolution, pooling, elementwise, copies; and the packing of
// plain images.
#include <fmt/format.h>

#include <algorithm>

#include "lowering.h"
#include "octile/numerics/constants.h"

namespace octile::codegen {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct VectorTile {
  int64_t blocks = 0;
  int64_t rows = 0;
  int64_t columns = 0;
  int copies = 2;
};

}  // namespace

// Finds the largest tile (channel blocks x rows x columns) whose operands fit in the free banks,
// two copies if possible. `banks_for` gives the banks of each operand for a tile.
template <class BanksFor>
static bool ChooseVectorTile(int64_t blocks, int64_t rows, int64_t columns, int free,
                             BanksFor banks_for, VectorTile& tile, int first_copies) {
  for (int copies = first_copies; copies >= 1; --copies) {
    for (int64_t column_parts = 1; column_parts <= columns; column_parts *= 2) {
      const int64_t c = CeilDiv(columns, column_parts);
      if (c > 4095) continue;
      for (int64_t row_parts = 1;;
           row_parts = std::min(rows, row_parts + std::max<int64_t>(1, row_parts / 4))) {
        const int64_t r = CeilDiv(rows, row_parts);
        for (int64_t b = std::min<int64_t>(blocks, 4095); b >= 1; b = b == 1 ? 0 : CeilDiv(b, 2)) {
          if (r <= 4095 && banks_for(b, r, c) * copies <= free) {
            tile = {b, r, c, copies};
            return true;
          }
        }
        if (row_parts >= rows) break;
      }
    }
  }
  return false;
}

// Cuts a tile into the pieces that instructions compute: strips about as high as the array's
// spatial tiles of `pixels` input pixels are (rounded to a multiple of `row_multiple` rows), so
// that a strip starts while the array still makes the next and the array's next step starts on a
// strip while the next is made; and groups of channel blocks of about `kPieceCycles`, below which
// the vector unit's fixed latency would show. `block_cycles(rows)`: cycles of one channel block of
// a strip.
constexpr int64_t kPieceCycles = 300;
template <class BlockCycles>
static VectorTile ChoosePiece(const VectorTile& tile, int64_t rows, int64_t pixels,
                              int64_t acc_depth, int64_t row_multiple, BlockCycles block_cycles) {
  VectorTile piece = tile;
  const int64_t strips = CeilDiv(pixels, acc_depth);
  if (strips > 1) {
    const int64_t multiples = (2 * CeilDiv(rows, strips) + row_multiple - 1) / (2 * row_multiple);
    piece.rows = std::min(piece.rows, std::max<int64_t>(1, multiples) * row_multiple);
  }
  piece.blocks = std::clamp<int64_t>(
      CeilDiv(kPieceCycles, std::max<int64_t>(1, block_cycles(piece.rows))), 1, tile.blocks);
  return piece;
}

Status Lowering::LowerWindow(const passes::FusedStep& group) {
  const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
  const ir::TensorId source = step.inputs[0];
  if (At(source).plain) OCTILE_RETURN_IF_ERROR(Ingest(source));
  const ir::TensorInfo& x = Info(source);
  const ir::TensorInfo& y = Info(step.output);
  const Form in = FormAt(source);
  const Form out = FormAt(group.output);
  const int64_t blocks = out.blocks(n_);

  isa::Win proto;
  int64_t kh = 1, kw = 1, sy = 1, sx = 1, dy = 1, dx = 1, pt = 0, pl = 0;
  ir::CodeRange clamp = ir::FullRange(y.dtype);
  const auto* conv = std::get_if<ir::Conv>(&step.op);
  const auto* average = std::get_if<ir::GlobalAveragePool>(&step.op);
  const auto* windowed = std::get_if<ir::AveragePool>(&step.op);
  proto.x_signed = x.dtype == DType::kS8;
  proto.y_signed = y.dtype == DType::kS8;
  if (x.quant) proto.zx = x.quant->zero_point & 0xff;
  if (y.quant) proto.zy = y.quant->zero_point & 0xff;
  WeightCoding coding;
  if (conv != nullptr) {
    proto.mode = isa::WinMode::kDepthwise;
    kh = conv->kernel[0], kw = conv->kernel[1], sy = conv->strides[0], sx = conv->strides[1];
    dy = conv->dilations[0], dx = conv->dilations[1], pt = conv->pads[0], pl = conv->pads[1];
    clamp = conv->clamp;
    int least = 0, greatest = 0;
    for (size_t i = 0; i < conv->weights.codes.size(); ++i) {
      const int difference = conv->weights.at(static_cast<int64_t>(i)) -
                             conv->weights.zero_points[i / static_cast<size_t>(kh * kw)];
      least = std::min(least, difference);
      greatest = std::max(greatest, difference);
    }
    coding = ChooseCoding(least, greatest);
    proto.zw = coding.zero_point;
    proto.w_signed = coding.is_signed;
  } else if (average != nullptr) {
    proto.mode = isa::WinMode::kSum;
    kh = in.h, kw = in.w;
    clamp = average->clamp;
  } else if (windowed != nullptr) {
    proto.mode = isa::WinMode::kSum;
    kh = windowed->kernel[0], kw = windowed->kernel[1];
    sy = windowed->strides[0], sx = windowed->strides[1];
    dy = windowed->dilations[0], dx = windowed->dilations[1];
    pt = windowed->pads[0], pl = windowed->pads[1];
    clamp = windowed->clamp;
  } else {
    const auto& pool = std::get<ir::MaxPool>(step.op);
    proto.mode = isa::WinMode::kMax;
    kh = pool.kernel[0], kw = pool.kernel[1], sy = pool.strides[0], sx = pool.strides[1];
    dy = pool.dilations[0], dx = pool.dilations[1], pt = pool.pads[0], pl = pool.pads[1];
  }
  proto.kh = static_cast<int32_t>(kh);
  proto.kw = static_cast<int32_t>(kw);
  proto.stride_y = static_cast<int32_t>(sy);
  proto.stride_x = static_cast<int32_t>(sx);
  proto.dil_y = static_cast<int32_t>(dy);
  proto.dil_x = static_cast<int32_t>(dx);
  proto.in_h = static_cast<int32_t>(in.h);
  proto.in_w = static_cast<int32_t>(in.w);
  proto.lo = clamp.lo & 0xff;
  proto.hi = clamp.hi & 0xff;

  PlaceOutput(group.output);
  if (group.table >= 0) {
    proto.table = true;
    proto.table_slot =
        LoadTable(isa::LdpTarget::kVecTable,
                  std::get<ir::Table>(graph_.steps[static_cast<size_t>(group.table)].op));
  }

  // Parameters: a set and the weight rows for each channel block.
  const int64_t weight_rows = CeilDiv(kh * kw, 4);
  int64_t most_blocks = blocks;
  int64_t set_offset = 0, weight_offset = 0;
  if (conv != nullptr) {
    most_blocks = std::min<int64_t>({blocks, std::max(1, arch_.psets / 2),
                                     std::max<int64_t>(1, arch_.wrows / 2 / weight_rows)});
    std::vector<uint8_t> sets, rows;
    for (int64_t b = 0; b < blocks; ++b) {
      for (int field = 0; field < 2; ++field) {
        for (int64_t p = b * n_; p < (b + 1) * n_; ++p) {
          const int64_t c = ChannelAt(group.output, p);
          uint32_t word = 0;
          if (c >= 0) {
            if (field == 0) {
              word = static_cast<uint32_t>(conv->bias[static_cast<size_t>(c)]);
            } else {
              OCTILE_ASSIGN_OR_RETURN(
                  word, numerics::EncodeMultiplier(conv->multipliers[static_cast<size_t>(c)]));
            }
          }
          AppendWord(sets, word);
        }
      }
      for (int64_t row = 0; row < weight_rows; ++row) {
        for (int64_t p = b * n_; p < (b + 1) * n_; ++p) {
          const int64_t c = ChannelAt(group.output, p);
          for (int64_t tap = row * 4; tap < row * 4 + 4; ++tap) {
            int difference = 0;
            if (c >= 0 && tap < kh * kw) {
              difference = conv->weights.at(c * kh * kw + tap) -
                           conv->weights.zero_points[static_cast<size_t>(c)];
            }
            rows.push_back(WeightCode(coding, difference, 0));
          }
        }
      }
    }
    set_offset = AddConstants(sets);
    weight_offset = AddConstants(rows);
  } else if (average != nullptr || windowed != nullptr) {
    // One set for all channels, of a windowed average one for each divisor.
    std::vector<ir::IntegerAverage> forms;
    if (windowed != nullptr) {
      forms = windowed->integer;
    } else {
      forms.push_back({kh * kw, 0, average->multiplier, y.quant->zero_point});
    }
    std::vector<uint8_t> sets;
    for (const ir::IntegerAverage& form : forms) {
      OCTILE_ASSIGN_OR_RETURN(const uint32_t bits, numerics::EncodeMultiplier(form.multiplier));
      for (int c = 0; c < n_; ++c) AppendWord(sets, static_cast<uint32_t>(form.bias));
      for (int c = 0; c < n_; ++c) AppendWord(sets, bits);
    }
    proto.pset =
        LoadParameters(isa::LdpTarget::kVecSet, AddConstants(sets), static_cast<int>(forms.size()));
    proto.pset_shared = true;
    proto.zy = forms[0].zero_point & 0xff;
  }
  // Where the divisors of a windowed average differ (windows at the border), a piece ends where the
  // number of elements inside the image changes.
  const bool divisors = windowed != nullptr && windowed->integer.size() > 1;
  const auto inside = [&](size_t dimension, int64_t at) {
    return ir::ElementsInside(*windowed, dimension, at, dimension == 0 ? in.h : in.w);
  };
  const auto piece_end = [&](size_t dimension, int64_t first, int64_t end) {
    if (!divisors) return end;
    int64_t at = first + 1;
    while (at < end && inside(dimension, at) == inside(dimension, first)) ++at;
    return at;
  };
  const auto choose_divisor = [&](int64_t row, int64_t column, isa::Win& win) {
    if (!divisors) return;
    const int64_t divisor = inside(0, row) * inside(1, column);
    for (size_t i = 0; i < windowed->integer.size(); ++i) {
      const ir::IntegerAverage& form = windowed->integer[i];
      if (form.divisor != divisor) continue;
      win.pset += static_cast<int32_t>(i);
      win.zy = form.zero_point & 0xff;
    }
  };

  const std::vector<ir::TensorId> stores = Stores(source);
  const bool in_memory = std::any_of(stores.begin(), stores.end(),
                                     [&](ir::TensorId store) { return !At(store).buffer; });
  const bool out_memory = !At(group.output).buffer;
  const auto in_vectors = [&](int64_t b, int64_t r, int64_t c) {
    return b * std::min(in.h, (r - 1) * sy + (kh - 1) * dy + 1) *
           std::min(in.w, (c - 1) * sx + (kw - 1) * dx + 1);
  };
  const auto banks_for = [&](int64_t b, int64_t r, int64_t c) {
    return (in_memory ? Banks(in_vectors(b, r, c)) : 0) + (out_memory ? Banks(b * r * c) : 0);
  };
  // By columns the unit makes `group_rows` rows at once (docs/timing.md, section 8).
  const bool by_columns = kh <= 5 && kw <= 5 && kh * kw > 1 && sy <= std::min<int64_t>(2, kh) &&
                          sx <= kw && dy == 1 && dx == 1;
  const int64_t group_rows = by_columns ? (8 - kh) / sy + 1 : 1;
  TileBuffers in_tiles, out_tiles;
  const auto reserve = [&](const VectorTile& tile) {
    return ReserveTiles(
        {{&in_tiles, in_memory ? Banks(in_vectors(tile.blocks, tile.rows, tile.columns)) : 0},
         {&out_tiles, out_memory ? Banks(tile.blocks * tile.rows * tile.columns) : 0}},
        tile.copies);
  };
  const auto block_cycles = [&](int64_t rows) {
    return by_columns ? out.w * sx * CeilDiv(rows, group_rows) * 8 : rows * out.w * kh * kw;
  };
  VectorTile piece = ChoosePiece({most_blocks, out.h, out.w, 3}, out.h, in.pixels(),
                                 arch_.acc_depth, group_rows, block_cycles);
  if (in_memory || out_memory) {
    bool found = piece.columns <= 4095 && (reserve(piece) || (piece.copies = 2, reserve(piece)));
    VectorTile tile;
    for (int free = banks_.free_banks(); free >= 1 && !found; free = free * 3 / 4) {
      if (!ChooseVectorTile(most_blocks, out.h, out.w, free, banks_for, tile, 2)) break;
      found = reserve(tile);
      piece = ChoosePiece(tile, out.h, in.pixels(), arch_.acc_depth, group_rows, block_cycles);
    }
    if (!found) {
      return Fail(ErrorCode::kProgram, fmt::format("step '{}' does not fit: {} free banks cannot "
                                                   "hold one window; use a configuration with a "
                                                   "larger activation buffer",
                                                   step.name, banks_.free_banks()));
    }
  }
  piece.columns = std::min<int64_t>(piece.columns, 4095);
  // Parameters of as many blocks as may stay loaded; of these, strip by strip, all blocks.
  for (int64_t chunk = 0; chunk < blocks; chunk += most_blocks) {
    const int64_t chunk_end = std::min(blocks, chunk + most_blocks);
    isa::Win part = proto;
    if (conv != nullptr) {
      const auto count = static_cast<int>(chunk_end - chunk);
      part.pset =
          LoadParameters(isa::LdpTarget::kVecSet, set_offset + chunk * arch_.pset_bytes(), count);
      part.wrow = LoadParameters(isa::LdpTarget::kVecWeight,
                                 weight_offset + chunk * weight_rows * arch_.wrow_bytes(),
                                 static_cast<int>(count * weight_rows));
    }
    for (int64_t y0 = 0, y1 = 0; y0 < out.h; y0 = y1) {
      y1 = piece_end(0, y0, std::min(out.h, y0 + piece.rows));
      for (const KeepRun& run : Pieces(source, group.output, chunk, chunk_end, piece.blocks)) {
        const int64_t b0 = run.to;
        const int64_t b1 = run.to + run.blocks;
        for (int64_t x0 = 0, x1 = 0; x0 < out.w; x0 = x1) {
          x1 = piece_end(1, x0, std::min(out.w, x0 + piece.columns));
          Box in_box;
          in_box.b0 = run.from, in_box.b1 = run.from + run.blocks;
          in_box.y0 = std::clamp<int64_t>(y0 * sy - pt, 0, in.h - 1);
          in_box.y1 =
              std::clamp<int64_t>((y1 - 1) * sy - pt + (kh - 1) * dy + 1, in_box.y0 + 1, in.h);
          in_box.x0 = std::clamp<int64_t>(x0 * sx - pl, 0, in.w - 1);
          in_box.x1 =
              std::clamp<int64_t>((x1 - 1) * sx - pl + (kw - 1) * dx + 1, in_box.x0 + 1, in.w);
          const View from = Fetch(run.source, in_box, in_tiles);
          const Box out_box{y0, y1, x0, x1, b0, b1};
          const View to = OutputView(group.output, out_box, out_tiles);
          isa::Win win = part;
          if (conv != nullptr) {
            win.pset = part.pset + static_cast<int32_t>(b0 - chunk);
            win.wrow = part.wrow + static_cast<int32_t>((b0 - chunk) * weight_rows);
          }
          choose_divisor(y0, x0, win);
          win.iy0 = static_cast<int32_t>(y0 * sy - pt);
          win.ix0 = static_cast<int32_t>(x0 * sx - pl);
          win.in_addr = from.at(run.from, 0, 0);
          win.in_row0 = static_cast<int32_t>((win.iy0 * from.pitch) & 0xffff);
          win.in_oy_step = static_cast<int32_t>((sy * from.pitch) & 0xffff);
          win.in_ky_step = static_cast<int32_t>((dy * from.pitch) & 0xffff);
          win.in_blk_stride = static_cast<int32_t>(from.blk_stride & 0xffff);
          win.blocks = static_cast<int32_t>(b1 - b0);
          win.mh = static_cast<int32_t>(y1 - y0);
          win.mw = static_cast<int32_t>(x1 - x0);
          win.out_addr = to.at(b0, y0, x0);
          win.out_row_step = static_cast<int32_t>(to.pitch & 0xffff);
          win.out_blk_stride = static_cast<int32_t>(to.blk_stride & 0xffff);
          Emit(win, Observe(group.output, b0, b1 - b0, y0, x0, y1 - y0, x1 - x0));
          Store(group.output, out_box, to);
        }
      }
    }
  }
  ReleaseTiles();
  if (At(group.output).buffer) StoreResident(group.output);
  return {};
}

// A table of a plain image: codes are mapped where they lie, so that a first convolution can still
// pack them.
Status Lowering::LowerPlainTable(const ir::Step& step, const ir::Table& table) {
  const Place& in = At(step.inputs[0]);
  Place& out = At(step.output);
  const int64_t vectors = CeilDiv(Info(step.output).size(), n_);
  if (!out.in_memory) {
    out.in_memory = true;
    out.region = kScratchRegion;
    out.offset = scratch_bytes_;
    scratch_bytes_ += (vectors * n_ + 2 * n_ + 255) / 256 * 256;
    home_[static_cast<size_t>(step.output)] = out;
  }
  out.plain = home_[static_cast<size_t>(step.output)].plain = true;
  isa::Elt elt;
  elt.table = true;
  elt.table_slot = LoadTable(isa::LdpTarget::kVecTable, table);
  elt.a_signed = Info(step.inputs[0]).dtype == DType::kS8;
  elt.out_signed = Info(step.output).dtype == DType::kS8;
  elt.a_x_step = 1;
  TileBuffers in_tiles, out_tiles;
  int banks = 1;
  while (banks < arch_.banks / 8 && int64_t{banks} * arch_.bank_depth < vectors) ++banks;
  if (!ReserveTiles({{&in_tiles, banks}, {&out_tiles, banks}}, 2) &&
      !ReserveTiles({{&in_tiles, 1}, {&out_tiles, 1}}, 1)) {
    return Fail(ErrorCode::kProgram, fmt::format("step '{}' needs two free banks", step.name));
  }
  const int64_t chunk =
      std::min<int64_t>(4095, int64_t{in_tiles.buffers[0].banks} * arch_.bank_depth);
  for (int64_t first = 0; first < vectors; first += chunk) {
    const int64_t count = std::min(chunk, vectors - first);
    const int32_t from =
        in_tiles.buffers[in_tiles.next++ % in_tiles.buffers.size()].bank * arch_.bank_depth;
    const int32_t to =
        out_tiles.buffers[out_tiles.next++ % out_tiles.buffers.size()].bank * arch_.bank_depth;
    isa::Lda lda;
    lda.region = in.region;
    lda.offset = static_cast<uint32_t>(in.offset + first * n_);
    lda.n0 = static_cast<int32_t>(count);
    lda.buf_addr = from;
    Emit(lda);
    elt.mw = static_cast<int32_t>(count);
    elt.a_addr = from;
    elt.out_addr = to;
    Emit(elt);
    isa::Sta sta;
    sta.region = out.region;
    sta.offset = static_cast<uint32_t>(out.offset + first * n_);
    sta.n0 = static_cast<int32_t>(count);
    sta.buf_addr = to;
    Emit(sta);
  }
  ReleaseTiles();
  return {};
}

Status Lowering::LowerElementwise(const passes::FusedStep& group) {
  const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
  if (const auto* plain = std::get_if<ir::Table>(&step.op);
      plain != nullptr && At(step.inputs[0]).plain && StaysPlain(step)) {
    return LowerPlainTable(step, *plain);
  }
  const ir::TensorInfo& y = Info(step.output);
  const Form out = FormAt(group.output);
  const int64_t blocks = KeptBlocks(group.output);
  isa::Elt proto;
  const bool two = step.inputs.size() == 2;
  for (const ir::TensorId id : step.inputs) {
    if (At(id).plain) OCTILE_RETURN_IF_ERROR(Ingest(id));
  }
  PlaceOutput(group.output);
  const ir::TensorInfo& a = Info(step.inputs[0]);
  proto.a_signed = a.dtype == DType::kS8;
  proto.out_signed = y.dtype == DType::kS8;
  const ir::Table* table =
      group.table >= 0 ? &std::get<ir::Table>(graph_.steps[static_cast<size_t>(group.table)].op)
                       : nullptr;
  const auto* affine = std::get_if<ir::Affine>(&step.op);
  int64_t most_blocks = blocks;
  int64_t set_offset = 0;
  if (const auto* add = std::get_if<ir::Add>(&step.op)) {
    proto.mode = isa::EltMode::kAdd;
    proto.const_slot = LoadConstantSlot(isa::LdpTarget::kVecConst, {add->ra, add->rb, add->f});
    proto.lo = add->clamp.lo & 0xff;
    proto.hi = add->clamp.hi & 0xff;
  } else if (const auto* mul = std::get_if<ir::Mul>(&step.op)) {
    proto.mode = isa::EltMode::kMul;
    // MulRatio's encoding for the hardware: below 2^-40 zero, above 2^20 that.
    const float r = mul->r < 0x1p-40f ? 0.0f : std::min(mul->r, 0x1p20f);
    proto.const_slot = LoadConstantSlot(isa::LdpTarget::kVecConst,
                                        {r, static_cast<float>(y.quant->zero_point), 0.0f});
    proto.za = a.quant->zero_point & 0xff;
    proto.zb = Info(step.inputs[1]).quant->zero_point & 0xff;
    proto.lo = mul->clamp.lo & 0xff;
    proto.hi = mul->clamp.hi & 0xff;
  } else if (affine != nullptr) {
    proto.mode = isa::EltMode::kAffine;
    proto.lo = affine->clamp.lo & 0xff;
    proto.hi = affine->clamp.hi & 0xff;
    // A set for each channel block: N offsets, then N factors. Half of the sets at a time, so that
    // the next ones can be loaded meanwhile.
    most_blocks = std::min<int64_t>(blocks, std::max(1, arch_.psets / 2));
    std::vector<uint8_t> sets;
    for (int64_t b = 0; b < blocks; ++b) {
      for (const std::vector<float>* values : {&affine->offsets, &affine->factors}) {
        for (int64_t c = b * n_; c < (b + 1) * n_; ++c)
          AppendFloat(sets, c < out.c ? (*values)[static_cast<size_t>(c)] : 0.0f);
      }
    }
    set_offset = AddConstants(sets);
  } else {
    proto.mode = isa::EltMode::kCopy;
    table = &std::get<ir::Table>(step.op);
  }
  if (two) proto.b_signed = Info(step.inputs[1]).dtype == DType::kS8;
  // The blocks of a table's output that the array brings together from several blocks.
  const auto merge_rest = [&] {
    std::vector<std::pair<int32_t, int32_t>> moves;
    for (int64_t c = 0; c < Info(step.output).shape[1]; ++c)
      moves.emplace_back(0, static_cast<int32_t>(c));
    return LowerChannelMap(step.inputs, moves, group.output, blocks, table);
  };
  if (blocks == 0) return merge_rest();
  if (table != nullptr) {
    proto.table = true;
    proto.table_slot = LoadTable(isa::LdpTarget::kVecTable, *table);
  }
  // An operand of one pixel per channel is read again for every pixel.
  struct Operand {
    ir::TensorId id;
    bool broadcast;
    bool copied;  // shares banks with the first operand
    TileBuffers tiles;
  };
  std::vector<Operand> operands;
  for (const ir::TensorId id : step.inputs) {
    const bool copied = !operands.empty() && ShareBanks(operands[0].id, id);
    operands.push_back({id, FormAt(id).pixels() == 1 && out.pixels() != 1, copied, {}});
  }
  TileBuffers out_tiles;
  const bool out_memory = !At(group.output).buffer;
  const auto operand_banks = [&](const Operand& operand, int64_t b, int64_t r, int64_t c) {
    const std::vector<ir::TensorId> stores = Stores(operand.id);
    const bool resident = std::all_of(stores.begin(), stores.end(),
                                      [&](ir::TensorId store) { return At(store).buffer; });
    if (resident && !operand.copied) return 0;
    return Banks(operand.broadcast ? b : b * r * c);
  };
  const auto banks_for = [&](int64_t b, int64_t r, int64_t c) {
    int banks = out_memory ? Banks(b * r * c) : 0;
    for (const Operand& operand : operands) banks += operand_banks(operand, b, r, c);
    return banks;
  };
  const auto reserve = [&](const VectorTile& tile) {
    std::vector<std::pair<TileBuffers*, int>> wants;
    for (Operand& operand : operands)
      wants.push_back(
          {&operand.tiles, operand_banks(operand, tile.blocks, tile.rows, tile.columns)});
    wants.push_back({&out_tiles, out_memory ? Banks(tile.blocks * tile.rows * tile.columns) : 0});
    return ReserveTiles(wants, tile.copies);
  };
  const auto block_cycles = [&](int64_t rows) { return rows * out.w; };
  VectorTile piece = ChoosePiece({most_blocks, out.h, out.w, 3}, out.h, out.pixels(),
                                 arch_.acc_depth, 1, block_cycles);
  bool found = piece.columns <= 4095 && (reserve(piece) || (piece.copies = 2, reserve(piece)));
  VectorTile tile;
  for (int free = std::max(1, banks_.free_banks()); free >= 1 && !found; free = free * 3 / 4) {
    if (!ChooseVectorTile(most_blocks, out.h, out.w, free, banks_for, tile, 2)) break;
    found = reserve(tile);
    piece = ChoosePiece(tile, out.h, out.pixels(), arch_.acc_depth, 1, block_cycles);
  }
  if (!found) {
    return Fail(ErrorCode::kProgram, fmt::format("step '{}' does not fit in {} free banks; use a "
                                                 "configuration with a larger activation buffer",
                                                 step.name, banks_.free_banks()));
  }
  // Parameters of as many blocks as may stay loaded; of these, strip by strip, all blocks.
  for (int64_t chunk = 0; chunk < blocks; chunk += most_blocks) {
    const int64_t chunk_end = std::min(blocks, chunk + most_blocks);
    isa::Elt part = proto;
    if (affine != nullptr) {
      part.pset = LoadParameters(isa::LdpTarget::kVecSet, set_offset + chunk * arch_.pset_bytes(),
                                 static_cast<int>(chunk_end - chunk));
    }
    for (int64_t y0 = 0; y0 < out.h; y0 += piece.rows) {
      const int64_t y1 = std::min(out.h, y0 + piece.rows);
      for (const KeepRun& run :
           Pieces(step.inputs[0], group.output, chunk, chunk_end, piece.blocks)) {
        const int64_t b0 = run.to;
        const int64_t b1 = run.to + run.blocks;
        for (int64_t x0 = 0; x0 < out.w; x0 += piece.columns) {
          const int64_t x1 = std::min(out.w, x0 + piece.columns);
          const Box box{y0, y1, x0, x1, b0, b1};
          isa::Elt elt = part;
          if (affine != nullptr) elt.pset = part.pset + static_cast<int32_t>(b0 - chunk);
          elt.blocks = static_cast<int32_t>(b1 - b0);
          elt.mh = static_cast<int32_t>(y1 - y0);
          elt.mw = static_cast<int32_t>(x1 - x0);
          for (size_t i = 0; i < operands.size(); ++i) {
            Operand& operand = operands[i];
            // Only the operand of a step on one tensor may lie elsewhere than block by block.
            const ir::TensorId id = i == 0 ? run.source : operand.id;
            const int64_t from = i == 0 ? run.from : b0;
            Box read = operand.broadcast ? Box{0, 1, 0, 1} : box;
            read.b0 = from, read.b1 = from + run.blocks;
            const View view = operand.copied ? FetchCopy(id, read, operand.tiles)
                                             : Fetch(id, read, operand.tiles);
            const int32_t addr = operand.broadcast ? view.at(from, 0, 0) : view.at(from, y0, x0);
            const int32_t row = operand.broadcast ? 0 : static_cast<int32_t>(view.pitch & 0xffff);
            const int32_t blk = static_cast<int32_t>(view.blk_stride & 0xffff);
            const int32_t column = operand.broadcast ? 0 : 1;
            if (i == 0) {
              elt.a_addr = addr, elt.a_row_step = row, elt.a_blk_stride = blk,
              elt.a_x_step = column;
            } else {
              elt.b_addr = addr, elt.b_row_step = row, elt.b_blk_stride = blk,
              elt.b_x_step = column;
            }
          }
          const View to = OutputView(group.output, box, out_tiles);
          elt.out_addr = to.at(b0, y0, x0);
          elt.out_row_step = static_cast<int32_t>(to.pitch & 0xffff);
          elt.out_blk_stride = static_cast<int32_t>(to.blk_stride & 0xffff);
          Emit(elt, Observe(group.output, b0, b1 - b0, y0, x0, y1 - y0, x1 - x0));
          Store(group.output, box, to);
        }
      }
    }
  }
  ReleaseTiles();
  if (blocks < out.blocks(n_)) return merge_rest();
  if (At(group.output).buffer) StoreResident(group.output);
  return {};
}

// A plain NCHW image becomes a channel-blocked tensor: PACK with one tap, planes in groups of whole
// blocks.
Status Lowering::Ingest(ir::TensorId id) {
  Place& place = At(id);
  const Place source = place;
  const Form form = FormAt(id);
  place.plain = false;
  place.in_memory = false;
  PlaceOutput(id);
  const bool out_memory = !place.buffer;
  const int64_t group_planes = std::min<int64_t>(form.blocks(n_) * n_, 255 / n_ * n_);
  const auto raw_vectors = [&](int64_t planes, int64_t rows) {
    return planes * (CeilDiv(rows * form.w, n_) + 2);
  };
  int64_t rows = 0;
  int64_t planes = 0;
  TileBuffers raw_tiles, out_tiles;
  for (int copies = 2; copies >= 1 && rows == 0; --copies) {
    for (int64_t p = group_planes; p >= n_ && rows == 0;
         p = p == n_ ? 0 : std::max<int64_t>(n_, p / 2 / n_ * n_)) {
      for (int64_t r = std::min<int64_t>(form.h, 4095); r >= 1 && rows == 0;
           r = r == 1 ? 0 : r / 2) {
        const int raw_banks = Banks(raw_vectors(p, r));
        const int out_banks = out_memory ? Banks(p / n_ * r * form.w) : 0;
        if ((raw_banks + out_banks) * copies > banks_.free_banks()) continue;
        if (ReserveTiles({{&raw_tiles, raw_banks}, {&out_tiles, out_banks}}, copies)) {
          rows = r;
          planes = p;
        }
      }
    }
  }
  if (rows == 0 || form.w > 4095) {
    return Fail(ErrorCode::kProgram,
                fmt::format("input '{}' with {} columns is too wide for this configuration",
                            Info(id).name, form.w));
  }
  for (int64_t c0 = 0; c0 < form.c; c0 += planes) {
    const int64_t c1 = std::min(form.c, c0 + planes);
    for (int64_t y0 = 0; y0 < form.h; y0 += rows) {
      const int64_t y1 = std::min(form.h, y0 + rows);
      const Buffer raw = raw_tiles.buffers[raw_tiles.next++ % raw_tiles.buffers.size()];
      const int64_t raw_address = int64_t{raw.bank} * arch_.bank_depth;
      const int64_t plane_vectors = raw_vectors(1, rows);
      for (int64_t c = c0; c < c1; ++c) {
        const int64_t begin = source.offset + (c * form.h + y0) * form.w;
        const int64_t end = source.offset + (c * form.h + y1) * form.w;
        isa::Lda lda;
        lda.region = source.region;
        lda.offset = static_cast<uint32_t>(begin / n_ * n_);
        lda.n0 = static_cast<int32_t>(CeilDiv(end, n_) - begin / n_);
        lda.buf_addr = static_cast<int32_t>(raw_address + (c - c0) * plane_vectors);
        Emit(lda);
      }
      const Box box{y0, y1, 0, form.w, c0 / n_, CeilDiv(c1, n_)};
      const View to = OutputView(id, box, out_tiles);
      isa::Pack pack;
      pack.in_addr = static_cast<int32_t>(raw_address);
      pack.in_off = static_cast<int32_t>((source.offset + (c0 * form.h + y0) * form.w) % n_);
      pack.in_off_step = static_cast<int32_t>(form.pixels() % n_);
      pack.in_blk_stride = static_cast<int32_t>(plane_vectors);
      pack.in_pitch = static_cast<int32_t>(form.w);
      pack.in_h = static_cast<int32_t>(y1 - y0);
      pack.in_w = static_cast<int32_t>(form.w);
      pack.planes = static_cast<int32_t>(c1 - c0);
      pack.mh = static_cast<int32_t>(y1 - y0);
      pack.mw = static_cast<int32_t>(form.w);
      pack.out_addr = to.at(box.b0, y0, 0);
      pack.out_row_step = static_cast<int32_t>(to.pitch & 0xffff);
      pack.out_blk_stride = static_cast<int32_t>(to.blk_stride & 0xffff);
      Emit(pack);
      Store(id, box, to);
    }
  }
  ReleaseTiles();
  return {};
}

}  // namespace octile::codegen
