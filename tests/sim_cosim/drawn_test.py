"""Configurations that nobody named: draws two small ones, builds their RTL with octile-rtl-build, and compares instruction
simulator, SystemC model and RTL on random programs and on a model end to end.

Usage: drawn_test.py OCTILE MODEL [SEED]      SEED repeats a draw; without it every run draws anew
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

PROGRAMS = 400  # of these about half are valid, the others faulty or changed at random


def draw(source, n):
    def power(low, high):
        return 1 << source.randint(low.bit_length() - 1, high.bit_length() - 1)
    arch = {
        "n": n,
        "weight_rows": power(1, n),
        "ring_tiles": power(256 // (n * n), 64),
        "acc_depth": source.randint(16, 160),
        "banks": source.randint(4, 13),
        "bank_depth": power(128, 512),
        "psets": source.randint(2, 32),
        "wrows": source.randint(9, 96),
        "read_bursts": power(1, 16),
        "write_bursts": power(1, 8),
    }
    platform = {
        "read_latency": source.randint(1, 200),
        "write_latency": source.randint(1, 100),
        "beat_interval": source.randint(1, 3),
        "jitter": source.choice([0, 40]),
        "ready_jitter": source.choice([0, 6]),
    }
    return arch, platform


def text_of(fields):
    return "{" + ", ".join(f"{key}: {value}" for key, value in fields.items()) + "}"


def run(command, timeout):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def main():
    octile, model = pathlib.Path(sys.argv[1]), sys.argv[2]
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else time.time_ns() // 1_000_000
    print(f"seed {seed}", flush=True)
    source = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        os.environ["OCTILE_RTL_CACHE"] = str(folder / "cache")
        for n in (4, 8):
            arch, platform = draw(source, n)
            config = folder / f"drawn_{n}.yml"
            config.write_text(f"arch: {text_of(arch)}\nplatform: {text_of(platform)}\n")
            print(config.read_text(), end="", flush=True)
            begin = time.monotonic()
            program = run([octile.parent / "octile-rtl-build", "--cosim", config], 1200).strip()
            print(f"built in {time.monotonic() - begin:.0f} s", flush=True)
            first = source.randint(1, 1 << 31)
            print(run([f"{program}-cosim", "--config", config, "--devices", "systemc,iss,rtl", "--programs", PROGRAMS,
                       "--seed", first], 900), flush=True)
            report = folder / "report.json"
            run([octile, "run", model, "--config", config, "--device", "all", "--report", report], 900)
            devices = {d["name"]: d for d in json.loads(report.read_text())["devices"]}
            assert set(devices) == {"iss", "systemc", "rtl"}, devices.keys()
            assert all(d["matches_reference"] is True for d in devices.values())
            for key in ("cycles", "queues", "bytes", "layers"):
                assert devices["systemc"][key] == devices["rtl"][key], f"{key} differ between systemc and rtl"
            print(f"{pathlib.Path(model).name}: {devices['rtl']['cycles']} cycles on systemc and rtl, every step equal\n", flush=True)


if __name__ == "__main__":
    main()
