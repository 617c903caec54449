"""The command: `make bench`, or `python -m bench [--quick] [--only NAME …]`."""

import argparse
import json
import os
import platform
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import docker
import trustme
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.chart import bars
from bench.measure import Load, loading
from bench.subject import NAME, REPOSITORY, SUBJECTS, Subject, build, running
from bench.tables import Results, tables

OURS = {"backend ws", "direct wss", "nginx wss", "apache wss"}
SIZES = (32, 128, 4096, 65536, 1 << 20)


def shapes(quick: bool) -> list[tuple[int, int, int]]:
    """Return (bytes of a message, messages in flight, connections)."""
    if quick:
        return [(128, 1, 20), (128, 16, 20)]
    return [(size, window, 50) for size in SIZES for window in (1, 16)] + [(128, 1, 1000), (128, 16, 1000)]


def write_certificates(directory: Path) -> None:
    """Write a pair and its CA, for the subjects and for the load generator."""
    directory.chmod(0o755)
    ca = trustme.CA()
    leaf = ca.issue_cert(NAME)
    leaf.private_key_pem.write_to_path(directory / "server.key")
    (directory / "server.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    ca.cert_pem.write_to_path(directory / "ca.pem")
    for file in directory.iterdir():
        file.chmod(0o644)


class Bench:
    """All subjects up at once, so that their rounds can take turns."""

    def __init__(self, loads: dict[str, Load], subjects: list[Subject], quick: bool, progress: Progress) -> None:
        self._loads = loads
        self._subjects = subjects
        self._rounds = 1 if quick else 5
        self._seconds = 0.3 if quick else 0.5
        self._quick = quick
        self._progress = progress

    def run(self) -> Results:
        return {
            "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "architecture": platform.machine()},
            "date": time.strftime("%Y-%m-%d"),
            "rounds": self._rounds,
            "echo": self._echo(),
            "handshakes": self._handshakes(),
            "memory": self._memory(),
        }

    def _echo(self) -> list[dict[str, Any]]:
        rows = [
            {
                "subject": subject.name,
                "payload": payload,
                "window": window,
                "connections": connections,
                "microseconds": [],
                "rate": [],
                "own_cpu": [],
                "lost": 0,
            }
            for payload, window, connections in shapes(self._quick)
            for subject in self._subjects
        ]
        for row in self._in_turns("echo", rows):
            shape = {key: row[key] for key in ("payload", "window", "connections")}
            seen = self._loads[row["subject"]].measure(workload="echo", seconds=self._seconds, **shape)
            row["microseconds"].append(seen["cpu"] / seen["messages"] * 1e6)
            row["rate"].append(seen["messages"] / seen["seconds"])
            row["own_cpu"].append(seen["own_cpu"])
            row["lost"] += seen["lost"]
        return rows

    def _handshakes(self) -> list[dict[str, Any]]:
        names = [subject.name for subject in self._subjects if subject.tls and subject.speaks_websocket]
        rows: list[dict[str, Any]] = [{"subject": name, "full": [], "resumed": []} for name in names]
        for row in self._in_turns("handshakes", rows):
            for kind in ("full", "resumed"):
                seen = self._loads[row["subject"]].measure(
                    workload="handshakes", resumed=kind == "resumed", seconds=self._seconds
                )
                row[kind].append(seen["cpu"] / seen["handshakes"] * 1e3)
        return rows

    def _memory(self) -> list[dict[str, Any]]:
        counts = (200,) if self._quick else (1000, 5000, 10000)
        names = [subject.name for subject in self._subjects if subject.speaks_websocket]
        rows: list[dict[str, Any]] = [{"subject": name, "kilobytes": {}} for name in names]
        with_counts = [(row, count) for row in rows for count in counts]
        task = self._progress.add_task("memory", total=len(with_counts))
        for row, count in with_counts:
            row["kilobytes"][str(count)] = self._loads[row["subject"]].hold(count) / 1024
            self._progress.advance(task)
        return rows

    def _in_turns(self, name: str, rows: list[dict[str, Any]]) -> Any:
        task = self._progress.add_task(name, total=self._rounds * len(rows))
        for _ in range(self._rounds):
            for row in rows:
                yield row
                self._progress.advance(task)


def write(results: Results, directory: Path) -> None:
    """Write results.json, tables.md and the charts."""
    directory.mkdir(exist_ok=True)
    (directory / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (directory / "tables.md").write_text(tables(results))
    for window in (1, 16):
        rows = [row for row in results["echo"] if (row["payload"], row["window"]) == (128, window)][: len(SUBJECTS)]
        costs = {row["subject"]: median(row["microseconds"]) for row in rows}
        title = f"CPU for the echo of a message of 128 bytes, {window} in flight"
        (directory / f"echo-{window}.svg").write_text(bars(title, "µs", costs, OURS))


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of a few workloads")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="subjects whose names have one of these words")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "bench" / "results", help="a directory")
    options = parser.parse_args()
    subjects = [
        subject for subject in SUBJECTS if not options.only or any(word in subject.name for word in options.only)
    ]
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory() as name,
        ExitStack() as up,
        Progress(*columns, console=console) as progress,
    ):
        certs = Path(name)
        write_certificates(certs)
        build()
        engine = docker.from_env()
        loads = {}
        task = progress.add_task("start", total=len(subjects))
        for subject in subjects:
            started = up.enter_context(running(engine, subject, certs))
            loads[subject.name] = up.enter_context(loading(started, certs))
            progress.advance(task)
        results = Bench(loads, subjects, options.quick, progress).run()
    write(results, options.output)
    print(tables(results))
    if lost := sum(row["lost"] for row in results["echo"]):
        raise SystemExit(f"error: {lost} messages had no reply")


if __name__ == "__main__":
    main()
