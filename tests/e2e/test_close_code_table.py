"""Close codes (RFC 6455 section 7.4) pass in both directions, the same in each profile."""

import pytest
import websocket
from client import Target
from fixtures import Connect
from websocket import ABNF

pytestmark = pytest.mark.usefixtures("stack")  # not with --url: the probe handler closes

PROTOCOL_ERROR, INTERNAL_ERROR = 1002, 1011
VALID = (1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999)
# 1005, 1006 and 1015 are never on the wire; the rest is not registered.
INVALID = (1004, 1005, 1006, 1015, 0, 1, 999, 1016, 1100, 2999, 5000, 65535)


def test_the_code_of_a_client_is_answered_with_the_same_or_1002(target: Target, connect: Connect) -> None:
    answers = {}
    for code in (*VALID, *INVALID):
        ws = connect(target, "?app=echo")
        ws.send(code.to_bytes(2, "big") + "bye 再见".encode(), ABNF.OPCODE_CLOSE)
        answers[code] = _close_frame(ws)[0]
    assert answers == {code: code if code in VALID else PROTOCOL_ERROR for code in (*VALID, *INVALID)}


def test_the_code_of_the_handler_arrives_and_a_code_that_must_not_be_sent_is_an_error(
    target: Target, connect: Connect
) -> None:
    seen = {}
    for code in (*VALID, *INVALID):
        ws = connect(target, "?app=close")
        ws.send(str(code))
        seen[code] = _close_frame(ws)
    assert {code: frame for code, frame in seen.items() if code in VALID} == {
        code: (code, "as requested") for code in VALID
    }
    assert {seen[code][0] for code in INVALID} == {INTERNAL_ERROR}


def _close_frame(ws: websocket.WebSocket) -> tuple[int, str]:
    opcode, frame = ws.recv_data_frame(control_frame=True)
    assert opcode == ABNF.OPCODE_CLOSE
    return int.from_bytes(frame.data[:2], "big"), frame.data[2:].decode()
