"""The tables of docs/benchmarks.md: what one core and one GiB carry, the storm, the proxies and the servers."""

from collections.abc import Iterable, Iterator
from statistics import median

from bench.markdown import table
from bench.plan import FEW, SMALL, Results, Row

PROFILES = ("backend ws", "direct wss", "nginx wss", "apache wss")
SCALED = ("direct with 2 workers wss", "nginx with 3 replicas wss")
PROXIES = ("nginx wss", "apache wss", "haproxy wss", "envoy wss", "caddy wss", "traefik wss")
SERVERS = ("websockets", "uvicorn", "granian", "Node ws", "Go gorilla", "Bun", "uWebSockets.js", "Workerman")
# With TLS; what stands for "ours" among the servers.
WITH_TLS = ("direct wss", *(f"{name} wss" for name in SERVERS))
WITHOUT_TLS = ("backend ws", *(f"{name} ws" for name in SERVERS))


def capacity_tables(results: Results) -> dict[str, str]:
    """Return the tables by their names on the page."""
    figures = Figures(results)
    return {
        "capacity": _capacity(figures),
        "storm": _storm(figures),
        "proxies": _proxies(figures),
        "servers": _servers(figures, "Servers without TLS", WITHOUT_TLS),
        "servers with TLS": _servers(figures, "Servers with TLS", WITH_TLS),
    }


class Figures:
    """Medians by subject; a subject that was not measured has none."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self.dropped = max((row["clients"] for row in results["storm"]), default=0)
        self.members = max((row["members"] for row in results["fan"]), default=0)

    def known(self, names: Iterable[str]) -> list[str]:
        measured = {row["subject"] for workload in ("echo", "storm") for row in self._results[workload]}
        return [name for name in names if name in measured]

    def median(self, workload: str, subject: str, name: str, **alike: object) -> float:
        """Return the median of one row; NaN if there is none."""
        rows = [row for row in self._results[workload] if row["subject"] == subject]
        for row in rows:
            if all(row[key] == value for key, value in alike.items()):
                return float(median(row[name]))
        return float("nan")

    def echo(self, subject: str, window: int, name: str = "microseconds") -> float:
        return self.median("echo", subject, name, payload=SMALL, window=window, connections=FEW)

    def kilobytes(self, subject: str, name: str = "kilobytes") -> float:
        """Return the figure of the highest number of connections."""
        rows: list[Row] = [row for row in self._results["grow"] if row["subject"] == subject]
        return float(rows[-1][name]) if rows else float("nan")


def _cells(*values: tuple[float, str]) -> Iterator[str]:
    """Return values in their formats; empty instead of NaN."""
    for value, form in values:
        yield "" if value != value else f"{value:{form}}"


def _capacity(figures: Figures) -> str:
    return table(
        "Capacity of one core, and of one GiB of memory",
        (
            "",
            "messages/s, 1 in flight",
            "messages/s, 16 in flight",
            "deliveries/s of a broadcast",
            "new clients/s",
            "new clients/s in a storm",
            "resumed TLS in a storm",
            "clients per GiB",
        ),
        (
            (
                name,
                *_cells(
                    *((1e6 / figures.echo(name, window), ",.0f") for window in (1, 16)),
                    (1e6 / figures.median("fan", name, "microseconds"), ",.0f"),
                    (1e3 / figures.median("handshakes", name, "milliseconds", kind="full"), ",.0f"),
                    *(
                        (1e3 / figures.median("storm", name, "milliseconds", kind=kind), ",.0f")
                        for kind in ("full", "resumed")
                    ),
                    ((1 << 20) / figures.kilobytes(name), ",.0f"),
                ),
            )
            for name in figures.known(PROFILES)
        ),
    )


def _storm(figures: Figures) -> str:
    return table(
        f"Storm: {figures.dropped} clients are dropped and reconnect at once",
        (
            "",
            "s until all are connected",
            "ms of CPU per client",
            "proxy's part",
            "s with resumed TLS",
            "ms with resumed TLS",
            "p99 of those that stayed, ms",
        ),
        (
            (
                name,
                *_cells(
                    (figures.median("storm", name, "took", kind="full"), ".2f"),
                    (figures.median("storm", name, "milliseconds", kind="full"), ".2f"),
                    (_part(figures, "storm", name, "milliseconds", kind="full"), ".2f"),
                    *((_resumed(figures, name, what), ".2f") for what in ("took", "milliseconds")),
                    (figures.median("storm", name, "p99", kind="full") / 1e3, ".0f"),
                ),
            )
            for name in figures.known((*PROFILES, *SCALED, *PROXIES[2:], *WITH_TLS[1:]))
        ),
    )


def _resumed(figures: Figures, name: str, what: str) -> float:
    """Return a figure of the storm with resumed sessions; NaN if the server resumed none."""
    return figures.median("storm", name, what, kind="resumed", resumed=1.0)


def _part(figures: Figures, workload: str, name: str, what: str, **alike: object) -> float:
    """Return the proxy's part; NaN if there is no proxy."""
    has_proxy = name.startswith(tuple(proxy.split()[0] for proxy in PROXIES))
    return figures.median(workload, name, f"front_{what}", **alike) if has_proxy else float("nan")


def _proxies(figures: Figures) -> str:
    return table(
        "Proxies, each before the same backend: the proxy's part",
        (
            "",
            "µs of CPU per message, 1 in flight",
            "16 in flight",
            "ms of CPU per new client",
            "KB per idle client",
            "whole storm, s",
            "p99 of those that stayed, ms",
        ),
        (
            (
                name.removesuffix(" wss"),
                *_cells(
                    *((figures.echo(name, window, "front_microseconds"), ".1f") for window in (1, 16)),
                    (figures.median("handshakes", name, "front_milliseconds", kind="full"), ".2f"),
                    (figures.kilobytes(name, "front_kilobytes"), ".0f"),
                    (figures.median("storm", name, "took", kind="full"), ".2f"),
                    (figures.median("storm", name, "p99", kind="full") / 1e3, ".0f"),
                ),
            )
            for name in figures.known(PROXIES)
        ),
    )


def _servers(figures: Figures, title: str, names: tuple[str, ...]) -> str:
    return table(
        title,
        (
            "",
            "µs of CPU per message, 1 in flight",
            "16 in flight",
            f"µs per client of a broadcast to {figures.members}",
            "ms of CPU per new client",
            "in a storm",
            "KB per idle client",
        ),
        (
            (
                name,
                *_cells(
                    *((figures.echo(name, window), ".1f") for window in (1, 16)),
                    (figures.median("fan", name, "microseconds"), ".1f"),
                    (figures.median("handshakes", name, "milliseconds", kind="full"), ".2f"),
                    (figures.median("storm", name, "milliseconds", kind="full"), ".2f"),
                    (figures.kilobytes(name), ".1f"),
                ),
            )
            for name in figures.known(names)
        ),
    )
