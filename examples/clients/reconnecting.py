"""A client in Python that connects again by itself, and resumes its rooms: the twin of site/client.js.

    pip install websockets
    python reconnecting.py wss://localhost/wss tea Ann     # prints the messages of a room of backend/apps/chat.py

`websockets` answers pings, sends its own, and retries connections that fail, with a random delay that increases.
Added here: what follows a close code, and the positions of rooms with history (docs/rooms.md#positions).
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

# The codes after which a new connection can succeed, with the failures for which they count in addition.
RETRIED = {1001: 0, 1006: 0, 1011: 3, 1012: 0, 1013: 3, 1014: 3}
FIRST_DELAY, MAX_DELAY, MIN_UPTIME = 1.0, 30.0, 5.0  # seconds


class Event(NamedTuple):
    """What comes from the server."""

    message: str | bytes | None
    """None: only a gap is reported."""
    room: str | None = None
    position: str | None = None
    gap: str | None = None
    """Messages before this event are missing, and why."""


class Client:
    """A WebSocket that comes back. `rooms` has for each room the message that joins it."""

    def __init__(self, url: str, rooms: dict[str, dict[str, Any]], **options: Any) -> None:
        self.positions: dict[str, str] = {}
        """The position of the last message in each room. Store them to resume after a restart of the program."""
        self._rooms = rooms
        self._connections = connect(url, **options)
        self._connection: asyncio.Future[ClientConnection] = asyncio.get_running_loop().create_future()

    async def send(self, message: str | bytes) -> None:
        """Send, as soon as there is a connection."""
        await (await asyncio.shield(self._connection)).send(message)

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yield each message once, and gaps. Raises ConnectionClosed if its code is final, as after a refusal."""
        failures = 0
        async for connection in self._connections:
            opened = time.monotonic()
            try:
                for room, message in self._rooms.items():
                    since = self.positions.get(room)
                    await connection.send(json.dumps({**message, "room": room, "since": since}))
                self._connection.set_result(connection)
                while True:  # `async for` would end without an exception after 1001
                    if event := self._take(await connection.recv()):
                        yield event
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                if code not in RETRIED:
                    raise
                self._connection = asyncio.get_running_loop().create_future()
                failures = 0 if time.monotonic() - opened > MIN_UPTIME else failures
                window = min(MAX_DELAY, FIRST_DELAY * 2.0 ** (failures + RETRIED[code]))
                failures += 1
                await asyncio.sleep(random.uniform(0, window))  # noqa: S311

    def _take(self, message: str | bytes) -> Event | None:
        """Follow the position of a room; None for a duplicate, or a start without a gap."""
        try:
            head, _, body = (message, "", b"") if isinstance(message, str) else message.partition(b"\n")
            fields = json.loads(head)
            room, position, is_start = fields["room"], fields["position"], "gap" in fields
        except (ValueError, KeyError, TypeError):
            return Event(message)
        since, gap = self.positions.get(room), fields.get("gap")
        step = _steps(since, position) if since else 1
        if step is not None and step <= 0 and not gap:
            return None
        self.positions[room] = position
        if is_start:
            return Event(None, room, position, gap) if gap else None
        return Event(fields.get("message", body or message), room, position, None if step == 1 else "lost")


def _steps(since: str, position: str) -> int | None:
    """Return how many messages one position (`epoch:offset`) is after another; None in another epoch."""
    (epoch, offset), (new_epoch, new_offset) = since.split(":"), position.split(":")
    return int(new_offset) - int(offset) if epoch == new_epoch else None


async def _main(url: str, room: str, name: str) -> None:
    async for event in Client(url, {room: {"type": "enter", "name": name}}):
        print(f"messages are missing: {event.gap}" if event.gap else event.message, flush=True)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
