// How long the vector unit reads for a WIN or a PACK, by the laws of docs/timing.md section 8.
#pragma once

#include <cstdint>

#include "octile/isa/isa.h"

namespace octile::codegen {

// R: cycles of the read phase. By columns where the law says so (small dense kernels), otherwise
// one for every tap.
int64_t WindowCycles(const isa::Win& win);

// R of a PACK with N = n lanes.
int64_t PackCycles(const isa::Pack& pack, int n);

}  // namespace octile::codegen
