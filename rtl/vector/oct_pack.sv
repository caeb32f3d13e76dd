// PACK: the byte transposer. The vectors of a lane (oct_pack_addr) become one row of N bytes, a byte for each output column of the group;
// while the rows of a window are filled, the columns of the one before are read out. Timing: the vector addressed in cycle r arrives in
// r + 2 and is in the rows from r + 4; the column generated in cycle e is read in e + 3, so the last read of a window and the first
// column behind it are never too close, and columns follow the windows at the same distance as their read phase.
module oct_pack #(
  parameter int unsigned N = 16,
  localparam int unsigned Lg = $clog2(N)
) (
  input  logic           clk_i,
  input  logic           rst_ni,
  input  logic           clear_i,
  input  logic [7:0]     zx_i,         // code of padding
  input  logic [2:0]     stride_i,     // columns between output columns
  // Read side, all in the read cycle r (see oct_pack_addr)
  input  logic           valid_i,
  input  logic [2:0]     vec_i,
  input  logic [Lg-1:0]  lane_i,
  input  logic [Lg-1:0]  shift_i,
  input  logic           row_in_i,
  input  logic [Lg:0]    lo_i,
  input  logic [Lg:0]    hi_i,
  input  logic [8*N-1:0] data_i,       // in r + 2
  input  logic           win_end_i,    // last cycle of a window
  input  logic [Lg:0]    win_lanes_i,
  input  logic [Lg:0]    win_cols_i,
  // Column side
  output logic           col_valid_o,  // a column is generated in this cycle e ...
  output logic [8*N-1:0] col_o         // ... and appears here in e + 4
);

  // Read side, cycles r + 1 to r + 3.
  typedef struct packed {
    logic [2:0]    vec;
    logic [Lg-1:0] lane;
    logic [Lg-1:0] shift;
    logic          row_in;
    logic [Lg:0]   lo;
    logic [Lg:0]   hi;
    logic          sel;
  } read_t;
  read_t          read1_q, read2_q, read3_q;
  logic [2:0]     valid_q;
  logic           sel_q;  // half of the rows that is filled
  logic [8*N-1:0] cur_q, prev_q;

  // Column side, cycle e and e + 1 to e + 3.
  typedef struct packed {
    logic [Lg-1:0] col;
    logic [Lg:0]   lanes;
    logic          sel;
  } col_t;
  logic          run_q;
  col_t          col0_q, col1_q, col2_q, col3_q;
  logic [Lg:0]   cols_q;
  logic [2:0]    col_valid_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {valid_q, sel_q, run_q, col_valid_q} <= '0;
    end else if (clear_i) begin
      {valid_q, sel_q, run_q, col_valid_q} <= '0;
    end else begin
      valid_q     <= {valid_q[1:0], valid_i};
      col_valid_q <= {col_valid_q[1:0], run_q};
      if (win_end_i) sel_q <= !sel_q;
      if (win_end_i) run_q <= 1'b1;
      else if ({1'b0, col0_q.col} + (Lg + 1)'(1) == cols_q) run_q <= 1'b0;
    end
  end

  // Rows: output column k is byte k * stride behind the lane's first column. A pair of consecutive vectors, shifted, holds N bytes of it.
  logic [8*N-1:0] rows_q[2*N];
  logic [8*N-1:0] row_d, aligned;
  logic [Lg+1:0]  pos;
  always_comb begin
    row_d   = '0;
    aligned = '0;
    pos     = '0;
    if (valid_q[2]) begin
      row_d   = rows_q[{read3_q.sel, read3_q.lane}];
      aligned = (8 * N)'({cur_q, prev_q} >> {read3_q.shift, 3'd0});
      for (int unsigned k = 0; k < N; k++) begin
        pos = (Lg + 2)'(k * stride_i);
        if ({1'b0, pos[Lg+1:Lg]} == read3_q.vec - 3'd1) begin
          row_d[8*k+:8] = (read3_q.row_in && {1'b0, pos[Lg-1:0]} >= read3_q.lo && {1'b0, pos[Lg-1:0]} < read3_q.hi)
                              ? aligned[{pos[Lg-1:0], 3'd0}+:8] : zx_i;
        end
      end
    end
  end

  logic [8*N-1:0] col_d;
  always_comb begin
    col_d = '0;
    if (col_valid_q[2]) begin
      for (int unsigned l = 0; l < N; l++) begin
        col_d[8*l+:8] = ((Lg + 1)'(l) < col3_q.lanes) ? rows_q[{col3_q.sel, Lg'(l)}][{col3_q.col, 3'd0}+:8] : zx_i;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (valid_i) read1_q <= {vec_i, lane_i, shift_i, row_in_i, lo_i, hi_i, sel_q};
    if (valid_q[0]) read2_q <= read1_q;
    if (valid_q[1]) begin
      read3_q <= read2_q;
      cur_q   <= data_i;
      prev_q  <= cur_q;
    end
    if (valid_q[2] && read3_q.vec != 3'd0) rows_q[{read3_q.sel, read3_q.lane}] <= row_d;

    if (win_end_i) begin
      col0_q <= {{Lg{1'b0}}, win_lanes_i, sel_q};
      cols_q <= win_cols_i;
    end else if (run_q) begin
      col0_q.col <= col0_q.col + Lg'(1);
    end
    if (run_q) col1_q <= col0_q;
    if (col_valid_q[0]) col2_q <= col1_q;
    if (col_valid_q[1]) col3_q <= col2_q;
    if (col_valid_q[2]) col_o <= col_d;
  end

  assign col_valid_o = run_q;

endmodule
