"""Deadlines of connections, from one timer. A connection without a deadline costs nothing."""

import asyncio
import math
import time
from collections import defaultdict
from typing import Protocol
from weakref import WeakSet

from wss.protocol.close import ACCESS_EXPIRED

REASON = "access has expired"
# Entries that are out of date (the deadline has moved, or the connection has ended) are kept until there are so many,
# and as many as others.
_KEPT = 1000


class Limited(Protocol):
    """What is needed of a connection."""

    opened: float

    @property
    def deadline(self) -> float | None: ...
    def close_soon(self, code: int, reason: str) -> None: ...


class Deadlines:
    """Closes each connection at its deadline, or less than a second after it."""

    def __init__(self) -> None:
        # By the second in which they are due. A connection whose deadline was moved may be in several.
        self._due: defaultdict[int, WeakSet[Limited]] = defaultdict(WeakSet)
        self._added, self._max_added = 0, _KEPT

    def watch(self, connection: Limited) -> None:
        """Follow the deadline of a connection, which has been set."""
        if self._added >= self._max_added:
            self._remove_old()
        self._add(connection)

    def _add(self, connection: Limited) -> None:
        if connection.deadline is not None:
            self._due[math.ceil(connection.deadline)].add(connection)
            self._added += 1

    def _remove_old(self) -> None:
        connections = {connection for due in self._due.values() for connection in due}
        self._due.clear()
        self._added = 0
        for connection in connections:
            self._add(connection)
        self._max_added = 2 * self._added + _KEPT

    async def keep(self) -> None:
        """Close what is due, until cancelled."""
        while True:
            now = time.time()  # the wall clock, which may be set: deadlines come from elsewhere
            for second in [second for second in self._due if second <= now]:
                for connection in self._due.pop(second, ()):  # `_check` may have moved it
                    self._check(connection, now)
            await asyncio.sleep(1 - now % 1)

    def _check(self, connection: Limited, now: float) -> None:
        if connection.deadline is None:
            return
        if connection.deadline > now:
            self.watch(connection)
        elif connection.opened:  # one that opens later is watched again
            connection.close_soon(ACCESS_EXPIRED, REASON)
