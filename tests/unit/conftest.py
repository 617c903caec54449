"""The fixtures that several files share."""

import os
import ssl
from collections.abc import Iterator
from contextlib import ExitStack

import hypothesis
import pytest
import websocket
from server import TIMEOUT, Connect, Server, Start

# Slow machines are no failure; and what CI says of a commit does not change by chance.
hypothesis.settings.register_profile("wss", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("wss")


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as running:

        def start(**environment: str) -> Server:
            server = Server(**environment)
            running.callback(server.process.communicate)
            running.callback(server.process.kill)
            return server

        yield start


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as opened:

        def connect(server: Server, context: ssl.SSLContext | None = None) -> websocket.WebSocket:
            url = f"{'wss' if context else 'ws'}://localhost:{server.port}/wss"
            ws = websocket.create_connection(url, sslopt={"context": context}, timeout=TIMEOUT)
            opened.callback(ws.shutdown)
            return ws

        yield connect
