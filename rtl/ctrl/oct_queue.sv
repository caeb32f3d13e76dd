// One in-order queue: eight waiting instructions and the list of those in flight (timing.md section 3).
`include "oct_assert.svh"

module oct_queue #(
  parameter int unsigned InFlight = 8,    // instructions that can be in flight at once; a power of two
  parameter bit          Claims   = 1'b1  // instructions of this queue claim banks
) (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         clear_i,
  // From dispatch.
  input  logic         push_i,
  input  oct_ctrl_pkg::decoded_t decoded_i,
  input  logic [511:0] instr_i,
  output logic         full_o,
  // Head.
  output logic         valid_o,
  output oct_ctrl_pkg::decoded_t decoded_o,
  output logic [511:0] instr_o,
  input  logic         issue_i,      // pops the head and puts it in flight
  // In flight.
  input  logic         unit_done_i,  // the oldest in flight completes in this cycle
  output logic         done_o,       // as unit_done_i, or a SYNC completes
  output logic [oct_ctrl_pkg::IndexBits-1:0] done_index_o,
  output logic [5:0]   done_signal0_o,
  output logic [5:0]   done_signal1_o,
  output logic         in_flight_o,   // something is
  output logic         only_one_o,    // exactly one is
  output logic [31:0]  claim_rd0_o,   // banks claimed by the instructions in flight
  output logic [31:0]  claim_rd1_o,
  output logic [31:0]  claim_wr_o,
  // Search for the oldest instruction in flight that claims one of the given banks (only while search_i).
  input  logic         search_i,
  input  logic [31:0]  search_rd0_i,
  input  logic [31:0]  search_rd1_i,
  input  logic [31:0]  search_wr_i,
  output logic [oct_ctrl_pkg::IndexBits-1:0] found_rd0_o,
  output logic [oct_ctrl_pkg::IndexBits-1:0] found_rd1_o,
  output logic [oct_ctrl_pkg::IndexBits-1:0] found_wr_o,
  // Whom a blocked queue is blamed on: the oldest in flight, else the head.
  output logic         blame_o,
  output logic [oct_ctrl_pkg::IndexBits-1:0] blame_index_o
);

  localparam int unsigned Depth     = octile_isa_pkg::QueueDepth;
  localparam int unsigned PtrBits   = $clog2(Depth);
  localparam int unsigned ListBits  = $clog2(InFlight);
  localparam int unsigned IndexBits = oct_ctrl_pkg::IndexBits;

  // Waiting instructions. The head is kept in registers of its own beside the array, so that nothing wide moves unless
  // the head changes.
  logic [511:0]           wait_instr_q   [Depth];
  oct_ctrl_pkg::decoded_t wait_decoded_q [Depth];
  logic [511:0]           head_instr_q;
  oct_ctrl_pkg::decoded_t head_q;
  logic [PtrBits-1:0]     write_q, read_q, next_read;
  logic [PtrBits:0]       count_q;
  assign next_read = read_q + PtrBits'(1);
  assign full_o    = count_q == (PtrBits + 1)'(Depth);
  assign valid_o   = count_q != '0;
  assign decoded_o = head_q;
  assign instr_o   = head_instr_q;

  always_ff @(posedge clk_i) begin
    if (push_i) begin
      wait_instr_q[write_q]   <= instr_i;
      wait_decoded_q[write_q] <= decoded_i;
    end
    if (push_i && (count_q == '0 || (issue_i && count_q == (PtrBits + 1)'(1)))) begin
      head_instr_q <= instr_i;
      head_q       <= decoded_i;
    end else if (issue_i) begin
      head_instr_q <= wait_instr_q[next_read];
      head_q       <= wait_decoded_q[next_read];
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      write_q <= '0;
      read_q  <= '0;
      count_q <= '0;
    end else if (clear_i) begin
      write_q <= '0;
      read_q  <= '0;
      count_q <= '0;
    end else begin
      if (push_i) write_q <= write_q + PtrBits'(1);
      if (issue_i) read_q <= next_read;
      if (push_i != issue_i) count_q <= push_i ? count_q + (PtrBits + 1)'(1) : count_q - (PtrBits + 1)'(1);
    end
  end

  // In flight: oldest at list_read_q. A SYNC enters alone and leaves in the next cycle.
  logic [IndexBits-1:0] list_index_q  [InFlight];
  logic [11:0]          list_signal_q [InFlight];
  logic [ListBits-1:0]  list_write_q, list_read_q;
  logic [ListBits:0]    list_count_q;
  logic                 sync_q;
  assign done_o         = unit_done_i || sync_q;
  assign done_index_o   = list_index_q[list_read_q];
  assign done_signal0_o = list_signal_q[list_read_q][5:0];
  assign done_signal1_o = list_signal_q[list_read_q][11:6];
  assign in_flight_o    = list_count_q != '0;
  assign only_one_o     = list_count_q == (ListBits + 1)'(1);
  assign blame_o        = in_flight_o || valid_o;
  assign blame_index_o  = in_flight_o ? done_index_o : head_q.index;

  always_ff @(posedge clk_i) begin
    if (issue_i) begin
      list_index_q[list_write_q]  <= head_q.index;
      list_signal_q[list_write_q] <= {head_q.signal1, head_q.signal0};
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      list_write_q <= '0;
      list_read_q  <= '0;
      list_count_q <= '0;
      sync_q       <= 1'b0;
    end else if (clear_i) begin
      list_write_q <= '0;
      list_read_q  <= '0;
      list_count_q <= '0;
      sync_q       <= 1'b0;
    end else begin
      sync_q <= issue_i && head_q.is_sync;
      if (issue_i) list_write_q <= list_write_q + ListBits'(1);
      if (done_o) list_read_q <= list_read_q + ListBits'(1);
      if (issue_i != done_o) begin
        list_count_q <= issue_i ? list_count_q + (ListBits + 1)'(1) : list_count_q - (ListBits + 1)'(1);
      end
    end
  end

  if (Claims) begin : gen_claims
    logic [31:0] list_rd0_q [InFlight];
    logic [31:0] list_rd1_q [InFlight];
    logic [31:0] list_wr_q  [InFlight];
    logic [31:0] rd0_q, rd1_q, wr_q, rd0_d, rd1_d, wr_d;
    assign claim_rd0_o = rd0_q;
    assign claim_rd1_o = rd1_q;
    assign claim_wr_o  = wr_q;

    // Union of what stays in flight and what enters; evaluated only when the list changes.
    always_comb begin
      rd0_d = rd0_q;
      rd1_d = rd1_q;
      wr_d  = wr_q;
      if (issue_i || done_o) begin
        rd0_d = issue_i ? head_q.claim_rd0 : '0;
        rd1_d = issue_i ? head_q.claim_rd1 : '0;
        wr_d  = issue_i ? head_q.claim_wr : '0;
        for (int unsigned i = 0; i < InFlight; i++) begin
          if (ListBits'(i) >= ListBits'(done_o) && (ListBits + 1)'(i) < list_count_q) begin
            rd0_d = rd0_d | list_rd0_q[list_read_q+ListBits'(i)];
            rd1_d = rd1_d | list_rd1_q[list_read_q+ListBits'(i)];
            wr_d  = wr_d | list_wr_q[list_read_q+ListBits'(i)];
          end
        end
      end
    end

    always_ff @(posedge clk_i) begin
      if (issue_i) begin
        list_rd0_q[list_write_q] <= head_q.claim_rd0;
        list_rd1_q[list_write_q] <= head_q.claim_rd1;
        list_wr_q[list_write_q]  <= head_q.claim_wr;
      end
    end

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        rd0_q <= '0;
        rd1_q <= '0;
        wr_q  <= '0;
      end else if (clear_i) begin
        rd0_q <= '0;
        rd1_q <= '0;
        wr_q  <= '0;
      end else begin
        rd0_q <= rd0_d;
        rd1_q <= rd1_d;
        wr_q  <= wr_d;
      end
    end

    // From the youngest to the oldest, so that the oldest is what remains.
    always_comb begin
      found_rd0_o = '0;
      found_rd1_o = '0;
      found_wr_o  = '0;
      if (search_i) begin
        for (int unsigned i = InFlight; i > 0; i--) begin
          if ((ListBits + 1)'(i) <= list_count_q) begin
            if ((list_rd0_q[list_read_q+ListBits'(i-1)] & search_rd0_i) != '0) begin
              found_rd0_o = list_index_q[list_read_q+ListBits'(i-1)];
            end
            if ((list_rd1_q[list_read_q+ListBits'(i-1)] & search_rd1_i) != '0) begin
              found_rd1_o = list_index_q[list_read_q+ListBits'(i-1)];
            end
            if ((list_wr_q[list_read_q+ListBits'(i-1)] & search_wr_i) != '0) begin
              found_wr_o = list_index_q[list_read_q+ListBits'(i-1)];
            end
          end
        end
      end
    end
  end else begin : gen_no_claims
    logic unused;
    assign unused      = ^{search_i, search_rd0_i, search_rd1_i, search_wr_i};
    assign claim_rd0_o = '0;
    assign claim_rd1_o = '0;
    assign claim_wr_o  = '0;
    assign found_rd0_o = '0;
    assign found_rd1_o = '0;
    assign found_wr_o  = '0;
  end

  `OCT_ASSERT(QueueNeverOverflows, !(push_i && full_o), clk_i, rst_ni)
  `OCT_ASSERT(IssueOnlyHead, !(issue_i && !valid_o), clk_i, rst_ni)
  `OCT_ASSERT(ListNeverOverflows, !(issue_i && list_count_q == (ListBits + 1)'(InFlight)), clk_i, rst_ni)
  `OCT_ASSERT(DoneOnlyInFlight, !(done_o && !in_flight_o), clk_i, rst_ni)
  `OCT_ASSERT(SyncIsAlone, !(sync_q && unit_done_i), clk_i, rst_ni)

endmodule
