// What the decoder knows about an instruction before it issues, and what a queue keeps of it.
package oct_ctrl_pkg;

  /// Bits of a program index (PROGRAM_COUNT of the register map).
  localparam int unsigned IndexBits = 24;

  /// An instruction with everything that depends on it alone already decided.
  typedef struct packed {
    logic [31:0] claim_wr;    // banks of the write stream
    logic [31:0] claim_rd1;   // banks of the second read stream (EXE residual, VEC b)
    logic [31:0] claim_rd0;   // banks of the first read stream (EXE in, VEC a, STO)
    logic [5:0]  signal1;     // bit 5: valid
    logic [5:0]  signal0;
    logic [5:0]  wait1;
    logic [5:0]  wait0;
    logic        fence;       // issue only with nothing of the queue in flight (SYNC always)
    logic        is_sync;
    logic        operand_ok;  // no OPERAND condition of timing.md section 3
    logic        is_end;
    logic        legal;
    logic [2:0]  queue_id;
    logic [IndexBits-1:0] index;  // position in the program
  } decoded_t;

endpackage
