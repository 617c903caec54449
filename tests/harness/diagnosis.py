"""What the doctor says, in a form to compare."""

from typing import Any
from urllib.parse import urlsplit

from doctor.finding import Finding, Mark
from doctor.route import Options
from doctor.walk import walk


def examine(url: str, *, timeout: float, **options: Any) -> list[Finding]:
    """Return all that the doctor finds."""
    given = Options(timeout=timeout, **options)
    return [finding for _, finding in walk(urlsplit(url), given, lambda _: None)]


def problem_of(findings: list[Finding]) -> str:
    """Return the code of the first problem; empty: there is none."""
    return next((finding.code for finding in findings if finding.mark is Mark.PROBLEM), "")


def warnings_of(findings: list[Finding]) -> set[str]:
    return {finding.code for finding in findings if finding.mark is Mark.WARNING}
