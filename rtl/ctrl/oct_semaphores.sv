// The 32 semaphores (timing.md section 3). Issues decrement, completions increment, both in one cycle if need be. An increment
// beyond the maximum is a fault and leaves the value.
module oct_semaphores (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         clear_i,
  input  logic [5:0]   issue_i,         // queue q issues, with wait operands wait_i
  input  logic [5:0][11:0] wait_i,      // {wait1, wait0}
  input  logic [5:0]   done_i,          // queue q completes, with signal operands signal_i
  input  logic [5:0][11:0] signal_i,    // {signal1, signal0}
  output logic [32*8-1:0] value_o,      // semaphore s in bits 8s+7:8s
  output logic [5:0]   overflow_o,      // queue q's completion exceeds a maximum
  output logic [5:0][4:0] overflow_semaphore_o
);

  localparam logic [7:0] Max = 8'(octile_isa_pkg::SemaphoreMax);

  logic [32*8-1:0] value_q, value_d;
  assign value_o = value_q;

  // Decrements first, then increments in queue order.
  always_comb begin
    value_d              = value_q;
    overflow_o           = '0;
    overflow_semaphore_o = '0;
    if (|issue_i) begin
      for (int unsigned q = 0; q < 6; q++) begin
        if (issue_i[q]) begin
          if (wait_i[q][5]) value_d[8*wait_i[q][4:0]+:8] = value_d[8*wait_i[q][4:0]+:8] - 8'd1;
          if (wait_i[q][11]) value_d[8*wait_i[q][10:6]+:8] = value_d[8*wait_i[q][10:6]+:8] - 8'd1;
        end
      end
    end
    if (|done_i) begin
      for (int unsigned q = 0; q < 6; q++) begin
        if (done_i[q]) begin
          if (signal_i[q][5]) begin
            if (value_d[8*signal_i[q][4:0]+:8] == Max) begin
              overflow_o[q]           = 1'b1;
              overflow_semaphore_o[q] = signal_i[q][4:0];
            end else begin
              value_d[8*signal_i[q][4:0]+:8] = value_d[8*signal_i[q][4:0]+:8] + 8'd1;
            end
          end
          if (signal_i[q][11]) begin
            if (value_d[8*signal_i[q][10:6]+:8] == Max) begin
              if (!overflow_o[q]) overflow_semaphore_o[q] = signal_i[q][10:6];
              overflow_o[q] = 1'b1;
            end else begin
              value_d[8*signal_i[q][10:6]+:8] = value_d[8*signal_i[q][10:6]+:8] + 8'd1;
            end
          end
        end
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) value_q <= '0;
    else if (clear_i) value_q <= '0;
    else if (|issue_i || |done_i) value_q <= value_d;
  end

endmodule
