"""The workloads. All subjects run at the same time and are measured in turns, so that noise affects all of them."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from statistics import median

from bench.measure import LoadGenerator, Measurement
from bench.plan import CALM, FEW, PAIR, QUOTA, SMALL, STEADY, Results, Row, Settings


class Bench:
    """All measurements; after each step it calls `advance` with the name of the workload and its total of steps."""

    def __init__(self, loads: list[LoadGenerator], settings: Settings, advance: Callable[[str, int], None]) -> None:
        self._loads = loads
        self._settings = settings
        self._advance = advance

    def run(self) -> Results:
        # First, because other workloads leave memory allocated.
        grow = self._grow()
        echo = self._echo("echo", PAIR, self._settings.rounds)
        return {
            "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "architecture": platform.machine()},
            "date": time.strftime("%Y-%m-%d"),
            "rounds": self._settings.rounds,
            "rounds_of_pairs": self._settings.rounds_of_pairs,
            "rounds_of_long": self._settings.rounds_of_long,
            "echo": echo,
            "sizes": self._echo("sizes", self._settings.sizes, self._settings.rounds_of_long),
            "core": self._echo("core", PAIR, self._settings.rounds_of_pairs),
            "proxy": self._echo("proxy", PAIR, self._settings.rounds_of_pairs),
            "latency": self._latency(echo),
            "handshakes": self._handshakes(),
            "fan": self._fan(),
            "grow": grow,
            "rates": self._rates(echo),
            "scale": self._scale(),
            "storm": self._storm(),
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
        for row, load in self._interleaved("latency", rows, self._settings.rounds_of_long):
            rate = _saturation(echo, row["subject"]) / 2
            result = load.measure(
                "paced", connections=FEW, payload=SMALL, rate=rate, seconds=4 * self._settings.seconds
            )
            row["rate"].append(rate)
            _append(row, result, "p50", "p99", "p999", "own_cpu")
        return rows

    def _handshakes(self) -> list[Row]:
        rows = [
            {**_row(load, ("milliseconds", "front_milliseconds", "own_cpu")), "kind": kind}
            for load in self._loads_for("handshakes")
            for kind in _kinds(load)
        ]
        for row, load in self._interleaved("handshakes", rows):
            result = load.measure("handshakes", resumed=int(row["kind"] == "resumed"), seconds=self._settings.seconds)
            _per_client(row, result, result["handshakes"])
            row["resumed"] = _resumed(row, result, result["handshakes"], load)
        return rows

    def _fan(self) -> list[Row]:
        rows = [_row(load, ("microseconds", "front_microseconds", "own_cpu")) for load in self._loads_for("fan")]
        for row, load in self._interleaved("fan-out", rows):
            row["members"] = self._settings.members
            result = load.measure(
                "fan",
                query=load.running.subject.room,
                connections=row["members"],
                payload=SMALL,
                seconds=self._settings.seconds,
            )
            row["microseconds"].append(result["cpu"] / result["messages"] * 1e6)
            row["front_microseconds"].append(result["front"] / result["messages"] * 1e6)
            row["own_cpu"].append(result["own_cpu"])
        return rows

    def _storm(self) -> list[Row]:
        measured = ("took", "milliseconds", "front_milliseconds", "p99", "retries", "own_cpu")
        rows = [
            {**_row(load, measured), "kind": kind, "clients": self._settings.dropped}
            for load in self._loads_for("storm")
            for kind in _kinds(load)
        ]
        for row, load in self._interleaved("storm", rows, self._settings.rounds_of_long):
            result = load.storm(
                connections=FEW + row["clients"],
                stay=FEW,
                payload=SMALL,
                rate=CALM,
                resumed=int(row["kind"] == "resumed"),
            )
            row["took"].append(result["seconds"])
            _per_client(row, result, row["clients"])
            _append(row, result, "p99", "retries")
            row["resumed"] = _resumed(row, result, row["clients"], load)
        return rows

    def _grow(self) -> list[Row]:
        steps = {
            load: self._settings.steps[: None if "steps" in load.running.subject.workloads else 1]
            for load in self._loads_for("grow")
        }
        rows = []
        for load in steps:
            empty = load.running.memory()
            for connections in steps[load]:
                rows.append(self._grown(load, empty, connections))
                self._advance("connections", sum(map(len, steps.values())))
            load.idle(0)
        return rows

    def _grown(self, load: LoadGenerator, empty: list[int], connections: int) -> Row:
        load.idle(connections)
        grown = [(now - before) / 1024 for now, before in zip(load.running.memory(), empty, strict=True)]
        row = {
            **_row(load, ("cores", "front_cores")),
            "connections": connections,
            "kilobytes": sum(grown) / connections,
            "front_kilobytes": grown[0] / connections,
        }
        for _ in range(self._settings.rounds_of_long if "rates" in load.running.subject.workloads else 0):
            result = load.measure(
                "paced",
                connections=connections,
                payload=SMALL,
                rate=STEADY,
                seconds=self._settings.seconds_with_pings,
            )
            row["cores"].append(result["cpu"] / result["seconds"])
            row["front_cores"].append(result["front"] / result["seconds"])
        return row

    def _rates(self, echo: list[Row]) -> list[Row]:
        rows = [
            {**_row(load, ("rate", "cores")), "load": share}
            for share in self._settings.loads
            for load in self._loads_for("rates")
        ]
        for row, load in self._interleaved("rates", rows, self._settings.rounds_of_long):
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


def _kinds(load: LoadGenerator) -> tuple[str, ...]:
    return ("full", "resumed") if load.running.subject.tls else ("full",)


def _append(row: Row, result: Measurement, *names: str) -> None:
    for name in names:
        row[name].append(result[name])


def _per_client(row: Row, result: Measurement, clients: float) -> None:
    row["milliseconds"].append(result["cpu"] / clients * 1e3)
    row["front_milliseconds"].append(result["front"] / clients * 1e3)
    row["own_cpu"].append(result["own_cpu"])


def _resumed(row: Row, result: Measurement, clients: float, load: LoadGenerator) -> float:
    """Return the share of clients that resumed their TLS session: a server may refuse, but not the stack.

    Each worker of `direct` has its own ticket keys, so that a ticket of another worker is refused.
    """
    share = result["resumed"] / clients
    if load.running.subject.is_stack and load.running.subject.workers == 1 and share != (row["kind"] == "resumed"):
        raise RuntimeError(f"{row['subject']}: {share:.0%} of the clients resumed their session ({row['kind']})")
    return share


def _shape(payload: int, window: int, connections: int) -> Row:
    return {"payload": payload, "window": window, "connections": connections}


def _saturation(echo: list[Row], subject: str) -> float:
    """Return the messages a second with one in flight on each of a few connections."""
    shape = _shape(SMALL, 1, FEW)
    rows = [row for row in echo if row["subject"] == subject and all(row[key] == shape[key] for key in shape)]
    return float(median(rows[0]["rate"]))
