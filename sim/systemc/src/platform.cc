// The SystemC platform. Time advances in steps of a quantum: inside one, the core model jumps from
// event to event by itself, which is exact, because nothing outside can reach the core but register
// accesses, and those never touch its timing.
#include <tlm_utils/simple_initiator_socket.h>
#include <tlm_utils/simple_target_socket.h>

#include <cstring>
#include <systemc>
#include <tlm>

#include "model_device.h"
#include "octile/systemc/device.h"

namespace octile::systemc {
namespace {

const sc_core::sc_time& Cycle() {
  static const sc_core::sc_time cycle(1, sc_core::SC_NS);
  return cycle;
}
constexpr uint64_t kQuantum = 1 << 20;  // cycles

// The accelerator on its bus: registers behind a TLM socket, an interrupt line.
class CoreModule : public sc_core::sc_module {
 public:
  SC_HAS_PROCESS(CoreModule);
  tlm_utils::simple_target_socket<CoreModule> registers;
  sc_core::sc_out<bool> irq;

  CoreModule(sc_core::sc_module_name name, const sim::DeviceOptions& options)
      : sc_module(name), registers("registers"), irq("irq"), device(options) {
    registers.register_b_transport(this, &CoreModule::Transport);
    SC_METHOD(Advance);
    sensitive << wake_;
    dont_initialize();
  }

  // The host lets time pass up to `limit` cycles from now.
  void Allow(uint64_t limit) {
    budget_ = limit;
    wake_.notify(sc_core::SC_ZERO_TIME);
  }

  ModelDevice device;
  uint64_t advanced = 0;  // cycles since Allow

 private:
  void Transport(tlm::tlm_generic_payload& trans, sc_core::sc_time&) {
    if (trans.get_data_length() != 4 || trans.get_byte_enable_ptr() != nullptr) {
      trans.set_response_status(tlm::TLM_BURST_ERROR_RESPONSE);
      return;
    }
    uint32_t value = 0;
    bool ok;
    const auto offset = static_cast<uint32_t>(trans.get_address());
    if (trans.is_write()) {
      std::memcpy(&value, trans.get_data_ptr(), 4);
      ok = device.WriteRegister(offset, value);
    } else {
      ok = device.ReadRegister(offset, &value);
      std::memcpy(trans.get_data_ptr(), &value, 4);
    }
    trans.set_response_status(ok ? tlm::TLM_OK_RESPONSE : tlm::TLM_ADDRESS_ERROR_RESPONSE);
  }

  // One quantum of the model, then as much time.
  void Advance() {
    irq.write(device.Interrupt());
    if (budget_ == 0 || !device.Busy() || device.Interrupt()) {
      sc_core::sc_pause();
      return;
    }
    const uint64_t step = device.Run(std::min(budget_, kQuantum));
    budget_ -= step;
    advanced += step;
    next_trigger(Cycle() * static_cast<double>(step));
  }

  sc_core::sc_event wake_;
  uint64_t budget_ = 0;
};

// The host's side: it turns calls into transactions and time.
class Platform : public sc_core::sc_module {
 public:
  tlm_utils::simple_initiator_socket<Platform> bus;
  CoreModule core;
  sc_core::sc_signal<bool> irq;

  Platform(sc_core::sc_module_name name, const sim::DeviceOptions& options)
      : sc_module(name), bus("bus"), core("core", options), irq("irq") {
    bus.bind(core.registers);
    core.irq(irq);
  }

  bool Access(tlm::tlm_command command, uint32_t offset, uint32_t* value) {
    tlm::tlm_generic_payload trans;
    sc_core::sc_time delay = sc_core::SC_ZERO_TIME;
    trans.set_command(command);
    trans.set_address(offset);
    trans.set_data_ptr(reinterpret_cast<unsigned char*>(value));
    trans.set_data_length(4);
    trans.set_streaming_width(4);
    trans.set_response_status(tlm::TLM_INCOMPLETE_RESPONSE);
    bus->b_transport(trans, delay);
    return trans.is_response_ok();
  }
};

class SystemcDevice : public sim::CoreDevice {
 public:
  explicit SystemcDevice(Platform* platform) : platform_(platform) {}

  void SetMemory(std::span<uint8_t> memory) override { device().SetMemory(memory); }
  bool ReadRegister(uint32_t offset, uint32_t* value) override {
    Elaborate();
    *value = 0;
    return platform_->Access(tlm::TLM_READ_COMMAND, offset, value);
  }
  bool WriteRegister(uint32_t offset, uint32_t value) override {
    Elaborate();
    return platform_->Access(tlm::TLM_WRITE_COMMAND, offset, &value);
  }
  bool Interrupt() const override { return device().Interrupt(); }
  bool Busy() const override { return device().Busy(); }
  uint64_t Run(uint64_t max_cycles) override {
    Elaborate();
    if (!Busy() || Interrupt() || max_cycles == 0) return 0;
    platform_->core.advanced = 0;
    platform_->core.Allow(max_cycles);
    sc_core::sc_start();
    return platform_->core.advanced;
  }
  void SetObservationSink(sim::ObservationSink* sink) override {
    device().SetObservationSink(sink);
  }
  const sim::Trace& trace() const override { return device().trace(); }
  void SetMemoryProfile(const sim::MemoryProfile& profile) override {
    device().SetMemoryProfile(profile);
  }
  void InjectBusError(sim::Direction direction, uint64_t burst) override {
    device().InjectBusError(direction, burst);
  }

 private:
  ModelDevice& device() const { return platform_->core.device; }
  // Sockets are bound at the end of elaboration, which the first start completes.
  void Elaborate() {
    if (!sc_core::sc_get_curr_simcontext()->elaboration_done())
      sc_core::sc_start(sc_core::SC_ZERO_TIME);
  }

  Platform* platform_;
};

}  // namespace

Expected<std::unique_ptr<sim::CoreDevice>> MakeSystemcDevice(const sim::DeviceOptions& options) {
  if (sc_core::sc_get_curr_simcontext()->elaboration_done())
    return Fail(
        ErrorCode::kDevice,
        "a SystemC device of this process has run already; SystemC elaborates once per process");
  // Modules belong to the kernel's hierarchy until the process ends.
  static int count = 0;
  auto* platform = new Platform(("platform" + std::to_string(count++)).c_str(), options);
  return std::make_unique<SystemcDevice>(platform);
}

}  // namespace octile::systemc

// SystemC's library has a main of its own that refers to it. Weak: a program may bring another.
__attribute__((weak)) int sc_main(int, char**) { return 0; }
