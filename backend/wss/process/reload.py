"""RELOAD: notices that a Python file of the handler has changed."""

import asyncio
from collections.abc import Callable
from pathlib import Path

POLL_INTERVAL = 0.5  # seconds. No inotify: it does not get through to bind mounts everywhere (Docker Desktop)
_SERVER = Path(__file__).parents[1]


async def watch(directory: Path, known: dict[Path, int], changed: Callable[[], None]) -> None:
    """Call `changed` whenever a file is not as it was last known: at first, before a worker has loaded it."""
    while True:
        await asyncio.sleep(POLL_INTERVAL)
        if (found := modified(directory)) != known:
            known = found
            changed()


def modified(directory: Path) -> dict[Path, int]:
    """Return the time of modification of each Python file below the directory, except those of this server."""
    found = {}
    for file in directory.rglob("*.py"):
        if not file.is_relative_to(_SERVER):
            try:
                found[file] = file.stat().st_mtime_ns
            except OSError:  # just deleted
                continue
    return found
