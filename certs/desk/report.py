"""What the desk tells: lines in its log, and its health in one sentence."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from desk.pair import Pair
from desk.settings import Settings

HEALTH = Path("/run/health")

# A pair that is being replaced is wrong for a moment: certificate and key come one after the other.
PATIENCE = 5.0  # seconds
DAY = 86400.0
# A start must succeed however few days are left: only then is the desk unhealthy.
FORBEARANCE = 60.0  # seconds
# A short-lived certificate is never far from its end: there, the last quarter of its life counts.
QUARTER = 4


class Report:
    """Says what is served, daily too, and what stays wrong, once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = time.monotonic()
        self._told = 0.0
        self._wrong_since = 0.0
        self._complaint = ""

    def say(self, text: str) -> None:
        """Write a line to the log."""
        print(f"certs: {text}", flush=True)

    def serving(self, pair: Pair) -> None:
        """Say what is served, and for how long it is good."""
        self._told = time.monotonic()
        self.say(f"serving {', '.join(pair.names)} until {pair.expiry:%Y-%m-%d}, {pair.days_left} days from now")
        if self._expires_soon(pair):
            self.say(f"fewer than {self._settings.warn_days} days are left (CERTS_WARN_DAYS). Put a renewed pair there")

    def wrong(self, complaint: str) -> None:
        """Note what is wrong, and say it if it stays so."""
        now = time.monotonic()
        self._wrong_since = self._wrong_since or now
        if now - self._wrong_since >= PATIENCE and complaint != self._complaint:
            self._complaint = complaint
            where = "" if self._settings.order else f"{self._settings.certs_dir}: "
            self.say(f"{where}{complaint}. The pair before goes on serving")

    def right(self) -> None:
        """Note that nothing is wrong any more."""
        self._wrong_since, self._complaint = 0.0, ""

    def keep(self, pair: Pair) -> None:
        """Say what is served when a day is over, and tell the health."""
        if time.monotonic() - self._told >= DAY:
            self.serving(pair)
        new = HEALTH.with_suffix(".new")
        new.write_text(f"{self._health(pair)}\n")
        new.replace(HEALTH)

    def _health(self, pair: Pair) -> str:
        if self._complaint:
            return self._complaint
        if pair.expiry <= datetime.now(UTC):
            return f"the certificate expired on {pair.expiry:%Y-%m-%d %H:%M} UTC"
        if self._expires_soon(pair) and time.monotonic() - self._started >= FORBEARANCE:
            return f"the certificate expires in {pair.days_left} days"
        return "ok"

    def _expires_soon(self, pair: Pair) -> bool:
        left, lifetime = pair.expiry - datetime.now(UTC), pair.expiry - pair.start
        return left < min(timedelta(days=self._settings.warn_days), lifetime / QUARTER)
