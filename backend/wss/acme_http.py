"""Port 80 of `direct`: responses to ACME challenges (RFC 8555 section 8.3), and redirects to https."""

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from wss.config.settings import Settings
from wss.handshake.policy import hostname
from wss.handshake.request_head import AcceptedConnection, Limits
from wss.handshake.responses import MISDIRECTED, HttpResponse, plain_response
from wss.net.listener import Listener, listening_socket

PORT = 80
_END = b"\r\n\r\n"
# The token is base64url (RFC 8555 section 8.1), so that it cannot name another directory.
_CHALLENGE = re.compile(r"/\.well-known/acme-challenge/[A-Za-z0-9_-]+")
_REQUEST = re.compile(
    rb"(?P<method>\S+) (?P<target>/[!-~]*) HTTP/1\.\d\r\n(?:.*\r\n)*?host:[ \t]*(?P<host>[!-~]+)[ \t]*\r\n",
    re.IGNORECASE,
)


def listen(settings: Settings, challenges: Path) -> Listener:
    """Start to listen on port 80; serve the files below `challenges`, and redirect all other requests."""

    def factory(_: AcceptedConnection) -> asyncio.BufferedProtocol:
        return _Responder(lambda head: respond(head, settings, challenges), settings.max_header)

    return Listener(
        factory,
        sock=listening_socket(PORT),
        certificate=None,
        domain=settings.domain,
        limits=Limits(settings.max_header, settings.handshake_timeout, any_method=True),
        refused=lambda _: None,  # not counted: nothing here requests a WebSocket
    )


def respond(head: bytes, settings: Settings, challenges: Path) -> bytes:
    """Return the response to the request with this head."""
    request = _REQUEST.match(head)
    if not request:
        return plain_response(HTTPStatus.BAD_REQUEST, "Send a path and a Host header.").to_bytes()
    response = _decide(request, settings, challenges).to_bytes()
    # RFC 9110 section 9.3.2.
    return response.partition(_END)[0] + _END if request["method"] == b"HEAD" else response


def _decide(request: re.Match[bytes], settings: Settings, challenges: Path) -> HttpResponse:
    target, host = request["target"].decode("ascii"), hostname(request["host"].decode("ascii"))
    if host not in settings.domain:
        return MISDIRECTED
    if _CHALLENGE.fullmatch(target):
        try:
            return plain_response(HTTPStatus.OK, (challenges / target[1:]).read_text("ascii").strip())
        except OSError:
            return plain_response(HTTPStatus.NOT_FOUND, "No such challenge.")
    authority = f"[{host}]" if ":" in host else host
    port = "" if settings.public_port in (0, 443) else f":{settings.public_port}"
    location = f"https://{authority}{port}{target}"
    return plain_response(HTTPStatus.PERMANENT_REDIRECT, f"It is at {location}", {"Location": location})


class _Responder(asyncio.BufferedProtocol):
    """Responds to the complete head that the RequestHeadReader passes on, and closes."""

    def __init__(self, respond: Callable[[bytes], bytes], max_head: int) -> None:
        self._respond = respond
        self._buffer = bytearray(max_head + len(_END))

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def get_buffer(self, _: int) -> memoryview:
        return memoryview(self._buffer)

    def buffer_updated(self, size: int) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._respond(bytes(self._buffer[:size])))
            self._transport.close()
