// A processing element of the weight-stationary array: psum_o = psum_i + x_i * w (rule N1: operands without zero points, 9 bits
// signed, sums wrap in 32 bits). Inputs move right, sums down. Weights move down the column in groups of WeightRows rows; take_i
// copies this row's weight of the passing group into the shadow, swap_i takes the shadow into use from the next cycle on.
module oct_pe #(
  parameter int unsigned WeightRows = 4,
  parameter int unsigned Lane = 0  // the row's place in its group
) (
  input  logic                    clk_i,
  input  logic                    run_i,  // a vector is in the row
  input  logic signed [8:0]       x_i,
  output logic signed [8:0]       x_o,
  input  logic [31:0]             psum_i,
  output logic [31:0]             psum_o,
  input  logic                    wrun_i,  // a weight group or a swap is in the row
  input  logic                    take_i,
  input  logic                    swap_i,
  input  logic [9*WeightRows-1:0] w_i,
  output logic [9*WeightRows-1:0] w_o
);

  logic signed [8:0] shadow_q, weight_q;

  // run_i and wrun_i gate the clock of a whole row; what an idle row holds is never used.
  always_ff @(posedge clk_i) begin
    if (run_i) begin
      x_o    <= x_i;
      psum_o <= psum_i + 32'(x_i * weight_q);
    end
  end

  always_ff @(posedge clk_i) begin
    if (wrun_i) begin
      w_o <= w_i;
      if (swap_i) weight_q <= shadow_q;
      if (take_i) shadow_q <= w_i[9*Lane +: 9];
    end
  end

endmodule
