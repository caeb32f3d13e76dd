// Types and small functions of the matrix unit.
package oct_exe_pkg;

  // What an accumulator needs to know of a vector.
  typedef struct packed {
    logic [9:0] addr;
    logic       first;  // overwrite instead of add
    logic       again;  // the vector one cycle earlier wrote the same address
    logic       emit;   // the sum goes to the post unit and not back into the accumulators
  } acc_tag_t;

  // Bias and requantization (N3) of an emitted vector.
  typedef struct packed {
    logic [6:0] pset;
    logic       raw;
    logic       y_signed;
    logic [7:0] zy;
    logic [7:0] lo;
    logic [7:0] hi;
    logic       table_en;
    logic [1:0] table_slot;
  } req_tag_t;

  // Table stage (N5), or one of the four bytes of a raw sum.
  typedef struct packed {
    logic       raw;
    logic       table_en;
    logic [1:0] slot;
  } tab_tag_t;

  // Residual stage (N6), all lanes at once.
  typedef struct packed {
    logic [15:0] addr;
    logic        residual;
    logic [3:0]  const_slot;
    logic        conv_signed;
    logic        res_signed;
    logic        res_is_a;
    logic        out_signed;
    logic [7:0]  lo;
    logic [7:0]  hi;
  } add_tag_t;

  // Where a finished vector goes.
  typedef struct packed {
    logic        raw;
    logic [15:0] addr;
    logic [31:0] index;
  } out_tag_t;

  // A row pointer's step: circular in `wrap` vectors (0: not circular, modulo 2^16).
  function automatic logic [15:0] wrap_add(input logic [15:0] ptr, input logic [15:0] step, input logic [15:0] wrap);
    logic [16:0] sum;
    sum = {1'b0, ptr} + {1'b0, step};
    if (wrap != 16'd0 && sum >= {1'b0, wrap}) sum = sum - {1'b0, wrap};
    wrap_add = sum[15:0];
  endfunction

  // A code as a 9-bit number.
  function automatic logic signed [8:0] code9(input logic [7:0] code, input logic is_signed);
    code9 = {is_signed && code[7], code};
  endfunction

  // A code without its zero point.
  function automatic logic signed [8:0] operand(input logic [7:0] code, input logic is_signed, input logic signed [8:0] zero);
    operand = code9(code, is_signed) - zero;
  endfunction

endpackage
