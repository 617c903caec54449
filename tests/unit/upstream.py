"""An upstream for apps/relay.py: a WebSocket server in a thread, with a behaviour of the test's choice."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from eventually import LIMIT, eventually
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


class Session:
    """One connection of the relay to the upstream."""

    def __init__(self, ws: ServerConnection) -> None:
        self.ws = ws
        self.sent = 0
        self.received: list[str | bytes] = []
        self.ended = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._may_go_on = asyncio.Event()

    async def send(self, message: str | bytes) -> None:
        await self.ws.send(message)
        self.sent += 1
        await asyncio.sleep(0)  # `send` alone need not give way to other tasks

    async def receive(self) -> str | bytes:
        message = await self.ws.recv()
        self.received.append(message)
        return message

    async def wait(self) -> None:
        """Wait until the test lets the session go on."""
        await self._may_go_on.wait()

    def go_on(self) -> None:
        self._loop.call_soon_threadsafe(self._may_go_on.set)


Behaviour = Callable[[Session], Awaitable[None]]


class Upstream:
    """The sessions so far, the oldest first."""

    def __init__(self) -> None:
        self.url = ""
        self.relay = ""  # of a relay to it
        self.sessions: list[Session] = []

    def session(self, number: int = 0) -> Session:
        return eventually(lambda: self.sessions[number : number + 1], "the relay connects to the upstream")[0]


@contextmanager
def upstream(behave: Behaviour) -> Iterator[Upstream]:
    """Serve until the end of the context; a session ends with its behaviour."""
    it = Upstream()
    started = threading.Event()
    stop: list[Callable[[], None]] = []

    async def handle(ws: ServerConnection) -> None:
        session = Session(ws)
        it.sessions.append(session)
        with suppress(ConnectionClosed):
            await behave(session)
        session.ended.set()

    async def main() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(stopped.set))  # type: ignore[arg-type]
        async with serve(handle, "127.0.0.1", 0, ping_interval=None, max_size=None, compression=None) as server:
            it.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            started.set()
            await stopped.wait()
            for session in it.sessions:
                session.go_on()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert started.wait(LIMIT)
        yield it
    finally:
        stop[0]()
        thread.join()


async def echo(session: Session) -> None:
    while True:
        await session.send(await session.receive())


async def silent(session: Session) -> None:
    while True:
        await session.receive()


async def deaf(session: Session) -> None:
    """Read nothing until the test lets it go on, and then everything."""
    await session.wait()
    await silent(session)


def message(number: int) -> str | bytes:
    """Return a message that names its number; every third one is binary, and the sizes differ."""
    text = f"{number} " + "é" * (number % 7 * 50)
    return text.encode() if number % 3 == 0 else text


async def endless(session: Session) -> None:
    """Send numbered messages, as fast as they are read."""
    await _count(session, 0)


async def resumable(session: Session) -> None:
    """Send numbered messages from the number on that the first message has."""
    await _count(session, int(await session.receive()))


async def _count(session: Session, number: int) -> None:
    while True:
        await session.send(message(number))
        number += 1
