// The systolic array: N x N processing elements, weights stationary. Zero points are subtracted at the edges (N1: nothing is folded
// into the bias; padding contributes 0). A vector (code of row r in byte r) given with valid_i in cycle t enters column 0 of row r in
// t + 1 + r; column c's sum leaves in t + 1 + N + c. swap_i with a tile's first vector takes the shadow weights into use right behind the
// previous tile's last vector. A weight group (row lane k, column c in byte kN + c) given with group_i drops down the columns, column c
// skewed by c cycles, to the rows of group tag_i.
module oct_array
  import oct_exe_pkg::*;
#(
  parameter int unsigned N = 16,
  parameter int unsigned WeightRows = 4,
  localparam int unsigned Groups = N / WeightRows,
  localparam int unsigned TagW = Groups > 1 ? $clog2(Groups) : 1
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      clear_i,
  input  logic                      valid_i,
  input  logic                      swap_i,
  input  logic                      pad_i,
  input  logic                      x_signed_i,
  input  logic [7:0]                zx_i,
  input  logic [8*N-1:0]            x_i,
  input  logic                      group_i,
  input  logic [TagW-1:0]           tag_i,
  input  logic                      w_signed_i,
  input  logic [7:0]                zw_i,
  input  logic [8*N*WeightRows-1:0] w_i,
  output logic [32*N-1:0]           sum_o
);

  // The skew registers of x move while a vector can be among them, those of w while a group can be.
  logic [N-1:0]    valid_q, group_q;
  logic [TagW-1:0] tag_q;
  logic            x_run, w_run;
  assign x_run = valid_q != '0;
  assign w_run = group_q != '0;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {valid_q, group_q} <= '0;
      tag_q              <= '0;
    end else if (clear_i) begin
      {valid_q, group_q} <= '0;
      tag_q              <= '0;
    end else begin
      valid_q <= {valid_q[N-2:0], valid_i};
      group_q <= {group_q[N-2:0], group_i};
      tag_q   <= tag_i;
    end
  end

  logic signed [8:0] zx, zw;
  assign zx = code9(zx_i, x_signed_i);
  assign zw = code9(zw_i, w_signed_i);

  // Weights: one column later from column to column.
  typedef logic [WeightRows-1:0][DropW-1:0] drop_t;
  drop_t [N-1:0] w_top;
  for (genvar c = 0; c < N; c++) begin : g_col
    drop_t w_q;
    always_ff @(posedge clk_i) begin
      if (group_i) begin
        for (int unsigned k = 0; k < WeightRows; k++) w_q[k] <= DropW'(operand(w_i[8*(k*N + c) +: 8], w_signed_i, zw));
      end
    end
    oct_delay #(.Width($bits(drop_t)), .Depth(c)) u_skew (.clk_i, .en_i(w_run), .d_i(w_q), .d_o(w_top[c]));
  end

  for (genvar r = 0; r < N; r++) begin : g_row
    logic signed [8:0] x_q, x_edge;
    always_ff @(posedge clk_i) begin
      if (valid_i) x_q <= pad_i ? 9'sd0 : operand(x_i[8*r +: 8], x_signed_i, zx);
    end
    oct_delay #(.Width(9), .Depth(r)) u_skew (.clk_i, .en_i(x_run), .d_i(x_q), .d_o(x_edge));

    // The last row's outputs lead nowhere, except the sums.
    // verilator lint_off UNUSEDSIGNAL
    logic               valid_in, swap_in, group_in, valid, swap, group, run, wrun;
    logic [TagW-1:0]    tag_in, tag;
    logic [N-1:0]       take_col, swap_col;
    logic [N-1:0][31:0] psum_in, psum;
    drop_t [N-1:0]      w_in, w;
    // verilator lint_on UNUSEDSIGNAL
    if (r == 0) begin : g_edge
      assign {valid_in, swap_in, group_in} = {valid_q[0], swap_i, group_q[0]};
      assign tag_in  = tag_q;
      assign psum_in = '0;
      assign w_in    = w_top;
    end else begin : g_chain
      assign {valid_in, swap_in, group_in} = {g_row[r-1].valid, g_row[r-1].swap, g_row[r-1].group};
      assign tag_in  = g_row[r-1].tag;
      assign psum_in = g_row[r-1].psum;
      assign w_in    = g_row[r-1].w;
    end
    oct_row_ctrl #(
      .N(N), .Groups(Groups), .Group(r / WeightRows), .Last(r % WeightRows == WeightRows - 1)
    ) u_ctrl (
      .clk_i, .rst_ni, .clear_i,
      .valid_i(valid_in), .swap_i(swap_in), .group_i(group_in), .tag_i(tag_in),
      .valid_o(valid), .swap_o(swap), .group_o(group), .tag_o(tag),
      .run_o(run), .wrun_o(wrun), .take_o(take_col), .swap_col_o(swap_col)
    );
    oct_row #(.N(N), .WeightRows(WeightRows), .Lane(r % WeightRows)) u_row (
      .clk_i, .run_i(run), .x_i(OpW'(x_edge)), .psum_i(psum_in), .psum_o(psum),
      .wrun_i(wrun), .take_i(take_col), .swap_i(swap_col), .w_i(w_in), .w_o(w)
    );
  end
  assign sum_o = g_row[N-1].psum;

endmodule
