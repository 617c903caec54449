"""Presence: a room gets a join with a user's first connection, and a leave when the last has ended for the grace time.

Each worker has a lease for each user that it has in a watched room, and renews it. A connection that ends shortens the
lease to the grace time. A user whose leases have all ended, also those of workers that were killed, has left.
"""

import asyncio
import json
import logging
import time
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

    def renew(
        self, topic: str, user: str, seconds: float, joined: Entry | None = None, *, add: bool = True
    ) -> asyncio.Future[bool | None]:
        """Set this worker's lease; return whether `joined` was sent to the room.

        A user without a lease is added only if `add`, and then `joined` is sent.
        """

    async def ended(self) -> list[tuple[str, str]] | None:
        """Return the topics and users whose leases have all ended."""

    async def leave(self, topic: str, user: str, left: Entry) -> None:
        """Forget a user and send `left` to the room, unless there is a lease again."""


def json_presence(change: Presence) -> str:
    """Return {"room", "user", "presence": "join" or "leave"}."""
    event = "join" if change.is_present else "leave"
    return json.dumps({"room": change.room, "user": change.user, "presence": event}, ensure_ascii=False)


class Watcher:
    """Watches the users of one worker."""

    def __init__(self, leases: Leases, now: Callable[[], float] = time.monotonic) -> None:
        self.leases = leases
        self._now = now
        self._rules: dict[str, Watch] = {}
        self._clients: dict[tuple[str, str], set[Client]] = {}
        # The ends of the leases of users who have no client here anymore, for a hub that loses its data.
        self._leaving: dict[tuple[str, str], float] = {}
        # Users whose last change the hub has not confirmed: the seconds of their lease; None: they have joined.
        self._unconfirmed: dict[tuple[str, str], float | None] = {}
        # Users who have joined, and whom the hub may not know.
        self._unknown: set[tuple[str, str]] = set()
        # Users whose last change was sent, and not answered.
        self._in_flight: set[tuple[str, str]] = set()
        # Until then, a join or a leave would not reach the clients of all workers, and is not announced.
        self._held_until = 0.0
        self._renew_at = 0.0
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
            if self._leaving.pop((topic, user), None) is None and (topic, user) not in self._unconfirmed:
                self._unknown.add((topic, user))
            if changed := self._change(topic, user, None):
                await changed

    def leave(self, topic: str, client: Client, *, at_once: bool) -> None:
        """Take note that a client is no longer in a room. `at_once`: the user does not come back."""
        user = client.user or ""
        clients = self._clients.get((topic, user))
        if client.user is None or not clients or client not in clients:
            return
        clients.discard(client)
        if clients:
            return
        del self._clients[topic, user]
        is_unknown = (topic, user) in self._unknown - self._in_flight
        self._unknown.discard((topic, user))
        if is_unknown:  # nobody has received the join
            del self._unconfirmed[topic, user]
        elif rule := self._rule(topic):
            self._change(topic, user, 0.0 if at_once else rule.grace)
            if at_once and self._wake:
                self._wake.set()

    def connect(self, others_in: float, has_lost_data: bool) -> None:
        """Bring the hub up to date after a connect to it.

        `others_in`: seconds until the other workers are connected, too; until then, they would not receive a change.
        `has_lost_data`: the hub has restarted without its leases. Nobody has joined or left thereby.
        """
        if self._task:
            self._held_until = self._now() + others_in
        for topic, user in self._clients.keys() - self._unknown:
            if rule := self._rule(topic):
                self.leases.renew(topic, user, rule.grace + MARGIN, add=has_lost_data)
        for (topic, user), seconds in tuple(self._unconfirmed.items()):
            if seconds is not None:
                self._change(topic, user, seconds, add=has_lost_data)
        if has_lost_data:
            for (topic, user), ends in self._leaving.items():
                self.leases.renew(topic, user, max(0.0, ends - self._now()))

    async def tick(self) -> None:
        """Announce what the hub has not confirmed, renew leases, and announce users whose leases have ended."""
        if self._now() < self._held_until:
            return
        for (topic, user), seconds in tuple(self._unconfirmed.items()):
            self._change(topic, user, seconds)
        if self._now() >= self._renew_at:
            self._renew_at = self._now() + RENEW_INTERVAL
            self._renew()
        await self._sweep()

    # Internal.

    def _rule(self, topic: str) -> Watch | None:
        rule: Watch | None = find_rule(self._rules, topic) if self._rules else None
        return rule

    def _renew(self) -> None:
        """Renew the leases of all users here. Those without a lease have left, and join again."""
        for topic, user in self._clients.keys() - self._unconfirmed.keys():
            if rule := self._rule(topic):
                joined = self._entry(rule, topic, user, is_present=True)
                self.leases.renew(topic, user, rule.grace + MARGIN, joined)

    def _change(
        self, topic: str, user: str, seconds: float | None, *, add: bool = False
    ) -> asyncio.Future[bool | None] | None:
        """Set the lease of a user. A later tick does it if the hub is unreachable, or if others would miss a join."""
        self._unconfirmed[topic, user] = seconds
        rule = self._rule(topic)
        assert rule
        if seconds is not None:
            changed = self.leases.renew(topic, user, seconds, add=add)
        elif self._now() < self._held_until:
            return None
        else:
            joined = self._entry(rule, topic, user, is_present=True)
            changed = self.leases.renew(topic, user, rule.grace + MARGIN, joined)
        if not changed.done() or changed.result() is not None:
            self._in_flight.add((topic, user))
        changed.add_done_callback(lambda _: self._confirm(topic, user, seconds, changed))
        return changed

    def _confirm(self, topic: str, user: str, seconds: float | None, changed: asyncio.Future[bool | None]) -> None:
        self._in_flight.discard((topic, user))
        if changed.cancelled() or changed.result() is None:
            return
        if seconds is None:
            self._unknown.discard((topic, user))
        if (topic, user) in self._unconfirmed and self._unconfirmed[topic, user] == seconds:
            del self._unconfirmed[topic, user]
            if seconds is not None:
                self._leaving[topic, user] = self._now() + seconds

    async def _run(self, wake: asyncio.Event) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_INTERVAL):
                    await wake.wait()
            wake.clear()
            try:
                await self.tick()
            except Exception:  # any: the next sweep may succeed
                log.exception("a search for users who have left failed")

    async def _sweep(self) -> None:
        now = self._now()
        ended = await self.leases.ended()
        if ended is None:
            return
        for topic, user in ended:
            if rule := self._rule(topic):
                await self.leases.leave(topic, user, self._entry(rule, topic, user, is_present=False))
        for key, ends in tuple(self._leaving.items()):
            if ends <= now:
                del self._leaving[key]

    def _entry(self, rule: Watch, topic: str, user: str, *, is_present: bool) -> Entry:
        return Entry.of(rule.announce(Presence(room_name(topic), user, is_present)))
