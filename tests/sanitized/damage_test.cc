// The shipped models and a compiled program, damaged at random: an error that names the file, or
// something valid, but never a crash, a hang or an overflow. The seed is printed by a failing test;
// DAMAGE_SEED repeats it.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/crc.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "octile/frontend/importer.h"
#include "octile/ir/graph.h"
#include "octile/program/program.h"
#include "octile/program/verifier.h"
#include "octile/support/npy.h"

namespace octile {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

uint64_t Seed() {
  const char* text = std::getenv("DAMAGE_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : std::random_device()();
}

Bytes ReadFile(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

class Damage : public testing::Test {
 protected:
  Damage()
      : seed_(Seed()),
        random_(seed_),
        trace_(__FILE__, __LINE__, fmt::format("DAMAGE_SEED={}", seed_)) {
    folder_ = fs::path(testing::TempDir()) / fmt::format("octile-damage-{}", getpid());
    fs::create_directories(folder_);
  }
  ~Damage() override { fs::remove_all(folder_); }

  uint64_t Below(uint64_t n) { return random_() % n; }

  // Bits, bytes, lengths; cut off, doubled, moved.
  Bytes Spoil(Bytes b) {
    const int changes = 1 + static_cast<int>(Below(4));
    for (int c = 0; c < changes && !b.empty(); ++c) {
      const size_t at = Below(b.size());
      // Sizes and kinds stand at the beginning of things: damage there counts for more.
      const size_t early = Below(std::min<size_t>(b.size(), 400));
      switch (Below(7)) {
        case 0:
          b[at] ^= static_cast<uint8_t>(1u << Below(8));
          break;
        case 1:
          b[early] ^= static_cast<uint8_t>(1u << Below(8));
          break;
        case 2:
          b[Below(2) == 0 ? at : early] = static_cast<uint8_t>(Below(2) == 0 ? 0xff : Below(256));
          break;
        case 3:
          b.resize(at);
          break;
        case 4:
          b.erase(b.begin() + static_cast<int64_t>(early));
          break;
        case 5:
          b.insert(b.begin() + static_cast<int64_t>(early), 1 + Below(9),
                   static_cast<uint8_t>(Below(256)));
          break;
        default: {
          const size_t length = std::min<size_t>(b.size() - at, Below(64) + 1);
          const Bytes piece(b.begin() + static_cast<int64_t>(at),
                            b.begin() + static_cast<int64_t>(at + length));
          std::copy(piece.begin(),
                    piece.begin() + static_cast<int64_t>(std::min(piece.size(), b.size() - early)),
                    b.begin() + static_cast<int64_t>(early));
        }
      }
    }
    return b;
  }

  fs::path Save(const std::string& name, const Bytes& bytes) {
    std::ofstream(folder_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return folder_ / name;
  }

  uint64_t seed_;
  std::mt19937_64 random_;
  testing::ScopedTrace trace_;
  fs::path folder_;
};

TEST_F(Damage, Models) {
  int refused = 0;
  for (const char* name : {"mlp", "resnet_tiny", "concat_split", "activations", "odd_sizes"}) {
    const Bytes good = ReadFile(fs::path(OCTILE_MODELS) / (std::string(name) + ".onnx"));
    ASSERT_FALSE(good.empty()) << name;
    for (int i = 0; i < 60; ++i) {
      const auto imported = frontend::ImportFile(Save("damaged.onnx", Spoil(good)), {});
      if (imported) continue;
      ++refused;
      EXPECT_EQ(imported.error().code, ErrorCode::kModel) << name << " " << i;
      EXPECT_NE(imported.error().message.find("damaged.onnx"), std::string::npos)
          << imported.error().message;
      EXPECT_GT(imported.error().message.size(), std::string("damaged.onnx").size() + 10)
          << imported.error().message;
    }
  }
  EXPECT_GT(refused, 30);
}

TEST_F(Damage, Programs) {
  const Bytes good = ReadFile(fs::path(OCTILE_PROGRAMS) / "mlp.octile");
  ASSERT_FALSE(good.empty());
  ASSERT_TRUE(ParseProgram(good, "mlp.octile"));
  int refused = 0;
  for (int i = 0; i < 400; ++i) {
    Bytes bad = Spoil(good);
    // Half of them with the checksum made right, so that what lies behind it is reached.
    if (i % 2 == 0 && bad.size() > 64) {
      boost::crc_32_type crc;
      crc.process_bytes(bad.data() + 64, bad.size() - 64);
      for (int k = 0; k < 4; ++k) bad[12 + k] = static_cast<uint8_t>(crc.checksum() >> (8 * k));
    }
    const auto program = LoadProgram(Save("damaged.octile", bad));
    if (!program) {
      ++refused;
      EXPECT_EQ(program.error().code, ErrorCode::kProgram) << i;
      EXPECT_NE(program.error().message.find("damaged.octile"), std::string::npos)
          << program.error().message;
      continue;
    }
    if (const Status valid = VerifyProgram(*program); !valid) {
      EXPECT_FALSE(valid.error().message.empty());
    }
    const auto graph = ir::ParseText(
        {reinterpret_cast<const char*>(program->graph.data()), program->graph.size()});
    if (graph) (void)ir::Verify(*graph);
  }
  EXPECT_GT(refused, 150);
}

TEST_F(Damage, Graphs) {
  const auto program = LoadProgram(fs::path(OCTILE_PROGRAMS) / "mlp.octile");
  ASSERT_TRUE(program) << program.error().message;
  const Bytes good(program->graph.begin(), program->graph.end());
  for (int i = 0; i < 400; ++i) {
    const Bytes bad = Spoil(good);
    const auto graph = ir::ParseText({reinterpret_cast<const char*>(bad.data()), bad.size()});
    if (graph) {
      (void)ir::Verify(*graph);
    } else {
      EXPECT_FALSE(graph.error().message.empty());
    }
  }
}

TEST_F(Damage, Arrays) {
  Tensor tensor(DType::kF32, {3, 4, 5});
  const fs::path file = folder_ / "good.npy";
  ASSERT_TRUE(WriteNpy(file, tensor));
  const Bytes good = ReadFile(file);
  for (int i = 0; i < 400; ++i) {
    const auto read = ReadNpy(Save("damaged.npy", Spoil(good)));
    if (!read) {
      EXPECT_NE(read.error().message.find("damaged.npy"), std::string::npos)
          << read.error().message;
    }
  }
}

}  // namespace
}  // namespace octile
