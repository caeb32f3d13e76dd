// The class of every queue in this cycle (timing.md section 9, isa.yml): the first that applies.
module oct_classes (
  input  logic [2:0] load_active_i,      // PRM, WGT, ACT work on an instruction
  input  logic [2:0] load_picked_i,
  input  logic [2:0] load_space_i,
  input  logic       exe_active_i,       // EXE: at most one of the three
  input  logic       exe_weight_i,
  input  logic       exe_slot_i,
  input  logic       vec_active_i,       // VEC: in the read phase
  input  logic       vec_ready_i,
  input  logic       sto_active_i,
  input  logic       sto_reading_i,
  input  logic [5:0] valid_i,            // queue heads
  input  logic [5:0] issue_i,
  input  logic [5:0] fence_block_i,
  input  logic [5:0] semaphore_block_i,
  input  logic [5:0] in_flight_i,
  output logic [5:0][3:0] class_o
);

  localparam int unsigned Exe = 32'(octile_isa_pkg::QueueExe);
  localparam int unsigned Vec = 32'(octile_isa_pkg::QueueVec);
  localparam int unsigned Sto = 32'(octile_isa_pkg::QueueSto);

  // What the registered state says; of a load, whose bursts are picked or not with the bus, the class without a pick.
  logic [5:0][3:0] base;
  always_comb begin
    for (int unsigned q = 0; q < 6; q++) begin
      if (issue_i[q]) base[q] = octile_isa_pkg::ClassIssue;
      else if (fence_block_i[q] || (q == Vec && valid_i[q] && !vec_ready_i)) base[q] = octile_isa_pkg::ClassFence;
      else if (semaphore_block_i[q]) base[q] = octile_isa_pkg::ClassSem;
      else if (!valid_i[q] && in_flight_i[q]) base[q] = octile_isa_pkg::ClassDrain;
      else base[q] = octile_isa_pkg::ClassIdle;
    end
    for (int unsigned q = 0; q < 3; q++) begin
      if (load_space_i[q]) base[q] = octile_isa_pkg::ClassSpace;
      else if (load_active_i[q]) base[q] = octile_isa_pkg::ClassArb;
    end
    if (exe_active_i) base[Exe] = octile_isa_pkg::ClassActive;
    else if (exe_weight_i) base[Exe] = octile_isa_pkg::ClassWeight;
    else if (exe_slot_i) base[Exe] = octile_isa_pkg::ClassSlot;
    if (vec_active_i) base[Vec] = octile_isa_pkg::ClassActive;
    if (sto_reading_i) base[Sto] = octile_isa_pkg::ClassActive;
    else if (sto_active_i) base[Sto] = octile_isa_pkg::ClassSpace;
  end

  assign class_o[5:3] = base[5:3];
  for (genvar q = 0; q < 3; q++) begin : g_load
    assign class_o[q] = load_picked_i[q] ? octile_isa_pkg::ClassActive : base[q];
  end

endmodule
