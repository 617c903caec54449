"""Tables in Markdown, and how they show measured values: medians, their spread, and ratios to a reference."""

from collections.abc import Iterable
from statistics import median, quantiles


def spread(values: list[float], digits: int = 1) -> str:
    """Return the median, and in brackets the minimum and maximum."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def roughly(values: list[float], reference: list[float]) -> str:
    """Return the median of the ratios; values of the same round are compared."""
    return f"{median(_ratios(values, reference)):.2f}"


def closely(values: list[float], reference: list[float]) -> str:
    """Return the median of the ratios, and in brackets their interquartile range."""
    ratios = _ratios(values, reference)
    lower, middle, upper = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return f"{middle:.2f} ({lower:.2f}-{upper:.2f})"


def _ratios(values: list[float], reference: list[float]) -> list[float]:
    return [one / other for one, other in zip(values, reference, strict=True)]


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(head)
    lines = [f"**{title}**", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
