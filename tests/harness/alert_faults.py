"""Clients that cause what the alerts of monitoring.yaml report."""

import http.client
import threading
from collections.abc import Callable
from contextlib import closing, suppress

import websocket
from client import TIMEOUT, Target


class Faults:
    """Clients that cause faults, again and again while the context is active."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Faults":
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def repeat(self, cause: Callable[[], object]) -> None:
        """Cause this fault again and again, until the end."""

        def run() -> None:
            while not self._end.wait(0.05):
                with suppress(OSError, http.client.HTTPException, websocket.WebSocketException):  # a fault
                    cause()

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def open(self, app: str = "idle", origin: str = "https://app.example") -> websocket.WebSocket:
        return websocket.create_connection(
            f"{self._target.url}?app={app}",
            sslopt={"context": self._target.context()},
            timeout=TIMEOUT,
            origin=origin,
        )

    def refused(self) -> None:
        """A page of a foreign origin."""
        self.open(origin="https://elsewhere.example").close()

    def cut(self) -> None:
        """A client that vanishes without a close frame."""
        sock = self.open().sock
        assert sock
        sock.close()

    def block(self) -> None:
        """A handler that computes. The timer that measures it runs once a second, and may be due late in that time."""
        with closing(self.open("block")) as ws:
            ws.send("2.5")

    def request_pages(self) -> None:
        """Many requests on one connection."""
        connection = http.client.HTTPSConnection(
            self._target.host, self._target.port, context=self._target.context(), timeout=TIMEOUT
        )
        with closing(connection):
            for _ in range(200):
                connection.request("GET", "/nowhere")
                connection.getresponse().read()
