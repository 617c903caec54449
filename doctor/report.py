"""Output of findings: text with rich, or JSON."""

import json
import sys
import time

from rich.console import Console
from rich.table import Table
from rich.text import Text

from doctor.checks import Check
from doctor.finding import Finding, Severity

SIGNS = {Severity.GOOD: ("✓", "green"), Severity.WARNING: ("!", "yellow"), Severity.PROBLEM: ("✗", "bold red")}


class TextReport:
    """Prints a line for each finding, with its meaning and its remedy below."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        # Progress goes to stderr, and only if that is a terminal; it is erased at the end.
        self._status = Console(stderr=True).status("")
        self._last_name = ""

    def start_check(self, check: Check) -> None:
        self._status.update(f"{check.name} …")
        self._status.start()

    def add(self, check: Check, finding: Finding) -> None:
        self._status.stop()
        sign, style = SIGNS[finding.severity]
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1, no_wrap=True)
        table.add_column(width=11, no_wrap=True)
        table.add_column()
        name, self._last_name = "" if check.name == self._last_name else check.name, check.name
        table.add_row(
            Text(sign, style),
            Text(name, "bold"),
            Text(_printable(finding.saw), "" if finding.severity is Severity.GOOD else style),
        )
        if finding.means:
            table.add_row("", "", Text(f"{finding.means}."))
        if finding.remedy:
            table.add_row("", "", Text(f"→ {finding.remedy}"))
        self._console.print(table)

    def finish(self, healthy: bool) -> None:
        self._status.stop()
        if healthy:
            self._console.print("[green]Healthy: no problem found.[/]")
        else:
            self._console.print("[bold red]✗ is the cause;[/] later checks were not run.")


def _printable(text: str) -> str:
    """Replace control characters from the server, which the terminal would interpret."""
    return "".join(character if character.isprintable() else "�" for character in text)


class JsonReport:
    """Prints one JSON object at the end: url, healthy, seconds, and the findings in their order."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._started = time.monotonic()
        self._findings: list[dict[str, str]] = []

    def start_check(self, check: Check) -> None:
        """Print nothing until the end."""

    def add(self, check: Check, finding: Finding) -> None:
        self._findings.append(
            {
                "step": check.name,
                "mark": finding.severity.value,
                "code": finding.code,
                "saw": finding.saw,
                "means": finding.means,
                "remedy": finding.remedy,
            }
        )

    def finish(self, healthy: bool) -> None:
        seconds = round(time.monotonic() - self._started, 3)
        json.dump(
            {"url": self._url, "healthy": healthy, "seconds": seconds, "findings": self._findings}, sys.stdout, indent=2
        )
        print()
