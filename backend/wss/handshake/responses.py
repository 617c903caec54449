"""HTTP responses: those that are not a websocket, and the 101."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass(frozen=True)
class HttpResponse:
    """A whole response, after which the connection ends."""

    status: HTTPStatus
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    """Why no websocket was opened, in one word for the metrics; empty if none was asked for."""

    def to_bytes(self) -> bytes:
        """Return it as it is sent."""
        fields = {**self.headers, "Content-Length": str(len(self.body)), "Connection": "close"}
        head = [f"HTTP/1.1 {self.status.value} {self.status.phrase}", *(f"{name}: {fields[name]}" for name in fields)]
        return "\r\n".join([*head, "", ""]).encode("ascii") + self.body


class SwitchingProtocols:
    """The 101, with as much of picows.WSUpgradeResponse (2.3.1) as picows uses. It adds Sec-WebSocket-Accept."""

    __slots__ = ("headers",)
    status = HTTPStatus.SWITCHING_PROTOCOLS

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = {**headers, "Connection": "upgrade", "Upgrade": "websocket"}

    def to_bytes(self) -> bytearray:
        fields = "".join([f"{name}: {value}\r\n" for name, value in self.headers.items()])
        return bytearray(f"HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n", "utf-8")


def plain_response(
    status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None, *, reason: str = ""
) -> HttpResponse:
    """Return a response with a line of text."""
    content_type = {"Content-Type": "text/plain; charset=utf-8"}
    return HttpResponse(status, f"{text}\n".encode(), {**content_type, **(headers or {})}, reason)


# RFC 9110 section 7.4: 421 for a host that is not served here.
MISDIRECTED = plain_response(
    HTTPStatus.MISDIRECTED_REQUEST, "This host is not served here. DOMAIN lists those that are.", reason="host"
)
