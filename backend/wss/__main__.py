"""`python -m wss` serves; `python -m wss check` only says whether the settings can be served with."""

import asyncio
import os
import socket
import sys
from contextlib import suppress
from dataclasses import replace

from wss.config.settings import SettingError, Settings, read_settings
from wss.observability import metrics
from wss.observability.logs import start_logging
from wss.process.app_loader import load_handler, rooms_in_use
from wss.process.supervisor import Supervisor, run_directory

_ALONE = (
    "the handler uses wss.rooms, and clients of different processes would not reach each other."
    " Give HUB=valkey://hub (`--profile hub`)"
)


def check() -> Settings:
    """Return the settings, or end the process with one line that says what is wrong with them."""
    try:
        settings = read_settings(os.environ)
        load_handler(settings.app)
        if rooms_in_use() and not settings.hub and settings.workers > 1:
            raise SettingError(f"WORKERS={settings.workers}: {_ALONE}, or WORKERS=1")
    except SettingError as error:
        sys.exit(f"error: {error}")
    return settings


async def _check_rooms(settings: Settings) -> None:
    """Raise SettingError where clients of the same room would not reach each other."""
    if settings.hub:
        from wss.rooms.hub import reach  # its client is as large as all of ours

        await reach(settings)
    elif settings.replicas:
        with suppress(OSError):  # nobody to ask: no Docker
            found = await asyncio.get_running_loop().getaddrinfo(settings.replicas, None, family=socket.AF_INET)
            replicas = {address for *_, address in found}
            if len(replicas) > 1:
                raise SettingError(f"{len(replicas)} replicas: {_ALONE}, or one replica")


async def _serve(settings: Settings) -> int:
    if rooms_in_use():
        await _check_rooms(settings)
    with run_directory(settings.run_dir) as run_dir:
        try:
            watched = metrics.serve(run_dir, settings.metrics_port)
        except OSError as error:
            sys.exit(f"error: port {settings.metrics_port}: {error}. Stop what listens there, or set METRICS_PORT")
        try:
            parent = Supervisor(replace(settings, run_dir=run_dir, metrics_port=watched.server_port))
        except OSError as error:
            sys.exit(f"error: port {settings.port}: {error}. Stop what listens there, or set PORT")
        return await parent.run()


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            settings = check()
            start_logging(settings)
            try:
                sys.exit(asyncio.run(_serve(settings)))
            except SettingError as error:
                sys.exit(f"error: {error}")
        case ["check"]:
            check()
        case _:
            sys.exit("usage: python -m wss [check]")
