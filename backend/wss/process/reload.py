"""RELOAD: notices that a Python file of the handler has changed."""

import asyncio
from collections.abc import Callable
from pathlib import Path

POLL_INTERVAL = 0.5  # seconds. No inotify: it does not get through to bind mounts everywhere (Docker Desktop)
_SERVER = Path(__file__).parents[1]


async def watch(directory: Path, changed: Callable[[], None]) -> None:
    """Call `changed` whenever a Python file below the directory has changed, except those of this server."""
    known = _modified(directory)
    while True:
        await asyncio.sleep(POLL_INTERVAL)
        if (found := _modified(directory)) != known:
            known = found
            changed()


def _modified(directory: Path) -> dict[Path, int]:
    found = {}
    for file in directory.rglob("*.py"):
        if not file.is_relative_to(_SERVER):
            try:
                found[file] = file.stat().st_mtime_ns
            except OSError:  # just deleted
                continue
    return found
