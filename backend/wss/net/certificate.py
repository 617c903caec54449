"""The certificate that is served, replaced without a restart when the certificate service publishes another one."""

import asyncio
import base64
import logging
import re
import ssl
from contextlib import suppress
from pathlib import Path

from wss.config.settings import Settings
from wss.net.tls import CLIENT_CA, CLIENT_CRL, SERVER_CERTIFICATE, SERVER_KEY, expiry, server_context
from wss.observability.metrics import Metrics

log = logging.getLogger("wss.certificate")

POLL_INTERVAL = 1.0  # seconds
FAILING = "failing"  # beside EXPIRY_FILE
# The first certificate; there may be text before and after it (RFC 7468 section 2).
_LEAF = re.compile(rb"-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----")
# RFC 8017 appendix A.1: the certificate has an RSA key, whatever its signature is.
_RSA_ENCRYPTION = bytes.fromhex("06092a864886f70d010101")


class Certificate:
    """The TLS context for new connections. It follows the certificate and key in a directory."""

    def __init__(self, directory: Path, settings: Settings, metrics: Metrics) -> None:
        """Load the current certificate. Raises SettingError if it cannot be used."""
        self._directory = directory
        self._settings = settings
        self._metrics = metrics
        self._served, self._context_inputs, self.context = self._load()

    @property
    def requires_client_certificate(self) -> bool:
        """Whether clients need a certificate to open a WebSocket."""
        return self.context.verify_mode == ssl.CERT_OPTIONAL

    async def follow(self) -> None:
        """Poll the directory, and serve a new certificate to new connections; open connections continue."""
        last_error = ""
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            if self._directory.resolve() == self._served:
                continue
            try:
                self._reload()
            except Exception as error:  # any: the next certificate may be valid
                if str(error) != last_error:
                    last_error = str(error)
                    log.error("keeping the previous certificate: %s", error)
            else:
                last_error = ""
                log.info("serving the renewed certificate")

    def _reload(self) -> None:
        target, inputs, context = self._load()  # into a new context, so that an error never affects the live one
        if inputs == self._context_inputs:
            # Keep the live context, and with it its session ticket keys: clients can resume.
            self.context.load_cert_chain(target / SERVER_CERTIFICATE, target / SERVER_KEY)
        else:
            # OpenSSL keeps one certificate per key type, and all CAs: the live context would keep the old ones, too.
            self.context = context
        self._served, self._context_inputs = target, inputs

    def _load(self) -> tuple[Path, tuple[object, ...], ssl.SSLContext]:
        target = self._directory.resolve()  # once, because the link may change in between
        context = server_context(target, modern=self._settings.tls_modern)
        self._metrics.certificate_expires(expiry(context, target, self._settings.domain.example))
        return target, _context_inputs(target), context


async def follow_expiry(file: Path, metrics: Metrics, *, of_proxy: bool) -> None:
    """Report what the certificate service writes: whether renewals fail; in `file`, when the proxy's pair expires."""
    while True:
        with suppress(OSError, ValueError):
            metrics.renewal_fails(bool(_read_number(file.with_name(FAILING))))
        if of_proxy:
            with suppress(OSError, ValueError):
                metrics.certificate_expires(_read_number(file))
        await asyncio.sleep(POLL_INTERVAL)


def _read_number(file: Path) -> float:
    return float(file.read_text())


def _context_inputs(directory: Path) -> tuple[object, ...]:
    """Return what a context cannot replace once it is loaded: the key type, and the CA and CRL for clients."""
    leaf = _LEAF.search((directory / SERVER_CERTIFICATE).read_bytes())
    has_rsa_key = leaf is not None and _RSA_ENCRYPTION in base64.b64decode(leaf[1])
    client_files = (directory / CLIENT_CA, directory / CLIENT_CRL)
    return has_rsa_key, *(file.exists() and file.read_bytes() for file in client_files)
