"""`python -m wss` starts the server; `python -m wss check` only checks the settings."""

import asyncio
import os
import sys
from dataclasses import replace

from wss.config.environment import SettingError
from wss.config.proxy import check_with_backend
from wss.config.settings import Settings, read_settings
from wss.connection.plugins import registered
from wss.observability.logs import start_logging
from wss.observability.metrics import ServedMetrics
from wss.process import internal_http
from wss.process.app_loader import load_application
from wss.process.supervisor import Supervisor, run_directory


def check() -> Settings:
    """Return the settings, or exit with one line that names the error in them."""
    try:
        settings = read_settings(os.environ)
        load_application(settings.app)
        for plugin in registered:  # by the handler's imports
            plugin.check(settings)
    except SettingError as error:
        sys.exit(f"error: {error}")
    return settings


async def _serve(settings: Settings) -> int:
    for plugin in registered:
        await plugin.reach(settings)
    with run_directory(settings.run_dir) as run_dir:
        metrics = ServedMetrics(run_dir)
        try:
            internal = internal_http.serve(settings, run_dir, metrics)
        except OSError as error:
            sys.exit(f"error: port {settings.metrics_port}: {error}. Stop what uses it, or set METRICS_PORT")
        try:
            supervisor = Supervisor(replace(settings, run_dir=run_dir, metrics_port=internal.server_port), metrics)
        except OSError as error:
            sys.exit(f"error: port {settings.port}: {error}. Stop what uses it, or set PORT")
        return await supervisor.run()


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
            try:
                check_with_backend(os.environ)
            except SettingError as error:
                sys.exit(f"error: {error}")
        case _:
            sys.exit("usage: python -m wss [check]")
