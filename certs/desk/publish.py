"""Hand the pair over to the service that terminates TLS: whole or not at all."""

import os
import shutil
import tempfile
from pathlib import Path

from desk.pair import CERTIFICATE, KEY, Pair, read_pair, with_clients

CURRENT = "current"
# That they are there is what makes nginx, Apache and the backend ask clients for a certificate.
CLIENT_CA = "client-ca.pem"
CLIENT_CRL = "client-crl.pem"
# The user of the TLS services' images; only it may read what is published.
READER = 10001
# Who has looked where the link leads may still be reading there when it moves on.
KEPT = 3


def published(volume: Path) -> Pair | None:
    """Return what the TLS services are given now."""
    directory = volume / CURRENT
    pair = read_pair(directory)
    names = (name if (directory / name).exists() else "" for name in (CLIENT_CA, CLIENT_CRL))
    return with_clients(pair, directory, *names) if pair else None


def stage(pair: Pair, volume: Path) -> Path:
    """Write the pair into a directory of its own, and return it: what is checked there is what will be published."""
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
    """Forget a pair."""
    shutil.rmtree(directory, ignore_errors=True)


def publish(directory: Path) -> None:
    """Give the staged pair to its reader, make it the current one by one rename, and forget old ones."""
    for path in (*directory.iterdir(), directory):
        os.chown(path, READER, READER)
    volume = directory.parent
    _replace(volume / CURRENT, directory.name)
    pairs = sorted(volume.glob("pair-*"), key=lambda path: path.stat().st_mtime_ns)
    for old in pairs[:-KEPT]:
        if old != directory:
            discard(old)


def publish_expiry(timestamp: float, volume: Path) -> None:
    """Tell the services that get no certificate when it expires, in seconds since 1970."""
    new = volume / "expiry.new"
    new.write_text(f"{timestamp:.0f}\n")
    new.chmod(0o444)
    new.replace(volume / "expiry")


def _replace(link: Path, target: str) -> None:
    new = link.with_name(f"{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)
