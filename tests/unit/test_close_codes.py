"""Close frames and control frames, without a server: RFC 6455 sections 5.5 and 7.4."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from wss.protocol.close import (
    ABNORMAL_CLOSURE,
    MAX_CONTROL_PAYLOAD,
    NO_STATUS_RCVD,
    Ending,
    may_be_sent,
    payload_of,
)

# IANA's registry (section 7.4.2). Other codes up to 2999 must not be sent.
REGISTERED = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}


@given(code=st.integers(-1, 70_000))
def test_a_code_may_be_sent_if_it_is_registered_or_private(code: int) -> None:
    assert may_be_sent(code) == (code in REGISTERED or 3000 <= code <= 4999)


@given(data=st.binary(max_size=300) | st.text(max_size=300))
def test_the_payload_of_a_control_frame_is_limited(data: str | bytes) -> None:
    payload = data.encode() if isinstance(data, str) else data
    if len(payload) <= MAX_CONTROL_PAYLOAD:
        assert payload_of(data) == payload
    else:
        with pytest.raises(ValueError, match=f"{len(payload)} bytes in a control frame"):
            payload_of(data)


def _close(code: int) -> SimpleNamespace:
    return SimpleNamespace(code=code, reason=None)


@pytest.mark.parametrize(
    ("handshake", "ended"),
    [
        (None, (ABNORMAL_CLOSURE, "nobody")),
        (SimpleNamespace(recv=_close(4000), sent=_close(4000), recv_then_sent=True), (4000, "client")),
        (SimpleNamespace(recv=_close(1000), sent=_close(1001), recv_then_sent=False), (1001, "server")),
        (SimpleNamespace(recv=None, sent=_close(1011), recv_then_sent=False), (1011, "server")),
        (SimpleNamespace(recv=_close(0), sent=None, recv_then_sent=True), (NO_STATUS_RCVD, "client")),
    ],
)
def test_the_close_code_is_that_of_the_peer_that_closed_first(
    handshake: SimpleNamespace | None, ended: tuple[int, str]
) -> None:
    assert Ending.of(handshake).code_and_initiator == ended


@pytest.mark.parametrize(
    ("handshake", "is_ok"),
    [
        (None, False),
        (SimpleNamespace(recv=_close(1000), sent=_close(1001), recv_then_sent=False), True),
        (SimpleNamespace(recv=_close(0), sent=_close(0), recv_then_sent=True), True),
        (SimpleNamespace(recv=_close(1000), sent=_close(4000), recv_then_sent=False), False),
        (SimpleNamespace(recv=None, sent=_close(1011), recv_then_sent=False), False),
    ],
)
def test_exception_returns_a_new_exception_each_time(handshake: SimpleNamespace | None, is_ok: bool) -> None:
    ending = Ending.of(handshake)
    assert isinstance(ending.exception(), ConnectionClosedOK if is_ok else ConnectionClosedError)
    assert ending.exception() is not ending.exception()
