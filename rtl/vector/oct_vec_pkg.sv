// Types of the vector unit: an instruction in the one format that its parts read.
package oct_vec_pkg;

  // Fields that the three instructions share have one name here: stream a is the window's input (WIN), a (ELT) or the planes (PACK).
  typedef struct packed {
    // operation, one bit each
    logic win;
    logic elt;
    logic pack;
    logic mac;      // WIN DEPTHWISE and SUM
    logic sum;      // WIN SUM
    logic max;      // WIN MAX
    logic copy;     // ELT modes
    logic add;      // ADD and AFFINE: the cell of N6
    logic mul;
    logic affine;   // AFFINE: its ratio and addend are those of the lane in a parameter set
    logic use_b;    // ELT ADD and MUL read stream b
    // loops
    logic [11:0] mh;
    logic [11:0] mw;
    logic [11:0] blocks;
    // stream a
    logic [15:0] a_addr;
    logic [15:0] a_row0;
    logic [15:0] a_row_step;
    logic [15:0] a_wrap;
    logic [15:0] a_blk_stride;
    logic [3:0]  a_x_step;
    logic [4:0]  a_bank;
    logic [4:0]  a_banks;
    // stream b
    logic [15:0] b_addr;
    logic [15:0] b_row0;
    logic [15:0] b_row_step;
    logic [15:0] b_wrap;
    logic [15:0] b_blk_stride;
    logic [3:0]  b_x_step;
    logic [4:0]  b_bank;
    logic [4:0]  b_banks;
    // output stream
    logic [15:0] out_addr;
    logic [15:0] out_row0;
    logic [15:0] out_row_step;
    logic [15:0] out_wrap;
    logic [15:0] out_blk_stride;
    logic [3:0]  out_x_step;
    logic [4:0]  out_bank;
    logic [4:0]  out_banks;
    // windows (WIN, PACK)
    logic [15:0] ky_step;
    logic [15:0] in_h;
    logic [15:0] in_w;
    logic [15:0] iy0;       // signed
    logic [15:0] ix0;       // signed
    logic [5:0]  kh;
    logic [5:0]  kw;
    logic [3:0]  stride_y;
    logic [3:0]  stride_x;
    logic [4:0]  dil_y;
    logic [4:0]  dil_x;
    // WIN by columns
    logic        columns;
    logic [3:0]  group_rows;  // output rows of a full group
    logic [3:0]  group_step;  // input rows from a group to the next
    logic [4:0]  taps;        // kh * kw
    logic [1:0]  chunk_last;  // the taps are 0 .. chunk_last chunks of nine
    logic [2:0]  word_last;   // the weights are words 0 .. word_last of four
    // PACK
    logic [5:0]  in_off;
    logic [5:0]  in_off_step;
    logic [15:0] in_pitch;
    logic [7:0]  planes;
    // parameters
    logic [6:0]  pset;
    logic        pset_shared;
    logic [9:0]  wrow;
    logic [3:0]  const_slot;
    logic        table_en;
    logic [1:0]  table_slot;
    // arithmetic
    logic        a_signed;
    logic        b_signed;  // of stream b or of the weights
    logic        y_signed;  // of the clamped result
    logic [8:0]  za;        // what is subtracted from a: its zero point, or 0 where the operation takes codes (signed)
    logic [8:0]  zb;
    logic [7:0]  zy;
    logic [7:0]  zx;        // PACK: code of padding
    logic [7:0]  lo;
    logic [7:0]  hi;
  } cfg_t;

  // A tap or element on its way to the lanes.
  typedef struct packed {
    logic       in_image;  // 0: padding
    logic       first;     // first tap of an output
    logic       last;      // last tap of an output
    logic [1:0] wsel;      // byte of the weight word
  } tap_t;

  // Nine taps of a result, by columns.
  typedef struct packed {
    logic       block;  // the result is the last of its block
    logic       first;  // first chunk of the result
    logic       last;   // last chunk of the result
    logic [1:0] index;  // chunk
    logic [2:0] slot;   // column slot of the result's first column
    logic [2:0] row;    // its first row in the slots
  } chunk_t;

  // The next row pointer: a pointer that reaches the circular length has it subtracted once (docs/timing.md; 17-bit comparison).
  function automatic logic [15:0] wrap_add(input logic [15:0] ptr, input logic [15:0] step, input logic [15:0] wrap);
    logic [16:0] sum;
    sum = {1'b0, ptr} + {1'b0, step};
    if (wrap != 16'd0 && sum >= {1'b0, wrap}) sum = sum - {1'b0, wrap};
    wrap_add = sum[15:0];
  endfunction

endpackage
