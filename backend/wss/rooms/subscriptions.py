"""The topics that a worker subscribes to, and the subscriptions that the hub has not acknowledged yet; without I/O."""

import asyncio
from collections import defaultdict, deque
from itertools import groupby


class Subscriptions:
    """The topics of one worker, kept over disconnects."""

    def __init__(self) -> None:
        self.topics: set[str] = set()
        self._is_connected = False
        self._changes: deque[tuple[bool, str]] = deque()  # whether to subscribe, and the topic
        # A topic that is left and joined again has several.
        self._unacknowledged: defaultdict[str, deque[asyncio.Future[None]]] = defaultdict(deque)

    @property
    def has_changes(self) -> bool:
        return bool(self._changes)

    def add(self, topic: str) -> None:
        if topic not in self.topics:
            self.topics.add(topic)
            if self._is_connected:
                self._expect(topic)
                self._changes.append((True, topic))

    def remove(self, topic: str) -> None:
        self.topics.discard(topic)
        if self._is_connected:
            self._changes.append((False, topic))

    async def wait_acknowledged(self, topic: str) -> None:
        """Return when the hub has acknowledged the subscription, or is disconnected."""
        if futures := self._unacknowledged.get(topic):
            await asyncio.shield(futures[-1])

    def take_changes(self) -> list[tuple[bool, list[str]]]:
        """Return the topics to subscribe to (True) and to unsubscribe from (False) since the last call, in order."""
        changes, self._changes = self._changes, deque()
        return [(add, [topic for _, topic in group]) for add, group in groupby(changes, lambda change: change[0])]

    def connect(self) -> list[asyncio.Future[None]]:
        """Begin a connection, on which all topics are to be subscribed to; return the future acknowledgements."""
        self._is_connected = True
        return [self._expect(topic) for topic in self.topics]

    def disconnect(self) -> None:
        """End a connection, and every wait for an acknowledgement."""
        self._is_connected = False
        self._changes.clear()
        for futures in self._unacknowledged.values():
            for future in futures:
                if not future.done():
                    future.set_result(None)
        self._unacknowledged.clear()

    def acknowledge(self, topic: str) -> None:
        """Take the hub's acknowledgement of a subscription."""
        futures = self._unacknowledged[topic]
        if futures:
            futures.popleft().set_result(None)
        if not futures:
            del self._unacknowledged[topic]

    def _expect(self, topic: str) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unacknowledged[topic].append(future)
        return future
