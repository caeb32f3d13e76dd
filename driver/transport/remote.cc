#include "transport/remote.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

namespace octile::driver {

RemoteTransport::RemoteTransport(Channel channel, std::string name,
                                 std::unique_ptr<DeviceProcess> process)
    : name_(std::move(name)), channel_(std::move(channel)), process_(std::move(process)) {}

Result<std::unique_ptr<Transport>> RemoteTransport::Connect(Channel channel, std::string name,
                                                            std::unique_ptr<DeviceProcess> process,
                                                            Deadline deadline) {
  std::unique_ptr<RemoteTransport> transport(
      new RemoteTransport(std::move(channel), std::move(name), std::move(process)));
  RemoteTransport* t = transport.get();
  t->reader_ = std::thread([t] { t->ReadMessages(); });
  if (auto hello = t->Hello(deadline); !hello) {
    Error error = hello.error();
    if (error.code == Code::kTimeout)
      error = {Code::kUnavailable, fmt::format("{} did not introduce itself in time", t->name_)};
    if (error.code == Code::kDeviceLost && t->process_ != nullptr) {
      if (const auto why = t->process_->RefusedArguments())
        error = {Code::kInvalidArgument, fmt::format("{}: {}", t->name_, *why)};
    }
    return tl::unexpected(std::move(error));
  }
  return transport;
}

Result<void> RemoteTransport::Hello(Deadline deadline) {
  Message hello;
  hello.type = MessageType::kHello;
  hello.args[0] = kProtocolVersion;
  auto reply = Request(std::move(hello), deadline);
  if (!reply) return tl::unexpected(reply.error());
  Welcome w;
  struct stat stat {};
  const bool have_memory = reply->fd >= 0 && fstat(reply->fd, &stat) == 0;
  if (reply->data.size() < sizeof(w) || !have_memory) {
    if (reply->fd >= 0) close(reply->fd);
    return Fail(Code::kIncompatible, fmt::format("{}: incomplete answer to the greeting", name_));
  }
  std::memcpy(&w, reply->data.data(), sizeof(w));
  std::string_view text(reinterpret_cast<const char*>(reply->data.data()) + sizeof(w),
                        reply->data.size() - sizeof(w));
  auto take = [&](uint32_t length) {
    const std::string part(text.substr(0, length));
    text.remove_prefix(part.size());
    return part;
  };
  if (w.protocol != kProtocolVersion || static_cast<uint64_t>(stat.st_size) != w.memory_bytes ||
      w.memory_bytes == 0) {
    close(reply->fd);
    return Fail(
        Code::kIncompatible,
        fmt::format(
            "{} speaks device protocol {}, this driver {}; use a driver and device programs of "
            "one installation",
            name_, w.protocol, kProtocolVersion));
  }
  void* memory = mmap(nullptr, w.memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                      reply->fd, 0);
  const int error = errno;
  close(reply->fd);
  if (memory == MAP_FAILED)
    return Fail(Code::kUnavailable, fmt::format("{}: mapping {} bytes of device memory: {}", name_,
                                                w.memory_bytes, std::strerror(error)));
  memory_ = static_cast<uint8_t*>(memory);
  memory_bytes_ = w.memory_bytes;
  info_.backend = take(w.backend_length);
  info_.config = take(w.config_length);
  info_.platform = take(w.platform_length);
  info_.clock_mhz = static_cast<int>(w.clock_mhz);
  info_.context = w.context;
  info_.memory_base = w.memory_base;
  info_.cycle_exact = w.cycle_exact != 0;
  info_.observable = w.observable != 0;
  return {};
}

RemoteTransport::~RemoteTransport() {
  Close(Deadline::After(std::chrono::seconds(2)));
  if (memory_ != nullptr) munmap(memory_, memory_bytes_);
}

void RemoteTransport::Close(Deadline deadline) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(closed_, true)) return;
    if (!lost_)
      lost_ = Error{Code::kDeviceLost, fmt::format("{}: the connection was closed", name_)};
    changed_.notify_all();
  }
  channel_.Shutdown();
  if (reader_.joinable()) reader_.join();
  if (process_ != nullptr)
    process_->End(
        Deadline(std::max(deadline.when(), Deadline::After(std::chrono::seconds(1)).when())));
  for (auto& [number, message] : waiting_)
    if (message && message->fd >= 0) close(message->fd);
}

void RemoteTransport::ReadMessages() {
  while (true) {
    auto received = channel_.Receive(Deadline::After(std::chrono::hours(1)));
    if (!received) {
      std::string obituary;
      {
        const std::lock_guard lock(mutex_);
        if (closed_) return;
      }
      if (process_ != nullptr)
        obituary = process_->Obituary(Deadline::After(std::chrono::milliseconds(500)));
      const std::lock_guard lock(mutex_);
      if (!lost_)
        lost_ = Error{Code::kDeviceLost,
                      fmt::format("{} is lost: {}", name_,
                                  obituary.empty() ? received.error().message : obituary)};
      changed_.notify_all();
      return;
    }
    if (!*received) continue;
    Message& message = **received;
    const std::lock_guard lock(mutex_);
    if (message.type == MessageType::kInterrupt) {
      ++interrupts_;
    } else {
      const auto it = waiting_.find(message.number);
      if (it != waiting_.end() && it->second == nullptr) {
        it->second = std::make_unique<Message>(std::move(message));
      } else if (message.fd >= 0) {
        // Late answers are answers to nobody.
        close(message.fd);
      }
    }
    changed_.notify_all();
  }
}

Result<Message> RemoteTransport::Request(Message message, Deadline deadline, bool wakeable) {
  {
    const std::lock_guard lock(mutex_);
    if (lost_) return tl::unexpected(*lost_);
    message.number = next_number_++;
    waiting_.emplace(message.number, nullptr);
  }
  const uint64_t number = message.number;
  Result<void> sent;
  {
    const std::lock_guard lock(send_mutex_);
    sent = channel_.Send(message, deadline);
  }
  std::unique_lock lock(mutex_);
  const auto it = waiting_.find(number);
  const bool ended = sent && changed_.wait_until(lock, deadline.when(), [&] {
    return it->second != nullptr || lost_ || (wakeable && woken_);
  });
  if (wakeable) woken_ = false;
  const std::unique_ptr<Message> reply = std::move(it->second);
  waiting_.erase(it);
  if (reply == nullptr) {
    if (lost_) return tl::unexpected(*lost_);
    // A broken pipe is noticed here first; the reader will learn why.
    if (!sent && sent.error().code == Code::kDeviceLost) {
      changed_.wait_for(lock, std::chrono::seconds(1), [&] { return lost_.has_value(); });
      return tl::unexpected(lost_ ? *lost_ : sent.error());
    }
    return Fail(Code::kTimeout, name_ + (ended ? ": woken" : " did not answer in time"));
  }
  if (reply->args[0] != 0) {
    if (reply->fd >= 0) close(reply->fd);
    const uint64_t code = reply->args[0] - 1;
    return Fail(
        code <= static_cast<uint64_t>(Code::kInternal) ? static_cast<Code>(code) : Code::kInternal,
        fmt::format("{}: {}", name_, std::string(reply->data.begin(), reply->data.end())));
  }
  return std::move(*reply);
}

Result<uint32_t> RemoteTransport::Read(uint32_t offset, Deadline deadline) {
  uint32_t value = 0;
  if (auto read = ReadBlock(offset, {&value, 1}, deadline); !read)
    return tl::unexpected(read.error());
  return value;
}

Result<void> RemoteTransport::ReadBlock(uint32_t offset, std::span<uint32_t> values,
                                        Deadline deadline) {
  if (values.size() > kMaxBlock)
    return Fail(Code::kInvalidArgument, fmt::format("block of {} registers", values.size()));
  Message message;
  message.type = MessageType::kRead;
  message.args[0] = offset;
  message.args[1] = values.size();
  auto reply = Request(std::move(message), deadline);
  if (!reply) return tl::unexpected(reply.error());
  if (reply->data.size() != values.size_bytes())
    return Fail(Code::kDeviceLost, fmt::format("{}: malformed answer", name_));
  if (!values.empty()) std::memcpy(values.data(), reply->data.data(), values.size_bytes());
  return {};
}

Result<void> RemoteTransport::Write(uint32_t offset, uint32_t value, Deadline deadline) {
  Message message;
  message.type = MessageType::kWrite;
  message.args[0] = offset;
  message.args[1] = value;
  auto reply = Request(std::move(message), deadline);
  if (!reply) return tl::unexpected(reply.error());
  return {};
}

Result<void> RemoteTransport::Acquire(Deadline deadline) {
  Message message;
  message.type = MessageType::kAcquire;
  auto reply = Request(std::move(message), deadline, /*wakeable=*/true);
  if (reply) return {};
  if (reply.error().code == Code::kTimeout) {
    Message cancel;
    cancel.type = MessageType::kCancelAcquire;
    auto cancelled = Request(std::move(cancel), Deadline::After(std::chrono::seconds(5)));
    // Without an answer it is unknown whether the core is ours by now.
    if (!cancelled && cancelled.error().code == Code::kTimeout)
      return Fail(Code::kDeviceLost, fmt::format("{} does not answer", name_));
  }
  return tl::unexpected(reply.error());
}

Result<void> RemoteTransport::Release(Deadline deadline) {
  Message message;
  message.type = MessageType::kRelease;
  auto reply = Request(std::move(message), deadline);
  if (!reply) return tl::unexpected(reply.error());
  return {};
}

Result<void> RemoteTransport::SetRegions(std::span<const RegionWindow> regions, Deadline deadline) {
  Message message;
  message.type = MessageType::kSetRegions;
  for (const RegionWindow& r : regions) {
    const WireRegion wire{r.base, r.bytes,
                          (r.read ? 1u : 0u) | (r.write ? 2u : 0u) | (r.execute ? 4u : 0u), 0};
    const auto* bytes = reinterpret_cast<const uint8_t*>(&wire);
    message.data.insert(message.data.end(), bytes, bytes + sizeof(wire));
  }
  auto reply = Request(std::move(message), deadline);
  if (!reply) return tl::unexpected(reply.error());
  // What came before belongs to earlier jobs.
  const std::lock_guard lock(mutex_);
  interrupts_ = 0;
  return {};
}

Result<bool> RemoteTransport::WaitInterrupt(Deadline deadline) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline.when(), [&] { return interrupts_ > 0 || woken_ || lost_; });
  if (interrupts_ > 0) {
    --interrupts_;
    return true;
  }
  if (lost_) return tl::unexpected(*lost_);
  woken_ = false;
  return false;
}

void RemoteTransport::Wake() {
  const std::lock_guard lock(mutex_);
  woken_ = true;
  changed_.notify_all();
}

Result<void> RemoteTransport::SetObserve(ObserveRequest request, Deadline deadline) {
  Message message;
  message.type = MessageType::kSetObserve;
  message.args[0] = request.trace ? 1 : 0;
  message.args[1] = request.results ? 1 : 0;
  auto reply = Request(std::move(message), deadline);
  if (!reply) return tl::unexpected(reply.error());
  return {};
}

Result<ObservationBlock> RemoteTransport::TakeObservations(Deadline deadline) {
  Message message;
  message.type = MessageType::kTakeObservations;
  auto reply = Request(std::move(message), deadline);
  if (!reply) return tl::unexpected(reply.error());
  const uint64_t bytes = reply->args[1];
  struct stat stat {};
  if (reply->fd < 0 || fstat(reply->fd, &stat) != 0 ||
      static_cast<uint64_t>(stat.st_size) < bytes || bytes == 0) {
    if (reply->fd >= 0) close(reply->fd);
    return Fail(Code::kDeviceLost, fmt::format("{}: malformed answer", name_));
  }
  void* map = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, reply->fd, 0);
  const int error = errno;
  close(reply->fd);
  if (map == MAP_FAILED)
    return Fail(Code::kUnavailable,
                fmt::format("{}: mapping {} bytes: {}", name_, bytes, std::strerror(error)));
  ObservationBlock block;
  block.storage = std::shared_ptr<const void>(
      map, [bytes](const void* p) { munmap(const_cast<void*>(p), bytes); });
  block.bytes = {static_cast<const uint8_t*>(map), bytes};
  return block;
}

}  // namespace octile::driver
