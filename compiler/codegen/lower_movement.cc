// Data movement: concatenation, slices, padding, nearest-neighbour resizing, and the change of
// channel positions.
#include <fmt/format.h>

#include <algorithm>

#include "lowering.h"

namespace octile::codegen {

Status Lowering::LowerCopies(const std::vector<CopyJob>& jobs, ir::TensorId output,
                             std::optional<int> fill, const ir::Table* table) {
  PlaceOutput(output);
  const Place& out_place = At(output);
  const bool out_memory = !out_place.buffer;
  const Form out = FormAt(output);
  // A tile is a rectangle of one channel block; an operand in memory passes through a tile buffer.
  // Two of each buffer if they fit.
  TileBuffers in_tiles, out_tiles, fill_tiles;
  const auto reserve = [&](int64_t rows, int64_t columns, int copies) {
    int in_banks = 0;
    for (const CopyJob& job : jobs) {
      if (At(job.from).buffer) continue;
      const Form& from = FormAt(job.from);
      const int64_t in_rows = std::min(from.h, ((rows - 1) / job.to_dy + 1) * job.from_dy);
      const int64_t in_columns = std::min(from.w, ((columns - 1) / job.to_dx + 1) * job.from_dx);
      in_banks = std::max(in_banks, Banks(in_rows * in_columns));
    }
    return ReserveTiles({{&in_tiles, in_banks},
                         {&out_tiles, out_memory ? Banks(rows * columns) : 0},
                         {&fill_tiles, fill ? 1 : 0}},
                        copies);
  };
  int64_t rows = 0, columns = 0;
  for (int copies = 2; copies >= 1 && rows == 0; --copies) {
    for (int64_t c = std::min<int64_t>(out.w, 4095); c >= 1 && rows == 0;
         c = c == 1 ? 0 : (c + 1) / 2) {
      const int64_t most = std::max<int64_t>(1, 2 * arch_.bank_depth / c);
      for (int64_t r = std::min({out.h, most, int64_t{4095}}); r >= 1 && rows == 0;
           r = r == 1 ? 0 : (r + 1) / 2) {
        if (reserve(r, c, copies)) rows = r, columns = c;
      }
    }
  }
  if (rows == 0) {
    return Fail(ErrorCode::kProgram,
                fmt::format("tensor '{}' finds no free bank to be copied through; use a "
                            "configuration with a larger activation buffer",
                            Info(output).name));
  }
  isa::Elt proto;
  if (table != nullptr) {
    proto.table = true;
    proto.table_slot = LoadTable(isa::LdpTarget::kVecTable, *table);
    proto.a_signed = Info(jobs[0].from).dtype == DType::kS8;
    proto.out_signed = Info(output).dtype == DType::kS8;
  }
  View fill_view;
  if (fill) {
    Place constant;
    constant.region = kConstantRegion;
    constant.offset =
        AddConstants(std::vector<uint8_t>(static_cast<size_t>(n_), static_cast<uint8_t>(*fill)));
    const int32_t address = fill_tiles.buffers[0].bank * arch_.bank_depth;
    Load(constant, {n_, 1, 1, false}, {0, 1, 0, 1, 0, 1}, address);
    fill_view = {address, 0, 0};
  }
  for (int64_t block = 0; block < out.blocks(n_); ++block) {
    const bool touched = std::any_of(jobs.begin(), jobs.end(), [&](const CopyJob& job) {
      return block >= job.to_b && block < job.to_b + job.blocks;
    });
    if (!touched && !fill) continue;  // a part that is in its place
    for (int64_t y0 = 0; y0 < out.h; y0 += rows) {
      const int64_t y1 = std::min(out.h, y0 + rows);
      for (int64_t x0 = 0; x0 < out.w; x0 += columns) {
        const int64_t x1 = std::min(out.w, x0 + columns);
        const Box box{y0, y1, x0, x1, block, block + 1};
        const View to = OutputView(output, box, out_tiles);
        const auto copy = [&](isa::Elt elt, int64_t y, int64_t x, int64_t dy, int64_t dx,
                              bool observe) {
          elt.out_addr = to.at(block, y, x);
          elt.out_row_step = static_cast<int32_t>((dy * to.pitch) & 0xffff);
          elt.out_blk_stride = static_cast<int32_t>(to.blk_stride & 0xffff);
          elt.out_x_step = static_cast<int32_t>(dx);
          std::optional<Observation> observation;
          if (observe) {
            observation = Observe(output, block, 1, y, x, elt.mh, elt.mw);
            observation->y_step = static_cast<int32_t>(dy);
            observation->x_step = static_cast<int32_t>(dx);
          }
          Emit(elt, observation);
        };
        if (fill) {
          isa::Elt elt;
          elt.a_addr = fill_view.at(0, 0, 0);
          elt.mh = static_cast<int32_t>(y1 - y0);
          elt.mw = static_cast<int32_t>(x1 - x0);
          copy(elt, y0, x0, 1, 1, false);
        }
        for (const CopyJob& job : jobs) {
          if (block < job.to_b || block >= job.to_b + job.blocks) continue;
          // Rows and columns of the job inside the tile: those i with begin <= to + i * step < end.
          const auto inside = [](int64_t to, int64_t step, int64_t count, int64_t begin,
                                 int64_t end) {
            const auto first_at = [&](int64_t limit) {
              return limit <= to ? int64_t{0} : std::min(count, (limit - to + step - 1) / step);
            };
            return std::pair(first_at(begin), first_at(end));
          };
          const auto [row, row_end] = inside(job.to_y, job.to_dy, job.rows, y0, y1);
          const auto [column, column_end] = inside(job.to_x, job.to_dx, job.columns, x0, x1);
          if (row >= row_end || column >= column_end) continue;
          const int64_t from_block = job.from_b + block - job.to_b;
          const int64_t from_y = job.from_y + row * job.from_dy;
          const int64_t from_x = job.from_x + column * job.from_dx;
          const View in =
              Fetch(job.from,
                    {from_y, job.from_y + (row_end - 1) * job.from_dy + 1, from_x,
                     job.from_x + (column_end - 1) * job.from_dx + 1, from_block, from_block + 1},
                    in_tiles);
          isa::Elt elt = proto;
          elt.mh = static_cast<int32_t>(row_end - row);
          elt.mw = static_cast<int32_t>(column_end - column);
          elt.a_addr = in.at(from_block, from_y, from_x);
          elt.a_row_step = static_cast<int32_t>((job.from_dy * in.pitch) & 0xffff);
          elt.a_x_step = static_cast<int32_t>(job.from_dx);
          copy(elt, job.to_y + row * job.to_dy, job.to_x + column * job.to_dx, job.to_dy, job.to_dx,
               true);
        }
        Store(output, box, to);
      }
    }
  }
  ReleaseTiles();
  if (At(output).buffer) StoreResident(output);
  return {};
}

Status Lowering::LowerChannelMap(const std::vector<ir::TensorId>& inputs,
                                 const std::vector<std::pair<int32_t, int32_t>>& moves,
                                 ir::TensorId output, int64_t first_block, const ir::Table* table) {
  const ir::TensorInfo& x = Info(inputs[0]);
  ArrayJob job;
  job.in = FormAt(inputs[0]);
  job.out = FormAt(output);
  job.output = output;
  job.first_block = first_block;
  // By position of the output's storage: source and position in its storage; source -1: none.
  struct From {
    int64_t source = -1;
    int64_t position = 0;
  };
  std::vector<From> from(static_cast<size_t>(job.out.blocks(n_) * n_));
  for (size_t p = 0; p < from.size(); ++p) {
    const int64_t c = ChannelAt(output, static_cast<int64_t>(p));
    if (c < 0) continue;
    const auto& [input, channel] = moves[static_cast<size_t>(c)];
    const ir::TensorId id = inputs[static_cast<size_t>(input)];
    const TensorMap& map = MapOf(id);
    const Lane lane =
        map.lanes.empty() ? Lane{id, channel} : map.lanes[static_cast<size_t>(channel)];
    const auto known = std::find(job.sources.begin(), job.sources.end(), lane.store);
    from[p] = {known - job.sources.begin(), lane.position};
    if (known == job.sources.end()) job.sources.push_back(lane.store);
  }
  job.weight = [&from](size_t s, int64_t oc, int64_t ic, int64_t, int64_t) {
    const From& f = from[static_cast<size_t>(oc)];
    return f.source == static_cast<int64_t>(s) && f.position == ic ? 1 : 0;
  };
  // Only the input blocks that hold a wanted channel.
  job.reads = [&from, this](int64_t b) {
    std::set<std::pair<size_t, int64_t>> blocks;
    for (int64_t p = b * n_; p < (b + 1) * n_; ++p) {
      const From& f = from[static_cast<size_t>(p)];
      if (f.source >= 0) blocks.emplace(static_cast<size_t>(f.source), f.position / n_);
    }
    return RunsOf(blocks);
  };
  job.bias.assign(from.size(), 0);
  job.multipliers.assign(from.size(), 0x3f800000u);  // 1.0: the code comes back exactly (N3)
  job.x_signed = job.y_signed = x.dtype == DType::kS8;
  job.zx = job.zy = x.quant ? x.quant->zero_point : 0;
  job.clamp = ir::FullRange(x.dtype);
  if (table != nullptr) {
    job.table = *table;
    job.t_signed = Info(output).dtype == DType::kS8;
  }
  return LowerArrayJob(job);
}

Status Lowering::LowerConcat(const passes::FusedStep& group, const ir::Concat& concat) {
  const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
  for (const ir::TensorId id : step.inputs) {
    if (At(id).plain) OCTILE_RETURN_IF_ERROR(Ingest(id));
  }
  const bool image = Info(step.output).shape.size() == 4;
  const bool channels = concat.axis == static_cast<int64_t>(ChannelAxis(step.output));
  if (!channels) {
    std::vector<CopyJob> jobs;
    if (PlacedInWhole(step, 0)) {  // then all are
      PlaceOutput(step.output);
      return {};
    }
    int64_t at = 0;
    for (const ir::TensorId id : step.inputs) {
      const Form& form = FormAt(id);
      CopyJob job{.from = id,
                  .to = step.output,
                  .blocks = form.blocks(n_),
                  .rows = form.h,
                  .columns = form.w};
      const bool rows = image && concat.axis == 2;
      (rows ? job.to_y : job.to_x) = at;
      at += rows ? form.h : form.w;
      jobs.push_back(job);
    }
    return LowerCopies(jobs, step.output, std::nullopt);
  }
  std::vector<CopyJob> jobs;
  int64_t before = 0;
  bool aligned = true;
  for (size_t s = 0; s < step.inputs.size(); ++s) {
    const Form& form = FormAt(step.inputs[s]);
    aligned = aligned && before % n_ == 0;
    if (!PlacedInWhole(step, s))
      jobs.push_back({.from = step.inputs[s],
                      .to = step.output,
                      .to_b = before / n_,
                      .blocks = form.blocks(n_),
                      .rows = form.h,
                      .columns = form.w});
    before += form.c;
  }
  if (aligned) {
    if (!jobs.empty()) return LowerCopies(jobs, step.output, std::nullopt);
    PlaceOutput(step.output);
    return {};  // every input was written in its place
  }
  return LowerChannelMap(step.inputs, MovesOf(group), step.output);
}

Status Lowering::LowerShuffle(const passes::FusedStep& group) {
  const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
  for (const ir::TensorId id : step.inputs) {
    if (At(id).plain) OCTILE_RETURN_IF_ERROR(Ingest(id));
  }
  return LowerChannelMap(step.inputs, MovesOf(group), group.output);
}

Status Lowering::LowerSlice(const passes::FusedStep& group, const ir::Slice& slice) {
  const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
  const ir::TensorId source = step.inputs[0];
  if (view_of_[static_cast<size_t>(step.output)] >= 0) {
    PlaceView(step.output, source);
    return {};
  }
  if (At(source).plain) OCTILE_RETURN_IF_ERROR(Ingest(source));
  const Form out = FormAt(step.output);
  const size_t rank = slice.starts.size();
  const size_t channel_axis = ChannelAxis(step.output);
  const size_t column_axis = channel_axis == rank - 1 ? rank - 2 : rank - 1;
  const int64_t c0 = slice.starts[channel_axis];
  const int64_t dc = slice.steps[channel_axis];
  if (dc == 1 && c0 % n_ == 0) {
    CopyJob job{.from = source,
                .to = step.output,
                .from_b = c0 / n_,
                .blocks = out.blocks(n_),
                .rows = out.h,
                .columns = out.w};
    if (rank == 4) {
      job.from_y = slice.starts[2];
      job.from_dy = slice.steps[2];
      job.from_x = slice.starts[3];
      job.from_dx = slice.steps[3];
    } else if (rank >= 2) {
      job.from_x = slice.starts[column_axis];
      job.from_dx = slice.steps[column_axis];
    }
    return LowerCopies({job}, step.output, std::nullopt);
  }
  return LowerChannelMap({source}, MovesOf(group), step.output);
}

Status Lowering::LowerPad(const ir::Step& step, const ir::Pad& pad) {
  const ir::TensorId source = step.inputs[0];
  if (At(source).plain) OCTILE_RETURN_IF_ERROR(Ingest(source));
  const Form in = FormAt(source);
  CopyJob job{.from = source,
              .to = step.output,
              .to_b = pad.before[1] / n_,
              .to_y = pad.before[2],
              .to_x = pad.before[3],
              .blocks = in.blocks(n_),
              .rows = in.h,
              .columns = in.w};
  return LowerCopies({job}, step.output, pad.value);
}

Status Lowering::LowerResize(const passes::FusedStep& group, const ir::ResizeNearest& resize) {
  const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
  const ir::Table* table =
      group.table >= 0 ? &std::get<ir::Table>(graph_.steps[static_cast<size_t>(group.table)].op)
                       : nullptr;
  const ir::TensorId source = step.inputs[0];
  if (At(source).plain) OCTILE_RETURN_IF_ERROR(Ingest(source));
  const Form in = FormAt(source);
  // Pixel (y, x) goes to every (i, j) with rows[i] = y and columns[j] = x: one copy for each
  // position in the repeated pattern.
  const auto fy = static_cast<int64_t>(resize.rows.size()) / in.h;
  const auto fx = static_cast<int64_t>(resize.columns.size()) / in.w;
  std::vector<CopyJob> jobs;
  for (int64_t i = 0; i < fy; ++i) {
    for (int64_t j = 0; j < fx; ++j) {
      jobs.push_back({.from = source,
                      .to = group.output,
                      .to_y = i,
                      .to_x = j,
                      .to_dy = fy,
                      .to_dx = fx,
                      .blocks = in.blocks(n_),
                      .rows = in.h,
                      .columns = in.w});
    }
  }
  return LowerCopies(jobs, group.output, std::nullopt, table);
}

}  // namespace octile::codegen
