"""Row 13 of the contract: a client that stops reading uses bounded memory, and is closed."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import websocket
from client import target_of
from eventually import LIMIT
from fixtures import Connect, NewStack
from stack import LONG_PING_TIMEOUT, Stack
from websocket import ABNF

MAX_GROWTH = 64 * 1024 * 1024  # bytes of memory, of all containers together
SLOW_READER_TIMEOUT = 2  # seconds; the default is 30


def test_a_client_that_never_reads_is_closed_and_memory_is_bounded(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    settings = {"SLOW_READER_TIMEOUT": str(SLOW_READER_TIMEOUT), **LONG_PING_TIMEOUT}
    stack = new_stack(profile, APP="apps.echo:handler", **settings)
    stack.up()
    target = target_of(stack, ca_file)
    other, slow_reader = connect(target), connect(target)
    before = _memory(stack)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_flood, slow_reader)
        try:
            stack.wait_for_log(stack.server, "stopped reading")
            stack.wait_for_log(stack.server, '"event": "closed"')
            assert _memory(stack) - before < MAX_GROWTH
        finally:
            assert slow_reader.sock
            socket.socket.shutdown(slow_reader.sock, socket.SHUT_RDWR)
    other.send("tom")
    assert other.recv() == "tom"


def _flood(ws: websocket.WebSocket) -> None:
    """Send without reading, until the connection is shut down: Docker's proxy does not pass on that the server did."""
    frame = ABNF.create_frame(bytes(60_000), ABNF.OPCODE_BINARY).format()
    assert ws.sock
    ws.sock.settimeout(LIMIT)
    with suppress(OSError):
        while True:
            ws.sock.sendall(frame)


def _memory(stack: Stack) -> int:
    """Return the resident memory of the processes of all containers, in bytes."""
    running = [container for container in stack.containers() if container.status == "running"]
    processes = [process for container in running for process in container.top(ps_args="-o pid,rss")["Processes"]]
    return sum(int(kilobytes) * 1024 for _, kilobytes in processes)
