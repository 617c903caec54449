"""What the judges said, as a table at the end of the run."""

import pytest
from verdicts import TABLE


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="all cases of Autobahn's groups 12 and 13 (half an hour)")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for profile, groups in config.stash[TABLE].items():
        terminalreporter.section(f"Autobahn through {profile}")
        for group in sorted(groups, key=int):
            verdicts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(groups[group].items()))
            terminalreporter.line(f"group {group:>2}: {verdicts}")
