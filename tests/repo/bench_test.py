"""scripts/bench on a copy with a stand-in for the octile program: what it measures, keeps, refuses and writes. Standard library only."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/benchmarks"))
import bench  # noqa: E402
import page  # noqa: E402
import plots  # noqa: E402

# Compiles by copying. Its report is that of two layers in 1,000 cycles; what the "model" says changes it.
OCTILE = r'''#!/usr/bin/python3
import json, os, pathlib, sys, time
here = pathlib.Path(__file__).resolve().parent
with open(here / "calls", "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\n")
command, file, *rest = sys.argv[1:]
option = dict(zip(rest, rest[1:]))
text = pathlib.Path(file).read_text()
if command == "compile":
    pathlib.Path(option["-o"]).write_text(text)
    sys.exit(0)
if "refused" in text:
    print("octile: refused for a reason", file=sys.stderr)
    sys.exit(3)
if "slow" in text:
    (here / "started").write_text(str(os.getpid()))
    time.sleep(60)
timing = "--timing-only" in rest
devices = ["systemc"] if timing else option["--device"].split(",")
stalls = dict(useful=600, padding=100, weight_wait=50, short_tile=20, semaphore=130, fence=5, issue=3, drain=2, no_work=90)
first = dict(stalls, semaphore=80, no_work=10)
second = dict.fromkeys(stalls, 0) | dict(semaphore=50, no_work=80)
traffic = dict(instructions=640, parameters=100, weights=3000, activations_read=2000, written=1000)
def layer(name, array, macs, stalls):
    return dict(name=name, array=array, macs=macs, cycles=sum(stalls.values()), stalls=stalls, bytes={k: v // 2 for k, v in traffic.items()})
def device(name):
    d = dict(name=name, matches_reference=None if timing else not ("wrong" in text and name == "systemc"), wall_seconds=0.5)
    if name != "iss":
        d |= dict(cycles=1000, stalls=stalls, bytes=traffic, utilization=0.6, utilization_all_multipliers=0.4,
                  layers=[layer("first_out_QuantizeLinear_Output", True, 153600, first), layer("second_out", False, 0, second)])
        if "late" in text and name == "rtl" or "data" in text and timing:
            d["cycles"] = 1001
    return d
report = dict(macs=153600, device_macs=153600, ideal_cycles=600, estimated_cycles=990, devices=[device(n) for n in devices], divergence=None,
              operators=2, operators_on_device=2, host_memory_bound_bytes=4000000 if "hungry" in text else 6000000, config=dict(architecture="isa=2.0 n=16", platform="read_latency=100"),
              host_operators=[dict(name="Softmax 'x'", reason="float | by nature")] * 2, edge_operators=[dict(name="Quantize 'i'", reason="codes")],
              host=dict(reference_seconds=0.1, peak_memory_bytes=5000000))
pathlib.Path(option["--report"]).write_text(json.dumps(report))
sys.exit(1 if "wrong" in text else 0)
'''


class BenchTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="octile bench ")
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        for source in ("scripts/benchmarks", "docs/images"):
            shutil.copytree(ROOT / source, self.root / source, ignore=shutil.ignore_patterns("__pycache__"))
        for source in ("scripts/bench", "docs/benchmarks.md", "tests/e2e/cycles_recorded.json"):
            target = self.root / source
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, target)
        self.bin = self.root / "build/bin"
        self.bin.mkdir(parents=True)
        (self.bin / "octile").write_text(OCTILE)
        (self.bin / "octile").chmod(0o755)
        for name in ("systemc", "rtl-base", "rtl-small"):
            (self.bin / f"octile-device-{name}").write_text("program")
        self.zoo = self.root / "build/zoo"
        self.zoo.mkdir()

    def model(self, name, text="model"):
        (self.zoo / f"{name}.onnx").write_text(text)
        (self.zoo / f"{name.partition('.')[0]}.input.npy").write_text("input")

    def bench(self, *arguments):
        environment = {k: v for k, v in os.environ.items() if k != "OCTILE_BUILD"}
        return subprocess.run([self.root / "scripts/bench", "--no-build", *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False, timeout=120)

    def calls(self):
        log = self.bin / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return [line.split()[0] + (" timing" if "--timing-only" in line else "") for line in lines]

    def test_a_row_is_measured_once(self):
        self.model("resnet18.s8")
        first = self.bench("--networks", "resnet18")
        self.assertEqual((first.returncode, first.stderr), (0, ""), first.stdout)
        row = next(line for line in first.stdout.splitlines() if line.startswith("resnet18"))
        for figure in ("1,000", "600", "60.0", "40.0", "-1.00", "bit-exact"):
            self.assertIn(figure, row)
        self.assertEqual(self.calls(), ["compile", "run", "run timing"])
        self.assertEqual(self.bench("--networks", "resnet18").returncode, 0)
        self.assertEqual(self.calls(), [])
        self.assertEqual(self.bench("--networks", "resnet18", "--fresh").returncode, 0)
        self.assertEqual(self.calls(), ["compile", "run", "run timing"])
        self.model("resnet18.s8", "another model")
        self.assertIn("to measure", self.bench("--networks", "resnet18", "--list").stdout)
        self.assertEqual(self.bench("--networks", "resnet18").returncode, 0)
        (self.bin / "octile-device-systemc").write_text("another program")
        self.assertEqual(self.bench("--networks", "resnet18").returncode, 0)
        self.assertEqual(self.calls(), ["compile", "run", "run timing"] * 2)
        self.assertEqual([p.name for p in (self.root / "build/bench").iterdir() if p.name.startswith("run.")], [])
        self.assertEqual(len(json.loads((self.root / "build/bench/results.json").read_text())["rows"]), 1)

    def test_what_is_wrong_fails_and_is_not_kept(self):
        for text, devices, says in (("wrong", "iss,systemc", "systemc does not match the reference"), ("late", "systemc,rtl", "cycles differ: {'systemc': 1000, 'rtl': 1001}"),
                                    ("data", "systemc", "1000 cycles with data, 1001 without"), ("refused", "systemc", "refused for a reason"),
                                    ("hungry", "systemc", "5,000,000 bytes of memory, more than its bound of 4,000,000")):
            with self.subTest(text=text):
                self.model("squeezenet.s8", text)
                for _ in range(2):
                    result = self.bench("--networks", "squeezenet", "--devices", devices)
                    self.assertEqual(result.returncode, 1, result.stdout)
                    self.assertIn(f"FAILED squeezenet.s8 on base: ", result.stderr)
                    self.assertIn(says, result.stderr)
                    self.assertIn("compile", self.calls())

    def test_what_is_missing_or_unknown_is_named(self):
        self.model("resnet18.s8")
        for arguments, status, says in ((("--networks", "vgg16"), 3, "vgg16.s8.onnx is missing"), (("--networks", "resnet18", "--configs", "large", "--devices", "rtl"), 3, "rtl-large is missing"),
                                        (("--networks", "lenet"), 2, "no network 'lenet'"), (("--configs", "huge"), 2, "no configuration 'huge'"),
                                        (("--devices", "gpu"), 2, "no device 'gpu'"), (("--variants", "s4"), 2, "no variant 's4'"),
                                        (("--quick", "--networks", "resnet18"), 2, "--quick"), (("--page",), 3, "no row")):
            with self.subTest(arguments=arguments):
                result = self.bench(*arguments)
                self.assertEqual(result.returncode, status, result.stdout + result.stderr)
                self.assertIn(says, result.stderr)

    def test_the_page_keeps_what_is_written_by_hand(self):
        for network in bench.NETWORKS:
            self.model(f"{network}.s8")
        file = self.root / "docs/benchmarks.md"
        file.write_text(file.read_text() + "\nA sentence by hand.\n")
        result = self.bench()
        self.assertEqual(result.returncode, 0, result.stderr)
        written = file.read_text()

        def by_hand(text):
            return re.sub(r"(?<=-->\n)(?:(?!<!-- END).*\n)*(?=<!-- END)", "", text)
        self.assertEqual(by_hand(written), by_hand((ROOT / "docs/benchmarks.md").read_text()) + "\nA sentence by hand.\n")
        self.assertIn("| resnet50 | 0.000 | 600 | 1,000 | 1,000 | 60.0 % | 40.0 % | -1.00 % | 0.0 | ISS, SystemC, RTL |", written)
        self.assertIn("| resnet50 | large | 600 | 1,000 |", written)
        self.assertIn("| Utilization, resnet50 on base | 90 % | 96 % | 60.0 % | **below the floor** |", written)
        self.assertIn("2 Softmax (float \\| by nature)", written)
        # 130 of the waiting cycles are in the layer of the vector unit: 50 + 80.
        self.assertIn("| resnet50 | 60.0 | 10.0 | 2.0 | 5.0 | 13.0 | 8.0 | 1.0 | 1.0 | 0.0 |", written)
        self.assertIn("Not measured", written)
        for name in ("utilization", "roofline_resnet50", "speed"):
            self.assertIn("resnet", (self.root / f"docs/images/benchmarks_{name}.svg").read_text().lower())
        file.write_text(written.replace("<!-- BEGIN GENERATED losses -->", ""))
        result = self.bench()
        self.assertEqual(result.returncode, 3)
        self.assertIn("BEGIN GENERATED losses", result.stderr)

    def test_an_interrupt_leaves_nothing_behind(self):
        self.model("resnet18.s8", "slow")
        process = subprocess.Popen([self.root / "scripts/bench", "--no-build", "--networks", "resnet18"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        started = self.bin / "started"
        deadline = time.monotonic() + 60
        while not (started.exists() and started.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn("interrupted", errors)
        with self.assertRaises(ProcessLookupError):
            os.kill(int(started.read_text()), 0)
        self.assertEqual(list((self.root / "build/bench").iterdir()), [])

    def test_percentages_add_up(self):
        shares = {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}
        self.assertEqual(sorted(page.tenths(shares).values()), ["33.3", "33.3", "33.4"])
        self.assertEqual(page.tenths({"a": 1.0, "b": 0.0}), {"a": "100.0", "b": "0.0"})
        self.assertEqual(len({key for key, _, _ in plots.LOSSES}), len(plots.LOSSES))


if __name__ == "__main__":
    unittest.main()
