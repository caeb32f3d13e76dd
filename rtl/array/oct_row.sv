// A row of processing elements of the weight-stationary array. Element c: psum_o[c] = psum_i[c] + x * weight (rule N1: operands without
// zero points, 9 bits signed, sums wrap in 32 bits), x moving one element right per cycle. Weights move down in groups of WeightRows
// rows; take_i[c] copies this row's weight of the passing group into element c's shadow, swap_i[c] takes the shadow into use from the next
// cycle on.
module oct_row #(
  parameter int unsigned N = 16,
  parameter int unsigned WeightRows = 4,
  parameter int unsigned Lane = 0  // the row's place in its group
) (
  input  logic                          clk_i,
  input  logic                          run_i,   // a vector is in the row
  input  logic signed [oct_exe_pkg::OpW-1:0]         x_i,
  input  logic [N-1:0][31:0]            psum_i,
  output logic [N-1:0][31:0]            psum_o,
  input  logic                          wrun_i,  // a weight group or a swap is in the row
  input  logic [N-1:0]                  take_i,
  input  logic [N-1:0]                  swap_i,
  // element c's weight for group row k: w_i[c][k]
  input  logic [N-1:0][WeightRows-1:0][oct_exe_pkg::DropW-1:0] w_i,
  output logic [N-1:0][WeightRows-1:0][oct_exe_pkg::DropW-1:0] w_o
);
  localparam int unsigned OpW = oct_exe_pkg::OpW;

  logic [N-1:0][oct_exe_pkg::OpW-1:0] shadow_q, weight_q;
  logic [N-1:1][oct_exe_pkg::OpW-1:0] x_q;
  logic [N-1:0][oct_exe_pkg::OpW-1:0] x;
  assign x = {x_q, x_i};

  // run_i and wrun_i gate the clock of a whole row; what an idle row holds is never used.
  always_ff @(posedge clk_i) begin
    if (run_i) begin
      x_q <= x[N-2:0];
      for (int unsigned c = 0; c < N; c++) begin
        psum_o[c] <= psum_i[c] + 32'($signed(x[c])) * 32'($signed(weight_q[c]));
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (wrun_i) begin
      w_o <= w_i;
      for (int unsigned c = 0; c < N; c++) begin
        if (swap_i[c]) weight_q[c] <= shadow_q[c];
        if (take_i[c]) shadow_q[c] <= OpW'($signed(w_i[c][Lane]));
      end
    end
  end

endmodule
