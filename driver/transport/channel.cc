#include "transport/channel.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace octile::driver {
namespace {

// What travels in front of the data.
struct Head {
  uint32_t magic;
  uint32_t type;
  uint64_t number;
  uint64_t args[3];
};

constexpr size_t kMaxData = 64 << 10;

tl::unexpected<Error> Lost(std::string_view what) {
  return Fail(Code::kDeviceLost, fmt::format("connection to the device: {}", what));
}

// 1: ready, 0: deadline, -1: error.
int PollFor(int fd, short events, Deadline deadline) {
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline.left() + std::chrono::microseconds(999));
    pollfd p{fd, events, 0};
    const int n = poll(&p, 1, static_cast<int>(std::min<int64_t>(left.count(), 1'000'000)));
    if (n > 0) return 1;
    if (n < 0 && errno != EINTR) return -1;
    if (deadline.passed()) return 0;
  }
}

}  // namespace

Channel::~Channel() {
  if (fd_ >= 0) close(fd_);
}

Channel::Channel(Channel&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Channel& Channel::operator=(Channel&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

int Channel::Release() { return std::exchange(fd_, -1); }

void Channel::Shutdown() noexcept {
  if (fd_ >= 0) shutdown(fd_, SHUT_RDWR);
}

Result<void> Channel::Send(const Message& message, Deadline deadline) {
  Head head{kProtocolMagic,
            static_cast<uint32_t>(message.type),
            message.number,
            {message.args[0], message.args[1], message.args[2]}};
  iovec parts[2] = {{&head, sizeof(head)},
                    {const_cast<uint8_t*>(message.data.data()), message.data.size()}};
  msghdr header{};
  header.msg_iov = parts;
  header.msg_iovlen = message.data.empty() ? 1 : 2;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (message.fd >= 0) {
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &message.fd, sizeof(int));
  }
  while (true) {
    if (sendmsg(fd_, &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return {};
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return Lost(std::strerror(errno));
    const int ready = PollFor(fd_, POLLOUT, deadline);
    if (ready < 0) return Lost(std::strerror(errno));
    if (ready == 0) return Fail(Code::kTimeout, "the device does not take requests");
  }
}

Result<std::optional<Message>> Channel::Receive(Deadline deadline) {
  Head head;
  thread_local std::vector<uint8_t> buffer(kMaxData);
  while (true) {
    const int ready = PollFor(fd_, POLLIN, deadline);
    if (ready < 0) return Lost(std::strerror(errno));
    if (ready == 0) return std::optional<Message>();
    iovec parts[2] = {{&head, sizeof(head)}, {buffer.data(), buffer.size()}};
    msghdr header{};
    header.msg_iov = parts;
    header.msg_iovlen = 2;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    const ssize_t bytes = recvmsg(fd_, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (bytes < 0) {
      if (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK) continue;
      return Lost(std::strerror(errno));
    }
    Message message;
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c))
      if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && message.fd < 0)
        std::memcpy(&message.fd, CMSG_DATA(c), sizeof(int));
    if (bytes == 0) return Lost("closed by the other side");
    if (static_cast<size_t>(bytes) < sizeof(head) || head.magic != kProtocolMagic ||
        (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
      if (message.fd >= 0) close(message.fd);
      return Lost("what came is not a message of the device protocol");
    }
    message.type = static_cast<MessageType>(head.type);
    message.number = head.number;
    std::memcpy(message.args, head.args, sizeof(head.args));
    message.data.assign(buffer.begin(),
                        buffer.begin() + (bytes - static_cast<ssize_t>(sizeof(head))));
    return std::optional<Message>(std::move(message));
  }
}

Result<int> MakeSharedMemory(std::string_view name, uint64_t bytes) {
  const int fd = memfd_create(std::string(name).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0)
    return Fail(Code::kUnavailable, fmt::format("memfd_create: {}", std::strerror(errno)));
  // Nobody can shrink it under the other side's feet.
  if (ftruncate(fd, static_cast<off_t>(bytes)) != 0 ||
      fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    const int error = errno;
    close(fd);
    return Fail(Code::kUnavailable,
                fmt::format("shared memory of {} bytes: {}", bytes, std::strerror(error)));
  }
  return fd;
}

}  // namespace octile::driver
