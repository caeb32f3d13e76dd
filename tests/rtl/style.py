#!/usr/bin/python3
"""Holds rtl/ to docs/rtl-subset.md where neither lint nor yosys looks: one module per file, named as the file; no forbidden words; waivers
narrow and with a reason; every module named in the microarchitecture's folders has a head comment."""

import argparse
import pathlib
import re
import sys

# Word or expression, and what the subset says instead. Comments and strings are not looked at.
FORBIDDEN = [
    (r"\b(interface|modport|class|union|casex|casez|force|release|tri|inout)\b", "not in the subset"),
    (r"\bimport\b", "pkg::name instead of import"),
    (r"\b(return|break|continue)\b", "functions assign their name, loops test their condition"),
    (r"\balways\b(?!_)", "always_ff or always_comb"),
    (r"'\{\s*\w+\s*:", "no named assignment patterns"),
    (r"\w+::\w+'\(", "make the width a local constant"),
    (r"\b(reg|wire|integer)\b", "logic, or int unsigned for constants"),
    (r"\d'[sS]?[bdhoBDHO][0-9a-fA-F_]*[xXzZ]", "no x or z literals"),
    (r"\$(display|write|finish|stop|random|urandom|fatal|error)\b", "no system tasks"),
]


def strip(text):
    text = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.S)
    text = re.sub(r'"[^"\n]*"', '""', text)
    return re.sub(r"//[^\n]*", "", text)


def check_source(path):
    raw = path.read_text()
    text = strip(raw)
    errors = []
    names = re.findall(r"^\s*(?:module|package)\s+(?:automatic\s+)?(\w+)", text, re.M)
    if names != [path.stem]:
        errors.append(f"{path}: holds {', '.join(names) or 'nothing'} instead of {path.stem}")
    if not raw.startswith("//"):
        errors.append(f"{path}:1: no comment that says why the module exists")
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, instead in FORBIDDEN:
            if re.search(pattern, line):
                errors.append(f"{path}:{number}: {re.search(pattern, line).group(0)!r}: {instead}")
    if "always_latch" in text and path.stem != "oct_clock_gate":
        errors.append(f"{path}: a latch outside oct_clock_gate")
    for condition in re.findall(r"`ifn?def\s+(\w+)", text):
        if condition not in ("FORMAL", "VERILATOR", "SYNTHESIS", "OCT_ASSERT_ON"):
            errors.append(f"{path}: conditional text on {condition}")
    return errors


def check_waivers(path):
    errors = []
    reason = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("//"):
            reason = True
        elif not stripped:
            reason = False
        elif stripped.startswith("lint_off"):
            if not reason:
                errors.append(f"{path}:{number}: a waiver without a reason")
            if "-file" not in stripped or ("-match" not in stripped and "-lines" not in stripped):
                errors.append(f"{path}:{number}: a waiver that is not narrow (file and match)")
    return errors


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, type=pathlib.Path)
    parser.add_argument("--subset", required=True, type=pathlib.Path)
    args = parser.parse_args()
    errors = []
    if not args.subset.exists():
        errors.append(f"{args.subset} is missing")
    sources = sorted(args.root.glob("*/*.sv"))
    if len(sources) < 30:
        errors.append(f"{args.root}: only {len(sources)} sources found")
    for path in sources:
        errors += check_source(path)
    for path in sorted(args.root.glob("lint/*.vlt")):
        errors += check_waivers(path)
    print("\n".join(errors))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
