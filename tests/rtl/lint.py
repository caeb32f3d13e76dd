#!/usr/bin/python3
"""Runs `verilator --lint-only -Wall` on the whole core in one configuration, and checks that every module belongs to it."""

import argparse
import pathlib
import re
import subprocess
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verilator", required=True)
    parser.add_argument("--generator", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--include", required=True)
    parser.add_argument("--waivers", nargs="+", required=True)
    parser.add_argument("--sources", nargs="+", required=True)
    args = parser.parse_args()

    parameters = subprocess.run(["/usr/bin/python3", args.generator, "--verilator-params", args.config], check=True,
                                capture_output=True, text=True).stdout.split()
    command = [args.verilator, "--lint-only", "-Wall", "--assert", "--top-module", "octile_core", f"-I{args.include}"]
    result = subprocess.run(command + parameters + args.waivers + args.sources, capture_output=True, text=True)
    if result.returncode != 0 or result.stderr.strip():
        print(result.stderr)
        return 1

    # A module that nothing instantiates would not have been looked at in this configuration.
    text = {pathlib.Path(s).stem: pathlib.Path(s).read_text() for s in args.sources}
    orphans = [m for m in text if not m.endswith("_pkg") and m != "octile_core" and
               not any(re.search(rf"^\s*{m}\s+(#\(|\w+)", other, re.M) for n, other in text.items() if n != m)]
    for module in orphans:
        print(f"{module}: no module instantiates it")
    return 1 if orphans else 0


if __name__ == "__main__":
    sys.exit(main())
