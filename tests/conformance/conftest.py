"""A summary of Autobahn's verdicts at the end of the run."""

from collections import Counter

import pytest
from verdicts import PROPERTY


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="all cases of Autobahn's groups 12 and 13 (half an hour)")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # Tests run in other processes, from which only reports arrive.
    reports = [report for status in ("passed", "failed") for report in terminalreporter.stats.get(status, ())]
    verdicts = [value for report in reports for name, value in report.user_properties if name == PROPERTY]
    for profile in dict.fromkeys(profile for profile, _ in verdicts):
        terminalreporter.section(f"Autobahn through {profile}")
        groups: dict[str, Counter[str]] = {}
        for case, verdict in (each for name, cases in verdicts if name == profile for each in cases.items()):
            groups.setdefault(case.partition(".")[0], Counter())[verdict] += 1
        for group in sorted(groups, key=int):
            counted = ", ".join(f"{number} {verdict}" for verdict, number in sorted(groups[group].items()))
            terminalreporter.line(f"group {group:>2}: {counted}")
