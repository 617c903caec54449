"""Presence: a room gets a join with a user's first connection, and a leave when the last has ended for the grace time.

Each worker has a lease for each user that it has in a watched room, and renews it. A connection that ends shortens the
lease to the grace time. A user whose leases have all ended, also those of workers that were killed, has left.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

from wss.rooms.membership import Client, room_name
from wss.rooms.rules import find_rule
from wss.rooms.store import Entry

log = logging.getLogger("wss.rooms")

# Seconds between two searches for users who have left.
SWEEP_INTERVAL = 1.0
# Seconds between two renewals of a lease, and how long a lease outlives the grace time.
RENEW_INTERVAL, MARGIN = 3.0, 10.0


class Presence(NamedTuple):
    """A user has come to a room, or has left it."""

    room: str
    user: str
    is_present: bool


class Watch(NamedTuple):
    """The grace time of a user, and the announcement that the room receives."""

    grace: float
    announce: Callable[[Presence], str | bytes]


class Leases(Protocol):
    """The leases of all workers. A result of None: the hub is unreachable."""

    def renew(self, topic: str, user: str, seconds: float, joined: Entry | None) -> asyncio.Future[bool | None]:
        """Set this worker's lease. If the user is new, send `joined` to the room; return whether it was sent."""

    async def ended(self) -> list[tuple[str, str]]:
        """Return the topics and users whose leases have all ended."""

    async def leave(self, topic: str, user: str, left: Entry) -> None:
        """Forget a user and send `left` to the room, unless there is a lease again."""


def json_presence(change: Presence) -> str:
    """Return {"room", "user", "presence": "join" or "leave"}."""
    event = "join" if change.is_present else "leave"
    return json.dumps({"room": change.room, "user": change.user, "presence": event}, ensure_ascii=False)


class Watcher:
    """Watches the users of one worker."""

    def __init__(self, leases: Leases) -> None:
        self.leases = leases
        self._rules: dict[str, Watch] = {}
        self._clients: dict[tuple[str, str], set[Client]] = {}
        # Users whose last change the hub has not confirmed: the seconds of their lease; None: they have joined.
        self._unconfirmed: dict[tuple[str, str], float | None] = {}
        self._task: asyncio.Task[None] | None = None
        self._wake: asyncio.Event | None = None

    def watch(self, room: str, rule: Watch) -> None:
        self._rules[room] = rule

    def start(self) -> None:
        if self._rules:
            self._wake = asyncio.Event()
            self._task = asyncio.create_task(self._run(self._wake))

    def stop(self) -> None:
        if self._task:
            self._task.cancel()

    async def enter(self, topic: str, client: Client) -> None:
        """Take note that a client is in a room; the first one of a user joins."""
        user = client.user
        if user is None or topic not in client.topics or not self._rule(topic):
            return
        clients = self._clients.setdefault((topic, user), set())
        is_first = not clients
        clients.add(client)
        if is_first:
            await self._change(topic, user, None)

    def leave(self, topic: str, client: Client, *, at_once: bool) -> None:
        """Take note that a client is no longer in a room. `at_once`: the user does not come back."""
        clients = self._clients.get((topic, client.user or ""))
        if client.user is None or not clients or client not in clients:
            return
        clients.discard(client)
        if not clients:
            del self._clients[topic, client.user]
            if rule := self._rule(topic):
                self._change(topic, client.user, 0.0 if at_once else rule.grace)
            if at_once and self._wake:
                self._wake.set()

    def renew(self, *, announce: bool) -> None:
        """Renew the leases of all users here. `announce`: users without a lease have left, and join again.

        After a connect to the hub they have not: it may have restarted, and then all leases are gone.
        """
        for topic, user in self._clients:
            rule = self._rule(topic)
            if rule and (topic, user) not in self._unconfirmed:
                joined = self._entry(rule, topic, user, is_present=True) if announce else None
                self.leases.renew(topic, user, rule.grace + MARGIN, joined)

    # Internal.

    def _rule(self, topic: str) -> Watch | None:
        rule: Watch | None = find_rule(self._rules, topic) if self._rules else None
        return rule

    def _change(self, topic: str, user: str, seconds: float | None) -> asyncio.Future[bool | None]:
        """Set the lease of a user, and do it again later if the hub is unreachable."""
        self._unconfirmed[topic, user] = seconds
        rule = self._rule(topic)
        assert rule
        joined = self._entry(rule, topic, user, is_present=True) if seconds is None else None
        changed = self.leases.renew(topic, user, rule.grace + MARGIN if seconds is None else seconds, joined)
        changed.add_done_callback(lambda _: self._confirm(topic, user, seconds, changed))
        return changed

    def _confirm(self, topic: str, user: str, seconds: float | None, changed: asyncio.Future[bool | None]) -> None:
        is_current = (topic, user) in self._unconfirmed and self._unconfirmed[topic, user] == seconds
        if is_current and not changed.cancelled() and changed.result() is not None:
            del self._unconfirmed[topic, user]

    async def _run(self, wake: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        renew_at = loop.time() + RENEW_INTERVAL
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_INTERVAL):
                    await wake.wait()
            wake.clear()
            try:
                for (topic, user), seconds in tuple(self._unconfirmed.items()):
                    self._change(topic, user, seconds)
                if loop.time() >= renew_at:
                    renew_at = loop.time() + RENEW_INTERVAL
                    self.renew(announce=True)
                await self._sweep()
            except Exception:  # any: the next sweep may succeed
                log.exception("a search for users who have left failed")

    async def _sweep(self) -> None:
        for topic, user in await self.leases.ended():
            if rule := self._rule(topic):
                await self.leases.leave(topic, user, self._entry(rule, topic, user, is_present=False))

    def _entry(self, rule: Watch, topic: str, user: str, *, is_present: bool) -> Entry:
        return Entry.of(rule.announce(Presence(room_name(topic), user, is_present)))
