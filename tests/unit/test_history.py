"""Rooms with history in one process. Over several processes: tests/faults/test_history_with_a_hub.py."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket
from eventually import eventually
from server import Connect, Server, Start
from wss import Connection
from wss.rooms import Kept, rooms
from wss.rooms import Start as HistoryStart
from wss.testing import serve

PROBE = Path(__file__).parents[1] / "harness" / "probe"
SETTINGS = {"APP": "rooms_rpc:handler", "PYTHONPATH": str(PROBE), "HISTORY": "tea*=10,1h,1K"}


class Member:
    """A client that makes its handler call methods of rooms, and knows its position."""

    def __init__(self, ws: websocket.WebSocket) -> None:
        self._ws = ws
        self.events: list[dict[str, Any]] = []
        self.position = ""

    def call(self, name: str, *arguments: Any) -> Any:
        self._ws.send(json.dumps([name, *arguments]))
        while isinstance(message := json.loads(self._ws.recv()), dict):
            self.events.append(message)
        return message[1]

    def take(self) -> list[str]:
        """Return the messages and gaps since the last call."""
        self.call("id")
        events, self.events = self.events, []
        self.position = events[-1]["position"] if events else self.position
        return [event["message"] if "message" in event else f"gap: {event['gap']}" for event in events]

    def resume(self, room: str, since: object = None) -> list[str]:
        self.call("resume", room, since)
        return self.take()

    def close(self) -> None:
        self._ws.close()


New = Callable[[], Member]


@pytest.fixture
def server(share: Start) -> Iterator[Server]:
    server = share(**SETTINGS)
    yield server
    server.wait_until_all_closed()


@pytest.fixture
def new(server: Server, connect: Connect) -> New:
    return lambda: Member(connect(server))


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    return f"tea {request.node.name}"


def test_a_client_that_comes_back_gets_what_it_missed_and_then_what_is_new(new: New, room: str) -> None:
    ann, bob = new(), new()
    assert bob.resume(room) == ["gap: None"]
    assert ann.call("send", room, "1") is True
    assert bob.take() == ["1"]
    bob.close()
    ann.call("send", room, "2")
    ann.call("send", room, "3")
    back = new()
    assert back.resume(room, bob.position) == ["gap: None", "2", "3"]
    ann.call("send", room, "4")
    assert back.take() == ["4"]
    # A second resume of a member starts again, and does not make it a member twice.
    assert back.resume(room, bob.position) == ["gap: None", "2", "3", "4"]
    ann.call("send", room, "5")
    assert back.take() == ["5"]


def test_a_position_whose_messages_are_no_longer_kept_is_a_gap(new: New, room: str) -> None:
    ann, bob = new(), new()
    bob.resume(room)
    for number in range(12):
        ann.call("send", room, f"{number}")
    assert new().resume(room, bob.position) == ["gap: trimmed", *(f"{number}" for number in range(2, 12))]
    ann.call("send", room, "x" * 1024)
    assert new().resume(room, bob.position) == ["gap: trimmed", "x" * 1024]


@pytest.mark.parametrize("since", ["", "tea", "0a:1", 7, [1]])
def test_a_position_of_another_epoch_is_a_gap(new: New, room: str, since: object) -> None:
    ann = new()
    ann.call("send", room, "1")
    assert ann.resume(room, since) == ["gap: epoch", "1"]


def test_a_client_that_joins_gets_what_is_new(new: New, room: str) -> None:
    ann = new()
    ann.call("send", room, "1")
    ann.call("join", room)
    ann.call("send", room, "2")
    assert ann.take() == ["2"]
    ann.call("leave", room)
    ann.call("send", room, "3")
    assert ann.take() == []


def test_an_excluded_client_gets_the_position_of_its_message(new: New, room: str) -> None:
    ann, bob, other = new(), new(), new()
    ann.resume(room)
    bob.resume(room)
    ann.call("send", room, "1", {"exclude": True})
    assert bob.take() == ["1"]
    assert ann.take() == ["gap: None"]
    assert ann.position == bob.position
    other.call("send", room, "2", {"exclude": True})  # it is not in the room
    assert (ann.take(), bob.take(), other.call("id") is None) == (["2"], ["2"], False)
    assert other.events == []


def test_a_room_without_history_has_no_positions(server: Server, new: New, connect: Connect) -> None:
    ann = new()
    ann.call("join", "coffee")
    ann.call("send", "coffee", json.dumps({"message": "plain", "position": "none"}))
    assert ann.take() == ["plain"]
    ws = connect(server)
    ws.send(json.dumps(["resume", "coffee"]))
    _, data = ws.recv_data()
    assert int.from_bytes(data[:2], "big") == 1011
    server.wait_for("(the room 'coffee' keeps no messages: call rooms.keep, or set HISTORY)")


@pytest.mark.parametrize("limits", [{"messages": 0}, {"seconds": 0.5}, {"size": 0}])
def test_a_limit_that_keeps_nothing_is_an_error(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="messages, seconds and size are at least 1"):
        rooms.keep("tea", **limits)


def _envelope(event: Kept | HistoryStart) -> str:
    return f"{event.position.offset} {event.message!r}" if isinstance(event, Kept) else f"{event.position} {event.gap}"


def test_the_handler_decides_what_a_kept_message_looks_like() -> None:
    rooms.keep("lobby/*", messages=2, envelope=_envelope)

    async def handler(connection: Connection) -> None:
        start = await rooms.resume(connection, "lobby/one", connection.request.path.partition("?")[2] or None)
        async for message in connection:
            await rooms.send("lobby/one", message)
        assert start.gap in (None, "epoch")

    with serve(handler) as server, server.connect() as ann, server.connect() as bob:
        start, gap = str(ann.recv()).split()
        assert (bob.recv(), gap) == (f"{start} None", "None")
        ann.send("é")
        ann.send(b"\xff")
        for client in (ann, bob):
            assert [client.recv(), client.recv()] == ["1 'é'", "2 b'\\xff'"]
        with server.connect(f"/wss?{start}") as back:
            assert [back.recv(), back.recv(), back.recv()] == [f"{start} None", "1 'é'", "2 b'\\xff'"]


def test_a_client_with_a_long_history_is_not_cut_while_it_reads() -> None:
    rooms.keep("attic", messages=2000, size=1 << 30)
    finished = threading.Event()

    async def handler(connection: Connection) -> None:
        if connection.request.path.endswith("fill"):
            for number in range(1000):
                await rooms.send("attic", f"{number} ".ljust(20_000, "x"))
            finished.set()
        else:
            await rooms.resume(connection, "attic", "0a:1")
            await connection.wait_closed()

    # 20 MB: more than the write buffers of all sockets, and than 64 times WRITE_LIMIT.
    with serve(handler, WRITE_LIMIT="16K") as server, server.connect("/wss?fill") as fill, server.connect() as client:
        eventually(finished.is_set, "the room is full")
        assert json.loads(client.recv())["gap"] == "epoch"
        received: list[str] = []
        while len(received) < 1000:  # messages that were sent before the resume, and after it
            received.append(json.loads(client.recv(timeout=60))["message"].split()[0])
        assert received == [f"{number}" for number in range(1000)]
        fill.close()


def test_a_client_that_leaves_during_a_resume_is_not_in_the_room(server: Server, connect: Connect) -> None:
    ann, bob = Member(connect(server)), connect(server)
    bob.send(json.dumps(["resume", "tea leaving"]))
    bob.shutdown()  # type: ignore[no-untyped-call]
    eventually(lambda: ann.call("count", "tea leaving") == 0, "the client is not counted")
