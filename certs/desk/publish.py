"""Hand the pair over to the service that terminates TLS: whole or not at all."""

import os
import shutil
import tempfile
from pathlib import Path

from desk.pair import CERTIFICATE, KEY, Pair

CURRENT = "current"
# The user of the TLS services' images; only it may read what is published.
READER = 10001


def stage(pair: Pair, volume: Path) -> Path:
    """Write the pair into a directory of its own, and return it: what is checked there is what will be published."""
    directory = Path(tempfile.mkdtemp(prefix="pair-", dir=volume))
    for file, content, mode in ((CERTIFICATE, pair.certificate, 0o444), (KEY, pair.key, 0o400)):
        (directory / file).write_bytes(content)
        (directory / file).chmod(mode)
    return directory


def publish(directory: Path) -> None:
    """Give the staged pair to its reader, and make it the current one by one rename; forget all others."""
    for path in (*directory.iterdir(), directory):
        os.chown(path, READER, READER)
    volume = directory.parent
    link = volume / f"{CURRENT}.new"
    link.unlink(missing_ok=True)
    link.symlink_to(directory.name)
    link.replace(volume / CURRENT)
    for other in volume.iterdir():
        if other.is_dir() and not other.is_symlink() and other != directory:
            shutil.rmtree(other)
