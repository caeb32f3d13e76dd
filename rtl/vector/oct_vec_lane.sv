// One channel lane of the vector unit: its columns of the parameter memories, the cells of ELT and the table; multiply-accumulate and
// maximum are done for all lanes together (oct_vec_mac). Cycles are counted from the read cycle r of a tap or element (of the last tap,
// for a WIN result): data arrive in r + 2,
//   COPY                  code in r + 3
//   WIN MAX               code in r + 5
//   WIN DEPTHWISE, SUM    sum with bias in r + 5, code in r + 11
//   ELT ADD, MUL, AFFINE  code in r + 11
//   WIN by columns        as the tap of r + 2 is the chunk of x: sum with bias in x + 7, and so on
// and code_o, behind the table, is there one cycle after the code.
module oct_vec_lane #(
  parameter int unsigned N = 16,
  parameter int unsigned PSets = 128,
  parameter int unsigned WRows = 256,
  localparam int unsigned Lg = $clog2(N),
  localparam int unsigned PSetW = $clog2(PSets),
  localparam int unsigned WRowW = $clog2(WRows)
) (
  input  logic              clk_i,
  input  logic              clk_cell_i,      // clk_i while the operation uses the cells
  // verilator lint_off UNUSEDSIGNAL
  input  oct_vec_pkg::cfg_t cfg_i,           // other parts read the other fields
  input  oct_vec_pkg::tap_t tap3_i,          // the tap or element in r + 3
  // verilator lint_on UNUSEDSIGNAL
  input  logic              tap2_valid_i,
  input  logic              tap3_valid_i,
  input  logic              code_valid_i,    // the code is ready (the cycles above)
  input  logic signed [8:0] a_i,             // operands, in r + 3
  input  logic signed [8:0] b_i,
  input  logic [7:0]        requant_i,       // codes that oct_vec_mac has made, when code_valid_i
  input  logic [7:0]        max_i,
  input  logic [31:0]       c0_i,            // constants of the instruction
  input  logic [31:0]       c1_i,
  input  logic [31:0]       c2_i,
  // parameter memories: reads
  input  logic              weight_re_i,     // in r + 1
  input  logic [WRowW-1:0]  weight_raddr_i,
  input  logic [PSetW-1:0]  pset_i,          // in r + 3 (ELT AFFINE: in r + 2)
  // parameter memories: writes
  // verilator lint_off UNUSEDSIGNAL
  input  logic [9:0]        waddr_i,         // entry; table: word of N codes (as many bits as the memory has)
  // verilator lint_on UNUSEDSIGNAL
  input  logic              bias_we_i,
  input  logic              mult_we_i,
  input  logic              weight_we_i,
  input  logic              table_we_i,
  input  logic [31:0]       word_i,
  input  logic [8*N-1:0]    beat_i,
  output logic [31:0]       weights_o,       // in r + 2
  output logic [31:0]       bias_o,          // in r + 4
  output logic [31:0]       mult_o,
  output logic [7:0]        code_o
);

  localparam int unsigned TableWords = 1024 / N;
  localparam int unsigned TableW = $clog2(TableWords);

  // Arithmetic cells: N6 (and N13's multiply-add: N6 with b = 0, so that its inner multiply-add is F), N7.
  logic [7:0] add_code, mul_code;
  // verilator lint_off UNUSEDSIGNAL
  logic [1:0] cell_valid;  // the cells' latency is known: code_valid_i
  // verilator lint_on UNUSEDSIGNAL
  oct_add u_add (
    .clk_i(clk_cell_i), .valid_i(tap3_valid_i && cfg_i.add), .a_i, .b_i, .ra_i(cfg_i.affine ? mult_o : c0_i), .rb_i(c1_i), .f_i(cfg_i.affine ? bias_o : c2_i),
    .out_signed_i(cfg_i.y_signed), .lo_i(cfg_i.lo), .hi_i(cfg_i.hi), .valid_o(cell_valid[0]), .code_o(add_code)
  );
  oct_mul u_mul (
    .clk_i(clk_cell_i), .valid_i(tap3_valid_i && cfg_i.mul), .a_i, .b_i, .r_i(c0_i), .zc_i(c1_i),
    .out_signed_i(cfg_i.y_signed), .lo_i(cfg_i.lo), .hi_i(cfg_i.hi), .valid_o(cell_valid[1]), .code_o(mul_code)
  );

  // The code, and its way through the table (N5), which is indexed by the byte.
  logic [7:0]     code_d, code_q;
  logic [8*N-1:0] table_word;
  always_comb begin
    code_d = '0;
    if (code_valid_i) begin
      if (cfg_i.mac) code_d = requant_i;
      else if (cfg_i.max) code_d = max_i;
      else if (cfg_i.add) code_d = add_code;
      else if (cfg_i.mul) code_d = mul_code;
      else code_d = a_i[7:0];
    end
  end
  always_ff @(posedge clk_i) begin
    if (code_valid_i) code_q <= code_d;
  end
  assign code_o = cfg_i.table_en ? table_word[{code_q[Lg-1:0], 3'd0}+:8] : code_q;

  // Memories. Every target of a parameter load has its own, so each is written by itself; a scrub writes all.
  oct_sram_1r1w #(.Width(32), .Depth(WRows)) u_weights (
    .clk_i, .we_i(weight_we_i), .waddr_i(waddr_i[WRowW-1:0]), .wdata_i(word_i),
    .re_i(weight_re_i), .raddr_i(weight_raddr_i), .rdata_o(weights_o)
  );
  logic pset_re;
  assign pset_re = cfg_i.affine ? tap2_valid_i : (tap3_valid_i && tap3_i.last && cfg_i.mac);
  oct_sram_1r1w #(.Width(32), .Depth(PSets)) u_bias (
    .clk_i, .we_i(bias_we_i), .waddr_i(waddr_i[PSetW-1:0]), .wdata_i(word_i),
    .re_i(pset_re), .raddr_i(pset_i), .rdata_o(bias_o)
  );
  oct_sram_1r1w #(.Width(32), .Depth(PSets)) u_mult (
    .clk_i, .we_i(mult_we_i), .waddr_i(waddr_i[PSetW-1:0]), .wdata_i(word_i),
    .re_i(pset_re), .raddr_i(pset_i), .rdata_o(mult_o)
  );
  oct_sram_1r1w #(.Width(8 * N), .Depth(TableWords)) u_table (
    .clk_i, .we_i(table_we_i), .waddr_i(waddr_i[TableW-1:0]), .wdata_i(beat_i),
    .re_i(code_valid_i && cfg_i.table_en), .raddr_i({cfg_i.table_slot, code_d[7:Lg]}), .rdata_o(table_word)
  );

endmodule
