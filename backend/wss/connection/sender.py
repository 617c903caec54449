"""Messages to a client: framed, written together if several come at once, held back while the client does not read."""

import asyncio
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Any

from picows import WSCloseCode, WSMsgType, WSTransport

from wss.observability.metrics import Traffic
from wss.protocol.close import Ending
from wss.protocol.deflate import Deflate
from wss.protocol.frames import (
    BINARY,
    COMPRESSED,
    CONTINUATION,
    FIN,
    HEADS,
    SMALL,
    TEXT,
    PreparedMessage,
    encoded,
    head,
)

log = logging.getLogger("wss.connection")

# A broadcast waits for no client: a client with so many times WRITE_LIMIT in its buffer is aborted.
MAX_WRITE_LIMITS = 64

# Write coalescing: flush at 16 KiB (one TLS record), or after 1 ms if a handler takes long for each message.
COALESCE_BYTES = 16 * 1024
COALESCE_DELAY = 0.001
# A larger payload is written beside its head, not copied behind it.
_LARGE = 64 * 1024


class FlushScheduler:
    """Flushes, at the next turn of the loop, all senders with something pending: one callback for all of them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._senders: list[Sender] = []

    def add(self, sender: "Sender") -> None:
        if not self._senders:
            self._loop.call_soon(self._flush_all)
        self._senders.append(sender)

    def _flush_all(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            sender.flush()


class Sender:
    """The sending half of a connection.

    `client` is its name in the log; `write_limit` is in bytes, `slow_reader_timeout` in seconds.
    """

    __slots__ = (
        "_client",
        "_deadline",
        "_deferred",
        "_deferred_size",
        "_deflate",
        "_ending",
        "_flush_scheduler",
        "_fragments_done",
        "_pending",
        "_pending_since",
        "_pending_size",
        "_slow_reader_timeout",
        "_traffic",
        "_transport",
        "_writable",
        "_write_limit",
        "_ws_transport",
    )

    def __init__(
        self,
        flush_scheduler: FlushScheduler,
        deflate: Deflate | None,
        traffic: Traffic,
        *,
        client: str,
        write_limit: int,
        slow_reader_timeout: float,
    ) -> None:
        self._flush_scheduler = flush_scheduler
        self._deflate = deflate
        self._traffic = traffic
        self._client = client
        self._write_limit = write_limit
        self._slow_reader_timeout = slow_reader_timeout
        self._transport: asyncio.Transport
        self._ws_transport: WSTransport
        self._ending: Ending | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._pending_since = 0.0
        # What a send has to wait for, if anything: that the client reads; that all fragments of a message are sent.
        self._writable: asyncio.Event | None = None
        self._fragments_done: asyncio.Event | None = None
        self._deferred: list[PreparedMessage] | None = None  # by send_nowait, until then
        self._deferred_size = 0

    def start(self, transport: asyncio.Transport, ws_transport: WSTransport) -> None:
        self._transport = transport
        self._ws_transport = ws_transport
        transport.set_write_buffer_limits(high=self._write_limit)

    # Written out where each message passes, which saves a call.
    @property
    def is_open(self) -> bool:
        """Whether a message can be sent: no close frame was sent."""
        return self._ending is None and not self._ws_transport.is_close_frame_sent

    @property
    def is_paused(self) -> bool:
        """Whether the client does not read what it is sent."""
        return self._writable is not None

    @property
    def buffered(self) -> int:
        """Bytes that the client has not read, as far as the kernel has not taken them."""
        return int(self._transport.get_write_buffer_size()) + self._pending_size

    async def send(self, message: Any, text: bool | None, more: bool) -> None:
        """Send a message; see Connection.send. `more`: another will be sent soon, so that this one may wait for it."""
        if self._writable or self._fragments_done or self._ending or self._ws_transport.is_close_frame_sent:
            await self._until_no_fragments()
        if isinstance(message, str):
            self._write(BINARY if text is False else TEXT, message.encode(), more=more)
        elif isinstance(message, (bytes, bytearray, memoryview)):
            self._write(TEXT if text else BINARY, bytes(message), more=more)
        elif isinstance(message, (Iterable, AsyncIterable)) and not isinstance(message, Mapping):
            await self._send_fragments(message, text)
        else:
            raise TypeError(f"a message is text or bytes, or an iterable of them, not {type(message).__name__}")
        if self._writable:
            await self.until_writable()

    def send_nowait(self, message: PreparedMessage) -> None:
        """Send a message without waiting for the client to read; abort a client that has too much unread."""
        if self._ending or self._ws_transport.is_close_frame_sent:
            return
        # A client that reads has at most WRITE_LIMIT unread, and what is pending.
        if (self._writable or self._fragments_done) and self._has_too_much_unread():
            self.abort(f"has {MAX_WRITE_LIMITS * self._write_limit} bytes unread")
        elif self._fragments_done:
            self._deferred = self._deferred or []
            self._deferred.append(message)  # only control frames may come between fragments (RFC 6455 section 5.4)
            self._deferred_size += len(message.payload)
        elif self._deflate:
            self._write(message.kind, message.payload, more=True)
        else:
            self._traffic.messages_out += 1
            self._traffic.bytes_out += len(message.payload)
            self._write_later(message.frame)

    def _has_too_much_unread(self) -> bool:
        return self.buffered + self._deferred_size > MAX_WRITE_LIMITS * self._write_limit

    def _write(self, kind: int, payload: bytes, *, fin: bool = True, more: bool = False) -> None:
        """Write a frame; `more`: together with the next one, which is about to come."""
        traffic = self._traffic
        traffic.bytes_out += len(payload)
        if kind:
            traffic.messages_out += 1
        first = kind | FIN if fin else kind
        if self._deflate:
            payload = self._deflate.encode_frame(payload, fin=fin)
            first |= COMPRESSED if kind else 0
        size = len(payload)
        if size < SMALL and first in HEADS:
            frame = HEADS[first][size] + payload
        elif size <= _LARGE:
            frame = head(first, size) + payload
        else:
            self.flush()
            self._transport.writelines([head(first, size), payload])
            return
        # Each write to TLS is a record and a system call. uvloop's own transport joins the writes of a turn itself.
        if more or self._ws_transport.is_secure:
            self._write_later(frame)
        elif self._pending:
            self._pending.append(frame)
            self.flush()
        else:
            self._transport.write(frame)

    def _write_later(self, frame: bytes) -> None:
        """Write a frame at the end of the turn, or before if much is pending, or for long."""
        pending = self._pending
        if not pending:
            self._pending_since = time.monotonic()
            self._flush_scheduler.add(self)
        pending.append(frame)
        self._pending_size += len(frame)
        if self._pending_size > COALESCE_BYTES or (
            len(pending) > 1 and time.monotonic() > self._pending_since + COALESCE_DELAY
        ):
            self.flush()

    def flush(self) -> None:
        """Write what is pending: before any other frame, and at the end of the turn."""
        if self._pending:
            pending, self._pending = self._pending, []
            self._pending_size = 0
            if not (self._ending or self._ws_transport.is_close_frame_sent):
                self._transport.write(b"".join(pending))

    async def _send_fragments(self, fragments: Any, text: bool | None) -> None:
        self._fragments_done = asyncio.Event()
        kind = None
        try:
            async for fragment in _each(fragments):
                data = encoded(fragment)
                await self.until_writable()
                if kind is None:
                    first_type = type(fragment)
                    as_text = isinstance(fragment, str) if text is None else text
                    kind = TEXT if as_text else BINARY
                    self._write(kind, data, fin=False)
                elif isinstance(fragment, str) != issubclass(first_type, str):
                    raise TypeError("the fragments of a message are all text, or all bytes")
                else:
                    self._write(CONTINUATION, data, fin=False)
            if kind is not None:
                await self.until_writable()
                self._write(CONTINUATION, b"")
        except BaseException:
            # The fragments that were sent cannot be taken back, and no other message can be sent between them.
            if kind is not None and self.is_open:
                self.fail(WSCloseCode.INTERNAL_ERROR, "error in fragmented message")
            raise
        finally:
            done, self._fragments_done = self._fragments_done, None
            done.set()
            deferred, self._deferred, self._deferred_size = self._deferred, None, 0
            for message in deferred or ():
                self.send_nowait(message)

    async def _until_no_fragments(self) -> None:
        while self._fragments_done:
            await self._fragments_done.wait()
        await self.until_writable()

    async def until_writable(self) -> None:
        """Wait until the client reads. Raises ConnectionClosed if the connection has ended, or is about to."""
        while self._writable:
            await self._writable.wait()
        if not self.is_open:
            await self._ws_transport.wait_disconnected()
            assert self._ending
            raise self._ending.exception()

    def pause(self) -> None:
        """Hold sends back: the client does not read. It is aborted after SLOW_READER_TIMEOUT."""
        self._writable = self._writable or asyncio.Event()
        if not self._deadline:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._slow_reader_timeout, self.abort, "stopped reading")

    def resume(self) -> None:
        """Let sends go on."""
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None
        if self._writable:
            writable, self._writable = self._writable, None
            writable.set()

    def send_ping(self, payload: bytes) -> None:
        self.flush()
        self._ws_transport.send_ping(payload)

    def send_pong(self, payload: bytes) -> None:
        self.flush()
        self._ws_transport.send_pong(payload)

    def send_close(self, code: int | WSCloseCode | None, reason: str | bytes = "") -> None:
        """Send a close frame; `None`: an empty one, as 1005 is never sent (RFC 6455 section 7.4.1)."""
        self.flush()
        if code is None:
            self._ws_transport.send(WSMsgType.CLOSE, b"")
        else:
            self._ws_transport.send_close(code, reason)  # type: ignore[arg-type]  # any number will do

    def fail(self, code: WSCloseCode, reason: str, *, graceful: bool = True) -> None:
        """Send a close frame and disconnect, without waiting for the client's; do nothing if the connection has ended.

        `graceful`: what was sent before goes out first, which needs a client that reads.
        """
        if self._ending is None:
            self.send_close(code, reason)
            self._ws_transport.disconnect(graceful=graceful)

    def abort(self, why: str) -> None:
        """Disconnect without a close frame, which the client would not read."""
        log.warning("%s %s: its connection is aborted", self._client, why)
        self._ws_transport.disconnect(graceful=False)

    def end(self, ending: Ending) -> None:
        """Wake the senders: the connection has ended."""
        self._ending = ending
        self.resume()


async def _each(fragments: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(fragments, AsyncIterable):
        async for fragment in fragments:
            yield fragment
    else:
        for fragment in fragments:
            yield fragment
