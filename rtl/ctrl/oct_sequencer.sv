// State of the core: idle, running a job, done, faulted, resetting. Ends a job (timing.md sections 8 and 10) and sees to the
// soft reset: drain the bus, then hold `clear_o` while the memories are scrubbed.
`include "oct_assert.svh"

module oct_sequencer #(
  parameter int unsigned BankDepth = 1024
) (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic start_i,        // accepted only when can_start_o
  input  logic soft_reset_i,
  input  logic end_i,          // END at the FIFO head
  input  logic empty_i,        // queues empty, nothing in flight
  input  logic precise_now_i,  // a precise fault is raised in this cycle
  input  logic fault_now_i,    // any other fault is raised in this cycle
  input  logic bus_idle_i,
  output logic run_o,          // a cycle of the job
  output logic precise_o,      // a precise fault was raised: older work drains
  output logic finish_o,       // the job's last cycle
  output logic finish_fault_o, // ... and it ends with a fault
  output logic end_holds_o,    // the condition that ends the job without further fault holds
  output logic can_start_o,
  output logic clear_job_o,    // a job starts: forget the program and the semaphores
  output logic clear_o,        // soft reset
  output logic event_done_o,   // STATUS becomes done
  output logic event_fault_o,  // STATUS becomes faulted
  output logic [4:0] status_o  // resetting, faulted, done, running, idle
);

  typedef enum logic [2:0] {StIdle, StRun, StFlush, StDone, StFaulted, StDrain, StScrub} state_e;
  localparam int unsigned ScrubCycles = BankDepth + 64;
  localparam int unsigned ScrubBits   = $clog2(ScrubCycles);

  state_e state_q, state_d;
  logic   precise_q;
  logic [ScrubBits-1:0] scrub_q;

  assign run_o          = state_q == StRun;
  assign precise_o      = precise_q;
  assign end_holds_o    = (end_i || precise_now_i || precise_q) && empty_i;
  assign finish_o       = run_o && (end_holds_o || fault_now_i);
  assign finish_fault_o = finish_o && (fault_now_i || precise_now_i || precise_q);
  assign can_start_o    = state_q == StIdle || state_q == StDone;
  assign clear_job_o    = start_i && can_start_o && !soft_reset_i;
  assign clear_o        = state_q == StScrub;

  always_comb begin
    state_d = state_q;
    case (state_q)
      StIdle, StDone: if (clear_job_o) state_d = StRun;
      StRun: begin
        if (finish_fault_o) state_d = StFaulted;
        else if (finish_o) state_d = StFlush;
      end
      // Bursts fetched behind END may still be on the bus.
      StFlush: if (bus_idle_i) state_d = StDone;
      StDrain: if (bus_idle_i) state_d = StScrub;
      StScrub: if (scrub_q == ScrubBits'(ScrubCycles - 1)) state_d = StIdle;
      default: ;
    endcase
    if (soft_reset_i && state_q != StDrain && state_q != StScrub) state_d = StDrain;
  end
  assign event_done_o  = state_d == StDone && state_q == StFlush;
  assign event_fault_o = state_d == StFaulted && state_q == StRun;
  assign status_o = {state_q == StDrain || state_q == StScrub, state_q == StFaulted, state_q == StDone,
                     run_o || state_q == StFlush, state_q == StIdle};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q   <= StIdle;
      precise_q <= 1'b0;
      scrub_q   <= '0;
    end else begin
      state_q <= state_d;
      if (clear_job_o || clear_o) precise_q <= 1'b0;
      else if (run_o && precise_now_i) precise_q <= 1'b1;
      scrub_q <= clear_o ? scrub_q + ScrubBits'(1) : '0;
    end
  end

  `OCT_ASSERT(OneStatus, $onehot(status_o), clk_i, rst_ni)

endmodule
