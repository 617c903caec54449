"""How findings are told: to people, with rich, or to machines, as JSON."""

import json
import sys
import time

from rich.console import Console
from rich.table import Table
from rich.text import Text

from doctor.finding import Finding, Mark
from doctor.walk import Step

SIGNS = {Mark.GOOD: ("✓", "green"), Mark.WARNING: ("!", "yellow"), Mark.PROBLEM: ("✗", "bold red")}


class ForPeople:
    """A line for each finding, and beneath it what it means and what to do."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        # Progress goes where it disturbs nobody: nothing of it is left, and nothing without a terminal.
        self._status = Console(stderr=True).status("")
        self._said = ""
        self._worst = Mark.GOOD

    def entering(self, step: Step) -> None:
        self._status.update(f"{step.name} …")
        self._status.start()

    def tell(self, step: Step, finding: Finding) -> None:
        self._status.stop()
        sign, style = SIGNS[finding.mark]
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1, no_wrap=True)
        table.add_column(width=11, no_wrap=True)
        table.add_column()
        name, self._said = "" if step.name == self._said else step.name, step.name
        table.add_row(
            Text(sign, style),
            Text(name, "bold"),
            Text(_printable(finding.saw), "" if finding.mark is Mark.GOOD else style),
        )
        if finding.means:
            table.add_row("", "", Text(f"{finding.means}."))
        if finding.remedy:
            table.add_row("", "", Text(f"→ {finding.remedy}"))
        self._console.print(table)

    def end(self, healthy: bool) -> None:
        self._status.stop()
        if healthy:
            self._console.print("[green]Healthy: the way is open.[/]")
        else:
            self._console.print("[bold red]✗ is the cause;[/] what comes behind it was not looked at.")


def _printable(text: str) -> str:
    """Return what a server said without what a terminal would obey."""
    return "".join(character if character.isprintable() else "�" for character in text)


class ForMachines:
    """One JSON object: url, healthy, seconds, and the findings in their order."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._started = time.monotonic()
        self._findings: list[dict[str, str]] = []

    def entering(self, step: Step) -> None:
        """Say nothing until the end."""

    def tell(self, step: Step, finding: Finding) -> None:
        self._findings.append(
            {
                "step": step.name,
                "mark": finding.mark.value,
                "code": finding.code,
                "saw": finding.saw,
                "means": finding.means,
                "remedy": finding.remedy,
            }
        )

    def end(self, healthy: bool) -> None:
        seconds = round(time.monotonic() - self._started, 3)
        json.dump(
            {"url": self._url, "healthy": healthy, "seconds": seconds, "findings": self._findings}, sys.stdout, indent=2
        )
        print()
