// Instruction fetch (timing.md section 2): asks the read channel for bursts of up to four instructions, assembles what is
// delivered, decodes it and keeps it in the instruction FIFO.
`include "oct_assert.svh"

module oct_fetch #(
  parameter int unsigned N        = 16,
  parameter int unsigned AccDepth = 1024,
  parameter int unsigned Banks    = 24,
  parameter int unsigned PSets    = 128,
  parameter int unsigned WRows    = 256
) (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         clear_i,  // a job starts, or soft reset: forget everything
  // The program.
  input  logic [31:0]  program_offset_i,
  input  logic [oct_ctrl_pkg::IndexBits-1:0] program_count_i,
  // Client of the read channel.
  output logic         eligible_o,
  output logic [31:0]  offset_o,
  output logic [6:0]   beats_o,
  output logic [oct_ctrl_pkg::IndexBits-1:0] index_o,  // first instruction of the burst
  input  logic         pick_i,
  input  logic         beat_i,   // a delivered beat (cycle b + 1)
  input  logic [8*N-1:0] data_i,
  // FIFO head.
  output logic         valid_o,
  output oct_ctrl_pkg::decoded_t decoded_o,
  output logic [511:0] instr_o,
  input  logic         pop_i,
  output logic         ended_o,  // FIFO empty and nothing left to ask for or on its way
  output logic [oct_ctrl_pkg::IndexBits-1:0] next_index_o  // index of the FIFO head, or of what would come next
);

  localparam int unsigned Depth      = octile_isa_pkg::FetchDepth;
  localparam int unsigned DepthBits  = $clog2(Depth);
  localparam int unsigned InstrBeats = octile_isa_pkg::InstrBytes / N;
  localparam int unsigned BeatBits   = InstrBeats > 1 ? $clog2(InstrBeats) : 1;
  localparam int unsigned IndexBits  = oct_ctrl_pkg::IndexBits;

  // Requests.
  logic [IndexBits-1:0] asked_q;  // instructions asked for
  logic [IndexBits-1:0] left;
  logic [2:0]           want;
  logic [DepthBits:0]   used_q;   // entries occupied or reserved
  assign left       = program_count_i - asked_q;
  assign want       = left > IndexBits'(4) ? 3'd4 : left[2:0];
  assign eligible_o = want != '0 && used_q + (DepthBits + 1)'(want) <= (DepthBits + 1)'(Depth);
  assign offset_o   = program_offset_i + {2'b0, asked_q, 6'b0};
  assign beats_o    = 7'(want) * 7'(InstrBeats);
  assign index_o    = asked_q;
  assign ended_o    = left == '0 && used_q == '0;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      asked_q <= '0;
      used_q  <= '0;
    end else if (clear_i) begin
      asked_q <= '0;
      used_q  <= '0;
    end else begin
      if (pick_i) asked_q <= asked_q + IndexBits'(want);
      if (pick_i || pop_i) used_q <= used_q + (pick_i ? (DepthBits + 1)'(want) : '0) - (DepthBits + 1)'(pop_i);
    end
  end

  // Assembly: the last beat of an instruction holds its most significant bytes.
  logic [511:0]        word;
  logic                word_valid;
  logic [BeatBits-1:0] beat_q;
  logic [IndexBits-1:0] arrived_q;
  if (InstrBeats > 1) begin : gen_assemble
    logic [511-8*N:0] part_q;
    assign word       = {data_i, part_q};
    assign word_valid = beat_i && beat_q == BeatBits'(InstrBeats - 1);
    always_ff @(posedge clk_i) begin
      if (beat_i && !word_valid) part_q[beat_q*(8*N)+:8*N] <= data_i;
    end
  end else begin : gen_whole
    assign word       = data_i;
    assign word_valid = beat_i;
  end

  oct_ctrl_pkg::decoded_t decoded;
  oct_decode #(.N(N), .AccDepth(AccDepth), .Banks(Banks), .PSets(PSets), .WRows(WRows)) u_decode (
    .valid_i(word_valid), .instr_i(word), .index_i(arrived_q), .decoded_o(decoded)
  );

  // FIFO.
  logic [511:0]           instr_q   [Depth];
  oct_ctrl_pkg::decoded_t decoded_q [Depth];
  logic [DepthBits-1:0] write_q, read_q;
  logic [DepthBits:0]   count_q;
  assign valid_o      = count_q != '0;
  assign decoded_o    = decoded_q[read_q];
  assign instr_o      = instr_q[read_q];

  always_ff @(posedge clk_i) begin
    if (word_valid) begin
      instr_q[write_q]   <= word;
      decoded_q[write_q] <= decoded;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      beat_q       <= '0;
      arrived_q    <= '0;
      next_index_o <= '0;
      write_q      <= '0;
      read_q       <= '0;
      count_q      <= '0;
    end else if (clear_i) begin
      beat_q       <= '0;
      arrived_q    <= '0;
      next_index_o <= '0;
      write_q      <= '0;
      read_q       <= '0;
      count_q      <= '0;
    end else begin
      if (beat_i) beat_q <= word_valid ? '0 : beat_q + BeatBits'(1);
      if (word_valid) begin
        arrived_q <= arrived_q + IndexBits'(1);
        write_q   <= write_q + DepthBits'(1);
      end
      if (pop_i) begin
        read_q       <= read_q + DepthBits'(1);
        next_index_o <= next_index_o + IndexBits'(1);
      end
      if (word_valid != pop_i) count_q <= word_valid ? count_q + (DepthBits + 1)'(1) : count_q - (DepthBits + 1)'(1);
    end
  end

  `OCT_ASSERT(FifoNeverOverflows, !(word_valid && count_q == (DepthBits + 1)'(Depth)), clk_i, rst_ni)
  `OCT_ASSERT(PopOnlyWhenValid, !(pop_i && !valid_o), clk_i, rst_ni)

endmodule
