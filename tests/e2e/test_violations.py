"""Rows 9 and 10 of the contract: a client that violates the protocol closes only its own connection."""

import pytest
import websocket
from client import Target
from fixtures import Connect
from websocket import ABNF

pytestmark = pytest.mark.usefixtures("stack")  # not with --url: that deployment may have other limits


def _frame(
    opcode: int, data: bytes = b"", *, fin: int = 1, rsv: tuple[int, int, int] = (0, 0, 0), mask: int = 1
) -> bytes:
    """Return the bytes of a frame; unlike websocket-client, accept invalid opcodes, too."""
    formatted = ABNF(fin, *rsv, ABNF.OPCODE_TEXT, mask, data).format()
    return bytes([formatted[0] & 0xF0 | opcode]) + formatted[1:]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param(_frame(ABNF.OPCODE_TEXT, b"tom", mask=0), 1002, id="unmasked"),
        pytest.param(_frame(0xB), 1002, id="bad opcode"),
        pytest.param(_frame(ABNF.OPCODE_TEXT, b"tom", rsv=(1, 0, 0)), 1002, id="RSV1"),
        pytest.param(_frame(ABNF.OPCODE_TEXT, b"tom", rsv=(0, 1, 0)), 1002, id="RSV2"),
        pytest.param(_frame(ABNF.OPCODE_PING, b"tom", rsv=(0, 0, 1)), 1002, id="RSV3 on a ping"),
        pytest.param(_frame(ABNF.OPCODE_CONT, b"tom"), 1002, id="continuation without a message"),
        pytest.param(_frame(ABNF.OPCODE_PING, b"tom", fin=0), 1002, id="ping in fragments"),
        pytest.param(_frame(ABNF.OPCODE_PING, bytes(126)), 1002, id="oversize ping"),
        pytest.param(_frame(ABNF.OPCODE_CLOSE, (1006).to_bytes(2, "big")), 1002, id="bad close code"),
        pytest.param(_frame(ABNF.OPCODE_TEXT, b"\xff"), 1007, id="bad UTF-8"),
        # Only the frame header: the server closes the connection after it, and a client that is still sending might get
        # a reset before it reads the close frame.
        pytest.param(_frame(ABNF.OPCODE_BINARY, bytes(1024 * 1024 + 1))[:14], 1009, id="over 1 MiB"),
    ],
)
def test_a_violation_gets_its_close_code_and_other_clients_stay_open(
    target: Target, connect: Connect, frame: bytes, code: int
) -> None:
    other, violator = connect(target, "?app=echo"), connect(target, "?app=echo")
    assert violator.sock
    violator.sock.sendall(frame)
    opcode, close = violator.recv_data_frame(control_frame=True)
    assert opcode == ABNF.OPCODE_CLOSE
    assert int.from_bytes(close.data[:2], "big") == code
    other.send("tom")
    assert other.recv() == "tom"


def test_a_close_without_code_is_answered_without_code(target: Target, connect: Connect) -> None:
    ws = connect(target)
    assert ws.sock
    ws.sock.sendall(_frame(ABNF.OPCODE_CLOSE))
    opcode, close = ws.recv_data_frame(control_frame=True)
    assert (opcode, close.data) == (ABNF.OPCODE_CLOSE, b"")
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        ws.recv()
