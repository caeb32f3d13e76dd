"""The generator refuses contract files that contradict themselves, and its output is deterministic."""

import contextlib
import copy
import importlib.util
import io
import pathlib
import subprocess
import sys
import tempfile
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPEC = ROOT / "rtl" / "spec"
sys.dont_write_bytecode = True
_spec = importlib.util.spec_from_file_location("generate", SPEC / "generate.py")
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


class IsaFile(unittest.TestCase):
    def setUp(self):
        self.raw = yaml.safe_load((SPEC / "isa.yml").read_text())

    def load(self, raw):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "isa.yml"
            path.write_text(yaml.safe_dump(raw))
            return generate.Isa(path)

    def refuse(self, change, message):
        raw = copy.deepcopy(self.raw)
        change(raw)
        with self.assertRaisesRegex(generate.SpecError, message):
            self.load(raw)

    def instruction(self, raw, name):
        return next(i for i in raw["instructions"] if i["name"] == name)

    def test_loads(self):
        isa = self.load(self.raw)
        self.assertEqual([f.name for f in isa.formats][:2], ["END", "SYNC"])

    def test_opcode_used_twice(self):
        self.refuse(lambda r: self.instruction(r, "LDW").update(opcode=4), "opcode 4 belongs to LDP and LDW")

    def test_opcode_reserved(self):
        self.refuse(lambda r: self.instruction(r, "LDW").update(opcode=24), "opcode 24")

    def test_field_twice(self):
        self.refuse(lambda r: self.instruction(r, "LDW")["fields"].append({"name": "tiles", "bits": 1}), "tiles appears twice")

    def test_too_wide(self):
        self.refuse(lambda r: self.instruction(r, "MMA")["fields"].append({"name": "more", "bits": 32}), "do not fit")

    def test_limits_out_of_width(self):
        self.refuse(lambda r: self.instruction(r, "LDW")["fields"].append({"name": "x", "bits": 2, "max": 4}), "do not fit 2 bits")

    def test_enum_outside_limits(self):
        self.refuse(lambda r: self.instruction(r, "LDW")["fields"].append({"name": "x", "bits": 2, "max": 2, "enum": {"A": 3}}), "A = 3 is outside")

    def test_unknown_condition(self):
        self.refuse(lambda r: self.instruction(r, "LDW")["fields"].append({"name": "x", "bits": 2, "when": "moon"}), "condition moon")

    def test_gap_in_numbers(self):
        self.refuse(lambda r: r["faults"].pop(3), "faults must be numbered")

    def test_output_does_not_change(self):
        first, second = self.load(self.raw), self.load(self.raw)
        self.assertEqual(generate.cpp_header(first), generate.cpp_header(second))
        self.assertEqual(generate.sv_isa(first), generate.sv_isa(second))


class Manuals(unittest.TestCase):
    def test_stale_manual_is_noticed_and_mended(self):
        isa = generate.Isa(SPEC / "isa.yml")
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for name in ("isa.md", "registers.md"):
                (folder / name).write_text((ROOT / "docs" / name).read_text())
            self.assertEqual(generate.docs(folder, isa, check=True), 0)
            page = folder / "isa.md"
            page.write_text(page.read_text().replace("FETCH_END", "FETCH_STOP"))
            with contextlib.redirect_stderr(io.StringIO()) as message:
                self.assertEqual(generate.docs(folder, isa, check=True), 1)
            self.assertIn("docs/isa.md; run scripts/generate", message.getvalue())
            self.assertEqual(generate.docs(folder, isa, check=False), 0)
            self.assertEqual(page.read_text(), (ROOT / "docs" / "isa.md").read_text())
            page.write_text("no markers\n")
            with self.assertRaisesRegex(generate.SpecError, "markers are missing"):
                generate.docs(folder, isa, check=True)


class Configurations(unittest.TestCase):
    def run_generator(self, *arguments):
        return subprocess.run([sys.executable, SPEC / "generate.py", *arguments], capture_output=True, text=True, check=False)

    def test_unknown_configuration(self):
        result = self.run_generator("--verilator-params", "huge")
        self.assertEqual(result.returncode, 1)
        self.assertIn("no configuration 'huge'; there are tiny, small, base, large", result.stderr)

    def test_file_with_a_missing_field(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "mine.yml"
            path.write_text("arch: {n: 16}\n")
            result = self.run_generator("--cmake-params", str(path))
        self.assertEqual(result.returncode, 1)
        self.assertIn("lacks weight_rows", result.stderr)

    def test_file_gives_the_parameters_of_the_name(self):
        raw = yaml.safe_load((SPEC / "configs.yml").read_text())["configs"]["small"]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "mine.yml"
            path.write_text(yaml.safe_dump({"arch": raw["arch"]}))
            mine = self.run_generator("--verilator-params", str(path))
        self.assertEqual(mine.stdout, self.run_generator("--verilator-params", "small").stdout)
        self.assertEqual(mine.returncode, 0)


if __name__ == "__main__":
    unittest.main()
