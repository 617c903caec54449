"""Rooms for handlers: `from wss.rooms import rooms`.

Without a hub, rooms connect the clients of one worker, which must be the only one. With a hub, they connect the clients
of all workers, replicas and hosts. No list of members is stored outside the workers, so that none can become stale:
`count` and `members` query the workers that have members, and a worker that has died does not respond.
"""

import asyncio
import json
import logging
import os
from itertools import count as count_up
from typing import TYPE_CHECKING, Any

from wss.connection.connection import Connection
from wss.protocol.close import ACCESS_ENDED, check_close
from wss.protocol.frames import TEXT, PreparedMessage
from wss.rooms.membership import ALL, Client, Member, Membership, room_topic, user_topic, worker_topic
from wss.rooms.survey import Survey

if TYPE_CHECKING:  # without a hub, its client library is not imported
    from wss.rooms.hub import Hub

log = logging.getLogger("wss.rooms")

# Seconds that other workers have to respond to a survey. The result lacks those that do not.
SURVEY_TIMEOUT = 2.0


class Rooms:
    """Named sets of connections. A name is any str; a client that disconnects is removed from all rooms.

    A str that is not valid Unicode (half of a surrogate pair, which JSON can contain) raises UnicodeEncodeError.
    """

    def __init__(self) -> None:
        self._worker = os.urandom(6).hex()
        self._hub: Hub | None = None
        self._local = Membership(self._worker)
        self._survey_numbers = count_up(1)
        self._surveys: dict[int, Survey] = {}

    # For handlers.

    def id(self, connection: Connection) -> str:
        """Return the id of the client. It is unique over all workers and all time."""
        return self._local.client(connection).id

    async def bind(self, connection: Connection, user: str) -> None:
        """Bind the client to a user. A user may have several connections; a connection has at most one user."""
        client, topic = self._local.client(connection), user_topic(user)
        if client.user == user:
            return
        if client.user is not None:
            self._leave(client, user_topic(client.user))
        client.user = user
        await self._join(client, topic)

    async def join(self, connection: Connection, room: str) -> None:
        """Add the client to a room. After the return, it receives every message to the room."""
        await self._join(self._local.client(connection), room_topic(room))

    async def leave(self, connection: Connection, room: str) -> None:
        """Remove the client from a room, if it is in it."""
        self._leave(self._local.client(connection), room_topic(room))

    async def send(self, room: str, message: str | bytes, *, exclude: Connection | None = None) -> bool:
        """Send to all clients in the room, except one. Return whether the hub passed the message on.

        It does not wait for the clients to read: like `broadcast`, it aborts a client that has too much unread. The
        messages of one handler arrive in order. If the hub is unreachable, only the clients of this worker receive the
        message, and the result is False.
        """
        return await self._send(room_topic(room), message, exclude)

    async def send_to_user(self, user: str, message: str | bytes) -> bool:
        """Send to all connections of a user."""
        return await self._send(user_topic(user), message)

    async def send_to_all(self, message: str | bytes, *, exclude: Connection | None = None) -> bool:
        """Send to all connected clients."""
        return await self._send(ALL, message, exclude)

    async def send_to_client(self, client: str, message: str | bytes) -> bool:
        """Send to the client with this id.

        Return False if it was on this worker and is gone, if its worker is gone, or if the hub is unreachable.
        """
        worker = client.partition(".")[0]
        if worker == self._worker:
            return self._local.send_to_client(client, PreparedMessage(message))
        return bool(self._hub and await self._publish(worker_topic(worker), PreparedMessage(message), to=client))

    async def close(
        self,
        *,
        client: str | None = None,
        user: str | None = None,
        room: str | None = None,
        code: int = ACCESS_ENDED,
        reason: str = "",
    ) -> bool:
        """Close the connection of a client (by its id), all connections of a user, or those of all clients in a room.

        It does not wait for their ends. If the hub is unreachable, only the clients of this worker are closed, and the
        result is False. Raises ValueError for a code or a reason that a close frame must not have.
        """
        targets = [
            (kind, name) for kind, name in (("client", client), ("user", user), ("room", room)) if name is not None
        ]
        if len(targets) != 1:
            raise TypeError("give one of client, user and room")
        return await self.close_clients(*targets[0], code, reason) is not None

    async def count(self, room: str | None = None) -> int:
        """Return how many clients are in a room; without a room, how many are connected."""
        topic = ALL if room is None else room_topic(room)
        elsewhere: list[int] = await self._survey(topic, "count")
        return len(self._local.clients(topic)) + sum(elsewhere)

    async def members(self, room: str) -> list[Member]:
        """Return the clients in a room."""
        return await self._members(room_topic(room))

    async def connections(self, user: str) -> list[Member]:
        """Return the connections of a user."""
        return await self._members(user_topic(user))

    async def is_online(self, user: str) -> bool:
        """Return whether the user has a connection."""
        topic = user_topic(user)
        return bool(self._local.clients(topic)) or bool(self._hub and await self._hub.count_subscribers(topic))

    # For the server.

    async def push(self, kind: str, name: str, message: str | bytes) -> int | None:
        """Send a message from outside to a `room`, a `user`, a `client` or `all`; return how many workers received it.

        None if the hub is unreachable: then only the clients of this worker received it.
        """
        prepared = PreparedMessage(message)
        if kind == "client":
            worker = name.partition(".")[0]
            if worker == self._worker or not self._hub:
                return int(self._local.send_to_client(name, prepared))
            return await self._publish(worker_topic(worker), prepared, to=name)
        topic = {"room": room_topic, "user": user_topic}[kind](name) if kind != "all" else ALL
        self._local.send(topic, prepared)
        return await self._publish(topic, prepared) if self._hub else int(bool(self._local.clients(topic)))

    async def close_clients(self, kind: str, name: str, code: int, reason: str) -> int | None:
        """Close the clients of a `room` or a `user`, or a `client`; return what `push` returns."""
        check_close(code, reason)
        nothing, close = PreparedMessage(b""), [code, reason]
        if kind == "client":
            worker = name.partition(".")[0]
            if worker == self._worker or not self._hub:
                return int(self._local.close_client(name, code, reason))
            return await self._publish(worker_topic(worker), nothing, to=name, close=close)
        topic = {"room": room_topic, "user": user_topic}[kind](name)
        self._local.close(topic, code, reason)
        return await self._publish(topic, nothing, close=close) if self._hub else int(bool(self._local.clients(topic)))

    @property
    def is_connected(self) -> bool:
        """Whether messages reach the clients of all workers."""
        return self._hub is None or self._hub.is_connected

    def use_hub(self, hub: "Hub") -> None:
        """Use a hub, before it connects."""
        self._hub = hub
        hub.subscribe_at_start(ALL, worker_topic(self._worker))

    def add(self, connection: Connection) -> None:
        """Add a connection that has opened."""
        self._local.add(connection)

    def remove(self, connection: Connection) -> None:
        """Remove a connection that has ended, from all rooms."""
        client = self._local.remove(connection)
        for topic in tuple(client.topics):
            self._leave(client, topic)

    def receive(self, topic: str, contents: bytes) -> None:
        """Process a publication of any worker: a message, a survey, or a reply to a survey."""
        head_json, _, payload = contents.partition(b"\n")
        head = json.loads(head_json)
        is_own = head["from"] == self._worker  # which has processed it already
        if "answer" in head:
            if survey := self._surveys.get(head["answer"]):
                survey.add_reply(json.loads(payload))
        elif "question" in head and is_own:
            if survey := self._surveys.get(head["question"]):
                survey.add_reply()
        elif "question" in head:
            reply = PreparedMessage(json.dumps(self._survey_reply(topic, head["what"])))
            self._publish(worker_topic(head["from"]), reply, answer=head["question"])
        elif "close" in head and not is_own:
            if to := head.get("to"):
                self._local.close_client(to, *head["close"])
            else:
                self._local.close(topic, *head["close"])
        elif not is_own:
            message = PreparedMessage(payload.decode() if head["kind"] == TEXT else payload)
            if to := head.get("to"):
                self._local.send_to_client(to, message)
            else:
                self._local.send(topic, message)

    # Internal.

    async def _join(self, client: Client, topic: str) -> None:
        self._local.join(client, topic)
        if self._hub:
            await self._hub.subscribe(topic)

    def _leave(self, client: Client, topic: str) -> None:
        if self._local.leave(client, topic) and self._hub:
            self._hub.unsubscribe(topic)

    async def _send(self, topic: str, text_or_bytes: str | bytes, exclude: Connection | None = None) -> bool:
        message = PreparedMessage(text_or_bytes)
        self._local.send(topic, message, exclude)
        return self._hub is None or await self._publish(topic, message) is not None

    def _publish(self, topic: str, message: PreparedMessage, **fields: Any) -> asyncio.Future[int | None]:
        assert self._hub
        head = json.dumps({"from": self._worker, "kind": message.kind, **fields})
        return self._hub.publish(topic, head.encode() + b"\n" + message.payload)

    async def _members(self, topic: str) -> list[Member]:
        elsewhere = await self._survey(topic, "members")
        return self._local.members(topic) + [Member(*member) for members in elsewhere for member in members]

    def _survey_reply(self, topic: str, what: str) -> Any:
        return len(self._local.clients(topic)) if what == "count" else self._local.members(topic)

    async def _survey(self, topic: str, what: str) -> list[Any]:
        """Return the replies of the other workers that are subscribed to a topic: those that have members."""
        if not (self._hub and self._hub.is_connected):
            return []
        number = next(self._survey_numbers)
        survey = self._surveys[number] = Survey()
        try:
            reached = await self._publish(topic, PreparedMessage(b""), question=number, what=what)
            survey.expect(reached or 0)
            async with asyncio.timeout(SURVEY_TIMEOUT):
                await survey.complete.wait()
        except TimeoutError:
            log.warning("%d of %d workers responded to a survey of members", survey.replied, survey.expected)
        finally:
            del self._surveys[number]
        return survey.replies


rooms = Rooms()
