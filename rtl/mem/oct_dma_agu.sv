// Walks a transfer of n2 x n1 x n0 beats burst by burst: the beats of a row, cut at every multiple of 256 bytes of the region
// offset (timing.md section 4). Loads of one long row use n1 = n2 = 1.
module oct_dma_agu #(
  parameter int unsigned N      = 16,
  parameter int unsigned N0Bits = 16
) (
  input  logic              clk_i,
  input  logic              rst_ni,
  input  logic              clear_i,
  input  logic              start_i,     // take the transfer below; only while not active
  input  logic [31:0]       offset_i,    // bytes, a multiple of N
  input  logic [31:0]       mem_stride1_i,
  input  logic [31:0]       mem_stride2_i,
  input  logic [N0Bits-1:0] n0_i,
  input  logic [15:0]       n1_i,
  input  logic [15:0]       n2_i,
  input  logic [15:0]       buf_addr_i,
  input  logic [15:0]       buf_row0_i,
  input  logic [15:0]       buf_stride1_i,
  input  logic [15:0]       buf_wrap_i,
  input  logic [15:0]       buf_stride2_i,
  // Current burst.
  output logic              active_o,
  output logic [31:0]       burst_offset_o,
  output logic [6:0]        burst_beats_o,
  output logic [15:0]       burst_addr_o,  // buffer address of its first beat
  output logic              burst_last_o,  // last burst of the transfer
  input  logic              next_i         // go to the next burst
);

  localparam int unsigned BurstBeats = octile_isa_pkg::BurstBytes / N;
  localparam int unsigned ByteBits   = $clog2(N);

  logic              active_q;
  logic [31:0]       offset_q, row_offset_q, plane_offset_q, mem_stride1_q, mem_stride2_q;
  logic [N0Bits-1:0] n0_q, left_q;          // beats of a row; those of this row not yet passed
  logic [15:0]       n1_q, rows_q, planes_q;  // rows and planes left, this one included
  logic [15:0]       addr_q, plane_addr_q, pointer_q, row0_q, buf_stride1_q, buf_wrap_q, buf_stride2_q;

  // Beats up to the next multiple of 256 bytes.
  logic [6:0] room;
  logic       row_ends;
  assign room           = 7'(BurstBeats) - 7'(offset_q[7:ByteBits]);
  assign row_ends       = left_q <= N0Bits'(room);
  assign burst_beats_o  = row_ends ? 7'(left_q) : room;
  assign burst_offset_o = offset_q;
  assign burst_addr_o   = addr_q;
  assign burst_last_o   = row_ends && rows_q == 16'd1 && planes_q == 16'd1;
  assign active_o       = active_q;

  // Row pointer of the next row: one subtraction when the sum reaches the circular length.
  logic [16:0] sum;
  logic [15:0] pointer_d;
  assign sum       = 17'(pointer_q) + 17'(buf_stride1_q);
  assign pointer_d = buf_wrap_q != '0 && sum >= 17'(buf_wrap_q) ? 16'(sum - 17'(buf_wrap_q)) : 16'(sum);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) active_q <= 1'b0;
    else if (clear_i) active_q <= 1'b0;
    else if (start_i) active_q <= 1'b1;
    else if (next_i && burst_last_o) active_q <= 1'b0;
  end

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      offset_q       <= offset_i;
      row_offset_q   <= offset_i;
      plane_offset_q <= offset_i;
      mem_stride1_q  <= mem_stride1_i;
      mem_stride2_q  <= mem_stride2_i;
      n0_q           <= n0_i;
      left_q         <= n0_i;
      n1_q           <= n1_i;
      rows_q         <= n1_i;
      planes_q       <= n2_i;
      addr_q         <= buf_addr_i + buf_row0_i;
      plane_addr_q   <= buf_addr_i;
      pointer_q      <= buf_row0_i;
      row0_q         <= buf_row0_i;
      buf_stride1_q  <= buf_stride1_i;
      buf_wrap_q     <= buf_wrap_i;
      buf_stride2_q  <= buf_stride2_i;
    end else if (next_i) begin
      if (!row_ends) begin
        offset_q <= offset_q + (32'(room) << ByteBits);
        left_q   <= left_q - N0Bits'(room);
        addr_q   <= addr_q + 16'(room);
      end else begin
        left_q <= n0_q;
        if (rows_q != 16'd1) begin
          offset_q     <= row_offset_q + mem_stride1_q;
          row_offset_q <= row_offset_q + mem_stride1_q;
          rows_q       <= rows_q - 16'd1;
          addr_q       <= plane_addr_q + pointer_d;
          pointer_q    <= pointer_d;
        end else begin
          offset_q       <= plane_offset_q + mem_stride2_q;
          row_offset_q   <= plane_offset_q + mem_stride2_q;
          plane_offset_q <= plane_offset_q + mem_stride2_q;
          rows_q         <= n1_q;
          planes_q       <= planes_q - 16'd1;
          addr_q         <= plane_addr_q + buf_stride2_q + row0_q;
          plane_addr_q   <= plane_addr_q + buf_stride2_q;
          pointer_q      <= row0_q;
        end
      end
    end
  end

endmodule
