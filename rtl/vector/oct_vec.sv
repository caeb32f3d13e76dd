// The vector unit: WIN, ELT and PACK (docs/isa.md), one vector read per cycle, fixed latency (docs/timing.md 8). The control, what all lanes
// compute together (oct_vec_mac), N lanes with their memories and cells (oct_vec_lane), the transposer of PACK, and a small memory in which
// results wait until the 24th cycle, whatever stage made them.
module oct_vec #(
  parameter int unsigned N = 16,           // lanes: 4, 8, 16, 32 or 64
  parameter int unsigned PSets = 128,      // parameter sets
  parameter int unsigned WRows = 256,      // weight rows
  parameter int unsigned BankDepth = 1024, // vectors of a buffer bank, a power of two
  parameter int unsigned OpW = 9           // see oct_array
) (
  input  logic           clk_i,
  input  logic           rst_ni,
  input  logic           clear_i,
  input  logic           freeze_i,
  input  logic           issue_i,
  input  logic [511:0]   instr_i,
  input  logic [31:0]    index_i,
  output logic           ready_o,
  output logic           active_o,
  output logic           done_o,
  output logic           busy_o,
  output logic           class_active_o,  // read phase
  output logic           claim_fault_o,
  output logic [15:0]    claim_addr_o,
  output logic [31:0]    claim_index_o,
  output logic           a_re_o,
  output logic [15:0]    a_addr_o,
  input  logic [8*N-1:0] a_data_i,
  output logic           b_re_o,
  output logic [15:0]    b_addr_o,
  input  logic [8*N-1:0] b_data_i,
  output logic           out_we_o,
  output logic [15:0]    out_addr_o,
  output logic [8*N-1:0] out_data_o,
  output logic [31:0]    out_index_o,
  input  logic           prm_we_i,
  input  logic [2:0]     prm_target_i,
  input  logic [9:0]     prm_entry_i,
  input  logic [9:0]     prm_beat_i,
  input  logic [8*N-1:0] prm_data_i
);

  localparam int unsigned Lg = $clog2(N);

  oct_vec_pkg::cfg_t cfg, cfg_d;

  // Each part is clocked only while it has something to do: the control while an instruction is in the unit, the lanes also for writes
  // of parameters, the cells of ELT for the operations that use them. A reset clocks, and so empties, all of them.
  logic clk_ctrl, clk_lane, clk_cell, in_reset;
  assign in_reset = clear_i || !rst_ni;
  oct_clock_gate u_gate_ctrl (.clk_i, .en_i(issue_i || active_o || in_reset), .clk_o(clk_ctrl));
  oct_clock_gate u_gate_lane (.clk_i, .en_i(active_o || prm_we_i || in_reset), .clk_o(clk_lane));
  oct_clock_gate u_gate_cell (.clk_i, .en_i((active_o && (cfg.add || cfg.mul)) || in_reset), .clk_o(clk_cell));

  logic [31:0]       index_q;
  oct_vec_decode u_decode (.clk_i(clk_ctrl), .issue_i, .instr_i, .cfg_d_o(cfg_d), .cfg_o(cfg));
  always_ff @(posedge clk_ctrl) begin
    if (issue_i) index_q <= index_i;
  end

  logic              weight_re;
  // verilator lint_off UNUSEDSIGNAL
  logic [9:0]        weight_row;  // more bits than a small memory needs
  logic [6:0]        pset;
  logic [24:1]       result;      // only the cycles at which something happens are looked at
  // verilator lint_on UNUSEDSIGNAL
  logic [15:0]       out_addr;
  oct_vec_pkg::tap_t tap2, tap3;
  logic              tap2_valid, tap3_valid;
  logic [5:0]        fill_cell;
  logic              weight_valid, take, mul;
  logic [2:0]        weight_word;
  logic [8:0]        take_use;
  logic [53:0]       take_cells;
  logic [1:0]        mul_chunk;
  logic              pack_valid, pack_row_in, win_end, pack_col;
  logic [2:0]        pack_vec;
  logic [Lg-1:0]     pack_lane, pack_shift;
  logic [Lg:0]       pack_count, pack_lo, pack_hi, win_lanes, win_cols;
  oct_vec_ctrl #(.N(N), .BankDepth(BankDepth)) u_ctrl (
    .clk_i(clk_ctrl), .rst_ni, .clear_i, .freeze_i, .issue_i, .cfg_d_i(cfg_d), .cfg_i(cfg), .active_o, .done_o, .reading_o(class_active_o),
    .claim_fault_o, .claim_addr_o, .a_re_o, .a_addr_o, .b_re_o, .b_addr_o, .out_addr_o(out_addr), .weight_re_o(weight_re),
    .weight_row_o(weight_row), .tap2_o(tap2), .tap3_o(tap3),
    .tap2_valid_o(tap2_valid), .tap3_valid_o(tap3_valid), .pset_o(pset), .result_o(result), .fill_cell_o(fill_cell),
    .weight_valid_o(weight_valid), .weight_word_o(weight_word), .take_o(take), .take_use_o(take_use), .take_cells_o(take_cells),
    .mul_o(mul), .mul_chunk_o(mul_chunk), .pack_valid_o(pack_valid),
    .pack_vec_o(pack_vec), .pack_lane_o(pack_lane), .pack_count_o(pack_count), .pack_shift_o(pack_shift), .pack_row_in_o(pack_row_in),
    .pack_lo_o(pack_lo), .pack_hi_o(pack_hi), .win_end_o(win_end), .win_lanes_o(win_lanes), .win_cols_o(win_cols), .pack_col_i(pack_col)
  );
  assign ready_o       = !active_o;
  assign busy_o        = active_o;
  assign claim_index_o = index_q;

  // Parameters.
  logic [9:0]     waddr;
  logic [8*N-1:0] wdata;
  logic [3:0]     bias_we, mult_we, weight_we;
  logic           table_we;
  logic           start_q;  // first cycle of an instruction: its constants are read
  logic [31:0]    c0, c1, c2;
  always_ff @(posedge clk_ctrl or negedge rst_ni) begin
    if (!rst_ni) start_q <= 1'b0;
    else start_q <= issue_i;
  end
  oct_vec_params #(.N(N)) u_params (
    .clk_i(clk_lane), .clear_i, .prm_we_i, .prm_target_i, .prm_entry_i, .prm_beat_i, .prm_data_i, .waddr_o(waddr), .wdata_o(wdata),
    .bias_we_o(bias_we), .mult_we_o(mult_we), .weight_we_o(weight_we), .table_we_o(table_we), .const_re_i(start_q),
    .const_slot_i(cfg.const_slot), .c0_o(c0), .c1_o(c1), .c2_o(c2)
  );

  // When the lanes have the code, and the result memory gets it (one cycle behind; PACK: its column).
  logic code_valid, push, last4, last5;
  assign last4 = cfg.columns ? result[6] : result[4];
  assign last5 = cfg.columns ? result[7] : result[5];
  always_comb begin
    code_valid = 1'b0;
    push       = result[12];
    if (cfg.columns) begin
      code_valid = cfg.max ? result[7] : result[13];
      push       = cfg.max ? result[8] : result[14];
    end else if (cfg.copy) begin
      code_valid = result[3];
      push       = result[4];
    end else if (cfg.max) begin
      code_valid = result[5];
      push       = result[6];
    end else if (cfg.pack) begin
      push = result[4];
    end else begin
      code_valid = result[11];
    end
  end

  logic [8*N-1:0]        codes, column;
  logic [N-1:0][31:0]    weights, bias, mult, requant, most;
  logic [N-1:0][OpW-1:0] a3, b3;
  oct_vec_mac #(.N(N), .OpW(OpW)) u_mac (
    .clk_i(clk_lane), .cfg_i(cfg), .tap2_i(tap2), .tap3_i(tap3), .tap2_valid_i(tap2_valid),
    .tap3_valid_i(tap3_valid), .last4_i(last4), .last5_i(last5), .fill_cell_i(fill_cell), .weight_valid_i(weight_valid),
    .weight_word_i(weight_word), .take_i(take), .take_use_i(take_use), .take_cells_i(take_cells), .mul_i(mul), .mul_chunk_i(mul_chunk),
    .a_i(a_data_i), .b_i(b_data_i), .weights_i(weights), .bias_i(bias), .mult_i(mult), .a_o(a3), .b_o(b3), .requant_o(requant), .max_o(most)
  );
  for (genvar l = 0; l < N; l++) begin : g_lane
    localparam int unsigned Group = l / (N / 4);
    localparam int unsigned Word = l % (N / 4);
    oct_vec_lane #(.N(N), .PSets(PSets), .WRows(WRows)) u_lane (
      .clk_i(clk_lane), .clk_cell_i(clk_cell), .cfg_i(cfg), .tap3_i(tap3), .tap2_valid_i(tap2_valid), .tap3_valid_i(tap3_valid),
      .code_valid_i(code_valid), .a_i(a3[l][8:0]), .b_i(b3[l][8:0]), .requant_i(requant[l][7:0]), .max_i(most[l][7:0]),
      .c0_i(c0), .c1_i(c1), .c2_i(c2), .weight_re_i(weight_re),
      .weight_raddr_i(weight_row[$clog2(WRows)-1:0]), .pset_i(pset[$clog2(PSets)-1:0]), .waddr_i(waddr),
      .bias_we_i(bias_we[Group]), .mult_we_i(mult_we[Group]), .weight_we_i(weight_we[Group]), .table_we_i(table_we),
      .word_i(wdata[32*Word+:32]), .beat_i(wdata), .weights_o(weights[l]), .bias_o(bias[l]), .mult_o(mult[l]), .code_o(codes[8*l+:8])
    );
  end

  oct_pack #(.N(N)) u_pack (
    .clk_i(clk_ctrl), .rst_ni, .clear_i, .zx_i(cfg.zx), .stride_i(cfg.stride_x[2:0]), .valid_i(pack_valid), .vec_i(pack_vec),
    .lane_i(pack_lane), .count_i(pack_count), .shift_i(pack_shift), .row_in_i(pack_row_in), .lo_i(pack_lo), .hi_i(pack_hi), .data_i(a_data_i),
    .win_end_i(win_end), .win_lanes_i(win_lanes), .win_cols_i(win_cols), .col_valid_o(pack_col), .col_o(column)
  );

  // Results and their addresses wait for the 24th cycle: pushed when known, read in the 23rd. At most 23 are under way.
  logic [4:0] addr_ptr_q, data_ptr_q, out_ptr_q;
  always_ff @(posedge clk_ctrl or negedge rst_ni) begin
    if (!rst_ni) begin
      {addr_ptr_q, data_ptr_q, out_ptr_q} <= '0;
    end else if (clear_i) begin
      {addr_ptr_q, data_ptr_q, out_ptr_q} <= '0;
    end else begin
      if (result[1]) addr_ptr_q <= addr_ptr_q + 5'd1;
      if (push) data_ptr_q <= data_ptr_q + 5'd1;
      if (result[23]) out_ptr_q <= out_ptr_q + 5'd1;
    end
  end
  oct_sram_1r1w #(.Width(16), .Depth(32)) u_addr (
    .clk_i(clk_ctrl), .we_i(result[1]), .waddr_i(addr_ptr_q), .wdata_i(out_addr), .re_i(result[23]), .raddr_i(out_ptr_q), .rdata_o(out_addr_o)
  );
  oct_sram_1r1w #(.Width(8 * N), .Depth(32)) u_data (
    .clk_i(clk_ctrl), .we_i(push), .waddr_i(data_ptr_q), .wdata_i(cfg.pack ? column : codes), .re_i(result[23]), .raddr_i(out_ptr_q),
    .rdata_o(out_data_o)
  );
  assign out_we_o    = result[24] && !freeze_i;
  assign out_index_o = index_q;

endmodule
