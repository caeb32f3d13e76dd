// Moves the head of the instruction FIFO to its queue, one a cycle (timing.md section 2), and recognizes END, illegal
// instructions and the end of the program.
module oct_dispatch (
  input  logic       run_i,       // a job runs
  input  logic       precise_i,   // a precise fault was latched: nothing is dispatched any more
  input  logic       valid_i,     // FIFO head
  input  oct_ctrl_pkg::decoded_t decoded_i,
  input  logic       ended_i,     // FIFO empty, nothing left to fetch or on its way
  input  logic [5:0] full_i,      // queues
  output logic       pop_o,
  output logic [5:0] push_o,
  output logic       illegal_o,
  output logic       fetch_end_o,
  output logic       end_o        // END waits at the head
);

  logic enable;
  assign enable      = run_i && !precise_i;
  assign illegal_o   = enable && valid_i && !decoded_i.legal;
  assign end_o       = enable && valid_i && decoded_i.legal && decoded_i.is_end;
  assign fetch_end_o = enable && ended_i;

  always_comb begin
    push_o = '0;
    if (enable && valid_i && decoded_i.legal && !decoded_i.is_end) begin
      for (int unsigned q = 0; q < 6; q++) begin
        if (decoded_i.queue_id == 3'(q) && !full_i[q]) push_o[q] = 1'b1;
      end
    end
  end
  assign pop_o = |push_o;

endmodule
