"""The clients of this worker and the topics that they are in; without I/O to other workers."""

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import count as count_up
from typing import NamedTuple

from wss.connection.connection import Connection
from wss.protocol.frames import PreparedMessage

ALL = "all"  # the topic of all clients


class Member(NamedTuple):
    """A client in a room."""

    client: str
    """The id of the client, for `send_to_client`."""
    user: str | None
    """The user that it is bound to."""


@dataclass(eq=False)
class Client:
    """A connection, with what rooms know about it."""

    connection: Connection
    id: str
    user: str | None = None
    topics: set[str] = field(default_factory=set)

    def as_member(self) -> Member:
        return Member(self.id, self.user)


class Membership:
    """The clients of one worker, by connection, by id and by topic."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._numbers = count_up(1)
        self._clients: dict[Connection, Client] = {}
        self._by_id: dict[str, Client] = {}
        self._by_topic: dict[str, set[Client]] = {ALL: set()}

    def add(self, connection: Connection) -> None:
        client = Client(connection, f"{self._worker}.{next(self._numbers)}")
        self._clients[connection] = self._by_id[client.id] = client
        self._by_topic[ALL].add(client)

    def remove(self, connection: Connection) -> Client:
        """Remove a connection, but not from the topics that it joined; return its client."""
        client = self._clients.pop(connection)
        del self._by_id[client.id]
        self._by_topic[ALL].discard(client)
        return client

    def client(self, connection: Connection) -> Client:
        """Return the client of a connection. Raises ConnectionClosed if it has ended, LookupError if it is unknown."""
        if client := self._clients.get(connection):
            return client
        if connection.ending:
            raise connection.ending.exception()
        raise LookupError("not a connection of this server")

    def join(self, client: Client, topic: str) -> None:
        client.topics.add(topic)
        self._by_topic.setdefault(topic, set()).add(client)

    def leave(self, client: Client, topic: str) -> bool:
        """Remove a client from a topic; return whether it was the last one in it."""
        if topic not in client.topics:
            return False
        client.topics.discard(topic)
        clients = self._by_topic[topic]
        clients.discard(client)
        if clients:
            return False
        del self._by_topic[topic]
        return True

    def by_id(self, client_id: str) -> Client | None:
        """Return the client with an id, if it is on this worker."""
        return self._by_id.get(client_id)

    def id_of(self, connection: Connection | None) -> str:
        """Return the id of a connection; empty if it is none of this server, or has ended."""
        client = self._clients.get(connection) if connection else None
        return client.id if client else ""

    def clients(self, topic: str) -> Collection[Client]:
        """Return the clients in a topic."""
        return self._by_topic.get(topic, ())

    def members(self, topic: str) -> list[Member]:
        return [client.as_member() for client in self.clients(topic)]

    def send(self, topic: str, message: PreparedMessage, exclude: Connection | None = None) -> None:
        """Send a message to all clients in a topic except one, without waiting for them to read it."""
        for client in tuple(self.clients(topic)):
            if client.connection is not exclude:
                client.connection.send_nowait(message)

    def send_to_client(self, client_id: str, message: PreparedMessage) -> bool:
        """Send a message to a client; return whether there is one with this id."""
        client = self._by_id.get(client_id)
        if client:
            client.connection.send_nowait(message)
        return client is not None

    def close(self, topic: str, code: int, reason: str) -> None:
        """Close the connections of all clients in a topic, without waiting for their ends."""
        for client in tuple(self.clients(topic)):
            client.connection.close_soon(code, reason)

    def close_client(self, client_id: str, code: int, reason: str) -> bool:
        """Close the connection of a client; return whether there is one with this id."""
        client = self._by_id.get(client_id)
        if client:
            client.connection.close_soon(code, reason)
        return client is not None


def room_topic(name: str) -> str:
    return _topic("room", name)


def room_name(topic: str) -> str:
    """Return the name of the room; another topic is returned as it is."""
    return topic.removeprefix("room:")


def user_topic(name: str) -> str:
    return _topic("user", name)


def worker_topic(name: str) -> str:
    return _topic("worker", name)


def _topic(kind: str, name: str) -> str:
    topic = f"{kind}:{name}"
    topic.encode()  # raises here, not in the hub, where the error would end the connection of all clients
    return topic
