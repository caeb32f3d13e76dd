// The part of a lane that WIN by columns uses (docs/timing.md 8): the lane's window of six columns by eight rows (differences x - zx; codes
// for MAX), the weights of the block (differences w - zw; 1 for SUM), and nine multipliers. Counted from the cycle x of a chunk: cells
// are taken in x + 3, multiplied in x + 4; the chunk's sum or maximum is there in x + 5.
module oct_vec_taps (
  input  logic               clk_i,
  input  logic               sum_i,       // SUM
  input  logic               max_i,       // MAX
  input  logic               w_signed_i,
  input  logic signed [8:0]  zw_i,
  input  logic signed [8:0]  neutral_i,   // what a multiplier without a tap takes
  // a vector's element arrives
  input  logic               fill_i,
  input  logic [5:0]         fill_cell_i,
  input  logic signed [8:0]  fill_d_i,
  // a word of four weights arrives
  input  logic               weight_i,
  input  logic [2:0]         weight_word_i,
  input  logic [31:0]        weights_i,
  // the chunk in x + 3 and in x + 4
  input  logic               take_i,
  input  logic [8:0]         take_use_i,
  input  logic [53:0]        take_cells_i,
  input  logic               mul_i,
  input  logic [1:0]         mul_chunk_i,
  // in x + 5
  output logic signed [21:0] sum_o,
  output logic signed [8:0]  max_o
);

  logic signed [8:0] window_q [48];
  always_ff @(posedge clk_i) begin
    if (fill_i) window_q[fill_cell_i] <= fill_d_i;
  end

  logic [35:0] weights_d;
  logic [7:0]  w_code;
  always_comb begin
    weights_d = '0;
    w_code    = '0;
    if (weight_i) begin
      for (int unsigned k = 0; k < 4; k++) begin
        w_code            = weights_i[8*k+:8];
        weights_d[9*k+:9] = sum_i ? 9'd1 : 9'($signed({w_signed_i & w_code[7], w_code}) - zw_i);
      end
    end
  end

  // Three multipliers share an adder. Part p has the taps 9 * chunk + 3 * p + 0, 1, 2.
  logic [59:0] parts;
  for (genvar p = 0; p < 3; p++) begin : g_part
    logic [26:0]        w0_q, w1_q, w2_q, w0_d, w1_d, w2_d;  // weights of chunks 0, 1, 2
    logic [26:0]        a_d, a_q, w;
    logic signed [8:0]  a0, a1, a2, most;
    logic signed [19:0] part_d, part_q;

    always_comb begin
      {w2_d, w1_d, w0_d} = '0;
      if (weight_i) begin
        {w2_d, w1_d, w0_d} = {w2_q, w1_q, w0_q};
        for (int unsigned i = 0; i < 3; i++) begin
          if (weight_word_i == 3'((3 * p + i) / 4)) w0_d[9*i+:9] = weights_d[9*((3*p+i)%4)+:9];
          if (weight_word_i == 3'((9 + 3 * p + i) / 4)) w1_d[9*i+:9] = weights_d[9*((9+3*p+i)%4)+:9];
          if (weight_word_i == 3'((18 + 3 * p + i) / 4)) w2_d[9*i+:9] = weights_d[9*((18+3*p+i)%4)+:9];
        end
      end
    end

    always_comb begin
      a_d = '0;
      if (take_i) begin
        a_d = {take_use_i[3*p+2] ? window_q[take_cells_i[18*p+12+:6]] : neutral_i,
               take_use_i[3*p+1] ? window_q[take_cells_i[18*p+6+:6]] : neutral_i,
               take_use_i[3*p] ? window_q[take_cells_i[18*p+:6]] : neutral_i};
      end
    end

    always_comb begin
      part_d = '0;
      most   = '0;
      w      = '0;
      {a2, a1, a0} = a_q;
      if (mul_i) begin
        if (max_i) begin
          most = (a1 > a0) ? a1 : a0;
          if (a2 > most) most = a2;
          part_d = 20'(most);
        end else begin
          w      = (mul_chunk_i == 2'd0) ? w0_q : ((mul_chunk_i == 2'd1) ? w1_q : w2_q);
          part_d = 20'(32'(a0) * 32'($signed(w[8:0])) + 32'(a1) * 32'($signed(w[17:9])) + 32'(a2) * 32'($signed(w[26:18])));
        end
      end
    end

    always_ff @(posedge clk_i) begin
      if (mul_i) part_q <= part_d;
      if (take_i) a_q <= a_d;
      if (weight_i) {w2_q, w1_q, w0_q} <= {w2_d, w1_d, w0_d};
    end
    assign parts[20*p+:20] = part_q;
  end

  logic signed [19:0] p0, p1, p2, most01;
  assign {p2, p1, p0} = parts;
  assign sum_o  = 22'(p0) + 22'(p1) + 22'(p2);
  assign most01 = (p1 > p0) ? p1 : p0;
  assign max_o  = 9'((p2 > most01) ? p2 : most01);

endmodule
