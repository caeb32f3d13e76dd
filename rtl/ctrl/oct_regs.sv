// The register block (rtl/spec/registers.yml) behind an AXI4-Lite slave. One access at a time in each direction; a write takes
// effect in the cycle after both its address and its data have arrived.
module oct_regs #(
  parameter int unsigned N           = 16,
  parameter int unsigned WeightRows  = 4,
  parameter int unsigned RingTiles   = 256,
  parameter int unsigned AccDepth    = 1024,
  parameter int unsigned Banks       = 24,
  parameter int unsigned BankDepth   = 1024,
  parameter int unsigned PSets       = 128,
  parameter int unsigned WRows       = 256,
  parameter int unsigned ReadBursts  = 32,
  parameter int unsigned WriteBursts = 8,
  parameter logic [63:0] ArchHash    = 64'd0
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  // AXI4-Lite.
  input  logic [octile_regs_pkg::RegAddrBits-1:0] awaddr_i,
  input  logic        awvalid_i,
  output logic        awready_o,
  input  logic [31:0] wdata_i,
  input  logic [3:0]  wstrb_i,
  input  logic        wvalid_i,
  output logic        wready_o,
  output logic [1:0]  bresp_o,
  output logic        bvalid_o,
  input  logic        bready_i,
  input  logic [octile_regs_pkg::RegAddrBits-1:0] araddr_i,
  input  logic        arvalid_i,
  output logic        arready_o,
  output logic [31:0] rdata_o,
  output logic [1:0]  rresp_o,
  output logic        rvalid_o,
  input  logic        rready_i,
  // Core.
  input  logic        clear_i,           // soft reset
  input  logic [4:0]  status_i,
  input  logic        can_start_i,
  output logic        start_o,
  output logic        soft_reset_o,
  input  logic        event_done_i,
  input  logic        event_fault_i,
  output logic        irq_o,
  output logic [2:0]  program_region_o,
  output logic [31:0] program_offset_o,
  output logic [oct_ctrl_pkg::IndexBits-1:0] program_count_o,
  output logic [31:0] watchdog_o,
  output logic [31:0] context_o,
  output logic [8*64-1:0] region_base_o,
  output logic [8*32-1:0] region_limit_o,
  output logic [8*3-1:0]  region_perm_o,
  input  logic [3:0]  fault_cause_i,
  input  logic [oct_ctrl_pkg::IndexBits-1:0] fault_index_i,
  input  logic [oct_ctrl_pkg::IndexBits-1:0] fault_index2_i,
  input  logic [63:0] fault_addr_i,
  input  logic [31:0] fault_context_i,
  // Counter file.
  output logic        snapshot_o,
  output logic        counter_read_o,
  output logic [octile_regs_pkg::RegAddrBits-1:0] counter_addr_o,
  input  logic        counter_hit_i,
  input  logic [31:0] counter_data_i
);

  localparam int unsigned AddrBits = octile_regs_pkg::RegAddrBits;
  localparam logic [1:0]  Okay     = 2'b00;
  localparam logic [1:0]  SlvErr   = 2'b10;
  localparam int unsigned IndexBits = oct_ctrl_pkg::IndexBits;

  // Write channels: address and data wait for each other.
  logic                aw_full_q, w_full_q, write;
  logic [AddrBits-1:0] aw_q;
  logic [31:0]         w_q;
  logic                strobes_q;
  assign awready_o = !aw_full_q;
  assign wready_o  = !w_full_q;
  assign write     = aw_full_q && w_full_q && !bvalid_o;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      aw_full_q <= 1'b0;
      w_full_q  <= 1'b0;
      bvalid_o  <= 1'b0;
    end else begin
      if (write) begin
        aw_full_q <= 1'b0;
        w_full_q  <= 1'b0;
        bvalid_o  <= 1'b1;
      end else begin
        if (awvalid_i) aw_full_q <= 1'b1;
        if (wvalid_i) w_full_q <= 1'b1;
        if (bready_i) bvalid_o <= 1'b0;
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (awvalid_i && awready_o) aw_q <= {awaddr_i[AddrBits-1:2], 2'b00};
    if (wvalid_i && wready_o) begin
      w_q       <= wdata_i;
      strobes_q <= wstrb_i == 4'hf;
    end
    if (write) bresp_o <= accepted ? Okay : SlvErr;
  end

  // Registers.
  logic [1:0]           irq_status_q, irq_enable_q;
  logic [2:0]           program_region_q;
  logic [23:0]          program_offset_q;   // in units of 256 bytes
  logic [IndexBits-1:0] program_count_q;
  logic [31:0]          job_id_q, watchdog_q, context_q;
  logic [8*64-1:0]      base_q;
  logic [8*32-1:0]      limit_q;
  logic [8*3-1:0]       perm_q;
  assign irq_o            = |(irq_status_q & irq_enable_q);
  assign program_region_o = program_region_q;
  assign program_offset_o = {program_offset_q, 8'b0};
  assign program_count_o  = program_count_q;
  assign watchdog_o       = watchdog_q;
  assign context_o        = context_q;
  assign region_base_o    = base_q;
  assign region_limit_o   = limit_q;
  assign region_perm_o    = perm_q;

  // Write decode. A region register is at RegionBaseLoAddr + 16 * region + 4 * word.
  logic       locked, accepted, in_regions;
  logic [2:0] region;
  logic [1:0] region_word;
  assign locked      = status_i[octile_regs_pkg::StatusRunningLsb] || status_i[octile_regs_pkg::StatusResettingLsb];
  assign in_regions  = aw_q >= octile_regs_pkg::RegionBaseLoAddr &&
                       aw_q < octile_regs_pkg::RegionBaseLoAddr +
                              AddrBits'(octile_isa_pkg::Regions * octile_regs_pkg::RegionBaseLoRegionStride);
  assign region      = aw_q[6:4];
  assign region_word = aw_q[3:2];

  always_comb begin
    accepted     = 1'b0;
    start_o      = 1'b0;
    soft_reset_o = 1'b0;
    snapshot_o   = 1'b0;
    if (write && strobes_q) begin
      case (aw_q)
        octile_regs_pkg::ControlAddr: begin
          soft_reset_o = w_q[octile_regs_pkg::ControlSoftResetLsb];
          start_o      = w_q[octile_regs_pkg::ControlStartLsb] && !soft_reset_o && can_start_i;
          accepted     = !w_q[octile_regs_pkg::ControlStartLsb] || soft_reset_o || can_start_i;
        end
        octile_regs_pkg::SnapshotAddr: begin
          snapshot_o = w_q[octile_regs_pkg::SnapshotTakeLsb];
          accepted   = 1'b1;
        end
        octile_regs_pkg::IrqStatusAddr, octile_regs_pkg::IrqEnableAddr: accepted = 1'b1;
        octile_regs_pkg::ProgramRegionAddr, octile_regs_pkg::ProgramOffsetAddr, octile_regs_pkg::ProgramCountAddr,
        octile_regs_pkg::JobIdAddr, octile_regs_pkg::WatchdogAddr, octile_regs_pkg::ContextAddr: accepted = !locked;
        default: accepted = in_regions && !locked;
      endcase
    end
  end

  logic store;
  assign store = write && accepted;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      irq_status_q     <= '0;
      irq_enable_q     <= '0;
      program_region_q <= '0;
      program_offset_q <= '0;
      program_count_q  <= '0;
      job_id_q         <= '0;
      watchdog_q       <= '0;
      context_q        <= '0;
      base_q           <= '0;
      limit_q          <= '0;
      perm_q           <= '0;
    end else begin
      if (store) begin
        case (aw_q)
          octile_regs_pkg::IrqEnableAddr:     irq_enable_q <= w_q[1:0];
          octile_regs_pkg::ProgramRegionAddr: program_region_q <= w_q[2:0];
          octile_regs_pkg::ProgramOffsetAddr: program_offset_q <= w_q[31:8];
          octile_regs_pkg::ProgramCountAddr:  program_count_q <= w_q[IndexBits-1:0];
          octile_regs_pkg::JobIdAddr:         job_id_q <= w_q;
          octile_regs_pkg::WatchdogAddr:      watchdog_q <= w_q;
          octile_regs_pkg::ContextAddr:       context_q <= w_q;
          default: ;
        endcase
        if (in_regions) begin
          case (region_word)
            2'd0:    base_q[64*region+:32] <= {w_q[31:8], 8'b0};
            2'd1:    base_q[64*region+32+:32] <= w_q;
            2'd2:    limit_q[32*region+:32] <= w_q;
            default: perm_q[3*region+:3] <= w_q[2:0];
          endcase
        end
      end
      if (clear_i) begin
        irq_status_q <= '0;
      end else begin
        // An event in the cycle of a clearing write wins.
        if (store && aw_q == octile_regs_pkg::IrqStatusAddr) irq_status_q <= irq_status_q & ~w_q[1:0];
        if (event_done_i) irq_status_q[octile_regs_pkg::IrqStatusDoneLsb] <= 1'b1;
        if (event_fault_i) irq_status_q[octile_regs_pkg::IrqStatusFaultLsb] <= 1'b1;
      end
    end
  end

  // Reads: the address is taken first, so that no input of the core reaches the selection.
  logic                read_q;
  logic [AddrBits-1:0] ar_q;
  logic                found;
  logic [31:0]         value;
  logic                ar_regions;
  assign arready_o      = !read_q && !rvalid_o;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) read_q <= 1'b0;
    else read_q <= arvalid_i && arready_o;
  end
  always_ff @(posedge clk_i) begin
    if (arvalid_i && arready_o) ar_q <= {araddr_i[AddrBits-1:2], 2'b00};
  end
  assign counter_read_o = read_q;
  assign counter_addr_o = ar_q;
  assign ar_regions     = ar_q >= octile_regs_pkg::RegionBaseLoAddr &&
                          ar_q < octile_regs_pkg::RegionBaseLoAddr +
                               AddrBits'(octile_isa_pkg::Regions * octile_regs_pkg::RegionBaseLoRegionStride);
  always_comb begin
    found = 1'b1;
    value = '0;
    if (read_q) begin
      case (ar_q)
        octile_regs_pkg::IdAddr:         value = octile_regs_pkg::IdReset;
        octile_regs_pkg::IsaVersionAddr: value = octile_isa_pkg::IsaVersion;
        octile_regs_pkg::ArchHashLoAddr: value = ArchHash[31:0];
        octile_regs_pkg::ArchHashHiAddr: value = ArchHash[63:32];
        octile_regs_pkg::Cap0Addr: value = 32'(N) << octile_regs_pkg::Cap0NLsb |
                                           32'(WeightRows) << octile_regs_pkg::Cap0WeightRowsLsb |
                                           32'(Banks) << octile_regs_pkg::Cap0BanksLsb;
        octile_regs_pkg::Cap1Addr: value = 32'(BankDepth);
        octile_regs_pkg::Cap2Addr: value = 32'(RingTiles);
        octile_regs_pkg::Cap3Addr: value = 32'(AccDepth) << octile_regs_pkg::Cap3AccDepthLsb |
                                           32'(PSets) << octile_regs_pkg::Cap3PsetsLsb;
        octile_regs_pkg::Cap4Addr: value = 32'(WRows);
        octile_regs_pkg::Cap5Addr: value = 32'(ReadBursts) << octile_regs_pkg::Cap5ReadBurstsLsb |
                                           32'(WriteBursts) << octile_regs_pkg::Cap5WriteBurstsLsb;
        octile_regs_pkg::ControlAddr:           value = '0;
        octile_regs_pkg::SnapshotAddr:          value = '0;
        octile_regs_pkg::StatusAddr:            value = 32'(status_i);
        octile_regs_pkg::IrqStatusAddr:         value = 32'(irq_status_q);
        octile_regs_pkg::IrqEnableAddr:         value = 32'(irq_enable_q);
        octile_regs_pkg::ProgramRegionAddr:     value = 32'(program_region_q);
        octile_regs_pkg::ProgramOffsetAddr:     value = program_offset_o;
        octile_regs_pkg::ProgramCountAddr:      value = 32'(program_count_q);
        octile_regs_pkg::JobIdAddr:             value = job_id_q;
        octile_regs_pkg::WatchdogAddr:          value = watchdog_q;
        octile_regs_pkg::ContextAddr:           value = context_q;
        octile_regs_pkg::FaultCauseAddr:        value = 32'(fault_cause_i);
        octile_regs_pkg::FaultInstructionAddr:  value = 32'(fault_index_i);
        octile_regs_pkg::FaultInstruction2Addr: value = 32'(fault_index2_i);
        octile_regs_pkg::FaultAddressLoAddr:    value = fault_addr_i[31:0];
        octile_regs_pkg::FaultAddressHiAddr:    value = fault_addr_i[63:32];
        octile_regs_pkg::FaultContextAddr:      value = fault_context_i;
        default: begin
          if (ar_regions) begin
            case (ar_q[3:2])
              2'd0:    value = base_q[64*ar_q[6:4]+:32];
              2'd1:    value = base_q[64*ar_q[6:4]+32+:32];
              2'd2:    value = limit_q[32*ar_q[6:4]+:32];
              default: value = 32'(perm_q[3*ar_q[6:4]+:3]);
            endcase
          end else begin
            found = counter_hit_i;
            value = counter_data_i;
          end
        end
      endcase
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) rvalid_o <= 1'b0;
    else if (read_q) rvalid_o <= 1'b1;
    else if (rready_i) rvalid_o <= 1'b0;
  end
  always_ff @(posedge clk_i) begin
    if (read_q) begin
      rdata_o <= value;
      rresp_o <= found ? Okay : SlvErr;
    end
  end

endmodule
