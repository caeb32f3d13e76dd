// WIN, tap by tap: walks the taps (ky, kx) of every output and gives the input address, or says that the tap is padding, with the
// weight row and the parameter set that belong to it. Additions only; addresses are modulo 2^16.
module oct_vec_window (
  input  logic              clk_i,
  input  logic              load_i,       // start of an instruction: cfg_d_i is sampled
  // verilator lint_off UNUSEDSIGNAL
  input  oct_vec_pkg::cfg_t cfg_d_i,      // other parts read the other fields
  input  oct_vec_pkg::cfg_t cfg_i,
  // verilator lint_on UNUSEDSIGNAL
  input  logic              step_i,       // the current tap is used
  input  logic              row_end_i,    // the current output is the last of its row ...
  input  logic              plane_end_i,  // ... and of its block
  output logic [15:0]       addr_o,
  output logic              inside_o,
  output logic              first_o,      // first tap of an output
  output logic              last_o,       // last tap of an output
  output logic [1:0]        wsel_o,       // tap modulo 4: byte of the weight word
  output logic [9:0]        wrow_o,
  output logic [6:0]        pset_o
);

  // 16-bit start, at most 4095 * 15 + 63 * 31 further on.
  logic signed [17:0] iy_q, ix_q, iy_out_q, ix_out_q;  // of the tap; of the output's first tap
  logic [15:0]        base_q, row_q, row_out_q;
  logic [5:0]         ky_q, kx_q;
  logic [1:0]         wsel_q;
  logic [9:0]         wrow_q, wrow_blk_q;
  logic [6:0]         pset_q;

  logic kx_end, ky_end;
  assign kx_end = kx_q + 6'd1 == cfg_i.kw;
  assign ky_end = ky_q + 6'd1 == cfg_i.kh;

  assign first_o  = (kx_q == 6'd0) && (ky_q == 6'd0);
  assign last_o   = kx_end && ky_end;
  assign wsel_o   = wsel_q;
  assign wrow_o   = wrow_q;
  assign pset_o   = pset_q;
  assign addr_o   = base_q + row_q + ix_q[15:0];
  assign inside_o = (iy_q >= 0) && (iy_q < $signed({2'b00, cfg_i.in_h})) && (ix_q >= 0) && (ix_q < $signed({2'b00, cfg_i.in_w}));

  // First tap of the next output of the same block.
  logic signed [17:0] iy_next, ix_next;
  logic [15:0]        row_next;
  always_comb begin
    iy_next  = iy_out_q;
    ix_next  = ix_out_q;
    row_next = row_out_q;
    if (step_i && last_o) begin
      ix_next = row_end_i ? 18'($signed(cfg_i.ix0)) : ix_out_q + $signed({14'd0, cfg_i.stride_x});
      if (plane_end_i) begin
        iy_next  = 18'($signed(cfg_i.iy0));
        row_next = cfg_i.a_row0;
      end else if (row_end_i) begin
        iy_next  = iy_out_q + $signed({14'd0, cfg_i.stride_y});
        row_next = oct_vec_pkg::wrap_add(row_out_q, cfg_i.a_row_step, cfg_i.a_wrap);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (load_i) begin
      {ky_q, kx_q, wsel_q} <= '0;
      iy_q       <= 18'($signed(cfg_d_i.iy0));
      iy_out_q   <= 18'($signed(cfg_d_i.iy0));
      ix_q       <= 18'($signed(cfg_d_i.ix0));
      ix_out_q   <= 18'($signed(cfg_d_i.ix0));
      base_q     <= cfg_d_i.a_addr;
      row_q      <= cfg_d_i.a_row0;
      row_out_q  <= cfg_d_i.a_row0;
      wrow_q     <= cfg_d_i.wrow;
      wrow_blk_q <= cfg_d_i.wrow;
      pset_q     <= cfg_d_i.pset;
    end else if (step_i) begin
      if (!last_o) begin
        wsel_q <= wsel_q + 2'd1;
        if (wsel_q == 2'd3) wrow_q <= wrow_q + 10'd1;
        if (!kx_end) begin
          kx_q <= kx_q + 6'd1;
          ix_q <= ix_q + $signed({13'd0, cfg_i.dil_x});
        end else begin
          kx_q  <= 6'd0;
          ix_q  <= ix_out_q;
          ky_q  <= ky_q + 6'd1;
          iy_q  <= iy_q + $signed({13'd0, cfg_i.dil_y});
          row_q <= oct_vec_pkg::wrap_add(row_q, cfg_i.ky_step, cfg_i.a_wrap);
        end
      end else begin
        {ky_q, kx_q, wsel_q} <= '0;
        iy_q      <= iy_next;
        iy_out_q  <= iy_next;
        ix_q      <= ix_next;
        ix_out_q  <= ix_next;
        row_q     <= row_next;
        row_out_q <= row_next;
        if (plane_end_i) begin
          base_q     <= base_q + cfg_i.a_blk_stride;
          wrow_q     <= wrow_q + 10'd1;  // the next block's weights start in the row behind this one's last
          wrow_blk_q <= wrow_q + 10'd1;
          pset_q     <= pset_q + {6'd0, !cfg_i.pset_shared};
        end else begin
          wrow_q <= wrow_blk_q;
        end
      end
    end
  end

endmodule
