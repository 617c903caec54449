"""A server for the tests of handlers: on a real port of this machine, in a thread, without Docker.

from wss.testing import serve

def test_echo():
    with serve(handler) as server, server.connect() as client:
        client.send("tom")
        assert client.recv(timeout=10) == "tom"
"""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from wss.application import Application
from wss.config.settings import Settings, read_settings
from wss.connection.connection import Handler
from wss.connection.plugins import registered
from wss.net.certificate import Certificate
from wss.net.listener import listening_socket
from wss.net.loop import Loop
from wss.observability.metrics import Metrics
from wss.server import WebSocketServer

TIMEOUT = 60.0  # seconds for a start, a stop and a handshake


class TestServer:
    """A running server."""

    __test__ = False  # it is not a test, whatever pytest makes of the name

    def __init__(self, port: int, ca: Path | None) -> None:
        self.port = port
        self._context = ssl.create_default_context(cafile=str(ca)) if ca else None

    @property
    def url(self) -> str:
        return f"{'wss' if self._context else 'ws'}://localhost:{self.port}/wss"

    def connect(self, path: str = "/wss", **options: Any) -> ClientConnection:
        """Open a websocket; `options` are those of websockets.sync.client.connect.

        Over TLS it can hang on a busy machine (https://github.com/python/cpython/issues/77271): use `url` with asyncio.
        """
        options = {"ssl": self._context, "proxy": None, "open_timeout": TIMEOUT, **options}
        client: ClientConnection = connect(self.url.removesuffix("/wss") + path, **options)
        return client


@contextmanager
def serve(
    handler: Handler | Application, *, tls: Path | None = None, ca: Path | None = None, **settings: str
) -> Iterator[TestServer]:
    """Serve a handler until the end of the context, and then close its clients with 1001.

    Give it as Application(handler, process_request, lifespan) if these belong to it.

    `tls` is a directory with server.pem and server.key for localhost, and `ca` the file with the CA that clients trust
    (trustme makes both); without them, it serves ws. `settings` are those of docs/settings.md, such as
    MAX_MESSAGE="1K".
    """
    if (tls is None) != (ca is None):
        raise ValueError("give both tls and ca, or neither")
    if unknown := set(settings) - {each.metadata["setting"].name for each in fields(Settings)}:
        raise ValueError(f"there are no such settings: {', '.join(sorted(unknown))}")
    settings = {name: str(value) for name, value in settings.items()}
    read = read_settings({"STOP_SPREAD": "0", **settings, **({"TLS_DIR": str(tls)} if tls else {})})
    sock = listening_socket(0)
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    app = handler if isinstance(handler, Application) else Application(handler)
    thread = threading.Thread(target=_run, args=(app, read, sock, started))
    thread.start()
    try:
        loop, stop = started.result(TIMEOUT)
        try:
            yield TestServer(sock.getsockname()[1], ca)
        finally:
            loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join()


def _run(app: Application, settings: Settings, sock: Any, started: Future[Any]) -> None:
    async def main() -> None:
        metrics = Metrics(settings.max_connections)
        for plugin in registered:
            await plugin.start(settings, metrics)
        async with app.running():
            server = WebSocketServer(app, settings, metrics, registered)
            await server.listen(sock, Certificate(settings.tls_dir, settings, metrics) if settings.tls_dir else None)
            stop = asyncio.Event()
            started.set_result((asyncio.get_running_loop(), stop))
            await stop.wait()
            await server.drain(1001, "server is going away", TIMEOUT)
        for plugin in registered:
            plugin.stop()

    try:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(main())
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)
    finally:
        sock.close()
