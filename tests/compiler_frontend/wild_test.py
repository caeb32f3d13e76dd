#!/usr/bin/env python3
"""What files in the wild contain: one group of cases per construct, each accepted with ONNX Runtime's result or refused by name."""
import numpy as np
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from harness import FLOAT, S64, U8, Model, check, equal, main, random_feeds, refused, run, ort_side

S = 0.02  # a scale


def start(m, shape=(1, 3, 8, 8), scale=S, zero=120):
    """A float input, quantized."""
    return m.qdq(m.input(list(shape)), scale, zero)


def finish(m, x, scale=0.05, zero=110):
    m.output(m.qdq(x, scale, zero), FLOAT, None)
    return m


def small_net(m, x=None, scale=S):
    """Conv on [.,3,8,8] -> 5 channels."""
    x = x or start(m)
    return finish(m, m.conv(x, scale, 3, 5, [3, 3], pads=[1, 1, 1, 1]))


# --- symbolic dimensions -----------------------------------------------------------------------------------------------


def symbolic_dims():
    m = small_net(Model(), None)
    m.inputs[0] = helper.make_tensor_value_info("x", FLOAT, ["N", 3, 8, 8])
    check(any("batch 'N' is set to 1" in n for n in equal(m).notes), "no note about the batch")
    m = small_net(Model())
    m.inputs[0] = helper.make_tensor_value_info("x", FLOAT, [1, 3, "height", 8])
    refused(m, "'x'", "'height'", "--shape x=")
    equal(m, feeds={"x": np.random.default_rng(1).uniform(-2, 2, (1, 3, 11, 8)).astype(np.float32)},
          arguments=["--shape", "x=1x3x11x8"])
    refused(m, "'x'", "dimension 1", arguments=["--shape", "x=1x4x11x8"])
    refused(m, "'y'", "not an input", arguments=["--shape", "y=1x4x11x8"])
    m.inputs[0] = helper.make_tensor_value_info("x", FLOAT, None)
    refused(m, "'x'", "no shape")


def batch_above_one():
    m = Model()
    x = start(m, (3, 3, 8, 8))
    y = m.node("MaxPool", [m.conv(x, S, 3, 4, [3, 3])], kernel_shape=[2, 2], strides=[2, 2])
    y = m.node("Flatten", [m.qdq(y, 0.05, 100)])
    w, scales = m.weight([36, 7], 1)
    equal(finish(m, m.node("Gemm", [y, w, m.bias(7, 0.05, scales)])))


# --- initializers as inputs --------------------------------------------------------------------------------------------


def initializer_inputs():
    m = small_net(Model(opset=13))
    names = [t.name for t in m.initializers]
    for tensor in m.initializers:
        m.inputs.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    feeds = {"x": np.random.default_rng(2).uniform(-3, 3, (1, 3, 8, 8)).astype(np.float32)}
    equal(m, feeds=feeds)
    # A float constant that the run overrides.
    m = Model()
    x = start(m)
    c = m.const(np.full((1, 3, 8, 8), 0.5, np.float32), "offset")
    m.inputs.append(helper.make_tensor_value_info("offset", FLOAT, [1, 3, 8, 8]))
    finish(m, m.node("Add", [x, m.qdq(c, 0.01, 128)]))
    rng = np.random.default_rng(3)
    feeds = {"x": rng.uniform(-2, 2, (1, 3, 8, 8)).astype(np.float32),
             "offset": rng.uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)}
    equal(m, feeds=feeds, arguments=["--override", "offset"])
    refused(m, "'nowhere'", arguments=["--override", "nowhere"])
    check(len(names) > 0, "no initializers")


# --- constants and shape chains ----------------------------------------------------------------------------------------


def constant_nodes():
    m = Model()
    x = start(m)
    m.count += 1
    scale = m.node("Constant", [], value_float=0.05)
    zero = m.node("Constant", [], value=numpy_helper.from_array(np.uint8(110)))
    y = m.conv(x, S, 3, 5, [3, 3])
    q = m.node("QuantizeLinear", [y, scale, zero])
    y = m.node("DequantizeLinear", [q, scale, zero])
    shape = m.node("Constant", [], value_ints=[0, -1])
    m.output(m.node("Reshape", [y, shape]), FLOAT, None)
    equal(m)


def shape_chains():
    m = Model()
    x = start(m)
    y = m.qdq(m.conv(x, S, 3, 6, [3, 3]), 0.05, 110)
    shape = m.node("Shape", [y])
    batch = m.node("Gather", [shape, m.const(np.int64(0))], axis=0)
    batch = m.node("Unsqueeze", [batch, m.const(np.array([0], np.int64))])
    rest = m.node("Slice", [shape, m.const(np.array([1], np.int64)), m.const(np.array([4], np.int64))])
    product = m.node("ReduceProd", [rest], keepdims=1)
    half = m.node("Div", [product, m.const(np.array([2], np.int64))])
    whole = m.node("Mul", [m.node("Cast", [m.node("Floor", [m.node("Cast", [half], to=FLOAT)])], to=S64),
                           m.const(np.array([2], np.int64))])
    target = m.node("Concat", [batch, whole], axis=0)
    y = m.node("Reshape", [y, target])
    w, scales = m.weight([7, 216], 0)
    equal(finish(m, m.node("Gemm", [y, w, m.bias(7, 0.05, scales)], transB=1)))
    # A shape computed from data is refused.
    m = Model()
    x = start(m)
    shape = m.node("Cast", [m.node("ReduceMax", [m.node("Flatten", [x])], keepdims=0)], to=S64)
    shape = m.node("Unsqueeze", [shape, m.const(np.array([0], np.int64))])
    finish(m, m.node("Reshape", [x, shape]))
    refused(m, "Reshape", "shapes must be constant")


def folded_weights():
    # DQ(w) -> Transpose, as PyTorch exports Linear.
    m = Model()
    x = start(m, (4, 20))
    w, scales = m.weight([9, 20], 0)
    y = m.node("MatMul", [x, m.node("Transpose", [w], perm=[1, 0])])
    bias = m.bias(9, S, scales)
    result = equal(finish(m, m.node("Add", [y, bias])))
    check("Gemm" in result.ops() and "Add" not in result.ops(), f"steps {result.ops()}")
    # Float weight -> Q -> DQ.
    m = Model()
    x = start(m)
    weights = m.rng.uniform(-0.5, 0.5, (5, 3, 3, 3)).astype(np.float32)
    scales = m.const(np.full(5, 0.004, np.float32))
    zeros = m.const(np.zeros(5, np.int8))
    q = m.node("QuantizeLinear", [m.const(weights), scales, zeros], axis=0)
    w = m.node("DequantizeLinear", [q, scales, zeros], axis=0)
    equal(finish(m, m.node("Conv", [x, w])))
    # Float bias.
    m = Model()
    x = start(m)
    w, _ = m.weight([5, 3, 3, 3])
    equal(finish(m, m.node("Conv", [x, w, m.const(m.rng.uniform(-2, 2, 5).astype(np.float32))])))
    # Bias computed in the graph: Cast(b / (sx * sw)) truncates.
    m = Model()
    x = start(m)
    w, scales = m.weight([5, 3, 3, 3], per_channel=False)
    product = m.node("Mul", [m.const(np.float32(S)), m.const(np.float32(scales[0]))])
    b = m.node("Div", [m.const(m.rng.uniform(-2, 2, 5).astype(np.float32)), product])
    b = m.node("Cast", [b], to=TensorProto.INT32)
    b = m.node("DequantizeLinear", [b, product])
    equal(finish(m, m.node("Conv", [x, w, b])))


# --- batch normalization, no-operations --------------------------------------------------------------------------------


def batch_normalization():
    def begin():
        m = Model()
        y = m.qdq(m.conv(start(m), S, 3, 5, [3, 3]), 0.05, 110)
        scale = (m.rng.uniform(0.5, 1.5, 5) * [1, -1, 1, 1, -1]).astype(np.float32)
        return m, y, [scale, *(m.rng.uniform(0.5, 1.5, 5).astype(np.float32) for _ in range(3))]

    # On codes it is one step (N13); the Relu behind it clamps the codes.
    m, y, p = begin()
    result = equal(finish(m, m.node("BatchNormalization", [y] + [m.const(v) for v in p])), tolerance=1)
    check(result.ops() == ["Quantize", "Conv", "Affine", "Dequantize"], f"steps {result.ops()}")
    m.nodes[-3].attribute.append(helper.make_attribute("training_mode", 1))
    refused(m, "BatchNormalization", "training")
    m, y, p = begin()
    y = m.node("Relu", [m.node("BatchNormalization", [y] + [m.const(v) for v in p], epsilon=0.01)])
    result = equal(finish(m, y), tolerance=1)
    check(result.ops() == ["Quantize", "Conv", "Affine", "Dequantize"], f"steps {result.ops()}")
    # Quantized parameters, as quantizers write them.
    m, y, p = begin()
    s = np.float32(0.012)
    scale = m.dq(m.const(np.clip(np.rint(p[0] / s), -127, 127).astype(np.int8)), s, 0, np.int8)
    bias = m.dq(m.const(np.rint(p[1] / np.float32(1e-4)).astype(np.int32)), 1e-4, 0, np.int32)
    y = m.node("BatchNormalization", [y, scale, bias, m.const(p[2]), m.const(p[3])])
    result = equal(finish(m, y), tolerance=1)
    check(result.ops() == ["Quantize", "Conv", "Affine", "Dequantize"], f"steps {result.ops()}")
    # A float input or result stays on the host.
    m, y, p = begin()
    y = m.node("BatchNormalization", [m.node("Softplus", [m.node("Sub", [y, y])])] + [m.const(v) for v in p])
    result = equal(finish(m, y), tolerance=1)
    check("BatchNormalization" in result.host(), f"host steps {result.host()}")
    m, y, p = begin()
    m.output(m.node("BatchNormalization", [y] + [m.const(v) for v in p]))
    result = equal(m, tolerance=1)
    check("BatchNormalization" in result.host(), f"host steps {result.host()}")
    # Parameters without a finite result.
    m, y, p = begin()
    p[3][2] = -1
    finish(m, m.node("BatchNormalization", [y] + [m.const(v) for v in p], name="norm"))
    refused(m, "'norm' (BatchNormalization): channel 2", "variance -1")


def no_operations():
    m = Model()
    x = start(m)
    x = m.node("Identity", [x])
    x = m.node("Dropout", [x])
    x = m.node("Cast", [x], to=FLOAT)
    x = m.node("Pad", [x, m.const(np.zeros(8, np.int64))])
    result = equal(finish(m, m.conv(x, S, 3, 5, [3, 3])))
    check(result.ops() == ["Quantize", "Conv", "Dequantize"], f"steps {result.ops()}")
    # A mask that is read.
    m = Model()
    x, mask = m.node("Dropout", [start(m)], outputs=2)
    finish(m, m.node("Mul", [x, m.node("Cast", [mask], to=FLOAT)]))
    refused(m, "mask", "Dropout")
    m = Model()
    x = m.node("Dropout", [start(m), m.const(np.float32(0.5)), m.const(np.array(True))])
    refused(finish(m, x), "training")


# --- uint8 images ------------------------------------------------------------------------------------------------------


def uint8_input():
    m = Model()
    x = m.node("Cast", [m.input([1, 3, 8, 8], U8)], to=FLOAT)
    x = m.node("Div", [m.node("Sub", [x, m.const(np.float32(127.5))]), m.const(np.float32(58.395))])
    result = equal(finish(m, m.conv(m.qdq(x, S, 120), S, 3, 5, [3, 3])))
    check(result.ops()[:2] == ["Table", "Conv"] and result.host() == ["Dequantize"], f"steps {result.ops()}")
    # Mean and deviation per channel: a table per channel.
    m = Model()
    x = m.node("Cast", [m.input([1, 3, 8, 8], U8)], to=FLOAT)
    mean = m.const(np.array([123.7, 116.3, 103.5], np.float32).reshape(1, 3, 1, 1))
    deviation = m.const(np.array([58.4, 57.1, 57.4], np.float32).reshape(1, 3, 1, 1))
    x = m.node("Div", [m.node("Sub", [x, mean]), deviation])
    result = equal(finish(m, m.conv(m.qdq(x, S, 120), S, 3, 5, [3, 3])))
    check(result.ops().count("Table") == 3 and result.host() == ["Dequantize"], f"steps {result.ops()}")


# --- float islands -----------------------------------------------------------------------------------------------------


def float_islands():
    m = Model()
    y = m.qdq(m.conv(start(m), S, 3, 5, [3, 3]), 0.05, 110)
    y = m.node("LayerNormalization", [y, m.const(np.ones(6, np.float32)), m.const(np.zeros(6, np.float32))], axis=-1)
    result = equal(finish(m, y), tolerance=1)
    check("LayerNormalization" in result.host(), f"host steps {result.host()}")
    for op in ["NonZero", "Det"]:
        m = Model()
        y = m.node("Cast", [m.node(op, [start(m)])], to=FLOAT)
        refused(finish(m, y), f"operator {op} is not supported")
    m = Model()
    y = start(m, (5, 1, 6))
    w = m.const(np.zeros((1, 12, 6), np.float32))
    r = m.const(np.zeros((1, 12, 3), np.float32))
    refused(finish(m, m.node("LSTM", [y, w, r], hidden_size=3)), "LSTM")
    # Convolution and activation without a quantization between them: the activation is a host step.
    m = Model()
    y = m.node("Sigmoid", [m.conv(start(m), S, 3, 5, [3, 3])])
    result = equal(finish(m, y, 0.004, 0), tolerance=1)
    check("Conv" not in result.host() and "Sigmoid" in result.host(), f"host steps {result.host()}")


# --- functions and control flow ----------------------------------------------------------------------------------------


def local_functions():
    m = Model()
    body = [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["b"])]
    inner = helper.make_function("local", "Silu", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    body = [helper.make_node("Silu", ["a"], ["t"], domain="local"),
            helper.make_node("LeakyRelu", ["t"], ["b"])]
    body[1].attribute.append(AttributeProto(name="alpha", ref_attr_name="slope", type=AttributeProto.FLOAT))
    outer = helper.make_function("local", "Twice", ["a"], ["b"], body,
                                 [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)], ["slope"])
    m.functions += [inner, outer]
    m.opsets["local"] = 1
    y = m.qdq(m.conv(start(m), S, 3, 5, [3, 3]), 0.05, 110)
    result = equal(finish(m, m.node("Twice", [y], domain="local", slope=0.25)))
    check("Table" in result.ops() and result.host() == ["Quantize", "Dequantize"], f"steps {result.ops()}")
    # A function that calls itself.
    m = Model()
    body = [helper.make_node("Loops", ["a"], ["b"], domain="local")]
    m.functions.append(helper.make_function("local", "Loops", ["a"], ["b"], body, [helper.make_opsetid("local", 1)]))
    m.opsets["local"] = 1
    refused(finish(m, m.node("Loops", [start(m)], domain="local")), "nested too deeply", "Loops")


def branches():
    def branch(op, outer):
        out = f"{op}_out"
        return helper.make_graph([helper.make_node(op, [outer], [out])], op, [],
                                 [helper.make_tensor_value_info(out, FLOAT, None)])

    m = Model()
    y = m.qdq(m.conv(start(m), S, 3, 5, [3, 3]), 0.05, 110)
    y = m.node("If", [m.const(np.array(False))], then_branch=branch("Abs", y), else_branch=branch("Sigmoid", y))
    result = equal(finish(m, y, 0.004, 0))
    check(any("else branch" in n for n in result.notes), f"notes {result.notes}")
    m = Model()
    y = start(m)
    flag = m.input([1], TensorProto.BOOL)
    y = m.node("If", [flag], then_branch=branch("Abs", y), else_branch=branch("Sigmoid", y))
    refused(finish(m, y), "If", "not a constant")
    # A loop of three trips.
    body = helper.make_graph(
        [helper.make_node("Identity", ["cond"], ["again"]), helper.make_node("LeakyRelu", ["v"], ["w"], alpha=0.5)], "body",
        [helper.make_tensor_value_info("i", S64, []), helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
         helper.make_tensor_value_info("v", FLOAT, None)],
        [helper.make_tensor_value_info("again", TensorProto.BOOL, []), helper.make_tensor_value_info("w", FLOAT, None)])
    m = Model()
    y = m.node("Loop", [m.const(np.int64(3)), m.const(np.array(True)), start(m)], body=body)
    result = equal(finish(m, y))
    check("Table" in result.ops(), f"steps {result.ops()}")
    m = Model()
    trips = m.input([], S64)
    refused(finish(m, m.node("Loop", [trips, "", start(m)], body=body)), "Loop", "not a constant")


# --- domains -----------------------------------------------------------------------------------------------------------


def contrib_domain():
    m = Model()
    m.opsets["com.microsoft"] = 1
    x = m.input([1, 3, 8, 8])

    def qdq(x, scale, zero):
        p = m.params(scale, zero)
        return m.node("DequantizeLinear", [m.node("QuantizeLinear", [x] + p, domain="com.microsoft")] + p, domain="com.microsoft")

    y = qdq(m.conv(qdq(x, S, 120), S, 3, 5, [3, 3]), 0.05, 110)
    m.output(y, FLOAT, None)
    equal(m)
    for op, domain in [("FusedConv", "com.microsoft"), ("QLinearAdd", "com.microsoft"), ("Whatever", "some.where"),
                       ("ReorderInput", "com.microsoft.nchwc")]:
        m = Model()
        m.opsets[domain] = 1
        refused(finish(m, m.node(op, [start(m)], domain=domain)), f"{domain}.{op}")
    m = Model()
    refused(finish(m, m.node("Custom", [start(m)], domain="not.imported")), "not.imported")


# --- fan-out and passed-through outputs --------------------------------------------------------------------------------


def fan_out():
    m = Model()
    y = m.conv(start(m), S, 3, 5, [3, 3])
    m.output(m.qdq(y, 0.05, 110), FLOAT, None)
    m.output(m.q(y, 0.1, 7), U8, None)
    m.output(m.qdq(m.node("Relu", [y]), 0.03, 0), FLOAT, None)
    result = equal(m, tolerance=1)
    check(result.ops().count("Conv") == 3, f"steps {result.ops()}")
    # The same parameters twice are one step.
    m = Model()
    y = m.conv(start(m), S, 3, 5, [3, 3])
    m.output(m.qdq(y, 0.05, 110), FLOAT, None)
    m.output(m.node("MaxPool", [m.qdq(y, 0.05, 110)], kernel_shape=[2, 2]), FLOAT, None)
    result = equal(m, tolerance=1)
    check(result.ops().count("Conv") == 1, f"steps {result.ops()}")


def passed_through():
    m = Model()
    x = m.input([1, 3])
    m.const(np.array([1.5, -2.0], np.float32), "table")
    y = m.qdq(x, S, 120)
    m.output(x, FLOAT, [1, 3])
    m.output("table", FLOAT, [2])
    m.output(y, FLOAT, [1, 3])
    m.output(m.node("Identity", [y], ["again"]), FLOAT, [1, 3])
    equal(m)
    m = Model()
    codes = m.input([2, 4], U8)
    m.output(codes, U8, [2, 4])
    m.output(m.node("Transpose", [codes], perm=[1, 0]), U8, [4, 2])
    equal(m)


# --- loose files -------------------------------------------------------------------------------------------------------


def unsorted_and_dead():
    m = small_net(Model())
    m.nodes.reverse()
    expected = small_net(Model())
    feeds = random_feeds(expected.proto(), np.random.default_rng(5))
    theirs = ort_side.session(expected.proto()).run(None, feeds)[0]
    ours = run(m.proto(), feeds)
    check(np.array_equal(ours.outputs[m.outputs[0].name], theirs), "unsorted nodes change the result")
    m = small_net(Model())
    m.node("Unheard", ["x"], domain="")
    result = run(m.proto(), random_feeds(m.proto(), np.random.default_rng(5)))
    check(any("dropped" in n for n in result.notes), f"notes {result.notes}")


def empty_optionals():
    m = Model()
    y = m.qdq(m.conv(start(m), S, 3, 5, [3, 3]), 0.05, 110)
    y = m.node("Clip", [y, "", m.const(np.float32(1.25))])
    y = m.qdq(y, 0.05, 110)
    y = m.node("Resize", [y, "", m.const(np.array([1, 1, 2, 2], np.float32))], mode="nearest",
               coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    m.output(m.node("DequantizeLinear", [m.node("QuantizeLinear", [y, m.const(np.float32(0.05)), ""]), m.const(np.float32(0.05)), ""]),
             FLOAT, None)
    equal(m)


def auto_pad():
    for mode in ["SAME_UPPER", "SAME_LOWER", "VALID"]:
        for stride in [1, 2, 3]:
            m = Model()
            y = m.conv(start(m, (1, 3, 9, 10)), S, 3, 4, [4, 3], auto_pad=mode, strides=[stride, stride])
            y = m.node("MaxPool", [m.qdq(y, 0.05, 110)], kernel_shape=[2, 3], auto_pad=mode, strides=[stride, 1])
            equal(finish(m, y), runs=1)


def missing_zero_points():
    m = Model()
    x = m.input([1, 3, 8, 8])
    scale = m.const(np.array([0.02], np.float32))
    x = m.node("DequantizeLinear", [m.node("QuantizeLinear", [x, scale]), scale])
    w = m.node("DequantizeLinear", [m.const(m.rng.integers(-127, 128, (5, 3, 3, 3)).astype(np.int8)),
                                    m.const(np.array([0.01], np.float32))])
    equal(finish(m, m.node("Conv", [x, w])))
    # output_dtype instead of a zero point (opset 21).
    m = Model(opset=21)
    scale = m.const(np.float32(0.02))
    q = m.node("QuantizeLinear", [m.input([1, 3, 8, 8]), scale], output_dtype=TensorProto.INT8)
    y = m.node("DequantizeLinear", [q, scale])
    m.output(m.node("DequantizeLinear", [m.node("QuantizeLinear", [y, scale], output_dtype=TensorProto.INT8), scale]), FLOAT, None)
    equal(m)


def duplicates_and_zero_dims():
    m = small_net(Model())
    m.nodes.append(helper.make_node("Relu", ["x"], [m.nodes[0].output[0]]))
    refused(m, m.nodes[0].output[0], "defined twice")
    m = small_net(Model())
    m.initializers.append(numpy_helper.from_array(np.float32(1), m.initializers[0].name))
    refused(m, m.initializers[0].name, "defined twice")
    m = small_net(Model())
    m.inputs.append(helper.make_tensor_value_info("x", FLOAT, [1, 3, 8, 8]))
    refused(m, "'x'", "defined twice")
    m = small_net(Model())
    m.inputs[0] = helper.make_tensor_value_info("x", FLOAT, [1, 3, 0, 8])
    refused(m, "'x'", "0")
    m = Model()
    x = start(m)
    empty = m.node("Slice", [x, m.const(np.array([3], np.int64)), m.const(np.array([3], np.int64)), m.const(np.array([2], np.int64))])
    refused(finish(m, empty), "Slice", "no elements")


# --- types that are refused --------------------------------------------------------------------------------------------


def refused_types():
    m = small_net(Model())
    m.inputs[0] = helper.make_tensor_value_info("x", TensorProto.FLOAT16, [1, 3, 8, 8])
    refused(m, "float16", "'x'")
    m = small_net(Model())
    m.initializers.append(helper.make_tensor("half", TensorProto.BFLOAT16, [1], [0]))
    m.node("Add", ["x", "half"], ["sum"])
    m.output("sum")
    refused(m, "bfloat16", "half")
    for name, kind in [("float8e4m3fn", TensorProto.FLOAT8E4M3FN), ("int4", TensorProto.INT4), ("uint4", TensorProto.UINT4)]:
        m = Model(opset=21)
        zero = helper.make_tensor("zero", kind, [], b"\0", raw=True)
        m.initializers.append(zero)
        y = m.node("QuantizeLinear", [m.input([2, 4]), m.const(np.float32(0.1)), "zero"])
        m.output(m.node("DequantizeLinear", [y, m.const(np.float32(0.1)), "zero"]))
        refused(m, name, "zero")
    for dtype in [np.int16, np.uint16]:
        m = Model(opset=21)
        m.output(m.qdq(m.input([2, 4]), 0.1, 0, dtype))
        refused(m, "s16" if dtype == np.int16 else "u16", "QuantizeLinear")


def refused_scales():
    # Blocked weights.
    m = Model(opset=21)
    x = start(m, (4, 8))
    w = m.node("DequantizeLinear", [m.const(np.zeros((8, 6), np.int8)), m.const(np.full((2, 6), 0.1, np.float32)),
                                    m.const(np.zeros((2, 6), np.int8))], axis=0, block_size=4)
    refused(finish(m, m.node("MatMul", [x, w])), "blocked")
    # Scales along K.
    m = Model()
    x = start(m, (4, 8))
    w, _ = m.weight([8, 6], 0)
    refused(finish(m, m.node("MatMul", [x, w])), "K-axis")
    # Per-axis activation.
    m = Model()
    p = [m.const(np.full(3, 0.1, np.float32)), m.const(np.zeros(3, np.uint8))]
    y = m.node("QuantizeLinear", [m.input([1, 3, 8, 8])] + p, axis=1)
    m.output(m.node("DequantizeLinear", [y] + p, axis=1))
    refused(m, "per-axis")
    # A negative, an infinite and a zero scale.
    for scale in [-0.1, np.inf, np.nan, 0.0, 1e-45]:
        m = Model()
        m.output(m.qdq(m.input([1, 3]), scale, 0))
        refused(m, "scale")
    # A scale that is computed at run time.
    m = Model()
    x = m.input([4, 8])
    q, s, z = m.node("DynamicQuantizeLinear", [x], outputs=3)
    m.output(m.node("DequantizeLinear", [q, s, z]))
    refused(m, "DynamicQuantizeLinear")


def dead_channels():
    m = Model()
    x = start(m)
    codes = m.rng.integers(-127, 128, (5, 3, 3, 3)).astype(np.int8)
    scales = np.array([0.01, 1e-40, 0.0, 0.02, 1e-20], np.float32)
    w = m.node("DequantizeLinear", [m.const(codes), m.const(scales), m.const(np.zeros(5, np.int8))], axis=0)
    result = run(finish(m, m.node("Conv", [x, w])).proto(), random_feeds(m.proto(), np.random.default_rng(1)))
    codes = next(v for k, v in result.tensors.items() if v.ndim == 4 and v.shape[1] == 5 and v.dtype == np.uint8)
    check((codes[:, 1:3] == 110).all() and (codes[:, 4] == 110).all(), "dead channels are not at the zero point")


CASES = {f.__name__: f for f in [
    symbolic_dims, batch_above_one, initializer_inputs, constant_nodes, shape_chains, folded_weights, batch_normalization,
    no_operations, uint8_input, float_islands, local_functions, branches, contrib_domain, fan_out, passed_through,
    unsorted_and_dead, empty_optionals, auto_pad, missing_zero_points, duplicates_and_zero_dims, refused_types,
    refused_scales, dead_channels]}

if __name__ == "__main__":
    main(CASES)
