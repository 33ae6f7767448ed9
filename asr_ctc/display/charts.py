"""Charts as SVG text, without a plotting library or external resources."""

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 520, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 40
LABEL_SIZE = 11  # of the text in html.STYLE, as wide as a character of a wide script
MOST_BARS = (WIDTH - LEFT - RIGHT) // (LABEL_SIZE + 1)


class Axis:
    """Maps numbers to pixels along one side of a chart, linear or logarithmic, with ticks."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool = False):
        self.low, self.high, self.log = low, max(high, low + 1e-9), log
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log10(max(x, 1e-9)) for x in (value, low, high))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """A few round numbers; on a logarithmic axis powers of ten, with 2 and 5 if few."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
            factors = (1, 2, 5) if len(powers) < 4 else (1,)
            ticks = [m * 10.0**power for power in powers for m in factors]
            return [tick for tick in ticks if self.low <= tick <= self.high]
        size = 10 ** math.floor(math.log10((self.high - self.low) / 5))
        step = next(m * size for m in (1, 2, 5, 10) if (self.high - self.low) / (m * size) <= 6)
        first, last = math.ceil(self.low / step), math.floor(self.high / step + 1e-9)
        return [step * i for i in range(first, last + 1)]


def axes(title_x: str, title_y: str, *, x: Axis, y: Axis, x_ticks: bool = True) -> list[str]:
    """Grid lines, tick numbers and titles."""
    parts = []
    for value in y.ticks():
        at = f"{y(value):.1f}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(text(LEFT - 7, y(value) + 4, f"{value:,.10g}", "tick end"))
    for value in x.ticks() if x_ticks else []:
        parts.append(text(x(value), HEIGHT - BOTTOM + 17, f"{value:,.10g}", "tick middle"))
    base = HEIGHT - BOTTOM
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, title_x, "title middle"))
    middle = (TOP + base) / 2
    parts.append(
        f'<text class="title middle" transform="translate(11 {middle:.0f}) rotate(-90)">'
        f"{escape(title_y)}</text>"
    )
    return parts


def text(x: float, y: float, words: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def rectangle(x: float, y: float, width: float, height: float, *, style: str, hint: str) -> str:
    return (
        f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" '
        f'height="{max(height, 0):.1f}"><title>{escape(hint)}</title></rect>'
    )


def svg(parts: list[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
        + "".join(parts)
        + "</svg>"
    )


def x_axis(low: float, high: float, log: bool = False) -> Axis:
    return Axis(low, high, LEFT, WIDTH - RIGHT, log)


def y_axis(low: float, high: float, log: bool = False) -> Axis:
    return Axis(low, high, HEIGHT - BOTTOM, TOP, log)


def stacked_histogram(
    edges: Sequence[float], counts: dict[str, list[int]], bounds: tuple[float, float]
) -> str:
    """Clips by duration, one colour per split; durations outside the bounds are shaded."""
    totals = [sum(column) for column in zip(*counts.values(), strict=True)] or [0]
    x, y = x_axis(edges[0], edges[-1]), y_axis(0, 1.05 * max(*totals, 1))
    parts = axes("seconds", "clips", x=x, y=y)
    for i, (start, end) in enumerate(pairwise(edges)):
        below = 0
        for name, column in counts.items():
            if column[i]:
                top = y(below + column[i])
                hint = f"{name}, {start:g} to {end:g} s: {column[i]} clips"
                width = x(end) - x(start) - 1
                parts.append(rectangle(x(start), top, width, y(below) - top, style=name, hint=hint))
                below += column[i]
    for start, end in ((edges[0], bounds[0]), (bounds[1], edges[-1])):
        if end > start:
            hint = "outside --min_duration to --max_duration"
            parts.append(
                rectangle(
                    x(start), TOP, x(end) - x(start), HEIGHT - BOTTOM - TOP, style="out", hint=hint
                )
            )
    return svg(parts, "clips by duration")


def bars(
    counts: dict[str, int], styles: dict[str, str], labels: dict[str, str], hints: dict[str, str]
) -> str:
    """Counts of characters on a logarithmic scale, with labels below the bars.

    At most MOST_BARS have room for labels of one character.
    """
    x, y = x_axis(0, max(1, len(counts))), y_axis(0.7, 1.5 * max(counts.values(), default=1), True)
    parts = axes("character", "times", x=x, y=y, x_ticks=False)
    for i, (key, n) in enumerate(counts.items()):
        hint = f"{hints[key]}: {n}"
        height = y(0.7) - y(n)
        parts.append(
            rectangle(x(i) + 0.5, y(n), x(1) - x(0) - 1, height, style=styles[key], hint=hint)
        )
        parts.append(text((x(i) + x(i + 1)) / 2, HEIGHT - BOTTOM + 15, labels[key], "tick middle"))
    return svg(parts, "characters by count")


def scatter(points: Sequence[tuple], limits: tuple[float | None, float | None]) -> str:
    """Characters per second against duration: a dot per clip, a ring per suspect clip, a band of
    plausible rates.

    ``points`` are (seconds, rate, split, clip), where ``clip`` is None unless the clip is suspect.
    """
    low, high = limits
    tallest = max([point[1] for point in points] + [1.2 * high if high else 1.0])
    x = x_axis(0, 1.03 * max([point[0] for point in points] + [1.0]))
    y = y_axis(0, 1.03 * tallest)
    parts = axes("seconds", "characters per second of sound", x=x, y=y)
    if low is not None and high:
        hint = f"plausible: {low:.1f} to {high:.1f} characters per second"
        top = y(high)
        parts.insert(
            0, rectangle(LEFT, top, WIDTH - RIGHT - LEFT, y(low) - top, style="band", hint=hint)
        )
    for seconds, rate, name, clip in points:
        at = f'cx="{x(seconds):.1f}" cy="{y(rate):.1f}"'
        if clip is None:
            parts.append(f'<circle class="{name} dot" {at} r="1.6"/>')
        else:
            hint = escape(f"{name} {clip}: {rate:g} characters per second")
            parts.append(f'<circle class="odd" {at} r="4"><title>{hint}</title></circle>')
    return svg(parts, "characters per second against duration")


def ranks(values: dict[str, list[int]]) -> str:
    """Clips per speaker in descending order: a stepped line per split, both axes logarithmic."""
    most = max([max(v) for v in values.values() if v], default=1)
    n_most = max([len(v) for v in values.values()], default=1)
    x, y = x_axis(1, max(2, n_most + 1, 1.2 * n_most), True), y_axis(0.8, max(2, 1.3 * most), True)
    parts = axes("speakers, by their clips", "clips", x=x, y=y)
    for name, counts in values.items():
        if counts:
            d = f"M{x(1):.1f} {y(counts[0]):.1f}"
            for i, n in enumerate(counts, start=1):
                if i == len(counts) or n != counts[i]:  # the last speaker with n clips
                    d += f"V{y(n):.1f}H{x(i + 1):.1f}"
            hint = f"{name}: {len(counts)} speakers, the first with {counts[0]} clips"
            parts.append(f'<path class="{name}" d="{d}"><title>{escape(hint)}</title></path>')
    return svg(parts, "speakers by clips")
