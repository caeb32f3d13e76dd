"""Full-size networks with seeded weights, quantized in several variants: python zoo.py OUTPUT_DIR [NAME[.VARIANT]]...

Writes OUTPUT_DIR/NAME.VARIANT.onnx, and OUTPUT_DIR/NAME.input.npy and NAME.input2.npy: photographs as the network takes them. What is
there is kept. Ranges of the calibration are cached in OUTPUT_DIR/cache. See docs/zoo.md.
"""

import hashlib
import logging
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import zoo_networks
from onnxruntime import quantization
from onnxruntime.quantization import QuantFormat, QuantType

onnxruntime.set_default_logger_severity(3)
logging.getLogger().setLevel(logging.ERROR)  # the quantizer advises pre-processing even where there is nothing to fold

NETWORKS = zoo_networks.NETWORKS
VARIANTS = {
    # quantize_static's default: int8, asymmetric activations
    "s8": {"activation_type": QuantType.QInt8, "per_channel": False, "extra_options": {}},
    "u8pc": {"activation_type": QuantType.QUInt8, "per_channel": True, "extra_options": {}},
    "s8sym": {"activation_type": QuantType.QInt8, "per_channel": False, "extra_options": {"ActivationSymmetric": True}},
}


class _Feeds(quantization.CalibrationDataReader):
    def __init__(self, name, images):
        self.iterator = iter([{name: image} for image in images])

    def get_next(self):
        return next(self.iterator, None)


def quantize(source, target, variant, images, ranges):
    """Quantizes the float model in the file `source` into `target`, calibrated (minimum and maximum) on `images`.

    ranges: file of the calibrated ranges, the same for all variants; used when it exists, else written.
    """
    model = onnx.load(source, load_external_data=False)
    options = VARIANTS[variant]
    fresh = ranges.with_name(f"{ranges.name}.part")
    quantization.quantize_static(
        str(source), str(target), _Feeds(model.graph.input[0].name, images), quant_format=QuantFormat.QDQ,
        weight_type=QuantType.QInt8, nodes_to_exclude=zoo_networks.float_nodes(model),
        calibration_cache_path=ranges if ranges.exists() else fresh, **options)
    if fresh.exists():
        fresh.rename(ranges)


def build(name, variants, folder):
    """Writes the missing files of one network."""
    import photos  # needs scripts/venv --models, unlike everything else here

    start = time.monotonic()
    entry = NETWORKS[name]
    network = entry.build()
    model = network.model()
    macs = zoo_networks.count_macs(model)
    if abs(macs / 1e9 / entry.gmacs - 1) > 0.01:
        sys.exit(f"zoo: {name} has {macs / 1e9:.4f} G multiply-accumulates; published: {entry.gmacs} ({entry.source})")
    images = photos.calibration_inputs(*zoo_networks.input_size(model), entry.normalization)
    for i, image in enumerate(photos.test_inputs(*zoo_networks.input_size(model), entry.normalization)):
        target = folder / f"{name}.input{i + 1 if i else ''}.npy"
        if not target.exists():
            with open(f"{target}.part", "wb") as file:
                np.save(file, image)
            Path(f"{target}.part").rename(target)
    del model
    model = zoo_networks.exported(network, images[::2])
    del network
    cache = folder / "cache"
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        source = Path(work) / "float.onnx"
        onnx.save(model, source)
        del model
        key = hashlib.sha256(source.read_bytes() + b"".join(i.tobytes() for i in images)).hexdigest()[:16]
        for variant in variants:
            target = folder / f"{name}.{variant}.onnx"
            quantize(source, f"{target}.part", variant, images, cache / f"{name}.{key}.json")
            Path(f"{target}.part").rename(target)
            print(f"{target.name}: {macs / 1e9:.3f} GMAC, {target.stat().st_size / 2**20:.1f} MiB, "
                  f"{time.monotonic() - start:.0f} s", flush=True)
            start = time.monotonic()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    wanted = {}
    for argument in sys.argv[2:] or NETWORKS:
        name, _, only = argument.partition(".")
        if name not in NETWORKS or (only and only not in VARIANTS):
            sys.exit(f"zoo: no network '{argument}'; networks: {', '.join(NETWORKS)}; variants: {', '.join(VARIANTS)}")
        wanted.setdefault(name, {}).update(dict.fromkeys([only] if only else VARIANTS))
    folder.mkdir(parents=True, exist_ok=True)
    for name, variants in wanted.items():
        missing = [v for v in variants if not (folder / f"{name}.{v}.onnx").exists()]
        inputs = [folder / f"{name}.input.npy", folder / f"{name}.input2.npy"]
        if missing or not all(i.exists() for i in inputs):
            build(name, missing, folder)


if __name__ == "__main__":
    main()
