"""Messages to a client: framed, written together where several come at once, and waited for where it is slow."""

import asyncio
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Any

from picows import WSCloseCode

from wss.config.settings import Settings
from wss.connection.receiving import Receiving
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

# A broadcast waits for nobody: so many times WRITE_LIMIT may pile up for one client before it is cut.
MOST_WRITE_LIMITS = 64

# What waits to be written together: at most so many bytes (one TLS record has 16 KiB), and for so many seconds where a
# handler takes long for each message.
COALESCE_BYTES = 16 * 1024
COALESCE_DELAY = 0.001
# More is not copied to stand behind its head.
_LARGE = 64 * 1024


class FlushScheduler:
    """The connections that have something to write at the next turn of the loop: one timer for all of them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._connections: list[Sending] = []

    def add(self, connection: "Sending") -> None:
        if not self._connections:
            self._loop.call_soon(self._end)
        self._connections.append(connection)

    def _end(self) -> None:
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.flush()


class Sending(Receiving):
    """The half of a connection that sends; the other half is its base, as what waits there tells when to write."""

    def __init__(self, settings: Settings, scheduler: FlushScheduler, client: str, *receiving: Any) -> None:
        super().__init__(settings, *receiving)
        self.client = client
        self._flush_scheduler = scheduler
        self._write_limit = settings.write_limit
        self._patience = settings.slow_reader_timeout
        self._deadline: asyncio.TimerHandle | None = None
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._pending_since = 0.0
        # What a sender has to wait for, if anything: that the client reads; that a message in fragments is through.
        self._read_on: asyncio.Event | None = None
        self._through: asyncio.Event | None = None
        self._held: list[PreparedMessage] = []  # broadcast until then
        self._held_size = 0

    @property
    def is_open(self) -> bool:
        return self.closed is None and not self._over and not self.ws_transport.is_close_frame_sent

    async def send(self, message: Any, text: bool | None = None) -> None:
        """Send a message: a str as text, bytes as binary, an iterable of them in fragments; `text` overrules the type.

        Waits while the client does not read. Raises ConnectionClosed where the connection has ended.
        """
        if self._read_on or self._through or self.closed or self.ws_transport.is_close_frame_sent:
            await self._until_writable()
        if isinstance(message, str):
            self._write(BINARY if text is False else TEXT, message.encode(), more=bool(self._queue))
        elif isinstance(message, (bytes, bytearray, memoryview)):
            self._write(TEXT if text else BINARY, bytes(message), more=bool(self._queue))
        elif isinstance(message, (Iterable, AsyncIterable)) and not isinstance(message, Mapping):
            await self._send_fragments(message, text)
        else:
            raise TypeError(f"a message is text or bytes, or an iterable of them, not {type(message).__name__}")
        if self._read_on:
            await self._until_read()

    def push(self, message: PreparedMessage) -> None:
        """Send a message without waiting for the client to read it; a client that is too far behind is cut."""
        if not self.is_open:
            return
        most = MOST_WRITE_LIMITS * self._write_limit
        if self.unread + self._held_size > most:
            self.cut(f"has {most} bytes unread")
        elif self._through:
            self._held.append(message)  # only control frames may come between fragments (RFC 6455 section 5.4)
            self._held_size += len(message.payload)
        elif self._deflate:
            self._write(message.kind, message.payload, more=True)
        else:
            self.traffic.messages_out += 1
            self.traffic.bytes_out += len(message.payload)
            self._write_later(message.frame, more=True)

    def _write(self, kind: int, payload: bytes, *, fin: bool = True, more: bool = False) -> None:
        """Write a frame: now, or where there is `more` to come, together with that."""
        traffic = self.traffic
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
            self.ws_transport.underlying_transport.writelines([head(first, size), payload])
            return
        if more or self._pending:
            self._write_later(frame, more=more)
        else:
            self.ws_transport.underlying_transport.write(frame)

    def _write_later(self, frame: bytes, *, more: bool) -> None:
        if not self._pending:
            self._pending_since = time.monotonic()
            self._flush_scheduler.add(self)
        self._pending.append(frame)
        self._pending_size += len(frame)
        if not more or self._pending_size > COALESCE_BYTES or time.monotonic() > self._pending_since + COALESCE_DELAY:
            self.flush()

    def flush(self) -> None:
        """Write what waits for more: before anything else goes out, and at the end of the turn."""
        if self._pending:
            together, self._pending = self._pending, []
            self._pending_size = 0
            if self.closed is None and not self.ws_transport.is_close_frame_sent:
                self.ws_transport.underlying_transport.write(b"".join(together))

    async def _send_fragments(self, fragments: Any, text: bool | None) -> None:
        self._through = asyncio.Event()
        kind = None
        try:
            async for fragment in _each(fragments):
                data = encoded(fragment)
                await self._until_read()
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
                await self._until_read()
                self._write(CONTINUATION, b"")
        except BaseException:
            # What has begun cannot be taken back, and nothing else can be sent within it.
            if kind is not None and self.is_open:
                self.fail(WSCloseCode.INTERNAL_ERROR, "a message broke off")
            raise
        finally:
            through, self._through = self._through, None
            through.set()
            held, self._held, self._held_size = self._held, [], 0
            for message in held:
                self.push(message)

    async def _until_writable(self) -> None:
        while self._through:
            await self._through.wait()
        await self._until_read()

    async def _until_read(self) -> None:
        while self._read_on:
            await self._read_on.wait()
        if not self.is_open:
            await self.wait_closed()
            assert self.closed
            raise self.closed

    def pause_writing(self) -> None:
        self._read_on = self._read_on or asyncio.Event()
        if not self._deadline:
            self._deadline = self._loop.call_later(self._patience, self.cut, "stopped reading")

    def resume_writing(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None
        if self._read_on:
            read_on, self._read_on = self._read_on, None
            read_on.set()

    @property
    def unread(self) -> int:
        """Bytes that wait for the client to read them."""
        return int(self.ws_transport.underlying_transport.get_write_buffer_size()) + self._pending_size

    def fail(self, code: WSCloseCode, reason: str, *, is_read: bool = True) -> None:
        if self.closed:
            return
        self.flush()
        self.ws_transport.send_close(code, reason)
        self.ws_transport.disconnect(graceful=is_read)

    def cut(self, why: str) -> None:
        """Drop the connection without a close frame, which the client would not read."""
        log.warning("%s %s: its connection is cut", self.client, why)
        self.ws_transport.disconnect(graceful=False)


async def _each(fragments: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(fragments, AsyncIterable):
        async for fragment in fragments:
            yield fragment
    else:
        for fragment in fragments:
            yield fragment
