// The matrix unit: weight ring, tile sequencer, systolic array and post unit (docs/timing.md 7, docs/microarchitecture.md). A vector
// issued in cycle v enters the array in v + 3; column c's sum leaves it in v + N + 3 + c; its code leaves the column 10 cycles later; after deskewing
// all codes stand in T = v + 2N + 12; the result is written in T + 12 = v + 2N + 24.
module oct_exe #(
  parameter int unsigned N = 16,            // 4, 8, 16, 32, 64
  parameter int unsigned WeightRows = 4,    // divides N
  parameter int unsigned RingTiles = 256,   // a power of two
  parameter int unsigned AccDepth = 1024,   // at most 1024
  parameter int unsigned PSets = 128,       // at most 128
  parameter int unsigned BankDepth = 1024,  // a power of two
  parameter int unsigned OpW = 9            // see oct_array
) (
  input  logic           clk_i,
  input  logic           rst_ni,
  input  logic           clear_i,   // held for max(AccDepth, PSets, 1024 / N) cycles it also sets the memories to zero
  input  logic           freeze_i,
  input  logic           issue_i,
  input  logic [511:0]   instr_i,
  input  logic [31:0]    index_i,
  output logic           ready_o,
  output logic           active_o,
  output logic           done_o,
  output logic           busy_o,
  output logic           stuck_o,
  output logic           class_active_o,
  output logic           class_weight_o,
  output logic           class_slot_o,
  output logic           tile_start_o,
  output logic           claim_fault_o,
  output logic [15:0]    claim_addr_o,
  output logic [31:0]    claim_index_o,
  input  logic           ring_we_i,
  input  logic [8*N-1:0] ring_data_i,
  input  logic [7:0]     ring_zw_i,
  input  logic           ring_wsigned_i,
  output logic           ring_free_o,
  output logic           in_re_o,
  output logic [15:0]    in_addr_o,
  input  logic [8*N-1:0] in_data_i,
  output logic           res_re_o,
  output logic [15:0]    res_addr_o,
  input  logic [8*N-1:0] res_data_i,
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

  localparam int unsigned Groups = N / WeightRows;
  localparam int unsigned TagW = Groups > 1 ? $clog2(Groups) : 1;
  localparam int unsigned SetW = PSets > 1 ? $clog2(PSets) : 1;
  localparam int unsigned TabW = $clog2(1024 / N);
  localparam int unsigned Quarter = N / 4;  // words of a beat
  localparam int unsigned RunCycles = 2 * N + 40;

  // --- ring, sequencer, array ---
  logic                      full, starved, start, keep, rewind, group, w_signed;
  logic [TagW-1:0]           tag;
  logic [7:0]                zw, zx;
  logic [8*N*WeightRows-1:0] w;
  logic                      vec, first, pad, x_signed, acc_valid, emit;
  oct_exe_pkg::acc_tag_t                  acc;
  oct_exe_pkg::req_tag_t                  req;
  oct_exe_pkg::add_tag_t                  add;
  oct_exe_pkg::out_tag_t                  out;
  logic [32*N-1:0]           sum;

  oct_ring #(.N(N), .WeightRows(WeightRows), .RingTiles(RingTiles)) u_ring (
    .clk_i, .rst_ni, .clear_i, .we_i(ring_we_i), .data_i(ring_data_i), .zw_i(ring_zw_i), .wsigned_i(ring_wsigned_i),
    .start_i(start), .keep_i(keep), .rewind_i(rewind), .full_o(full), .starved_o(starved), .free_o(ring_free_o),
    .group_o(group), .tag_o(tag), .zw_o(zw), .w_signed_o(w_signed), .w_o(w)
  );
  oct_exe_ctrl #(.N(N), .WeightRows(WeightRows), .BankDepth(BankDepth)) u_ctrl (
    .clk_i, .rst_ni, .clear_i, .freeze_i, .issue_i, .instr_i, .index_i, .ready_o, .active_o, .done_o, .busy_o, .stuck_o,
    .class_active_o, .class_weight_o, .class_slot_o, .claim_fault_o, .claim_addr_o, .claim_index_o,
    .full_i(full), .starved_i(starved), .start_o(start), .keep_o(keep), .rewind_o(rewind),
    .in_re_o, .in_addr_o, .vec_o(vec), .first_o(first), .pad_o(pad), .x_signed_o(x_signed), .zx_o(zx),
    .acc_valid_o(acc_valid), .acc_o(acc), .emit_o(emit), .req_o(req), .add_o(add), .out_o(out)
  );
  oct_array #(.N(N), .WeightRows(WeightRows), .OpW(OpW)) u_array (
    .clk_i, .rst_ni, .clear_i, .valid_i(vec), .swap_i(first), .pad_i(pad), .x_signed_i(x_signed), .zx_i(zx), .x_i(in_data_i),
    .group_i(group), .tag_i(tag), .w_signed_i(w_signed), .zw_i(zw), .w_i(w), .sum_o(sum)
  );
  assign tile_start_o = start;

  // Most vectors end in the accumulators: what lies behind them has a clock only when a vector is on its way through it, or a
  // parameter into it.
  logic clk_post;
  oct_sleep #(.Hold(RunCycles)) u_post_sleep (.clk_i, .rst_ni, .wake_i(emit || prm_we_i || clear_i), .clk_o(clk_post));

  // --- tags, from v + 1 to where they are needed ---
  logic     acc_valid0, req_valid0, tab_valid0, tab_late, add_valid, out_valid;
  oct_exe_pkg::acc_tag_t acc0;
  oct_exe_pkg::req_tag_t req0;
  oct_exe_pkg::tab_tag_t tab0;
  oct_exe_pkg::add_tag_t add_t;
  oct_exe_pkg::out_tag_t out_t;
  oct_delay_ram #(.Width($bits(acc)), .Delay(N + 1)) u_acc_tag (
    .clk_i, .rst_ni, .clear_i, .valid_i(acc_valid), .data_i(acc), .valid_o(acc_valid0), .data_o(acc0)
  );
  oct_delay_ram #(.Width($bits(req)), .Delay(N + 2)) u_req_tag (
    .clk_i(clk_post), .rst_ni, .clear_i, .valid_i(emit), .data_i(req), .valid_o(req_valid0), .data_o(req0)
  );
  oct_delay_ram #(.Width($bits(tab0)), .Delay(N + 10)) u_tab_tag (
    .clk_i(clk_post), .rst_ni, .clear_i, .valid_i(emit), .data_i({req.raw, req.table_en, req.table_slot}),
    .valid_o(tab_valid0), .data_o(tab0)
  );
  oct_delay_ram #(.Width($bits(add)), .Delay(2 * N + 10)) u_add_tag (
    .clk_i(clk_post), .rst_ni, .clear_i, .valid_i(emit), .data_i(add), .valid_o(add_valid), .data_o(add_t)
  );
  oct_delay_ram #(.Width($bits(out)), .Delay(2 * N + 22)) u_out_tag (
    .clk_i(clk_post), .rst_ni, .clear_i, .valid_i(emit), .data_i(out), .valid_o(out_valid), .data_o(out_t)
  );

  logic [1:0] raw_left_q;                          // bytes of a raw sum still to be taken
  logic [7:0] raw_run_q;                           // cycles in which raw vectors may be on their way
  logic       raw_run;
  logic [9:0] scrub_q;
  assign raw_run  = raw_run_q != '0;
  assign tab_late = tab_valid0 || (raw_left_q != '0);
  always_ff @(posedge clk_post or negedge rst_ni) begin
    if (!rst_ni) begin
      raw_left_q <= '0;
      raw_run_q  <= '0;
      scrub_q    <= '0;
    end else if (clear_i) begin
      raw_left_q <= '0;
      raw_run_q  <= '0;
      scrub_q    <= scrub_q + 10'd1;
    end else begin
      if (tab_valid0) raw_left_q <= tab0.raw ? 2'd3 : 2'd0;
      else if (raw_left_q != '0) raw_left_q <= raw_left_q - 2'd1;
      if (emit && req.raw) raw_run_q <= 8'(RunCycles);
      else if (raw_run) raw_run_q <= raw_run_q - 8'd1;
      scrub_q <= '0;
    end
  end

  // --- parameters: beat b of a set holds the words of lanes b N/4 ..; beats 0 to 3 biases, 4 to 7 multipliers ---
  logic       set_we, table_we, const_we;
  logic [7:0] set_beat;
  assign set_we   = prm_we_i && prm_target_i == octile_isa_pkg::LdpExeSet;
  assign table_we = prm_we_i && prm_target_i == octile_isa_pkg::LdpExeTable;
  assign const_we = prm_we_i && prm_target_i == octile_isa_pkg::LdpExeConst;
  for (genvar b = 0; b < 8; b++) begin : g_set_beat
    assign set_beat[b] = set_we && prm_beat_i == 10'(b);
  end
  logic [TabW-1:0] table_addr;
  logic            unused_entry;
  assign table_addr   = {prm_entry_i[1:0], prm_beat_i[TabW-3:0]};
  assign unused_entry = ^prm_entry_i;  // no target has as many entries as the field can name

  // --- columns ---
  logic [8*N-1:0] codes;
  oct_columns #(.N(N), .AccDepth(AccDepth), .PSets(PSets)) u_columns (
    .clk_i, .clk_post_i(clk_post), .rst_ni, .clear_i, .scrub_i(scrub_q), .sum_i(sum), .acc_valid_i(acc_valid0), .acc_i(acc0),
    .req_valid_i(req_valid0), .req_i(req0), .tab_valid_i(tab_late), .tab_i(tab0), .raw_run_i(raw_run), .set_we_i(set_beat),
    .set_addr_i(prm_entry_i[SetW-1:0]), .table_we_i(table_we), .table_addr_i(table_addr), .prm_data_i, .codes_o(codes)
  );

  // --- all lanes in step ---
  logic [2:0]  const_sel;
  logic [95:0] const_data;
  for (genvar k = 0; k < 3; k++) begin : g_const
    assign const_sel[k] = const_we && prm_beat_i == 10'(k / Quarter);
    assign const_data[32*k +: 32] = prm_data_i[32*(k % Quarter) +: 32];
  end
  oct_deskewed #(.N(N)) u_deskewed (
    .clk_i(clk_post), .rst_ni, .clear_i, .scrub_i(scrub_q[3:0]), .byte_i(codes), .add_valid_i(add_valid), .add_i(add_t),
    .res_re_o, .res_addr_o, .res_data_i, .out_valid_i(out_valid), .out_i(out_t),
    .out_we_o, .out_addr_o, .out_data_o, .out_index_o,
    .const_we_i(const_sel), .const_addr_i(prm_entry_i[3:0]), .const_data_i(const_data)
  );

`include "oct_assert.svh"
  `OCT_ASSERT_INIT(WeightRowsDivideN, N % WeightRows == 0 && N >= 4 && N <= 64)

endmodule
