"""Results as Markdown: medians, their spread, and how they relate to one subject of the same run."""

from statistics import median
from typing import Any

# To whom the others are compared.
OURS = {False: "backend ws", True: "direct wss"}

Results = dict[str, Any]


def spread(values: list[float]) -> str:
    """Return the median, and in brackets the lowest and the highest."""
    return f"{median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def tables(results: Results) -> str:
    parts = [f"Rounds: {results['rounds']}. Figures are medians (lowest-highest).", *_echo(results)]
    parts += _handshakes(results)
    parts += _memory(results)
    return "\n\n".join(parts) + "\n"


def _echo(results: Results) -> list[str]:
    parts = []
    for shape in dict.fromkeys((row["payload"], row["window"], row["connections"]) for row in results["echo"]):
        payload, window, connections = shape
        rows = [row for row in results["echo"] if (row["payload"], row["window"], row["connections"]) == shape]
        costs = {row["subject"]: median(row["microseconds"]) for row in rows}
        lines = [
            f"**Echo of {size(payload)}, {window} in flight on each of {connections} connections**",
            "",
            "| | µs of CPU per message | to ours | messages/s | generator's CPU | lost |",
            "|---|---|---|---|---|---|",
        ]
        for row in rows:
            name = row["subject"]
            ratio = costs[name] / costs[OURS[name.endswith("wss")]] if OURS[name.endswith("wss")] in costs else 1
            lines.append(
                f"| {name} | {spread(row['microseconds'])} | {ratio:.2f} | {median(row['rate']):.0f}"
                f" | {median(row['own_cpu']):.0%} | {row['lost']} |"
            )
        parts.append("\n".join(lines))
    return parts


def _handshakes(results: Results) -> list[str]:
    rows = results["handshakes"]
    if not rows:
        return []
    lines = [
        "**Handshakes: TCP, TLS 1.3, WebSocket, close**",
        "",
        "| | full, ms of CPU | resumed, ms of CPU |",
        "|---|---|---|",
    ]
    lines += [f"| {row['subject']} | {spread(row['full'])} | {spread(row['resumed'])} |" for row in rows]
    return ["\n".join(lines)]


def _memory(results: Results) -> list[str]:
    rows = results["memory"]
    if not rows:
        return []
    counts = sorted({int(count) for row in rows for count in row["kilobytes"]})
    lines = ["**KB of memory per idle connection**", "", "| | " + " | ".join(f"{count:,}" for count in counts) + " |"]
    lines.append("|---" * (len(counts) + 1) + "|")
    lines += [
        f"| {row['subject']} | " + " | ".join(f"{row['kilobytes'][str(count)]:.0f}" for count in counts) + " |"
        for row in rows
    ]
    return ["\n".join(lines)]


def size(count: int) -> str:
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count // unit} {name}"
    return f"{count} B"
