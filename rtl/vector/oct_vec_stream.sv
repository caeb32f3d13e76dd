// Addresses of one stream of channel blocks, circular rows and columns: blk * blk_stride + row pointer + column. Additions only, modulo
// 2^16. `addr_o` belongs to the current element; step_i goes to the next one in the order block, row, column.
module oct_vec_stream (
  input  logic        clk_i,
  input  logic        load_i,       // start of an instruction: addr_i, row0_i are sampled
  input  logic [15:0] addr_i,
  input  logic [15:0] row0_i,
  input  logic        step_i,
  input  logic        row_end_i,    // the current element is the last of its row ...
  input  logic        plane_end_i,  // ... and of its block
  input  logic [15:0] row_first_i,  // row0, row step, wrap and strides of the instruction
  input  logic [15:0] row_step_i,
  input  logic [15:0] wrap_i,
  input  logic [15:0] blk_stride_i,
  input  logic [3:0]  x_step_i,
  output logic [15:0] addr_o
);

  logic [15:0] base_q, row_q, col_q;

  always_ff @(posedge clk_i) begin
    if (load_i) begin
      base_q <= addr_i;
      row_q  <= row0_i;
      col_q  <= 16'd0;
    end else if (step_i) begin
      if (!row_end_i) begin
        col_q <= col_q + {12'd0, x_step_i};
      end else begin
        col_q <= 16'd0;
        if (!plane_end_i) begin
          row_q <= oct_vec_pkg::wrap_add(row_q, row_step_i, wrap_i);
        end else begin
          row_q  <= row_first_i;
          base_q <= base_q + blk_stride_i;
        end
      end
    end
  end

  assign addr_o = base_q + row_q + col_q;

endmodule
