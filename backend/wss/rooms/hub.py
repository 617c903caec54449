"""From one worker to all others: topics, by the publish and subscribe of Valkey.

Nothing is kept there: what is said while it is away, or while a worker is not connected to it, is lost, and told so.
https://valkey.io/topics/pubsub/
"""

import asyncio
import logging
import random
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import NamedTuple

from valkey.asyncio import Valkey
from valkey.asyncio.client import PubSub
from valkey.exceptions import AuthenticationError, ResponseError, ValkeyError

from wss.config.settings import SettingError, Settings, without_password
from wss.observability.metrics import Metrics

log = logging.getLogger("wss.hub")

# Seconds. It is asked for a sign of life when it was silent for so long, and given up when it is silent as long again.
SILENCE = 5.0
# Until an attempt to connect, or to say something, has failed.
TIMEOUT = 5.0
# Between attempts, each time twice as long; less by chance, so that not all workers come at once.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
# What is said in one go: enough for one round trip, too little to keep others waiting.
MOST_AT_ONCE = 256

_FAILURES = (ValkeyError, OSError)


def _client(settings: Settings) -> Valkey:
    assert settings.hub
    password = None
    if settings.hub_password_file and settings.hub_password_file.exists():
        password = settings.hub_password_file.read_text().strip()
    # A password in the URL counts before this one. Nothing is said twice: by default the client does not retry.
    return Valkey.from_url(  # type: ignore[no-any-return]
        settings.hub, password=password, socket_connect_timeout=TIMEOUT, socket_timeout=TIMEOUT
    )


async def reach(settings: Settings, patience: float = 10.0) -> None:
    """Return when the hub answers; raises SettingError where it does not within `patience` seconds, or refuses."""
    shown = without_password(settings.hub or "")
    deadline = time.monotonic() + patience
    while True:
        try:
            async with _client(settings) as client:
                await client.ping()
                return
        except (AuthenticationError, ResponseError) as error:
            raise SettingError(f"HUB={shown!r}: it refuses us ({error}). Give HUB=valkey://:password@host") from None
        except _FAILURES as error:
            if time.monotonic() > deadline:
                raise SettingError(
                    f"HUB={shown!r}: nothing answers there ({error}). Start it (`--profile hub`), or mend the address"
                ) from None
        await asyncio.sleep(FIRST_PAUSE)


class _Publication(NamedTuple):
    """What is to be said, and who waits for the number of workers that it reaches; no contents: just the number."""

    topic: str
    contents: bytes | None
    reached: asyncio.Future[int | None]


class Hub:
    """The connection of one worker; it comes back by itself."""

    def __init__(self, settings: Settings, metrics: Metrics, receive: Callable[[str, bytes], None]) -> None:
        """Tell `receive` topic and contents of what others say. One topic at least has to be wanted from the start."""
        self._settings = settings
        self._metrics = metrics
        self._receive = receive
        self._wanted: set[str] = set()
        self._acknowledged: defaultdict[str, deque[asyncio.Future[None]]] = defaultdict(deque)
        self._outbox: deque[_Publication] = deque()
        self._changes: deque[tuple[bool, str]] = deque()  # topics, and whether to subscribe
        self._something_to_do = asyncio.Event()
        self._takes_changes = False
        self.arrived = asyncio.Event()
        """That it was connected at least once."""
        self._lost = 0
        self._away_since: float | None = time.monotonic()
        metrics.hub(up=False)

    @property
    def is_up(self) -> bool:
        return self._away_since is None

    def want(self, *topics: str) -> None:
        """Subscribe as soon as it is connected for the first time."""
        self._wanted.update(topics)

    async def subscribe(self, topic: str) -> None:
        """Return when what is said to the topic arrives from now on; or at once, where the hub is away."""
        if topic not in self._wanted:
            self._wanted.add(topic)
            if self._takes_changes:
                self._expect(topic)
                self._change(topic, wanted=True)
        if waiting := self._acknowledged.get(topic):
            await asyncio.shield(waiting[-1])

    def unsubscribe(self, topic: str) -> None:
        self._wanted.discard(topic)
        if self._takes_changes:
            self._change(topic, wanted=False)

    def publish(self, topic: str, contents: bytes) -> asyncio.Future[int | None]:
        """Say something; the future: how many workers it reached (this one too, if subscribed), None if it is lost."""
        return self._say(_Publication(topic, contents, asyncio.get_running_loop().create_future()))

    def listeners(self, topic: str) -> asyncio.Future[int | None]:
        """Ask how many workers are subscribed to a topic; the future is None where the hub is away."""
        return self._say(_Publication(topic, None, asyncio.get_running_loop().create_future()))

    def _say(self, said: "_Publication") -> asyncio.Future[int | None]:
        if self.is_up:
            self._outbox.append(said)
            self._something_to_do.set()
        else:
            self._lose([said])
        return said.reached

    async def keep(self) -> None:
        """Connect, and again whenever it breaks, until cancelled."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._talk()
            except Exception as error:  # it has to come back, whatever it was
                first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
                if not isinstance(first, _FAILURES):
                    log.exception("talking to the hub failed")
                pause = FIRST_PAUSE if self.is_up else min(2 * pause, LONGEST_PAUSE)
                self._went_away(first)
            await asyncio.sleep(random.uniform(0.5, 1) * pause)  # noqa: S311

    async def _talk(self) -> None:
        async with _client(self._settings) as client, client.pubsub() as listening:
            await listening.connect()
            self._takes_changes = True
            expected = [self._expect(topic) for topic in self._wanted]
            await listening.subscribe(*self._wanted)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(listening))
                group.create_task(self._speak(client, listening))
                await asyncio.wait(expected)
                self._came_back()

    async def _listen(self, listening: PubSub) -> None:
        asked = False
        while True:
            if not (listening.connection and listening.connection.is_connected):
                # The client would connect again by itself, and nobody would know what was missed.
                raise ConnectionError("the connection broke")
            told = await listening.get_message(timeout=SILENCE)
            if told is None:
                if asked:
                    raise ConnectionError(f"silent for {2 * SILENCE:.0f} s")
                await listening.ping()
            elif told["type"] == "message":
                self._metrics.hub_messages("in")
                try:
                    self._receive(told["channel"].decode(), told["data"])
                except Exception:  # of another version, or not of ours
                    log.exception("what came over the hub makes no sense")
            elif told["type"] == "subscribe":
                self._acknowledge(told["channel"].decode())
            asked = told is None

    async def _speak(self, client: Valkey, listening: PubSub) -> None:
        # In a task of its own: whoever is cancelled while it uses a connection of the client's closes it for all.
        while True:
            await self._something_to_do.wait()
            self._something_to_do.clear()
            while self._changes or self._outbox:
                changes, self._changes = self._changes, deque()
                for wanted, topics in groupby(changes, lambda change: change[0]):
                    await (listening.subscribe if wanted else listening.unsubscribe)(*(topic for _, topic in topics))
                batch = [self._outbox.popleft() for _ in range(min(len(self._outbox), MOST_AT_ONCE))]
                pipeline = client.pipeline(transaction=False)
                for said in batch:
                    if said.contents is None:
                        pipeline.pubsub_numsub(said.topic)
                    else:
                        pipeline.publish(said.topic, said.contents)
                try:
                    numbers = await pipeline.execute()
                except BaseException:
                    self._lose(batch)
                    raise
                self._metrics.hub_messages("out", sum(said.contents is not None for said in batch))
                for said, number in zip(batch, numbers, strict=True):
                    if not said.reached.done():
                        said.reached.set_result(number if isinstance(number, int) else number[0][1])

    def _change(self, topic: str, *, wanted: bool) -> None:
        self._changes.append((wanted, topic))
        self._something_to_do.set()

    def _expect(self, topic: str) -> asyncio.Future[None]:
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._acknowledged[topic].append(acknowledged)
        return acknowledged

    def _acknowledge(self, topic: str) -> None:
        waiting = self._acknowledged[topic]
        if waiting:
            waiting.popleft().set_result(None)
        if not waiting:
            del self._acknowledged[topic]

    def _came_back(self) -> None:
        assert self._away_since is not None
        log.info(
            "connected to the hub",
            extra={
                "seconds": round(time.monotonic() - self._away_since, 3),
                "topics": len(self._wanted),
                "lost": self._lost,
            },
        )
        self._away_since = None
        self.arrived.set()
        self._lost = 0
        self._metrics.hub(up=True)

    def _went_away(self, why: BaseException) -> None:
        if self.is_up:
            log.warning("the hub is away (%s): only clients of the same worker reach each other", why)
            self._away_since = time.monotonic()
            self._metrics.hub(up=False)
        self._takes_changes = False
        self._changes.clear()
        for waiting in self._acknowledged.values():
            for acknowledged in waiting:
                if not acknowledged.done():
                    acknowledged.set_result(None)
        self._acknowledged.clear()
        self._lose(self._outbox)
        self._outbox.clear()

    def _lose(self, batch: Iterable["_Publication"]) -> None:
        for said in batch:
            if said.contents is not None:
                self._lost += 1
                self._metrics.hub_lost(1)
            if not said.reached.done():
                said.reached.set_result(None)
