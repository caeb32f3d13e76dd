// Implicit im2col: walks the tiles (ky, kx, channel block innermost) of a matrix instruction and, inside a tile, the output positions
// (oy, ox innermost), and gives the input address of each, or says that it is padding. Additions only; all addresses are modulo 2^16.
module oct_im2col
(
  input  logic        clk_i,
  input  logic        load_i,       // take a new instruction ...
  input  octile_isa_pkg::mma_t        instr_i,      // ... this one; its first vector can be used in the next cycle
  input  octile_isa_pkg::mma_t        cur_i,        // the instruction taken last
  input  logic        step_i,       // the vector is used
  input  logic        next_tile_i,  // go to the next tile's first vector
  output logic [15:0] addr_o,
  output logic        pad_o,
  output logic        row_end_o,    // last position of a row
  output logic        last_o,       // last position of the tile
  output logic        first_tile_o,
  output logic        last_tile_o
);

  // Rows and columns of the image: 16-bit start, at most 4095 * 15 + 63 * 31 further on.
  typedef logic signed [17:0] pos_t;

  // The tile: number, row pointer, row and column of its first position, address of its channel block.
  logic [5:0]  ky_q, kx_q, ky_d, kx_d;
  logic [11:0] blk_q, blk_d;
  logic [15:0] ptr_q, ptr_d, base_q, base_d;
  pos_t        iy0_q, iy0_d, ix0_q, ix0_d;
  logic        first_q;
  // The position inside the tile.
  logic [11:0] oy_q, ox_q;
  logic [15:0] row_q;
  pos_t        iy_q, ix_q;

  logic blk_end, kx_end, ky_end;
  assign blk_end      = blk_q + 12'd1 == cur_i.blocks;
  assign kx_end       = kx_q + 6'd1 == cur_i.kw;
  assign ky_end       = ky_q + 6'd1 == cur_i.kh;
  assign last_tile_o  = blk_end && kx_end && ky_end;
  assign first_tile_o = first_q;

  always_comb begin
    {ky_d, kx_d, ptr_d, iy0_d, ix0_d} = {ky_q, kx_q, ptr_q, iy0_q, ix0_q};
    blk_d  = blk_q + 12'd1;
    base_d = base_q + cur_i.in_blk_stride;
    if (blk_end) begin
      blk_d  = '0;
      base_d = cur_i.in_addr;
      kx_d   = kx_q + 6'd1;
      ix0_d  = ix0_q + pos_t'({13'd0, cur_i.dil_x});
      if (kx_end) begin
        kx_d  = '0;
        ix0_d = pos_t'(cur_i.ix0);
        ky_d  = ky_q + 6'd1;
        iy0_d = iy0_q + pos_t'({13'd0, cur_i.dil_y});
        ptr_d = oct_exe_pkg::wrap_add(ptr_q, cur_i.in_ky_step, cur_i.in_wrap);
      end
    end
  end

  assign row_end_o = ox_q + 12'd1 == cur_i.mw;
  assign last_o    = row_end_o && (oy_q + 12'd1 == cur_i.mh);

  always_ff @(posedge clk_i) begin
    if (load_i) begin
      {ky_q, kx_q, blk_q, oy_q, ox_q} <= '0;
      first_q <= 1'b1;
      base_q  <= instr_i.in_addr;
      ptr_q   <= instr_i.in_row0;
      row_q   <= instr_i.in_row0;
      iy0_q   <= pos_t'(instr_i.iy0);
      iy_q    <= pos_t'(instr_i.iy0);
      ix0_q   <= pos_t'(instr_i.ix0);
      ix_q    <= pos_t'(instr_i.ix0);
    end else if (next_tile_i) begin
      {ky_q, kx_q, blk_q, base_q, ptr_q, iy0_q, ix0_q} <= {ky_d, kx_d, blk_d, base_d, ptr_d, iy0_d, ix0_d};
      {oy_q, ox_q} <= '0;
      first_q      <= 1'b0;
      row_q        <= ptr_d;
      iy_q         <= iy0_d;
      ix_q         <= ix0_d;
    end else if (step_i) begin
      if (row_end_o) begin
        oy_q  <= oy_q + 12'd1;
        ox_q  <= '0;
        row_q <= oct_exe_pkg::wrap_add(row_q, cur_i.in_oy_step, cur_i.in_wrap);
        iy_q  <= iy_q + pos_t'({14'd0, cur_i.stride_y});
        ix_q  <= ix0_q;
      end else begin
        ox_q <= ox_q + 12'd1;
        ix_q <= ix_q + pos_t'({14'd0, cur_i.stride_x});
      end
    end
  end

  assign addr_o = base_q + row_q + ix_q[15:0];
  assign pad_o  = (iy_q < 0) || (iy_q >= pos_t'({2'b00, cur_i.in_h})) || (ix_q < 0) || (ix_q >= pos_t'({2'b00, cur_i.in_w}));

  // Fields of other parts of the unit.
  logic unused;
  assign unused = ^{cur_i, instr_i};

endmodule
