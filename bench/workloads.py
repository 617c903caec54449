"""What is done with the subjects: all are up at once and take turns, so that a noisy machine is noisy for each."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.measure import Load

Row = dict[str, Any]
Results = dict[str, Any]

SMALL = 128  # bytes: what most figures are about
SIZES = (32, SMALL, 4096, 65536, 1 << 20)
FEW, MANY = 50, 1000  # connections
# Bytes: more than this is not under way at once, but memory that waits to be moved.
MOST_UNDER_WAY = 64 << 20
# The cores that each process of ours gets where they are scaled: so that two, a proxy and the generator fit into two.
QUOTA = 0.2
# Messages a second, over whatever connections there are.
STEADY = 2000
# Bytes of a message, messages in flight, connections: what is compared most closely.
PAIR = ((SMALL, 1, FEW), (SMALL, 16, FEW))


@dataclass(frozen=True)
class Extent:
    """How much is done: of everything, or as quickly as it can be."""

    rounds: int
    rounds_of_pairs: int
    """Where two that differ by a few percent are compared."""
    seconds: float
    echoes: tuple[tuple[int, int, int], ...]
    """Bytes of a message, messages in flight, connections."""
    steps: tuple[int, ...]
    """Numbers of connections."""
    loads: tuple[float, ...]
    """Shares of saturation."""


FULL = Extent(
    5,
    10,
    0.2,
    (
        *((size, window, min(FEW, MOST_UNDER_WAY // size // window)) for size in SIZES for window in (1, 16)),
        *((SMALL, window, MANY) for window in (1, 16)),
    ),
    (1000, 5000, 10000),
    (0.1, 0.2, 0.4, 0.6, 0.8),
)
QUICK = Extent(1, 1, 0.1, PAIR, (100, 200), (0.2, 0.4))


class Bench:
    """All measurements; `advance` is told the name of a workload, its steps in all, and one of them at a time."""

    def __init__(self, loads: list[Load], extent: Extent, advance: Callable[[str, int], None]) -> None:
        self._loads = loads
        self._extent = extent
        self._advance = advance

    def run(self) -> Results:
        # First, while no subject has memory left over from anything else.
        grow = self._grow()
        echo = self._echo("echo", self._extent.echoes, self._extent.rounds)
        return {
            "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "architecture": platform.machine()},
            "date": time.strftime("%Y-%m-%d"),
            "rounds": self._extent.rounds,
            "rounds_of_pairs": self._extent.rounds_of_pairs,
            "echo": echo,
            "core": self._echo("core", PAIR, self._extent.rounds_of_pairs),
            "proxy": self._echo("proxy", PAIR, self._extent.rounds_of_pairs),
            "latency": self._latency(echo),
            "handshakes": self._handshakes(),
            "fan": self._fan(),
            "grow": grow,
            "rates": self._rates(echo),
            "scale": self._scale(),
        }

    def _echo(self, name: str, shapes: tuple[tuple[int, int, int], ...], rounds: int) -> list[Row]:
        # Those of so many connections, and then those of so many: the generator keeps them open.
        numbers = dict.fromkeys(connections for *_, connections in shapes)
        return [
            row
            for number in numbers
            for row in self._echo_over(name, number, tuple(shape for shape in shapes if shape[2] == number), rounds)
        ]

    def _echo_over(
        self, name: str, connections: int, shapes: tuple[tuple[int, int, int], ...], rounds: int
    ) -> list[Row]:
        rows = [
            {**_row(load, ("microseconds", "front_microseconds", "rate", "own_cpu")), **_shape(*shape), "lost": 0}
            for shape in shapes
            for load in self._with(name)
        ]
        for row, load in self._in_turns(f"{name}, {connections}", rows, rounds):
            seen = load.measure("echo", **{key: row[key] for key in _shape(0, 0, 0)}, seconds=self._extent.seconds)
            row["microseconds"].append(seen["cpu"] / seen["messages"] * 1e6)
            row["front_microseconds"].append(seen["front"] / seen["messages"] * 1e6)
            row["rate"].append(seen["messages"] / seen["seconds"])
            row["own_cpu"].append(seen["own_cpu"])
            row["lost"] += seen["lost"]
        return rows

    def _latency(self, echo: list[Row]) -> list[Row]:
        rows = [_row(load, ("rate", "p50", "p99", "p999", "own_cpu")) for load in self._with("latency")]
        for row, load in self._in_turns("latency", rows):
            rate = _saturation(echo, row["subject"]) / 2
            seen = load.measure("paced", connections=FEW, payload=SMALL, rate=rate, seconds=4 * self._extent.seconds)
            row["rate"].append(rate)
            for name in ("p50", "p99", "p999", "own_cpu"):
                row[name].append(seen[name])
        return rows

    def _handshakes(self) -> list[Row]:
        loads = [load for load in self._with("handshakes", "proxy") if load.running.subject.tls]
        rows = [_row(load, ("full", "resumed", "full_front", "own_cpu")) for load in loads]
        for row, load in self._in_turns("handshakes", rows):
            for kind in ("full", "resumed"):
                seen = load.measure("handshakes", resumed=int(kind == "resumed"), seconds=self._extent.seconds)
                row[kind].append(seen["cpu"] / seen["handshakes"] * 1e3)
                if kind == "full":
                    row["full_front"].append(seen["front"] / seen["handshakes"] * 1e3)
                    row["own_cpu"].append(seen["own_cpu"])
        return rows

    def _fan(self) -> list[Row]:
        rows = [_row(load, ("microseconds", "own_cpu")) for load in self._with("fan")]
        members = MANY if self._extent is FULL else FEW
        for row, load in self._in_turns("fan-out", rows):
            row["members"] = members
            seen = load.measure("fan", query="?all", connections=members, payload=SMALL, seconds=self._extent.seconds)
            row["microseconds"].append(seen["cpu"] / seen["messages"] * 1e6)
            row["own_cpu"].append(seen["own_cpu"])
        return rows

    def _grow(self) -> list[Row]:
        rows = []
        loads = self._with("grow")
        for load in loads:
            empty = load.running.memory()
            for connections in self._extent.steps:
                load.idle(connections)
                kilobytes = (load.running.memory() - empty) / 1024 / connections
                row = {**_row(load, ("cores",)), "connections": connections, "kilobytes": kilobytes}
                for _ in range(self._extent.rounds if "rates" in load.running.subject.workloads else 0):
                    # A second, because each client is pinged once in 20.
                    seen = load.measure("paced", connections=connections, payload=SMALL, rate=STEADY, seconds=1)
                    row["cores"].append(seen["cpu"] / seen["seconds"])
                rows.append(row)
                self._advance("connections", len(loads) * len(self._extent.steps))
            load.idle(0)
        return rows

    def _rates(self, echo: list[Row]) -> list[Row]:
        rows = [
            {**_row(load, ("rate", "cores")), "load": share}
            for share in self._extent.loads
            for load in self._with("rates")
        ]
        for row, load in self._in_turns("rates", rows):
            rate = _saturation(echo, row["subject"]) * row["load"]
            seen = load.measure("paced", connections=FEW, payload=SMALL, rate=rate, seconds=self._extent.seconds)
            row["rate"].append(seen["messages"] / seen["seconds"])
            row["cores"].append(seen["cpu"] / seen["seconds"])
        return rows

    def _scale(self) -> list[Row]:
        rows = [
            {**_row(load, ("rate", "own_cpu")), "processes": load.running.subject.processes}
            for load in self._with("scale")
        ]
        for row, load in self._in_turns("scale", rows):
            load.running.allow(QUOTA)
            # Quotas are by 100 ms: several of them.
            seen = load.measure("echo", payload=SMALL, window=1, connections=4 * FEW, seconds=4 * self._extent.seconds)
            load.running.allow(0)
            row["rate"].append(seen["messages"] / seen["seconds"])
            row["own_cpu"].append(seen["own_cpu"])
        return rows

    def _with(self, *workloads: str) -> list[Load]:
        return [load for load in self._loads if load.running.subject.workloads & set(workloads)]

    def _in_turns(self, name: str, rows: list[Row], rounds: int | None = None) -> Iterator[tuple[Row, Load]]:
        loads = {load.running.subject.name: load for load in self._loads}
        rounds = rounds or self._extent.rounds
        for _ in range(rounds):
            for row in rows:
                yield row, loads[row["subject"]]
                self._advance(name, rounds * len(rows))


def _row(load: Load, measured: tuple[str, ...]) -> Row:
    return {"subject": load.running.subject.name, **{name: [] for name in measured}}


def _shape(payload: int, window: int, connections: int) -> Row:
    return {"payload": payload, "window": window, "connections": connections}


def _saturation(echo: list[Row], subject: str) -> float:
    """Return messages a second, one in flight on each of a few connections."""
    shape = _shape(SMALL, 1, FEW)
    rows = [row for row in echo if row["subject"] == subject and all(row[key] == shape[key] for key in shape)]
    return float(median(rows[0]["rate"]))
