// Assertion macros. Simulators check them (Verilator: with --assert), formal tools prove them (FORMAL); synthesis drops them.
// 
// rst_n is in the sensitivity list because it resets registers asynchronously elsewhere. `name` labels the statement, `prop` must hold at every rising edge of `clk` outside reset (`rst_n` low).
`ifndef OCT_ASSERT_SVH
`define OCT_ASSERT_SVH

`ifdef FORMAL
`define OCT_ASSERT_ON
`elsif VERILATOR
`define OCT_ASSERT_ON
`endif

`ifdef OCT_ASSERT_ON
`define OCT_ASSERT(name, prop, clk, rst_n) \
  always_ff @(posedge clk or negedge rst_n) begin \
    if (rst_n) name : assert (prop); \
  end
`define OCT_ASSUME(name, prop, clk, rst_n) \
  always_ff @(posedge clk or negedge rst_n) begin \
    if (rst_n) name : assume (prop); \
  end
`define OCT_COVER(name, prop, clk, rst_n) \
  always_ff @(posedge clk or negedge rst_n) begin \
    if (rst_n) name : cover (prop); \
  end
`else
`define OCT_ASSERT(name, prop, clk, rst_n)
`define OCT_ASSUME(name, prop, clk, rst_n)
`define OCT_COVER(name, prop, clk, rst_n)
`endif

// A condition on parameters, checked when the design is elaborated.
`ifndef SYNTHESIS
`define OCT_ASSERT_INIT(name, prop) \
  initial begin \
    name : assert (prop); \
  end
`else
`define OCT_ASSERT_INIT(name, prop)
`endif

`endif
