"""Control sockets: each worker runs commands that it receives on a Unix socket in RUN_DIR, and responds with JSON.

The status command queries each worker; workers broadcast the commands that concern all of them.
"""

import asyncio
import inspect
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

log = logging.getLogger("wss.worker")

Command = Callable[..., dict[str, Any] | Awaitable[dict[str, Any]]]

DESCRIBE = "describe"  # the command of wss.observability.status
_SUFFIX = ".sock"


def socket_path(directory: Path, worker: int) -> Path:
    """Return the path of the control socket of the worker with this number."""
    return directory / f"{worker}{_SUFFIX}"


def socket_paths(directory: Path) -> list[Path]:
    """Return the control sockets of all workers; the name of each without its suffix is the number of the worker."""
    return list(directory.glob(f"*{_SUFFIX}"))


async def serve_control_socket(path: Path, commands: Mapping[str, Command], max_line: int) -> asyncio.Server:
    """Start to serve commands: a request is one line with the name of a command and its arguments.

    `max_line` is in bytes.
    """

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            name, *arguments = (await reader.readline()).decode().split() or [""]
            if command := commands.get(name):
                try:
                    result = command(*arguments)
                    response = await result if inspect.isawaitable(result) else result
                except Exception as error:
                    log.exception("the command %s failed", name)
                    response = {"error": f"{type(error).__name__}: {error}"}
                writer.write(json.dumps(response).encode())
                await writer.drain()

    return await asyncio.start_unix_server(respond, path, limit=max_line)


def send_command(path: Path, *words: str, timeout: float) -> dict[str, Any]:
    """Send a command to one worker and return its result.

    Raises OSError if it no longer runs, TimeoutError (an OSError, too) if it does not respond within `timeout` seconds.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.sendall(f"{' '.join(words)}\n".encode())
        with connection.makefile("rb") as stream:
            response = stream.read()
    if not response:
        raise ConnectionResetError("the worker has ended")
    result: dict[str, Any] = json.loads(response)
    return result


async def broadcast_command(directory: Path, *words: str) -> None:
    """Send a command to all workers of this container, including the caller. Their results are not read."""
    for path in socket_paths(directory):
        with suppress(OSError):  # the worker has just ended
            _, writer = await asyncio.open_unix_connection(path)
            with closing(writer):
                writer.write(f"{' '.join(words)}\n".encode())
                await writer.drain()
