"""Rows 9 and 10 of the contract: a client that breaks the protocol ends its own connection, through every profile."""

import pytest
import websocket
from client import Target
from fixtures import Connect
from websocket import ABNF

pytestmark = pytest.mark.usefixtures("stack")  # the limits of another deployment may be others


def _frame(
    opcode: int, data: bytes = b"", *, fin: int = 1, rsv: tuple[int, int, int] = (0, 0, 0), mask: int = 1
) -> bytes:
    """Return what goes over the wire, opcodes that websocket-client would refuse to send too."""
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
        pytest.param(_frame(ABNF.OPCODE_CONT, b"tom"), 1002, id="continuation of nothing"),
        pytest.param(_frame(ABNF.OPCODE_PING, b"tom", fin=0), 1002, id="ping in fragments"),
        pytest.param(_frame(ABNF.OPCODE_PING, bytes(126)), 1002, id="oversize ping"),
        pytest.param(_frame(ABNF.OPCODE_CLOSE, (1006).to_bytes(2, "big")), 1002, id="bad close code"),
        pytest.param(_frame(ABNF.OPCODE_TEXT, b"\xff"), 1007, id="bad UTF-8"),
        # The head alone: the server hangs up then, and a client that is still sending might see that before the close.
        pytest.param(_frame(ABNF.OPCODE_BINARY, bytes(1024 * 1024 + 1))[:14], 1009, id="over 1 MiB"),
    ],
)
def test_a_violation_is_answered_with_its_code_and_disturbs_nobody(
    target: Target, connect: Connect, frame: bytes, code: int
) -> None:
    bystander, violator = connect(target, "?app=echo"), connect(target, "?app=echo")
    assert violator.sock
    violator.sock.sendall(frame)
    opcode, answer = violator.recv_data_frame(control_frame=True)
    assert opcode == ABNF.OPCODE_CLOSE
    assert int.from_bytes(answer.data[:2], "big") == code
    bystander.send("tom")
    assert bystander.recv() == "tom"


def test_a_close_without_code_is_answered_without_one(target: Target, connect: Connect) -> None:
    ws = connect(target)
    assert ws.sock
    ws.sock.sendall(_frame(ABNF.OPCODE_CLOSE))
    opcode, answer = ws.recv_data_frame(control_frame=True)
    assert (opcode, answer.data) == (ABNF.OPCODE_CLOSE, b"")
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        ws.recv()
