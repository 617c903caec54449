"""Charts of the results as SVG, for light and dark pages."""

import math
from collections.abc import Iterable
from statistics import median
from xml.sax.saxutils import escape

from bench.plan import PAIR, Results, Row

OURS = ("backend ws", "direct wss", "nginx wss", "apache wss")
WIDTH, LABELS, BAR, GAP = 720, 190, 16, 4
MAX_MARKED_POINTS = 20  # a line with more points has no markers
STYLE = (
    "<style>text{font:13px system-ui,sans-serif;fill:#1c2127}.title{font-weight:600}"
    ".grid{stroke:#98a2ae;stroke-width:.5}"
    ".ours{fill:#0a5fc2}.others{fill:#98a2ae}path{fill:none;stroke-width:2}"
    ".c0{stroke:#0a5fc2;fill:#0a5fc2}.c1{stroke:#0c7c59;fill:#0c7c59}.c2{stroke:#b3470f;fill:#b3470f}"
    ".c3{stroke:#8035b8;fill:#8035b8}path.c0,path.c1,path.c2,path.c3{fill:none}"
    "@media(prefers-color-scheme:dark){text{fill:#e4e8ed}.ours{fill:#75b3ff}.others{fill:#59636e}"
    ".c0{stroke:#75b3ff;fill:#75b3ff}.c1{stroke:#4ecb9d;fill:#4ecb9d}.c2{stroke:#ff9b62;fill:#ff9b62}"
    ".c3{stroke:#cd9bf2;fill:#cd9bf2}path.c0,path.c1,path.c2,path.c3{fill:none}}</style>"
)


def charts(results: Results) -> dict[str, str]:
    """Return the charts by name; without those of which nothing was measured."""
    made = {}
    for shape in PAIR:
        rows = [row for row in results["echo"] if (row["payload"], row["window"], row["connections"]) == shape]
        title = f"CPU per echoed message of 128 bytes, {shape[1]} in flight"
        made[f"echo-{shape[1]}"] = bars(title, "µs", {row["subject"]: median(row["microseconds"]) for row in rows})
    made["storm"] = bars(
        "CPU per client that reconnects in a storm, full TLS handshakes",
        "ms",
        {
            row["subject"]: median(row["milliseconds"])
            for row in results["storm"]
            if row["kind"] == "full" and row["subject"].endswith("wss")
        },
        digits=2,
    )
    made["rates"] = lines(
        "CPU by message rate, 50 connections",
        ("messages/s", "cores"),
        {name: [(median(row["rate"]), median(row["cores"])) for row in rows] for name, rows in _ours(results["rates"])},
    )
    grown = list(_ours(results["grow"]))
    made["connections"] = lines(
        "CPU by number of connections, 2,000 messages/s in total",
        ("connections", "cores"),
        {name: [(row["connections"], median(row["cores"])) for row in rows] for name, rows in grown},
    )
    made["memory"] = lines(
        "Memory by number of idle connections",
        ("connections", "MB"),
        {
            name: [(row["connections"], row["kilobytes"] * row["connections"] / 1024) for row in rows]
            for name, rows in grown
        },
    )
    return {name: chart for name, chart in made.items() if chart}


def _ours(rows: list[Row]) -> Iterable[tuple[str, list[Row]]]:
    for name in OURS:
        if found := [row for row in rows if row["subject"] == name]:
            yield name, found


def bars(title: str, unit: str, values: dict[str, float], digits: int = 1) -> str:
    """Return a chart with a horizontal bar for each value; empty if there are none."""
    if not values:
        return ""
    longest = max(values.values())
    parts = []
    for index, (name, value) in enumerate(values.items()):
        top = 36 + index * (BAR + GAP)
        width = (WIDTH - LABELS - 110) * value / longest
        kind = "ours" if name in OURS else "others"
        parts += [
            f'<text x="{LABELS - 10}" y="{top + 13}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{LABELS}" y="{top}" width="{width:.1f}" height="{BAR}" rx="3"/>',
            f'<text x="{LABELS + width + 8:.1f}" y="{top + 13}">{value:.{digits}f} {escape(unit)}</text>',
        ]
    return _svg(title, 40 + len(values) * (BAR + GAP), parts)


def lines(title: str, axes: tuple[str, str], series: dict[str, list[tuple[float, float]]]) -> str:
    """Return a chart with a line for each series; the axes start at 0. Empty if there are none."""
    if not series:
        return ""
    left, right, top, bottom = 70, WIDTH - 150, 48, 308
    max_x, max_y = (_round(max(point[axis] for points in series.values() for point in points)) for axis in (0, 1))

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * x / max_x, bottom - (bottom - top) * y / max_y

    parts = []
    for quarter in range(5):
        y = bottom - (bottom - top) * quarter / 4
        x = left + (right - left) * quarter / 4
        parts += [
            f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{_short(max_y * quarter / 4)}</text>',
            f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{_short(max_x * quarter / 4)}</text>',
        ]
    parts.append(f'<text x="{left}" y="{top - 10}">{escape(axes[1])}</text>')
    parts.append(f'<text x="{right}" y="{bottom + 38}" text-anchor="end">{escape(axes[0])}</text>')
    for index, (name, points) in enumerate(series.items()):
        placed = [place(x, y) for x, y in sorted(points)]
        path = " L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        parts.append(f'<path class="c{index}" d="M{path}"/>')
        if len(placed) < MAX_MARKED_POINTS:
            parts += [f'<circle class="c{index}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in placed]
        parts.append(f'<rect class="c{index}" x="{right + 20}" y="{top + 22 * index}" width="10" height="10"/>')
        parts.append(f'<text x="{right + 36}" y="{top + 10 + 22 * index}">{escape(name)}</text>')
    return _svg(title, bottom + 50, parts)


def _round(maximum: float) -> float:
    """Return the end of an axis that has four steps of 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(maximum / 4))
    return next(4 * step * power for step in (1, 2, 2.5, 5, 10) if 4 * step * power >= maximum)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")


def _svg(title: str, height: int, parts: list[str]) -> str:
    box = f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}"'
    head = f'<text class="title" x="0" y="18">{escape(title)}</text>'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {box}>', STYLE, head, *parts, "</svg>", ""])
