"""A model of a room with history: a list of all messages, with which a store is compared."""

from dataclasses import dataclass

from hypothesis import strategies as st
from wss.config.history import Limits
from wss.rooms.kept import Position
from wss.rooms.store import Entry, Store


@dataclass(frozen=True)
class Append:
    size: int


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class Read:
    """Read after the position that is so far behind the last one; negative: ahead of it."""

    behind: int
    other_epoch: bool = False


LIMITS = Limits(messages=8, seconds=10, size=100)
Step = Append | Wait | Read


def steps(longest_wait: int = 8, max_steps: int = 60) -> st.SearchStrategy[list[Step]]:
    append = st.builds(Append, st.integers(0, 40))
    read = st.builds(Read, st.integers(-2, 15), st.just(False) | st.booleans())
    wait = st.builds(Wait, st.integers(0, longest_wait))
    return st.lists(append | append | read | wait, max_size=max_steps)


@dataclass
class Clock:
    now: float = 1000.0

    def wait(self, seconds: float) -> None:
        self.now += seconds


class History:
    """All messages that were sent, and how many of the first ones are no longer kept."""

    def __init__(self, store: Store, clock: Clock, limits: Limits = LIMITS, topic: str = "room:tea") -> None:
        self._store = store
        self._clock = clock
        self._topic = topic
        self._limits = limits
        self._sent: list[tuple[float, Entry]] = []
        self._removed = 0
        self._trimmed = 0
        self._epoch = ""

    async def check(self, sequence: list[Step]) -> None:
        first = await self._store.read(self._topic, self._limits, None)
        assert first
        self._epoch = first.start.epoch
        assert (first.start.offset, first.gap, first.entries) == (0, None, [])
        for step in sequence:
            match step:
                case Append(size):
                    await self._append(size)
                case Wait(seconds):
                    self._clock.wait(seconds)
                case Read(behind, other_epoch):
                    await self._read(Position("0f" if other_epoch else self._epoch, max(len(self._sent) - behind, 0)))

    async def _append(self, size: int) -> None:
        self._expire()
        entry = Entry.of(f"{len(self._sent)}:".ljust(size, "x"), exclude="a.1" if size % 2 else "")
        appended = await self._store.append(self._topic, self._limits, entry)
        self._sent.append((self._clock.now, entry))
        assert appended
        assert appended.position == (self._epoch, len(self._sent))
        while len(self._kept) > self._limits.messages or sum(len(e.payload) for e in self._kept) > self._limits.size:
            self._removed += 1
            self._trimmed = self._removed

    async def _read(self, since: Position) -> None:
        self._expire()
        page = await self._store.read(self._topic, self._limits, since)
        assert page
        assert page.last == len(self._sent)
        if since.epoch != self._epoch or since.offset > len(self._sent):
            assert page.gap == "epoch"
        elif since.offset < self._removed:
            assert page.gap == ("trimmed" if since.offset < self._trimmed else "expired")
        else:
            assert page.gap is None
        start = self._removed if page.gap else since.offset
        assert page.start == (self._epoch, start)
        assert page.entries == [entry for _, entry in self._sent[start:]]

    @property
    def _kept(self) -> list[Entry]:
        return [entry for _, entry in self._sent[self._removed :]]

    def _expire(self) -> None:
        while self._kept and self._clock.now >= self._sent[self._removed][0] + self._limits.seconds:
            self._removed += 1
