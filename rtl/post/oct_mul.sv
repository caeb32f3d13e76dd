// Quantized multiplication, rule N7: p = a * b of the codes less their zero points, y = sat(RN(fl(fl(p * r) + zc))), clamped to lo..hi.
// No fma: the product is rounded before the addition. One operation per cycle, latency 8 cycles.
module oct_mul (
  input  logic              clk_i,
  input  logic              valid_i,
  input  logic signed [8:0] a_i,           // code - zero point, -255..255
  input  logic signed [8:0] b_i,
  // verilator lint_off UNUSEDSIGNAL
  input  logic [31:0]       r_i,           // fp32 bits of r: zero or positive normal (its sign is not looked at)
  // verilator lint_on UNUSEDSIGNAL
  input  logic [31:0]       zc_i,          // fp32 bits of zc: zero or normal
  input  logic              out_signed_i,  // output type: 1 int8, 0 uint8
  input  logic [7:0]        lo_i,          // clamp codes of the output type
  input  logic [7:0]        hi_i,
  output logic              valid_o,       // valid_i, 8 cycles later
  output logic [7:0]        code_o
);
  logic [7:0] valid_q;

  logic signed [16:0] p1_q;  // |p| <= 65025
  logic [15:0]        p1_mag;
  logic [19:0]        norm2_d;
  logic [3:0]         lz2_q;
  logic [15:0]        mag2_q;
  logic [39:0]        prod3_q, norm4_d;
  logic [24:0]        round4_d;
  logic [23:0]        sig4_q;
  logic signed [9:0]  exp3_q, exp4_q;
  logic               neg2_q, neg3_q, neg4_q;
  logic [30:0]        r1_q, r2_q;
  logic [31:0]        zc1_q, zc2_q, zc3_q, zc4_q;
  logic [16:0]        par1_q, par2_q, par3_q, par4_q, par5_q, par6_q, par7_q;  // {out_signed, lo, hi}

  always_comb begin
    p1_mag  = '0;
    norm2_d = '0;
    if (valid_q[0]) begin
      p1_mag  = p1_q[16] ? (~p1_q[15:0] + 16'd1) : p1_q[15:0];
      norm2_d = oct_float_pkg::norm16(p1_mag);
    end
  end

  always_comb begin
    norm4_d  = '0;
    round4_d = '0;
    if (valid_q[2]) begin
      norm4_d  = prod3_q[39] ? prod3_q : {prod3_q[38:0], 1'b0};
      round4_d = oct_float_pkg::round24(norm4_d[39:16], norm4_d[15], norm4_d[14:0] != 15'd0);
    end
  end

  // Stages 5 to 7: fl(. + zc)
  logic              v_valid, v_neg;
  logic [23:0]       v_sig;
  logic signed [9:0] v_exp;
  oct_fp_sum u_sum (
    .clk_i,
    .valid_i(valid_q[3]),
    .x_neg_i(neg4_q),
    .x_mag_i({sig4_q, 8'd0}),
    .x_exp_i(exp4_q - 10'sd8),
    .y_neg_i(zc4_q[31]),
    .y_sig_i(oct_float_pkg::significand(zc4_q[30:0])),
    .y_exp_i(oct_float_pkg::exponent(zc4_q[30:23])),
    .valid_o(v_valid),
    .neg_o(v_neg),
    .sig_o(v_sig),
    .exp_o(v_exp)
  );

  // Stage 8: RN and clamp.
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

  always_ff @(posedge clk_i) begin
    // Last stage first: no register is read behind its assignment, so simulators need no copies.
    if (v_valid) code_o <= 8'(oct_float_pkg::clamp(int_signed, 11'(lo_code), 11'(hi_code)));
    if (valid_q[5]) par7_q <= par6_q;
    if (valid_q[4]) par6_q <= par5_q;
    if (valid_q[3]) par5_q <= par4_q;
    if (valid_q[2]) begin  // 4: fl(p * r)
      sig4_q <= round4_d[23:0];
      exp4_q <= exp3_q + 10'sd16 - $signed({9'd0, !prod3_q[39]}) + $signed({9'd0, round4_d[24]});
      neg4_q <= neg3_q;
      zc4_q  <= zc3_q;
      par4_q <= par3_q;
    end
    if (valid_q[1]) begin  // 3: the exact product; zero when p or r is
      prod3_q <= 40'(mag2_q) * 40'(oct_float_pkg::significand(r2_q));
      exp3_q  <= oct_float_pkg::exponent(r2_q[30:23]) - $signed({6'd0, lz2_q});
      neg3_q  <= neg2_q;
      zc3_q   <= zc2_q;
      par3_q  <= par2_q;
    end
    if (valid_q[0]) begin  // 2: sign and normalized magnitude
      {lz2_q, mag2_q} <= norm2_d;
      neg2_q <= p1_q[16];
      r2_q   <= r1_q;
      zc2_q  <= zc1_q;
      par2_q <= par1_q;
    end
    if (valid_i) begin  // 1: p
      p1_q   <= 17'(a_i) * 17'(b_i);
      r1_q   <= r_i[30:0];
      zc1_q  <= zc_i;
      par1_q <= {out_signed_i, lo_i, hi_i};
    end
    valid_q <= {valid_q[6:0], valid_i};
  end

  assign valid_o = valid_q[7];

endmodule
