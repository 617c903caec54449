"""The receive buffer: a client that has sent a large message occupies no more memory for it, and no message changes."""

import os
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from eventually import eventually
from raw import BINARY, PING, PONG, Client, connect, frame
from server import Server, Start

StartAndConnect = Callable[..., tuple[Server, Callable[[], Client]]]
NUMBER = 20
SIZE = 1 << 20


def _receive(client: Client) -> bytes:
    """Return the next message; answer pings."""
    while (received := client.receive())[0] == PING:
        client.send(frame(PONG, received[1]))
    assert received[0] == BINARY
    return received[1]


@pytest.fixture(params=["ws", "wss"])
def start_and_connect(
    request: pytest.FixtureRequest,
    start: Start,
    clients: ExitStack,
    tls_dir: Path,
    client_context: ssl.SSLContext,
) -> StartAndConnect:
    """Return a function that starts a server, and returns it with a function that connects a client."""
    is_tls = request.param == "wss"

    def started(**settings: str) -> tuple[Server, Callable[[], Client]]:
        tls = {"TLS_DIR": str(tls_dir)} if is_tls else {}
        server = start(PING_TIMEOUT="3600", **settings, **tls)
        return server, lambda: connect(server, clients, context=client_context if is_tls else None)

    return started


def test_an_idle_client_that_has_sent_a_large_message_occupies_no_memory_for_it(
    start_and_connect: StartAndConnect, tmp_path: Path
) -> None:
    # Its coroutine has no variable that refers to the last message.
    (tmp_path / "forgets.py").write_text(
        "async def handler(connection):\n    while True:\n        await connection.send(await connection.recv())\n"
    )
    server, connected = start_and_connect(APP="forgets:handler", PYTHONPATH=str(tmp_path), PING_INTERVAL="0.5")
    idle = [connected() for _ in range(NUMBER)]
    before = server.worker_memory()
    for _ in range(2):
        for client in idle:
            message = os.urandom(SIZE - 1)
            client.send(frame(BINARY, message))
            assert _receive(client) == message
        eventually(lambda: server.worker_memory() < before + NUMBER * SIZE / 4, "the memory is free")


def test_a_message_of_which_the_half_was_received_at_a_ping_does_not_change(
    start_and_connect: StartAndConnect,
) -> None:
    _, connected = start_and_connect(APP="apps.echo:handler", PING_INTERVAL="0.1")
    client = connected()
    for size in (100, 5_000, 100_000, SIZE - 1):
        message = os.urandom(size)
        whole = frame(BINARY, message)
        for end in (len(whole) // 3, len(whole) // 2, len(whole)):
            assert client.receive()[0] == PING
            assert client.receive()[0] == PING
            client.send(whole[:end])
            whole = whole[end:]
        assert _receive(client) == message
