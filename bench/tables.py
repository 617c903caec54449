"""All results as Markdown tables."""

from collections.abc import Callable, Iterable
from statistics import median

from bench.capacity import capacity_tables
from bench.markdown import closely, roughly, spread, table
from bench.plan import QUOTA, STEADY, Results, Row

# The subjects that the others are compared to, without and with TLS.
REFERENCES = {False: "backend ws", True: "direct wss"}
BEHIND = ("nginx", "apache", "bare", "haproxy", "caddy", "traefik", "envoy")


def tables(results: Results) -> str:
    sections = (_echo, _core, _proxy, _latency, _handshakes, _storm, _fan, _grow, _scale)
    detailed = (part for section in sections for part in section(results))
    return "\n\n".join([introduction(results), *capacity_tables(results).values(), *detailed]) + "\n"


def introduction(results: Results) -> str:
    machine, rounds = results["machine"], results["rounds"]
    text = (
        f"{results['date']}, {machine['cores']} cores, of which other work used {machine['busy_before']:.2f} before the"
        f" run and {machine['busy_after']:.2f} after it. {rounds} rounds, {results['rounds_of_pairs']} for close"
        f" comparisons of two subjects, {results['rounds_of_long']} for long workloads. Figures are medians (min-max);"
        " ratios are medians of each round's ratio (interquartile range). CPU is the total of all containers of a"
        " subject; of a profile with a proxy, the proxy's part is shown as well."
    )
    if results["workerman"]:
        text += f" Workerman is {results['workerman']}."
    left = "; ".join(results["left_out"]) or "nothing"
    return f"{text}\n\nLeft out: {left}."


def _front(row: Row, name: str, digits: int = 1) -> str:
    """Return the proxy's part; empty if there is no proxy."""
    return f"{median(row[f'front_{name}']):.{digits}f}" if _has_proxy(row) else ""


def _has_proxy(row: Row) -> bool:
    return str(row["subject"]).startswith(BEHIND)


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
    for title, rows in _shapes([*results["echo"], *results["sizes"]]):
        yield table(
            f"Echo of {title}",
            ("", "µs of CPU per message", "proxy's part", "ratio to ours", "messages/s", "generator's CPU", "lost"),
            (
                (
                    row["subject"],
                    spread(row["microseconds"]),
                    _front(row, "microseconds"),
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


def _by_kind(rows: list[Row]) -> Iterable[tuple[str, list[Row]]]:
    """Return the rows of clients without TLS, with a full TLS handshake, and with a resumed session."""
    yield "ws", [row for row in rows if not _tls(row)]
    yield "wss, full TLS handshakes", [row for row in rows if _tls(row) and row["kind"] == "full"]
    yield "wss, resumed TLS sessions", [row for row in rows if row["kind"] == "resumed" and row["resumed"]]


def _handshakes(results: Results) -> Iterable[str]:
    for kind, rows in _by_kind(results["handshakes"]):
        if rows:
            yield table(
                f"A new client and its end, one after another: {kind}",
                ("", "ms of CPU", "proxy's part", "ratio to ours", "resumed", "generator's CPU"),
                (
                    (
                        row["subject"],
                        spread(row["milliseconds"], 2),
                        _front(row, "milliseconds", 2),
                        _to(rows, row, REFERENCES[_tls(row)], "milliseconds"),
                        f"{row['resumed']:.0%}",
                        f"{median(row['own_cpu']):.0%}",
                    )
                    for row in rows
                ),
            )


def _storm(results: Results) -> Iterable[str]:
    for kind, rows in _by_kind(results["storm"]):
        if rows:
            yield table(
                f"Storm: {rows[0]['clients']} clients are dropped and reconnect at once: {kind}",
                (
                    "",
                    "s until all are connected",
                    "ms of CPU per client",
                    "proxy's part",
                    "ratio to ours",
                    "p99 of those that stayed, ms",
                    "failed attempts",
                    "resumed",
                    "generator's CPU",
                ),
                (
                    (
                        row["subject"],
                        spread(row["took"], 2),
                        spread(row["milliseconds"], 2),
                        _front(row, "milliseconds", 2),
                        _to(rows, row, REFERENCES[_tls(row)], "milliseconds"),
                        spread([value / 1e3 for value in row["p99"]], 0),
                        f"{sum(row['retries']):.0f}",
                        f"{row['resumed']:.0%}",
                        f"{median(row['own_cpu']):.0%}",
                    )
                    for row in rows
                ),
            )


def _fan(results: Results) -> Iterable[str]:
    rows = results["fan"]
    if rows:
        yield table(
            f"Fan-out: one message of 128 B to {rows[0]['members']} clients",
            ("", "µs of CPU per client", "proxy's part", "ratio to ours", "generator's CPU"),
            (
                (
                    row["subject"],
                    spread(row["microseconds"]),
                    _front(row, "microseconds"),
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
            "KB of memory per idle connection, and the proxy's part, one round. Backends that several proxies share"
            " count only for the first of them",
            rows,
            lambda row: f"{row['kilobytes']:.1f}" + (f", {row['front_kilobytes']:.1f}" if _has_proxy(row) else ""),
        )
        title = f"Cores at {STEADY:,} messages/s, and the proxy's part, by number of connections"
        yield _by_connections(
            title,
            [row for row in rows if row["cores"]],
            lambda row: spread(row["cores"], 2) + (f", {_front(row, 'cores', 2)}" if _has_proxy(row) else ""),
        )


def _by_connections(title: str, rows: list[Row], cell: Callable[[Row], str]) -> str:
    counts = sorted({row["connections"] for row in rows})
    cells = {(row["subject"], row["connections"]): cell(row) for row in rows}
    subjects = dict.fromkeys(row["subject"] for row in rows)
    return table(
        title,
        ("", *(f"{count:,}" for count in counts)),
        ((subject, *(cells.get((subject, count), "") for count in counts)) for subject in subjects),
    )


def _scale(results: Results) -> Iterable[str]:
    rows = results["scale"]
    if rows:
        yield table(
            f"One process and several, each with {QUOTA} of a core",
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
