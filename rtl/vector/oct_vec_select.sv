// Which cells of the window the nine multipliers of every lane take in a chunk (docs/timing.md 8, by columns): tap 9 * chunk + i of the
// kernel, counted row by row, at multiplier i. Cell {slot, row}: tap (ky, kx) is kx slots behind the result's first column and ky rows
// below its first row.
module oct_vec_select (
  input  logic                valid_i,
  // verilator lint_off UNUSEDSIGNAL
  input  oct_vec_pkg::chunk_t chunk_i,
  // verilator lint_on UNUSEDSIGNAL
  input  logic [2:0]          kw_i,     // 1..5
  input  logic [4:0]          taps_i,   // kh * kw, 2..25
  output logic [8:0]          use_o,    // multiplier i has a tap
  output logic [53:0]         cells_o   // six bits for each
);

  logic [2:0] kx, ky;
  logic [3:0] slot;
  logic [26:0] kxs, kys;
  always_comb begin
    {use_o, cells_o, kxs, kys, kx, ky, slot} = '0;
    if (valid_i) begin
      for (int unsigned k = 1; k <= 5; k++) begin
        if (kw_i == 3'(k)) begin
          for (int unsigned c = 0; 9 * c < 5 * k; c++) begin
            if (chunk_i.index == 2'(c)) begin
              for (int unsigned i = 0; i < 9; i++) begin
                kxs[3*i+:3] = 3'((9 * c + i) % k);
                kys[3*i+:3] = 3'((9 * c + i) / k);
                use_o[i]    = taps_i > 5'(9 * c + i);
              end
            end
          end
        end
      end
      for (int unsigned i = 0; i < 9; i++) begin
        kx   = kxs[3*i+:3];
        ky   = kys[3*i+:3];
        slot = {1'b0, chunk_i.slot} + {1'b0, kx};
        if (slot >= 4'd6) slot = slot - 4'd6;
        cells_o[6*i+:6] = {slot[2:0], chunk_i.row + ky};
      end
    end
  end

endmodule
