// The protocol between driver and device process: messages over a local SOCK_SEQPACKET socket, file
// descriptors beside them.
//
// The client sends requests, each with a number of its own; the server answers every request with
// one kReply that carries the number. kInterrupt comes at any time. A request may be answered late
// or never: the client has forgotten it by then.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octile/driver/deadline.h"
#include "octile/driver/error.h"

namespace octile::driver {

inline constexpr uint32_t kProtocolMagic = 0x4c54434f;
// Raised with every change of a message.
inline constexpr uint32_t kProtocolVersion = 1;

enum class MessageType : uint32_t {
  // args: protocol version; the reply is a Welcome (text), and carries the client's memory as a
  // file descriptor.
  // Any protocol version can send and answer this one.
  kHello = 1,
  kRead,     // args: offset, count <= kMaxBlock; reply: values as 32-bit words in data
  kWrite,    // args: offset, value
  kAcquire,  // answered when the core is free
  kCancelAcquire,
  kRelease,
  kSetRegions,        // data: WireRegion...
  kSetObserve,        // args: trace, results
  kTakeObservations,  // reply args: bytes; the block as a file descriptor
  // args[0]: 0, or 1 + Code with the message as data
  kReply,
  kInterrupt,
};

inline constexpr uint32_t kMaxBlock = 1024;  // registers of one kRead

struct WireRegion {
  uint64_t base = 0;
  uint64_t bytes = 0;
  uint32_t permissions = 0;  // 1 read, 2 write, 4 execute
  uint32_t reserved = 0;
};

// Reply to kHello, as data, followed by config and platform text, each of the stated length.
struct Welcome {
  uint32_t protocol = kProtocolVersion;
  uint32_t context = 0;
  uint64_t arch_hash = 0;
  uint64_t memory_base = 0;
  uint64_t memory_bytes = 0;
  uint32_t cycle_exact = 0;
  uint32_t observable = 0;
  uint32_t clock_mhz = 0;
  uint32_t backend_length = 0;
  uint32_t config_length = 0;
  uint32_t platform_length = 0;
};

struct Message {
  MessageType type = MessageType::kReply;
  uint64_t number = 0;
  uint64_t args[3] = {};
  std::vector<uint8_t> data;
  int fd = -1;  // a received one belongs to the receiver
};

// One end of the socket. Send and Receive may be called from different threads, each from one at a
// time.
class Channel {
 public:
  Channel() = default;
  explicit Channel(int fd) : fd_(fd) {}
  ~Channel();
  Channel(Channel&& other) noexcept;
  Channel& operator=(Channel&& other) noexcept;

  int fd() const { return fd_; }
  int Release();
  // Ends the connection for both sides; a blocked Receive returns.
  void Shutdown() noexcept;

  // kTimeout: the other side does not read; kDeviceLost: it is gone.
  Result<void> Send(const Message& message, Deadline deadline);
  // Nothing: no message until the deadline. kDeviceLost: end of the connection, or not a message.
  Result<std::optional<Message>> Receive(Deadline deadline);

 private:
  int fd_ = -1;
};

// A memfd of this size, sealed against resizing.
Result<int> MakeSharedMemory(std::string_view name, uint64_t bytes);

}  // namespace octile::driver
