"""The certificate while it is served: renewed by the desk, it is taken into the running server."""

import asyncio
import base64
import logging
import re
import ssl
from contextlib import suppress
from pathlib import Path

from wss.config.settings import Settings
from wss.net.tls import CLIENT_CA, CLIENT_CRL, expiry, server_context
from wss.observability.metrics import Metrics

log = logging.getLogger("wss.certificate")

LOOK = 1.0  # seconds
# The first certificate; there may be words around it (RFC 7468 section 2).
_LEAF = re.compile(rb"-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----")
# RFC 8017 appendix A.1: the key of a certificate (not its signature) is one of RSA.
_RSA_ENCRYPTION = bytes.fromhex("06092a864886f70d010101")


class Certificate:
    """What new connections get: a TLS context that follows the pair in a directory."""

    def __init__(self, directory: Path, settings: Settings, counts: Metrics) -> None:
        """Take what is there; raises SettingError where it cannot be used."""
        self._directory = directory
        self._settings = settings
        self._counts = counts
        self._served, self._lasting, self.context = self._read()

    @property
    def is_wanted_of_clients(self) -> bool:
        """Whether a websocket is only for clients with a certificate of their own."""
        return self.context.verify_mode == ssl.CERT_OPTIONAL

    async def follow(self) -> None:
        """Look for another pair every second, and serve it from then on; open connections go on."""
        complaint = ""
        while True:
            await asyncio.sleep(LOOK)
            if self._directory.resolve() == self._served:
                continue
            try:
                self._renew()
            except Exception as error:  # whatever it is: the next one may be good
                if str(error) != complaint:
                    complaint = str(error)
                    log.error("the certificate before goes on being served: %s", error)
            else:
                complaint = ""
                log.info("serving the renewed certificate")

    def _renew(self) -> None:
        pair, lasting, context = self._read()  # in a context of its own: what is wrong never gets into the live one
        if lasting == self._lasting:
            # The live one keeps its keys for tickets: clients resume.
            self.context.load_cert_chain(pair / "server.pem", pair / "server.key")
        else:
            # OpenSSL keeps a pair for each kind of key, and every CA: the live one would go on with the old ones, too.
            self.context = context
        self._served, self._lasting = pair, lasting

    def _read(self) -> tuple[Path, tuple[object, ...], ssl.SSLContext]:
        pair = self._directory.resolve()  # once: the link may move on from one look to the next
        context = server_context(pair, modern=self._settings.tls_modern)
        self._counts.certificate_expires(expiry(context, pair, min(self._settings.domain)))
        return pair, _lasting(pair), context


async def follow_expiry(file: Path, counts: Metrics) -> None:
    """Count when the certificate of the proxy before us expires: the desk says so in a file, in seconds since 1970."""
    while True:
        with suppress(OSError, ValueError):
            counts.certificate_expires(_number(file))
        await asyncio.sleep(LOOK)


def _number(file: Path) -> float:
    return float(file.read_text())


def _lasting(pair: Path) -> tuple[object, ...]:
    """Return what a context cannot forget: the kind of key, and whom it takes client certificates of."""
    leaf = _LEAF.search((pair / "server.pem").read_bytes())
    has_rsa_key = leaf is not None and _RSA_ENCRYPTION in base64.b64decode(leaf[1])
    return has_rsa_key, *((pair / name).exists() and (pair / name).read_bytes() for name in (CLIENT_CA, CLIENT_CRL))
