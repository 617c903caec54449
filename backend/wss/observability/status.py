"""`python -m wss.observability.status`: the version, and tables of the workers and of their open connections."""

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from wss.config.environment import SettingError
from wss.config.settings import read_settings
from wss.observability.build import REVISION, VERSION
from wss.observability.control_socket import DESCRIBE, send_command, socket_paths
from wss.observability.metrics import Traffic

TIMEOUT = 2.0  # seconds that a worker has to respond
_TRAFFIC = tuple(Traffic().as_dict())


def describe(path: Path) -> dict[str, Any] | None:
    """Return the description that the worker with this control socket gives; None if it no longer runs."""
    try:
        return send_command(path, DESCRIBE, timeout=TIMEOUT)
    except TimeoutError:
        return {"state": f"no response in {TIMEOUT:.0f} s"}
    except (OSError, ValueError):
        return None


def render(workers: dict[str, dict[str, Any]]) -> str:
    """Return both tables, as text."""
    rows = [_worker_row(number, worker) for number, worker in workers.items()]
    total = ["total", *[""] * 4, *(sum(int(row[column] or 0) for row in rows) for column in range(5, 13))]
    connections = [
        [number, *(connection[name] for name in ("id", "client", "path", "seconds", *_TRAFFIC, "unread"))]
        for number, worker in workers.items()
        for connection in worker.get("connections", ())
    ]
    traffic = [name.replace("_", " ") for name in _TRAFFIC]
    first = _table(
        ["worker", "process", "state", "up", "MB", "open", "draining", "opened", "orphans", *traffic], [*rows, total]
    )
    second = _table(["worker", "id", "client", "path", "seconds", *traffic, "unread"], connections)
    return f"{first}\n\n{second}"


def _worker_row(number: str, worker: dict[str, Any]) -> list[Any]:
    if "process" not in worker:
        return [number, "", worker["state"], *[""] * 10]
    return [
        number,
        worker["process"],
        worker["state"],
        timedelta(seconds=round(worker["seconds"])),
        f"{worker['memory'] / 1e6:.0f}",
        len(worker["connections"]),
        worker["draining"],
        worker["opened"],
        worker["orphans"],
        *(worker[name] for name in _TRAFFIC),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _main() -> None:
    try:
        directory = read_settings(os.environ).run_dir
    except SettingError as error:
        sys.exit(f"error: {error}")
    if not directory:
        sys.exit("error: RUN_DIR is not set. Give the server and this command the same directory")
    paths = sorted(socket_paths(directory), key=lambda path: int(path.stem))
    workers = {path.stem: worker for path in paths if (worker := describe(path))}
    if not workers:
        sys.exit(f"error: no worker responds in RUN_DIR={str(directory)!r}. Is the server running?")
    print(f"version {VERSION}, revision {REVISION}\n\n{render(workers)}")


if __name__ == "__main__":
    _main()
