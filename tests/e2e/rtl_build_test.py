"""RTL devices built at their first use: for configuration files, for waveforms; locked, whole or not at all, with clear errors.

Environment: OCTILE, MODELS, FST_WINDOW (the program of fst_window.cc).
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

OCTILE = pathlib.Path(os.environ["OCTILE"])
MODELS = pathlib.Path(os.environ["MODELS"])
BUILDER = OCTILE.parent / "octile-rtl-build"
# A name that needs care in a shell and in a device URI.
CONFIG_NAME = "my config?a&b 50%.yml"
CONFIG = """\
arch: {n: 4, weight_rows: 2, ring_tiles: 32, acc_depth: 100, banks: 7, bank_depth: 256, psets: 20, wrows: 64, read_bursts: 4, write_bursts: 2}
platform: {read_latency: 60}
"""


def processes_with(text):
    """Processes whose command line or environment has this text."""
    found = []
    for folder in pathlib.Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if text.encode() in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes():
                found.append((folder.name, (folder / "cmdline").read_bytes()))
        except OSError:
            continue
    return found


class RtlBuildTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="octile-rtl-build-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.cache = self.folder / "cache"
        self.config = self.folder / CONFIG_NAME
        self.config.write_text(CONFIG)
        self.environment = {**os.environ, "OCTILE_RTL_CACHE": str(self.cache)}

    def builder(self, *arguments, **environment):
        return subprocess.run([BUILDER, *arguments], env={**self.environment, **environment}, capture_output=True, text=True,
                              timeout=900, check=False)

    def wait_for(self, what, seconds=60):
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end, "it never came")
            time.sleep(0.05)

    def expect_clean(self):
        """No process, no program, no work folder; what is left is the lock and the output of the build."""
        self.wait_for(lambda: not processes_with(str(self.cache)), 10)
        left = [f.name for f in self.cache.rglob("*") if f.is_file()]
        self.assertEqual([name for name in left if name not in ("lock", "log")], [])

    def test_what_is_wrong_is_named(self):
        for arguments, code, text in (((), 2, "no configuration"), (("--fast", "tiny"), 2, "--fast"), (("tiny", "base"), 2, "'base'"),
                                      ((self.folder / "no.yml",), 4, "no.yml"), (("gigantic",), 4, "gigantic")):
            done = self.builder(*arguments)
            self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
            self.assertIn(text, done.stderr)
        tools = self.folder / "bin"
        tools.mkdir()
        for tool in ("bash", "dirname", "basename", "cmake", "make", "g++", "sha256sum", "flock"):
            (tools / tool).symlink_to(shutil.which(tool))
        done = self.builder(self.config, PATH=str(tools))
        self.assertEqual(done.returncode, 5)
        self.assertIn("needs verilator ninja", done.stderr)
        self.assertIn("apt-get install", done.stderr)
        # A folder that nobody can make.
        (self.folder / "file").write_text("")
        done = self.builder(self.config, OCTILE_RTL_CACHE=str(self.folder / "file" / "cache"))
        self.assertEqual(done.returncode, 5)
        self.assertIn("OCTILE_RTL_CACHE", done.stderr)
        done = self.builder(self.config, OCTILE_RTL_CACHE=str(self.folder / "a cache"))
        self.assertEqual(done.returncode, 5)
        self.assertIn("/a cache/", done.stderr)
        self.assertIn("blanks", done.stderr)
        # A copy of the builder whose sources went away.
        moved = self.folder / "octile-rtl-build"
        moved.write_text(re.sub(r'^sources=.*', f'sources="{self.folder}/gone"', BUILDER.read_text(), flags=re.MULTILINE))
        moved.chmod(0o755)
        done = subprocess.run([moved, self.config], env=self.environment, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 5)
        self.assertIn("sources are not in", done.stderr)
        self.assertIn("/gone", done.stderr)

    def test_a_failing_build_says_why_and_leaves_nothing(self):
        tools = self.folder / "bin"
        tools.mkdir()
        (tools / "verilator").write_text('#!/bin/sh\ncase "$1" in --*version|--getenv) exec /usr/bin/verilator "$@";; esac\n'
                                         'echo "%Error: the disk is tired" >&2; exit 1\n')
        (tools / "verilator").chmod(0o755)
        run = subprocess.run([OCTILE, "run", MODELS / "mlp.onnx", "--device", "rtl", "--config", self.config], capture_output=True, text=True,
                             env={**self.environment, "PATH": f"{tools}:{os.environ['PATH']}"}, timeout=300, check=False)
        self.assertEqual(run.returncode, 5, run.stderr)
        self.assertIn("the disk is tired", run.stderr)
        self.assertIn(CONFIG_NAME, run.stderr)
        self.expect_clean()

    def test_interrupted_builds_leave_nothing(self):
        run = [OCTILE, "run", MODELS / "mlp.onnx", "--device", "rtl", "--config", self.config, "--output-dir", self.folder / "out"]
        for command, number, code in (([BUILDER, self.config], signal.SIGTERM, 130), (run, signal.SIGINT, 130), (run, signal.SIGTERM, 130),
                                      (run, signal.SIGKILL, -signal.SIGKILL)):
            with self.subTest(command=str(command[0]), signal=number):
                process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.wait_for(lambda: any(b"make" in line or b"verilator" in line for _, line in processes_with(str(self.cache))))
                process.send_signal(number)
                process.communicate(timeout=60)
                self.assertEqual(process.returncode, code)
                self.expect_clean()
                self.assertFalse((self.folder / "out").exists())

    def test_built_once_by_one_of_two_and_used_with_waveforms(self):
        commands = [[BUILDER, "--wave", self.config], [BUILDER, "--wave", self.config]]
        processes = [subprocess.Popen(c, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for c in commands]
        results = [p.communicate(timeout=900) for p in processes]
        self.assertEqual([p.returncode for p in processes], [0, 0], results)
        paths = {out.strip() for out, _ in results}
        self.assertEqual(len(paths), 1, results)
        self.assertEqual(sum("waiting for another build" in errors for _, errors in results), 1, results)
        program = pathlib.Path(paths.pop())
        self.assertRegex(program.name, r"^octile-device-rtl-[0-9a-f]{16}-wave$")
        self.assertEqual({f.name for f in program.parent.iterdir()}, {"lock", "log", "stamp", program.name})
        made = program.stat().st_mtime_ns

        def run(*more):
            return subprocess.run([OCTILE, "run", MODELS / "mlp.onnx", "--device", "rtl", "--config", self.config, *more], env=self.environment,
                                  capture_output=True, text=True, timeout=600, check=False)
        wave = self.folder / "wave & more.fst"
        done = run("--wave", wave, "--wave-cycles", "100:250")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("every step equal", done.stdout)
        self.assertEqual(program.stat().st_mtime_ns, made, "it was built again")
        # Two time steps a cycle, and of the window asked for nothing is missing and nothing is besides it.
        window = subprocess.run([os.environ["FST_WINDOW"], wave], capture_output=True, text=True, check=True).stdout.split()
        seen = dict(zip(window[0::2], map(int, window[1::2])))
        self.assertEqual((seen["first"], seen["last"], seen["start"], seen["end"]), (200, 499, 200, 499))
        self.assertGreater(seen["signals"], 1000)
        self.assertGreater(seen["changes"], 2 * 150)  # the clock alone
        self.assertEqual({f.name for f in self.folder.iterdir()}, {"cache", CONFIG_NAME, wave.name}, "no temporary files")
        # A bad window is a mistake of the call.
        done = run("--wave", wave, "--wave-cycles", "9:3")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("wave_cycles", done.stderr)
        self.assertEqual(run("--wave", self.folder / "no folder" / "w.fst").returncode, 2)
        # What changed since is built anew.
        stamp = program.parent / "stamp"
        stamp.write_text("of another version\n")
        done = run("--wave", wave)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("building the RTL of", done.stderr)
        self.assertGreater(program.stat().st_mtime_ns, made)


if __name__ == "__main__":
    unittest.main()
