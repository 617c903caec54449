"""Accepting: clients that come at the same moment do not hold up the messages of those that are there."""

import socket
import ssl
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from raw import HANDSHAKE, connect
from wss import Connection
from wss.testing import serve

NEWCOMERS = 200
TIMEOUT = 60


def test_a_message_is_processed_before_all_newcomers_are_open() -> None:
    blocks = [threading.Event(), threading.Event()]
    is_blocked = [threading.Event(), threading.Event()]
    opened: list[str] = []

    def block(number: int) -> None:
        """Block the event loop, so that the test determines what it finds in its next turn."""
        is_blocked[number].set()
        blocks[number].wait(TIMEOUT)

    async def handler(connection: Connection) -> None:
        if not connection.request.path.endswith("?stays"):
            opened.append(connection.request.path)
            if len(opened) == 1:
                block(1)
        async for message in connection:
            if message == "block":
                block(0)
            else:
                await connection.send(str(len(opened)))

    with serve(handler) as server, ExitStack() as clients, server.connect("/wss?stays") as stays:
        stays.send("block")
        assert is_blocked[0].wait(TIMEOUT)
        for _ in range(NEWCOMERS):
            newcomer = clients.enter_context(socket.create_connection(("localhost", server.port), TIMEOUT))
            newcomer.sendall(HANDSHAKE)
        blocks[0].set()
        assert is_blocked[1].wait(TIMEOUT)
        stays.send("how many?")
        blocks[1].set()
        assert int(stays.recv(TIMEOUT)) < NEWCOMERS / 2


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("has_ipv6", [False, True])
def test_a_connection_has_the_family_of_its_port_and_sends_at_once(
    monkeypatch: pytest.MonkeyPatch,
    tls_dir: Path,
    client_context: ssl.SSLContext,
    is_tls: bool,
    has_ipv6: bool,
) -> None:
    async def handler(connection: Connection) -> None:
        sock = connection.transport.get_extra_info("socket")
        no_delay = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await connection.send(f"{sock.family.name} {sock.type.name} {no_delay}")

    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: has_ipv6)
    tls: dict[str, Any] = {"tls": tls_dir, "ca": tls_dir / "server.pem"} if is_tls else {}
    with serve(handler, **tls) as server, ExitStack() as clients:
        client = connect(server, clients, context=client_context if is_tls else None)
        assert client.receive()[1].decode() == f"{'AF_INET6' if has_ipv6 else 'AF_INET'} SOCK_STREAM 1"
