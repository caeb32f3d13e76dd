"""The files of models/ against ONNX Runtime and against their generators. Runs in the environment of scripts/venv."""

import sys
import unittest
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
sys.path.insert(0, str(ROOT / "scripts/models"))

import networks  # noqa: E402
import quantize  # noqa: E402


def load(name):
    return onnx.load(MODELS / f"{name}.onnx")


def structure(model):
    """What does not depend on the processor: interface, nodes, and shapes and types of constants."""
    attributes = {n.name: {a.name: onnx.helper.get_attribute_value(a) for a in n.attribute} for n in model.graph.node}
    return {
        "opsets": {o.domain: o.version for o in model.opset_import},
        "inputs": [str(v.type) for v in model.graph.input],
        "outputs": [v.name for v in model.graph.output],
        "nodes": {n.name: (n.op_type, list(n.input), list(n.output), str(attributes[n.name])) for n in model.graph.node},
        "constants": {i.name: (list(i.dims), i.data_type) for i in model.graph.initializer},
    }


class Digits(unittest.TestCase):
    def test_accuracy_on_the_shipped_images(self):
        images, labels = (np.load(MODELS / f"digits_{what}.npy") for what in ("images", "labels"))
        self.assertEqual((images.dtype, images.shape, labels.shape), (np.uint8, (300, 1, 28, 28), (300,)))
        self.assertEqual(set(labels), set(range(10)))
        scores = quantize.run(load("digits"), {"image": images})[0]
        hits = int((scores.argmax(axis=1) == labels).sum())
        self.assertEqual(hits, 297, "models/README.md promises 99.0 %")

    def test_shape_of_the_network(self):
        operators = [n.op_type for n in load("digits").graph.node if n.op_type not in ("QuantizeLinear", "DequantizeLinear")]
        self.assertEqual(operators, ["Cast", "Mul", "Conv", "MaxPool", "Conv", "MaxPool", "Flatten", "Gemm", "Gemm"])


class Networks(unittest.TestCase):
    def test_every_model_is_known(self):
        self.assertEqual({p.stem for p in MODELS.glob("*.onnx")}, {"digits", *networks.NETWORKS})

    def test_every_model_runs_and_uses_its_codes(self):
        for name in networks.NETWORKS:
            with self.subTest(model=name):
                model = load(name)
                feeds = quantize.random_feeds(model, 4, seed=3)
                for tensor, size, used, _ in quantize.code_spread(model, feeds):
                    self.assertGreaterEqual(used, min(16, size // 4), f"{tensor}: of {size} elements")
                first, second = (quantize.run(model, feed)[0] for feed in feeds[:2])
                self.assertTrue(np.isfinite(first).all())
                self.assertFalse(np.array_equal(first, second), "the output does not depend on the input")

    def test_every_model_is_what_its_generator_makes(self):
        for name in networks.NETWORKS:
            with self.subTest(model=name):
                committed, made = load(name), networks.build(name, log=lambda _: None)
                self.assertEqual(structure(committed), structure(made))
                constants = {i.name: numpy_helper.to_array(i) for i in made.graph.initializer}
                for initializer in committed.graph.initializer:
                    old, new = numpy_helper.to_array(initializer), constants[initializer.name]
                    # Float sums differ in the last bits between processors, and with them a code or a bias by little.
                    slack = np.maximum(1, 1e-4 * np.abs(old.astype(np.float64))) if old.dtype.kind in "iu" \
                        else 1e-4 * np.abs(old) + 1e-9
                    difference = np.abs(old.astype(np.float64) - new.astype(np.float64))
                    self.assertTrue((difference <= slack).all(), f"{initializer.name} differs: run scripts/make_models")


if __name__ == "__main__":
    unittest.main()
