"""The desk at work: it looks at the source every second, and publishes what has changed and is good."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm

from desk import CertificateError
from desk.acme import Acme, Order
from desk.check import SYSTEM_ROOTS, check_pair
from desk.clients import check_clients, good_until
from desk.development import CA, is_development, make_pair, temporary_pair
from desk.pair import Pair, find_pair, with_clients
from desk.publish import discard, publish, publish_expiry, published, stage

INPUT = Path("/certs")  # CERTS_DIR of the host
OUTPUT = Path("/tls")  # the volume that the TLS services read
EXPIRY = Path("/expiry")  # the volume that everybody may read
HEALTH = Path("/run/health")

LOOK = 1.0  # seconds. No inotify: it does not get through to bind mounts everywhere (Docker Desktop)
# A pair that is being replaced is wrong for a moment: certificate and key come one after the other.
PATIENCE = 5.0  # seconds
# The same pair may become good by itself: its time comes, or a root is put beside it.
AGAIN = 10.0  # seconds
DAY = 86400.0
# Until the TLS service, which waits for the desk, answers on port 80.
HEAD_START = 5.0  # seconds
# A start must succeed however few days are left: only then is the desk unhealthy.
FORBEARANCE = 60.0  # seconds
# A short-lived certificate is never far from its end: there, the last quarter of its life counts.
QUARTER = 4


def check(pair: Pair, domain: list[str], directory: Path, *, any_root: bool = False) -> None:
    """Raise CertificateError unless the pair, which lies in the directory without its root, is good to be served."""
    try:
        check_pair(pair, domain, directory, None if any_root else [SYSTEM_ROOTS, INPUT / CA])
        check_clients(pair)
    except (ValueError, UnsupportedAlgorithm) as error:  # of cryptography, which reads some fields only when asked
        raise CertificateError(f"{pair.certificate_file} is malformed ({error}). Put another pair there") from None


@dataclass(frozen=True)
class Settings:
    """What the operator has set; `certs_dir` is what they call it on the host."""

    source: str
    certs_dir: str
    domain: list[str]
    warn_days: int
    client_ca: str = ""
    client_crl: str = ""
    order: Order | None = None
    """What to ask an ACME server for, where the certificate comes from one."""


class Desk:
    """Takes the pair from where the settings say, and keeps what the TLS services read up to date."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._acme = Acme(settings.order) if settings.order else None
        self._served: Pair | None = None
        self._temporary: Pair | None = None
        """What is served until the ACME server has issued the first one."""
        self._clients_until: datetime | None = None
        self._refused: dict[Pair, tuple[CertificateError, float]] = {}
        self._wrong_since = 0.0
        self._complained = ""
        self._reported = 0.0
        self._started = 0.0

    def start(self) -> None:
        """Publish the first pair; raises CertificateError where there is none, or it is not good."""
        if self._acme:
            self._start_with_acme()
        else:
            self._take(self._find() or self._make())
        self._started = time.monotonic()
        self._report()
        self._tell_health()

    def _start_with_acme(self) -> None:
        try:
            if pair := self._find():
                self._take_for_any_name(pair)
                return
        except CertificateError as error:  # it expired while nobody looked, or DOMAIN is another one
            self._say(f"what was obtained before is not served: {error}")
        self._temporary = temporary_pair(self._settings.domain)
        self._take(self._with_clients(self._temporary))
        self._say("serving with a certificate that nobody trusts, until the ACME server has issued one")

    def _take_for_any_name(self, pair: Pair) -> None:
        """Names that were added to DOMAIN do not have a certificate yet; those that were there keep theirs."""
        try:
            self._take(pair)
        except CertificateError:
            for name in self._settings.domain:
                with suppress(CertificateError):
                    self._take(pair, [name])
                    return
            raise

    def _make(self) -> Pair:
        if self._settings.source != "files":
            make_pair(INPUT, self._settings.domain)
            self._say(
                f"made a development certificate. To trust it: sudo cp {self._settings.certs_dir}/{CA}"
                " /usr/local/share/ca-certificates/wss-development.crt && sudo update-ca-certificates"
                " (browsers and other systems: README)"
            )
        if pair := self._find():
            return pair
        raise CertificateError("there is no pair. Put server.pem and server.key there, or set CERTS=dev")

    def run(self, stop: threading.Event) -> None:
        """Look again and again, until the event is set."""
        while not stop.wait(LOOK):
            self.look()
        if self._acme:
            self._acme.stop()

    def look(self) -> None:
        """Take what has changed, if it is good; if it stays bad, say why, once."""
        try:
            self._take_what_changed()
        except CertificateError as error:
            self._is_wrong(str(error))
        except Exception as error:  # a full disk, a file that no parser expects: the next one may be good
            self._is_wrong(f"the pair cannot be published ({error!r}). Look at the files and the disk")
        else:
            self._wrong_since, self._complained = 0.0, ""
        if time.monotonic() - self._reported >= DAY:
            self._report()
        self._tell_health()

    def _take_what_changed(self) -> None:
        if self._acme and time.monotonic() - self._started >= HEAD_START:
            self._acme.look(time.monotonic())
        try:
            pair = self._find()
            if pair is None and self._temporary:
                pair = self._with_clients(self._temporary)
            if pair is None:
                raise CertificateError("the pair is gone. Put one there again")
            if pair != self._served:
                self._take(pair)
                if self._temporary and pair.key != self._temporary.key:
                    self._temporary = None
                self._report()
        except CertificateError:
            self._take_the_good_half()
            self._raise_problem()  # of which the other may be the consequence
            raise
        self._raise_problem()

    def _raise_problem(self) -> None:
        if self._acme and self._acme.problem:
            raise CertificateError(f"the ACME server issues no certificate: {self._acme.problem.rstrip('.')}")
        if self._clients_until and self._clients_until < datetime.now(UTC):
            raise CertificateError(
                f"CLIENT_CA or CLIENT_CRL was good until {self._clients_until:%Y-%m-%d %H:%M} UTC, and no client"
                " gets in any more. Put a new one there"
            )

    def _take_the_good_half(self) -> None:
        """Take the pair without what is new for clients, or that without the pair: neither is to wait for the other."""
        assert self._served
        with suppress(CertificateError):
            if (half := self._with_clients(self._served)) != self._served:
                self._take(half)
        with suppress(CertificateError):
            if pair := self._find_pair():
                half = replace(pair, client_ca=self._served.client_ca, client_crl=self._served.client_crl)
                if half != self._served:
                    self._take(half)

    def _find(self) -> Pair | None:
        if not INPUT.is_dir():
            raise CertificateError("this is not a directory. Set CERTS_DIR to one")
        pair = self._find_pair()
        return self._with_clients(pair) if pair else None

    def _find_pair(self) -> Pair | None:
        pair = self._acme.pair() if self._acme else find_pair(INPUT, self._settings.domain[0])
        if pair and self._settings.source == "dev" and not is_development(pair):
            raise CertificateError("CERTS=dev, but there is a pair of your own. Set CERTS=files, or move the pair away")
        return pair

    def _with_clients(self, pair: Pair) -> Pair:
        return with_clients(pair, INPUT, self._settings.client_ca, self._settings.client_crl)

    def _take(self, pair: Pair, domain: list[str] | None = None) -> None:
        """Check and publish; `domain`: the names that it must cover, by default all."""
        refusal, when = self._refused.get(pair, (None, 0.0))
        if refusal and domain is None and time.monotonic() - when < AGAIN:
            raise refusal
        sent = pair.without_root()
        staged = stage(sent, OUTPUT)
        try:
            # An ACME server knows what belongs into its chain; a staging one's root nobody else does.
            check(pair, domain or self._settings.domain, staged, any_root=self._acme is not None)
            if sent == published(OUTPUT):  # a desk that comes back must not make everybody reload
                discard(staged)
            else:
                publish(staged)
        except BaseException as error:
            discard(staged)
            if isinstance(error, CertificateError) and domain is None:
                self._refused[pair] = error, time.monotonic()
            raise
        publish_expiry(pair.expiry.timestamp(), EXPIRY)
        self._served, self._clients_until = pair, good_until(pair)
        self._refused.clear()

    def _is_wrong(self, complaint: str) -> None:
        now = time.monotonic()
        self._wrong_since = self._wrong_since or now
        if now - self._wrong_since >= PATIENCE and complaint != self._complained:
            self._complained = complaint
            where = "" if self._acme else f"{self._settings.certs_dir}: "
            self._say(f"{where}{complaint}. The pair before goes on serving")

    def _report(self) -> None:
        assert self._served
        self._reported = time.monotonic()
        self._say(
            f"serving {', '.join(self._served.names)} until {self._served.expiry:%Y-%m-%d},"
            f" {self._served.days_left} days from now"
        )
        if self._expires_soon():
            self._say(
                f"fewer than {self._settings.warn_days} days are left (CERTS_WARN_DAYS). Put a renewed pair there"
            )

    def _expires_soon(self) -> bool:
        assert self._served
        if self._temporary:
            return False
        left, lifetime = self._served.expiry - datetime.now(UTC), self._served.expiry - self._served.start
        return left < min(timedelta(days=self._settings.warn_days), lifetime / QUARTER)

    def _tell_health(self) -> None:
        assert self._served
        if self._complained:
            state = self._complained
        elif self._served.expiry <= datetime.now(UTC):
            state = f"the certificate expired on {self._served.expiry:%Y-%m-%d %H:%M} UTC"
        elif self._expires_soon() and time.monotonic() - self._started >= FORBEARANCE:
            state = f"the certificate expires in {self._served.days_left} days"
        else:
            state = "ok"
        new = HEALTH.with_suffix(".new")
        new.write_text(f"{state}\n")
        new.replace(HEALTH)

    def _say(self, text: str) -> None:
        print(f"certs: {text}", flush=True)
