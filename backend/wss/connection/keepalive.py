"""Pings for every client, from one timer: a task and a timer for each would cost two kilobytes."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, Protocol
from weakref import ref

# Seconds between two rounds at least: clients that are due in one round are pinged together.
RESOLUTION = 0.05
# Entries of ended connections that are kept until they are due, besides as many as there are of open ones.
_KEPT = 1000


class Pinged(Protocol):
    """What is needed of a connection."""

    pings: int
    """How many were sent."""

    @property
    def is_open(self) -> bool: ...
    def send_keepalive(self) -> None: ...
    def has_answered(self, ping: int) -> bool: ...
    def fail_keepalive(self) -> None: ...


class _Due(NamedTuple):
    time: float
    connection: ref[Pinged]
    ping: int


class Keepalive:
    """Pings each connection every `interval` seconds; fails those that do not answer one within `timeout` seconds."""

    def __init__(self, interval: float, timeout: float) -> None:
        self._interval = interval
        self._timeout = timeout
        # Each in order of time, because the last one appended is due last.
        self._pings: deque[_Due] = deque()
        self._answers: deque[_Due] = deque()
        self._max_pings = _KEPT

    def watch(self, connection: Pinged) -> None:
        """Ping a connection from now on, until it is no longer open."""
        if len(self._pings) > self._max_pings:
            self._remove_ended()
        self._pings.append(_Due(time.monotonic() + self._interval, ref(connection), connection.pings + 1))

    def _remove_ended(self) -> None:
        # In place, because `keep` may be in the middle of the queue.
        open_ones = [due for due in self._pings if (connection := due.connection()) and connection.is_open]
        self._pings.clear()
        self._pings.extend(open_ones)
        self._max_pings = 2 * len(open_ones) + _KEPT

    async def keep(self) -> None:
        """Send the pings, until cancelled."""
        while True:
            now = time.monotonic()
            # If the process was suspended, timers may run before frames that came meanwhile are read.
            await asyncio.sleep(0)
            for connection, ping in _take(self._answers, now):
                if not connection.has_answered(ping):
                    connection.fail_keepalive()
            for connection, ping in _take(self._pings, now):
                connection.pings = ping
                connection.send_keepalive()
                self._answers.append(_Due(now + self._timeout, ref(connection), ping))
                self.watch(connection)
            # Connections that are added during this sleep are due after an interval at the earliest.
            nearest = min(
                (queue[0].time for queue in (self._pings, self._answers) if queue), default=now + self._interval
            )
            await asyncio.sleep(max(nearest - now, RESOLUTION))


def _take(queue: deque[_Due], now: float) -> Iterator[tuple[Pinged, int]]:
    """Remove from the queue what is due, and yield the connections of it that are still open."""
    while queue and queue[0].time <= now:
        due = queue.popleft()
        connection = due.connection()
        if connection and connection.is_open:
            yield connection, due.ping
