"""What `websockets` reaches into, and what its connections have and ours do not.

https://websockets.readthedocs.io/en/stable/reference/asyncio/server.html#websockets.asyncio.server.ServerConnection
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from websockets import http11
from websockets.datastructures import Headers
from websockets.protocol import State

from wss.protocol.frames import BINARY, TEXT, PreparedMessage

if TYPE_CHECKING:
    from wss.connection.connection import Connection

# Public members of theirs, and what to use here.
ALTERNATIVES = {
    "close_timeout": "it is 5 seconds, wss.connection.connection.CLOSE_TIMEOUT",
    "debug": "use logger.isEnabledFor(logging.DEBUG)",
    "handler": "use connection.path to see which route was taken",
    "handler_kwargs": "use the arguments that the router passes to the handler",
    "keepalive_task": "pings of all connections have one task: see PING_INTERVAL and PING_TIMEOUT",
    "max_queue_high": "the queue is bounded by its bytes",
    "max_queue_low": "the queue is bounded by its bytes",
    "pending_pings": "await what ping() returns",
    "ping_interval": "it is the setting PING_INTERVAL",
    "ping_timeout": "it is the setting PING_TIMEOUT",
    "recv_messages": "use recv() or recv_streaming()",
    "server": "keep the connections in a set of your own, or use wss.rooms",
    "start_keepalive": "keepalive runs for every connection: see PING_INTERVAL and PING_TIMEOUT",
    "username": "it is set by websockets.asyncio.server.basic_auth: see process_request",
    "write_limit_high": "it is the setting WRITE_LIMIT",
    "write_limit_low": "it is the setting WRITE_LIMIT",
}


def missing(name: str) -> AttributeError:
    """Return the error for an attribute that a connection does not have."""
    advice = f": {ALTERNATIVES[name]}" if name in ALTERNATIVES else ""
    return AttributeError(f"a wss connection has no attribute {name!r}{advice}")


class Request(http11.Request):
    """The opening handshake of a connection. Its headers are parsed when they are read: most handlers read the path."""

    def __init__(self, path: str, fields: Callable[[], Iterator[tuple[str, str]]]) -> None:
        self.path = path
        self._fields = fields

    @cached_property
    def headers(self) -> Headers:  # type: ignore[override]
        return Headers(self._fields())


class ProtocolAdapter:
    """As much of `connection.protocol` as websockets.broadcast() uses."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    @property
    def state(self) -> State:
        return self._connection.state

    def send_text(self, data: bytes) -> None:
        self._connection.send_nowait(PreparedMessage(data, TEXT))

    def send_binary(self, data: bytes) -> None:
        self._connection.send_nowait(PreparedMessage(data, BINARY))
