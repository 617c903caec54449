"""Reads the head of a request before picows does, with limits of size and time, and responses that name the error.

picows itself drops a head of more than 16 KiB without a response, and rejects every method but GET as a bad request.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from wss.handshake.picows_protocol import hide_socket
from wss.handshake.request import HttpRequest
from wss.handshake.responses import HttpResponse, plain_response

TLS_HANDSHAKE = 0x16  # content type of the first record (RFC 8446 section 5.1)

# Seconds that a client has to read the response if its request is too large.
LINGER = 2.0

# Max headers of a client: httpd's limit. picows has 128, to which a proxy adds a few.
MAX_HEADERS = 100

_END = b"\r\n\r\n"
_EMPTY_LINES = re.compile(rb"(\r\n)+")
# What one read returns. It is copied at once, so that all connections can share it.
_read_buffer = memoryview(bytearray(16 * 1024))
# RFC 9112 section 3. picows accepts version 1.1 only.
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) [!-~]+ HTTP/(\d\.\d)\r\n")

_TLS_HERE = plain_response(
    HTTPStatus.BAD_REQUEST, "This port does not speak TLS: TLS ends at the proxy before it.", reason="tls"
)
_NOT_HTTP = plain_response(HTTPStatus.BAD_REQUEST, "This is not an HTTP/1.1 request.", reason="malformed")
_TOO_MANY_HEADERS = plain_response(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"There are over {MAX_HEADERS} headers. Send fewer.", reason="header"
)
_MALFORMED = plain_response(
    HTTPStatus.BAD_REQUEST, "A header of this request is malformed, or it has a body.", reason="malformed"
)
_NOT_GET = plain_response(
    HTTPStatus.METHOD_NOT_ALLOWED, "Connect with a WebSocket client.", {"Allow": "GET"}, reason="method"
)
_OLD_HTTP = plain_response(
    HTTPStatus.UPGRADE_REQUIRED,
    "This is a WebSocket. Connect with a WebSocket client, over HTTP/1.1.",
    {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
    reason="upgrade",
)


@dataclass(slots=True)
class AcceptedConnection:
    """An accepted connection."""

    peer: str
    """The address of the peer."""
    time: float
    """When it was accepted, by the clock of the event loop."""
    server_name: str | None = None
    """The server name in its TLS handshake (SNI), in lower case."""
    decided: bool = False
    """Whether its request was good enough to be decided on."""
    head: bytes = b""
    """The head of its request, up to its last header."""
    transport: Any = None
    """The asyncio transport, once there is one."""
    decision: Any = None
    """What was decided on the request before picows reads it, if anything was; see wss.server."""
    certificate: dict[str, Any] | None = None
    """The client's certificate, verified, as Python's ssl returns it."""


ProtocolFactory = Callable[[AcceptedConnection], asyncio.BufferedProtocol]
# Decides on a request before picows reads it, if that takes more than a function call.
Prepare = Callable[[AcceptedConnection, HttpRequest], Awaitable[None]]


@dataclass(frozen=True)
class Limits:
    """Limits until a WebSocket is open."""

    head: int
    """Max bytes of request line and headers."""
    timeout: float
    """Seconds for the TLS handshake, and the same again for the head."""
    headers: int = MAX_HEADERS
    """Max number of headers."""
    any_method: bool = False
    """Whether to pass on any request, not only a GET over HTTP/1.1, which can become a WebSocket."""


class RequestHeadReader(asyncio.BufferedProtocol):
    """Reads the head of one request. Then passes the connection on to a new protocol, or responds and closes.

    `refused` is called with the reason, in one word.
    """

    __slots__ = (
        "_accepted",
        "_deadline",
        "_factory",
        "_limits",
        "_lingering",
        "_prepare",
        "_preparing",
        "_received",
        "_refused",
        "_transport",
    )

    def __init__(
        self,
        factory: ProtocolFactory,
        accepted: AcceptedConnection,
        limits: Limits,
        refused: Callable[[str], None],
        prepare: Prepare | None = None,
    ) -> None:
        self._factory = factory
        self._accepted = accepted
        self._limits = limits
        self._refused = refused
        self._received = b""
        self._lingering = False
        self._prepare = prepare
        self._preparing: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._deadline = asyncio.get_running_loop().call_later(self._limits.timeout, self._expire)

    def connection_lost(self, _: Exception | None) -> None:
        self._deadline.cancel()
        if self._preparing:
            self._preparing.cancel()

    def get_buffer(self, _: int) -> memoryview:
        return _read_buffer

    def buffer_updated(self, size: int) -> None:
        if self._lingering:
            return
        self._received += _read_buffer[:size]
        if not self._preparing:  # else it is for the websocket
            self._check()

    def _check(self) -> None:
        if lines := _EMPTY_LINES.match(self._received):  # before the request line (RFC 9112 section 2.2)
            self._received = self._received[lines.end() :]
        received = self._received
        if not received:
            return
        if received[0] == TLS_HANDSHAKE:
            # Respond at once: a TLS client waits for a ServerHello, until the timeout.
            self._refuse(_TLS_HERE)
            return
        # RFC 9112 section 2.2 allows LF alone; picows reads on until its timeout.
        if (line := received.find(b"\n")) >= 0 and received[line - 1 : line] != b"\r":
            self._refuse(_NOT_HTTP)
            return
        size = received.find(_END, 0, self._limits.head + len(_END))
        if size >= 0:
            self._check_request_line(received[: size + 2])
        elif len(received) >= self._limits.head + len(_END):
            # More bytes will come: closing with unread bytes would reset the connection and lose the response.
            self._lingering = True
            text = f"Request line and headers are over {self._limits.head} bytes. Send fewer, or raise MAX_HEADER."
            self._refuse(plain_response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text, reason="header"))

    def _check_request_line(self, head: bytes) -> None:
        line = _REQUEST_LINE.match(head)
        if not line:
            self._refuse(_NOT_HTTP)
        elif head.count(b"\r\n") - 1 > self._limits.headers:
            self._refuse(_TOO_MANY_HEADERS)
        elif self._limits.any_method:
            self._pass_on()
        elif line[1] == b"GET" and line[2] == b"1.1":
            self._accepted.head = head
            self._accepted.transport = self._transport
            self._accepted.certificate = self._transport.get_extra_info("peercert")
            if not self._prepare:
                self._pass_on()
            elif request := HttpRequest.parse(head):
                self._deadline.cancel()
                self._transport.pause_reading()
                self._preparing = asyncio.get_running_loop().create_task(self._prepare_and_pass_on(request))
            else:
                # Nothing passes that was not prepared: it could become a WebSocket without process_request.
                self._refuse(_MALFORMED)
        else:
            self._refuse(_OLD_HTTP if line[1] == b"GET" else _NOT_GET)

    async def _prepare_and_pass_on(self, request: HttpRequest) -> None:
        assert self._prepare
        await self._prepare(self._accepted, request)
        self._preparing = None
        self._transport.resume_reading()
        self._pass_on()

    def _pass_on(self) -> None:
        self._deadline.cancel()
        protocol = self._factory(self._accepted)
        self._transport.set_protocol(protocol)
        protocol.connection_made(hide_socket(self._transport))
        rest = memoryview(self._received)
        while rest and not self._transport.is_closing():
            space = memoryview(protocol.get_buffer(len(rest)))
            size = min(len(space), len(rest))
            space[:size] = rest[:size]
            protocol.buffer_updated(size)
            rest = rest[size:]
        if not self._accepted.decided:
            self._refused("malformed")  # picows has responded

    def _refuse(self, response: HttpResponse) -> None:
        self._refused(response.reason)
        self._transport.write(response.to_bytes())
        if self._lingering:
            self._deadline.cancel()
            self._deadline = asyncio.get_running_loop().call_later(LINGER, self._transport.close)
        else:
            self._transport.close()

    def _expire(self) -> None:
        self._refused("timeout")
        self._transport.abort()
