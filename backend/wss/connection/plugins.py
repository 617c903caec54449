"""Parts that follow all connections of a worker: a package that a handler imports registers its own here."""

from collections.abc import Mapping
from typing import Protocol

from wss.config.settings import Settings
from wss.connection.connection import Connection
from wss.observability.control_socket import Command
from wss.observability.metrics import Metrics


class Plugin(Protocol):
    """A part that runs only if a handler imports it, such as wss.rooms."""

    @property
    def commands(self) -> Mapping[str, Command]:
        """Commands for the control socket of a worker."""

    @property
    def degraded_reason(self) -> str:
        """What is wrong, although the worker serves; empty if nothing is."""

    def check(self, settings: Settings) -> None:
        """Raise SettingError if the settings cannot be used."""

    async def reach(self, settings: Settings) -> None:
        """Wait for what the workers need from elsewhere; raise SettingError if it cannot be used."""

    async def start(self, settings: Settings, metrics: Metrics) -> None:
        """Prepare, before the worker accepts connections."""

    def stop(self) -> None:
        """Release what was prepared, after the last connection has ended."""

    def enter(self, connection: Connection) -> None:
        """Take in a connection that has opened."""

    def exit(self, connection: Connection) -> None:
        """Forget a connection that has ended."""


registered: list[Plugin] = []
