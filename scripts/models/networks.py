"""The networks of models/ with seeded random weights: each exercises one family of layers and one way to quantize.

A network is a function that returns the float model, registered with the way it is quantized. Weights are He-scaled, so
activations keep their spread through the layers; calibration and check inputs are seeded noise.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Callable

import numpy as np
import onnx
from onnxruntime.quantization import QuantType

from builder import Builder
from quantize import code_spread, quantize, random_feeds

UINT8_ACTIVATIONS = dict(activation=QuantType.QUInt8)
INT8_ACTIVATIONS = dict(activation=QuantType.QInt8)
SYMMETRIC = dict(activation=QuantType.QInt8, symmetric_activations=True)
UINT8_PER_TENSOR = dict(activation=QuantType.QUInt8, weight=QuantType.QUInt8, per_channel=False, WeightSymmetric=False)


@dataclass
class Network:
    make: Callable[[], onnx.ModelProto]
    quantization: dict = field(default_factory=dict)


NETWORKS = {}


def network(**quantization):
    def register(make):
        NETWORKS[make.__name__] = Network(make, quantization)
        return make
    return register


def _batch_norm(b, x, channels):
    name = b.unique("bn")
    parameters = [b.constant(v, f"{name}_{what}") for what, v in (
        ("scale", b.rng.uniform(0.7, 1.3, channels)), ("shift", b.rng.normal(0, 0.1, channels)),
        ("mean", b.rng.normal(0, 0.1, channels)), ("variance", b.rng.uniform(0.7, 1.3, channels)))]
    return b.node("BatchNormalization", [x, *parameters], name=name)


def _residual_block(b, x, channels_in, channels_out, stride):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""
    y = b.relu(_batch_norm(b, b.conv(x, channels_in, channels_out, 3, stride=stride, bias=False), channels_out))
    y = _batch_norm(b, b.conv(y, channels_out, channels_out, 3, bias=False, gain=1.0), channels_out)
    if stride != 1 or channels_in != channels_out:
        x = _batch_norm(b, b.conv(x, channels_in, channels_out, 1, stride=stride, bias=False, gain=1.0), channels_out)
    return b.relu(b.node("Add", [y, x]))


def _residual_net(b, size, widths):
    x = b.input("image", [1, 3, size, size])
    x = b.relu(_batch_norm(b, b.conv(x, 3, widths[0], 3, bias=False), widths[0]))
    channels = widths[0]
    for stage, width in enumerate(widths):
        x = _residual_block(b, x, channels, width, stride=1 if stage == 0 else 2)
        channels = width
    x = b.flatten(b.node("GlobalAveragePool", [x]))
    b.output(b.gemm(x, channels, 10, gain=1.0), [1, 10], "scores")
    return b.model()


@network(**INT8_ACTIVATIONS, prepare=True)
def resnet_tiny():
    """Residual blocks as PyTorch exports them; batch normalization is folded before quantizing."""
    return _residual_net(Builder("resnet_tiny", seed=10, opset=13), 32, (16, 32, 64))


@network(**SYMMETRIC, prepare=True)
def resnet_symmetric():
    """The same with symmetric codes, where every Relu stays in the graph, and with narrow layers."""
    return _residual_net(Builder("resnet_symmetric", seed=11, opset=14), 24, (8, 12, 24))


def _inverted_residual(b, x, channels_in, channels_out, *, expansion, kernel, stride):
    hidden = channels_in * expansion
    y = b.relu6(b.conv(x, channels_in, hidden, 1))
    y = b.relu6(b.depthwise(y, hidden, kernel, stride=stride))
    y = b.conv(y, hidden, channels_out, 1, gain=1.0)  # linear bottleneck
    return b.node("Add", [x, y]) if stride == 1 and channels_in == channels_out else y


@network(**UINT8_ACTIVATIONS)
def mobilenet_tiny():
    """Depthwise-separable layers: 3x3 and 5x5, strides 1 and 2, linear bottlenecks with residuals, Relu6."""
    b = Builder("mobilenet_tiny", seed=20, opset=17)
    x = b.input("image", ["batch", 3, 48, 48])
    x = b.relu6(b.conv(x, 3, 16, 3, stride=2))
    x = b.relu6(b.depthwise(x, 16, 3))
    x = b.conv(x, 16, 8, 1, gain=1.0)
    x = _inverted_residual(b, x, 8, 12, expansion=4, kernel=3, stride=2)
    x = _inverted_residual(b, x, 12, 12, expansion=4, kernel=3, stride=1)
    x = _inverted_residual(b, x, 12, 20, expansion=4, kernel=5, stride=2)
    x = _inverted_residual(b, x, 20, 20, expansion=4, kernel=5, stride=1)
    x = b.relu6(b.conv(x, 20, 96, 1))
    x = b.flatten(b.node("GlobalAveragePool", [x]))
    b.output(b.gemm(x, 96, 10, gain=1.0), ["batch", 10], "scores")
    return b.model()


@network(**SYMMETRIC)
def mlp():
    """Fully connected layers: Gemm with a bias, MatMul with a constant matrix, sizes that no array divides; Softmax at the end."""
    b = Builder("mlp", seed=30, opset=21)
    x = b.input("features", ["N", 100])
    x = b.relu(b.gemm(x, 100, 256))
    x = b.node("Add", [b.matmul(x, 256, 90, gain=2.0), b.constant(b.rng.normal(0, 0.1, 90), "matmul_bias")])
    x = b.node("Tanh", [x])
    x = b.clip(b.gemm(x, 90, 64), -0.75, 1.25)
    x = b.gemm(x, 64, 7, gain=4.0)
    b.output(b.node("Softmax", [x], axis=-1), ["N", 7], "probabilities")
    return b.model()


@network(**INT8_ACTIVATIONS)
def activations():
    """Every activation behind a convolution of its own, the results concatenated; two act on the input's codes."""
    b = Builder("activations", seed=40, opset=20)
    image = b.input("image", [1, 4, 12, 12])

    def scalar(value):
        return b.constant(value, "scalar")

    def gelu_as_pytorch_exports_it(x):
        erf = b.node("Erf", [b.node("Div", [x, scalar(np.sqrt(2.0))])])
        return b.node("Mul", [b.node("Mul", [x, b.node("Add", [erf, scalar(1.0)])]), scalar(0.5)])

    def hard_swish_in_parts(x):
        clipped = b.relu6(b.node("Add", [x, scalar(3.0)]))
        return b.node("Mul", [x, b.node("Div", [clipped, scalar(6.0)])])

    functions = [
        b.relu, b.relu6, b.silu, gelu_as_pytorch_exports_it, hard_swish_in_parts,
        lambda x: b.clip(x, -0.75, 1.25),
        lambda x: b.node("LeakyRelu", [x], alpha=0.1),
        lambda x: b.node("Sigmoid", [x]),
        lambda x: b.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5),
        lambda x: b.node("Tanh", [x]),
        lambda x: b.node("HardSwish", [x]),
        lambda x: b.node("Gelu", [x]),
        lambda x: b.node("Gelu", [x], approximate="tanh"),
        lambda x: b.node("Elu", [x], alpha=1.0),
        lambda x: b.node("Selu", [x]),
        lambda x: b.node("Celu", [x], alpha=0.75),
        lambda x: b.node("Softplus", [x]),
        lambda x: b.node("Softsign", [x]),
        lambda x: b.node("Mish", [x]),
        lambda x: b.node("Mul", [x, b.node("Tanh", [b.node("Softplus", [x])])]),  # Mish in parts
    ]
    parts = [f(b.conv(image, 4, 8, 3, gain=8.0)) for f in functions]
    parts += [b.node("Sigmoid", [image]), b.node("LeakyRelu", [image], alpha=0.25)]
    x = b.node("Concat", parts, axis=1)
    x = b.conv(x, 8 * len(functions) + 8, 16, 1)
    x = b.relu(x)
    b.output(b.flatten(b.node("GlobalAveragePool", [x])), [1, 16], "scores")
    return b.model()


@network(**UINT8_PER_TENSOR)
def odd_sizes():
    """Sizes that divide nothing: 7, 13 and 17 channels, 1x1 and 7x5 kernels, stride 3, uneven padding, dilation, groups."""
    b = Builder("odd_sizes", seed=50, opset=18)
    x = b.input("image", [1, 3, 37, 29])
    x = b.relu(b.conv(x, 3, 7, (7, 5), pads=[3, 1, 2, 4]))                              # 7 x 36 x 30
    x = b.relu(b.conv(x, 7, 13, 1))
    y = b.relu(b.conv(x, 13, 17, 3, stride=3, pads=[0, 1, 2, 0]))                       # 17 x 12 x 10
    z = b.average_pool(x, 3, stride=3, pads=(0, 0, 0, 0))                               # 13 x 12 x 10
    y = b.relu(b.conv(y, 17, 17, 3, dilation=2))                                        # reach 5 x 5
    y = b.node("Concat", [y, z], axis=1)                                                # 30 channels
    y = b.relu(b.conv(y, 30, 21, (3, 5), stride=(1, 2), group=3))                       # 21 x 12 x 5
    y = b.relu(b.depthwise(y, 21, (5, 3), pads=[2, 0, 1, 2]))                           # 21 x 11 x 5
    y = b.average_pool(y, 3, stride=2, pads=(1, 1, 1, 1), count_include_pad=0)          # 21 x 6 x 3
    y = b.max_pool(y, 2, stride=1, pads=(1, 0, 0, 1))                                   # 21 x 6 x 3
    y = b.relu(b.conv(y, 21, 11, 2, stride=2, pads=[0, 1, 0, 0], dilation=1))           # 11 x 3 x 2
    y = b.gemm(b.flatten(y), 66, 5, gain=1.0)
    b.output(y, [1, 5], "scores")
    return b.model()


@network(**INT8_ACTIVATIONS)
def concat_split():
    """Data movement and elementwise work as detectors have it: split, concat, slice, pad, upsampling, pyramid pooling,
    squeeze and excite, constants per tensor and per channel."""
    b = Builder("concat_split", seed=60, opset=16)
    x = b.input("image", [1, 3, 32, 32])
    x = b.silu(b.conv(x, 3, 32, 3, stride=2))                                           # 32 x 16 x 16

    # Cross-stage part: one half is transformed, and both halves and the result are concatenated.
    left, right = b.node("Split", [x, b.constant([12, 20], "split_sizes", np.int64)], outputs=2, axis=1)
    deep = b.silu(b.conv(right, 20, 20, 3))
    deep = b.node("Add", [right, b.silu(b.conv(deep, 20, 20, 3))])
    x = b.silu(b.conv(b.node("Concat", [left, right, deep], axis=1), 52, 24, 1))        # 24 x 16 x 16
    skip = x

    # Spatial pyramid pooling.
    x = b.silu(b.conv(x, 24, 16, 3, stride=2))                                          # 16 x 8 x 8
    pooled = [x]
    for _ in range(3):
        pooled.append(b.max_pool(pooled[-1], 5, stride=1, pads=(2, 2, 2, 2)))
    x = b.silu(b.conv(b.node("Concat", pooled, axis=1), 64, 24, 1))

    # Squeeze and excite.
    gate = b.relu(b.conv(b.node("GlobalAveragePool", [x]), 24, 6, 1))
    x = b.node("Mul", [x, b.node("Sigmoid", [b.conv(gate, 6, 24, 1, gain=8.0)])])

    # Back up to the finer grid, joined with what came from there.
    x = b.node("Resize", [x, "", b.constant([1, 1, 2, 2], "scales")], mode="nearest",
               coordinate_transformation_mode="asymmetric", nearest_mode="floor")       # 24 x 16 x 16
    difference = b.node("Sub", [x, skip])
    x = b.conv(b.node("Concat", [difference, skip], axis=1), 48, 24, 1)

    # Constants per channel.
    x = b.node("Mul", [x, b.constant(b.rng.uniform(0.5, 1.5, (1, 24, 1, 1)), "channel_gain")])
    x = b.node("Add", [x, b.constant(b.rng.normal(0, 0.3, (1, 24, 1, 1)), "channel_offset")])

    # Channels 5..18 of a window of the image, padded unevenly, then a constant per tensor.
    x = b.node("Slice", [x, b.constant([5, 1, 2], "starts", np.int64), b.constant([19, 15, 16], "ends", np.int64),
                         b.constant([1, 2, 3], "axes", np.int64)])                      # 14 x 14 x 14
    x = b.node("Pad", [x, b.constant([0, 0, 1, 0, 0, 0, 2, 3], "pads", np.int64)])      # 14 x 17 x 17
    x = b.node("Sub", [x, b.constant(0.125, "offset")])
    x = b.relu(b.conv(x, 14, 20, 3, stride=2, pads=[0] * 4))                            # 20 x 8 x 8
    mean = b.node("ReduceMean", [x], axes=[2, 3], keepdims=0)
    b.output(b.gemm(mean, 20, 9, gain=1.0), [1, 9], "scores")
    return b.model()


@network(**UINT8_ACTIVATIONS)
def big_layers():
    """Tensors and weights larger than any configuration holds, with as little arithmetic as that allows.

    The 128 x 96 x 96 tensor (1.1 MiB) is needed twice with a reduction of all of it in between, so it cannot stay on chip;
    the 3x3 convolution over 256 channels has 221 KiB of weights behind a reduction of K = 2304; the first
    convolution has M = 9216.
    """
    b = Builder("big_layers", seed=70, opset=19)
    x = b.input("image", [1, 3, 96, 96])
    x = b.relu(b.conv(x, 3, 128, 1))                                                    # 128 x 96 x 96
    gate = b.relu(b.conv(b.node("GlobalAveragePool", [x]), 128, 16, 1))
    x = b.node("Mul", [x, b.node("Sigmoid", [b.conv(gate, 16, 128, 1, gain=32.0)])])
    x = b.max_pool(x, 8)                                                                # 128 x 12 x 12
    x = b.relu(b.conv(x, 128, 256, 1))
    x = b.relu(b.conv(x, 256, 96, 3, stride=2))                                         # 96 x 6 x 6
    x = b.gemm(b.flatten(x), 3456, 48)
    b.output(x, [1, 48], "scores")
    return b.model()


def build(name, log=print):
    entry = NETWORKS[name]
    float_model = entry.make()
    model = quantize(float_model, random_feeds(float_model, 24, seed=1), **entry.quantization)
    operators = Counter(n.op_type for n in model.graph.node)
    log("  " + ", ".join(f"{count} {op}" for op, count in sorted(operators.items())))
    for tensor, size, used, clipped in code_spread(model, random_feeds(model, 4, seed=2)):
        if used < min(24, size / 3) or clipped > 0.2:
            log(f"  {tensor}: only {used} different codes in {size} elements, {100 * clipped:.0f} % clipped")
    return model
