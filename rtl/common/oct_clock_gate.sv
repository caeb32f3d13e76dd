// Gates a clock: clk_o has an edge at the end of exactly those cycles in which en_i is 1. The latch keeps clk_o free of
// glitches. Physical designs replace this module by a clock-gating cell. Simulators gain as much from it as silicon: what has
// no clock edge costs nothing.
module oct_clock_gate (
  input  logic clk_i,
  input  logic en_i,
  output logic clk_o
);

  logic en;
  always_latch begin
    if (!clk_i) en = en_i;
  end
  assign clk_o = clk_i & en;

endmodule
