// Control of the vector unit (docs/timing.md 8): the read phase, the addresses of all streams, the claims, the cycle of completion, and
// the walk of every result through the fixed pipeline. In the read cycle r addresses are formed; the buffer is read and the claims are
// checked in r + 1, data arrive in r + 2, the result is written in r + 24.
`include "oct_assert.svh"

module oct_vec_ctrl #(
  parameter int unsigned N = 16,
  parameter int unsigned BankDepth = 1024,
  localparam int unsigned Lg = $clog2(N)
) (
  input  logic              clk_i,
  input  logic              rst_ni,
  input  logic              clear_i,
  input  logic              freeze_i,
  input  logic              issue_i,
  input  oct_vec_pkg::cfg_t cfg_d_i,         // of the instruction that issues
  input  oct_vec_pkg::cfg_t cfg_i,           // of the instruction in the unit
  output logic              active_o,
  output logic              done_o,
  output logic              reading_o,       // read phase
  output logic              claim_fault_o,
  output logic [15:0]       claim_addr_o,
  // buffer addresses, in r + 1
  output logic              a_re_o,
  output logic [15:0]       a_addr_o,
  output logic              b_re_o,
  output logic [15:0]       b_addr_o,
  output logic [15:0]       out_addr_o,      // of the result generated in r
  // lanes
  output logic              weight_re_o,     // in r + 1 (by columns: any cycle)
  output logic [9:0]        weight_row_o,
  output oct_vec_pkg::tap_t tap2_o,          // tap or element in r + 2
  output oct_vec_pkg::tap_t tap3_o,          // ... in r + 3 (by columns: chunk in x + 5)
  output logic              tap2_valid_o,
  output logic              tap3_valid_o,
  output logic [6:0]        pset_o,          // in r + 3 (by columns: in x + 5; ELT AFFINE: in r + 2)
  output logic [24:1]       result_o,        // bit k: a result was generated k cycles ago
  // lanes, by columns (a chunk of cycle x)
  output logic [5:0]        fill_cell_o,     // cell of the window that tap2_o goes to
  output logic              weight_valid_o,  // a weight word arrives
  output logic [2:0]        weight_word_o,
  output logic              take_o,          // in x + 3
  output logic [8:0]        take_use_o,
  output logic [53:0]       take_cells_o,
  output logic              mul_o,           // in x + 4
  output logic [1:0]        mul_chunk_o,
  // transposer, in r
  output logic              pack_valid_o,
  output logic [2:0]        pack_vec_o,
  output logic [Lg-1:0]     pack_lane_o,
  output logic [Lg:0]       pack_count_o,
  output logic [Lg-1:0]     pack_shift_o,
  output logic              pack_row_in_o,
  output logic [Lg:0]       pack_lo_o,
  output logic [Lg:0]       pack_hi_o,
  output logic              win_end_o,
  output logic [Lg:0]       win_lanes_o,
  output logic [Lg:0]       win_cols_o,
  input  logic              pack_col_i       // a column is generated in this cycle
);

  // Life of an instruction: read phase, then a fixed number of cycles to the completion.
  logic       busy_q, reading_q, read_last;
  logic [6:0] tail_q;
  logic       step;
  assign step      = reading_q && !freeze_i;
  assign active_o  = busy_q;
  assign reading_o = reading_q;
  assign done_o    = busy_q && !reading_q && (tail_q == 7'd0) && !freeze_i;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      busy_q    <= 1'b0;
      reading_q <= 1'b0;
      tail_q    <= '0;
    end else if (clear_i) begin
      busy_q    <= 1'b0;
      reading_q <= 1'b0;
      tail_q    <= '0;
    end else if (issue_i) begin
      busy_q    <= 1'b1;
      reading_q <= 1'b1;
    end else if (step && read_last) begin
      reading_q <= 1'b0;
      tail_q    <= cfg_i.pack ? 7'(N + 27) : 7'd27;
    end else if (busy_q && !reading_q && !freeze_i) begin
      tail_q <= tail_q - 7'd1;
      if (tail_q == 7'd0) busy_q <= 1'b0;
    end
  end

  // Outputs: one with the last tap of a window, with every element, with every column of PACK.
  logic row_end, plane_end, loop_last, result;
  logic win_inside, win_first, win_last;
  logic col_read, col_inside, col_last, chunk_valid;
  oct_vec_pkg::chunk_t chunk;
  always_comb begin
    if (cfg_i.columns) result = chunk_valid && chunk.last;
    else result = (step && ((cfg_i.win && win_last) || cfg_i.elt)) || (pack_col_i && !freeze_i);
  end
  oct_vec_loop u_loop (
    .clk_i, .load_i(issue_i), .step_i(result), .mh_i(cfg_i.mh), .mw_i(cfg_i.mw), .blocks_i(cfg_i.blocks),
    .row_end_o(row_end), .plane_end_o(plane_end), .last_o(loop_last)
  );

  logic [15:0] out_addr, elt_addr, b_addr, win_addr, pack_addr, col_addr, col_out_addr;
  oct_vec_stream u_out (
    .clk_i, .load_i(issue_i), .addr_i(cfg_d_i.out_addr), .row0_i(cfg_d_i.out_row0), .step_i(result), .row_end_i(row_end),
    .plane_end_i(plane_end), .row_first_i(cfg_i.out_row0), .row_step_i(cfg_i.out_row_step), .wrap_i(cfg_i.out_wrap),
    .blk_stride_i(cfg_i.out_blk_stride), .x_step_i(cfg_i.out_x_step), .addr_o(out_addr)
  );
  oct_vec_stream u_a (
    .clk_i, .load_i(issue_i), .addr_i(cfg_d_i.a_addr), .row0_i(cfg_d_i.a_row0), .step_i(step && cfg_i.elt), .row_end_i(row_end),
    .plane_end_i(plane_end), .row_first_i(cfg_i.a_row0), .row_step_i(cfg_i.a_row_step), .wrap_i(cfg_i.a_wrap),
    .blk_stride_i(cfg_i.a_blk_stride), .x_step_i(cfg_i.a_x_step), .addr_o(elt_addr)
  );
  oct_vec_stream u_b (
    .clk_i, .load_i(issue_i), .addr_i(cfg_d_i.b_addr), .row0_i(cfg_d_i.b_row0), .step_i(step && cfg_i.use_b), .row_end_i(row_end),
    .plane_end_i(plane_end), .row_first_i(cfg_i.b_row0), .row_step_i(cfg_i.b_row_step), .wrap_i(cfg_i.b_wrap),
    .blk_stride_i(cfg_i.b_blk_stride), .x_step_i(cfg_i.b_x_step), .addr_o(b_addr)
  );

  // Windows.
  logic [1:0] win_wsel;
  logic [9:0] win_wrow;
  logic [6:0] win_pset;
  oct_vec_window u_window (
    .clk_i, .load_i(issue_i), .cfg_d_i, .cfg_i, .step_i(step && (cfg_i.win || cfg_i.affine) && !cfg_i.columns), .row_end_i(row_end), .plane_end_i(plane_end),
    .addr_o(win_addr), .inside_o(win_inside), .first_o(win_first), .last_o(win_last), .wsel_o(win_wsel), .wrow_o(win_wrow),
    .pset_o(win_pset)
  );

  // Windows by columns.
  logic [5:0] col_cell;
  logic       col_weight;
  logic [9:0] col_wrow;
  logic [2:0] col_word;
  oct_vec_columns u_columns (
    .clk_i, .rst_ni, .clear_i, .load_i(issue_i && cfg_d_i.columns), .cfg_d_i, .cfg_i, .step_i(step && cfg_i.columns), .last_o(col_last),
    .read_o(col_read), .inside_o(col_inside), .addr_o(col_addr), .cell_o(col_cell), .chunk_valid_o(chunk_valid), .chunk_o(chunk),
    .out_addr_o(col_out_addr), .weight_o(col_weight), .weight_row_o(col_wrow), .weight_word_o(col_word)
  );

  // Packing.
  logic pack_re, pack_last;
  oct_pack_addr #(.N(N)) u_pack_addr (
    .clk_i, .load_i(issue_i), .cfg_d_i, .cfg_i, .step_i(step && cfg_i.pack), .re_o(pack_re), .addr_o(pack_addr),
    .valid_o(pack_valid_o), .vec_o(pack_vec_o), .lane_o(pack_lane_o), .count_o(pack_count_o), .shift_o(pack_shift_o), .row_in_o(pack_row_in_o),
    .lo_o(pack_lo_o), .hi_o(pack_hi_o), .win_end_o, .win_lanes_o, .win_cols_o, .last_o(pack_last)
  );

  always_comb begin
    if (cfg_i.columns) read_last = col_last;
    else if (cfg_i.pack) read_last = pack_last;
    else read_last = result && loop_last;
  end

  // r + 1 to r + 3
  oct_vec_pkg::tap_t tap1_q, tap2_q, tap3_q;
  logic [3:1]        tap_valid_q;
  logic [6:0]        pset1_q, pset2_q, pset3_q;
  logic              a_re_q, b_re_q, weight_re_q;
  logic [24:1]       result_q;
  logic [5:0]        cell1_q, cell2_q;
  logic [9:0]        wrow1_q;
  logic [5:1]        chunk_valid_q;
  logic [3:1]        weight_valid_q;  // a chunk uses weights in x + 4: the row asked for in x arrives in x + 3
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {tap_valid_q, a_re_q, b_re_q, weight_re_q} <= '0;
      {result_q, chunk_valid_q, weight_valid_q}  <= '0;
    end else if (clear_i) begin
      {tap_valid_q, a_re_q, b_re_q, weight_re_q} <= '0;
      {result_q, chunk_valid_q, weight_valid_q}  <= '0;
    end else begin
      a_re_q       <= step && (cfg_i.elt || (cfg_i.columns ? (col_read && col_inside) : (cfg_i.win && win_inside)) || pack_re);
      b_re_q       <= step && cfg_i.use_b;
      weight_re_q  <= cfg_i.columns ? (weight_valid_q[1] && !cfg_i.sum) : (step && cfg_i.mac && !cfg_i.sum && (win_wsel == 2'd0));
      tap_valid_q  <= {tap_valid_q[2] && !cfg_i.columns, tap_valid_q[1], step && (cfg_i.columns ? col_read : !cfg_i.pack)};
      result_q     <= {result_q[23:1], result};
      chunk_valid_q  <= {chunk_valid_q[4:1], chunk_valid};
      weight_valid_q <= {weight_valid_q[2:1], col_weight};
    end
  end
  always_ff @(posedge clk_i) begin
    if (cfg_i.columns) begin
      if (col_read) begin
        a_addr_o <= col_addr;
        tap1_q   <= {col_inside, 4'd0};
        cell1_q  <= col_cell;
      end
      if (tap_valid_q[1]) cell2_q <= cell1_q;
      if (weight_valid_q[1]) weight_row_o <= wrow1_q;
    end else if (step) begin
      a_addr_o      <= cfg_i.elt ? elt_addr : (cfg_i.win ? win_addr : pack_addr);
      b_addr_o      <= b_addr;
      weight_row_o  <= win_wrow;
      pset1_q       <= win_pset;
      tap1_q        <= {cfg_i.elt || win_inside, win_first, win_last, win_wsel};
    end
    if (result) out_addr_o <= cfg_i.columns ? col_out_addr : out_addr;
    if (tap_valid_q[1]) begin
      tap2_q  <= tap1_q;
      pset2_q <= pset1_q;
    end
    if (tap_valid_q[2]) begin
      tap3_q  <= tap2_q;
      pset3_q <= pset2_q;
    end
  end

  // By columns: reads on their way to the window, weight rows to the lanes, chunks to the multipliers (their cells are chosen in x + 2).
  oct_vec_pkg::chunk_t chunk1_q, chunk2_q;
  logic [4:0]          tag3_q, tag4_q;  // {block, first, last, index}
  logic [2:0]          tag5_q;          // {block, first, last}
  logic [6:0]          col_pset_q;      // of the chunk in x + 5
  logic [2:0]          word1_q, word2_q, word3_q;
  logic [8:0]          use_d;
  logic [53:0]         cells_d;
  oct_vec_select u_select (
    .valid_i(chunk_valid_q[2]), .chunk_i(chunk2_q), .kw_i(cfg_i.kw[2:0]), .taps_i(cfg_i.taps), .use_o(use_d), .cells_o(cells_d)
  );
  always_ff @(posedge clk_i) begin
    if (issue_i) begin
      col_pset_q <= cfg_d_i.pset;
    end else if (cfg_i.columns) begin
      // Last stage first.
      if (chunk_valid_q[5] && (tag5_q[2] && tag5_q[0])) col_pset_q <= col_pset_q + {6'd0, !cfg_i.pset_shared};
      if (chunk_valid_q[4]) tag5_q <= tag4_q[4:2];
      if (chunk_valid_q[3]) tag4_q <= tag3_q;
      if (chunk_valid_q[2]) begin
        tag3_q       <= {chunk2_q.block, chunk2_q.first, chunk2_q.last, chunk2_q.index};
        take_use_o   <= use_d;
        take_cells_o <= cells_d;
      end
      if (chunk_valid_q[1]) chunk2_q <= chunk1_q;
      if (chunk_valid) chunk1_q <= chunk;
      if (weight_valid_q[2]) word3_q <= word2_q;
      if (weight_valid_q[1]) word2_q <= word1_q;
      if (col_weight) begin
        word1_q <= col_word;
        wrow1_q <= col_wrow;
      end
    end
  end
  assign fill_cell_o    = cell2_q;
  assign weight_valid_o = weight_valid_q[3];
  assign weight_word_o  = word3_q;
  assign take_o         = chunk_valid_q[3];
  assign mul_o          = chunk_valid_q[4];
  assign mul_chunk_o    = tag4_q[1:0];

  assign a_re_o       = a_re_q && !freeze_i;
  assign b_re_o       = b_re_q && !freeze_i;
  assign weight_re_o  = weight_re_q;
  assign tap2_o       = tap2_q;
  assign tap3_o       = cfg_i.columns ? {1'b1, tag5_q[1:0], 2'b00} : tap3_q;
  assign tap2_valid_o = tap_valid_q[2];
  assign tap3_valid_o = tap_valid_q[3] || chunk_valid_q[5];
  assign pset_o       = cfg_i.columns ? col_pset_q : (cfg_i.affine ? pset2_q : pset3_q);
  assign result_o     = result_q;

  // CLAIM, in r + 1; order a, b, out.
  logic a_bad, b_bad, out_bad;
  oct_claim_check #(.BankDepth(BankDepth)) u_claim_a (
    .addr_i(a_addr_o), .bank_i(cfg_i.a_bank), .banks_i(cfg_i.a_banks), .bad_o(a_bad)
  );
  oct_claim_check #(.BankDepth(BankDepth)) u_claim_b (
    .addr_i(b_addr_o), .bank_i(cfg_i.b_bank), .banks_i(cfg_i.b_banks), .bad_o(b_bad)
  );
  oct_claim_check #(.BankDepth(BankDepth)) u_claim_out (
    .addr_i(out_addr_o), .bank_i(cfg_i.out_bank), .banks_i(cfg_i.out_banks), .bad_o(out_bad)
  );
  always_comb begin
    claim_fault_o = 1'b0;
    claim_addr_o  = '0;
    if (a_re_o && a_bad) begin
      claim_fault_o = 1'b1;
      claim_addr_o  = a_addr_o;
    end else if (b_re_o && b_bad) begin
      claim_fault_o = 1'b1;
      claim_addr_o  = b_addr_o;
    end else if (result_q[1] && !freeze_i && out_bad) begin
      claim_fault_o = 1'b1;
      claim_addr_o  = out_addr_o;
    end
  end

  `OCT_ASSERT(IssueWhenReady, !issue_i || !busy_q, clk_i, rst_ni)

endmodule
