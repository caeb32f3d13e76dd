// Watchdog and deadlock detection (timing.md section 10).
module oct_progress (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        clear_i,       // a job starts
  input  logic        run_i,
  input  logic [31:0] limit_i,       // WATCHDOG register; 0: off
  input  logic        event_i,       // completion, tile start, beat or write response in this cycle
  input  logic        quiescent_i,   // nothing moves and nothing will
  output logic        watchdog_o,
  output logic        deadlock_o
);

  logic [31:0] since_q, since;       // cycles since the last event, up to the previous cycle and this one
  logic        first_q;              // cycle 0 counts as an event
  logic [1:0]  quiet_q;              // quiescent cycles in a row before this one, at most 3
  assign since      = event_i || first_q ? '0 : since_q + 32'd1;
  assign watchdog_o = run_i && limit_i != '0 && since == limit_i;
  assign deadlock_o = run_i && quiescent_i && quiet_q == 2'd3;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      since_q <= '0;
      first_q <= 1'b0;
      quiet_q <= '0;
    end else if (clear_i) begin
      since_q <= '0;
      first_q <= 1'b1;
      quiet_q <= '0;
    end else if (run_i) begin
      since_q <= since;
      first_q <= 1'b0;
      if (!quiescent_i) quiet_q <= '0;
      else if (quiet_q != 2'd3) quiet_q <= quiet_q + 2'd1;
    end
  end

endmodule
