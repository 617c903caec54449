"""The table: one row per fault, and what became of the messages that were sent meanwhile."""

from collections import Counter
from typing import NamedTuple

from chaos.crowd import Crowd

HEADINGS = (
    "sent",
    "kept",
    "to receive",
    "live",
    "by resume",
    "duplicates dropped",
    "gaps reported",
    "in gaps",
    "lost in silence",
)
_NAME_WIDTH = 36


class State(NamedTuple):
    """The counts at one moment."""

    counts: Counter[str]
    kept: int
    to_receive: int
    missing: int
    lost: int

    @classmethod
    def of(cls, crowd: Crowd) -> "State":
        return cls(Counter(crowd.counts), crowd.kept, crowd.to_receive, crowd.missing, len(crowd.lost_in_silence()))


def heading(title: str) -> str:
    return "  ".join([title.ljust(_NAME_WIDTH), *HEADINGS])


def row(name: str, before: State, after: State) -> str:
    """Return the counts of one fault. Each kept message is `to receive` by all members of its room."""
    counts = after.counts - before.counts
    gaps = {reason.removeprefix("gap "): number for reason, number in counts.items() if reason.startswith("gap ")}
    kept, lost = after.kept - before.kept, after.lost - before.lost
    values = (
        counts["sent"],
        kept,
        after.to_receive - before.to_receive,
        counts["live"],
        counts["resumed"],
        counts["dropped"],
        sum(gaps.values()),
        after.missing - before.missing - lost,
        lost,
    )
    cells = [str(value).rjust(len(title)) for value, title in zip(values, HEADINGS, strict=True)]
    reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(gaps.items()))
    return "  ".join([name.ljust(_NAME_WIDTH), *cells, reasons and f"({reasons})"]).rstrip()
