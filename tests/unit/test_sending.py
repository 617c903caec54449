"""Messages to clients that have not read earlier ones yet."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from raw import BINARY, CONTINUATION, TEXT, connect, frame
from server import Start


def test_the_close_frame_of_a_stop_reaches_a_client_that_reads_late(
    start: Start, clients: ExitStack, tmp_path: Path
) -> None:
    (tmp_path / "pushing.py").write_text(
        "async def handler(connection):\n    async for _ in connection:\n"
        "        await connection.send(bytes(8_000_000))\n"
    )
    server = start(APP="pushing:handler", PYTHONPATH=str(tmp_path))
    client = connect(server, clients)
    client.send(frame(TEXT, b"go"))
    assert client.stream.peek(1)
    server.process.terminate()
    server.wait_for("(stopping: closing 1 connections)")
    assert client.receive() == (BINARY, bytes(8_000_000))
    assert client.close_code() == 1001


BROADCASTER = """
import asyncio
from wss import broadcast
async def handler(connection):
    async def fragments():
        yield "a"
        broadcast([connection], "first")
        broadcast([connection], "second")
        yield "b"
    async for _ in connection:
        await connection.send(fragments())
"""


@pytest.mark.parametrize("compression", ["off", "on"])
def test_a_broadcast_waits_for_the_end_of_a_message_in_fragments(
    start: Start, clients: ExitStack, tmp_path: Path, compression: str
) -> None:
    (tmp_path / "broadcaster.py").write_text(BROADCASTER)
    server = start(APP="broadcaster:handler", PYTHONPATH=str(tmp_path), COMPRESSION=compression)
    client = connect(server, clients)
    client.send(frame(TEXT, b"go"))
    received = [client.receive() for _ in range(5)]
    assert received == [(TEXT, b"a"), (CONTINUATION, b"b"), (CONTINUATION, b""), (TEXT, b"first"), (TEXT, b"second")]


PUSHER = """
import asyncio
from wss import broadcast
async def push(connection):
    broadcast([connection], "not lost")
async def handler(connection):
    async for _ in connection:
        async with asyncio.TaskGroup() as both:
            # More than the socket buffers hold: this send waits, and the broadcast, which runs next, does not.
            both.create_task(connection.send(bytes(3_000_000)))
            both.create_task(push(connection))
"""


def test_a_broadcast_to_a_slow_reader_is_not_lost(start: Start, clients: ExitStack, tmp_path: Path) -> None:
    (tmp_path / "pusher.py").write_text(PUSHER)
    server = start(APP="pusher:handler", PYTHONPATH=str(tmp_path))
    client = connect(server, clients)
    client.send(frame(TEXT, b"go"))
    assert client.receive() == (BINARY, bytes(3_000_000))
    assert client.receive() == (TEXT, b"not lost")
