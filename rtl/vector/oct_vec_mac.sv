// The operands of all lanes, and what WIN computes of them: multiply-accumulate with bias and requantization (N1, N3), or the maximum.
// Cycles are counted as in oct_vec_lane, which has the parameters, the other arithmetic and the table of a lane. A lane's number lies in a
// word of a vector, and one expression serves all lanes (see oct_requant).
module oct_vec_mac #(
  parameter int unsigned N = 16,
  parameter int unsigned OpW = 9  // bits that hold an operand, see oct_array
) (
  input  logic                  clk_i,
  // verilator lint_off UNUSEDSIGNAL
  input  oct_vec_pkg::cfg_t     cfg_i,           // other parts read the other fields
  input  oct_vec_pkg::tap_t     tap2_i,          // the tap or element in r + 2
  input  oct_vec_pkg::tap_t     tap3_i,          // ... in r + 3
  // verilator lint_on UNUSEDSIGNAL
  input  logic                  tap2_valid_i,
  input  logic                  tap3_valid_i,
  input  logic                  last4_i,         // last tap, in r + 4 (chunk, in x + 6)
  input  logic                  last5_i,         // last tap, in r + 5 (chunk, in x + 7)
  // by columns (oct_vec_taps)
  input  logic [5:0]            fill_cell_i,
  input  logic                  weight_valid_i,
  input  logic [2:0]            weight_word_i,
  input  logic                  take_i,
  input  logic [8:0]            take_use_i,
  input  logic [53:0]           take_cells_i,
  input  logic                  mul_i,
  input  logic [1:0]            mul_chunk_i,
  input  logic [8*N-1:0]        a_i,             // in r + 2
  input  logic [8*N-1:0]        b_i,
  input  logic [N-1:0][31:0]    weights_i,       // in r + 2
  input  logic [N-1:0][31:0]    bias_i,          // in r + 4
  input  logic [N-1:0][31:0]    mult_i,
  output logic [N-1:0][OpW-1:0] a_o,             // operands in r + 3
  output logic [N-1:0][OpW-1:0] b_o,
  output logic [N-1:0][31:0]    requant_o,       // code in r + 11
  output logic [N-1:0][31:0]    max_o            // code in r + 5
);

  // r + 2: operands. Padding contributes 0 (N1), to MAX the least code of the type; with SUM every weight is 1 (N8); AFFINE is
  // N6 with b = 0.
  logic [31:0]           a_sign, b_sign, za, zb;
  logic [OpW-1:0]        neutral;
  logic [N-1:0][OpW-1:0] a_d, b_d;
  assign a_sign  = {24'd0, cfg_i.a_signed, 7'd0};
  assign b_sign  = {24'd0, cfg_i.b_signed, 7'd0};
  assign za      = 32'($signed(cfg_i.za));
  assign zb      = 32'($signed(cfg_i.zb));
  assign neutral = (cfg_i.max && cfg_i.a_signed) ? OpW'(-32'sd128) : '0;
  always_comb begin
    a_d = '0;
    b_d = '0;
    if (tap2_valid_i) begin
      if (tap2_i.in_image) begin
        for (int unsigned l = 0; l < N; l++) a_d[l] = OpW'(oct_word_pkg::difference(32'(a_i[8*l+:8]), a_sign, za));
      end else begin
        a_d = {N{neutral}};
      end
      if (cfg_i.affine) begin
        b_d = '0;
      end else if (cfg_i.sum) begin
        b_d = {N{OpW'(1)}};
      end else if (cfg_i.win) begin
        for (int unsigned l = 0; l < N; l++) b_d[l] = OpW'(oct_word_pkg::difference(weights_i[l] >> {tap2_i.wsel, 3'd0}, b_sign, zb));
      end else begin
        for (int unsigned l = 0; l < N; l++) b_d[l] = OpW'(oct_word_pkg::difference(32'(b_i[8*l+:8]), b_sign, zb));
      end
    end
  end

  // By columns.
  logic [N-1:0][31:0] taps_sum, taps_max;
  oct_vec_taps #(.N(N), .OpW(OpW)) u_taps (
    .clk_i, .sum_i(cfg_i.sum), .max_i(cfg_i.max), .w_signed_i(cfg_i.b_signed), .zw_i(zb), .neutral_i(neutral),
    .fill_i(tap2_valid_i && cfg_i.columns), .fill_cell_i, .fill_d_i(a_d), .weight_i(weight_valid_i), .weight_word_i, .weights_i, .take_i,
    .take_use_i, .take_cells_i, .mul_i, .mul_chunk_i, .sum_o(taps_sum), .max_o(taps_max)
  );

  // r + 3: accumulate, or take the maximum of the taps inside; without one, the least code of the type. r + 4: bias; clamp of the maximum.
  logic [N-1:0][31:0] acc4_q, max4_q, sum5_q, mult5_q;
  logic [31:0]        y_sign, acc_old;
  assign y_sign  = {24'd0, cfg_i.y_signed, 7'd0};
  assign acc_old = ~oct_word_pkg::mask(tap3_i.first);

  always_ff @(posedge clk_i) begin
    // Last stage first: no register is read behind its assignment, so simulators need no copies.
    if (last4_i && cfg_i.max) begin
      for (int unsigned l = 0; l < N; l++) begin
        max_o[l] <= 32'hff & oct_word_pkg::clamp(max4_q[l], oct_word_pkg::extend(32'(cfg_i.lo), y_sign),
                                                 oct_word_pkg::extend(32'(cfg_i.hi), y_sign));
      end
    end
    if (last4_i && cfg_i.mac) begin
      for (int unsigned l = 0; l < N; l++) sum5_q[l] <= acc4_q[l] + bias_i[l];
      mult5_q <= mult_i;
    end
    if (tap3_valid_i && cfg_i.max) begin
      if (cfg_i.columns) begin
        for (int unsigned l = 0; l < N; l++) max4_q[l] <= tap3_i.first ? taps_max[l] : oct_word_pkg::most(max4_q[l], taps_max[l]);
      end else begin
        for (int unsigned l = 0; l < N; l++) begin
          max4_q[l] <= tap3_i.first ? 32'($signed(a_o[l])) : oct_word_pkg::most(max4_q[l], 32'($signed(a_o[l])));
        end
      end
    end
    if (tap3_valid_i && cfg_i.mac) begin
      if (cfg_i.columns) begin
        for (int unsigned l = 0; l < N; l++) acc4_q[l] <= (acc4_q[l] & acc_old) + taps_sum[l];
      end else begin
        for (int unsigned l = 0; l < N; l++) acc4_q[l] <= (acc4_q[l] & acc_old) + 32'($signed(a_o[l])) * 32'($signed(b_o[l]));
      end
    end
    if (tap2_valid_i) begin
      a_o <= a_d;
      b_o <= b_d;
    end
  end

  // The cell's latency is known: the codes are taken when they are there.
  // verilator lint_off PINCONNECTEMPTY
  oct_requant #(.Lanes(N)) u_requant (
    .clk_i, .valid_i({N{last5_i && cfg_i.mac}}), .acc_i(sum5_q), .mult_i(mult5_q),
    .par_i({N{7'd0, cfg_i.y_signed, cfg_i.zy, cfg_i.lo, cfg_i.hi}}), .valid_o(), .code_o(requant_o)
  );
  // verilator lint_on PINCONNECTEMPTY

endmodule
