"""Networks drawn at test time: concatenations, splits, shuffles, depthwise and residual blocks of odd sizes, through the whole stack.

OCTILE in the environment names the program; SEED and COUNT replay or widen the draw. Every network runs on the instruction simulator and
the SystemC model of every named configuration, each step compared with the reference.
"""

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


class Drawn:
    """A random network: a list of feature maps (name, channels, height, width) that grows by random blocks."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.b = Builder(f"drawn{seed}", seed)
        height, width = self.random.choice([(12, 12), (16, 9), (23, 17), (33, 40)])
        channels = self.random.choice([1, 3, 3, 5])
        image = self.b.input("image", [1, channels, height, width])
        out, kernel, stride = self.channels(), self.random.choice([3, 5, 6, 7]), self.random.choice([1, 2])
        x = self.b.conv(image, channels, out, kernel, stride=stride, pads=[kernel // 2] * 4)
        size = [(s + 2 * (kernel // 2) - kernel) // stride + 1 for s in (height, width)]
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
        kind = self.random.choice(["conv", "depthwise", "residual", "concat", "concat", "split", "shuffle", "pool", "resize", "dense", "rows",
                                   "units", "units", "slices"])
        if kind == "conv":
            return self.conv(source, stride=self.random.choice([1, 1, 2]))
        if kind == "depthwise":
            kernel, stride = self.random.choice([3, 3, 5, 7]), self.random.choice([1, 1, 2])
            y = self.activate(self.b.depthwise(x, channels, kernel, stride=stride))
            return (y, channels, (height - 1) // stride + 1, (width - 1) // stride + 1)
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

    def model(self, steps=6):
        for _ in range(steps):
            grown = self.step()
            self.maps.append(grown if grown[1] <= 256 else self.conv(grown, 32, 1))
        x, channels, height, width = self.maps[-1]
        if self.random.random() < 0.4:  # a detection head: flattened images, concatenated along the positions
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
                path = Path(folder) / f"drawn{seed}.onnx"
                onnx.save(quantized, path)
                for config in CONFIGS:
                    with self.subTest(seed=seed, config=config):
                        result = run("run", path, "--device", "iss,systemc", "--config", config)
                        self.assertEqual(result.returncode, 0, f"replay: SEED={seed} COUNT=1; {result.stderr}")

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


if __name__ == "__main__":
    unittest.main()
