"""One row of the bench: a network on a configuration, compiled and run by the octile program. Standard library only.

A finished row is a JSON file that carries a key, the hash of everything it depends on: the programs, the model, its input, the
configuration and the devices. A row whose key is still right is not measured again.
"""

import hashlib
import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SCHEMA = 4  # of a row's file
POLL_SECONDS = 0.005
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # those that end the bench


class BenchError(Exception):
    """What went wrong and what to do about it, for the user."""


@dataclass(frozen=True)
class Row:
    network: str
    variant: str
    config: str
    devices: tuple[str, ...]  # out of iss, systemc, rtl

    @property
    def name(self):
        return f"{self.network}.{self.variant}.{self.config}"


@dataclass
class Tools:
    octile: Path
    zoo: Path      # folder of the models
    results: Path  # folder of the rows

    def device_program(self, device, config):
        """The program of a device that is a process of its own; None for the instruction simulator."""
        names = {"systemc": "octile-device-systemc", "rtl": f"octile-device-rtl-{config}"}
        return self.octile.parent / names[device] if device in names else None

    def model(self, row):
        return self.zoo / f"{row.network}.{row.variant}.onnx"

    def input(self, row):
        return self.zoo / f"{row.network}.input.npy"


def processor():
    """The name and number of the machine's processors."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()}, {os.cpu_count()} processors"
    return f"{os.uname().machine}, {os.cpu_count()} processors"


def vector_instructions():
    """Which of the instruction sets that the SystemC model and the reference choose from at run time are there."""
    flags = Path("/proc/cpuinfo").read_text()
    return [name for flag, name in (("avx2", "AVX2"), ("avx512_vnni", "AVX-512 VNNI")) if f" {flag} " in flags.replace("\n", " ")]


_hashes = {}


def _hash(path):
    stat = path.stat()
    known = (path, stat.st_mtime_ns, stat.st_size)
    if known not in _hashes:
        with open(path, "rb") as file:
            _hashes[known] = hashlib.file_digest(file, "sha256").hexdigest()
    return _hashes[known]


def key(row, tools):
    """Hash of everything that a row's result depends on. BenchError when a file is missing."""
    files = [tools.octile, tools.model(row), tools.input(row)]
    files += [p for d in row.devices if (p := tools.device_program(d, row.config))]
    for file in files:
        if not file.exists():
            raise BenchError(f"{row.name}: {file} is missing; scripts/bench without --no-build makes programs and models")
    parts = [str(SCHEMA), row.name, *row.devices, *(_hash(f) for f in files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def load(row, tools, any_key=False):
    """The stored result of a row when it is still valid, else None."""
    file = tools.results / "rows" / f"{row.name}.json"
    try:
        stored = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    if stored.get("schema") != SCHEMA:
        return None
    return stored if any_key or stored["key"] == key(row, tools) else None


def load_if_there(row, tools):
    """The same for a row whose model need not be there."""
    return load(row, tools) if tools.model(row).exists() and tools.input(row).exists() else None


def write(path, text):
    """All or nothing: never half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


class _Watch:
    """Follows the device processes that a process starts: their processor time, and the high-water marks of their resident memory."""

    def __init__(self, pid):
        self.pid = pid
        self.peaks = {}        # device -> bytes
        self.cpu_seconds = {}  # device -> seconds

    def look(self):
        try:
            for task in os.listdir(f"/proc/{self.pid}/task"):
                for child in Path(f"/proc/{self.pid}/task/{task}/children").read_text().split():
                    self._look(child)
        except OSError:
            pass  # it ended in between

    def _look(self, pid):
        try:
            program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
            status = Path(f"/proc/{pid}/status").read_text()
            times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # behind the name: state first, user and system time 12th and 13th
        except OSError:
            return
        if not program.startswith("octile-device-"):
            return
        device = program.removeprefix("octile-device-").partition("-")[0]
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                self.peaks[device] = max(self.peaks.get(device, 0), int(line.split()[1]) * 1024)
        self.cpu_seconds[device] = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Outcome:
    status: int        # exit code
    errors: str        # what it wrote to standard error
    seconds: float     # wall clock
    cpu_seconds: float  # of the process itself and the processes it waited for
    peak_bytes: int    # of the process itself; not below that of the bench when it was started, some 30 MB
    device_peaks: dict[str, int]
    device_cpu_seconds: dict[str, float]


def call(command):
    """Runs a program to its end. When the bench is interrupted, so is the program, and its end is waited for."""
    with tempfile.TemporaryFile() as errors:
        # No signal between the start of the process and the `try` that ends it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        begin = time.monotonic()
        process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                                   preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, mask))
        watch = _Watch(process.pid)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            while True:
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                seconds = time.monotonic() - begin
                if pid != 0:
                    break
                watch.look()
                time.sleep(POLL_SECONDS)
        except BaseException:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        text = errors.read().decode(errors="replace").strip()
        return Outcome(process.returncode, text, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, watch.peaks, watch.cpu_seconds)


def measure(row, tools):
    """Compiles and runs a row, checks what it says, and stores it when nothing is wrong. Returns the result; `failures` lists what is."""
    result = {"schema": SCHEMA, "key": key(row, tools), "network": row.network, "variant": row.variant, "config": row.config,
              "devices": list(row.devices), "failures": [], "load": os.getloadavg()[0],
              "host": {"processor": processor(), "vector_instructions": vector_instructions()}}
    failures = result["failures"]
    tools.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tools.results, prefix="run.") as folder:
        program = Path(folder) / f"{row.network}.{row.variant}.octile"
        compiled = call([tools.octile, "compile", tools.model(row), "-o", program, "--config", row.config])
        if compiled.status != 0:
            failures.append(f"octile compile: exit code {compiled.status}: {_last(compiled.errors)}")
            return result
        result["compile"] = {"seconds": compiled.seconds, "cpu_seconds": compiled.cpu_seconds, "peak_bytes": compiled.peak_bytes,
                             "program_bytes": program.stat().st_size}
        report_file = Path(folder) / "report.json"
        run = call([tools.octile, "run", program, "--device", ",".join(row.devices), "--input", f"image={tools.input(row)}",
                    "--report", report_file])
        if not report_file.exists():
            failures.append(f"octile run: exit code {run.status}: {_last(run.errors)}")
            return result
        report = json.loads(report_file.read_text())
        if "error" in report:
            failures.append(f"octile run: exit code {run.status}: {report['error']['message']}")
            return result
        result["report"] = report
        result["run"] = {"seconds": run.seconds, "cpu_seconds": run.cpu_seconds, "peak_bytes": report["host"]["peak_memory_bytes"],
                         "device_peak_bytes": run.device_peaks, "device_cpu_seconds": run.device_cpu_seconds}
        if run.status != 0:
            failures.append(f"octile run: exit code {run.status}: {_last(run.errors)}")
        _check(row, report, failures)
        if report["host"]["peak_memory_bytes"] > report["host_memory_bound_bytes"]:
            failures.append(f"octile run took {report['host']['peak_memory_bytes']:,} bytes of memory, more than its bound of {report['host_memory_bound_bytes']:,}")
        if "systemc" in row.devices:
            timing = call([tools.octile, "run", program, "--timing-only", "--report", report_file])
            only = json.loads(report_file.read_text()) if timing.status == 0 else None
            if only is None:
                failures.append(f"octile run --timing-only: exit code {timing.status}: {_last(timing.errors)}")
            else:
                device = only["devices"][0]
                result["timing_only"] = {"cycles": device["cycles"], "wall_seconds": device["wall_seconds"], "seconds": timing.seconds,
                                         "device_peak_bytes": timing.device_peaks.get("systemc", 0),
                                         "device_cpu_seconds": timing.device_cpu_seconds.get("systemc")}
                with_data = next(d for d in report["devices"] if d["name"] == "systemc")
                if device["cycles"] != with_data.get("cycles"):
                    failures.append(f"systemc takes {with_data.get('cycles')} cycles with data, {device['cycles']} without")
    if not failures:
        write(tools.results / "rows" / f"{row.name}.json", json.dumps(result, indent=1) + "\n")
    return result


def _last(errors):
    return errors.splitlines()[-1] if errors else "it said nothing"


def _check(row, report, failures):
    """Every device equal to the reference, the cycle-exact ones to each other, sums that add up."""
    cycles = {}
    for device in report["devices"]:
        name = device["name"]
        if device["matches_reference"] is not True:
            failures.append(f"{name} does not match the reference: {device.get('error') or device.get('mismatch')}")
        if "cycles" in device:
            cycles[name] = device["cycles"]
            if sum(device["stalls"].values()) != device["cycles"]:
                failures.append(f"{name}: the reasons add up to {sum(device['stalls'].values())} of {device['cycles']} cycles")
            if sum(layer["cycles"] for layer in device["layers"]) != device["cycles"]:
                failures.append(f"{name}: the layers do not add up to {device['cycles']} cycles")
    if {d["name"] for d in report["devices"]} != set(row.devices):
        failures.append(f"ran on {[d['name'] for d in report['devices']]} instead of {list(row.devices)}")
    if report["divergence"] is not None or len(set(cycles.values())) > 1:
        failures.append(f"cycles differ: {cycles}; {report['divergence']}")
