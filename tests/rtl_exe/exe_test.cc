// The RTL of the matrix unit against a plain model: results, cycle of every event, claim faults.
// Replay: --seed=S --episodes=K.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "Vexe_n16.h"
#include "Vexe_n32.h"
#include "Vexe_n4.h"
#include "Vexe_n8.h"
#include "dut.h"

namespace octile::rtl_exe {
namespace {

uint64_t g_seed = 20240531;
int g_episodes = 0;  // 0: as many as the test asks for

// As in CMakeLists.txt.
std::unique_ptr<Unit> MakeUnit(int n) {
  switch (n) {
    case 4:
      return std::make_unique<VerilatedUnit<Vexe_n4>>(Config{4, 4, 64, 128, 8, 512, 8});
    case 8:
      return std::make_unique<VerilatedUnit<Vexe_n8>>(Config{8, 4, 64, 256, 8, 512, 12});
    case 16:
      return std::make_unique<VerilatedUnit<Vexe_n16>>(Config{16, 4, 64, 256, 8, 512, 24});
    default:
      return std::make_unique<VerilatedUnit<Vexe_n32>>(Config{32, 4, 64, 256, 8, 512, 24});
  }
}

std::string Show(const CycleState& s) {
  const char* const names[] = {"ready", "active", "busy", "stuck",  "start",
                               "free",  "done",   "vec",  "weight", "slot"};
  const bool bits[] = {s.ready, s.active, s.busy, s.stuck,  s.start,
                       s.free,  s.done,   s.vec,  s.weight, s.slot};
  std::string result;
  for (int i = 0; i < 10; ++i) result += bits[i] ? std::string(" ") + names[i] : "";
  return result;
}

template <typename T>
std::vector<T> Until(const std::vector<T>& events, int64_t cycle) {
  std::vector<T> result;
  for (const T& e : events) {
    if (e.cycle <= cycle) result.push_back(e);
  }
  return result;
}

// Expects two lists of writes or reads to be the same and shows the first difference.
template <typename T>
void Same(const char* what, const std::vector<T>& got, const std::vector<T>& want) {
  for (size_t i = 0; i < std::min(got.size(), want.size()); ++i) {
    if (got[i] == want[i]) continue;
    ADD_FAILURE() << what << " " << i << ": cycle " << got[i].cycle << " address " << got[i].addr
                  << ", expected cycle " << want[i].cycle << " address " << want[i].addr;
    if constexpr (std::is_same_v<T, Write>) {
      for (size_t c = 0; c < got[i].data.size(); ++c) {
        if (got[i].data[c] != want[i].data[c]) {
          ADD_FAILURE() << "lane " << c << ": " << int{got[i].data[c]} << ", expected "
                        << int{want[i].data[c]} << "; instruction " << got[i].index << ", expected "
                        << want[i].index;
          break;
        }
      }
    }
    return;
  }
  EXPECT_EQ(got.size(), want.size()) << what;
}

void Compare(const Observed& o, const Expected& want) {
  ASSERT_FALSE(o.hung) << "nothing moves any more; issued " << o.issue.size();
  EXPECT_EQ(o.seen.fault.cycle, want.fault.cycle);
  EXPECT_EQ(o.seen.fault.addr, want.fault.addr);
  EXPECT_EQ(o.seen.fault.index, want.fault.index);
  EXPECT_EQ(o.starts_after_fault, 0);
  const int64_t last = want.fault.cycle >= 0 ? want.fault.cycle : o.end - 1;
  for (int64_t t = 0; t <= last; ++t) {
    if (o.seen.cycles[t] == want.cycles[t]) continue;
    ADD_FAILURE() << "cycle " << t << ":" << Show(o.seen.cycles[t])
                  << "; expected:" << Show(want.cycles[t]);
    break;
  }
  // The address that faults is not read.
  Same("input read", Until(o.seen.input_reads, last - (want.fault.cycle >= 0)),
       Until(want.input_reads, last - (want.fault.cycle >= 0)));
  Same("residual read", Until(o.seen.residual_reads, last), Until(want.residual_reads, last));
  Same("write", Until(o.seen.writes, last), Until(want.writes, last));
}

// How often the streams contained what they are meant to contain.
struct Coverage {
  int raw = 0, table = 0, residual = 0, both = 0, retain = 0, wrap = 0, pad = 0, split = 0,
      single = 0, starved = 0, adjacent = 0, fault = 0;
  void Add(const Episode& episode, const Observed& o) {
    for (size_t i = 0; i < episode.instructions.size(); ++i) {
      const isa::Mma& op = episode.instructions[i];
      raw += op.emit && op.raw, table += op.emit && op.table, residual += op.emit && op.residual;
      both += op.emit && op.table && op.residual, retain += op.retain, wrap += op.in_wrap != 0,
          split += op.emit && !op.init;
      pad += op.iy0 < 0 || op.ix0 < 0, single += op.mh * op.mw == 1;
    }
    for (size_t t = 1; t < o.seen.cycles.size(); ++t) {
      starved += o.seen.cycles[t].stuck;
      adjacent +=
          o.seen.cycles[t].start && o.seen.cycles[t - 1].ready && o.seen.cycles[t - 1].active;
    }
    fault += o.seen.fault.cycle >= 0;
  }
};

class ExeTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    unit_ = MakeUnit(GetParam());
    Rng rng(g_seed);
    const size_t bytes = size_t{65536} * GetParam();
    input_.resize(bytes);
    residual_.resize(bytes);
    for (uint8_t& b : input_) b = static_cast<uint8_t>(rng());
    for (uint8_t& b : residual_) b = static_cast<uint8_t>(rng());
  }

  void Random(int episodes, bool break_claims, Coverage* coverage) {
    if (g_episodes > 0) episodes = g_episodes;
    for (int e = 0; e < episodes && !HasFailure(); ++e) {
      const uint64_t seed = g_seed + e;
      SCOPED_TRACE(testing::Message()
                   << "replay: --gtest_filter="
                   << testing::UnitTest::GetInstance()->current_test_info()->test_suite_name()
                   << "." << testing::UnitTest::GetInstance()->current_test_info()->name()
                   << " --seed=" << seed << " --episodes=1");
      Rng rng(seed);
      const Config& config = unit_->config();
      unit_->Clear();
      Params params(config);
      if (e % 4 != 3) {  // otherwise parameters and accumulators are as a reset leaves them
        RandomParams(config, &rng, &params);
        unit_->Load(params);
      }
      const Episode episode = RandomEpisode(config, &rng, 12, break_claims);
      const int feeds[] = {100, 100, 100, 60, 15}, issues[] = {100, 100, 50, 3};
      const int feed = feeds[rng() % 5], issue = issues[rng() % 4];
      const int64_t prefill = rng() % 2 == 0 ? 0 : 40 * config.n;
      const Observed o = unit_->Run(episode, input_, residual_, feed, issue, prefill, &rng);
      Compare(o, Predict(config, episode, o.issue, o.arrive, input_, residual_, o.end, &params));
      coverage->Add(episode, o);
    }
  }

  std::unique_ptr<Unit> unit_;
  std::vector<uint8_t> input_, residual_;
};

TEST_P(ExeTest, RandomStreams) {
  Coverage c;
  Random(GetParam() >= 32 ? 24 : 60, false, &c);
  if (g_episodes > 0) return;
  EXPECT_EQ(c.fault, 0);
  for (const int count : {c.raw, c.table, c.residual, c.both, c.retain, c.wrap, c.pad, c.split,
                          c.single, c.starved, c.adjacent}) {
    EXPECT_GT(count, 0) << "a kind of stream never occurred";
  }
}

TEST_P(ExeTest, ClaimFaults) {
  Coverage c;
  Random(GetParam() >= 32 ? 16 : 40, true, &c);
  if (g_episodes > 0) return;
  EXPECT_GT(c.fault, 8);
}

// With the ring filled and instructions waiting, the array takes a vector in every cycle: one tile
// per max(M, N / WeightRows, 4) cycles, also across instructions.
TEST_P(ExeTest, NoBubbles) {
  const Config& config = unit_->config();
  Rng rng(g_seed);
  for (const int m : {1, 4, 5, config.n, 2 * config.n + 1}) {
    unit_->Clear();
    Episode episode;
    for (int i = 0; i < 10; ++i) {
      isa::Mma op;
      op.mh = 1;
      op.mw = op.in_w = op.in_h = m;
      op.kh = 1 + i % 3;
      op.init = op.emit = true;
      episode.instructions.push_back(op);
      for (int k = 0; k < op.kh; ++k)
        episode.tiles.push_back({std::vector<uint8_t>(config.n * config.n, 1), 0, false});
    }
    const int64_t prefill = int64_t{config.n} * config.ring_tiles;
    const Observed o = unit_->Run(episode, input_, residual_, 100, 100, prefill, &rng);
    std::vector<int64_t> starts;
    for (size_t t = 0; t < o.seen.cycles.size(); ++t) {
      if (o.seen.cycles[t].start) starts.push_back(t);
    }
    ASSERT_EQ(starts.size(), episode.tiles.size());
    const int64_t period = std::max({m, config.n / config.weight_rows, 4});
    EXPECT_EQ(starts.front(), prefill + 1);
    for (size_t k = 1; k < starts.size(); ++k)
      EXPECT_EQ(starts[k] - starts[k - 1], period) << "tile " << k << ", M = " << m;
    EXPECT_EQ(o.end - 1, starts.back() + m - 1 + 2 * config.n + 28 +
                             1);  // the cycle after the last completion
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ExeTest, testing::Values(4, 8, 16, 32), [](const auto& info) {
  return std::string("N").append(std::to_string(info.param));
});

}  // namespace

}  // namespace octile::rtl_exe

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg.rfind("--seed=", 0) == 0) {
      octile::rtl_exe::g_seed = std::stoull(arg.substr(7));
    } else if (arg.rfind("--episodes=", 0) == 0) {
      octile::rtl_exe::g_episodes = std::stoi(arg.substr(11));
    } else {
      std::fprintf(stderr, "unknown argument %s; known: --seed=S --episodes=K\n", arg.c_str());
      return 2;
    }
  }
  std::printf("seed %llu\n", static_cast<unsigned long long>(octile::rtl_exe::g_seed));
  return RUN_ALL_TESTS();
}
