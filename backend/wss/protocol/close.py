"""Control frames: what they may carry, and how a connection ended (RFC 6455 sections 5.5 and 7)."""

from contextlib import suppress
from typing import Any, NamedTuple

from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, ProtocolError
from websockets.frames import Close, CloseCode

from wss.protocol.frames import encoded

PING, PONG = 0x9, 0xA  # RFC 6455 section 5.2
MAX_CONTROL_PAYLOAD = 125  # bytes
# RFC 6455 section 7.4.1: a close frame without a code, and none at all.
NO_STATUS_RCVD, ABNORMAL_CLOSURE = 1005, 1006
POLICY_VIOLATION = 1008
# Ours, from the range for applications (section 7.4.2); their last three digits are those of HTTP.
ACCESS_EXPIRED = 4401
"""The deadline of the connection has passed: a client may come back with a new token."""
ACCESS_ENDED = 4403
"""The client is no longer allowed to be connected."""
# An ending with no other codes is not an error: https://websockets.readthedocs.io/en/stable/reference/exceptions.html
_OK_CODES = {1000, 1001, NO_STATUS_RCVD}


class InvalidControlFrameError(ProtocolError, ValueError):
    """A handler wants to send a control frame that must not be sent."""


def payload_of(data: str | bytes) -> bytes:
    """Return the payload of a control frame. Raises InvalidControlFrameError if it is too long."""
    payload = encoded(data)
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise InvalidControlFrameError(
            f"{len(payload)} bytes in a control frame, which has room for {MAX_CONTROL_PAYLOAD}"
        )
    return payload


def check_close(code: int, reason: str) -> None:
    """Raise InvalidControlFrameError if a close frame must not have this code, or has no room for this reason."""
    if not may_be_sent(code):
        raise InvalidControlFrameError(f"{code} cannot be sent as a close code: use 1000, or one of 3000 to 4999")
    payload_of(f"..{reason}")  # the code has two bytes


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
        if received and received.code == NO_STATUS_RCVD and sent is None:
            sent = received  # picows does not record that an empty close frame was answered with an empty one
            return cls(received, sent, True)
        return cls(received, sent, bool(close_handshake.recv_then_sent) if received and sent else None)

    def exception(self) -> ConnectionClosed:
        """Return a new exception: an exception that is raised again collects the traceback of each time."""
        is_ok = self.received and self.sent and {self.received.code, self.sent.code} <= _OK_CODES
        return (ConnectionClosedOK if is_ok else ConnectionClosedError)(*self)

    @property
    def code_and_initiator(self) -> tuple[int, str]:
        """The close code, and the side that sent it first: `client`, `server`, or `nobody`."""
        if self.received and (self.sent is None or self.received_first):
            return int(self.received.code), "client"
        return (int(self.sent.code), "server") if self.sent else (ABNORMAL_CLOSURE, "nobody")


def _close(frame: Any) -> Close | None:
    # picows has 0 for a close frame without a code.
    if frame is None:
        return None
    code = int(frame.code) or NO_STATUS_RCVD
    with suppress(ValueError):  # not one of RFC 6455: a number
        code = CloseCode(code)
    return Close(code, frame.reason or "")
