// Parameter writes of the vector unit: which memory of which lanes a delivered beat goes to (entry formats: LDP in rtl/spec/isa.yml),
// and the constants of N6 and N7. Sets and weights hold one 32-bit word per lane, N/4 lanes to a beat. While clear_i is high a walking
// address sets every memory to zero.
module oct_vec_params #(
  parameter int unsigned N = 16
) (
  input  logic           clk_i,
  input  logic           clear_i,
  input  logic           prm_we_i,
  input  logic [2:0]     prm_target_i,
  // verilator lint_off UNUSEDSIGNAL
  input  logic [9:0]     prm_entry_i,   // a table slot or a constant has fewer bits
  input  logic [9:0]     prm_beat_i,
  // verilator lint_on UNUSEDSIGNAL
  input  logic [8*N-1:0] prm_data_i,
  output logic [9:0]     waddr_o,
  output logic [8*N-1:0] wdata_o,
  output logic [3:0]     bias_we_o,     // bit g: lanes g * N/4 and so on
  output logic [3:0]     mult_we_o,
  output logic [3:0]     weight_we_o,
  output logic           table_we_o,
  // constants: slot in one cycle, c0, c1, c2 from the next on
  input  logic           const_re_i,
  input  logic [3:0]     const_slot_i,
  output logic [31:0]    c0_o,
  output logic [31:0]    c1_o,
  output logic [31:0]    c2_o
);

  localparam int unsigned TableBeatW = 8 - $clog2(N);  // 256 / N beats

  logic [9:0] scrub_q;
  logic [2:0] const_we;

  always_ff @(posedge clk_i) begin
    if (clear_i) scrub_q <= scrub_q + 10'd1;
  end

  always_comb begin
    waddr_o     = '0;
    wdata_o     = '0;
    bias_we_o   = '0;
    mult_we_o   = '0;
    weight_we_o = '0;
    table_we_o  = 1'b0;
    const_we    = '0;
    if (clear_i) begin
      waddr_o     = scrub_q;
      bias_we_o   = '1;
      mult_we_o   = '1;
      weight_we_o = '1;
      table_we_o  = 1'b1;
      const_we    = '1;
    end else if (prm_we_i) begin
      waddr_o = prm_entry_i;
      wdata_o = prm_data_i;
      if (prm_target_i == octile_isa_pkg::LdpVecSet) begin
        if (prm_beat_i[2]) mult_we_o[prm_beat_i[1:0]] = 1'b1;
        else bias_we_o[prm_beat_i[1:0]] = 1'b1;
      end
      if (prm_target_i == octile_isa_pkg::LdpVecWeight) weight_we_o[prm_beat_i[1:0]] = 1'b1;
      if (prm_target_i == octile_isa_pkg::LdpVecTable) begin
        table_we_o = 1'b1;
        waddr_o    = 10'({prm_entry_i[1:0], prm_beat_i[TableBeatW-1:0]});
      end
      if (prm_target_i == octile_isa_pkg::LdpVecConst) begin
        for (int unsigned w = 0; w < 3; w++) const_we[w] = prm_beat_i == 10'(4 * w / N);
      end
    end
  end

  // Word w of an entry is in beat 4w / N.
  logic [95:0] constants;
  for (genvar w = 0; w < 3; w++) begin : g_const
    localparam int unsigned Word = w % (N / 4);
    oct_sram_1r1w #(.Width(32), .Depth(16)) u_const (
      .clk_i, .we_i(const_we[w]), .waddr_i(waddr_o[3:0]), .wdata_i(wdata_o[32*Word+:32]),
      .re_i(const_re_i), .raddr_i(const_slot_i), .rdata_o(constants[32*w+:32])
    );
  end
  assign {c2_o, c1_o, c0_o} = constants;

endmodule
