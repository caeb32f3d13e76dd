// Integer pieces of the fp32 arithmetic of rules N6 and N7 (docs/numerics.md), shared by oct_add and oct_mul.
//
// A number is a sign and SIG * 2^E with a 24-bit significand (bit 23 set) or zero (SIG = 0). From raw fp32 bits: SIG = {1, bits[22:0]},
// E = bits[30:23] - 150; an exponent field of 0 means zero. Ten signed bits hold the exponent of every intermediate result for any raw
// bits, so no exponent can overflow.
package oct_float_pkg;

  // SIG of the 31 bits below the sign.
  function automatic logic [23:0] significand(input logic [30:0] bits);
    significand = (bits[30:23] == 8'd0) ? 24'd0 : {1'b1, bits[22:0]};
  endfunction

  // E of the exponent field.
  function automatic logic signed [9:0] exponent(input logic [7:0] field);
    exponent = $signed({2'b00, field}) - 10'sd150;
  endfunction

  // Normalization: {leading zeros, x shifted left by them}. x = 0 gives a zero value.
  function automatic logic [10:0] norm8(input logic [7:0] x);
    logic [7:0] v;
    logic [2:0] n;
    v = x;
    n = 3'd0;
    if (v[7:4] == 4'd0) begin n[2] = 1'b1; v = v << 4; end
    if (v[7:6] == 2'd0) begin n[1] = 1'b1; v = v << 2; end
    if (!v[7]) begin n[0] = 1'b1; v = v << 1; end
    norm8 = {n, v};
  endfunction

  function automatic logic [19:0] norm16(input logic [15:0] x);
    logic [15:0] v;
    logic [3:0]  n;
    v = x;
    n = 4'd0;
    if (v[15:8] == 8'd0) begin n[3] = 1'b1; v = v << 8; end
    if (v[15:12] == 4'd0) begin n[2] = 1'b1; v = v << 4; end
    if (v[15:14] == 2'd0) begin n[1] = 1'b1; v = v << 2; end
    if (!v[15]) begin n[0] = 1'b1; v = v << 1; end
    norm16 = {n, v};
  endfunction

  function automatic logic [42:0] norm37(input logic [36:0] x);
    logic [36:0] v;
    logic [5:0]  n;
    v = x;
    n = 6'd0;
    if (v[36:5] == 32'd0) begin n[5] = 1'b1; v = v << 32; end
    if (v[36:21] == 16'd0) begin n[4] = 1'b1; v = v << 16; end
    if (v[36:29] == 8'd0) begin n[3] = 1'b1; v = v << 8; end
    if (v[36:33] == 4'd0) begin n[2] = 1'b1; v = v << 4; end
    if (v[36:35] == 2'd0) begin n[1] = 1'b1; v = v << 2; end
    if (!v[36]) begin n[0] = 1'b1; v = v << 1; end
    norm37 = {n, v};
  endfunction

  // Rounding to 24 bits, ties to even: {carry, significand}. A carry out leaves 2^23 and raises the exponent by one.
  function automatic logic [24:0] round24(input logic [23:0] kept, input logic guard, input logic sticky);
    logic [24:0] s;
    s = {1'b0, kept} + {24'd0, guard && (sticky || kept[0])};
    round24 = {s[24], s[24] | s[23], s[22:0]};
  endfunction

  // Rounding of SIG * 2^E to an integer, ties to even, saturated to 511 (every clamp range lies inside +-510).
  function automatic logic [8:0] round_int(input logic [23:0] sig, input logic signed [9:0] exp);
    logic [32:0] v;  // 9 integer bits (E <= -15) and 24 fraction bits
    logic [9:0]  s;
    round_int = 9'd0;
    if (exp >= -10'sd14) begin
      if (sig != 24'd0) round_int = 9'd511;
    end else if (exp >= -10'sd24) begin
      v = 33'({sig, 24'd0} >> (-exp));
      s = {1'b0, v[32:24]} + {9'd0, v[23] && (v[24] || (v[22:0] != 23'd0))};
      round_int = s[9] ? 9'd511 : s[8:0];
    end
  endfunction

  // A code of an int8 or uint8 type as a signed number.
  function automatic logic signed [8:0] extend(input logic [7:0] code, input logic is_signed);
    extend = {is_signed & code[7], code};
  endfunction

  // min(max(v, lo), hi)
  function automatic logic signed [10:0] clamp(input logic signed [10:0] v, input logic signed [10:0] lo,
                                               input logic signed [10:0] hi);
    logic signed [10:0] m;
    m = (v < lo) ? lo : v;
    clamp = (m > hi) ? hi : m;
  endfunction

endpackage
