// PACK: the read phase (docs/timing.md 8). Windows in the order output block, output row, group of N output columns; in a window lane
// group after lane group (the lanes of one ky and c, as many as lie in the block), each with stride_x + 1 consecutive vectors or one
// more, at least N cycles. Additions only, modulo 2^16 vectors; iy0 * pitch and stride_y * pitch are formed once, at the issue. In the names
// below a group is a group of columns.
module oct_pack_addr #(
  parameter int unsigned N = 16,
  localparam int unsigned Lg = $clog2(N)
) (
  input  logic              clk_i,
  input  logic              load_i,      // start of an instruction: cfg_d_i is sampled
  // verilator lint_off UNUSEDSIGNAL
  input  oct_vec_pkg::cfg_t cfg_d_i,     // other parts read the other fields
  input  oct_vec_pkg::cfg_t cfg_i,
  // verilator lint_on UNUSEDSIGNAL
  input  logic              step_i,      // a cycle of the read phase
  output logic              re_o,        // a vector is read ...
  output logic [15:0]       addr_o,
  output logic              valid_o,     // ... or only has its turn: vector vec_o of the lane group
  output logic [2:0]        vec_o,
  output logic [Lg-1:0]     lane_o,      // first lane of the group
  output logic [Lg:0]       count_o,     // lanes of the group
  output logic [Lg-1:0]     shift_o,     // byte of the first lane's first column in the group's first vector
  output logic              row_in_o,    // the group's row is inside the image
  output logic [Lg:0]       lo_o,        // the vector's bytes from lo_o to hi_o - 1 are inside the image
  output logic [Lg:0]       hi_o,
  output logic              win_end_o,   // last cycle of a window; of this window:
  output logic [Lg:0]       win_lanes_o, //   lanes
  output logic [Lg:0]       win_cols_o,  //   output columns
  output logic              last_o       // last cycle of the read phase
);

  localparam int unsigned ByteW = 16 + Lg;          // a byte address
  localparam logic signed [17:0] NPos = 18'(N);

  // A lane group: the tap of its first lane, the byte address of its plane, its row's distance from the first tap's row.
  typedef struct packed {
    logic [5:0]        ky;
    logic [5:0]        kx;
    logic [7:0]        c;
    logic [15:0]       plane;
    logic [Lg-1:0]     off;
    logic [ByteW-1:0]  row;
  } lane_t;

  lane_t         cur_q, first_q, next;    // current group, first group of the block, group behind the current one
  logic [Lg-1:0] lane_q;
  logic [2:0]    vec_q;
  logic          idle_q;                  // all groups have been read, the window lasts until its N-th cycle
  logic [Lg-1:0] cycle_q;                 // cycle of the window, stays at N - 1
  logic [Lg:0]   lanes_q;
  logic signed [17:0]          iy_q, ix_q;              // input row and column of (oy, first column of the group) at ky = kx = 0
  logic [11:0]   oy_q, cols_q;            // cols_q: output columns from this group on
  logic [ByteW-1:0]    row_q, row_first_q, row_step_q;  // row iy_q's distance from row 0; of the block's first window; to the next output row

  // The group's lanes: to the end of the kernel row or of the block.
  logic [6:0] left_kx, left_lane, count;
  logic       kx_end, block_full, long;
  assign left_kx    = {1'b0, cfg_i.kw - cur_q.kx};
  assign left_lane  = 7'(N) - 7'(lane_q);
  assign kx_end     = left_kx <= left_lane;
  assign block_full = left_lane <= left_kx;
  assign count      = kx_end ? left_kx : left_lane;
  assign long       = count > {4'd0, cfg_i.stride_x[2:0]} + 7'd1;  // reads one vector more

  // The group behind the current one: kx innermost, then c, ky.
  logic c_end, tap_end;
  assign c_end   = cur_q.c + 8'd1 == cfg_i.planes;
  assign tap_end = kx_end && c_end && (cur_q.ky + 6'd1 == cfg_i.kh);
  always_comb begin
    next = cur_q;
    if (step_i) begin
      if (!kx_end) begin
        next.kx = cur_q.kx + count[5:0];
      end else begin
        next.kx = '0;
        if (!c_end) begin
          next.c     = cur_q.c + 8'd1;
          next.plane = cur_q.plane + cfg_i.a_blk_stride;
          next.off   = cur_q.off + cfg_i.in_off_step[Lg-1:0];
        end else begin
          next.c     = '0;
          next.plane = cfg_i.a_addr;
          next.off   = cfg_i.in_off[Lg-1:0];
          next.ky    = cur_q.ky + 6'd1;
          next.row   = cur_q.row + ByteW'(cfg_i.in_pitch);
        end
      end
    end
  end

  // The current vector.
  logic [ByteW-1:0] start;                     // byte of the first lane's first column
  logic signed [17:0]       iy, ix, ix_vec;            // row; column of that byte, of the vector's first byte
  always_comb begin
    start   = '0;
    iy      = '0;
    ix      = '0;
    ix_vec  = '0;
    lo_o    = '0;
    hi_o    = '0;
    if (step_i) begin
      iy      = iy_q + $signed({12'd0, cur_q.ky});
      ix      = ix_q + $signed({12'd0, cur_q.kx});
      start   = {cur_q.plane, cur_q.off} + row_q + cur_q.row + ByteW'(ix);
      ix_vec  = ix - $signed({{(18 - Lg){1'b0}}, start[Lg-1:0]}) + $signed({{(15 - Lg){1'b0}}, vec_q, {Lg{1'b0}}});
      if (ix_vec < 0) lo_o = (ix_vec <= -NPos) ? (Lg + 1)'(N) : (Lg + 1)'(-ix_vec);
      if ($signed({2'b00, cfg_i.in_w}) > ix_vec) begin
        hi_o = ($signed({2'b00, cfg_i.in_w}) - ix_vec >= NPos) ? (Lg + 1)'(N) : (Lg + 1)'($signed({2'b00, cfg_i.in_w}) - ix_vec);
      end
    end
  end

  assign valid_o  = step_i && !idle_q;
  assign vec_o    = vec_q;
  assign lane_o   = lane_q;
  assign count_o  = (Lg + 1)'(count);
  assign shift_o  = start[Lg-1:0];
  assign addr_o   = start[16+Lg-1:Lg] + {13'd0, vec_q};
  assign row_in_o = (iy >= 0) && (iy < $signed({2'b00, cfg_i.in_h}));
  assign re_o     = valid_o && row_in_o && (ix_vec > -NPos) && (ix_vec < $signed({2'b00, cfg_i.in_w}));

  // Ends. Only the last block has fewer than N lanes.
  logic lanes_end, reads_end, group_end;
  assign lanes_end   = vec_q == cfg_i.stride_x[2:0] + {2'd0, long};
  assign reads_end   = lanes_end && (tap_end || block_full);
  assign win_end_o   = step_i && (idle_q || reads_end) && (cycle_q == Lg'(N - 1));
  assign win_lanes_o = idle_q ? lanes_q : {1'b0, lane_q} + count_o;
  assign win_cols_o  = group_end ? (Lg + 1)'(cols_q) : (Lg + 1)'(N);
  assign group_end   = cols_q <= 12'(N);
  assign last_o      = win_end_o && group_end && (oy_q + 12'd1 == cfg_i.mh) && tap_end;

  always_ff @(posedge clk_i) begin
    if (load_i) begin
      cur_q      <= {20'd0, cfg_d_i.a_addr, cfg_d_i.in_off[Lg-1:0], {ByteW{1'b0}}};
      first_q    <= {20'd0, cfg_d_i.a_addr, cfg_d_i.in_off[Lg-1:0], {ByteW{1'b0}}};
      {lane_q, vec_q, idle_q, cycle_q, oy_q} <= '0;
      iy_q       <= 18'($signed(cfg_d_i.iy0));
      ix_q       <= 18'($signed(cfg_d_i.ix0));
      cols_q     <= cfg_d_i.mw;
      row_q       <= ByteW'($signed(cfg_d_i.iy0)) * ByteW'(cfg_d_i.in_pitch);
      row_first_q <= ByteW'($signed(cfg_d_i.iy0)) * ByteW'(cfg_d_i.in_pitch);
      row_step_q  <= ByteW'(cfg_d_i.stride_y) * ByteW'(cfg_d_i.in_pitch);
    end else if (step_i) begin
      if (cycle_q != Lg'(N - 1)) cycle_q <= cycle_q + Lg'(1);
      if (!idle_q) begin
        vec_q <= lanes_end ? 3'd0 : vec_q + 3'd1;
        if (reads_end) begin
          idle_q  <= 1'b1;
          lanes_q <= win_lanes_o;
        end else if (lanes_end) begin
          lane_q <= lane_q + count_o[Lg-1:0];
          cur_q  <= next;
        end
      end
      if (win_end_o) begin
        {lane_q, idle_q, cycle_q} <= '0;
        cur_q <= first_q;
        if (!group_end) begin
          cols_q <= cols_q - 12'(N);
          ix_q   <= ix_q + $signed({{(15 - Lg){1'b0}}, cfg_i.stride_x[2:0], {Lg{1'b0}}});
        end else begin
          cols_q <= cfg_i.mw;
          ix_q   <= 18'($signed(cfg_i.ix0));
          if (oy_q + 12'd1 != cfg_i.mh) begin
            oy_q  <= oy_q + 12'd1;
            iy_q  <= iy_q + $signed({14'd0, cfg_i.stride_y});
            row_q <= row_q + row_step_q;
          end else begin
            oy_q    <= '0;
            iy_q    <= 18'($signed(cfg_i.iy0));
            row_q   <= row_first_q;
            cur_q   <= next;
            first_q <= next;
          end
        end
      end
    end
  end

endmodule
