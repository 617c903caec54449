"""HTTP responses that are not a websocket."""

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
