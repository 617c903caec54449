"""A client whose messages the handler does not receive: its end is noticed all the same, and memory stays bounded."""

import os
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from raw import BINARY, CLOSE, HANDSHAKE, PING, PONG, TEXT, Client, code, connect, frame
from server import TIMEOUT, Server, Start

LARGE = 900_000  # bytes: less than MAX_MESSAGE
HANDLERS = {
    "waits": "await connection.wait_closed()",
    "sends": "while True:\n        await connection.send('tick')\n        await asyncio.sleep(0.1)",
}
UNREAD = {"small": frame(TEXT, b"tom") * 5000, "large": frame(BINARY, bytes(LARGE)) * 2}
ENDS: dict[str, Callable[[socket.socket], object]] = {
    "close frame": lambda client: client.sendall(frame(CLOSE, code(1000))),
    "end of stream": lambda client: client.close(),
    "silence": lambda _: None,
}


@pytest.fixture
def serve(share: Start, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Server]:
    """Return a function that returns a server with short ping times and this handler."""
    directory = tmp_path_factory.getbasetemp() / "unread"
    directory.mkdir(exist_ok=True)

    def serve(name: str, body: str, **settings: str) -> Server:
        (directory / f"unread_{name}.py").write_text(
            f"import asyncio\n\n\nasync def handler(connection):\n    {body}\n"
        )
        return share(
            APP=f"unread_{name}:handler",
            PYTHONPATH=f"{directory}{os.pathsep}{Path(__file__).parent}",
            PING_INTERVAL="1",
            PING_TIMEOUT="1",
            **settings,
        )

    return serve


def open_socket(server: Server, context: ssl.SSLContext | None) -> socket.socket:
    plain = socket.create_connection(("localhost", server.port), TIMEOUT)
    client = context.wrap_socket(plain, server_hostname="localhost") if context else plain
    client.sendall(HANDSHAKE)
    return client


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("is_tls", [False, True], ids=["ws", "wss"])
def test_the_end_of_the_client_is_noticed(
    serve: Callable[..., Server],
    clients: ExitStack,
    tls_dir: Path,
    client_context: ssl.SSLContext,
    is_tls: bool,
    handler: str,
) -> None:
    server = serve(handler, HANDLERS[handler], **({"TLS_DIR": str(tls_dir)} if is_tls else {}))
    for unread in UNREAD.values():
        for end in ENDS.values():
            client = open_socket(server, client_context if is_tls else None)
            clients.callback(client.close)
            client.sendall(unread)
            end(client)
    for _ in range(len(UNREAD) * len(ENDS)):
        server.wait_for('("event": "closed")')


def pings_answered(client: Client, number: int) -> None:
    """Answer so many pings."""
    while number:
        opcode, payload = client.receive()
        if opcode == PING:
            client.send(frame(PONG, payload))
            number -= 1


@pytest.mark.parametrize(("unread", "count"), [("small", 5000), ("large", 2)])
def test_a_client_that_answers_pings_stays_and_no_message_is_lost(
    serve: Callable[..., Server], clients: ExitStack, unread: str, count: int
) -> None:
    server = serve(
        "late",
        "while connection.pings < 4:\n        await asyncio.sleep(0.05)\n"
        "    count = 0\n"
        "    async for _ in connection:\n        count += 1\n        await connection.send(str(count))",
    )
    client = connect(server, clients)
    client.send(UNREAD[unread])
    pings_answered(client, 4)
    while (received := client.receive()) != (TEXT, str(count).encode()):
        assert received[0] in (TEXT, PING), received


def test_a_client_that_goes_on_sending_to_a_handler_that_never_receives_is_closed(
    serve: Callable[..., Server], clients: ExitStack
) -> None:
    server = serve("waits", HANDLERS["waits"])
    client = connect(server, clients)
    memory = server.worker_memory()
    client.socket.settimeout(0.2)
    with suppress(ConnectionError):
        while True:
            with suppress(TimeoutError):
                client.socket.send(frame(BINARY, bytes(60_000)))
    server.wait_for("(messages that the handler on /wss does not receive)")
    assert server.worker_memory() - memory < 16 * 1024 * 1024
