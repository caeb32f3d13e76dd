// The read channel (timing.md section 4): four clients in fixed priority, one address phase, bursts outstanding in order, one
// delivery stage. FETCH brings its own bursts; the loads PRM, WGT and ACT are walked here.
`include "oct_assert.svh"

module oct_dma_read #(
  parameter int unsigned N          = 16,
  parameter int unsigned RingTiles  = 256,
  parameter int unsigned Banks      = 24,
  parameter int unsigned BankDepth  = 1024,
  parameter int unsigned ReadBursts = 32
) (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         clear_i,
  input  logic         run_i,            // 0: no picks
  // Regions.
  input  logic [8*64-1:0] region_base_i,
  input  logic [8*32-1:0] region_limit_i,
  input  logic [8*3-1:0]  region_perm_i,
  // FETCH.
  input  logic         fetch_eligible_i,
  input  logic [2:0]   fetch_region_i,
  input  logic [31:0]  fetch_offset_i,
  input  logic [6:0]   fetch_beats_i,
  input  logic [oct_ctrl_pkg::IndexBits-1:0] fetch_index_i,
  output logic         fetch_pick_o,
  output logic         fetch_beat_o,     // a delivered beat, data on beat_data_o
  // Loads: 0 PRM, 1 WGT, 2 ACT.
  input  logic [2:0]   issue_i,
  input  logic [511:0] prm_instr_i,
  input  logic [511:0] wgt_instr_i,
  input  logic [511:0] act_instr_i,
  input  logic [2:0][oct_ctrl_pkg::IndexBits-1:0] index_i,
  output logic [2:0]   active_o,
  output logic [2:0]   done_o,
  output logic [2:0]   space_o,          // active, but ring room or an outstanding burst is missing
  output logic         wgt_room_o,       // the ring has room for the next burst of WGT
  // Counters: the burst picked in this cycle.
  output logic [3:0]   picked_o,         // FETCH, PRM, WGT, ACT
  output logic [8:0]   picked_bytes_o,
  // Delivered beats.
  output logic [8*N-1:0] beat_data_o,
  output logic         ring_we_o,
  output logic [7:0]   ring_zw_o,
  output logic         ring_wsigned_o,
  input  logic         ring_free_i,      // N beats of the ring become free
  output logic         prm_we_o,
  output logic [2:0]   prm_target_o,
  output logic [9:0]   prm_entry_o,
  output logic [9:0]   prm_beat_o,
  output logic         act_we_o,
  output logic [15:0]  act_addr_o,
  // Faults.
  output logic [3:0]   region_fault_o,   // FETCH, PRM, WGT, ACT
  output logic [oct_ctrl_pkg::IndexBits-1:0] region_index_o,
  output logic [31:0]  region_offset_o,
  output logic         claim_fault_o,
  output logic         bus_fault_o,
  output logic [63:0]  bus_addr_o,
  output logic [oct_ctrl_pkg::IndexBits-1:0] beat_index_o,  // instruction of the delivered beat
  // Progress.
  output logic         beat_o,           // a beat is received
  output logic         idle_o,           // no burst outstanding, no address pending
  // AXI4 read channels.
  output logic [39:0]  araddr_o,
  output logic [7:0]   arlen_o,
  output logic         arvalid_o,
  input  logic         arready_i,
  input  logic [8*N-1:0] rdata_i,
  input  logic [1:0]   rresp_i,
  input  logic         rlast_i,
  input  logic         rvalid_i
);

  localparam int unsigned IndexBits = oct_ctrl_pkg::IndexBits;
  localparam int unsigned ByteBits  = $clog2(N);
  localparam int unsigned OutBits   = $clog2(ReadBursts + 1);
  localparam int unsigned PtrBits   = ReadBursts > 1 ? $clog2(ReadBursts) : 1;
  localparam int unsigned RingBeats = RingTiles * N;
  localparam int unsigned RingBits  = $clog2(RingBeats + 1);
  localparam int unsigned BankBits  = $clog2(BankDepth);
  // Beats of an entry of a parameter memory are a power of two for every target; these are the logarithms.
  localparam int unsigned SetLog    = 3;
  localparam int unsigned ConstLog  = N >= 64 ? 0 : $clog2(64 / N);
  localparam int unsigned TableLog  = $clog2(256 / N);
  localparam int unsigned WeightLog = 2;

  octile_isa_pkg::ldp_t ldp;
  octile_isa_pkg::ldw_t ldw;
  octile_isa_pkg::lda_t lda;
  assign ldp = prm_instr_i;
  assign ldw = wgt_instr_i;
  assign lda = act_instr_i;

  function automatic logic [3:0] entry_log(input logic [2:0] target);
    case (target)
      octile_isa_pkg::LdpExeSet, octile_isa_pkg::LdpVecSet:     entry_log = 4'(SetLog);
      octile_isa_pkg::LdpExeConst, octile_isa_pkg::LdpVecConst: entry_log = 4'(ConstLog);
      octile_isa_pkg::LdpVecWeight:                             entry_log = 4'(WeightLog);
      default:                                                  entry_log = 4'(TableLog);
    endcase
  endfunction

  // The instruction each load works on.
  logic [2:0][IndexBits-1:0] index_q;
  logic [2:0]  prm_region_q, wgt_region_q, act_region_q;
  logic [12:0] prm_what_q;   // {target, first entry}
  logic [8:0]  wgt_what_q;   // {zw, w_signed}
  logic [9:0]  act_what_q;   // {bank, banks}
  always_ff @(posedge clk_i) begin
    if (issue_i[0]) begin
      index_q[0]   <= index_i[0];
      prm_region_q <= ldp.region;
      prm_what_q   <= {ldp.target, ldp.index};
    end
    if (issue_i[1]) begin
      index_q[1]   <= index_i[1];
      wgt_region_q <= ldw.region;
      wgt_what_q   <= {ldw.zw, ldw.w_signed};
    end
    if (issue_i[2]) begin
      index_q[2]   <= index_i[2];
      act_region_q <= lda.region;
      act_what_q   <= {lda.buf_bank, lda.buf_banks};
    end
  end

  logic [2:0]  next;
  logic [31:0] prm_offset, wgt_offset, act_offset;
  logic [6:0]  prm_beats, wgt_beats, act_beats;
  logic [15:0] prm_addr, act_addr;
  logic        prm_last, wgt_last, act_last;
  oct_dma_agu #(.N(N), .N0Bits(20)) u_prm (
    .clk_i, .rst_ni, .clear_i, .start_i(issue_i[0]), .offset_i(ldp.offset), .mem_stride1_i('0), .mem_stride2_i('0),
    .n0_i(20'(ldp.count) << entry_log(ldp.target)), .n1_i(16'd1), .n2_i(16'd1), .buf_addr_i('0), .buf_row0_i('0),
    .buf_stride1_i('0), .buf_wrap_i('0), .buf_stride2_i('0), .active_o(active_o[0]), .burst_offset_o(prm_offset),
    .burst_beats_o(prm_beats), .burst_addr_o(prm_addr), .burst_last_o(prm_last), .next_i(next[0])
  );
  logic [15:0] wgt_addr_unused;
  oct_dma_agu #(.N(N), .N0Bits(30)) u_wgt (
    .clk_i, .rst_ni, .clear_i, .start_i(issue_i[1]), .offset_i(ldw.offset), .mem_stride1_i('0), .mem_stride2_i('0),
    .n0_i(30'(ldw.tiles) << ByteBits), .n1_i(16'd1), .n2_i(16'd1), .buf_addr_i('0), .buf_row0_i('0),
    .buf_stride1_i('0), .buf_wrap_i('0), .buf_stride2_i('0), .active_o(active_o[1]), .burst_offset_o(wgt_offset),
    .burst_beats_o(wgt_beats), .burst_addr_o(wgt_addr_unused), .burst_last_o(wgt_last), .next_i(next[1])
  );
  oct_dma_agu #(.N(N), .N0Bits(16)) u_act (
    .clk_i, .rst_ni, .clear_i, .start_i(issue_i[2]), .offset_i(lda.offset), .mem_stride1_i(lda.mem_stride1),
    .mem_stride2_i(lda.mem_stride2), .n0_i(lda.n0), .n1_i(lda.n1), .n2_i(lda.n2), .buf_addr_i(lda.buf_addr),
    .buf_row0_i(lda.buf_row0), .buf_stride1_i(lda.buf_stride1), .buf_wrap_i(lda.buf_wrap),
    .buf_stride2_i(lda.buf_stride2), .active_o(active_o[2]), .burst_offset_o(act_offset), .burst_beats_o(act_beats),
    .burst_addr_o(act_addr), .burst_last_o(act_last), .next_i(next[2])
  );

  // Ring room: reserved at the pick, returned by tile starts.
  logic [RingBits-1:0] free_q;
  assign wgt_room_o = 32'(free_q) >= 32'(wgt_beats);

  // Choice, of registered state alone: the first client that could have the channel, and its burst. The bus only says whether the
  // choice is picked in this cycle; nothing wide waits for its signals.
  logic [OutBits-1:0] outstanding_q;
  logic               limit, grant, region_ok, accept;
  logic [3:0]         eligible, choice, pick;
  logic [2:0]         pick_region;
  logic [31:0]        pick_offset;
  logic [6:0]         pick_beats;
  logic [15:0]        pick_addr;
  logic [12:0]        pick_what;
  logic [IndexBits-1:0] pick_index;
  logic               pick_last;
  logic [63:0]        pick_address;
  assign limit    = outstanding_q >= OutBits'(ReadBursts);
  assign eligible = {active_o[2], active_o[1] && wgt_room_o, active_o[0], fetch_eligible_i};
  always_comb begin
    choice      = '0;
    pick_region = fetch_region_i;
    pick_offset = fetch_offset_i;
    pick_beats  = fetch_beats_i;
    pick_addr   = '0;
    pick_what   = '0;
    pick_index  = fetch_index_i;
    pick_last   = 1'b0;
    if (run_i && !limit) begin
      if (eligible[0]) begin
        choice[0] = 1'b1;
      end else if (eligible[1]) begin
        choice[1]   = 1'b1;
        pick_region = prm_region_q;
        pick_offset = prm_offset;
        pick_beats  = prm_beats;
        pick_addr   = prm_addr;
        pick_what   = prm_what_q;
        pick_index  = index_q[0];
        pick_last   = prm_last;
      end else if (eligible[2]) begin
        choice[2]   = 1'b1;
        pick_region = wgt_region_q;
        pick_offset = wgt_offset;
        pick_beats  = wgt_beats;
        pick_what   = {4'b0, wgt_what_q};
        pick_index  = index_q[1];
        pick_last   = wgt_last;
      end else if (eligible[3]) begin
        choice[3]   = 1'b1;
        pick_region = act_region_q;
        pick_offset = act_offset;
        pick_beats  = act_beats;
        pick_addr   = act_addr;
        pick_what   = {3'b0, act_what_q};
        pick_index  = index_q[2];
        pick_last   = act_last;
      end
    end
  end
  oct_region u_region (
    .valid_i(|choice), .region_i(pick_region), .offset_i(pick_offset), .bytes_i(9'(pick_beats) << ByteBits),
    .need_i(choice[0] ? 3'b100 : 3'b001), .base_i(region_base_i), .limit_i(region_limit_i), .perm_i(region_perm_i),
    .ok_o(region_ok), .address_o(pick_address)
  );

  // Pick.
  assign grant           = !arvalid_o || arready_i;
  assign pick            = grant ? choice : '0;
  assign accept          = |pick && region_ok;
  assign next            = pick[3:1];
  assign fetch_pick_o    = pick[0];
  assign picked_o        = pick;
  assign picked_bytes_o  = 9'(pick_beats) << ByteBits;
  assign region_fault_o  = |pick && !region_ok ? pick : '0;
  assign region_index_o  = pick_index;
  assign region_offset_o = pick_offset;
  assign space_o[0]      = active_o[0] && limit;
  assign space_o[1]      = active_o[1] && (limit || !wgt_room_o);
  assign space_o[2]      = active_o[2] && limit;

  // Address channel.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      arvalid_o <= 1'b0;
    end else if (accept) begin
      arvalid_o <= 1'b1;
    end else if (arready_i) begin
      arvalid_o <= 1'b0;
    end
  end
  always_ff @(posedge clk_i) begin
    if (accept) begin
      araddr_o <= pick_address[39:0];
      arlen_o  <= 8'(pick_beats) - 8'd1;
    end
  end

  // Bursts outstanding, in order of their picks.
  logic [1:0]           out_client_q [ReadBursts];
  logic                 out_last_q   [ReadBursts];
  logic [IndexBits-1:0] out_index_q  [ReadBursts];
  logic [15:0]          out_addr_q   [ReadBursts];
  logic [12:0]          out_what_q   [ReadBursts];
  logic [63:0]          out_bus_q    [ReadBursts];
  logic [PtrBits-1:0]   out_write_q, out_read_q;
  logic                 burst_ends;
  assign burst_ends = rvalid_i && rlast_i;
  assign beat_o     = rvalid_i;
  assign idle_o     = outstanding_q == '0 && !arvalid_o;

  function automatic logic [PtrBits-1:0] bump(input logic [PtrBits-1:0] pointer);
    bump = pointer == PtrBits'(ReadBursts - 1) ? '0 : pointer + PtrBits'(1);
  endfunction

  always_ff @(posedge clk_i) begin
    if (accept) begin
      out_client_q[out_write_q] <= pick[0] ? 2'd0 : pick[1] ? 2'd1 : pick[2] ? 2'd2 : 2'd3;
      out_last_q[out_write_q]   <= pick_last;
      out_index_q[out_write_q]  <= pick_index;
      out_addr_q[out_write_q]   <= pick_addr;
      out_what_q[out_write_q]   <= pick_what;
      out_bus_q[out_write_q]    <= pick_address;
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      outstanding_q <= '0;
      out_write_q   <= '0;
      out_read_q    <= '0;
      free_q        <= RingBits'(RingBeats);
    end else if (clear_i) begin
      outstanding_q <= '0;
      out_write_q   <= '0;
      out_read_q    <= '0;
      free_q        <= RingBits'(RingBeats);
    end else begin
      if (accept != burst_ends) outstanding_q <= accept ? outstanding_q + OutBits'(1) : outstanding_q - OutBits'(1);
      if (accept) out_write_q <= bump(out_write_q);
      if (burst_ends) out_read_q <= bump(out_read_q);
      if ((accept && pick[2]) || ring_free_i) begin
        free_q <= free_q + (ring_free_i ? RingBits'(N) : '0) - (accept && pick[2] ? RingBits'(pick_beats) : '0);
      end
    end
  end

  // Delivery: the beat received in b, one cycle later.
  logic         beat_q, last_q, error_q;
  logic [1:0]   client_q;
  logic [15:0]  addr_q;    // ACT: buffer address; PRM: beat of the transfer
  logic [12:0]  what_q;
  logic [6:0]   count_q;   // beats of the burst received so far
  logic [8*N-1:0] data_q;
  logic [63:0]  bus_q;
  logic [IndexBits-1:0] beat_index_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      beat_q  <= 1'b0;
      error_q <= 1'b0;
      count_q <= '0;
    end else begin
      beat_q  <= rvalid_i;
      error_q <= rvalid_i && rresp_i[1];
      if (rvalid_i) count_q <= rlast_i ? '0 : count_q + 7'd1;
    end
  end
  always_ff @(posedge clk_i) begin
    if (rvalid_i) begin
      client_q     <= out_client_q[out_read_q];
      last_q       <= out_last_q[out_read_q] && rlast_i;
      addr_q       <= out_addr_q[out_read_q] + 16'(count_q);
      what_q       <= out_what_q[out_read_q];
      beat_index_q <= out_index_q[out_read_q];
      data_q       <= rdata_i;
      if (rresp_i[1]) bus_q <= out_bus_q[out_read_q];
    end
  end

  // Where it goes.
  logic [15:0] bank;
  logic        in_claim;
  assign bank   = addr_q >> BankBits;
  assign in_claim = bank >= 16'(what_q[9:5]) && bank <= 16'(what_q[9:5]) + 16'(what_q[4:0]) && bank < 16'(Banks);
  assign beat_data_o    = data_q;
  assign fetch_beat_o   = beat_q && client_q == 2'd0;
  assign prm_we_o       = beat_q && client_q == 2'd1;
  assign prm_target_o   = what_q[12:10];
  assign prm_entry_o    = what_q[9:0] + 10'(addr_q >> entry_log(prm_target_o));
  assign prm_beat_o     = 10'(addr_q & ~(16'hffff << entry_log(prm_target_o)));
  assign ring_we_o      = beat_q && client_q == 2'd2;
  assign ring_zw_o      = what_q[8:1];
  assign ring_wsigned_o = what_q[0];
  assign act_we_o       = beat_q && client_q == 2'd3 && in_claim;
  assign act_addr_o     = addr_q;
  assign claim_fault_o  = beat_q && client_q == 2'd3 && !in_claim;
  assign bus_fault_o    = error_q;
  assign bus_addr_o     = bus_q;
  assign beat_index_o   = beat_index_q;
  assign done_o[0]      = prm_we_o && last_q;
  assign done_o[1]      = ring_we_o && last_q;
  assign done_o[2]      = beat_q && client_q == 2'd3 && last_q;

  `OCT_ASSERT(BeatsOnlyWhenAsked, !(rvalid_i && outstanding_q == '0), clk_i, rst_ni)
  `OCT_ASSERT(RingNeverOverflows, !(accept && pick[2] && 32'(free_q) < 32'(pick_beats)), clk_i, rst_ni)
  `OCT_ASSERT(IssueOnlyWhenReady, (issue_i & active_o) == '0, clk_i, rst_ni)
  `OCT_ASSERT(AddressHeld, !arvalid_o || arlen_o < 8'(octile_isa_pkg::BurstBytes / N), clk_i, rst_ni)

endmodule
