"""Load of new connections at a steady rate: each is verified, used once and closed; failures are recorded."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from types import TracebackType

import websocket
from client import TIMEOUT, Target
from eventually import eventually

INTERVAL = 0.1  # seconds between two connects of a thread
THREADS = 2


class ConnectionLoad:
    """Opens connections while the context is active, and calls `use` with each websocket."""

    def __init__(self, target: Target, use: Callable[[websocket.WebSocket], object] | None = None) -> None:
        self._target = target
        self._use = use or _send_tom
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]
        self.attempts = 0
        self.failed_connects: list[str] = []
        self.dropped: list[str] = []  # websockets that closed while in use
        self.slowest = 0.0  # seconds, of a successful connect

    def __enter__(self) -> "ConnectionLoad":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    @property
    def failures(self) -> list[str]:
        return self.failed_connects + self.dropped

    def wait_for_attempts(self, count: int) -> None:
        """Wait until there were so many connection attempts in total."""
        eventually(lambda: self.attempts >= count, f"{count} connection attempts")

    def _run(self) -> None:
        context = self._target.context()
        while not self._end.wait(INTERVAL):
            started = time.monotonic()
            failures = self.failed_connects
            try:
                ws = websocket.create_connection(
                    self._target.url, sslopt={"context": context}, timeout=TIMEOUT, suppress_origin=True
                )
                self.slowest = max(self.slowest, time.monotonic() - started)
                failures = self.dropped
                assert ws.sock
                # closing(ws) is not enough: once a close frame was received it does nothing, and the socket stays open.
                with closing(ws.sock), closing(ws):
                    self._use(ws)
            except (OSError, websocket.WebSocketException, AssertionError) as error:
                failures.append(f"after {time.monotonic() - started:.1f} s: {error!r}")
            self.attempts += 1


def _send_tom(ws: websocket.WebSocket) -> None:
    ws.send("tom")
    assert ws.recv() == "ok"
