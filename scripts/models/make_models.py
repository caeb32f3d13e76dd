"""Builds the files of models/. Called by scripts/make_models; see models/README.md for what each one is for."""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import onnx

import digits as digits_model
import networks

ROOT = Path(__file__).resolve().parents[2]


def digits(folder):
    model, images, labels = digits_model.build()
    np.save(folder / "digits_images.npy", images)
    np.save(folder / "digits_labels.npy", labels.astype(np.uint8))
    return model


def network(name):
    return lambda folder: networks.build(name)


MODELS = {"digits": digits, **{name: network(name) for name in networks.NETWORKS}}


def main():
    parser = argparse.ArgumentParser(description="Builds the quantized models of models/.")
    parser.add_argument("names", nargs="*", metavar="MODEL", help=f"which ones (default: all of {', '.join(MODELS)})")
    parser.add_argument("--output-dir", type=Path, default=ROOT / "models")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(MODELS)
    if unknown:
        sys.exit(f"make_models: no model is called {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}")
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or MODELS:
        start = time.monotonic()
        print(f"{name}.onnx", flush=True)
        path = arguments.output_dir / f"{name}.onnx"
        onnx.save(MODELS[name](arguments.output_dir), path)
        print(f"  {path.stat().st_size / 1024:.0f} KiB, {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
