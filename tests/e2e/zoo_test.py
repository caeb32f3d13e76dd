"""The networks of the zoo: their size, their export, and two of them at a small resolution through octile and ONNX Runtime.

OCTILE and REFERENCE_RUN in the environment name the programs. No photographs and no network access are needed.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

MODELS = Path(__file__).resolve().parents[2] / "scripts/models"
sys.path.insert(0, str(MODELS))
import zoo  # noqa: E402
import zoo_check  # noqa: E402
import zoo_networks  # noqa: E402


class Zeros:
    """Stands in for a random generator: no memory, whatever the shape."""

    @staticmethod
    def normal(low, high, shape=()):
        return np.broadcast_to(np.float64(0), shape)

    uniform = normal


class Weightless(zoo_networks.Network):
    """Large weights become graph inputs, of which shape inference needs the shape only."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.rng = Zeros()

    def constant(self, value, stem="constant", dtype=np.float32):
        if np.size(value) < 5000:
            return super().constant(value, stem, dtype)
        name = self.unique(stem, first=stem)
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.inputs.append(onnx.helper.make_tensor_value_info(name, kind, np.shape(value)))
        return name


def float_run(model, feeds, names=None):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(names, feeds)


def pictures(count, height, width, seed=1):
    """Smooth seeded images from 0 to 1."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(count):
        coarse = rng.uniform(0, 1, (1, 3, height // 8, width // 8)).repeat(8, axis=2).repeat(8, axis=3)
        result.append((0.8 * coarse + 0.2 * rng.uniform(0, 1, coarse.shape)).astype(np.float32))
    return result


class DescriptionTest(unittest.TestCase):
    def test_multiply_accumulates_are_the_published_ones(self):
        with mock.patch.object(zoo_networks, "Network", Weightless):
            for name, entry in zoo_networks.NETWORKS.items():
                with self.subTest(network=name):
                    macs = zoo_networks.count_macs(entry.build().model())
                    self.assertLess(abs(macs / 1e9 / entry.gmacs - 1), 0.01, f"{macs} against {entry.gmacs}e9: {entry.source}")

    def test_count_by_hand(self):
        b = zoo_networks.Network("small", 0)
        x = b.conv(b.input("image", [1, 6, 10, 8]), 6, 4, (3, 5), stride=2, group=2)  # 4 x 5 x 4 outputs of 3·3·5
        b.output(b.gemm(b.flatten(x), 80, 7), [1, 7])
        self.assertEqual(zoo_networks.count_macs(b.model()), 4 * 5 * 4 * 3 * 3 * 5 + 80 * 7)

    def test_unknown_names_are_refused(self):
        for wrong in ("resnet19", "resnet18.s9", ""):
            with tempfile.TemporaryDirectory() as folder:
                result = subprocess.run([sys.executable, MODELS / "zoo.py", folder, wrong], capture_output=True, text=True,
                                        check=False, timeout=60)
                self.assertEqual(result.returncode, 1)
                self.assertIn(f"zoo: no network '{wrong}'; networks: resnet18, ", result.stderr)
                self.assertIn("variants: s8, u8pc, s8sym", result.stderr)
                self.assertEqual(list(Path(folder).iterdir()), [])


class ExportTest(unittest.TestCase):
    def setUp(self):
        """Convolution, norm, fan-out, convolution without a norm behind it, concatenation, norm."""
        b = zoo_networks.Network("small", 3)
        x = b.relu(b.conv_bn(b.image(16, 16), 3, 8, 3))
        y = b.concat([x, b.conv(x, 8, 5, 1, bias=False)])
        b.output(b.batch_norm(y, 13), [1, 13, 16, 16], "result")
        self.network, self.images = b, pictures(2, 16, 16)
        self.model = zoo_networks.exported(b, self.images)

    def test_norms_behind_convolutions_are_folded_and_others_stay(self):
        self.assertEqual([n.op_type for n in self.model.graph.node], ["Conv", "Relu", "Conv", "Concat", "BatchNormalization"])
        self.assertEqual([len(n.input) for n in self.model.graph.node if n.op_type == "Conv"], [3, 2])
        used = {i for n in self.model.graph.node for i in n.input}
        self.assertEqual({i.name for i in self.model.graph.initializer}, used - {"image"} - {o for n in self.model.graph.node
                                                                                          for o in n.output})

    def test_folding_changes_nothing_but_rounding(self):
        unfolded = self.network.model()
        statistics = zoo_networks._statistics(unfolded, self.images)  # pylint: disable=protected-access
        for node in unfolded.graph.node:
            if node.op_type == "BatchNormalization":
                for name, value in zip(node.input[3:], statistics[node.name]):
                    next(i for i in unfolded.graph.initializer if i.name == name).CopyFrom(numpy_helper.from_array(value, name))
        feed = {"image": self.images[0]}
        expected, result = float_run(unfolded, feed)[0], float_run(self.model, feed)[0]
        self.assertLess(np.max(np.abs(expected - result)), 1e-4)
        self.assertGreater(np.std(result), 0.3)

    def test_a_norm_keeps_the_convolution_when_somebody_else_reads_it(self):
        b = zoo_networks.Network("small", 3)
        x = b.conv(b.image(16, 16), 3, 8, 3, bias=False)
        b.output(b.add(b.batch_norm(x, 8), x), [1, 8, 16, 16], "result")
        model = zoo_networks.exported(b, self.images)
        self.assertEqual([n.op_type for n in model.graph.node], ["Conv", "BatchNormalization", "Add"])


class SmallNetworkTest(unittest.TestCase):
    def check(self, network, variant):
        """Quantizes, runs octile on ISS and SystemC, compares with ONNX Runtime; returns the report and the comparison's text."""
        images = pictures(3, 64, 64)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        folder = Path(folder.name)
        model = zoo_networks.exported(network, images[:2])
        onnx.save(model, folder / "float.onnx")
        target = folder / f"{network.name}.{variant}.onnx"
        zoo.quantize(folder / "float.onnx", target, variant, images[:2], folder / "ranges.json")
        again = folder / "again.onnx"
        self.assertTrue((folder / "ranges.json").exists())
        zoo.quantize(folder / "float.onnx", again, variant, [], folder / "ranges.json")
        self.assertEqual(target.read_bytes(), again.read_bytes(), "from cached ranges")
        np.save(folder / f"{network.name}.input.npy", images[2])

        report = folder / "report.json"
        run = subprocess.run([os.environ["OCTILE"], "run", target, "--device", "iss,systemc", "--config", "base", "--report", report,
                              "--input", f"image={folder / f'{network.name}.input.npy'}"], capture_output=True, text=True,
                             check=False, timeout=300)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        report = json.loads(report.read_text())
        self.assertEqual([d["matches_reference"] for d in report["devices"]], [True, True])

        log = io.StringIO()
        arguments = ["zoo_check", "--tool", os.environ["REFERENCE_RUN"], str(target)]
        with mock.patch.object(sys, "argv", arguments), contextlib.redirect_stdout(log):
            self.assertEqual(zoo_check.main(), 0, log.getvalue())
        return report, log.getvalue()

    def test_yolov5n(self):
        network = zoo_networks._yolov5n(64, 64)  # pylint: disable=protected-access
        report, log = self.check(network, "s8")
        self.assertEqual(report["device_macs"], zoo_networks.count_macs(network.model()))
        self.assertIn("whole output head2: 0 of 1020 differ, largest 0 of the largest value; integer kernels throughout", log)
        self.assertIn("| Conv | integer | 60 |", log)

    def test_yolov8n_symmetric(self):
        network = zoo_networks._yolov8n(64)  # pylint: disable=protected-access
        report, log = self.check(network, "s8sym")
        self.assertIn("| Conv | integer | 63 |", log)
        # All but the expectation over 16 bins, which belongs to the float tail.
        boxes = 8 * 8 + 4 * 4 + 2 * 2
        self.assertEqual(report["device_macs"], zoo_networks.count_macs(network.model()) - 4 * boxes * 16)

    def test_a_wrong_code_is_found(self):
        network = zoo_networks.Network("small", 3)
        x = network.conv_relu(network.image(16, 16), 3, 8, 3)
        network.output(network.conv(x, 8, 4, 1), [1, 4, 16, 16], "result")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        images = pictures(2, 16, 16)
        source, target = Path(folder.name) / "float.onnx", Path(folder.name) / "small.onnx"
        onnx.save(zoo_networks.exported(network, images), source)
        zoo.quantize(source, target, "u8pc", images, Path(folder.name) / "ranges.json")
        model = onnx.load(target)
        feeds = {"image": images[0]}
        with tempfile.TemporaryDirectory() as work:
            outputs, tensors, _ = zoo_check.ort_side.run_reference(os.environ["REFERENCE_RUN"], str(target), feeds, work)
        quantized = [n.output[0] for n in model.graph.node if n.op_type == "QuantizeLinear"]
        last = quantized[-1]
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(zoo_check.check_operators(zoo_check.Graph(model, feeds, tensors, outputs), "right"), 0)
            tensors[last] = tensors[last].copy()
            tensors[last].flat[17] ^= 1
            # The operator that computes the code and the output that is dequantized from it.
            self.assertEqual(zoo_check.check_operators(zoo_check.Graph(model, feeds, tensors, outputs), "wrong"), 2)


if __name__ == "__main__":
    unittest.main()
