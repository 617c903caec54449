"""The kept messages of one room, in the order of their offsets, for the clients of this worker."""

import asyncio
from collections.abc import Awaitable, Callable

from wss.rooms.kept import Position
from wss.rooms.store import Entry, Page

# Publications that wait while older messages are read. What exceeds them is read, too.
_MAX_HELD = 1000

Read = Callable[[Position | None], Awaitable[Page | None]]


class Feed:
    """Delivers each message after its start once. If publications are missing, it reads them from the store first."""

    def __init__(
        self, read: Read, on_gap: Callable[[Position, str], None], on_message: Callable[[Position, Entry], None]
    ) -> None:
        self._read = read
        self._on_gap = on_gap
        self._on_message = on_message
        self.position: Position | None = None
        """The position of the last delivered message; None until the store is reached for the first time."""
        self.pins = 0
        """How many clients are about to join."""
        self._reading: asyncio.Task[bool] | None = None
        self._held: list[tuple[Position, Entry]] = []

    def receive(self, position: Position, entry: Entry) -> None:
        """Take a publication."""
        if self._reading:
            if len(self._held) < _MAX_HELD:
                self._held.append((position, entry))
        elif self.position and position.epoch == self.position.epoch and position.offset <= self.position.offset:
            pass  # it was read before its publication arrived
        elif self.position and position == self.position._replace(offset=self.position.offset + 1):
            self._deliver(position, entry)
        else:
            self._held.append((position, entry))
            self.start_reading()

    def start_reading(self) -> asyncio.Task[bool]:
        """Deliver what the store has after the position. The result is False if the hub is unreachable."""
        if not self._reading:
            self._reading = asyncio.create_task(self._read_all())
        return self._reading

    def close(self) -> None:
        if self._reading:
            self._reading.cancel()

    async def _read_all(self) -> bool:
        try:
            while page := await self._read(self.position):
                self._take(page)
                if page.end.offset >= page.last:
                    break
        finally:
            self._reading = None
        held, self._held = self._held, []
        if page:  # else the hub is unreachable: they are read when it is connected again
            for position, entry in held:
                self.receive(position, entry)
        return page is not None

    def _take(self, page: Page) -> None:
        if page.gap:
            self._on_gap(page.start, page.gap)
        self.position = page.start
        for offset, entry in enumerate(page.entries, page.start.offset + 1):
            self._deliver(page.start._replace(offset=offset), entry)

    def _deliver(self, position: Position, entry: Entry) -> None:
        self.position = position
        self._on_message(position, entry)
