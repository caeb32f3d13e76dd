// Files, protobuf and tensors: everything that touches bytes somebody else wrote.
#include <fcntl.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <climits>
#include <cstring>
#include <fstream>

#include "model.h"

namespace octile::frontend {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }
  void Reset(int fd) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }

 private:
  int fd_;
};

// Opens component by component without following links, for kernels without openat2.
int OpenBeneath(int folder, const std::filesystem::path& relative) {
  FileDescriptor at(dup(folder));
  std::vector<std::string> parts;
  for (const auto& part : relative) parts.push_back(part.string());
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool last = i + 1 == parts.size();
    const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (last ? 0 : O_DIRECTORY);
    const int fd = openat(at.get(), parts[i].c_str(), flags);
    if (fd < 0) return -1;
    if (last) return fd;
    at.Reset(fd);
  }
  errno = ENOENT;
  return -1;
}

int OpenExternal(int folder, const std::filesystem::path& relative) {
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  const long fd = syscall(SYS_openat2, folder, relative.c_str(), &how, sizeof how);
  if (fd < 0 && (errno == ENOSYS || errno == EPERM)) return OpenBeneath(folder, relative);
  return static_cast<int>(fd);
}

void ReadAt(int fd, int64_t offset, std::span<uint8_t> out, const std::string& what) {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n =
        pread(fd, out.data() + done, out.size() - done, offset + static_cast<int64_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      Refuse("{}: reading failed: {}", what,
             n == 0 ? "the file became shorter" : std::strerror(errno));
    done += static_cast<size_t>(n);
  }
}

template <class T, class Field>
void CopyField(const Field& field, Tensor& tensor, const std::string& what) {
  const auto out = tensor.data<T>();
  if (static_cast<size_t>(field.size()) != out.size())
    Refuse("{}: {} elements of data for shape {}", what, field.size(), ShapeName(tensor.shape));
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<T>(field.Get(static_cast<int>(i)));
}

}  // namespace

std::vector<uint8_t> ExternalData::Read(const std::string& tensor, const std::string& location,
                                        int64_t offset, int64_t length) {
  const std::string what = fmt::format("{}: external data '{}'", tensor, location);
  if (folder_.empty()) Refuse("{} is not available: the model was not read from a file", what);
  if (location.empty() || location.find('\0') != std::string::npos)
    Refuse("{}: the location is malformed", what);
  const std::filesystem::path relative(location);
  if (relative.is_absolute())
    Refuse("{} is an absolute path; it must lie in the model's folder", what);
  std::filesystem::path clean;
  for (const auto& part : relative) {
    if (part == "..") Refuse("{} leaves the model's folder", what);
    if (part != "." && !part.empty()) clean /= part;
  }
  if (clean.empty()) Refuse("{}: the location names no file", what);

  const FileDescriptor folder(open(folder_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0)
    Refuse("{}: the folder '{}' cannot be opened: {}", what, folder_.string(),
           std::strerror(errno));
  const FileDescriptor file(OpenExternal(folder.get(), clean));
  if (file.get() < 0) {
    if (errno == ELOOP || errno == EXDEV)
      Refuse("{} is reached through a symbolic link; copy the file into the model's folder", what);
    Refuse("{} cannot be opened: {}", what, std::strerror(errno));
  }
  struct stat info {};
  if (fstat(file.get(), &info) != 0) Refuse("{}: {}", what, std::strerror(errno));
  if (!S_ISREG(info.st_mode)) Refuse("{} is not a regular file", what);
  if (info.st_nlink != 1)
    Refuse("{} has {} hard links; a copy of its own is required", what, info.st_nlink);

  const int64_t size = info.st_size;
  if (offset < 0 || offset > size)
    Refuse("{}: offset {} is outside the file of {} bytes", what, offset, size);
  if (length == -1) length = size - offset;
  if (length < 0 || length > size - offset)
    Refuse("{}: {} bytes at offset {} are outside the file of {} bytes", what, length, offset,
           size);
  if (length > left_) Refuse("{}: all external data together exceeds the limit", what);
  left_ -= length;
  std::vector<uint8_t> bytes(static_cast<size_t>(length));
  ReadAt(file.get(), offset, bytes, what);
  return bytes;
}

std::vector<uint8_t> ReadModelFile(const std::filesystem::path& file, int64_t limit) {
  const FileDescriptor fd(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) Refuse("cannot be opened: {}", std::strerror(errno));
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) Refuse("{}", std::strerror(errno));
  if (!S_ISREG(info.st_mode)) Refuse("is not a regular file");
  if (info.st_size > limit) Refuse("has {} bytes, more than the limit of {}", info.st_size, limit);
  std::vector<uint8_t> bytes(static_cast<size_t>(info.st_size));
  ReadAt(fd.get(), 0, bytes, "model");
  return bytes;
}

std::unique_ptr<onnx::ModelProto> ParseModel(std::span<const uint8_t> bytes,
                                             const ImportLimits& limits) {
  if (static_cast<int64_t>(bytes.size()) > limits.model_bytes)
    Refuse("has {} bytes, more than the limit of {}", bytes.size(), limits.model_bytes);
  if (bytes.empty()) Refuse("is empty");
  auto model = std::make_unique<onnx::ModelProto>();
  google::protobuf::io::CodedInputStream stream(bytes.data(), static_cast<int>(bytes.size()));
  stream.SetTotalBytesLimit(INT32_MAX);
  if (!model->ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage())
    Refuse(
        "is not an ONNX model (protobuf parsing failed): the file is corrupt or truncated, or of "
        "another kind");
  if (!model->has_graph()) Refuse("is not an ONNX model: it holds no graph");
  return model;
}

DType ToDType(int onnx_type, const std::string& what) {
  using Proto = onnx::TensorProto;
  switch (onnx_type) {
    case Proto::FLOAT:
      return DType::kF32;
    case Proto::DOUBLE:
      return DType::kF64;
    case Proto::UINT8:
      return DType::kU8;
    case Proto::INT8:
      return DType::kS8;
    case Proto::UINT16:
      return DType::kU16;
    case Proto::INT16:
      return DType::kS16;
    case Proto::INT32:
      return DType::kS32;
    case Proto::INT64:
      return DType::kS64;
    case Proto::BOOL:
      return DType::kBool;
    default:
      break;
  }
  static const std::map<int, const char*> kRefused = {
      {0, "undefined"},       {8, "string"},      {10, "float16"},
      {12, "uint32"},         {13, "uint64"},     {14, "complex64"},
      {15, "complex128"},     {16, "bfloat16"},   {17, "float8e4m3fn"},
      {18, "float8e4m3fnuz"}, {19, "float8e5m2"}, {20, "float8e5m2fnuz"},
      {21, "uint4"},          {22, "int4"},       {23, "float4e2m1"},
      {24, "float8e8m0"},     {25, "uint2"},      {26, "int2"}};
  const auto it = kRefused.find(onnx_type);
  if (it == kRefused.end()) Refuse("{}: element type {} is unknown", what, onnx_type);
  Refuse("{}: element type {} is not supported; quantize to 8 bits and keep the rest float32", what,
         it->second);
}

Tensor LoadTensor(const onnx::TensorProto& proto, const std::string& what, ExternalData& external,
                  const ImportLimits& limits) {
  using Proto = onnx::TensorProto;
  const DType dtype = ToDType(proto.data_type(), what);
  if (proto.has_segment()) Refuse("{}: segmented tensors are not supported", what);
  if (proto.dims_size() > 16) Refuse("{}: {} dimensions are too many", what, proto.dims_size());
  Shape shape(proto.dims().begin(), proto.dims().end());
  for (int64_t dim : shape)
    if (dim < 0) Refuse("{}: dimension {} is negative", what, dim);
  const int64_t count = ElementCount(shape);
  if (count > limits.tensor_elements) Refuse("{}: shape {} is too large", what, ShapeName(shape));
  const int64_t length = count * DTypeSize(dtype);

  if (proto.data_location() == Proto::EXTERNAL) {
    std::string location;
    int64_t offset = 0;
    int64_t stated = -1;
    for (const auto& entry : proto.external_data()) {
      const auto number = [&]() -> int64_t {
        int64_t v = 0;
        const auto& s = entry.value();
        const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
        if (error != std::errc() || end != s.data() + s.size() || v < 0)
          Refuse("{}: external data {} '{}' is not a number of bytes", what, entry.key(),
                 s.substr(0, 40));
        return v;
      };
      if (entry.key() == "location") location = entry.value();
      if (entry.key() == "offset") offset = number();
      if (entry.key() == "length") stated = number();
    }
    if (stated != -1 && stated != length)
      Refuse("{}: external data has {} bytes, shape {} of {} needs {}", what, stated,
             ShapeName(shape), DTypeName(dtype), length);
    Tensor tensor;
    tensor.dtype = dtype;
    tensor.shape = std::move(shape);
    tensor.bytes = external.Read(what, location, offset, length);
    return tensor;
  }

  if (proto.has_raw_data()) {
    const std::string& raw = proto.raw_data();
    if (static_cast<int64_t>(raw.size()) != length)
      Refuse("{}: {} bytes of data, shape {} of {} needs {}", what, raw.size(), ShapeName(shape),
             DTypeName(dtype), length);
    Tensor tensor;
    tensor.dtype = dtype;
    tensor.shape = std::move(shape);
    tensor.bytes.assign(raw.begin(), raw.end());
    return tensor;
  }

  // The typed fields hold at least a byte per element, so a short file cannot ask for a large
  // allocation.
  const int64_t present = std::max({proto.float_data_size(), proto.int32_data_size(),
                                    proto.int64_data_size(), proto.double_data_size()});
  if (present != count)
    Refuse("{}: {} elements of data for shape {}", what, present, ShapeName(shape));
  Tensor tensor(dtype, std::move(shape));
  switch (dtype) {
    case DType::kF32:
      CopyField<float>(proto.float_data(), tensor, what);
      break;
    case DType::kF64:
      CopyField<double>(proto.double_data(), tensor, what);
      break;
    case DType::kS64:
      CopyField<int64_t>(proto.int64_data(), tensor, what);
      break;
    case DType::kS32:
      CopyField<int32_t>(proto.int32_data(), tensor, what);
      break;
    case DType::kU16:
    case DType::kS16:
      CopyField<uint16_t>(proto.int32_data(), tensor, what);
      break;
    case DType::kU8:
    case DType::kS8:
    case DType::kBool:
      CopyField<uint8_t>(proto.int32_data(), tensor, what);
      break;
  }
  return tensor;
}

}  // namespace octile::frontend
