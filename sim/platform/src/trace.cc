#include "octile/sim/trace.h"

#include <algorithm>

namespace octile::sim {

void TraceRecorder::Start(uint32_t instructions) {
  *this = TraceRecorder();
  trace_.issue.assign(instructions, kNever);
  trace_.completion.assign(instructions, kNever);
}

// Adds what was counted since the last layer change to the layer that was current.
void TraceRecorder::CloseLayer() {
  auto it = std::lower_bound(by_layer_.begin(), by_layer_.end(), layer_,
                             [](const LayerCounters& l, uint32_t n) { return l.layer < n; });
  if (it == by_layer_.end() || it->layer != layer_) {
    it = by_layer_.insert(it, LayerCounters{});
    it->layer = layer_;
  }
  it->cycles += cycles_ - layer_cycles_base_;
  for (int q = 0; q < kQueues; ++q)
    for (int c = 0; c < kClasses; ++c)
      it->classes[q][c] += trace_.classes[q][c] - layer_base_[q][c];
  layer_cycles_base_ = cycles_;
  layer_base_ = trace_.classes;
}

void TraceRecorder::Issue(int queue, uint32_t instruction, uint32_t layer, uint64_t cycle) {
  if (instruction < trace_.issue.size()) trace_.issue[instruction] = cycle;
  if (queue != 3 && queue != 4) return;
  const bool exe = queue == 3;
  // EXE wins a tie; the queues of a cycle come in ascending order.
  if (have_layer_ && !exe && layer_by_exe_ && layer_since_ == cycle) return;
  if (have_layer_ && layer_ != layer) CloseLayer();
  have_layer_ = true;
  layer_by_exe_ = exe;
  layer_since_ = cycle;
  layer_ = layer;
}

void TraceRecorder::Complete(uint32_t instruction, uint64_t cycle) {
  if (instruction < trace_.completion.size()) trace_.completion[instruction] = cycle;
  ++trace_.retired;
}

void TraceRecorder::Finish(uint64_t cycles) {
  CloseLayer();
  trace_.layers = by_layer_;
  trace_.cycles = cycles;
  trace_.finished = true;
}

}  // namespace octile::sim
