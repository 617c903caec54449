"""CLOSE_REVOKED: the client certificates that the published revocation lists revoke."""

import asyncio
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

from wss.config.environment import SettingError
from wss.handshake.client_certificate import ClientCertificate, name_of

log = logging.getLogger("wss.certificate")

POLL_INTERVAL = 1.0  # seconds
# Attributes without a name (RFC 4514 section 2.4): the proxies encode their values, and Python's ssl does not.
_WITHOUT_NAME = re.compile(r"(?:^|[,+])\d[\d.]*=(?:\\.|[^\\,+])*")


class Revocations:
    """The revoked certificates in a file of the certificate service, which replaces it as a whole."""

    def __init__(self, file: Path) -> None:
        """Raises SettingError if the file cannot be read."""
        self._file = file
        self._last_read: tuple[int, int] | None = None
        self._revoked: frozenset[tuple[str, int]] = frozenset()
        try:
            self._read_if_changed()
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise SettingError(
                f"CLOSE_REVOKED=on: {file} cannot be read ({error}). Start the service certs of the same version"
            ) from None

    def __contains__(self, certificate: ClientCertificate | None) -> bool:
        """Whether a certificate is revoked; a serial number is unique only together with its issuer."""
        return certificate is not None and _key(certificate.issuer, certificate.serial) in self._revoked

    async def follow(self, changed: Callable[[], None]) -> None:
        """Poll the file, and call `changed` after each change, until cancelled."""
        last_error = ""
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            try:
                # In a thread: a list may have 100,000 entries.
                has_changed = await asyncio.to_thread(self._read_if_changed)
            except (OSError, ValueError, TypeError, KeyError) as error:
                if str(error) != last_error:
                    last_error = str(error)
                    log.error("keeping the previous revocation lists: %s", error)
                continue
            last_error = ""
            if has_changed:
                changed()

    def _read_if_changed(self) -> bool:
        status = self._file.stat()
        if (status.st_ino, status.st_mtime_ns) == self._last_read:
            return False
        lists = json.loads(self._file.read_text())
        self._revoked = frozenset(_key(name_of(each["issuer"]), serial) for each in lists for serial in each["serials"])
        self._last_read = status.st_ino, status.st_mtime_ns
        return True


def _key(issuer: str, serial: str) -> tuple[str, int]:
    return _WITHOUT_NAME.sub("", issuer), int(serial, 16)
