"""Publish a pair to the service that terminates TLS, atomically."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from certificates import CertificateError
from certificates.clients import RevocationList
from certificates.pair import Pair
from certificates.volume import CERTIFICATE, CLIENT_CA, CLIENT_CRL, CURRENT, EXPIRY, FAILING, KEY, REVOKED

# The user of the TLS services' images; only this user can read the key.
READER_UID = 10001
# A service that has resolved the link may still be reading the previous directory when the link moves.
KEPT_PAIRS = 3


def read_published(volume: Path) -> Pair | None:
    """Return the published pair."""
    directory = volume / CURRENT
    if not (directory / CERTIFICATE).exists():
        return None
    files = (directory / name for name in (CERTIFICATE, KEY, CLIENT_CA, CLIENT_CRL))
    certificate, key, client_ca, client_crl = (file.read_bytes() if file.exists() else b"" for file in files)
    return Pair(certificate, key, client_ca, client_crl)


def stage(pair: Pair, volume: Path) -> Path:
    """Write the pair into a new directory and return it, so that exactly the published files are checked."""
    directory = Path(tempfile.mkdtemp(prefix="pair-", dir=volume))
    try:
        _write(pair, directory)
    except BaseException:
        discard(directory)
        raise
    return directory


def _write(pair: Pair, directory: Path) -> None:
    for file, content, mode in (
        (CERTIFICATE, pair.certificate, 0o444),
        (KEY, pair.key, 0o400),
        (CLIENT_CA, pair.client_ca, 0o444),
        (CLIENT_CRL, pair.client_crl, 0o444),
    ):
        if content:
            (directory / file).write_bytes(content)
            (directory / file).chmod(mode)


def discard(directory: Path) -> None:
    """Delete a staged or old pair."""
    shutil.rmtree(directory, ignore_errors=True)


def publish(directory: Path) -> None:
    """Give the staged pair to its reader, point the link to it by one rename, and delete old pairs."""
    # Without root, the reader runs as the same user, as the containers of a pod do.
    if os.geteuid() == 0:
        _change_owner(directory)
    volume = directory.parent
    _replace_link(volume / CURRENT, directory.name)
    pairs = sorted(volume.glob("pair-*"), key=lambda path: path.stat().st_mtime_ns)
    for old in pairs[:-KEPT_PAIRS]:
        if old != directory:
            discard(old)


def _change_owner(directory: Path) -> None:
    try:
        for path in (*directory.iterdir(), directory):
            os.chown(path, READER_UID, READER_UID)
    except PermissionError as error:
        raise CertificateError(
            f"the pair cannot be given to user {READER_UID} ({error.strerror}). Add the capability CHOWN, or run the"
            f" certificate service as user {READER_UID}"
        ) from None


def publish_expiry(timestamp: float, volume: Path) -> None:
    """Write the time of expiry, in seconds since 1970, for services without access to the certificate."""
    _replace_file(volume / EXPIRY, f"{timestamp:.0f}\n")


def publish_failing(failing: bool, volume: Path) -> None:
    """Write whether the service is unhealthy: a renewal fails, or is late. It is a metric of the backend."""
    text = f"{failing:d}\n"
    file = volume / FAILING
    if not file.exists() or file.read_text() != text:
        _replace_file(file, text)


def publish_revoked(lists: list[RevocationList], volume: Path) -> None:
    """Write what the revocation lists revoke, as JSON, for services that do not parse X.509."""
    _replace_file(volume / REVOKED, f"{json.dumps([each._asdict() for each in lists])}\n")


def _replace_file(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o444)
    new.replace(file)


def _replace_link(link: Path, target: str) -> None:
    new = link.with_name(f"{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)
