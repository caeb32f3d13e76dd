"""Measures networks of the zoo on configurations and devices: a table, BUILD/bench/*.json and docs/benchmarks.md. Standard library only.

Without options that choose rows it measures what the page shows (every network on base, some of them on the RTL and on other
configurations) and writes the page. Finished rows are kept in BUILD/bench/rows until the programs, the model or its input change.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import measure
import page
from measure import BenchError, Row

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = ("resnet18", "resnet50", "mobilenetv1", "mobilenetv2", "mobilenetv3", "squeezenet", "googlenet", "densenet121",
            "shufflenetv2", "vgg16", "yolov5n_480x640", "yolov5n_640x640", "yolov8n_640x640")
VARIANTS = ("s8", "u8pc", "s8sym")
CONFIGS = ("tiny", "small", "base", "large")
DEVICES = ("iss", "systemc", "rtl")
RTL_NETWORKS = ("resnet18", "resnet50", "mobilenetv2", "yolov5n_640x640")
OTHER_CONFIG_NETWORKS = ("resnet50", "mobilenetv2", "yolov5n_640x640")
QUICK_NETWORKS = ("resnet18", "mobilenetv2", "squeezenet")


class UsageError(BenchError):
    pass


def page_rows(variants=VARIANTS[:1]):
    """What docs/benchmarks.md shows."""
    rows = [Row(n, "s8", "base", ("iss", "systemc", "rtl") if n in RTL_NETWORKS else ("iss", "systemc")) for n in NETWORKS]
    rows += [Row(n, "s8", c, ("iss", "systemc")) for c in ("large", "small") for n in OTHER_CONFIG_NETWORKS]
    rows += [Row(n, v, "base", ("iss", "systemc")) for v in variants if v != "s8" for n in NETWORKS]
    return rows


def choice(text, allowed, what):
    if text == "all":
        return allowed
    chosen = tuple(text.split(","))
    for name in chosen:
        if name not in allowed:
            raise UsageError(f"no {what} '{name}'; there are {', '.join(allowed)}, or all")
    return chosen


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__,
                                     epilog="LIST is comma-separated, or all. Exit code: 0 when every result matches the reference and "
                                            "cycle-exact devices agree, 1 when not, 2 usage, 3 something is missing.")
    parser.add_argument("--networks", metavar="LIST", help=f"out of {', '.join(NETWORKS)}")
    parser.add_argument("--configs", metavar="LIST", help=f"out of {', '.join(CONFIGS)}; base when left out")
    parser.add_argument("--devices", metavar="LIST", help="out of iss, systemc, rtl; iss,systemc when left out")
    parser.add_argument("--variants", metavar="LIST", help="out of s8, u8pc, s8sym; s8 when left out. Alone: the rows of the page and, on base, all "
                                                           "networks in the other variants")
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK_NETWORKS)} on base, without RTL")
    parser.add_argument("--fresh", action="store_true", help="measure again what is finished already")
    parser.add_argument("--list", action="store_true", help="print the rows and whether they are finished, measure nothing")
    parser.add_argument("--page", action="store_true", help="write docs/benchmarks.md from the rows as they were measured last, measure nothing")
    parser.add_argument("--record", action="store_true", help="record the cycles of the shipped models and of the networks of the page in "
                                                              "tests/e2e/cycles_recorded.json, which the tests compare with; measure nothing else")
    parser.add_argument("--build", metavar="DIR", default=os.environ.get("OCTILE_BUILD", ROOT / "build"), type=Path,
                        help="build folder (default: OCTILE_BUILD from the environment, else build)")
    parser.add_argument("--no-build", action="store_true", help="take programs and models as they are")
    return parser.parse_args()


def rows_of(options):
    """The rows, and whether they are those of the page."""
    variants = choice(options.variants or "s8", VARIANTS, "variant")
    if options.quick:
        if options.networks or options.configs or options.devices:
            raise UsageError("--quick chooses networks, configurations and devices itself")
        return [Row(n, v, "base", ("iss", "systemc")) for n in QUICK_NETWORKS for v in variants], False
    if not (options.networks or options.configs or options.devices):
        if "s8" not in variants:
            return [Row(n, v, "base", ("iss", "systemc")) for n in NETWORKS for v in variants], False
        return page_rows(variants), True
    networks = choice(options.networks or "all", NETWORKS, "network")
    configs = choice(options.configs or "base", CONFIGS, "configuration")
    chosen = choice(options.devices or "iss,systemc", DEVICES, "device")
    devices = tuple(d for d in DEVICES if d in chosen)
    return [Row(n, v, c, devices) for c in configs for n in networks for v in variants], False


def run(*command):
    done = subprocess.run([str(c) for c in command], check=False)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(str(c) for c in command)}: exit code {done.returncode}")


def build_programs(build, targets):
    run(ROOT / "scripts/install_deps")
    if not (build / "CMakeCache.txt").exists():
        run("cmake", "-S", ROOT, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DOCTILE_TESTS=OFF")
    run("cmake", "--build", build, "--parallel", str(os.cpu_count()), "--target", *targets)


def prepare(rows, options):
    """Programs and models, as far as they are not there."""
    if options.no_build:
        return
    targets = ["octile", "octile-device-systemc"]
    targets += sorted({f"octile-device-rtl-{r.config}" for r in rows if "rtl" in r.devices})
    build_programs(options.build, targets)
    make_models(rows)


def make_models(rows):
    run(ROOT / "scripts/zoo", *dict.fromkeys(f"{r.network}.{r.variant}" for r in rows))


HEADER = ("network", "variant", "config", "GMAC", "bound", "cycles", "util %", "all mult %", "estimate %", "MB", "systemc s", "Mcyc/s", "timing s",
          "iss s", "rtl s", "rtl MHz", "ref s", "compile s", "compile MB", "peak MB", "result")
FORMAT = "{:<16} {:<7} {:<6} {:>6} {:>11} {:>11} {:>6} {:>10} {:>10} {:>6} {:>9} {:>6} {:>8} {:>6} {:>6} {:>7} {:>6} {:>9} {:>10} {:>7}  {}"


def table_line(result):
    f = page.Figures(result)
    if f.report is None:
        return FORMAT.format(result["network"], result["variant"], result["config"], *[""] * 17, "FAILED: " + "; ".join(result["failures"]))
    def number(value, digits=2):
        return "-" if value is None else f"{value:.{digits}f}"
    verdict = "bit-exact" + (", systemc = rtl" if "rtl" in f.devices and "systemc" in f.devices else "")
    return FORMAT.format(
        result["network"], result["variant"], result["config"], number(f.device_macs / 1e9, 3), f"{f.bound:,}", "-" if f.cycles is None else f"{f.cycles:,}",
        number(f.percent(f.utilization), 1), number(f.percent(f.utilization_all), 1), "-" if f.estimate_error is None else f"{100 * f.estimate_error:+.2f}",
        number(f.bytes and f.bytes / 1e6, 1), number(f.wall("systemc")), number(f.speed("systemc"), 1), number(f.timing_wall), number(f.wall("iss")),
        number(f.wall("rtl"), 1), number(f.speed("rtl"), 3), number(f.reference_seconds), number(f.compile_seconds), number(f.compile_peak / 1e6, 0),
        number(f.run_peak / 1e6, 0), "FAILED: " + "; ".join(result["failures"]) if result["failures"] else verdict)


def recorded_cycles():
    file = ROOT / "tests/e2e/cycles_recorded.json"
    return json.loads(file.read_text()) if file.exists() else {}


def compare_with_recorded(results):
    """Prints which cycles are not the recorded ones; the tests fail on that."""
    zoo = recorded_cycles().get("zoo", {})
    for result in results:
        cycles = page.Figures(result).cycles if not result["failures"] else None
        recorded = zoo.get(result["config"], {}).get(f"{result['network']}.{result['variant']}")
        if None not in (cycles, recorded) and cycles != recorded:
            print(f"note: {result['network']}.{result['variant']} on {result['config']} takes {cycles:,} cycles, recorded are {recorded:,}; when that is meant: scripts/bench --record")


def record(options):
    """Cycles without data of all shipped models, and of the networks of the page, into the file that the tests compare with."""
    rows = [r for r in page_rows() if r.variant == "s8"]
    if not options.no_build:
        build_programs(options.build, ["octile", "octile-device-systemc"])
        make_models(rows)
    run("/usr/bin/python3", "-B", ROOT / "tests/e2e/cycles_test.py", options.build / "bin/octile", "--record", "models:tiny,small,base,large",
        *[f"zoo:{c}:{','.join(f'{r.network}.{r.variant}' for r in rows if r.config == c)}" for c in CONFIGS if any(r.config == c for r in rows)])


def bench(options):
    rows, of_page = rows_of(options)
    tools = measure.Tools(options.build / "bin/octile", ROOT / "build/zoo", options.build / "bench")
    if options.page:
        stored = [measure.load(r, tools, any_key=True) for r in page_rows(VARIANTS)]
        page.write(ROOT, [s for s in stored if s])
        return 0
    if options.list:
        for row in rows:
            missing = [f.name for f in (tools.octile, tools.model(row), tools.input(row)) if not f.exists()]
            state = f"needs {', '.join(missing)}" if missing else "finished" if measure.load(row, tools) else "to measure"
            print(f"{row.name:<32} {','.join(row.devices):<16} {state}")
        return 0
    prepare(rows, options)
    results = []
    print(FORMAT.format(*HEADER), flush=True)
    for row in rows:
        result = None if options.fresh else measure.load(row, tools)
        result = result or measure.measure(row, tools)
        results.append(result)
        print(table_line(result), flush=True)
    measure.write(tools.results / "results.json", json.dumps({"schema": measure.SCHEMA, "rows": results}, indent=1) + "\n")
    compare_with_recorded(results)
    if of_page:
        others = [] if options.variants else [r for row in page_rows(VARIANTS) if row.variant != "s8" and (r := measure.load_if_there(row, tools))]
        page.write(ROOT, results + others)
        print("docs/benchmarks.md and its pictures are written")
    failed = [r for r in results if r["failures"]]
    for result in failed:
        for failure in result["failures"]:
            print(f"FAILED {result['network']}.{result['variant']} on {result['config']}: {failure}", file=sys.stderr)
    return 1 if failed else 0


def main():
    def stop(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    options = arguments()
    try:
        if options.record:
            record(options)
            return 0
        return bench(options)
    except BenchError as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 3
    except KeyboardInterrupt:
        print("scripts/bench: interrupted; finished rows are kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
