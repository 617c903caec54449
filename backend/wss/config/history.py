"""HISTORY: how much rooms keep of their messages, by name or prefix."""

import re
from typing import NamedTuple

from wss.config.parsers import count, size

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_EXAMPLE = "Give ROOM=MESSAGES,TIME,BYTES, for example tea=100,1h,1M; a room that ends in * is a prefix"


class Limits(NamedTuple):
    """How much a room keeps of its messages: what exceeds one of these is removed, the oldest first."""

    messages: int = 100
    seconds: float = 3600.0
    size: int = 1024 * 1024
    """Bytes of all messages together."""


def history(value: str) -> dict[str, Limits]:
    """Parse rules that are separated by spaces."""
    rules = {}
    for rule in value.split():
        room, _, limits = rule.rpartition("=")
        parts = limits.split(",")
        if not room or len(parts) != 3:
            raise ValueError(f"{rule!r} is not a rule. {_EXAMPLE}")
        if room in rules:
            raise ValueError(f"there are two rules for {room!r}. Give one")
        try:
            rules[room] = Limits(count(parts[0]), _duration(parts[1]), size(parts[2]))
        except ValueError as error:
            raise ValueError(f"in {rule!r}, {error}. {_EXAMPLE}") from None
    return rules


def _duration(value: str) -> float:
    parts = re.fullmatch(r"([1-9]\d{0,6})([smhd]?)", value, re.ASCII)
    seconds = int(parts[1]) * _SECONDS[parts[2]] if parts else 0
    if not 1 <= seconds <= 30 * 86400:
        raise ValueError(f"{value!r} is not a time. Give 1s to 30d, for example 90s, 10m or 1h")
    return float(seconds)
