// What stands below one column of the array: accumulators, bias (N1), requantization and clamp (N3), table (N5). With u the cycle in which
// the array's sum shows on sum_i: accumulator read u - 1, addition and write u, bias u + 1, requantization u + 2 .. u + 8, table
// u + 8 .. u + 10, code on byte_o in u + 10. Raw sums leave through byte_o too, a byte per cycle, lowest first. The tags come one
// cycle earlier than to the next column, which gets them from here.
module oct_column #(
  parameter int unsigned N = 16,
  parameter int unsigned AccDepth = 1024,
  parameter int unsigned PSets = 128,
  localparam int unsigned AccW = AccDepth > 1 ? $clog2(AccDepth) : 1,
  localparam int unsigned SetW = PSets > 1 ? $clog2(PSets) : 1,
  localparam int unsigned TabW = $clog2(1024 / N)
) (
  input  logic            clk_i,        // accumulators
  input  logic            clk_post_i,   // what follows them: runs while emitted vectors or parameters are on their way
  input  logic            rst_ni,
  input  logic            clear_i,
  input  logic [9:0]      scrub_i,      // while clear_i: address to be set to zero in every memory
  input  logic [31:0]     sum_i,
  // tags, with their copies for the next column
  input  logic            acc_valid_i,  // u - 1
  input  oct_exe_pkg::acc_tag_t        acc_i,
  output logic            acc_valid_o,
  output oct_exe_pkg::acc_tag_t        acc_o,
  input  logic            req_valid_i,  // u
  input  oct_exe_pkg::req_tag_t        req_i,
  output logic            req_valid_o,
  output oct_exe_pkg::req_tag_t        req_o,
  input  logic            tab_valid_i,  // u + 8
  input  oct_exe_pkg::tab_tag_t        tab_i,
  output logic            tab_valid_o,
  output oct_exe_pkg::tab_tag_t        tab_o,
  input  logic            raw_run_i,    // raw sums may be on their way
  // parameters
  input  logic            bias_we_i,
  input  logic            mult_we_i,
  input  logic [SetW-1:0] set_addr_i,
  input  logic [31:0]     set_data_i,
  input  logic            table_we_i,
  input  logic [TabW-1:0] table_addr_i,  // {slot, code / N}
  input  logic [8*N-1:0]  table_data_i,
  output logic [7:0]      byte_o
);

  // --- accumulators: a sum is written in u, so only the very next vector can miss it ---
  logic [31:0] acc_rdata, acc_d, acc_q;

  always_comb begin
    acc_d = sum_i;
    if (acc_valid_o && !acc_o.first) acc_d = sum_i + (acc_o.again ? acc_q : acc_rdata);
  end

  oct_sram_1r1w #(.Width(32), .Depth(AccDepth)) u_acc (
    .clk_i, .we_i((acc_valid_o && !acc_o.emit) || clear_i), .waddr_i(clear_i ? scrub_i[AccW-1:0] : acc_o.addr[AccW-1:0]),
    .wdata_i(clear_i ? 32'd0 : acc_d), .re_i(acc_valid_i && !acc_i.first), .raddr_i(acc_i.addr[AccW-1:0]), .rdata_o(acc_rdata)
  );

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      acc_valid_o <= 1'b0;
    end else if (clear_i) begin
      acc_valid_o <= 1'b0;
    end else begin
      acc_valid_o <= acc_valid_i;
    end
  end

  always_ff @(posedge clk_i) begin
    if (acc_valid_i) acc_o <= acc_i;
    if (acc_valid_o) acc_q <= acc_d;
  end

  // Small memories do not need all address bits.
  logic unused_addr;
  assign unused_addr = ^{scrub_i, acc_o.addr};

  // --- bias and requantization ---
  logic [31:0] bias_rdata, mult_rdata, biased_q;
  logic        req2_q;
  // The table fields go their own way.
  // verilator lint_off UNUSEDSIGNAL
  oct_exe_pkg::req_tag_t    req2_tag_q;
  // verilator lint_on UNUSEDSIGNAL
  logic [7:0]  code;

  oct_sram_1r1w #(.Width(32), .Depth(PSets)) u_bias (
    .clk_i(clk_post_i), .we_i(bias_we_i || clear_i), .waddr_i(clear_i ? scrub_i[SetW-1:0] : set_addr_i), .wdata_i(clear_i ? 32'd0 : set_data_i),
    .re_i(req_valid_i), .raddr_i(req_i.pset[SetW-1:0]), .rdata_o(bias_rdata)
  );
  oct_sram_1r1w #(.Width(32), .Depth(PSets)) u_mult (
    .clk_i(clk_post_i), .we_i(mult_we_i || clear_i), .waddr_i(clear_i ? scrub_i[SetW-1:0] : set_addr_i), .wdata_i(clear_i ? 32'd0 : set_data_i),
    .re_i(req_valid_o), .raddr_i(req_o.pset[SetW-1:0]), .rdata_o(mult_rdata)
  );

  always_ff @(posedge clk_post_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {req_valid_o, req2_q, tab_valid_o} <= '0;
    end else if (clear_i) begin
      {req_valid_o, req2_q, tab_valid_o} <= '0;
    end else begin
      req_valid_o <= req_valid_i;
      req2_q      <= req_valid_o;
      tab_valid_o <= tab_valid_i;
    end
  end

  always_ff @(posedge clk_post_i) begin
    if (req_valid_i) req_o <= req_i;
    if (req_valid_o) begin
      biased_q   <= acc_q + bias_rdata;
      req2_tag_q <= req_o;
    end
  end

  // tab_i says when the code is there.
  // verilator lint_off PINCONNECTEMPTY
  oct_requant u_requant (
    .clk_i(clk_post_i), .valid_i(req2_q && !req2_tag_q.raw), .acc_i(biased_q), .mult_i(mult_rdata), .zy_i(req2_tag_q.zy),
    .y_signed_i(req2_tag_q.y_signed), .lo_i(req2_tag_q.lo), .hi_i(req2_tag_q.hi), .valid_o(), .code_o(code)
  );
  // verilator lint_on PINCONNECTEMPTY

  // --- raw sums: byte k shows in raw_byte in u + 9 + k ---
  logic [31:0] raw_q;
  logic [7:0]  raw_byte;
  always_ff @(posedge clk_post_i) begin
    if (raw_run_i) raw_q <= (req2_q && req2_tag_q.raw) ? biased_q : {8'd0, raw_q[31:8]};
  end
  oct_delay #(.Width(8), .Depth(6)) u_raw (.clk_i(clk_post_i), .en_i(raw_run_i), .d_i(raw_q[7:0]), .d_o(raw_byte));

  // --- table: the byte of a code is its index; a word holds N entries ---
  logic [8*N-1:0] table_rdata;
  logic [7:0]     code_q;
  oct_sram_1r1w #(.Width(8*N), .Depth(1024/N)) u_table (
    .clk_i(clk_post_i), .we_i(table_we_i || clear_i), .waddr_i(clear_i ? scrub_i[TabW-1:0] : table_addr_i),
    .wdata_i(clear_i ? (8*N)'(0) : table_data_i),
    .re_i(tab_valid_i && tab_i.table_en), .raddr_i({tab_i.slot, code[7:$clog2(N)]}), .rdata_o(table_rdata)
  );

  always_ff @(posedge clk_post_i) begin
    if (tab_valid_i) begin
      tab_o  <= tab_i;
      code_q <= code;
    end
    if (tab_valid_o) begin
      if (tab_o.raw) byte_o <= raw_byte;
      else if (tab_o.table_en) byte_o <= table_rdata[{code_q[$clog2(N)-1:0], 3'b000} +: 8];
      else byte_o <= code_q;
    end
  end

endmodule
