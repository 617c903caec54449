"""The messages of one room: which of them each member received, or was told to be missing, or lost in silence.

A message is *kept* if its sender learned that it is (`rooms.send` returned True), or if any member received it.

A kept message is *lost in silence* for a member if the member has neither received it nor a notice of a gap that covers
it. This is counted when all members are connected, and have received what was sent last. All members joined the room
before the first message.

A notice is a start with a `gap` (docs/rooms.md#positions). It covers the positions after the member's last one, up to
its own. Positions are in the order in which the members first saw their epochs, then of their offsets. A kept message
that no member has received has no known position. It lies between the received messages of its sender with smaller and
with larger numbers, and a notice covers it if it covers a part of that interval. (A sender's messages are in order if
they are acknowledged.) Offsets that are not consecutive are no notice.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Place(NamedTuple):
    """A position; its epoch as a number that increases."""

    epoch: float
    offset: int


FIRST, LAST = Place(-1, 0), Place(float("inf"), 0)


class Message(NamedTuple):
    """A message has its sender and a number. A sender's numbers increase, and none is sent twice."""

    sender: str
    number: int


class Loss(NamedTuple):
    """A message that a member lost in silence. It is between two places, which are equal if its place is known."""

    member: str
    message: Message
    after: Place
    before: Place


@dataclass
class _Member:
    """What a member has received."""

    at: Place = FIRST
    messages: set[Message] = field(default_factory=set)
    gaps: list[tuple[Place, Place]] = field(default_factory=list)

    def was_told(self, after: Place, before: Place) -> bool:
        """Return whether a notice covers the place, or a part of the interval between the places."""
        if after == before:
            return any(start < after <= end for start, end in self.gaps)
        return any(start < before and end > after for start, end in self.gaps)


class Ledger:
    """The record of one room."""

    def __init__(self, members: Iterable[str]) -> None:
        self._members = {member: _Member() for member in members}
        self._epochs: dict[str, int] = {}
        self._places: dict[Message, Place] = {}  # of those that any member has received
        self._acknowledged: set[Message] = set()
        self.repeated: list[tuple[str, Message]] = []
        """Members that received a message twice."""

    def acknowledge(self, message: Message) -> None:
        """Record that the sender knows that the message is kept."""
        self._acknowledged.add(message)

    def receive(self, member: str, position: str | None, message: Message) -> None:
        """Record a message that the member received; Socket.IO can deliver one without a position."""
        record = self._members[member]
        if message in record.messages:
            self.repeated.append((member, message))
        record.messages.add(message)
        if position is None:
            self._acknowledged.add(message)
        else:
            record.at = self._place(position)
            self._places.setdefault(message, record.at)

    def start(self, member: str, position: str, *, gap: bool) -> None:
        """Record a start, with which the member's position changes; with a gap it is a notice."""
        record, place = self._members[member], self._place(position)
        if gap:
            record.gaps.append((record.at, place))
        record.at = place

    def have_all(self, message: Message) -> bool:
        """Return whether the position of each member is that of the message."""
        place = self._places.get(message)
        return place is not None and all(member.at == place for member in self._members.values())

    @property
    def kept(self) -> set[Message]:
        return self._acknowledged | self._places.keys()

    @property
    def missing(self) -> int:
        """The number of kept messages that members have not received, each counted once per member."""
        return sum(len(self.kept - member.messages) for member in self._members.values())

    def lost_in_silence(self) -> list[Loss]:
        intervals = dict(self._intervals())
        return [
            Loss(name, message, *intervals[message])
            for name, member in self._members.items()
            for message in sorted(intervals.keys() - member.messages)
            if not member.was_told(*intervals[message])
        ]

    def _intervals(self) -> Iterator[tuple[Message, tuple[Place, Place]]]:
        """Yield between which places each kept message is; the two are equal if its place is known."""
        by_sender: defaultdict[str, list[Message]] = defaultdict(list)
        for message in sorted(self.kept):
            by_sender[message.sender].append(message)
        for messages in by_sender.values():
            for index, message in enumerate(messages):
                if place := self._places.get(message):
                    yield message, (place, place)
                    continue
                before = [self._places[each] for each in messages[:index] if each in self._places]
                after = [self._places[each] for each in messages[index:] if each in self._places]
                yield message, (max(before, default=FIRST), min(after, default=LAST))

    def _place(self, position: str) -> Place:
        epoch, offset = position.split(":")
        return Place(self._epochs.setdefault(epoch, len(self._epochs)), int(offset))
