"""docs/benchmarks.md: the parts between its markers, from the rows that were measured. Standard library only.

`<!-- BEGIN GENERATED name -->` ... `<!-- END GENERATED name -->` is written anew; all other text of the page is kept.
"""

import re
from collections import Counter
from dataclasses import dataclass

import measure
import plots

# Network, configuration -> utilization that must be reached, and that is aimed for.
TARGETS = {("resnet50", "base"): (0.90, 0.96), ("resnet18", "base"): (0.90, 0.96), ("mobilenetv1", "base"): (0.85, 0.95),
           ("mobilenetv2", "base"): (0.70, 0.88), ("yolov8n_640x640", "base"): (0.92, 0.97), ("yolov5n_640x640", "base"): (0.90, 0.96),
           ("resnet50", "large"): (0.85, 0.95)}
ESTIMATE_LIMIT = 0.02
BUSY = 1.5  # load average beside the bench from which on the page says so


class Figures:
    """What one row says, in the units of the page; None where it was not measured."""

    def __init__(self, result):
        self.network, self.variant, self.config = result["network"], result["variant"], result["config"]
        self.failures = result["failures"]
        self.load = result["load"]
        self.report = result.get("report")
        self.compile_seconds = result.get("compile", {}).get("seconds")
        self.compile_peak = result.get("compile", {}).get("peak_bytes", 0)
        if self.report is None:
            self.devices = {}
            return
        self.devices = {d["name"]: d for d in self.report["devices"]}
        self.exact = next((self.devices[n] for n in ("systemc", "rtl") if n in self.devices and "cycles" in self.devices[n]), None)
        self.macs, self.device_macs, self.bound = self.report["macs"], self.report["device_macs"], self.report["ideal_cycles"]
        self.cycles = self.exact and self.exact["cycles"]
        self.utilization = self.exact and self.exact["utilization"]
        self.utilization_all = self.exact and self.exact["utilization_all_multipliers"]
        self.estimate_error = self.report["estimated_cycles"] / self.cycles - 1 if self.cycles else None
        self.bytes = sum(self.exact["bytes"].values()) if self.exact else None
        self.reference_seconds = self.report["host"]["reference_seconds"]
        self.timing_wall = result.get("timing_only", {}).get("wall_seconds")
        self.timing_speed = self.cycles / self.timing_wall / 1e6 if self.timing_wall and self.cycles else None
        self.run_peak = result["run"]["peak_bytes"]
        self.memory_bound = self.report["host_memory_bound_bytes"]
        self.device_peaks = result["run"]["device_peak_bytes"]
        self.cpu_seconds = {**result["run"]["device_cpu_seconds"], "timing": result.get("timing_only", {}).get("device_cpu_seconds"),
                            "compile": result["compile"]["cpu_seconds"]}
        self.losses = _losses(self.exact) if self.exact else None

    @staticmethod
    def percent(fraction):
        return None if fraction is None else 100 * fraction

    def wall(self, device):
        return self.devices[device]["wall_seconds"] if device in self.devices else None

    def speed(self, device):
        """Million simulated cycles per second of the device's wall time."""
        wall = self.wall(device)
        return self.cycles / wall / 1e6 if wall and self.cycles else None

    def layers(self):
        return self.exact["layers"]


def _losses(device):
    """Every cycle of the array in one category of plots.LOSSES, as a share of all."""
    stalls = device["stalls"]
    # Layers without work for the array (depthwise, pooling, elementwise): what the array waits in them is the vector unit's time.
    alone = {key: sum(layer["stalls"][key] for layer in device["layers"] if not layer["array"]) for key in ("semaphore", "no_work")}
    cycles = {"useful": stalls["useful"], "padding": stalls["padding"], "short_tile": stalls["short_tile"], "weight_wait": stalls["weight_wait"],
              "vector": alone["semaphore"] + alone["no_work"], "waits": stalls["semaphore"] - alone["semaphore"],
              "fill": stalls["fence"] + stalls["issue"] + stalls["drain"], "no_work": stalls["no_work"] - alone["no_work"]}
    assert sum(cycles.values()) == device["cycles"], (cycles, device["cycles"])
    return {key: value / max(1, device["cycles"]) for key, value in cycles.items()}


def tenths(shares):
    """Percentages with one decimal that add up to what the shares add up to (largest remainders are rounded up)."""
    exact = {key: 1000 * share for key, share in shares.items()}
    floors = {key: int(value) for key, value in exact.items()}
    missing = round(sum(exact.values())) - sum(floors.values())
    for key in sorted(exact, key=lambda k: floors[k] - exact[k])[:missing]:
        floors[key] += 1
    return {key: f"{value / 10:.1f}" for key, value in floors.items()}


@dataclass
class LayerGroup:
    """Layers that overlap."""
    name: str
    macs: int
    cycles: int
    port_bytes: int  # of the busier direction
    share: float     # of the run's cycles
    kind: str


def layer_groups(f, n):
    """The layers of a network for the roofline. A cycle counts to the layer that issued last, so layers that overlap take cycles of each other: a vector layer
    is one point with the array layer before it, and a layer with more multiply-accumulates than fit into its cycles one with its neighbour."""
    groups, pending = [], []
    for layer in f.layers():
        if layer["macs"] == 0 and groups:
            groups[-1].append(layer)
        elif layer["macs"] == 0:
            pending.append(layer)
        else:
            groups.append([*pending, layer])
            pending = []

    def total(group, key):
        return sum(layer[key] for layer in group)

    at = 0
    while at < len(groups):
        if total(groups[at], "macs") <= n * n * total(groups[at], "cycles") or len(groups) == 1:
            at += 1
            continue
        first = max(0, at - 1)
        groups[first:first + 2] = [groups[first] + groups[first + 1]]
        at = first
    points = []
    for group in groups:
        multiplying = [layer for layer in group if layer["macs"]]
        read = sum(sum(layer["bytes"].values()) - layer["bytes"]["written"] for layer in group)
        written = sum(layer["bytes"]["written"] for layer in group)
        kind = "convolution with pooling" if len(group) > len(multiplying) else _kind(multiplying[0])
        points.append(LayerGroup(" and ".join(short(layer["name"]) for layer in multiplying), total(group, "macs"), total(group, "cycles"), max(read, written),
                                 total(group, "cycles") / f.cycles, kind))
    return points


def _kind(layer):
    # A layer that reads its weights for one position only.
    return "matrix times vector" if layer["macs"] < 2 * layer["bytes"]["weights"] else "convolution"


def short(name):
    return re.sub(r"(_out)?_QuantizeLinear_Output$|_out$", "", name)


def table(header, rows):
    """A Markdown table; a header that ends in ':' stands for a column of text."""
    align = [":--" if h.endswith(":") else "--:" for h in header]
    lines = ["| " + " | ".join(h.rstrip(":") for h in header) + " |", "|" + "|".join(align) + "|"]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows])


def number(value, digits=2):
    return "–" if value is None else f"{value:,.{digits}f}"


def megabytes(count):
    return "–" if not count else f"{count / 1e6:,.0f}"


def conditions(results, figures):
    host = results[0]["host"]
    platforms = {f.config: f.report["config"] for f in figures}
    lines = [f"Measured on: {host['processor']}" + (f" ({', '.join(host['vector_instructions'])})" if host["vector_instructions"] else "") +
             "; programs built with the default options (Release); every device on one thread."]
    busiest = max(r["load"] for r in results)
    if busiest > BUSY:
        lines.append(f"The machine did other work meanwhile (load up to {busiest:.0f}): wall times are longer than those of a quiet machine. Cycles do not depend on it.")
    lines.append("")
    lines += [f"- `{name}`: {c['architecture']}; memory: {c['platform']}" for name, c in sorted(platforms.items())]
    return "\n".join(lines)


def status(f):
    if f.failures:
        return "**fails: " + "; ".join(f.failures) + "**"
    return {1: "{}", 2: "{}, {}", 3: "{}, {}, {}"}[len(f.devices)].format(*({"iss": "ISS", "systemc": "SystemC", "rtl": "RTL"}[d] for d in f.devices))


def accelerator(figures):
    rows = []
    for f in figures:
        if f.report is None or f.cycles is None:
            rows.append([f.network, *[""] * 7, "", status(f)])
            continue
        both = "rtl" in f.devices and "systemc" in f.devices
        equal = "–" if not both else f"{f.devices['rtl']['cycles']:,}"
        rows.append([f.network, number(f.device_macs / 1e9, 3), f"{f.bound:,}", f"{f.cycles:,}", equal, f"{100 * f.utilization:.1f} %", f"{100 * f.utilization_all:.1f} %",
                     f"{100 * f.estimate_error:+.2f} %", number(f.bytes / 1e6, 1), status(f)])
    return table(["Network:", "GMAC on the device", "Bound", "Cycles (SystemC)", "Cycles (RTL)", "Utilization", "Over all multipliers", "Estimate", "MB moved", "Equal to the reference:"], rows)


def best(values, smaller=False):
    present = [v for v in values if v is not None]
    return None if not present else (min if smaller else max)(present)


def targets(by_row):
    """Floor, goal and what was measured."""
    rows = []

    def add(what, floor, goal, value, text, at_most=False, busy=False):
        if value is None:
            return
        def reaches(limit):
            return value <= limit if at_most else value >= limit
        missed = "**above the floor**" if at_most else "**below the floor**"
        verdict = "goal reached" if reaches(goal[0]) else "floor reached" if reaches(floor[0]) else "undecided: the machine was busy" if busy else missed
        rows.append([what, floor[1], goal[1], text, verdict])

    for (network, config), (floor, goal) in TARGETS.items():
        f = by_row.get((network, "s8", config))
        if f and f.utilization is not None:
            add(f"Utilization, {network} on {config}", (floor, f"{100 * floor:.0f} %"), (goal, f"{100 * goal:.0f} %"), f.utilization, f"{100 * f.utilization:.1f} %")
    errors = {name: abs(f.estimate_error) for (name, _, config), f in by_row.items() if f.report and f.estimate_error is not None and config == "base"}
    if errors:
        worst = max(errors, key=errors.get)
        add("Estimate of the compiler, largest error on base", (ESTIMATE_LIMIT, "2 %"), (ESTIMATE_LIMIT, "2 %"), errors[worst], f"{100 * errors[worst]:.2f} % ({worst})", True)
    f = by_row.get(("resnet50", "s8", "base"))
    rtl = {n: f.speed("rtl") for (n, _, c), f in by_row.items() if c == "base" and f.report and f.speed("rtl")}
    if rtl:
        worst = min(rtl, key=rtl.get)
        slow = by_row[(worst, "s8", "base")]
        cpu = f"; {slow.cycles / slow.cpu_seconds['rtl'] / 1e6:.2f} per second of processor time" if slow.load > BUSY and slow.cpu_seconds.get("rtl") else ""
        add("RTL, whole core, slowest network", (0.5, "0.5 MHz"), (2, "2 MHz"), rtl[worst], f"{rtl[worst]:.2f} MHz ({worst}{cpu})", busy=slow.load > BUSY)
    if f and f.report:
        for what, floor, goal, value, process in (
                ("ResNet-50 on the RTL", 60, 15, f.wall("rtl"), "rtl"), ("ResNet-50 on SystemC with data", 3, 1, f.wall("systemc"), "systemc"),
                ("ResNet-50 on SystemC, timing only", 0.5, 0.1, f.timing_wall, "timing"), ("ResNet-50 compiled", 5, 2, f.compile_seconds, "compile"),
                ("Host reference of ResNet-50", 1, 0.5, f.reference_seconds, None), ("ISS on ResNet-50", 1, 0.5, f.wall("iss"), None)):
            if value is None:
                continue
            # On a busy machine the processor time of the whole process tells more, but decides nothing.
            cpu = f.cpu_seconds.get(process) if f.load > BUSY else None
            text = f"{value:.2f} s" + (f" (the process: {cpu:.2f} s of processor time)" if cpu is not None else "")
            add(what, (floor, f"{floor} s"), (goal, f"{goal} s"), value, text, True, f.load > BUSY)
        add("Peak memory of that compilation", (1e9, "1 GB"), (5e8, "500 MB"), f.compile_peak or None, f"{megabytes(f.compile_peak)} MB", True)
    return table(["What:", "Floor", "Goal", "Measured", "Verdict:"], rows)


def losses(figures):
    rows = []
    for f in figures:
        if not f.losses:
            continue
        shown = tenths(f.losses)
        beside = max(0.0, f.utilization - f.losses["useful"])
        name = f.network if f.config == "base" else f"{f.network} on {f.config}"
        rows.append([name, *(shown[key] for key, _, _ in plots.LOSSES), f"{100 * beside:.1f}"])
    return table(["Network:", *(text[0].upper() + text[1:] for _, text, _ in plots.LOSSES), "Beside it: MACs of the vector unit"], rows)


REASONS = {"vector": "vector unit", "weight_wait": "weights", "short_tile": "short tiles", "semaphore": "semaphore", "no_work": "no work"}


def _idle(layer):
    """Cycles of a layer that the array lost, by reason. Of a layer of the vector unit only those in which the array stood still: when it works
    in them, it works on a neighbour."""
    reasons = {key: value for key, value in layer["stalls"].items() if key != "useful"}
    if not layer["array"]:
        del reasons["padding"]
        reasons["vector"] = reasons.pop("semaphore") + reasons.pop("no_work")
    return reasons


def largest(figures):
    """The three layers of each network that lose most cycles of the array, with the main reason."""
    rows = []
    for f in figures:
        if not f.exact:
            continue
        cells = []
        for layer, reasons in sorted(((x, _idle(x)) for x in f.layers()), key=lambda pair: -sum(pair[1].values()))[:3]:
            main = max(reasons, key=reasons.get)
            cells.append(f"`{short(layer['name'])}` {100 * sum(reasons.values()) / f.cycles:.1f} % ({REASONS.get(main, main.replace('_', ' '))})")
        rows.append([f.network if f.config == "base" else f"{f.network} on {f.config}", *cells])
    return table(["Network:", "Largest loss:", "Second:", "Third:"], rows)


def simulators(figures):
    rows = []
    figures = [f for f in figures if f.report]
    busy = max(f.load for f in figures) > BUSY

    def seconds(f, wall, process, digits):
        cpu = f.cpu_seconds.get(process) if busy else None
        return number(wall, digits) + (f" ({number(cpu, 2)})" if wall is not None and cpu is not None else "")

    for f in figures:
        rows.append([f.network, seconds(f, f.wall("systemc"), "systemc", 2), number(f.speed("systemc"), 1), seconds(f, f.timing_wall, "timing", 3), number(f.timing_speed, 1),
                     seconds(f, f.wall("rtl"), "rtl", 1), number(f.speed("rtl"), 3), number(f.wall("iss")), number(f.reference_seconds),
                     seconds(f, f.compile_seconds, "compile", 2), megabytes(f.compile_peak), megabytes(f.run_peak), megabytes(f.memory_bound), megabytes(f.device_peaks.get("systemc")),
                     megabytes(f.device_peaks.get("rtl"))])
    note = "The machine was busy; in brackets the processor time of the whole process, its start and loading the program included.\n\n" if busy else ""
    return note + table(["Network:", "SystemC s", "Mcycle/s", "Timing only s", "Mcycle/s", "RTL s", "MHz", "ISS s", "Reference s", "Compile s", "Its peak MB", "Run peak MB", "Bound MB", "SystemC peak MB",
                  "RTL peak MB"], rows)


def configurations(figures):
    rows = [[f.network, f.config, f"{f.bound:,}", f"{f.cycles:,}", f"{100 * f.utilization:.1f} %", f"{100 * f.utilization_all:.1f} %", f"{100 * f.estimate_error:+.2f} %",
             number(f.bytes / 1e6, 1), number(f.wall("systemc")), status(f)] for f in figures if f.report and f.cycles]
    return table(["Network:", "Configuration:", "Bound", "Cycles", "Utilization", "Over all multipliers", "Estimate", "MB moved", "SystemC s", "Equal to the reference:"], rows)


def variants(by_row, names):
    shown = ("s8", "u8pc", "s8sym")
    if not any((n, v, "base") in by_row for n in names for v in shown[1:]):
        return "Not measured; `scripts/bench --variants all` does."
    rows = []
    for n in names:
        figures = [by_row.get((n, v, "base")) for v in shown]
        cells = []
        for f in figures:
            cells.append("–" if f is None else status(f) if f.failures or not f.cycles else f"{f.cycles:,} ({100 * f.utilization:.1f} %)")
        checked = all(f and not f.failures for f in figures)
        rows.append([n, *cells, "all equal" if checked else "not all"])
    return table(["Network:", "`s8`", "`u8pc`", "`s8sym`", "ISS and SystemC against the reference:"], rows)


def _counted(operators):
    """Operators and their reasons, each pair once with how often it is there."""
    counts = Counter(operators)
    return [f"{count} {name}{f' ({reason})' if reason else ''}" for (name, reason), count in counts.items()]


def host_steps(figures):
    rows = []
    for f in figures:
        if f.report is None:
            continue
        steps = _counted((op["name"].split()[0], op["reason"]) for op in f.report["host_operators"])
        edges = _counted((op["name"].split()[0], "") for op in f.report["edge_operators"])
        share = 100 * (1 - f.device_macs / f.macs) if f.macs else 0
        rows.append([f.network, f"{f.report['operators_on_device']} of {f.report['operators']}", "; ".join(steps).replace("|", "\\|") or "none",
                     f"{share:.2f} %", "; ".join(edges).replace("|", "\\|")])
    return table(["Network:", "Operators on the device", "On the host:", "MACs there", "Conversions at the edge of the model:"], rows)


def roofline_text(groups, n):
    near = sum(1 for g in groups if g.macs / g.cycles >= 0.95 * min(n * n, n * g.macs / max(1, g.port_bytes)))
    share = sum(g.share for g in groups if g.macs / g.cycles >= 0.95 * min(n * n, n * g.macs / max(1, g.port_bytes)))
    bound = [g for g in groups if g.macs / max(1, g.port_bytes) < n]
    return (f"{near} of {len(groups)} points, {100 * share:.0f} % of the cycles, lie within 5 % of their roof. "
            f"{len(bound)} of them {'is' if len(bound) == 1 else 'are'} bound by the port: {', '.join(f'`{g.name}`' for g in bound) or 'none'}.")


def write(root, results):
    """Writes docs/benchmarks.md and docs/images/benchmarks_*.svg."""
    page = root / "docs/benchmarks.md"
    text = page.read_text(encoding="utf-8")
    figures = [Figures(r) for r in results]
    by_row = {(f.network, f.variant, f.config): f for f in figures}
    base = [f for f in figures if f.variant == "s8" and f.config == "base"]
    others = [f for f in figures if f.variant == "s8" and f.config != "base"]
    measured = [f for f in base if f.report and f.cycles]
    if not measured:
        raise measure.BenchError("no row of configuration base is finished, so there is nothing to show; run scripts/bench")
    images = root / "docs/images"
    measure.write(images / "benchmarks_utilization.svg", plots.utilization(measured, TARGETS))
    measure.write(images / "benchmarks_speed.svg", plots.speed(measured))
    parts = {"conditions": conditions(results, [f for f in figures if f.report]), "accelerator": accelerator(base), "targets": targets(by_row),
             "losses": losses(measured + [f for f in others if f.report]), "largest": largest(measured + [f for f in others if f.report]), "configurations": configurations(others), "simulators": simulators(base),
             "variants": variants(by_row, [f.network for f in base]), "host": host_steps(base)}
    resnet = by_row.get(("resnet50", "s8", "base"))
    if resnet and resnet.cycles:
        n = int(re.search(r"\bn=(\d+)", resnet.report["config"]["architecture"])[1])
        groups = layer_groups(resnet, n)
        measure.write(images / "benchmarks_roofline_resnet50.svg", plots.roofline(groups, n, "ResNet-50 on base, layer by layer"))
        parts["roofline"] = roofline_text(groups, n)
    for name, part in parts.items():
        pattern = re.compile(rf"(<!-- BEGIN GENERATED {name} -->\n).*?(<!-- END GENERATED {name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise measure.BenchError(f"docs/benchmarks.md has no markers BEGIN GENERATED {name} and END GENERATED {name}")
        text = pattern.sub(lambda match, part=part: f"{match[1]}{part}\n{match[2]}", text)
    measure.write(page, text)
