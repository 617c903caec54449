"""A certificate from an ACME server (RFC 8555), obtained and renewed by certbot.

certbot, and not its library `acme`: it keeps accounts and orders through restarts, knows when to renew (two thirds of
the lifetime, or when the server says so: ARI, RFC 9773), and puts the pair where this desk finds it anyway.
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
from ipaddress import ip_address
from pathlib import Path
from typing import IO

from desk.pair import Pair, find_pair

LINEAGE = "wss"  # what certbot calls it, whatever DOMAIN is
STORE = Path("/acme")  # the volume with accounts, keys and certificates
WORK = Path("/tmp/certbot")  # noqa: S108  # the container's own
WEBROOT = Path("/challenges")  # the volume that the TLS service shows on port 80 (RFC 8555 section 8.3)

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"

# Until the TLS service, which waits for the desk, answers on port 80.
HEAD_START = 5.0  # seconds
# How often certbot is asked whether it is time: as often as it matters, for certificates of any lifetime.
LOOKS_IN_A_LIFETIME = 24
LONGEST_PAUSE = 12 * 3600.0  # seconds
# After a failure; twice as long after each further one. Let's Encrypt counts failures for an hour.
LONGEST_BACKOFF = 6 * 3600.0  # seconds

_PROBLEM = re.compile(r"(?:Domain|Identifier): (?P<domain>.+)\n\s*Type: +(?P<type>.+)\n\s*Detail: (?P<detail>.+)")
# Let's Encrypt says it in the problem's text, too; certbot shows the header in its log alone.
_RETRY_TEXT = re.compile(r"retry after (\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)", re.IGNORECASE)
_RETRY_HEADER = re.compile(r"^HTTP [45]\d\d\n(?:.+\n)*?Retry-After: *(.+)$", re.IGNORECASE | re.MULTILINE)
# Of certbot's HTTP client, where no server answers.
_UNREACHABLE = re.compile(r"requests\.exceptions\.\w+: .*?host='(?P<host>[^']+)'(?P<rest>.*)")
_CAUSE = re.compile(r"\[Errno -?\d+\] ([^)'\"]+)|(certificate verify failed: [^('\"]+)")
_NO_NEWS = ("Saving debug log", "Ask for help", "See the logfile", "Some challenges have failed", "Hint:")


@dataclass(frozen=True)
class Order:
    """What is asked for, and of whom."""

    domain: list[str]
    email: str = ""
    directory: str = LETS_ENCRYPT
    profile: str = ""
    root: Path | None = None
    """The root of a private ACME server, in PEM; None: one that everybody knows."""
    retry: float = 300.0
    """Seconds after the first failure."""


class Acme:
    """Runs certbot when it is time, and tells what came of it; `now` is seconds of a clock that only goes forward."""

    def __init__(self, order: Order, first: float = 0.0) -> None:
        """`first`: when to start it for the first time."""
        self._order = order
        self._running: subprocess.Popen[str] | None = None
        self._output: IO[str] | None = None
        self._due = first
        self._failures = 0
        self.problem = ""
        """What went wrong the last time, in one line; empty: nothing."""

    def pair(self) -> Pair | None:
        """Return what was obtained last, if anything."""
        return find_pair(STORE, LINEAGE)

    def look(self, now: float) -> None:
        """Start certbot where it is time, and see whether it has come to an end."""
        if self._running is None:
            if now >= self._due:
                self._start()
        elif self._running.poll() is not None:
            assert self._output
            self._output.seek(0)
            code, output = self._running.returncode, self._output.read()
            self._forget()
            self._ended(code, output, now)

    def stop(self) -> None:
        """End certbot if it runs: it goes on with the order the next time."""
        if self._running:
            self._running.terminate()
            self._running.wait()
            self._forget()

    def _forget(self) -> None:
        assert self._output
        self._output.close()
        self._running = self._output = None

    def _start(self) -> None:
        _log().unlink(missing_ok=True)  # certbot appends to it
        environment = dict(os.environ)
        if self._order.root:
            environment["REQUESTS_CA_BUNDLE"] = str(self._order.root)
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115  # until it has ended
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
        names = [word for name in order.domain for word in ("--ip-address" if _is_address(name) else "--domain", name)]
        return [
            *("certbot", "certonly", "--non-interactive", "--agree-tos", "--server", order.directory),
            *(("--email", order.email) if order.email else ("--register-unsafely-without-email",)),
            *("--webroot", "--webroot-path", str(WEBROOT)),
            *("--cert-name", LINEAGE, *names, "--renew-with-new-domains", "--keep-until-expiring"),
            *("--key-type", "ecdsa", "--elliptic-curve", "secp256r1"),
            *(("--preferred-profile", order.profile) if order.profile else ()),
            *("--config-dir", str(STORE), "--work-dir", str(WORK), "--logs-dir", str(WORK)),
            *("--max-log-backups", "0"),
        ]

    def _ended(self, code: int, output: str, now: float) -> None:
        self._due = now + self._order.retry  # where what follows fails
        least = 0.0
        if code == 0:
            self._failures, self.problem = 0, ""
            pause = LONGEST_PAUSE
            if pair := self.pair():
                pause = min(pause, (pair.expiry - pair.start).total_seconds() / LOOKS_IN_A_LIFETIME)
        else:
            self.problem = describe(output)
            pause = min(self._order.retry * 2 ** min(self._failures, 20), LONGEST_BACKOFF)
            self._failures += 1
            with suppress(FileNotFoundError):
                least = seconds_to_wait(output + _log().read_text(errors="replace"))
        pause *= random.uniform(0.8, 1.2)  # noqa: S311  # not everybody's at the same moment
        self._due = now + max(pause, least)


def describe(output: str) -> str:
    """Return what certbot says of a failure in one line: the problem of the ACME server where there is one."""
    problems = [f"{found['domain']}: {found['type']}: {found['detail']}" for found in _PROBLEM.finditer(output)]
    if unreachable := _UNREACHABLE.search(output):
        cause = _CAUSE.search(unreachable["rest"])
        why = f" ({(cause[1] or cause[2]).strip()})" if cause else ""
        problems.append(f"{unreachable['host']} does not answer{why}. Look at ACME_DIRECTORY, and at the way out there")
    lines = (line.strip() for line in output.splitlines())
    said = [line for line in lines if line and not line.startswith(_NO_NEWS)]
    return "; ".join(problems) or " ".join(said[-2:]) or "certbot said nothing"


def seconds_to_wait(output: str) -> float:
    """Return how long the ACME server asks to be left alone (RFC 8555 section 6.6); 0 where it does not say.

    `output`: what certbot printed, and its log.
    """
    said = [found[1].strip() for pattern in (_RETRY_TEXT, _RETRY_HEADER) for found in pattern.finditer(output)]
    return max((_seconds(when) for when in said), default=0.0)


def _seconds(when: str) -> float:
    """Return how far away it is; `when`: seconds, an HTTP-date (RFC 9110 section 10.2.3), or an ISO 8601 date."""
    if when.isascii() and when.isdigit():
        return float(when)
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        with suppress(ValueError):
            return max((parse(when).replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds(), 0.0)
    return 0.0


def _log() -> Path:
    return WORK / "letsencrypt.log"


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
