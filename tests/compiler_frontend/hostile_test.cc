// Models nobody should have written: refused with a message that names the place, never a crash, a
// hang or a read outside the model's folder. Run under AddressSanitizer in CI.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include "octile/frontend/importer.h"
#include "octile/reference/reference.h"

namespace octile::frontend {
namespace {

using onnx::TensorProto;

void SetShape(onnx::ValueInfoProto* info, int type, const std::vector<int64_t>& dims) {
  info->mutable_type()->mutable_tensor_type()->set_elem_type(type);
  auto* shape = info->mutable_type()->mutable_tensor_type()->mutable_shape();
  for (int64_t d : dims) shape->add_dim()->set_dim_value(d);
}

TensorProto* AddTensor(onnx::GraphProto* g, const std::string& name, int type,
                       const std::vector<int64_t>& dims, const std::string& raw) {
  TensorProto* t = g->add_initializer();
  t->set_name(name);
  t->set_data_type(type);
  for (int64_t d : dims) t->add_dims(d);
  t->set_raw_data(raw);
  return t;
}

onnx::NodeProto* AddNode(onnx::GraphProto* g, const std::string& op,
                         const std::vector<std::string>& in, const std::vector<std::string>& out) {
  onnx::NodeProto* n = g->add_node();
  n->set_op_type(op);
  n->set_name("the_" + op);
  for (const auto& s : in) n->add_input(s);
  for (const auto& s : out) n->add_output(s);
  return n;
}

std::string Floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * 4};
}
std::string Integers(const std::vector<int64_t>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * 8};
}

// x -> Q -> DQ -> Conv(w) -> Q -> DQ -> y
onnx::ModelProto Good() {
  onnx::ModelProto m;
  m.set_ir_version(8);
  auto* opset = m.add_opset_import();
  opset->set_version(17);
  auto* g = m.mutable_graph();
  SetShape(g->add_input(), TensorProto::FLOAT, {1, 2, 5, 5});
  g->mutable_input(0)->set_name("x");
  AddTensor(g, "s", TensorProto::FLOAT, {}, Floats({0.1f}));
  AddTensor(g, "z", TensorProto::UINT8, {}, std::string(1, 100));
  AddTensor(g, "w", TensorProto::INT8, {3, 2, 2, 2}, std::string(24, 5));
  AddTensor(g, "zw", TensorProto::INT8, {}, std::string(1, 0));
  AddNode(g, "QuantizeLinear", {"x", "s", "z"}, {"xq"});
  AddNode(g, "DequantizeLinear", {"xq", "s", "z"}, {"xd"});
  AddNode(g, "DequantizeLinear", {"w", "s", "zw"}, {"wd"});
  AddNode(g, "Conv", {"xd", "wd"}, {"c"});
  AddNode(g, "QuantizeLinear", {"c", "s", "z"}, {"cq"});
  AddNode(g, "DequantizeLinear", {"cq", "s", "z"}, {"y"});
  SetShape(g->add_output(), TensorProto::FLOAT, {});
  g->mutable_output(0)->set_name("y");
  return m;
}

std::string Import(const onnx::ModelProto& m, const std::filesystem::path& folder = {}) {
  const std::string bytes = m.SerializeAsString();
  const auto result =
      ImportBytes({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, folder);
  if (result) return "accepted";
  EXPECT_EQ(result.error().code, ErrorCode::kModel);
  return result.error().message;
}

TEST(Hostile, TheModelToBreakIsGood) { EXPECT_EQ(Import(Good()), "accepted"); }

struct Breakage {
  const char* name;
  std::function<void(onnx::ModelProto&)> apply;
  std::vector<std::string> needles;
};

onnx::NodeProto& Node(onnx::ModelProto& m, int i) { return *m.mutable_graph()->mutable_node(i); }
TensorProto& Initializer(onnx::ModelProto& m, const std::string& name) {
  for (auto& t : *m.mutable_graph()->mutable_initializer())
    if (t.name() == name) return t;
  throw std::out_of_range(name);
}
onnx::AttributeProto* Attribute(onnx::NodeProto& n, const std::string& name,
                                onnx::AttributeProto::AttributeType type) {
  auto* a = n.add_attribute();
  a->set_name(name);
  a->set_type(type);
  return a;
}

class Broken : public testing::TestWithParam<Breakage> {};

TEST_P(Broken, IsRefusedByName) {
  onnx::ModelProto m = Good();
  GetParam().apply(m);
  const std::string message = Import(m);
  for (const std::string& needle : GetParam().needles)
    EXPECT_NE(message.find(needle), std::string::npos) << message;
}

constexpr auto kInts = onnx::AttributeProto::INTS;
constexpr auto kInt = onnx::AttributeProto::INT;

INSTANTIATE_TEST_SUITE_P(
    All, Broken,
    testing::Values(
        Breakage{"Cycle", [](auto& m) { Node(m, 0).set_input(0, "y"); }, {"cycle", "the_"}},
        Breakage{"SelfCycle", [](auto& m) { Node(m, 3).set_input(0, "c"); }, {"cycle", "the_Conv"}},
        Breakage{"MissingTensor",
                 [](auto& m) { Node(m, 3).set_input(1, "gone"); },
                 {"the_Conv", "'gone'"}},
        Breakage{"MissingOutput",
                 [](auto& m) { m.mutable_graph()->mutable_output(0)->set_name("gone"); },
                 {"'gone'"}},
        Breakage{"NoOutputs", [](auto& m) { m.mutable_graph()->clear_output(); }, {"no outputs"}},
        Breakage{"NoGraph", [](auto& m) { m.clear_graph(); }, {"no graph"}},
        Breakage{"NegativeDim",
                 [](auto& m) { Initializer(m, "w").set_dims(0, -3); },
                 {"'w'", "negative"}},
        Breakage{"NegativeInput",
                 [](auto& m) {
                   m.mutable_graph()
                       ->mutable_input(0)
                       ->mutable_type()
                       ->mutable_tensor_type()
                       ->mutable_shape()
                       ->mutable_dim(2)
                       ->set_dim_value(-5);
                 },
                 {"'x'", "-5"}},
        Breakage{"HugeInput",
                 [](auto& m) {
                   m.mutable_graph()
                       ->mutable_input(0)
                       ->mutable_type()
                       ->mutable_tensor_type()
                       ->mutable_shape()
                       ->mutable_dim(2)
                       ->set_dim_value(int64_t{1} << 62);
                 },
                 {"'x'", "too large"}},
        Breakage{"HugeDim",
                 [](auto& m) { Initializer(m, "w").set_dims(0, int64_t{1} << 62); },
                 {"'w'", "too large"}},
        Breakage{"OverflowingDims",
                 [](auto& m) {
                   for (int i = 0; i < 4; ++i) Initializer(m, "w").set_dims(i, int64_t{1} << 32);
                 },
                 {"'w'", "too large"}},
        Breakage{"ShortData",
                 [](auto& m) { Initializer(m, "w").set_raw_data("abc"); },
                 {"'w'", "3 bytes"}},
        Breakage{"NoData",
                 [](auto& m) {
                   Initializer(m, "w").clear_raw_data();
                   Initializer(m, "w").set_dims(0, 1 << 28);
                 },
                 {"'w'", "0 elements of data"}},
        Breakage{"WrongWeightType",
                 [](auto& m) { Initializer(m, "w").set_data_type(TensorProto::FLOAT); },
                 {"'w'"}},
        Breakage{
            "UnknownType", [](auto& m) { Initializer(m, "w").set_data_type(77); }, {"'w'", "77"}},
        Breakage{"StringTensor",
                 [](auto& m) { Initializer(m, "w").set_data_type(TensorProto::STRING); },
                 {"'w'", "string"}},
        Breakage{"ScaleShape",
                 [](auto& m) {
                   auto& s = Initializer(m, "s");
                   s.add_dims(3);
                   s.set_raw_data(Floats({1, 1, 1}));
                 },
                 {"scale"}},
        Breakage{"ZeroPointType",
                 [](auto& m) { Initializer(m, "zw").set_data_type(TensorProto::UINT8); },
                 {"zero point"}},
        Breakage{"NegativeScale",
                 [](auto& m) { Initializer(m, "s").set_raw_data(Floats({-1.0f})); },
                 {"scale"}},
        Breakage{"AttributeType",
                 [](auto& m) { Attribute(Node(m, 3), "strides", kInt)->set_i(2); },
                 {"the_Conv", "'strides'", "wrong type"}},
        Breakage{"AttributeTwice",
                 [](auto& m) {
                   for (int i = 0; i < 2; ++i) Attribute(Node(m, 3), "group", kInt)->set_i(1);
                 },
                 {"the_Conv", "'group'", "twice"}},
        Breakage{"Group",
                 [](auto& m) { Attribute(Node(m, 3), "group", kInt)->set_i(0); },
                 {"the_Conv", "group 0"}},
        Breakage{"HugeStride",
                 [](auto& m) {
                   auto* a = Attribute(Node(m, 3), "strides", kInts);
                   a->add_ints(INT64_MAX);
                   a->add_ints(1);
                 },
                 {"the_Conv", "out of range"}},
        Breakage{"HugeDilation",
                 [](auto& m) {
                   auto* a = Attribute(Node(m, 3), "dilations", kInts);
                   a->add_ints(1 << 19);
                   a->add_ints(1);
                 },
                 {"the_Conv", "does not fit"}},
        Breakage{"NegativePads",
                 [](auto& m) {
                   auto* a = Attribute(Node(m, 3), "pads", kInts);
                   for (int i = 0; i < 4; ++i) a->add_ints(-1);
                 },
                 {"the_Conv", "pad -1"}},
        Breakage{"HugePads",
                 [](auto& m) {
                   auto* a = Attribute(Node(m, 3), "pads", kInts);
                   for (int i = 0; i < 4; ++i) a->add_ints(1 << 20);
                 },
                 {"the_Conv", "too large"}},
        Breakage{"EmptyConv",
                 [](auto& m) { Node(m, 3).clear_input(); },
                 {"the_Conv", "input 0 is missing"}},
        Breakage{"NoNodeOutputs",
                 [](auto& m) {
                   Node(m, 3).clear_output();
                   Node(m, 3).add_output("");
                 },
                 {"'c'"}},
        Breakage{"Opset", [](auto& m) { m.mutable_opset_import(0)->set_version(3); }, {"opset 3"}},
        Breakage{"NoOpset", [](auto& m) { m.clear_opset_import(); }, {"ai.onnx"}},
        Breakage{"SequenceInput",
                 [](auto& m) {
                   m.mutable_graph()->mutable_input(0)->mutable_type()->mutable_sequence_type();
                 },
                 {"'x'", "not a tensor"}},
        Breakage{"SparseInitializer",
                 [](auto& m) { m.mutable_graph()->add_sparse_initializer(); },
                 {"sparse"}},
        Breakage{"Segment",
                 [](auto& m) { Initializer(m, "w").mutable_segment()->set_begin(0); },
                 {"'w'", "segmented"}},
        Breakage{"HugeReshape",
                 [](auto& m) {
                   AddTensor(m.mutable_graph(), "shape", TensorProto::INT64, {3},
                             Integers({INT64_MAX, INT64_MAX, 1}));
                   AddNode(m.mutable_graph(), "Reshape", {"xd", "shape"}, {"r"});
                   Node(m, 3).set_input(0, "r");
                 },
                 {"the_Reshape", "overflows"}},
        Breakage{"HugeExpand",
                 [](auto& m) {
                   AddTensor(m.mutable_graph(), "shape", TensorProto::INT64, {4},
                             Integers({1 << 20, 2, 5 << 20, 5}));
                   AddNode(m.mutable_graph(), "Expand", {"xd", "shape"}, {"r"});
                   Node(m, 3).set_input(0, "r");
                 },
                 {"the_Expand"}},
        Breakage{"HugeConstantOfShape",
                 [](auto& m) {
                   AddTensor(m.mutable_graph(), "shape", TensorProto::INT64, {2},
                             Integers({int64_t{1} << 40, int64_t{1} << 40}));
                   AddNode(m.mutable_graph(), "ConstantOfShape", {"shape"}, {"r"});
                   Node(m, 3).set_input(0, "r");
                 },
                 {"the_ConstantOfShape", "too large"}},
        Breakage{"HugeRange",
                 [](auto& m) {
                   AddTensor(m.mutable_graph(), "a", TensorProto::INT64, {}, Integers({0}));
                   AddTensor(m.mutable_graph(), "b", TensorProto::INT64, {}, Integers({INT64_MAX}));
                   AddTensor(m.mutable_graph(), "d", TensorProto::INT64, {}, Integers({1}));
                   AddNode(m.mutable_graph(), "Range", {"a", "b", "d"}, {"r"});
                   Node(m, 3).set_input(0, "r");
                 },
                 {"the_Range", "too long"}},
        Breakage{"HugeResize",
                 [](auto& m) {
                   AddTensor(m.mutable_graph(), "scales", TensorProto::FLOAT, {4},
                             Floats({1, 1, 1e6f, 1e6f}));
                   AddNode(m.mutable_graph(), "Resize", {"xd", "", "scales"}, {"r"});
                   Node(m, 3).set_input(0, "r");
                 },
                 {"the_Resize", "too large"}},
        Breakage{"DivideByZero",
                 [](auto& m) {
                   AddTensor(m.mutable_graph(), "a", TensorProto::INT64, {1}, Integers({1}));
                   AddTensor(m.mutable_graph(), "b", TensorProto::INT64, {1}, Integers({0}));
                   AddNode(m.mutable_graph(), "Div", {"a", "b"}, {"d"});
                   AddNode(m.mutable_graph(), "Reshape", {"xd", "d"}, {"r"});
                   Node(m, 3).set_input(0, "r");
                 },
                 {"the_Div", "division by zero"}},
        Breakage{"GatherRange",
                 [](auto& m) {
                   AddTensor(m.mutable_graph(), "a", TensorProto::INT64, {1}, Integers({1}));
                   AddTensor(m.mutable_graph(), "i", TensorProto::INT64, {1},
                             Integers({INT64_MIN}));
                   AddNode(m.mutable_graph(), "Gather", {"a", "i"}, {"d"});
                   AddNode(m.mutable_graph(), "Reshape", {"xd", "d"}, {"r"});
                   Node(m, 3).set_input(0, "r");
                 },
                 {"the_Gather", "out of range"}},
        Breakage{
            "SliceStep",
            [](auto& m) {
              AddTensor(m.mutable_graph(), "a", TensorProto::INT64, {1}, Integers({0}));
              AddTensor(m.mutable_graph(), "e", TensorProto::INT64, {1}, Integers({INT64_MAX}));
              AddTensor(m.mutable_graph(), "st", TensorProto::INT64, {1}, Integers({INT64_MIN}));
              AddNode(m.mutable_graph(), "Slice", {"xd", "a", "e", "a", "st"}, {"r"});
              Node(m, 3).set_input(0, "r");
            },
            {"the_Slice", "step"}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Hostile, DeepExpressionsAreRefusedNotOverflowed) {
  onnx::ModelProto m = Good();
  auto* g = m.mutable_graph();
  std::string last = "c";
  for (int i = 0; i < 20000; ++i) {
    const std::string next = fmt::format("v{}", i);
    AddNode(g, "Softmax", {last}, {next})->set_name(fmt::format("n{}", i));
    last = next;
  }
  Node(m, 4).set_input(0, last);
  EXPECT_NE(Import(m).find("nested too deeply"), std::string::npos);
}

TEST(Hostile, ManyNodesAreFast) {
  // A wide and long graph of tables: linear work.
  onnx::ModelProto m = Good();
  auto* g = m.mutable_graph();
  std::string last = "cq";
  for (int i = 0; i < 3000; ++i) {
    AddNode(g, "DequantizeLinear", {last, "s", "z"}, {fmt::format("d{}", i)})
        ->set_name(fmt::format("d{}", i));
    AddNode(g, "Sigmoid", {fmt::format("d{}", i)}, {fmt::format("r{}", i)})
        ->set_name(fmt::format("r{}", i));
    AddNode(g, "QuantizeLinear", {fmt::format("r{}", i), "s", "z"}, {fmt::format("q{}", i)})
        ->set_name(fmt::format("q{}", i));
    last = fmt::format("q{}", i);
  }
  Node(m, 5).set_input(0, last);
  EXPECT_EQ(Import(m), "accepted");
}

TEST(Hostile, NestedBranchesAreRefused) {
  onnx::ModelProto m = Good();
  AddTensor(m.mutable_graph(), "flag", TensorProto::BOOL, {}, std::string(1, 1));
  onnx::GraphProto* g = m.mutable_graph();
  onnx::NodeProto* node = nullptr;
  // Protobuf itself stops parsing at a depth of 100; stay below it and above the importer's limit.
  for (int i = 0; i < 30; ++i) {
    node = AddNode(g, "If", {"flag"}, {fmt::format("out{}", i)});
    if (i > 0) g->add_output()->set_name(fmt::format("out{}", i));
    auto* a = Attribute(*node, "then_branch", onnx::AttributeProto::GRAPH);
    auto* b = Attribute(*node, "else_branch", onnx::AttributeProto::GRAPH);
    b->mutable_g();
    g = a->mutable_g();
  }
  AddNode(g, "Identity", {"xd"}, {"inner"});
  g->add_output()->set_name("inner");
  m.mutable_graph()->mutable_node(3)->set_input(0, "out0");
  EXPECT_EQ(Import(m), "accepted");
}

TEST(Hostile, FunctionsThatMultiplyAreCapped) {
  // Thirty levels, each calling the next twice: 2^30 nodes.
  onnx::ModelProto m = Good();
  m.set_ir_version(8);
  auto* opset = m.add_opset_import();
  opset->set_domain("bomb");
  opset->set_version(1);
  for (int i = 0; i < 30; ++i) {
    auto* f = m.add_functions();
    f->set_name(fmt::format("f{}", i));
    f->set_domain("bomb");
    f->add_input(std::string("a"));
    f->add_output(std::string("c"));
    for (const char* domain : {"", "bomb"}) {
      auto* import = f->add_opset_import();
      import->set_domain(domain);
      import->set_version(domain[0] ? 1 : 17);
    }
    for (const auto& [in, out] : {std::pair{"a", "b"}, std::pair{"b", "c"}}) {
      auto* n = f->add_node();
      n->set_op_type(i == 29 ? "Relu" : fmt::format("f{}", i + 1));
      n->set_domain(i == 29 ? "" : "bomb");
      n->add_input(in);
      n->add_output(out);
    }
  }
  auto* call = AddNode(m.mutable_graph(), "f0", {"xd"}, {"boom"});
  call->set_domain("bomb");
  Node(m, 3).set_input(0, "boom");
  EXPECT_NE(Import(m).find("more than 200000 nodes"), std::string::npos);
}

// --- external data ---

class External : public testing::Test {
 protected:
  void SetUp() override {
    root_ =
        std::filesystem::temp_directory_path() / ("octile_external_" + std::to_string(getpid()));
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ / "model" / "sub");
    Write(root_ / "secret.bin", std::string(24, 1));
    std::string shifted(32, 5);
    std::fill_n(shifted.begin(), 8, 9);
    Write(root_ / "model" / "w.bin", shifted);
    Write(root_ / "model" / "sub" / "w.bin", std::string(24, 5));
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  static void Write(const std::filesystem::path& file, const std::string& text) {
    std::ofstream(file, std::ios::binary) << text;
  }

  std::string With(const std::string& location, const std::string& offset = "",
                   const std::string& length = "") {
    onnx::ModelProto m = Good();
    TensorProto& w = Initializer(m, "w");
    w.clear_raw_data();
    w.set_data_location(TensorProto::EXTERNAL);
    const auto entry = [&](const char* key, const std::string& value) {
      if (value.empty()) return;
      auto* e = w.add_external_data();
      e->set_key(key);
      e->set_value(value);
    };
    entry("location", location);
    entry("offset", offset);
    entry("length", length);
    return Import(m, root_ / "model");
  }

  std::filesystem::path root_;
};

TEST_F(External, InsideTheFolderIsRead) {
  EXPECT_EQ(With("w.bin", "8"), "accepted");
  EXPECT_EQ(With("w.bin", "8", "24"), "accepted");
  EXPECT_EQ(With("sub/w.bin"), "accepted");
  EXPECT_EQ(With("./sub/./w.bin"), "accepted");
}

TEST_F(External, PathsThatLeaveAreRefused) {
  const auto has = [](const std::string& message, const std::string& needle) {
    return message.find(needle) != std::string::npos && message.find("'w'") != std::string::npos;
  };
  EXPECT_PRED2(has, With("../secret.bin"), "leaves the model's folder");
  EXPECT_PRED2(has, With("sub/../../secret.bin"), "leaves the model's folder");
  EXPECT_PRED2(has, With("sub/../w.bin"), "leaves the model's folder");
  EXPECT_PRED2(has, With((root_ / "secret.bin").string()), "absolute path");
  EXPECT_PRED2(has, With("/etc/passwd"), "absolute path");
  EXPECT_PRED2(has, With(std::string("w.bin\0x", 7)), "malformed");
  EXPECT_PRED2(has, With("."), "names no file");
  EXPECT_PRED2(has, With("sub"), "not a regular file");
  EXPECT_PRED2(has, With("none.bin"), "cannot be opened");
}

TEST_F(External, LinksAreRefused) {
  std::filesystem::create_symlink(root_ / "secret.bin", root_ / "model" / "link.bin");
  std::filesystem::create_directory_symlink(root_, root_ / "model" / "up");
  std::filesystem::create_hard_link(root_ / "secret.bin", root_ / "model" / "hard.bin");
  EXPECT_NE(With("link.bin").find("symbolic link"), std::string::npos);
  EXPECT_NE(With("up/secret.bin").find("symbolic link"), std::string::npos);
  EXPECT_NE(With("hard.bin").find("hard links"), std::string::npos);
  ASSERT_EQ(mkfifo((root_ / "model" / "pipe").c_str(), 0600), 0);
  EXPECT_NE(With("pipe").find("not a regular file"), std::string::npos);
}

TEST_F(External, RangesAreChecked) {
  EXPECT_NE(With("w.bin", "9").find("outside the file"), std::string::npos);
  EXPECT_NE(With("w.bin", "9223372036854775807").find("outside the file"), std::string::npos);
  EXPECT_NE(With("w.bin", "-1").find("not a number of bytes"), std::string::npos);
  EXPECT_NE(With("w.bin", "18446744073709551615").find("not a number of bytes"), std::string::npos);
  EXPECT_NE(With("w.bin", "8", "25").find("needs 24"), std::string::npos);
  onnx::ModelProto m = Good();
  Initializer(m, "w").set_data_location(TensorProto::EXTERNAL);
  auto* e = Initializer(m, "w").add_external_data();
  e->set_key("location");
  e->set_value("w.bin");
  EXPECT_NE(Import(m).find("not available"), std::string::npos);
}

// --- damage ---

std::vector<uint8_t> ReadFile(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

// Whatever is accepted must also be a valid graph that evaluates.
void ImportDamaged(const std::vector<uint8_t>& bytes, int& accepted) {
  ImportOptions options;
  options.limits.tensor_elements = 1 << 22;
  options.limits.folded_bytes = 1 << 24;
  const auto result = ImportBytes(bytes, {}, options);
  if (!result) {
    EXPECT_FALSE(result.error().message.empty());
    EXPECT_EQ(result.error().message.find("the imported graph is invalid"), std::string::npos)
        << result.error().message;
    return;
  }
  ++accepted;
  int64_t work = 0;
  for (const auto& step : result->graph.steps)
    work += ir::MacCount(result->graph, step) + result->graph.tensor(step.output).size();
  if (work > 1 << 22) return;
  std::map<std::string, Tensor> inputs;
  for (ir::TensorId id : result->graph.inputs)
    inputs[result->graph.tensor(id).name] =
        Tensor(result->graph.tensor(id).dtype, result->graph.tensor(id).shape);
  (void)reference::Evaluate(result->graph, inputs);
}

TEST(Hostile, DamagedFilesNeverCrash) {
  for (const char* name : {"mlp.onnx", "concat_split.onnx", "activations.onnx"}) {
    const auto good = ReadFile(std::filesystem::path(OCTILE_MODELS) / name);
    ASSERT_FALSE(good.empty());
    std::mt19937 rng(1);
    int accepted = 0;
    for (int i = 0; i < 1000; ++i) {
      auto copy = good;
      if (i % 4 == 0) {
        copy.resize(rng() % copy.size());
      } else {
        for (unsigned n = 0; n <= rng() % 4; ++n)
          copy[rng() % copy.size()] ^= static_cast<uint8_t>(1 << rng() % 8);
      }
      ImportDamaged(copy, accepted);
    }
    EXPECT_GT(accepted, 0) << name;
  }
}

// Damage above the wire format: fields keep their types, so more of it reaches the importer.
TEST(Hostile, DamagedFieldsNeverCrash) {
  std::mt19937 rng(2);
  onnx::ModelProto good;
  const auto bytes = ReadFile(std::filesystem::path(OCTILE_MODELS) / "concat_split.onnx");
  ASSERT_TRUE(good.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  const int64_t odd[] = {0, -1, 1, 2, 3, 7, 255, INT32_MAX, INT64_MAX, INT64_MIN, 1 << 20};
  int accepted = 0;
  for (int i = 0; i < 1500; ++i) {
    onnx::ModelProto m = good;
    auto* g = m.mutable_graph();
    for (unsigned n = 0; n <= rng() % 2; ++n) {
      auto& node =
          *g->mutable_node(static_cast<int>(rng() % static_cast<unsigned>(g->node_size())));
      const auto& other = g->node(static_cast<int>(rng() % static_cast<unsigned>(g->node_size())));
      auto& tensor = *g->mutable_initializer(
          static_cast<int>(rng() % static_cast<unsigned>(g->initializer_size())));
      const int64_t value = odd[rng() % std::size(odd)];
      switch (rng() % 8) {
        case 0:
          node.set_op_type(other.op_type());
          break;
        case 1:
          if (node.input_size() > 0 && other.output_size() > 0)
            node.set_input(static_cast<int>(rng() % static_cast<unsigned>(node.input_size())),
                           other.output(0));
          break;
        case 2:
          if (node.input_size() > 0) node.mutable_input()->RemoveLast();
          break;
        case 3:
          for (auto& a : *node.mutable_attribute()) {
            if (a.type() == kInt) a.set_i(value);
            if (a.ints_size() > 0)
              a.set_ints(static_cast<int>(rng() % static_cast<unsigned>(a.ints_size())), value);
            if (a.type() == onnx::AttributeProto::FLOAT) a.set_f(static_cast<float>(value));
          }
          break;
        case 4:
          if (tensor.dims_size() > 0) tensor.set_dims(0, value);
          break;
        case 5:
          tensor.set_data_type(static_cast<int>(rng() % 17));
          break;
        case 6:
          if (!tensor.raw_data().empty())
            (*tensor.mutable_raw_data())[rng() % tensor.raw_data().size()] =
                static_cast<char>(rng());
          break;
        default:
          if (node.input_size() > 1) node.mutable_input()->SwapElements(0, node.input_size() - 1);
          break;
      }
    }
    const std::string text = m.SerializeAsString();
    ImportDamaged({text.begin(), text.end()}, accepted);
  }
  EXPECT_GT(accepted, 0);
}

TEST(Hostile, FilesThatAreNoModels) {
  const auto folder = std::filesystem::temp_directory_path();
  EXPECT_NE(
      ImportFile(folder / "octile_no_such_file.onnx").error().message.find("cannot be opened"),
      std::string::npos);
  EXPECT_NE(ImportFile(folder).error().message.find("not a regular file"), std::string::npos);
  EXPECT_NE(ImportFile("/dev/zero").error().message.find("not a regular file"), std::string::npos);
  EXPECT_NE(ImportBytes({}).error().message.find("is empty"), std::string::npos);
  ImportOptions options;
  options.limits.model_bytes = 10;
  EXPECT_NE(ImportFile(std::filesystem::path(OCTILE_MODELS) / "mlp.onnx", options)
                .error()
                .message.find("more than the limit of 10"),
            std::string::npos);
}

}  // namespace
}  // namespace octile::frontend
