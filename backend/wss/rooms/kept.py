"""What the clients of a room with history receive: kept messages with positions, and where they start."""

import json
import re
from collections.abc import Callable
from typing import NamedTuple


class Position(NamedTuple):
    """The place of a kept message in its room. As text: `epoch:offset`."""

    epoch: str
    """A room whose messages or numbers were lost has a new one, and its offsets start again."""
    offset: int
    """The number of the message in its epoch, from 1; 0 is the position before the first one."""

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    @classmethod
    def parse(cls, text: object) -> "Position":
        """Read a position that a client sent. What is not a position is one of an unknown epoch."""
        parts = re.fullmatch(r"([0-9a-f]{1,32}):(\d{1,15})", text, re.ASCII) if isinstance(text, str) else None
        return cls(parts[1], int(parts[2])) if parts else cls("", 0)


class Kept(NamedTuple):
    """A kept message."""

    room: str
    position: Position
    message: str | bytes


class Start(NamedTuple):
    """What follows starts after this position."""

    room: str
    position: Position
    gap: str | None
    """Why messages before it are missing: `trimmed` (too many, or too large), `expired` (too old), or `epoch` (the
    client's position is of another epoch, for example because the hub has restarted). None: none is missing."""


Envelope = Callable[[Kept | Start], str | bytes]


def json_envelope(event: Kept | Start) -> str | bytes:
    """Return {"room", "position", "message"}, or {"room", "position", "gap"} with a gap that may be null.

    If the message is bytes, it follows the object and a line feed: {"room", "position"}, "\\n", message.
    """
    fields: dict[str, str | None] = {"room": event.room, "position": str(event.position)}
    if isinstance(event, Start):
        fields["gap"] = event.gap
    elif isinstance(event.message, str):
        fields["message"] = event.message
    else:
        return json.dumps(fields, ensure_ascii=False).encode() + b"\n" + event.message
    return json.dumps(fields, ensure_ascii=False)
