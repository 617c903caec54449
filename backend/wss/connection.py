"""The open websocket: picows' ServerConnection, made strict where RFC 6455 is, and bounded where a client is not."""

import asyncio
import logging
import time
import uuid
from collections.abc import Coroutine, Iterable
from typing import Any

from picows import WSCloseCode, WSFrame, WSMsgType, WSProtocolError, WSTransport
from picows.websockets import Request, Response, Server, ServerConnection
from picows.websockets import broadcast as _broadcast
from picows.websockets.asyncio.negotiation import configure_permessage_deflate

from wss.address import believed_address, readable
from wss.settings import Settings

log = logging.getLogger("wss.connection")

# Bytes that may wait for a client to read them before its handler has to wait too.
WRITE_LIMIT = 65536
# Bytes that a broadcast, which waits for nobody, may pile up for one client before it is cut.
MOST_UNREAD = 4 * 1024 * 1024
# Seconds that a client has to answer our close frame; then its connection is cut.
CLOSE_TIMEOUT = 5.0

_CLOSE, _PING = 0x8, 0x9
_CONTROL = 0x8  # the bit that tells control frames (RFC 6455 section 5.5)


class Connection(ServerConnection):
    """A client's websocket, with the API of websockets.asyncio.server.ServerConnection."""

    settings: Settings
    ws_transport: WSTransport

    def __init__(self, server: Server, settings: Settings, request: Request, response: Response) -> None:
        super().__init__(
            server,
            request=request,
            response=response,
            subprotocol=response.headers.get("Sec-WebSocket-Protocol"),
            permessage_deflate=configure_permessage_deflate(response, "deflate"),
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            close_timeout=CLOSE_TIMEOUT,
            max_queue=16,
            write_limit=WRITE_LIMIT,
            max_message_size=settings.max_message,
            max_frame_size=settings.max_message,
            logger=server.logger,
        )
        self.settings = settings
        # From the proxy, so that its line and ours are found together; or our own.
        self.request_id = request.headers.get("X-Request-ID") or uuid.uuid4().hex
        self._opened = time.monotonic()
        self._messages_in = self._bytes_in = self._messages_out = self._bytes_out = 0
        self._most_fragments = settings.max_fragments
        self._fragments = 0
        self._patience = settings.slow_reader_timeout
        self._deadline: asyncio.TimerHandle | None = None
        self._owed_pong: bytes | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.ws_transport = transport
        super().on_ws_connected(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind: int = frame.msg_type  # type: ignore[assignment]  # an int, whatever the stub says
        # RFC 6455 section 5.2: no extension of ours gives them a meaning, but RSV1 on a compressed message.
        if frame.rsv2 or frame.rsv3 or (frame.rsv1 and kind & _CONTROL):
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        if kind == _PING:
            self._answer_ping(transport, frame)
        elif kind == _CLOSE:
            self._answer_close(transport, frame)
        else:
            self._bytes_in += frame.payload_size
            if frame.fin:
                self._messages_in += 1
                self._fragments = 0
            else:
                self._count_fragment()
            super().on_ws_frame(transport, frame)

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
        log.info(
            "closed",
            extra={
                "id": self.request_id,
                "client": client_address(self),
                "path": self.request.path.partition("?")[0],
                "seconds": round(time.monotonic() - self._opened, 3),
                "messages_in": self._messages_in,
                "bytes_in": self._bytes_in,
                "messages_out": self._messages_out,
                "bytes_out": self._bytes_out,
                "code": code,
                "closed_by": closed_by,
            },
        )

    def send(self, message: Any, text: bool | None = None) -> Coroutine[Any, Any, None]:
        # Not a coroutine of its own: counting must not cost one.
        self._messages_out += 1
        self._bytes_out += len(message) if isinstance(message, (bytes, str)) else 0
        return super().send(message, text)

    def cut(self, why: str) -> None:
        """Drop the connection without a close frame, which the client would not read."""
        log.warning("%s %s: its connection is cut", client_address(self), why)
        self.ws_transport.disconnect(graceful=False)

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


def _may_be_sent(code: int) -> bool:
    # RFC 6455 section 7.4.2 and the registry it founded; 1004, 1005, 1006 and 1015 are not for the wire.
    return 3000 <= code <= 4999 or code in (1000, 1001, 1002, 1003, *range(1007, 1015))


def peer_address(connection: Connection) -> str:
    """Return the address of whoever opened the TCP connection: the client, or the proxy before us."""
    return readable(connection.remote_address[0])


def client_address(connection: Connection) -> str:
    """Return the client's address: what X-Real-IP says where the peer is one of TRUSTED_PROXIES, else the peer's."""
    headers, trusted = connection.request.headers, connection.settings.trusted_proxies
    return believed_address(peer_address(connection), headers, trusted)


def broadcast(connections: Iterable[Connection], message: str | bytes) -> None:
    """Send the message to all of them, without waiting for any; one that is too far behind is cut.

    A message that could not be sent is never dropped silently: the connection ends, and the client knows.
    """
    connections = list(connections)
    for connection in connections:
        if connection.unread > MOST_UNREAD:
            connection.cut(f"has {MOST_UNREAD} bytes unread")
    _broadcast(connections, message)
