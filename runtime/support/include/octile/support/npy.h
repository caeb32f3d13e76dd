// NumPy's .npy files (format versions 1.0, 2.0 and 3.0; C order, little endian).
#pragma once

#include <filesystem>
#include <span>

#include "octile/support/tensor.h"

namespace octile {

// Reads a tensor. Every malformed file is an error (kModel) naming the file; no more than
// `max_bytes` of data are read.
Expected<Tensor> ReadNpy(const std::filesystem::path& file, int64_t max_bytes = int64_t{1} << 32);
// The same from memory; `name` appears in errors.
Expected<Tensor> ParseNpy(std::span<const uint8_t> bytes, std::string_view name);

// Writes format 1.0, byte for byte reproducible.
std::vector<uint8_t> FormatNpy(const Tensor& tensor);
Status WriteNpy(const std::filesystem::path& file, const Tensor& tensor);

}  // namespace octile
