"""Rooms in one process, and the errors about the hub. Rooms over several processes: tests/faults/test_hub.py."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import websocket
from eventually import eventually
from server import TIMEOUT, Connect, Server, Start, failed_start

PROBE = Path(__file__).parents[1] / "harness" / "probe"
ROOMS = {"APP": "rooms_rpc:handler", "PYTHONPATH": str(PROBE)}


class Puppet:
    """A client that makes its handler call methods of rooms."""

    def __init__(self, ws: websocket.WebSocket) -> None:
        self.ws = ws
        self.received: list[str | bytes] = []

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a method and return its result; messages that arrive before it are added to `received`."""
        self.ws.send(json.dumps([name, *arguments]))
        while True:
            message = self.ws.recv()
            if isinstance(message, str) and message.startswith(f'["{name}"'):
                return json.loads(message)[1]
            self.received.append(message)

    def take_received(self) -> list[str | bytes]:
        """Return the messages received since the last call."""
        self.call("id")  # messages that were sent earlier arrive before its result
        received, self.received = self.received, []
        return received


New = Callable[[], Puppet]


@pytest.fixture
def server(share: Start) -> Iterator[Server]:
    server = share(**ROOMS)
    yield server
    server.wait_until_all_closed()


@pytest.fixture
def new(server: Server, connect: Connect) -> New:
    return lambda: Puppet(connect(server))


def test_a_message_reaches_the_members_of_the_room_and_no_others(new: New) -> None:
    ann, bob, other = new(), new(), new()
    for puppet, room in ((ann, "tea"), (bob, "tea"), (other, "coffee")):
        puppet.call("join", room)
    assert ann.call("send", "tea", "hello") is True
    assert [puppet.take_received() for puppet in (ann, bob, other)] == [["hello"], ["hello"], []]
    ann.call("send", "tea", "but me", {"exclude": True})
    assert [puppet.take_received() for puppet in (ann, bob, other)] == [[], ["but me"], []]
    bob.call("leave", "tea")
    bob.call("leave", "tea")
    ann.call("send", "tea", "where is Bob?")
    assert [puppet.take_received() for puppet in (ann, bob)] == [["where is Bob?"], []]


def test_a_sender_need_not_be_in_the_room(new: New) -> None:
    ann, bob = new(), new()
    ann.call("join", "tea")
    assert bob.call("send", "tea", "is anybody here?") is True
    assert bob.call("send", "an empty one", "and here?") is True
    assert [puppet.take_received() for puppet in (ann, bob)] == [["is anybody here?"], []]


def test_a_user_has_several_connections(new: New) -> None:
    phone, laptop, other = new(), new(), new()
    phone.call("bind", "ann")
    laptop.call("bind", "ann")
    other.call("send_to_user", "ann", "hello")
    assert [puppet.take_received() for puppet in (phone, laptop, other)] == [["hello"], ["hello"], []]
    assert sorted(other.call("connections", "ann")) == sorted([phone.call("id"), "ann"] for phone in (phone, laptop))
    phone.call("bind", "bob")
    other.call("send_to_user", "ann", "still there?")
    assert [puppet.take_received() for puppet in (phone, laptop)] == [[], ["still there?"]]
    laptop.ws.close()
    assert other.call("is_online", "bob") is True
    assert other.call("is_online", "ann") is False


def test_a_message_can_be_sent_to_a_client_by_its_id(new: New) -> None:
    ann, bob = new(), new()
    assert ann.call("send_to_client", bob.call("id"), "for Bob") is True
    assert bob.take_received() == ["for Bob"]
    assert ann.take_received() == []
    assert ann.call("send_to_client", bob.call("id") + "0", "for nobody") is False
    assert ann.call("send_to_client", "of another worker.1", "for nobody") is False


def close_frame(puppet: Puppet) -> tuple[int, str]:
    """Return code and reason of the close frame that the client receives next."""
    opcode, data = puppet.ws.recv_data()
    assert opcode == websocket.ABNF.OPCODE_CLOSE
    return int.from_bytes(data[:2], "big"), data[2:].decode()


def test_a_client_a_user_and_a_room_can_be_closed(new: New) -> None:
    ann, phone, laptop, tea, other = new(), new(), new(), new(), new()
    phone.call("bind", "bob")
    laptop.call("bind", "bob")
    tea.call("join", "tea")
    other.call("close", {"client": ann.call("id"), "code": 4000, "reason": "signed out"})
    assert close_frame(ann) == (4000, "signed out")
    other.call("close", {"user": "bob"})
    assert [close_frame(puppet) for puppet in (phone, laptop)] == [(4403, "")] * 2
    assert other.call("close", {"room": "tea"}) is True
    assert close_frame(tea) == (4403, "")
    eventually(lambda: other.call("count") == 1, "the closed clients are gone")


def test_a_handler_can_close_its_own_client(new: New) -> None:
    ann = new()
    ann.call("bind", "ann")
    ann.ws.send(json.dumps(["close", {"user": "ann"}]))
    assert json.loads(ann.ws.recv()) == ["close", True]
    assert close_frame(ann) == (4403, "")


@pytest.mark.parametrize(
    "options", [{}, {"user": "ann", "room": "tea"}, {"user": "ann", "code": 1005}, {"user": "ann", "reason": "x" * 124}]
)
def test_a_close_that_is_not_possible_raises(new: New, options: dict[str, Any]) -> None:
    ann, bob = new(), new()
    bob.call("bind", "ann")
    ann.ws.send(json.dumps(["close", options]))
    assert close_frame(ann) == (1011, "")
    assert bob.take_received() == []


@pytest.mark.parametrize("call", [("join", "\ud800"), ("bind", "\ud800")])
def test_a_name_that_is_not_valid_unicode_fails_only_its_own_connection(new: New, call: tuple[str, ...]) -> None:
    ann, bob = new(), new()
    ann.ws.send(json.dumps(call))
    opcode, data = ann.ws.recv_data()
    assert (opcode, int.from_bytes(data[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1011)
    assert bob.call("count") == 1


def test_a_message_can_be_sent_to_all_clients(new: New) -> None:
    ann, bob = new(), new()
    ann.call("send_to_all", "hello", {"exclude": True})
    assert [puppet.take_received() for puppet in (ann, bob)] == [[], ["hello"]]


def test_members_and_their_number_are_returned(new: New) -> None:
    ann, bob = new(), new()
    ann.call("bind", "ann")
    for puppet in (ann, bob):
        puppet.call("join", "tea")
        puppet.call("join", "tea")
    assert (ann.call("count"), ann.call("count", "tea"), ann.call("count", "coffee")) == (2, 2, 0)
    assert sorted(ann.call("members", "tea")) == sorted([[ann.call("id"), "ann"], [bob.call("id"), None]])
    bob.ws.close()
    assert (ann.call("count"), ann.call("count", "tea")) == (1, 1)


def test_a_client_that_has_disconnected_cannot_join(start: Start, tmp_path: Path, connect: Connect) -> None:
    (tmp_path / "late.py").write_text(
        "from wss import ConnectionClosed\n"
        "from wss.rooms import rooms\n\n"
        "async def handler(connection):\n"
        "    if connection.request.path.endswith('count'):\n"
        "        await connection.send(f\"{await rooms.count('tea')}\")\n"
        "        return\n"
        "    await connection.wait_closed()\n"
        "    try:\n"
        "        await rooms.join(connection, 'tea')\n"
        "    except ConnectionClosed:\n"
        "        print('closed', flush=True)\n"
    )
    server = start(APP="late:handler", PYTHONPATH=str(tmp_path))
    connect(server).close()
    ws = websocket.create_connection(f"ws://localhost:{server.port}/wss?count", timeout=TIMEOUT)
    with ExitStack() as opened:
        opened.callback(ws.shutdown)
        assert ws.recv() == "0"


def test_several_processes_need_a_hub() -> None:
    output = failed_start(WORKERS="2", **ROOMS)
    assert output.startswith("error: WORKERS=2: the handler uses wss.rooms")
    assert "HUB=valkey://" in output


def test_a_password_of_the_hub_is_not_shown() -> None:
    output = failed_start(HUB="valkey://:se#cret@127.0.0.1:1", **ROOMS)
    assert output.startswith("error: HUB='valkey://…@127.0.0.1:1': the hub does not respond")
    assert "cret" not in output


def test_a_hub_that_does_not_respond_is_an_error_at_the_start() -> None:
    output = failed_start(HUB="redis://127.0.0.1:1/0", **ROOMS)
    assert output.startswith("error: HUB='valkey://127.0.0.1:1': the hub does not respond")
    assert "--profile hub" in output
