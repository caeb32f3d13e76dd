// x + y rounded once to 24 bits, ties to even: the last three stages of an fma (N6) or of an fp32 addition (N7). One operation per
// cycle, latency 3 cycles. Magnitudes are extended to 36 bits; the operand with the smaller exponent is shifted right and the bits
// it loses are ORed into its lowest bit. That bit of the other operand is zero, so the OR rounds as the exact value would; where bits
// are lost, cancellation moves the top bit by at most one place, and guard and sticky lie below the 24 bits kept. A sum of zero is +0.
module oct_fp_sum (
  input  logic              clk_i,
  input  logic              valid_i,
  input  logic              x_neg_i,
  input  logic [31:0]       x_mag_i,  // bit 31 set, or zero; value x_mag * 2^x_exp
  input  logic signed [9:0] x_exp_i,
  input  logic              y_neg_i,
  input  logic [23:0]       y_sig_i,  // bit 23 set, or zero; value y_sig * 2^y_exp
  input  logic signed [9:0] y_exp_i,
  output logic              valid_o,  // valid_i, 3 cycles later
  output logic              neg_o,
  output logic [23:0]       sig_o,    // bit 23 set, or zero
  output logic signed [9:0] exp_o
);
  logic [2:0] valid_q;

  // Stage 1: the operand with the greater exponent stays, the other one is aligned. A zero operand never stays.
  logic signed [9:0] x_exp, y_exp, distance;
  logic [35:0]       x_mag, y_mag, small_mag, lost, shifted;
  logic              y_stays;
  always_comb begin
    x_exp     = '0;
    y_exp     = '0;
    x_mag     = '0;
    y_mag     = '0;
    y_stays   = 1'b0;
    distance  = '0;
    small_mag = '0;
    lost      = '0;
    shifted   = '0;
    if (valid_i) begin
      x_exp     = x_exp_i - 10'sd4;
      y_exp     = y_exp_i - 10'sd12;
      x_mag     = {x_mag_i, 4'd0};
      y_mag     = {y_sig_i, 12'd0};
      y_stays   = !x_mag_i[31] || (y_sig_i[23] && (y_exp > x_exp));
      distance  = y_stays ? (y_exp - x_exp) : (x_exp - y_exp);
      small_mag = y_stays ? x_mag : y_mag;
      if (distance < 10'sd0 || distance >= 10'sd36) begin
        // Below zero only beside a zero operand, which then is the one to be shifted.
        shifted = {35'd0, small_mag[35]};
      end else begin
        lost    = small_mag & ~(36'hF_FFFF_FFFF << distance[5:0]);
        shifted = small_mag >> distance[5:0];
        shifted[0] = shifted[0] | (lost != 36'd0);
      end
    end
  end

  logic [35:0]       big1_q, small1_q;
  logic signed [9:0] exp1_q, exp2_q;
  logic              neg1_q, subtract1_q, neg2_q;

  // Stage 2: signed sum of the magnitudes.
  logic [36:0] sum;
  logic        negative;
  always_comb begin
    sum      = '0;
    negative = 1'b0;
    if (valid_q[0]) begin
      sum      = subtract1_q ? ({1'b0, big1_q} - {1'b0, small1_q}) : ({1'b0, big1_q} + {1'b0, small1_q});
      negative = subtract1_q && sum[36];
      if (negative) sum = ~sum + 37'd1;
    end
  end

  // Stage 3: normalize and round.
  logic [36:0] sum2_q;
  logic [42:0] norm;
  logic [24:0] rounded;
  always_comb begin
    norm    = '0;
    rounded = '0;
    if (valid_q[1]) begin
      norm    = oct_float_pkg::norm37(sum2_q);
      rounded = oct_float_pkg::round24(norm[36:13], norm[12], norm[11:0] != 12'd0);
    end
  end

  always_ff @(posedge clk_i) begin
    // Last stage first: no register is read behind its assignment, so simulators need no copies.
    if (valid_q[1]) begin
      sig_o <= rounded[23:0];
      exp_o <= exp2_q + 10'sd13 - $signed({4'd0, norm[42:37]}) + $signed({9'd0, rounded[24]});
      neg_o <= neg2_q && (sum2_q != 37'd0);
    end
    if (valid_q[0]) begin
      sum2_q <= sum;
      exp2_q <= exp1_q;
      neg2_q <= neg1_q ^ negative;
    end
    if (valid_i) begin
      big1_q      <= y_stays ? y_mag : x_mag;
      small1_q    <= shifted;
      exp1_q      <= y_stays ? y_exp : x_exp;
      neg1_q      <= y_stays ? y_neg_i : x_neg_i;
      subtract1_q <= x_neg_i != y_neg_i;
    end
    valid_q <= {valid_q[1:0], valid_i};
  end

  assign valid_o = valid_q[2];

endmodule
