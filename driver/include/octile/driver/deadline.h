#pragma once

#include <algorithm>
#include <chrono>

namespace octile::driver {

// The point in time at which a blocking call gives up. Every blocking call takes one; there is no
// infinite default.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Deadline(Clock::time_point when) : when_(when) {}
  static Deadline After(std::chrono::nanoseconds span) { return Deadline(Clock::now() + span); }
  static Deadline Now() { return Deadline(Clock::now()); }

  Clock::time_point when() const { return when_; }
  bool passed() const { return Clock::now() >= when_; }
  std::chrono::nanoseconds left() const {
    return std::max(std::chrono::nanoseconds(0),
                    std::chrono::duration_cast<std::chrono::nanoseconds>(when_ - Clock::now()));
  }
  // The earlier of this one and `span` from now.
  Deadline AtMost(std::chrono::nanoseconds span) const {
    return Deadline(std::min(when_, Clock::now() + span));
  }

 private:
  Clock::time_point when_;
};

}  // namespace octile::driver
