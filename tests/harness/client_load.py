"""Clients of one or several hosts: long-lived ones that reconnect, and short-lived ones; close codes are recorded."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import websocket
from client import TIMEOUT, Target
from eventually import eventually

INTERVAL = 0.1  # seconds between two short-lived clients
# Seconds without a frame (the server pings every 5 s), after which a client considers its connection dead.
IDLE_TIMEOUT = 25.0


class ClientLoad:
    """Runs the clients while the context is active; a closed client reconnects at once."""

    def __init__(self, targets: Sequence[Target], long_lived: int = 30) -> None:
        self._targets = targets
        self._long_lived = long_lived
        self.close_codes: Counter[int] = Counter()  # of the long-lived clients
        self.failed_connects: list[str] = []  # no host accepted the client
        self.opened = 0  # connections of the long-lived clients
        self.short_lived = 0
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run_long_lived, args=(number,)) for number in range(long_lived)]
        self._threads.append(threading.Thread(target=self._run_short_lived))

    def __enter__(self) -> "ClientLoad":
        for thread in self._threads:
            thread.start()
        eventually(lambda: self.short_lived >= 3 and self.opened >= self._long_lived, "all clients are connected")
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def __repr__(self) -> str:
        return (
            f"{self.opened} opened, close codes {dict(self.close_codes)}, {self.short_lived} short-lived,"
            f" {len(self.failed_connects)} failed to connect"
        )

    def _connect(self, first: int) -> websocket.WebSocket | None:
        """Try the hosts in turn, like a client whose server name has several addresses."""
        failures = []
        for number in range(len(self._targets)):
            target = self._targets[(first + number) % len(self._targets)]
            options: dict[str, Any] = {"sslopt": {"context": target.context()}, "suppress_origin": True}
            try:
                return websocket.create_connection(target.url, timeout=TIMEOUT, **options)
            except (OSError, websocket.WebSocketException) as error:
                failures.append(f"{target.host}: {error!r}")
        self.failed_connects.append("; ".join(failures))
        return None

    def _run_short_lived(self) -> None:
        while not self._end.wait(INTERVAL):
            if ws := self._connect(self.short_lived):
                self.short_lived += 1
                ws.close()

    def _run_long_lived(self, number: int) -> None:
        while not self._end.is_set():
            if ws := self._connect(number):
                self.opened += 1
                ws.settimeout(1)
                assert ws.sock
                with closing(ws.sock):
                    if code := self._read(ws):
                        self.close_codes[code] += 1

    def _read(self, ws: websocket.WebSocket) -> int | None:
        """Read until the websocket closes, and return its close code; None if it is open at the end."""
        last_frame = time.monotonic()
        while not self._end.is_set():
            try:
                opcode, frame = ws.recv_data_frame(control_frame=True)
            except websocket.WebSocketTimeoutException:
                if time.monotonic() - last_frame > IDLE_TIMEOUT:
                    return 1006
                continue
            except (OSError, websocket.WebSocketException):
                return 1006
            last_frame = time.monotonic()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(frame.data[:2], "big")
        return None
