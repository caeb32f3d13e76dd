// Clock gate: clk_o pulses in the cycles in which en_i is 1. The latch holds the enable while the clock is high, so a late or changing
// enable makes no glitch. Physical designs replace this module by their library's cell.
module oct_clock_gate (
  input  logic clk_i,
  input  logic en_i,   // settled before the rising edge
  output logic clk_o
);

  logic en_q;
  always_latch begin
    if (!clk_i) en_q = en_i;
  end
  assign clk_o = clk_i & en_q;

endmodule
