"""Messages from a client: frames put together, held against RFC 6455 and the limits, until the handler takes them.

picows' core hands over frames one by one (opcode, length, mask and close frame are checked then); what concerns more
than one frame of a message is in assembler.py.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from picows import WSCloseCode, WSFrame, WSListener, WSProtocolError, WSTransport
from picows.websockets import ConcurrencyError, ConnectionClosed, ConnectionClosedOK

from wss.config.settings import Settings
from wss.observability.metrics import SAMPLED_ONE_IN, Metrics, Traffic
from wss.protocol.assembler import Assembler, Fragment
from wss.protocol.deflate import Deflate
from wss.protocol.frames import BINARY, TEXT

# Messages, or fragments of one, that may wait for the handler; then nothing more is read from the client.
HIGH_WATER = 16
# With so few, reading goes on.
LOW_WATER = 4
# Bytes of a message that is enough by itself, and has to be taken before anything else is read.
LARGE = 64 * 1024

_MESSAGE = (TEXT, BINARY)


class Receiving(WSListener):
    """The half of a connection that receives."""

    ws_transport: WSTransport
    closed: ConnectionClosed | None
    """How it ended, if it has."""

    def __init__(self, settings: Settings, metrics: Metrics, deflate: Deflate | None, phase: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.traffic = Traffic()
        self.closed = None
        self._metrics = metrics
        self._deflate = deflate
        self._assembler = Assembler(settings.max_message, settings.max_fragments, deflate)
        self._queue: deque[str | bytes | Fragment] = deque()
        self._get_waiter: asyncio.Future[None] | None = None  # what a handler waits for that wants a message
        self._reading = True
        self._looking = False  # whether to go on reading: at the next turn of the loop
        self._large = False  # whether one that waits is
        self._closing = False  # we have said so: messages count no more
        self._over = False  # nothing that the client sends counts any more
        self._fast_path = self._assembler.expects_whole  # whether a frame can be a message as it is
        self.pings = self.heard = 0  # of ours: how many were sent, and when something last came
        # One in so many messages is timed, from its arrival until the handler has done with it.
        self._next_timed = phase
        self._timed_since = 0.0

    def on_ws_frame(self, _: WSTransport, frame: WSFrame) -> None:
        """Take in a frame; one that the client must not send ends the connection, once what came before is handled."""
        self.heard = self.pings
        kind: int = frame.msg_type  # type: ignore[assignment]  # an int, whatever the stub says
        message: str | bytes | Fragment
        try:
            if self._fast_path and kind in _MESSAGE and frame.fin and not (frame.rsv1 or frame.rsv2 or frame.rsv3):
                message = frame.get_payload_as_utf8_text() if kind == TEXT else frame.get_payload_as_bytes()
            elif self._over:
                return  # what was read together with the frame that ended it
            elif kind > BINARY:
                self.take_control(kind, frame)
                return
            elif self._closing:
                return
            else:
                message = self._assembler.add(kind, frame)  # type: ignore[arg-type]  # read-only there
                self._fast_path = self._assembler.expects_whole
        except UnicodeDecodeError:
            self._refuse(WSCloseCode.INVALID_TEXT, "this is no UTF-8")
            return
        except WSProtocolError as error:
            self._refuse(error.code, error.args[1])
            return
        traffic = self.traffic
        traffic.bytes_in += frame.payload_size
        if frame.fin:
            traffic.messages_in += 1
            if traffic.messages_in == self._next_timed:
                self._timed_since = time.monotonic()
        waiting = self._queue
        waiting.append(message)
        if self._get_waiter is not None:
            if not self._get_waiter.done():
                self._get_waiter.set_result(None)
            self._get_waiter = None
        elif len(waiting) >= HIGH_WATER or max(frame.payload_size, self._assembler.inflated) >= LARGE:
            self._large = self._large or max(frame.payload_size, self._assembler.inflated) >= LARGE
            if self._reading and not self._looking:
                # A handler that keeps up takes them all in this turn of the loop, or in the next.
                self._looking = True
                self._loop.call_soon(self._stop_reading)

    def take_control(self, kind: int, frame: WSFrame) -> None:
        """Take in a close, a ping or a pong; raises WSProtocolError where the client must not send it."""
        raise NotImplementedError

    def fail(self, code: WSCloseCode, reason: str, *, is_read: bool = True) -> None:
        """Send a close frame and hang up, without waiting for the client's; nothing where it has ended already.

        What was sent before goes out first, unless nobody reads it.
        """
        raise NotImplementedError

    def stop_listening(self) -> None:
        """Ignore from now on what the client sends."""
        self._over = True
        self._fast_path = False

    def await_close(self) -> None:
        """Read on, however much waits for the handler, to see the client's close frame; messages before it are late."""
        self._closing = True
        self._fast_path = False
        if not self._reading:
            self._reading = True
            self.ws_transport.underlying_transport.resume_reading()

    def _refuse(self, code: WSCloseCode, what: str) -> None:
        self.stop_listening()
        # Not at once: the handler is about to answer the messages before it.
        self._loop.call_soon(self.fail, code, what)

    def _stop_reading(self) -> None:
        self._looking = False
        if self.closed is not None or self._closing:
            return
        if len(self._queue) >= HIGH_WATER or (self._large and self._queue):
            self._reading = False
            self.ws_transport.underlying_transport.pause_reading()
        else:
            self._large = False

    def _go_on_reading(self) -> None:
        if len(self._queue) <= (0 if self._large else LOW_WATER) and self.closed is None:
            self._reading = True
            self._large = False
            self.ws_transport.underlying_transport.resume_reading()

    def recv(self, decode: bool | None = None) -> Coroutine[Any, Any, str | bytes]:
        """Return the next message; `decode`: as text or as bytes, whatever it was sent as.

        Raises ConnectionClosed when there will be none any more.
        """
        return self._next(decode)

    def __aiter__(self) -> "Receiving":
        return self

    def __anext__(self) -> Coroutine[Any, Any, str | bytes]:
        return self._next(None, iterating=True)

    # One coroutine and no more for each message: coroutines are most of what a message costs.
    async def _next(self, decode: bool | None, iterating: bool = False) -> str | bytes:
        waiting = self._queue
        if self._timed_since and self.traffic.messages_in - len(waiting) >= self._next_timed:
            self._stop_timing()
        while not waiting:
            if self._get_waiter is not None and not self._get_waiter.done():
                raise ConcurrencyError("another task waits for a message already")
            if self.closed:
                raise StopAsyncIteration if iterating and isinstance(self.closed, ConnectionClosedOK) else self.closed
            self._get_waiter = self._loop.create_future()
            await self._get_waiter
        message = waiting.popleft()
        if not self._reading:
            self._go_on_reading()
        if isinstance(message, Fragment):
            message = await self._rest_of(message)
        return message if decode is None else await self._decoded(message, decode)

    async def _next_fragment(self) -> Fragment:
        while not self._queue:
            if self.closed:
                raise self.closed
            self._get_waiter = self._loop.create_future()
            await self._get_waiter
        fragment = self._queue.popleft()
        if not self._reading:
            self._go_on_reading()
        return fragment if isinstance(fragment, Fragment) else Fragment(fragment, True)

    def _stop_timing(self) -> None:
        # Whoever asks for the next message has done with the one before. Fragments count as messages: it is a sample.
        self._metrics.handled(time.monotonic() - self._timed_since)
        self._timed_since = 0.0
        self._next_timed = self.traffic.messages_in + SAMPLED_ONE_IN

    async def _rest_of(self, first: Fragment) -> str | bytes:
        fragments = [first]
        try:
            while not fragments[-1].fin:
                fragments.append(await self._next_fragment())
        except asyncio.CancelledError:
            self._queue.extendleft(reversed(fragments))
            raise
        empty: Any = "" if isinstance(first.data, str) else b""
        whole: str | bytes = empty.join(fragment.data for fragment in fragments)
        return whole

    async def _decoded(self, message: str | bytes, decode: bool) -> str | bytes:
        if isinstance(message, str):
            return message if decode else message.encode()
        if not decode:
            return message
        try:
            return message.decode()
        except UnicodeDecodeError as error:
            self.fail(WSCloseCode.INVALID_TEXT, "this is no UTF-8")
            await self.wait_closed()
            assert self.closed
            raise self.closed from error

    async def recv_streaming(self, decode: bool | None = None) -> AsyncIterator[str | bytes]:
        """Yield the next message in the fragments in which it comes; it has to be read to its end."""
        fin = False
        while not fin:
            data, fin = await self._next_fragment()
            yield data if decode is None else await self._decoded(data, decode)

    async def wait_closed(self) -> None:
        """Wait until the connection has ended."""
        await self.ws_transport.wait_disconnected()

    def end_receiving(self, closed: ConnectionClosed) -> None:
        """Wake the handler: nothing will come any more."""
        self.closed = closed
        if self._get_waiter is not None and not self._get_waiter.done():
            self._get_waiter.set_result(None)
