// WIN by columns (docs/timing.md 8): walks the input columns of every group of output rows, reading each from its first row down, and,
// while the next column is read, the results that a column completes, nine taps to a cycle (a chunk). Additions only; addresses are
// modulo 2^16.
//
// The window lives in six column slots of eight rows: up to five that results are made of and the one being filled, in turn. A read of
// cycle r and a chunk of cycle r belong to the same stage, so the slot that a column fills is never one that a chunk still looks at.
// A block's weights replace those of the block before in the cycles between its last result and the first of the new block, which are
// always enough: a column has at least as many rows as it completes results, and kh - 1 more; a kernel has more than five taps only if
// it has several columns.
module oct_vec_columns (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                clear_i,
  input  logic                load_i,      // start of an instruction by columns: cfg_d_i is sampled
  // verilator lint_off UNUSEDSIGNAL
  input  oct_vec_pkg::cfg_t   cfg_d_i,     // other parts read the other fields
  input  oct_vec_pkg::cfg_t   cfg_i,
  // verilator lint_on UNUSEDSIGNAL
  input  logic                step_i,      // a cycle of the read phase
  output logic                last_o,      // ... its last
  // the vector read in this cycle
  output logic                read_o,
  output logic                inside_o,
  output logic [15:0]         addr_o,
  output logic [5:0]          cell_o,      // {slot, row} that it goes to
  // the chunk of this cycle
  output logic                chunk_valid_o,
  output oct_vec_pkg::chunk_t chunk_o,
  output logic [15:0]         out_addr_o,  // of the result, with the chunk that is its last
  // the weight row asked for in this cycle
  output logic                weight_o,
  output logic [9:0]          weight_row_o,
  output logic [2:0]          weight_word_o  // which of the block's
);

  // The group: `rows_q` output rows of the block are left, this group's included.
  logic [11:0] rows_q;
  logic        group_last;  // last of the block
  logic [3:0]  results;     // t
  logic [2:0]  row_last;    // the input rows of the group are 0 .. row_last
  assign group_last = rows_q <= {8'd0, cfg_i.group_rows};
  assign results    = group_last ? rows_q[3:0] : cfg_i.group_rows;
  assign row_last   = 3'(4'(cfg_i.stride_y == 4'd2 ? {results[2:0], 1'b0} : results) + cfg_i.kh[3:0] - cfg_i.stride_y - 4'd1);

  // The column being read, and the results of the one before.
  logic [2:0]         row_q, slot_q, wait_q;  // wait_q: columns before the next that completes results
  logic               over_q;                 // its reads are over, but not the results
  logic               drain_q;                // all columns are read
  logic [11:0]        ox_q, blk_q;
  logic signed [17:0] iy_q, iy_group_q, ix_q;
  logic [15:0]        base_q, ptr_q, ptr_group_q, ptr_next_q;
  logic               res_q;                  // results are made
  logic [3:0]         res_left_q;
  logic [1:0]         res_chunk_q;
  logic [2:0]         res_row_q, res_slot_q;
  logic               res_group_end_q, res_block_end_q;
  logic [15:0]        out_base_q, out_col_q, out_ptr_q, out_group_q;
  logic [2:0]         word_q;
  logic               words_q;                // weights of the block are still to be read
  logic [9:0]         wrow_q;

  logic read, read_end, col_end, completes, group_end, block_end, chunk, chunk_end, res_end;
  assign read      = step_i && !over_q && !drain_q;
  assign read_end  = over_q || (row_q == row_last);
  assign chunk     = step_i && res_q;
  assign chunk_end = res_chunk_q == cfg_i.chunk_last;
  assign res_end   = !res_q || (chunk_end && (res_left_q == 4'd1));
  assign col_end   = step_i && !drain_q && read_end && res_end;
  assign completes = wait_q == 3'd0;
  assign group_end = completes && (ox_q + 12'd1 == cfg_i.mw);
  assign block_end = group_end && group_last;
  assign last_o    = drain_q && res_end;

  assign read_o   = read;
  assign addr_o   = base_q + ptr_q + ix_q[15:0];
  assign inside_o = (iy_q >= 0) && (iy_q < $signed({2'b00, cfg_i.in_h})) && (ix_q >= 0) && (ix_q < $signed({2'b00, cfg_i.in_w}));
  assign cell_o   = {slot_q, row_q};

  assign chunk_valid_o = chunk;
  assign chunk_o       = {res_block_end_q && res_end, res_chunk_q == 2'd0, chunk_end, res_chunk_q, res_slot_q, res_row_q};
  assign out_addr_o    = out_base_q + out_ptr_q + out_col_q;

  assign weight_o      = step_i && words_q && !res_q;
  assign weight_row_o  = wrow_q;
  assign weight_word_o = word_q;

  // The group's successor begins group_step rows below: there a column's pointer passes, behind its last row at the latest.
  logic [15:0] ptr_step, ptr_next, out_step;
  logic        at_next;
  assign ptr_step = oct_vec_pkg::wrap_add(ptr_q, cfg_i.ky_step, cfg_i.a_wrap);
  assign at_next  = {1'b0, row_q} + 4'd1 == cfg_i.group_step;
  assign ptr_next = (read && at_next) ? ptr_step : ptr_next_q;
  assign out_step = oct_vec_pkg::wrap_add(out_ptr_q, cfg_i.out_row_step, cfg_i.out_wrap);

  // First rows of the next column.
  logic signed [17:0] iy_first;
  logic [15:0]        ptr_first;
  always_comb begin
    iy_first  = iy_group_q;
    ptr_first = ptr_group_q;
    if (block_end) begin
      iy_first  = 18'($signed(cfg_i.iy0));
      ptr_first = cfg_i.a_row0;
    end else if (group_end) begin
      iy_first  = iy_group_q + $signed({14'd0, cfg_i.group_step});
      ptr_first = ptr_next;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) {over_q, drain_q, res_q, words_q} <= '0;
    else if (clear_i) {over_q, drain_q, res_q, words_q} <= '0;
    else if (load_i) begin
      {over_q, drain_q, res_q} <= '0;
      words_q <= cfg_d_i.mac;
    end else if (step_i) begin
      over_q  <= !drain_q && read_end && !col_end;
      if (col_end && block_end && (blk_q + 12'd1 == cfg_i.blocks)) drain_q <= 1'b1;
      else if (last_o) drain_q <= 1'b0;
      if (col_end && completes) res_q <= 1'b1;
      else if (res_end) res_q <= 1'b0;
      if (col_end && block_end) words_q <= cfg_i.mac;  // behind the last block nothing asks for them: results are made to the end
      else if (weight_o && (word_q == cfg_i.word_last)) words_q <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (load_i) begin
      {row_q, slot_q, ox_q, blk_q, word_q} <= '0;
      wait_q      <= 3'(cfg_d_i.kw - 6'd1);
      rows_q      <= cfg_d_i.mh;
      iy_q        <= 18'($signed(cfg_d_i.iy0));
      iy_group_q  <= 18'($signed(cfg_d_i.iy0));
      ix_q        <= 18'($signed(cfg_d_i.ix0));
      base_q      <= cfg_d_i.a_addr;
      ptr_q       <= cfg_d_i.a_row0;
      ptr_group_q <= cfg_d_i.a_row0;
      out_base_q  <= cfg_d_i.out_addr;
      out_col_q   <= '0;
      out_ptr_q   <= cfg_d_i.out_row0;
      out_group_q <= cfg_d_i.out_row0;
      wrow_q      <= cfg_d_i.wrow;
    end else if (step_i) begin
      // results
      if (chunk) begin
        res_chunk_q <= chunk_end ? 2'd0 : res_chunk_q + 2'd1;
        if (chunk_end) begin
          res_left_q <= res_left_q - 4'd1;
          res_row_q  <= res_row_q + cfg_i.stride_y[2:0];
          if (!res_end) begin
            out_ptr_q <= out_step;
          end else if (!res_group_end_q) begin
            out_ptr_q <= out_group_q;
            out_col_q <= out_col_q + 16'd1;
          end else begin
            out_col_q   <= 16'd0;
            out_ptr_q   <= res_block_end_q ? cfg_i.out_row0 : out_step;
            out_group_q <= res_block_end_q ? cfg_i.out_row0 : out_step;
            if (res_block_end_q) out_base_q <= out_base_q + cfg_i.out_blk_stride;
          end
        end
      end
      // weights
      if (weight_o) begin
        wrow_q <= wrow_q + 10'd1;
        word_q <= (word_q == cfg_i.word_last) ? 3'd0 : word_q + 3'd1;
      end
      // reads
      if (read && at_next) ptr_next_q <= ptr_step;
      if (!col_end) begin
        if (!read_end) begin
          row_q <= row_q + 3'd1;
          iy_q  <= iy_q + 18'sd1;
          ptr_q <= ptr_step;
        end
      end else begin
        row_q  <= 3'd0;
        slot_q <= (slot_q == 3'd5) ? 3'd0 : slot_q + 3'd1;
        wait_q <= (completes ? 3'(group_end ? cfg_i.kw : {2'b00, cfg_i.stride_x}) : wait_q) - 3'd1;
        ix_q   <= group_end ? 18'($signed(cfg_i.ix0)) : ix_q + 18'sd1;
        iy_q   <= iy_first;
        ptr_q  <= ptr_first;
        if (group_end) begin
          rows_q      <= group_last ? cfg_i.mh : rows_q - {8'd0, cfg_i.group_rows};
          iy_group_q  <= iy_first;
          ptr_group_q <= ptr_first;
        end
        if (block_end) begin
          blk_q  <= blk_q + 12'd1;
          base_q <= base_q + cfg_i.a_blk_stride;
        end
        if (completes) begin
          ox_q            <= group_end ? 12'd0 : ox_q + 12'd1;
          res_left_q      <= results;
          res_chunk_q     <= 2'd0;
          res_row_q       <= 3'd0;
          res_slot_q      <= 3'(slot_q + (({1'b0, slot_q} + 4'd1 < cfg_i.kw[3:0]) ? 3'd7 : 3'd1) - cfg_i.kw[2:0]);
          res_group_end_q <= group_end;
          res_block_end_q <= block_end;
        end
      end
    end
  end

endmodule
