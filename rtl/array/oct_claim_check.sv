// Whether an address lies in the banks a stream claims (docs/timing.md 3).
module oct_claim_check #(
  parameter int unsigned BankDepth = 1024  // vectors of a bank, a power of two
) (
  input  logic [15:0] addr_i,
  input  logic [4:0]  bank_i,   // first bank
  input  logic [4:0]  banks_i,  // further banks
  output logic        bad_o
);

  localparam int unsigned Shift = $clog2(BankDepth);
  logic [15:0] bank;
  assign bank  = addr_i >> Shift;
  assign bad_o = (bank < {11'd0, bank_i}) || (bank > {10'd0, {1'b0, bank_i} + {1'b0, banks_i}});

endmodule
