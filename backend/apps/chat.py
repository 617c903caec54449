"""A chat in rooms, with a page for it in site/chat.html.

Messages are JSON objects, in both directions; a client sends

    {"type": "enter", "room": "tea", "name": "Ann"}         into one more room; the name counts in all of them
    {"type": "leave", "room": "tea"}
    {"type": "say", "room": "tea", "text": "hello"}         to all in the room, oneself too
    {"type": "whisper", "to": "Bob", "text": "psst"}        to whoever has that name, wherever they are
    {"type": "who", "room": "tea"}

and gets `entered` and `left` (room, name), `said` (room, name, text), `whispered` (name, to, text), `members` (room,
names), and `error` (text) where something cannot be done. Whoever needs to know that Ann is Ann looks at the
handshake: connection.request.headers has her cookies.
"""

import json
from typing import Any

from wss import Connection
from wss.rooms import rooms

MOST_CHARACTERS = {"room": 40, "name": 40, "to": 40, "text": 4000}


class WishError(Exception):
    """What a client wants cannot be done; the text is for it."""


def _field(wish: dict[str, Any], name: str) -> str:
    value = wish.get(name)
    if not isinstance(value, str) or not 0 < len(value.strip()) <= MOST_CHARACTERS[name]:
        raise WishError(f"{name!r} has to be a text of 1 to {MOST_CHARACTERS[name]} characters")
    return value.strip()


def _message(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False)


class Guest:
    """One connection, and the rooms that it is in."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rooms: dict[str, None] = {}
        self._name = ""

    async def wish(self, message: str | bytes) -> None:
        """Do what the client wants; raises WishError."""
        try:
            wish = json.loads(message)
            # Half of a surrogate pair is JSON, too, but no text.
            json.dumps(wish, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            raise WishError("this is not JSON of text") from None
        match wish:
            case {"type": "enter"}:
                await self._enter(_field(wish, "room"), _field(wish, "name"))
            case {"type": "leave"}:
                await self._leave(self._own_room(wish))
            case {"type": "say"}:
                said = _message("said", room=self._own_room(wish), name=self._name, text=_field(wish, "text"))
                await rooms.send(self._own_room(wish), said)
            case {"type": "who"}:
                await self._tell_members(self._own_room(wish))
            case {"type": "whisper"} if self._name:
                await self._whisper(_field(wish, "to"), _field(wish, "text"))
            case {"type": "whisper"}:
                raise WishError("enter a room first")
            case _:
                raise WishError("a message has a type: enter, leave, say, whisper or who")

    async def go(self) -> None:
        """Leave all rooms."""
        for room in tuple(self._rooms):
            await self._leave(room)

    async def _enter(self, room: str, name: str) -> None:
        if self._name not in ("", name):
            raise WishError(f"your name is {self._name!r} already")
        self._name = name
        self._rooms[room] = None
        await rooms.bind(self._connection, name)
        await rooms.join(self._connection, room)
        await rooms.send(room, _message("entered", room=room, name=name))
        await self._tell_members(room)

    async def _tell_members(self, room: str) -> None:
        names = sorted({member.user for member in await rooms.members(room) if member.user})
        await self._connection.send(_message("members", room=room, names=names))

    async def _leave(self, room: str) -> None:
        del self._rooms[room]
        await rooms.send(room, _message("left", room=room, name=self._name))
        if self._connection.is_open:
            await rooms.leave(self._connection, room)

    async def _whisper(self, to: str, text: str) -> None:
        if not await rooms.is_online(to):
            raise WishError(f"{to!r} is not here")
        whispered = _message("whispered", name=self._name, to=to, text=text)
        await rooms.send_to_user(to, whispered)
        if to != self._name:
            await rooms.send_to_user(self._name, whispered)

    def _own_room(self, wish: dict[str, Any]) -> str:
        room = _field(wish, "room")
        if room not in self._rooms:
            raise WishError(f"you are not in {room!r}")
        return room


async def handler(connection: Connection) -> None:
    guest = Guest(connection)
    try:
        async for message in connection:
            try:
                await guest.wish(message)
            except WishError as error:
                await connection.send(_message("error", text=str(error)))
    finally:
        await guest.go()
