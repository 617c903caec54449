"""Rooms for handlers: `from wss.rooms import rooms`. Who is in them lives in the workers; the hub connects those.

Without a hub, a worker is alone: what a handler says reaches the clients of its own process, which then has to be the
only one. With a hub, all calls reach every worker, replica and host. There is no list of members to fall out of step:
who and how many are in a room is asked of those that have them, and a worker that is gone does not answer.
"""

import asyncio
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count as count_up
from typing import TYPE_CHECKING, Any, NamedTuple

from wss.connection.connection import Connection
from wss.protocol.frames import TEXT, PreparedMessage
from wss.rooms.survey import Survey

if TYPE_CHECKING:  # what needs no hub does not load its client
    from wss.rooms.hub import Hub

log = logging.getLogger("wss.rooms")

# Seconds that other workers have to say who is with them. One that is cut off does not; the others count.
ANSWER_TIMEOUT = 2.0

_ALL = "all"


class Member(NamedTuple):
    """Somebody in a room."""

    client: str
    """The client's id, for `send_to_client`."""
    user: str | None
    """Whom it was bound to."""


@dataclass(eq=False)
class _Client:
    connection: Connection
    id: str
    user: str | None = None
    topics: set[str] = field(default_factory=set)

    def as_member(self) -> Member:
        return Member(self.id, self.user)


class Rooms:
    """Named sets of connections. All names are any text; a client that leaves, or is lost, is taken out everywhere.

    A str that is no text (half of a surrogate pair, which JSON can carry) raises UnicodeEncodeError.
    """

    def __init__(self) -> None:
        self.worker = os.urandom(6).hex()
        self._hub: Hub | None = None
        self._numbers = count_up(1)
        self._clients: dict[Connection, _Client] = {}
        self._by_id: dict[str, _Client] = {}
        self._topics: dict[str, set[_Client]] = {_ALL: set()}
        self._surveys: dict[int, Survey] = {}

    # For handlers.

    def id(self, connection: Connection) -> str:
        """Return the client's id: no other has it, in any worker, now or later."""
        return self._client(connection).id

    async def bind(self, connection: Connection, user: str) -> None:
        """Say who the client is. A user may have several connections; a connection has one user at most."""
        client, topic = self._client(connection), _user(user)
        if client.user == user:
            return
        if client.user is not None:
            self._leave(client, _user(client.user))
        client.user = user
        await self._join(client, topic)

    async def join(self, connection: Connection, room: str) -> None:
        """Put the client into a room; on return, it gets what anybody says there from now on."""
        await self._join(self._client(connection), _room(room))

    async def leave(self, connection: Connection, room: str) -> None:
        """Take the client out of a room; it need not be in it."""
        self._leave(self._client(connection), _room(room))

    async def send(self, room: str, message: str | bytes, *, exclude: Connection | None = None) -> bool:
        """Send to all in the room, except one. Returns whether the message was passed on to the other workers.

        It waits for no client: one that is too far behind is cut, as by `broadcast`. Messages of one handler arrive in
        their order. Where the hub is away (False), only the clients of this worker got the message.
        """
        return await self._send(_room(room), message, exclude)

    async def send_to_user(self, user: str, message: str | bytes) -> bool:
        """Send to every connection of a user."""
        return await self._send(_user(user), message)

    async def send_to_all(self, message: str | bytes, *, exclude: Connection | None = None) -> bool:
        """Send to everybody who is connected."""
        return await self._send(_ALL, message, exclude)

    async def send_to_client(self, client: str, message: str | bytes) -> bool:
        """Send to one connection, by its id.

        Returns False where it was of this worker and is gone, where its worker is gone, or the hub is away.
        """
        worker = client.partition(".")[0]
        if worker == self.worker:
            return self._send_to_own(client, PreparedMessage(message))
        return bool(self._hub and await self._publish(_worker(worker), PreparedMessage(message), to=client))

    async def count(self, room: str | None = None) -> int:
        """Return how many clients are in a room; without a room, how many are connected."""
        topic = _ALL if room is None else _room(room)
        elsewhere: list[int] = await self._ask(topic, "count")
        return len(self._topics.get(topic, ())) + sum(elsewhere)

    async def members(self, room: str) -> list[Member]:
        """Return who is in a room."""
        return await self._members(_room(room))

    async def connections(self, user: str) -> list[Member]:
        """Return the connections of a user."""
        return await self._members(_user(user))

    async def is_online(self, user: str) -> bool:
        """Return whether the user has a connection."""
        topic = _user(user)
        return topic in self._topics or bool(self._hub and await self._hub.listeners(topic))

    # For the server.

    @property
    def is_connected(self) -> bool:
        """Whether clients of all workers reach each other."""
        return self._hub is None or self._hub.is_up

    def open(self, hub: "Hub") -> None:
        """Use a hub that is not connected yet."""
        self._hub = hub
        hub.want(_ALL, _worker(self.worker))

    def enter(self, connection: Connection) -> None:
        """Take in a connection that was opened."""
        client = _Client(connection, f"{self.worker}.{next(self._numbers)}")
        self._clients[connection] = self._by_id[client.id] = client
        self._topics[_ALL].add(client)

    def exit(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        client = self._clients.pop(connection)
        del self._by_id[client.id]
        self._topics[_ALL].discard(client)
        for topic in tuple(client.topics):
            self._leave(client, topic)

    def receive(self, topic: str, contents: bytes) -> None:
        """Take in what came over the hub."""
        head, _, payload = contents.partition(b"\n")
        said = json.loads(head)
        is_own = said["from"] == self.worker  # which knows it already
        if "answer" in said:
            if survey := self._surveys.get(said["answer"]):
                survey.add_reply(json.loads(payload))
        elif "question" in said and is_own:
            if survey := self._surveys.get(said["question"]):
                survey.add_reply()
        elif "question" in said:
            answer = json.dumps(self._about(topic, said["what"]))
            self._publish(_worker(said["from"]), PreparedMessage(answer), answer=said["question"])
        elif not is_own:
            message = PreparedMessage(payload.decode() if said["kind"] == TEXT else payload)
            if to := said.get("to"):
                self._send_to_own(to, message)
            else:
                _send_to(self._topics.get(topic, ()), message)

    # Inside.

    def _client(self, connection: Connection) -> _Client:
        if client := self._clients.get(connection):
            return client
        if connection.ending:
            raise connection.ending.exception()
        raise LookupError("not a connection of this server")

    async def _join(self, client: _Client, topic: str) -> None:
        client.topics.add(topic)
        self._topics.setdefault(topic, set()).add(client)
        if self._hub:
            await self._hub.subscribe(topic)

    def _leave(self, client: _Client, topic: str) -> None:
        if topic not in client.topics:
            return
        client.topics.discard(topic)
        members = self._topics[topic]
        members.discard(client)
        if not members:
            del self._topics[topic]
            if self._hub:
                self._hub.unsubscribe(topic)

    def _send_to_own(self, id_: str, message: PreparedMessage) -> bool:
        client = self._by_id.get(id_)
        if client:
            client.connection.send_nowait(message)
        return client is not None

    async def _send(self, topic: str, text_or_bytes: str | bytes, exclude: Connection | None = None) -> bool:
        message = PreparedMessage(text_or_bytes)
        members = self._topics.get(topic, ())
        _send_to((client for client in members if client.connection is not exclude), message)
        return self._hub is None or await self._publish(topic, message) is not None

    def _publish(self, topic: str, message: PreparedMessage, **about: Any) -> asyncio.Future[int | None]:
        assert self._hub
        head = json.dumps({"from": self.worker, "kind": message.kind, **about})
        return self._hub.publish(topic, head.encode() + b"\n" + message.payload)

    async def _members(self, topic: str) -> list[Member]:
        mine = [client.as_member() for client in self._topics.get(topic, ())]
        return mine + [Member(*member) for members in await self._ask(topic, "members") for member in members]

    def _about(self, topic: str, what: str) -> Any:
        members = self._topics.get(topic, ())
        return len(members) if what == "count" else [client.as_member() for client in members]

    async def _ask(self, topic: str, what: str) -> list[Any]:
        """Return what the other workers say about a topic: those that have something to say are subscribed to it."""
        if not (self._hub and self._hub.is_up):
            return []
        number = next(self._numbers)
        survey = self._surveys[number] = Survey()
        try:
            reached = await self._publish(topic, PreparedMessage(b""), question=number, what=what)
            survey.expect(reached or 0)
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await survey.answered.wait()
        except TimeoutError:
            log.warning("of %d workers, %d said who is with them", survey.reached, survey.replied)
        finally:
            del self._surveys[number]
        return survey.answers


def _send_to(clients: Iterable[_Client], message: PreparedMessage) -> None:
    for client in tuple(clients):
        client.connection.send_nowait(message)


def _room(name: str) -> str:
    return _topic("room", name)


def _user(name: str) -> str:
    return _topic("user", name)


def _worker(name: str) -> str:
    return _topic("worker", name)


def _topic(kind: str, name: str) -> str:
    topic = f"{kind}:{name}"
    topic.encode()  # now, and not in the hub, where it would take the connection of all along
    return topic


rooms = Rooms()
