// The end of the post unit, all lanes in step: residual addition (N6), the order of raw sums, the output register. With T the cycle in
// which a vector's codes show on byte_i (raw: its lowest bytes): residual read T - 1, addition T .. T + 8, output in T + 12.
module oct_deskewed #(
  parameter int unsigned N = 16
) (
  input  logic           clk_i,
  input  logic           rst_ni,
  input  logic           clear_i,
  input  logic [3:0]     scrub_i,
  input  logic [8*N-1:0] byte_i,
  input  logic           add_valid_i, // T - 1
  input  oct_exe_pkg::add_tag_t       add_i,
  output logic           res_re_o,
  output logic [15:0]    res_addr_o,
  input  logic [8*N-1:0] res_data_i,
  input  logic           out_valid_i, // T + 11
  input  oct_exe_pkg::out_tag_t       out_i,
  output logic           out_we_o,
  output logic [15:0]    out_addr_o,
  output logic [8*N-1:0] out_data_o,
  output logic [31:0]    out_index_o,
  // constants c0, c1, c2 = RA, RB, F
  input  logic [2:0]     const_we_i,
  input  logic [3:0]     const_addr_i,
  input  logic [95:0]    const_data_i
);

  // --- residual addition ---
  logic        add_q;
  logic [95:0] ratio;
  // The address and the slot have done their work one cycle earlier.
  // verilator lint_off UNUSEDSIGNAL
  oct_exe_pkg::add_tag_t    tag_q;
  // verilator lint_on UNUSEDSIGNAL

  assign res_re_o   = add_valid_i && add_i.residual;
  assign res_addr_o = add_i.addr;
  for (genvar k = 0; k < 3; k++) begin : g_const
    oct_sram_1r1w #(.Width(32), .Depth(16)) u_mem (
      .clk_i, .we_i(const_we_i[k] || clear_i), .waddr_i(clear_i ? scrub_i : const_addr_i),
      .wdata_i(clear_i ? 32'd0 : const_data_i[32*k +: 32]),
      .re_i(res_re_o), .raddr_i(add_i.const_slot), .rdata_o(ratio[32*k +: 32])
    );
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) add_q <= 1'b0;
    else if (clear_i) add_q <= 1'b0;
    else add_q <= res_re_o;
  end
  always_ff @(posedge clk_i) begin
    if (res_re_o) tag_q <= add_i;
  end

  logic [8*N-1:0] sum, straight, out0, out1, out2, out3;
  logic [N-1:0]   sum_valid;
  logic           clk_add;  // runs while sums are on their way
  oct_sleep #(.Hold(12)) u_add_sleep (.clk_i, .rst_ni, .wake_i(res_re_o || clear_i), .clk_o(clk_add));
  for (genvar c = 0; c < N; c++) begin : g_lane
    logic signed [8:0] conv, res;
    assign conv = oct_exe_pkg::code9(byte_i[8*c +: 8], tag_q.conv_signed);
    assign res  = oct_exe_pkg::code9(res_data_i[8*c +: 8], tag_q.res_signed);
    oct_add u_add (
      .clk_i(clk_add), .valid_i(add_q), .a_i(tag_q.res_is_a ? res : conv), .b_i(tag_q.res_is_a ? conv : res),
      .ra_i(ratio[31:0]), .rb_i(ratio[63:32]), .f_i(ratio[95:64]),
      .out_signed_i(tag_q.out_signed), .lo_i(tag_q.lo), .hi_i(tag_q.hi),
      .valid_o(sum_valid[c]), .code_o(sum[8*c +: 8])
    );
  end
  oct_delay #(.Width(8*N), .Depth(8)) u_straight (.clk_i, .en_i(1'b1), .d_i(byte_i), .d_o(straight));

  // --- the last four cycles: enough to hold the four bytes of raw sums ---
  assign out0 = sum_valid[0] ? sum : straight;
  oct_delay #(.Width(8*N), .Depth(1)) u_out1 (.clk_i, .en_i(1'b1), .d_i(out0), .d_o(out1));
  oct_delay #(.Width(8*N), .Depth(1)) u_out2 (.clk_i, .en_i(1'b1), .d_i(out1), .d_o(out2));
  oct_delay #(.Width(8*N), .Depth(1)) u_out3 (.clk_i, .en_i(1'b1), .d_i(out2), .d_o(out3));

  // A raw vector's sums in order: lane c in bits 32c.
  logic [32*N-1:0] words;
  for (genvar c = 0; c < N; c++) begin : g_word
    assign words[32*c +: 32] = {out0[8*c +: 8], out1[8*c +: 8], out2[8*c +: 8], out3[8*c +: 8]};
  end

  logic [24*N-1:0] hold_q;
  logic [1:0]      left_q;  // vectors of a raw sum still to be written
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      out_we_o <= 1'b0;
      left_q   <= '0;
    end else if (clear_i) begin
      out_we_o <= 1'b0;
      left_q   <= '0;
    end else begin
      out_we_o <= out_valid_i || (left_q != '0);
      if (out_valid_i) left_q <= out_i.raw ? 2'd3 : 2'd0;
      else if (left_q != '0) left_q <= left_q - 2'd1;
    end
  end
  always_ff @(posedge clk_i) begin
    if (out_valid_i) begin
      out_addr_o  <= out_i.addr;
      out_index_o <= out_i.index;
      if (out_i.raw) {hold_q, out_data_o} <= words;
      else out_data_o <= out3;
    end else if (left_q != '0) begin
      out_addr_o           <= out_addr_o + 16'd1;
      {hold_q, out_data_o} <= {(8*N)'(0), hold_q};
    end
  end

`include "oct_assert.svh"
  `OCT_ASSERT(LanesInStep, sum_valid == '0 || sum_valid == '1, clk_i, rst_ni)

endmodule
