"""Clients that stay, over all hosts of a swarm, and one after another that comes; how each of them ended is kept."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import websocket
from client import TIMEOUT, Target
from eventually import eventually

CLIENTS = 30  # those that stay
INTERVAL = 0.1  # seconds between those that come
# Without a ping of the server for so long, a client knows that its line is dead.
SILENCE = 25.0


class Crowd:
    """To be entered and left; whoever is closed comes back at once."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self.codes: Counter[int] = Counter()  # of those that stay, by how they were closed
        self.refused: list[str] = []  # who found no host that took it
        self.opened = 0  # by those that stay
        self.came = 0  # one after another
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._stay, args=(number,)) for number in range(CLIENTS)]
        self._threads.append(threading.Thread(target=self._come))

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        eventually(lambda: self.came >= 3 and self.opened >= CLIENTS, "all are there")
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def __repr__(self) -> str:
        return f"{self.opened} opened, {dict(self.codes)} closed, {self.came} came, {len(self.refused)} were refused"

    def _connect(self, first: int) -> websocket.WebSocket | None:
        """Try the hosts in turn, as a client does whose name has several addresses."""
        failures = []
        for number in range(len(self._targets)):
            target = self._targets[(first + number) % len(self._targets)]
            options: dict[str, Any] = {"sslopt": {"context": target.context()}, "suppress_origin": True}
            try:
                return websocket.create_connection(target.url, timeout=TIMEOUT, **options)
            except (OSError, websocket.WebSocketException) as error:
                failures.append(f"{target.host}: {error!r}")
        self.refused.append("; ".join(failures))
        return None

    def _come(self) -> None:
        while not self._end.wait(INTERVAL):
            if ws := self._connect(self.came):
                self.came += 1
                ws.close()

    def _stay(self, number: int) -> None:
        while not self._end.is_set():
            if ws := self._connect(number):
                self.opened += 1
                ws.settimeout(1)
                assert ws.sock
                with closing(ws.sock):
                    if code := self._read(ws):
                        self.codes[code] += 1

    def _read(self, ws: websocket.WebSocket) -> int | None:
        """Return the code that it was closed with; None where it is open at the end."""
        silent_since = time.monotonic()
        while not self._end.is_set():
            try:
                opcode, frame = ws.recv_data_frame(control_frame=True)
            except websocket.WebSocketTimeoutException:
                if time.monotonic() - silent_since > SILENCE:
                    return 1006
                continue
            except (OSError, websocket.WebSocketException):
                return 1006
            silent_since = time.monotonic()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(frame.data[:2], "big")
        return None
