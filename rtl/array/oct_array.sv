// The systolic array: N x N processing elements, weights stationary. Zero points are subtracted at the edges (N1: nothing is folded
// into the bias; padding contributes 0). A vector (code of row r in byte r) given with valid_i in cycle t enters column 0 of row r in
// t + 1 + r; column c's sum leaves in t + 1 + N + c. swap_i with a tile's first vector takes the shadow weights into use right behind the
// previous tile's last vector. A weight group (row lane k, column c in byte kN + c) given with group_i drops down the columns, column c
// skewed by c cycles, to the rows of group tag_i.
module oct_array #(
  parameter int unsigned N = 16,
  parameter int unsigned WeightRows = 4,
  // Bits that hold an operand, a 9-bit number, in an element; more than 9 repeat the sign. With 32, a simulator works on whole words,
  // on a row of elements at once.
  parameter int unsigned OpW = 9,
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
  localparam int unsigned DropW = OpW < 16 ? OpW : 16;  // weights on their way down
  typedef logic [Diagonals-1:0] wave_t;
  wave_t              swap;     // the first vector of a tile comes in the next cycle
  logic [Diagonals-2:0] swap_q;
  wave_t [Groups-1:0] group_q;  // weight groups, by number
  wave_t [Groups-1:0] pass;     // this group or one for a lower row
  assign swap = {swap_q, swap_i};
  always_comb begin
    pass = group_q;
    for (int unsigned g = 1; g < Groups; g++) pass[Groups-1-g] = pass[Groups-1-g] | pass[Groups-g];
  end

  // Both kinds of traffic have a clock of their own, which runs while a vector, or a group or a swap, can be in the array. What stands
  // still is never used.
  logic clk_x, clk_w;
  oct_sleep #(.Hold(2 * N)) u_x_sleep (.clk_i, .rst_ni, .wake_i(valid_i), .clk_o(clk_x));
  oct_sleep #(.Hold(2 * N)) u_w_sleep (.clk_i, .rst_ni, .wake_i(group_i || swap_i || clear_i), .clk_o(clk_w));

  always_ff @(posedge clk_w or negedge rst_ni) begin
    if (!rst_ni) begin
      swap_q  <= '0;
      group_q <= '0;
    end else if (clear_i) begin
      swap_q  <= '0;
      group_q <= '0;
    end else begin
      swap_q  <= swap[Diagonals-2:0];
      for (int unsigned g = 0; g < Groups; g++) group_q[g] <= {group_q[g][Diagonals-2:0], group_i && tag_i == TagW'(g)};
    end
  end

  logic signed [8:0] zw;
  assign zw = oct_exe_pkg::code9(zw_i, w_signed_i);

  // Weights: one column later from column to column. Stage s holds those of columns s .. N - 1.
  localparam int unsigned GroupW = WeightRows * DropW;
  logic [N*GroupW-1:0] w_top;
  for (genvar s = 0; s < N; s++) begin : g_w_skew
    // verilator lint_off UNUSEDSIGNAL
    logic [N*GroupW-1:0] w_q;  // columns before s are not looked at any more
    // verilator lint_on UNUSEDSIGNAL
    if (s == 0) begin : g_edge
      always_ff @(posedge clk_w) begin
        if (group_i) begin
          for (int unsigned c = 0; c < N; c++) begin
            for (int unsigned k = 0; k < WeightRows; k++) begin
              w_q[(c*WeightRows + k)*DropW +: DropW] <= DropW'(oct_exe_pkg::operand(w_i[8*(k*N + c) +: 8], w_signed_i, zw));
            end
          end
        end
      end
    end else begin : g_next
      always_ff @(posedge clk_w) w_q <= g_w_skew[s-1].w_q;
    end
    assign w_top[s*GroupW +: GroupW] = w_q[s*GroupW +: GroupW];
  end

  // Vectors: row r's code and what belongs to it wait r cycles; the zero point is subtracted on the way into the row.
  for (genvar r = 0; r < N; r++) begin : g_row
    // verilator lint_off UNUSEDSIGNAL
    logic [8*N-1:0]    x_in;  // rows before r are not looked at any more
    // verilator lint_on UNUSEDSIGNAL
    logic              pad_in, x_signed_in;
    logic [7:0]        zx_in;
    logic signed [8:0] x_edge;
    if (r == 0) begin : g_x_edge
      assign {x_in, pad_in, x_signed_in, zx_in} = {x_i, pad_i, x_signed_i, zx_i};
    end else begin : g_x_skew
      always_ff @(posedge clk_x) begin
        x_in        <= g_row[r-1].x_in;
        pad_in      <= g_row[r-1].pad_in;
        x_signed_in <= g_row[r-1].x_signed_in;
        zx_in       <= g_row[r-1].zx_in;
      end
    end
    assign x_edge = pad_in ? 9'sd0 : oct_exe_pkg::operand(x_in[8*r +: 8], x_signed_in, oct_exe_pkg::code9(zx_in, x_signed_in));

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
    logic wrun;
    assign wrun = (swap[r +: N] | pass[r / WeightRows][r +: N]) != '0;
    oct_row #(.N(N), .WeightRows(WeightRows), .Lane(r % WeightRows), .OpW(OpW), .DropW(DropW)) u_row (
      .clk_x_i(clk_x), .x_i(OpW'(x_edge)), .psum_i(psum_in), .psum_o(psum),
      .clk_w_i(clk_w), .wrun_i(wrun), .take_i(group_q[r/WeightRows][r +: N]), .swap_i(swap[r +: N]), .w_i(w_in), .w_o(w)
    );
  end
  assign sum_o = g_row[N-1].psum;

endmodule
