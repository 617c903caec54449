"""The connection of a worker to the hub: topics, over publish and subscribe of Valkey.

The hub stores nothing. A publication is lost if the hub is unreachable, and for each worker that is not connected. The
publisher gets the number of workers reached. https://valkey.io/topics/pubsub/
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from valkey.asyncio import Valkey
from valkey.asyncio.client import PubSub

from wss.config.settings import Settings
from wss.observability.metrics import Metrics
from wss.rooms.hub_client import FAILURES, FIRST_PAUSE, open_client
from wss.rooms.subscriptions import Subscriptions

log = logging.getLogger("wss.hub")

# Seconds without data from the hub until it is pinged, and again until it is considered dead.
SILENCE = 5.0
# Seconds: the pause between attempts to connect doubles up to this, with jitter against workers reconnecting in step.
MAX_PAUSE = 2.0
# Publications per pipeline: enough for one round trip, not so many that they delay others.
BATCH_SIZE = 256


class _Publication(NamedTuple):
    """A publication, and the future number of workers that it reaches; contents None: only count the subscribers."""

    topic: str
    contents: bytes | None
    reached: asyncio.Future[int | None]


class Hub:
    """The connection of one worker. It reconnects by itself."""

    def __init__(self, settings: Settings, metrics: Metrics, receive: Callable[[str, bytes], None]) -> None:
        """Call `receive` with topic and contents of each publication. Needs at least one topic at the start."""
        self._settings = settings
        self._metrics = metrics
        self._receive = receive
        self._subscriptions = Subscriptions()
        self._outbox: deque[_Publication] = deque()
        self._has_output = asyncio.Event()
        self.first_connected = asyncio.Event()
        """Set when it connects for the first time."""
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
        return self._enqueue(_Publication(topic, contents, asyncio.get_running_loop().create_future()))

    def count_subscribers(self, topic: str) -> asyncio.Future[int | None]:
        """Count the workers that are subscribed to a topic; the future has None if the hub is unreachable."""
        return self._enqueue(_Publication(topic, None, asyncio.get_running_loop().create_future()))

    def _enqueue(self, publication: _Publication) -> asyncio.Future[int | None]:
        if self.is_connected:
            self._outbox.append(publication)
            self._has_output.set()
        else:
            self._lose([publication])
        return publication.reached

    async def run(self) -> None:
        """Connect, and reconnect after each failure, until cancelled."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._run_connection()
            except Exception as error:  # any: the worker must reconnect
                first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
                if not isinstance(first, FAILURES):
                    log.exception("the connection to the hub failed")
                pause = FIRST_PAUSE if self.is_connected else min(2 * pause, MAX_PAUSE)
                self._disconnected(first)
            await asyncio.sleep(random.uniform(0.5, 1) * pause)  # noqa: S311

    async def _run_connection(self) -> None:
        async with open_client(self._settings) as client, client.pubsub() as pubsub:
            await pubsub.connect()
            acknowledgements = self._subscriptions.connect()
            await pubsub.subscribe(*self._subscriptions.topics)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._run_subscriber(pubsub))
                group.create_task(self._run_publisher(client, pubsub))
                await asyncio.wait(acknowledgements)
                self._connected()

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
        while True:
            await self._has_output.wait()
            self._has_output.clear()
            while self._subscriptions.has_changes or self._outbox:
                for add, topics in self._subscriptions.take_changes():
                    await (pubsub.subscribe if add else pubsub.unsubscribe)(*topics)
                batch = [self._outbox.popleft() for _ in range(min(len(self._outbox), BATCH_SIZE))]
                await self._execute(client, batch)

    async def _execute(self, client: Valkey, batch: list[_Publication]) -> None:
        pipeline = client.pipeline(transaction=False)
        for publication in batch:
            if publication.contents is None:
                pipeline.pubsub_numsub(publication.topic)
            else:
                pipeline.publish(publication.topic, publication.contents)
        try:
            results = await pipeline.execute()
        except BaseException:
            self._lose(batch)
            raise
        self._metrics.hub_messages("out", sum(publication.contents is not None for publication in batch))
        for publication, result in zip(batch, results, strict=True):
            if not publication.reached.done():
                publication.reached.set_result(result if isinstance(result, int) else result[0][1])

    def _connected(self) -> None:
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
        self.first_connected.set()
        self._lost = 0
        self._metrics.hub(up=True)

    def _disconnected(self, error: BaseException) -> None:
        if self.is_connected:
            log.warning("the hub is unreachable (%s): only clients of the same worker reach each other", error)
            self._disconnected_since = time.monotonic()
            self._metrics.hub(up=False)
        self._subscriptions.disconnect()
        self._lose(self._outbox)
        self._outbox.clear()

    def _lose(self, batch: Iterable[_Publication]) -> None:
        for publication in batch:
            if publication.contents is not None:
                self._lost += 1
                self._metrics.hub_lost(1)
            if not publication.reached.done():
                publication.reached.set_result(None)
