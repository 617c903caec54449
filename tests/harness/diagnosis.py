"""The doctor's findings, in a form that tests can compare."""

from typing import Any
from urllib.parse import urlsplit

from doctor.checks import run_checks
from doctor.context import Options
from doctor.finding import Finding, Severity


def examine(url: str, *, timeout: float, **options: Any) -> list[Finding]:
    """Return all findings of the doctor."""
    given = Options(timeout=timeout, **options)
    return [finding for _, finding in run_checks(urlsplit(url), given, lambda _: None)]


def problem_of(findings: list[Finding]) -> str:
    """Return the code of the first problem, or an empty string if there is none."""
    return next((finding.code for finding in findings if finding.severity is Severity.PROBLEM), "")


def warnings_of(findings: list[Finding]) -> set[str]:
    return {finding.code for finding in findings if finding.severity is Severity.WARNING}
