"""`python -m wss.observability.status`: the workers of this container, and their open connections, as tables.

Each worker has a socket in RUN_DIR, where it answers `describe` with what it is doing, as JSON; and the workers tell
each other there what concerns all of them.
"""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from wss.config.settings import SettingError, read_settings
from wss.observability.metrics import Traffic

TIMEOUT = 2.0  # seconds that a worker has to answer
DESCRIBE = "describe"
_SUFFIX = ".sock"
_TRAFFIC = tuple(Traffic().as_dict())


def socket_path(directory: Path, worker: int) -> Path:
    """Return where the worker of that number answers."""
    return directory / f"{worker}{_SUFFIX}"


async def serve_control_socket(path: Path, commands: Mapping[str, Callable[..., dict[str, Any]]]) -> asyncio.Server:
    """Answer whoever sends one of these commands, and its arguments, in a line; from now on."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            name, *arguments = (await reader.readline()).decode().split() or [""]
            if command := commands.get(name):
                writer.write(json.dumps(command(*arguments)).encode())
                await writer.drain()

    return await asyncio.start_unix_server(answer, path)


async def broadcast_command(directory: Path, *words: str) -> None:
    """Let all workers of this container do something, the one that calls this included."""
    for path in directory.glob(f"*{_SUFFIX}"):  # noqa: ASYNC240  # in memory
        with suppress(OSError):  # it has ended just now
            _, writer = await asyncio.open_unix_connection(path)
            with closing(writer):
                writer.write(f"{' '.join(words)}\n".encode())
                await writer.drain()


def ask(path: Path) -> dict[str, Any] | None:
    """Return the description of the worker that answers there; None where none does any more."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(str(path))
            connection.sendall(f"{DESCRIBE}\n".encode())
            with connection.makefile("rb") as stream:
                description: dict[str, Any] = json.load(stream)
        except TimeoutError:
            return {"state": f"silent for {TIMEOUT:.0f} s"}
        except (OSError, ValueError):
            return None
    return description


def tables(workers: dict[str, dict[str, Any]]) -> str:
    """Return both tables, as text."""
    rows = [_worker_row(number, worker) for number, worker in workers.items()]
    total = ["total", *[""] * 4, *(sum(int(row[column] or 0) for row in rows) for column in range(5, 12))]
    connections = [
        [number, *(connection[name] for name in ("id", "client", "path", "seconds", *_TRAFFIC, "unread"))]
        for number, worker in workers.items()
        for connection in worker.get("connections", ())
    ]
    traffic = [name.replace("_", " ") for name in _TRAFFIC]
    first = _table(["worker", "process", "state", "up", "MB", "open", "opened", "orphans", *traffic], [*rows, total])
    second = _table(["worker", "id", "client", "path", "seconds", *traffic, "unread"], connections)
    return f"{first}\n\n{second}"


def _worker_row(number: str, worker: dict[str, Any]) -> list[Any]:
    if "process" not in worker:
        return [number, "", worker["state"], *[""] * 9]
    return [
        number,
        worker["process"],
        worker["state"],
        timedelta(seconds=round(worker["seconds"])),
        f"{worker['memory'] / 1e6:.0f}",
        len(worker["connections"]),
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
    paths = sorted(directory.glob(f"*{_SUFFIX}"), key=lambda path: int(path.stem))
    workers = {path.stem: worker for path in paths if (worker := ask(path))}
    if not workers:
        sys.exit(f"error: no worker answers in RUN_DIR={str(directory)!r}. Is the server running?")
    print(tables(workers))


if __name__ == "__main__":
    _main()
