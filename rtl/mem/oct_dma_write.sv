// The write channel (timing.md section 5): reads bursts of an STA from the activation buffer into two staging slots, and
// writes full slots to memory.
`include "oct_assert.svh"

module oct_dma_write #(
  parameter int unsigned N           = 16,
  parameter int unsigned Banks       = 24,
  parameter int unsigned BankDepth   = 1024,
  parameter int unsigned WriteBursts = 8
) (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         clear_i,
  input  logic         run_i,          // 0: no read phase, no write pick
  // Regions.
  input  logic [8*64-1:0] region_base_i,
  input  logic [8*32-1:0] region_limit_i,
  input  logic [8*3-1:0]  region_perm_i,
  // Command.
  input  logic         issue_i,
  input  logic [511:0] instr_i,
  input  logic [oct_ctrl_pkg::IndexBits-1:0] index_i,
  output logic         active_o,
  output logic         reading_o,      // in a read phase
  output logic         done_o,
  // Activation buffer.
  output logic         buf_re_o,
  output logic [15:0]  buf_addr_o,
  input  logic [8*N-1:0] buf_data_i,   // one cycle after re
  // Counters.
  output logic         picked_o,
  output logic [8:0]   picked_bytes_o,
  // Faults.
  output logic         region_fault_o,
  output logic [oct_ctrl_pkg::IndexBits-1:0] region_index_o,
  output logic [31:0]  region_offset_o,
  output logic         claim_fault_o,
  output logic [15:0]  claim_addr_o,
  output logic [oct_ctrl_pkg::IndexBits-1:0] claim_index_o,
  output logic         bus_fault_o,
  output logic [63:0]  bus_addr_o,
  output logic [oct_ctrl_pkg::IndexBits-1:0] bus_index_o,
  // Progress.
  output logic         beat_o,         // a beat is accepted
  output logic         response_o,     // a response is received
  output logic         idle_o,         // nothing on the bus, no response awaited
  output logic         slots_free_o,   // no staging slot in use
  // AXI4 write channels.
  output logic [39:0]  awaddr_o,
  output logic [7:0]   awlen_o,
  output logic         awvalid_o,
  input  logic         awready_i,
  output logic [8*N-1:0] wdata_o,
  output logic         wlast_o,
  output logic         wvalid_o,
  input  logic         wready_i,
  input  logic [1:0]   bresp_i,
  input  logic         bvalid_i
);

  localparam int unsigned IndexBits  = oct_ctrl_pkg::IndexBits;
  localparam int unsigned ByteBits   = $clog2(N);
  localparam int unsigned BurstBeats = octile_isa_pkg::BurstBytes / N;
  localparam int unsigned BeatBits   = $clog2(BurstBeats);
  localparam int unsigned OutBits    = $clog2(WriteBursts + 1);
  localparam int unsigned PtrBits    = WriteBursts > 1 ? $clog2(WriteBursts) : 1;
  localparam int unsigned BankBits   = $clog2(BankDepth);

  octile_isa_pkg::sta_t sta;
  assign sta = instr_i;

  // The STA in the unit.
  logic [IndexBits-1:0] index_q;
  logic [2:0]  region_q;
  logic [4:0]  bank_q, banks_q;
  logic        walking, burst_last, start;
  logic [31:0] burst_offset;
  logic [6:0]  burst_beats;
  logic [15:0] burst_addr;
  always_ff @(posedge clk_i) begin
    if (issue_i) begin
      index_q  <= index_i;
      region_q <= sta.region;
      bank_q   <= sta.buf_bank;
      banks_q  <= sta.buf_banks;
    end
  end
  oct_dma_agu #(.N(N), .N0Bits(16)) u_agu (
    .clk_i, .rst_ni, .clear_i, .start_i(issue_i), .offset_i(sta.offset), .mem_stride1_i(sta.mem_stride1),
    .mem_stride2_i(sta.mem_stride2), .n0_i(sta.n0), .n1_i(sta.n1), .n2_i(sta.n2), .buf_addr_i(sta.buf_addr),
    .buf_row0_i(sta.buf_row0), .buf_stride1_i(sta.buf_stride1), .buf_wrap_i(sta.buf_wrap),
    .buf_stride2_i(sta.buf_stride2), .active_o(walking), .burst_offset_o(burst_offset), .burst_beats_o(burst_beats),
    .burst_addr_o(burst_addr), .burst_last_o(burst_last), .next_i(start)
  );

  // Read phases. fill_q: the slot the next one fills; taken_q: slots taken, full_q: slots that may be written.
  logic [1:0]  taken_q, full_q;
  logic        fill_q, fill_now_q;
  logic [6:0]  left_q;          // reads of the phase left after this cycle's predecessor; 0: no phase
  logic [6:0]  beat_q;          // number of the next read of the phase
  logic [15:0] addr_q;
  logic        try_start, region_ok, read_now;
  logic [63:0] burst_bus;
  assign try_start = run_i && walking && left_q == '0 && !taken_q[fill_q];
  oct_region u_region (
    .valid_i(try_start), .region_i(region_q), .offset_i(burst_offset), .bytes_i(9'(burst_beats) << ByteBits),
    .need_i(3'b010), .base_i(region_base_i), .limit_i(region_limit_i), .perm_i(region_perm_i),
    .ok_o(region_ok), .address_o(burst_bus)
  );
  assign start           = try_start && region_ok;
  assign read_now        = start || left_q != '0;
  assign active_o        = walking || left_q != '0;
  assign reading_o       = try_start || left_q != '0;
  assign region_fault_o  = try_start && !region_ok;
  assign region_index_o  = index_q;
  assign region_offset_o = burst_offset;

  // Burst of a slot.
  logic [63:0]          slot_bus_q   [2];
  logic [6:0]           slot_beats_q [2];
  logic                 slot_last_q  [2];
  logic [IndexBits-1:0] slot_index_q [2];
  always_ff @(posedge clk_i) begin
    if (start) begin
      slot_bus_q[fill_q]   <= burst_bus;
      slot_beats_q[fill_q] <= burst_beats;
      slot_last_q[fill_q]  <= burst_last;
      slot_index_q[fill_q] <= index_q;
      fill_now_q           <= fill_q;
      addr_q               <= burst_addr + 16'd1;
      beat_q               <= 7'd1;
    end else if (left_q != '0) begin
      addr_q <= addr_q + 16'd1;
      beat_q <= beat_q + 7'd1;
    end
  end

  // Stage 1 (read cycle + 1): address at the buffer, claim check. Stage 2: data into the slot.
  logic                read1_q, read2_q, slot1_q, slot2_q, end1_q, end2_q;
  logic [15:0]         addr1_q;
  logic [4:0]          bank1_q, banks1_q;
  logic [IndexBits-1:0] index1_q;
  logic [BeatBits-1:0] beat1_q, beat2_q;
  logic [15:0]         bank1;
  logic                in_claim1;
  assign bank1         = addr1_q >> BankBits;
  assign in_claim1       = bank1 >= 16'(bank1_q) && bank1 <= 16'(bank1_q) + 16'(banks1_q) && bank1 < 16'(Banks);
  assign buf_re_o      = read1_q && in_claim1;
  assign buf_addr_o    = addr1_q;
  assign claim_fault_o = read1_q && !in_claim1;
  assign claim_addr_o  = addr1_q;
  assign claim_index_o = index1_q;
  always_ff @(posedge clk_i) begin
    if (read_now) begin
      addr1_q  <= start ? burst_addr : addr_q;
      beat1_q  <= start ? '0 : BeatBits'(beat_q);
      slot1_q  <= start ? fill_q : fill_now_q;
      end1_q   <= start ? burst_beats == 7'd1 : left_q == 7'd1;
      bank1_q  <= bank_q;
      banks1_q <= banks_q;
      index1_q <= index_q;
    end
    if (read1_q) begin
      beat2_q <= beat1_q;
      slot2_q <= slot1_q;
      end2_q  <= end1_q;
    end
  end

  logic [8*N-1:0] slot_q [2*BurstBeats];
  always_ff @(posedge clk_i) begin
    if (read2_q) slot_q[{slot2_q, beat2_q}] <= buf_data_i;
  end

  // Write bursts. drain_q: the slot to write next; send_q: the one being written.
  logic                drain_q, send_q, pick, burst_ends;
  logic [BeatBits-1:0] sent_q;
  logic [OutBits-1:0]  outstanding_q;
  logic                in_progress;
  assign in_progress    = awvalid_o || wvalid_o;
  assign burst_ends     = in_progress && (!awvalid_o || awready_i) && (!wvalid_o || (wready_i && wlast_o));
  assign pick           = run_i && full_q[drain_q] && (!in_progress || burst_ends) &&
                          outstanding_q < OutBits'(WriteBursts);
  assign picked_o       = pick;
  assign picked_bytes_o = 9'(slot_beats_q[drain_q]) << ByteBits;
  assign wdata_o        = slot_q[{send_q, sent_q}];
  assign wlast_o        = 8'(sent_q) == awlen_o;
  assign beat_o         = wvalid_o && wready_i;
  assign response_o     = bvalid_i;
  assign idle_o         = !in_progress && outstanding_q == '0;
  assign slots_free_o   = taken_q == '0;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      awvalid_o <= 1'b0;
      wvalid_o  <= 1'b0;
      sent_q    <= '0;
    end else begin
      if (pick) begin
        awvalid_o <= 1'b1;
        wvalid_o  <= 1'b1;
        sent_q    <= '0;
      end else begin
        if (awready_i) awvalid_o <= 1'b0;
        if (wready_i && wvalid_o) begin
          sent_q <= sent_q + BeatBits'(1);
          if (wlast_o) wvalid_o <= 1'b0;
        end
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (pick) begin
      awaddr_o <= slot_bus_q[drain_q][39:0];
      awlen_o  <= 8'(slot_beats_q[drain_q]) - 8'd1;
      send_q   <= drain_q;
    end
  end

  // State of the slots and the phases.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      taken_q <= '0;
      full_q  <= '0;
      fill_q  <= 1'b0;
      drain_q <= 1'b0;
      left_q  <= '0;
      read1_q <= 1'b0;
      read2_q <= 1'b0;
    end else if (clear_i) begin
      taken_q <= '0;
      full_q  <= '0;
      fill_q  <= 1'b0;
      drain_q <= 1'b0;
      left_q  <= '0;
      read1_q <= 1'b0;
      read2_q <= 1'b0;
    end else begin
      if (start) begin
        left_q          <= burst_beats - 7'd1;
        fill_q          <= !fill_q;
        taken_q[fill_q] <= 1'b1;
      end else if (left_q != '0) begin
        left_q <= left_q - 7'd1;
      end
      read1_q <= read_now;
      read2_q <= read1_q;
      if (read2_q && end2_q) full_q[slot2_q] <= 1'b1;
      if (burst_ends) taken_q[send_q] <= 1'b0;
      if (pick) begin
        full_q[drain_q] <= 1'b0;
        drain_q         <= !drain_q;
      end
    end
  end

  // Bursts whose response is awaited, in order.
  logic [63:0]          out_bus_q   [WriteBursts];
  logic                 out_last_q  [WriteBursts];
  logic [IndexBits-1:0] out_index_q [WriteBursts];
  logic [PtrBits-1:0]   out_write_q, out_read_q;
  logic                 done_q, error_q;
  logic [63:0]          bus_q;
  logic [IndexBits-1:0] bus_index_q;
  assign done_o      = done_q;
  assign bus_fault_o = error_q;
  assign bus_addr_o  = bus_q;
  assign bus_index_o = bus_index_q;

  function automatic logic [PtrBits-1:0] bump(input logic [PtrBits-1:0] pointer);
    bump = pointer == PtrBits'(WriteBursts - 1) ? '0 : pointer + PtrBits'(1);
  endfunction

  always_ff @(posedge clk_i) begin
    if (pick) begin
      out_bus_q[out_write_q]   <= slot_bus_q[drain_q];
      out_last_q[out_write_q]  <= slot_last_q[drain_q];
      out_index_q[out_write_q] <= slot_index_q[drain_q];
    end
    if (bvalid_i && bresp_i[1]) begin
      bus_q       <= out_bus_q[out_read_q];
      bus_index_q <= out_index_q[out_read_q];
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      outstanding_q <= '0;
      out_write_q   <= '0;
      out_read_q    <= '0;
      done_q        <= 1'b0;
      error_q       <= 1'b0;
    end else if (clear_i) begin
      outstanding_q <= '0;
      out_write_q   <= '0;
      out_read_q    <= '0;
      done_q        <= 1'b0;
      error_q       <= 1'b0;
    end else begin
      if (pick != bvalid_i) outstanding_q <= pick ? outstanding_q + OutBits'(1) : outstanding_q - OutBits'(1);
      if (pick) out_write_q <= bump(out_write_q);
      if (bvalid_i) out_read_q <= bump(out_read_q);
      done_q  <= bvalid_i && out_last_q[out_read_q];
      error_q <= bvalid_i && bresp_i[1];
    end
  end

  `OCT_ASSERT(ResponseOnlyWhenAwaited, !(bvalid_i && outstanding_q == '0), clk_i, rst_ni)
  `OCT_ASSERT(IssueOnlyWhenReady, !(issue_i && active_o), clk_i, rst_ni)
  `OCT_ASSERT(FullSlotsAreTaken, (full_q & ~taken_q) == '0, clk_i, rst_ni)

endmodule
