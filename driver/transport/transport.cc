#include "transport/transport.h"

#include <algorithm>
#include <mutex>

#include "transport/mock.h"
#include "transport/process.h"

namespace octile::driver {

Result<void> Transport::ReadBlock(uint32_t offset, std::span<uint32_t> values, Deadline deadline) {
  for (size_t i = 0; i < values.size(); ++i) {
    auto value = Read(offset + 4 * static_cast<uint32_t>(i), deadline);
    if (!value) return tl::unexpected(value.error());
    values[i] = *value;
  }
  return {};
}

namespace {

struct Registry {
  std::mutex mutex;
  std::vector<TransportBackend> backends{MockBackend(), ProcessBackend("rtl"),
                                         ProcessBackend("systemc"), SocketBackend()};
};

Registry& TheRegistry() {
  static Registry registry;
  return registry;
}

}  // namespace

void RegisterBackend(TransportBackend backend) {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  std::erase_if(registry.backends,
                [&](const TransportBackend& b) { return b.name == backend.name; });
  registry.backends.push_back(std::move(backend));
  std::sort(registry.backends.begin(), registry.backends.end(),
            [](const TransportBackend& a, const TransportBackend& b) { return a.name < b.name; });
}

std::vector<TransportBackend> Backends() {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  return registry.backends;
}

}  // namespace octile::driver
