// Tile sequencer of the matrix unit (docs/timing.md 7). In cycle v a vector is issued: its addresses are formed; in v + 1 they are
// registered, checked against the claims and read. Everything behind follows in fixed time and is told by the tags handed out in v + 1.
module oct_exe_ctrl #(
  parameter int unsigned N = 16,
  parameter int unsigned WeightRows = 4,
  parameter int unsigned BankDepth = 1024
) (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         clear_i,
  input  logic         freeze_i,
  input  logic         issue_i,
  input  logic [511:0] instr_i,
  input  logic [31:0]  index_i,
  output logic         ready_o,
  output logic         active_o,
  output logic         done_o,
  output logic         busy_o,
  output logic         stuck_o,
  output logic         class_active_o,
  output logic         class_weight_o,
  output logic         class_slot_o,
  output logic         claim_fault_o,
  output logic [15:0]  claim_addr_o,
  output logic [31:0]  claim_index_o,
  // ring and loader
  input  logic         full_i,      // shadow weights loaded
  input  logic         starved_i,   // and none to come
  output logic         start_o,     // a tile starts
  output logic         keep_o,
  output logic         rewind_o,
  // activation buffer and array
  output logic         in_re_o,     // v + 1
  output logic [15:0]  in_addr_o,
  output logic         vec_o,       // v + 2, with the data
  output logic         first_o,     // of the tile
  output logic         pad_o,
  output logic         x_signed_o,
  output logic [7:0]   zx_o,
  // post unit, v + 1
  output logic         acc_valid_o,
  output oct_exe_pkg::acc_tag_t     acc_o,
  output logic         emit_o,
  output oct_exe_pkg::req_tag_t     req_o,
  output oct_exe_pkg::add_tag_t     add_o,
  output oct_exe_pkg::out_tag_t     out_o
);

  localparam int unsigned Groups = N / WeightRows;
  localparam int unsigned MinSlot = Groups > 4 ? Groups : 4;
  localparam int unsigned Latency = 2 * N + 28;  // last vector's issue to completion

  octile_isa_pkg::mma_t        next, cur_q;
  logic [31:0] index_q;
  assign next = instr_i;

  // --- slots: start, vectors, end ---
  logic       active_q, slot_q, more_q;
  logic [1:0] phase_q;  // cycles to the next vector of a raw tile
  logic [4:0] min_q;    // cycles that the slot lasts at least, after this one
  logic       start, slot, vec, last_vec, done_vecs, slot_end, tile_end, emit_tile, raw_tile;
  logic       last, last_tile, first_tile, row_end;

  assign start     = active_q && !slot_q && full_i && !freeze_i;
  assign slot      = start || slot_q;
  assign emit_tile = cur_q.emit && last_tile;
  assign raw_tile  = emit_tile && cur_q.raw;
  assign vec       = start || (slot_q && more_q && phase_q == 2'd0);
  assign last_vec  = vec && last;
  assign done_vecs = raw_tile ? (slot_q && !more_q && phase_q <= 2'd1) : (last_vec || (slot_q && !more_q));
  assign slot_end  = slot_q && done_vecs && min_q <= 5'd1;
  assign tile_end  = slot_end && last_tile;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {active_q, slot_q, more_q} <= '0;
      phase_q                    <= '0;
      min_q                      <= '0;
    end else if (clear_i) begin
      {active_q, slot_q, more_q} <= '0;
      phase_q                    <= '0;
      min_q                      <= '0;
    end else begin
      if (issue_i) active_q <= 1'b1;
      else if (tile_end) active_q <= 1'b0;
      slot_q <= slot && !slot_end;
      if (vec) more_q <= !last;
      if (start) min_q <= 5'(MinSlot - 1);
      else if (min_q != '0) min_q <= min_q - 5'd1;
      if (vec && raw_tile) phase_q <= 2'd3;
      else if (phase_q != '0) phase_q <= phase_q - 2'd1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (issue_i) begin
      cur_q   <= next;
      index_q <= index_i;
    end
  end

  assign ready_o        = !active_q || tile_end;
  assign active_o       = active_q;
  assign start_o        = start;
  assign keep_o         = cur_q.retain;
  assign rewind_o       = cur_q.retain && last_tile;
  assign class_active_o = vec;
  assign class_weight_o = active_q && !slot_q && !full_i;
  assign class_slot_o   = slot && !vec;

  // --- addresses ---
  logic [15:0] in_addr, out_addr, res_addr;
  logic        pad;
  logic [9:0]  acc_q;
  oct_im2col u_im2col (
    .clk_i, .load_i(issue_i), .instr_i(next), .cur_i(cur_q), .step_i(vec), .next_tile_i(slot_end),
    .addr_o(in_addr), .pad_o(pad), .row_end_o(row_end), .last_o(last), .first_tile_o(first_tile), .last_tile_o(last_tile)
  );
  oct_stream_addr u_out (
    .clk_i, .load_i(issue_i), .row0_i(next.out_row0), .step_i(vec && emit_tile), .row_end_i(row_end), .base_i(cur_q.out_addr),
    .row_step_i(cur_q.out_row_step), .wrap_i(cur_q.out_wrap), .x_step_i(cur_q.raw ? 3'd4 : 3'd1), .addr_o(out_addr)
  );
  oct_stream_addr u_res (
    .clk_i, .load_i(issue_i), .row0_i(next.res_row0), .step_i(vec && emit_tile), .row_end_i(row_end), .base_i(cur_q.res_addr),
    .row_step_i(cur_q.res_row_step), .wrap_i(cur_q.res_wrap), .x_step_i(3'd1), .addr_o(res_addr)
  );
  always_ff @(posedge clk_i) begin
    if (issue_i) acc_q <= next.acc_base;
    else if (slot_end) acc_q <= cur_q.acc_base;
    else if (vec) acc_q <= acc_q + 10'd1;
  end

  // --- v + 1: registered vector ---
  logic        vec1_q, vec2_q, emit1_q, pad1_q, start1_q, start2_q, pad2_q, xs1_q, xs2_q;
  logic [7:0]  zx1_q, zx2_q;
  logic [15:0] in_addr1_q;
  oct_exe_pkg::acc_tag_t    acc1_q;
  oct_exe_pkg::req_tag_t    req1_q;
  oct_exe_pkg::add_tag_t    add1_q;
  oct_exe_pkg::out_tag_t    out1_q;
  logic [4:0]  in_bank1_q, in_banks1_q, out_bank1_q, out_banks1_q, b_bank1_q, b_banks1_q;
  logic [31:0] index1_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) {vec1_q, vec2_q, emit1_q, start1_q, start2_q} <= '0;
    else if (clear_i) {vec1_q, vec2_q, emit1_q, start1_q, start2_q} <= '0;
    else begin
      vec1_q   <= vec;
      vec2_q   <= vec1_q;
      emit1_q  <= vec && emit_tile;
      start1_q <= start;
      start2_q <= start1_q;
    end
  end

  always_ff @(posedge clk_i) begin
    if (vec) begin
      in_addr1_q <= in_addr;
      pad1_q     <= pad;
      acc1_q.addr  <= acc_q;
      acc1_q.first <= cur_q.init && first_tile;
      acc1_q.again <= vec1_q && !acc1_q.emit && acc1_q.addr == acc_q;
      acc1_q.emit  <= emit_tile;
    end
    if (start) begin
      {xs1_q, zx1_q}            <= {cur_q.x_signed, cur_q.zx};
      {in_bank1_q, in_banks1_q} <= {cur_q.in_bank, cur_q.in_banks};
      index1_q                  <= index_q;
    end
    if (vec1_q) {pad2_q, xs2_q, zx2_q} <= {pad1_q, xs1_q, zx1_q};
    if (vec && emit_tile) begin
      // With a residual the convolution's own result uses its type's whole range: lo and hi belong to the sum.
      req1_q.pset       <= cur_q.pset;
      req1_q.raw        <= cur_q.raw;
      req1_q.y_signed   <= cur_q.y_signed;
      req1_q.zy         <= cur_q.zy;
      req1_q.lo         <= cur_q.residual ? {cur_q.y_signed, 7'h00} : cur_q.lo;
      req1_q.hi         <= cur_q.residual ? {!cur_q.y_signed, 7'h7f} : cur_q.hi;
      req1_q.table_en   <= cur_q.table_en;
      req1_q.table_slot <= cur_q.table_slot;
      add1_q.addr        <= res_addr;
      add1_q.residual    <= cur_q.residual;
      add1_q.const_slot  <= cur_q.const_slot;
      add1_q.conv_signed <= cur_q.table_en ? cur_q.t_signed : cur_q.y_signed;
      add1_q.res_signed  <= cur_q.res_signed;
      add1_q.res_is_a    <= cur_q.res_is_a;
      add1_q.out_signed  <= cur_q.out_signed;
      add1_q.lo          <= cur_q.lo;
      add1_q.hi          <= cur_q.hi;
      out1_q.raw         <= cur_q.raw;
      out1_q.addr        <= out_addr;
      out1_q.index       <= index_q;
      {out_bank1_q, out_banks1_q, b_bank1_q, b_banks1_q} <= {cur_q.out_bank, cur_q.out_banks, cur_q.b_bank, cur_q.b_banks};
    end
  end

  assign in_addr_o   = in_addr1_q;
  assign vec_o       = vec2_q;
  assign first_o     = start2_q;
  assign pad_o       = pad2_q;
  assign x_signed_o  = xs2_q;
  assign zx_o        = zx2_q;
  assign acc_valid_o = vec1_q;
  assign acc_o       = acc1_q;
  assign emit_o      = emit1_q;
  assign req_o       = req1_q;
  assign add_o       = add1_q;
  assign out_o       = out1_q;

  // --- claims, v + 1; in, residual, out in this order ---
  logic       in_bad, res_bad;
  logic [3:0] out_bad;
  oct_claim_check #(.BankDepth(BankDepth)) u_claim_in (
    .addr_i(in_addr1_q), .bank_i(in_bank1_q), .banks_i(in_banks1_q), .bad_o(in_bad)
  );
  oct_claim_check #(.BankDepth(BankDepth)) u_claim_res (
    .addr_i(add1_q.addr), .bank_i(b_bank1_q), .banks_i(b_banks1_q), .bad_o(res_bad)
  );
  for (genvar k = 0; k < 4; k++) begin : g_claim_out
    oct_claim_check #(.BankDepth(BankDepth)) u_claim_out (
      .addr_i(out1_q.addr + 16'(k)), .bank_i(out_bank1_q), .banks_i(out_banks1_q), .bad_o(out_bad[k])
    );
  end

  logic in_fault, res_fault, out_fault;
  assign in_fault  = vec1_q && !pad1_q && in_bad;
  assign res_fault = emit1_q && add1_q.residual && res_bad;
  assign out_fault = emit1_q && (out_bad[0] || (out1_q.raw && out_bad[3:1] != '0));
  always_comb begin
    claim_addr_o = out1_q.addr;
    if (in_fault) claim_addr_o = in_addr1_q;
    else if (res_fault) claim_addr_o = add1_q.addr;
    else if (out_bad[0]) claim_addr_o = out1_q.addr;
    else if (out_bad[1]) claim_addr_o = out1_q.addr + 16'd1;
    else if (out_bad[2]) claim_addr_o = out1_q.addr + 16'd2;
    else claim_addr_o = out1_q.addr + 16'd3;
  end
  assign claim_fault_o = in_fault || res_fault || out_fault;
  assign claim_index_o = index1_q;
  assign in_re_o       = vec1_q && !pad1_q && !in_bad;

  // --- completion ---
  logic [Latency-1:0] done_q;
  logic [6:0]         flight_q;  // instructions issued and not completed
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      done_q   <= '0;
      flight_q <= '0;
    end else if (clear_i) begin
      done_q   <= '0;
      flight_q <= '0;
    end else begin
      done_q <= {done_q[Latency-2:0], last_vec && last_tile};
      if (issue_i && !done_o) flight_q <= flight_q + 7'd1;
      else if (done_o && !issue_i) flight_q <= flight_q - 7'd1;
    end
  end
  assign done_o  = done_q[Latency-1];
  assign busy_o  = flight_q != '0;
  assign stuck_o = active_q && !slot_q && starved_i && flight_q == 7'd1;

`include "oct_assert.svh"
  `OCT_ASSERT(IssueWhenReady, !issue_i || ready_o, clk_i, rst_ni)
  `OCT_ASSERT(FlightBound, flight_q < 7'd64, clk_i, rst_ni)

endmodule
