"""Presence over several servers and workers: exactly one join and one leave per user, whatever happens to its lines.

The hub is a container; the servers are processes of this machine, without proxies.
"""

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from eventually import LIMIT
from hub_container import HubContainer, StartServers
from server import Server
from websockets.asyncio.client import ClientConnection, connect

pytestmark = pytest.mark.long
RANDOM = random.Random(21)  # noqa: S311
GRACE = 8.0  # seconds: on a busy machine, a client needs some to come back


@pytest.fixture(scope="module")
def servers(hub: HubContainer, start_servers: StartServers) -> list[Server]:
    return start_servers(hub, 2, WATCH_GRACE=f"{GRACE}")


class Client:
    """A connection, with the events that it has received."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.events: list[str] = []

    async def call(self, *words: Any) -> Any:
        await self.ws.send(json.dumps(words))
        while isinstance(message := json.loads(await self.ws.recv()), dict):
            self._take(message)
        return message[1]

    async def next(self, number: int) -> list[str]:
        """Return that many events."""
        while len(self.events) < number:
            async with asyncio.timeout(LIMIT):
                self._take(json.loads(await self.ws.recv()))
        events, self.events = self.events, []
        return events

    def _take(self, event: Any) -> None:
        event = json.loads(event["message"]) if "message" in event else event
        self.events.append(f"{event['user']} {event['presence']}")


@asynccontextmanager
async def clients(servers: list[Server], room: str) -> AsyncIterator[Any]:
    """Return a function that connects a user, or a watcher without a name, to a random server."""
    async with AsyncExitStack() as opened:

        async def enter(user: str = "", server: Server | None = None) -> Client:
            url = f"ws://localhost:{(server or RANDOM.choice(servers)).port}/wss"
            client = Client(
                await opened.enter_async_context(connect(url, proxy=None, ping_interval=None, open_timeout=LIMIT))
            )
            if user:
                await client.call("bind", user)
            await client.call("join", room)
            return client

        yield enter


@pytest.mark.parametrize("room", ["plain", "tea kept"])
def test_flapping_lines_and_several_tabs_on_all_workers_are_one_join_and_one_leave(
    servers: list[Server], room: str
) -> None:
    async def check() -> None:
        async with clients(servers, room) as enter:
            watchers = [await enter(server=server) for server in servers for _ in range(2)]
            tabs = [await enter("ann") for _ in range(4)]
            for _ in range(20):
                RANDOM.choice(tabs).ws.transport.abort()
                tabs.append(await enter("ann"))
            for watcher in watchers:
                assert await watcher.next(1) == ["ann join"]
            gone = time.monotonic()
            for tab in tabs:
                tab.ws.transport.abort()
            bob = await enter("bob")
            for watcher in watchers:
                assert sorted(await watcher.next(2)) == ["ann leave", "bob join"]
            assert time.monotonic() - gone > GRACE - 0.5
            assert await bob.call("leave", room) is None
            for watcher in watchers:
                assert await watcher.next(1) == ["bob leave"]

    asyncio.run(check())


def test_users_of_a_killed_worker_leave_once_unless_they_come_back(
    hub: HubContainer, start_servers: StartServers, servers: list[Server]
) -> None:
    (doomed,) = start_servers(hub, 1, WATCH_GRACE=f"{GRACE}")

    async def check() -> None:
        async with clients(servers, "tea killed") as enter:
            watchers = [await enter(server=server) for server in servers]
            for user in ("ann", "bob", "carl"):
                await enter(user, doomed)
            for watcher in watchers:
                assert await watcher.next(3) == ["ann join", "bob join", "carl join"]
            os.kill(doomed.process.pid, signal.SIGKILL)
            for pid in {int(json.loads(line)["process"]) for line in doomed.lines if "serving" in line}:
                os.kill(pid, signal.SIGKILL)
            await enter("ann")
            for watcher in watchers:
                assert sorted(await watcher.next(2)) == ["bob leave", "carl leave"]
            last = await enter("last")
            for watcher in watchers:
                assert await watcher.next(1) == ["last join"]
            await last.call("leave", "tea killed")
            for watcher in watchers:
                assert await watcher.next(1) == ["last leave"]

    asyncio.run(check())


def test_a_restart_of_the_hub_is_no_event_and_those_who_left_meanwhile_leave_once(
    hub_to_stop: Any, start_servers: StartServers
) -> None:
    hub = hub_to_stop()
    servers = start_servers(hub, 1, WATCH_GRACE=f"{GRACE}", HISTORY="none=1,1s,1K")

    async def check() -> None:
        async with clients(servers, "tea") as enter:
            watcher = await enter()
            ann, bob = await enter("ann"), await enter("bob")
            assert await watcher.next(2) == ["ann join", "bob join"]
            hub.container.stop(timeout=1)
            bob.ws.transport.abort()
            carl = await enter("carl")
            hub.container.start()
            assert sorted(await watcher.next(2)) == ["bob leave", "carl join"]
            await ann.call("leave", "tea")
            assert await watcher.next(1) == ["ann leave"]
            await carl.call("leave", "tea")
            assert await watcher.next(1) == ["carl leave"]

    asyncio.run(check())
