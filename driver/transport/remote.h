// A device behind a socket, with shared memory: the client's side of the protocol
// (transport/channel.h).
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "transport/channel.h"
#include "transport/transport.h"

namespace octile::driver {

// The process behind the channel, if it is ours to end.
class DeviceProcess {
 public:
  virtual ~DeviceProcess() = default;
  // How it ended and the last lines it printed; empty when it still runs and is silent.
  virtual std::string Obituary(Deadline deadline) = 0;
  // What it said when it refused the options it was started with; nothing if it did not end that
  // way.
  virtual std::optional<std::string> RefusedArguments() { return std::nullopt; }
  // Waits for its end until the deadline, then kills it.
  virtual void End(Deadline deadline) noexcept = 0;
};

class RemoteTransport : public Transport {
 public:
  // Introduces itself. kIncompatible: another protocol version. kInvalidArgument: the process
  // refused its options.
  static Result<std::unique_ptr<Transport>> Connect(Channel channel, std::string name,
                                                    std::unique_ptr<DeviceProcess> process,
                                                    Deadline deadline);
  ~RemoteTransport() override;

  const TransportInfo& info() const override { return info_; }
  std::span<uint8_t> memory() override { return {memory_, memory_bytes_}; }
  Result<uint32_t> Read(uint32_t offset, Deadline deadline) override;
  Result<void> ReadBlock(uint32_t offset, std::span<uint32_t> values, Deadline deadline) override;
  Result<void> Write(uint32_t offset, uint32_t value, Deadline deadline) override;
  Result<void> Acquire(Deadline deadline) override;
  Result<void> Release(Deadline deadline) override;
  Result<void> SetRegions(std::span<const RegionWindow> regions, Deadline deadline) override;
  Result<bool> WaitInterrupt(Deadline deadline) override;
  void Wake() override;
  Result<void> SetObserve(ObserveRequest request, Deadline deadline) override;
  Result<ObservationBlock> TakeObservations(Deadline deadline) override;
  void Close(Deadline deadline) noexcept override;

 private:
  RemoteTransport(Channel channel, std::string name, std::unique_ptr<DeviceProcess> process);
  Result<void> Hello(Deadline deadline);
  // Sends and waits for the reply; an error reply becomes its error. wakeable: Wake ends the wait
  // with kTimeout.
  Result<Message> Request(Message message, Deadline deadline, bool wakeable = false);
  void ReadMessages();

  std::string name_;
  Channel channel_;
  std::unique_ptr<DeviceProcess> process_;
  TransportInfo info_;
  uint8_t* memory_ = nullptr;
  uint64_t memory_bytes_ = 0;

  std::mutex send_mutex_;
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t next_number_ = 1;
  std::map<uint64_t, std::unique_ptr<Message>> waiting_;  // by number of the request
  uint64_t interrupts_ = 0;
  bool woken_ = false;
  bool closed_ = false;
  std::optional<Error> lost_;
  std::thread reader_;
};

}  // namespace octile::driver
