// A program of somebody else: compiles a model with the installed libraries, opens a device and
// runs it.
#include <chrono>
#include <iostream>

#include "octile/codegen/codegen.h"
#include "octile/driver/device.h"
#include "octile/frontend/importer.h"
#include "octile/sim/iss_backend.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  octile::sim::RegisterIssBackend();
  const auto imported = octile::frontend::ImportFile(argv[1]);
  const auto config = octile::LoadConfig("tiny");
  if (!imported || !config) return 3;
  const auto program = octile::codegen::Compile(imported->graph, *config, {"model"});
  if (!program) return 4;
  auto device = octile::driver::Device::Open(argv[2]);
  if (!device) {
    std::cerr << device.error().message << "\n";
    return 5;
  }
  const auto handle = device->Load(*program);
  if (!handle) return 6;
  const auto job = device->Submit(*handle);
  if (!job || !job->Wait(octile::driver::Deadline::After(std::chrono::seconds(60)))) return 7;
  std::cout << "retired " << job->counters()->retired << " instructions on " << argv[2] << "\n";
  return 0;
}
