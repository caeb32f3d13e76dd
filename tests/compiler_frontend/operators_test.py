#!/usr/bin/env python3
"""Every operator, quantized by quantize_static in many ways or written node by node, against ONNX Runtime."""
import logging
import os
import tempfile

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from harness import FLOAT, S8, U8, Model, check, equal, main, ort_side, random_feeds, run

logging.disable(logging.WARNING)
S = 0.02


# --- quantize_static ---------------------------------------------------------------------------------------------------


class Reader(CalibrationDataReader):
    def __init__(self, shapes, seed=0):
        rng = np.random.default_rng(seed)
        self.items = iter([{n: rng.uniform(-2, 2, s).astype(np.float32) for n, s in shapes.items()} for _ in range(3)])

    def get_next(self):
        return next(self.items, None)


def quantized(m, activation=QuantType.QUInt8, weight=QuantType.QInt8, per_channel=True, symmetric=False, **extra):
    with tempfile.TemporaryDirectory() as work:
        before, after = os.path.join(work, "float.onnx"), os.path.join(work, "int8.onnx")
        onnx.save(m.proto(), before)
        shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in m.inputs}
        quantize_static(before, after, Reader(shapes), quant_format=QuantFormat.QDQ, per_channel=per_channel,
                        activation_type=activation, weight_type=weight,
                        extra_options={"ActivationSymmetric": symmetric, **extra})
        return onnx.load(after)


VARIANTS = {
    "u8": {},
    "u8_per_tensor": {"per_channel": False},
    "u8_u8": {"weight": QuantType.QUInt8, "per_channel": False},
    "s8": {"activation": QuantType.QInt8},
    "s8_symmetric": {"activation": QuantType.QInt8, "symmetric": True},
    "u8_float_bias": {"QuantizeBias": False},
    "s8_weight_pair": {"activation": QuantType.QInt8, "AddQDQPairToWeight": True},
    "u8_kept_relu": {"QDQKeepRemovableActivations": True},
    "u8_dedicated": {"DedicatedQDQPair": True},
}


def operators(proto, seed=0):
    """Unit by unit, each fed the reference's codes: at most 1 LSB where ONNX Runtime computes in fp32."""
    feeds = random_feeds(proto, np.random.default_rng(seed))
    result = run(proto, feeds)
    worst, counts, units = ort_side.compare_operators(proto, result.tensors, feeds, [])
    check(worst <= 1 and units > 0, f"units differ by {worst}")
    return result, counts


def check_variants(build, names=tuple(VARIANTS), opsets=(13, 17, 21), tolerance=0, kernels=()):
    for i, name in enumerate(names):
        opset = opsets[i % len(opsets)]
        proto = quantized(build(opset), **VARIANTS[name])
        try:
            operators(proto)
            # ONNX Runtime computes symmetric int8 with a kept Relu in fp32: there only units are compared.
            if name not in ("s8_symmetric", "u8_dedicated", "u8_kept_relu"):
                equal(proto, tolerance=tolerance, kernels=kernels)
        except (AssertionError, SystemExit) as error:
            raise AssertionError(f"{name}, opset {opset}: {error}") from error


def weights(m, *shape):
    return m.const(m.rng.normal(0, 0.4 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32))


def conv_net(opset):
    m = Model(opset)
    x = m.input([1, 6, 13, 11])
    y = m.node("Relu", [m.node("Conv", [x, weights(m, 8, 6, 3, 3), weights(m, 8)], pads=[1, 1, 1, 1])])
    y = m.node("Clip", [m.node("Conv", [y, weights(m, 8, 1, 3, 3), weights(m, 8)], group=8, strides=[2, 2]),
                        m.const(np.float32(0)), m.const(np.float32(0.5))])
    y = m.node("Conv", [y, weights(m, 12, 4, 1, 1)], group=2)
    y = m.node("Relu", [m.node("Conv", [y, weights(m, 5, 12, 2, 3), weights(m, 5)], dilations=[2, 1], pads=[0, 2, 3, 1])])
    m.output(y, FLOAT, None)
    return m


def conv():
    check_variants(conv_net, kernels=["QLinearConv"])


def linear_net(opset):
    m = Model(opset)
    x = m.input([5, 24])
    y = m.node("Relu", [m.node("Gemm", [x, weights(m, 16, 24), weights(m, 16)], transB=1)])
    y = m.node("MatMul", [y, weights(m, 16, 12)])
    y = m.node("Tanh", [m.node("Add", [y, weights(m, 12)])])
    y = m.node("Gemm", [y, weights(m, 12, 7), weights(m, 7)])
    m.output(m.node("Softmax", [y], axis=-1), FLOAT, None)
    return m


def linear():
    check_variants(linear_net, names=[n for n in VARIANTS if n != "s8_symmetric"], kernels=["QGemm", "QLinearSoftmax"])
    proto = quantized(linear_net(17), **VARIANTS["s8_symmetric"])
    operators(proto)
    # MatMul of a batch of matrices with one weight matrix.
    m = Model()
    y = m.node("MatMul", [m.input([2, 3, 9]), weights(m, 9, 6)])
    m.output(m.node("Transpose", [y], perm=[0, 2, 1]), FLOAT, None)
    equal(quantized(m))


def residual_net(opset):
    m = Model(opset)
    x = m.input([1, 6, 12, 12])
    a = m.node("Relu", [m.node("Conv", [x, weights(m, 8, 6, 3, 3)], pads=[1, 1, 1, 1])])
    b = m.node("Conv", [a, weights(m, 8, 8, 3, 3), weights(m, 8)], pads=[1, 1, 1, 1])
    y = m.node("Relu", [m.node("Add", [b, a])])
    y = m.node("MaxPool", [y], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    g = m.node("GlobalAveragePool", [y])
    s = m.node("Sigmoid", [m.node("Conv", [g, weights(m, 8, 8, 1, 1)])])
    y = m.node("Mul", [y, s])
    y = m.node("Concat", [y, m.node("AveragePool", [y], kernel_shape=[3, 3], pads=[1, 1, 1, 1])], axis=1)
    y = m.node("Flatten", [m.node("ReduceMean", [y], axes=[2, 3], keepdims=1)] if opset < 18 else
               [m.node("ReduceMean", [y, m.const(np.array([2, 3], np.int64))], keepdims=1)])
    m.output(y, FLOAT, None)
    return m


def residual():
    # Its float output is an fp32 mean of exact codes: one wrong code would show as 1e-3.
    check_variants(residual_net, tolerance=0.01, kernels=["QLinearConv", "QLinearAdd", "QLinearMul", "QLinearConcat"])


def activation_net(opset):
    m = Model(opset)
    x = m.node("Conv", [m.input([1, 3, 8, 8]), weights(m, 6, 3, 1, 1)])
    for op, attributes in [("LeakyRelu", {"alpha": 0.2}), ("Sigmoid", {}), ("HardSigmoid", {"alpha": 0.3}), ("Tanh", {}),
                           ("Elu", {}), ("Softplus", {}), ("HardSwish", {}), ("Erf", {}), ("Relu", {}), ("Abs", {})]:
        x = m.node("Conv", [m.node(op, [x], **attributes), weights(m, 6, 6, 1, 1), weights(m, 6)])
    silu = m.node("Mul", [x, m.node("Sigmoid", [x])])
    m.output(silu, FLOAT, None)
    return m


def activations():
    check_variants(activation_net, names=["u8", "s8", "u8_per_tensor", "s8_symmetric"], opsets=(17, 14, 21, 17))


# --- node by node ------------------------------------------------------------------------------------------------------


def codes_of(m, shape, scale, zero, dtype=np.uint8):
    """A graph input of codes, dequantized."""
    x = m.input(list(shape), U8 if dtype == np.uint8 else S8)
    return m.dq(x, scale, zero, dtype)


def pairs():
    """Add and Mul: every broadcast, both orders, both types, random scales; constants as operands."""
    shapes = [((1, 4, 5, 6), (1, 4, 5, 6)), ((1, 4, 5, 6), (1, 4, 1, 1)), ((1, 4, 1, 1), (1, 4, 5, 6)), ((1, 4, 5, 6), (1,)),
              ((1,), (1, 4, 5, 6)), ((4, 1), (1, 7)), ((1, 7), (4, 1)), ((1, 4, 5, 6), (6,)), ((3, 1, 5), (1, 4, 5)),
              ((2, 3, 1), (2, 3, 8)), ((1, 1), (1, 1)), ((1, 1, 1, 1), (1,))]
    rng = np.random.default_rng(11)
    for dtype in (np.uint8, np.int8):
        lowest = 0 if dtype == np.uint8 else -128
        for op in ("Add", "Mul"):
            for a, b in shapes:
                for constant in (None, 0, 1):
                    m = Model(opset=14)
                    operands = []
                    for i, shape in enumerate((a, b)):
                        scale, zero = rng.uniform(0.005, 0.05), int(rng.integers(0, 256)) + lowest
                        if constant == i:
                            codes = (rng.integers(0, 256, shape) + lowest).astype(dtype)
                            operands.append(m.dq(m.const(codes), scale, zero, dtype))
                        else:
                            operands.append(codes_of(m, shape, scale, zero, dtype))
                    y = m.node(op, operands)
                    m.output(m.q(y, rng.uniform(0.01, 0.1), int(rng.integers(0, 256)) + lowest, dtype),
                             U8 if dtype == np.uint8 else S8, None)
                    try:
                        result = equal(m, runs=1, kernels=[f"QLinear{op}"])
                    except (AssertionError, SystemExit) as error:
                        raise AssertionError(f"{op} {dtype.__name__} {a} {b} constant {constant}: {error}") from error
                    check(result.host() == [], f"{op} {a} {b}: host steps {result.host()}")


def pools():
    rng = np.random.default_rng(12)
    for i in range(60):
        dtype = (np.uint8, np.int8)[i % 2]
        lowest = 0 if dtype == np.uint8 else -128
        kernel = [int(v) for v in rng.integers(1, 5, 2)]
        strides = [int(v) for v in rng.integers(1, 4, 2)]
        pads = [int(rng.integers(0, k)) for k in kernel * 2]
        extra = {"ceil_mode": int(rng.integers(0, 2)), "strides": strides, "pads": pads, "kernel_shape": kernel}
        m = Model(opset=14)
        scale, zero = float(rng.uniform(0.01, 0.05)), int(rng.integers(0, 256)) + lowest
        x = codes_of(m, (2, 3, 11, 9), scale, zero, dtype)
        if i % 3 == 0:
            y, same = m.node("MaxPool", [x], **extra), True
        else:
            y, same = m.node("AveragePool", [x], count_include_pad=int(rng.integers(0, 2)), **extra), False
        if not same:
            scale, zero = float(rng.uniform(0.01, 0.05)), int(rng.integers(0, 256)) + lowest
        m.output(m.q(y, scale, zero, dtype), U8 if dtype == np.uint8 else S8, None)
        try:
            equal(m, runs=1, kernels=["MaxPool" if same else "QLinearAveragePool"])
        except (AssertionError, SystemExit) as error:
            raise AssertionError(f"{m.nodes[1].op_type} {extra}: {error}") from error


def global_pools():
    rng = np.random.default_rng(13)
    for i in range(40):
        h, w = int(rng.integers(1, 15)), int(rng.integers(1, 15))
        m = Model(opset=14)
        x = codes_of(m, (2, 16, h, w), float(rng.uniform(0.01, 0.05)), int(rng.integers(0, 256)))
        if i % 2:
            y = m.node("GlobalAveragePool", [x])
        else:
            y = m.node("AveragePool", [x], kernel_shape=[h, w])
        m.output(m.q(y, float(rng.uniform(0.01, 0.05)), int(rng.integers(0, 256))), U8, None)
        result = equal(m, runs=1, kernels=["QLinearGlobalAveragePool" if i % 2 else "QLinearAveragePool"])
        check("GlobalAveragePool" in result.ops(), f"steps {result.ops()}")
    # MaxPool with other parameters behind it: maximum, then N9.
    m = Model(opset=14)
    y = m.node("MaxPool", [codes_of(m, (1, 4, 9, 9), 0.02, 99)], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    m.output(m.q(y, 0.035, 31), U8, None)
    equal(m, tolerance=0)


def movement():
    ends = np.int64(2 ** 62)
    for dtype in (np.uint8, np.int8):
        zero, kind = (77, U8) if dtype == np.uint8 else (-11, S8)

        def build(op, inputs, outputs=1, **attributes):
            m = Model(opset=18)
            x = codes_of(m, (2, 8, 6, 6), S, zero, dtype)
            results = m.node(op, [x] + [m.const(i) if isinstance(i, (np.ndarray, np.generic)) else i for i in inputs],
                             outputs=outputs, **attributes)
            for y in [results] if outputs == 1 else results:
                m.output(m.q(y, S, zero, dtype), kind, None)
            result = equal(m, runs=1)
            check(result.host() == [], f"{op}: host steps {result.host()}")

        i64 = lambda *v: np.array(v, np.int64)  # noqa: E731
        build("Transpose", [], perm=[0, 2, 3, 1])
        build("Transpose", [])
        build("Reshape", [i64(0, -1, 4)])
        build("Flatten", [], axis=2)
        build("Flatten", [], axis=-1)
        build("Unsqueeze", [i64(0, -1)])
        build("Slice", [i64(1, -3), i64(7, ends), i64(1, 3), i64(2, 1)])
        build("Slice", [i64(-1, 5), i64(-ends, 0), i64(2, 3), i64(-1, -2)])
        build("Split", [i64(3, 5)], outputs=2, axis=1)
        build("Split", [], outputs=4, axis=1, num_outputs=4)
        build("Pad", [i64(0, 1, 2, 0, 0, 0, 3, 1), np.float32(0)])
        build("Pad", [i64(0, 0, 2, 1, 0, 0, 3, 1)], mode="reflect")
        build("Pad", [i64(0, 0, 2, 1, 0, 0, 3, 1)], mode="edge")
        build("Pad", [i64(0, -1, 2, 0, 0, 0, -2, 1), np.float32(0.5)])
        build("DepthToSpace", [], blocksize=2)
        build("DepthToSpace", [], blocksize=2, mode="CRD")
        build("SpaceToDepth", [], blocksize=3)
        for coordinates in ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"]:
            for nearest in ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]:
                build("Resize", ["", np.array([1, 1, 2, 1.5], np.float32)], mode="nearest",
                      coordinate_transformation_mode=coordinates, nearest_mode=nearest)
                build("Resize", ["", "", i64(2, 8, 4, 13)], mode="nearest", coordinate_transformation_mode=coordinates,
                      nearest_mode=nearest)
    # Concat of unequal parameters, and of equal ones.
    for parameters in [((S, 77), (S, 77)), ((S, 77), (0.031, 12))]:
        m = Model(opset=14)
        xs = [codes_of(m, (1, 3 + i, 4, 4), *p) for i, p in enumerate(parameters)]
        m.output(m.q(m.node("Concat", xs, axis=1), S, 77), U8, None)
        equal(m, runs=1)


def float_results():
    """MatMul, Gemm and Conv without an output quantization (N11, N13), MatMulInteger, Softmax, linear Resize."""
    m = Model()
    x = m.qdq(m.input([4, 30]), S, 120)
    w, scales = m.weight([30, 9], 1)
    m.output(m.node("MatMul", [x, w]), FLOAT, None)
    equal(m)
    m = Model()
    x = m.qdq(m.input([4, 30]), S, 120)
    w, scales = m.weight([30, 9], 1)
    m.output(m.node("Gemm", [x, w, m.bias(9, S, scales)]), FLOAT, None)
    equal(m)
    m = Model()
    x = m.qdq(m.input([1, 3, 9, 9]), S, 120)
    m.output(m.conv(x, S, 3, 4, [3, 3]), FLOAT, None)
    equal(m, tolerance=1)
    m = Model()
    a = m.input([4, 30], U8)
    b = m.const(m.rng.integers(-128, 128, (30, 9)).astype(np.int8))
    m.output(m.node("MatMulInteger", [a, b, m.const(np.uint8(121)), m.const(np.int8(3))]), 6, None)
    equal(m)
    m = Model()
    y = m.qdq(m.node("Resize", [m.qdq(m.input([1, 3, 5, 6]), S, 120), "", m.const(np.array([1, 1, 2, 2], np.float32))],
                     mode="linear"), S, 120)
    m.output(y, FLOAT, None)
    equal(m, tolerance=1e4 * 0.01)  # 1 LSB of 256 codes, checked as codes below
    operators(m.proto())
    for dtype, zero, kind in [(np.uint8, 0, U8), (np.int8, -128, S8)]:
        m = Model()
        y = m.node("Softmax", [codes_of(m, (3, 10), 0.1, 20, dtype)], axis=-1)
        m.output(m.q(y, 1 / 256, zero, dtype), kind, None)
        equal(m)


def float_operators():
    """The host list: every operator alone, in fp32, against ONNX Runtime."""
    rng = np.random.default_rng(14)

    def build(op, inputs, opset=20, shape=(2, 3, 6, 5), outputs=FLOAT, **attributes):
        m = Model(opset=opset)
        x = m.input(list(shape))
        arguments = [m.const(i) if isinstance(i, (np.ndarray, np.generic)) else i for i in inputs]
        m.output(m.node(op, [x] + arguments, **attributes), outputs, None)
        feeds = {"x": rng.uniform(0.05, 0.95, shape).astype(np.float32)}
        try:
            result = equal(m, feeds=feeds, tolerance=1)
        except (AssertionError, SystemExit) as error:
            raise AssertionError(f"{op} {attributes}: {error}") from error
        check(op in result.host(), f"{op}: host steps {result.host()}")

    for op in ["Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "Tanh", "Elu", "Selu", "Celu", "Erf", "Exp", "Log", "Sqrt", "Neg",
               "Abs", "Floor", "Ceil", "Round", "Softplus", "Softsign", "HardSwish", "Mish", "Gelu", "ThresholdedRelu",
               "Reciprocal", "Sign", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Atanh",
               "Shrink", "Softmax", "LogSoftmax", "GlobalAveragePool", "GlobalMaxPool"]:
        build(op, [])
    build("Clip", [np.float32(0.25), np.float32(0.5)])
    for op in ["Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "PRelu"]:
        build(op, [rng.uniform(0.5, 2, (3, 1, 1)).astype(np.float32)])
    for op in ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"]:
        build(op, [np.array([1, -1], np.int64)], keepdims=0)
    for op in ["ArgMax", "ArgMin"]:
        build(op, [], axis=2, keepdims=0, outputs=7)
    c = lambda *shape: rng.uniform(0.2, 1.2, shape).astype(np.float32)  # noqa: E731
    build("BatchNormalization", [c(3), c(3), c(3), c(3)])
    build("InstanceNormalization", [c(3), c(3)])
    build("LayerNormalization", [c(6, 5), c(5)], axis=2)
    build("Conv", [c(6, 3, 3, 2), c(6)], strides=[2, 1], pads=[1, 0, 2, 1])
    build("ConvTranspose", [c(3, 4, 3, 3), c(4)], strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 0])
    build("ConvTranspose", [c(3, 2, 3, 2)], group=3, dilations=[2, 1])
    build("MaxPool", [], kernel_shape=[2, 3], strides=[2, 1])
    build("AveragePool", [], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    build("MatMul", [c(2, 3, 5, 4)])
    build("Gemm", [c(4, 5), c(4)], shape=(3, 5), transB=1, alpha=0.5, beta=2.0)
    build("Pad", [np.array([0, 0, 1, 2, 0, 0, 0, 1], np.int64), np.float32(0.3)])
    build("Gather", [np.array([[0, -1], [2, 0]], np.int64)], axis=1)
    for coordinates in ["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"]:
        build("Resize", ["", np.array([1, 1, 1.5, 2], np.float32)], mode="linear", coordinate_transformation_mode=coordinates)


def one_code_tables():
    """Expressions of one code in any spelling; integer Add and Mul units inside keep their own rules (N6, N7)."""
    def net(build, opset=20, dtype=np.uint8):
        m = Model(opset=opset)
        zero = 120 if dtype == np.uint8 else -8
        x = codes_of(m, (4, 64), 0.031, zero, dtype)
        y = build(m, x)
        m.output(m.q(y, 0.017, zero + 3, dtype), U8 if dtype == np.uint8 else S8, None)
        feeds = {"x": np.tile(np.arange(256).astype(np.uint8).view(dtype), 1).reshape(4, 64)}
        result = equal(m, feeds=feeds, runs=1)
        check(set(result.ops()) == {"Table"}, f"steps {result.ops()}")

    f = lambda m, v: m.const(np.float32(v))  # noqa: E731
    cases = [
        lambda m, x: m.node("Mul", [x, m.qdq(m.node("Sigmoid", [x]), 1 / 256, 0)]),                      # SiLU
        lambda m, x: m.node("Mul", [x, m.node("Sigmoid", [x])]),
        lambda m, x: m.node("Mul", [x, m.node("Tanh", [m.node("Softplus", [x])])]),                      # Mish
        lambda m, x: m.node("Mul", [x, m.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5)]),
        lambda m, x: m.node("Mul", [m.node("Mul", [x, f(m, 0.5)]),
                                    m.node("Add", [f(m, 1), m.node("Erf", [m.node("Div", [x, f(m, 1.41421356)])])])]),
        lambda m, x: m.node("Sub", [f(m, 1), x]),
        lambda m, x: m.node("Div", [x, m.node("Add", [f(m, 1), m.node("Abs", [x])])]),
        lambda m, x: m.node("Pow", [x, f(m, 2)]),
        lambda m, x: m.node("Max", [m.node("Min", [x, f(m, 0.8)]), f(m, -0.3)]),
        lambda m, x: m.node("PRelu", [x, f(m, 0.3)]),
        lambda m, x: m.node("Add", [x, m.qdq(m.node("LeakyRelu", [x], alpha=0.3), 0.02, 99)]),
        lambda m, x: m.qdq(m.qdq(x, 0.05, 100), 0.01, 33),
    ]
    for i, case in enumerate(cases):
        try:
            net(case)
        except (AssertionError, SystemExit) as error:
            raise AssertionError(f"case {i}: {error}") from error


CASES = {f.__name__: f for f in [conv, linear, residual, activations, pairs, pools, global_pools, movement, float_results,
                                 float_operators, one_code_tables]}

if __name__ == "__main__":
    main(CASES)
