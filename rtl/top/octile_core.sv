// Octile: the whole accelerator. An AXI4 master to memory, an AXI4-Lite slave for the registers, an interrupt, and a trace and
// observe port that synthesis leaves unconnected. docs/timing.md states what happens in which cycle, docs/microarchitecture.md
// what the parts are.
`include "oct_assert.svh"

module octile_core #(
  parameter int unsigned N           = 16,    // array rows = columns = bytes of a vector: 4, 8, 16, 32, 64
  parameter int unsigned WeightRows  = 4,     // rows of a weight tile loaded in a cycle; divides N
  parameter int unsigned RingTiles   = 256,   // weight ring in tiles; a power of two
  parameter int unsigned AccDepth    = 1024,  // accumulator vectors, at most 1024
  parameter int unsigned Banks       = 24,    // activation buffer banks, at most 32
  parameter int unsigned BankDepth   = 1024,  // vectors of a bank; a power of two
  parameter int unsigned PSets       = 128,   // parameter sets of EXE and of VEC, at most 128
  parameter int unsigned WRows       = 256,   // weight rows of VEC, at most 1024
  parameter int unsigned ReadBursts  = 32,    // outstanding read bursts
  parameter int unsigned WriteBursts = 8,     // outstanding write bursts
  parameter int unsigned OpW         = 9,     // bits that hold an operand of the array: 9, in simulators 32 (oct_array)
  parameter logic [63:0] ArchHash    = 64'd0  // hash of the above and the ISA version
) (
  input  logic           clk_i,
  input  logic           rst_ni,
  // AXI4 master.
  output logic [39:0]    m_axi_araddr_o,
  output logic [7:0]     m_axi_arlen_o,
  output logic [2:0]     m_axi_arsize_o,
  output logic [1:0]     m_axi_arburst_o,
  output logic           m_axi_arvalid_o,
  input  logic           m_axi_arready_i,
  input  logic [8*N-1:0] m_axi_rdata_i,
  input  logic [1:0]     m_axi_rresp_i,
  input  logic           m_axi_rlast_i,
  input  logic           m_axi_rvalid_i,
  output logic           m_axi_rready_o,
  output logic [39:0]    m_axi_awaddr_o,
  output logic [7:0]     m_axi_awlen_o,
  output logic [2:0]     m_axi_awsize_o,
  output logic [1:0]     m_axi_awburst_o,
  output logic           m_axi_awvalid_o,
  input  logic           m_axi_awready_i,
  output logic [8*N-1:0] m_axi_wdata_o,
  output logic [N-1:0]   m_axi_wstrb_o,
  output logic           m_axi_wlast_o,
  output logic           m_axi_wvalid_o,
  input  logic           m_axi_wready_i,
  input  logic [1:0]     m_axi_bresp_i,
  input  logic           m_axi_bvalid_i,
  output logic           m_axi_bready_o,
  // AXI4-Lite slave.
  input  logic [octile_regs_pkg::RegAddrBits-1:0] s_axil_awaddr_i,
  input  logic           s_axil_awvalid_i,
  output logic           s_axil_awready_o,
  input  logic [31:0]    s_axil_wdata_i,
  input  logic [3:0]     s_axil_wstrb_i,
  input  logic           s_axil_wvalid_i,
  output logic           s_axil_wready_o,
  output logic [1:0]     s_axil_bresp_o,
  output logic           s_axil_bvalid_o,
  input  logic           s_axil_bready_i,
  input  logic [octile_regs_pkg::RegAddrBits-1:0] s_axil_araddr_i,
  input  logic           s_axil_arvalid_i,
  output logic           s_axil_arready_o,
  output logic [31:0]    s_axil_rdata_o,
  output logic [1:0]     s_axil_rresp_o,
  output logic           s_axil_rvalid_o,
  input  logic           s_axil_rready_i,
  output logic           irq_o,
  // Trace: events of this cycle; slice q belongs to queue q.
  output logic [5:0]     trace_issue_o,
  output logic [6*32-1:0] trace_issue_index_o,
  output logic [5:0]     trace_done_o,
  output logic [6*32-1:0] trace_done_index_o,
  output logic [6*4-1:0] trace_class_o,
  output logic           trace_running_o,
  output logic           trace_tile_o,
  output logic           trace_fault_o,
  // Observe: result writes to the activation buffer.
  output logic           obs_exe_we_o,
  output logic [31:0]    obs_exe_index_o,
  output logic [15:0]    obs_exe_addr_o,
  output logic [8*N-1:0] obs_exe_data_o,
  output logic           obs_vec_we_o,
  output logic [31:0]    obs_vec_index_o,
  output logic [15:0]    obs_vec_addr_o,
  output logic [8*N-1:0] obs_vec_data_o
);

  localparam int unsigned IndexBits = oct_ctrl_pkg::IndexBits;
  localparam int unsigned RegBits   = octile_regs_pkg::RegAddrBits;
  localparam logic [2:0]  BeatSize  = 3'($clog2(N));
  // Instructions that can be in flight. Loads: one with a burst each, the one in the unit, one in delivery, a SYNC. EXE: one
  // every four cycles of the pipeline. STO: one with a burst each, two staged, the one in the unit.
  localparam int unsigned LoadList = 2 ** $clog2(ReadBursts + 4);
  localparam int unsigned ExeList  = 2 ** $clog2((2 * N + 28) / 4 + 4);
  localparam int unsigned StoList  = 2 ** $clog2(WriteBursts + 6);

  // ---------------------------------------------------------------------------------------------------------------------
  // Registers and the state of the core
  // ---------------------------------------------------------------------------------------------------------------------

  logic run, precise, finish_unused, finish_fault_unused, end_holds, can_start, clear_job, clear, event_done, event_fault;
  logic start, soft_reset, snapshot, counter_read, counter_hit;
  logic [4:0]  status;
  logic [2:0]  program_region;
  logic [31:0] program_offset, watchdog_limit, context_id, counter_data;
  logic [IndexBits-1:0] program_count;
  logic [8*64-1:0] region_base;
  logic [8*32-1:0] region_limit;
  logic [8*3-1:0]  region_perm;
  logic [RegBits-1:0] counter_addr;
  logic [3:0]  fault_cause;
  logic [IndexBits-1:0] fault_index, fault_index2;
  logic [63:0] fault_addr;
  logic [31:0] fault_context;
  logic        precise_now, stop_now, end_waits, empty, bus_idle;
  logic        flush;  // control state starts anew
  assign flush = clear_job || clear;

  oct_regs #(
    .N(N), .WeightRows(WeightRows), .RingTiles(RingTiles), .AccDepth(AccDepth), .Banks(Banks), .BankDepth(BankDepth),
    .PSets(PSets), .WRows(WRows), .ReadBursts(ReadBursts), .WriteBursts(WriteBursts), .ArchHash(ArchHash)
  ) u_regs (
    .clk_i, .rst_ni,
    .awaddr_i(s_axil_awaddr_i), .awvalid_i(s_axil_awvalid_i), .awready_o(s_axil_awready_o), .wdata_i(s_axil_wdata_i),
    .wstrb_i(s_axil_wstrb_i), .wvalid_i(s_axil_wvalid_i), .wready_o(s_axil_wready_o), .bresp_o(s_axil_bresp_o),
    .bvalid_o(s_axil_bvalid_o), .bready_i(s_axil_bready_i), .araddr_i(s_axil_araddr_i), .arvalid_i(s_axil_arvalid_i),
    .arready_o(s_axil_arready_o), .rdata_o(s_axil_rdata_o), .rresp_o(s_axil_rresp_o), .rvalid_o(s_axil_rvalid_o),
    .rready_i(s_axil_rready_i), .clear_i(clear), .status_i(status), .can_start_i(can_start), .start_o(start),
    .soft_reset_o(soft_reset), .event_done_i(event_done), .event_fault_i(event_fault), .irq_o,
    .program_region_o(program_region), .program_offset_o(program_offset), .program_count_o(program_count),
    .watchdog_o(watchdog_limit), .context_o(context_id), .region_base_o(region_base), .region_limit_o(region_limit),
    .region_perm_o(region_perm), .fault_cause_i(fault_cause), .fault_index_i(fault_index),
    .fault_index2_i(fault_index2), .fault_addr_i(fault_addr), .fault_context_i(fault_context),
    .snapshot_o(snapshot), .counter_read_o(counter_read), .counter_addr_o(counter_addr), .counter_hit_i(counter_hit),
    .counter_data_i(counter_data)
  );

  oct_sequencer #(.BankDepth(BankDepth)) u_sequencer (
    .clk_i, .rst_ni, .start_i(start), .soft_reset_i(soft_reset), .end_i(end_waits), .empty_i(empty),
    .precise_now_i(precise_now), .fault_now_i(stop_now), .bus_idle_i(bus_idle), .run_o(run), .precise_o(precise),
    .finish_o(finish_unused), .finish_fault_o(finish_fault_unused), .end_holds_o(end_holds), .can_start_o(can_start),
    .clear_job_o(clear_job), .clear_o(clear), .event_done_o(event_done), .event_fault_o(event_fault), .status_o(status)
  );

  // ---------------------------------------------------------------------------------------------------------------------
  // Fetch, dispatch, queues, issue
  // ---------------------------------------------------------------------------------------------------------------------

  logic         fetch_eligible, fetch_pick, fetch_beat, fifo_valid, fifo_pop, program_ended, illegal, fetch_end;
  logic [31:0]  fetch_offset;
  logic [6:0]   fetch_beats;
  logic [IndexBits-1:0] fetch_index, next_index;
  oct_ctrl_pkg::decoded_t fifo_decoded;
  logic [511:0] fifo_instr;
  logic [8*N-1:0] beat_data;

  // Parts whose state only changes with certain events have a clock in the cycles of these events only. No enable depends on an
  // input of the core, so all are settled early in the cycle.
  logic       clk_fetch, clk_queue;
  logic [5:0] push, issue, done;
  oct_clock_gate u_fetch_gate (
    .clk_i, .en_i(!rst_ni || flush || fetch_eligible || fetch_beat || fifo_pop), .clk_o(clk_fetch)
  );
  oct_clock_gate u_queue_gate (
    .clk_i, .en_i(!rst_ni || flush || push != '0 || issue != '0 || done != '0), .clk_o(clk_queue)
  );

  oct_fetch #(.N(N), .AccDepth(AccDepth), .Banks(Banks), .PSets(PSets), .WRows(WRows)) u_fetch (
    .clk_i(clk_fetch), .rst_ni, .clear_i(flush), .program_offset_i(program_offset), .program_count_i(program_count),
    .eligible_o(fetch_eligible), .offset_o(fetch_offset), .beats_o(fetch_beats), .index_o(fetch_index),
    .pick_i(fetch_pick), .beat_i(fetch_beat), .data_i(beat_data), .valid_o(fifo_valid), .decoded_o(fifo_decoded),
    .instr_o(fifo_instr), .pop_i(fifo_pop), .ended_o(program_ended), .next_index_o(next_index)
  );

  logic [5:0] full;
  oct_dispatch u_dispatch (
    .run_i(run), .precise_i(precise), .valid_i(fifo_valid), .decoded_i(fifo_decoded), .ended_i(program_ended),
    .full_i(full), .pop_o(fifo_pop), .push_o(push), .illegal_o(illegal), .fetch_end_o(fetch_end), .end_o(end_waits)
  );

  logic [5:0] head_valid, head_sync, head_fence, head_operand_ok, unit_done, in_flight, only_one, blame;
  logic [5:0][11:0] head_wait, done_signal;
  logic [5:0][IndexBits-1:0] head_index, done_index, blame_index, found_rd0, found_rd1, found_wr;
  logic [5:0][31:0] head_rd0, head_rd1, head_wr, held_rd0, held_rd1, held_wr, search_rd0, search_rd1, search_wr;
  logic [511:0] instr_prm, instr_wgt, instr_act, instr_exe, instr_vec, instr_sto;
  logic       search;

  // A queue's instruction word has no place in a vector over the queues: nobody selects among them.
  for (genvar q = 0; q < 6; q++) begin : gen_queue
    localparam int unsigned List = q < 3 ? LoadList : q == 3 ? ExeList : q == 4 ? 4 : StoList;
    oct_ctrl_pkg::decoded_t head;
    logic [511:0] instr;
    logic [5:0]   signal0, signal1;
    oct_queue #(.InFlight(List), .Claims(q >= 2)) u_queue (
      .clk_i(clk_queue), .rst_ni, .clear_i(flush), .push_i(push[q]), .decoded_i(fifo_decoded), .instr_i(fifo_instr),
      .full_o(full[q]), .valid_o(head_valid[q]), .decoded_o(head), .instr_o(instr), .issue_i(issue[q]),
      .unit_done_i(unit_done[q]), .done_o(done[q]), .done_index_o(done_index[q]), .done_signal0_o(signal0),
      .done_signal1_o(signal1), .in_flight_o(in_flight[q]), .only_one_o(only_one[q]), .claim_rd0_o(held_rd0[q]),
      .claim_rd1_o(held_rd1[q]), .claim_wr_o(held_wr[q]), .search_i(search), .search_rd0_i(search_rd0[q]),
      .search_rd1_i(search_rd1[q]), .search_wr_i(search_wr[q]), .found_rd0_o(found_rd0[q]),
      .found_rd1_o(found_rd1[q]), .found_wr_o(found_wr[q]), .blame_o(blame[q]), .blame_index_o(blame_index[q])
    );
    assign head_sync[q]       = head.is_sync;
    assign head_fence[q]      = head.fence;
    assign head_operand_ok[q] = head.operand_ok;
    assign head_wait[q]       = {head.wait1, head.wait0};
    assign head_index[q]      = head.index;
    assign head_rd0[q]        = head.claim_rd0;
    assign head_rd1[q]        = head.claim_rd1;
    assign head_wr[q]         = head.claim_wr;
    assign done_signal[q]     = {signal1, signal0};
    if (q == 0) begin : gen_prm
      assign instr_prm = instr;
    end else if (q == 1) begin : gen_wgt
      assign instr_wgt = instr;
    end else if (q == 2) begin : gen_act
      assign instr_act = instr;
    end else if (q == 3) begin : gen_exe
      assign instr_exe = instr;
    end else if (q == 4) begin : gen_vec
      assign instr_vec = instr;
    end else begin : gen_sto
      assign instr_sto = instr;
    end
  end
  assign empty = head_valid == '0 && in_flight == '0;

  logic [32*8-1:0]  semaphores;
  logic [5:0]       overflow, fence_block, semaphore_block, operand_fault, conflict_fault, ready;
  logic [5:0][4:0]  overflow_semaphore;
  logic [IndexBits-1:0] conflict_index2;
  oct_semaphores u_semaphores (
    .clk_i(clk_queue), .rst_ni, .clear_i(flush), .issue_i(issue), .wait_i(head_wait), .done_i(done), .signal_i(done_signal),
    .value_o(semaphores), .overflow_o(overflow), .overflow_semaphore_o(overflow_semaphore)
  );
  oct_issue u_issue (
    .run_i(run), .valid_i(head_valid), .sync_i(head_sync), .fence_i(head_fence), .operand_ok_i(head_operand_ok),
    .wait_i(head_wait), .claim_rd0_i(head_rd0), .claim_rd1_i(head_rd1), .claim_wr_i(head_wr), .index_i(head_index),
    .ready_i(ready), .in_flight_i(in_flight), .semaphore_i(semaphores), .held_rd0_i(held_rd0), .held_rd1_i(held_rd1),
    .held_wr_i(held_wr), .issue_o(issue), .fence_block_o(fence_block), .semaphore_block_o(semaphore_block),
    .operand_fault_o(operand_fault), .conflict_fault_o(conflict_fault), .search_o(search), .search_rd0_o(search_rd0),
    .search_rd1_o(search_rd1), .search_wr_o(search_wr), .found_rd0_i(found_rd0), .found_rd1_i(found_rd1),
    .found_wr_i(found_wr), .conflict_index2_o(conflict_index2)
  );

  // What a unit is told to start; SYNC completes in its queue.
  logic [5:0] unit_issue;
  assign unit_issue = issue & ~head_sync;

  // ---------------------------------------------------------------------------------------------------------------------
  // Units
  // ---------------------------------------------------------------------------------------------------------------------

  logic           freeze;
  logic [2:0]     load_active, load_space, load_done;
  logic [3:0]     picked, read_region_fault;
  logic [8:0]     picked_bytes, written_bytes;
  logic           wgt_room, ring_we, ring_wsigned, ring_free, prm_we, act_we, act_claim, read_bus_fault, read_idle, read_beat;
  logic [7:0]     ring_zw;
  logic [2:0]     prm_target;
  logic [9:0]     prm_entry, prm_beat;
  logic [15:0]    act_addr;
  logic [IndexBits-1:0] read_region_index, beat_index;
  logic [31:0]    read_region_offset;
  logic [63:0]    read_bus_addr;
  assign freeze = !run && !clear;

  logic           sto_active, sto_reading, sto_done, sto_re, write_picked, write_region_fault, sto_claim, write_bus_fault;
  logic           write_beat, write_response, write_idle, slots_free;
  logic           clk_read, clk_write;
  oct_sleep #(.Hold(8)) u_read_sleep (
    .clk_i, .rst_ni,
    .wake_i(fetch_eligible || unit_issue[2:0] != '0 || load_active != '0 || !read_idle || ring_free || clear),
    .clk_o(clk_read)
  );
  oct_sleep #(.Hold(8)) u_write_sleep (
    .clk_i, .rst_ni, .wake_i(unit_issue[5] || sto_active || !slots_free || !write_idle || clear), .clk_o(clk_write)
  );

  oct_dma_read #(
    .N(N), .RingTiles(RingTiles), .Banks(Banks), .BankDepth(BankDepth), .ReadBursts(ReadBursts)
  ) u_read (
    .clk_i(clk_read), .rst_ni, .clear_i(clear), .run_i(run), .region_base_i(region_base), .region_limit_i(region_limit),
    .region_perm_i(region_perm), .fetch_eligible_i(fetch_eligible), .fetch_region_i(program_region),
    .fetch_offset_i(fetch_offset), .fetch_beats_i(fetch_beats), .fetch_index_i(fetch_index), .fetch_pick_o(fetch_pick),
    .fetch_beat_o(fetch_beat), .issue_i(unit_issue[2:0]), .prm_instr_i(instr_prm), .wgt_instr_i(instr_wgt),
    .act_instr_i(instr_act), .index_i(head_index[2:0]), .active_o(load_active), .done_o(load_done),
    .space_o(load_space), .wgt_room_o(wgt_room), .picked_o(picked), .picked_bytes_o(picked_bytes),
    .beat_data_o(beat_data), .ring_we_o(ring_we), .ring_zw_o(ring_zw), .ring_wsigned_o(ring_wsigned),
    .ring_free_i(ring_free), .prm_we_o(prm_we), .prm_target_o(prm_target), .prm_entry_o(prm_entry),
    .prm_beat_o(prm_beat), .act_we_o(act_we), .act_addr_o(act_addr), .region_fault_o(read_region_fault),
    .region_index_o(read_region_index), .region_offset_o(read_region_offset), .claim_fault_o(act_claim),
    .bus_fault_o(read_bus_fault), .bus_addr_o(read_bus_addr), .beat_index_o(beat_index), .beat_o(read_beat),
    .idle_o(read_idle), .araddr_o(m_axi_araddr_o), .arlen_o(m_axi_arlen_o), .arvalid_o(m_axi_arvalid_o),
    .arready_i(m_axi_arready_i), .rdata_i(m_axi_rdata_i), .rresp_i(m_axi_rresp_i), .rlast_i(m_axi_rlast_i),
    .rvalid_i(m_axi_rvalid_i)
  );
  assign m_axi_arsize_o  = BeatSize;
  assign m_axi_arburst_o = 2'b01;
  assign m_axi_rready_o  = 1'b1;

  logic [15:0]    sto_addr, sto_claim_addr;
  logic [8*N-1:0] sto_data;
  logic [IndexBits-1:0] write_region_index, sto_claim_index, write_bus_index;
  logic [31:0]    write_region_offset;
  logic [63:0]    write_bus_addr;
  oct_dma_write #(.N(N), .Banks(Banks), .BankDepth(BankDepth), .WriteBursts(WriteBursts)) u_write (
    .clk_i(clk_write), .rst_ni, .clear_i(clear), .run_i(run), .region_base_i(region_base), .region_limit_i(region_limit),
    .region_perm_i(region_perm), .issue_i(unit_issue[5]), .instr_i(instr_sto), .index_i(head_index[5]),
    .active_o(sto_active), .reading_o(sto_reading), .done_o(sto_done), .buf_re_o(sto_re), .buf_addr_o(sto_addr),
    .buf_data_i(sto_data), .picked_o(write_picked), .picked_bytes_o(written_bytes),
    .region_fault_o(write_region_fault), .region_index_o(write_region_index), .region_offset_o(write_region_offset),
    .claim_fault_o(sto_claim), .claim_addr_o(sto_claim_addr), .claim_index_o(sto_claim_index),
    .bus_fault_o(write_bus_fault), .bus_addr_o(write_bus_addr), .bus_index_o(write_bus_index), .beat_o(write_beat),
    .response_o(write_response), .idle_o(write_idle), .slots_free_o(slots_free), .awaddr_o(m_axi_awaddr_o),
    .awlen_o(m_axi_awlen_o), .awvalid_o(m_axi_awvalid_o), .awready_i(m_axi_awready_i), .wdata_o(m_axi_wdata_o),
    .wlast_o(m_axi_wlast_o), .wvalid_o(m_axi_wvalid_o), .wready_i(m_axi_wready_i), .bresp_i(m_axi_bresp_i),
    .bvalid_i(m_axi_bvalid_i)
  );
  assign m_axi_awsize_o  = BeatSize;
  assign m_axi_awburst_o = 2'b01;
  assign m_axi_wstrb_o   = '1;
  assign m_axi_bready_o  = 1'b1;
  assign bus_idle        = read_idle && write_idle;

  logic           exe_ready, exe_active, exe_done, exe_busy_unused, exe_stuck, exe_class_active, exe_class_weight;
  logic           exe_class_slot, tile_start, exe_claim;
  logic           exe_in_re, exe_res_re, exe_out_we;
  logic [15:0]    exe_in_addr, exe_res_addr, exe_out_addr, exe_claim_addr;
  logic [8*N-1:0] exe_in_data, exe_res_data, exe_out_data;
  logic [31:0]    exe_out_index, exe_claim_index;
  logic           vec_ready, vec_active, vec_done, vec_busy_unused, vec_class_active, vec_claim;
  logic           vec_a_re, vec_b_re, vec_out_we;
  logic [15:0]    vec_a_addr, vec_b_addr, vec_out_addr, vec_claim_addr;
  logic [8*N-1:0] vec_a_data, vec_b_data, vec_out_data;
  logic [31:0]    vec_out_index, vec_claim_index;

  // A unit without work has no clock. Whatever starts something in it wakes it; what follows ends within a bounded time.
  logic clk_exe, clk_vec;
  oct_sleep #(.Hold(4 * N + 64)) u_exe_sleep (
    .clk_i, .rst_ni, .wake_i(unit_issue[3] || exe_active || in_flight[3] || ring_we || prm_we || clear), .clk_o(clk_exe)
  );
  oct_sleep #(.Hold(4 * N + 64)) u_vec_sleep (
    .clk_i, .rst_ni, .wake_i(unit_issue[4] || vec_active || prm_we || clear), .clk_o(clk_vec)
  );
  oct_exe #(
    .N(N), .WeightRows(WeightRows), .RingTiles(RingTiles), .AccDepth(AccDepth), .PSets(PSets), .BankDepth(BankDepth), .OpW(OpW)
  ) u_exe (
    .clk_i(clk_exe), .rst_ni, .clear_i(clear), .freeze_i(freeze), .issue_i(unit_issue[3]), .instr_i(instr_exe),
    .index_i(32'(head_index[3])), .ready_o(exe_ready), .active_o(exe_active), .done_o(exe_done),
    .busy_o(exe_busy_unused), .stuck_o(exe_stuck), .class_active_o(exe_class_active), .class_weight_o(exe_class_weight),
    .class_slot_o(exe_class_slot), .tile_start_o(tile_start), .claim_fault_o(exe_claim),
    .claim_addr_o(exe_claim_addr), .claim_index_o(exe_claim_index), .ring_we_i(ring_we), .ring_data_i(beat_data),
    .ring_zw_i(ring_zw), .ring_wsigned_i(ring_wsigned), .ring_free_o(ring_free), .in_re_o(exe_in_re),
    .in_addr_o(exe_in_addr), .in_data_i(exe_in_data), .res_re_o(exe_res_re), .res_addr_o(exe_res_addr),
    .res_data_i(exe_res_data), .out_we_o(exe_out_we), .out_addr_o(exe_out_addr), .out_data_o(exe_out_data),
    .out_index_o(exe_out_index), .prm_we_i(prm_we), .prm_target_i(prm_target), .prm_entry_i(prm_entry),
    .prm_beat_i(prm_beat), .prm_data_i(beat_data)
  );

  oct_vec #(.N(N), .OpW(OpW), .BankDepth(BankDepth), .PSets(PSets), .WRows(WRows)) u_vec (
    .clk_i(clk_vec), .rst_ni, .clear_i(clear), .freeze_i(freeze), .issue_i(unit_issue[4]), .instr_i(instr_vec),
    .index_i(32'(head_index[4])), .ready_o(vec_ready), .active_o(vec_active), .done_o(vec_done),
    .busy_o(vec_busy_unused), .class_active_o(vec_class_active), .claim_fault_o(vec_claim),
    .claim_addr_o(vec_claim_addr), .claim_index_o(vec_claim_index), .a_re_o(vec_a_re), .a_addr_o(vec_a_addr),
    .a_data_i(vec_a_data), .b_re_o(vec_b_re), .b_addr_o(vec_b_addr), .b_data_i(vec_b_data), .out_we_o(vec_out_we),
    .out_addr_o(vec_out_addr), .out_data_o(vec_out_data), .out_index_o(vec_out_index), .prm_we_i(prm_we),
    .prm_target_i(prm_target), .prm_entry_i(prm_entry), .prm_beat_i(prm_beat), .prm_data_i(beat_data)
  );

  oct_buffer #(.N(N), .Banks(Banks), .BankDepth(BankDepth)) u_buffer (
    .clk_i, .rst_ni, .scrub_i(clear), .check_i(run && !(act_claim || exe_claim || vec_claim || sto_claim)),
    .re0_i(exe_in_re), .raddr0_i(exe_in_addr), .rdata0_o(exe_in_data),
    .re1_i(exe_res_re), .raddr1_i(exe_res_addr), .rdata1_o(exe_res_data),
    .re2_i(vec_a_re), .raddr2_i(vec_a_addr), .rdata2_o(vec_a_data),
    .re3_i(vec_b_re), .raddr3_i(vec_b_addr), .rdata3_o(vec_b_data),
    .re4_i(sto_re), .raddr4_i(sto_addr), .rdata4_o(sto_data),
    .we0_i(exe_out_we), .waddr0_i(exe_out_addr), .wdata0_i(exe_out_data),
    .we1_i(vec_out_we), .waddr1_i(vec_out_addr), .wdata1_i(vec_out_data),
    .we2_i(act_we), .waddr2_i(act_addr), .wdata2_i(beat_data)
  );

  assign unit_done = run ? {sto_done, vec_done, exe_done, load_done} : '0;
  assign ready     = {!sto_active, vec_ready, exe_ready, ~load_active};

  // ---------------------------------------------------------------------------------------------------------------------
  // Counters, progress, faults, trace
  // ---------------------------------------------------------------------------------------------------------------------

  logic [5:0][3:0] classes;
  oct_classes u_classes (
    .load_active_i(load_active), .load_picked_i(picked[3:1]), .load_space_i(load_space),
    .exe_active_i(exe_class_active), .exe_weight_i(exe_class_weight), .exe_slot_i(exe_class_slot),
    .vec_active_i(vec_class_active), .vec_ready_i(vec_ready), .sto_active_i(sto_active), .sto_reading_i(sto_reading),
    .valid_i(head_valid), .issue_i(issue), .fence_block_i(fence_block), .semaphore_block_i(semaphore_block),
    .in_flight_i(in_flight), .class_o(classes)
  );
  oct_counters u_counters (
    .clk_i, .rst_ni, .clear_i(clear_job), .clear_snapshot_i(clear), .run_i(run), .class_i(classes),
    .read_picked_i(picked), .read_bytes_i(picked_bytes), .write_picked_i(write_picked), .write_bytes_i(written_bytes),
    .done_i(done), .snapshot_i(snapshot), .read_i(counter_read), .addr_i(counter_addr), .hit_o(counter_hit),
    .data_o(counter_data)
  );

  // Nothing moves and nothing on its way will move it: loads wait for ring room, EXE for a tile.
  logic quiescent, watchdog, deadlock;
  assign quiescent = bus_idle && slots_free && !load_active[0] && !load_active[2] && (!load_active[1] || !wgt_room) &&
                     !sto_active && (!exe_active || exe_stuck) && !in_flight[0] && !in_flight[2] && !in_flight[4] &&
                     !in_flight[5] && (load_active[1] ? only_one[1] : !in_flight[1]) &&
                     (exe_active ? only_one[3] : !in_flight[3]) && issue == '0 && !fifo_pop && !fetch_eligible &&
                     !end_holds;
  oct_progress u_progress (
    .clk_i, .rst_ni, .clear_i(clear_job), .run_i(run), .limit_i(watchdog_limit),
    .event_i(|done || tile_start || read_beat || write_beat || write_response), .quiescent_i(quiescent),
    .watchdog_o(watchdog), .deadlock_o(deadlock)
  );

  oct_fault u_fault (
    .clk_i, .rst_ni, .clear_i(flush), .run_i(run), .context_i(context_id), .illegal_i(illegal),
    .fetch_end_i(fetch_end), .next_index_i(next_index), .operand_i(operand_fault), .conflict_i(conflict_fault),
    .head_index_i(head_index), .conflict_index2_i(conflict_index2), .read_region_i(|read_region_fault),
    .read_region_index_i(read_region_index), .read_region_offset_i(read_region_offset),
    .write_region_i(write_region_fault), .write_region_index_i(write_region_index),
    .write_region_offset_i(write_region_offset), .claim_i({sto_claim, vec_claim, exe_claim, act_claim}),
    .claim_index_i({sto_claim_index, vec_claim_index[IndexBits-1:0], exe_claim_index[IndexBits-1:0], beat_index}),
    .claim_addr_i({sto_claim_addr, vec_claim_addr, exe_claim_addr, act_addr}), .semaphore_i(overflow),
    .done_index_i(done_index), .semaphore_id_i(overflow_semaphore), .bus_read_i(read_bus_fault),
    .bus_read_index_i(beat_index), .bus_read_addr_i(read_bus_addr), .bus_write_i(write_bus_fault),
    .bus_write_index_i(write_bus_index), .bus_write_addr_i(write_bus_addr), .deadlock_i(deadlock),
    .watchdog_i(watchdog), .blame_i(blame), .blame_index_i(blame_index), .precise_o(precise_now), .stop_o(stop_now),
    .cause_o(fault_cause), .index_o(fault_index), .index2_o(fault_index2), .addr_o(fault_addr),
    .context_o(fault_context)
  );

  assign trace_issue_o   = issue;
  assign trace_done_o    = done;
  assign trace_class_o   = classes;
  assign trace_running_o = run;
  assign trace_tile_o    = tile_start && run;
  assign trace_fault_o   = precise_now || stop_now;
  for (genvar q = 0; q < 6; q++) begin : gen_trace
    assign trace_issue_index_o[32*q+:32] = 32'(head_index[q]);
    assign trace_done_index_o[32*q+:32]  = 32'(done_index[q]);
  end
  assign obs_exe_we_o    = exe_out_we && run;
  assign obs_exe_index_o = exe_out_index;
  assign obs_exe_addr_o  = exe_out_addr;
  assign obs_exe_data_o  = exe_out_data;
  assign obs_vec_we_o    = vec_out_we && run;
  assign obs_vec_index_o = vec_out_index;
  assign obs_vec_addr_o  = vec_out_addr;
  assign obs_vec_data_o  = vec_out_data;

  `OCT_ASSERT_INIT(ArraySize, N == 4 || N == 8 || N == 16 || N == 32 || N == 64)
  `OCT_ASSERT_INIT(WeightRowsDivide, WeightRows > 0 && N % WeightRows == 0)
  `OCT_ASSERT_INIT(BankDepthPowerOfTwo, BankDepth == 2 ** $clog2(BankDepth))
  `OCT_ASSERT_INIT(RingPowerOfTwo, RingTiles == 2 ** $clog2(RingTiles))
  `OCT_ASSERT_INIT(BufferFits, Banks > 0 && Banks <= 32 && Banks * BankDepth <= 65536)
  `OCT_ASSERT_INIT(MemoriesFit, AccDepth <= 1024 && PSets <= 128 && WRows <= 1024)
  `OCT_ASSERT_INIT(BurstsFit, ReadBursts > 1 && WriteBursts > 0)

endmodule
