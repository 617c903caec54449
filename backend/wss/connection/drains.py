"""STOP_DRAIN: handlers of connections whose worker or proxy is about to stop learn it, and have time to end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Leaving(Protocol):
    """What is needed of a connection."""

    @property
    def draining(self) -> asyncio.Event: ...


async def paced(items: Sequence[Item], seconds: float) -> AsyncIterator[Item]:
    """Yield the items, evenly spread: the first one at once, the last one after `seconds`."""
    pause = seconds / max(len(items) - 1, 1)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number, item in enumerate(items):
        # As many as are due: a pause after each would be a turn of the loop at least, and a busy one is slow.
        early = begun + number * pause - loop.time()
        if early > 0:
            await asyncio.sleep(early)
        yield item


class Drain:
    """Connections that are to leave; `over` is set when all have left, or by others to end the drain early."""

    def __init__(self, connections: Iterable[Leaving], over: asyncio.Event) -> None:
        self._remaining = dict.fromkeys(connections)  # in order
        self._over = over
        if not self._remaining:
            over.set()

    @property
    def remaining(self) -> list[Leaving]:
        return list(self._remaining)

    def add(self, connection: Leaving) -> None:
        """Add a connection that opened after the start of the drain."""
        self._remaining[connection] = None
        connection.draining.set()

    def forget(self, connection: Leaving) -> None:
        """Note that a connection has ended."""
        self._remaining.pop(connection, None)
        if not self._remaining:
            self._over.set()

    async def run(self, limit: float, spread: float) -> None:
        """Tell all connections within `spread` seconds; return after `limit` seconds at the latest."""
        telling = asyncio.create_task(self._tell(spread))
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._over.wait()
        telling.cancel()

    async def _tell(self, spread: float) -> None:
        async for connection in paced(self.remaining, spread):
            connection.draining.set()


class Drains:
    """The drains that are running, with the settings STOP_DRAIN and DRAIN_SPREAD."""

    def __init__(self, limit: float, spread: float, report: Callable[[int], None]) -> None:
        self.limit = limit
        self._spread = spread
        self._report = report
        self._running: set[Drain] = set()
        self._connections: set[Leaving] = set()

    def __contains__(self, connection: Leaving) -> bool:
        return connection in self._connections

    async def run(self, drain: Drain) -> None:
        """Return when the connections of a drain have left, or their time is over."""
        self._connections.update(drain.remaining)
        self._report(len(self._connections))
        self._running.add(drain)
        try:
            await drain.run(self.limit, self._spread)
        finally:
            self._running.discard(drain)

    def ended(self, connection: Leaving) -> None:
        """Note that a connection has ended."""
        for drain in self._running:
            drain.forget(connection)
        if connection in self._connections:
            self._connections.discard(connection)
            self._report(len(self._connections))
