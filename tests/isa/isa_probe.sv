// What the generated package makes of an instruction: decode result, and for every format the members that a wrong order of
// the packed structures would move: the first, the last, and some between. package_test.cc holds the same list.

module isa_probe (
  input  logic [511:0] instr_i,
  output logic         legal_o,
  output logic [2:0]   queue_o,
  output logic [63:0]  header_o,
  output logic [63:0]  dma_o,
  output logic [63:0]  ldp_o,
  output logic [63:0]  ldw_o,
  output logic [63:0]  mma_o,
  output logic [63:0]  win_o,
  output logic [63:0]  elt_o,
  output logic [63:0]  pack_o
);
  // Only some members of each structure are looked at.
  // verilator lint_off UNUSEDSIGNAL
  octile_isa_pkg::header_t h;
  octile_isa_pkg::lda_t lda;
  octile_isa_pkg::ldp_t ldp;
  octile_isa_pkg::ldw_t ldw;
  octile_isa_pkg::mma_t mma;
  octile_isa_pkg::win_t win;
  octile_isa_pkg::elt_t elt;
  octile_isa_pkg::pack_t pck;
  // verilator lint_on UNUSEDSIGNAL

  assign h = instr_i;
  assign lda = instr_i;
  assign ldp = instr_i;
  assign ldw = instr_i;
  assign mma = instr_i;
  assign win = instr_i;
  assign elt = instr_i;
  assign pck = instr_i;

  assign legal_o = octile_isa_pkg::is_legal(instr_i);
  assign queue_o = octile_isa_pkg::queue_of(instr_i);
  assign header_o = 64'({h.signal1, h.wait0, h.layer, h.fence, h.opcode});
  assign dma_o = {lda.offset, lda.n2, lda.buf_addr[10:0], lda.buf_banks};
  assign ldp_o = 64'({ldp.count, ldp.target, ldp.region, ldp.offset});
  assign ldw_o = 64'({ldw.w_signed, ldw.zw, ldw.tiles});
  assign mma_o = 64'({mma.res_is_a, mma.acc_base, mma.iy0, mma.kw, mma.mh, mma.blocks});
  assign win_o = 64'({win.table_en, win.wrow, win.mode, win.ix0, win.out_blk_stride});
  assign elt_o = 64'({elt.table_en, elt.b_x_step, elt.a_addr, elt.out_addr, elt.const_slot});
  assign pack_o = 64'({pck.zx, pck.planes, pck.iy0, pck.in_off_step, pck.stride_x});
endmodule
