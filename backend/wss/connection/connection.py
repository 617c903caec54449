"""The open websocket as handlers know it: a receiver, a sender, pings, and the facts about the client.

The API is that of websockets.asyncio.server.ServerConnection. picows has one, too, but compiled: what is stricter here
had to be wrapped around it, frame by frame, and cost more than doing the whole in Python, on picows' core.
"""

import asyncio
import codecs
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from picows import WSCloseCode, WSFrame, WSListener, WSProtocolError, WSTransport
from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.protocol import State

from wss.connection import read_buffer
from wss.connection.client_rate import ClientRates, LimitedReceiver
from wss.connection.pings import Pings
from wss.connection.receiver import Receiver
from wss.connection.sender import FlushScheduler, Sender
from wss.connection.websockets_api import ProtocolAdapter, Request, missing
from wss.handshake.client_certificate import ClientCertificate
from wss.handshake.forwarded import normalize_address
from wss.handshake.request import HttpRequest
from wss.observability.metrics import SAMPLED_ONE_IN, Traffic
from wss.protocol.assembler import Assembler
from wss.protocol.close import ABNORMAL_CLOSURE, PING, PONG, Ending, check_close, may_be_sent, payload_of
from wss.protocol.deflate import Deflate
from wss.protocol.frames import BINARY, PreparedMessage

log = logging.getLogger("wss.connection")

_UTF_8 = codecs.getincrementaldecoder("utf-8")

# Seconds that a client has to answer our close frame; then its connection is aborted.
CLOSE_TIMEOUT = 5.0

# Seconds since 1970, in the year 5138. A time in milliseconds is later, and would be no deadline at all.
MAX_DEADLINE = 1e11

_closing: set[asyncio.Task[None]] = set()  # the loop itself keeps no task alive


class ConnectionLimits(NamedTuple):
    """The settings of the same names: sizes in bytes, times in seconds."""

    max_message: int
    max_fragments: int
    write_limit: int
    slow_reader_timeout: float
    rates: ClientRates | None
    """None: no limit."""


class Observer(Protocol):
    """What follows the life of connections."""

    def opened(self, connection: "Connection") -> None:
        """The handshake is complete: messages can be sent and received."""

    def ended(self, connection: "Connection", ending: Ending) -> None:
        """No more messages can be sent or received."""

    def deadline_set(self, connection: "Connection") -> None:
        """The connection has another deadline."""

    def sends_too_much(self, connection: "Connection", setting: str, too_long: bool) -> None:
        """The client has exceeded the rate of a setting, and is read more slowly; `too_long`: that did not help."""

    def handled(self, seconds: float) -> None:
        """A handler took so long for a message; called for one in SAMPLED_ONE_IN."""


class Connection(WSListener):
    """A client's websocket."""

    __slots__ = (
        "__dict__",  # for attributes that a handler sets; it costs nothing until then
        "_deadline",
        "_draining",
        "_head",
        "_observer",
        "_owed_pong",
        "_parse",
        "_pings",
        "_receiver",
        "_sender",
        "_target",
        "accepted",
        "certificate",
        "client",
        "ending",
        "heard",
        "id",
        "opened",
        "pings",
        "response_headers",
        "traffic",
        "transport",
        "ws_transport",
    )

    def __init__(
        self,
        limits: ConnectionLimits,
        scheduler: FlushScheduler,
        observer: Observer,
        target: str,
        response_headers: Mapping[str, str],
        *,
        head: bytes,
        parse: Callable[[bytes], HttpRequest],
        id_: str,
        client: str,
        certificate: ClientCertificate | None,
        accepted: float,
        transport: asyncio.Transport,
    ) -> None:
        loop = asyncio.get_running_loop()
        compression = response_headers.get("Sec-WebSocket-Extensions")
        deflate = Deflate(compression, limits.max_message, loop.call_soon) if compression else None
        self._deadline: float | None = None
        self._draining: asyncio.Event | None = None  # for a handler that asks for it, or a drain
        self._observer = observer
        self._target = target
        # Parsed again if the handler asks for the request: the parsed headers are several times as large.
        self._head = head
        self._parse = parse
        self.response_headers = response_headers
        """Of the 101, besides those that every 101 has."""
        self.client = client
        self.certificate = certificate
        # The proxy's, so that its log line and ours have the same; or our own.
        self.id = id_ or os.urandom(16).hex()
        self.transport = transport
        self.accepted = accepted
        """When TCP was accepted, as time.monotonic() counts."""
        self.opened = 0.0
        """When the websocket opened, as time.monotonic() counts; 0 before."""
        self.ending: Ending | None = None
        """How it ended, if it has."""
        self.traffic = Traffic()
        self.pings = self.heard = 0  # keepalives: how many were sent, and how many had been when a frame last came
        self.ws_transport: WSTransport
        self._pings = Pings()
        self._owed_pong: bytes | None = None
        new_receiver: Callable[..., Receiver] = Receiver
        if limits.rates:
            new_receiver = partial(LimitedReceiver, limits.rates, partial(observer.sends_too_much, self))
        self._receiver = new_receiver(
            loop,
            Assembler(limits.max_message, limits.max_fragments, deflate),
            self.traffic,
            observer.handled,
            1 + int(random.random() * SAMPLED_ONE_IN),  # noqa: S311  # a sample, not a secret
            probe_size=2 * limits.max_message,
        )
        self._sender = Sender(
            scheduler,
            deflate,
            self.traffic,
            client=client,
            write_limit=limits.write_limit,
            slow_reader_timeout=limits.slow_reader_timeout,
        )

    # What picows calls: https://picows.readthedocs.io/en/stable/reference.html#picows.WSListener

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.ws_transport = transport
        # picows keeps them until the end, and nothing reads them.
        transport.request.headers = transport.response.headers = None  # type: ignore[assignment]
        self._receiver.start(self.transport)
        self._sender.start(self.transport, transport)
        self.opened = time.monotonic()
        self._observer.opened(self)

    def on_ws_frame(self, _: WSTransport, frame: WSFrame) -> None:
        """Take in a frame; one that the client must not send ends the connection, once what came before is handled."""
        if self.ws_transport.is_close_frame_sent and not self._receiver.is_discarding:
            self._receiver.finish()
            return  # picows has closed after a violation, and goes on to parse what it has read
        self.heard = self.pings
        opcode: int = frame.msg_type  # type: ignore[assignment]  # an int, whatever the stub says
        try:
            if opcode <= BINARY:
                self._receiver.add(opcode, frame)
            elif not self._receiver.is_finished:
                self._receiver.add_control(frame.payload_size)
                self._take_control(opcode, frame)
        except UnicodeDecodeError as error:
            self._refuse(WSCloseCode.INVALID_TEXT, f"{error.reason} at position {error.start}")
        except WSProtocolError as error:
            self._refuse(error.code, error.args[1])

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.ending = ending = Ending.of(transport.close_handshake)
        self._sender.end(ending)
        self._receiver.end(ending)
        self._pings.end(ending)
        self._observer.ended(self, ending)

    def pause_writing(self) -> None:
        self._sender.pause()

    def resume_writing(self) -> None:
        self._sender.resume()
        if self._owed_pong is not None:
            self._sender.send_pong(self._owed_pong)
            self._owed_pong = None

    # Frames of the client that are not data.

    def _take_control(self, opcode: int, frame: WSFrame) -> None:
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        if opcode == PING:
            # RFC 6455 section 5.5.3: of several pings, only the last one needs an answer. A client that pings and does
            # not read would otherwise fill our memory with pongs.
            if self.ws_transport.is_close_frame_sent:
                return  # picows would send nothing, at many times the cost
            if self._sender.is_paused:
                self._owed_pong = frame.get_payload_as_bytes()
            else:
                self._sender.send_pong(frame.get_payload_as_bytes())
        elif opcode == PONG:
            self._pings.take_pong(frame.get_payload_as_bytes())
            self._receiver.end_probe()
        else:
            self._answer_close(frame)

    def _answer_close(self, frame: WSFrame) -> None:
        if not frame.payload_size:
            self._sender.send_close(None)
        elif may_be_sent(int(frame.get_close_code())):  # type: ignore[call-overload]
            self._sender.send_close(frame.get_close_code(), frame.get_close_message())
        else:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "this close code must not be sent")
        self._receiver.finish()
        self.ws_transport.disconnect()

    def _refuse(self, code: WSCloseCode, what: str) -> None:
        self._receiver.finish()
        # Not at once: the handler is about to answer the messages before it.
        asyncio.get_running_loop().call_soon(self._sender.fail, code, what)

    # Messages.

    def recv(self, decode: bool | None = None) -> Coroutine[Any, Any, str | bytes]:
        """Return the next message; `decode`: as text or as bytes, whatever it was sent as.

        Raises ConnectionClosed if no more messages will come.
        """
        return self._receiver.get() if decode is None else self._recv_decoded(decode)

    async def _recv_decoded(self, decode: bool) -> str | bytes:
        return await self._decoded(await self._receiver.get(), decode)

    def __aiter__(self) -> "Connection":
        return self

    def __anext__(self) -> Coroutine[Any, Any, str | bytes]:
        return self._receiver.get(iterating=True)

    async def recv_streaming(self, decode: bool | None = None) -> AsyncIterator[str | bytes]:
        """Yield the next message in the fragments in which it comes; it has to be read to its end."""
        utf_8 = _UTF_8()
        async for data, fin in self._receiver.stream():
            yield data if decode is None else await self._decoded(data, decode, partial(utf_8.decode, final=fin))

    async def _decoded(
        self, message: str | bytes, decode: bool, as_text: Callable[[bytes], str] = bytes.decode
    ) -> str | bytes:
        if isinstance(message, str):
            return message if decode else message.encode()
        if not decode:
            return message
        try:
            return as_text(message)
        except UnicodeDecodeError as error:
            self._sender.fail(WSCloseCode.INVALID_TEXT, f"{error.reason} at position {error.start}")
            await self.wait_closed()
            assert self.ending
            raise self.ending.exception() from error

    def send(self, message: Any, text: bool | None = None) -> Coroutine[Any, Any, None]:
        """Send a message: a str as text, bytes as binary, an iterable of them in fragments; `text` overrules the type.

        Waits while the client does not read. Raises ConnectionClosed if the connection has ended.
        """
        # A handler with more messages in its queue is about to answer them, too.
        return self._sender.send(message, text, bool(self._receiver.queue))

    def send_nowait(self, message: PreparedMessage) -> None:
        """Send a message without waiting for the client to read it; a client that has too much unread is aborted."""
        if not self._receiver.is_finished:
            self._sender.send_nowait(message)

    # Pings.

    async def ping(self, data: str | bytes | None = None) -> Awaitable[float]:
        """Send a ping; what is returned can be awaited for the seconds until its pong.

        Raises ValueError for more than 125 bytes, ConcurrencyError for data that waits for its pong already.
        """
        payload = os.urandom(4) if data is None else payload_of(data)
        await self._sender.until_writable()
        pong = self._pings.add(payload)
        self._sender.send_ping(payload)
        return pong

    async def pong(self, data: str | bytes = b"") -> None:
        """Send an unsolicited pong, as a sign of life. Raises ValueError for more than 125 bytes."""
        payload = payload_of(data)
        await self._sender.until_writable()
        self._sender.send_pong(payload)

    def send_keepalive(self) -> None:
        """Send a ping, and make sure that its pong can be seen even if the handler leaves the queue full."""
        self._sender.send_ping(self._pings.add_keepalive())
        self._receiver.probe(self.pings)
        read_buffer.release(self.transport.get_protocol())

    def has_answered(self, ping: int) -> bool:
        """Whether a frame came since the keepalive of this number; if the queue was full: a pong.

        A handler that takes messages from a full queue will find the end of the connection behind them by itself.
        """
        probe = self._receiver.probe_ping
        return self.heard >= ping and (probe is None or probe > ping)

    def fail_keepalive(self) -> None:
        """Fail the connection after a ping timeout. Send 1011 first: the client may still be receiving."""
        if self._receiver.probe_ping is not None:
            log.warning(
                "%s: no pong within the keepalive timeout, and %d messages that the handler on %s does not receive",
                self.client,
                len(self._receiver.queue),
                self.path,
            )
        self._sender.fail(WSCloseCode.INTERNAL_ERROR, "keepalive ping timeout", graceful=False)

    # The end.

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame and wait for the client's; abort the connection if none comes in time.

        Raises ValueError for a code that must not be sent, and for a reason of more than 123 bytes.
        """
        check_close(code, reason)
        if self.ending:
            return
        self._sender.send_close(code, reason)
        self._receiver.discard()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.wait_closed()
        except TimeoutError:
            self.ws_transport.disconnect(graceful=False)
            await self.wait_closed()

    def close_soon(self, code: int, reason: str) -> None:
        """Close as `close` does, without waiting for the end; do nothing if the connection is closing already."""
        if self.is_open:
            task = asyncio.get_running_loop().create_task(self.close(code, reason))
            _closing.add(task)
            task.add_done_callback(_closing.discard)

    @property
    def deadline(self) -> float | None:
        """When access ends, in seconds since 1970, like `exp` of a token: then the connection is closed with 4401.

        It can be set from process_request on, and moved; None, the default: never. Raises TypeError for what is not a
        number, and ValueError for what is not in seconds.
        """
        return self._deadline

    @deadline.setter
    def deadline(self, when: float | None) -> None:
        if when is not None:
            if not isinstance(when, (int, float)):
                raise TypeError(f"a deadline is in seconds since 1970, or None; not {type(when).__name__}")
            if not abs(when) < MAX_DEADLINE:
                raise ValueError(f"a deadline is in seconds since 1970, or None; {when} would never be reached")
        self._deadline = when
        self._observer.deadline_set(self)

    @property
    def draining(self) -> asyncio.Event:
        """Set when the worker or the proxy of this connection is about to stop, and STOP_DRAIN gives it time to leave.

        A handler that has waited for it may ask its client to connect again.
        """
        if self._draining is None:
            self._draining = asyncio.Event()
        return self._draining

    async def wait_closed(self) -> None:
        """Wait until the connection has ended."""
        await self.ws_transport.wait_disconnected()

    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(self, error: type[BaseException] | None, *_: object) -> None:
        await self.close(1000 if error is None else 1011)

    # Facts.

    @property
    def state(self) -> State:
        if self.ending:
            return State.CLOSED
        if not self.opened:
            return State.CONNECTING
        return State.OPEN if self.is_open else State.CLOSING

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent and received: no close frame was sent or received."""
        return self._sender.is_open and not self._receiver.is_finished

    @property
    def is_read(self) -> bool:
        """Whether the client's frames are read now: its messages are not too many for the handler."""
        return not self._receiver.is_paused

    @property
    def buffered(self) -> int:
        """Bytes that wait for the client to read them."""
        return self._sender.buffered

    @property
    def latency(self) -> float:
        """Seconds from the last ping to its pong; 0 before the first."""
        return self._pings.latency

    @property
    def request(self) -> Request:
        """The opening handshake: its path with the query, and its headers, ISO-8859-1 if a value is not ASCII."""
        return Request(self._target, lambda: self._parse(self._head).opaque_headers())

    @property
    def response(self) -> Response:
        """The response to it."""
        accepted = HTTPStatus.SWITCHING_PROTOCOLS
        return Response(accepted.value, accepted.phrase, Headers(self.response_headers))

    def respond(self, status: int, text: str) -> Response:
        """Return a response with a line of text, for process_request to return; headers can be added to it."""
        answer = HTTPStatus(status)
        headers = Headers({"Content-Type": "text/plain; charset=utf-8"})
        return Response(answer.value, answer.phrase, headers, text.encode())

    @property
    def path(self) -> str:
        """The path of the request, without its query."""
        return self._target.partition("?")[0]

    @property
    def subprotocol(self) -> str | None:
        return self.response_headers.get("Sec-WebSocket-Protocol")

    @property
    def local_address(self) -> Any:
        """Host and port of our end of the TCP connection; of IPv6, also flow and scope."""
        return _without_mapping(self.transport.get_extra_info("sockname"))

    @property
    def remote_address(self) -> Any:
        """Host and port of the other end: the client's, or the proxy's before us (see client_address)."""
        return _without_mapping(self.transport.get_extra_info("peername"))

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines have the id of this connection."""
        return logging.LoggerAdapter(logging.getLogger("wss.handler"), {"id": self.id})

    # For websockets.broadcast().

    send_in_progress = None  # fragments delay no broadcast: see Sender.send_nowait

    @property
    def protocol(self) -> ProtocolAdapter:
        return ProtocolAdapter(self)

    def send_data(self) -> None:
        """Do nothing: what was sent is written by itself."""

    def __getattr__(self, name: str) -> Any:
        raise missing(name)

    @property
    def close_code(self) -> int | None:
        """The client's close code; 1006 if it sent none. None until the connection has ended."""
        if self.ending is None:
            return None
        return self.ending.received.code if self.ending.received else ABNORMAL_CLOSURE

    @property
    def close_reason(self) -> str | None:
        """The reason that came with the client's close code. None until the connection has ended."""
        if self.ending is None:
            return None
        return self.ending.received.reason if self.ending.received else ""


def _without_mapping(address: Any) -> Any:
    """Return an IPv4 address as IPv4: a socket for both families reports it as mapped (RFC 4291 section 2.5.5.2)."""
    if address and address[0].startswith("::ffff:"):
        return normalize_address(address[0]), address[1]
    return address


Handler = Callable[[Connection], Awaitable[None]]
"""What a user writes: ``async def handler(connection)``."""


def broadcast(connections: Iterable[Connection], message: str | bytes) -> None:
    """Send the message to all of them, without waiting for any; a client that has too much unread is aborted.

    A message that could not be sent is never dropped silently: the connection ends, and the client sees that.
    """
    prepared = PreparedMessage(message)
    for connection in tuple(connections):
        connection.send_nowait(prepared)
