"""Row 3 of the contract: an echo returns every message with its type and all bytes."""

import os

import pytest
import websocket
from client import Target
from fixtures import Connect
from websocket import ABNF


@pytest.mark.parametrize(
    ("opcode", "payload"),
    [
        pytest.param(ABNF.OPCODE_TEXT, b"tom", id="text"),
        pytest.param(ABNF.OPCODE_TEXT, "湯姆 🐈".encode(), id="text outside ASCII"),
        pytest.param(ABNF.OPCODE_TEXT, b"", id="empty text"),
        pytest.param(ABNF.OPCODE_BINARY, b"\x00\xff\x80", id="binary that is not valid UTF-8"),
        pytest.param(ABNF.OPCODE_BINARY, b"tom", id="binary that is valid UTF-8"),
        pytest.param(ABNF.OPCODE_BINARY, b"", id="empty binary"),
        pytest.param(ABNF.OPCODE_BINARY, os.urandom(1024 * 1024), id="1 MiB"),
    ],
)
def test_a_message_comes_back_unchanged(echo: Target, connect: Connect, opcode: int, payload: bytes) -> None:
    ws = connect(echo)
    ws.send(payload, opcode)
    assert ws.recv_data() == (opcode, payload)


def test_fragments_come_back_as_one_message(echo: Target, connect: Connect) -> None:
    ws = connect(echo)
    _send_frame(ws, b"to", ABNF.OPCODE_TEXT, final=False)
    _send_frame(ws, b"", ABNF.OPCODE_CONT, final=False)
    _send_frame(ws, b"m", ABNF.OPCODE_CONT, final=True)
    assert ws.recv_data() == (ABNF.OPCODE_TEXT, b"tom")


def test_a_ping_between_fragments_is_answered_at_once(echo: Target, connect: Connect) -> None:
    ws = connect(echo)
    _send_frame(ws, b"to", ABNF.OPCODE_TEXT, final=False)
    ws.ping(b"are you there?")
    opcode, frame = ws.recv_data_frame(control_frame=True)
    assert (opcode, frame.data) == (ABNF.OPCODE_PONG, b"are you there?")
    _send_frame(ws, b"m", ABNF.OPCODE_CONT, final=True)
    assert ws.recv_data() == (ABNF.OPCODE_TEXT, b"tom")


def test_messages_in_flight_keep_their_order(echo: Target, connect: Connect) -> None:
    ws = connect(echo)
    sent = [f"message {number}" for number in range(200)]
    for message in sent:
        ws.send(message)
    assert [ws.recv() for _ in sent] == sent


def _send_frame(ws: websocket.WebSocket, payload: bytes, opcode: int, *, final: bool) -> None:
    ws.send_frame(ABNF.create_frame(payload, opcode, fin=int(final)))


@pytest.mark.usefixtures("stack")
def test_a_close_is_answered_even_if_the_handler_receives_nothing(target: Target, connect: Connect) -> None:
    ws = connect(target, "?app=idle")
    for _ in range(500):
        ws.send("unread")
    ws.send_close(1000)
    opcode, frame = ws.recv_data()
    assert (opcode, int.from_bytes(frame[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1000)
