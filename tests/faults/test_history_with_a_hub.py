"""Rooms with history over several workers: every client gets every kept message, in order and once, or a gap.

The hub is a container; the servers are processes of this machine, without proxies.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import docker
import pytest
from docker.errors import ContainerError
from eventually import LIMIT, until
from history_model import Append, Clock, History, Read, Step, steps
from hub_container import HubContainer, StartServers
from hypothesis import HealthCheck, given, settings
from server import Server
from valkey.asyncio import Valkey
from valkey.asyncio.client import Pipeline
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from wss.config.history import Limits
from wss.config.settings import read_settings
from wss.observability.metrics import Metrics
from wss.rooms.hub import Hub
from wss.rooms.kept import Position
from wss.rooms.store import PAGE_MESSAGES, Entry
from wss.rooms.streams import SCRIPTS, StreamStore

pytestmark = pytest.mark.long
RANDOM = random.Random(21)  # noqa: S311
LIMITS = Limits(2000, 3600, 1 << 20)


@pytest.fixture(scope="module")
def servers(hub: HubContainer, start_servers: StartServers) -> list[Server]:
    return start_servers(hub, 2)


@asynccontextmanager
async def store_in(hub: HubContainer) -> AsyncIterator[StreamStore]:
    """A worker's connection to the hub, without its clients."""
    connection = Hub(
        read_settings({"HUB": hub.url}), Metrics(max_connections=1), lambda *_: None, lambda *_: None, SCRIPTS
    )
    connection.subscribe_at_start("worker:test")
    connection.start()
    try:
        await asyncio.wait_for(connection.connected.wait(), LIMIT)
        yield StreamStore(connection)
    finally:
        connection.stop()


@asynccontextmanager
async def uncut_store_in(hub: HubContainer) -> AsyncIterator[StreamStore]:
    """The same over connections that `cut_subscribers` leaves open: without its reply, a message may be kept or not."""
    async with Valkey.from_url(hub.url) as client:

        class Scripts:
            async def run_script(self, name: str, keys: tuple[str, ...], *arguments: Any) -> Any:
                return await client.eval(SCRIPTS[name], len(keys), *keys, *arguments)

        yield StreamStore(cast(Hub, Scripts()))


class Listener:
    """A client that comes back whenever its line is cut, and resumes from its last position."""

    def __init__(self, servers: list[Server], room: str) -> None:
        self._servers = servers
        self._room = room
        self._ws: ClientConnection | None = None
        self.position: str | None = None
        self.offsets: list[int] = []
        self.messages: list[str] = []
        self.gaps: list[str] = []
        self.resumes = 0

    async def run(self) -> None:
        while True:
            url = f"ws://localhost:{RANDOM.choice(self._servers).port}/wss"
            try:
                async with connect(url, proxy=None, ping_interval=None, open_timeout=LIMIT) as ws:
                    self._ws = ws
                    await ws.send(json.dumps(["resume", self._room, self.position]))
                    async for message in ws:
                        self._take(json.loads(message))
            except (ConnectionClosed, OSError):
                pass

    def cut(self) -> None:
        if self._ws:
            self._ws.transport.abort()

    def _take(self, event: Any) -> None:
        if not isinstance(event, dict):
            return  # the result of resume
        self.position = event["position"]
        if "message" in event:
            self.offsets.append(Position.parse(self.position).offset)
            self.messages.append(event["message"])
        else:
            self.resumes += 1
            self.gaps += [event["gap"]] if event["gap"] else []


@asynccontextmanager
async def listening(servers: list[Server], room: str, number: int) -> AsyncIterator[list[Listener]]:
    listeners = [Listener(servers, room) for _ in range(number)]
    tasks = [asyncio.create_task(listener.run()) for listener in listeners]
    try:
        await until(lambda: all(listener.position for listener in listeners), "all clients are in the room")
        yield listeners
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def call(ws: ClientConnection, *words: Any) -> Any:
    await ws.send(json.dumps(words))
    while isinstance(message := json.loads(await ws.recv()), dict):
        pass
    return message[1]


class _RealTime(Clock):
    def wait(self, seconds: float) -> None:
        assert seconds == 0


@pytest.fixture(scope="module")
def topics() -> Iterator[str]:
    return (f"room:model {number}" for number in range(1_000_000))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=steps(longest_wait=0))
def test_the_hub_keeps_the_same_as_the_model(hub: HubContainer, topics: Iterator[str], sequence: list[Step]) -> None:
    async def check() -> None:
        async with store_in(hub) as store:
            await History(store, _RealTime(), topic=next(topics)).check(sequence)

    asyncio.run(check())


def test_messages_expire_in_the_hub_and_their_memory_is_released(hub: HubContainer) -> None:
    limits = Limits(seconds=1)

    async def check() -> None:
        async with store_in(hub) as store:
            for number in range(3):
                await store.append("room:brief", limits, Entry.of(f"{number}"))
            start = await store.read("room:brief", limits, None)
            assert start
            assert start.start.offset == 3
            await until(lambda: not hub.client().exists("history:room:brief"), "the stream has expired")
            assert (page := await store.read("room:brief", limits, start.start._replace(offset=1)))
            assert (page.gap, page.last, page.entries) == ("expired", 3, [])
            assert (page := await store.read("room:brief", limits, start.start))
            assert (page.gap, page.last, page.entries) == (None, 3, [])
            assert (appended := await store.append("room:brief", limits, Entry.of("later")))
            assert appended.position == start.start._replace(offset=4)

    asyncio.run(check())


def test_clients_whose_lines_are_cut_get_every_message_in_order_and_once(servers: list[Server]) -> None:
    async def check() -> None:
        async with listening(servers, "tea cut", 12) as listeners:
            async with connect(
                f"ws://localhost:{servers[0].port}/wss", proxy=None, ping_interval=None, open_timeout=LIMIT
            ) as sender:
                for number in range(600):
                    assert await call(sender, "send", "tea cut", f"{number}") is True
                    if number % 4 == 0:
                        RANDOM.choice(listeners).cut()
            await until(lambda: all(each.messages[-1:] == ["599"] for each in listeners), "all messages have arrived")
            for listener in listeners:
                assert listener.messages == [f"{number}" for number in range(600)]
                assert listener.offsets == list(range(1, 601))
                assert listener.gaps == []
            assert sum(listener.resumes for listener in listeners) > 100

    asyncio.run(check())


def test_a_worker_that_missed_publications_reads_them_before_it_delivers_the_next(
    hub: HubContainer, servers: list[Server]
) -> None:
    async def check() -> None:
        number = 0
        async with uncut_store_in(hub) as store, listening(servers, "tea hole", 8) as listeners:
            for burst in (1, 10, PAGE_MESSAGES + 1, 3 * PAGE_MESSAGES):
                hub.cut_subscribers()
                for _ in range(burst):
                    number += 1
                    assert await store.append("room:tea hole", LIMITS, Entry.of(f"{number}"))
            await until(
                lambda: all(each.messages[-1:] == [f"{number}"] for each in listeners), "all messages have arrived"
            )
            for listener in listeners:
                assert listener.messages == [f"{each}" for each in range(1, number + 1)]
                assert listener.offsets == list(range(1, number + 1))
                assert (listener.gaps, listener.resumes) == ([], 1)

    asyncio.run(check())


def test_a_worker_reconnects_although_the_client_library_swallows_a_cancellation(
    hub: HubContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        executing = asyncio.Event()
        connects: list[None] = []

        async def execute(pipeline: Pipeline) -> list[None]:
            executing.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return [None] * len(pipeline)

        monkeypatch.setattr(Pipeline, "execute", execute)
        connection = Hub(
            read_settings({"HUB": hub.url}),
            Metrics(max_connections=1),
            lambda *_: None,
            lambda *_: connects.append(None),
            {},
        )
        connection.subscribe_at_start("worker:test")
        connection.start()
        try:
            await until(lambda: len(connects) == 1, "it is connected")
            connection.publish("worker:test", b"")
            await executing.wait()
            hub.cut_subscribers()
            await until(lambda: len(connects) == 2, "it is connected again")
        finally:
            connection.stop()

    asyncio.run(check())


def test_a_hole_that_is_no_longer_kept_is_reported_to_the_clients(hub: HubContainer, servers: list[Server]) -> None:
    limits = Limits(5, 3600, 1 << 20)

    async def check() -> None:
        async with store_in(hub) as store, listening(servers, "short hole", 4) as listeners:
            hub.cut_subscribers()
            # Appended in one turn of the hub, so that no worker is connected again in between.
            with hub.client() as client:
                client.client_pause(500, all=False)
                appended = [store.append("room:short hole", limits, Entry.of(f"{number}")) for number in range(20)]
                await asyncio.gather(*appended)
            await until(lambda: all(each.messages[-1:] == ["19"] for each in listeners), "the last message has arrived")
            for listener in listeners:
                missing = 20 - len(listener.messages)
                assert listener.messages == [f"{number}" for number in range(missing, 20)]
                assert listener.gaps == (["trimmed"] if missing else [])

    asyncio.run(check())


def test_a_restart_of_the_hub_is_a_new_epoch(
    hub_to_stop: Callable[..., HubContainer], start_servers: StartServers
) -> None:
    hub = hub_to_stop()
    servers = start_servers(hub, 1)

    async def check() -> None:
        async with listening(servers, "tea", 4) as listeners:
            async with connect(
                f"ws://localhost:{servers[0].port}/wss", proxy=None, ping_interval=None, open_timeout=LIMIT
            ) as sender:
                assert await call(sender, "send", "tea", "before") is True
                await until(lambda: all(each.messages == ["before"] for each in listeners), "it has arrived")
                hub.container.restart(timeout=1)
                await until(lambda: call(sender, "send", "tea", "after"), "the message is kept")
            await until(lambda: all(each.messages[1:] == ["after"] for each in listeners), "it has arrived")
            assert all(listener.gaps == ["epoch"] for listener in listeners)
            assert all(listener.offsets == [1, 1] for listener in listeners)

    asyncio.run(check())


def test_a_killed_hub_that_persists_has_all_messages_and_clients_notice_nothing(
    hub_to_stop: Callable[..., HubContainer], start_servers: StartServers
) -> None:
    hub = hub_to_stop(HUB_PERSIST="1")
    servers = start_servers(hub, 1)

    async def check() -> None:
        async with listening(servers, "tea", 4) as listeners:
            async with connect(
                f"ws://localhost:{servers[0].port}/wss", proxy=None, ping_interval=None, open_timeout=LIMIT
            ) as sender:
                for number in range(50):
                    assert await call(sender, "send", "tea", f"{number}") is True
                hub.container.kill()
                hub.container.start()
                await until(lambda: call(sender, "send", "tea", "after"), "the message is kept")
            await until(lambda: all(each.messages[50:] == ["after"] for each in listeners), "it has arrived")
            assert all(listener.gaps == [] for listener in listeners)
            assert all(listener.offsets == list(range(1, 52)) for listener in listeners)

    asyncio.run(check())


def test_a_client_that_comes_back_while_the_hub_is_away_is_closed_with_1013(
    hub_to_stop: Callable[..., HubContainer], start_servers: StartServers
) -> None:
    hub = hub_to_stop()
    servers = start_servers(hub, 1)
    hub.container.stop(timeout=1)

    async def check() -> None:
        async def come_back(*words: str) -> None:
            url = f"ws://localhost:{servers[0].port}/wss"
            async with connect(url, proxy=None, ping_interval=None, open_timeout=LIMIT) as client:
                assert await call(client, "send", "tea", "lost") is False
                await client.send(json.dumps(words))
                with pytest.raises(ConnectionClosed) as closed:
                    await client.recv()
                assert closed.value.rcvd
                assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "the history is unreachable")

        await asyncio.gather(come_back("resume", "tea", "0a:1"), come_back("resume", "tea"), come_back("join", "tea"))
        assert not [line for line in servers[0].lines if "Traceback" in line or "failed" in line]

    asyncio.run(check())


def test_a_wrong_value_of_hub_persist_stops_the_hub(engine: docker.DockerClient, hub: HubContainer) -> None:
    image = str(hub.container.attrs["Image"])
    with pytest.raises(ContainerError) as stopped:
        engine.containers.run(
            image, environment={"HUB_PASSWORD_FILE": "/hub/password", "HUB_PERSIST": "yes"}, stderr=True, remove=True
        )
    output: Any = stopped.value.stderr
    assert output == b"error: HUB_PERSIST='yes': neither 0 nor 1. Give one of them\n"


def test_the_hub_begins_with_a_sequence_that_exceeds_the_limits(hub: HubContainer) -> None:
    sequence: list[Step] = [Append(5), Append(500), Read(0), Append(5), Read(1), Read(2)]

    async def check() -> None:
        async with store_in(hub) as store:
            await History(store, _RealTime(), Limits(10, 3600, 50), topic="room:model large").check(sequence)

    asyncio.run(check())
