"""The service itself: it polls the source of the pair every second, and publishes each valid change."""

import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from certificates import CertificateError
from certificates.acme import INITIAL_DELAY, AcmeClient
from certificates.chain import SYSTEM_ROOTS
from certificates.check import check_pair
from certificates.clients import revocation_lists, valid_until, with_client_files
from certificates.development import CA_FILE, is_development, is_development_ca, make_pair, temporary_pair
from certificates.domain import is_public
from certificates.pair import Pair
from certificates.publish import discard, publish, publish_expiry, publish_revoked, read_published, stage
from certificates.report import Report
from certificates.settings import INPUT, Settings
from certificates.source import Source
from certificates.volume import CERTIFICATE, EXPIRY_VOLUME, KEY, TLS_VOLUME

POLL_INTERVAL = 1.0  # seconds. Not inotify: some bind mounts do not forward it (Docker Desktop)
# A rejected pair may become valid without a change: its validity starts, or its root is added beside it.
RETRY_INTERVAL = 10.0  # seconds


def known_roots(directory: Path) -> list[Path]:
    """Return the files with the roots that clients know: the system's, and that of the operator's private CA."""
    own = directory / CA_FILE
    # The development CA's file stays behind if the operator's pair replaces a development pair.
    return [SYSTEM_ROOTS] if is_development_ca(own) else [SYSTEM_ROOTS, own]


def operator_files(settings: Settings, directory: Path) -> Source:
    """Return where to look for the operator's pair."""
    root = settings.order.root.name if settings.order and settings.order.root else ""
    ignored = frozenset((settings.client_ca, settings.client_crl, root))
    return Source(directory, tuple(settings.domain), settings.password_file, ignored)


class CertificateService:
    """Publishes the pair from the configured source, and each valid change of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._report = Report(settings)
        self._acme = AcmeClient(settings.order, time.monotonic() + INITIAL_DELAY) if settings.order else None
        self._published: Pair | None = None
        self._temporary: Pair | None = None
        """Published until the ACME server has issued the first pair."""
        self._clients_valid_until: datetime | None = None
        self._rejected: dict[Pair, tuple[CertificateError, float]] = {}

    def start(self) -> None:
        """Publish the first pair; raises CertificateError if there is none, or it is invalid."""
        if self._acme:
            self._start_with_acme()
        else:
            self._publish(self._read_pair_and_client_files() or self._make_pair())
        assert self._published
        self._report.log_pair(self._published)
        self._report.update(self._published)

    def _start_with_acme(self) -> None:
        try:
            if pair := self._read_pair_and_client_files():
                self._publish_for_some_names(pair)
                return
        except CertificateError as error:  # it expired while the stack was stopped, or DOMAIN was changed
            self._report.log(f"the stored pair cannot be served: {error}", "warning")
        self._temporary = temporary_pair(self._settings.domain)
        self._publish(self._add_client_files(self._temporary))
        self._report.log("serving an untrusted temporary certificate until the ACME server has issued one", "warning")

    def _publish_for_some_names(self, pair: Pair) -> None:
        """Publish the pair if it covers at least one name: the others may just have been added to DOMAIN."""
        try:
            self._publish(pair)
        except CertificateError:
            for name in self._settings.domain:
                with suppress(CertificateError):
                    self._publish(pair, [name])
                    return
            raise

    def _make_pair(self) -> Pair:
        source, domain = self._settings.source, self._settings.domain
        public = [name for name in domain if is_public(name)]
        if source == "auto" and public:
            raise CertificateError(
                f"no certificate was found for DOMAIN={public[0]}. Put {CERTIFICATE} (the full chain) and {KEY} there,"
                " or set CERTS_DIR to certbot's /etc/letsencrypt, or get one by ACME"
                " (COMPOSE_FILE=compose.yaml:acme.yaml); CERTS=dev makes one that no client trusts"
            )
        if source != "files":
            make_pair(INPUT, domain)
            self._report.log(
                f"made a development certificate. To trust it: sudo cp {self._settings.certs_dir}/{CA_FILE}"
                " /usr/local/share/ca-certificates/wss-development.crt && sudo update-ca-certificates"
                " (browsers and other systems: docs/certificates.md)"
            )
        if pair := self._read_pair_and_client_files():
            return pair
        raise CertificateError(f"there is no pair. Put {CERTIFICATE} and {KEY} there, or set CERTS=dev")

    def run(self, stop: threading.Event) -> None:
        """Poll until the event is set."""
        while not stop.wait(POLL_INTERVAL):
            self.poll()
        if self._acme:
            self._acme.stop()

    def poll(self) -> None:
        """Publish what has changed if it is valid; report an error that lasts, once."""
        try:
            self._publish_changes()
        except CertificateError as error:
            self._report.set_error(str(error))
        except Exception as error:  # a full disk, a file that no parser expects: the next one may be valid
            self._report.set_error(f"the pair cannot be published ({error!r}). Check the files and the disk")
        else:
            self._report.clear_error()
        assert self._published
        self._report.update(self._published)

    def _publish_changes(self) -> None:
        if self._acme:
            self._acme.poll(time.monotonic())
        try:
            pair = self._read_pair_and_client_files()
            if pair is None and self._temporary:
                pair = self._add_client_files(self._temporary)
            if pair is None:
                raise CertificateError("the pair is missing. Put one there again")
            if pair != self._published:
                published = self._publish(pair)
                if self._temporary and pair.key != self._temporary.key:
                    self._temporary = None
                self._report.log_pair(published)
        except CertificateError:
            self._publish_valid_part()
            self._check_acme_and_expiry()  # may be the cause of the error above
            raise
        self._check_acme_and_expiry()

    def _check_acme_and_expiry(self) -> None:
        if self._acme and self._acme.problem:
            raise CertificateError(f"the ACME server issues no certificate: {self._acme.problem.rstrip('.')}")
        if self._clients_valid_until and self._clients_valid_until < datetime.now(UTC):
            raise CertificateError(
                f"CLIENT_CA or CLIENT_CRL expired on {self._clients_valid_until:%Y-%m-%d %H:%M} UTC, and clients are"
                " refused. Put a new one there"
            )

    def _publish_valid_part(self) -> None:
        """If only one of the two (server pair, client files) is valid, publish that one."""
        assert self._published
        with suppress(CertificateError):
            if (update := self._add_client_files(self._published)) != self._published:
                self._publish(update)
        with suppress(CertificateError):
            if pair := self._read_pair():
                update = replace(pair, client_ca=self._published.client_ca, client_crl=self._published.client_crl)
                if update != self._published:
                    self._publish(update)

    def _read_pair_and_client_files(self) -> Pair | None:
        if not INPUT.is_dir():
            raise CertificateError("this is not a directory. Set CERTS_DIR to one")
        pair = self._read_pair()
        return self._add_client_files(pair) if pair else None

    def _read_pair(self) -> Pair | None:
        if self._acme:
            return self._acme.pair()
        source, domain = operator_files(self._settings, INPUT), self._settings.domain
        if self._settings.source == "dev":
            pair = source.read_named()
            if pair and not is_development(pair):
                raise CertificateError(
                    "CERTS=dev, but the pair there is not a development pair. Set CERTS=files, or move the pair away"
                )
            return pair
        pair = source.find()
        if pair and is_development(pair) and (public := [name for name in domain if is_public(name)]):
            unusable = source.unusable()
            raise CertificateError(
                f"the pair there is a development pair, which no client trusts, and DOMAIN has {public[0]}. Put your"
                f" pair there in its place ({CERTIFICATE} and {KEY}), or set CERTS=dev to serve it nevertheless"
                + (f". Not usable: {unusable}" if unusable else "")
            )
        return pair

    def _add_client_files(self, pair: Pair) -> Pair:
        return with_client_files(pair, INPUT, self._settings.client_ca, self._settings.client_crl)

    def _publish(self, pair: Pair, domain: list[str] | None = None) -> Pair:
        """Check the pair and publish it; `domain`: the names that it must cover, by default all. Return it checked."""
        error, rejected_at = self._rejected.get(pair, (None, 0.0))
        if error and domain is None and time.monotonic() - rejected_at < RETRY_INTERVAL:
            raise error
        sent = pair.without_root()
        staged = stage(sent, TLS_VOLUME)
        try:
            # ACME servers send complete chains, and clients do not know the root of a staging server.
            checked = check_pair(
                pair, domain or self._settings.domain, staged, known_roots(INPUT), is_complete=bool(self._acme)
            )
            if sent == read_published(TLS_VOLUME):  # after a restart of this service, the others need not reload
                discard(staged)
            else:
                publish(staged)
        except BaseException as failure:
            discard(staged)
            if isinstance(failure, CertificateError) and domain is None:
                self._rejected[pair] = failure, time.monotonic()
            raise
        publish_expiry(checked.expiry.timestamp(), EXPIRY_VOLUME)
        if checked.client_crl:
            publish_revoked(revocation_lists(checked), EXPIRY_VOLUME)
        self._published, self._clients_valid_until = checked, valid_until(checked)
        self._rejected.clear()
        return checked
