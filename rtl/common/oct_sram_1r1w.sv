// Every memory of the core: one synchronous read port, one write port. An address given in cycle t returns its data in t + 1; the
// data stay while re_i is 0. A read and a write of one address in the same cycle return the old data. Contents are not reset.
// Physical designs replace this module by a macro with the same ports.
module oct_sram_1r1w #(
  parameter int unsigned Width = 32,
  parameter int unsigned Depth = 16,
  localparam int unsigned AddrW = Depth > 1 ? $clog2(Depth) : 1
) (
  input  logic             clk_i,
  input  logic             we_i,
  input  logic [AddrW-1:0] waddr_i,
  input  logic [Width-1:0] wdata_i,
  input  logic             re_i,
  input  logic [AddrW-1:0] raddr_i,
  output logic [Width-1:0] rdata_o
);

  logic [Width-1:0] mem [Depth];
  logic [Width-1:0] rdata_q;

`ifdef VERILATOR
  // Nobody else looks at mem, and the read precedes the write: blocking writes are the same and spare a copy of the word.
  // verilator lint_off BLKSEQ
  always_ff @(posedge clk_i) begin
    if (re_i) rdata_q <= mem[raddr_i];
    if (we_i) mem[waddr_i] = wdata_i;
  end
  // verilator lint_on BLKSEQ
`else
  always_ff @(posedge clk_i) begin
    if (re_i) rdata_q <= mem[raddr_i];
    if (we_i) mem[waddr_i] <= wdata_i;
  end
`endif

  assign rdata_o = rdata_q;

`ifndef SYNTHESIS
  // A simulation starts from the state a scrub leaves, so that runs can be compared.
  initial begin
    for (int unsigned i = 0; i < Depth; i++) mem[i] = '0;
    rdata_q = '0;
  end
`endif

endmodule
