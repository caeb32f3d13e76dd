// What an FST file holds, by the reader that comes with Verilator: signals, and the first and last
// time at which one changes. Prints "signals N changes N first T last T start T end T"; exit code 1
// if the file cannot be read.
#include <cstdint>
#include <cstdio>

#include "fstapi.h"

namespace {

struct Seen {
  uint64_t changes = 0;
  uint64_t first = UINT64_MAX;
  uint64_t last = 0;
};

void OnChange(void* data, uint64_t time, fstHandle, const unsigned char*) {
  auto* seen = static_cast<Seen*>(data);
  ++seen->changes;
  if (time < seen->first) seen->first = time;
  if (time > seen->last) seen->last = time;
}

}  // namespace

int main(int argc, char** argv) {
  void* file = argc == 2 ? fstReaderOpen(argv[1]) : nullptr;
  if (file == nullptr) {
    std::fprintf(stderr, "fst_window: not a readable FST file\n");
    return 1;
  }
  Seen seen;
  fstReaderSetFacProcessMaskAll(file);
  const bool read = fstReaderIterBlocks(file, OnChange, &seen, nullptr) != 0;
  std::printf("signals %u changes %llu first %llu last %llu start %llu end %llu\n",
              static_cast<unsigned>(fstReaderGetVarCount(file)),
              static_cast<unsigned long long>(seen.changes),
              static_cast<unsigned long long>(seen.first),
              static_cast<unsigned long long>(seen.last),
              static_cast<unsigned long long>(fstReaderGetStartTime(file)),
              static_cast<unsigned long long>(fstReaderGetEndTime(file)));
  fstReaderClose(file);
  return read ? 0 : 1;
}
