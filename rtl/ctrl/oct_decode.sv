// Decides everything about one instruction that depends on it alone: legality, queue, OPERAND conditions, bank claims
// (timing.md section 3). Combinational; used once, where an instruction enters the FIFO, so that queues carry results.
module oct_decode #(
  parameter int unsigned N        = 16,
  parameter int unsigned AccDepth = 1024,
  parameter int unsigned Banks    = 24,
  parameter int unsigned PSets    = 128,
  parameter int unsigned WRows    = 256
) (
  input  logic         valid_i,  // 0: outputs are of no use (saves simulation time)
  input  logic [511:0] instr_i,
  input  logic [oct_ctrl_pkg::IndexBits-1:0] index_i,
  output oct_ctrl_pkg::decoded_t decoded_o
);

  octile_isa_pkg::header_t hdr;
  octile_isa_pkg::ldp_t    ldp;
  octile_isa_pkg::ldw_t    ldw;
  octile_isa_pkg::lda_t    lda;
  octile_isa_pkg::mma_t    mma;
  octile_isa_pkg::win_t    win;
  octile_isa_pkg::elt_t    elt;
  octile_isa_pkg::pack_t   pack;
  assign hdr  = instr_i;
  assign ldp  = instr_i;
  assign ldw  = instr_i;
  assign lda  = instr_i;  // STA has the same fields
  assign mma  = instr_i;
  assign win  = instr_i;
  assign elt  = instr_i;
  assign pack = instr_i;

  // Banks bank .. bank + more, as a mask.
  function automatic logic [31:0] bank_mask(input logic [4:0] bank, input logic [4:0] more);
    bank_mask = ~(32'hffff_fffe << more) << bank;
  endfunction

  // 1: the claim ends inside the buffer.
  function automatic logic banks_ok(input logic [4:0] bank, input logic [4:0] more);
    banks_ok = 6'(bank) + 6'(more) < 6'(Banks);
  endfunction

  // 1: a row pointer or a row step suits the circular length.
  function automatic logic wrap_ok(input logic [15:0] wrap, input logic [15:0] pointer);
    wrap_ok = wrap == '0 || pointer < wrap;
  endfunction

  function automatic logic aligned(input logic [31:0] bytes);
    aligned = (bytes & 32'(N - 1)) == '0;
  endfunction

  logic [10:0] ldp_entries;
  always_comb begin
    case (ldp.target)
      octile_isa_pkg::LdpExeSet, octile_isa_pkg::LdpVecSet:     ldp_entries = 11'(PSets);
      octile_isa_pkg::LdpExeConst, octile_isa_pkg::LdpVecConst: ldp_entries = 11'(octile_isa_pkg::ConstSlots);
      octile_isa_pkg::LdpVecWeight:                             ldp_entries = 11'(WRows);
      default:                                                  ldp_entries = 11'(octile_isa_pkg::TableSlots);
    endcase
  end

  logic        ok;
  logic [31:0] rd0, rd1, wr;
  logic [23:0] positions;
  logic [11:0] taps;
  logic [21:0] weight_rows;

  always_comb begin
    ok          = 1'b1;
    rd0         = '0;
    rd1         = '0;
    wr          = '0;
    positions   = '0;
    taps        = '0;
    weight_rows = '0;
    if (valid_i) begin
      case (hdr.opcode)
        octile_isa_pkg::OpLdp: begin
          ok = aligned(ldp.offset) && 11'(ldp.index) + 11'(ldp.count) <= ldp_entries;
        end
        octile_isa_pkg::OpLdw: ok = aligned(ldw.offset);
        octile_isa_pkg::OpLda, octile_isa_pkg::OpSta: begin
          ok = aligned(lda.offset) && aligned(lda.mem_stride1) && aligned(lda.mem_stride2) &&
               wrap_ok(lda.buf_wrap, lda.buf_row0) && wrap_ok(lda.buf_wrap, lda.buf_stride1) &&
               banks_ok(lda.buf_bank, lda.buf_banks);
          if (hdr.opcode == octile_isa_pkg::OpLda) wr = bank_mask(lda.buf_bank, lda.buf_banks);
          else rd0 = bank_mask(lda.buf_bank, lda.buf_banks);
        end
        octile_isa_pkg::OpMma: begin
          positions = 24'(mma.mh) * 24'(mma.mw);
          ok = 25'(mma.acc_base) + 25'(positions) <= 25'(AccDepth) &&
               !(mma.raw && (mma.table_en || mma.residual)) &&
               wrap_ok(mma.in_wrap, mma.in_row0) && wrap_ok(mma.in_wrap, mma.in_oy_step) &&
               wrap_ok(mma.in_wrap, mma.in_ky_step) && banks_ok(mma.in_bank, mma.in_banks);
          rd0 = bank_mask(mma.in_bank, mma.in_banks);
          if (mma.emit) begin
            if (8'(mma.pset) >= 8'(PSets) || !wrap_ok(mma.out_wrap, mma.out_row0) ||
                !wrap_ok(mma.out_wrap, mma.out_row_step) || !banks_ok(mma.out_bank, mma.out_banks)) ok = 1'b0;
            wr = bank_mask(mma.out_bank, mma.out_banks);
            if (mma.residual) begin
              if (!wrap_ok(mma.res_wrap, mma.res_row0) || !wrap_ok(mma.res_wrap, mma.res_row_step) ||
                  !banks_ok(mma.b_bank, mma.b_banks)) ok = 1'b0;
              rd1 = bank_mask(mma.b_bank, mma.b_banks);
            end
          end
        end
        octile_isa_pkg::OpWin: begin
          taps        = 12'(win.kh) * 12'(win.kw);
          weight_rows = 22'(win.blocks) * ((22'(taps) + 22'd3) >> 2);
          ok = wrap_ok(win.in_wrap, win.in_row0) && wrap_ok(win.in_wrap, win.in_oy_step) &&
               wrap_ok(win.in_wrap, win.in_ky_step) && wrap_ok(win.out_wrap, win.out_row0) &&
               wrap_ok(win.out_wrap, win.out_row_step) && banks_ok(win.in_bank, win.in_banks) &&
               banks_ok(win.out_bank, win.out_banks);
          if (win.mode != octile_isa_pkg::WinMax &&
              13'(win.pset) + (win.pset_shared ? 13'd0 : 13'(win.blocks) - 13'd1) >= 13'(PSets)) ok = 1'b0;
          if (win.mode == octile_isa_pkg::WinDepthwise && 23'(win.wrow) + 23'(weight_rows) > 23'(WRows)) ok = 1'b0;
          rd0 = bank_mask(win.in_bank, win.in_banks);
          wr  = bank_mask(win.out_bank, win.out_banks);
        end
        octile_isa_pkg::OpElt: begin
          ok = wrap_ok(elt.a_wrap, elt.a_row0) && wrap_ok(elt.a_wrap, elt.a_row_step) &&
               wrap_ok(elt.out_wrap, elt.out_row0) && wrap_ok(elt.out_wrap, elt.out_row_step) &&
               banks_ok(elt.in_bank, elt.in_banks) && banks_ok(elt.out_bank, elt.out_banks);
          rd0 = bank_mask(elt.in_bank, elt.in_banks);
          wr  = bank_mask(elt.out_bank, elt.out_banks);
          if (elt.mode == octile_isa_pkg::EltAffine && 13'(elt.pset) + 13'(elt.blocks) > 13'(PSets)) ok = 1'b0;
          if (elt.mode == octile_isa_pkg::EltAdd || elt.mode == octile_isa_pkg::EltMul) begin
            if (!wrap_ok(elt.b_wrap, elt.b_row0) || !wrap_ok(elt.b_wrap, elt.b_row_step) ||
                !banks_ok(elt.b_bank, elt.b_banks)) ok = 1'b0;
            rd1 = bank_mask(elt.b_bank, elt.b_banks);
          end
        end
        octile_isa_pkg::OpPack: begin
          ok = 7'(pack.in_off) < 7'(N) && 7'(pack.in_off_step) < 7'(N) &&
               wrap_ok(pack.out_wrap, pack.out_row0) && wrap_ok(pack.out_wrap, pack.out_row_step) &&
               banks_ok(pack.in_bank, pack.in_banks) && banks_ok(pack.out_bank, pack.out_banks);
          rd0 = bank_mask(pack.in_bank, pack.in_banks);
          wr  = bank_mask(pack.out_bank, pack.out_banks);
        end
        default: ;
      endcase
    end
  end

  always_comb begin
    decoded_o = '0;
    if (valid_i) begin
      decoded_o.claim_wr   = wr;
      decoded_o.claim_rd1  = rd1;
      decoded_o.claim_rd0  = rd0;
      decoded_o.signal1    = hdr.signal1;
      decoded_o.signal0    = hdr.signal0;
      decoded_o.wait1      = hdr.wait1;
      decoded_o.wait0      = hdr.wait0;
      decoded_o.is_sync    = hdr.opcode == octile_isa_pkg::OpSync;
      decoded_o.fence      = hdr.fence || hdr.opcode == octile_isa_pkg::OpSync;
      decoded_o.operand_ok = ok;
      decoded_o.is_end     = hdr.opcode == octile_isa_pkg::OpEnd;
      decoded_o.legal      = octile_isa_pkg::is_legal(instr_i);
      decoded_o.queue_id   = octile_isa_pkg::queue_of(instr_i);
      decoded_o.index      = index_i;
    end
  end

endmodule
