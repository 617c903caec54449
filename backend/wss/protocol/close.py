"""Control frames: what they may carry, and how a connection ended (RFC 6455 sections 5.5 and 7)."""

from typing import Any, NamedTuple

from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close

from wss.protocol.frames import encoded

PING, PONG = 0x9, 0xA  # RFC 6455 section 5.2
MAX_CONTROL_PAYLOAD = 125  # bytes
# RFC 6455 section 7.4.1: a close frame without a code, and none at all.
NO_STATUS_RCVD, ABNORMAL_CLOSURE = 1005, 1006
# An ending with no other codes is not an error: https://websockets.readthedocs.io/en/stable/reference/exceptions.html
_OK_CODES = {1000, 1001, NO_STATUS_RCVD}


def payload_of(data: str | bytes) -> bytes:
    """Return the payload of a control frame. Raises ValueError if it is too long."""
    payload = encoded(data)
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"{len(payload)} bytes in a control frame, which has room for {MAX_CONTROL_PAYLOAD}")
    return payload


def may_be_sent(code: int) -> bool:
    """Whether a close frame may have this code."""
    # RFC 6455 section 7.4.2 and the registry it founded; 1004, 1005, 1006 and 1015 are not for the wire.
    return 3000 <= code <= 4999 or code in (1000, 1001, 1002, 1003, *range(1007, 1015))


class Ending(NamedTuple):
    """The close frames of a connection that has ended; None if that side sent none."""

    received: Close | None
    sent: Close | None
    received_first: bool | None
    """Whether the client's came before ours; None unless both exist."""

    @classmethod
    def of(cls, close_handshake: Any) -> "Ending":
        """Take it from picows' close_handshake, which is None if there was no close frame."""
        if close_handshake is None:
            return cls(None, None, None)
        received, sent = _close(close_handshake.recv), _close(close_handshake.sent)
        return cls(received, sent, bool(close_handshake.recv_then_sent) if received and sent else None)

    def exception(self) -> ConnectionClosed:
        """Return a new exception: an exception that is raised again collects the traceback of each time."""
        is_ok = self.received and self.sent and {self.received.code, self.sent.code} <= _OK_CODES
        return (ConnectionClosedOK if is_ok else ConnectionClosedError)(*self)

    @property
    def code_and_initiator(self) -> tuple[int, str]:
        """The close code, and the side that sent it first: `client`, `server`, or `nobody`."""
        if self.received and (self.sent is None or self.received_first):
            return self.received.code, "client"
        return (self.sent.code, "server") if self.sent else (ABNORMAL_CLOSURE, "nobody")


def _close(frame: Any) -> Close | None:
    # picows has 0 for a close frame without a code.
    return frame and Close(int(frame.code) or NO_STATUS_RCVD, frame.reason or "")
