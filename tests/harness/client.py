"""The client's side: the server it connects to, the CA it trusts, and plain HTTP for tests that check the response."""

import http.client
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from eventually import LIMIT
from stack import Stack

TIMEOUT = LIMIT  # seconds for each socket operation of a client

# The example of RFC 6455 section 1.3.
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@dataclass(frozen=True)
class Target:
    """The address of a deployment, and the CA to trust (None: the system's CAs)."""

    host: str
    port: int
    path: str
    ca: Path | None

    @property
    def url(self) -> str:
        return f"wss://{self.host}:{self.port}{self.path}"

    @property
    def authority(self) -> str:
        return f"{self.host}:{self.port}"

    def context(self) -> ssl.SSLContext:
        """Return a client context that trusts only this CA."""
        return ssl.create_default_context(cafile=self.ca)

    def open_tcp(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=TIMEOUT)

    def open_tls(self, server_name: str | None = None) -> ssl.SSLSocket:
        """Return a verified TLS connection; `server_name` is verified, and sent in the handshake (SNI)."""
        return self.context().wrap_socket(self.open_tcp(), server_hostname=server_name or self.host)


def target_of(stack: Stack, ca: Path) -> Target:
    """Return the target for a running stack."""
    return Target("localhost", stack.port, "/wss", ca)


@dataclass(frozen=True)
class Response:
    """The status, headers (lower-case names) and text of an HTTP response."""

    status: int
    headers: dict[str, str]
    text: str


def exchange(connection: socket.socket, lines: Iterable[str]) -> Response:
    """Send a request, given as its lines, unchanged; return the response."""
    connection.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1"))
    response = http.client.HTTPResponse(connection)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    assert len(headers) == len(response.getheaders()), f"a header field is repeated: {response.getheaders()}"
    # After a 101 the bytes that follow are websocket frames.
    text = "" if response.status == http.client.SWITCHING_PROTOCOLS else response.read().decode()
    return Response(response.status, headers, text)


def http_request(
    target: Target, path: str | None = None, headers: dict[str, str] | None = None, method: str = "GET"
) -> Response:
    """Send one HTTP/1.1 request over verified TLS; `headers` can replace Host."""
    fields = {"Host": target.authority, **(headers or {})}
    with target.open_tls() as connection:
        lines = [f"{method} {path or target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return exchange(connection, lines)
