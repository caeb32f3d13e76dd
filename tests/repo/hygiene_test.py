"""Rules that every tracked file of the repository keeps. Standard library only."""

import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_BYTES = 1_000_000
TEXT_SUFFIXES = {".cc", ".h", ".sv", ".svh", ".py", ".md", ".txt", ".cmake", ".yml", ".yaml", ".proto", ".vlt", ".sh"}

# Written in parts, so that this file does not find itself.
MARKS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE_PATHS = re.compile(rb"(?<![\w.}$-])/(wo" rb"rk|home|root|Users)/[\w.-]")
SWITCHED_OFF = re.compile(r"\bDIS" r"ABLED_\w|\bGTEST" r"_SKIP\b|@unittest\.sk" r"ip|PROPERTIES\s+DIS" r"ABLED")
CONFLICTS = re.compile(r"^(<{7} |>{7} )", re.MULTILINE)
DPI = re.compile(r'\b(im' r'port|ex' r'port)\s+"DPI')
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]', re.MULTILINE)

# Folder -> what its files must not include, and why (docs/architecture.md: dependencies point one way).
FORBIDDEN_INCLUDES = (
    ("compiler/", r"octile/(driver|sim|iss|systemc|verilated|device|reference|session|cli)/|^systemc",
     "the compiler knows neither driver nor simulators"),
    ("driver/include/", r"^systemc|^verilated|^V\w+\.h$|octile/(sim|systemc|verilated|device|compiler)/",
     "no simulator type in the driver's headers"),
    ("sim/systemc/", r"^verilated|^V\w+\.h$", "the SystemC model links no Verilated code"),
    ("sim/iss/", r"^verilated|^V\w+\.h$|^systemc", "the instruction simulator is plain C++"),
    ("runtime/", r"^verilated|^V\w+\.h$|^systemc", "the runtime reaches simulators through the driver only"),
)


def tracked_files():
    """Paths relative to the root: what git tracks, or in an export without git everything but build folders."""
    git = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, check=False)
    if git.returncode == 0 and git.stdout:
        names = (Path(p) for p in git.stdout.decode().split("\0") if p)
        return sorted(p for p in names if (ROOT / p).is_file())
    return sorted(p for p in (f.relative_to(ROOT) for f in ROOT.rglob("*") if f.is_file())
                  if not p.parts[0].startswith("build") and p.parts[0] != ".git" and "__pycache__" not in p.parts)


FILES = tracked_files()


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def text_files(*suffixes):
    wanted = suffixes or TEXT_SUFFIXES
    return [p for p in FILES if p.suffix in wanted or (not suffixes and p.name == "CMakeLists.txt")]


def has_shebang(path):
    with open(ROOT / path, "rb") as file:
        return file.read(2) == b"#!"


def anchors(markdown):
    """The fragment identifiers of a page's headings, as GitHub makes them."""
    found = set()
    outside_code = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#{1,6}\s+(.*?)\s*#*$", outside_code, re.MULTILINE):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")
        number = 0
        while (anchor if not number else f"{anchor}-{number}") in found:
            number += 1
        found.add(anchor if not number else f"{anchor}-{number}")
    return found


def broken_links(page):
    source = re.sub(r"^```.*?^```|`[^`\n]*`", "", text(page), flags=re.MULTILINE | re.DOTALL)
    for target in (a or b for a, b in LINK.findall(source)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        linked = (ROOT / page.parent / path).resolve() if path else ROOT / page
        if not linked.exists():
            yield f"{page}: {target} does not exist"
        elif fragment and linked.suffix == ".md" and fragment not in anchors(linked.read_text(encoding="utf-8")):
            yield f"{page}: {target}: no such heading"


class Hygiene(unittest.TestCase):
    maxDiff = None

    def check(self, problems):
        problems = list(problems)
        if problems:
            self.fail("\n" + "\n".join(problems))

    def test_there_is_something_to_check(self):
        self.assertIn(Path("CMakeLists.txt"), FILES)
        self.assertIn(Path("scripts/test"), FILES)

    def test_no_large_files(self):
        self.check(f"{p}: {size} bytes, at most {MAX_BYTES}" for p in FILES
                   if (size := (ROOT / p).stat().st_size) > MAX_BYTES)

    def test_text_is_utf8_with_unix_line_ends(self):
        for path in text_files():
            with self.subTest(path=str(path)):
                content = (ROOT / path).read_bytes()
                content.decode("utf-8")
                self.assertNotIn(b"\r", content)
                self.assertTrue(not content or content.endswith(b"\n"), "the last line has no end")

    def test_no_marks_of_unfinished_work(self):
        self.check(f"{p}:{n}: {line.strip()}" for p in text_files() for n, line in enumerate(text(p).splitlines(), 1)
                   if MARKS.search(line) or CONFLICTS.search(line))

    def test_no_paths_of_one_machine(self):
        self.check(f"{p}: {match.group().decode()}..." for p in FILES
                   for match in MACHINE_PATHS.finditer((ROOT / p).read_bytes()))

    def test_no_disabled_tests(self):
        self.check(f"{p}: {match.group()}" for p in text_files() if p.parts[0] == "tests"
                   for match in SWITCHED_OFF.finditer(text(p)))

    def test_links_of_pages_lead_somewhere(self):
        self.check(problem for page in text_files(".md") for problem in broken_links(page))

    def test_scripts_that_pages_name_exist(self):
        self.check(f"{page}: {name}" for page in text_files(".md")
                   for name in re.findall(r"(?<![\w/.])scripts/[\w/-]+(?:\.\w+)?", text(page))
                   if not (ROOT / name).exists())

    def test_programs_are_executable_and_nothing_else_is(self):
        self.check(f"{p}: {'has' if has_shebang(p) else 'has no'} interpreter line but is "
                   f"{'' if (ROOT / p).stat().st_mode & 0o100 else 'not '}executable"
                   for p in FILES if has_shebang(p) != bool((ROOT / p).stat().st_mode & 0o100))

    def test_shell_scripts_parse_and_stop_at_errors(self):
        scripts = [p for p in FILES if has_shebang(p) and re.match(r"#!.*\b(ba)?sh\b", text(p).partition("\n")[0])]
        self.assertIn(Path(".ci/run"), scripts)
        for path in scripts:
            with self.subTest(path=str(path)):
                shell = "bash" if "bash" in text(path).partition("\n")[0] else "sh"
                self.assertIn("\nset -euo pipefail\n" if shell == "bash" else "\nset -eu\n", text(path))
                parsed = subprocess.run([shell, "-n", ROOT / path], capture_output=True, text=True, check=False)
                self.assertEqual((parsed.returncode, parsed.stderr), (0, ""))

    def test_python_compiles(self):
        for path in text_files(".py"):
            with self.subTest(path=str(path)):
                compile(text(path), str(path), "exec")

    def test_models_have_a_generator(self):
        readme = text(Path("models/README.md"))
        models = [p for p in FILES if p.suffix == ".onnx" and p.parts[0] == "models"]
        self.assertTrue(models)
        for path in models:
            with self.subTest(path=str(path)):
                row = next((r for r in readme.splitlines() if r.startswith(f"| `{path.name}`")), "")
                generator = re.search(r"\(\.\./(scripts/models/\w+\.py)\)", row)
                self.assertTrue(generator, "models/README.md has no row with its generator")
                self.assertIn(path.stem, text(Path(generator[1])), f"{generator[1]} does not make it")

    def test_dependencies_point_one_way(self):
        for folder, pattern, why in FORBIDDEN_INCLUDES:
            self.check(f"{p} includes {included}: {why}" for p in text_files(".cc", ".h")
                       if p.as_posix().startswith(folder) for included in INCLUDE.findall(text(p))
                       if re.search(pattern, included))

    def test_hardware_calls_no_software(self):
        self.check(f"{p}: {match.group()}" for p in text_files(".sv", ".svh") for match in DPI.finditer(text(p)))


class TheChecksThemselves(unittest.TestCase):
    """Each pattern finds what it is for, and leaves alone what it must."""

    def test_patterns(self):
        for pattern, bad, good in (
            (MARKS, "// TO" "DO: later", "// to do this, mastodon"),
            (MACHINE_PATHS, b" /ho" b"me/someone", b"https://example.org/home/x ${root}/build/bin ../work/x /usr/bin"),
            (SWITCHED_OFF, "TEST(A, DIS" "ABLED_b)", "TEST(A, b)"),
            (CONFLICTS, "a\n<<<<<<" "< ours\n", "a << b\n<<<<\n"),
            (DPI, 'im' 'port "DPI-C" function int f();', "import octile_pkg::*;"),
        ):
            with self.subTest(pattern=pattern.pattern):
                self.assertTrue(pattern.search(bad))
                self.assertFalse(pattern.search(good))

    def test_anchors(self):
        page = "# The arithmetic\n## 3. Operator kernels\n```\n# not a heading\n```\n## `octile run`: it\n# The arithmetic\n"
        self.assertEqual(anchors(page), {"the-arithmetic", "3-operator-kernels", "octile-run-it", "the-arithmetic-1"})


if __name__ == "__main__":
    unittest.main()
