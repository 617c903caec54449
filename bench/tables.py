"""Results as Markdown tables: medians, their spread, and ratios to a reference subject of the same run."""

from collections.abc import Callable, Iterable
from statistics import median, quantiles

from bench.workloads import QUOTA, STEADY, Results, Row

CAPACITIES = ("backend ws", "direct wss", "nginx wss", "apache wss")
# The subjects that the others are compared to, without and with TLS.
REFERENCES = {False: "backend ws", True: "direct wss"}


def tables(results: Results) -> str:
    sections = (_capacity, _echo, _core, _proxy, _latency, _handshakes, _fan, _grow, _scale)
    intro = (
        f"{results['date']}, {results['machine']['cores']} cores, {results['rounds']} rounds,"
        f" {results['rounds_of_pairs']} for close comparisons of two subjects. Figures are medians (min-max); ratios"
        " are medians of each round's ratio (interquartile range). CPU is the total of all containers of a subject."
    )
    return "\n\n".join([intro, *(part for section in sections for part in section(results))]) + "\n"


def _capacity(results: Results) -> Iterable[str]:
    last = max((row["connections"] for row in results["grow"]), default=0)
    memory = {row["subject"]: row["kilobytes"] for row in results["grow"] if row["connections"] == last}
    shapes = {title: rows for title, rows in _shapes(results["echo"]) if "128 B" in title and " 50 " in title}
    echoes = [{row["subject"]: median(row["microseconds"]) for row in rows} for rows in shapes.values()]
    fan = {row["subject"]: median(row["microseconds"]) for row in results["fan"]}
    opened = {row["subject"]: f"{1e3 / median(row['full']):,.0f}" for row in results["handshakes"]}
    columns = [*(name.partition(", ")[2].partition(" on ")[0] for name in shapes), "deliveries/s of a broadcast"]
    yield table(
        "Capacity of one core, and of one GiB of memory",
        (
            "",
            *(f"messages/s, {column}" if "flight" in column else column for column in columns),
            "new clients/s",
            "clients",
        ),
        (
            (
                name,
                *(f"{1e6 / costs[name]:,.0f}" for costs in (*echoes, fan)),
                opened.get(name, ""),
                f"{(1 << 20) / memory[name]:,.0f}",
            )
            for name in CAPACITIES
            if name in memory
        ),
    )


def spread(values: list[float], digits: int = 1) -> str:
    """Return the median, and in brackets the minimum and maximum."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def roughly(values: list[float], reference: list[float]) -> str:
    """Return the median of the ratios; values of the same round are compared."""
    return f"{median(_ratios(values, reference)):.2f}"


def closely(values: list[float], reference: list[float]) -> str:
    """Return the median of the ratios, and in brackets their interquartile range."""
    ratios = _ratios(values, reference)
    lower, middle, upper = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return f"{middle:.2f} ({lower:.2f}-{upper:.2f})"


def _ratios(values: list[float], reference: list[float]) -> list[float]:
    return [one / other for one, other in zip(values, reference, strict=True)]


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(head)
    lines = [f"**{title}**", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _shapes(rows: list[Row]) -> Iterable[tuple[str, list[Row]]]:
    shapes = dict.fromkeys((row["payload"], row["window"], row["connections"]) for row in rows)
    for payload, window, connections in shapes:
        title = f"{_size(payload)}, {window} in flight on each of {connections} connections"
        alike = (payload, window, connections)
        yield title, [row for row in rows if (row["payload"], row["window"], row["connections"]) == alike]


def _to(rows: list[Row], row: Row, reference: str, what: str = "microseconds", close: bool = False) -> str:
    found = [each for each in rows if each["subject"] == reference]
    return (closely if close else roughly)(row[what], found[0][what]) if found else ""


def _tls(row: Row) -> bool:
    return str(row["subject"]).endswith("wss")


def _echo(results: Results) -> Iterable[str]:
    for title, rows in _shapes(results["echo"]):
        yield table(
            f"Echo of {title}",
            ("", "µs of CPU per message", "ratio to ours", "messages/s", "generator's CPU", "lost"),
            (
                (
                    row["subject"],
                    spread(row["microseconds"]),
                    _to(rows, row, REFERENCES[_tls(row)]),
                    f"{median(row['rate']):.0f}",
                    f"{median(row['own_cpu']):.0%}",
                    str(row["lost"]),
                )
                for row in rows
            ),
        )


def _core(results: Results) -> Iterable[str]:
    for title, rows in _shapes(results["core"]):
        yield table(
            f"Our handler and the bare core of picows: echo of {title}",
            ("", "µs of CPU per message", "ratio to the core"),
            (
                (
                    row["subject"],
                    spread(row["microseconds"]),
                    _to(rows, row, f"picows core {'wss' if _tls(row) else 'ws'}", close=True),
                )
                for row in rows
            ),
        )


def _proxy(results: Results) -> Iterable[str]:
    for title, rows in _shapes(results["proxy"]):
        yield table(
            f"Our proxies and bare ones, CPU of the proxy only: echo of {title}",
            ("", "µs of CPU per message", "ratio to the bare proxy"),
            (
                (
                    row["subject"],
                    spread(row["front_microseconds"]),
                    _to(rows, row, f"bare {row['subject']}", "front_microseconds", close=True),
                )
                for row in rows
            ),
        )


def _latency(results: Results) -> Iterable[str]:
    rows = results["latency"]
    if rows:
        yield table(
            "Latency of 128 B over 50 connections at half of saturation, and ratio to the floor",
            ("", "messages/s", "p50, µs", "p99, µs", "p99.9, µs", "p50 ratio", "p99 ratio", "generator's CPU"),
            (
                (
                    row["subject"],
                    f"{median(row['rate']):.0f}",
                    *(spread(row[name], 0) for name in ("p50", "p99", "p999")),
                    *(_to(rows, row, f"floor {'wss' if _tls(row) else 'ws'}", name) for name in ("p50", "p99")),
                    f"{median(row['own_cpu']):.0%}",
                )
                for row in rows
            ),
        )


def _handshakes(results: Results) -> Iterable[str]:
    rows = results["handshakes"]
    if rows:
        yield table(
            "Handshakes: TCP, TLS 1.3, WebSocket, close",
            (
                "",
                "full, ms of CPU",
                "ratio to ours",
                "resumed, ms of CPU",
                "full, first container only",
                "per CPU-second, full",
                "resumed",
            ),
            (
                (
                    row["subject"],
                    spread(row["full"], 2),
                    _to(rows, row, REFERENCES[True], "full"),
                    spread(row["resumed"], 2),
                    f"{median(row['full_front']):.2f}",
                    *(f"{1000 / median(row[kind]):.0f}" for kind in ("full", "resumed")),
                )
                for row in rows
            ),
        )


def _fan(results: Results) -> Iterable[str]:
    rows = results["fan"]
    if rows:
        yield table(
            f"Fan-out: one message of 128 B to {rows[0]['members']} clients",
            ("", "µs of CPU per client", "ratio to ours", "generator's CPU"),
            (
                (
                    row["subject"],
                    spread(row["microseconds"]),
                    _to(rows, row, REFERENCES[_tls(row)]),
                    f"{median(row['own_cpu']):.0%}",
                )
                for row in rows
            ),
        )


def _grow(results: Results) -> Iterable[str]:
    rows = results["grow"]
    if rows:
        yield _by_connections(
            "KB of memory per idle connection, one round", rows, lambda row: f"{row['kilobytes']:.0f}"
        )
        title = f"Cores at {STEADY:,} messages/s, by number of connections"
        yield _by_connections(title, [row for row in rows if row["cores"]], lambda row: spread(row["cores"], 2))


def _by_connections(title: str, rows: list[Row], cell: Callable[[Row], str]) -> str:
    counts = sorted({row["connections"] for row in rows})
    cells = {(row["subject"], row["connections"]): cell(row) for row in rows}
    subjects = dict.fromkeys(row["subject"] for row in rows)
    return table(
        title,
        ("", *(f"{count:,}" for count in counts)),
        ((subject, *(cells[subject, count] for count in counts)) for subject in subjects),
    )


def _scale(results: Results) -> Iterable[str]:
    rows = results["scale"]
    if rows:
        yield table(
            f"One process and two, each with {QUOTA} of a core",
            ("", "processes", "messages/s", "ratio to one", "generator's CPU"),
            (
                (
                    row["subject"],
                    str(row["processes"]),
                    spread(row["rate"], 0),
                    _to(rows, row, "direct wss" if row["subject"].startswith("direct") else "nginx wss", "rate"),
                    f"{median(row['own_cpu']):.0%}",
                )
                for row in rows
            ),
        )


def _size(count: int) -> str:
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count // unit} {name}"
    return f"{count} B"
