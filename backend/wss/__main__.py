"""`python -m wss` serves; `python -m wss check` only says whether the settings can be served with."""

import asyncio
import os
import sys
from dataclasses import replace

from wss import metrics
from wss.app import load_handler
from wss.logs import start_logging
from wss.parent import Parent, run_directory
from wss.settings import SettingError, Settings, read_settings


def check() -> Settings:
    """Return the settings, or end the process with one line that says what is wrong with them."""
    try:
        settings = read_settings(os.environ)
        load_handler(settings.app)
    except SettingError as error:
        sys.exit(f"error: {error}")
    return settings


async def _serve(settings: Settings) -> int:
    with run_directory(settings.run_dir) as run_dir:
        try:
            watched = metrics.serve(run_dir, settings.metrics_port)
        except OSError as error:
            sys.exit(f"error: port {settings.metrics_port}: {error}. Stop what listens there, or set METRICS_PORT")
        try:
            parent = Parent(replace(settings, run_dir=run_dir, metrics_port=watched.server_port))
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
