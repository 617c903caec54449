"""A relay between a client and an upstream that streams over WebSocket, such as speech or a language model.

handler.env:

    RELAY_URL=wss://speech.example/v1   the upstream
    RELAY_GRACE=15                      seconds that a client has to come back
    RELAY_BUFFER=1048576                bytes that are read ahead, and bytes that are kept after they were sent
    RELAY_MAX_AGE=3300                  seconds after which an upstream is replaced; 0, the default: never

The first message to a client is {"stream": "…", "received": 0}. All others pass unchanged in both directions, and both
sides count what they receive. A client that has lost its connection after 41 messages comes back as
`/wss?stream=…&received=41`. It gets {"stream": "…", "received": 7}, sends again what came after its 7th message, and
receives the 42nd. The stream is a secret: who knows it can take over. A client that closes with 1000 ends its stream.
The relay closes with

    4404   the stream has ended, no longer has these messages, or is on another worker: begin a new one
    4409   another connection of the client has taken over
    1014   the upstream is unreachable, or was lost
    other  the code of the upstream, after its last message

An upstream that is too old is replaced, as soon as `may_replace_after` permits it. A new one is opened, the old one
gets a close frame, what it sends before its own is relayed, and `begin` is called with the new one.

A stream is in the memory of one worker. With several workers or replicas, a client that comes back may reach another
one, and gets 4404, as after a restart. Use WORKERS=1 and one replica, or route by a cookie or an address.
"""

import asyncio
import json
import logging
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import cast
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from wss import Connection, ConnectionClosed

from apps.kept import Kept

URL = os.environ.get("RELAY_URL", "")
GRACE = float(os.environ.get("RELAY_GRACE", "15"))
BUFFER = int(os.environ.get("RELAY_BUFFER", "1048576"))
MAX_AGE = float(os.environ.get("RELAY_MAX_AGE", "0"))

NORMAL, GOING_AWAY, NO_CODE, FAILED, BAD_GATEWAY, GONE, TAKEN_OVER = 1000, 1001, 1005, 1011, 1014, 4404, 4409
UPSTREAM_TIMEOUT = 60.0  # seconds in which an upstream takes nothing, after which it counts as lost
LAST_WORDS = 0.3  # seconds to send the last messages to an upstream, and then for its close frame
REPLACING = 10.0  # seconds that an old upstream has to send the rest
AGAIN = 1.0  # seconds to the next attempt to replace it
UNREACHABLE = (OSError, WebSocketException)

log = logging.getLogger(__name__)
streams: dict[str, "Stream"] = {}
running: set[asyncio.Task[None]] = set()


def may_replace_after(message: str | bytes, is_of_upstream: bool) -> bool:  # noqa: ARG001
    """Return whether the upstream owes nothing after this message, the last one in either direction.

    Yours: for example, whether it is the end of a reply. A new upstream knows nothing of what the old one was asked.
    """
    return True


async def begin(upstream: ClientConnection, received: int) -> None:
    """Send what a new upstream has to know; those before it have sent `received` messages.

    Yours: the settings of a session, what was said before, or where to go on.
    """


async def open_upstream() -> ClientConnection:
    """Open a websocket to the upstream. Yours: `additional_headers` with an API key."""
    # No ping_timeout: a pong waits behind messages that a slow client has not read.
    upstream = await connect(URL, compression=None, max_size=BUFFER, max_queue=1, ping_timeout=None, close_timeout=None)
    # TCP itself notices an upstream that has vanished, or does not read: tcp(7).
    tcp, milliseconds = upstream.transport.get_extra_info("socket"), round(1000 * UPSTREAM_TIMEOUT)
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return upstream


async def close_upstream(upstream: ClientConnection, code: int, limit: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(limit):
            await upstream.close(code)
    upstream.transport.abort()


def end_of(error: ConnectionClosed) -> tuple[int, str]:
    """Return the close code and the reason for the client."""
    if error.rcvd is None:
        log.warning("an upstream was lost: %s", error.__cause__ or error)  # such as a timeout of TCP
        return BAD_GATEWAY, "the upstream was lost"
    return (NORMAL, "") if error.rcvd.code == NO_CODE else (error.rcvd.code, error.rcvd.reason)


class Stream:
    """What a client and an upstream send to each other, over any number of connections to both.

    Each is read only as fast as the other one reads: of the upstream, BUFFER bytes ahead; of the client, one message.
    """

    def __init__(self, upstream: ClientConnection) -> None:
        self._id = secrets.token_urlsafe(16)
        self._upstreams = [upstream]  # the last one gets the client's messages; the one before it is replaced
        self.kept = Kept(BUFFER)
        self._to_upstream: asyncio.Queue[str | bytes] = asyncio.Queue(1)
        self._received = 0  # messages of the client
        self._last: tuple[str | bytes, bool] = "", True
        self._end: tuple[int, str] | None = None  # how to close when all messages were sent
        self._changed = asyncio.Event()
        self._serving: tuple[asyncio.Task[None], ...] = ()
        self._grace: asyncio.TimerHandle | None = None
        self._running = asyncio.create_task(self._run())
        streams[self._id] = self
        running.add(self._running)
        self._running.add_done_callback(running.discard)

    async def serve(self, connection: Connection) -> None:
        """Relay until the connection or the stream has ended, or another connection takes over."""
        self._release()
        start = json.dumps({"stream": self._id, "received": self._received})
        delivering = asyncio.create_task(self._deliver(connection, start))
        taking = asyncio.create_task(self._take(connection))
        serving = self._serving = (delivering, taking)
        # While the upstream does not read, and so the client is not read, a lost client is noticed by PING_TIMEOUT.
        closed = asyncio.create_task(connection.wait_closed())
        await asyncio.wait({delivering, closed}, return_when=asyncio.FIRST_COMPLETED)
        if self._serving is not serving:
            await connection.close(TAKEN_OVER, "another connection has taken over")
        await closed
        if self._serving is serving:
            await self._leave(connection.close_code, taking)

    async def _leave(self, code: int | None, taking: asyncio.Task[None]) -> None:
        if code not in (NORMAL, self._end and self._end[0]):
            self._grace = asyncio.get_running_loop().call_later(GRACE, self.stop)
            return
        streams.pop(self._id, None)
        if not self._end:
            await asyncio.wait({taking}, timeout=LAST_WORDS)
            await asyncio.wait({asyncio.create_task(self._to_upstream.join())}, timeout=LAST_WORDS)
        self.stop()

    def stop(self) -> None:
        """End the upstream, and forget the stream."""
        streams.pop(self._id, None)
        self._release()
        self._running.cancel()

    def _release(self) -> None:
        # From here on, these tasks count and deliver nothing.
        for each in (*self._serving, self._grace):
            if each:
                each.cancel()
        self._serving = ()

    async def _deliver(self, connection: Connection, start: str) -> None:
        size = 0
        with suppress(ConnectionClosed):
            await connection.send(start)
            while True:
                await self._until(lambda: self.kept.ahead or self._end)
                if not self.kept.ahead:
                    break
                message = self.kept.next()
                self._changed.set()
                await connection.send(message)
                size += sys.getsizeof(message)
                if size > BUFFER / 2:
                    await self._until_received(connection)
                    size = 0
            assert self._end
            await connection.close(*self._end)

    async def _until_received(self, connection: Connection) -> None:
        """Wait for the pong to a ping: what a lost connection had on its way must still be kept."""
        pong = asyncio.ensure_future(await connection.ping())
        pong.add_done_callback(lambda _: self._changed.set())
        # If the client's messages wait for the upstream, which may wait for us, then the pong waits behind them.
        await self._until(lambda: pong.done() or self._to_upstream.full())

    async def _take(self, connection: Connection) -> None:
        with suppress(ConnectionClosed):
            async for message in connection:
                self._changed.set()
                await self._to_upstream.put(message)
                self._received += 1

    async def _run(self) -> None:
        """Relay the messages of one upstream after the other, until one ends that is not replaced."""
        try:
            while True:
                upstream = self._upstreams[0]
                await begin(upstream, self.kept.count)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._receive(upstream))
                    await self._send(upstream)
                self._upstreams.remove(upstream)
        except* ConnectionClosed as errors:
            self._end = end_of(cast(ConnectionClosed, errors.exceptions[0]))
        except* Exception:
            log.exception("the relay failed")
            self._end = FAILED, "the relay failed"
        finally:
            self._changed.set()
            await asyncio.gather(*(close_upstream(each, NORMAL, LAST_WORDS) for each in self._upstreams))

    async def _receive(self, upstream: ClientConnection) -> None:
        try:
            while True:
                message = await upstream.recv()
                self._last = message, True
                self.kept.add(message)
                self._changed.set()
                await self._until(lambda: self.kept.ahead < (16 * BUFFER if self._replaces(upstream) else BUFFER))
        except ConnectionClosed as closed:
            if not (self._replaces(upstream) and closed.rcvd):  # before its close frame, it has sent everything
                raise

    async def _send(self, upstream: ClientConnection) -> None:
        """Send the client's messages, until another upstream replaces this one."""
        time = asyncio.get_running_loop().time
        expiry = time() + MAX_AGE if MAX_AGE else None
        while True:
            if expiry and time() >= expiry:
                if may_replace_after(*self._last) and await self._replace(upstream):
                    return
                expiry = time() + AGAIN
            with suppress(TimeoutError):
                async with asyncio.timeout_at(expiry):
                    message = await self._to_upstream.get()
                self._last = message, False
                await upstream.send(message)
                self._to_upstream.task_done()

    async def _replace(self, upstream: ClientConnection) -> bool:
        try:
            self._upstreams.append(await open_upstream())
        except UNREACHABLE as error:
            log.warning("the upstream is too old, and another one is unreachable: %s", error)
            return False
        self._changed.set()
        await close_upstream(upstream, GOING_AWAY, REPLACING)
        return True

    def _replaces(self, upstream: ClientConnection) -> bool:
        return upstream is not self._upstreams[-1]

    async def _until(self, check: Callable[[], object]) -> None:
        while not check():
            self._changed.clear()
            await self._changed.wait()


@asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    if not URL.startswith(("ws://", "wss://")):
        raise ValueError(
            f"RELAY_URL={URL!r}: give the address of the upstream in handler.env, such as wss://example.com/v1"
        )
    yield
    for stream in (*streams.values(),):
        stream.stop()
    if running:
        await asyncio.wait(running)


async def handler(connection: Connection) -> None:
    query = dict(parse_qsl(urlsplit(connection.request.path).query))
    if "stream" in query:
        stream = streams.get(query["stream"])
        if not stream or not stream.kept.rewind(query.get("received", "")):
            await connection.close(GONE, "the stream has ended, no longer has these messages, or is on another worker")
            return
    else:
        try:
            stream = Stream(await open_upstream())
        except UNREACHABLE as error:
            log.warning("the upstream is unreachable: %s", error)
            await connection.close(BAD_GATEWAY, "the upstream is unreachable")
            return
    await stream.serve(connection)
