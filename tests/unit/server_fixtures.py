"""Fixtures for a server of one test, also for those in tests/faults."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import websocket
from server import TIMEOUT, Connect, Server, Start

__all__ = ("connect", "start")


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts a server for one test, for example one that stops it or counts its connections."""
    with ExitStack() as running:

        def start(**environment: str) -> Server:
            server = Server(**environment)
            running.callback(server.close)
            return server

        yield start


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as opened:

        def connect(server: Server, context: ssl.SSLContext | None = None, path: str = "/wss") -> websocket.WebSocket:
            url = f"{'wss' if context else 'ws'}://localhost:{server.port}{path}"
            ws = websocket.create_connection(url, sslopt={"context": context}, timeout=TIMEOUT)
            server.opened += 1
            opened.callback(ws.shutdown)
            return ws

        yield connect
