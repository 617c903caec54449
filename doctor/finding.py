"""What the doctor says: one finding per thing that was looked at."""

from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    """How bad it is; a problem ends the walk, because it is the cause of all that would follow."""

    GOOD = "good"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What was seen, what that means, and what to do; `code` names the diagnosis for machines."""

    mark: Mark
    code: str
    saw: str
    means: str = ""
    remedy: str = ""


def good(saw: str) -> Finding:
    return Finding(Mark.GOOD, "", saw)


def warning(code: str, saw: str, means: str, remedy: str) -> Finding:
    return Finding(Mark.WARNING, code, saw, means, remedy)


def problem(code: str, saw: str, means: str, remedy: str) -> Finding:
    return Finding(Mark.PROBLEM, code, saw, means, remedy)
