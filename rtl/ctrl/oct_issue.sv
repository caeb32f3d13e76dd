// Decides which queue heads issue in this cycle (timing.md section 3): unit ready, fence, semaphores, then the OPERAND and
// CONFLICT checks. The queues are taken in order, so that a lower one's decrement and claims count for the higher ones.
module oct_issue (
  input  logic        run_i,              // 0: nothing issues
  // Heads.
  input  logic [5:0]  valid_i,
  input  logic [5:0]  sync_i,
  input  logic [5:0]  fence_i,            // fenced, or SYNC
  input  logic [5:0]  operand_ok_i,
  input  logic [5:0][11:0] wait_i,        // {wait1, wait0}
  input  logic [5:0][31:0] claim_rd0_i,   // queues without claims: zero
  input  logic [5:0][31:0] claim_rd1_i,
  input  logic [5:0][31:0] claim_wr_i,
  input  logic [5:0][oct_ctrl_pkg::IndexBits-1:0] index_i,
  // State.
  input  logic [5:0]  ready_i,            // unit ready
  input  logic [5:0]  in_flight_i,
  input  logic [32*8-1:0] semaphore_i,
  input  logic [5:0][31:0] held_rd0_i,    // claims in flight
  input  logic [5:0][31:0] held_rd1_i,
  input  logic [5:0][31:0] held_wr_i,
  // Result.
  output logic [5:0]  issue_o,
  output logic [5:0]  fence_block_o,      // the head waits for earlier ones
  output logic [5:0]  semaphore_block_o,  // the head waits for a semaphore and nothing else
  output logic [5:0]  operand_fault_o,
  output logic [5:0]  conflict_fault_o,
  // The first conflict: banks to look for in each queue's list (see oct_queue), and its resolution.
  output logic        search_o,
  output logic [5:0][31:0] search_rd0_o,
  output logic [5:0][31:0] search_rd1_o,
  output logic [5:0][31:0] search_wr_o,
  input  logic [5:0][oct_ctrl_pkg::IndexBits-1:0] found_rd0_i,
  input  logic [5:0][oct_ctrl_pkg::IndexBits-1:0] found_rd1_i,
  input  logic [5:0][oct_ctrl_pkg::IndexBits-1:0] found_wr_i,
  output logic [oct_ctrl_pkg::IndexBits-1:0] conflict_index2_o
);

  localparam logic [2:0] Act = octile_isa_pkg::QueueAct;
  localparam logic [2:0] Exe = octile_isa_pkg::QueueExe;
  localparam logic [2:0] Vec = octile_isa_pkg::QueueVec;
  localparam logic [2:0] Sto = octile_isa_pkg::QueueSto;

  // 1: value minus what lower queues took in this cycle is above zero.
  function automatic logic available(input logic [5:0] operand, input logic [32*8-1:0] values, input logic [5:0] taken,
                                     input logic [5:0][11:0] waits);
    logic [7:0] value;
    value = values[8*operand[4:0]+:8];
    for (int unsigned p = 0; p < 6; p++) begin
      if (taken[p] && (waits[p][5:0] == operand || waits[p][11:6] == operand)) value = value - 8'd1;
    end
    available = !operand[5] || value != '0;
  endfunction

  logic [5:0] candidate;
  assign fence_block_o = valid_i & fence_i & in_flight_i;
  assign candidate     = run_i ? valid_i & (ready_i | sync_i) & ~fence_block_o : '0;

  // Streams a claim is compared with: everything of the other queues, and the other read stream of the same queue.
  logic [5:0]  clash;
  logic [31:0] others_rd0, others_rd1, others_wr;
  always_comb begin
    issue_o           = '0;
    semaphore_block_o = '0;
    operand_fault_o   = '0;
    clash             = '0;
    others_rd0        = '0;
    others_rd1        = '0;
    others_wr         = '0;
    if (|candidate) begin
      for (int unsigned q = 0; q < 6; q++) begin
        if (candidate[q]) begin
          if (!available(wait_i[q][5:0], semaphore_i, issue_o, wait_i) ||
              !available(wait_i[q][11:6], semaphore_i, issue_o, wait_i)) begin
            semaphore_block_o[q] = 1'b1;
          end else if (!operand_ok_i[q]) begin
            operand_fault_o[q] = 1'b1;
          end else begin
            if (q >= 32'(Act) && !sync_i[q]) begin
              others_rd0 = held_rd1_i[q] | claim_rd1_i[q];
              others_rd1 = held_rd0_i[q];
              others_wr  = '0;
              for (int unsigned p = 32'(Act); p < 6; p++) begin
                if (p != q) begin
                  others_rd0 = others_rd0 | held_rd0_i[p] | held_rd1_i[p];
                  others_rd1 = others_rd1 | held_rd0_i[p] | held_rd1_i[p];
                  others_wr  = others_wr | held_wr_i[p];
                  if (issue_o[p]) begin
                    others_rd0 = others_rd0 | claim_rd0_i[p] | claim_rd1_i[p];
                    others_rd1 = others_rd1 | claim_rd0_i[p] | claim_rd1_i[p];
                    others_wr  = others_wr | claim_wr_i[p];
                  end
                end
              end
              clash[q] = ((claim_rd0_i[q] & others_rd0) | (claim_rd1_i[q] & others_rd1) |
                          (claim_wr_i[q] & others_wr)) != '0;
            end
            issue_o[q] = !clash[q];
          end
        end
      end
    end
  end
  assign conflict_fault_o = clash;

  // The lowest queue in conflict names the instruction it collides with. A stream's banks are searched for in the claims of
  // the queue that owns the stream; a stream is never compared with itself.
  logic [2:0]  culprit;
  logic [31:0] own_rd0, own_rd1, own_wr;
  always_comb begin
    culprit      = Act;
    own_rd0      = '0;
    own_rd1      = '0;
    own_wr       = '0;
    search_rd0_o = '0;
    search_rd1_o = '0;
    search_wr_o  = '0;
    if (search_o) begin
      for (int unsigned q = 6; q > 32'(Act); q--) begin
        if (clash[q-1]) begin
          culprit = 3'(q - 1);
          own_rd0 = claim_rd0_i[q-1];
          own_rd1 = claim_rd1_i[q-1];
          own_wr  = claim_wr_i[q-1];
        end
      end
      for (int unsigned p = 32'(Act); p < 6; p++) begin
        search_rd0_o[p] = 3'(p) == culprit ? own_rd1 : own_rd0 | own_rd1;
        search_rd1_o[p] = 3'(p) == culprit ? own_rd0 : own_rd0 | own_rd1;
        search_wr_o[p]  = 3'(p) == culprit ? '0 : own_wr;
      end
    end
  end
  assign search_o = |clash;

  // In the order of the streams: EXE in, EXE residual, VEC in, VEC b, STO, itself, EXE out, VEC out, ACT. In every stream
  // the ones in flight come before one that issues in this cycle. Written from the last to the first.
  logic [oct_ctrl_pkg::IndexBits-1:0] other;
  logic [5:0] earlier;  // lower queues that issue in this cycle
  assign earlier = issue_o & ~(6'h3f << culprit);
  always_comb begin
    other = '0;
    if (search_o) begin
      if (earlier[Act] && (claim_wr_i[Act] & search_wr_o[Act]) != '0) other = index_i[Act];
      if ((held_wr_i[Act] & search_wr_o[Act]) != '0) other = found_wr_i[Act];
      if (earlier[Vec] && (claim_wr_i[Vec] & search_wr_o[Vec]) != '0) other = index_i[Vec];
      if ((held_wr_i[Vec] & search_wr_o[Vec]) != '0) other = found_wr_i[Vec];
      if (earlier[Exe] && (claim_wr_i[Exe] & search_wr_o[Exe]) != '0) other = index_i[Exe];
      if ((held_wr_i[Exe] & search_wr_o[Exe]) != '0) other = found_wr_i[Exe];
      if ((own_rd0 & own_rd1) != '0) other = index_i[culprit];
      if (earlier[Sto] && (claim_rd0_i[Sto] & search_rd0_o[Sto]) != '0) other = index_i[Sto];
      if ((held_rd0_i[Sto] & search_rd0_o[Sto]) != '0) other = found_rd0_i[Sto];
      if (earlier[Vec] && (claim_rd1_i[Vec] & search_rd1_o[Vec]) != '0) other = index_i[Vec];
      if ((held_rd1_i[Vec] & search_rd1_o[Vec]) != '0) other = found_rd1_i[Vec];
      if (earlier[Vec] && (claim_rd0_i[Vec] & search_rd0_o[Vec]) != '0) other = index_i[Vec];
      if ((held_rd0_i[Vec] & search_rd0_o[Vec]) != '0) other = found_rd0_i[Vec];
      if (earlier[Exe] && (claim_rd1_i[Exe] & search_rd1_o[Exe]) != '0) other = index_i[Exe];
      if ((held_rd1_i[Exe] & search_rd1_o[Exe]) != '0) other = found_rd1_i[Exe];
      if (earlier[Exe] && (claim_rd0_i[Exe] & search_rd0_o[Exe]) != '0) other = index_i[Exe];
      if ((held_rd0_i[Exe] & search_rd0_o[Exe]) != '0) other = found_rd0_i[Exe];
    end
  end
  assign conflict_index2_o = other;

endmodule
