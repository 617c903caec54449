"""Port 80 of `direct`: what an ACME server looks for (RFC 8555 section 8.3), and for all others the way to https."""

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
# The token is in base64url (RFC 8555 section 8.1), which leads to no other directory.
_CHALLENGE = re.compile(r"/\.well-known/acme-challenge/[A-Za-z0-9_-]+")
_REQUEST = re.compile(
    rb"(?P<method>\S+) (?P<target>/[!-~]*) HTTP/1\.\d\r\n(?:.*\r\n)*?host:[ \t]*(?P<host>[!-~]+)[ \t]*\r\n",
    re.IGNORECASE,
)


def listen(settings: Settings, challenges: Path) -> Listener:
    """Answer on port 80 from now on, with the files below `challenges` and redirects."""

    def factory(_: AcceptedConnection) -> asyncio.BufferedProtocol:
        return _Answering(lambda head: respond(head, settings, challenges), settings.max_header)

    return Listener(
        factory,
        sock=listening_socket(PORT),
        certificate=None,
        domain=settings.domain,
        limits=Limits(settings.max_header, settings.handshake_timeout, any_method=True),
        refused=lambda _: None,  # no websocket was refused
    )


def respond(head: bytes, settings: Settings, challenges: Path) -> bytes:
    """Return the response to a request, given as its head."""
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


class _Answering(asyncio.BufferedProtocol):
    """Behind the RequestHeadReader, which has read a whole head: answers it, and closes."""

    def __init__(self, response: Callable[[bytes], bytes], longest: int) -> None:
        self._response = response
        self._buffer = bytearray(longest + 4)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def get_buffer(self, _: int) -> memoryview:
        return memoryview(self._buffer)

    def buffer_updated(self, size: int) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._response(bytes(self._buffer[:size])))
            self._transport.close()
