// The systolic array: N x N processing elements, weights stationary. Zero points are subtracted at the edges (N1: nothing is folded
// into the bias; padding contributes 0). A vector (code of row r in byte r) given with valid_i in cycle t enters column 0 of row r in
// t + 1 + r; column c's sum leaves in t + 1 + N + c. swap_i with a tile's first vector takes the shadow weights into use right behind the
// previous tile's last vector. A weight group (row lane k, column c in byte kN + c) given with group_i drops down the columns, column c
// skewed by c cycles, to the rows of group tag_i.
module oct_array #(
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

  // Everything that moves diagonally reaches element (r, c) r + c cycles after element (0, 0): one shift register, whose bit d belongs to
  // diagonal d, tells all rows what passes them.
  localparam int unsigned Diagonals = 2 * N - 1;
  localparam int unsigned OpW = oct_exe_pkg::OpW;
  localparam int unsigned DropW = oct_exe_pkg::DropW;
  typedef logic [Diagonals-1:0] wave_t;
  wave_t              valid_q;  // vectors
  wave_t              swap;     // the first vector of a tile comes in the next cycle
  logic [Diagonals-2:0] swap_q;
  wave_t [Groups-1:0] group_q;  // weight groups, by number
  wave_t [Groups-1:0] pass;     // this group or one for a lower row
  assign swap = {swap_q, swap_i};
  always_comb begin
    pass = group_q;
    for (int unsigned g = 1; g < Groups; g++) pass[Groups-1-g] = pass[Groups-1-g] | pass[Groups-g];
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q <= '0;
      swap_q  <= '0;
      group_q <= '0;
    end else if (clear_i) begin
      valid_q <= '0;
      swap_q  <= '0;
      group_q <= '0;
    end else begin
      valid_q <= {valid_q[Diagonals-2:0], valid_i};
      swap_q  <= swap[Diagonals-2:0];
      for (int unsigned g = 0; g < Groups; g++) group_q[g] <= {group_q[g][Diagonals-2:0], group_i && tag_i == TagW'(g)};
    end
  end

  // The skew registers of x move while a vector can be among them, those of w while a group can be.
  logic x_run, w_run;
  assign x_run = valid_q[N-1:0] != '0;
  assign w_run = pass[0][N-1:0] != '0;

  logic signed [8:0] zx, zw;
  assign zx = oct_exe_pkg::code9(zx_i, x_signed_i);
  assign zw = oct_exe_pkg::code9(zw_i, w_signed_i);

  // Weights: one column later from column to column.
  typedef logic [WeightRows-1:0][DropW-1:0] drop_t;
  drop_t [N-1:0] w_top;
  for (genvar c = 0; c < N; c++) begin : g_col
    logic [WeightRows*DropW-1:0] w_q;
    always_ff @(posedge clk_i) begin
      if (group_i) begin
        for (int unsigned k = 0; k < WeightRows; k++) w_q[k*DropW +: DropW] <= DropW'(oct_exe_pkg::operand(w_i[8*(k*N + c) +: 8], w_signed_i, zw));
      end
    end
    oct_delay #(.Width(WeightRows * DropW), .Depth(c)) u_skew (.clk_i, .en_i(w_run), .d_i(w_q), .d_o(w_top[c]));
  end

  for (genvar r = 0; r < N; r++) begin : g_row
    logic signed [8:0] x_q, x_edge;
    always_ff @(posedge clk_i) begin
      if (valid_i) x_q <= pad_i ? 9'sd0 : oct_exe_pkg::operand(x_i[8*r +: 8], x_signed_i, zx);
    end
    oct_delay #(.Width(9), .Depth(r)) u_skew (.clk_i, .en_i(x_run), .d_i(x_q), .d_o(x_edge));

    // The last row's weights lead nowhere.
    // verilator lint_off UNUSEDSIGNAL
    logic [32*N-1:0]               psum_in, psum;
    logic [N*WeightRows*DropW-1:0] w_in, w;
    // verilator lint_on UNUSEDSIGNAL
    if (r == 0) begin : g_edge
      assign psum_in = '0;
      assign w_in    = w_top;
    end else begin : g_chain
      assign psum_in = g_row[r-1].psum;
      assign w_in    = g_row[r-1].w;
    end
    logic run, wrun;
    assign run  = valid_q[r +: N] != '0;
    assign wrun = (swap[r +: N] | pass[r / WeightRows][r +: N]) != '0;
    oct_row #(.N(N), .WeightRows(WeightRows), .Lane(r % WeightRows)) u_row (
      .clk_i, .run_i(run), .x_i(OpW'(x_edge)), .psum_i(psum_in), .psum_o(psum),
      .wrun_i(wrun), .take_i(group_q[r/WeightRows][r +: N]), .swap_i(swap[r +: N]), .w_i(w_in), .w_o(w)
    );
  end
  assign sum_o = g_row[N-1].psum;

endmodule
