"""Print how many instructions a worker executes per operation, as JSON. Runs in the container.

/tls has a certificate, its key and its CA.
"""

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

# Not websockets.sync: it reads and writes in two threads, which can hang with TLS
# (https://github.com/python/cpython/issues/77271).
from websockets.asyncio.client import ClientConnection, connect

NAME = "wss.example"
MESSAGE = "x" * 128
MEMBERS = 20
BLOCKS = 5
# Seconds, for what hangs: Callgrind slows a worker down by a factor of 50.
LIMIT = 180.0
Operation = Callable[[], Awaitable[None]]
Average = Callable[[list[int]], float]


@dataclass(frozen=True)
class Server:
    """A worker under Callgrind."""

    pid: int
    port: int
    tls: bool
    dumps: Path
    """The directory into which Callgrind writes."""

    def connect(self, query: str = "") -> connect:
        context = ssl.create_default_context(cafile="/tls/ca.pem") if self.tls else None
        return connect(
            f"{'wss' if self.tls else 'ws'}://{NAME}/wss{query}",
            open_timeout=LIMIT,
            close_timeout=LIMIT,
            ssl=context,
            sock=socket.create_connection(("127.0.0.1", self.port)),
            compression=None,
            ping_interval=None,
        )

    async def count(self, operation: Operation, times: int, average: Average = min) -> int:
        """Return the instructions per operation: the fewest of several blocks, so that timers do not count."""
        totals = []
        for block in range(1 + BLOCKS):
            self.control("--zero")
            for _ in range(times):
                await operation()
            if block:  # the first one fills caches
                totals.append(self._dumped())
        return int(average(totals)) // times

    def _dumped(self) -> int:
        before = set(self.dumps.iterdir())
        self.control("--dump")
        (dump,) = set(self.dumps.iterdir()) - before
        (total,) = (line.split()[1] for line in dump.read_text().splitlines() if line.startswith("totals:"))
        return int(total)

    def control(self, option: str) -> None:
        command = ["callgrind_control", option, str(self.pid)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def worker(*, tls: bool) -> Iterator[Server]:
    """Start a worker as the supervisor does, under Callgrind, and stop it at the end."""
    ready, ready_fd = os.pipe()
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as listener:
        run_dir, dumps = Path(name, "run"), Path(name, "dumps")
        run_dir.mkdir()
        dumps.mkdir()
        environment = {
            **os.environ,
            "APP": "counted:handler",
            "TLS_DIR": "/tls" if tls else "",
            "DOMAIN": NAME,
            "LOG_LEVEL": "info",
            "HANDSHAKE_TIMEOUT": str(LIMIT),
            "PYTHONHASHSEED": "0",
            "RUN_DIR": str(run_dir),
            "METRICS_PORT": "8283",
            "WSS_WORKER": "1",
            "WSS_READY_FD": str(ready_fd),
            "WSS_SOCKET_FD": str(listener.fileno()),
        }
        callgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={dumps}/%p"]
        process = subprocess.Popen(
            [*callgrind, sys.executable, "-m", "wss.process.worker"],
            cwd="/app",
            env=environment,
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(ready_fd, listener.fileno()),
        )
        os.close(ready_fd)
        try:
            if not os.read(ready, 1):
                sys.exit("error: the worker did not start")
            server = Server(process.pid, listener.getsockname()[1], tls, dumps)
            server.control("--instr=on")
            yield server
        finally:
            process.terminate()
            process.wait()
            os.close(ready)


async def echo(client: ClientConnection) -> None:
    await client.send(MESSAGE)
    assert await client.recv() == MESSAGE


async def visit(server: Server) -> None:
    async with server.connect():
        pass


async def send_to_room(members: list[ClientConnection]) -> None:
    await members[0].send(MESSAGE)
    for member in members:
        assert await member.recv() == MESSAGE


async def operations(server: Server) -> AsyncIterator[tuple[str, int]]:
    scheme = "wss" if server.tls else "ws"
    async with AsyncExitStack() as connections:
        client = await connections.enter_async_context(server.connect())
        yield f"echo of 128 B, {scheme}", await server.count(lambda: echo(client), 40)
        if not server.tls:
            members = [await connections.enter_async_context(server.connect("?room")) for _ in range(MEMBERS)]
            yield f"message to a room of {MEMBERS}, {scheme}", await server.count(lambda: send_to_room(members), 20)
    # A timer writes log lines and metrics, which are part of it: many in a block, and the median of the blocks.
    times = 10 if server.tls else 60
    yield f"new client and its end, {scheme}", await server.count(lambda: visit(server), times, median)


async def main() -> None:
    figures: dict[str, int] = {}
    for tls in (False, True):
        with worker(tls=tls) as server:
            figures |= {name: figure async for name, figure in operations(server)}
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    asyncio.run(main())
