// One channel lane of the vector unit: multiply-accumulate and maximum, its columns of the parameter memories, the arithmetic cells and
// the table. Cycles are counted from the read cycle r of a tap or element (of the last tap, for a WIN result): data arrive in r + 2,
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
  input  logic              clk_requant_i,   // clk_i while the operation uses the cell
  input  logic              clk_add_i,
  input  logic              clk_mul_i,
  input  logic              clk_taps_i,      // clk_i while windows are made by columns
  // verilator lint_off UNUSEDSIGNAL
  input  oct_vec_pkg::cfg_t cfg_i,           // other parts read the other fields
  input  oct_vec_pkg::tap_t tap2_i,          // the tap or element in r + 2
  input  oct_vec_pkg::tap_t tap3_i,          // ... in r + 3
  // verilator lint_on UNUSEDSIGNAL
  input  logic              tap2_valid_i,
  input  logic              tap3_valid_i,
  input  logic              last4_i,         // last tap, in r + 4 (chunk, in x + 6)
  input  logic              last5_i,         // last tap, in r + 5 (chunk, in x + 7)
  // by columns (oct_vec_taps)
  input  logic [5:0]        fill_cell_i,
  input  logic              weight_valid_i,
  input  logic [2:0]        weight_word_i,
  input  logic              take_i,
  input  logic [8:0]        take_use_i,
  input  logic [53:0]       take_cells_i,
  input  logic              mul_i,
  input  logic [1:0]        mul_chunk_i,
  input  logic              code_valid_i,    // the code is ready (the cycles above)
  input  logic [7:0]        a_i,             // in r + 2
  input  logic [7:0]        b_i,
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
  output logic [7:0]        code_o
);

  localparam int unsigned TableWords = 1024 / N;
  localparam int unsigned TableW = $clog2(TableWords);

  // r + 2: operands. Padding contributes 0 (N1), to MAX the least code of the type; with SUM every weight is 1 (N8); AFFINE is N6 with
  // b = 0, so that its inner multiply-add is F.
  logic [31:0]       weights;
  logic [7:0]        b_code;
  logic signed [8:0] a_d, b_d, a3_q, b3_q, neutral;
  assign neutral = (cfg_i.max && cfg_i.a_signed) ? -9'sd128 : 9'sd0;
  always_comb begin
    b_code = '0;
    a_d    = '0;
    b_d    = '0;
    if (tap2_valid_i) begin
      b_code = cfg_i.win ? weights[{tap2_i.wsel, 3'd0}+:8] : b_i;
      a_d    = tap2_i.in_image ? $signed({cfg_i.a_signed & a_i[7], a_i}) - $signed(cfg_i.za) : neutral;
      b_d    = cfg_i.affine ? 9'sd0 : cfg_i.sum ? 9'sd1 : $signed({cfg_i.b_signed & b_code[7], b_code}) - $signed(cfg_i.zb);
    end
  end

  // By columns.
  logic signed [21:0] taps_sum;
  logic signed [8:0]  taps_max;
  oct_vec_taps u_taps (
    .clk_i(clk_taps_i), .sum_i(cfg_i.sum), .max_i(cfg_i.max), .w_signed_i(cfg_i.b_signed), .zw_i(cfg_i.zb), .neutral_i(neutral),
    .fill_i(tap2_valid_i), .fill_cell_i, .fill_d_i(a_d), .weight_i(weight_valid_i), .weight_word_i, .weights_i(weights), .take_i,
    .take_use_i, .take_cells_i, .mul_i, .mul_chunk_i, .sum_o(taps_sum), .max_o(taps_max)
  );

  // r + 3: accumulate, or take the maximum of the taps inside; without one, the least code of the type.
  logic [31:0]       acc4_q;
  logic signed [8:0] max4_q, max_d;
  logic [31:0]       term;
  always_comb begin
    max_d = '0;
    term  = '0;
    if (tap3_valid_i) begin
      if (cfg_i.max) begin
        max_d = cfg_i.columns ? taps_max : a3_q;
        if (!tap3_i.first && (max4_q >= max_d)) max_d = max4_q;
      end else if (cfg_i.mac) begin
        term = cfg_i.columns ? 32'(taps_sum) : 32'(32'(a3_q) * 32'(b3_q));
      end
    end
  end

  // r + 4: bias; clamp of the maximum. (AFFINE has its set in r + 3.)
  logic [31:0] bias4, mult4, sum5_q, mult5_q;
  logic [7:0]  max5_q;

  always_ff @(posedge clk_i) begin
    // Last stage first: no register is read behind its assignment, so simulators need no copies.
    if (last4_i && cfg_i.max) begin
      max5_q <= 8'(oct_float_pkg::clamp(11'(max4_q), 11'(oct_float_pkg::extend(cfg_i.lo, cfg_i.y_signed)),
                                        11'(oct_float_pkg::extend(cfg_i.hi, cfg_i.y_signed))));
    end
    if (last4_i && cfg_i.mac) begin
      sum5_q  <= acc4_q + bias4;
      mult5_q <= mult4;
    end
    if (tap3_valid_i && cfg_i.max) max4_q <= max_d;
    if (tap3_valid_i && cfg_i.mac) acc4_q <= (tap3_i.first ? 32'd0 : acc4_q) + term;
    if (tap2_valid_i) begin
      a3_q <= a_d;
      b3_q <= b_d;
    end
  end

  // Arithmetic cells: N3, N6 (and N13's multiply-add), N7.
  logic [7:0] requant_code, add_code, mul_code;
  // verilator lint_off UNUSEDSIGNAL
  logic [2:0] cell_valid;  // the cells' latency is known: code_valid_i
  // verilator lint_on UNUSEDSIGNAL
  oct_requant u_requant (
    .clk_i(clk_requant_i), .valid_i(last5_i && cfg_i.mac), .acc_i(sum5_q), .mult_i(mult5_q), .zy_i(cfg_i.zy), .y_signed_i(cfg_i.y_signed),
    .lo_i(cfg_i.lo), .hi_i(cfg_i.hi), .valid_o(cell_valid[0]), .code_o(requant_code)
  );
  oct_add u_add (
    .clk_i(clk_add_i), .valid_i(tap3_valid_i && cfg_i.add), .a_i(a3_q), .b_i(b3_q), .ra_i(cfg_i.affine ? mult4 : c0_i), .rb_i(c1_i),
    .f_i(cfg_i.affine ? bias4 : c2_i), .out_signed_i(cfg_i.y_signed), .lo_i(cfg_i.lo), .hi_i(cfg_i.hi), .valid_o(cell_valid[1]), .code_o(add_code)
  );
  oct_mul u_mul (
    .clk_i(clk_mul_i), .valid_i(tap3_valid_i && cfg_i.mul), .a_i(a3_q), .b_i(b3_q), .r_i(c0_i), .zc_i(c1_i),
    .out_signed_i(cfg_i.y_signed), .lo_i(cfg_i.lo), .hi_i(cfg_i.hi), .valid_o(cell_valid[2]), .code_o(mul_code)
  );

  // The code, and its way through the table (N5), which is indexed by the byte.
  logic [7:0]     code_d, code_q;
  logic [8*N-1:0] table_word;
  always_comb begin
    code_d = '0;
    if (code_valid_i) begin
      if (cfg_i.mac) code_d = requant_code;
      else if (cfg_i.max) code_d = max5_q;
      else if (cfg_i.add) code_d = add_code;
      else if (cfg_i.mul) code_d = mul_code;
      else code_d = a3_q[7:0];
    end
  end
  always_ff @(posedge clk_i) begin
    if (code_valid_i) code_q <= code_d;
  end
  assign code_o = cfg_i.table_en ? table_word[{code_q[Lg-1:0], 3'd0}+:8] : code_q;

  // Memories. Every target of a parameter load has its own, so each is written by itself; a scrub writes all.
  oct_sram_1r1w #(.Width(32), .Depth(WRows)) u_weights (
    .clk_i, .we_i(weight_we_i), .waddr_i(waddr_i[WRowW-1:0]), .wdata_i(word_i),
    .re_i(weight_re_i), .raddr_i(weight_raddr_i), .rdata_o(weights)
  );
  logic pset_re;
  assign pset_re = cfg_i.affine ? tap2_valid_i : (tap3_valid_i && tap3_i.last && cfg_i.mac);
  oct_sram_1r1w #(.Width(32), .Depth(PSets)) u_bias (
    .clk_i, .we_i(bias_we_i), .waddr_i(waddr_i[PSetW-1:0]), .wdata_i(word_i),
    .re_i(pset_re), .raddr_i(pset_i), .rdata_o(bias4)
  );
  oct_sram_1r1w #(.Width(32), .Depth(PSets)) u_mult (
    .clk_i, .we_i(mult_we_i), .waddr_i(waddr_i[PSetW-1:0]), .wdata_i(word_i),
    .re_i(pset_re), .raddr_i(pset_i), .rdata_o(mult4)
  );
  oct_sram_1r1w #(.Width(8 * N), .Depth(TableWords)) u_table (
    .clk_i, .we_i(table_we_i), .waddr_i(waddr_i[TableW-1:0]), .wdata_i(beat_i),
    .re_i(code_valid_i && cfg_i.table_en), .raddr_i({cfg_i.table_slot, code_d[7:Lg]}), .rdata_o(table_word)
  );

endmodule
