"""--timing-only on every shipped model and configuration: the cycles, counters and layers of the run with data, nothing checked,
exit 0; what it cannot do is refused. The run with data keeps within the memory bound of its report (OCTILE_CHECK_MEMORY; sanitizers
need more).

Usage: timing_only_test.py OCTILE MODELS CONFIG...
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

SAME = ("cycle_exact", "cycles", "milliseconds", "utilization", "utilization_all_multipliers", "stalls", "queues", "bytes", "bandwidth_gb_per_s", "layers")


class Runs:
    def __init__(self, octile: str, folder: str):
        self.octile = octile
        self.report_file = pathlib.Path(folder) / "report.json"
        self.folder = folder
        self.failures: list[str] = []

    def call(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([self.octile, "run", *arguments], capture_output=True, text=True, timeout=900, check=False)

    def report(self, *arguments: str) -> tuple[dict, str]:
        done = self.call(*arguments, "--report", str(self.report_file))
        if done.returncode != 0:
            self.failures.append(f"{arguments}: exit {done.returncode}\n{done.stderr}")
            return {}, ""
        return json.loads(self.report_file.read_text()), done.stdout

    def expect(self, what: str, condition: bool) -> None:
        if not condition:
            self.failures.append(what)

    def compare(self, model: pathlib.Path, config: str) -> None:
        name = f"{model.stem} on {config}"
        full, _ = self.report(str(model), "--config", config, "--device", "systemc")
        timing, text = self.report(str(model), "--config", config, "--timing-only")
        if not full or not timing:
            return
        with_data, without = full["devices"][0], timing["devices"]
        self.expect(f"{name}: devices {without}", [d["name"] for d in without] == ["systemc"])
        self.expect(f"{name}: with data not checked", with_data["matches_reference"] is True and not full["timing_only"])
        self.expect(f"{name}: claims to have checked", without[0]["matches_reference"] is None and timing["timing_only"] is True)
        if "OCTILE_CHECK_MEMORY" in os.environ:
            peak, bound = full["host"]["peak_memory_bytes"], full["host_memory_bound_bytes"]
            self.expect(f"{name}: {peak} bytes of memory, the bound is {bound}", peak <= bound)
        self.expect(f"{name}: reference ran", timing["host"]["reference_seconds"] is None)
        self.expect(f"{name}: report does not say so", "not checked" in text)
        for key in SAME:
            self.expect(f"{name}: {key} differs: {with_data[key]} with data, {without[0][key]} without", with_data[key] == without[0][key])
        for key in set(full) - {"devices", "host", "timing_only"}:
            self.expect(f"{name}: {key} differs", full[key] == timing[key])
        print(f"{model.stem:18} {config:6} {without[0]['cycles']:>9} cycles both ways", flush=True)

    def refuse(self, says: str, *arguments: str) -> None:
        done = self.call(*arguments)
        self.expect(f"{arguments}: exit {done.returncode}, {done.stderr}", done.returncode == 2 and says in done.stderr and "--timing-only" in done.stderr)


def main() -> int:
    octile, models, configs = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    files = sorted(models.glob("*.onnx"))
    assert len(files) >= 8, f"only {len(files)} models in {models}"
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(octile, folder)
        for config in configs:
            for file in files:
                runs.compare(file, config)
        model = str(models / "mlp.onnx")
        for device in ("all", "iss", "rtl", "systemc,iss"):
            runs.refuse(device, model, "--timing-only", "--device", device)
        runs.refuse("timing_only=1", model, "--device", "systemc?timing_only=1")
        runs.refuse("--output-dir", model, "--timing-only", "--output-dir", folder)
        runs.refuse("--labels", model, "--timing-only", "--labels", f"scores={models / 'digits_labels.npy'}")
    for failure in runs.failures:
        print("FAILED", failure)
    return 1 if runs.failures else 0


if __name__ == "__main__":
    sys.exit(main())
