// The weight ring and its loader (docs/timing.md 7). A beat written is one row of a tile; a tile counts when its last row is in. The
// loader brings the next tile into the array's shadow weights, WeightRows rows per cycle: the first group is read in cycle LS and
// shows on w_o, with group_o, in LS + 1.
module oct_ring #(
  parameter int unsigned N = 16,
  parameter int unsigned WeightRows = 4,
  parameter int unsigned RingTiles = 256,  // a power of two
  localparam int unsigned Groups = N / WeightRows,
  localparam int unsigned TagW = Groups > 1 ? $clog2(Groups) : 1
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      clear_i,
  input  logic                      we_i,       // a row of the tile at the head
  input  logic [8*N-1:0]            data_i,
  input  logic [7:0]                zw_i,       // of the tile
  input  logic                      wsigned_i,
  input  logic                      start_i,    // a tile starts: it takes the shadow weights
  input  logic                      keep_i,     // with start_i: the tile stays in the ring
  input  logic                      rewind_i,   // with start_i: the next tile to load is the oldest in the ring
  output logic                      full_o,     // the shadow weights are loaded
  output logic                      starved_o,  // nothing loaded, nothing loading, nothing to load
  output logic                      free_o,     // N beats become free
  output logic                      group_o,
  output logic [TagW-1:0]           tag_o,
  output logic [7:0]                zw_o,
  output logic                      w_signed_o,
  output logic [8*N*WeightRows-1:0] w_o
);

  localparam int unsigned PtrW = $clog2(RingTiles);
  localparam int unsigned RowW = $clog2(N);
  localparam int unsigned Depth = RingTiles * Groups;
  localparam int unsigned AddrW = $clog2(Depth);

  // Tile pointers carry one bit more than an index: head - tail is the number of tiles held.
  logic [PtrW:0]   head_q, tail_q, load_q, next;
  logic [RowW-1:0] row_q;
  logic            busy_q, full_q, read_q, begin_load, reading, last_group;
  logic [TagW-1:0] count_q, tag, tag_q;
  logic [PtrW-1:0] tile;

  assign next       = (start_i && rewind_i) ? tail_q : load_q;
  assign begin_load = !busy_q && (!full_q || start_i) && (next != head_q);
  assign reading    = begin_load || busy_q;
  assign tag        = busy_q ? count_q : '0;
  assign last_group = reading && (tag == TagW'(Groups - 1));
  assign tile       = busy_q ? load_q[PtrW-1:0] - PtrW'(1) : next[PtrW-1:0];
  assign full_o     = full_q;
  assign starved_o  = !busy_q && !full_q && (load_q == head_q);
  assign free_o     = start_i && !keep_i;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {head_q, tail_q, load_q} <= '0;
      {row_q, count_q, tag_q}  <= '0;
      {busy_q, full_q, read_q} <= '0;
    end else if (clear_i) begin
      {head_q, tail_q, load_q} <= '0;
      {row_q, count_q, tag_q}  <= '0;
      {busy_q, full_q, read_q} <= '0;
    end else begin
      if (we_i) begin
        row_q <= row_q + RowW'(1);
        if (row_q == RowW'(N - 1)) head_q <= head_q + (PtrW + 1)'(1);
      end
      if (free_o) tail_q <= tail_q + (PtrW + 1)'(1);
      load_q <= begin_load ? next + (PtrW + 1)'(1) : next;
      if (reading) begin
        busy_q  <= !last_group;
        count_q <= tag + TagW'(1);
      end
      if (last_group) full_q <= 1'b1;
      else if (start_i) full_q <= 1'b0;
      read_q <= reading;
      tag_q  <= tag;
    end
  end

  // Row k of a group lies in memory k; a group is one word of each.
  logic [AddrW-1:0] waddr, raddr;
  if (Groups > 1) begin : g_addr
    assign waddr = {head_q[PtrW-1:0], row_q[RowW-1 -: TagW]};
    assign raddr = {tile, tag};
  end else begin : g_addr
    assign waddr = head_q[PtrW-1:0];
    assign raddr = tile;
  end
  for (genvar k = 0; k < WeightRows; k++) begin : g_mem
    logic we;
    assign we = we_i && (32'(row_q) % WeightRows == k);
    oct_sram_1r1w #(.Width(8*N), .Depth(Depth)) u_mem (
      .clk_i, .we_i(we), .waddr_i(waddr), .wdata_i(data_i),
      .re_i(reading), .raddr_i(raddr), .rdata_o(w_o[8*N*k +: 8*N])
    );
  end
  oct_sram_1r1w #(.Width(9), .Depth(RingTiles)) u_zero (
    .clk_i, .we_i(we_i && row_q == '0), .waddr_i(head_q[PtrW-1:0]), .wdata_i({wsigned_i, zw_i}),
    .re_i(begin_load), .raddr_i(next[PtrW-1:0]), .rdata_o({w_signed_o, zw_o})
  );

  assign group_o = read_q;
  assign tag_o   = tag_q;

`include "oct_assert.svh"
  `OCT_ASSERT(StartNeedsTile, !start_i || full_q, clk_i, rst_ni)
  `OCT_ASSERT(NoOverrun, !we_i || (head_q - tail_q) < (PtrW + 1)'(RingTiles), clk_i, rst_ni)

endmodule
