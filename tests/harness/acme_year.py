"""`python acme_year.py DIRECTORY DAYS URL PARTS`: the certificate service for a year, with real certbot and Pebble.

With PARTS above 1, one of so many parts of the year.

The service's monotonic clock, by which certbot is run, is moved from event to event. Pebble's clock cannot be moved: it
issues each certificate now. So the wall clock, which service and certbot compare with a certificate's dates, shows now
plus the age of that certificate, and is set back at each issuance. certbot runs in a fork of this process, because
importing it takes longer than a renewal, and sleeps for a fiftieth of its time. Its account has an ECDSA key, because
certbot checks an RSA key at each start. The result is printed as JSON.
"""

import atexit
import datetime
import gc
import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from certbot._internal import client
from certbot._internal.plugins.disco import PluginsRegistry
from certbot.main import main as certbot
from certificates import acme, chain, clients, pair, publish, report, service
from certificates.acme import Order
from certificates.report import MAX_WARN_SHARE
from certificates.service import CertificateService
from certificates.settings import Settings
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwk import JWKEC
from josepy.util import ComparableECKey

NAME = "wss.example"
HOUR, DAY = 3600.0, 86400.0
YEAR = 365 * DAY
WARN_DAYS = 14
STEP, STEP_IF_LATE = 12 * HOUR, HOUR
FAILING = 0.125  # the share of validations that fail
LATE_FAILURES = 8  # of one certificate; the last of these intervals is six hours
SLEEP_SHARE = 0.02
# certbot renews by itself after two thirds of the lifetime, after half of one below ten days; Pebble (ARI) asks for it
# within a day of two thirds. Of its runs before that, so many are made; the others are left out.
IDLE_RUNS = 0.005


def earliest_renewal(days: float) -> float:
    """Return the age in days at which certbot may renew."""
    return days / 2 if days < 10 else days * 2 / 3 - 1


def warned_from(days: float) -> float:
    """Return how many days are left when the service begins to warn."""
    return min(WARN_DAYS, days * MAX_WARN_SHARE)


@dataclass
class Result:
    """What happened in the year."""

    issued: int = 0
    failed: int = 0
    idle: int = 0
    oldest: float = 0.0
    """The age in days at which a certificate was replaced, at most."""
    problems: set[str] = field(default_factory=set)
    """What the service reported as its health."""
    wrong_health: list[str] = field(default_factory=list)
    """What it reported, if that does not follow from the last run of certbot and the days that are left."""
    warnings: list[float] = field(default_factory=list)
    """The days that were left at each warning in the log."""


class Clock:
    """Stands in for the module `time` of the service; its `datetime` for that class."""

    def __init__(self) -> None:
        self.now, self.issued = 1000.0, 1000.0
        clock, real = self, datetime.datetime

        class WallClock(datetime.datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return real.now(tz) + datetime.timedelta(seconds=clock.age)

        self.datetime = WallClock

    @property
    def age(self) -> float:
        return self.now - self.issued

    def monotonic(self) -> float:
        return self.now


class Year:
    """The service, its clock, and the certbot that it runs."""

    def __init__(self, directory: Path, days: float, url: str, parts: int) -> None:
        self.directory, self.days, self.end = directory, days, YEAR / parts
        self.clock, self.result = Clock(), Result()
        self.chance = random.Random(days)  # noqa: S311  # the same failures in each run
        self._late_failures = 0
        self._replace_paths_and_clocks()
        order = Order([NAME], directory=url, root=directory / "ca.pem")
        self.service = CertificateService(Settings("acme", "certs/live", [NAME], WARN_DAYS, order=order))

    def _replace_paths_and_clocks(self) -> None:
        for module, name in (
            *((acme, name) for name in ("CONFIG_DIR", "WORK_DIR")),
            *((service, name) for name in ("INPUT", "TLS_VOLUME", "EXPIRY_VOLUME")),
        ):
            (self.directory / name).mkdir()
            setattr(module, name, self.directory / name)
        (self.directory / "unserved").mkdir()
        publish.READER_UID = os.getuid()
        report.HEALTH_FILE = self.directory / "health"
        vars(report)["EXPIRY_VOLUME"] = self.directory / "EXPIRY_VOLUME"
        for module in (service, report):
            vars(module)["time"] = self.clock
        for module in (service, report, pair, chain, clients):
            vars(module)["datetime"] = self.clock.datetime
        vars(acme)["subprocess"] = SimpleNamespace(
            Popen=self.run_certbot, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT
        )
        vars(client)["jose"] = SimpleNamespace(ComparableRSAKey=lambda _: None, JWKRSA=lambda **_: _account_key())

    def run(self) -> Result:
        log = StringIO()
        with redirect_stdout(log):
            self.service.start()
            while self.clock.now < self.end:
                assert self.service._acme
                if self._has_to_be_late() and self._is_due():  # the service was stopped until it would warn
                    self.clock.now += max(0, self._left() - warned_from(self.days)) * DAY
                step = STEP_IF_LATE if self._left() <= warned_from(self.days) else STEP
                self.clock.now = min(max(self.service._acme._due, self.clock.now + 1), self.clock.now + step)
                self._poll()
                lines = log.getvalue()
                log.seek(0)
                log.truncate()
                self.result.warnings += [self._left()] * lines.count("CERTS_WARN_DAYS")
        return self.result

    def _poll(self) -> None:
        self.service.poll()
        self.result.oldest = max(self.result.oldest, self.clock.age / DAY)
        assert self.service._acme
        if not self.service._acme._running:
            return
        for _ in range(3):  # certbot has exited; a failure that lasts is reported
            self.clock.now += 5
            self.service.poll()
        health = report.HEALTH_FILE.read_text().strip()
        self.result.problems.add(health)
        expected = (
            "the ACME server issues no certificate"
            if self.service._acme.problem
            else "the certificate expires in"
            if self._left() < warned_from(self.days)
            else "ok"
        )
        if not health.startswith(expected):
            self.result.wrong_health.append(health)

    def _left(self) -> float:
        return self.days - self.clock.age / DAY

    def _is_due(self) -> bool:
        return not self.result.issued or self.clock.age / DAY >= earliest_renewal(self.days)

    def _has_to_be_late(self) -> bool:
        """Whether all validations fail: once, with the second certificate, until the service has logged a warning."""
        return self.result.issued >= 2 and (self._late_failures < LATE_FAILURES or not self.result.warnings)

    def run_certbot(self, command: list[str], env: dict[str, str], stdout: IO[str], **_: Any) -> "Exited":
        """Stand in for subprocess.Popen: run certbot, and wait for its exit."""
        is_due = self._is_due()
        if not is_due and self.chance.random() >= IDLE_RUNS:
            return Exited(0)
        fullchain = acme.CONFIG_DIR / "live" / acme.LINEAGE / "fullchain.pem"
        before = fullchain.resolve()
        is_late = is_due and self._has_to_be_late()
        is_failing = is_late or (is_due and self.chance.random() < FAILING)
        webroot = self.directory / ("unserved" if is_failing else "challenges")
        if is_failing:
            # A new account has no authorization. Pebble reuses one in a hundred even with PEBBLE_AUTHZREUSE=0.
            shutil.rmtree(acme.CONFIG_DIR / "accounts", ignore_errors=True)
        arguments = [str(webroot) if word == str(acme.WEBROOT) else word for word in command[1:]]
        code = self._fork(arguments, env, stdout)
        if fullchain.resolve() != before:
            assert is_due
            self.result.issued += 1
            self.result.oldest = max(self.result.oldest, self.clock.age / DAY if self.result.issued > 1 else 0)
            self.clock.issued = self.clock.now
            # A time by the clock that is set back now.
            renewal = acme.CONFIG_DIR / "renewal" / f"{acme.LINEAGE}.conf"
            renewal.write_text(renewal.read_text().partition("[acme_renewal_info]")[0])
        elif code:
            self.result.failed += 1
            self._late_failures += is_late
        else:
            self.result.idle += 1
        return Exited(code)

    def _fork(self, arguments: list[str], env: dict[str, str], stdout: IO[str]) -> int:
        if process := os.fork():
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        code = 70
        try:
            os.dup2(stdout.fileno(), 1)
            os.dup2(stdout.fileno(), 2)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
            os.environ.update(env)
            datetime.datetime = self.clock.datetime  # type: ignore[misc]
            sleep = time.sleep
            time.sleep = lambda seconds: sleep(float(seconds) * SLEEP_SHARE)
            code = _exit_code(arguments)
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _account_key() -> JWKEC:
    return JWKEC(key=ComparableECKey(ec.generate_private_key(ec.SECP256R1())))


def _exit_code(arguments: list[str]) -> int:
    """Run certbot as its command does: its own hook reports exceptions, and raises SystemExit."""
    try:
        try:
            sys.exit(certbot(arguments))
        except SystemExit:
            raise
        except BaseException:
            sys.excepthook(*sys.exc_info())
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 1


@dataclass
class Exited:
    """A process that has exited."""

    returncode: int

    def poll(self) -> int:
        return self.returncode


if __name__ == "__main__":
    PluginsRegistry.find_all()  # imported before the forks
    gc.freeze()
    directory, days, url, parts = sys.argv[1:]
    result = Year(Path(directory), float(days), url, int(parts)).run()
    print(json.dumps({**asdict(result), "problems": sorted(result.problems)}))
