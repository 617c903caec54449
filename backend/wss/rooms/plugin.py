"""Rooms as a plugin of each worker: they check their settings and connect to the hub."""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from wss.close import CLOSE, Close
from wss.config.environment import SettingError
from wss.config.settings import Settings
from wss.observability.control_socket import Command
from wss.observability.metrics import Metrics
from wss.push import PUSH, Push
from wss.rooms.api import Rooms
from wss.rooms.exchange import SCRIPTS, Exchange

if TYPE_CHECKING:
    from wss.rooms.hub import Hub

# The client library of the hub needs as much memory as the whole server: it is imported only if there is a hub.

_NO_HUB = (
    "the handler uses wss.rooms, and clients of different processes would not reach each other."
    " Give HUB=valkey://hub (`--profile hub`)"
)


class RoomsPlugin:
    """See wss.connection.plugins.Plugin."""

    def __init__(self, rooms: Rooms, exchange: Exchange) -> None:
        self._rooms = rooms
        self._exchange = exchange
        self._hub: Hub | None = None
        self.enter = rooms.add
        self.exit = rooms.remove

    @property
    def commands(self) -> Mapping[str, Command]:
        return {PUSH: self._push, CLOSE: self._close}

    async def _push(self, word: str) -> dict[str, Any]:
        return self._result(await self._rooms.push(*Push.decode(word)))

    async def _close(self, word: str) -> dict[str, Any]:
        return self._result(await self._rooms.close_clients(*Close.decode(word)))

    def _result(self, workers: int | None) -> dict[str, Any]:
        # Without a hub, during a replacement, both the old and the new worker have clients.
        return {"workers": workers, "has_hub": self._hub is not None}

    def check(self, settings: Settings) -> None:
        if not settings.hub and settings.workers > 1:
            raise SettingError(f"WORKERS={settings.workers}: {_NO_HUB}, or WORKERS=1")

    async def reach(self, settings: Settings) -> None:
        if settings.hub:
            from wss.rooms.hub_client import wait_until_reachable

            await wait_until_reachable(settings)
        elif settings.replicas:
            with suppress(OSError):  # no name server: not in Docker
                found = await asyncio.get_running_loop().getaddrinfo(settings.replicas, None, family=socket.AF_INET)
                replicas = {address for *_, address in found}
                if len(replicas) > 1:
                    raise SettingError(f"{len(replicas)} replicas: {_NO_HUB}, or one replica")

    async def start(self, settings: Settings, metrics: Metrics) -> None:
        """Connect to the hub, if there is one. If it is unreachable, the worker serves its clients without it."""
        self._exchange.history.use_settings(settings.history)
        if settings.hub:
            await self._start_hub(settings, metrics)
        self._exchange.watcher.start()

    async def _start_hub(self, settings: Settings, metrics: Metrics) -> None:
        from wss.rooms.hub import Hub
        from wss.rooms.hub_client import TIMEOUT

        hub = Hub(settings, metrics, self._exchange.receive, self._exchange.on_connect, SCRIPTS)
        self._exchange.use_hub(hub)
        self._hub = hub
        hub.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                await hub.connected.wait()

    def stop(self) -> None:
        self._exchange.watcher.stop()
        if self._hub:
            self._hub.stop()

    @property
    def degraded_reason(self) -> str:
        is_connected = self._hub is None or self._hub.is_connected
        return "" if is_connected else "degraded: the hub is unreachable"
