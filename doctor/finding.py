"""The result of a check: each finding has a severity, and a problem or a warning has a code."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """A problem ends the run, because it causes whatever would fail after it."""

    GOOD = "good"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What was observed, what that means, and the remedy; `code` identifies the diagnosis for machines."""

    severity: Severity
    code: str
    saw: str
    means: str = ""
    remedy: str = ""


def good(saw: str) -> Finding:
    return Finding(Severity.GOOD, "", saw)


def warning(code: str, saw: str, means: str, remedy: str) -> Finding:
    return Finding(Severity.WARNING, code, saw, means, remedy)


def problem(code: str, saw: str, means: str, remedy: str) -> Finding:
    return Finding(Severity.PROBLEM, code, saw, means, remedy)
