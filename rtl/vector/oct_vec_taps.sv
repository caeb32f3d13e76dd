// What WIN by columns multiplies (docs/timing.md 8), in all lanes: the window of six columns by eight rows (differences x - zx; codes for
// MAX), the weights of the block (differences w - zw; 1 for SUM), and nine multipliers in each lane. Counted from the cycle x of a chunk:
// cells are taken in x + 3, multiplied in x + 4; the chunk's sum or maximum is there in x + 5.
module oct_vec_taps #(
  parameter int unsigned N = 16,
  parameter int unsigned OpW = 9  // see oct_array
) (
  input  logic                    clk_i,
  input  logic                    sum_i,       // SUM
  input  logic                    max_i,       // MAX
  input  logic                    w_signed_i,
  input  logic [31:0]             zw_i,
  input  logic [OpW-1:0]          neutral_i,   // what a multiplier without a tap takes
  // a vector arrives
  input  logic                    fill_i,
  input  logic [5:0]              fill_cell_i,
  input  logic [N-1:0][OpW-1:0]   fill_d_i,
  // a word of four weights arrives in each lane
  input  logic                    weight_i,
  input  logic [2:0]              weight_word_i,
  input  logic [N-1:0][31:0]      weights_i,
  // the chunk in x + 3 and in x + 4
  input  logic                    take_i,
  input  logic [8:0]              take_use_i,
  input  logic [53:0]             take_cells_i,
  input  logic                    mul_i,
  input  logic [1:0]              mul_chunk_i,
  // in x + 5
  output logic [N-1:0][31:0]      sum_o,
  output logic [N-1:0][31:0]      max_o
);

  logic [N*OpW-1:0] window_q [48];
  always_ff @(posedge clk_i) begin
    if (fill_i) window_q[fill_cell_i] <= fill_d_i;
  end

  logic [31:0]                 w_sign;
  logic [3:0][N-1:0][OpW-1:0]  weights_d;
  assign w_sign = {24'd0, w_signed_i, 7'd0};
  always_comb begin
    weights_d = '0;
    if (weight_i) begin
      for (int unsigned b = 0; b < 4; b++) begin
        for (int unsigned l = 0; l < N; l++) weights_d[b][l] = OpW'(oct_word_pkg::difference(weights_i[l] >> (8 * b), w_sign, zw_i));
      end
      if (sum_i) weights_d = {4*N{OpW'(1)}};
    end
  end

  // Tap t of chunk k has weight 9 k + t of the block: byte (9 k + t) % 4 of word (9 k + t) / 4.
  for (genvar t = 0; t < 9; t++) begin : g_tap
    logic [N*OpW-1:0] w, a_q;  // lane l in bits l * OpW
    for (genvar k = 0; k < 3; k++) begin : g_chunk
      logic [N*OpW-1:0] w_q;
      always_ff @(posedge clk_i) begin
        if (weight_i && weight_word_i == 3'((9 * k + t) / 4)) w_q <= weights_d[(9*k+t)%4];
      end
    end
    always_comb begin
      w = '0;
      if (mul_i && !max_i) begin
        if (mul_chunk_i == 2'd0) w = g_chunk[0].w_q;
        else if (mul_chunk_i == 2'd1) w = g_chunk[1].w_q;
        else w = g_chunk[2].w_q;
      end
    end
    always_ff @(posedge clk_i) begin
      if (take_i) begin
        if (take_use_i[t]) a_q <= window_q[take_cells_i[6*t+:6]];
        else a_q <= {N{neutral_i}};
      end
    end
  end

  // Three multipliers share an adder.
  logic [2:0][N-1:0][31:0] part_q;
  for (genvar p = 0; p < 3; p++) begin : g_part
    always_ff @(posedge clk_i) begin
      if (mul_i) begin
        if (max_i) begin
          for (int unsigned l = 0; l < N; l++) begin
            part_q[p][l] <= oct_word_pkg::most(32'($signed(g_tap[3*p].a_q[OpW*l+:OpW])),
                                               oct_word_pkg::most(32'($signed(g_tap[3*p+1].a_q[OpW*l+:OpW])), 32'($signed(g_tap[3*p+2].a_q[OpW*l+:OpW]))));
          end
        end else begin
          for (int unsigned l = 0; l < N; l++) begin
            part_q[p][l] <= 32'($signed(g_tap[3*p].a_q[OpW*l+:OpW])) * 32'($signed(g_tap[3*p].w[OpW*l+:OpW])) +
                            32'($signed(g_tap[3*p+1].a_q[OpW*l+:OpW])) * 32'($signed(g_tap[3*p+1].w[OpW*l+:OpW])) +
                            32'($signed(g_tap[3*p+2].a_q[OpW*l+:OpW])) * 32'($signed(g_tap[3*p+2].w[OpW*l+:OpW]));
          end
        end
      end
    end
  end
  always_comb begin
    for (int unsigned l = 0; l < N; l++) sum_o[l] = part_q[0][l] + part_q[1][l] + part_q[2][l];
    for (int unsigned l = 0; l < N; l++) max_o[l] = oct_word_pkg::most(part_q[0][l], oct_word_pkg::most(part_q[1][l], part_q[2][l]));
  end

endmodule
