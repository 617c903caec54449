"""The workloads. All subjects run at the same time and are measured in turns, so that noise affects all of them."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.measure import LoadGenerator

Row = dict[str, Any]
Results = dict[str, Any]

SMALL = 128  # bytes: the message size of most figures
SIZES = (32, SMALL, 4096, 65536, 1 << 20)
FEW, MANY = 50, 1000  # connections
# More bytes in flight would only fill buffers.
MAX_IN_FLIGHT_BYTES = 64 << 20
# Cores per worker process in the scale workload, so that two workers, a proxy and the generator fit into two cores.
QUOTA = 0.2
# Messages a second in total, over any number of connections.
STEADY = 2000
# Bytes of a message, messages in flight, connections: the workloads for close comparisons.
PAIR = ((SMALL, 1, FEW), (SMALL, 16, FEW))


@dataclass(frozen=True)
class Settings:
    """Numbers of rounds and sizes of the workloads."""

    rounds: int
    rounds_of_pairs: int
    """For comparisons of two subjects that differ by a few percent."""
    seconds: float
    seconds_with_pings: float
    """For many connections: the server pings each client every 20 s."""
    echoes: tuple[tuple[int, int, int], ...]
    """Bytes of a message, messages in flight, connections."""
    steps: tuple[int, ...]
    """Numbers of connections."""
    loads: tuple[float, ...]
    """Shares of saturation."""


FULL = Settings(
    5,
    10,
    0.2,
    1,
    (
        *((size, window, min(FEW, MAX_IN_FLIGHT_BYTES // size // window)) for size in SIZES for window in (1, 16)),
        *((SMALL, window, MANY) for window in (1, 16)),
    ),
    (1000, 5000, 10000),
    (0.1, 0.2, 0.4, 0.6, 0.8),
)
QUICK = Settings(1, 1, 0.1, 0.1, PAIR, (100, 200), (0.2, 0.4))


class Bench:
    """All measurements; after each step it calls `advance` with the name of the workload and its total of steps."""

    def __init__(self, loads: list[LoadGenerator], settings: Settings, advance: Callable[[str, int], None]) -> None:
        self._loads = loads
        self._settings = settings
        self._advance = advance

    def run(self) -> Results:
        # First, because other workloads leave memory allocated.
        grow = self._grow()
        echo = self._echo("echo", self._settings.echoes, self._settings.rounds)
        return {
            "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "architecture": platform.machine()},
            "date": time.strftime("%Y-%m-%d"),
            "rounds": self._settings.rounds,
            "rounds_of_pairs": self._settings.rounds_of_pairs,
            "echo": echo,
            "core": self._echo("core", PAIR, self._settings.rounds_of_pairs),
            "proxy": self._echo("proxy", PAIR, self._settings.rounds_of_pairs),
            "latency": self._latency(echo),
            "handshakes": self._handshakes(),
            "fan": self._fan(),
            "grow": grow,
            "rates": self._rates(echo),
            "scale": self._scale(),
        }

    def _echo(self, name: str, shapes: tuple[tuple[int, int, int], ...], rounds: int) -> list[Row]:
        # Grouped by number of connections, because the generator keeps connections open.
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
            for load in self._loads_for(name)
        ]
        for row, load in self._interleaved(f"{name}, {connections}", rows, rounds):
            result = load.measure("echo", **{key: row[key] for key in _shape(0, 0, 0)}, seconds=self._settings.seconds)
            row["microseconds"].append(result["cpu"] / result["messages"] * 1e6)
            row["front_microseconds"].append(result["front"] / result["messages"] * 1e6)
            row["rate"].append(result["messages"] / result["seconds"])
            row["own_cpu"].append(result["own_cpu"])
            row["lost"] += result["lost"]
        return rows

    def _latency(self, echo: list[Row]) -> list[Row]:
        rows = [_row(load, ("rate", "p50", "p99", "p999", "own_cpu")) for load in self._loads_for("latency")]
        for row, load in self._interleaved("latency", rows):
            rate = _saturation(echo, row["subject"]) / 2
            result = load.measure(
                "paced", connections=FEW, payload=SMALL, rate=rate, seconds=4 * self._settings.seconds
            )
            row["rate"].append(rate)
            for name in ("p50", "p99", "p999", "own_cpu"):
                row[name].append(result[name])
        return rows

    def _handshakes(self) -> list[Row]:
        loads = [load for load in self._loads_for("handshakes", "proxy") if load.running.subject.tls]
        rows = [_row(load, ("full", "resumed", "full_front", "own_cpu")) for load in loads]
        for row, load in self._interleaved("handshakes", rows):
            for kind in ("full", "resumed"):
                result = load.measure("handshakes", resumed=int(kind == "resumed"), seconds=self._settings.seconds)
                row[kind].append(result["cpu"] / result["handshakes"] * 1e3)
                if kind == "full":
                    row["full_front"].append(result["front"] / result["handshakes"] * 1e3)
                    row["own_cpu"].append(result["own_cpu"])
        return rows

    def _fan(self) -> list[Row]:
        rows = [_row(load, ("microseconds", "own_cpu")) for load in self._loads_for("fan")]
        members = MANY if self._settings is FULL else FEW
        for row, load in self._interleaved("fan-out", rows):
            row["members"] = members
            result = load.measure(
                "fan", query="?all", connections=members, payload=SMALL, seconds=self._settings.seconds
            )
            row["microseconds"].append(result["cpu"] / result["messages"] * 1e6)
            row["own_cpu"].append(result["own_cpu"])
        return rows

    def _grow(self) -> list[Row]:
        rows = []
        loads = self._loads_for("grow")
        for load in loads:
            empty = load.running.memory()
            for connections in self._settings.steps:
                load.idle(connections)
                kilobytes = (load.running.memory() - empty) / 1024 / connections
                row = {**_row(load, ("cores",)), "connections": connections, "kilobytes": kilobytes}
                for _ in range(self._settings.rounds if "rates" in load.running.subject.workloads else 0):
                    result = load.measure(
                        "paced",
                        connections=connections,
                        payload=SMALL,
                        rate=STEADY,
                        seconds=self._settings.seconds_with_pings,
                    )
                    row["cores"].append(result["cpu"] / result["seconds"])
                rows.append(row)
                self._advance("connections", len(loads) * len(self._settings.steps))
            load.idle(0)
        return rows

    def _rates(self, echo: list[Row]) -> list[Row]:
        rows = [
            {**_row(load, ("rate", "cores")), "load": share}
            for share in self._settings.loads
            for load in self._loads_for("rates")
        ]
        for row, load in self._interleaved("rates", rows):
            rate = _saturation(echo, row["subject"]) * row["load"]
            result = load.measure("paced", connections=FEW, payload=SMALL, rate=rate, seconds=self._settings.seconds)
            row["rate"].append(result["messages"] / result["seconds"])
            row["cores"].append(result["cpu"] / result["seconds"])
        return rows

    def _scale(self) -> list[Row]:
        rows = [
            {**_row(load, ("rate", "own_cpu")), "processes": load.running.subject.processes}
            for load in self._loads_for("scale")
        ]
        for row, load in self._interleaved("scale", rows):
            load.running.allow(QUOTA)
            # Long enough for several CPU quota periods of 100 ms.
            result = load.measure(
                "echo", payload=SMALL, window=1, connections=4 * FEW, seconds=4 * self._settings.seconds
            )
            load.running.allow(0)
            row["rate"].append(result["messages"] / result["seconds"])
            row["own_cpu"].append(result["own_cpu"])
        return rows

    def _loads_for(self, *workloads: str) -> list[LoadGenerator]:
        return [load for load in self._loads if load.running.subject.workloads & set(workloads)]

    def _interleaved(
        self, name: str, rows: list[Row], rounds: int | None = None
    ) -> Iterator[tuple[Row, LoadGenerator]]:
        loads = {load.running.subject.name: load for load in self._loads}
        rounds = rounds or self._settings.rounds
        for _ in range(rounds):
            for row in rows:
                yield row, loads[row["subject"]]
                self._advance(name, rounds * len(rows))


def _row(load: LoadGenerator, measured: tuple[str, ...]) -> Row:
    return {"subject": load.running.subject.name, **{name: [] for name in measured}}


def _shape(payload: int, window: int, connections: int) -> Row:
    return {"payload": payload, "window": window, "connections": connections}


def _saturation(echo: list[Row], subject: str) -> float:
    """Return the messages a second with one in flight on each of a few connections."""
    shape = _shape(SMALL, 1, FEW)
    rows = [row for row in echo if row["subject"] == subject and all(row[key] == shape[key] for key in shape)]
    return float(median(rows[0]["rate"]))
