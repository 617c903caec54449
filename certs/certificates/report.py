"""Log lines, and the health of the service in one sentence."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certificates.pair import Pair
from certificates.publish import publish_failing
from certificates.settings import Settings
from certificates.volume import CERTIFICATE, EXPIRY_VOLUME, KEY

HEALTH_FILE = Path("/run/health")

# Certificate and key are replaced one after the other: do not report the mismatch in between.
REPORT_DELAY = 5.0  # seconds
LOG_INTERVAL = 86400.0  # seconds
# For the first 60 s, near expiry does not make the service unhealthy; otherwise `up --wait` could never succeed.
STARTUP_GRACE = 60.0  # seconds
# A short-lived certificate always has few days left: warn in the last quarter of its lifetime at the earliest.
MAX_WARN_SHARE = 0.25


class Report:
    """Logs the published pair at start and daily, and each lasting error once; writes the health file."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = time.monotonic()
        self._last_logged = 0.0
        self._error_since = 0.0
        self._reported_error = ""

    def log(self, text: str, level: str = "info") -> None:
        """Write a line to the log; in JSON with the keys and levels of the backend's log."""
        if self._settings.json_log:
            time_ = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
            print(json.dumps({"event": text, "time": time_, "level": level, "logger": "certs"}), flush=True)
        else:
            print(f"certs: {text}", flush=True)

    def log_pair(self, pair: Pair) -> None:
        """Log the names and the expiry of the published pair."""
        self._last_logged = time.monotonic()
        usual = (pair.certificate_file, pair.key_file) == (CERTIFICATE, KEY)
        source = "" if usual else f", from {pair.certificate_file} and {pair.key_file}"
        self.log(
            f"serving {', '.join(pair.names)} until {pair.expiry:%Y-%m-%d}, {pair.days_left} days from now{source}"
        )
        for note in pair.notes:
            self.log(f"warning: {note}", "warning")
        if self._expires_soon(pair):
            left = pair.expiry - datetime.now(UTC)
            days = f"fewer than {self._settings.warn_days} days" if left.days else f"{left.seconds // 3600} hours"
            self.log(f"{days} are left (CERTS_WARN_DAYS). Put a renewed pair there", "warning")

    def set_error(self, error: str) -> None:
        """Report the error if the service has been failing for REPORT_DELAY."""
        now = time.monotonic()
        self._error_since = self._error_since or now
        if now - self._error_since >= REPORT_DELAY and error != self._reported_error:
            self._reported_error = error
            where = "" if self._settings.order else f"{self._settings.certs_dir}: "
            self.log(f"{where}{error}. The previous pair stays in use", "error")

    def clear_error(self) -> None:
        """Return to healthy."""
        self._error_since, self._reported_error = 0.0, ""

    def update(self, pair: Pair) -> None:
        """Write the health file, and log the pair once a day."""
        if time.monotonic() - self._last_logged >= LOG_INTERVAL:
            self.log_pair(pair)
        new = HEALTH_FILE.with_suffix(".new")
        new.write_text(f"{self._health(pair)}\n")
        new.replace(HEALTH_FILE)
        publish_failing(self._health(pair) != "ok", EXPIRY_VOLUME)

    def _health(self, pair: Pair) -> str:
        if self._reported_error:
            return self._reported_error
        if pair.expiry <= datetime.now(UTC):
            return f"the certificate expired on {pair.expiry:%Y-%m-%d %H:%M} UTC"
        if self._expires_soon(pair) and time.monotonic() - self._started >= STARTUP_GRACE:
            return f"the certificate expires in {pair.days_left} days"
        return "ok"

    def _expires_soon(self, pair: Pair) -> bool:
        left, lifetime = pair.expiry - datetime.now(UTC), pair.expiry - pair.start
        return left < min(timedelta(days=self._settings.warn_days), lifetime * MAX_WARN_SHARE)
