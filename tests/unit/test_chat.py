"""The chat: what it says to whom, and what it refuses."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import websocket
from server import Connect, Server, Start


class Guest:
    def __init__(self, ws: websocket.WebSocket) -> None:
        self._ws = ws

    def wish(self, kind: str, **fields: Any) -> None:
        self._ws.send(json.dumps({"type": kind, **fields}))

    def send(self, message: str) -> None:
        self._ws.send(message)

    def gets(self, kind: str) -> dict[str, Any]:
        """Return the next message of this kind; those before it are of no interest."""
        while True:
            message: dict[str, Any] = json.loads(self._ws.recv())
            if message.pop("type") == kind:
                return message

    def enter(self, name: str, room: str = "tea") -> "Guest":
        self.wish("enter", room=room, name=name)
        self.gets("members")
        return self

    def close(self) -> None:
        self._ws.close()


New = Callable[[], Guest]


@pytest.fixture
def server(share: Start) -> Iterator[Server]:
    server = share(APP="apps.chat:handler")
    yield server
    server.wait_until_all_closed()


@pytest.fixture
def new(server: Server, connect: Connect) -> New:
    return lambda: Guest(connect(server))


def test_who_enters_is_announced_and_told_who_is_there(new: New) -> None:
    ann = new().enter("Ann")
    bob = new()
    bob.wish("enter", room=" tea ", name=" Bob ")
    assert bob.gets("members") == {"room": "tea", "names": ["Ann", "Bob"]}
    assert ann.gets("entered") == {"room": "tea", "name": "Bob"}
    bob.close()
    assert ann.gets("left") == {"room": "tea", "name": "Bob"}
    ann.wish("who", room="tea")
    assert ann.gets("members") == {"room": "tea", "names": ["Ann"]}


def test_what_is_said_reaches_the_room(new: New) -> None:
    ann, bob, carl = new().enter("Ann"), new().enter("Bob"), new().enter("Carl", "coffee")
    ann.wish("say", room="tea", text="hello")
    for guest in (ann, bob):
        assert guest.gets("said") == {"room": "tea", "name": "Ann", "text": "hello"}
    ann.wish("enter", room="coffee", name="Ann")
    assert carl.gets("entered") == {"room": "coffee", "name": "Ann"}
    ann.wish("say", room="coffee", text="and here")
    assert carl.gets("said")["text"] == "and here"


def test_a_whisper_reaches_one_wherever_they_are(new: New) -> None:
    ann, bob = new().enter("Ann"), new().enter("Bob", "coffee")
    ann.wish("whisper", to="Bob", text="psst")
    for guest in (ann, bob):
        assert guest.gets("whispered") == {"name": "Ann", "to": "Bob", "text": "psst"}
    ann.wish("whisper", to="Carl", text="psst")
    assert ann.gets("error") == {"text": "'Carl' is not here"}


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("{", "this is not JSON of text"),
        ("[" * 100_000, "this is not JSON of text"),
        ('{"type": "enter", "room": "\\ud800", "name": "Ann"}', "this is not JSON of text"),
        ("[]", "a message has a type: enter, leave, say, whisper or who"),
        ('{"type": "shout"}', "a message has a type: enter, leave, say, whisper or who"),
        ('{"type": "enter", "room": "", "name": "Ann"}', "'room' has to be a text of 1 to 40 characters"),
        ('{"type": "enter", "room": "tea", "name": 1}', "'name' has to be a text of 1 to 40 characters"),
        ('{"type": "say", "room": "tea", "text": "hello"}', "you are not in 'tea'"),
        ('{"type": "whisper", "to": "Ann", "text": "psst"}', "enter a room first"),
    ],
)
def test_what_cannot_be_done_is_said(new: New, message: str, error: str) -> None:
    guest = new()
    guest.send(message)
    assert guest.gets("error") == {"text": error}
    guest.enter("Ann")
    guest.wish("enter", room="tea", name="Bob")
    assert guest.gets("error") == {"text": "your name is 'Ann' already"}
