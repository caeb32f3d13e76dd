// A valid graph with every kind of step, small enough to break in one place.
#pragma once

#include <limits>

#include "octile/ir/graph.h"

namespace octile::ir {

class SampleGraph {
 public:
  SampleGraph() {
    g.name = "sample \"graph\"\n\x01";
    const TensorId image = Codes("image", {1, 4, 6, 6});
    g.inputs = {image};
    Conv conv;
    conv.weights = {DType::kS8, std::vector<uint8_t>(4 * 2 * 3 * 3, 0xfe), {0, 1, -2, 3}};
    conv.bias = {1, -2, 3, -2147483647 - 1};
    conv.multipliers = {0.0f, 0.25f, 0.1f, 512.0f};
    conv.kernel = {3, 3};
    conv.pads = {1, 1, 1, 1};
    conv.group = 2;
    conv.clamp = {3, 200};
    const TensorId y = Add(conv, {image}, Codes("conv", {1, 4, 6, 6}));
    Table table;
    table.meaning = "Sigmoid";
    for (size_t i = 0; i < 256; ++i) table.entries[i] = static_cast<uint8_t>(255 - i);
    const TensorId t = Add(table, {y}, Codes("table", {1, 4, 6, 6}));
    MaxPool max;
    max.kernel = {2, 2};
    max.strides = {2, 2};
    const TensorId m = Add(max, {t}, Codes("max", {1, 4, 3, 3}));
    AveragePool average;
    average.kernel = {3, 3};
    average.pads = {1, 1, 1, 1};
    average.count_include_pad = true;
    const TensorId a = Add(average, {m}, Codes("average", {1, 4, 3, 3}));
    const TensorId s =
        Add(ir::Add{0.5f, 0.75f, -1.5f, {0, 255}}, {a, m}, Codes("add", {1, 4, 3, 3}));
    const TensorId global =
        Add(GlobalAveragePool{0.11f, {0, 255}}, {s}, Codes("global", {1, 4, 1, 1}));
    const TensorId p = Add(Mul{0.01f, {0, 255}}, {s, global}, Codes("mul", {1, 4, 3, 3}));
    const TensorId n =
        Add(Affine{{0.5f, -0.0f, 1e-40f, -2.5f}, {1.5f, -0.0f, 3.0f, 1e9f}, {9, 250}}, {p},
            Codes("affine", {1, 4, 3, 3}));
    const TensorId joined = Add(Concat{1}, {n, s}, Codes("concat", {1, 8, 3, 3}));
    const TensorId cut =
        Add(Slice{{0, 7, 0, 1}, {1, -2, 1, 1}}, {joined}, Codes("slice", {1, 4, 3, 2}));
    const TensorId pad = Add(Pad{{0, 0, 1, 0}, {0, 0, 0, 1}, PadMode::kConstant, 128}, {cut},
                             Codes("pad", {1, 4, 4, 3}));
    const TensorId big =
        Add(ResizeNearest{{0, 0, 1, 3}, {2, 1}}, {pad}, Codes("resize", {1, 4, 4, 2}));
    const TensorId moved = Add(Transpose{{0, 2, 3, 1}}, {big}, Codes("transpose", {1, 4, 2, 4}));
    const TensorId flat = Add(Reshape{}, {moved}, Codes("reshape", {4, 8}));
    Gemm gemm;
    gemm.weights = {DType::kU8, std::vector<uint8_t>(8 * 3, 200), {128, 128, 127}};
    gemm.bias = {0, 1, 2};
    const TensorId sums = Add(gemm, {flat}, Tensor("gemm", DType::kS32, {4, 3}));
    const TensorId scaled = Add(ScaleAccumulator{1, {0.1f, 0.2f, 1e-40f}, {1.0f, -0.0f, 3.5f}},
                                {sums}, Tensor("scaled", DType::kF32, {4, 3}), "float");
    HostFloat host;
    host.op = "LeakyRelu";
    host.attributes["alpha"] = std::numeric_limits<float>::infinity();
    host.attributes["nan"] = std::numeric_limits<float>::quiet_NaN();
    host.attributes["count"] = int64_t{-3};
    host.attributes["mode"] = std::string("a \"b\" \\ \n");
    host.attributes["list"] = std::vector<int64_t>{1, -2};
    host.attributes["scales"] = std::vector<float>{};
    const TensorId relu = Add(host, {scaled}, Tensor("relu", DType::kF32, {4, 3}), "float");
    const TensorId codes = Add(Quantize{}, {relu}, Codes("codes", {4, 3}), "float");
    const TensorId soft = Add(Softmax{1}, {codes}, Codes("softmax", {4, 3}), "softmax");
    const TensorId out = Add(Dequantize{}, {soft}, Tensor("out", DType::kF32, {4, 3}), "float");
    average.count_include_pad = false;
    average.integer = {{4, 0, 0.25f, 128}, {6, -3, 0x1.555556p-3f, 127}, {9, 0, 0.125f, 0}};
    Add(average, {image}, Codes("integer", {1, 4, 6, 6}));
    const TensorId constant = Tensor("constant", DType::kS64, {2});
    g.tensor(constant).constant =
        std::vector<uint8_t>{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 255};
    g.outputs = {{"result", out}, {"again", out}, {"image", image}, {"constant", constant}};
  }

  TensorId Tensor(const std::string& name, DType type, Shape shape) {
    g.tensors.push_back({name, type, std::move(shape), std::nullopt, std::nullopt});
    return static_cast<TensorId>(g.tensors.size()) - 1;
  }
  TensorId Codes(const std::string& name, Shape shape) {
    const TensorId t = Tensor(name, DType::kU8, std::move(shape));
    g.tensor(t).quant = Quantization{0.1f, 128};
    return t;
  }
  TensorId Add(Op op, std::vector<TensorId> inputs, TensorId output, const std::string& host = "") {
    g.steps.push_back({g.tensor(output).name,
                       std::move(op),
                       std::move(inputs),
                       output,
                       {"node of " + g.tensor(output).name},
                       host});
    return output;
  }
  Step& step(const std::string& name) {
    for (Step& s : g.steps)
      if (s.name == name) return s;
    return g.steps.at(g.steps.size());
  }
  TensorInfo& tensor(const std::string& name) {
    for (TensorInfo& t : g.tensors)
      if (t.name == name) return t;
    return g.tensors.at(g.tensors.size());
  }

  Graph g;
};

}  // namespace octile::ir
