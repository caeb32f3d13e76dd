"""The set-up scripts, run on copies with stand-ins for apt-get, cmake and ctest. Standard library only."""

import json
import os
import shutil
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


class ScriptsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="octile scripts ")  # a path with spaces
        self.addCleanup(folder.cleanup)
        os.chmod(folder.name, 0o755)
        self.folder = Path(folder.name)
        self.root = self.folder / "check out"
        shutil.copytree(ROOT / "scripts", self.root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / ".ci", self.root / ".ci")
        self.log = self.folder / "calls"
        self.log.touch()
        self.log.chmod(0o666)
        self.bin = self.folder / "bin"
        self.bin.mkdir()

    def stand_in(self, name, body="", path=None):
        """A program that records how it was called."""
        path = path or self.bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\necho {name} "$@" >>"{self.log}"\n{body}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)

    def run_script(self, name, *arguments, path=None, **options):
        environment = {**os.environ, "PATH": path or f"{self.bin}:{os.environ['PATH']}", **options.pop("environment", {})}
        return subprocess.run([self.root / name, *arguments], cwd="/", env=environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=120, **options)

    def calls(self):
        return self.log.read_text().splitlines()

    def want_packages(self, *names):
        (self.root / "scripts/packages.txt").write_text("# packages\n" + "".join(f"{n}  # why\n" for n in names))

    # install_deps

    def test_nothing_missing_installs_nothing_and_needs_no_root(self):
        self.stand_in("apt-get")
        self.stand_in("sudo")
        self.want_packages("bash", "coreutils")
        result = self.run_script("scripts/install_deps", **self.unprivileged())
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        self.assertEqual(self.calls(), [])

    @staticmethod
    def unprivileged():
        return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}

    def test_only_the_missing_are_installed(self):
        self.stand_in("apt-get")
        self.stand_in("sudo", 'exec "$@"')
        self.stand_in("env", 'shift; exec "$@"')
        self.want_packages("bash", "octile-no-such-package", "coreutils")
        # As somebody else than root the passwordless sudo is used.
        result = self.run_script("scripts/install_deps")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual([c for c in self.calls() if c.startswith("apt-get")], [
            "apt-get update --quiet",
            "apt-get install --quiet --yes --no-install-recommends octile-no-such-package"])

    def test_without_root_and_sudo_the_command_is_named(self):
        tools = self.folder / "tools"  # everything but sudo
        tools.mkdir()
        for tool in ("bash", "env", "dirname", "dpkg-query", "sed", "grep"):
            (tools / tool).symlink_to(shutil.which(tool))
        self.stand_in("apt-get")
        self.want_packages("octile-no-such-package", "bash")
        result = self.run_script("scripts/install_deps", path=f"{self.bin}:{tools}", **self.unprivileged())
        self.assertEqual(result.returncode, 1)
        self.assertIn("missing packages: octile-no-such-package\n", result.stdout)
        self.assertIn("apt-get install --yes --no-install-recommends octile-no-such-package\n", result.stderr)
        self.assertEqual(self.calls(), [])

    def test_a_failing_installation_fails(self):
        self.stand_in("apt-get", "exit 100")
        self.stand_in("sudo", 'while [ "$1" = -n ]; do shift; done; exec "$@"')
        self.want_packages("octile-no-such-package")
        self.assertNotEqual(self.run_script("scripts/install_deps").returncode, 0)

    # venv

    def test_an_environment_that_is_there_needs_no_network(self):
        result = subprocess.run([ROOT / "scripts/venv"], cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}, check=False)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def test_venv_refuses_what_it_does_not_know(self):
        result = self.run_script("scripts/venv", "--everything")
        self.assertEqual(result.returncode, 2)
        self.assertIn("usage: scripts/venv", result.stderr)

    # test, quickstart, .ci/run

    def prepare_build(self):
        for script in ("install_deps", "venv"):
            self.stand_in(script, path=self.root / "scripts" / script)
        self.stand_in("cmake")
        self.stand_in("ctest", 'echo "100% tests passed"')

    def test_ci_runs_the_tests_and_passes_their_result_on(self):
        self.prepare_build()
        result = self.run_script(".ci/run")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual([c.split()[0] for c in self.calls()], ["install_deps", "venv", "cmake", "cmake", "ctest"])
        self.assertEqual(result.stdout.splitlines()[-1], "100% tests passed")

        self.stand_in("ctest", "exit 8")
        self.assertEqual(self.run_script(".ci/run").returncode, 8)

    def test_a_failing_step_stops_the_tests(self):
        for step in ("install_deps", "venv", "cmake"):
            with self.subTest(step=step):
                self.prepare_build()
                self.log.write_text("")
                self.stand_in(step, "exit 3", path=self.bin / step if step == "cmake" else self.root / "scripts" / step)
                self.assertEqual(self.run_script("scripts/test").returncode, 3)
                self.assertEqual(self.calls()[-1].split()[0], step)

    def test_the_sanitized_tests_have_a_build_of_their_own(self):
        self.prepare_build()
        result = self.run_script("scripts/test_sanitized", "-R", "driver")
        self.assertEqual(result.returncode, 0, result.stderr)
        calls = self.calls()
        self.assertEqual([c.split()[0] for c in calls], ["install_deps", "venv", "cmake", "cmake", "ctest"])
        self.assertIn(f"-B {self.root}/build-asan ", calls[2])
        self.assertIn("-DOCTILE_SANITIZE=ON", calls[2])
        self.assertTrue(calls[4].endswith("-R driver"), calls[4])
        self.stand_in("ctest", "exit 8")
        self.assertEqual(self.run_script("scripts/test_sanitized").returncode, 8)

    # format, lint

    def test_format_finds_and_mends_what_differs(self):
        subprocess.run(["git", "init", "-q", self.root], check=True)
        shutil.copy(ROOT / ".clang-format", self.root)
        source = self.root / "src" / "a file.cc"
        source.parent.mkdir()
        source.write_text("int  f( ) {return 1;}\n")
        subprocess.run(["git", "-C", self.root, "add", "src"], check=True)
        result = self.run_script("scripts/format", "--check", self.root / "src")
        self.assertEqual((result.returncode, result.stdout), (1, "not formatted: src/a file.cc\n"), result.stderr)
        self.assertEqual(self.run_script("scripts/format").returncode, 0)
        self.assertEqual(source.read_text(), "int f() { return 1; }\n")
        self.assertEqual(self.run_script("scripts/format", "--check").returncode, 0)
        self.assertEqual(self.run_script("scripts/format", "--shape").returncode, 2)

    def test_lint_fails_on_a_finding(self):
        build = self.folder / "build"
        build.mkdir()
        shutil.copy(ROOT / ".clang-tidy", self.root)
        source = self.root / "a.cc"
        result = self.run_script("scripts/lint", "--build", build, source)
        self.assertEqual(result.returncode, 1)
        self.assertIn("compile_commands.json", result.stderr)
        (build / "compile_commands.json").write_text(
            json.dumps([{"directory": str(build), "file": str(source), "arguments": ["g++", "-c", str(source)]}]))
        source.write_text("bool Same(int a) { return a == a + 0 ? true : true; }\n")
        result = self.run_script("scripts/lint", "--build", build, source)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn("bugprone-", result.stdout)
        self.assertIn("not clean", result.stdout)
        source.write_text("bool Same(int a) { return a == 3; }\n")
        result = self.run_script("scripts/lint", "--build", build, source)
        self.assertEqual((result.returncode, result.stdout), (0, ""), result.stderr)

    def test_quickstart_builds_and_runs_the_digits_on_all_devices(self):
        self.prepare_build()
        self.stand_in("octile", "exit 1", path=self.root / "build/bin/octile")
        result = self.run_script("scripts/quickstart", "--config", "small")
        self.assertEqual(result.returncode, 1, "the program's result is the script's")
        run = self.calls()[-1]
        self.assertTrue(run.startswith(f"octile run {self.root}/models/digits.onnx --device all "), run)
        self.assertTrue(run.endswith("--config small"), run)
        self.assertNotIn("ctest", [c.split()[0] for c in self.calls()])


if __name__ == "__main__":
    unittest.main()
