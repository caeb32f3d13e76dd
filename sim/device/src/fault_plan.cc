#include "octile/device/fault_plan.h"

#include <fmt/format.h>

#include "transport/uri.h"

namespace octile::device {
namespace {

Expected<uint64_t> Number(const std::string& key, const std::string& text) {
  auto number = driver::ParseNumber(key, text);
  if (!number) return Fail(ErrorCode::kUsage, number.error().message);
  return *number;
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts{""};
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

Expected<BitFlip> ParseFlip(const std::string& key, const std::string& text) {
  BitFlip flip;
  const auto at = Split(text, '@');
  if (at.size() == 2) {
    OCTILE_ASSIGN_OR_RETURN(flip.cycle, Number(key, at[1]));
  }
  const auto place = Split(at[0], ':');
  if (at.size() > 2 || place.size() < 2 || place.size() > 3)
    return Fail(ErrorCode::kUsage,
                fmt::format("option '{}': '{}' is not [REGION:]OFFSET:BIT[@CYCLE]", key, text));
  size_t i = 0;
  if (place.size() == 3) {
    OCTILE_ASSIGN_OR_RETURN(const uint64_t region, Number(key, place[i++]));
    if (region >= 8)
      return Fail(ErrorCode::kUsage, fmt::format("option '{}': region {}", key, region));
    flip.region = static_cast<int>(region);
  }
  OCTILE_ASSIGN_OR_RETURN(flip.offset, Number(key, place[i]));
  OCTILE_ASSIGN_OR_RETURN(const uint64_t bit, Number(key, place[i + 1]));
  if (bit > 7)
    return Fail(ErrorCode::kUsage, fmt::format("option '{}': bit {} of a byte", key, bit));
  flip.bit = static_cast<int>(bit);
  return flip;
}

}  // namespace

Expected<bool> FaultPlan::Set(const std::string& key, const std::string& value) {
  if (key == "fault_job") {
    if (value == "all") {
      job.reset();
      return true;
    }
    OCTILE_ASSIGN_OR_RETURN(job, Number(key, value));
  } else if (key == "flip") {
    for (const std::string& text : Split(value, ',')) {
      OCTILE_ASSIGN_OR_RETURN(const BitFlip flip, ParseFlip(key, text));
      flips.push_back(flip);
    }
  } else if (key == "bus_read_error") {
    OCTILE_ASSIGN_OR_RETURN(bus_read_error, Number(key, value));
  } else if (key == "bus_write_error") {
    OCTILE_ASSIGN_OR_RETURN(bus_write_error, Number(key, value));
  } else if (key == "irq") {
    if (value == "drop") {
      interrupt = InterruptFault::kDrop;
    } else if (value == "twice") {
      interrupt = InterruptFault::kTwice;
    } else if (value == "spurious") {
      interrupt = InterruptFault::kSpurious;
    } else if (value.starts_with("late:")) {
      OCTILE_ASSIGN_OR_RETURN(const uint64_t ms, Number(key, value.substr(5)));
      interrupt = InterruptFault::kLate;
      interrupt_delay = std::chrono::milliseconds(ms);
    } else {
      return Fail(ErrorCode::kUsage,
                  fmt::format("option 'irq': '{}' is not drop, twice, late:MS or spurious", value));
    }
  } else if (key == "hang") {
    const auto parts = Split(value, ':');
    if (parts.size() > 2 || (parts.size() == 2 && parts[1] != "dead"))
      return Fail(ErrorCode::kUsage,
                  fmt::format("option 'hang': '{}' is not CYCLE or CYCLE:dead", value));
    OCTILE_ASSIGN_OR_RETURN(hang, Number(key, parts[0]));
    hang_survives_reset = parts.size() == 2;
  } else if (key == "die") {
    OCTILE_ASSIGN_OR_RETURN(die, Number(key, value));
  } else if (key == "delay_answers") {
    OCTILE_ASSIGN_OR_RETURN(const uint64_t ms, Number(key, value));
    answer_delay = std::chrono::milliseconds(ms);
  } else {
    return false;
  }
  return true;
}

}  // namespace octile::device
