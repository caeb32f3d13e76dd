"""Written descriptions of well-known networks at full size, as their exporters write them to ONNX, with seeded weights.

A description is the network in evaluation mode: convolutions, BatchNormalization, activations. `exported` then does what
exporters do: batch norms behind a convolution are folded into it; others stay (DenseNet's). The statistics that the batch
norms hold are those of the photographs given, so that activations have the size and the distribution that training would
leave: they neither die nor explode through the depth.
"""

from dataclasses import dataclass
from typing import Callable

import numpy as np
import onnx
import onnxruntime
from builder import Builder
from onnx import numpy_helper


class Network(Builder):
    """Builder with the blocks that these networks share. Batch norms draw scale and shift from the same seed."""

    def __init__(self, name, seed, epsilon=1e-5):
        super().__init__(name, seed)
        self.epsilon = epsilon

    def plain_conv_relu(self, x, channels_in, channels_out, kernel, **options):
        """For networks without batch norms: the gain keeps the mean square, 2 over that of the channels' magnitudes."""
        return self.relu(self.conv(x, channels_in, channels_out, kernel, gain=24 / 13, **options))

    def image(self, height=224, width=224):
        return self.input("image", [1, 3, height, width])

    def batch_norm(self, x, channels, size=1.0):
        """`size`: standard deviation that an average channel leaves with; small at the end of residual branches."""
        name = self.unique("bn")
        scale = size * self.rng.uniform(0.5, 1.5, channels)
        shift = 0.3 * size * self.rng.normal(0, 1, channels)
        constants = [self.constant(v, f"{name}_{part}") for part, v in
                     (("scale", scale), ("shift", shift), ("mean", np.zeros(channels)), ("var", np.ones(channels)))]
        return self.node("BatchNormalization", [x, *constants], name=name, epsilon=self.epsilon)

    def conv_bn(self, x, channels_in, channels_out, kernel, *, size=1.0, **options):
        return self.batch_norm(self.conv(x, channels_in, channels_out, kernel, bias=False, **options), channels_out, size)

    def conv_relu(self, x, *arguments, **options):
        return self.relu(self.conv_bn(x, *arguments, **options))

    def conv_silu(self, x, *arguments, **options):
        return self.silu(self.conv_bn(x, *arguments, **options))

    def add(self, a, b):
        return self.node("Add", [a, b])

    def concat(self, values, axis=1, **options):
        return self.node("Concat", values, axis=axis, **options)

    def split(self, x, sizes, axis=1):
        return self.node("Split", [x, self.constant(sizes, "split_sizes", np.int64)], outputs=len(sizes), axis=axis)

    def reshape(self, x, shape, **options):
        return self.node("Reshape", [x, self.constant(shape, "shape", np.int64)], **options)

    def transpose(self, x, order):
        return self.node("Transpose", [x], perm=order)

    def upsample(self, x):
        """Nearest, twice as large, with the attributes of PyTorch's exporter."""
        scales = self.constant([1, 1, 2, 2], "scales")
        return self.node("Resize", [x, "", scales], mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric")

    def classify(self, x, channels, classes=1000):
        x = self.flatten(self.node("GlobalAveragePool", [x]))
        self.output(self.gemm(x, channels, classes, gain=1.0), [1, classes], "scores")
        return self


def _resnet(name, blocks, bottleneck, seed):
    b = Network(name, seed)
    x = b.max_pool(b.conv_relu(b.image(), 3, 64, 7, stride=2), 3, 2, (1, 1, 1, 1))
    channels = 64
    for stage, count in enumerate(blocks):
        width = 64 << stage
        out = 4 * width if bottleneck else width
        for i in range(count):
            stride = 2 if i == 0 and stage > 0 else 1
            if bottleneck:
                y = b.conv_relu(x, channels, width, 1)
                y = b.conv_bn(b.conv_relu(y, width, width, 3, stride=stride), width, out, 1, size=0.5)
            else:
                y = b.conv_bn(b.conv_relu(x, channels, width, 3, stride=stride), width, out, 3, size=0.5)
            if stride != 1 or channels != out:
                x = b.conv_bn(x, channels, out, 1, stride=stride)
            x, channels = b.relu(b.add(y, x)), out
    return b.classify(x, channels)


def resnet18():
    return _resnet("resnet18", [2, 2, 2, 2], False, 18)


def resnet50():
    return _resnet("resnet50", [3, 4, 6, 3], True, 50)


def mobilenetv1():
    b = Network("mobilenetv1", 1)
    x, channels = b.relu6(b.conv_bn(b.image(), 3, 32, 3, stride=2)), 32
    for out, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        x = b.relu6(b.conv_bn(x, channels, channels, 3, stride=stride, group=channels))
        x, channels = b.relu6(b.conv_bn(x, channels, out, 1)), out
    return b.classify(x, channels)


def mobilenetv2():
    b = Network("mobilenetv2", 2)
    x, channels = b.relu6(b.conv_bn(b.image(), 3, 32, 3, stride=2)), 32
    for expand, out, count, first in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
                                      (6, 320, 1, 1)]:
        for i in range(count):
            stride, hidden, y = first if i == 0 else 1, channels * expand, x
            if expand != 1:
                y = b.relu6(b.conv_bn(y, channels, hidden, 1))
            y = b.relu6(b.conv_bn(y, hidden, hidden, 3, stride=stride, group=hidden))
            residual = stride == 1 and channels == out
            y = b.conv_bn(y, hidden, out, 1, size=0.5 if residual else 1.0)
            x, channels = b.add(x, y) if residual else y, out
    return b.classify(b.relu6(b.conv_bn(x, channels, 1280, 1)), 1280)


def mobilenetv3():
    b = Network("mobilenetv3", 3, epsilon=1e-3)

    def hard_swish(x):
        return b.node("HardSwish", [x])

    def squeeze_excite(x, channels):
        squeezed = max(8, (channels // 4 + 4) // 8 * 8)  # a quarter, rounded to 8 and by at most a tenth down
        squeezed += 8 if squeezed < 0.9 * (channels // 4) else 0
        y = b.relu(b.conv(b.node("GlobalAveragePool", [x]), channels, squeezed, 1))
        y = b.node("HardSigmoid", [b.conv(y, squeezed, channels, 1)], alpha=float(np.float32(1 / 6)), beta=0.5)
        return b.node("Mul", [y, x])

    x, channels = hard_swish(b.conv_bn(b.image(), 3, 16, 3, stride=2)), 16
    for kernel, hidden, out, excite, swish, stride in [
            (3, 16, 16, False, False, 1), (3, 64, 24, False, False, 2), (3, 72, 24, False, False, 1),
            (5, 72, 40, True, False, 2), (5, 120, 40, True, False, 1), (5, 120, 40, True, False, 1),
            (3, 240, 80, False, True, 2), (3, 200, 80, False, True, 1), (3, 184, 80, False, True, 1),
            (3, 184, 80, False, True, 1), (3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1),
            (5, 672, 160, True, True, 2), (5, 960, 160, True, True, 1), (5, 960, 160, True, True, 1)]:
        activation, y = hard_swish if swish else b.relu, x
        if hidden != channels:
            y = activation(b.conv_bn(y, channels, hidden, 1))
        y = activation(b.conv_bn(y, hidden, hidden, kernel, stride=stride, group=hidden))
        if excite:
            y = squeeze_excite(y, hidden)
        residual = stride == 1 and channels == out
        y = b.conv_bn(y, hidden, out, 1, size=0.5 if residual else 1.0)
        x, channels = b.add(y, x) if residual else y, out
    x = hard_swish(b.conv_bn(x, channels, 960, 1))
    x = b.flatten(b.node("GlobalAveragePool", [x]))
    x = hard_swish(b.gemm(x, 960, 1280))
    b.output(b.gemm(x, 1280, 1000, gain=1.0), [1, 1000], "scores")
    return b


def squeezenet():
    b = Network("squeezenet", 11)

    def pool(x):
        return b.max_pool(x, 3, 2, ceil_mode=1)

    x, channels = pool(b.plain_conv_relu(b.image(), 3, 64, 3, stride=2, pads=(0, 0, 0, 0))), 64
    for squeeze, expand, then_pool in [(16, 64, False), (16, 64, True), (32, 128, False), (32, 128, True), (48, 192, False),
                                       (48, 192, False), (64, 256, False), (64, 256, False)]:
        y = b.plain_conv_relu(x, channels, squeeze, 1)
        x = b.concat([b.plain_conv_relu(y, squeeze, expand, 1), b.plain_conv_relu(y, squeeze, expand, 3)])
        x, channels = pool(x) if then_pool else x, 2 * expand
    x = b.node("GlobalAveragePool", [b.plain_conv_relu(x, channels, 1000, 1)])
    b.output(b.flatten(x), [1, 1000], "scores")
    return b


def googlenet():
    b = Network("googlenet", 14, epsilon=1e-3)

    def pool(x, kernel=3):
        return b.max_pool(x, kernel, 2, ceil_mode=1)

    def inception(x, channels, ones, reduce3, threes, reduce5, fives, projection):
        branches = [b.conv_relu(x, channels, ones, 1),
                    b.conv_relu(b.conv_relu(x, channels, reduce3, 1), reduce3, threes, 3),
                    # torchvision's network has 3x3 where the paper has 5x5.
                    b.conv_relu(b.conv_relu(x, channels, reduce5, 1), reduce5, fives, 3),
                    b.conv_relu(b.max_pool(x, 3, 1, (1, 1, 1, 1), ceil_mode=1), channels, projection, 1)]
        return b.concat(branches), ones + threes + fives + projection

    x = pool(b.conv_relu(b.image(), 3, 64, 7, stride=2))
    x, channels = pool(b.conv_relu(b.conv_relu(x, 64, 64, 1), 64, 192, 3)), 192
    for block in [(64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), 3, (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64),
                  (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128), 2,
                  (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)]:
        if isinstance(block, int):
            x = pool(x, block)
        else:
            x, channels = inception(x, channels, *block)
    return b.classify(x, channels)


def densenet121():
    b = Network("densenet121", 121)
    x, channels = b.max_pool(b.conv_relu(b.image(), 3, 64, 7, stride=2), 3, 2, (1, 1, 1, 1)), 64
    for stage, count in enumerate([6, 12, 24, 16]):
        features = [x]
        for _ in range(count):
            y = b.concat(features) if len(features) > 1 else x
            y = b.relu(b.batch_norm(y, channels))  # behind a concatenation: no convolution to fold it into
            y = b.conv_relu(y, channels, 128, 1)
            features.append(b.conv(y, 128, 32, 3, bias=False))
            channels += 32
        x = b.relu(b.batch_norm(b.concat(features), channels))
        if stage < 3:
            x, channels = b.average_pool(b.conv(x, channels, channels // 2, 1, bias=False), 2), channels // 2
    return b.classify(x, channels)


def shufflenetv2():
    b = Network("shufflenetv2", 22)

    def depthwise(x, channels, stride):
        return b.conv_bn(x, channels, channels, 3, stride=stride, group=channels)

    def shuffle(x, channels, size):
        x = b.transpose(b.reshape(x, [1, 2, channels // 2, size, size]), [0, 2, 1, 3, 4])
        return b.reshape(x, [1, channels, size, size])

    x, channels, size = b.max_pool(b.conv_relu(b.image(), 3, 24, 3, stride=2), 3, 2, (1, 1, 1, 1)), 24, 56
    for count, out in [(4, 116), (8, 232), (4, 464)]:
        half = out // 2
        for i in range(count):
            if i == 0:
                size //= 2
                left = b.conv_relu(depthwise(x, channels, 2), channels, half, 1)
                right = depthwise(b.conv_relu(x, channels, half, 1), half, 2)
            else:
                left, right = b.split(x, [half, half])
                right = depthwise(b.conv_relu(right, half, half, 1), half, 1)
            x = shuffle(b.concat([left, b.conv_relu(right, half, half, 1)]), out, size)
            channels = out
    x = b.node("ReduceMean", [b.conv_relu(x, channels, 1024, 1)], axes=[2, 3], keepdims=0)
    b.output(b.gemm(x, 1024, 1000, gain=1.0), [1, 1000], "scores")
    return b


def vgg16():
    b = Network("vgg16", 16)
    x, channels = b.image(), 3
    for out, count in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]:
        for _ in range(count):
            x, channels = b.plain_conv_relu(x, channels, out, 3), out
        x = b.max_pool(x, 2)
    # The adaptive pooling to 7x7 of a 7x7 image, as it is exported.
    x = b.flatten(b.average_pool(x, 1))
    x = b.relu(b.gemm(x, 512 * 7 * 7, 4096))
    x = b.relu(b.gemm(x, 4096, 4096))
    b.output(b.gemm(x, 4096, 1000, gain=1.0), [1, 1000], "scores")
    return b


def _sppf(b, x, channels):
    """Spatial pyramid pooling: three chained 5x5 maxima beside their input."""
    half = channels // 2
    values = [b.conv_silu(x, channels, half, 1)]
    for _ in range(3):
        values.append(b.max_pool(values[-1], 5, 1, (2, 2, 2, 2)))
    return b.conv_silu(b.concat(values), 4 * half, channels, 1)


def _bottleneck(b, x, channels, first, shortcut):
    y = b.conv_silu(b.conv_silu(x, channels, channels, first), channels, channels, 3, size=0.7 if shortcut else 1.0)
    return b.add(x, y) if shortcut else y


def _yolov5n(height, width):
    """v6 of the architecture; three raw heads [1, 3, rows, columns, 85], as exported for training-style outputs."""
    b = Network(f"yolov5n_{height}x{width}", 5, epsilon=1e-3)

    def c3(x, channels_in, channels, count, shortcut=True):
        half = channels // 2
        y = b.conv_silu(x, channels_in, half, 1)
        for _ in range(count):
            y = _bottleneck(b, y, half, 1, shortcut)
        return b.conv_silu(b.concat([y, b.conv_silu(x, channels_in, half, 1)]), channels, channels, 1)

    x = b.conv_silu(b.image(height, width), 3, 16, 6, stride=2, pads=(2, 2, 2, 2))
    x = c3(b.conv_silu(x, 16, 32, 3, stride=2), 32, 32, 1)
    p3 = c3(b.conv_silu(x, 32, 64, 3, stride=2), 64, 64, 2)
    p4 = c3(b.conv_silu(p3, 64, 128, 3, stride=2), 128, 128, 3)
    x = _sppf(b, c3(b.conv_silu(p4, 128, 256, 3, stride=2), 256, 256, 1), 256)
    top = b.conv_silu(x, 256, 128, 1)
    x = c3(b.concat([b.upsample(top), p4]), 256, 128, 1, False)
    middle = b.conv_silu(x, 128, 64, 1)
    heads = [c3(b.concat([b.upsample(middle), p3]), 128, 64, 1, False)]
    heads.append(c3(b.concat([b.conv_silu(heads[0], 64, 64, 3, stride=2), middle]), 128, 128, 1, False))
    heads.append(c3(b.concat([b.conv_silu(heads[1], 128, 128, 3, stride=2), top]), 256, 256, 1, False))
    for i, head in enumerate(heads):
        rows, columns, channels = height // (8 << i), width // (8 << i), 64 << i
        y = b.reshape(b.conv(head, channels, 255, 1, gain=1.0), [1, 3, 85, rows, columns])
        b.output(b.transpose(y, [0, 1, 3, 4, 2]), [1, 3, rows, columns, 85], f"head{i}")
    return b


def yolov5n_480x640():
    return _yolov5n(480, 640)


def yolov5n_640x640():
    return _yolov5n(640, 640)


def _yolov8n(size):
    """With the decoding that its exporter writes: boxes as centre and size in pixels, then the classes' probabilities.

    The nodes called decode_* are the float tail: expectation over 16 bins, box arithmetic. They stay in float.
    """
    b = Network(f"yolov8n_{size}x{size}", 8, epsilon=1e-3)
    bins, classes = 16, 80

    def c2f(x, channels_in, channels, count, shortcut):
        half = channels // 2
        values = b.split(b.conv_silu(x, channels_in, channels, 1), [half, half])
        for _ in range(count):
            values.append(_bottleneck(b, values[-1], half, 3, shortcut))
        return b.conv_silu(b.concat(values), (2 + count) * half, channels, 1)

    x = b.conv_silu(b.conv_silu(b.image(size, size), 3, 16, 3, stride=2), 16, 32, 3, stride=2)
    p3 = c2f(b.conv_silu(c2f(x, 32, 32, 1, True), 32, 64, 3, stride=2), 64, 64, 2, True)
    p4 = c2f(b.conv_silu(p3, 64, 128, 3, stride=2), 128, 128, 2, True)
    top = _sppf(b, c2f(b.conv_silu(p4, 128, 256, 3, stride=2), 256, 256, 1, True), 256)
    middle = c2f(b.concat([b.upsample(top), p4]), 384, 128, 1, False)
    heads = [c2f(b.concat([b.upsample(middle), p3]), 192, 64, 1, False)]
    heads.append(c2f(b.concat([b.conv_silu(heads[0], 64, 64, 3, stride=2), middle]), 192, 128, 1, False))
    heads.append(c2f(b.concat([b.conv_silu(heads[1], 128, 128, 3, stride=2), top]), 384, 256, 1, False))

    levels, anchors, strides = [], [], []
    for i, head in enumerate(heads):
        channels, stride, side = 64 << i, 8 << i, size // (8 << i)
        branches = []
        for width, out in [(64, 4 * bins), (80, classes)]:
            y = b.conv_silu(b.conv_silu(head, channels, width, 3), width, width, 3)
            branches.append(b.conv(y, width, out, 1, gain=1.0))
        levels.append(b.reshape(b.concat(branches), [1, 4 * bins + classes, -1]))
        centre = np.arange(side) + 0.5
        anchors.append(np.stack([np.tile(centre, side), np.repeat(centre, side)]))
        strides.append(np.full(side * side, stride))
    count = sum(s.size for s in strides)
    boxes, scores = b.split(b.concat(levels, axis=2), [4 * bins, classes])

    def decode(op, inputs, name, **attributes):
        return b.node(op, inputs, name=f"decode_{name}", **attributes)

    def part(x, start, end, name):
        bounds = [b.constant([v], "bound", np.int64) for v in (start, end, 1)]
        return decode("Slice", [x, *bounds], name)

    y = b.transpose(b.reshape(boxes, [1, 4, bins, count]), [0, 2, 1, 3])
    y = decode("Softmax", [y], "softmax", axis=1)
    y = b.conv(y, bins, 1, 1, bias=False, weight=np.arange(bins).reshape(1, bins, 1, 1), name="decode_expectation")
    y = b.reshape(y, [1, 4, count], name="decode_distances")
    anchor = b.constant(np.concatenate(anchors, axis=1)[np.newaxis], "anchors")
    low = decode("Sub", [anchor, part(y, 0, 2, "low_part")], "low")
    high = decode("Add", [anchor, part(y, 2, 4, "high_part")], "high")
    centre = decode("Div", [decode("Add", [low, high], "sum"), b.constant(2.0, "two")], "centre")
    y = decode("Concat", [centre, decode("Sub", [high, low], "extent")], "boxes", axis=1)
    y = decode("Mul", [y, b.constant(np.concatenate(strides)[np.newaxis], "strides")], "pixels")
    result = decode("Concat", [y, b.node("Sigmoid", [scores])], "result", axis=1)
    b.output(result, [1, 4 + classes, count], "detections")
    return b


def yolov8n_640x640():
    return _yolov8n(640)


@dataclass(frozen=True)
class Entry:
    """A network: its description, published 10^9 multiply-accumulates with their source, the input's normalization."""
    build: Callable[[], Network]
    gmacs: float
    source: str
    normalization: str = "imagenet"


_TORCHVISION = "torchvision, 'GFLOPS' of its pre-trained weights (which counts multiply-accumulates)"
_ULTRALYTICS = "the published table of models, floating-point operations at 640x640 divided by two"
NETWORKS = {
    "resnet18": Entry(resnet18, 1.814, _TORCHVISION),
    "resnet50": Entry(resnet50, 4.089, _TORCHVISION),
    "mobilenetv1": Entry(mobilenetv1, 0.569, "A. Howard et al., MobileNets, table 4"),
    "mobilenetv2": Entry(mobilenetv2, 0.301, _TORCHVISION),
    "mobilenetv3": Entry(mobilenetv3, 0.217, _TORCHVISION),
    "squeezenet": Entry(squeezenet, 0.349, _TORCHVISION),
    "googlenet": Entry(googlenet, 1.498, _TORCHVISION),
    "densenet121": Entry(densenet121, 2.834, _TORCHVISION),
    "shufflenetv2": Entry(shufflenetv2, 0.145, _TORCHVISION),
    "vgg16": Entry(vgg16, 15.47, _TORCHVISION),
    "yolov5n_480x640": Entry(yolov5n_480x640, 2.25 * 0.75, _ULTRALYTICS, "unit"),
    "yolov5n_640x640": Entry(yolov5n_640x640, 2.25, _ULTRALYTICS, "unit"),
    "yolov8n_640x640": Entry(yolov8n_640x640, 4.35, _ULTRALYTICS, "unit"),
}


def input_size(model):
    """(height, width) of the image that the model takes."""
    return tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)[2:]


def float_nodes(model):
    """Names of the nodes that stay in float when the model is quantized."""
    return [n.name for n in model.graph.node if n.name.startswith("decode_")]


def count_macs(model):
    """Multiply-accumulates of the convolutions and matrix products: Cout·Hout·Wout·(Cin/g)·kh·kw, one image."""
    inferred = onnx.shape_inference.infer_shapes(model)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
              for v in [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]}
    shapes.update({i.name: list(i.dims) for i in inferred.graph.initializer})
    total = 0
    for node in inferred.graph.node:
        if node.op_type == "Conv":
            total += int(np.prod(shapes[node.output[0]])) * int(np.prod(shapes[node.input[1]][1:]))
        elif node.op_type == "Gemm":
            total += int(np.prod(shapes[node.output[0]])) * shapes[node.input[0]][1]
    return total


def _statistics(model, images):
    """(mean, variance) of the input of every BatchNormalization, all of them normalizing with those of the images themselves."""
    graph = onnx.GraphProto()
    graph.CopyFrom(model.graph)
    count = len(images)
    for value in [*graph.input, *graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = count
    shapes = {n.input[1] for n in graph.node if n.op_type == "Reshape"}
    for initializer in graph.initializer:
        if initializer.name in shapes:
            shape = numpy_helper.to_array(initializer).copy()
            shape[0] = count
            initializer.CopyFrom(numpy_helper.from_array(shape, initializer.name))
    wanted = []
    for node in graph.node:
        if node.op_type == "BatchNormalization":
            node.output.extend([f"{node.name}_mean_now", f"{node.name}_var_now"])
            node.attribute.extend([onnx.helper.make_attribute("training_mode", 1), onnx.helper.make_attribute("momentum", 0.0)])
            wanted += node.output[1:]
    if not wanted:
        return {}
    del graph.output[:]
    graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in wanted)
    training = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(training.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(wanted, {model.graph.input[0].name: np.concatenate(images)})
    return {name.removesuffix("_mean_now"): (mean, variance)
            for name, mean, variance in zip(wanted[::2], results[::2], results[1::2])}


def exported(network, images):
    """The ONNX model of a description as an exporter in evaluation mode writes it, with the batch statistics of `images`.

    A BatchNormalization that alone consumes a convolution's output becomes part of it: w' = w·scale/√(var + eps),
    b' = shift − mean·scale/√(var + eps), computed in fp64. The others keep their nodes.
    """
    model = network.model()
    statistics = _statistics(model, images)
    graph = model.graph
    constants = {i.name: i for i in graph.initializer}
    producer = {o: n for n in graph.node for o in n.output}
    uses = [i for n in graph.node for i in n.input] + [o.name for o in graph.output]
    folded = set()
    for node in list(graph.node):
        if node.op_type != "BatchNormalization":
            continue
        mean, variance = (v.astype(np.float64) for v in statistics[node.name])
        conv = producer.get(node.input[0])
        if conv is None or conv.op_type != "Conv" or uses.count(conv.output[0]) != 1:
            for name, value in zip(node.input[3:], (mean, variance)):
                constants[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
            continue
        scale, shift = (numpy_helper.to_array(constants[name]).astype(np.float64) for name in node.input[1:3])
        factor = scale / np.sqrt(variance + network.epsilon)
        weight = constants[conv.input[1]]
        value = numpy_helper.to_array(weight) * factor[:, np.newaxis, np.newaxis, np.newaxis]
        weight.CopyFrom(numpy_helper.from_array(value.astype(np.float32), weight.name))
        bias = f"{conv.name}_bias"
        graph.initializer.append(numpy_helper.from_array((shift - mean * factor).astype(np.float32), bias))
        conv.input.append(bias)
        conv.output[:] = node.output
        folded.update(node.input[1:])
        graph.node.remove(node)
    kept = [i for i in graph.initializer if i.name not in folded]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    onnx.checker.check_model(model, full_check=True)
    return model
