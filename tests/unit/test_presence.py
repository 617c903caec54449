"""Presence in one process: one join and one leave per user.

Over several processes: tests/faults/test_presence_with_a_hub.py.
"""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from websockets.sync.client import ClientConnection
from wss import Connection
from wss.rooms import Presence, rooms
from wss.testing import TestServer, serve

GRACE = 3.0  # seconds in which a client comes back, also on a busy machine
TIMEOUT = 60


def _announce(change: Presence) -> str:
    return f"{change.user} {'+' if change.is_present else '-'}"


rooms.watch("presence*", grace=GRACE, announce=_announce)
rooms.keep("presence kept*", messages=50)
rooms.watch("default*", grace=0)


async def handler(connection: Connection) -> None:
    """Bind to the user and join the room of the query `room&user`; then run commands."""
    room, _, user = connection.request.path.partition("?")[2].replace("_", " ").partition("&")
    if user:
        await rooms.bind(connection, user)
    await rooms.join(connection, room)
    async for message in connection:
        match str(message).split():
            case ["leave"]:
                await rooms.leave(connection, room)
            case ["join"]:
                await rooms.join(connection, room)
            case ["bind", user]:
                await rooms.bind(connection, user)
            case ["drop"]:
                connection.transport.abort()
            case _:
                await rooms.send(room, message)


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    with serve(handler) as server:
        yield server


class Room:
    """A watcher in a room of this test, and clients of users in it."""

    def __init__(self, server: TestServer, name: str, opened: ExitStack) -> None:
        self._server, self._name, self._opened = server, name, opened
        self._watcher = self.enter("")

    def enter(self, user: str) -> ClientConnection:
        return self._opened.enter_context(self._server.connect(f"/wss?{self._name.replace(' ', '_')}&{user}"))

    def next(self) -> str:
        message = str(self._watcher.recv(timeout=TIMEOUT))
        return str(json.loads(message)["message"]) if message.startswith("{") else message

    def events(self) -> list[str]:
        """Return all events so far."""
        self._watcher.send("end")
        events = []
        while (event := self.next()) != "end":
            events.append(event)
        return events


@pytest.fixture(params=["presence", "presence kept"])
def room(request: pytest.FixtureRequest, server: TestServer) -> Iterator[Room]:
    with ExitStack() as opened:
        yield Room(server, f"{request.param} {request.node.name}", opened)


def test_a_user_joins_with_the_first_connection_and_leaves_when_the_last_has_been_gone_for_the_grace_time(
    room: Room,
) -> None:
    first = room.enter("ann")
    assert room.next() == "ann +"
    second = room.enter("ann")
    first.close()
    closed = time.monotonic()
    second.close()
    assert room.next() == "ann -"
    assert time.monotonic() - closed >= GRACE
    room.enter("ann")
    assert room.next() == "ann +"


def test_a_line_that_flaps_is_no_event(room: Room) -> None:
    for _ in range(5):
        room.enter("ann").send("drop")
    ann = room.enter("ann")
    bob = room.enter("bob")
    bob.close()
    # Bob's grace time began after Ann's last one.
    assert [room.next(), room.next(), room.next()] == ["ann +", "bob +", "bob -"]
    ann.send("leave")
    assert room.next() == "ann -"


def test_a_user_who_calls_leave_leaves_at_once_but_not_while_another_connection_is_there(room: Room) -> None:
    one, two = room.enter("ann"), room.enter("ann")
    assert room.next() == "ann +"
    one.send("leave")
    one.send("leave")
    assert room.events() == []
    left = time.monotonic()
    two.send("leave")
    assert room.next() == "ann -"
    assert time.monotonic() - left < GRACE or room.events() == []
    two.send("join")
    two.send("join")
    assert room.next() == "ann +"


def test_a_connection_that_is_bound_to_another_user_is_a_leave_and_a_join(room: Room) -> None:
    ann = room.enter("ann")
    assert room.next() == "ann +"
    ann.send("bind bob")
    assert sorted([room.next(), room.next()]) == ["ann -", "bob +"]


def test_a_connection_without_a_user_is_no_event(room: Room) -> None:
    nobody = room.enter("")
    nobody.close()
    ann = room.enter("")
    ann.send("bind ann")
    assert room.next() == "ann +"


def test_the_default_message_is_json(server: TestServer) -> None:
    with server.connect("/wss?default&") as watcher, server.connect("/wss?default&ann"):
        assert json.loads(watcher.recv(timeout=TIMEOUT)) == {"room": "default", "user": "ann", "presence": "join"}


def test_a_negative_grace_time_is_an_error() -> None:
    with pytest.raises(ValueError, match="grace is at least 0 seconds"):
        rooms.watch("tea", grace=-1)
