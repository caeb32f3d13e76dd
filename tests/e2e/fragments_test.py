"""Networks drawn at test time: concatenations, splits, shuffles, normalizations, depthwise and residual blocks of odd sizes, through the whole stack.

OCTILE in the environment names the program; SEED and COUNT replay or widen the draw. Every network runs on the instruction simulator and
the SystemC model of every named configuration, each step compared with the reference.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import QuantType

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/models"))
from builder import Builder  # noqa: E402
from quantize import quantize, random_feeds  # noqa: E402

OCTILE = os.environ["OCTILE"]
CONFIGS = ("tiny", "small", "base", "large")
VARIANTS = (
    {"per_channel": False},
    {"activation": QuantType.QUInt8, "per_channel": True},
    {"per_channel": False, "symmetric_activations": True},
)


def to_powers_of_two(model):
    """Scales of activations as some quantizers choose them: powers of two. Sums of codes times such a scale are exact in fp32."""
    weights = {node.input[1] for node in model.graph.node if node.op_type == "DequantizeLinear"
               and node.input[0] in {i.name for i in model.graph.initializer}}
    for initializer in model.graph.initializer:
        values = onnx.numpy_helper.to_array(initializer)
        if initializer.name.endswith("_scale") and initializer.name not in weights and values.ndim == 0:
            power = np.exp2(np.round(np.log2(values))).astype(np.float32)
            initializer.CopyFrom(onnx.numpy_helper.from_array(power, initializer.name))
    return model


class Drawn:
    """A random network: a list of feature maps (name, channels, height, width) that grows by random blocks."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.b = Builder(f"drawn{seed}", seed)
        height, width = self.random.choice([(12, 12), (16, 9), (23, 17), (33, 40)])
        channels = self.random.choice([1, 3, 3, 5])
        last = self.random.random() < 0.3  # channels last, as TensorFlow's exporters write images
        image = self.b.input("image", [1, height, width, channels] if last else [1, channels, height, width])
        if last:
            image = self.b.node("Transpose", [image], perm=[0, 3, 1, 2])
        # Of the first layer every kernel and stride that PACK knows: the columns of a kernel row share its reads.
        out = self.channels()
        kernel = [self.random.choice([3, 5, 6, 7])] * 2 if self.random.random() < 0.6 else [self.random.randint(1, 9) for _ in range(2)]
        stride = [self.random.choice([1, 2] if height < 20 else [1, 2, 2, 3, 4])] * 2
        if self.random.random() < 0.2:
            stride[0] = self.random.choice([1, 2])
        before, after = [k // 2 for k in kernel], [self.random.choice([k // 2, max(0, k // 2 - 1)]) for k in kernel]
        x = self.b.conv(image, channels, out, tuple(kernel), stride=tuple(stride), pads=before + after)
        size = [(s + b + a - k) // t + 1 for s, b, a, k, t in zip((height, width), before, after, kernel, stride)]
        self.maps = [(self.activate(x), out, *size)]

    def channels(self):
        return self.random.choice([4, 8, 16, 16, 20, 32, 32, 48, 58])

    def activate(self, x):
        kind = self.random.randrange(4)
        return x if kind == 0 else self.b.silu(x) if kind == 1 else self.b.relu(x)

    def conv(self, source, out=None, kernel=None, stride=1):
        x, channels, height, width = source
        out, kernel = out or self.channels(), kernel or self.random.choice([1, 1, 3])
        y = self.activate(self.b.conv(x, channels, out, kernel, stride=stride))
        return (y, out, (height - 1) // stride + 1, (width - 1) // stride + 1)

    def norm(self, x, channels):
        rng, name = self.b.rng, self.b.unique("norm")
        scale = rng.uniform(0.2, 1.5, channels) * rng.choice([-1, 1, 1], channels)
        if self.random.random() < 0.3:
            scale[rng.integers(channels)] = 1e-30  # a dead channel
        values = [scale, rng.normal(0, 0.3, channels), rng.normal(0, 0.3, channels), rng.uniform(0.3, 1.5, channels)]
        parameters = [self.b.constant(v, f"{name}_{what}") for what, v in zip(("scale", "shift", "mean", "variance"), values)]
        return self.b.node("BatchNormalization", [x, *parameters], name=name)

    def shuffle(self, source, groups):
        x, channels, height, width = source
        shape = self.b.constant(np.array([1, groups, channels // groups, height, width]), "shape", np.int64)
        back = self.b.constant(np.array([1, channels, height, width]), "shape", np.int64)
        y = self.b.node("Transpose", [self.b.node("Reshape", [x, shape])], perm=[0, 2, 1, 3, 4])
        return (self.b.node("Reshape", [y, back]), *source[1:])

    def split(self, source, *sizes):
        x, _, height, width = source
        parts = self.b.node("Split", [x, self.b.constant(np.array(sizes), "sizes", np.int64)], outputs=len(sizes), axis=1)
        return [(part, size, height, width) for part, size in zip(parts, sizes)]

    def reader(self, source):
        """Something that takes all channels of a map, one by one or all at once, and keeps its size."""
        x, channels, height, width = source
        kind = self.random.choice(["conv", "conv", "depthwise", "pool", "table", "residual", "scale", "grouped"])
        if kind == "depthwise":
            return (self.activate(self.b.depthwise(x, channels, 3)), *source[1:])
        if kind == "pool" and min(height, width) >= 3:
            return (self.b.max_pool(x, 3, 1, (1,) * 4), *source[1:])
        if kind == "table":
            return (self.b.node("Sigmoid", [x]), *source[1:])
        if kind == "residual":
            return (self.b.node("Add", [self.conv(source, channels)[0], x]), *source[1:])
        if kind == "scale":  # by its average, as squeeze and excitation do
            pooled = self.b.node("GlobalAveragePool", [x])
            return (self.b.node("Mul", [x, self.b.node("Sigmoid", [self.b.conv(pooled, channels, channels, 1)])]), *source[1:])
        if kind == "grouped" and channels % 3 == 0:
            return (self.b.relu(self.b.conv(x, channels, channels, 1, group=3)), *source[1:])
        return self.conv(source, self.random.choice([None, channels]))

    def units(self, source):
        """Units that split, convolve one part, concatenate and shuffle, as in ShuffleNetV2; what passes by is also read elsewhere."""
        channels = self.random.choice([10, 20, 44, 58, 116])
        whole = self.conv(source, channels, 1)
        for _ in range(self.random.randrange(1, 5)):
            half = channels // 2
            parts = self.split(whole, half, channels - half)
            if self.random.random() < 0.5:
                parts.reverse()
            branch = self.conv(parts[1], None, 1)
            if self.random.random() < 0.7:
                branch = (self.b.depthwise(branch[0], branch[1], 3), *branch[1:])
            branch = self.conv(branch, parts[1][1], 1)
            if self.random.random() < 0.2:
                parts[0] = self.reader(parts[0])
            pair = [parts[0], branch]
            if self.random.random() < 0.3:
                pair.reverse()
            channels = sum(p[1] for p in pair)
            whole = (self.b.node("Concat", [p[0] for p in pair], axis=1), channels, *whole[2:])
            groups = self.random.choice([g for g in range(2, channels + 1) if channels % g == 0][:4])
            whole = self.shuffle(whole, groups)
            if self.random.random() < 0.2:
                self.maps.append(self.reader(whole))
        return whole

    def slices(self, source):
        """Parts of unequal size, each read by something, some of them twice, some not changed at all."""
        channels = source[1]
        cuts = sorted(self.random.sample(range(1, channels), min(channels - 1, self.random.randrange(1, 4))))
        parts = self.split(source, *(b - a for a, b in zip([0, *cuts], [*cuts, channels])))
        read = [part if self.random.random() < 0.3 else self.reader(part) for part in parts]
        read += [self.random.choice(parts) for _ in range(self.random.randrange(2))]
        self.random.shuffle(read)
        return (self.b.node("Concat", [r[0] for r in read], axis=1), sum(r[1] for r in read), *source[2:])

    def step(self):
        source = self.random.choice(self.maps[-3:])
        x, channels, height, width = source
        same = [m for m in self.maps if m[2:] == source[2:]]
        kind = self.random.choice(["conv", "depthwise", "residual", "concat", "concat", "split", "shuffle", "pool", "average", "resize", "dense", "rows", "norm", "norm",
                                   "units", "units", "slices"])
        if kind == "conv":
            return self.conv(source, stride=self.random.choice([1, 1, 2]))
        if kind == "depthwise":
            kernel, stride = self.random.choice([3, 3, 5, 7]), self.random.choice([1, 1, 2])
            y = self.activate(self.b.depthwise(x, channels, kernel, stride=stride))
            return (y, channels, (height - 1) // stride + 1, (width - 1) // stride + 1)
        if kind == "norm":  # that no convolution takes in; half of them behind a concatenation
            parts = [source]
            if self.random.random() < 0.5:
                parts = [self.random.choice(same) for _ in range(self.random.randrange(2, 4))]
                x = self.b.node("Concat", [p[0] for p in parts], axis=1)
            channels = sum(p[1] for p in parts)
            return (self.activate(self.norm(x, channels)), channels, height, width)
        if kind == "residual":
            return (self.activate(self.b.node("Add", [self.conv(source, channels, 3)[0], x])), *source[1:])
        if kind == "concat":
            parts = [self.random.choice(same) for _ in range(self.random.randrange(1, 4))] + [self.conv(source)]
            self.random.shuffle(parts)
            return (self.b.node("Concat", [p[0] for p in parts], axis=1), sum(p[1] for p in parts), height, width)
        if kind == "split" and channels % 2 == 0:
            halves = self.b.node("Split", [x], outputs=2, axis=1)
            other = self.conv((halves[1], channels // 2, height, width), channels // 2)
            parts = [halves[0], halves[1], other[0]] if self.random.random() < 0.5 else [other[0], halves[0]]
            return (self.b.node("Concat", parts, axis=1), channels // 2 * len(parts), height, width)
        if kind == "shuffle":
            groups = [g for g in range(2, channels) if channels % g == 0]
            if groups:
                return self.shuffle(source, self.random.choice(groups))
        if kind == "units" and height * width <= 600:
            return self.units(source)
        if kind == "slices":
            return self.slices(source)
        if kind == "pool":
            kernel, stride = self.random.choice([(2, 2), (3, 1), (3, 2), (5, 1)])
            pad = kernel // 2 if kernel > 2 else 0
            if min(height, width) >= kernel:
                sizes = [(s + 2 * pad - kernel) // stride + 1 for s in (height, width)]
                return (self.b.max_pool(x, kernel, stride, (pad,) * 4), channels, *sizes)
        if kind == "average":
            kernel, stride = self.random.choice([(2, 2), (2, 1), (3, 1), (3, 2), (3, 3), (5, 1)])
            pad = self.random.choice([0, kernel // 2])
            if min(height, width) >= kernel:
                sizes = [(s + 2 * pad - kernel) // stride + 1 for s in (height, width)]
                y = self.b.average_pool(x, kernel, stride, (pad,) * 4, count_include_pad=self.random.randrange(2))
                return (y, channels, *sizes)
        if kind == "resize" and height * width <= 400:
            scales = self.b.constant([1, 1, 2, 2], "scales")
            y = self.b.node("Resize", [x, "", scales], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
            return (y, channels, 2 * height, 2 * width)
        if kind == "rows" and height <= 24:
            other = self.conv(source, channels)
            return (self.b.node("Concat", [other[0], x], axis=2), channels, 2 * height, width)
        if kind == "dense":
            maps = [source]
            for _ in range(2):
                total = sum(m[1] for m in maps)
                whole = self.b.node("Concat", [m[0] for m in maps], axis=1) if len(maps) > 1 else x
                maps.append(self.conv((whole, total, height, width), 16, 3))
            return (self.b.node("Concat", [m[0] for m in maps], axis=1), channels + 32, height, width)
        return self.conv(source)

    def anchors(self, x, channels, height, width):
        """Heads as detectors end: anchors and their values apart, then in the order that the decoder reads; in part or in one list."""
        anchors = self.random.choice([a for a in (1, 2, 4) if channels % a == 0])
        values = channels // anchors
        x = self.b.node("Reshape", [x, self.b.constant(np.array([1, anchors, values, height, width]), "shape", np.int64)])
        perm = self.random.choice([[0, 1, 3, 4, 2], [0, 3, 4, 1, 2], [0, 2, 1, 3, 4], [0, 4, 2, 3, 1]])
        sizes = [[1, anchors, values, height, width][p] for p in perm]
        x = self.b.node("Transpose", [x], perm=perm)
        if self.random.random() < 0.4 and sizes[4] > 1:
            first, step = self.random.randrange(sizes[4]), self.random.choice([1, 2])
            bounds = [self.b.constant([v], "bound", np.int64) for v in (first, sizes[4], 4, step)]
            sizes[4] = len(range(first, sizes[4], step))
            x = self.b.node("Slice", [x, *bounds])
        if self.random.random() < 0.5:
            sizes = [1, sizes[1] * sizes[2] * sizes[3], sizes[4]]
            x = self.b.node("Reshape", [x, self.b.constant(np.array(sizes), "shape", np.int64)])
        self.b.output(x, sizes)

    def model(self, steps=6):
        for _ in range(steps):
            grown = self.step()
            self.maps.append(grown if grown[1] <= 256 else self.conv(grown, 32, 1))
        x, channels, height, width = self.maps[-1]
        kind = self.random.random()
        if kind < 0.3 and channels % 2 == 0:
            self.anchors(x, channels, height, width)
        elif kind < 0.6:  # a detection head: flattened images, concatenated along the positions
            flat = self.b.constant(np.array([1, channels, -1]), "shape", np.int64)
            same = [m for m in self.maps[:-1] if m[1] == channels][-1:]
            heads = [self.b.node("Reshape", [m[0], flat]) for m in [self.maps[-1], *same]]
            y = self.b.node("Concat", heads, axis=2) if len(heads) > 1 else heads[0]
            count = height * width + sum(m[2] * m[3] for m in same)
            if channels % 2 == 0 and self.random.random() < 0.5:
                left, right = self.b.node("Split", [y], outputs=2, axis=1)
                self.b.output(left, [1, channels // 2, count])
                self.b.output(self.b.node("Sigmoid", [right]), [1, channels // 2, count])
            else:
                self.b.output(self.b.node("Sigmoid", [y]), [1, channels, count])
        else:
            x = self.b.flatten(self.b.node("GlobalAveragePool", [x]))
            self.b.output(self.b.gemm(x, channels, 10), [1, 10])
        return self.b.model()


def run(*arguments):
    return subprocess.run([OCTILE, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300)


class FragmentsTest(unittest.TestCase):
    def test_drawn_networks_equal_the_reference(self):
        first, count = int(os.environ.get("SEED", 1)), int(os.environ.get("COUNT", 24))
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(first, first + count):
                model = Drawn(seed).model()
                quantized = quantize(model, random_feeds(model, 2, seed), **VARIANTS[seed % len(VARIANTS)])
                if seed % 4 == 3:
                    quantized = to_powers_of_two(quantized)
                path = Path(folder) / f"drawn{seed}.onnx"
                onnx.save(quantized, path)
                for config in CONFIGS:
                    with self.subTest(seed=seed, config=config):
                        result = run("run", path, "--device", "iss,systemc", "--config", config)
                        self.assertEqual(result.returncode, 0, f"replay: SEED={seed} COUNT=1; {result.stderr}")

    def test_averages_run_on_the_device_where_they_are_proved(self):
        """Windows at the border, with pads counted or not; all sums are exact where the scales are powers of two."""
        pools = [(3, 1, (1, 1, 1, 1), {"count_include_pad": 1}), (3, 2, (1, 1, 1, 1), {"count_include_pad": 0}),
                 (3, 2, (0, 0, 1, 1), {"count_include_pad": 0}), (2, 2, (0, 0, 0, 0), {}),
                 (5, 3, (2, 1, 2, 1), {"count_include_pad": 0}), (3, 2, (0, 0, 0, 0), {"ceil_mode": 1})]
        odd = (0,)  # of these, the ones whose only divisor is odd: no ties with equal scales
        b = Builder("averages", 3)
        image = b.input("image", [1, 20, 18, 15])
        for i, (kernel, stride, pads, more) in enumerate(pools):
            y = b.average_pool(b.relu(b.conv(image, 20, 20, 1)), kernel, stride, pads, **more)
            b.output(b.conv(y, 20, 5, 1), [1, 5, f"rows{i}", f"columns{i}"])
        model = b.model()
        for activation in (QuantType.QInt8, QuantType.QUInt8):
            for powers in (False, True):
                quantized = quantize(model, random_feeds(model, 2, 3), per_channel=False, activation=activation)
                if powers:
                    quantized = to_powers_of_two(quantized)
                with tempfile.TemporaryDirectory() as folder:
                    path, report = Path(folder) / "m.onnx", Path(folder) / "r.json"
                    onnx.save(quantized, path)
                    for config in CONFIGS:
                        with self.subTest(activation=activation, powers=powers, config=config):
                            result = run("run", path, "--device", "iss,systemc", "--config", config, "--report", report)
                            self.assertEqual(result.returncode, 0, result.stderr)
                            reasons = [h["reason"] for h in json.loads(report.read_text())["host_operators"]]
                            self.assertTrue(all("depends on the order" in r for r in reasons), reasons)
                            self.assertEqual(len(reasons), 0 if powers else len(pools) - len(odd))

    def test_movement_at_the_edges_takes_no_step_of_the_host(self):
        b = Builder("edges", 5)
        x = b.node("Transpose", [b.input("image", [1, 18, 15, 3])], perm=[0, 3, 1, 2])
        x = b.relu(b.conv(x, 3, 24, 3))
        shapes = [b.constant(np.array(s), "shape", np.int64) for s in ([1, 3, 7, 18, 15], [1, 810, 7], [1, 24, -1])]
        y = b.node("Transpose", [b.node("Reshape", [b.conv(x, 24, 21, 1), shapes[0]])], perm=[0, 1, 3, 4, 2])
        b.output(b.node("Reshape", [y, shapes[1]]), [1, 810, 7])
        part = [b.constant([v], "bound", np.int64) for v in (2, 6, 4)]
        b.output(b.node("Slice", [y, *part]), [1, 3, 18, 15, 4])
        b.output(b.node("Transpose", [b.node("Reshape", [b.conv(x, 24, 24, 1), shapes[2]])], perm=[2, 0, 1]), [270, 1, 24])
        quantized = quantize(b.model(), random_feeds(b.model(), 2, 3), per_channel=False)
        with tempfile.TemporaryDirectory() as folder:
            path, program, report = (Path(folder) / name for name in ("m.onnx", "m.octile", "r.json"))
            onnx.save(quantized, path)
            for config in CONFIGS:
                with self.subTest(config=config):
                    self.assertEqual(run("compile", path, "-o", program, "--config", config).returncode, 0)
                    result = run("run", program, "--device", "iss,systemc", "--report", report)
                    self.assertEqual(result.returncode, 0, result.stderr)
                    document = json.loads(report.read_text())
                    self.assertEqual(document["host_operators"], [])
                    self.assertTrue(all(d["matches_reference"] for d in document["devices"]))
                    moved = [e["reason"].split(", ", 1)[1] for e in document["edge_operators"] if " on the way" in e["reason"]]
                    self.assertEqual(sorted(moved), ["Reshape and Transpose and Reshape on the way", "Reshape and Transpose and Slice on the way",
                                                     "Reshape and Transpose on the way", "Transpose on the way"])

    def test_reshapes_that_only_the_host_reads(self):
        """Behind a transpose that is a view, behind a step of the host, behind the input, and in a row."""
        b = Builder("reshaped", 6)
        image = b.input("image", [1, 6, 10, 9])
        x = b.relu(b.conv(image, 6, 32, 3))
        shapes = {name: b.constant(np.array(s), "shape", np.int64)
                  for name, s in (("matrix", [1, 90, 32]), ("rows", [90, 32]), ("flat", [1, 2880]), ("image", [1, 540]))}
        last = b.node("Transpose", [x], perm=[0, 2, 3, 1])
        b.output(b.node("Reshape", [last, shapes["matrix"]]), [1, 90, 32])
        b.output(b.node("Reshape", [b.node("Reshape", [last, shapes["flat"]]), shapes["rows"]]), [90, 32])
        b.output(b.node("Reshape", [b.node("Softmax", [b.conv(x, 32, 32, 1)], axis=1), shapes["flat"]]), [1, 2880])
        b.output(b.node("Reshape", [image, shapes["image"]]), [1, 540])
        quantized = quantize(b.model(), random_feeds(b.model(), 2, 3), per_channel=False)
        with tempfile.TemporaryDirectory() as folder:
            path, program = Path(folder) / "m.onnx", Path(folder) / "m.octile"
            onnx.save(quantized, path)
            for config in CONFIGS:
                with self.subTest(config=config):
                    self.assertEqual(run("compile", path, "-o", program, "--config", config).returncode, 0)
                    result = run("run", program, "--device", "iss,systemc")
                    self.assertEqual(result.returncode, 0, result.stderr)

    def test_normalization_of_any_rank_and_number_of_channels(self):
        """Behind an image, a matrix product and a flattened image, with a table behind, and with more channel blocks than parameter sets."""
        d = Drawn(3)
        b = d.b = Builder("normalized", 3)
        x = b.relu(b.conv(b.input("image", [1, 5, 6, 7]), 5, 300, 1))
        plain = d.norm(b.input("plain", [1, 20, 6, 7]), 20)
        images = b.silu(d.norm(b.node("Concat", [x, plain], axis=1), 320))
        b.output(images, [1, 320, 6, 7])
        flat = b.node("Reshape", [images, b.constant(np.array([1, 320, -1]), "shape", np.int64)])
        b.output(d.norm(flat, 320), [1, 320, 42])
        rows = b.gemm(b.flatten(b.node("GlobalAveragePool", [images])), 320, 13)
        b.output(d.norm(rows, 13), [1, 13])
        model = b.model()
        with tempfile.TemporaryDirectory() as folder:
            path, program = Path(folder) / "m.onnx", Path(folder) / "m.octile"
            onnx.save(quantize(model, random_feeds(model, 2, 3), per_channel=True), path)
            for config in CONFIGS:
                result = run("run", path, "--device", "iss,systemc", "--config", config, "--require-device")
                self.assertEqual(result.returncode, 0, f"{config}: {result.stderr}")
                self.assertEqual(run("compile", path, "-o", program, "--config", config).returncode, 0)
                self.assertIn("mode=AFFINE", run("disasm", program).stdout)

    def instructions(self, build, config="base"):
        """Names of the instructions of a network that `build` adds to a builder after a first convolution to 32 channels."""
        b = Builder("placed", 7)
        x = b.relu(b.conv(b.input("image", [1, 3, 16, 16]), 3, 32, 3))
        y, channels = build(b, x)
        b.output(b.gemm(b.flatten(b.node("GlobalAveragePool", [b.relu(b.conv(y, channels, 32, 1))])), 32, 10), [1, 10])
        model = b.model()
        with tempfile.TemporaryDirectory() as folder:
            path, program = Path(folder) / "m.onnx", Path(folder) / "m.octile"
            # One scale for all tensors that meet in a concatenation: then nothing is left but the placement.
            onnx.save(quantize(model, random_feeds(model, 2, 3), per_channel=False, ForceQuantizeNoInputCheck=True), path)
            self.assertEqual(run("run", path, "--device", "iss,systemc", "--config", config).returncode, 0)
            self.assertEqual(run("compile", path, "-o", program, "--config", config).returncode, 0)
            lines = run("disasm", program).stdout.splitlines()
        words = [word for line in lines for word in line.split()]
        return {name: words.count(name) for name in ("mma", "elt", "win", "pack", "lda", "sta")}

    def test_split_and_concat_of_whole_blocks_move_nothing(self):
        def plain(b, x):
            return b.max_pool(b.max_pool(x, 3, 1, (1,) * 4), 3, 1, (1,) * 4), 32

        def split(b, x):  # maxima keep the scale, so that no table stands between
            left, right = b.node("Split", [x], outputs=2, axis=1)
            pooled = b.node("Concat", [b.max_pool(left, 3, 1, (1,) * 4), b.max_pool(right, 3, 1, (1,) * 4)], axis=1)
            return pooled, 32

        for config in ("small", "base"):
            with self.subTest(config=config):
                moved = self.instructions(split, config)
                self.assertEqual(moved["mma"], self.instructions(plain, config)["mma"])
                self.assertEqual(moved["elt"], self.instructions(plain, config)["elt"])

    def test_reshape_behind_a_host_step(self):
        b = Builder("reshaped", 3)
        x = b.relu(b.conv(b.input("image", [1, 3, 68, 22]), 3, 48, 3))
        b.output(b.gemm(b.flatten(b.node("GlobalAveragePool", [x])), 48, 10), [1, 10])  # 68 rows: more than the unit sums
        model = b.model()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "reshaped.onnx"
            onnx.save(quantize(model, random_feeds(model, 2, 3), per_channel=True), path)
            result = run("run", path, "--device", "iss", "--config", "base")
            self.assertEqual(result.returncode, 0, result.stderr)


if __name__ == "__main__":
    unittest.main()
