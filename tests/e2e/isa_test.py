"""Every instruction set of the host computes the same: OCTILE_ISA limits the reference and the simulators alike, so a run on each
must match and its outputs be those of every other; a name that is none is refused.

Usage: isa_test.py OCTILE MODELS
"""

import os
import pathlib
import subprocess
import sys
import tempfile

NAMES = ("scalar", "avx2", "avx512", "avx512vnni")


def main() -> int:
    octile, models = sys.argv[1], pathlib.Path(sys.argv[2])
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        for model in ("odd_sizes", "mobilenet_tiny"):
            outputs = {}
            for name in NAMES:
                command = [octile, "run", str(models / f"{model}.onnx"), "--device", "iss,systemc", "--config", "small", "--seed", "3", "--output-dir", f"{folder}/{model}.{name}"]
                done = subprocess.run(command, env={**os.environ, "OCTILE_ISA": name}, capture_output=True, text=True, timeout=300, check=False)
                if done.returncode != 0:
                    failures.append(f"OCTILE_ISA={name} {' '.join(command)}: exit {done.returncode}\n{done.stderr}")
                root = pathlib.Path(folder) / f"{model}.{name}"
                outputs[name] = {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*.npy"))}
            if not outputs["scalar"]:
                failures.append(f"{model}: no outputs")
            failures += [f"{model}: outputs with {name} differ from those with scalar" for name in NAMES if outputs[name] != outputs["scalar"]]
        done = subprocess.run([octile, "run", str(models / "mlp.onnx"), "--device", "iss"], env={**os.environ, "OCTILE_ISA": "neon"}, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 2 or "'neon'" not in done.stderr:
            failures.append(f"OCTILE_ISA=neon: exit {done.returncode}, {done.stderr}")
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
