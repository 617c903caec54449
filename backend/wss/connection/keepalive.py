"""Pings for every client, from one timer: a task and a timer for each would cost two kilobytes."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, Protocol
from weakref import ref

# Seconds between two looks at least: clients that are due in one are pinged together.
RESOLUTION = 0.05


class Pinged(Protocol):
    """A connection, as far as it matters here."""

    pings: int
    """How many were sent."""
    heard: int
    """How many had been, when something last came from the client."""

    @property
    def is_open(self) -> bool: ...
    @property
    def is_read(self) -> bool: ...
    def send_keepalive(self) -> None: ...
    def fail_keepalive(self) -> None: ...


class _Due(NamedTuple):
    time: float
    connection: ref[Pinged]
    ping: int


class Keepalive:
    """Pings each connection every `interval` seconds, and gives up those that say nothing for `timeout` after one."""

    def __init__(self, interval: float, timeout: float) -> None:
        self._interval = interval
        self._timeout = timeout
        # Each in order of time, because what is appended is due latest.
        self._pings: deque[_Due] = deque()
        self._answers: deque[_Due] = deque()

    def watch(self, connection: Pinged) -> None:
        """Care for a connection from now on, until it is no longer open."""
        self._pings.append(_Due(time.monotonic() + self._interval, ref(connection), connection.pings + 1))

    async def keep(self) -> None:
        """Do it, until cancelled."""
        while True:
            now = time.monotonic()
            # After the process stood still, timers may run before what came meanwhile is read.
            await asyncio.sleep(0)
            for connection, ping in _take(self._answers, now):
                # Where the handler is behind, the answer may be there and not be read yet.
                if connection.heard < ping and connection.is_read:
                    connection.fail_keepalive()
            for connection, ping in _take(self._pings, now):
                connection.pings = ping
                connection.send_keepalive()
                self._answers.append(_Due(now + self._timeout, ref(connection), ping))
                self.watch(connection)
            # What is added while this sleeps is due later than what is there, or than an interval.
            nearest = min(
                (queue[0].time for queue in (self._pings, self._answers) if queue), default=now + self._interval
            )
            await asyncio.sleep(max(nearest - now, RESOLUTION))


def _take(queue: deque[_Due], now: float) -> Iterator[tuple[Pinged, int]]:
    """Take off the queue what is due, and yield what is still open of it."""
    while queue and queue[0].time <= now:
        due = queue.popleft()
        connection = due.connection()
        if connection and connection.is_open:
            yield connection, due.ping
