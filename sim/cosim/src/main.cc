// octile_cosim_run: random programs on the cycle-exact devices, every one compared with the first.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>

#include "octile/cosim/campaign.h"
#include "octile/sim/iss.h"
#include "octile/sim/options.h"
#include "octile/systemc/device.h"
#ifdef OCTILE_COSIM_RTL
#include "octile/verilated/device.h"
#endif

namespace octile {
namespace {

#ifdef OCTILE_COSIM_RTL
constexpr char kDeviceNames[] = "model, systemc, iss, rtl";
constexpr char kDefaultConfig[] = OCTILE_COSIM_RTL;
#else
constexpr char kDeviceNames[] = "model, systemc, iss";
constexpr char kDefaultConfig[] = "base";
#endif

Expected<cosim::Contender> MakeContender(const std::string& name, const Config& config) {
  const sim::DeviceOptions options = sim::ToDeviceOptions(config);
  cosim::Contender c{name, nullptr, true};
  if (name == "model") {
    c.device = systemc::MakeModelDevice(options);
  } else if (name == "systemc") {
    OCTILE_ASSIGN_OR_RETURN(c.device, systemc::MakeSystemcDevice(options));
  } else if (name == "iss") {
    sim::IssOptions iss;
    iss.core = options.core;
    c.device = std::make_unique<sim::Iss>(iss);
    c.exact = false;
#ifdef OCTILE_COSIM_RTL
  } else if (name == "rtl") {
    verilated::RtlOptions rtl;
    rtl.device = options;
    rtl.check_bus = true;
    OCTILE_ASSIGN_OR_RETURN(c.device, verilated::MakeVerilatedDevice(rtl));
#endif
  } else {
    return Fail(ErrorCode::kUsage, fmt::format("no device '{}'; there are {}", name, kDeviceNames));
  }
  return c;
}

Expected<std::vector<cosim::Contender>> MakeContenders(const std::vector<std::string>& names,
                                                       const Config& config) {
  std::vector<cosim::Contender> contenders;
  for (const std::string& name : names) {
    OCTILE_ASSIGN_OR_RETURN(cosim::Contender c, MakeContender(name, config));
    contenders.push_back(std::move(c));
  }
  return contenders;
}

int Main(int argc, char** argv) {
  CLI::App app("Runs random programs on cycle-exact devices and stops at the first divergence");
  std::string config_name = kDefaultConfig;
  std::vector<std::string> devices = {"systemc"};
  cosim::CampaignOptions options;
  bool quiet = false;
  bool need_coverage = false;
  app.add_option("--config", config_name, "Configuration: a name or a YAML file");
  app.add_option("--devices", devices,
                 std::string("The first is what the others are compared with: ") + kDeviceNames)
      ->delimiter(',');
  app.add_option("--programs", options.programs, "Number of programs");
  app.add_option("--seed", options.first_seed, "Seed of the first program; the others follow");
  app.add_option("--fault-every", options.fault_every, "Every so many programs is faulty; 0: none");
  app.add_option("--mutant-every", options.mutant_every,
                 "Every so many programs is a changed one; 0: none");
  app.add_flag("--require-coverage", need_coverage,
               "Fail unless every opcode, fault and class was reached");
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
  const Status status = cosim::RunCampaign(config->arch, sim::ToMemoryProfile(config->platform),
                                           *contenders, options, &coverage);
  if (!status) return report(status.error());
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!quiet)
    fmt::print("{}: {} agree\n{}{:.1f} s\n", config_name, fmt::join(devices, ", "),
               coverage.Report(), seconds);
  const auto missing = coverage.Missing();
  if (need_coverage && !missing.empty())
    return report(
        {ErrorCode::kMismatch, fmt::format("never reached: {}", fmt::join(missing, ", "))});
  return 0;
}

}  // namespace
}  // namespace octile

int main(int argc, char** argv) { return octile::Main(argc, argv); }
