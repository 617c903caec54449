"""What RFC 6455 asks for and picows does not do, and what keeps a client from taking too much."""

import asyncio
import logging
import time
from typing import Any

from picows import WSCloseCode, WSFrame, WSMsgType, WSProtocolError, WSTransport
from picows.websockets import ServerConnection, State

from wss.settings import Settings

log = logging.getLogger("wss.connection")

# Seconds that a client has to answer our close frame; then its connection is cut.
CLOSE_TIMEOUT = 5.0
# Messages that may wait for the handler; then nothing more is read from the client.
MOST_WAITING = 16

_CLOSE, _PING, _PONG = 0x8, 0x9, 0xA
_CONTROL = 0x8  # the bit that tells control frames (RFC 6455 section 5.5)
_KEEPALIVE = b"wss"  # what our pings carry, and the pongs to them


class StrictConnection(ServerConnection):
    """picows' connection, with the limits of the settings; `options` are those of its constructor."""

    ws_transport: WSTransport

    def __init__(self, *arguments: Any, settings: Settings, client: str, **options: Any) -> None:
        super().__init__(
            *arguments,
            ping_interval=None,  # Keepalive does it for all
            ping_timeout=None,
            close_timeout=CLOSE_TIMEOUT,
            max_queue=MOST_WAITING,
            write_limit=settings.write_limit,
            max_message_size=settings.max_message,
            max_frame_size=settings.max_message,
            **options,
        )
        self.client = client
        self._most_fragments = settings.max_fragments
        self._fragments = 0
        self._patience = settings.slow_reader_timeout
        self._deadline: asyncio.TimerHandle | None = None
        self._owed_pong: bytes | None = None
        self.pings = self.heard = 0  # of ours: how many were sent, and when something last came
        self._pinged = self._round_trip = 0.0
        self._closing = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.ws_transport = transport
        super().on_ws_connected(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._deadline:
            self._deadline.cancel()
        super().on_ws_disconnected(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.heard = self.pings
        if self._closing:
            return  # what was read together with the frame that ended it
        kind: int = frame.msg_type  # type: ignore[assignment]  # an int, whatever the stub says
        # RFC 6455 section 5.2: no extension of ours gives them a meaning, but RSV1 on a compressed message.
        if frame.rsv2 or frame.rsv3 or (frame.rsv1 and kind & _CONTROL):
            raise self._violation(WSCloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        if kind == _PING:
            self._answer_ping(transport, frame)
        elif kind == _PONG and frame.get_payload_as_bytes() == _KEEPALIVE:
            self._round_trip = time.monotonic() - self._pinged
        elif kind == _CLOSE:
            self._answer_close(transport, frame)
        else:
            if not kind & _CONTROL:
                self.on_message_frame(frame)
            super().on_ws_frame(transport, frame)

    def on_message_frame(self, frame: WSFrame) -> None:
        """Look at a frame of a message before anybody else."""
        if frame.fin:
            self._fragments = 0
            return
        # Empty ones too: their number alone can fill the memory.
        self._fragments += 1
        if self._fragments > self._most_fragments:
            raise self._violation(WSCloseCode.MESSAGE_TOO_BIG, f"more than {self._most_fragments} fragments")

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
            raise self._violation(WSCloseCode.PROTOCOL_ERROR, "no such close code")
        self._closing = True
        transport.disconnect()

    def _violation(self, code: WSCloseCode, what: str) -> WSProtocolError:
        self._closing = True
        return WSProtocolError(code, what)

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

    @property
    def is_open(self) -> bool:
        return self.state is State.OPEN

    @property
    def latency(self) -> float:
        """Seconds that the last ping of ours took there and back; 0 until one did."""
        return self._round_trip

    @property
    def unread(self) -> int:
        """Bytes that wait for the client to read them."""
        return int(self.ws_transport.underlying_transport.get_write_buffer_size())

    @property
    def is_read(self) -> bool:
        """Whether what the client sends is read now, and not left until the handler has caught up."""
        return bool(self.ws_transport.underlying_transport.is_reading())

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


def _may_be_sent(code: int) -> bool:
    # RFC 6455 section 7.4.2 and the registry it founded; 1004, 1005, 1006 and 1015 are not for the wire.
    return 3000 <= code <= 4999 or code in (1000, 1001, 1002, 1003, *range(1007, 1015))
