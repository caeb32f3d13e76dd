#include "octile/frontend/importer.h"

#include <functional>
#include <new>

#include "model.h"
#include "octile/ir/host_ops.h"

namespace octile::frontend {
namespace {

// Runs an import and turns refusals into errors; `where` begins the message.
template <class Result>
Expected<Result> Guarded(const std::string& where, const std::function<Result()>& body) {
  try {
    return body();
  } catch (const Refusal& refusal) {
    return Fail(ErrorCode::kModel, fmt::format("{}: {}", where, refusal.message));
  } catch (const std::bad_alloc&) {
    return Fail(ErrorCode::kModel,
                fmt::format("{}: importing it needs more memory than there is", where));
  } catch (const std::length_error&) {
    return Fail(ErrorCode::kModel, fmt::format("{}: a size in it is too large", where));
  }
}

ImportResult Import(std::span<const uint8_t> bytes, const std::filesystem::path& folder,
                    const ImportOptions& options) {
  const auto proto = ParseModel(bytes, options.limits);
  ExternalData external(folder, options.limits.external_bytes);
  return Lower(Flatten(*proto, external, options), options);
}

}  // namespace

Expected<ImportResult> ImportFile(const std::filesystem::path& file, const ImportOptions& options) {
  return Guarded<ImportResult>(file.string(), [&] {
    const std::vector<uint8_t> bytes = ReadModelFile(file, options.limits.model_bytes);
    std::filesystem::path folder = file.parent_path();
    if (folder.empty()) folder = ".";
    return Import(bytes, folder, options);
  });
}

Expected<ImportResult> ImportBytes(std::span<const uint8_t> bytes,
                                   const std::filesystem::path& folder,
                                   const ImportOptions& options) {
  return Guarded<ImportResult>("model", [&] { return Import(bytes, folder, options); });
}

Expected<std::vector<ModelInput>> ListInputs(const std::filesystem::path& file) {
  return Guarded<std::vector<ModelInput>>(file.string(), [&] {
    const ImportLimits limits;
    const auto proto = ParseModel(ReadModelFile(file, limits.model_bytes), limits);
    std::set<std::string> initializers;
    for (const auto& tensor : proto->graph().initializer()) initializers.insert(tensor.name());
    std::vector<ModelInput> inputs;
    for (const auto& input : proto->graph().input()) {
      ModelInput row;
      row.name = input.name();
      row.has_initializer = initializers.count(input.name()) > 0;
      const auto& type = input.type().tensor_type();
      row.type =
          DTypeName(ToDType(type.elem_type(), fmt::format("graph input '{}'", input.name())));
      for (const auto& dim : type.shape().dim())
        row.dims.push_back(dim.has_dim_value()       ? std::to_string(dim.dim_value())
                           : dim.dim_param().empty() ? "?"
                                                     : dim.dim_param());
      inputs.push_back(std::move(row));
    }
    return inputs;
  });
}

std::vector<OperatorSupport> SupportedOperators() {
  std::vector<OperatorSupport> rows;
  const auto device = [&](const char* op, const char* note) { rows.push_back({op, true, note}); };
  device("Conv",
         "constant 8-bit weights, per tensor or per channel; any padding and group; kernel up to "
         "63, stride 15, dilation 31");
  device("Gemm", "constant 8-bit weights");
  device("MatMul", "constant 8-bit weights [K,N]");
  device("MatMulInteger", "constant 8-bit weights; raw int32");
  device("Relu, Clip", "clamp of the operator before, or a table");
  device("MaxPool, GlobalMaxPool", "");
  device("GlobalAveragePool, ReduceMean", "over the whole image, up to 63 rows and columns");
  device("AveragePool",
         "over the whole image, or where its fp32 sum is proved equal to an integer form (N8)");
  device("Add, Mul", "two quantized operands of equal shape, or one value per channel");
  device("BatchNormalization",
         "of codes, its parameters constant, its result quantized (N13); otherwise on the host");
  device("any function of one code",
         "LeakyRelu, Sigmoid, HardSigmoid, HardSwish, Tanh, Gelu, SiLU, Elu, Sqrt, scalar "
         "arithmetic ...: one table");
  device("Concat, Split, Slice, Pad",
         "whole channel blocks and rows by placement, otherwise copies");
  device("Reshape, Flatten, Squeeze, Unsqueeze, Transpose, DepthToSpace, SpaceToDepth",
         "where nothing moves, flattened images, channel shuffles, views at the edges; otherwise "
         "data movement on the host");
  device("Resize, Upsample", "nearest, by whole factors");
  device("QuantizeLinear, DequantizeLinear", "between codes; at float values they are host steps");
  rows.push_back({"Softmax", false, "exponentials and a division over a whole row (N10)"});
  for (const ir::HostOperator& host : ir::HostOperators())
    rows.push_back({std::string(host.op), false, std::string(host.reason)});
  return rows;
}

}  // namespace octile::frontend
