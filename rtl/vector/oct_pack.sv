// PACK: the byte transposer. The vectors of a lane group (oct_pack_addr) fill columns of N bytes, one for each output column of the group
// of columns, a byte for each lane; while the columns of a window are filled, those of the one before are read out. Byte k * stride + l,
// counted from where lane 0 would begin if it were of the group, is what lane l has in output column k, for all lanes of the group: a
// vector is rotated once, and each column takes from it the bytes that it holds. Timing: the vector addressed in cycle r arrives in r + 2
// and is in the columns from r + 4; the column generated in cycle e is read in e + 3, so the last read of a window and the first column
// behind it are never too close, and columns follow the windows at the same distance as their read phase.
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
  input  logic [Lg:0]    count_i,
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

  // Read side, cycles r + 1 and r + 2.
  typedef struct packed {
    logic [2:0]    vec;
    logic [Lg-1:0] lane;
    logic [Lg:0]   count;
    logic [Lg-1:0] shift;
    logic          row_in;
    logic [Lg:0]   lo;
    logic [Lg:0]   hi;
    logic          sel;
  } read_t;
  // ... and r + 3.
  typedef struct packed {
    logic [2:0]    turn;    // number of the vector, counted from the one where lane 0 would begin
    logic [Lg-1:0] rotate;  // byte where it would begin
    logic [N-1:0]  lanes;   // of the group
    logic [N-1:0]  keep;    // bytes of the vector inside the image
    logic          sel;
  } write_t;
  read_t          read1_q, read2_q;
  write_t         write_d, write_q;
  logic [2:0]     valid_q;
  logic           sel_q;  // half of the rows that is filled
  logic [8*N-1:0] data_q;

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

  // r + 2
  always_comb begin
    write_d = '0;
    if (valid_q[1]) begin
      write_d.turn   = read2_q.vec + {2'd0, read2_q.shift < read2_q.lane};
      write_d.rotate = read2_q.shift - read2_q.lane;
      write_d.sel    = read2_q.sel;
      for (int unsigned i = 0; i < N; i++) begin
        write_d.lanes[i]  = (Lg + 1)'(i) >= {1'b0, read2_q.lane} && (Lg + 1)'(i) - {1'b0, read2_q.lane} < read2_q.count;
        write_d.keep[i]   = read2_q.row_in && (Lg + 1)'(i) >= read2_q.lo && (Lg + 1)'(i) < read2_q.hi;
      end
    end
  end

  // r + 3: byte p of those counted from lane 0 is byte p mod N of the rotated vector, if the vector is the one that holds it: vector
  // p / N, or the next one for the bytes that the rotation brings round. Masks have the eight bits of a byte.
  logic [8*N-1:0]   masked, lanes;
  logic [N-1:0]     round;
  logic [16*N-9:0]  rotated;  // and its first N - 1 bytes once more
  logic [40*N-33:0] held;     // 4 * (N - 1) + N bytes
  always_comb begin
    masked  = '0;
    lanes   = '0;
    rotated = '0;
    held    = '0;
    round   = '0;
    if (valid_q[2]) begin
      for (int unsigned i = 0; i < N; i++) begin
        masked[8*i+:8] = write_q.keep[i] ? data_q[8*i+:8] : zx_i;
        lanes[8*i+:8]  = {8{write_q.lanes[i]}};
        round[i]       = (Lg + 1)'(i) + {1'b0, write_q.rotate} >= (Lg + 1)'(N);
      end
      for (int unsigned p = 0; p < 5 * N - 4; p++) held[8*p+:8] = {8{3'(p / N) + {2'd0, round[p%N]} == write_q.turn}};
      rotated[8*N-1:0]    = (8 * N)'({masked, masked} >> {write_q.rotate, 3'd0});
      rotated[16*N-9:8*N] = rotated[8*N-9:0];
    end
  end

  logic [8*N-1:0] half0_q[N], half1_q[N];
  for (genvar k = 0; k < N; k++) begin : g_column
    logic [8*N-1:0] mask, bytes, next;
    always_comb begin
      mask  = '0;
      bytes = '0;
      next  = '0;
      if (valid_q[2]) begin
        case (stride_i)
          3'd1: mask = held[8*k+:8*N];
          3'd2: mask = held[16*k+:8*N];
          3'd3: mask = held[24*k+:8*N];
          default: mask = held[32*k+:8*N];
        endcase
        mask = mask & lanes;
      end
      if (mask != '0) begin
        case (stride_i)
          3'd1: bytes = rotated[8*k+:8*N];
          3'd2: bytes = rotated[8*((2*k)%N)+:8*N];
          3'd3: bytes = rotated[8*((3*k)%N)+:8*N];
          default: bytes = rotated[8*((4*k)%N)+:8*N];
        endcase
        next = ((write_q.sel ? half1_q[k] : half0_q[k]) & ~mask) | (bytes & mask);
      end
    end
    always_ff @(posedge clk_i) begin
      if (mask != '0 && !write_q.sel) half0_q[k] <= next;
      if (mask != '0 && write_q.sel) half1_q[k] <= next;
    end
  end

  logic [8*N-1:0] column, col_d;
  always_comb begin
    column = '0;
    col_d  = '0;
    if (col_valid_q[2]) begin
      column = col3_q.sel ? half1_q[col3_q.col] : half0_q[col3_q.col];
      for (int unsigned l = 0; l < N; l++) col_d[8*l+:8] = ((Lg + 1)'(l) < col3_q.lanes) ? column[8*l+:8] : zx_i;
    end
  end

  always_ff @(posedge clk_i) begin
    if (valid_i) read1_q <= {vec_i, lane_i, count_i, shift_i, row_in_i, lo_i, hi_i, sel_q};
    if (valid_q[0]) read2_q <= read1_q;
    if (valid_q[1]) begin
      write_q <= write_d;
      data_q  <= data_i;
    end

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
