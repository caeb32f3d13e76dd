// Convolutions, matrix products and channel permutations on the array.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "lowering.h"
#include "octile/numerics/constants.h"
#include "window_cycles.h"

namespace octile::codegen {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Inside rows (or columns) of the input that output rows y0..y1-1 read.
std::pair<int64_t, int64_t> InputRange(int64_t y0, int64_t y1, int64_t stride, int64_t dilation,
                                       int64_t kernel, int64_t pad, int64_t size) {
  const int64_t begin = std::clamp<int64_t>(y0 * stride - pad, 0, size - 1);
  const int64_t end =
      std::clamp<int64_t>((y1 - 1) * stride - pad + (kernel - 1) * dilation + 1, begin + 1, size);
  return {begin, end};
}

// The sizes that cut `total` into 1, 2, 3 ... parts, largest first, without repeats.
std::vector<int64_t> PartSizes(int64_t total, int64_t most) {
  std::vector<int64_t> sizes;
  for (int64_t parts = 1; parts <= total; ++parts) {
    const int64_t size = CeilDiv(total, parts);
    if (size <= most && (sizes.empty() || size < sizes.back())) sizes.push_back(size);
    if (sizes.size() > 40 && size > 1) parts = parts * 5 / 4;
  }
  return sizes;
}

struct TilePlan {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t out_blocks = 0;  // output blocks whose results share a tile buffer
  int64_t k_blocks = 0;    // input blocks loaded at a time
  int copies = 2;
};

// A range of input blocks of one source that one MMA accumulates.
struct KPart {
  BlockRun run;
  size_t view = 0;  // the range of those loaded at once that it lies in
  int pass = 0;
};

}  // namespace

Status Lowering::LowerArrayJob(const ArrayJob& job) {
  PlaceOutput(job.output, job.raw ? 4 : 1);
  const Place& out_place = At(job.output);
  // Blocks first_block .. last_block-1 of the output's storage.
  const int64_t last_block = job.out.blocks(n_);
  const int64_t out_blocks = last_block - job.first_block;
  const int64_t min_slot = std::max<int64_t>(arch_.n / arch_.weight_rows, 4);
  const int64_t per_pixel = job.raw ? 4 : 1;

  // The blocks of the sources that any output block depends on, and how many of them are in memory.
  std::set<std::pair<size_t, int64_t>> needed;
  for (int64_t ob = job.first_block; ob < last_block; ++ob) {
    for (const BlockRun& run : job.reads(ob)) {
      for (int64_t b = run.first; b < run.last; ++b) needed.emplace(run.source, b);
    }
  }
  const std::vector<BlockRun> inputs = RunsOf(needed);
  const auto in_blocks = static_cast<int64_t>(needed.size());
  int64_t memory_blocks = 0;
  for (const BlockRun& run : inputs) {
    if (!At(job.sources[run.source]).buffer) memory_blocks += run.last - run.first;
  }
  const bool in_memory = memory_blocks > 0;
  const bool out_memory = !out_place.buffer.has_value();
  const bool res_copied =
      job.residual >= 0 &&
      std::any_of(job.sources.begin(), job.sources.end(),
                  [&](ir::TensorId source) { return ShareBanks(source, job.residual); });
  const bool res_memory = job.residual >= 0 && (!At(job.residual).buffer || res_copied);

  const auto in_box = [&](int64_t y0, int64_t y1, int64_t x0, int64_t x1, int64_t b0, int64_t b1) {
    Box box;
    std::tie(box.y0, box.y1) =
        InputRange(y0, y1, job.stride_y, job.dil_y, job.kh, job.pad_top, job.in.h);
    std::tie(box.x0, box.x1) =
        InputRange(x0, x1, job.stride_x, job.dil_x, job.kw, job.pad_left, job.in.w);
    box.b0 = b0;
    box.b1 = b1;
    return box;
  };
  const auto worst_input = [&](int64_t rows, int64_t columns, int64_t blocks) {
    const int64_t h = std::min(job.in.h, (rows - 1) * job.stride_y + (job.kh - 1) * job.dil_y + 1);
    const int64_t w =
        std::min(job.in.w, (columns - 1) * job.stride_x + (job.kw - 1) * job.dil_x + 1);
    return h * w * blocks;
  };

  TileBuffers in_tiles;
  TileBuffers out_tiles;
  TileBuffers res_tiles;
  TilePlan best;
  double best_cost = std::numeric_limits<double>::infinity();
  // Free banks need not be contiguous: after a failure the search repeats with fewer of them.
  for (int free = banks_.free_banks(); free >= 1 && best.rows == 0; free = free * 3 / 4)
    for (int copies = 2; copies >= 1 && best.rows == 0; --copies) {
      std::vector<int64_t> k_choices;
      // Blocks of the sources in memory that are loaded at a time.
      for (int64_t k = std::min<int64_t>(in_memory ? memory_blocks : in_blocks, 4095); k >= 1;
           k = k == 1 ? 0 : CeilDiv(k, 2))
        k_choices.push_back(k);
      for (const int64_t k : k_choices) {
        if (best.rows != 0) break;  // splitting K costs reloads: only if nothing else fits
        for (int64_t ob = out_blocks; ob >= 1; ob = ob == 1 ? 0 : CeilDiv(ob, 2)) {
          for (const int64_t columns :
               PartSizes(job.out.w, std::min<int64_t>(arch_.acc_depth, 4095))) {
            for (const int64_t rows : PartSizes(
                     job.out.h,
                     std::max<int64_t>(1, std::min<int64_t>(arch_.acc_depth / columns, 4095)))) {
              if (rows * columns > arch_.acc_depth) continue;
              const int in_banks = in_memory ? Banks(worst_input(rows, columns, k)) : 0;
              const int out_banks = out_memory ? Banks(rows * columns * ob * per_pixel) : 0;
              const int res_banks = res_memory ? Banks(rows * columns * ob) : 0;
              if ((in_banks + out_banks + res_banks) * copies > free) continue;
              const int64_t m = rows * columns;
              const int64_t tiles = CeilDiv(job.out.h, rows) * CeilDiv(job.out.w, columns);
              const double array = static_cast<double>(tiles * std::max(m, min_slot));
              // Beats of the operands that pass through memory, against the array's work for them.
              const double k_tiles = static_cast<double>(job.kh * job.kw * in_blocks * out_blocks);
              double beats = 0;
              if (in_memory)
                beats += static_cast<double>(tiles * worst_input(rows, columns, memory_blocks) *
                                             (k >= memory_blocks ? 1 : out_blocks));
              if (res_memory) beats += static_cast<double>(tiles * m * out_blocks);
              beats += static_cast<double>(tiles) * k_tiles * n_;
              double cost = std::max(array * k_tiles, beats) + static_cast<double>(tiles) * 60.0 +
                            (copies == 1 ? beats : 0.0);
              // Of nearly equal choices the one that leaves banks to the steps before and behind,
              // so that they overlap.
              cost *= 1.0 + 0.002 * (in_banks + out_banks + res_banks) * copies / arch_.banks;
              if (cost < best_cost) {
                best_cost = cost;
                best = {rows, columns, ob, k, copies};
              }
            }
          }
        }
      }
      if (best.rows == 0) continue;
      const int in_banks =
          in_memory ? Banks(worst_input(best.rows, best.columns, best.k_blocks)) : 0;
      const int out_banks =
          out_memory ? Banks(best.rows * best.columns * best.out_blocks * per_pixel) : 0;
      const int res_banks = res_memory ? Banks(best.rows * best.columns * best.out_blocks) : 0;
      if (!ReserveTiles({{&in_tiles, in_banks}, {&out_tiles, out_banks}, {&res_tiles, res_banks}},
                        copies)) {
        best.rows = 0;  // the free banks are not contiguous enough
        best_cost = std::numeric_limits<double>::infinity();
      }
    }
  if (best.rows == 0) {
    return Fail(
        ErrorCode::kProgram,
        fmt::format("step '{}' does not fit: {} free banks of {} vectors cannot hold one output "
                    "position with a {}x{} window; "
                    "use a configuration with a larger activation buffer",
                    Info(job.output).name, banks_.free_banks(), arch_.bank_depth, job.kh, job.kw));
  }

  // Weights in the order of use: output block, part, tile.
  const bool load_once = best.k_blocks >= (in_memory ? memory_blocks : in_blocks);
  std::vector<std::vector<KPart>> parts(static_cast<size_t>(out_blocks));
  std::vector<int64_t> part_tiles;
  std::vector<uint8_t> bytes;
  for (int64_t ob = 0; ob < out_blocks; ++ob) {
    std::vector<KPart>& list = parts[static_cast<size_t>(ob)];
    for (const BlockRun& run : job.reads(job.first_block + ob)) {
      const auto view = std::find_if(inputs.begin(), inputs.end(), [&](const BlockRun& input) {
        return input.source == run.source && input.first <= run.first && run.last <= input.last;
      });
      const int64_t most =
          load_once ? std::min<int64_t>(run.last - run.first, 4095) : best.k_blocks;
      for (int64_t k = run.first; k < run.last; k += most) {
        for (int pass = 0; pass < (job.coding.two_passes ? 2 : 1); ++pass) {
          list.push_back({{run.source, k, std::min(run.last, k + most)},
                          static_cast<size_t>(view - inputs.begin()),
                          pass});
        }
      }
    }
    for (const KPart& part : list) {
      TileRequest request;
      request.out_channels = job.out.c;
      request.in_channels = FormAt(job.sources[part.run.source]).c;
      request.block = job.first_block + ob;
      request.first_in_block = part.run.first;
      request.in_blocks = part.run.last - part.run.first;
      request.kh = job.kh;
      request.kw = job.kw;
      request.pass = part.pass;
      AppendTiles(
          request,
          [&](int64_t oc, int64_t ic, int64_t ky, int64_t kx) {
            return job.weight(part.run.source, oc, ic, ky, kx);
          },
          job.coding, n_, bytes);
      part_tiles.push_back(job.kh * job.kw * request.in_blocks);
    }
  }
  const int64_t weight_offset = AddConstants(bytes);

  // Parameter sets: N biases, then N multipliers, for each output block.
  bytes.clear();
  for (int64_t ob = job.first_block; ob < last_block; ++ob) {
    for (int field = 0; field < 2; ++field) {
      for (int64_t c = ob * n_; c < (ob + 1) * n_; ++c) {
        const auto i = static_cast<size_t>(c);
        uint32_t word = 0;
        if (c < job.out.c)
          word = field == 0 ? static_cast<uint32_t>(job.bias[i])
                            : (job.multipliers.empty() ? 0 : job.multipliers[i]);
        AppendWord(bytes, word);
      }
    }
  }
  const int64_t set_offset = AddConstants(bytes);

  isa::Mma proto;
  proto.kh = static_cast<int32_t>(job.kh);
  proto.kw = static_cast<int32_t>(job.kw);
  proto.stride_y = static_cast<int32_t>(job.stride_y);
  proto.stride_x = static_cast<int32_t>(job.stride_x);
  proto.dil_y = static_cast<int32_t>(job.dil_y);
  proto.dil_x = static_cast<int32_t>(job.dil_x);
  proto.in_h = static_cast<int32_t>(job.in.h);
  proto.in_w = static_cast<int32_t>(job.in.w);
  proto.zx = job.zx & 0xff;
  proto.x_signed = job.x_signed;
  proto.zy = job.zy & 0xff;
  proto.y_signed = job.y_signed;
  proto.out_signed = job.y_signed;
  proto.lo = job.clamp.lo & 0xff;
  proto.hi = job.clamp.hi & 0xff;
  proto.raw = job.raw;
  if (job.table.has_value()) {
    proto.table = true;
    proto.table_slot = LoadTable(isa::LdpTarget::kExeTable, *job.table);
    proto.t_signed = job.t_signed;
    proto.out_signed = job.t_signed;
  }
  if (job.add != nullptr) {
    proto.residual = true;
    proto.res_is_a = job.residual_is_a;
    proto.const_slot =
        LoadConstantSlot(isa::LdpTarget::kExeConst, {job.add->ra, job.add->rb, job.add->f});
    proto.res_signed = Info(job.residual).dtype == DType::kS8;
    proto.out_signed = Info(job.output).dtype == DType::kS8;
    proto.lo = job.add->clamp.lo & 0xff;
    proto.hi = job.add->clamp.hi & 0xff;
  }

  // Parameter sets of the whole step stay loaded if they fit in half of the memory; otherwise each
  // tile loads them in turn.
  const int64_t set_chunk = std::min<int64_t>(out_blocks, std::max(1, arch_.psets / 2));
  const bool sets_stay = set_chunk == out_blocks;
  int set_index = 0;
  if (sets_stay)
    set_index = LoadParameters(isa::LdpTarget::kExeSet, set_offset, static_cast<int>(out_blocks));

  const int64_t load_tiles = std::max<int64_t>(1, arch_.ring_tiles / 4);
  for (int64_t y0 = 0; y0 < job.out.h; y0 += best.rows) {
    const int64_t y1 = std::min(job.out.h, y0 + best.rows);
    for (int64_t x0 = 0; x0 < job.out.w; x0 += best.columns) {
      const int64_t x1 = std::min(job.out.w, x0 + best.columns);
      std::vector<View> views;
      if (load_once) {
        // Everything in memory into one buffer.
        int64_t address = 0;
        if (in_memory) {
          const Buffer buffer = in_tiles.buffers[in_tiles.next++ % in_tiles.buffers.size()];
          address = int64_t{buffer.bank} * arch_.bank_depth;
        }
        for (const BlockRun& run : inputs) {
          const ir::TensorId source = job.sources[run.source];
          const Box box = in_box(y0, y1, x0, x1, run.first, run.last);
          if (At(source).buffer) {
            views.push_back(Fetch(source, box, in_tiles));
          } else {
            views.push_back(LoadBox(source, box, address));
            address += box.vectors();
          }
        }
      }
      View in;
      size_t part_index = 0;
      int64_t weight_tile = 0;   // tiles of this spatial tile used so far
      int64_t loaded_tiles = 0;  // of them already requested by LDW
      for (int64_t ob0 = 0; ob0 < out_blocks; ob0 += best.out_blocks) {
        const int64_t ob1 = std::min(out_blocks, ob0 + best.out_blocks);
        const Box out_box{y0, y1, x0, x1, job.first_block + ob0, job.first_block + ob1};
        View residual;
        if (job.residual >= 0)
          residual = res_copied ? FetchCopy(job.residual, out_box, res_tiles)
                                : Fetch(job.residual, out_box, res_tiles);
        const View out = OutputView(job.output, out_box, out_tiles);
        for (int64_t ob = ob0; ob < ob1; ++ob) {
          const int64_t block = job.first_block + ob;
          if (!sets_stay && (ob % set_chunk == 0)) {
            set_index =
                LoadParameters(isa::LdpTarget::kExeSet, set_offset + ob * arch_.pset_bytes(),
                               static_cast<int>(std::min(set_chunk, out_blocks - ob)));
          }
          const std::vector<KPart>& list = parts[static_cast<size_t>(ob)];
          for (size_t p = 0; p < list.size(); ++p, ++part_index) {
            const KPart& part = list[p];
            if (loaded_tiles <= weight_tile) {
              // Request the weights of as many following parts as share their coding, up to a
              // quarter of the ring.
              isa::Ldw ldw;
              ldw.region = kConstantRegion;
              ldw.offset = static_cast<uint32_t>(weight_offset + weight_tile * arch_.tile_bytes());
              ldw.tiles = static_cast<int32_t>(part_tiles[part_index]);
              const bool second = part.pass == 1;
              ldw.zw = second ? kSecondPassZeroPoint : job.coding.zero_point;
              ldw.w_signed = second ? false : job.coding.is_signed;
              size_t ahead = part_index + 1;
              while (!job.coding.two_passes && ahead < part_tiles.size() &&
                     ldw.tiles + part_tiles[ahead] <= load_tiles) {
                ldw.tiles += static_cast<int32_t>(part_tiles[ahead++]);
              }
              loaded_tiles = weight_tile + ldw.tiles;
              Emit(ldw);
            }
            weight_tile += part_tiles[part_index];
            const ir::TensorId source = job.sources[part.run.source];
            if (load_once) {
              in = views[part.view];
            } else if (At(source).buffer || part.pass == 0) {
              in = Fetch(source, in_box(y0, y1, x0, x1, part.run.first, part.run.last), in_tiles);
            }
            isa::Mma mma = proto;
            const int64_t iy0 = y0 * job.stride_y - job.pad_top;
            mma.iy0 = static_cast<int32_t>(iy0);
            mma.ix0 = static_cast<int32_t>(x0 * job.stride_x - job.pad_left);
            mma.in_addr = in.at(part.run.first, 0, 0);
            mma.in_row0 = static_cast<int32_t>((iy0 * in.pitch) & 0xffff);
            mma.in_oy_step = static_cast<int32_t>((job.stride_y * in.pitch) & 0xffff);
            mma.in_ky_step = static_cast<int32_t>((job.dil_y * in.pitch) & 0xffff);
            mma.in_blk_stride = static_cast<int32_t>(in.blk_stride & 0xffff);
            mma.blocks = static_cast<int32_t>(part.run.last - part.run.first);
            mma.mh = static_cast<int32_t>(y1 - y0);
            mma.mw = static_cast<int32_t>(x1 - x0);
            mma.init = p == 0;
            mma.emit = p + 1 == list.size();
            std::optional<Observation> observation;
            if (mma.emit) {
              mma.out_addr = out.at(block, y0, x0, per_pixel);
              mma.out_row_step = static_cast<int32_t>(out.pitch & 0xffff);
              mma.pset = set_index + static_cast<int32_t>(ob % set_chunk);
              if (job.residual >= 0) {
                mma.res_addr = residual.at(block, y0, x0);
                mma.res_row_step = static_cast<int32_t>(residual.pitch & 0xffff);
              }
              observation = Observe(job.output, block, 1, y0, x0, y1 - y0, x1 - x0, job.raw);
            } else {
              mma.raw = mma.table = mma.residual = false;
            }
            Emit(mma, observation);
          }
        }
        Store(job.output, out_box, out);
      }
    }
  }
  ReleaseTiles();
  if (out_place.buffer) StoreResident(job.output);
  return {};
}

namespace {

// Fills the encoding side of a job from the tensors.
template <class T>
Status FillParameters(const ir::Graph& graph, const ir::Step& step, const T& op, ArrayJob& job) {
  const ir::TensorInfo& x = graph.tensor(step.inputs[0]);
  const ir::TensorInfo& y = graph.tensor(step.output);
  job.zx = x.quant ? x.quant->zero_point : 0;
  job.x_signed = x.dtype == DType::kS8;
  job.raw = y.dtype == DType::kS32;
  job.bias = op.bias;
  if (!job.raw) {
    job.zy = y.quant->zero_point;
    job.y_signed = y.dtype == DType::kS8;
    job.clamp = op.clamp;
    for (const float m : op.multipliers) {
      OCTILE_ASSIGN_OR_RETURN(const uint32_t bits, numerics::EncodeMultiplier(m));
      job.multipliers.push_back(bits);
    }
  }
  int least = 0;
  int greatest = 0;
  // A convolution's weights are [channel][..], a matrix product's [..][channel].
  const size_t channels = op.weights.zero_points.size();
  const size_t rows = channels == 0 ? 0 : op.weights.codes.size() / channels;
  const bool channel_first = std::is_same_v<T, ir::Conv>;
  for (size_t i = 0, at = 0; i < (channel_first ? channels : rows); ++i) {
    for (size_t j = 0; j < (channel_first ? rows : channels); ++j, ++at) {
      const int difference =
          op.weights.at(static_cast<int64_t>(at)) - op.weights.zero_points[channel_first ? i : j];
      least = std::min(least, difference);
      greatest = std::max(greatest, difference);
    }
  }
  job.coding = ChooseCoding(least, greatest);
  return {};
}

}  // namespace

void Lowering::FusePost(const passes::FusedStep& group, ArrayJob& job) const {
  ir::TensorId between = graph_.steps[static_cast<size_t>(group.main)].output;
  if (group.table >= 0) {
    const ir::Step& table = graph_.steps[static_cast<size_t>(group.table)];
    between = table.output;
    job.table = std::get<ir::Table>(table.op);
    job.t_signed = Info(between).dtype == DType::kS8;
  }
  if (group.residual < 0) return;
  const ir::Step& add = graph_.steps[static_cast<size_t>(group.residual)];
  job.add = &std::get<ir::Add>(add.op);
  job.residual_is_a = add.inputs[1] == between;
  job.residual = add.inputs[job.residual_is_a ? 0 : 1];
  if (job.clamp == ir::FullRange(job.y_signed ? DType::kS8 : DType::kU8)) return;
  // The post unit has one clamp, behind the add: a clamp in front of it goes into the table.
  ir::Table clamped;
  for (int byte = 0; byte < 256; ++byte) {
    const int code = job.y_signed ? static_cast<int>(static_cast<int8_t>(byte)) : byte;
    const auto index = static_cast<uint8_t>(std::clamp(code, job.clamp.lo, job.clamp.hi));
    clamped.entries[static_cast<size_t>(byte)] = job.table ? job.table->entries[index] : index;
  }
  if (!job.table) job.t_signed = job.y_signed;
  job.table = std::move(clamped);
}

Status Lowering::LowerConv(const passes::FusedStep& group, const ir::Conv& conv) {
  const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
  ArrayJob job;
  job.sources = {step.inputs[0]};
  job.kh = conv.kernel[0];
  job.kw = conv.kernel[1];
  job.stride_y = conv.strides[0];
  job.stride_x = conv.strides[1];
  job.dil_y = conv.dilations[0];
  job.dil_x = conv.dilations[1];
  job.pad_top = conv.pads[0];
  job.pad_left = conv.pads[1];
  job.in = FormAt(step.inputs[0]);
  job.out = FormAt(group.output);
  job.output = group.output;
  OCTILE_RETURN_IF_ERROR(FillParameters(graph_, step, conv, job));
  const int64_t in_channels = Info(step.inputs[0]).shape[1];
  const int64_t out_channels = Info(step.output).shape[1];
  const int64_t in_per_group = in_channels / conv.group;
  const int64_t out_per_group = out_channels / conv.group;
  const int64_t taps = job.kh * job.kw;
  // Channels by position of the output's storage and of the sources'.
  std::vector<int64_t> out_channel;
  for (int64_t p = 0; p < job.out.blocks(n_) * n_; ++p)
    out_channel.push_back(ChannelAt(group.output, p));
  const ChannelReads reads = ReadsOf(step.inputs[0]);
  job.sources = reads.sources;
  job.bias.clear();
  std::vector<uint32_t> multipliers;
  for (const int64_t oc : out_channel) {
    const auto i = static_cast<size_t>(oc);
    job.bias.push_back(oc < 0 ? 0 : conv.bias[i]);
    if (!job.raw) multipliers.push_back(oc < 0 ? 0 : job.multipliers[i]);
  }
  job.multipliers = std::move(multipliers);
  job.weight = [&](size_t s, int64_t oc_position, int64_t ic_position, int64_t ky, int64_t kx) {
    const int64_t oc = out_channel[static_cast<size_t>(oc_position)];
    const int64_t ic = reads.channel[s][static_cast<size_t>(ic_position)];
    if (oc < 0 || ic < 0) return 0;
    const int64_t local = ic - oc / out_per_group * in_per_group;
    if (local < 0 || local >= in_per_group) return 0;  // a channel of another group
    return conv.weights.at((oc * in_per_group + local) * taps + ky * job.kw + kx) -
           conv.weights.zero_points[static_cast<size_t>(oc)];
  };
  job.reads = [&](int64_t b) {
    std::set<int64_t> groups;
    for (int64_t p = b * n_; p < (b + 1) * n_; ++p) {
      const int64_t oc = out_channel[static_cast<size_t>(p)];
      if (oc >= 0) groups.insert(oc / out_per_group);
    }
    std::set<std::pair<size_t, int64_t>> blocks;
    for (size_t s = 0; s < reads.sources.size(); ++s) {
      for (size_t p = 0; p < reads.channel[s].size(); ++p) {
        const int32_t ic = reads.channel[s][p];
        if (ic >= 0 && groups.contains(ic / in_per_group))
          blocks.emplace(s, static_cast<int64_t>(p) / n_);
      }
    }
    return RunsOf(blocks);
  };
  FusePost(group, job);
  if (At(step.inputs[0]).plain) {
    Status status;
    if (conv.group == 1 && TryPackedConv(job, status)) return status;
    OCTILE_RETURN_IF_ERROR(Ingest(step.inputs[0]));
  }
  return LowerArrayJob(job);
}

Status Lowering::LowerGemm(const passes::FusedStep& group, const ir::Gemm& gemm) {
  const ir::Step& step = graph_.steps[static_cast<size_t>(group.main)];
  ArrayJob job;
  OCTILE_RETURN_IF_ERROR(FillParameters(graph_, step, gemm, job));
  job.output = group.output;
  job.out = FormAt(step.output);
  const int64_t columns = job.out.c;
  ir::TensorId source = step.inputs[0];
  job.in = FormAt(source);
  // A flattened image: the matrix is a kernel that covers it, K being (c, y, x).
  if (const ir::TensorId image = Source(source); image != Root(source)) {
    source = image;
    job.in = FormAt(source);
    job.kh = job.in.h;
    job.kw = job.in.w;
  }
  job.sources = {source};
  if (At(source).plain) OCTILE_RETURN_IF_ERROR(Ingest(source));
  const int64_t taps = job.kh * job.kw;
  job.weight = [&gemm, columns, taps, kw = job.kw](size_t, int64_t oc, int64_t ic, int64_t ky,
                                                   int64_t kx) {
    return gemm.weights.at((ic * taps + ky * kw + kx) * columns + oc) -
           gemm.weights.zero_points[static_cast<size_t>(oc)];
  };
  job.reads = [blocks = job.in.blocks(n_)](int64_t) {
    return std::vector<BlockRun>{{0, 0, blocks}};
  };
  FusePost(group, job);
  return LowerArrayJob(job);
}

// The first layer: a plain NCHW image with few channels. PACK gathers taps into the lanes, so that
// the array sees full blocks instead of one mostly empty block for each tap: the taps of a window
// row, of the whole window, or of a stride by stride square (space to depth: the array then
// convolves the smaller image of more channels with stride 1). More taps at once fill the blocks
// better and cost more cycles of PACK.
bool Lowering::TryPackedConv(const ArrayJob& job, Status& status) {
  const Place& in_place = At(job.sources[0]);
  const int64_t channels = job.in.c;
  if (job.stride_x > 4 || job.in.w > 65535 || channels > 255 || job.dil_x != 1 ||
      job.add != nullptr || job.raw)
    return false;
  struct Choice {
    int64_t rows, columns;  // taps gathered by PACK
    bool strided;  // packed rows are stride_y input rows apart (padding included), else packed row
                   // = input row
    int64_t kh, kw;              // left to the array
    double array = 0, pack = 0;  // cycles
    double cost() const {
      // The two overlap; of equal choices the one that leaves the vector unit more time.
      return std::max(array, pack) + pack / 16;
    }
  };
  std::vector<Choice> choices = {{1, job.kw, false, job.kh, 1}};
  if (job.dil_y == 1) {
    choices.push_back({job.kh, job.kw, true, 1, 1});
    choices.push_back({job.stride_y, job.kw, true, CeilDiv(job.kh, job.stride_y), 1});
    choices.push_back({job.stride_y, job.stride_x, true, CeilDiv(job.kh, job.stride_y),
                       CeilDiv(job.kw, job.stride_x)});
  }
  const auto pack_cycles = [&](int64_t kh, int64_t kw, int64_t rows, int64_t columns) {
    isa::Pack pack;
    pack.kh = static_cast<int32_t>(kh);
    pack.kw = static_cast<int32_t>(kw);
    pack.stride_x = static_cast<int32_t>(job.stride_x);
    pack.planes = static_cast<int32_t>(channels);
    pack.mh = static_cast<int32_t>(rows);
    pack.mw = static_cast<int32_t>(columns);
    return static_cast<double>(PackCycles(pack, arch_.n));
  };
  const auto array_cycles = [&](int64_t tiles) {
    return static_cast<double>(tiles * job.out.pixels() * job.out.blocks(n_));
  };
  // Rows that a tile of the accumulators' size needs, its neighbours' included: PACK makes them
  // again for each tile.
  const int64_t most_rows = std::clamp<int64_t>(arch_.acc_depth / job.out.w, 1, job.out.h);
  for (Choice& choice : choices) {
    const int64_t lanes = choice.rows * choice.columns * channels;
    const int64_t tile_rows = choice.strided
                                  ? most_rows + choice.kh - 1
                                  : (most_rows - 1) * job.stride_y + (job.kh - 1) * job.dil_y + 1;
    choice.array = array_cycles(choice.kh * choice.kw * CeilDiv(lanes, n_));
    choice.pack = pack_cycles(choice.rows, choice.columns,
                              CeilDiv(job.out.h, most_rows) * tile_rows, job.out.w + choice.kw - 1);
  }
  const double plain = std::max(array_cycles(job.kh * job.kw * CeilDiv(channels, n_)),
                                pack_cycles(1, 1, job.in.h, job.in.w));
  const Choice best =
      *std::min_element(choices.begin(), choices.end(),
                        [](const Choice& a, const Choice& b) { return a.cost() < b.cost(); });
  if (best.cost() >= plain) return false;

  // Geometry of the packed image: output columns (and what the array's kernel adds) by output rows
  // or input rows.
  const int64_t lanes = best.rows * best.columns * channels;
  const int64_t packed_blocks = CeilDiv(lanes, n_);
  const int64_t packed_width = job.out.w + best.kw - 1;
  if (packed_width > 4095 || lanes > 65535) return false;
  ArrayJob packed = job;
  packed.kh = best.kh;
  packed.kw = best.kw;
  packed.stride_x = 1;
  packed.dil_x = 1;
  packed.pad_left = 0;
  if (best.strided) {
    packed.stride_y = 1;
    packed.pad_top = 0;
  }
  packed.in = {lanes, best.strided ? job.out.h + best.kh - 1 : job.in.h, packed_width, false};
  packed.weight = [&job, best, channels](size_t s, int64_t oc, int64_t lane, int64_t ky,
                                         int64_t kx) {
    const int64_t row = lane / best.columns;  // lanes are numbered (ky, channel, kx)
    const int64_t y = ky * best.rows + row / channels;
    const int64_t x = kx * best.columns + lane % best.columns;
    return y < job.kh && x < job.kw ? job.weight(s, oc, row % channels, y, x)
                                    : 0;  // squares may reach beyond the window
  };

  // Tiles of whole output rows; the buffers hold the raw planes and the packed vectors.
  PlaceOutput(job.output);
  const Place& out_place = At(job.output);
  const bool out_memory = !out_place.buffer.has_value();
  const int64_t out_blocks = job.out.blocks(n_);
  const auto raw_rows = [&](int64_t rows) {
    return std::min(job.in.h, (rows - 1) * job.stride_y + (job.kh - 1) * job.dil_y + 1);
  };
  const auto raw_vectors = [&](int64_t rows) { return CeilDiv(raw_rows(rows) * job.in.w, n_) + 2; };
  const auto packed_rows = [&](int64_t rows) {
    return best.strided ? rows + best.kh - 1 : raw_rows(rows);
  };
  TileBuffers raw_tiles;
  TileBuffers packed_tiles;
  TileBuffers out_tiles;
  int64_t tile_rows = 0;
  if (job.out.w <= arch_.acc_depth && out_blocks <= arch_.psets) {
    // Where PACK is quicker than the array by far, tiles of half the accumulators: the first
    // results come sooner, and more banks are left to the steps behind, which run beside this one.
    const int64_t positions = best.pack < 0.75 * best.array ? arch_.acc_depth / 2 : arch_.acc_depth;
    for (int copies = 2; copies >= 1 && tile_rows == 0; --copies) {
      // Keep a share of the free banks for the next step so that steps can overlap.
      for (int64_t rows = std::clamp<int64_t>(positions / job.out.w, 1, job.out.h); rows >= 1;
           --rows) {
        const int64_t even = CeilDiv(job.out.h, CeilDiv(job.out.h, rows));
        const int raw_banks = Banks(raw_vectors(even) * channels);
        const int packed_banks = Banks(packed_rows(even) * packed_width * packed_blocks);
        const int out_banks = out_memory ? Banks(even * job.out.w * out_blocks) : 0;
        if ((raw_banks + packed_banks + out_banks) * copies > banks_.free_banks()) continue;
        if (!ReserveTiles(
                {{&raw_tiles, raw_banks}, {&packed_tiles, packed_banks}, {&out_tiles, out_banks}},
                copies))
          continue;
        tile_rows = even;
        break;
      }
    }
  }
  if (tile_rows == 0) {
    // Too wide for one packed row: undo the placement and let the general path tile it.
    UndoPlacement(job.output);
    return false;
  }

  std::vector<uint8_t> bytes;
  for (int64_t ob = 0; ob < out_blocks; ++ob) {
    for (int pass = 0; pass < (job.coding.two_passes ? 2 : 1); ++pass) {
      AppendTiles(
          {job.out.c, lanes, ob, 0, packed_blocks, packed.kh, packed.kw, pass},
          [&](int64_t oc, int64_t ic, int64_t ky, int64_t kx) {
            return packed.weight(0, oc, ic, ky, kx);
          },
          job.coding, n_, bytes);
    }
  }
  const int64_t weight_offset = AddConstants(bytes);
  bytes.clear();
  for (int64_t ob = 0; ob < out_blocks; ++ob) {
    for (int field = 0; field < 2; ++field) {
      for (int64_t c = ob * n_; c < (ob + 1) * n_; ++c) {
        const auto i = static_cast<size_t>(c);
        AppendWord(bytes, c >= job.out.c ? 0
                          : field == 0   ? static_cast<uint32_t>(job.bias[i])
                                         : job.multipliers[i]);
      }
    }
  }
  const int set_index =
      LoadParameters(isa::LdpTarget::kExeSet, AddConstants(bytes), static_cast<int>(out_blocks));
  const int table_slot =
      job.table.has_value() ? LoadTable(isa::LdpTarget::kExeTable, *job.table) : 0;

  const int64_t plane_bytes = job.in.h * job.in.w;
  const int64_t k_tiles = packed.kh * packed.kw * packed_blocks;
  for (int64_t y0 = 0; y0 < job.out.h; y0 += tile_rows) {
    const int64_t y1 = std::min(job.out.h, y0 + tile_rows);
    const auto [ry0, ry1] =
        InputRange(y0, y1, job.stride_y, job.dil_y, job.kh, job.pad_top, job.in.h);
    // Raw planes: from the beat that holds the first byte to the one that holds the last.
    const Buffer raw = raw_tiles.buffers[raw_tiles.next++ % raw_tiles.buffers.size()];
    const int64_t raw_address = int64_t{raw.bank} * arch_.bank_depth;
    const int64_t plane_vectors = raw_vectors(tile_rows);
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t begin = in_place.offset + c * plane_bytes + ry0 * job.in.w;
      const int64_t end = in_place.offset + c * plane_bytes + ry1 * job.in.w;
      isa::Lda lda;
      lda.region = in_place.region;
      lda.offset = static_cast<uint32_t>(begin / n_ * n_);
      lda.n0 = static_cast<int32_t>(CeilDiv(end, n_) - begin / n_);
      lda.buf_addr = static_cast<int32_t>(raw_address + c * plane_vectors);
      Emit(lda);
    }
    const Buffer target = packed_tiles.buffers[packed_tiles.next++ % packed_tiles.buffers.size()];
    const int64_t packed_address = int64_t{target.bank} * arch_.bank_depth;
    const int64_t row_begin = best.strided ? y0 : ry0;
    const int64_t row_count = best.strided ? packed_rows(y1 - y0) : ry1 - ry0;
    isa::Pack pack;
    pack.in_addr = static_cast<int32_t>(raw_address);
    pack.in_off = static_cast<int32_t>((in_place.offset + ry0 * job.in.w) % n_);
    pack.in_off_step = static_cast<int32_t>(plane_bytes % n_);
    pack.in_blk_stride = static_cast<int32_t>(plane_vectors);
    pack.in_pitch = static_cast<int32_t>(job.in.w);
    pack.in_h = static_cast<int32_t>(ry1 - ry0);
    pack.in_w = static_cast<int32_t>(job.in.w);
    pack.iy0 = static_cast<int32_t>(best.strided ? y0 * job.stride_y - job.pad_top - ry0 : 0);
    pack.ix0 = static_cast<int32_t>(-job.pad_left);
    pack.kh = static_cast<int32_t>(best.rows);
    pack.kw = static_cast<int32_t>(best.columns);
    pack.stride_y = static_cast<int32_t>(best.strided ? job.stride_y : 1);
    pack.stride_x = static_cast<int32_t>(job.stride_x);
    pack.planes = static_cast<int32_t>(channels);
    pack.mh = static_cast<int32_t>(row_count);
    pack.mw = static_cast<int32_t>(packed_width);
    pack.out_addr = static_cast<int32_t>(packed_address);
    pack.out_row_step = static_cast<int32_t>(packed_width);
    pack.out_blk_stride = static_cast<int32_t>(row_count * packed_width);
    pack.zx = job.zx & 0xff;
    Emit(pack);

    const View in{packed_address - row_begin * packed_width, packed_width,
                  row_count * packed_width};
    const Box out_box{y0, y1, 0, job.out.w, 0, out_blocks};
    const View out = OutputView(job.output, out_box, out_tiles);
    for (int64_t ob = 0; ob < out_blocks; ++ob) {
      for (int pass = 0; pass < (job.coding.two_passes ? 2 : 1); ++pass) {
        isa::Ldw ldw;
        ldw.region = kConstantRegion;
        ldw.offset =
            static_cast<uint32_t>(weight_offset + (ob * (job.coding.two_passes ? 2 : 1) + pass) *
                                                      k_tiles * arch_.tile_bytes());
        ldw.tiles = static_cast<int32_t>(k_tiles);
        ldw.zw = pass == 1 ? kSecondPassZeroPoint : job.coding.zero_point;
        ldw.w_signed = pass == 1 ? false : job.coding.is_signed;
        Emit(ldw);
        isa::Mma mma;
        mma.kh = static_cast<int32_t>(packed.kh);
        mma.kw = static_cast<int32_t>(packed.kw);
        mma.stride_y = static_cast<int32_t>(packed.stride_y);
        mma.dil_y = static_cast<int32_t>(packed.dil_y);
        const int64_t iy0 = y0 * packed.stride_y - packed.pad_top;
        mma.in_h = static_cast<int32_t>(packed.in.h);
        mma.in_w = static_cast<int32_t>(packed.in.w);
        mma.iy0 = static_cast<int32_t>(iy0);
        mma.in_addr = in.at(0, 0, 0);
        mma.in_row0 = static_cast<int32_t>((iy0 * in.pitch) & 0xffff);
        mma.in_oy_step = static_cast<int32_t>((packed.stride_y * in.pitch) & 0xffff);
        mma.in_ky_step = static_cast<int32_t>((packed.dil_y * in.pitch) & 0xffff);
        mma.in_blk_stride = static_cast<int32_t>(in.blk_stride & 0xffff);
        mma.blocks = static_cast<int32_t>(packed_blocks);
        mma.mh = static_cast<int32_t>(y1 - y0);
        mma.mw = static_cast<int32_t>(job.out.w);
        mma.zx = job.zx & 0xff;
        mma.x_signed = job.x_signed;
        mma.zy = job.zy & 0xff;
        mma.y_signed = job.y_signed;
        mma.lo = job.clamp.lo & 0xff;
        mma.hi = job.clamp.hi & 0xff;
        mma.pset = set_index + static_cast<int32_t>(ob);
        mma.init = pass == 0;
        mma.emit = pass == 1 || !job.coding.two_passes;
        mma.out_addr = out.at(ob, y0, 0);
        mma.out_row_step = static_cast<int32_t>(out.pitch & 0xffff);
        mma.out_signed = job.y_signed;
        if (job.table.has_value()) {
          mma.table = mma.emit;
          mma.table_slot = table_slot;
          mma.t_signed = mma.out_signed = job.t_signed;
        }
        std::optional<Observation> observation;
        if (mma.emit) observation = Observe(job.output, ob, 1, y0, 0, y1 - y0, job.out.w);
        Emit(mma, observation);
      }
    }
    Store(job.output, out_box, out);
  }
  ReleaseTiles();
  if (out_place.buffer) StoreResident(job.output);
  status = {};
  return true;
}

}  // namespace octile::codegen
