"""Small QDQ models that contain what files in the wild contain, each with what a reader must make of it.

    build/venv/bin/python scripts/models/wild.py DIR

writes DIR/NAME/model.onnx for every case, and for those that run also input_NAME.npy and output_NAME.npy, computed by ONNX
Runtime. DIR/cases.json lists them: name, the construct, `options` of `octile run`, and either `runs` (with `tolerance`, the
largest difference of a float output) or `refused` with words that the message has to contain.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FLOAT, UINT8, INT8, INT32 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32
X_SCALE, X_ZERO = 1 / 64, 120        # the input's codes
Y_SCALE, Y_ZERO = 1 / 16, 110        # the convolution's


class Wild:
    """A graph under construction: by default float input 1x4x6x6 -> Q -> DQ -> Conv 4 to 5 channels -> Q -> DQ -> output."""

    def __init__(self, opset=17, seed=0):
        self.opset, self.rng = opset, np.random.default_rng(seed)
        self.nodes, self.initializers, self.inputs, self.outputs, self.functions = [], [], [], [], []
        self.domains = {"": opset}
        self.number = 0

    def name(self, stem="value"):
        self.number += 1
        return f"{stem}{self.number}"

    def constant(self, value, dtype=np.float32, name=None):
        name = name or self.name("constant")
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, op, inputs, outputs=1, **attributes):
        """Returns the output's name, or the list of them."""
        names = [self.name(op.lower() + "_out") for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=self.name(op.lower()), **attributes))
        return names[0] if outputs == 1 else names

    def input(self, name="x", shape=(1, 4, 6, 6), dtype=FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def output(self, value, shape=None, dtype=FLOAT):
        self.outputs.append(helper.make_tensor_value_info(value, dtype, shape))
        return value

    def quantize(self, x, scale=X_SCALE, zero=X_ZERO, dtype=np.uint8, **attributes):
        inputs = [x, self.constant(scale)] + ([] if zero is None else [self.constant(zero, dtype)])
        return self.node("QuantizeLinear", inputs, **attributes)

    def dequantize(self, q, scale=X_SCALE, zero=X_ZERO, dtype=np.uint8, **attributes):
        inputs = [q, self.constant(scale)] + ([] if zero is None else [self.constant(zero, dtype)])
        return self.node("DequantizeLinear", inputs, **attributes)

    def quantized(self, x, scale=X_SCALE, zero=X_ZERO, dtype=np.uint8, **attributes):
        return self.dequantize(self.quantize(x, scale, zero, dtype, **attributes), scale, zero, dtype, **attributes)

    def weight(self, shape=(5, 4, 3, 3)):
        """Per-channel int8 weights behind DequantizeLinear, and their scales."""
        codes = self.constant(self.rng.integers(-127, 128, shape), np.int8)
        scales = self.rng.uniform(0.005, 0.02, shape[0]).astype(np.float32)
        return self.node("DequantizeLinear", [codes, self.constant(scales), self.constant(np.zeros(shape[0]), np.int8)],
                         axis=0), scales

    def bias(self, scales, x_scale=X_SCALE):
        return self.node("DequantizeLinear", [self.constant(self.rng.integers(-300, 300, len(scales)), np.int32),
                                              self.constant(np.float32(x_scale) * scales)], axis=0)

    def conv(self, x, pads=(1, 1, 1, 1), **attributes):
        weight, scales = self.weight()
        if "auto_pad" not in attributes:
            attributes["pads"] = list(pads)
        return self.node("Conv", [x, weight, self.bias(scales)], kernel_shape=[3, 3], **attributes)

    def tail(self, x, shape=None):
        return self.output(self.quantized(x, Y_SCALE, Y_ZERO), shape)

    def whole(self, **conv_attributes):
        """The default graph."""
        return self.tail(self.conv(self.quantized(self.input()), **conv_attributes))

    def model(self, ir_version=8):
        graph = helper.make_graph(self.nodes, "wild", self.inputs, self.outputs, self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid(d, v) for d, v in self.domains.items()],
                                 ir_version=ir_version, functions=self.functions)


CASES = []


def case(construct, *, refused=None, options=(), tolerance=0.0, host_step=False, shapes=None, ir_version=8):
    """Registers a function that fills a Wild graph. `shapes`: the inputs' shapes for the run, where symbolic."""
    def register(make):
        CASES.append(dict(name=make.__name__, construct=construct, refused=refused, options=list(options),
                          tolerance=tolerance, host_step=host_step, shapes=shapes or {}, ir_version=ir_version, make=make))
        return make
    return register


# Dimensions

@case("symbolic batch", shapes={"x": (1, 4, 6, 6)})
def symbolic_batch(w):
    w.tail(w.conv(w.quantized(w.input(shape=("batch", 4, 6, 6)))))


@case("batch of 3 on a symbolic batch", shapes={"x": (3, 4, 6, 6)})
def symbolic_batch_of_3(w):
    symbolic_batch(w)


@case("symbolic height and width, given by --shape", options=["--shape", "x=1x4x9x7"], shapes={"x": (1, 4, 9, 7)})
def symbolic_image_given(w):
    w.tail(w.conv(w.quantized(w.input(shape=(1, 4, "height", "width")))))


@case("symbolic height and width", refused=["x", "height"])
def symbolic_image(w):
    symbolic_image_given(w)


@case("dimension zero", refused=["x"])
def zero_dimension(w):
    w.tail(w.conv(w.quantized(w.input(shape=(1, 4, 0, 6)))))


# Constants

@case("initializers listed as inputs")
def initializers_as_inputs(w):
    w.whole()
    for tensor in w.initializers:
        w.inputs.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))


@case("Constant nodes")
def constant_nodes(w):
    w.whole()
    w.nodes[:0] = [helper.make_node("Constant", [], [t.name], name=f"make_{t.name}", value=t) for t in w.initializers]
    w.initializers.clear()


@case("Shape, Gather, Concat, Reshape chain")
def shape_chain(w):
    x = w.quantized(w.conv(w.quantized(w.input())), Y_SCALE, Y_ZERO)
    batch = w.node("Gather", [w.node("Shape", [x]), w.constant(0, np.int64)], axis=0)
    batch = w.node("Unsqueeze", [batch, w.constant([0], np.int64)])
    x = w.node("Reshape", [x, w.node("Concat", [batch, w.constant([-1], np.int64)], axis=0)])
    w.tail(x)


@case("shape that depends on a value", refused=["Reshape"])
def shape_from_value(w):
    x = w.quantized(w.conv(w.quantized(w.input())), Y_SCALE, Y_ZERO)
    size = w.node("Cast", [w.node("ReduceMax", [x], keepdims=0)], to=TensorProto.INT64)
    w.tail(w.node("Reshape", [x, w.node("Concat", [w.node("Unsqueeze", [size, w.constant([0], np.int64)]),
                                                   w.constant([-1], np.int64)], axis=0)]))


@case("weight: DequantizeLinear, then Transpose")
def transposed_weight(w):
    codes = w.constant(w.rng.integers(-127, 128, (7, 24)), np.int8)  # [out, in], as exporters of linear layers leave it
    weight = w.node("Transpose", [w.node("DequantizeLinear", [codes, w.constant(0.01), w.constant(0, np.int8)])],
                    perm=[1, 0])
    w.tail(w.node("MatMul", [w.quantized(w.input(shape=(1, 24))), weight]))


@case("float weight behind QuantizeLinear and DequantizeLinear")
def float_weight(w):
    weight = w.quantized(w.constant(w.rng.normal(0, 0.4, (5, 4, 3, 3))), 0.01, 0, np.int8)
    x = w.node("Conv", [w.quantized(w.input()), weight], kernel_shape=[3, 3])
    w.tail(x)


@case("bias computed by Mul, Div and Cast")
def computed_bias(w):
    weight, scales = w.weight()
    codes = w.node("Cast", [w.constant(w.rng.integers(-300, 300, 5), np.int64)], to=INT32)
    scale = w.node("Div", [w.node("Mul", [w.constant(scales), w.constant(X_SCALE * 2)]), w.constant(2.0)])
    bias = w.node("DequantizeLinear", [codes, scale], axis=0)
    w.tail(w.node("Conv", [w.quantized(w.input()), weight, bias], kernel_shape=[3, 3]))


@case("float bias", tolerance=Y_SCALE)
def float_bias(w):
    weight, _ = w.weight()
    w.tail(w.node("Conv", [w.quantized(w.input()), weight, w.constant(w.rng.normal(0, 1, 5))], kernel_shape=[3, 3]))


# Nodes that do nothing

@case("Identity, inference Dropout, Cast to the same type, Pad by nothing")
def no_operations(w):
    x = w.node("Identity", [w.input()])
    x = w.node("Cast", [x], to=FLOAT)
    x = w.node("Dropout", [w.quantized(x), w.constant(0.5), w.constant(False, np.bool_)])
    x = w.node("Pad", [x, w.constant([0] * 8, np.int64)])
    w.tail(w.node("Identity", [w.conv(x)]))


@case("Dropout in training mode", refused=["Dropout"])
def dropout_training(w):
    w.tail(w.conv(w.node("Dropout", [w.quantized(w.input()), w.constant(0.5), w.constant(True, np.bool_)])))


@case("Dropout whose mask is used", refused=["Dropout"])
def dropout_mask(w):
    x, mask = w.node("Dropout", [w.quantized(w.input())], outputs=2)
    w.tail(w.conv(x))
    w.output(mask, dtype=TensorProto.BOOL)


@case("output that is the input, an initializer, or another output's value")
def trivial_outputs(w):
    w.whole()
    w.output("x", [1, 4, 6, 6])
    w.output(w.constant([1.5, 2.5], name="constant_output"), [2])
    w.output(w.node("Identity", [w.outputs[0].name]))


# Edges of the graph and islands

@case("uint8 input, Cast, Sub, Div, QuantizeLinear")
def uint8_input(w):
    x = w.node("Cast", [w.input(dtype=UINT8)], to=FLOAT)
    x = w.node("Div", [w.node("Sub", [x, w.constant(116.0)]), w.constant(58.0)])
    w.tail(w.conv(w.quantized(x)))


@case("quantized input and output: no Q and DQ at the edges")
def codes_at_the_edges(w):
    y = w.conv(w.dequantize(w.input(dtype=UINT8)))
    w.output(w.quantize(y, Y_SCALE, Y_ZERO), dtype=UINT8)


@case("BatchNormalization left in the graph", tolerance=Y_SCALE)
def batch_normalization(w):
    x = w.quantized(w.conv(w.quantized(w.input())), Y_SCALE, Y_ZERO)
    x = w.node("BatchNormalization", [x] + [w.constant(w.rng.uniform(0.5, 1.5, 5)) for _ in range(4)])
    w.tail(x)


@case("operator on neither list", refused=["Einsum"])
def unsupported_operator(w):
    x = w.quantized(w.conv(w.quantized(w.input())), Y_SCALE, Y_ZERO)
    w.tail(w.node("Einsum", [x], equation="bchw->bcwh"))


@case("one value quantized twice, with different parameters", tolerance=1 / 32)
def fan_out_of_two_codes(w):
    x = w.conv(w.quantized(w.input()))
    w.output(w.quantized(x, Y_SCALE, Y_ZERO))
    w.output(w.quantized(x, 1 / 32, 128))


# Functions and control flow

@case("local function", ir_version=9)
def local_function(w):
    w.domains["wild"] = 1
    w.functions.append(helper.make_function(
        "wild", "HalfRelu", ["x"], ["y"],
        [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Constant", [], ["half"], value_float=0.5),
         helper.make_node("Mul", ["r", "half"], ["y"])], [helper.make_opsetid("", w.opset)]))
    x = w.quantized(w.conv(w.quantized(w.input())), Y_SCALE, Y_ZERO)
    w.tail(w.node("HalfRelu", [x], domain="wild"))


def _if(w, condition):
    x = w.quantized(w.conv(w.quantized(w.input())), Y_SCALE, Y_ZERO)

    def branch(name, op):
        result = helper.make_tensor_value_info(f"{name}_result", FLOAT, [1, 5, 6, 6])
        return helper.make_graph([helper.make_node(op, [x], [f"{name}_result"], name=f"{name}_{op}")], name, [], [result])
    w.tail(w.node("If", [condition], then_branch=branch("then", "Relu"), else_branch=branch("else", "Sigmoid")))


@case("If with a constant condition")
def constant_if(w):
    _if(w, w.constant(True, np.bool_))


@case("If with a computed condition", refused=["If"])
def computed_if(w):
    _if(w, w.node("Greater", [w.node("ReduceMax", [w.input("gate", (1,))], keepdims=0), w.constant(0.0)]))


def _loop(w, trips, condition):
    x = w.quantized(w.conv(w.quantized(w.input())), Y_SCALE, Y_ZERO)
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["again"]), helper.make_node("Relu", ["state"], ["next"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("go", TensorProto.BOOL, []),
         helper.make_tensor_value_info("state", FLOAT, None)],
        [helper.make_tensor_value_info("again", TensorProto.BOOL, []), helper.make_tensor_value_info("next", FLOAT, None)])
    w.tail(w.node("Loop", [trips, condition, x], body=body))


@case("Loop with a constant trip count")
def constant_loop(w):
    _loop(w, w.constant(2, np.int64), "")


@case("Loop with a computed condition", refused=["Loop"])
def computed_loop(w):
    _loop(w, "", w.node("Greater", [w.node("ReduceMax", [w.input("gate", (1,))], keepdims=0), w.constant(0.0)]))


# Domains

@case("QuantizeLinear and DequantizeLinear of com.microsoft")
def microsoft_qdq(w):
    w.domains["com.microsoft"] = 1
    w.whole()
    for node in w.nodes:
        if node.op_type.endswith("quantizeLinear") or node.op_type == "QuantizeLinear":
            node.domain = "com.microsoft"


@case("another operator of com.microsoft", refused=["com.microsoft", "BiasGelu"])
def microsoft_other(w):
    w.domains["com.microsoft"] = 1
    x = w.quantized(w.input(shape=(1, 8)))
    w.tail(w.node("BiasGelu", [x, w.constant(np.zeros(8))], domain="com.microsoft"))


@case("operator of an unknown domain", refused=["example.custom", "Frobnicate"])
def unknown_domain(w):
    w.domains["example.custom"] = 1
    w.tail(w.node("Frobnicate", [w.quantized(w.input())], domain="example.custom"))


# How files are written

@case("nodes in any order")
def unsorted_nodes(w):
    w.whole()
    w.nodes.reverse()


@case("nodes that nothing uses")
def dead_nodes(w):
    w.whole()
    w.node("Exp", [w.node("Einsum", ["x"], equation="bchw->bcwh")])


@case("optional inputs left empty")
def empty_optional_inputs(w):
    x = w.conv(w.quantized(w.input()))
    w.tail(w.node("Clip", [x, "", w.constant(3.0)]))


for _mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    def _auto_pad(w, mode=_mode):
        w.whole(auto_pad=mode, strides=[2, 2])
    _auto_pad.__name__ = f"auto_pad_{_mode.lower()}"
    case(f"auto_pad {_mode}")(_auto_pad)


@case("zero points left out")
def missing_zero_points(w):
    x = w.quantized(w.input(), X_SCALE, None)
    codes = w.constant(w.rng.integers(0, 256, (5, 4, 3, 3)), np.uint8)
    x = w.node("Conv", [x, w.node("DequantizeLinear", [codes, w.constant(0.01)])], kernel_shape=[3, 3])
    w.output(w.quantized(x, 0.25, None))


@case("scales and zero points of shape [1]")
def one_element_scales(w):
    weight, scales = w.weight()
    x = w.quantized(w.input(), [X_SCALE], [X_ZERO])
    x = w.node("Conv", [x, weight, w.bias(scales)], kernel_shape=[3, 3])
    w.output(w.quantized(x, [Y_SCALE], [Y_ZERO]))


@case("two nodes that write the same value", refused=["duplicate_value"])
def duplicate_names(w):
    w.whole()
    for _ in range(2):
        w.nodes.append(helper.make_node("Relu", ["x"], ["duplicate_value"], name=w.name("relu")))
    w.output("duplicate_value")


@case("value that nothing computes", refused=["nowhere"])
def missing_value(w):
    w.tail(w.conv(w.quantized(w.node("Add", [w.input(), "nowhere"]))))


@case("cycle", refused=["cycl"])
def cycle(w):
    x = w.quantized(w.input())
    w.nodes.append(helper.make_node("Add", [x, "second"], ["first"], name="add_first"))
    w.nodes.append(helper.make_node("Relu", ["first"], ["second"], name="relu_second"))
    w.tail("second")


# Types that are not supported

@case("float16", refused=["float16"])
def float16(w):
    x = w.input(dtype=TensorProto.FLOAT16)
    w.nodes.append(helper.make_node("Relu", [x], ["y"], name="relu"))
    w.output("y", dtype=TensorProto.FLOAT16)


def _typed(w, dtype, zero_type):
    """Activations of a type: the zero point's decides."""
    w.initializers.append(helper.make_tensor("zero", dtype, [], zero_type, raw=True))
    w.initializers.append(numpy_helper.from_array(np.float32(X_SCALE), "scale"))
    q = w.node("QuantizeLinear", [w.input(), "scale", "zero"])
    w.output(w.node("DequantizeLinear", [q, "scale", "zero"]))


for _name, _type, _bytes, _opset in (("int16", TensorProto.INT16, b"\0\0", 21), ("uint16", TensorProto.UINT16, b"\0\0", 21),
                                     ("int4", TensorProto.INT4, b"\0", 21), ("uint4", TensorProto.UINT4, b"\0", 21),
                                     ("float8e4m3fn", TensorProto.FLOAT8E4M3FN, b"\0", 19)):
    def _make(w, dtype=_type, zero=_bytes, opset=_opset):
        w.opset = w.domains[""] = opset
        _typed(w, dtype, zero)
    _make.__name__ = f"type_{_name}"
    case(f"codes of type {_name}", refused=[_name.rstrip("fnem") if "float8" in _name else _name], ir_version=10)(_make)


@case("blocked scales", refused=["block"], ir_version=10)
def blocked_scales(w):
    w.opset = w.domains[""] = 21
    codes = w.constant(w.rng.integers(-127, 128, (24, 6)), np.int8)
    weight = w.node("DequantizeLinear", [codes, w.constant(w.rng.uniform(0.01, 0.02, (3, 6))),
                                         w.constant(np.zeros((3, 6)), np.int8)], axis=0, block_size=8)
    w.tail(w.node("MatMul", [w.quantized(w.input(shape=(1, 24))), weight]))


@case("scales along the reduction", refused=["axis"])
def reduction_axis_scales(w):
    codes = w.constant(w.rng.integers(-127, 128, (24, 6)), np.int8)
    weight = w.node("DequantizeLinear", [codes, w.constant(w.rng.uniform(0.01, 0.02, 24)),
                                         w.constant(np.zeros(24), np.int8)], axis=0)
    w.tail(w.node("MatMul", [w.quantized(w.input(shape=(1, 24))), weight]))


def feeds(model, shapes, rng):
    """Values that reach every input code, in the shapes of the run."""
    constants = {i.name for i in model.graph.initializer}
    result = {}
    for value in model.graph.input:
        if value.name not in constants:
            tensor = value.type.tensor_type
            shape = shapes.get(value.name) or [d.dim_value for d in tensor.shape.dim]
            result[value.name] = (rng.integers(0, 256, shape).astype(np.uint8) if tensor.elem_type == UINT8
                                  else rng.uniform(-2.0, 2.3, shape).astype(np.float32))
    return result


def write(folder):
    """Writes all cases and returns what cases.json says of them."""
    entries = []
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    for number, entry in enumerate(CASES):
        graph = Wild(seed=number)
        entry["make"](graph)
        model = graph.model(entry["ir_version"])
        target = folder / entry["name"]
        target.mkdir(parents=True, exist_ok=True)
        (target / "model.onnx").write_bytes(model.SerializeToString())
        described = {k: v for k, v in entry.items() if k in ("name", "construct", "options", "refused", "host_step", "tolerance")}
        if not entry["refused"]:
            inputs = feeds(model, entry["shapes"], np.random.default_rng(number))
            session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            outputs = dict(zip((o.name for o in session.get_outputs()), session.run(None, inputs)))
            for kind, values in (("input", inputs), ("output", outputs)):
                for name, value in values.items():
                    np.save(target / f"{kind}_{name}.npy", value)
            described.update(inputs=list(inputs), outputs=list(outputs))
        entries.append(described)
    (folder / "cases.json").write_text(json.dumps(entries, indent=1) + "\n")
    return entries


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    entries = write(parser.parse_args().folder)
    print(f"{len(entries)} models, {sum(1 for e in entries if e['refused'])} of them to be refused")


if __name__ == "__main__":
    main()
