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

  logic [63:0] class_q      [Queues*Classes];
  logic [63:0] class_snap_q [Queues*Classes];
  logic [63:0] bytes_q      [NumBytes];   // FETCH, PRM, WGT, ACT, written
  logic [63:0] bytes_snap_q [NumBytes];
  logic [63:0] cycles_q, retired_q, cycles_snap_q, retired_snap_q;

  logic [2:0] retiring;
  always_comb begin
    retiring = '0;
    for (int unsigned q = 0; q < Queues; q++) retiring = retiring + 3'(done_i[q]);
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      cycles_q  <= '0;
      retired_q <= '0;
      for (int unsigned i = 0; i < Queues * Classes; i++) class_q[i] <= '0;
      for (int unsigned i = 0; i < NumBytes; i++) bytes_q[i] <= '0;
    end else if (clear_i || clear_snapshot_i) begin
      cycles_q  <= '0;
      retired_q <= '0;
      for (int unsigned i = 0; i < Queues * Classes; i++) class_q[i] <= '0;
      for (int unsigned i = 0; i < NumBytes; i++) bytes_q[i] <= '0;
    end else if (run_i) begin
      cycles_q <= cycles_q + 64'd1;
      for (int unsigned q = 0; q < Queues; q++) begin
        class_q[6'(q*Classes)+6'(class_i[q])] <= class_q[6'(q*Classes)+6'(class_i[q])] + 64'd1;
      end
      if (|done_i) retired_q <= retired_q + 64'(retiring);
      for (int unsigned c = 0; c < 4; c++) begin
        if (read_picked_i[c]) bytes_q[c] <= bytes_q[c] + 64'(read_bytes_i);
      end
      if (write_picked_i) bytes_q[4] <= bytes_q[4] + 64'(write_bytes_i);
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      cycles_snap_q  <= '0;
      retired_snap_q <= '0;
      for (int unsigned i = 0; i < Queues * Classes; i++) class_snap_q[i] <= '0;
      for (int unsigned i = 0; i < NumBytes; i++) bytes_snap_q[i] <= '0;
    end else if (clear_snapshot_i) begin
      cycles_snap_q  <= '0;
      retired_snap_q <= '0;
      for (int unsigned i = 0; i < Queues * Classes; i++) class_snap_q[i] <= '0;
      for (int unsigned i = 0; i < NumBytes; i++) bytes_snap_q[i] <= '0;
    end else if (snapshot_i) begin
      cycles_snap_q  <= cycles_q;
      retired_snap_q <= retired_q;
      for (int unsigned i = 0; i < Queues * Classes; i++) class_snap_q[i] <= class_q[i];
      for (int unsigned i = 0; i < NumBytes; i++) bytes_snap_q[i] <= bytes_q[i];
    end
  end

  // Register reads. Queue q, class c: CounterAddr + q * QueueStride + c * ClassStride.
  localparam int unsigned QueueLog = $clog2(octile_regs_pkg::CounterQueueStride);
  localparam int unsigned ClassLog = $clog2(octile_regs_pkg::CounterClassStride);
  logic [AddrBits-1:0] in_file;
  logic [2:0]          queue;
  logic [3:0]          class_id;
  logic [63:0]         value;
  assign in_file  = addr_i - octile_regs_pkg::CounterAddr;
  assign queue    = 3'(in_file >> QueueLog);
  assign class_id = 4'(in_file >> ClassLog);
  always_comb begin
    hit_o = 1'b1;
    value = '0;
    if (read_i) begin
      case (addr_i & ~AddrBits'(7))
        octile_regs_pkg::CyclesAddr:         value = cycles_snap_q;
        octile_regs_pkg::ReadBytesFetchAddr: value = bytes_snap_q[0];
        octile_regs_pkg::ReadBytesPrmAddr:   value = bytes_snap_q[1];
        octile_regs_pkg::ReadBytesWgtAddr:   value = bytes_snap_q[2];
        octile_regs_pkg::ReadBytesActAddr:   value = bytes_snap_q[3];
        octile_regs_pkg::WrittenBytesAddr:   value = bytes_snap_q[4];
        octile_regs_pkg::RetiredAddr:        value = retired_snap_q;
        default: begin
          if (addr_i >= octile_regs_pkg::CounterAddr && in_file < AddrBits'(Queues << QueueLog) &&
              class_id < 4'(Classes)) begin
            value = class_snap_q[6'(queue)*6'(Classes)+6'(class_id)];
          end else begin
            hit_o = 1'b0;
          end
        end
      endcase
    end
  end
  assign data_o = addr_i[2] ? value[63:32] : value[31:0];

  // Conservation, not by construction: the classes of every queue add up to the cycles of the job.
`ifdef OCT_ASSERT_ON
  logic [63:0] total [Queues];
  always_comb begin
    for (int unsigned q = 0; q < Queues; q++) begin
      total[q] = '0;
      if (snapshot_i) begin
        for (int unsigned c = 0; c < Classes; c++) total[q] = total[q] + class_q[6'(q*Classes+c)];
      end
    end
  end
  for (genvar q = 0; q < int'(Queues); q++) begin : gen_conserve
    `OCT_ASSERT(ClassesAddUp, !snapshot_i || total[q] == cycles_q, clk_i, rst_ni)
  end
`endif

endmodule
