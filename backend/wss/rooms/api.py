"""Rooms for handlers: `from wss.rooms import rooms`.

Without a hub, rooms connect the clients of one worker, which must be the only one. With a hub, they connect the clients
of all workers, replicas and hosts. No list of members is stored outside the workers, so that none can become stale:
`count` and `members` query the workers that have members, and a worker that has died does not respond.
"""

from collections.abc import Callable

from wss.config.history import Limits
from wss.connection.connection import Connection
from wss.protocol.close import ACCESS_ENDED, check_close
from wss.protocol.frames import PreparedMessage
from wss.rooms.exchange import Exchange
from wss.rooms.history import Rule
from wss.rooms.kept import Envelope, Position, Start, json_envelope
from wss.rooms.membership import ALL, Member, room_topic, user_topic, worker_topic
from wss.rooms.presence import Presence, Watch, json_presence


class Rooms:
    """Named sets of connections. A name is any str; a client that disconnects is removed from all rooms.

    A str that is not valid Unicode (half of a surrogate pair, which JSON can contain) raises UnicodeEncodeError.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._local = exchange.local

    def keep(
        self,
        room: str,
        *,
        messages: int = Limits().messages,
        seconds: float = Limits().seconds,
        size: int = Limits().size,
        envelope: Envelope = json_envelope,
    ) -> None:
        """Let a room, or all rooms with a prefix (`tea-*`), keep its last messages: at most these limits.

        `size` is in bytes. `envelope` returns what clients receive for a message and for the start of messages; all
        workers need the same. Call it when the module of the handler is imported. HISTORY overrides the limits.
        """
        if messages < 1 or seconds < 1 or size < 1:
            raise ValueError("messages, seconds and size are at least 1")
        self._exchange.history.keep(room, Rule(Limits(messages, seconds, size), envelope))

    def id(self, connection: Connection) -> str:
        """Return the id of the client. It is unique over all workers and all time."""
        return self._local.client(connection).id

    def watch(
        self, room: str, *, grace: float = 15.0, announce: Callable[[Presence], str | bytes] = json_presence
    ) -> None:
        """Let a room, or all rooms with a prefix, know who is there: one join and one leave per user.

        It receives a message when the first connection of a user comes (`bind` and `join`), and one when the last has
        been gone for `grace` seconds, or has called `leave`. `announce` returns the message. Call it when the module of
        the handler is imported.
        """
        if grace < 0:
            raise ValueError("grace is at least 0 seconds")
        self._exchange.watcher.watch(room, Watch(grace, announce))

    async def bind(self, connection: Connection, user: str) -> None:
        """Bind the client to a user. A user may have several connections; a connection has at most one user."""
        client, topic = self._local.client(connection), user_topic(user)
        if client.user == user:
            return
        if client.user is not None:
            self._exchange.leave(client, user_topic(client.user), at_once=True)
        joined = tuple(client.topics)
        for each in joined:
            self._exchange.watcher.leave(each, client, at_once=True)
        client.user = user
        await self._exchange.join(client, topic)
        for each in joined:
            await self._exchange.watcher.enter(each, client)

    async def join(self, connection: Connection, room: str) -> None:
        """Add the client to a room. After the return, it receives every message to the room."""
        await self._exchange.join(self._local.client(connection), room_topic(room))

    async def resume(self, connection: Connection, room: str, since: str | None = None) -> Start:
        """Add the client to a room with history, and send what it has missed since a position.

        First it receives a `Start`, which reports whether there is a gap, then each kept message after it in order and
        once, then each new one. Without a position, it receives what is sent from now on. Returns the Start. If the hub
        is unreachable for 5 s, the client is closed with 1013. Raises LookupError if the room keeps no messages.
        """
        topic = room_topic(room)
        if not self._exchange.history.keeps(topic):
            raise LookupError(f"the room {room!r} keeps no messages: call rooms.keep, or set HISTORY")
        client = self._local.client(connection)
        return await self._exchange.resume(client, topic, None if since is None else Position.parse(since))

    async def leave(self, connection: Connection, room: str) -> None:
        """Remove the client from a room, if it is in it."""
        self._exchange.leave(self._local.client(connection), room_topic(room), at_once=True)

    async def send(self, room: str, message: str | bytes, *, exclude: Connection | None = None) -> bool:
        """Send to all clients in the room, except one. Return whether the hub passed the message on.

        It does not wait for the clients to read: like `broadcast`, it aborts a client that has too much unread. The
        messages of one handler arrive in order. If the hub is unreachable, only the clients of this worker receive the
        message, and the result is False. In a room with history, nobody receives it then.
        """
        return await self._exchange.send(room_topic(room), message, exclude)

    async def send_to_user(self, user: str, message: str | bytes) -> bool:
        """Send to all connections of a user."""
        return await self._exchange.send(user_topic(user), message)

    async def send_to_all(self, message: str | bytes, *, exclude: Connection | None = None) -> bool:
        """Send to all connected clients."""
        return await self._exchange.send(ALL, message, exclude)

    async def send_to_client(self, client: str, message: str | bytes) -> bool:
        """Send to the client with this id.

        Return False if it was on this worker and is gone, if its worker is gone, or if the hub is unreachable.
        """
        worker = client.partition(".")[0]
        if worker == self._exchange.worker:
            return self._local.send_to_client(client, PreparedMessage(message))
        return bool(
            self._exchange.hub
            and await self._exchange.publish(worker_topic(worker), PreparedMessage(message), to=client)
        )

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
        elsewhere: list[int] = await self._exchange.survey(topic, "count")
        return len(self._local.clients(topic)) + sum(elsewhere)

    async def members(self, room: str) -> list[Member]:
        """Return the clients in a room."""
        return await self._exchange.members(room_topic(room))

    async def connections(self, user: str) -> list[Member]:
        """Return the connections of a user."""
        return await self._exchange.members(user_topic(user))

    async def is_online(self, user: str) -> bool:
        """Return whether the user has a connection."""
        topic = user_topic(user)
        return bool(self._local.clients(topic)) or bool(
            self._exchange.hub and await self._exchange.hub.count_subscribers(topic)
        )

    # For the server.

    async def push(self, kind: str, name: str, message: str | bytes) -> int | None:
        """Send a message from outside to a `room`, a `user`, a `client` or `all`; return how many workers received it.

        None if the hub is unreachable: then only the clients of this worker received it.
        """
        prepared = PreparedMessage(message)
        if kind == "client":
            worker = name.partition(".")[0]
            if worker == self._exchange.worker or not self._exchange.hub:
                return int(self._local.send_to_client(name, prepared))
            return await self._exchange.publish(worker_topic(worker), prepared, to=name)
        topic = {"room": room_topic, "user": user_topic}[kind](name) if kind != "all" else ALL
        if self._exchange.history.keeps(topic):
            appended = await self._exchange.history.append(topic, message)
            return appended and appended.workers
        self._local.send(topic, prepared)
        return (
            await self._exchange.publish(topic, prepared)
            if self._exchange.hub
            else int(bool(self._local.clients(topic)))
        )

    async def close_clients(self, kind: str, name: str, code: int, reason: str) -> int | None:
        """Close the clients of a `room` or a `user`, or a `client`; return what `push` returns."""
        check_close(code, reason)
        nothing, close = PreparedMessage(b""), [code, reason]
        if kind == "client":
            worker = name.partition(".")[0]
            if worker == self._exchange.worker or not self._exchange.hub:
                return int(self._local.close_client(name, code, reason))
            return await self._exchange.publish(worker_topic(worker), nothing, to=name, close=close)
        topic = {"room": room_topic, "user": user_topic}[kind](name)
        self._local.close(topic, code, reason)
        return (
            await self._exchange.publish(topic, nothing, close=close)
            if self._exchange.hub
            else int(bool(self._local.clients(topic)))
        )

    def add(self, connection: Connection) -> None:
        """Add a connection that has opened."""
        self._local.add(connection)

    def remove(self, connection: Connection) -> None:
        """Remove a connection that has ended, from all rooms."""
        client = self._local.remove(connection)
        for topic in tuple(client.topics):
            self._exchange.leave(client, topic, at_once=False)


exchange = Exchange()
rooms = Rooms(exchange)
