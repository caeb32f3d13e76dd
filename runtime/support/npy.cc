#include "octile/support/npy.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>

namespace octile {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxHeader = 1 << 16;
constexpr size_t kMaxRank = 32;

struct Descriptor {
  DType type;
  std::string_view text;
};
constexpr std::array<Descriptor, 9> kDescriptors{{{DType::kU8, "|u1"},
                                                  {DType::kS8, "|i1"},
                                                  {DType::kU16, "<u2"},
                                                  {DType::kS16, "<i2"},
                                                  {DType::kS32, "<i4"},
                                                  {DType::kS64, "<i8"},
                                                  {DType::kF32, "<f4"},
                                                  {DType::kF64, "<f8"},
                                                  {DType::kBool, "|b1"}}};

// The text after 'key': in the header's dictionary.
std::optional<std::string_view> ValueOf(std::string_view header, std::string_view key) {
  const std::string quoted = fmt::format("'{}':", key);
  const size_t at = header.find(quoted);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = header.substr(at + quoted.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  return rest;
}

tl::unexpected<Error> Bad(std::string_view name, std::string_view what) {
  return Fail(ErrorCode::kModel, fmt::format("{}: not a readable .npy file: {}", name, what));
}

}  // namespace

Expected<Tensor> ParseNpy(std::span<const uint8_t> bytes, std::string_view name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic) || text.size() < 10)
    return Bad(name, "the magic string is missing");
  const int major = bytes[6];
  if (major < 1 || major > 3) return Bad(name, fmt::format("format version {} is unknown", major));
  const size_t prefix = major == 1 ? 10 : 12;
  if (text.size() < prefix) return Bad(name, "the header is cut off");
  size_t length = bytes[8] | bytes[9] << 8;
  if (major > 1) length |= size_t{bytes[10]} << 16 | size_t{bytes[11]} << 24;
  if (length > kMaxHeader)
    return Bad(name, fmt::format("a header of {} bytes is too long", length));
  if (text.size() - prefix < length) return Bad(name, "the header is cut off");
  const std::string_view header = text.substr(prefix, length);

  const auto descr = ValueOf(header, "descr");
  const auto order = ValueOf(header, "fortran_order");
  auto dims = ValueOf(header, "shape");
  if (!descr || !order || !dims) return Bad(name, "the header lacks descr, fortran_order or shape");
  if (!order->starts_with("False"))
    return Bad(name, "Fortran order is not supported; save it with numpy.ascontiguousarray");

  std::optional<DType> type;
  for (const Descriptor& row : kDescriptors) {
    const std::string quoted = fmt::format("'{}'", row.text);
    const std::string any = fmt::format("'<{}'", row.text.substr(1));
    if (descr->starts_with(quoted) || descr->starts_with(any)) type = row.type;
  }
  if (!type) {
    const size_t end = descr->find(',');
    return Bad(name, fmt::format("element type {} is not supported",
                                 descr->substr(0, std::min<size_t>(end, 20))));
  }

  if (!dims->starts_with("(")) return Bad(name, "shape is not a tuple");
  dims->remove_prefix(1);
  Shape shape;
  while (true) {
    dims->remove_prefix(std::min(dims->find_first_not_of(" ,"), dims->size()));
    if (dims->starts_with(")")) break;
    int64_t dim = 0;
    const auto [end, error] = std::from_chars(dims->data(), dims->data() + dims->size(), dim);
    if (error != std::errc() || dim < 0) return Bad(name, "shape holds something else than sizes");
    dims->remove_prefix(static_cast<size_t>(end - dims->data()));
    shape.push_back(dim);
    if (shape.size() > kMaxRank) return Bad(name, "too many dimensions");
  }

  const int64_t count = ElementCount(shape);
  const auto available = static_cast<int64_t>(bytes.size() - prefix - length);
  if (count > std::numeric_limits<int64_t>::max() / 8 || count * DTypeSize(*type) != available)
    return Bad(name, fmt::format("shape {} of {} does not match the {} bytes of data",
                                 ShapeName(shape), DTypeName(*type), available));
  Tensor tensor(*type, shape);
  if (available > 0)
    std::memcpy(tensor.bytes.data(), bytes.data() + prefix + length,
                static_cast<size_t>(available));
  return tensor;
}

Expected<Tensor> ReadNpy(const std::filesystem::path& file, int64_t max_bytes) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (error || status.type() == std::filesystem::file_type::not_found)
    return Fail(ErrorCode::kModel, fmt::format("{}: no such file", file.string()));
  if (status.type() != std::filesystem::file_type::regular)
    return Fail(ErrorCode::kModel, fmt::format("{}: not a regular file", file.string()));
  const auto size = std::filesystem::file_size(file, error);
  if (error) return Fail(ErrorCode::kModel, fmt::format("{}: {}", file.string(), error.message()));
  if (size > static_cast<uint64_t>(max_bytes))
    return Fail(ErrorCode::kModel, fmt::format("{}: {} bytes are more than the limit of {}",
                                               file.string(), size, max_bytes));
  std::ifstream stream(file, std::ios::binary);
  std::vector<uint8_t> bytes(size);
  if (!stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size)))
    return Fail(ErrorCode::kModel, fmt::format("{}: cannot be read", file.string()));
  return ParseNpy(bytes, file.string());
}

std::vector<uint8_t> FormatNpy(const Tensor& tensor) {
  std::string_view descr;
  for (const Descriptor& row : kDescriptors)
    if (row.type == tensor.dtype) descr = row.text;
  std::string dims = fmt::format("{}", fmt::join(tensor.shape, ", "));
  if (tensor.shape.size() == 1) dims += ",";
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr, dims);
  // The data starts at a multiple of 64; the header ends in a newline.
  const size_t unpadded = 10 + header.size() + 1;
  header += std::string((64 - unpadded % 64) % 64, ' ') + "\n";

  const std::string prefix = std::string(kMagic) + '\1' + '\0' +
                             static_cast<char>(header.size() & 0xff) +
                             static_cast<char>(header.size() >> 8);
  header = prefix + header;
  std::vector<uint8_t> bytes(header.begin(), header.end());
  bytes.insert(bytes.end(), tensor.bytes.begin(), tensor.bytes.end());
  return bytes;
}

Status WriteNpy(const std::filesystem::path& file, const Tensor& tensor) {
  const std::vector<uint8_t> bytes = FormatNpy(tensor);
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  stream.close();
  if (!stream) return Fail(ErrorCode::kUsage, fmt::format("{}: cannot be written", file.string()));
  return {};
}

}  // namespace octile
