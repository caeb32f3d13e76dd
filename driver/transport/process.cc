#include "transport/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <thread>

#include "octile/program/config.h"
#include "transport/remote.h"

extern char** environ;

namespace octile::driver {
namespace {

// The descriptor the device program finds its connection at.
constexpr int kDeviceFd = 3;

class ChildProcess : public DeviceProcess {
 public:
  // output: a memfd that receives what the process prints.
  ChildProcess(pid_t pid, int output, std::string name)
      : pid_(pid), output_(output), name_(std::move(name)) {}
  ~ChildProcess() override {
    End(Deadline::Now());
    if (output_ >= 0) close(output_);
  }

  std::string Obituary(Deadline deadline) override {
    const std::lock_guard lock(mutex_);
    std::string text;
    if (!Reap(deadline)) {
      text = "it closed the connection";
    } else if (WIFSIGNALED(status_)) {
      text = fmt::format("the process died of signal {} ({})", WTERMSIG(status_),
                         strsignal(WTERMSIG(status_)));
    } else if (reaped_by_others_) {
      text = "the process ended";
    } else {
      text = fmt::format("the process ended with exit code {}", WEXITSTATUS(status_));
    }
    const std::string output = LastOutput();
    if (!output.empty()) text += "; its last words: " + output;
    return text;
  }

  std::optional<std::string> RefusedArguments() override {
    const std::lock_guard lock(mutex_);
    if (!reaped_ || reaped_by_others_ || !WIFEXITED(status_) ||
        WEXITSTATUS(status_) != static_cast<int>(ErrorCode::kUsage))
      return std::nullopt;
    // "PROGRAM: MESSAGE"
    const std::string output = LastOutput();
    const size_t colon = output.find(": ");
    return colon == std::string::npos ? output : output.substr(colon + 2);
  }

  void End(Deadline deadline) noexcept override {
    const std::lock_guard lock(mutex_);
    if (Reap(deadline)) return;
    kill(pid_, SIGKILL);
    Reap(Deadline::After(std::chrono::seconds(5)));
  }

 private:
  bool Reap(Deadline deadline) {
    auto pause = std::chrono::microseconds(200);
    while (!reaped_) {
      const pid_t pid = waitpid(pid_, &status_, WNOHANG);
      if (pid == pid_) {
        reaped_ = true;
      } else if (pid < 0 && errno == ECHILD) {
        // The program ignores SIGCHLD or reaps by itself.
        reaped_ = reaped_by_others_ = true;
        status_ = 0;
      } else if (deadline.passed()) {
        return false;
      } else {
        std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(pause, deadline.left()));
        pause = std::min(pause * 2, std::chrono::microseconds(10'000));
      }
    }
    return true;
  }

  std::string LastOutput() const {
    constexpr off_t kMost = 2000;
    const off_t end = lseek(output_, 0, SEEK_END);
    if (end <= 0) return "";
    const off_t from = std::max<off_t>(0, end - kMost);
    std::string text(static_cast<size_t>(end - from), '\0');
    const ssize_t got = pread(output_, text.data(), text.size(), from);
    text.resize(got > 0 ? static_cast<size_t>(got) : 0);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }

  std::mutex mutex_;
  pid_t pid_;
  int output_;
  std::string name_;
  int status_ = 0;
  bool reaped_ = false;
  bool reaped_by_others_ = false;
};

Result<std::unique_ptr<Transport>> Spawn(const std::string& program,
                                         std::vector<std::string> arguments,
                                         const std::string& name, Deadline deadline) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0)
    return Fail(Code::kUnavailable, fmt::format("socketpair: {}", std::strerror(errno)));
  Channel ours(sockets[0]);
  Channel theirs(sockets[1]);
  const int output = memfd_create("octile-device-output", MFD_CLOEXEC);
  if (output < 0)
    return Fail(Code::kUnavailable, fmt::format("memfd_create: {}", std::strerror(errno)));

  std::vector<char*> argv;
  arguments.insert(arguments.begin(), program);
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  // Descriptors are duplicated to high numbers first, so that none overwrites another.
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  const int high_socket = fcntl(theirs.fd(), F_DUPFD_CLOEXEC, 100);
  const int high_output = fcntl(output, F_DUPFD_CLOEXEC, 100);
  posix_spawn_file_actions_adddup2(&actions, high_output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, high_output, STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&actions, high_socket, kDeviceFd);
  // What the user's program has open stays its own.
  posix_spawn_file_actions_addclosefrom_np(&actions, kDeviceFd + 1);
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  for (const int signal : {SIGPIPE, SIGTERM, SIGHUP, SIGINT, SIGCHLD}) sigaddset(&defaults, signal);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(high_socket);
  close(high_output);
  if (error != 0) {
    close(output);
    return Fail(Code::kUnavailable,
                fmt::format("cannot start '{}': {}", program, std::strerror(error)));
  }
  auto process = std::make_unique<ChildProcess>(pid, output, name);
  { const Channel closed(std::move(theirs)); }
  return RemoteTransport::Connect(std::move(ours), name, std::move(process), deadline);
}

// The configuration as YAML text, so that the device program needs no file.
std::string ConfigText(const Config& config) {
  auto flow = [](const std::string& text) {
    std::string out;
    size_t at = 0;
    while (at < text.size()) {
      size_t end = text.find(' ', at);
      if (end == std::string::npos) end = text.size();
      const std::string field = text.substr(at, end - at);
      at = end + 1;
      const size_t equals = field.find('=');
      const std::string key = field.substr(0, equals);
      if (key == "isa") continue;
      out += (out.empty() ? "" : ", ") + key + ": " + field.substr(equals + 1);
    }
    return out;
  };
  return "arch: {" + flow(ArchText(config.arch)) + "}\nplatform: {" +
         flow(PlatformText(config.platform)) + "}\n";
}

bool Executable(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && access(path.c_str(), X_OK) == 0;
}

// Options for the device program itself, handed on as they are; it explains what is wrong with
// them.
constexpr std::string_view kDeviceOptions[] = {
    "bus_read_error",
    "bus_write_error",
    "check_bus",
    "delay_answers",
    "die",
    "fault_job",
    "flip",
    "hang",
    "irq",
    "listen",
    "memory",
    "program",
    "seed_x",
    "timing_only",
    "wave",
    "wave_cycles",
};

Result<std::unique_ptr<Transport>> OpenProcess(const std::string& backend, const Uri& uri,
                                               Deadline deadline) {
  auto config = LoadConfig(uri.target.empty() ? DefaultConfigName() : uri.target);
  if (!config)
    return Fail(Code::kConfiguration,
                fmt::format("device '{}': {}", uri.text, config.error().message));
  std::vector<std::string> arguments;
  bool wave = false;
  for (const auto& [key, value] : uri.options) {
    wave |= key == "wave";
    if (key == "program") continue;
    if (std::find(std::begin(kDeviceOptions), std::end(kDeviceOptions), key) !=
        std::end(kDeviceOptions)) {
      arguments.push_back("--option");
      arguments.push_back(key + "=" + value);
    } else if (auto set = SetPlatformField(config->platform, key, value); !set) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("device '{}': option '{}={}': {}; there are also {}", uri.text, key,
                              value, set.error().message, fmt::join(kDeviceOptions, ", ")));
    }
  }
  if (auto valid = Validate(config->platform); !valid)
    return Fail(Code::kInvalidArgument,
                fmt::format("device '{}': {}", uri.text, valid.error().message));

  std::string program;
  if (backend == "systemc") {
    program = "octile-device-systemc";
  } else {
    program = RtlProgramName(config->arch, wave                             ? RtlVariant::kWave
                                           : uri.options.contains("seed_x") ? RtlVariant::kChecked
                                                                            : RtlVariant::kPlain);
  }
  const std::string given = uri.option("program");
  if (!given.empty() && !Executable(given))
    return Fail(Code::kNotFound, fmt::format("device '{}': option 'program': there is no program "
                                             "'{}'",
                                             uri.text, given));
  const std::string path = given.empty() ? FindDeviceProgram(program) : given;
  if (path.empty()) {
    const std::string where = fmt::format("{}", fmt::join(DeviceDirectories(), ", "));
    if (backend == "rtl")
      return Fail(Code::kNotFound,
                  fmt::format("device '{}': there is no program '{}' in {}. RTL devices are built "
                              "for one configuration each: 'octile run' builds what is missing, "
                              "and 'octile-rtl-build {}{}' does and prints the path for the option "
                              "'program'; or set OCTILE_DEVICE_DIR",
                              uri.text, program, where,
                              program.ends_with("-wave")      ? "--wave "
                              : program.ends_with("-checked") ? "--checked "
                                                              : "",
                              config->name));
    return Fail(Code::kNotFound,
                fmt::format("device '{}': there is no program '{}' in {}; build that target, "
                            "or set OCTILE_DEVICE_DIR",
                            uri.text, program, where));
  }
  arguments.insert(arguments.end(), {"--fd", std::to_string(kDeviceFd), "--config-name",
                                     config->name, "--config-text", ConfigText(*config)});
  return Spawn(path, std::move(arguments), fmt::format("device '{}'", uri.text), deadline);
}

}  // namespace

std::vector<std::string> DeviceDirectories() {
  std::vector<std::string> list;
  if (const char* dir = std::getenv("OCTILE_DEVICE_DIR"); dir != nullptr && *dir != '\0')
    list.push_back(dir);
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    const auto dir = self.parent_path();
    list.push_back(dir.string());
    list.push_back((dir.parent_path() / "libexec" / "octile").string());
    if (dir.filename() != "bin") list.push_back((dir.parent_path() / "bin").string());
  }
  return list;
}

std::string RtlProgramName(const ArchConfig& arch, RtlVariant variant) {
  // A file may describe what was built under a name; the hash decides, whatever the file is called.
  const uint64_t hash = ArchHash(arch);
  std::string name = fmt::format("octile-device-rtl-{:016x}", hash);
  for (const std::string& known : ConfigNames()) {
    const auto named = LoadConfig(known);
    if (named && ArchHash(named->arch) == hash) name = "octile-device-rtl-" + known;
  }
  if (variant == RtlVariant::kWave) name += "-wave";
  if (variant == RtlVariant::kChecked) name += "-checked";
  return name;
}

std::string FindDeviceProgram(const std::string& name) {
  for (const std::string& dir : DeviceDirectories())
    if (const std::string path = dir + "/" + name; Executable(path)) return path;
  return "";
}

TransportBackend ProcessBackend(const std::string& backend) {
  TransportBackend b;
  b.name = backend;
  const bool rtl = backend == "rtl";
  b.description = rtl ? "the RTL, verilated; its own process"
                      : "the cycle-exact SystemC model; its own process";
  b.available = [rtl](const std::string& config) {
    return !FindDeviceProgram(rtl ? "octile-device-rtl-" + config : "octile-device-systemc")
                .empty();
  };
  b.open = [backend](const Uri& uri, Deadline deadline) {
    return OpenProcess(backend, uri, deadline);
  };
  return b;
}

TransportBackend SocketBackend() {
  TransportBackend b;
  b.name = "socket";
  b.description = "a device process that listens on a local socket";
  b.takes_config = false;
  b.open = [](const Uri& uri, Deadline deadline) -> Result<std::unique_ptr<Transport>> {
    if (!uri.options.empty())
      return Fail(
          Code::kInvalidArgument,
          fmt::format("device '{}': a socket has no options; the device process has", uri.text));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (uri.target.empty() || uri.target.size() >= sizeof(address.sun_path))
      return Fail(Code::kInvalidArgument,
                  fmt::format("device '{}': expected a path of at most {} bytes", uri.text,
                              sizeof(address.sun_path) - 1));
    std::memcpy(address.sun_path, uri.target.data(), uri.target.size());
    Channel channel(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (channel.fd() < 0)
      return Fail(Code::kUnavailable, fmt::format("socket: {}", std::strerror(errno)));
    if (connect(channel.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
      return Fail(Code::kNotFound, fmt::format("device '{}': {}", uri.text, std::strerror(errno)));
    return RemoteTransport::Connect(std::move(channel), fmt::format("device '{}'", uri.text),
                                    nullptr, deadline);
  };
  return b;
}

}  // namespace octile::driver
