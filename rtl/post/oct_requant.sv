// Requantization, rule N3: y = RN(oct_float_pkg::clamp(fl(fl(acc) * m), qmin - zy, qmax - zy)) + zy, then clamped to lo..hi. Three roundings, each to
// nearest even, with integers only. One operation per cycle, latency 6 cycles. The two clamps are one, because lo..hi lies inside the
// type; it comes after the last rounding, which gives the same result since the bounds are integers.
module oct_requant (
  input  logic        clk_i,
  input  logic        valid_i,
  input  logic [31:0] acc_i,       // int32, bias included
  // verilator lint_off UNUSEDSIGNAL
  input  logic [31:0] mult_i,      // fp32 bits of m: zero or a positive normal number (its sign is not looked at)
  // verilator lint_on UNUSEDSIGNAL
  input  logic [7:0]  zy_i,        // zero point, a code of the output type
  input  logic        y_signed_i,  // output type: 1 int8, 0 uint8
  input  logic [7:0]  lo_i,        // clamp codes of the output type
  input  logic [7:0]  hi_i,
  output logic        valid_o,     // valid_i, 6 cycles later
  output logic [7:0]  code_o
);
  logic [5:0] valid_q;

  // {y_signed, zy, lo, hi} travels with the operation.
  logic [24:0] par1_q, par2_q, par3_q, par4_q, par5_q;
  logic        neg1_q, neg2_q, neg3_q, neg4_q, neg5_q;
  logic        zero1_q, zero2_q, zero3_q;

  logic [36:0]       norm1_d;
  logic [31:0]       mag1_q;
  logic [30:0]       mult1_q;
  logic [4:0]        lz1_q;
  logic [24:0]       round2_d;
  logic [23:0]       sig2_q;
  logic signed [9:0] exp2_q, exp3_q, exp4_q;
  logic [22:0]       frac2_q;
  logic [47:0]       prod3_q, norm4_d;
  logic [24:0]       round4_d;
  logic [23:0]       sig4_q;
  logic [8:0]        int5_q;

  // The blocks below only look at their stage when it is valid: an idle cell costs the simulator nothing.
  always_comb begin
    norm1_d = '0;
    if (valid_i) norm1_d = oct_float_pkg::norm32(acc_i[31] ? (~acc_i + 32'd1) : acc_i);
  end

  always_comb begin
    round2_d = '0;
    if (valid_q[0]) round2_d = oct_float_pkg::round24(mag1_q[31:8], mag1_q[7], mag1_q[6:0] != 7'd0);
  end

  always_comb begin
    norm4_d  = '0;
    round4_d = '0;
    if (valid_q[2]) begin
      norm4_d  = prod3_q[47] ? prod3_q : {prod3_q[46:0], 1'b0};
      round4_d = oct_float_pkg::round24(norm4_d[47:24], norm4_d[23], norm4_d[22:0] != 23'd0);
    end
  end

  logic signed [10:0] zy6_d, lo6_d, hi6_d, int6_d;
  logic signed [8:0]  zy6_code, lo6_code, hi6_code;
  always_comb begin
    {zy6_code, lo6_code, hi6_code, zy6_d, lo6_d, hi6_d, int6_d} = '0;
    if (valid_q[4]) begin
      zy6_code = oct_float_pkg::extend(par5_q[23:16], par5_q[24]);
      lo6_code = oct_float_pkg::extend(par5_q[15:8], par5_q[24]);
      hi6_code = oct_float_pkg::extend(par5_q[7:0], par5_q[24]);
      zy6_d    = 11'(zy6_code);
      lo6_d    = 11'(lo6_code) - zy6_d;
      hi6_d    = 11'(hi6_code) - zy6_d;
      int6_d   = neg5_q ? -$signed({2'b00, int5_q}) : $signed({2'b00, int5_q});
    end
  end

  always_ff @(posedge clk_i) begin
    // Last stage first: no register is read behind its assignment, so simulators need no copies.
    if (valid_q[4]) code_o <= 8'(oct_float_pkg::clamp(int6_d, lo6_d, hi6_d) + zy6_d);  // 6: clamp, add zy
    if (valid_q[3]) begin  // 5: RN
      int5_q <= oct_float_pkg::round_int(sig4_q, exp4_q);
      neg5_q <= neg4_q;
      par5_q <= par4_q;
    end
    if (valid_q[2]) begin  // 4: fl(fl(acc) * m)
      sig4_q <= zero3_q ? 24'd0 : round4_d[23:0];
      exp4_q <= exp3_q + 10'sd24 - $signed({9'd0, !prod3_q[47]}) + $signed({9'd0, round4_d[24]});
      neg4_q <= neg3_q;
      par4_q <= par3_q;
    end
    if (valid_q[1]) begin  // 3: the exact product
      prod3_q <= 48'(sig2_q) * 48'({1'b1, frac2_q});
      exp3_q  <= exp2_q;
      neg3_q  <= neg2_q;
      zero3_q <= zero2_q;
      par3_q  <= par2_q;
    end
    if (valid_q[0]) begin  // 2: fl(acc)
      sig2_q  <= round2_d[23:0];
      exp2_q  <= 10'sd8 - $signed({5'd0, lz1_q}) + $signed({9'd0, round2_d[24]}) + oct_float_pkg::exponent(mult1_q[30:23]);
      frac2_q <= mult1_q[22:0];
      neg2_q  <= neg1_q;
      zero2_q <= zero1_q;
      par2_q  <= par1_q;
    end
    if (valid_i) begin  // 1: sign and magnitude (|-2^31| is representable), normalized
      {lz1_q, mag1_q} <= norm1_d;
      neg1_q  <= acc_i[31];
      zero1_q <= (acc_i == 32'd0) || (mult_i[30:23] == 8'd0);
      mult1_q <= mult_i[30:0];
      par1_q  <= {y_signed_i, zy_i, lo_i, hi_i};
    end
    valid_q <= {valid_q[4:0], valid_i};
  end

  assign valid_o = valid_q[5];

endmodule
