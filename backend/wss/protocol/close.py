"""Control frames: what they may carry, and what close frames say of an end (RFC 6455 sections 5.5 and 7.4)."""

from typing import Any

from wss.protocol.frames import encoded

PING, PONG = 0x9, 0xA  # RFC 6455 section 5.2
MAX_CONTROL_PAYLOAD = 125  # bytes
# RFC 6455 section 7.4.1: a close frame without a code, and none at all.
NO_STATUS_RCVD, ABNORMAL_CLOSURE = 1005, 1006


def payload_of(data: str | bytes) -> bytes:
    """Return what a control frame is to carry; raises ValueError where it is too long."""
    payload = encoded(data)
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"{len(payload)} bytes in a control frame, which has room for {MAX_CONTROL_PAYLOAD}")
    return payload


def may_be_sent(code: int) -> bool:
    """Whether a close frame may have this code."""
    # RFC 6455 section 7.4.2 and the registry it founded; 1004, 1005, 1006 and 1015 are not for the wire.
    return 3000 <= code <= 4999 or code in (1000, 1001, 1002, 1003, *range(1007, 1015))


def close_code_and_initiator(closing: Any) -> tuple[int, str]:
    """Return the close code, and who said it first, of picows' close_handshake."""
    if closing is None:
        return ABNORMAL_CLOSURE, "nobody"
    first, who = (closing.recv, "client") if closing.recv_then_sent else (closing.sent, "server")
    return (int(first.code) if first else 0) or NO_STATUS_RCVD, who
