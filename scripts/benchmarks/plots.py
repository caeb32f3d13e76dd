"""The pictures of docs/benchmarks.md. Standard library only."""

import math

import svg

# Categories of cycles: (key, text, color), in the order in which they are drawn.
LOSSES = (
    ("useful", "useful multiply-accumulates", "#1a7f5a"),
    ("padding", "padding of tiles", "#e0a800"),
    ("short_tile", "short tiles", "#f2d16b"),
    ("weight_wait", "weights (memory)", "#b5479d"),
    ("vector", "vector unit alone", "#d9622b"),
    ("waits", "semaphore waits", "#6f8fc9"),
    ("fill", "fill and drain", "#8c8c8c"),
    ("no_work", "no matrix work queued", "#c3c9d0"),
)


def utilization(figures, targets):
    """Stacked bars of where the cycles of the array went; figures: page.Figures. targets: network -> (floor, goal) or None."""
    left, right, top, row = 150, 150, 84, 26
    bottom = top + row * len(figures)
    picture = svg.Picture(900, bottom + 48, "Where the cycles of the array go, configuration base")
    picture.legend(left, 46, [(color, text) for _, text, color in LOSSES], 900 - left - 20)
    scale = (900 - left - right) / 100
    for percent in range(0, 101, 10):
        picture.line(left + percent * scale, top - 4, left + percent * scale, bottom)
        picture.text(left + percent * scale, bottom + 14, f"{percent}", anchor="middle")
    picture.text(left + 50 * scale, bottom + 34, "% of the cycles of a run (black mark: the floor of the utilization, which counts the vector unit's multiply-accumulates too)", anchor="middle")
    picture.text(900 - right + 10, top - 10, "utilization", bold=True)
    for i, f in enumerate(figures):
        y = top + i * row
        picture.text(left - 8, y + 15, f.network, anchor="end")
        x = left
        for key, _, color in LOSSES:
            width = 100 * f.losses[key] * scale
            picture.rect(x, y + 3, width, row - 8, color)
            x += width
        target = targets.get((f.network, "base"))
        if target:
            at = left + 100 * target[0] * scale
            picture.line(at, y, at, y + row - 2, svg.INK, 2)
        note = f"  (floor {100 * target[0]:.0f})" if target else ""
        picture.text(900 - right + 10, y + 15, f"{100 * f.utilization:.1f} %{note}")
    return str(picture)


def roofline(groups, n, title):
    """Layers by multiply-accumulates per byte of the busier direction of the port, and per cycle. groups: page.LayerGroup."""
    left, top, width, height = 80, 50, 760, 420
    low, high = 0.7, max(1000, 1.2 * max(g.macs / max(1, g.port_bytes) for g in groups))
    x_scale = svg.LogScale(low, high, left, left + width)
    y_scale = svg.LogScale(min(n * low, 0.7 * min(g.macs / g.cycles for g in groups)), 2 * n * n, top + height, top)
    picture = svg.Picture(900, 550, title)
    for tick in x_scale.ticks():
        picture.line(x_scale(tick), top, x_scale(tick), top + height)
        picture.text(x_scale(tick), top + height + 16, svg.number(tick), anchor="middle")
    for tick in y_scale.ticks():
        picture.line(left, y_scale(tick), left + width, y_scale(tick))
        picture.text(left - 6, y_scale(tick) + 4, svg.number(tick), anchor="end")
    ridge = n  # n*n MACs per cycle over n bytes per cycle
    picture.line(x_scale(low), y_scale(n * low), x_scale(ridge), y_scale(n * n), svg.INK, 2)
    picture.line(x_scale(ridge), y_scale(n * n), left + width, y_scale(n * n), svg.INK, 2)
    picture.text(left + width - 6, y_scale(n * n) - 8, f"{n * n} multipliers", anchor="end")
    picture.text(x_scale(4), y_scale(n * 2.8), f"{n} bytes per cycle each way")
    picture.text(left + width / 2, top + height + 38, "useful multiply-accumulates per byte (of reads or of writes, whichever are more)", anchor="middle")
    picture.text(24, top + height / 2, "useful multiply-accumulates per cycle", anchor="middle", turn=-90)
    kinds = {"convolution": "#1f6fb4", "convolution with pooling": "#d9622b", "matrix times vector": "#b5479d"}
    for g in groups:
        radius = 3 + 9 * g.share ** 0.5
        picture.circle(x_scale(g.macs / max(1, g.port_bytes)), y_scale(max(1, g.macs / g.cycles)), round(radius, 1), kinds[g.kind],
                       f"{g.name}: {g.macs / g.cycles:.1f} MAC/cycle, {g.macs / max(1, g.port_bytes):.1f} MAC/byte, {g.cycles:,} cycles")
    picture.legend(left, 540, [(color, text) for text, color in kinds.items()], width)
    return str(picture)


def speed(figures):
    """Simulated cycles per second of wall time, one group of bars per network. figures: page.Figures."""
    kinds = (("timing", "SystemC, timing only", "#6f8fc9"), ("systemc", "SystemC with data", "#1f6fb4"), ("iss", "ISS (cycles of the same run)", "#1a7f5a"),
             ("rtl", "Verilated RTL", "#d9622b"))
    values = [{"timing": f.timing_speed, "systemc": f.speed("systemc"), "iss": f.speed("iss"), "rtl": f.speed("rtl")} for f in figures]
    left, right, top, row = 150, 40, 66, 24
    bottom = top + row * len(figures)
    everything = [x for v in values for x in v.values() if x]
    scale = svg.LogScale(10 ** math.floor(math.log10(min(everything))), 10 ** math.ceil(math.log10(max(everything))), left, 900 - right)
    picture = svg.Picture(900, bottom + 48, "Simulated cycles per second of wall time, configuration base")
    picture.legend(left, 46, [(color, text) for _, text, color in kinds], 900 - left - 20)
    for tick in scale.ticks():
        picture.line(scale(tick), top - 4, scale(tick), bottom)
        picture.text(scale(tick), bottom + 14, svg.number(tick), anchor="middle")
    picture.text((left + 900 - right) / 2, bottom + 34, "million cycles per second (logarithmic)", anchor="middle")
    for i, (f, v) in enumerate(zip(figures, values)):
        y = top + i * row + row / 2
        picture.text(left - 8, y + 4, f.network, anchor="end")
        present = [x for x in v.values() if x]
        picture.line(scale(min(present)), y, scale(max(present)), y, width=2)
        for key, _, color in kinds:
            if v[key]:
                picture.circle(scale(v[key]), y, 6, color, f"{f.network}: {v[key]:.3g} million cycles per second")
    return str(picture)
