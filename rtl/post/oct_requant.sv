// Requantization, rule N3: y = RN(clamp(fl(fl(acc) * m), qmin - zy, qmax - zy)) + zy, then clamped to lo..hi, in Lanes lanes. Three
// roundings, each to nearest even, with integers only. One operation per lane and cycle, latency 6 cycles. The two clamps are one, because
// lo..hi lies inside the type; it comes after the last rounding and the zero point, which gives the same result since all are integers.
//
// Every quantity of a lane lies in a 32-bit word, and a stage is one expression per lane without a branch (oct_word_pkg): bits that are
// constant fall away in synthesis, and a simulator works on all lanes with a few vector instructions (docs/rtl-speed.md).
module oct_requant #(
  parameter int unsigned Lanes = 1
) (
  input  logic                   clk_i,
  input  logic [Lanes-1:0]       valid_i,
  input  logic [Lanes-1:0][31:0] acc_i,    // int32, bias included
  input  logic [Lanes-1:0][31:0] mult_i,   // fp32 bits of m: zero or a positive normal number (its sign is not looked at)
  input  logic [Lanes-1:0][31:0] par_i,    // {7 bits not looked at; type of the output: 1 int8, 0 uint8; zy; lo; hi}, codes of that type
  output logic [Lanes-1:0]       valid_o,  // valid_i, 6 cycles later
  output logic [Lanes-1:0][31:0] code_o    // the code, below zeros
);

  // A stage moves when one of its lanes is valid. The parameters travel with the operation; bit 25 of their word is then the sign of acc,
  // bit 26 says that the result is zero.
  logic [Lanes-1:0]       valid1_q, valid2_q, valid3_q, valid4_q, valid5_q;
  logic [Lanes-1:0][31:0] par1_q, par2_q, par3_q, par4_q, par5_q;
  logic [Lanes-1:0][31:0] mag1_q, exp1_q, mult1_q;  // |acc| shifted left to bit 31; exponent of its upper 24 bits
  logic [Lanes-1:0][31:0] sig2_q, frac2_q, exp2_q;  // significands of fl(acc) and m, the sum of their exponents
  logic [Lanes-1:0][31:0] high3_q, low3_q, exp3_q;  // the exact product, 24 bits in a word
  logic [Lanes-1:0][31:0] sig4_q, exp4_q;           // fl(fl(acc) * m)
  logic [Lanes-1:0][31:0] int5_q;                   // RN of it, signed, at most 511

  // {exponent of the upper 24 bits, magnitude}; |-2^31| is representable.
  function automatic logic [63:0] normalize(input logic [31:0] acc);
    logic [31:0] mag, exp, shift;
    mag   = oct_word_pkg::negate_if(acc, acc[31]);
    exp   = 32'd8;
    shift = 32'(mag < 32'h0001_0000) << 4;
    mag   = mag << shift[4:0];
    exp   = exp - shift;
    shift = 32'(mag < 32'h0100_0000) << 3;
    mag   = mag << shift[4:0];
    exp   = exp - shift;
    shift = 32'(mag < 32'h1000_0000) << 2;
    mag   = mag << shift[4:0];
    exp   = exp - shift;
    shift = 32'(mag < 32'h4000_0000) << 1;
    mag   = mag << shift[4:0];
    exp   = exp - shift;
    shift = 32'(mag < 32'h8000_0000);
    mag   = mag << shift[4:0];
    exp   = exp - shift;
    normalize = {exp, mag};
  endfunction

  // The word of parameters with what is known of acc and m.
  function automatic logic [31:0] annotate(input logic [31:0] par, input logic [31:0] acc, input logic [31:0] mult);
    annotate = (par & 32'h01ff_ffff) | ((acc >> 31) << 25) | ((32'(acc == 32'd0) | 32'((mult & 32'h7f80_0000) == 32'd0)) << 26);
  endfunction

  // 24 bits rounded, ties to even, with the carry in bit 24.
  function automatic logic [31:0] round24(input logic [31:0] kept, input logic [31:0] guard, input logic [31:0] sticky);
    round24 = kept + (guard & (32'(sticky != 32'd0) | (kept & 32'd1)));
  endfunction
  function automatic logic [31:0] round_acc(input logic [31:0] mag);
    round_acc = round24(mag >> 8, (mag >> 7) & 32'd1, mag & 32'h7f);
  endfunction
  // The product's upper word, shifted to bit 23 (by a place at most) and rounded.
  function automatic logic [31:0] round_product(input logic [31:0] high, input logic [31:0] low);
    logic [31:0] kept, rest;
    logic        shift;
    shift = ~high[23];
    kept  = (high << shift) | ((low >> 23) & oct_word_pkg::mask(shift));
    rest  = (low << shift) & 32'h00ff_ffff;
    round_product = round24(kept, rest >> 23, rest & 32'h007f_ffff);
  endfunction

  function automatic logic [63:0] multiply(input logic [31:0] a, input logic [31:0] b);
    multiply = 64'(a) * 64'(b);
  endfunction

  // RN(SIG * 2^E) with its sign, at most 511: every clamp range lies inside +-510. Below 2^-24 the number is less than a half.
  function automatic logic [31:0] round_int(input logic [31:0] sig, input logic [31:0] exp, input logic negative);
    logic [31:0] half, whole;
    logic [4:0]  right;
    right = 5'(32'd0 - exp);
    half  = (32'd1 << right) >> 1;
    whole = sig >> right;
    whole = whole + (32'((sig & half) != 32'd0) & (32'((sig & (half - 32'd1)) != 32'd0) | (whole & 32'd1)));
    whole = whole - (whole >> 9);
    whole = (whole & oct_word_pkg::mask($signed(exp) >= -32'sd24) & oct_word_pkg::mask($signed(exp) < -32'sd14)) |
            (32'd511 & oct_word_pkg::mask($signed(exp) >= -32'sd14) & oct_word_pkg::mask(sig != 32'd0));
    round_int = oct_word_pkg::negate_if(whole, negative);
  endfunction

  // Adds the zero point and clamps.
  function automatic logic [31:0] finish(input logic [31:0] value, input logic [31:0] par);
    logic [31:0] sign, sum;
    sign = (par >> 17) & 32'h80;
    sum  = value + oct_word_pkg::extend((par >> 16) & 32'hff, sign);
    finish = 32'hff & oct_word_pkg::clamp(sum, oct_word_pkg::extend((par >> 8) & 32'hff, sign),
                                          oct_word_pkg::extend(par & 32'hff, sign));
  endfunction

  always_ff @(posedge clk_i) begin
    // Last stage first: no register is read behind its assignment, so simulators need no copies.
    if (valid5_q != '0) begin  // 6
      for (int unsigned l = 0; l < Lanes; l++) code_o[l] <= finish(int5_q[l], par5_q[l]);
    end
    if (valid4_q != '0) begin  // 5
      for (int unsigned l = 0; l < Lanes; l++) int5_q[l] <= round_int(sig4_q[l], exp4_q[l], par4_q[l][25]);
      par5_q <= par4_q;
    end
    if (valid3_q != '0) begin  // 4: fl(fl(acc) * m); a carry leaves 2^23
      for (int unsigned l = 0; l < Lanes; l++) begin
        sig4_q[l] <= oct_word_pkg::carry_right(round_product(high3_q[l], low3_q[l])) & ~oct_word_pkg::mask(par3_q[l][26]);
      end
      for (int unsigned l = 0; l < Lanes; l++) begin
        exp4_q[l] <= exp3_q[l] + 32'd23 + (high3_q[l] >> 23) + (round_product(high3_q[l], low3_q[l]) >> 24);
      end
      par4_q <= par3_q;
    end
    if (valid2_q != '0) begin  // 3
      for (int unsigned l = 0; l < Lanes; l++) high3_q[l] <= 32'(multiply(sig2_q[l], frac2_q[l]) >> 24);
      for (int unsigned l = 0; l < Lanes; l++) low3_q[l] <= 32'(multiply(sig2_q[l], frac2_q[l])) & 32'h00ff_ffff;
      exp3_q <= exp2_q;
      par3_q <= par2_q;
    end
    if (valid1_q != '0) begin  // 2: fl(acc)
      for (int unsigned l = 0; l < Lanes; l++) sig2_q[l] <= oct_word_pkg::carry_right(round_acc(mag1_q[l]));
      for (int unsigned l = 0; l < Lanes; l++) frac2_q[l] <= (mult1_q[l] & 32'h007f_ffff) | 32'h0080_0000;
      for (int unsigned l = 0; l < Lanes; l++) begin
        exp2_q[l] <= exp1_q[l] + (round_acc(mag1_q[l]) >> 24) + ((mult1_q[l] >> 23) & 32'hff) - 32'd150;
      end
      par2_q <= par1_q;
    end
    if (valid_i != '0) begin  // 1
      for (int unsigned l = 0; l < Lanes; l++) {exp1_q[l], mag1_q[l]} <= normalize(acc_i[l]);
      for (int unsigned l = 0; l < Lanes; l++) par1_q[l] <= annotate(par_i[l], acc_i[l], mult_i[l]);
      mult1_q <= mult_i;
    end
    {valid_o, valid5_q, valid4_q, valid3_q, valid2_q, valid1_q} <= {valid5_q, valid4_q, valid3_q, valid2_q, valid1_q, valid_i};
  end

endmodule
