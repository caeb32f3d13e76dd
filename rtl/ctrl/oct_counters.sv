// Counters of the job and their snapshot (timing.md section 9, registers.yml). All count only while the job runs.
`include "oct_assert.svh"

module oct_counters (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        clear_i,         // a job starts
  input  logic        clear_snapshot_i,
  input  logic        run_i,
  input  logic [5:0][3:0] class_i,     // of this cycle
  input  logic [3:0]  read_picked_i,   // FETCH, PRM, WGT, ACT
  input  logic [8:0]  read_bytes_i,
  input  logic        write_picked_i,
  input  logic [8:0]  write_bytes_i,
  input  logic [5:0]  done_i,
  input  logic        snapshot_i,      // copy all counters
  input  logic        read_i,          // 0: data_o is of no use
  input  logic [octile_regs_pkg::RegAddrBits-1:0] addr_i,
  output logic        hit_o,           // addr_i is a counter
  output logic [31:0] data_o
);

  localparam int unsigned Classes = octile_isa_pkg::NumClasses;
  localparam int unsigned Queues  = octile_isa_pkg::NumQueues;
  localparam int unsigned NumBytes = 5;
  localparam int unsigned AddrBits = octile_regs_pkg::RegAddrBits;

  // Plain counters: cycles, retired instructions, bytes of FETCH, PRM, WGT, ACT and STO.
  localparam int unsigned Plain = 2 + NumBytes;
  logic [2:0] retiring;
  always_comb begin
    retiring = '0;
    for (int unsigned q = 0; q < Queues; q++) retiring = retiring + 3'(done_i[q]);
  end
  logic [Plain-1:0]       step;
  logic [Plain-1:0][63:0] plain_snap;
  assign step = {write_picked_i, read_picked_i, |done_i, 1'b1};

  for (genvar i = 0; i < int'(Plain); i++) begin : gen_plain
    logic [63:0] count_q, snap_q;
    logic [8:0]  amount;
    if (i == 0) begin : g_cycles
      assign amount = 9'd1;
    end else if (i == 1) begin : g_retired
      assign amount = 9'(retiring);
    end else if (i < int'(Plain) - 1) begin : g_read
      assign amount = read_bytes_i;
    end else begin : g_written
      assign amount = write_bytes_i;
    end
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) count_q <= '0;
      else if (clear_i || clear_snapshot_i) count_q <= '0;
      else if (run_i && step[i]) count_q <= count_q + 64'(amount);
    end
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) snap_q <= '0;
      else if (clear_snapshot_i) snap_q <= '0;
      else if (snapshot_i) snap_q <= count_q;
    end
    assign plain_snap[i] = snap_q;
  end

  // Class counters of a queue: one counts in a cycle, mostly the one of the cycle before. Equal classes are counted in run_q, which goes
  // to the class's word when another class comes. A word whose bit in used_q is 0 is zero, whatever it holds, so that a start clears
  // bits and not words.
  localparam int unsigned QueueLog = $clog2(octile_regs_pkg::CounterQueueStride);
  localparam int unsigned ClassLog = $clog2(octile_regs_pkg::CounterClassStride);
  logic [AddrBits-1:0]     in_file;
  logic [2:0]              queue;
  logic [3:0]              class_id;
  logic [Queues-1:0][63:0] class_snap;
  assign in_file  = addr_i - octile_regs_pkg::CounterAddr;
  assign queue    = 3'(in_file >> QueueLog);
  assign class_id = 4'(in_file >> ClassLog);

  for (genvar q = 0; q < int'(Queues); q++) begin : gen_queue
    logic [63:0]           count_q [Classes];
    logic [Classes-1:0]    used_q;
    logic [63:0]           run_q;
    logic [64*Classes-1:0] snap_q;
    logic [3:0]            now, last_q;
    assign now = class_i[q];
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        used_q <= '0;
        run_q  <= '0;
        last_q <= '0;
      end else if (clear_i || clear_snapshot_i) begin
        used_q <= '0;
        run_q  <= '0;
        last_q <= '0;
      end else if (run_i) begin
        if (now == last_q) begin
          run_q <= run_q + 64'd1;
        end else begin
          used_q[last_q] <= 1'b1;
          run_q          <= 64'd1;
          last_q         <= now;
        end
      end
    end
    always_ff @(posedge clk_i) begin
      if (run_i && now != last_q) count_q[last_q] <= (used_q[last_q] ? count_q[last_q] : 64'd0) + run_q;
    end
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        snap_q <= '0;
      end else if (clear_snapshot_i) begin
        snap_q <= '0;
      end else if (snapshot_i) begin
        for (int unsigned c = 0; c < Classes; c++) begin
          snap_q[64*c+:64] <= (used_q[c] ? count_q[c] : 64'd0) + (last_q == 4'(c) ? run_q : 64'd0);
        end
      end
    end
    always_comb begin
      class_snap[q] = '0;
      if (read_i && queue == 3'(q) && class_id < 4'(Classes)) class_snap[q] = snap_q[64*class_id+:64];
    end

    // Conservation, not by construction: the classes of a queue add up to the cycles of the job.
`ifdef OCT_ASSERT_ON
    logic [63:0] total;
    always_comb begin
      total = '0;
      if (snapshot_i) begin
        for (int unsigned c = 0; c < Classes; c++) total = total + (used_q[c] ? count_q[c] : 64'd0);
        total = total + run_q;
      end
    end
    `OCT_ASSERT(ClassesAddUp, !snapshot_i || total == gen_plain[0].count_q, clk_i, rst_ni)
`endif
  end

  // Register reads. Queue q, class c: CounterAddr + q * QueueStride + c * ClassStride.
  logic [63:0] value;
  always_comb begin
    hit_o = 1'b1;
    value = '0;
    if (read_i) begin
      case (addr_i & ~AddrBits'(7))
        octile_regs_pkg::CyclesAddr:         value = plain_snap[0];
        octile_regs_pkg::RetiredAddr:        value = plain_snap[1];
        octile_regs_pkg::ReadBytesFetchAddr: value = plain_snap[2];
        octile_regs_pkg::ReadBytesPrmAddr:   value = plain_snap[3];
        octile_regs_pkg::ReadBytesWgtAddr:   value = plain_snap[4];
        octile_regs_pkg::ReadBytesActAddr:   value = plain_snap[5];
        octile_regs_pkg::WrittenBytesAddr:   value = plain_snap[6];
        default: begin
          if (addr_i >= octile_regs_pkg::CounterAddr && in_file < AddrBits'(Queues << QueueLog) &&
              class_id < 4'(Classes)) begin
            for (int unsigned q = 0; q < Queues; q++) value = value | class_snap[q];
          end else begin
            hit_o = 1'b0;
          end
        end
      endcase
    end
  end
  assign data_o = addr_i[2] ? value[63:32] : value[31:0];

endmodule
