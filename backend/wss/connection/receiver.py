"""Messages from a client: a bounded queue between the frames that picows reads and the handler.

picows' core checks opcode, length, mask and close frame. What concerns several frames of a message is in assembler.py.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from enum import IntEnum
from typing import Any

from picows import WSFrame
from websockets.exceptions import ConcurrencyError, ConnectionClosedOK

from wss.observability.metrics import SAMPLED_ONE_IN, Traffic
from wss.protocol.assembler import Assembler, Fragment
from wss.protocol.close import Ending
from wss.protocol.frames import BINARY, TEXT

# Bytes in the queue at which reading pauses. A small message costs more than its bytes: it counts as MIN_SIZE.
HIGH_WATER = 64 * 1024
MIN_SIZE = 64
# The queue is not measured before it has so many messages, or a message of HIGH_WATER.
_FEW = 16

_MESSAGE = (TEXT, BINARY)
# In place of a queue while the handler waits: an empty deque takes 760 bytes, for each of many idle clients.
_NO_QUEUE: deque[Any] = deque(maxlen=0)


class State(IntEnum):
    """What the next frame can be."""

    WHOLE = 0
    """A whole message, which needs no assembler: the fast path."""
    ASSEMBLING = 1
    """A fragment, or a compressed message."""
    DISCARDING = 2
    """We have sent a close frame: control frames count, data frames do not."""
    FINISHED = 3
    """No frame counts."""


class Flow(IntEnum):
    """Whether the client's bytes are read."""

    READING = 0
    CHECKING = 1
    """They are; the queue is checked at the next turn of the loop. A handler that keeps up has emptied it by then."""
    PAUSED = 2
    """The queue is full: they are not, until the handler has taken three quarters of its messages."""
    PROBING = 3
    """The queue is full: they are, until a pong comes, but only so many."""


_WHOLE, _ASSEMBLING, _DISCARDING, _FINISHED = State
_READING, _CHECKING, _PAUSED, _PROBING = Flow


class Receiver:
    """The receiving half of a connection.

    `observe` receives the seconds from a message's arrival until its handler asks for the next, for one message in
    SAMPLED_ONE_IN; `phase` is the number of the first one. `probe_size` is in bytes; see `probe`.
    """

    __slots__ = (
        "_assembler",
        "_ending",
        "_flow",
        "_get_waiter",
        "_in_progress",
        "_loop",
        "_next_timed",
        "_observe",
        "_probe_budget",
        "_probe_size",
        "_resume_at",
        "_state",
        "_timed_since",
        "_traffic",
        "_transport",
        "probe_ping",
        "queue",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        assembler: Assembler,
        traffic: Traffic,
        observe: Callable[[float], None],
        phase: int,
        *,
        probe_size: int,
    ) -> None:
        self._loop = loop
        self._assembler = assembler
        self._traffic = traffic
        self._observe = observe
        self._next_timed = phase
        self._timed_since = 0.0
        self._state = _WHOLE if assembler.expects_whole else _ASSEMBLING
        self._flow = _READING
        self._resume_at = 0
        self._probe_size = probe_size
        self._probe_budget = 0
        self.probe_ping: int | None = None
        """The keepalive that began a probe; None after a pong, or after the handler has taken a message."""
        self._in_progress = False  # a message is being received: no other coroutine may take one
        self._ending: Ending | None = None
        self._get_waiter: asyncio.Future[None] | None = None  # of a handler that waits for a message
        self.queue: deque[str | bytes | Fragment] = _NO_QUEUE
        """Messages, and fragments of one, that the handler has not taken."""

    def start(self, transport: Any) -> None:
        """Control the reading of an asyncio transport."""
        self._transport = transport

    def add(self, opcode: int, frame: WSFrame) -> None:
        """Take in a data frame.

        Raises WSProtocolError if the client must not send it, and UnicodeDecodeError if a text is not valid UTF-8.
        """
        message: str | bytes | Fragment
        state = self._state
        if state is _WHOLE and opcode in _MESSAGE and frame.fin and not (frame.rsv1 or frame.rsv2 or frame.rsv3):
            message = frame.get_payload_as_utf8_text() if opcode == TEXT else frame.get_payload_as_bytes()
        elif state >= _DISCARDING:
            return
        else:
            message = self._assembler.add(opcode, frame)  # type: ignore[arg-type]  # read-only there
            self._state = _WHOLE if self._assembler.expects_whole else _ASSEMBLING
        traffic = self._traffic
        traffic.bytes_in += frame.payload_size
        if frame.fin:
            traffic.messages_in += 1
            if traffic.messages_in == self._next_timed:
                self._timed_since = time.monotonic()
        if self.queue is _NO_QUEUE:
            self.queue = deque()
        self.queue.append(message)
        if self._get_waiter is not None:
            if not self._get_waiter.done():
                self._get_waiter.set_result(None)
            self._get_waiter = None
        elif self._flow is _READING:
            if len(self.queue) >= _FEW or frame.payload_size >= HIGH_WATER or self._assembler.inflated >= HIGH_WATER:
                self._flow = _CHECKING
                self._loop.call_soon(self._check)
        elif self._flow is _PROBING:
            self._probe_budget -= _size(message)
            if self._probe_budget <= 0:
                self._pause()

    def _check(self) -> None:
        """Pause reading if the handler does not keep up."""
        if self._flow is _CHECKING:
            self._flow = _READING
            if self._ending is None and self._state < _DISCARDING and sum(map(_size, self.queue)) >= HIGH_WATER:
                self._resume_at = len(self.queue) // 4
                self._pause()

    def add_control(self, size: int) -> None:
        """Take notice of a control frame with so many bytes."""

    def _pause(self) -> None:
        self._flow = _PAUSED
        self._stop_reading()

    def _resume(self, flow: Flow = _READING) -> None:
        if self._flow is _PAUSED and self._ending is None:
            self._start_reading()
        self._flow = flow

    def _stop_reading(self) -> None:
        self._transport.pause_reading()

    def _start_reading(self) -> None:
        self._transport.resume_reading()

    def _take_from_full_queue(self) -> None:
        self.probe_ping = None
        if len(self.queue) <= self._resume_at:
            self._resume()

    def probe(self, ping: int) -> None:
        """If the queue is full, read on within `probe_size`: the pong to this keepalive, or the end, may be behind."""
        if self._flow >= _PAUSED:
            self.probe_ping = self.probe_ping or ping
            self._probe_budget = HIGH_WATER + self._probe_size - sum(map(_size, self.queue))
            if self._probe_budget > 0:
                self._resume(_PROBING)

    def end_probe(self) -> None:
        """Note that a pong has come."""
        self.probe_ping = None
        if self._flow is _PROBING:
            self._pause()

    @property
    def is_paused(self) -> bool:
        """Whether frames of the client may be there that were not read, because the queue is full."""
        return self._flow >= _PAUSED

    @property
    def is_discarding(self) -> bool:
        return self._state is _DISCARDING

    @property
    def is_finished(self) -> bool:
        return self._state is _FINISHED

    def finish(self) -> None:
        """Ignore all frames from now on: the client's close frame, or a violation of the protocol, was the last."""
        self._state = _FINISHED

    def discard(self) -> None:
        """Discard data frames from now on. Resume reading even if the queue is full, so that a close frame is seen."""
        if self._state is not _FINISHED:
            self._state = _DISCARDING
        self._resume()

    def end(self, ending: Ending) -> None:
        """Wake the handler: no more frames will come."""
        self._ending = ending
        if self._get_waiter is not None and not self._get_waiter.done():
            self._get_waiter.set_result(None)

    # One coroutine and no more for each message: coroutines are most of what a message costs.
    async def get(self, iterating: bool = False) -> str | bytes:
        """Return the next message; raise ConnectionClosed if none will come.

        `iterating`: raise StopAsyncIteration instead, if the connection has ended without an error.
        """
        if self._in_progress:
            raise ConcurrencyError("cannot call recv while another coroutine is already running recv or recv_streaming")
        queue = self.queue
        if self._timed_since and self._traffic.messages_in - len(queue) >= self._next_timed:
            self._stop_timing()
        if not queue:
            self._in_progress = True
            try:
                while not queue:
                    await self._wait(iterating)
                    queue = self.queue
            finally:
                self._in_progress = False
        message = queue.popleft()
        if self._flow >= _PAUSED:
            self._take_from_full_queue()
        return await self._rest_of(message) if isinstance(message, Fragment) else message

    def _wait(self, iterating: bool = False) -> asyncio.Future[None]:
        """Return what the next frame, or the end, resolves."""
        if self._ending:
            # Not kept in a local variable: the exception refers to this frame, and a cycle would keep the connection.
            raise _error_after(self._ending, iterating)
        self.queue = _NO_QUEUE
        self._get_waiter = self._loop.create_future()
        return self._get_waiter

    async def _next_fragment(self) -> Fragment:
        while not self.queue:
            await self._wait()
        fragment = self.queue.popleft()
        if self._flow >= _PAUSED:
            self._take_from_full_queue()
        return fragment if isinstance(fragment, Fragment) else Fragment(fragment, True)

    def _stop_timing(self) -> None:
        # A handler that asks for a message has handled the last one. Fragments count as messages: it is a sample.
        self._observe(time.monotonic() - self._timed_since)
        self._timed_since = 0.0
        self._next_timed = self._traffic.messages_in + SAMPLED_ONE_IN

    async def _rest_of(self, first: Fragment) -> str | bytes:
        fragments = [first]
        self._in_progress = True
        try:
            while not fragments[-1].fin:
                fragments.append(await self._next_fragment())
        except asyncio.CancelledError:
            self.queue = deque([*fragments, *self.queue])
            raise
        finally:
            self._in_progress = False
        empty: Any = "" if isinstance(first.data, str) else b""
        whole: str | bytes = empty.join(fragment.data for fragment in fragments)
        return whole

    async def stream(self) -> AsyncIterator[Fragment]:
        """Yield the fragments of the next message as they come. Raises ConnectionClosed if there are no more.

        A caller that stops before the last fragment leaves the rest of the message: nothing can be received after it.
        """
        if self._in_progress:
            raise ConcurrencyError(
                "cannot call recv_streaming while another coroutine is already running recv or recv_streaming"
            )
        self._in_progress = True
        try:
            fragment = await self._next_fragment()
        except BaseException:
            self._in_progress = False  # no fragment was lost
            raise
        yield fragment
        while not fragment.fin:
            fragment = await self._next_fragment()
            yield fragment
        self._in_progress = False


def _error_after(ending: Ending, iterating: bool) -> Exception:
    error = ending.exception()
    return StopAsyncIteration() if iterating and isinstance(error, ConnectionClosedOK) else error


def _size(message: str | bytes | Fragment) -> int:
    data = message.data if isinstance(message, Fragment) else message
    if isinstance(data, str) and not data.isascii():
        data = data.encode()
    return max(len(data), MIN_SIZE)
