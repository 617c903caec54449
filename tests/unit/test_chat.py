"""The chat example: its messages, their recipients, and errors."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import websocket
from apps.names import is_name, skeleton
from server import Connect, Server, Start


class ChatClient:
    def __init__(self, ws: websocket.WebSocket) -> None:
        self._ws = ws
        self.position = ""
        self.times: list[int] = []

    def command(self, kind: str, **fields: Any) -> None:
        self._ws.send(json.dumps({"type": kind, **fields}))

    def send(self, message: str) -> None:
        self._ws.send(message)

    def receive_text(self) -> str:
        return str(self._ws.recv())

    def receive(self, kind: str) -> dict[str, Any]:
        """Return the next message of this type; skip others."""
        while True:
            event: dict[str, Any] = json.loads(self._ws.recv())
            self.position = event.get("position", self.position)
            message: dict[str, Any] = json.loads(event["message"]) if "message" in event else event
            if message.pop("type", "start") == kind:
                self.times.append(message.pop("time", 0))
                return message

    def enter(self, name: str, room: str = "tea", **fields: str) -> "ChatClient":
        self.command("enter", room=room, name=name, **fields)
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
    assert bob.receive("members") == {"room": "tea", "names": ["Ann", "Bob"], "id": ""}
    assert ann.receive("entered") == {"room": "tea", "name": "Bob", "id": ""}
    second = new().enter("Bob")
    second.command("leave", room="tea")
    ann.command("say", room="tea", text="are you here?")
    assert ann.receive("said")["text"] == "are you here?"
    bob.command("leave", room="tea")
    assert ann.receive("left") == {"room": "tea", "name": "Bob", "id": ""}
    ann.command("who", room="tea")
    assert ann.receive("members") == {"room": "tea", "names": ["Ann"], "id": ""}


def test_a_message_reaches_all_members_of_its_room(new: New) -> None:
    ann, bob, carl = new().enter("Ann"), new().enter("Bob"), new().enter("Carl", "coffee")
    ann.command("say", room="tea", text="hello")
    for client in (ann, bob):
        assert client.receive("said") == {"room": "tea", "name": "Ann", "id": "", "text": "hello"}
    ann.command("enter", room="coffee", name="Ann")
    assert carl.receive("entered") == {"room": "coffee", "name": "Ann", "id": ""}
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


def test_a_whisper_reaches_one_member_of_the_room(new: New) -> None:
    ann, bob, carl = new().enter("Ann"), new().enter("Bob"), new().enter("Carl")
    ann.command("whisper", room="tea", to="bob", text="psst")
    for client in (ann, bob):
        assert client.receive("whispered") == {"room": "tea", "name": "Ann", "id": "", "to": "Bob", "text": "psst"}
    carl.command("ping")
    assert json.loads(carl.receive_text())["type"] == "pong"
    elsewhere = new().enter("Dan", "coffee")
    ann.command("whisper", room="tea", to="Dan", text="psst")
    assert ann.receive("error") == {"code": "absent", "name": "Dan", "text": "'Dan' is not here"}
    elsewhere.close()


def test_messages_have_the_time_at_which_they_were_sent(new: New) -> None:
    before = time.time_ns() // 1_000_000
    ann = new().enter("Ann", "mint tea")
    ann.command("say", room="mint tea", text="hello")
    ann.receive("said")
    ann.command("whisper", room="mint tea", to="Ann", text="psst")
    ann.receive("whispered")
    late = new()
    late.command("enter", room="mint tea", name="Bob", since="")
    late.receive("said")
    now = time.time_ns() // 1_000_000
    assert before <= ann.times[-2] <= ann.times[-1] <= now
    assert late.times[-1] == ann.times[-2]


KEY, OTHER_KEY = "a secret of Ann's", "a secret of Eve's"


@pytest.mark.parametrize("name", ["Ann", "ann", "\uff21nn", "Ann\ufe0f", "Ann\u115f"], ids=lambda name: ascii(name))
@pytest.mark.parametrize("fields", [{"key": OTHER_KEY}, {}], ids=["another key", "no key"])
def test_nobody_else_can_enter_with_a_members_name_or_one_that_looks_the_same(
    new: New, name: str, fields: dict[str, str]
) -> None:
    room = f"room of {name!a} {len(fields)}"
    ann = new().enter("Ann", room, key=KEY)
    eve = new()
    eve.command("enter", room=room, name=name, **fields)
    assert eve.receive("error") == {"code": "taken", "name": name, "text": f"the name {name!r} is taken in this room"}
    eve.command("say", room=room, text="I am Ann")
    assert eve.receive("error")["text"] == f"you are not in {room!r}"
    # The refused client can take another name, in the same connection.
    eve.enter("Eve", room, **fields)
    assert ann.receive("entered")["name"] == "Eve"


def test_the_same_key_is_the_same_user_and_another_key_has_another_id(new: New) -> None:
    first, second = new().enter("Ann", "ginger tea", key=KEY), new().enter("Ann", "ginger tea", key=KEY)
    second.command("say", room="ginger tea", text="hello")
    said = first.receive("said")
    assert (said["name"], len(said["id"])) == ("Ann", 16)
    for client in (first, second):
        client.command("leave", room="ginger tea")
    bob = new().enter("Bob", "ginger tea")
    eve = new().enter("Ann", "ginger tea", key=OTHER_KEY)
    eve.command("say", room="ginger tea", text="hello")
    again = bob.receive("said")
    assert again["name"] == "Ann"
    assert again["id"] not in ("", said["id"])


def test_of_two_that_enter_at_the_same_time_with_one_name_at_most_one_is_in_the_room(new: New) -> None:
    clients = [new() for _ in range(8)]
    for number, client in enumerate(clients):
        client.command("enter", room="rush", name="Ann", key=f"the secret of client {number}")
    for client in clients:
        client.command("ping")
        client.receive("pong")
    bob = new()
    bob.command("enter", room="rush", name="Bob")
    assert bob.receive("members")["names"] in (["Bob"], ["Ann", "Bob"])


@pytest.mark.parametrize(
    ("name", "is_valid"),
    [
        ("Ann", True),
        ("René", True),
        ("小明", True),
        ("Анна", True),
        ("Ann_2.0", True),
        ("🙂", True),
        ("Mary Ann", False),
        ("A\u200bnn", False),
        ("\u202ennA", False),
        ("\u3164", False),
        ("\ufe0f", False),
        ("\u0410nn", False),
        ("\n", False),
    ],
    ids=ascii,
)
def test_a_name_is_one_visible_word_in_one_alphabet(name: str, is_valid: bool) -> None:
    assert is_name(name) == is_valid


def test_a_name_of_another_kind_is_refused(new: New) -> None:
    client = new()
    client.command("enter", room="tea", name="Mary Ann")
    error = "'name' must be one word of visible characters, with letters of one alphabet"
    assert client.receive("error") == {"code": "name", "name": "Mary Ann", "text": error}


@pytest.mark.parametrize(("one", "other"), [("Ian", "lan"), ("Bob", "B0b"), ("Al1", "AlI"), ("Straße", "STRASSE")])
def test_names_that_look_the_same_have_the_same_skeleton(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)
    assert skeleton(one) != skeleton(f"{other}x")


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
        ('{"type": "whisper", "room": "tea", "to": "Ann", "text": "psst"}', "you are not in 'tea'"),
        (
            '{"type": "enter", "room": "tea", "name": "Ann", "key": "short"}',
            "'key' must be a string of 16 to 100 characters",
        ),
    ],
)
def test_an_invalid_command_gets_an_error(new: New, message: str, error: str) -> None:
    client = new()
    client.send(message)
    assert client.receive("error") == {"code": "invalid", "name": "", "text": error}
    client.enter("Ann")
    client.command("enter", room="tea", name="Bob")
    assert client.receive("error")["text"] == "your name is 'Ann' already"
