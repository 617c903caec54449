"""The open websocket: picows' ServerConnection, made strict where RFC 6455 is, and bounded where a client is not."""

import asyncio
import logging
import random
import time
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Coroutine, Iterable, Mapping
from typing import Any

from picows import WSCloseCode, WSFrame, WSMsgType, WSProtocolError, WSTransport
from picows.websockets import Request, Response, Server, ServerConnection, State
from picows.websockets.asyncio.negotiation import configure_permessage_deflate

from wss.address import Crowd, readable
from wss.metrics import TIMED, Metrics, Traffic
from wss.settings import Settings

log = logging.getLogger("wss.connection")

# Bytes that may wait for a client to read them before its handler has to wait too.
WRITE_LIMIT = 65536
# Bytes that a broadcast, which waits for nobody, may pile up for one client before it is cut.
MOST_UNREAD = 4 * 1024 * 1024
# Seconds that a client has to answer our close frame; then its connection is cut.
CLOSE_TIMEOUT = 5.0

_CLOSE, _PING, _PONG = 0x8, 0x9, 0xA
_KEEPALIVE = b"wss"  # what our pings carry, and the pongs to them
_CONTROL = 0x8  # the bit that tells control frames (RFC 6455 section 5.5)


class Connection(ServerConnection):
    """A client's websocket, with the API of websockets.asyncio.server.ServerConnection."""

    ws_transport: WSTransport

    def __init__(
        self,
        server: Server,
        settings: Settings,
        metrics: Metrics,
        crowd: Crowd,
        request: Request,
        response: Response,
        *,
        client: str,
        accepted: float,
    ) -> None:
        self._deflate = configure_permessage_deflate(response, "deflate")
        super().__init__(
            server,
            request=request,
            response=response,
            subprotocol=response.headers.get("Sec-WebSocket-Protocol"),
            permessage_deflate=self._deflate,
            ping_interval=None,  # Keepalive does it for all
            ping_timeout=None,
            close_timeout=CLOSE_TIMEOUT,
            max_queue=16,
            write_limit=WRITE_LIMIT,
            max_message_size=settings.max_message,
            max_frame_size=settings.max_message,
            logger=server.logger,
        )
        self._metrics = metrics
        self._crowd = crowd
        self.client = client
        # From the proxy, so that its line and ours are found together; or our own.
        self.request_id = request.headers.get("X-Request-ID") or uuid.uuid4().hex
        self.opened = accepted  # as time.monotonic() tells it; until it is open, when it was accepted
        self.traffic = Traffic()
        self._reads = 0
        self._until_timed = random.randint(1, TIMED)  # noqa: S311  # a sample, not a secret
        self._timed: tuple[int, float] | None = None  # number and arrival of the message that is timed
        self._most_fragments = settings.max_fragments
        self._fragments = 0
        self._patience = settings.slow_reader_timeout
        self._deadline: asyncio.TimerHandle | None = None
        self._owed_pong: bytes | None = None
        self.pings = self.heard = 0  # of ours: how many were sent, and when something last came
        self._pinged = self._round_trip = 0.0
        self._fragmented_sends = 0
        self._held: list[str | bytes] = []  # until these are through

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.ws_transport = transport
        accepted, self.opened = self.opened, time.monotonic()
        self._crowd.enter(self.client)
        self._metrics.opened(self.opened - accepted, self.traffic)
        super().on_ws_connected(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.heard = self.pings
        kind: int = frame.msg_type  # type: ignore[assignment]  # an int, whatever the stub says
        # RFC 6455 section 5.2: no extension of ours gives them a meaning, but RSV1 on a compressed message.
        if frame.rsv2 or frame.rsv3 or (frame.rsv1 and kind & _CONTROL):
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        if kind == _PING:
            self._answer_ping(transport, frame)
        elif kind == _PONG and frame.get_payload_as_bytes() == _KEEPALIVE:
            self._round_trip = time.monotonic() - self._pinged
        elif kind == _CLOSE:
            self._answer_close(transport, frame)
        else:
            traffic = self.traffic
            traffic.bytes_in += frame.payload_size
            if frame.fin:
                traffic.messages_in += 1
                self._fragments = 0
                self._until_timed -= 1
                if not self._until_timed:
                    self._until_timed = TIMED
                    self._timed = self._timed or (traffic.messages_in, time.monotonic())
            else:
                self._count_fragment()
            super().on_ws_frame(transport, frame)

    def recv(self, decode: bool | None = None) -> Coroutine[Any, Any, Any]:
        # Whoever asks for the next message has done with the one before. Not a coroutine of its own: it would cost one.
        if self._timed and self._reads >= self._timed[0]:
            self._metrics.handled(time.monotonic() - self._timed[1])
            self._timed = None
        self._reads += 1
        return super().recv(decode)

    def _count_fragment(self) -> None:
        # Empty ones too: their number alone can fill the memory.
        self._fragments += 1
        if self._fragments > self._most_fragments:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, f"more than {self._most_fragments} fragments")

    def _answer_ping(self, transport: WSTransport, frame: WSFrame) -> None:
        # RFC 6455 section 5.5.3: of several pings, only the last one needs an answer. A client that pings and does not
        # read would otherwise fill our memory with pongs.
        payload = frame.get_payload_as_bytes()
        if self._deadline:
            self._owed_pong = payload
        else:
            transport.send_pong(payload)

    def _answer_close(self, transport: WSTransport, frame: WSFrame) -> None:
        if not frame.payload_size:
            # An empty close is answered with an empty one: 1005 is never sent (RFC 6455 section 7.4.1).
            transport.send(WSMsgType.CLOSE, b"")
        elif _may_be_sent(int(frame.get_close_code())):  # type: ignore[call-overload]
            transport.send_close(frame.get_close_code(), frame.get_close_message())
        else:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "no such close code")
        transport.disconnect()

    def pause_writing(self) -> None:
        super().pause_writing()
        if not self._deadline:
            self._deadline = asyncio.get_running_loop().call_later(self._patience, self.cut, "stopped reading")

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None
        if self._owed_pong is not None:
            self.ws_transport.send_pong(self._owed_pong)
            self._owed_pong = None

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._deadline:
            self._deadline.cancel()
        super().on_ws_disconnected(transport)
        code, closed_by = _ending(transport.close_handshake)
        self._crowd.leave(self.client)
        self._metrics.closed(code, closed_by, self.traffic)
        log.info(
            "closed",
            extra={
                "id": self.request_id,
                "client": self.client,
                "path": self.path,
                "seconds": round(time.monotonic() - self.opened, 3),
                **self.traffic.as_dict(),
                "code": code,
                "closed_by": closed_by,
            },
        )

    def send(self, message: Any, text: bool | None = None) -> Coroutine[Any, Any, None]:
        # Whole messages go straight on, not by way of a coroutine of ours: counting must not cost one.
        if isinstance(message, (str, bytes, bytearray, memoryview)):
            traffic = self.traffic
            traffic.messages_out += 1
            traffic.bytes_out += _size(message)
        elif isinstance(message, (Iterable, AsyncIterable)) and not isinstance(message, Mapping):
            return self._send_in_fragments(super().send(self._counted(message), text))
        return super().send(message, text)

    async def _counted(self, fragments: Any) -> AsyncIterator[Any]:
        self._count_sent(b"")
        if isinstance(fragments, AsyncIterable):
            async for fragment in fragments:
                self._count_sent(fragment, messages=0)
                yield fragment
        else:
            for fragment in fragments:
                self._count_sent(fragment, messages=0)
                yield fragment

    async def _send_in_fragments(self, sending: Awaitable[None]) -> None:
        self._fragmented_sends += 1
        try:
            await sending
        finally:
            self._fragmented_sends -= 1
            held, self._held = self._held, []
            for message in held:
                self.push(message)

    def push(self, message: str | bytes) -> None:
        """Send a message without waiting for the client to read it; a client that is too far behind is cut."""
        if not self.is_open:
            return
        if self.unread + sum(map(len, self._held)) > MOST_UNREAD:
            self.cut(f"has {MOST_UNREAD} bytes unread")
        elif self._fragmented_sends:
            self._held.append(message)  # only control frames may come between fragments (RFC 6455 section 5.4)
        else:
            self._count_sent(message)
            kind = WSMsgType.TEXT if isinstance(message, str) else WSMsgType.BINARY
            if self._deflate:
                self.ws_transport.send(kind, self._deflate.encode_frame(kind, message, True), True, True)
            else:
                self.ws_transport.send(kind, message)

    def _count_sent(self, message: Any, messages: int = 1) -> None:
        self.traffic.messages_out += messages
        self.traffic.bytes_out += _size(message)

    @property
    def is_open(self) -> bool:
        return self.state is State.OPEN

    @property
    def latency(self) -> float:
        """Seconds that the last ping of ours took there and back; 0 until one did."""
        return self._round_trip

    def send_keepalive(self) -> None:
        self._pinged = time.monotonic()
        self.ws_transport.send_ping(_KEEPALIVE)

    def give_up(self) -> None:
        """End a connection whose client does not answer: with a close frame, in case that it is only deaf."""
        self.ws_transport.send_close(WSCloseCode.INTERNAL_ERROR, "no answer to a ping")
        self.ws_transport.disconnect(graceful=False)

    def cut(self, why: str) -> None:
        """Drop the connection without a close frame, which the client would not read."""
        log.warning("%s %s: its connection is cut", self.client, why)
        self.ws_transport.disconnect(graceful=False)

    @property
    def path(self) -> str:
        """The path of the request, without its query."""
        return self.request.path.partition("?")[0]

    @property
    def unread(self) -> int:
        """Bytes that wait for the client to read them."""
        return int(self.ws_transport.underlying_transport.get_write_buffer_size())


def _ending(closing: Any) -> tuple[int, str]:
    """Return the close code, and who said it first, of picows' close_handshake."""
    if closing is None:
        return 1006, "nobody"  # RFC 6455 section 7.4.1: cut without a close frame
    first, who = (closing.recv, "client") if closing.recv_then_sent else (closing.sent, "server")
    # 1005: a close frame without a code.
    return (int(first.code) if first else 0) or 1005, who


def _size(message: Any) -> int:
    return len(message) if not isinstance(message, str) or message.isascii() else len(message.encode())


def _may_be_sent(code: int) -> bool:
    # RFC 6455 section 7.4.2 and the registry it founded; 1004, 1005, 1006 and 1015 are not for the wire.
    return 3000 <= code <= 4999 or code in (1000, 1001, 1002, 1003, *range(1007, 1015))


def peer_address(connection: Connection) -> str:
    """Return the address of whoever opened the TCP connection: the client, or the proxy before us."""
    return readable(connection.remote_address[0])


def client_address(connection: Connection) -> str:
    """Return the client's address: what X-Real-IP says where the peer is one of TRUSTED_PROXIES, else the peer's."""
    return connection.client


def broadcast(connections: Iterable[Connection], message: str | bytes) -> None:
    """Send the message to all of them, without waiting for any; one that is too far behind is cut.

    A message that could not be sent is never dropped silently: the connection ends, and the client knows.
    """
    for connection in tuple(connections):
        connection.push(message)
