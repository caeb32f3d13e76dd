#include "octile/device/device_main.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <deque>
#include <list>
#include <optional>
#include <thread>

#include "octile/isa/registers.h"
#include "octile/program/config.h"
#include "transport/channel.h"
#include "transport/uri.h"

namespace octile::device {
namespace {

namespace asio = boost::asio;
using driver::Channel;
using driver::Code;
using driver::Deadline;
using driver::Message;
using driver::MessageType;

constexpr uint32_t kMaxClients = 16;
constexpr uint64_t kDefaultMemory = uint64_t{1} << 30;
constexpr std::chrono::milliseconds kSlice{2};

struct Settings {
  int fd = -1;
  Config config;
  FaultPlan faults;
  PlatformBackend::Extras extras;
  uint64_t memory = kDefaultMemory;  // of each client
  std::string listen;
};

Expected<Settings> ParseArguments(int argc, char** argv) {
  Settings s;
  std::string config = DefaultConfigName();
  std::string config_name;
  std::string config_text;
  std::vector<std::string> options;
  for (int i = 1; i < argc; ++i) {
    const std::string key = argv[i];
    if (i + 1 >= argc) return Fail(ErrorCode::kUsage, fmt::format("'{}' needs a value", key));
    const std::string value = argv[++i];
    if (key == "--fd") {
      auto number = driver::ParseNumber(key, value);
      if (!number) return Fail(ErrorCode::kUsage, number.error().message);
      s.fd = static_cast<int>(*number);
    } else if (key == "--config") {
      config = value;
    } else if (key == "--config-name") {
      config_name = value;
    } else if (key == "--config-text") {
      config_text = value;
    } else if (key == "--option") {
      options.push_back(value);
    } else {
      return Fail(ErrorCode::kUsage,
                  fmt::format("unknown argument '{}'; there are --config NAME|FILE, --option "
                              "KEY=VALUE, and for the driver "
                              "--fd, --config-name and --config-text",
                              key));
    }
  }
  if (config_text.empty()) {
    OCTILE_ASSIGN_OR_RETURN(s.config, LoadConfig(config));
  } else {
    OCTILE_ASSIGN_OR_RETURN(s.config, ParseConfig(config_text, config_name));
  }
  for (const std::string& option : options) {
    const size_t equals = option.find('=');
    if (equals == std::string::npos)
      return Fail(ErrorCode::kUsage, fmt::format("--option '{}' is not KEY=VALUE", option));
    const std::string key = option.substr(0, equals);
    const std::string value = option.substr(equals + 1);
    if (key == "listen") {
      s.listen = value;
    } else if (key == "memory") {
      auto number = driver::ParseNumber(key, value);
      if (!number) return Fail(ErrorCode::kUsage, number.error().message);
      s.memory = *number;
      if (s.memory == 0 || s.memory % 4096 != 0 || s.memory > uint64_t{1} << 35)
        return Fail(ErrorCode::kUsage,
                    "option 'memory': not a positive multiple of 4096 up to 32 GiB");
    } else {
      OCTILE_ASSIGN_OR_RETURN(const bool taken, s.faults.Set(key, value));
      if (!taken && !SetPlatformField(s.config.platform, key, value)) s.extras[key] = value;
    }
  }
  OCTILE_RETURN_IF_ERROR(Validate(s.config.platform));
  if (s.fd < 0 && s.listen.empty())
    return Fail(ErrorCode::kUsage, "nobody to serve: give --option listen=PATH");
  return s;
}

// Every client's memory is a file of its own, mapped at its place in the device's address space, so
// that no client sees another's.
class DeviceMemory {
 public:
  explicit DeviceMemory(uint64_t window) : window_(window) {
    void* data = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data != MAP_FAILED) data_ = static_cast<uint8_t*>(data);
  }
  ~DeviceMemory() {
    if (data_ != nullptr) munmap(data_, bytes());
  }

  uint64_t bytes() const { return window_ * kMaxClients; }
  uint64_t window() const { return window_; }
  std::span<uint8_t> span() const {
    return data_ == nullptr ? std::span<uint8_t>() : std::span(data_, bytes());
  }

  bool Map(uint32_t slot, int fd) {
    return mmap(data_ + slot * window_, window_, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0) != MAP_FAILED;
  }
  void Unmap(uint32_t slot) {
    (void)mmap(data_ + slot * window_, window_, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  }

 private:
  uint64_t window_;
  uint8_t* data_ = nullptr;
};

class Server {
 public:
  Server(const Settings& settings, const PlatformBackend& backend, DeviceMemory& memory,
         std::unique_ptr<sim::CoreDevice> device)
      : settings_(settings),
        backend_(backend),
        memory_(memory),
        host_(std::move(device), settings.config.arch, settings.faults, memory.span()),
        arch_hash_(ArchHash(settings.config.arch)) {}

  ~Server() {
    if (!settings_.listen.empty() && listening_) unlink(settings_.listen.c_str());
  }

  Status Listen() {
    if (settings_.listen.empty()) return {};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (settings_.listen.size() >= sizeof(address.sun_path))
      return Fail(ErrorCode::kUsage, fmt::format("option 'listen': path longer than {} bytes",
                                                 sizeof(address.sun_path) - 1));
    std::memcpy(address.sun_path, settings_.listen.data(), settings_.listen.size());
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return Fail(ErrorCode::kDevice, fmt::format("socket: {}", std::strerror(errno)));
    listener_.emplace(io_, fd);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
        listen(fd, 16) != 0)
      return Fail(ErrorCode::kDevice,
                  fmt::format("option 'listen': '{}': {}", settings_.listen, std::strerror(errno)));
    listening_ = true;
    Accept();
    return {};
  }

  void AddClient(int fd, bool owner) {
    Client& client = clients_.emplace_back(io_, fd);
    client.owner = owner;
    AwaitRequest(client);
  }

  void Run() {
    asio::signal_set signals(io_, SIGTERM);
    // Of a device that belongs to a driver the terminal's interrupt is none of its business: the
    // driver ends it.
    if (settings_.fd < 0) signals.add(SIGINT);
    signals.async_wait([this](const boost::system::error_code& error, int) {
      if (!error) stop_ = true;
    });
    while (!stop_) {
      if (host_.Runnable()) {
        io_.poll();
        if (stop_) break;
        host_.Step(kSlice);
      } else {
        ArmTimer();
        io_.run_one();
      }
      Notify();
      io_.restart();
    }
  }

 private:
  struct Client {
    Client(asio::io_context& io, int fd) : channel(dup(fd)), ready(io, fd) {}

    Channel channel;
    asio::posix::stream_descriptor ready;  // tells when to read
    bool owner = false;
    bool greeted = false;
    uint32_t slot = 0;
    int memory = -1;
    std::optional<uint64_t> waiting;  // number of its kAcquire
  };

  void Accept() {
    listener_->async_wait(
        asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& error) {
          if (error) return;
          const int fd = accept4(listener_->native_handle(), nullptr, nullptr, SOCK_CLOEXEC);
          if (fd >= 0) AddClient(fd, false);
          Accept();
        });
  }

  void AwaitRequest(Client& client) {
    client.ready.async_wait(asio::posix::stream_descriptor::wait_read,
                            [this, &client](const boost::system::error_code& error) {
                              if (error || !Serve(client)) return Drop(client);
                              AwaitRequest(client);
                            });
  }

  // A late interrupt must wake the loop.
  void ArmTimer() {
    timer_.cancel();
    if (const auto next = host_.NextInterrupt()) {
      timer_.expires_at(*next);
      timer_.async_wait([](const boost::system::error_code&) {});
    }
  }

  void Notify() {
    for (int n = host_.TakeInterrupts(); n > 0; --n) {
      if (holder_ == nullptr) continue;
      Message message;
      message.type = MessageType::kInterrupt;
      (void)holder_->channel.Send(message, Deadline::After(std::chrono::seconds(1)));
    }
  }

  // false: the client is gone or broken.
  bool Serve(Client& client) {
    auto received = client.channel.Receive(Deadline::Now());
    if (!received) return false;
    if (!*received) return true;
    Message& request = **received;
    if (request.fd >= 0) close(request.fd);
    if (const auto delay = host_.AnswerDelay(); delay.count() > 0)
      std::this_thread::sleep_for(delay);
    Message reply;
    reply.number = request.number;
    bool answer = true;
    auto result = Handle(client, request, reply, answer);
    if (!answer) return true;
    if (!result) {
      reply = Message();
      reply.number = request.number;
      reply.args[0] = 1 + static_cast<uint64_t>(result.error().code);
      reply.data.assign(result.error().message.begin(), result.error().message.end());
    }
    const int fd = reply.fd;
    const auto sent = client.channel.Send(reply, Deadline::After(std::chrono::seconds(5)));
    if (fd >= 0 && fd != client.memory) close(fd);
    return sent.has_value();
  }

  driver::Result<void> Handle(Client& client, const Message& request, Message& reply,
                              bool& answer) {
    const auto bad = [](std::string why) {
      return driver::Fail(Code::kInvalidArgument, std::move(why));
    };
    if (request.type != MessageType::kHello && !client.greeted)
      return bad("a greeting must come first");
    const bool holds = holder_ == &client;
    switch (request.type) {
      case MessageType::kHello:
        return Greet(client, request, reply);
      case MessageType::kRead: {
        const uint64_t offset = request.args[0];
        const uint64_t count = request.args[1];
        if (offset % 4 != 0 || count > driver::kMaxBlock || offset > regs::kSupervisorPage ||
            4 * count > regs::kSupervisorPage - offset)
          return bad(fmt::format("no client registers at {:#x} (count {})", offset, count));
        if (!holds && offset + 4 * count > regs::kControl)
          return bad("register access without acquiring the core");
        std::vector<uint32_t> values(count);
        for (uint64_t i = 0; i < count; ++i) {
          auto value = host_.Read(static_cast<uint32_t>(offset + 4 * i));
          if (!value) return tl::unexpected(value.error());
          values[i] = *value;
        }
        reply.data.resize(4 * count);
        if (count > 0) std::memcpy(reply.data.data(), values.data(), 4 * count);
        return {};
      }
      case MessageType::kWrite:
        if (request.args[0] % 4 != 0 || request.args[0] >= regs::kSupervisorPage)
          return bad(fmt::format("no client register at {:#x}", request.args[0]));
        if (!holds) return bad("register access without acquiring the core");
        return host_.Write(static_cast<uint32_t>(request.args[0]),
                           static_cast<uint32_t>(request.args[1]));
      case MessageType::kAcquire:
        if (holds) return {};
        if (client.waiting) return bad("it waits for the core already");
        client.waiting = request.number;
        queue_.push_back(&client);
        answer = false;
        Grant();
        return {};
      case MessageType::kCancelAcquire:
        std::erase(queue_, &client);
        client.waiting.reset();
        if (holds) Release();
        return {};
      case MessageType::kRelease:
        if (holds) Release();
        return {};
      case MessageType::kSetRegions: {
        if (!holds) return bad("regions set without acquiring the core");
        std::vector<driver::RegionWindow> windows;
        for (size_t i = 0; i + sizeof(driver::WireRegion) <= request.data.size();
             i += sizeof(driver::WireRegion)) {
          driver::WireRegion w;
          std::memcpy(&w, request.data.data() + i, sizeof(w));
          windows.push_back({w.base, w.bytes, (w.permissions & 1) != 0, (w.permissions & 2) != 0,
                             (w.permissions & 4) != 0});
        }
        if (auto valid = CheckWindows(windows, client.slot * memory_.window(), memory_.window());
            !valid)
          return valid;
        if (auto set = host_.SetRegions(windows); !set) return set;
        host_.TakeInterrupts();
        return {};
      }
      case MessageType::kSetObserve:
        if (!holds) return bad("observation asked for without acquiring the core");
        host_.SetObserve({request.args[0] != 0, request.args[1] != 0});
        return {};
      case MessageType::kTakeObservations: {
        if (!holds) return bad("observations taken without acquiring the core");
        const driver::ObservationBuilder* builder = host_.Observations();
        if (builder == nullptr)
          return driver::Fail(Code::kUnsupported, "no observations were asked for");
        const uint64_t bytes = builder->total_bytes();
        auto fd = driver::MakeSharedMemory("octile-observations", bytes);
        if (!fd) return tl::unexpected(fd.error());
        void* map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
        if (map == MAP_FAILED) {
          close(*fd);
          return driver::Fail(Code::kUnavailable,
                              fmt::format("mapping {} bytes: {}", bytes, std::strerror(errno)));
        }
        builder->Write(static_cast<uint8_t*>(map));
        munmap(map, bytes);
        reply.fd = *fd;
        reply.args[1] = bytes;
        return {};
      }
      case MessageType::kReply:
      case MessageType::kInterrupt:
        break;
    }
    return bad(fmt::format("unknown request {}", static_cast<uint32_t>(request.type)));
  }

  driver::Result<void> Greet(Client& client, const Message& request, Message& reply) {
    if (request.args[0] != driver::kProtocolVersion)
      return driver::Fail(Code::kIncompatible,
                          fmt::format("the device process speaks protocol {}, the driver {}; use "
                                      "programs of one installation",
                                      driver::kProtocolVersion, request.args[0]));
    if (client.greeted) return driver::Fail(Code::kInvalidArgument, "a second greeting");
    std::vector<bool> used(kMaxClients);
    for (const Client& c : clients_)
      if (c.greeted) used[c.slot] = true;
    uint32_t slot = 0;
    while (slot < kMaxClients && used[slot]) ++slot;
    if (slot == kMaxClients)
      return driver::Fail(Code::kUnavailable,
                          fmt::format("the device serves {} clients already", kMaxClients));
    auto fd = driver::MakeSharedMemory("octile-device-memory", memory_.window());
    if (!fd) return tl::unexpected(fd.error());
    if (!memory_.Map(slot, *fd)) {
      close(*fd);
      return driver::Fail(Code::kUnavailable,
                          fmt::format("mapping device memory: {}", std::strerror(errno)));
    }
    client.greeted = true;
    client.slot = slot;
    client.memory = *fd;
    driver::Welcome w;
    w.context = slot + 1;
    w.arch_hash = arch_hash_;
    w.memory_base = slot * memory_.window();
    w.memory_bytes = memory_.window();
    w.cycle_exact = backend_.cycle_exact ? 1 : 0;
    w.observable = backend_.observable ? 1 : 0;
    w.clock_mhz = static_cast<uint32_t>(settings_.config.platform.clock_mhz);
    const std::string platform = PlatformText(settings_.config.platform);
    const std::string& config = settings_.config.name;
    w.backend_length = static_cast<uint32_t>(backend_.name.size());
    w.config_length = static_cast<uint32_t>(config.size());
    w.platform_length = static_cast<uint32_t>(platform.size());
    reply.data.resize(sizeof(w));
    std::memcpy(reply.data.data(), &w, sizeof(w));
    for (const std::string& text : {backend_.name, config, platform})
      reply.data.insert(reply.data.end(), text.begin(), text.end());
    reply.fd = *fd;
    return {};
  }

  // Hands the core to the next in the queue.
  void Grant() {
    while (holder_ == nullptr && !queue_.empty()) {
      Client& client = *queue_.front();
      queue_.pop_front();
      Message reply;
      reply.number = *std::exchange(client.waiting, std::nullopt);
      bool usable = true;
      if (last_context_ != client.slot + 1 || unclean_) {
        // Nothing of one client may be left in the core for the next.
        usable = (last_context_ == 0 && !unclean_) || host_.SoftReset();
        if (usable) {
          host_.SetContext(client.slot + 1, client.slot * memory_.window());
          last_context_ = client.slot + 1;
          unclean_ = false;
        }
      }
      if (usable) {
        holder_ = &client;
      } else {
        const std::string why = "the core does not come out of its reset";
        reply.args[0] = 1 + static_cast<uint64_t>(Code::kNeedsReset);
        reply.data.assign(why.begin(), why.end());
      }
      (void)client.channel.Send(reply, Deadline::After(std::chrono::seconds(1)));
    }
  }

  void Release() {
    const uint32_t status = host_.Status();
    // A job without its client must not go on writing.
    if ((status & (regs::kStatusIdle.mask() | regs::kStatusDone.mask())) == 0 && !host_.SoftReset())
      unclean_ = true;
    host_.TakeInterrupts();
    holder_ = nullptr;
    Grant();
  }

  void Drop(Client& client) {
    std::erase(queue_, &client);
    if (holder_ == &client) {
      last_context_ = kMaxClients + 1;  // whoever comes next gets a clean core
      Release();
    }
    if (last_context_ == client.slot + 1 && client.greeted) last_context_ = kMaxClients + 1;
    if (client.memory >= 0) {
      memory_.Unmap(client.slot);
      close(client.memory);
    }
    if (client.owner) stop_ = true;
    clients_.remove_if([&](const Client& c) { return &c == &client; });
  }

  const Settings& settings_;
  const PlatformBackend& backend_;
  DeviceMemory& memory_;
  DeviceHost host_;
  uint64_t arch_hash_;
  asio::io_context io_{1};
  asio::steady_timer timer_{io_};
  std::optional<asio::posix::stream_descriptor> listener_;
  bool listening_ = false;
  std::list<Client> clients_;
  std::deque<Client*> queue_;
  Client* holder_ = nullptr;
  uint32_t last_context_ = 0;
  bool unclean_ = false;
  bool stop_ = false;
};

// The simulator may be deep in a computation, or stuck, when the driver goes: then this ends the
// process.
void WatchOwner(int fd, std::string listen) {
  std::thread([fd, listen = std::move(listen)] {
    while (true) {
      pollfd p{fd, POLLRDHUP, 0};
      if (poll(&p, 1, -1) > 0 && (p.revents & (POLLHUP | POLLERR | POLLRDHUP | POLLNVAL)) != 0)
        break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    if (!listen.empty()) unlink(listen.c_str());
    _exit(0);
  }).detach();
}

}  // namespace

int DeviceMain(int argc, char** argv, const PlatformBackend& backend) {
  const char* name = argc > 0 ? argv[0] : "octile-device";
  const auto fail = [&](const Error& error) {
    fmt::print(stderr, "{}: {}\n", name, error.message);
    return static_cast<int>(error.code);
  };
  std::signal(SIGPIPE, SIG_IGN);
  auto settings = ParseArguments(argc, argv);
  if (!settings) return fail(settings.error());
  if (settings->fd >= 0) std::signal(SIGINT, SIG_IGN);
  DeviceMemory memory(settings->memory);
  if (memory.span().empty())
    return fail({ErrorCode::kDevice,
                 fmt::format("cannot reserve {} bytes of address space", memory.bytes())});
  auto device = backend.make(OptionsOf(settings->config), settings->extras);
  if (!device) return fail(device.error());
  Server server(*settings, backend, memory, std::move(*device));
  if (auto listening = server.Listen(); !listening) return fail(listening.error());
  if (settings->fd >= 0) {
    WatchOwner(settings->fd, settings->listen);
    server.AddClient(settings->fd, /*owner=*/true);
  }
  server.Run();
  return 0;
}

}  // namespace octile::device
