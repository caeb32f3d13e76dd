// What stands below the columns of the array: accumulators, bias (N1), requantization and clamp (N3), table (N5), and the deskewing that
// brings a vector's codes together. With u the cycle in which column 0's sum shows in sum_i: accumulator read u - 1, addition and write u,
// bias u + 1, requantization u + 2 .. u + 8, table u + 8 .. u + 10, code in u + 10; column c does the same c cycles later, so all codes of
// the vector stand in codes_o in u + N + 9. Raw sums leave the same way, a byte per cycle, lowest first.
//
// A register here is a vector of words with one word for every column, and tags move through such a vector from column to column: a
// simulator does the same to all columns with a few instructions (docs/rtl-speed.md).
module oct_columns #(
  parameter int unsigned N = 16,
  parameter int unsigned AccDepth = 1024,
  parameter int unsigned PSets = 128,
  localparam int unsigned AccW = AccDepth > 1 ? $clog2(AccDepth) : 1,
  localparam int unsigned SetW = PSets > 1 ? $clog2(PSets) : 1,
  localparam int unsigned Lg = $clog2(N),
  localparam int unsigned TabW = $clog2(1024 / N)
) (
  input  logic                  clk_i,        // accumulators
  input  logic                  clk_post_i,   // what follows them: runs while emitted vectors or parameters are on their way
  input  logic                  rst_ni,
  input  logic                  clear_i,
  input  logic [9:0]            scrub_i,      // while clear_i: address to be set to zero in every memory
  input  logic [N-1:0][31:0]    sum_i,
  // tags of column 0
  input  logic                  acc_valid_i,  // u - 1
  input  oct_exe_pkg::acc_tag_t acc_i,
  input  logic                  req_valid_i,  // u
  input  oct_exe_pkg::req_tag_t req_i,
  input  logic                  tab_valid_i,  // u + 8
  input  oct_exe_pkg::tab_tag_t tab_i,
  input  logic                  raw_run_i,    // raw sums may be on their way
  // parameters: a beat has the words of N/4 columns; beats 0 to 3 biases, 4 to 7 multipliers
  input  logic [7:0]            set_we_i,
  input  logic [SetW-1:0]       set_addr_i,
  input  logic                  table_we_i,
  input  logic [TabW-1:0]       table_addr_i, // {slot, code / N}
  input  logic [8*N-1:0]        prm_data_i,
  output logic [8*N-1:0]        codes_o
);

  localparam int unsigned Quarter = N / 4;

  // Valid bits of a tag: bit c belongs to column c. x: as the tag reaches the column, x_q: one cycle later.
  logic [N-1:0] acc_valid, acc_valid_q, req_valid, req_valid_q, req2_q, tab_valid, tab_valid_q;
  assign acc_valid = {acc_valid_q[N-2:0], acc_valid_i};
  assign req_valid = {req_valid_q[N-2:0], req_valid_i};
  assign tab_valid = {tab_valid_q[N-2:0], tab_valid_i};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) acc_valid_q <= '0;
    else if (clear_i) acc_valid_q <= '0;
    else acc_valid_q <= acc_valid;
  end
  always_ff @(posedge clk_post_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {req2_q, req_valid_q, tab_valid_q} <= '0;
    end else if (clear_i) begin
      {req2_q, req_valid_q, tab_valid_q} <= '0;
    end else begin
      req2_q      <= req_valid_q;
      req_valid_q <= req_valid;
      tab_valid_q <= tab_valid;
    end
  end

  // --- accumulators: a sum is written in u, so only the very next vector can miss it ---
  // A tag's word: {emit, again, first, address}.
  logic [N-1:0][31:0] acc_tag, acc_tag_q, acc_rdata, acc_d, acc_q;
  assign acc_tag = {acc_tag_q[N-2:0], 19'd0, acc_i.emit, acc_i.again, acc_i.first, acc_i.addr};

  // first: the sum alone; again: added to the sum of the cycle before; else to what was read.
  function automatic logic [31:0] accumulate(input logic [31:0] sum, input logic first, input logic again, input logic [31:0] last,
                                             input logic [31:0] read);
    accumulate = sum + ((read ^ ((read ^ last) & oct_word_pkg::mask(again))) & ~oct_word_pkg::mask(first));
  endfunction

  always_comb begin
    acc_d = '0;
    if (acc_valid_q != '0) begin
      for (int unsigned c = 0; c < N; c++) acc_d[c] = accumulate(sum_i[c], acc_tag_q[c][10], acc_tag_q[c][11], acc_q[c], acc_rdata[c]);
    end
  end
  always_ff @(posedge clk_i) begin
    if (acc_valid_q != '0) acc_q <= acc_d;
    if (acc_valid != '0) acc_tag_q <= acc_tag;
  end

  // --- bias and requantization ---
  // A tag's words: parameter set; {raw, 6'd0, y_signed, zy, lo, hi}. The table fields go their own way.
  logic [N-1:0][31:0] set, set_q, par, par_q, par2_q, bias_rdata, mult_rdata, biased_q, code;
  logic [N-1:0]       raw2, requant;
  logic               unused_table;
  assign set          = {set_q[N-2:0], 25'd0, req_i.pset};
  assign par          = {par_q[N-2:0], req_i.raw, 6'd0, req_i.y_signed, req_i.zy, req_i.lo, req_i.hi};
  assign unused_table = ^{req_i.table_en, req_i.table_slot};
  always_ff @(posedge clk_post_i) begin
    if (req_valid_q != '0) begin
      for (int unsigned c = 0; c < N; c++) biased_q[c] <= acc_q[c] + bias_rdata[c];
      par2_q <= par_q;
    end
    if (req_valid != '0) begin
      set_q <= set;
      par_q <= par;
    end
  end
  always_comb begin
    raw2 = '0;
    if (raw_run_i) begin
      for (int unsigned c = 0; c < N; c++) raw2[c] = req2_q[c] && par2_q[c][31];
    end
  end
  assign requant = req2_q & ~raw2;
  // The tag of the table says when the code is there.
  // verilator lint_off PINCONNECTEMPTY
  oct_requant #(.Lanes(N)) u_requant (
    .clk_i(clk_post_i), .valid_i(requant), .acc_i(biased_q), .mult_i(mult_rdata), .par_i(par2_q), .valid_o(), .code_o(code)
  );
  // verilator lint_on PINCONNECTEMPTY

  // --- raw sums: byte k of column 0 shows in the last stage in u + 9 + k ---
  localparam int unsigned RawStages = 7;
  logic [RawStages-1:0][N-1:0][31:0] raw_q;
  always_ff @(posedge clk_post_i) begin
    if (raw_run_i) begin
      for (int unsigned s = 1; s < RawStages; s++) raw_q[s] <= raw_q[s-1];
      for (int unsigned c = 0; c < N; c++) raw_q[0][c] <= raw2[c] ? biased_q[c] : {8'd0, raw_q[0][c][31:8]};
    end
  end

  // --- table: the byte of a code is its index; a word holds N entries ---
  // A tag's word: {raw, table_en, slot}.
  logic [N-1:0][31:0] tab_tag, tab_tag_q, code_q, looked_up, byte_q;
  assign tab_tag = {tab_tag_q[N-2:0], 28'd0, tab_i.raw, tab_i.table_en, tab_i.slot};
  always_ff @(posedge clk_post_i) begin
    if (tab_valid_q != '0) begin
      for (int unsigned c = 0; c < N; c++) begin
        byte_q[c] <= tab_tag_q[c][3] ? {24'd0, raw_q[RawStages-1][c][7:0]} : (tab_tag_q[c][2] ? looked_up[c] : code_q[c]);
      end
    end
    if (tab_valid != '0) begin
      code_q    <= code;
      tab_tag_q <= tab_tag;
    end
  end

  // --- memories: small ones do not need all address bits ---
  logic unused_scrub;
  assign unused_scrub = ^scrub_i;
  for (genvar c = 0; c < N; c++) begin : g_col
    oct_sram_1r1w #(.Width(32), .Depth(AccDepth)) u_acc (
      .clk_i, .we_i((acc_valid_q[c] && !acc_tag_q[c][12]) || clear_i), .waddr_i(clear_i ? scrub_i[AccW-1:0] : acc_tag_q[c][AccW-1:0]),
      .wdata_i(clear_i ? 32'd0 : acc_d[c]), .re_i(acc_valid[c] && !acc_tag[c][10]), .raddr_i(acc_tag[c][AccW-1:0]), .rdata_o(acc_rdata[c])
    );
    oct_sram_1r1w #(.Width(32), .Depth(PSets)) u_bias (
      .clk_i(clk_post_i), .we_i(set_we_i[c / Quarter] || clear_i), .waddr_i(clear_i ? scrub_i[SetW-1:0] : set_addr_i),
      .wdata_i(clear_i ? 32'd0 : prm_data_i[32*(c % Quarter) +: 32]), .re_i(req_valid[c]), .raddr_i(set[c][SetW-1:0]), .rdata_o(bias_rdata[c])
    );
    oct_sram_1r1w #(.Width(32), .Depth(PSets)) u_mult (
      .clk_i(clk_post_i), .we_i(set_we_i[4 + c / Quarter] || clear_i), .waddr_i(clear_i ? scrub_i[SetW-1:0] : set_addr_i),
      .wdata_i(clear_i ? 32'd0 : prm_data_i[32*(c % Quarter) +: 32]), .re_i(req_valid_q[c]), .raddr_i(set_q[c][SetW-1:0]), .rdata_o(mult_rdata[c])
    );
    logic [8*N-1:0] entries;
    oct_sram_1r1w #(.Width(8*N), .Depth(1024/N)) u_table (
      .clk_i(clk_post_i), .we_i(table_we_i || clear_i), .waddr_i(clear_i ? scrub_i[TabW-1:0] : table_addr_i),
      .wdata_i(clear_i ? (8*N)'(0) : prm_data_i), .re_i(tab_valid[c] && tab_tag[c][2]), .raddr_i({tab_tag[c][1:0], code[c][7:Lg]}),
      .rdata_o(entries)
    );
    assign looked_up[c] = 32'(entries[{code_q[c][Lg-1:0], 3'd0} +: 8]);
  end

  // --- deskewing: column s joins the codes of the columns before it ---
  for (genvar s = 1; s < N; s++) begin : g_skew
    // Above a code its word only has zeros.
    // verilator lint_off UNUSEDSIGNAL
    logic [32*s-1:0] q;  // columns 0 .. s - 1, in the cycle in which column s has its code
    // verilator lint_on UNUSEDSIGNAL
    if (s == 1) begin : g_first
      always_ff @(posedge clk_post_i) q <= byte_q[0];
    end else begin : g_next
      always_ff @(posedge clk_post_i) q <= {byte_q[s-1], g_skew[s-1].q};
    end
  end
  for (genvar c = 0; c < N; c++) begin : g_code
    if (c < N - 1) begin : g_waited
      assign codes_o[8*c +: 8] = g_skew[N-1].q[32*c +: 8];
    end else begin : g_last
      assign codes_o[8*c +: 8] = byte_q[c][7:0];
    end
  end

endmodule
