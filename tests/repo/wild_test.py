"""`octile run` on models that contain what files in the wild contain (scripts/models/wild.py), against ONNX Runtime.

    build/venv/bin/python tests/repo/wild_test.py build/bin/octile [unittest's arguments]
"""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/models"))

import wild  # noqa: E402

EXIT_MODEL = 3  # the exit code of a refused model
PROGRAM = None


class WildModels(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="octile wild ")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        wild.write(cls.folder)

    def octile(self, folder, entry, *options):
        command = [PROGRAM, "run", folder / "model.onnx", "--device", "iss", *entry["options"], *options]
        for name in entry.get("inputs", ()):
            command += ["--input", f"{name}={folder / f'input_{name}.npy'}"]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)

    def check_run(self, entry):
        folder = self.folder / entry["name"]
        out, report = folder / "out", folder / "report.json"
        result = self.octile(folder, entry, "--output-dir", out, "--report", report)
        self.assertEqual(result.returncode, 0, result.stderr + result.stdout[-2000:])
        for name in entry["outputs"]:
            expected, computed = np.load(folder / f"output_{name}.npy"), np.load(out / "iss" / f"{name}.npy")
            self.assertEqual((computed.dtype, computed.shape), (expected.dtype, expected.shape), name)
            difference = np.abs(expected.astype(np.float64) - computed.astype(np.float64)).max()
            self.assertLessEqual(difference, entry["tolerance"] * 1.0001, name)
        hosted = json.loads(report.read_text())["host_operators"]
        self.assertEqual(bool(hosted), entry["host_step"], hosted)
        if entry["host_step"]:
            self.assertNotEqual(self.octile(folder, entry, "--require-device").returncode, 0)

    def check_refusal(self, entry):
        result = self.octile(self.folder / entry["name"], entry)
        self.assertEqual(result.returncode, EXIT_MODEL, result.stderr + result.stdout[-2000:])
        for word in entry["refused"]:
            self.assertIn(word.lower(), result.stderr.lower())


def _test(entry):
    def test(self):
        (self.check_refusal if entry["refused"] else self.check_run)(
            next(e for e in json.loads((self.folder / "cases.json").read_text()) if e["name"] == entry["name"]))
    test.__doc__ = f"{entry['construct']}: {'refused' if entry['refused'] else 'runs'}"
    return test


for _entry in wild.CASES:
    setattr(WildModels, f"test_{_entry['name']}", _test(_entry))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    PROGRAM = Path(sys.argv.pop(1)).resolve()
    unittest.main()
