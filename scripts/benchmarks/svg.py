"""Small plots as SVG text: the same bytes for the same figures. Standard library only."""

import math
from html import escape

FONT = "font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\""
INK, FAINT = "#24292f", "#d0d7de"


class Picture:
    def __init__(self, width, height, title):
        self.width, self.height = width, height
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" {FONT}>',
                      f"<title>{escape(title)}</title>", f'<rect width="{width}" height="{height}" fill="#ffffff"/>']
        self.text(width / 2, 22, title, size=15, anchor="middle", bold=True)

    def rect(self, x, y, width, height, fill):
        if width > 0:
            self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>')

    def line(self, x1, y1, x2, y2, color=FAINT, width=1, dash=""):
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="{width}"{dashes}/>')

    def circle(self, x, y, radius, fill, label=""):
        tip = f"<title>{escape(label)}</title>" if label else ""
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" fill-opacity="0.75" stroke="#ffffff" stroke-width="0.8">{tip}</circle>')

    def diamond(self, x, y, radius, fill):
        points = f"{x:.1f},{y - radius:.1f} {x + radius:.1f},{y:.1f} {x:.1f},{y + radius:.1f} {x - radius:.1f},{y:.1f}"
        self.parts.append(f'<polygon points="{points}" fill="{fill}" stroke="#ffffff" stroke-width="0.8"/>')

    def text(self, x, y, text, size=11, anchor="start", bold=False, color=INK, turn=0):
        weight = ' font-weight="bold"' if bold else ""
        rotation = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{color}"{weight}{rotation}>{escape(text)}</text>')

    def legend(self, x, y, entries, room):
        """entries: (color, text); wraps within `room` pixels. Returns the y below it."""
        at = x
        for color, text in entries:
            width = 22 + 6.1 * len(text)
            if at + width > x + room and at > x:
                at, y = x, y + 18
            self.rect(at, y - 9, 11, 11, color)
            self.text(at + 16, y, text)
            at += width + 12
        return y + 18

    def __str__(self):
        return "\n".join([*self.parts, "</svg>"]) + "\n"


class LogScale:
    """Maps values to pixels by their logarithm; ticks at powers of ten (and, when there are few, at 2 and 5 of them)."""

    def __init__(self, low, high, first, last):
        self.low, self.high = math.log10(low), math.log10(high)
        self.first, self.last = first, last

    def __call__(self, value):
        position = (math.log10(value) - self.low) / (self.high - self.low)
        return self.first + (self.last - self.first) * min(1.0, max(0.0, position))

    def ticks(self):
        steps = (1,) if self.high - self.low > 3.2 else (1, 2, 5)
        values = (step * 10.0 ** power for power in range(math.floor(self.low), math.ceil(self.high) + 1) for step in steps)
        return [v for v in values if self.low - 1e-9 <= math.log10(v) <= self.high + 1e-9]


def number(value):
    return f"{value:g}" if value < 10000 else f"{value:,.0f}"
