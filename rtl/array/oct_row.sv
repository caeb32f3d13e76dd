// A row of processing elements of the weight-stationary array. Element c: psum_o[c] = psum_i[c] + x * weight (rule N1: operands without
// zero points, 9 bits signed, sums wrap in 32 bits), x moving one element right per cycle. Weights move down in groups of WeightRows
// rows; take_i[c] copies this row's weight of the passing group into element c's shadow, swap_i[c] takes the shadow into use from the next
// cycle on.
module oct_row #(
  parameter int unsigned N = 16,
  parameter int unsigned WeightRows = 4,
  parameter int unsigned Lane = 0,  // the row's place in its group
  parameter int unsigned OpW = 9,   // bits that hold an operand, see oct_array
  parameter int unsigned DropW = 9  // bits that hold a weight on its way down
) (
  input  logic                          clk_x_i, // runs while a vector can be in the row
  input  logic signed [OpW-1:0]         x_i,     // one cycle before it is in element 0
  input  logic [N-1:0][31:0]            psum_i,
  output logic [N-1:0][31:0]            psum_o,
  input  logic                          clk_w_i, // runs while a weight group or a swap can be in the row
  input  logic                          wrun_i,  // a weight group or a swap is in the row
  input  logic [N-1:0]                  take_i,
  input  logic [N-1:0]                  swap_i,
  // element c's weight for group row k: w_i[c][k]
  input  logic [N-1:0][WeightRows-1:0][DropW-1:0] w_i,
  output logic [N-1:0][WeightRows-1:0][DropW-1:0] w_o
);
  logic [N-1:0][OpW-1:0] shadow_q, weight_q, x_q;

  always_ff @(posedge clk_x_i) begin
    for (int unsigned c = 0; c < N; c++) begin
      psum_o[c] <= psum_i[c] + 32'($signed(x_q[c])) * 32'($signed(weight_q[c]));
    end
    x_q <= {x_q[N-2:0], x_i};
  end

  // Few elements take or swap in one cycle; four are looked at together.
  always_ff @(posedge clk_w_i) begin
    if (wrun_i) begin
      w_o <= w_i;
      for (int unsigned q = 0; q < N; q += 4) begin
        if (swap_i[q +: 4] != '0) begin
          for (int unsigned c = 0; c < 4; c++) if (swap_i[q+c]) weight_q[q+c] <= shadow_q[q+c];
        end
        if (take_i[q +: 4] != '0) begin
          for (int unsigned c = 0; c < 4; c++) if (take_i[q+c]) shadow_q[q+c] <= OpW'($signed(w_i[q+c][Lane]));
        end
      end
    end
  end

endmodule
