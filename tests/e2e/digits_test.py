"""The trained classifier on all labelled images: output codes equal ONNX Runtime's on every device, and the accuracy is that of ONNX Runtime.

Usage: digits_test.py OCTILE MODELS
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime


def main() -> int:
    octile, models = sys.argv[1], pathlib.Path(sys.argv[2])
    model = models / "digits.onnx"
    images = np.load(models / "digits_images.npy")
    labels = np.load(models / "digits_labels.npy")
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.add_session_config_entry("session.disable_double_qdq_remover", "1")
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    output = session.get_outputs()[0].name
    expected = np.concatenate([session.run([output], {name: image[None]})[0] for image in images])
    with tempfile.TemporaryDirectory() as folder:
        report_file = pathlib.Path(folder) / "report.json"
        command = [octile, "run", str(model), "--device", "all", "--input", f"{name}={models / 'digits_images.npy'}",
                   "--labels", f"{output}={models / 'digits_labels.npy'}", "--output-dir", folder, "--report", str(report_file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        print(done.stdout)
        assert done.returncode == 0, done.stderr
        report = json.loads(report_file.read_text())
        correct = int((expected.argmax(axis=1) == labels).sum())
        assert correct > 0.95 * len(labels), f"ONNX Runtime classifies {correct} of {len(labels)}"
        for device in ("reference", "iss", "systemc", "rtl"):
            actual = np.load(pathlib.Path(folder) / device / f"{output}.npy")
            assert actual.dtype == expected.dtype and actual.shape == expected.shape, (device, actual.dtype, actual.shape)
            wrong = np.argwhere(actual != expected)
            assert wrong.size == 0, f"{device}: {len(wrong)} of {expected.size} values differ from ONNX Runtime, first at {wrong[0]}"
        for device in report["devices"]:
            assert device["accuracy"] == {"correct": correct, "images": len(labels)}, device["accuracy"]
    print(f"{len(images)} images, {expected.size} outputs equal on reference, iss, systemc, rtl; {correct} classified right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
