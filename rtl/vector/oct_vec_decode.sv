// Takes the instruction in the cycle of its issue and keeps it in the common format of the vector unit.
module oct_vec_decode (
  input  logic                clk_i,
  input  logic                issue_i,
  // verilator lint_off UNUSEDSIGNAL
  input  logic [511:0]        instr_i,  // reserved bits and those of the queue are not looked at
  // verilator lint_on UNUSEDSIGNAL
  output oct_vec_pkg::cfg_t   cfg_d_o,  // of instr_i, in the cycle of the issue only
  output oct_vec_pkg::cfg_t   cfg_o     // from the next cycle on
);

  oct_vec_pkg::cfg_t c;
  logic [15:0] oy_step;  // an output row's step in row steps
  // verilator lint_off UNUSEDSIGNAL
  octile_isa_pkg::win_t  win;
  octile_isa_pkg::elt_t  elt;
  octile_isa_pkg::pack_t pack;
  // verilator lint_on UNUSEDSIGNAL

  always_comb begin
    c    = '0;
    win  = '0;
    elt  = '0;
    pack = '0;
    oy_step = '0;
    if (issue_i) begin
      if (instr_i[5:0] == octile_isa_pkg::OpWin) begin
        win            = instr_i;
        c.win          = 1'b1;
        c.mac          = win.mode != octile_isa_pkg::WinMax;
        c.sum          = win.mode == octile_isa_pkg::WinSum;
        c.max          = win.mode == octile_isa_pkg::WinMax;
        c.mh           = win.mh;
        c.mw           = win.mw;
        c.blocks       = win.blocks;
        c.a_addr       = win.in_addr;
        c.a_row0       = win.in_row0;
        c.a_row_step   = win.in_oy_step;
        c.a_wrap       = win.in_wrap;
        c.a_blk_stride = win.in_blk_stride;
        c.a_bank       = win.in_bank;
        c.a_banks      = win.in_banks;
        c.out_addr       = win.out_addr;
        c.out_row0       = win.out_row0;
        c.out_row_step   = win.out_row_step;
        c.out_wrap       = win.out_wrap;
        c.out_blk_stride = win.out_blk_stride;
        c.out_x_step     = 4'd1;
        c.out_bank       = win.out_bank;
        c.out_banks      = win.out_banks;
        c.ky_step      = win.in_ky_step;
        c.in_h         = win.in_h;
        c.in_w         = win.in_w;
        c.iy0          = win.iy0;
        c.ix0          = win.ix0;
        c.kh           = win.kh;
        c.kw           = win.kw;
        c.stride_y     = win.stride_y;
        c.stride_x     = win.stride_x;
        c.dil_y        = win.dil_y;
        c.dil_x        = win.dil_x;
        c.pset         = win.pset;
        c.pset_shared  = win.pset_shared;
        c.wrow         = win.wrow;
        c.table_en     = win.table_en;
        c.table_slot   = win.table_slot;
        c.a_signed     = win.x_signed;
        c.b_signed     = win.w_signed;
        c.y_signed     = c.max ? win.x_signed : win.y_signed;
        c.za           = c.max ? 9'd0 : {win.x_signed & win.zx[7], win.zx};
        c.zb           = {win.w_signed & win.zw[7], win.zw};
        c.zy           = win.zy;
        c.lo           = win.lo;
        c.hi           = win.hi;
        // By columns (docs/timing.md 8): kernels of 2 to 25 taps without gaps, whose output rows lie on the walk down the input rows.
        oy_step   = (win.stride_y == 4'd1) ? win.in_ky_step : oct_vec_pkg::wrap_add(win.in_ky_step, win.in_ky_step, win.in_wrap);
        c.columns = (win.kh <= 6'd5) && (win.kw <= 6'd5) && ((win.kh != 6'd1) || (win.kw != 6'd1)) && (win.stride_y <= 4'd2) &&
                    ({2'b00, win.stride_y} <= win.kh) && ({2'b00, win.stride_x} <= win.kw) && ((win.dil_y == 5'd1) || (win.kh == 6'd1)) &&
                    ((win.dil_x == 5'd1) || (win.kw == 6'd1)) && (win.in_oy_step == oy_step);
        if (c.columns) begin
          // floor((8 - kh) / stride_y) + 1, which times stride_y; ceil of the taps by nine and by four, less one.
          c.group_rows = (win.stride_y == 4'd1) ? 4'd9 - win.kh[3:0] : 4'd5 - {2'b00, 2'((win.kh[2:0] + 3'd1) >> 1)};
          c.group_step = (win.stride_y == 4'd1) ? c.group_rows : {c.group_rows[2:0], 1'b0};
          c.taps       = 5'({2'b00, win.kh[2:0]} * {2'b00, win.kw[2:0]});
          c.chunk_last = (c.taps <= 5'd9) ? 2'd0 : ((c.taps <= 5'd18) ? 2'd1 : 2'd2);
          c.word_last  = 3'((c.taps - 5'd1) >> 2);
        end
      end else if (instr_i[5:0] == octile_isa_pkg::OpElt) begin
        elt            = instr_i;
        c.elt          = 1'b1;
        c.copy         = elt.mode == octile_isa_pkg::EltCopy;
        c.affine       = elt.mode == octile_isa_pkg::EltAffine;
        c.add          = elt.mode == octile_isa_pkg::EltAdd || c.affine;
        c.mul          = elt.mode == octile_isa_pkg::EltMul;
        c.use_b        = elt.mode == octile_isa_pkg::EltAdd || c.mul;
        c.kh           = 6'd1;  // AFFINE walks its parameter sets as a window of one tap does
        c.kw           = 6'd1;
        c.pset         = elt.pset;
        c.mh           = elt.mh;
        c.mw           = elt.mw;
        c.blocks       = elt.blocks;
        c.a_addr       = elt.a_addr;
        c.a_row0       = elt.a_row0;
        c.a_row_step   = elt.a_row_step;
        c.a_wrap       = elt.a_wrap;
        c.a_blk_stride = elt.a_blk_stride;
        c.a_x_step     = elt.a_x_step;
        c.a_bank       = elt.in_bank;
        c.a_banks      = elt.in_banks;
        c.b_addr       = elt.b_addr;
        c.b_row0       = elt.b_row0;
        c.b_row_step   = elt.b_row_step;
        c.b_wrap       = elt.b_wrap;
        c.b_blk_stride = elt.b_blk_stride;
        c.b_x_step     = elt.b_x_step;
        c.b_bank       = elt.b_bank;
        c.b_banks      = elt.b_banks;
        c.out_addr       = elt.out_addr;
        c.out_row0       = elt.out_row0;
        c.out_row_step   = elt.out_row_step;
        c.out_wrap       = elt.out_wrap;
        c.out_blk_stride = elt.out_blk_stride;
        c.out_x_step     = elt.out_x_step;
        c.out_bank       = elt.out_bank;
        c.out_banks      = elt.out_banks;
        c.const_slot   = elt.const_slot;
        c.table_en     = elt.table_en;
        c.table_slot   = elt.table_slot;
        c.a_signed     = elt.a_signed;
        c.b_signed     = elt.b_signed;
        c.y_signed     = elt.out_signed;
        c.za           = c.mul ? {elt.a_signed & elt.za[7], elt.za} : 9'd0;
        c.zb           = c.mul ? {elt.b_signed & elt.zb[7], elt.zb} : 9'd0;
        c.lo           = elt.lo;
        c.hi           = elt.hi;
      end else begin
        pack           = instr_i;
        c.pack         = 1'b1;
        c.mh           = pack.mh;
        c.mw           = pack.mw;
        c.a_addr       = pack.in_addr;
        c.a_blk_stride = pack.in_blk_stride;
        c.a_bank       = pack.in_bank;
        c.a_banks      = pack.in_banks;
        c.out_addr       = pack.out_addr;
        c.out_row0       = pack.out_row0;
        c.out_row_step   = pack.out_row_step;
        c.out_wrap       = pack.out_wrap;
        c.out_blk_stride = pack.out_blk_stride;
        c.out_x_step     = 4'd1;
        c.out_bank       = pack.out_bank;
        c.out_banks      = pack.out_banks;
        c.in_h         = pack.in_h;
        c.in_w         = pack.in_w;
        c.iy0          = pack.iy0;
        c.ix0          = pack.ix0;
        c.kh           = pack.kh;
        c.kw           = pack.kw;
        c.stride_y     = pack.stride_y;
        c.stride_x     = pack.stride_x;
        c.in_off       = pack.in_off;
        c.in_off_step  = pack.in_off_step;
        c.in_pitch     = pack.in_pitch;
        c.planes       = pack.planes;
        c.zx           = pack.zx;
      end
    end
  end

  assign cfg_d_o = c;

  always_ff @(posedge clk_i) begin
    if (issue_i) cfg_o <= c;
  end

endmodule
