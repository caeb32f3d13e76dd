#include "rtl_program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <thread>

namespace octile {
namespace {

using Clock = std::chrono::steady_clock;

// A cached program is found in a fraction of a second; only a build is worth a notice.
constexpr std::chrono::milliseconds kNoticeAfter{1500};

struct Pipe {
  int read = -1;
  int write = -1;
  ~Pipe() {
    CloseWrite();
    if (read >= 0) close(read);
  }
  bool Open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    read = ends[0];
    write = ends[1];
    return true;
  }
  void CloseWrite() {
    if (write >= 0) close(write);
    write = -1;
  }
};

// The architecture as a file for the builder; the platform does not matter to it. In a folder of
// its own that goes with the object.
class ConfigFile {
 public:
  ~ConfigFile() {
    std::error_code error;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, error);
  }
  Status Write(const ArchConfig& arch) {
    std::error_code error;
    std::string name = (std::filesystem::temp_directory_path(error) / "octile-XXXXXX").string();
    if (error || mkdtemp(name.data()) == nullptr)
      return Fail(ErrorCode::kDevice,
                  fmt::format("cannot make a temporary folder: {}", std::strerror(errno)));
    folder_ = name;
    std::string text;
    for (size_t at = 0; const std::string& field : Fields(ArchText(arch))) {
      if (at++ == 0) continue;  // the version of the instruction set is the generator's own
      text += (text.empty() ? "" : ", ") + field.substr(0, field.find('=')) + ": " +
              field.substr(field.find('=') + 1);
    }
    text = "arch: {" + text + "}\n";
    const int file = open(path().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const bool written =
        file >= 0 && write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    if (file >= 0) close(file);
    if (!written)
      return Fail(ErrorCode::kDevice,
                  fmt::format("cannot write '{}': {}", path(), std::strerror(errno)));
    return {};
  }
  std::string path() const { return (folder_ / "config.yml").string(); }

 private:
  static std::vector<std::string> Fields(const std::string& text) {
    std::vector<std::string> fields;
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find(' ', at), text.size());
      fields.push_back(text.substr(at, end - at));
      at = end + 1;
    }
    return fields;
  }
  std::filesystem::path folder_;
};

}  // namespace

Expected<std::string> EnsureRtlProgram(const Config& config, driver::RtlVariant variant,
                                       const std::function<void(const std::string&)>& notice,
                                       const std::function<bool()>& interrupted) {
  const std::string name = driver::RtlProgramName(config.arch, variant);
  if (!driver::FindDeviceProgram(name).empty()) return std::string();
  const std::string builder = driver::FindDeviceProgram("octile-rtl-build");
  if (builder.empty()) {
    return Fail(ErrorCode::kDevice,
                fmt::format("there is no program '{}', and no 'octile-rtl-build' to make it with; "
                            "configure Octile with -DOCTILE_RTL=ON, or set OCTILE_DEVICE_DIR",
                            name));
  }
  ConfigFile file;
  OCTILE_RETURN_IF_ERROR(file.Write(config.arch));
  Pipe output, errors;
  if (!output.Open() || !errors.Open())
    return Fail(ErrorCode::kDevice, fmt::format("pipe: {}", std::strerror(errno)));

  std::vector<std::string> words{builder};
  if (variant == driver::RtlVariant::kWave) words.push_back("--wave");
  if (variant == driver::RtlVariant::kChecked) words.push_back("--checked");
  words.push_back(file.path());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t self = getpid();
  const pid_t pid = fork();
  if (pid < 0)
    return Fail(ErrorCode::kDevice,
                fmt::format("cannot start '{}': {}", builder, std::strerror(errno)));
  if (pid == 0) {
    // A process group of its own: the terminal's interrupt reaches us alone, and we end the build.
    // It also ends when we die.
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != self) _exit(126);
    const int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    dup2(output.write, STDOUT_FILENO);
    dup2(errors.write, STDERR_FILENO);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) std::signal(signal, SIG_DFL);
    execv(builder.c_str(), argv.data());
    _exit(127);
  }
  setpgid(pid, pid);
  output.CloseWrite();
  errors.CloseWrite();

  std::string path, why;
  const Clock::time_point begin = Clock::now();
  bool told = false, stopped = false;
  pollfd ends[2] = {{output.read, POLLIN, 0}, {errors.read, POLLIN, 0}};
  std::string* texts[2] = {&path, &why};
  while (ends[0].fd >= 0 || ends[1].fd >= 0) {
    poll(ends, 2, 100);
    for (int i = 0; i < 2; ++i) {
      if (ends[i].fd < 0 || (ends[i].revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
      char buffer[4096];
      const ssize_t got = read(ends[i].fd, buffer, sizeof(buffer));
      if (got > 0) texts[i]->append(buffer, static_cast<size_t>(got));
      if (got == 0 || (got < 0 && errno != EINTR)) ends[i].fd = -1;
    }
    if (!told && Clock::now() - begin > kNoticeAfter) {
      told = true;
      notice(
          fmt::format("building the RTL of {} once ({}); this takes a minute or more, and later "
                      "runs find it in a cache",
                      config.name, name));
    }
    if (!stopped && interrupted && interrupted()) {
      stopped = true;
      kill(-pid, SIGTERM);
    }
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (stopped) return Fail(ErrorCode::kInterrupted, "interrupted");
  while (!path.empty() && path.back() == '\n') path.pop_back();
  while (!why.empty() && why.back() == '\n') why.pop_back();
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || path.empty()) {
    const bool bad_config =
        WIFEXITED(status) && WEXITSTATUS(status) == static_cast<int>(ErrorCode::kProgram);
    return Fail(bad_config ? ErrorCode::kProgram : ErrorCode::kDevice,
                fmt::format("the RTL device of '{}' cannot be built: {}", config.name,
                            why.empty() ? "the build was ended" : why));
  }
  return path;
}

}  // namespace octile
