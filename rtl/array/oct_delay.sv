// Depth registers in a row (0: a wire), moved while en_i is 1.
module oct_delay #(
  parameter int unsigned Width = 8,
  parameter int unsigned Depth = 1
) (
  input  logic             clk_i,
  input  logic             en_i,
  input  logic [Width-1:0] d_i,
  output logic [Width-1:0] d_o
);

  if (Depth == 0) begin : g_wire
    logic unused;
    assign unused = ^{clk_i, en_i};
    assign d_o = d_i;
  end else begin : g_stages
    for (genvar s = 0; s < Depth; s++) begin : g_stage
      logic [Width-1:0] d_q;
      if (s == 0) begin : g_first
        always_ff @(posedge clk_i) if (en_i) d_q <= d_i;
      end else begin : g_next
        always_ff @(posedge clk_i) if (en_i) d_q <= g_stage[s-1].d_q;
      end
    end
    assign d_o = g_stage[Depth-1].d_q;
  end

endmodule
