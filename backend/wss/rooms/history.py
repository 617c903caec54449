"""Rooms that keep their last messages, so that a client that comes back gets what it has missed.

Each worker has a feed for each of these rooms that has clients here. The feeds follow the store, which is in memory, or
in the hub. A client is added to its room when it has received everything up to the position of the feed.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from wss.config.history import Limits
from wss.connection.connection import Connection
from wss.protocol.frames import PreparedMessage
from wss.rooms.feed import Feed
from wss.rooms.kept import Envelope, Kept, Position, Start, json_envelope
from wss.rooms.membership import Membership, room_name
from wss.rooms.rules import find_rule
from wss.rooms.store import Appended, Entry, MemoryStore, Page, Store

if TYPE_CHECKING:
    from wss.rooms.hub import Hub

# Seconds that a client waits for the hub, to learn the position of a room.
TIMEOUT = 5.0
TRY_AGAIN_LATER = (1013, "the history is unreachable")


class Rule(NamedTuple):
    """How much a room keeps, and how its messages look."""

    limits: Limits
    envelope: Envelope


class History:
    """The rooms with history on one worker."""

    def __init__(self, members: Membership) -> None:
        self._members = members
        self._hub: Hub | None = None
        self._store: Store = MemoryStore(self.receive)
        self._feeds: dict[str, Feed] = {}
        self._rules: dict[str, Rule] = {}
        self._settings: Mapping[str, Limits] = {}
        self.is_used = False
        """Whether any room has a rule: without one, a send costs no more than this."""
        self._rule_of = lru_cache(4096)(self._find_rule)

    def keep(self, room: str, rule: Rule) -> None:
        """Make a room, or all rooms with a prefix, keep messages."""
        self._rules[room] = rule
        self.is_used = True
        self._rule_of.cache_clear()

    def use_settings(self, rules: Mapping[str, Limits]) -> None:
        """Use the rules of HISTORY; they override the limits in the handler."""
        self._settings = rules
        self.is_used = bool(self._rules or rules)
        self._rule_of.cache_clear()

    def use_hub(self, hub: "Hub", store: Store) -> None:
        self._hub, self._store = hub, store

    def keeps(self, topic: str) -> bool:
        return self.is_used and self._rule_of(topic) is not None

    def limits(self, topic: str) -> Limits | None:
        """Return what a room keeps; None: nothing."""
        return self._rule(topic).limits if self.keeps(topic) else None

    async def append(self, topic: str, message: str | bytes, exclude: str = "") -> Appended | None:
        """Keep a message and send it to all clients in the room; None if the hub is unreachable."""
        return await self._store.append(topic, self._rule(topic).limits, Entry.of(message, exclude))

    def receive(self, topic: str, position: Position, entry: Entry) -> bool:
        """Take the publication of a kept message; return whether this worker has clients in the room."""
        feed = self._feeds.get(topic)
        if feed:
            feed.receive(position, entry)
        return feed is not None

    async def join(self, connection: Connection, topic: str) -> None:
        """Add a client to a room, from now on."""
        with self._pinned(topic) as feed:
            await self._reach(connection, topic, feed)
            self._members.join(self._members.client(connection), topic)

    async def resume(self, connection: Connection, topic: str, since: Position | None) -> Start:
        """Send a client what a room keeps after a position, and add it to the room; None: from now on."""
        start = None
        with self._pinned(topic) as feed:
            self._members.leave(self._members.client(connection), topic)
            at = await self._reach(connection, topic, feed)
            at = since or at
            while True:
                page = await self._read_page(connection, topic, at)
                if start is None or page.gap:
                    notice = Start(room_name(topic), page.start, page.gap)
                    await connection.send(self._rule(topic).envelope(notice))
                    start = start or notice
                at = await self._send_page(connection, topic, feed, page)
                client = self._members.client(connection)
                # Nothing may be awaited between this comparison and the join.
                if at == feed.position:
                    self._members.join(client, topic)
                    return start
                assert feed.position
                if at.epoch != feed.position.epoch or at.offset > feed.position.offset:
                    await self._catch_up(connection, feed)

    def release(self, topic: str) -> None:
        """Forget the feed of a room that has no clients on this worker, and end its subscription."""
        feed = self._feeds.get(topic)
        if feed and not feed.pins and not self._members.clients(topic):
            del self._feeds[topic]
            feed.close()
            if self._hub:
                self._hub.unsubscribe(topic)

    def catch_up(self) -> None:
        """Read what was published while the hub was unreachable."""
        for feed in self._feeds.values():
            feed.start_reading()

    # Internal.

    def _find_rule(self, topic: str) -> Rule | None:
        mine: Rule | None = find_rule(self._rules, topic)
        settings: Limits | None = find_rule(self._settings, topic)
        if settings is None:
            return mine
        return Rule(settings, mine.envelope if mine else json_envelope)

    def _rule(self, topic: str) -> Rule:
        rule = self._rule_of(topic)
        assert rule
        return rule

    @contextmanager
    def _pinned(self, topic: str) -> Iterator[Feed]:
        """Hold the feed of a room while a client is about to join it."""
        feed = self._feeds.get(topic)
        if not feed:
            read = partial(self._store.read, topic, self._rule(topic).limits)
            feed = Feed(read, partial(self._deliver_gap, topic), partial(self._deliver, topic))
            self._feeds[topic] = feed
        feed.pins += 1
        try:
            yield feed
        finally:
            feed.pins -= 1
            self.release(topic)

    async def _reach(self, connection: Connection, topic: str, feed: Feed) -> Position:
        """Return the position of a feed, after the hub has acknowledged the subscription."""
        if self._hub:
            await self._hub.subscribe(topic)
        if not feed.position:
            await self._catch_up(connection, feed)
        assert feed.position
        return feed.position

    async def _catch_up(self, connection: Connection, feed: Feed) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                while not await asyncio.shield(feed.start_reading()):
                    await self._wait_connected()
        except TimeoutError:
            await self._give_up(connection)

    async def _read_page(self, connection: Connection, topic: str, since: Position) -> Page:
        try:
            async with asyncio.timeout(TIMEOUT):
                while not (page := await self._store.read(topic, self._rule(topic).limits, since)):
                    await self._wait_connected()
                return page
        except TimeoutError:
            await self._give_up(connection)
            raise

    async def _wait_connected(self) -> None:
        assert self._hub
        await self._hub.connected.wait()

    async def _give_up(self, connection: Connection) -> None:
        """Close a client that can neither be given what it has missed, nor be told that there is a gap."""
        await connection.close(*TRY_AGAIN_LATER)
        self._members.client(connection)  # raises ConnectionClosed

    async def _send_page(self, connection: Connection, topic: str, feed: Feed, page: Page) -> Position:
        """Send a page up to the position of the feed, which delivers the rest; return the last position."""
        at = page.start
        for entry in page.entries:
            position = at._replace(offset=at.offset + 1)
            if feed.position and position.epoch == feed.position.epoch and position.offset > feed.position.offset:
                break
            await connection.send(self._rule(topic).envelope(Kept(room_name(topic), position, entry.message)))
            at = position
        return at

    def _deliver(self, topic: str, position: Position, entry: Entry) -> None:
        envelope, room = self._rule(topic).envelope, room_name(topic)
        message = PreparedMessage(envelope(Kept(room, position, entry.message)))
        excluded = self._members.by_id(entry.exclude) if entry.exclude else None
        self._members.send(topic, message, excluded.connection if excluded else None)
        if excluded and topic in excluded.topics:  # its position moves on, too
            excluded.connection.send_nowait(PreparedMessage(envelope(Start(room, position, None))))

    def _deliver_gap(self, topic: str, position: Position, gap: str) -> None:
        notice = Start(room_name(topic), position, gap)
        self._members.send(topic, PreparedMessage(self._rule(topic).envelope(notice)))
