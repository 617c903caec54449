"""A year of renewals, hour by hour: certificates of 64, 47, 45 and 6 days, with failing validations in between.

The schedule of the service is the real one; certbot's part is its rule for renewals. tests/faults/test_acme_year.py has
the same year with the real certbot and Pebble.
"""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from certificates import acme, report
from certificates.acme import AcmeClient, Order
from certificates.report import MAX_WARN_SHARE, Report
from certificates.settings import Settings

HOUR, DAY = 3600.0, 86400.0
YEAR = 365 * DAY
START = datetime(2027, 1, 1, tzinfo=UTC)
FAILED = "  Identifier: wss.example\n  Type:   connection\n  Detail: Timeout during connect\n"


class Issued:
    """The dates of a certificate, as far as schedule and report need them."""

    def __init__(self, now: float, days: float) -> None:
        self.start = START + timedelta(seconds=now)
        self.expiry = self.start + timedelta(days=days)
        self.days_left = 0


class Year:
    """Runs the schedule in simulated time."""

    def __init__(self, days: float, is_failing: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.now, self.days, self.is_failing = 0.0, days, is_failing
        self.issued = Issued(0, days)
        self.runs = self.failures = self.unserved_hours = self.warned_hours = self.early_warnings = 0
        self.client = AcmeClient(Order(["wss.example"]))
        monkeypatch.setattr(acme, "WORK_DIR", tmp_path)
        monkeypatch.setattr(AcmeClient, "pair", lambda _: self.issued)
        year = self

        class Now(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:  # noqa: ARG003
                return START + timedelta(seconds=year.now)

        monkeypatch.setattr(report, "datetime", Now)
        self.report = Report(Settings("acme", "certs/live", ["wss.example"], 14))

    def run(self) -> None:
        while self.now < YEAR:
            if self.now >= self.client._due:
                self._certbot()
            left = (self.issued.expiry - START).total_seconds() - self.now
            self.unserved_hours += left <= 0
            if self.report._expires_soon(self.issued):  # type: ignore[arg-type]
                self.warned_hours += 1
                self.early_warnings += left > MAX_WARN_SHARE * self.days * DAY
            self.now += HOUR / 4

    def _certbot(self) -> None:
        """certbot renews in the last third of the lifetime; of less than ten days, in the second half."""
        self.runs += 1
        left = (self.issued.expiry - START).total_seconds() - self.now
        if left > self.days * DAY * (1 / 2 if self.days < 10 else 1 / 3):
            self.client._evaluate(0, "", self.now)
        elif self.is_failing(left):
            self.failures += 1
            self.client._evaluate(1, FAILED, self.now)
        else:
            self.issued = Issued(self.now, self.days)
            self.client._evaluate(0, "", self.now)


@pytest.mark.parametrize("days", [90, 64, 47, 45, 6])
def test_no_hour_is_unserved_and_nobody_is_warned_without_need(
    days: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chance = random.Random(days)  # noqa: S311  # the same failures in each run
    year = Year(days, lambda _: chance.random() < 0.5, monkeypatch, tmp_path)
    year.run()
    assert year.failures > 0
    assert year.unserved_hours == year.early_warnings == year.warned_hours == 0
    assert year.runs < 24 * 365 / 4  # Let's Encrypt's limits: far fewer than one an hour


@pytest.mark.parametrize("days", [64, 47, 45, 6])
def test_an_outage_as_long_as_a_quarter_of_the_lifetime_is_survived(
    days: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # For that long after each renewal is due, nothing can be validated.
    due = 1 / 2 if days < 10 else 1 / 3
    year = Year(days, lambda left: left > (due - 1 / 4) * days * DAY, monkeypatch, tmp_path)
    year.run()
    assert year.failures > 0
    assert year.unserved_hours == year.early_warnings == 0


@pytest.mark.parametrize("days", [64, 47, 45, 6])
def test_a_failure_that_lasts_is_a_warning_long_before_the_end(
    days: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    year = Year(days, lambda _: True, monkeypatch, tmp_path)
    year.run()
    # In quarters of an hour: the warning begins with the last quarter of the lifetime, or 14 days before its end.
    before_the_end = year.warned_hours / 4 / 24 - year.unserved_hours / 4 / 24
    assert before_the_end == pytest.approx(min(14, days / 4), abs=0.1)
    assert year.client.problem.startswith("wss.example: connection")
