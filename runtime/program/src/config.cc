#include "octile/program/config.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "octile/isa/isa.h"

namespace octile {

extern const std::string_view kEmbeddedConfigs;

namespace {

struct ArchField {
  std::string_view name;
  int ArchConfig::*member;
  int min;
  int max;
  bool power_of_two;
};
// In canonical order: the hash depends on it (rtl/spec/generate.py holds the same list; a test
// compares the hashes).
constexpr ArchField kArchFields[] = {
    {"n", &ArchConfig::n, 4, 64, true},
    {"weight_rows", &ArchConfig::weight_rows, 1, 64, true},
    {"ring_tiles", &ArchConfig::ring_tiles, 2, 65536, true},
    {"acc_depth", &ArchConfig::acc_depth, 16, 1024, false},
    {"banks", &ArchConfig::banks, 2, 32, false},
    {"bank_depth", &ArchConfig::bank_depth, 16, 65536, true},
    {"psets", &ArchConfig::psets, 1, 128, false},
    {"wrows", &ArchConfig::wrows, 1, 1024, false},
    {"read_bursts", &ArchConfig::read_bursts, 1, 1024, true},
    {"write_bursts", &ArchConfig::write_bursts, 1, 1024, true},
};

struct PlatformField {
  std::string_view name;
  int PlatformConfig::*member;  // null: the seed
  int min;
  int max;
};
constexpr PlatformField kPlatformFields[] = {
    {"read_latency", &PlatformConfig::read_latency, 1, 65535},
    {"write_latency", &PlatformConfig::write_latency, 1, 65535},
    {"beat_interval", &PlatformConfig::beat_interval, 1, 1024},
    {"refresh_period", &PlatformConfig::refresh_period, 0, 1 << 30},
    {"refresh_cycles", &PlatformConfig::refresh_cycles, 0, 1 << 30},
    {"jitter", &PlatformConfig::jitter, 0, 65535},
    {"ready_jitter", &PlatformConfig::ready_jitter, 0, 65535},
    {"seed", nullptr, 0, 0},
    {"clock_mhz", &PlatformConfig::clock_mhz, 1, 100000},
};

bool PowerOfTwo(int value) { return value > 0 && (value & (value - 1)) == 0; }

tl::unexpected<Error> Bad(std::string message) {
  return Fail(ErrorCode::kProgram, "configuration: " + std::move(message));
}

Expected<uint64_t> ParseNumber(std::string_view field, std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty())
    return Bad(fmt::format("field '{}': '{}' is not a non-negative number", field, text));
  return value;
}

Expected<std::string> ScalarOf(const YAML::Node& node, std::string_view field) {
  if (!node.IsScalar()) return Bad(fmt::format("field '{}' is not a number", field));
  return node.Scalar();
}

Status ReadArch(const YAML::Node& node, ArchConfig* arch) {
  if (!node.IsMap()) return Bad("'arch' is not a map");
  std::set<std::string> seen;
  for (const auto& item : node) {
    const std::string name = item.first.Scalar();
    const ArchField* field = nullptr;
    for (const ArchField& f : kArchFields)
      if (f.name == name) field = &f;
    if (field == nullptr) return Bad(fmt::format("'arch' has no field '{}'", name));
    if (!seen.insert(name).second) return Bad(fmt::format("'arch' names field '{}' twice", name));
    OCTILE_ASSIGN_OR_RETURN(const std::string text, ScalarOf(item.second, name));
    OCTILE_ASSIGN_OR_RETURN(const uint64_t value, ParseNumber(name, text));
    if (value > static_cast<uint64_t>(field->max))
      return Bad(
          fmt::format("field '{}' = {} is outside {}..{}", name, value, field->min, field->max));
    arch->*field->member = static_cast<int>(value);
  }
  for (const ArchField& f : kArchFields)
    if (!seen.contains(std::string(f.name)))
      return Bad(fmt::format("'arch' lacks field '{}'", f.name));
  return Validate(*arch);
}

Status ReadPlatform(const YAML::Node& node, PlatformConfig* platform) {
  if (!node.IsMap()) return Bad("'platform' is not a map");
  std::set<std::string> seen;
  for (const auto& item : node) {
    const std::string name = item.first.Scalar();
    if (!seen.insert(name).second)
      return Bad(fmt::format("'platform' names field '{}' twice", name));
    OCTILE_ASSIGN_OR_RETURN(const std::string text, ScalarOf(item.second, name));
    OCTILE_RETURN_IF_ERROR(SetPlatformField(*platform, name, text));
  }
  return Validate(*platform);
}

// The configuration under `root` ({arch, platform}).
Expected<Config> ReadConfig(const YAML::Node& root, std::string_view name) {
  if (!root.IsMap()) return Bad("expected a map with 'arch' and 'platform'");
  Config config;
  config.name = name;
  for (const auto& item : root) {
    const std::string key = item.first.Scalar();
    if (key != "arch" && key != "platform")
      return Bad(fmt::format("unknown key '{}'; there are 'arch' and 'platform'", key));
  }
  if (!root["arch"]) return Bad("'arch' is missing");
  OCTILE_RETURN_IF_ERROR(ReadArch(root["arch"], &config.arch));
  if (root["platform"]) OCTILE_RETURN_IF_ERROR(ReadPlatform(root["platform"], &config.platform));
  return config;
}

// yaml-cpp reports by exceptions; they end here.
Expected<YAML::Node> LoadYaml(std::string_view text, std::string_view name) {
  try {
    return YAML::Load(std::string(text));
  } catch (const YAML::Exception& error) {
    return Fail(ErrorCode::kProgram, fmt::format("configuration '{}': {}", name, error.what()));
  }
}

const YAML::Node& Embedded() {
  static const YAML::Node node = YAML::Load(std::string(kEmbeddedConfigs));
  return node;
}

}  // namespace

Status Validate(const ArchConfig& arch) {
  if (arch.banks == 1)
    return Bad(
        "field 'banks' = 1: nothing can run, because an operator reads its input from one bank "
        "while it writes its result to another; there must be at least 2");
  for (const ArchField& f : kArchFields) {
    const int value = arch.*f.member;
    if (value < f.min || value > f.max)
      return Bad(fmt::format("field '{}' = {} is outside {}..{}", f.name, value, f.min, f.max));
    if (f.power_of_two && !PowerOfTwo(value))
      return Bad(fmt::format("field '{}' = {} is not a power of two", f.name, value));
  }
  if (arch.weight_rows > arch.n)
    return Bad(fmt::format("field 'weight_rows' = {} is above n = {}", arch.weight_rows, arch.n));
  // A weight load waits until a whole burst fits: a smaller ring would wait for ever.
  if (int64_t{arch.ring_tiles} * arch.tile_bytes() < isa::kBurstBytes)
    return Bad(fmt::format("ring_tiles = {} tiles of {} bytes are below a burst ({} bytes)",
                           arch.ring_tiles, arch.tile_bytes(), isa::kBurstBytes));
  if (arch.buffer_vectors() > 65536)
    return Bad(
        fmt::format("banks * bank_depth = {} vectors is above the 65536 that addresses reach",
                    arch.buffer_vectors()));
  return {};
}

Status Validate(const PlatformConfig& platform) {
  for (const PlatformField& f : kPlatformFields) {
    if (f.member == nullptr) continue;
    const int value = platform.*f.member;
    if (value < f.min || value > f.max)
      return Bad(fmt::format("field '{}' = {} is outside {}..{}", f.name, value, f.min, f.max));
  }
  if (platform.refresh_period > 0 && platform.refresh_cycles >= platform.refresh_period)
    return Bad(fmt::format("refresh_cycles = {} is not below refresh_period = {}",
                           platform.refresh_cycles, platform.refresh_period));
  if (platform.refresh_period == 0 && platform.refresh_cycles != 0)
    return Bad(fmt::format("refresh_cycles = {} needs a refresh_period", platform.refresh_cycles));
  return {};
}

std::string ArchText(const ArchConfig& arch) {
  std::string text = fmt::format("isa={}.{}", isa::kVersionMajor, isa::kVersionMinor);
  for (const ArchField& f : kArchFields) text += fmt::format(" {}={}", f.name, arch.*f.member);
  return text;
}

uint64_t ArchHash(const ArchConfig& arch) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : "octile " + ArchText(arch))
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

std::string PlatformText(const PlatformConfig& platform) {
  std::string text;
  for (const PlatformField& f : kPlatformFields) {
    if (!text.empty()) text += ' ';
    text += f.member == nullptr ? fmt::format("{}={}", f.name, platform.seed)
                                : fmt::format("{}={}", f.name, platform.*f.member);
  }
  return text;
}

Status SetPlatformField(PlatformConfig& platform, std::string_view field, std::string_view value) {
  for (const PlatformField& f : kPlatformFields) {
    if (f.name != field) continue;
    OCTILE_ASSIGN_OR_RETURN(const uint64_t number, ParseNumber(field, value));
    if (f.member == nullptr) {
      platform.seed = number;
      return {};
    }
    if (number > static_cast<uint64_t>(f.max) || number < static_cast<uint64_t>(f.min))
      return Bad(fmt::format("field '{}' = {} is outside {}..{}", f.name, number, f.min, f.max));
    platform.*f.member = static_cast<int>(number);
    return {};
  }
  return Bad(fmt::format("the platform has no field '{}'", field));
}

std::vector<std::string> ConfigNames() {
  std::vector<std::string> names;
  for (const auto& item : Embedded()["configs"]) names.push_back(item.first.Scalar());
  return names;
}

std::string DefaultConfigName() { return Embedded()["default"].Scalar(); }

Expected<Config> ParseConfig(std::string_view text, std::string_view name) {
  OCTILE_ASSIGN_OR_RETURN(const YAML::Node root, LoadYaml(text, name));
  try {
    auto config = ReadConfig(root, name);
    if (!config)
      return Fail(config.error().code, fmt::format("'{}': {}", name, config.error().message));
    return config;
  } catch (const YAML::Exception& error) {
    return Fail(ErrorCode::kProgram, fmt::format("configuration '{}': {}", name, error.what()));
  }
}

Expected<Config> LoadConfig(std::string_view name_or_path) {
  if (name_or_path.ends_with(".yml") || name_or_path.ends_with(".yaml")) {
    // A pipe would make the read wait for ever.
    std::error_code error;
    const bool regular = std::filesystem::is_regular_file(std::string(name_or_path), error);
    std::ifstream file;
    if (regular) file.open(std::string(name_or_path), std::ios::binary);
    if (!regular || !file)
      return Fail(ErrorCode::kProgram,
                  fmt::format("cannot read configuration file '{}'", name_or_path));
    // A configuration is a few hundred bytes; a device or a disk image must not be read to its end.
    std::string text(1 << 16, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (file.gcount() == static_cast<std::streamsize>(text.size()))
      return Fail(ErrorCode::kProgram,
                  fmt::format("configuration file '{}' is above 64 KiB", name_or_path));
    text.resize(static_cast<size_t>(file.gcount()));
    return ParseConfig(text, name_or_path);
  }
  const YAML::Node configs = Embedded()["configs"];
  const YAML::Node node = configs[std::string(name_or_path)];
  if (!node)
    return Fail(ErrorCode::kProgram,
                fmt::format("no configuration '{}'; there are {}, or a .yml file", name_or_path,
                            fmt::join(ConfigNames(), ", ")));
  return ReadConfig(node, name_or_path);
}

}  // namespace octile
