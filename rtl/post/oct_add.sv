// Quantized addition, rule N6: y = sat(RN(fma(a, RA, fma(b, RB, F)))), clamped to lo..hi. Each fma is an exact 8 x 24-bit product and
// one aligned addition, rounded once. One operation per cycle, latency 8 cycles.
module oct_add (
  input  logic              clk_i,
  input  logic              valid_i,
  input  logic signed [8:0] a_i,           // raw codes, -128..255
  input  logic signed [8:0] b_i,
  input  logic [31:0]       ra_i,          // fp32 bits of RA, RB, F: zero or normal
  input  logic [31:0]       rb_i,
  input  logic [31:0]       f_i,
  input  logic              out_signed_i,  // output type: 1 int8, 0 uint8
  input  logic [7:0]        lo_i,          // clamp codes of the output type
  input  logic [7:0]        hi_i,
  output logic              valid_o,       // valid_i, 8 cycles later
  output logic [7:0]        code_o
);
  logic [3:0] valid_q;  // stages 1 to 4; the sums carry it further

  // {sign, exponent, product}: a code times a ratio. The code is normalized first, so bit 31 or 30 of the product is set. A zero
  // operand gives a zero product.
  function automatic logic [42:0] multiply(input logic signed [8:0] operand, input logic [31:0] ratio);
    logic [10:0] normal;
    normal   = oct_float_pkg::norm8(operand[8] ? (~operand[7:0] + 8'd1) : operand[7:0]);
    multiply = {operand[8] ^ ratio[31], oct_float_pkg::exponent(ratio[30:23]) - $signed({7'd0, normal[10:8]}),
                 32'(normal[7:0]) * 32'(oct_float_pkg::significand(ratio[30:0]))};
  endfunction

  logic [42:0] b1_q, a1_q, a2_q, a3_q, a4_q;
  logic [31:0] f1_q;
  logic [16:0] par1_q, par2_q, par3_q, par4_q, par5_q, par6_q, par7_q;  // {out_signed, lo, hi}

  // Stages 2 to 4: t = fma(b, RB, F)
  logic              t_valid, t_neg, v_valid, v_neg;
  logic [23:0]       t_sig, v_sig;
  logic signed [9:0] t_exp, v_exp;
  oct_fp_sum u_inner (
    .clk_i,
    .valid_i(valid_q[0]),
    .x_neg_i(b1_q[42]),
    .x_mag_i(b1_q[31] ? b1_q[31:0] : {b1_q[30:0], 1'b0}),
    .x_exp_i($signed(b1_q[41:32]) - $signed({9'd0, !b1_q[31]})),
    .y_neg_i(f1_q[31]),
    .y_sig_i(oct_float_pkg::significand(f1_q[30:0])),
    .y_exp_i(oct_float_pkg::exponent(f1_q[30:23])),
    .valid_o(t_valid),
    .neg_o(t_neg),
    .sig_o(t_sig),
    .exp_o(t_exp)
  );

  // Stages 5 to 7: v = fma(a, RA, t)
  oct_fp_sum u_outer (
    .clk_i,
    .valid_i(t_valid),
    .x_neg_i(a4_q[42]),
    .x_mag_i(a4_q[31] ? a4_q[31:0] : {a4_q[30:0], 1'b0}),
    .x_exp_i($signed(a4_q[41:32]) - $signed({9'd0, !a4_q[31]})),
    .y_neg_i(t_neg),
    .y_sig_i(t_sig),
    .y_exp_i(t_exp),
    .valid_o(v_valid),
    .neg_o(v_neg),
    .sig_o(v_sig),
    .exp_o(v_exp)
  );

  // Stage 8: RN and clamp; the zero point is inside F.
  logic [8:0]         int_d;
  logic signed [8:0]  lo_code, hi_code;
  logic signed [10:0] int_signed;
  always_comb begin
    {int_d, lo_code, hi_code, int_signed} = '0;
    if (v_valid) begin
      int_d      = oct_float_pkg::round_int(v_sig, v_exp);
      lo_code    = oct_float_pkg::extend(par7_q[15:8], par7_q[16]);
      hi_code    = oct_float_pkg::extend(par7_q[7:0], par7_q[16]);
      int_signed = v_neg ? -$signed({2'b00, int_d}) : $signed({2'b00, int_d});
    end
  end

  logic [2:0] late_valid_q;  // stages 5, 6 and 8
  always_ff @(posedge clk_i) begin
    // Last stage first: no register is read behind its assignment, so simulators need no copies.
    if (v_valid) code_o <= 8'(oct_float_pkg::clamp(int_signed, 11'(lo_code), 11'(hi_code)));
    if (late_valid_q[1]) par7_q <= par6_q;
    if (late_valid_q[0]) par6_q <= par5_q;
    if (valid_q[3]) par5_q <= par4_q;
    if (valid_q[2]) begin
      a4_q   <= a3_q;
      par4_q <= par3_q;
    end
    if (valid_q[1]) begin
      a3_q   <= a2_q;
      par3_q <= par2_q;
    end
    if (valid_q[0]) begin
      a2_q   <= a1_q;
      par2_q <= par1_q;
    end
    if (valid_i) begin
      a1_q   <= multiply(a_i, ra_i);
      b1_q   <= multiply(b_i, rb_i);
      f1_q   <= f_i;
      par1_q <= {out_signed_i, lo_i, hi_i};
    end
    valid_q      <= {valid_q[2:0], valid_i};
    late_valid_q <= {v_valid, late_valid_q[0], valid_q[3]};
  end

  assign valid_o = late_valid_q[2];

endmodule
