"""Hand the pair over to the service that terminates TLS: whole or not at all."""

import hashlib
import os
import shutil
from pathlib import Path

from desk.pair import CERTIFICATE, KEY, Pair

CURRENT = "current"
# The user of the TLS services' images; only it may read what is published.
READER = 10001


def publish(pair: Pair, volume: Path) -> None:
    """Make `volume/current` a directory with the pair, by one rename: a reader sees the old pair or the new one."""
    name = hashlib.sha256(pair.certificate + pair.key).hexdigest()[:16]
    directory = volume / name
    if not directory.exists():
        unfinished = volume / f"{name}.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o755)
        for file, content, mode in ((CERTIFICATE, pair.certificate, 0o444), (KEY, pair.key, 0o400)):
            (unfinished / file).write_bytes(content)
            (unfinished / file).chmod(mode)
            os.chown(unfinished / file, READER, READER)
        unfinished.chmod(0o500)
        os.chown(unfinished, READER, READER)
        unfinished.rename(directory)
    link = volume / f"{CURRENT}.new"
    link.unlink(missing_ok=True)
    link.symlink_to(name)
    link.replace(volume / CURRENT)
    for other in volume.iterdir():
        if other.is_dir() and not other.is_symlink() and other.name != name:
            shutil.rmtree(other)
