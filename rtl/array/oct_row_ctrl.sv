// Control of one row of the array: four bits enter at column 0, move one column right per cycle beside the data and, from column 0,
// one row down per cycle.
module oct_row_ctrl #(
  parameter int unsigned N = 16,
  parameter int unsigned Groups = 4,   // weight groups of a tile
  parameter int unsigned Group = 0,    // the group this row belongs to
  parameter bit Last = 1'b0,           // last row of its group: the group goes no further
  localparam int unsigned TagW = Groups > 1 ? $clog2(Groups) : 1
) (
  input  logic            clk_i,
  input  logic            rst_ni,
  input  logic            clear_i,
  input  logic            valid_i,  // a vector enters column 0
  input  logic            swap_i,   // first vector of a tile enters column 0 in the next cycle
  input  logic            group_i,  // a weight group enters column 0
  input  logic [TagW-1:0] tag_i,    // its number
  output logic            valid_o,  // to the next row
  output logic            swap_o,
  output logic            group_o,
  output logic [TagW-1:0] tag_o,
  output logic            run_o,    // some column holds a vector
  output logic            wrun_o,   // some column holds a weight group or a swap
  output logic [N-1:0]    take_o,   // per column
  output logic [N-1:0]    swap_col_o
);

  logic [N-1:1] valid_q, swap_q, take_q, group_q;
  logic [N-1:0] valid_d, swap_d, take_d, group_d;
  logic         mine;

  assign mine    = group_i && (tag_i == TagW'(Group));
  assign valid_d = {valid_q, valid_i};
  assign swap_d  = {swap_q, swap_i};
  assign take_d  = {take_q, mine};
  assign group_d = {group_q, group_i};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {valid_q, swap_q, take_q, group_q} <= '0;
      {valid_o, swap_o, group_o}         <= '0;
      tag_o                              <= '0;
    end else if (clear_i) begin
      {valid_q, swap_q, take_q, group_q} <= '0;
      {valid_o, swap_o, group_o}         <= '0;
      tag_o                              <= '0;
    end else begin
      valid_q <= valid_d[N-2:0];
      swap_q  <= swap_d[N-2:0];
      take_q  <= take_d[N-2:0];
      group_q <= group_d[N-2:0];
      valid_o <= valid_i;
      swap_o  <= swap_i;
      group_o <= group_i && !(Last && mine);
      tag_o   <= tag_i;
    end
  end

  assign run_o      = |valid_d;
  assign wrun_o     = |{swap_d, group_d};
  assign take_o     = take_d;
  assign swap_col_o = swap_d;

endmodule
