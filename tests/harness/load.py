"""A steady rate of new connections, each verified, used once and closed; whatever fails is kept."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from types import TracebackType

import websocket
from client import TIMEOUT, Target
from eventually import eventually

INTERVAL = 0.1  # seconds from one connect to the next, in each thread
THREADS = 2


class Steady:
    """Connects from entering the context until leaving it; `use` does what a client does with its websocket."""

    def __init__(self, target: Target, use: Callable[[websocket.WebSocket], object] | None = None) -> None:
        self._target = target
        self._use = use or _say_tom
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]
        self.count = 0
        self.refused: list[str] = []  # connects that failed
        self.cut: list[str] = []  # websockets that ended while they were used
        self.slowest = 0.0  # seconds of one connect

    def __enter__(self) -> "Steady":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    @property
    def failures(self) -> list[str]:
        return self.refused + self.cut

    def wait_for(self, count: int) -> None:
        """Return when that many connects were tried altogether."""
        eventually(lambda: self.count >= count, f"{count} connects")

    def _run(self) -> None:
        context = self._target.context()
        while not self._end.wait(INTERVAL):
            started = time.monotonic()
            failed = self.refused
            try:
                ws = websocket.create_connection(
                    self._target.url, sslopt={"context": context}, timeout=TIMEOUT, suppress_origin=True
                )
                self.slowest = max(self.slowest, time.monotonic() - started)
                failed = self.cut
                assert ws.sock
                # Not closing(ws) alone: after a close frame was received it does nothing, and the socket stays open.
                with closing(ws.sock), closing(ws):
                    self._use(ws)
            except (OSError, websocket.WebSocketException, AssertionError) as error:
                failed.append(f"after {time.monotonic() - started:.1f} s: {error!r}")
            self.count += 1


def _say_tom(ws: websocket.WebSocket) -> None:
    ws.send("tom")
    assert ws.recv() == "ok"
