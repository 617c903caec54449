"""The receive buffer: a client that has sent a large message occupies no more memory for it, and no message changes."""

import os
from contextlib import ExitStack
from pathlib import Path

from eventually import eventually
from raw import BINARY, PING, PONG, Client, connect, frame
from server import Start

NUMBER = 20
SIZE = 1 << 20


def _receive(client: Client) -> bytes:
    """Return the next message; answer pings."""
    while (received := client.receive())[0] == PING:
        client.send(frame(PONG, received[1]))
    assert received[0] == BINARY
    return received[1]


def test_an_idle_client_that_has_sent_a_large_message_occupies_no_memory_for_it(
    start: Start, clients: ExitStack, tmp_path: Path
) -> None:
    # Its coroutine has no variable that refers to the last message.
    (tmp_path / "forgets.py").write_text(
        "async def handler(connection):\n    while True:\n        await connection.send(await connection.recv())\n"
    )
    server = start(APP="forgets:handler", PYTHONPATH=str(tmp_path), PING_INTERVAL="0.5", PING_TIMEOUT="3600")
    idle = [connect(server, clients) for _ in range(NUMBER)]
    before = server.worker_memory()
    for _ in range(2):
        for client in idle:
            message = os.urandom(SIZE - 1)
            client.send(frame(BINARY, message))
            assert _receive(client) == message
        eventually(lambda: server.worker_memory() < before + NUMBER * SIZE / 4, "the memory is free")


def test_a_message_of_which_the_half_was_received_at_a_ping_does_not_change(start: Start, clients: ExitStack) -> None:
    server = start(APP="apps.echo:handler", PING_INTERVAL="0.1", PING_TIMEOUT="3600")
    client = connect(server, clients)
    for size in (100, 5_000, 100_000, SIZE - 1):
        message = os.urandom(size)
        whole = frame(BINARY, message)
        for end in (len(whole) // 3, len(whole) // 2, len(whole)):
            assert client.receive()[0] == PING
            assert client.receive()[0] == PING
            client.send(whole[:end])
            whole = whole[end:]
        assert _receive(client) == message
