"""The open websocket as handlers know it; it counts what goes through, and tells how it went."""

import asyncio
import logging
import random
import time
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Coroutine, Iterable, Mapping
from typing import Any

from picows import WSFrame, WSMsgType, WSTransport
from picows.websockets import Request, Response, Server

from wss.address import AddressLimits, readable
from wss.client_certificate import ClientCertificate
from wss.deflate import Deflate
from wss.metrics import SAMPLED_ONE_IN, Metrics, Traffic
from wss.settings import Settings
from wss.strict import CLOSE_TIMEOUT, StrictConnection

log = logging.getLogger("wss.connection")

# A broadcast waits for nobody: so many times WRITE_LIMIT may pile up for one client before it is cut.
MOST_WRITE_LIMITS = 64


class Connection(StrictConnection):
    """A client's websocket, with the API of websockets.asyncio.server.ServerConnection."""

    def __init__(
        self,
        server: Server,
        settings: Settings,
        metrics: Metrics,
        address_limits: AddressLimits,
        request: Request,
        response: Response,
        *,
        client: str,
        certificate: ClientCertificate | None,
        accepted: float,
    ) -> None:
        compression = response.headers.get("Sec-WebSocket-Extensions")
        self._deflate = Deflate(compression, settings.max_message) if compression else None
        super().__init__(
            server,
            request=request,
            response=response,
            subprotocol=response.headers.get("Sec-WebSocket-Protocol"),
            permessage_deflate=self._deflate,
            logger=server.logger,
            settings=settings,
            client=client,
        )
        self.certificate = certificate
        self._metrics = metrics
        self._address_limits = address_limits
        # From the proxy, so that its line and ours are found together; or our own.
        self.request_id = request.headers.get("X-Request-ID") or uuid.uuid4().hex
        self.opened = accepted  # as time.monotonic() tells it; until it is open, when it was accepted
        self.traffic = Traffic()
        self._most_unread = MOST_WRITE_LIMITS * settings.write_limit
        self._reads = 0
        self._until_timed = random.randint(1, SAMPLED_ONE_IN)  # noqa: S311  # a sample, not a secret
        self._timed: tuple[int, float] | None = None  # number and arrival of the message that is timed
        self._fragmented_sends = 0
        self._held: list[str | bytes] = []  # until these are through

    def on_ws_connected(self, transport: WSTransport) -> None:
        accepted, self.opened = self.opened, time.monotonic()
        self._address_limits.enter(self.client)
        self._metrics.opened(self.opened - accepted, self.traffic)
        super().on_ws_connected(transport)

    def on_message_frame(self, frame: WSFrame) -> None:
        super().on_message_frame(frame)
        traffic = self.traffic
        traffic.bytes_in += frame.payload_size
        if frame.fin:
            traffic.messages_in += 1
            self._until_timed -= 1
            if not self._until_timed:
                self._until_timed = SAMPLED_ONE_IN
                self._timed = self._timed or (traffic.messages_in, time.monotonic())

    def recv(self, decode: bool | None = None) -> Coroutine[Any, Any, Any]:
        # Whoever asks for the next message has done with the one before. Not a coroutine of its own: it would cost one.
        if self._timed and self._reads >= self._timed[0]:
            self._metrics.handled(time.monotonic() - self._timed[1])
            self._timed = None
        self._reads += 1
        return super().recv(decode)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        super().on_ws_disconnected(transport)
        code, closed_by = _ending(transport.close_handshake)
        self._address_limits.leave(self.client)
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

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame and wait for the client's; cut the connection where none comes in time."""
        if self._fragmented_sends:
            await super().close(code, reason)  # nothing can be said any more: with 1011
            return
        # Not picows': it takes whole messages that wait for a slow client for fragments, too, and drops them.
        self.ws_transport.send_close(code, reason)  # type: ignore[arg-type]  # any number will do
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.wait_closed()
        except TimeoutError:
            self.ws_transport.disconnect(graceful=False)
            await self.wait_closed()

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
        if self.unread + sum(map(len, self._held)) > self._most_unread:
            self.cut(f"has {self._most_unread} bytes unread")
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
    def path(self) -> str:
        """The path of the request, without its query."""
        return self.request.path.partition("?")[0]


def _ending(closing: Any) -> tuple[int, str]:
    """Return the close code, and who said it first, of picows' close_handshake."""
    if closing is None:
        return 1006, "nobody"  # RFC 6455 section 7.4.1: cut without a close frame
    first, who = (closing.recv, "client") if closing.recv_then_sent else (closing.sent, "server")
    # 1005: a close frame without a code.
    return (int(first.code) if first else 0) or 1005, who


def _size(message: Any) -> int:
    return len(message) if not isinstance(message, str) or message.isascii() else len(message.encode())


def peer_address(connection: Connection) -> str:
    """Return the address of whoever opened the TCP connection: the client, or the proxy before us."""
    return readable(connection.remote_address[0])


def client_certificate(connection: Connection) -> ClientCertificate | None:
    """Return subject and serial number of the client's certificate; None where CLIENT_CA asks for none."""
    return connection.certificate


def client_address(connection: Connection) -> str:
    """Return the client's address: what X-Real-IP says where the peer is one of TRUSTED_PROXIES, else the peer's."""
    return connection.client


def broadcast(connections: Iterable[Connection], message: str | bytes) -> None:
    """Send the message to all of them, without waiting for any; one that is too far behind is cut.

    A message that could not be sent is never dropped silently: the connection ends, and the client knows.
    """
    for connection in tuple(connections):
        connection.push(message)
