// The activation buffer: Banks memories of BankDepth vectors, five read streams and three write streams. The claims (timing.md
// section 3) keep two streams of one kind out of the same bank; where they do not, the lower-numbered stream wins. A read returns
// its data one cycle later. Addresses beyond the last bank are not written and read as zero.
`include "oct_assert.svh"

module oct_buffer #(
  parameter int unsigned N         = 16,
  parameter int unsigned Banks     = 24,
  parameter int unsigned BankDepth = 1024
) (
  input  logic           clk_i,
  input  logic           rst_ni,
  input  logic           scrub_i,       // writes zeros, address by address
  input  logic           check_i,       // no CLAIM fault so far: the streams must be disjoint (assertions only)
  // Read streams: 0 EXE in, 1 EXE residual, 2 VEC a, 3 VEC b, 4 STO.
  input  logic           re0_i,
  input  logic [15:0]    raddr0_i,
  output logic [8*N-1:0] rdata0_o,
  input  logic           re1_i,
  input  logic [15:0]    raddr1_i,
  output logic [8*N-1:0] rdata1_o,
  input  logic           re2_i,
  input  logic [15:0]    raddr2_i,
  output logic [8*N-1:0] rdata2_o,
  input  logic           re3_i,
  input  logic [15:0]    raddr3_i,
  output logic [8*N-1:0] rdata3_o,
  input  logic           re4_i,
  input  logic [15:0]    raddr4_i,
  output logic [8*N-1:0] rdata4_o,
  // Write streams: 0 EXE, 1 VEC, 2 ACT.
  input  logic           we0_i,
  input  logic [15:0]    waddr0_i,
  input  logic [8*N-1:0] wdata0_i,
  input  logic           we1_i,
  input  logic [15:0]    waddr1_i,
  input  logic [8*N-1:0] wdata1_i,
  input  logic           we2_i,
  input  logic [15:0]    waddr2_i,
  input  logic [8*N-1:0] wdata2_i
);

  localparam int unsigned AddrBits = $clog2(BankDepth);
  localparam int unsigned BankBits = Banks > 1 ? $clog2(Banks) : 1;

  // One bit per bank and stream; a bank beyond the last one sets none.
  function automatic logic [Banks-1:0] select(input logic enable, input logic [15:0] addr);
    logic [15:0] bank;
    bank   = addr >> AddrBits;
    select = '0;
    if (enable && bank < 16'(Banks)) select[BankBits'(bank)] = 1'b1;
  endfunction

  logic [Banks-1:0] r0, r1, r2, r3, r4, w0, w1, w2;
  assign r0 = select(re0_i, raddr0_i);
  assign r1 = select(re1_i, raddr1_i);
  assign r2 = select(re2_i, raddr2_i);
  assign r3 = select(re3_i, raddr3_i);
  assign r4 = select(re4_i, raddr4_i);
  assign w0 = select(we0_i, waddr0_i);
  assign w1 = select(we1_i, waddr1_i);
  assign w2 = select(we2_i, waddr2_i);

  // Banks somebody reads or writes: a bank without costs a bit test.
  logic [Banks-1:0] r_any, w_any;
  assign r_any = r0 | r1 | r2 | r3 | r4;
  assign w_any = w0 | w1 | w2;

  logic [AddrBits-1:0] scrub_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) scrub_q <= '0;
    else scrub_q <= scrub_i ? scrub_q + AddrBits'(1) : '0;
  end

  // Data selection: the bank each stream read last.
  logic [8*N-1:0] rdata [Banks];
  logic v0_q, v1_q, v2_q, v3_q, v4_q;
  logic [BankBits-1:0] b0_q, b1_q, b2_q, b3_q, b4_q;
  always_ff @(posedge clk_i) begin
    v0_q <= r0 != '0;
    v1_q <= r1 != '0;
    v2_q <= r2 != '0;
    v3_q <= r3 != '0;
    v4_q <= r4 != '0;
    b0_q <= BankBits'(raddr0_i >> AddrBits);
    b1_q <= BankBits'(raddr1_i >> AddrBits);
    b2_q <= BankBits'(raddr2_i >> AddrBits);
    b3_q <= BankBits'(raddr3_i >> AddrBits);
    b4_q <= BankBits'(raddr4_i >> AddrBits);
  end
  assign rdata0_o = v0_q ? rdata[b0_q] : '0;
  assign rdata1_o = v1_q ? rdata[b1_q] : '0;
  assign rdata2_o = v2_q ? rdata[b2_q] : '0;
  assign rdata3_o = v3_q ? rdata[b3_q] : '0;
  assign rdata4_o = v4_q ? rdata[b4_q] : '0;

  for (genvar b = 0; b < int'(Banks); b++) begin : gen_bank
    logic                we, re;
    logic [AddrBits-1:0] waddr, raddr;
    logic [8*N-1:0]      wdata, data;
    assign re    = r_any[b];
    assign raddr = r0[b] ? raddr0_i[AddrBits-1:0] : r1[b] ? raddr1_i[AddrBits-1:0] : r2[b] ? raddr2_i[AddrBits-1:0] :
                   r3[b] ? raddr3_i[AddrBits-1:0] : raddr4_i[AddrBits-1:0];
    always_comb begin
      we    = scrub_i || w_any[b];
      waddr = scrub_q;
      wdata = '0;
      if (we && !scrub_i) begin
        if (w0[b]) begin
          waddr = waddr0_i[AddrBits-1:0];
          wdata = wdata0_i;
        end else if (w1[b]) begin
          waddr = waddr1_i[AddrBits-1:0];
          wdata = wdata1_i;
        end else begin
          waddr = waddr2_i[AddrBits-1:0];
          wdata = wdata2_i;
        end
      end
    end
    oct_sram_1r1w #(.Width(8 * N), .Depth(BankDepth)) u_bank (
      .clk_i, .we_i(we), .waddr_i(waddr), .wdata_i(wdata), .re_i(re), .raddr_i(raddr), .rdata_o(data)
    );
    assign rdata[b] = data;
  end

  // Two streams of one kind never meet in a bank.
  logic reads_meet, writes_meet;
  assign reads_meet  = |(r0 & (r1 | r2 | r3 | r4)) || |(r1 & (r2 | r3 | r4)) || |(r2 & (r3 | r4)) || |(r3 & r4);
  assign writes_meet = |(w0 & (w1 | w2)) || |(w1 & w2);
  `OCT_ASSERT(ReadStreamsDisjoint, !check_i || !reads_meet, clk_i, rst_ni)
  `OCT_ASSERT(WriteStreamsDisjoint, !check_i || !writes_meet, clk_i, rst_ni)

endmodule
