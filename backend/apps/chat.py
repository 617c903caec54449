"""A chat in rooms, with a page for it in site/chat.html.

Messages are JSON objects, in both directions. A client sends

    {"type": "enter", "room": "tea", "name": "Ann", "key": "…"}   enters a room; name and key are the same in all rooms
    {"type": "enter", …, "since": "6f0c:41"}                comes back, and gets what it has missed
    {"type": "leave", "room": "tea"}
    {"type": "say", "room": "tea", "text": "hello"}         to all in the room, including the sender
    {"type": "whisper", "room": "tea", "to": "Bob", "text": "psst"}   to one member of the room, and to the sender
    {"type": "who", "room": "tea"}
    {"type": "ping"}                                        gets {"type": "pong"}

and receives `entered` and `left` (room, name, id; one of each, however many connections the user has: a lost connection
has 15 s to come back), `said` (room, name, id, text), `whispered` (room, name, id, to, text), `members` (room, names,
and the id of the receiver), and `error` (code, name, text) if a command fails. What people do has a time, in ms since
1970. Rooms keep their last messages: `entered`, `left` and `said` come in an envelope with a position
(docs/rooms.md#positions), which site/client.js removes.

Who is who: `key` is a secret of the client, 16 characters or more, and name and key are a user. While a user is in a
room, nobody else can enter with its name, or with one that looks the same (`taken`). The server makes `id` from name
and key, so that a client can notice if somebody else takes a name that has become free. All clients without a key that
have the same name are the same user, and have an empty id. Names are not authenticated. To authenticate a client, look
at the handshake: connection.request.headers has its cookies.
"""

import json
import time
from hashlib import sha256
from typing import Any, NamedTuple

from wss import Connection
from wss.rooms import Presence, rooms

from apps.names import is_name, skeleton

CHARACTERS = {"room": (1, 40), "name": (1, 40), "key": (16, 100), "to": (1, 40), "text": (1, 4000)}


class CommandError(Exception):
    """A client's command fails; the client receives the text, the code, and the name that it is about."""

    def __init__(self, text: str, code: str = "invalid", name: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.name = name


class User(NamedTuple):
    """Who a client is. As the user of wss.rooms: the name, which is one word, and the id."""

    name: str
    id: str

    @classmethod
    def parse(cls, user: str) -> "User":
        name, _, digest = user.partition(" ")
        return cls(name, digest)

    @classmethod
    def of(cls, command: dict[str, Any]) -> "User":
        name = _field(command, "name")
        if not is_name(name):
            text = "'name' must be one word of visible characters, with letters of one alphabet"
            raise CommandError(text, "name", name)
        key = _field(command, "key") if "key" in command else ""
        return cls(name, sha256(f"{name}\n{key}".encode()).hexdigest()[:16] if key else "")

    def __str__(self) -> str:
        return f"{self.name} {self.id}".strip()


def _field(command: dict[str, Any], name: str) -> str:
    value = command.get(name)
    shortest, longest = CHARACTERS[name]
    if not isinstance(value, str) or not shortest <= len(value.strip()) <= longest:
        raise CommandError(f"{name!r} must be a string of {shortest} to {longest} characters")
    return value.strip()


def _message(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _announce(change: Presence) -> str:
    kind = "entered" if change.is_present else "left"
    return _message(kind, room=change.room, **User.parse(change.user)._asdict(), time=_now())


async def _members(room: str) -> set[User]:
    return {User.parse(member.user) for member in await rooms.members(room) if member.user}


rooms.keep("*", messages=100, seconds=600)
rooms.watch("*", announce=_announce)


def _refuse_if_taken(user: User, members: set[User]) -> None:
    if any(skeleton(member.name) == skeleton(user.name) for member in members - {user}):
        raise CommandError(f"the name {user.name!r} is taken in this room", "taken", user.name)


class Participant:
    """One connection, and the rooms that it is in."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rooms: dict[str, None] = {}
        self._user: User | None = None

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
                await self._enter(_field(command, "room"), User.of(command), command.get("since"))
            case {"type": "leave"}:
                await self._leave(self._own_room(command))
            case {"type": "say"}:
                room, text = self._own_room(command), _field(command, "text")
                if not await rooms.send(room, self._from_me("said", room, text=text)):
                    raise CommandError("not sent: try again later", "unsent")
            case {"type": "who"}:
                room = self._own_room(command)
                await self._send_members(room, await _members(room))
            case {"type": "ping"}:
                await self._connection.send(_message("pong"))
            case {"type": "whisper"}:
                await self._whisper(self._own_room(command), _field(command, "to"), _field(command, "text"))
            case _:
                raise CommandError("the type of a message must be enter, leave, say, whisper, who or ping")

    async def _enter(self, room: str, user: User, since: str | None) -> None:
        if self._user and self._user != user:
            raise CommandError(f"your name is {self._user.name!r} already")
        _refuse_if_taken(user, await _members(room))
        await rooms.bind(self._connection, str(user))
        await rooms.resume(self._connection, room, since)
        members = await _members(room)
        try:
            # Again: if two enter at the same time, at least one of them sees the other here.
            _refuse_if_taken(user, members)
        except CommandError:
            await rooms.leave(self._connection, room)
            raise
        self._user = user
        self._rooms[room] = None
        await self._send_members(room, members)

    async def _send_members(self, room: str, members: set[User]) -> None:
        assert self._user
        names = sorted(member.name for member in members)
        await self._connection.send(_message("members", room=room, names=names, id=self._user.id))

    async def _leave(self, room: str) -> None:
        del self._rooms[room]
        await rooms.leave(self._connection, room)

    async def _whisper(self, room: str, to: str, text: str) -> None:
        user = next((member for member in await _members(room) if skeleton(member.name) == skeleton(to)), None)
        if not user:
            raise CommandError(f"{to!r} is not here", "absent", to)
        whispered = self._from_me("whispered", room, to=user.name, text=text)
        for each in {user, self._user}:
            await rooms.send_to_user(str(each), whispered)

    def _from_me(self, kind: str, room: str, **fields: str) -> str:
        assert self._user
        return _message(kind, room=room, **self._user._asdict(), **fields, time=_now())

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
            await connection.send(_message("error", code=error.code, name=error.name, text=str(error)))
