// octile_cosim_run: random programs on the cycle-exact devices, every one compared with the first.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "octile/cosim/campaign.h"
#include "octile/sim/options.h"
#include "octile/systemc/device.h"

namespace octile {
namespace {

Expected<std::vector<cosim::Contender>> MakeContenders(const std::vector<std::string>& names, const Config& config) {
  std::vector<cosim::Contender> contenders;
  for (const std::string& name : names) {
    const sim::DeviceOptions options = sim::ToDeviceOptions(config);
    if (name == "model") {
      contenders.push_back({name, systemc::MakeModelDevice(options)});
    } else if (name == "systemc") {
      OCTILE_ASSIGN_OR_RETURN(auto device, systemc::MakeSystemcDevice(options));
      contenders.push_back({name, std::move(device)});
    } else {
      return Fail(ErrorCode::kUsage, fmt::format("no device '{}'; there are model, systemc", name));
    }
  }
  return contenders;
}

int Main(int argc, char** argv) {
  CLI::App app("Runs random programs on cycle-exact devices and stops at the first divergence");
  std::string config_name = DefaultConfigName();
  std::vector<std::string> devices = {"model", "systemc"};
  cosim::CampaignOptions options;
  bool quiet = false;
  bool need_coverage = false;
  app.add_option("--config", config_name, "Configuration: a name or a YAML file");
  app.add_option("--devices", devices, "model, systemc")->delimiter(',');
  app.add_option("--programs", options.programs, "Number of programs");
  app.add_option("--seed", options.first_seed, "Seed of the first program; the others follow");
  app.add_option("--fault-every", options.fault_every, "Every so many programs is faulty; 0: none");
  app.add_option("--mutant-every", options.mutant_every, "Every so many programs is a changed one; 0: none");
  app.add_flag("--require-coverage", need_coverage, "Fail unless every opcode, fault and class was reached");
  app.add_flag("--quiet", quiet, "Only errors");
  CLI11_PARSE(app, argc, argv);

  const auto report = [](const Error& e) {
    fmt::print(stderr, "octile_cosim_run: {}\n", e.message);
    return static_cast<int>(e.code);
  };
  const Expected<Config> config = LoadConfig(config_name);
  if (!config) return report(config.error());
  auto contenders = MakeContenders(devices, *config);
  if (!contenders) return report(contenders.error());
  cosim::Coverage coverage;
  const auto start = std::chrono::steady_clock::now();
  const Status status = cosim::RunCampaign(config->arch, sim::ToMemoryProfile(config->platform), *contenders, options,
                                           &coverage);
  if (!status) return report(status.error());
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!quiet)
    fmt::print("{}: {} agree\n{}{:.1f} s\n", config_name, fmt::join(devices, ", "), coverage.Report(), seconds);
  const auto missing = coverage.Missing();
  if (need_coverage && !missing.empty())
    return report({ErrorCode::kMismatch, fmt::format("never reached: {}", fmt::join(missing, ", "))});
  return 0;
}

}  // namespace
}  // namespace octile

int main(int argc, char** argv) { return octile::Main(argc, argv); }
