"""Every form a step can take in a golden model, on small models whose constants reach the corners.

    forms_test.py --tool OCTILE_REFERENCE_RUN --octile OCTILE [--list CASE... | CASE...]
"""
import os
import sys
import tempfile

import numpy as np
from onnx import numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "compiler_frontend"))
import golden_compare  # noqa: E402
import harness  # noqa: E402
from harness import Model, S8, U8, check  # noqa: E402

OCTILE = None
TYPES = (np.uint8, np.int8)


def equal(m, operators, absent=(), runs=3, arguments=()):
    """Golden model and reference agree at every step; the golden model contains the operators and none of `absent`."""
    proto = m.proto()
    with tempfile.TemporaryDirectory() as folder:
        path = harness.save(proto, folder)
        golden = golden_compare.export(OCTILE, path, os.path.join(folder, "golden.onnx"), arguments)
        have = {n.op_type for n in golden.graph.node}
        check(set(operators) <= have, f"{sorted(set(operators) - have)} not in {sorted(have)}")
        check(not set(absent) & have, f"{sorted(set(absent) & have)} in the golden model")
        for seed in range(runs):
            feeds = harness.random_feeds(proto, np.random.default_rng(seed))
            found, compared = golden_compare.compare(OCTILE, harness.TOOL, path, folder, feeds, arguments, golden)
            check(compared > 0 and found is None, f"seed {seed}: {found}")
        return golden


def zero_of(dtype, u8):
    return u8 if dtype == np.uint8 else u8 - 128


def conv():
    for x_type in TYPES:
        for w_type in TYPES:
            for y_type in TYPES:
                for group, cin, cout in ((1, 5, 7), (8, 8, 8), (2, 6, 8)):
                    m = Model(seed=group)
                    x = m.qdq(m.input([2, cin, 9, 11]), 0.02, zero_of(x_type, 121), x_type)
                    y = m.conv(x, 0.02, cin, cout, (3, 2), group=group, dtype=w_type, strides=[2, 1], dilations=[1, 2],
                               pads=[2, 0, 1, 1])
                    m.output(m.qdq(y, 0.05, zero_of(y_type, 77), y_type))
                    equal(m, ["QLinearConv"], ["ConvInteger"], runs=2)


def conv_saturation():
    """Sums of two products that do not fit 16 bits: exact on CPUs that add pairs in 16 bits, since the weights are u8."""
    for x_type in TYPES:
        m = Model()
        x = m.qdq(m.input([1, 16, 6, 6]), 0.02, zero_of(x_type, 128), x_type)
        w = m.dq(m.const(np.full([8, 16, 1, 1], 127, np.int8)), 0.01, 0, np.int8)
        m.output(m.qdq(m.node("Conv", [x, w]), 0.5, zero_of(x_type, 128), x_type))
        golden = equal(m, ["QLinearConv"])
        node = next(n for n in golden.graph.node if n.op_type == "QLinearConv")
        weights = next(t for t in golden.graph.initializer if t.name == node.input[3])
        check(weights.data_type == (U8 if x_type == np.uint8 else S8), f"weights of type {weights.data_type} for {x_type}")


def conv_zero_points():
    """A zero point of the weights per channel."""
    for x_type in TYPES:
        for w_type in TYPES:
            for cin, group in ((6, 1), (6, 6)):
                m = Model()
                x = m.qdq(m.input([1, cin, 7, 7]), 0.02, zero_of(x_type, 100), x_type)
                info = np.iinfo(w_type)
                codes = m.const(m.rng.integers(info.min, info.max + 1, [6, cin // group, 3, 3]).astype(w_type))
                zeros = m.const(m.rng.integers(info.min, info.max + 1, 6).astype(w_type))
                w = m.node("DequantizeLinear", [codes, m.const(m.rng.uniform(0.001, 0.01, 6).astype(np.float32)), zeros], axis=0)
                m.output(m.qdq(m.node("Conv", [x, w], group=group), 0.05, zero_of(x_type, 128), x_type))
                equal(m, ["QLinearConv"])


def relu():
    """A kept Relu narrows the codes."""
    for dtype in TYPES:
        m = Model()
        x = m.qdq(m.input([1, 4, 6, 6]), 0.02, zero_of(dtype, 128), dtype)
        y = m.node("Relu", [m.conv(x, 0.02, 4, 6, (3, 3))])
        m.output(m.qdq(y, 0.03, zero_of(dtype, 128), dtype))
        equal(m, ["QLinearConv", "Clip"])


def linear():
    for x_type in TYPES:
        for w_type in TYPES:
            for y_type in TYPES:
                m = Model()
                x = m.qdq(m.input([3, 20]), 0.02, zero_of(x_type, 90), x_type)
                w, scales = m.weight([20, 9], 1, True, w_type)
                y = m.node("Gemm", [x, w, m.bias(9, 0.02, scales)])
                m.output(m.qdq(y, 0.04, zero_of(y_type, 140), y_type))
                equal(m, ["QGemm"], ["MatMulInteger"])
    m = Model()
    x = m.qdq(m.input([2, 3, 5, 16]), 0.02, 3, np.int8)
    w, _ = m.weight([16, 4], 1, True)
    m.output(m.qdq(m.node("MatMul", [x, w]), 0.04, 5, np.int8))
    equal(m, ["QGemm", "Reshape"])


def accumulators():
    """Raw accumulators and what becomes of them without a quantization."""
    for x_type in TYPES:
        for w_type in TYPES:
            m = Model()
            x = m.qdq(m.input([3, 20]), 0.02, zero_of(x_type, 90), x_type)
            w, scales = m.weight([20, 9], 1, True, w_type)
            m.output(m.node("Gemm", [x, w, m.bias(9, 0.02, scales)]))
            equal(m, ["MatMulInteger", "Mul"])
            m = Model()
            x = m.qdq(m.input([1, 6, 7, 8]), 0.02, zero_of(x_type, 90), x_type)
            m.output(m.conv(x, 0.02, 6, 9, (3, 3), group=3, dtype=w_type, pads=[1, 2, 0, 1]))
            equal(m, ["ConvInteger", "Mul"])
    for wide in (False, True):
        m = Model()
        x = m.qdq(m.input([1, 4, 6, 6]), 0.02, 130)
        codes = m.const(m.rng.choice([0, 255], [5, 4, 3, 3]).astype(np.uint8) if wide else m.rng.integers(0, 256, [5, 4, 3, 3]).astype(np.uint8))
        zeros = m.const(np.array([0, 255, 3, 128, 200], np.uint8))
        w = m.node("DequantizeLinear", [codes, m.const(m.rng.uniform(0.001, 0.01, 5).astype(np.float32)), zeros], axis=0)
        m.output(m.node("Conv", [x, w]))
        equal(m, ["ConvInteger", "Mul"])


def pairs():
    for dtype in TYPES:
        for op, kernel in (("Add", "QLinearAdd"), ("Mul", "QLinearMul")):
            for shape in ([1, 6, 5, 5], [1, 6, 1, 1], [1, 1, 1, 1]):
                m = Model()
                a = m.qdq(m.input([1, 6, 5, 5]), 0.031, zero_of(dtype, 117), dtype)
                b = m.qdq(m.input(shape), 0.017, zero_of(dtype, 140), dtype)
                m.output(m.qdq(m.node(op, [a, b]), 0.043, zero_of(dtype, 122), dtype))
                equal(m, [kernel])
                m = Model()
                a = m.qdq(m.input([1, 6, 5, 5]), 0.031, zero_of(dtype, 117), dtype)
                b = m.qdq(m.input(shape), 0.017, zero_of(dtype, 140), dtype)
                y = m.node("Relu", [m.node(op, [b, a])])
                m.output(m.qdq(y, 0.043, zero_of(dtype, 122), dtype))
                equal(m, ["Clip"])
    # Constants per channel.
    for op in ("Add", "Mul"):
        m = Model()
        a = m.qdq(m.input([1, 6, 5, 5]), 0.031, 117)
        b = m.dq(m.const(m.rng.integers(0, 256, [1, 6, 1, 1]).astype(np.uint8)), 0.02, 99)
        m.output(m.qdq(m.node(op, [a, b]), 0.05, 100))
        equal(m, ["QLinear" + op])


def pairs_of_two_types():
    for types in ((np.uint8, np.int8, np.uint8), (np.int8, np.int8, np.uint8), (np.uint8, np.uint8, np.int8)):
        for op in ("Add", "Mul"):
            m = Model()
            a = m.qdq(m.input([1, 40, 16, 16]), 0.031, zero_of(types[0], 117), types[0])
            b = m.qdq(m.input([1, 40, 16, 16]), 0.017, zero_of(types[1], 140), types[1])
            m.output(m.qdq(m.node(op, [a, b]), 0.043, zero_of(types[2], 122), types[2]))
            equal(m, ["Round"] if op == "Add" else ["QLinearMul"], ["QLinearAdd"])


def pools():
    for dtype in TYPES:
        for attributes in ({"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
                           {"kernel_shape": [2, 3], "strides": [2, 2], "ceil_mode": 1},
                           {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [2, 0, 1, 1]},
                           {"kernel_shape": [3, 3], "strides": [3, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}):
            for op in ("MaxPool", "AveragePool"):
                for include in (0, 1):
                    if op == "MaxPool" and include:
                        continue
                    m = Model(opset=19)
                    more = {"count_include_pad": include} if op == "AveragePool" else {}
                    x = m.qdq(m.input([2, 3, 10, 11]), 0.03, zero_of(dtype, 133), dtype)
                    m.output(m.qdq(m.node(op, [x], **attributes, **more), 0.03 if op == "MaxPool" else 0.021,
                                   zero_of(dtype, 133 if op == "MaxPool" else 128), dtype))
                    equal(m, ["MaxPool"] if op == "MaxPool" else [])
        m = Model()
        x = m.qdq(m.input([2, 3, 10, 11]), 0.03, zero_of(dtype, 133), dtype)
        y = m.node("AveragePool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        m.output(m.qdq(y, 0.02, zero_of(dtype, 100), dtype))
        equal(m, ["QLinearAveragePool"])
    m = Model()
    x = m.qdq(m.input([1, 3, 8, 8]), 0.03, 133)
    y = m.node("AveragePool", [x], kernel_shape=[3, 3], strides=[2, 2])
    m.output(m.qdq(y, 0.02, -28, np.int8))
    equal(m, ["QLinearAveragePool"])


def global_pools():
    for x_type in TYPES:
        for y_type in TYPES:
            m = Model()
            x = m.qdq(m.input([2, 5, 7, 9]), 0.03, zero_of(x_type, 133), x_type)
            m.output(m.qdq(m.node("GlobalAveragePool", [x]), 0.013, zero_of(y_type, 120), y_type))
            equal(m, ["QLinearGlobalAveragePool"])
    # A multiplier beyond what the kernel takes.
    m = Model()
    x = m.qdq(m.input([1, 4, 2, 2]), 4000.0, 133)
    m.output(m.qdq(m.node("GlobalAveragePool", [x]), 3.0, 120))
    equal(m, ["ReduceSum", "Round"], ["QLinearGlobalAveragePool"])


def movement():
    for dtype in TYPES:
        m = Model()
        x = m.qdq(m.input([1, 6, 8, 10]), 0.03, zero_of(dtype, 133), dtype)

        def q(value):
            return m.qdq(value, 0.03, zero_of(dtype, 133), dtype)  # pylint: disable=cell-var-from-loop

        ints = lambda *v: m.const(np.array(v, np.int64))  # noqa: E731 pylint: disable=unnecessary-lambda-assignment,cell-var-from-loop
        y = q(m.node("Slice", [x, ints(7, -1), ints(-100, 0), ints(2, 3), ints(-1, -2)]))
        m.output(q(m.node("Transpose", [y], perm=[0, 2, 3, 1])))
        m.output(q(m.node("Pad", [x, ints(0, 1, 2, 0, 0, 0, 1, 3), m.const(np.float32(0.5))])))
        m.output(q(m.node("Pad", [x, ints(0, 0, 2, 1, 0, 0, 1, 3)], mode="reflect")))
        m.output(q(m.node("Pad", [x, ints(0, 0, 2, 1, 0, 0, 1, 3)], mode="edge")))
        m.output(q(m.node("Concat", [x, q(m.node("Resize", [x, "", m.const(np.array([1, 1, 1.0, 1.0], np.float32))]))], axis=1)))
        m.output(q(m.node("Resize", [x, "", "", ints(1, 6, 13, 17)], mode="nearest", nearest_mode="floor")))
        m.output(q(m.node("Reshape", [x, ints(1, 60, 8)])))
        equal(m, ["Slice", "Transpose", "Pad", "Concat", "Gather", "Reshape"])


def tables():
    for x_type in TYPES:
        for y_type in TYPES:
            for op in ("Sigmoid", "Tanh", "HardSwish", "Erf"):
                m = Model(opset=14)
                x = m.qdq(m.input([1, 4, 20, 20]), 0.04, zero_of(x_type, 133), x_type)
                m.output(m.qdq(m.node(op, [x]), 0.008, zero_of(y_type, 120), y_type))
                golden = equal(m, ["Gather", "Cast"])
                table = next(t for t in golden.graph.initializer if list(t.dims) == [256])
                check(numpy_helper.to_array(table).dtype == y_type, "the table's type")


def softmax():
    for dtype in TYPES:
        for axis in (1, 3):
            m = Model()
            x = m.qdq(m.input([1, 10, 3, 12]), 0.09, zero_of(dtype, 133), dtype)
            y = m.node("Softmax", [x], axis=axis)
            m.output(m.qdq(y, 1 / 256, zero_of(dtype, 0), dtype))
            equal(m, ["QLinearSoftmax"])


def float_islands():
    """Host steps between codes: no optimization may turn them into quantized kernels."""
    for dtype in TYPES:
        m = Model()
        a = m.qdq(m.input([1, 6, 5, 7]), 0.03, zero_of(dtype, 133), dtype)
        b = m.qdq(m.input([1, 6, 5, 7]), 0.02, zero_of(dtype, 120), dtype)
        y = m.node("Softmax", [m.node("Sub", [a, b])], axis=1)
        y = m.node("Div", [y, m.node("Add", [b, m.const(np.float32(9))])])
        y = m.node("LogSoftmax", [y], axis=3)
        y = m.qdq(y, 0.01, zero_of(dtype, 250), dtype)
        m.output(y)
        m.output(m.node("Reshape", [m.node("ReduceMean", [m.node("Max", [a, b])], axes=[2, 3]), m.const(np.array([6], np.int64))]))
        equal(m, ["Exp", "ReduceMax", "Div"], ["QLinearSoftmax"])


def float_operators():
    for op, attributes in (("LeakyRelu", {"alpha": 0.1}), ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}), ("HardSwish", {}), ("Softsign", {}),
                           ("ThresholdedRelu", {"alpha": 0.5}), ("Shrink", {"lambd": 0.4, "bias": 0.1}), ("Exp", {}), ("Abs", {}),
                           ("Sigmoid", {}), ("Tanh", {}), ("Round", {}), ("Sign", {}), ("Sin", {}), ("Cos", {})):
        m = Model()
        m.output(m.node(op, [m.input([3, 500])], **attributes))
        equal(m, [])
    for op in ("Log", "Sqrt", "Reciprocal"):
        m = Model()
        x = m.node("Add", [m.node("Abs", [m.input([3, 500])]), m.const(np.float32(0.01))])
        m.output(m.node(op, [x]))
        equal(m, [])
    for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"):
        m = Model(opset=11)
        m.output(m.node(op, [m.input([3, 4, 50])], axes=[0, 2], keepdims=0))
        equal(m, [])
    for exponent in (2.0, 3.0, 0.5, -1.5):
        m = Model()
        x = m.node("Add", [m.node("Abs", [m.input([3, 500])]), m.const(np.float32(0.01))])
        m.output(m.node("Pow", [x, m.const(np.float32(exponent))]))
        equal(m, [])
    m = Model()
    m.output(m.node("Clip", [m.input([3, 500]), m.const(np.float32(-0.5)), m.const(np.float32(1))]))
    equal(m, ["Clip"])
    m = Model()
    m.output(m.node("ArgMax", [m.input([3, 50])], axis=1, keepdims=0))
    equal(m, ["ArgMax"])
    m = Model()
    m.output(m.node("Gather", [m.input([3, 50]), m.const(np.array([4, -1, 0], np.int64))], axis=1))
    equal(m, ["Gather"])


def float_layers():
    def weights(m, *shape):
        return m.const(m.rng.uniform(-1, 1, shape).astype(np.float32))

    m = Model()
    x = m.input([2, 6, 9, 8])
    y = m.node("Conv", [x, weights(m, 4, 3, 3, 2), weights(m, 4)], group=2, strides=[2, 1], dilations=[1, 2], pads=[1, 0, 2, 1])
    m.output(y)
    m.output(m.node("AveragePool", [x], kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
    m.output(m.node("MaxPool", [x], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]))
    m.output(m.node("GlobalAveragePool", [x]))
    m.output(m.node("GlobalMaxPool", [x]))
    m.output(m.node("Pad", [x, m.const(np.array([0, 0, 1, 2, 0, 0, 0, 1], np.int64)), m.const(np.float32(0.25))]))
    equal(m, ["MatMul", "MaxPool", "Pad"], ["Conv"])
    m = Model()
    x = m.input([2, 6, 9, 8])
    m.output(m.node("BatchNormalization", [x, weights(m, 6), weights(m, 6), weights(m, 6), m.const(m.rng.uniform(0.5, 2, 6).astype(np.float32))]))
    m.output(m.node("InstanceNormalization", [x, weights(m, 6), weights(m, 6)]))
    m.output(m.node("LayerNormalization", [x, weights(m, 9, 8), weights(m, 9, 8)], axis=2))
    equal(m, ["Sqrt", "Div"], ["BatchNormalization", "LayerNormalization", "InstanceNormalization"])
    # Of codes (N13): one multiply-add on doubles.
    for dtype, other in ((np.uint8, np.uint8), (np.int8, np.uint8), (np.int8, np.int8)):
        m = Model()
        x = m.qdq(m.input([2, 6, 9, 8]), 0.02, 3, dtype)
        y = m.node("BatchNormalization", [x, weights(m, 6), weights(m, 6), weights(m, 6), m.const(m.rng.uniform(0.5, 2, 6).astype(np.float32))])
        m.output(m.qdq(m.node("Relu", [y]), 0.015, 21, other))
        equal(m, ["Mul", "Add"], ["BatchNormalization", "Sqrt"])
    for mode in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
        m = Model()
        x = m.input([1, 3, 7, 6])
        m.output(m.node("Resize", [x, "", "", m.const(np.array([1, 3, 15, 9], np.int64))], mode="linear", coordinate_transformation_mode=mode))
        equal(m, ["Gather", "Mul", "Add"], ["Resize"])
    m = Model()
    x = m.input([5, 12])
    y = m.node("Gemm", [x, weights(m, 7, 12), weights(m, 7)], transB=1, alpha=0.5, beta=0.7)
    m.output(m.node("MatMul", [y, weights(m, 7, 3)]))
    equal(m, ["MatMul"], ["Gemm"])


def names():
    """Outputs that are inputs, constants, or two names of one value, and values of awkward names."""
    m = Model()
    x = m.input([1, 8])
    y = m.qdq(x, 0.03, 133)
    m.node("Identity", [y], outputs=["a"])
    m.node("Identity", [y], outputs=["b"])
    m.node("Identity", [x], outputs=["c/Cast"])
    m.node("Identity", [m.const(np.float32([1, 2]))], outputs=["d"])
    for name in ("a", "b", "c/Cast", "d"):
        m.output(name)
    golden = equal(m, ["Identity"])
    check([o.name for o in golden.graph.output][:4] == ["a", "b", "c/Cast", "d"], "names of the outputs")


def batches():
    """A symbolic batch takes the size that is asked for."""
    m = Model()
    x = m.input(["n", 4, 6, 6])
    y = m.conv(m.qdq(x, 0.02, 120), 0.02, 4, 6, (3, 3))
    m.output(m.qdq(y, 0.03, 128))
    proto = m.proto()
    with tempfile.TemporaryDirectory() as folder:
        path = harness.save(proto, folder)
        arguments = ("--shape", "x=3x4x6x6")
        golden = golden_compare.export(OCTILE, path, os.path.join(folder, "golden.onnx"), arguments)
        check([d.dim_value for d in golden.graph.input[0].type.tensor_type.shape.dim] == [3, 4, 6, 6], "the batch")


def refusals():
    """What no kernel rounds as the rule does is refused by name, and nothing is written."""
    import subprocess  # pylint: disable=import-outside-toplevel

    for op in ("Erf", "Softplus"):
        m = Model()
        m.output(m.node(op, [m.input([3, 5])], name="the_node"))
        with tempfile.TemporaryDirectory() as folder:
            path = harness.save(m.proto(), folder)
            golden = os.path.join(folder, "golden.onnx")
            done = subprocess.run([OCTILE, "export-golden", path, "-o", golden], capture_output=True, text=True, timeout=60, check=False)
            check(done.returncode == 3, f"exit code {done.returncode}")
            check(op in done.stderr and "has no exact form in ONNX Runtime" in done.stderr, done.stderr)
            check(sorted(os.listdir(folder)) == ["model.onnx"], f"files {os.listdir(folder)}")


def wrong_constants():
    """The comparison sees one unit in the last place of a multiplier, and one code of a table."""
    m = Model()
    x = m.qdq(m.input([1, 4, 64, 64]), 0.5, 128)
    w = m.dq(m.const(m.rng.integers(-60, 60, [4, 4, 1, 1]).astype(np.int8)), 0.5, 0, np.int8)
    y = m.qdq(m.node("Conv", [x, w]), 32.0, 128)  # m = 2^-7: every 128th accumulator is a tie
    m.output(m.qdq(m.node("Sigmoid", [y]), 1 / 256, 0))
    proto = m.proto()
    with tempfile.TemporaryDirectory() as folder:
        path = harness.save(proto, folder)
        feeds = harness.random_feeds(proto, np.random.default_rng(1))

        def found(change):
            golden = golden_compare.export(OCTILE, path, os.path.join(folder, "golden.onnx"))
            tensors = {t.name: t for t in golden.graph.initializer}
            change({n.op_type: n for n in golden.graph.node}, tensors)
            return golden_compare.compare(OCTILE, harness.TOOL, path, folder, feeds, golden=golden)[0]

        def multiplier(nodes, tensors, toward):
            t = tensors[nodes["QLinearConv"].input[4]]
            t.CopyFrom(numpy_helper.from_array(np.nextafter(numpy_helper.to_array(t), np.float32(toward)), t.name))

        def entry(nodes, tensors):
            t = tensors[nodes["Gather"].input[0]]
            codes = numpy_helper.to_array(t).copy()
            codes[140] ^= 1
            t.CopyFrom(numpy_helper.from_array(codes, t.name))

        check(found(lambda *_: None) is None, "the unchanged model differs")
        for what, change, op in (("up", lambda n, t: multiplier(n, t, 1), "(Conv)"), ("down", lambda n, t: multiplier(n, t, 0), "(Conv)"),
                                 ("entry", entry, "(Table)")):
            message = found(change)
            check(message is not None, f"{what}: not noticed")
            check(op in message, f"{what}: {message}")


CASES = {f.__name__: f for f in (
    conv, conv_saturation, conv_zero_points, relu, linear, accumulators, pairs, pairs_of_two_types, pools, global_pools, movement, tables,
    softmax, float_islands, float_operators, float_layers, names, batches, refusals, wrong_constants)}


def main():
    global OCTILE  # pylint: disable=global-statement
    at = sys.argv.index("--octile")
    OCTILE = sys.argv[at + 1]
    del sys.argv[at:at + 2]
    harness.main(CASES)


if __name__ == "__main__":
    main()
