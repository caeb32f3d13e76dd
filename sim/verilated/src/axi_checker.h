// The rules of AXI4 that a master of INCR bursts can break, checked cycle by cycle.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <string>

namespace octile::verilated {

// What the bus shows in one cycle, with the answers of that cycle.
struct BusCycle {
  bool arvalid, arready, awvalid, awready, wvalid, wready, wlast, rready, bready;
  uint64_t araddr, awaddr;
  uint32_t arlen, awlen, arsize, awsize, arburst, awburst;
  uint64_t wstrb;
  const uint8_t* wdata;
};

class AxiChecker {
 public:
  explicit AxiChecker(uint32_t beat_bytes) : beat_bytes_(beat_bytes) {}

  // Empty, or the rule that was broken.
  std::string Check(const BusCycle& c) {
    if (held_ar_ && (!c.arvalid || c.araddr != araddr_ || c.arlen != arlen_))
      return "AR changed before it was accepted";
    if (held_aw_ && (!c.awvalid || c.awaddr != awaddr_ || c.awlen != awlen_))
      return "AW changed before it was accepted";
    if (held_w_ &&
        (!c.wvalid || c.wlast != wlast_ || std::memcmp(c.wdata, wdata_, beat_bytes_) != 0))
      return "W changed before it was accepted";
    // The core reserves room before it asks, so it never makes the bus wait.
    if (!c.rready || !c.bready) return "RREADY or BREADY low";
    if (c.arvalid && !held_ar_)
      if (const char* error = Address(c.araddr, c.arlen, c.arsize, c.arburst))
        return std::string("AR: ") + error;
    if (c.awvalid && !held_aw_)
      if (const char* error = Address(c.awaddr, c.awlen, c.awsize, c.awburst))
        return std::string("AW: ") + error;
    if (c.awvalid && c.awready) bursts_.push_back(c.awlen + 1);
    if (c.wvalid && c.wready) {
      if (bursts_.empty()) return "W without AW";
      const uint64_t all = beat_bytes_ == 64 ? ~uint64_t{0} : (uint64_t{1} << beat_bytes_) - 1;
      if (c.wstrb != all) return "WSTRB of a whole beat not all ones";
      if (c.wlast != (++written_ == bursts_.front())) return "WLAST in the wrong beat";
      if (written_ == bursts_.front()) {
        written_ = 0;
        bursts_.pop_front();
      }
    }
    held_ar_ = c.arvalid && !c.arready;
    held_aw_ = c.awvalid && !c.awready;
    held_w_ = c.wvalid && !c.wready;
    araddr_ = c.araddr;
    awaddr_ = c.awaddr;
    arlen_ = c.arlen;
    awlen_ = c.awlen;
    wlast_ = c.wlast;
    std::memcpy(wdata_, c.wdata, beat_bytes_);
    return "";
  }

 private:
  const char* Address(uint64_t address, uint32_t len, uint32_t size, uint32_t burst) const {
    const uint64_t bytes = uint64_t{len + 1} * beat_bytes_;
    if (uint32_t{1} << size != beat_bytes_) return "beat size is not the bus width";
    if (burst != 1) return "not an INCR burst";
    if (address % beat_bytes_ != 0) return "address not aligned to a beat";
    if (bytes > 256) return "longer than 256 bytes";
    if (address / 4096 != (address + bytes - 1) / 4096) return "crosses a 4-KiB boundary";
    return nullptr;
  }

  uint32_t beat_bytes_;
  bool held_ar_ = false, held_aw_ = false, held_w_ = false, wlast_ = false;
  uint64_t araddr_ = 0, awaddr_ = 0;
  uint32_t arlen_ = 0, awlen_ = 0;
  uint8_t wdata_[64] = {};
  std::deque<uint32_t> bursts_;
  uint32_t written_ = 0;
};

}  // namespace octile::verilated
