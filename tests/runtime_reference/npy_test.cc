// .npy files: what NumPy writes is read, what is damaged is refused.
#include "octile/support/npy.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

namespace octile {
namespace {

Tensor Sample(DType type, Shape shape) {
  Tensor t(type, std::move(shape));
  for (size_t i = 0; i < t.bytes.size(); ++i) t.bytes[i] = static_cast<uint8_t>(i * 37 + 5);
  return t;
}

TEST(Npy, RoundTrips) {
  for (const DType type : {DType::kU8, DType::kS8, DType::kU16, DType::kS16, DType::kS32,
                           DType::kS64, DType::kF32, DType::kF64, DType::kBool})
    for (const Shape& shape : {Shape{}, Shape{3}, Shape{1, 2, 3, 4}, Shape{0, 5}}) {
      const Tensor t = Sample(type, shape);
      const auto bytes = FormatNpy(t);
      EXPECT_EQ((bytes.size() - t.bytes.size()) % 64, 0u);
      const auto back = ParseNpy(bytes, "t");
      ASSERT_TRUE(back.has_value()) << back.error().message;
      EXPECT_EQ(*back, t) << DTypeName(type) << " " << ShapeName(shape);
    }
}

std::string ErrorOf(const std::string& header, size_t data, int major = 1) {
  std::string text = "\x93NUMPY";
  text += static_cast<char>(major);
  text += '\0';
  const size_t n = header.size();
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i) text += static_cast<char>(n >> (8 * i));
  text += header + std::string(data, 'x');
  const auto parsed =
      ParseNpy({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, "file");
  return parsed ? "accepted" : parsed.error().message;
}

TEST(Npy, ReadsOtherVersionsAndByteOrders) {
  EXPECT_EQ(ErrorOf("{'descr': '<u1', 'fortran_order': False, 'shape': (2, 3), }\n", 6, 2),
            "accepted");
  EXPECT_EQ(ErrorOf("{'descr': '|i1', 'fortran_order': False, 'shape': (6,), }\n", 6, 3),
            "accepted");
}

TEST(Npy, RefusesWhatItCannotRead) {
  const std::string bad = "file: not a readable .npy file: ";
  EXPECT_EQ(ErrorOf("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }\n", 6),
            bad + "Fortran order is not supported; save it with numpy.ascontiguousarray");
  EXPECT_EQ(ErrorOf("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }\n", 4),
            bad + "element type '>f4' is not supported");
  EXPECT_EQ(ErrorOf("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }\n", 5),
            bad + "shape 2x3 of u8 does not match the 5 bytes of data");
  EXPECT_EQ(ErrorOf("{'descr': '|u1', 'fortran_order': False, 'shape': (-1,), }\n", 5),
            bad + "shape holds something else than sizes");
  EXPECT_NE(
      ErrorOf("{'descr': '<i8', 'fortran_order': False, 'shape': (4611686018427387904, 4), }\n", 8)
          .find("does not match"),
      std::string::npos);
  EXPECT_EQ(ErrorOf("{'descr': '|u1', 'shape': (2, 3), }\n", 6),
            bad + "the header lacks descr, fortran_order or shape");
  EXPECT_EQ(ErrorOf("{}", 0, 9), bad + "format version 9 is unknown");
  EXPECT_EQ(ParseNpy({}, "file").error().message, bad + "the magic string is missing");
}

TEST(Npy, SurvivesDamage) {
  const auto good = FormatNpy(Sample(DType::kF32, {3, 5}));
  std::mt19937 rng(1);
  for (int i = 0; i < 5000; ++i) {
    auto copy = good;
    if (i % 2) copy.resize(rng() % copy.size());
    for (unsigned n = 0; n <= rng() % 3 && !copy.empty(); ++n)
      copy[rng() % copy.size()] = static_cast<uint8_t>(rng());
    if (const auto t = ParseNpy(copy, "t")) {
      EXPECT_EQ(static_cast<int64_t>(t->bytes.size()), t->size() * DTypeSize(t->dtype));
    }
  }
}

TEST(Npy, FilesAreCheckedBeforeReading) {
  const auto folder =
      std::filesystem::temp_directory_path() / fmt::format("octile_npy_{}", getpid());
  std::filesystem::create_directories(folder);
  const Tensor t = Sample(DType::kS32, {2, 2});
  ASSERT_TRUE(WriteNpy(folder / "t.npy", t).has_value());
  EXPECT_EQ(*ReadNpy(folder / "t.npy"), t);
  EXPECT_NE(ReadNpy(folder / "t.npy", 10).error().message.find("more than the limit of 10"),
            std::string::npos);
  EXPECT_NE(ReadNpy(folder / "none.npy").error().message.find("no such file"), std::string::npos);
  EXPECT_NE(ReadNpy(folder).error().message.find("not a regular file"), std::string::npos);
  EXPECT_EQ(WriteNpy(folder / "no" / "t.npy", t).error().code, ErrorCode::kUsage);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace octile
