"""The connection of a worker to the hub: topics, over publish and subscribe of Valkey, and scripts.

The hub stores no publication. It is lost if the hub is unreachable, and for each worker that is not connected. The
publisher gets the number of workers reached. https://valkey.io/topics/pubsub/
What rooms keep is stored and read by scripts (see wss.rooms.streams).
"""

import asyncio
import logging
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from valkey.asyncio import Valkey
from valkey.asyncio.client import PubSub

from wss.config.environment import SettingError
from wss.config.settings import Settings
from wss.observability.metrics import Metrics
from wss.rooms.hub_client import FAILURES, FIRST_PAUSE, TIMEOUT, open_client
from wss.rooms.subscriptions import Subscriptions

log = logging.getLogger("wss.hub")

# Seconds without data from the hub until it is pinged, and again until it is considered dead.
SILENCE = 5.0
# Seconds: the pause between attempts to connect doubles up to this, with jitter against workers reconnecting in step.
MAX_PAUSE = 2.0
# Seconds until the other workers are connected again: at most that of an attempt that fails, and of the pause after it.
RECONNECT_TIME = TIMEOUT + MAX_PAUSE
# A key that the first worker sets: a hub that has another value, or none, has lost its data.
DATA_ID = "data-id"
# Publications per pipeline: enough for one round trip, not so many that they delay others.
BATCH_SIZE = 256


class _Command(NamedTuple):
    """A command, and its future reply: None if the hub is unreachable."""

    words: tuple[Any, ...]
    reply: asyncio.Future[Any]
    is_message: bool
    """Whether it publishes."""


class Hub:
    """The connection of one worker. It reconnects by itself."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        receive: Callable[[str, bytes], None],
        on_connect: Callable[[float, bool], None],
        scripts: Mapping[str, str],
    ) -> None:
        """Call `receive` with topic and contents of each publication, and `on_connect` after each connect.

        `on_connect` gets the seconds until the other workers are connected, too, and whether the hub has lost its data.
        Needs at least one topic at the start.
        """
        self._settings = settings
        self._metrics = metrics
        self._receive = receive
        self._on_connect = on_connect
        self._scripts = scripts
        self._script_ids: dict[str, str] = {}
        self._data_id = b""
        self._subscriptions = Subscriptions()
        self._outbox: deque[_Command] = deque()
        self._has_output = asyncio.Event()
        self.connected = asyncio.Event()
        """Set while it is connected."""
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._lost = 0
        self._disconnected_since: float | None = time.monotonic()
        metrics.hub(up=False)

    @property
    def is_connected(self) -> bool:
        return self._disconnected_since is None

    def subscribe_at_start(self, *topics: str) -> None:
        """Subscribe to these topics with the first connection."""
        for topic in topics:
            self._subscriptions.add(topic)

    async def subscribe(self, topic: str) -> None:
        """Subscribe to a topic. Return when publications to it arrive, or at once if the hub is unreachable."""
        self._subscriptions.add(topic)
        self._has_output.set()
        await self._subscriptions.wait_acknowledged(topic)

    def unsubscribe(self, topic: str) -> None:
        self._subscriptions.remove(topic)
        self._has_output.set()

    def publish(self, topic: str, contents: bytes) -> asyncio.Future[int | None]:
        """Publish; the future has the number of workers reached (including this one, if subscribed), None if lost."""
        return self._enqueue("PUBLISH", topic, contents, is_message=True)

    def count_subscribers(self, topic: str) -> asyncio.Future[int | None]:
        """Count the workers that are subscribed to a topic; the future has None if the hub is unreachable."""
        return self._enqueue("PUBSUB NUMSUB", topic)

    def run_script(self, name: str, keys: tuple[str, ...], *arguments: Any) -> asyncio.Future[Any]:
        """Run a script in the hub; the future has its reply, None if the hub is unreachable."""
        return self._enqueue("EVALSHA", name, len(keys), *keys, *arguments, is_message=name == "append")

    def _enqueue(self, *words: Any, is_message: bool = False) -> asyncio.Future[Any]:
        command = _Command(words, asyncio.get_running_loop().create_future(), is_message)
        if self.is_connected:
            self._outbox.append(command)
            self._has_output.set()
        else:
            self._lose([command])
        return command.reply

    def start(self) -> None:
        """Connect, and reconnect after each failure."""
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        assert self._task
        # A TaskGroup that fails at the same time hides the cancellation.
        self._is_stopping = True
        self._task.cancel()

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._is_stopping:
            try:
                await self._run_connection()
            except Exception as error:  # any: the worker must reconnect
                first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
                if not isinstance(first, (*FAILURES, SettingError)):
                    log.exception("the connection to the hub failed")
                pause = FIRST_PAUSE if self.is_connected else min(2 * pause, MAX_PAUSE)
                self._disconnected(first)
            await asyncio.sleep(random.uniform(0.5, 1) * pause)  # noqa: S311

    async def _run_connection(self) -> None:
        async with open_client(self._settings) as client, client.pubsub() as pubsub:
            await pubsub.connect()
            self._script_ids = {name: await client.script_load(script) for name, script in self._scripts.items()}
            await client.set(DATA_ID, os.urandom(8).hex(), nx=True)
            data_id = await client.get(DATA_ID)
            acknowledgements = self._subscriptions.connect()
            await pubsub.subscribe(*self._subscriptions.topics)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._run_subscriber(pubsub))
                group.create_task(self._run_publisher(client, pubsub))
                await asyncio.wait(acknowledgements)
                self._connected(data_id)

    async def _run_subscriber(self, pubsub: PubSub) -> None:
        pinged = False
        while True:
            if not (pubsub.connection and pubsub.connection.is_connected):
                # The client would reconnect by itself, without notice that publications were missed.
                raise ConnectionError("the connection broke")
            received = await pubsub.get_message(timeout=SILENCE)
            if received is None:
                if pinged:
                    raise ConnectionError(f"no response in {2 * SILENCE:.0f} s")
                await pubsub.ping()
            elif received["type"] == "message":
                self._metrics.hub_messages("in")
                try:
                    self._receive(received["channel"].decode(), received["data"])
                except Exception:  # published by another version, or by another program
                    log.exception("a publication of the hub could not be processed")
            elif received["type"] == "subscribe":
                self._subscriptions.acknowledge(received["channel"].decode())
            pinged = received is None

    async def _run_publisher(self, client: Valkey, pubsub: PubSub) -> None:
        # A task of its own, because cancelling a task that uses a connection of the client closes it for all.
        task = asyncio.current_task()
        assert task
        # The client sends with asyncio.wait_for, which before Python 3.12 can swallow a cancellation:
        # https://github.com/python/cpython/issues/86296
        while not task.cancelling():
            await self._has_output.wait()
            self._has_output.clear()
            while self._subscriptions.has_changes or self._outbox:
                for add, topics in self._subscriptions.take_changes():
                    await (pubsub.subscribe if add else pubsub.unsubscribe)(*topics)
                batch = [self._outbox.popleft() for _ in range(min(len(self._outbox), BATCH_SIZE))]
                await self._execute(client, batch)

    async def _execute(self, client: Valkey, batch: list[_Command]) -> None:
        pipeline = client.pipeline(transaction=False)
        for (name, first, *others), _, _ in batch:
            pipeline.execute_command(name, self._script_ids[first] if name == "EVALSHA" else first, *others)
        try:
            replies = await pipeline.execute()
        except BaseException:
            self._lose(batch)
            raise
        self._metrics.hub_messages("out", sum(command.is_message for command in batch))
        for command, reply in zip(batch, replies, strict=True):
            if not command.reply.done():
                command.reply.set_result(reply[0][1] if command.words[0] == "PUBSUB NUMSUB" else reply)

    def _connected(self, data_id: bytes) -> None:
        assert self._disconnected_since is not None
        log.info(
            "connected to the hub",
            extra={
                "seconds": round(time.monotonic() - self._disconnected_since, 3),
                "topics": len(self._subscriptions.topics),
                "lost": self._lost,
            },
        )
        self._disconnected_since = None
        self.connected.set()
        self._lost = 0
        self._metrics.hub(up=True)
        has_lost_data, self._data_id = data_id != self._data_id, data_id
        self._on_connect(RECONNECT_TIME, has_lost_data)

    def _disconnected(self, error: BaseException) -> None:
        if self.is_connected:
            log.warning("the hub is unreachable (%s): only clients of the same worker reach each other", error)
            self._disconnected_since = time.monotonic()
            self.connected.clear()
            self._metrics.hub(up=False)
        self._subscriptions.disconnect()
        self._lose(self._outbox)
        self._outbox.clear()

    def _lose(self, batch: Iterable[_Command]) -> None:
        for command in batch:
            if command.is_message:
                self._lost += 1
                self._metrics.hub_lost(1)
            if not command.reply.done():
                command.reply.set_result(None)
