// Eight vectors from region 1 to region 2 through the activation buffer, written by hand. The
// compiler makes such programs from models.
#pragma once

#include "octile/isa/isa.h"
#include "octile/program/program.h"

inline octile::Program CopyEightVectors(const octile::ArchConfig& arch) {
  using namespace octile;
  constexpr int kVectors = 8;
  const auto bytes = static_cast<uint64_t>(kVectors * arch.n);
  Program program;
  program.arch = arch;
  program.model = "copy";
  program.regions = {{RegionKind::kProgram, "code", 256, false, false, true, {}},
                     {RegionKind::kInputs, "in", bytes, true, false, false, {}},
                     {RegionKind::kOutputs, "out", bytes, false, true, false, {}}};
  isa::Lda load;
  load.region = 1;
  load.n0 = kVectors;
  load.header.signal0 = isa::Semaphore(0);
  isa::Sta store;
  store.region = 2;
  store.n0 = kVectors;
  store.header.wait0 = isa::Semaphore(0);
  program.instructions = {isa::Encode(load), isa::Encode(store), isa::Encode(isa::End{})};
  PlanItem all;
  all.kind = PlanKind::kDevice;
  all.count = 3;
  all.name = "copy";
  program.plan = {all};
  return program;
}
