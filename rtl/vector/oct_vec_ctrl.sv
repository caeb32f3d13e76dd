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
  output logic              weight_re_o,     // in r + 1
  output logic [9:0]        weight_row_o,
  output oct_vec_pkg::tap_t tap2_o,          // tap or element in r + 2
  output oct_vec_pkg::tap_t tap3_o,          // ... in r + 3
  output logic              tap2_valid_o,
  output logic              tap3_valid_o,
  output logic [6:0]        pset3_o,         // in r + 3
  output logic [24:1]       result_o,        // bit k: a result was generated k cycles ago
  // transposer, in r
  output logic              pack_valid_o,
  output logic [2:0]        pack_vec_o,
  output logic [Lg-1:0]     pack_lane_o,
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
  assign result = (step && ((cfg_i.win && win_last) || cfg_i.elt)) || (pack_col_i && !freeze_i);
  oct_vec_loop u_loop (
    .clk_i, .load_i(issue_i), .step_i(result), .mh_i(cfg_i.mh), .mw_i(cfg_i.mw), .blocks_i(cfg_i.blocks),
    .row_end_o(row_end), .plane_end_o(plane_end), .last_o(loop_last)
  );

  logic [15:0] out_addr, elt_addr, b_addr, win_addr, pack_addr;
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
    .clk_i, .load_i(issue_i), .cfg_d_i, .cfg_i, .step_i(step && cfg_i.win), .row_end_i(row_end), .plane_end_i(plane_end),
    .addr_o(win_addr), .inside_o(win_inside), .first_o(win_first), .last_o(win_last), .wsel_o(win_wsel), .wrow_o(win_wrow),
    .pset_o(win_pset)
  );

  // Packing.
  logic pack_re, pack_last;
  oct_pack_addr #(.N(N)) u_pack_addr (
    .clk_i, .load_i(issue_i), .cfg_d_i, .cfg_i, .step_i(step && cfg_i.pack), .re_o(pack_re), .addr_o(pack_addr),
    .valid_o(pack_valid_o), .vec_o(pack_vec_o), .lane_o(pack_lane_o), .shift_o(pack_shift_o), .row_in_o(pack_row_in_o),
    .lo_o(pack_lo_o), .hi_o(pack_hi_o), .win_end_o, .win_lanes_o, .win_cols_o, .last_o(pack_last)
  );

  assign read_last = cfg_i.pack ? pack_last : (result && loop_last);

  // r + 1 to r + 3
  oct_vec_pkg::tap_t tap1_q, tap2_q, tap3_q;
  logic [3:1]        tap_valid_q;
  logic [6:0]        pset1_q, pset2_q, pset3_q;
  logic              a_re_q, b_re_q, weight_re_q;
  logic [24:1]       result_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {tap_valid_q, a_re_q, b_re_q, weight_re_q} <= '0;
      result_q <= '0;
    end else if (clear_i) begin
      {tap_valid_q, a_re_q, b_re_q, weight_re_q} <= '0;
      result_q <= '0;
    end else begin
      a_re_q       <= step && (cfg_i.elt || (cfg_i.win && win_inside) || pack_re);
      b_re_q       <= step && cfg_i.use_b;
      weight_re_q  <= step && cfg_i.mac && !cfg_i.sum && (win_wsel == 2'd0);
      tap_valid_q  <= {tap_valid_q[2:1], step && !cfg_i.pack};
      result_q     <= {result_q[23:1], result};
    end
  end
  always_ff @(posedge clk_i) begin
    if (step) begin
      a_addr_o      <= cfg_i.elt ? elt_addr : (cfg_i.win ? win_addr : pack_addr);
      b_addr_o      <= b_addr;
      weight_row_o  <= win_wrow;
      pset1_q       <= win_pset;
      tap1_q        <= {cfg_i.elt || win_inside, win_first, win_last, win_wsel};
    end
    if (result) out_addr_o <= out_addr;
    if (tap_valid_q[1]) begin
      tap2_q  <= tap1_q;
      pset2_q <= pset1_q;
    end
    if (tap_valid_q[2]) begin
      tap3_q  <= tap2_q;
      pset3_q <= pset2_q;
    end
  end

  assign a_re_o       = a_re_q && !freeze_i;
  assign b_re_o       = b_re_q && !freeze_i;
  assign weight_re_o  = weight_re_q;
  assign tap2_o       = tap2_q;
  assign tap3_o       = tap3_q;
  assign tap2_valid_o = tap_valid_q[2];
  assign tap3_valid_o = tap_valid_q[3];
  assign pset3_o      = pset3_q;
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
