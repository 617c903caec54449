"""The chat example: its messages, their recipients, and errors."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import websocket
from server import Connect, Server, Start


class ChatClient:
    def __init__(self, ws: websocket.WebSocket) -> None:
        self._ws = ws
        self.position = ""

    def command(self, kind: str, **fields: Any) -> None:
        self._ws.send(json.dumps({"type": kind, **fields}))

    def send(self, message: str) -> None:
        self._ws.send(message)

    def receive(self, kind: str) -> dict[str, Any]:
        """Return the next message of this type; skip others."""
        while True:
            event: dict[str, Any] = json.loads(self._ws.recv())
            self.position = event.get("position", self.position)
            message: dict[str, Any] = json.loads(event["message"]) if "message" in event else event
            if message.pop("type", "start") == kind:
                return message

    def enter(self, name: str, room: str = "tea") -> "ChatClient":
        self.command("enter", room=room, name=name)
        self.receive("members")
        return self

    def close(self) -> None:
        self._ws.close()


New = Callable[[], ChatClient]


@pytest.fixture
def server(share: Start) -> Iterator[Server]:
    server = share(APP="apps.chat:handler")
    yield server
    server.wait_until_all_closed()


@pytest.fixture
def new(server: Server, connect: Connect) -> New:
    return lambda: ChatClient(connect(server))


def test_a_new_member_is_announced_and_gets_the_list_of_members(new: New) -> None:
    ann = new().enter("Ann")
    bob = new()
    bob.command("enter", room=" tea ", name=" Bob ")
    assert bob.receive("members") == {"room": "tea", "names": ["Ann", "Bob"]}
    assert ann.receive("entered") == {"room": "tea", "name": "Bob"}
    second = new().enter("Bob")
    second.command("leave", room="tea")
    ann.command("say", room="tea", text="are you here?")
    assert ann.receive("said")["text"] == "are you here?"
    bob.command("leave", room="tea")
    assert ann.receive("left") == {"room": "tea", "name": "Bob"}
    ann.command("who", room="tea")
    assert ann.receive("members") == {"room": "tea", "names": ["Ann"]}


def test_a_message_reaches_all_members_of_its_room(new: New) -> None:
    ann, bob, carl = new().enter("Ann"), new().enter("Bob"), new().enter("Carl", "coffee")
    ann.command("say", room="tea", text="hello")
    for client in (ann, bob):
        assert client.receive("said") == {"room": "tea", "name": "Ann", "text": "hello"}
    ann.command("enter", room="coffee", name="Ann")
    assert carl.receive("entered") == {"room": "coffee", "name": "Ann"}
    ann.command("say", room="coffee", text="and here")
    assert carl.receive("said")["text"] == "and here"


def test_a_client_that_comes_back_gets_what_it_has_missed(new: New) -> None:
    ann, bob = new().enter("Ann", "green tea"), new().enter("Bob", "green tea")
    ann.command("say", room="green tea", text="before")
    assert bob.receive("said")["text"] == "before"
    position = bob.position
    bob.close()
    for text in ("one", "two"):
        ann.command("say", room="green tea", text=text)
        assert ann.receive("said")["text"] in ("before", "one")
    again = new()
    again.command("enter", room="green tea", name="Bob", since=position)
    assert again.receive("start")["gap"] is None
    assert [again.receive("said")["text"] for _ in range(2)] == ["one", "two"]


@pytest.mark.parametrize("since", ["", "6f0c:1", 1, [], {}])
def test_a_client_with_another_position_is_told_of_a_gap(new: New, since: Any) -> None:
    client = new()
    client.command("enter", room="black tea", name="Ann", since=since)
    assert client.receive("start")["gap"] == "epoch"


def test_a_ping_gets_a_pong(new: New) -> None:
    client = new()
    client.command("ping")
    assert client.receive("pong") == {}


def test_a_whisper_reaches_a_user_in_any_room(new: New) -> None:
    ann, bob = new().enter("Ann"), new().enter("Bob", "coffee")
    ann.command("whisper", to="Bob", text="psst")
    for client in (ann, bob):
        assert client.receive("whispered") == {"name": "Ann", "to": "Bob", "text": "psst"}
    ann.command("whisper", to="Carl", text="psst")
    assert ann.receive("error") == {"text": "'Carl' is not here"}


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("{", "the message is not valid JSON"),
        ("[" * 100_000, "the message is not valid JSON"),
        ('{"type": "enter", "room": "\\ud800", "name": "Ann"}', "the message is not valid JSON"),
        ("[]", "the type of a message must be enter, leave, say, whisper, who or ping"),
        ('{"type": "shout"}', "the type of a message must be enter, leave, say, whisper, who or ping"),
        ('{"type": "enter", "room": "", "name": "Ann"}', "'room' must be a string of 1 to 40 characters"),
        ('{"type": "enter", "room": "tea", "name": 1}', "'name' must be a string of 1 to 40 characters"),
        ('{"type": "say", "room": "tea", "text": "hello"}', "you are not in 'tea'"),
        ('{"type": "whisper", "to": "Ann", "text": "psst"}', "enter a room first"),
    ],
)
def test_an_invalid_command_gets_an_error(new: New, message: str, error: str) -> None:
    client = new()
    client.send(message)
    assert client.receive("error") == {"text": error}
    client.enter("Ann")
    client.command("enter", room="tea", name="Bob")
    assert client.receive("error") == {"text": "your name is 'Ann' already"}
