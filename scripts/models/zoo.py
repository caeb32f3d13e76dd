"""Full-size networks with seeded weights, quantized in several variants: python zoo.py OUTPUT_DIR [NAME[.VARIANT]]...

Weights are random (He-scaled, as training would leave their size), batch norms count as folded. Calibration uses seeded noise with
smooth structure. What matters here is the shape of the computation, not what the networks recognize.
"""

import sys
import time
from pathlib import Path

import onnx
from builder import Builder
from onnxruntime.quantization import QuantType
from quantize import quantize, random_feeds


def _resnet(name, blocks, bottleneck, seed):
    """K. He et al., Deep residual learning: 7x7 stem, four stages, strides in the 3x3 convolutions."""
    b = Builder(name, seed)
    x = b.relu(b.conv(b.input("image", [1, 3, 224, 224]), 3, 64, 7, stride=2))
    x, channels = b.max_pool(x, 3, 2, (1, 1, 1, 1)), 64
    for stage, count in enumerate(blocks):
        width = 64 << stage
        out = 4 * width if bottleneck else width
        for i in range(count):
            stride = 2 if i == 0 and stage > 0 else 1
            if bottleneck:
                y = b.relu(b.conv(x, channels, width, 1))
                y = b.conv(b.relu(b.conv(y, width, width, 3, stride=stride)), width, out, 1)
            else:
                y = b.conv(b.relu(b.conv(x, channels, width, 3, stride=stride)), width, out, 3)
            if stride != 1 or channels != out:
                x = b.conv(x, channels, out, 1, stride=stride)
            x, channels = b.relu(b.node("Add", [y, x])), out
    return _classify(b, x, channels)


def _classify(b, x, channels):
    x = b.flatten(b.node("GlobalAveragePool", [x]))
    b.output(b.gemm(x, channels, 1000), [1, 1000], "scores")
    return b


def resnet18():
    return _resnet("resnet18", [2, 2, 2, 2], False, 18)


def resnet50():
    return _resnet("resnet50", [3, 4, 6, 3], True, 50)


def mobilenetv1():
    """A. Howard et al., MobileNets: depthwise 3x3 and pointwise convolutions."""
    b = Builder("mobilenetv1", 1)
    x, channels = b.relu6(b.conv(b.input("image", [1, 3, 224, 224]), 3, 32, 3, stride=2)), 32
    for out, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        x = b.relu6(b.depthwise(x, channels, 3, stride=stride))
        x, channels = b.relu6(b.conv(x, channels, out, 1)), out
    return _classify(b, x, channels)


def mobilenetv2():
    """M. Sandler et al., MobileNetV2: inverted residuals with linear bottlenecks."""
    b = Builder("mobilenetv2", 2)
    x, channels = b.relu6(b.conv(b.input("image", [1, 3, 224, 224]), 3, 32, 3, stride=2)), 32
    for expand, out, count, first in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for i in range(count):
            stride, hidden, y = first if i == 0 else 1, channels * expand, x
            if expand != 1:
                y = b.relu6(b.conv(y, channels, hidden, 1))
            y = b.conv(b.relu6(b.depthwise(y, hidden, 3, stride=stride)), hidden, out, 1)
            x = b.node("Add", [x, y]) if stride == 1 and channels == out else y
            channels = out
    return _classify(b, b.relu6(b.conv(x, channels, 1280, 1)), 1280)


NETWORKS = {f.__name__: f for f in (resnet18, resnet50, mobilenetv1, mobilenetv2)}
VARIANTS = {
    "s8": {"per_channel": False},  # quantize_static's default: int8, asymmetric activations
    "u8pc": {"activation": QuantType.QUInt8, "per_channel": True},
    "s8sym": {"per_channel": False, "symmetric_activations": True},
}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for wanted in sys.argv[2:] or NETWORKS:
        name, _, only = wanted.partition(".")
        if name not in NETWORKS or (only and only not in VARIANTS):
            sys.exit(f"zoo: no network '{wanted}'; networks: {', '.join(NETWORKS)}; variants: {', '.join(VARIANTS)}")
        missing = [v for v in VARIANTS if (not only or v == only) and not (folder / f"{name}.{v}.onnx").exists()]
        if not missing:
            continue
        model = NETWORKS[name]().model()
        feeds = random_feeds(model, 2, 3)
        for variant in missing:
            start = time.monotonic()
            target = folder / f"{name}.{variant}.onnx"
            onnx.save(quantize(model, feeds, **VARIANTS[variant]), f"{target}.part")
            Path(f"{target}.part").rename(target)
            print(f"{target.name}: {target.stat().st_size / 2**20:.1f} MiB, {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
