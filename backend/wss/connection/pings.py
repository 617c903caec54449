"""Pings that were sent, and the pongs to them: of the keepalive, and of handlers (RFC 6455 section 5.5.2)."""

import asyncio
import time
from contextlib import suppress

from websockets.exceptions import ConcurrencyError

from wss.protocol.close import Ending

KEEPALIVE = b"wss"  # the payload of the keepalive's


class Pings:
    """The pings of one connection."""

    __slots__ = ("_keepalive_sent", "_waiting", "latency")

    def __init__(self) -> None:
        self._keepalive_sent = 0.0
        self._waiting: dict[bytes, tuple[asyncio.Future[float], float]] = {}
        self.latency = 0.0
        """Seconds from the last ping to its pong; 0 before the first."""

    def add_keepalive(self) -> bytes:
        """Return the payload of a keepalive that is sent now."""
        self._keepalive_sent = time.monotonic()
        return KEEPALIVE

    def add(self, payload: bytes) -> asyncio.Future[float]:
        """Return what is resolved with the seconds until the pong to a ping that is sent now.

        Raises ConcurrencyError for a payload that waits for its pong already.
        """
        if payload in self._waiting or payload == KEEPALIVE:
            raise ConcurrencyError("a ping with the same data is under way")
        pong: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting[payload] = pong, time.monotonic()
        return pong

    def take_pong(self, payload: bytes) -> None:
        """Resolve the ping that this pong answers, and earlier ones; ignore an unsolicited pong."""
        if payload == KEEPALIVE:
            sent = self._keepalive_sent
        elif payload in self._waiting:
            _, sent = self._waiting[payload]
        else:
            return
        now = time.monotonic()
        self.latency = now - sent
        # RFC 6455 section 5.5.3: of several pings, only the last one needs an answer.
        for earlier, (pong, since) in tuple(self._waiting.items()):
            if since <= sent:
                del self._waiting[earlier]
                if not pong.done():
                    pong.set_result(now - since)

    def end(self, ending: Ending) -> None:
        """Raise ConnectionClosed in the handlers that wait for a pong."""
        for pong, _ in self._waiting.values():
            with suppress(asyncio.InvalidStateError):
                pong.set_exception(ending.exception())
                pong.exception()  # not an error if no handler waits
