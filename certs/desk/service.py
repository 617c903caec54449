"""The desk at work: it looks at the source every second, and publishes what has changed and is good."""

import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from desk import CertificateError
from desk.acme import HEAD_START, Acme
from desk.check import SYSTEM_ROOTS, check_pair
from desk.clients import good_until
from desk.development import CA, is_development, is_development_ca, make_pair, temporary_pair
from desk.pair import Pair, find_pair, with_clients
from desk.publish import discard, publish, publish_expiry, published, stage
from desk.report import Report
from desk.settings import INPUT, Settings

OUTPUT = Path("/tls")  # the volume that the TLS services read
EXPIRY = Path("/expiry")  # the volume that everybody may read

LOOK = 1.0  # seconds. No inotify: it does not get through to bind mounts everywhere (Docker Desktop)
# The same pair may become good by itself: its time comes, or a root is put beside it.
AGAIN = 10.0  # seconds


def known_roots(directory: Path) -> list[Path]:
    """Return the files with the roots that clients know: the system's, and that of a CA of the operator's own."""
    own = directory / CA
    # The development CA's is left over where a pair of the operator's own has come.
    return [SYSTEM_ROOTS] if is_development_ca(own) else [SYSTEM_ROOTS, own]


class Desk:
    """Takes the pair from where the settings say, and keeps what the TLS services read up to date."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._report = Report(settings)
        self._acme = Acme(settings.order, time.monotonic() + HEAD_START) if settings.order else None
        self._served: Pair | None = None
        self._temporary: Pair | None = None
        """What is served until the ACME server has issued the first one."""
        self._clients_until: datetime | None = None
        self._refused: dict[Pair, tuple[CertificateError, float]] = {}

    def start(self) -> None:
        """Publish the first pair; raises CertificateError where there is none, or it is not good."""
        if self._acme:
            self._start_with_acme()
        else:
            self._take(self._find() or self._make())
        assert self._served
        self._report.serving(self._served)
        self._report.keep(self._served)

    def _start_with_acme(self) -> None:
        try:
            if pair := self._find():
                self._take_for_any_name(pair)
                return
        except CertificateError as error:  # it expired while nobody looked, or DOMAIN is another one
            self._report.say(f"what was obtained before is not served: {error}")
        self._temporary = temporary_pair(self._settings.domain)
        self._take(self._with_clients(self._temporary))
        self._report.say("serving with a certificate that nobody trusts, until the ACME server has issued one")

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
            self._report.say(
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
            self._report.wrong(str(error))
        except Exception as error:  # a full disk, a file that no parser expects: the next one may be good
            self._report.wrong(f"the pair cannot be published ({error!r}). Look at the files and the disk")
        else:
            self._report.right()
        assert self._served
        self._report.keep(self._served)

    def _take_what_changed(self) -> None:
        if self._acme:
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
                self._report.serving(pair)
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
            check_pair(pair, domain or self._settings.domain, staged, None if self._acme else known_roots(INPUT))
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
