"""Cycle counts are what cycles_recorded.json says: they are deterministic, so a change is either meant and recorded, or a mistake.
They are those of the SystemC model without its data (--timing-only), which the tests prove equal to those with data and to the RTL's.

Usage: cycles_test.py OCTILE [--record] SET...
A SET is models:CONFIG,... (every model in models/ on these configurations) or zoo:CONFIG:NAME.VARIANT,... (networks in build/zoo).
With --record the cycles of these sets are written to cycles_recorded.json, what it says about other sets is kept.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDED = pathlib.Path(__file__).with_name("cycles_recorded.json")
HOW_TO_RECORD = "if the change is meant, record it: scripts/bench --record"


def models_of(text: str) -> list[tuple[str, str, pathlib.Path]]:
    """The group, configuration and file of each run of a SET."""
    group, _, rest = text.partition(":")
    if group == "models" and rest:
        files = sorted((ROOT / "models").glob("*.onnx"))
        assert len(files) >= 8, f"only {len(files)} models in models/"
        return [("models", config, file) for config in rest.split(",") for file in files]
    config, _, names = rest.partition(":")
    if group == "zoo" and names:
        return [("zoo", config, ROOT / "build/zoo" / f"{name}.onnx") for name in names.split(",")]
    sys.exit(f"cycles_test: '{text}' is no set\n{__doc__}")


def cycles_of(octile: str, config: str, file: pathlib.Path, folder: str) -> int:
    if not file.exists():
        sys.exit(f"cycles_test: {file.relative_to(ROOT)} is missing; scripts/zoo {file.stem} makes it")
    report = pathlib.Path(folder) / "report.json"
    command = [octile, "run", str(file), "--config", config, "--timing-only", "--report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    devices = json.loads(report.read_text())["devices"]
    return sum(device["cycles"] for device in devices)


def write(recorded: dict) -> None:
    part = RECORDED.with_suffix(".part")
    part.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    os.replace(part, RECORDED)


def main() -> int:
    arguments = sys.argv[1:]
    recording = "--record" in arguments
    octile, *sets = [a for a in arguments if a != "--record"]
    runs = [run for text in sets for run in models_of(text)]
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    failures = []
    if recording:  # models and networks that are no more are forgotten
        for group, config in {(group, config) for group, config, _ in runs}:
            recorded.setdefault(group, {})[config] = {}
    elif any(text.startswith("models:") for text in sets):
        present = {file.stem for file in (ROOT / "models").glob("*.onnx")}
        failures += [f"models/{name}.onnx is recorded but not there; {HOW_TO_RECORD}"
                     for config in recorded["models"].values() for name in config if name not in present]
    with tempfile.TemporaryDirectory() as folder:
        for group, config, file in runs:
            cycles = cycles_of(octile, config, file, folder)
            known = recorded.get(group, {}).get(config, {}).get(file.stem)
            print(f"{file.stem:22} {config:6} {cycles:>12,}", flush=True)
            if recording:
                recorded[group][config][file.stem] = cycles
            elif known is None:
                failures.append(f"{file.stem} on {config}: {cycles:,} cycles, none recorded; {HOW_TO_RECORD}")
            elif known != cycles:
                failures.append(f"{file.stem} on {config}: {cycles:,} cycles, recorded are {known:,} ({100 * (cycles / known - 1) if known else 0:+.2f} %); {HOW_TO_RECORD}")
    if recording:
        write(recorded)
        print(f"recorded in {RECORDED.relative_to(ROOT)}")
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
