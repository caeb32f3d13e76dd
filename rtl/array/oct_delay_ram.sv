// Words that come out Delay cycles (at least 2) after they went in, kept in a memory instead of a row of registers.
module oct_delay_ram #(
  parameter int unsigned Width = 32,
  parameter int unsigned Delay = 8
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             clear_i,
  input  logic             valid_i,
  input  logic [Width-1:0] data_i,
  output logic             valid_o,
  output logic [Width-1:0] data_o  // held until the next valid_o
);

  // The pointer comes back to a word after Delay - 1 cycles; the read returns it although a new one may be written in that cycle.
  localparam int unsigned Depth = Delay - 1;
  localparam int unsigned PtrW = Depth > 1 ? $clog2(Depth) : 1;

  logic [PtrW-1:0]  ptr_q;
  logic [Delay-1:0] valid_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      ptr_q   <= '0;
      valid_q <= '0;
    end else if (clear_i) begin
      ptr_q   <= '0;
      valid_q <= '0;
    end else begin
      ptr_q   <= (ptr_q == PtrW'(Depth - 1)) ? '0 : ptr_q + PtrW'(1);
      valid_q <= {valid_q[Delay-2:0], valid_i};
    end
  end

  oct_sram_1r1w #(.Width(Width), .Depth(Depth)) u_mem (
    .clk_i, .we_i(valid_i), .waddr_i(ptr_q), .wdata_i(data_i),
    .re_i(valid_q[Delay-2]), .raddr_i(ptr_q), .rdata_o(data_o)
  );
  assign valid_o = valid_q[Delay-1];

endmodule
