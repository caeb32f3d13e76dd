"""Every shipped model on all devices of one configuration: every step equal to the reference, SystemC and RTL cycle for cycle
equal, stalls that add up to the cycle count.

Usage: models_test.py OCTILE MODELS CONFIG
"""

import json
import pathlib
import subprocess
import sys
import tempfile


def main() -> int:
    octile, models, config = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    files = sorted(models.glob("*.onnx"))
    assert len(files) >= 8, f"only {len(files)} models in {models}"
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            report_file = pathlib.Path(folder) / "report.json"
            command = [octile, "run", str(file), "--config", config, "--device", "all", "--seed", "11", "--report", str(report_file)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
            if done.returncode != 0:
                failures.append(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
                continue
            report = json.loads(report_file.read_text())
            devices = {device["name"]: device for device in report["devices"]}
            problems = []
            if set(devices) != {"iss", "systemc", "rtl"}:
                problems.append(f"devices {sorted(devices)}")
            for name, device in devices.items():
                if device["matches_reference"] is not True:
                    problems.append(f"{name} matches_reference {device['matches_reference']}")
            for name in ("systemc", "rtl"):
                device = devices[name]
                if sum(device["stalls"].values()) != device["cycles"]:
                    problems.append(f"{name}: stalls add up to {sum(device['stalls'].values())}, cycles {device['cycles']}")
                for queue, classes in device["queues"].items():
                    if sum(classes.values()) != device["cycles"]:
                        problems.append(f"{name}: queue {queue} adds up to {sum(classes.values())}")
                if sum(layer["cycles"] for layer in device["layers"]) != device["cycles"]:
                    problems.append(f"{name}: layers do not add up")
                for kind, count in device["bytes"].items():
                    if sum(layer["bytes"][kind] for layer in device["layers"]) != count:
                        problems.append(f"{name}: {kind} bytes of the layers do not add up to {count}")
                if not 0 < device["utilization"] <= 1:
                    problems.append(f"{name}: utilization {device['utilization']}")
            for key in ("cycles", "queues", "bytes", "layers"):
                if devices["systemc"][key] != devices["rtl"][key]:
                    problems.append(f"{key} differ between systemc and rtl")
            if report["divergence"] is not None:
                problems.append(report["divergence"])
            if problems:
                failures.append(f"{' '.join(command)}: " + "; ".join(problems))
            rtl = devices["rtl"]
            error = report["estimated_cycles"] / rtl["cycles"] - 1
            print(f"{file.stem:18} {config:6} {rtl['cycles']:>9} cycles  {100 * rtl['utilization']:5.1f} %  estimate {100 * error:+5.1f} %", flush=True)
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
