"""Accepting: clients that come at the same moment do not hold up the messages of those that are there."""

import socket
import threading
from contextlib import ExitStack

from raw import HANDSHAKE
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
