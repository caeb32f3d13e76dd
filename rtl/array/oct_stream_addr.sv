// Addresses of an output or residual stream: rows of mw vectors, rows circular. All sums are modulo 2^16.
module oct_stream_addr
(
  input  logic        clk_i,
  input  logic        load_i,      // take the row pointer of a new instruction
  input  logic [15:0] row0_i,
  input  logic        step_i,      // the address was used
  input  logic        row_end_i,   // with step_i: it was the last of its row
  input  logic [15:0] base_i,
  input  logic [15:0] row_step_i,
  input  logic [15:0] wrap_i,
  input  logic [2:0]  x_step_i,    // vectors of a position
  output logic [15:0] addr_o
);

  logic [15:0] row_q, x_q;

  always_ff @(posedge clk_i) begin
    if (load_i) begin
      row_q <= row0_i;
      x_q   <= '0;
    end else if (step_i) begin
      if (row_end_i) row_q <= oct_exe_pkg::wrap_add(row_q, row_step_i, wrap_i);
      x_q <= row_end_i ? '0 : x_q + {13'd0, x_step_i};
    end
  end

  assign addr_o = base_i + row_q + x_q;

endmodule
