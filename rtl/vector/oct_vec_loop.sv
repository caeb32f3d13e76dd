// The loops over the outputs of an instruction, in the order block, row, column. The flags belong to the current output.
module oct_vec_loop (
  input  logic        clk_i,
  input  logic        load_i,
  input  logic        step_i,
  input  logic [11:0] mh_i,
  input  logic [11:0] mw_i,
  input  logic [11:0] blocks_i,
  output logic        row_end_o,    // last column
  output logic        plane_end_o,  // last column of the last row
  output logic        last_o        // ... of the last block
);

  logic [11:0] x_q, y_q, blk_q;

  assign row_end_o   = x_q + 12'd1 == mw_i;
  assign plane_end_o = row_end_o && (y_q + 12'd1 == mh_i);
  assign last_o      = plane_end_o && (blk_q + 12'd1 == blocks_i);

  always_ff @(posedge clk_i) begin
    if (load_i) begin
      x_q   <= '0;
      y_q   <= '0;
      blk_q <= '0;
    end else if (step_i) begin
      x_q <= row_end_o ? 12'd0 : x_q + 12'd1;
      if (row_end_o) y_q <= plane_end_o ? 12'd0 : y_q + 12'd1;
      if (plane_end_o) blk_q <= blk_q + 12'd1;
    end
  end

endmodule
