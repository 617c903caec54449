"""A certificate from an ACME server (RFC 8555), obtained and renewed by certbot.

certbot, not its library `acme`: it keeps accounts and orders across restarts, knows when to renew (after two thirds of
the lifetime, or when the server requests it: ARI, RFC 9773), and `read_pair` knows its directory layout anyway.
"""

import os
import random
import re
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO

from certificates.account_binding import AccountBinding
from certificates.challenge_zone import ChallengeZone
from certificates.domain import is_address
from certificates.pair import Pair
from certificates.source import LINEAGES, read_pair

LINEAGE = "wss"  # certbot's name for the certificate, independent of DOMAIN
CONFIG_DIR = Path("/acme")  # the volume with accounts, keys and certificates
WORK_DIR = Path("/tmp/certbot")  # noqa: S108  # in the container's own tmpfs
BINDING_FILE = WORK_DIR / "binding.ini"  # options of certbot
PLUGIN_PATH = Path(__file__).parents[1]  # certbot finds dns_authenticator.py by certificates.dist-info there
WEBROOT = Path("/challenges")  # the volume that the TLS service serves on port 80 (RFC 8555 section 8.3)

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"

# The TLS service starts after this service is healthy; only then does it answer on port 80.
INITIAL_DELAY = 5.0  # seconds
# Intervals between runs of certbot: a share of the lifetime, so that short-lived certificates are renewed in time.
RUNS_PER_LIFETIME = 24
MAX_INTERVAL = 12 * 3600.0  # seconds
# The interval doubles with each further failure. Let's Encrypt counts failures for an hour.
MAX_BACKOFF = 6 * 3600.0  # seconds

_PROBLEM = re.compile(r"(?:Domain|Identifier): (?P<domain>.+)\n\s*Type: +(?P<type>.+)\n\s*Detail: (?P<detail>.+)")
# Let's Encrypt also writes the time into the problem's text; certbot writes the header only to its log.
_RETRY_TEXT = re.compile(r"retry after (\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)", re.IGNORECASE)
_RETRY_HEADER = re.compile(r"^HTTP [45]\d\d\n(?:.+\n)*?Retry-After: *(.+)$", re.IGNORECASE | re.MULTILINE)
# From certbot's HTTP client, if the server does not answer.
_UNREACHABLE = re.compile(r"requests\.exceptions\.\w+: .*?host='(?P<host>[^']+)'(?P<rest>.*)")
_CAUSE = re.compile(r"\[Errno -?\d+\] ([^)'\"]+)|(certificate verify failed: [^('\"]+)")
_BOILERPLATE = (
    *("Saving debug log", "Ask for help", "See the logfile", "Some challenges have failed", "Hint:"),
    *("Account registered", "Requesting a certificate", "Renewing an existing certificate"),
)


@dataclass(frozen=True)
class Order:
    """What to request from which ACME server."""

    domain: list[str]
    email: str = ""
    directory: str = LETS_ENCRYPT
    profile: str = ""
    root: Path | None = None
    """The root of a private ACME server, in PEM; None: the server has a publicly trusted certificate."""
    retry: float = 300.0
    """Seconds until the retry after the first failure."""
    binding: AccountBinding | None = None
    """The account of the CA that a new ACME account belongs to; None: the CA needs none."""
    zone: ChallengeZone | None = None
    """Validate the names by DNS-01 with records in this zone; None: by HTTP-01."""


class AcmeClient:
    """Runs certbot when it is due, and evaluates its result; `now`: seconds of a monotonic clock."""

    def __init__(self, order: Order, first_run: float = 0.0) -> None:
        self._order = order
        self._running: subprocess.Popen[str] | None = None
        self._output: IO[str] | None = None
        self._due = first_run
        self._failures = 0
        self.problem = ""
        """The error of the last run, in one line; empty if it succeeded."""

    def pair(self) -> Pair | None:
        """Return the last pair that certbot obtained."""
        return read_pair(CONFIG_DIR / LINEAGES / LINEAGE)

    def poll(self, now: float) -> None:
        """Start certbot if it is due; if it has exited, evaluate its result."""
        if self._running is None:
            if now >= self._due:
                self._start()
        elif self._running.poll() is not None:
            assert self._output
            self._output.seek(0)
            code, output = self._running.returncode, self._output.read()
            self._release()
            self._evaluate(code, output, now)

    def stop(self) -> None:
        """Terminate certbot if it runs; its next run resumes the order."""
        if self._running:
            self._running.terminate()
            self._running.wait()
            self._release()

    def _release(self) -> None:
        assert self._output
        self._output.close()
        self._running = self._output = None

    def _start(self) -> None:
        _log_file().unlink(missing_ok=True)  # certbot appends to it
        environment = dict(os.environ)
        if self._order.root:
            environment["REQUESTS_CA_BUNDLE"] = str(self._order.root)
        environment["PYTHONPATH"] = str(PLUGIN_PATH)
        if binding := self._order.binding:
            # Not as arguments, which other processes and certbot's log would show.
            WORK_DIR.mkdir(mode=0o700, exist_ok=True)
            BINDING_FILE.touch(mode=0o600)
            BINDING_FILE.write_text(f"eab-kid = {binding.kid}\neab-hmac-key = {binding.key}\n")
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed after certbot has exited
        self._running = subprocess.Popen(
            self._command(),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _command(self) -> list[str]:
        order = self._order
        names = [word for name in order.domain for word in ("--ip-address" if is_address(name) else "--domain", name)]
        return [
            *("certbot", "certonly", "--non-interactive", "--agree-tos", "--server", order.directory),
            *(("--email", order.email) if order.email else ("--register-unsafely-without-email",)),
            *(order.zone.options() if order.zone else ("--webroot", "--webroot-path", str(WEBROOT))),
            *("--cert-name", LINEAGE, *names, "--renew-with-new-domains", "--keep-until-expiring"),
            *("--key-type", "ecdsa", "--elliptic-curve", "secp256r1"),
            *(("--preferred-profile", order.profile) if order.profile else ()),
            *(("--config", str(BINDING_FILE)) if order.binding else ()),
            *("--config-dir", str(CONFIG_DIR), "--work-dir", str(WORK_DIR), "--logs-dir", str(WORK_DIR)),
            *("--max-log-backups", "0"),
        ]

    def _evaluate(self, code: int, output: str, now: float) -> None:
        self._due = now + self._order.retry  # if the code below raises
        min_interval = 0.0
        if code == 0:
            self._failures, self.problem = 0, ""
            interval = MAX_INTERVAL
            if pair := self.pair():
                interval = min(interval, (pair.expiry - pair.start).total_seconds() / RUNS_PER_LIFETIME)
        else:
            self.problem = describe_failure(output)
            interval = min(self._order.retry * 2 ** min(self._failures, 20), MAX_BACKOFF)
            self._failures += 1
            with suppress(FileNotFoundError):
                min_interval = requested_delay(output + _log_file().read_text(errors="replace"))
        interval *= random.uniform(0.8, 1.2)  # noqa: S311  # so that installations do not all connect at once
        self._due = now + max(interval, min_interval)


def describe_failure(output: str) -> str:
    """Return certbot's error in one line: the ACME server's problems if there are any, else the end of the output."""
    problems = [f"{found['domain']}: {found['type']}: {found['detail']}" for found in _PROBLEM.finditer(output)]
    if unreachable := _UNREACHABLE.search(output):
        cause = _CAUSE.search(unreachable["rest"])
        why = f" ({(cause[1] or cause[2]).strip()})" if cause else ""
        problems.append(f"{unreachable['host']} does not answer{why}. Check ACME_DIRECTORY, and the route to that host")
    lines = (line.strip() for line in output.splitlines())
    relevant = [line for line in lines if line and not line.startswith(_BOILERPLATE)]
    text = "; ".join(problems) or " ".join(relevant[-2:]) or "certbot printed no error"
    return text.replace("Please use --eab-kid and --eab-hmac-key", "Set ACME_EAB_KID and ACME_EAB_HMAC_KEY_FILE")


def requested_delay(output: str) -> float:
    """Return the seconds that the ACME server requests to wait (RFC 8555 section 6.6); 0 if it does not.

    `output`: certbot's output and its log.
    """
    times = [found[1].strip() for pattern in (_RETRY_TEXT, _RETRY_HEADER) for found in pattern.finditer(output)]
    return max((_seconds_until(time) for time in times), default=0.0)


def _seconds_until(time: str) -> float:
    """Return the seconds from now; `time`: seconds, an HTTP-date (RFC 9110 section 10.2.3), or an ISO 8601 date."""
    if time.isascii() and time.isdigit():
        return float(time)
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        with suppress(ValueError):
            return max((parse(time).replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds(), 0.0)
    return 0.0


def _log_file() -> Path:
    return WORK_DIR / "letsencrypt.log"
