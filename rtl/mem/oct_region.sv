// Address translation and protection: {region, offset} to a memory address, refused outside the limit or without permission.
module oct_region (
  input  logic         valid_i,    // 0: outputs are of no use
  input  logic [2:0]   region_i,
  input  logic [31:0]  offset_i,
  input  logic [8:0]   bytes_i,
  input  logic [2:0]   need_i,     // permission asked for: {execute, write, read}, one of them set
  input  logic [8*64-1:0] base_i,  // of all regions
  input  logic [8*32-1:0] limit_i,
  input  logic [8*3-1:0]  perm_i,
  output logic         ok_o,
  output logic [63:0]  address_o
);

  logic [32:0] stop;
  always_comb begin
    stop      = '0;
    ok_o      = 1'b0;
    address_o = '0;
    if (valid_i) begin
      stop      = 33'(offset_i) + 33'(bytes_i);
      ok_o      = stop <= 33'(limit_i[32*region_i+:32]) && (perm_i[3*region_i+:3] & need_i) != '0;
      address_o = base_i[64*region_i+:64] + 64'(offset_i);
    end
  end

endmodule
