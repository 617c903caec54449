"""The open websocket as handlers know it: both halves, and what ends it; it counts what goes through.

The API is that of websockets.asyncio.server.ServerConnection. picows has one, too, but compiled: what is stricter here
had to be wrapped around it, frame by frame, and cost more than doing the whole in Python, on picows' core.
"""

import asyncio
import logging
import os
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from picows import WSCloseCode, WSFrame, WSMsgType, WSProtocolError, WSTransport
from picows.websockets import ConcurrencyError, ConnectionClosedError, ConnectionClosedOK, Request, Response, State

from wss.config.settings import Settings
from wss.connection.sending import FlushScheduler, Sending
from wss.handshake.client_certificate import ClientCertificate
from wss.handshake.rate_limits import AddressLimits
from wss.observability.metrics import SAMPLED_ONE_IN, Metrics
from wss.protocol.close import (
    ABNORMAL_CLOSURE,
    NO_STATUS_RCVD,
    PING,
    PONG,
    close_code_and_initiator,
    may_be_sent,
    payload_of,
)
from wss.protocol.deflate import Deflate
from wss.protocol.frames import PreparedMessage

log = logging.getLogger("wss.connection")

# Seconds that a client has to answer our close frame; then its connection is cut.
CLOSE_TIMEOUT = 5.0

_KEEPALIVE = b"wss"  # what our pings carry, and the pongs to them


class Connection(Sending):
    """A client's websocket."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        address_limits: AddressLimits,
        scheduler: FlushScheduler,
        request: Request,
        response: Response,
        *,
        client: str,
        certificate: ClientCertificate | None,
        accepted: float,
        opened: Callable[["Connection"], None],
        ended: Callable[["Connection"], None],
    ) -> None:
        compression = response.headers.get("Sec-WebSocket-Extensions")
        loop = asyncio.get_running_loop()
        deflate = Deflate(compression, settings.max_message, loop.call_soon) if compression else None
        phase = random.randint(1, SAMPLED_ONE_IN)  # noqa: S311  # a sample, not a secret
        super().__init__(settings, scheduler, client, metrics, deflate, phase)
        self.request = request
        self.response = response
        self.certificate = certificate
        self._address_limits = address_limits
        # From the proxy, so that its line and ours are found together; or our own.
        self.request_id = request.headers.get("X-Request-ID") or uuid.uuid4().hex
        self.opened = accepted  # as time.monotonic() tells it; until it is open, when it was accepted
        self._tell_opened = opened
        self._tell_ended = ended
        self._pinged = 0.0
        self.latency = 0.0
        """Seconds that the last ping took there and back; 0 until one did."""
        self._pings_of_handlers: dict[bytes, tuple[asyncio.Future[float], float]] = {}
        self._owed_pong: bytes | None = None

    # What picows tells: https://picows.readthedocs.io/en/stable/reference.html#picows.WSListener

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.ws_transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=self._write_limit)
        accepted, self.opened = self.opened, time.monotonic()
        self._address_limits.enter(self.client)
        self._metrics.opened(self.opened - accepted, self.traffic)
        self._tell_opened(self)

    def take_control(self, kind: int, frame: WSFrame) -> None:
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        if kind == PING:
            self._answer_ping(frame.get_payload_as_bytes())
        elif kind == PONG:
            self._take_pong(frame.get_payload_as_bytes())
        else:
            self._answer_close(frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        closing: Any = transport.close_handshake
        sent, received = (closing.sent, closing.recv) if closing else (None, None)
        codes = {info.code for info in (sent, received) if info}
        kind = ConnectionClosedOK if closing and codes <= {0, 1000, 1001} else ConnectionClosedError
        closed = kind(received, sent, closing.recv_then_sent if closing else None)
        super().resume_writing()
        self.end_receiving(closed)
        for waiting, _ in self._pings_of_handlers.values():
            if not waiting.done():
                waiting.set_exception(closed)
                waiting.exception()  # nobody need wait for it
        self._address_limits.leave(self.client)
        self._tell_ended(self)
        code, closed_by = close_code_and_initiator(closing)
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

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._owed_pong is not None:
            self.ws_transport.send_pong(self._owed_pong)
            self._owed_pong = None

    # Pings: of the client, of the server (see keepalive), of a handler.

    def _answer_ping(self, payload: bytes) -> None:
        # RFC 6455 section 5.5.3: of several pings, only the last one needs an answer. A client that pings and does not
        # read would otherwise fill our memory with pongs.
        if self._read_on:
            self._owed_pong = payload
        else:
            self.flush()
            self.ws_transport.send_pong(payload)

    def _take_pong(self, payload: bytes) -> None:
        if payload == _KEEPALIVE:
            pinged = self._pinged
        elif payload in self._pings_of_handlers:
            _, pinged = self._pings_of_handlers[payload]
        else:
            return  # a sign of life that nobody asked for
        now = time.monotonic()
        self.latency = now - pinged
        # RFC 6455 section 5.5.3: of several pings, only the last one needs an answer.
        for earlier, (waiting, since) in tuple(self._pings_of_handlers.items()):
            if since <= pinged:
                del self._pings_of_handlers[earlier]
                if not waiting.done():
                    waiting.set_result(now - since)

    def send_keepalive(self) -> None:
        self._pinged = time.monotonic()
        self.flush()
        self.ws_transport.send_ping(_KEEPALIVE)

    def give_up(self) -> None:
        """End a connection whose client does not answer: with a close frame, in case that it is only deaf."""
        self.fail(WSCloseCode.INTERNAL_ERROR, "no answer to a ping", is_read=False)

    async def ping(self, data: str | bytes | None = None) -> Awaitable[float]:
        """Send a ping; what is returned can be awaited for the seconds until its pong.

        Raises ValueError for more than 125 bytes, ConcurrencyError for data that waits for its pong already.
        """
        payload = os.urandom(4) if data is None else payload_of(data)
        await self._until_read()
        if payload in self._pings_of_handlers or payload == _KEEPALIVE:
            raise ConcurrencyError("a ping with the same data is under way")
        waiting: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._pings_of_handlers[payload] = waiting, time.monotonic()
        self.flush()
        self.ws_transport.send_ping(payload)
        return waiting

    async def pong(self, data: str | bytes = b"") -> None:
        """Send a pong that nobody asked for, as a sign of life. Raises ValueError for more than 125 bytes."""
        payload = payload_of(data)
        await self._until_read()
        self.flush()
        self.ws_transport.send_pong(payload)

    # The end.

    def _answer_close(self, frame: WSFrame) -> None:
        self.flush()
        if not frame.payload_size:
            # An empty close is answered with an empty one: 1005 is never sent (RFC 6455 section 7.4.1).
            self.ws_transport.send(WSMsgType.CLOSE, b"")
        elif may_be_sent(int(frame.get_close_code())):  # type: ignore[call-overload]
            self.ws_transport.send_close(frame.get_close_code(), frame.get_close_message())
        else:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "no such close code")
        self.stop_listening()
        self.ws_transport.disconnect()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame and wait for the client's; cut the connection where none comes in time.

        Raises ValueError for a code that is not for the wire, and for a reason of more than 123 bytes.
        """
        if not may_be_sent(code):
            raise ValueError(f"{code} cannot be sent as a close code: take 1000, or one of 3000 to 4999")
        payload_of(f"..{reason}")  # the code has two bytes
        if self.closed:
            return
        self.flush()
        self.ws_transport.send_close(code, reason)  # type: ignore[arg-type]  # any number will do
        self.await_close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.wait_closed()
        except TimeoutError:
            self.ws_transport.disconnect(graceful=False)
            await self.wait_closed()

    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Facts.

    @property
    def state(self) -> State:
        if not hasattr(self, "ws_transport"):
            return State.CONNECTING
        if self.closed:
            return State.CLOSED
        return State.OPEN if self.is_open else State.CLOSING

    @property
    def is_read(self) -> bool:
        """Whether what the client sends is read now, and not left until the handler has caught up."""
        return bool(self.ws_transport.underlying_transport.is_reading())

    @property
    def id(self) -> str:
        """The name of this connection in the logs, ours and the proxy's."""
        return self.request_id

    @property
    def path(self) -> str:
        """The path of the request, without its query."""
        return self.request.path.partition("?")[0]

    @property
    def subprotocol(self) -> str | None:
        return self.response.headers.get("Sec-WebSocket-Protocol")

    @property
    def local_address(self) -> Any:
        return self.ws_transport.underlying_transport.get_extra_info("sockname")

    @property
    def remote_address(self) -> Any:
        return self.ws_transport.underlying_transport.get_extra_info("peername")

    @property
    def close_code(self) -> int | None:
        """The client's close code, or else ours; None while the connection is open."""
        closing: Any = self.ws_transport.close_handshake
        if closing is None:
            return ABNORMAL_CLOSURE if self.closed else None
        said = closing.recv or closing.sent
        return int(said.code) or NO_STATUS_RCVD

    @property
    def close_reason(self) -> str | None:
        """The reason that came with the close code; None while the connection is open."""
        closing: Any = self.ws_transport.close_handshake
        if closing is None:
            return "" if self.closed else None
        return (closing.recv or closing.sent).reason or ""


Handler = Callable[[Connection], Awaitable[None]]
"""What a user writes: ``async def handler(connection)``."""


def broadcast(connections: Iterable[Connection], message: str | bytes) -> None:
    """Send the message to all of them, without waiting for any; one that is too far behind is cut.

    A message that could not be sent is never dropped silently: the connection ends, and the client knows.
    """
    once = PreparedMessage(message)
    for connection in tuple(connections):
        connection.push(once)
