#include <array>

#include <fmt/format.h>

#include "octile/passes/passes.h"

namespace octile::passes {

std::span<const Pass> DefaultPipeline() {
  static constexpr std::array kPasses = {
      Pass{"one-code-to-table", OneCodeToTable},
      Pass{"drop-identities", DropIdentities},
      Pass{"merge-tables", MergeTables},
      Pass{"drop-dead-steps", DropDeadSteps},
  };
  return kPasses;
}

Status RunPasses(ir::Graph& graph, std::span<const Pass> pipeline) {
  for (const Pass& pass : pipeline) {
    // A pass may uncover more of its own work (a chain of tables): run it until nothing changes.
    for (bool changed = true; changed;) {
      OCTILE_ASSIGN_OR_RETURN(changed, pass.run(graph));
    }
    if (Status valid = ir::Verify(graph); !valid) {
      return Fail(ErrorCode::kInternal, fmt::format("pass '{}' left an invalid graph: {}", pass.name, valid.error().message));
    }
  }
  return {};
}

}  // namespace octile::passes
