"""What a run leaves behind that was ended from outside: no processes, no shared memory, no half-written files.

Environment: OCTILE, MODELS.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import uuid

OCTILE = os.environ["OCTILE"]
MODELS = pathlib.Path(os.environ["MODELS"])


class Runs(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="octile-interrupt-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.mark = f"OCTILE_TEST_MARK={uuid.uuid4()}"

    def processes(self, name=""):
        """Command lines of the processes that the runs of this test started, and that are alive."""
        found = []
        for folder in pathlib.Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and self.mark.encode() in (folder / "environ").read_bytes():
                    line = (folder / "cmdline").read_bytes()
                    if name.encode() in line:
                        found.append(line)
            except OSError:
                continue
        return found

    def wait_for(self, what, why, seconds=60):
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end, why)
            time.sleep(0.02)

    def start(self, *arguments):
        key, value = self.mark.split("=")
        process = subprocess.Popen([OCTILE, *map(str, arguments)], env={**os.environ, key: value, "TMPDIR": str(self.folder / "tmp")},
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        self.addCleanup(process.kill)
        return process

    def long_run(self, device):
        # Minutes of simulation: a large model on a thousand images, on the smallest configuration with a slow memory of random latency.
        (self.folder / "tmp").mkdir(exist_ok=True)
        images = (self.folder / "tmp" / "images.npy")
        header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000, 3, 96, 96), }".ljust(117) + "\n"
        with images.open("wb") as file:
            file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
            file.truncate(file.tell() + 4 * 1000 * 3 * 96 * 96)
        return self.start("run", MODELS / "big_layers.onnx", "--input", f"image={images}", "--config", "tiny", "--device", device, "--platform", "read_latency=2000",
                          "--platform", "jitter=4000", "--output-dir", self.folder / "out", "--report", self.folder / "report.json",
                          *(["--wave", self.folder / "wave.fst", "--wave-cycles", "100:200"] if device == "rtl" else []))

    def expect_nothing_left(self, shared):
        self.wait_for(lambda: not self.processes(), "processes are left")
        (self.folder / "tmp" / "images.npy").unlink()
        self.assertEqual({f for f in os.listdir("/dev/shm") if "octile" in f} - shared, set())
        left = sorted(str(f.relative_to(self.folder)) for f in self.folder.rglob("*") if f.is_file())
        self.assertIn(left, ([], ["report.json"]))
        if left:
            error = json.loads((self.folder / "report.json").read_text())["error"]
            self.assertEqual(error["exit_code"], 130)
            (self.folder / "report.json").unlink()


class InterruptTest(Runs):
    def test_signals_end_a_run_at_once_and_leave_nothing(self):
        shared = {f for f in os.listdir("/dev/shm") if "octile" in f}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            for everyone in (False, True):  # a terminal signals the whole group, and with it the device process
                with self.subTest(signal=number, everyone=everyone):
                    process = self.long_run("iss,systemc")
                    self.wait_for(lambda: self.processes("octile-device-systemc"), "no device process")
                    time.sleep(0.3)
                    os.killpg(process.pid, number) if everyone else process.send_signal(number)
                    _, errors = process.communicate(timeout=30)
                    self.assertEqual(process.returncode, 130, errors)
                    self.assertIn(b"interrupted", errors)
                    self.expect_nothing_left(shared)

    def test_a_killed_client_takes_its_device_along(self):
        shared = {f for f in os.listdir("/dev/shm") if "octile" in f}
        process = self.long_run("systemc")
        self.wait_for(lambda: self.processes("octile-device-systemc"), "no device process")
        process.kill()
        process.communicate(timeout=30)
        self.expect_nothing_left(shared)

    def test_compiling_ends_at_once(self):
        for delay in (0.05, 0.15):
            process = self.start("compile", MODELS / "big_layers.onnx", "-o", self.folder / "p.octile", "--config", "tiny")
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
            # It may have been done before; then the program is whole.
            self.assertIn(process.returncode, (0, 130, -signal.SIGINT), errors)
            self.assertEqual([f.name for f in self.folder.iterdir()], ["p.octile"] if process.returncode == 0 else [])
            if process.returncode == 0:
                self.assertEqual(subprocess.run([OCTILE, "inspect", self.folder / "p.octile"], capture_output=True, check=False).returncode, 0)
                (self.folder / "p.octile").unlink()


class WaveTest(Runs):
    def test_a_waveform_is_written_whole_or_not_at_all(self):
        shared = {f for f in os.listdir("/dev/shm") if "octile" in f}
        process = self.long_run("rtl")
        # Its device may have to be built first.
        self.wait_for(lambda: list(self.folder.glob("wave.fst.*.part")), "no waveform begun", 900)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, errors)
        self.expect_nothing_left(shared)


if __name__ == "__main__":
    unittest.main()
