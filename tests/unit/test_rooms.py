"""Rooms of one process, and what more than one is told. Between processes: tests/e2e/test_hub.py."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import websocket
from server import TIMEOUT, Connect, Server, Start, failed_start
from wss.config.settings import SettingError, read_settings

PROBE = Path(__file__).parents[1] / "harness" / "probe"
ROOMS = {"APP": "rooms_rpc:handler", "PYTHONPATH": str(PROBE)}


class Puppet:
    """A client whose handler does what it says."""

    def __init__(self, ws: websocket.WebSocket) -> None:
        self.ws = ws
        self.heard: list[str | bytes] = []

    def do(self, name: str, *arguments: Any) -> Any:
        """Return what came back; what the client heard meanwhile is in `heard`."""
        self.ws.send(json.dumps([name, *arguments]))
        while True:
            message = self.ws.recv()
            if isinstance(message, str) and message.startswith(f'["{name}"'):
                return json.loads(message)[1]
            self.heard.append(message)

    def hears(self) -> list[str | bytes]:
        """Return what it has heard since the last time."""
        self.do("id")  # what was sent before is here then
        heard, self.heard = self.heard, []
        return heard


New = Callable[[], Puppet]


@pytest.fixture
def server(share: Start) -> Iterator[Server]:
    server = share(**ROOMS)
    yield server
    server.wait_until_all_closed()


@pytest.fixture
def new(server: Server, connect: Connect) -> New:
    return lambda: Puppet(connect(server))


def test_a_message_reaches_who_is_in_the_room_and_nobody_else(new: New) -> None:
    ann, bob, other = new(), new(), new()
    for puppet, room in ((ann, "tea"), (bob, "tea"), (other, "coffee")):
        puppet.do("join", room)
    assert ann.do("send", "tea", "hello") is True
    assert [puppet.hears() for puppet in (ann, bob, other)] == [["hello"], ["hello"], []]
    ann.do("send", "tea", "but me", {"exclude": True})
    assert [puppet.hears() for puppet in (ann, bob, other)] == [[], ["but me"], []]
    bob.do("leave", "tea")
    bob.do("leave", "tea")
    ann.do("send", "tea", "where is Bob?")
    assert [puppet.hears() for puppet in (ann, bob)] == [["where is Bob?"], []]


def test_nobody_need_be_in_a_room_to_be_heard_there(new: New) -> None:
    ann, bob = new(), new()
    ann.do("join", "tea")
    assert bob.do("send", "tea", "is anybody here?") is True
    assert bob.do("send", "an empty one", "and here?") is True
    assert [puppet.hears() for puppet in (ann, bob)] == [["is anybody here?"], []]


def test_a_user_has_several_connections(new: New) -> None:
    phone, laptop, other = new(), new(), new()
    phone.do("bind", "ann")
    laptop.do("bind", "ann")
    other.do("send_to_user", "ann", "hello")
    assert [puppet.hears() for puppet in (phone, laptop, other)] == [["hello"], ["hello"], []]
    assert sorted(other.do("connections", "ann")) == sorted([phone.do("id"), "ann"] for phone in (phone, laptop))
    phone.do("bind", "bob")
    other.do("send_to_user", "ann", "still there?")
    assert [puppet.hears() for puppet in (phone, laptop)] == [[], ["still there?"]]
    laptop.ws.close()
    assert other.do("is_online", "bob") is True
    assert other.do("is_online", "ann") is False


def test_a_client_is_reached_by_its_id(new: New) -> None:
    ann, bob = new(), new()
    assert ann.do("send_to_client", bob.do("id"), "for Bob") is True
    assert bob.hears() == ["for Bob"]
    assert ann.hears() == []
    assert ann.do("send_to_client", bob.do("id") + "0", "for nobody") is False
    assert ann.do("send_to_client", "of another worker.1", "for nobody") is False


@pytest.mark.parametrize("call", [("join", "\ud800"), ("bind", "\ud800")])
def test_a_name_that_is_no_text_ends_nobody_elses_connection(new: New, call: tuple[str, ...]) -> None:
    ann, bob = new(), new()
    ann.ws.send(json.dumps(call))
    opcode, data = ann.ws.recv_data()
    assert (opcode, int.from_bytes(data[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1011)
    assert bob.do("count") == 1


def test_everybody_is_reached(new: New) -> None:
    ann, bob = new(), new()
    ann.do("send_to_all", "hello", {"exclude": True})
    assert [puppet.hears() for puppet in (ann, bob)] == [[], ["hello"]]


def test_who_and_how_many_are_there(new: New) -> None:
    ann, bob = new(), new()
    ann.do("bind", "ann")
    for puppet in (ann, bob):
        puppet.do("join", "tea")
        puppet.do("join", "tea")
    assert (ann.do("count"), ann.do("count", "tea"), ann.do("count", "coffee")) == (2, 2, 0)
    assert sorted(ann.do("members", "tea")) == sorted([[ann.do("id"), "ann"], [bob.do("id"), None]])
    bob.ws.close()
    assert (ann.do("count"), ann.do("count", "tea")) == (1, 1)


def test_what_a_handler_does_after_its_client_is_gone_is_not_kept(
    start: Start, tmp_path: Path, connect: Connect
) -> None:
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
    said = failed_start(WORKERS="2", **ROOMS)
    assert said.startswith("error: WORKERS=2: the handler uses wss.rooms")
    assert "HUB=valkey://" in said


@pytest.mark.parametrize("url", ["hub", "redis://hub", "valkey://", "valkey://hub:99999", "valkey://hub/1/2"])
def test_a_hub_is_named_by_its_url(url: str) -> None:
    with pytest.raises(SettingError) as refusal:
        read_settings({"HUB": url})
    assert str(refusal.value).startswith(f"HUB={url!r}: not the address of a Valkey. Give valkey://host")


def test_a_password_is_not_shown() -> None:
    said = failed_start(HUB="valkey://:secret@hub:port", **ROOMS)
    assert "secret" not in said
    assert "valkey://…@hub:port" in said


def test_a_hub_that_does_not_answer_is_an_error_at_the_start() -> None:
    said = failed_start(HUB="valkey://127.0.0.1:1", **ROOMS)
    assert said.startswith("error: HUB='valkey://127.0.0.1:1': nothing answers there")
    assert "--profile hub" in said
