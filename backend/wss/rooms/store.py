"""The kept messages of rooms: what a store gives and takes, and the store in memory, for a server without a hub."""

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, Protocol

from wss.config.history import Limits
from wss.protocol.frames import TEXT, PreparedMessage
from wss.rooms.kept import Position

# Seconds that a room's epoch and last offset are known after its last message has expired. A client that comes back in
# this time, and has missed nothing, is not told of a gap.
REMEMBERED = 86400.0
# A page of kept messages ends at this number of messages, or of bytes.
PAGE_MESSAGES, PAGE_SIZE = 128, 256 * 1024
# Seconds between two searches for rooms that are no longer remembered.
_SWEEP_INTERVAL = 60.0


class Entry(NamedTuple):
    """A message as it is kept: the same for all clients, but not for the excluded one."""

    kind: int
    payload: bytes
    exclude: str = ""
    """The id of the client that does not receive it live; empty: none."""

    @property
    def message(self) -> str | bytes:
        return self.payload.decode() if self.kind == TEXT else self.payload

    @classmethod
    def of(cls, message: str | bytes, exclude: str = "") -> "Entry":
        prepared = PreparedMessage(message)
        return cls(prepared.kind, prepared.payload, exclude)


class Page(NamedTuple):
    """Kept messages after a position, without holes between them."""

    start: Position
    """The position before the first message."""
    gap: str | None
    """Why messages between the requested position and the start are missing; see wss.rooms.kept.Start."""
    entries: list[Entry]
    last: int
    """The offset of the room's last message, which may be on a later page."""

    @property
    def end(self) -> Position:
        return self.start._replace(offset=self.start.offset + len(self.entries))


class Appended(NamedTuple):
    """A message that was kept and published."""

    position: Position
    workers: int
    """How many workers have received it."""


class Store(Protocol):
    """Keeps and publishes. Both return None if the hub is unreachable."""

    async def append(self, topic: str, limits: Limits, entry: Entry) -> Appended | None: ...

    async def read(self, topic: str, limits: Limits, since: Position | None) -> Page | None:
        """Return what is kept after a position; None: nothing but the last position."""


@dataclass
class _Room:
    epoch: str = field(default_factory=lambda: new_epoch())
    last: int = 0
    size: int = 0
    trimmed: int = 0  # the last offset that was removed, but not because of its age
    forget: float = 0.0
    entries: deque[tuple[float, Entry]] = field(default_factory=deque)  # with the times at which they expire

    def trim(self, now: float, limits: Limits) -> None:
        while self.entries:
            expires, entry = self.entries[0]
            is_old = now >= expires
            if not (is_old or len(self.entries) > limits.messages or self.size > limits.size):
                return
            if not is_old:
                self.trimmed = self.last - len(self.entries) + 1
            self.size -= len(entry.payload)
            self.entries.popleft()


class MemoryStore:
    """Keeps messages in the memory of this process."""

    def __init__(self, publish: Callable[[str, Position, Entry], bool], now: Callable[[], float] = time.monotonic):
        """Call `publish` for each kept message; it returns whether this worker has clients in the room."""
        self._publish = publish
        self._now = now
        self._rooms: dict[str, _Room] = {}
        self._swept = now()

    async def append(self, topic: str, limits: Limits, entry: Entry) -> Appended:
        room = self._room(topic, limits)
        room.last += 1
        room.size += len(entry.payload)
        room.entries.append((self._now() + limits.seconds, entry))
        room.trim(self._now(), limits)
        position = Position(room.epoch, room.last)
        return Appended(position, int(self._publish(topic, position, entry)))

    async def read(self, topic: str, limits: Limits, since: Position | None) -> Page:
        room = self._room(topic, limits)
        if since is None:
            return Page(Position(room.epoch, room.last), None, [], room.last)
        first = room.last - len(room.entries)  # the position before the first kept message
        gap = None
        if since.epoch != room.epoch or since.offset > room.last:
            gap = "epoch"
        elif since.offset < first:
            gap = "trimmed" if since.offset < room.trimmed else "expired"
        start = first if gap else since.offset
        entries, size = [], 0
        for _, entry in islice(room.entries, start - first, start - first + PAGE_MESSAGES):
            entries.append(entry)
            size += len(entry.payload)
            if size >= PAGE_SIZE:
                break
        return Page(Position(room.epoch, start), gap, entries, room.last)

    def _room(self, topic: str, limits: Limits) -> _Room:
        now = self._now()
        if now >= self._swept + _SWEEP_INTERVAL:
            self._swept = now
            self._rooms = {name: room for name, room in self._rooms.items() if now < room.forget}
        room = self._rooms.get(topic)
        if room is None or now >= room.forget:
            room = self._rooms[topic] = _Room()
        room.forget = now + limits.seconds + REMEMBERED
        room.trim(now, limits)
        return room


def new_epoch() -> str:
    return os.urandom(8).hex()
