// Collects the faults of a cycle, latches the first cause of a job (timing.md section 10) and says whether work must stop.
module oct_fault (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        clear_i,           // a job starts, or soft reset
  input  logic        run_i,
  input  logic [31:0] context_i,
  // Causes of this cycle; vectors are by queue. The numbers of the causes are those of isa.yml.
  input  logic        illegal_i,
  input  logic        fetch_end_i,
  input  logic [oct_ctrl_pkg::IndexBits-1:0] next_index_i,  // instruction at the FIFO head, or behind the last one
  input  logic [5:0]  operand_i,
  input  logic [5:0]  conflict_i,
  input  logic [5:0][oct_ctrl_pkg::IndexBits-1:0] head_index_i,
  input  logic [oct_ctrl_pkg::IndexBits-1:0] conflict_index2_i,
  input  logic        read_region_i,     // FETCH, PRM, WGT or ACT
  input  logic [oct_ctrl_pkg::IndexBits-1:0] read_region_index_i,
  input  logic [31:0] read_region_offset_i,
  input  logic        write_region_i,
  input  logic [oct_ctrl_pkg::IndexBits-1:0] write_region_index_i,
  input  logic [31:0] write_region_offset_i,
  input  logic [3:0]  claim_i,           // ACT, EXE, VEC, STO
  input  logic [3:0][oct_ctrl_pkg::IndexBits-1:0] claim_index_i,
  input  logic [3:0][15:0] claim_addr_i,
  input  logic [5:0]  semaphore_i,
  input  logic [5:0][oct_ctrl_pkg::IndexBits-1:0] done_index_i,
  input  logic [5:0][4:0] semaphore_id_i,
  input  logic        bus_read_i,
  input  logic [oct_ctrl_pkg::IndexBits-1:0] bus_read_index_i,
  input  logic [63:0] bus_read_addr_i,
  input  logic        bus_write_i,
  input  logic [oct_ctrl_pkg::IndexBits-1:0] bus_write_index_i,
  input  logic [63:0] bus_write_addr_i,
  input  logic        deadlock_i,
  input  logic        watchdog_i,
  input  logic [5:0]  blame_i,           // queues that hold something, and whom to name
  input  logic [5:0][oct_ctrl_pkg::IndexBits-1:0] blame_index_i,
  // Result.
  output logic        precise_o,         // ILLEGAL or FETCH_END in this cycle
  output logic        stop_o,            // any other fault in this cycle
  output logic [3:0]  cause_o,           // fault record
  output logic [oct_ctrl_pkg::IndexBits-1:0] index_o,
  output logic [oct_ctrl_pkg::IndexBits-1:0] index2_o,
  output logic [63:0] addr_o,
  output logic [31:0] context_o
);

  localparam int unsigned IndexBits = oct_ctrl_pkg::IndexBits;

  logic [3:0]           cause_q, cause;
  logic [IndexBits-1:0] index_q, index2_q, index, index2;
  logic [63:0]          addr_q, addr;
  logic [31:0]          context_q;
  logic                 any_stop;

  assign any_stop  = |operand_i || |conflict_i || read_region_i || write_region_i || |claim_i || |semaphore_i ||
                     bus_read_i || bus_write_i || deadlock_i || watchdog_i;
  assign precise_o = illegal_i || fetch_end_i;
  assign stop_o    = run_i && any_stop;

  // Lowest cause, then lowest queue; written from the last to the first.
  always_comb begin
    cause  = '0;
    index  = '0;
    index2 = '0;
    addr   = '0;
    if (precise_o || stop_o) begin
      if (fetch_end_i) begin
        cause = octile_isa_pkg::FaultFetchEnd;
        index = next_index_i;
      end
      if (watchdog_i || deadlock_i) begin
        cause = deadlock_i ? octile_isa_pkg::FaultDeadlock : octile_isa_pkg::FaultWatchdog;
        index = next_index_i;
        for (int unsigned q = 6; q > 0; q--) if (blame_i[q-1]) index = blame_index_i[q-1];
      end
      if (bus_write_i) begin
        cause = octile_isa_pkg::FaultBusWrite;
        index = bus_write_index_i;
        addr  = bus_write_addr_i;
      end
      if (bus_read_i) begin
        cause = octile_isa_pkg::FaultBusRead;
        index = bus_read_index_i;
        addr  = bus_read_addr_i;
      end
      for (int unsigned q = 6; q > 0; q--) begin
        if (semaphore_i[q-1]) begin
          cause = octile_isa_pkg::FaultSemaphore;
          index = done_index_i[q-1];
          addr  = 64'(semaphore_id_i[q-1]);
        end
      end
      for (int unsigned q = 6; q > 0; q--) begin
        if (conflict_i[q-1]) begin
          cause  = octile_isa_pkg::FaultConflict;
          index  = head_index_i[q-1];
          index2 = conflict_index2_i;
          addr   = '0;
        end
      end
      for (int unsigned c = 4; c > 0; c--) begin
        if (claim_i[c-1]) begin
          cause  = octile_isa_pkg::FaultClaim;
          index  = claim_index_i[c-1];
          index2 = '0;
          addr   = 64'(claim_addr_i[c-1]);
        end
      end
      if (write_region_i) begin
        cause  = octile_isa_pkg::FaultRegion;
        index  = write_region_index_i;
        index2 = '0;
        addr   = 64'(write_region_offset_i);
      end
      if (read_region_i) begin
        cause  = octile_isa_pkg::FaultRegion;
        index  = read_region_index_i;
        index2 = '0;
        addr   = 64'(read_region_offset_i);
      end
      for (int unsigned q = 6; q > 0; q--) begin
        if (operand_i[q-1]) begin
          cause  = octile_isa_pkg::FaultOperand;
          index  = head_index_i[q-1];
          index2 = '0;
          addr   = '0;
        end
      end
      if (illegal_i) begin
        cause  = octile_isa_pkg::FaultIllegal;
        index  = next_index_i;
        index2 = '0;
        addr   = '0;
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      cause_q   <= '0;
      index_q   <= '0;
      index2_q  <= '0;
      addr_q    <= '0;
      context_q <= '0;
    end else if (clear_i) begin
      cause_q   <= '0;
      index_q   <= '0;
      index2_q  <= '0;
      addr_q    <= '0;
      context_q <= '0;
    end else if ((precise_o || stop_o) && cause_q == '0) begin
      cause_q   <= cause;
      index_q   <= index;
      index2_q  <= index2;
      addr_q    <= addr;
      context_q <= context_i;
    end
  end
  assign cause_o   = cause_q;
  assign index_o   = index_q;
  assign index2_o  = index2_q;
  assign addr_o    = addr_q;
  assign context_o = context_q;

endmodule
