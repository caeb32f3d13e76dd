// Signed arithmetic on 32-bit words without branches: what a lane's quantities are made of where all lanes work in step.
package oct_word_pkg;

  // All ones where c is 1.
  function automatic logic [31:0] mask(input logic c);
    mask = 32'd0 - 32'(c);
  endfunction

  // -x where c is 1.
  function automatic logic [31:0] negate_if(input logic [31:0] x, input logic c);
    negate_if = (x ^ mask(c)) + 32'(c);
  endfunction

  // A code as a signed number: sign is 128 where the type is int8, 0 where it is uint8.
  function automatic logic [31:0] extend(input logic [31:0] code, input logic [31:0] sign);
    extend = (code ^ sign) - sign;
  endfunction

  // A code without its zero point; the code is the low byte of x.
  function automatic logic [31:0] difference(input logic [31:0] x, input logic [31:0] sign, input logic [31:0] zero);
    difference = extend(x & 32'hff, sign) - zero;
  endfunction

  // A significand of 24 bits with a carry in bit 24, which only comes with zeros below: shifted right then.
  function automatic logic [31:0] carry_right(input logic [31:0] x);
    carry_right = x >> x[24];
  endfunction

  // max(a, b) and min(max(v, lo), hi) of signed numbers of at most 30 bits: a difference's sign decides.
  function automatic logic [31:0] most(input logic [31:0] a, input logic [31:0] b);
    logic [31:0] d;
    d    = a - b;
    most = a - (d & mask(d[31]));
  endfunction
  function automatic logic [31:0] clamp(input logic [31:0] v, input logic [31:0] lo, input logic [31:0] hi);
    logic [31:0] m, d;
    m     = most(v, lo);
    d     = hi - m;
    clamp = m + (d & mask(d[31]));
  endfunction

endpackage
