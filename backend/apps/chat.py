"""A chat in rooms, with a page for it in site/chat.html.

Messages are JSON objects, in both directions. A client sends

    {"type": "enter", "room": "tea", "name": "Ann"}         enters a room; the name is the same in all rooms
    {"type": "enter", …, "since": "6f0c:41"}                comes back, and gets what it has missed
    {"type": "leave", "room": "tea"}
    {"type": "say", "room": "tea", "text": "hello"}         to all in the room, including the sender
    {"type": "whisper", "to": "Bob", "text": "psst"}        to all clients with that name, in any room
    {"type": "who", "room": "tea"}
    {"type": "ping"}                                        gets {"type": "pong"}

and receives `entered` and `left` (room, name; one of each, however many connections the name has: a lost connection
has 15 s to come back), `said` (room, name, text), `whispered` (name, to, text), `members` (room, names), and `error`
(text) if a command fails. Rooms keep their last messages: `entered`, `left` and `said` come in an envelope with a
position (docs/rooms.md#positions), which site/client.js removes. Names are not authenticated. To authenticate a client,
look at the handshake: connection.request.headers has its cookies.
"""

import json
from typing import Any

from wss import Connection
from wss.rooms import Presence, rooms

MAX_CHARACTERS = {"room": 40, "name": 40, "to": 40, "text": 4000}


class CommandError(Exception):
    """A client's command fails; the client receives the message."""


def _field(command: dict[str, Any], name: str) -> str:
    value = command.get(name)
    if not isinstance(value, str) or not 0 < len(value.strip()) <= MAX_CHARACTERS[name]:
        raise CommandError(f"{name!r} must be a string of 1 to {MAX_CHARACTERS[name]} characters")
    return value.strip()


def _message(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False)


def _announce(change: Presence) -> str:
    return _message("entered" if change.is_present else "left", room=change.room, name=change.user)


rooms.keep("*", messages=100, seconds=600)
rooms.watch("*", announce=_announce)


class Participant:
    """One connection, and the rooms that it is in."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rooms: dict[str, None] = {}
        self._name = ""

    async def run(self, message: str | bytes) -> None:
        """Run the command in a message; raises CommandError."""
        try:
            command = json.loads(message)
            # JSON can contain half of a surrogate pair, which UTF-8 cannot encode.
            json.dumps(command, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            raise CommandError("the message is not valid JSON") from None
        match command:
            case {"type": "enter"}:
                await self._enter(_field(command, "room"), _field(command, "name"), command.get("since"))
            case {"type": "leave"}:
                await self._leave(self._own_room(command))
            case {"type": "say"}:
                room, text = self._own_room(command), _field(command, "text")
                if not await rooms.send(room, _message("said", room=room, name=self._name, text=text)):
                    raise CommandError("not sent: try again later")
            case {"type": "who"}:
                await self._send_members(self._own_room(command))
            case {"type": "ping"}:
                await self._connection.send(_message("pong"))
            case {"type": "whisper"} if self._name:
                await self._whisper(_field(command, "to"), _field(command, "text"))
            case {"type": "whisper"}:
                raise CommandError("enter a room first")
            case _:
                raise CommandError("the type of a message must be enter, leave, say, whisper, who or ping")

    async def _enter(self, room: str, name: str, since: str | None) -> None:
        if self._name not in ("", name):
            raise CommandError(f"your name is {self._name!r} already")
        self._name = name
        self._rooms[room] = None
        await rooms.bind(self._connection, name)
        await rooms.resume(self._connection, room, since)
        await self._send_members(room)

    async def _send_members(self, room: str) -> None:
        names = sorted({member.user for member in await rooms.members(room) if member.user})
        await self._connection.send(_message("members", room=room, names=names))

    async def _leave(self, room: str) -> None:
        del self._rooms[room]
        await rooms.leave(self._connection, room)

    async def _whisper(self, to: str, text: str) -> None:
        if not await rooms.is_online(to):
            raise CommandError(f"{to!r} is not here")
        whispered = _message("whispered", name=self._name, to=to, text=text)
        await rooms.send_to_user(to, whispered)
        if to != self._name:
            await rooms.send_to_user(self._name, whispered)

    def _own_room(self, command: dict[str, Any]) -> str:
        room = _field(command, "room")
        if room not in self._rooms:
            raise CommandError(f"you are not in {room!r}")
        return room


async def handler(connection: Connection) -> None:
    participant = Participant(connection)
    async for message in connection:
        try:
            await participant.run(message)
        except CommandError as error:
            await connection.send(_message("error", text=str(error)))
