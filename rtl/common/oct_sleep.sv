// The clock of a unit that sleeps when nothing happens: it runs in cycles with wake_i and Hold cycles longer, in which the unit's
// pipelines run empty; and so after reset.
module oct_sleep #(
  parameter int unsigned Hold = 64
) (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic wake_i,
  output logic clk_o
);

  localparam int unsigned Bits = $clog2(Hold + 1);
  logic [Bits-1:0] left_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) left_q <= Bits'(Hold);
    else if (wake_i) left_q <= Bits'(Hold);
    else if (left_q != '0) left_q <= left_q - Bits'(1);
  end

  oct_clock_gate u_gate (.clk_i, .en_i(wake_i || left_q != '0), .clk_o);

endmodule
